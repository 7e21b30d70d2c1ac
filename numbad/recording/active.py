"""What recording scalars and arrays have in common: the attributes of NumPy's arrays."""

from __future__ import annotations

import math
from collections.abc import Callable
from sys import _getframe
from typing import Any

import numpy as np

from numbad.errors import INTERNAL, MissingError, message
from numbad.recording.recorder import Recorder, refuse

PLAIN = {int, float, bool, str, type(None)}  # hold nothing
PLAIN_PARTS = PLAIN | {np.ndarray, type(Ellipsis), slice}

OF_MEMORY = set("base byteswap ctypes data dump dumps getfield setfield tobytes tofile".split())

Shape = tuple[int, ...]
BOOL = np.dtype(bool)
new = object.__new__
strangers: list[Callable[[int], None]] = []  # modules above look who asks for a value's class, frames further out


class Active:
    """What scalars and arrays have in common.

    Operators, indexing, NumPy's protocols and its methods append rows that make scalars and arrays, so they belong to
    modules above these classes (`operators`, `indexing`, `texts`, `hostcalls`, and `protocol` and `methods` of
    `numpy_api`), which give them to the classes.
    """

    __slots__ = ()
    __array_priority__ = 1000.0
    recorder: Recorder
    boolean: bool
    shape: Shape
    __array_ufunc__: Any
    __array_function__: Any
    record_op: Any
    record_array_op: Any
    flatten: Any
    astype: Any
    compress: Any
    put: Any
    truth_now: Any
    whole_now: Any

    # ------------------------------------------------------------ attributes

    @property  # type: ignore[misc]
    def __class__(self) -> Any:
        """What others take the value for when they ask isinstance(x, np.ndarray) or (x, float); numbad sees its own."""
        if _getframe(1).f_globals.get("__package__") in INTERNAL:
            return type(self)
        for notice in strangers:
            notice(2)
        return self.stands_for()

    def stands_for(self) -> type:
        """Return the class of what NumPy would have in the place of the value."""
        raise AssertionError("a subclass defines it")

    @property
    def dtype(self) -> np.dtype:
        """The dtype that the values will have."""
        return BOOL if self.boolean else self.recorder.dtype

    @property
    def itemsize(self) -> int:
        """Bytes of an element."""
        return self.dtype.itemsize

    @property
    def nbytes(self) -> int:
        """Bytes of all elements."""
        return self.size * self.dtype.itemsize

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.shape)

    @property
    def size(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)

    @property
    def real(self) -> Active:
        """The value itself."""
        return self

    @real.setter
    def real(self, value: Any) -> None:
        self[...] = value

    @property
    def imag(self) -> Any:
        """Zeros."""
        return np.zeros(self.shape, self.dtype)[()]

    device = "cpu"

    def to_device(self, device: str, *, stream: Any = None) -> Active:
        """Return the value itself: NumPy knows one device."""
        if device != "cpu" or stream is not None:
            raise ValueError("Unsupported device for NumPy: 'cpu' is the only one, without stream=")
        return self

    def conj(self) -> Active:
        """Return the value itself: it is real."""
        return self

    conjugate = conj

    # ------------------------------------------------------------ values now

    def value(self) -> Any:
        """Return the value as NumPy would hold it, by sweeping what has been recorded."""
        raise AssertionError("a subclass defines it")

    def __complex__(self) -> complex:
        return refuse("a recording value cannot become a complex number", "use real arrays for both parts")

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_") or not (hasattr(np.ndarray, name) or hasattr(np.float64, name)):
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        what = f"x.{name} of a recording value is not recorded"
        if name in OF_MEMORY:
            raise MissingError(message(f"{what}: its numbers are not in memory yet", "do without it in this function"))
        do = f"use np.{name}(x)" if hasattr(np, name) else "use a function that returns a new array"
        raise MissingError(message(what, do))

    def __deepcopy__(self, memory: Any) -> Active:
        return self.copy("K")

    def __copy__(self) -> Active:
        return self.copy("K")

    def __reduce__(self) -> Any:
        return refuse("a recording value cannot be pickled", "return it from the function and pickle the result")

    def copy(self, order: str = "C") -> Any:
        """Return a copy that shares no memory."""
        raise AssertionError("a subclass defines it")


class Given:
    """What stands for a plain value that may be another in the next run (see `knowns`)."""

    __slots__ = ()
    enter: Any
    settle: Any
    look_up: Any
    add_up: Any
    dtype: Any
    prologue: Any
    number: int


def given_among(key: Any) -> Any:
    """Return the first such value in an index; None if there is none."""
    if type(key) is tuple or type(key) is list:
        if PLAIN_PARTS.issuperset(map(type, key)):
            return None
        return next((found for part in key if (found := given_among(part)) is not None), None)
    return key if issubclass(type(key), Given) else None


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
