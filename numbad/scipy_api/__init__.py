"""Functions of SciPy that are recorded when they are called by name, one module for each idea."""

from numbad.scipy_api import distances, interpolation, linear_algebra, signals, sparse, special, statistics
from numbad.scipy_api.dispatch import TABLE, forget, teach

__all__ = [
    "TABLE",
    "distances",
    "forget",
    "interpolation",
    "linear_algebra",
    "signals",
    "sparse",
    "special",
    "statistics",
    "teach",
]
