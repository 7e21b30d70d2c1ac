"""scipy.interpolate: splines at recording points."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.integrate
import scipy.interpolate
import scipy.linalg
import scipy.optimize
import scipy.signal
import scipy.sparse
import scipy.sparse.linalg
import scipy.spatial.distance

import numbad
from shared.oracle import check_against_numpy

X = np.array([0.7, 1.3, 0.4])

# ---------------------------------------------------------------- linear algebra


KNOTS, HEIGHTS = np.array([0.0, 0.5, 1.0, 1.6, 2.0]), np.array([1.0, 3.0, 2.0, 2.5, -1.0])
SPLINES = {
    "cubic": scipy.interpolate.CubicSpline(KNOTS, HEIGHTS),
    "cubic of rows": scipy.interpolate.CubicSpline(KNOTS, np.outer(HEIGHTS, [1.0, 2.0])),
    "periodic": scipy.interpolate.CubicSpline(KNOTS, [1.0, 3.0, 2.0, 2.5, 1.0], bc_type="periodic"),
    "pchip": scipy.interpolate.PchipInterpolator(KNOTS, HEIGHTS),
    "akima": scipy.interpolate.Akima1DInterpolator(KNOTS, HEIGHTS),
    "b-spline": scipy.interpolate.make_interp_spline(KNOTS, HEIGHTS, k=3),
    "b-spline of rows": scipy.interpolate.make_interp_spline(KNOTS, np.outer(HEIGHTS, [1.0, 2.0]), k=3),
    "table": scipy.interpolate.interp1d(KNOTS, HEIGHTS),
    "cubic table": scipy.interpolate.interp1d(KNOTS, HEIGHTS, kind="cubic"),
    "filled table": scipy.interpolate.interp1d(KNOTS, HEIGHTS, bounds_error=False, fill_value=(7.0, 8.0)),
    "extended table": scipy.interpolate.interp1d(KNOTS, HEIGHTS, fill_value="extrapolate"),
    "derivative": scipy.interpolate.CubicSpline(KNOTS, HEIGHTS).derivative(),
}


@pytest.mark.parametrize("name", SPLINES)
def test_splines(name):
    spline = SPLINES[name]
    check_against_numpy(spline, X, value_rtol=1e-10)
    if name in ("cubic", "periodic", "pchip", "b-spline", "filled table", "extended table"):
        check_against_numpy(spline, np.array([[-0.3, 0.2], [1.9, 2.7]]), value_rtol=1e-10)
    if name in ("cubic", "b-spline"):
        check_against_numpy(lambda x: spline(x, 1), X, value_rtol=1e-10)


def test_points_outside_of_a_spline():
    with pytest.raises(ValueError, match="outside"):
        numbad.gradient(lambda x: SPLINES["table"](x).sum(), X + 3.0)
    bounded = scipy.interpolate.CubicSpline(KNOTS, HEIGHTS, extrapolate=False)
    assert np.isnan(numbad.value_and_gradient(lambda x: bounded(x), 2.5)[0])
    jitted = numbad.jit(SPLINES["cubic"])
    for x in (X, X + 0.5, X - 0.4):
        np.testing.assert_allclose(jitted(x), SPLINES["cubic"](x), rtol=1e-12)


def looped(y):
    """Return values of which the last is the first one."""
    return np.concatenate([y[:-1], y[:1]])


PLACES = np.array([0.3, 1.0, 1.7, -0.2, 2.4])
THROUGH = {
    **{
        str(kind): lambda y, kind=kind: scipy.interpolate.CubicSpline(KNOTS, y, bc_type=kind)(PLACES)
        for kind in ("not-a-knot", "natural", "clamped", ((1, 0.3), (2, -0.5)), ("natural", (1, 2.0)))
    },
    "periodic": lambda y: scipy.interpolate.CubicSpline(KNOTS, looped(y), bc_type="periodic")(PLACES),
    "derivatives": lambda y: scipy.interpolate.CubicSpline(KNOTS, y)(PLACES, 2),
    "derivative": lambda y: scipy.interpolate.CubicSpline(KNOTS, y).derivative()(PLACES),
    "all derivatives": lambda y: scipy.interpolate.CubicSpline(KNOTS, y).derivative(4)(PLACES) + y[0],
    "antiderivative": lambda y: scipy.interpolate.CubicSpline(KNOTS, y).antiderivative(2)(PLACES),
    "integral": lambda y: scipy.interpolate.CubicSpline(KNOTS, y).integrate(0.2, 1.8),
    "integral to a number": lambda y: scipy.interpolate.CubicSpline(KNOTS, HEIGHTS).integrate(0.2, y[0]),
    "at numbers": lambda y: scipy.interpolate.CubicSpline(KNOTS, y)(0.2 * y[:2]),
    "coefficients": lambda y: scipy.interpolate.CubicSpline(KNOTS, y).c,
    "columns": lambda y: scipy.interpolate.CubicSpline(KNOTS, np.stack([y, y * y], axis=1))(PLACES),
    "rows": lambda y: scipy.interpolate.CubicSpline(KNOTS, np.stack([y, y * y]), axis=1)(PLACES[:3]),
    "three knots": lambda y: scipy.interpolate.CubicSpline(KNOTS[:3], y[:3])(PLACES),
    "two knots": lambda y: scipy.interpolate.CubicSpline(KNOTS[:2], y[:2])(PLACES),
}


@pytest.mark.parametrize("name", THROUGH)
def test_splines_through_recording_values(name):
    f = THROUGH[name]
    check_against_numpy(f, HEIGHTS, value_rtol=1e-10)
    many = np.stack([HEIGHTS, 0.5 * HEIGHTS])
    np.testing.assert_allclose(numbad.vmap(f)(many), np.stack([f(part) for part in many]), rtol=1e-10, atol=1e-12)


def test_errors_of_splines_through_recording_values():
    spline = scipy.interpolate.CubicSpline
    for error, text, f in (
        (ValueError, "increasing", lambda y: spline(KNOTS[::-1], y)(0.5)),
        (ValueError, "finite", lambda y: spline(KNOTS, y / 0.0)(0.5)),
        (ValueError, "identical", lambda y: spline(KNOTS, y, bc_type="periodic")(0.5)),
        (numbad.RecordingError, "knots", lambda y: spline(np.sort(y), KNOTS)(0.5)),
        (numbad.RecordingError, "conditions", lambda y: spline(KNOTS, y, bc_type=((1, y[0]), (1, 0.0)))(0.5)),
    ):
        with pytest.raises(error, match=text), np.errstate(divide="ignore"):
            numbad.gradient(f, HEIGHTS)
    assert np.isnan(numbad.jit(lambda y: spline(KNOTS, y, extrapolate=False)(2.5))(HEIGHTS))
