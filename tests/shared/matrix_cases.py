"""Functions of numpy.linalg and products of tensors, at matrices where they are smooth."""

from __future__ import annotations

import numpy as np

random = np.random.default_rng(11)
A = random.normal(size=(3, 3)) + 2.0 * np.eye(3)
B = random.normal(size=(3, 2))
V = random.normal(size=3)
STACK = random.normal(size=(2, 3, 3)) + 2.0 * np.eye(3)
TALL = random.normal(size=(5, 3))
WIDE = random.normal(size=(3, 5))
SPREAD = np.linalg.qr(TALL)[0] @ np.diag([3.0, 2.0, 0.2]) @ np.linalg.qr(A)[0]
SINGULAR = np.array([[1.0, 2.0, 3.0], [2.0, 4.0, 6.0], [1.0, 0.0, 1.0]])
RANK1 = np.outer([1.0, 2.0, 3.0], [1.0, -1.0, 2.0])
FORTRAN = np.asfortranarray(A)


def mirrored(x):
    """Make a matrix symmetric from any."""
    return x + np.swapaxes(x, -1, -2)


def positive(x):
    """Make a matrix positive definite from any."""
    return x @ np.swapaxes(x, -1, -2) + np.eye(3)


CASES = {
    "solve": (np.linalg.solve, A, B),
    "solve vector": (np.linalg.solve, A, V),
    "solve stack": (np.linalg.solve, STACK, B),
    "solve stack of right sides": (np.linalg.solve, A, random.normal(size=(2, 3, 2))),
    "solve fortran": (np.linalg.solve, FORTRAN, B),
    "solve fixed": (lambda b: np.linalg.solve(A, b), V),
    "inv": (np.linalg.inv, A),
    "inv stack": (np.linalg.inv, STACK),
    "det": (np.linalg.det, A),
    "det stack": (np.linalg.det, STACK),
    "det singular": (np.linalg.det, SINGULAR),
    "det rank 1": (np.linalg.det, RANK1),
    "det zero": (np.linalg.det, np.zeros((2, 2))),
    "det 1": (np.linalg.det, A[:1, :1]),
    "slogdet": (np.linalg.slogdet, A),
    "slogdet stack": (lambda x: np.linalg.slogdet(x).logabsdet, STACK),
    "cholesky": (lambda x: np.linalg.cholesky(positive(x)), A),
    "cholesky stack": (lambda x: np.linalg.cholesky(positive(x)), STACK),
    "cholesky upper": (lambda x: np.linalg.cholesky(positive(x), upper=True), A),
    "qr": (np.linalg.qr, A),
    "qr tall": (np.linalg.qr, TALL),
    "qr wide": (np.linalg.qr, WIDE),
    "qr stack": (np.linalg.qr, STACK),
    "qr r": (lambda x: np.linalg.qr(x, mode="r"), TALL),
    "eigh": (lambda x: np.linalg.eigh(mirrored(x)), A),
    "eigh stack": (lambda x: np.linalg.eigh(mirrored(x)).eigenvalues, STACK),
    "eigh upper": (lambda x: np.linalg.eigh(mirrored(x), UPLO="U"), A),
    "eigvalsh": (lambda x: np.linalg.eigvalsh(mirrored(x)), A),
    "eig": (lambda x: np.linalg.eig(mirrored(x) + 0.05 * x), A),
    "eigvals": (lambda x: np.linalg.eigvals(mirrored(x) + 0.05 * x), A),
    "svd": (lambda x: np.linalg.svd(x), A),
    "svd tall": (lambda x: np.linalg.svd(x, full_matrices=False), TALL),
    "svd wide": (lambda x: np.linalg.svd(x, full_matrices=False), WIDE),
    "svd stack": (lambda x: np.linalg.svd(x), STACK),
    "svd full used in part": (lambda x: np.linalg.svd(x)[0][:, :3], TALL),
    "svdvals": (lambda x: (np.linalg.svdvals(x), np.linalg.svd(x, compute_uv=False)), TALL),
    "pinv tall": (np.linalg.pinv, TALL),
    "pinv wide": (np.linalg.pinv, WIDE),
    "pinv cut off": (lambda x: np.linalg.pinv(x, rcond=0.3), SPREAD),
    "pinv cut off wide": (lambda x: np.linalg.pinv(x.T, rtol=0.3), SPREAD),
    "pinv hermitian": (lambda x: np.linalg.pinv(x, hermitian=True), A),
    "lstsq cut off": (
        lambda a, b: (np.linalg.lstsq(a, b, rcond=0.3)[0], np.linalg.lstsq(a.T, b[:3], 0.3)[0]),
        SPREAD,
        random.normal(size=5),
    ),
    "svd hermitian": (lambda x: np.linalg.svd(x, hermitian=True), A),
    "svdvals hermitian": (lambda x: np.linalg.svd(x, compute_uv=False, hermitian=True), STACK),
    "eigvalsh stack upper": (lambda x: np.linalg.eigvalsh(x, UPLO="U"), STACK),
    "cholesky triangle": (lambda x: np.linalg.cholesky(x @ x.T + np.eye(3) + np.triu(x, 1)), A),
    "qr complete": (lambda x: np.linalg.qr(x, mode="complete")[1], TALL),
    "pinv rank deficient": (lambda u, v: np.linalg.pinv(np.outer(u, v), rcond=1e-10), V, V[::-1] + 2.0),
    "lstsq": (lambda a, b: np.linalg.lstsq(a, b), TALL, random.normal(size=5)),
    "lstsq matrix": (lambda a, b: np.linalg.lstsq(a, b)[:2], TALL, random.normal(size=(5, 2))),
    "lstsq wide": (lambda a, b: np.linalg.lstsq(a, b)[0], WIDE, V),
    "tensorsolve": (lambda a, b: np.linalg.tensorsolve(a.reshape(3, 3), b), A, V),
    "tensorinv": (lambda a: np.linalg.tensorinv(a.reshape(2, 2, 4)), random.normal(size=(4, 4))),
    "matrix_power": (lambda x: [np.linalg.matrix_power(x, n) for n in (-2, -1, 0, 1, 2, 3, 5)], A),
    "matrix_power stack": (lambda x: np.linalg.matrix_power(x, 3), STACK),
    "multi_dot": (lambda a, b, c: np.linalg.multi_dot([a, b, c]), V, A, B),
    "multi_dot vectors": (lambda a, b: np.linalg.multi_dot([a, A, b]), V, V[::-1]),
    "norm": (lambda x: [np.linalg.norm(x, o) for o in (None, "fro", "nuc", 1, -1, 2, -2, np.inf, -np.inf)], TALL),
    "norm vector": (lambda x: [np.linalg.norm(x, o) for o in (None, 1, 2, 3, 0.5, -1, np.inf, -np.inf, 0)], V),
    "norm axis": (lambda x: (np.linalg.norm(x, axis=1), np.linalg.norm(x, 3, 0, keepdims=True)), STACK),
    "norm axes": (lambda x: [np.linalg.norm(x, o, (2, 0)) for o in (None, 1, -1, 2, "nuc", np.inf)], STACK),
    "norm keepdims": (lambda x: [np.linalg.norm(x, o, (0, 1), keepdims=True) for o in ("fro", 1, 2)], STACK),
    "norm flat keepdims": (lambda x: np.linalg.norm(x, keepdims=True), A),
    "norm 3-d": (np.linalg.norm, STACK),
    "matrix_norm": (lambda x: (np.linalg.matrix_norm(x), np.linalg.matrix_norm(x, ord=2)), STACK),
    "vector_norm": (lambda x: (np.linalg.vector_norm(x), np.linalg.vector_norm(x, axis=(0, 1), ord=3)), STACK),
    "cond": (lambda x: [np.linalg.cond(x, p) for p in (None, 2, -2, 1, np.inf, "fro")], A),
    "trace": (np.linalg.trace, STACK),
    # products
    "matmul": (np.matmul, A, B),
    "matmul vector": (lambda x, v: (x @ v, v @ x, v @ v), A, V),
    "matmul stack": (lambda x, y: (x @ y, y @ x), STACK, A),
    "matmul broadcast": (np.matmul, STACK[:, None], random.normal(size=(1, 3, 3, 2))),
    "matmul strided": (lambda x: x[::-1, ::2] @ x.T[::2, ::-1], WIDE),
    "matmul plain": (lambda x: np.ones((2, 3)) @ x @ np.ones(3), A),
    "dot": (lambda x, y: (np.dot(x, y), x.dot(y), np.dot(y[:, 0], x)), A, B),
    "dot scalar": (lambda x, y: np.dot(x, y), A, 2.0),
    "dot nd": (lambda x, y: (np.dot(x, y), np.dot(x, y[0]), np.dot(x, y[0, 0])), STACK, STACK),
    "vdot": (np.vdot, A, STACK[0]),
    "inner": (lambda x, y: (np.inner(x, y), np.inner(x[0, 0], x), np.inner(x, 2.0)), STACK, A),
    "outer": (lambda x, y: (np.outer(x, y), np.linalg.outer(x, y)), V, B[:, 0]),
    "tensordot": (lambda x, y: (np.tensordot(x, y, 1), np.tensordot(x, y, ([1], [0])), np.tensordot(x, y, 0)), A, B),
    "tensordot axes": (lambda x, y: np.tensordot(x, y, axes=((2, 0), (1, 0))), STACK, STACK[:, :, :2]),
    "kron": (lambda x, y: (np.kron(x, y), np.kron(y[:, 0], x)), A, B),
    "cross": (lambda x, y: np.cross(x, y), A, V),
    "cross axes": (lambda x, y: np.cross(x, y, axisa=0, axisb=1, axisc=0), A, STACK[0]),
    "linalg.cross": (lambda x, y: np.linalg.cross(x, y, axis=0), A, STACK[0]),
    "linalg products": (
        lambda x, y: (np.linalg.matmul(x, y), np.linalg.tensordot(x, y, axes=1), np.linalg.vecdot(x, y.T[:1])),
        A,
        A,
    ),
    # einsum
    "einsum": (lambda x, y: np.einsum("ij,jk->ik", x, y), A, B),
    "einsum implicit": (lambda x, y: (np.einsum("ij,jk", x, y), np.einsum("ba", x), np.einsum("ii", x)), A, B),
    "einsum sum": (lambda x: (np.einsum("ij->", x), np.einsum("ij->j", x), np.einsum("i...->...", x)), A),
    "einsum diagonal": (lambda x: (np.einsum("ii->i", x), np.einsum("...ii->...i", x)), A),
    "einsum repeated": (lambda x, y: np.einsum("iij,jk->k", x[:, :2, :2].T, y), STACK[:, :, :2], B[:2]),
    "einsum ellipsis": (
        lambda x, y: (np.einsum("...ij,...jk->...ik", x, y), np.einsum("...j,j", x, y[:, 0])),
        STACK,
        B,
    ),
    "einsum broadcast": (lambda x, y: np.einsum("...i,...i->...", x, y), STACK, V[None]),
    "einsum three": (lambda x, y, z: (np.einsum("ij,jk,k->i", x, y, z), np.einsum("i,j,k->kij", z, z, z)), A, A, V),
    "einsum optimize": (
        lambda x, z: [np.einsum("i,ij,j", z, x, z, optimize=o) for o in (True, "optimal", False)],
        A,
        V,
    ),
    "einsum path": (lambda x, z: np.einsum("i,ij,j", z, x, z, optimize=np.einsum_path("i,ij,j", z, x, z)[0]), A, V),
    "einsum lists": (lambda x, y: (np.einsum(x, [0, 1], y, [1, 2]), np.einsum(x, [0, 1], y, [1, 2], [2, 0])), A, B),
    "einsum lone": (lambda x, y: np.einsum("ij,kl->ik", x, y), A, B),
    "einsum outer": (lambda x, y: np.einsum("i,jk->kji", x, y), V, B),
    "einsum scalar": (lambda x: np.einsum(",i->i", x[0], x), V),
    "einsum spaces": (lambda x: np.einsum(" i j , j -> i ", x, V), A),
    "einsum view": (lambda x: np.einsum("ijk->kij", x), STACK),
    "einsum hadamard": (lambda x, y: np.einsum("ij,ij->ij", x, y), A, STACK[0]),
}
