"""scipy.special: values as SciPy's, first and second derivatives against mpmath, formulas that are missing."""

from __future__ import annotations

from pathlib import Path

import mpmath as mp
import numpy as np
import pytest
import scipy.special as special

import numbad
from numbad.errors import RecordingError
from numbad.ops.host import ARRAY_OPS
from numbad.scipy_api.elementwise import ELEMENTWISE
from shared.oracle import check_against_numpy

HERE = Path(__file__).name

X = np.array([0.7, 1.3, 0.4])

# ---------------------------------------------------------------- special functions, against mpmath


def incomplete_gamma(a, x):
    return mp.gammainc(a, 0, x, regularized=True)


def incomplete_beta(a, b, x):
    return mp.betainc(a, b, 0, x, regularized=True)


def t_distribution(df, t):
    half = incomplete_beta(df / 2, mp.mpf(1) / 2, df / (df + t * t)) / 2
    return 1 - half if t > 0 else half


def generalized_binomial(n, k):
    return mp.gamma(n + 1) / (mp.gamma(k + 1) * mp.gamma(n - k + 1))


# name -> (function in mpmath, operands that are held constant, places of the one that is differentiated)
REFERENCES = {
    "betaln": (lambda a, b: mp.log(mp.beta(a, b)), ((), (1.7,)), (0.3, 2.5)),
    "beta": (mp.beta, ((), (1.7,)), (0.3, 2.5)),
    "rgamma": (mp.rgamma, ((), ()), (-1.4, -2.0, 0.0, 0.6, 3.2)),
    "gammasgn": (lambda x: mp.sign(mp.gamma(x)), ((), ()), (-0.5, 1.5)),
    "loggamma": (mp.loggamma, ((), ()), (0.3, 4.5)),
    "gammainc": (incomplete_gamma, ((1.7,), ()), (0.4, 3.0)),
    "gammaincc": (lambda a, x: 1 - incomplete_gamma(a, x), ((1.7,), ()), (0.4, 3.0)),
    "gammaincinv": (
        lambda a, y: mp.findroot(lambda x: incomplete_gamma(a, x) - y, special.gammaincinv(float(a), float(y))),
        ((1.7,), ()), (0.4, 0.8),
    ),
    "gammainccinv": (
        lambda a, y: mp.findroot(lambda x: 1 - incomplete_gamma(a, x) - y, special.gammainccinv(float(a), float(y))),
        ((1.7,), ()), (0.4, 0.8),
    ),
    "betainc": (incomplete_beta, ((1.7, 2.5), ()), (0.2, 0.7)),
    "betaincc": (lambda a, b, x: 1 - incomplete_beta(a, b, x), ((1.7, 2.5), ()), (0.2, 0.7)),
    "betaincinv": (
        lambda a, b, y: mp.findroot(
            lambda x: incomplete_beta(a, b, x) - y, special.betaincinv(float(a), float(b), float(y))
        ),
        ((1.7, 2.5), ()), (0.2, 0.7),
    ),
    "poch": (lambda a, m: mp.gamma(a + m) / mp.gamma(a), ((), (1.5,)), (0.6, 2.5)),
    "binom": (generalized_binomial, ((), (1.5,)), (2.6, 4.5)),
    "zeta": (mp.zeta, ((2.5,), ()), (0.6, 3.0)),
    "stdtr": (t_distribution, ((4.0,), ()), (-0.7, 1.3)),
    "stdtrit": (
        lambda df, p: mp.findroot(lambda t: t_distribution(df, t) - p, special.stdtrit(float(df), float(p))),
        ((4.0,), ()), (0.3, 0.8),
    ),
    "chdtr": (lambda v, x: incomplete_gamma(v / 2, x / 2), ((3.0,), ()), (0.6, 2.5)),
    "chdtrc": (lambda v, x: 1 - incomplete_gamma(v / 2, x / 2), ((3.0,), ()), (0.6, 2.5)),
    "pdtr": (lambda k, m: 1 - incomplete_gamma(k + 1, m), ((3.0,), ()), (0.6, 2.5)),
    "pdtrc": (lambda k, m: incomplete_gamma(k + 1, m), ((3.0,), ()), (0.6, 2.5)),
    "erfi": (mp.erfi, ((), ()), (-0.6, 1.5)),
    "dawsn": (lambda x: mp.exp(-x * x) * mp.erfi(x) * mp.sqrt(mp.pi) / 2, ((), ()), (-0.6, 1.5)),
    "log_expit": (lambda x: -mp.log(1 + mp.exp(-x)), ((), ()), (-30.0, 0.4)),
    "spence": (lambda x: mp.re(mp.polylog(2, 1 - x)), ((), ()), (0.4, 1.7)),
    "exp10": (lambda x: mp.mpf(10) ** x, ((), ()), (-0.6, 1.5)),
    "cosm1": (lambda x: mp.cos(x) - 1, ((), ()), (1e-3, 1.5)),
    "sindg": (lambda x: mp.sin(x * mp.pi / 180), ((), ()), (30.0, 100.0)),
    "cosdg": (lambda x: mp.cos(x * mp.pi / 180), ((), ()), (30.0, 100.0)),
    "exprel": (lambda x: mp.hyp1f1(1, 2, x), ((), ()), (-2.0, 1e-6, 0.05, 1.5)),
    "y0": (lambda x: mp.bessely(0, x), ((), ()), (0.6, 5.0)),
    "y1": (lambda x: mp.bessely(1, x), ((), ()), (0.6, 5.0)),
    "yn": (mp.bessely, ((2.0,), ()), (0.6, 5.0)),
    "yv": (mp.bessely, ((1.3,), ()), (0.6, 5.0)),
    "k0": (lambda x: mp.besselk(0, x), ((), ()), (0.6, 5.0)),
    "k1": (lambda x: mp.besselk(1, x), ((), ()), (0.6, 5.0)),
    "k0e": (lambda x: mp.besselk(0, x) * mp.exp(x), ((), ()), (0.6, 5.0)),
    "k1e": (lambda x: mp.besselk(1, x) * mp.exp(x), ((), ()), (0.6, 5.0)),
    "kn": (mp.besselk, ((2.0,), ()), (0.6, 5.0)),
    "kv": (mp.besselk, ((1.3,), ()), (0.6, 5.0)),
    "kve": (lambda v, x: mp.besselk(v, x) * mp.exp(x), ((1.3,), ()), (0.6, 5.0)),
    "ellipk": (mp.ellipk, ((), ()), (-1.5, 1e-5, 0.6)),
    "ellipe": (mp.ellipe, ((), ()), (-1.5, 1e-5, 0.6)),
    "ellipkinc": (mp.ellipf, ((), (0.6,)), (0.4, 1.2)),
    "ellipeinc": (mp.ellipe, ((), (0.6,)), (0.4, 1.2)),
    "rel_entr": (lambda x, y: x * mp.log(x / y), ((), (0.8,)), (0.3, 1.5)),
    "kl_div": (lambda x, y: x * mp.log(x / y) - x + y, ((), (0.8,)), (0.3, 1.5)),
    "huber": (lambda d, r: r * r / 2 if abs(r) <= d else d * (abs(r) - d / 2), ((1.0,), ()), (-2.5, 0.4)),
    "pseudo_huber": (lambda d, r: d * d * (mp.sqrt(1 + (r / d) ** 2) - 1), ((1.3,), ()), (-2.5, 0.4)),
    "boxcox": (lambda x, p: (x**p - 1) / p, ((), (0.7,)), (0.4, 2.5)),
    "boxcox1p": (lambda x, p: ((1 + x) ** p - 1) / p, ((), (0.7,)), (0.4, 2.5)),
    "inv_boxcox": (lambda y, p: (p * y + 1) ** (1 / p), ((), (0.7,)), (0.4, 2.5)),
    "hyp0f1": (mp.hyp0f1, ((1.3,), ()), (-0.6, 1.5)),
    "hyp1f1": (mp.hyp1f1, ((1.3, 2.1), ()), (-0.6, 1.5)),
    "hyp2f1": (mp.hyp2f1, ((1.3, 0.4, 2.1), ()), (-0.6, 0.5)),
    "eval_legendre": (mp.legendre, ((3.0,), ()), (-0.6, 0.5)),
    "eval_chebyt": (mp.chebyt, ((3.0,), ()), (-0.6, 0.5)),
    "eval_chebyu": (mp.chebyu, ((3.0,), ()), (-0.6, 0.5)),
    "eval_gegenbauer": (mp.gegenbauer, ((3.0, 0.7), ()), (-0.6, 0.5)),
    "eval_genlaguerre": (mp.laguerre, ((3.0, 0.7), ()), (-0.6, 0.5)),
    "eval_laguerre": (lambda n, x: mp.laguerre(n, 0, x), ((3.0,), ()), (-0.6, 0.5)),
    "lambertw": (lambda x: mp.lambertw(x), ((), ()), (-0.2, 1e-3, 2.5)),
}  # fmt: skip
SECOND = {  # the other operand
    "betaln": ((1.7,), ()),
    "beta": ((1.7,), ()),
    "poch": ((1.5,), ()),
    "binom": ((5.5,), ()),
    "rel_entr": ((0.8,), ()),
    "kl_div": ((0.8,), ()),
    "huber": ((), (1.7,)),
    "pseudo_huber": ((), (1.7,)),
}


def check_special(name, fixed, points):
    """Compare the first derivative with mpmath's, and the second where the first's formula is recorded twice."""
    reference = REFERENCES[name][0]
    before, after = fixed
    function = getattr(special, name)
    with mp.workdps(40):
        for x in points:
            wanted = mp.diff(lambda t: reference(*map(mp.mpf, before), t, *map(mp.mpf, after)), mp.mpf(x))
            found = numbad.gradient(lambda t: function(*before, t, *after), x)
            assert found == pytest.approx(float(mp.re(wanted)), rel=2e-10, abs=1e-14), (name, x)


@pytest.mark.parametrize("name", REFERENCES)
def test_special(name):
    _, fixed, points = REFERENCES[name]
    check_special(name, fixed, points)


@pytest.mark.parametrize("name", SECOND)
def test_special_in_the_other_operand(name):
    check_special(name, SECOND[name], (0.9, 1.4))


def test_every_special_function_has_a_reference():
    assert set(ELEMENTWISE) == set(REFERENCES)


@pytest.mark.parametrize("mutate", [lambda bar: bar * 1.001, lambda bar: -bar], ids=["scaled", "sign"])
@pytest.mark.parametrize("name", [name for name in REFERENCES if name != "gammasgn"])
def test_mutants_of_special_are_caught(name, mutate, monkeypatch):
    op = ELEMENTWISE[name]
    rule = op.vjp_function

    def wrong(*arguments, **settings):
        return tuple(None if bar is None else mutate(bar) for bar in rule(*arguments, **settings))

    monkeypatch.setattr(op, "vjp_function", wrong)
    _, fixed, points = REFERENCES[name]
    with pytest.raises(AssertionError):
        check_special(name, fixed, points[:1])


@pytest.mark.parametrize("name", ["betaln", "dawsn", "ellipk", "exprel", "k1e", "y1", "rel_entr", "rgamma", "spence"])
def test_special_of_arrays(name):
    _, (before, after), points = REFERENCES[name]
    function = getattr(special, name)
    x = np.array([[points[-1], points[-1] * 1.01], [points[-1] * 0.97, points[-1] * 1.02]])
    check_against_numpy(lambda a: function(*before, a, *after), x)


def derivatives_of(f, x):
    """The first derivative at a point by all ways to it, and the second."""
    total = lambda v: np.sum(f(v))
    one, two = np.array([x]), np.full((2, 1), x)
    yield 1, "grad", numbad.grad(f)(x)
    fast = numbad.jit(numbad.grad(f))
    yield 1, "jit(grad), recorded", fast(x)
    yield 1, "jit(grad), replayed", fast(x)
    yield 1, "grad(jit)", numbad.grad(numbad.jit(f))(x)
    yield 1, "jacfwd", numbad.jacfwd(f)(one)[0, 0]
    yield 1, "jacrev", numbad.jacrev(f)(one)[0, 0]
    yield 1, "jvp", numbad.jvp(f, (one,), (np.ones(1),))[1][0]
    yield 1, "vmap(grad)", numbad.vmap(numbad.grad(f))(two[:, 0])[1]
    batch = numbad.jit(numbad.vmap(numbad.grad(total)))
    yield 1, "jit(vmap(grad)), recorded", batch(two)[1, 0]
    yield 1, "jit(vmap(grad)), replayed", batch(two)[1, 0]
    yield 2, "grad(grad)", numbad.grad(numbad.grad(f))(x)
    yield 2, "hessian", numbad.hessian(total)(one)[0, 0]
    yield 2, "jit(hessian)", numbad.jit(numbad.hessian(total))(one)[0, 0]
    yield 2, "vmap(hessian)", numbad.vmap(numbad.hessian(total))(two)[1, 0, 0]
    yield 2, "hvp", numbad.hvp(total, one, np.ones(1))[0]
    yield 2, "jacfwd(jacfwd)", numbad.jacfwd(numbad.jacfwd(total))(one)[0, 0]
    yield 2, "jacrev(jacfwd)", numbad.jacrev(numbad.jacfwd(total))(one)[0, 0]
    yield 2, "jacrev(jacrev)", numbad.jacrev(numbad.jacrev(total))(one)[0, 0]


def check_modes(f, reference, x, tolerance=1e-9):
    """Compare the first and second derivative by all ways with those of mpmath."""
    with mp.workdps(50):
        wanted = [float(mp.re(mp.diff(reference, mp.mpf(x), order))) for order in (1, 2)]
    for order, mode, found in derivatives_of(f, x):
        assert found == pytest.approx(wanted[order - 1], rel=tolerance, abs=1e-12), (mode, x)


MODES = [
    *((name, REFERENCES[name][1], REFERENCES[name][2][-1]) for name in REFERENCES),
    *((name, fixed, 1.4) for name, fixed in SECOND.items()),
]


@pytest.mark.parametrize(("name", "fixed", "x"), MODES)
def test_two_derivatives_in_every_mode(name, fixed, x):
    before, after = fixed
    function = getattr(special, name)
    check_modes(
        lambda t: function(*before, t, *after),
        lambda t: REFERENCES[name][0](*map(mp.mpf, before), t, *map(mp.mpf, after)),
        float(x),
    )


SPECIAL_POINTS = {  # text -> (function, the same in mpmath, places where a formula of the derivative changes)
    "rgamma": (special.rgamma, mp.rgamma, (0.0, -1.0, -2.0, -2.5, 0.5)),
    "spence": (special.spence, lambda x: mp.polylog(2, 1 - x), (1.0, 1.0 + 1e-9, 0.95, 1.06)),
    "exprel": (special.exprel, lambda x: mp.nsum(lambda n: x**n / mp.factorial(n + 1), [0, 60]), (0.0, 0.1, -0.1)),
    "ellipk": (special.ellipk, mp.ellipk, (0.0, 1e-4, 0.19, 0.21, -0.2)),
    "ellipe": (special.ellipe, mp.ellipe, (0.0, 1e-4, 0.19, 0.21, -0.2)),
    "gammainc, 2": (lambda x: special.gammainc(2.0, x), lambda x: 1 - mp.exp(-x) * (1 + x), (0.0,)),
    "gammainc, 1": (lambda x: special.gammainc(1.0, x), lambda x: 1 - mp.exp(-x), (0.0,)),
    "gammaincc, 3": (lambda x: special.gammaincc(3.0, x), lambda x: mp.exp(-x) * (1 + x + x * x / 2), (0.0,)),
    "betainc, 2, 1": (lambda x: special.betainc(2.0, 1.0, x), lambda x: x * x, (0.0, 1.0)),
    "betainc, 1, 2": (lambda x: special.betainc(1.0, 2.0, x), lambda x: 2 * x - x * x, (0.0, 1.0)),
    "betaincc, 2, 3": (lambda x: special.betaincc(2.0, 3.0, x), lambda x: (1 - x) ** 3 * (1 + 3 * x), (0.0, 1.0)),
    "chdtr, 4": (lambda x: special.chdtr(4.0, x), lambda x: 1 - mp.exp(-x / 2) * (1 + x / 2), (0.0,)),
    "pdtr, 1": (lambda m: special.pdtr(1.0, m), lambda m: mp.exp(-m) * (1 + m), (0.0,)),
    "stdtr, 4": (lambda t: special.stdtr(4.0, t), lambda t: t_distribution(4, t), (1e-3,)),
    "poch, 2": (lambda a: special.poch(a, 2.0), lambda a: a * (a + 1), (-3.0, -1.0, 0.0, 0.5, -2.5)),
    "poch, 3": (lambda a: special.poch(a, 3.0), lambda a: a * (a + 1) * (a + 2), (-4.0, -1.0, 0.0)),
    "poch, -1": (lambda a: special.poch(a, -1.0), lambda a: 1 / (a - 1), (-2.0, 0.0, 2.5)),
    "poch, 1/2": (lambda a: special.poch(a, 0.5), lambda a: mp.gamma(a + 0.5) * mp.rgamma(a), (-3.0, 0.0, -0.7)),
    "poch of 1": (lambda m: special.poch(1.0, m), lambda m: mp.gamma(1 + m), (0.0, 2.0)),
    "binom, 3": (lambda n: special.binom(n, 3.0), lambda n: n * (n - 1) * (n - 2) / 6, (2.0, 0.0, 3.0, -0.5, -2.5)),
    "binom, -1": (lambda n: special.binom(n, -1.0), lambda n: mp.mpf(0) * n, (2.0, 0.5)),
    "binom of 2": (lambda k: special.binom(2.0, k), lambda k: 2 * mp.rgamma(k + 1) * mp.rgamma(3 - k), (4.0, -2.0)),
    "beta, 1/2": (lambda a: special.beta(a, 0.5), lambda a: mp.beta(a, mp.mpf(1) / 2), (-0.7, -1.3)),
    "kn, 0": (lambda x: special.kn(0, x), lambda x: mp.besselk(0, x), (0.7,)),
    "kn, 3": (lambda x: special.kn(3, x), lambda x: mp.besselk(3, x), (0.7, 30.0)),
    "yn, 0": (lambda x: special.yn(0, x), lambda x: mp.bessely(0, x), (0.7,)),
    "yn, 3": (lambda x: special.yn(3, x), lambda x: mp.bessely(3, x), (0.7, 30.0)),
    "yv, -1": (lambda x: special.yv(-1.0, x), lambda x: mp.bessely(-1, x), (0.7,)),
    "j0": (special.j0, lambda x: mp.besselj(0, x), (0.0, 1e-5, 30.0)),
    "j1": (special.j1, lambda x: mp.besselj(1, x), (0.0, 1e-5, 1.0, 30.0)),
    "i0": (special.i0, lambda x: mp.besseli(0, x), (0.0, 1e-5, 3.0)),
    "i1": (special.i1, lambda x: mp.besseli(1, x), (0.0, 1e-5, 1.0, 3.0)),
    "jv, 0": (lambda x: special.jv(0.0, x), lambda x: mp.besselj(0, x), (0.0, 2.0)),
    "jv, 2": (lambda x: special.jv(2.0, x), lambda x: mp.besselj(2, x), (0.0, 2.0)),
    "iv, 1": (lambda x: special.iv(1.0, x), lambda x: mp.besseli(1, x), (0.0, 2.0)),
    "zeta, 3": (lambda q: special.zeta(3.0, q), lambda q: mp.zeta(3, q), (1.0, 0.3, 20.0)),
    "polygamma, 0": (lambda x: special.polygamma(0, x), lambda x: mp.polygamma(0, x), (0.7, -0.5)),
    "polygamma, 1": (lambda x: special.polygamma(1, x), lambda x: mp.polygamma(1, x), (0.7, -0.5)),
    "polygamma, 3": (lambda x: special.polygamma(3, x), lambda x: mp.polygamma(3, x), (0.7, 12.0)),
    "psi": (special.psi, lambda x: mp.digamma(x), (0.7, 1.0, -0.5, 3.0)),
    "gamma": (special.gamma, mp.gamma, (1.0, -0.5, -1.5, 0.3)),
    "gammaln": (special.gammaln, mp.loggamma, (1.0, 2.0, 0.3, 30.0)),
    "legendre, 0": (lambda x: special.eval_legendre(0, x), lambda x: mp.mpf(1) + 0 * x, (0.3, 1.0)),
    "legendre, 1": (lambda x: special.eval_legendre(1, x), lambda x: x, (0.3, 1.0)),
    "legendre, 4": (lambda x: special.eval_legendre(4, x), lambda x: mp.legendre(4, x), (0.0, 1.0, -1.0, 2.0)),
    "legendre, 1/2": (lambda x: special.eval_legendre(0.5, x), lambda x: mp.legendre(0.5, x), (0.3,)),
    "legendre, -3": (lambda x: special.eval_legendre(-3, x), lambda x: (3 * x**2 - 1) / 2, (0.3, 1.0)),
    "chebyt, 1/2": (lambda x: special.eval_chebyt(0.5, x), lambda x: mp.cos(mp.acos(x) / 2), (0.3,)),
    "chebyt, -3": (lambda x: special.eval_chebyt(-3, x), lambda x: 4 * x**3 - 3 * x, (0.3, 1.0)),
    "chebyt, 4": (lambda x: special.eval_chebyt(4, x), lambda x: 8 * x**4 - 8 * x**2 + 1, (0.0, 1.0, -1.0, 2.0)),
    "chebyu, 3": (lambda x: special.eval_chebyu(3, x), lambda x: 8 * x**3 - 4 * x, (0.0, 1.0, -1.0, 2.0)),
    "chebyu, -5": (lambda x: special.eval_chebyu(-5, x), lambda x: 4 * x - 8 * x**3, (0.3, 1.0)),
    "chebyu, -1": (lambda x: special.eval_chebyu(-1, x), lambda x: 0 * x, (0.3,)),
    "gegenbauer, 2": (lambda x: special.eval_gegenbauer(2, 0.5, x), lambda x: (3 * x**2 - 1) / 2, (0.3, 1.0)),
    "laguerre, 2": (lambda x: special.eval_laguerre(2, x), lambda x: (x**2 - 4 * x + 2) / 2, (0.0, 3.0)),
    "genlaguerre": (lambda x: special.eval_genlaguerre(0.5, 0.3, x), lambda x: mp.laguerre(0.5, 0.3, x), (0.3, 3.0)),
    "hyp2f1, 0": (lambda x: special.hyp2f1(1.0, 2.0, 3.0, x), lambda x: mp.hyp2f1(1, 2, 3, x), (0.0, -0.5)),
    "hyp1f1, 0": (lambda x: special.hyp1f1(1.5, 2.5, x), lambda x: mp.hyp1f1(1.5, 2.5, x), (0.0,)),
    "hyp1f1, -1": (lambda x: special.hyp1f1(-1.0, 2.5, x), lambda x: 1 - x / 2.5, (0.0, 0.7)),
    "hyp0f1, 0": (lambda x: special.hyp0f1(1.5, x), lambda x: mp.hyp0f1(1.5, x), (0.0,)),
    "lambertw": (lambda x: special.lambertw(x), mp.lambertw, (0.0, -0.3, 5.0)),
    "lambertw, -1": (lambda x: special.lambertw(x, -1), lambda x: mp.lambertw(x, -1), (-0.1, -0.3)),
    "dawsn": (special.dawsn, REFERENCES["dawsn"][0], (0.0,)),
    "erfi": (special.erfi, mp.erfi, (0.0,)),
    "log_expit": (special.log_expit, REFERENCES["log_expit"][0], (0.0, 40.0)),
    "entr": (special.entr, lambda x: -x * mp.log(x), (1.0, 0.3)),
    "boxcox, 0": (lambda x: special.boxcox(x, 0.0), mp.log, (0.7,)),
    "inv_boxcox, 0": (lambda x: special.inv_boxcox(x, 0.0), mp.exp, (0.7,)),
    "comb, 2": (lambda n: special.comb(n, 2.0), lambda n: n * (n - 1) / 2, (5.0, 2.5)),
    "factorial": (special.factorial, lambda n: mp.gamma(n + 1), (0.0, 3.0)),
    "multigammaln": (lambda a: special.multigammaln(a, 2), lambda a: mp.loggamma(a) + mp.loggamma(a - 0.5), (1.5,)),
    "xlogy, 0": (lambda x: special.xlogy(0.0, x), lambda x: 0 * x, (0.0, 2.0)),
    "xlog1py": (lambda x: special.xlog1py(2.0, x), lambda x: 2 * mp.log(1 + x), (0.0,)),
    "logit": (special.logit, lambda x: mp.log(x / (1 - x)), (0.5, 0.25, 0.1)),
    "erfinv": (special.erfinv, mp.erfinv, (0.0, 0.5, -0.9)),
    "ndtri": (special.ndtri, lambda x: mp.sqrt(2) * mp.erfinv(2 * x - 1), (0.5, 0.1)),
    "log_ndtr": (special.log_ndtr, lambda x: mp.log(mp.ncdf(x)), (0.0, -13.0, 3.0)),
    "erfcx": (special.erfcx, lambda x: mp.exp(x * x) * mp.erfc(x), (0.0, 2.0)),
    "expi": (special.expi, mp.ei, (-1.0, 2.0)),
    "exp1": (special.exp1, mp.e1, (0.3, 2.0)),
}  # fmt: skip


@pytest.mark.parametrize("name", SPECIAL_POINTS)
def test_two_derivatives_at_special_points(name):
    function, reference, points = SPECIAL_POINTS[name]
    for x in points:
        check_modes(function, reference, x, 1e-7)


INTERNAL = {"gamma_density": "gammainc, 2", "beta_density": "betainc, 2, 1", "lower_branch_of_lambertw": "lambertw, -1"}


@pytest.mark.parametrize("mutate", [lambda bar: bar * 1.001, lambda bar: -bar], ids=["scaled", "sign"])
@pytest.mark.parametrize("rule", ["vjp_function", "jvp_function"])
@pytest.mark.parametrize("name", INTERNAL)
def test_mutants_of_second_derivatives_are_caught(name, rule, mutate, monkeypatch):
    op = ARRAY_OPS[name]
    right = getattr(op, rule)

    def wrong(*arguments, **settings):
        found = right(*arguments, **settings)
        if rule == "jvp_function":
            return mutate(found)
        return tuple(None if bar is None else mutate(bar) for bar in found)

    monkeypatch.setattr(op, rule, wrong)
    with pytest.raises(AssertionError):
        test_two_derivatives_at_special_points(INTERNAL[name])


LACKING = lambda x: np.sum(special.kv(x, x))
HELD = lambda x: np.sum(special.kv(numbad.stop_gradient(x) + 1.0, x))


@pytest.mark.parametrize("mode", ["grad", "jacrev", "jacfwd", "hessian"])
def test_a_missing_formula_is_refused_in_every_mode(mode):
    transform = getattr(numbad, mode)
    with pytest.raises(RecordingError, match=rf"(?s)scipy.special.kv has no derivative .* argument 1.*{HERE}"):
        transform(LACKING)(X)
    with pytest.raises(RecordingError, match=r"scipy.special.kv has no derivative"):
        numbad.jit(transform(LACKING))(X)


def test_a_missing_formula_is_refused_in_batches_and_products():
    for run in (
        lambda: numbad.vmap(numbad.grad(LACKING))(np.stack([X, X])),
        lambda: numbad.jvp(LACKING, (X,), (X,)),
        lambda: numbad.hvp(LACKING, X, X),
    ):
        with pytest.raises(RecordingError, match=r"scipy.special.kv has no derivative"):
            run()


def test_operands_that_do_not_vary_need_no_formula():
    order, point = 1.5, 0.7
    kv = lambda v, x: special.kv(v, x)
    with mp.workdps(40):
        wanted = float(mp.diff(lambda x: mp.besselk(1.5, x), 0.7))
        held = [float(mp.diff(lambda t: mp.besselk(mp.mpf(x) + 1, t), mp.mpf(x))) for x in X]  # noqa: B023
        held2 = [float(mp.diff(lambda t: mp.besselk(mp.mpf(x) + 1, t), mp.mpf(x), 2)) for x in X]  # noqa: B023
    points = np.array([0.3, point])
    assert numbad.jit(kv)(order, point) == special.kv(order, point)
    for found in (
        numbad.jit(numbad.grad(kv, 1))(order, point),
        numbad.grad(numbad.jit(kv), 1)(order, point),
        numbad.vmap(numbad.grad(kv, 1), (None, 0))(order, points)[1],
        numbad.vmap(numbad.grad(kv, 1))(np.full(2, order), points)[1],
        numbad.record(kv, order, point).gradient(order, point)[1],
    ):
        assert found == pytest.approx(wanted, rel=1e-12)
    for transform in (numbad.grad, numbad.jacrev, numbad.jacfwd):
        np.testing.assert_allclose(transform(HELD)(X), held, rtol=1e-12)
        np.testing.assert_allclose(numbad.jit(transform(HELD))(X), held, rtol=1e-12)
    np.testing.assert_allclose(numbad.hessian(HELD)(X), np.diag(held2), rtol=1e-12)


def test_python_functions_of_special():
    x = np.array([0.7, 1.3, 2.4])
    check_against_numpy(lambda a: special.polygamma(2, a), x)
    check_against_numpy(lambda a: special.polygamma(0, a), x)
    check_against_numpy(lambda a: special.multigammaln(a[0] + 3.0, 3), x)
    check_against_numpy(lambda a: special.factorial(a), x)
    check_against_numpy(lambda a: special.comb(a + 2.0, a), x)
    check_against_numpy(lambda a: special.logsumexp(np.outer(a, a), axis=1, keepdims=True), x)
    check_against_numpy(lambda a: special.logsumexp(a, b=np.array([1.0, 2.0, 0.0])), x)
    check_against_numpy(lambda a: special.softmax(a)[0], x)
    check_against_numpy(lambda a: special.log_softmax(np.outer(a, a), axis=0), x)


def test_a_missing_formula_is_refused_by_name():
    with pytest.raises(RecordingError, match=rf"(?s)scipy.special.gammainc .* argument 1.*{HERE}"):
        numbad.gradient(lambda a: special.gammainc(a, 2.0), 1.5)


# ---------------------------------------------------------------- being called by name


def test_another_branch_of_lambertw_is_refused_by_name():
    from scipy.special import lambertw

    with pytest.raises(RecordingError, match=rf"branch k = 1 .*\n  at .*{HERE}"):
        numbad.gradient(lambda x: lambertw(x, 1), -0.2)
