"""The table of the recorded functions of SciPy, filled by one module for each idea."""

from typing import Any

from numbad.ops.definition import find_ufunc
from numbad.scipy_api import distances, interpolation, linear_algebra, signals, sparse, special, statistics
from numbad.scipy_api.dispatch import TABLE, forget, teach
from numbad.scipy_api.elementwise import ELEMENTWISE, Elementwise

__all__ = [
    "TABLE",
    "distances",
    "elementwise_op",
    "forget",
    "interpolation",
    "linear_algebra",
    "signals",
    "sparse",
    "special",
    "statistics",
    "teach",
]


def elementwise_op(ufunc: Any) -> Elementwise | None:
    """Return the op of a ufunc of scipy.special that is no op of the sweeps."""
    name = ufunc.__name__
    if name not in ELEMENTWISE or find_ufunc(f"scipy.special.{name}") is not ufunc:
        return None
    return ELEMENTWISE[name]
