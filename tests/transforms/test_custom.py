"""Rules of the user's own: custom_vjp, custom_jvp, stop_gradient, checkpoint and op."""

from __future__ import annotations

import functools
import math
from typing import Any

import numba
import numpy as np
import pytest

import numbad
from numbad import NumbadError, OutputError, RecordingError
from numbad.ops.definition import BY_NAME, REGISTRY
from numbad.recording.recorder import Recorder
from numbad.testing import check_dot_product, check_grads, check_op

X = np.array([0.5, -1.25, 2.0])
Y = np.array([[1.0, -0.5, 0.25], [0.75, 2.0, -1.5]])


def close(found: Any, expected: Any, rtol: float = 1e-12) -> None:
    """Compare shapes and numbers."""
    assert np.shape(found) == np.shape(expected)
    np.testing.assert_allclose(found, expected, rtol=rtol, atol=1e-13)


def with_vjp(backward: Any, f: Any = lambda x: np.sin(x) * 2.0, forward: Any = None, **keywords: Any) -> Any:
    """Return a function `named` with a rule in reverse mode; the rule is ten times the truth unless given."""

    def named(*arguments: Any) -> Any:
        return f(*arguments)

    rule = numbad.custom_vjp(named, **keywords)
    rule.defvjp(forward or (lambda *arguments: (f(*arguments), arguments[-1])), backward)
    return rule


def with_jvp(rule: Any, f: Any = np.sin, **keywords: Any) -> Any:
    """Return a function `named` with a rule in forward mode."""

    def named(*arguments: Any) -> Any:
        return f(*arguments)

    function = numbad.custom_jvp(named, **keywords)
    function.defjvp(rule)
    return function


# ten times the truth, so that it is seen that the rule is used
TENFOLD = with_vjp(lambda x, bar: (20.0 * np.cos(x) * bar,))
TENFOLD_FORWARD = with_jvp(
    lambda primals, tangents: (2.0 * np.sin(primals[0]), 20.0 * np.cos(primals[0]) * tangents[0]),
    lambda x: np.sin(x) * 2.0,
)
BOTH = pytest.mark.parametrize("f", [TENFOLD, TENFOLD_FORWARD], ids=["custom_vjp", "custom_jvp"])


# ---------------------------------------------------------------- what rules do


@BOTH
def test_a_rule_is_used_by_every_transform(f: Any) -> None:
    slope = 20.0 * np.cos(X)
    close(f(X), 2.0 * np.sin(X))
    close(numbad.gradient(lambda x: np.sum(f(x)), X), slope)
    close(numbad.grad(lambda x: np.sum(f(x)))(X), slope)
    assert numbad.grad(f)(0.5) == pytest.approx(20.0 * np.cos(0.5))
    close(numbad.jvp(f, (X,), (Y[0],))[1], slope * Y[0])
    close(numbad.vjp(f, X)[1](Y[0])[0], slope * Y[0])
    close(numbad.linearize(f, X)[1](Y[0]), slope * Y[0])
    close(numbad.jacfwd(f)(X), np.diag(slope))
    close(numbad.jacrev(f)(X), np.diag(slope))
    check_dot_product(f, (X,))
    close(numbad.grad(lambda x: np.sum(f(x * x) * x))(X), 20.0 * np.cos(X**2) * 2.0 * X**2 + 2.0 * np.sin(X**2))


@BOTH
def test_second_derivatives_differentiate_the_rule(f: Any) -> None:
    assert numbad.grad(numbad.grad(f))(0.5) == pytest.approx(-20.0 * np.sin(0.5))
    total = lambda x: np.sum(f(x))
    for hessian in (
        numbad.hessian(total)(X),
        numbad.jacrev(numbad.grad(total))(X),
        numbad.jacfwd(numbad.grad(total))(X),
        numbad.jacrev(numbad.jacfwd(total))(X),
    ):
        close(hessian, np.diag(-20.0 * np.sin(X)))
    close(numbad.hvp(total, X, Y[0]), -20.0 * np.sin(X) * Y[0])
    assert numbad.derivative(f, 0.5, order=3) == pytest.approx(-20.0 * np.cos(0.5))


@BOTH
def test_rules_in_batches_and_replayed(f: Any) -> None:
    close(numbad.vmap(f)(Y), 2.0 * np.sin(Y))
    close(numbad.vmap(numbad.grad(lambda x: np.sum(f(x))))(Y), 20.0 * np.cos(Y))
    close(numbad.grad(lambda y: np.sum(numbad.vmap(f)(y)))(Y), 20.0 * np.cos(Y))
    jitted, slopes = numbad.jit(f), numbad.jit(numbad.grad(lambda x: np.sum(f(x))))
    for x in (X, 2.0 * X):
        close(jitted(x), 2.0 * np.sin(x))
        close(slopes(x), 20.0 * np.cos(x))
    assert jitted.paths == slopes.paths == 1
    close(numbad.jit(numbad.hessian(lambda x: np.sum(f(x))))(X), np.diag(-20.0 * np.sin(X)))


@BOTH
def test_rules_in_single_precision(f: Any) -> None:
    x = X.astype(np.float32)
    found = numbad.grad(lambda x: np.sum(f(x)))(x)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, 20.0 * np.cos(X), rtol=1e-5)


def test_trees_and_several_results() -> None:
    @numbad.custom_vjp
    def tree(d: Any, s: Any) -> Any:
        return {"u": d["a"] * d["b"], "v": (d["a"] ** 2 * s,)}

    def backward(saved: Any, bar: Any) -> Any:
        d, s = saved
        a_bar = bar["u"] * d["b"] + 2.0 * d["a"] * s * bar["v"][0]
        return {"a": a_bar, "b": np.sum(bar["u"] * d["a"])}, np.sum(bar["v"][0] * d["a"] ** 2)

    tree.defvjp(lambda d, s: (tree(d, s), (d, s)), backward)
    total = lambda d, s: np.sum(tree(d, s)["u"] * 2.0) + np.sum(tree(d, s)["v"][0] ** 2)
    plain = lambda d, s: np.sum(d["a"] * d["b"] * 2.0) + np.sum((d["a"] ** 2 * s) ** 2)
    point = {"a": X, "b": 2.0}
    found, expected = numbad.grad(total, (0, 1))(point, 0.3), numbad.grad(plain, (0, 1))(point, 0.3)
    close(found[0]["a"], expected[0]["a"])
    assert found[0]["b"] == pytest.approx(expected[0]["b"])
    assert found[1] == pytest.approx(expected[1])
    found, expected = numbad.hessian(total)(point, 0.3), numbad.hessian(plain)(point, 0.3)
    close(found["a"]["a"], expected["a"]["a"])
    close(found["a"]["b"], expected["a"]["b"])
    check_grads(total, (point, 0.3), order=2)

    @numbad.custom_jvp
    def pair(x: Any, y: Any) -> Any:
        return x * y, np.sum(x)

    @pair.defjvp
    def rule(primals: Any, tangents: Any) -> Any:
        (x, y), (dx, dy) = primals, tangents
        return pair(x, y), (dx * y + x * dy, np.sum(dx))

    check_grads(lambda x, y: np.sum(pair(x, y)[0] ** 2) * pair(x, y)[1], (X, Y[0]), order=2)
    assert rule is pair.rule


def test_cotangents_of_none_are_zero() -> None:
    f = with_vjp(lambda x, bar: (None,))
    close(numbad.grad(lambda x: np.sum(f(x) * x))(X), 2.0 * np.sin(X))
    close(numbad.hessian(lambda x: np.sum(f(x) * x))(X), np.zeros((3, 3)))
    half = with_vjp(lambda saved, bar: (None, bar), lambda x, y: x * y)
    close(numbad.grad(lambda x, y: np.sum(half(x, y)), (0, 1))(X, Y[0])[0], np.zeros(3))
    close(numbad.grad(lambda x, y: np.sum(half(x, y)), (0, 1))(X, Y[0])[1], np.ones(3))
    part = with_vjp(lambda saved, bar: ({"a": bar, "b": None},), lambda d: d["a"] * d["b"])
    found = numbad.grad(lambda d: np.sum(part(d)))({"a": X, "b": Y[0]})
    close(found["a"], np.ones(3))
    close(found["b"], np.zeros(3))


def test_one_rule_for_each_argument() -> None:
    @numbad.custom_jvp
    def product(x: Any, y: Any, z: Any) -> Any:
        return x**2 * y * z

    product.defjvps(lambda t, result, x, y, z: 2.0 * x * y * z * t, None, lambda t, result, x, y, z: result / z * t)
    assert numbad.grad(product, (0, 1, 2))(2.0, 3.0, 0.5) == (6.0, 0.0, 12.0)
    assert numbad.jvp(product, (2.0, 3.0, 0.5), (1.0, 1.0, 1.0)) == (6.0, 18.0)
    nothing = numbad.custom_jvp(lambda x: x**2)
    nothing.defjvps(None)
    close(numbad.jvp(nothing, (X,), (X,))[1], np.zeros(3))
    close(numbad.grad(lambda x: np.sum(nothing(x)))(X), np.zeros(3))


@pytest.mark.parametrize("places", [(0, 2), (-3, -1), (2, 0)])
def test_arguments_without_derivative(places: tuple[int, ...]) -> None:
    f = lambda g, x, n: g(x) * n
    one, two = (np.sin, 2.0) if places != (2, 0) else (2.0, np.sin)
    seen = []

    def backward(a: Any, b: Any, saved: Any, bar: Any) -> Any:
        seen.append((a, b))
        return (7.0 * bar * 2.0,)

    def tangent(a: Any, b: Any, primals: Any, tangents: Any) -> Any:
        seen.append((a, b))
        return rule_of(np.sin, primals[0], 2.0), 14.0 * tangents[0]

    by_vjp = with_vjp(backward, f, lambda g, x, n: (by_vjp(g, x, n), None), nondiff_argnums=places)
    by_jvp = rule_of = with_jvp(tangent, f, nondiff_argnums=places)
    for rule in (by_vjp, by_jvp):
        g = functools.partial(lambda rule, x: rule(np.sin, x, 2.0), rule)
        assert numbad.grad(g)(1.0) == 14.0
        assert numbad.jvp(g, (1.0,), (3.0,))[1] == 42.0
        assert numbad.grad(numbad.grad(lambda x, g=g: g(x) ** 2))(1.0) == 2.0 * 14.0**2
    assert set(seen) == {(one, two)}


def test_keyword_arguments_are_put_in_their_places() -> None:
    @functools.partial(numbad.custom_vjp, nondiff_argnums=(0,))
    def scaled(g: Any, x: Any, n: float = 3.0) -> Any:
        return g(x) * n

    scaled.defvjp(lambda g, x, n: (scaled(g, x, n), (x, n)), lambda g, saved, bar: (bar * 7.0 * saved[1], None))
    assert numbad.grad(lambda x: scaled(np.sin, n=2.0, x=x))(1.0) == 14.0
    assert numbad.grad(lambda x: scaled(np.sin, x=x))(1.0) == 21.0
    assert scaled(g=np.sin, x=0.0) == 0.0


def test_arguments_without_derivative_that_vary_are_refused() -> None:
    power = with_vjp(lambda n, x, bar: (bar * n * x ** (n - 1),), lambda n, x: x**n, nondiff_argnums=0)
    assert numbad.grad(lambda x: power(3, x))(2.0) == 12.0
    assert numbad.grad(numbad.grad(lambda x: power(3, x)))(2.0) == 12.0
    with pytest.raises(RecordingError, match="named: argument 0 is in nondiff_argnums"):
        numbad.grad(lambda x: power(x, 2.0))(3.0)
    with pytest.raises(RecordingError, match="named: argument 0 is in nondiff_argnums"):
        numbad.grad(lambda x: power(x, x))(3.0)
    wrong = with_vjp(lambda n, x, bar: (bar,), nondiff_argnums=4)
    with pytest.raises(ValueError, match="nondiff_argnums is"):
        numbad.grad(wrong)(1.0)


# ---------------------------------------------------------------- rules that are wrong


@pytest.mark.parametrize(
    ("backward", "text"),
    [
        (lambda x, bar: (bar[:2],), r"the rule of named gave a cotangent of shape \(2,\); \(3,\) is wanted"),
        (lambda x, bar: (bar[:, None],), r"the rule of named gave a cotangent of shape \(3, 1\); \(3,\) is wanted"),
        (lambda x, bar: (1.0,), r"the rule of named gave a cotangent of shape \(\); \(3,\) is wanted"),
        (lambda x, bar: ("a",), "the rule of named gave a str as a cotangent"),
        (lambda x, bar: (np.ones(3) * 1j,), "the rule of named gave a ndarray as a cotangent"),
        (lambda x, bar: bar, "the rule of named returned .*; a tuple of 1 cotangents"),
        (lambda x, bar: (bar, bar), "the rule of named returned a tuple of 2; a tuple of 1 cotangents"),
        (lambda x, bar: None, "the rule of named returned a NoneType; a tuple of 1"),
        (lambda x, bar: ((bar, bar),), "the rule of named returned a cotangent of another structure"),
        (lambda x, bar: ({"a": bar},), "the rule of named returned a cotangent of another structure"),
    ],
)
def test_wrong_results_of_a_backward_function_name_the_rule(backward: Any, text: str) -> None:
    f = with_vjp(backward)
    total = lambda x: np.sum(f(x))
    for call in (
        lambda: numbad.gradient(total, X),
        lambda: numbad.hessian(total)(X),
        lambda: numbad.jvp(f, (X,), (X,)),
        lambda: numbad.jacrev(f)(X),
        lambda: numbad.vmap(numbad.grad(total))(Y),
        lambda: numbad.jit(numbad.grad(total))(X),
    ):
        with pytest.raises(NumbadError, match=text):
            call()


@pytest.mark.parametrize(
    ("rule", "text"),
    [
        (lambda p, t: (np.sin(p[0]), t[0][:2]), r"the rule of named gave a tangent of shape \(2,\); \(3,\) is wanted"),
        (lambda p, t: (np.sin(p[0]), 0.0), r"the rule of named gave a tangent of shape \(\)"),
        (lambda p, t: (np.sin(p[0]), None), r"another structure than its result \(0 numbers or arrays for 1\)"),
        (lambda p, t: (np.sin(p[0]), (t[0], t[0])), r"another structure than its result \(2 numbers or arrays for 1\)"),
        (lambda p, t: t[0], "the rule of named returned"),
        (lambda p, t: (1.0, 2.0, 3.0), "the rule of named returned a tuple of 3"),
    ],
)
def test_wrong_results_of_a_forward_rule_name_it(rule: Any, text: str) -> None:
    f = with_jvp(rule)
    total = lambda x: np.sum(f(x))
    for call in (
        lambda: numbad.jvp(f, (X,), (X,)),
        lambda: numbad.gradient(total, X),
        lambda: numbad.hessian(total)(X),
        lambda: numbad.jacfwd(f)(X),
    ):
        with pytest.raises(NumbadError, match=text):
            call()


def test_a_forward_function_that_returns_no_pair() -> None:
    f = with_vjp(lambda x, bar: (bar,), forward=lambda x: np.sin(x) * 2.0)
    with pytest.raises(NumbadError, match="the forward function of named returned"):
        numbad.grad(lambda x: np.sum(f(x)))(X)


def test_a_function_without_rule_works_until_it_is_differentiated() -> None:
    f, g = numbad.custom_vjp(np.tanh), numbad.custom_jvp(np.tanh)
    close(f(X), np.tanh(X))
    close(g(X), np.tanh(X))
    with pytest.raises(NumbadError, match=r"tanh has no rule(.|\n)*call tanh.defvjp\(forward, backward\) first"):
        numbad.grad(f)(1.0)
    with pytest.raises(NumbadError, match=r"tanh has no rule(.|\n)*call tanh.defjvp\(rule\) first"):
        numbad.grad(g)(1.0)


def raises(*_: Any) -> Any:
    raise ZeroDivisionError("in the rule")


def test_an_error_in_a_rule_is_passed_on_with_its_name() -> None:
    identity = lambda x, bar: (bar,)
    for f in (with_vjp(raises), with_vjp(identity, forward=raises), with_jvp(raises), with_vjp(identity, raises)):
        with pytest.raises(ZeroDivisionError, match="in the rule") as caught:
            numbad.grad(lambda x, f=f: np.sum(f(x)))(X)
        assert any("named or its rule" in note for note in caught.value.__notes__)
        assert numbad.recording.recorder.current() is None
        close(numbad.grad(lambda x: np.sum(x**2))(X), 2.0 * X)


def test_a_rule_that_returns_nan_is_believed() -> None:
    f = with_vjp(lambda x, bar: (np.where(x > 0.0, np.nan, bar),))
    found = numbad.grad(lambda x: np.sum(f(x)))(X)
    assert np.isnan(found).tolist() == [True, False, True]
    assert np.isnan(numbad.jvp(with_jvp(lambda p, t: (np.sin(p[0]), t[0] * np.nan)), (X,), (X,))[1]).all()


def overwrite(x: Any) -> None:
    x[...] = 0.0


@pytest.mark.parametrize(
    "f",
    [
        with_vjp(lambda x, bar: (overwrite(x), (bar,))[1]),
        with_vjp(lambda x, bar: (overwrite(bar), (bar,))[1]),
        with_vjp(lambda x, bar: (bar,), lambda x: (overwrite(x), np.sin(x))[1]),
        with_vjp(lambda x, bar: (bar,), forward=lambda x: (overwrite(x), (np.sin(x), x))[1]),
        with_jvp(lambda p, t: (overwrite(p[0]), (np.sin(p[0]), t[0]))[1]),
        with_jvp(lambda p, t: (overwrite(t[0]), (np.sin(p[0]), t[0]))[1]),
    ],
)
def test_a_rule_that_writes_to_what_it_is_given_is_stopped(f: Any) -> None:
    x = X.copy()
    with pytest.raises(ValueError, match="read-only") as caught:
        if isinstance(f, numbad.custom_vjp):
            numbad.gradient(lambda x: np.sum(f(x) * x), x)
        else:
            numbad.jvp(lambda x: f(x) * x, (x,), (x,))
    assert any("copy what is to be changed" in note for note in caught.value.__notes__)
    close(x, X)
    assert x.flags.writeable


def test_values_that_are_not_among_the_arguments_are_refused() -> None:
    f = with_vjp(lambda x, bar: (bar,), lambda x: x)
    with pytest.raises(RecordingError, match="uses a recording value that is not among its arguments"):
        numbad.grad(lambda x: np.sum(with_vjp(lambda y, bar: (bar,), lambda y: y * x)(2.0 * x)))(X)
    with pytest.raises(OutputError, match="returned None"):
        numbad.grad(with_vjp(lambda x, bar: (bar,), lambda x: None))(1.0)
    close(numbad.grad(lambda x: np.sum(f(x) * x))(X), 2.0 * X)


def test_functions_that_numbad_cannot_record() -> None:
    """A rule makes any Python function differentiable: here one that calls math and fills plain arrays."""
    import math

    def f(x: Any) -> Any:
        result = np.empty(len(x))
        for k in range(len(x)):
            result[k] = math.erf(x[k])
        return result

    slope = lambda x, bar: (bar * 2.0 / np.sqrt(np.pi) * np.exp(-(x**2)),)
    rule = with_vjp(slope, f, lambda x: (rule(x), x))
    check_grads(lambda x: np.sum(rule(x) ** 2), (X,), order=2)


# ---------------------------------------------------------------- stop_gradient


def test_stop_gradient() -> None:
    assert numbad.grad(lambda x: x * numbad.stop_gradient(x))(3.0) == 3.0
    assert numbad.grad(lambda d: d["a"] * numbad.stop_gradient(d)["a"])({"a": 3.0}) == {"a": 3.0}
    assert numbad.jvp(lambda x: numbad.stop_gradient(x) * x, (3.0,), (1.0,)) == (9.0, 3.0)
    close(numbad.hessian(lambda x: np.sum(x * numbad.stop_gradient(x**2)))(X), np.zeros((3, 3)))
    close(numbad.hessian(lambda x: np.sum(x**2 * numbad.stop_gradient(x)))(X), np.diag(2.0 * X))
    close(numbad.vmap(numbad.grad(lambda x: np.sum(numbad.stop_gradient(x) * x)))(Y), Y)
    close(numbad.jit(numbad.grad(lambda x: np.sum(numbad.stop_gradient(x) * x)))(X), X)
    close(numbad.grad(lambda x: np.sum(numbad.stop_gradient(x)))(X), np.zeros(3))
    plain = (1, X, "a", None)
    assert numbad.stop_gradient(plain)[1] is X
    assert numbad.stop_gradient(plain)[::2] == (1, "a")


# ---------------------------------------------------------------- checkpoint


def step(x: Any) -> Any:
    for _ in range(20):
        x = np.sin(x) * 1.1 + 0.1 * x
    return x


def chain(f: Any, blocks: int = 12) -> Any:
    def run(x: Any) -> Any:
        for _ in range(blocks):
            x = f(x)
        return np.sum(x**2)

    return run


def sizes_of_recordings(call: Any, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return how many addresses each recording had, in the order in which they ended."""
    found: list[int] = []
    original = Recorder.close

    def close_and_note(self: Recorder) -> None:
        if not self.closed:
            found.append(self.size)
        original(self)

    with monkeypatch.context() as patch:
        patch.setattr(Recorder, "close", close_and_note)
        call()
    return found


def test_checkpoint_gives_the_same_derivatives() -> None:
    plain, saved = chain(step), chain(numbad.checkpoint(step))
    close(numbad.grad(saved)(X), numbad.grad(plain)(X))
    close(numbad.hessian(chain(numbad.checkpoint(step), 3))(X), numbad.hessian(chain(step, 3))(X), rtol=1e-11)
    close(numbad.jvp(saved, (X,), (Y[0],))[1], numbad.jvp(plain, (X,), (Y[0],))[1])
    close(numbad.vmap(numbad.grad(chain(numbad.checkpoint(step), 2)))(Y), numbad.vmap(numbad.grad(chain(step, 2)))(Y))
    close(numbad.jit(numbad.grad(saved))(X), numbad.grad(plain)(X))
    once = numbad.checkpoint(lambda x: np.sin(x) * x)
    assert numbad.derivative(lambda x: once(once(x)), 1.0, order=3) == pytest.approx(
        numbad.derivative(lambda x: np.sin(np.sin(x) * x) * np.sin(x) * x, 1.0, order=3), rel=1e-12
    )
    assert numbad.grad(saved)(X.astype(np.float32)).dtype == np.float32


def test_checkpoint_needs_less_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    x = np.linspace(0.0, 1.0, 300)
    (plain,) = sizes_of_recordings(lambda: numbad.grad(chain(step))(x), monkeypatch)
    saved = sizes_of_recordings(lambda: numbad.grad(chain(numbad.checkpoint(step)))(x), monkeypatch)
    outer, inner = saved[-1], max(saved[:-1])
    assert plain > 12 * 20 * 3 * 300
    assert outer + inner < 0.15 * plain

    def twice(f: Any) -> Any:
        def run(x: Any) -> Any:
            for _ in range(4):
                x = f(x)
            return x

        return numbad.checkpoint(run)

    nested = chain(twice(numbad.checkpoint(step)), 3)
    close(numbad.grad(nested)(x), numbad.grad(chain(step))(x), rtol=1e-11)
    thrice = sizes_of_recordings(lambda: numbad.grad(nested)(x), monkeypatch)
    assert thrice[-1] < 0.6 * outer


def test_checkpoint_passes_everything_through() -> None:
    tree = numbad.checkpoint(lambda d, *, s: {"u": d["a"] * d["b"] * s, "n": 3})
    found = numbad.grad(lambda d: np.sum(tree(d, s=2.0)["u"]) * tree(d, s=1.0)["n"])({"a": X, "b": 5.0})
    close(found["a"], np.full(3, 30.0))
    assert found["b"] == pytest.approx(6.0 * X.sum())
    assert numbad.grad(lambda x: numbad.checkpoint(lambda a, b=1.0: a * b)(2.0 * x, b=x))(3.0) == 12.0
    branch = numbad.checkpoint(lambda x: x**2 if x > 0.0 else x**3)
    assert numbad.grad(branch)(-2.0) == 12.0
    jitted = numbad.jit(numbad.grad(branch))
    assert (jitted(2.0), jitted(-2.0), jitted(3.0)) == (4.0, 12.0, 6.0)
    assert numbad.grad(lambda x: numbad.checkpoint(lambda a, n: a**n)(x, 3))(2.0) == 12.0
    assert branch(3.0) == 9.0


def test_a_checkpoint_may_take_recording_values_from_its_closure() -> None:
    """It is recorded by rows then; jax.checkpoint closes over them too."""
    closing = lambda x: numbad.checkpoint(lambda a: np.sin(a) * x)(2.0 * x)
    plain = lambda x: np.sin(2.0 * x) * x
    for order in (numbad.grad, lambda f: numbad.grad(numbad.grad(f)), lambda f: numbad.jacfwd(numbad.jacrev(f))):
        assert order(closing)(3.0) == pytest.approx(order(plain)(3.0), rel=1e-13)
    assert numbad.jit(numbad.grad(closing))(3.0) == pytest.approx(numbad.grad(plain)(3.0), rel=1e-13)
    close(numbad.vmap(numbad.grad(closing))(X), numbad.vmap(numbad.grad(plain))(X))
    without = numbad.checkpoint(lambda: 2.0)  # no arguments at all
    assert numbad.grad(lambda x: x * without())(3.0) == 2.0


def test_a_forward_rule_may_apply_the_function_to_tangents() -> None:
    """As the rule of a linear function does: its transpose is found without asking for the rule again."""
    matrix = np.array([[1.0, 2.0, 0.5], [0.0, 1.0, 3.0], [4.0, 0.0, 1.0]])
    linear = numbad.custom_jvp(lambda x: matrix @ x)
    linear.defjvp(lambda primals, tangents: (linear(primals[0]), linear(tangents[0])))
    for jacobian in (numbad.jacfwd, numbad.jacrev, lambda f: numbad.jit(numbad.jacrev(f))):
        close(jacobian(linear)(X), matrix)
    close(numbad.hessian(lambda x: np.sum(linear(x) ** 2))(X), 2.0 * matrix.T @ matrix)
    close(numbad.grad(lambda x: numbad.jvp(linear, (X,), (x,))[1] @ X)(X), matrix.T @ X)
    close(numbad.vmap(numbad.grad(lambda x: X @ linear(x)))(Y), np.broadcast_to(matrix.T @ X, Y.shape))


def test_a_rule_that_calls_the_function_at_the_primal_keeps_its_rule_there() -> None:
    """Only what depends on the tangents is taken from the function itself."""
    grows = numbad.custom_jvp(lambda x: np.exp(x))
    grows.defjvp(lambda primals, tangents: (grows(primals[0]), 2.0 * grows(1.0 * primals[0]) * tangents[0]))
    for transform in (numbad.grad, numbad.jacfwd):
        assert transform(grows)(0.5) == pytest.approx(2.0 * np.exp(0.5))
        assert transform(numbad.grad(grows))(0.5) == pytest.approx(4.0 * np.exp(0.5))
        assert transform(numbad.jacfwd(numbad.grad(grows)))(0.5) == pytest.approx(8.0 * np.exp(0.5))


def test_defaults_are_arguments_of_a_rule_and_keywords_alone_are_refused() -> None:
    scaled = numbad.custom_jvp(lambda x, c=2.0: c * x)
    scaled.defjvp(lambda primals, tangents: (scaled(*primals), 10.0 * primals[1] * tangents[0]))
    assert [numbad.grad(scaled)(1.0), numbad.grad(lambda x: scaled(x, c=3.0))(1.0)] == [20.0, 30.0]
    by_vjp = numbad.custom_vjp(lambda x, c=2.0: c * x)
    by_vjp.defvjp(lambda x, c: (by_vjp(x, c), c), lambda c, bar: (10.0 * c * bar, None))
    assert [numbad.grad(by_vjp)(1.0), numbad.grad(lambda x: by_vjp(x, c=3.0))(1.0)] == [20.0, 30.0]

    @numbad.custom_jvp
    def keyword(x: Any, *, c: float = 1.0) -> Any:
        return c * x

    keyword.defjvp(lambda primals, tangents: (keyword(*primals), tangents[0]))
    assert numbad.grad(keyword)(1.0) == 1.0
    with pytest.raises(TypeError, match="keyword: c can only be given by keyword"):
        keyword(1.0, c=2.0)


def test_a_function_with_a_rule_is_a_method_of_its_class() -> None:
    class Model:
        weight = 3.0

        @functools.partial(numbad.custom_vjp, nondiff_argnums=(0,))
        def apply(self, x: Any) -> Any:
            return self.weight * x

    Model.apply.defvjp(lambda self, x: (self.weight * x, None), lambda self, _, bar: (7.0 * bar,))
    assert Model().apply(2.0) == 6.0
    assert numbad.grad(Model().apply)(2.0) == 7.0
    assert numbad.grad(lambda x: Model.apply(Model(), x))(2.0) == 7.0


def test_none_has_no_leaves_for_a_rule() -> None:
    def forward(x: Any, option: Any) -> Any:
        return double(x, option), (x, option)

    double = numbad.custom_vjp(lambda x, option: {"value": np.sin(x["a"]), "nothing": option})
    double.defvjp(forward, lambda saved, bar: ({"a": 5.0 * np.cos(saved[0]["a"]) * bar["value"], "b": None}, None))
    total = lambda x: np.sum(double(x, None)["value"])
    found = numbad.grad(total)({"a": X, "b": None})
    close(found["a"], 5.0 * np.cos(X))
    assert found["b"] is None
    assert double({"a": X, "b": None}, None)["nothing"] is None
    single = numbad.custom_jvp(lambda x, option: (np.sin(x), option))
    single.defjvp(lambda p, t: (single(*p), (5.0 * np.cos(p[0]) * t[0], t[1])))
    value, tangent = numbad.jvp(lambda x: single(x, None), (X,), (X,))
    close(tangent[0], 5.0 * np.cos(X) * X)
    assert (value[1], tangent[1]) == (None, None)
    wrong = numbad.custom_vjp(lambda x: x["a"])
    wrong.defvjp(lambda x: (wrong(x), None), lambda saved, bar: ({"a": bar, "b": bar},))
    with pytest.raises(NumbadError, match="another structure than its argument"):
        numbad.grad(wrong)({"a": 1.0, "b": None})


# ---------------------------------------------------------------- elementwise ops


@pytest.fixture(scope="module")
def soft() -> Any:
    """An op of one operand, and one of two, that exist for the tests of this module."""
    before = len(REGISTRY)

    @numbad.op(domain=numbad.Interval(-np.inf, np.inf))
    def softabs_for_tests(x):
        """Smooth absolute value."""
        return np.sqrt(x * x + 0.25)

    @softabs_for_tests.partials
    def softabs_for_tests_partials(x, z):
        return x / z

    @numbad.op(domain=(numbad.Interval(-np.inf, np.inf), numbad.Interval(-np.inf, np.inf)))
    def wave_for_tests(x, y):
        """Sine of the one times the cosine of the other."""
        return np.sin(x) * np.cos(y)

    @wave_for_tests.partials
    def wave_for_tests_partials(x, y):
        return np.cos(x) * np.cos(y), -np.sin(x) * np.sin(y)

    yield softabs_for_tests, wave_for_tests
    for op in REGISTRY[before:]:
        BY_NAME.pop(op.name, None)
    del REGISTRY[before:]


def test_an_op_of_the_users_own(soft: Any) -> None:
    softabs, wave = soft
    for op in soft:
        check_op(op)
    close(softabs(X), np.sqrt(X**2 + 0.25))
    assert numbad.grad(softabs)(0.5) == pytest.approx(0.5 / np.sqrt(0.5), rel=1e-14)
    assert numbad.grad(wave, (0, 1))(0.5, 0.3) == pytest.approx(
        (np.cos(0.5) * np.cos(0.3), -np.sin(0.5) * np.sin(0.3)), rel=1e-14
    )
    for size in (3, 3000, 100_000):
        x = np.linspace(-2.0, 2.0, size)
        close(numbad.grad(lambda x: np.sum(softabs(x)))(x), x / np.sqrt(x**2 + 0.25))
        close(numbad.grad(lambda x: np.sum(wave(x, 0.3)))(x), np.cos(x) * np.cos(0.3))
        curvature = 0.25 / (x**2 + 0.25) ** 1.5
        close(numbad.hvp(lambda x: np.sum(softabs(x)), x, np.ones(size)), curvature, rtol=1e-10)
    check_grads(lambda x, y: np.sum(wave(softabs(x), y) ** 2), (X, Y[0]), order=2)
    check_grads(lambda x, y: np.sum(wave(x[:, None], y)), (Y[:, 0], Y[0]), order=2)
    assert numbad.derivative(softabs, 0.7, order=3) == pytest.approx(
        numbad.derivative(lambda x: np.sqrt(x * x + 0.25), 0.7, order=3), rel=1e-10
    )
    close(numbad.vmap(numbad.grad(softabs))(X), X / np.sqrt(X**2 + 0.25))
    jitted = numbad.jit(numbad.grad(lambda x: np.sum(softabs(x))))
    close(jitted(X), X / np.sqrt(X**2 + 0.25))
    close(jitted(2.0 * X), 2.0 * X / np.sqrt(4.0 * X**2 + 0.25))
    single = numbad.grad(lambda x: np.sum(softabs(x)))(X.astype(np.float32))
    assert single.dtype == np.float32
    np.testing.assert_allclose(single, X / np.sqrt(X**2 + 0.25), rtol=1e-6)


def test_functools_partial_makes_rules_with_settings() -> None:
    @functools.partial(numbad.custom_vjp, nondiff_argnums=(0,))
    def power(n: int, x: Any) -> Any:
        return x**n

    power.defvjp(lambda n, x: (x**n, x), lambda n, x, bar: (bar * n * x ** (n - 1),))
    assert power.__name__ == "power"
    assert numbad.grad(lambda x: power(3, x))(2.0) == 12.0


def changing(saved, cotangent):
    saved[0] = 5.0
    return (saved * cotangent,)


def scaling(saved, cotangent):
    cotangent *= 2.0
    return (2.0 * saved * cotangent,)


@pytest.mark.parametrize("backward", [changing, scaling])
def test_a_rule_that_changes_what_it_is_given_is_an_error_in_every_transform(backward):
    x = np.array([1.0, 2.0, 3.0])
    square = numbad.custom_vjp(lambda x: x * x)
    square.defvjp(lambda x: (x * x, x), backward)

    def total(x):
        return np.sum(square(x) * x)

    for transform in (
        numbad.grad,
        numbad.jacfwd,
        numbad.hessian,
        lambda f: numbad.grad(lambda z: numbad.grad(f)(z)[0]),
    ):
        with pytest.raises((ValueError, NumbadError), match=r"read-only|must not change"):
            transform(total)(x)
    with pytest.raises(NumbadError, match="must not change"):
        numbad.vmap(numbad.grad(total))(np.stack([x, x]))


def test_a_rule_whose_result_has_another_shape_is_named():
    x = np.array([1.0, 2.0, 3.0])
    shorter = numbad.custom_vjp(lambda x: x * x)
    shorter.name = "shorter"
    for forward in (lambda x: (x[:2], x), lambda x: ((x, x), x)):
        shorter.defvjp(forward, lambda saved, bar: (2.0 * saved,))
        for transform in (numbad.grad, numbad.hessian):
            with pytest.raises(NumbadError, match="forward function of shorter returned results of shapes"):
                transform(lambda x: np.sum(shorter(x)))(x)
    partial = numbad.custom_jvp(lambda x: x * x)
    partial.name = "partial"
    partial.defjvp(lambda primals, tangents: (primals[0][:2], tangents[0][:2]))
    with pytest.raises(NumbadError, match="rule of partial returned results of shapes"):
        numbad.jvp(partial, (x,), (x,))
    with pytest.raises(NumbadError, match="rule of partial returned results of shapes"):
        numbad.grad(lambda x: np.sum(partial(x)))(x)


def test_a_ufunc_may_have_a_rule_of_the_users_own() -> None:
    sine = numbad.custom_vjp(np.sin)
    sine.defvjp(lambda x: (np.sin(x), x), lambda x, bar: (2.0 * bar * np.cos(x),))
    assert numbad.gradient(sine, 2.0) == 2.0 * np.cos(2.0)
    np.testing.assert_array_equal(numbad.gradient(lambda x: np.sum(sine(x)), np.ones(3)), np.full(3, 2.0 * np.cos(1.0)))
    product = numbad.custom_jvp(np.multiply)
    product.defjvp(lambda points, tangents: (points[0] * points[1], tangents[0] * points[1]))
    assert numbad.jvp(product, (2.0, 3.0), (1.0, 1.0)) == (6.0, 3.0)
    with pytest.raises(TypeError, match="by keyword"):
        numbad.gradient(lambda x: sine(x, where=True), 2.0)


def test_a_kernel_with_a_rule_is_called_by_kernels() -> None:
    """The rule is twice the derivative, to tell which of them is taken."""
    soft = numba.njit(lambda x: math.log(1.0 + math.exp(x)))
    ruled = numbad.custom_vjp(soft)
    ruled.defvjp(
        numba.njit(lambda x: (math.log(1.0 + math.exp(x)), x)),
        numba.njit(lambda saved, bar: (2.0 * bar / (1.0 + math.exp(-saved)),)),
    )
    tangent = numbad.custom_jvp(numba.njit(lambda x: x * x))
    tangent.defjvp(lambda primals, tangents: (tangent(*primals), 3.0 * primals[0] * tangents[0]))

    def total(x):
        found = 0.0
        for i in range(x.size):
            found += ruled(x[i]) + tangent(x[i])
        return found

    x = np.array([0.1, 0.5])
    expected = 2.0 / (1.0 + np.exp(-x)) + 3.0 * x
    for f in (numba.njit(total), numbad.kernel(numba.njit(total))):
        assert f(x) == pytest.approx(np.sum(np.log(1.0 + np.exp(x)) + x * x))
        np.testing.assert_allclose(numbad.gradient(f, x), expected)
        np.testing.assert_allclose(numbad.jit(numbad.grad(f))(x), expected)
    sigmoid = 1.0 / (1.0 + np.exp(-x))
    np.testing.assert_allclose(np.diag(numbad.hessian(numba.njit(total))(x)), 2.0 * sigmoid * (1.0 - sigmoid) + 3.0)
    with pytest.raises(numbad.NumbadError, match="cannot be made"):
        numbad.gradient(numbad.kernel(numba.njit(total), adjoint=True), x)
