"""Objects of classes that Numba compiles, whose methods meet recording values."""

from __future__ import annotations

import numpy as np
import pytest
from numba import float64, int64, njit
from numba.experimental import jitclass

import numbad


@jitclass([("x", float64), ("n", int64), ("values", float64[:])])
class Model:
    def __init__(self, x, n=3):
        self.x = x
        self.n = n
        self.values = np.ones(2)

    def curve(self, y):
        return self.x * y + self.inner(y)

    def inner(self, y):
        return self.n * y**2 + self.values[1] * y

    def move(self, step):
        self.x += step
        self.values[0] = step
        return self.x * self.values[0]

    def __add__(self, y):
        return self.x + y

    @property
    def twice(self):
        return 2.0 * self.x

    @twice.setter
    def twice(self, value):
        self.x = 0.5 * value

    @staticmethod
    def square(y):
        return y * y


KNOWN = Model(2.0)


@njit
def used(model, y):
    return model.curve(y) * model.x


def difference(f, y, h=1e-5):
    return (f(y + h) - f(y - h)) / (2.0 * h)


PROGRAMS = {
    "a method of an object": lambda y: KNOWN.curve(y) * KNOWN.twice,
    "an object as an argument": lambda y: used(KNOWN, y),
    "an object that is made": lambda y: Model(y, 2).curve(y) * Model(y, 2).twice,
    "what is made, as an argument": lambda y: used(Model(y), y),
    "attributes that change": lambda y: Model(y).move(y * y),
    "operators": lambda y: Model(y) + y * y,
    "static methods": lambda y: Model.square(y),
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_derivatives_of_methods(name: str) -> None:
    f, y = PROGRAMS[name], 1.5
    value, slope = numbad.value_and_gradient(f, y)
    assert value == pytest.approx(f(y), rel=1e-14)
    assert slope == pytest.approx(difference(f, y), rel=1e-8)
    assert numbad.hessian(f)(y) == pytest.approx(difference(numbad.grad(f), y), abs=1e-6)


def test_properties_that_are_set() -> None:
    def halved(y):
        model = Model(1.0 * y)
        model.twice = y * y
        model.n = y  # an integer: what comes behind the point is cut off
        return model.x * model.n

    assert numbad.gradient(halved, 3.5) == 3 * 3.5


def test_an_object_of_numbas_holds_no_recording_value() -> None:
    with pytest.raises(numbad.RecordingError, match="cannot hold a recording value"):
        numbad.gradient(lambda y: KNOWN.move(y), 1.0)

    def assigned(y):
        KNOWN.x = y
        return y

    with pytest.raises(numbad.RecordingError, match="attribute x"):
        numbad.gradient(assigned, 1.0)
    assert KNOWN.x == 2.0


def test_attributes_that_a_class_lacks() -> None:
    with pytest.raises(AttributeError, match="missing"):
        numbad.gradient(lambda y: Model(y).missing, 1.0)


def test_jit_records_anew_where_an_object_may_have_changed() -> None:
    f = numbad.jit(lambda y: KNOWN.curve(y))
    with pytest.warns(UserWarning, match="memory is Numba's"):
        assert f(1.5) == KNOWN.curve(1.5)
