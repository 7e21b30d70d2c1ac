"""scipy.special: the derivatives of its ufuncs that are no op of the sweeps, and its Python functions.

Formulas are those of the NIST Digital Library of Mathematical Functions (DLMF), whose sections are named.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from numbad.errors import RecordingError, message
from numbad.numpy_api import functions
from numbad.numpy_api.dispatch import call_ufunc, plain_integers
from numbad.ops.definition import find_ufunc
from numbad.recording.active import Active
from numbad.recording.operands import recorder_of, to_active
from numbad.scipy_api.dispatch import numeric, records, refuse_options
from numbad.scipy_api.elementwise import ELEMENTWISE, elementwise, internal

DEGREE = math.pi / 180.0
FLAT = -0.0  # the slope of a function that is constant by pieces


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


def is_pole(x: Any) -> Any:
    """Whether the gamma function has a pole."""
    return (x <= 0.0) & (x == np.floor(x))


def rgamma_slope(z: Any, x: Any) -> Any:
    """-psi(x) / gamma(x); below 1/2 of the reflected gamma(1 - x) sin(pi x) / pi, which is smooth at the poles."""
    left = x < 0.5
    t = np.where(left, x, 0.0)
    whole = np.rint(t)
    sign = 1.0 - 2.0 * np.remainder(whole, 2.0)
    angle = math.pi * (t - whole)
    mirrored = sign * sp("gamma", 1.0 - t) * (np.cos(angle) - psi(1.0 - t) * np.sin(angle) / math.pi)
    return np.where(left, mirrored, -psi(np.where(left, 1.0, x)) * z)


def slope_of_rgamma(x: Any) -> Any:
    """The derivative of 1 / gamma."""
    return rgamma_slope(sp("rgamma", x), x)


def gamma_density(a: Any, x: Any) -> Any:
    """x**(a - 1) exp(-x) / gamma(a), the derivative of gammainc; 0 where gamma has a pole."""
    size = np.exp(sp("xlogy", a - 1.0, x) - x - sp("gammaln", a))
    return np.where(is_pole(a) | (x == np.inf), 0.0, np.where(a > 0.0, size, sp("gammasgn", a) * size))


def gamma_density_order(z: Any, a: Any, x: Any) -> Any:
    """Its derivative with respect to a."""
    left = np.exp(sp("xlogy", a - 1.0, x) - x) * slope_of_rgamma(a)
    return sp("xlogy", z, x) + np.where(a > 0.0, -z * psi(a), left)


def gamma_density_slope(z: Any, a: Any, x: Any) -> Any:
    """Its derivative with respect to x; where x is 0 by the densities of the orders a - 1 and a."""
    at_end = x == 0.0
    inside = z * ((a - 1.0) / np.where(at_end, 1.0, x) - 1.0)
    return np.where(at_end, GAMMA_DENSITY(a - 1.0, x) - z, inside)


GAMMA_DENSITY = internal(gamma_density, gamma_density_order, gamma_density_slope)


def beta_density(a: Any, b: Any, x: Any) -> Any:
    """x**(a - 1) (1 - x)**(b - 1) / B(a, b), the derivative of the regularized incomplete beta function."""
    size = sp("xlogy", a - 1.0, x) + sp("xlog1py", b - 1.0, -x)
    right = (a > 0.0) & (b > 0.0)
    found = np.where(right, np.exp(size - sp("betaln", a, b)), np.exp(size) / sp("beta", a, b))
    return np.where(is_pole(a) | is_pole(b), 0.0, found)


def beta_density_slope(z: Any, a: Any, b: Any, x: Any) -> Any:
    """Its derivative with respect to x; at the ends by the densities of lower orders."""
    at_end = (x == 0.0) | (x == 1.0)
    safe = np.where(at_end, 0.5, x)
    inside = z * ((a - 1.0) / safe - (b - 1.0) / (1.0 - safe))
    ends = (a + b - 1.0) * (BETA_DENSITY(a - 1.0, b, x) - BETA_DENSITY(a, b - 1.0, x))
    return np.where(at_end, ends, inside)


BETA_DENSITY = internal(
    beta_density,
    lambda z, a, b, x: sp("xlogy", z, x) - z * (psi(a) - psi(a + b)),
    lambda z, a, b, x: sp("xlog1py", z, -x) - z * (psi(b) - psi(a + b)),
    beta_density_slope,
)


def beta_slope(z: Any, a: Any, b: Any) -> Any:
    """The derivative of the beta function with respect to a; right where gamma(a + b) has a pole, too."""
    total = a + b
    left = sp("gamma", a) * sp("gamma", b) * (psi(a) * sp("rgamma", total) + slope_of_rgamma(total))
    return np.where(total <= 0.0, left, z * (psi(a) - psi(total)))


def poch_slope(z: Any, a: Any, m: Any) -> Any:
    """The derivative of gamma(a + m) / gamma(a) with respect to a; a polynomial where m is a whole number."""
    b = a + m
    below = (a <= 0.0) & (b <= 0.0) & (m == np.floor(m))
    crossing = sp("gamma", b) * (psi(b) * sp("rgamma", a) + slope_of_rgamma(a))
    right = np.where(below, z * (psi(1.0 - b) - psi(1.0 - a)), z * (psi(b) - psi(a)))
    return np.where((a <= 0.0) & ~below, crossing, right)


def binom_slope(z: Any, n: Any, k: Any) -> Any:
    """The derivative of a binomial coefficient with respect to n; right where it vanishes, too."""
    rest = n - k + 1.0
    outside = sp("gamma", n + 1.0) * sp("rgamma", k + 1.0) * (psi(n + 1.0) * sp("rgamma", rest) + slope_of_rgamma(rest))
    return np.where((k > -1.0) & (rest > 0.0), z * (psi(n + 1.0) - psi(rest)), outside)


def binom_lower_slope(z: Any, n: Any, k: Any) -> Any:
    """Its derivative with respect to k."""
    rest = n - k + 1.0
    product = slope_of_rgamma(k + 1.0) * sp("rgamma", rest) - sp("rgamma", k + 1.0) * slope_of_rgamma(rest)
    return np.where((k > -1.0) & (rest > 0.0), z * (psi(rest) - psi(k + 1.0)), sp("gamma", n + 1.0) * product)


elementwise("betaln", lambda z, a, b: psi(a) - psi(a + b), lambda z, a, b: psi(b) - psi(a + b))
elementwise("beta", beta_slope, lambda z, a, b: beta_slope(z, b, a))
elementwise("rgamma", rgamma_slope)
elementwise("gammasgn", lambda z, x: FLAT)
elementwise("loggamma", lambda z, x: psi(x))
elementwise("gammainc", None, lambda z, a, x: GAMMA_DENSITY(a, x))
elementwise("gammaincc", None, lambda z, a, x: -GAMMA_DENSITY(a, x))
elementwise("gammaincinv", None, lambda z, a, y: 1.0 / GAMMA_DENSITY(a, z))
elementwise("gammainccinv", None, lambda z, a, y: -1.0 / GAMMA_DENSITY(a, z))
elementwise("betainc", None, None, lambda z, a, b, x: BETA_DENSITY(a, b, x))
elementwise("betaincc", None, None, lambda z, a, b, x: -BETA_DENSITY(a, b, x))
elementwise("betaincinv", None, None, lambda z, a, b, y: 1.0 / BETA_DENSITY(a, b, z))
elementwise("poch", poch_slope, lambda z, a, m: z * psi(a + m))
elementwise("binom", binom_slope, binom_lower_slope)
elementwise("zeta", None, lambda z, x, q: -x * ELEMENTWISE["zeta"](x + 1.0, q))

# ---------------------------------------------------------------- distributions


def student_density(df: Any, t: Any) -> Any:
    """The density of Student's t distribution."""
    half = 0.5 * (df + 1.0)
    constant = sp("gammaln", half) - sp("gammaln", 0.5 * df) - 0.5 * np.log(df * math.pi)
    return np.exp(constant - half * np.log1p(t * t / df))


elementwise("stdtr", None, lambda z, df, t: student_density(df, t))
elementwise("stdtrit", None, lambda z, df, p: 1.0 / student_density(df, z))
elementwise("chdtr", None, lambda z, v, x: 0.5 * GAMMA_DENSITY(0.5 * v, 0.5 * x))
elementwise("chdtrc", None, lambda z, v, x: -0.5 * GAMMA_DENSITY(0.5 * v, 0.5 * x))
elementwise("pdtr", None, lambda z, k, m: -GAMMA_DENSITY(np.floor(k) + 1.0, m))
elementwise("pdtrc", None, lambda z, k, m: GAMMA_DENSITY(np.floor(k) + 1.0, m))


def log1p_quotient(t: Any) -> Any:
    """log(1 + t) / t, by its series where both are small."""
    small = np.abs(t) < 0.05
    near = series(t, *((-1.0) ** n / (n + 1.0) for n in range(15)))
    away = np.where(small, 1.0, t)
    return np.where(small, near, np.log1p(away) / away)


# ---------------------------------------------------------------- error functions, integrals, exponentials (DLMF 6, 7)

elementwise("erfi", lambda z, x: 2.0 / math.sqrt(math.pi) * np.exp(x * x))
elementwise("dawsn", lambda z, x: 1.0 - 2.0 * x * z)
elementwise("log_expit", lambda z, x: sp("expit", -x))
elementwise("spence", lambda z, x: -log1p_quotient(x - 1.0))
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


def elliptic_coefficients(count: int) -> tuple[float, ...]:
    """Return the coefficients of (K - E) / m in powers of m, which is pi/4 times 2F1(3/2, 1/2; 2; m)."""
    found = [0.25 * math.pi]
    for k in range(count - 1):
        found.append(found[-1] * (1.5 + k) * (0.5 + k) / ((2.0 + k) * (1.0 + k)))
    return tuple(found)


ELLIPTIC = elliptic_coefficients(26)


def elliptic_difference(m: Any) -> Any:
    """(K - E) / m, by its series where the difference cancels."""
    small = np.abs(m) < 0.2
    near = series(m, *ELLIPTIC)
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


def by_degree(name: str) -> Any:
    """Return a polynomial of SciPy's whose degree is handed on as a whole number where it is one: that is exact."""

    def primal(n: Any, *operands: Any) -> Any:
        whole = np.asarray(n)
        if np.all(np.floor(whole) == whole) and np.all(np.abs(whole) < 2.0**31):
            n = whole.astype(np.int64)[()]
        return find_ufunc(f"scipy.special.{name}")(n, *operands)

    return primal


def lower(name: str, n: Any, *operands: Any) -> Any:
    """Return the polynomial of the degree before, and zero for the degree 0."""
    return np.where(n == 0.0, 0.0, sp(name, np.where(n == 0.0, 0.0, n - 1.0), *operands))


def legendre_slope(z: Any, n: Any, x: Any) -> Any:
    """The derivative of Legendre's functions; those of the degrees n and -n - 1 are one."""
    return lower("eval_gegenbauer", np.where(n < -0.5, -n - 1.0, n), 1.5, x)


def chebyu_slope(z: Any, n: Any, x: Any) -> Any:
    """The derivative of Chebyshev's functions of the second kind; that of -n - 2 is minus that of n, of -1 is 0."""
    degree = np.where(n < -1.0, -n - 2.0, np.where(n == -1.0, 0.0, n))
    return np.where(n < -1.0, -2.0, 2.0) * lower("eval_gegenbauer", degree, 2.0, x)


def chebyt_slope(z: Any, n: Any, x: Any) -> Any:
    """The derivative of Chebyshev's functions of the first kind, which n and -n share."""
    return np.abs(n) * lower("eval_chebyu", np.abs(n), x)


SLOPES_OF_POLYNOMIALS: dict[str, tuple[Any, ...]] = {
    "eval_legendre": (None, legendre_slope),
    "eval_chebyt": (None, chebyt_slope),
    "eval_chebyu": (None, chebyu_slope),
    "eval_gegenbauer": (None, None, lambda z, n, a, x: 2.0 * a * lower("eval_gegenbauer", n, a + 1.0, x)),
    "eval_genlaguerre": (None, None, lambda z, n, a, x: -lower("eval_genlaguerre", n, a + 1.0, x)),
    "eval_laguerre": (None, lambda z, n, x: -lower("eval_genlaguerre", n, 1.0, x)),
}
for _name, _slopes in SLOPES_OF_POLYNOMIALS.items():
    elementwise(_name, *_slopes, primal=by_degree(_name))

# ---------------------------------------------------------------- Python functions


def lambert(k: int) -> Any:
    """Return a branch of Lambert's W where it is real, and NaN elsewhere, for there are no complex values."""

    def primal(x: Any) -> Any:
        found = find_ufunc("scipy.special.lambertw")(x, k)
        return np.where(np.imag(found) == 0.0, np.real(found), np.nan)

    return primal


def lambert_slope(z: Any, x: Any) -> Any:
    """exp(-W) / (1 + W)."""
    return np.exp(-z) / (1.0 + z)


PRINCIPAL = elementwise("lambertw", lambert_slope, primal=lambert(0))
_lower_branch = lambert(-1)
_lower_branch.__name__ = "lower_branch_of_lambertw"
LOWER_BRANCH = internal(_lower_branch, lambert_slope)


@records("scipy.special", "lambertw")
def lambertw(z: Any, k: Any = 0, tol: float = 1e-8) -> Any:
    """The branches of Lambert's W that are real in places, 0 and -1."""
    refuse_options("scipy.special.lambertw", tol=(tol, 1e-8))
    if isinstance(k, Active) or np.ndim(k) or k not in (0, -1):
        raise RecordingError(
            message(
                f"scipy.special.lambertw of the branch k = {k} is not recorded",
                "use k=0 or k=-1, or give the function a rule with numbad.custom_vjp",
            )
        )
    return (LOWER_BRANCH if k else PRINCIPAL)(numeric(z))


def riemann_zeta(x: Any) -> Any:
    """Riemann's zeta function, to the left of 1 too, where Hurwitz's is not defined."""
    from scipy.special import zeta

    return zeta(x)


RIEMANN = internal(riemann_zeta, None)
RIEMANN.title = "scipy.special.zeta"


@records("scipy.special", "zeta")
def zeta(x: Any, q: Any = None, out: Any = None) -> Any:
    """Hurwitz's zeta function, differentiated with respect to q."""
    refuse_options("scipy.special.zeta", out=(out, None))
    return RIEMANN(numeric(x)) if q is None else ELEMENTWISE["zeta"](numeric(x), numeric(q))


@records("scipy.special", "polygamma")
def polygamma(n: Any, x: Any) -> Any:
    """Derivatives of the digamma function."""
    order = np.asarray(plain_integers(n, "the order of polygamma"), float)[()]
    recorder = recorder_of(x)
    x = to_active(x, recorder)
    sign = np.where(order % 2 == 0, -1.0, 1.0)
    factor = sign * find_ufunc("scipy.special.gamma")(order + 1.0)
    higher = factor * ELEMENTWISE["zeta"](np.maximum(order, 1.0) + 1.0, x)
    if not np.any(order == 0):
        return higher
    return np.where(order == 0, psi(x), higher)


@records("scipy.special", "multigammaln")
def multigammaln(a: Any, d: int) -> Any:
    """The logarithm of the multivariate gamma function."""
    d = int(plain_integers(d, "the dimension of multigammaln"))
    a = numeric(a)
    if np.any(a <= 0.5 * (d - 1)):
        raise ValueError(f"condition a ({a}) > 0.5 * (d-1) ({0.5 * (d - 1)}) not met")
    total = d * (d - 1) / 4.0 * math.log(math.pi)
    for j in range(d):
        total = total + sp("gammaln", a - 0.5 * j)
    return total


@records("scipy.special", "factorial")
def factorial(n: Any, exact: bool = False, extend: str = "zero") -> Any:
    """gamma(n + 1), and 0 for negative numbers."""
    refuse_options("scipy.special.factorial", exact=(exact, False), extend=(extend, "zero"))
    n = numeric(n)
    return np.where(n < 0.0, 0.0, sp("gamma", np.where(n < 0.0, 0.0, n) + 1.0))


@records("scipy.special", "comb")
def comb(N: Any, k: Any, *, exact: bool = False, repetition: bool = False) -> Any:
    """Binomial coefficients of real numbers, 0 where k or N - k is negative."""
    refuse_options("scipy.special.comb", exact=(exact, False))
    N, k = numeric(N), numeric(k)
    if repetition:
        N = N + k - 1.0
    return np.where((k <= N) & (N >= 0.0) & (k >= 0.0), call_ufunc(find_ufunc("scipy.special.binom"), (N, k)), 0.0)


@records("scipy.special", "logsumexp")
def logsumexp(a: Any, axis: Any = None, b: Any = None, keepdims: bool = False, return_sign: bool = False) -> Any:
    """The logarithm of a sum of exponentials."""
    return functions.logsumexp(a, axis, b, keepdims, return_sign)


@records("scipy.special", "softmax")
def softmax(x: Any, axis: Any = None) -> Any:
    """Exponentials divided by their sum."""
    return functions.softmax(x, axis)


@records("scipy.special", "log_softmax")
def log_softmax(x: Any, axis: Any = None) -> Any:
    """The logarithm of the softmax."""
    return functions.log_softmax(x, axis)
