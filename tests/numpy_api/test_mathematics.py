"""Functions of Python's module math, and float(x), in programs that are recorded."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from math import exp, sqrt
from typing import Any

import mpmath
import numpy as np
import pytest

import numbad
from numbad.numpy_api import mathematics

POINTS: dict[str, tuple[tuple[float, ...], Callable[..., Any]]] = {
    **{
        name: ((0.6,), getattr(mpmath, name))
        for name in "sin cos tan asin acos atan sinh cosh tanh asinh atanh exp expm1 log1p log10 sqrt cbrt".split()
    },
    **{name: ((0.6,), getattr(mpmath, name)) for name in "fabs degrees radians erf erfc gamma log".split()},
    "acosh": ((1.7,), mpmath.acosh),
    "exp2": ((0.6,), lambda x: mpmath.mpf(2) ** x),
    "log2": ((0.6,), lambda x: mpmath.log(x, 2)),
    "lgamma": ((-0.4,), lambda x: mpmath.log(abs(mpmath.gamma(x)))),
    "pow": ((1.3, 2.5), lambda x, y: x**y),
    "atan2": ((0.6, -0.3), mpmath.atan2),
    "hypot": ((0.6, -0.3, 2.0), lambda *x: mpmath.sqrt(sum(part**2 for part in x))),
    "fmod": ((-2.7, 0.6), lambda x, y: x + 4 * y),
    "copysign": ((0.6, -2.0), lambda x, y: -abs(x)),
}


def test_all_functions_of_numbers_are_here() -> None:
    """Each function of math with real arguments is recorded, needs no version of ours, or is listed as refused."""
    tested = {"modf", "dist", "fsum", "isfinite", "isinf", "isnan", "isclose", *POINTS}
    by_python = {"floor", "ceil", "trunc", "prod", "sumprod"}  # these ask the numbers themselves
    whole = {"comb", "factorial", "gcd", "isqrt", "lcm", "perm"}
    refused = {
        "frexp",
        "ldexp",
        "nextafter",
        "remainder",
        "ulp",
        "fma",
        "fmax",
        "fmin",
        "isnormal",
        "issubnormal",
        "signbit",
    }
    names = {name for name, value in vars(math).items() if callable(value) and not name.startswith("_")}
    assert names - by_python - whole - refused == tested & names
    exchanged = {own for own, _ in mathematics.replacements().values()} - {float, np.float64, np.float32}
    assert {own.__name__ for own in exchanged} == tested & names


def alone(f: Callable[..., Any], point: tuple[float, ...], k: int, x: Any) -> Any:
    """Return a function's value where one of its arguments is another."""
    return f(*point[:k], x, *point[k + 1 :])


@pytest.mark.parametrize("name", [name for name in POINTS if hasattr(math, name)])
def test_value_and_derivatives(name: str) -> None:
    point, reference = POINTS[name]
    function = getattr(math, name)

    def f(x: Any) -> Any:
        return function(*x)

    x = np.array(point)
    with mpmath.workdps(40):
        wanted = [float(mpmath.diff(functools.partial(alone, reference, point, k), point[k])) for k in range(len(x))]
    value, found = numbad.value_and_gradient(f, x)
    assert value == pytest.approx(function(*point), rel=4e-16)
    np.testing.assert_allclose(found, wanted, rtol=2e-15, atol=1e-30)
    replayed = numbad.jit(numbad.grad(f))
    for scale in (1.0, 1.01, 1.0):
        np.testing.assert_allclose(replayed(scale * x), numbad.gradient(f, scale * x), rtol=1e-15)
    np.testing.assert_allclose(numbad.vmap(numbad.grad(f))(np.array([x, 1.01 * x]))[0], found, rtol=1e-15)
    assert numbad.jvp(f, (x,), (np.ones(len(x)),))[1] == pytest.approx(np.sum(wanted), rel=1e-14)


ERRORS: dict[str, tuple[Callable[..., Any], tuple[float, ...]]] = {
    "sqrt": (math.sqrt, (-1.0,)),
    "log": (math.log, (0.0,)),
    "log, base": (math.log, (2.0, 1.0)),
    "log1p": (math.log1p, (-1.0,)),
    "acos": (math.acos, (1.5,)),
    "atanh": (math.atanh, (1.0,)),
    "exp": (math.exp, (1000.0,)),
    "cosh": (math.cosh, (-1000.0,)),
    "pow": (math.pow, (-1.0, 0.5)),
    "pow of zero": (math.pow, (0.0, -1.0)),
    "fmod": (math.fmod, (1.0, 0.0)),
    "gamma": (math.gamma, (-1.0,)),
    "lgamma": (math.lgamma, (0.0,)),
    "sin": (math.sin, (math.inf,)),
}


@pytest.mark.parametrize("name", ERRORS)
def test_errors_are_pythons_and_a_program_may_catch_them(name: str) -> None:
    function, point = ERRORS[name]
    with pytest.raises((ValueError, OverflowError, ZeroDivisionError)) as caught:
        function(*point)
    x = np.array(point)
    for derivative in (numbad.grad(lambda x: function(*x)), numbad.jit(lambda x: function(*x))):
        with pytest.raises(type(caught.value)) as found:
            derivative(x)
        assert str(found.value) == str(caught.value)

    def caught_in(x: Any) -> Any:
        try:
            return function(*x)
        except (ValueError, OverflowError, ZeroDivisionError):
            return np.sum(x * x)

    replayed = numbad.jit(numbad.grad(caught_in))
    inside = np.full(len(x), 0.6)
    for at in (x, inside, x):
        np.testing.assert_allclose(replayed(at), numbad.gradient(caught_in, at))
    np.testing.assert_allclose(replayed(x), 2.0 * x)


def test_infinities_and_nan_where_python_has_them() -> None:
    for function, point in ((math.exp, math.inf), (math.sqrt, math.inf), (math.atan, math.inf), (math.sin, math.nan)):
        found = numbad.value_and_gradient(lambda x, f=function: f(x), point)[0]
        np.testing.assert_equal(found, function(point))


class Model:
    turn = math.cos

    def __init__(self) -> None:
        self.squash = math.tanh
        self.to = float


ACTIVATIONS = {"tanh": math.tanh, "exp": math.exp}
LAYERS = [math.tanh, math.exp]


def by_default(x: Any, f: Callable[..., Any] = math.sin, to: Any = float) -> Any:
    return to(f(x))


PROGRAMS: dict[str, Callable[[Any], Any]] = {
    "names": lambda x: sqrt(x[0]) * exp(-x[1]),
    "map": lambda x: sum(map(math.sin, x)) + list(map(float, x))[1],
    "for": lambda x: sum([2.0 * value for value in map(math.exp, x)]),
    "star": lambda x: np.array([*map(math.sin, x)]) @ x,
    "unpacked": lambda x: (lambda a, b, c: a * b * c)(*map(math.cos, x)),
    "default": lambda x: by_default(x[0]),
    "table": lambda x: ACTIVATIONS["tanh"](x[0]),
    "list": lambda x: sum(f(x[0]) for f in LAYERS),
    "attributes": lambda x: Model.turn(x[0]) * Model().squash(x[1]) * Model().to(x[2]),
    "partial": lambda x: functools.partial(math.pow, x[1])(2.0),
    "vectorize": lambda x: np.vectorize(math.sin)(x).sum(),
    "of a list": lambda x: sum(math.sin(value) for value in x.tolist()),
    "float": lambda x: float(np.sum(x**2)) * float(x[0]),
    "float of 0-d": lambda x: float(np.asarray(x[0])),
    "float64": lambda x: np.float64(x[0]) * np.double(x[1]) + np.float64(x).sum() + np.float64([x[0], 2.0]).sum(),
    "float as a dtype": lambda x: (
        np.zeros(3, dtype=float) @ x + np.array([x[0]], float)[0] + x.astype(float).sum() * x[1]
    ),
    "isinstance": lambda x: x[0] * x[1] if isinstance(float(x[0]), float) else 0.0,
    "text": lambda x: x[0] * len(f"{float(x[1]):.3f}"),
    "truth": lambda x: float(x[0] < 1.0) * x[0],
    "fsum of a generator": lambda x: math.fsum(value * value for value in x),
    "hypot of one": lambda x: math.hypot(-x[0]),
    "dist": lambda x: math.dist(x, x[::-1] * 2.0),
    "decisions": lambda x: x[0] if math.isfinite(x[0]) and not math.isnan(x[1]) and not math.isinf(x[1]) else 0.0,
    "close": lambda x: x[0] * x[1] if math.isclose(x[0], x[1], abs_tol=1.0) else x[2],
    "not close": lambda x: x[0] * x[1] if math.isclose(x[0], x[1]) else x[2],
    "modf": lambda x: math.modf(x[2])[0] * x[0] + math.modf(x[2])[1],
    "base": lambda x: math.log(x[0], x[1]),
    "plain numbers": lambda x: math.sin(0.5) * float("2.5") * x[0] + math.fsum([1.0, 2.0]) * math.dist([0], [1]),
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_programs(name: str) -> None:
    f, x = PROGRAMS[name], np.array([0.3, 0.7, 1.1])
    step = 1e-6
    wanted = [(f(x + step * e) - f(x - step * e)) / (2 * step) for e in np.eye(3)]
    value, found = numbad.value_and_gradient(f, x)
    assert value == pytest.approx(f(x), rel=1e-15)
    np.testing.assert_allclose(found, wanted, rtol=1e-7, atol=1e-8)
    replayed = numbad.jit(numbad.grad(f))
    for at in (x, 1.02 * x, x):
        np.testing.assert_allclose(replayed(at), numbad.gradient(f, at), rtol=1e-14)


def test_negative_tolerances_and_different_lengths() -> None:
    x = np.array([0.3, 0.7])
    with pytest.raises(ValueError, match="tolerances must be non-negative"):
        numbad.gradient(lambda x: x[0] * math.isclose(x[0], x[1], rel_tol=-1.0), x)
    with pytest.raises(ValueError, match="same number of dimensions"):
        numbad.gradient(lambda x: math.dist(x, x[:1]), x)


def test_single_precision() -> None:
    x = np.array([0.3, 0.7], np.float32)
    _, found = numbad.value_and_gradient(lambda x: np.float32(math.sin(x[0])) * float(x[1]), x)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, [0.7 * math.cos(0.3), math.sin(0.3)], rtol=1e-6)
    with pytest.raises(numbad.RecordingError, match="dtype=float32 is not recorded"):
        numbad.gradient(lambda x: np.float32(x[0]), x.astype(float))


def test_what_is_held_constant_becomes_a_plain_number() -> None:
    seen: list[Any] = []

    def f(x: Any) -> Any:
        seen.append(float(numbad.stop_gradient(x)))
        return x * math.sin(seen[-1])

    assert numbad.gradient(f, 0.5) == math.sin(0.5)
    assert type(seen[-1]) is float


def test_other_threads_and_plain_calls_have_pythons_own() -> None:
    def f(x: Any) -> Any:
        return math.sin(x) + float(x)

    numbad.gradient(f, 1.0)
    assert f(1.0) == math.sin(1.0) + 1.0
    assert type(f(1)) is float
    with pytest.raises(TypeError):
        f("no number")


def test_a_float_is_divided_by_zero_as_pythons() -> None:
    """NumPy's number gives infinity, the float that is made of it an error that the program catches."""

    def f(x: Any) -> Any:
        try:
            return 1.0 / float(x[0] - 1.0)
        except ZeroDivisionError:
            return x[1] ** 2

    def of_math(x: Any) -> Any:
        try:
            return 1.0 / math.log(x[0])
        except ZeroDivisionError:
            return x[1] ** 2

    for function in (f, of_math):
        replayed = numbad.jit(numbad.grad(function))
        for x in (np.array([1.0, 3.0]), np.array([2.0, 3.0]), np.array([1.0, 3.0])):
            value, found = numbad.value_and_gradient(function, x)
            assert value == pytest.approx(function(x), rel=1e-15)
            np.testing.assert_allclose(replayed(x), found)
        np.testing.assert_array_equal(found, [0.0, 6.0])
