"""Linear algebra by LAPACK, each with the rule that takes cotangents back.

Rules follow Giles, Collected matrix derivative results for forward and reverse mode (2008), and for the
constant-rank pseudoinverse Golub and Pereyra, SIAM J. Numer. Anal. 10 (1973) 413. They work on
stacks of matrices, and are written in functions that are themselves recorded.

A function that reads a part of a matrix (one triangle, some diagonals) has its derivative there, and zero elsewhere: a
cotangent goes to the element that was read, also where the matrix is symmetric.

A rule calls the ops, not NumPy's functions: an op that fails inside of a rule gives NaN and does not raise.
"""

from __future__ import annotations

import functools
import itertools
from typing import Any

import numpy as np

from numbad.errors import NumbadError, RecordingError, message
from numbad.limits import FEW_ROWS_OF_MATRIX, LEAST_TRIANGLE, TRIANGLE
from numbad.ops import reach
from numbad.ops.host import array_op
from numbad.ops.substitution import substitute

Shape = tuple[int, ...]


def transposed(a: Any) -> Any:
    """The last two axes exchanged."""
    return np.swapaxes(a, -1, -2)


def square_side(shape: Shape, name: str) -> int:
    """The side of square matrices, or LinAlgError."""
    if len(shape) < 2:
        raise np.linalg.LinAlgError(f"{name}: {len(shape)}-dimensional array given; at least two dimensions are needed")
    if shape[-1] != shape[-2]:
        raise np.linalg.LinAlgError(f"{name}: the last 2 dimensions of the array must be square, not {shape}")
    return shape[-1]


# ---------------------------------------------------------------- systems


def solution_shape(a: Shape, b: Shape) -> list[Shape]:
    """The shape of np.linalg.solve's result."""
    side = square_side(a, "solve")
    rows = b[-1] if len(b) == 1 else b[-2] if len(b) > 1 else -1
    if rows != side:
        raise ValueError(f"solve: shapes {a} and {b} do not fit")
    if len(b) == 1:
        return [(*a[:-2], side)]
    return [(*np.broadcast_shapes(a[:-2], b[:-2]), side, b[-1])]


def require_finite(*arrays: Any) -> None:
    """Raise SciPy's error for numbers that are not finite (check_finite)."""
    for values in arrays:
        if not np.isfinite(values).all():
            raise ValueError("array must not contain infs or NaNs")


@array_op(shapes=solution_shape, raises=True, stacks=True)
def solve(a: Any, b: Any) -> Any:
    """Solution of a @ x = b."""
    # A triangular matrix needs no factorization.
    if a.ndim == 2 and len(a) >= LEAST_TRIANGLE and b.ndim <= 2:
        if a[0, -1] == 0.0 and is_triangle(a, True):
            return substitute(a, b, lower=True)
        if a[-1, 0] == 0.0 and is_triangle(a, False):
            return substitute(a, b, lower=False)
    return np.linalg.solve(a, b)


solve.takes_columns = solve.columns_kernel = True


solve.reach = reach.in_stacks


def is_triangle(a: Any, lower: bool) -> bool:
    """Return whether a square matrix is zero on the other side of its diagonal."""
    a = a if lower else a.T
    for start in range(0, len(a), TRIANGLE):
        rows, behind = slice(start, start + TRIANGLE), slice(start + TRIANGLE, None)
        corner = a[rows, rows]
        if a[rows, behind].any() or np.where(lower_triangle(len(corner)), 0.0, corner).any():
            return False
    return True


@solve.vjp
def solve_vjp(bars: Any, results: Any, operands: Any) -> Any:
    a, b = operands
    x, bar = results[0], bars[0]
    if len(np.shape(b)) == len(np.shape(a)) - 1 == 1:
        b_bar = solve(transposed(a), bar)
        return -b_bar[:, None] * x, b_bar
    if len(np.shape(b)) == 1:
        x, bar = x[..., None], bar[..., None]
    b_bar = solve(transposed(a), bar)
    a_bar = unbroadcast(-b_bar @ transposed(x), np.shape(a))
    if len(np.shape(b)) == 1:
        return a_bar, unbroadcast(b_bar[..., 0], np.shape(b))
    return a_bar, unbroadcast(b_bar, np.shape(b))


def unbroadcast(bar: Any, shape: Shape) -> Any:
    """Sum a cotangent over the axes that were broadcast."""
    extra = np.ndim(bar) - len(shape)
    if extra:
        bar = np.sum(bar, axis=tuple(range(extra)))
    axes = tuple(k for k, (n, m) in enumerate(zip(np.shape(bar), shape, strict=True)) if n != m)
    return np.sum(bar, axis=axes, keepdims=True) if axes else bar


def inverse_shape(a: Shape) -> list[Shape]:
    """The shape of an inverse."""
    square_side(a, "inv")
    return [a]


@array_op(shapes=inverse_shape, raises=True, stacks=True)
def inverse(a: Any) -> Any:
    """Inverse matrix."""
    return np.linalg.inv(a)


inverse.reach = reach.in_stacks


@inverse.vjp
def inverse_vjp(bars: Any, results: Any, operands: Any) -> Any:
    x = transposed(results[0])
    return (-x @ bars[0] @ x,)


# ---------------------------------------------------------------- determinants


def number_shape(a: Shape) -> list[Shape]:
    """One number for each matrix."""
    square_side(a, "det")
    return [a[:-2]]


def per_matrix(bar: Any) -> Any:
    """Give a number for each matrix two axes, to multiply the matrix."""
    return np.reshape(bar, (*np.shape(bar), 1, 1))


@array_op(shapes=number_shape, stacks=True)
def determinant(a: Any) -> Any:
    """Determinant; its derivative, the matrix of cofactors, is exact for singular matrices."""
    return np.linalg.det(a)


determinant.reach = reach.in_stacks


@determinant.for_stacks
def determinants(a: Any) -> Any:
    """The same of a stack: of two or three rows by products, but where these might overflow or vanish."""
    side = a.shape[-1]
    if side not in (2, 3):
        return np.linalg.det(a)
    if side == 2:
        found = a[..., 0, 0] * a[..., 1, 1] - a[..., 0, 1] * a[..., 1, 0]
    else:
        (one, two, three), rest = (a[..., 0, k] for k in range(3)), a[..., 1:, :]
        found = one * (rest[..., 0, 1] * rest[..., 1, 2] - rest[..., 0, 2] * rest[..., 1, 1])
        found -= two * (rest[..., 0, 0] * rest[..., 1, 2] - rest[..., 0, 2] * rest[..., 1, 0])
        found += three * (rest[..., 0, 0] * rest[..., 1, 1] - rest[..., 0, 1] * rest[..., 1, 0])
    tiny = float(np.finfo(a.dtype).tiny) ** 0.9
    unsure = ~(np.isfinite(found) & (np.abs(found) > tiny))
    if unsure.any():
        found[unsure] = np.linalg.det(a[unsure])
    return found


@determinant.vjp
def determinant_vjp(bars: Any, results: Any, operands: Any) -> Any:
    return (per_matrix(bars[0]) * cofactors(operands[0]),)


MOST_MINORS = 1 << 24  # numbers of the table of products that a derivative of a determinant needs: 128 MB


@array_op(stacks=True)
def cofactors(a: Any, *directions: Any) -> Any:
    """The matrix of cofactors; with k directions, its k-th derivative along them. Exact for singular matrices.

    For a = u s v' these are det(u v) u (...) v', where the middle has sums over products of singular values without
    k + 1 of them, so nothing is divided by.
    """
    if not directions and 0 < np.shape(a)[-1] <= 3:
        return small_cofactors(np.asarray(a))
    try:
        u, s, v = np.linalg.svd(a)
    except np.linalg.LinAlgError:  # of NaN
        return np.full(np.shape(a), np.nan)
    turned = [transposed(u) @ direction @ transposed(v) for direction in directions]
    sign = per_matrix(np.sign(np.linalg.det(u) * np.linalg.det(v)))
    return sign * (u @ mixed_minors(s, turned) @ v)


cofactors.reach = reach.in_stacks


@cofactors.for_stacks
def cofactors_of_stack(a: Any, *directions: Any) -> Any:
    """The same of a stack, of which some matrices may hold NaN."""
    known = np.isfinite(a).all(axis=tuple(range(1, a.ndim)))
    if known.all() or not len(a) or (not directions and a.shape[-1] <= 3):
        return cofactors.kernel(a, *directions)
    found = np.full(np.shape(a), np.nan, a.dtype)
    found[known] = cofactors.kernel(a[known], *(direction[known] for direction in directions))
    return found


def small_cofactors(a: np.ndarray) -> np.ndarray:
    """Return the cofactors of matrices of one to three rows: products of two elements."""
    side = a.shape[-1]
    if side == 1:
        return np.ones_like(a)
    if side == 2:
        return a[..., ::-1, ::-1] * np.array([[1.0, -1.0], [-1.0, 1.0]], a.dtype)
    found = np.empty_like(a)
    for row, column in np.ndindex(3, 3):
        one, two, left, right = (row + 1) % 3, (row + 2) % 3, (column + 1) % 3, (column + 2) % 3
        found[..., row, column] = a[..., one, left] * a[..., two, right] - a[..., one, right] * a[..., two, left]
    return found


@cofactors.vjp
def cofactors_vjp(bars: Any, results: Any, operands: Any) -> Any:
    a, *directions = operands
    g = bars[0]
    others = [directions[:k] + directions[k + 1 :] for k in range(len(directions))]
    return (cofactors(a, *directions, g), *(cofactors(a, *rest, g) for rest in others))


def mixed_minors(s: Any, parts: list[Any]) -> Any:
    """Return the cofactors of diag(s), differentiated along some matrices.

    Leibniz's formula: each way to permute k + 1 rows, k of which are taken from the parts.
    """
    count = len(parts) + 1
    products = left_out(s, count)
    rows = "abcdefghijklm"[:count]
    total = np.zeros((*s.shape, s.shape[-1]))
    side = np.arange(s.shape[-1])
    for order in itertools.permutations(range(count)):
        columns = [rows[k] for k in order]
        terms = ",".join(f"...{row}{column}" for row, column in zip(rows[:-1], columns[:-1], strict=True))
        given = f"...{rows}" + ("," + terms if terms else "")
        if order[-1] == count - 1:
            total[..., side, side] += parity(order) * np.einsum(f"{given}->...{rows[-1]}", products, *parts)
        else:
            total += parity(order) * np.einsum(f"{given}->...{rows[-1]}{columns[-1]}", products, *parts)
    return total


def parity(order: tuple[int, ...]) -> int:
    """Return the sign of a permutation."""
    return -1 if sum(a > b for a, b in itertools.combinations(order, 2)) % 2 else 1


def left_out(s: Any, count: int) -> Any:
    """Return the products of all singular values but some, for each choice of `count` places; zero where two agree."""
    side = s.shape[-1]
    if side**count > max(MOST_MINORS, side * side):
        raise NumbadError(
            message(
                f"derivative {count} of the determinant of matrices of {side} rows needs {side}**{count} products",
                "differentiate np.linalg.slogdet in place of np.linalg.det",
                where=False,
            )
        )
    places = np.indices((side,) * count, sparse=True)
    products = np.ones((*s.shape[:-1], *(side,) * count))
    for left in range(side):
        taken = np.zeros((), bool)
        for place in places:
            taken = taken | (place == left)
        products *= np.where(taken, 1.0, s[..., left].reshape(s.shape[:-1] + (1,) * count))
    for one, other in itertools.combinations(places, 2):
        products *= one != other
    return products


def sign_log_shape(a: Shape) -> list[Shape]:
    """Two numbers for each matrix."""
    square_side(a, "slogdet")
    return [a[:-2], a[:-2]]


@array_op(shapes=sign_log_shape, stacks=True)
def sign_log_determinant(a: Any) -> Any:
    """Sign and logarithm of the absolute value of the determinant."""
    return tuple(np.linalg.slogdet(a))


sign_log_determinant.reach = reach.in_stacks


@sign_log_determinant.vjp
def sign_log_determinant_vjp(bars: Any, results: Any, operands: Any) -> Any:
    bar = per_matrix(bars[1])
    inverted = transposed(inverse(operands[0]))
    return (bar * np.where(np.isnan(inverted) & (bar == 0.0), 0.0, inverted),)


# ---------------------------------------------------------------- symmetric matrices


def to_triangle(bar: Any, upper: bool) -> Any:
    """Return the cotangent of a matrix of which one triangle is read, given that of the symmetric matrix."""
    if type(bar) is np.ndarray and bar.ndim == 2:
        found = bar + bar.T
        np.fill_diagonal(found, bar.diagonal())
        return np.where(lower_triangle(len(bar)).T if upper else lower_triangle(len(bar)), found, 0.0)
    both = bar + transposed(bar)
    off = np.triu(both, 1) if upper else np.tril(both, -1)
    return off + np.triu(np.tril(bar))


def from_triangle(a: Any, upper: bool) -> Any:
    """Return the symmetric matrix of which one triangle is given."""
    half = np.triu(a) if upper else np.tril(a)
    return half + transposed(np.triu(a, 1) if upper else np.tril(a, -1))


def same_square(a: Shape, **_: Any) -> list[Shape]:
    """The shape of a triangular factor."""
    square_side(a, "cholesky")
    return [a]


@array_op(shapes=same_square, raises=True, stacks=True)
def cholesky(a: Any, upper: bool, finite: bool = False) -> Any:
    """Triangular factor of a positive definite matrix, of which one triangle is read."""
    if finite:
        require_finite(a)
    factor = np.linalg.cholesky(transposed(a) if upper else a)
    return transposed(factor) if upper else factor


cholesky.reach = reach.in_stacks


@cholesky.vjp
def cholesky_vjp(bars: Any, results: Any, operands: Any, upper: bool, finite: bool = False) -> Any:
    factor, bar = results[0], bars[0]
    if upper:
        factor, bar = transposed(factor), transposed(bar)
    if type(bar) is np.ndarray and bar.ndim == 2 and len(bar) > FEW_ROWS_OF_MATRIX:
        found = blocks_pulled_back(np.asarray(factor), bar)
        return (transposed(found) if upper else found,)
    return (pulled_back(factor, bar, upper),)


def pulled_back(factor: Any, bar: Any, upper: bool) -> Any:
    """Return the cotangent of the triangle that is read, given the lower factor and its cotangent (Giles, 2008)."""
    inner = halved(transposed(factor) @ bar)
    if type(inner) is np.ndarray and inner.ndim == 2 and type(factor) is np.ndarray:
        left = substitute(factor, inner, lower=True, trans=True)
        return to_triangle(substitute(factor, left, lower=True, right=True), upper)
    left = solve(transposed(factor), inner)
    return to_triangle(transposed(solve(transposed(factor), transposed(left))), upper)


def blocks_pulled_back(factor: Any, bar: Any) -> Any:
    """Return the same for the lower triangle of a large matrix, block after block, the last one first.

    Murray, *Differentiation of the Cholesky decomposition*, 2016, section 3.4: a sixth of the multiplications.
    """
    found = np.where(lower_triangle(len(bar)), bar, 0.0)
    stop = len(bar)
    while stop:
        start = (stop - 1) // TRIANGLE * TRIANGLE
        left, rows, below = slice(0, start), slice(start, stop), slice(stop, None)
        corner, under = factor[rows, rows], found[below, rows]
        if len(under):
            under[...] = substitute(corner, under, lower=True, right=True)
            found[below, left] -= under @ factor[rows, left]
            found[rows, rows] -= np.tril(under.T @ factor[below, rows])
            found[rows, left] -= under.T @ factor[below, left]
        found[rows, rows] = pulled_back(corner, found[rows, rows], False)
        both = found[rows, rows] + found[rows, rows].T
        found[rows, left] -= both @ factor[rows, left]
        stop = start
    return found


@functools.lru_cache(8)
def lower_triangle(side: int) -> Any:
    """Return the truth for each element of a square matrix whether it lies in the lower triangle; not to be changed."""
    return np.tri(side, dtype=bool)


def halved(a: Any) -> Any:
    """Return the lower triangle with half the diagonal."""
    if type(a) is np.ndarray and a.ndim == 2:
        found = np.where(lower_triangle(len(a)), a, 0.0)
        np.fill_diagonal(found, 0.5 * a.diagonal())
        return found
    return np.tril(a) * (1.0 - 0.5 * np.eye(np.shape(a)[-1], dtype=a.dtype))


def spectrum_shape(a: Shape, upper: bool) -> list[Shape]:
    """The shapes of eigenvalues and eigenvectors."""
    square_side(a, "eigh")
    return [a[:-1], a]


@array_op(shapes=spectrum_shape, raises=True, stacks=True)
def symmetric_eigen(a: Any, upper: bool) -> Any:
    """Eigenvalues in ascending order and eigenvectors of a symmetric matrix, of which one triangle is read.

    Where eigenvalues are equal, what depends on the eigenvalues alone has a derivative; what turns with the
    eigenvectors among them has none, and gives NaN.
    """
    return tuple(np.linalg.eigh(a, "U" if upper else "L"))


symmetric_eigen.reach = reach.in_stacks


@symmetric_eigen.vjp
def symmetric_eigen_vjp(bars: Any, results: Any, operands: Any, upper: bool) -> Any:
    w, v = results
    w_bar, v_bar = bars
    if is_zero(v_bar):
        return (to_triangle(with_eigenvalues(operands[0], w_bar, upper=upper), upper),)
    turned = over_gaps(w, transposed(v) @ v_bar)
    inner = 0.5 * (turned + transposed(turned)) + diagonal_matrix(w_bar)
    return (to_triangle(v @ inner @ transposed(v), upper),)


@array_op(shapes=lambda a, upper: spectrum_shape(a, upper)[:1], raises=True, stacks=True)
def symmetric_eigenvalues(a: Any, upper: bool) -> Any:
    """Eigenvalues in ascending order of a symmetric matrix, of which one triangle is read."""
    return np.linalg.eigh(a, "U" if upper else "L")[0]


symmetric_eigenvalues.reach = reach.in_stacks


@symmetric_eigenvalues.vjp
def symmetric_eigenvalues_vjp(bars: Any, results: Any, operands: Any, upper: bool) -> Any:
    return (to_triangle(with_eigenvalues(operands[0], bars[0], upper=upper), upper),)


def symmetric_eigenvalues_jvp(operands: Any, dots: Any, upper: bool) -> Any:
    """The tangents of eigenvalues."""
    return eigenvalue_slopes(operands[0], from_triangle(dots[0], upper), upper=upper)


symmetric_eigenvalues.jvp_function = symmetric_eigenvalues_jvp


@array_op(shapes=lambda a, weights, upper: [a], stacks=True)
def with_eigenvalues(a: Any, weights: Any, upper: bool) -> Any:
    """The symmetric matrix that has the eigenvectors of another and given eigenvalues.

    It is the derivative of a weighted sum of eigenvalues. Where eigenvalues are equal and their weights too, it does
    not matter which eigenvectors LAPACK returns. Where the weights differ there is no derivative: NaN.
    """
    w, v = symmetric_eigen(a, upper=upper)
    return v @ (diagonal_matrix(weights) + torn_apart(w, weights)) @ transposed(v)


@with_eigenvalues.vjp
def with_eigenvalues_vjp(bars: Any, results: Any, operands: Any, upper: bool) -> Any:
    a, weights = operands
    w, v = symmetric_eigen(a, upper=upper)
    turned = even(transposed(v) @ bars[0] @ v)
    a_bar = to_triangle(v @ (divided_differences(w, weights) * turned) @ transposed(v), upper)
    # weights that follow equal eigenvalues change apart from one another, which turns the eigenvectors: no derivative
    apart = np.sum(undefined(turned, equal_pairs(w)), axis=-1)
    return a_bar, np.diagonal(turned, axis1=-2, axis2=-1) + apart


@array_op(shapes=lambda a, direction, upper: [a[:-1]], stacks=True)
def eigenvalue_slopes(a: Any, direction: Any, upper: bool) -> Any:
    """The derivatives of the eigenvalues of a symmetric matrix in a symmetric direction.

    Equal eigenvalues part in the direction as the eigenvalues of its block do.
    """
    _, _, turned = aligned(a, direction, upper)
    return np.diagonal(turned, axis1=-2, axis2=-1)


@eigenvalue_slopes.vjp
def eigenvalue_slopes_vjp(bars: Any, results: Any, operands: Any, upper: bool) -> Any:
    bar = bars[0]
    w, v, turned = aligned(operands[0], operands[1], upper)
    equal = equal_pairs(w)
    torn = undefined(np.broadcast_to(bar[..., None, :], np.shape(turned)), equal)
    inner = inverse_gaps(w, equal) * (bar[..., None, :] - bar[..., :, None]) * turned + torn + transposed(torn)
    again = equal & equal_pairs(np.diagonal(turned, axis1=-2, axis2=-1))
    straight = diagonal_matrix(bar) + undefined(bar[..., None, :] - bar[..., :, None], again)
    return to_triangle(v @ inner @ transposed(v), upper), v @ straight @ transposed(v)


def eigenvalue_slopes_jvp(operands: Any, dots: Any, upper: bool) -> Any:
    """The tangents of the slopes: right along the line that the direction gives, NaN where another parts equal ones."""
    w, v, turned = aligned(operands[0], operands[1], upper)
    equal = equal_pairs(w)
    total: Any = np.zeros(np.shape(w))
    if dots[0] is not None:
        crossed = transposed(v) @ from_triangle(dots[0], upper) @ v
        total = total - 2.0 * np.sum(inverse_gaps(w, equal) * turned * crossed, axis=-1) + parted(crossed, equal)
    if dots[1] is not None:
        crossed = transposed(v) @ dots[1] @ v
        total = total + np.diagonal(crossed, axis1=-2, axis2=-1) + parted(crossed, equal)
    return total


eigenvalue_slopes.jvp_function = eigenvalue_slopes_jvp


def aligned(a: Any, direction: Any, upper: bool) -> tuple[Any, Any, Any]:
    """Return eigenvalues, eigenvectors by which a direction is diagonal where eigenvalues are equal, and it by them."""
    w, v = symmetric_eigen(a, upper=upper)
    v = v @ rotation_of_equals(w, even(transposed(v) @ direction @ v))
    return w, v, even(transposed(v) @ direction @ v)


@array_op(shapes=lambda w, x: [x], stacks=True)
def rotation_of_equals(w: Any, x: Any) -> Any:
    """The rotation among sorted numbers that are equal which makes a symmetric matrix diagonal there; kept fixed."""
    side = w.shape[-1]
    rotations = np.broadcast_to(np.eye(side), x.shape).copy()
    near = np.abs(np.diff(w, axis=-1)) <= rounding(w)[..., None]
    for place in map(tuple, np.argwhere(near.any(axis=-1))):
        ends = np.flatnonzero(~near[place]) + 1
        for first, last in zip([0, *ends], [*ends, side], strict=True):
            block = x[place][first:last, first:last]
            if last - first > 1 and np.isfinite(block).all():
                rotations[place][first:last, first:last] = np.linalg.eigh(block)[1]
    return rotations


@rotation_of_equals.vjp
def rotation_of_equals_vjp(bars: Any, results: Any, operands: Any) -> tuple[None, None]:
    return None, None


def even(x: Any) -> Any:
    """Return the symmetric part."""
    return 0.5 * (x + transposed(x))


def parted(x: Any, equal: Any) -> Any:
    """Return NaN for numbers that are equal to others, where a direction mixes them by more than rounding."""
    limit = 16.0 * np.shape(x)[-1] * np.finfo(x.dtype).eps * np.max(np.abs(x), axis=(-2, -1), keepdims=True)
    return np.where(np.any(equal & (np.abs(x) > limit), axis=-1), np.nan, 0.0)


def is_zero(bar: Any) -> bool:
    """Whether a cotangent is known to be zero throughout."""
    return isinstance(bar, np.ndarray) and not bar.any()


def diagonal_matrix(values: Any) -> Any:
    """Return stacks of diagonal matrices."""
    return np.eye(np.shape(values)[-1], dtype=values.dtype) * values[..., None, :]


def rounding(w: Any) -> Any:
    """Return by how much numbers may differ, in stacks, that would be equal but for rounding."""
    return 4.0 * np.shape(w)[-1] * np.finfo(w.dtype).eps * np.max(np.abs(w), axis=-1, initial=0.0)


def equal_pairs(w: Any) -> Any:
    """Return which pairs of different numbers are equal but for rounding."""
    difference = w[..., None, :] - w[..., :, None]
    return (np.abs(difference) <= rounding(w)[..., None, None]) & ~np.eye(np.shape(w)[-1], dtype=bool)


def inverse_gaps(w: Any, equal: Any) -> Any:
    """Return 1 / (w[j] - w[i]); zero on the diagonal and where two are equal."""
    difference = w[..., None, :] - w[..., :, None]
    left = equal | np.eye(np.shape(w)[-1], dtype=bool)
    return np.where(left, 0.0, 1.0 / np.where(left, 1.0, difference))


def over_gaps(w: Any, x: Any) -> Any:
    """Return x[i, j] / (w[j] - w[i]), NaN where that divides what is not zero by zero."""
    equal = equal_pairs(w)
    return inverse_gaps(w, equal) * x + undefined(x, equal)


def divided_differences(w: Any, weights: Any) -> Any:
    """Return (weights[j] - weights[i]) / (w[j] - w[i]), zero where two are equal and their weights too."""
    difference = weights[..., None, :] - weights[..., :, None]
    return inverse_gaps(w, equal_pairs(w)) * difference + torn_apart(w, weights)


def torn_apart(w: Any, weights: Any) -> Any:
    """Return NaN for pairs of equal numbers whose weights differ by more than rounding, else 0."""
    difference = weights[..., None, :] - weights[..., :, None]
    limit = np.finfo(w.dtype).eps ** 0.6 * np.max(np.abs(weights), axis=-1, initial=0.0)[..., None, None]
    return undefined(difference, equal_pairs(w) & ~(np.abs(difference) <= limit))


@array_op(stacks=True)
def undefined(x: Any, where: Any) -> Any:
    """Zero, but NaN at chosen places where x is not zero: a term that is infinite unless nothing flows into it."""
    return np.where((where != 0.0) & (x != 0.0), np.nan, 0.0)


@undefined.vjp
def undefined_vjp(bars: Any, results: Any, operands: Any) -> Any:
    return undefined(bars[0], operands[1]), None


# ---------------------------------------------------------------- eigenvalues of general matrices


def eigen_shape(a: Shape) -> list[Shape]:
    """The shapes of eigenvalues and eigenvectors."""
    square_side(a, "eig")
    return [a[:-1], a]


@array_op(shapes=eigen_shape, raises=True)
def real_eigen(a: Any) -> Any:
    """Eigenvalues and eigenvectors of length 1 of matrices whose eigenvalues are real."""
    w, v = np.linalg.eig(a)
    if np.iscomplexobj(w):
        w, v = np.full(w.shape, np.nan), np.full(v.shape, np.nan)
    return w, v


@real_eigen.for_stacks
def real_eigen_of_stack(a: Any) -> Any:
    """The same of a stack, of which some matrices may have complex eigenvalues."""
    w, v = np.linalg.eig(a)
    if np.iscomplexobj(w):
        mixed = (w.imag != 0.0).any(axis=tuple(range(1, w.ndim)))
        w, v = w.real.copy(), v.real.copy()
        w[mixed], v[mixed] = np.nan, np.nan
    return w, v


@real_eigen.vjp
def real_eigen_vjp(bars: Any, results: Any, operands: Any) -> Any:
    w, v = results
    w_bar, v_bar = bars
    inner = diagonal_matrix(w_bar)
    if not is_zero(v_bar):
        across = v_bar - v * np.sum(v * v_bar, axis=-2, keepdims=True)  # columns keep their length
        inner = inner + over_gaps(w, transposed(v) @ across)
    return (solve(transposed(v), inner @ transposed(v)),)


# ---------------------------------------------------------------- orthogonal factors


def qr_shape(a: Shape) -> list[Shape]:
    """The shapes of the reduced factors."""
    rows, columns = a[-2:]
    side = min(rows, columns)
    return [(*a[:-2], rows, side), (*a[:-2], side, columns)]


@array_op(shapes=qr_shape, stacks=True)
def reduced_qr(a: Any) -> Any:
    """Orthonormal columns and a triangle whose product is the matrix."""
    return tuple(np.linalg.qr(a))


@reduced_qr.vjp
def reduced_qr_vjp(bars: Any, results: Any, operands: Any) -> Any:
    q, r = results
    q_bar, r_bar = bars
    rows = np.shape(q)[-2]
    if np.shape(r)[-1] <= rows:
        return (tall_qr_pullback(q, r, q_bar, r_bar),)
    rest, rest_bar = operands[0][..., rows:], r_bar[..., rows:]
    head = tall_qr_pullback(q, r[..., :rows], q_bar + rest @ transposed(rest_bar), r_bar[..., :rows])
    return (np.concatenate([head, q @ rest_bar], axis=-1),)


def tall_qr_pullback(q: Any, r: Any, q_bar: Any, r_bar: Any) -> Any:
    """Take cotangents back through a factorization with at least as many rows as columns."""
    m = r @ transposed(r_bar) - transposed(q_bar) @ q
    symmetric = np.tril(m, -1) + transposed(np.tril(m, -1)) + np.triu(np.tril(m))
    return transposed(solve(r, transposed(q_bar + q @ symmetric)))


def rest_shape(a: Shape, name: str, left: bool) -> list[Shape]:
    """The shape of the vectors that complete an orthonormal basis: columns on the left, rows on the right."""
    rows, columns = a[-2:]
    return [(*a[:-2], rows, rows - columns) if left else (*a[:-2], columns - rows, columns)]


@array_op(shapes=rest_shape, stacks=True)
def rest_of_basis(a: Any, name: str, left: bool) -> Any:
    """The vectors by which a full factorization completes the basis of a reduced one; they have no derivative."""
    try:
        if name == "qr":
            return np.linalg.qr(a, mode="complete")[0][..., a.shape[-1] :]
        u, _, v = np.linalg.svd(a)
    except np.linalg.LinAlgError:
        return np.full(rest_shape(a.shape, name, left)[0], np.nan)
    return u[..., a.shape[-1] :] if left else v[..., a.shape[-2] :, :]


@rest_of_basis.vjp
def rest_of_basis_vjp(bars: Any, results: Any, operands: Any, name: str, left: bool) -> Any:
    what = "qr (mode 'complete' or 'full')" if name == "qr" else "svd (full_matrices=True)"
    do = "np.linalg.qr(a)" if name == "qr" else "np.linalg.svd(a, full_matrices=False)"
    raise RecordingError(
        message(f"the vectors by which {what} completes a basis have no derivative", f"use {do}", where=False)
    )


def rest_of_basis_jvp(operands: Any, dots: Any, name: str, left: bool) -> Any:
    """NaN: the tangents may not be wanted at all."""
    return np.full(rest_shape(np.shape(operands[0]), name, left)[0], np.nan)


rest_of_basis.jvp_function = rest_of_basis_jvp


# ---------------------------------------------------------------- singular values


def svd_shape(a: Shape, full: bool) -> list[Shape]:
    """The shapes of thin factors."""
    rows, columns = a[-2:]
    side, stack = min(rows, columns), a[:-2]
    return [(*stack, rows, side), (*stack, side), (*stack, side, columns)]


@array_op(shapes=svd_shape, raises=True, stacks=True)
def singular_values(a: Any, full: bool) -> Any:
    """Thin singular vectors and singular values; `full` says how LAPACK is asked, which may change signs.

    Where singular values are equal, what depends on them alone has a derivative; what turns with the
    vectors among them has none, and gives NaN.
    """
    u, s, v = np.linalg.svd(a, full_matrices=full)
    side = s.shape[-1]
    return u[..., :side], s, v[..., :side, :]


@singular_values.vjp
def singular_values_vjp(bars: Any, results: Any, operands: Any, full: bool) -> Any:
    u, s, v = results
    u_bar, s_bar, v_bar = bars
    if is_zero(u_bar) and is_zero(v_bar):
        return (with_singular_values(operands[0], s_bar),)
    from_u = over_gaps(s * s, transposed(u) @ u_bar)
    from_v = over_gaps(s * s, v @ transposed(v_bar))
    inner = (from_u + transposed(from_u)) * s[..., None, :] + s[..., :, None] * (from_v + transposed(from_v))
    total = u @ (inner + diagonal_matrix(s_bar)) @ v
    if np.shape(u)[-2] > np.shape(s)[-1]:
        total = total + over_values(s, outside_left(u, u_bar)) @ v
    if np.shape(v)[-1] > np.shape(s)[-1]:
        total = total + u @ transposed(over_values(s, outside_left(transposed(v), transposed(v_bar))))
    return (total,)


def outside_left(u: Any, x: Any) -> Any:
    """Return the part of columns that is orthogonal to orthonormal columns."""
    return x - u @ (transposed(u) @ x)


def negligible(s: Any) -> Any:
    """Return which singular values are zero but for rounding."""
    return s <= rounding(s)[..., None]


def over_values(s: Any, x: Any) -> Any:
    """Return columns over singular values, NaN where that divides what is not zero by zero."""
    zero = negligible(s)
    inverse_s = np.where(zero, 0.0, 1.0 / np.where(zero, 1.0, s))
    return inverse_s[..., None, :] * x + undefined(x, np.broadcast_to(zero[..., None, :], np.shape(x)))


@array_op(shapes=lambda a: [(*a[:-2], min(a[-2:]))], raises=True, stacks=True)
def singular_values_only(a: Any) -> Any:
    """Singular values."""
    return np.linalg.svd(a, compute_uv=False)


singular_values_only.reach = reach.in_stacks


@singular_values_only.vjp
def singular_values_only_vjp(bars: Any, results: Any, operands: Any) -> Any:
    return (with_singular_values(operands[0], bars[0]),)


def singular_values_only_jvp(operands: Any, dots: Any) -> Any:
    """The tangents of singular values."""
    return singular_value_slopes(operands[0], dots[0])


singular_values_only.jvp_function = singular_values_only_jvp


@array_op(shapes=lambda a, weights: [a], stacks=True)
def with_singular_values(a: Any, weights: Any) -> Any:
    """The matrix that has the singular vectors of another and given singular values.

    It is the derivative of a weighted sum of singular values; where some are equal, see `with_eigenvalues`. At zero,
    where a singular value has a kink, it is that of one side.
    """
    u, s, v = singular_values(a, full=False)
    return u @ (diagonal_matrix(weights) + torn_apart(s, weights)) @ v


@with_singular_values.vjp
def with_singular_values_vjp(bars: Any, results: Any, operands: Any) -> Any:
    a, weights = operands
    g = bars[0]
    u, s, v = singular_values(a, full=False)
    turned = transposed(u) @ g @ transposed(v)
    apart = np.sum(undefined(even(turned), equal_pairs(s)), axis=-1)
    apart = apart + np.sum(undefined(turned - transposed(turned), zero_pairs(s)), axis=-1)
    zero = negligible(s)[..., None, :]
    for outside in leads_outside(u, v, g):
        apart = apart + np.sum(undefined(outside, np.broadcast_to(zero, np.shape(outside))), axis=-2)
    return turn_singular(u, s, v, weights, g), np.diagonal(turned, axis1=-2, axis2=-1) + apart


def leads_outside(u: Any, v: Any, g: Any) -> list[Any]:
    """Return what a direction moves out of the spaces of thin factors: columns, one for each singular value."""
    found = []
    if np.shape(u)[-2] > np.shape(u)[-1]:
        found.append(outside_left(u, g @ transposed(v)))
    if np.shape(v)[-1] > np.shape(v)[-2]:
        found.append(outside_left(transposed(v), transposed(g) @ u))
    return found


@array_op(shapes=lambda a, direction: [(*a[:-2], min(a[-2:]))], stacks=True)
def singular_value_slopes(a: Any, direction: Any) -> Any:
    """The derivatives of singular values in a direction; NaN at zero, where they have a kink.

    The one zero of a square matrix changes its sign instead, with that of a singular vector.
    """
    u, s, v, turned = aligned_singular(a, direction)
    zero = negligible(s)
    smooth = (np.shape(a)[-1] == np.shape(a)[-2]) & (np.sum(zero, axis=-1, keepdims=True) == 1)
    left, right = u * ~zero[..., None, :], v * ~zero[..., :, None]
    kernel = outside_left(left, direction)
    kernel = kernel - (kernel @ transposed(right)) @ right
    limit = 16.0 * max(np.shape(a)[-2:]) * np.finfo(s.dtype).eps * np.max(np.abs(direction), axis=(-2, -1), initial=0.0)
    moved = np.max(np.abs(kernel), axis=(-2, -1), initial=0.0) > limit
    return np.diagonal(turned, axis1=-2, axis2=-1) + np.where(zero & ~smooth & moved[..., None], np.nan, 0.0)


@singular_value_slopes.vjp
def singular_value_slopes_vjp(bars: Any, results: Any, operands: Any) -> Any:
    bar = bars[0]
    u, s, v, turned = aligned_singular(*operands)
    torn = undefined(np.broadcast_to(bar[..., None, :], np.shape(turned)), equal_pairs(s))
    torn = u @ (torn + transposed(torn)) @ v
    again = equal_pairs(s) & equal_pairs(np.diagonal(turned, axis1=-2, axis2=-1))
    straight = diagonal_matrix(bar) + undefined(bar[..., None, :] - bar[..., :, None], again)
    return turn_singular(u, s, v, bar, operands[1], True) + torn, u @ straight @ v


def aligned_singular(a: Any, direction: Any) -> tuple[Any, Any, Any, Any]:
    """Return factors by which the symmetric part of a direction is diagonal where values are equal, and it by them."""
    u, s, v = singular_values(a, full=False)
    rotation = rotation_of_equals(s, even(transposed(u) @ direction @ transposed(v)))
    u, v = u @ rotation, transposed(rotation) @ v
    return u, s, v, transposed(u) @ direction @ transposed(v)


def turn_singular(u: Any, s: Any, v: Any, weights: Any, g: Any, alike: bool = False) -> Any:
    """Return the derivative in a direction of the matrix that has given singular values.

    Its symmetric part turns both bases alike, its skew part one against the other; what leads out of one turns it.
    Pairs of equal values that are `alike` are left out.
    """
    turned = transposed(u) @ g @ transposed(v)
    odd = 0.5 * (turned - transposed(turned))
    difference = weights[..., None, :] - weights[..., :, None]
    slopes = inverse_gaps(s, equal_pairs(s)) * difference if alike else divided_differences(s, weights)
    inner = slopes * even(turned) + divided_sums(s, weights) * odd
    inner = inner + diagonal_matrix(undefined(weights, negligible(s)) * np.diagonal(turned, axis1=-2, axis2=-1))
    total = u @ inner @ v
    ratio = over_values(s, weights[..., None, :])
    return total + outside_terms(u, v, g, ratio)


def outside_terms(u: Any, v: Any, g: Any, ratio: Any) -> Any:
    """Return the terms by which a direction turns thin factors out of their spaces."""
    total: Any = 0.0
    if np.shape(u)[-2] > np.shape(u)[-1]:
        total = total + (outside_left(u, g @ transposed(v)) * ratio) @ v
    if np.shape(v)[-1] > np.shape(v)[-2]:
        total = total + u @ transposed(outside_left(transposed(v), transposed(g) @ u) * ratio)
    return total


def zero_pairs(s: Any) -> Any:
    """Return which pairs of singular values have a sum of zero but for rounding."""
    return s[..., None, :] + s[..., :, None] <= rounding(s)[..., None, None]


def divided_sums(s: Any, weights: Any) -> Any:
    """Return (weights[j] + weights[i]) / (s[j] + s[i]), zero where both sums are zero."""
    total = weights[..., None, :] + weights[..., :, None]
    zero = zero_pairs(s)
    ratio = total / np.where(zero, 1.0, s[..., None, :] + s[..., :, None])
    return np.where(zero, 0.0, ratio) + undefined(total, zero & ~np.eye(np.shape(s)[-1], dtype=bool))


# ---------------------------------------------------------------- least squares


def cut_off(s: Any, rtol: Any) -> Any:
    """Return which singular values, in stacks, a pseudoinverse keeps."""
    return s > np.asarray(rtol)[..., None] * np.max(s, axis=-1, initial=0.0, keepdims=True)


@array_op(shapes=lambda a, rtol: [(*a[:-2], a[-1], a[-2])], raises=True, stacks=True)
def pseudoinverse(a: Any, rtol: Any) -> Any:
    """Pseudoinverse of which nothing but rounding is cut off, differentiated at constant rank."""
    return np.linalg.pinv(a, rtol)


pseudoinverse.reach = reach.in_stacks


@pseudoinverse.vjp
def pseudoinverse_vjp(bars: Any, results: Any, operands: Any, rtol: Any) -> Any:
    a, p = operands[0], results[0]
    g, pt, gt = bars[0], transposed(p), transposed(bars[0])
    outside_rows = gt @ p @ pt
    outside_columns = pt @ p @ gt
    bar = -pt @ g @ pt + outside_rows - a @ (p @ outside_rows) + outside_columns - (outside_columns @ p) @ a
    return (bar,)


@array_op(shapes=lambda a, rtol: [(*a[:-2], a[-1], a[-2])], raises=True, stacks=True)
def truncated_pseudoinverse(a: Any, rtol: Any) -> Any:
    """Pseudoinverse without small singular values, which turn the vectors of the others nevertheless."""
    return np.linalg.pinv(a, rtol)


@truncated_pseudoinverse.vjp
def truncated_pseudoinverse_vjp(bars: Any, results: Any, operands: Any, rtol: Any) -> Any:
    a, g = operands[0], transposed(bars[0])
    u, s, v = singular_values(a, full=False)
    kept = cut_off(s, rtol) * 1.0
    inverse_s = kept / np.where(kept != 0.0, s, 1.0)
    turned = transposed(u) @ g @ transposed(v)
    return (truncated_slope(u, s, v, inverse_s, kept, turned, g),)


def truncated_slope(u: Any, s: Any, v: Any, inverse_s: Any, kept: Any, turned: Any, g: Any) -> Any:
    """Return the derivative in a direction of the matrix that has singular values 1 / s, or 0 where they are cut off.

    It is written without differences of those that are kept: (1/s - 1/t) / (s - t) is -1 / (s t).
    """
    both = inverse_s[..., None, :] * inverse_s[..., :, None]
    one = kept[..., None, :] - kept[..., :, None]  # 1 where only the column is kept, -1 where only the row is
    squares = s[..., None, :] ** 2 - s[..., :, None] ** 2
    mixed = one / np.where(one != 0.0, squares, 1.0)
    larger = np.where(one > 0.0, s[..., None, :], np.where(one < 0.0, s[..., :, None], 1.0))
    smaller = np.where(one > 0.0, s[..., :, None], np.where(one < 0.0, s[..., None, :], 0.0))
    inner = mixed * turned + (mixed * smaller / larger - both) * transposed(turned)
    total = u @ inner @ v
    ratio = (inverse_s * inverse_s)[..., None, :]
    return total + outside_terms(u, v, g, ratio)


@array_op(shapes=lambda a, b, rcond: [(a[-1], *b[1:])], raises=True)
def least_squares(a: Any, b: Any, rcond: Any) -> Any:
    """The shortest of the vectors x that minimize the norm of a @ x - b, differentiated at constant rank."""
    return np.linalg.lstsq(a, b, rcond)[0]


least_squares.takes_columns = True


@least_squares.for_stacks
def least_squares_of_stack(a: Any, b: Any, rcond: Any) -> Any:
    """The same of a stack, by singular values as LAPACK's gelsd."""
    u, s, v = np.linalg.svd(a, full_matrices=False)
    least = np.finfo(s.dtype).eps * max(np.shape(a)[-2:]) if rcond is None else rcond
    least = np.finfo(s.dtype).eps if least < 0.0 else least
    kept = cut_off(s, least)
    inverse_s = np.where(kept, 1.0 / np.where(kept, s, 1.0), 0.0)
    return transposed(v) @ (inverse_s[..., None] * (transposed(u) @ b))


@least_squares.vjp
def least_squares_vjp(bars: Any, results: Any, operands: Any, rcond: Any) -> Any:
    a, b = operands
    x, bar = results[0], bars[0]
    flat = np.ndim(b) == 1
    if flat:
        x, bar, b = x[:, None], bar[:, None], b[:, None]
    p = pseudoinverse(a, rtol=rcond)
    b_bar = transposed(p) @ bar
    y = transposed(p) @ x
    a_bar = -b_bar @ transposed(x) + (b - a @ x) @ transposed(p @ b_bar) + y @ transposed(bar - p @ (a @ bar))
    return a_bar, b_bar[:, 0] if flat else b_bar
