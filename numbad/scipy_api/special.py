"""scipy.special: the derivatives of its ufuncs that are no op of the sweeps, and its Python functions.

Formulas are those of the NIST Digital Library of Mathematical Functions (DLMF), whose sections are named.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from numbad import helpers
from numbad.errors import RecordingError, message
from numbad.numpy_api.dispatch import call_ufunc, plain_integers, recorder_of, to_active
from numbad.ops.definition import find_ufunc
from numbad.scipy_api.dispatch import records
from numbad.scipy_api.elementwise import elementwise

DEGREE = math.pi / 180.0


def sp(name: str, *operands: Any) -> Any:
    """Call a ufunc of scipy.special, on recording values or plain ones."""
    return find_ufunc(f"scipy.special.{name}")(*operands)


def psi(x: Any) -> Any:
    """The digamma function."""
    return sp("psi", x)


def series(x: Any, *coefficients: float) -> Any:
    """Return a polynomial by Horner's rule, lowest coefficient first."""
    total: Any = coefficients[-1]
    for coefficient in coefficients[-2::-1]:
        total = total * x + coefficient
    return total


# ---------------------------------------------------------------- gamma and beta functions (DLMF 5, 8)


def rgamma_slope(z: Any, x: Any) -> Any:
    """-psi(x) / gamma(x), and its limit where gamma has a pole."""
    pole = (x <= 0.0) & (x == np.floor(x))
    n = np.where(pole, -x, 0.0)
    sign = 1.0 - 2.0 * np.remainder(n, 2.0)
    return np.where(pole, sign * sp("gamma", n + 1.0), -psi(np.where(pole, 1.0, x)) * z)


def gamma_density(a: Any, x: Any) -> Any:
    """The derivative of the regularized lower incomplete gamma function."""
    return np.exp(sp("xlogy", a - 1.0, x) - x - sp("gammaln", a))


def beta_density(a: Any, b: Any, x: Any) -> Any:
    """The derivative of the regularized incomplete beta function."""
    return np.exp(sp("xlogy", a - 1.0, x) + sp("xlog1py", b - 1.0, -x) - sp("betaln", a, b))


elementwise("betaln", lambda z, a, b: psi(a) - psi(a + b), lambda z, a, b: psi(b) - psi(a + b))
elementwise("beta", lambda z, a, b: z * (psi(a) - psi(a + b)), lambda z, a, b: z * (psi(b) - psi(a + b)))
elementwise("rgamma", rgamma_slope)
elementwise("gammasgn", lambda z, x: 0.0 * z)
elementwise("loggamma", lambda z, x: psi(x))
elementwise("gammainc", None, lambda z, a, x: gamma_density(a, x))
elementwise("gammaincc", None, lambda z, a, x: -gamma_density(a, x))
elementwise("gammaincinv", None, lambda z, a, y: 1.0 / gamma_density(a, z))
elementwise("gammainccinv", None, lambda z, a, y: -1.0 / gamma_density(a, z))
elementwise("betainc", None, None, lambda z, a, b, x: beta_density(a, b, x))
elementwise("betaincc", None, None, lambda z, a, b, x: -beta_density(a, b, x))
elementwise("betaincinv", None, None, lambda z, a, b, y: 1.0 / beta_density(a, b, z))
elementwise("poch", lambda z, a, m: z * (psi(a + m) - psi(a)), lambda z, a, m: z * psi(a + m))
elementwise(
    "binom",
    lambda z, n, k: z * (psi(n + 1.0) - psi(n - k + 1.0)),
    lambda z, n, k: z * (psi(n - k + 1.0) - psi(k + 1.0)),
)
elementwise("zeta", None, lambda z, x, q: -x * zeta(x + 1.0, q))

# ---------------------------------------------------------------- distributions


def student_density(df: Any, t: Any) -> Any:
    """The density of Student's t distribution."""
    half = 0.5 * (df + 1.0)
    constant = sp("gammaln", half) - sp("gammaln", 0.5 * df) - 0.5 * np.log(df * math.pi)
    return np.exp(constant - half * np.log1p(t * t / df))


elementwise("stdtr", None, lambda z, df, t: student_density(df, t))
elementwise("stdtrit", None, lambda z, df, p: 1.0 / student_density(df, z))
elementwise("chdtr", None, lambda z, v, x: 0.5 * gamma_density(0.5 * v, 0.5 * x))
elementwise("chdtrc", None, lambda z, v, x: -0.5 * gamma_density(0.5 * v, 0.5 * x))
elementwise("pdtr", None, lambda z, k, m: -gamma_density(np.floor(k) + 1.0, m))
elementwise("pdtrc", None, lambda z, k, m: gamma_density(np.floor(k) + 1.0, m))

# ---------------------------------------------------------------- error functions, integrals, exponentials (DLMF 6, 7)

elementwise("erfi", lambda z, x: 2.0 / math.sqrt(math.pi) * np.exp(x * x))
elementwise("dawsn", lambda z, x: 1.0 - 2.0 * x * z)
elementwise("log_expit", lambda z, x: sp("expit", -x))
elementwise("spence", lambda z, x: np.where(x == 1.0, -1.0, np.log(x) / np.where(x == 1.0, 1.0, 1.0 - x)))
elementwise("exp10", lambda z, x: z * math.log(10.0))
elementwise("cosm1", lambda z, x: -np.sin(x))
elementwise("sindg", lambda z, x: DEGREE * sp("cosdg", x))
elementwise("cosdg", lambda z, x: -DEGREE * sp("sindg", x))


def exprel_slope(z: Any, x: Any) -> Any:
    """(exp(x) - exprel(x)) / x, by its series where the difference cancels."""
    small = np.abs(x) < 0.1
    near = series(x, *((n / math.factorial(n + 1)) for n in range(1, 11)))
    away = np.where(small, 1.0, x)
    return np.where(small, near, (np.exp(away) - sp("exprel", away)) / away)


elementwise("exprel", exprel_slope)

# ---------------------------------------------------------------- Bessel functions (DLMF 10.6, 10.29)

elementwise("y0", lambda z, x: -sp("y1", x))
elementwise("y1", lambda z, x: sp("y0", x) - z / x)
elementwise("yn", None, lambda z, n, x: 0.5 * (sp("yv", n - 1.0, x) - sp("yv", n + 1.0, x)))
elementwise("yv", None, lambda z, v, x: 0.5 * (sp("yv", v - 1.0, x) - sp("yv", v + 1.0, x)))
elementwise("k0", lambda z, x: -sp("k1", x))
elementwise("k1", lambda z, x: -sp("k0", x) - z / x)
elementwise("k0e", lambda z, x: z - sp("k1e", x))
elementwise("k1e", lambda z, x: z * (1.0 - 1.0 / x) - sp("k0e", x))
elementwise("kn", None, lambda z, n, x: -0.5 * (sp("kv", n - 1.0, x) + sp("kv", n + 1.0, x)))
elementwise("kv", None, lambda z, v, x: -0.5 * (sp("kv", v - 1.0, x) + sp("kv", v + 1.0, x)))
elementwise("kve", None, lambda z, v, x: z - 0.5 * (sp("kve", v - 1.0, x) + sp("kve", v + 1.0, x)))

# ---------------------------------------------------------------- elliptic integrals (DLMF 19.4)


def elliptic_difference(m: Any) -> Any:
    """(K - E) / m, by its series where the difference cancels."""
    small = np.abs(m) < 1e-3
    near = series(m, *(0.5 * math.pi * c for c in (1 / 2, 3 / 16, 15 / 128, 175 / 2048, 2205 / 32768)))
    away = np.where(small, 0.5, m)
    return np.where(small, near, (sp("ellipk", away) - sp("ellipe", away)) / away)


def root_of_sines(phi: Any, m: Any) -> Any:
    """The square root of 1 - m sin(phi)**2."""
    return np.sqrt(1.0 - m * np.square(np.sin(phi)))


elementwise("ellipk", lambda z, m: 0.5 * (z - elliptic_difference(m)) / (1.0 - m))
elementwise("ellipe", lambda z, m: -0.5 * elliptic_difference(m))
elementwise("ellipkinc", lambda z, phi, m: 1.0 / root_of_sines(phi, m), None)
elementwise("ellipeinc", lambda z, phi, m: root_of_sines(phi, m), None)

# ---------------------------------------------------------------- entropies, losses, transformations

elementwise("rel_entr", lambda z, x, y: np.log(x / y) + 1.0, lambda z, x, y: -x / y)
elementwise("kl_div", lambda z, x, y: np.log(x / y), lambda z, x, y: 1.0 - x / y)
elementwise(
    "huber",
    lambda z, d, r: np.where(np.abs(r) <= d, 0.0, np.abs(r) - d),
    lambda z, d, r: np.clip(r, -d, d),
)
elementwise(
    "pseudo_huber",
    lambda z, d, r: 2.0 * z / d - np.square(r) / (d * np.sqrt(1.0 + np.square(r / d))),
    lambda z, d, r: r / np.sqrt(1.0 + np.square(r / d)),
)
elementwise("boxcox", lambda z, x, power: x ** (power - 1.0), None)
elementwise("boxcox1p", lambda z, x, power: (1.0 + x) ** (power - 1.0), None)
elementwise("inv_boxcox", lambda z, y, power: z ** (1.0 - power), None)

# ---------------------------------------------------------------- hypergeometric functions, polynomials (DLMF 13, 18.9)

elementwise("hyp0f1", None, lambda z, v, x: sp("hyp0f1", v + 1.0, x) / v)
elementwise("hyp1f1", None, None, lambda z, a, b, x: a / b * sp("hyp1f1", a + 1.0, b + 1.0, x))
elementwise("hyp2f1", None, None, None, lambda z, a, b, c, x: a * b / c * sp("hyp2f1", a + 1.0, b + 1.0, c + 1.0, x))


def lower(name: str, n: Any, *operands: Any) -> Any:
    """Return the polynomial of the degree before, and zero where there is none."""
    return np.where(n >= 1.0, sp(name, np.maximum(n - 1.0, 0.0), *operands), 0.0)


elementwise("eval_legendre", None, lambda z, n, x: lower("eval_gegenbauer", n, 1.5, x))
elementwise("eval_chebyt", None, lambda z, n, x: n * lower("eval_chebyu", n, x))
elementwise("eval_chebyu", None, lambda z, n, x: 2.0 * lower("eval_gegenbauer", n, 2.0, x))
elementwise("eval_gegenbauer", None, None, lambda z, n, a, x: 2.0 * a * lower("eval_gegenbauer", n, a + 1.0, x))
elementwise("eval_genlaguerre", None, None, lambda z, n, a, x: -lower("eval_genlaguerre", n, a + 1.0, x))
elementwise("eval_laguerre", None, lambda z, n, x: -lower("eval_genlaguerre", n, 1.0, x))

# ---------------------------------------------------------------- Python functions

LAMBERT = elementwise("lambertw", lambda z, x: np.exp(-z) / (1.0 + z))
LAMBERT.primal = lambda x: np.real(find_ufunc("scipy.special.lambertw")(x))
LAMBERT.primal.__name__ = "lambertw"


@records("scipy.special", "lambertw")
def lambertw(z: Any, k: Any = 0, tol: float = 1e-8) -> Any:
    """The principal branch of Lambert's W where it is real."""
    if np.any(np.asarray(k) != 0):
        raise RecordingError(
            message(
                f"scipy.special.lambertw of the branch k = {k} is not recorded",
                "use the principal branch, k = 0, or give the function a rule with numbad.custom_vjp",
            )
        )
    return LAMBERT(z)


@records("scipy.special", "zeta")
def zeta(x: Any, q: Any = None, out: Any = None) -> Any:
    """Hurwitz's zeta function, differentiated with respect to q."""
    from numbad.scipy_api.elementwise import call_elementwise

    return call_elementwise("zeta", (x, 1.0 if q is None else q))


@records("scipy.special", "polygamma")
def polygamma(n: Any, x: Any) -> Any:
    """Derivatives of the digamma function."""
    order = np.asarray(plain_integers(n, "the order of polygamma"), float)[()]
    recorder = recorder_of(x)
    x = to_active(x, recorder)
    sign = np.where(order % 2 == 0, -1.0, 1.0)
    higher = sign * find_ufunc("scipy.special.gamma")(order + 1.0) * zeta(np.maximum(order, 1.0) + 1.0, x)
    if not np.any(order == 0):
        return higher
    return np.where(order == 0, psi(x), higher)


@records("scipy.special", "multigammaln")
def multigammaln(a: Any, d: int) -> Any:
    """The logarithm of the multivariate gamma function."""
    total = d * (d - 1) / 4.0 * math.log(math.pi)
    for j in range(int(d)):
        total = total + sp("gammaln", a - 0.5 * j)
    return total


@records("scipy.special", "factorial")
def factorial(n: Any, exact: bool = False, extend: str = "zero") -> Any:
    """gamma(n + 1), and 0 for negative numbers."""
    return np.where(n < 0.0, 0.0, sp("gamma", n + 1.0))


@records("scipy.special", "comb")
def comb(N: Any, k: Any, *, exact: bool = False, repetition: bool = False) -> Any:
    """Binomial coefficients of real numbers, 0 where k or N - k is negative."""
    if repetition:
        N = N + k - 1.0
    return np.where((k <= N) & (N >= 0.0) & (k >= 0.0), call_ufunc(find_ufunc("scipy.special.binom"), (N, k)), 0.0)


@records("scipy.special", "logsumexp")
def logsumexp(a: Any, axis: Any = None, b: Any = None, keepdims: bool = False, return_sign: bool = False) -> Any:
    """The logarithm of a sum of exponentials."""
    return helpers.logsumexp(a, axis, b, keepdims, return_sign)


@records("scipy.special", "softmax")
def softmax(x: Any, axis: Any = None) -> Any:
    """Exponentials divided by their sum."""
    return helpers.softmax(x, axis)


@records("scipy.special", "log_softmax")
def log_softmax(x: Any, axis: Any = None) -> Any:
    """The logarithm of the softmax."""
    return helpers.log_softmax(x, axis)
