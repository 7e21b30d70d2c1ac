"""The reference of all sweeps: every kind of row against NumPy and closed forms, absence, guards, what it avoids."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import numbad
from numbad.errors import BranchError
from numbad.kernels import calls, loading
from numbad.sweeps import execution
from numbad.tape.layout import ADD, CONTRACT, GATHER, GUARD, GUARD_VALUE, HOST, MAP, SCATTER
from numbad.tapes import reference
from shared.oracle import differences

MATRIX = np.linspace(-1.0, 1.0, 12).reshape(3, 4) ** 3
TALL = np.linspace(-2.0, 2.0, 600).reshape(3, 200)  # kept by reference
POINT = np.array([0.7, -1.3, 2.1])


def numbers(x: Any) -> Any:
    return x[0] * np.exp(x[1]) - np.arctan2(x[2], x[0]) + abs(x[1])


def strides(x: Any) -> Any:
    a = np.sin(np.outer(x, np.arange(1.0, 5.0)))
    return np.sum(a[::-1, ::2] * a[:, 1::2]) + np.sum(np.max(a.T, axis=0) ** 2)


def products(x: Any) -> Any:
    return np.sum(np.tanh(x @ TALL)) + np.einsum("i,ij,kj->", x, MATRIX, MATRIX**2) + x @ x


def places(x: Any) -> Any:
    y = np.zeros(6) * x[0]
    np.add.at(y, [0, 2, 2, 5], np.concatenate([x, x[:1]]) ** 2)
    y[[1, 1]] = x[[0, 2]]
    return np.sum(y**3) + np.sum(x[[2, 0, 0]] * POINT)


def windows(x: Any) -> Any:
    return np.sum(np.lib.stride_tricks.sliding_window_view(np.concatenate([x, x * x]), 4) ** 3)


def kernels(x: Any) -> Any:
    a = np.eye(3) * 4.0 + np.outer(x, x)
    return np.linalg.slogdet(a)[1] + np.sum(np.linalg.solve(a, np.cumsum(x))) + np.sum(np.sort(x) * POINT)


def decisions(x: Any) -> Any:
    y = x * (2.0 if x[0] > 0.0 else 3.0)
    return np.sum(y[: int(x[2])] ** 2)


PROGRAMS = [numbers, strides, products, places, windows, kernels, decisions]


def opcodes(tape: Any) -> set[int]:
    """Return the kinds of rows of a tape: 0 for ops of numbers, MAP for those over arrays."""
    return {0 if code < MAP else MAP if code < 2 * MAP else code for code in tape.code[:, 0].tolist()}


def test_the_programs_have_rows_of_every_kind() -> None:
    found = set().union(*(opcodes(numbad.record(f, POINT)) for f in PROGRAMS))
    assert found == {0, MAP, ADD, CONTRACT, GATHER, SCATTER, HOST, GUARD, GUARD_VALUE}


@pytest.mark.parametrize("f", PROGRAMS)
def test_values_are_those_of_numpy_and_slopes_those_of_differences(f: Callable[[Any], Any]) -> None:
    tape = numbad.record(f, POINT)
    point = POINT * 1.01
    assert reference.run(tape, point) == pytest.approx(float(f(point)), rel=1e-13)
    gradient = reference.gradient(tape, point)
    (expected,) = differences(f, (point,))
    np.testing.assert_allclose(gradient, expected, rtol=2e-8, atol=1e-8)
    direction = np.array([0.3, -1.0, 2.0])
    tangent = reference.pushforward(tape, (point,), (direction,))
    assert tangent == pytest.approx(float(gradient @ direction), rel=1e-12)


@pytest.mark.parametrize("f", PROGRAMS)
def test_single_precision_stays_single(f: Callable[[Any], Any]) -> None:
    point = POINT.astype(np.float32)
    tape = numbad.record(f, point)
    gradient = reference.gradient(tape, point)
    assert gradient.dtype == np.float32
    np.testing.assert_allclose(gradient, reference.gradient(numbad.record(f, POINT), POINT), rtol=2e-5, atol=2e-5)


def test_large_inputs_lie_in_memory_as_the_rows_say() -> None:
    x = np.asfortranarray(np.linspace(-1.0, 1.0, 5600).reshape(70, 80))
    weights = np.arange(5600.0).reshape(70, 80)
    tape = numbad.record(lambda x: np.sum(weights * x * x), x)
    assert tape.inputs[0].space
    np.testing.assert_allclose(reference.gradient(tape, x), 2.0 * weights * x, rtol=1e-14)
    assert reference.pushforward(tape, (x,), (weights,)) == pytest.approx(2.0 * np.sum(weights**2 * x), rel=1e-12)


def test_trees_keep_their_structure() -> None:
    tape = numbad.record(lambda p: {"s": p["a"] * p["b"], "t": 2.0}, {"a": 3.0, "b": np.array([1.0, 2.0])})
    point = {"a": 2.0, "b": np.array([5.0, 7.0])}
    value = reference.run(tape, point)
    assert value["t"] == 2.0
    np.testing.assert_array_equal(value["s"], [10.0, 14.0])
    (bar,) = reference.pullback(tape, (point,), {"s": np.array([1.0, 10.0]), "t": 1.0})
    assert bar["a"] == 75.0
    np.testing.assert_array_equal(bar["b"], [2.0, 20.0])


# ---------------------------------------------------------------- absence


def both(f: Callable[[Any], Any], x: Any) -> tuple[Any, Any]:
    """Return the derivative of f at x by cotangents and by tangents; f is elementwise."""
    tape = numbad.record(f, x)
    ones = np.ones(np.shape(x))[()]
    return reference.pullback(tape, (x,), ones)[0], reference.pushforward(tape, (x,), (ones,))


@pytest.mark.parametrize(
    ("f", "x", "expected"),
    [
        (lambda x: np.where(x > 0.0, np.sqrt(x), 0.0), np.array([0.0, 4.0]), [0.0, 0.25]),
        (lambda x: 0.0 * np.sqrt(x), 0.0, 0.0),
        (lambda x: np.array([0.0, 1.0]) * np.sqrt(x), np.array([0.0, 4.0]), [0.0, 0.25]),
        (lambda x: np.arccos(x) ** 2, 1.0, np.nan),
        (lambda x: np.floor(x) + np.sqrt(x + 0.0 * x), 4.0, 0.25),
    ],
)
def test_absent_times_infinity_is_absent_and_zero_times_infinity_is_not_a_number(f: Any, x: Any, expected: Any) -> None:
    for found in both(f, x):
        np.testing.assert_array_equal(found, expected)
        assert not np.signbit(np.nan_to_num(found)).any()


def test_where_nothing_is_asked_nothing_flows() -> None:
    tape = numbad.record(np.sqrt, np.array([0.0, 4.0]))
    point = (np.array([0.0, 4.0]),)
    np.testing.assert_array_equal(reference.pullback(tape, point, np.array([0.0, 1.0]))[0], [0.0, 0.25])
    np.testing.assert_array_equal(reference.pushforward(tape, point, (np.array([0.0, 1.0]),)), [0.0, 0.25])


# ---------------------------------------------------------------- guards, and what the reference avoids


def test_a_guard_that_does_not_hold_raises() -> None:
    tape = numbad.record(decisions, POINT)
    with pytest.raises(BranchError, match="guards the truth True; it is False here"):
        reference.run(tape, -POINT)
    with pytest.raises(BranchError, match=r"guards the value 2\.0; it is 1\.0 here"):
        reference.run(tape, np.array([1.0, 2.0, 1.5]))


def test_it_uses_none_of_the_compiled_sweeps(monkeypatch: pytest.MonkeyPatch) -> None:
    tapes = [numbad.record(f, POINT) for f in PROGRAMS]
    for tape in tapes:
        tape.ensure_verified()

    def refuse(*_: Any) -> None:
        raise AssertionError("a compiled sweep is asked for")

    for module, name in ((execution, "sweep"), (calls, "sweep"), (loading, "switch")):
        monkeypatch.setattr(module, name, refuse)
    for tape in tapes[:5] + tapes[6:]:  # the rule of one kernel takes a derivative itself
        reference.gradient(tape, POINT)
        reference.pushforward(tape, (POINT,), (POINT,))
