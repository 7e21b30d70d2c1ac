"""What a type checker knows of the results of public functions: test_types.py checks these lines, and runs them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias, assert_type

import numpy as np

import numbad

Vector: TypeAlias = np.ndarray[tuple[int], np.dtype[np.float64]]
Single: TypeAlias = np.ndarray[tuple[int], np.dtype[np.float32]]
Value: TypeAlias = float | Any
Arrays: TypeAlias = np.ndarray | Any

x = np.ones(3)
narrow = np.ones(2, np.float32)
plain: np.ndarray = np.ones(2)


def area(width: float, height: float) -> float:
    """Return a number of two numbers."""
    return width * height


def cube(x: float) -> float:
    """Return a number of one number."""
    return x**3


def double(x: Vector) -> Vector:
    """Return an array like the one that it takes."""
    return 2.0 * x


def total(x: Any) -> Any:
    """Return one number of an array, or of a dict of arrays."""
    return sum(np.sum(part**2) for part in x.values()) if isinstance(x, dict) else np.sum(x**2)


def with_text(x: float) -> tuple[float, str]:
    """Return a number, and something auxiliary."""
    return x**2, "squared"


# ---------------------------------------------------------------- gradients: like the points

assert_type(numbad.gradient(cube, 2.0), float)
assert_type(numbad.gradient(np.sum, x), Vector)
assert_type(numbad.gradient(np.sum, narrow), Single)
assert_type(numbad.gradient(lambda x: np.sum(x**2), x), Vector)
assert_type(numbad.gradient(total, plain), np.ndarray)
assert_type(numbad.gradient(total, {"a": x, "b": x}), dict[str, Vector])
assert_type(numbad.gradient(lambda pair: pair[0] * pair[1], (2.0, 3.0)), tuple[float, float])
assert_type(numbad.gradient(lambda x, a: a * np.sum(x), x, 2.0), tuple[Vector, float])
assert_type(numbad.gradient(lambda x, y, z: x * y * z, 1.0, 2.0, 3.0), tuple[Any, ...])
assert_type(numbad.gradient(lambda x, scale: scale * x, 2.0, scale=3.0), float)
assert_type(numbad.gradient(area)(1.0, 2.0), tuple[float, float])
assert_type(numbad.gradient(total)(x), Vector)
assert_type(numbad.value_and_gradient(cube, 2.0), tuple[Value, float])
assert_type(numbad.value_and_gradient(total, narrow)[1], Single)
assert_type(numbad.value_and_gradient(area, 1.0, 2.0), tuple[Value, tuple[float, float]])
assert_type(numbad.value_and_gradient(total)(x), tuple[Value, Vector])
assert_type(numbad.grad(cube)(2.0), float)
assert_type(numbad.grad(total)(x), Vector)
assert_type(numbad.grad(numbad.grad(cube))(2.0), float)
assert_type(numbad.grad(area)(1.0, 2.0), float)
assert_type(numbad.value_and_grad(total)(x), tuple[Value, Vector])
assert_type(numbad.hvp(total, x, x), Vector)

# ---------------------------------------------------------------- products: like the result, and like the point

assert_type(numbad.jvp(cube, (2.0,), (1.0,)), tuple[float, float])
assert_type(numbad.jvp(double, (x,), (x,)), tuple[Vector, Vector])
assert_type(numbad.jvp(with_text, (2.0,), (1.0,), has_aux=True), tuple[float, float, str])
value, pullback = numbad.vjp(double, x)
assert_type(value, Vector)
assert_type(pullback(x), tuple[Vector])
assert_type(numbad.vjp(area, 1.0, 2.0)[1](1.0), tuple[float, float])
assert_type(numbad.vjp(with_text, 2.0, has_aux=True)[2], str)
value, pushforward = numbad.linearize(double, x)
assert_type(pushforward(x), Vector)
assert_type(numbad.linearize(cube, 2.0)[1](1.0), float)
assert_type(numbad.derivative(cube, 2.0), float)
assert_type(numbad.derivative(lambda x: x**3, 2.0, order=2), float)
assert_type(numbad.derivative(double)(x), Vector)

# ---------------------------------------------------------------- matrices and batches: arrays as a rule

assert_type(numbad.jacobian(double, x), Arrays)
assert_type(numbad.jacobian(cube, 2.0), Value)
assert_type(numbad.jacobian(double)(x), Arrays)
assert_type(numbad.jacfwd(double)(x), Arrays)
assert_type(numbad.jacrev(double)(x), Arrays)
assert_type(numbad.hessian(total, x), Arrays)
assert_type(numbad.hessian(cube, 2.0), Value)
assert_type(numbad.vmap(cube)(x), Arrays)
assert_type(numbad.zeros(3), Arrays)

# ---------------------------------------------------------------- functions that stay what they are

assert_type(numbad.jit(area)(1.0, 2.0), float)
assert_type(numbad.jit(double)(x), Vector)
assert_type(numbad.jit(numbad.grad(total))(x), Vector)
assert_type(numbad.jit(area).paths, int)
assert_type(numbad.jit(static_argnums=1)(area)(1.0, 2.0), float)
assert_type(numbad.checkpoint(area)(1.0, 2.0), float)
assert_type(numbad.custom_vjp(area)(1.0, 2.0), float)
assert_type(numbad.custom_jvp(cube)(2.0), float)
assert_type(numbad.stop_gradient(x), Vector)
step: Callable[[float, float], float] = numbad.jit(area)


@numbad.jit
def product(x: float, y: float) -> float:
    """Return a number of two numbers."""
    return x * y


@numbad.jit(static_argnums=1)
def power(x: float, n: int) -> float:
    """Return a number of a number."""
    return x**n


assert_type(product(2.0, 3.0), float)
assert_type(power(2.0, 3), float)
assert_type(numbad.gradient(product, 2.0, 3.0), tuple[float, float])

# ---------------------------------------------------------------- tapes

tape = numbad.record(total, x)
assert_type(tape, numbad.Tape)
assert_type(tape.gradient(x), Vector)
assert_type(tape.value_and_gradient(x), tuple[Value, Vector])
assert_type(numbad.record(area, 1.0, 2.0).gradient(3.0, 4.0), tuple[float, float])
assert_type(tape.vjp(x)[1](1.0), tuple[Vector])
assert_type(tape.jacobian(x), Arrays)
assert_type(tape.hessian(x), Arrays)
assert_type(tape.map(np.ones((2, 3))), Arrays)
assert_type(tape.gradient_map(np.ones((2, 3))), Arrays)
