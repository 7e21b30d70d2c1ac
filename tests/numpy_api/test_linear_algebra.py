"""numpy.linalg and products of tensors against NumPy, finite differences and closed forms."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import numbad
from shared.matrix_cases import (
    CASES,
    RANK1,
    SINGULAR,
    TALL,
    A,
)
from shared.oracle import check_against_numpy

SYMMETRIC = A + A.T
POSITIVE = A @ A.T + np.eye(3)


@pytest.mark.parametrize("name", CASES)
def test_value_and_gradient(name):
    function, *arrays = CASES[name]
    check_against_numpy(function, *arrays, rtol=1e-6, atol=1e-7, value_rtol=1e-10)


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


@pytest.mark.parametrize("shape", [(0, 2), (2, 0), (3, 0, 2)])
@pytest.mark.parametrize("order", [1, 2, np.inf, "nuc", "fro"])
def test_matrices_without_elements_have_norm_zero(order: Any, shape: tuple[int, ...]) -> None:
    empty = np.zeros(shape)
    for keepdims in (False, True):
        wanted = np.linalg.matrix_norm(empty, ord=order, keepdims=keepdims)
        found, _ = numbad.vjp(lambda a, k=keepdims: np.linalg.matrix_norm(a, ord=order, keepdims=k), empty)
        np.testing.assert_array_equal(found, wanted)
        assert np.shape(found) == np.shape(wanted)
    assert numbad.value_and_gradient(np.linalg.norm, np.zeros(0))[0] == 0.0
    assert numbad.value_and_gradient(lambda a: np.linalg.norm(a, np.inf), np.zeros(0))[0] == 0.0
