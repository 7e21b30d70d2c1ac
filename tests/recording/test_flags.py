"""The flags of recording arrays, and what asks for memory that they do not have."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import numbad

X = np.arange(1.0, 7.0).reshape(2, 3)
LAYOUTS: dict[str, Callable[[Any], Any]] = {
    "as it is": lambda x: x,
    "transposed": lambda x: x.T,
    "a column": lambda x: x[:, 1],
    "a row": lambda x: x[1],
    "every other": lambda x: x[:, ::2],
    "backwards": lambda x: x[::-1],
    "new": lambda x: x * 2.0,
    "flat": lambda x: x.reshape(-1),
    "0-d": lambda x: np.asarray(x[0, 0]) if isinstance(x[0, 0], np.float64) else np.reshape(x[0], -1)[:1].reshape(()),
    "filled": lambda x: filled(x),
}
NAMES = ("c_contiguous", "f_contiguous", "contiguous", "fnc", "forc", "aligned", "behaved", "carray", "farray")


def filled(x: Any) -> Any:
    y = np.zeros((3, 2))
    y[0] = x[0, :2]
    return y


@pytest.mark.parametrize("name", LAYOUTS)
def test_flags_are_those_of_numpys_array(name: str) -> None:
    def f(x: Any) -> Any:
        flags = LAYOUTS[name](x).flags
        seen.append([getattr(flags, flag) for flag in NAMES if hasattr(np.ones(1).flags, flag)])
        seen[-1] += [flags[key] for key in ("C", "F", "W", "A", "WRITEABLE", "C_CONTIGUOUS")]
        with pytest.raises(KeyError):
            flags["no flag"]
        return np.sum(x)

    seen: list[Any] = []
    f(X)
    numbad.gradient(f, X)
    assert all(found == seen[0] for found in seen)


def test_an_array_may_be_made_read_only() -> None:
    def locked(x: Any, lock: Callable[[Any], Any]) -> Any:
        y = np.zeros(3)
        y[:] = x[0]
        lock(y)
        assert not y.flags.writeable
        with pytest.raises(ValueError, match="cannot set WRITEABLE"):
            y.flags.writeable = True
        y[0] = x[1, 0]
        return np.sum(y)

    def by_attribute(y: Any) -> None:
        y.flags.writeable = False

    for lock in (by_attribute, lambda y: y.setflags(write=False), lambda y: y.flags.__setitem__("W", False)):
        with pytest.raises(numbad.RecordingError, match="read-only"):
            numbad.gradient(functools.partial(locked, lock=lock), X)
    assert numbad.gradient(lambda x: [x.setflags(write=True), np.sum(x)][1], X).tolist() == np.ones((2, 3)).tolist()
    with pytest.raises(ValueError, match="only write="):
        numbad.gradient(lambda x: x.setflags(uic=True), X)
    with pytest.raises(AttributeError, match="aligned"):
        numbad.gradient(lambda x: x.flags.__setattr__("aligned", False), X)


@pytest.mark.parametrize("name", ["data", "ctypes", "base", "tobytes", "dumps"])
def test_memory_that_is_not_there_is_refused_by_name(name: str) -> None:
    with pytest.raises(numbad.RecordingError, match=rf"x\.{name} .*not in memory yet"):
        numbad.gradient(lambda x: getattr(x, name), X)
