"""Forward differentiation by dual numbers in plain Python: an oracle that shares nothing with numbad.

A `Dual` is a number and the vector of its slopes. Arrays of them are NumPy arrays of objects, so that
NumPy itself decides what indexing, broadcasting and aliases mean. Duals of duals give second derivatives.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np


class Dual:
    """A number with slopes, and the closest call of all comparisons that were made."""

    margin = float("inf")

    def __init__(self, value: Any, slopes: Any) -> None:
        self.value = value
        self.slopes = slopes

    # ------------------------------------------------------------ arithmetic

    def chain(self, value: Any, slope: Any) -> Dual:
        """Return a function of this number, of a given value and slope."""
        return Dual(value, slope * self.slopes)

    def __add__(self, other: Any) -> Any:
        if isinstance(other, np.ndarray) and other.ndim:
            return NotImplemented
        if isinstance(other, Dual):
            return Dual(self.value + other.value, self.slopes + other.slopes)
        return Dual(self.value + other, self.slopes)

    def __mul__(self, other: Any) -> Any:
        if isinstance(other, np.ndarray) and other.ndim:
            return NotImplemented
        if isinstance(other, Dual):
            return Dual(self.value * other.value, other.value * self.slopes + self.value * other.slopes)
        return Dual(self.value * other, other * self.slopes)

    __radd__, __rmul__ = __add__, __mul__

    def __neg__(self) -> Dual:
        return Dual(-self.value, -self.slopes)

    def __sub__(self, other: Any) -> Any:
        return NotImplemented if isinstance(other, np.ndarray) and other.ndim else self + (-other)

    def __rsub__(self, other: Any) -> Any:
        return (-self) + other

    def inverse(self) -> Dual:
        """Return one over the number."""
        return self.chain(1.0 / self.value, -1.0 / (self.value * self.value))

    def __truediv__(self, other: Any) -> Any:
        if isinstance(other, np.ndarray) and other.ndim:
            return NotImplemented
        return self * (other.inverse() if isinstance(other, Dual) else 1.0 / other)

    def __rtruediv__(self, other: Any) -> Any:
        return self.inverse() * other

    def __pow__(self, power: int) -> Dual:
        result: Any = self
        for _ in range(power - 1):
            result = result * self
        return result

    # ------------------------------------------------------------ comparisons

    def against(self, other: Any) -> float:
        """Return the difference to another number, and note how close it was to a tie that matters."""
        difference = innermost(self.value) - innermost(other)
        if difference != 0.0 or not same_slopes(self, other):
            Dual.margin = min(Dual.margin, abs(difference))
        return difference

    def __lt__(self, other: Any) -> bool:
        return self.against(other) < 0.0

    def __le__(self, other: Any) -> bool:
        return self.against(other) <= 0.0

    def __gt__(self, other: Any) -> bool:
        return self.against(other) > 0.0

    def __ge__(self, other: Any) -> bool:
        return self.against(other) >= 0.0

    def __abs__(self) -> Dual:
        return self if self > 0.0 else -self

    def __int__(self) -> int:
        value = innermost(self)
        Dual.margin = min(Dual.margin, abs(value - round(value)))
        return int(value)

    # ------------------------------------------------------------ what NumPy's functions call

    def sin(self) -> Dual:
        return self.chain(np.sin(self.value), np.cos(self.value))

    def cos(self) -> Dual:
        return self.chain(np.cos(self.value), -np.sin(self.value))

    def exp(self) -> Dual:
        value = np.exp(self.value)
        return self.chain(value, value)

    def log(self) -> Dual:
        return self.chain(np.log(self.value), 1.0 / self.value)

    def sqrt(self) -> Dual:
        value = np.sqrt(self.value)
        return self.chain(value, 0.5 / value)

    def tanh(self) -> Dual:
        value = np.tanh(self.value)
        return self.chain(value, 1.0 - value * value)

    def arctan(self) -> Dual:
        return self.chain(np.arctan(self.value), 1.0 / (1.0 + self.value * self.value))

    def conjugate(self) -> Dual:
        return self


def innermost(number: Any) -> float:
    """Return the plain number inside a dual."""
    while isinstance(number, Dual):
        number = number.value
    return float(number)


def same_slopes(one: Any, other: Any) -> bool:
    """Whether two numbers have the same slopes of every order, so that a tie between them does not matter."""
    difference = one - other
    return not isinstance(difference, Dual) or all(number == 0.0 for number in all_numbers(difference))


def all_numbers(number: Any) -> list[float]:
    """Return the value and all slopes of a dual, of every order."""
    if not isinstance(number, Dual):
        return [float(number)]
    return all_numbers(number.value) + [part for slope in number.slopes for part in all_numbers(slope)]


def seeds(x: np.ndarray, order: int) -> np.ndarray:
    """Return an array of duals of some order, each with slope one with respect to itself."""
    flat = x.reshape(-1)
    result = np.empty(flat.size, object)
    inner = seeds(x, order - 1).reshape(-1) if order > 1 else flat
    units = np.eye(flat.size)
    for k in range(flat.size):
        slopes = units[k]
        if order > 1:
            slopes = np.empty(flat.size, object)
            slopes[:] = [Dual(unit, np.zeros(flat.size)) for unit in units[k]]
        result[k] = Dual(inner[k] if order > 1 else float(flat[k]), slopes)
    return result.reshape(x.shape)


def oracle(f: Callable[[Any], Any], x: np.ndarray, order: int = 1) -> tuple[float, np.ndarray, Any, float]:
    """Return value, gradient, Hessian (for order 2) of f at x, and the closest comparison."""
    Dual.margin = float("inf")
    result = f(seeds(np.asarray(x, np.float64), order))
    if isinstance(result, np.ndarray):
        result = result[()]
    gradient = np.array([innermost(slope) for slope in result.slopes]).reshape(x.shape)
    hessian = None
    if order > 1:
        hessian = np.array([[innermost(second) for second in slope.slopes] for slope in result.slopes])
    return innermost(result), gradient, hessian, Dual.margin
