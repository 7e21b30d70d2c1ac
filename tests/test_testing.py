"""The checkers check: right derivatives pass, each kind of wrong one fails with a message that says where."""

from __future__ import annotations

import functools
import math
from typing import Any

import numpy as np
import pytest

import numbad
from numbad.testing import check_dot_product, check_grads, check_jvp, check_op, check_vjp, difference

POINT = np.array([0.3, -1.2, 2.5])


def smooth(x: Any) -> Any:
    """A function with no symmetry that could hide an error."""
    return np.sum(np.sin(x) * np.exp(0.5 * x)) + x[0] * x[1]


def smooth_gradient(x: Any) -> Any:
    """Its gradient by hand."""
    found = np.exp(0.5 * x) * (np.cos(x) + 0.5 * np.sin(x))
    found[0] += x[1]
    found[1] += x[0]
    return found


def pullback_by_hand(change: Any) -> Any:
    """Return f_vjp of `smooth`, its gradient changed."""

    def f_vjp(x: Any) -> Any:
        return smooth(x), lambda bar: (change(bar * smooth_gradient(x)),)

    return f_vjp


def pushforward_by_hand(change: Any) -> Any:
    """Return f_jvp of `smooth`, its tangent changed."""

    def f_jvp(primals: Any, tangents: Any) -> Any:
        return smooth(primals[0]), change(np.dot(smooth_gradient(primals[0]), tangents[0]))

    return f_jvp


WRONG = {
    "times 1.001": lambda value: 1.001 * value,
    "sign": lambda value: -value,
    "not a number": lambda value: value + math.nan,
    "infinite": lambda value: value + math.inf,
    "zero": lambda value: 0.0 * value,
    "shifted": lambda value: value + 1e-4,
}


def same(value: Any) -> Any:
    """Change nothing."""
    return value


def test_right_derivatives_pass() -> None:
    assert check_vjp(smooth, pullback_by_hand(same), (POINT,)) is None
    assert check_jvp(smooth, pushforward_by_hand(same), (POINT,)) is None


@pytest.mark.parametrize("change", WRONG.values(), ids=WRONG)
def test_a_wrong_vjp_fails(change: Any) -> None:
    with pytest.raises(AssertionError, match="the VJP is"):
        check_vjp(smooth, pullback_by_hand(change), (POINT,))


@pytest.mark.parametrize("change", WRONG.values(), ids=WRONG)
def test_a_wrong_jvp_fails(change: Any) -> None:
    with pytest.raises(AssertionError, match="the JVP is"):
        check_jvp(smooth, pushforward_by_hand(change), (POINT,))


def test_swapped_partials_fail() -> None:
    with pytest.raises(AssertionError, match="the VJP is"):
        check_vjp(smooth, pullback_by_hand(lambda bar: bar[[1, 0, 2]]), (POINT,))


@pytest.mark.parametrize("place", [0, 1, 2])
@pytest.mark.parametrize("factor", [1.001, -1.0, math.nan])
def test_an_error_in_one_element_fails(place: int, factor: float) -> None:
    def change(bar: Any) -> Any:
        bar = bar.copy()
        bar[place] *= factor
        return bar

    with pytest.raises(AssertionError, match="the VJP is"):
        check_vjp(smooth, pullback_by_hand(change), (POINT,))


@pytest.mark.parametrize("factor", [1.001, -1.0, math.nan])
def test_single_precision_errors_of_a_thousandth_fail(factor: float) -> None:
    point = POINT.astype(np.float32)
    check_vjp(smooth, pullback_by_hand(lambda bar: bar.astype(np.float32)), (point,))
    with pytest.raises(AssertionError, match="the VJP is"):
        check_vjp(smooth, pullback_by_hand(lambda bar: (factor * bar).astype(np.float32)), (point,))


def test_a_wrong_value_fails() -> None:
    with pytest.raises(AssertionError, match="the value that the VJP returns"):
        check_vjp(smooth, lambda x: (smooth(x) * 1.001, lambda bar: (bar * smooth_gradient(x),)), (POINT,))


def test_a_wrong_shape_fails() -> None:
    with pytest.raises(AssertionError, match="the VJP has 2 elements; the inputs have 3"):
        check_vjp(smooth, pullback_by_hand(lambda bar: bar[:2]), (POINT,))


def test_nan_on_both_sides_is_no_agreement() -> None:
    with pytest.raises(AssertionError, match="the function is nan at the point"):
        check_vjp(lambda x: x * math.nan, lambda x: (x * math.nan, lambda bar: (bar * math.nan,)), (1.0,))
    with pytest.raises(AssertionError, match="the function is inf at the point"):
        check_grads(lambda x: x / 0.0 if isinstance(x, np.ndarray) else math.inf, (1.0,), modes=["rev"])
    with pytest.raises(AssertionError, match="not finite"):
        check_grads(np.sin, (math.nan,), modes=["rev"])


def test_a_kink_is_not_passed_over() -> None:
    with pytest.raises(AssertionError, match="the VJP is 2"):
        check_grads(lambda x: np.maximum(x, 0.0) * 3.0 if x < 0 else 2.0 * x, (1e-300,), modes=["rev"], atol=0.0)


def test_a_border_of_the_domain_is_said() -> None:
    with pytest.raises(AssertionError, match="do not settle"):
        check_grads(np.sqrt, (0.0,), modes=["rev"])


def test_noise_is_said() -> None:
    state = [0]

    def noisy(x: Any) -> Any:
        state[0] += 1
        return np.sin(x) * (1.0 + 1e-3 * math.sin(7.0 * state[0]))

    with pytest.raises(AssertionError, match="do not settle"):
        check_vjp(noisy, lambda x: (noisy(x), lambda bar: (bar * np.cos(x),)), (1.0,))


@pytest.mark.parametrize("modes", [("fwd",), ("rev",), ("fwd", "rev")])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_check_grads_passes(modes: Any, dtype: Any) -> None:
    check_grads(smooth, (POINT.astype(dtype),), modes=modes)
    check_grads(lambda x: np.sin(x) * x[::-1], (POINT.astype(dtype),), modes=modes)


def test_check_grads_takes_trees() -> None:
    def f(parameters: Any, x: float) -> Any:
        hidden = np.tanh(parameters["W"] @ POINT + parameters["b"])
        return {"sum": np.sum(hidden) * x, "parts": [hidden, x * x]}

    parameters = {"W": np.arange(6.0).reshape(2, 3) / 7.0, "b": np.array([0.1, -0.2])}
    check_grads(f, (parameters, 0.7))


def test_check_grads_of_many_inputs_by_random_combinations() -> None:
    x = np.linspace(-1.0, 1.0, 100)
    check_grads(lambda x: np.sum(np.sin(x) * x), (x,))

    def f_vjp(factor: float) -> Any:
        return lambda x: (np.sum(np.sin(x) * x), lambda bar: (factor * bar * (np.cos(x) * x + np.sin(x)),))

    check_vjp(lambda x: np.sum(np.sin(x) * x), f_vjp(1.0), (x,))
    for factor in (1.001, -1.0, math.nan):
        with pytest.raises(AssertionError):
            check_vjp(lambda x: np.sum(np.sin(x) * x), f_vjp(factor), (x,))


@pytest.mark.parametrize("modes", [("fwd",), ("rev",), ("fwd", "rev")])
def test_check_grads_of_second_order(modes: Any) -> None:
    check_grads(lambda x: np.sum(np.sin(x) * x[0]), (POINT,), order=2, modes=modes)


@pytest.mark.parametrize("change", [WRONG["times 1.001"], WRONG["sign"], WRONG["not a number"]])
def test_check_grads_catches_a_wrong_mode(change: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    vjp, jvp = numbad.vjp, numbad.jvp

    def wrong_vjp(f: Any, *primals: Any) -> Any:
        value, pullback = vjp(f, *primals)
        return value, lambda bar: tuple(change(part) for part in pullback(bar))

    def wrong_jvp(f: Any, primals: Any, tangents: Any) -> Any:
        value, tangent = jvp(f, primals, tangents)
        return value, change(tangent)

    with monkeypatch.context() as patch:
        patch.setattr(numbad, "vjp", wrong_vjp)
        with pytest.raises(AssertionError, match="VJP"):
            check_grads(smooth, (POINT,))
        with pytest.raises(AssertionError, match=r"<J v, w>"):
            check_dot_product(smooth, (POINT,))
        check_grads(smooth, (POINT,), modes=["fwd"])
    with monkeypatch.context() as patch:
        patch.setattr(numbad, "jvp", wrong_jvp)
        with pytest.raises(AssertionError, match="JVP"):
            check_grads(smooth, (POINT,))
        with pytest.raises(AssertionError, match=r"<J v, w>"):
            check_dot_product(smooth, (POINT,))
        check_grads(smooth, (POINT,), modes=["rev"])


def test_check_grads_catches_a_wrong_second_derivative() -> None:
    """A rule whose first derivative is right and whose second is not: the cube held constant in its own slope."""

    def wrong(x: Any) -> Any:
        frozen = numbad.stop_gradient(x)
        return 3.0 * frozen**2 * (x - frozen) + frozen**3

    check_grads(lambda x: x**3, (1.5,), order=2)
    assert numbad.gradient(wrong, 1.5) == pytest.approx(6.75)
    second = numbad.gradient(lambda x: numbad.gradient(wrong, x), 1.5)
    with pytest.raises(AssertionError, match="the VJP is"):
        check_vjp(
            lambda x: numbad.gradient(lambda y: y**3, x),
            lambda x: (numbad.gradient(wrong, x), lambda bar: (bar * second,)),
            (1.5,),
        )


def test_check_grads_refuses_nonsense() -> None:
    with pytest.raises(ValueError, match="modes are"):
        check_grads(np.sin, (1.0,), modes=("forward",))
    with pytest.raises(ValueError, match="modes are"):
        check_grads(np.sin, (1.0,), modes="rev")
    with pytest.raises(ValueError, match="the order is 0"):
        check_grads(np.sin, (1.0,), order=0)
    with pytest.raises(AssertionError, match="a str is neither a number nor an array"):
        check_grads(lambda x: "text", (1.0,))


def test_partial_functions_work_as_documented() -> None:
    check_jvp(smooth, functools.partial(numbad.jvp, smooth), (POINT,))
    check_vjp(smooth, functools.partial(numbad.vjp, smooth), (POINT,))


def test_check_op_takes_points_and_operands() -> None:
    from numbad.ops.definition import BY_NAME

    check_op(BY_NAME["log"], (np.array([0.5, 1.0, 30.0]),))
    with pytest.raises(AssertionError, match=r"jv: the partial 0 is nan"):
        check_op(BY_NAME["jv"], (np.array([1.0]), np.array([2.0])))
    check_op(BY_NAME["jv"], (np.array([1.0]), np.array([2.0])), operands=(1,))


@pytest.mark.parametrize(
    ("function", "point", "derivative"),
    [
        (np.exp, 1.0, math.exp(1.0)),
        (lambda x: np.sin(1000.0 * x), 0.3, 1000.0 * math.cos(300.0)),
        (np.log, 1e-7, 1e7),
        (lambda x: x**3, 0.0, 0.0),
        (np.abs, 0.01, 1.0),
        (lambda x: 0.0 * x, 2.0, 0.0),
        (np.sqrt, 1e-12, 5e5),
    ],
)
def test_difference_quotients_are_accurate_and_know_their_error(function: Any, point: float, derivative: float) -> None:
    estimate, error = difference(function, np.array([point]), np.array([1.0]))
    assert abs(estimate[0] - derivative) <= 1e-8 * max(abs(derivative), 1.0)
    assert abs(estimate[0] - derivative) <= error[0] + 1e-12 * abs(derivative)


def test_derivatives_that_cancel_to_zero_pass() -> None:
    """The derivative of f f' is constant for a square root: what is left of it is rounding, in both modes."""
    for x in (0.03, 0.4, 2.7, 6.4, 300.0):
        check_grads(lambda x: 3.0 * np.sqrt(x), (x,), order=2)
        check_grads(lambda x: 3.0 * np.sqrt(x), (np.array([x, 2.0 * x]),), order=2)
