"""Verification of a tape: a compiled pass that finds the first row that could not run safely."""
# mypy: disable-error-code="no-untyped-def"

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numba import njit

from numbad.errors import TapeError, message
from numbad.ops import REGISTRY
from numbad.rows import ADD, CONTRACT, GATHER, GUARD, GUARD_VALUE, HOST, MAP, SCATTER

if TYPE_CHECKING:
    from numbad.tape import Tape

UNWRITTEN = 2**32 - 1
MOST_AXES = 64
MOST = 1 << 46  # elements that an operand may span
MOST_COUNT = 1 << 62
HEAD = 4  # words of an array row before its shape

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
    11: "it is said to have {value} elements, which its shape has not",
    12: "an operand is of kind {value}, which its strides are not",
    13: "an operand lives in space {value}, which the tape has not",
    14: "an operand reaches element {value}, outside of its space",
    15: "its result is not a contiguous block of the arena at the row's address, but at {value}",
    16: "a place {value} lies outside of its result",
    17: "it calls host {value}, which the tape has not",
    18: "it has {value} operands, which is not what its opcode takes",
    19: "it adds to address {value}, which is not an accumulator",
    20: "it clears {value} elements, which do not fit into the arena or do not hold its result",
}

compiled = njit(nogil=True, cache=True, error_model="numpy")


@compiled
def mark(last, row, first, count):
    """Note that a row writes a run of addresses; return a problem and its value."""
    if first <= 0 or count < 0 or count > last.size or first + count > last.size:
        return 2, first
    for address in range(first, first + count):
        if last[address] != UNWRITTEN:
            return 4, address
        last[address] = row + 1
    return 0, 0


@compiled
def mark_accumulated(code, last, row, first, end):
    """Note that a row adds to a run of addresses that an earlier row has cleared."""
    for address in range(first, end + 1):
        writer = np.int64(last[address]) - 1
        if writer < 0 or writer >= row or (code[writer, 0] != ADD and code[writer, 0] != CONTRACT):
            return 19, address
        last[address] = row + 1
    return 0, 0


@compiled
def check_shape(words, w, operands):
    """Check the head of an array row: its length, index space and number of elements."""
    if w < 0 or w + HEAD > words.size:
        return 7, w
    size, count, ndim = words[w], words[w + 1], words[w + 2]
    if ndim < 1 or ndim > MOST_AXES:
        return 9, ndim
    if size != HEAD + ndim + operands * (3 + ndim) or w + size > words.size:
        return 8, size
    product = np.int64(1)
    empty = False
    for axis in range(ndim):
        length = words[w + HEAD + axis]
        if length < 0 or length > MOST:
            return 10, length
        if length == 0:
            empty = True
        elif product > MOST_COUNT // length:
            return 10, length
        else:
            product *= length
    if count != (0 if empty else product):
        return 11, count
    return 0, 0


@compiled
def reach(words, w, d):
    """Return a problem, its value, and the first and last element that an operand touches."""
    ndim, address = words[w + 2], words[d + 2]
    if address < 0 or address > MOST:
        return 14, address, 0, 0
    low = high = address
    flat = np.int64(1)
    contiguous = scalar = True
    for axis in range(ndim - 1, -1, -1):
        length, stride = words[w + HEAD + axis], words[d + 3 + axis]
        if stride < -MOST or stride > MOST or (length > 1 and abs(stride) > MOST // length):
            return 14, stride, 0, 0
        if length > 1:
            contiguous = contiguous and stride == flat
            scalar = scalar and stride == 0
            low += min(np.int64(0), (length - 1) * stride)
            high += max(np.int64(0), (length - 1) * stride)
        flat = flat * length if length <= MOST // max(flat, 1) else MOST
    kind = words[d]
    if kind < 0 or kind > 2 or (words[w + 1] > 0 and ((kind == 1 and not contiguous) or (kind == 2 and not scalar))):
        return 12, kind, 0, 0
    return 0, 0, low, high


@compiled
def check_operand(words, w, d, space_sizes):
    """Check that an operand stays within its space."""
    space = words[d + 1]
    if space < 0 or space >= space_sizes.size:
        return 13, space
    problem, value, low, high = reach(words, w, d)
    if problem:
        return problem, value
    if words[w + 1] == 0:
        low = high = words[d + 2] - (words[d + 2] > 0)
    if low < 0 or high >= max(space_sizes[space], 1):
        return 14, low if low < 0 else high
    return 0, 0


@compiled
def check_map(code, words, last, space_sizes, arities, row):
    """Check an elementwise row and note what it writes."""
    w, out = np.int64(code[row, 2]), np.int64(code[row, 1])
    arity = arities[code[row, 0] - MAP]
    if code[row, 3] != arity:
        return 18, np.int64(code[row, 3])
    problem, value = check_shape(words, w, 1 + arity)
    if problem:
        return problem, value
    width = 3 + words[w + 2]
    first = w + HEAD + words[w + 2]
    for k in range(1 + arity):
        problem, value = check_operand(words, w, first + k * width, space_sizes)
        if problem:
            return problem, value
    if words[first] != 1 or words[first + 1] != 0 or words[first + 2] != out:
        return 15, words[first + 2]
    if words[w + 3] != words[w + 1]:
        return 20, words[w + 3]
    return mark(last, row, out, words[w + 1])


@compiled
def check_structural(code, words, last, space_sizes, row):
    """Check a sum or product over an index space and note what it writes."""
    w, out = np.int64(code[row, 2]), np.int64(code[row, 1])
    operands = 2 if code[row, 0] == ADD else 3
    if code[row, 3] != operands:
        return 18, np.int64(code[row, 3])
    problem, value = check_shape(words, w, operands)
    if problem:
        return problem, value
    width = 3 + words[w + 2]
    first = w + HEAD + words[w + 2]
    for k in range(operands):
        problem, value = check_operand(words, w, first + k * width, space_sizes)
        if problem:
            return problem, value
    if words[first + 1] != 0:
        return 15, words[first + 2]
    _, _, low, high = reach(words, w, first)
    cleared = words[w + 3]
    if cleared == 0:
        return mark_accumulated(code, last, row, low, high) if words[w + 1] else (0, 0)
    if cleared < 0 or cleared > last.size or (words[w + 1] and (low < out or high >= out + cleared)):
        return 20, cleared
    return mark(last, row, out, cleared)


@compiled
def check_places(code, words, last, space_sizes, row):
    """Check a gather or scatter row and note what it writes."""
    w, out = np.int64(code[row, 2]), np.int64(code[row, 1])
    head = 2 if code[row, 0] == GATHER else 5
    if w < 0 or w + head > words.size:
        return 7, w
    if code[row, 3] != 1:
        return 18, np.int64(code[row, 3])
    count = words[w + 1]
    if count < 0 or count > words.size or words[w] != head + count or w + words[w] > words.size:
        return 8, words[w]
    if code[row, 0] == GATHER:
        return mark(last, row, out, count)
    size, space, source = words[w + 2], words[w + 3], words[w + 4]
    if space < 0 or space >= space_sizes.size:
        return 13, space
    if source < 0 or source > MOST or (count and source + count > space_sizes[space]):
        return 14, source + count
    for k in range(w + 5, w + 5 + count):
        if words[k] < 0 or words[k] >= size:
            return 16, words[k]
    return mark(last, row, out, size)


@compiled
def check_host(code, words, last, space_sizes, hosts, row):
    """Check a row that a Python kernel computes and note what it writes."""
    w = np.int64(code[row, 2])
    if w < 0 or w + HEAD > words.size:
        return 7, w
    size, inputs, outputs = words[w], words[w + 2], words[w + 3]
    if words[w + 1] < 0 or words[w + 1] >= hosts:
        return 17, words[w + 1]
    if inputs < 0 or outputs < 0 or inputs > words.size or outputs > words.size:
        return 18, inputs
    if size != HEAD + 3 * (inputs + outputs) or w + size > words.size:
        return 8, size
    for k in range(inputs + outputs):
        d = w + HEAD + 3 * k
        space, address, count = words[d], words[d + 1], words[d + 2]
        if space < 0 or space >= space_sizes.size:
            return 13, space
        if address < 0 or count < 0 or address > MOST or count > MOST or address + count > space_sizes[space]:
            return 14, address + count
        if k >= inputs:
            if space != 0:
                return 15, address
            problem, value = mark(last, row, address, count)
            if problem:
                return problem, value
    if np.int64(code[row, 1]) != (words[w + HEAD + 3 * inputs + 1] if outputs else 0):
        return 15, np.int64(code[row, 1])
    return 0, 0


@compiled
def check_guard(code, size, row):
    """Check the fields of a guard row."""
    if code[row, 2] >= size:
        return 2, np.int64(code[row, 2])
    if code[row, 3] != 0:
        return 5, np.int64(code[row, 3])
    if code[row, 0] == GUARD:
        if code[row, 1] > 1:
            return 6, np.int64(code[row, 1])
    elif code[row, 1] >= size:
        return 2, np.int64(code[row, 1])
    return 0, 0


@compiled
def check_writes(code, words, last, space_sizes, arities, hosts):
    """Check each row by itself and note which row writes each address last."""
    size = np.uint64(last.size)
    for row in range(code.shape[0]):
        opcode = np.int64(code[row, 0])
        if opcode < arities.size and opcode < MAP:
            a, b, out = code[row, 2], code[row, 3], code[row, 1]
            if a >= size or b >= size:
                return row, 2, np.int64(max(a, b))
            if arities[opcode] == 1 and b != 0:
                return row, 5, np.int64(b)
            problem, value = mark(last, row, np.int64(out), 1)
        elif MAP <= opcode < MAP + arities.size:
            problem, value = check_map(code, words, last, space_sizes, arities, row)
        elif opcode == GUARD or opcode == GUARD_VALUE:
            problem, value = check_guard(code, size, row)
        elif opcode == ADD or opcode == CONTRACT:
            problem, value = check_structural(code, words, last, space_sizes, row)
        elif opcode == GATHER or opcode == SCATTER:
            problem, value = check_places(code, words, last, space_sizes, row)
        elif opcode == HOST:
            problem, value = check_host(code, words, last, space_sizes, hosts, row)
        else:
            problem, value = 1, opcode
        if problem:
            return row, problem, value
    return -1, 0, 0


@compiled
def find_unwritten(last, row, frontier, first, end):
    """Return the first address of first .. end that is not complete when a row runs, or -1.

    All addresses below the frontier are complete.
    """
    for address in range(max(first, frontier), end + 1):
        if last[address] > row:
            return address
    return -1


@compiled
def read_operands(words, last, row, frontier, w, operands):
    """Return an address that an array row reads before it is written, or -1."""
    if words[w + 1] == 0:
        return -1
    width = 3 + words[w + 2]
    for k in range(1, operands):
        d = w + HEAD + words[w + 2] + k * width
        if words[d + 1] == 0:
            _, _, low, high = reach(words, w, d)
            found = find_unwritten(last, row, frontier, low, high)
            if found >= 0:
                return found
    return -1


@compiled
def read_places(code, words, last, row, frontier, w):
    """Return an address that a gather, scatter or host row reads before it is written, or -2 for one outside."""
    if code[row, 0] == GATHER:
        for k in range(w + 2, w + 2 + words[w + 1]):
            if words[k] < 0 or words[k] >= last.size:
                return -2
            if words[k] >= frontier and last[words[k]] > row:
                return words[k]
    elif code[row, 0] == SCATTER:
        if words[w + 3] == 0:
            return find_unwritten(last, row, frontier, words[w + 4], words[w + 4] + words[w + 1] - 1)
    else:
        for k in range(words[w + 2]):
            d = w + HEAD + 3 * k
            if words[d] == 0:
                found = find_unwritten(last, row, frontier, words[d + 1], words[d + 1] + words[d + 2] - 1)
                if found >= 0:
                    return found
    return -1


@compiled
def check_reads(code, words, last, arities):
    """Check that every row reads only what earlier rows have completed."""
    frontier = np.int64(0)
    for row in range(code.shape[0]):
        while frontier < last.size and last[frontier] <= row:
            frontier += 1
        opcode, a, b = np.int64(code[row, 0]), np.int64(code[row, 2]), np.int64(code[row, 3])
        found = np.int64(-1)
        if opcode < MAP:
            if a >= frontier and last[a] > row:
                found = a
            elif b >= frontier and last[b] > row:
                found = b
        elif opcode < MAP + arities.size:
            found = read_operands(words, last, row, frontier, a, 1 + arities[opcode - MAP])
        elif opcode == ADD or opcode == CONTRACT:
            found = read_operands(words, last, row, frontier, a, 2 if opcode == ADD else 3)
        elif opcode == GUARD or opcode == GUARD_VALUE:
            if last[a] > row:
                found = a
            elif opcode == GUARD_VALUE and last[np.int64(code[row, 1])] > row:
                found = np.int64(code[row, 1])
        else:
            found = read_places(code, words, last, row, frontier, a)
        if found != -1:
            return row, 2 if found == -2 else 3, found
    return -1, 0, 0


# ---------------------------------------------------------------- the whole tape


def verify(tape: Tape) -> None:
    """Check that a tape can run: every row known, in bounds, written once and before it is read.

    An operand is taken to read all addresses between its first and its last, which is what
    recordings do. A million rows take some milliseconds. Tapes verify themselves before they
    run for the first time.

    Parameters
    ----------
    tape : Tape
        Any tape: recorded, or built from arrays of another origin.

    Raises
    ------
    TapeError
        Naming the first row that is wrong, and what is wrong with it.

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
    from numbad.sweeps import check_memory, compile_notice

    space_sizes = check_frame(tape)
    check_memory(4 * tape.size)
    last = np.full(tape.size, UNWRITTEN, np.uint32)
    mark_given(tape, last)
    arities = np.array([op.arity for op in REGISTRY], np.int64)
    code, words = tape.program_code(), tape.program_words()
    with compile_notice():
        row, problem, value = check_writes(code, words, last, space_sizes, arities, len(tape.hosts))
        if row < 0:
            row, problem, value = check_reads(code, words, last, arities)
    if row >= 0:
        complain(f"row {row}{opcode_name(int(code[row, 0]))}: {PROBLEMS[problem].format(value=value)}")
    check_hosts(tape)
    check_outputs(tape, last, space_sizes)


def complain(what: str) -> None:
    """Raise a TapeError."""
    raise TapeError(message(what, "record the function again: numbad.record(f, *examples)", where=False))


def opcode_name(opcode: int) -> str:
    """Return the name of an opcode in brackets, or nothing."""
    from numbad.listing import op_name

    name = op_name(opcode)
    return f" ({name})" if name else ""


def check_frame(tape: Tape) -> np.ndarray:
    """Check what is not rows: dtype, sizes, arrays kept by reference, inputs; return the sizes of the spaces."""
    if tape.dtype not in (np.dtype(np.float32), np.dtype(np.float64)):
        complain(f"the tape is of dtype {tape.dtype}; float32 and float64 are known")
    if not 1 <= tape.size < UNWRITTEN or len(tape.code) >= UNWRITTEN - 1:
        complain(f"the tape has {tape.size} addresses and {len(tape.code)} rows, which cannot be")
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
    for slot in tape.inputs:
        if not 0 <= slot.space < len(sizes) or slot.address < 0:
            complain(f"the input {slot.name} lives at address {slot.address} of space {slot.space}, which cannot be")
    return np.array(sizes, np.int64)


def mark_given(tape: Tape, last: np.ndarray) -> None:
    """Note the addresses that hold inputs and constants before the first row."""
    last[0] = 0
    blocks = [(slot.name, slot.address, slot.size) for slot in tape.inputs if not slot.space]
    blocks += [("a constant", address, np.size(block)) for address, block in tape.loads]
    for name, address, count in blocks:
        if count and not 1 <= address <= tape.size - count:
            complain(f"{name} lies at address {address}, outside of the arena")
        if (last[address : address + count] == 0).any():
            complain(f"{name} lies at address {address}, where something else does")
        last[address : address + count] = 0
    if tape.numbers:
        addresses = np.array([address for address, _ in tape.numbers], np.int64)
        if addresses.min() < 1 or addresses.max() >= tape.size:
            complain("a constant lies outside of the arena")
        if len(np.unique(addresses)) < len(addresses) or (last[addresses] == 0).any():
            complain("two constants, or a constant and an input, share an address")
        last[addresses] = 0


def check_hosts(tape: Tape) -> None:
    """Check that rows computed by Python kernels have as many elements as the kernels expect."""
    words = tape.words
    for row in np.flatnonzero(tape.code[:, 0] == HOST).tolist():
        w = int(tape.code[row, 2])
        host = tape.hosts[int(words[w + 1])]
        shapes = [*getattr(host, "operand_shapes", ()), *getattr(host, "result_shapes", ())]
        if not shapes:
            continue
        counts = words[w + HEAD + 2 : w + int(words[w]) : 3].tolist()
        inputs = len(getattr(host, "operand_shapes", ()))
        if counts != [int(np.prod(shape)) for shape in shapes] or int(words[w + 2]) != inputs:
            complain(f"row {row} (host): its operands do not have the sizes that {host} expects")


def check_outputs(tape: Tape, last: np.ndarray, space_sizes: np.ndarray) -> None:
    """Check that the outputs lie in their spaces and have been written."""
    for slot in tape.outputs:
        if slot.constant is not None or 0 in slot.shape:
            continue
        low = slot.address + sum(min(0, (n - 1) * s) for n, s in zip(slot.shape, slot.strides, strict=True))
        high = slot.address + sum(max(0, (n - 1) * s) for n, s in zip(slot.shape, slot.strides, strict=True))
        if not 0 <= slot.space < len(space_sizes) or low < 0 or high >= space_sizes[slot.space]:
            complain("an output lies outside of the tape's memory")
        if slot.space == 0 and (last[low : high + 1] == UNWRITTEN).any():
            complain("an output is never written")
