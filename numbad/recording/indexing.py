"""Indexing of recording arrays: views, elements that an index names, and assignment to them."""

from __future__ import annotations

from typing import Any

import numpy as np

from numbad.errors import message
from numbad.geometry import contiguous, spread
from numbad.limits import MOST_PLANS
from numbad.recording.active import Active, Given, Shape, given_among, new
from numbad.recording.arrays import Array, FlatStorage, Storage
from numbad.recording.block_assignment import assign_block
from numbad.recording.decisions import concrete_truth, whole_now
from numbad.recording.operands import as_active, holds_active, in_precision
from numbad.recording.recorder import refuse, refuse_lastingly
from numbad.recording.scalars import Scalar, make_scalar

PLAIN = frozenset((int, type(None)))  # types of the ends of most slices
VIEWS: dict[
    Any, tuple[Shape, int, Shape | None]
] = {}  # shape, strides and index -> those of the view, and how far it begins


def get_item(self: Array, key: Any) -> Any:
    """Return x[key]: a scalar, a view, or a new array of elements."""
    if type(key) is int and len(self.shape) == 1:
        length = self.shape[0]
        if key < 0:
            key += length
        if not 0 <= key < length:
            raise IndexError(
                f"index {key if key >= 0 else key - length} is out of bounds for axis 0 with size {length}"
            )
        if self.first is not None:
            return make_scalar(self.recorder, self.first + key, self.boolean)
        return self.scalar_at(self.offset + key * (1 if self.pitches is None else self.pitches[0]))
    basic = basic_view(self, key)
    if basic is not None:
        return basic
    given = given_among(key)
    return take_elements(self, concrete_key(key)) if given is None else given.look_up(self, key)


def set_item(self: Array, key: Any, value: Any) -> None:
    """Assign x[key] = value: the array's storage then names other addresses."""
    if self.recorder.closed:
        self.recorder.extend(())  # raises
    if self.storage.frozen:
        refuse_lastingly(
            f"the elements of this array cannot be assigned: {self.storage.frozen}",
            "assign to a copy: y = x.copy()",
        )
    if type(self.storage) is FlatStorage and self.is_whole():
        alias = self.storage.alias
        set_item(alias, np.unravel_index(np.arange(self.size)[concrete_key(key)], alias.shape), value)
    value = as_active(self.recorder, in_precision(self.recorder, value))
    if value is NotImplemented:
        refuse("this cannot be assigned to an element of a recording array", "assign numbers or arrays")
    if self.boolean and not value.boolean:
        value = value != 0.0
    if (key is Ellipsis or (type(key) is slice and key == slice(None))) and self.is_whole():
        overwrite(self, value)
    elif type(key) is int and type(value) is Scalar and len(self.shape) == 1:
        self.own_addresses()[key] = value.address
    else:
        target = basic_view(self, key)
        if type(target) is not Array or not assign_part(target, value):
            self.own_addresses()[concrete_key(key)] = addresses_of(value)


Array.__getitem__, Array.__setitem__ = get_item, set_item


# ---------------------------------------------------------------- assignment


def assign_part(target: Array, value: Any) -> bool:
    """Assign to a view without a list of addresses; False where that takes one."""
    if type(value) is Array:
        if value.shared is target.shared and value.shape == target.shape and value.offset == target.offset:
            if value.steps() == target.steps():
                return True  # x[key] += y has assigned to the view already
        value = broadcast_value(value, target.shape)
    return assign_block(target, value)


def overwrite(array: Array, value: Any) -> None:
    """Assign to all elements of an array that is its whole storage."""
    storage = array.storage
    if isinstance(value, Array):
        value = broadcast_value(value, array.shape)
        space, address, strides = value.place()
        if strides is None:
            storage.space, storage.address, storage.step, storage.addresses = space, address, 1, None
            return
        if any(strides):
            copied = value.copy().storage
            storage.space, storage.address, storage.step = 0, copied.address, copied.step
            storage.addresses = copied.addresses
            return
        if space:
            value = value.scalar_at(value.offset)
            address = value.address
    else:
        address = value.address
    storage.space, storage.address, storage.step, storage.addresses = 0, address, 0, None


def broadcast_value(value: Array, shape: Shape) -> Array:
    """Broadcast a value that is assigned to a view of `shape`, as NumPy does."""
    if value.shape == shape:
        return value
    extra = len(value.shape) - len(shape)
    if extra > 0 and all(length == 1 for length in value.shape[:extra]):
        value = value.reshape(value.shape[extra:])
    try:
        return value.broadcast_to(shape)
    except ValueError:
        raise ValueError(
            message(
                f"could not broadcast input array from shape {value.shape} into shape {shape}",
                "assign a value of the shape of the elements that are named",
            )
        ) from None


def addresses_of(value: Any) -> Any:
    """Return the address of a scalar, or the addresses of an array's elements."""
    return value.address_view() if isinstance(value, Array) else value.address


# ---------------------------------------------------------------- elements and views


def basic_view(array: Array, key: Any) -> Any:
    """Return the view that a basic index makes, or None when the index is an advanced one.

    Hot path: what slices and plain numbers make of a geometry is worked out once.
    """
    memo: list[Any] = [array.shape, array.pitches]
    for part in key if type(key) is tuple else (key,):
        kind = type(part)
        if kind is slice:
            start, stop, step = part.start, part.stop, part.step
            if type(start) not in PLAIN or type(stop) not in PLAIN or type(step) not in PLAIN:
                return make_view(array, key)
            memo.append((start, stop, step))
        elif kind is int:
            memo.append(part)
        else:
            return make_view(array, key)
    known = VIEWS.get(found := tuple(memo))
    if known is None:
        view = make_view(array, key)
        if type(view) is Array:
            if len(VIEWS) >= MOST_PLANS:
                VIEWS.clear()
            VIEWS[found] = view.shape, view.offset - array.offset, view.pitches
        return view
    result = new(Array)
    result.recorder, result.shared, result.first, result.boolean = array.recorder, array.storage, None, array.boolean
    result.shape, distance, result.pitches = known
    result.offset = array.offset + distance
    return result


def make_view(array: Array, key: Any) -> Any:
    """Return the view that a basic index makes, or None when the index is an advanced one."""
    keys = key if type(key) is tuple else (key,)
    consumed = omitted = 0
    for part in keys:
        kind = type(part)
        if kind is slice or kind is int:
            consumed += 1
        elif part is Ellipsis:
            omitted += 1
        elif issubclass(kind, Given):
            return None
        elif isinstance(part, np.integer):
            consumed += 1
        elif part is not None:
            return None
    lengths = array.shape
    ndim = len(lengths)
    if consumed > ndim:
        raise IndexError(f"too many indices for array: array is {ndim}-dimensional, but {consumed} were indexed")
    if omitted > 1:
        raise IndexError("an index can only have a single ellipsis ('...')")
    steps = contiguous(lengths) if array.pitches is None else array.pitches
    shape: list[int] = []
    strides: list[int] = []
    offset = array.offset
    axis = 0
    for part in keys:
        kind = type(part)
        if kind is slice:
            length, pitch = lengths[axis], steps[axis]
            start, stop, step = indices_of(part, length)
            length = max(0, stop - start) if step == 1 else len(range(start, stop, step))
            shape.append(length)
            strides.append(pitch * step)
            if length:
                offset += start * pitch
            axis += 1
        elif part is None:
            shape.append(1)
            strides.append(0)
        elif part is Ellipsis:
            rest = ndim - consumed
            shape += lengths[axis : axis + rest]
            strides += steps[axis : axis + rest]
            axis += rest
        else:
            length = lengths[axis]
            place = int(part)
            if not -length <= place < length:
                raise IndexError(f"index {place} is out of bounds for axis {axis} with size {length}")
            offset += (place % length) * steps[axis]
            axis += 1
    if axis < ndim:
        shape += lengths[axis:]
        strides += steps[axis:]
    if not shape and not omitted:
        return array.scalar_at(offset)
    return array.view(tuple(shape), offset, tuple(strides))


def indices_of(part: slice, length: int) -> tuple[int, int, int]:
    """Return the first index, the end and the step of a slice; its ends may be numbers of the recording."""
    if type(part.start) in PLAIN and type(part.stop) in PLAIN and type(part.step) in PLAIN:
        return part.indices(length)
    ends = (None if end is None else int(end) for end in (part.start, part.stop, part.step))
    return slice(*ends).indices(length)


def take_elements(array: Array, key: Any) -> Any:
    """Return a new array of the elements that an advanced index names."""
    addresses = fancy_addresses(array, key)
    if not isinstance(addresses, np.ndarray):
        return make_scalar(array.recorder, int(addresses), array.boolean)
    storage = Storage(0, 0, addresses.size)
    storage.addresses = np.array(addresses, np.int64).reshape(-1)
    return Array(array.recorder, storage, addresses.shape, 0, None, array.boolean)


def fancy_addresses(array: Array, key: Any) -> Any:
    """Return the addresses that an advanced index names."""
    index = np.asarray(key) if isinstance(key, (list, np.ndarray)) else None
    storage = array.storage
    if index is not None and index.dtype.kind in "iu" and storage.addresses is None and not storage.space:
        length = array.shape[0]
        if index.size and (index.min() < -length or index.max() >= length):
            bad = index[(index < -length) | (index >= length)].reshape(-1)[0]
            raise IndexError(f"index {bad} is out of bounds for axis 0 with size {length}")
        steps = array.steps()
        first = storage.address + storage.step * array.offset
        index = index.astype(np.int64)
        rows = np.where(index < 0, index + length, index) * (steps[0] * storage.step) + first
        if len(array.shape) == 1:
            return rows
        inner = spread(array.shape[1:], tuple(storage.step * s for s in steps[1:]))
        return rows.reshape(rows.shape + (1,) * inner.ndim) + inner
    return array.address_view()[key]


# ---------------------------------------------------------------- indices that are recording values


def concrete_key(key: Any) -> Any:
    """Return an index with recording values replaced by what they are now, guarded."""
    if type(key) is tuple:
        return tuple(concrete_key(part) for part in key)
    if isinstance(key, Active):
        return concrete_truth(key) if key.boolean else whole_now(key)
    if isinstance(key, slice):
        return key
    if issubclass(type(key), Given):
        return key.settle()
    if isinstance(key, (list, np.ndarray)):
        values = np.asarray(key, dtype=object) if isinstance(key, list) and holds_active(key) else np.asarray(key)
        if values.dtype == object and values.size:
            return np.vectorize(lambda part: bool(part) if getattr(part, "boolean", False) else part.__index__())(
                values
            )
        return key if values.size or values.dtype.kind in "iub" else np.asarray(key, np.intp)
    return key
