"""Errors that a program catches: LinAlgError, np.errstate, warnings as errors, ZeroDivisionError, in every mode."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
import scipy.linalg

import numbad

SINGULAR = np.array([[1.0, 2.0], [2.0, 4.0]])
INDEFINITE = np.array([[1.0, 2.0], [2.0, 1.0]])


def other_way(function, kind):
    """Return a function of a number that takes another way where a function of a matrix raises."""

    def f(t, bad):
        try:
            return t * np.sum(function(bad + (t - 1.0) * np.eye(2)))
        except kind:
            return 7.0 * t**2

    return f


RAISING = {
    "inv": (np.linalg.inv, SINGULAR),
    "solve": (lambda a: np.linalg.solve(a, np.ones(2)), SINGULAR),
    "tensorsolve": (lambda a: np.linalg.tensorsolve(a, np.ones(2)), SINGULAR),
    "matrix_power": (lambda a: np.linalg.matrix_power(a, -2), SINGULAR),
    "cholesky": (np.linalg.cholesky, INDEFINITE),
    "eigvals": (np.linalg.eigvals, np.full((2, 2), np.nan)),
    "svd": (lambda a: np.linalg.svd(a)[1], np.full((2, 2), np.nan)),
    "norm": (lambda a: np.linalg.norm(a, 2), np.full((2, 2), np.nan)),
    "pinv": (np.linalg.pinv, np.full((2, 2), np.nan)),
    "scipy solve": (lambda a: scipy.linalg.solve(a, np.ones(2)), SINGULAR),
    "scipy solve pos": (lambda a: scipy.linalg.solve(a, np.ones(2), assume_a="pos"), INDEFINITE),
    "scipy inv": (scipy.linalg.inv, SINGULAR),
    "scipy cholesky": (scipy.linalg.cholesky, INDEFINITE),
    "cho_factor": (lambda a: scipy.linalg.cho_factor(a)[0], INDEFINITE),
    "solve_triangular": (lambda a: scipy.linalg.solve_triangular(a, np.ones(2)), np.array([[0.0, 1.0], [0.0, 2.0]])),
    "solve_banded": (lambda a: scipy.linalg.solve_banded((0, 0), a[:1], np.ones(2)), np.zeros((2, 2))),
    "solveh_banded": (lambda a: scipy.linalg.solveh_banded(a[:1], np.ones(2)), -np.eye(2)),
    "scipy eigh": (lambda a: scipy.linalg.eigh(a, np.eye(2) * a[0, 0])[0], -np.eye(2)),
    "check_finite": (scipy.linalg.svdvals, np.full((2, 2), np.inf)),
    "lu_factor": (lambda a: scipy.linalg.lu_factor(a)[0], np.full((2, 2), np.inf)),
}
GOOD = np.array([[3.0, 0.5], [0.5, 2.0]])


@pytest.mark.parametrize("name", RAISING)
def test_a_program_that_catches_takes_its_other_way_in_every_mode(name):
    function, bad = RAISING[name]
    with pytest.raises(ValueError):  # LinAlgError is one
        function(bad)
    f = other_way(function, ValueError)
    h = 1e-5
    right = (f(1.0 + h, GOOD) - f(1.0 - h, GOOD)) / (2 * h)
    fast = numbad.jit(numbad.grad(f))
    for matrix, wanted in ((GOOD, right), (bad, 14.0), (GOOD, right), (bad, 14.0)):
        np.testing.assert_allclose(fast(1.0, matrix), wanted, rtol=1e-6)
        np.testing.assert_allclose(numbad.gradient(lambda t, m=matrix: f(t, m), 1.0), wanted, rtol=1e-6)
        np.testing.assert_allclose(numbad.jacfwd(lambda t, m=matrix: f(t, m))(1.0), wanted, rtol=1e-6)
    both = numbad.vmap(numbad.grad(f))(np.ones(3), np.stack([GOOD, bad, GOOD]))
    np.testing.assert_allclose(both, [right, 14.0, right], rtol=1e-6)
    np.testing.assert_allclose(numbad.hessian(lambda t: f(t, bad), 1.0), 14.0)


def test_a_tape_says_that_it_would_raise():
    tape = numbad.record(lambda a: np.sum(np.linalg.inv(a)), GOOD)
    with pytest.raises(numbad.BranchError, match="inverse raises an error here") as caught:
        tape(SINGULAR)
    assert "np.linalg.inv(a)" in str(caught.value)
    loaded = numbad.loads(tape.dumps()) if hasattr(tape, "dumps") else tape
    np.testing.assert_allclose(loaded(GOOD), np.sum(np.linalg.inv(GOOD)))


def test_an_attempt_that_fails_is_no_number_that_is_not_finite():
    f = other_way(*RAISING["cholesky"][:1], np.linalg.LinAlgError)
    with numbad.debug_nans():
        assert numbad.gradient(lambda t: f(t, INDEFINITE), 1.0) == 14.0


# ---------------------------------------------------------------- np.errstate and warnings


def strictly(function, state):
    """Return a function that takes another way where NumPy raises."""

    def f(x):
        with np.errstate(**state):
            try:
                return np.sum(function(x))
            except FloatingPointError:
                return 3.0 * np.sum(x)

    return f


ERRORS = {
    "log": (np.log, [0.0, 1.0], [0.5, 1.0]),
    "divide": (lambda x: 1.0 / x, [0.0, 1.0], [0.5, 1.0]),
    "invalid": (np.sqrt, [-1.0, 1.0], [0.5, 1.0]),
    "overflow": (np.exp, [1e3, 1.0], [0.5, 1.0]),
    "sum": (lambda x: np.sum(1e308 * x), [1.0, 1.0], [0.5, 0.5]),
    "product": (lambda x: (1e200 * x) @ (1e200 * x), [1.0, 1.0], [1e-100, 1e-100]),
    "power": (lambda x: x**-2, [0.0, 1.0], [0.5, 1.0]),
    "prod": (lambda x: np.prod(1e200 * x), [1.0, 1.0], [1e-100, 1e-100]),
    "element": (lambda x: np.log(x[0]), [0.0, 1.0], [0.5, 1.0]),
    "difference": (lambda x: (x * np.inf) - np.sum(x * np.inf), [1.0, 1.0], None),
}


@pytest.mark.parametrize("name", ERRORS)
def test_errors_of_numpy_are_raised_where_they_are_recorded(name):
    function, bad, good = ERRORS[name]
    f = strictly(function, {"all": "raise", "under": "ignore"})
    bad = np.array(bad)
    assert f(bad) == 3.0 * np.sum(bad)
    ways = {bad.tobytes(): (bad, np.full(2, 3.0))}
    if good is not None:
        good = np.array(good)
        ways[good.tobytes()] = (good, numbad.gradient(lambda x: np.sum(function(x)), good))
    fast = numbad.jit(numbad.grad(f))
    for x, wanted in [*ways.values(), *ways.values()]:
        for found in (numbad.gradient(f, x), fast(x), numbad.jacfwd(f)(x), numbad.vmap(numbad.grad(f))(x[None])[0]):
            np.testing.assert_allclose(found, wanted, rtol=1e-12)


def test_a_state_that_is_set_for_good_counts_and_one_that_ended_does_not():
    before = np.seterr(divide="raise")
    try:
        with pytest.raises(FloatingPointError):
            numbad.gradient(np.log, 0.0)
    finally:
        np.seterr(**before)
    assert numbad.gradient(np.log, 0.0) == np.inf

    def f(x):
        with np.errstate(all="raise"):
            y = 2.0 * x
        return np.sum(np.log(y))

    np.testing.assert_array_equal(numbad.gradient(f, np.array([0.0, 1.0])), [np.inf, 1.0])


def test_np_errstate_as_a_decorator():
    @np.errstate(all="raise")
    def careful(x):
        return np.log(x)

    def f(x):
        try:
            return careful(x)
        except FloatingPointError:
            return 5.0 * x

    assert numbad.gradient(f, 0.0) == 5.0
    assert numbad.gradient(f, 2.0) == 0.5


def test_a_function_that_is_called_for_errors():
    seen = []

    def f(x):
        with np.errstate(divide="call", call=lambda kind, flag: seen.append(kind)):
            y = np.sum(np.log(x))
        return y if not seen else 3.0 * np.sum(x)

    np.testing.assert_array_equal(numbad.gradient(f, np.array([0.0, 1.0])), [3.0, 3.0])
    assert seen == ["divide by zero"]


@pytest.mark.parametrize("change", [lambda: warnings.simplefilter("error"),
                                    lambda: warnings.filterwarnings("error", category=RuntimeWarning),
                                    lambda: warnings.filterwarnings("error", "divide by zero")])  # fmt: skip
def test_warnings_that_are_errors(change):
    def f(x):
        with warnings.catch_warnings():
            change()
            try:
                return np.sum(np.log(x))
            except RuntimeWarning:
                return 3.0 * np.sum(x)

    fast = numbad.jit(numbad.grad(f))
    for x, wanted in (([0.0, 1.0], [3.0, 3.0]), ([2.0, 1.0], [0.5, 1.0]), ([0.0, 1.0], [3.0, 3.0])):
        np.testing.assert_array_equal(numbad.gradient(f, np.array(x)), wanted)
        np.testing.assert_array_equal(fast(np.array(x)), wanted)


def test_without_such_a_state_nothing_is_computed_on_the_way():
    rows = []

    def f(x):
        y = np.log(x) / x
        rows.append((y.recorder.execution, len(y.recorder.hosts)))
        return np.sum(y)

    with np.errstate(all="ignore"):
        numbad.gradient(f, np.array([0.0, 1.0]))
    numbad.gradient(f, np.array([0.0, 1.0]))
    assert rows == [(None, 0), (None, 0)]


# ---------------------------------------------------------------- Python's division


DIVISIONS = {
    "divide": lambda x: 1.0 / x,
    "by a difference": lambda x: x / (2.0 * x - x - x),
    "floor": lambda x: x // (x * 0.0),
    "remainder": lambda x: x % (x - x),
    "power": lambda x: (x - x) ** -1,
}


@pytest.mark.parametrize("name", DIVISIONS)
@pytest.mark.parametrize("kind", [ZeroDivisionError, ArithmeticError, Exception])
def test_a_number_of_pythons_raises_zero_division(name, kind):
    def f(x):
        try:
            return DIVISIONS[name](x)
        except kind:
            return 5.0 * x

    assert f(0.0) == 0.0
    fast = numbad.jit(numbad.grad(f))
    for found in (numbad.gradient(f, 0.0), fast(0.0), fast(0.0), numbad.derivative(f, 0.0)):
        assert found == 5.0
    if name == "divide":
        assert fast(2.0) == -0.25
        assert fast(0.0) == 5.0


def test_a_number_of_numpys_does_not():
    def f(x):
        try:
            return 1.0 / x
        except ZeroDivisionError:
            return 5.0 * x

    with np.errstate(all="ignore"):
        assert numbad.gradient(f, np.float64(0.0)) == -np.inf
        assert numbad.gradient(lambda x: f(x[0]), np.zeros(1)) == -np.inf
        assert numbad.gradient(lambda x: f(np.sin(x)), 0.0) == -np.inf
    assert numbad.gradient(lambda x: 1.0 / x, 0.0) == -np.inf  # nobody catches it


@pytest.mark.parametrize("way", ["jit", "jit of grad", "vmap of jit", "grad of jit"])
@pytest.mark.parametrize("f", [lambda z: np.sum(1.0 / z), lambda z: np.sum(np.log(z))])
def test_a_replay_raises_what_was_not_asked_for_when_it_was_recorded(f: Any, way: str) -> None:
    fine, bad = np.array([1.0, 2.0]), np.array([0.0, 1.0])
    if way == "vmap of jit":
        fine, bad = fine[:, None], bad[:, None]
    run = {
        "jit": lambda: numbad.jit(f),
        "jit of grad": lambda: numbad.jit(numbad.grad(f)),
        "vmap of jit": lambda: numbad.vmap(numbad.jit(f)),
        "grad of jit": lambda: numbad.grad(numbad.jit(f)),
    }[way]()
    with np.errstate(all="ignore"):
        run(fine), run(bad)
    with np.errstate(all="raise"):
        run(fine)
        with pytest.raises(FloatingPointError, match="divide by zero"):
            run(bad)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(RuntimeWarning, match="divide by zero"):
            run(bad)
    with np.errstate(all="ignore"):
        assert not np.isfinite(run(bad)).all()


@pytest.mark.parametrize("steps", [1, 3])
def test_rows_of_tangents_are_no_operations_of_the_program(steps: int) -> None:
    def f(x):
        for _ in range(steps):
            x = np.sqrt(x)
        return x

    x = np.array([0.0, 1.0])
    push = lambda x: numbad.jvp(f, (x,), (np.ones(2),))[1]
    with np.errstate(all="raise"):
        np.testing.assert_array_equal(numbad.jit(push)(x), [np.inf, 0.5**steps])
        assert numbad.grad(lambda x: np.sum(push(x)))(x)[1] == pytest.approx(0.25**steps - 0.5**steps)
        with pytest.raises(FloatingPointError):
            numbad.jit(lambda x: push(x) + 1.0 / x)(x)


def test_large_inputs_are_computed_where_they_are():
    table, x = np.linspace(-0.3, 0.9, 65 * 67).reshape(65, 67), np.linspace(0.5, 1.5, 67)  # more than 4096 elements
    programs = (
        lambda table, x: np.sum(np.tanh((table @ x) @ table)),
        lambda table, x: np.sum(table),
        lambda table, x: np.sum(np.sum(table, axis=0) ** 2 * x),
    )
    for f in programs:
        usual, back = numbad.value_and_grad(f)(table, x)
        with np.errstate(all="raise", under="ignore"):
            found, strict_back = numbad.value_and_grad(f)(table, x)
            replayed = numbad.jit(f)(table, x)
        np.testing.assert_allclose([found, replayed, usual], f(table, x), rtol=1e-12)
        np.testing.assert_allclose(strict_back, back, rtol=1e-12)
