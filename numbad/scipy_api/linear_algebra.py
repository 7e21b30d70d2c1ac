"""scipy.linalg: factorizations, systems and matrix functions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from numbad.errors import RecordingError, message
from numbad.helpers import asarray
from numbad.numpy_api import linear_algebra as own
from numbad.numpy_api.decisions import decide, decision
from numbad.numpy_api.dispatch import recorder_of, to_array
from numbad.ops.host import array_op
from numbad.ops.linalg import square_side, transposed
from numbad.scipy_api.dispatch import records

MODULE = "scipy.linalg"


def arrays(*values: Any) -> list[Any]:
    """Return operands as recording arrays of one recorder."""
    recorder = recorder_of(*values)
    return [to_array(asarray(value), recorder) for value in values]


def refuse(name: str, what: str, do: str) -> Any:
    """Raise a RecordingError that names a function of scipy.linalg."""
    raise RecordingError(message(f"scipy.linalg.{name}: {what} is not recorded", do))


# ---------------------------------------------------------------- systems


def columns(solver: Callable[..., Any], a: Any, b: Any) -> Any:
    """Solve for a vector as for a matrix of one column."""
    return solver(a, b[:, None])[:, 0] if b.ndim == 1 else solver(a, b)


@records(MODULE, "solve")
def solve(
    a: Any,
    b: Any,
    lower: bool = False,
    overwrite_a: bool = False,
    overwrite_b: bool = False,
    check_finite: bool = True,
    assume_a: Any = None,
    transposed: bool = False,
) -> Any:
    """Solution of a linear system; of a symmetric matrix the named triangle counts."""
    a, b = arrays(a, b)
    if assume_a in ("sym", "her", "pos", "symmetric", "hermitian", "positive definite"):
        a = symmetric(a, lower)
    elif assume_a in ("upper triangular", "lower triangular"):
        a = np.triu(a) if assume_a.startswith("upper") else np.tril(a)
    if transposed:
        a = np.swapaxes(a, -1, -2)
    if b.ndim == 1:
        return columns(np.linalg.solve, a, b) if a.ndim == 2 else np.linalg.solve(a, b)
    return np.linalg.solve(a, b)


def symmetric(a: Any, lower: bool) -> Any:
    """Return a symmetric matrix by one of its triangles."""
    half = np.tril(a) if lower else np.triu(a)
    return half + transposed(np.tril(a, -1) if lower else np.triu(a, 1))


def triangular_shape(a: Any, b: Any, **_: Any) -> list[Any]:
    """The shape of the solution of a triangular system."""
    if square_side(a, "solve_triangular") != b[0] or len(a) != 2 or len(b) > 2:
        raise ValueError(f"shapes of a {a} and b {b} are incompatible")
    return [b]


@array_op(shapes=triangular_shape)
def triangular_solve(a: Any, b: Any, *, lower: bool, trans: bool, unit: bool) -> Any:
    """Solution of a triangular system, of which one triangle is read."""
    from scipy.linalg import solve_triangular

    return solve_triangular(a, b, lower=lower, trans=int(trans), unit_diagonal=unit, check_finite=False)


@triangular_solve.vjp
def triangular_solve_vjp(bars: Any, results: Any, operands: Any, *, lower: bool, trans: bool, unit: bool) -> Any:
    bar = triangular_solve(operands[0], bars[0], lower=lower, trans=not trans, unit=unit)
    x = results[0]
    if np.ndim(x) == 1:
        outer = -np.outer(x, bar) if trans else -np.outer(bar, x)
    else:
        outer = -x @ bar.T if trans else -bar @ x.T
    part = np.tril(outer, -1 if unit else 0) if lower else np.triu(outer, 1 if unit else 0)
    return part, bar


@records(MODULE, "solve_triangular")
def solve_triangular(a: Any, b: Any, trans: Any = 0, lower: bool = False, unit_diagonal: bool = False,
                     overwrite_b: bool = False, check_finite: bool = True) -> Any:  # fmt: skip
    """Solution of a triangular system."""
    a, b = arrays(a, b)
    return triangular_solve(a, b, lower=bool(lower), trans=trans not in (0, "N"), unit=bool(unit_diagonal))


@records(MODULE, "inv")
def inv(
    a: Any, overwrite_a: bool = False, check_finite: bool = True, *, assume_a: Any = None, lower: bool = False
) -> Any:
    """Inverse matrix."""
    a = asarray(a)
    if assume_a in ("sym", "her", "pos", "symmetric", "hermitian", "positive definite"):
        a = symmetric(a, lower)
    return np.linalg.inv(a)


@records(MODULE, "det")
def det(a: Any, overwrite_a: bool = False, check_finite: bool = True) -> Any:
    """Determinant."""
    return np.linalg.det(asarray(a))


@records(MODULE, "pinv")
def pinv(a: Any, *, atol: Any = None, rtol: Any = None, return_rank: bool = False, check_finite: bool = True) -> Any:
    """Pseudoinverse, at constant rank."""
    a = asarray(a)
    if atol is not None:
        refuse("pinv", "atol", "use rtol")
    rtol = max(a.shape) * np.finfo(a.dtype).eps if rtol is None else rtol
    found = np.linalg.pinv(a, rtol=rtol)
    return (found, np.linalg.matrix_rank(a, rtol=rtol)) if return_rank else found


@records(MODULE, "lstsq")
def lstsq(a: Any, b: Any, cond: Any = None, overwrite_a: bool = False, overwrite_b: bool = False,
          check_finite: bool = True, lapack_driver: Any = None) -> Any:  # fmt: skip
    """Least squares: solution, residuals, rank and singular values."""
    a, b = arrays(a, b)
    x, residuals, rank, s = np.linalg.lstsq(a, b, rcond=np.finfo(a.dtype).eps if cond is None else cond)
    if b.ndim == 1 and np.size(residuals):
        residuals = residuals[0]
    return x, residuals, rank, s


def banded_shape(ab: Any, b: Any, *, lower: int, upper: int) -> list[Any]:
    """The shape of the solution of a banded system."""
    if min(lower, upper) < 0 or len(ab) != 2 or ab[0] != lower + upper + 1 or ab[1] != b[0]:
        raise ValueError(f"shapes of ab {ab} and b {b} are not compatible.")
    return [b]


@array_op(shapes=banded_shape)
def banded_solve(ab: Any, b: Any, *, lower: int, upper: int) -> Any:
    """Solution of a system whose matrix is given by its diagonals."""
    from scipy.linalg import solve_banded

    return solve_banded((lower, upper), ab, b, check_finite=False)


@banded_solve.vjp
def banded_solve_vjp(bars: Any, results: Any, operands: Any, *, lower: int, upper: int) -> Any:
    ab = operands[0]
    side = np.shape(ab)[1]
    shift = np.arange(lower + upper + 1)[:, None] - upper  # row of the matrix less its column
    rows = np.arange(side) + shift
    there = (rows >= 0) & (rows < side)
    at = np.where(there, rows, 0)
    place = np.arange(side) - shift[::-1]  # the transposed matrix: its diagonals in the opposite order
    inside = (place >= 0) & (place < side)
    flipped = np.where(inside, np.take_along_axis(ab[::-1], np.where(inside, place, 0), axis=1), 0.0)
    bar = banded_solve(flipped, bars[0], lower=upper, upper=lower)
    x = results[0]
    if np.ndim(x) == 1:
        outer = -bar[at] * x
    else:
        outer = -np.sum(bar[at] * x, axis=-1)
    return np.where(there, outer, 0.0), bar


@records(MODULE, "solve_banded")
def solve_banded(l_and_u: Any, ab: Any, b: Any, overwrite_ab: bool = False, overwrite_b: bool = False,
                 check_finite: bool = True) -> Any:  # fmt: skip
    """Solution of a banded system."""
    ab, b = arrays(ab, b)
    lower, upper = l_and_u
    return banded_solve(ab, b, lower=int(lower), upper=int(upper))


@records(MODULE, "solveh_banded")
def solveh_banded(ab: Any, b: Any, overwrite_ab: bool = False, overwrite_b: bool = False, lower: bool = False,
                  check_finite: bool = True) -> Any:  # fmt: skip
    """Solution of a symmetric banded system, given by the diagonals on one side."""
    ab, b = arrays(ab, b)
    if lower:
        ab = np.stack([np.concatenate([np.zeros(k), ab[k, : ab.shape[1] - k]]) for k in range(ab.shape[0])][::-1])
    width = ab.shape[0] - 1
    mirrored = [np.concatenate([ab[width - k, k:], np.zeros(k)]) for k in range(1, width + 1)]
    full = np.concatenate([ab, np.stack(mirrored)]) if mirrored else ab
    return banded_solve(full, b, lower=width, upper=width)


@records(MODULE, "solve_toeplitz")
def solve_toeplitz(c_or_cr: Any, b: Any, check_finite: bool = True) -> Any:
    """Solution of a system with a Toeplitz matrix."""
    c, r = c_or_cr if isinstance(c_or_cr, tuple) else (c_or_cr, None)
    return np.linalg.solve(*arrays(toeplitz(c, r), b))


# ---------------------------------------------------------------- matrices of a pattern


@records(MODULE, "toeplitz")
def toeplitz(c: Any, r: Any = None) -> Any:
    """The matrix of which each diagonal is constant."""
    c = np.ravel(asarray(c))
    r = c if r is None else np.ravel(asarray(r))
    values = np.concatenate([r[:0:-1], c]) if len(r) > 1 else c
    rows, across = np.arange(len(c))[:, None], np.arange(len(r))[None, :]
    return to_array(values, recorder_of(c, r))[rows - across + len(r) - 1]


@records(MODULE, "circulant")
def circulant(c: Any) -> Any:
    """The matrix whose columns are rotations of one."""
    c = to_array(asarray(c))
    side = c.shape[-1]
    return c[..., (np.arange(side)[:, None] - np.arange(side)) % side]


@records(MODULE, "hankel")
def hankel(c: Any, r: Any = None) -> Any:
    """The matrix of which each antidiagonal is constant."""
    c = np.ravel(asarray(c))
    r = np.zeros(len(c)) if r is None else np.ravel(asarray(r))
    values = to_array(np.concatenate([c, r[1:]]), recorder_of(c, r))
    return values[np.arange(len(c))[:, None] + np.arange(len(r))]


@records(MODULE, "block_diag")
def block_diag(*blocks: Any) -> Any:
    """Matrices along the diagonal of a larger one."""
    recorder = recorder_of(*blocks)
    parts = [np.atleast_2d(to_array(asarray(block), recorder)) for block in blocks]
    width = sum(part.shape[1] for part in parts)
    rows, before = [], 0
    for part in parts:
        rows.append(np.pad(part, ((0, 0), (before, width - before - part.shape[1]))))
        before += part.shape[1]
    return np.concatenate(rows)


# ---------------------------------------------------------------- factorizations


@records(MODULE, "cholesky")
def cholesky(a: Any, lower: bool = False, overwrite_a: bool = False, check_finite: bool = True) -> Any:
    """Triangular factor of a positive definite matrix: the upper one unless `lower`."""
    factor = np.linalg.cholesky(symmetric(to_array(asarray(a)), lower))
    return factor if lower else np.swapaxes(factor, -1, -2)


@records(MODULE, "cho_factor")
def cho_factor(a: Any, lower: bool = False, overwrite_a: bool = False, check_finite: bool = True) -> Any:
    """A triangular factor for cho_solve."""
    return cholesky(a, lower), lower


@records(MODULE, "cho_solve")
def cho_solve(c_and_lower: Any, b: Any, overwrite_b: bool = False, check_finite: bool = True) -> Any:
    """Solution of a system by the factor of cho_factor."""
    c, lower = c_and_lower
    c, b = arrays(c, b)
    half = triangular_solve(c, b, lower=bool(lower), trans=not lower, unit=False)
    return triangular_solve(c, half, lower=bool(lower), trans=bool(lower), unit=False)


@decision
def pivots(a: np.ndarray) -> Any:
    """The rows that an LU factorization with partial pivoting exchanges."""
    from scipy.linalg import lu_factor

    return lu_factor(a)[1]


def lu_shape(a: Any) -> list[Any]:
    """Both factors in one matrix."""
    square_side(a, "lu")
    return [a]


@array_op(shapes=lu_shape)
def triangular_factors(a: Any) -> Any:
    """Both triangular factors of a matrix whose rows are in the order of their pivots, in one matrix."""
    factors = np.array(a)
    for k in range(len(factors) - 1):
        factors[k + 1 :, k] /= factors[k, k]
        factors[k + 1 :, k + 1 :] -= np.outer(factors[k + 1 :, k], factors[k, k + 1 :])
    return factors


@triangular_factors.vjp
def triangular_factors_vjp(bars: Any, results: Any, operands: Any) -> Any:
    factors, bar = results[0], bars[0]
    left = np.tril(factors, -1) + np.eye(np.shape(factors)[0])
    right = np.triu(factors)
    inner = np.tril(left.T @ np.tril(bar, -1), -1) + np.triu(np.triu(bar) @ right.T)
    half = triangular_solve(left, inner, lower=True, trans=True, unit=True)
    return (triangular_solve(right, half.T, lower=False, trans=False, unit=False).T,)


def ordered_factors(a: Any) -> tuple[Any, np.ndarray, np.ndarray]:
    """Return the factors of a square matrix in one, the exchanges of rows, and the order they amount to."""
    a = to_array(asarray(a))
    if a.ndim != 2 or a.shape[0] != a.shape[1]:
        refuse("lu", "a matrix that is not square", "use np.linalg.qr")
    exchanges = decide("pivots", a)
    order = np.arange(a.shape[0])
    for k, other in enumerate(exchanges.tolist()):
        order[[k, other]] = order[[other, k]]
    return triangular_factors(a[order]), exchanges, order


@records(MODULE, "lu_factor")
def lu_factor(a: Any, overwrite_a: bool = False, check_finite: bool = True) -> Any:
    """Triangular factors in one matrix, and the exchanges of rows, which are guarded."""
    factors, exchanges, _ = ordered_factors(a)
    return factors, exchanges


@records(MODULE, "lu_solve")
def lu_solve(lu_and_piv: Any, b: Any, trans: int = 0, overwrite_b: bool = False, check_finite: bool = True) -> Any:
    """Solution of a system by the factors of lu_factor."""
    factors, exchanges = lu_and_piv
    factors, b = arrays(factors, b)
    order = np.arange(len(exchanges))
    for k, other in enumerate(np.asarray(exchanges).tolist()):
        order[[k, other]] = order[[other, k]]
    if trans:
        half = triangular_solve(factors, b, lower=False, trans=True, unit=False)
        return triangular_solve(factors, half, lower=True, trans=True, unit=True)[np.argsort(order)]
    half = triangular_solve(factors, b[order], lower=True, trans=False, unit=True)
    return triangular_solve(factors, half, lower=False, trans=False, unit=False)


@records(MODULE, "lu")
def lu(a: Any, permute_l: bool = False, overwrite_a: bool = False, check_finite: bool = True,
       p_indices: bool = False) -> Any:  # fmt: skip
    """Permutation and triangular factors of a square matrix."""
    factors, _, order = ordered_factors(a)
    side = len(order)
    left, right = np.tril(factors, -1) + np.eye(side), np.triu(factors)
    back = np.argsort(order)
    if permute_l:
        return left[back], right
    return (back if p_indices else np.eye(side)[:, order], left, right)


@records(MODULE, "qr")
def qr(a: Any, overwrite_a: bool = False, lwork: Any = None, mode: str = "full", pivoting: bool = False,
       check_finite: bool = True) -> Any:  # fmt: skip
    """Orthonormal and triangular factors."""
    a = to_array(asarray(a))
    if pivoting or mode == "raw":
        refuse("qr", "pivoting, and mode 'raw',", "use np.linalg.qr")
    found = own.qr(a, mode={"full": "complete", "r": "r", "economic": "reduced"}[mode])
    return (found,) if mode == "r" else tuple(found)


@records(MODULE, "svd")
def svd(a: Any, full_matrices: bool = True, compute_uv: bool = True, overwrite_a: bool = False,
        check_finite: bool = True, lapack_driver: str = "gesdd") -> Any:  # fmt: skip
    """Singular vectors and values."""
    found = own.svd(to_array(asarray(a)), full_matrices=full_matrices, compute_uv=compute_uv)
    return tuple(found) if compute_uv else found


@records(MODULE, "svdvals")
def svdvals(a: Any, overwrite_a: bool = False, check_finite: bool = True) -> Any:
    """Singular values."""
    return np.linalg.svd(to_array(asarray(a)), compute_uv=False)


@records(MODULE, "eigh")
def eigh(a: Any, b: Any = None, *, lower: bool = True, eigvals_only: bool = False, overwrite_a: bool = False,
         overwrite_b: bool = False, type: int = 1, check_finite: bool = True, subset_by_index: Any = None,
         subset_by_value: Any = None, driver: Any = None) -> Any:  # fmt: skip
    """Eigenvalues and eigenvectors of a symmetric matrix, or of a pair of which the second is positive definite."""
    if subset_by_value is not None or type != 1:
        refuse("eigh", "subset_by_value, and a type other than 1,", "select among all eigenvalues")
    a = symmetric(to_array(asarray(a), recorder_of(a, b)), lower)
    factor = None
    if b is not None:
        a, b = arrays(a, b)
        factor = np.linalg.cholesky(symmetric(b, lower))
        a = np.linalg.solve(factor, np.linalg.solve(factor, a).T)
        a = 0.5 * (a + a.T)
    values, vectors = np.linalg.eigh(a)
    if factor is not None:
        vectors = triangular_solve(factor, vectors, lower=True, trans=True, unit=False)
    if subset_by_index is not None:
        first, last = subset_by_index
        values, vectors = values[first : last + 1], vectors[:, first : last + 1]
    return values if eigvals_only else (values, vectors)


@records(MODULE, "eigvalsh")
def eigvalsh(a: Any, b: Any = None, *, lower: bool = True, **keywords: Any) -> Any:
    """Eigenvalues of a symmetric matrix."""
    return eigh(a, b, lower=lower, eigvals_only=True, **keywords)


@records(MODULE, "norm")
def norm(a: Any, ord: Any = None, axis: Any = None, keepdims: bool = False, check_finite: bool = True) -> Any:
    """Norm of vectors or matrices."""
    return own.norm(asarray(a), ord, axis, keepdims)


# ---------------------------------------------------------------- functions of matrices


def square_shape(a: Any, **_: Any) -> list[Any]:
    """The shape of a function of square matrices."""
    square_side(a, "a function of a matrix")
    return [a]


@array_op(shapes=square_shape)
def matrix_function(a: Any, *, name: str) -> Any:
    """A function of scipy.linalg from square matrices to square matrices that has a power series.

    Its derivative in a direction is the upper right block of the function of a matrix of blocks, [[a, e], [0, a]],
    and its pullback the same with a transposed (Mathias, A chain rule for matrix functions and applications,
    SIAM J. Matrix Anal. Appl. 17 (1996) 610; Higham, Functions of Matrices, 2008, section 3.2).
    """
    import scipy.linalg

    found = getattr(scipy.linalg, name)(a)
    if np.iscomplexobj(found) and not np.iscomplexobj(a):
        if np.abs(found.imag).max(initial=0.0) > 1e-10 * np.abs(found).max(initial=0.0):
            return np.full(np.shape(a), np.nan)
        found = found.real
    return found


@matrix_function.vjp
def matrix_function_vjp(bars: Any, results: Any, operands: Any, *, name: str) -> Any:
    a, bar = transposed(operands[0]), bars[0]
    side = np.shape(a)[-1]
    upper = np.concatenate([a, bar], axis=-1)
    lower = np.concatenate([np.zeros_like(a), a], axis=-1)
    whole = matrix_function(np.concatenate([upper, lower], axis=-2), name=name)
    return (whole[..., :side, side:],)


def function_of_matrix(name: str) -> Callable[..., Any]:
    """Make the recording version of a matrix function."""

    def function(A: Any, disp: Any = None, blocksize: Any = None) -> Any:
        return matrix_function(to_array(asarray(A)), name=name)

    function.__doc__ = f"The recording version of {name}, where its result is real."
    return function


for _name in ("expm", "logm", "sqrtm", "cosm", "sinm", "tanm", "coshm", "sinhm", "tanhm"):
    records(MODULE, _name)(function_of_matrix(_name))


# ---------------------------------------------------------------- matrix equations


def sylvester_shape(a: Any, b: Any, q: Any) -> list[Any]:
    """The shape of the solution of a Sylvester equation."""
    if q != (square_side(a, "solve_sylvester"), square_side(b, "solve_sylvester")):
        raise ValueError(f"solve_sylvester: shapes {a}, {b} and {q} do not fit")
    return [q]


@array_op(shapes=sylvester_shape)
def sylvester(a: Any, b: Any, q: Any) -> Any:
    """Solution of a @ x + x @ b = q."""
    from scipy.linalg import solve_sylvester

    return solve_sylvester(a, b, q)


@sylvester.vjp
def sylvester_vjp(bars: Any, results: Any, operands: Any) -> Any:
    a, b, _ = operands
    x = results[0]
    bar = sylvester(a.T, b.T, bars[0])
    return -bar @ x.T, -x.T @ bar, bar


@records(MODULE, "solve_sylvester")
def solve_sylvester(a: Any, b: Any, q: Any) -> Any:
    """Solution of Sylvester's equation."""
    return sylvester(*arrays(a, b, q))


@records(MODULE, "solve_continuous_lyapunov", "solve_lyapunov")
def solve_continuous_lyapunov(a: Any, q: Any) -> Any:
    """Solution of a @ x + x @ a.T = q."""
    a, q = arrays(a, q)
    return sylvester(a, a.T, q)


@records(MODULE, "solve_discrete_lyapunov")
def solve_discrete_lyapunov(a: Any, q: Any, method: Any = None) -> Any:
    """Solution of a @ x @ a.T - x + q = 0, by its linear system of size n squared."""
    a, q = arrays(a, q)
    side = a.shape[0]
    return np.reshape(np.linalg.solve(np.eye(side * side) - np.kron(a, a), q.reshape(-1)), (side, side))
