"""Types of what public functions take and return, for editors and type checkers: nothing imports them while it runs.

Derivatives are like the points at which they are taken: a float for a float, an array for an array, a tree for a tree.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ParamSpec, Protocol, TypeAlias, TypeVar, TypeVarTuple, overload

import numpy as np

P = ParamSpec("P")  # what a function takes
R = TypeVar("R")  # what it returns
F = TypeVar("F", bound=Callable[..., Any])
S = TypeVar("S")
T = TypeVar("T")
U = TypeVar("U")
Ts = TypeVarTuple("Ts")

Argnums: TypeAlias = int | tuple[int, ...]
Several: TypeAlias = tuple[Any, Any, Any, *tuple[Any, ...]]  # three points, or more
Value: TypeAlias = float | Any  # a float as a rule; a float32 number where all arrays are float32
Arrays: TypeAlias = np.ndarray | Any  # an array as a rule; a number, a tuple or a tree where inputs or results are so
Space: TypeAlias = np.ndarray | Any  # memory outside of the arena; None in the place of the arena


class Gradient(Protocol):
    """The gradient of a function, of as many points as the function takes."""

    @overload
    def __call__(self, *points: *tuple[T], **keywords: Any) -> T: ...
    @overload
    def __call__(self, *points: *tuple[T, U, *Ts], **keywords: Any) -> tuple[T, U, *Ts]: ...


class ValueAndGradient(Protocol):
    """The value and the gradient of a function, of as many points as the function takes."""

    @overload
    def __call__(self, *points: *tuple[T], **keywords: Any) -> tuple[Value, T]: ...
    @overload
    def __call__(self, *points: *tuple[T, U, *Ts], **keywords: Any) -> tuple[Value, tuple[T, U, *Ts]]: ...


class Grad(Protocol):
    """The gradient with respect to the first argument."""

    def __call__(self, first: T, /, *others: Any, **keywords: Any) -> T: ...


class ValueAndGrad(Protocol):
    """The value, and the gradient with respect to the first argument."""

    def __call__(self, first: T, /, *others: Any, **keywords: Any) -> tuple[Value, T]: ...
