"""Functions that branch, and a count of how often Python runs them."""

from __future__ import annotations

from typing import Any

import numpy as np


def close(found: Any, expected: Any, rtol: float = 1e-12) -> None:
    """Compare shapes and numbers."""
    assert np.shape(found) == np.shape(expected)
    np.testing.assert_allclose(found, expected, rtol=rtol, atol=1e-13)


class Counted:
    """A function and how often Python has run it."""

    def __init__(self, f: Any) -> None:
        self.f, self.runs = f, 0

    def __call__(self, *arguments: Any, **keywords: Any) -> Any:
        self.runs += 1
        return self.f(*arguments, **keywords)


# ---------------------------------------------------------------- paths


def branches(x: Any) -> Any:
    if x > 1.0:
        return x**2
    return -x if x < 0.0 else np.sin(x)


# ---------------------------------------------------------------- the tree of paths


def together(found: Any) -> np.ndarray:
    """Return the numbers of one or several results."""
    return np.hstack(found if isinstance(found, tuple) else [found])


def stairs(x: Any) -> Any:
    total = sum(np.sin(v * 1.5) for v in x)
    for k, v in enumerate(x):
        if v > 0.25 * k:
            total = total * v + 0.5
        if int(4.0 * v) % 3 == 0:
            return total - v
    return total
