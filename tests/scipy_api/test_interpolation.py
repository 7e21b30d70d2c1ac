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
