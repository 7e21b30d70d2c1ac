"""Jacobians and Hessians of a tape at other points, and what is said of wrong arguments."""

from pathlib import Path

import numpy as np
import pytest

import numbad
from numbad.errors import BranchError, InputError, OutputError
from shared.tapes import assert_same_tree, elsewhere, mixed, nested

HERE = Path(__file__).name

NESTED = ({"w": np.arange(3.0), "b": 0.5}, 2.0)


def test_jacobians_and_hessians_at_new_points(tape):
    x = np.random.default_rng(8).normal(size=30)
    assert_same_tree(tape.jacobian(x, 1.25), numbad.jacobian(mixed, x, 1.25))
    assert_same_tree(tape.hessian(x, 1.25), numbad.hessian(mixed, x, 1.25))
    trees = numbad.record(nested, *NESTED)
    assert_same_tree(trees.jacobian(*elsewhere()), numbad.jacobian(nested, *elsewhere()))
    assert_same_tree(trees.hessian(*elsewhere()), numbad.hessian(nested, *elsewhere()))
    single = numbad.record(lambda x: x**3, 1.0)
    assert (single.jacobian(2.0), single.hessian(2.0)) == (12.0, 12.0)


@pytest.mark.parametrize("order", ["C", "F"])
def test_derivatives_of_large_inputs_in_any_memory_order(order):
    weights = np.random.default_rng(0).normal(size=(80, 70))
    x = np.asarray(np.random.default_rng(1).normal(size=(80, 70)), order=order)

    def f(x, a):
        return np.sum(np.sin(x) * weights) * a + x[1, 2] * x[0, 3], x.T[1:3]

    tape = numbad.record(f, x, 2.0)
    other = np.ascontiguousarray(x[::-1])
    assert_same_tree(tape.jvp((other, 3.0), (x, 1.0)), numbad.jvp(f, (other, 3.0), (x, 1.0)))
    value, pullback = tape.vjp(other, 3.0)
    expected, expected_pullback = numbad.vjp(f, other, 3.0)
    assert_same_tree(value, expected)
    assert_same_tree(pullback(value), expected_pullback(value))
    scalar = numbad.record(lambda x, a: f(x, a)[0], x, 2.0)
    assert_same_tree(scalar.jacobian(other, 3.0), numbad.jacobian(lambda x, a: f(x, a)[0], other, 3.0))


def test_derivatives_do_not_run_the_program_again():
    calls = []

    def f(x):
        calls.append(1)
        return np.sum(np.exp(x))

    tape = numbad.record(f, np.zeros(2))
    x = np.array([1.0, 2.0])
    for _ in range(2):
        tape(x), tape.gradient(x), tape.jvp((x,), (x,)), tape.vjp(x)[1](1.0), tape.jacobian(x)
        np.testing.assert_allclose(tape.hessian(x), np.diag(np.exp(x)), rtol=1e-14)
        tape.map(x[None])
    assert len(calls) == 1


def test_float32_derivatives_stay_float32():
    tape = numbad.record(lambda x: np.sum(x**3), np.ones(2, np.float32))
    x = np.array([1.0, 2.0], np.float32)
    assert tape.jacobian(x).dtype == tape.hessian(x).dtype == tape.vjp(x)[1](1.0)[0].dtype == np.float32
    np.testing.assert_allclose(tape.hessian(x), [[6.0, 0.0], [0.0, 12.0]])


def test_host_rows_have_jacobians():
    def f(x):
        return np.linalg.eigvalsh(x @ x.T)

    x = np.random.default_rng(2).normal(size=(3, 3))
    tape = numbad.record(f, np.eye(3) + 0.1 * x)
    assert_same_tree(tape.jacobian(x), numbad.jacobian(f, x))
    assert_same_tree(tape.jvp((x,), (x,)), numbad.jvp(f, (x,), (x,)))


def test_another_path_is_an_error_in_every_derivative():
    tape = numbad.record(lambda x: x**2 if x > 0.0 else x, 1.0)
    tape.jacobian(2.0), tape.hessian(2.0)
    ways = [
        tape,
        tape.gradient,
        tape.value_and_gradient,
        lambda x: tape.jvp((x,), (1.0,)),
        tape.vjp,
        tape.jacobian,
        tape.hessian,
        lambda x: tape(x, out=np.empty(())),
        lambda x: tape.gradient(x, out=np.empty(())),
    ]
    for way in ways:
        with pytest.raises(BranchError, match=r"x > 0\.0") as caught:
            way(-1.0)
        assert HERE in str(caught.value)
        way(3.0)  # and nothing is left behind


def test_derivatives_of_wrong_arguments():
    tape = numbad.record(lambda x: x * 2.0, np.ones(3))
    x = np.ones(3)
    with pytest.raises(InputError, match="tangent"):
        tape.jvp((x,), (np.ones(2),))
    with pytest.raises(InputError, match=r"tuple of 1 tangents, .* given 2"):
        tape.jvp((x,), (x, x))
    with pytest.raises(InputError, match="structure"):
        tape.jvp((x, x), (x, x))
    with pytest.raises(InputError, match=r"shape \(2,\)"):
        tape.vjp(x)[1](np.ones(2))
    with pytest.raises(InputError, match="structure"):
        tape.vjp(x)[1]([x])
    for way in (tape.jacobian, tape.hessian, tape.vjp):
        with pytest.raises(InputError, match=r"shape \(4,\)"):
            way(np.ones(4))
    flags = numbad.record(lambda x: x > 1.0, np.ones(3))
    for way in (flags.jacobian, flags.hessian, flags.vjp, lambda x: flags.jvp((x,), (x,))):
        with pytest.raises(OutputError, match="truth values"):
            way(x)
