"""scipy.spatial.distance: distances between rows of matrices, and between vectors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from numbad.errors import RecordingError, message
from numbad.numpy_api.functions import asarray
from numbad.ops.definition import BY_NAME
from numbad.recording.active import Active
from numbad.recording.operands import recorder_of, to_array
from numbad.recording.roots import record_root
from numbad.scipy_api.dispatch import numeric, records, refuse_options

MODULE = "scipy.spatial.distance"
Distance = Callable[..., Any]
DISTANCES: dict[str, Distance] = {}  # name in SciPy -> function of vectors along the last axis, and options


def distance(function: Distance) -> Distance:
    """Register a distance of vectors that lie along the last axis of two arrays."""
    DISTANCES[function.__name__] = function
    return function


def weighed(terms: Any, w: Any) -> Any:
    """Return terms times weights, which may not be negative."""
    if w is None:
        return terms
    w = numeric(w)
    if np.ndim(w) != 1 or np.shape(w)[0] != np.shape(terms)[-1]:
        raise ValueError(f"Weights must have same size as input vector. {np.shape(w)} vs. {np.shape(terms)[-1]}")
    if np.any(w < 0.0):
        raise ValueError("Input weights should be all non-negative")
    return terms * w


@distance
def sqeuclidean(u: Any, v: Any, w: Any = None) -> Any:
    """The sum of squared differences."""
    return np.sum(weighed(np.square(u - v), w), axis=-1)


@distance
def euclidean(u: Any, v: Any, w: Any = None) -> Any:
    """The root of the sum of squared differences."""
    return record_root(sqeuclidean(u, v, w))


def edge(x: Any) -> Any:
    """Return absolute values, which have no second derivatives at zero."""
    return BY_NAME["edge"](x) if isinstance(x, Active) else np.abs(x)


@distance
def cityblock(u: Any, v: Any, w: Any = None) -> Any:
    """The sum of absolute differences."""
    return np.sum(weighed(edge(u - v), w), axis=-1)


@distance
def chebyshev(u: Any, v: Any, w: Any = None) -> Any:
    """The largest absolute difference among those whose weight is not zero."""
    size = edge(u - v)
    if w is not None:
        weighed(size, w)
        size = np.where(numeric(w) > 0.0, size, 0.0)
    return np.max(size, axis=-1)


@distance
def minkowski(u: Any, v: Any, p: Any = 2, w: Any = None) -> Any:
    """The norm of order p of the differences."""
    if p <= 0:
        raise ValueError("p must be greater than 0")
    if p == np.inf:
        return chebyshev(u, v, w)
    if p == 2:
        return euclidean(u, v, w)
    if w is None:
        return np.linalg.norm(u - v, p, axis=-1)
    weighed(u - v, w)
    return np.linalg.norm((u - v) * numeric(w) ** (1.0 / p), p, axis=-1)


@distance
def seuclidean(u: Any, v: Any, V: Any) -> Any:
    """The Euclidean distance with differences in units of the roots of variances."""
    return euclidean(u, v, 1.0 / numeric(V))


@distance
def correlation(u: Any, v: Any, w: Any = None, centered: bool = True) -> Any:
    """One less the correlation of two vectors."""
    w = np.ones(np.shape(u)[-1]) if w is None else numeric(w)
    w = w / np.sum(w)
    if centered:
        u = u - np.sum(weighed(u, w), axis=-1, keepdims=True)
        v = v - np.sum(weighed(v, w), axis=-1, keepdims=True)
    lengths = [record_root(np.sum(weighed(part * part, w), axis=-1)) for part in (u, v)]
    return 1.0 - np.sum(weighed(u * v, w), axis=-1) / (lengths[0] * lengths[1])


@distance
def cosine(u: Any, v: Any, w: Any = None) -> Any:
    """One less the cosine of the angle between two vectors."""
    return correlation(u, v, w, centered=False)


@distance
def mahalanobis(u: Any, v: Any, VI: Any) -> Any:
    """Length of a difference measured by an inverse covariance."""
    difference = u - v
    return record_root(np.sum((difference @ numeric(VI)) * difference, axis=-1))


@distance
def canberra(u: Any, v: Any, w: Any = None) -> Any:
    """The sum of absolute differences in units of the sizes of both numbers; 0 where both are 0."""
    size = np.abs(u) + np.abs(v)
    empty = size == 0.0
    return np.sum(weighed(np.where(empty, 0.0, edge(u - v) / np.where(empty, 1.0, size)), w), axis=-1)


@distance
def braycurtis(u: Any, v: Any, w: Any = None) -> Any:
    """The sum of absolute differences in units of that of absolute sums."""
    return np.sum(weighed(edge(u - v), w), axis=-1) / np.sum(weighed(np.abs(u + v), w), axis=-1)


# ---------------------------------------------------------------- between two vectors


def of_vectors(name: str) -> Distance:
    """Make the recording version of a distance of two vectors."""

    def function(u: Any, v: Any, *args: Any, **options: Any) -> Any:
        u, v = numeric(u), numeric(v)
        if np.ndim(u) != 1 or np.ndim(v) != 1:
            raise ValueError("Input vector should be 1-D.")
        return DISTANCES[name](u, v, *args, **options)

    function.__name__ = name
    function.__doc__ = f"The recording version of {name}."
    return function


for _name in DISTANCES:
    records(MODULE, _name)(of_vectors(_name))


# ---------------------------------------------------------------- between rows


def find_distance(metric: Any, caller: str) -> Distance:
    """Return the distance that SciPy has by a name or another of its names."""
    from scipy.spatial import distance as scipys

    known = getattr(scipys, "_METRIC_ALIAS", {}).get(str(metric).lower())
    name = str(metric).lower() if known is None else known.canonical_name
    if name in DISTANCES:
        return DISTANCES[name]
    raise RecordingError(
        message(
            f"{caller}: the metric {metric!r} is not recorded",
            f"use one of {', '.join(sorted(DISTANCES))}, or a function of two vectors in NumPy",
        )
    )


def with_defaults(measure: Distance, options: dict[str, Any], rows: Any) -> dict[str, Any]:
    """Return the options of a distance; variances and covariances that are not given are those of all rows."""
    options = {name: value for name, value in options.items() if value is not None or name not in ("V", "VI")}
    if measure is DISTANCES["seuclidean"] and "V" not in options:
        options["V"] = np.var(rows, axis=0, ddof=1)
    if measure is DISTANCES["mahalanobis"] and "VI" not in options:
        if len(rows) <= np.shape(rows)[1]:
            raise ValueError(
                f"The number of observations ({len(rows)}) is too small; the covariance matrix is singular."
            )
        options["VI"] = np.linalg.inv(np.atleast_2d(np.cov(rows.T))).T
    return options


def matrix(X: Any, name: str, recorder: Any) -> Any:
    """Return points in rows as a recording array."""
    found = to_array(asarray(X), recorder)
    if found.ndim != 2:
        raise ValueError(f"{name} must be a 2-dimensional array.")
    return found


@records(MODULE, "cdist")
def cdist(XA: Any, XB: Any, metric: Any = "euclidean", *, out: Any = None, **options: Any) -> Any:
    """Distances between the rows of two matrices."""
    refuse_options("scipy.spatial.distance.cdist", out=(out, None))
    recorder = recorder_of(XA, XB, *options.values())
    one, other = matrix(XA, "XA", recorder), matrix(XB, "XB", recorder)
    if one.shape[1] != other.shape[1]:
        raise ValueError("XA and XB must have the same number of columns (i.e. feature dimension.)")
    if callable(metric):
        return np.stack([np.stack([metric(u, v, **options) for v in other]) for u in one])
    measure = find_distance(metric, "scipy.spatial.distance.cdist")
    options = with_defaults(measure, options, np.concatenate([one, other]))
    return measure(one[:, None, :], other[None, :, :], **options)


@records(MODULE, "pdist")
def pdist(X: Any, metric: Any = "euclidean", *, out: Any = None, **options: Any) -> Any:
    """Distances between the rows of a matrix, each pair once."""
    refuse_options("scipy.spatial.distance.pdist", out=(out, None))
    points = matrix(X, "X", recorder_of(X, *options.values()))
    rows, columns = np.triu_indices(points.shape[0], 1)
    if callable(metric):
        return np.stack([metric(points[i], points[j], **options) for i, j in zip(rows, columns, strict=True)])
    measure = find_distance(metric, "scipy.spatial.distance.pdist")
    return measure(points[rows], points[columns], **with_defaults(measure, options, points))


@records(MODULE, "squareform")
def squareform(X: Any, force: str = "no", checks: bool = True) -> Any:
    """Distances of pairs as a symmetric matrix, or the other way."""
    distances = to_array(asarray(X))
    wanted = {"tomatrix": 1, "tovector": 2}.get(force.lower(), distances.ndim)
    if distances.ndim not in (1, 2) or wanted != distances.ndim:
        raise ValueError(f"squareform: force={force!r} does not fit an array of shape {distances.shape}")
    if distances.ndim == 2:
        return condensed(distances, checks)
    side = int(np.ceil(np.sqrt(2 * distances.size)))
    if side * (side - 1) != 2 * distances.size:
        raise ValueError(
            "Incompatible vector size. It must be a binomial coefficient n choose 2 for some integer n >= 2."
        )
    if not side:
        return np.zeros((1, 1))
    rows, columns = np.triu_indices(side, 1)
    place = np.zeros((side, side), int)
    place[rows, columns] = place[columns, rows] = np.arange(1, len(rows) + 1)
    return np.concatenate([np.zeros(1), distances])[place]


def condensed(distances: Any, checks: bool) -> Any:
    """Return the upper triangle of a distance matrix as a vector."""
    if distances.shape[0] != distances.shape[1]:
        raise ValueError("The matrix argument must be square.")
    if checks and not np.all(distances == distances.T):
        raise ValueError("Distance matrix 'X' must be symmetric.")
    if checks and not np.all(np.diagonal(distances) == 0.0):
        raise ValueError("Distance matrix 'X' diagonal must be zero.")
    return distances[np.triu_indices(distances.shape[0], 1)]
