"""How a function of SciPy that is called by its name comes to record.

SciPy's ufuncs ask their operands (`__array_ufunc__`); its Python functions ask nobody, and convert what they are given
by np.asarray. So each function of the table below is taught to look first: its code is replaced by a few instructions
that hand recording values to our version and all else to SciPy's own code. The function object stays what it
was, so names that were imported before (`from scipy.stats import norm`) see it too. It happens when a recording
begins and the module of the function has been imported; without a recording the cost is one look at a thread's state.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import FunctionType
from typing import Any

import numpy as np

from numbad.errors import RecordingError, message
from numbad.numpy_api.functions import asarray
from numbad.recording.active import Active
from numbad.recording.teaching import ORIGINALS, forget_all, teach_function

Implementation = Callable[..., Any]
TABLE: dict[str, dict[str, Implementation]] = {}  # module -> dotted name in it -> what is run for recording values


def records(module: str, *names: str) -> Callable[[Implementation], Implementation]:
    """Register the recording version of functions or methods of a SciPy module."""

    def register(implementation: Implementation) -> Implementation:
        TABLE.setdefault(module, {}).update(dict.fromkeys(names, implementation))
        return implementation

    return register


def numeric(value: Any) -> Any:
    """Return an argument as a recording value, or as a plain number or array of floats where it is none."""
    if isinstance(value, Active):
        return value
    if isinstance(value, (list, tuple)) or (isinstance(value, np.ndarray) and value.dtype.hasobject):
        value = asarray(value)
    return value if isinstance(value, Active) else np.asarray(value, float)[()]


def refuse_options(name: str, **options: tuple[Any, Any]) -> None:
    """Raise a RecordingError that names an option with another value than the one that is recorded.

    Parameters
    ----------
    name : str
        The function of SciPy.
    **options : (value, default)
        What was given, and the value that the recording version stands for.
    """
    for option, (value, default) in options.items():
        if value is default or (type(value) is type(default) and value == default):
            continue
        opaque = isinstance(value, (Active, np.ndarray)) or callable(value)
        given = f"a {type(value).__name__}" if opaque else repr(value)
        raise RecordingError(
            message(
                f"{name}: {option}={given} is not recorded, only {option}={default!r}",
                f"leave {option} away and write what it does in functions that are recorded,"
                " or give the function a rule with numbad.custom_vjp",
            )
        )


def teach() -> None:
    """Teach the functions of all modules that have been imported; those that know already are passed over."""
    for name, functions in TABLE.items():
        module = sys.modules.get(name)
        if module is None:
            continue
        for path, implementation in functions.items():
            found: Any = module
            for part in path.split("."):
                found = getattr(found, part, None)
            if isinstance(found, FunctionType) and found not in ORIGINALS:
                teach_function(found, implementation)


def forget() -> None:
    """Give all functions that were taught their own code back."""
    forget_all()
