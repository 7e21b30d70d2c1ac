"""Signatures: what tells calls apart, static arguments, and kinds of leaves."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest

import numbad
from numbad import InputError
from numbad.replay.signatures import fits, fits_flat, form_of
from shared.jitting import Counted, close

generator = np.random.default_rng(21)
X = np.array([0.5, -1.25, 2.0])
M = generator.normal(size=(4, 3))

# ---------------------------------------------------------------- signatures


def test_signatures_are_told_apart() -> None:
    counted = Counted(lambda x: np.sum(x) * 1.0)
    jitted = numbad.jit(counted)
    arguments = [
        2.0,
        np.float64(2.0),
        np.float32(2.0),
        X,
        X.astype(np.float32),
        M,
        np.asfortranarray(M),
        M.T,
        M[:, ::2],
        M[::-1],
        np.array(2.0),
        np.zeros(0),
    ]
    for _ in range(2):
        for x in arguments:
            found = jitted(x)
            assert found == pytest.approx(float(np.sum(x)), rel=1e-6)
            if getattr(x, "dtype", None) == np.float32:
                assert found.dtype == np.float32
    assert counted.runs <= len(arguments)
    assert jitted(np.concatenate([X, X])) == pytest.approx(2.0 * X.sum())


def test_static_arguments_and_leaves_that_are_not_floats() -> None:
    power = numbad.jit(lambda x, n: x**n)
    assert [power(2.0, n) for n in (3, 2, 0, 3, 1, True)] == [8.0, 4.0, 1.0, 8.0, 2.0, 2.0]
    assert power(2.0, 3.0) == 8.0
    assert power(4.0, 0.5) == 2.0
    counted = Counted(lambda x, n: x**n)
    static = numbad.jit(counted, static_argnums=1)
    assert [static(2.0, n) for n in (3.0, 2.0, 3.0, 2.0)] == [8.0, 4.0, 8.0, 4.0]
    assert counted.runs == 2
    many = numbad.jit(lambda n, x, text: x * n[0] if text == "a" else x, static_argnums=(0, 2))
    values = [3.0, np.zeros(2000)]
    assert many(values, 2.0, "a") == 6.0
    values[0] = 4.0
    assert many(values, 2.0, "a") == 8.0
    assert many(values, 2.0, "b") == 2.0
    long = numbad.jit(lambda n, x: x * n[0][1000], static_argnums=0)
    assert long([np.zeros(2000)], 2.0) == 0.0
    assert long([np.arange(2000.0)], 2.0) == 2000.0, "a list of long arrays is compared in full"
    names = numbad.jit(lambda x, n=1.0: x**n, static_argnames="n")
    assert [names(2.0, n=3.0), names(2.0, n=2.0), names(2.0)] == [8.0, 4.0, 2.0]
    arrays = numbad.jit(lambda x, y=None: np.sum(x * y))
    y = np.ones(3)
    assert arrays(X, y=y) == pytest.approx(X.sum())
    y[0] = 50.0
    assert arrays(X, y=y) == pytest.approx(X.sum() + 49.0 * X[0])
    whole = numbad.jit(lambda x, k: x * k)
    close(whole(X, np.array([1, 2, 3])), X * [1, 2, 3])
    close(whole(X, np.array([3, 2, 1])), X * [3, 2, 1])
    zero = numbad.jit(lambda x, y: np.arctan2(0.0 * x, y), static_argnums=1)
    assert zero(1.0, 1.0) == 0.0
    assert np.copysign(1.0, numbad.jit(lambda x, s: x * s, static_argnums=1)(1.0, 0.0)) == 1.0
    signed = numbad.jit(lambda x, s: x * s, static_argnums=1)
    assert [np.copysign(1.0, signed(1.0, s)) for s in (0.0, -0.0, 0.0)] == [1.0, -1.0, 1.0]


def test_trees_of_arguments_and_results() -> None:
    def f(d: Any) -> Any:
        return {"o": d["a"] * d["b"][0], "n": None, "c": (3, "x", np.ones(2)), "view": d["a"][::-1], "same": d["a"]}

    jitted = numbad.jit(f)
    for values in ({"a": X, "b": [2.0]}, {"a": X, "b": (2.0,)}, {"a": M, "b": [np.float32(2.0)]}):
        for _ in range(2):
            found = jitted(values)
            close(found["o"], 2.0 * values["a"])
            close(found["view"], values["a"][::-1])
            close(found["same"], values["a"])
            assert not np.shares_memory(found["same"], values["a"])
            assert (found["n"], found["c"][:2]) == (None, (3, "x"))
    assert jitted.paths == 3
    slopes = numbad.jit(numbad.grad(lambda d: np.sum(d["a"]) * d["b"][0]))({"a": X, "b": [2.0]})
    close(slopes["a"], np.full(3, 2.0))
    assert slopes["b"] == [pytest.approx(X.sum())]


def test_results_are_the_callers_own() -> None:
    jitted = numbad.jit(lambda x: (x, np.ones(2), x[0], 1.5, M))
    first = jitted(X)
    for part in (first[0], first[1], first[4]):
        part[...] = 99.0
    second = jitted(X)
    close(second[0], X)
    close(second[1], np.ones(2))
    assert second[2:4] == (0.5, 1.5)
    close(second[4], M)
    assert not (M == 99.0).any()
    slopes = numbad.jit(numbad.grad(lambda x: np.sum(x**2)))
    one = slopes(X)
    one[:] = 0.0
    close(slopes(X), 2.0 * X)
    close(slopes(3.0 * X), 6.0 * X)


def test_kinds_of_results() -> None:
    assert type(numbad.jit(lambda x: x**2)(2.0)) is float
    assert type(numbad.jit(lambda x: x**2)(np.float32(2.0))) is np.float32
    assert numbad.jit(lambda x: x > 0.0)(X).tolist() == [True, False, True]
    assert numbad.jit(lambda x: x > 0.0)(X).dtype == bool
    assert numbad.jit(lambda: 3.0)() == 3.0
    assert numbad.jit(lambda n: n * 2)(3) == 6
    assert numbad.jit(lambda x, t: t)(X, "a") == "a"
    for constant in (3.0, 3, np.float64(2.5)):
        assert numbad.jit(lambda x, c=constant: c)(X) == constant
        close(numbad.jit(numbad.grad(lambda x, c=constant: c))(X), np.zeros(3))
        value, slope = numbad.jit(numbad.value_and_grad(lambda x, c=constant: c))(X)
        assert value == constant
        close(slope, np.zeros(3))
    assert numbad.jit(numbad.grad(lambda x: 3.0))(2.0) == 0.0
    assert numbad.jit(numbad.grad(lambda x: np.sum(x**2)))(X.astype(np.float32)).dtype == np.float32


def test_argnums_and_auxiliary_results() -> None:
    f = lambda x, y: x * y**2
    assert numbad.jit(numbad.grad(f, 1))(2.0, 3.0) == 12.0
    assert numbad.jit(numbad.grad(f, (1, 0)))(2.0, 3.0) == (12.0, 9.0)
    assert numbad.jit(numbad.value_and_grad(f, (1, 0)))(2.0, 3.0) == (18.0, (12.0, 9.0))
    assert numbad.jit(numbad.grad(lambda x: (x**2, {"z": x * 3.0}), has_aux=True))(2.0) == (4.0, {"z": 6.0})
    jitted = numbad.jit(numbad.grad(lambda x, n: np.sum(x ** int(n))))
    close(jitted(X, 3), 3.0 * X**2)
    close(jitted(X, 2), 2.0 * X)
    with pytest.raises(InputError, match=r"write 3\.0"):
        numbad.jit(numbad.grad(lambda x: x**2))(3)


@pytest.mark.parametrize("size", [100, 5000, 20_000])
@pytest.mark.parametrize("order", ["C", "F"])
def test_inputs_of_all_sizes_and_layouts(size: int, order: str) -> None:
    f = lambda x: np.sum(np.sin(x) * x)
    jitted, slopes = numbad.jit(f), numbad.jit(numbad.grad(f))
    copies = numbad.jit(lambda x: x[::2])
    for scale in (1.0, 2.0, 3.0):
        x = np.array(np.linspace(0.0, scale, size).reshape(-1, 10), order=order)  # type: ignore[call-overload]
        assert jitted(x) == pytest.approx(np.sum(np.sin(x) * x), rel=1e-12)
        close(slopes(x), np.cos(x) * x + np.sin(x), rtol=1e-11)
        close(copies(x), x[::2])


# ---------------------------------------------------------------- the tree of paths


def test_signatures_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("numbad.replay.jit.MOST_SIGNATURES", 4)
    counted = Counted(lambda x: np.sum(x) * 2.0)

    def sums(x: Any) -> Any:
        return counted(x)

    jitted = numbad.jit(sums)
    jitted.told = True  # what counting says is not the matter here
    for n in (1, 2, 3, 4, 1):
        assert jitted(np.ones(n)) == 2.0 * n
    with pytest.warns(UserWarning, match="called with 4 different signatures"):
        assert jitted(np.ones(5)) == 10.0
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        assert jitted(np.ones(1)) == 2.0
        assert counted.runs == 5, "the least recently used was dropped, not the first"
        assert jitted(np.ones(2)) == 4.0
    assert not said
    assert counted.runs == 6
    assert jitted.paths == 4


def test_the_memory_of_tapes_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("numbad.replay.jit.MOST_BYTES", 1 << 16)
    jitted = numbad.jit(numbad.grad(lambda x: np.sum(np.sin(x) * x)))
    with pytest.warns(UserWarning, match="whose tapes take more than 0 MB") as caught:
        for n in (*range(300, 330), 5000, 300):
            x = np.linspace(0.0, 1.0, n)
            close(jitted(x), np.cos(x) * x + np.sin(x), rtol=1e-12)
            assert len(jitted.programs) == 1 or sum(paths.bytes for paths in jitted.programs.values()) <= 1 << 16
    assert len(caught) == 1
    assert caught[0].filename == __file__


def test_the_memory_of_the_paths_of_one_signature_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("numbad.replay.jit.MOST_BYTES", 1 << 16)
    jitted = numbad.jit(numbad.grad(lambda x: np.sum(np.sin(x)) if x[0] > x[1] else np.sum(x * x)))
    x = np.linspace(0.0, 1.0, 4000)
    close(jitted(x), 2.0 * x)
    with pytest.warns(UserWarning, match="has taken 1 different paths"):
        close(jitted(x[::-1].copy()), np.cos(x[::-1]))
    assert jitted.paths == 1


def test_flat_arguments_fit_where_all_arguments_do() -> None:
    one, other = np.ones(3), np.ones((3, 3))
    calls: list[tuple[Any, ...]] = [
        (1.0,),
        (one,),
        (one, 2.0),
        (2.0, one),
        (other,),
        (other.T,),
        (other[:, :2],),
        (one.astype(np.float32),),
        (one.astype(int),),
        (one.astype(">f8"),),
        (),
        (1,),
        ([1.0],),
        ((one,),),
        (np.float64(1.0),),
        (one.view(np.recarray),),
        (1.0, 1.0),
    ]
    for known in calls:
        form = form_of(known)
        for call in calls:
            if form is not None and fits_flat(call, form):
                assert fits(call, form, [])
                assert form_of(call) == form
            elif form is not None and fits(call, form, []):
                assert any(isinstance(part, (list, tuple)) for part in call), "what has parts of its own"
