"""Derivatives as rows: the adjoint and the tangent of a region of the tape, appended to the same tape.

A region is a run of rows together with its inputs: fresh blocks of the arena. The emitted rows are
ordinary rows, so they can be swept, differentiated again, and run over many seeds at once: with
*lanes*, each cotangent is a row of as many numbers, and a product of matrix and vector becomes one
of matrices.

What is absent (ARCHITECTURE.md) is -0.0 in emitted rows too: partials are multiplied by the ops `weigh` and `gate`.
"""

from __future__ import annotations

import functools
import math
from bisect import bisect_right
from collections.abc import Iterable
from typing import Any

import numpy as np

from numbad.emission.emitter import Emitter
from numbad.emission.multiples import VIRTUAL, Multiples, multiply
from numbad.geometry import affine_strides, compact, contiguous, is_run, overlaps, spread
from numbad.kernels.emission_layout import ADJOINT
from numbad.limits import LARGE, MOST_BLOCKS
from numbad.ops.definition import BY_NAME
from numbad.recording.active import Active
from numbad.recording.arrays import Array, Storage, constant, filled, make_block, number_at, strided
from numbad.recording.operands import as_active
from numbad.recording.recorder import Recorder
from numbad.recording.scalars import make_scalar
from numbad.sweeps.dependence import NONE, mark_active
from numbad.sweeps.execution import seed_of
from numbad.tape.layout import (
    ADD,
    MAP,
    host_call,
    host_places,
    is_guard,
    row_operands,
    row_shape,
)

COMPILED = True  # False: Python does the scalar rows, too, which tests compare


Shape = tuple[int, ...]
Operand = tuple[int, int, Shape, Shape]  # of a row: space, address, shape, strides


class Identity:
    """A seed of one lane for each element, from lane `start` on: rows of the identity matrix."""

    def __init__(self, start: int) -> None:
        self.start = start


class Units:
    """Addresses whose cotangents are rows of the identity matrix, which is written to memory when it is read.

    Attributes
    ----------
    count : int
        How many they are.
    lane : int
        Where the first of them has its one.
    base : int
        Where the rows are in the arena.
    """

    def __init__(self, count: int, lane: int, base: int) -> None:
        self.count, self.lane, self.base = count, lane, base


def assignable(value: Any) -> Any:
    """Return a result whose elements the user may assign one by one: none that lies at the place of another."""
    if not isinstance(value, Array) or value.pitches is None or 0 not in value.pitches:
        return value
    if any(value.pitches):
        return value.copy()
    space, address, _ = value.place()
    if space:
        return value.copy()
    return Array(value.recorder, Storage(0, address, value.size, 0), value.shape, 0, None, value.boolean)


class Linear:
    """The cotangents, or tangents, of a region's addresses while rows for them are emitted.

    Attributes
    ----------
    base : int
        The first address of the region.
    places : ndarray of int64
        For each address from `base` on, the address of its cotangent (of its first lane); 0 is zero.
    active : ndarray of bool
        For each address, whether it depends on the region's inputs.
    flags : ndarray of uint8
        For each row of the region, which of its operands do (bits 1 and 2).
    certain : ndarray of bool, or None
        For each address, whether its cotangent is a number and never absent, in a region of scalar rows.
    lanes : int
        Number of seeds; 0 for one seed without an axis of its own.
    blocks : dict of int to (int, int)
        By their first address, blocks of the region whose cotangents lie in one run: where it begins, and how many
        addresses the block has. `places` says the same, and need not be read for them.
    """

    def __init__(self, recorder: Recorder, base: int, start: int, stop: int, lanes: int = 0) -> None:
        self.recorder = recorder
        self.base = base
        self.start, self.stop = start, stop
        self.lanes = lanes
        self.tail: Shape = (lanes,) if lanes else ()
        self.places = np.zeros(recorder.size - base, np.int64)
        self.active = np.zeros(recorder.size - base, np.bool_)
        self.flags = NONE
        self.certain: Any = None
        self.units: list[Units] = []
        self.unwritten: list[Units] = []
        self.multiples = Multiples(self)
        self.blocks: dict[int, tuple[int, int]] = {}

    @functools.cached_property
    def code(self) -> np.ndarray:
        """The rows of the region."""
        return np.frombuffer(self.recorder.code, np.uint32).reshape(-1, 4)[self.start : self.stop].copy()

    @functools.cached_property
    def words(self) -> np.ndarray:
        """The operand words of the tape; those of rows before the region are left out."""
        words = np.frombuffer(self.recorder.words, np.int64) if self.array_rows.size else np.empty(0, np.int64)
        found = np.empty_like(words)
        first = int(self.code[self.array_rows - self.start, 2].min(initial=words.size))
        found[first:] = words[first:]
        return found

    @functools.cached_property
    def emitter(self) -> Emitter:
        """The compiled passes over the scalar rows of the region."""
        if not self.lanes and not self.array_rows.size:
            self.certain = np.zeros(self.places.size, np.bool_)
        return Emitter(self)

    def run(self, which: int, row: int, stop: int) -> int:
        """Write the adjoint or the tangent of scalar rows by a compiled pass; return the row where it ended."""
        for units in list(self.unwritten):
            self.write_units(units)
        if self.multiples:
            self.multiples.resolve_rows(self.scalar_rows(row, stop))
        if which == ADJOINT:
            self.blocks.clear()
        return self.emitter.run(which, row, stop)

    def scalar_rows(self, row: int, stop: int) -> np.ndarray:
        """Return the scalar rows from one on up to the next array row; before it, if `stop` is."""
        arrays, start = self.array_rows, self.start
        k = int(np.searchsorted(arrays, row))
        if row < stop:
            return self.code[row - start : min([stop, *arrays[k : k + 1].tolist()]) - start]
        return self.code[max([stop, *(last + 1 for last in arrays[max(k - 1, 0) : k].tolist())]) - start : row - start]

    @functools.cached_property
    def array_rows(self) -> np.ndarray:
        """The rows of the region at which a compiled pass ends; it passes over guards."""
        if not self.recorder.words:
            return np.empty(0, np.int64)
        opcodes = self.code[:, 0]
        return np.flatnonzero((opcodes >= MAP) & ~is_guard(opcodes)) + self.start

    def by_python(self) -> bool:
        """Whether Python does the scalar rows too: they are large array rows, or a test wants it."""
        return not COMPILED or self.lanes >= LARGE

    def row(self, k: int) -> list[int]:
        """Return a row of the tape."""
        return self.recorder.code[4 * k : 4 * k + 4].tolist()

    # ------------------------------------------------------------ reading and adding

    def table(self, address: int, shape: Shape, strides: Shape, of: np.ndarray) -> np.ndarray:
        """Return the entries of a strided view of the region's addresses, as a view."""
        offset = address - self.base
        if 0 in shape:  # it may lie beyond the end
            return np.empty(shape, of.dtype)
        item = of.itemsize
        return np.ndarray(shape, of.dtype, of, offset * item, tuple(s * item for s in strides))

    def covers(self, space: int, address: int) -> bool:
        """Whether an operand lies in the region."""
        return space == 0 and address >= self.base and address - self.base < self.places.size

    def read(self, address: int, shape: Shape, strides: Shape) -> Any:
        """Return the cotangents of a strided view, with the lanes as last axis; None if all are zero."""
        found = self.find_block(address, shape, strides)
        return found if found is not None else self.collect(self.table(address, shape, strides, self.places))

    def find_block(self, address: int, shape: Shape, strides: Shape) -> Array | None:
        """Return the cotangents of a view of a whole block, with axes repeated, if they lie in one run."""
        place, size = self.blocks.get(address, (0, 0))
        if not place or not shape:
            return None
        width, count = max(self.lanes, 1), 1
        steps = [1] if self.lanes else []
        for length, step in zip(reversed(shape), reversed(strides), strict=True):
            if length == 1 or step == 0:
                steps.append(0)
            elif step == count:
                steps.append(step * width)
                count *= length
            else:
                return None
        if count != size:
            return None
        run = make_block(self.recorder, place, (size * width,))  # results are assignable: each has memory of its own
        return run.view(shape + self.tail, 0, tuple(reversed(steps)))

    def note_block(self, address: int, count: int, value: Any) -> None:
        """Note that the cotangents of a block, or of a part of one, are now an array, or something else."""
        self.forget_blocks(address, address + count)
        if not isinstance(value, Array) or value.pitches is not None or not count:
            return
        if value.size != count * max(self.lanes, 1):
            return
        storage = value.storage
        if storage.addresses is None and storage.space == 0 and storage.step:
            if len(self.blocks) >= MOST_BLOCKS:
                self.blocks.clear()
            self.blocks[address] = storage.address + value.offset, count

    def forget_blocks(self, start: int, stop: int) -> None:
        """Forget the blocks that have addresses in a range: `places` says what they are."""
        for first in [a for a, (_, count) in self.blocks.items() if a < stop and start < a + count]:
            del self.blocks[first]

    def collect(self, places: np.ndarray) -> Any:
        """Return what lies at some addresses (of first lanes) as a recording value; None if all are zero."""
        recorder = self.recorder
        named = compact(places)
        if not named.any():
            return None
        if self.multiples and named.max() >= VIRTUAL:
            return self.collect(self.multiples.resolve(places))
        self.write_named(named)
        if named.shape != places.shape:
            return self.collect(named).broadcast_to(places.shape + self.tail)
        if places.ndim == 0:
            return self.at(int(places))
        strides = affine_strides(places) if places.all() else None  # address 0 is outside, and has no lanes
        if strides is not None and not self.reaches_over(places):
            first = int(places[(0,) * places.ndim])
            return strided(recorder, 0, first, places.shape + self.tail, strides + ((1,) if self.lanes else ()))
        absent = number_at(recorder, -0.0)
        if self.lanes:
            lanes = np.arange(self.lanes, dtype=np.int64)
            places = np.where(places[..., None] == 0, absent, places[..., None] + lanes)
        else:
            places = np.where(places == 0, absent, places)
        return make_block(recorder, recorder.gather_row(places.reshape(-1)), places.shape)

    # ------------------------------------------------------------ rows of the identity matrix

    def seed_identity(self, addresses: np.ndarray, lane: int) -> None:
        """Seed addresses with rows of the identity matrix, which need not be written to memory."""
        flat = addresses.reshape(-1)
        count = flat.size
        first = int(flat[0]) if count else 0
        offset = first - self.base
        run = bool(count) and offset >= 0 and offset + count <= self.places.size
        if run and np.array_equal(flat, np.arange(first, first + count)) and not self.places[offset:][:count].any():
            place = self.recorder.allocate(count * self.lanes)
            self.places[offset : offset + count] = place + self.lanes * np.arange(count)
            units = Units(count, lane, place)
            self.units.append(units)
            self.unwritten.append(units)
        else:
            self.seed(addresses, np.eye(count, self.lanes, lane).reshape(*addresses.shape, self.lanes))

    def write_named(self, places: np.ndarray) -> None:
        """Give the rows of the identity matrix that some places name their values."""
        for units in list(self.unwritten):
            if ((places >= units.base) & (places < units.base + units.count * self.lanes)).any():
                self.write_units(units)

    def write_units(self, units: Units) -> None:
        """Give rows of the identity matrix their values."""
        self.unwritten.remove(units)
        values = seed_of(np.eye(units.count, self.lanes, units.lane, self.recorder.dtype))
        self.recorder.loads.append((units.base, values.reshape(-1)))

    def add_units(self, lane: int, units: Operand, factor: Any, onto: Operand) -> bool:
        """Add a factor times rows of the identity to the cotangents of an operand: each number goes to its lane.

        `units` is the operand, over the same index space, whose cotangents the rows are; its first element has
        its one at `lane`. Returns False, with nothing done, where elements would meet.
        """
        _, address, shape, strides = onto
        kept = [n > 1 and s != 0 for n, s in zip(shape, strides, strict=True)]
        own = [(n, s) for n, s, k in zip(shape, units[3], kept, strict=True) if not k and s != 0]
        if overlaps(tuple(n for n, _ in own), tuple(s for _, s in own)):
            return False
        short = tuple(n if k else 1 for n, k in zip(shape, kept, strict=True))
        steps = contiguous((*short, self.lanes))
        targets = tuple(
            (t if k else 0) + (s if n > 1 else 0) for t, s, n, k in zip(steps, units[3], shape, kept, strict=False)
        )
        count = int(np.prod((*short, self.lanes), dtype=np.int64))
        source = place_of(as_active(self.recorder, factor), shape)
        out = self.recorder.allocate(count)
        self.recorder.structural_row(ADD, shape, count, out, ((0, out + lane, targets), source), True)
        self.add(address, short, strides, make_block(self.recorder, out, (*short, self.lanes)))
        return True

    def reaches_over(self, places: np.ndarray) -> bool:
        """Whether addresses lie on both sides of the beginning of a region: it may take such rows as constant."""
        bases = self.recorder.bases
        return bisect_right(bases, int(places.min())) != bisect_right(bases, int(places.max()))

    def at(self, place: int) -> Any:
        """Return the cotangent at one place: a scalar, or an array of lanes."""
        if place >= VIRTUAL:
            place = int(self.multiples.resolve(np.array(place)))
        if self.unwritten:
            self.write_named(np.array(place))
        return make_block(self.recorder, place, self.tail)

    def cotangent_at(self, address: int) -> Any:
        """Return the cotangent of an address that has one; a number's zero is +0.0 there."""
        found = self.at(int(self.places[address - self.base]))
        return found + 0.0 if self.certain is not None and self.certain[address - self.base] else found

    def write(self, target: np.ndarray, value: Any) -> None:
        """Enter the addresses of a value into a view of the table."""
        places: Any = value.address_view() if isinstance(value, Array) else np.int64(value.address)
        target[...] = places[..., 0] if self.lanes else places

    def add(self, address: int, shape: Shape, strides: Shape, value: Any) -> None:
        """Add a value to the cotangents of a strided view, which may repeat elements."""
        repeated = tuple(k for k, (n, s) in enumerate(zip(shape, strides, strict=True)) if s == 0 and n > 1)
        if repeated:
            value = np.sum(value, axis=repeated, keepdims=True)
            shape = tuple(1 if k in repeated else n for k, n in enumerate(shape))
        target = self.table(address, shape, strides, self.places)
        if isinstance(value, Array) and value.shape != shape + self.tail:
            value = np.broadcast_to(value, shape + self.tail)
        elif not isinstance(value, Array) and (shape or self.lanes):
            value = np.broadcast_to(value, shape + self.tail)
        if len(shape) > 1 and overlaps(shape, strides):
            self.scatter(address + spread(shape, strides).reshape(-1), value.reshape((target.size, *self.tail)))
            return
        old = self.find_block(address, shape, strides)
        if old is None:
            old = self.collect(target)
        total = self.own(value if old is None else old + value)
        self.write(target, total)
        if shape and strides == contiguous(shape):
            self.note_block(address, math.prod(shape), total)
        elif self.blocks:
            self.blocks.clear()

    def own(self, value: Any) -> Any:
        """Return a value with addresses of its own arena, lanes contiguous."""
        if isinstance(value, Array) and self.lanes:
            if value.storage.addresses is not None or value.storage.space or not value.storage.step:
                return filled(value)
            if value.pitches is not None and value.pitches[-1] != 1:
                return filled(value)
        return value

    def seed(self, addresses: np.ndarray, seed: Any) -> None:
        """Add a seed, with the lanes as last axis, to the cotangents of some addresses."""
        self.blocks.clear()
        if isinstance(seed, Identity):
            self.seed_identity(addresses, seed.start)
            return
        if not addresses.ndim and type(seed) is float and not self.lanes:
            address = int(addresses) - self.base
            if 0 <= address < self.places.size:
                place = number_at(self.recorder, seed)
                old = int(self.places[address])
                self.places[address] = (self.at(old) + self.at(place)).address if old else place
            return
        inside = (addresses >= self.base) & (addresses - self.base < self.places.size)
        if not inside.any():
            return
        if not isinstance(seed, Active):
            seed = np.broadcast_to(seed_of(np.asarray(seed, float)), addresses.shape + self.tail)
            seed = constant(self.recorder, seed)
        if addresses.ndim == 0:
            target = self.places[addresses - self.base :][:1].reshape(())
            old = self.collect(target)
            self.write(target, self.own(seed if old is None else old + seed))
        else:
            self.scatter(addresses.reshape(-1), seed.reshape((addresses.size, *self.tail)))

    def scatter(self, addresses: np.ndarray, values: Any) -> None:
        """Add values (one row of lanes an address) to the cotangents of a list of addresses."""
        self.blocks.clear()
        if self.enter_run(addresses, values):
            return
        unique, inverse = np.unique(addresses, return_inverse=True)
        if unique[0] < self.base or unique[-1] - self.base >= self.places.size:
            keep = (addresses >= self.base) & (addresses - self.base < self.places.size)
            if not keep.any():
                return
            self.scatter(addresses[keep], values[np.flatnonzero(keep)])
            return
        if unique.size < addresses.size or not np.array_equal(inverse, np.arange(inverse.size)):
            width = max(self.lanes, 1)
            source = filled(values)
            targets = (inverse[:, None] * width + np.arange(width)).reshape(-1)
            out = self.recorder.scatter_row(targets, unique.size * width, 0, source.storage.address + source.offset)
            values = make_block(self.recorder, out, (unique.size, *self.tail))
        old = self.collect(self.places[unique - self.base])
        total = self.own(values if old is None else old + values)
        places = total.address_view()
        self.places[unique - self.base] = places[..., 0] if self.lanes else places

    def enter_run(self, addresses: np.ndarray, values: Any) -> bool:
        """Enter values as the cotangents of addresses that follow one another and have none; False if it is not so."""
        first, count = int(addresses[0]), addresses.size
        offset = first - self.base
        if offset < 0 or offset + count > self.places.size or int(addresses[-1]) != first + count - 1:
            return False
        target = self.places[offset : offset + count]
        if target.any() or not is_run(addresses):
            return False
        total = self.own(values)
        self.write(target, total)
        self.note_block(first, count, total)
        return True

    def result(self, addresses: np.ndarray) -> Any:
        """Return the cotangents of some addresses, with the lanes as last axis; zeros where there are none."""
        found = self.find_result(addresses)
        self.recorder.slopes.add(found.storage.address if isinstance(found, Array) else found.address)
        return found

    def find_result(self, addresses: np.ndarray) -> Any:
        """Return the cotangents of some addresses as `result` does."""
        if not addresses.ndim and not self.lanes:
            address = int(addresses) - self.base
            return make_scalar(self.recorder, int(self.places[address]) if 0 <= address < self.places.size else 0)
        flat = addresses.reshape(-1)
        if flat.size and int(flat[0]) in self.blocks and is_run(flat):
            whole = self.find_block(int(flat[0]), addresses.shape, contiguous(addresses.shape))
            if whole is not None:
                return assignable(whole)
        inside = (addresses >= self.base) & (addresses - self.base < self.places.size)
        found = self.collect(np.where(inside, self.places[np.where(inside, addresses - self.base, 0)], 0))
        if found is not None:
            return assignable(found)
        shape = addresses.shape + self.tail
        if not shape:
            return make_scalar(self.recorder, 0)
        return Array(self.recorder, Storage(0, 0, int(np.prod(shape, dtype=np.int64)), 0), shape)

    def widen(self, partial: Any) -> Any:
        """Return a partial with an axis of length 1 for the lanes."""
        if self.lanes and isinstance(partial, Array):
            return partial.reshape((*partial.shape, 1))
        return partial

    def scaled(self, partial: Any, bar: Any, may_be_absent: bool = False) -> Any:
        """Return a partial times a cotangent; None where it is absent."""
        if isinstance(partial, Active):
            return BY_NAME["gate" if may_be_absent else "weigh"](self.widen(partial), bar)
        number = seed_of(partial)  # zeros of constants are absent
        if number.ndim:
            return BY_NAME["gate"](number[..., None] if self.lanes else number, bar)
        value = float(number)
        if value == 0.0:
            return None
        if value == 1.0:
            return bar
        return BY_NAME["opposite"](bar) if value == -1.0 else BY_NAME["weigh"](value, bar)

    # ------------------------------------------------------------ rows as recording values

    def operands(self, row: Any) -> list[tuple[int, int, Shape, Shape]]:
        """Return (space, address, shape, strides) of the output and the operands of a MAP, ADD or CONTRACT row."""
        w = int(row[2])
        shape = row_shape(self.words, w)
        return [(space, address, shape, strides) for space, address, strides in row_operands(self.words, w)]

    def primal(self, space: int, address: int, shape: Shape, strides: Shape) -> Array:
        """Return the values of an operand as a recording array over its row's index space."""
        return strided(self.recorder, space, address, shape, strides)

    def host_operands(self, row: Any) -> tuple[Any, list[Any], list[Any]]:
        """Return the call of a host row, and its operands and results as recording arrays."""
        w = int(row[2])
        call = self.recorder.hosts[host_call(self.words, w)]
        read, made = host_places(self.words, w)
        return call, self.shaped(read, call.operand_shapes), self.shaped(made, call.result_shapes)

    def shaped(self, places: list[tuple[int, int, int]], shapes: list[Shape]) -> list[Array]:
        """Return contiguous blocks as recording arrays."""
        parts = zip(places, shapes, strict=True)
        return [self.primal(space, address, shape, contiguous(shape)) for (space, address, _), shape in parts]

    def mark_active(self, inputs: Iterable[np.ndarray]) -> None:
        """Find the addresses that depend on the inputs' addresses, and the operands of rows that do."""
        for addresses in inputs:
            self.active[addresses - self.base] = True
        rows, count = self.recorder, self.stop - self.start
        self.flags = mark_active(rows.code, rows.words, self.active, base=self.base, first=self.start, count=count)

    def varies(self, operand: Array) -> bool:
        """Whether a contiguous operand depends on the region's inputs."""
        space, address = operand.storage.space, operand.storage.address
        first = address - self.base
        return self.covers(space, address) and bool(self.active[first : first + operand.size].any())


# ---------------------------------------------------------------- what adjoints and tangents share


def add_multiple(linear: Linear, source: Operand, partial: Any, may_be_absent: bool, target: Operand) -> None:
    """Add a partial times the lanes of one operand to those of another over the same index space."""
    units = linear.multiples.units_of(source) if is_factor(partial) and not is_injective(target) else None
    if units is not None and add_unit_product(linear, units, partial, target, may_be_absent):
        return
    sources, factor = linear.multiples.factored(source)
    product = multiply(partial, factor, may_be_absent)
    if product is not None:
        linear.multiples.add(target, sources, None if type(product) is float and product == 1.0 else product)


def copy_linear(linear: Linear, source: Operand, target: Operand) -> None:
    """Add the cotangents of one operand to those of another; rows of the identity are not read for a copy."""
    if linear.lanes and is_injective(target):
        linear.multiples.add(target, *linear.multiples.factored(source))
        return
    bar = linear.read(*source[1:])
    if bar is not None:
        linear.add(*target[1:], bar)


def is_injective(operand: Operand) -> bool:
    """Whether each element of an index space has an address of its own in an operand, with no other stride than 1.

    Then nothing meets where something is added to it.
    """
    _, _, shape, strides = operand
    return strides == contiguous(shape)


def add_unit_product(
    linear: Linear, units: tuple[int, Operand, Any], factor: Any, onto: Operand, may_be_absent: bool = False
) -> bool:
    """Add a factor times multiples of rows of the identity matrix, as `Linear.add_units` does."""
    lane, operand, multiple = units
    varies = isinstance(factor, Array) and linear.covers(factor.storage.space, factor.storage.address)
    product = factor  # a constant's zeros are absent, whatever their sign
    if multiple is not None or varies:
        product = multiply(factor, multiple, may_be_absent)
    return linear.add_units(lane, operand, product, onto)


def is_factor(partial: Any) -> bool:
    """Whether a partial varies, so that rows of the identity are not just passed on."""
    return isinstance(partial, Active) or np.ndim(partial) > 0


def product(linear: Linear, bar: Any, factor: Array, target: tuple[int, int, Shape, Shape]) -> None:
    """Add bar * factor over an index space to the cotangents of an operand, as one CONTRACT row."""
    _, address, shape, strides = target
    kept = [k for k, (n, s) in enumerate(zip(shape, strides, strict=True)) if s != 0 and n > 1]
    compact_shape = tuple(shape[k] if k in kept else 1 for k in range(len(shape)))
    compact = contiguous(compact_shape + linear.tail)
    steps = tuple(compact[k] if k in kept else 0 for k in range(len(shape))) + ((1,) if linear.lanes else ())
    full = shape + linear.tail
    one = place_of(bar, full)
    other = place_of(linear.widen(factor), full)
    count = int(np.prod(compact_shape + linear.tail, dtype=np.int64))
    out = linear.recorder.contract_row(full, count, steps, one, other)
    linear.add(address, compact_shape, strides, make_block(linear.recorder, out, compact_shape + linear.tail))


def place_of(value: Array, shape: Shape) -> tuple[int, int, Shape]:
    """Return (space, address, strides) of an array broadcast over an index space."""
    _, space, address, strides = value.operand(shape)
    return space, address, strides
