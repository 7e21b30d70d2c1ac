"""Make the LLVM texts of the ops' functions of numbers: `python -m numbad.kernels.make_number_texts`.

It writes `generated/number_texts`. Tapes that are compiled themselves are made of these functions (`numbad.compiling`).
"""

from __future__ import annotations

import sys
from typing import Any

import llvmlite.binding as llvm

from numbad.kernels import number_texts, texts
from numbad.kernels.archives import pack
from numbad.kernels.make_texts import clean, run_apart, shorten


def translate(function: Any) -> tuple[str, str]:
    """Return Numba's text of a function of numbers, and the symbol that it has there."""
    import numba

    signature = numba.float64(*[numba.float64] * function.__code__.co_argcount)
    compiled: Any = numba.cfunc(signature, error_model="numpy")(function)
    return str(compiled._library._final_module), compiled._wrapper_name


def make(function: Any) -> str:
    """Return the text of a function of numbers: without vector functions, so that a loop of it keeps its bits."""
    text = clean(shorten(*translate(function), function.__name__))
    text = texts.USED.sub("", texts.DECLARED.sub("", texts.VARIANTS.sub("", text)))
    llvm.parse_assembly(text).verify()
    return text


def make_all() -> None:
    """Write the texts of all functions of numbers."""
    from numbad.kernels.generated import numbers

    found = {name: make(function) for name, function in vars(numbers).items() if name.startswith(("value_", "slope"))}
    number_texts.ARCHIVE.write_bytes(pack(found, number_texts.digest()))
    print(f"wrote {number_texts.ARCHIVE}: {len(found)} texts, {number_texts.ARCHIVE.stat().st_size} bytes")


def main() -> None:
    """Make the texts in a process of their own, for Numba reads its settings when it is imported."""
    if len(sys.argv) > 1:
        make_all()
        return
    run_apart(__spec__.name if __spec__ else __name__)


if __name__ == "__main__":
    main()
