"""The compiled functions of this wing: each is compiled when it is first called, and kept on disk.

Those in double precision have texts in the package, as those of `kernels` have (`make_texts`); Numba compiles others.
"""

from __future__ import annotations

import functools
import hashlib
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from numbad.kernels import cache, machinecode, texts
from numbad.kernels.archives import Archive, open_archive
from numbad.kernels.calls import entries_of
from numbad.kernels.loading import compile_notice, compiling
from numbad.kernels.sources import digest_of_sources, read
from numbad.limits import CHECKED

if CHECKED:
    from numbad.kernels import checked_memory

FOLDER = Path(__file__).parent
SOURCES = tuple(FOLDER / f"{name}.py" for name in ("propagation", "colours"))
TEXTS = FOLDER / "texts"
FUNCTIONS = (
    "order_at colour_columns_at colour_saturated_at colour_stars_at colour_trees_at peel_trees_at substitute_at "
    "mark_steps_at mark_values_at run_entries_at "
    "make_entries_at fill_partials_at mark_rows_at propagate_at write_pattern_at"
).split()
FLOAT64 = np.dtype(np.float64)
_found: dict[Any, Any] = {}
_lock = threading.RLock()


@functools.cache
def digest() -> str:
    """Return what tells versions of the machine code apart: of the package's functions, and of the texts here."""
    from importlib.metadata import version

    return hashlib.sha256(f"{digest_of_texts()}{version('numba')}".encode()).hexdigest()[:16]


def digest_of_texts() -> str:
    """Return a digest of what the functions are made of."""
    own = "".join(digest_of_sources(path) for path in SOURCES)
    return hashlib.sha256(own.encode()).hexdigest()[:24] if own else ""


@functools.cache
def archive() -> Archive:
    """Return the texts; none where they are of other sources, or not wanted (see `kernels.texts.are_current`)."""
    content, own = read(str(TEXTS)) or b"", digest_of_texts()
    fits = texts.are_current() and (not own or content.startswith(texts.head_of(own)))
    return open_archive(content if fits else None)


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
    shipped = dtype == FLOAT64 and name in archive().places  # what Numba makes is another code, and slower
    title = f"sparsity_{name}_{dtype}_{digest()}{'' if shipped else '_by_numba'}"
    address = machinecode.load(title)
    if address is not None:
        return address
    with compiling(), compile_notice(f"{name} {dtype}"), cache.alone(machinecode.digest(), title):
        address = machinecode.load(title)
        if address is None:
            text = archive().find(name) if shipped else None
            address = None if text is None else machinecode.compile_text(texts.symbol_of(name), title, texts.fit(text))
        if address is None:
            address = machinecode.compile_by_numba(title, *source_of(name, dtype))
    return address


def source_of(name: str, dtype: np.dtype) -> tuple[Any, Any]:
    """Return the Python function that a function is compiled from, and its signature."""
    import numba

    from numbad.sparsity import colours, propagation

    source = vars(propagation).get(name) or vars(colours)[name]
    return source, numba.int64(numba.from_dtype(dtype), numba.int64, numba.int64)


def compile_function(name: str, dtype: np.dtype) -> Any:
    """Return a function as Numba compiles it."""
    import numba

    source, signature = source_of(name, dtype)
    return numba.cfunc(signature, error_model="numpy")(source)


def call(name: str, number: int, arrays: Sequence[np.ndarray], *more: int, dtype: np.dtype = FLOAT64) -> int:
    """Call a compiled function of a number, and of a table with some arrays and more numbers."""
    table = entries_of(*arrays)
    table.extend(more)
    if CHECKED:
        checked_memory.lend(table, *arrays)
    return int(function(name, dtype)(0.0, number, table.buffer_info()[0]))
