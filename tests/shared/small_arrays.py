"""Programs of small arrays, which machine code takes apart, and the comparison with the interpreter."""

from __future__ import annotations

from typing import Any

import numpy as np

import numbad
from numbad.recording.trees import flatten
from shared.compiled import promote

ROUNDING = 1e-13  # relative to the largest element: other orders of sums, other elementary functions


def agree(f: Any, *points: Any, transform: Any = numbad.value_and_grad) -> Any:
    """Check machine code against the interpreter at some points, the first of which is recorded."""
    interpreted, jitted = numbad.jit(transform(f)), numbad.jit(transform(f))
    jitted(points[0])
    machine = promote(jitted)
    assert machine is not None
    for point in points:
        found, expected = (flatten(call(point))[0] for call in (jitted, interpreted))
        for one, other in zip(found, expected, strict=True):
            scale = np.max(np.abs(other), initial=1e-300)
            np.testing.assert_allclose(one, other, rtol=0.0, atol=ROUNDING * scale)
        assert not machine.fell
    return machine


def runge_kutta(x: Any) -> Any:
    rates = lambda y: np.array([y[0] * (x[0] - x[1] * y[1]), y[1] * (x[2] * y[0] - x[3])])
    y = np.array([x[4], x[5]])
    for _ in range(25):
        a = rates(y)
        b = rates(y + 0.05 * a)
        y = y + 0.1 * b
    return np.sum(y * y)


def recurrent(x: Any) -> Any:
    state, weights = x[:3], x[3:12].reshape(3, 3)
    for k in range(12):
        state = np.tanh(weights @ state + x[12:15] * (k + 1.0))
    return state @ state


def filled(x: Any) -> Any:
    y = np.zeros(12)
    y[0] = x[0]
    for k in range(11):
        y[k + 1] = y[k] * x[1] + x[2 + k]
    y[3:6] += y[:3]
    return np.sum(y**2) + np.mean(y[::2])


def moved(x: Any) -> Any:
    """Gathers, transposes, broadcasts, sums over either axis, repeated indices."""
    table = x[:12].reshape(3, 4)
    total = np.sum(table.T[[0, 2, 2]] * table[:, :3].sum(axis=1)[:, None])
    for k in range(8):
        total = total + np.maximum(table[k % 3], 0.5)[1] * np.mean(table, axis=0)[k % 4] + np.sum(x[k : k + 4] ** 2)
    return total + np.sum(np.concatenate([x[:2], x[5:7]]) * x[:4])


def branches(x: Any) -> Any:
    total = 0.0
    for k in range(10):
        total = total + (np.sum(x[k : k + 3]) if x[k] > 0.2 else np.prod(x[k : k + 3]))
    return total


PROGRAMS = (runge_kutta, recurrent, filled, moved, branches)
