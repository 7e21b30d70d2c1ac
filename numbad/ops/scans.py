"""Compiled loops behind products and recurrences along an axis."""
# mypy: disable-error-code="no-untyped-def"

from __future__ import annotations

from numba import njit


@njit(nogil=True, cache=True, error_model="numpy")
def recurrence(a, b, out):
    """Compute out[r, i] = b[r, i] + a[r, i] * out[r, i - 1], with nothing before the first."""
    for r in range(b.shape[0]):
        last = b[r, 0] * 0.0
        for i in range(b.shape[1]):
            last = b[r, i] + (a[r, i] * last if last != 0.0 and i > 0 else 0.0)
            out[r, i] = last
