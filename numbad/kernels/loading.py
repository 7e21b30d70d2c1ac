"""Compiled functions by name and dtype: loaded from disk, or compiled with a notice to the user."""

from __future__ import annotations

import contextlib
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

import numpy as np

from numbad.kernels import machinecode
from numbad.limits import CHECKED

if CHECKED:
    from numbad.kernels import checked_memory

NOTICE_AFTER = 1.0  # seconds
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
    "scalars_back_at": 6,
    "finite_at": 2,
    "uses_at": 2,
    "writes_at": 2,
    "reads_at": 2,
    "slopes_at": 2,
    "compress_at": 2,
    "move_lanes_at": 2,
    "gather_lanes_at": 2,
    "scatter_lanes_at": 2,
    "clear_at": 2,
    "lane_blocks_at": 2,
    "map_forward_at": 2,
    "map_backward_at": 2,
    "totals_at": 2,
    "total_at": 3,
    "add_at": 2,
    "matrix_vector_at": 2,
    "vector_matrix_at": 2,
    "add_pieces_at": 3,
    "fused_reads_at": 2,
    "fused_forward_at": 2,
    "fused_backward_at": 2,
    "adjoint_program_at": 2,
    "points_at": 2,
    "recurrence_at": 5,
    "shares_at": 4,
}  # switches, with the number of integers that each takes after a number of its dtype
_kernels: dict[Any, Any] = {}
_tables: dict[Any, np.ndarray] = {}
compile_seconds: dict[str, float] = {}
loaded: set[str] = set()  # names in `compile_seconds` of what was on disk


def source_of(name: str) -> Any:
    """Return the Python function that a switch is compiled from."""
    from numbad.kernels import (
        array,
        dependence,
        emission,
        fused,
        laneblocks,
        lanes,
        matrix,
        passes,
        pieces,
        points,
        run,
        scalar,
        scans,
        shell,
        verification,
    )
    from numbad.kernels.generated import blocks
    from numbad.kernels.generated import points as lane_ops
    from numbad.kernels.generated import scalar as ops

    switches = (ops, blocks, lane_ops)
    sweeps = (array, run, scalar, pieces, fused, matrix, lanes, laneblocks, points, scans, shell)
    modules = (*switches, *sweeps, emission, passes, dependence, verification)
    return next(vars(module)[name] for module in modules if name in vars(module))


HERE, ELSEWHERE = ("block_primal", "forward_at", "run_at"), ("block_partials", "adjoint_at")
_ready: set[Any] = set()


def switch(name: str, dtype: np.dtype) -> np.uint64:
    """Return the memory address of a compiled switch over all ops; the first call loads or compiles it."""
    found = _kernels.get((name, dtype.num))
    if found is None:
        title = f"{name}_{dtype}"
        start = time.perf_counter()
        address = machinecode.load(title)
        compile_seconds[f"{name} {dtype}"] = time.perf_counter() - start
        if address is not None:
            loaded.add(f"{name} {dtype}")
        else:
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


def block_kernels(dtype: np.dtype, scalar: bool = False) -> np.ndarray:
    """Return the table of switches that the array kernels call; `scalar` adds the one for many scalar rows."""
    table = _tables.get((dtype.num, scalar))
    if table is None:
        ready_arrays(dtype)
        first = switch("linearise", dtype) if scalar else 0
        table = np.array([first, switch("block_primal", dtype), switch("block_partials", dtype)], np.uint64)
        table = _tables.setdefault((dtype.num, scalar), table)  # its address is kept: threads share the first
    return table


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


def announce() -> None:
    """Print the notice, unless it has been printed."""
    if not _announced.is_set():
        _announced.set()
        print("numbad: compiling the sweeps, once on this machine; it takes some seconds", file=sys.stderr)
