"""vmap of pushforwards and pullbacks at a fixed point, which no row is emitted for: as one call for each example."""

import numpy as np
import pytest

import numbad
from numbad.tape.layout import HOST
from numbad.transforms import linearbatch

RANDOM = np.random.default_rng(3)
W = RANDOM.standard_normal(6)
A = RANDOM.standard_normal((5, 6))


def f(w):
    return np.tanh(A @ w) * w[0]


@pytest.fixture
def swept(monkeypatch):
    """Count the batches that are swept at once."""
    count = []
    original = linearbatch.map_examples

    def counted(*arguments):
        found = original(*arguments)
        count.append(found is not None)
        return found

    monkeypatch.setattr("numbad.transforms.batching.map_examples", counted)
    return count


def each(product, seeds):
    return np.stack([product(seed) for seed in seeds])


def push(m):
    return numbad.jvp(f, (W,), (m,))[1]


PULL = numbad.vjp(f, W)[1]
CASES = {
    "pushforward": (push, (9, 6)),
    "pullback": (lambda m: PULL(m)[0], (9, 5)),
    "seed of another shape": (lambda m: push(m.reshape(6)), (9, 2, 3)),
    "result of another shape": (lambda m: PULL(m)[0].reshape(3, 2), (9, 5)),
    "one example": (push, (1, 6)),
    "linearize": (numbad.linearize(f, W)[1], (4, 6)),
}


@pytest.mark.parametrize("name", CASES)
def test_one_linear_map_is_swept_at_once(name, swept):
    product, shape = CASES[name]
    seeds = RANDOM.standard_normal(shape)
    found = numbad.vmap(product)(seeds)
    assert swept == [True]
    assert np.allclose(found, each(product, seeds), rtol=1e-13)
    found[...] = 0.0  # the caller's own
    assert np.allclose(numbad.vmap(product)(seeds), each(product, seeds), rtol=1e-13)


OTHERS = {
    "something after it": (lambda m: 2.0 * push(m), (9, 6)),
    "something before it": (lambda m: push(np.sin(m)), (9, 6)),
    "a transposed seed": (lambda m: push(m.T.reshape(6)), (9, 2, 3)),
    "part of the result": (lambda m: push(m)[1:3], (9, 6)),
    "the result backwards": (lambda m: push(m)[::-1], (9, 6)),
    "the seed itself": (lambda m: m * 1.0, (9, 6)),
    "a point that varies": (lambda m: numbad.jvp(f, (m,), (W,))[1], (9, 6)),
    "two maps": (lambda m: push(m) + PULL(push(m))[0][:5], (9, 6)),
}


@pytest.mark.parametrize("name", OTHERS)
def test_other_functions_are_emitted(name, swept):
    product, shape = OTHERS[name]
    seeds = RANDOM.standard_normal(shape)
    found = numbad.vmap(product)(seeds)
    assert name == "part of the result" or swept == [False]
    assert np.allclose(found, each(product, seeds), rtol=1e-13)


def test_trees_numbers_and_constants(swept):
    def g(parameters):
        return {"sum": np.sum(parameters["w"] * parameters["b"]), "w": parameters["w"] ** 2}

    point = {"w": W, "b": 1.5}
    seeds = {"w": RANDOM.standard_normal((7, 6)), "b": RANDOM.standard_normal(7)}
    value, tangent = numbad.vmap(lambda m: numbad.jvp(g, (point,), (m,)))(seeds)
    assert swept == [True]
    assert value["w"].shape == (7, 6) and np.allclose(value["sum"], g(point)["sum"])
    assert np.allclose(tangent["sum"], seeds["w"] @ W * 0.0 + seeds["w"].sum(1) * 1.5 + seeds["b"] * W.sum())
    assert np.allclose(tangent["w"], 2.0 * W * seeds["w"])


def test_axes_and_precision():
    seeds = RANDOM.standard_normal((6, 9))
    found = numbad.vmap(push, in_axes=1, out_axes=1)(seeds)
    assert np.allclose(found, each(push, seeds.T).T, rtol=1e-13)
    single = numbad.vmap(lambda m: numbad.jvp(lambda w: np.sin(w), (W.astype("f4"),), (m,))[1])(seeds.T.astype("f4"))
    assert single.dtype == np.float32
    assert np.allclose(single, np.cos(W) * seeds.T, rtol=1e-5)


def test_batches_of_batches_and_inside_a_recording():
    seeds = RANDOM.standard_normal((4, 3, 6))
    expected = np.stack([each(push, part) for part in seeds])
    assert np.allclose(numbad.vmap(numbad.vmap(push))(seeds), expected, rtol=1e-13)
    slope = numbad.grad(lambda s: np.sum(numbad.vmap(push)(s * seeds[0]) ** 2))(2.0)
    assert np.isclose(slope, 4.0 * np.sum(expected[0] ** 2), rtol=1e-12)


def test_lanes_that_are_not_finite():
    seeds = RANDOM.standard_normal((5, 6))
    seeds[2, 1], seeds[3, 0] = np.nan, np.inf
    assert np.allclose(numbad.vmap(push)(seeds), each(push, seeds), equal_nan=True)


def test_a_result_that_is_returned_twice_is_two_arrays(swept):
    def twice(m):
        found = push(m)
        return found, found

    one, other = numbad.vmap(twice)(np.eye(6))
    assert swept == [True]
    one[...] = 0.0
    assert np.allclose(other, each(push, np.eye(6)), rtol=1e-13)


def test_the_row_of_the_first_example_is_not_run_again():
    product = numbad.jit(lambda m: numbad.vmap(push)(np.eye(6)) @ m)
    assert np.allclose(product(np.ones(5)), each(push, np.eye(6)).sum(1), rtol=1e-13)
    (paths,) = product.programs.values()
    assert HOST not in paths.programs[0].recorder.code[::4]
