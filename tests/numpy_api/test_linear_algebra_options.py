"""Every parameter of every function of np.linalg and scipy.linalg is honoured or refused by name."""

from __future__ import annotations

import copy
import inspect
import warnings
from typing import Any

import numpy as np
import pytest
import scipy.linalg

import numbad
from numbad.errors import RecordingError
from numbad.numpy_api.tables import FUNCTIONS
from numbad.scipy_api.tables import TABLE

random = np.random.default_rng(5)
A = random.normal(size=(3, 3)) + 4.0 * np.eye(3)
SPD = A @ A.T + 0.1 * random.normal(size=(3, 3))
B = random.normal(size=(3, 2))
V = random.normal(size=3)
TALL = random.normal(size=(5, 3))
STACK = random.normal(size=(2, 3, 3)) + 4.0 * np.eye(3)
SPREAD = np.linalg.qr(TALL)[0] @ np.diag([3.0, 1.0, 0.1])
BAND = np.stack([np.full(3, 0.3), np.full(3, 4.0), np.full(3, 0.2)])
HALF = np.array([[10.0, 0.5, 0.6], [1.0, 0.3, 10.0]])  # positive definite by either triangle
CHOLESKY = (np.linalg.cholesky(SPD), True)
FACTORS = scipy.linalg.lu_factor(A)
FLAG = (False, True)
ORDERS = (None, "fro", "nuc", 1, -1, 2, -2, np.inf, -np.inf)
STRUCTURES = (
    None,
    "general",
    "diagonal",
    "tridiagonal",
    "banded",
    "upper triangular",
    "lower triangular",
    "pos",
    "sym",
    "her",
)

NUMPY: dict[str, tuple[list[Any], dict[str, tuple[Any, ...]]]] = {
    "matrix_transpose": ([A], {}),
    "diagonal": ([STACK], {"offset": (0, 1, -1)}),
    "trace": ([STACK], {"offset": (0, 1, -1), "dtype": (None, float)}),
    "solve": ([A, B], {}),
    "inv": ([A], {}),
    "pinv": ([SPREAD], {"rcond": (None, 0.2, np.float64(0.2)), "hermitian": (), "rtol": (None, 0.2, 1e-10)}),
    "lstsq": ([SPREAD, TALL[:, 0]], {"rcond": (None, -1, 0.2, 1e-12)}),
    "tensorsolve": ([A, V], {"axes": (None, (0,))}),
    "tensorinv": ([random.normal(size=(4, 2, 2))], {"ind": (1,)}),
    "det": ([A], {}),
    "slogdet": ([A], {}),
    "matrix_power": ([A], {"n": (-2, 0, 1, 3)}),
    "multi_dot": ([[A, B, B.T]], {"out": (None,)}),
    "matrix_rank": ([SPREAD], {"tol": (None, 0.5), "hermitian": (False,), "rtol": (None, 0.2)}),
    "cholesky": ([SPD], {"upper": FLAG}),
    "qr": ([TALL], {"mode": ("reduced", "complete", "r", "raw")}),
    "eigh": ([A], {"UPLO": ("L", "U", "l", "u")}),
    "eigvalsh": ([STACK], {"UPLO": ("L", "U", "l", "u")}),
    "eig": ([SPD], {}),
    "eigvals": ([SPD], {}),
    "svd": ([TALL], {"full_matrices": FLAG, "compute_uv": FLAG, "hermitian": (False,)}),
    "svdvals": ([TALL], {}),
    "norm": ([A], {"ord": ORDERS, "axis": (None, 0, 1, (0, 1), (1, 0)), "keepdims": FLAG}),
    "matrix_norm": ([STACK], {"ord": ORDERS[1:], "keepdims": FLAG}),
    "vector_norm": ([STACK], {"axis": (None, 0, (0, 2)), "ord": (0, 1, 2, 3.5, np.inf, -np.inf), "keepdims": FLAG}),
    "cond": ([A], {"p": ORDERS[:2] + ORDERS[3:]}),
    "matmul": ([A, B], {}),
    "outer": ([V, V], {}),
    "tensordot": ([STACK, A], {"axes": (1, ((2, 1), (0, 1)))}),
    "vecdot": ([A, A], {"axis": (-1, 0)}),
    "cross": ([A, A], {"axis": (-1, 0)}),
}
FINITE = {"check_finite": FLAG}
ONE = FINITE | {"overwrite_a": FLAG}
BOTH = ONE | {"overwrite_b": FLAG}
EIGEN: dict[str, tuple[Any, ...]] = {
    "lower": FLAG,
    "type": (1,),
    "subset_by_index": (None, (0, 1), (1, 2)),
    "subset_by_value": (None, (0.0, 30.0), (-np.inf, np.inf)),
    "driver": (None, "ev", "evd", "evr", "evx"),
}
SCIPY: dict[str, tuple[list[Any], dict[str, tuple[Any, ...]]]] = {
    "solve": ([SPD, B], BOTH | {"lower": FLAG, "assume_a": STRUCTURES, "transposed": FLAG}),
    "solve_triangular": (
        [A, B],
        FINITE | {"overwrite_b": FLAG, "trans": (0, 1, 2, "N", "T", "C"), "lower": FLAG, "unit_diagonal": FLAG},
    ),
    "inv": (
        [SPD],
        ONE | {"assume_a": tuple(k for k in STRUCTURES if k not in ("tridiagonal", "banded")), "lower": FLAG},
    ),
    "det": ([A], ONE),
    "pinv": ([SPREAD], FINITE | {"atol": (None, 0.0, 0.2), "rtol": (None, 0.2), "return_rank": FLAG}),
    "lstsq": ([SPREAD, TALL[:, 0]], BOTH | {"cond": (None, 0.2), "lapack_driver": (None, "gelsd", "gelss", "gelsy")}),
    "solve_banded": ([(1, 1), BAND, B], FINITE | {"overwrite_ab": FLAG, "overwrite_b": FLAG}),
    "solveh_banded": ([HALF, B], FINITE | {"overwrite_ab": FLAG, "overwrite_b": FLAG, "lower": FLAG}),
    "solve_toeplitz": ([V + np.array([4.0, 0.0, 0.0]), V], FINITE),
    "toeplitz": ([V], {"r": (None, [1.0, 2.0])}),
    "circulant": ([V], {}),
    "hankel": ([V], {"r": (None, [1.0, 2.0])}),
    "block_diag": ([A, B], {}),
    "cholesky": ([SPD], ONE | {"lower": FLAG}),
    "cho_factor": ([SPD], ONE | {"lower": FLAG}),
    "cho_solve": ([CHOLESKY, B], FINITE | {"overwrite_b": FLAG}),
    "lu_factor": ([A], ONE),
    "lu_solve": ([FACTORS, B], FINITE | {"overwrite_b": FLAG, "trans": (0, 1, 2)}),
    "lu": ([A], ONE | {"permute_l": FLAG, "p_indices": FLAG}),
    "qr": ([TALL], ONE | {"lwork": (None, 100), "mode": ("full", "r", "economic", "raw"), "pivoting": FLAG}),
    "svd": ([TALL], ONE | {"full_matrices": FLAG, "compute_uv": FLAG, "lapack_driver": ("gesdd", "gesvd")}),
    "svdvals": ([TALL], ONE),
    "eigh": ([A], BOTH | EIGEN | {"b": (None, SPD), "eigvals_only": FLAG}),
    "eigvalsh": ([A], BOTH | EIGEN | {"b": (None, SPD)}),
    "norm": ([A], FINITE | {"ord": ORDERS, "axis": (None, 0, 1, (0, 1)), "keepdims": FLAG}),
    "expm": ([A], {}),
    "logm": ([SPD], {"disp": (True, False)}),
    "sqrtm": ([SPD], {"disp": (True, False), "blocksize": (None, 32)}),
    **{name: ([0.2 * A], {}) for name in ("cosm", "sinm", "tanm", "coshm", "sinhm", "tanhm")},
    "solve_sylvester": ([A, A, A], {}),
    "solve_continuous_lyapunov": ([A, A], {}),
    "solve_lyapunov": ([A, A], {}),
    "solve_discrete_lyapunov": ([0.1 * A, A], {"method": (None, "direct", "bilinear")}),
}
RECORDED = {
    "numpy": {f.__name__: f for f in FUNCTIONS if (f.__module__ or "").startswith("numpy.linalg")},
    "scipy": {name: getattr(scipy.linalg, name) for name in TABLE["scipy.linalg"]},
}
TABLES = {"numpy": NUMPY, "scipy": SCIPY}
CASES = [
    pytest.param(RECORDED[where][name], operands, option, value, id=f"{where}.{name}.{option}={str(value)[:20]}")
    for where, table in TABLES.items()
    for name, (operands, options) in table.items()
    for option, values in options.items()
    for value in values
]


def leaves_of(found: Any) -> list[Any]:
    """Return the arrays and numbers of a result."""
    if isinstance(found, (tuple, list)):
        return [leaf for part in found for leaf in leaves_of(part)]
    return [] if found is None else [found]


@pytest.mark.parametrize(("where", "name"), [(where, name) for where, table in RECORDED.items() for name in table])
def test_the_table_has_every_parameter(where, name):
    operands, options = TABLES[where][name]
    function = RECORDED[where][name]
    given = [k for k, p in inspect.signature(function).parameters.items() if p.kind is not p.VAR_POSITIONAL]
    assert set(given) - set(options) <= set(given[: len(operands)])
    assert set(options) <= set(given)


@pytest.mark.parametrize(("function", "operands", "option", "value"), CASES)
def test_a_parameter_is_honoured_or_refused_by_name(function, operands, option, value):
    settings = {option: value}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        wanted = leaves_of(function(*copy.deepcopy(operands), **settings))

    def run(scale: Any) -> Any:
        *before, last = operands
        last = [part * scale for part in last] if isinstance(last, list) else last * scale
        return leaves_of(function(*before, last, **settings))

    try:
        found = numbad.jit(run)(np.ones(()))
    except RecordingError as error:
        assert option in str(error) or str(value) in str(error)
        return
    assert len(found) == len(wanted)
    for one, two in zip(found, wanted, strict=True):
        assert np.shape(one) == np.shape(two)
        np.testing.assert_allclose(np.asarray(one, float), np.asarray(two, float), rtol=1e-9, atol=1e-12)
