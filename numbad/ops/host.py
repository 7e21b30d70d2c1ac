"""Array ops that a Python kernel computes: a primal and one rule, its pullback, from which all else follows."""

from __future__ import annotations

import contextlib
import functools
import inspect
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from numbad.errors import NumbadError, RecordingError, message

Shape = tuple[int, ...]
ARRAY_OPS: dict[str, ArrayOp] = {}


class ArrayOp:
    """An array op with a Python kernel.

    Attributes
    ----------
    primal : callable
        `primal(*operands, **settings)`: NumPy arrays in, an array (or a tuple of arrays) out.
    shapes_function : callable
        `shapes(*operand_shapes, **settings)`: the shapes of the results, as a list. By default the
        shape of the first operand.
    vjp_function : callable
        `vjp(bars, results, operands, **settings)`: a tuple of cotangents, one for each operand, or
        None where there is none. It runs on NumPy arrays in a sweep, and on recording values when
        the derivative is recorded, so it is written in NumPy functions that numbad records. The
        tangent sweep uses its transpose.
    carries_absence : bool
        Whether the cotangents that the pullback returns are -0.0 just where they are absent. Otherwise all are numbers.
    jvp_function : callable or None
        `jvp(operands, dots, **settings)`: the tangents of the results, where the transpose is not what is wanted.
    raises : bool
        Whether the primal may raise on values. Such an op has one more result, 1.0 where it went well and 0.0 where it
        raised; its results are NaN then, so that a sweep goes on. `attempt` guards it and raises.
    takes_wanted : bool
        Whether the pullback takes `wanted=`, a bool for each operand: whether its cotangent is asked for.
    takes_lanes : bool
        Whether operands that all have a further axis of lanes at the end give results that have it too.
    """

    carries_absence = takes_wanted = takes_lanes = False

    def __init__(
        self, primal: Callable[..., Any], shapes: Callable[..., list[Shape]] | None, raises: bool = False
    ) -> None:
        self.name = primal.__name__
        self.kernel = primal
        self.raises = raises
        self.primal = attempting(primal, shapes) if raises else primal
        self.shapes_function = with_flag(shapes) if raises else shapes
        self.vjp_function: Callable[..., Any] | None = None
        self.jvp_function: Callable[..., Any] | None = None
        self.__doc__ = primal.__doc__

    def vjp(self, function: Callable[..., Any]) -> ArrayOp:
        """Register the pullback (used as a decorator)."""
        self.vjp_function = function
        return self

    def moving_vjp(self, function: Callable[..., Any]) -> ArrayOp:
        """Register a pullback that moves cotangents and so keeps what is absent (used as a decorator)."""
        self.carries_absence = True
        return self.vjp(function)

    def __call__(self, *operands: Any, **settings: Any) -> Any:
        """Record the op if an operand is recording, else compute it."""
        found = self.every_result(*operands, **settings)
        if not self.raises:
            return found
        return found[0] if len(found) == 2 else found[:-1]

    def every_result(self, *operands: Any, **settings: Any) -> Any:
        """Record or compute the op; an op that may raise gives its flag as last result."""
        recorder = recorder_among(operands)
        if recorder is None:
            return self.primal(*operands, **settings)
        return record_host(recorder, self, operands, settings)

    def attempt(self, *operands: Any, **settings: Any) -> Any:
        """Record an op that may raise as the program calls it: it is computed now, raises now, and is guarded.

        A replay in which it raises, and did not, or the other way round, takes another path.
        """
        recorder = recorder_among(operands)
        if recorder is None:
            return self.kernel(*operands, **settings)
        *results, flag = self.every_result(*operands, **settings)
        if not recorder.guard(flag.address):
            with np.errstate(all="ignore"):
                self.kernel(*(values_now(part) for part in operands), **settings)
            raise NumbadError(message(f"{self.name} raised an error once and not again", "report this"))
        return results[0] if len(results) == 1 else tuple(results)

    def __repr__(self) -> str:
        return f"<array op {self.name}>"


def array_op(
    primal: Callable[..., Any] | None = None,
    *,
    shapes: Callable[..., list[Shape]] | None = None,
    raises: bool = False,
) -> Any:
    """Declare an array op from its primal (used as a decorator); `.vjp` registers its pullback."""
    if primal is None:
        return lambda primal: array_op(primal, shapes=shapes, raises=raises)
    entry = ArrayOp(primal, shapes, raises)
    ARRAY_OPS[entry.name] = entry
    return entry


def attempting(primal: Callable[..., Any], shapes: Any) -> Callable[..., Any]:
    """Return a primal that does not raise on values: its last result tells whether all went well."""

    @functools.wraps(primal)
    def attempt(*operands: Any, **settings: Any) -> tuple[Any, ...]:
        try:
            found: Any = (*as_tuple(primal(*operands, **settings)), 1.0)
        except (ArithmeticError, ValueError):  # LinAlgError is a ValueError
            wanted = shapes(*(np.shape(part) for part in operands), **settings)
            found = (*(np.full(shape, np.nan) for shape in wanted), 0.0)
        return found

    return attempt


def with_flag(shapes: Any) -> Callable[..., list[Shape]]:
    """Return a function of shapes that counts the flag of an op that may raise among the results."""
    return lambda *operands, **settings: [*shapes(*operands, **settings), ()]


def recorder_among(operands: tuple[Any, ...]) -> Any:
    """Return the recorder of the first recording operand; None if there is none."""
    from numbad.recording.active import Active

    return next((part.recorder for part in operands if isinstance(part, Active)), None)


def values_now(operand: Any) -> Any:
    """Return an operand's values now, as a plain array."""
    from numbad.recording.active import Active

    return np.asarray(operand.value() if isinstance(operand, Active) else operand)


class HostCall:
    """One use of an array op in a tape: the op, its settings, and the shapes of operands and results.

    Attributes
    ----------
    plain : dict
        Operands that were plain when they were recorded, by their position. A rule that is recorded gets them as
        they were, so that nothing is recorded for what never varies.
    """

    __slots__ = ("op", "operand_shapes", "plain", "result_shapes", "settings", "single")

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

    def backward(self, inputs: list[Any], outputs: list[Any], input_bars: list[Any], output_bars: list[Any]) -> None:
        """Add the operands' cotangents to flat views."""
        with np.errstate(all="ignore"), alone():
            pulled = self.pull(
                self.shaped(output_bars, self.result_shapes),
                self.shaped(outputs, self.result_shapes),
                self.shaped(inputs, self.operand_shapes),
                [view is not None for view in input_bars],
            )
        for view, addend, shape in zip(input_bars, pulled, self.operand_shapes, strict=True):
            if view is not None and addend is not None:
                self.check(addend, shape, "cotangent")
                view += np.asarray(addend).reshape(-1) + (-0.0 if self.carries() else 0.0)

    def carries(self) -> bool:
        """Whether zeros that the op's rules return are -0.0 just where they are absent."""
        return getattr(self.op, "carries_absence", False)

    def pull(self, bars: list[Any], results: list[Any], operands: list[Any], wanted: Any = None) -> tuple[Any, ...]:
        """Return the cotangents of the operands, for arrays or recording values; None for those not wanted."""
        if self.op.vjp_function is None:
            raise NumbadError(message(f"{self.op.name} has no derivative", "use numbad.stop_gradient on its operands"))
        if getattr(self.op, "raises", False):
            bars, results = bars[:-1], results[:-1]
        settings = self.settings
        if getattr(self.op, "takes_wanted", False):
            wanted = [k not in self.plain and (wanted is None or wanted[k]) for k in range(len(operands))]
            settings = {**settings, "wanted": wanted}
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
        return (*found, np.zeros(())) if getattr(self.op, "raises", False) else found

    def tangent(self, inputs: list[Any], outputs: list[Any], input_dots: list[Any], output_dots: list[Any]) -> None:
        """Compute the results' tangents into flat views: the transpose of the pullback."""
        from numbad.recording.recorder import current, set_current
        from numbad.transforms.derivatives import differentiate

        results = self.shaped(outputs, self.result_shapes)
        operands = self.shaped(inputs, self.operand_shapes)
        dots = self.shaped(input_dots, self.operand_shapes)
        self.refuse_unknown([dot is not None and dot.any() for dot in dots])
        if self.op.jvp_function is not None:
            outer = current()
            set_current(None)
            try:
                with np.errstate(all="ignore"):
                    found = self.push(results, operands, dots)
            finally:
                set_current(outer)
            for view, dot, shape in zip(output_dots, found, self.result_shapes, strict=True):
                self.check(dot, shape, "tangent")
                view[...] = np.asarray(dot).reshape(-1) + (-0.0 if self.carries() else 0.0)
            return

        def paired(*bars: Any) -> Any:
            total: Any = 0.0
            for dot, cotangent in zip(dots, self.pull(list(bars), results, operands), strict=True):
                if dot is not None and cotangent is not None:
                    total = total + np.sum(dot * cotangent)
            return total

        outer = current()
        set_current(None)
        try:
            bars = tuple(np.zeros(shape, view.dtype) for shape, view in zip(self.result_shapes, outputs, strict=True))
            _, _, slopes = differentiate(paired, bars, tuple(range(len(bars))), {}, self.op.name)
        finally:
            set_current(outer)
        for view, dot in zip(output_dots, slopes, strict=True):
            view[...] = np.asarray(dot).reshape(-1)

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


@contextlib.contextmanager
def alone() -> Iterator[None]:
    """Run a rule on plain arrays as if nothing were being recorded."""
    from numbad.recording.recorder import current, set_current

    outer = current()
    set_current(None)
    try:
        yield
    finally:
        set_current(outer)


def as_tuple(found: Any) -> tuple[Any, ...]:
    """Return one result or several as a tuple."""
    return tuple(found) if isinstance(found, (tuple, list)) else (found,)


def record_host(recorder: Any, op: Any, operands: tuple[Any, ...], settings: dict[str, Any]) -> Any:
    """Append a host row; return its results."""
    from numbad.recording.active import Active
    from numbad.recording.arrays import as_array
    from numbad.recording.operands import as_active

    values = tuple(as_array(as_active(recorder, part)) for part in operands)
    shapes = [value.shape for value in values]
    result_shapes = [shapes[0]] if op.shapes_function is None else op.shapes_function(*shapes, **settings)
    call = HostCall(op, settings, shapes, result_shapes)
    if getattr(op, "takes_wanted", False):
        call.plain = {k: plain_copy(part) for k, part in enumerate(operands) if not isinstance(part, Active)}
    return record_call(recorder, call, values)


def plain_copy(value: Any) -> Any:
    """Return a plain operand as the tape keeps it: small arrays as a copy, large ones by reference."""
    from numbad.limits import SMALL

    return np.array(value)[()] if np.size(value) <= SMALL else value


def record_call(recorder: Any, call: HostCall, operands: tuple[Any, ...]) -> Any:
    """Append the row of a call; return its results."""
    from numbad.recording.arrays import as_array, make_block
    from numbad.recording.operands import as_active

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
    from numbad.geometry import contiguous
    from numbad.recording.arrays import make_block

    space, address, _ = value.place()
    block = recorder.add_row(
        value.shape, value.size, contiguous(value.shape), (space, address, (0,) * len(value.shape))
    )
    return make_block(recorder, block, value.shape)
