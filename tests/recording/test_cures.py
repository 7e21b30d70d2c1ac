"""Hints: what is wrong with a statement, the user's line, and the one thing to write in its place."""

from __future__ import annotations

import math
import types
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import numbad
from numbad import InputError, NumbadError, RecordingError

X = np.array([1.0, 2.0, 3.0])
rng = np.random.default_rng(3)


def assigned(x: Any) -> Any:
    y = np.ones(3)
    for row in (y,):
        row[0] = x[0]
    return np.sum(y)


CURES: dict[str, tuple[Callable[[Any], Any], str]] = {
    "math": (lambda x: math.sin(x[0]), "write np.sin instead of math.sin"),
    "another name": (lambda x: math.atan2(x[0], x[1]), "write np.arctan2 instead of math.atan2"),
    "SciPy's": (lambda x: math.lgamma(x[0]), "write scipy.special.gammaln instead of math.lgamma"),
    "float": (lambda x: float(x[0]) * 2.0, "return the value itself where this is float(x)"),
    "float64": (lambda x: np.float64(x[0]) * 2.0, "use the value itself where this is np.float64(x)"),
    "normal": (lambda x: np.sum(rng.normal(x, 1.0)), "loc + scale * rng.standard_normal(size)"),
    "normal, by keyword": (
        lambda x: np.random.normal(loc=x[0], size=3).sum(),  # noqa: NPY002
        "loc + scale * rng.standard_normal(size)",
    ),
    "uniform": (lambda x: np.random.default_rng(0).uniform(0.0, x[0]), "low + (high - low) * rng.random(size)"),
    "poisson": (lambda x: rng.poisson(x[0]), "the logarithm of the probability of what was drawn"),
    "several lines": (
        lambda x: math.exp(
            x[0]  # in its middle
            + 1.0
        ),
        "write np.exp instead of math.exp",
    ),
}


@pytest.mark.usefixtures("recorded_once")
@pytest.mark.parametrize("name", CURES)
def test_the_likeliest_cure_comes_first_and_alone(name: str) -> None:
    f, cure = CURES[name]
    with pytest.raises(RecordingError) as caught:
        numbad.gradient(f, X)
    what, where, do = str(caught.value).splitlines()
    assert "derivative" in what or "plain array" in what
    assert "test_cures.py" in where
    assert cure in do
    assert "np.sin" not in do or name == "math"


def test_a_random_draw_is_told_of_reparametrisation() -> None:
    with pytest.raises(RecordingError, match="normal draws plain numbers"):
        numbad.gradient(lambda x: np.sum(rng.normal(x, 1.0)), X)
    noise = rng.standard_normal(3)
    np.testing.assert_array_equal(numbad.gradient(lambda x: np.sum(x + 2.0 * noise), X), np.ones(3))


@pytest.mark.usefixtures("recorded_once")
def test_an_assignment_is_no_conversion_and_source_may_be_missing() -> None:
    scope: dict[str, Any] = {"np": np, "math": math}
    exec("def f(x):\n    return math.sin(x[0])", scope)
    with pytest.raises(RecordingError, match="return the value itself, and use functions"):
        numbad.gradient(scope["f"], X)


SLIPS: dict[str, tuple[Callable[[], Any], type[Exception], str, str]] = {
    "called": (lambda: numbad.gradient(np.sum(X), X), TypeError, "6.0", "do not call it: numbad.gradient(f, x)"),
    "swapped": (lambda: numbad.gradient(X, np.sum), TypeError, "the function first", "write numbad.gradient(f, x)"),
    "called, no point": (lambda: numbad.value_and_gradient(6.0), TypeError, "was given a float", "(f)(x)"),
    "list": (lambda: numbad.gradient(lambda x: np.sum(x**2), [1.0]), InputError, "a list", "np.array(point)"),
    "lists": (lambda: numbad.gradient(lambda x: x.sum(), [[1.0]]), InputError, "a list", "np.array(point)"),
    "tuple": (lambda: numbad.gradient(lambda x, y: x * y, (1.0, 2.0)), InputError, "one tuple", "f, *point"),
    "labels": (lambda: numbad.gradient(lambda x, k: x[k], X, 1), InputError, "a Python int (1)", "argnums=0"),
    "label arrays": (
        lambda: numbad.gradient(lambda x, k, y: np.sum(x[k] * y), X, np.array([1]), 2.0),
        InputError,
        "an array of dtype int64",
        "argnums=(0, 2)",
    ),
    "objects": (lambda: numbad.gradient(np.sum, np.array([1.0, None])), InputError, "object", "x.astype(float)"),
    "no position": (lambda: numbad.grad(lambda x: x)(x=1.0), ValueError, "called with 0", "by position"),
    "a count": (lambda: numbad.gradient(lambda x: np.sum(np.zeros(x)), 2.0), RecordingError, "compiled", "int(x)"),
}


@pytest.mark.parametrize("name", SLIPS)
def test_usual_slips_are_told_what_they_are(name: str) -> None:
    call, kind, what, do = SLIPS[name]
    with pytest.raises(kind) as caught:
        call()
    lines = str(caught.value).splitlines()
    assert what in lines[0]
    assert do in lines[-1]


def test_frames_of_data_are_refused_by_name_at_the_users_line() -> None:
    pandas = types.ModuleType("pandas")
    vars(pandas).update({"__package__": "pandas.core", "np": np})
    exec("def convert(x):\n    return np.asarray(x, dtype=float)\ndef lose(x):\n    raise KeyError(x)", vars(pandas))
    for f in (lambda x: np.sum(pandas.convert(x)), lambda x: pandas.lose(x)):
        with pytest.raises(NumbadError) as caught:
            numbad.gradient(f, X)
        what, where, do = str(caught.value).splitlines()
        assert what.startswith("pandas does not take recording values")
        assert "test_cures.py" in where
        assert "to_numpy()" in do


def test_what_has_no_axes_gives_its_number() -> None:
    class Reduced:
        shape = ()

        def __init__(self, value: Any) -> None:
            self.value = value

        def item(self) -> Any:
            return self.value

    np.testing.assert_array_equal(numbad.gradient(lambda x: Reduced(np.sum(x * x)), X), 2.0 * X)


# ---------------------------------------------------------------- argnums, has_aux


def weighted(x: Any, k: Any, w: Any) -> Any:
    return np.sum(x[k] * w)


def test_argnums_choose_points() -> None:
    k, w = np.array([2, 2]), np.array([3.0, 4.0])
    slope = np.array([0.0, 0.0, 7.0])
    np.testing.assert_array_equal(numbad.gradient(weighted, X, k, w, argnums=0), slope)
    np.testing.assert_array_equal(numbad.gradient(weighted, argnums=-3)(X, k, w), slope)
    several = numbad.gradient(weighted, X, k, w, argnums=(2, 0))
    assert isinstance(several, tuple)
    np.testing.assert_array_equal(several[0], [3.0, 3.0])
    np.testing.assert_array_equal(several[1], slope)
    single = numbad.gradient(weighted, X, k, w, argnums=(0,))
    assert isinstance(single, tuple) and len(single) == 1
    value, found = numbad.value_and_gradient(weighted, X, k, w, argnums=0)
    assert value == 21.0
    np.testing.assert_array_equal(found, slope)
    np.testing.assert_array_equal(numbad.jit(numbad.gradient(weighted, argnums=0))(X, k, w), slope)


def test_what_is_auxiliary_is_passed_on() -> None:
    def f(x: Any) -> Any:
        return np.sum(x**2), {"root": np.sqrt(x), "text": "as it is"}

    found, more = numbad.gradient(f, X, has_aux=True)
    np.testing.assert_array_equal(found, 2.0 * X)
    np.testing.assert_array_equal(more["root"], np.sqrt(X))
    (value, more), found = numbad.value_and_gradient(f, has_aux=True)(X)
    assert value == 14.0 and more["text"] == "as it is"
    np.testing.assert_array_equal(found, 2.0 * X)
    with pytest.raises(numbad.OutputError, match="pair"):
        numbad.gradient(np.sum, X, has_aux=True)


@pytest.mark.parametrize("argnums", [3, -4, (0, 0), "x", 1.0, True])
def test_bad_argnums(argnums: Any) -> None:
    with pytest.raises((ValueError, TypeError), match="argnums"):
        numbad.gradient(weighted, X, np.array([1]), X[:1], argnums=argnums)


def test_arguments_of_the_same_name_are_not_taken_silently() -> None:
    def f(x: Any, argnums: int = 1) -> Any:
        return x**argnums

    assert numbad.gradient(f, 2.0) == 1.0
    with pytest.raises(TypeError, match=r"(?s)gradient takes argnums itself.*functools.partial"):
        numbad.gradient(f, 2.0, argnums=2)
