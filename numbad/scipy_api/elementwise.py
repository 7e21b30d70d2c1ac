"""Elementwise functions of SciPy as array ops: SciPy's ufunc for the value, a formula for each partial derivative."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from numbad.active import Active
from numbad.errors import RecordingError, message
from numbad.ops.definition import BY_NAME, find_ufunc
from numbad.ops.host import ArrayOp
from numbad.ops.linalg import unbroadcast

ELEMENTWISE: dict[str, ArrayOp] = {}  # name in scipy.special -> op
SLOPES: dict[str, tuple[Any, ...]] = {}
Slope = Callable[..., Any] | None


def elementwise(name: str, *slopes: Slope) -> ArrayOp:
    """Declare a ufunc of scipy.special.

    Parameters
    ----------
    name : str
        The ufunc's name.
    *slopes : callable or None
        For each operand, the partial derivative: a function of the result and all operands, written in functions
        that are recorded. None where there is no formula: a recording value is refused there.
    """

    def primal(*operands: Any) -> Any:
        return find_ufunc(f"scipy.special.{name}")(*operands)

    primal.__name__ = name
    primal.__doc__ = f"scipy.special.{name}."
    entry = ELEMENTWISE[name] = elementwise_op(primal, *slopes)
    SLOPES[name] = slopes
    return entry


def elementwise_op(primal: Callable[..., Any], *slopes: Slope) -> ArrayOp:
    """Return an array op whose operands are broadcast against one another."""

    def pullback(bars: Any, results: Any, operands: Any) -> tuple[Any, ...]:
        weigh = BY_NAME["weigh"]
        return tuple(
            None if slope is None else unbroadcast(weigh(slope(results[0], *operands), bars[0]), np.shape(operand))
            for slope, operand in zip(slopes, operands, strict=True)
        )

    entry = ArrayOp(primal, lambda *shapes: [np.broadcast_shapes(*shapes)])
    entry.vjp_function, entry.carries_absence = pullback, True
    return entry


def call_elementwise(name: str, operands: tuple[Any, ...]) -> Any:
    """Record a declared function; refuse a recording value where there is no formula for the derivative."""
    refuse_without_slope(f"scipy.special.{name}", SLOPES[name], operands)
    return ELEMENTWISE[name](*operands)


def refuse_without_slope(name: str, slopes: tuple[Any, ...], operands: tuple[Any, ...]) -> None:
    """Raise a RecordingError where an operand is recording that has no partial derivative."""
    for k, (slope, operand) in enumerate(zip(slopes, operands, strict=True)):
        if slope is None and isinstance(operand, Active):
            raise RecordingError(
                message(
                    f"{name} has no derivative with respect to its argument {k + 1}",
                    "hold that argument constant (numbad.stop_gradient), or give it a rule with numbad.custom_vjp",
                )
            )
