"""Every op of the registry: value and partials against mpmath, NumPy and SciPy, in every kernel that computes it."""

from __future__ import annotations

import copy
import dataclasses
import functools
from typing import Any

import numpy as np
import pytest

import numbad
from numbad.ops import REGISTRY
from numbad.ops.definition import BY_NAME, Op
from numbad.testing import check_op
from shared.op_points import INF, LAYOUTS, NAN, computed, layouts, points
from shared.reference_values import (
    CHECK_POINTS,
    ONLY,
    TOLERANCES,
    reference_partial,
    reference_value,
    ulp_error,
)

VALUE_ULPS, PARTIAL_ULPS = 4.0, 8.0
OPS = pytest.mark.parametrize("op", REGISTRY, ids=lambda op: op.name)
DTYPES = pytest.mark.parametrize("dtype", [np.float64, np.float32], ids=["float64", "float32"])

# ---------------------------------------------------------------- points

NO_RULE = {"stop_gradient"}  # the derivative is zero by decree, not by calculus

# ---------------------------------------------------------------- evaluation


@functools.cache
def references(name: str, single: bool) -> tuple[list[Any], list[tuple[Any, ...]]]:
    """Return mpmath's values and partials at the same points."""
    op = BY_NAME[name]
    at = [tuple(map(float, point)) for point in zip(*points(name, single), strict=True)]
    values = [reference_value(name, *point) for point in at]
    if not op.smooth:
        return values, [(0.0,) * op.arity for _ in at]
    chosen = ONLY.get(name, range(op.arity))
    return values, [tuple(reference_partial(name, p, k) if k in chosen else NAN for k in range(op.arity)) for p in at]


def worst(found: np.ndarray, expected: list[Any], dtype: Any) -> tuple[float, int]:
    """Return the largest error in ulp, and where it is."""
    errors = [ulp_error(float(one), other, dtype) for one, other in zip(found, expected, strict=True)]
    place = int(np.argmax(errors))
    return errors[place], place


# ---------------------------------------------------------------- tolerances


def tolerance(op: Op, dtype: Any) -> tuple[float, float]:
    """Return the ulp that value and partials may be off."""
    return TOLERANCES.get((op.name, np.dtype(dtype).name), (VALUE_ULPS, PARTIAL_ULPS))


def check_values(op: Op, found: np.ndarray, dtype: Any) -> None:
    """Raise unless values agree with mpmath."""
    error, place = worst(found, references(op.name, dtype is np.float32)[0], dtype)
    where = tuple(part[place] for part in points(op.name, dtype is np.float32))
    assert error <= tolerance(op, dtype)[0], f"{op.name}{where} is {found[place]}: {error:.3g} ulp off"


def check_partials(op: Op, found: np.ndarray, dtype: Any) -> None:
    """Raise unless partials agree with the derivatives of mpmath's function."""
    assert len(found) == op.arity
    expected = references(op.name, dtype is np.float32)[1]
    for k in ONLY.get(op.name, range(op.arity)):
        error, place = worst(found[k], [partials[k] for partials in expected], dtype)
        where = tuple(part[place] for part in points(op.name, dtype is np.float32))
        assert error <= tolerance(op, dtype)[1], f"d{op.name}{where}[{k}] is {found[k][place]}: {error:.3g} ulp off"


# ---------------------------------------------------------------- accuracy


@DTYPES
@OPS
def test_values_and_partials_agree_with_mpmath_in_every_kernel(op: Op, dtype: Any) -> None:
    for layout in LAYOUTS:
        values, partials = computed(op.name, layout, dtype)
        check_values(op, values, dtype)
        if op.name in NO_RULE:
            assert not partials.any()
        else:
            check_partials(op, partials, dtype)


@OPS
def test_the_rule_on_numbers_agrees_with_mpmath(op: Op) -> None:
    _, partials = computed(op.name, "symbolic", np.float64)
    if op.name in NO_RULE:
        assert not partials.any()
    else:
        check_partials(op, partials, np.float64)


def test_a_wider_tolerance_has_its_reason_in_the_block() -> None:
    for name, _ in TOLERANCES:
        assert len(BY_NAME[name].note) > 20, f"{name} needs a note that says why it is less accurate"


def test_the_reference_knows_every_op() -> None:
    from shared.reference_values import VALUES

    assert {op.name for op in REGISTRY} <= set(VALUES)


# ---------------------------------------------------------------- mutations


CONSTANT_PAIRS = {"add"}  # both partials are 1: exchanging them changes nothing
MUTATIONS = {
    "times 1.001": lambda partials: 1.001 * partials,
    "sign": lambda partials: -partials,
    "swapped": lambda partials: partials[::-1],
    "not a number": lambda partials: NAN * partials,
    "zero": lambda partials: 0.0 * partials,
}


@OPS
def test_a_mutated_rule_is_caught(op: Op) -> None:
    _, partials = computed(op.name, "scalar", np.float64)
    for name, mutate in MUTATIONS.items():
        with np.errstate(all="ignore"):
            mutant = mutate(partials)
        if op.name in NO_RULE or (not op.smooth and name != "not a number"):
            assert not np.nan_to_num(mutant).any(), "only a rule that is zero throughout has such mutants"
            continue
        if name == "swapped" and (op.arity == 1 or op.name in CONSTANT_PAIRS):
            assert np.array_equal(mutant, partials)
            continue
        with pytest.raises(AssertionError):
            check_partials(op, mutant, np.float64)


@OPS
def test_a_mutated_value_is_caught(op: Op) -> None:
    values, _ = computed(op.name, "scalar", np.float64)
    assert values.any(), "the points must give something other than zero"
    for mutant in (1.001 * values, -values, values + NAN):
        with pytest.raises(AssertionError):
            check_values(op, mutant, np.float64)


# ---------------------------------------------------------------- check_op


@OPS
def test_check_op_passes(op: Op) -> None:
    check_op(op, CHECK_POINTS.get(op.name), () if op.name in NO_RULE else ONLY.get(op.name))


@pytest.mark.parametrize("mutation", ["times 1.001", "sign", "swapped", "not a number"])
@OPS
def test_check_op_catches_a_mutated_rule(op: Op, mutation: str) -> None:
    mutant = dataclasses.replace(op, partials_function=op.partials_function)
    mutant.symbolic_partials = lambda x, y, z: tuple(  # type: ignore[method-assign]
        MUTANT_RULES[mutation](op.symbolic_partials(x, y, z))
    )
    unchanged = op.name in NO_RULE or (not op.smooth and mutation != "not a number")
    if mutation == "swapped" and (op.arity == 1 or op.name in CONSTANT_PAIRS):
        unchanged = True
    if unchanged:
        assert op.name in NO_RULE | CONSTANT_PAIRS or not op.smooth or op.arity == 1
        return
    with pytest.raises(AssertionError, match=op.name):
        check_op(mutant, CHECK_POINTS.get(op.name), ONLY.get(op.name))


MUTANT_RULES = {
    "times 1.001": lambda partials: [1.001 * part for part in partials],
    "sign": lambda partials: [-part for part in partials],
    "swapped": lambda partials: partials[::-1],
    "not a number": lambda partials: [NAN * part for part in partials],
}

# ---------------------------------------------------------------- special values


TINY = 5e-324
SPECIAL = (0.0, -0.0, 1.0, -1.0, 0.5, 2.0, -2.5, INF, -INF, NAN, 1e-310, TINY, 1.7e308, -1.7e308)


def special_operands(op: Op) -> tuple[np.ndarray, ...]:
    """Return all special values, or all pairs of them."""
    if op.name == "gammaln":  # SciPy's is inf at subnormal numbers, where it should be 710 to 745, and -inf at -inf
        return (np.array([number for number in SPECIAL if (abs(number) > 1e-300 or not number) and number > -INF]),)
    if op.arity == 1:
        return (np.array(SPECIAL),)
    x, y = (part.reshape(-1) for part in np.meshgrid(SPECIAL, SPECIAL))
    if op.name == "hurwitz_zeta":  # SciPy's has another domain
        inside = (x > 1.0) & (x < 12.0) & (y > 0.0)
        return x[inside], y[inside]
    return x, y


@pytest.mark.parametrize("layout", ["scalar", "contiguous", "large"])
@OPS
def test_special_values_are_those_of_numpy_and_scipy(op: Op, layout: str) -> None:
    operands = special_operands(op)
    expected = np.asarray(op.evaluate(*operands), np.float64)
    with np.errstate(all="ignore"):
        found = np.asarray(layouts(op, layout, list(operands))[0], np.float64)
    assert np.array_equal(np.isnan(found), np.isnan(expected)), disagreement(op, operands, found, expected)
    infinite = np.isinf(expected)
    assert np.array_equal(found[infinite], expected[infinite]), disagreement(op, operands, found, expected)
    assert np.array_equal(np.isinf(found), infinite), disagreement(op, operands, found, expected)
    finite = np.isfinite(expected)
    with np.errstate(all="ignore"):
        close = np.abs(found - expected) <= 1e-14 * np.abs(expected) + 1e-323
    assert close[finite].all(), disagreement(op, operands, found, expected)


def disagreement(op: Op, operands: tuple[np.ndarray, ...], found: np.ndarray, expected: np.ndarray) -> str:
    """Say where two results differ."""
    with np.errstate(all="ignore"):
        same = (found == expected) | (np.isnan(found) & np.isnan(expected))
        same |= np.abs(found - expected) <= 1e-14 * np.abs(expected) + 1e-323
    lines = [
        f"{op.name}({', '.join(repr(float(part[k])) for part in operands)}) is {found[k]}, not {expected[k]}"
        for k in np.nonzero(~same)[0][:8]
    ]
    return "\n".join(lines)


SIGNED_ZERO = (
    "negative absolute sign square sqrt cbrt sin tan arcsin arctan sinh tanh arcsinh arctanh expm1 log1p rint floor"
    " trunc degrees radians copysign multiply divide identity"
).split()


@pytest.mark.parametrize("layout", ["scalar", "contiguous"])
@pytest.mark.parametrize("name", SIGNED_ZERO)
def test_the_sign_of_zero_is_that_of_numpy(name: str, layout: str) -> None:
    op = BY_NAME[name]
    operands = [np.array([0.0, -0.0, 0.0, -0.0])]
    if op.arity == 2:
        operands.append(np.array([3.0, 3.0, -3.0, -3.0]))
    expected = np.asarray(op.evaluate(*operands), np.float64)
    found = np.asarray(layouts(op, layout, operands)[0], np.float64)
    assert np.array_equal(np.signbit(found), np.signbit(expected)), (found, expected)


# ---------------------------------------------------------------- kinks and borders


# op, point, partials: what is decided where calculus leaves a choice, and the limits at the ends of domains.
BORDERS = [
    ("absolute", (0.0,), (0.0,)),
    ("absolute", (-0.0,), (0.0,)),
    ("sign", (0.0,), (0.0,)),
    ("maximum", (2.0, 2.0), (0.5, 0.5)),
    ("minimum", (2.0, 2.0), (0.5, 0.5)),
    ("fmax", (2.0, 2.0), (0.5, 0.5)),
    ("fmin", (2.0, 2.0), (0.5, 0.5)),
    ("maximum", (-0.0, 0.0), (0.5, 0.5)),
    ("fmax", (NAN, 2.0), (0.0, 1.0)),
    ("fmax", (2.0, NAN), (1.0, 0.0)),
    ("fmin", (NAN, 2.0), (0.0, 1.0)),
    ("fmin", (2.0, NAN), (1.0, 0.0)),
    ("relu", (0.0,), (0.0,)),
    ("sqrt", (0.0,), (INF,)),
    ("sqrt", (-0.0,), (INF,)),
    ("cbrt", (0.0,), (INF,)),
    ("log", (0.0,), (INF,)),
    ("log", (INF,), (0.0,)),
    ("log1p", (-1.0,), (INF,)),
    ("exp", (-INF,), (0.0,)),
    ("exp", (INF,), (INF,)),
    ("arcsin", (1.0,), (INF,)),
    ("arcsin", (-1.0,), (INF,)),
    ("arccos", (1.0,), (-INF,)),
    ("arctanh", (1.0,), (INF,)),
    ("arccosh", (1.0,), (INF,)),
    ("arctan", (INF,), (0.0,)),
    ("arctan", (1e200,), (0.0,)),
    ("tanh", (INF,), (0.0,)),
    ("tanh", (-800.0,), (0.0,)),
    ("sigmoid", (-INF,), (0.0,)),
    ("sigmoid", (INF,), (0.0,)),
    ("softplus", (INF,), (1.0,)),
    ("softplus", (-INF,), (0.0,)),
    ("erf", (INF,), (0.0,)),
    ("ndtr", (-INF,), (0.0,)),
    ("log_ndtr", (INF,), (0.0,)),
    ("hypot", (0.0, 0.0), (0.0, 0.0)),
    ("hypot", (3e200, 4e200), (0.6, 0.8)),
    ("arctan2", (0.0, 0.0), (0.0, 0.0)),
    ("arctan2", (1e-200, 1e-200), (5e199, -5e199)),
    ("power", (0.0, 2.0), (0.0, 0.0)),
    ("power", (0.0, 1.0), (1.0, 0.0)),
    ("power", (0.0, 0.5), (INF, 0.0)),
    ("power", (0.0, 0.0), (0.0, -INF)),
    ("power_by_constant", (0.0, 2.0), (0.0, 0.0)),
    ("power_by_constant", (0.0, 1.0), (1.0, 0.0)),
    ("power_by_constant", (0.0, 0.0), (0.0, 0.0)),
    ("power_by_constant", (-2.0, 3.0), (12.0, 0.0)),
    ("xlogy", (0.0, 0.0), (-INF, 0.0)),
    ("xlog1py", (0.0, -1.0), (-INF, 0.0)),
    ("logaddexp", (INF, INF), (0.5, 0.5)),
    ("logaddexp", (-INF, -INF), (0.5, 0.5)),
    ("logaddexp", (INF, 0.0), (1.0, 0.0)),
    ("logaddexp2", (-INF, 0.0), (0.0, 1.0)),
    ("copysign", (-3.0, 1.0), (-1.0, 0.0)),
    ("copysign", (3.0, -1.0), (-1.0, 0.0)),
    ("heaviside", (0.0, 0.5), (0.0, 0.0)),
]


@pytest.mark.parametrize("layout", ["scalar", "contiguous", "large"])
@pytest.mark.parametrize(("name", "point", "expected"), BORDERS, ids=[f"{n}{p}" for n, p, _ in BORDERS])
def test_partials_at_kinks_and_borders(name: str, point: Any, expected: Any, layout: str) -> None:
    op = BY_NAME[name]
    _, found = layouts(op, layout, [np.array([number]) for number in point])
    np.testing.assert_allclose([float(part[0]) for part in found], expected, rtol=1e-14)


@pytest.mark.parametrize("layout", ["scalar", "contiguous"])
@OPS
def test_nan_gives_nan_or_the_documented_number(op: Op, layout: str) -> None:
    value, partials = layouts(op, layout, [np.array([NAN])] * op.arity)
    expected = op.evaluate(*[np.array([NAN])] * op.arity)
    np.testing.assert_array_equal(np.asarray(value, float), np.asarray(expected, float))
    depends = op.partials_function.__code__.co_argcount > 0
    if depends and op.name not in SELECTIONS:
        assert any(np.isnan(part[0]) for part in partials), "a partial at NaN is NaN"
    else:
        assert all(np.isfinite(part[0]) for part in partials)


SELECTIONS = {"keep", "drop", "maximum", "minimum", "fmax", "fmin", "relu"}


def test_an_op_without_partials_is_refused_by_name() -> None:
    unfinished = copy.copy(BY_NAME["sin"])
    object.__setattr__(unfinished, "partials_function", None)
    for f in (numbad.grad(unfinished), numbad.jit(unfinished), numbad.grad(lambda x: np.sum(unfinished(x)))):
        with pytest.raises(numbad.RecordingError, match=r"the op sin has no partials[\s\S]*@sin\.partials"):
            f(np.float64(2.0))
