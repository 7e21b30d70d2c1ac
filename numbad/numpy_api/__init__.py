"""Which NumPy function is recorded as what: the dispatch tables, filled by one module for each idea."""

from numbad.numpy_api import (
    calculus,
    joining,
    linear_algebra,
    making,
    ordering,
    products,
    reductions,
    refused,
    selection,
    shapes,
    statistics,
    ufuncs,
)
from numbad.numpy_api.dispatch import FUNCTIONS, UFUNCS, apply_function, apply_ufunc
from numbad.numpy_api.joining import stack_nested

__all__ = [
    "FUNCTIONS",
    "UFUNCS",
    "apply_function",
    "apply_ufunc",
    "calculus",
    "joining",
    "linear_algebra",
    "making",
    "ordering",
    "products",
    "reductions",
    "refused",
    "selection",
    "shapes",
    "stack_nested",
    "statistics",
    "ufuncs",
]
