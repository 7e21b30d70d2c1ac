"""Derivatives as rows compared with the partials functions run by Python."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

import numbad
from numbad.emission import linear

VALUES = (0.7, -1.3, 0.0, 2.0, np.inf, -np.inf, np.nan)


@contextmanager
def by_python() -> Iterator[None]:
    """Let Python run the partials functions of all rows."""
    linear.COMPILED = False
    try:
        yield
    finally:
        linear.COMPILED = True


def both(call: Any, *arguments: Any) -> tuple[Any, Any]:
    """Return a result by the compiled passes and by Python."""
    found = call(*arguments)
    with by_python():
        return found, call(*arguments)


def same(found: Any, expected: Any) -> None:
    """Compare to rounding, NaN and infinities included."""
    found, expected = (np.hstack([np.ravel(part) for part in result]) if isinstance(result, (list, tuple)) else result
                       for result in (found, expected))  # fmt: skip
    size = max(1.0, np.max(np.abs(expected), initial=0.0, where=np.isfinite(expected)))
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-13 * size)


# ---------------------------------------------------------------- against the partials functions


def derivatives(op: Any, point: tuple[float, ...]) -> list[Any]:
    """First derivatives of an op by emitted adjoint and tangent, second ones by both orders of them, and lanes."""
    numbers = tuple(range(op.arity))

    def gradients(*x: Any) -> Any:
        return numbad.grad(lambda *x: op(*x) * 1.5, argnums=numbers)(*x)

    found: list[Any] = []
    for k in numbers:
        slope = lambda *x, k=k: gradients(*x)[k]
        value, slopes = numbad.value_and_grad(slope, argnums=numbers)(*point)
        found += [value, *slopes]
        found += numbad.jvp(slope, point, tuple(0.5 + k for k in numbers))
        partial = lambda t, k=k: numbad.jvp(lambda t: op(*point[:k], t, *point[k + 1 :]) - 2.0 * t, (t,), (1.0,))[1]
        found += numbad.value_and_grad(partial)(point[k])
        found += numbad.jacrev(lambda x, k=k: op(*(x[j] for j in numbers)) * x[k])(np.array(point)).tolist()
    return found


def check_op(op: Any) -> None:
    """Compare the compiled passes with Python at ordinary and at extreme points."""
    points = [(x,) for x in VALUES] if op.arity == 1 else [(x, y) for x in VALUES for y in VALUES]
    with np.errstate(all="ignore"):
        for point in points:
            same(*both(derivatives, op, point))
