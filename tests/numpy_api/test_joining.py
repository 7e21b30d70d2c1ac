"""Putting arrays together by keys, as np.r_ and np.c_ do."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

import numbad
from numbad.errors import RecordingError
from shared.oracle import check_against_numpy

KEYS = {
    "a number": lambda x: np.r_[x, 1.0],
    "numbers": lambda x: np.r_[x[0], 2, x[1], True],
    "an array and lists": lambda x: np.r_[0.5, x, [1.0, 2.0], [x[0], 3.0]],
    "columns": lambda x: np.c_[np.zeros(3), x, np.ones((3, 2)) * x[0]],
    "one column": lambda x: np.c_[x],
    "columns of a matrix": lambda x: np.c_[np.outer(x, x), x],
    "numbers as columns": lambda x: np.c_[x[0], 2.0],
    "ranges": lambda x: np.r_[x, 0:3, 0:1:3j],
    "a range as a column": lambda x: np.c_[0:3, x],
    "rows": lambda x: np.r_["0,2", x, x * 2.0, np.ones(3)],
    "columns by axes": lambda x: np.r_["1,2,0", x, np.ones(3)],
    "an axis": lambda x: np.r_["-1", np.outer(x, x), np.ones((3, 1))],
    "three axes": lambda x: np.r_["0,3,1", x, np.ones(3)],
    "three axes from behind": lambda x: np.r_["0,3,-2", np.outer(x, x), np.ones((3, 3))],
}


@pytest.mark.parametrize("name", KEYS)
def test_what_is_put_together_by_keys(name: str) -> None:
    """np.r_ and np.c_ ask nothing for a protocol: what they made were objects, which np.exp does not take."""
    x = np.array([0.3, 0.5, 0.8])
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # no recording array is converted
        check_against_numpy(lambda x: np.exp(KEYS[name](x)), x)
    single = x.astype(np.float32)
    assert numbad.jit(KEYS[name])(single).dtype == KEYS[name](single).dtype


def test_keys_of_matrices_are_refused() -> None:
    with pytest.raises(RecordingError, match=r"np\.r_: 'c' among what is put together is not recorded"):
        numbad.gradient(lambda x: np.sum(np.r_["c", x]), np.ones(3))


def test_keys_of_plain_arrays_are_numpys_own() -> None:
    assert numbad.gradient(lambda x: np.sum(np.r_["c", [1.0, 2.0]]) * x, 2.0) == 3.0


def test_axes_that_cannot_begin_so_late_are_numpys_error() -> None:
    join = lambda x: np.r_["0,3,2", x, x]
    with pytest.raises(ValueError, match=r"ax[ei]s"):
        join(np.ones((2, 3)))
    with pytest.raises(ValueError, match=r"ax[ei]s"):
        numbad.gradient(lambda x: np.sum(join(x)), np.ones((2, 3)))
