"""Integers that come of truth values: counts and indices are plain and guarded, sums of masks are no masks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import numbad

X = np.array([0.3, 0.7, 1.1])
OTHER = np.array([0.6, 0.2, 0.4])
TABLE = np.array([10.0, 20.0, 40.0])

PROGRAMS: dict[str, Callable[[Any], Any]] = {
    "a mask as integers": lambda x: TABLE[(x > 0.5).astype(int)].sum() * x[0],
    "a mask as integers, of recording values": lambda x: x[(x > 0.5).astype(int)].sum(),
    "a mask times one": lambda x: TABLE[(x > 0.5) * 1] @ x,
    "chosen integers": lambda x: TABLE[np.where(x > 0.5, 1, 0)] @ x,
    "rows": lambda x: np.eye(2)[(x > 0.5).astype(int)].sum(axis=0) @ x[:2],
    "a truth value": lambda x: TABLE[(x[1] > 0.5).astype(int)] * x[0],
    "a count": lambda x: TABLE[np.sum(x > 0.5)] * x[0] + x[(x > 0.5).sum()],
    "a count less one": lambda x: TABLE[np.sum(x[1] > np.array([0.0, 0.5, 1.0])) - 1] * x[1],
    "a range": lambda x: sum(x[i] for i in range(np.sum(x > 0.5))),
    "a shape": lambda x: np.zeros((x > 0.5).sum()).size * x[0],
    "a slice": lambda x: TABLE[: (x > 0.5).sum()].sum() * x[0] + x[: np.sum(x > 0.5)].sum(),
    "take": lambda x: np.take(TABLE, (x > 0.5).astype(int)) @ x,
    "bincount": lambda x: np.bincount((x > 0.5).astype(int), weights=x)[-1],
    "assigned": lambda x: assigned(x),
    "integers are added": lambda x: ((x > 0.5).astype(int) + (x > 0.1).astype(np.int8)).sum() * x[0],
    "truth values are joined": lambda x: ((x > 0.5) + (x > 0.1)).sum() * x[0],
    "the size of a truth value": lambda x: TABLE[np.abs(x > 0.5)].sum() * abs(x[0] > 0.1) * x[0],
    "a pair of true ones": lambda x: (
        ((x > 0.1) @ (x > 0.2)) * x[0] + np.dot(x > 0.1, np.array([True, False, True])) * x[1]
    ),
    "matrices of truth values": lambda x: (np.stack([x > 0.1, x > 0.5]) @ (x > 0.1)).sum() * x[0],
    "einsum of truth values": lambda x: np.einsum("i,i", x > 0.1, x > 0.1) * x[0] + np.inner(x > 0.1, x > 0.1) * x[1],
    "a mask and numbers": lambda x: (x > 0.5) @ x + np.dot(TABLE, x > 0.5),
}


def assigned(x: Any) -> Any:
    y = np.zeros(3)
    y[(x > 0.5).sum()] = x[0]
    counts = np.zeros(4)
    counts[(x > 0.5).sum()] += 2.0
    return y.sum() * counts.sum() + counts[2] * x[1]


@pytest.mark.parametrize("name", PROGRAMS)
def test_integers_of_truth_values(name: str) -> None:
    f = PROGRAMS[name]
    step = 1e-6 * np.eye(3)
    replayed = numbad.jit(numbad.grad(f))
    for x in (X, OTHER, X):
        wanted = [(f(x + e) - f(x - e)) / 2e-6 for e in step]
        value, found = numbad.value_and_gradient(f, x)
        assert value == pytest.approx(f(x), rel=1e-15)
        np.testing.assert_allclose(found, wanted, atol=1e-7, rtol=1e-7)
        np.testing.assert_allclose(replayed(x), found, rtol=1e-15)
        assert numbad.jvp(f, (x,), (np.ones(3),))[1] == pytest.approx(np.sum(found))
    np.testing.assert_allclose(numbad.vmap(numbad.grad(f))(np.array([X, OTHER]))[1], numbad.gradient(f, OTHER))


def test_a_tape_notices_another_count() -> None:
    tape = numbad.record(lambda x: TABLE[np.sum(x > 0.5)] * x[0], X)
    assert tape(X + 0.01) == 40.0 * 0.31
    with pytest.raises(numbad.BranchError):
        tape(OTHER)


REFUSED: dict[str, Callable[[Any], Any]] = {
    "an input": lambda x: TABLE[x[0]],
    "an input, of recording values": lambda x: x[x[0]],
    "inputs": lambda x: TABLE[x],
    "a range": lambda x: sum(range(x[0] * 1.0)),
    "no integer": lambda x: TABLE[np.sum(x > 0.5) + 0.5] * x[0],
    "a part of one": lambda x: TABLE[(x > 0.5) * 0.5] @ x,
    "a truth value in a tuple": lambda x: (1.0, 2.0)[x[0] > 0.5] * x[0],
    "take": lambda x: np.take(TABLE, x),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_has_a_derivative_or_is_no_integer_is_no_index(name: str) -> None:
    for n in (3, 3000):  # small inputs and constants lie in the arena
        with pytest.raises(numbad.RecordingError, match=r"recording value[\s\S]*int\(x\)"):
            numbad.gradient(REFUSED[name], np.tile([1.0, 2.0, 0.0], n // 3))


def rank_and_closeness(x: Any, own: Any) -> Any:
    """Return a sum that depends on what tolerances say that were computed from the argument."""
    lengths = np.linalg.svd(x, compute_uv=False)
    tolerance = lengths.max() * max(x.shape) * np.finfo(float).eps
    return (
        np.linalg.matrix_rank(x, tol=tolerance) * lengths[0]
        + np.allclose(x, x.T, atol=abs(x[0, 0])) * x[0, 1]
        + np.allclose(own, own.T, rtol=[abs(x[0, 0])] * 3) * x[1, 1]
    )


def test_tolerances_that_were_computed_decide() -> None:
    full = np.random.default_rng(0).normal(size=(3, 3))
    short, loose = full.copy(), full.copy()
    short[2], loose[0, 0] = 2.0 * short[1], 9.0
    points = np.stack([full, short, loose])
    wanted = []
    for x in points:
        u, lengths, v = np.linalg.svd(x)
        slopes = np.linalg.matrix_rank(x, tol=lengths.max() * 3 * np.finfo(float).eps) * np.outer(u[:, 0], v[0])
        slopes[0, 1] += np.allclose(x, x.T, atol=abs(x[0, 0]))
        slopes[1, 1] += np.allclose(full, full.T, rtol=abs(x[0, 0]))
        wanted.append(slopes)
    f = lambda x: rank_and_closeness(x, full)
    fast = numbad.jit(numbad.grad(f))
    for k in (0, 1, 2, 0, 1, 2):
        np.testing.assert_allclose(numbad.gradient(f, points[k]), wanted[k], rtol=1e-10)
        np.testing.assert_allclose(fast(points[k]), wanted[k], rtol=1e-10)
    assert fast.paths == 3
    np.testing.assert_allclose(numbad.vmap(numbad.grad(f))(points), wanted, rtol=1e-10)
    with pytest.raises(numbad.BranchError):
        numbad.record(f, full)(loose)
