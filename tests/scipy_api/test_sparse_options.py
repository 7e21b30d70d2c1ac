"""Products of sparse matrices in every format, and what a sparse matrix cannot hold."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import scipy.fft
import scipy.integrate
import scipy.interpolate
import scipy.ndimage
import scipy.optimize
import scipy.signal
import scipy.sparse
import scipy.sparse.linalg
import scipy.spatial

import numbad
from numbad.errors import RecordingError
from shared.oracle import check_against_numpy

HERE = Path(__file__).name
X = np.array([0.7, 1.3, 0.4, 0.9])
M = np.diag([2.0, 3.0, 4.0, 5.0]) + 0.5 * np.eye(4, k=1)

# ---------------------------------------------------------------- sparse matrices


FORMATS = [
    f"{kind}_{shape}" for kind in ("csr", "csc", "coo", "bsr", "dia", "lil", "dok") for shape in ("array", "matrix")
]


@pytest.mark.parametrize("name", FORMATS)
def test_products_of_sparse_matrices(name):
    S = getattr(scipy.sparse, name)(M)
    check_against_numpy(lambda x: [S @ x, x @ S, S.dot(x), S.T @ x, S @ np.outer(x, x)], X)
    if name.endswith("matrix"):
        check_against_numpy(lambda x: [S * x, x * S], X)
    else:
        check_against_numpy(lambda x: [S + np.outer(x, x), S - np.outer(x, x), np.outer(x, x) - S], X)


@pytest.mark.parametrize("name", FORMATS)
def test_what_sparse_matrices_cannot_hold_is_refused(name):
    S = getattr(scipy.sparse, name)(M)
    refused = [
        lambda x: S.multiply(x), lambda x: S / x, lambda x: S * x[0], lambda x: x[0] * S, lambda x: S / x[0],
        lambda x: S.maximum(x[0]), lambda x: S > x[0], lambda x: np.multiply(S, x), lambda x: np.dot(S, x),
    ]  # fmt: skip
    if name.endswith("array"):
        refused += [lambda x: S * x, lambda x: x * S]
    else:
        refused += [lambda x: S + np.outer(x, x), lambda x: np.outer(x, x) - S]
    for run in refused:
        with pytest.raises(RecordingError, match=rf"(?s)\n  at .*{HERE}.*\n  do  write S @ x"):
            numbad.jit(run)(X)
