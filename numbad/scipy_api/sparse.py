"""scipy.sparse: products of constant sparse matrices with recording arrays."""

from __future__ import annotations

import weakref
from typing import Any

import numpy as np

from numbad.errors import RecordingError, message
from numbad.numpy_api.functions import asarray
from numbad.ops import reach
from numbad.ops.host import array_op
from numbad.recording.active import Active
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


sparse_product.reach = reach.multiplied


@sparse_product.vjp
def sparse_product_vjp(bars: Any, results: Any, operands: Any, *, matrix: Any) -> Any:
    return (sparse_product(bars[0], matrix=matrix.T),)


@records("scipy.sparse._base", "_spbase._matmul_dispatch")
@records("scipy.sparse._coo", "_coo_base._matmul_dispatch")
def product(self: Any, other: Any) -> Any:
    """matrix @ x, and matrix * x of SciPy's matrix classes."""
    other = asarray(other)
    if len(self.shape) > 2:
        refuse_elementwise(self, "a product of more than two axes")
    if not np.ndim(other):
        return NotImplemented
    return sparse_product(promoted(other, self), matrix=frozen(self))


def promoted(other: Any, matrix: Any) -> Any:
    """Return a factor whose recording has the precision of a product with a matrix."""
    if isinstance(other, Active):
        other.recorder.promote(matrix.dtype)
    return other


@records("scipy.sparse._base", "_spbase._rmatmul_dispatch", "_spbase.__rmatmul__")
def product_from_left(self: Any, other: Any) -> Any:
    """x @ matrix."""
    other = asarray(other)
    if not np.ndim(other):
        return NotImplemented
    return sparse_product(promoted(other, self).T, matrix=frozen(self).T).T


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


def solution_shape(b: Any, *, matrix: Any, **_: Any) -> list[Any]:
    """The shape of the solution of a sparse system."""
    if not b or matrix.shape[0] != b[0] or matrix.shape[0] != matrix.shape[1]:
        raise ValueError(f"spsolve: shapes {matrix.shape} and {b} do not fit")
    return [b]


@array_op(shapes=solution_shape)
def sparse_solve(b: Any, *, matrix: Any, permc_spec: Any = None, use_umfpack: bool = True) -> Any:
    """Solution of a system with a constant sparse matrix."""
    from scipy.sparse.linalg import spsolve

    return spsolve(matrix, b, permc_spec=permc_spec, use_umfpack=use_umfpack)


@sparse_solve.vjp
def sparse_solve_vjp(bars: Any, results: Any, operands: Any, *, matrix: Any, **options: Any) -> Any:
    return (sparse_solve(bars[0], matrix=matrix.T.tocsc(), **options),)


@records("scipy.sparse.linalg", "spsolve")
def spsolve(A: Any, b: Any, permc_spec: Any = None, use_umfpack: bool = True) -> Any:
    """Solution of a sparse system; a right side that is one column gives a vector, as in SciPy."""
    from scipy.sparse import csc_array

    if isinstance(A, Active):
        raise RecordingError(
            message(
                "scipy.sparse.linalg.spsolve: its matrix is a recording array, which is not sparse",
                "use np.linalg.solve",
            )
        )
    b = asarray(b)
    if np.ndim(b) == 2 and np.shape(b)[1] == 1:
        b = b[:, 0]
    matrix = A.tocsc(copy=True) if hasattr(A, "tocsc") else csc_array(A)
    return sparse_solve(promoted(b, matrix), matrix=matrix, permc_spec=permc_spec, use_umfpack=use_umfpack)


# ---------------------------------------------------------------- elementwise operators


def sum_of(sign: float, own: float) -> Any:
    """Make the recording version of own * matrix + sign * other, which is dense in SciPy too."""

    def function(self: Any, other: Any) -> Any:
        other = asarray(other)
        if not is_array(self) or not np.ndim(other):
            refuse_elementwise(self, "a sum")
        return own * self.toarray() + sign * other

    return function


SUMS = ((("__add__", "__radd__"), 1.0, 1.0), (("__sub__",), -1.0, 1.0), (("__rsub__",), 1.0, -1.0))
for _module, _class in (("_base", "_spbase"), ("_dok", "_dok_base")):
    for _names, _sign, _own in SUMS:
        records(f"scipy.sparse.{_module}", *(f"{_class}.{name}" for name in _names))(sum_of(_sign, _own))


def is_array(matrix: Any) -> bool:
    """Whether a sparse object is one of SciPy's arrays; the operators of its matrices are others."""
    from scipy.sparse import sparray

    return isinstance(matrix, sparray)


def refuse_elementwise(matrix: Any, what: str) -> Any:
    """Raise: the result of an elementwise operation is sparse in SciPy, and cannot hold recording values."""
    name = type(matrix).__name__
    raise RecordingError(
        message(
            f"scipy.sparse.{name}: {what} with a recording value is not recorded, for a sparse result cannot hold them",
            "write S @ x for a product of matrices, t * (S @ x) for a multiple of one, and S.toarray() for all else",
        )
    )


def elementwise(what: str) -> Any:
    """Make the recording version of an operator of sparse arrays that is refused."""

    def function(self: Any, *others: Any, **options: Any) -> Any:
        return refuse_elementwise(self, what)

    return function


REFUSED: tuple[tuple[tuple[str, ...], str], ...] = (
    (("multiply", "_mul_scalar", "__imul__"), "an elementwise product"),
    (("__truediv__", "__rtruediv__", "_divide", "__itruediv__"), "a quotient"),
    (("maximum", "minimum"), "a maximum or minimum"),
    (("__eq__", "__ne__", "__lt__", "__gt__", "__le__", "__ge__"), "a comparison"),
    (("__pow__", "power"), "a power"),
    (("__setitem__",), "an assignment"),
)
CLASSES = (
    ("_base", "_spbase"), ("_data", "_data_matrix"), ("_data", "_minmax_mixin"), ("_compressed", "_cs_matrix"),
    ("_csr", "_csr_base"), ("_coo", "_coo_base"), ("_dia", "_dia_base"), ("_lil", "_lil_base"), ("_dok", "_dok_base"),
    ("_bsr", "_bsr_base"),
)  # fmt: skip
for _module, _class in CLASSES:
    for _methods, _what in REFUSED:
        records(f"scipy.sparse.{_module}", *(f"{_class}.{name}" for name in _methods))(elementwise(_what))


@records("scipy.sparse._matrix", "spmatrix.__rmul__")
def times_matrix(self: Any, other: Any) -> Any:
    """x * matrix of SciPy's matrix classes."""
    other = asarray(other)
    return product_from_left(self, other) if np.ndim(other) else refuse_elementwise(self, "a multiple")


@records("scipy.sparse._matrix", "spmatrix.__mul__")
def matrix_times(self: Any, other: Any) -> Any:
    """matrix * x of SciPy's matrix classes: the product of matrices, refused for a number."""
    other = asarray(other)
    return product(self, other) if np.ndim(other) else refuse_elementwise(self, "a multiple")
