"""Assignment to a large part of an array, as in u[1:-1, 1:-1] += flow: a new block, copied together by strided sums.

An assignment to few elements lists addresses anew (see `indexing`), and each reading of the array gathers them. Where a
rectangular part of some size is assigned, what lies around it and the value are copied into one new block instead:
all that is read later is a view of it. What is copied is worked out once for a geometry, and kept.
"""

from __future__ import annotations

from array import array
from typing import Any, NamedTuple

from numbad.geometry import contiguous
from numbad.limits import ASSIGNED_SHARE, FEWEST_ASSIGNED
from numbad.recording.active import Shape
from numbad.recording.arrays import Array
from numbad.recording.recorder import Recorder, structural_words
from numbad.recording.row_plans import PLANS, keep
from numbad.tape.layout import ADD, address_at, mark_absent, space_at


class Piece(NamedTuple):
    """A row that copies one part: its words, and where in them the addresses and the operand's space belong."""

    words: array[int]
    out: int
    space: int
    operand: int
    is_value: bool


def assign_block(target: Array, value: Any) -> bool:
    """Assign a value of its shape, or a number, to a view; False where addresses are to be listed instead."""
    storage = target.storage
    count = target.size
    if storage.addresses is not None or count < FEWEST_ASSIGNED or count * ASSIGNED_SHARE < storage.size:
        return False
    if type(value) is Array:
        space, address, strides = value.place()
        strides = contiguous(value.shape) if strides is None else strides
    else:
        space, address, strides = 0, value.address, (0,) * len(target.shape)
    steps = target.steps()
    key = (ADD, storage.size, storage.step, target.shape, target.offset, steps, strides)
    pieces = PLANS.get(key, PLANS)
    if pieces is PLANS:
        pieces = keep(key, plan_pieces(storage.size, storage.step, target.shape, target.offset, steps, strides))
    if pieces is None:
        return False
    recorder = target.recorder
    block = recorder.allocate(storage.size)
    append_pieces(recorder, pieces, block, (storage.space, storage.address), (space, address))
    storage.space, storage.address, storage.step = 0, block, 1
    return True


def append_pieces(
    recorder: Recorder, pieces: list[Piece], block: int, old: tuple[int, int], value: tuple[int, int]
) -> None:
    """Append the rows that copy what was there and the value into a new block."""
    words, site = recorder.words, None
    for piece in pieces:
        position = len(words)
        words.extend(piece.words)
        space, address = value if piece.is_value else old
        words[position + piece.out] += block
        words[position + piece.space] = space
        words[position + piece.operand] += address
        row = len(recorder.code) // 4
        if row == 0 or site is None:
            recorder.append(ADD, block, position, 2)
            site = recorder.sites.get(row)
        else:
            recorder.sites[row] = site
            recorder.extend((ADD, block, position, 2))


def plan_pieces(size: int, step: int, shape: Shape, offset: int, steps: Shape, strides: Shape) -> list[Piece] | None:
    """Return the rows that copy a block of `size` but for a view of it, and a value into that; None if it is no box."""
    box = box_of(size, shape, offset, steps)
    if box is None:
        return None
    whole, low, high = box
    pieces: list[Piece] = []
    for part, pitches, first in around(whole, low, high):
        source = pitches if step else (0,) * len(part)
        pieces.append(piece_of(part, 0 if pieces else size, (first, pitches), (first * step, source), False))
    pieces.append(piece_of(shape, 0 if pieces else size, (offset, steps), (0, strides), True))
    return pieces


def piece_of(shape: Shape, cleared: int, out: tuple[int, Shape], operand: tuple[int, Shape], is_value: bool) -> Piece:
    """Return one row; the first of a block clears it to -0.0, which adds nothing, not even to the sign of a zero."""
    words = array("q", structural_words(shape, cleared, ((0, *out), (0, *operand))))
    if cleared:
        mark_absent(words, 0)
    return Piece(words, address_at(words, 0, 0), space_at(words, 0, 1), address_at(words, 0, 1), is_value)


def box_of(size: int, shape: Shape, offset: int, steps: Shape) -> tuple[Shape, Shape, Shape] | None:
    """Return the shape of a block in which a view is a box, and the box's lowest and next to highest indices.

    None where the view is no box of unit steps in a block of so many elements.
    """
    if not all(step > 0 for step in steps) or not all(shape):
        return None
    sizes, pitch = [], size
    for step in steps:
        if pitch % step:
            return None
        sizes.append(pitch // step)
        pitch = step
    if pitch > 1:  # one column of each row
        sizes.append(pitch)
        shape, steps = (*shape, 1), (*steps, 1)
    low = []
    for step in steps:
        low.append(offset // step)
        offset %= step
    high = [first + length for first, length in zip(low, shape, strict=True)]
    if any(last > length for last, length in zip(high, sizes, strict=True)):
        return None
    return tuple(sizes), tuple(low), tuple(high)


def around(whole: Shape, low: Shape, high: Shape) -> list[tuple[Shape, Shape, int]]:
    """Return shape, strides and place of parts that together are all of a block but a box; two equal sides are one."""
    found = []
    pitches = contiguous(whole)
    first = 0
    inner: Shape = ()
    for axis, (length, start, stop) in enumerate(zip(whole, low, high, strict=True)):
        before, behind = start, length - stop
        rest, step = whole[axis + 1 :], pitches[axis]
        if before and before == behind:
            found.append(((*inner, 2, before, *rest), (*pitches[:axis], stop * step, *pitches[axis:]), first))
        else:
            if before:
                found.append(((*inner, before, *rest), pitches, first))
            if behind:
                found.append(((*inner, behind, *rest), pitches, first + stop * step))
        first += start * step
        inner = (*inner, stop - start)
    return found
