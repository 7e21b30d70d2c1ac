"""vmap of a jitted function: the tape of each path, swept over the examples that take it."""

from __future__ import annotations

import contextlib
import functools
from typing import TYPE_CHECKING, Any

import numpy as np

from numbad.errors import BranchError, InputError, OutputError, message
from numbad.kernels import loading
from numbad.limits import WORTH_COMPILING
from numbad.recording import strictness
from numbad.recording.inputs import FLOAT64, as_leaf
from numbad.recording.structures import flatten
from numbad.replay.hot import Promotion
from numbad.settings import config
from numbad.tapes.freezing import record
from numbad.tapes.points import Batch, point_program, regroup_slopes, run_alone, sweep_points
from numbad.tapes.tape import Tape

if TYPE_CHECKING:
    from numbad.replay.jit import Jitted


class PointPromotion(Promotion):
    """A tape on its way from the sweeps of points to machine code.

    Parameters
    ----------
    tape : Tape
    places : tuple of int
        The arguments with respect to which gradients are computed.
    """

    def __init__(self, tape: Tape, places: tuple[int, ...]) -> None:
        super().__init__(None, None)
        self.tape, self.places, self.count = tape, places, 1

    def first_look(self) -> float:
        """Return after how many rows at a point there is something to do."""
        return WORTH_COMPILING

    def may_be(self) -> bool:
        """Whether there may be machine code."""
        in_order = all(slot.order == "C" and slot.dtype == FLOAT64 for slot in self.tape.inputs)
        return in_order and not self.tape.words.size and self.tape.dtype == FLOAT64 and len(self.tape) > 0

    def calls_python(self) -> bool:
        """Whether the sweeps call Python: never."""
        return False

    def build(self) -> Any:
        """Compile."""
        from numbad.compilation.module import Uncompilable
        from numbad.replay.point_machine import PointMachine

        with contextlib.suppress(Uncompilable), loading.compiling():
            return PointMachine(self.tape, self.places, self.count)
        return None


class PathTape:
    """The tape of one path of a jitted function, with the count of its runs.

    Attributes
    ----------
    suits : bool
        Whether the sweep of points is the better way: a tape of scalar rows that can be lowered.
    machine : PointMachine, or None
        Its machine code, once it is worth that and made.
    swept : int
        Rows that have been swept, times points.
    """

    def __init__(self, jitted: Jitted[Any], arguments: tuple[Any, ...]) -> None:
        plan = self.plan = jitted.plan
        self.tape: Tape = record(jitted.f if plan is None else plan.f, *arguments)
        self.hits = 0
        self.places: tuple[int, ...] = ()
        if plan is not None:
            self.tape.scalar_output()
            self.places = plan.places(len(arguments))
        self.suits = not self.tape.words.size and point_program(self.tape) is not None
        self.machine: Any = None
        self.swept = 0
        self.promotion = PointPromotion(self.tape, self.places)

    def sweep(self, batch: Batch) -> tuple[list[np.ndarray], Any, np.ndarray]:
        """Return the results' leaves at all examples, their structure, and which examples take this path."""
        tape = self.tape
        results, slopes, agree = self.run(batch)
        if not self.hits and not agree[0]:  # the point of the recording: only the vector functions' rounding differs
            run_alone(tape, batch, 0, results, slopes, self.places)
            agree[0] = True
        self.hits += 1
        if self.plan is None:
            return results, tape.output_tree, agree
        parts = regroup_slopes(tape, slopes, self.places)
        return *flatten(self.plan.pack(results[0], parts)), agree

    def run(self, batch: Batch) -> tuple[list[np.ndarray], list[np.ndarray], np.ndarray]:
        """Return results and gradients at all points, and which take this path: by machine code if there is some."""
        if self.machine is None and self.hits and self.swept >= self.promotion.next:
            self.promotion.count = batch.count
            self.machine = self.promotion.look(self.swept)
        if self.machine is None:
            self.swept += batch.count * (1 + len(self.tape))
            return sweep_points(self.tape, batch, self.places)
        results, slopes, agree, finite = self.machine.run(batch)
        lost = np.flatnonzero(agree & ~finite)  # the sweeps know what is absent, and what is infinite times zero
        if len(lost):
            found, gradients, agree[lost] = sweep_points(self.tape, batch.choose(lost), self.places)
            for part, other in zip((*results, *slopes), (*found, *gradients), strict=True):
                part[lost] = other
        return results, slopes, agree


def map_jitted(jitted: Jitted[Any], arguments: tuple[Any, ...], axes: list[int | None]) -> tuple[list[Any], Any] | None:
    """Return the leaves of a jitted function's results for a batch, examples in front, and their structure.

    Parameters
    ----------
    jitted : Jitted
    arguments : tuple
        With the axis of examples where `axes` says.
    axes : list of int or None
        For each leaf of the arguments.

    Returns
    -------
    tuple or None
        None where the batch is better recorded with its lanes: for tapes with array rows, arguments that are not
        floats, and where there is no example to record; and within `debug_nans`.
    """
    flat = [flatten(argument) for argument in arguments]
    leaves = [as_leaf(leaf) for part, _ in flat for leaf in part]
    if config._debug_nans or jitted.static or strictness.asked() or not all(is_float(leaf) for leaf in leaves):
        return None
    leaves = [leaf if axis is None else np.moveaxis(leaf, axis, 0) for leaf, axis in zip(leaves, axes, strict=True)]
    mapped = [axis is not None for axis in axes]
    batch = Batch(leaves, mapped, next(len(leaf) for leaf, given in zip(leaves, mapped, strict=True) if given))
    if not batch.count:
        return None
    trees = tuple([tree for _, tree in flat])
    shapes = [np.shape(leaf)[given:] for leaf, given in zip(leaves, mapped, strict=True)]
    kinds = [float if type(leaf) is float else leaf.dtype for leaf in leaves]
    with jitted.lock:
        found = jitted.tapes_of(("points", trees, tuple(shapes), tuple(kinds)))
        try:
            return sweep_paths(jitted, batch, trees, found)
        except OutputError:  # a result that a tape cannot give, None for one
            return None


def is_float(leaf: Any) -> bool:
    """Whether an argument is a float or an array of floats."""
    return type(leaf) is float or (isinstance(leaf, (np.ndarray, np.generic)) and leaf.dtype.kind == "f")


def sweep_paths(
    jitted: Jitted[Any], batch: Batch, trees: tuple[Any, ...], found: list[Any]
) -> tuple[list[Any], Any] | None:
    """Run all examples by the tapes that are known, one after the other; record the path of the first one left."""
    left = np.arange(batch.count)
    pieces = []
    tried = 0
    while len(left):
        rest = batch.choose(left) if len(left) < batch.count else batch
        if tried == len(found):
            if jitted.is_full(len(found), functools.partial(site_of, found, rest)):
                return None
            found.append(PathTape(jitted, rest.point(trees, 0)))
            jitted.look_around()
        path = found[tried]
        if not path.suits:
            return None
        leaves, tree, agree = path.sweep(rest)
        if agree.any():
            pieces.append((left[agree], [leaf[agree] for leaf in leaves], tree))
        left = left[~agree]
        tried += 1
    return join(pieces, batch.count)


def site_of(paths: list[PathTape], batch: Batch) -> Any:
    """Return the site of the branch at which the first example leaves the last of some paths."""
    tape = paths[-1].tape
    try:
        tape(*batch.point(tape.input_trees, 0))
    except BranchError as error:
        return getattr(error, "site", None)
    return None


def join(pieces: list[Any], count: int) -> tuple[list[Any], Any]:
    """Return the leaves of the results of all examples, from those of the paths, and their structure."""
    if len(pieces) == 1:
        return pieces[0][1], pieces[0][2]
    _, first, tree = pieces[0]
    shapes = [leaf.shape[1:] for leaf in first]
    if any(other != tree or [leaf.shape[1:] for leaf in leaves] != shapes for _, leaves, other in pieces):
        raise InputError(
            message(
                "vmap: the function returns results of different shapes or structures for different examples",
                "return the same structure and shapes from every branch",
                where=False,
            )
        )
    joined = []
    for k in range(len(first)):
        dtype = np.result_type(*[leaves[k].dtype for _, leaves, _ in pieces])
        joined.append(np.empty((count, *first[k].shape[1:]), dtype))
        for which, leaves, _ in pieces:
            joined[k][which] = leaves[k]
    return joined, tree
