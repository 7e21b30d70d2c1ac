"""The check of a whole tape before it runs: its rows by a compiled pass, and what is not rows."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NoReturn

import numpy as np

from numbad.errors import TapeError, message
from numbad.geometry import reach
from numbad.kernels.calls import call
from numbad.kernels.memory import check_memory
from numbad.ops import REGISTRY
from numbad.tape.layout import HOST, host_call, host_places
from numbad.tape.naming import op_name

if TYPE_CHECKING:
    from numbad.tapes.tape import Tape

UNWRITTEN = 2**32 - 1
MOST_AXES = 64
MOST_ELEMENTS = 1 << 46

PROBLEMS = {
    1: "the opcode {value} is not known",
    2: "the address {value} lies outside of the arena",
    3: "the address {value} is read before it is written",
    4: "the address {value} is written twice",
    5: "an op of one operand has a second one, {value}",
    6: "a guard expects the truth value {value}, which is neither 0 nor 1",
    7: "its operand words begin at {value}, which lies outside of the words",
    8: "its number of words is said to be {value}, which does not fit",
    9: "its index space has {value} axes",
    10: "an axis has the length {value}",
    11: "it is said to have {value} elements, but its shape gives another number",
    12: "an operand is of kind {value}, which does not fit its strides",
    13: "an operand lives in space {value}, but the tape has no such space",
    14: "an operand reaches element {value}, outside of its space",
    15: "its result is not a contiguous block of the arena at the row's address, but at {value}",
    16: "a place {value} lies outside of its result",
    17: "it calls host {value}, but the tape has no such host",
    18: "it has {value} operands, which is not what its opcode takes",
    19: "it adds to address {value}, which is not an accumulator",
    20: "it clears {value} elements, which do not fit into the arena or do not hold its result",
}


def verify(tape: Tape) -> None:
    """Check that a tape can run: every row known, in bounds, written once and before it is read.

    Parameters
    ----------
    tape : Tape
        Any tape: recorded, or built from arrays of another origin.

    Raises
    ------
    TapeError
        Naming the first row that is wrong, and what is wrong with it.
    MemoryError
        When the tape needs more memory to run than is free.

    Notes
    -----
    Tapes verify themselves before they run for the first time. A row takes no longer to check than to run; a million
    scalar rows take some milliseconds. The check takes 4 bytes of memory for each address.

    An operand is taken to read all addresses between its first and its last, or, where those are more, its elements.

    Examples
    --------
    >>> import dataclasses, numbad
    >>> tape = numbad.record(lambda x: x * x + 1.0, 3.0)
    >>> numbad.verify(tape)
    >>> code = tape.code.copy()
    >>> code[1, 2] = 999
    >>> numbad.verify(dataclasses.replace(tape, code=code))  # doctest: +IGNORE_EXCEPTION_DETAIL
    Traceback (most recent call last):
    TapeError: row 1 (add): the address 999 lies outside of the arena
    """
    space_sizes = check_frame(tape)
    check_memory(4 * tape.size)
    last = np.full(tape.size, UNWRITTEN, np.uint32)
    mark_given(tape, last)
    arities = np.array([op.arity for op in REGISTRY], np.int64)
    code, words = tape.program_code(), tape.program_words()
    row, problem, value = first_wrong(code, words, last, space_sizes, arities, len(tape.hosts))
    if row >= 0:
        complain(f"row {row}{opcode_name(int(code[row, 0]))}: {PROBLEMS[problem].format(value=value)}")
    check_hosts(tape)
    check_outputs(tape, last, space_sizes)


def first_wrong(
    code: np.ndarray, words: np.ndarray, last: np.ndarray, space_sizes: np.ndarray, arities: np.ndarray, hosts: int
) -> tuple[int, int, int]:
    """Return the first row that is wrong, -1 for none, the number of its problem and the value in question."""
    found = np.full(3, -1, np.int64)
    arrays = (code, words, last, space_sizes, arities, found)
    call("writes_at", hosts, arrays)
    if found[0] < 0:
        call("reads_at", 0, arrays)
    row, problem, value = found.tolist()
    return row, problem, value


def complain(what: str) -> NoReturn:
    """Raise a TapeError."""
    raise TapeError(message(what, "record the function again: numbad.record(f, *examples)", where=False))


def opcode_name(opcode: int) -> str:
    """Return the name of an opcode in brackets, or nothing."""
    name = op_name(opcode)
    return f" ({name})" if name else ""


def check_frame(tape: Tape) -> np.ndarray:
    """Check what is not rows: dtype, sizes, arrays kept by reference, inputs; return the sizes of the spaces."""
    if tape.dtype not in (np.dtype(np.float32), np.dtype(np.float64)):
        complain(f"the tape is of dtype {tape.dtype}; float32 and float64 are known")
    if not 1 <= tape.size < UNWRITTEN or len(tape.code) >= UNWRITTEN - 1:
        complain(f"the tape has {tape.size} addresses and {len(tape.code)} rows, which cannot be")
    if len(tape.sites) != len(tape.code):
        complain(f"the tape has sites for {len(tape.sites)} rows and {len(tape.code)} rows")
    if not len(tape.spaces) or tape.spaces[0] is not None:
        complain("space 0 of the tape is not the arena")
    check_inputs(tape)
    sizes = [tape.size]
    inputs = {slot.space: slot for slot in tape.inputs if slot.space}
    for space, values in enumerate(tape.spaces[1:], start=1):
        slot = inputs.get(space)
        if slot is not None:
            sizes.append(slot.size)
            continue
        if not isinstance(values, np.ndarray) or values.dtype.kind not in "fiub":
            complain(f"space {space} of the tape is not an array of real numbers")
        if not (values.flags.c_contiguous or values.flags.f_contiguous) or not values.flags.aligned:
            complain(f"space {space} of the tape is not contiguous memory")
        sizes.append(values.size)
    return np.array(sizes, np.int64)


def check_inputs(tape: Tape) -> None:
    """Check that each input has a shape, and a block of the arena or a space of its own."""
    taken: set[int] = set()
    for slot in tape.inputs:
        if slot.dtype not in (np.dtype(np.float32), np.dtype(np.float64)) or slot.order not in ("C", "F"):
            complain(f"the input {slot.name} is of dtype {slot.dtype} and order {slot.order}, which cannot be")
        if not is_shape(slot.shape):
            complain(f"the input {slot.name} has the shape {slot.shape}, which cannot be")
        if not 0 <= slot.space < len(tape.spaces) or slot.address < 0 or (slot.space and slot.address):
            complain(f"the input {slot.name} lives at address {slot.address} of space {slot.space}, which cannot be")
        if slot.space in taken:
            complain(f"the input {slot.name} lives in space {slot.space}, where another input does")
        taken |= {slot.space} - {0}


def is_shape(shape: tuple[int, ...]) -> bool:
    """Whether a shape has no negative lengths and not too many elements or axes."""
    return len(shape) <= MOST_AXES and all(n >= 0 for n in shape) and math.prod(n for n in shape if n) <= MOST_ELEMENTS


def mark_given(tape: Tape, last: np.ndarray) -> None:
    """Note the addresses that hold inputs and constants before the first row."""
    last[0] = 0
    blocks = [(slot.name, slot.address, slot.size) for slot in tape.inputs if not slot.space]
    blocks += [("a constant", address, np.size(block)) for address, block in tape.loads]
    for name, address, count in blocks:
        if not (1 if count else 0) <= address <= tape.size - count:
            complain(f"{name} lies at address {address}, outside of the arena")
        if (last[address : address + count] == 0).any():
            complain(f"{name} lies at address {address}, where something else does")
        last[address : address + count] = 0
    places = tape.numbers[:, 0]
    if not ((places >= 1.0) & (places < tape.size) & (places == np.floor(places))).all():
        complain("a constant lies outside of the arena")
    addresses = places.astype(np.int64)
    if len(addresses):
        if len(np.unique(addresses)) < len(addresses) or (last[addresses] == 0).any():
            complain("two constants, or a constant and an input, share an address")
        last[addresses] = 0


def check_hosts(tape: Tape) -> None:
    """Check that rows computed by Python kernels have as many elements as the kernels expect."""
    words = tape.words
    for row in np.flatnonzero(tape.code[:, 0] == HOST).tolist():
        w = int(tape.code[row, 2])
        host = tape.hosts[host_call(words, w)]
        operands, results = getattr(host, "operand_shapes", None), getattr(host, "result_shapes", None)
        if operands is None or results is None:
            continue
        counts = [[count for _, _, count in part] for part in host_places(words, w)]
        if counts != [[math.prod(shape) for shape in shapes] for shapes in (operands, results)]:
            complain(f"row {row} (host): its operands do not have the sizes that {getattr(host, 'op', host)} expects")


def check_outputs(tape: Tape, last: np.ndarray, space_sizes: np.ndarray) -> None:
    """Check that the outputs lie in their spaces and have been written."""
    for slot in tape.outputs:
        if slot.constant is not None:
            continue
        if not is_shape(slot.shape) or len(slot.strides) != len(slot.shape):
            complain(f"an output has the shape {slot.shape} and the strides {slot.strides}, which cannot be")
        if not 0 <= slot.space < len(space_sizes) or (slot.space and not slot.shape):
            complain(f"an output of shape {slot.shape} lies in space {slot.space}, which cannot be")
        check_memory(math.prod(slot.shape) * tape.dtype.itemsize)
        if 0 in slot.shape:
            continue
        low, high = reach(slot.address, slot.shape, slot.strides)
        if low < 0 or high >= space_sizes[slot.space]:
            complain("an output lies outside of the tape's memory")
        if slot.space == 0 and (last[low : high + 1] == UNWRITTEN).any():
            complain("an output is never written")
