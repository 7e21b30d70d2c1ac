"""A tape's sparse derivative, prepared: its pattern, and the way its entries are computed."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any

import numpy as np

from numbad.emission.regions import addresses_of
from numbad.errors import TapeError, message
from numbad.ops.definition import REGISTRY
from numbad.ops.host import ArrayOp
from numbad.recording.recorder import set_current
from numbad.sparsity.colouring import ROW_COST, Colouring, Uncoloured, choose_colouring
from numbad.sparsity.elements import output_places
from numbad.sparsity.entries import Entries, Untold
from numbad.sparsity.lanes import Lanes
from numbad.sparsity.patterns import Analysis, Pattern, both_ways
from numbad.tape.layout import HOST, MAP, host_call
from numbad.tapes.freezing import freeze
from numbad.tapes.jacobians import Copy

if TYPE_CHECKING:
    from numbad.tapes.tape import Tape

METHODS = ("auto", "entries", "columns", "rows", "both", "star", "acyclic")
SYMMETRIC = ("star", "acyclic")  # methods for matrices that are
VERY_LONG, FEW_COLOURS = 1 << 20, 4  # rows, and colours: entries are not tried, which takes longer than many sweeps
COLOURED_FIRST = 8  # rows for each entry: colours cost less than programs of entries, which they may make needless
LONG, FEW_COLUMNS, ONE_SWEEP = 1 << 14, 64, 2.0  # one sweep of many rows is cheaper than long lists of entries for all
STEP, ROW, LANE = 1.5, 4.0, 0.4  # predicted nanoseconds: an instruction, an element row, a lane of it
DISPATCH, SWEEP = 15.0, 2e5  # a row of the tape in a sweep of lanes, the sweep's own


class Prepared:
    """The sparse Jacobian of a tape, or with `second` the Jacobian of its gradient, on the tape's path.

    Attributes
    ----------
    pattern : Pattern
        Its rows are the elements of the outputs, or of the inputs.
    method : str
        "entries", or the kind of the colouring.
    colouring : Colouring, optional
        Of the pattern; None while no sweep needs one.
    seconds : float
        What the preparation took.

    Parameters
    ----------
    tape : Tape
    wanted, rows : list of int
        Inputs that are differentiated by; outputs that are differentiated.
    reads : list of int
        Outputs whose values are wanted beside the entries.
    point : list
        The leaves of a point of the path.
    saved : tuple, optional
        The pattern and colours that a file has; the pattern is compared.
    """

    def __init__(
        self,
        tape: Tape,
        wanted: list[int],
        rows: list[int],
        reads: list[int],
        point: list[Any],
        second: bool = False,
        method: str = "auto",
        saved: tuple[Pattern, Colouring | None] | None = None,
    ) -> None:
        start = time.perf_counter()
        self.source = tape
        if second:
            tape, rows, reads = gradient_tape(tape, wanted, rows, reads, point)
        elif any(slot.space for slot in tape.outputs):
            tape = inside_arena(tape, point)
        self.tape, self.wanted, self.rows, self.reads, self.second = tape, wanted, rows, reads, second
        self.analysis: Analysis | None = Analysis(tape, wanted, rows, tape.rebuild_inputs(list(point)))
        self.pattern = self.analysis.pattern()
        if second and is_symmetric(self.source):
            self.pattern = both_ways(self.pattern)
        self.known = saved[1] if saved is not None else None
        if saved is not None and not is_same(saved[0], self.pattern):
            raise TapeError(
                message(
                    f"the pattern in the file of {self.source.name} is not that of its rows",
                    "save the tape again",
                    where=False,
                )
            )
        self.order: np.ndarray | None = None  # of the data, as places in the pattern
        self.lock = threading.Lock()  # of the memory of the entries
        self.colouring: Colouring | None = None
        self.entries: Entries | None = None
        self.lanes: Lanes | None = None
        self.once, self.found = False, np.zeros(0)  # whether the entries are the same everywhere; these entries
        self.choose(method)
        self.analysis = None
        self.seconds = time.perf_counter() - start

    def colour(self, kind: str = "auto") -> Colouring:
        """Return the colours of a kind: those of a file where it has them."""
        if self.known is not None and kind in ("auto", self.known.kind):
            return self.known
        return choose_colouring(self.pattern, kind)

    def choose(self, method: str) -> None:
        """Choose how the entries are computed."""
        analysis, pattern = self.analysis, self.pattern
        assert analysis is not None
        rows = len(analysis.elements.code)
        enough = most_colours(pattern)
        one_sweep = rows > LONG and FEW_COLUMNS < pattern.entries < rows / 2 and enough <= ONE_SWEEP
        if method == "auto" and (one_sweep or COLOURED_FIRST * pattern.entries < rows):
            self.colouring = self.colour()
            one_sweep = one_sweep or (rows > VERY_LONG and self.colouring.colours <= FEW_COLOURS)
        if method == "entries" or (method == "auto" and not one_sweep):
            read = [analysis.outputs[:0]] + [read_places(self.tape, k, analysis) for k in self.reads]
            colours = self.colouring.colours if self.colouring else enough
            most = np.inf if method == "entries" else self.predict_lanes(colours) / STEP
            try:
                self.entries = Entries(analysis, pattern, np.concatenate(read).astype(np.int64), most)
            except Untold:
                if method == "entries":
                    raise ValueError(
                        message(
                            f"the entries of the derivative of {self.source.name} cannot be computed one by one: "
                            "they are too many, or Python computes some of the rows",
                            'leave method="entries" away',
                            where=False,
                        )
                    ) from None
        if self.entries is not None and (method == "entries" or self.predict_entries() <= self.predict_lanes(1)):
            self.method = "entries"
            return
        kind = "auto" if method == "entries" else method
        if kind in SYMMETRIC and not pattern.symmetric:
            raise ValueError(
                message(
                    f"the second derivatives of {self.source.name} need not be symmetric: a rule of the user's own, "
                    "or a checkpoint, says what a derivative is",
                    f'leave method="{kind}" away',
                    where=False,
                )
            )
        try:
            self.colouring = self.colouring or self.colour(kind)
        except Uncoloured:
            raise ValueError(
                message(
                    f"the {kind} of the derivative of {self.source.name} have so many common entries that each has "
                    "nearly a colour of its own",
                    f'leave method="{kind}" away',
                    where=False,
                )
            ) from None
        if self.entries is not None and self.predict_entries() <= self.predict_lanes(self.colouring.colours):
            self.method = "entries"
            return
        self.entries = None
        self.method = self.colouring.kind
        self.lanes = Lanes(self.tape, self.wanted, self.rows, self.colouring, pattern)
        self.once = method == "auto" and not self.reads and analysis.is_linear()

    def predict_entries(self) -> float:
        """Return the predicted nanoseconds of a run of the entries."""
        assert self.entries is not None
        rows = len(self.entries.code) + len(self.entries.runs)
        return STEP * (self.entries.steps.size // 3 + self.pattern.entries + self.entries.in_runs) + ROW * rows

    def predict_lanes(self, colours: float) -> float:
        """Return the predicted nanoseconds of compressed sweeps of so many colours."""
        assert self.analysis is not None
        elements, rows = len(self.analysis.elements.code), len(self.tape.program_code())
        return SWEEP + DISPATCH * rows + elements * (ROW + LANE * colours)

    def arrange(self, order: np.ndarray | None) -> bool:
        """Let data come in an order, the pattern's where it is None; return whether it can be done at no cost."""
        if self.entries is None:
            return order is None
        if order is not None or self.order is not None:
            with self.lock:
                back = np.arange(self.pattern.entries) if self.order is None else np.argsort(self.order)
                self.entries.arrange(back if order is None else back[order])
                self.order = order
        return True

    def compute(self, given: list[Any]) -> tuple[np.ndarray, list[Any]] | None:
        """Return the entries at a point, and the values that are read; None where a guard does not hold.

        The entries are in the order of the pattern, or that of `arrange`.

        Raises
        ------
        BranchError
            From sweeps, where a guard does not hold.
        """
        if self.entries is not None:
            with self.lock:
                stopped, data = self.entries.compute(given)
                if stopped >= 0:
                    return None
                if stopped == -1:
                    return data, self.read_values()
                if self.lanes is None:  # what is absent is told from zeros by the sweeps
                    self.colouring = self.colour()
                    self.lanes = Lanes(self.tape, self.wanted, self.rows, self.colouring, self.pattern)
        assert self.lanes is not None
        if self.once and self.found.size:
            return self.found.copy(), []
        data, values = self.lanes.compute(self.tape.rebuild_inputs(list(given)), given)
        if self.once:
            self.found = data.copy()
        return data if self.order is None else data[self.order], [values[k] for k in self.reads]

    def describe(self) -> str:
        """Return in a few words how the entries are computed."""
        if self.entries is not None:
            rows = len(self.entries.code) + self.entries.in_runs
            return f"one by one: {rows} rows and {self.entries.steps.size // 3} instructions"
        assert self.colouring is not None
        return f"{'once, ' if self.once else ''}by {self.colouring.colours} colours of {self.method}"

    def bytes(self) -> int:
        """Return about how many bytes this takes."""
        tape, found = self.tape, 8 * self.pattern.entries
        found += tape.code.nbytes + tape.words.nbytes + 2 * tape.size * tape.dtype.itemsize
        if self.entries is not None:
            found += sum(part.nbytes for part in (self.entries.memory, self.entries.steps, self.entries.code))
        return found

    def read_values(self) -> list[Any]:
        """Return the values that are read beside the entries."""
        assert self.entries is not None
        found: list[Any] = []
        if not self.reads:
            return found
        flat, start = self.entries.read(), 0
        for k in self.reads:
            slot = self.tape.outputs[k]
            if slot.constant is not None:
                found.append(slot.constant)
                continue
            count = int(np.prod(slot.shape, dtype=np.int64))
            part = flat[start : start + count].reshape(slot.shape)
            part = part != 0.0 if slot.boolean else part
            found.append(part if slot.shape else float(part) if part.dtype == np.float64 else part[()])
            start += count
        return found


def is_same(one: Pattern, other: Pattern) -> bool:
    """Whether two patterns have the same entries."""
    arrays = (one.indptr, other.indptr), (one.indices, other.indices)
    return one.symmetric == other.symmetric and all(np.array_equal(first, second) for first, second in arrays)


def most_colours(pattern: Pattern) -> float:
    """Return how many colours are enough for a pattern, in tangents."""
    columns = np.count_nonzero(np.bincount(pattern.indices, minlength=1))
    return float(min(columns, ROW_COST * np.count_nonzero(np.diff(pattern.indptr))))


def read_places(tape: Tape, k: int, analysis: Analysis) -> np.ndarray:
    """Return the addresses of an output that is read, none for a constant."""
    slot = tape.outputs[k]
    return output_places(slot, analysis.elements) if slot.constant is None else np.zeros(0, np.int64)


def gradient_tape(
    tape: Tape, wanted: list[int], rows: list[int], reads: list[int], point: list[Any]
) -> tuple[Tape, list[int], list[int]]:
    """Return a tape of the gradient of one output of a tape, with the outputs that are read behind it.

    Its Jacobian's pattern is that of the second derivatives: cotangents depend on an input where an operation is not
    linear in what depends on it, so nonlinear interactions are propagated and linear ones are not (Gower and Mello,
    2012; Griewank and Walther, 2008, section 7.3).
    """
    copy = Copy(tape, point)
    set_current(copy.recorder)
    try:
        output = copy.outputs[rows[0]]
        slopes = copy.region.pull([addresses_of(output)], [1.0])
        results = [slopes[k] for k in wanted] + [copy.outputs[k] for k in reads]
    finally:
        set_current(None)
    try:
        found = freeze(copy.recorder, copy.leaves, results, None, [slot.name for slot in tape.inputs])
    finally:
        copy.recorder.close()
    found.name = f"gradient of {tape.name}"
    count = len(wanted)
    return found, list(range(count)), list(range(count, count + len(reads)))


def inside_arena(tape: Tape, point: list[Any]) -> Tape:
    """Return a tape whose large inputs are copied into the arena, where results may be views of them."""
    copy = Copy(tape, point)
    set_current(None)
    try:
        found = freeze(copy.recorder, copy.leaves, copy.outputs, None, [slot.name for slot in tape.inputs])
    finally:
        copy.recorder.close()
    found.name, found.output_tree = tape.name, tape.output_tree
    return found


def is_symmetric(tape: Tape) -> bool:
    """Whether second derivatives are symmetric: not where a rule of the user's own says what a derivative is."""
    code, words = tape.program_code(), tape.program_words()
    opcodes = code[:, 0]
    ops = np.unique(opcodes[opcodes < 2 * MAP] % MAP)
    ours = all(REGISTRY[opcode].primal.__module__.startswith("numbad.") for opcode in ops)
    calls = [tape.hosts[host_call(words, int(w))] for w in code[opcodes == HOST, 2]]
    return ours and all(isinstance(getattr(call, "op", None), ArrayOp) for call in calls)
