"""scipy.linalg: factorizations, systems and matrix functions.

Where SciPy reads a part of a matrix, the derivative is that of the part. `overwrite_a` and its kin are permissions that
nobody has to use, `lwork` is about speed; all other parameters are honoured or refused by name.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from numbad.errors import RecordingError, message
from numbad.numpy_api import linear_algebra as own
from numbad.numpy_api.functions import asarray
from numbad.ops import linalg as ops
from numbad.ops.host import array_op
from numbad.ops.linalg import solution_shape, square_side, to_triangle, transposed
from numbad.ops.substitution import substitute
from numbad.recording.decisions import decide, decision, of_stacks
from numbad.recording.operands import recorder_of, to_array
from numbad.scipy_api.dispatch import records

MODULE = "scipy.linalg"


def arrays(*values: Any) -> list[Any]:
    """Return operands as recording arrays of one recorder."""
    recorder = recorder_of(*values)
    return [to_array(asarray(value), recorder) for value in values]


def refuse(name: str, what: str, do: str) -> Any:
    """Raise a RecordingError that names a function of scipy.linalg."""
    raise RecordingError(message(f"scipy.linalg.{name}: {what} is not recorded", do))


def no_stacks(name: str, *values: Any) -> None:
    """Refuse stacks of matrices."""
    if any(np.ndim(value) > 2 for value in values):
        refuse(name, "a stack of matrices", "call it for each matrix, or use numbad.vmap")


@decision
def are_finite(*values: np.ndarray) -> bool:
    """Whether all numbers are finite."""
    return all(bool(np.isfinite(part).all()) for part in values)


@of_stacks("are_finite")
def which_are_finite(*stacks: np.ndarray) -> Any:
    """For each lane, whether all numbers are finite."""
    return np.all([np.isfinite(part).all(axis=tuple(range(1, part.ndim))) for part in stacks], axis=0)


def check(check_finite: bool, *values: Any) -> None:
    """Raise SciPy's error for numbers that are not finite, if that is wanted; it is guarded."""
    if check_finite and not decide("are_finite", *values):
        raise ValueError("array must not contain infs or NaNs")


# ---------------------------------------------------------------- systems


FOLDED = ("sym", "her", "pos", "symmetric", "hermitian", "positive definite")
STRUCTURES = (None, "gen", "general", "diagonal", "tridiagonal", "banded", "upper triangular", "lower triangular")


def to_structure(bar: Any, assume_a: Any, lower: bool) -> Any:
    """Return a cotangent where a matrix of a structure is read."""
    if assume_a in FOLDED:
        return to_triangle(bar, not lower)
    if assume_a in ("upper triangular", "lower triangular"):
        return np.triu(bar) if assume_a.startswith("upper") else np.tril(bar)
    if assume_a in ("diagonal", "tridiagonal"):
        width = 0 if assume_a == "diagonal" else 1
        return np.triu(np.tril(bar, width), -width)
    return bar


@array_op(shapes=lambda a, b, **_: solution_shape(a, b), raises=True)
def structured_solve(a: Any, b: Any, *, assume_a: Any, lower: bool, transposed: bool, finite: bool) -> Any:
    """Solution of a system of which SciPy reads what the structure has."""
    from scipy.linalg import solve

    if np.ndim(a) > 2:
        return structured_solve_of_stack(a, b, assume_a=assume_a, lower=lower, transposed=transposed, finite=finite)
    return solve(a, b, lower=lower, check_finite=finite, assume_a=assume_a, transposed=transposed)


structured_solve.takes_columns = True


@structured_solve.for_stacks
def structured_solve_of_stack(a: Any, b: Any, *, assume_a: Any, lower: bool, transposed: bool, finite: bool) -> Any:
    """The same of a stack: the part that is read, made a full matrix; one that is to be positive definite is tried."""
    if finite:
        ops.require_finite(a, b)
    whole = ops.from_triangle(a, not lower) if assume_a in FOLDED else to_structure(a, assume_a, lower)
    if assume_a in FOLDED and str(assume_a).startswith("pos"):
        np.linalg.cholesky(whole)
    return np.linalg.solve(np.swapaxes(whole, -1, -2) if transposed else whole, b)


@structured_solve.vjp
def structured_solve_vjp(bars: Any, results: Any, operands: Any, *, assume_a: Any, lower: bool, transposed: bool,
                         finite: bool) -> Any:  # fmt: skip
    (a, b), x, bar = operands, results[0], bars[0]
    column = np.ndim(b) == 1
    other = transposed if assume_a in FOLDED else not transposed
    settings = {"assume_a": assume_a, "lower": lower, "transposed": other, "finite": False}
    if column:
        x, bar = x[..., None], bar[..., None]
    b_bar = structured_solve(a, bar, **settings)
    outer = -x @ np.swapaxes(b_bar, -1, -2) if transposed else -b_bar @ np.swapaxes(x, -1, -2)
    a_bar = to_structure(ops.unbroadcast(outer, np.shape(a)), assume_a, lower)
    return a_bar, ops.unbroadcast(b_bar[..., 0] if column else b_bar, np.shape(b))


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
    """Solution of a linear system; of a matrix of a given structure that part counts."""
    if assume_a not in FOLDED + STRUCTURES:
        raise ValueError(f"{assume_a} is not a recognized matrix structure")
    a, b = arrays(a, b)
    return structured_solve.attempt(
        a, b, assume_a=assume_a, lower=bool(lower), transposed=bool(transposed), finite=bool(check_finite)
    )


def triangular_shape(a: Any, b: Any, **_: Any) -> list[Any]:
    """The shape of the solution of a triangular system, or of a stack of them."""
    side = square_side(a, "solve_triangular")
    if len(a) > 2 and a[:-2] == b[:-2] and b[-2] == side:
        return [b]
    if side != b[0] or len(a) != 2 or len(b) > 2:
        raise ValueError(f"shapes of a {a} and b {b} are incompatible")
    return [b]


@array_op(shapes=triangular_shape, raises=True, stacks=True)
def triangular_solve(a: Any, b: Any, *, lower: bool, trans: bool, unit: bool, finite: bool = False) -> Any:
    """Solution of a triangular system, of which one triangle is read."""
    if np.ndim(a) > 2:
        return substitute_in_stacks(a, b, lower=lower, trans=trans, unit=unit, finite=finite)
    if finite:
        ops.require_finite(a, b)
    if not unit and not np.diagonal(a).all():
        place = int(np.argmin(np.diagonal(a) != 0.0))
        raise np.linalg.LinAlgError(f"singular matrix: resolution failed at diagonal {place}")
    return substitute(a, b, lower=lower, trans=trans, unit=unit)


triangular_solve.takes_columns = triangular_solve.columns_kernel = True


def substitute_in_stacks(a: Any, b: Any, *, lower: bool, trans: bool, unit: bool, finite: bool) -> Any:
    """Return the solutions of a stack of triangular systems: row by row, for all of the stack at once.

    Golub and Van Loan (2013), Matrix Computations, 4th ed., algorithms 3.1.1 and 3.1.2.
    """
    if finite:
        ops.require_finite(a, b)
    if trans:
        a, lower = np.swapaxes(a, -1, -2), not lower
    side = np.shape(a)[-1]
    if not unit and not np.diagonal(a, axis1=-2, axis2=-1).all():
        raise np.linalg.LinAlgError("singular matrix")
    x = np.array(b)
    for row in range(side) if lower else reversed(range(side)):
        known = slice(row) if lower else slice(row + 1, side)
        if known.indices(side)[0] < known.indices(side)[1]:
            x[..., row, :] -= np.einsum("...i,...ij->...j", a[..., row, known], x[..., known, :])
        if not unit:
            x[..., row, :] /= a[..., row, row, None]
    return x


@triangular_solve.vjp
def triangular_solve_vjp(bars: Any, results: Any, operands: Any, *, lower: bool, trans: bool, unit: bool,
                         finite: bool = False) -> Any:  # fmt: skip
    bar = triangular_solve(operands[0], bars[0], lower=lower, trans=not trans, unit=unit)
    x = results[0]
    if np.ndim(x) == 1:
        outer = -np.outer(x, bar) if trans else -np.outer(bar, x)
    else:
        outer = -x @ transposed(bar) if trans else -bar @ transposed(x)
    part = np.tril(outer, -1 if unit else 0) if lower else np.triu(outer, 1 if unit else 0)
    return part, bar


@records(MODULE, "solve_triangular")
def solve_triangular(a: Any, b: Any, trans: Any = 0, lower: bool = False, unit_diagonal: bool = False,
                     overwrite_b: bool = False, check_finite: bool = True) -> Any:  # fmt: skip
    """Solution of a triangular system."""
    no_stacks("solve_triangular", a, b)
    if trans not in (0, 1, 2, "N", "T", "C"):
        raise ValueError(f"solve_triangular: trans is {trans!r}; it is 0, 1, 2, 'N', 'T' or 'C'")
    a, b = arrays(a, b)
    return triangular_solve.attempt(
        a, b, lower=bool(lower), trans=trans not in (0, "N"), unit=bool(unit_diagonal), finite=bool(check_finite)
    )


@array_op(shapes=lambda a, **_: ops.inverse_shape(a), raises=True, stacks=True)
def structured_inverse(a: Any, *, assume_a: Any, lower: bool, finite: bool) -> Any:
    """Inverse of a matrix of which SciPy reads what the structure has."""
    from scipy.linalg import inv

    if np.ndim(a) > 2:
        return structured_inverse_of_stack(a, assume_a=assume_a, lower=lower, finite=finite)
    return inv(a, check_finite=finite, assume_a=assume_a, lower=lower)


@structured_inverse.for_stacks
def structured_inverse_of_stack(a: Any, *, assume_a: Any, lower: bool, finite: bool) -> Any:
    """The same of a stack, by its systems of equations."""
    one = np.broadcast_to(np.eye(np.shape(a)[-1], dtype=a.dtype), np.shape(a))
    return structured_solve_of_stack(a, one, assume_a=assume_a, lower=lower, transposed=False, finite=finite)


@structured_inverse.vjp
def structured_inverse_vjp(bars: Any, results: Any, operands: Any, *, assume_a: Any, lower: bool,
                           finite: bool) -> Any:  # fmt: skip
    x = transposed(results[0])
    return (to_structure(-x @ bars[0] @ x, assume_a, lower),)


@records(MODULE, "inv")
def inv(
    a: Any, overwrite_a: bool = False, check_finite: bool = True, *, assume_a: Any = None, lower: bool = False
) -> Any:
    """Inverse matrix; of a matrix of a given structure that part counts."""
    if assume_a == "diagonal":
        refuse("inv", "assume_a='diagonal'", "write np.diag(1.0 / np.diag(a))")
    if assume_a not in (None, "gen", "general", "upper triangular", "lower triangular", "pos", "sym", "her"):
        raise KeyError(assume_a)
    (a,) = arrays(a)
    return structured_inverse.attempt(a, assume_a=assume_a, lower=bool(lower), finite=bool(check_finite))


@records(MODULE, "det")
def det(a: Any, overwrite_a: bool = False, check_finite: bool = True) -> Any:
    """Determinant."""
    (a,) = arrays(a)
    check(check_finite, a)
    return np.linalg.det(a)


@records(MODULE, "pinv")
def pinv(a: Any, *, atol: Any = None, rtol: Any = None, return_rank: bool = False, check_finite: bool = True) -> Any:
    """Pseudoinverse, at constant rank."""
    (a,) = arrays(a)
    no_stacks("pinv", a)
    if atol:
        refuse("pinv", "atol", "use rtol")
    rtol = max(a.shape) * np.finfo(a.dtype).eps if rtol is None else rtol
    if rtol < 0.0:
        raise ValueError("atol and rtol values must be positive.")
    check(check_finite, a)
    found = np.linalg.pinv(a, rtol=rtol)
    return (found, np.linalg.matrix_rank(a, rtol=rtol)) if return_rank else found


@records(MODULE, "lstsq")
def lstsq(a: Any, b: Any, cond: Any = None, overwrite_a: bool = False, overwrite_b: bool = False,
          check_finite: bool = True, lapack_driver: Any = None) -> Any:  # fmt: skip
    """Least squares: solution, residuals, rank and singular values."""
    if lapack_driver == "gelsy":
        refuse("lstsq", "lapack_driver='gelsy', which cuts off by another rule,", "use 'gelsd' or 'gelss'")
    if lapack_driver not in (None, "gelsd", "gelss"):
        raise ValueError(f'LAPACK driver "{lapack_driver}" is not found')
    no_stacks("lstsq", a, b)
    a, b = arrays(a, b)
    check(check_finite, a, b)
    x, residuals, rank, s = np.linalg.lstsq(a, b, rcond=np.finfo(a.dtype).eps if cond is None else cond)
    if b.ndim == 1 and np.size(residuals):
        residuals = residuals[0]
    return x, residuals, rank, s


def banded_shape(ab: Any, b: Any, *, lower: int, upper: int, **_: Any) -> list[Any]:
    """The shape of the solution of a banded system."""
    if min(lower, upper) < 0 or len(ab) != 2 or ab[0] != lower + upper + 1 or ab[1] != b[0]:
        raise ValueError(f"shapes of ab {ab} and b {b} are not compatible.")
    return [b]


@array_op(shapes=banded_shape, raises=True)
def banded_solve(ab: Any, b: Any, *, lower: int, upper: int, finite: bool = False) -> Any:
    """Solution of a system whose matrix is given by its diagonals."""
    from scipy.linalg import solve_banded

    return solve_banded((lower, upper), ab, b, check_finite=finite)


@banded_solve.vjp
def banded_solve_vjp(bars: Any, results: Any, operands: Any, *, lower: int, upper: int, finite: bool = False) -> Any:
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
    no_stacks("solve_banded", ab, b)
    ab, b = arrays(ab, b)
    lower, upper = l_and_u
    return banded_solve.attempt(ab, b, lower=int(lower), upper=int(upper), finite=bool(check_finite))


def half_band_shape(ab: Any, b: Any, **_: Any) -> list[Any]:
    """The shape of the solution of a symmetric banded system."""
    if len(ab) != 2 or len(b) not in (1, 2) or ab[1] != b[0]:
        raise ValueError("shapes of ab and b are not compatible.")
    return [b]


@array_op(shapes=half_band_shape, raises=True)
def symmetric_banded_solve(ab: Any, b: Any, *, lower: bool, finite: bool) -> Any:
    """Solution of a positive definite system whose matrix is given by its diagonals on one side."""
    from scipy.linalg import solveh_banded

    return solveh_banded(ab, b, lower=lower, check_finite=finite)


@symmetric_banded_solve.vjp
def symmetric_banded_solve_vjp(bars: Any, results: Any, operands: Any, *, lower: bool, finite: bool) -> Any:
    ab, x = operands[0], results[0]
    bar = symmetric_banded_solve(ab, bars[0], lower=lower, finite=False)
    count, side = np.shape(ab)
    shift = np.arange(count)[:, None] - (0 if lower else count - 1)  # row of the matrix less its column
    rows = np.arange(side) + shift
    there = (rows >= 0) & (rows < side)
    at = np.where(there, rows, 0)
    outer = bar[at] * x + np.where((shift != 0).reshape(-1, 1, *(1,) * (np.ndim(x) - 1)), x[at] * bar, 0.0)
    return np.where(there, -(outer if np.ndim(x) == 1 else np.sum(outer, axis=-1)), 0.0), bar


@records(MODULE, "solveh_banded")
def solveh_banded(ab: Any, b: Any, overwrite_ab: bool = False, overwrite_b: bool = False, lower: bool = False,
                  check_finite: bool = True) -> Any:  # fmt: skip
    """Solution of a positive definite banded system, given by the diagonals on one side."""
    no_stacks("solveh_banded", ab, b)
    ab, b = arrays(ab, b)
    return symmetric_banded_solve.attempt(ab, b, lower=bool(lower), finite=bool(check_finite))


@records(MODULE, "solve_toeplitz")
def solve_toeplitz(c_or_cr: Any, b: Any, check_finite: bool = True) -> Any:
    """Solution of a system with a Toeplitz matrix."""
    c, r = c_or_cr if isinstance(c_or_cr, tuple) else (c_or_cr, None)
    matrix, b = arrays(toeplitz(c, r), b)
    check(check_finite, matrix, b)
    return np.linalg.solve(matrix, b)


# ---------------------------------------------------------------- matrices of a pattern


def one_axis(name: str, *values: Any) -> None:
    """Refuse operands of more than one axis, which SciPy takes for a stack, or for one in another version."""
    if any(np.ndim(value) > 1 for value in values if value is not None):
        refuse(name, "an operand of more than one axis", "call it for each row, or use np.ravel")


@records(MODULE, "toeplitz")
def toeplitz(c: Any, r: Any = None) -> Any:
    """The matrix of which each diagonal is constant."""
    one_axis("toeplitz", c, r)
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
    one_axis("hankel", c, r)
    c = np.ravel(asarray(c))
    r = np.zeros(len(c)) if r is None else np.ravel(asarray(r))
    values = to_array(np.concatenate([c, r[1:]]), recorder_of(c, r))
    return values[np.arange(len(c))[:, None] + np.arange(len(r))]


@records(MODULE, "block_diag")
def block_diag(*blocks: Any) -> Any:
    """Matrices along the diagonal of a larger one."""
    no_stacks("block_diag", *blocks)
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
    """Triangular factor of a positive definite matrix: the upper one unless `lower`, by the triangle of that name."""
    (a,) = arrays(a)
    return ops.cholesky.attempt(a, upper=not lower, finite=bool(check_finite))


@records(MODULE, "cho_factor")
def cho_factor(a: Any, lower: bool = False, overwrite_a: bool = False, check_finite: bool = True) -> Any:
    """A triangular factor for cho_solve; the other triangle holds what the matrix has there, as SciPy's does."""
    (a,) = arrays(a)
    other = np.triu(a, 1) if lower else np.tril(a, -1)
    return cholesky(a, lower, check_finite=check_finite) + other, lower


@records(MODULE, "cho_solve")
def cho_solve(c_and_lower: Any, b: Any, overwrite_b: bool = False, check_finite: bool = True) -> Any:
    """Solution of a system by the factor of cho_factor."""
    c, lower = c_and_lower
    no_stacks("cho_solve", c, b)
    c, b = arrays(c, b)
    lower = bool(lower)
    half = triangular_solve.attempt(c, b, lower=lower, trans=not lower, unit=False, finite=bool(check_finite))
    return triangular_solve(c, half, lower=lower, trans=lower, unit=False)


@decision
def pivots(a: np.ndarray) -> Any:
    """The rows that an LU factorization with partial pivoting exchanges."""
    import warnings

    from scipy.linalg import LinAlgWarning, lu_factor

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", LinAlgWarning)  # a singular matrix
        return lu_factor(a, check_finite=False)[1]


def lu_shape(a: Any) -> list[Any]:
    """Both factors in one matrix."""
    square_side(a, "lu")
    return [a]


@array_op(shapes=lu_shape)
def triangular_factors(a: Any) -> Any:
    """Both triangular factors of a matrix whose rows are in the order of their pivots, in one matrix."""
    factors = np.array(a)
    for k in range(len(factors) - 1):
        if factors[k, k] != 0.0:  # else the column is zero
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


def ordered_factors(a: Any, check_finite: bool) -> tuple[Any, np.ndarray, np.ndarray]:
    """Return the factors of a square matrix in one, the exchanges of rows, and the order they amount to."""
    (a,) = arrays(a)
    check(check_finite, a)
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
    factors, exchanges, _ = ordered_factors(a, check_finite)
    return factors, exchanges


@records(MODULE, "lu_solve")
def lu_solve(lu_and_piv: Any, b: Any, trans: int = 0, overwrite_b: bool = False, check_finite: bool = True) -> Any:
    """Solution of a system by the factors of lu_factor."""
    factors, exchanges = lu_and_piv
    no_stacks("lu_solve", factors, b)
    factors, b = arrays(factors, b)
    check(check_finite, factors, b)
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
    factors, _, order = ordered_factors(a, check_finite)
    side = len(order)
    left, right = np.tril(factors, -1) + np.eye(side), np.triu(factors)
    back = np.argsort(order)
    if permute_l:
        return left[back], right
    return (back if p_indices else np.eye(side)[:, order], left, right)


@records(MODULE, "qr")
def qr(a: Any, overwrite_a: bool = False, lwork: Any = None, mode: str = "full", pivoting: bool = False,
       check_finite: bool = True) -> Any:  # fmt: skip
    """Orthonormal and triangular factors, of which the triangle of a tall matrix has rows of zeros unless economic."""
    if mode not in ("full", "r", "economic", "raw"):
        raise ValueError("Mode argument should be one of ['full', 'r', 'economic', 'raw']")
    if pivoting or mode == "raw":
        refuse("qr", "pivoting, and mode='raw',", "use mode='economic' without pivoting")
    (a,) = arrays(a)
    check(check_finite, a)
    q, r = own.qr(a, mode="reduced" if mode == "economic" else "complete")
    return (r,) if mode == "r" else (q, r)


@records(MODULE, "svd")
def svd(a: Any, full_matrices: bool = True, compute_uv: bool = True, overwrite_a: bool = False,
        check_finite: bool = True, lapack_driver: str = "gesdd") -> Any:  # fmt: skip
    """Singular vectors and values."""
    if lapack_driver == "gesvd":
        refuse("svd", "lapack_driver='gesvd'", "use 'gesdd', the default")
    if lapack_driver != "gesdd":
        raise ValueError(f'lapack_driver must be "gesdd" or "gesvd", not "{lapack_driver}"')
    (a,) = arrays(a)
    check(check_finite, a)
    found = own.svd(a, full_matrices=full_matrices, compute_uv=compute_uv)
    return tuple(found) if compute_uv else found


@records(MODULE, "svdvals")
def svdvals(a: Any, overwrite_a: bool = False, check_finite: bool = True) -> Any:
    """Singular values."""
    (a,) = arrays(a)
    check(check_finite, a)
    return np.linalg.svd(a, compute_uv=False)


def some_of(w: Any, v: Any, a: Any, b: Any, some: Any, settings: dict[str, Any]) -> tuple[Any, Any]:
    """Put what SciPy returns for some eigenvalues among all: drivers for some may choose other signs."""
    from scipy.linalg import eigh

    first, last, *bounds = some
    if bounds:  # those that lie between them, for which LAPACK goes another way
        found = eigh(a, b, subset_by_value=bounds, **settings)
    else:
        found = eigh(a, b, subset_by_index=(first, last), **settings)
    w[first : last + 1], v[:, first : last + 1] = found
    return w, v


def eigen_settings(lower: bool, driver: Any, finite: bool) -> dict[str, Any]:
    """Return what SciPy is asked for."""
    return {"lower": lower, "driver": driver, "check_finite": finite}


@array_op(shapes=lambda a, **settings: ops.spectrum_shape(a, False), raises=True)
def driven_eigen(a: Any, *, lower: bool, driver: Any, finite: bool, some: Any) -> Any:
    """Eigenvalues and eigenvectors of a symmetric matrix, with the signs of a driver of SciPy."""
    from scipy.linalg import eigh

    settings = eigen_settings(lower, driver, finite)
    w, v = eigh(a, **settings)
    return (w, v) if some is None else some_of(w, v, a, None, some, settings)


@driven_eigen.vjp
def driven_eigen_vjp(bars: Any, results: Any, operands: Any, *, lower: bool, driver: Any, finite: bool,
                     some: Any) -> Any:  # fmt: skip
    return ops.symmetric_eigen.vjp_function(bars, results, operands, upper=not lower)


@array_op(shapes=lambda a, b, **settings: ops.spectrum_shape(a, False), raises=True)
def pencil_eigen(a: Any, b: Any, *, lower: bool, driver: Any, finite: bool, some: Any) -> Any:
    """Solutions of a @ v = w * b @ v with v' b v = 1."""
    from scipy.linalg import eigh

    settings = eigen_settings(lower, driver if some is None else None, finite)
    w, v = eigh(a, b, **settings)
    return (w, v) if some is None else some_of(w, v, a, b, some, settings | {"driver": driver})


@pencil_eigen.vjp
def pencil_eigen_vjp(bars: Any, results: Any, operands: Any, *, lower: bool, driver: Any, finite: bool,
                     some: Any) -> Any:  # fmt: skip
    w, v = results
    w_bar, v_bar = bars
    turned, own_lengths = np.zeros(np.shape(v)), np.zeros(np.shape(w))
    if not ops.is_zero(v_bar):
        crossed = transposed(v) @ v_bar
        turned, own_lengths = ops.over_gaps(w, crossed), np.diagonal(crossed)
    inner = ops.diagonal_matrix(w_bar) + ops.torn_apart(w, w_bar) + turned
    lengths = inner * w[..., None, :] + ops.diagonal_matrix(0.5 * own_lengths)
    a_bar, b_bar = (ops.even(v @ part @ transposed(v)) for part in (inner, -lengths))
    return to_triangle(a_bar, not lower), to_triangle(b_bar, not lower)


@records(MODULE, "eigh")
def eigh(a: Any, b: Any = None, *, lower: bool = True, eigvals_only: bool = False, overwrite_a: bool = False,
         overwrite_b: bool = False, type: int = 1, check_finite: bool = True, subset_by_index: Any = None,
         subset_by_value: Any = None, driver: Any = None) -> Any:  # fmt: skip
    """Eigenvalues and eigenvectors of a symmetric matrix, or of a pair of which the second is positive definite."""
    if b is not None and type != 1:
        refuse("eigh", f"type={type}", "solve with b first, and use type=1")
    if subset_by_index is not None and subset_by_value is not None:
        raise ValueError("Either index or value subset can be requested.")
    no_stacks("eigh", a, b)
    parts = arrays(a) if b is None else arrays(a, b)
    some = None if subset_by_index is None else tuple(int(k) for k in subset_by_index)
    if some is not None and not 0 <= some[0] <= some[1] < parts[0].shape[0]:
        raise ValueError("Requested eigenvalue indices are not valid.")
    settings = {"lower": bool(lower), "driver": driver, "finite": bool(check_finite)}
    if subset_by_value is not None:
        some = within(eigenvalues_of(parts, settings | {"driver": None}), subset_by_value)
        if some is None:
            empty = parts[0][0, :0]
            return empty if eigvals_only else (empty, parts[0][:, :0])
    chosen = slice(None) if some is None else slice(some[0], some[1] + 1)
    if eigvals_only:
        return eigenvalues_of(parts, settings)[chosen]
    values, vectors = (driven_eigen if b is None else pencil_eigen).attempt(*parts, some=some, **settings)
    return values[chosen], vectors[:, chosen]


def eigenvalues_of(parts: list[Any], settings: dict[str, Any]) -> Any:
    """Return all eigenvalues of a matrix or of a pair."""
    if len(parts) == 2:
        return pencil_eigen.attempt(*parts, some=None, **(settings | {"driver": None}))[0]
    check(settings["finite"], parts[0])
    return ops.symmetric_eigenvalues.attempt(parts[0], upper=not settings["lower"])


def within(values: Any, bounds: Any) -> tuple[Any, ...] | None:
    """Return the first and last of sorted numbers in (low, high], guarded, and the bounds; None if there are none."""
    low, high = bounds
    if not -np.inf <= low < high <= np.inf:
        raise ValueError("Requested eigenvalue bounds are not valid.")
    first, last = int(np.sum(values <= low)), int(np.sum(values <= high)) - 1
    return (first, last, float(low), float(high)) if first <= last else None


@records(MODULE, "eigvalsh")
def eigvalsh(a: Any, b: Any = None, *, lower: bool = True, overwrite_a: bool = False, overwrite_b: bool = False,
             type: int = 1, check_finite: bool = True, subset_by_index: Any = None, subset_by_value: Any = None,
             driver: Any = None) -> Any:  # fmt: skip
    """Eigenvalues of a symmetric matrix."""
    return eigh(a, b, lower=lower, eigvals_only=True, type=type, check_finite=check_finite, driver=driver,
                subset_by_index=subset_by_index, subset_by_value=subset_by_value)  # fmt: skip


@records(MODULE, "norm")
def norm(a: Any, ord: Any = None, axis: Any = None, keepdims: bool = False, check_finite: bool = True) -> Any:
    """Norm of vectors or matrices."""
    (a,) = arrays(a)
    check(check_finite, a)
    return own.norm(a, ord, axis, keepdims)


# ---------------------------------------------------------------- functions of matrices


def square_shape(a: Any, **_: Any) -> list[Any]:
    """The shape of a function of square matrices."""
    square_side(a, "a function of a matrix")
    return [a]


class ComplexResultError(RecordingError, ValueError):
    """A function of a real matrix is complex."""


MANY_EXPONENTIALS = 8  # of which on they are computed together; SciPy goes matrix by matrix
PADE = (64764752532480000.0, 32382376266240000.0, 7771770303897600.0, 1187353796428800.0, 129060195264000.0,
        10559470521600.0, 670442572800.0, 33522128640.0, 1323241920.0, 40840800.0, 960960.0, 16380.0, 182.0,
        1.0)  # fmt: skip
MOST_PADE = 5.371920351148152  # the norm up to which the approximant of degree 13 is exact but for rounding


def exponentials(a: np.ndarray) -> np.ndarray:
    """Return the exponentials of a stack of matrices: scaled, the approximant of degree 13, and squared again.

    Higham, The scaling and squaring method for the matrix exponential revisited, SIAM J. Matrix Anal. Appl. 26 (2005)
    1179, algorithm 2.3. A matrix that is not finite gives NaN.
    """
    stack = a.reshape(-1, *a.shape[-2:]).astype(float)
    known = np.isfinite(stack).all(axis=(-2, -1))
    stack = np.where(known[:, None, None], stack, 0.0)
    norms = np.abs(stack).sum(axis=-2).max(axis=-1, initial=0.0)
    halvings = np.maximum(np.ceil(np.log2(np.maximum(norms, MOST_PADE) / MOST_PADE)), 0.0).astype(int)
    x = np.ldexp(stack, -halvings[:, None, None])
    one, b = np.eye(a.shape[-1]), PADE
    x2 = x @ x
    x4 = x2 @ x2
    x6 = x4 @ x2
    odd = x @ (x6 @ (b[13] * x6 + b[11] * x4 + b[9] * x2) + b[7] * x6 + b[5] * x4 + b[3] * x2 + b[1] * one)
    even = x6 @ (b[12] * x6 + b[10] * x4 + b[8] * x2) + b[6] * x6 + b[4] * x4 + b[2] * x2 + b[0] * one
    found = np.linalg.solve(even - odd, even + odd)
    for step in range(int(halvings.max(initial=0))):
        left = halvings > step
        found[left] = found[left] @ found[left]
    found[~known] = np.nan
    return found.reshape(a.shape).astype(a.dtype)


@array_op(shapes=square_shape, raises=True, stacks=True)
def matrix_function(a: Any, *, name: str) -> Any:
    """A function of scipy.linalg from square matrices to square matrices that has a power series.

    Its derivative in a direction is the upper right block of the function of a matrix of blocks, [[a, e], [0, a]],
    and its pullback the same with a transposed (Mathias, A chain rule for matrix functions and applications,
    SIAM J. Matrix Anal. Appl. 17 (1996) 610; Higham, Functions of Matrices, 2008, section 3.2).
    """
    import scipy.linalg

    if name == "expm" and np.ndim(a) > 2 and np.size(a) > MANY_EXPONENTIALS * np.shape(a)[-1] ** 2:
        return exponentials(a)
    if np.ndim(a) > 2:
        each = [matrix_function.kernel(part, name=name) for part in a.reshape(-1, *a.shape[-2:])]
        return np.array(each, a.dtype).reshape(a.shape)
    found = getattr(scipy.linalg, name)(a)
    if np.iscomplexobj(found) and not np.iscomplexobj(a):
        if np.abs(found.imag).max(initial=0.0) > 1e-10 * np.abs(found).max(initial=0.0):
            raise ComplexResultError(
                message(f"scipy.linalg.{name}: the result is complex", "use a matrix for which it is real", where=True)
            )
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

    def function(A: Any) -> Any:
        return matrix_function.attempt(*arrays(A), name=name)

    function.__doc__ = f"The recording version of {name}, where its result is real."
    return function


for _name in ("expm", "cosm", "sinm", "tanm", "coshm", "sinhm", "tanhm"):
    records(MODULE, _name)(function_of_matrix(_name))


@records(MODULE, "logm")
def logm(A: Any, disp: Any = True) -> Any:
    """Logarithm of a matrix, where it is real."""
    if not disp:
        refuse("logm", "disp=False, which returns an error estimate,", "leave disp away")
    return function_of_matrix("logm")(A)


@records(MODULE, "sqrtm")
def sqrtm(A: Any, disp: Any = True, blocksize: Any = None) -> Any:
    """Square root of a matrix, where it is real."""
    if not disp:
        refuse("sqrtm", "disp=False, which returns an error estimate,", "leave disp away")
    if blocksize is not None:
        refuse("sqrtm", "blocksize", "leave it away; it does not change the result")
    return function_of_matrix("sqrtm")(A)


# ---------------------------------------------------------------- matrix equations


def sylvester_shape(a: Any, b: Any, q: Any) -> list[Any]:
    """The shape of the solution of a Sylvester equation."""
    if q != (square_side(a, "solve_sylvester"), square_side(b, "solve_sylvester")):
        raise ValueError(f"solve_sylvester: shapes {a}, {b} and {q} do not fit")
    return [q]


@array_op(shapes=sylvester_shape, raises=True)
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
    no_stacks("solve_sylvester", a, b, q)
    return sylvester.attempt(*arrays(a, b, q))


@records(MODULE, "solve_continuous_lyapunov", "solve_lyapunov")
def solve_continuous_lyapunov(a: Any, q: Any) -> Any:
    """Solution of a @ x + x @ a.T = q."""
    no_stacks("solve_continuous_lyapunov", a, q)
    a, q = arrays(a, q)
    return sylvester.attempt(a, a.T, q)


@records(MODULE, "solve_discrete_lyapunov")
def solve_discrete_lyapunov(a: Any, q: Any, method: Any = None) -> Any:
    """Solution of a @ x @ a.T - x + q = 0, by its linear system of size n squared."""
    if method not in (None, "direct", "bilinear"):
        raise ValueError(f"Unknown solver {method}")
    no_stacks("solve_discrete_lyapunov", a, q)
    a, q = arrays(a, q)
    side = a.shape[0]
    return np.reshape(np.linalg.solve(np.eye(side * side) - np.kron(a, a), q.reshape(-1)), (side, side))
