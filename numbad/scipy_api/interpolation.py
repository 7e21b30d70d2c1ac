"""scipy.interpolate: piecewise polynomials at recording points, and cubic splines through recording values."""

from __future__ import annotations

from typing import Any

import numpy as np

from numbad.errors import RecordingError, message
from numbad.geometry import normal_axis
from numbad.numpy_api.functions import asarray
from numbad.recording.active import involves
from numbad.recording.operands import to_array
from numbad.scipy_api.dispatch import records, refuse_options


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


def coefficients_of(polynomial: Any) -> Any:
    """Return the coefficients that a piecewise polynomial holds."""
    return getattr(polynomial, "_c", None) if hasattr(polynomial, "_c") else getattr(polynomial, "c", None)


def itself(value: Any) -> Any:
    """Return a value as it is."""
    return value


def hold(polynomial: Any, c: Any, x: np.ndarray, extrapolate: Any, axis: int) -> Any:
    """Give a piecewise polynomial coefficients that are recording values; SciPy would convert them."""
    polynomial.axis, polynomial.extrapolate = axis, extrapolate
    if isinstance(getattr(type(polynomial), "c", None), property):
        polynomial._c, polynomial._x, polynomial._asarray = c, x, itself
    else:
        polynomial.c, polynomial.x = c, x
    return polynomial


@records("scipy.interpolate", "PPoly.derivative")
def differentiate_pieces(self: Any, nu: int = 1) -> Any:
    """The derivative of a piecewise polynomial whose coefficients are recording values."""
    if nu < 0:
        return integrate_pieces(self, -nu)
    c = self.c
    for _ in range(nu):
        powers = np.arange(len(c) - 1.0, 0.0, -1.0).reshape(-1, *(1,) * (c.ndim - 1))
        c = c[:-1] * powers if len(c) > 1 else 0.0 * c
    return hold(object.__new__(type(self)), c, np.asarray(self.x), self.extrapolate, self.axis)


@records("scipy.interpolate", "PPoly.antiderivative")
def integrate_pieces(self: Any, nu: int = 1) -> Any:
    """The antiderivative that is 0 at the first knot, of recording coefficients."""
    if nu <= 0:
        return differentiate_pieces(self, -nu)
    c, x = self.c, np.asarray(self.x)
    widths = np.diff(x).reshape(-1, *(1,) * (c.ndim - 2))
    for _ in range(nu):
        c = c / np.arange(float(len(c)), 0.0, -1.0).reshape(-1, *(1,) * (c.ndim - 1))
        areas: Any = 0.0
        for part in c:
            areas = (areas + part) * widths
        first = np.cumsum(areas, axis=0) - areas  # what lies before each piece
        c = np.concatenate([c, first[None]])
    extrapolate = False if self.extrapolate == "periodic" else self.extrapolate
    return hold(object.__new__(type(self)), c, x, extrapolate, self.axis)


@records("scipy.interpolate", "PPoly.integrate", "CubicSpline.integrate")
def area_below(self: Any, a: Any, b: Any, extrapolate: Any = None) -> Any:
    """The integral of a piecewise polynomial between two ends: of recording coefficients, or to a recording end."""
    extrapolate = self.extrapolate if extrapolate is None else extrapolate
    if extrapolate == "periodic":
        refuse_options("scipy.interpolate.PPoly.integrate", extrapolate=(extrapolate, True))
    whole = self.antiderivative()
    high, low = (evaluate_pieces(whole, end, 0, bool(extrapolate)) for end in (b, a))
    return high - low


for _function in (evaluate_pieces, differentiate_pieces, integrate_pieces, area_below):
    _function.holder = coefficients_of  # type: ignore[attr-defined]


@records("scipy.interpolate", "CubicSpline.__init__")
def make_cubic_spline(self: Any, x: Any, y: Any, axis: int = 0, bc_type: Any = "not-a-knot",
                      extrapolate: Any = None) -> None:  # fmt: skip
    """A cubic spline through recording values: its slopes at the knots are the solution of a banded system.

    Which system that is, SciPy tells: its slopes are linear in the values, and in those of the conditions at the ends.
    """
    from scipy.interpolate import CubicSpline

    if involves((x, bc_type)):
        raise RecordingError(
            message("scipy.interpolate.CubicSpline: recording knots or conditions at the ends are not recorded",
                    "use plain ones: only the values may be recording")
        )  # fmt: skip
    values = to_array(asarray(y))
    axis = normal_axis(axis, values.ndim)
    values = np.moveaxis(values, axis, 0)
    plain = CubicSpline(x, np.zeros(values.shape), 0, bc_type, extrapolate)
    widths = np.diff(plain.x)
    count = len(plain.x)
    if count > MOST_KNOTS:
        raise RecordingError(
            message(f"scipy.interpolate.CubicSpline through more than {MOST_KNOTS} recording values is not recorded",
                    "use fewer knots, or np.interp")
        )  # fmt: skip
    if not np.all(np.isfinite(values)):
        raise ValueError("`y` must contain only finite values.")
    if bc_type == "periodic" and not np.allclose(values[0], values[-1], rtol=1e-15, atol=1e-15):
        raise ValueError(
            f"The first and last `y` point along axis {axis} must be identical (within machine precision) when "
            "bc_type='periodic'."
        )
    slopes = np.tensordot(slopes_by_values(plain.x, bc_type), values, 1) + slopes_of(plain)
    steps = widths.reshape(-1, *(1,) * (values.ndim - 1))
    secants = np.diff(values, axis=0) / steps
    bend = (slopes[:-1] + slopes[1:] - 2.0 * secants) / steps
    parts = [bend / steps, (secants - slopes[:-1]) / steps - bend, slopes[:-1], values[:-1]]
    hold(self, np.stack(parts), plain.x, plain.extrapolate, axis)


MOST_KNOTS = 2000  # of recording values: the slopes are a full matrix times these


def slopes_of(spline: Any) -> Any:
    """Return the slopes of a spline at its knots."""
    return np.concatenate([spline.c[2], spline(spline.x[-1:], 1, extrapolate=True)])


def slopes_by_values(x: np.ndarray, bc_type: Any) -> np.ndarray:
    """Return the matrix that makes of the values of a cubic spline its slopes, for conditions of zero at the ends."""
    from scipy.interpolate import CubicSpline

    values = np.eye(len(x))
    if bc_type == "periodic":
        values[-1, 0], values[-1, -1] = 1.0, 0.0  # the last value is the first one
    elif not isinstance(bc_type, str):
        bc_type = tuple(part if isinstance(part, str) else (part[0], np.zeros(len(x))) for part in bc_type)
    return slopes_of(CubicSpline(x, values, 0, bc_type))


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
