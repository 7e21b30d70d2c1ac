"""Linear algebra by LAPACK, each with the rule that takes cotangents back.

Rules follow Giles, Collected matrix derivative results for forward and reverse mode (2008), and for the
constant-rank pseudoinverse Golub and Pereyra, SIAM J. Numer. Anal. 10 (1973) 413. They work on
stacks of matrices, and are written in functions that are themselves recorded.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from numbad.errors import NumbadError, message
from numbad.ops.definition import BY_NAME
from numbad.ops.host import array_op

Shape = tuple[int, ...]


def transposed(a: Any) -> Any:
    """The last two axes exchanged."""
    return np.swapaxes(a, -1, -2)


def scale(factor: Any, x: Any) -> Any:
    """factor * x, where zero times anything, NaN included, is zero."""
    return BY_NAME["scale"](factor, x)


def matrix_stack(shape: Shape) -> Shape:
    """The shape of a stack of matrices."""
    return shape[:-2]


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


@array_op(shapes=solution_shape)
def solve(a: Any, b: Any) -> Any:
    """Solution of a @ x = b."""
    return np.linalg.solve(a, b)


@solve.vjp
def solve_vjp(bars: Any, results: Any, operands: Any) -> Any:
    a, b = operands
    x, bar = results[0], bars[0]
    if len(np.shape(b)) == 1:
        x, bar = x[..., None], bar[..., None]
    b_bar = np.linalg.solve(transposed(a), bar)
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


@array_op(shapes=inverse_shape)
def inverse(a: Any) -> Any:
    """Inverse matrix."""
    return np.linalg.inv(a)


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


@array_op(shapes=number_shape)
def determinant(a: Any) -> Any:
    """Determinant; its derivative, the matrix of cofactors, is exact for singular matrices."""
    return np.linalg.det(a)


@determinant.vjp
def determinant_vjp(bars: Any, results: Any, operands: Any) -> Any:
    return (per_matrix(bars[0]) * cofactors(operands[0]),)


@array_op
def cofactors(a: Any) -> Any:
    """Cofactors, from the singular values without a division: for a = u s v', det(u v) u (s without one) v'."""
    u, s, v, sign = signed_svd(a)
    return sign * (u * left_out(s, 1)[..., None, :]) @ v


@cofactors.vjp
def cofactors_vjp(bars: Any, results: Any, operands: Any) -> Any:
    return (cofactors_pullback(operands[0], bars[0]),)


@array_op
def cofactors_pullback(a: Any, bar: Any) -> Any:
    """The derivative of the cofactors against a cotangent, exact for singular matrices."""
    u, s, v, sign = signed_svd(a)
    inner = transposed(u) @ bar @ transposed(v)
    pairs = left_out(s, 2)
    diagonal = np.einsum("...ij,...jj->...i", pairs, inner)
    rotated = -pairs * transposed(inner)
    side = np.arange(a.shape[-1])
    rotated[..., side, side] = diagonal
    return sign * (u @ rotated @ v)


@cofactors_pullback.vjp
def cofactors_pullback_vjp(bars: Any, results: Any, operands: Any) -> Any:
    a, b = operands
    g = bars[0]
    k = transposed(np.linalg.inv(a))
    d = per_matrix(np.linalg.det(a))
    bk, gk = (per_matrix(np.sum(m * k, axis=(-1, -2))) for m in (b, g))
    kbk, kgk = k @ transposed(b) @ k, k @ transposed(g) @ k
    mixed = kbk @ transposed(g) @ k
    trace = per_matrix(np.sum(g * kbk, axis=(-1, -2)))
    a_bar = d * ((bk * gk - trace) * k - gk * kbk - bk * kgk + mixed + kgk @ transposed(b) @ k)
    return a_bar, cofactors_pullback(a, g)


def signed_svd(a: Any) -> tuple[Any, Any, Any, Any]:
    """Return the singular value decomposition of plain square matrices, and det(u) * det(v)."""
    u, s, v = np.linalg.svd(a)
    return u, s, v, per_matrix(np.sign(np.linalg.det(u) * np.linalg.det(v)))


def left_out(s: Any, count: int) -> Any:
    """Return products of all singular values but one, or but two (a matrix with zeros on its diagonal)."""
    side = s.shape[-1]
    if count == 1:
        keep = ~np.eye(side, dtype=bool)
        return np.prod(np.where(keep, s[..., None, :], 1.0), axis=-1)
    index = np.arange(side)
    keep = (index[:, None, None] != index) & (index[None, :, None] != index)
    products = np.prod(np.where(keep, s[..., None, None, :], 1.0), axis=-1)
    return products * ~np.eye(side, dtype=bool)


def sign_log_shape(a: Shape) -> list[Shape]:
    """Two numbers for each matrix."""
    square_side(a, "slogdet")
    return [a[:-2], a[:-2]]


@array_op(shapes=sign_log_shape)
def sign_log_determinant(a: Any) -> Any:
    """Sign and logarithm of the absolute value of the determinant."""
    return tuple(np.linalg.slogdet(a))


@sign_log_determinant.vjp
def sign_log_determinant_vjp(bars: Any, results: Any, operands: Any) -> Any:
    return (per_matrix(bars[1]) * transposed(np.linalg.inv(operands[0])),)


# ---------------------------------------------------------------- symmetric matrices

SYMMETRIC = {np.dtype(np.float64): 1e-9, np.dtype(np.float32): 1e-4}  # largest asymmetry relative to the elements


def to_triangle(bar: Any, a: Any, upper: bool) -> Any:
    """Return the cotangent of a matrix of which LAPACK reads one triangle.

    Where the matrix is symmetric the cotangent is too, as in JAX and PyTorch. Where it is not, the other
    triangle plays no part and gets zeros.
    """
    bar = 0.5 * (bar + transposed(bar))
    if is_symmetric(a):
        return bar
    inner = np.triu(bar, 1) if upper else np.tril(bar, -1)
    return inner + np.triu(np.tril(bar)) + inner


def is_symmetric(a: Any) -> bool:
    """Whether matrices are symmetric but for rounding."""
    if isinstance(a, np.ndarray):
        limit = SYMMETRIC.get(a.dtype, 1e-9) * np.max(np.abs(a), initial=0.0)
        return bool(np.all(np.abs(a - transposed(a)) <= limit))
    limit = SYMMETRIC.get(a.dtype, 1e-9) * np.max(np.abs(a), initial=0.0)
    return bool(np.all(np.abs(a - transposed(a)) <= limit))


def same_square(a: Shape, upper: bool) -> list[Shape]:
    """The shape of a triangular factor."""
    square_side(a, "cholesky")
    return [a]


@array_op(shapes=same_square)
def cholesky(a: Any, upper: bool) -> Any:
    """Triangular factor of a positive definite matrix."""
    factor = np.linalg.cholesky(transposed(a) if upper else a)
    return transposed(factor) if upper else factor


@cholesky.vjp
def cholesky_vjp(bars: Any, results: Any, operands: Any, upper: bool) -> Any:
    factor, bar = results[0], bars[0]
    if upper:
        factor, bar = transposed(factor), transposed(bar)
    inner = halved(transposed(factor) @ bar)
    left = np.linalg.solve(transposed(factor), inner)
    return (to_triangle(transposed(np.linalg.solve(transposed(factor), transposed(left))), operands[0], upper),)


def halved(a: Any) -> Any:
    """Return the lower triangle with half the diagonal."""
    return np.tril(a) * (1.0 - 0.5 * np.eye(np.shape(a)[-1], dtype=a.dtype))


def spectrum_shape(a: Shape, upper: bool) -> list[Shape]:
    """The shapes of eigenvalues and eigenvectors."""
    square_side(a, "eigh")
    return [a[:-1], a]


@array_op(shapes=spectrum_shape)
def symmetric_eigen(a: Any, upper: bool) -> Any:
    """Eigenvalues in ascending order and eigenvectors of a symmetric matrix.

    Where eigenvalues are equal, what depends on the eigenvalues alone has a derivative; what turns with the
    eigenvectors among them has none, and gives NaN.
    """
    return tuple(np.linalg.eigh(a, "U" if upper else "L"))


@symmetric_eigen.vjp
def symmetric_eigen_vjp(bars: Any, results: Any, operands: Any, upper: bool) -> Any:
    w, v = results
    w_bar, v_bar = bars
    turned = scale(gaps(w), transposed(v) @ v_bar)
    inner = 0.5 * (turned + transposed(turned)) + np.eye(np.shape(w)[-1], dtype=w.dtype) * w_bar[..., None, :]
    return (to_triangle(v @ inner @ transposed(v), operands[0], upper),)


def gaps(w: Any) -> Any:
    """Return 1 / (w[j] - w[i]); zero on the diagonal, NaN where two are equal but for rounding."""
    side = np.shape(w)[-1]
    own = np.eye(side, dtype=bool)
    difference = w[..., None, :] - w[..., :, None]
    size = np.max(np.abs(w), axis=-1, initial=0.0)[..., None, None]
    equal = np.abs(difference) <= 4.0 * side * np.finfo(w.dtype).eps * size
    return np.where(own, 0.0, np.where(equal & ~own, np.nan, 1.0 / np.where(equal | own, 1.0, difference)))


# ---------------------------------------------------------------- eigenvalues of general matrices


def eigen_shape(a: Shape) -> list[Shape]:
    """The shapes of eigenvalues and eigenvectors."""
    square_side(a, "eig")
    return [a[:-1], a]


@array_op(shapes=eigen_shape)
def real_eigen(a: Any) -> Any:
    """Eigenvalues and eigenvectors of length 1 of matrices whose eigenvalues are real."""
    w, v = np.linalg.eig(a)
    if np.iscomplexobj(w):
        w, v = np.full(w.shape, np.nan), np.full(v.shape, np.nan)
    return w, v


@real_eigen.vjp
def real_eigen_vjp(bars: Any, results: Any, operands: Any) -> Any:
    w, v = results
    w_bar, v_bar = bars
    across = v_bar - v * np.sum(v * v_bar, axis=-2, keepdims=True)  # columns keep their length
    inner = scale(gaps(w), transposed(v) @ across) + np.eye(np.shape(w)[-1], dtype=w.dtype) * w_bar[..., None, :]
    return (np.linalg.solve(transposed(v), inner @ transposed(v)),)


# ---------------------------------------------------------------- orthogonal factors


def qr_shape(a: Shape) -> list[Shape]:
    """The shapes of the reduced factors."""
    rows, columns = a[-2:]
    side = min(rows, columns)
    return [(*a[:-2], rows, side), (*a[:-2], side, columns)]


@array_op(shapes=qr_shape)
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
    return transposed(np.linalg.solve(r, transposed(q_bar + q @ symmetric)))


def svd_shape(a: Shape) -> list[Shape]:
    """The shapes of thin factors, and of the bases of what is left of both spaces."""
    rows, columns = a[-2:]
    side, stack = min(rows, columns), a[:-2]
    return [(*stack, rows, side), (*stack, side), (*stack, side, columns),
            (*stack, rows, rows - side), (*stack, columns - side, columns)]  # fmt: skip


@array_op(shapes=svd_shape)
def singular_values(a: Any) -> Any:
    """Singular vectors and values, and orthonormal bases of the rest, which have no derivative.

    Where singular values are equal, what depends on them alone has a derivative; what turns with the
    vectors among them has none, and gives NaN.
    """
    u, s, v = np.linalg.svd(a)
    side = s.shape[-1]
    return u[..., :side], s, v[..., :side, :], u[..., side:], v[..., side:, :]


@singular_values.vjp
def singular_values_vjp(bars: Any, results: Any, operands: Any) -> Any:
    u, s, v = results[:3]
    u_bar, s_bar, v_bar, *rest = bars
    for bar in rest:
        if np.size(bar) and bool(np.any(bar != 0.0)):
            raise NumbadError(
                message(
                    "singular vectors of the null space (full_matrices=True) have no derivative",
                    "use np.linalg.svd(a, full_matrices=False)",
                    where=False,
                )
            )
    side = np.shape(s)[-1]
    rows, columns = np.shape(u)[-2], np.shape(v)[-1]
    g = gaps(s * s)
    from_u = scale(g, transposed(u) @ u_bar)
    from_v = scale(g, v @ transposed(v_bar))
    inner = (from_u + transposed(from_u)) * s[..., None, :] + s[..., :, None] * (from_v + transposed(from_v))
    inner = inner + np.eye(side, dtype=s.dtype) * s_bar[..., None, :]
    total = u @ inner @ v
    inverse_s = 1.0 / s
    if rows > side:
        across = scale(inverse_s[..., None, :], u_bar)
        total = total + (across - u @ (transposed(u) @ across)) @ v
    if columns > side:
        across = scale(inverse_s[..., :, None], v_bar)
        total = total + u @ (across - (across @ transposed(v)) @ v)
    return (total,)


@array_op(shapes=lambda a: [(*a[:-2], min(a[-2:]))])
def singular_values_only(a: Any) -> Any:
    """Singular values."""
    return np.linalg.svd(a, compute_uv=False)


@singular_values_only.vjp
def singular_values_only_vjp(bars: Any, results: Any, operands: Any) -> Any:
    u, _, v = np.linalg.svd(operands[0], full_matrices=False)
    return ((u * bars[0][..., None, :]) @ v,)


# ---------------------------------------------------------------- least squares


@array_op(shapes=lambda a, keywords: [(*a[:-2], a[-1], a[-2])])
def pseudoinverse(a: Any, keywords: dict[str, Any]) -> Any:
    """Pseudoinverse, differentiated at constant rank."""
    return np.linalg.pinv(a, **keywords)


@pseudoinverse.vjp
def pseudoinverse_vjp(bars: Any, results: Any, operands: Any, keywords: dict[str, Any]) -> Any:
    a, p = operands[0], results[0]
    g, pt, gt = bars[0], transposed(p), transposed(bars[0])
    outside_rows = gt @ p @ pt
    outside_columns = pt @ p @ gt
    bar = -pt @ g @ pt + outside_rows - a @ (p @ outside_rows) + outside_columns - (outside_columns @ p) @ a
    return (to_triangle(bar, a, False) if keywords.get("hermitian") else bar,)


@array_op(shapes=lambda a, b, rcond: [(a[-1], *b[1:])])
def least_squares(a: Any, b: Any, rcond: Any) -> Any:
    """The shortest of the vectors x that minimize the norm of a @ x - b, differentiated at constant rank."""
    return np.linalg.lstsq(a, b, rcond)[0]


@least_squares.vjp
def least_squares_vjp(bars: Any, results: Any, operands: Any, rcond: Any) -> Any:
    a, b = operands
    x, bar = results[0], bars[0]
    flat = np.ndim(b) == 1
    if flat:
        x, bar, b = x[:, None], bar[:, None], b[:, None]
    p = np.linalg.pinv(a, rcond=np.finfo(a.dtype).eps * max(np.shape(a)) if rcond is None else rcond)
    b_bar = transposed(p) @ bar
    y = transposed(p) @ x
    a_bar = -b_bar @ transposed(x) + (b - a @ x) @ transposed(p @ b_bar) + y @ transposed(bar - p @ (a @ bar))
    return a_bar, b_bar[:, 0] if flat else b_bar
