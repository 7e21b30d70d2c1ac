"""Inputs and results of a tape: in any memory order, in several places, of the wrong kind."""

import numpy as np
import pytest

import numbad
from numbad.errors import InputError


def test_views_and_scattered_results_come_back_whole():
    x = np.arange(12.0).reshape(3, 4)

    def f(x):
        y = x * 1.0
        y[0, ::2] = x[1, 0]
        return x.T, y, x[::-1, 1:3], y[1]

    for found, expected in zip(numbad.record(f, x)(x + 1.0), f(x + 1.0), strict=True):
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("shape", [(5, 4), (80, 70)])
def test_large_and_fortran_inputs_run_in_any_memory_order(order, shape):
    weights = np.arange(float(np.prod(shape))).reshape(shape)
    tape = numbad.record(lambda x: np.sum(weights * x), np.ones(shape, order=order))
    for given in (np.full(shape, 2.0), np.full(shape, 2.0, order="F"), np.full((2 * shape[0], shape[1]), 2.0)[::2]):
        value, gradient = tape.value_and_gradient(given)
        assert value == 2.0 * weights.sum()
        np.testing.assert_array_equal(gradient, weights)


def test_empty_inputs():
    tape = numbad.record(lambda x: np.sum(x * 2.0), np.empty(0))
    assert tape(np.empty(0)) == 0.0
    assert tape.gradient(np.empty(0)).shape == (0,)
    assert "tape of" in str(tape)


@pytest.mark.parametrize(
    ("points", "words"),
    [
        ((np.ones(4),), "float64 of shape \\(4,\\) now"),
        ((np.ones(3, np.float32),), "float32 of shape \\(3,\\) now"),
        ((np.ones((3, 1)),), "shape \\(3, 1\\)"),
        ((np.arange(3),), "int64"),
        ((2,), "write 2.0"),
        (([1.0, 2.0, 3.0],), "structure"),
        ((), "structure"),
        ((np.ones(3), 1.0), "structure"),
    ],
)
def test_other_inputs_are_refused(points, words):
    tape = numbad.record(lambda x: np.sum(x), np.ones(3))
    with pytest.raises(InputError, match=words):
        tape(*points)
