"""Machine code of a tape at many points: against the sweeps of points, on both sides of what blocks hold."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import numbad
from numbad.recording.trees import flatten
from numbad.replay import batches
from numbad.replay.batches import PathTape
from numbad.tapes.points import Batch

COUNTS = [1, 7, 8, 9, 64, 65, 300]


def spring(p: Any) -> Any:
    """Where a spring is after some steps."""
    x, v = p[0], p[1]
    for _ in range(30):
        v = v - 0.1 * p[2] * x
        x = x + 0.1 * v
    return x * np.exp(0.1 * v)


def mapped(f: Any, *points: Any, axes: Any = 0) -> list[PathTape]:
    """Check vmap of a jitted function by machine code against its sweeps; return its tapes."""
    before = numbad.config.compile_tapes
    numbad.config.compile_tapes = False
    try:
        swept, fast = numbad.jit(f), numbad.jit(f)
        expected = numbad.vmap(swept, in_axes=axes)(*points)
        numbad.vmap(fast, in_axes=axes)(*points)
        paths = [path for found in fast.point_tapes.values() for path in found]
        for path in paths:
            path.promotion.count = 100
            path.machine = path.promotion.make()
            assert path.machine is not None
        found = numbad.vmap(fast, in_axes=axes)(*points)
    finally:
        numbad.config.compile_tapes = before
    for one, other in zip(flatten(found)[0], flatten(expected)[0], strict=True):
        assert one.shape == other.shape and one.dtype == other.dtype
        np.testing.assert_allclose(one, other, rtol=1e-12, atol=1e-13)
    return paths


@pytest.mark.parametrize("count", COUNTS)
def test_values_and_gradients_at_few_and_many_points(count: int) -> None:
    points = np.random.default_rng(count).uniform(0.5, 1.5, (count, 3))
    for transform in (lambda f: f, numbad.grad, numbad.value_and_grad):
        assert mapped(transform(spring), points)


def test_points_that_take_other_branches_are_those_of_other_tapes() -> None:
    def f(x: Any) -> Any:
        root = 0.5 * x
        while abs(root * root - x) > 1e-10:
            root = 0.5 * (root + x / root)
        return root if x > 2.0 else -root * x

    paths = mapped(numbad.value_and_grad(f), np.linspace(0.1, 50.0, 200))
    assert len(paths) > 3


def test_arguments_that_all_points_share_and_trees_of_results() -> None:
    def f(p: Any, q: Any, s: Any) -> Any:
        return {"a": p[0, 1] * q[2] + s, "b": (p[1, 0], q[0] * s, q), "given": q[1], "plain": 2.0, "is": s > 0}

    points = np.random.default_rng(1).normal(size=(3, 20, 2, 3))[0]
    assert mapped(f, points, np.arange(1.0, 4.0), 0.7, axes=(0, None, None))
    apart = np.random.default_rng(2).normal(size=(2, 20, 3))
    assert mapped(f, apart, np.arange(6.0)[::2], 0.7, axes=(1, None, None))
    loss = numbad.value_and_grad(lambda p, q: p[0, 1] * q[2] * p[1, 2], argnums=(0, 1))
    assert mapped(loss, points, np.arange(1.0, 4.0), axes=(0, None))


def test_gradients_that_are_not_finite_are_those_of_the_sweeps() -> None:
    f = numbad.value_and_grad(lambda x: np.where(x > 0.0, np.sqrt(x), 0.0) + x**1.5)
    assert mapped(f, np.array([1.0, 0.0, 2.0, -0.0, 4.0] * 5))


def test_memory_of_a_block_is_written_before_it_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    from numbad.replay import point_machine

    monkeypatch.setattr(point_machine, "take_memory", lambda size, dtype, clear: np.full(size, np.nan))
    assert mapped(numbad.value_and_grad(spring), np.random.default_rng(1).uniform(0.5, 1.5, (21, 3)))


def test_a_call_of_many_points_is_several_of_the_code(monkeypatch: pytest.MonkeyPatch) -> None:
    from numbad.replay import point_machine

    monkeypatch.setattr(point_machine, "MOST_AT_ONCE", 1)
    assert mapped(numbad.grad(spring), np.random.default_rng(1).uniform(0.5, 1.5, (21, 3)))


def test_a_tape_is_compiled_when_it_has_been_swept_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batches, "WORTH_COMPILING", 3000)
    jitted = numbad.jit(numbad.grad(spring))
    points = np.random.default_rng(1).uniform(0.5, 1.5, (20, 3))
    expected = numbad.vmap(jitted)(points)
    (path,) = next(iter(jitted.point_tapes.values()))
    assert path.machine is None and path.promotion.thread is None
    for _ in range(3):
        numbad.vmap(jitted)(points)
    if path.promotion.thread is not None:
        path.promotion.thread.join()
    np.testing.assert_allclose(numbad.vmap(jitted)(points), expected, rtol=1e-12)
    assert path.machine is not None


def test_what_cannot_be_compiled_is_swept(monkeypatch: pytest.MonkeyPatch) -> None:
    single = numbad.jit(lambda x: x * x)
    numbad.vmap(single)(np.ones(5, np.float32))
    (path,) = next(iter(single.point_tapes.values()))
    assert path.promotion.make() is None
    from numbad.compilation import lanes

    monkeypatch.setattr(lanes, "MOST_COMPILED", 1)
    long = numbad.jit(spring)
    numbad.vmap(long)(np.ones((5, 3)))
    (path,) = next(iter(long.point_tapes.values()))
    assert path.promotion.make() is None


def test_a_point_alone() -> None:
    """The machine itself, with a batch made by hand."""
    jitted = numbad.jit(numbad.grad(spring))
    points = np.random.default_rng(2).uniform(0.5, 1.5, (4, 3))
    numbad.vmap(jitted)(points)
    (path,) = next(iter(jitted.point_tapes.values()))
    machine = path.promotion.make()
    _, slopes, taken, finite = machine.run(Batch([points[:1]], [True], 1))
    np.testing.assert_allclose(slopes[0][0], numbad.grad(spring)(points[0]), rtol=1e-12)
    assert taken.all() and finite.all()
