"""Random programs of twenty and more steps over six numbers, as strategies of Hypothesis."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import strategies as st

MATRIX = np.linspace(-0.9, 1.1, 9).reshape(3, 3)
VECTOR = np.array([0.3, -0.7, 1.1])
LARGEST = 20.0

# ---------------------------------------------------------------- helpers that treat numbers and arrays alike


def shape(a: Any) -> tuple[int, ...]:
    """Return the shape of an array or a number of any kind."""
    return getattr(a, "shape", ())


def plain(a: Any) -> Any:
    """Return an array without axes as its element."""
    return a[()] if isinstance(a, np.ndarray) and not a.ndim else a


def fit(a: Any, b: Any) -> Any:
    """Return b, or its sum where it cannot be broadcast into the shape of a."""
    try:
        if np.broadcast_shapes(shape(a), shape(b)) == shape(a):
            return b
    except ValueError:
        pass
    return np.sum(b) * 0.25


def own(a: Any) -> Any:
    """Return a copy that may be written to."""
    return a * 1.0


# ---------------------------------------------------------------- steps


def scatter_add(a: Any, b: Any, k: int) -> Any:
    y = own(a)
    if not shape(y):
        return y + k
    y[k % len(y)] += np.sum(b) * 0.5
    return y


def write_through_view(a: Any, b: Any, k: int) -> Any:
    if not shape(a):
        return a - 0.5
    view = a[k % len(a) :]
    view *= 0.75
    return view


def write_into_pool(a: Any, b: Any, k: int) -> Any:
    if not shape(a):
        return a * 2.0
    a[::-1][k % len(a)] = fit(a[0], b)
    return a


def shift(a: Any, b: Any, k: int) -> Any:
    y = own(a)
    if not shape(y):
        return y * 1.5
    if k % 2:
        y[1:] += y[:-1]
    else:
        y[:-1] -= 0.5 * y[1:]
    return y


def masked(a: Any, b: Any, k: int) -> Any:
    y = own(a)
    if not shape(y):
        return y if y > 0.1 * k else 0.5 * y
    y[y > 0.1 * k] *= 0.5
    return y


def fancy(a: Any, b: Any, k: int) -> Any:
    if not shape(a):
        return a * a
    n = len(a)
    return a[np.array([k % n, 0, (k + 1) % n])]


def fancy_write(a: Any, b: Any, k: int) -> Any:
    y = own(a)
    if not shape(y):
        return y * 0.5
    n = len(y)
    y[[k % n, (2 * k) % n]] = fit(y[[0, 0]], b)
    return y


def select(a: Any, b: Any, k: int) -> Any:
    b = fit(a, b)
    return plain(np.where(a > 0.1 * k - 0.3, a * 2.0, b + 0.0 * a))


def branch(a: Any, b: Any, k: int) -> Any:
    if np.sum(a) > 0.2 * k:
        return a * 1.25
    if np.sum(b) < 0.0:
        return a - fit(a, b)
    return np.sin(a)


def loop(a: Any, b: Any, k: int) -> Any:
    y = a
    for _ in range(1 + int(abs(plain(np.sum(np.tanh(b)))) * 1.7) % 4):
        y = 0.5 * y + np.sin(y)
    return y


def while_small(a: Any, b: Any, k: int) -> Any:
    total = np.sum(np.abs(a)) + 0.3
    while total < 4.0:
        total = total * 1.9
    return a * total * 0.2


def matmul(a: Any, b: Any, k: int) -> Any:
    if shape(a) == (2, 3) and shape(b) == (3,):
        return a @ b
    if shape(a) == (2, 3):
        return (a @ MATRIX) if k % 2 else (a.T @ a)[0] * 0.25
    if shape(a) == (3,):
        return (MATRIX @ a) if k % 2 else plain(VECTOR @ a)
    return a * 1.1


def reduce(a: Any, b: Any, k: int) -> Any:
    if not shape(a):
        return a + 1.0
    if len(shape(a)) == 2:
        return [np.sum(a, axis=0), np.max(a, axis=1), np.mean(a, axis=1)][k % 3]
    return plain([np.sum, np.max, np.min, np.mean][k % 4](a))


def reshape(a: Any, b: Any, k: int) -> Any:
    if shape(a) == (6,):
        return a.reshape(2, 3) if k % 2 else a.reshape(3, 2).T
    if len(shape(a)) == 2:
        return a.T if k % 2 else a.reshape(-1)
    return a


def join(a: Any, b: Any, k: int) -> Any:
    if shape(a) == (3,) and shape(b) == (3,):
        return np.concatenate([a, b]) if k % 2 else np.stack([a, b])
    return a * 0.9


def broadcast(a: Any, b: Any, k: int) -> Any:
    if shape(a) == (3,) and shape(b) == (2,):
        return a * b[:, None]
    if shape(a) == (3,):
        return (a[None, :] * np.array([[1.0], [-0.5]])) + 0.0
    return a + 0.25 * fit(a, b)


STEPS = {
    "add": lambda a, b, k: a + fit(a, b),
    "subtract": lambda a, b, k: fit(a, b) - a,
    "multiply": lambda a, b, k: a * fit(a, b),
    "divide": lambda a, b, k: a / (1.0 + fit(a, b) * fit(a, b)),
    "constant": lambda a, b, k: 0.3 * k - a * 1.7,
    "sin": lambda a, b, k: np.sin(a),
    "cos": lambda a, b, k: np.cos(a),
    "tanh": lambda a, b, k: np.tanh(a),
    "exp": lambda a, b, k: np.exp(np.tanh(a)),
    "log": lambda a, b, k: np.log(1.5 + a * a),
    "sqrt": lambda a, b, k: np.sqrt(0.5 + a * a),
    "arctan": lambda a, b, k: np.arctan(a * (k + 1)),
    "power": lambda a, b, k: np.tanh(a) ** (2 + k % 3),
    "abs": lambda a, b, k: np.abs(a) - 0.4,
    "negative": lambda a, b, k: -a,
    "maximum": lambda a, b, k: plain(np.maximum(a, fit(a, b))),
    "minimum": lambda a, b, k: plain(np.minimum(a, 0.2 * k - 0.5 + 0.0 * a)),
    "slice": lambda a, b, k: a[k % 2 :: 1 + k % 3] if shape(a) and len(a) > 1 else a * 1.0,
    "reversed": lambda a, b, k: a[::-1] if shape(a) else a - 1.0,
    "element": lambda a, b, k: a[k % len(a)] if shape(a) else a,
    "scatter_add": scatter_add,
    "write_through_view": write_through_view,
    "write_into_pool": write_into_pool,
    "shift": shift,
    "masked": masked,
    "fancy": fancy,
    "fancy_write": fancy_write,
    "select": select,
    "branch": branch,
    "loop": loop,
    "while_small": while_small,
    "matmul": matmul,
    "reduce": reduce,
    "reshape": reshape,
    "join": join,
    "broadcast": broadcast,
}

Program = list[tuple[str, int, int, int]]


def tamed(a: Any) -> Any:
    """Scale a result down where it has grown large: a branch on values, as users write them."""
    if not shape(a):
        return a * 0.05 if abs(a) > LARGEST else a
    return a * 0.05 if np.max(np.abs(a)) > LARGEST else a


def run(program: Program, x: Any) -> Any:
    """Run a program: each step takes two earlier results, and the sum of all is what it returns."""
    pool = [x * 1.0, x[:3] * 1.0, x[4]]
    for name, i, j, k in program:
        pool.append(tamed(STEPS[name](pool[-1 - i % len(pool)], pool[-1 - j % len(pool)], k)))
    total: Any = 0.0
    for place, part in enumerate(pool):
        total = total + np.sum(part) * (1.0 + 0.1 * place)
    return total


PROGRAMS = st.lists(
    st.tuples(st.sampled_from(sorted(STEPS)), st.integers(0, 5), st.integers(0, 7), st.integers(0, 5)),
    min_size=20,
    max_size=40,
)
POINTS = st.lists(st.floats(-2.0, 2.0, width=32), min_size=6, max_size=6).map(np.array)
