"""Warnings of replays: at the user's line that is running."""

from __future__ import annotations

import sys
import warnings

from numbad.errors import INTERNAL


def warn(text: str) -> None:
    """Warn, at the line of the user's that is running."""
    frame, level = sys._getframe(0), 1
    while frame.f_back is not None and frame.f_globals.get("__package__") in INTERNAL:
        frame, level = frame.f_back, level + 1
    warnings.warn(text, stacklevel=level)
