"""Compiled loops behind products and recurrences along an axis."""
# mypy: disable-error-code="no-untyped-def"

from __future__ import annotations

import numpy as np

from numbad.kernels.tables import array_of, compiled
from numbad.kernels.vectormath import absent, rows_of


@compiled
def recurrence(a, b, out):
    """Compute out[r, i] = b[r, i] + a[r, i] * out[r, i - 1], with nothing before the first; -0.0 is absent."""
    for r in range(b.shape[0]):
        last = b[r, 0]
        out[r, 0] = last
        for i in range(1, b.shape[1]):
            if absent(last):
                last = b[r, i]
            else:
                last = b[r, i] + (a[r, i] * last + b.dtype.type(0))
            out[r, i] = last


def recurrence_at(like, a, b, out, rows, width):
    """Run `recurrence`. Compiled to a C function."""
    size = rows * width
    one, other = rows_of(array_of(a, size, like), width), rows_of(array_of(b, size, like), width)
    recurrence(one, other, rows_of(array_of(out, size, like), width))
    return np.int64(0)
