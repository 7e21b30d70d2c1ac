"""Every parameter of SciPy's recorded functions is honoured or refused by name; what is not recorded says so."""

from __future__ import annotations

import importlib
import inspect
from pathlib import Path

import numpy as np
import pytest
import scipy.fft
import scipy.integrate
import scipy.interpolate
import scipy.ndimage
import scipy.optimize
import scipy.signal
import scipy.sparse
import scipy.sparse.linalg
import scipy.spatial
import scipy.spatial.distance as distance
import scipy.special as special
import scipy.stats as stats

import numbad
from numbad.errors import NumbadError, RecordingError
from numbad.scipy_api.tables import TABLE
from shared.oracle import check_against_numpy

HERE = Path(__file__).name

RNG = np.random.default_rng(7)
X = np.array([0.7, 1.3, 0.4, 0.9])
A, B = RNG.normal(size=(4, 3)), RNG.normal(size=(6, 3))
P = np.abs(RNG.normal(size=(3, 4, 5))) + 0.1
W = np.array([0.5, 2.0, 0.0])
KNOTS, HEIGHTS = np.array([0.0, 0.5, 1.2, 2.0, 3.1]), np.array([1.0, 0.3, 2.0, -1.0, 0.5])
TABLES = np.stack([HEIGHTS, HEIGHTS**2, HEIGHTS - 1.0], axis=1)
M = np.diag([2.0, 3.0, 4.0, 5.0]) + 0.5 * np.eye(4, k=1)
C3 = np.array([[2.0, 0.3, 0.1], [0.3, 1.0, 0.2], [0.1, 0.2, 1.5]])


class Refused:
    """An argument for which the function is refused, with an error that names the parameter."""

    def __init__(self, value):
        self.value = value


ANY_REDUCTION = {"axis": [1, -1, None, (0, 2)], "nan_policy": ["raise", Refused("omit")], "keepdims": [True]}
SMOOTH = {"axis": [1, None], "nan_policy": ["raise", Refused("omit")]}
CONVOLVED = {"mode": ["same", "valid"], "in2": [], "method": ["direct", "fft"]}
VECTORS = {"v": [], "w": [W]}
PLACED = {"nu": [1, 2], "extrapolate": [True]}
NORMAL = {"mean": [A[1]], "cov": [C3, 2.0, np.array([1.0, 2.0, 3.0])], "allow_singular": [True]}
# function -> (what else it takes by position, the point, and for each parameter values that differ from its default;
# an empty list for what the positions give)
CASES = {
    "scipy.spatial.distance.cdist": (
        (B,), A, {"XB": [], "metric": ["cityblock", "minkowski", "cosine", "seuclidean", "mahalanobis"],
                  "out": [Refused(np.zeros((4, 6)))], "w": [W], "p": [], "V": [], "VI": []},
    ),
    "scipy.spatial.distance.pdist": (
        (), B, {"metric": ["cityblock", "canberra"], "out": [Refused(np.zeros(15))], "w": [W]},
    ),
    "scipy.spatial.distance.squareform": ((), np.arange(6.0), {"force": ["tomatrix"], "checks": [False]}),
    **{f"scipy.spatial.distance.{name}": ((B[0],), A[0], VECTORS) for name in
       ("euclidean", "sqeuclidean", "cityblock", "chebyshev", "cosine", "canberra", "braycurtis")},
    "scipy.spatial.distance.correlation": ((B[0],), A[0], {**VECTORS, "centered": [False]}),
    "scipy.spatial.distance.minkowski": ((B[0],), A[0], {**VECTORS, "p": [1.0, 1.5, 3.0]}),
    "scipy.spatial.distance.seuclidean": ((B[0], W + 1.0), A[0], {"v": [], "V": []}),
    "scipy.spatial.distance.mahalanobis": ((B[0], C3), A[0], {"v": [], "VI": []}),
    "scipy.signal.convolve": ((X[:2],), X, CONVOLVED),
    "scipy.signal.correlate": ((X[:2],), X, CONVOLVED),
    "scipy.signal.fftconvolve": ((X[:2],), X, {"mode": ["same"], "in2": [], "axes": [Refused(0)]}),
    "scipy.signal.oaconvolve": ((X[:2],), X, {"mode": ["same"], "in2": [], "axes": [Refused(0)]}),
    "scipy.signal.convolve2d": (
        (B[:2, :2],), A,
        {"in2": [], "mode": ["same", "valid"], "boundary": [Refused("wrap")], "fillvalue": [Refused(1.0)]},
    ),
    "scipy.signal.lfilter": None,
    "scipy.integrate.trapezoid": ((), A, {"x": [np.array([0.0, 0.5, 2.0])], "dx": [0.3], "axis": [0]}),
    "scipy.special.lambertw": ((), X, {"k": [0, Refused(1)], "tol": [Refused(1e-3)]}),
    "scipy.special.zeta": None,
    "scipy.special.polygamma": None,
    "scipy.special.multigammaln": ((2,), X[:1] + 3.0, {"d": []}),
    "scipy.special.factorial": ((), X, {"exact": [Refused(True)], "extend": [Refused("complex")]}),
    "scipy.special.comb": ((0.5,), X + 2.0, {"k": [], "exact": [Refused(True)], "repetition": [True]}),
    "scipy.special.logsumexp": ((), A, {"axis": [0, 1], "b": [B[:4] ** 2], "keepdims": [True], "return_sign": [True]}),
    "scipy.special.softmax": ((), A, {"axis": [0, 1]}),
    "scipy.special.log_softmax": ((), A, {"axis": [0, 1]}),
    "scipy.stats.zscore": ((), P, {**SMOOTH, "ddof": [1]}),
    "scipy.stats.moment": ((), P, {**ANY_REDUCTION, "order": [0, 2, 3, [1, 2, 3]], "center": []}),
    "scipy.stats.skew": ((), P, {**ANY_REDUCTION, "bias": [False]}),
    "scipy.stats.kurtosis": ((), P, {**ANY_REDUCTION, "fisher": [False], "bias": [False]}),
    "scipy.stats.sem": ((), P, {**ANY_REDUCTION, "ddof": [0]}),
    "scipy.stats.gmean": ((), P, {**ANY_REDUCTION, "weights": [P[::-1]], "dtype": [Refused(np.float32)]}),
    "scipy.stats.hmean": ((), P, {**ANY_REDUCTION, "weights": [P[::-1]], "dtype": [Refused(np.float32)]}),
    "scipy.stats.entropy": ((), P, {**ANY_REDUCTION, "qk": [P[::-1]], "base": [2.0]}),
    "scipy.stats._multivariate.multivariate_normal_gen.logpdf": ((), A, NORMAL),
    "scipy.stats._multivariate.multivariate_normal_gen.pdf": ((), A, NORMAL),
    "scipy.stats._multivariate.multivariate_normal_gen.entropy": None,
    "scipy.stats._multivariate.multivariate_normal_frozen.logpdf": None,
    "scipy.stats._multivariate.multivariate_normal_frozen.pdf": None,
    "scipy.stats._multivariate.dirichlet_gen.logpdf": None,
    "scipy.stats._multivariate.dirichlet_gen.pdf": None,
    "scipy.interpolate.PPoly.__call__": ((), X, PLACED),
    "scipy.interpolate.BPoly.__call__": ((), X, PLACED),
    "scipy.interpolate.CubicSpline.__call__": ((), X, PLACED),
    "scipy.interpolate.BSpline.__call__": ((), X, PLACED),
    "scipy.interpolate.interp1d.__call__": ((), X, {}),
    "scipy.interpolate.CubicSpline.__init__": None,
    "scipy.interpolate.CubicSpline.integrate": None,
    "scipy.interpolate.PPoly.integrate": None,
    "scipy.interpolate.PPoly.derivative": None,
    "scipy.interpolate.PPoly.antiderivative": None,
    "scipy.sparse.linalg.spsolve": None,
}  # fmt: skip
OBJECTS = {  # what the methods are called on
    "PPoly": scipy.interpolate.PPoly(np.array([[1.0, 2.0, 3.0, 4.0], [1.0, 1.0, 2.0, 2.0]]), KNOTS),
    "BPoly": scipy.interpolate.BPoly(np.array([[1.0, 2.0, 3.0, 4.0], [1, 1, 2, 2], [0, 1, 0, 1]]), KNOTS),
    "CubicSpline": scipy.interpolate.CubicSpline(KNOTS, HEIGHTS, extrapolate=False),
    "BSpline": scipy.interpolate.BSpline(*scipy.interpolate.make_interp_spline(KNOTS, HEIGHTS).tck, extrapolate=False),
    "interp1d": scipy.interpolate.interp1d(KNOTS, HEIGHTS),
    "multivariate_normal_gen": stats.multivariate_normal,
}
OTHER_ARGUMENTS = {  # of parameters that need others, or that a shape of the sample fixes
    ("cdist", "metric"): {},
    ("multivariate_normal_gen", "cov"): {"mean": A[1]},
    ("multivariate_normal_gen", "allow_singular"): {"mean": A[1], "cov": C3},
    ("lambertw", "k"): {},
}
BY_TABLE = [  # modules that this test goes over; scipy.linalg has its own
    module for module in TABLE if module != "scipy.linalg" and not module.startswith(("scipy._lib", "scipy.sparse._"))
]
RECORDED = [f"{module}.{path}" for module in BY_TABLE for path in TABLE[module]]
SELF_NAMES = {"self", "distribution"}


def find(name):
    """The function of SciPy of a dotted name, bound to an object if it is a method."""
    module = next(m for m in sorted(TABLE, key=len, reverse=True) if name.startswith(m + "."))
    first, *rest = name[len(module) + 1 :].split(".")
    found = OBJECTS.get(first) if rest and first in OBJECTS else getattr(importlib.import_module(module), first)
    for part in rest:
        found = getattr(found, part)
    return found


def parameters(name):
    """The parameters of a function of SciPy after the one that is recorded."""
    names = [
        p.name
        for p in inspect.signature(find(name)).parameters.values()
        if p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL)
    ]
    names = [part for part in names if part not in SELF_NAMES]
    return names[1:]


def test_every_recorded_function_is_in_the_table():
    distributions = {name for name in RECORDED if ".rv_continuous." in name or ".rv_discrete." in name}
    assert set(RECORDED) - distributions == set(CASES)


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if case is not None])
def test_every_parameter_is_in_the_table(name):
    assert set(parameters(name)) <= set(CASES[name][2]), "a parameter of SciPy that no case covers"


@pytest.mark.parametrize(
    ("name", "parameter", "value"),
    [
        pytest.param(name, parameter, value, id=f"{name.removeprefix('scipy.')}-{parameter}-{k}")
        for name, case in CASES.items()
        if case is not None
        for parameter, values in case[2].items()
        for k, value in enumerate(values)
    ],
)
def test_every_parameter_is_honoured_or_refused(name, parameter, value):
    function = find(name)
    others, point, _ = CASES[name]
    part = next((key for key in (name.split(".")[-2], name.split(".")[-1]) if (key, parameter) in OTHER_ARGUMENTS), "")
    options = dict(OTHER_ARGUMENTS.get((part, parameter), {}))
    if isinstance(value, Refused):
        with pytest.raises(RecordingError, match=rf"(?s){parameter}.*\n  at .*{HERE}.*\n  do  "):
            numbad.value_and_gradient(
                lambda x: np.sum(function(x, *others, **options, **{parameter: value.value})), point
            )
        return
    options[parameter] = value
    if name.endswith("lambertw"):
        assert numbad.record(lambda x: function(x, *others, **options), point)(point) == pytest.approx(
            np.real(function(point, *others, **options))
        )
        return
    check_against_numpy(lambda x: function(x, *others, **options), point, rtol=1e-6, atol=1e-7, value_rtol=1e-9)


def test_options_that_depend_on_others():
    for options in ({"p": 1.5, "w": W}, {"p": np.inf}, {"p": 1, "w": W}):
        check_against_numpy(lambda x, o=options: distance.cdist(x, B, "minkowski", **o), A, rtol=1e-6)
    check_against_numpy(lambda x: distance.cdist(x, B, "mahalanobis", VI=C3), A, rtol=1e-6)
    check_against_numpy(lambda x: distance.cdist(x, B, "seuclidean", V=W + 1.0), A, rtol=1e-6)
    check_against_numpy(lambda x: distance.pdist(x, "seuclidean"), A, rtol=1e-6)
    check_against_numpy(lambda x: distance.pdist(x, lambda u, v: np.sum(np.abs(u - v) ** 3)), A, rtol=1e-6)
    check_against_numpy(lambda x: distance.cdist(x, B[:2], lambda u, v: np.sum((u - v) ** 2)), A, rtol=1e-6)
    check_against_numpy(lambda x: stats.moment(x, 2, center=0.3), P, rtol=1e-6)
    check_against_numpy(lambda x: special.zeta(3.0, x), X)
    check_against_numpy(lambda x: stats.multivariate_normal.entropy(None, (x + x.T) / 2.0), C3, rtol=1e-6)
    check_against_numpy(lambda x: scipy.sparse.linalg.spsolve(scipy.sparse.csc_array(M), x, "NATURAL", False), X)
    check_against_numpy(lambda x: scipy.signal.lfilter([1.0, 0.5], [1.0, 0.2], x, 0), A, rtol=1e-6)
    check_against_numpy(lambda x: scipy.signal.lfilter([1.0, 0.5], [1.0, 0.2], x, zi=np.array([0.3])), X, rtol=1e-6)


def test_errors_of_scipy_stay():
    for run in (
        lambda x: distance.euclidean(x, B),
        lambda x: distance.euclidean(x[0], B[0], w=-W),
        lambda x: distance.minkowski(x[0], B[0], p=-1),
        lambda x: distance.cdist(x, B[:, :2]),
        lambda x: distance.squareform(x),
        lambda x: distance.squareform(x[0], force="tovector"),
        lambda x: stats.skew(np.where(x > 0.0, x, np.nan), nan_policy="raise"),
        lambda x: stats.skew(x, nan_policy="bogus"),
        lambda x: stats.dirichlet.logpdf(x[0], [1.0, 2.0, 3.0]),
        lambda x: scipy.signal.convolve(x[0], x[0], method="bogus"),
        lambda x: special.multigammaln(x[0, 0] - 10.0, 3),
    ):
        with pytest.raises(ValueError):
            run(A)
        with pytest.raises(ValueError):
            numbad.value_and_gradient(lambda x, run=run: np.sum(run(x)), A)


def test_complex_branches_are_not_a_number():
    assert np.isnan(numbad.jit(lambda x: special.lambertw(x))(-1.0))
    assert np.isnan(numbad.jit(lambda x: special.lambertw(x, -1))(0.5))
    assert numbad.jit(lambda x: special.lambertw(x, -1))(-0.2) == special.lambertw(-0.2, -1).real


SHAPED = {
    "along 1": scipy.interpolate.CubicSpline(KNOTS, TABLES.T, axis=1),
    "B-spline along 1": scipy.interpolate.make_interp_spline(KNOTS, TABLES.T, axis=1),
    "columns": scipy.interpolate.CubicSpline(KNOTS, TABLES),
    "Bernstein": OBJECTS["BPoly"],
    "descending": scipy.interpolate.PPoly(np.array([[1.0, 2.0, 3.0, 4.0], [1.0, 1.0, 2.0, 2.0]]), KNOTS[::-1].copy()),
    "periodic": scipy.interpolate.CubicSpline(KNOTS, [1.0, 0.3, 2.0, -1.0, 1.0], bc_type="periodic"),
    "pchip": scipy.interpolate.PchipInterpolator(KNOTS, HEIGHTS),
    "akima": scipy.interpolate.Akima1DInterpolator(KNOTS, HEIGHTS),
    "table of columns": scipy.interpolate.interp1d(KNOTS, TABLES.T, fill_value="extrapolate"),
    "cubic table": scipy.interpolate.interp1d(KNOTS, TABLES, kind="cubic", axis=0),
    "table with ends": scipy.interpolate.interp1d(KNOTS, HEIGHTS, bounds_error=False, fill_value=(7.0, 8.0)),
}


@pytest.mark.parametrize("name", SHAPED)
def test_interpolation(name):
    function = SHAPED[name]
    inside, ends, outside = np.array([[0.2, 0.7], [1.5, 2.9]]), KNOTS, np.array([-0.4, 0.7, 3.5])
    beyond = () if name in ("cubic table", "akima") else (outside,)  # an error there, or NaN
    for points in (inside, *beyond):
        check_against_numpy(function, points, rtol=1e-6)
    for points in (ends, inside[0, 0]):
        np.testing.assert_allclose(numbad.jit(function)(points), function(points), rtol=1e-9, atol=1e-12)
    if not isinstance(function, scipy.interpolate.interp1d):
        for nu in (1, 2):
            for points in (inside, ends, *beyond):
                found = numbad.jit(lambda x, nu=nu: function(x, nu))(points)
                np.testing.assert_allclose(found, function(points, nu), rtol=1e-9, atol=1e-9)


# ---------------------------------------------------------------- errors of others


LU = scipy.sparse.linalg.splu(scipy.sparse.csc_array(M))
NOT_RECORDED = {
    "numpy.ndarray, not Array": lambda x: LU.solve(x),
    "argument 1 must be": lambda x: scipy.sparse.linalg.factorized(scipy.sparse.csc_array(M))(x),
    "scipy.sparse.linalg.cg": lambda x: scipy.sparse.linalg.cg(M @ M.T, x)[0],
    "scipy.sparse.linalg.spsolve": lambda x: scipy.sparse.linalg.spsolve(np.outer(x, x), x),
    "scipy.sparse.linalg.eigsh": lambda x: scipy.sparse.linalg.eigsh(np.outer(x, x), k=1)[0],
    "scipy.signal.medfilt": lambda x: scipy.signal.medfilt(x, 3),
    "scipy.signal.order_filter": lambda x: scipy.signal.order_filter(x, np.ones(3), 1),
    "scipy.signal.sosfilt": lambda x: scipy.signal.sosfilt(scipy.signal.butter(2, 0.3, output="sos"), x),
    "scipy.signal.upfirdn": lambda x: scipy.signal.upfirdn([1.0, 2.0], x),
    "scipy.signal.correlate2d": lambda x: scipy.signal.correlate2d(np.outer(x, x), M),
    "scipy.ndimage.gaussian_filter": lambda x: scipy.ndimage.gaussian_filter(x, 1.0),
    "scipy.ndimage.label": lambda x: scipy.ndimage.label(x)[0],
    "scipy.fft.rfft": lambda x: scipy.fft.rfft(x),
    "scipy.fft.dct": lambda x: scipy.fft.dct(x),
    "scipy.optimize.brentq": lambda x: scipy.optimize.brentq(lambda y: y - x[0], -5.0, 5.0),
    "scipy.optimize.milp": lambda x: scipy.optimize.milp(x).x,
    "scipy.stats.iqr": lambda x: stats.iqr(x),
    "scipy.stats.multivariate_normal_gen.cdf": lambda x: stats.multivariate_normal.cdf(x, cov=M),
    "scipy.stats.rv_frozen.std": lambda x: stats.norm(x[0], x[1]).std(),
    "scipy.interpolate.splev": lambda x: scipy.interpolate.splev(x, scipy.interpolate.splrep(KNOTS, HEIGHTS)),
    "scipy.interpolate.PchipInterpolator": lambda x: scipy.interpolate.PchipInterpolator(KNOTS[:4], x)(0.7),
    "scipy.spatial.transform.Rotation": lambda x: scipy.spatial.transform.Rotation.from_rotvec(x[:3]).as_matrix(),
    "struve": lambda x: special.struve(1, x),
}


@pytest.mark.parametrize("name", NOT_RECORDED)
def test_functions_that_are_not_recorded_name_themselves_and_the_line(name):
    with pytest.raises(NumbadError) as caught:
        numbad.jit(NOT_RECORDED[name])(X)
    text = str(caught.value)
    assert name in text
    assert HERE in text
    assert "\n  do  " in text


def test_errors_of_the_program_stay_its_own():
    def callback(y):
        raise ValueError("a type of mine")

    with pytest.raises(ValueError, match=r"^a type of mine"):
        numbad.grad(lambda x: x * scipy.optimize.minimize(callback, np.zeros(2)).fun)(1.0)
    with pytest.raises(ValueError, match="strictly increasing"):
        numbad.grad(lambda x: x * scipy.interpolate.CubicSpline([0.0, 0.0, 1.0], HEIGHTS[:3])(0.5))(1.0)


# ---------------------------------------------------------------- derivatives without a formula


MODES_OF_GRADIENTS = {
    "grad": lambda f, *points: numbad.grad(f)(*points),
    "jit": lambda f, *points: numbad.jit(numbad.grad(f))(*points),
    "value_and_grad": lambda f, *points: numbad.jit(numbad.value_and_grad(f))(*points),
    "vjp": lambda f, *points: numbad.vjp(f, *points)[1](1.0),
    "jvp": lambda f, *points: numbad.jvp(f, points, points),
    "hessian": lambda f, *points: numbad.hessian(f)(*points),
    "vmap": lambda f, *points: numbad.vmap(numbad.grad(f))(*[np.stack([p, p]) for p in points]),
}


@pytest.mark.parametrize("mode", MODES_OF_GRADIENTS)
def test_a_derivative_without_a_formula_is_an_error_in_every_mode(mode):
    for f, point in (
        (lambda v: special.kv(v, 2.0), np.float64(1.5)),
        (lambda a: np.sum(special.gammainc(a * a, np.array([2.0, 3.0]))), np.array([1.0, 2.0])),
    ):
        with pytest.raises(numbad.RecordingError, match="has no derivative with respect to its argument 1"):
            MODES_OF_GRADIENTS[mode](f, point)


def test_the_other_derivative_has_its_formula_in_every_mode():
    f = lambda v, x: special.kv(v, x)
    want = special.kvp(1.5, 2.0)
    for slope in (numbad.grad(f, 1), numbad.jit(numbad.grad(f, 1))):
        for _ in range(2):
            np.testing.assert_allclose(slope(1.5, 2.0), want, rtol=1e-12)
    np.testing.assert_allclose(numbad.record(f, 1.5, 2.0).gradient(1.5, 2.0), (np.nan, want), rtol=1e-12)
    held = numbad.record(lambda v, x: special.kv(numbad.stop_gradient(v), x), 1.5, 2.0)
    np.testing.assert_allclose(held.gradient(1.5, 2.0), (0.0, want), rtol=1e-12)
