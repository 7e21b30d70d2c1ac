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

from numbad.recording.active import given_among, involves
from numbad.recording.recorder import current

Implementation = Callable[..., Any]
ORIGINALS: dict[FunctionType, FunctionType] = {}  # what has been taught -> a function with its own code
CHOICE = "numbad chooses"  # stands for the function that chooses, until the code has it


def teach_function(function: FunctionType, implementation: Implementation, public: Any = None) -> None:
    """Let one function hand recording values to an implementation.

    `public` is the function of NumPy's that it belongs to: not all of its arguments are asked by NumPy itself. An
    implementation of a method has an attribute `holder`, which returns what its object may hold of recording values.
    """
    original = FunctionType(
        function.__code__, function.__globals__, function.__name__, function.__defaults__, function.__closure__
    )
    original.__kwdefaults__ = function.__kwdefaults__

    holder = getattr(implementation, "holder", None)

    def choose(arguments: tuple[Any, ...], keywords: dict[str, Any]) -> Any:
        if current() is None:
            return original(*arguments, **keywords)
        held = holder is not None and involves((holder(arguments[0]),))
        if not (held or involves(arguments) or (keywords and involves(keywords.values()))):
            given = None if public is None else given_among((*arguments, *keywords.values()))
            if given is None:
                return original(*arguments, **keywords)
            return given.__array_function__(public, (), arguments, keywords)
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
