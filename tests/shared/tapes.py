"""Functions whose tapes several tests look at."""

import numpy as np
import optree


def five(x1, x2):
    return np.exp(x1) - x1 * x2 + np.cos(x2)


MATRIX = np.random.default_rng(3).normal(size=(30, 30))
VECTOR = np.linspace(0.5, 2.0, 30)


def mixed(x, s):
    """Rows of most kinds: guards, array rows, sums, a product with a matrix kept by reference."""
    y = MATRIX @ x
    if y[0] > 1e9:
        return s
    z = np.where(y > 0.0, np.sin(y), y * s)
    z[2:4] = x[0] * 3.0
    n = int(s) + 2
    return np.sum(z[:n] * VECTOR[:n]) / np.sum(x[::2] ** 2) + z[3] * s + np.sum(x[:3, None] * y[:4])


POINT = (np.cos(np.arange(30.0)), 1.5)


def payoff(x, strike):
    if x[3] > strike:
        return x[0] * 2.0
    return x[0]


def nested(p, s):
    """Results of all kinds: a scattered array, a view of an input, a number, a constant."""
    y = p["w"] * s
    y[0] = np.sin(p["b"])
    return {"y": y, "view": p["w"][::-1], "sum": np.sum(y**2), "seven": 7.0}


def elsewhere():
    return {"w": np.array([0.3, -1.0, 2.5]), "b": 1.25}, -0.75


def assert_same_tree(found, expected):
    assert optree.tree_structure(found) == optree.tree_structure(expected)
    for one, other in zip(optree.tree_leaves(found), optree.tree_leaves(expected), strict=True):
        assert type(one) is type(other)
        np.testing.assert_allclose(one, other, rtol=1e-10, atol=1e-12)
