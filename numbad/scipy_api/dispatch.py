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

from numbad.teaching import ORIGINALS, forget_all, teach_function

Implementation = Callable[..., Any]
TABLE: dict[str, dict[str, Implementation]] = {}  # module -> dotted name in it -> what is run for recording values


def records(module: str, *names: str) -> Callable[[Implementation], Implementation]:
    """Register the recording version of functions or methods of a SciPy module."""

    def register(implementation: Implementation) -> Implementation:
        TABLE.setdefault(module, {}).update(dict.fromkeys(names, implementation))
        return implementation

    return register


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
