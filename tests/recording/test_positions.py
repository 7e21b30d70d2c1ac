"""Positions of each example of a batch: they are looked up, and guard nothing; what wants plain integers gets them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import scipy.interpolate

import numbad
from numbad.recording import positions
from numbad.tape.layout import GUARD, GUARD_VALUE, HOST
from numbad.tapes import reference

generator = np.random.default_rng(0)
TABLES, VECTORS = generator.normal(size=(9, 3, 4)), generator.normal(size=(9, 6))
GRID = np.linspace(-1.0, 1.0, 5)
WEIGHTS = np.arange(6.0) ** 2
SPLINE = scipy.interpolate.CubicSpline(np.linspace(-3.0, 3.0, 9), np.sin(np.arange(9.0)))
LINES = scipy.interpolate.interp1d(np.linspace(-4.0, 4.0, 9), np.cos(np.arange(9.0)))


def without_largest(x: Any) -> Any:
    """Return an array whose largest element is set to zero."""
    y = x * 1.0
    y[np.argmax(x)] = 0.0
    return y


def added(x: Any) -> Any:
    """Return sums of elements at the places of the smallest, some of them twice."""
    y = np.zeros_like(x)
    np.add.at(y, np.argsort(x)[[0, 1, 1]], x[:3])
    return y


TOGETHER: dict[str, tuple[Callable[..., Any], np.ndarray]] = {
    "largest": (lambda x: x[np.argmax(x)] * x[np.argmin(x)], VECTORS),
    "sorted": (lambda x: x[np.argsort(x)], VECTORS),
    "from the end": (lambda x: x[np.argsort(x)[::-1]][:3] * x[np.argsort(x)[-3:]], VECTORS),
    "along an axis": (lambda x: np.take_along_axis(x, np.argsort(x, axis=1), axis=1), TABLES),
    "along the first axis": (lambda x: np.take_along_axis(x, np.argsort(x, axis=0), axis=0), TABLES),
    "kept axes": (lambda x: np.take_along_axis(x, np.argmax(x, axis=1, keepdims=True), axis=1), TABLES),
    "all axes": (lambda x: x.reshape(-1)[np.argmax(x)] * x.reshape(-1)[np.argsort(x, axis=None)], TABLES),
    "a row": (lambda x: x[np.argmax(x[:, 0])], TABLES),
    "one of each row": (lambda x: x[np.arange(3), np.argmax(x, axis=1)], TABLES),
    "one of each column": (lambda x: x[np.argmin(x, axis=0), np.arange(4)], TABLES),
    "two positions": (lambda x: x[np.argmax(x[:, 0]), np.argmax(x[0])], TABLES),
    "np.take": (lambda x: np.take(x, np.argsort(x[0]), axis=1), TABLES),
    "neighbours": (lambda x: x[np.minimum(np.argmax(x) + 1, 5)] * x[np.argmax(x) - 3], VECTORS),
    "as numbers": (lambda x: x * np.argmax(x) + np.argsort(x) / (1 + np.argmin(x)), VECTORS),
    "ranks": (lambda x: x * np.argsort(np.argsort(x)), VECTORS),
    "compared": (lambda x: np.where(np.arange(6) == np.argmax(x), x, 0.0) * (np.argsort(x) > 2), VECTORS),
    "in a plain table": (lambda x: GRID[np.clip(np.searchsorted(GRID, x) - 1, 0, 3)] * x, VECTORS),
    "in a table of weights": (lambda x: WEIGHTS[np.argsort(x)] * x[np.asarray(np.argsort(x))], VECTORS),
    "searched for": (lambda x: x * np.searchsorted(GRID, x) * np.digitize(x, GRID), VECTORS),
    "of other numbers": (lambda x: x * np.searchsorted(np.sort(x), 0.3 * x), VECTORS),
    "one after the other": (lambda x: sum(x[k] * i for i, k in enumerate(np.argsort(x))), VECTORS),
    "in a list": (lambda x: x[list(np.argsort(x)[:2])], VECTORS),
    "partitioned": (lambda x: x[np.argpartition(x, 2)[2]], VECTORS),
    "added to": (added, VECTORS),
    "a spline": (lambda x: SPLINE(x), VECTORS),
    "the slope of a spline": (lambda x: SPLINE(x[:3], 1), VECTORS),
    "taken from a plain table": (lambda x: x[:4] * np.take(GRID, np.argsort(x[:4])), VECTORS),
    "rows of a plain table": (lambda x: np.take(TABLES[0], np.argsort(x[:3]), axis=0) @ x[:4], VECTORS),
}
APART: dict[str, tuple[Callable[..., Any], np.ndarray]] = {
    "a branch": (lambda x: np.sin(x) if np.argmax(x) == 2 else np.cos(x), VECTORS),
    "int": (lambda x: x * int(np.argmax(x)), VECTORS),
    "a slice": (lambda x: np.sum(x[: np.argmax(x) + 1]), VECTORS),
    "remainders": (lambda x: GRID[np.argsort(x) % 5] * x, VECTORS),
    "a text": (lambda x: x * len(f"{np.argmax(x) * 5}"), VECTORS),
    "assigned": (without_largest, VECTORS),
    "a power": (lambda x: x ** np.argmax(x), VECTORS),
    "a dict": (lambda x: x * {k: 2.0 * k for k in range(6)}[int(np.argmax(x))], VECTORS),
    "a mask of plain ones": (lambda x: x * np.isin(np.arange(6), np.argsort(x)[:2]), VECTORS),
    "counted": (lambda x: np.bincount(np.argsort(x), x, 6), VECTORS),
    "a table of lines": (lambda x: LINES(x), VECTORS),
    "left out": (lambda x: np.delete(x, np.argmax(x)), VECTORS),
}


def check(f: Callable[..., Any], batch: np.ndarray) -> None:
    """Compare a batch, recorded anew and replayed, with a loop, in value, derivatives and dtype."""
    total = lambda x: np.sum(np.sin(f(x)))
    for run in (f, numbad.grad(total), numbad.jacrev(f), numbad.jacfwd(f), numbad.hessian(total)):
        expected = np.stack([np.asarray(run(x)) for x in batch])
        fast = numbad.jit(numbad.vmap(run))
        for found in (numbad.vmap(run)(batch), fast(batch), fast(batch), fast(batch[::-1].copy())[::-1]):
            assert found.dtype == expected.dtype
            np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("name", [*TOGETHER, *APART])
def test_a_batch_is_its_examples(name: str) -> None:
    check(*(TOGETHER | APART)[name])


@pytest.mark.parametrize("name", TOGETHER)
def test_examples_stay_together(name: str) -> None:
    f, batch = TOGETHER[name]
    many = numbad.vmap(f)
    few, tape = numbad.record(many, batch[:2]), numbad.record(many, batch)
    opcodes = tape.code[:, 0]
    assert not np.isin(opcodes, (GUARD, GUARD_VALUE)).any()
    assert (opcodes == HOST).sum() == (few.code[:, 0] == HOST).sum()
    np.testing.assert_array_equal(tape(batch[::-1].copy()), many(batch)[::-1])  # another order is no other path
    np.testing.assert_allclose(reference.run(tape, batch), many(batch), rtol=1e-12)


@pytest.mark.parametrize("name", ["sorted", "along an axis", "as numbers", "a row"])
def test_batches_of_batches_and_sums_of_them(name: str) -> None:
    f, batch = TOGETHER[name]
    pairs = np.stack([batch, batch[::-1], -batch])
    many = numbad.vmap(f)
    np.testing.assert_allclose(numbad.vmap(many)(pairs), np.stack([many(part) for part in pairs]), rtol=1e-12)
    found = numbad.grad(lambda x: np.sum(np.sin(many(x))))(batch)
    slope = numbad.grad(lambda x: np.sum(np.sin(f(x))))
    np.testing.assert_allclose(found, np.stack([slope(x) for x in batch]), rtol=1e-10)


@pytest.mark.parametrize(
    "write",
    [
        lambda k: k.__setitem__(0, 1),
        lambda k: k.sort(),
        lambda k: k.__iadd__(0 * k + 1),
        lambda k: np.put(k, 0, 2),
        lambda k: np.add(k, 1, out=k),
        lambda k: np.add.at(k, [0], 1),
        lambda k: np.asarray(k).__setitem__(0, 3),
        lambda k: k.fill(2),
        lambda k: k.view().__setitem__(0, 1),
        lambda k: k[1:].__setitem__(0, 4),
        lambda k: np.random.default_rng(0).shuffle(k),
    ],
)
def test_positions_that_are_written_to_are_plain(write: Callable[[Any], Any]) -> None:
    def f(x: Any) -> Any:
        k = np.argsort(x)
        other = k
        write(k)
        return x * other % 7.0

    check(f, VECTORS[:4])
    tape = numbad.record(f, VECTORS[0])  # what is compared with later runs is not what the program wrote
    np.testing.assert_array_equal(tape(VECTORS[0]), f(VECTORS[0]))


def test_positions_that_are_returned_are_integers() -> None:
    for f in (np.argmax, np.argsort, lambda x: (np.argmax(x), x)[0], lambda x: np.searchsorted(GRID, x)):
        found = numbad.vmap(f)(VECTORS)
        assert found.dtype.kind == "i"
        np.testing.assert_array_equal(found, np.stack([f(x) for x in VECTORS]))


def test_ties_nan_and_single_precision() -> None:
    x = np.array([[1.0, 1.0, 0.0], [np.nan, 2.0, 1.0], [0.0, 0.0, 0.0], [np.inf, -np.inf, np.inf]])
    for f in (lambda x: x[np.argmax(x)], lambda x: x[np.argsort(x, kind="stable")], lambda x: x * np.argmin(x)):
        with np.errstate(all="ignore"):
            np.testing.assert_array_equal(numbad.vmap(f)(x), np.stack([f(row) for row in x]))
        expected = np.stack([f(row) for row in VECTORS.astype(np.float32)])
        single = numbad.vmap(f)(VECTORS.astype(np.float32))
        assert single.dtype == expected.dtype  # integers of NumPy's widen it, as indices they do not
        np.testing.assert_array_equal(single, expected)


def test_what_is_not_there_raises_as_in_numpy() -> None:
    with pytest.raises(IndexError):
        numbad.vmap(lambda x: x[np.searchsorted(GRID, x) + 2])(np.full((3, 6), 2.0))
    with pytest.raises(IndexError):
        numbad.vmap(lambda x: x[np.argmax(x) + 1])(np.array([[0.0, 1.0], [1.0, 0.0]]))
    inside = np.array([[1.0, 0.0], [2.0, 1.0]])
    np.testing.assert_array_equal(numbad.vmap(lambda x: x[np.argmax(x) + 1])(inside), [0.0, 1.0])


def test_outside_of_a_batch_they_are_plain() -> None:
    seen = []

    def f(x: Any) -> Any:
        seen.append(np.argmax(x))
        return x[seen[-1]]

    numbad.gradient(f, VECTORS[0])
    numbad.vmap(f)(VECTORS[:1])
    assert all(type(k) in (int, np.int64) for k in seen)


# ---------------------------------------------------------------- damages

DAMAGES: dict[str, tuple[str, Any, str]] = {
    "rows one too far": (
        "flat_places",
        lambda index, count, old=positions.flat_places: np.minimum(old(index, count) + 1, index.size * count - 1),
        "sorted",
    ),
    "all look into the first table": (
        "flat_places",
        lambda index, count: np.clip(index, 0, count - 1).astype(np.intp).reshape(-1, index.shape[-1]),
        "largest",
    ),
    "positions of the wrong axis": (
        "places_of_stack",
        lambda *operands, decision, settings: np.zeros(operands[0].shape[:1]),
        "largest",
    ),
    "nothing is outside": ("all_inside", lambda parts, length: True, ""),
}


@pytest.mark.parametrize("name", DAMAGES)
def test_damages_are_noticed(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    what, wrong, case = DAMAGES[name]
    monkeypatch.setattr(positions, what, wrong)
    monkeypatch.setattr(positions.places, "stacked_kernel", positions.places_of_stack)
    with pytest.raises((AssertionError, ValueError, IndexError, pytest.fail.Exception)):
        if case:
            check(*TOGETHER[case])
        else:
            test_what_is_not_there_raises_as_in_numpy()


@pytest.mark.parametrize("factor", [1.001, -1.0])
@pytest.mark.parametrize("op", [positions.pick_rows, positions.put_rows])
def test_damaged_rules_are_noticed(op: Any, factor: float, monkeypatch: pytest.MonkeyPatch) -> None:
    rule = op.vjp_function

    def wrong(*arguments: Any, **settings: Any) -> Any:
        first, *rest = rule(*arguments, **settings)
        return (factor * first, *rest)

    monkeypatch.setattr(op, "vjp_function", wrong)
    f, batch = TOGETHER["sorted" if op is positions.pick_rows else "added to"]
    slope = numbad.grad(lambda x: np.sum(np.sin(f(x))))
    expected = np.stack([slope(x) for x in batch])
    with pytest.raises(AssertionError):
        np.testing.assert_allclose(numbad.vmap(slope)(batch), expected, rtol=1e-6)
