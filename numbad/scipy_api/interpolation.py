"""scipy.interpolate: piecewise polynomials of constant coefficients, evaluated at recording points."""

from __future__ import annotations

from typing import Any

import numpy as np

from numbad.errors import RecordingError, message
from numbad.numpy_api.functions import asarray
from numbad.recording.operands import to_array
from numbad.scipy_api.dispatch import records


@records("scipy.interpolate", "PPoly.__call__", "BPoly.__call__", "CubicSpline.__call__")
def evaluate_pieces(self: Any, x: Any, nu: int = 0, extrapolate: Any = None) -> Any:
    """A piecewise polynomial, or its derivative of order nu; which piece a point lies in is guarded."""
    from scipy.interpolate import BPoly, PPoly

    if isinstance(self, BPoly):
        return evaluate_pieces(PPoly.from_bernstein_basis(self), x, nu, extrapolate)
    if nu < 0:
        raise ValueError(f"the order nu of a derivative is {nu}; it cannot be negative")
    extrapolate = self.extrapolate if extrapolate is None else extrapolate
    if nu:
        return evaluate_pieces(self.derivative(nu), x, 0, extrapolate)
    points = to_array(asarray(x))
    ends = np.asarray(self.x, float)
    if extrapolate == "periodic":
        points = to_array(ends[0] + np.remainder(points - ends[0], ends[-1] - ends[0]))
        extrapolate = True
    if ends[0] <= ends[-1]:
        piece = np.clip(np.searchsorted(ends, points, side="right") - 1, 0, len(ends) - 2)
    else:
        piece = len(ends) - 2 - np.clip(np.searchsorted(ends[::-1], points, side="left") - 1, 0, len(ends) - 2)
    trailing = (None,) * (self.c.ndim - 2)
    distance = (points - np.take(ends, piece))[(..., *trailing)]
    found: Any = np.take(self.c[0], piece, axis=0)
    for coefficients in self.c[1:]:
        found = found * distance + np.take(coefficients, piece, axis=0)
    found = found + 0.0 * distance if len(self.c) == 1 else found
    if not extrapolate:
        inside = ((points >= np.min(ends)) & (points <= np.max(ends)))[(..., *trailing)]
        found = np.where(inside, found, np.nan)
    return along_axis(found, points.ndim, self.axis)


def along_axis(found: Any, ndim: int, axis: int) -> Any:
    """Return values whose first axes are those of the points with these in the place of the axis of interpolation."""
    if not axis:
        return found
    order = list(range(np.ndim(found)))
    return np.transpose(found, order[ndim : ndim + axis] + order[:ndim] + order[ndim + axis :])


@records("scipy.interpolate", "BSpline.__call__")
def evaluate_spline(self: Any, x: Any, nu: int = 0, extrapolate: Any = None) -> Any:
    """A B-spline of constant coefficients, as a piecewise polynomial."""
    from scipy.interpolate import PPoly

    extrapolate = self.extrapolate if extrapolate is None else extrapolate
    count = len(self.t) - self.k - 1
    flat = np.asarray(self.c)[:count].reshape(count, -1)
    columns = [PPoly.from_spline((self.t, column, self.k)).c[:, self.k : count] for column in flat.T]
    pieces = np.stack(columns, axis=-1).reshape(*columns[0].shape, *self.c.shape[1:])
    if nu > self.k + 1:  # SciPy gives zeros then, outside of the interval too
        extrapolate = True
    inner = PPoly.construct_fast(pieces, self.t[self.k : count + 1], extrapolate, self.axis)
    return evaluate_pieces(inner, x, nu, extrapolate)


def fill_value(value: Any, shape: tuple[int, ...]) -> Any:
    """Return what a table has beyond an end, in the shape of one of its entries."""
    value = np.asarray(value)
    return value.reshape(shape) if value.size == np.prod(shape, dtype=np.int64) else np.broadcast_to(value, shape)


@records("scipy.interpolate", "interp1d.__call__")
def evaluate_table(self: Any, x: Any) -> Any:
    """A table of constant values, linear between its points or by its spline."""
    points = to_array(asarray(x))
    kind, extra = getattr(self, "_kind", ""), tuple(getattr(self, "_y_extra_shape", ()))
    if hasattr(self, "_spline"):
        found = np.reshape(evaluate_spline(self._spline, points), points.shape + extra)
    elif kind == "linear":
        table = np.reshape(self._y, (len(self.x), *extra))
        widths = np.diff(self.x)[(..., *[None] * len(extra))]
        piece = np.clip(np.searchsorted(self.x, points, side="right") - 1, 0, len(self.x) - 2)
        distance = (points - np.take(self.x, piece))[(..., *[None] * len(extra))]
        found = np.take(table, piece, axis=0) + np.take(np.diff(table, axis=0) / widths, piece, axis=0) * distance
    else:
        raise RecordingError(
            message(
                f"scipy.interpolate.{type(self).__name__} ({kind or 'any'}) is not recorded",
                "use np.interp, CubicSpline, or kind='linear' or 'cubic' of interp1d",
            )
        )
    below, above = points < self.x[0], points > self.x[-1]
    if self.bounds_error and bool(np.any(below | above)):
        raise ValueError("A value in x_new is outside of the interpolation range.")
    if not self._extrapolate:
        below, above = (outside[(..., *[None] * len(extra))] for outside in (below, above))
        low, high = (fill_value(part, extra) for part in (self._fill_value_below, self._fill_value_above))
        found = np.where(below, low, np.where(above, high, found))
    return along_axis(found, points.ndim, getattr(self, "_y_axis", 0))
