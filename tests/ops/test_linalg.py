"""Rules of linear algebra: what takes cotangents back is differentiable itself."""

from __future__ import annotations

import numpy as np
import pytest

import numbad
from numbad.ops import linalg as ops
from numbad.ops import reductions
from shared.matrix_cases import (
    RANK1,
    SINGULAR,
    STACK,
    TALL,
    WIDE,
    A,
    B,
    V,
    positive,
)
from shared.oracle import check_rule_is_differentiable, differences

random = np.random.default_rng(12)

SYMMETRIC = A + A.T


@pytest.mark.parametrize(
    ("op", "operands", "settings"),
    [
        (ops.solve, [A, B], {}),
        (ops.solve, [A, V], {}),
        (ops.inverse, [A], {}),
        (ops.determinant, [A], {}),
        (ops.determinant, [SINGULAR], {}),
        (ops.cofactors, [A], {}),
        (ops.cofactors, [A, SYMMETRIC], {}),
        (ops.cofactors, [RANK1, SYMMETRIC, A], {}),
        (ops.sign_log_determinant, [A], {}),
        (ops.reduced_qr, [TALL], {}),
        (ops.reduced_qr, [WIDE], {}),
        (ops.singular_values, [A], {"full": True}),
        (ops.singular_values_only, [TALL], {}),
        (ops.pseudoinverse, [TALL], {"rtol": 1e-15}),
        (ops.least_squares, [TALL, random.normal(size=5)], {"rcond": 1e-15}),
        (reductions.greatest, [A], {}),
        (reductions.product, [A], {}),
        (reductions.product, [np.array([[1.0, 0.0, 2.0], [0.0, 0.0, 3.0]])], {}),
        (reductions.running_sum, [A], {}),
        (reductions.running_product, [np.array([[1.0, 0.0, 2.0], [2.0, 3.0, 0.5]])], {}),
        (reductions.running_greatest, [A], {}),
        (reductions.linear_recurrence, [A, STACK[0]], {}),
        (reductions.sort_last, [A], {}),
        (reductions.partition_last, [A], {"kth": 1}),
        (reductions.convolution, [V, B[:2, 0]], {"mode": "same"}),
        (reductions.interpolation, [np.array([0.2, 1.4]), np.array([0.0, 1.0, 3.0]), V], {}),
    ],
    ids=lambda part: part.name if hasattr(part, "name") else "",
)
def test_rules_are_differentiable(op, operands, settings):
    check_rule_is_differentiable(op, operands, settings)


@pytest.mark.parametrize(
    "function", [np.linalg.cholesky, lambda a: np.linalg.eigh(a)[0], lambda a: np.linalg.eigh(a)[1] ** 2]
)
def test_symmetric_rules_are_differentiable(function):
    """The second derivative along symmetric directions."""

    def f(x):
        return np.sum(np.sin(function(positive(x))))

    def slope(x):
        return numbad.gradient(f, x)

    w = random.normal(size=(3, 3))
    wanted = differences(lambda x: float(np.sum(w * slope(x))), (A,), 1e-4)[0]
    found = numbad.gradient(lambda x: np.sum(w * numbad.gradient(f, x)), A)
    np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-6)
