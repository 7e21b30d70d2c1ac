"""The compiled functions of this wing: each is compiled by Numba when it is first called, and kept on disk.

They have no texts in the package, as those of `kernels` have: they are needed where patterns are found, not for a first
gradient, and are compiled in a second or two.
"""

from __future__ import annotations

import functools
import hashlib
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from numbad.kernels import cache, machinecode
from numbad.kernels.calls import entries_of
from numbad.kernels.loading import compile_notice, compiling
from numbad.kernels.sources import digest_of_sources
from numbad.limits import CHECKED

if CHECKED:
    from numbad.kernels import checked_memory

FOLDER = Path(__file__).parent
SOURCES = tuple(FOLDER / f"{name}.py" for name in ("propagation", "colours"))
FLOAT64 = np.dtype(np.float64)
_found: dict[Any, Any] = {}
_lock = threading.RLock()


@functools.cache
def digest() -> str:
    """Return what tells versions of the machine code apart: of the package's functions, and of the texts here."""
    from importlib.metadata import version

    own = "".join(digest_of_sources(path) for path in SOURCES) + version("numba")
    return hashlib.sha256(own.encode()).hexdigest()[:16]


def function(name: str, dtype: np.dtype = FLOAT64) -> Any:
    """Return a compiled function of a number and the address of a table, for numbers of a dtype."""
    found = _found.get((name, dtype.num))
    if found is None:
        with _lock:
            found = _found.get((name, dtype.num))
            if found is None:
                found = machinecode.callable_at(load_or_compile(name, dtype), dtype, 2)
                found = checked_memory.gate(name, found) if CHECKED else found
                _found[name, dtype.num] = found
    return found


def load_or_compile(name: str, dtype: np.dtype) -> int:
    """Return the memory address of a function: from disk, or compiled by Numba."""
    title = f"sparsity_{name}_{dtype}_{digest()}"
    address = machinecode.load(title)
    if address is not None:
        return address
    with compiling(), compile_notice(f"{name} {dtype}"), cache.alone(machinecode.digest(), title):
        address = machinecode.load(title)
        if address is None:
            import numba

            from numbad.sparsity import colours, propagation

            source = vars(propagation).get(name) or vars(colours)[name]
            signature = numba.int64(numba.from_dtype(dtype), numba.int64, numba.int64)
            address = machinecode.compile_by_numba(title, source, signature)
    return address


def call(name: str, number: int, arrays: Sequence[np.ndarray], *more: int, dtype: np.dtype = FLOAT64) -> int:
    """Call a compiled function of a number, and of a table with some arrays and more numbers."""
    table = entries_of(*arrays)
    table.extend(more)
    if CHECKED:
        checked_memory.lend(table, *arrays)
    return int(function(name, dtype)(0.0, number, table.buffer_info()[0]))
