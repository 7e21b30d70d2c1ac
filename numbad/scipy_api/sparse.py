"""scipy.sparse: products of constant sparse matrices with recording arrays."""

from __future__ import annotations

import weakref
from typing import Any

import numpy as np

from numbad.helpers import asarray
from numbad.ops.host import array_op
from numbad.scipy_api.dispatch import records


def product_shape(x: Any, *, matrix: Any) -> list[Any]:
    """The shape of a sparse matrix times a vector or a matrix."""
    if not x or matrix.shape[-1] != x[0]:
        raise ValueError(f"matmul: dimension mismatch of shapes {matrix.shape} and {x}")
    return [(*matrix.shape[:-1], *x[1:])]


@array_op(shapes=product_shape)
def sparse_product(x: Any, *, matrix: Any) -> Any:
    """A constant sparse matrix times a vector or a matrix."""
    return matrix @ x


@sparse_product.vjp
def sparse_product_vjp(bars: Any, results: Any, operands: Any, *, matrix: Any) -> Any:
    return (sparse_product(bars[0], matrix=matrix.T),)


@records("scipy.sparse._base", "_spbase._matmul_dispatch")
def product(self: Any, other: Any) -> Any:
    """matrix @ x, and matrix * x of SciPy's matrix classes."""
    other = asarray(other)
    if not np.ndim(other):
        return NotImplemented
    return sparse_product(other, matrix=frozen(self))


@records("scipy.sparse._base", "_spbase._rmatmul_dispatch", "_spbase.__rmatmul__")
def product_from_left(self: Any, other: Any) -> Any:
    """x @ matrix."""
    other = asarray(other)
    if not np.ndim(other):
        return NotImplemented
    return sparse_product(other.T, matrix=frozen(self).T).T


@records("scipy.sparse._base", "_spbase.dot")
def dot(self: Any, other: Any) -> Any:
    """matrix.dot(x)."""
    return product(self, other)


COPIES: dict[int, tuple[Any, Any]] = {}  # id of a matrix -> reference to it, its copy
MOST_COPIES = 8


def frozen(matrix: Any) -> Any:
    """Return a copy in compressed rows, whose products are fast: what happens to the matrix later is not seen.

    A loop over time steps multiplies by one matrix again and again: its copy is used again while it is the same.
    """
    rows = matrix.tocsr()
    reference, copy = COPIES.get(id(matrix), (lambda: None, None))
    if reference() is matrix and copy is not None and same_matrix(rows, copy):
        return copy
    copy = rows.copy()
    if len(COPIES) >= MOST_COPIES:
        COPIES.clear()
    COPIES[id(matrix)] = weakref.ref(matrix), copy
    return copy


def same_matrix(one: Any, other: Any) -> bool:
    """Whether two matrices in compressed rows hold the same numbers in the same places."""
    return one.shape == other.shape and all(
        np.array_equal(getattr(one, part), getattr(other, part)) for part in ("indptr", "indices", "data")
    )


def solution_shape(b: Any, *, matrix: Any) -> list[Any]:
    """The shape of the solution of a sparse system."""
    if not b or matrix.shape[0] != b[0] or matrix.shape[0] != matrix.shape[1]:
        raise ValueError(f"spsolve: shapes {matrix.shape} and {b} do not fit")
    return [b]


@array_op(shapes=solution_shape)
def sparse_solve(b: Any, *, matrix: Any) -> Any:
    """Solution of a system with a constant sparse matrix."""
    from scipy.sparse.linalg import spsolve

    return spsolve(matrix, b)


@sparse_solve.vjp
def sparse_solve_vjp(bars: Any, results: Any, operands: Any, *, matrix: Any) -> Any:
    return (sparse_solve(bars[0], matrix=matrix.T.tocsc()),)


@records("scipy.sparse.linalg", "spsolve")
def spsolve(A: Any, b: Any, permc_spec: Any = None, use_umfpack: bool = True) -> Any:
    """Solution of a sparse system; a right side that is one column gives a vector, as in SciPy."""
    b = asarray(b)
    if np.ndim(b) == 2 and np.shape(b)[1] == 1:
        b = b[:, 0]
    return sparse_solve(b, matrix=A.tocsc(copy=True))
