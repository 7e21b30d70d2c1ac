"""Lanes: sweeps with many seeds agree with emitted rows, with one seed at a time, and with themselves."""

from __future__ import annotations

import numpy as np
import pytest

import numbad
from numbad import limits
from numbad.kernels import memory
from numbad.sweeps import linearised, matrix_rows
from numbad.sweeps.linearised import Linearised, LinearMap
from numbad.transforms.functional import Evaluation

rng = np.random.default_rng(17)
A = rng.standard_normal((6, 5))
BIG = rng.standard_normal((80, 70))
SYMMETRIC = A.T @ A + np.eye(5)


def assign(x):
    y = np.zeros_like(x)
    y[1:] = x[:-1] * 2.0
    y[0] = x[3] ** 2
    y[[0, 2]] += x[[1, 1]]
    return y


PROGRAMS = {
    "elementwise": lambda x: np.sin(x) * np.exp(-x) + x**3 / (1.0 + x**2),
    "broadcast": lambda x: x[:, None] * np.cos(x) + x[2],
    "product of a constant": lambda x: A @ x,
    "product of both operands": lambda x: np.outer(x, x) @ x,
    "sums over axes": lambda x: (x[:, None] * A.T).sum(axis=0) - np.mean(x),
    "gather": lambda x: x[[4, 0, 0, 2]] * x[::-1][:4],
    "assignment": assign,
    "scalars": lambda x: np.stack([x[0] * x[1] / x[2], np.sqrt(abs(x[3])) - x[4] * 2.0]),
    "host rows": lambda x: np.linalg.solve(SYMMETRIC + np.outer(x, x), x),
    "host op": lambda x: numbad.erfinv(0.3 * np.tanh(x)) if hasattr(numbad, "erfinv") else np.sinh(x),
    "several results": lambda x: (x * 2.0, {"a": np.sum(x * x)}),
    "branch": lambda x: x * x if x[0] > 10.0 else np.exp(x),
    "where": lambda x: np.where(x > 0.0, np.sqrt(np.maximum(x, 0.0)), 0.0),
    "constant": lambda x: x * 0.0 + np.ones(5),
    "repeated result": lambda x: np.broadcast_to(np.sum(x), (3, 2)),
}
POINTS = {"plain": rng.standard_normal(5), "with zeros": np.array([0.0, 1.0, -0.5, 0.0, 2.0])}


def leaves(tree):
    return [leaf for part in tree for leaf in leaves(part)] if isinstance(tree, tuple) else (
        leaves(tuple(tree.values())) if isinstance(tree, dict) else [tree])  # fmt: skip


@pytest.mark.parametrize("point", POINTS)
@pytest.mark.parametrize("name", PROGRAMS)
@pytest.mark.parametrize("mode", ["jacfwd", "jacrev"])
def test_lanes_agree_with_emitted_rows(name: str, point: str, mode: str) -> None:
    f, x = PROGRAMS[name], POINTS[point]
    direct = leaves(getattr(numbad, mode)(f)(x))
    emitted = leaves(numbad.jit(getattr(numbad, mode)(f))(x))
    assert len(direct) == len(emitted)
    for one, other in zip(direct, emitted, strict=True):
        assert np.shape(one) == np.shape(other)
        np.testing.assert_allclose(one, other, rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize("order", ["C", "F"])
def test_large_inputs_keep_their_order(order: str) -> None:
    x = np.array(rng.standard_normal((80, 70)), order=order)
    w = rng.standard_normal(70)
    f = lambda x: np.tanh(x @ w)[:3]
    slope = 1.0 - np.tanh(x @ w)[:3] ** 2
    expected = np.zeros((3, 80, 70))
    for k in range(3):
        expected[k, k] = slope[k] * w
    np.testing.assert_allclose(numbad.jacrev(f)(x), expected, rtol=1e-13, atol=1e-15)
    np.testing.assert_allclose(numbad.jacfwd(lambda x: f(x)[0] + 0.0 * x[0, 0])(x), expected[0], rtol=1e-13, atol=1e-15)


def test_zero_meets_infinity_in_no_lane() -> None:
    f = lambda x: np.where(x > 0.0, np.sqrt(x), 0.0)
    x = np.array([0.0, 4.0])
    for mode in (numbad.jacfwd, numbad.jacrev):
        np.testing.assert_array_equal(mode(f)(x), [[0.0, 0.0], [0.0, 0.25]])
    wide = np.concatenate([x] * 40)
    assert np.isfinite(numbad.jacfwd(f)(wide)).all()


def network(x):
    return np.tanh(BIG.T @ np.tanh(BIG @ x))


@pytest.mark.parametrize("mode", ["push", "pull"])
def test_results_do_not_depend_on_threads_or_blocks(mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    import numba

    evaluation = Evaluation(
        lambda x: np.exp(np.sin(network(x)) * x[:, None]), (np.linspace(-1, 1, 70),), (0,), {}, False
    )
    run = getattr(evaluation.linear(), mode)
    first = run()
    before = numba.get_num_threads()
    try:
        numbad.set_num_threads(1)
        np.testing.assert_array_equal(run(), first)
    finally:
        numbad.set_num_threads(before)
    monkeypatch.setattr(linearised, "MOST_MEMORY", 1 << 18)
    blocks = evaluation.linear().blocks(70)
    assert len(blocks) > 2
    np.testing.assert_allclose(run(), first, rtol=1e-12, atol=1e-15)  # BLAS sums narrower products otherwise


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("name", PROGRAMS)
def test_blocks_of_lanes_agree_with_all_at_once(name: str, threads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    f, x = PROGRAMS[name], POINTS["plain"]
    linear = Evaluation(f, (x,), (0,), {}, False).linear()
    outputs = sum(addresses.size for addresses in linear.outputs)
    tangents = [rng.standard_normal((5, 7))]
    cotangents = [rng.standard_normal((*addresses.shape, 9)) for addresses in linear.outputs]
    calls = [linear.push, linear.pull, lambda: linear.push(tangents), lambda: linear.pull(cotangents)]
    assert limits.SMALL_LIMITS or not linear.needs_no_python(outputs)
    expected = [call() for call in calls]
    monkeypatch.setattr(linearised, "PARALLEL_WORTH", 0)
    monkeypatch.setattr(linearised, "CACHED", 1)
    monkeypatch.setattr(linearised, "WORTH_READING", 2)
    monkeypatch.setattr(linearised, "count_shares", lambda elements: threads)
    assert limits.SMALL_LIMITS or linear.needs_no_python(outputs) is (name != "host rows")
    for call, results in zip(calls, expected, strict=True):
        for one, other in zip(call(), results, strict=True):
            np.testing.assert_array_equal(one, other)


def loop(x):
    for _ in range(12):
        x = np.cos(x) + 0.5 * x[::-1]
    return x


@pytest.mark.usefixtures("usual_limits")
def test_large_sweeps_of_compiled_rows_go_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    evaluation = Evaluation(loop, (np.linspace(-1, 1, 150),), (0,), {}, False)
    linear = evaluation.linear()
    assert linear.needs_no_python(150)
    pushed, pulled = linear.push(), linear.pull()
    monkeypatch.setattr(linearised, "PARALLEL_WORTH", 1 << 40)
    np.testing.assert_array_equal(pushed[0], linear.push()[0])
    np.testing.assert_array_equal(pulled[0], linear.pull()[0])
    np.testing.assert_allclose(pushed[0], pulled[0], rtol=1e-11, atol=1e-14)


@pytest.mark.usefixtures("usual_limits")
def test_the_first_layer_is_copied_and_not_multiplied(monkeypatch: pytest.MonkeyPatch) -> None:
    products = []
    for module in (linearised, matrix_rows):
        monkeypatch.setattr(module, "note_blas", lambda: products.append(1))
    x = np.random.default_rng(4).standard_normal(70)
    np.testing.assert_array_equal(numbad.jacfwd(lambda x: BIG @ x)(x), BIG)
    assert not products
    np.testing.assert_array_equal(
        numbad.jacfwd(lambda x: np.concatenate([BIG @ x, x]))(x), np.vstack([BIG, np.eye(70)])
    )
    slope = 1.0 - np.tanh(BIG @ x) ** 2
    np.testing.assert_allclose(numbad.jacfwd(lambda x: BIG.T @ np.tanh(BIG @ x))(x), (BIG.T * slope) @ BIG, rtol=1e-11)
    assert len(products) == 1


def test_dead_rows_are_not_swept() -> None:
    def f(x):
        np.linalg.solve(SYMMETRIC, x)  # nothing depends on it
        return x * 2.0

    evaluation = Evaluation(f, (np.ones(5),), (0,), {}, False)
    flags = evaluation.linear().flags
    assert (flags > 0).sum() == 1 < len(flags)


def test_linear_map_is_its_own_derivative() -> None:
    x, w = rng.standard_normal(5), rng.standard_normal(6)
    f = lambda x: np.tanh(A @ x)
    _, pullback = numbad.vjp(f, x)
    jacobian = numbad.jacobian(f, x)
    weights = rng.standard_normal(5)
    found = numbad.gradient(lambda w: np.sum(pullback(w)[0] * weights), w)
    np.testing.assert_allclose(found, jacobian @ weights, rtol=1e-13)
    _, pushforward = numbad.linearize(f, x)
    found = numbad.jacobian(lambda t: pushforward(t) * t[0], weights)
    expected = jacobian * weights[0] + np.outer(jacobian @ weights, np.eye(5)[0])
    np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_batches_of_batches_of_cotangents() -> None:
    x = rng.standard_normal(5)
    _, pullback = numbad.vjp(lambda x: np.sin(A @ x), x)
    seeds = rng.standard_normal((3, 4, 6))
    found = numbad.vmap(numbad.vmap(lambda w: pullback(w)[0]))(seeds)
    expected = np.array([[pullback(w)[0] for w in row] for row in seeds])
    np.testing.assert_allclose(found, expected, rtol=1e-13)
    tangents = rng.standard_normal((7, 5))
    found = numbad.vmap(lambda t: numbad.jvp(lambda x: np.sin(A @ x), (x,), (t,))[1])(tangents)
    np.testing.assert_allclose(found, tangents @ (np.cos(A @ x)[:, None] * A).T, rtol=1e-13)


def test_function_that_uses_the_recording_is_not_evaluated_apart() -> None:
    x = np.array([0.5, 1.5])
    found = numbad.gradient(lambda s: np.sum(numbad.jvp(lambda x: np.sin(s * x), (x,), (np.ones(2),))[1]), 2.0)
    expected = np.sum(np.cos(2.0 * x) - 2.0 * x * np.sin(2.0 * x))
    assert found == pytest.approx(expected, rel=1e-13)


def test_linear_map_takes_trees_and_scalars() -> None:
    f = lambda p: {"a": p["u"] * p["v"], "b": np.sum(p["v"])}
    point = {"u": 2.0, "v": np.array([1.0, 3.0])}
    evaluation = Evaluation(f, (point,), (0,), {}, False)
    push, pull = LinearMap(evaluation, False), LinearMap(evaluation, True)
    a, b = push(1.0, np.array([0.0, 1.0]))
    np.testing.assert_array_equal(a, [1.0, 5.0])
    assert b == 1.0
    u, v = pull(np.array([1.0, 10.0]), 100.0)
    assert u == 31.0
    np.testing.assert_array_equal(v, [102.0, 120.0])


def test_slopes_follow_the_values() -> None:
    evaluation = Evaluation(lambda x: x**3, (np.array([1.0, 2.0]),), (0,), {}, False)
    linear = Linearised(evaluation.execution, evaluation.leaves, evaluation.addresses)
    address = evaluation.leaves[0].address
    evaluation.execution.values[address : address + 2] = [3.0, 4.0]
    linear.refresh()
    np.testing.assert_allclose(linear.push()[0], np.diag([27.0, 48.0]))


@pytest.mark.parametrize("large, small", [(1e200, 1e-300), (1e-200, 1e300)])
def test_a_product_of_partials_that_overflows_is_not_folded(large, small):
    x = np.array([1.0, 2.0, 3.0]) / large  # no value is far from 1 or from `large`
    seeds, factor = np.eye(3) * small, small * large * large
    for f, jacobian in (
        (lambda z: (z * large) * large, np.eye(3)),
        (lambda z: np.stack([(z[k] * large) * large for k in range(3)]), np.eye(3)),
        (lambda z: np.cumsum((z * large) * large), np.tril(np.ones((3, 3)))),
    ):
        found = numbad.vmap(numbad.vjp(f, x)[1])(seeds)[0]
        np.testing.assert_allclose(found, factor * jacobian, rtol=1e-14)
        np.testing.assert_allclose(numbad.vmap(numbad.linearize(f, x)[1])(seeds), factor * jacobian.T, rtol=1e-14)
        found = numbad.jacrev(lambda z, f=f: f(z) * small)(x)
        np.testing.assert_allclose(found, factor * jacobian, rtol=1e-14)


@numbad.custom_vjp
def weighed(x, y):
    """Return a sum and a product, with a Python kernel."""
    return np.stack([np.sum(x), np.sum(x * y)])


weighed.defvjp(lambda x, y: (weighed(x, y), (x, y)), lambda saved, bar: (bar[0] + bar[1] * saved[1], bar[1] * saved[0]))


def test_a_kernel_of_python_adds_to_cotangents_that_are_infinite_or_large() -> None:
    x = np.array([0.0, 4.0])
    f = lambda x: weighed(x, x) + np.sqrt(x) + 1e20 * x * np.array([0.0, 1.0])
    expected = np.array([[1.0 + np.inf, 1.0], [0.0, 8.0 + 0.25 + 1e20]])
    assert np.array_equal(numbad.jacrev(f)(x), expected)
    small = lambda x: weighed(x, x) + (1e20 * x - 1e20 * x)
    assert np.array_equal(numbad.jacrev(small)(x), [[1.0, 1.0], [0.0, 8.0]])


@pytest.mark.usefixtures("usual_limits")
def test_blocks_of_lanes_keep_to_the_memory_that_a_sweep_may_take(monkeypatch: pytest.MonkeyPatch) -> None:
    linear = Evaluation(loop, (np.linspace(-1, 1, 150),), (0,), {}, False).linear()
    taken = []
    monkeypatch.setattr(linearised, "take_memory", lambda *a: (taken.append(a[0]), memory.take_memory(*a))[1])
    monkeypatch.setattr(linearised, "count_shares", lambda elements: 2)
    expected = linear.push()
    monkeypatch.setattr(linearised, "MOST_MEMORY", 1 << 18)
    np.testing.assert_array_equal(linear.push()[0], expected[0])
    assert taken[0] > taken[1]
    assert 8 * taken[1] <= 2 * max(1 << 18, 8 * linearised.FEWEST * linear.wanted)
    checked = []
    monkeypatch.setattr(linearised, "check_memory", checked.append)
    linear.pull()
    assert checked == [8 * taken[-1]]


def test_seeds_in_the_order_of_columns_are_swept_in_blocks() -> None:
    """A batch of seeds has its lanes in front: with the lanes last it lies in memory by columns."""

    def chain(x: np.ndarray) -> np.ndarray:
        for _ in range(120):
            x = np.sin(x) + 0.1 * x[::-1]
        return x

    x, seeds = np.linspace(0.1, 1.0, 5), np.random.default_rng(5).standard_normal((400, 5))
    push = lambda v: numbad.jvp(chain, (x,), (v,))[1]
    found = numbad.vmap(push)(seeds)
    np.testing.assert_allclose(found[::80], [push(v) for v in seeds[::80]], rtol=1e-12)
    pull = lambda u: numbad.vjp(chain, x)[1](u)[0]
    np.testing.assert_allclose(numbad.vmap(pull)(seeds)[::80], [pull(v) for v in seeds[::80]], rtol=1e-12)
