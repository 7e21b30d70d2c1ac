"""Jacobians of large constraint sets, twice in one process: `NUMBAD_CHECKED=1 python tests/constraint_sets.py`.

Each set has some 20,000 constraints of 200 variables; the Jacobians are compared with dense ones that NumPy computes by
their formulas. It takes some minutes in the checked build.
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np

import numbad

N = 200


def flows() -> tuple[Any, Any]:
    """Products along 20,000 edges between nodes that are drawn at random."""
    random = np.random.default_rng(0)
    i, j, k = random.integers(0, N, (3, 20_000))
    weight = random.uniform(0.5, 1.5, 20_000)

    def constraints(x: Any) -> Any:
        return weight * x[i] * np.sin(x[j]) - x[k] ** 2

    def jacobian(x: np.ndarray) -> np.ndarray:
        found, rows = np.zeros((20_000, N)), np.arange(20_000)
        np.add.at(found, (rows, i), weight * np.sin(x[j]))
        np.add.at(found, (rows, j), weight * x[i] * np.cos(x[j]))
        np.add.at(found, (rows, k), -2.0 * x[k])
        return found

    return constraints, jacobian


def collocation() -> tuple[Any, Any]:
    """Residuals of 100 trajectories on a fine grid: derivatives by a matrix, dynamics, and joined ends."""
    random = np.random.default_rng(1)
    basis, slopes = random.standard_normal((2, 99, 10))
    points = 20  # trajectories of ten coefficients

    def constraints(x: Any) -> Any:
        table = x.reshape(points, 10)
        values, rates = table @ basis.T, table @ slopes.T
        residual = rates - np.cos(values) * values
        products = (values[:, :, None] * values[:, None, :9]).reshape(points, -1)
        ends = values[1:, 0] - values[:-1, -1]
        return np.concatenate([residual.reshape(-1), products.reshape(-1), ends])

    def jacobian(x: np.ndarray) -> np.ndarray:
        values = x.reshape(points, 10) @ basis.T
        found = []
        for t in range(points):
            part = np.zeros((99, N))
            slope = np.sin(values[t]) * values[t] - np.cos(values[t])
            part[:, 10 * t : 10 * t + 10] = slopes + slope[:, None] * basis
            found.append(part)
        for t in range(points):
            part = np.zeros((99, 9, N))
            one, other = basis[:, None, :], basis[None, :9, :]
            part[:, :, 10 * t : 10 * t + 10] = values[t, :, None, None] * other + values[t, None, :9, None] * one
            found.append(part.reshape(-1, N))
        for t in range(1, points):
            part = np.zeros((1, N))
            part[0, 10 * t : 10 * t + 10], part[0, 10 * t - 10 : 10 * t] = basis[0], -basis[-1]
            found.append(part)
        return np.concatenate(found)

    return constraints, jacobian


def distances() -> tuple[Any, Any]:
    """Distances of all pairs of 100 points of the plane, four times with other offsets, and a sum."""
    one, other = np.triu_indices(100, 1)
    offsets = np.array([0.0, 0.5, 1.0, 2.0])

    def constraints(x: Any) -> Any:
        points = x.reshape(100, 2)
        gaps = points[one] - points[other]
        lengths = np.sqrt(np.sum(gaps**2, axis=1) + 0.25)
        return np.append((lengths[None, :] * np.exp(-offsets[:, None] * lengths)).reshape(-1), np.sum(x))

    def jacobian(x: np.ndarray) -> np.ndarray:
        points = x.reshape(100, 2)
        gaps = points[one] - points[other]
        lengths = np.sqrt(np.sum(gaps**2, axis=1) + 0.25)
        slope = (1.0 - offsets[:, None] * lengths) * np.exp(-offsets[:, None] * lengths)
        rows = np.arange(len(one))
        directions = np.zeros((len(one), N))
        for axis in (0, 1):
            directions[rows, 2 * one + axis] = gaps[:, axis] / lengths
            directions[rows, 2 * other + axis] = -gaps[:, axis] / lengths
        return np.concatenate([(slope[:, :, None] * directions).reshape(-1, N), np.ones((1, N))])

    return constraints, jacobian


def main() -> None:
    """Compare all sets in all modes; raise an AssertionError where they differ."""
    for build in (flows, collocation, distances):
        constraints, jacobian = build()
        fast = numbad.jit(numbad.jacfwd(constraints))
        for turn in range(2):
            x = np.random.default_rng(turn).uniform(0.3, 1.7, N)
            want = jacobian(x)
            for name, run in (
                ("jacfwd", numbad.jacfwd(constraints)),
                ("jit of jacfwd", fast),
                ("jacrev", numbad.jacrev(constraints)),
            ):
                start = time.perf_counter()
                np.testing.assert_allclose(run(x), want, rtol=1e-11, atol=1e-12)
                seconds = time.perf_counter() - start
                print(f"{build.__name__:12} {want.shape} {name:14} turn {turn + 1}: right, {seconds:.1f} s", flush=True)


if __name__ == "__main__":
    main()
