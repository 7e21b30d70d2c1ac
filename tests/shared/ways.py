"""Programs on both sides of the limits where one way takes over from another, and their derivatives by NumPy alone."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import scipy.special

import numbad
from numbad.limits import PIECE
from numbad.sweeps.matrix_rows import covers

windows = np.lib.stride_tricks.sliding_window_view
WIDE = 4
KERNEL = np.array([0.5, -1.0, 2.0, 0.25])


def sample(n: int, seed: int = 0) -> np.ndarray:
    """Return numbers between a half and one and a half."""
    return np.random.default_rng(seed).uniform(0.5, 1.5, n)


def close(found: Any, want: Any, rtol: float = 1e-10) -> None:
    """Compare two arrays, or two equal structures of them."""
    if isinstance(want, tuple | list):
        assert len(found) == len(want)
        for one, other in zip(found, want, strict=True):
            close(one, other, rtol)
        return
    assert np.shape(found) == np.shape(want)
    np.testing.assert_allclose(found, want, rtol=rtol, atol=rtol * max(1.0, np.abs(want).max(initial=0.0)))


# ---------------------------------------------------------------- views that overlap


def from_windows(slopes: np.ndarray, n: int) -> np.ndarray:
    """Return the derivatives by the elements of an array for those by its windows."""
    found = np.zeros(n)
    np.add.at(found, windows(np.arange(n), slopes.shape[1]), slopes)
    return found


# A function of the windows, and its derivative by each element of the windows.
OF_WINDOWS: dict[str, tuple[Callable[[Any], Any], Callable[[np.ndarray], np.ndarray]]] = {
    "sums of rows": (lambda w: np.sum(w.sum(axis=1) ** 2), lambda w: 2.0 * np.sum(w, axis=1, keepdims=True) + 0.0 * w),
    "sums of columns": (lambda w: np.sum(w.sum(axis=0) ** 2), lambda w: 2.0 * np.sum(w, axis=0) + 0.0 * w),
    "copies": (lambda w: np.sum(w.copy() ** 3), lambda w: 3.0 * w**2),
    "a product": (lambda w: np.sum((w @ KERNEL) ** 2), lambda w: 2.0 * np.outer(w @ KERNEL, KERNEL)),
    "a transposed product": (
        lambda w: np.sum((w.T @ np.ones(len(w))) ** 2),
        lambda w: 2.0 * np.sum(w, axis=0) + 0.0 * w,
    ),
    "products of both": (lambda w: np.sum((w.T @ w) ** 2), lambda w: 4.0 * w @ (w.T @ w)),
    "elementwise": (lambda w: np.sum(np.sin(w) * w), lambda w: np.cos(w) * w + np.sin(w)),
    "beside a column": (
        lambda w: np.sum(w * w[:, :1]),
        lambda w: np.sum(w, axis=1, keepdims=True) * np.eye(WIDE)[0] + w[:, :1],
    ),
    "a contraction": (lambda w: np.einsum("ij,ij,j->", w, w, KERNEL), lambda w: 2.0 * w * KERNEL),
    "by SciPy": (lambda w: np.sum(scipy.special.k0e(w)), lambda w: scipy.special.k0e(w) - scipy.special.k1e(w)),
    "backwards": (lambda w: np.sum(w[::-1, ::-1] * w), lambda w: 2.0 * w[::-1, ::-1]),
}


def check_a_view_covers_memory_only_if_it_names_each_element() -> None:
    memory = np.zeros(6)
    assert covers(memory.reshape(2, 3), 6)
    assert not covers(np.lib.stride_tricks.as_strided(memory, (2, 3), (8, 8)), 6)  # as many elements, four places


# ---------------------------------------------------------------- blocks that several rows fill


def joined(p: Any, a: np.ndarray) -> Any:
    """Return constants and multiples of two parameters, end to end."""
    return np.concatenate([a, p[0] * a, np.zeros(3), p[1] * a * p[1], a])


def packed(p: Any, a: np.ndarray) -> Any:
    """Return numbers beside a long array."""
    return np.concatenate([np.stack([p[0] * p[1], np.sin(p[0])]), p[1] * a])


def check_jacobians_of_arrays_that_were_joined(length: int) -> None:
    a = sample(length)
    p = np.array([2.0, 3.0])
    none = np.zeros(length)
    tables = {
        joined: np.stack(
            [
                np.concatenate([none, a, np.zeros(3), none, none]),
                np.concatenate([none, none, np.zeros(3), 2.0 * p[1] * a, none]),
            ],
            axis=1,
        ),
        packed: np.stack(
            [np.concatenate([[p[1], np.cos(p[0])], none]), np.concatenate([[p[0], 0.0], a])],
            axis=1,
        ),
    }
    for build, want in tables.items():
        compare_jacobians(lambda p, build=build: build(p, a), p, want)


def compare_jacobians(f: Callable[[Any], Any], p: np.ndarray, want: np.ndarray) -> None:
    """Compare the Jacobian in each mode, twice in one process."""
    some = np.unique(np.linspace(0, len(want) - 1, 7).astype(int))
    for _ in range(2):
        close(numbad.jacfwd(f)(p), want)
        close(numbad.jacrev(lambda p: f(p)[some])(p), want[some])
        close(numbad.jacobian(lambda p: f(p)[some] * 2.0, p), 2.0 * want[some])
    close(numbad.jit(numbad.jacfwd(f))(p), want)
    _, pullback = numbad.vjp(f, p)
    close(numbad.vmap(pullback)(np.eye(len(want))[some])[0], want[some])


# ---------------------------------------------------------------- results of fused groups


def in_rows(x: Any) -> Any:
    y = np.zeros_like(np.stack([x, x, x]))
    y[0], y[1], y[2] = np.sin(x), np.cos(x), np.exp(x)
    return y


RESULTS: dict[str, Callable[[Any], Any]] = {
    "rows that are assigned": in_rows,
    "rows in another order": lambda x: np.stack([np.sin(x), np.cos(x), np.exp(x)])[[2, 0, 1]],
    "rows backwards": lambda x: np.stack([np.sin(x), np.cos(x), np.exp(x)])[::-1],
    "columns": lambda x: np.stack([np.sin(x), np.cos(x), np.exp(x)], axis=1),
    "every other element": lambda x: (np.sin(x) * 2.0)[::2],
    "an element": lambda x: np.exp(np.sin(x))[5],
    "some elements": lambda x: (np.sin(x) * x)[[6, 3, -1]],
    "elements of three arrays": lambda x: np.stack([np.sin(x)[1], np.cos(x)[2], np.exp(x)[3]]),
    "two arrays": lambda x: (np.sin(x) * x, np.cos(x) + 1.0),
    "a group and its sum": lambda x: (np.sin(x), np.sum(np.sin(x) * x)),
    "the middle one": lambda x: [np.cos(np.sin(x) * 2.0), np.sum(np.cos(np.sin(x) * 2.0) ** 2)][0],
    "joined": lambda x: np.concatenate([np.sin(x), np.cos(x)[:3], np.exp(x)]),
}

ENDS: dict[str, tuple[Callable[[Any], Any], Callable[[np.ndarray], np.ndarray]]] = {
    "an element": (lambda x: np.sin(x)[5], lambda x: np.where(np.arange(x.size) == 5, np.cos(x), 0.0)),
    "the first element": (lambda x: (x * x)[0], lambda x: np.where(np.arange(x.size) == 0, 2.0 * x, 0.0)),
    "the last element": (lambda x: np.exp(x)[-1], lambda x: np.where(np.arange(x.size) == x.size - 1, np.exp(x), 0.0)),
    "a sum": (lambda x: np.sum(np.sin(x)), np.cos),
    "a sum before another row": (lambda x: [np.sum(np.sin(x)), np.cos(x) * 2.0][0], np.cos),
}


def check_neighbours_at_the_ends_of_pieces() -> None:
    n = 24 * PIECE
    x = sample(n)
    want = np.zeros(n)
    want[1:] += x[:-1] ** 2
    want[:-1] += 2.0 * x[:-1] * x[1:]
    for _ in range(5):
        close(numbad.gradient(lambda x: np.sum(x[1:] * x[:-1] ** 2), x), want, 1e-14)
        close(numbad.gradient(lambda x: np.sum(x[1:] * x[:-1] * x[:-1]), x), want, 1e-14)


# ---------------------------------------------------------------- numbers beside constant arrays


NUMBERS: dict[str, tuple[Callable[[Any], Any], Callable[[float], float]]] = {
    "a polynomial": (lambda x: np.polyval([1.0, 2.0, 3.0], x), lambda x: 2.0 * x + 2.0),
    "an element": (lambda x: np.array([3.0, 5.0])[1] * x, lambda x: 5.0),
    "a product": (lambda x: np.sum(np.array([1.0, 2.0, 4.0]) * x) ** 2, lambda x: 98.0 * x),
    "a table": (lambda x: sum(c * x**k for k, c in enumerate(np.array([1.0, -2.0, 0.5]))), lambda x: -2.0 + x),
    "a dot product": (lambda x: np.dot(np.array([1.0, 2.0]), np.stack([x, x * x])), lambda x: 1.0 + 4.0 * x),
}


def check_numbers_beside_constant_arrays(name: str) -> None:
    f, slope = NUMBERS[name]
    for x in (1.0, -0.5, 3.0):
        want = slope(x)
        close(numbad.gradient(f, x), want)
        close(numbad.value_and_gradient(f, x), (f(x), want))
        close(numbad.gradient(lambda x, y: f(x) * y, x, 2.0), (2.0 * want, f(x)))
        close(numbad.jit(numbad.grad(f))(x), want)
        close(numbad.derivative(f, x), want)
    tape = numbad.record(f, 0.25)
    close(tape.gradient(1.5), slope(1.5))
    close(tape.value_and_gradient(1.5), (f(1.5), slope(1.5)))
    close(pickle.loads(pickle.dumps(tape)).gradient(-1.5), slope(-1.5))
    points = np.linspace(-1.0, 2.0, 70)
    close(tape.gradient_map(points), np.array([slope(x) for x in points]))
    close(numbad.vmap(numbad.grad(f))(points), np.array([slope(x) for x in points]))
    fast = numbad.jit(numbad.value_and_grad(f))
    for x in (0.5, 2.0):
        close(fast(x), (f(x), slope(x)))
