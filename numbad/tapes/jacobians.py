"""Jacobians and Hessians of a tape: its rows with those of its derivatives, as a tape that is kept with it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np

from numbad.emission.regions import Region, addresses_of, cast
from numbad.errors import BranchError
from numbad.recording.arrays import constant, make_block, strided
from numbad.recording.recorder import Recorder, set_current
from numbad.recording.scalars import make_scalar
from numbad.tape.layout import GUARD, GUARD_VALUE, MAP, find_large, move_operands
from numbad.tapes.directional import check_outputs, unite
from numbad.tapes.freezing import freeze
from numbad.transforms.functional import columns, rows, size_of

if TYPE_CHECKING:
    from numbad.tapes.tape import Tape


def jacobian_at(tape: Tape, points: tuple[Any, ...]) -> Any:
    """Return the Jacobian of a tape at a point; see `Tape.jacobian`."""
    blocks = run_derived(tape, "jacobian", points)
    count = len(tape.inputs)
    found = [arrange(tape, blocks[k : k + count]) for k in range(0, len(blocks), count)]
    return unite(tape, found)


def hessian_at(tape: Tape, points: tuple[Any, ...]) -> Any:
    """Return the second derivatives of a tape at a point; see `Tape.hessian`."""
    blocks = run_derived(tape, "hessian", points)
    count = len(tape.inputs)
    outer = [arrange(tape, blocks[k : k + count]) for k in range(0, len(blocks), count)]
    return unite(tape, [arrange(tape, outer[k : k + count]) for k in range(0, len(outer), count)])


def arrange(tape: Tape, leaves: list[Any]) -> Any:
    """Give a list with one entry for each input the structure of the arguments."""
    parts = tape.rebuild_inputs(leaves)
    return parts[0] if len(parts) == 1 else parts


def run_derived(tape: Tape, kind: str, points: tuple[Any, ...]) -> list[Any]:
    """Return the blocks of derivatives at a point, for each output those of each input (of each input)."""
    tape.keeps_values()
    check_outputs(tape)
    leaves = tape.flatten_inputs(points)
    given = [slot.accept(value) for slot, value in zip(tape.inputs, leaves, strict=True)]
    tape.ensure_verified()
    derived = tape.kept.get(kind)
    if derived is None:
        derived = tape.kept[kind] = derive(tape, kind, given)
    try:
        found = derived(*points)
    except BranchError:
        tape(*points)  # raises, unless it is the rule of a derivative that has branches
        derived = tape.kept[kind] = derive(tape, kind, given)
        found = derived(*points)
    repeat = 1 if kind == "jacobian" else len(leaves)  # the dtype is that of the first input that is differentiated by
    shown = [block + 0.0 for block in found]  # what is absent is shown as zero
    return [cast(block, leaves[k // repeat % len(leaves)]) for k, block in enumerate(shown)]


def derive(tape: Tape, kind: str, given: list[np.ndarray]) -> Tape:
    """Return the tape of the derivatives' blocks, made from the rows of a tape.

    `given` is the point at which rules that look at values take their branches.
    """
    copy = Copy(tape, given)
    set_current(copy.recorder)
    try:
        blocks = jacobian_blocks(copy) if kind == "jacobian" else hessian_blocks(copy)
    finally:
        set_current(None)
    try:
        derived = freeze(copy.recorder, copy.leaves, blocks, tape.input_trees, [slot.name for slot in tape.inputs])
    finally:
        copy.recorder.close()
    derived.name, derived.space_names = f"{kind} of {tape.name}", tape.space_names
    return derived


class Copy:
    """A recording that holds the rows of a tape, as one region with the tape's inputs.

    Attributes
    ----------
    region : Region
        All addresses from the first on: constants among them take part in nothing.
    outputs : list of Array or Scalar
        The results.
    leaves : list
        The inputs, as `freeze` describes them.
    """

    def __init__(self, tape: Tape, given: list[np.ndarray]) -> None:
        recorder = self.recorder = Recorder(tape.dtype)
        recorder.size = tape.size
        recorder.hosts = list(tape.hosts)
        recorder.spaces = list(tape.spaces)
        recorder.numbers.extend(tape.numbers.reshape(-1).tolist())
        recorder.loads = list(tape.loads)
        region = self.region = object.__new__(Region)
        region.recorder, region.base = recorder, 1
        recorder.bases.append(1)
        self.leaves, region.inputs = [], []
        moved: dict[int, int] = {}
        for slot, values in zip(tape.inputs, given, strict=True):
            self.leaves.append(SimpleNamespace(value=values, space=slot.space, address=slot.address, order=slot.order))
            region.inputs.append(self.bring_in(slot, values, moved))
        region.addresses = [addresses_of(value) for value in region.inputs]
        region.start = recorder.row_count()
        self.append_rows(tape, moved)
        region.close()
        self.outputs = [self.output(slot, moved) for slot in tape.outputs]

    def bring_in(self, slot: Any, values: np.ndarray, moved: dict[int, int]) -> Any:
        """Return an input as a recording value; copy a large one into the arena, where it may have cotangents."""
        recorder = self.recorder
        flat = np.array(values, recorder.dtype, order=slot.order)
        if not slot.space:
            recorder.loads.append((slot.address, flat.reshape(-1)))
            return make_block(recorder, slot.address, slot.shape) if slot.shape else make_scalar(recorder, slot.address)
        recorder.spaces[slot.space] = flat
        recorder.input_spaces.add(slot.space)
        moved[slot.space] = recorder.add_row((slot.size,), slot.size, (1,), (slot.space, 0, (1,)))
        if slot.order == "F":
            return make_block(recorder, moved[slot.space], slot.shape[::-1]).T
        return make_block(recorder, moved[slot.space], slot.shape)

    def append_rows(self, tape: Tape, moved: dict[int, int]) -> None:
        """Append the rows of the tape; what they read of large inputs they read of the copies."""
        recorder = self.recorder
        shift, first = len(recorder.words), recorder.row_count()
        code, words = tape.code.copy(), tape.words.copy()
        opcodes = code[:, 0]
        arrays = (opcodes >= MAP) & (opcodes != GUARD) & (opcodes != GUARD_VALUE)
        if moved:
            for opcode, w in code[arrays][:, [0, 2]].tolist():
                move_operands(words, opcode, w, moved)
        code[arrays, 2] += np.uint32(shift)
        recorder.code.frombytes(code.tobytes())
        recorder.words.frombytes(words.tobytes())
        recorder.large.extend(first + row for row in find_large(tape.code, tape.words))
        for row in np.flatnonzero(tape.sites >= 0).tolist():
            recorder.sites[first + row] = tape.places[tape.sites[row]]

    def output(self, slot: Any, moved: dict[int, int]) -> Any:
        """Return a result of the tape as a recording value."""
        recorder = self.recorder
        if slot.constant is not None:
            return constant(recorder, np.asarray(slot.constant, float))
        if not slot.shape and not slot.space:
            return make_scalar(recorder, slot.address)
        space, address = (0, moved[slot.space] + slot.address) if slot.space in moved else (slot.space, slot.address)
        return strided(recorder, space, address, slot.shape, slot.strides)


def jacobian_blocks(copy: Any) -> list[Any]:
    """Return the blocks of the Jacobian as recording arrays, by lanes of tangents or of cotangents."""
    forward = sum(map(size_of, copy.region.inputs)) <= sum(map(size_of, copy.outputs))
    addresses = [addresses_of(output) for output in copy.outputs]
    blocks = (columns if forward else rows)(copy, copy.outputs, addresses)
    return [block for row in blocks for block in row]


def hessian_blocks(copy: Any) -> list[Any]:
    """Return the blocks of the second derivatives: the tangents of the Jacobian's blocks by reverse mode."""
    addresses = [addresses_of(output) for output in copy.outputs]
    slopes = [block for row in rows(copy, copy.outputs, addresses) for block in row]
    copy.region.close()
    blocks = columns(copy, slopes, [addresses_of(slope) for slope in slopes])
    return [block for row in blocks for block in row]
