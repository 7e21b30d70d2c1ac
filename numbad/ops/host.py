"""Array ops that a Python kernel computes: a primal and one rule, its pullback, from which all else follows."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from numbad.errors import NumbadError, message

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
    reach : callable or None
        `reach(operand_shapes, result_shapes, **settings)`: which elements of the operands the results depend on (see
        `ops.reach`); None where each depends on all. The flag of an op that raises has no derivative.
    linear : bool
        Whether it is linear in its first operand and `takes_lanes`, and its rules do too: then lanes go through a rule
        at once.
    stacks : bool
        Whether kernel and rules take stacks: operands that all have a further axis in front give results that have it
        too. Then many lanes are computed at once (`ops/lanes.py`).
    takes_columns : bool
        Whether the second operand may be a vector, which a stack takes as a matrix of one column.
    columns_kernel : bool
        Whether it is a system of equations whose second operand may have any number of columns, in two axes at most.
    stacked_kernel : callable
        What computes a stack; the primal, where nothing else is given.
    """

    carries_absence = takes_wanted = takes_lanes = linear = stacks = takes_columns = columns_kernel = False
    reach: Callable[..., Any] | None = None

    def __init__(
        self, primal: Callable[..., Any], shapes: Callable[..., list[Shape]] | None, raises: bool = False
    ) -> None:
        self.name = primal.__name__
        self.kernel = self.stacked_kernel = primal
        self.raises = raises
        shapes = shapes or first_shape
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

    def for_stacks(self, kernel: Callable[..., Any]) -> Callable[..., Any]:
        """Register what computes a stack (used as a decorator); the rules take stacks, too."""
        self.stacked_kernel, self.stacks = kernel, True
        return kernel

    def __call__(self, *operands: Any, **settings: Any) -> Any:
        """Record the op if an operand is recording, else compute it."""
        found = self.every_result(*operands, **settings)
        if not self.raises:
            return found
        return found[0] if len(found) == 2 else found[:-1]

    def every_result(self, *operands: Any, **settings: Any) -> Any:
        """Record or compute the op; an op that may raise gives its flag as last result."""
        recording = recording_among(operands)
        return (
            self.primal(*operands, **settings)
            if recording is None
            else recording.record_array_op(self, operands, settings)
        )

    def attempt(self, *operands: Any, **settings: Any) -> Any:
        """Record an op that may raise as the program calls it: it is computed now, raises now, and is guarded.

        A replay in which it raises, and did not, or the other way round, takes another path.
        """
        recording = recording_among(operands)
        if recording is None:
            return self.kernel(*operands, **settings)
        *results, flag = self.every_result(*operands, **settings)
        if not flag.recorder.guard(flag.address):
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
    stacks: bool = False,
) -> Any:
    """Declare an array op from its primal (used as a decorator); `.vjp` registers its pullback."""
    if primal is None:
        return lambda primal: array_op(primal, shapes=shapes, raises=raises, stacks=stacks)
    entry = ArrayOp(primal, shapes, raises)
    entry.stacks = stacks
    ARRAY_OPS[entry.name] = entry
    return entry


def first_shape(*shapes: Shape, **settings: Any) -> list[Shape]:
    """Return the shape of the first operand: that of the result of most ops."""
    return [shapes[0]]


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


def recording_among(operands: tuple[Any, ...]) -> Any:
    """Return the first operand that records what is done with it; None if there is none."""
    return next((part for part in operands if hasattr(type(part), "record_array_op")), None)


def values_now(operand: Any) -> Any:
    """Return an operand's values now, as a plain array."""
    return np.asarray(operand.value() if recording_among((operand,)) is not None else operand)


def as_tuple(found: Any) -> tuple[Any, ...]:
    """Return one result or several as a tuple."""
    return tuple(found) if isinstance(found, (tuple, list)) else (found,)
