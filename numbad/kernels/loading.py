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

NOTICE_AFTER = 1.0  # seconds of waiting
NOTICE_AGAIN = 10.0  # seconds between two lines
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
    with compile_notice(f"{name} {dtype}"), cache.alone(machinecode.digest(), title):
        address = machinecode.load(title)
        if address is not None:  # another process has made it meanwhile
            loaded.add(f"{name} {dtype}")
            return address
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


class Notices:
    """What this process has said of its compiling.

    Attributes
    ----------
    waited : float
        Seconds of waiting since the last line.
    said : float, optional
        When the last line was printed; None before the first.
    """

    def __init__(self) -> None:
        self.waited = 0.0
        self.said: float | None = None

    def pause(self) -> float:
        """Return after how many seconds of waiting a line is due."""
        quiet = 0.0 if self.said is None else self.said + NOTICE_AGAIN - time.perf_counter()
        return max(NOTICE_AFTER - self.waited, quiet, 0.0)

    def say(self, name: str) -> None:
        """Print what is compiled; the first time whether it is kept, later how far it has got."""
        if config.notices and sys.stderr is not None:
            more = where_kept() if self.said is None else f" (function {len({*compile_seconds, name} - loaded)})"
            with contextlib.suppress(OSError, ValueError):  # a stderr that is closed
                print(f"numbad: compiling {name}{more}", file=sys.stderr)
        self.waited, self.said = 0.0, time.perf_counter()


notices = Notices()


@contextlib.contextmanager
def compile_notice(name: str) -> Iterator[None]:
    """Say on stderr that a call takes long because it compiles; note the seconds that it took.

    The first line comes as soon as all waiting of this process adds up to a second. Who waits on is told how far it has
    got every ten seconds, and who waits for a second once more, later than that, is told again.
    """
    start = time.perf_counter()
    timer = threading.Timer(notices.pause(), notices.say, (name,))
    timer.daemon = True
    with contextlib.suppress(RuntimeError):  # there are no new threads when Python ends
        timer.start()
    try:
        yield
    finally:
        timer.cancel()
        compile_seconds[name] = time.perf_counter() - start
        since = start if notices.said is None else max(start, notices.said)
        notices.waited += time.perf_counter() - since


def where_kept() -> str:
    """Return whether what is compiled is kept for later programs, and where."""
    reason = cache.why_not_kept()
    if reason is None:
        return f"; it is kept for later programs in {cache.root()}"
    cure = "the environment variable NUMBAD_CACHE_DIR names another folder"
    return f"; nothing can be kept in {cache.root()} ({reason}): {cure}"
