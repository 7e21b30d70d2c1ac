"""Verification of a tape: a compiled pass that finds the first row that could not run safely."""
# mypy: disable-error-code="no-untyped-def"

from __future__ import annotations

import numpy as np

from numbad.kernels.layout import (
    array_row_size,
    gather_place,
    host_address,
    host_call,
    host_elements,
    host_inputs,
    host_outputs,
    host_row_size,
    host_space,
    listed_count,
    listed_head,
    operand_address,
    operand_at,
    operand_kind,
    operand_space,
    operand_stride,
    row_axes,
    row_cleared,
    row_elements,
    row_extent,
    row_size,
    scatter_address,
    scatter_block,
    scatter_place,
    scatter_space,
)
from numbad.kernels.tables import addresses_at, compiled, integers_at, table_at
from numbad.kernels.vectormath import rows_of
from numbad.tape.layout import ABSENT_KIND, ADD, CONTRACT, GATHER, GUARD, GUARD_VALUE, HEAD, HOST, MAP, SCATTER

UNWRITTEN = 2**32 - 1
MOST_AXES = 64
MOST = 1 << 46  # elements that an operand may span
MOST_COUNT = 1 << 62

# The numbers of problems that the functions return stand for the texts in numbad/tapes/checks.py.


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
def element(words, w, d, index):
    """Return the address of an operand's element at a place of the index space."""
    address = operand_address(words, d)
    for axis in range(row_axes(words, w) - 1, -1, -1):
        length = row_extent(words, w, axis)
        address += (index % length) * operand_stride(words, d, axis)
        index //= length
    return address


@compiled
def mark_accumulated(code, words, last, row, w, d, first, end):
    """Note that a row adds to addresses that an earlier row has cleared.

    Where it adds to fewer addresses than lie between its first and its last, only those count, so
    that checking a row does not take longer than running it.
    """
    sparse = row_elements(words, w) < end + 1 - first
    for index in range(row_elements(words, w) if sparse else end + 1 - first):
        address = element(words, w, d, index) if sparse else first + index
        writer = np.int64(last[address]) - 1
        if writer < 0 or writer > row or (code[writer, 0] != ADD and code[writer, 0] != CONTRACT):
            return 19, address
        last[address] = row + 1
    return 0, 0


@compiled
def check_shape(words, w, operands):
    """Check the head of an array row: its length, index space and number of elements."""
    if w < 0 or w + HEAD > words.size:
        return 7, w
    size, elements, axes = row_size(words, w), row_elements(words, w), row_axes(words, w)
    if axes < 1 or axes > MOST_AXES:
        return 9, axes
    if size != array_row_size(axes, operands) or w + size > words.size:
        return 8, size
    product = np.int64(1)
    empty = False
    for axis in range(axes):
        length = row_extent(words, w, axis)
        if length < 0 or length > MOST:
            return 10, length
        if length == 0:
            empty = True
        elif product > MOST_COUNT // length:
            return 10, length
        else:
            product *= length
    if elements != (0 if empty else product):
        return 11, elements
    return 0, 0


@compiled
def reach(words, w, d):
    """Return a problem, its value, and the first and last element that an operand touches."""
    axes, address = row_axes(words, w), operand_address(words, d)
    if address < 0 or address > MOST:
        return 14, address, 0, 0
    low = high = address
    flat = np.int64(1)
    contiguous = scalar = True
    for axis in range(axes - 1, -1, -1):
        length, stride = row_extent(words, w, axis), operand_stride(words, d, axis)
        if stride < -MOST or stride > MOST or (length > 1 and abs(stride) > MOST // length):
            return 14, stride, 0, 0
        if length > 1:
            contiguous = contiguous and stride == flat
            scalar = scalar and stride == 0
            low += min(np.int64(0), (length - 1) * stride)
            high += max(np.int64(0), (length - 1) * stride)
        flat = flat * length if length <= MOST // max(flat, 1) else MOST
    kind = operand_kind(words, d)
    if kind == ABSENT_KIND and d == operand_at(words, w, 0):
        kind = np.int64(0)
    wrong = (kind == 1 and not contiguous) or (kind == 2 and not scalar)
    if kind < 0 or kind > 2 or (row_elements(words, w) > 0 and wrong):
        return 12, kind, 0, 0
    return 0, 0, low, high


@compiled
def check_operand(words, w, d, space_sizes):
    """Check that an operand stays within its space."""
    space = operand_space(words, d)
    if space < 0 or space >= space_sizes.size:
        return 13, space
    problem, value, low, high = reach(words, w, d)
    if problem:
        return problem, value
    if row_elements(words, w) == 0:  # nothing is read, but the address is computed
        low, high = np.int64(0), operand_address(words, d) - 1
    if low < 0 or high >= space_sizes[space]:
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
    for k in range(1 + arity):
        problem, value = check_operand(words, w, operand_at(words, w, k), space_sizes)
        if problem:
            return problem, value
    first = operand_at(words, w, 0)
    if operand_kind(words, first) != 1 or operand_space(words, first) != 0 or operand_address(words, first) != out:
        return 15, operand_address(words, first)
    if row_cleared(words, w) != row_elements(words, w):
        return 20, row_cleared(words, w)
    return mark(last, row, out, row_elements(words, w))


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
    for k in range(operands):
        problem, value = check_operand(words, w, operand_at(words, w, k), space_sizes)
        if problem:
            return problem, value
    first = operand_at(words, w, 0)
    if operand_space(words, first) != 0:
        return 15, operand_address(words, first)
    _, _, low, high = reach(words, w, first)
    cleared, elements = row_cleared(words, w), row_elements(words, w)
    if cleared == 0:
        return mark_accumulated(code, words, last, row, w, first, low, high) if elements else (0, 0)
    if cleared < 0 or cleared > last.size or (elements and (low < out or high >= out + cleared)):
        return 20, cleared
    return mark(last, row, out, cleared)


@compiled
def check_places(code, words, last, space_sizes, row):
    """Check a gather or scatter row and note what it writes."""
    w, out = np.int64(code[row, 2]), np.int64(code[row, 1])
    head = listed_head(np.int64(code[row, 0]))
    if w < 0 or w + head > words.size:
        return 7, w
    if code[row, 3] != 1:
        return 18, np.int64(code[row, 3])
    count, size = listed_count(words, w), row_size(words, w)
    if count < 0 or count > words.size or size != head + count or w + size > words.size:
        return 8, size
    if code[row, 0] == GATHER:
        for k in range(count):
            address = gather_place(words, w, k)
            if address < 0 or address >= last.size:
                return 2, address
        return mark(last, row, out, count)
    block, space, source = scatter_block(words, w), scatter_space(words, w), scatter_address(words, w)
    if space < 0 or space >= space_sizes.size:
        return 13, space
    if source < 0 or source > MOST or (count and source + count > space_sizes[space]):
        return 14, source + count
    for k in range(count):
        place = scatter_place(words, w, k)
        if place < 0 or place >= block:
            return 16, place
    return mark(last, row, out, block)


@compiled
def check_host(code, words, last, space_sizes, hosts, row):
    """Check a row that a Python kernel computes and note what it writes."""
    w = np.int64(code[row, 2])
    if w < 0 or w + HEAD > words.size:
        return 7, w
    size, inputs, outputs = row_size(words, w), host_inputs(words, w), host_outputs(words, w)
    if host_call(words, w) < 0 or host_call(words, w) >= hosts:
        return 17, host_call(words, w)
    if inputs < 0 or outputs < 0 or inputs > words.size or outputs > words.size:
        return 18, inputs
    if size != host_row_size(inputs + outputs) or w + size > words.size:
        return 8, size
    for k in range(inputs + outputs):
        space, address, count = host_space(words, w, k), host_address(words, w, k), host_elements(words, w, k)
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
    if np.int64(code[row, 1]) != (host_address(words, w, inputs) if outputs else 0):
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
    if row_elements(words, w) == 0:
        return -1
    for k in range(1, operands):
        d = operand_at(words, w, k)
        if operand_space(words, d) == 0:
            _, _, low, high = reach(words, w, d)
            if high < frontier:
                continue
            if row_elements(words, w) < high + 1 - low:
                found = find_unwritten_element(words, last, row, w, d)
            else:
                found = find_unwritten(last, row, frontier, low, high)
            if found >= 0:
                return found
    return -1


@compiled
def find_unwritten_element(words, last, row, w, d):
    """Return the first element of an operand that is not complete when a row runs, or -1."""
    for index in range(row_elements(words, w)):
        address = element(words, w, d, index)
        if last[address] > row:
            return address
    return -1


@compiled
def read_places(code, words, last, row, frontier, w):
    """Return an address that a gather, scatter or host row reads before it is written, or -1."""
    if code[row, 0] == GATHER:
        for k in range(listed_count(words, w)):
            address = gather_place(words, w, k)
            if address >= frontier and last[address] > row:
                return address
    elif code[row, 0] == SCATTER:
        if scatter_space(words, w) == 0:
            first = scatter_address(words, w)
            return find_unwritten(last, row, frontier, first, first + listed_count(words, w) - 1)
    else:
        for k in range(host_inputs(words, w)):
            if host_space(words, w, k) == 0:
                first = host_address(words, w, k)
                found = find_unwritten(last, row, frontier, first, first + host_elements(words, w, k) - 1)
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
        if found >= 0:
            return row, 3, found
    return -1, 0, 0


def writes_at(like, hosts, at):
    """Run `check_writes`; enter the row, the problem and its value. Compiled to a C function."""
    table = table_at(at)
    code, words, last = rows_of(addresses_at(table, 0), 4), integers_at(table, 1), addresses_at(table, 2)
    found = check_writes(code, words, last, integers_at(table, 3), integers_at(table, 4), hosts)
    enter(integers_at(table, 5), found)
    return np.int64(0)


def reads_at(like, _, at):
    """Run `check_reads`; enter the row, the problem and its value. Compiled to a C function."""
    table = table_at(at)
    code, words, last = rows_of(addresses_at(table, 0), 4), integers_at(table, 1), addresses_at(table, 2)
    enter(integers_at(table, 5), check_reads(code, words, last, integers_at(table, 4)))
    return np.int64(0)


@compiled
def enter(result, found):
    """Write three integers to an array."""
    result[0], result[1], result[2] = found
