"""Linear algebra of small matrices in machine code: NumPy's numbers, its errors, and derivatives of both orders."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import numbad
from numbad.compilation.small_matrices import MOST_SIDE
from numbad.replay.compiled_machine import CompiledMachine
from shared.compiled import promote

SIDES = (1, 2, 3, 4)


def make(side: int, seed: int) -> np.ndarray:
    """Return a matrix whose first pivot is not its first element."""
    a = np.random.default_rng(seed).normal(size=(side, side))
    a[0, 0] *= 1e-3
    return a


CASES = {
    "inv": lambda a: np.sum(np.linalg.inv(a) * np.arange(a.size).reshape(a.shape)),
    "det": lambda a: np.linalg.det(a),
    "slogdet": lambda a: np.linalg.slogdet(a)[0] * np.linalg.slogdet(a)[1],
    "solve a vector": lambda a: np.sum(np.linalg.solve(a, a[0]) ** 2),
    "solve a matrix": lambda a: np.sum(np.linalg.solve(a, a.T @ a)),
    "solve constants": lambda a: np.sum(np.linalg.solve(a, np.arange(1.0, len(a) + 1.0))),
    "cholesky": lambda a: np.sum(np.linalg.cholesky(a @ a.T + np.eye(len(a))) ** 3),
}


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("name", CASES)
def test_values_and_gradients(name: str, side: int) -> None:
    f = CASES[name]
    jitted = numbad.jit(numbad.value_and_grad(f))
    jitted(make(side, 0))
    machine = promote(jitted)
    assert machine is not None
    for seed in range(1, 5):
        a = make(side, seed)
        (value, slopes), (wanted, gradient) = jitted(a), numbad.value_and_grad(f)(a)
        condition = np.linalg.cond(a)
        assert value == pytest.approx(wanted, rel=1e-13 * condition)
        np.testing.assert_allclose(slopes, gradient, rtol=0.0, atol=1e-12 * condition**2 * np.max(np.abs(gradient)))
        assert not machine.fell


@pytest.mark.parametrize("name", ["inv", "det", "slogdet", "solve a vector"])
def test_the_largest_that_are_taken_apart(name: str) -> None:
    f = CASES[name]
    for side, compiled in ((MOST_SIDE, True), (MOST_SIDE + 1, False)):
        g = lambda a: f(a) + sum(a[0, 0] * k for k in range(9))  # as many rows as it takes to be small
        jitted = numbad.jit(numbad.value_and_grad(g))
        a = make(side, 3)
        jitted(a)
        assert isinstance(promote(jitted), CompiledMachine) == compiled
        np.testing.assert_allclose(jitted(a)[1], numbad.value_and_grad(g)(a)[1], rtol=1e-8)


def test_a_hessian() -> None:
    f = lambda x: np.log(np.linalg.det(x[:4].reshape(2, 2) @ x[:4].reshape(2, 2).T + np.eye(2))) * x[4]
    x = np.array([0.3, -1.0, 0.7, 0.2, 2.0])
    jitted = numbad.jit(numbad.hessian(f))
    jitted(x)
    promote(jitted)
    np.testing.assert_allclose(jitted(x + 0.1), numbad.hessian(f)(x + 0.1), atol=1e-12)


@pytest.mark.parametrize("f", [lambda a: np.sum(np.linalg.inv(a)), lambda a: np.sum(np.linalg.solve(a, a[0]))])
def test_a_singular_matrix_raises_numpys_error(f: Any) -> None:
    jitted = numbad.jit(numbad.value_and_grad(f))
    jitted(np.array([[1.0, 2.0], [3.0, 5.0]]))
    assert promote(jitted) is not None
    for _ in range(2):
        with pytest.raises(np.linalg.LinAlgError, match="Singular matrix"):
            jitted(np.array([[1.0, 2.0], [2.0, 4.0]]))
    assert np.isfinite(jitted(np.array([[1.0, 2.0], [3.0, 5.0]]))[0])


def test_a_matrix_that_is_not_positive_definite_raises_numpys_error() -> None:
    jitted = numbad.jit(numbad.value_and_grad(lambda a: np.sum(np.linalg.cholesky(a))))
    jitted(np.eye(2))
    assert promote(jitted) is not None
    with pytest.raises(np.linalg.LinAlgError):
        jitted(-np.eye(2))


def test_determinants_of_singular_matrices_are_exact() -> None:
    f = lambda a: np.linalg.det(a)
    jitted = numbad.jit(numbad.value_and_grad(f))
    jitted(np.array([[1.0, 2.0], [3.0, 5.0]]))
    machine = promote(jitted)
    assert machine is not None
    for a in (np.zeros((2, 2)), np.array([[0.0, 1.0], [0.0, 2.0]]), np.array([[1.0, 2.0], [2.0, 4.0]])):
        value, slopes = jitted(a)
        wanted, gradient = numbad.value_and_grad(f)(a)
        assert machine.fell
        assert value == wanted
        np.testing.assert_array_equal(slopes, gradient)


def test_nan_and_infinity_are_left_to_the_interpreter() -> None:
    f = lambda a: np.sum(np.linalg.inv(a))
    jitted = numbad.jit(numbad.value_and_grad(f))
    jitted(np.eye(2) * 2.0)
    assert promote(jitted) is not None
    for number in (np.nan, np.inf):
        a = np.array([[number, 1.0], [2.0, 3.0]])
        np.testing.assert_array_equal(jitted(a)[0], numbad.value_and_grad(f)(a)[0])
        np.testing.assert_array_equal(jitted(a)[1], numbad.value_and_grad(f)(a)[1])
