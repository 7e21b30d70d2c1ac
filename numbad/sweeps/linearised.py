"""Lanes: tangents and cotangents of many seeds at one point, in one sweep over its linearised tape."""

from __future__ import annotations

import math
from array import array
from typing import TYPE_CHECKING, Any

import numpy as np

from numbad.geometry import covers, is_run, spread
from numbad.kernels.calls import entries_of, run_entry, run_shares
from numbad.kernels.lanes_layout import NONE
from numbad.kernels.loading import BLOCKS, block_kernels, make_ready
from numbad.kernels.memory import address_of, check_memory, empty, give_back, handed_out, take_memory
from numbad.kernels.parallel import count_shares, note_blas
from numbad.limits import BLAS_WORTH, CACHED, FEWEST, MOST_MEMORY, PARALLEL_WORTH, WORTH_READING
from numbad.ops.host import as_tuple
from numbad.ops.lanes import to_first, to_last
from numbad.recording.active import Active
from numbad.recording.hostcalls import HostCall, record_host, with_seeds
from numbad.recording.inputs import places_of
from numbad.sweeps.dependence import mark_active, mark_needed
from numbad.sweeps.execution import Execution, seed_of
from numbad.sweeps.operands import add_broadcast, flat, operand, primal_spaces
from numbad.sweeps.python_rows import map_partials, naming_site, push_call, refuse_unknown
from numbad.tape.layout import (
    CONTRACT,
    HOST,
    MAP,
    host_call,
    host_places,
    operand_strides,
    row_cleared,
    row_elements,
    row_extent,
    row_operands,
    row_shape,
    space_of,
)

if TYPE_CHECKING:
    from numbad.sweeps.matrix_rows import MatrixVector


class Linearised:
    """The tape of an execution as a linear map from its inputs to its outputs.

    Attributes
    ----------
    flags : ndarray of uint8, shape (rows,)
        Which operands of each row depend on the inputs; 0 where the outputs do not depend on the row.
    place, coefficient : ndarray of int64, of float, shape (size,)
        Each address is a multiple of a row of lanes; the place is -1 where it does not depend on the inputs.
    kept : ndarray of uint8, shape (rows,)
        The flags of rows that the sweeps take; the coefficients stand for the others.
    wanted : int
        How many rows of lanes there are.
    slots : ndarray of int64, shape (rows,)
        Where the partials of an elementwise array row begin in `slopes`, -1 for others.
    slopes : ndarray of float
        The partials of elementwise array rows.
    """

    def __init__(self, execution: Execution, leaves: list[Any], outputs: list[np.ndarray]) -> None:
        self.execution, self.leaves, self.outputs = execution, leaves, outputs
        recorder = execution.rows
        self.rows, self.dtype = execution.done, recorder.dtype
        self.code = np.frombuffer(recorder.code, np.uint32).reshape(-1, 4)[: self.rows]
        self.words = np.frombuffer(recorder.words, np.int64) if recorder.words else np.zeros(1, np.int64)
        active, needed, self.accumulated = np.zeros((3, recorder.size), np.bool_)
        spaces = np.zeros(len(recorder.spaces), np.bool_)
        for leaf in leaves:
            if leaf.space:
                spaces[leaf.space] = True
            else:
                active[leaf.address : leaf.address + np.size(leaf.value)] = True
        for addresses in outputs:
            needed[addresses] = True
        self.flags = mark_active(self.code, self.words, active, spaces, accumulated=self.accumulated)
        mark_needed(self.code, self.words, needed, self.flags, whole=False)
        self.spaces = spaces
        self.slots, self.slope_count = self.place_slopes()
        self.slopes = empty(max(self.slope_count, 1), recorder.dtype)
        self.place = empty(recorder.size, np.int64)
        self.coefficient = np.zeros(recorder.size, recorder.dtype)
        self.kept = np.zeros(self.rows, np.uint8)
        self.wanted = 0
        self.refresh()

    def place_slopes(self) -> tuple[np.ndarray, int]:
        """Return where the partials of each elementwise array row go, and how many there are."""
        slots = np.full(self.rows, -1, np.int64)
        opcodes = self.code[:, 0]
        maps = np.flatnonzero((opcodes - np.uint32(MAP) < MAP) & (self.flags > 0))
        w = self.code[maps, 2].astype(np.int64)
        counts = row_elements(self.words, w) * self.code[maps, 3]  # one for each operand
        ends = np.cumsum(counts)
        slots[maps] = ends - counts
        return slots, int(ends[-1]) if ends.size else 0

    def refresh(self) -> None:
        """Compute the partials from the values of the execution, and what follows from them."""
        self.execution.locate_spaces()
        self.entries = entries_of(*self.arrays())
        if self.slope_count:
            self.fill_slopes()
        self.compress(True)
        if self.wanted < 0:
            self.compress(False)

    def compress(self, fold: bool) -> None:
        """Give addresses their places; coefficients are products of partials if `fold`, else 1."""
        self.place[:] = NONE
        count = 0
        for leaf in self.leaves:
            if not leaf.space:
                places = slice(leaf.address, leaf.address + np.size(leaf.value))
                self.place[places] = np.arange(count, count + np.size(leaf.value))
                self.coefficient[places] = 1.0
                count += np.size(leaf.value)
        own = (address_of(self.flags), self.rows, address_of(self.accumulated), len(self.accumulated), fold)
        self.wanted = run_entry("compress_at", self.dtype, count, self.entries, *own)

    def arrays(self) -> tuple[np.ndarray, ...]:
        """Return what the compiled sweeps read, in the order of their tables (see `lanes_layout`)."""
        execution = self.execution
        tape = (self.code, self.words, self.kept, self.slots, self.slopes, execution.values, execution.partials)
        return (*tape, execution.bases, self.place, self.coefficient)

    def fill_slopes(self) -> None:
        """Compute the partials of elementwise array rows."""
        execution = self.execution
        scratch = execution.blocks()
        own = (address_of(block_kernels(self.dtype)), 4, address_of(scratch), scratch.size)
        row = 0
        while row < self.rows:
            row = run_entry("slopes_at", self.dtype, row, self.entries, *own)
            if row < self.rows and not make_ready(BLOCKS, self.dtype, (int(self.code[row, 0]) - MAP,)):
                w, slot = int(self.code[row, 2]), int(self.slots[row])
                count = int(row_elements(self.words, w))
                for part in map_partials(execution, self.words, w, int(self.code[row, 0]) - MAP):
                    self.slopes[slot : slot + count] = np.broadcast_to(part, row_shape(self.words, w)).reshape(-1)
                    slot += count
                row += 1

    # ------------------------------------------------------------ sweeps

    @handed_out
    def pull(self, seeds: list[np.ndarray] | None = None) -> list[np.ndarray]:
        """Return the inputs' cotangents for the outputs', with the lanes in front.

        Parameters
        ----------
        seeds : list of ndarray, optional
            One for each output: its shape, and the lanes last. By default each element of the outputs has a lane.
        """
        counts = [addresses.size for addresses in self.outputs]
        wide = sum(counts) if seeds is None else seeds[0].shape[-1]
        if self.needs_no_python(wide):
            sizes = [np.size(leaf.value) for leaf in self.leaves]
            result = empty((wide, sum(sizes)), self.execution.rows.dtype)
            self.run_blocks(seeds, result, wide, True)
            parts = np.split(result, np.cumsum(sizes)[:-1], axis=1)
            return [part.reshape(wide, *np.shape(leaf.value)) for part, leaf in zip(parts, self.leaves, strict=True)]
        found = [empty((wide, *np.shape(leaf.value)), self.execution.rows.dtype) for leaf in self.leaves]
        for first, last in self.blocks(wide):
            bars = LaneMemory(self, last - first)
            if seeds is None:
                bars.add_identity(np.concatenate([addresses.reshape(-1) for addresses in self.outputs])[first:last])
            else:
                for addresses, seed in zip(self.outputs, seeds, strict=True):
                    bars.scatter(addresses, seed[..., first:last])
            self.sweep_back(bars)
            for leaf, result in zip(self.leaves, found, strict=True):
                np.add(to_first(bars.read(leaf)), 0.0, out=result[first:last])  # absent is shown as zero
            bars.release()
        return found

    @handed_out
    def push(self, seeds: list[np.ndarray] | None = None) -> list[np.ndarray]:
        """Return the outputs' tangents for the inputs', with the lanes last.

        Parameters
        ----------
        seeds : list of ndarray, optional
            One for each input: its shape, and the lanes last. By default each element of the inputs has a lane.
        """
        counts = [np.size(leaf.value) for leaf in self.leaves]
        wide = sum(counts) if seeds is None else seeds[0].shape[-1]
        if self.needs_no_python(wide):
            sizes = [addresses.size for addresses in self.outputs]
            result = empty((sum(sizes), wide), self.execution.rows.dtype)
            self.run_blocks(seeds, result, wide, False)
            parts = np.split(result, np.cumsum(sizes)[:-1])
            return [part.reshape(*shape.shape, wide) for part, shape in zip(parts, self.outputs, strict=True)]
        found = [empty((*addresses.shape, wide), self.execution.rows.dtype) for addresses in self.outputs]
        for first, last in self.blocks(wide):
            dots = LaneMemory(self, last - first)
            start = 0
            for k, (leaf, count) in enumerate(zip(self.leaves, counts, strict=True)):
                if seeds is None:
                    dots.enter_identity(leaf, start - first, count)
                else:
                    dots.enter(leaf, seeds[k][..., first:last])
                start += count
            self.sweep_forward(dots)
            for addresses, result in zip(self.outputs, found, strict=True):
                dots.copy_out(addresses, result[..., first:last], 0.0)
            dots.release()
        return found

    def needs_no_python(self, wide: int) -> bool:
        """Whether a sweep of so many lanes is large, and compiled code can do all of it."""
        if self.wanted * wide < PARALLEL_WORTH or self.spaces.any():
            return False
        opcodes, rows = self.code[:, 0], self.kept > 0
        if (rows & (opcodes == HOST)).any():
            return False
        products = self.code[rows & (opcodes == CONTRACT), 2].astype(np.int64)
        return not np.any(row_elements(self.words, products) * wide > BLAS_WORTH)

    def run_blocks(self, seeds: list[np.ndarray] | None, result: np.ndarray, wide: int, back: bool) -> None:
        """Run a compiled sweep from the seeds to the result, each thread in blocks of lanes that its cache holds."""
        dtype = self.dtype
        table = np.zeros((0, wide), dtype)
        if seeds is not None:
            table = np.ascontiguousarray(np.concatenate([seed.reshape(-1, wide) for seed in seeds]), dtype)
        outputs = np.concatenate([addresses.reshape(-1) for addresses in self.outputs]).astype(np.int64, copy=False)
        shares = count_shares(self.wanted * wide)
        share, bytes_a_lane = -(-wide // shares), self.wanted * dtype.itemsize
        most = max(FEWEST, min(max(WORTH_READING, CACHED // bytes_a_lane), MOST_MEMORY // bytes_a_lane))
        block = -(-share // -(-share // most))
        check_memory(shares * block * bytes_a_lane)
        memory = take_memory(shares * self.wanted * block, dtype, False)
        lanes = np.zeros(shares * len(self.execution.bases), np.uint64)
        arrays = (*self.arrays(), outputs, table, memory, result, lanes)
        run_shares("lane_blocks_at", dtype, shares, arrays, wide, block, result.shape[1], back, seeds is None)
        give_back(memory)

    def blocks(self, wide: int) -> list[tuple[int, int]]:
        """Divide lanes into blocks that fit into the memory that a sweep may take."""
        recorder = self.execution.rows
        size = self.wanted + sum(np.size(leaf.value) for leaf in self.leaves if leaf.space)
        width = max(FEWEST, MOST_MEMORY // (max(size, 1) * recorder.dtype.itemsize))
        count = max(1, -(-wide // width))
        width = max(1, -(-wide // count))
        return [(first, min(wide, first + width)) for first in range(0, wide, width)]

    def sweep_back(self, bars: LaneMemory) -> None:
        """Take the cotangents of all lanes back."""
        row = self.rows
        while row:
            row = self.run(bars, row, True)
            if row:
                row -= 1
                self.python_row(bars, row, True)

    def sweep_forward(self, dots: LaneMemory) -> None:
        """Push the tangents of all lanes forward."""
        row = 0
        while row < self.rows:
            row = self.run(dots, row, False)
            if row < self.rows:
                self.python_row(dots, row, False)
                row += 1

    def run(self, lanes: LaneMemory, row: int, back: bool) -> int:
        """Run a compiled sweep from a row on; return where it stopped."""
        wide = block = lanes.wide
        small = wide < 2 * FEWEST or lanes.arena.size < PARALLEL_WORTH
        shares = 1 if small else count_shares(lanes.arena.size)
        if shares > 1:
            block = -(-wide // (shares * FEWEST)) * FEWEST
            shares = min(shares, -(-wide // block))
        name, numbers = "pull_lanes_at" if back else "push_lanes_at", (BLAS_WORTH, wide, block, row)
        if small:
            own = (address_of(lanes.bases), len(lanes.bases), 0, 0)
            return run_entry(name, self.dtype, 0, self.entries, *own, 1, *numbers)
        stopped = np.full(shares, row, np.int64)
        run_shares(name, self.dtype, shares, (*self.arrays(), lanes.bases, stopped), *numbers)
        return int(stopped[0])

    # ------------------------------------------------------------ rows for Python

    def python_row(self, lanes: LaneMemory, row: int, back: bool) -> None:
        """Take a row that the compiled sweeps leave to Python."""
        w, flag = int(self.code[row, 2]), int(self.kept[row])
        if int(self.code[row, 0]) == CONTRACT:
            self.product(lanes, w, flag, back)
        else:
            assert int(self.code[row, 0]) == HOST
            with naming_site(self.execution, row):
                self.host(lanes, w, back)

    def product(self, lanes: LaneMemory, w: int, flag: int, back: bool) -> None:
        """Take a product of arrays: with lanes it is one of matrices, for BLAS."""
        from numbad.sweeps.matrix_rows import MatrixVector, multiply_add

        found = MatrixVector.find(self.words, w)
        if found is not None and self.matrix_product(lanes, found, w, flag, back):
            return
        fresh = not back and covers(self.laned(lanes, w, 0), int(row_cleared(self.words, w)) * lanes.wide)
        for k in (1, 2):
            if not flag >> (k - 1) & 1 or lanes.memory(space_of(self.words, w, k)) is None:
                continue
            out, other = self.laned(lanes, w, 0), self.primal(w, 3 - k)
            if not back and self.copy_columns(lanes, w, k, out, other):
                fresh = False
                continue
            other = np.broadcast_to(other[..., None], (*other.shape, lanes.wide))
            if space_of(self.words, w, k):
                own = self.laned(lanes, w, k)
                multiply_add(*((own, out) if back else (out, own)), other, fresh)
                fresh = False
                continue
            addresses = self.elements(w, k)
            own = empty((*addresses.shape, lanes.wide), out.dtype) if back else lanes.gather(addresses)
            steps = [
                s if moved else 0 for s, moved in zip(own.strides, operand_strides(self.words, w, k), strict=False)
            ]
            full = np.lib.stride_tricks.as_strided(own, out.shape, (*steps, own.itemsize))
            multiply_add(*((full, out) if back else (out, full)), other, fresh or back)
            fresh = False
            if back:
                lanes.scatter(addresses, own)

    def matrix_product(self, lanes: LaneMemory, found: MatrixVector, w: int, flag: int, back: bool) -> bool:
        """Take a product of a matrix that does not vary and a vector in the arena; False where it is something else."""
        (space, address), (of, first) = found.vector, found.matrix
        if space or flag != 1 << (2 - found.place) or row_cleared(self.words, w) != found.results():
            return False
        matrix = self.values_of(of)[first : first + found.rows * found.columns].reshape(found.rows, found.columns)
        if found.transposed:
            matrix = matrix.T
        row, count = int(self.place[found.result[1]]), matrix.shape[1]
        out = lanes.arena[row : row + matrix.shape[0]]
        addresses = np.arange(address, address + count)
        identity = None if back else lanes.find_identity(0, address, count)
        if identity is not None:
            add_columns(out, matrix, lanes.wide, *identity)
            return True
        note_blas()
        if back:
            lanes.scatter(addresses, matrix.T @ out)
        else:
            np.matmul(matrix, lanes.gather(addresses), out=out)
        return True

    def elements(self, w: int, k: int) -> np.ndarray:
        """Return the addresses of an operand over its row's index space, which has length 1 where it does not move."""
        (_, address, steps), shape = row_operands(self.words, w)[k], row_shape(self.words, w)
        return spread(tuple(n if s else 1 for n, s in zip(shape, steps, strict=True)), steps) + address

    def copy_columns(self, lanes: LaneMemory, w: int, k: int, out: np.ndarray, other: np.ndarray) -> bool:
        """Add a product with rows of the identity, which is the other operand itself; False where it is not one.

        So the first layer of a network costs its Jacobian no product.
        """
        space, address, steps = row_operands(self.words, w)[k]
        moved = [axis for axis, step in enumerate(steps) if step]
        if len(moved) != 1 or steps[moved[0]] != 1 or out.strides[moved[0]]:
            return False
        axis = moved[0]
        found = lanes.find_identity(space, address, int(row_extent(self.words, w, axis)))
        if found is None:
            return False
        add_columns(np.moveaxis(out, axis, 0)[0], np.moveaxis(other, axis, -1), lanes.wide, *found)
        return True

    def host(self, lanes: LaneMemory, w: int, back: bool) -> None:
        """Take a Python kernel, lane by lane."""
        call = self.execution.rows.hosts[host_call(self.words, w)]
        read, made = host_places(self.words, w)
        inputs, places = len(read), [*read, *made]
        values = [self.values_of(space)[address : address + count] for space, address, count in places]
        parts = [lanes.part(*place) for place in places]
        held = self.held_operands(call, w)
        changed = slice(0, inputs) if back else slice(inputs, None)
        for part in parts[changed]:
            if part is not None:
                part[...] = -0.0
        together = with_seeds(call, lanes.wide) if isinstance(call, HostCall) and lanes.wide > 1 else None
        if together is not None:
            host_together(together, values, parts, inputs, back, lanes.wide)
        for lane in range(lanes.wide if together is None else 0):
            one = [None if part is None else part[:, lane].copy() for part in parts]
            one = [part if k not in held else None for k, part in enumerate(one)]
            if back:
                call.backward(values[:inputs], values[inputs:], one[:inputs], one[inputs:])
            else:
                one = [np.full_like(v, -0.0) if dot is None else dot for v, dot in zip(values, one, strict=True)]
                push_call(call, values[:inputs], values[inputs:], one[:inputs], one[inputs:])
            for part, new in zip(parts[changed], one[changed], strict=True):
                if part is not None and new is not None:
                    part[:, lane] = new
        for part, (space, address, _) in zip(parts[changed], places[changed], strict=True):
            if part is not None:
                lanes.add_part(space, address, part)

    def held_operands(self, call: Any, w: int) -> list[int]:
        """Return the operands for which an op has no derivative, and which do not depend on the inputs; or raise."""
        unknown = call.unknown() if isinstance(call, HostCall) else []
        if unknown:
            refuse_unknown(call, unknown, self.execution.rows, places_of(self.leaves), self.words, w)
        return unknown

    def values_of(self, space: int) -> np.ndarray:
        """Return the values of a space, flat."""
        return flat(self.execution.values if space == 0 else self.execution.spaces[space])

    def primal(self, w: int, k: int) -> np.ndarray:
        """Return the values of an operand over its row's index space."""
        return operand(primal_spaces(self.execution), self.words, w, k)

    def laned(self, lanes: LaneMemory, w: int, k: int) -> np.ndarray:
        """Return the lanes of an operand that has its own over its row's index space and the lanes."""
        (space, first, steps), shape = row_operands(self.words, w)[k], row_shape(self.words, w)
        memory = lanes.memory(space)
        assert memory is not None
        step = memory.itemsize * lanes.wide
        strides = [step * s for s in steps]
        start = memory[first if space else int(self.place[first]) :]
        return np.lib.stride_tricks.as_strided(start, (*shape, lanes.wide), (*strides, memory.itemsize))


class LaneMemory:
    """The tangents or cotangents of some lanes: for each space that has them, a row of lanes an element.

    Attributes
    ----------
    arena : ndarray, shape (wanted, wide)
        The rows of lanes: address a is coefficient[a] times row place[a].
    spaces : dict of int to ndarray, shape (elements, wide)
        Of large inputs, in their memory order.
    bases : ndarray of uint64
        Where each begins in memory, 0 for constants.
    identities : list of (int, int, int, int)
        Rows of lanes that are those of an identity matrix: their space, the first of them (for a large input the
        first element), how many they are, and in which lane the first has its one.
    """

    def __init__(self, linear: Linearised, wide: int) -> None:
        recorder = linear.execution.rows
        self.linear, self.wide = linear, wide
        self.identities: list[tuple[int, int, int, int]] = []
        large = np.flatnonzero(linear.spaces).tolist() if len(linear.spaces) > 1 else []
        sizes = [max(linear.wanted, 1), *(recorder.spaces[space].size for space in large)]
        check_memory(sum(sizes) * wide * recorder.dtype.itemsize)
        parts = [take_memory(size * wide, recorder.dtype, False).reshape(size, wide) for size in sizes]
        for part in parts:
            clear(part)
        self.arena, self.spaces = parts[0], dict(zip(large, parts[1:], strict=True))
        self.bases = np.zeros(len(recorder.spaces), np.uint64)
        for space, part in ((0, self.arena), *self.spaces.items()):
            self.bases[space] = address_of(part)

    def memory(self, space: int) -> np.ndarray | None:
        """Return the lanes of a space, None for constants."""
        return self.arena if space == 0 else self.spaces.get(space)

    def gather(self, addresses: np.ndarray) -> np.ndarray:
        """Return the lanes of addresses."""
        linear, places = self.linear, addresses.reshape(-1)
        first = linear.place[places[0]] if places.size else -1
        if first >= 0 and (linear.coefficient[places] == 1.0).all() and is_run(linear.place[places]):
            return self.arena[first : first + places.size].reshape(*addresses.shape, self.wide)
        result = empty((*addresses.shape, self.wide), self.arena.dtype)
        self.copy_out(addresses, result, -0.0)
        return result

    def part(self, space: int, address: int, count: int) -> np.ndarray | None:
        """Return a copy of the lanes of a run of addresses, None for constants."""
        memory = self.memory(space)
        if memory is None:
            return None
        if space:
            return memory[address : address + count].copy()
        return self.gather(np.arange(address, address + count)).copy()

    def add_part(self, space: int, address: int, addend: np.ndarray) -> None:
        """Add to the lanes of a run of addresses."""
        if space:
            self.spaces[space][address : address + len(addend)] += addend
        else:
            self.scatter(np.arange(address, address + len(addend)), addend)

    def copy_out(self, addresses: np.ndarray, result: np.ndarray, nothing: float) -> None:
        """Copy the lanes of addresses into an array of their shape and the lanes; what is absent becomes `nothing`."""
        if not result.size:
            return
        linear, places = self.linear, np.ascontiguousarray(addresses.reshape(-1), np.int64)
        table = result.reshape(places.size, self.wide)
        whole = table if table.flags.c_contiguous else empty(table.shape, table.dtype)
        is_absent = math.copysign(1.0, nothing) < 0.0
        run_entry("gather_lanes_at", linear.dtype, is_absent, self.entries(places, whole), self.wide)
        if whole is not table or not np.shares_memory(table, result):
            result[...] = whole.reshape(result.shape)

    def entries(self, places: np.ndarray, lanes: np.ndarray) -> array[int]:
        """Return the entries of a table with addresses, their places and coefficients, the arena, and their lanes."""
        linear = self.linear
        return entries_of(places, linear.place, linear.coefficient, self.arena, lanes)

    def scatter(self, addresses: np.ndarray, addend: np.ndarray) -> None:
        """Add to the lanes of addresses, which may name one more than once."""
        if not addend.size:
            return
        linear, places = self.linear, np.ascontiguousarray(addresses.reshape(-1), np.int64)
        addend = np.ascontiguousarray(addend.reshape(places.size, self.wide), self.arena.dtype)
        run_entry("scatter_lanes_at", linear.dtype, self.wide, self.entries(places, addend))

    def add_identity(self, places: np.ndarray) -> None:
        """Give each address the cotangent 1 in a lane of its own."""
        rows = self.linear.place[places]
        inside = rows >= 0
        lane = np.arange(self.wide)[inside]
        self.arena[rows[inside], lane] = self.linear.coefficient[places][inside]

    def enter(self, leaf: Any, seed: np.ndarray) -> None:
        """Set the tangents of an input."""
        shape = np.shape(leaf.value)
        if leaf.space:
            axes = range(len(shape)) if leaf.order == "C" else reversed(range(len(shape)))
            self.spaces[leaf.space][...] = seed.transpose([*axes, len(shape)]).reshape(-1, self.wide)
        else:
            count = math.prod(shape)
            first = self.linear.place[leaf.address] if count else 0
            self.arena[first : first + count] = seed.reshape(count, self.wide)

    def enter_identity(self, leaf: Any, start: int, count: int) -> None:
        """Give each element of an input a lane: the first has lane `start`, which may lie outside of these lanes."""
        low, high = max(0, -start), min(count, self.wide - start)
        if leaf.space and leaf.order != "C" and np.ndim(leaf.value) > 1:
            which, shape = np.arange(low, high), np.shape(leaf.value)
            places = np.ravel_multi_index(np.unravel_index(which, shape)[::-1], shape[::-1])
            self.spaces[leaf.space][places, which + start] = 1.0
            return
        memory = self.spaces[leaf.space] if leaf.space else self.arena
        first = 0 if leaf.space or not count else int(self.linear.place[leaf.address])
        if low < high:  # one further to the right in each row
            begin, step = (first + low) * self.wide + low + start, self.wide + 1
            memory.reshape(-1)[begin : begin + (high - low) * step : step] = 1.0
        self.identities.append((leaf.space, first, count, start))

    def find_identity(self, space: int, address: int, count: int) -> tuple[int, np.ndarray | None] | None:
        """Return the lane of the first of some addresses whose lanes are rows of the identity in order.

        With it comes what the rows are multiplied by, None for one; None where they are something else.
        """
        row, factors = address, None
        if space == 0 and count:
            rows = self.linear.place[address : address + count]
            row = int(rows[0])
            if not is_run(rows):
                return None
            factors = self.linear.coefficient[address : address + count]
        for of, first, length, start in self.identities:
            if of == space and first <= row and row + count <= first + length:
                return start + row - first, None if factors is None or (factors == 1.0).all() else factors
        return None

    def read(self, leaf: Any) -> np.ndarray:
        """Return the cotangents of an input, with its shape and the lanes."""
        shape = np.shape(leaf.value)
        if leaf.space:
            found = self.spaces[leaf.space]
            if leaf.order == "C":
                return found.reshape(*shape, self.wide)
            return found.reshape(*reversed(shape), self.wide).transpose([*reversed(range(len(shape))), len(shape)])
        first, count = self.linear.place[leaf.address] if math.prod(shape) else 0, math.prod(shape)
        return self.arena[first : first + count].reshape(*shape, self.wide)

    def release(self) -> None:
        """Give the memory back."""
        for part in (self.arena, *self.spaces.values()):
            give_back(part)


def host_together(
    call: HostCall, values: list[np.ndarray], parts: list[np.ndarray | None], inputs: int, back: bool, lanes: int
) -> None:
    """Take all lanes through a Python kernel at once; `parts` have a row of lanes for each element."""
    wide = [np.repeat(value, lanes) for value in values]
    flat = [None if part is None else part.reshape(-1) for part in parts]
    if back:
        call.backward(wide[:inputs], wide[inputs:], flat[:inputs], flat[inputs:])
        return
    dots = [np.full_like(v, -0.0) if dot is None else dot for v, dot in zip(wide, flat, strict=True)]
    push_call(call, wide[:inputs], wide[inputs:], dots[:inputs], dots[inputs:])


def add_columns(out: np.ndarray, table: np.ndarray, wide: int, lane: int, factors: np.ndarray | None) -> None:
    """Add a table, times rows of the identity of which the first has its one in a lane, to the lanes of an output."""
    first, last = max(0, -lane), min(table.shape[-1], wide - lane)
    if first < last:
        columns = table[..., first:last]
        add_broadcast(
            out[..., lane + first : lane + last], columns if factors is None else columns * factors[first:last]
        )


def clear(memory: np.ndarray) -> None:
    """Set lanes to absent; large ones with all threads."""
    if memory.size < PARALLEL_WORTH:
        memory[...] = -0.0
    else:
        run_shares("clear_at", memory.dtype, count_shares(memory.size), (memory,))


class LinearMap:
    """The pushforward or the pullback of a function at a point, as an array op: one host row of a recording.

    With further axes behind those of its operands it takes as many tangents or cotangents at once, as lanes.

    Attributes
    ----------
    linear : Linearised
    back : bool
        Whether it is the pullback.
    sows : bool
        Whether a program gives the operands: their zeros are absent then.
    """

    takes_lanes = True
    jvp_function: Any = None

    def __init__(self, evaluation: Any, back: bool, sows: bool = False) -> None:
        self.evaluation, self.back, self.sows = evaluation, back, sows
        self.name = "pullback" if back else "pushforward"
        inputs = [np.shape(leaf.value) for leaf in evaluation.leaves]
        outputs = [np.shape(value) for value in evaluation.values]
        self.shapes, self.result_shapes = (outputs, inputs) if back else (inputs, outputs)

    def __call__(self, *operands: Any) -> tuple[Any, ...]:
        """Record the map if an operand is recording, else apply it."""
        recorder = next((part.recorder for part in operands if isinstance(part, Active)), None)
        if recorder is None:
            return self.primal(*operands)
        return as_tuple(record_host(recorder, self, operands, {}))

    def shapes_function(self, *shapes: Any) -> list[Any]:
        """Return the shapes of the results for those of the operands."""
        extra = shapes[0][len(self.shapes[0]) :]
        return [shape + extra for shape in self.result_shapes]

    def primal(self, *operands: Any) -> tuple[Any, ...]:
        """Apply the map."""
        self.evaluation.check_constants()
        extra = np.shape(operands[0])[len(self.shapes[0]) :]
        linear = self.evaluation.linear()
        dtype = linear.execution.rows.dtype
        seeds = [np.asarray(o, dtype).reshape(*s, -1) for o, s in zip(operands, self.shapes, strict=True)]
        if self.sows:
            seeds = [seed_of(seed) for seed in seeds]
        if self.back:
            found = [to_last(part) for part in linear.pull(seeds)]
        else:
            found = linear.push(seeds)
        return tuple(part.reshape(shape + extra) for part, shape in zip(found, self.result_shapes, strict=True))

    def vjp_function(self, bars: list[Any], results: list[Any], operands: list[Any]) -> tuple[Any, ...]:
        """Return the operands' cotangents: the transpose is the other of the two maps."""
        return LinearMap(self.evaluation, not self.back)(*bars)
