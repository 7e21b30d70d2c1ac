"""What a recording makes of Python and NumPy: control flow, functions of Python's, memory order, precision."""

from __future__ import annotations

import gc
import math
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import numbad

X = np.array([0.7, -1.3, 2.1, 0.4, -0.6, 1.9])

# ---------------------------------------------------------------- control flow


def test_if_takes_the_branch_of_the_value() -> None:
    def f(x: Any) -> Any:
        if x > 1.0:
            return x**2
        elif x > 0.0 and not x > 0.5:
            return 3.0 * x
        return -x

    assert [numbad.gradient(f, value) for value in (2.0, 0.25, 0.75, -1.0)] == [4.0, 3.0, -1.0, -1.0]


def test_while_runs_on_recorded_values() -> None:
    def f(x: Any) -> Any:
        count = 0
        while x < 100.0:
            x = x * x
            count += 1
        return x * count

    value, slope = numbad.value_and_gradient(f, 3.0)
    assert value == 6561.0 * 3
    assert slope == pytest.approx(8 * 3.0**7 * 3)


def test_for_over_elements_and_over_range_of_int() -> None:
    def f(x: Any) -> Any:
        total = 0.0
        for value in x:
            for _ in range(int(abs(value)) + 1):
                total = total + value
        return total

    np.testing.assert_array_equal(numbad.gradient(f, X), np.abs(X).astype(int) + 1.0)


def test_newton_iteration_until_convergence() -> None:
    def root(a: Any) -> Any:
        x = a
        while abs(x * x - a) > 1e-14 * a:
            x = 0.5 * (x + a / x)
        return x

    value, slope = numbad.value_and_gradient(root, 2.0)
    assert value == pytest.approx(math.sqrt(2.0))
    assert slope == pytest.approx(0.5 / math.sqrt(2.0), rel=1e-10)


LOOKUPS: dict[str, Callable[[Any], Any]] = {
    "set": lambda x: 2.0 * x if x in {1.3, 2.7} else x,
    "frozenset": lambda x: 2.0 * x if x in frozenset([1.3, 2.7]) else x,
    "dict": lambda x: x * {1.3: 2.0, 2.7: 2.0}.get(x, 1.0),
    "key": lambda x: {x: 2.0, 5.0: 1.0}.get(1.3 if x < 2.0 else 2.7, 1.0) * x,
    "list": lambda x: 2.0 * x if x in [None, "text", 1.3, 2.7] else x,
    "tuple": lambda x: 2.0 * x if x in (2.7, 1.3) else x,
    "hash": lambda x: 2.0 * x if hash(x) in (hash(1.3), hash(2.7)) else x,
    "element": lambda x: 2.0 * x if np.stack([x, x])[0] in {1.3, 2.7} else x,
    "truth": lambda x: x * {True: 2.0, False: 1.0}[(x == 1.3) | (x == 2.7)],
    "count": lambda x: x * (1 + [1.3, 2.7].count(x)),
}


@pytest.mark.parametrize("name", list(LOOKUPS))
def test_values_are_looked_up_by_value(name: str) -> None:
    f = LOOKUPS[name]
    quick = numbad.jit(numbad.grad(f))
    points = [1.3, 1.4, 2.7, 1.3, 2.6, 2.7]
    expected = [2.0, 1.0, 2.0, 2.0, 1.0, 2.0]
    assert [numbad.gradient(f, x) for x in points] == expected
    assert [quick(x) for x in points] == expected
    assert numbad.vmap(numbad.grad(f))(np.array(points)).tolist() == expected


def test_numbers_are_members_of_sets_and_keys_by_value() -> None:
    def f(x: Any) -> Any:
        memory = {x[0]: x[1], x[1]: x[2]}
        return memory[x[0]] * memory[2.0] * len({x[0], x[1], x[0] * 1.0})

    assert numbad.gradient(f, np.array([1.0, 2.0, 3.0])).tolist() == [0.0, 6.0, 4.0]
    assert numbad.gradient(lambda x: x if x not in {None, "text", 5} else -x, 2.0) == 1.0


def square(a: Any) -> Any:
    return a * a


def test_functions_of_elements() -> None:
    one, two, pair = np.frompyfunc(square, 1, 1), np.frompyfunc(lambda a, b: a * b, 2, 1), np.frompyfunc(divmod, 2, 2)
    assert numbad.gradient(lambda x: one(x), 3.0) == 6.0
    assert numbad.gradient(lambda x: two(x, 2.0), 3.0) == 2.0
    assert numbad.gradient(lambda x: two(2.0, x), 3.0) == 2.0
    assert numbad.gradient(lambda x: pair(x, 2.0)[1] * x, 3.0) == 4.0
    assert numbad.gradient(lambda x: np.vectorize(square)(x), 3.0) == 6.0
    x = np.array([3.0, 2.0, 0.5])
    assert numbad.gradient(lambda x: np.sum(one(x)), x).tolist() == [6, 4, 1]
    assert numbad.gradient(lambda x: np.sum(np.outer([1.0, 2.0], x[:2]) * two.outer(x[:2], x[1:])), x).shape == (3,)
    assert numbad.gradient(lambda x: two.reduce(x), x).tolist() == [1, 1.5, 6]
    assert numbad.gradient(lambda x: two.accumulate(x)[1], x).tolist() == [2, 3, 0]
    quick = numbad.jit(numbad.grad(lambda x: one(x) * one(x)))
    assert [quick(1.0), quick(2.0)] == [4.0, 32.0]


class Unfriendly:
    """A callable object that refuses to be asked for attributes."""

    def __getattr__(self, name: str) -> Any:
        raise RuntimeError(f"no {name}")

    def __call__(self, x: Any) -> Any:
        return x * x


def test_objects_that_raise_for_unknown_attributes() -> None:
    f = Unfriendly()
    assert numbad.gradient(f, 3.0) == numbad.grad(f)(3.0) == numbad.jit(numbad.grad(f))(3.0) == 6.0
    assert numbad.jit(f)(3.0) == numbad.record(f, 3.0)(3.0) == numbad.checkpoint(f)(3.0) == 9.0
    assert numbad.vmap(numbad.grad(f))(np.ones(2)).tolist() == [2, 2]
    assert numbad.hessian(f)(3.0) == 2.0
    assert numbad.jit(lambda x: f(x) + 1.0)(3.0) == 10.0
    with pytest.raises(numbad.errors.InputError):
        numbad.gradient(lambda x, y: x, 3.0, f)


def test_indexing_by_int_of_a_value() -> None:
    def f(x: Any) -> Any:
        return x[int(x[2])] * 3.0

    np.testing.assert_array_equal(numbad.gradient(f, X), [0, 0, 3, 0, 0, 0])


def test_a_recording_value_as_an_index_or_count_is_an_error() -> None:
    for f in (lambda x: x[x[2]], lambda x: sum(range(x[0])), lambda x: [1.0, 2.0][x[2]] * x[0]):
        with pytest.raises(numbad.errors.RecordingError, match=r"int\("):
            numbad.gradient(f, X)


def test_argmax_argmin_argsort() -> None:
    np.testing.assert_array_equal(numbad.gradient(lambda x: x[np.argmax(x)] ** 2, X), [0, 0, 4.2, 0, 0, 0])
    np.testing.assert_array_equal(numbad.gradient(lambda x: x[x.argmin()] ** 2, X), [0, -2.6, 0, 0, 0, 0])

    def ranked(x: Any) -> Any:
        return np.sum(x[np.argsort(x)] * np.arange(6.0))

    np.testing.assert_array_equal(numbad.gradient(ranked, X), np.argsort(np.argsort(X)))


def test_boolean_masks_index() -> None:
    np.testing.assert_array_equal(numbad.gradient(lambda x: np.sum(x[x > 0.5] ** 2), X), np.where(X > 0.5, 2 * X, 0))

    def clipped(x: Any) -> Any:
        y = x * 1.0
        y[y < 0.0] = 0.0
        return np.sum(y)

    np.testing.assert_array_equal(numbad.gradient(clipped, X), np.where(X < 0.0, 0.0, 1.0))


def test_sorted_min_max_sum_of_python() -> None:
    np.testing.assert_array_equal(
        numbad.gradient(lambda x: sum(k * value for k, value in enumerate(sorted(x))), X), np.argsort(np.argsort(X))
    )
    np.testing.assert_array_equal(numbad.gradient(lambda x: max(x) + 2.0 * min(x), X), [0, 2, 1, 0, 0, 0])
    np.testing.assert_array_equal(numbad.gradient(lambda x: sum(x), X), np.ones(6))
    np.testing.assert_array_equal(numbad.gradient(lambda x: sum(x, 3.0 * x[0]), X), [4, 1, 1, 1, 1, 1])
    np.testing.assert_array_equal(
        numbad.gradient(lambda x: sorted(x, key=lambda value: -value)[1], X), [0, 0, 0, 0, 0, 1]
    )
    np.testing.assert_array_equal(numbad.gradient(lambda x: abs(x[1]) + pow(x[0], 2), X), [1.4, -1, 0, 0, 0, 0])


def test_chained_comparison_any_all_and_in() -> None:
    def f(x: Any) -> Any:
        if 0.0 < x[0] < 1.0 and (x > -2.0).all() and (x > 2.0).any() and x[3] in x and not np.all(x > 0):
            return x[0] * 5.0
        return x[1]

    np.testing.assert_array_equal(numbad.gradient(f, X), [5, 0, 0, 0, 0, 0])


def test_truth_of_an_array_is_ambiguous_as_in_numpy() -> None:
    with pytest.raises(ValueError, match="ambiguous"):
        numbad.gradient(lambda x: x[0] if x > 0 else x[1], X)
    assert numbad.gradient(lambda x: x[0] if x > 0 else -x[0], np.array([2.0])) == [1.0]


def test_conditional_expressions_assertions_and_match() -> None:
    def f(x: Any) -> Any:
        assert x > 0.0
        y = x if x < 2.0 else x**2
        match int(y):
            case 9:
                return 7.0 * y
            case _:
                return y

    assert numbad.gradient(f, 3.0) == 42.0
    with pytest.raises(AssertionError):
        numbad.gradient(f, -1.0)


def test_try_and_with_work_around_recording() -> None:
    class Context:
        def __enter__(self) -> float:
            return 2.0

        def __exit__(self, *_: Any) -> bool:
            return True

    def f(x: Any) -> Any:
        with Context() as factor:
            y = factor * x
            raise KeyError
        try:
            _ = y[3]
        except IndexError:
            y = y * y
        return y

    assert numbad.gradient(f, 3.0) == 24.0


def test_recursion() -> None:
    def horner(coefficients: Any, x: Any) -> Any:
        return coefficients[0] + x * horner(coefficients[1:], x) if len(coefficients) else 0.0

    found = numbad.gradient(lambda c: horner(c, 2.0), X)
    np.testing.assert_array_equal(found, 2.0 ** np.arange(6))


# ---------------------------------------------------------------- iteration, closures, captured arrays


def test_generators_comprehensions_zip_enumerate_reversed() -> None:
    def squares(x: Any) -> Any:
        for value in x:
            yield value * value

    np.testing.assert_array_equal(numbad.gradient(lambda x: sum(squares(x)), X), 2 * X)
    np.testing.assert_array_equal(numbad.gradient(lambda x: sum(a * b for a, b in zip(x, reversed(x))), X), 2 * X[::-1])
    np.testing.assert_array_equal(numbad.gradient(lambda x: sum([k * v for k, v in enumerate(x)]), X), np.arange(6.0))
    np.testing.assert_array_equal(numbad.gradient(lambda x: next(v for v in x if v > 1.0), X), [0, 0, 1, 0, 0, 0])


def test_a_generator_that_outlives_its_recording_leaks() -> None:
    kept = []

    def values(x: Any) -> Any:
        for value in x:
            yield value * 2.0

    def f(x: Any) -> Any:
        generator = values(x)
        kept.append(generator)
        return next(generator)

    np.testing.assert_array_equal(numbad.gradient(f, X), [2, 0, 0, 0, 0, 0])
    with pytest.raises(numbad.errors.LeakError):
        next(kept[0])


def test_unpacking_and_star() -> None:
    def f(x: Any) -> Any:
        first, *middle, last = x
        return first * last + sum(middle)

    np.testing.assert_array_equal(numbad.gradient(f, X), [1.9, 1, 1, 1, 1, 0.7])
    np.testing.assert_allclose(numbad.gradient(lambda x: math.prod([*x[:2], 3.0]), X), [-3.9, 2.1, 0, 0, 0, 0])


@pytest.mark.parametrize("n", [6, 600, 50_000])
def test_closures_over_arrays(n: int) -> None:
    weights = np.linspace(-1.0, 1.0, n)
    x = np.linspace(0.5, 2.0, n)
    found = numbad.gradient(lambda x: np.sum(weights * x * x) + weights @ x, x)
    np.testing.assert_allclose(found, 2.0 * weights * x + weights, rtol=1e-15)
    assert weights.flags.writeable


# ---------------------------------------------------------------- memory order


@pytest.mark.parametrize("seed", range(6))
def test_results_are_laid_out_as_numpy_does_so_that_reshape_aliases_alike(seed: int) -> None:
    """A reshape is a view or a copy depending on memory order; which it is decides what an assignment changes."""
    generator = np.random.default_rng(seed)
    steps = [
        lambda y: y * 2.0, lambda y: np.sin(y), lambda y: y + y.copy(), lambda y: +y, lambda y: y.copy(), np.copy,
        lambda y: y.astype(float), lambda y: y * y[..., :1], lambda y: y - np.asfortranarray(np.ones(y.shape)),
        lambda y: 1.0 - y[::-1], lambda y: y * np.ones(y.shape), lambda y: y[..., ::-1] / 2.0,
    ]  # fmt: skip
    x = np.arange(24.0)
    for _ in range(40):
        shape = [(2, 3, 4), (4, 3, 2), (6, 4), (24, 1), (2, 1, 12)][generator.integers(5)]
        axes = generator.permutation(len(shape)).tolist()
        step = steps[generator.integers(len(steps))]

        def f(x: Any, shape: Any = shape, axes: Any = axes, step: Any = step) -> Any:
            result = step(x.reshape(shape).transpose(axes))
            flat = result.reshape(-1)
            flat[3] = 100.0
            return np.sum(result * np.arange(24.0).reshape(result.shape)) + np.sum(flat)

        value, gradient = numbad.value_and_gradient(f, x)
        assert value == pytest.approx(f(x.copy()), rel=1e-12), (shape, axes, steps.index(step))
        step_size = 1e-6
        quotient = [(f(x + step_size * e) - f(x - step_size * e)) / (2 * step_size) for e in np.eye(24)]
        np.testing.assert_allclose(gradient, quotient, atol=1e-4 * np.max(np.abs(quotient)))


# ---------------------------------------------------------------- single precision


SINGLE = np.linspace(0.1, 0.9, 5).astype(np.float32)
PRECISIONS: dict[str, Callable[[Any], Any]] = {
    "Python float": lambda x: np.sum(x * 1.1),
    "Python int": lambda x: np.sum(x * 3),
    "single": lambda x: np.sum(x * np.float32(1.1)),
    "short int": lambda x: np.sum(x * np.int16(3)),
    "truth": lambda x: np.sum(x * np.bool_(True)),
    "double": lambda x: np.sum(x * np.float64(1.1)),
    "double on the left": lambda x: np.sum(np.float64(1.1) * x),
    "0-d array": lambda x: np.sum(x + np.array(1.1)),
    "0-d single": lambda x: np.sum(x + np.array(1.1, np.float32)),
    "int": lambda x: np.sum(x * np.int64(3)),
    "power": lambda x: np.sum(x ** np.float64(2)),
    "power of int": lambda x: np.sum(x ** np.int64(3)),
    "square": lambda x: np.sum(x**2),
    "to the power": lambda x: np.sum(np.float64(2.0) ** x),
    "quotient": lambda x: np.sum(x / np.float64(3.0)),
    "element": lambda x: x[0] * np.float64(1.1),
    "maximum": lambda x: np.sum(np.maximum(x, np.float64(0.51))),
    "where": lambda x: np.sum(np.where(x > 0.5, x, np.float64(2.1))),
    "clip": lambda x: np.sum(np.clip(x, np.float64(0.21), np.float64(0.51))),
    "array": lambda x: np.sum(x * np.full(5, 1.1)),
    "dot": lambda x: x @ np.full(5, 1.1),
    "concatenate": lambda x: np.sum(np.concatenate([x, np.full(2, 1.1)])),
    "median": lambda x: np.median(x),
    "sort": lambda x: np.sum(np.sort(x) * x),
    "quantile": lambda x: np.quantile(x, 0.3),
    "percentile": lambda x: np.percentile(x, 30),
    "ldexp": lambda x: np.sum(np.ldexp(x, 2)),
    "solve": lambda x: np.sum(np.linalg.solve(np.outer(x, x) + np.eye(5, dtype=np.float32), x)),
}


@pytest.mark.parametrize("name", list(PRECISIONS))
def test_numbers_of_numpy_have_a_precision_and_gradients_that_of_their_input(name: str) -> None:
    f = PRECISIONS[name]
    expected = f(SINGLE)
    found = numbad.jit(f)(SINGLE)
    assert np.asarray(found).dtype == expected.dtype
    assert found == pytest.approx(expected, rel=1e-13 if expected.dtype == np.float64 else 1e-6)
    both = np.stack([SINGLE, SINGLE])
    gradients = {
        "grad": numbad.grad(f)(SINGLE),
        "jit(grad)": numbad.jit(numbad.grad(f))(SINGLE),
        "jacfwd": numbad.jacfwd(f)(SINGLE),
        "jacrev": numbad.jacrev(f)(SINGLE),
        "jit(jacfwd)": numbad.jit(numbad.jacfwd(f))(SINGLE),
        "jit(jacobian)": numbad.jit(numbad.jacobian(f))(SINGLE),
        "vjp": numbad.vjp(f, SINGLE)[1](1.0)[0],
        "tape": numbad.record(f, SINGLE).gradient(SINGLE),
        "vmap(grad)": numbad.vmap(numbad.grad(f))(both)[1],
        "jit(vmap(grad))": numbad.jit(numbad.vmap(numbad.grad(f)))(both)[1],
        "vmap(jit(grad))": numbad.vmap(numbad.jit(numbad.grad(f)))(both)[1],
    }
    wide = numbad.gradient(f, SINGLE.astype(float))
    for mode, gradient in gradients.items():
        assert gradient.dtype == np.float32, mode
        np.testing.assert_allclose(gradient, wide, rtol=2e-5, atol=1e-6, err_msg=mode)
    curvature = numbad.hvp(f, SINGLE, SINGLE), numbad.hessian(f)(SINGLE), numbad.jit(numbad.hessian(f))(SINGLE)
    assert [part.dtype for part in curvature] == [np.float32] * 3


def test_a_double_assigned_to_a_single_array_takes_its_precision() -> None:
    def f(x: Any) -> Any:
        y = x * 2.0
        y[0] = np.float64(1.1)
        y += np.float64(0.3)
        return y

    found = numbad.jit(f)(SINGLE)
    assert found.dtype == f(SINGLE.copy()).dtype == np.float32
    np.testing.assert_allclose(found, f(SINGLE.copy()), rtol=1e-6)


def test_a_double_is_compared_as_a_double() -> None:
    """0.1 in single precision is more than 0.1: rounded, the number would not be."""
    x = np.array([0.1], np.float32)
    f = numbad.jit(numbad.grad(lambda x: np.sum(2.0 * x if x[0] > np.float64(0.1) else x)))
    assert f(x).tolist() == [2.0]
    assert numbad.gradient(lambda x: np.sum(np.where(x > np.array(0.1), 2.0 * x, x)), x).tolist() == [2.0]


@pytest.mark.parametrize("call", [
    lambda f, x: numbad.gradient(f, x),
    lambda f, x: numbad.jvp(f, (x,), (x,)),
    lambda f, x: numbad.vjp(f, x)[1](1.0),
    lambda f, x: numbad.value_and_gradient(lambda x: f(x) + np.linalg.det(np.outer(x[:2], x[1:3])), x),
])  # fmt: skip
def test_a_recording_is_freed_as_soon_as_it_has_ended(call: Any) -> None:
    """A cycle of references would keep copies of captured arrays until Python looks for cycles."""
    table = np.ones((300, 20))
    x = np.linspace(0.1, 1.0, 20)
    spaces: list[Any] = []

    def f(x: Any) -> Any:
        spaces.append(x.recorder.spaces)  # a list that the recorder alone refers to
        return np.sum(np.tanh(table @ x))

    gc.collect()
    gc.disable()
    try:
        call(f, x)
        assert all(sys.getrefcount(kept) == 3 for kept in spaces), "only this list and the names here refer to it"
    finally:
        gc.enable()
