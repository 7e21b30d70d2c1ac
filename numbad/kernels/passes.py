"""Compiled passes over the rows of a tape: which rows are equal, where values may be overwritten, what replays need.

Each takes and fills arrays; `run_pass` is a C function of an address, so that its machine code is kept
on disk (see `machinecode`) and a process that replays a tape need not import Numba for it.
"""
# mypy: disable-error-code="no-untyped-def"

from __future__ import annotations

import numpy as np

from numbad.kernels.dependence import fields
from numbad.kernels.layout import (
    gather_place,
    host_address,
    host_elements,
    host_inputs,
    host_outputs,
    host_reference,
    is_accumulation,
    is_output_address,
    listed_count,
    operand_at,
    operand_reference,
    read_count,
    read_place,
    read_reference,
    reference_address,
    row_size,
    set_gather_place,
    set_reference,
    write_span,
)
from numbad.kernels.tables import addresses_at, array_at, bytes_at, compiled, integers_at, table_at
from numbad.kernels.vectormath import absent, rows_of
from numbad.tape.layout import ADD, CONTRACT, GATHER, GUARD, GUARD_VALUE, HOST, MAP, SCATTER

# ---------------------------------------------------------------- what a row reads and writes


@compiled
def arena_span(opcode, out, a, b, words, k):
    """Return the first and last address of the k-th place that a row reads; nothing outside of the arena."""
    space, low, high = read_place(opcode, out, a, b, words, k)
    return (low, high) if space == 0 else (np.int64(0), np.int64(-1))


# ---------------------------------------------------------------- equal rows


@compiled
def find_owners(code, words, owner, pinned, extents):
    """Note which row writes each address, and pin the rows that cannot be replaced by an equal one.

    A row is pinned when others add to its block, or when something reads across the edge of it: `extents`
    are the ranges of the outputs.
    """
    rows = code.shape[0]
    for row in range(rows):
        opcode, out, a, _ = fields(code, row)
        low, high = write_span(opcode, out, a, words)
        if is_accumulation(opcode, a, words):
            pin(owner, pinned, low, high)
            pinned[row] = 1
        else:
            for address in range(low, high + 1):
                owner[address] = row + 1
        if opcode == HOST or opcode == SCATTER:
            pinned[row] = 1
    for row in range(rows):
        opcode, out, a, b = fields(code, row)
        for k in range(read_count(opcode, a, b, words)):
            low, high = arena_span(opcode, out, a, b, words, k)
            if low <= high and not one_owner(owner, low, high):
                pin(owner, pinned, low, high)
    for k in range(extents.shape[0]):
        low, high = extents[k, 0], extents[k, 1]
        if low <= high and not one_owner(owner, low, high):
            pin(owner, pinned, low, high)


@compiled
def one_owner(owner, low, high):
    """Whether one row writes all addresses of a range."""
    for address in range(low, high + 1):
        if owner[address] != owner[low]:
            return False
    return True


@compiled
def pin(owner, pinned, low, high):
    """Pin the rows that write a range of addresses."""
    for address in range(low, high + 1):
        if owner[address] > 0:
            pinned[np.int64(owner[address]) - 1] = 1


@compiled
def rename_operands(code, words, rename, row):
    """Let a row read the results that stand for those of the rows that were dropped."""
    opcode, out, a, b = fields(code, row)
    if opcode < MAP:
        code[row, 2], code[row, 3] = rename[a], rename[b]
    elif opcode == GUARD or opcode == GUARD_VALUE:
        code[row, 2] = rename[a]
        if opcode == GUARD_VALUE:
            code[row, 1] = rename[out]
    elif opcode == GATHER:
        for k in range(listed_count(words, a)):
            set_gather_place(words, a, k, rename[gather_place(words, a, k)])
    else:
        for k in range(read_count(opcode, a, b, words)):
            low, high = arena_span(opcode, out, a, b, words, k)
            if low <= high:
                r = read_reference(opcode, a, words, k)
                set_reference(words, r, 0, reference_address(words, r) + np.int64(rename[low]) - low)


@compiled
def hash_row(code, words, row, swapped):
    """Return a number that equal rows share."""
    found = np.uint64(code[row, 0]) * np.uint64(0x9E3779B97F4A7C15)
    opcode, a = np.int64(code[row, 0]), np.int64(code[row, 2])
    factor = np.uint64(0x100000001B3)
    if opcode < MAP:
        one, other = code[row, 2], code[row, 3]
        if swapped:
            one, other = other, one
        found = (found ^ np.uint64(one)) * factor
        found = (found ^ (found >> np.uint64(29)) ^ np.uint64(other)) * factor
    elif opcode == GUARD or opcode == GUARD_VALUE:
        found = (found ^ np.uint64(a)) * factor
        found = (found ^ (found >> np.uint64(29)) ^ np.uint64(code[row, 1])) * factor
    else:
        for k in range(row_size(words, a)):
            if not is_output_address(opcode, a, words, k):
                found = (found ^ (found >> np.uint64(31)) ^ np.uint64(words[a + k])) * factor
    return found ^ (found >> np.uint64(32))


@compiled
def same_row(code, words, one, other, commutative):
    """Whether two rows compute the same."""
    opcode = np.int64(code[one, 0])
    if opcode != np.int64(code[other, 0]):
        return False
    a, c = np.int64(code[one, 2]), np.int64(code[other, 2])
    if opcode < MAP:
        b, d = np.int64(code[one, 3]), np.int64(code[other, 3])
        return (a == c and b == d) or (commutative[opcode] != 0 and a == d and b == c)
    if opcode == GUARD or opcode == GUARD_VALUE:
        return a == c and code[one, 1] == code[other, 1]
    if row_size(words, a) != row_size(words, c):
        return False
    for k in range(row_size(words, a)):
        if is_output_address(opcode, a, words, k):
            if words[a + k] - np.int64(code[one, 1]) != words[c + k] - np.int64(code[other, 1]):
                return False
        elif words[a + k] != words[c + k]:
            return False
    return True


@compiled
def merge_equal(code, words, commutative, rename, pinned, keep, table):
    """Keep the first of equal rows, and let others read its result; `table` holds zeros, a power of two of them."""
    mask = np.uint64(table.size - 1)
    for row in range(code.shape[0]):
        rename_operands(code, words, rename, row)
        keep[row] = 1
        opcode, out, a, _ = fields(code, row)
        if pinned[row]:
            continue
        swapped = opcode < MAP and commutative[opcode] != 0 and code[row, 2] > code[row, 3]
        place = hash_row(code, words, row, swapped) & mask
        while table[place] != 0:
            known = np.int64(table[place]) - 1
            if same_row(code, words, known, row, commutative):
                low, high = write_span(opcode, out, a, words)
                shift = np.int64(code[known, 1]) - out
                for address in range(low, high + 1):
                    rename[address] = address + shift
                keep[row] = 0
                break
            place = (place + np.uint64(1)) & mask
        if keep[row]:
            table[place] = row + 1


# ---------------------------------------------------------------- addresses


@compiled
def renumber(code, words, rename):
    """Give every address of the rows another number; blocks keep their shape."""
    for row in range(code.shape[0]):
        opcode, out, a, _ = fields(code, row)
        low, high = write_span(opcode, out, a, words)
        shift = np.int64(rename[low]) - low if low <= high else np.int64(0)
        if opcode == HOST:
            for k in range(host_inputs(words, a), host_inputs(words, a) + host_outputs(words, a)):
                address = np.int64(rename[host_address(words, a, k)]) if host_elements(words, a, k) else np.int64(1)
                set_reference(words, host_reference(a, k), 0, address)
        elif opcode >= MAP and (opcode < 2 * MAP or opcode == ADD or opcode == CONTRACT):
            r = operand_reference(operand_at(words, a, 0))
            set_reference(words, r, 0, reference_address(words, r) + shift)
        rename_operands(code, words, rename, row)
        if opcode != GUARD and opcode != GUARD_VALUE:
            code[row, 1] = out + shift


@compiled
def last_uses(code, words, owner, last):
    """Note for each row the last row that reads its block or adds to it; return whether a row reads across an edge."""
    for row in range(code.shape[0]):
        opcode, out, a, b = fields(code, row)
        if is_accumulation(opcode, a, words):
            low, high = write_span(opcode, out, a, words)
            if low <= high:
                last[np.int64(owner[low]) - 1] = row
        for k in range(read_count(opcode, a, b, words)):
            low, high = arena_span(opcode, out, a, b, words, k)
            if low > high:
                continue
            if not one_owner(owner, low, high):
                return True
            if owner[low] > 0:
                last[np.int64(owner[low]) - 1] = row
    return False


@compiled
def assign_places(code, words, last, kinds, rename, links, size):
    """Give each block a place, used again once nothing needs what is there; return the number of addresses.

    `last` holds the last row that needs a row's block (past the end for outputs, -1 where nothing does), `kinds` a
    number for each length of block. A scalar row may overwrite its own operands; a row over arrays may not.
    """
    rows = code.shape[0]
    place, heads, following, dying, dies_next = links[0], links[1], links[2], links[3], links[4]
    for row in range(rows):
        heads[row] = dying[row] = -1
    for row in range(rows):
        if kinds[row] >= 0 and last[row] < rows:
            end = max(last[row], row)
            dies_next[row] = dying[end]
            dying[end] = row
    for row in range(rows):
        scalar = code[row, 0] < MAP
        if scalar:
            release(row, dying, dies_next, heads, following, kinds, row)
        kind = kinds[row]
        if kind >= 0:
            opcode, out, a, _ = fields(code, row)
            low, high = write_span(opcode, out, a, words)
            if heads[kind] >= 0:
                place[row] = place[heads[kind]]
                heads[kind] = following[heads[kind]]
            else:
                place[row] = size
                size += high - low + 1
            for address in range(low, high + 1):
                rename[address] = place[row] + address - low
        release(row, dying, dies_next, heads, following, kinds, -1)
    return size


@compiled
def release(row, dying, dies_next, heads, following, kinds, spared):
    """Free the places of the blocks that die at a row, but for one that is written there."""
    block = dying[row]
    kept = np.int64(-1)
    while block >= 0:
        after = dies_next[block]
        if block == spared:
            kept = block
        else:
            following[block] = heads[kinds[block]]
            heads[kinds[block]] = block
        block = after
    dying[row] = kept
    if kept >= 0:
        dies_next[kept] = -1


# ---------------------------------------------------------------- what the sweeps of a scalar tape need


@compiled
def mark_guards(code, writer, group, stack):
    """Note for each row which guard is the first to need it; `group` holds the number of guards at first.

    `writer` is the row that writes an address, or -1.
    """
    guards = 0
    rows = code.shape[0]
    for guard in range(rows):
        if code[guard, 0] != GUARD and code[guard, 0] != GUARD_VALUE:
            continue
        height = 1
        stack[0] = guard
        group[guard] = guards
        while height:
            height -= 1
            row = stack[height]
            for k in range(2):
                if k == 1 and code[row, 0] == GUARD:
                    continue
                address = np.int64(code[row, 2 + k]) if code[row, 0] < MAP or k == 0 else np.int64(code[row, 1])
                source = writer[address]
                if source >= 0 and group[source] > guards:
                    group[source] = guards
                    stack[height] = source
                    height += 1
        guards += 1
    return guards


@compiled
def mark_levels(code, level, turn):
    """Note for each scalar row the length of the longest chain of rows before it; `level` is that of an address."""
    for row in range(code.shape[0]):
        one, other = level[code[row, 2]], level[code[row, 3]]
        turn[row] = level[code[row, 1]] = 1 + max(one, other)


@compiled
def plan_adjoint(code, depends, known, active, partials, bar, state, back, unfixed):
    """Mark the rows that the adjoint sweep must take at each run, and add up the cotangents that never change.

    `depends` says for each op on which of x, y, z (bits 1, 2, 4) its partials depend: p in the low three bits,
    q in the next. `known` marks constants, `active` the addresses that depend on a differentiated input. `bar`
    holds the seed; what it holds at the end is where each sweep begins. `state` of an address is 0 where its
    cotangent is absent, 1 where it is always the same, 2 where it varies. `unfixed` marks rows with partials that vary.
    """
    for turn in range(code.shape[0]):
        row = code.shape[0] - 1 - turn
        opcode = np.int64(code[row, 0])
        if opcode >= MAP:
            continue
        out, a, b = np.int64(code[row, 1]), np.int64(code[row, 2]), np.int64(code[row, 3])
        if state[out] == 0 or not (active[a] or active[b]):
            continue
        have = np.int64(4) * known[out] + np.int64(2) * known[b] + np.int64(known[a])
        loose = (np.int64(depends[opcode]) & 7 & ~have) if active[a] else np.int64(0)
        loose |= ((np.int64(depends[opcode]) >> 3) & ~have) if active[b] else np.int64(0)
        unfixed[row] = loose
        constant = state[out] == 1 and loose == 0
        constant = constant and not (active[a] and state[a] == 2) and not (active[b] and state[b] == 2)
        if constant:
            seed = bar[out]
            p, q = partials[row, 0], partials[row, 1]
            if active[a] and not (absent(p) or absent(seed)):
                bar[a] += p * seed + 0.0
                state[a] = 1
            if active[b] and not (absent(q) or absent(seed)):
                bar[b] += q * seed + 0.0
                state[b] = 1
            continue
        back[row] = 1
        if active[a]:
            state[a] = 2
        if active[b]:
            state[b] = 2


# ---------------------------------------------------------------- one entrance


def run_pass(like, task, at):
    """Run the pass of a number (the order of `passes.TASKS`); the table holds addresses and lengths of its arrays."""
    table = table_at(at)
    code = rows_of(addresses_at(table, 0), 4)
    words = integers_at(table, 1)
    if task == 0:
        extents = rows_of(integers_at(table, 4), 2)
        find_owners(code, words, addresses_at(table, 2), bytes_at(table, 3), extents)
    elif task == 1:
        commutative, rename, pinned = bytes_at(table, 2), addresses_at(table, 3), bytes_at(table, 4)
        merge_equal(code, words, commutative, rename, pinned, bytes_at(table, 5), addresses_at(table, 6))
    elif task == 2:
        renumber(code, words, addresses_at(table, 2))
    elif task == 3:
        if last_uses(code, words, addresses_at(table, 2), integers_at(table, 3)):
            return np.int64(1)
    elif task == 4:
        last, kinds, rename = integers_at(table, 2), integers_at(table, 3), addresses_at(table, 4)
        links = rows_of(integers_at(table, 5), max(code.shape[0], 1))
        return assign_places(code, words, last, kinds, rename, links, integers_at(table, 6)[0])
    elif task == 5:
        partials = rows_of(array_at(table, 5, like), 2)
        bar = array_at(table, 6, like)
        depends, known, active = bytes_at(table, 2), bytes_at(table, 3), bytes_at(table, 4)
        state, back, unfixed = bytes_at(table, 7), bytes_at(table, 8), bytes_at(table, 9)
        plan_adjoint(code, depends, known, active, partials, bar, state, back, unfixed)
    elif task == 6:
        return mark_guards(code, integers_at(table, 2), integers_at(table, 3), integers_at(table, 4))
    elif task == 7:
        mark_levels(code, integers_at(table, 2), integers_at(table, 3))
    return np.int64(0)
