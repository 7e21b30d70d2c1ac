"""NumPy's functions on recording arrays: value, shape, dtype and gradient against NumPy and finite differences."""

from __future__ import annotations

import numpy as np
import pytest

from shared.numpy_cases import CASES, FORTRAN, STRIDED, D, M, T, V
from shared.oracle import check_against_numpy

NANS = np.array([[1.0, np.nan, 3.0], [4.0, 5.0, 0.5]])
OPERANDS = {"V": V, "M": M, "T": T, "D": D, "STRIDED": STRIDED, "FORTRAN": FORTRAN}
I3 = np.array([2, 0, 1])


@pytest.mark.parametrize("name", CASES)
def test_value_and_gradient(name):
    function, *arrays = CASES[name]
    check_against_numpy(function, *arrays)


@pytest.mark.parametrize("shape", OPERANDS)
@pytest.mark.parametrize(
    "function", [np.sum, np.mean, np.std, np.max, np.prod, np.ravel, np.linalg.norm], ids=lambda f: f.__name__
)
def test_layouts(function, shape):
    check_against_numpy(function, OPERANDS[shape])
