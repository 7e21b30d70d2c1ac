"""Compiled kernels of lanes: one linearised tape, many seeds. An address has a row of lanes in place of a number.

A tape is linear once its partials are known, so these kernels need no opcodes of elementwise ops: they multiply
by `slopes`, which `fill_slopes` computes once for a point. `flags` says of each row which of its operands
depend on the inputs (1 the first, 2 the second), 0 where the outputs do not depend on the row.
"""
# mypy: disable-error-code="no-untyped-def"

from __future__ import annotations

import numpy as np
from numba import njit, prange

from numbad.arraykernels import PARTIALS, compiled, descriptor, fetch, inlined, memory, operand_count, shifted
from numbad.rows import ADD, BLOCK, CONTRACT, GATHER, HOST, MAP, SCATTER
from numbad.vectormath import call_at, pointer_of, view


@inlined
def offset_of(words, w, d, j):
    """Return where element j of an index space lies in an operand, from its first element."""
    kind = words[d]
    if kind == 1:
        return j
    if kind == 2:
        return np.int64(0)
    ndim = words[w + 2]
    offset = np.int64(0)
    rest = j
    for axis in range(ndim - 1, -1, -1):
        length = words[w + 4 + axis]
        offset += (rest % length) * words[d + 3 + axis]
        rest //= length
    return offset


@inlined
def elements_of(words, w, d):
    """Return how many elements an operand has, repetitions over the index space apart."""
    if words[d] == 1:
        return words[w + 1]
    count = np.int64(1)
    for axis in range(words[w + 2]):
        if words[d + 3 + axis] != 0:
            count *= words[w + 4 + axis]
    return count if words[w + 1] else np.int64(0)


@inlined
def element_of(words, w, d, j):
    """Return where element j of an operand lies, from its first element; repetitions are not counted."""
    if words[d] == 1:
        return j
    offset = np.int64(0)
    rest = j
    for axis in range(words[w + 2] - 1, -1, -1):
        step = words[d + 3 + axis]
        if step != 0:
            length = words[w + 4 + axis]
            offset += (rest % length) * step
            rest //= length
    return offset


@inlined
def depends(words, w, d, active, spaces):
    """Whether an element of an operand depends on the inputs."""
    space = words[d + 1]
    if space != 0:
        return spaces[space]
    first = words[d + 2]
    for j in range(elements_of(words, w, d)):
        if active[first + element_of(words, w, d, j)]:
            return True
    return False


@compiled
def mark_active(code, words, active, spaces, flags):
    """Note which rows depend on the inputs, by which operand; `active` says so of addresses."""
    for i in range(code.shape[0]):
        opcode = np.int64(code[i, 0])
        out = np.int64(code[i, 1])
        w = np.int64(code[i, 2])
        flags[i] = 0
        if opcode < MAP:
            flags[i] = active[w] | (active[np.int64(code[i, 3])] << 1)
            active[out] = flags[i] != 0
        elif opcode < 2 * MAP or opcode == ADD or opcode == CONTRACT:
            for k in range(1, operand_count(words, w)):
                if depends(words, w, descriptor(words, w, k), active, spaces):
                    flags[i] |= 1 << (k - 1)
            if flags[i]:
                d = descriptor(words, w, 0)
                first = words[d + 2]
                for j in range(elements_of(words, w, d)):
                    active[first + element_of(words, w, d, j)] = True
        elif opcode == GATHER:
            for j in range(words[w + 1]):
                if active[words[w + 2 + j]]:
                    flags[i] = 1
                    active[out + j] = True
        elif opcode == SCATTER:
            space = words[w + 3]
            for j in range(words[w + 1]):
                if spaces[space] if space else active[words[w + 4] + j]:
                    flags[i] = 1
                    active[out + words[w + 5 + j]] = True
        elif opcode == HOST:
            inputs = words[w + 2]
            for k in range(inputs):
                space, address = words[w + 4 + 3 * k], words[w + 5 + 3 * k]
                for j in range(words[w + 6 + 3 * k]):
                    if spaces[space] if space else active[address + j]:
                        flags[i] = 1
            for k in range(inputs, inputs + words[w + 3]):
                address = words[w + 5 + 3 * k]
                for j in range(words[w + 6 + 3 * k]):
                    active[address + j] = flags[i] != 0


@compiled
def mark_needed(code, words, needed, flags):
    """Clear the flags of rows on which no needed address depends; `needed` grows backwards from the outputs."""
    for i in range(code.shape[0] - 1, -1, -1):
        if flags[i] == 0:
            continue
        opcode = np.int64(code[i, 0])
        out = np.int64(code[i, 1])
        w = np.int64(code[i, 2])
        wanted = False
        if opcode < MAP:
            wanted = needed[out]
            if wanted:
                needed[w] = needed[np.int64(code[i, 3])] = True
        elif opcode < 2 * MAP or opcode == ADD or opcode == CONTRACT:
            d = descriptor(words, w, 0)
            for j in range(elements_of(words, w, d)):
                wanted |= needed[words[d + 2] + element_of(words, w, d, j)]
            if wanted:
                for k in range(1, operand_count(words, w)):
                    d = descriptor(words, w, k)
                    if words[d + 1] == 0:
                        for j in range(elements_of(words, w, d)):
                            needed[words[d + 2] + element_of(words, w, d, j)] = True
        elif opcode == GATHER:
            for j in range(words[w + 1]):
                if needed[out + j]:
                    wanted = True
                    needed[words[w + 2 + j]] = True
        elif opcode == SCATTER:
            for j in range(words[w + 1]):
                if needed[out + words[w + 5 + j]]:
                    wanted = True
                    if words[w + 3] == 0:
                        needed[words[w + 4] + j] = True
        elif opcode == HOST:
            inputs = words[w + 2]
            for k in range(inputs, inputs + words[w + 3]):
                for j in range(words[w + 6 + 3 * k]):
                    wanted |= needed[words[w + 5 + 3 * k] + j]
            if wanted:
                for k in range(inputs):
                    if words[w + 4 + 3 * k] == 0:
                        for j in range(words[w + 6 + 3 * k]):
                            needed[words[w + 5 + 3 * k] + j] = True
        if not wanted:
            flags[i] = 0


@compiled
def fill_slopes(kernels, code, words, bases, values, slots, slopes, scratch, start):
    """Compute the partials of elementwise array rows; return the first row whose op is for Python, or the end."""
    bases[0] = pointer_of(values)
    zero = values.dtype.type(0)
    for i in range(start, code.shape[0]):
        slot = slots[i]
        if slot < 0:
            continue
        w = np.int64(code[i, 2])
        opcode = np.int64(code[i, 0]) - MAP
        count = words[w + 1]
        binary = operand_count(words, w) == 3
        x_at = descriptor(words, w, 1)
        y_at = descriptor(words, w, 2) if binary else x_at
        x, y = memory(words, x_at, bases, values), memory(words, y_at, bases, values)
        z = memory(words, descriptor(words, w, 0), bases, values)
        for first in range(0, count, BLOCK):
            size = min(BLOCK, count - first)
            xs = fetch(words, w, x_at, x, first, size, values, scratch[0])
            ys = fetch(words, w, y_at, y, first, size, values, scratch[1]) if binary else xs
            ps = pointer_of(slopes[slot + first :])
            qs = pointer_of(slopes[slot + count + first :]) if binary else pointer_of(scratch[2])
            if call_at(kernels[PARTIALS], zero, (opcode, ps, qs, xs, ys, shifted(z, first, values), size)) != 0:
                return np.int64(i)
    return np.int64(code.shape[0])


@inlined
def add_scaled(target, factor, source):
    """Add a multiple of one row of lanes to another; zero times anything is zero."""
    if factor == 1:
        for k in range(target.size):
            target[k] += source[k]
    elif factor - factor == 0:
        for k in range(target.size):
            target[k] += factor * source[k]
    else:
        for k in range(target.size):
            if source[k] != 0:
                target[k] += factor * source[k]


@inlined
def lanes_at(base, element, wide, first, last, like):
    """Return lanes first .. last of an element of a space."""
    return view(shifted(base, element * wide + first, like), last - first, like)


@inlined
def add_scalar_row(target, source, p, base, wide, first, last, like):
    """Add p times the lanes of one address to those of another."""
    if p != 0:
        z = lanes_at(base, source, wide, first, last, like)
        add_scaled(lanes_at(base, target, wide, first, last, like), p, z)


@compiled
def add_map_row(words, w, k, slopes, slot, base, out, out_base, wide, first, last, like, back):
    """Add lanes times the slopes of operand k of an elementwise row: from output to operand if `back`, else onwards."""
    d, count = descriptor(words, w, k), words[w + 1]
    for j in range(count):
        p = slopes[slot + (k - 1) * count + j]
        if p != 0:
            x = lanes_at(base, words[d + 2] + offset_of(words, w, d, j), wide, first, last, like)
            z = lanes_at(out_base, out + j, wide, first, last, like)
            if back:
                add_scaled(x, p, z)
            else:
                add_scaled(z, p, x)


@compiled
def add_structural_row(words, w, t, t_base, s, s_base, other, other_at, wide, first, last, like):
    """Add the lanes of operand s to those of operand t over an index space, times operand `other` if that is not 0."""
    target, source, factor = descriptor(words, w, t), descriptor(words, w, s), descriptor(words, w, other)
    p = like.dtype.type(1)
    for j in range(words[w + 1]):
        if other != 0:
            p = view(shifted(other_at, offset_of(words, w, factor, j), like), 1, like)[0]
        if p != 0:
            x = words[source + 2] + offset_of(words, w, source, j)
            z = words[target + 2] + offset_of(words, w, target, j)
            add_scaled(lanes_at(t_base, z, wide, first, last, like), p, lanes_at(s_base, x, wide, first, last, like))


@compiled
def add_listed_row(words, at, count, listed, listed_base, block, block_base, wide, first, last, like, back):
    """Add lanes of listed addresses (their list is at words[at]) to those of a block, or the other way if `back`."""
    one = like.dtype.type(1)
    for j in range(count):
        x = lanes_at(listed_base, listed + words[at + j], wide, first, last, like)
        z = lanes_at(block_base, block + j, wide, first, last, like)
        if back:
            add_scaled(x, one, z)
        else:
            add_scaled(z, one, x)


@compiled
def run_row(code, words, flags, slots, slopes, values, partials, bases, lanes, most, wide, first, last, i, back):
    """Take one row with lanes, forwards or back; return 1 for a row that is left to Python."""
    flag = np.int64(flags[i])
    opcode, out, w = np.int64(code[i, 0]), np.int64(code[i, 1]), np.int64(code[i, 2])
    if opcode < MAP:
        for k in range(2):
            if flag >> k & 1:
                operand = np.int64(code[i, 2 + k])
                target, source = (operand, out) if back else (out, operand)
                add_scalar_row(target, source, partials[i, k], lanes[0], wide, first, last, values)
    elif opcode < 2 * MAP:
        for k in range(1, operand_count(words, w)):
            base = lanes[words[descriptor(words, w, k) + 1]]
            if flag >> (k - 1) & 1 and base != 0:
                add_map_row(words, w, k, slopes, slots[i], base, out, lanes[0], wide, first, last, values, back)
    elif opcode == ADD or opcode == CONTRACT:
        if opcode == CONTRACT and words[w + 1] * wide > most:
            return 1
        for k in range(1, operand_count(words, w)):
            base = lanes[words[descriptor(words, w, k) + 1]]
            if flag >> (k - 1) & 1 and base != 0:
                other = 3 - k if opcode == CONTRACT else 0
                other_at = memory(words, descriptor(words, w, other), bases, values)
                t, t_base, s, s_base = (k, base, 0, lanes[0]) if back else (0, lanes[0], k, base)
                add_structural_row(words, w, t, t_base, s, s_base, other, other_at, wide, first, last, values)
    elif opcode == GATHER:
        add_listed_row(words, w + 2, words[w + 1], 0, lanes[0], out, lanes[0], wide, first, last, values, back)
    elif opcode == SCATTER:
        base = lanes[words[w + 3]]
        if base != 0:
            add_listed_row(
                words, w + 5, words[w + 1], out, lanes[0], words[w + 4], base, wide, first, last, values, not back
            )
    else:
        return 1
    return 0


@compiled
def adjoint_lanes(code, words, flags, slots, slopes, values, partials, bases, bars, most, wide, first, last, stop):
    """Take cotangents of lanes first .. last of `wide` back from row `stop`; return the end of what is left to Python.

    `bars` says where the cotangents of each space begin in memory, 0 for constants; products of more than `most`
    elements are for Python, which has BLAS.
    """
    i = np.int64(stop)
    while i > 0:
        row = i - 1
        if flags[row] != 0 and run_row(
            code, words, flags, slots, slopes, values, partials, bases, bars, most, wide, first, last, row, True
        ):
            return i
        i = row
    return i


@compiled
def tangent_lanes(code, words, flags, slots, slopes, values, partials, bases, dots, most, wide, first, last, start):
    """Push tangents of lanes first .. last of `wide` forward from row `start`; return the first row left to Python.

    The tangents are zero to begin with, except those of the inputs.
    """
    i = np.int64(start)
    while i < code.shape[0]:
        if flags[i] != 0 and run_row(
            code, words, flags, slots, slopes, values, partials, bases, dots, most, wide, first, last, i, False
        ):
            return i
        i += 1
    return i


parallel = njit(nogil=True, cache=True, parallel=True, error_model="numpy")


@parallel
def adjoint_blocks(code, words, flags, slots, slopes, values, partials, bases, bars, most, wide, block, stop):
    """Run `adjoint_lanes` over blocks of lanes."""
    rows = np.empty((wide + block - 1) // block, np.int64)
    for k in prange(rows.size):
        last = min(wide, (k + 1) * block)
        rows[k] = adjoint_lanes(
            code, words, flags, slots, slopes, values, partials, bases, bars, most, wide, k * block, last, stop
        )
    return rows[0]


@parallel
def tangent_blocks(code, words, flags, slots, slopes, values, partials, bases, dots, most, wide, block, start):
    """Run `tangent_lanes` over blocks of lanes."""
    rows = np.empty((wide + block - 1) // block, np.int64)
    for k in prange(rows.size):
        last = min(wide, (k + 1) * block)
        rows[k] = tangent_lanes(
            code, words, flags, slots, slopes, values, partials, bases, dots, most, wide, k * block, last, start
        )
    return rows[0]
