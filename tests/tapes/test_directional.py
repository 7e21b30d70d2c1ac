"""Products of a tape's Jacobian with tangents and cotangents."""

import numpy as np
import pytest

import numbad
from shared.tapes import assert_same_tree, elsewhere, nested

NESTED = ({"w": np.arange(3.0), "b": 0.5}, 2.0)


def test_products_with_the_jacobian_at_new_points():
    tape = numbad.record(nested, *NESTED)
    point, tangents = elsewhere(), ({"w": np.array([1.0, 2.0, 3.0]), "b": -1.0}, 0.5)
    assert_same_tree(tape.jvp(point, tangents), numbad.jvp(nested, point, tangents))
    value, pullback = tape.vjp(*point)
    expected, expected_pullback = numbad.vjp(nested, *point)
    assert_same_tree(value, expected)
    for factor in (1.0, -2.0):
        cotangent = {"y": factor * np.arange(3.0), "view": np.ones(3), "sum": 0.3, "seven": 1.0}
        assert_same_tree(pullback(cotangent), expected_pullback(cotangent))


@pytest.mark.usefixtures("usual_limits")
def test_a_pullback_belongs_to_its_point():
    matrix = np.random.default_rng(0).normal(size=(30, 30))
    tape = numbad.record(lambda x: matrix @ np.sin(x), np.ones(30))
    x = np.linspace(0.0, 1.0, 30)
    _, pullback = tape.vjp(x)
    expected = pullback(np.ones(30))[0]
    tape(np.zeros(30))
    x[:] = 5.0
    matrix *= 2.0
    np.testing.assert_array_equal(pullback(np.ones(30))[0], expected)
