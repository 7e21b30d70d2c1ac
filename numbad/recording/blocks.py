"""Building arrays from others without computing: by relabelling addresses, or by strided copies into one block."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from numbad.geometry import contiguous
from numbad.limits import RELABEL
from numbad.recording.arrays import Array, Storage, make_block
from numbad.recording.recorder import Recorder
from numbad.recording.scalars import make_scalar
from numbad.tape.layout import ADD

Shape = tuple[int, ...]


def labelled(recorder: Recorder, addresses: Any, boolean: bool = False) -> Any:
    """Return the recording array (or scalar) whose elements live at these addresses."""
    if not np.ndim(addresses):
        return make_scalar(recorder, int(addresses), boolean)
    table = np.array(addresses, np.int64, order="C")  # a copy: the result shares no memory
    storage = Storage(0, 0, table.size)
    storage.addresses = table.reshape(-1)
    return Array(recorder, storage, table.shape, 0, None, boolean)


def is_small(*arrays: Array) -> bool:
    """Whether arrays are small, and in the arena, so that their addresses may be listed."""
    return all(not a.storage.space or a.storage.size <= RELABEL for a in arrays) and is_short(
        sum(a.size for a in arrays)
    )


def is_short(count: int) -> bool:
    """Whether a result of so many elements may be a table of addresses."""
    return count <= RELABEL


def relabel(array: Array, rearrange: Callable[[np.ndarray], Any]) -> Any:
    """Return the array that a NumPy function makes of the addresses: for functions that only move elements."""
    return labelled(array.recorder, rearrange(array.address_view()), array.boolean)


def zeros(recorder: Recorder, shape: Shape, boolean: bool = False) -> Any:
    """Return zeros: every element is the constant at address 0."""
    return repeated(recorder, 0, shape, boolean)


def repeated(recorder: Recorder, address: int, shape: Shape, boolean: bool = False) -> Any:
    """Return an array whose elements are all at one address."""
    if not shape:
        return make_scalar(recorder, address, boolean)
    return Array(recorder, Storage(0, address, math.prod(shape), 0), shape, 0, None, boolean)


def operand_of(array: Array) -> tuple[int, int, Shape]:
    """Describe an array as the operand of an ADD or CONTRACT row: (space, address, strides)."""
    space, address, strides = array.place()
    return space, address, contiguous(array.shape) if strides is None else strides


def assemble(recorder: Recorder, shape: Shape, pieces: list[tuple[int, Shape, Array]], boolean: bool = False) -> Any:
    """Copy pieces, given as (offset, strides, array), into one new block; the rest is zero."""
    count = math.prod(shape)
    operands = [(offset, strides, part.shape, operand_of(part)) for offset, strides, part in pieces if part.size]
    if not operands:
        return zeros(recorder, shape, boolean)
    out = recorder.allocate(count)
    cleared = count  # the first row clears the whole block, the others add to it
    for offset, strides, part_shape, operand in operands:
        recorder.structural_row(ADD, part_shape, cleared, out, ((0, out + offset, strides), operand))
        cleared = 0
    return make_block(recorder, out, shape, boolean)


def join(recorder: Recorder, parts: list[Array], axis: int) -> Any:
    """Concatenate arrays that fit along an axis."""
    boolean = all(part.boolean for part in parts)
    if is_small(*parts):
        return labelled(recorder, np.concatenate([part.address_view() for part in parts], axis), boolean)
    first = parts[0].shape
    shape = (*first[:axis], sum(part.shape[axis] for part in parts), *first[axis + 1 :])
    strides = contiguous(shape)
    pieces, position = [], 0
    for part in parts:
        pieces.append((position * strides[axis], strides, part))
        position += part.shape[axis]
    return assemble(recorder, shape, pieces, boolean)


def add_at(recorder: Recorder, addend: Array, places: np.ndarray, size: int) -> Any:
    """Return `size` zeros to which the elements of `addend` have been added at flat `places`, repeats included."""
    space, address, strides = addend.place()
    if strides is not None and addend.shape:
        space, address, _ = materialise(addend).place()
    out = recorder.scatter_row(np.ascontiguousarray(places, np.int64).reshape(-1), size, space, address)
    return make_block(recorder, out, (size,))


def materialise(array: Array) -> Array:
    """Return the array as a contiguous block."""
    block = array.recorder.add_row(array.shape, array.size, contiguous(array.shape), operand_of(array))
    return Array(array.recorder, Storage(0, block, array.size), array.shape, 0, None, array.boolean)
