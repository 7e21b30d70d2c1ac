"""SciPy's functions by name: values as SciPy's, derivatives against mpmath, refusals by name."""

from __future__ import annotations

import functools
import inspect
import subprocess
import sys
import textwrap
from pathlib import Path

import mpmath
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
import scipy.special as special
import scipy.stats as stats
from scipy.stats import norm

import numbad
from numbad.errors import RecordingError
from numbad.ops.host import ARRAY_OPS
from numbad.scipy_api import dispatch, linear_algebra
from numbad.scipy_api import tables as scipy_api
from numbad.scipy_api.elementwise import Elementwise
from shared.oracle import check_against_numpy

HERE = Path(__file__).name

X = np.array([0.7, 1.3, 0.4])
M = np.array([[0.1, -0.4, 0.9], [1.2, 0.3, -0.8], [-0.5, 0.6, 0.2]])
S = M @ M.T + 3.0 * np.eye(3)

# ---------------------------------------------------------------- linear algebra


def near(x):
    """A matrix that is positive definite and depends on x."""
    return S + np.outer(x, x)


STRUCTURES = (None, "general", "sym", "her", "pos", "upper triangular", "lower triangular", "diagonal", "tridiagonal",
              "banded")  # fmt: skip
LINEAR = {
    "solve": lambda x: scipy.linalg.solve(near(x), x),
    "solve positive": lambda x: scipy.linalg.solve(M + np.outer(x, x) + 4.0 * np.eye(3), x, assume_a="sym", lower=True),
    "solve transposed": lambda x: scipy.linalg.solve(M + np.outer(x, x), x, transposed=True),
    "solve columns": lambda x: scipy.linalg.solve(near(x), np.outer(x, x)),
    "triangular_solve": lambda x: scipy.linalg.solve_triangular(near(x), x, lower=True),
    "triangular transposed": lambda x: scipy.linalg.solve_triangular(near(x), np.outer(x, x[:2]), trans=1),
    "triangular unit": lambda x: scipy.linalg.solve_triangular(near(x), x, lower=True, unit_diagonal=True, trans="T"),
    "structured_solve": lambda x: [
        scipy.linalg.solve(near(x) + np.outer(x, [0.3, 0.1, -0.2]), x, assume_a=kind, lower=lower, transposed=turned)
        for kind in STRUCTURES
        for lower, turned in ((False, False), (True, True))
    ],
    "structured_inverse": lambda x: [
        scipy.linalg.inv(near(x) + np.outer(x, [0.3, 0.1, -0.2]), assume_a=kind, lower=lower)
        for kind in STRUCTURES
        if kind not in ("diagonal", "tridiagonal", "banded")
        for lower in (False, True)
    ],
    "inv": lambda x: scipy.linalg.inv(near(x)),
    "det": lambda x: scipy.linalg.det(M + np.outer(x, x)),
    "pinv": lambda x: scipy.linalg.pinv(np.outer(x, [1.0, 2.0]) + M[:, :2]),
    "lstsq": lambda x: scipy.linalg.lstsq(np.outer(x, [1.0, 2.0]) + M[:, :2], x)[0],
    "cholesky": lambda x: scipy.linalg.cholesky(near(x)),
    "cholesky lower": lambda x: scipy.linalg.cholesky(near(x) + np.triu(M, 1), lower=True),
    "cho_solve": lambda x: scipy.linalg.cho_solve(scipy.linalg.cho_factor(near(x)), x),
    "cho_solve lower": lambda x: scipy.linalg.cho_solve(scipy.linalg.cho_factor(near(x), lower=True), x),
    "triangular_factors": lambda x: scipy.linalg.lu(M + np.outer(x, x)),
    "lu permuted": lambda x: scipy.linalg.lu(M + np.outer(x, x), permute_l=True),
    "lu_solve": lambda x: scipy.linalg.lu_solve(scipy.linalg.lu_factor(M + np.outer(x, x)), x),
    "lu_solve transposed": lambda x: scipy.linalg.lu_solve(scipy.linalg.lu_factor(M + np.outer(x, x)), x, trans=1),
    "qr": lambda x: [abs(part) for part in scipy.linalg.qr(near(x))],
    "svd": lambda x: scipy.linalg.svd(near(x))[1],
    "svdvals": lambda x: scipy.linalg.svdvals(near(x)),
    "eigh": lambda x: scipy.linalg.eigh(near(x))[0],
    "driven_eigen": lambda x: [
        (lambda w, v: (w, v**2))(
            *scipy.linalg.eigh(near(x) + np.outer(x, [0.3, 0.1, -0.2]), lower=lower, driver=driver)
        )
        for lower in (False, True)
        for driver in (None, "ev", "evd", "evr", "evx")
    ],
    "some eigenvalues": lambda x: [
        scipy.linalg.eigh(near(x), subset_by_index=[0, 1]),
        scipy.linalg.eigh(near(x), subset_by_value=[-np.inf, 6.0]),
        scipy.linalg.eigh(near(x), S + 4.0 * np.eye(3), subset_by_index=[1, 2]),
        scipy.linalg.eigvalsh(near(x), S + 4.0 * np.eye(3), lower=False),
    ],
    "pencil_eigen": lambda x: scipy.linalg.eigh(S + np.diag(x), near(x) + np.outer(x, [0.3, 0.1, -0.2])),
    "eigh of a pair": lambda x: (lambda w, v: (w, v**2))(*scipy.linalg.eigh(S + np.diag(x), near(x))),
    "eigvalsh": lambda x: scipy.linalg.eigvalsh(near(x), subset_by_index=[1, 2]),
    "norm": lambda x: scipy.linalg.norm(near(x), 1),
    "matrix_function": lambda x: scipy.linalg.expm(M + np.outer(x, x)),
    "logm": lambda x: scipy.linalg.logm(near(x)),
    "sqrtm": lambda x: scipy.linalg.sqrtm(near(x)),
    "cosm": lambda x: scipy.linalg.cosm(M + np.outer(x, x)) + scipy.linalg.sinhm(M * x[0]),
    "banded_solve": lambda x: scipy.linalg.solve_banded((1, 1), np.outer([1.0, 5.0, 0.5], x) + 1.0, x),
    "banded columns": lambda x: scipy.linalg.solve_banded(
        (0, 2), np.outer([1.0, 0.5, 5.0], x) + 1.0, np.outer(x, x[:2])
    ),
    "symmetric_banded_solve": lambda x: [
        scipy.linalg.solveh_banded(np.outer([0.1, 0.5, 5.0], x) + 1.0, np.outer(x, x)),
        scipy.linalg.solveh_banded(np.outer([5.0, 0.5, 0.1], x) + 1.0, x, lower=True),
    ],
    "solveh_banded": lambda x: scipy.linalg.solveh_banded(np.outer([0.5, 5.0], x) + 1.0, x),
    "solveh_banded lower": lambda x: scipy.linalg.solveh_banded(np.outer([5.0, 0.5], x) + 1.0, x, lower=True),
    "sylvester": lambda x: scipy.linalg.solve_sylvester(near(x), S + np.diag(x), M * x),
    "lyapunov": lambda x: scipy.linalg.solve_continuous_lyapunov(near(x), np.outer(x, x)),
    "discrete lyapunov": lambda x: scipy.linalg.solve_discrete_lyapunov(near(x) / 10.0, np.outer(x, x)),
    "toeplitz": lambda x: scipy.linalg.toeplitz(x, [9.0, 2.0]) @ x[:2],
    "solve_toeplitz": lambda x: scipy.linalg.solve_toeplitz(np.array([3.0, 1.0, 0.5]) + x, x),
    "patterns": lambda x: (
        scipy.linalg.circulant(x),
        scipy.linalg.hankel(x, x),
        scipy.linalg.block_diag(x, [[2.0]], S),
    ),
    "sparse_product": lambda x: scipy.sparse.csr_array(M) @ x,
    "sparse from the left": lambda x: x @ scipy.sparse.csr_matrix(M[:, :2]) + scipy.sparse.coo_array(M[:2]).dot(x),
    "sparse matrices": lambda x: scipy.sparse.csc_matrix(M) * np.outer(x, x),
    "sparse_solve": lambda x: scipy.sparse.linalg.spsolve(scipy.sparse.csc_array(M), x),
    "distances": lambda x: (
        scipy.spatial.distance.cdist(x[:, None], [[0.1], [0.2]], "sqeuclidean"),
        scipy.spatial.distance.squareform(scipy.spatial.distance.pdist(np.outer(x, [1.0, 2.0]), "cityblock")),
        scipy.spatial.distance.euclidean(x, [1.0, 2.0, 3.0]),
        scipy.spatial.distance.cosine(x, [1.0, 2.0, 3.0]),
        scipy.spatial.distance.mahalanobis(x, [1.0, 2.0, 3.0], S),
    ),
    "convolutions": lambda x: (
        scipy.signal.convolve(x, [1.0, 2.0], mode="same"),
        scipy.signal.correlate(x, [1.0, 2.0], mode="valid"),
        scipy.signal.fftconvolve(np.outer(x, x), M[:2, :2], mode="same"),
        scipy.signal.convolve2d(np.outer(x, x), M[:2], mode="valid"),
    ),
    "lfilter": lambda x: scipy.signal.lfilter([1.0, x[0]], [2.0, -0.3, x[1]], x),
    "trapezoid": lambda x: scipy.integrate.trapezoid(x, dx=0.1) + scipy.integrate.simpson(x, dx=0.1),
}


@pytest.mark.parametrize("name", LINEAR)
def test_linear_algebra_and_more(name):
    check_against_numpy(LINEAR[name], X, rtol=1e-6, atol=1e-7, value_rtol=1e-9)


OWN = [
    op
    for op in ARRAY_OPS.values()
    if op.primal.__module__.startswith("numbad.scipy_api") and not isinstance(op, Elementwise)
]


@pytest.mark.parametrize("driver", [None, "ev", "evd", "evr", "evx"])
def test_eigenvectors_have_the_signs_of_scipy(driver):
    for seed in range(5):
        x = np.random.default_rng(seed).normal(size=(4, 4))
        for settings in ({}, {"lower": False}, {"subset_by_index": [1, 2]}, {"subset_by_value": [-1.0, 9.0]}):
            if len(settings) and driver in ("ev", "evd") and "lower" not in settings:
                continue
            solve = functools.partial(scipy.linalg.eigh, driver=driver, **settings)
            for one, two in zip(numbad.jit(lambda a, f=solve: f(a))(x), solve(x), strict=True):
                np.testing.assert_allclose(one, two, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("mutate", [lambda bar: bar * 1.001, lambda bar: -bar], ids=["scaled", "sign"])
@pytest.mark.parametrize("name", [op.name for op in OWN])
def test_mutants_of_array_ops_are_caught(name, mutate, monkeypatch):
    op = ARRAY_OPS[name]
    rule = op.vjp_function

    def wrong(*arguments, **settings):
        first, *rest = rule(*arguments, **settings)
        return (mutate(first), *rest)

    monkeypatch.setattr(op, "vjp_function", wrong)
    with pytest.raises(AssertionError):
        check_against_numpy(LINEAR[name], X, rtol=1e-6, atol=1e-7, value_rtol=1e-9)


@pytest.mark.parametrize("name", ["triangular transposed", "lu_solve", "banded_solve", "matrix_function", "sylvester"])
def test_second_derivatives(name):
    numbad.testing.check_grads(LINEAR[name], (X,), order=2)


# ---------------------------------------------------------------- being called by name


def test_plain_arguments_go_to_scipy():
    inside = []

    def f(x):
        inside.append(norm.logpdf(0.3, 0.1, 2.0))
        inside.append(scipy.linalg.expm(M))
        inside.append(special.logsumexp([1.0, 2.0]))
        return x * 1.0

    numbad.gradient(f, 1.0)
    assert inside[0] == norm.logpdf(0.3, 0.1, 2.0)
    np.testing.assert_array_equal(inside[1], scipy.linalg.expm(M))
    assert inside[2] == special.logsumexp([1.0, 2.0])
    assert type(inside[2]) is np.float64


def test_functions_can_be_given_back():
    numbad.gradient(lambda x: norm.logpdf(x), 0.5)
    assert dispatch.ORIGINALS
    scipy_api.forget()
    try:
        assert not dispatch.ORIGINALS
        assert norm.logpdf(0.0) == pytest.approx(-0.5 * np.log(2.0 * np.pi))
    finally:
        scipy_api.teach()
    assert numbad.gradient(lambda x: norm.logpdf(x), 0.5) == -0.5


@pytest.mark.subprocess
def test_names_imported_before_numbad_record():
    program = textwrap.dedent(
        """
        from scipy.special import logsumexp
        from scipy.linalg import cho_factor, cho_solve
        from scipy.stats import norm
        import numpy as np, numbad
        a = np.array([0.5, 2.0])
        print(numbad.gradient(lambda x: logsumexp(x) + norm.logpdf(x[0]), a).round(6).tolist())
        print(numbad.gradient(lambda x: cho_solve(cho_factor(np.diag(x)), np.ones(2)).sum(), a).round(6).tolist())
        """
    )
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    weights = np.exp([0.5, 2.0]) / np.exp([0.5, 2.0]).sum()
    assert found.stdout.splitlines() == [str((weights - [0.5, 0.0]).round(6).tolist()), "[-4.0, -0.25]"]


def test_signatures_stay():
    before = inspect.signature(dispatch.ORIGINALS.get(scipy.linalg.toeplitz, scipy.linalg.toeplitz))
    numbad.gradient(lambda x: scipy.linalg.toeplitz(x).sum(), X)
    assert scipy.linalg.toeplitz in dispatch.ORIGINALS
    assert inspect.signature(scipy.linalg.toeplitz) == before
    assert "c" in before.parameters


def test_single_precision_stays():
    x = X.astype(np.float32)
    for f, dtype in (
        (lambda a: norm.logpdf(a, 0.1, 2.0).sum(), np.float64),  # SciPy computes its distributions in double precision
        (lambda a: special.betaln(a, 2.0).sum(), np.float32),
        (lambda a: scipy.linalg.solve_triangular(np.eye(3, dtype=np.float32), a).sum(), np.float32),
    ):
        value, slope = numbad.value_and_gradient(f, x)
        assert slope.dtype == np.float32 and np.asarray(value).dtype == dtype
        np.testing.assert_allclose(slope, numbad.gradient(f, X), rtol=1e-5)


def test_nested_derivatives():
    f = lambda t: norm.logpdf(t, 0.0, 2.0) * scipy.linalg.expm(np.array([[0.0, 1.0], [0.0, 0.0]]) * t)[0, 1]
    first = lambda t: -t / 4.0 * t + norm.logpdf(t, 0.0, 2.0)  # the entry of the exponential is t itself
    assert numbad.grad(f)(0.7) == pytest.approx(first(0.7), rel=1e-14)
    assert numbad.grad(numbad.grad(f))(0.7) == pytest.approx(-0.5 * 0.7 - 0.7 / 4.0, rel=1e-13)
    assert numbad.grad(lambda s: numbad.grad(lambda t: norm.logpdf(t, s, 1.0))(0.3))(0.1) == pytest.approx(1.0)


def test_jit_and_vmap():
    f = numbad.jit(lambda x: stats.norm.cdf(x).sum() + scipy.linalg.solve(np.diag(x), x)[0] * special.betaln(x[0], 2.0))
    for x in (X, X + 0.5):
        wanted = numbad.gradient(f, x)
        np.testing.assert_allclose(numbad.grad(f)(x), wanted, rtol=1e-14)
    points = np.stack([X, X + 0.5])
    found = numbad.vmap(numbad.grad(lambda x: special.betaln(x, 2.0).sum() + scipy.linalg.expm(np.outer(x, x)).sum()))
    wanted = [numbad.grad(lambda x: special.betaln(x, 2.0).sum() + scipy.linalg.expm(np.outer(x, x)).sum())(x)
              for x in points]  # fmt: skip
    np.testing.assert_allclose(found(points), wanted, rtol=1e-12)


@pytest.mark.parametrize(
    ("f", "name"),
    [
        (lambda x: scipy.integrate.quad(lambda t: np.exp(-t * x[0]), 0.0, 1.0)[0], "scipy.integrate.quad"),
        (lambda x: scipy.integrate.solve_ivp(lambda t, y: -y, (0.0, 1.0), x).y[0, -1], "scipy.integrate.solve_ivp"),
        (lambda x: scipy.optimize.minimize(lambda t: np.sum((t - x) ** 2), np.ones(3)).fun, "scipy.optimize.minimize"),
        (lambda x: scipy.optimize.fsolve(lambda t: t - x, np.ones(3))[0], "scipy.optimize.fsolve"),
        (lambda x: scipy.signal.medfilt(x, 3)[0], "scipy.signal.medfilt"),
    ],
)
def test_what_is_not_recorded_is_refused_by_name(f, name):
    with pytest.raises(RecordingError) as caught:
        numbad.gradient(f, X)
    what, where, do = str(caught.value).split("\n")[:3]
    assert name in what and HERE in where and do.startswith("  do  ")


def test_wrong_shapes_are_scipys_errors():
    with pytest.raises(ValueError, match="incompatible"):
        numbad.gradient(lambda x: scipy.linalg.solve_triangular(S, x).sum(), np.ones(2))
    with pytest.raises(ValueError, match="mismatch"):
        numbad.gradient(lambda x: (scipy.sparse.csr_array(M) @ x).sum(), np.ones(2))


@pytest.mark.parametrize("size", [1e-6, 0.3, 3.0, 40.0])
@pytest.mark.parametrize("count", [2, 9, 60])
def test_exponentials_of_many_matrices(count, size):
    a = size * np.random.default_rng(count).normal(size=(count, 3, 3))
    found = numbad.vmap(scipy.linalg.expm)(a)
    for one, matrix in zip(found, a, strict=True):
        exact = mpmath.expm(mpmath.matrix(matrix.tolist()), method="taylor")
        expected = np.array([[float(x) for x in row] for row in exact.tolist()])
        close = 1e-12 if count > linear_algebra.MANY_EXPONENTIALS else 1e-10  # SciPy's own
        np.testing.assert_allclose(one, expected, atol=close * np.abs(expected).max(), rtol=0.0)
    a[0, 1, 1] = np.nan
    with np.errstate(all="ignore"):
        found = numbad.vmap(scipy.linalg.expm)(a)
    assert np.isnan(found[0]).all() and not np.isnan(found[1:]).any()


def test_ranks_and_signs_of_many_matrices():
    a = np.random.default_rng(0).normal(size=(20, 4, 3))
    a[3] = np.outer(np.arange(4.0), [1.0, 2.0, 0.0])
    solve = lambda m: np.linalg.lstsq(m, np.arange(4.0), rcond=1e-9)[0]
    expected = np.stack([solve(m) for m in a])
    for run in (numbad.vmap(solve), numbad.jit(numbad.vmap(solve))):
        for batch, wanted in ((a, expected), (a[4:], expected[4:]), (a[::-1].copy(), expected[::-1])):
            np.testing.assert_allclose(run(batch), wanted, rtol=1e-9, atol=1e-11)
    s = a[:, :3]
    checked = lambda m: scipy.linalg.lu_factor(m @ m.T + np.eye(3))[0]
    np.testing.assert_allclose(numbad.vmap(checked)(s), np.stack([checked(m) for m in s]), rtol=1e-10, atol=1e-12)
