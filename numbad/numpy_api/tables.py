"""All tables of the recorded functions of NumPy, filled by one module for each idea."""

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
from numbad.numpy_api.dispatch import FUNCTIONS, UFUNCS, apply_function, apply_ufunc, in_dtype, widened

__all__ = [
    "FUNCTIONS",
    "UFUNCS",
    "apply_function",
    "apply_ufunc",
    "calculus",
    "in_dtype",
    "joining",
    "linear_algebra",
    "making",
    "ordering",
    "products",
    "reductions",
    "refused",
    "selection",
    "shapes",
    "statistics",
    "ufuncs",
    "widened",
]
