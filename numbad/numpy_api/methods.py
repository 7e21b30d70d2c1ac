"""The methods of NumPy's arrays that are functions of NumPy, and those that NumPy's loops over objects call."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from numbad.errors import message
from numbad.numpy_api.protocol import OPS, tables
from numbad.ops.definition import BY_NAME
from numbad.recording.active import Active
from numbad.recording.arrays import Array
from numbad.recording.decisions import decide
from numbad.recording.elementwise import record
from numbad.recording.operators import unary
from numbad.recording.recorder import refuse
from numbad.recording.roots import WATCHED
from numbad.recording.scalars import Scalar


def numpy_method(name: str) -> Callable[..., Any]:
    """Make the array method that is the NumPy function of the same name."""
    function = getattr(np, name)

    def method(self: Any, *arguments: Any, **keywords: Any) -> Any:
        return tables().apply_function(function, (self, *arguments), keywords)

    method.__name__ = name
    method.__doc__ = f"Return np.{name} of the array."
    return method


def binary_method(name: str) -> Callable[..., Any]:
    """Make the method that NumPy's loop over objects calls for a ufunc of two operands."""

    def method(self: Any, other: Any) -> Any:
        return record(BY_NAME[name], self, other)

    method.__name__ = name
    return method


def flatten(self: Any, order: Any = "C") -> Any:
    """Return a flat copy."""
    return self.copy().reshape(-1) if order == "C" else np.ravel(self, order=order).copy()


def astype(
    self: Any, dtype: Any, order: str = "K", casting: Any = "unsafe", subok: bool = True, copy: bool = True
) -> Any:
    """Return a copy of the array: its values are floating already; other dtypes have no derivative."""
    wanted = np.dtype(dtype)
    if not np.can_cast(self.dtype, wanted, casting):
        raise TypeError(
            message(
                f"x.astype: cannot cast {self.dtype} to {wanted} according to casting={casting!r}",
                "give a wider dtype, or leave casting= away",
            )
        )
    if wanted.kind == "b":
        return self.copy(order) if self.boolean else self != 0.0
    if wanted.kind in "iu":
        if self.boolean:
            return np.multiply(self, 1.0)  # ones and zeros, which are no mask any more
        return decide("whole_numbers", self, keywords={"dtype": wanted})
    if wanted.kind == "O":
        return np.array(self, dtype=object)  # one of recording numbers
    if wanted.kind != "f":
        return refuse(f"a recording value cannot become {wanted}", "use real floating-point numbers")
    same = wanted == self.dtype
    result = tables().in_dtype(tables().widened(self, wanted), wanted)
    if result is not self:
        return result
    return self if same and not copy and order in "KA" else self.copy(order)


def compress(self: Any, condition: Any, axis: Any = None, out: Any = None) -> Any:
    """Return the slices along an axis for which a condition holds."""
    return tables().apply_function(np.compress, (condition, self), {"axis": axis, "out": out})


def put(self: Any, indices: Any, values: Any, mode: str = "raise") -> None:
    """Assign values to flat places."""
    tables().apply_function(np.put, (self, indices, values, mode), {})


def sort(self: Array, axis: int = -1, kind: Any = None, order: Any = None, *, stable: Any = None) -> None:
    """Sort in place."""
    self[...] = np.sort(self, axis, kind, order, stable=stable)


def partition(self: Array, kth: Any, axis: int = -1, kind: str = "introselect", order: Any = None) -> None:
    """Partition in place."""
    self[...] = tables().apply_function(np.partition, (self, kth, axis, kind, order), {})


Active.flatten, Active.astype, Active.compress, Active.put = flatten, astype, compress, put
Array.sort, Array.partition = sort, partition
for _name in dir(np.ndarray):
    if callable(getattr(np, _name, None)) and not hasattr(Array, _name) and _name != "resize":  # which is in place
        setattr(Active, _name, numpy_method(_name))
for _ufunc, _op in OPS.items():
    if _op.arity == 1 and not hasattr(Scalar, _ufunc.__name__):
        setattr(Scalar, _ufunc.__name__, unary(_op.name))
for _ufunc, _function in WATCHED.items():
    setattr(Scalar, _ufunc.__name__, _function)
for _name in ("fmod", "arctan2"):
    setattr(Scalar, _name, binary_method(_name))
