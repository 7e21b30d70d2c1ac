"""The checks are checked: an array op whose rule is wrong by a thousandth, in sign or in one place, is caught."""

from __future__ import annotations

import numpy as np
import pytest

import numbad.numpy_api
from numbad.ops.host import ARRAY_OPS
from shared import matrix_cases, numpy_cases
from shared.oracle import check_against_numpy

CASES = numpy_cases.CASES | matrix_cases.CASES
CAUGHT_BY = {
    "greatest": "max",
    "least": "min",
    "running_sum": "cumsum",
    "linear_recurrence": "",
    "running_product": "cumprod",
    "product": "prod",
    "running_greatest": "maximum.accumulate",
    "running_least": "minimum.accumulate",
    "sort_last": "sort",
    "partition_last": "partition",
    "take_in_order": "",
    "put_in_order": "",
    "pick_knot": "",
    "put_knot": "",
    "convolved_box": "convolve",
    "filtered": "",
    "pick_at": "",
    "put_at": "",
    "interpolation": "interp",
    "solve": "solve",
    "inverse": "inv",
    "determinant": "det",
    "cofactors": "",
    "sign_log_determinant": "slogdet",
    "cholesky": "cholesky",
    "symmetric_eigen": "eigh",
    "symmetric_eigenvalues": "eigvalsh",
    "with_eigenvalues": "",
    "eigenvalue_slopes": "",
    "with_singular_values": "",
    "singular_value_slopes": "",
    "undefined": None,
    "rotation_of_equals": None,
    "rest_of_basis": None,
    "truncated_pseudoinverse": "pinv cut off",
    "real_eigen": "eig",
    "reduced_qr": "qr",
    "singular_values": "svd",
    "singular_values_only": "svdvals",
    "pseudoinverse": "pinv tall",
    "least_squares": "lstsq",
    "agrees": None,
}
OWN = [op for op in ARRAY_OPS.values() if op.primal.__module__.startswith(("numbad.ops", "numbad.numpy_api"))]


def wrong(rule, mutate):
    """Return a rule whose first cotangent is changed."""

    def mutant(*arguments, **settings):
        found = rule(*arguments, **settings)
        first, *rest = found if isinstance(found, tuple) else (found,)
        return (mutate(first), *rest)

    return mutant


def test_every_array_op_is_here():
    assert numbad.numpy_api
    assert {op.name for op in OWN} <= set(CAUGHT_BY)


@pytest.mark.parametrize("mutate", [lambda bar: bar * 1.001, lambda bar: -bar], ids=["scaled", "sign"])
@pytest.mark.parametrize("name", [name for name, case in CAUGHT_BY.items() if case is not None])
def test_mutants_are_caught(name, mutate, monkeypatch):
    op = ARRAY_OPS[name]
    monkeypatch.setattr(op, "vjp_function", wrong(op.vjp_function, mutate))
    case = CAUGHT_BY[name]
    with pytest.raises(AssertionError):
        if case:
            function, *arrays = CASES[case]
            check_against_numpy(function, *arrays, rtol=1e-6, atol=1e-7, value_rtol=1e-9)
        else:
            a, b = matrix_cases.A, matrix_cases.STACK[0]
            operands, settings = {
                "linear_recurrence": ([a, b], {}),
                "filtered": ([a[0], np.append(1.0, a[1, 1:]), b], {}),
                "pick_at": ([a, np.array([0.0, 2.0, 1.0])], {}),
                "put_at": ([a[0], np.array([0.0, 2.0, 1.0])], {"count": 4}),
                "take_in_order": ([a, numbad.stop_gradient(b)], {"kth": None}),
                "put_in_order": ([a, numbad.stop_gradient(b)], {"kth": 1}),
                "pick_knot": ([a[0], b, np.sort(a[1])], {"right": False}),
                "put_knot": ([b, b, np.sort(a[1])], {"right": True}),
                "cofactors": ([a, b], {}),
                "with_eigenvalues": ([a, a[0]], {"upper": True}),
                "eigenvalue_slopes": ([a, b + b.T], {"upper": False}),
                "with_singular_values": ([a, a[0]], {}),
                "singular_value_slopes": ([a, b], {}),
            }[name]
            check_against_numpy(lambda *given: op(*given, **settings), *operands, rtol=1e-6, atol=1e-7)
