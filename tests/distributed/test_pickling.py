"""Pickles of functions and ops, and the names of what cannot be pickled."""

from __future__ import annotations

import functools
import threading
from typing import Any

import numpy as np
import pytest
import scipy.special

import numbad
from numbad.distributed.contents import name_package, pack
from numbad.distributed.pickling import culprit, explain
from numbad.ops.definition import BY_NAME
from numbad.ops.host import ARRAY_OPS
from numbad.ops.lanes import laned

LOCK = threading.Lock()


def test_ops_are_found_by_their_names() -> None:
    numbad.gradient(lambda x: np.linalg.det(x) + scipy.special.gamma(x[0, 0]), np.eye(2))
    ops = [BY_NAME["sin"], *list(ARRAY_OPS.values())[:20], laned(next(iter(ARRAY_OPS.values())))]
    assert pack(ops).open() == ops
    assert all(one is other for one, other in zip(pack(ops).open(), ops, strict=True))


def test_functions_travel_as_their_code() -> None:
    factor = np.arange(3000.0)
    package = pack(lambda x: x * factor)
    assert len(package.buffers) == 1 and len(package.head) < 3000
    assert np.array_equal(package.open()(2.0), 2.0 * factor)
    assert np.shares_memory(package.open()(np.float64(1.0)), factor) is False
    assert np.array_equal(package.plain().open()(2.0), 2.0 * factor)


def test_names_follow_the_contents() -> None:
    one, other = np.arange(3000.0), np.arange(3000.0)
    assert name_package("a", pack(one)) == name_package("a", pack(other))
    other[-1] = 0.0
    assert name_package("a", pack(one)) != name_package("a", pack(other))
    assert name_package("a", pack([1])) != name_package("a", pack([2]))


class Kept:
    """An object with a lock among its attributes."""

    def __init__(self) -> None:
        self.inner = {"held": LOCK}

    def method(self, x: Any) -> Any:
        return x


def by_global(x: Any) -> Any:
    return (LOCK, x)


def closure() -> Any:
    lock = LOCK
    return lambda x: (lock, x)


@pytest.mark.parametrize(
    ("thing", "text"),
    [
        (closure(), "the variable lock of <lambda>, a lock"),
        (Kept(), "the attribute inner, a dict (the entry 'held', a lock)"),
        (Kept().method, "its object, a Kept (the attribute inner, a dict (the entry 'held', a lock))"),
        ([1.0, (LOCK,)], "the entry 1, a tuple (the entry 0, a lock)"),
        (functools.partial(by_global, y=LOCK), "the argument y, a lock"),
        (functools.partial(max, LOCK), "the argument 0, a lock"),
    ],
)
def test_what_cannot_be_pickled_is_named(thing: Any, text: str) -> None:
    assert culprit(thing) == text
    error = explain(thing, "the block", TypeError("no"))
    assert isinstance(error, numbad.NumbadError)
    assert text in str(error) and "do  make it where it is used" in str(error)


def test_globals_are_named_too() -> None:
    assert "the global LOCK of by_global, a lock" in culprit(by_global)
