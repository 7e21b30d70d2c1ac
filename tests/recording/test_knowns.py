"""Integers and truth values among the arguments of jit: what replays with new ones, and what is recorded once more."""

from __future__ import annotations

import functools
import math
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import numbad

random = np.random.default_rng(8)
N, K = 6, 4
TABLE = random.standard_normal(K)
SHAPES = {"x": (N,), "z": (N, K), "W": (K, 3), "b": (9,)}


def floats(name: str, dtype: Any) -> Any:
    return random.standard_normal(SHAPES[name]).astype(dtype)


def labels() -> Any:
    return random.integers(0, K, N)


def places() -> Any:
    return random.integers(-9, 9, 5)


def mask() -> Any:
    return random.permutation(9) > 3


def added(x: Any, y: Any) -> Any:
    total = np.zeros_like(x[:K])
    np.add.at(total, y, x)
    return np.sum(total**2)


def filled(x: Any, y: Any) -> Any:
    total = np.zeros(K)
    np.add.at(total, y, x)
    weights = np.zeros(N)
    for i in range(N):
        weights[i] = x[i] * y[i]
    return np.sum(total**2) + np.sum(weights * TABLE[y])


def softmax_loss(z: Any, y: Any) -> Any:
    logp = z - np.log(np.sum(np.exp(z), axis=1, keepdims=True))
    return -np.mean(logp[np.arange(len(y)), y])


def class_is_asked(x: Any, y: Any) -> Any:
    if not isinstance(y, np.ndarray) or not np.issubdtype(y.dtype, np.integer):
        raise AssertionError("an array of integers is one")
    return np.sum(x[y] ** 2)


# name of the floats, what makes integers, the program: one recording for all integers
ONCE: dict[str, tuple[str, Callable[[], Any], Callable[..., Any]]] = {
    "loss of labels": ("z", labels, softmax_loss),
    "rows": ("W", labels, lambda W, y: np.sum(np.sin(W[y]))),
    "rows, counted from the end": ("W", labels, lambda W, y: np.sum(np.sin(W[-y - 1]))),
    "columns": ("z", labels, lambda z, y: np.sum(np.sin(z[:, y]))),
    "with None and an ellipsis": ("z", labels, lambda z, y: np.sum(np.sin(z[None, ..., y]))),
    "places": ("b", places, lambda b, i: np.sum(b[i] ** 2)),
    "two axes of places": ("b", lambda: random.integers(0, 9, (2, 3)), lambda b, i: np.sum(b[i] @ b[i].T)),
    "a list with places": ("b", places, lambda b, i: np.sum(b[[i[0], 2, i[1]]] ** 2)),
    "one place": ("b", places, lambda b, i: b[i[0]] * np.sin(b[i[1]])),
    "a loop over places": ("b", places, lambda b, i: sum(np.sin(b[k]) for k in i)),
    "a mask with as many": ("b", mask, lambda b, m: np.sum(b[m] ** 2)),
    "selection": ("b", mask, lambda b, m: np.sum(np.where(m, b**2, np.sin(b)))),
    "selection by a comparison": ("x", labels, lambda x, y: np.sum(np.where(y > 1, x**2, np.sin(x)))),
    "selection among plain numbers": ("x", labels, lambda x, y: np.sum(np.where(y, 1.0, -2.0) * x**2)),
    "indicator": ("z", labels, lambda z, y: np.sum(z * (y[:, None] == np.arange(K)))),
    "table": ("z", labels, lambda z, y: np.sum(z * np.take(np.eye(K), y, axis=0))),
    "take": ("z", labels, lambda z, y: np.sum(np.take(np.exp(z), y, axis=1))),
    "take, wrapped": ("b", places, lambda b, i: np.sum(np.take(b, i * 3, mode="wrap") ** 2)),
    "take, clipped": ("b", places, lambda b, i: np.sum(b.take(i * 3, mode="clip") ** 2)),
    "take along an axis": ("z", labels, lambda z, y: np.sum(np.take_along_axis(np.exp(z), y[:, None], axis=1))),
    "arithmetic": ("x", labels, lambda x, y: np.sum(x * (y + 1) / (2 + y)) - np.sum(2 * y * x) + np.sum(y - x)),
    "floats": ("x", labels, lambda x, y: np.sum((y.astype(x.dtype) - 0.5) * x)),
    "powers": ("x", labels, lambda x, y: np.sum(x**y) + np.sum(np.power(2.0, y) * x)),
    "zeros and infinities": ("x", labels, lambda x, y: np.sum((y > 5) * np.log(x * 0.0))),
    "products": ("W", lambda: random.integers(0, 3, (5, K)), lambda W, y: np.sum((y @ W) ** 2) + np.sum(np.dot(y, W))),
    "sums": ("x", labels, lambda x, y: np.sum(x) * y.sum() + x[0] * np.mean(y) + x[1] * y.max()),
    "counts": ("x", labels, lambda x, y: np.sum(np.bincount(y, weights=x, minlength=K) ** 2)),
    "counts alone": ("x", labels, lambda x, y: np.sum(np.bincount(y, minlength=K) * x[:K])),
    "addition at places": ("x", labels, added),
    "order": ("x", labels, lambda x, y: np.sum(x[np.argsort(y, kind="stable")] * np.arange(N))),
    "truths": ("x", labels, lambda x, y: np.sum(np.where((y > 0) & ~(y == 2), x, 3.0 * x))),
    "class": ("x", labels, class_is_asked),
    "length": ("x", labels, lambda x, y: np.sum(np.ones(len(y)) * x) / y.size * y.shape[0] + y.ndim * x[0]),
    "negated": ("x", labels, lambda x, y: np.sum(x * -y) + np.sum(abs(y - 2) * x) + np.sum(x * +y)),
    "joined": ("x", labels, lambda x, y: np.sum(np.concatenate([x, y]) ** 2 * np.stack([y, y * 2]).sum())),
    "divided with a rest": ("x", labels, lambda x, y: np.sum(divmod(y, 3)[1] * x + y // 2 * x + y % 2)),
    "one row": ("z", labels, lambda z, y: np.sum(z[y[0]] ** 2) + z[y[1], 2]),
    "a loop over rows": ("z", labels, lambda z, y: sum(np.sum(np.sin(z[k])) for k in y)),
    "plain table": ("x", labels, lambda x, y: np.sum(TABLE[y] * x)),
    "rows of the identity": ("z", labels, lambda z, y: np.sum(np.eye(K)[y] * z)),
    "a number of a plain table": ("x", labels, lambda x, y: sum(TABLE[k] * x[k] for k in y)),
    "a table of places": ("z", labels, lambda z, y: np.sum(z[np.arange(N)[::-1][y]] ** 2)),
    "an array of integers": ("x", labels, lambda x, y: np.sum(np.asarray(y) * x) + np.sum(x[np.array(y) % 3])),
    "an array of floats": ("x", labels, lambda x, y: np.sum(np.asarray(y, dtype=float) * x)),
    "a method of a table": ("x", labels, lambda x, y: np.sum(TABLE.take(y) * x)),
    "found among others": ("x", labels, lambda x, y: np.sum(np.searchsorted(np.arange(K), y) * x)),
    "small integers": ("x", lambda: labels().astype(np.uint8), lambda x, y: np.sum(TABLE[y] * x[y])),
    "a filled array": ("x", labels, filled),
    "several results": ("x", labels, lambda x, y: np.sum(x[np.nonzero(y >= 0)[0]]) + np.sum(np.sort(y)[::-1] * x)),
}


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("name", ONCE)
def test_new_integers_replay(name: str, dtype: Any) -> None:
    which, integers, f = ONCE[name]
    runs: list[None] = []
    counts = []

    def counted(x: Any, k: Any) -> Any:
        runs.append(None)
        return f(x, k)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        jitted = numbad.jit(numbad.value_and_grad(counted))
        for _ in range(5):
            x, k = floats(which, dtype), integers()
            value, slope = jitted(x, k)
            wanted, slopes = numbad.value_and_grad(f)(x, k)
            assert type(value) is type(wanted)
            assert slope.dtype == slopes.dtype
            np.testing.assert_allclose(value, wanted, rtol=1e-5 if dtype == np.float32 else 1e-13)
            np.testing.assert_allclose(slope, slopes, rtol=1e-5 if dtype == np.float32 else 1e-13, atol=1e-30)
            counts.append(len(runs))
    assert counts[0] == counts[-1] <= 4  # the first call also finds plain tables, and arrays that are filled


@pytest.mark.parametrize("name", ONCE)
def test_new_integers_replay_in_all_modes(name: str) -> None:
    which, integers, f = ONCE[name]
    runs: list[None] = []
    counts = []

    def modes(x: Any, k: Any) -> Any:
        g = lambda x: f(x, k)
        v = np.cos(x)
        return numbad.hessian(g)(x), numbad.jacfwd(g)(x), numbad.hvp(g, x, v), numbad.jvp(g, (x,), (v,))[1]

    def counted(x: Any, k: Any) -> Any:
        runs.append(None)
        return modes(x, k)

    jitted = numbad.jit(counted)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for _ in range(3):
            x, k = floats(which, np.float64), integers()
            for found, wanted in zip(jitted(x, k), modes(x, k), strict=True):
                np.testing.assert_allclose(found, wanted, rtol=1e-11, atol=1e-12)
            counts.append(len(runs))
    assert counts[0] == counts[-1] <= 4


# programs that are recorded for some of the integers, with these and the number of recordings
AGAIN: dict[str, tuple[str, list[Any], int, Callable[..., Any]]] = {
    "shape": ("b", [2, 3, 2, 3, 2], 2, lambda b, k: np.sum(np.ones(int(k[0])) * b[0])),
    "loop": ("b", [2, 3, 2, 3, 2], 2, lambda b, k: sum(b[0] ** i for i in range(k[0]))),
    "branch": ("b", [1, 2, 3, 4, 5], 2, lambda b, k: np.sum(b) if k[0] > 3 else np.sum(b**2)),
    "slice": ("b", [2, 3, 2, 3, 2], 2, lambda b, k: np.sum(b[: k[0]] ** 2)),
    "mask": ("b", [2, 3, 2, 3, 4], 3, lambda b, k: np.sum(b[np.arange(9) < k] ** 2)),
    "plain list": ("b", [2, 3, 2, 3, 2], 2, lambda b, k: [0.0, 1.0, 2.0, 3.0][k[0]] * b[0]),
    "set of rows": ("z", [2, 3, 2, 3, 2], 2, lambda z, k: sum(np.sum(z[i] ** 2) for i in set(k.tolist()))),
    "conversion": ("b", [2, 3, 2, 3, 2], 2, lambda b, k: math.sqrt(k[0]) * b[0]),
    "text": ("b", [2, 3, 2, 3, 2], 2, lambda b, k: float(f"{k[0]}") * b[0] + len(str(k)) * b[1]),
    "set": ("b", [2, 3, 2, 3, 2], 2, lambda b, k: len({*k.tolist(), 3}) * b[0] + (k[0] in {3}) * b[1]),
    "plain result": ("b", [2, 3, 2, 3, 2], 2, lambda b, k: b[0] if np.array_equal(k, [3]) else b[1]),
    "assignment": ("b", [2, 3, 2, 3, 2], 2, lambda b, k: assigned(b, k)),
}


def assigned(b: Any, k: Any) -> Any:
    y = b.copy()
    y[k] = 2.0 * y[k]
    return np.sum(y**2)


@pytest.mark.parametrize("name", AGAIN)
def test_what_decides_is_guarded(name: str) -> None:
    which, integers, recordings, f = AGAIN[name]
    jitted = numbad.jit(numbad.value_and_grad(f))
    for k in integers:
        x = floats(which, np.float64)
        for found, wanted in zip(jitted(x, np.array([k])), numbad.value_and_grad(f)(x, np.array([k])), strict=True):
            np.testing.assert_allclose(found, wanted, rtol=1e-13)
    assert jitted.paths == recordings


def written(x: Any, y: Any) -> Any:
    y = y.copy()
    y[y == 2] = 0
    y += 1
    return np.sum(x * y)


def taken_in_place(x: Any, y: Any) -> Any:
    np.add(y, 1, out=y)
    y.sort()
    return np.sum(x * y)


def read_by_memory(x: Any, y: Any) -> Any:
    return np.sum(x * np.frombuffer(memoryview(y.copy()), y.dtype))


@pytest.mark.parametrize("f", [written, taken_in_place, read_by_memory])
def test_what_is_not_followed_is_recorded_with_plain_integers(f: Any) -> None:
    jitted = numbad.jit(numbad.grad(f))
    for _ in range(3):
        x, y = floats("x", np.float64), labels()
        np.testing.assert_array_equal(jitted(x, y.copy()), numbad.grad(f)(x, y.copy()))
    assert len(jitted.programs) > 1


def test_places_out_of_bounds_are_numpys_error() -> None:
    f = lambda b, i: np.sum(b[i] ** 2)
    jitted = numbad.jit(numbad.grad(f))
    b = floats("b", np.float64)
    jitted(b, np.array([1, 2]))
    for bad in (9, -10):
        with pytest.raises(IndexError, match=f"index {bad} is out of bounds for axis 0 with size 9") as caught:
            jitted(b, np.array([bad, 2]))
        assert any(entry.path == __file__ or str(entry.path) == __file__ for entry in caught.traceback)
    np.testing.assert_array_equal(jitted(b, np.array([-9, 8])), numbad.grad(f)(b, np.array([-9, 8])))


def test_an_error_that_is_caught_is_another_path() -> None:
    def f(b: Any, i: Any) -> Any:
        try:
            return np.sum(b[i] ** 2)
        except IndexError:
            return b[0]

    jitted = numbad.jit(f)
    b = floats("b", np.float64)
    for i in ([1, 2], [9, 2], [3, 3], [2, 11]):
        assert jitted(b, np.array(i)) == pytest.approx(f(b, np.array(i)), rel=1e-13)


def test_shapes_and_dtypes_are_signatures() -> None:
    jitted = numbad.jit(lambda b, i: np.sum(b[i]))
    b = floats("b", np.float64)
    for i in (np.array([1, 2]), np.array([2, 3]), np.array([1, 2, 3]), np.array([1, 2], np.int32), np.ones(9, bool)):
        assert jitted(b, i) == pytest.approx(np.sum(b[i]), rel=1e-13)
    assert len(jitted.programs) == 4


def test_results_of_integers_alone() -> None:
    def f(x: Any, y: Any) -> Any:
        return {"double": 2 * y, "first": y[0], "mean": y.mean(), "right": np.sum(x) * 0.0 == y, "plain": 3}

    jitted = numbad.jit(f)
    for _ in range(3):
        x, y = floats("x", np.float64), labels()
        found, wanted = jitted(x, y), f(x, y)
        for key, value in wanted.items():
            assert type(found[key]) is type(value)
            np.testing.assert_array_equal(found[key], value)
        found["double"][:] = 0
    assert jitted.paths == 1
    assert numbad.jit(numbad.grad(lambda x, y: y.sum() * 1.0))(1.0, labels()) == 0.0


def test_trees_empty_arrays_and_none_at_all() -> None:
    jitted = numbad.jit(numbad.grad(lambda w, batch: np.sum(w[batch["i"]] * batch["x"])))
    for i in ([0, 2], [1, 1], [2, 0]):
        batch = {"x": random.standard_normal(2), "i": np.array(i)}
        wanted = np.zeros(3)
        np.add.at(wanted, batch["i"], batch["x"])
        np.testing.assert_allclose(jitted(np.ones(3), batch), wanted)
    assert jitted.paths == 1
    empty = numbad.jit(numbad.grad(lambda w, i: np.sum(w[i]) + np.sum(w * i.sum())))
    np.testing.assert_array_equal(empty(np.ones(3), np.zeros(0, int)), np.zeros(3))
    single = numbad.jit(lambda x, k: x * k)
    assert [single(2.0, np.array(k)) for k in (2, 3)] == [4.0, 6.0]
    assert [numbad.jit(lambda k: k + 1)(np.array([k]))[0] for k in (2, 3)] == [3, 4]


def test_large_arrays() -> None:
    f = lambda w, i: np.sum(w[i] * np.sin(i))
    jitted = numbad.jit(numbad.grad(f))
    w = random.standard_normal(20_000)
    for _ in range(3):
        i = random.integers(0, 20_000, 30_000)
        np.testing.assert_allclose(jitted(w, i), numbad.grad(f)(w, i), rtol=1e-12, atol=1e-12)
    assert jitted.paths == 1


def test_floats_and_integers_choose_the_path_together() -> None:
    def f(x: Any, k: Any) -> Any:
        y = x[k]
        if y[0] > 0.0:
            return np.sum(y) * len(range(k[1]))
        return y[1] ** 3 if k[0] > 2 else y[1]

    jitted = numbad.jit(numbad.value_and_grad(f))
    for _ in range(40):
        x, k = floats("b", np.float64), random.integers(0, 4, 3)
        for found, wanted in zip(jitted(x, k), numbad.value_and_grad(f)(x, k), strict=True):
            np.testing.assert_allclose(found, wanted, rtol=1e-13)
    assert 2 < jitted.paths <= 8


def test_what_is_kept_elsewhere_stays_what_it_was() -> None:
    kept = []

    @functools.lru_cache
    def doubled(k: Any) -> Any:
        return 2 * k

    def f(x: Any, k: Any) -> Any:
        kept.append(k + 1)
        return x * doubled(k[0])

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        jitted = numbad.jit(f)
        found = [jitted(3.0, np.array([k])) for k in (1, 2, 1, 5)]
    assert found == [6.0, 12.0, 6.0, 30.0]
    assert np.asarray(kept[0]).tolist() == [2]
    assert [float(doubled(k)) for k in (1, 2, 5, 7)] == [2.0, 4.0, 10.0, 14.0]


def test_rules_and_checkpoints_see_the_integers_of_the_run() -> None:
    @numbad.custom_vjp
    def weighted(x: Any, k: Any) -> Any:
        return np.sum(x * k)

    weighted.defvjp(lambda x, k: (np.sum(x * k), k), lambda k, bar: (bar * np.asarray(k), None))
    for f in (
        lambda x, k: numbad.checkpoint(lambda w: np.sum(w[k] ** 2))(x),
        lambda x, k: numbad.stop_gradient(np.sum(x * k)) * x[0],
        lambda x, k: np.sum(numbad.vmap(lambda r: r * k[0])(x)),
        lambda x, k: np.sum(numbad.vmap(lambda r, t: r * t)(x, k)),
        lambda x, k: numbad.value_and_gradient(lambda w: np.sum(w[k] ** 3), x)[1] @ x,
        lambda x, k: np.sum(numbad.jit(lambda w, i: w[i] ** 2)(x, k)),
    ):
        jitted = numbad.jit(numbad.value_and_grad(f))
        for _ in range(3):
            x, k = floats("x", np.float64), labels()
            for found, wanted in zip(jitted(x, k), numbad.value_and_grad(f)(x, k), strict=True):
                np.testing.assert_allclose(found, wanted, rtol=1e-13)


def test_a_plain_table_that_a_step_reads_is_a_copy() -> None:
    def f(x: Any, k: Any) -> Any:
        table = np.arange(9.0)
        picked = np.take(table, k)
        table[:] = 0.0
        return np.sum(x[:2] * picked)

    jitted = numbad.jit(f)
    for k in ([1, 2], [3, 4]):
        assert jitted(np.ones(3), np.array(k)) == sum(k)


def test_errors_that_a_program_asks_for_are_raised() -> None:
    def f(x: Any, k: Any) -> Any:
        with np.errstate(divide="raise"):
            try:
                return x * np.sum(1.0 / k)
            except FloatingPointError:
                return -x

    jitted = numbad.jit(f)
    assert [jitted(2.0, np.array([k])) for k in (1, 0, 2, 0)] == [2.0, -2.0, 1.0, -2.0]


def test_debug_nans_and_signatures_without_floats() -> None:
    jitted = numbad.jit(lambda b, i: np.sum(np.sqrt(b[i])))
    b = np.arange(4.0)
    with numbad.debug_nans():
        assert jitted(b, np.array([1, 0])) == 1.0
        with pytest.raises(numbad.NonFiniteError):
            jitted(-b, np.array([1, 1]))


def test_a_refusal_that_the_program_catches_is_not_lost() -> None:
    def written(x: Any, k: Any) -> Any:
        try:
            k[0] = 1
        except Exception:
            k = k * 0
        return np.sum(x * k)

    def looked_up(x: Any, k: Any) -> Any:
        try:
            weights = TABLE[k]
        except Exception:
            weights = 0.0
        return np.sum(x * weights)

    for f in (written, looked_up):
        jitted = numbad.jit(numbad.grad(f))
        for _ in range(4):
            x, k = floats("x", np.float64), labels()
            np.testing.assert_allclose(jitted(x, k.copy()), numbad.grad(f)(x, k.copy()), rtol=1e-13)


def test_who_does_not_record_again_has_guards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(numbad.config, "record_again", False)
    jitted = numbad.jit(numbad.grad(lambda x, k: np.sum(x * TABLE[k])))
    for k in ([0, 1, 2, 3, 0, 1], [1, 1, 2, 3, 0, 0], [0, 1, 2, 3, 0, 1]):
        np.testing.assert_array_equal(jitted(np.ones(N), np.array(k)), TABLE[k])
    assert jitted.paths == 2
