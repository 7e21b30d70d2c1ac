"""numpy.linalg and products of tensors against NumPy, finite differences and closed forms."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from oracle import check_against_numpy, check_rule_is_differentiable, differences

import numbad
from numbad.ops import linalg as ops
from numbad.ops import reductions

random = np.random.default_rng(11)
A = random.normal(size=(3, 3)) + 2.0 * np.eye(3)
B = random.normal(size=(3, 2))
V = random.normal(size=3)
STACK = random.normal(size=(2, 3, 3)) + 2.0 * np.eye(3)
TALL = random.normal(size=(5, 3))
WIDE = random.normal(size=(3, 5))
SPREAD = np.linalg.qr(TALL)[0] @ np.diag([3.0, 2.0, 0.2]) @ np.linalg.qr(A)[0]
SYMMETRIC = A + A.T
POSITIVE = A @ A.T + np.eye(3)
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


@pytest.mark.parametrize("name", CASES)
def test_value_and_gradient(name):
    function, *arrays = CASES[name]
    check_against_numpy(function, *arrays, rtol=1e-6, atol=1e-7, value_rtol=1e-10)


@pytest.mark.parametrize(
    ("op", "operands", "settings"),
    [
        (ops.solve, [A, B], {}),
        (ops.solve, [A, V], {}),
        (ops.inverse, [A], {}),
        (ops.determinant, [A], {}),
        (ops.determinant, [SINGULAR], {}),
        (ops.cofactors, [A], {}),
        (ops.cofactors, [A, SYMMETRIC], {}),
        (ops.cofactors, [RANK1, SYMMETRIC, A], {}),
        (ops.sign_log_determinant, [A], {}),
        (ops.reduced_qr, [TALL], {}),
        (ops.reduced_qr, [WIDE], {}),
        (ops.singular_values, [A], {"full": True}),
        (ops.singular_values_only, [TALL], {}),
        (ops.pseudoinverse, [TALL], {"rtol": 1e-15}),
        (ops.least_squares, [TALL, random.normal(size=5)], {"rcond": 1e-15}),
        (reductions.greatest, [A], {}),
        (reductions.product, [A], {}),
        (reductions.product, [np.array([[1.0, 0.0, 2.0], [0.0, 0.0, 3.0]])], {}),
        (reductions.running_sum, [A], {}),
        (reductions.running_product, [np.array([[1.0, 0.0, 2.0], [2.0, 3.0, 0.5]])], {}),
        (reductions.running_greatest, [A], {}),
        (reductions.linear_recurrence, [A, STACK[0]], {}),
        (reductions.sort_last, [A], {}),
        (reductions.partition_last, [A], {"kth": 1}),
        (reductions.convolution, [V, B[:2, 0]], {"mode": "same"}),
        (reductions.interpolation, [np.array([0.2, 1.4]), np.array([0.0, 1.0, 3.0]), V], {}),
    ],
    ids=lambda part: part.name if hasattr(part, "name") else "",
)
def test_rules_are_differentiable(op, operands, settings):
    check_rule_is_differentiable(op, operands, settings)


@pytest.mark.parametrize(
    "function", [np.linalg.cholesky, lambda a: np.linalg.eigh(a)[0], lambda a: np.linalg.eigh(a)[1] ** 2]
)
def test_symmetric_rules_are_differentiable(function):
    """The second derivative along symmetric directions."""

    def f(x):
        return np.sum(np.sin(function(positive(x))))

    def slope(x):
        return numbad.gradient(f, x)

    w = random.normal(size=(3, 3))
    wanted = differences(lambda x: float(np.sum(w * slope(x))), (A,), 1e-4)[0]
    found = numbad.gradient(lambda x: np.sum(w * numbad.gradient(f, x)), A)
    np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-6)


# ---------------------------------------------------------------- closed forms and policy


def test_the_cotangent_of_a_matrix_lies_in_the_triangle_that_is_read():
    """Also where both triangles are equal, so that it does not jump there."""
    whole = np.linalg.inv(POSITIVE)
    lower = np.tril(2.0 * whole) - np.diag(np.diag(whole))
    for shift in (0.0, 1.0):
        moved = POSITIVE + shift * np.triu(np.ones((3, 3)), 1)
        found = numbad.gradient(lambda a: 2.0 * np.sum(np.log(np.diagonal(np.linalg.cholesky(a)))), moved)
        np.testing.assert_allclose(found, lower, rtol=1e-12)
        found = numbad.gradient(lambda a: np.sum(np.log(np.linalg.eigvalsh(a, "U"))), moved.T)
        np.testing.assert_allclose(found, lower.T, rtol=1e-12)
        found = numbad.gradient(lambda a: np.sum(np.linalg.eigh(a)[0] ** 2), SYMMETRIC + moved - POSITIVE)
        np.testing.assert_allclose(found, 4.0 * np.tril(SYMMETRIC) - 2.0 * np.diag(np.diag(SYMMETRIC)), rtol=1e-12)


def test_only_one_triangle_is_read_where_the_matrix_is_not_symmetric():
    lower = np.tril(POSITIVE)
    for function in (np.linalg.cholesky, np.linalg.eigvalsh):
        check_against_numpy(function, lower + np.triu(np.ones((3, 3)), 1))
    check_against_numpy(lambda a: np.linalg.eigvalsh(a, "U"), np.triu(POSITIVE) + np.tril(np.ones((3, 3)), -1))


def test_determinant_of_singular_matrices_is_exact():
    cofactors = np.array([[4.0, 4.0, -4.0], [-2.0, -2.0, 2.0], [0.0, 0.0, 0.0]])
    np.testing.assert_allclose(numbad.gradient(np.linalg.det, SINGULAR), cofactors, atol=1e-14)
    np.testing.assert_allclose(numbad.gradient(np.linalg.det, RANK1), 0.0, atol=1e-14)


def test_repeated_eigenvalues():
    for a in (np.eye(3), np.diag([1.0, 1.0, 2.0])):
        found = numbad.gradient(lambda a: np.sum(np.linalg.eigvalsh(a) ** 3), a)
        np.testing.assert_allclose(found, 3.0 * a @ a, atol=1e-14)
        assert np.isnan(numbad.gradient(lambda a: np.linalg.eigh(a)[1][0, 1], a)).any()
    found = numbad.gradient(lambda a: np.sum(np.linalg.svd(a, compute_uv=False)), np.eye(3))
    np.testing.assert_allclose(found, np.eye(3), atol=1e-14)
    found = numbad.gradient(lambda a: np.sum(np.linalg.svd(a)[1]), np.eye(3))
    np.testing.assert_allclose(found, np.eye(3), atol=1e-14)


def test_a_function_of_the_spectrum_at_equal_eigenvalues_is_never_wrong():
    """A matrix function through eigh has a derivative there that eigh cannot give: NaN, not a wrong number."""

    def root(a):
        w, v = np.linalg.eigh(a)
        return ((v * np.sqrt(w)) @ v.T)[0, 1]

    assert np.isnan(numbad.gradient(root, np.eye(2))).any()


def test_norms_at_zero_are_flat():
    for order in (None, 1, 2, 3, 0.5, np.inf):
        np.testing.assert_array_equal(numbad.gradient(lambda x, o=order: np.linalg.norm(x, o), np.zeros(3)), 0.0)
    np.testing.assert_array_equal(numbad.gradient(lambda x: np.linalg.norm(x, axis=1).sum(), np.zeros((2, 2))), 0.0)
    np.testing.assert_array_equal(numbad.gradient(lambda x: np.linalg.norm(x), np.zeros((2, 2))), 0.0)
    assert numbad.value_and_gradient(np.linalg.norm, np.zeros(2))[0] == 0.0


def test_null_space_vectors_have_no_derivative():
    with pytest.raises(numbad.errors.NumbadError, match="full_matrices=False"):
        numbad.gradient(lambda a: np.sum(np.linalg.svd(a)[0] ** 3), TALL)


def test_singular_matrices_raise():
    with pytest.raises(np.linalg.LinAlgError):
        numbad.gradient(lambda a: np.sum(np.linalg.inv(a)), np.zeros((2, 2)))


@pytest.mark.parametrize(
    ("function", "text"),
    [
        (
            lambda a: np.linalg.eig(
                a @ np.array([[0.0, 1.0, 0.0], [-1.0, 0.0, 0.0], [0.0, 0.0, 1.0]]) * 0
                + np.array([[0.0, 1.0, 0], [-1.0, 0, 0], [0, 0, 1]])
            )[0],
            "complex",
        ),
        (lambda a: np.linalg.qr(a[:, :2], mode="complete")[0], "mode"),
    ],
)
def test_what_is_missing_says_so(function, text):
    with pytest.raises(numbad.errors.RecordingError, match=text):
        numbad.gradient(lambda a: np.sum(function(a)), A)


@pytest.mark.parametrize(
    ("kind", "function"),
    [
        (ValueError, lambda a: a @ np.ones(4)),
        (ValueError, lambda a: np.einsum("ij,jk->ik", a, np.ones((4, 2)))),
        (ValueError, lambda a: np.einsum("ij->kj", a)),
        (ValueError, lambda a: np.einsum("ijk->i", a)),
        (ValueError, lambda a: np.tensordot(a, np.ones((4, 2)), 1)),
        (np.linalg.LinAlgError, lambda a: np.linalg.inv(a[:2])),
        (np.linalg.LinAlgError, lambda a: np.linalg.det(a[0])),
        (ValueError, lambda a: np.linalg.solve(a, np.ones(2))),
        (ValueError, lambda a: np.linalg.norm(a, "bad")),
        (ValueError, lambda a: np.linalg.norm(a, 3)),
    ],
)
def test_errors_of_numpy(kind, function):
    with pytest.raises(kind):
        function(A)
    with pytest.raises(kind):
        numbad.gradient(lambda a: np.sum(function(a)), A)


def test_an_error_is_raised_in_the_users_statement() -> None:
    def f(x: Any) -> Any:
        return np.sum(np.linalg.solve(np.zeros((2, 2)) * x[0], x))

    with pytest.raises(np.linalg.LinAlgError) as caught:
        numbad.gradient(f, np.ones(2))
    assert any(entry.name == "f" and "np.linalg.solve" in str(entry.statement) for entry in caught.traceback)
