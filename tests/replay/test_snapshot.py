"""What a jitted function takes from outside, changed between two calls in all the ways that Python has."""

from __future__ import annotations

import configparser
import ctypes
import functools
import os
import queue
import sys
import types
import warnings
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import numbad

X = np.ones(3)
SCALE = 2.0


class Base:
    scale = 2.0

    def act(self, x: Any) -> Any:
        return np.sin(x)

    def __len__(self) -> int:
        return 2


class Meta(type):
    @property
    def rate(cls) -> float:
        return cls._rate  # type: ignore[attr-defined, no-any-return]


class Number(float):
    rate = 1.0


def net() -> Any:
    """Return an object whose attributes all belong to the class that its own inherits from."""

    class Net(Base):
        def forward(self, x: Any) -> Any:
            return np.sum(self.act(x)) * self.scale * len(self)

    return Net()


Case = tuple[Callable[[Any], Any], Callable[[], Any]]
CASES: dict[str, Callable[[], Case]] = {}


def case(function: Callable[[], Case]) -> Callable[[], Case]:
    """Declare a case: a function that returns a program, and what changes its state."""
    CASES[function.__name__] = function
    return function


@case
def a_class_attribute_that_shadows_an_inherited_one() -> Case:
    model = net()
    return model.forward, lambda: setattr(type(model), "scale", 3.0)


@case
def a_method_that_shadows_an_inherited_one() -> Case:
    model = net()
    return model.forward, lambda: setattr(type(model), "act", lambda self, x: np.cos(x))


@case
def a_special_method_that_shadows_an_inherited_one() -> Case:
    model = net()
    return model.forward, lambda: setattr(type(model), "__len__", lambda self: 5)


@case
def an_attribute_read_through_the_class() -> Case:
    kind = type(net())
    return lambda x: np.sum(x) * kind.scale, lambda: setattr(kind, "scale", 3.0)


@case
def the_class_of_an_object() -> Case:
    one, other = type("One", (), {"rate": 2.0}), type("Other", (), {"rate": 5.0})
    held = one()
    return lambda x: np.sum(x) * held.rate, lambda: setattr(held, "__class__", other)


@case
def what_a_class_inherits_from() -> Case:
    one, other = type("One", (), {"rate": 2.0}), type("Other", (), {"rate": 5.0})
    held = type("Held", (one,), {})()
    return lambda x: np.sum(x) * held.rate, lambda: setattr(type(held), "__bases__", (other,))


@case
def an_attribute_that_a_class_answers_for_later() -> Case:
    held = type("Held", (), {})()
    return lambda x: np.sum(x) * getattr(held, "rate", 1.0), lambda: setattr(
        type(held), "__getattr__", lambda s, n: 7.0
    )


@case
def a_special_method_of_the_own_class() -> Case:
    held = type("Held", (), {"__len__": lambda self: 2})()
    return lambda x: np.sum(x) * len(held), lambda: setattr(type(held), "__len__", lambda self: 5)


@case
def what_special_methods_read_from_closures() -> Case:
    cell = [2.0]
    held = type("Held", (), {"__float__": lambda self: cell[0]})()
    return lambda x: np.sum(x) * float(held), lambda: cell.__setitem__(0, 9.0)


@case
def what_arrays_are_made_of() -> Case:
    cell = [2.0]
    held = type("Held", (), {"__array__": lambda self, dtype=None, copy=None: np.array([cell[0], 1.0, 1.0])})()
    return lambda x: np.sum(x * np.asarray(held)), lambda: cell.__setitem__(0, 9.0)


@case
def what_is_missing_in_a_dict() -> Case:
    cell = [2.0]
    held = type("Held", (dict,), {"__missing__": lambda self, key: cell[0]})()
    return lambda x: np.sum(x) * held["z"], lambda: cell.__setitem__(0, 9.0)


def of_a_dict(view: Callable[[dict[str, float]], Any], read: Callable[[Any], Any]) -> Case:
    """Return a case that reads a dict by way of something else."""
    table = {"a": 1.0}
    seen = view(table)
    return lambda x: np.sum(x) * read(seen), lambda: table.__setitem__("a", 5.0)


CASES |= {
    "the values of a dict": lambda: of_a_dict(lambda d: d.values(), sum),
    "the items of a dict": lambda: of_a_dict(lambda d: d.items(), lambda items: sum(value for _, value in items)),
    "a proxy of a dict": lambda: of_a_dict(types.MappingProxyType, lambda proxy: proxy["a"]),
    "a method of a dict": lambda: of_a_dict(lambda d: d.get, lambda get: get("a")),
    "a dict in a wrapper": lambda: of_a_dict(lambda d: functools.partial(d.__getitem__, "a"), lambda get: get()),
}


@case
def a_special_method_of_a_list() -> Case:
    held = [1.0]
    item = held.__getitem__
    return lambda x: np.sum(x) * item(0), lambda: held.__setitem__(0, 5.0)


@case
def a_weak_reference() -> Case:
    held: Any = type("Held", (), {})()
    held.rate = 1.0
    reference = weakref.ref(held)
    return lambda x: np.sum(x) * reference().rate, lambda: setattr(held, "rate", 5.0)  # type: ignore[union-attr]


@case
def a_dict_with_weak_keys() -> Case:
    held: Any = type("Held", (), {})()
    table = weakref.WeakKeyDictionary({held: 1.0})
    return lambda x: np.sum(x) * table[held], lambda: table.__setitem__(held, 5.0)


@case
def a_global_by_its_name() -> Case:
    return lambda x: np.sum(x) * globals()["SCALE"], lambda: globals().__setitem__("SCALE", SCALE + 1.0)


@case
def a_global_in_a_text() -> Case:
    return lambda x: np.sum(x) * eval("SCALE + 1.0"), lambda: globals().__setitem__("SCALE", SCALE + 1.0)


@case
def a_module_by_its_name() -> Case:
    module: Any = types.ModuleType("held_by_name")
    module.rate = 2.0
    sys.modules["held_by_name"] = module
    return lambda x: np.sum(x) * sys.modules["held_by_name"].rate, lambda: setattr(module, "rate", 5.0)


@case
def a_function_with_a_cache_that_forgets() -> Case:
    state = [2.0]

    @functools.lru_cache
    def cached(k: int) -> float:
        return state[0] * k

    def forget() -> None:
        state[0] = 7.0
        cached.cache_clear()

    return lambda x: np.sum(x) * cached(1), forget


@case
def a_queue() -> Case:
    held: queue.Queue[float] = queue.Queue()
    held.put(1.0)
    return lambda x: np.sum(x) * held.queue[0], lambda: (held.get(), held.put(5.0))


@case
def numbers_of_c() -> Case:
    held = (ctypes.c_double * 2)(1.0, 2.0)
    return lambda x: np.sum(x) * held[0], lambda: held.__setitem__(0, 7.0)


@case
def a_number_of_c() -> Case:
    held = ctypes.c_double(1.0)
    return lambda x: np.sum(x) * held.value, lambda: setattr(held, "value", 7.0)


@case
def a_view_of_memory() -> Case:
    memory = bytearray(b"\1\2")
    view = memoryview(memory)
    return lambda x: np.sum(x) * view[0], lambda: memory.__setitem__(0, 9)


@case
def settings_of_a_parser() -> Case:
    parser = configparser.ConfigParser()
    parser["a"] = {"rate": "1.5"}
    return lambda x: np.sum(x) * float(parser["a"]["rate"]), lambda: parser.set("a", "rate", "7")


@case
def an_attribute_of_a_number() -> Case:
    held = Number(2.0)
    held.rate = 3.0
    return lambda x: np.sum(x) * held.rate, lambda: setattr(held, "rate", 7.0)


@case
def a_property_of_the_class_of_a_class() -> Case:
    held: Any = Meta("Held", (), {"_rate": 1.0})
    return lambda x: np.sum(x) * held.rate, lambda: setattr(held, "_rate", 7.0)


@case
def the_environment() -> Case:
    os.environ["NUMBAD_TEST_RATE"] = "1"
    change = functools.partial(os.environ.__setitem__, "NUMBAD_TEST_RATE", "7")
    return lambda x: np.sum(x) * float(os.environ["NUMBAD_TEST_RATE"]), change


@pytest.mark.parametrize("name", CASES)
def test_a_change_is_noticed(name: str) -> None:
    f, change = CASES[name]()
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        value, slope = numbad.jit(f), numbad.jit(numbad.grad(f))
        first = f(X)
        assert value(X) == first and np.array_equal(slope(X), numbad.gradient(f, X))
        value(X), slope(X)
        assert value.paths == slope.paths == 1
        change()
        assert f(X) != first, "the case changes nothing"
        assert value(X) == f(X) and np.array_equal(slope(X), numbad.gradient(f, X))


def test_what_does_not_change_is_not_recorded_anew() -> None:
    for name, make in CASES.items():
        f, change = make()
        jitted = numbad.jit(f)
        for _ in range(4):
            jitted(X)
        assert jitted.hits == [4], (name, change)


def test_an_object_that_hides_its_class_is_read_at_each_call() -> None:
    class Odd:
        def __getattribute__(self, name: str) -> Any:
            return {"rate": rates[0]}[name]

    rates, odd = [2.0], Odd()
    jitted = numbad.jit(lambda x: np.sum(x) * odd.rate)
    with pytest.warns(UserWarning, match="recorded anew"):
        assert jitted(X) == 6.0
    rates[0] = 5.0
    assert jitted(X) == 15.0


def test_a_module_that_answers_every_name() -> None:
    module: Any = types.ModuleType("answering")
    module.__getattr__ = lambda name: 2.0
    assert numbad.jit(lambda x: np.sum(x) * module.rate)(X) == 6.0


def test_modules_that_are_imported_meanwhile_change_nothing_for_one_that_is_looked_up_by_name() -> None:
    held = sys.modules["held_by_name"] = types.ModuleType("held_by_name")
    held.rate = 2.0  # type: ignore[attr-defined]

    def f(x: Any) -> Any:
        sys.modules.setdefault("imported_meanwhile", types.ModuleType("imported_meanwhile"))
        return np.sum(x) * sys.modules["held_by_name"].rate

    jitted = numbad.jit(f)
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        assert [jitted(X) for _ in range(3)] == [f(X)] * 3 and jitted.hits == [3]
    other = sys.modules["held_by_name"] = types.ModuleType("held_by_name")
    other.rate = 7.0  # type: ignore[attr-defined]
    assert jitted(X) == f(X) == 7.0 * np.sum(X)
    del sys.modules["imported_meanwhile"]
