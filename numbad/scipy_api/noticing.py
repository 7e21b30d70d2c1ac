"""Modules of SciPy that a program has imported: their functions are taught to record when a recording begins."""

from __future__ import annotations

from collections.abc import Callable
from sys import modules
from typing import Any

from numbad.numpy_api.protocol import finders
from numbad.recording.recorder import Recorder, beginnings

TAUGHT_MODULES = ("scipy.special", "scipy.linalg", "scipy.sparse", "scipy.spatial", "scipy.signal",
                  "scipy.interpolate")  # fmt: skip
_seen = 0


def notice_modules(recorder: Recorder) -> None:
    """Teach NumPy's functions, and those of SciPy modules that have been imported since the last recording."""
    global _seen
    if len(modules) == _seen:
        return
    from numbad.numpy_api.teaching import teach_numpy

    teach_numpy()
    if any(name in modules for name in TAUGHT_MODULES):
        from numbad.scipy_api.tables import teach

        teach()
    _seen = len(modules)


def find_special(ufunc: Any) -> Callable[..., Any] | None:
    """Return the recording version of a ufunc of scipy.special that is no op of the sweeps."""
    from numbad.scipy_api.tables import elementwise_op

    return elementwise_op(ufunc)


beginnings.append(notice_modules)
finders.append(find_special)
