"""The one parallel loop: it calls a compiled function for each share of its work, by Numba's threads.

The function's address decides what is done, so this is compiled once, whatever it runs.
"""
# mypy: disable-error-code="no-untyped-def"

from __future__ import annotations

import numpy as np
from numba import njit, prange

from numbad.kernels.vectormath import call_at


@njit(parallel=True, error_model="numpy")
def run_shares(body, single, shares, at):
    """Call a function (number, share, table's address) for each share; the number is of single precision or double."""
    for share in prange(shares):
        if single:
            call_at(body, np.float32(0), (share, at))
        else:
            call_at(body, np.float64(0), (share, at))


def shares_at(like, body, single, shares, at):
    """Run all shares of some work. Compiled to a C function."""
    run_shares(np.uint64(body), single, shares, at)
    return np.int64(0)
