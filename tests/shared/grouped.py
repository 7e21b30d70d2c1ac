"""Programs over arrays that are replayed by machine code of their groups, and random ones to compare."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

import numbad
from numbad.compilation.array_code import find_flags
from numbad.compilation.grouping import Group, Grouping, keep_for_back
from numbad.recording.trees import flatten
from numbad.replay.grouped_machine import GroupedMachine
from numbad.replay.hot import compile_groups
from numbad.tapes.workspaces import rows_of

# Relative to the largest element: other orders of sums, other elementary functions.
ROUNDING = {"d": 1e-12, "f": 2e-5}


def group(jitted: Any) -> GroupedMachine:
    """Compile the path that a jitted function has taken last by its groups, whether it is hot or not."""
    program = next(reversed(jitted.programs.values())).programs[-1]
    machine = compile_groups(program.promotion.path, program.machine)
    assert isinstance(machine, GroupedMachine)
    program.take_machine(machine)
    return machine


def agree(f: Any, *points: Any, transform: Any = numbad.value_and_grad, fell: bool = False) -> GroupedMachine:
    """Check the code of groups against the interpreter at some points, the first of which is recorded."""
    before = numbad.config.compile_tapes
    numbad.config.compile_tapes = False
    try:
        interpreted, jitted = numbad.jit(transform(f)), numbad.jit(transform(f))
        jitted(*points[0])
        machine = group(jitted)
        for point in points:
            found, expected = (flatten(call(*point))[0] for call in (jitted, interpreted))
            for one, other in zip(found, expected, strict=True):
                assert np.shape(one) == np.shape(other)
                assert np.asarray(one).dtype == np.asarray(other).dtype
                scale = np.max(np.abs(other), where=np.isfinite(other), initial=1e-300)
                np.testing.assert_allclose(one, other, rtol=0.0, atol=ROUNDING[np.asarray(other).dtype.char] * scale)
            assert machine.fell == fell
    finally:
        numbad.config.compile_tapes = before
    return machine


def grouping_of(f: Any, *arguments: Any, back: bool = True) -> Grouping:
    """Return the rows of a function's tape in groups; `back` says that a gradient is wanted."""
    tape = numbad.record(f, *arguments)
    rows = rows_of(tape)
    flags = find_flags(tape, rows, [True] * len(tape.inputs) if back else None)
    found = Grouping(tape.code, np.array(rows.words, np.int64), flags, {})
    for slot in tape.outputs:
        found.note_reads(slot.address + np.arange(math.prod(slot.shape)))
    if back:
        keep_for_back(found.steps)
    return found


def groups_of(f: Any, *arguments: Any, back: bool = True) -> list[Group]:
    """Return the groups alone."""
    return [step for step in grouping_of(f, *arguments, back=back).steps if isinstance(step, Group)]


# ---------------------------------------------------------------- random programs


def unary(random: np.random.Generator, a: Any, b: Any) -> Any:
    functions = np.sin, np.tanh, np.exp, np.square, np.abs, np.negative, np.arctan
    return functions[random.integers(len(functions))](0.5 * a)


def binary(random: np.random.Generator, a: Any, b: Any) -> Any:
    functions = np.add, np.multiply, np.subtract, np.maximum, np.hypot, lambda x, y: x / (2.0 + y * y)
    return functions[random.integers(len(functions))](a, b)


def broadcast(random: np.random.Generator, a: Any, b: Any) -> Any:
    if a.ndim == 2:
        row, column = a[random.integers(a.shape[0])], a[:, random.integers(a.shape[1])]
        return a * row - column[:, None] if random.integers(2) else a + a.mean(axis=0) * a.sum(axis=1, keepdims=True)
    return a[:, None] * b[None, : a.size] if b.ndim == 1 and a.size * b.size < 4000 else a * a[0] + a[-1]


def reduced(random: np.random.Generator, a: Any, b: Any) -> Any:
    if a.ndim == 2:
        axis = int(random.integers(2))
        found = (np.sum, np.mean, np.max)[random.integers(3)](a, axis=axis)
        return a - np.expand_dims(found, axis) if random.integers(2) else found
    return a * np.sum(a * a) / (1.0 + np.sum(np.abs(b)))


def viewed(random: np.random.Generator, a: Any, b: Any) -> Any:
    if a.ndim == 2:
        return (a.T, a[::-1], a[:, ::2] * 1.0, a.reshape(-1), a[1:] - a[:-1] if len(a) > 1 else a)[random.integers(5)]
    return (a[::-1] * a, a[1:] * a[:-1] if a.size > 1 else a, a[::2], np.concatenate([a, a[:3] * 2.0]))[
        random.integers(4)
    ]


def assigned(random: np.random.Generator, a: Any, b: Any) -> Any:
    y = a * 1.0
    if y.ndim == 2:
        y[: len(y) // 2 + 1, ::2] *= 0.5
        y[0] = y[-1] + 1.0
        y[1:-1, 1:-1] += 0.25 * (y[:-2, 1:-1] - y[2:, 1:-1]) if min(y.shape) > 2 else 0.0
    else:
        y[random.integers(y.size) :] += 0.5
        y[:1] = y[-1:] * 2.0
        y[1:] -= 0.25 * y[:-1]
    return y


def picked(random: np.random.Generator, a: Any, b: Any) -> Any:
    return a[random.integers(0, len(a), random.integers(1, 2 * len(a) + 1))]


def product(random: np.random.Generator, a: Any, b: Any) -> Any:
    if a.ndim == 2:
        return 0.1 * (a @ a.T) if random.integers(2) else 0.1 * (a @ np.cos(np.arange(a.shape[1])))
    return a * (a @ a[::-1]) * 0.1


def chosen(random: np.random.Generator, a: Any, b: Any) -> Any:
    return np.where(a > 0.3, a * a, -a)


def stacked(random: np.random.Generator, a: Any, b: Any) -> Any:
    return np.stack([a, 2.0 * a]) if a.ndim == 1 else np.concatenate([a, a[:1] * a[-1:]])


def solved(random: np.random.Generator, a: Any, b: Any) -> Any:
    n = min(len(a), 7)
    v = a[:n] if a.ndim == 1 else a[:n, 0]
    return np.linalg.solve(np.eye(n) * 3.0 + 0.1 * v[:, None] * v, v)


def scanned(random: np.random.Generator, a: Any, b: Any) -> Any:
    state = a[:1] * 1.0 if a.ndim == 1 else a[0] * 1.0
    for k in range(6):
        state = np.tanh(state * 0.7 + a[k % len(a)] * 0.3)
    return state


STEPS = (
    unary,
    binary,
    broadcast,
    reduced,
    viewed,
    assigned,
    picked,
    product,
    chosen,
    stacked,
    solved,
    scanned,
)


def fit(a: Any, b: Any) -> Any:
    """Return b where it goes with a, else a itself."""
    try:
        np.broadcast_shapes(a.shape, b.shape)
    except ValueError:
        return a
    return b


def random_program(seed: int, steps: int = 12) -> tuple[Callable[..., Any], list[tuple[Any, ...]]]:
    """Return a function of two arrays that ends in a number, and points to try."""
    random = np.random.default_rng(seed)
    shape = tuple(int(n) for n in random.integers(1, (2, 40, 400)[random.integers(3)], 2))
    shape = (shape[0] % 40 + 1, shape[1] % 60 + 1) if random.integers(2) else shape[:1]
    size = int(random.integers(1, 50))

    def f(x: Any, y: Any) -> Any:
        choose = np.random.default_rng(seed + 1)
        pool = [x, y]
        for _ in range(steps):
            a, b = (pool[k] for k in choose.integers(0, len(pool), 2))
            found = STEPS[choose.integers(len(STEPS))](choose, a, fit(a, b))
            if np.ndim(found) in (1, 2) and 0 < np.size(found) < 20000:
                pool.append(np.tanh(found) if choose.integers(4) == 0 else found * 0.5)
        return sum(np.sum(a * a) * (0.5 + k) for k, a in enumerate(pool))

    points = [
        (
            np.random.default_rng(seed + 2 + k).uniform(-0.9, 0.9, shape),
            np.random.default_rng(seed + 9 + k).normal(size=size),
        )
        for k in range(3)
    ]
    return f, points
