"""Teaching Python functions of NumPy and SciPy to record: their code asks first whether a recording value takes part.

A function's code is replaced by a few instructions that hand recording values to our version, and all else to the
function's own code. The function object stays what it was, so names that were imported before see it too.

NumPy asks the arguments of its functions for `__array_function__`, but not the elements of lists, nor those of arrays
of objects: np.mean([x, y]) is run by NumPy's own code. That is taught here to hand lists that hold recording values on.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from types import FunctionType
from typing import Any

import numpy as np

from numbad.recording.active import Active, above
from numbad.recording.recorder import current

Implementation = Callable[..., Any]
ORIGINALS: dict[FunctionType, FunctionType] = {}  # what has been taught -> a function with its own code
CHOICE = "numbad chooses"  # stands for the function that chooses, until the code has it

# Those that write to their first argument, which may be an array of objects, or print, or ask for a shape
UNTAUGHT = set(
    "array_repr array_str array2string save savez savez_compressed savetxt put place put_along_axis fill_diagonal"
    " shape ndim size isrealobj iscomplexobj common_type".split()
)
PLAIN = {int, float, bool, str, type(None)}  # hold nothing
METHODS = {"_mean": "mean", "_var": "var", "_std": "std"}  # what arrays' own methods call


def teach_numpy() -> None:
    """Teach the functions of NumPy that are written in Python to look into lists."""
    if getattr(np.mean, "_implementation", None) in ORIGINALS:
        return
    for module in (np, np.linalg, np.fft):
        for function in list(vars(module).values()):
            own = getattr(function, "_implementation", None)
            if type(own) is FunctionType and own not in ORIGINALS and own.__name__ not in UNTAUGHT:
                teach_function(own, of_lists(function, own))
    methods = getattr(getattr(np, "_core", None), "_methods", None)
    for private, name in METHODS.items():
        own = getattr(methods, private, None)
        if type(own) is FunctionType and own not in ORIGINALS:
            teach_function(own, of_lists(getattr(np, name), own))


def of_lists(function: Any, own: FunctionType) -> Implementation:
    """Return what is run where a list that holds recording values is given: our version, if there is one."""

    def record(*arguments: Any, **keywords: Any) -> Any:
        numpy_api = above("numbad.numpy_api")
        if function not in numpy_api.FUNCTIONS:
            return ORIGINALS[own](*arguments, **keywords)
        return numpy_api.apply_function(function, arguments, keywords)

    return record


def teach_function(function: FunctionType, implementation: Implementation) -> None:
    """Let one function hand recording values to an implementation."""
    original = FunctionType(
        function.__code__, function.__globals__, function.__name__, function.__defaults__, function.__closure__
    )
    original.__kwdefaults__ = function.__kwdefaults__

    def choose(arguments: tuple[Any, ...], keywords: dict[str, Any]) -> Any:
        if current() is None or not (involves(arguments) or (keywords and involves(keywords.values()))):
            return original(*arguments, **keywords)
        return implementation(*arguments, **keywords)

    ORIGINALS[function] = original
    if not hasattr(function, "__wrapped__"):
        function.__wrapped__ = original  # type: ignore[attr-defined]  # inspect.signature and help follow it
    function.__code__ = dispatching_code(function, choose)


def forget_all() -> None:
    """Give all functions that were taught their own code back."""
    for function, original in ORIGINALS.items():
        function.__code__ = original.__code__
        if getattr(function, "__wrapped__", None) is original:
            del function.__wrapped__  # type: ignore[attr-defined]
    ORIGINALS.clear()


def dispatching_code(function: FunctionType, choose: Callable[..., Any]) -> Any:
    """Return code that calls `choose`, with as many free variables as the function's own, as Python demands."""
    code = asking_code(function.__code__.co_freevars)
    constants = tuple(choose if constant == CHOICE else constant for constant in code.co_consts)
    return code.replace(
        co_filename=function.__code__.co_filename,
        co_firstlineno=function.__code__.co_firstlineno,
        co_consts=constants,
        co_name=function.__name__,
        co_qualname=function.__qualname__,
    )


@functools.cache
def asking_code(free: tuple[str, ...]) -> Any:
    """Return the code of a function with these free variables that calls the constant `CHOICE` names."""
    cells = "".join(f"        {name}\n" for name in free)
    source = (
        f"def outer({', '.join(free)}):\n"
        "    def inner(*arguments, **keywords):\n"
        f"        choose = {CHOICE!r}\n"
        "        return choose(arguments, keywords)\n"
        f"{cells}"
        "    return inner\n"
    )
    scope: dict[str, Any] = {}
    exec(compile(source, __file__, "exec"), scope)
    code: Any = scope["outer"](*[None] * len(free)).__code__
    return code.replace(co_freevars=free)


def involves(values: Any) -> bool:
    """Whether a recording value is among some arguments, or in sequences and arrays of objects among them."""
    for value in values:
        kind = type(value)
        if kind in PLAIN:
            continue
        if kind is np.ndarray or isinstance(value, np.ndarray):
            if value.dtype.char == "O" and involves(value.reshape(-1).tolist()):
                return True
        elif isinstance(value, Active) or (isinstance(value, (list, tuple)) and involves(value)):
            return True
    return False
