"""Paths that travel compute what the function does, at other points and blocks, after a pickle."""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np
import optree
import pytest
import scipy.special

import numbad
from numbad.distributed.contents import Package
from numbad.distributed.derivatives import AUXILIARY, CURVATURE, GRADIENT, PRODUCT, derivative_of
from numbad.distributed.shipped_paths import MISSED, LoadedPath, Statements, Unrecordable, record_path
from numbad.distributed.signatures import look_at_call
from random_programs import make

RANDOM = np.random.default_rng(5)
W = RANDOM.standard_normal(5)
X = RANDOM.standard_normal((40, 5))
LARGE = RANDOM.standard_normal((3000, 5))
LABELS = RANDOM.integers(0, 5, 40)
MASK = RANDOM.random(40) < 0.5


def loop(w: Any, x: Any) -> Any:
    total = 0.0
    for k in range(5):
        total = total + w[k] * x[k, 0] * total + np.sin(w[k])
    return total


LOSSES = {
    "numbers": (lambda w, x: w * w * x + np.exp(-w), 1.5, (0.5,)),
    "many numbers": (loop, W, (X[:5],)),
    "arrays": (lambda w, x: np.sum(np.tanh(x @ w) ** 2), W, (X,)),
    "large arrays": (lambda w, x: np.sum(np.tanh(x @ w) ** 2), W, (LARGE,)),
    "many parameters": (lambda w, x: np.sum(w * x) ** 2 + np.sum(w**2), LARGE, (LARGE + 1.0,)),
    "matrices": (lambda w, x: np.sum((x @ np.outer(w, w) @ x.T) ** 2), W, (X,)),
    "labels": (lambda w, x, k: np.sum(w[k] * x[:, 0]), W, (X, LABELS)),
    "labels that are counted": (lambda w, k: np.sum(w * np.bincount(k, minlength=5)), W, (LABELS,)),
    "masks": (lambda w, x, m: np.sum(np.where(m, x @ w, 0.0) ** 2), W, (X, MASK)),
    "a solver": (lambda w, x: np.linalg.solve(x.T @ x, w) @ w, W, (X,)),
    "special functions": (lambda w, x: np.sum(scipy.special.gammaln(np.exp(w)) * x[0]), W, (X,)),
    "single precision": (lambda w, x: np.sum(x @ w), W.astype(np.float32), (X.astype(np.float32),)),
    "a constant": (lambda w, x: 7.0, W, (X,)),
    "trees": (lambda p, b: p["a"] * np.sum(b[0]) + p["b"][0] ** 2 * b[1], {"a": 1.0, "b": (2.0,)}, ((X, 3.0),)),
}


def other(leaf: Any, k: int) -> Any:
    """Another value of the same kind."""
    if isinstance(leaf, float):
        return leaf + 0.1 * k
    if not isinstance(leaf, np.ndarray):
        return leaf
    if leaf.dtype.kind == "f":
        return (leaf * (1.0 + 0.1 * k)).astype(leaf.dtype)
    return leaf[::-1].copy() if k else leaf


def agree(found: Any, expected: Any) -> None:
    one, two = optree.tree_leaves(found), optree.tree_leaves(expected)
    assert len(one) == len(two)
    for a, b in zip(one, two, strict=True):
        assert type(a) is type(b)
        assert np.shape(a) == np.shape(b) and np.asarray(a).dtype == np.asarray(b).dtype
        np.testing.assert_allclose(a, b, rtol=3e-6 if np.asarray(a).dtype == np.float32 else 1e-11, atol=1e-11)


def point_of(kind: str, params: Any, k: int) -> Any:
    point = optree.tree_map(lambda leaf: other(leaf, k), params)
    return point if kind in (GRADIENT, AUXILIARY) else (point, optree.tree_map(lambda leaf: other(leaf, 1), params))


@pytest.mark.parametrize("kind", [GRADIENT, CURVATURE, PRODUCT, AUXILIARY])
@pytest.mark.parametrize("name", LOSSES)
def test_a_path_runs_elsewhere(name: str, kind: str) -> None:
    loss, params, block = LOSSES[name]
    used = (lambda *given: (loss(*given), {"twice": 2.0 * loss(*given)})) if kind == AUXILIARY else loss
    package = record_path(kind, used, (point_of(kind, params, 0), *block))
    path = LoadedPath(Package(package.head, tuple(bytes(part) for part in package.buffers)))
    for k in range(3):
        arguments = (point_of(kind, params, k), *optree.tree_map(lambda leaf, k=k: other(leaf, k), block))
        for _ in range(2):
            agree(path.run(look_at_call(arguments).values), derivative_of(kind, used)(*arguments))


def test_a_path_tells_where_it_does_not_hold() -> None:
    def loss(w: Any, x: Any, k: Any) -> Any:
        if k[0] > 2:
            return np.sum(w)
        return np.sum(w * x) if x[0] > 0.0 else np.sum(w**2)

    x, few, many = np.ones(5), np.array([1, 2]), np.array([3, 4])
    path = LoadedPath(record_path(GRADIENT, loss, (W, x, few)))
    assert path.run(look_at_call((W, x, few)).values)[0] == np.sum(W)
    assert path.run(look_at_call((W, -x, few)).values) is MISSED
    assert path.run(look_at_call((W, x, many)).values) is MISSED
    assert path.run(look_at_call((W, 2.0 * x, few)).values)[0] == pytest.approx(2.0 * np.sum(W))
    assert len(path.idle) == 1


def test_threads_have_runners_of_their_own() -> None:
    path = LoadedPath(record_path(GRADIENT, LOSSES["arrays"][0], (W, X)))
    runner = path.idle.pop() if path.idle else None
    path.run(look_at_call((W, X)).values)
    taken = path.idle.pop()
    path.run(look_at_call((W, X)).values)
    assert runner is None and path.idle[0] is not taken


def test_what_does_not_travel_is_told() -> None:
    class Twice:
        def __reduce__(self) -> Any:
            raise TypeError("not to be pickled")

        def __call__(self, x: Any) -> Any:
            return 2.0 * x

    twice = Twice()

    @numbad.custom_vjp
    def rule(x: Any) -> Any:
        return twice(np.asarray(x))

    rule.defvjp(lambda x: (twice(np.asarray(x)), None), lambda _, bar: (2.0 * bar,))
    with pytest.raises(Unrecordable):
        record_path(GRADIENT, lambda w, x: np.sum(rule(w) * x), (W, X[0]))


def test_signatures_tell_calls_apart() -> None:
    calls = [
        (W, X), (W, X.astype(np.float32)), (W, X[:7]), (W, np.asfortranarray(X)), (W, (X,)), (W, {"x": X}), (W, X, 1),
        (W, X, 2), (W, X, 1.0), (W, X, True), (W, X, "a"), (W, X, None), (W, LABELS), (W, LABELS.astype(np.int32)),
        (W, np.float64(1.0)), (W, np.float32(1.0)), (1.0, X),
    ]  # fmt: skip
    signatures = [look_at_call(arguments).signature for arguments in calls]
    assert len(set(signatures)) == len(calls)
    assert look_at_call((W + 1.0, X * 2.0)).signature == signatures[0]
    assert look_at_call((W, LABELS[::-1].copy())).signature == look_at_call((W, LABELS)).signature
    assert all(look_at_call(arguments).recordable for arguments in calls)
    assert not look_at_call((W, object())).recordable
    assert look_at_call((W, (X, 1.0), {"a": X})).outline == "(*, *), {'a': *}"


def test_statements_are_found_by_row() -> None:
    statements = Statements({3: "here"}, np.array([5, 3]))
    assert (statements[3], statements[4], statements.get(1), statements.get(0), len(statements)) == (
        "here",
        None,
        "here",
        None,
        4,
    )


@pytest.mark.parametrize("seed", range(40))
def test_random_programs_travel(seed: int) -> None:
    program = make(seed)
    one = program.run_text(importlib.import_module(program.module))["one"]
    for kind in (GRADIENT, CURVATURE):
        paths: list[LoadedPath] = []
        for k in (0, 1, 2, 11):
            x, y = program.point(k)
            point = x if kind == GRADIENT else (x, np.cos(x))
            expected = derivative_of(kind, one)(point, y)
            values = look_at_call((point, y)).values
            found = next((found for path in paths if (found := path.run(values)) is not MISSED), MISSED)
            if found is MISSED:
                paths.append(LoadedPath(record_path(kind, one, (point, y))))
                found = paths[-1].run(values)
            for a, b in zip(optree.tree_leaves(found), optree.tree_leaves(expected), strict=True):
                scale = np.max(np.abs(b), initial=1.0)
                np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-9 * scale)
