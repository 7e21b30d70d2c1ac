"""numpy.linalg: factorizations, systems, determinants and norms."""

from __future__ import annotations

from typing import Any

import numpy as np

from numbad.geometry import normal_axis
from numbad.numpy_api.dispatch import implements, unsupported
from numbad.ops import linalg as ops
from numbad.ops.definition import BY_NAME
from numbad.recording.arrays import Array, as_array
from numbad.recording.decisions import decide, decision, of_stacks
from numbad.recording.operands import holds_active, to_array, to_arrays
from numbad.recording.recorder import refuse
from numbad.recording.roots import record_root

RESULTS = {name: getattr(np.linalg._linalg, name) for name in ("EigResult", "EighResult", "QRResult", "SlogdetResult",
                                                              "SVDResult")}  # fmt: skip


def matrices(a: Any, name: str) -> Array:
    """Return an operand that has to be matrices."""
    array = to_array(a)
    if array.ndim < 2:
        raise np.linalg.LinAlgError(
            f"{name}: {array.ndim}-dimensional array given; array must be at least two-dimensional"
        )
    return array


@decision
def spectrum_is_real(a: np.ndarray) -> bool:
    """Whether all eigenvalues are real."""
    return not np.iscomplexobj(np.linalg.eigvals(a))


@of_stacks("spectrum_is_real")
def which_spectra_are_real(a: np.ndarray) -> Any:
    """The same for each lane of a stack."""
    w = np.linalg.eigvals(a)
    return (w.imag == 0.0).all(axis=tuple(range(1, w.ndim)))


# ---------------------------------------------------------------- systems


@implements("linalg.solve")
def solve(a: Any, b: Any) -> Any:
    """Solution of a linear system."""
    a, b = to_arrays(a, b)
    return ops.solve.attempt(a, b)


@implements("linalg.inv")
def inv(a: Any) -> Any:
    """Inverse matrix."""
    return ops.inverse.attempt(matrices(a, "inv"))


@decision
def cuts_off(a: np.ndarray, *, rtol: Any) -> bool:
    """Whether singular values are cut off that are not zero but for rounding."""
    s = np.linalg.svd(a, compute_uv=False)
    return bool(np.any(~ops.cut_off(s, rtol) & ~ops.negligible(s)))


@of_stacks("cuts_off")
def which_cut_off(a: np.ndarray, *, rtol: Any) -> Any:
    """The same for each lane of a stack."""
    s = np.linalg.svd(a, compute_uv=False)
    return np.any(~ops.cut_off(s, rtol) & ~ops.negligible(s), axis=tuple(range(1, s.ndim)))


def truncates(a: Any, rtol: Any) -> bool:
    """Whether a tolerance cuts off more than rounding; it is asked, and guarded, only where it may."""
    largest = float(np.max(rtol, initial=0.0))
    return largest > 4.0 * min(a.shape[-2:]) * np.finfo(a.dtype).eps and decide("cuts_off", a, rtol=rtol)


@implements("linalg.pinv")
def pinv(a: Any, rcond: Any = None, hermitian: bool = False, *, rtol: Any = np._NoValue) -> Any:
    """Pseudoinverse; the derivative is at constant rank, or of the matrix without what is cut off."""
    a = matrices(a, "pinv")
    if rcond is not None and rtol is not np._NoValue:
        raise ValueError("`rtol` and `rcond` can't be both set.")
    if rcond is None:
        rcond = 1e-15 if rtol is np._NoValue else max(a.shape[-2:]) * np.finfo(a.dtype).eps if rtol is None else rtol
    if hermitian:
        a = ops.from_triangle(a, upper=False)
    return pseudoinverse(a, plain_tolerance(rcond, "pinv"))


def plain_tolerance(value: Any, name: str) -> Any:
    """Return a tolerance as a plain number or array."""
    if holds_active((value,)):
        unsupported(f"linalg.{name}", "a tolerance that is a recording value", "write float(numbad.stop_gradient(x))")
    return np.asarray(value, float) if np.ndim(value) else float(value)


def pseudoinverse(a: Any, rtol: Any) -> Any:
    """Record a pseudoinverse."""
    op = ops.truncated_pseudoinverse if truncates(a, rtol) else ops.pseudoinverse
    return op.attempt(a, rtol=rtol)


@implements("linalg.lstsq")
def lstsq(a: Any, b: Any, rcond: Any = None) -> tuple[Any, Any, int, Any]:
    """Least squares: solution, residuals, rank (a guarded integer) and singular values."""
    a, b = to_arrays(a, b)
    if a.ndim != 2 or b.ndim not in (1, 2) or a.shape[0] != b.shape[0]:
        raise np.linalg.LinAlgError(f"lstsq: incompatible shapes {a.shape} and {b.shape}")
    eps = float(np.finfo(a.dtype).eps)
    rtol = eps * max(a.shape) if rcond is None else plain_tolerance(rcond, "lstsq")
    x = least_squares(a, b, eps if rtol < 0.0 else rtol)
    rank = int(decide("matrix_ranks", a, keywords={"rtol": eps if rtol < 0.0 else rtol}))
    if rank == a.shape[1] < a.shape[0]:
        residuals: Any = np.atleast_1d(np.sum(np.square(b - a @ x), axis=0))
    else:
        residuals = np.zeros(0, a.dtype)
    return x, residuals, rank, ops.singular_values_only(a)


def least_squares(a: Any, b: Any, rtol: float) -> Any:
    """Record the shortest solution of least squares; where singular values are cut off, by the pseudoinverse."""
    if truncates(a, rtol):
        return ops.truncated_pseudoinverse.attempt(a, rtol=rtol) @ b
    return ops.least_squares.attempt(a, b, rcond=rtol)


@implements("linalg.tensorsolve")
def tensorsolve(a: Any, b: Any, axes: Any = None) -> Any:
    """Solution of a tensor equation."""
    a, b = to_arrays(a, b)
    if axes is not None:
        order = [k for k in range(a.ndim) if k not in {normal_axis(j, a.ndim) for j in axes}]
        a = a.transpose([*order, *(normal_axis(j, a.ndim) for j in axes)])
    shape = a.shape[b.ndim :]
    if a.size != b.size * b.size:
        raise np.linalg.LinAlgError("Input arrays must satisfy the requirement prod(a.shape[b.ndim:]) == b.size")
    return np.reshape(solve(a.reshape(b.size, b.size), b.reshape(-1)), shape)


@implements("linalg.tensorinv")
def tensorinv(a: Any, ind: int = 2) -> Any:
    """Inverse of a tensor as a linear map."""
    a = to_array(a)
    if ind <= 0:
        raise ValueError("Invalid ind argument.")
    rows = int(np.prod(a.shape[:ind], dtype=np.int64))
    return np.reshape(inv(a.reshape(rows, -1)), a.shape[ind:] + a.shape[:ind])


# ---------------------------------------------------------------- determinants and powers


@implements("linalg.det")
def det(a: Any) -> Any:
    """Determinant, exact for singular matrices."""
    return ops.determinant(matrices(a, "det"))


@implements("linalg.slogdet")
def slogdet(a: Any) -> Any:
    """Sign and logarithm of the determinant."""
    return RESULTS["SlogdetResult"](*ops.sign_log_determinant(matrices(a, "slogdet")))


@implements("linalg.matrix_power")
def matrix_power(a: Any, n: int) -> Any:
    """Product of a matrix with itself, n times."""
    a = matrices(a, "matrix_power")
    if not isinstance(n, (int, np.integer)):
        raise TypeError("exponent must be an integer")
    side = ops.square_side(a.shape, "matrix_power")
    if n == 0:
        return np.zeros_like(a) + np.eye(side, dtype=a.dtype)
    base = inv(a) if n < 0 else a
    result = None
    for bit in reversed(bin(abs(n))[2:]):
        if bit == "1":
            result = base if result is None else result @ base
        base = base @ base
    return result if abs(n) > 1 else as_array(result).copy()


@implements("linalg.multi_dot")
def multi_dot(arrays: Any, *, out: Any = None) -> Any:
    """Product of several matrices, in the order that is cheapest."""
    parts = to_arrays(*arrays)
    if len(parts) < 2:
        raise ValueError("Expecting at least two arrays.")
    letters = "abcdefghijklmnopqrstuvwxyz"
    first, last = parts[0].ndim == 1, parts[-1].ndim == 1
    names = [letters[k : k + 2] for k in range(len(parts))]
    if first:
        names[0] = names[0][1]
    if last:
        names[-1] = names[-1][0]
    result = ("" if first else letters[0]) + ("" if last else letters[len(parts)])
    found = np.einsum(",".join(names) + "->" + result, *parts, optimize="optimal")
    if out is None:
        return found
    out[...] = found
    return out


@implements("linalg.matrix_rank")
def matrix_rank(A: Any, tol: Any = None, hermitian: bool = False, *, rtol: Any = None) -> Any:
    """The number of singular values that are not negligible: a guarded integer."""
    return decide("matrix_ranks", A, keywords={"tol": tol, "hermitian": hermitian, "rtol": rtol})


# ---------------------------------------------------------------- factorizations


@implements("linalg.cholesky")
def cholesky(a: Any, /, *, upper: bool = False) -> Any:
    """Triangular factor of a positive definite matrix, of which one triangle is read."""
    return ops.cholesky.attempt(matrices(a, "cholesky"), upper=bool(upper))


@implements("linalg.qr")
def qr(a: Any, mode: str = "reduced") -> Any:
    """Orthonormal and triangular factors; what completes the columns of a tall matrix has no derivative."""
    a = matrices(a, "qr")
    mode = {"full": "reduced", "f": "reduced", "economic": "economic", "e": "economic"}.get(mode, mode)
    if mode in ("raw", "economic"):
        unsupported("linalg.qr", f"mode {mode!r}", "use mode='reduced'")
    if mode not in ("reduced", "complete", "r"):
        raise ValueError(f"Unrecognized mode '{mode}'")
    q, r = ops.reduced_qr(a)
    if mode == "complete" and a.shape[-2] > a.shape[-1]:
        rest = ops.rest_of_basis(a, name="qr", left=True)
        q = np.concatenate([q, rest], axis=-1)
        r = np.concatenate([r, np.zeros((*a.shape[:-2], a.shape[-2] - a.shape[-1], a.shape[-1]), a.dtype)], axis=-2)
    return r if mode == "r" else RESULTS["QRResult"](q, r)


def reads_upper(UPLO: str) -> bool:
    """Whether UPLO names the upper triangle."""
    if UPLO.upper() not in ("U", "L"):
        raise ValueError("UPLO argument must be 'L' or 'U'")
    return UPLO.upper() == "U"


@implements("linalg.eigh")
def eigh(a: Any, UPLO: str = "L") -> Any:
    """Eigenvalues and eigenvectors of a symmetric matrix, of which one triangle is read."""
    return RESULTS["EighResult"](*ops.symmetric_eigen.attempt(matrices(a, "eigh"), upper=reads_upper(UPLO)))


@implements("linalg.eigvalsh")
def eigvalsh(a: Any, UPLO: str = "L") -> Any:
    """Eigenvalues of a symmetric matrix, of which one triangle is read."""
    return ops.symmetric_eigenvalues.attempt(matrices(a, "eigvalsh"), upper=reads_upper(UPLO))


@implements("linalg.eig")
def eig(a: Any) -> Any:
    """Eigenvalues and eigenvectors, where they are real; whether they are is guarded."""
    a = matrices(a, "eig")
    if not decide("spectrum_is_real", a):
        refuse("np.linalg.eig: some eigenvalues are complex", "use np.linalg.eigh for a symmetric matrix")
    return RESULTS["EigResult"](*ops.real_eigen.attempt(a))


@implements("linalg.eigvals")
def eigvals(a: Any) -> Any:
    """Eigenvalues, where they are real."""
    return eig(a)[0]


@implements("linalg.svd")
def svd(a: Any, full_matrices: bool = True, compute_uv: bool = True, hermitian: bool = False) -> Any:
    """Singular vectors and values; the null space of full matrices has no derivative."""
    a = matrices(a, "svd")
    if hermitian:
        return svd_of_symmetric(a, compute_uv)
    if not compute_uv:
        return ops.singular_values_only.attempt(a)
    rows, columns = a.shape[-2:]
    u, s, v = ops.singular_values.attempt(a, full=bool(full_matrices))
    if full_matrices and rows > columns:
        u = np.concatenate([u, ops.rest_of_basis(a, name="svd", left=True)], axis=-1)
    if full_matrices and columns > rows:
        v = np.concatenate([v, ops.rest_of_basis(a, name="svd", left=False)], axis=-2)
    return RESULTS["SVDResult"](u, s, v)


def svd_of_symmetric(a: Any, compute_uv: bool) -> Any:
    """Return singular values (and vectors) by the eigenvalues of the lower triangle, the largest first."""
    if not compute_uv:
        return np.sort(np.abs(eigvalsh(a)))[..., ::-1]
    w, v = eigh(a)
    order = np.argsort(np.abs(w))[..., ::-1]
    w = np.take_along_axis(w, order, axis=-1)
    v = np.take_along_axis(v, order[..., None, :], axis=-1)
    return RESULTS["SVDResult"](v, np.abs(w), np.swapaxes(v * np.sign(w)[..., None, :], -1, -2))


@implements("linalg.svdvals")
def svdvals(x: Any, /) -> Any:
    """Singular values."""
    return ops.singular_values_only.attempt(matrices(x, "svdvals"))


# ---------------------------------------------------------------- norms


@implements("linalg.norm")
def norm(x: Any, ord: Any = None, axis: Any = None, keepdims: bool = False) -> Any:
    """Norm of vectors or matrices; its derivative at zero is 0."""
    x = to_array(x)
    if axis is None:
        if ord is None or (ord in ("f", "fro") and x.ndim == 2) or (ord == 2 and x.ndim == 1):
            found = record_root(np.sum(np.square(x)))
            return np.reshape(found, (1,) * x.ndim) if keepdims else found
        axes = tuple(range(x.ndim))
    else:
        axes = tuple(axis) if isinstance(axis, (tuple, list)) else (axis,)
    if len(axes) == 1:
        return length(x, ord, axes, keepdims)
    if len(axes) != 2:
        raise ValueError("Improper number of dimensions to norm.")
    return size_of_matrix(x, ord, axes, keepdims)


def length(x: Any, order: Any, axis: Any, keepdims: bool) -> Any:
    """Return the norm of vectors along axes."""
    if order is None or order == 2:
        return record_root(np.sum(np.square(x), axis=axis, keepdims=keepdims))
    if isinstance(order, str):
        raise ValueError(f"Invalid norm order '{order}' for vectors")
    if order == 0:
        return np.sum(x != 0.0, axis=axis, keepdims=keepdims) * 1.0
    size = BY_NAME["edge" if order in (1, np.inf, -np.inf) else "magnitude"](x)
    if order == np.inf and x.size:  # the norm of no elements is 0, as their sum is
        return np.max(size, axis=axis, keepdims=keepdims)
    if order == -np.inf:
        return np.min(size, axis=axis, keepdims=keepdims)
    if order in (1, np.inf):
        return np.sum(size, axis=axis, keepdims=keepdims)
    return power_mean(size, float(order), axis, keepdims)


def power_mean(size: Any, order: float, axis: Any, keepdims: bool) -> Any:
    """Return (sum of size**order)**(1 / order), with derivative 0 where it is 0."""
    if 0.0 < order < 1.0:
        present = size != 0.0
        powers = np.where(present, np.where(present, size, 1.0) ** order, 0.0)
    else:
        powers = size**order
    total = np.sum(powers, axis=axis, keepdims=keepdims)
    if order < 0.0:
        return total ** (1.0 / order)
    return BY_NAME["norm_power"](total, 1.0 / order)


def size_of_matrix(x: Any, order: Any, axes: tuple[int, ...], keepdims: bool) -> Any:
    """Return a norm of matrices over two axes."""
    row, column = (normal_axis(k, x.ndim) for k in axes)
    if row == column:
        raise ValueError("Duplicate axes given.")
    if order in (None, "fro", "f"):
        return record_root(np.sum(np.square(x), axis=(row, column), keepdims=keepdims))
    if order in (1, 2, np.inf, "nuc") and not x.size:
        return np.sum(x, axis=(row, column), keepdims=keepdims)
    sums = {1: (row, np.max), -1: (row, np.min), np.inf: (column, np.max), -np.inf: (column, np.min)}
    if (isinstance(order, str) and order != "nuc") or order not in (*sums, 2, -2, "nuc"):
        raise ValueError("Invalid norm order for matrices.")
    if order in sums:
        inner, outer = sums[order]
        totals = np.sum(BY_NAME["edge"](x), axis=inner, keepdims=True)
        found = outer(totals, axis=(row, column), keepdims=True)
    else:
        values = ops.singular_values_only.attempt(np.moveaxis(x, (row, column), (-2, -1)))
        pick = {2: lambda s: s[..., 0], -2: lambda s: s[..., -1], "nuc": lambda s: np.sum(s, axis=-1)}[order]
        found = pick(values)
    shape = tuple(1 if k in (row, column) else n for k, n in enumerate(x.shape))
    if keepdims:
        return np.reshape(found, shape)
    return np.reshape(found, tuple(n for k, n in enumerate(x.shape) if k not in (row, column)))


@implements("linalg.matrix_norm")
def matrix_norm(x: Any, /, *, keepdims: bool = False, ord: Any = "fro") -> Any:
    """Norm of matrices."""
    return norm(x, ord, (-2, -1), keepdims)


@implements("linalg.vector_norm")
def vector_norm(x: Any, /, *, axis: Any = None, keepdims: bool = False, ord: Any = 2) -> Any:
    """Norm of vectors, over any axes."""
    x = to_array(x)
    axes = tuple(range(x.ndim)) if axis is None else axis if isinstance(axis, tuple) else (axis,)
    return length(x, ord, axes, keepdims)


@implements("linalg.cond")
def cond(x: Any, p: Any = None) -> Any:
    """Condition number."""
    x = matrices(x, "cond")
    if p in (None, 2, -2):
        s = ops.singular_values_only.attempt(x)
        return s[..., -1] / s[..., 0] if p == -2 else s[..., 0] / s[..., -1]
    return norm(x, p, (-2, -1)) * norm(inv(x), p, (-2, -1))
