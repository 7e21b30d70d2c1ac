"""The recording scalar: an address of the tape in place of a number."""

from __future__ import annotations

import numbers
from typing import Any

import numpy as np

from numbad.errors import message
from numbad.ops.definition import BY_NAME, Op
from numbad.recording.active import Active, Shape, new
from numbad.recording.conversion import concrete_float, is_key, is_whole, refuse_conversion, refuse_objects
from numbad.recording.recorder import Recorder


class Scalar(Active):
    """A recording number: an address."""

    reshape: Any  # the module of arrays gives it
    __slots__ = ("address", "recorder")
    address: int
    boolean = False
    shape: Shape = ()  # type: ignore[assignment]

    def stands_for(self) -> type:
        """Return the class of NumPy's numbers of this precision; float64 is a float, too."""
        found: type = self.dtype.type
        return found

    def value(self) -> Any:
        """Return the value as a NumPy scalar."""
        return self.dtype.type(self.recorder.peek(self.address))

    def item(self, *index: Any) -> Scalar:
        """Return the scalar itself: it goes on recording."""
        if index not in ((), (0,), (-1,), ((),)):
            raise IndexError(f"index {index} of a number, which has one element")
        return self

    def transpose(self, *axes: Any) -> Scalar:
        """Return the scalar itself: it has no axes."""
        return self

    def tolist(self) -> Scalar:
        """Return the scalar itself: it goes on recording."""
        return self

    def is_integer(self) -> bool:
        """Whether the value is an integer now: a decision, which is guarded."""
        return bool(scalar_row(self.recorder, BY_NAME["floor"], self.address, 0) == self)

    def __bool__(self) -> bool:
        return self.recorder.guard(self.address)

    def __float__(self) -> float:
        return concrete_float(self)

    def __hash__(self) -> int:
        """Return the hash of the value now, which the path depends on: sets and dicts look numbers up by value."""
        return hash(self.recorder.guard(self.address) if self.boolean else self.recorder.guard_value(self.address))

    def rounded(self, name: str) -> int:
        """Return the integer that an op rounds the value to now, and guard it."""
        return int(self.recorder.guard_value(scalar_row(self.recorder, BY_NAME[name], self.address, 0).address))

    def __int__(self) -> int:
        return self.rounded("trunc")

    __trunc__ = __int__

    def __floor__(self) -> int:
        return self.rounded("floor")

    def __ceil__(self) -> int:
        return self.rounded("ceil")

    def __round__(self, digits: int | None = None) -> Any:
        if digits is None:
            return self.rounded("rint")
        return np.round(self, digits)

    def __index__(self) -> int:
        return int(self.whole_now())

    def __getitem__(self, key: Any) -> Any:
        parts = key if isinstance(key, tuple) else (key,)
        if all(part is None or part is Ellipsis for part in parts):
            ones = sum(part is None for part in parts)
            return self.reshape((1,) * ones) if ones else self
        if any(is_truth(part) for part in parts):
            return self.reshape(())[key]
        raise IndexError(message("a recording scalar has no elements", "index with () only"))

    def __len__(self) -> int:
        raise TypeError("len() of unsized object")

    def __iter__(self) -> Any:
        raise TypeError("iteration over a 0-d array")

    def __array__(self, dtype: Any = None, copy: Any = None) -> np.ndarray:
        if self.boolean and (dtype is None or np.dtype(dtype).kind != "O"):
            return np.asarray(self.truth_now(), dtype)
        if is_whole(dtype):
            return np.asarray(self.astype(dtype))
        refuse_conversion(dtype)
        if dtype is None and is_key():
            return np.asarray(self.whole_now())
        refuse_objects(dtype)
        result = np.empty((), dtype=object)
        result[()] = self
        return result

    def copy(self, order: str = "C") -> Scalar:
        """Return the scalar: it never changes."""
        return self

    @property
    def T(self) -> Scalar:
        """The scalar itself."""
        return self

    strides = ()
    pitches = None

    def spot(self) -> tuple[int, int]:
        """Return the space and address of the first element."""
        return 0, self.address

    def operand(self, shape: Shape) -> tuple[int, int, int, Shape]:
        """Describe the scalar as an operand of an array row."""
        return 2, 0, self.address, (0,) * len(shape)


def is_truth(part: Any) -> bool:
    """Whether a part of an index is a truth value, or an array of them."""
    return isinstance(part, (bool, np.bool_)) or getattr(part, "boolean", getattr(part, "dtype", None) == np.bool_)


class Truth(Scalar):
    """A recording truth value, kept as 0.0 or 1.0."""

    __slots__ = ()
    boolean = True


def make_scalar(recorder: Recorder, address: int, boolean: bool = False) -> Scalar:
    """Return the scalar at an address."""
    result = new(Truth if boolean else Scalar)
    result.recorder = recorder
    result.address = address
    return result


def make_scalars(recorder: Recorder, addresses: list[int]) -> list[Scalar]:
    """Return the scalars at some addresses."""
    result = []
    for address in addresses:
        scalar = new(Scalar)
        scalar.recorder = recorder
        scalar.address = address
        result.append(scalar)
    return result


def scalar_row(recorder: Recorder, op: Op, a: int, b: int) -> Scalar:
    """Append a scalar row."""
    out = recorder.size
    recorder.size = out + 1
    recorder.extend((op.opcode, out, a, b))
    return make_scalar(recorder, out, op.boolean)


numbers.Real.register(Scalar)  # np.isscalar and isinstance(x, numbers.Number) ask for it
