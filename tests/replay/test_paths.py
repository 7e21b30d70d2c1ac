"""Recorded paths: each once, chosen by guards, none run in vain."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import numbad
from shared.jitting import Counted, branches, close, stairs, together

HERE = Path(__file__).name

generator = np.random.default_rng(21)
X = np.array([0.5, -1.25, 2.0])

# ---------------------------------------------------------------- paths


def test_each_path_is_recorded_once() -> None:
    counted = Counted(branches)
    jitted = numbad.jit(counted)
    points = [2.0, -1.0, 0.5, 3.0, -2.0, 0.25, 1.0, 0.0]
    for _ in range(3):
        for x in points:
            assert jitted(x) == branches(x)
    assert counted.runs == jitted.paths == 3
    assert sum(jitted.hits) == 24
    assert sorted(jitted.hits) == [6, 6, 12]
    assert jitted.hits[0] == 12, "the common path is tried first"


@pytest.mark.parametrize("transform", [numbad.grad, numbad.value_and_grad, lambda f: numbad.grad(numbad.grad(f))])
def test_paths_of_derivatives(transform: Any) -> None:
    jitted = numbad.jit(transform(branches))
    for x in (2.0, -1.0, 0.5, 3.0, -2.0, 0.25):
        assert jitted(x) == pytest.approx(transform(branches)(x), rel=1e-14)
    assert jitted.paths == 3


def test_paths_of_functions_of_arrays() -> None:
    def f(x: Any) -> Any:
        total = np.sum(x)
        while total < 4.0:
            total = total * 1.5 + x[0] ** 2
        if np.argmax(x) == 0:
            return total * x[int(abs(x[1])) % 3]
        return total + np.sum(x[x > 0.5])

    jitted, slopes = numbad.jit(f), numbad.jit(numbad.grad(f))
    batched, curvature = numbad.jit(numbad.vmap(f)), numbad.jit(numbad.hessian(f))
    points = np.abs(generator.normal(size=(20, 3))) + 0.2
    for x in [*points, *points]:
        assert jitted(x) == pytest.approx(float(f(x)), rel=1e-13)
        close(slopes(x), numbad.gradient(f, x))
        close(curvature(x), numbad.hessian(f)(x), rtol=1e-11)
    assert jitted.paths == slopes.paths == curvature.paths <= 20
    for k in range(0, 20, 4):
        close(batched(points[k : k + 4]), np.array([f(x) for x in points[k : k + 4]]))


def test_a_value_that_became_a_number_is_guarded() -> None:
    jitted = numbad.jit(lambda x: x * int(x))
    assert (jitted(2.5), jitted(2.75), jitted(3.5), jitted.paths) == (5.0, 5.5, 10.5, 2)
    floats = numbad.jit(lambda x: x[0] * float(numbad.stop_gradient(x[1])))
    assert floats(X) == X[0] * X[1]
    assert floats(2.0 * X) == 4.0 * X[0] * X[1]
    close(numbad.jit(lambda x: np.sort(x) * x)(X[::-1].copy()), np.sort(X) * X[::-1])


def test_not_a_number_takes_the_path_that_numpy_takes() -> None:
    jitted = numbad.jit(branches)
    assert jitted(2.0) == 4.0
    assert np.isnan(jitted(float("nan")))
    assert jitted(float("inf")) == float("inf")
    assert jitted(float("-inf")) == float("inf")


def test_beyond_the_limit_of_paths_the_function_runs_and_the_line_is_named_once() -> None:
    jitted = numbad.jit(lambda x: sum(v if v > 0.0 else -v for v in x))
    with pytest.warns(UserWarning) as caught:
        for x in generator.normal(size=(300, 8)):
            assert jitted(x) == pytest.approx(np.abs(x).sum())
    assert [warning.filename for warning in caught] == [__file__]
    text = str(caught[0].message)
    assert "64 different paths" in text
    assert HERE in text
    assert "v if v > 0.0 else -v for v in x" in text
    assert "np.where" in text
    assert jitted.paths == 64
    jitted.cache_clear()
    assert jitted.paths == 0
    assert jitted(X) == np.abs(X).sum()


CURES: dict[str, Any] = {
    "np.maximum(a, b)": lambda x: max(x[0], x[1] * 0.5) + max(x[2], x[1]),
    "np.minimum(a, b)": lambda x: min(x[0], x[1] * 0.5) + min(x[2], x[1]),
    "np.sort(x)": lambda x: sorted(x)[0],
    "np.where instead of if": lambda x: (x[0] if x[0] > x[1] else x[1]) * (x[2] if x[2] > x[1] else 1.0),
}


@pytest.mark.parametrize("cure", CURES)
def test_the_cure_is_that_of_what_branched(cure: str, monkeypatch: Any) -> None:
    monkeypatch.setattr("numbad.replay.jit.MOST_PATHS", 1)
    jitted = numbad.jit(numbad.grad(CURES[cure]))
    with pytest.warns(UserWarning, match="1 different paths") as caught:
        for x in generator.normal(size=(20, 3)):
            close(jitted(x), numbad.gradient(CURES[cure], x))
    assert cure in str(caught[0].message).splitlines()[-1]
    assert jitted.paths == 1


# ---------------------------------------------------------------- the tree of paths


def newton(x: Any) -> Any:
    y, steps = x[0], 0
    while abs(y * y - x[1]) > 1e-12 and steps < 60:
        y = 0.5 * (y + x[1] / y)
        steps += 1
    return y


def mixed(x: Any) -> Any:
    y = np.sin(x) * x
    total = np.sum(np.outer(y, x) @ y)
    if total > 0.5:
        y = np.exp(y)
    while np.sum(y) < 6.0:
        y = y * 1.5 + 0.25
    return np.sum(y) * total if np.argmax(y) else y[0]


@pytest.mark.parametrize("f", [newton, mixed, stairs])
@pytest.mark.parametrize("transform", [lambda f: f, numbad.grad, numbad.value_and_grad])
def test_a_tree_of_paths_gives_what_the_function_gives(f: Any, transform: Any) -> None:
    plain, jitted = transform(f), numbad.jit(transform(f))
    points = np.abs(generator.normal(size=(12, 5))) + 0.1
    order = generator.integers(0, len(points), 150)
    for k in order:
        found, expected = jitted(points[k]), plain(points[k])
        close(together(found), together(expected), rtol=1e-10)
    assert 2 <= jitted.paths <= 12
    assert sum(jitted.hits) == len(order)


def test_a_call_that_leaves_a_path_runs_no_other_in_vain() -> None:
    """Eight paths, three guards: after a miss, only those are tried that share the rows up to there."""
    tried: list[Any] = []
    points = [np.array(signs) for signs in np.ndindex(2, 2, 2)]
    f = lambda x: [np.sum(x) if v > 0.0 else x[0] * 3.0 for v in (x - 0.5) * 1.0]
    for size in (3, 3000):
        jitted = numbad.jit(lambda x, f=f: f(x[:3])[2] * f(x[:3])[0] + f(x[:3])[1] + np.sum(x))
        inputs = [np.concatenate([point, np.ones(size - 3)]) for point in points]
        for x in inputs:
            jitted(x)
        assert jitted.paths == 8
        paths = next(iter(jitted.programs.values()))
        for program in paths.programs:
            original = program.attempt
            program.attempt = lambda *given, run=original: tried.append(given[1:]) or run(*given)
        for x in inputs:
            tried.clear()
            jitted(x)
            assert len(tried) <= 4, "one for each guard on the way, and the first"
