"""Compiled functions by name and dtype: loaded from disk, or compiled with a notice to the user."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
import time
from array import array
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from numbad.kernels import machinecode
from numbad.kernels.memory import address_of
from numbad.limits import CHECKED, LOCKED_ROWS

if CHECKED:
    from numbad.kernels import checked_memory

FLOAT64 = np.dtype(np.float64)
NOTICE_AFTER = 1.0  # seconds
STAMPED = ("limits.py", "tape/layout.py", "sweeps/large_rows.py", "sweeps/fusion.py")  # and all that is in kernels/
_announced = threading.Event()
INTEGERS = {
    "primal": 4,
    "linearise": 5,
    "run_pass": 2,
    "active_at": 2,
    "needed_at": 2,
    "varying_at": 2,
    "block_primal": 5,
    "block_partials": 7,
    "emit_at": 2,
    "forward_at": 9,
    "adjoint_at": 11,
    "tangent_at": 11,
    "run_at": 1,
    "points_primal": 5,
    "points_adjoint": 5,
}  # switches, with the number of integers that each takes after a number of its dtype
_kernels: dict[Any, Any] = {}
_tables: dict[Any, np.ndarray] = {}
compile_seconds: dict[str, float] = {}


def source_of(name: str) -> Any:
    """Return the Python function that a switch is compiled from."""
    from numbad.kernels import array as arrays
    from numbad.kernels import dependence, emission, passes, run
    from numbad.kernels.generated import blocks, points
    from numbad.kernels.generated import scalar as ops

    modules = (ops, blocks, points, arrays, run, emission, passes, dependence)
    return next(vars(module)[name] for module in modules if name in vars(module))


HERE, ELSEWHERE = ("block_primal", "forward_at", "run_at"), ("block_partials", "adjoint_at")
_ready: set[Any] = set()


def kernel(name: str, dtype: np.dtype) -> Any:
    """Return a compiled sweep; the first call for a dtype compiles it, or loads it from the disk cache."""
    found = _kernels.get((name, dtype.num))
    if found is None:
        from numbad.kernels import scalar

        found = getattr(scalar, name)
        with compile_notice(f"{name} {dtype}"):
            compile_kernel(found, name, dtype)
        _kernels[name, dtype.num] = found
    return found


def switch(name: str, dtype: np.dtype) -> np.uint64:
    """Return the memory address of a compiled switch over all ops; the first call loads or compiles it."""
    found = _kernels.get((name, dtype.num))
    if found is None:
        title = f"{name}_{dtype}"
        start = time.perf_counter()
        address = machinecode.load(title)
        compile_seconds[f"{name} {dtype}"] = time.perf_counter() - start
        if address is None:
            import numba

            signature = numba.int64(numba.from_dtype(dtype), *[numba.int64] * INTEGERS[name])
            function = source_of(name)
            with compile_notice(f"{name} {dtype}"):
                address = machinecode.compile_to(title, function, signature)
        found = _kernels[name, dtype.num] = np.uint64(address)
    return found


def ready_arrays(dtype: np.dtype) -> None:
    """Compile what a gradient of arrays needs, in two processes at once, unless it is on disk."""
    compile_in_two(HERE, ELSEWHERE, dtype)


def compile_in_two(here: tuple[str, ...], elsewhere: tuple[str, ...], dtype: np.dtype) -> None:
    """Compile switches, some in this process and some in another, unless they are on disk."""
    if (here, dtype.num) in _ready:
        return
    _ready.add((here, dtype.num))
    if any(machinecode.is_kept(f"{name}_{dtype}") for name in here + elsewhere):
        return
    child = machinecode.compile_elsewhere(__name__, "compile_switch", [[name, str(dtype)] for name in elsewhere])
    if child is None:
        return
    try:
        with compile_notice(f"with another process {dtype}"):
            for name in here:
                switch(name, dtype)
            child.wait()
    finally:
        child.kill()
        child.wait()


def compile_switch(name: str, dtype: str) -> None:
    """Compile a switch and keep it on disk."""
    switch(name, np.dtype(dtype))


def sweep(name: str, dtype: np.dtype, short: bool = False) -> Any:
    """Return a compiled sweep over rows of all kinds, called with memory addresses (see `machinecode.callable_at`)."""
    found = _kernels.get((name, dtype.num, short))
    if found is None:
        address = int(switch(name, dtype))
        found = machinecode.callable_at(address, dtype, INTEGERS[name], short)
        found = _kernels[name, dtype.num, short] = checked_memory.gate(name, found) if CHECKED else found
    return found


def call(name: str, number: int, arrays: Sequence[Any]) -> int:
    """Call a compiled function of a number and of a table that holds address and length of each array, rows first."""
    entries = [entry for values in arrays for entry in (address_of(values) if len(values) else 0, len(values))]
    return call_table(name, number, entries, arrays)


def call_table(name: str, number: int, entries: Sequence[int], lent: Sequence[Any]) -> int:
    """Call a compiled function of a number and a table; `lent` are the arrays whose addresses stand there."""
    table = array("q", entries)
    if CHECKED:
        checked_memory.lend(table, *lent)
    return sweep(name, FLOAT64, entries[1] <= 4 * LOCKED_ROWS)(0.0, number, table.buffer_info()[0])


def block_kernels(dtype: np.dtype, scalar: bool = False) -> np.ndarray:
    """Return the table of switches that the array kernels call; `scalar` adds the one for many scalar rows."""
    table = _tables.get((dtype.num, scalar))
    if table is None:
        ready_arrays(dtype)
        first = switch("linearise", dtype) if scalar else 0
        table = np.array([first, switch("block_primal", dtype), switch("block_partials", dtype)], np.uint64)
        table = _tables.setdefault((dtype.num, scalar), table)  # its address is kept: threads share the first
    return table


def compile_kernel(function: Any, name: str, dtype: np.dtype) -> None:
    """Compile a sweep by running it over no rows."""
    code, values, partials = np.empty((0, 4), np.uint32), np.zeros(1, dtype), np.empty((0, 2), dtype)
    if name == "linearise_rows":
        function(switch("linearise", dtype), code, values, partials, 0, 0)
    elif name == "are_finite":
        function(values)
    else:
        function(code, partials, values, 0, 0)


@contextlib.contextmanager
def compile_notice(name: str) -> Iterator[None]:
    """Say on stderr, once, that a first call takes long because it compiles; note the seconds it took."""
    start = time.perf_counter()
    timer = threading.Timer(NOTICE_AFTER, announce)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        compile_seconds[name] = time.perf_counter() - start


def refresh_stamps() -> None:
    """Make the compiled modules as new as the newest of them, before Numba looks: it does when it meets a function.

    Numba's disk cache looks at the time stamp of a function's own file only, but these modules
    inline functions of one another.
    """
    package = machinecode.PACKAGE
    paths = [*(package / name for name in STAMPED), *(package / "kernels").rglob("*.py")]
    stamps = [path.stat().st_mtime_ns for path in paths]
    newest = max(stamps)
    for path, stamp in zip(paths, stamps, strict=True):
        if stamp < newest:
            with contextlib.suppress(OSError):
                os.utime(path, ns=(newest, newest))


def announce() -> None:
    """Print the notice, unless it has been printed."""
    if not _announced.is_set():
        _announced.set()
        print("numbad: compiling the sweeps, once on this machine; it takes some seconds", file=sys.stderr)


refresh_stamps()
