"""Recorded paths that travel: what `numbad.jit` would record of a call, as arrays, and what runs them elsewhere.

A path is a tape with its guards, and with the prologue of what is computed from integers. Where it holds, the process
that has it need not have the function. The machines that run it are the interpreters of `numbad.replay`: machine code
of a single path may add up in another order, so bits would depend on how often a process has run it.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from numbad.distributed.contents import Package, pack
from numbad.distributed.derivatives import derivative_of
from numbad.distributed.signatures import look_at_call
from numbad.errors import read_line
from numbad.kernels.memory import give_back, handed_out
from numbad.recording.active import Active
from numbad.recording.arrays import Array
from numbad.recording.inputs import FLOAT64
from numbad.recording.outputs import is_slope, narrowed
from numbad.recording.trees import first, put_together
from numbad.replay.jit import Jitted
from numbad.replay.machines import choose_machine
from numbad.replay.output_copies import ArrayResult
from numbad.replay.paths import KnownPaths, Paths
from numbad.replay.program import Answer, Program
from numbad.replay.recorded_path import Path
from numbad.replay.signatures import is_followed
from numbad.replay.swept_machine import SweptMachine
from numbad.storage.tape_files import describe_opcodes, translate
from numbad.tape.layout import find_large
from numbad.tape.rows import Rows
from numbad.tapes.tape import Tape
from numbad.tapes.workspaces import rows_of

MISSED: Any = object()  # what a path gives that is not the one of a call
FIELDS = "words size dtype numbers loads spaces hosts inputs outputs input_trees output_tree sites name".split()


class Unrecordable(Exception):
    """A call that cannot be recorded as a path that travels; its cause says why."""


# ---------------------------------------------------------------- recording


def record_path(kind: str, loss: Callable[..., Any], arguments: tuple[Any, ...]) -> Package:
    """Record the path of a call of what is computed of a block; raise what the function raises."""
    jitted = Jitted(derivative_of(kind, loss))
    values = look_at_call(arguments).values
    program: Program | None
    if any(map(is_followed, values)):
        paths = jitted.paths_of("integers", values)
        assert isinstance(paths, KnownPaths)
        program = jitted.try_known(arguments, {}, paths)
        if program is None:
            raise Unrecordable
    else:
        program = jitted.record(arguments, {}, Paths())
    description = describe_program(program)
    try:
        return pack(description)
    except Exception as error:  # a Python function among its rows that cannot be pickled
        raise Unrecordable from error


def describe_program(program: Program) -> dict[str, Any]:
    """Return what a path consists of, without the values of the call that it was recorded of."""
    path: Path = program.promotion.path
    prologue = program.prologue
    found = {
        "tape": describe_tape(path.tape),
        "results": path.results,
        "fixed": path.fixed,
        "wanted": path.wanted,
        "value": path.value,
        "read": path.read,
        "constants": path.recorder.constants,
        "varied": path.recorder.varied,
        "narrow": program.narrow,
        "prologue": None if prologue is None else describe_prologue(prologue),
    }
    if prologue is not None:
        found |= {"recorded": program.recorded, "followed": program.followed}
    if program.gradient is not None:
        (chosen, rebuild), *_ = program.parts
        constant = None if program.outputs else program.constant
        return found | {"chosen": chosen, "tree": structure_of(rebuild), "constant": constant}
    leaves = [describe_leaf(leaf) for leaf in program.flat]
    return found | {"leaves": leaves, "tree": structure_of(program.rebuild)}


def structure_of(rebuild: Any) -> Any:
    """Return the structure that a function of leaves gives them: optree's, None for a single leaf."""
    return None if rebuild is first else rebuild.args[0]


def describe_tape(tape: Tape) -> dict[str, Any]:
    """Return the fields of a tape; statements as text, and of the values that it was recorded with the types alone."""
    found = {name: getattr(tape, name) for name in FIELDS}
    known: dict[Any, Any] = {}
    places = {}
    for row in np.asarray(tape.sites).tolist():
        site = tape.places[row]
        if site is not None:
            if site not in known:
                known[site] = read_line(site)
            places[row] = known[site]
    found |= {"code": tape.program_code(), "opcodes": describe_opcodes(tape), "places": places}
    return found | {"examples": tuple(map(like, tape.examples))}


def like(value: Any) -> Any:
    """Return a value of the same type and dtype, which say what a derivative is to be."""
    return type(value)(0.0) if isinstance(value, (float, np.generic)) else np.empty(0, value.dtype)


def describe_prologue(prologue: Any) -> Any:
    """Return a prologue without the values of its last run; indices among the rows refer to the same object."""
    prologue.recorder, prologue.tag, prologue.blocks, prologue.asked = None, None, {}, set()
    prologue.entries = [(number, None) for number, _ in prologue.entries]
    prologue.now, prologue.first = [None] * len(prologue.now), []
    prologue.guards = [guard._replace(site=None) for guard in prologue.guards]
    prologue.missed = None
    prologue.__dict__.pop("stand_in", None)
    return prologue


def describe_leaf(leaf: Any) -> tuple[str, Any]:
    """Return what a result is: of the rows, of the prologue, or a plain value."""
    if isinstance(leaf, Answer):
        return "answer", leaf.number
    if not isinstance(leaf, Active):
        return "plain", leaf
    return "row", (isinstance(leaf, Array), leaf.dtype, leaf.boolean, is_slope(leaf))


# ---------------------------------------------------------------- running


class Statements(Sequence[Any]):
    """The user's statements of rows of a recording, as text."""

    def __init__(self, places: dict[int, Any], origins: np.ndarray | None = None) -> None:
        self.places, self.origins = places, origins

    def __len__(self) -> int:
        return max(self.places, default=-1) + 1

    def __getitem__(self, row: Any) -> Any:
        """Return the statement of a row of the recording."""
        return self.places.get(row)

    def get(self, row: int) -> Any:
        """Return the statement of a row of the tape."""
        return self.places.get(row if self.origins is None else int(self.origins[row]))


class ShippedPath:
    """A path as machines take it (see `numbad.replay.recorded_path.Path`), made of a description."""

    def __init__(self, description: dict[str, Any]) -> None:
        fields = dict(description["tape"])
        code, opcodes = fields.pop("code"), fields.pop("opcodes")
        self.places: dict[int, Any] = fields.pop("places")
        self.tape = Tape(code=translate(np.asarray(code), opcodes), places=Statements(self.places), **fields)
        self.tape._trusted = True  # our own process has recorded it
        self.tape._large = find_large(self.tape.program_code(), self.tape.words)
        self.results, self.fixed = description["results"], description["fixed"]
        self.wanted, self.value, self.read = (description[name] for name in ("wanted", "value", "read"))
        self.constants, self.varied = description["constants"], description["varied"]

    def rows(self) -> Rows:
        """Return the rows as sweeps read them; inputs that are not differentiated by have no cotangents."""
        rows = rows_of(self.tape)
        rows.sites = Statements(self.places, self.tape.sites)  # type: ignore[assignment]
        rows.constants, rows.varied = self.constants, self.varied
        if self.wanted is not None:
            wanted = zip(self.tape.inputs, self.wanted, strict=True)
            rows.input_spaces = {slot.space for slot, asked in wanted if slot.space and asked}
        return rows


class BlockMachine(SweptMachine):
    """A machine for paths with large inputs: it reads cotangents of those alone that are differentiated by."""

    def __init__(self, path: Any, rows: Rows) -> None:
        super().__init__(path, rows)
        self.wanted = path.wanted

    def read_gradient(self) -> tuple[Any, list[Any]]:
        """Sweep back; return the value, and the derivatives that are wanted."""
        tape, execution = self.tape, self.execution
        value: Any = None if self.output is None else execution.values[self.output]
        bars = execution.backward([] if self.output is None else [(self.output, 1.0)])
        asked = zip(tape.inputs, tape.examples, self.wanted, strict=True)
        slopes = [slot.read(bars, given) if wanted else None for slot, given, wanted in asked]
        give_back(bars.arena)
        return float(value) if tape.dtype == FLOAT64 and value is not None else value, slopes

    def let_go(self) -> None:
        """Let go of the large arrays of the last block."""
        for slot in self.tape.inputs:
            if slot.space:
                self.execution.put_space(slot.space, self.execution.rows.spaces[slot.space])


class Runner:
    """A path with the memory of its runs, for one caller at a time."""

    def __init__(self, description: dict[str, Any]) -> None:
        path = ShippedPath(description)
        large = any(slot.space for slot in path.tape.inputs)
        self.machine: Any = BlockMachine(path, path.rows()) if large else choose_machine(path)  # type: ignore[arg-type]
        self.description, self.prologue = description, description["prologue"]
        self.gradient = "chosen" in description
        if not self.gradient:
            self.readers = self.make_readers(path)

    def make_readers(self, path: ShippedPath) -> list[Callable[[], Any]]:
        """Return for each result a function that reads it after a run."""
        places = iter(zip(self.machine.outputs, path.fixed, strict=True))
        return [self.make_reader(how, what, places) for how, what in self.description["leaves"]]

    def make_reader(self, how: str, what: Any, places: Any) -> Callable[[], Any]:
        """Return a function that reads a result."""
        if how == "plain":
            return lambda: copy.copy(what)
        if how == "answer":
            return lambda: self.prologue.now[what].copy()
        is_array, dtype, boolean, slope = what
        addresses, fixed = next(places)
        if is_array:
            result = ArrayResult(addresses, dtype, fixed, slope)
            return lambda: result.read(self.machine.values)
        address = int(addresses)

        def number() -> Any:
            found = self.machine.values[address]
            found = dtype.type(found + 0.0 if slope else found)
            return float(found) if dtype == FLOAT64 and not boolean else found

        return number

    def run(self, values: list[Any]) -> Any:
        """Return what the path computes of the leaves of a call; MISSED where the call takes another path."""
        if self.prologue is None:
            self.machine.enter(values)
            return MISSED if self.machine.run() >= 0 else self.read()
        self.prologue.running = True
        try:
            if self.attempt_known(values):
                return self.read()
            return MISSED
        finally:
            self.prologue.running = False

    def attempt_known(self, values: list[Any]) -> bool:
        """Run the prologue, then the rows; where one of them raises, the function does, on another path."""
        try:
            if not self.prologue.run([values[k] for k in self.description["followed"]]):
                return False
            self.machine.enter([*(values[k] for k in self.description["recorded"]), *self.prologue.values()])
            return int(self.machine.run()) < 0
        except Exception:
            return False

    @handed_out
    def read(self) -> Any:
        """Return the results of the last run."""
        description = self.description
        if self.gradient:
            value, slopes = self.machine.read_gradient()
            if description["constant"] is not None:
                value = description["constant"]
            return value, shape_leaves(description["tree"], [slopes[k] for k in description["chosen"]])
        found = shape_leaves(description["tree"], [read() for read in self.readers])
        return narrowed(found) if description["narrow"] else found

    def let_go(self) -> None:
        """Let go of what the last run has read."""
        if isinstance(self.machine, BlockMachine):
            self.machine.let_go()
        if self.prologue is not None:
            self.prologue.now[:] = [None] * len(self.prologue.now)


def shape_leaves(tree: Any, leaves: list[Any]) -> Any:
    """Give leaves a structure, None for a single leaf."""
    return leaves[0] if tree is None else put_together(tree, leaves)


class LoadedPath:
    """A path on the shelf of a process: as many runners as threads have run it at once."""

    def __init__(self, package: Package) -> None:
        self.package = package
        self.idle: list[Runner] = []

    def run(self, values: list[Any]) -> Any:
        """Return what the path computes of the leaves of a call; MISSED where the call takes another path."""
        try:
            runner = self.idle.pop()
        except IndexError:
            runner = Runner(self.package.open())
        try:
            found = runner.run(values)
        finally:
            runner.let_go()
        self.idle.append(runner)  # one that has raised is not used again
        return found
