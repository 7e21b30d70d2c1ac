"""scipy.spatial.distance: distances between rows of matrices, and between vectors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from numbad.errors import RecordingError, message
from numbad.helpers import asarray
from numbad.numpy_api.dispatch import recorder_of, to_array
from numbad.roots import record_root
from numbad.scipy_api.dispatch import records

MODULE = "scipy.spatial.distance"


def measure(difference: Any, metric: Any, keywords: dict[str, Any]) -> Any:
    """Return the size of differences along the last axis."""
    if metric in ("euclidean", "l2"):
        return record_root(np.sum(np.square(difference), axis=-1))
    if metric in ("sqeuclidean",):
        return np.sum(np.square(difference), axis=-1)
    if metric in ("cityblock", "manhattan", "l1"):
        return np.sum(np.abs(difference), axis=-1)
    if metric in ("chebyshev", "chebychev"):
        return np.max(np.abs(difference), axis=-1)
    if metric == "minkowski":
        return np.linalg.norm(difference, keywords.get("p", 2), axis=-1)
    raise RecordingError(
        message(
            f"scipy.spatial.distance: the metric {metric!r} is not recorded",
            "use euclidean, sqeuclidean, cityblock, chebyshev or minkowski, or write the distance in NumPy",
        )
    )


@records(MODULE, "cdist")
def cdist(XA: Any, XB: Any, metric: Any = "euclidean", *, out: Any = None, **keywords: Any) -> Any:
    """Distances between the rows of two matrices."""
    recorder = recorder_of(XA, XB)
    one, other = (to_array(asarray(part), recorder) for part in (XA, XB))
    return measure(one[:, None, :] - other[None, :, :], metric, keywords)


@records(MODULE, "pdist")
def pdist(X: Any, metric: Any = "euclidean", *, out: Any = None, **keywords: Any) -> Any:
    """Distances between the rows of a matrix, each pair once."""
    points = to_array(asarray(X))
    rows, columns = np.triu_indices(points.shape[0], 1)
    return measure(points[rows] - points[columns], metric, keywords)


@records(MODULE, "squareform")
def squareform(X: Any, force: str = "no", checks: bool = True) -> Any:
    """Distances of pairs as a symmetric matrix, or the other way."""
    distances = to_array(asarray(X))
    if distances.ndim == 2:
        return distances[np.triu_indices(distances.shape[0], 1)]
    side = int(np.ceil(np.sqrt(2 * distances.size)))
    rows, columns = np.triu_indices(side, 1)
    place = np.zeros((side, side), int)
    place[rows, columns] = place[columns, rows] = np.arange(1, len(rows) + 1)
    return np.concatenate([np.zeros(1), distances])[place]


def of_difference(metric: str) -> Callable[..., Any]:
    """Make the recording version of a distance of two vectors."""

    def function(u: Any, v: Any, *args: Any, w: Any = None, **keywords: Any) -> Any:
        difference = asarray(u) - asarray(v)
        if w is not None:
            raise RecordingError(message(f"scipy.spatial.distance.{metric}: w is not recorded", "weigh the vectors"))
        if args:
            keywords["p"] = args[0]
        return measure(difference, metric, keywords)

    function.__doc__ = f"The recording version of {metric}."
    return function


for _name in ("euclidean", "sqeuclidean", "cityblock", "chebyshev", "minkowski"):
    records(MODULE, _name)(of_difference(_name))


@records(MODULE, "cosine")
def cosine(u: Any, v: Any, w: Any = None) -> Any:
    """One less the cosine of the angle between two vectors."""
    u, v = asarray(u), asarray(v)
    w = 1.0 if w is None else w
    return 1.0 - np.sum(w * u * v) / (record_root(np.sum(w * u * u)) * record_root(np.sum(w * v * v)))


@records(MODULE, "mahalanobis")
def mahalanobis(u: Any, v: Any, VI: Any) -> Any:
    """Length of a difference measured by an inverse covariance."""
    difference = asarray(u) - asarray(v)
    return record_root(difference @ asarray(VI) @ difference)
