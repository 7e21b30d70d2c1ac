"""Recorded tapes spliced into a running recording: their rows copied with new addresses, Python not run again."""

from __future__ import annotations

from array import array
from typing import Any

import numpy as np

from numbad.emission.emitter import compiled_pass, scratch
from numbad.geometry import contiguous, table_of
from numbad.kernels import emission_layout as layout
from numbad.kernels.memory import address_of
from numbad.limits import CAPACITY, CHECKED, COPIED, FEW_CONSTANTS
from numbad.ops.definition import BY_NAME
from numbad.recording.active import Active
from numbad.recording.arrays import Array, Storage, as_array, filled, number_at
from numbad.recording.operands import as_active
from numbad.recording.recorder import Recorder
from numbad.recording.scalars import Scalar, make_scalar
from numbad.tape.layout import ADD, GUARD, GUARD_VALUE

if CHECKED:
    from numbad.kernels import checked_memory
NOWHERE = np.zeros(1, np.int64)


class Splice:
    """A recording that has ended, as rows that can be copied into another.

    In a tape of scalar rows each address can be moved by itself, so its inputs become the values that are
    given. Array rows read runs of addresses, which may reach from one input into the next: where there are any,
    the inputs are copied and all addresses move by one distance.

    Attributes
    ----------
    recorder : Recorder
        The recording.
    leaves : list of Leaf
        Its inputs.
    spaces : list
        Its constant arrays outside of the arena: the recording's own, or copies of them.
    guarded : bool
        Whether its path depends on values.
    """

    def __init__(self, recorder: Recorder, leaves: list[Any], spaces: list[Any] | None = None) -> None:
        self.recorder, self.leaves = recorder, leaves
        self.spaces = recorder.spaces if spaces is None else spaces
        self.words = array("q", recorder.words)
        opcodes = np.array(recorder.code, np.uint32)[::4]
        self.guarded = bool(((opcodes == GUARD) | (opcodes == GUARD_VALUE)).any())
        inputs = {leaf.address for leaf in leaves if not leaf.space and np.size(leaf.value)}
        numbers = np.array(recorder.numbers, np.float64).reshape(-1, 2)
        self.numbers = numbers[~table_of(list(inputs), recorder.size)[numbers[:, 0].astype(np.int64)]]
        self.constants = [(int(address), value) for address, value in self.numbers[:FEW_CONSTANTS].tolist()]
        self.loads = [(address, block) for address, block in recorder.loads if address not in inputs]
        self.rows_with_sites = np.array(list(recorder.sites), np.int64)
        self.places = np.arange(1 if self.words else recorder.size, dtype=np.int64)

    def copy_into(self, recorder: Recorder, values: list[Any]) -> Moved:
        """Append the rows with other inputs, recording values or plain ones; return where everything is now."""
        recorder.promote(self.recorder.dtype)
        actives = [as_active(recorder, value) for value in values]
        spaces = self.enter_spaces(recorder, actives) if self.words else NOWHERE
        shift = recorder.allocate(self.recorder.size)
        places = self.places + shift
        places[0] = 0
        if self.words:
            self.copy_inputs(recorder, actives, shift)
        else:
            self.place_inputs(actives, places)
        if self.words or len(self.numbers) > FEW_CONSTANTS:
            recorder.numbers.frombytes((self.numbers + np.array([shift, 0.0])).tobytes())
        else:
            for address, value in self.constants:
                places[address] = number_at(recorder, value)
        for address, block in self.loads:
            recorder.loads.append((address + shift, block))
        first = len(recorder.code) // 4
        self.relocate(recorder, places, shift, spaces)
        recorder.hosts.extend(self.recorder.hosts)
        sites = self.recorder.sites
        recorder.sites.update(zip((self.rows_with_sites + first).tolist(), sites.values(), strict=True))
        recorder.large.extend([first + row for row in self.recorder.large])
        return Moved(recorder, places, shift)

    def place_inputs(self, actives: list[Any], places: np.ndarray) -> None:
        """Put the given values in the places of the inputs."""
        for leaf, active in zip(self.leaves, actives, strict=True):
            if isinstance(active, Scalar):
                places[leaf.address] = active.address
            elif not leaf.space:
                places[leaf.address : leaf.address + active.size] = active.address_view().reshape(-1)

    def copy_inputs(self, recorder: Recorder, actives: list[Any], shift: int) -> None:
        """Append rows that copy the given values to where the inputs are now."""
        for leaf, active in zip(self.leaves, actives, strict=True):
            if leaf.space:
                continue
            out = leaf.address + shift
            if isinstance(active, Scalar):
                recorder.extend((BY_NAME["identity"].opcode, out, active.address, 0))
            elif active.size:
                space, address, strides = as_array(active).place()
                flat = contiguous(active.shape)
                operand = (space, address, flat if strides is None else strides)
                recorder.structural_row(ADD, active.shape, active.size, out, ((0, out, flat), operand))

    def enter_spaces(self, recorder: Recorder, actives: list[Any]) -> np.ndarray:
        """Return for each space of memory which one it becomes, and what is added to addresses in it."""
        spaces = np.zeros((len(self.spaces), 2), np.int64)
        for space, values in enumerate(self.spaces):
            if space and space not in self.recorder.input_spaces:
                reads = recorder.refer if values.size <= COPIED else recorder.borrow
                spaces[space, 0] = reads(values)
        for leaf, active in zip(self.leaves, actives, strict=True):
            if leaf.space:
                source = active if leaf.order == "C" else active.transpose()
                place, address, strides = source.place()
                if strides is not None:
                    place, address, _ = filled(source).place()
                spaces[leaf.space] = place, address
        return spaces

    def relocate(self, recorder: Recorder, places: np.ndarray, shift: int, spaces: np.ndarray) -> None:
        """Append the rows and words with their addresses moved."""
        memory, call = scratch(), compiled_pass()
        state = memory.state
        words = self.words[:]
        code = self.recorder.code
        state[layout.CODE] = code.buffer_info()[0]
        state[layout.PLACES], state[layout.LOW], state[layout.SHIFT] = address_of(places), len(places), shift
        state[layout.WORDS], state[layout.SOURCE_WORDS] = words.buffer_info()[0], self.words.buffer_info()[0]
        state[layout.SPACES], state[layout.HOSTS] = address_of(spaces), len(recorder.hosts)
        state[layout.FIRST_WORD] = len(recorder.words)
        rows = len(code) // 4
        for start in range(0, rows, CAPACITY):
            state[layout.ROW], state[layout.STOP], state[layout.ROWS] = start, min(rows, start + CAPACITY), 0
            if CHECKED:
                checked_memory.lend(code, state, words, self.words, memory.rows)
            call(0, layout.RELOCATE, state.buffer_info()[0])
            recorder.extend(memory.rows[: 4 * state[layout.ROWS]])
        recorder.words.extend(words)


class Moved:
    """Where the addresses of a spliced tape are in the recording that it has been copied into."""

    def __init__(self, recorder: Recorder, places: np.ndarray, shift: int) -> None:
        self.recorder, self.places, self.shift = recorder, places, shift

    def addresses(self, addresses: np.ndarray) -> np.ndarray:
        """Return the new addresses."""
        count = len(self.places)
        if count > 1:
            return self.places[addresses]
        return np.where(addresses == 0, 0, addresses + self.shift)

    def value(self, leaf: Active) -> Active:
        """Return a result of the tape as a value of the recording, sharing memory with no other."""
        if isinstance(leaf, Scalar):
            place = int(self.addresses(np.array(leaf.address)))
            return make_scalar(self.recorder, place, leaf.boolean)
        assert isinstance(leaf, Array)
        storage = leaf.storage
        if storage.addresses is None and len(self.places) == 1 and storage.address:
            moved = Storage(0, storage.address + self.shift, storage.size, storage.step)
            return Array(self.recorder, moved, leaf.shape, leaf.offset, leaf.pitches, leaf.boolean)
        moved = Storage(0, 0, leaf.size)
        moved.addresses = self.addresses(leaf.address_view()).reshape(-1)
        return Array(self.recorder, moved, leaf.shape, 0, None, leaf.boolean)
