"""The transforms with JAX's names: trees and dtypes, compositions of forward and reverse, nesting, pullbacks."""

from __future__ import annotations

import itertools
import threading
from typing import Any

import mpmath
import numpy as np
import pytest
import sympy
from hypothesis import assume, given, settings

import numbad
import numbad.sweeps.execution
from numbad import InputError, LeakError, NumbadError, OutputError
from numbad.testing import check_grads
from shared.duals import Dual, innermost, oracle
from shared.programs import POINTS, PROGRAMS, run

X = np.array([0.5, -1.25, 2.0])
M = np.array([[1.0, -0.5, 0.25], [0.75, 2.0, -1.5]])
S = np.array([[2.0, 0.3, -0.1], [0.2, 1.5, 0.4], [-0.3, 0.1, 1.8]])


def close(found: Any, expected: Any, rtol: float = 1e-12, atol: float = 1e-13) -> None:
    """Compare shapes and numbers."""
    assert np.shape(found) == np.shape(expected)
    np.testing.assert_allclose(found, expected, rtol=rtol, atol=atol)


# ---------------------------------------------------------------- arguments


def polynomial(x: Any, y: Any, z: Any = 1.0) -> Any:
    return x**2 * y**3 * z


def test_argnums_name_positional_arguments() -> None:
    assert numbad.grad(polynomial)(2.0, 3.0) == 108.0
    assert numbad.grad(polynomial, 1)(2.0, 3.0) == 108.0
    assert numbad.grad(polynomial, argnums=-1)(2.0, 3.0, 5.0) == 108.0
    assert numbad.grad(polynomial, (1, 0))(2.0, 1.0) == (12.0, 4.0)
    assert numbad.grad(polynomial, [0, -1])(2.0, 1.0) == (4.0, 12.0)
    assert numbad.grad(polynomial, (0,))(2.0, 1.0) == (4.0,)
    assert numbad.value_and_grad(polynomial, (0, 1))(2.0, 1.0) == (4.0, (4.0, 12.0))
    assert numbad.jacfwd(polynomial, (1, 0))(2.0, 1.0) == (12.0, 4.0)
    assert numbad.jacrev(polynomial, -1)(2.0, 1.0) == 12.0
    assert numbad.hessian(polynomial, argnums=(0, 1))(2.0, 1.0) == ((2.0, 12.0), (12.0, 24.0))
    assert numbad.hessian(polynomial, 1)(2.0, 1.0) == 24.0
    assert numbad.jacobian(polynomial, 2.0, 1.0) == (4.0, 12.0)


@pytest.mark.parametrize("transform", [numbad.grad, numbad.value_and_grad, numbad.jacfwd, numbad.jacrev])
@pytest.mark.parametrize("point", [2.0, X, (X, X)])
def test_a_point_in_place_of_argnums_is_refused_at_once(transform: Any, point: Any) -> None:
    with pytest.raises(TypeError, match=rf"argnums is(.|\n)*numbad\.{transform.__name__}\(f\)\(x\)"):
        transform(polynomial, point)


@pytest.mark.parametrize("transform", [numbad.grad, numbad.value_and_grad, numbad.jacfwd, numbad.jacrev])
def test_wrong_argnums_are_refused(transform: Any) -> None:
    with pytest.raises(ValueError, match=r"argnums names argument 2, and the function was called with 2"):
        transform(polynomial, 2)(1.0, 2.0)
    with pytest.raises(ValueError, match="argnums names argument -3"):
        transform(polynomial, (0, -3))(1.0, 2.0)
    with pytest.raises(ValueError, match="names an argument twice"):
        transform(polynomial, (1, -1))(1.0, 2.0)
    with pytest.raises(TypeError, match=r"argnums is 1\.0"):
        transform(polynomial, 1.0)(1.0, 2.0)
    with pytest.raises(TypeError, match="argnums is True"):
        transform(polynomial, True)(1.0, 2.0)


def test_keyword_arguments_are_passed_on_and_not_differentiated() -> None:
    assert numbad.grad(polynomial)(2.0, 3.0, z=2.0) == 216.0
    assert numbad.jacfwd(polynomial)(2.0, 3.0, z=2.0) == 216.0
    assert numbad.hessian(polynomial, 2.0, z=2.0, y=1.0) == 4.0
    assert numbad.hessian(polynomial)(2.0, z=2.0, y=1.0) == 4.0
    assert numbad.jacobian(polynomial, 2.0, z=2.0, y=1.0) == 8.0


def test_has_aux_passes_other_results_on() -> None:
    def f(x: Any) -> Any:
        return np.sum(x**3), {"twice": 2.0 * x, "text": "a", "none": None}

    gradient, auxiliary = numbad.grad(f, has_aux=True)(X)
    close(gradient, 3.0 * X**2)
    assert type(auxiliary["twice"]) is np.ndarray
    close(auxiliary["twice"], 2.0 * X)
    assert (auxiliary["text"], auxiliary["none"]) == ("a", None)
    (value, auxiliary), gradient = numbad.value_and_grad(f, has_aux=True)(X)
    assert value == pytest.approx(np.sum(X**3), rel=1e-14)
    close(auxiliary["twice"], 2.0 * X)
    hessian, auxiliary = numbad.hessian(f, has_aux=True)(X)
    close(hessian, np.diag(6.0 * X))
    close(auxiliary["twice"], 2.0 * X)
    for jacobian in (numbad.jacfwd, numbad.jacrev, numbad.jacobian):
        found, auxiliary = jacobian(f, has_aux=True)(X)
        close(found, 3.0 * X**2)
        close(auxiliary["twice"], 2.0 * X)
    value, tangent, auxiliary = numbad.jvp(f, (X,), (np.ones(3),), has_aux=True)
    assert tangent == pytest.approx(np.sum(3.0 * X**2))
    close(auxiliary["twice"], 2.0 * X)
    value, pullback, auxiliary = numbad.vjp(f, X, has_aux=True)
    close(pullback(1.0)[0], 3.0 * X**2)
    assert auxiliary["text"] == "a"
    with pytest.raises(OutputError, match="returns a pair"):
        numbad.grad(np.sum, has_aux=True)(X)
    outer, inner = numbad.grad(lambda x: numbad.grad(lambda y: (y**3 * x, y * x), has_aux=True)(x), has_aux=True)(2.0)
    assert (outer, inner) == (36.0, 4.0)


# ---------------------------------------------------------------- trees, shapes and dtypes


def test_trees_nest_as_in_jax() -> None:
    point = {"w": X, "b": [2.0, (np.float64(3.0),)]}

    def f(p: Any) -> Any:
        return {"u": p["w"] * p["b"][0], "v": (np.sum(p["w"]) * p["b"][1][0],)}

    for jacobian in (numbad.jacfwd, numbad.jacrev, numbad.jacobian):
        found = jacobian(f)(point)
        assert set(found) == {"u", "v"}
        assert type(found["v"]) is tuple
        assert set(found["u"]) == {"w", "b"}
        assert type(found["u"]["b"]) is list
        assert type(found["u"]["b"][1]) is tuple
        close(found["u"]["w"], 2.0 * np.eye(3))
        close(found["u"]["b"][0], X)
        close(found["u"]["b"][1][0], np.zeros(3))
        close(found["v"][0]["w"], np.full(3, 3.0))
        close(found["v"][0]["b"][1][0], X.sum())
    by_tuple = numbad.jacrev(lambda a, b: [a * b, b], (0, 1))(X, 2.0)
    assert type(by_tuple) is list
    assert all(type(row) is tuple for row in by_tuple)
    close(by_tuple[0][0], 2.0 * np.eye(3))
    close(by_tuple[0][1], X)
    close(by_tuple[1][0], np.zeros(3))
    assert by_tuple[1][1] == 1.0


def test_the_hessian_of_a_dict_is_a_dict_of_dicts() -> None:
    def f(p: Any) -> Any:
        return np.sum(p["a"] ** 2) * np.sum(p["b"]) + p["c"] * p["a"][0]

    point = {"a": X, "b": M, "c": 1.5}
    found = numbad.hessian(f)(point)
    assert set(found) == {"a", "b", "c"}
    close(found["a"]["a"], 2.0 * np.eye(3) * M.sum())
    close(found["a"]["b"], np.einsum("i,jk->ijk", 2.0 * X, np.ones((2, 3))))
    close(found["b"]["a"], np.einsum("i,jk->jki", 2.0 * X, np.ones((2, 3))))
    close(found["b"]["b"], np.zeros((2, 3, 2, 3)))
    close(found["a"]["c"], np.array([1.0, 0.0, 0.0]))
    assert found["c"]["c"] == 0.0


def test_blocks_have_the_shapes_of_output_and_input() -> None:
    close(numbad.jacfwd(lambda m: m.T @ m)(M), numbad.jacrev(lambda m: m.T @ m)(M))
    assert numbad.jacobian(lambda m: m.T @ m, M).shape == (3, 3, 2, 3)
    assert numbad.hessian(lambda m: m**2)(M).shape == (2, 3, 2, 3, 2, 3)
    assert numbad.jacobian(lambda a, b: np.outer(a, b), X, M[0])[1].shape == (3, 3, 3)
    assert numbad.hessian(lambda a, b: a @ S @ b, X, X)[0][1].shape == (3, 3)
    close(numbad.hessian(lambda a, b: a @ S @ b, X, X)[0][1], S)
    close(numbad.hessian(lambda a, b: a @ S @ b, X, X)[1][0], S.T)


@pytest.mark.parametrize("shape", [(0,), (0, 2), (2, 0, 3)])
def test_empty_inputs(shape: tuple[int, ...]) -> None:
    x = np.zeros(shape)
    assert numbad.grad(lambda x: np.sum(x**2))(x).shape == shape
    for jacobian in (numbad.jacfwd, numbad.jacrev, numbad.jacobian):
        assert jacobian(lambda x: x * 2.0)(x).shape == shape + shape
        assert jacobian(lambda x: np.sum(x) + np.ones(2))(x).shape == (2, *shape)
    assert numbad.hessian(lambda x: np.sum(x**2))(x).shape == shape + shape
    value, tangent = numbad.jvp(lambda x: x**2, (x,), (x,))
    assert value.shape == tangent.shape == shape
    assert numbad.vjp(np.sin, x)[1](x)[0].shape == shape
    assert numbad.jacrev(lambda y: y[:0])(X).shape == (0, 3)
    assert numbad.jacfwd(lambda y: y[:0])(X).shape == (0, 3)


def test_arrays_without_axes() -> None:
    x = np.array(2.0)
    gradient = numbad.grad(lambda x: x**3)(x)
    assert type(gradient) is np.ndarray
    assert gradient.shape == ()
    assert gradient == 12.0
    hessian = numbad.hessian(lambda x: x**3)(x)
    assert (type(hessian), hessian.shape, float(hessian)) == (np.ndarray, (), 12.0)
    close(numbad.jacfwd(lambda x: x * X)(x), X)
    close(numbad.jacrev(lambda x: x * X)(x), X)
    assert numbad.vjp(np.sin, x)[1](np.array(1.0))[0].shape == ()


def test_kinds_of_numbers() -> None:
    assert type(numbad.grad(np.tanh)(2.0)) is float
    assert type(numbad.jacfwd(np.tanh)(2.0)) is float
    assert type(numbad.hessian(np.tanh)(2.0)) is float
    assert type(numbad.jvp(np.tanh, (2.0,), (1.0,))[1]) is float
    assert type(numbad.vjp(np.tanh, 2.0)[1](1.0)[0]) is float
    assert type(numbad.grad(np.tanh)(np.float64(2.0))) is np.float64
    assert type(numbad.grad(numbad.grad(np.tanh))(np.float32(2.0))) is np.float32


def test_single_precision_in_single_precision_out() -> None:
    x, v = X.astype(np.float32), np.ones(3, np.float32)

    def f(x: Any) -> Any:
        return np.sum(np.sin(x) * x**2)

    exact = numbad.hessian(f)(X)
    for found in (numbad.hessian(f)(x), numbad.jacfwd(numbad.grad(f))(x), numbad.jacrev(numbad.grad(f))(x)):
        assert found.dtype == np.float32
        close(found, exact, rtol=2e-5, atol=1e-5)
    assert numbad.grad(f)(x).dtype == np.float32
    assert numbad.hvp(f, x, v).dtype == np.float32
    close(numbad.hvp(f, x, v), exact @ v, rtol=2e-5, atol=1e-5)
    assert [part.dtype for part in numbad.jvp(np.sin, (x,), (v,))] == [np.float32, np.float32]
    assert numbad.jvp(np.sin, (x,), (np.ones(3),))[1].dtype == np.float32
    value, pullback = numbad.vjp(np.sin, x)
    assert (value.dtype, pullback(v)[0].dtype) == (np.float32, np.float32)
    assert type(numbad.derivative(lambda x: x**3, np.float32(2.0), order=2)) is np.float32
    mixed = numbad.grad(lambda p: np.sum(p["a"] * p["b"]))({"a": x, "b": X})
    assert (mixed["a"].dtype, mixed["b"].dtype) == (np.float32, np.float64)


def test_outputs_that_are_constants_views_and_the_input_itself() -> None:
    for jacobian in (numbad.jacfwd, numbad.jacrev, numbad.jacobian):
        close(jacobian(lambda x: x)(X), np.eye(3))
        close(jacobian(lambda x: x[::-1][:2])(X), np.eye(3)[::-1][:2])
        close(jacobian(lambda m: m.T)(M), np.einsum("il,jk->ijkl", np.eye(3), np.eye(2)))
        close(jacobian(lambda x: np.ones(2))(X), np.zeros((2, 3)))
        close(jacobian(lambda x: np.array([1, 2]))(X), np.zeros((2, 3)))
        close(jacobian(lambda x: 3)(X), np.zeros(3))
        close(jacobian(lambda x: (x[0], 2.0, x))(X)[2], np.eye(3))
        close(jacobian(lambda x: [x, x[:1]])(X)[1], np.eye(3)[:1])
    close(numbad.grad(lambda x: x[1])(X), np.array([0.0, 1.0, 0.0]))
    close(numbad.grad(lambda x: 7.0)(X), np.zeros(3))
    close(numbad.hessian(lambda x: 7)(X), np.zeros((3, 3)))
    close(numbad.hessian(lambda x: np.sum(x))(X), np.zeros((3, 3)))
    assert numbad.jvp(lambda x: 2.0, (X,), (X,)) == (2.0, 0.0)
    close(numbad.jvp(lambda x: np.ones(2), (X,), (X,))[1], np.zeros(2))
    close(numbad.vjp(lambda x: 2.0, X)[1](1.0)[0], np.zeros(3))
    close(numbad.vjp(lambda x: x, X)[1](M[0])[0], M[0])
    value, tangent = numbad.jvp(lambda x: x, (X,), (2.0 * X,))
    close(value, X)
    close(tangent, 2.0 * X)
    assert not np.shares_memory(value, X)


@pytest.mark.parametrize(
    "transform",
    [
        lambda f: numbad.jacfwd(f)(X),
        lambda f: numbad.jacrev(f)(X),
        lambda f: numbad.jacobian(f, X),
        lambda f: numbad.jvp(f, (X,), (X,)),
        lambda f: numbad.vjp(f, X),
        lambda f: numbad.linearize(f, X),
    ],
)
def test_outputs_without_derivative_are_refused(transform: Any) -> None:
    for f, text in [
        (lambda x: None, "returned None"),
        (lambda x: "a", "returned a str"),
        (lambda x: x > 0.0, "truth values"),
        (lambda x: x[0] > 0.0, "truth value"),
        (lambda x: np.array([True, False]), "truth values"),
        (lambda x: True, "a bool"),
        (lambda x: {1, 2}, "a set"),
    ]:
        with pytest.raises(OutputError, match=text):
            transform(f)


@pytest.mark.parametrize("bad", [2, True, np.arange(3), np.ones(3) * 1j, "a"])
def test_inputs_without_derivative_are_refused(bad: Any) -> None:
    for call in (
        numbad.grad(lambda x: 1.0),
        numbad.jacfwd(lambda x: x),
        numbad.jacrev(lambda x: x),
        numbad.hessian(lambda x: 1.0),
        lambda x: numbad.jvp(lambda x: x, (x,), (x,)),
        lambda x: numbad.vjp(lambda x: x, x),
    ):
        with pytest.raises(InputError, match="is not defined"):
            call(bad)


def test_tangents_of_another_shape_dtype_or_structure_are_refused() -> None:
    def f(p: Any) -> Any:
        return p["a"] * p["b"][0]

    point = {"a": X, "b": (2.0,)}
    tangent = numbad.jvp(f, (point,), ({"a": X, "b": (1.0,)},))[1]
    close(tangent, 3.0 * X)
    for wrong in ({"a": X, "c": (1.0,)}, {"a": X, "b": [1.0]}, {"a": X, "b": 1.0}, (X, (1.0,)), X):
        with pytest.raises(InputError, match="another structure"):
            numbad.jvp(f, (point,), (wrong,))
    for wrong in (X[:2], 1.0, X[:, None]):
        with pytest.raises(InputError, match="has shape"):
            numbad.jvp(f, (point,), ({"a": wrong, "b": (1.0,)},))
        with pytest.raises(InputError, match="has shape"):
            numbad.linearize(np.sin, X)[1](wrong)
    with pytest.raises(InputError, match="complex128"):
        numbad.jvp(np.sin, (X,), (X * 1j,))
    with pytest.raises(InputError, match="a tuple of 1 tangents"):
        numbad.jvp(np.sin, (X,), (X, X))
    close(numbad.jvp(np.square, (X,), (np.array([1, 2, 3]),))[1], 2.0 * X * [1, 2, 3])


# ---------------------------------------------------------------- the single functions


def test_derivative_of_any_order() -> None:
    for order in range(7):
        expected = float(mpmath.diff(lambda t: mpmath.exp(mpmath.sin(t)) / t, 1.3, order))
        found = numbad.derivative(lambda t: np.exp(np.sin(t)) / t, 1.3, order=order)
        assert found == pytest.approx(expected, rel=1e-11)
    close(numbad.derivative(np.sin, X, order=3), -np.cos(X))
    close(numbad.derivative(lambda t: t**3 * X)(2.0), 12.0 * X)
    for order in (-1, 1.5):
        with pytest.raises(ValueError, match="the order is"):
            numbad.derivative(np.sin, 1.0, order=order)
    with pytest.raises(InputError):
        numbad.derivative(np.sin, 1)


def test_hvp_is_the_hessian_times_a_vector() -> None:
    def f(x: Any) -> Any:
        return np.sum(np.exp(x[:-1] * x[1:])) + x @ S @ x * x[0]

    v = np.array([0.3, -2.0, 1.0])
    close(numbad.hvp(f, X, v), numbad.hessian(f, X) @ v)
    close(numbad.grad(lambda x: numbad.grad(f)(x) @ v)(X), numbad.hessian(f, X) @ v)
    tree = {"a": X, "b": 2.0}
    found = numbad.hvp(lambda p: np.sum(p["a"] ** 2) * p["b"], tree, {"a": v, "b": 1.0})
    close(found["a"], 2.0 * 2.0 * v + 2.0 * X)
    assert found["b"] == pytest.approx(2.0 * X @ v)


def test_linearize_pushes_many_tangents_at_one_point() -> None:
    runs = []

    def f(x: Any) -> Any:
        runs.append(1)
        return np.sin(x) @ S

    value, pushforward = numbad.linearize(f, X)
    close(value, np.sin(X) @ S)
    jacobian = S.T * np.cos(X)
    for k in range(3):
        close(pushforward(np.eye(3)[k]), jacobian[:, k])
    assert len(runs) == 1, "the function runs once"
    close(numbad.vmap(pushforward)(np.eye(3)), jacobian.T)
    inside = numbad.grad(lambda x: numbad.linearize(lambda y: y**3 * x[0], x)[1](np.ones(3))[1])(X)
    close(inside, np.array([3.0 * X[1] ** 2, 6.0 * X[1] * X[0], 0.0]))


def test_jacobian_takes_the_cheaper_mode(monkeypatch: pytest.MonkeyPatch) -> None:
    from numbad.sweeps.linearised import Linearised

    called = []
    for name in ("push", "pull"):
        original = getattr(Linearised, name)
        monkeypatch.setattr(
            Linearised, name, lambda *a, name=name, original=original: (called.append(name), original(*a))[1]
        )
    tall, wide = np.arange(20.0).reshape(10, 2), np.arange(20.0).reshape(2, 10)
    close(numbad.jacobian(lambda x: tall @ x, np.ones(2)), tall)
    close(numbad.jacobian(lambda x: wide @ x, np.ones(10)), wide)
    close(numbad.jacobian(lambda x: S @ x, np.ones(3)), S)
    assert called == ["push", "pull", "push"]


def test_a_hessian_too_large_for_memory_is_refused_before_it_is_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    import tracemalloc

    x = np.ones(30_000)
    monkeypatch.setattr(numbad.transforms.functional, "available_memory", lambda: 4e9)
    tracemalloc.start()
    try:
        for call in (
            lambda: numbad.hessian(lambda x: np.sum(x**3))(x),
            lambda: numbad.jacfwd(lambda x: x**3)(x),
            lambda: numbad.jacrev(lambda x: x**3)(x),
        ):
            with pytest.raises(MemoryError, match=r"30,000 x 30,000 .* need 14.4 GB or more, and 4.0 GB are free"):
                call()
        assert tracemalloc.get_traced_memory()[1] < 1e8
    finally:
        tracemalloc.stop()
    close(numbad.hvp(lambda x: np.sum(x**3), x, x), 6.0 * x)


# ---------------------------------------------------------------- compositions of forward and reverse


def forward(f: Any, direction: Any) -> Any:
    """Return the directional derivative of a scalar function, by pushing forward."""
    return lambda x: numbad.jvp(f, (x,), (direction,))[1]


def reverse(f: Any, direction: Any) -> Any:
    """Return the directional derivative of a scalar function, by its gradient."""
    return lambda x: np.sum(numbad.grad(f)(x) * direction)


def pulled(f: Any, direction: Any) -> Any:
    """Return the directional derivative of a scalar function, by its pullback."""
    return lambda x: np.sum(numbad.vjp(f, x)[1](1.0)[0] * direction)


def pushed(f: Any, direction: Any) -> Any:
    """Return the directional derivative of a scalar function, by linearising it."""
    return lambda x: numbad.linearize(f, x)[1](direction)


MODES = {"forward": forward, "reverse": reverse}
COMPOSITIONS = [modes for order in (1, 2, 3) for modes in itertools.product(MODES, repeat=order)]
DIRECTIONS = np.array(
    [[1.0, -0.5, 2.0, 0.25, -1.5, 0.75], [0.5, 1.0, -1.0, 2.0, 0.3, -0.2], [-1.0, 0.7, 0.1, 1.0, 1.0, 2.0]]
)


def nested_duals(x: np.ndarray, directions: Any) -> np.ndarray:
    """Return an array of duals of duals ..., one direction a level."""
    result = np.empty(x.size, object)
    for k, number in enumerate(x.reshape(-1)):
        dual: Any = float(number)
        for direction in directions:
            dual = Dual(dual, np.array([direction.reshape(-1)[k]]))
        result[k] = dual
    return result.reshape(x.shape)


def directional(f: Any, x: np.ndarray, directions: Any) -> tuple[float, float]:
    """Return a mixed directional derivative by duals of duals, and the closest comparison."""
    Dual.margin = float("inf")
    found = f(nested_duals(x, directions))
    found = found[()] if isinstance(found, np.ndarray) else found
    for _ in directions:
        found = found.slopes[0] if isinstance(found, Dual) else 0.0
    return innermost(found), Dual.margin


def fixed_program(x: Any, sin: Any, exp: Any, zeros: Any, positive: Any) -> Any:
    """Control flow, in-place assignment, indexing, products and reductions."""
    y = zeros(x)
    y[0] = x[0] * x[1]
    y[1:] = x[:2] * x[0]
    for k in range(3):
        y[k] = y[k] + 0.5 * sin(x[k]) * y[(k + 1) % 3]
    if positive(x[0]):
        y[1] *= exp(0.3 * x[2])
    y += y[[2, 0, 0]] * x
    z = S @ y
    return (z[0] * z[1]) / (2.0 + z[2] ** 2) + (z * y).sum()


def numeric_program(x: Any) -> Any:
    return fixed_program(x, np.sin, np.exp, np.zeros_like, lambda part: part > 0.1)


@pytest.fixture(scope="module")
def mixed_derivatives() -> list[float]:
    """The first, second and third mixed directional derivatives of the fixed program, by SymPy."""
    symbols, shifts = sympy.symbols("a b c"), sympy.symbols("u v w")
    moved = np.array(symbols)
    for shift, direction in zip(shifts, DIRECTIONS):
        moved = moved + [shift * sympy.Rational(str(number)) for number in direction[:3]]
    expression = fixed_program(moved, sympy.sin, sympy.exp, lambda x: np.zeros(3, object), lambda part: True)
    values = dict(zip(symbols, map(sympy.Rational, X.tolist()), strict=True)) | dict.fromkeys(shifts, 0)
    found = []
    for shift in shifts:
        expression = sympy.diff(expression, shift)
        found.append(float(expression.subs(values).evalf(25)))
    return found


@pytest.mark.parametrize("modes", COMPOSITIONS, ids="-".join)
def test_compositions_agree_with_sympy(modes: tuple[str, ...], mixed_derivatives: list[float]) -> None:
    f: Any = numeric_program
    for mode, direction in zip(modes, DIRECTIONS):
        f = MODES[mode](f, direction[:3])
    assert f(X) == pytest.approx(mixed_derivatives[len(modes) - 1], rel=1e-11)


def test_dense_compositions_agree_with_each_other(mixed_derivatives: list[float]) -> None:
    """All eight orders of jacfwd and jacrev give the tensor of third derivatives."""
    u, v, w = DIRECTIONS[:, :3]
    tensors = []
    for first, second, third in itertools.product((numbad.jacfwd, numbad.jacrev), repeat=3):
        tensors.append(third(second(first(numeric_program)))(X))
    for tensor in tensors:
        close(tensor, tensors[0], rtol=1e-10, atol=1e-10)
        assert np.einsum("ijk,i,j,k", tensor, u, v, w) == pytest.approx(mixed_derivatives[2], rel=1e-10)
        for axes in itertools.permutations(range(3)):
            close(tensor.transpose(axes), tensor, rtol=1e-9, atol=1e-10)


@given(PROGRAMS, POINTS)
@settings(max_examples=12)
def test_compositions_on_random_programs(program: Any, x: np.ndarray) -> None:
    def f(x: Any) -> Any:
        return run(program, x)

    expected, sizes = [], []
    for order in (1, 2, 3):
        value, margin = directional(f, x, DIRECTIONS[:order])
        assume(margin > 1e-9)
        expected.append(value)
        sizes.append(abs(value))
    assume(max(sizes) < 1e6)
    for modes in COMPOSITIONS:
        nested: Any = f
        for mode, direction in zip(modes, DIRECTIONS):
            nested = MODES[mode](nested, direction)
        assert nested(x) == pytest.approx(expected[len(modes) - 1], rel=1e-8, abs=1e-8 * max(1.0, *sizes)), modes


def test_the_oracle_of_mixed_derivatives_would_see_a_wrong_rule(monkeypatch: pytest.MonkeyPatch) -> None:
    x = np.array([0.5, -1.5, 0.25, 1.0, 2.0, -0.5])
    f = lambda x: np.sum(np.sin(x) * x**3)
    right, _ = directional(f, x, DIRECTIONS)
    u, v, w = DIRECTIONS
    third = 6.0 * np.sin(x) + 18.0 * x * np.cos(x) - 9.0 * x**2 * np.sin(x) - x**3 * np.cos(x)
    assert right == pytest.approx(np.sum(third * u * v * w), rel=1e-12)
    assert forward(reverse(forward(f, u), v), w)(x) == pytest.approx(right, rel=1e-12)
    monkeypatch.setattr(Dual, "cos", lambda self: self.chain(np.cos(self.value), -1.001 * np.sin(self.value)))
    wrong, _ = directional(f, x, DIRECTIONS)
    assert abs(wrong - right) > 1e-4 * abs(right)


@pytest.mark.parametrize("outer", [forward, reverse, pulled, pushed])
@pytest.mark.parametrize("inner", [forward, reverse, pulled, pushed])
def test_every_pair_of_transforms(outer: Any, inner: Any) -> None:
    """jvp, grad, vjp and linearize over one another, on arrays with a matrix product and a gather."""
    u, v = DIRECTIONS[0], DIRECTIONS[1]
    x = np.array([0.5, -1.5, 0.25, 1.0, 2.0, -0.5])

    def f(x: Any) -> Any:
        return np.sum(np.tanh(x.reshape(2, 3) @ S) * x[[0, 0, 5]]) ** 2

    _, _, hessian, _ = oracle(f, x, order=2)
    assert outer(inner(f, u), v)(x) == pytest.approx(u @ hessian @ v, rel=1e-11)


# ---------------------------------------------------------------- array ops at second and third order


def spd(x: Any) -> Any:
    """Return a positive definite matrix that depends on x."""
    return np.outer(x, x) + S @ S.T + np.eye(3) * x[0] ** 2


ARRAY_FUNCTIONS = {
    "cumsum": lambda x: np.cumsum(x**2) * x,
    "cumprod": lambda x: np.cumprod(x) * x,
    "max": lambda x: np.max(x**2) * x,
    "min": lambda x: np.min(np.sin(x)) * x,
    "prod": lambda x: np.prod(x) * x,
    "prod of zeros": lambda x: np.prod(x * np.array([1.0, 0.0, 1.0])) * x,
    "sort": lambda x: np.sort(x) * x**2,
    "mean and std": lambda x: np.std(x) * np.mean(x**2) * x,
    "norm": lambda x: np.linalg.norm(x) * x,
    "solve": lambda x: np.linalg.solve(S + np.outer(x, x), x),
    "inv": lambda x: np.linalg.inv(S + np.outer(x, x)) @ x,
    "det": lambda x: np.linalg.det(S * x) * x,
    "slogdet": lambda x: np.linalg.slogdet(spd(x))[1] * x,
    "cholesky": lambda x: np.linalg.cholesky(spd(x)) @ x,
    "eigvalsh": lambda x: np.linalg.eigvalsh(spd(x)) * x,
    "matmul": lambda x: (np.outer(x, x) @ S) @ x,
    "batched matmul": lambda x: np.sum((np.stack([x, x**2])[:, None, :] @ np.stack([S, S * x]))[:, 0], axis=0),
    "einsum": lambda x: np.einsum("i,ij,jk->k", x, S, np.outer(x, x)),
    "gather of duplicates": lambda x: x[[0, 0, 2]] * x[np.array([2, 1, 0])],
    "scatter": lambda x: scattered(x) * x,
    "where": lambda x: np.where(x > 0.0, x**3, np.sin(x)) * x,
    "logsumexp": lambda x: numbad.logsumexp(x) * x,
    "interp and clip": lambda x: np.clip(x, -1.0, 1.0) * x**2,
    "convolve": lambda x: np.convolve(x, x**2)[:3],
    "diff and concatenate": lambda x: np.concatenate([np.diff(x**2), x[:1] * x[2]]),
    "pool constant": lambda x: (LARGE * x).sum(axis=0) * x,
    "host ufuncs": lambda x: numbad.erf(x) * np.exp2(x),
}
LARGE = np.linspace(-1.0, 1.0, 1800).reshape(600, 3)


def scattered(x: Any) -> Any:
    y = np.zeros_like(x)
    np.add.at(y, [0, 0, 2], x**2)
    y[[1, 2]] += x[1:] * x[0]
    return y


@pytest.mark.parametrize("name", ARRAY_FUNCTIONS)
def test_array_ops_at_second_and_third_order(name: str) -> None:
    f = ARRAY_FUNCTIONS[name]
    x = np.array([0.7, -1.2, 1.9])
    check_grads(f, (x,), order=2)
    u, v, w = DIRECTIONS[:, :3]

    def weighted(x: Any) -> Any:
        return np.sum(f(x) * np.array([1.0, -0.5, 0.3]))

    def second(t: float) -> float:
        return float(u @ numbad.hessian(weighted)(x + t * w) @ v)

    step = 1e-3
    quotients = [(second(h) - second(-h)) / (2.0 * h) for h in (step, 2.0 * step, 4.0 * step)]
    fine = [(4.0 * quotients[k] - quotients[k + 1]) / 3.0 for k in range(2)]
    expected = (16.0 * fine[0] - fine[1]) / 15.0
    size = max(1.0, float(np.max(np.abs(numbad.hessian(weighted)(x)))))
    for modes in ((forward, reverse, forward), (reverse, forward, reverse), (reverse, reverse, reverse)):
        nested = modes[2](modes[1](modes[0](weighted, u), v), w)
        assert nested(x) == pytest.approx(expected, rel=1e-6, abs=1e-6 * size)


def test_second_derivatives_at_kinks_keep_the_policy() -> None:
    close(numbad.hessian(lambda x: np.sum(np.where(x > 0.0, np.sqrt(x), x**2)))(np.zeros(2)), 2.0 * np.eye(2))
    assert numbad.grad(numbad.grad(lambda x: np.where(x > 0.0, x * np.log(x), x**2)))(0.0) == 2.0
    assert numbad.grad(numbad.grad(lambda x: np.abs(x) * x))(0.0) == 0.0
    assert numbad.grad(numbad.grad(lambda x: np.maximum(x, 0.0) ** 2))(0.0) == pytest.approx(0.5)
    assert numbad.grad(numbad.grad(lambda x: x**2.0))(0.0) == 2.0
    assert numbad.derivative(lambda x: x**2, 0.0, order=3) == 0.0
    close(numbad.hessian(lambda x: np.max(x))(np.ones(3)), np.zeros((3, 3)))
    expected = np.array([[0.0, 3.0, 0.0], [3.0, 0.0, 0.0], [0.0, 0.0, 0.0]])
    close(numbad.hessian(lambda x: np.prod(x))(np.array([0.0, 0.0, 3.0])), expected)
    assert np.isnan(numbad.hvp(lambda x: np.linalg.norm(x), np.zeros(2), np.ones(2))).all(), "a norm has none at 0"


# ---------------------------------------------------------------- perturbation confusion


D = numbad.grad


def D_forward(f: Any) -> Any:
    return lambda x: numbad.jvp(f, (x,), (1.0,))[1]


@pytest.mark.parametrize("outer", [D, D_forward])
@pytest.mark.parametrize("inner", [D, D_forward])
def test_nested_derivatives_are_not_confused(outer: Any, inner: Any) -> None:
    """The examples of Siskind and Pearlmutter (2005), in every combination of modes."""
    assert outer(lambda x: x * inner(lambda y: x + y)(1.0))(1.0) == 1.0
    assert outer(lambda x: x * inner(lambda y: x * y)(2.0))(3.0) == 6.0
    assert outer(lambda x: inner(lambda y: x * y * y)(x))(3.0) == 12.0
    assert outer(lambda x: inner(lambda y: x * 1.0)(x))(2.0) == 0.0
    assert outer(lambda x: inner(lambda y: y**3 if y > x else y**2)(2.0 * x))(1.0) == 24.0
    assert outer(lambda x: x * inner(lambda y: outer(lambda z: x * y * z * z)(y))(x))(2.0) == 48.0  # 12 x**2


def test_the_amazing_bug() -> None:
    """Manzyuk et al. (2019): the derivative of a function that returns a function, applied twice."""

    def shifted(a: Any) -> Any:
        return lambda f: lambda x: f(a + x)

    def slope_at_zero(g: Any) -> Any:
        return lambda f: lambda x: numbad.jvp(lambda a: g(a)(f)(x), (0.0,), (1.0,))[1]

    difference = slope_at_zero(shifted)
    assert difference(difference(np.exp))(1.0) == pytest.approx(np.e, rel=1e-15)
    assert difference(difference(lambda x: x**3))(2.0) == pytest.approx(12.0)


def test_values_of_an_inner_derivative_may_be_used_outside_of_it() -> None:
    def f(x: Any) -> Any:
        kept = []

        def inner(y: Any) -> Any:
            kept.append(x * y)
            return x * y * y

        return D(inner)(2.0) * kept[0]  # 4 x times 2 x

    assert D(f)(3.0) == 48.0


def test_nesting_through_assignment_and_aliases() -> None:
    def f(x: Any) -> Any:
        y = np.zeros_like(x)
        view = y[1:]

        def inner(z: Any) -> Any:
            w = z * x
            w[0] = z[1] ** 2 * x[2]
            return np.sum(w**2)

        view += D(inner)(x)[:2]
        y[0] = x[1]
        return np.sum(y * x)

    def plain(x: Any) -> Any:  # the inner derivative by hand
        g0 = 0.0 * x[0]
        g1 = 4.0 * x[1] ** 3 * x[2] ** 2 + 2.0 * x[1] * x[1] ** 2
        return x[1] * x[0] + g0 * x[1] + g1 * x[2]

    expected = oracle(plain, X, order=2)
    close(numbad.grad(f)(X), expected[1])
    close(numbad.hessian(f)(X), expected[2], rtol=1e-11, atol=1e-11)


def test_functions_that_assign_to_their_input() -> None:
    def f(x: Any) -> Any:
        x[0] = x[1] * x[0]
        x[1:] *= 2.0
        return np.sum(x**3)

    x = X.copy()
    expected = oracle(lambda x: (x[0] * x[1]) ** 3 + (2.0 * x[1]) ** 3 + (2.0 * x[2]) ** 3, X, order=2)
    close(numbad.hessian(f)(x), expected[2])
    close(numbad.jacrev(numbad.grad(f))(x), expected[2])
    close(x, X)


def test_newton_iterations_inside_a_derivative() -> None:
    """An inner Newton iteration, with derivatives of its own and a tolerance: the implicit function's derivative."""

    def root(a: Any) -> Any:  # y**3 + y = a
        y = a * 0.5
        while abs((y**3 + y - a) * 1.0) > 1e-13:
            y = y - (y**3 + y - a) / D(lambda t: t**3 + t - a)(y)
        return y

    y = float(next(r.real for r in np.roots([1.0, 0.0, 1.0, -3.0]) if abs(r.imag) < 1e-9))
    assert D(root)(3.0) == pytest.approx(1.0 / (3.0 * y**2 + 1.0), rel=1e-10)
    assert D(D(root))(3.0) == pytest.approx(-6.0 * y / (3.0 * y**2 + 1.0) ** 3, rel=1e-6)


# ---------------------------------------------------------------- pullbacks


def test_a_pullback_is_used_again_and_again() -> None:
    value, pullback = numbad.vjp(lambda x: np.sin(x) @ S, X)
    close(value, np.sin(X) @ S)
    jacobian = (S * np.cos(X)[:, None]).T
    first = pullback(np.ones(3))[0]
    for k in range(3):
        close(pullback(np.eye(3)[k])[0], jacobian[k])
    close(first, np.ones(3) @ jacobian)
    close(pullback(np.array([1, 0, 0]))[0], jacobian[0])
    close(numbad.vmap(pullback)(np.eye(3))[0], jacobian)
    close(numbad.grad(lambda c: pullback(c)[0] @ np.ones(3))(np.ones(3)), jacobian @ np.ones(3))
    assert np.isnan(pullback(np.full(3, np.nan))[0]).all()


def test_a_pullback_refuses_cotangents_of_another_kind() -> None:
    _, pullback = numbad.vjp(lambda x: {"a": x[0] * x[1], "b": [x, 3.0]}, X)
    found = pullback({"a": 1.0, "b": [X, 1.0]})[0]
    close(found, X + np.array([X[1], X[0], 0.0]))
    wrongs = ({"a": 1.0, "c": [X, 1.0]}, {"a": 1.0, "b": (X, 1.0)}, {"a": 1.0, "b": [X]}, {"a": 1.0, "b": [None, 1.0]})
    for wrong in (*wrongs, 1.0, [1.0, X, 1.0], None):
        with pytest.raises(InputError, match="another structure"):
            pullback(wrong)
    for wrong in (X[:2], 1.0, "a"):
        with pytest.raises(InputError, match=r"a cotangent of shape"):
            pullback({"a": 1.0, "b": [wrong, 1.0]})
    with pytest.raises(InputError, match="complex"):
        pullback({"a": 1.0, "b": [X * 1j, 1.0]})
    with pytest.raises(TypeError, match="positional"):
        pullback({"a": 1.0, "b": [X, 1.0]}, 2.0)

    def inside(x: Any) -> Any:
        _, pullback = numbad.vjp(np.sin, x)
        return np.sum(pullback(x[:2])[0])

    with pytest.raises(InputError, match=r"of shape \(2,\) where the output has \(3,\)"):
        numbad.grad(inside)(X)


@pytest.mark.parametrize("size", [3, 5000])
def test_a_pullback_keeps_its_inputs_as_they_were(size: int) -> None:
    x = np.linspace(0.1, 1.0, size)
    before = x.copy()
    value, pullback = numbad.vjp(lambda x: np.sin(x) * x, x)
    _, pushforward = numbad.linearize(lambda x: np.sin(x) * x, x)
    slope = np.cos(before) * before + np.sin(before)
    x[:] = 100.0
    close(pullback(np.ones(size))[0], slope)
    close(pushforward(np.ones(size)), slope)
    close(value, np.sin(before) * before)
    close(numbad.vmap(pullback)(np.ones((2, size)))[0], np.stack([slope, slope]))
    close(numbad.vmap(pushforward)(np.ones((2, size))), np.stack([slope, slope]))
    close(numbad.grad(lambda c: np.sum(pullback(c)[0]))(np.ones(size)), slope)


@pytest.mark.usefixtures("usual_limits")
@pytest.mark.parametrize("rows", [3, 40])
def test_a_pullback_keeps_arrays_that_its_function_uses(rows: int) -> None:
    matrix = np.arange(rows * 40.0).reshape(rows, 40)
    before = matrix.copy()
    _, pullback = numbad.vjp(lambda x: matrix @ np.sin(x), np.ones(40))
    _, pushforward = numbad.linearize(lambda x: matrix @ np.sin(x), np.ones(40))
    matrix[:] = 0.0
    close(pullback(np.ones(rows))[0], np.ones(rows) @ before * np.cos(1.0))
    close(pushforward(np.ones(40)), before @ np.ones(40) * np.cos(1.0))


def test_writing_to_a_large_array_of_the_function_is_noticed() -> None:
    matrix = np.ones((600, 600))
    _, pullback = numbad.vjp(lambda x: matrix @ x, np.ones(600))
    close(pullback(np.ones(600))[0], np.full(600, 600.0))
    matrix *= 2.0
    with pytest.raises(NumbadError, match=r"an array of shape \(600, 600\) .* was written to"):
        pullback(np.ones(600))


def test_a_pullback_in_other_threads() -> None:
    _, pullback = numbad.vjp(lambda x: np.tanh(x) * x, X)
    expected = [pullback(np.full(3, float(k)))[0] for k in range(8)]
    found: dict[int, Any] = {}

    def work(k: int) -> None:
        for _ in range(20):
            found[k] = pullback(np.full(3, float(k)))[0]

    threads = [threading.Thread(target=work, args=(k,)) for k in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for k in range(8):
        close(found[k], expected[k])


def test_a_pullback_that_escapes_from_a_recording_says_so() -> None:
    kept = []

    def f(x: Any) -> Any:
        value, pullback = numbad.vjp(np.sin, x)
        kept.append(pullback)
        return np.sum(value)

    numbad.grad(f)(X)
    with pytest.raises(LeakError, match="after the function that recorded it has returned"):
        kept[0](np.ones(3))


def test_the_results_of_transforms_own_their_memory() -> None:
    value, pullback = numbad.vjp(lambda x: x * 2.0, X)
    first, second = pullback(np.ones(3))[0], pullback(np.ones(3))[0]
    first[:] = 9.0
    close(second, np.full(3, 2.0))
    jacobian = numbad.jacfwd(lambda x: x)(X)
    jacobian[0, 0] = 5.0
    close(numbad.jacfwd(lambda x: x)(X), np.eye(3))
    value[:] = 0.0
    close(pullback(np.ones(3))[0], np.full(3, 2.0))


def test_an_exception_half_way_leaves_nothing_behind() -> None:
    def f(x: Any) -> Any:
        if x[0] > 0.0:
            raise KeyError("half way")
        return np.sum(x)

    for call in (
        numbad.grad(f),
        numbad.hessian(f),
        numbad.jacfwd(f),
        lambda x: numbad.jvp(f, (x,), (x,)),
        lambda x: numbad.vjp(f, x),
        lambda x: numbad.grad(lambda x: numbad.grad(f)(x)[0])(x),
    ):
        with pytest.raises(KeyError, match="half way"):
            call(X)
        assert numbad.recording.recorder.current() is None
        close(numbad.grad(lambda x: np.sum(x**2))(X), 2.0 * X)


# ---------------------------------------------------------------- results that are assigned to


def spoilt(derivative):
    """Return a function that assigns to elements of a derivative that it takes inside."""

    def function(x):
        found = derivative(x)
        found[0] = x[1] * x[2]
        found[1:] *= 2.0
        return np.sum(found * x[:, None] if found.ndim == 2 else found * x)

    return function


@pytest.mark.parametrize(
    "inside, by_hand",
    [
        (numbad.grad(lambda z: np.sum(z**3)), lambda x: 3.0 * x**2),
        (numbad.grad(lambda z: np.sum(z)), lambda x: 1.0 + 0.0 * x),
        (numbad.grad(lambda z: np.sum(z[::-1] * z)), lambda x: 2.0 * x[::-1]),
        (lambda x: numbad.vjp(lambda z: z**2, x)[1](x)[0], lambda x: 2.0 * x**2),
        (lambda x: numbad.jvp(lambda z: z[::-1], (x,), (x,))[1], lambda x: 1.0 * x[::-1]),
        (numbad.jacfwd(lambda z: z * z), lambda x: 2.0 * x * np.eye(3)),
        (numbad.jacrev(lambda z: z[::-1] * z[0]), lambda x: numbad.jacfwd(lambda z: z[::-1] * z[0])(x)),
        (numbad.grad(lambda z: np.sum(np.outer(z, z) @ z)), lambda x: np.sum(x) * 2.0 * x + np.sum(x**2)),
    ],
)
def test_derivatives_taken_inside_may_be_assigned_to(inside, by_hand):
    x = np.array([1.0, 2.0, 3.0])
    outer = spoilt(inside)
    value, gradient = numbad.value_and_grad(outer)(x)
    np.testing.assert_allclose(value, spoilt(lambda z: by_hand(z) * 1.0)(x), rtol=1e-14)
    step = 1e-6
    differences = [(outer(x + step * e) - outer(x - step * e)) / (2.0 * step) for e in np.eye(3)]
    np.testing.assert_allclose(gradient, differences, rtol=1e-7, atol=1e-7)


def test_argnums_may_be_an_integer_of_numpy():
    x = np.array([1.0, 2.0])
    for transform in (numbad.grad, numbad.jacfwd, numbad.jacrev, lambda f, k: numbad.hessian(f, argnums=k)):
        one = transform(lambda a, b: np.sum(a * b**2), np.int64(1))(x, x)
        np.testing.assert_array_equal(one, transform(lambda a, b: np.sum(a * b**2), 1)(x, x))
        assert isinstance(one, np.ndarray)


def test_tangents_that_are_no_tuple_are_named():
    with pytest.raises(InputError, match="it was given a ndarray"):
        numbad.jvp(np.sum, np.ones(3), np.ones(3))


# ---------------------------------------------------------------- None, a tree without leaves


def test_none_in_a_tree_has_no_leaves() -> None:
    """As in JAX: it comes back as None in gradients, tangents and blocks, and is given as None in seeds."""
    point = {"a": X, "b": None, "c": (None, 2.0)}
    f = lambda p: np.sum(p["a"] ** 2) * p["c"][1]
    slope = {"a": 4.0 * X, "b": None, "c": (None, X @ X)}
    for transform in (numbad.grad, numbad.jacfwd, numbad.jacrev, numbad.jacobian, numbad.gradient):
        for found in (transform(f)(point), numbad.jit(transform(f))(point), transform(numbad.jit(f))(point)):
            assert found["b"] is None
            assert found["c"][0] is None
            close(found["a"], slope["a"])
            close(found["c"][1], slope["c"][1])
    second = numbad.hessian(f)(point)
    assert second["b"] is None
    assert second["a"]["b"] is None
    close(second["a"]["c"][1], 2.0 * X)
    assert numbad.jvp(f, (point,), (point,))[1] == pytest.approx(3.0 * f(point))
    assert numbad.linearize(f, point)[1](point) == pytest.approx(3.0 * f(point))
    value, pullback = numbad.vjp(lambda p, q: {"x": f(p), "y": q}, point, None)
    assert value["y"] is None
    close(pullback({"x": 1.0, "y": None})[0]["a"], slope["a"])
    assert pullback({"x": 1.0, "y": None})[1] is None
    inner = numbad.grad(lambda p: np.sum(numbad.grad(f)(p)["a"]))(point)
    close(inner["a"], np.full(3, 4.0))
    assert inner["b"] is None
    check_grads(f, (point,), order=2)
    with pytest.raises(InputError, match="another structure"):
        numbad.jvp(f, (point,), (dict(point, b=1.0),))
    with pytest.raises(InputError, match="another structure"):
        pullback({"x": 1.0, "y": 1.0})


def test_none_as_a_whole_argument_or_result() -> None:
    for transform in (numbad.grad, numbad.jacfwd, numbad.jacrev, numbad.gradient):
        assert transform(lambda x, y: 3.0 * y)(None, 2.0) is None if transform is not numbad.gradient else True
    assert numbad.gradient(lambda x, y: 3.0 * y, None, 2.0) == (None, 3.0)
    assert numbad.jvp(lambda x: x, (None,), (None,)) == (None, None)
    assert numbad.vjp(lambda x: x, None)[1](None) == (None,)
    found = numbad.jacfwd(lambda x: (x, None))(X)
    close(found[0], np.eye(3))
    assert found[1] is None
    slope, auxiliary = numbad.grad(lambda x: (np.sum(x), {"none": None, "x": x}), has_aux=True)(X)
    close(slope, np.ones(3))
    assert auxiliary["none"] is None
    close(auxiliary["x"], X)
    with pytest.raises(OutputError, match="returned None"):  # of numbers: a return is missing
        numbad.jacfwd(lambda x: None)(X)


def test_a_block_between_two_numbers_is_a_number_inside_a_recording_too() -> None:
    for transform in (numbad.jacfwd, numbad.jacrev, numbad.hessian):
        for call in (transform(np.exp), numbad.jit(transform(np.exp))):
            found = call(0.5)
            assert type(found) is float
            assert found == pytest.approx(np.exp(0.5))
        assert type(numbad.jit(transform(np.exp))(np.float32(0.5))) is np.float32
    inner = numbad.grad(lambda x: numbad.jacfwd(np.sin)(x) * (1.0 if numbad.jacrev(np.sin)(x) > 0.0 else 2.0))
    assert inner(2.0) == pytest.approx(-2.0 * np.sin(2.0))


# ---------------------------------------------------------------- what is no function


@pytest.mark.parametrize(
    "transform",
    [numbad.grad, numbad.value_and_grad, numbad.jacfwd, numbad.jacrev, numbad.hessian, numbad.vmap, numbad.jit]
    + [numbad.checkpoint, numbad.custom_jvp, numbad.custom_vjp],
)
def test_transforms_of_what_is_no_function_are_refused_at_once(transform: Any) -> None:
    def generator(x: Any) -> Any:
        yield x

    async def coroutine(x: Any) -> Any:
        return x

    with pytest.raises(TypeError, match="takes a function; it was given a float"):
        transform(3.0)
    for f in (generator, coroutine):
        with pytest.raises(TypeError, match=f"takes a function; {f.__name__} is a generator or a coroutine"):
            transform(f)


def test_linearize_passes_auxiliary_results_on() -> None:
    def f(x: Any, y: Any) -> Any:
        return np.sin(x) * y, {"x": x, "name": "f"}

    value, pushforward, auxiliary = numbad.linearize(f, 2.0, 3.0, has_aux=True)
    assert value == pytest.approx(3.0 * np.sin(2.0))
    assert pushforward(1.0, 0.0) == pytest.approx(3.0 * np.cos(2.0))
    assert auxiliary == {"x": 2.0, "name": "f"}

    def inside(x: Any) -> Any:
        value, pushforward, auxiliary = numbad.linearize(f, x, 3.0, has_aux=True)
        return pushforward(1.0, 0.0) * auxiliary["x"] + 0.0 * value

    assert numbad.grad(inside)(2.0) == pytest.approx(3.0 * np.cos(2.0) - 6.0 * np.sin(2.0))
    with pytest.raises(OutputError, match="returns a pair"):
        numbad.linearize(lambda x: x, 1.0, has_aux=True)
    with pytest.raises(OutputError, match="returns a pair"):
        numbad.grad(lambda x: numbad.linearize(lambda y: y, x, has_aux=True)[0])(1.0)


def test_a_hessian_without_points_keeps_its_keywords() -> None:
    f = lambda x, k=1.0: k * x**3
    assert numbad.hessian(f, k=2.0)(3.0) == 36.0
    assert numbad.hessian(f, k=2.0)(3.0, k=4.0) == numbad.hessian(f, 3.0, k=4.0) == 72.0


# ---------------------------------------------------------------- long scalar programs with few seeds


def recursion(x: Any) -> Any:
    """A loop of scalars, with a kink and a branch that is not taken."""
    s = x[0] * 1.5
    for k in range(90):
        s = np.sin(s) * x[k % len(x)] + np.where(s > 9.0, np.sqrt(s - 9.0), 0.1 * s) + abs(x[-1])
    return s


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("n", [1, 2, 3, 8, 9])
def test_derivatives_of_scalar_loops_seed_by_seed(n: int, dtype: Any) -> None:
    x = np.linspace(0.3, 0.9, n).astype(dtype)
    tight = dtype == np.float64
    rtol, step = (1e-9, 1e-6) if tight else (2e-3, 1e-3)
    several = lambda x: np.stack([recursion(x), recursion(x) * x[0]])
    for mode in (numbad.jacfwd, numbad.jacrev, numbad.hessian):
        f = recursion if mode is numbad.hessian else several
        found = numbad.jit(mode(f))(x)
        assert found.dtype == dtype
        np.testing.assert_allclose(found, mode(f)(x), rtol=rtol, atol=rtol)
    if tight:
        exact = numbad.jit(numbad.hessian(recursion))(x)
        for k in range(n):
            e = np.eye(n)[k] * step
            column = (numbad.gradient(recursion, x + e) - numbad.gradient(recursion, x - e)) / (2.0 * step)
            np.testing.assert_allclose(exact[:, k], column, rtol=1e-5, atol=1e-5 * np.abs(exact).max())


def test_scalar_loops_of_several_arguments_and_trees() -> None:
    def f(point: Any, y: float) -> Any:
        s = point["a"]
        for k in range(80):
            s = np.cos(s) * y + point["b"][k % 2]
        return s

    point = {"a": 0.3, "b": np.array([0.2, 0.4])}
    found = numbad.jit(numbad.hessian(f, argnums=(0, 1)))(point, 0.7)
    wanted = numbad.hessian(f, argnums=(0, 1))(point, 0.7)
    for one, other in zip(numbad_leaves(found), numbad_leaves(wanted), strict=True):
        assert type(one) is type(other)
        close(one, other)


def numbad_leaves(tree: Any) -> list[Any]:
    """Return the leaves of nested tuples and dicts, in order."""
    if isinstance(tree, dict):
        tree = list(tree.values())
    return [leaf for part in tree for leaf in numbad_leaves(part)] if isinstance(tree, (tuple, list)) else [tree]
