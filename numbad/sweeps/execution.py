"""Running a tape: the primal, adjoint and tangent sweeps over rows, and what they leave to Python."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import numpy as np

from numbad.kernels.calls import call
from numbad.kernels.loading import block_kernels, sweep
from numbad.kernels.memory import address_of, check_memory, contains_zero, empty, give_back, take_memory
from numbad.limits import BLOCK, CHECKED, CHUNK, MANY_ROWS
from numbad.recording.recorder import Recorder, current, raise_leak
from numbad.settings import config
from numbad.sweeps import python_rows
from numbad.tape.rows import Rows

if TYPE_CHECKING:
    from numbad.sweeps.fusion import Group
    from numbad.types import Space

NOTHING: np.ndarray = np.empty(0)


class Scratch(threading.local):
    """Scratch memory of a thread, by the number of its dtype."""

    def __init__(self) -> None:
        self.blocks: dict[int, np.ndarray] = {}


_scratch = Scratch()

if CHECKED:
    from numbad.kernels import checked_memory


class Execution:
    """The values, partials and cotangents of one tape at one point.

    Attributes
    ----------
    values : ndarray of float, shape (size,)
        The arena.
    partials : ndarray of float, shape (rows, 2)
        Partial derivatives of the scalar rows.
    rows : Rows
        What is run; more may be appended between two sweeps.
    done : int
        How many rows have been computed.
    """

    __slots__ = (
        "bases",
        "done",
        "finite",
        "groups",
        "loaded",
        "numbers",
        "partials",
        "placed",
        "rows",
        "spaces",
        "use_counts",
        "values",
    )

    def __init__(self, rows: Rows) -> None:
        self.rows = rows
        self.values = self.partials = NOTHING
        self.done = 0
        self.numbers = 0
        self.loaded = 0
        self.bases = np.zeros(1, np.uint64)
        self.spaces: list[Space] = [None]
        self.groups: dict[int, Group] = {}
        self.placed: tuple[Any, ...] | None = None  # arrays, sizes and addresses that `places` has found
        self.use_counts: list[int] | None = None
        self.finite: dict[tuple[int, int], bool] = {}  # what a sweep back knows of the factors of products

    # ------------------------------------------------------------ forward

    def forward(self, final: bool = False, wanted: tuple[Any, ...] = ()) -> None:
        """Compute all rows that have been recorded and not been computed yet (see `Recorder.run`)."""
        tape = self.rows
        rows = len(tape.code) // 4
        self.prepare(rows)
        if rows == self.done:
            return
        code = np.frombuffer(tape.code, np.uint32).reshape(rows, 4)
        if config._debug_nans:
            self.forward_watched(code, rows)
        else:
            self.forward_rows(code, rows, final, wanted)

    def forward_watched(self, code: np.ndarray, rows: int) -> None:
        """Compute rows and look for values that are not finite."""
        from numbad.sweeps.nonfinite import check_values, overwrites

        self.groups = {}  # rows that an earlier run has fused have no values to look at
        first = self.done
        for stop in range(first + 1, rows + 1) if overwrites(self) else (rows,):
            self.forward_rows(code, stop)
            check_values(self, first, stop)
            first = stop

    def forward_rows(self, code: np.ndarray, rows: int, final: bool = False, wanted: tuple[Any, ...] = ()) -> None:
        """Compute the rows up to one of them."""
        tape = self.rows
        if tape.words:
            self.forward_mixed(code, rows, final, wanted)
        else:
            linearise = sweep("linearise", tape.dtype)
            places = [address_of(memory) for memory in (code, self.values, self.partials)]
            row = self.done
            while row < rows:
                stop = min(rows, row + CHUNK)
                row = linearise(0.0, *places, row, stop)
                if row < stop:
                    row = self.python_row(code, None, row)
        self.done = rows

    def forward_mixed(self, code: np.ndarray, rows: int, final: bool, wanted: tuple[Any, ...]) -> None:
        """Compute rows of all kinds."""
        tape = self.rows
        words = np.frombuffer(tape.words, np.int64)
        self.locate_spaces()
        if final and tape.large and not self.groups:
            from numbad.sweeps import fusion

            self.groups = fusion.plan(self, code, words, wanted)
        kernels = block_kernels(tape.dtype, rows > MANY_ROWS)
        forward_at = sweep("forward_at", tape.dtype)
        places = [address_of(memory) for memory in (kernels, code, words, self.bases, self.values)]
        places += [address_of(memory) for memory in (self.partials, self.blocks())]
        row = self.done
        while row < rows:
            stop = min(rows, row + CHUNK)
            row = forward_at(0.0, *places, row, stop)
            if row < stop:
                row = self.python_row(code, words, row)

    def virtual_blocks(self) -> list[tuple[int, int]]:
        """Return first address and length of the outputs that no sweep writes to memory, in order."""
        found = []
        for group in {id(group): group for group in self.groups.values()}.values():
            for (opcode, out, _), virtual in zip(group.rows, group.virtual, strict=True):
                if virtual and opcode >= 0:
                    found.append((out, group.count))
        return sorted(found)

    def release(self, *bars: Cotangents) -> None:
        """Give the memory back; the values must not be read afterwards."""
        virtual = sum(count for _, count in self.virtual_blocks()) * self.values.itemsize
        for values in (self.values, *(bar.arena for bar in bars)):
            give_back(values, virtual)
        give_back(self.partials)
        self.values = self.partials = NOTHING
        self.placed = None

    def uses(self, code: np.ndarray, words: np.ndarray, space: int) -> int:
        """Return how many operands of a finished tape lie in a space."""
        if self.use_counts is None:
            counts = np.zeros(len(self.rows.spaces), np.int64)
            call("uses_at", 0, (code, words, counts))
            self.use_counts = counts.tolist()
        return self.use_counts[space]

    def blocks(self) -> np.ndarray:
        """Return the scratch memory of the array kernels: this thread's, whatever thread has run the tape before."""
        dtype = self.rows.dtype
        kept = _scratch.blocks
        scratch = kept.get(dtype.num)
        if scratch is None:
            scratch = kept[dtype.num] = empty((4, BLOCK), dtype)
        return scratch

    def prepare(self, rows: int) -> None:
        """Make room for all addresses and rows, and write the constants."""
        tape = self.rows
        size = tape.size
        values = self.values
        if values.size < size:
            capacity = size if not values.size else max(size, 2 * values.size)
            check_memory(capacity * tape.dtype.itemsize)
            grown = take_memory(capacity, tape.dtype, bool(tape.large))
            if self.done:
                grown[: values.size] = values
            else:
                self.numbers = self.loaded = 0
            grown[0] = 0.0
            self.values = values = grown
        if len(self.partials) < rows:
            capacity = rows if self.partials is NOTHING else max(rows, 2 * len(self.partials))
            check_memory(2 * capacity * tape.dtype.itemsize)
            more = take_memory(2 * capacity, tape.dtype, False).reshape(capacity, 2)
            if self.done:
                more[: self.done] = self.partials[: self.done]
            self.partials = more
        numbers = tape.numbers
        if len(numbers) > self.numbers:
            pairs = np.frombuffer(numbers, np.float64)[self.numbers :]
            values[pairs[::2].astype(np.int64)] = pairs[1::2]
            self.numbers = len(numbers)
        loads = tape.loads
        for address, block in loads[self.loaded :] if self.loaded else loads:
            values[address : address + block.size] = block
        self.loaded = len(loads)

    def locate_spaces(self) -> None:
        """Note where each space begins in memory; the kernels themselves note where the arena does."""
        tape = self.rows
        if len(tape.spaces) == len(self.spaces) == len(self.bases):
            return
        for space in tape.spaces[len(self.spaces) :]:
            self.spaces.append(space if space.dtype == tape.dtype else space.astype(tape.dtype, order="K"))
        self.bases = np.array([0] + [address_of(space) for space in self.spaces[1:]], np.uint64)

    def put_space(self, space: int, values: np.ndarray) -> None:
        """Read a large input from another array from now on."""
        self.locate_spaces()
        self.spaces[space] = values
        self.bases[space] = address_of(values)

    def python_row(self, code: np.ndarray, words: Any, row: int) -> int:
        """Compute a row, or a group of fused rows, that the compiled sweeps leave to Python; return the next row."""
        group = self.groups.get(row)
        if group is not None:
            from numbad.sweeps import fusion

            fusion.forward(self, group)
            return group.last
        return python_rows.forward(self, code, words, row)

    # ------------------------------------------------------------ backward

    def backward(self, seeds: list[tuple[int, Any]], scattered: Any = ()) -> Cotangents:
        """Propagate cotangents from the outputs; seeds are (address, value), `scattered` (addresses, values)."""
        bars = self.pull_back(seeds, scattered)
        if config._debug_nans:
            from numbad.sweeps.nonfinite import check_sweep

            check_sweep(self, bars, lambda first, _: self.pull_back(seeds, scattered, first), True)
        return bars

    def pull_back(self, seeds: list[tuple[int, Any]], scattered: Any, first: int = 0) -> Cotangents:
        """Take the rows from the last to `first` backwards."""
        rows = self.done
        check_memory(self.values.nbytes)
        bars = Cotangents(self)
        self.finite.clear()
        bars.seed(seeds, scattered)
        if not rows:
            return bars
        code = np.frombuffer(self.rows.code, np.uint32).reshape(-1, 4)
        if self.rows.words:
            self.backward_mixed(code, rows, bars, first)
            return bars
        self.backward_scalar(True, code, rows, bars, first)
        if not sweep("finite_at", self.rows.dtype)(
            0.0, address_of(bars.arena), bars.arena.size
        ):  # see `kernels.scalar`
            bars.clear([])
            bars.seed(seeds, scattered)
            self.backward_scalar(False, code, rows, bars, first)
        return bars

    def backward_scalar(self, plain: bool, code: np.ndarray, rows: int, bars: Cotangents, first: int) -> None:
        """Take scalar rows and guards backwards, by one of two sweeps."""
        adjoint = sweep("scalars_back_at", self.rows.dtype)
        places = [address_of(memory) for memory in (code, self.partials, bars.arena)]
        for row in range(rows, first, -CHUNK):
            adjoint(0.0, plain, *places, max(first, row - CHUNK), row)

    def backward_mixed(self, code: np.ndarray, rows: int, bars: Cotangents, first: int = 0) -> None:
        """Take rows of all kinds backwards."""
        words = np.frombuffer(self.rows.words, np.int64)
        self.locate_spaces()
        bars.locate()
        adjoint_at = sweep("adjoint_at", self.rows.dtype)
        places = self.places(code, words, bars)
        row = rows
        while row > first:
            start = max(first, row - CHUNK)
            row = adjoint_at(0.0, *places, start, row)
            if row > start:
                row = self.python_row_back(code, words, row, bars)

    def places(self, code: np.ndarray, words: np.ndarray, bars: Cotangents) -> tuple[int, ...]:
        """Return where in memory a sweep of derivatives finds all it needs.

        Many sweeps of one execution follow one another: what did not change since the last one is not asked again.
        """
        values, partials, bases, placed = self.values, self.partials, self.bases, self.placed
        if (
            CHECKED
            or placed is None
            or placed[0] is not values
            or placed[1] is not partials
            or placed[2] is not bases
            or placed[3] != len(code)
            or placed[4] != len(words)
        ):
            memory = (block_kernels(self.rows.dtype), code, words, bases, values, partials)
            placed = (values, partials, bases, len(code), len(words), *(address_of(part) for part in memory))
            self.placed = placed
        cotangents = (address_of(bars.bases), *placed[9:], address_of(bars.arena), address_of(self.blocks()))
        return (*placed[5:9], *cotangents)

    def python_row_back(self, code: np.ndarray, words: Any, row: int, bars: Cotangents) -> int:
        """Take back the row before `row`, or a group; return where to go on."""
        group = self.groups.get(-row)
        if group is not None:
            from numbad.sweeps import fusion

            fusion.backward(self, group, bars)
            return group.first
        return python_rows.backward(self, code, words, row - 1, bars)

    # ------------------------------------------------------------ tangents

    def pushforward(self, seeds: list[tuple[int, int, Any]]) -> Cotangents:
        """Propagate tangents from the inputs; seeds are (space, address, values)."""
        dots = self.push_forward(seeds, self.done)
        if config._debug_nans:
            from numbad.sweeps.nonfinite import check_sweep

            check_sweep(self, dots, lambda _, stop: self.push_forward(seeds, stop), False)
        return dots

    def push_forward(self, seeds: list[tuple[int, int, Any]], rows: int) -> Cotangents:
        """Take the tangents through the first rows."""
        tape = self.rows
        dots = Cotangents(self)
        if dots.spaces:
            for space in dots.spaces.keys() - {space for space, _, _ in seeds}:
                dots.spaces[space].fill(-0.0)
        for space, address, seed in seeds:
            seed = seed_of(np.asarray(seed, tape.dtype)).reshape(-1)
            (dots.arena if space == 0 else dots.space(space))[address : address + seed.size] = seed
        if not rows:
            return dots
        code = np.frombuffer(tape.code, np.uint32).reshape(-1, 4)
        words = np.frombuffer(tape.words, np.int64) if tape.words else np.zeros(1, np.int64)
        self.locate_spaces()
        dots.locate()
        tangent_at = sweep("tangent_at", tape.dtype)
        places = self.places(code, words, dots)
        row = 0
        while row < rows:
            stop = min(rows, row + CHUNK)
            row = tangent_at(0.0, *places, row, stop)
            if row < stop:
                row = python_rows.tangent(self, code, words, row, dots)
        return dots


class Cotangents:
    """The cotangents (or tangents) of an execution: an arena of the same layout, and arrays for large inputs."""

    __slots__ = ("arena", "bases", "execution", "spaces")

    def __init__(self, execution: Execution) -> None:
        rows = execution.rows
        if rows.tape is not None:
            rows.tape.keeps_values()
        self.execution = execution
        self.arena = take_memory(rows.size, rows.dtype, bool(rows.large))
        self.clear(execution.virtual_blocks())
        self.spaces: dict[int, np.ndarray] = {}
        for space in rows.input_spaces:  # only read as results, which are no -0.0, or written to first
            self.spaces[space] = np.zeros(rows.spaces[space].size, rows.dtype)
        self.bases = np.zeros(1, np.uint64)

    def clear(self, virtual: list[tuple[int, int]]) -> None:
        """Set the arena to absent, -0.0, but for blocks that have no memory of their own (see `fusion`)."""
        start = 0
        for first, count in virtual:
            self.arena[start:first] = -0.0
            start = first + count
        self.arena[start:] = -0.0

    def seed(self, seeds: list[tuple[int, Any]], scattered: Any) -> None:
        """Add seeds: (address, value), and `scattered` (addresses, values)."""
        for address, value in seeds:
            self.arena[address] += value
        for addresses, values in scattered:
            np.add.at(self.arena, addresses, seed_of(values))

    def space(self, space: int) -> np.ndarray:
        """Return the cotangents of a large input, flat in its memory order."""
        return self.spaces[space]

    def locate(self) -> None:
        """Note where each space begins in memory; constants have no cotangents."""
        bases = np.zeros(len(self.execution.rows.spaces), np.uint64)
        for space, values in self.spaces.items():
            bases[space] = address_of(values)
        self.bases = bases


def seed_of(values: Any) -> Any:
    """Return a seed that the user gave: its zeros do not vary, so nothing flows from them."""
    values = np.asarray(values)
    if not contains_zero(values):
        return values
    return np.where(values == 0, -np.zeros((), values.dtype if values.dtype.kind == "f" else np.float64), values)


if CHECKED:
    for _name in ("python_row", "python_row_back"):
        setattr(Execution, _name, checked_memory.naming_row(getattr(Execution, _name)))


def run(self: Recorder, final: bool = False, wanted: tuple[Any, ...] = ()) -> Execution:
    """Sweep the rows of a recording that have not been computed; return the execution that holds the values.

    `final` says that nothing more will be recorded and that only the `wanted` values will be read:
    large intermediate arrays then need not exist in memory.
    """
    if self.extend is raise_leak:
        raise_leak()
    execution: Execution | None = self.execution
    if execution is None:
        execution = self.execution = Execution(self)
    if self.borrowed and current() is not None:  # the end of the recording has looked at them
        self.check_borrowed()
    try:
        execution.forward(final, wanted)
    finally:
        if not final:
            self.loosen()
    return execution


Recorder.run = run
