"""Arrays made of arrays share memory with them where NumPy's do, and where they do not they are copies."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import numbad
import numbad.numpy

X = np.random.default_rng(0).normal(size=(3, 4))

CONVERTERS: dict[str, Callable[[Any, Any], Any]] = {
    "ascontiguousarray": lambda np, b: np.ascontiguousarray(b),
    "asfortranarray": lambda np, b: np.asfortranarray(b),
    "asarray": lambda np, b: np.asarray(b),
    "asarray of a dtype": lambda np, b: np.asarray(b, float),
    "asarray by rows": lambda np, b: np.asarray(b, order="C"),
    "asarray by columns": lambda np, b: np.asarray(b, None, "F"),
    "array": lambda np, b: np.array(b),
    "array without a copy": lambda np, b: np.array(b, copy=None),
    "array by columns": lambda np, b: np.array(b, copy=None, order="F"),
    "a copy by columns": lambda np, b: np.array(b, copy=True, order="F"),
    "asanyarray": lambda np, b: np.asanyarray(b),
    "asarray_chkfinite": lambda np, b: np.asarray_chkfinite(b),
    "require": lambda np, b: np.require(b),
    "require by rows": lambda np, b: np.require(b, requirements=["C", "W"]),
    "require by columns": lambda np, b: np.require(b, None, ["FORTRAN"]),
    "require memory of its own": lambda np, b: np.require(b[1:], float, "O"),
}
VIEWS: dict[str, Callable[[Any], Any]] = {
    "all": lambda b: b,
    "transposed": lambda b: b.T,
    "a row": lambda b: b[1],
    "a column": lambda b: b[:, 1],
    "every other": lambda b: b[1:, ::2],
    "last rows": lambda b: b[1:],
    "a transposed row": lambda b: b[:1].T,
}


@pytest.mark.parametrize("module", [np, numbad.numpy], ids=["numpy", "numbad.numpy"])
@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize("name", CONVERTERS)
def test_memory_is_shared_as_in_numpy(name: str, view: str, module: Any) -> None:
    def f(x: Any, module: Any = module) -> Any:
        b = x[::-1].copy()
        b[0, 0] = b[1, 1]
        made = CONVERTERS[name](module, VIEWS[view](b))
        made[...] = 2.0 * made
        return np.concatenate([b.ravel(), made.ravel()])

    value, tangent = numbad.jvp(f, (X,), (X,))
    np.testing.assert_array_equal(value, f(X, np))
    np.testing.assert_array_equal(tangent, f(X, np))  # the program is linear


def test_a_copy_that_is_not_wanted_is_an_error() -> None:
    with pytest.raises(ValueError, match="Unable to avoid copy"):
        numbad.gradient(lambda x: np.array(x.T, copy=False, order="C").sum(), X)
    with pytest.raises(ValueError, match="Cannot specify both"):
        numbad.gradient(lambda x: np.require(x, None, ["C", "F"]).sum(), X)


def test_infinite_elements_are_found_in_each_run() -> None:
    f = numbad.jit(numbad.grad(lambda x: np.sum(np.asarray_chkfinite(x) ** 2)))
    np.testing.assert_array_equal(f(X), 2.0 * X)
    for x in (np.where(X > 0.5, np.inf, X), np.where(X > 0.5, np.nan, X)):
        with pytest.raises(ValueError, match="must not contain infs or NaNs"):
            f(x)
    np.testing.assert_array_equal(f(X), 2.0 * X)


def test_what_numpy_does_not_know_is_not_required() -> None:
    with pytest.raises(KeyError):
        numbad.gradient(lambda x: np.require(x, None, ["Q"]).sum(), X)
