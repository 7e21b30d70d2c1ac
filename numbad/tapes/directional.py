"""Products of a tape's Jacobian with tangents and cotangents, without recording."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from numbad.errors import InputError, OutputError, message
from numbad.recording.inputs import as_leaf
from numbad.recording.structures import unflatten
from numbad.recording.trees import flatten, same_structure
from numbad.tapes.lowering import spread
from numbad.transforms.functional import Evaluation, check_real, like, match

if TYPE_CHECKING:
    from numbad.sweeps.execution import Cotangents
    from numbad.tapes.slots import Output
    from numbad.tapes.tape import Tape


class TapeEvaluation(Evaluation):
    """The execution of a tape at one point, ready for any number of tangents and cotangents.

    Attributes
    ----------
    value : tree
        The result.
    """

    def __init__(self, tape: Tape, points: tuple[Any, ...]) -> None:
        check_outputs(tape)
        self.tape = tape
        self.execution, given = tape.run(tuple([kept(point) for point in points]))
        self.recorder: Any = self.execution.rows
        self.given = given
        self.values = [slot.read(self.execution) for slot in tape.outputs]
        self.value = unite(tape, self.values)
        self.watched = []
        self.keep_constants()

    def push(self, tangents: list[Any]) -> Any:
        """Return the outputs' tangents for the inputs'."""
        self.check_constants()
        dtype = self.tape.dtype
        seeds = []
        for slot, tangent in zip(self.tape.inputs, tangents, strict=True):
            order: Any = slot.order
            seeds.append((slot.space, slot.address, np.asarray(tangent, dtype).ravel(order=order)))
        dots = self.execution.pushforward(seeds)
        parts = [read_linear(slot, dots) for slot in self.tape.outputs]
        return unite(self.tape, [like(part, value) for part, value in zip(parts, self.values, strict=True)])

    def pull(self, cotangents: list[Any]) -> tuple[Any, ...]:
        """Return the inputs' cotangents for the outputs', a tuple with one entry for each argument."""
        self.check_constants()
        inside: list[tuple[int, np.ndarray, Any]] = []
        outside: list[tuple[int, np.ndarray, Any]] = []
        for slot, cotangent in zip(self.tape.outputs, cotangents, strict=True):
            if slot.constant is None and slot.shape.count(0) == 0:
                addresses = spread(slot.address, slot.shape, slot.strides)
                (outside if slot.space else inside).append((slot.space, addresses, cotangent))
        bars = self.execution.backward([], [(addresses, cotangent) for _, addresses, cotangent in inside])
        for space, addresses, cotangent in outside:
            if space in bars.spaces:
                np.add.at(bars.spaces[space], addresses, cotangent)
        found = [slot.read(bars, value) for slot, value in zip(self.tape.inputs, self.given, strict=True)]
        return self.tape.rebuild_inputs(found)


def push_once(tape: Tape, primals: Any, tangents: Any) -> tuple[Any, Any]:
    """Return value and tangent of a tape; see `Tape.jvp`."""
    primals = tuple(primals)
    tape.flatten_inputs(primals)
    seeds, _ = match(primals, tangents, "Tape.jvp", "tangent")
    evaluation = TapeEvaluation(tape, primals)
    return evaluation.value, evaluation.push(seeds)


def pull_back(tape: Tape, primals: tuple[Any, ...]) -> tuple[Any, Any]:
    """Return value and pullback of a tape; see `Tape.vjp`."""
    tape.keeps_values()
    evaluation = TapeEvaluation(tape, primals)

    def pullback(cotangent: Any) -> tuple[Any, ...]:
        """Return the inputs' cotangents, a tuple with one entry for each argument."""
        if not same_structure(cotangent, evaluation.value):
            raise InputError(
                message(
                    "the pullback got a cotangent of another structure than the tape's result",
                    "give the cotangent the structure of the result: the same tuples, lists and dicts",
                    where=False,
                )
            )
        leaves = [as_leaf(leaf) for leaf in flatten(cotangent)[0]]
        for leaf, value in zip(leaves, evaluation.values, strict=True):
            check_real(leaf, "the pullback", "cotangent")
            if np.shape(leaf) != np.shape(value):
                raise InputError(
                    message(
                        f"the pullback got a cotangent of shape {np.shape(leaf)}; the output has {np.shape(value)}",
                        "give each cotangent the shape of its output",
                        where=False,
                    )
                )
        return evaluation.pull(leaves)

    return evaluation.value, pullback


def kept(point: Any) -> Any:
    """Return an argument that does not change when the caller writes to its arrays."""
    leaves, rebuild = flatten(point)
    return rebuild([leaf.copy() if isinstance(leaf, np.ndarray) else leaf for leaf in leaves])


def unite(tape: Tape, leaves: list[Any]) -> Any:
    """Give the leaves of a result their structure."""
    return unflatten(tape.output_tree, leaves)


def check_outputs(tape: Tape) -> None:
    """Raise an OutputError for results that have no derivative."""
    for slot in tape.outputs:
        kind = "f" if slot.constant is None else np.asarray(slot.constant).dtype.kind
        if slot.boolean or kind == "b":
            raise OutputError(
                message(
                    f"{tape.name} returned truth values, which have no derivative",
                    "return numbers, choose them with np.where",
                    where=False,
                )
            )


def read_linear(slot: Output, dots: Cotangents) -> np.ndarray:
    """Return the tangent of a result."""
    if slot.constant is not None or (slot.space and slot.space not in dots.spaces):
        return np.zeros(slot.shape, dots.arena.dtype)
    memory = dots.spaces[slot.space] if slot.space else dots.arena
    return memory[spread(slot.address, slot.shape, slot.strides)] + 0.0  # what is absent is shown as zero
