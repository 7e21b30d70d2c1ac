"""scipy.interpolate: piecewise polynomials of constant coefficients, evaluated at recording points."""

from __future__ import annotations

from typing import Any

import numpy as np

from numbad.errors import RecordingError, message
from numbad.helpers import asarray
from numbad.numpy_api.dispatch import to_array
from numbad.scipy_api.dispatch import records


@records("scipy.interpolate", "PPoly.__call__", "CubicSpline.__call__")
def evaluate_pieces(self: Any, x: Any, nu: int = 0, extrapolate: Any = None) -> Any:
    """A piecewise polynomial, or its derivative of order nu; which piece a point lies in is guarded."""
    if self.axis:
        raise RecordingError(
            message("scipy.interpolate: a spline along an axis other than 0 is not recorded", "build it with axis=0")
        )
    if nu:
        return evaluate_pieces(self.derivative(nu), x, 0, extrapolate)
    extrapolate = self.extrapolate if extrapolate is None else extrapolate
    points = to_array(asarray(x))
    ends = np.asarray(self.x, float)
    if extrapolate == "periodic":
        points = to_array(ends[0] + np.remainder(points - ends[0], ends[-1] - ends[0]))
    piece = np.clip(np.searchsorted(ends, points, side="right") - 1, 0, len(ends) - 2)
    trailing = (None,) * (self.c.ndim - 2)
    distance = (points - ends[piece])[(..., *trailing)]
    found: Any = self.c[0][piece]
    for coefficients in self.c[1:]:
        found = found * distance + coefficients[piece]
    found = found + 0.0 * distance if len(self.c) == 1 else found
    if not extrapolate:
        inside = ((points >= ends[0]) & (points <= ends[-1]))[(..., *trailing)]
        found = np.where(inside, found, np.nan)
    return found


@records("scipy.interpolate", "BSpline.__call__")
def evaluate_spline(self: Any, x: Any, nu: int = 0, extrapolate: Any = None) -> Any:
    """A B-spline of constant coefficients, as a piecewise polynomial."""
    from scipy.interpolate import PPoly

    extrapolate = self.extrapolate if extrapolate is None else extrapolate
    count = len(self.t) - self.k - 1
    flat = np.asarray(self.c)[:count].reshape(count, -1)
    columns = [PPoly.from_spline((self.t, column, self.k)).c[:, self.k : count] for column in flat.T]
    pieces = np.stack(columns, axis=-1).reshape(*columns[0].shape, *self.c.shape[1:])
    inner = PPoly.construct_fast(pieces, self.t[self.k : count + 1], extrapolate, self.axis)
    return evaluate_pieces(inner, x, nu, extrapolate)


@records("scipy.interpolate", "interp1d.__call__")
def evaluate_table(self: Any, x: Any) -> Any:
    """A table of constant values, linear between its points or by its spline."""
    points = to_array(asarray(x))
    kind = getattr(self, "_kind", "")
    if hasattr(self, "_spline"):
        found = evaluate_spline(self._spline, points)
        found = found[..., 0] if self.y.ndim == 1 and np.ndim(found) > points.ndim else found
    elif kind == "linear" and self.y.ndim == 1:
        slopes = np.diff(self.y) / np.diff(self.x)
        piece = np.clip(np.searchsorted(self.x, points, side="right") - 1, 0, len(slopes) - 1)
        found = self.y[piece] + slopes[piece] * (points - self.x[piece])
    else:
        raise RecordingError(
            message(
                f"scipy.interpolate.{type(self).__name__} ({kind or 'any'}) is not recorded",
                "use np.interp or CubicSpline",
            )
        )
    below, above = points < self.x[0], points > self.x[-1]
    if self.bounds_error and bool(np.any(below | above)):
        raise ValueError("A value in x_new is outside of the interpolation range.")
    if not self._extrapolate:
        low, high = (self._fill_value_below, self._fill_value_above)
        low, high = (np.ravel(part)[0] if np.size(part) else part for part in (low, high))
        found = np.where(below, low, np.where(above, high, found))
    return found
