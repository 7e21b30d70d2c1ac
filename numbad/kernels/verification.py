"""Verification of a tape: a compiled pass that finds the first row that could not run safely."""
# mypy: disable-error-code="no-untyped-def"

from __future__ import annotations

import numpy as np
from numba import njit

from numbad.tape.layout import ABSENT_KIND, ADD, CONTRACT, GATHER, GUARD, GUARD_VALUE, HOST, MAP, SCATTER

UNWRITTEN = 2**32 - 1
MOST_AXES = 64
MOST = 1 << 46  # elements that an operand may span
MOST_COUNT = 1 << 62
HEAD = 4  # words of an array row before its shape

# The numbers of problems that the functions return stand for the texts in numbad/tapes/checks.py.

compiled = njit(nogil=True, error_model="numpy")
cached = njit(nogil=True, cache=True, error_model="numpy")


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
    address = words[d + 2]
    for axis in range(words[w + 2] - 1, -1, -1):
        length = words[w + HEAD + axis]
        address += (index % length) * words[d + 3 + axis]
        index //= length
    return address


@compiled
def mark_accumulated(code, words, last, row, w, d, first, end):
    """Note that a row adds to addresses that an earlier row has cleared.

    Where it adds to fewer addresses than lie between its first and its last, only those count, so
    that checking a row does not take longer than running it.
    """
    sparse = words[w + 1] < end + 1 - first
    for index in range(words[w + 1] if sparse else end + 1 - first):
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
    if kind == ABSENT_KIND and d == w + HEAD + ndim:
        kind = np.int64(0)
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
    if words[w + 1] == 0:  # nothing is read, but the address is computed
        low, high = np.int64(0), words[d + 2] - 1
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
        return mark_accumulated(code, words, last, row, w, first, low, high) if words[w + 1] else (0, 0)
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
        for k in range(w + 2, w + 2 + count):
            if words[k] < 0 or words[k] >= last.size:
                return 2, words[k]
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


@cached
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
            if high < frontier:
                continue
            if words[w + 1] < high + 1 - low:
                found = find_unwritten_element(words, last, row, w, d)
            else:
                found = find_unwritten(last, row, frontier, low, high)
            if found >= 0:
                return found
    return -1


@compiled
def find_unwritten_element(words, last, row, w, d):
    """Return the first element of an operand that is not complete when a row runs, or -1."""
    for index in range(words[w + 1]):
        address = element(words, w, d, index)
        if last[address] > row:
            return address
    return -1


@compiled
def read_places(code, words, last, row, frontier, w):
    """Return an address that a gather, scatter or host row reads before it is written, or -1."""
    if code[row, 0] == GATHER:
        for k in range(w + 2, w + 2 + words[w + 1]):
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


@cached
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
