"""numbad.numpy: NumPy's names, where arrays that a recorded function makes can hold what it computes."""

from __future__ import annotations

import numpy as plain
import pytest

import numbad
import numbad.numpy as np
from numbad.errors import RecordingError
from shared.oracle import check_against_numpy

X = plain.array([0.7, 1.3, 0.4])


def assigned(x):
    y = np.zeros(3)
    y[0] = x[0] ** 2
    y[1:] = x[1:] * y[0]
    return y


def added(x):
    y = np.ones((2, 3))
    y += x
    y[0] *= 2.0
    return y**2


def assembled(x):
    stiffness = np.zeros((4, 4))
    first = np.arange(3)
    np.add.at(stiffness, (first, first), x)
    np.add.at(stiffness, (first + 1, first + 1), x)
    return stiffness**2


def rotated(x):
    turn = np.eye(3)
    turn[0, 0], turn[0, 1] = np.cos(x[0]), -np.sin(x[0])
    return turn @ x


CASES = {
    "assigned": assigned,
    "added": added,
    "assembled": assembled,
    "rotated": rotated,
    "mixed": lambda x: np.sin(np.array([[1.0, x[0]], [x[1], 2.0]])),
    "inverse": lambda x: np.linalg.inv(np.array([[x[0], 1.0], [2.0, x[1]]])),
    "asarray": lambda x: np.asarray(x, dtype=float) ** 2 + np.asarray([x[0], 1.0, x[1]]),
    "array of rows": lambda x: np.array([x, 2.0 * x, plain.ones(3)], dtype=float).T @ x,
    "ndmin": lambda x: np.array(x, ndmin=2) @ x,
    "full": lambda x: np.full((2, 2), x[0]) * np.full(2, 3) + np.empty((2, 2)) * 0.0,
    "lists": lambda x: (np.mean([x[0], x[1]]), np.std([x[0], x[2]]), np.max([x[0], 1.0]), np.dot([x[0]], [2.0])),
    "vectorize": lambda x: np.vectorize(lambda a: a * a if a > 0.5 else a)(x),
    "vectorize two": lambda x: np.vectorize(lambda a, b: a * b)(x[:, None], x),
    "frompyfunc": lambda x: plain.frompyfunc(lambda a: a * a, 1, 1)(x).astype(float),
    "fromiter": lambda x: np.fromiter((a * a for a in x), float),
    "instance": lambda x: x**2 if isinstance(x, np.ndarray) else x * 0.0,
    "windows": lambda x: np.lib.stride_tricks.sliding_window_view(x, 2).sum(axis=1) ** 2,
}


@pytest.mark.parametrize("name", CASES)
def test_recorded(name):
    check_against_numpy(CASES[name], X)
    check_against_numpy(numbad.jit(CASES[name]), X)


def test_nothing_changes_while_nothing_is_recorded():
    assert type(np.zeros(3)) is plain.ndarray
    assert np.array([1, 2]).dtype == plain.array([1, 2]).dtype
    assert np.asarray(X) is X
    assert np.full(2, 3).dtype == int
    assert np.sin is plain.sin and np.linalg is plain.linalg and np.pi == plain.pi
    assert isinstance(X, np.ndarray) and not isinstance([1.0], np.ndarray)
    assert np.vectorize(lambda a: a + 1)([1, 2]).tolist() == [2, 3]
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        getattr(np, "nonsense")  # noqa: B009


def test_integers_and_booleans_stay_plain():
    def f(x):
        assert type(np.zeros(3, dtype=int)) is plain.ndarray
        assert type(np.ones(3, bool)) is plain.ndarray
        assert np.array([0, 2]).dtype.kind == "i"
        assert type(np.full(2, 7)) is plain.ndarray
        return x[np.array([0, 2])].sum()

    assert numbad.gradient(f, X).tolist() == [1.0, 0.0, 1.0]


def test_plain_arrays_say_what_to_import():
    y = plain.zeros(3)

    def f(x):
        y[0] = x[0]
        return y.sum()

    with pytest.raises(RecordingError, match=r"(?s)y\[0\] = x\[0\].*import numbad.numpy as np"):
        numbad.gradient(f, X)
