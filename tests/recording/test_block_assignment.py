"""Assignment to large parts of arrays: by new blocks, whatever the box, the value and what is read later."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import numbad
from numbad.limits import ASSIGNED_SHARE, FEWEST_ASSIGNED
from numbad.recording import indexing
from numbad.recording.block_assignment import around, box_of
from numbad.tape.layout import ADD, GATHER
from numbad.tapes import reference


def sample(*shape: int) -> np.ndarray:
    """Return numbers between 0.5 and 1.5."""
    return np.random.default_rng(sum(shape)).uniform(0.5, 1.5, shape)


def assigned(key: Any, value: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Return a function that assigns to a part of what it computes, and reads other parts."""

    def f(x: Any) -> Any:
        y = x * x
        y[key] = value(x)
        return np.sum(y[..., 1:] * x[..., :-1]) + np.sum(y * np.cos(y))

    return f


KEYS: dict[str, Any] = {
    "the inside": (slice(1, -1), slice(1, -1)),
    "rows": slice(2, None),
    "first rows": slice(None, -3),
    "columns": (slice(None), slice(3, None)),
    "unlike sides": (slice(1, -2), slice(3, -1)),
    "all but a corner": (slice(1, None), slice(1, None)),
    "all": (slice(None), slice(None)),
    "a step": (slice(None, None, 2), slice(None)),
    "backwards": (slice(None, None, -1), slice(1, None)),
    "an axis more": (None, slice(1, None)),
    "an ellipsis": (..., slice(2, None)),
}


@pytest.mark.parametrize("name", KEYS)
@pytest.mark.parametrize("shape", [(9, 11), (30, 31)])
def test_assignment_to_a_box(name: str, shape: tuple[int, int]) -> None:
    key, x = KEYS[name], sample(*shape)
    part = x[key]
    scale = sample(*part.shape)
    f = assigned(key, lambda x: np.sin(x[key]) * scale)
    tape = numbad.record(f, x)
    assert tape(x) == pytest.approx(f(x), rel=1e-13)
    assert reference.run(tape, x) == pytest.approx(f(x), rel=1e-13)
    want = reference.gradient(tape, x)
    for found in (numbad.gradient(f, x), tape.gradient(x), numbad.jit(numbad.grad(f))(x), numbad.jacrev(f)(x)):
        np.testing.assert_allclose(found, want, rtol=1e-12)
    v = sample(*shape) - 1.0
    np.testing.assert_allclose(numbad.jvp(f, (x,), (v,))[1], np.sum(want * v), rtol=1e-11)
    both = np.stack([x, x + 0.25])
    np.testing.assert_allclose(numbad.vmap(numbad.grad(f))(both)[0], want, rtol=1e-12)


@pytest.mark.parametrize("value", [2.5, lambda x: x[3, 4], lambda x: x[0], lambda x: x[:, :1], lambda x: np.ones(12)])
def test_values_that_are_broadcast(value: Any) -> None:
    x = sample(20, 12)
    f = assigned(slice(2, -2) if not callable(value) else slice(None), value if callable(value) else lambda _: value)
    if callable(value) and value(x).shape == (20, 1):
        f = assigned((slice(None), slice(1, None)), value)
    if callable(value) and np.shape(value(x)) == (12,):
        f = assigned(slice(1, -1), value)
    slope = numbad.gradient(f, x)
    step = 1e-6 * sample(20, 12)
    np.testing.assert_allclose(np.sum(slope * step), (f(x + step) - f(x - step)) / 2.0, rtol=1e-6)
    np.testing.assert_allclose(reference.gradient(numbad.record(f, x), x), slope, rtol=1e-12)


def test_signs_of_zeros_and_what_is_not_finite_stay() -> None:
    x = sample(12, 12)
    x[0, 0], x[0, 1], x[0, 2] = -0.0, np.inf, np.nan

    def f(x: Any) -> Any:
        y = x.copy()
        y[1:-1, 1:-1] = -0.0 * x[1:-1, 1:-1]
        return y

    found = numbad.jit(f)(x)
    np.testing.assert_array_equal(found, f(x))
    np.testing.assert_array_equal(np.signbit(found), np.signbit(f(x)))


def test_aliases_see_an_assignment_and_copies_do_not() -> None:
    def f(x: Any) -> Any:
        y = x * 1.0
        view, flat, copy = y[2:, 3:], y.reshape(-1), y.copy()
        y[1:-1, 1:-1] += x[1:-1, 1:-1] * x[2:, 2:]
        view[...] *= 2.0
        y[1:] = y[:-1]  # the value lies where it is assigned
        y[0, 0] = x[1, 1]
        return np.sum(view * view) + np.sum(flat[5:]) + np.sum(copy * y)

    x = sample(14, 15)
    step = 1e-6 * sample(14, 15)
    slope = numbad.gradient(f, x)
    np.testing.assert_allclose(np.sum(slope * step), (f(x + step) - f(x - step)) / 2.0, rtol=1e-6)
    assert numbad.value_and_gradient(f, x)[0] == pytest.approx(f(x), rel=1e-13)


def test_repeated_assignments_gather_nothing_twice() -> None:
    def steps(x: Any) -> Any:
        for _ in range(5):
            x = x * 1.0
            x[1:-1, 1:-1] += 0.1 * (x[2:, 1:-1] - x[:-2, 1:-1] + x[1:-1, 2:] - x[1:-1, :-2])
        return np.sum(x * x)

    tape = numbad.record(steps, sample(30, 30))
    assert not np.count_nonzero(tape.code[:, 0] == GATHER)
    assert np.count_nonzero(tape.code[:, 0] == ADD) == 16  # two pairs of sides and the value for each step, and the sum


@pytest.mark.parametrize("more", [-1, 0])
def test_small_parts_and_few_elements_list_addresses(more: int) -> None:
    few = FEWEST_ASSIGNED + more
    f = assigned(slice(0, few), lambda x: np.sin(x[:few]))
    for size in (few + 3, ASSIGNED_SHARE * few, ASSIGNED_SHARE * few + 1):
        x = sample(size)
        want = reference.gradient(numbad.record(f, x), x)
        np.testing.assert_allclose(numbad.gradient(f, x), want, rtol=1e-12)
        step = 1e-6 * sample(size)
        np.testing.assert_allclose(np.sum(want * step), (f(x + step) - f(x - step)) / 2.0, rtol=1e-6)


def test_boxes() -> None:
    assert box_of(12, (2, 2), 5, (4, 1)) == ((3, 4), (1, 1), (3, 3))
    assert box_of(12, (3,), 1, (4,)) == ((3, 4), (0, 1), (3, 2))  # a column
    assert box_of(12, (2, 3), 6, (4, 1)) is None  # beyond the end of a row
    assert box_of(12, (2,), 0, (5,)) is None
    assert box_of(12, (3,), 11, (-4,)) is None
    assert box_of(12, (0,), 0, (1,)) is None
    for whole, low, high in [((3, 4), (1, 1), (2, 3)), ((5, 6, 7), (0, 2, 1), (5, 3, 6)), ((4,), (1,), (2,))]:
        met = np.zeros(whole, int)
        met[tuple(slice(*ends) for ends in zip(low, high, strict=True))] += 1
        for shape, steps, first in around(whole, low, high):
            places = first + sum(np.indices(shape)[axis] * step for axis, step in enumerate(steps))
            np.add.at(met.reshape(-1), places.reshape(-1), 1)
        assert (met == 1).all()


DAMAGES = [
    ("before == behind", "before"),
    ("first += start * step", "first += stop * step"),
    ("first + stop * step", "first + start * step"),
    ("inner = (*inner, stop - start)", "inner = (*inner, length)"),
]


@pytest.mark.parametrize(("old", "new"), DAMAGES)
def test_damaged_boxes_are_noticed(old: str, new: str, monkeypatch: pytest.MonkeyPatch) -> None:
    import inspect

    from numbad.recording import block_assignment, row_plans

    text = inspect.getsource(block_assignment.around)
    assert old in text
    names = dict(vars(block_assignment))
    exec(text.replace(old, new), names)
    monkeypatch.setattr(block_assignment, "around", names["around"])
    monkeypatch.setattr(row_plans, "PLANS", {})
    monkeypatch.setattr(block_assignment, "PLANS", {})
    key = (slice(1, -2), slice(3, -1))
    x = sample(17, 19)
    f = assigned(key, lambda x: np.sin(x[key]))
    try:
        value = numbad.value_and_gradient(f, x)[0]
    except numbad.NumbadError:
        return
    assert value != pytest.approx(f(x), rel=1e-9)


def test_views_are_remembered_by_their_geometry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(indexing, "VIEWS", {})
    monkeypatch.setattr(indexing, "MOST_PLANS", 2)
    x = sample(6, 7)
    keys = [(slice(1, -1), 2), (slice(1, -1), slice(2, 3)), 1, slice(0, 0), (slice(5, 1, -2),), (-1, slice(None, 4))]
    for key in keys * 2:
        f = lambda x, key=key: np.sum(np.sin(x[key]) * 2.0)
        want = np.zeros_like(x)
        want[key] = 2.0 * np.cos(x[key])
        np.testing.assert_allclose(numbad.gradient(f, x), want)
        assert len(indexing.VIEWS) <= 2
    with pytest.raises(IndexError):
        numbad.gradient(lambda x: x[6, 0], x)
