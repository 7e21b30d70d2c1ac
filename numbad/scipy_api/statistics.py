"""scipy.stats: densities and distribution functions, by the formulas that SciPy's distributions carry.

A distribution of SciPy is a class with formulas for its standard form (`_logpdf`, `_cdf`, ...), which are written in
ufuncs and so can be recorded. What is around them, the shift and the scale, the support and the check of parameters,
is written here for recording values. Where a formula is missing, SciPy's distribution function is an array op whose
derivative with respect to x is the density.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from numbad.errors import NumbadError, RecordingError, message
from numbad.numpy_api.functions import asarray
from numbad.recording.operands import to_active
from numbad.recording.recorder import current
from numbad.scipy_api.dispatch import numeric, records, refuse_options
from numbad.scipy_api.elementwise import Elementwise

FALLBACKS: dict[tuple[Any, str, int], Elementwise] = {}


def recording(value: Any) -> Any:
    """Return an argument as a recording value."""
    return to_active(numeric(value), current())


def standard_arguments(distribution: Any, x: Any, args: Any, keywords: Any) -> tuple[Any, Any, Any, tuple[Any, ...]]:
    """Return x, location, scale and shape parameters as recording values."""
    shapes, location, scale = distribution._parse_args(*args, **keywords)
    return recording(x), numeric(location), numeric(scale), tuple(numeric(part) for part in shapes)


def valid(distribution: Any, shapes: tuple[Any, ...]) -> Any:
    """Whether parameters are allowed, as the distribution says."""
    from scipy.stats._distn_infrastructure import rv_generic

    if type(distribution)._argcheck is not rv_generic._argcheck:
        return distribution._argcheck(*shapes)
    found: Any = True
    for part in shapes:
        found = np.logical_and(found, part > 0.0)
    return found


def formula(distribution: Any, name: str, x: Any, shapes: tuple[Any, ...]) -> Any:
    """Return the distribution's own formula for the standard form, recorded; a RecordingError if it cannot be."""
    try:
        with np.errstate(all="ignore"):
            return getattr(distribution, f"_{name}")(x, *shapes)
    except (TypeError, ValueError, AttributeError, IndexError, NotImplementedError) as error:
        raise RecordingError(
            message(
                f"scipy.stats.{distribution.name}.{name} is not recorded ({type(error).__name__} in SciPy's formula)",
                "write the formula with functions that are recorded, or give it a rule with numbad.custom_vjp",
            )
        ) from error


def density(distribution: Any, name: str, x: Any, shapes: tuple[Any, ...]) -> Any:
    """Return the density or its logarithm, one from the other where only that can be recorded."""
    other, convert = {
        "pdf": ("logpdf", np.exp),
        "logpdf": ("pdf", np.log),
        "pmf": ("logpmf", np.exp),
        "logpmf": ("pmf", np.log),
    }[name]
    try:
        return formula(distribution, name, x, shapes)
    except NumbadError:
        return convert(formula(distribution, other, x, shapes))


def integral(distribution: Any, name: str, x: Any, shapes: tuple[Any, ...]) -> Any:
    """Return a distribution function or its inverse: by formula, else SciPy's with the density as derivative."""
    if name in ("logcdf", "logsf"):
        try:
            return formula(distribution, name, x, shapes)
        except NumbadError:
            return np.log(integral(distribution, name[3:], x, shapes))
    try:
        return formula(distribution, name, x, shapes)
    except NumbadError:
        if not hasattr(distribution, "_pdf"):
            raise
    key = (distribution, name, len(shapes))
    if key not in FALLBACKS:
        FALLBACKS[key] = fallback(distribution, name, len(shapes))
    return FALLBACKS[key](x, *shapes)


def fallback(distribution: Any, name: str, count: int) -> Elementwise:
    """Return SciPy's own function of the standard form as an array op."""

    def primal(x: Any, *shapes: Any) -> Any:
        return getattr(distribution, name)(x, *shapes)

    def at(z: Any, x: Any, shapes: tuple[Any, ...]) -> Any:
        return density(distribution, "pdf", x, shapes)

    slope: Callable[..., Any] = {
        "cdf": lambda z, x, *shapes: at(z, x, shapes),
        "sf": lambda z, x, *shapes: -at(z, x, shapes),
        "ppf": lambda z, q, *shapes: 1.0 / at(q, z, shapes),
        "isf": lambda z, q, *shapes: -1.0 / at(q, z, shapes),
    }[name]
    primal.__name__ = f"{distribution.name}_{name}"
    return Elementwise(primal, f"scipy.stats.{distribution.name}.{name}", (slope, *[None] * count))


@records("scipy._lib.array_api_extra", "apply_where")
def apply_where(cond: Any, args: Any, f1: Any, f2: Any = None, /, *, fill_value: Any = None, **_: Any) -> Any:
    """One function where a condition holds, another elsewhere: SciPy's formulas use it."""
    values = args if isinstance(args, (list, tuple)) else (args,)
    return np.where(cond, f1(*values), fill_value if f2 is None else f2(*values))


# ---------------------------------------------------------------- continuous distributions


def within(value: Any, inside: Any, outside: Any, allowed: Any) -> Any:
    """Select a value inside of the support, and NaN where parameters are not allowed."""
    found = np.where(inside, value, outside)
    return found if allowed is True else np.where(allowed, found, np.nan)


def standardise(distribution: Any, x: Any, args: tuple[Any, ...], keywords: dict[str, Any]) -> tuple[Any, ...]:
    """Return x without location and scale, the scale, the shapes, the support, and where parameters are allowed."""
    x, location, scale, shapes = standard_arguments(distribution, x, args, keywords)
    allowed = np.logical_and(valid(distribution, shapes), scale > 0.0)
    return (x - location) / scale, scale, shapes, distribution._get_support(*shapes), allowed


@records("scipy.stats", "rv_continuous.pdf")
def pdf(distribution: Any, x: Any, *args: Any, **keywords: Any) -> Any:
    """Density."""
    y, scale, shapes, (low, high), allowed = standardise(distribution, x, args, keywords)
    return within(density(distribution, "pdf", y, shapes) / scale, (y >= low) & (y <= high), 0.0, allowed)


@records("scipy.stats", "rv_continuous.logpdf")
def logpdf(distribution: Any, x: Any, *args: Any, **keywords: Any) -> Any:
    """Logarithm of the density."""
    y, scale, shapes, (low, high), allowed = standardise(distribution, x, args, keywords)
    value = density(distribution, "logpdf", y, shapes) - np.log(scale)
    return within(value, (y >= low) & (y <= high), -np.inf, allowed)


def distribution_function(name: str) -> Callable[..., Any]:
    """Make the recording version of cdf, sf or one of their logarithms."""

    def function(distribution: Any, x: Any, *args: Any, **keywords: Any) -> Any:
        y, _, shapes, (low, high), allowed = standardise(distribution, x, args, keywords)
        below, above = (0.0, 1.0) if name.endswith("cdf") else (1.0, 0.0)
        if name.startswith("log"):
            below, above = (-np.inf, 0.0) if below == 0.0 else (0.0, -np.inf)
        value = integral(distribution, name, y, shapes)
        return within(value, (y > low) & (y < high), np.where(y <= low, below, above), allowed)

    function.__doc__ = f"The recording version of {name}."
    return function


def quantile_function(name: str) -> Callable[..., Any]:
    """Make the recording version of ppf or isf."""

    def function(distribution: Any, q: Any, *args: Any, **keywords: Any) -> Any:
        q, location, scale, shapes = standard_arguments(distribution, q, args, keywords)
        low, high = distribution._get_support(*shapes)
        allowed = np.logical_and(valid(distribution, shapes), scale > 0.0) & (q >= 0.0) & (q <= 1.0)
        first, last = (low, high) if name == "ppf" else (high, low)
        value = integral(distribution, name, q, shapes)
        ends = np.where(q <= 0.0, first, last)
        return within(within(value, (q > 0.0) & (q < 1.0), ends, True) * scale + location, True, np.nan, allowed)

    function.__doc__ = f"The recording version of {name}."
    return function


for _name in ("cdf", "sf", "logcdf", "logsf"):
    records("scipy.stats", f"rv_continuous.{_name}")(distribution_function(_name))
for _name in ("ppf", "isf"):
    records("scipy.stats", f"rv_continuous.{_name}")(quantile_function(_name))


# ---------------------------------------------------------------- discrete distributions


def discrete(name: str) -> Callable[..., Any]:
    """Make the recording version of a method of discrete distributions, which have no scale."""

    def function(distribution: Any, k: Any, *args: Any, **keywords: Any) -> Any:
        shapes, location, _ = distribution._parse_args(*args, **keywords)
        shapes = tuple(numeric(part) for part in shapes)
        k = numeric(k) - numeric(location)
        low, high = distribution._get_support(*shapes)
        below, above = {"cdf": (0.0, 1.0), "sf": (1.0, 0.0), "logcdf": (-np.inf, 0.0), "logsf": (0.0, -np.inf)}.get(
            name, (-np.inf, -np.inf) if name == "logpmf" else (0.0, 0.0)
        )
        inside = (k >= low) & (k <= high)
        if name in ("pmf", "logpmf"):
            value = density(distribution, name, k, shapes)
            inside = inside & (np.floor(k) == k)
        else:
            value = formula(distribution, name, np.floor(k), shapes)
        return within(value, inside, np.where(k < low, below, above), valid(distribution, shapes))

    function.__doc__ = f"The recording version of {name}."
    return function


for _name in ("pmf", "logpmf", "cdf", "sf", "logcdf", "logsf"):
    records("scipy.stats", f"rv_discrete.{_name}")(discrete(_name))


# ---------------------------------------------------------------- several variables


def normal_parameters(mean: Any, cov: Any) -> tuple[int, Any, Any]:
    """Return the dimension, the mean and the covariance matrix as SciPy reads them: a scalar or a diagonal spreads."""
    cov = asarray(1.0 if cov is None else getattr(cov, "covariance", cov))
    side = np.shape(cov)[0] if np.ndim(cov) == 2 else 1
    if mean is None:
        mean = np.zeros(side)
    mean = asarray(mean)
    mean = np.reshape(mean, (1,)) if not np.ndim(mean) else mean
    if np.ndim(mean) != 1:
        raise ValueError(f"Array 'mean' must be a vector of length {side}.")
    side = np.shape(mean)[0]
    if np.ndim(cov) == 0:
        cov = cov * np.eye(side)
    elif np.ndim(cov) == 1:
        cov = np.diag(cov)
    if np.shape(cov) != (side, side):
        raise ValueError(f"Array 'cov' must be a matrix of the sides {side}; its shape is {np.shape(cov)}.")
    return side, mean, cov


def is_singular(matrix: Any) -> bool:
    """Whether SciPy takes a symmetric matrix to be singular, and projects on the eigenvectors that are left."""
    values = np.linalg.eigvalsh(matrix)
    cutoff = 1e6 * np.finfo(values.dtype).eps if values.dtype == np.float64 else 1e3 * np.finfo(np.float32).eps
    return not bool(np.all(values > cutoff * np.max(np.abs(values))))


def normal_log_density(x: Any, mean: Any, cov: Any) -> Any:
    """Return the logarithm of the multivariate normal density, by a Cholesky factor of the covariance."""
    side, mean, cov = normal_parameters(mean, cov)
    if np.ndim(x) < 2:
        x = np.reshape(x, (-1, 1) if side == 1 else (1, -1))
    shape = np.shape(x)[:-1]
    factor = np.linalg.cholesky(cov)
    whitened = np.linalg.solve(factor, np.reshape(x - mean, (-1, side)).T)
    logarithm = np.sum(np.log(np.diagonal(factor)))
    found = -0.5 * np.sum(np.square(whitened), axis=0) - logarithm - 0.5 * side * np.log(2.0 * np.pi)
    return np.reshape(found, tuple(n for n in shape if n != 1))


@records("scipy.stats._multivariate", "multivariate_normal_gen.logpdf")
def multivariate_normal_logpdf(self: Any, x: Any, mean: Any = None, cov: Any = 1, allow_singular: bool = False) -> Any:
    """Logarithm of the multivariate normal density; the covariance has to be positive definite."""
    if allow_singular and is_singular(normal_parameters(mean, cov)[2]):
        refuse_options("scipy.stats.multivariate_normal of a singular covariance", allow_singular=(True, False))
    return normal_log_density(recording(x), mean, cov)


@records("scipy.stats._multivariate", "multivariate_normal_gen.pdf")
def multivariate_normal_pdf(self: Any, x: Any, mean: Any = None, cov: Any = 1, allow_singular: bool = False) -> Any:
    """Multivariate normal density."""
    return np.exp(multivariate_normal_logpdf(self, x, mean, cov, allow_singular))


@records("scipy.stats._multivariate", "multivariate_normal_gen.entropy")
def multivariate_normal_entropy(self: Any, mean: Any = None, cov: Any = 1) -> Any:
    """Entropy of the multivariate normal distribution."""
    side, _, cov = normal_parameters(mean, cov)
    return 0.5 * side * np.log(2.0 * np.pi * np.e) + np.sum(np.log(np.diagonal(np.linalg.cholesky(cov))))


@records("scipy.stats._multivariate", "multivariate_normal_frozen.logpdf")
def frozen_normal_logpdf(self: Any, x: Any) -> Any:
    """Logarithm of the density of a distribution whose parameters are plain."""
    return normal_log_density(recording(x), self.mean, self.cov_object.covariance)


@records("scipy.stats._multivariate", "multivariate_normal_frozen.pdf")
def frozen_normal_pdf(self: Any, x: Any) -> Any:
    """Density of a distribution whose parameters are plain."""
    return np.exp(frozen_normal_logpdf(self, x))


def check_simplex(x: Any, alpha: Any) -> None:
    """Raise a ValueError, as SciPy does, where parameters are not positive or points do not lie in the simplex."""
    if np.ndim(alpha) != 1 or x.shape[0] != alpha.shape[0]:
        raise ValueError(f"Vector 'x' of shape {x.shape} must have the length of 'alpha', {alpha.shape}, or one less.")
    if not np.all(alpha > 0.0):
        raise ValueError("All parameters must be greater than 0")
    if not np.all(x >= 0.0) or not np.all(x <= 1.0) or not np.all(np.abs(np.sum(x, axis=0) - 1.0) <= 1e-9):
        raise ValueError("The input vector 'x' must lie within the normal simplex.")
    if np.any((x == 0.0) & ((alpha < 1.0)[(..., *[None] * (x.ndim - 1))])):
        raise ValueError("Each entry in 'x' must be greater than zero if its alpha is less than one.")


@records("scipy.stats._multivariate", "dirichlet_gen.logpdf")
def dirichlet_logpdf(self: Any, x: Any, alpha: Any) -> Any:
    """Logarithm of Dirichlet's density; its last coordinate may be left out."""
    from scipy.special import gammaln, xlogy

    x, alpha = recording(x), recording(alpha)
    if x.shape[0] + 1 == alpha.shape[0]:
        x = np.concatenate([x, 1.0 - np.sum(x, axis=0, keepdims=True)])
    check_simplex(x, alpha)
    constant = np.sum(gammaln(alpha)) - gammaln(np.sum(alpha))
    return np.sum(xlogy(alpha - 1.0, x.T).T, axis=0) - constant


@records("scipy.stats._multivariate", "dirichlet_gen.pdf")
def dirichlet_pdf(self: Any, x: Any, alpha: Any) -> Any:
    """Dirichlet's density."""
    return np.exp(dirichlet_logpdf(self, x, alpha))


# ---------------------------------------------------------------- statistics of samples


def sample(name: str, a: Any, nan_policy: str, **options: tuple[Any, Any]) -> Any:
    """Return a sample as an array; refuse what of the options is not recorded, and look for NaN where that is asked."""
    if nan_policy not in ("propagate", "raise", "omit"):
        raise ValueError("nan_policy must be one of {'propagate', 'raise', 'omit'}")
    refuse_options(f"scipy.stats.{name}", **options)
    a = asarray(a)
    if nan_policy == "omit":
        refuse_options(f"scipy.stats.{name}", nan_policy=(nan_policy, "propagate"))
    if nan_policy == "raise" and np.any(np.isnan(a)):
        raise ValueError("The input contains nan values")
    return a


def count_along(a: Any, axis: Any) -> int:
    """Return the number of elements along an axis, several, or all for None."""
    axes = range(np.ndim(a)) if axis is None else axis if isinstance(axis, tuple) else (axis,)
    return int(np.prod([np.shape(a)[k] for k in axes], dtype=np.int64))


def drop(found: Any, axis: Any, keepdims: bool) -> Any:
    """Return a result whose axes of length one are those of the sample, without them unless they are to stay."""
    if keepdims:
        return found
    axes = range(np.ndim(found)) if axis is None else axis if isinstance(axis, tuple) else (axis,)
    return np.squeeze(found, tuple(axes))


def central(a: Any, order: Any, axis: Any, center: Any = None) -> Any:
    """Return a central moment; the axes stay."""
    if order == 0:
        return np.mean(np.ones_like(a), axis=axis, keepdims=True)
    if order == 1 and center is None:
        return np.mean(np.zeros_like(a), axis=axis, keepdims=True)
    middle = np.mean(a, axis=axis, keepdims=True) if center is None else numeric(center)
    return np.mean((a - middle) ** order, axis=axis, keepdims=True)


def without_constants(found: Any, a: Any, axis: Any) -> Any:
    """Return a standardised moment, NaN where the sample varies no more than rounding does."""
    limit = np.square(np.finfo(float).eps * np.mean(a, axis=axis, keepdims=True))
    return np.where(central(a, 2, axis) <= limit, np.nan, found)


@records("scipy.stats", "zscore")
def zscore(a: Any, axis: Any = 0, ddof: int = 0, nan_policy: str = "propagate") -> Any:
    """Deviations in units of the standard deviation; NaN for a sample that is constant."""
    a = sample("zscore", a, nan_policy)
    constant = np.max(a, axis=axis, keepdims=True) == np.min(a, axis=axis, keepdims=True)
    deviation = np.where(constant, np.nan, np.std(a, axis=axis, ddof=ddof, keepdims=True))
    return (a - np.mean(a, axis=axis, keepdims=True)) / deviation


@records("scipy.stats", "moment")
def moment(
    a: Any,
    order: Any = 1,
    axis: Any = 0,
    nan_policy: str = "propagate",
    *,
    center: Any = None,
    keepdims: bool = False,
) -> Any:
    """A central moment, or several."""
    a = sample("moment", a, nan_policy)
    if np.any(np.asarray(order) != np.round(order)):
        raise ValueError("All elements of `order` must be integral.")
    if np.ndim(order):
        return np.stack([drop(central(a, int(k), axis, center), axis, keepdims) for k in np.ravel(order)])
    return drop(central(a, int(order), axis, center), axis, keepdims)


@records("scipy.stats", "skew")
def skew(a: Any, axis: Any = 0, bias: bool = True, nan_policy: str = "propagate", *, keepdims: bool = False) -> Any:
    """The third central moment, in units of the standard deviation."""
    a = sample("skew", a, nan_policy)
    n = count_along(a, axis)
    found = without_constants(central(a, 3, axis) / central(a, 2, axis) ** 1.5, a, axis)
    if not bias and n > 2:
        found = found * np.sqrt((n - 1.0) * n) / (n - 2.0)
    return drop(found, axis, keepdims)


@records("scipy.stats", "kurtosis")
def kurtosis(
    a: Any,
    axis: Any = 0,
    fisher: bool = True,
    bias: bool = True,
    nan_policy: str = "propagate",
    *,
    keepdims: bool = False,
) -> Any:
    """The fourth central moment, in units of the variance squared."""
    a = sample("kurtosis", a, nan_policy)
    n = count_along(a, axis)
    found = without_constants(central(a, 4, axis) / central(a, 2, axis) ** 2, a, axis)
    if not bias and n > 3:
        found = ((n * n - 1.0) * found - 3.0 * (n - 1.0) ** 2) / ((n - 2.0) * (n - 3.0)) + 3.0
    return drop(found - 3.0 if fisher else found, axis, keepdims)


@records("scipy.stats", "gmean")
def gmean(
    a: Any,
    axis: Any = 0,
    dtype: Any = None,
    weights: Any = None,
    *,
    nan_policy: str = "propagate",
    keepdims: bool = False,
) -> Any:
    """Geometric mean."""
    a = sample("gmean", a, nan_policy, dtype=(dtype, None))
    return drop(np.exp(np.average(np.log(a), axis=axis, weights=weights, keepdims=True)), axis, keepdims)


@records("scipy.stats", "hmean")
def hmean(
    a: Any,
    axis: Any = 0,
    dtype: Any = None,
    *,
    weights: Any = None,
    nan_policy: str = "propagate",
    keepdims: bool = False,
) -> Any:
    """Harmonic mean; NaN where a number is negative."""
    a = sample("hmean", a, nan_policy, dtype=(dtype, None))
    a = np.where(a < 0.0, np.nan, a)
    return drop(1.0 / np.average(1.0 / a, axis=axis, weights=weights, keepdims=True), axis, keepdims)


@records("scipy.stats", "sem")
def sem(a: Any, axis: Any = 0, ddof: int = 1, nan_policy: str = "propagate", *, keepdims: bool = False) -> Any:
    """Standard error of the mean."""
    a = sample("sem", a, nan_policy)
    found = np.std(a, axis=axis, ddof=ddof, keepdims=True) / np.sqrt(count_along(a, axis))
    return drop(found, axis, keepdims)


@records("scipy.stats", "entropy")
def entropy(
    pk: Any,
    qk: Any = None,
    base: Any = None,
    axis: Any = 0,
    *,
    nan_policy: str = "propagate",
    keepdims: bool = False,
) -> Any:
    """Entropy of probabilities, or their relative entropy."""
    from scipy.special import entr, rel_entr

    if base is not None and base <= 0:
        raise ValueError("`base` must be a positive number or `None`.")
    pk = sample("entropy", pk, nan_policy)
    pk = pk / np.sum(pk, axis=axis, keepdims=True)
    if qk is None:
        terms = entr(pk)
    else:
        qk = sample("entropy", qk, nan_policy)
        terms = rel_entr(pk, qk / np.sum(qk, axis=axis, keepdims=True))
    found = drop(np.sum(terms, axis=axis, keepdims=True), axis, keepdims)
    return found if base is None else found / np.log(base)
