"""scipy.sparse: products of constant sparse matrices with recording arrays."""

from __future__ import annotations

import numpy as np
import scipy.integrate
import scipy.interpolate
import scipy.linalg
import scipy.optimize
import scipy.signal
import scipy.sparse
import scipy.sparse.linalg
import scipy.spatial.distance

import numbad

X = np.array([0.7, 1.3, 0.4])
M = np.array([[0.1, -0.4, 0.9], [1.2, 0.3, -0.8], [-0.5, 0.6, 0.2]])

# ---------------------------------------------------------------- being called by name


def test_a_sparse_matrix_that_changes_later_is_not_seen():
    matrix = scipy.sparse.csr_array(M)

    def f(x):
        first = matrix @ x
        matrix.data *= 2.0
        second = matrix @ x
        matrix.data /= 2.0
        return np.sum(first * first) + np.sum(second)

    wanted = 2.0 * M.T @ (M @ X) + 2.0 * M.sum(axis=0)
    np.testing.assert_allclose(numbad.gradient(f, X), wanted, rtol=1e-14)
