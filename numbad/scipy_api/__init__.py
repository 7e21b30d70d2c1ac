"""Functions of SciPy that are recorded when they are called by name, one module for each idea."""

from numbad.scipy_api import linear_algebra, sparse, special, statistics
from numbad.scipy_api.dispatch import TABLE, forget, teach

__all__ = ["TABLE", "forget", "linear_algebra", "sparse", "special", "statistics", "teach"]
