"""What depends on which inputs, element by element: sets of columns as lists of intervals, and entries with places.

Each is a C function of an address, compiled by Numba when it is first called; `sparsity.compiled` loads it. An entry
that needs more memory returns the row where it stopped, and goes on from there when it is called again.

Sets of columns are lists of intervals, in order and apart (for dense results one interval, however long they are), and
are shared between addresses. A set that only one other row reads is not made: its row stands in for it, and the reader
collects what all of these rows read, sorts it and joins intervals that meet. So the sum of n terms costs n log n, in
whatever order a program adds them (index domains: Griewank and Walther, 2008, *Evaluating Derivatives*, section 7.1).
"""
# mypy: disable-error-code="no-untyped-def"

from __future__ import annotations

import numpy as np

from numbad.kernels.tables import addresses_at, array_at, bytes_at, compiled, integers_at, table_at
from numbad.kernels.vectormath import absent, call_at, rows_of, view
from numbad.tape.layout import ADD, CLEAR, CONTRACT, GUARD, GUARD_VALUE, MAP, WHOLE

JOIN = 1032  # as in `sparsity.elements`, whose imports are not to be compiled
HALF = 32  # bits of an interval's end in a key
LOW = (1 << HALF) - 1
DEFERRED = -1  # the count of a set that is not made
FEW = 24  # keys that are sorted by insertion
P_CONSTANT, Q_CONSTANT, P_NONE, Q_NONE = 1, 2, 4, 8  # flags of rows

# ---------------------------------------------------------------- sorting


@compiled
def sift(keys, first, root, count):
    """Let a key sink in a heap."""
    key = keys[first + root]
    while True:
        child = 2 * root + 1
        if child >= count:
            break
        if child + 1 < count and keys[first + child] < keys[first + child + 1]:
            child += 1
        if keys[first + child] <= key:
            break
        keys[first + root] = keys[first + child]
        root = child
    keys[first + root] = key


@compiled
def sort_keys(keys, first, count):
    """Sort a run of keys in place."""
    ordered = True
    for k in range(first + 1, first + count):
        if keys[k] < keys[k - 1]:
            ordered = False
            break
    if ordered:
        return
    if count <= FEW:
        for k in range(first + 1, first + count):
            key, j = keys[k], k
            while j > first and keys[j - 1] > key:
                keys[j] = keys[j - 1]
                j -= 1
            keys[j] = key
        return
    for root in range(count // 2 - 1, -1, -1):
        sift(keys, first, root, count)
    for last in range(count - 1, 0, -1):
        keys[first], keys[first + last] = keys[first + last], keys[first]
        sift(keys, first, np.int64(0), last)


# ---------------------------------------------------------------- what is constant


@compiled
def is_constant(needs, varies_a, varies_b, varies_z):
    """Whether a partial is, that depends on x, y and z (bits 1, 2, 4)."""
    return not ((needs & 1 and varies_a) or (needs & 2 and varies_b) or (needs & 4 and varies_z))


@compiled
def mark_rows(code, varies, uses, flags, binary, needs):
    """Note which values depend on the inputs, how often each is read for derivatives, and which partials are constant.

    Parameters
    ----------
    code : ndarray of uint32, shape (rows, 4)
    varies : ndarray of uint8, shape (size,)
        True of the inputs at first.
    uses : ndarray of uint8, shape (size,)
        How often an address is read, up to 2.
    flags : ndarray of uint8, shape (rows,)
        Becomes P_CONSTANT and Q_CONSTANT.
    binary : ndarray of uint8, shape (ops,)
        Whether an op has two operands.
    needs : ndarray of uint8, shape (ops,)
        On which of x, y, z the partials of an op depend (`ops.texts.dependencies`).
    """
    for i in range(code.shape[0]):
        opcode, out, a, b = code[i, 0], code[i, 1], code[i, 2], code[i, 3]
        if opcode == GUARD or opcode == GUARD_VALUE or opcode == CLEAR:
            continue
        uses[a] = min(2, uses[a] + 1)
        if opcode < MAP:
            two = binary[opcode] != 0
            if two:
                uses[b] = min(2, uses[b] + 1)
            x, y = varies[a] != 0, two and varies[b] != 0
            z = x or y
            flag = P_CONSTANT if is_constant(needs[opcode] & 7, x, y, z) else 0
            flag |= Q_CONSTANT if is_constant(needs[opcode] >> 3, x, y, z) else 0
            flags[i] = flag
            if z:
                varies[out] = 1
        elif opcode == CONTRACT:
            uses[b] = min(2, uses[b] + 1)
            flags[i] = (0 if varies[b] else P_CONSTANT) | (0 if varies[a] else Q_CONSTANT)
            if varies[a] or varies[b]:
                varies[out] = 1
        else:  # ADD, JOIN
            flags[i] = P_CONSTANT if opcode == ADD else 0
            if varies[a]:
                varies[out] = 1


# ---------------------------------------------------------------- sets of columns


@compiled
def collect(address, starts, counts, second, pool, keys, found, stack):
    """Append the intervals of a set to the keys; return how many there are then, -1 where memory is short."""
    depth = 1
    stack[0] = address
    while depth:
        depth -= 1
        place = stack[depth]
        if counts[place] == DEFERRED:
            stack[depth] = starts[place]
            depth += 1
            if second[place] >= 0:
                stack[depth] = second[place]
                depth += 1
            continue
        if found + counts[place] > keys.size:
            return np.int64(-1)
        for k in range(starts[place], starts[place] + counts[place]):
            if found == 0 or pool[k] != keys[found - 1]:
                keys[found] = pool[k]
                found += 1
    return found


@compiled
def settle(out, found, starts, counts, pool, keys, state):
    """Give an address the union of the intervals collected; return False where memory is short."""
    sort_keys(keys, np.int64(0), found)
    kept = np.int64(0)
    for k in range(1, found):
        low, high, last = keys[k] >> HALF, keys[k] & LOW, keys[kept] & LOW
        if low <= last + 1:
            if high > last:
                keys[kept] = (keys[kept] >> HALF << HALF) | high
        else:
            kept += 1
            keys[kept] = keys[k]
    kept += 1
    first = state[0]
    if first + kept > pool.size:
        return False
    for k in range(kept):
        pool[first + k] = keys[k]
    starts[out], counts[out] = first, kept
    state[0] = first + kept
    return True


@compiled
def share(out, source, starts, counts, second):
    """Give an address the set of another."""
    starts[out], counts[out] = starts[source], counts[source]
    second[out] = second[source]


@compiled
def passes(code, flags, carries, i, counts):
    """Return which operands of a scalar row or product pass a set on (bits 1, 2)."""
    opcode = code[i, 0]
    carried = carries[opcode] if opcode < MAP else np.uint8(3 if opcode == CONTRACT else 1)
    one = carried & 1 and not flags[i] & P_NONE and counts[code[i, 2]] != 0
    other = carried & 2 and not flags[i] & Q_NONE and counts[code[i, 3]] != 0
    return (1 if one else 0) | (2 if other else 0)


@compiled
def propagate(code, flags, carries, uses, starts, counts, second, pool, keys, stack, state):
    """Find the columns on which each address depends; return the row where it stopped.

    state has the end of the pool and the row to begin with, and becomes whether the keys are too few.
    """
    i = state[1]
    while i < code.shape[0]:
        opcode, out, a, b = code[i, 0], np.int64(code[i, 1]), np.int64(code[i, 2]), np.int64(code[i, 3])
        if opcode == GUARD or opcode == GUARD_VALUE:
            i += 1
            continue
        if opcode == CLEAR:
            counts[out] = 0
            i += 1
            continue
        if opcode < MAP:
            which = passes(code, flags, carries, i, counts)
            if which == 0:
                counts[out] = 0
            elif which < 3 or a == b or (counts[a] > 0 and counts[a] == counts[b] and starts[a] == starts[b]):
                source = b if which == 2 else a
                if counts[source] == DEFERRED and uses[out] > 1:
                    found = collect(source, starts, counts, second, pool, keys, np.int64(0), stack)
                    if found < 0 or not settle(out, found, starts, counts, pool, keys, state):
                        state[1], state[2] = i, found < 0
                        return i
                else:
                    share(out, source, starts, counts, second)
            elif uses[out] == 1:
                starts[out], second[out], counts[out] = a, b, DEFERRED
            else:
                found = collect(a, starts, counts, second, pool, keys, np.int64(0), stack)
                if found >= 0:
                    found = collect(b, starts, counts, second, pool, keys, found, stack)
                if found < 0 or not settle(out, found, starts, counts, pool, keys, state):
                    state[1], state[2] = i, found < 0
                    return i
            i += 1
            continue
        stop = i  # all terms of one result at once
        found, sources, only = np.int64(0), 0, np.int64(0)
        if counts[out] != 0:
            found, sources, only = collect(out, starts, counts, second, pool, keys, found, stack), 1, out
        while found >= 0 and stop < code.shape[0] and code[stop, 0] == opcode and np.int64(code[stop, 1]) == out:
            which = passes(code, flags, carries, stop, counts)
            for k in range(2):
                source = np.int64(code[stop, 2 + k])
                if which >> k & 1 and found >= 0:
                    sources += 1
                    only = source
                    found = collect(source, starts, counts, second, pool, keys, found, stack)
            stop += 1
        if found > 0 and sources == 1 and counts[only] > 0:
            share(out, only, starts, counts, second)
        elif found < 0 or (found and not settle(out, found, starts, counts, pool, keys, state)):
            state[1], state[2] = i, found < 0
            return i
        i = stop
    state[1] = i
    return i


@compiled
def write_pattern(outputs, starts, counts, pool, pointers, columns):
    """Write the columns of each output's row; without `columns` count them."""
    total = np.int64(0)
    for k in range(outputs.size):
        pointers[k] = total
        place = outputs[k]
        for j in range(starts[place], starts[place] + counts[place]):
            low, high = pool[j] >> HALF, pool[j] & LOW
            if columns.size:
                for column in range(low, high + 1):
                    columns[total + column - low] = column
            total += high - low + 1
    pointers[outputs.size] = total
    return total


# ---------------------------------------------------------------- entries: a place in memory for each of some columns

# An entry is a column and a place; the lowest bit of a place says that the number varies. Instructions are three
# places (target, factor, source): memory[target] = memory[factor] * memory[source], added if the target is negative.


@compiled
def nothing(memory):
    """Return -0.0 in the type of a memory, whose place 0 holds 1: what is absent adds it."""
    return -(memory[0] - memory[0])


@compiled
def add_term(memory, state, steps, target, factor, source, more, varies):
    """Compute a term of an entry now, and note the instruction if it varies; `more` adds to the terms before."""
    number = memory[factor] * memory[source]
    if absent(memory[factor]) or absent(memory[source]):
        number = nothing(memory)
    memory[target] = memory[target] + number if more else number
    if varies:
        k = state[2]
        steps[3 * k], steps[3 * k + 1], steps[3 * k + 2] = (-target if more else target), factor, source
        state[2] = k + 1


@compiled
def merge_entries(code, i, which, flags, starts, counts, columns, places, memory, steps, state, values_at, partials_at):
    """Make the entries of a row of one or two operands that pass them on; return False where memory is short."""
    opcode, out = code[i, 0], np.int64(code[i, 1])
    a, b = np.int64(code[i, 2]), np.int64(code[i, 3])
    p = (partials_at + 2 * i) if opcode < MAP else values_at + b
    q = (partials_at + 2 * i + 1) if opcode < MAP else values_at + a
    p_varies, q_varies = not flags[i] & P_CONSTANT, not flags[i] & Q_CONSTANT
    first, x = state[0], starts[a]
    y, x_stop, y_stop = starts[b], starts[a] + counts[a], starts[b] + counts[b]
    if not which & 1:
        x_stop = x
    if not which & 2:
        y_stop = y
    most = x_stop - x + y_stop - y
    if first + most > columns.size or state[1] + most > memory.size or 3 * (state[2] + 2 * most) > steps.size:
        return False
    made = np.int64(0)
    while x < x_stop or y < y_stop:
        left = x < x_stop and (y >= y_stop or columns[x] <= columns[y])
        right = y < y_stop and (x >= x_stop or columns[y] <= columns[x])
        if left != right:
            source, factor, varies = (places[x], p, p_varies) if left else (places[y], q, q_varies)
            columns[first + made] = columns[x] if left else columns[y]
            places[first + made] = one_term(memory, state, steps, factor, source, varies)
        else:
            columns[first + made] = columns[x]
            target = state[1]
            state[1] = target + 1
            one, other = p_varies or places[x] & 1, q_varies or places[y] & 1
            both = bool(one or other)
            add_term(memory, state, steps, target, p, places[x] >> 1, False, both)
            add_term(memory, state, steps, target, q, places[y] >> 1, True, both)
            places[first + made] = 2 * target + both
        made += 1
        x += left
        y += right
    starts[out], counts[out] = first, made
    state[0] = first + made
    return True


@compiled
def one_term(memory, state, steps, factor, source, factor_varies):
    """Return the place of a factor times an entry: an old one where one of the two is the constant 1."""
    if not factor_varies and memory[factor] == 1:
        return source
    if source == 0 and factor_varies:  # the seed
        return 2 * factor + 1
    target = state[1]
    state[1] = target + 1
    varies = factor_varies or source & 1
    add_term(memory, state, steps, target, factor, source >> 1, False, varies)
    return 2 * target + (1 if varies else 0)


@compiled
def make_entries(code, flags, carries, starts, counts, columns, places, keys, memory, steps, state, numbers):
    """Give each address its entries; return the row where it stopped.

    Parameters
    ----------
    state : ndarray of int64
        Ends of the entries, of the memory and of the steps, and the row to begin with.
    numbers : ndarray of int64
        Where values and partials begin in the memory, whose place 0 holds 1.
    """
    values_at, partials_at = numbers[0], numbers[1]
    i = state[3]
    while i < code.shape[0]:
        opcode, out = code[i, 0], np.int64(code[i, 1])
        if opcode == CLEAR:
            counts[out] = 0
        elif opcode < MAP:
            which = passes(code, flags, carries, i, counts)
            if which == 0:
                counts[out] = 0
            elif not merge_entries(
                code, i, which, flags, starts, counts, columns, places, memory, steps, state, values_at, partials_at
            ):
                state[3] = i
                return i
        elif opcode == ADD or opcode == CONTRACT:
            stop = i
            while stop < code.shape[0] and code[stop, 0] == opcode and np.int64(code[stop, 1]) == out:
                stop += 1
            if not sum_entries(
                code, i, stop, flags, carries, starts, counts, columns, places, keys, memory, steps, state, values_at
            ):
                state[3] = i
                return i
            i = stop
            continue
        i += 1
    state[3] = i
    return i


@compiled
def sum_entries(
    code, start, stop, flags, carries, starts, counts, columns, places, keys, memory, steps, state, values_at
):
    """Make the entries of a sum of many terms; return False where memory is short."""
    out = np.int64(code[start, 1])
    first, end = state[0], state[0]
    most = counts[out]
    for i in range(start, stop):
        which = passes(code, flags, carries, i, counts)
        most += (counts[code[i, 2]] if which & 1 else 0) + (counts[code[i, 3]] if which & 2 else 0)
    room = state[1] + 2 * most > memory.size or 3 * (state[2] + 2 * most) > steps.size
    if room or first + 2 * most > columns.size or most > keys.size:
        return False
    for j in range(starts[out], starts[out] + counts[out]):
        columns[end], places[end] = columns[j], places[j]
        end += 1
    for i in range(start, stop):
        which = passes(code, flags, carries, i, counts)
        for k in range(2):
            if not which >> k & 1:
                continue
            source = np.int64(code[i, 2 + k])
            for j in range(starts[source], starts[source] + counts[source]):
                columns[end] = columns[j]
                if code[i, 0] == ADD:
                    places[end] = places[j]
                else:
                    factor = values_at + np.int64(code[i, 3 - k])
                    varies = not flags[i] & (P_CONSTANT if k == 0 else Q_CONSTANT)
                    places[end] = one_term(memory, state, steps, factor, places[j], varies)
                end += 1
    count = end - first
    for k in range(count):
        keys[k] = columns[first + k] << HALF | k
    sort_keys(keys, np.int64(0), count)
    made, k = end, np.int64(0)
    while k < count:
        last = k
        column = keys[k] >> HALF
        while last < count and keys[last] >> HALF == column:
            last += 1
        columns[made] = column
        if last == k + 1:
            places[made] = places[first + (keys[k] & LOW)]
        else:
            target = state[1]
            state[1] = target + 1
            varies = False
            for j in range(k, last):
                varies = varies or places[first + (keys[j] & LOW)] & 1 != 0
            for j in range(k, last):
                add_term(memory, state, steps, target, np.int64(0), places[first + (keys[j] & LOW)] >> 1, j > k, varies)
            places[made] = 2 * target + (1 if varies else 0)
        made += 1
        k = last
    starts[out], counts[out] = end, made - end
    state[0] = made
    return True


@compiled
def mark_steps(steps, needed, kept):
    """Note which instructions are needed, and which places, backward from the places that are."""
    for k in range(kept.size - 1, -1, -1):
        target = abs(steps[3 * k])
        if needed[target]:
            kept[k] = 1
            needed[steps[3 * k + 1]] = 1
            needed[steps[3 * k + 2]] = 1


@compiled
def mark_values(code, varies, values, partials, kept, binary):
    """Note which rows compute values or partials that are needed and vary, backward; guards are needed always.

    Parameters
    ----------
    values, partials : ndarray of uint8
        For each address, and for each partial of each row, whether it is needed.
    kept : ndarray of uint8, shape (rows,)
        Becomes true of those rows.
    """
    for i in range(code.shape[0] - 1, -1, -1):
        opcode, out, a, b = code[i, 0], code[i, 1], code[i, 2], code[i, 3]
        if opcode == GUARD or opcode == GUARD_VALUE:
            kept[i] = 1
            values[a] = 1
            if opcode == GUARD_VALUE:
                values[out] = 1
            continue
        wanted = values[out] != 0
        if opcode < MAP:
            wanted = wanted or partials[2 * i] != 0 or partials[2 * i + 1] != 0
        if not wanted or not varies[out]:
            continue
        kept[i] = 1
        if opcode == CLEAR:
            continue
        values[a] = 1
        if opcode == CONTRACT or (opcode < MAP and binary[opcode]):
            values[b] = 1


# ---------------------------------------------------------------- running


@compiled
def run_sums(code, values, i, stop):
    """Clear results and add terms to them, as far as rows do nothing else; return the first that does."""
    while i < stop:
        opcode, out, a = code[i, 0], code[i, 1], code[i, 2]
        if opcode == CLEAR:
            values[out] = 0
            if a:
                values[out] = -values[out]
        elif opcode == ADD:
            values[out] += values[a]
        elif opcode == CONTRACT:
            values[out] += values[a] * values[code[i, 3]]
        else:
            break
        i += 1
    return i


@compiled
def run_steps(memory, steps, careful):
    """Compute the entries; `careful` takes care of what is absent where numbers are not finite."""
    for k in range(steps.size // 3):
        target, factor, source = np.int64(steps[3 * k]), memory[steps[3 * k + 1]], memory[steps[3 * k + 2]]
        number = factor * source
        if careful and (absent(factor) or absent(source)):
            number = nothing(memory)
        if target < 0:
            memory[-target] += number
        else:
            memory[target] = number


def run_entries_at(like, careful, at):
    """Run the rows, then the instructions, and collect the entries; return the row that stopped it.

    Returns -1 where all is well, -2 where an entry is not finite: a second, `careful` call then takes care of what is
    absent. Compiled to a C function.
    """
    table = table_at(at)
    code, memory = rows_of(addresses_at(table, 0), 4), array_at(table, 1, like)
    steps, targets, sources = array_at(table, 2, np.int32(0)), integers_at(table, 3), integers_at(table, 4)
    template, data = array_at(table, 5, like), array_at(table, 6, like)
    linearise, values_at, partials_at, zero = np.uint64(table[14]), table[15], table[16], memory[0] - memory[0]
    values = view(np.uint64(values_at), WHOLE, like)
    i, stop = np.int64(0), np.int64(code.shape[0])
    while i < stop and not careful:
        i = call_at(linearise, like, (table[0], values_at, partials_at, i, stop))
        if i < stop:
            if code[i, 0] == GUARD or code[i, 0] == GUARD_VALUE:
                return i
            i = run_sums(code, values, i, stop)
    run_steps(memory, steps, careful != 0)
    for k in range(template.size):
        data[k] = template[k]
    total = zero
    for k in range(targets.size):
        number = memory[sources[k]] + zero
        data[targets[k]] = number
        total += number * zero
    return np.int64(-1) if total == zero else np.int64(-2)


def fill_partials_at(like, _, at):
    """Compute the values and partials of scalar rows that compiled code knows, others left as they are.

    Compiled to a C function.
    """
    table = table_at(at)
    code, linearise = rows_of(addresses_at(table, 0), 4), np.uint64(table[6])
    i, stop = np.int64(0), np.int64(code.shape[0])
    while i < stop:
        i = call_at(linearise, like, (table[0], table[2], table[4], i, stop)) + 1
    return np.int64(0)


# ---------------------------------------------------------------- entries


def mark_rows_at(like, _, at):
    """Run `mark_rows`. Compiled to a C function."""
    table = table_at(at)
    code = rows_of(addresses_at(table, 0), 4)
    mark_rows(code, bytes_at(table, 1), bytes_at(table, 2), bytes_at(table, 3), bytes_at(table, 4), bytes_at(table, 5))
    return np.int64(0)


def propagate_at(like, _, at):
    """Run `propagate`. Compiled to a C function."""
    table = table_at(at)
    code, flags, carries, uses = (
        rows_of(addresses_at(table, 0), 4),
        bytes_at(table, 1),
        bytes_at(table, 2),
        bytes_at(table, 3),
    )
    starts, counts, second, pool = (
        integers_at(table, 4),
        integers_at(table, 5),
        integers_at(table, 6),
        integers_at(table, 7),
    )
    keys, stack, state = integers_at(table, 8), integers_at(table, 9), integers_at(table, 10)
    return propagate(code, flags, carries, uses, starts, counts, second, pool, keys, stack, state)


def write_pattern_at(like, _, at):
    """Run `write_pattern`. Compiled to a C function."""
    table = table_at(at)
    outputs, starts, counts, pool = (
        integers_at(table, 0),
        integers_at(table, 1),
        integers_at(table, 2),
        integers_at(table, 3),
    )
    return write_pattern(outputs, starts, counts, pool, integers_at(table, 4), integers_at(table, 5))


def make_entries_at(like, _, at):
    """Run `make_entries`. Compiled to a C function."""
    table = table_at(at)
    code, flags, carries = rows_of(addresses_at(table, 0), 4), bytes_at(table, 1), bytes_at(table, 2)
    starts, counts, columns = integers_at(table, 3), integers_at(table, 4), integers_at(table, 5)
    places, keys, memory = integers_at(table, 6), integers_at(table, 7), array_at(table, 8, like)
    steps, state, numbers = array_at(table, 9, np.int32(0)), integers_at(table, 10), integers_at(table, 11)
    return make_entries(code, flags, carries, starts, counts, columns, places, keys, memory, steps, state, numbers)


def mark_steps_at(like, _, at):
    """Run `mark_steps`. Compiled to a C function."""
    table = table_at(at)
    mark_steps(array_at(table, 0, np.int32(0)), bytes_at(table, 1), bytes_at(table, 2))
    return np.int64(0)


def mark_values_at(like, _, at):
    """Run `mark_values`. Compiled to a C function."""
    table = table_at(at)
    code, varies, values = rows_of(addresses_at(table, 0), 4), bytes_at(table, 1), bytes_at(table, 2)
    mark_values(code, varies, values, bytes_at(table, 3), bytes_at(table, 4), bytes_at(table, 5))
    return np.int64(0)
