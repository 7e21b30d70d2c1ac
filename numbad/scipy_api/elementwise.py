"""Elementwise functions of SciPy as array ops: SciPy's ufunc for the value, a formula for each partial derivative."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from numbad.ops import reach
from numbad.ops.definition import ABSENT, BY_NAME, absent, find_ufunc
from numbad.ops.host import ARRAY_OPS, ArrayOp
from numbad.ops.linalg import unbroadcast

ELEMENTWISE: dict[str, Elementwise] = {}  # name in scipy.special -> op
Slope = Callable[..., Any] | None


class Elementwise(ArrayOp):
    """An array op whose operands are broadcast against one another.

    Attributes
    ----------
    title : str
        How error messages call it.
    slopes : tuple of callable or None
        For each operand, the partial derivative: a function of the result and all operands, written in functions
        that are recorded. None where there is no formula: an error says so where that derivative is asked for.
    """

    carries_absence = takes_wanted = takes_lanes = True

    def __init__(self, primal: Callable[..., Any], title: str, slopes: tuple[Slope, ...]) -> None:
        super().__init__(primal, lambda *shapes: [np.broadcast_shapes(*shapes)])
        self.title, self.slopes, self.reach = title, slopes, reach.broadcast
        self.vjp_function, self.jvp_function = self.pull, self.push

    def slope(self, k: int, result: Any, operands: Any) -> Any:
        """Return the partial derivative with respect to an operand; NaN where there is no formula."""
        slope = self.slopes[k]
        return np.nan if slope is None else slope(result, *operands)

    def pull(self, bars: Any, results: Any, operands: Any, wanted: Any = None) -> tuple[Any, ...]:
        """Return the operands' cotangents, None for those that are not wanted."""
        weigh = BY_NAME["weigh"]
        return tuple(
            unbroadcast(weigh(self.slope(k, results[0], operands), bars[0]), np.shape(operand))
            if wanted is None or wanted[k]
            else None
            for k, operand in enumerate(operands)
        )

    def push(self, operands: Any, dots: Any, results: Any) -> Any:
        """Return the tangent of the result; operands without a tangent add nothing."""
        weigh = BY_NAME["weigh"]
        total: Any = ABSENT
        for k, dot in enumerate(dots):
            if dot is not None and (not isinstance(dot, np.ndarray) or not absent(dot).all()):
                total = total + weigh(self.slope(k, results[0], operands), dot)
        return np.broadcast_to(total, np.shape(results[0]))


def elementwise(name: str, *slopes: Slope, primal: Callable[..., Any] | None = None) -> Elementwise:
    """Declare a ufunc of scipy.special, with a partial derivative for each operand (see `Elementwise`).

    Its value is that of SciPy's function unless `primal` is given.
    """
    function = primal or (lambda *operands: find_ufunc(f"scipy.special.{name}")(*operands))
    function.__name__ = name
    function.__doc__ = f"scipy.special.{name}."
    entry = ELEMENTWISE[name] = Elementwise(function, f"scipy.special.{name}", slopes)
    return entry


def internal(primal: Callable[..., Any], *slopes: Slope) -> Elementwise:
    """Declare a function that derivatives are written in, and that SciPy has not."""
    entry = ARRAY_OPS[primal.__name__] = Elementwise(primal, primal.__name__, slopes)
    return entry
