"""vmap: a batch gives what a loop over its examples gives, for axes, trees, branches, nesting and derivatives."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import numbad
from numbad import InputError
from shared.programs import POINTS, PROGRAMS, run

generator = np.random.default_rng(11)
X, Y = generator.normal(size=(5, 3)), generator.normal(size=(5, 3))
A = generator.normal(size=(3, 3))
B = generator.normal(size=(5, 3, 3)) + 3.0 * np.eye(3)
C = generator.normal(size=(5, 3, 2))


def check(f: Any, *arguments: Any, in_axes: Any = 0, out_axes: Any = 0, rtol: float = 1e-12) -> Any:
    """Compare vmap with a loop of plain NumPy calls: values, shape and dtype."""
    axes = in_axes if isinstance(in_axes, tuple) else (in_axes,) * len(arguments)
    size = next(np.shape(part)[axis] for part, axis in zip(arguments, axes, strict=True) if axis is not None)
    each = [
        f(*[part if axis is None else np.take(part, k, axis) for part, axis in zip(arguments, axes, strict=True)])
        for k in range(size)
    ]
    expected = np.stack(each, axis=out_axes)
    found = numbad.vmap(f, in_axes, out_axes)(*arguments)
    assert type(found) is np.ndarray
    assert found.shape == expected.shape
    np.testing.assert_allclose(found, expected, rtol=rtol, atol=1e-13)
    return found


def close(found: Any, expected: Any, rtol: float = 1e-12) -> None:
    """Compare shapes and numbers."""
    assert np.shape(found) == np.shape(expected)
    np.testing.assert_allclose(found, expected, rtol=rtol, atol=1e-13)


# ---------------------------------------------------------------- axes


@pytest.mark.parametrize("in_axis", [0, 1, 2, -1, -2, -3])
@pytest.mark.parametrize("out_axis", [0, 1, 2, -1, -3])
def test_axes_of_arguments_and_results(in_axis: int, out_axis: int) -> None:
    values = generator.normal(size=(2, 3, 4))
    check(lambda x: np.sin(x) * x[:1], values, in_axes=in_axis, out_axes=out_axis)


def test_arguments_that_all_examples_share() -> None:
    check(lambda x, a: a @ x, X, A, in_axes=(0, None))
    check(lambda a, x: a @ x, A, X.T, in_axes=(None, 1))
    check(lambda x, a, y: a * x @ y, X, 2.0, Y, in_axes=(0, None, 0))
    close(numbad.vmap(lambda x, a: a @ x, in_axes=[0, None])(X, A), X @ A.T)


def test_trees_of_axes() -> None:
    point = {"a": X, "b": [Y.T, 2.0]}
    found = numbad.vmap(
        lambda p, s: {"u": np.outer(p["a"], p["b"][0]) * s, "v": (p["a"] * p["b"][1], p["a"][0])},
        in_axes=({"a": 0, "b": [1, None]}, None),
        out_axes={"u": 2, "v": (1, 0)},
    )(point, 3.0)
    close(found["u"], np.einsum("ki,kj->ijk", X, Y) * 3.0)
    close(found["v"][0], 2.0 * X.T)
    close(found["v"][1], X[:, 0])
    close(numbad.vmap(lambda p: p["a"] @ p["b"][0])({"a": X, "b": [Y]}), np.sum(X * Y, axis=1))
    first, second = numbad.vmap(lambda x: (x, [x[0]]), out_axes=(1, 0))(X)
    close(first, X.T)
    close(second[0], X[:, 0])


def test_keyword_arguments_are_mapped_along_their_first_axis() -> None:
    close(numbad.vmap(lambda x, *, scale: x * scale)(X, scale=Y[:, 0]), X * Y[:, :1])
    with pytest.raises(InputError, match=r"shape \(\) has no axis 0"):
        numbad.vmap(lambda x, *, scale: x * scale)(X, scale=2.0)


def test_results_that_do_not_depend_on_the_example() -> None:
    check(lambda x: np.ones(2), X)
    check(lambda x: 3.0, X)
    check(lambda x: 3, X)
    check(lambda x: A, X)
    check(lambda x, a: a @ a, X, A, in_axes=(0, None))
    outputs = numbad.vmap(lambda x, a: (x, a @ a, A), in_axes=(0, None), out_axes=(0, None, None))(X, A)
    close(outputs[0], X)
    close(outputs[1], A @ A)
    close(outputs[2], A)
    with pytest.raises(InputError, match="out_axes is None for a result that depends on the example"):
        numbad.vmap(lambda x: x, out_axes=None)(X)


def test_results_that_are_the_input_or_views_of_it() -> None:
    found = check(lambda x: x, X)
    assert not np.shares_memory(found, X)
    check(lambda x: x[::-1], X)
    check(lambda x: x.T, B)
    check(lambda x: x[1], X)
    check(lambda x: x.reshape(-1)[2:5], B)


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda: numbad.vmap(lambda x, y: x * y)(X, Y[:4]), r"axes of lengths \[4, 5\]"),
        (lambda: numbad.vmap(lambda x, y: x * y, in_axes=(0, 1))(X, Y), r"axes of lengths \[3, 5\]"),
        (lambda: numbad.vmap(lambda x: x)(1.0), "has no axis 0"),
        (lambda: numbad.vmap(lambda x: x, in_axes=2)(X), "has no axis 2"),
        (lambda: numbad.vmap(lambda x: x, in_axes=-3)(X), "has no axis -3"),
        (lambda: numbad.vmap(lambda x: x, in_axes=None)(X), "no argument is mapped"),
        (lambda: numbad.vmap(lambda x, y: x, in_axes=(0,))(X, Y), "does not fit the arguments"),
        (lambda: numbad.vmap(lambda x, y: x, in_axes=(0, 0, 0))(X, Y), "does not fit the arguments"),
        (lambda: numbad.vmap(lambda x: x, in_axes="a")(X), "names 'a' as an axis"),
        (lambda: numbad.vmap(lambda x: x, in_axes=True)(X), "names True as an axis"),
        (lambda: numbad.vmap(lambda x: x, in_axes=({"a": 0},))(X), "does not fit the arguments"),
        (lambda: numbad.vmap(lambda x: x, out_axes=7)(X), "has no axis 7"),
        (lambda: numbad.vmap(lambda x: x, out_axes=(0, 0))(X), "does not fit the results"),
        (lambda: numbad.vmap(lambda x: x[:2] if x[0] > 0.0 else x)(X), "different shapes for different examples"),
    ],
)
def test_axes_that_do_not_fit_are_refused(call: Any, text: str) -> None:
    with pytest.raises(InputError, match=text):
        call()


def test_an_empty_batch_has_empty_results() -> None:
    x = np.zeros((0, 3))
    for f, shape in [
        (lambda x: x * 2.0, (3,)),
        (lambda x: np.sum(x), ()),
        (lambda x: np.outer(x, x), (3, 3)),
        (lambda x: x * 2.0 if x[0] > 1.0 else x, (3,)),
        (lambda x: np.cumsum(x), (3,)),
        (numbad.grad(lambda x: np.sum(x**2)), (3,)),
        (numbad.hessian(lambda x: np.sum(x**2)), (3, 3)),
    ]:
        assert numbad.vmap(f)(x).shape == (0, *shape)
    assert numbad.vmap(lambda x: x * 2.0, out_axes=1)(x).shape == (3, 0)
    assert numbad.vmap(numbad.grad(lambda x: x**2))(np.zeros(0)).shape == (0,)
    assert numbad.grad(lambda x: np.sum(numbad.vmap(np.sin)(x)))(x).shape == (0, 3)


# ---------------------------------------------------------------- functions of all kinds


def assign(x: Any) -> Any:
    y = np.zeros_like(x)
    y[0] = x[1]
    y[1:] = x[:2] ** 2
    y[[0, 0, 2]] += x
    view = y[::2]
    view *= 2.0
    np.add.at(y, [0, 0, 1], x)
    return y


def assign_constants(x: Any) -> Any:
    y = np.zeros_like(x)
    y[1] = 2.5
    y[2] = x[0] * 0.0 + 1.0
    return y * 3.0 + x


def while_loop(x: Any) -> Any:
    total = np.sum(np.abs(x))
    while total < 10.0:
        total = total * 1.5
    return total * x


def four_branches(x: Any) -> Any:
    if x[0] > 0.0:
        return x * 2.0 if x[1] > 0.0 else x**2
    return np.sin(x) if x[2] > 0.0 else -x


FUNCTIONS = {
    "elementwise": lambda x: np.exp(np.sin(x)) / (1.0 + x**2),
    "python loop": lambda x: sum(x[k] * k for k in range(3)),
    "assignment": assign,
    "assignment of constants": assign_constants,
    "branches": four_branches,
    "while": while_loop,
    "value as a number": lambda x: float(numbad.stop_gradient(x[0])) * x,
    "int as an index": lambda x: x[int(abs(x[0]) * 2.0) % 3],
    "boolean mask": lambda x: np.sum(x[x > 0.0]),
    "masked assignment": lambda x: np.where(x > 0.1, x, 0.0) + np.maximum(x, 0.5),
    "fancy indexing": lambda x: x[[0, 0, 2]] * x[np.array([[1, 2, 0]])],
    "cumsum": lambda x: np.cumsum(x),
    "cumprod": lambda x: np.cumprod(x),
    "sort": lambda x: np.sort(x),
    "argsort": lambda x: x[np.argsort(x)] * np.arange(3.0),
    "argmax": lambda x: x[np.argmax(x)],
    "the position of the largest": lambda x: np.argmax(x),
    "max": lambda x: np.max(x),
    "prod": lambda x: np.prod(x),
    "norm": lambda x: np.linalg.norm(x),
    "median": lambda x: np.median(x),
    "outer": lambda x: np.outer(x, x),
    "matrix times vector": lambda x: A @ x,
    "vector times matrix": lambda x: x @ A,
    "einsum": lambda x: np.einsum("i,ij,j", x, A, x),
    "concatenate": lambda x: np.concatenate([x, x[:1], [1.0]]),
    "stack": lambda x: np.stack([x, x**2, np.ones(3)]),
    "comparison": lambda x: x > 0.0,
    "mean of squares": lambda x: np.mean(x**2) + np.std(x),
    "large": lambda x: np.sum(np.outer(x, np.linspace(0.0, 1.0, 900)), axis=0),
    "pool constant": lambda x: np.linspace(-1.0, 1.0, 1800).reshape(600, 3) @ x,
    "logsumexp": lambda x: numbad.logsumexp(x),
    "shared inside": lambda x: (A @ A) @ x + np.sum(A) * x,
    "broadcast": lambda x: x[:, None] * np.ones((1, 2)) + x[None, :2],
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions_of_a_vector(name: str) -> None:
    check(FUNCTIONS[name], X)
    check(FUNCTIONS[name], X[:1])
    check(FUNCTIONS[name], X.T, in_axes=1)


@pytest.mark.parametrize(
    "f",
    [
        lambda x, y: x @ y,
        lambda x, y: np.outer(x, y),
        lambda x, y: np.where(x > y, x, y**2),
        lambda x, y: np.maximum(x, y) if x[0] > y[0] else x * y,
    ],
)
def test_functions_of_two_vectors(f: Any) -> None:
    check(f, X, Y)
    check(f, X, Y[0], in_axes=(0, None))
    check(f, X[0], Y, in_axes=(None, 0))


@pytest.mark.parametrize(
    ("f", "arguments"),
    [
        (lambda x, b: b @ x, (X, B)),
        (lambda x, b: x @ b, (X, B)),
        (lambda a, b: a @ b, (B, C)),
        (lambda a, b: np.stack([a, a + 1.0]) @ b, (B, C)),
        (lambda a, b: a @ np.stack([b, 2.0 * b]), (B, C)),
        (lambda a, b: np.matmul(a.T, b), (B, C)),
        (lambda a, b: np.dot(a, b), (B, C)),
        (lambda a, b: np.einsum("ij,jk->ki", a, b), (B, C)),
        (lambda a, b: np.tensordot(a, b, axes=([0, 1], [0, 1])), (B, B)),
        (lambda b, x: np.linalg.solve(b, x), (B, X)),
        (lambda b, x: np.linalg.inv(b) @ x, (B, X)),
        (lambda b, x: np.linalg.det(b) * x, (B, X)),
        (lambda b, x: np.linalg.cholesky(b @ b.T) @ x, (B, X)),
        (lambda b, x: np.linalg.eigvalsh(b + b.T) * x, (B, X)),
    ],
)
def test_products_and_factorisations_of_all_ranks(f: Any, arguments: Any) -> None:
    check(f, *arguments, rtol=1e-10)
    check(f, arguments[0][0], arguments[1], in_axes=(None, 0), rtol=1e-10)
    check(f, arguments[0], arguments[1][0], in_axes=(0, None), rtol=1e-10)


def test_integers_and_truth_values_are_plain_for_the_function() -> None:
    check(lambda x, k: x * k, X, np.array([0, 1, 2, 1, 0]))
    check(lambda x, k: x[k], X, np.array([0, 1, 2, 0, -1]))
    check(lambda x, k: x ** int(k), X, np.array([0, 1, 2, 3, 1]))
    check(lambda x, k: np.where(k, x, -x), X, np.array([True, False, True, False, True]))
    check(lambda x, k: x if k else x**2, X, np.array([True, False, True, False, True]))
    check(lambda x, k: x[k], X, np.array([[0, 1], [1, 1], [2, 0], [0, 1], [1, 0]]))
    check(lambda k: k * 2, np.arange(4))
    check(lambda k: np.sin(k), np.arange(4))
    found = numbad.vmap(numbad.grad(lambda x, k: np.sum(x ** int(k))))(X, np.array([0, 1, 2, 3, 1]))
    close(found, np.array([0, 1, 2, 3, 1])[:, None] * X ** np.array([0, 0, 1, 2, 0])[:, None])


def test_single_precision() -> None:
    found = numbad.vmap(lambda x: np.sin(x) @ A.astype(np.float32))(X.astype(np.float32))
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, np.sin(X) @ A, rtol=1e-4, atol=1e-5)
    assert numbad.vmap(numbad.grad(lambda x: np.sum(x**2)))(X.astype(np.float32)).dtype == np.float32


def test_numbers_as_examples() -> None:
    check(lambda x: x**2, X[:, 0])
    check(lambda x, y: x**2 * y, X[:, 0], Y[:, 0])
    check(lambda x: x**2 if x > 0.0 else np.exp(x), X[:, 0])
    check(lambda x: x * np.ones(4), X[:, 0])
    close(numbad.vmap(numbad.grad(np.tanh))(X[:, 0]), 1.0 - np.tanh(X[:, 0]) ** 2)


@given(PROGRAMS, st.lists(POINTS, min_size=2, max_size=4))
@settings(max_examples=25)
def test_random_programs(program: Any, points: list[np.ndarray]) -> None:
    """Each example of a random program takes its own branches and loops; derivatives too."""
    batch = np.array(points)

    def f(x: Any) -> Any:
        return run(program, x)

    expected = np.array([f(x.copy()) for x in batch])
    assume(np.max(np.abs(expected)) < 1e6)
    found = numbad.vmap(f)(batch)
    np.testing.assert_allclose(found, expected, rtol=1e-10, atol=1e-10 * max(1.0, np.max(np.abs(expected))))
    slopes = np.array([numbad.gradient(f, x) for x in batch])
    found = numbad.vmap(numbad.grad(f))(batch)
    np.testing.assert_allclose(found, slopes, rtol=1e-9, atol=1e-10 * max(1.0, np.max(np.abs(slopes))))


# ---------------------------------------------------------------- with the transforms


def energy(x: Any) -> Any:
    return np.sum(np.sin(x) * x**2) + x @ A @ x * x[0]


def branching(x: Any) -> Any:
    return np.sum(x**3) if x[0] > 0.0 else np.prod(x) + np.max(x) ** 2


@pytest.mark.parametrize("f", [energy, branching, lambda x: np.linalg.norm(np.cumsum(x)) ** 3])
def test_batches_of_derivatives(f: Any) -> None:
    for transform in (numbad.grad, numbad.hessian, numbad.jacfwd, numbad.jacrev):
        expected = np.stack([transform(f)(x) for x in X])
        close(numbad.vmap(transform(f))(X), expected, rtol=1e-10)
    value, gradient = numbad.vmap(numbad.value_and_grad(f))(X)
    close(value, np.array([f(x) for x in X]))
    close(gradient, np.stack([numbad.grad(f)(x) for x in X]))
    value, tangent = numbad.vmap(lambda x, v: numbad.jvp(f, (x,), (v,)))(X, Y)
    close(tangent, np.sum(gradient * Y, axis=1))
    pulled = numbad.vmap(lambda x, c: numbad.vjp(f, x)[1](c)[0])(X, Y[:, 0])
    close(pulled, gradient * Y[:, :1])
    products = numbad.vmap(lambda x, v: numbad.hvp(f, x, v))(X, Y)
    close(products, np.einsum("kij,kj->ki", np.stack([numbad.hessian(f)(x) for x in X]), Y), rtol=1e-10)


def test_products_with_many_vectors() -> None:
    """The matrix-Jacobian and Jacobian-matrix products of JAX's tutorial."""
    f = lambda x: np.tanh(A @ x)
    jacobian = numbad.jacobian(f, X[0])
    many = generator.normal(size=(128, 3))
    _, pullback = numbad.vjp(f, X[0])
    close(numbad.vmap(pullback)(many)[0], many @ jacobian)
    close(numbad.vmap(pullback)(many)[0], np.vstack([pullback(row)[0] for row in many]))
    close(numbad.vmap(lambda s: numbad.jvp(f, (X[0],), (s,))[1])(many), many @ jacobian.T)
    close(numbad.vmap(pullback, in_axes=1, out_axes=-1)(many.T)[0], (many @ jacobian).T)


def test_gradients_of_each_example() -> None:
    def loss(w: Any, x: Any, y: Any) -> Any:
        return (np.tanh(w["a"] @ x) - y) ** 2 + w["b"]

    w = {"a": np.ones(3), "b": 2.0}
    found = numbad.vmap(numbad.grad(loss), (None, 0, 0))(w, X, Y[:, 0])
    each = [numbad.grad(loss)(w, x, float(y)) for x, y in zip(X, Y[:, 0], strict=True)]
    close(found["a"], np.stack([part["a"] for part in each]))
    close(found["b"], np.ones(5))
    total = numbad.grad(lambda w: np.sum(numbad.vmap(loss, (None, 0, 0))(w, X, Y[:, 0])))(w)
    close(total["a"], found["a"].sum(axis=0))
    assert total["b"] == pytest.approx(5.0)


def test_derivatives_of_a_batch() -> None:
    inner = numbad.vmap(lambda x: np.sum(x) ** 2)
    close(numbad.grad(lambda x: np.sum(inner(x)))(X), 2.0 * np.sum(X, axis=1, keepdims=True) * np.ones(3))
    mixed = lambda batch: np.sum(numbad.vmap(branching)(batch) * np.arange(1.0, 6.0))
    each = np.stack([numbad.grad(branching)(x) for x in X])
    close(numbad.grad(mixed)(X), each * np.arange(1.0, 6.0)[:, None])
    hessian = numbad.hessian(mixed)(X)
    for k in range(5):
        close(hessian[k, :, k], (k + 1.0) * numbad.hessian(branching)(X[k]), rtol=1e-10)
    close(numbad.jacfwd(inner)(X), numbad.jacrev(inner)(X))
    outer = numbad.grad(lambda a: np.sum(numbad.vmap(lambda x: np.sin(a @ x))(X)))(A)
    close(outer, np.einsum("ki,kj->ij", np.cos(X @ A.T), X))
    tangent = numbad.jvp(numbad.vmap(branching), (X,), (Y,))[1]
    close(tangent, np.sum(each * Y, axis=1))


def test_batches_of_batches() -> None:
    product = numbad.vmap(numbad.vmap(lambda x, y: x @ y, (None, 0)), (0, None))
    close(product(X, Y), X @ Y.T)
    branches = numbad.vmap(numbad.vmap(lambda x: x**2 if x > 0.0 else np.exp(x)))
    close(branches(X), np.where(X > 0.0, X**2, np.exp(X)))
    slopes = numbad.vmap(numbad.vmap(numbad.grad(lambda x: x**2 if x > 0.0 else np.exp(x))))
    close(slopes(X), np.where(X > 0.0, 2.0 * X, np.exp(X)))
    solved = numbad.vmap(numbad.vmap(np.linalg.solve, (None, 0)), (0, None))
    close(solved(B, X), np.stack([np.linalg.solve(b, X.T).T for b in B]), rtol=1e-11)
    triple = numbad.vmap(numbad.vmap(numbad.vmap(lambda x: x * np.sum(A))))
    close(triple(B), B * np.sum(A))


def test_a_replayed_batch_notices_the_branch_of_every_example() -> None:
    f = lambda x: np.sum(x) if x[0] > 0.0 else 5.0 * np.sum(x)
    jitted = numbad.jit(numbad.vmap(f))
    slopes = numbad.jit(numbad.vmap(numbad.grad(f)))
    indexed = numbad.jit(numbad.vmap(lambda x: x[int(abs(x[0])) % 3]))
    for size in (4, 100):
        positive = np.abs(generator.normal(size=(size, 3))) + 0.1
        for changed in (None, 0, 2, size - 1):
            batch = positive.copy()
            if changed is not None:
                batch[changed, 0] *= -3.0
            close(jitted(batch), np.array([f(x) for x in batch]))
            close(slopes(batch), np.where(batch[:, :1] > 0.0, 1.0, 5.0) * np.ones(3))
            close(indexed(batch), np.array([x[int(abs(x[0])) % 3] for x in batch]))


def test_truth_values_and_integers_keep_their_kind():
    x = np.array([1.0, 2.0, 3.0])
    results = numbad.vmap(lambda a: (a > 1.5, bool(a > 2.5), 3, int(a), a))(x)
    expected = [x > 1.5, x > 2.5, np.array([3, 3, 3]), np.array([1, 2, 3]), x]
    for found, wanted in zip(results, expected, strict=True):
        np.testing.assert_array_equal(found, wanted, strict=True)
    assert [part.dtype.kind for part in numbad.vmap(lambda a: (a > 1.5, True, 3, a))(x[:0])] == list("bbif")
    np.testing.assert_array_equal(x[numbad.vmap(lambda a: a > 1.5)(x)], [2.0, 3.0])
    mixed = numbad.vmap(lambda a: 1 if a > 2.5 else 0.5)(x)
    np.testing.assert_array_equal(mixed, [0.5, 0.5, 1.0], strict=True)
    np.testing.assert_array_equal(numbad.grad(lambda z: np.sum(~numbad.vmap(lambda a: a > 1.5)(z) * z))(x), [1, 0, 0])
    assert numbad.vmap(lambda a: (a, 3), out_axes=(0, None))(x)[1] == 3
    with pytest.raises(InputError, match="depends on the example"):
        numbad.vmap(int, out_axes=None)(x)


def test_examples_that_return_other_structures_are_an_error():
    x = np.array([0.0, 1.0, 2.0])
    for other in ({"b": 1.0}, [1.0], (1.0, 1.0)):
        with pytest.raises(InputError, match="different structures"):
            numbad.vmap(lambda a, other=other: {"a": a} if a > 0.5 else other)(x)
    np.testing.assert_array_equal(numbad.vmap(lambda a: {"a": a} if a > 0.5 else {"a": -a})(x)["a"], x)


def test_empty_parts_of_examples():
    def f(x):
        return np.concatenate([np.sin(x[:0]) * 2.0, x]) + np.sum(np.cos(x[:0]))

    batch = np.arange(6.0).reshape(3, 2)
    assert np.array_equal(numbad.vmap(f)(batch), batch)
    assert np.array_equal(numbad.vmap(numbad.jacfwd(f))(batch), np.stack([np.eye(2)] * 3))


def test_batches_of_batches_of_blocks_that_several_rows_write():
    """The first part is the same for the examples of either batch, or of both."""
    ones = np.ones(2)

    def f(x, y):
        return np.concatenate([ones, x, y * 2.0, ones])

    x, y = np.arange(6.0).reshape(3, 2), np.arange(8.0).reshape(4, 2) + 10.0
    for first, second in [((0, None), (None, 0)), ((None, 0), (0, None))]:
        found = numbad.vmap(numbad.vmap(f, in_axes=first), in_axes=second)(x, y)
        outer, inner = (y, x) if first[0] == 0 else (x, y)
        expected = [[f(b, a) if first[0] == 0 else f(a, b) for b in inner] for a in outer]
        assert np.array_equal(found, expected)


def test_none_in_a_tree_has_no_axis() -> None:
    f = lambda d, e: {"x": d["a"] * 2.0, "e": e, "none": None}
    for in_axes in (0, ({"a": 0, "b": None}, None), ({"a": 0, "b": 0}, 0), (0, None)):
        found = numbad.vmap(f, in_axes)({"a": X, "b": None}, None)
        close(found["x"], 2.0 * X)
        assert (found["e"], found["none"]) == (None, None)
    found = numbad.vmap(lambda d: (d["a"], None), out_axes=(1, None))({"a": X})
    close(found[0], X.T)
    assert found[1] is None
    assert numbad.vmap(lambda x: None)(X) is None
    for f in (lambda x, n: (2.0 * x, n), numbad.jit(lambda x, n: (2.0 * x, n))):
        found = numbad.vmap(f)(X[:, 0], None)
        close(found[0], 2.0 * X[:, 0])
        assert found[1] is None
    assert numbad.vmap(numbad.jit(lambda x: None))(X[:, 0]) is None
    with pytest.raises(InputError, match="no argument is mapped"):
        numbad.vmap(lambda x: 1.0)(None)


def test_identity_rows_of_a_reversed_operand_are_cleared_whole() -> None:
    """A Jacobian's block begins before the first element that its row writes; the tape's own check sees it."""
    for f in (lambda x: x[[2, 0, 0]] * x[::-1], lambda x: np.stack([x, x * x])[::-1] * x[::-1]):
        for jacobian in (numbad.jacfwd, numbad.jacrev):
            expected = np.stack([jacobian(f)(x) for x in X])
            close(numbad.vmap(jacobian(f))(X), expected)
            close(numbad.record(lambda x, j=jacobian, f=f: numbad.vmap(j(f))(x), X)(X), expected)
            close(numbad.record(numbad.vmap(numbad.vmap(jacobian(f))), X[None])(X[None]), expected[None])


def test_the_number_of_examples_may_be_given() -> None:
    close(numbad.vmap(lambda: 2.0, axis_size=3)(), np.full(3, 2.0))
    close(numbad.vmap(lambda x: 2.0 * x, None, axis_size=2)(X), np.stack([2.0 * X, 2.0 * X]))
    close(numbad.vmap(lambda x: 2.0 * x, axis_size=5)(X), 2.0 * X)
    close(numbad.vmap(numbad.jit(lambda x: 2.0 * x), None, axis_size=2)(3.0), np.full(2, 6.0))
    close(numbad.grad(lambda x: np.sum(numbad.vmap(lambda: x**2, axis_size=4)()))(3.0), np.array(24.0))
    with pytest.raises(InputError, match=r"axes of lengths \[4, 5\]"):
        numbad.vmap(lambda x: x, axis_size=4)(X)
