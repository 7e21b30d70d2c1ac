"""Calls of array ops: their rows, what their kernels read and write, and what their rules give."""

from __future__ import annotations

import contextlib
import inspect
import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from numbad.errors import NumbadError, RecordingError, message
from numbad.geometry import contiguous
from numbad.limits import SMALL
from numbad.ops.host import ArrayOp, Shape, as_tuple
from numbad.ops.lanes import laned
from numbad.recording.active import Active
from numbad.recording.arrays import as_array, make_block
from numbad.recording.operands import as_active
from numbad.recording.recorder import current, set_current

MOST_REPEATED = 1 << 20  # elements of the operands of a rule that are repeated for each seed: 8 MB


class HostCall:
    """One use of an array op in a tape: the op, its settings, and the shapes of operands and results.

    Attributes
    ----------
    plain : dict
        Operands that were plain when they were recorded, by their position. A rule that is recorded gets them as
        they were, so that nothing is recorded for what never varies.
    """

    __slots__ = ("op", "operand_shapes", "plain", "result_shapes", "settings")

    def __init__(self, op: Any, settings: dict[str, Any], operand_shapes: list[Shape], result_shapes: list[Shape]):
        self.op = op
        self.plain: dict[int, Any] = {}
        self.settings = settings
        self.operand_shapes = operand_shapes
        self.result_shapes = result_shapes

    def shaped(self, flats: list[Any], shapes: list[Shape]) -> list[Any]:
        """Give flat views their shapes; None stays."""
        return [None if f is None else f.reshape(s) for f, s in zip(flats, shapes, strict=True)]

    def forward(self, inputs: list[Any], outputs: list[Any]) -> None:
        """Compute the results into flat views."""
        with np.errstate(all="ignore"):
            found = self.op.primal(*self.shaped(inputs, self.operand_shapes), **self.settings)
        for view, result, shape in zip(outputs, as_tuple(found), self.result_shapes, strict=True):
            self.check(result, shape, "result")
            view[...] = np.asarray(result).reshape(-1)

    def backward(
        self, inputs: list[Any], outputs: list[Any], input_bars: list[Any], output_bars: list[Any], last: bool = False
    ) -> None:
        """Add the operands' cotangents to flat views; `last` says that no row is taken back behind this one."""
        with np.errstate(all="ignore"), alone():
            pulled = self.pull(
                self.shaped(output_bars, self.result_shapes),
                self.shaped(outputs, self.result_shapes),
                self.shaped(inputs, self.operand_shapes),
                [view is not None for view in input_bars],
                last,
            )
        for view, addend, shape in zip(input_bars, pulled, self.operand_shapes, strict=True):
            if view is not None and addend is not None:
                self.check(addend, shape, "cotangent")
                addend = np.asarray(addend).reshape(-1)
                view += addend if self.carries() else addend + 0.0

    def carries(self) -> bool:
        """Whether zeros that the op's rules return are -0.0 just where they are absent."""
        return getattr(self.op, "carries_absence", False)

    def pull(
        self, bars: list[Any], results: list[Any], operands: list[Any], wanted: Any = None, last: bool = False
    ) -> tuple[Any, ...]:
        """Return the cotangents of the operands, for arrays or recording values; None for those not wanted.

        Where the row is the `last` that is taken back, nobody asks whether zeros are absent.
        """
        if self.op.vjp_function is None:
            raise NumbadError(message(f"{self.op.name} has no derivative", "use numbad.stop_gradient on its operands"))
        if getattr(self.op, "raises", False):
            bars, results = bars[:-1], results[:-1]
        settings = self.settings
        if getattr(self.op, "takes_wanted", False):
            wanted = [k not in self.plain and (wanted is None or wanted[k]) for k in range(len(operands))]
            settings = {**settings, "wanted": wanted}
        if last and getattr(self.op, "takes_last", False):
            settings = {**settings, "last": True}
        return as_tuple(self.op.vjp_function(bars, results, self.with_plain(operands), **settings))

    def unknown(self) -> list[int]:
        """Return the operands that may vary and for which the op has no derivative."""
        slopes = getattr(self.op, "slopes", ())
        return [k for k, slope in enumerate(slopes) if slope is None and k not in self.plain]

    def refuse_unknown(self, wanted: Any, site: Any = None) -> None:
        """Raise a RecordingError where a derivative is wanted for which the op has no formula."""
        for k in self.unknown():
            if wanted[k]:
                raise RecordingError(
                    message(
                        f"{self.op.title} has no derivative with respect to its argument {k + 1}",
                        "hold that argument constant (numbad.stop_gradient), or give it a rule with numbad.custom_vjp",
                        site,
                    )
                )

    def with_plain(self, operands: list[Any]) -> list[Any]:
        """Return the operands for a rule that is recorded: those that never vary as plain values."""
        return [self.plain.get(k, operand) for k, operand in enumerate(operands)] if self.plain else operands

    def push(self, results: list[Any], operands: list[Any], dots: list[Any]) -> tuple[Any, ...]:
        """Return the tangents of the results by the op's own rule, `jvp_function`."""
        given = self.with_plain(operands)
        if getattr(self.op, "takes_wanted", False):
            dots = [None if k in self.plain else dot for k, dot in enumerate(dots)]
            return as_tuple(self.op.jvp_function(given, dots, results=results, **self.settings))
        found = as_tuple(self.op.jvp_function(given, dots, **self.settings))
        return (*found, np.zeros(self.result_shapes[-1])) if getattr(self.op, "raises", False) else found

    def check(self, found: Any, shape: Shape, what: str) -> None:
        """Raise when a rule gives an array of another shape."""
        if np.shape(found) != shape and np.size(found) != int(np.prod(shape, dtype=np.int64)):
            raise NumbadError(
                message(
                    f"{self.op.name} gave a {what} of shape {np.shape(found)}; {shape} is wanted",
                    f"mend the rule of {self.op.name}"
                    + (f" ({inspect.getsourcefile(self.op.primal)})" if inspect.isfunction(self.op.primal) else ""),
                    where=False,
                )
            )


def with_seeds(call: HostCall, lanes: int) -> HostCall | None:
    """Return a call at one point as one whose operands have the lanes of seeds as last axis; None if it takes none.

    The rule then runs once. Operands are repeated for it, so large ones take their seeds one by one.
    """
    op = call.op
    if not getattr(op, "stacks", False) or lanes * sum(map(math.prod, call.operand_shapes)) > MOST_REPEATED:
        return None
    settings = {**call.settings, "shared": (False,) * len(call.operand_shapes)}
    operands, results = ([(*shape, lanes) for shape in shapes] for shapes in (call.operand_shapes, call.result_shapes))
    return HostCall(laned(op), settings, operands, results)


def repeated(values: list[Any], lanes: int) -> list[Any]:
    """Return arrays with an axis of lanes behind their own, which are all alike."""
    return [np.broadcast_to(value.reshape((*value.shape, 1)), (*value.shape, lanes)) for value in values]


@contextlib.contextmanager
def alone() -> Iterator[None]:
    """Run a rule on plain arrays as if nothing were being recorded."""
    outer = current()
    set_current(None)
    try:
        yield
    finally:
        set_current(outer)


def record_host(recorder: Any, op: Any, operands: tuple[Any, ...], settings: dict[str, Any]) -> Any:
    """Append a host row; return its results."""
    values = tuple(as_array(as_active(recorder, part)) for part in operands)
    shapes = [value.shape for value in values]
    result_shapes = op.shapes_function(*shapes, **settings)
    call = HostCall(op, settings, shapes, result_shapes)
    if getattr(op, "takes_wanted", False):
        call.plain = {k: plain_copy(part) for k, part in enumerate(operands) if not isinstance(part, Active)}
    return record_call(recorder, call, values)


def plain_copy(value: Any) -> Any:
    """Return a plain operand as the tape keeps it: small arrays as a copy, large ones by reference."""
    return np.array(value)[()] if np.size(value) <= SMALL else value


def record_call(recorder: Any, call: HostCall, operands: tuple[Any, ...]) -> Any:
    """Append the row of a call; return its results."""
    places = []
    for part in operands:
        value = as_array(as_active(recorder, part))
        space, address, strides = value.place()
        if strides is not None and value.shape:
            space, address, _ = value.copy().place() if any(strides) else filled(recorder, value).place()
        places.append((space, address, value.size))
    result_shapes = call.result_shapes
    addresses = recorder.host_row(call, places, [int(np.prod(shape, dtype=np.int64)) for shape in result_shapes])
    results = [make_block(recorder, a, s) for a, s in zip(addresses, result_shapes, strict=True)]
    return results[0] if len(results) == 1 else tuple(results)


def filled(recorder: Any, value: Any) -> Any:
    """Return an array of one repeated value as a block of its own."""
    space, address, _ = value.place()
    block = recorder.add_row(
        value.shape, value.size, contiguous(value.shape), (space, address, (0,) * len(value.shape))
    )
    return make_block(recorder, block, value.shape)


def record_array_op(self: Active, op: ArrayOp, operands: tuple[Any, ...], settings: dict[str, Any]) -> Any:
    """Record an array op that was called by name."""
    return record_host(self.recorder, op, operands, settings)


Active.record_array_op = record_array_op
