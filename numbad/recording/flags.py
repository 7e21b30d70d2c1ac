"""What `x.flags` of a recording array says: the order of its elements is NumPy's, and it may be made read-only."""

from __future__ import annotations

from typing import Any

import numpy as np

SHORT = {"C": "C_CONTIGUOUS", "F": "F_CONTIGUOUS", "O": "OWNDATA", "W": "WRITEABLE", "A": "ALIGNED"}


class Flags:
    """The flags of a recording array, by attribute (`flags.writeable`) and by key (`flags["W"]`)."""

    __slots__ = ("_array", "_like")
    _array: Any
    _like: Any

    def __init__(self, array: Any) -> None:
        element = np.zeros(1, array.dtype)
        like = np.lib.stride_tricks.as_strided(element, array.shape, array.strides)  # no element of it is looked at
        object.__setattr__(self, "_array", array)
        object.__setattr__(self, "_like", like.flags)

    def __getattr__(self, name: str) -> bool:
        if name == "writeable":
            return not self._array.storage.frozen
        if name == "owndata":
            return bool(self._array.is_whole())
        found: bool = getattr(self._like, name)
        return found

    def __setattr__(self, name: str, value: Any) -> None:
        if name != "writeable":
            raise AttributeError(f"flag {name!r} of a recording array cannot be set")
        if not value:
            self._array.storage.__class__ = self._array.storage.read_only()
        elif not self.writeable:
            raise ValueError("cannot set WRITEABLE flag to True of this array")

    def __getitem__(self, key: str) -> bool:
        self._like[key]  # a KeyError for what is no flag
        return bool(getattr(self, SHORT.get(key, key).lower()))

    def __setitem__(self, key: str, value: Any) -> None:
        self._like[key]
        setattr(self, SHORT.get(key, key).lower(), value)

    def __repr__(self) -> str:
        names = ("C_CONTIGUOUS", "F_CONTIGUOUS", "OWNDATA", "WRITEABLE", "ALIGNED")
        return "\n".join(f"  {name} : {self[name]}" for name in names)


def set_flags(self: Any, write: Any = None, align: Any = None, uic: Any = None) -> None:
    """As ndarray.setflags: `write` alone can be set."""
    if uic or (align is not None and not align):
        raise ValueError("a recording array is aligned, and no copy of another; only write= can be set")
    if write is not None:
        Flags(self).writeable = write
