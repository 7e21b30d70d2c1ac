"""The text of a recording value: what repr, str and format say of it now."""

from __future__ import annotations

from typing import Any

import numpy as np

from numbad.recording.active import Active
from numbad.recording.conversion import is_printed
from numbad.recording.decisions import decide, text


def text_of(value: Any, kind: str, specification: str = "") -> str:
    """Return the text of a recording value now. It is a decision, and guarded, unless it is only printed."""
    settings = {"kind": kind, "specification": specification, "boolean": value.boolean}
    if is_printed():
        return text(np.asarray(value.value()), keywords=settings)
    return decide("text", value, keywords=settings)


def write_repr(self: Active) -> str:
    """Return repr(x)."""
    if self.recorder.closed:
        return f"{type(self).__name__}(shape={self.shape}, its recording has ended)"
    return f"{type(self).__name__}({text_of(self, 'repr')})"


def write_str(self: Active) -> str:
    """Return str(x)."""
    return repr(self) if self.recorder.closed else text_of(self, "str")


def write_format(self: Active, specification: str) -> str:
    """Return format(x, specification)."""
    return text_of(self, "format", specification)


Active.__repr__, Active.__str__ = write_repr, write_str  # type: ignore[assignment]
Active.__format__ = write_format  # type: ignore[assignment]
