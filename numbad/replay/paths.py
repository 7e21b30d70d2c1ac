"""The recorded paths of one signature: which is tried first, and which after a guard that did not hold.

Two paths of a function have the same rows up to the guard that tells them apart. So a run that stops at a guard
leaves few candidates: those that leave this path there. They go on with what it has computed. Trying paths
thus walks down the tree of guards, and costs about as much as one path, whichever it is.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from numbad.tape.layout import GUARD, GUARD_VALUE, HOST, MAP, row_size, write_span
from numbad.tape.rows import Rows


class Paths:
    """The programs of one signature; the one that ran most often is tried first.

    Attributes
    ----------
    programs : list of Program
    forks : dict
        For two programs, by their ids: how many first rows they share, and whether a guard tells them apart there.
    after : dict
        For a program (its id) and the row of a guard that failed: the programs that go on from there.
    used : int
        When they ran last, on the clock of the jitted function.
    """

    def __init__(self) -> None:
        self.programs: list[Any] = []
        self.forks: dict[tuple[int, int], tuple[int, bool]] = {}
        self.after: dict[tuple[int, int], list[Any]] = {}
        self.certain = True
        self.used = 0
        self.key: Any = None  # the signature
        self.missed: tuple[Any, int] | None = None

    @property
    def bytes(self) -> int:
        """What the programs take, with the memory of their runs."""
        return sum(program.bytes() for program in self.programs)

    def add(self, program: Any) -> None:
        """Keep a program, and note where it leaves each of the others."""
        for other in self.programs:
            fork = other.fork(program)
            self.forks[id(other), id(program)] = self.forks[id(program), id(other)] = fork
            self.certain = self.certain and fork[1]
        self.programs.append(program)
        self.after = {}

    def run(self, values: Any) -> Any:
        """Run the path that the values take; return its program, or None if it has not been recorded."""
        programs = self.programs
        if not programs:
            return None
        program = programs[0]
        row = program.attempt(values)
        if row < 0:
            return program
        failed = [(program, row)]
        while row >= 0:
            source, start = program, row
            options = self.after.get((id(program), row))
            if options is None:
                options = self.find_options(program, row)
            for program in options:
                if all(program is not other for other, _ in failed):
                    break
            else:
                return self.try_others(values, failed)
            row = program.attempt(values, start, source)
            failed.append((program, row))
        return self.prefer(program)

    def prefer(self, program: Any) -> Any:
        """Let a program that has run be tried first, if it has run most often; return it."""
        if program.hits > self.programs[0].hits:
            self.programs.remove(program)
            self.programs.insert(0, program)
        return program

    def find_options(self, program: Any, row: int) -> list[Any]:
        """Return the programs that leave another at a guard, the common ones first."""
        found = [other for other in self.programs if self.forks.get((id(program), id(other))) == (row, True)]
        found.sort(key=lambda other: -other.hits)
        self.after[id(program), row] = found
        return found

    def try_others(self, values: Any, failed: list[tuple[Any, int]]) -> Any:
        """Run the programs of which it is not certain that they cannot hold; note the farthest miss if none does."""
        if not self.certain:
            for program in list(self.programs):
                if self.may_hold(program, failed):
                    row = program.attempt(values)
                    if row < 0:
                        return self.prefer(program)
                    failed.append((program, row))
        self.missed = max(failed, key=lambda pair: pair[1])
        return None

    def may_hold(self, program: Any, failed: list[tuple[Any, int]]) -> bool:
        """Whether a program may hold where others have not: it was not tried, and shares no guard that failed."""
        for other, row in failed:
            if other is program:
                return False
            shared, guarded = self.forks[id(other), id(program)]
            if shared > row or (guarded and shared < row):
                return False
        return True

    def missed_site(self) -> Any:
        """Return the user's statement at which the last call left all recorded paths."""
        if self.missed is None:
            return None
        program, row = self.missed
        return program.machine.site(row)


class KnownPaths(Paths):
    """The programs of a signature with integers or truth values: their prologues tell them apart, so each is tried."""

    def add(self, program: Any) -> None:
        """Keep a program."""
        self.programs.append(program)

    def run(self, values: Any) -> Any:
        """Run the path that the values take; return its program, or None if it has not been recorded."""
        for program in list(self.programs):
            if program.attempt(values) < 0:
                return self.prefer(program)
        return None

    def missed_site(self) -> Any:
        """Return the user's statement at which the last call left the path that is taken most often."""
        return self.programs[0].prologue.missed if self.programs else None


def is_fork(one: np.ndarray, other: np.ndarray) -> bool:
    """Whether two rows are the same guard with another outcome."""
    if one[0] != other[0] or one[0] not in (GUARD, GUARD_VALUE):
        return False
    return bool(one[2] == other[2])


def common_rows(one: Any, other: Any) -> tuple[int, bool]:
    """Return how many first rows two recordings share, and whether the next is a guard with two outcomes."""
    if one.recorder.large or other.recorder.large:
        return 0, False
    code, more = (rows_of(program.recorder) for program in (one, other))
    count = min(len(code), len(more))
    same = (code[:count] == more[:count]).all(axis=1)
    shared = count if same.all() else int(np.argmin(same))
    last = last_address(one.recorder, shared)
    if (code[:shared, 0] == HOST).any() or not same_words(one.recorder, other.recorder, code[:shared]):
        return 0, False
    if not same_constants(one, other, last):
        return 0, False
    return shared, shared < count and is_fork(code[shared], more[shared])


def rows_of(recorder: Any) -> np.ndarray:
    """Return the rows of a tape, with the recorded value itself in place of its address in guards of values."""
    code = np.frombuffer(recorder.code, np.uint32).reshape(-1, 4).astype(np.int64)
    guards = np.flatnonzero(code[:, 0] == GUARD_VALUE)
    if guards.size:
        numbers = np.array(recorder.numbers).reshape(-1, 2)
        values = dict(zip(numbers[:, 0].tolist(), np.ascontiguousarray(numbers[:, 1]).view(np.int64).tolist()))
        code[guards, 1] = [values.get(address, -address) for address in code[guards, 1].tolist()]
    return code


def same_words(one: Rows, other: Rows, code: np.ndarray) -> bool:
    """Whether the operand words of rows are the same in two recordings."""
    rows = code[(code[:, 0] >= MAP) & (code[:, 0] != GUARD) & (code[:, 0] != GUARD_VALUE)]
    if not len(rows):
        return True
    start = int(rows[-1, 2])
    stop = start + row_size(one.words, start)
    return one.words[:stop] == other.words[:stop]


def same_constants(one: Any, other: Any, last: int) -> bool:
    """Whether two programs have the same constants up to an address, and in the arrays that they refer to."""
    inputs = {leaf.address for leaf in one.leaves if not leaf.space}
    numbers, more = (np.array(program.recorder.numbers).reshape(-1, 2) for program in (one, other))
    found: list[Any] = []
    for pairs in (numbers, more):
        pairs = pairs[(pairs[:, 0] <= last) & ~np.isin(pairs[:, 0], list(inputs))]
        found.append(pairs.tobytes())
    for recorder in (one.recorder, other.recorder):
        loads = [(address, block.tobytes()) for address, block in recorder.loads]
        found.append([load for load in loads if load[0] <= last and load[0] not in inputs])
    if found[0] != found[1] or found[2] != found[3]:
        return False
    for k, (space, match) in enumerate(zip(one.recorder.spaces, other.recorder.spaces)):
        if k and k not in one.recorder.input_spaces and space is not match and not np.array_equal(space, match):
            return False
    return True


def last_address(recorder: Any, rows: int) -> int:
    """Return the last address that the first rows write to."""
    code = np.frombuffer(recorder.code, np.uint32).reshape(-1, 4)[:rows]
    scalar = code[:, 0] < MAP
    found = int(code[scalar, 1].max(initial=0))
    for opcode, out, w, _ in code[~scalar & (code[:, 0] != GUARD) & (code[:, 0] != GUARD_VALUE)].tolist():
        found = max(found, write_span(opcode, out, w, recorder.words)[1])
    return found
