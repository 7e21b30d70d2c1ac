"""Logistic, error, normal, gamma and Bessel functions, and products with logarithms.

Ops with `host=True` are SciPy's functions, called by Python; their partials may name other host
ops. The partials of all others name compiled ops alone.
"""

from __future__ import annotations

import math

import numpy as np

from numbad.ops.definition import Interval, inf, op, where

NAN = math.nan
PI = 3.141592653589793
SQRT_HALF = 0.7071067811865476
SQRT_HALF_HIGH = 0.70703125  # the leading 8 bits: products with coarse numbers are exact, in single precision too
SQRT_HALF_LOW = 7.55311865475244e-05
TWO_OVER_SQRT_PI = 1.1283791670955126
ONE_OVER_SQRT_PI = 0.5641895835477563
HALF_SQRT_PI = 0.886226925452758
ONE_OVER_SQRT_2_PI = 0.3989422804014327
SQRT_2_OVER_PI = 0.7978845608028654
DIGAMMA_ROOT = 1.4616321449683622
DIGAMMA_ROOT_LOW = 9.549995429965697e-17

POSITIVE = Interval(0.0, inf, closed=False)
UNIT = Interval(0.0, 1.0, closed=False)


# Logistic functions


@op(ufunc="scipy.special.expit", reference="DLMF 4.2")
def sigmoid(x):
    """1 / (1 + exp(-x)) without overflow; its derivative keeps its accuracy in both tails.

    Parameters
    ----------
    x : float, ndarray or recording value
        Real numbers.

    Returns
    -------
    float or ndarray of float64 or float32
        Of the shape of `x`; float32 if `x` is, else float64.

    Notes
    -----
    The derivative is z * (1 - z) for the value z, computed as z * sigmoid(-x).

    References
    ----------
    .. [1] NIST Digital Library of Mathematical Functions, section 4.2.

    Examples
    --------
    >>> import numbad
    >>> float(numbad.sigmoid(0.0)), numbad.grad(numbad.sigmoid)(0.0)
    (0.5, 0.25)
    """
    small = np.exp(-abs(x))
    return where(x < 0.0, small, 1.0) / (1.0 + small)


@sigmoid.partials
def sigmoid_partials(x, z):
    return z * sigmoid(-x)


@op(ufunc="", reference="DLMF 4.2")
def softplus(x):
    """log(1 + exp(x)) without overflow, accurate in both tails.

    Parameters
    ----------
    x : float, ndarray or recording value
        Real numbers.

    Returns
    -------
    float or ndarray of float64 or float32
        Of the shape of `x`; float32 if `x` is, else float64.

    Notes
    -----
    The derivative is sigmoid(x).

    References
    ----------
    .. [1] NIST Digital Library of Mathematical Functions, section 4.2.

    Examples
    --------
    >>> import numbad
    >>> float(numbad.softplus(1000.0)), numbad.grad(numbad.softplus)(0.0)
    (1000.0, 0.5)
    """
    return where(x > 0.0, x, 0.0) + np.log1p(np.exp(-abs(x)))


@softplus.partials
def softplus_partials(x):
    return sigmoid(x)


@op(ufunc="scipy.special.logit", domain=UNIT, reference="DLMF 4.2")
def logit(x):
    """log(x / (1 - x)), the inverse of sigmoid, accurate near its zero at 1/2."""
    odds = x / (1.0 - x)
    return where(abs(x - 0.5) < 0.25, np.log1p((2.0 * x - 1.0) / (1.0 - x)), np.log(odds))


@logit.partials
def logit_partials(x):
    return 1.0 / (x * (1.0 - x))


# Products with logarithms


@op(ufunc="scipy.special.xlogy", domain=(Interval(), POSITIVE), reference="DLMF 4.7")
def xlogy(x, y):
    """x * log(y), and 0 where x is 0 unless y is NaN."""
    return where((x == 0.0) & (y == y), 0.0, x * np.log(y))


@xlogy.partials
def xlogy_partials(x, y):
    return np.log(y), where((x == 0.0) & (y == 0.0), 0.0, x / y)


@op(
    ufunc="scipy.special.xlog1py",
    domain=(Interval(), Interval(-1.0, inf, closed=False)),
    reference="DLMF 4.7",
)
def xlog1py(x, y):
    """x * log(1 + y), accurate near y = 0, and 0 where x is 0 unless y is NaN."""
    return where((x == 0.0) & (y == y), 0.0, x * np.log1p(y))


@xlog1py.partials
def xlog1py_partials(x, y):
    return np.log1p(y), where((x == 0.0) & (y == -1.0), 0.0, x / (1.0 + y))


@op(
    ufunc="scipy.special.entr",
    domain=Interval(0.0, inf),
    kinks=(0.0,),
    reference="DLMF 4.7",
    note="the derivative -log(x) - 1 crosses 0 at 1/e, where its error is 1 ulp of 1, not of itself",
)
def entr(x):
    """-x * log(x), 0 at 0 and -inf below: a term of an entropy."""
    return where(x > 0.0, -x * np.log(x), where(x == 0.0, 0.0, where(x < 0.0, -inf, x)))


@entr.partials
def entr_partials(x):
    return -np.log(x) - 1.0


# Error functions and the normal distribution


@op(ufunc="", reference="DLMF 7.2; the split of x as in Cephes, expx2")
def gaussian(x):
    """exp(-x*x), where the rounding error of x*x, which the exponential would magnify, is put back."""
    squared = x * x
    coarse = np.rint(128.0 * x) / 128.0
    lost = (x - coarse) * (x + coarse) - (squared - coarse * coarse)
    return np.exp(-squared) * (1.0 - where(squared < 800.0, lost, 0.0))


@gaussian.partials
def gaussian_partials(x, z):
    return where(z == 0.0, 0.0, -2.0 * x * z)


@op(ufunc="", reference="DLMF 7.2; the split of x as in Cephes, expx2")
def normal_density(x):
    """Density of the standard normal distribution; the rounding error of x*x is put back."""
    squared = x * x
    coarse = np.rint(128.0 * x) / 128.0
    lost = (x - coarse) * (x + coarse) - (squared - coarse * coarse)
    return ONE_OVER_SQRT_2_PI * np.exp(-0.5 * squared) * (1.0 - where(squared < 1600.0, 0.5 * lost, 0.0))


@normal_density.partials
def normal_density_partials(x, z):
    return where(z == 0.0, 0.0, -x * z)


@op(ufunc="scipy.special.erf", reference="DLMF 7.2")
def erf(x):
    """Error function; its derivative keeps its accuracy in the tails.

    Parameters
    ----------
    x : float, ndarray or recording value
        Real numbers.

    Returns
    -------
    float or ndarray of float64 or float32
        Of the shape of `x`; float32 if `x` is, else float64.

    Notes
    -----
    The derivative is 2 / sqrt(pi) * exp(-x * x).

    References
    ----------
    .. [1] NIST Digital Library of Mathematical Functions, section 7.2.

    Examples
    --------
    >>> import numbad
    >>> float(numbad.erf(0.0)), numbad.grad(numbad.erf)(0.0)
    (0.0, 1.1283791670955126)
    """
    return math.erf(x)


@erf.partials
def erf_partials(x):
    return TWO_OVER_SQRT_PI * gaussian(x)


@op(ufunc="scipy.special.erfc", reference="DLMF 7.2")
def erfc(x):
    """Complementary error function, 1 - erf(x), accurate in the right tail.

    Parameters
    ----------
    x : float, ndarray or recording value
        Real numbers.

    Returns
    -------
    float or ndarray of float64 or float32
        Of the shape of `x`; float32 if `x` is, else float64.

    Notes
    -----
    The derivative is -2 / sqrt(pi) * exp(-x * x).

    References
    ----------
    .. [1] NIST Digital Library of Mathematical Functions, section 7.2.

    Examples
    --------
    >>> import numbad
    >>> float(numbad.erfc(0.0)), numbad.grad(numbad.erfc)(0.0)
    (1.0, -1.1283791670955126)
    """
    return math.erfc(x)


@erfc.partials
def erfc_partials(x):
    return -TWO_OVER_SQRT_PI * gaussian(x)


@op(ufunc="scipy.special.ndtr", reference="DLMF 7.2")
def ndtr(x):
    """Distribution function of the standard normal distribution, accurate in the left tail.

    erfc(-x / sqrt(2)) / 2, where the rounding error of -x / sqrt(2) is put back to first order.
    """
    scaled = -SQRT_HALF * x
    coarse = np.rint(128.0 * x) / 128.0
    lost = (-SQRT_HALF_HIGH * coarse - scaled) - SQRT_HALF_HIGH * (x - coarse) - SQRT_HALF_LOW * x
    slope = ONE_OVER_SQRT_PI * np.exp(-scaled * scaled)
    return 0.5 * math.erfc(scaled) - slope * where(abs(x) < 40.0, lost, 0.0)


@ndtr.partials
def ndtr_partials(x):
    return normal_density(x)


@op(
    ufunc="scipy.special.erfcx",
    reference="DLMF 7.2, 7.10, 7.12",
    note="the derivative 2*x*z - 2/sqrt(pi) cancels between 1 and 9: up to 2*x*x ulp, 190 measured",
)
def erfcx(x):
    """exp(x*x) * erfc(x), the scaled complementary error function; above 9 an asymptotic series."""
    squared = x * x
    coarse = np.rint(128.0 * x) / 128.0
    lost = (x - coarse) * (x + coarse) - (squared - coarse * coarse)
    ratio = math.erfc(x) / (np.exp(-squared) * (1.0 - where(squared < 800.0, lost, 0.0)))
    u = 0.5 / squared
    rest = 1.0 - 21.0 * u * (1.0 - 23.0 * u * (1.0 - 25.0 * u * (1.0 - 27.0 * u)))
    rest = 1.0 - 11.0 * u * (1.0 - 13.0 * u * (1.0 - 15.0 * u * (1.0 - 17.0 * u * (1.0 - 19.0 * u * rest))))
    rest = 1.0 - u * (1.0 - 3.0 * u * (1.0 - 5.0 * u * (1.0 - 7.0 * u * (1.0 - 9.0 * u * rest))))
    return where(x > 9.0, ONE_OVER_SQRT_PI / x * rest, ratio)


@erfcx.partials
def erfcx_partials(x, z):
    u = 0.5 / (x * x)
    rest = 1.0 - 23.0 * u * (1.0 - 25.0 * u * (1.0 - 27.0 * u * (1.0 - 29.0 * u)))
    rest = 1.0 - 13.0 * u * (1.0 - 15.0 * u * (1.0 - 17.0 * u * (1.0 - 19.0 * u * (1.0 - 21.0 * u * rest))))
    rest = 1.0 - 3.0 * u * (1.0 - 5.0 * u * (1.0 - 7.0 * u * (1.0 - 9.0 * u * (1.0 - 11.0 * u * rest))))
    return where(x > 9.0, -ONE_OVER_SQRT_PI / x / x * rest, 2.0 * x * z - TWO_OVER_SQRT_PI)


@op(ufunc="scipy.special.log_ndtr", reference="DLMF 7.2, 7.12")
def log_ndtr(x):
    """Logarithm of the standard normal distribution function, right in both tails.

    From ndtr(-|x|), whose rounding error is put back as in `ndtr`; below -12.5 an asymptotic series.
    """
    size = abs(x)
    scaled = SQRT_HALF * size
    coarse = np.rint(128.0 * size) / 128.0
    lost = (SQRT_HALF_HIGH * coarse - scaled) + SQRT_HALF_HIGH * (size - coarse) + SQRT_HALF_LOW * size
    slope = ONE_OVER_SQRT_PI * np.exp(-scaled * scaled)
    lower = 0.5 * math.erfc(scaled) - slope * where(size < 40.0, lost, 0.0)
    u = 1.0 / (x * x)
    rest = 1.0 - 21.0 * u * (1.0 - 23.0 * u * (1.0 - 25.0 * u * (1.0 - 27.0 * u)))
    rest = 1.0 - 11.0 * u * (1.0 - 13.0 * u * (1.0 - 15.0 * u * (1.0 - 17.0 * u * (1.0 - 19.0 * u * rest))))
    rest = 1.0 - u * (1.0 - 3.0 * u * (1.0 - 5.0 * u * (1.0 - 7.0 * u * (1.0 - 9.0 * u * rest))))
    far = x < -12.5
    left = np.log(where(far, ONE_OVER_SQRT_2_PI / size * rest, lower)) - where(far, 0.5 * x * x, 0.0)
    return where(x > 0.0, np.log1p(-lower), left)


@log_ndtr.partials
def log_ndtr_partials(x):
    return where(x < 0.0, SQRT_2_OVER_PI / erfcx(-SQRT_HALF * x), normal_density(x) / ndtr(x))


@op(
    ufunc="scipy.special.erfinv",
    host=True,
    domain=Interval(-1.0, 1.0, closed=False),
    reference="DLMF 7.17",
    note="the derivative magnifies the rounding of the value by 2*z*z: 75 ulp measured at 1 - 1e-14",
)
def erfinv(x):
    """Inverse of the error function."""
    from scipy import special

    return special.erfinv(x)


@erfinv.partials
def erfinv_partials(z):
    return HALF_SQRT_PI / gaussian(z)


@op(
    ufunc="scipy.special.erfcinv",
    host=True,
    domain=Interval(0.0, 2.0, closed=False),
    reference="DLMF 7.17",
    note="the derivative magnifies the rounding of the value by 2*z*z: 100 ulp measured at 1e-14, 1400 possible",
)
def erfcinv(x):
    """Inverse of the complementary error function, accurate for x near 0."""
    from scipy import special

    return special.erfcinv(x)


@erfcinv.partials
def erfcinv_partials(z):
    return -HALF_SQRT_PI / gaussian(z)


@op(
    ufunc="scipy.special.ndtri",
    host=True,
    domain=UNIT,
    reference="DLMF 7.17",
    note="the derivative magnifies the rounding of the value by z*z: 280 ulp measured at 1e-300",
)
def ndtri(x):
    """Quantile of the standard normal distribution, the inverse of ndtr."""
    from scipy import special

    return special.ndtri(x)


@ndtri.partials
def ndtri_partials(z):
    return 1.0 / normal_density(z)


# Gamma functions


@op(
    ufunc="",
    domain=(Interval(1.0, 12.0, closed=False), POSITIVE),
    reference="DLMF 25.11.5, 25.11.17",
    note="the derivative with respect to x is NaN: no closed form; for y near 0 and an x that is not an integer the "
    "rounding of x + 1 is magnified by log(y): 75 ulp measured at y = 1e-8",
)
def hurwitz_zeta(x, y):
    """Hurwitz zeta function, the sum of (y + k)**-x over all k >= 0, for x > 1 and y > 0.

    Ten terms and an Euler-Maclaurin remainder, enough for x up to 12.
    """
    s = -x
    near = (y + 9.0) ** s + (y + 8.0) ** s + (y + 7.0) ** s + (y + 6.0) ** s + (y + 5.0) ** s
    near = near + (y + 4.0) ** s + (y + 3.0) ** s + (y + 2.0) ** s + (y + 1.0) ** s + y**s
    far = y + 10.0
    v = 1.0 / far
    u = v * v
    rest = 1.0 - (x + 11.0) * (x + 12.0) * u * 0.02532561505065123 * (
        1.0 - (x + 13.0) * (x + 14.0) * u * 0.02532913165266106
    )
    rest = 1.0 - (x + 7.0) * (x + 8.0) * u * 0.025252525252525252 * (
        1.0 - (x + 9.0) * (x + 10.0) * u * 0.02531135531135531 * rest
    )
    rest = 1.0 - (x + 3.0) * (x + 4.0) * u / 42.0 * (1.0 - (x + 5.0) * (x + 6.0) * u / 40.0 * rest)
    rest = x * v / 12.0 * (1.0 - (x + 1.0) * (x + 2.0) * u / 60.0 * rest)
    result = near + far ** (1.0 - x) * (1.0 / (x - 1.0) + v * (0.5 + rest))
    return where(y < 0.0, NAN, result)


@hurwitz_zeta.partials
def hurwitz_zeta_partials(x, y):
    return NAN, -x * hurwitz_zeta(x + 1.0, y)


@op(ufunc="scipy.special.psi", domain=POSITIVE, reference="DLMF 5.5.2, 5.5.4, 5.11.2")
def digamma(x):
    """Logarithmic derivative of the gamma function, accurate near its positive root.

    On (0, 3] a rational function of x moved to [1, 2], above an asymptotic series eight steps
    further on, below zero the reflection formula; NaN at the negative integers.
    """
    t = where(x > 0.0, x, 1.0 - x)
    moved = where(t < 1.0, t + 1.0, where(t > 2.0, t - 1.0, t))
    v = moved - 1.5
    p = 0.06552136794893776 + v * (0.0035369185229135415 + v * (1.9227634434238662e-05 - v * 2.1371909144303333e-07))
    p = 0.9510558760318328 + v * (1.0786473286494878 + v * (0.41869245850949033 + v * p))
    q = 0.22226135682897646 + v * (0.023995076433558565 + v * 0.000857691360255349)
    q = 1.0 + v * (1.5795862133768737 + v * (0.8909108601153678 + v * q))
    step = where(t < 1.0, -1.0 / t, where(t > 2.0, 1.0 / moved, 0.0))
    close = ((moved - DIGAMMA_ROOT) - DIGAMMA_ROOT_LOW) * (p / q) + step
    far = t + 8.0
    steps = 1.0 / (t + 7.0) + 1.0 / (t + 6.0) + 1.0 / (t + 5.0) + 1.0 / (t + 4.0)
    steps = steps + 1.0 / (t + 3.0) + 1.0 / (t + 2.0) + 1.0 / (t + 1.0) + 1.0 / t
    u = 1.0 / (far * far)
    series = 1.0 / 240.0 - u * (1.0 / 132.0 - u * (691.0 / 32760.0 - u / 12.0))
    series = u * (1.0 / 12.0 - u * (1.0 / 120.0 - u * (1.0 / 252.0 - u * series)))
    positive = where(t > 3.0, np.log(far) - (steps + 0.5 / far + series), close)
    turn = where(abs(x) < 0.5, x, x - np.rint(x))
    negative = where((turn == 0.0) & (x != 0.0), NAN, positive - PI / np.tan(PI * turn))
    return where(x > 0.0, positive, negative)


@digamma.partials
def digamma_partials(x):
    right = hurwitz_zeta(2.0, where(x > 0.0, x, 1.0 - x))
    turn = PI / np.sin(PI * (x - np.rint(x)))
    return where(x > 0.0, right, turn * turn - right)


@op(ufunc="scipy.special.gammaln", domain=POSITIVE, reference="DLMF 5.2.2")
def gammaln(x):
    """Logarithm of the absolute value of the gamma function."""
    return math.lgamma(x)


@gammaln.partials
def gammaln_partials(x):
    return digamma(x)


@op(ufunc="scipy.special.gamma", domain=POSITIVE, reference="DLMF 5.2.2")
def gamma(x):
    """Gamma function."""
    return math.gamma(x)


@gamma.partials
def gamma_partials(x, z):
    return z * digamma(x)


# Exponential integrals and Bessel functions


@op(
    ufunc="scipy.special.expi",
    host=True,
    kinks=(0.0,),
    reference="DLMF 6.2.5",
    note="SciPy's value: 190 ulp measured near x = 40, 8 ulp near x = -1, and relative error without bound at 0.3725",
)
def expi(x):
    """Exponential integral Ei."""
    from scipy import special

    return special.expi(x)


@expi.partials
def expi_partials(x):
    return np.exp(x) / x


@op(
    ufunc="scipy.special.exp1",
    host=True,
    domain=POSITIVE,
    reference="DLMF 6.2.1",
    note="SciPy's value: 8 ulp measured near x = 1",
)
def exp1(x):
    """Exponential integral E1."""
    from scipy import special

    return special.exp1(x)


@exp1.partials
def exp1_partials(x):
    return -np.exp(-x) / x


@op(
    ufunc="scipy.special.jv",
    host=True,
    reference="DLMF 10.6.1",
    note="SciPy's value is accurate relative to sqrt(2/(pi*y)), not near its zeros; 22 ulp measured for y near 0, "
    "13 in the derivative; NaN for huge y",
)
def jv(x, y):
    """Bessel function of the first kind, of order x at y; the derivative with respect to x is NaN."""
    from scipy import special

    return special.jv(x, y)


@jv.partials
def jv_partials(x, y):
    return NAN, 0.5 * (jv(x - 1.0, y) - jv(x + 1.0, y))


@op(
    ufunc="scipy.special.j0",
    host=True,
    reference="DLMF 10.6.3",
    note="SciPy's value is accurate relative to sqrt(2/(pi*x)), not near its zeros",
)
def j0(x):
    """Bessel function of the first kind of order 0."""
    from scipy import special

    return special.j0(x)


@j0.partials
def j0_partials(x):
    return -j1(x)


@op(
    ufunc="scipy.special.j1",
    host=True,
    reference="DLMF 10.6.1",
    note="SciPy's value is accurate relative to sqrt(2/(pi*x)), not near its zeros",
)
def j1(x):
    """Bessel function of the first kind of order 1."""
    from scipy import special

    return special.j1(x)


@j1.partials
def j1_partials(x, z):
    return where((x < 1.0) & (x > -1.0), 0.5 * (j0(x) - jv(2.0, x)), j0(x) - z / x)


@op(
    ufunc="scipy.special.iv",
    host=True,
    reference="DLMF 10.29.1",
    note="SciPy's value: 11 ulp measured, the derivative 15",
)
def iv(x, y):
    """Modified Bessel function of order x at y; the derivative with respect to x is NaN."""
    from scipy import special

    return special.iv(x, y)


@iv.partials
def iv_partials(x, y):
    return NAN, 0.5 * (iv(x - 1.0, y) + iv(x + 1.0, y))


@op(ufunc="scipy.special.i0", host=True, reference="DLMF 10.29.3", note="")
def i0(x):
    """Modified Bessel function of order 0."""
    from scipy import special

    return special.i0(x)


@i0.partials
def i0_partials(x):
    return i1(x)


@op(
    ufunc="scipy.special.i1",
    host=True,
    reference="DLMF 10.29.1",
    note="SciPy's value: 7 ulp measured near x = 6",
)
def i1(x):
    """Modified Bessel function of order 1."""
    from scipy import special

    return special.i1(x)


@i1.partials
def i1_partials(x, z):
    return where((x < 1.0) & (x > -1.0), 0.5 * (i0(x) + iv(2.0, x)), i0(x) - z / x)


@op(
    ufunc="scipy.special.ive",
    host=True,
    kinks=(0.0,),
    reference="DLMF 10.29.1",
    note="the derivative is a difference of nearly equal terms for large y: 2*y ulp, 250 measured near its zero; "
    "SciPy's value: 39 ulp measured for y near 0, NaN for huge y",
)
def ive(x, y):
    """exp(-|y|) times the modified Bessel function of order x at y; the derivative with respect to x is NaN."""
    from scipy import special

    return special.ive(x, y)


@ive.partials
def ive_partials(x, y):
    return NAN, 0.5 * (ive(x - 1.0, y) + ive(x + 1.0, y)) - np.sign(y) * ive(x, y)


@op(
    ufunc="scipy.special.i0e",
    host=True,
    kinks=(0.0,),
    reference="DLMF 10.29.3",
    note="SciPy's value: 7 ulp; the derivative is a difference of nearly equal terms for large x: 2*x ulp",
)
def i0e(x):
    """exp(-|x|) times the modified Bessel function of order 0; its derivative at 0 is 0."""
    from scipy import special

    return special.i0e(x)


@i0e.partials
def i0e_partials(x, z):
    return i1e(x) - np.sign(x) * z


@op(
    ufunc="scipy.special.i1e",
    host=True,
    kinks=(0.0,),
    reference="DLMF 10.29.1",
    note="SciPy's value: 8 ulp; the derivative is a difference of nearly equal terms for large x: 2*x ulp",
)
def i1e(x):
    """exp(-|x|) times the modified Bessel function of order 1."""
    from scipy import special

    return special.i1e(x)


@i1e.partials
def i1e_partials(x, z):
    slope = where((x < 1.0) & (x > -1.0), 0.5 * (i0e(x) + ive(2.0, x)), i0e(x) - z / x)
    return slope - np.sign(x) * z
