"""Tapes that run often are compiled: when that begins, in which thread, and how the code takes the machine's place."""

from __future__ import annotations

import contextlib
import threading
import time
from typing import Any

import numpy as np

from numbad.errors import message
from numbad.kernels import loading
from numbad.limits import WORTH_COMPILING
from numbad.replay.machines import choose_machine
from numbad.replay.packed_paths import PackedPath
from numbad.replay.recorded_path import Path
from numbad.replay.telling import warn
from numbad.settings import config
from numbad.tape.layout import HOST, MAP, is_guard, step_count

NEVER = float("inf")
LONG = 1 << 16  # rows: of a longer path they are packed when it is compiled
ARRAY_ROW, PYTHON_ROW = 20, 5000  # times what a row of numbers costs
ELEMENTS = 4  # of array rows cost as much as a row of numbers


class Promotion:
    """A path on its way from the machine that interprets it to machine code.

    Attributes
    ----------
    next : float
        After how many calls there is something to do.
    seconds : float
        What compiling took.
    """

    def __init__(self, path: Path | None, machine: Any) -> None:
        self.path: Any = path
        self.machine = machine
        self.packed: PackedPath | None = None
        self.thread: threading.Thread | None = None
        self.done = False
        self.found: Any = None
        self.failure: Exception | None = None
        self.seconds = 0.0
        self.next = self.first_look()

    def first_look(self) -> float:
        """Return after how many calls there is something to do."""
        return float(max(2, WORTH_COMPILING // cost_of(self.path)))

    def may_be(self) -> bool:
        """Whether there may be machine code."""
        return may_be_compiled(self.path)

    def calls_python(self) -> bool:
        """Whether the interpreter calls Python for rows of the path."""
        return bool((self.path.tape.code[:, 0] == HOST).any())

    def look(self, calls: int) -> Any:
        """Begin to compile, or return the new machine if it is ready; None if it is not."""
        if not config.compile_tapes:
            self.next = 2 * calls  # it may be switched on again
        elif self.thread is None and not self.may_be():
            self.next = NEVER
        elif self.thread is None and self.calls_python():
            self.compile()  # a thread would wait for Python as long as the calls do
            return self.take()
        elif self.thread is None:
            self.thread = threading.Thread(target=self.compile, name="numbad compiles a tape")
            self.thread.start()
            self.next = calls + 1
        elif self.done:
            self.thread.join()
            return self.take()
        return None

    def take(self) -> Any:
        """Return what the compiler has made; warn if it failed."""
        self.next = NEVER
        if self.failure is not None:
            warn_of(self.failure)
        if hasattr(self.found, "give_up_inner") and len(self.path.tape) > LONG:
            self.give_up_rows()
        return self.found

    def give_up_rows(self) -> None:
        """Keep the rows of a long path in few bytes, for what its machine code leaves to the machine before it."""
        segments = self.found.code.module.segments
        longest = max(segments, key=lambda segment: segment.count)
        self.packed = packed = PackedPath(self.path, longest.period)
        self.found.give_up_inner(lambda: choose_machine(packed.unpack()))
        self.path = self.machine = None

    def make(self) -> Any:
        """Return the new machine now, however often the path has run; None where it cannot be compiled."""
        return self.build() if self.may_be() else None

    def build(self) -> Any:
        """Compile."""
        return compile_path(self.path, self.machine)

    def compile(self) -> None:
        """Compile the path: in a thread, for LLVM lets the others run."""
        begin = time.perf_counter()
        try:
            self.found = self.build()
        except Exception as error:  # whatever it is, the interpreter goes on
            self.failure = error
        finally:
            self.seconds = time.perf_counter() - begin
            self.done = True


def warn_of(failure: Exception) -> None:
    """Warn that a function goes on being interpreted, for the compiler failed."""
    what = f"a function that is replayed often could not be compiled: {type(failure).__name__}: {failure}"
    cure = "report it; numbad.config.compile_tapes = False leaves the compiler out"
    warn(message(what, cure, where=False))


def cost_of(path: Path) -> int:
    """Return what a run by the interpreter costs, in rows of numbers: rows over arrays and Python's take longer."""
    opcodes = path.tape.code[:, 0]
    arrays = (opcodes >= MAP) & ~is_guard(opcodes)
    places = path.tape.code[arrays & (opcodes != HOST), 2].astype(np.int64)
    elements = int(np.sum(step_count(path.tape.words, places))) if len(places) else 0
    rows = len(opcodes) + ARRAY_ROW * int(np.count_nonzero(arrays)) + elements // ELEMENTS
    return 1 + rows + PYTHON_ROW * int(np.count_nonzero(opcodes == HOST))


def may_be_compiled(path: Path) -> bool:
    """Whether a path has rows of numbers or arrays that can be compiled, and something to compute."""
    from numbad.compilation.array_code import may_be_grouped
    from numbad.compilation.taking_apart import may_be_taken_apart

    if not len(path.tape) or (path.wanted is not None and not path.results):
        return False
    return may_be_taken_apart(path.tape) or may_be_grouped(path.tape)


def compile_path(path: Path, machine: Any) -> Any:
    """Return a machine of a path's own machine code, None where there can be none.

    Small arrays are taken apart into numbers; where that is too much code, or arrays are larger, rows are grouped.
    """
    from numbad.compilation.array_code import may_be_grouped
    from numbad.compilation.module import Uncompilable
    from numbad.compilation.taking_apart import may_be_taken_apart

    for may_be, compile_them in ((may_be_taken_apart, compile_numbers), (may_be_grouped, compile_groups)):
        if may_be(path.tape):
            with contextlib.suppress(Uncompilable), loading.compiling():
                return compile_them(path, machine)
    return None


def compile_numbers(path: Path, machine: Any) -> Any:
    """Return a machine of the machine code of a path of numbers and small arrays."""
    from numbad.compilation.code import compile_program
    from numbad.compilation.scalar_program import make_program
    from numbad.compilation.taking_apart import take_apart
    from numbad.replay.compiled_machine import CompiledMachine

    tape, results = path.tape, path.results
    if len(tape.words):
        tape, results = take_apart(tape, results)
    program = make_program(tape, results, path.wanted, path.value)
    if len(path.tape.words):
        program.rows = tape.sites[program.rows]
    return CompiledMachine(program, compile_program(program), machine)


def compile_groups(path: Path, machine: Any) -> Any:
    """Return a machine of the machine code of a path's groups of rows over arrays."""
    from numbad.compilation.array_code import compile_arrays
    from numbad.replay.grouped_machine import GroupedMachine
    from numbad.replay.lookups import gather_lookups

    rows, lookups = gather_lookups(path.rows())
    tables = {lookup.w: lookup.table for lookup in lookups}
    program, code = compile_arrays(path.tape, rows, tables, path.results, path.wanted)
    return GroupedMachine(path, rows, lookups, program, code, machine)
