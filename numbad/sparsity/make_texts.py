"""Make the LLVM texts of this wing's compiled functions: `python -m numbad.sparsity.make_texts`, in double precision.

It writes `texts`, beside this file. Without them Numba compiles the functions, which takes it some ten seconds.
"""

from __future__ import annotations

import sys

import llvmlite.binding as llvm

from numbad.kernels import libmvec
from numbad.kernels.archives import pack
from numbad.kernels.make_texts import check, clean, run_apart, shorten
from numbad.sparsity.compiled import FLOAT64, FUNCTIONS, TEXTS, compile_function, digest_of_texts


def make(name: str) -> str:
    """Return the text of a function."""
    compiled = compile_function(name, FLOAT64)
    text = clean(shorten(str(compiled._library._final_module), compiled._wrapper_name, name))
    check(text, name)
    llvm.parse_assembly(text).verify()
    return text


def make_all() -> None:
    """Write the texts of all functions."""
    libmvec.name_for_all_machines()
    TEXTS.write_bytes(pack({name: make(name) for name in FUNCTIONS}, digest_of_texts()))
    print(f"wrote {TEXTS}: {len(FUNCTIONS)} texts, {TEXTS.stat().st_size} bytes")


def main() -> None:
    """Make the texts in a process of their own, for Numba reads its settings when it is imported."""
    if len(sys.argv) > 1:
        make_all()
        return
    run_apart(__spec__.name if __spec__ else __name__)


if __name__ == "__main__":
    main()
