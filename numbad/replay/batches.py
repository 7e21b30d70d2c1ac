"""vmap of a jitted function: the tape of each path, swept over the examples that take it."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import numpy as np

from numbad.errors import BranchError, InputError, OutputError, message
from numbad.recording import strictness
from numbad.recording.inputs import as_leaf
from numbad.recording.structures import flatten
from numbad.settings import config
from numbad.tapes.freezing import record
from numbad.tapes.points import Batch, point_program, regroup_slopes, run_alone, sweep_points
from numbad.tapes.tape import Tape

if TYPE_CHECKING:
    from numbad.replay.jit import Jitted


class PathTape:
    """The tape of one path of a jitted function, with the count of its runs.

    Attributes
    ----------
    suits : bool
        Whether the sweep of points is the better way: a tape of scalar rows that can be lowered.
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

    def sweep(self, batch: Batch) -> tuple[list[np.ndarray], Any, np.ndarray]:
        """Return the results' leaves at all examples, their structure, and which examples take this path."""
        tape = self.tape
        results, slopes, agree = sweep_points(tape, batch, self.places)
        if not self.hits and not agree[0]:  # the point of the recording: only the vector functions' rounding differs
            run_alone(tape, batch, 0, results, slopes, self.places)
            agree[0] = True
        self.hits += 1
        if self.plan is None:
            return results, tape.output_tree, agree
        parts = regroup_slopes(tape, slopes, self.places)
        return *flatten(self.plan.pack(results[0], parts)), agree


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
