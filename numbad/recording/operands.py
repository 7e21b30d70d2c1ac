"""Operands: any number, array or nested sequence as a value of a recording."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from numbad.errors import LeakError, RecordingError, attribute, message, other_meaning
from numbad.kernels.memory import contains_zero
from numbad.limits import SMALL
from numbad.recording.active import Active, Given, Shape
from numbad.recording.arrays import Array, Storage, as_array, make_block, outside
from numbad.recording.blocks import join, labelled
from numbad.recording.recorder import Recorder, current, refuse
from numbad.recording.scalars import Scalar, make_scalar


def as_active(recorder: Recorder, value: Any) -> Any:
    """Return any operand as a recording value of this recorder, or NotImplemented."""
    if isinstance(value, Active):
        if value.recorder is not recorder:
            foreign(value)
        return value
    kind = type(value)
    if kind is float or kind is int or kind is bool:
        address = recorder.constants.get(value)
        return make_scalar(recorder, recorder.constant(value) if address is None else address, kind is bool)
    if isinstance(value, np.ndarray):
        if kind is not np.ndarray:
            if issubclass(kind, Given):
                return value.enter(recorder)  # type: ignore[attr-defined]
            refuse_meaning(value)
        if value.dtype == object:
            return pack(recorder, value)
        if value.ndim:
            return constant_array(recorder, value)
        return as_active(recorder, value[()])
    if isinstance(value, np.generic):
        if issubclass(kind, Given):
            return value.enter(recorder)  # type: ignore[attr-defined]
        if value.dtype.kind not in "fiub":
            complex_operand(value)
        recorder.promote(value.dtype)  # NumPy's numbers have a precision, Python's have none
        return as_active(recorder, float(value) if value.dtype.kind == "f" else value.item())
    if isinstance(value, (list, tuple)):
        return as_active(recorder, nested_array(value))
    if isinstance(value, complex):
        complex_operand(value)
    if isinstance(value, (str, bytes, dict, set)) or value is None:
        return NotImplemented
    if attribute(value, "__array__") is not None:
        return as_active(recorder, np.asarray(value))
    if hasattr(type(value), "__float__"):
        return as_active(recorder, float(value))
    return NotImplemented


def in_precision(recorder: Recorder, value: Any) -> Any:
    """Return what is assigned to a recording array: plain numbers and arrays take its precision, as in NumPy."""
    if isinstance(value, np.generic) and value.dtype.kind in "fiu":
        return value.item()
    if type(value) is np.ndarray and recorder.dtype == np.float32 and value.dtype.kind in "fiu":
        return value.astype(np.float32)
    return value


def constant_array(recorder: Recorder, values: np.ndarray) -> Array:
    """Return a plain array as a constant of the recording: small ones are copied, large ones kept by reference."""
    if values.dtype.kind not in "fiub":
        refuse(f"an array of dtype {values.dtype} cannot take part in a recording", "use real numbers")
    dtype = recorder.dtype
    if values.dtype is not dtype:
        recorder.promote(values.dtype)
        dtype = recorder.dtype
    boolean = values.dtype.kind == "b"
    count = values.size
    if count <= SMALL:
        address = recorder.allocate(count)
        flat = values.flatten() if values.dtype is dtype else values.astype(dtype).flatten()
        recorder.loads.append((address, flat))
        if contains_zero(flat):
            recorder.masks[address] = flat
        return make_block(recorder, address, values.shape, boolean)
    if not (values.flags.c_contiguous or values.flags.f_contiguous) or not values.flags.aligned:
        values = np.array(values, recorder.dtype, order="C")
        return Array(recorder, *outside(recorder.refer(values), values), boolean)
    if values.dtype != recorder.dtype:
        values = values.astype(recorder.dtype)
        return Array(recorder, *outside(recorder.refer(values), values), boolean)
    part = recorder.part_of_argument(values) if recorder.arguments and values.flags.c_contiguous else None
    if part is not None:
        return Array(recorder, Storage(*part, values.size), values.shape, 0, None, boolean)
    return Array(recorder, *outside(recorder.borrow(values), values), boolean)


def has_zeros(value: Any) -> bool:
    """Whether a factor does not vary and has zeros, so that there the product does not vary either.

    Truth values do not vary where they have a derivative at all.
    """
    if isinstance(value, Active):
        if value.boolean or is_constant_zero(value):
            return True
        value = constant_values(value)
    elif issubclass(type(value), Given):
        return True
    elif isinstance(value, (list, tuple)):
        value = nested_array(value)
    if isinstance(value, np.ndarray) and value.dtype.kind in "fiub":
        return contains_zero(value)
    return isinstance(value, (float, int, np.generic)) and value == 0


def constant_values(array: Any) -> np.ndarray | None:
    """Return the elements of an operand that the program gave as a plain array; None where they vary, or have no zeros.

    Arrays of the arena are remembered if they have zeros, for that is all that is asked of them.
    """
    if type(array) is not Array:
        return array if issubclass(type(array), np.ndarray) else None
    recorder = array.recorder
    if array.first is not None and not recorder.masks:
        return None
    storage = array.storage
    if storage.addresses is not None or not storage.step or storage.space in recorder.input_spaces:
        return None
    if storage.space:
        values = recorder.spaces[storage.space]
        flat = values.reshape(-1, order="C" if values.flags.c_contiguous else "F")[storage.address :]
    elif storage.address in recorder.masks:
        flat = recorder.masks[storage.address]
    else:
        return None
    steps = [step * flat.itemsize for step in array.steps()]
    return np.lib.stride_tricks.as_strided(flat[array.offset :], array.shape, steps, writeable=False)


def is_constant_zero(value: Any) -> bool:
    """Whether a recording value is the constant zero, as the derivative of a constant is."""
    zeros = 0, value.recorder.zeros
    if type(value) is not Array:
        return value.address in zeros
    storage = value.storage
    return storage.step == 0 and storage.space == 0 and storage.addresses is None and storage.address in zeros


def load_like(values: Any, shape: Shape, recorder: Recorder) -> int | None:
    """Copy a small plain array of the recording's shape and dtype into the arena; None for anything else."""
    if type(values) is not np.ndarray or values.shape != shape or values.dtype is not recorder.dtype:
        return None
    if 0 < values.size <= SMALL:
        address = recorder.allocate(values.size)
        recorder.loads.append((address, values.flatten()))
        return address
    return None


def pack(recorder: Recorder, values: np.ndarray) -> Any:
    """Return an object array of recording scalars and numbers as a recording array."""
    flat = values.reshape(-1).tolist()
    addresses = np.empty(len(flat), np.int64)
    boolean = bool(flat)
    for k, part in enumerate(flat):
        if not isinstance(part, Active) and isinstance(part, np.ndarray) and part.size == 1:
            part = part.reshape(-1)[0]
        part = as_active(recorder, part)
        if isinstance(part, Array) and part.size == 1:
            part = part.item()
        if not isinstance(part, Scalar):
            refuse("an object array holds something that is not a number", "build arrays of numbers only")
        boolean = boolean and part.boolean
        addresses[k] = part.address
    storage = Storage(0, 0, len(flat))
    storage.addresses = addresses
    if not values.ndim:
        return make_scalar(recorder, int(addresses[0]), boolean)
    return Array(recorder, storage, values.shape, 0, None, boolean)


def nested_array(values: Any) -> np.ndarray:
    """Return nested sequences of numbers and recording values as an array, of objects if need be."""
    if holds_active(values):
        return stack_nested(values)
    return np.asarray(values)


def holds_active(values: Any) -> bool:
    """Whether nested lists and tuples hold a recording value."""
    return any(
        isinstance(part, Active)
        or (isinstance(part, (list, tuple)) and holds_active(part))
        or (isinstance(part, np.ndarray) and part.dtype == object)
        for part in values
    )


def refuse_meaning(values: np.ndarray) -> None:
    """Refuse an array of a subclass whose operations mean something else than those of plain arrays."""
    found = other_meaning(values)
    if found:
        refuse(f"{found[0]} cannot take part in a recording", found[1])


def complex_operand(value: Any) -> Any:
    """Refuse a complex operand."""
    return refuse(
        f"{np.asarray(value).dtype} numbers cannot take part in a recording", "use real arrays for both parts"
    )


def foreign(value: Active) -> None:
    """Raise: the value belongs to another recording."""
    if value.recorder.closed:
        value.recorder.extend(())
    raise LeakError(
        message(
            "values of two recordings meet in one operation",
            "do not pass recording values from one thread or gradient to another",
        )
    )


def recorder_of(*values: Any) -> Recorder:
    """Return the recorder of the first recording value among nested arguments."""
    for value in values:
        if isinstance(value, Active):
            return value.recorder
        if isinstance(value, (list, tuple)):
            if holds_active(value):
                return recorder_of(*value)
        elif isinstance(value, np.ndarray) and value.dtype == object and value.size:
            found = [part for part in value.reshape(-1).tolist() if isinstance(part, Active)]
            if found:
                return found[0].recorder
    recorder = current()
    if recorder is None:
        raise RecordingError(message("no operand is recording", "call the NumPy function itself"))
    return recorder


def to_active(value: Any, recorder: Recorder | None = None) -> Any:
    """Return any operand as a recording value."""
    if isinstance(value, Active) and (recorder is None or value.recorder is recorder):
        return value
    active = as_active(recorder or recorder_of(value), value)
    if active is NotImplemented:
        do = "write S @ x for a product, or S.toarray()" if hasattr(value, "toarray") else "use numbers"
        raise RecordingError(message(f"a {type(value).__name__} cannot take part in a recording", do))
    return active


def to_array(value: Any, recorder: Recorder | None = None) -> Any:
    """Return any operand as a recording array; scalars as one of no axes."""
    return as_array(to_active(value, recorder))


def read_arrays(*values: Any) -> list[Any]:
    """Return several operands as recording arrays, as functions take them that are no ufuncs: by np.asarray.

    A number of Python's adapts to the precision of ufuncs' other operands; as an array it is in double precision.
    """
    read_numbers(recorder_of(*values), values)
    return to_arrays(*values)


def read_numbers(recorder: Recorder, values: Iterable[Any]) -> None:
    """Widen a recording in single precision where numbers of Python's are read by np.asarray."""
    if recorder.dtype == np.float32 and any(type(value) is float or type(value) is int for value in values):
        recorder.promote(np.dtype(np.float64))


def to_arrays(*values: Any) -> list[Any]:
    """Return several operands, of which one is recording, as recording arrays."""
    recorder = recorder_of(*values)
    return [to_array(value, recorder) for value in values]


def demote(value: Any) -> Any:
    """Return an array of no axes as a scalar."""
    return value.item() if isinstance(value, Array) and not value.shape else value


def stack_nested(values: Any, dtype: Any = None) -> Any:
    """Return nested sequences that hold recording values as a recording array; numbers adapt to a dtype, if given."""
    recorder = recorder_of(*values)
    if dtype is None:
        read_numbers(recorder, values)
    active = [
        stack_nested(part, dtype)
        if isinstance(part, (list, tuple)) and holds_active(part)
        else to_active(part, recorder)
        for part in values
    ]
    if all(isinstance(part, Array) for part in active):
        if len({part.shape for part in active}) > 1:
            raise ValueError("all input arrays must have the same shape")
        return join(recorder, [part.reshape((1, *part.shape)) for part in active], 0)
    if any(part.shape for part in active):
        raise ValueError("the parts of a nested sequence have different shapes")
    boolean = all(part.boolean for part in active)
    table = np.array([part.address if type(part) is Scalar else part.item().address for part in active], np.int64)
    return labelled(recorder, table, boolean)
