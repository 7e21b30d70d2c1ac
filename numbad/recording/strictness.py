"""Whether a program wants to be told of errors of numbers: np.errstate(all="raise"), warnings that are errors."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    pass


strict = False  # whether a program has ever asked to be told; from then on recorders look when they begin


def watched() -> tuple[str, ...]:
    """Return the kinds of errors of which NumPy does more than warn now, or whose warnings are errors."""
    warn = warning_is_error()
    return tuple(kind for kind, how in np.geterr().items() if how not in ("ignore", "warn") or (how == "warn" and warn))


def asked() -> tuple[str, ...]:
    """Return what `watched` does; quickly where no program has ever asked to be told of errors."""
    return watched() if strict else ()


def warning_is_error() -> bool:
    """Whether a RuntimeWarning may be raised, as far as the filters tell without the place of the warning."""
    for action, text, category, module, line in warnings.filters:
        if issubclass(RuntimeWarning, category):
            if action == "error":
                return True
            if text is None and module is None and not line:
                return False
    return False
