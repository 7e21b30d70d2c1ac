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
from numbad.limits import BLOCK
from numbad.sparsity.layout import A_STRIDE, B_STRIDE, BEFORE, COUNT, OUT, PARTIALS_OF, VALUES_OF, WIDTH, A, B, P, Q
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
def collect(address, starts, counts, second, pool, keys, found, stack, marks, stamp):
    """Append the intervals of a set to the keys; return how many there are then, -1 where memory is short.

    A set that many addresses share is appended once for each stamp: `marks` says where that has been done.
    """
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
        if counts[place] == 0 or marks[starts[place]] == stamp:
            continue
        if found + counts[place] > keys.size:
            return np.int64(-1)
        marks[starts[place]] = stamp
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
def propagate(code, flags, carries, uses, starts, counts, second, pool, keys, stack, state, marks):
    """Find the columns on which each address depends; return the row where it stopped.

    state has the end of the pool and the row to begin with, becomes whether the keys are too few, and has the last
    stamp.
    """
    i = state[1]
    while i < code.shape[0]:
        state[3] += 1
        stamp = state[3]
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
                    found = collect(source, starts, counts, second, pool, keys, np.int64(0), stack, marks, stamp)
                    if found < 0 or not settle(out, found, starts, counts, pool, keys, state):
                        state[1], state[2] = i, found < 0
                        return i
                else:
                    share(out, source, starts, counts, second)
            elif uses[out] == 1:
                starts[out], second[out], counts[out] = a, b, DEFERRED
            else:
                found = collect(a, starts, counts, second, pool, keys, np.int64(0), stack, marks, stamp)
                if found >= 0:
                    found = collect(b, starts, counts, second, pool, keys, found, stack, marks, stamp)
                if found < 0 or not settle(out, found, starts, counts, pool, keys, state):
                    state[1], state[2] = i, found < 0
                    return i
            i += 1
            continue
        stop = i  # all terms of one result at once
        found, sources, only = np.int64(0), 0, np.int64(0)
        if counts[out] != 0:
            found, sources, only = collect(out, starts, counts, second, pool, keys, found, stack, marks, stamp), 1, out
        while found >= 0 and stop < code.shape[0] and code[stop, 0] == opcode and np.int64(code[stop, 1]) == out:
            which = passes(code, flags, carries, stop, counts)
            for k in range(2):
                source = np.int64(code[stop, 2 + k])
                if which >> k & 1 and found >= 0:
                    sources += 1
                    only = source
                    found = collect(source, starts, counts, second, pool, keys, found, stack, marks, stamp)
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


# ---------------------------------------------------------------- entries: numbers in memory, scaled and moved

# An entry of an address is a column with (place, scale, offset): the number scale * memory[place] + offset, where place
# CONSTANT stands for the offset alone. What is linear thus makes no instruction. Instructions are three places
# (target, factor, source): memory[target] = memory[factor] * memory[source], added if the target is negative.

CONSTANT = -1
RECENT = 16  # constants that are looked at before another place is given to one
NEXT, STEPS, LAST = 1, 2, 4  # of the state: next place, instructions, constants so far


@compiled
def constant_place(memory, state, recent, value):
    """Return a place that holds a constant."""
    if value == 1:
        return np.int64(0)
    for k in range(min(state[LAST], RECENT)):
        if memory[recent[k]] == value:
            return recent[k]
    place = state[NEXT]
    state[NEXT] = place + 1
    memory[place] = value
    recent[state[LAST] % RECENT] = place
    state[LAST] += 1
    return place


@compiled
def add_step(steps, state, target, factor, source):
    """Write an instruction."""
    k = 3 * state[STEPS]
    steps[k], steps[k + 1], steps[k + 2] = target, factor, source
    state[STEPS] += 1


@compiled
def new_place(state):
    """Return a place for a number."""
    state[NEXT] += 1
    return state[NEXT] - 1


@compiled
def settled(memory, steps, state, recent, place, scale, offset):
    """Return a place that holds an entry's number itself."""
    if scale == 1 and offset == 0:
        return place
    target = new_place(state)
    add_step(steps, state, target, constant_place(memory, state, recent, scale), place)
    if offset != 0:
        add_step(steps, state, -target, np.int64(0), constant_place(memory, state, recent, offset))
    return target


@compiled
def times(memory, steps, state, recent, factor, place, scale, offset):
    """Return an entry times a factor (place, scale), which is a constant where its place is CONSTANT."""
    at, by = factor
    if at == CONSTANT:
        return place, scale * by, offset * by
    if place == CONSTANT:
        return at, offset * by, offset * 0
    return times_place(memory, steps, state, recent, factor, (place, scale, offset))


@compiled
def times_place(memory, steps, state, recent, factor, entry):
    """Return an entry times a factor, neither of them a constant: apart, that what calls it stays small."""
    at, by = factor
    place, scale, offset = entry
    source = place
    if offset != 0:
        source, scale = settled(memory, steps, state, recent, place, scale, offset), memory[0]
    target = new_place(state)
    add_step(steps, state, target, at, source)
    return target, scale * by, offset * 0


@compiled
def plus(memory, steps, state, recent, one, other, fresh):
    """Return the sum of two entries (place, scale, offset); places from `fresh` on are of one of them alone."""
    p, s, o = one
    q, t, r = other
    if p == CONSTANT:
        return q, t, o + r
    if q == CONSTANT:
        return p, s, o + r
    if p == q:
        return p, s + t, o + r
    return plus_place(memory, steps, state, recent, one, other, fresh)


@compiled
def plus_place(memory, steps, state, recent, one, other, fresh):
    """Return the sum of two entries of different places: apart, that what calls it stays small."""
    p, s, o = one
    q, t, r = other
    if s == t and s != 0 and p >= fresh:
        add_step(steps, state, -p, np.int64(0), q)
        return p, s, o + r
    if s == t and s != 0 and q >= fresh:
        add_step(steps, state, -q, np.int64(0), p)
        return q, s, o + r
    target = new_place(state)
    if s != 0 and (s == t or s == -t):
        add_step(steps, state, target, np.int64(0), p)
        add_step(steps, state, -target, constant_place(memory, state, recent, t / s), q)
        return target, s, o + r
    add_step(steps, state, target, constant_place(memory, state, recent, s), p)
    add_step(steps, state, -target, constant_place(memory, state, recent, t), q)
    return target, memory[0], o + r


@compiled
def factor_of(code, i, k, flags, partials, starts_at, named, scales, alike, ratios):
    """Return the k-th partial of a row as place and scale: of a constant, a value, or a place of its own.

    A value that is a multiple of an earlier one is that one (`alike`), scaled.
    """
    opcode = code[i, 0]
    values_at, partials_at = starts_at
    if flags[i] & (P_CONSTANT if k == 0 else Q_CONSTANT):
        return np.int64(CONSTANT), partials[i, k]
    name = named[2 * opcode + k]
    if name:
        address = np.int64(code[i, 3 if name == 2 else (2 if name == 1 else 1)])
        return values_at + np.int64(alike[address]), scales[2 * opcode + k] * ratios[address]
    return partials_at + 2 * i + k, partials.dtype.type(1)


@compiled
def follow_multiple(code, i, flags, partials, linear, alike, ratios):
    """Note that a result is a constant times a value, if the op is a product with what does not vary."""
    opcode, out = code[i, 0], code[i, 1]
    if not linear[opcode]:
        return
    if flags[i] & P_CONSTANT and not absent(partials[i, 0]):
        k = 0
    elif flags[i] & Q_CONSTANT and linear[opcode] == 2 and not absent(partials[i, 1]):
        k = 1
    else:
        return
    source = code[i, 2 + k]
    if ratios[source] * partials[i, k] != 0:
        alike[out], ratios[out] = alike[source], ratios[source] * partials[i, k]


@compiled
def merge_entries(code, i, which, flags, starts, counts, columns, places, numbers, memory, steps, state, recent, p, q):
    """Make the entries of a row of one or two operands that pass them on, whose partials are p and q."""
    out, a, b = np.int64(code[i, 1]), np.int64(code[i, 2]), np.int64(code[i, 3])
    x, y, made = starts[a], starts[b], state[0]
    x_stop, y_stop = x + (counts[a] if which & 1 else 0), y + (counts[b] if which & 2 else 0)
    first, fresh = made, state[NEXT]
    while x < x_stop or y < y_stop:
        left = x < x_stop and (y >= y_stop or columns[x] <= columns[y])
        right = y < y_stop and (x >= x_stop or columns[y] <= columns[x])
        columns[made] = columns[x] if left else columns[y]
        if left:
            found = times(memory, steps, state, recent, p, places[x], numbers[x, 0], numbers[x, 1])
        else:
            found = times(memory, steps, state, recent, q, places[y], numbers[y, 0], numbers[y, 1])
        if left and right:
            at, by = q
            alone = places[y] >= 0 and numbers[y, 1] == 0 and at >= 0 and found[0] >= fresh
            if alone and numbers[y, 0] * by == found[1]:
                add_step(steps, state, -found[0], at, places[y])
            else:
                more = times(memory, steps, state, recent, q, places[y], numbers[y, 0], numbers[y, 1])
                found = plus(memory, steps, state, recent, found, more, fresh)
        places[made], numbers[made, 0], numbers[made, 1] = found
        made += 1
        x += left
        y += right
    starts[out], counts[out] = first, made - first
    state[0] = made


@compiled
def sum_entries(
    code,
    start,
    stop,
    flags,
    carries,
    partials,
    starts,
    counts,
    columns,
    places,
    numbers,
    keys,
    memory,
    steps,
    state,
    recent,
    alike,
    ratios,
):
    """Make the entries of a sum of many terms."""
    out = np.int64(code[start, 1])
    first, end, fresh, values_at = state[0], state[0], state[NEXT], state[5]
    for j in range(starts[out], starts[out] + counts[out]):
        columns[end], places[end] = columns[j], places[j]
        numbers[end, 0], numbers[end, 1] = numbers[j, 0], numbers[j, 1]
        end += 1
    for i in range(start, stop):
        which = passes(code, flags, carries, i, counts)
        for k in range(2):
            if not which >> k & 1:
                continue
            source, by = np.int64(code[i, 2 + k]), (np.int64(CONSTANT), partials.dtype.type(1))
            if code[i, 0] == CONTRACT:
                other = np.int64(code[i, 3 - k])
                constant = flags[i] & (P_CONSTANT if k == 0 else Q_CONSTANT)
                value = memory[values_at + other]
                by = (np.int64(CONSTANT), value) if constant else (values_at + np.int64(alike[other]), ratios[other])
            for j in range(starts[source], starts[source] + counts[source]):
                columns[end] = columns[j]
                found = times(memory, steps, state, recent, by, places[j], numbers[j, 0], numbers[j, 1])
                places[end], numbers[end, 0], numbers[end, 1] = found
                end += 1
    for k in range(end - first):
        keys[k] = columns[first + k] << HALF | k
    sort_keys(keys, np.int64(0), end - first)
    made, k = end, np.int64(0)
    while k < end - first:
        column, j = keys[k] >> HALF, first + (keys[k] & LOW)
        found = (places[j], numbers[j, 0], numbers[j, 1])
        k += 1
        while k < end - first and keys[k] >> HALF == column:
            j = first + (keys[k] & LOW)
            found = plus(memory, steps, state, recent, found, (places[j], numbers[j, 0], numbers[j, 1]), fresh)
            k += 1
        columns[made] = column
        places[made], numbers[made, 0], numbers[made, 1] = found
        made += 1
    for j in range(made - end):  # over the terms, which nobody reads again
        columns[first + j], places[first + j] = columns[end + j], places[end + j]
        numbers[first + j, 0], numbers[first + j, 1] = numbers[end + j, 0], numbers[end + j, 1]
    starts[out], counts[out] = first, made - end
    state[0] = first + made - end


@compiled
def make_entries(
    code,
    flags,
    carries,
    partials,
    starts,
    counts,
    columns,
    places,
    numbers,
    keys,
    memory,
    steps,
    state,
    recent,
    named,
    scales,
    linear,
    alike,
    ratios,
):
    """Give each address its entries; return the row where it stopped.

    Parameters
    ----------
    partials : ndarray, shape (rows, 2)
        Of which those that are constant are read.
    state : ndarray of int64
        Ends of the entries, of the memory and of the instructions, the row to begin with, how many constants there are,
        and where values and partials begin in the memory, whose place 0 holds 1.
    named, scales : ndarray
        For the two partials of each op: whether it is x, y or z (1, 2, 3) times a number, and that number.
    linear : ndarray of uint8
        For each op whether it is a multiple of its first operand (1), or of either (2), where the other is constant.
    alike, ratios : ndarray
        For each address: of which it is a multiple, itself at first, and how much.
    """
    i = state[3]
    while i < code.shape[0]:
        opcode, out = code[i, 0], np.int64(code[i, 1])
        if opcode == CLEAR:
            counts[out] = 0
        elif opcode < MAP or opcode == ADD or opcode == CONTRACT:
            stop, most = i, counts[out] if opcode >= MAP else np.int64(0)
            while stop == i or (opcode >= MAP and stop < code.shape[0] and code[stop, 0] == opcode):
                if stop > i and np.int64(code[stop, 1]) != out:
                    break
                which = passes(code, flags, carries, stop, counts)
                most += (counts[code[stop, 2]] if which & 1 else 0) + (counts[code[stop, 3]] if which & 2 else 0)
                stop += 1
            short = state[0] + 2 * most > columns.size or most > keys.size
            if short or state[NEXT] + 8 * most > memory.size or 3 * (state[STEPS] + 6 * most) > steps.size:
                state[3] = i
                return i
            if opcode >= MAP:
                sum_entries(
                    code,
                    i,
                    stop,
                    flags,
                    carries,
                    partials,
                    starts,
                    counts,
                    columns,
                    places,
                    numbers,
                    keys,
                    memory,
                    steps,
                    state,
                    recent,
                    alike,
                    ratios,
                )
                i = stop
                continue
            which = passes(code, flags, carries, i, counts)
            follow_multiple(code, i, flags, partials, linear, alike, ratios)
            at = (state[5], state[6])
            p = factor_of(code, i, 0, flags, partials, at, named, scales, alike, ratios)
            q = factor_of(code, i, 1, flags, partials, at, named, scales, alike, ratios)
            if which == 0:
                counts[out] = 0
            elif which < 3 and (p if which == 1 else q) == (CONSTANT, 1):  # what it takes over it has in common
                source = np.int64(code[i, 1 + which])
                starts[out], counts[out] = starts[source], counts[source]
            else:
                merge_entries(
                    code, i, which, flags, starts, counts, columns, places, numbers, memory, steps, state, recent, p, q
                )
        i += 1
    state[3] = i
    return i


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
def side_by_side(memory, first, stride, start, count, room):
    """Return where elements of an operand lie next to one another: where they are, or copied to some room."""
    if stride == 1:
        return first + start
    for k in range(count):
        memory[room + k] = memory[first + stride * (start + k)]
    return room


@compiled
def run_blocks(memory, memory_at, run, room, like):
    """Compute a run of rows, values and partials, block by block."""
    item, start = memory.itemsize, np.int64(0)
    while start < run[COUNT]:
        count = min(np.int64(BLOCK), run[COUNT] - start)
        x = memory_at + item * side_by_side(memory, run[A], run[A_STRIDE], start, count, room)
        y = memory_at + item * side_by_side(memory, run[B], run[B_STRIDE], start, count, room + BLOCK)
        z = memory_at + item * (run[OUT] + start)
        call_at(np.uint64(run[VALUES_OF]), like, (z, x, y, count))
        if run[PARTIALS_OF]:
            p = memory_at + item * (run[P] + start if run[P] >= 0 else room + 2 * BLOCK)
            q = memory_at + item * (run[Q] + start if run[Q] >= 0 else room + 3 * BLOCK)
            call_at(np.uint64(run[PARTIALS_OF]), like, (p, q, x, y, z, count))
        start += count


@compiled
def run_rows(code, values, at, whole, machine, like, i, stop):
    """Compute rows one by one; return the first behind them, or -1 - i where the guard at row i does not hold.

    `at` has the addresses of rows, values and partials.
    """
    while i < stop:
        if whole:
            i = call_at(machine, like, (at[0], at[1], at[2], i, stop))
        else:
            i = call_at(machine, like, (at[0], at[1], i, stop))
        if i < stop:
            if code[i, 0] == GUARD or code[i, 0] == GUARD_VALUE:
                return -i - 1
            i = run_sums(code, values, i, stop)
    return i


@compiled
def run_steps(memory, steps):
    """Carry out the instructions."""
    for k in range(steps.size // 3):
        target, number = np.int64(steps[3 * k]), memory[steps[3 * k + 1]] * memory[steps[3 * k + 2]]
        if target < 0:
            memory[-target] += number
        else:
            memory[target] = number


def run_entries_at(like, whole, at):
    """Run the rows, then the instructions, and collect the entries; return the row that stopped it.

    Returns -1 where all is well, -2 where an entry is not finite: only then can what is absent be told from a zero.
    `whole` says whether rows compute partials besides values. Compiled to a C function.
    """
    table = table_at(at)
    code, memory = rows_of(addresses_at(table, 0), 4), array_at(table, 1, like)
    steps, targets, sources = (
        array_at(table, 2, np.int32(0)),
        array_at(table, 3, np.int32(0)),
        array_at(table, 4, np.int32(0)),
    )
    pairs, which = rows_of(array_at(table, 5, like), 2), array_at(table, 6, np.int32(0))
    template, runs, data = array_at(table, 7, like), rows_of(integers_at(table, 8), WIDTH), array_at(table, 9, like)
    machine, values_at, zero, i = np.uint64(table[20]), table[21], memory[0] - memory[0], np.int64(0)
    values, at = view(np.uint64(values_at), WHOLE, like), (table[0], values_at, table[22])
    for r in range(runs.shape[0]):
        i = run_rows(code, values, at, whole, machine, like, i, runs[r, BEFORE])
        if i < 0:
            return -i - 1
        run_blocks(memory, table[2], runs[r], table[23], like)
    i = run_rows(code, values, at, whole, machine, like, i, np.int64(code.shape[0]))
    if i < 0:
        return -i - 1
    run_steps(memory, steps)
    for k in range(template.size):
        data[k] = template[k]
    total = zero
    some = targets.size != 0
    for k in range(sources.size):
        number = memory[sources[k]] * pairs[which[k], 0] + pairs[which[k], 1] + zero
        data[targets[k] if some else k] = number
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
    keys, stack, state, marks = (
        integers_at(table, 8),
        integers_at(table, 9),
        integers_at(table, 10),
        integers_at(table, 11),
    )
    return propagate(code, flags, carries, uses, starts, counts, second, pool, keys, stack, state, marks)


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
    partials, starts, counts = rows_of(array_at(table, 3, like), 2), integers_at(table, 4), integers_at(table, 5)
    columns, places, numbers = integers_at(table, 6), integers_at(table, 7), rows_of(array_at(table, 8, like), 2)
    keys, memory, steps = integers_at(table, 9), array_at(table, 10, like), array_at(table, 11, np.int32(0))
    state, recent, named = integers_at(table, 12), integers_at(table, 13), bytes_at(table, 14)
    return make_entries(
        code,
        flags,
        carries,
        partials,
        starts,
        counts,
        columns,
        places,
        numbers,
        keys,
        memory,
        steps,
        state,
        recent,
        named,
        array_at(table, 15, like),
        bytes_at(table, 16),
        addresses_at(table, 17),
        array_at(table, 18, like),
    )


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
