"""Lanes that are multiples of others: chains cost coefficients, and every way of reading them gives what it should."""

import numpy as np
import pytest

import numbad
from numbad.tape.layout import MAP

RANDOM = np.random.default_rng(8)
N, LANES = 5, 4
A = RANDOM.standard_normal((N, LANES))
X = RANDOM.uniform(0.3, 1.2, LANES)
V = RANDOM.uniform(0.3, 1.2, N)


def numeric(f, x, step=1e-6):
    """Return a Jacobian by central differences."""
    columns = []
    for k in np.ndindex(x.shape):
        shift = np.zeros(x.shape)
        shift[k] = step
        columns.append((np.asarray(f(x + shift)) - np.asarray(f(x - shift))) / (2 * step))
    return np.stack(columns, axis=-1).reshape(*np.shape(f(x)), *x.shape)


def with_scalars(x):
    y = np.sin(A @ x) ** 2
    return y * (np.exp(y[0]) if y[1] > -1.0 else 0.0) + y[2]


def in_place(x):
    y = np.tanh(A @ x) * 3.0
    y[1:3] = y[1:3] * y[0] + 1.0
    y[0] = -y[3]
    return y


FUNCTIONS = {
    "a chain": lambda x: 3.0 * np.sin(A @ x) ** 2 + 1.0,
    "two branches of one source": lambda x: np.sin(A @ x) * np.exp(A @ x) - (A @ x),
    "one branch that is the source": lambda x: np.sin(x) + x,
    "two sources": lambda x: np.sin(A @ x) * np.cos(A @ x**2),
    "a product with a diagonal": lambda x: A @ np.sin(x),
    "a product with a product": lambda x: A.T @ np.tanh(A @ np.sin(x)),
    "a part": lambda x: np.sin(A @ x)[1:4] * 2.0,
    "every other, backwards": lambda x: np.sqrt(np.exp(A @ x))[::-2],
    "a sum": lambda x: np.sum(np.sin(A @ x) * V),
    "rows of a table": lambda x: np.sin(np.outer(V, x)) * 2.0,
    "a broadcast number": lambda x: np.exp(x[1]) * np.cos(V) * np.sin(A @ x)[0],
    "a broadcast row": lambda x: np.sin(x) + A * np.cos(x),
    "a transposed table": lambda x: (np.sin(np.outer(V, x)) * 2.0).T @ V,
    "indices that repeat": lambda x: np.exp(A @ x)[[0, 3, 0]] * 2.0,
    "a loop over elements": lambda x: np.array([np.sin(y) * y for y in np.exp(A @ x)]),
    "scalars and a branch": with_scalars,
    "assignment": in_place,
    "some elements are constant": lambda x: np.exp(np.concatenate([x, V]) * 0.5) * 2.0,
    "a reduction in between": lambda x: np.sin(A @ x) / np.sum(np.exp(A @ x)),
    "a maximum": lambda x: np.maximum(np.sin(A @ x), 0.1) * np.where(A @ x > 0, A @ x, 0.0),
    "a cumulative sum": lambda x: np.cumsum(np.sin(A @ x) * 2.0) * 0.5,
    "one element": lambda x: np.sin(x[2:3] * 2.0) ** 2,
    "an argument returned": lambda x: x,
    "a kernel of Python": lambda x: np.linalg.solve(np.eye(LANES) * 3.0 + 0.1, np.sin(x) * 2.0) * 2.0,
}


@pytest.mark.parametrize("mode", [numbad.jacfwd, numbad.jacrev])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_jacobians_of_replayed_tapes(name, mode):
    f = FUNCTIONS[name]
    jacobian = numbad.jit(mode(f))
    for x in (X, X + 0.1, X * 0.9):
        assert np.allclose(jacobian(x), numeric(f, x), rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_second_derivatives_of_replayed_tapes(name):
    f = FUNCTIONS[name]

    def total(x):
        return np.sum(f(x) ** 2)

    for hessian in (numbad.hessian, lambda g: numbad.jacrev(numbad.jacfwd(g)), lambda g: numbad.jacrev(numbad.grad(g))):
        found = numbad.jit(hessian(total))(X)
        assert np.allclose(found, numeric(numbad.grad(total), X, 1e-5), rtol=1e-5, atol=1e-6)


def rows_with_lanes(jacobian, x, lanes):
    """Return how many elementwise rows over lanes a tape has."""
    jacobian(x)
    (paths,) = jacobian.programs.values()
    recorder = paths.programs[0].recorder
    code = np.array(recorder.code).reshape(-1, 4)
    maps = code[(code[:, 0] >= MAP) & (code[:, 0] < 2 * MAP)]
    return sum(recorder.words[w + 1] >= lanes for w in maps[:, 2])


def test_a_chain_costs_one_row_of_lanes():
    x = RANDOM.standard_normal(30)
    table = RANDOM.standard_normal((20, 30))
    chain = numbad.jit(numbad.jacfwd(lambda x: np.log(1.0 + np.exp(np.sin(table @ x) * 2.0)) ** 2))
    assert rows_with_lanes(chain, x, 20 * 30) == 1
    unread = numbad.jit(numbad.jacfwd(lambda x: (np.sin(table @ x), table @ x)[1]))
    assert rows_with_lanes(unread, x, 20 * 30) == 0


def test_zero_times_infinity_is_zero():
    """The square root's slope at zero is infinite, and what it is multiplied by is zero."""

    def f(x):
        return np.where(x > 0.5, np.sqrt(x * 1.0), 0.0) * 2.0

    x = np.array([0.0, 1.0, 4.0])
    for mode in (numbad.jacfwd, numbad.jacrev):
        assert np.array_equal(numbad.jit(mode(f))(x), np.diag([0.0, 1.0, 0.5]))


STRIDED = {
    "every other": lambda x: x[::2],
    "a repeated number": lambda x: np.broadcast_to(x[0], (3,)),
    "a repeated row": lambda x: np.broadcast_to(x[::2], (2, 3)),
}


@pytest.mark.parametrize("view", STRIDED.values(), ids=STRIDED)
def test_zero_times_infinity_is_zero_where_rows_of_the_identity_are_not_read(view):
    x = np.zeros(6)
    f = lambda x: np.where(view(x) > 0.5, np.sqrt(view(x)), 0.0).reshape(-1)
    assert not numbad.jit(numbad.jacrev(f))(x).any()


@pytest.mark.parametrize("view", STRIDED.values(), ids=STRIDED)
def test_a_multiple_with_coefficient_one_of_rows_that_do_not_follow_one_another(view):
    table = RANDOM.standard_normal((6, LANES))

    def f(x):
        part = view(table @ x)
        return part + part - part

    for mode in (numbad.jacfwd, numbad.jacrev):
        assert np.allclose(numbad.jit(mode(f))(X), numeric(f, X), rtol=1e-6, atol=1e-7)


def test_single_precision():
    f = FUNCTIONS["a product with a product"]
    x = X.astype(np.float32)
    single = numbad.jit(numbad.jacfwd(lambda x: np.sin(x) ** 2 * np.float32(2.0)))(x)
    assert single.dtype == np.float32
    assert np.allclose(single, np.diag(4.0 * np.sin(x) * np.cos(x)), rtol=1e-5)
    assert np.allclose(numbad.jit(numbad.jacfwd(f))(x), numeric(f, X), rtol=1e-4, atol=1e-5)


def test_derivatives_of_emitted_lanes():
    """The rows that write multiples are rows like others: they can be differentiated."""

    def f(s):
        return np.sum(numbad.jacfwd(lambda x: np.sin(A @ x) ** 2 * s)(X) ** 2)

    assert np.isclose(numbad.grad(f)(1.5), 2.0 * f(1.5) / 1.5, rtol=1e-12)
