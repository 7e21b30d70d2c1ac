"""Tangents and second derivatives of every function in the tables of values and gradients."""

from __future__ import annotations

import pytest
import test_linalg
import test_numpy_api
import test_numpy_api_shapes
from oracle import check_higher

CASES = {
    f"{module.__name__} {name}": case
    for module in (test_numpy_api, test_numpy_api_shapes, test_linalg)
    for name, case in module.CASES.items()
}


@pytest.mark.parametrize("name", CASES)
def test_tangent_and_second_derivative(name):
    function, *arrays = CASES[name]
    check_higher(function, *arrays)
