"""What a function that Numba compiles finds under the names of Python's, NumPy's and Numba's own functions.

Numba's functions of `math` raise nothing. Random numbers come from Numba's own generators, so they are drawn by
functions that Numba compiles. What Numba understands as a sign to itself, such as `prange`, is what Python has for it.
"""

from __future__ import annotations

import ctypes
import functools
import math
import random
from collections.abc import Callable
from types import FunctionType
from typing import Any

import numpy as np

from numbad.errors import RecordingError, message
from numbad.numba_api.arithmetic import ARRAYS, Operation, overlap, plain, whole
from numbad.numpy_api import converting, mathematics
from numbad.recording.active import Active, involves

FOREIGN: Any = type(ctypes.pythonapi.Py_IsInitialized).__mro__[1]  # the class of functions of ctypes
LIBRARIES = ("numpy", "scipy", "numba", "numbad", "builtins", "math", "cmath", "random", "operator")


# ---------------------------------------------------------------- functions of math


def quiet(own: Callable[..., Any], recorded: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function of math that gives infinity or NaN where Python's own raises."""

    @functools.wraps(own)
    def compute(*arguments: Any) -> Any:
        if involves(arguments):
            return recorded(*(mathematics.number_of(value, own) for value in arguments))
        with np.errstate(all="ignore"):
            found = recorded(*map(float, arguments))
        return tuple(map(plain, found)) if isinstance(found, tuple) else plain(found)

    return compute


def truth(own: Callable[..., Any], recorded: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function of math that answers yes or no."""
    return functools.wraps(own)(lambda *arguments: bool(recorded(*arguments)))


def logarithm(x: Any, base: Any = None) -> Any:
    """As math.log."""
    return np.log(x) if base is None else np.log(x) / np.log(base)


def power(x: Any, y: Any) -> Any:
    """As math.pow."""
    return np.power(x, y)


def of_math() -> dict[Any, Any]:
    """Return functions of math and what takes their places."""
    found = {
        name: quiet(getattr(math, name), mathematics.numpy_function(name))
        for name in mathematics.NUMPY_HAS
        if hasattr(math, name)
    }
    found |= {"log": quiet(math.log, logarithm), "pow": quiet(math.pow, power)}
    found |= {"hypot": quiet(math.hypot, mathematics.hypot)}
    found |= {name: truth(getattr(math, name), getattr(np, name)) for name in ("isfinite", "isinf", "isnan")}
    return {getattr(math, name): function for name, function in found.items()}


# ---------------------------------------------------------------- builtins, casts


def to_whole(kind: Any) -> Callable[..., Any]:
    """Return a cast to an integer, as Numba and NumPy have it: what comes behind the point is cut off."""

    def convert(x: Any = 0) -> Any:
        if isinstance(x, Active) and not x.shape:
            return kind(whole(x))
        return kind(x)

    return convert


def to_float(x: Any = 0.0) -> Any:
    """As float(x)."""
    if not isinstance(x, Active):
        return float(x)
    number: Any = x
    return number * 1.0 if x.boolean else mathematics.number_of(x)


def power_of(x: Any, y: Any) -> Any:
    """As pow(x, y)."""
    return Operation("POWER", raising=True) | (x, y)


def type_of(*arguments: Any) -> Any:
    """As type(x): of a recording number the cast to its type, for which Numba takes it where it is called."""
    x = arguments[0]
    if len(arguments) > 1 or not isinstance(x, Active) or x.shape:
        return type(*arguments)
    return bool if x.boolean else (to_float if x.dtype.itemsize == 8 else mathematics.to_numpy(np.float32))


def of_builtins() -> dict[Any, Any]:
    """Return functions and classes of Python's own that are called, and what takes their places."""
    return {int: to_whole(int), float: to_float, pow: power_of, type: type_of}


def of_numpy() -> dict[Any, Any]:
    """Return functions of NumPy that make arrays of lists, and casts, and what takes their places."""
    converted = [pair for pair in converting.replacements().values() if getattr(pair[0], "__module__", "") != "math"]
    found = {own: ours for own, ours in converted if own is not float}
    kinds = {getattr(np, f"{sign}int{bits}") for sign in ("", "u") for bits in (8, 16, 32, 64)}
    found |= {kind: to_whole(kind) for kind in kinds}
    found |= {own: Ufunc(own) for own in vars(np).values() if isinstance(own, np.ufunc) and own.nout == 1}
    return found


class Ufunc:
    """A ufunc that writes to an array as Numba does: element by element where that shares memory with an operand."""

    def __init__(self, ufunc: Any) -> None:
        self.ufunc = ufunc

    def __call__(self, *arguments: Any, **keywords: Any) -> Any:
        count = self.ufunc.nin
        if len(arguments) == count and not keywords:
            return self.ufunc(*arguments)
        out = arguments[count] if len(arguments) > count else keywords.get("out")
        if not isinstance(out, ARRAYS) or not any(
            isinstance(part, ARRAYS) and overlap(out, part) for part in arguments[:count]
        ):
            return self.ufunc(*arguments, **keywords)
        for index in np.ndindex(out.shape):
            out[index] = self.ufunc(*(element(part, index) for part in arguments[:count]))
        return out

    def __getattr__(self, name: str) -> Any:
        return getattr(self.ufunc, name)


def element(part: Any, index: tuple[int, ...]) -> Any:
    """Return an element of an array that is broadcast, or a number."""
    if not isinstance(part, ARRAYS):
        return part
    own = index[len(index) - part.ndim :]
    return part[tuple(0 if length == 1 else k for k, length in zip(own, part.shape, strict=True))]


# ---------------------------------------------------------------- random numbers


@functools.lru_cache(1000)
def drawing(module: str, name: str, count: int, keywords: tuple[str, ...]) -> Callable[..., Any]:
    """Return a function that Numba compiles, which draws from Numba's own generators."""
    import numba

    given = [f"a{k}" for k in range(count)]
    passed = ", ".join(given + [f"{word}={word}" for word in keywords])
    scope: dict[str, Any] = {"np": np, "random": random}
    text = f"def draw({', '.join([*given, *keywords])}):\n    return {module}.{name}({passed})\n"
    exec(compile(text, __file__, "exec"), scope)
    found: Callable[..., Any] = numba.njit(scope["draw"])
    return found


class Draw:
    """A function of np.random or random in a function that Numba compiles."""

    def __init__(self, module: str, name: str) -> None:
        self.module, self.name = module, name

    def __call__(self, *arguments: Any, **keywords: Any) -> Any:
        if involves(arguments) or involves(keywords.values()):
            raise RecordingError(
                message(
                    f"{self.module}.{self.name} of recording values is not recorded",
                    "draw from the standard distribution, and shift and scale that: mu + sigma * np.random.normal()",
                )
            )
        return drawing(self.module, self.name, len(arguments), tuple(keywords))(*arguments, **keywords)


def of_random() -> dict[Any, Any]:
    """Return functions that draw random numbers, and what takes their places."""
    found: dict[Any, Any] = {}
    for module, name, kind in ((np.random, "np.random", np.random.RandomState), (random, "random", random.Random)):
        for key, value in vars(module).items():
            if callable(value) and not isinstance(value, type) and not key.startswith("_") and hasattr(kind, key):
                found[value] = Draw(name, key)
    return found


# ---------------------------------------------------------------- functions at an address


class External:
    """A function that Numba calls at an address: plain numbers are given to it, and nothing can be recorded of it."""

    def __init__(self, function: Any) -> None:
        self.function = function

    def __call__(self, *arguments: Any) -> Any:
        if involves(arguments):
            name = getattr(self.function, "__name__", type(self.function).__name__)
            raise RecordingError(
                message(
                    f"{name} is machine code at an address: there is no source to record",
                    "call it in a function that has a rule, by numbad.custom_vjp or numbad.custom_jvp",
                )
            )
        return self.compiled(len(arguments))(*arguments)

    def compiled(self, count: int) -> Callable[..., Any]:
        """Return a function that Numba compiles, which calls the other at its address."""
        import numba

        known = _callers.get(id(self.function))
        if known is None or known[0] is not self.function:
            given = ", ".join(f"a{k}" for k in range(count))
            caller = numba.njit(eval(f"lambda {given}: function({given})", {"function": self.function}))
            known = _callers[id(self.function)] = self.function, caller
        return known[1]


_callers: dict[int, tuple[Any, Callable[..., Any]]] = {}  # of functions at an address, by their identities


def is_external(value: Any) -> bool:
    """Whether Numba calls a value at its address: of a library, or of another compiler's."""
    from numba.core.types import WrapperAddressProtocol

    return isinstance(value, (FOREIGN, WrapperAddressProtocol))


# ---------------------------------------------------------------- Numba's own


class List(list):  # type: ignore[type-arg]
    """As numba.typed.List."""

    @staticmethod
    def empty_list(item_type: Any = None, allocated: int = 0) -> List:
        """Return an empty list."""
        return List()


class Dict(dict):  # type: ignore[type-arg]
    """As numba.typed.Dict."""

    @staticmethod
    def empty(key_type: Any = None, value_type: Any = None, n_keys: int = 0) -> Dict:
        """Return an empty dict."""
        return Dict()


def itself(x: Any) -> Any:
    """As numba.literally and numba.literal_unroll."""
    return x


def of_numba() -> dict[Any, Any]:
    """Return signs that Numba understands, and what Python has for them."""
    import numba
    from numba import typed

    casts = {getattr(numba, f"{sign}int{bits}"): getattr(np, f"{sign}int{bits}") for sign in ("", "u")
             for bits in (8, 16, 32, 64)}  # fmt: skip
    found: dict[Any, Any] = {kind: to_whole(cast) for kind, cast in casts.items()}
    found |= {numba.float64: to_float, numba.float32: mathematics.to_numpy(np.float32)}
    found |= {numba.prange: range, numba.literally: itself, numba.literal_unroll: itself}
    found |= {typed.List: List, typed.Dict: Dict}
    return found


@functools.cache
def table() -> dict[int, tuple[Any, Any]]:
    """Return all of these, by their identities."""
    found = of_builtins() | of_math() | of_numpy() | of_random() | of_numba()
    return {id(own): (own, ours) for own, ours in found.items()}


def is_users_function(value: Any) -> bool:
    """Whether a value is a function that Numba compiles with those that call it: numba.extending.register_jitable."""
    return type(value) is FunctionType and (value.__module__ or "").partition(".")[0] not in LIBRARIES
