"""Settings, and the search for numbers that are not finite: the op, its line, its operands, where they came from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import numbad
from numbad import NonFiniteError

HERE = Path(__file__).name

NAN = float("nan")


def root(x: Any) -> Any:
    shifted = x - 2.0
    return np.sqrt(shifted) * x


def logs(x: Any) -> Any:
    y = np.log(x)
    return np.sum(np.exp(y) * x)


def corner(x: Any) -> Any:
    return np.sum(np.sqrt(x)) + 1.0


@pytest.fixture(autouse=True)
def quiet() -> Any:
    yield
    assert not numbad.config.debug_nans


def complaint(call: Any) -> str:
    with numbad.debug_nans(), pytest.raises(NonFiniteError) as caught:
        call()
    return str(caught.value)


@pytest.mark.parametrize(
    "call",
    [
        lambda: numbad.gradient(root, 1.0),
        lambda: numbad.value_and_gradient(root, 1.0),
        lambda: numbad.jit(root)(1.0),
        lambda: numbad.jit(numbad.grad(root))(1.0),
        lambda: numbad.record(root, 3.0)(1.0),
        lambda: numbad.record(root, 3.0).gradient(1.0),
        lambda: numbad.grad(numbad.grad(root))(1.0),
        lambda: numbad.jvp(root, (1.0,), (1.0,)),
        lambda: numbad.jacobian(root, np.array([3.0, 1.0])),
        lambda: numbad.hessian(lambda x: np.sum(root(x)))(np.array([3.0, 1.0])),
    ],
)
def test_the_first_value_is_named_with_its_line(call: Any) -> None:
    text = complaint(call)
    assert "sqrt(-1) is nan" in text
    assert HERE in text
    assert "return np.sqrt(shifted) * x" in text
    assert "np.where before the op" in text


def test_rows_that_a_transform_wrote_have_the_line_of_its_call() -> None:
    for call in (
        lambda: numbad.vmap(root)(np.array([3.0, 1.0])),
        lambda: numbad.jit(numbad.jacrev(lambda x: root(x) / x))(np.array([3.0, 1.0])),
    ):
        text = complaint(call)
        assert "sqrt(-1) is nan" in text
        assert HERE in text


@pytest.mark.parametrize("size", [3, 3000, 100_000])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_elements_of_arrays_are_named(size: int, dtype: Any) -> None:
    x = np.ones(size, dtype)
    x[size - 2] = 0.0
    for call in (lambda: numbad.gradient(logs, x), lambda: numbad.jit(logs)(x), lambda: numbad.record(logs, x)(x)):
        text = complaint(call)
        assert f"log(0) is -inf in element {size - 2}" in text
        assert "y = np.log(x)" in text


def test_a_nan_in_the_input_is_said_to_be_there() -> None:
    x = np.array([1.0, NAN, 2.0])
    for call in (lambda: numbad.gradient(logs, x), lambda: numbad.jit(numbad.grad(logs))(x)):
        assert complaint(call).startswith("nan was in the input already; row 0: log(nan)")
    tape = numbad.record(logs, np.ones(3))
    assert complaint(lambda: tape(x)).startswith("x[1] was nan in the input already")
    assert "nan was in the input already" in complaint(lambda: numbad.gradient(root, NAN))
    assert "a constant of the function is inf" in complaint(lambda: numbad.gradient(lambda x: x * float("inf"), 1.0))
    assert "look where that number comes from" in complaint(lambda: tape(x))


@pytest.mark.parametrize(
    ("call", "kind"),
    [
        (lambda: numbad.gradient(corner, 0.0), "cotangent"),
        (lambda: numbad.gradient(corner, np.array([1.0, 0.0])), "cotangent"),
        (lambda: numbad.jit(numbad.grad(corner))(np.array([1.0, 0.0])), "cotangent"),
        (lambda: numbad.record(corner, np.ones(2)).gradient(np.array([1.0, 0.0])), "cotangent"),
        (lambda: numbad.vjp(corner, 0.0)[1](1.0), "cotangent"),
        (lambda: numbad.jacrev(np.sqrt)(np.array([1.0, 0.0])), "cotangent"),
        (lambda: numbad.jvp(corner, (0.0,), (1.0,)), "tangent"),
    ],
)
def test_the_first_cotangent_or_tangent_is_named(call: Any, kind: str) -> None:
    text = complaint(call)
    assert f"make a {kind} that is not finite" in text
    assert "sqrt(" in text
    assert HERE in text


def test_the_row_of_a_cotangent_is_the_one_that_made_it() -> None:
    def f(x: Any) -> Any:
        for k in range(40):
            x = np.sin(x) + np.arctan(x) * 0.5
            if k == 20:
                x = np.cbrt(x * 0.0) + x
        return np.exp(x) * x

    text = complaint(lambda: numbad.gradient(f, 1.0))
    assert "cbrt(0) is 0" in text
    assert "x = np.cbrt(x * 0.0) + x" in text


def test_what_is_finite_is_left_alone() -> None:
    x = np.array([1.0, 4.0])
    for call in (
        lambda: numbad.gradient(logs, x),
        lambda: numbad.jit(numbad.grad(corner))(x),
        lambda: numbad.hessian(logs)(x),
        lambda: numbad.vmap(root)(x + 2.0),
        lambda: numbad.gradient(lambda x: np.where(x > 0.0, np.sqrt(x), 0.0), 0.0),
    ):
        expected = call()
        with numbad.debug_nans():
            found = call()
        for one, other in zip(np.atleast_1d(found), np.atleast_1d(expected), strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-14)


def test_off_again_nothing_is_looked_at() -> None:
    jitted = numbad.jit(numbad.grad(root))
    complaint(lambda: jitted(1.0))
    assert np.isnan(jitted(1.0))
    assert jitted(4.0) == numbad.gradient(root, 4.0)
    assert jitted.paths == 1, "calls that look for NaNs are recorded for themselves"


def test_tapes_recorded_before_name_their_operands() -> None:
    tape = numbad.record(root, 3.0)
    text = complaint(lambda: tape(1.0))
    assert "the operands are x - 2.0" in text
    assert "record the tape within numbad.debug_nans()" in text
    with pytest.raises(FloatingPointError):
        complaint_free = numbad.debug_nans()
        with complaint_free:
            tape(1.0)


def test_python_kernels_are_named() -> None:
    text = complaint(lambda: numbad.gradient(lambda x: np.linalg.inv(x)[0, 0], np.full((2, 2), NAN)))
    assert "inverse([nan, nan, nan, ..])" in text


def test_a_seed_that_is_not_finite_is_the_callers() -> None:
    pull = numbad.vjp(lambda x: x * 2.0, np.ones(2))[1]
    with numbad.debug_nans(), pytest.raises(NonFiniteError):
        pull(np.array([1.0, NAN]))


@pytest.mark.parametrize(
    "call",
    [
        lambda tape, x: tape.map(x),
        lambda tape, x: tape.gradient_map(x),
        lambda tape, x: tape.optimise(forward_only=True).map(x),
        lambda tape, x: numbad.vmap(numbad.jit(root))(x),
        lambda tape, x: numbad.vmap(numbad.jit(numbad.grad(root)))(x),
    ],
)
def test_points_are_looked_at(call: Any) -> None:
    tape, x = numbad.record(root, 3.0), np.array([3.0, 1.0])
    call(tape, x)
    with numbad.debug_nans(), pytest.raises(NonFiniteError, match="sqrt"):
        call(tape, x)
    with numbad.debug_nans(), pytest.raises(NonFiniteError, match="point 1 of 2: row 1"):
        tape.map(x)


@pytest.mark.usefixtures("usual_limits")
def test_what_an_earlier_run_has_fused_is_no_false_alarm() -> None:
    x = np.linspace(0.1, 1.0, 40000)
    tape = numbad.record(lambda x: np.sum(np.sin(x) ** 2 * np.exp(-x)), x)
    expected = tape.value_and_gradient(x)
    (kept,) = tape.kept["workspaces", True]
    assert kept.execution.groups
    kept.execution.values[40000 + 1 :] = NAN  # results that fused rows leave unwritten
    with numbad.debug_nans():
        value, slope = tape.value_and_gradient(x)
    np.testing.assert_allclose(value, expected[0], rtol=1e-13)
    np.testing.assert_allclose(slope, expected[1], rtol=1e-13)
    assert tape.value_and_gradient(x)[0] == expected[0]


@pytest.mark.parametrize("f", [root, lambda x: np.sum(np.where(x > 0.0, 1.0, np.sqrt(x - 2.0)) * np.ones(3))])
def test_values_that_are_overwritten_are_looked_at_in_time(f: Any) -> None:
    tape = numbad.record(f, 3.0).optimise(forward_only=True)
    with numbad.debug_nans():
        assert tape(3.0) == f(3.0)
        with pytest.raises(NonFiniteError, match=r"row \d: sqrt is -?nan(.|\n)*run the tape that this one was made of"):
            tape(1.0)
