"""Compiled functions by name and dtype: loaded from disk, or compiled with a notice to the user."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from numbad.kernels import cache, machinecode
from numbad.kernels.memory import address_of
from numbad.kernels.run_layout import PRODUCT
from numbad.kernels.switches import BY_NUMBA, INTEGERS, OF_OPS, count_integers, source_of
from numbad.limits import CHECKED
from numbad.ops.definition import REGISTRY
from numbad.settings import config
from numbad.tape.layout import MAP

if CHECKED:
    from numbad.kernels import checked_memory

NOTICE_AFTER = 1.0  # seconds
_announced = False
_waited = 0.0  # seconds of waiting since the last notice
BLOCKS = ("block", "partials")  # the functions of an op that array rows call
_compiling = threading.RLock()
_kernels: dict[Any, Any] = {}
_tables: dict[Any, np.ndarray] = {}
compile_seconds: dict[str, float] = {}
loaded: set[str] = set()  # names in `compile_seconds` of what was on disk


if hasattr(os, "register_at_fork"):  # a lock that another thread holds would stay locked in the child
    os.register_at_fork(
        before=_compiling.acquire, after_in_parent=_compiling.release, after_in_child=_compiling.release
    )


def switch(name: str, dtype: np.dtype) -> np.uint64:
    """Return the memory address of a compiled function; the first call loads or compiles it."""
    found = _kernels.get((name, dtype.num))
    if found is None:
        with _compiling:
            found = _kernels.get((name, dtype.num))
            if found is None:
                found = _kernels[name, dtype.num] = np.uint64(load_or_compile(name, dtype))
    return found


def load_or_compile(name: str, dtype: np.dtype) -> int:
    """Return the memory address of a function: from disk, or compiled from its text, or else by Numba."""
    title = f"{name}_{dtype}"
    start = time.perf_counter()
    address = machinecode.load(title)
    compile_seconds[f"{name} {dtype}"] = time.perf_counter() - start
    if address is not None:
        loaded.add(f"{name} {dtype}")
        return address
    with compile_notice(f"{name} {dtype}"):
        address = machinecode.compile_shipped(name, title)
        if address is None:
            import numba

            signature = numba.int64(numba.from_dtype(dtype), *[numba.int64] * count_integers(name))
            address = machinecode.compile_by_numba(title, source_of(name), signature)
    return address


def sweep(name: str, dtype: np.dtype, short: bool = False) -> Any:
    """Return a compiled sweep over rows of all kinds, called with memory addresses (see `machinecode.callable_at`)."""
    found = _kernels.get((name, dtype.num, short))
    if found is None:
        address = int(switch(name, dtype))
        found = machinecode.callable_at(address, dtype, count_integers(name), short)
        found = _kernels[name, dtype.num, short] = checked_memory.gate(name, found) if CHECKED else found
    return found


# ---------------------------------------------------------------- functions of single ops


def op_table(kind: str, dtype: np.dtype) -> np.ndarray:
    """Return the memory addresses of the ops' functions of a kind, by opcode; 0 where there is none (yet)."""
    table = _tables.get((kind, dtype.num))
    if table is None:
        table = _tables.setdefault((kind, dtype.num), np.zeros(MAP, np.uint64))  # its address is kept by all threads
    return table


def list_functions() -> list[str]:
    """Return the names of all compiled functions that have a text."""
    found = [name for name in INTEGERS if name not in BY_NUMBA]
    for op in REGISTRY:
        if not op.host:
            found += [f"{kind}_{op.name}" for kind in OF_OPS if op.smooth or kind != "points_adjoint"]
    return found


def make_ready(kinds: Sequence[str], dtype: np.dtype, opcodes: Iterable[int]) -> bool:
    """Load or compile the functions of some ops, those of SciPy's apart; return whether one was not there before.

    `kinds` are of `switches.OF_OPS`. What runs rows calls this for all of their ops before, or for one where a sweep
    has stopped for the want of it.
    """
    missed = False
    for opcode in opcodes:
        op = REGISTRY[opcode]
        for kind in kinds:
            table = op_table(kind, dtype)
            if not table[opcode] and not op.host and (op.smooth or kind != "points_adjoint"):
                table[opcode] = switch(f"{kind}_{op.name}", dtype)
                missed = True
    return missed


def make_rows_ready(kinds: Sequence[str], dtype: np.dtype, opcodes: np.ndarray) -> None:
    """Load or compile the functions of all ops of some rows, by the rows' own opcodes."""
    ops = opcodes[opcodes < 2 * MAP] % MAP
    make_ready(kinds, dtype, np.flatnonzero(np.bincount(ops)).tolist())


def block_kernels(dtype: np.dtype, scalar: bool = False) -> np.ndarray:
    """Return the table of kernels that array rows call; `scalar` adds the switch for many scalar rows."""
    table = _tables.get((dtype.num, scalar))
    if table is None:
        first = switch("linearise", dtype) if scalar else 0
        places = [address_of(op_table(kind, dtype)) for kind in BLOCKS]
        product = _kernels.get(("product_at", dtype.num), 0)
        table = _tables.setdefault((dtype.num, scalar), np.array([first, *places, product], np.uint64))
    return table


def make_products_ready(dtype: np.dtype) -> bool:
    """Load or compile what multiplies matrices; return whether it was not in a table of kernels before."""
    product = switch("product_at", dtype)
    missed = False
    for scalar in (False, True):
        table = _tables.get((dtype.num, scalar))
        if table is not None and not table[PRODUCT]:
            table[PRODUCT] = product
            missed = True
    return missed


# ---------------------------------------------------------------- notices


@contextlib.contextmanager
def compile_notice(name: str) -> Iterator[None]:
    """Say on stderr that a call takes long because it compiles; note the seconds that it took.

    The first line comes as soon as all waiting of this process adds up to a second, others for what alone takes longer.
    """
    global _waited
    start = time.perf_counter()
    timer = threading.Timer(max(NOTICE_AFTER - _waited, 0.0), announce, (name,))
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        compile_seconds[name] = time.perf_counter() - start
        _waited = 0.0 if _waited + compile_seconds[name] > NOTICE_AFTER else _waited + compile_seconds[name]


def announce(name: str) -> None:
    """Print what is compiled; the first time, where it is kept as well."""
    global _announced
    if config.notices and sys.stderr is not None:
        kept = "" if _announced else f"; it is kept for later programs in {cache.root()}"
        _announced = True
        print(f"numbad: compiling {name}{kept}", file=sys.stderr)
