"""Workspaces: the memory of a tape's runs, kept from call to call; and results written to arrays that exist."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from numbad.errors import InputError, message
from numbad.kernels.memory import give_back
from numbad.limits import KEPT_MOST, MOST_WORKSPACES
from numbad.recording.structures import count_leaves, describe_trees, flatten
from numbad.sweeps.execution import Execution
from numbad.tape.rows import Rows

if TYPE_CHECKING:
    from numbad.tapes.slots import Input, Output
    from numbad.tapes.tape import Tape


def rows_of(tape: Tape) -> Rows:
    """Return the rows as an execution reads them, with nothing in place of the inputs."""
    spaces = list(tape.spaces)
    for slot in tape.inputs:
        if slot.space:
            spaces[slot.space] = np.broadcast_to(tape.dtype.type(0), (slot.size,))
    return Rows(
        memoryview(tape._code.reshape(-1)),
        memoryview(tape._words),
        tape.size,
        tape.dtype,
        memoryview(tape.numbers.reshape(-1)),
        tape.loads,
        spaces,
        {slot.space for slot in tape.inputs if slot.space},
        tape.hosts,
        tape._large,
    )


class Workspace:
    """An execution of a tape that can be run again: arena, partials, constants in place, fused groups found.

    One caller at a time owns a workspace, so threads that call one tape have a workspace each. While it is
    kept it does not refer to its tape: a cycle of references would keep the memory longer than the tape.
    """

    def __init__(self, tape: Tape, final: bool) -> None:
        self.final = final
        self.rows = rows_of(tape)
        self.execution = Execution(self.rows)

    def run(self, tape: Tape, given: list[Any]) -> None:
        """Run the primal sweep at a point."""
        execution = self.execution
        self.rows.tape = tape
        execution.done = 0
        execution.prepare(len(tape))
        for slot, value in zip(tape.inputs, given, strict=True):
            enter(execution, slot, slot.accept(value))
        execution.forward(self.final, tape.outputs if self.final else ())

    def release(self, tape: Tape, bars: Any = None) -> None:
        """Keep the memory for the next run, unless it is much."""
        execution = self.execution
        if bars is not None:
            give_back(bars.arena)
        for slot in tape.inputs:
            if slot.space:
                execution.put_space(slot.space, self.rows.spaces[slot.space])  # let go of the caller's array
        self.rows.tape = None
        pool = workspaces(tape, self.final)
        if len(pool) < MOST_WORKSPACES and execution.values.nbytes + execution.partials.nbytes <= KEPT_MOST:
            pool.append(self)
        else:
            execution.release()


def workspaces(tape: Tape, final: bool) -> list[Workspace]:
    """Return the workspaces of a tape that nobody uses now."""
    return tape.kept.setdefault(("workspaces", final), [])


def take_workspace(tape: Tape, final: bool) -> Workspace:
    """Return a workspace for one run, which owns it."""
    try:
        return workspaces(tape, final).pop()  # one operation: two threads never get the same one
    except IndexError:
        return Workspace(tape, final)


def enter(execution: Execution, slot: Input, values: np.ndarray) -> None:
    """Put the value of an input in its place: copy it into the arena, refer to a large one."""
    dtype = execution.rows.dtype
    if slot.space:
        order: Any = slot.order
        execution.put_space(slot.space, np.array(values, dtype, order=order, copy=None))
    elif slot.size:
        execution.values[slot.address : slot.address + slot.size] = values.reshape(-1)


# ---------------------------------------------------------------- results in arrays that exist


def check_out(out: Any, structure: Any, slots: list[tuple[tuple[int, ...], Any]]) -> list[np.ndarray]:
    """Return the arrays of `out`; raise an InputError unless they are what the results need.

    Parameters
    ----------
    out : tree of ndarray
        With the given structure.
    slots : list of (shape, dtype)
        What each leaf has to be.
    """
    leaves, found = flatten(out)
    if found != structure:
        raise InputError(
            message(
                f"out has the structure {describe_trees((found,))}; the result has {describe_trees((structure,))}",
                "give out the structure of the result, with an array for each number or array",
            )
        )
    for leaf, (shape, dtype) in zip(leaves, slots, strict=True):
        if not isinstance(leaf, np.ndarray):
            complain(f"a {type(leaf).__name__}", shape, dtype)
        if leaf.shape != shape or leaf.dtype != dtype:
            complain(f"{leaf.dtype} of shape {leaf.shape}", shape, dtype)
        if not leaf.flags.writeable:
            complain("read-only", shape, dtype)
    return leaves


def complain(what: str, shape: tuple[int, ...], dtype: Any) -> None:
    """Raise an InputError for an array that cannot take a result."""
    raise InputError(
        message(
            f"an array of out is {what}; the result is {dtype} of shape {shape}", f"pass np.empty({shape}, {dtype})"
        )
    )


def output_slots(tape: Tape) -> list[tuple[tuple[int, ...], Any]]:
    """Return shape and dtype of each leaf of the result."""
    return [(slot.shape, output_dtype(tape, slot)) for slot in tape.outputs]


def output_dtype(tape: Tape, slot: Output) -> Any:
    """Return the dtype of a result."""
    if slot.constant is not None:
        return np.asarray(slot.constant).dtype
    return np.dtype(np.bool_) if slot.boolean else tape.dtype


def check_gradient_out(tape: Tape, out: Any) -> list[np.ndarray]:
    """Return the arrays of the `out` of a gradient: like the point, or a tuple for several arguments."""
    slots: list[tuple[tuple[int, ...], Any]] = [(slot.shape, slot.dtype) for slot in tape.inputs]
    if len(tape.input_trees) == 1:
        return check_out(out, tape.input_trees[0], slots)
    if not isinstance(out, (tuple, list)) or len(out) != len(tape.input_trees):
        raise InputError(
            message(f"the gradient has {len(tape.input_trees)} parts", "give out a tuple with one for each argument")
        )
    found, start = [], 0
    for part, tree in zip(out, tape.input_trees, strict=True):
        stop = start + count_leaves(tree)
        found += check_out(part, tree, slots[start:stop])
        start = stop
    return found
