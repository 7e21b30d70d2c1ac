"""Compiled loops behind products and recurrences along an axis."""
# mypy: disable-error-code="no-untyped-def"

from __future__ import annotations

import numpy as np
from numba import njit


@njit(nogil=True, cache=True, error_model="numpy")
def recurrence(a, b, out):
    """Compute out[r, i] = b[r, i] + a[r, i] * out[r, i - 1], with nothing before the first; -0.0 is absent."""
    for r in range(b.shape[0]):
        last = b[r, 0]
        out[r, 0] = last
        for i in range(1, b.shape[1]):
            if last == 0.0 and np.signbit(last):  # absent
                last = b[r, i]
            else:
                last = b[r, i] + (a[r, i] * last + 0.0)
            out[r, i] = last
