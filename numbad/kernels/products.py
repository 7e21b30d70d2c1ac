"""Compiled products of small matrices: blocks of the result in registers, without the cost of calling BLAS.

A block has ROWS rows and as many columns as LANES says. Each of its elements is a sum of its own, in the order of the
inner axis, STRIP terms at a time: bits depend neither on the sizes of the matrices nor on where they lie in memory.
"""
# mypy: disable-error-code="no-untyped-def"

from __future__ import annotations

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from numbad.kernels.layout import operand_stride, row_extent
from numbad.kernels.tables import compiled
from numbad.kernels.vectormath import pointer_of, room, view
from numbad.limits import CHECKED
from numbad.tape.layout import WHOLE

ROWS = 6  # with two registers each they fit into the sixteen of AVX2
WIDTH = 64  # bytes of a row of a block
MOST_LANES = WIDTH // 4  # numbers in such a row, of single precision
STRIP = 128  # terms of a sum that are added in registers; their factors fit into the first cache
PANEL, BLOCK_ROOM = STRIP * MOST_LANES, ROWS * MOST_LANES


@intrinsic
def multiply_lanes(typing_context, places, step, other, pitch, count, out, like):
    """Write the sums of `count` products, of ROWS factors and a run of WIDTH bytes, to ROWS runs at `out`.

    `places` are where the factors begin and `step` how far apart they lie; `other` and `pitch` say so of the runs.
    All are in bytes.
    """
    element = like.dtype if isinstance(like, types.Array) else like

    def codegen(context, builder, signature, arguments):
        from numba.core import cgutils

        kind, size = context.get_data_type(element), context.get_abi_sizeof(context.get_data_type(element))
        vector, zero = ir.VectorType(kind, WIDTH // size), ir.Constant(ir.IntType(32), 0)
        packed, step, other, pitch, count, out, _ = arguments
        firsts = [builder.extract_value(packed, k) for k in range(ROWS)]
        sums = [cgutils.alloca_once(builder, vector) for _ in firsts]
        for place in sums:
            builder.store(ir.Constant(vector, [0.0] * (WIDTH // size)), place)

        def load(address, what):
            return builder.load(builder.inttoptr(address, what.as_pointer()), align=size)

        with cgutils.for_range(builder, count, intp=ir.IntType(64)) as loop:
            run = load(builder.add(other, builder.mul(loop.index, pitch)), vector)
            moved = builder.mul(loop.index, step)
            for first, place in zip(firsts, sums, strict=True):
                factor = builder.insert_element(
                    ir.Constant(vector, ir.Undefined), load(builder.add(first, moved), kind), zero
                )
                factor = builder.shuffle_vector(
                    factor, factor, ir.Constant(ir.VectorType(ir.IntType(32), WIDTH // size), [0] * (WIDTH // size))
                )
                term = builder.fmul(factor, run, flags=("contract",))
                builder.store(builder.fadd(builder.load(place), term, flags=("contract",)), place)
        for k, place in enumerate(sums):
            target = builder.inttoptr(builder.add(out, ir.Constant(ir.IntType(64), k * WIDTH)), vector.as_pointer())
            builder.store(builder.load(place), target, align=size)
        return context.get_dummy_value()

    integers = [types.UniTuple(types.int64, ROWS), *[types.int64] * 5]
    return types.none(*integers, like), codegen


@intrinsic
def add_lanes(typing_context, target, source, like):
    """Add a run of WIDTH bytes at one memory address to the run at another."""
    element = like.dtype if isinstance(like, types.Array) else like

    def codegen(context, builder, signature, arguments):
        kind = context.get_data_type(element)
        size = context.get_abi_sizeof(kind)
        vector = ir.VectorType(kind, WIDTH // size)
        target, source = (builder.inttoptr(place, vector.as_pointer()) for place in arguments[:2])
        found = builder.fadd(builder.load(target, align=size), builder.load(source, align=size))
        builder.store(found, target, align=size)
        return context.get_dummy_value()

    return types.none(types.int64, types.int64, like), codegen


@compiled
def multiply_block(places, step, other, pitch, count, out, like):
    """Run `multiply_lanes`, or in the checked build the same by elements."""
    if not CHECKED:
        multiply_lanes(places, step, other, pitch, count, out, like)
        return
    lanes, size = WIDTH // like.itemsize, like.itemsize
    sums = view(np.uint64(out), ROWS * lanes, like)
    for r in range(ROWS):
        for j in range(lanes):
            total = like.dtype.type(0)
            for k in range(count):
                factor = view(np.uint64(places[r] + k * step), 1, like)[0]
                total += factor * view(np.uint64(other + k * pitch + j * size), 1, like)[0]
            sums[r * lanes + j] = total


@compiled
def add_block(target, row_step, step, rows, columns, sums, like):
    """Add a block of sums to elements of the result, which lie `row_step` and `step` bytes apart."""
    lanes = WIDTH // like.itemsize
    for r in range(rows):
        place = target + r * row_step
        if step == like.itemsize and columns == lanes and not CHECKED:
            add_lanes(place, np.int64(pointer_of(sums)) + r * WIDTH, like)
            continue
        for j in range(columns):
            view(np.uint64(place + j * step), 1, like)[0] += sums[r * lanes + j]


@compiled
def pack_runs(panel, other, pitch, step, count, columns, like):
    """Copy a strip of runs of the second factor, which lie `pitch` bytes apart, one behind the other: zeros fill up."""
    lanes = WIDTH // like.itemsize
    for k in range(count):
        for j in range(columns):
            panel[k * lanes + j] = view(np.uint64(other + k * pitch + j * step), 1, like)[0]
        for j in range(columns, lanes):
            panel[k * lanes + j] = 0


@compiled
def multiply_strip(target, begin, sizes, steps, count, like):
    """Add the products of a strip of the inner axis to the target.

    `begin` are where the strip begins in both factors, `sizes` how many rows and columns there are. `steps`, in bytes,
    are those of the target along its rows and columns, of the first factor along rows and the inner axis, and of the
    second one along the inner axis and columns.
    """
    one, other = begin
    lanes, size = WIDTH // like.itemsize, like.itemsize
    rows, columns = sizes
    t_row, t_column, u_row, u_inner, v_inner, v_column = steps
    panel = view(room(PANEL, like), STRIP * lanes, like)
    sums = view(room(BLOCK_ROOM, like), ROWS * lanes, like)
    for first in range(0, columns, lanes):
        wide = min(lanes, columns - first)
        runs, pitch = other + first * v_column, v_inner
        if wide < lanes or v_column != size:
            pack_runs(panel, runs, v_inner, v_column, count, wide, like)
            runs, pitch = np.int64(pointer_of(panel)), np.int64(WIDTH)
        for row in range(0, rows, ROWS):
            high = min(ROWS, rows - row)
            begin, last = one + row * u_row, one + (rows - 1) * u_row
            places = (
                begin,
                min_place(begin, last, u_row, 1, high),
                min_place(begin, last, u_row, 2, high),
                min_place(begin, last, u_row, 3, high),
                min_place(begin, last, u_row, 4, high),
                min_place(begin, last, u_row, 5, high),
            )
            multiply_block(places, u_inner, runs, pitch, count, np.int64(pointer_of(sums)), like)
            add_block(target + row * t_row + first * t_column, t_row, t_column, high, wide, sums, like)


@compiled
def min_place(begin, last, step, k, high):
    """Return where a row of a block begins; beyond the end the last row stands in, whose sums nobody reads."""
    return begin + k * step if k < high else last


def product_at(like, words_at, w, out, t_at, one, u_at, other, v_at):
    """Add the product of two matrices to a third.

    Parameters
    ----------
    like : float
        A number of the arena's dtype.
    words_at, w : int
        Where the operand words are in memory, and where those of a row begin of which `is_product` holds.
    out, one, other : int
        Where the words of three operands of the row begin: of what is added to, and of the factors, in any order.
    t_at, u_at, v_at : int
        Where in memory these operands are. Compiled to a C function.
    """
    words = view(np.uint64(words_at), WHOLE, np.int64(0))
    size = view(np.uint64(t_at), 1, like).itemsize
    row = column = inner = np.int64(0)
    for axis in range(3):
        if operand_stride(words, out, axis) == 0:
            inner = axis
        elif operand_stride(words, one, axis) == 0:
            column = axis
        else:
            row = axis
    if abs(operand_stride(words, out, row)) < abs(operand_stride(words, out, column)):
        row, column, one, other, u_at, v_at = column, row, other, one, v_at, u_at
    steps = (
        size * operand_stride(words, out, row),
        size * operand_stride(words, out, column),
        size * operand_stride(words, one, row),
        size * operand_stride(words, one, inner),
        size * operand_stride(words, other, inner),
        size * operand_stride(words, other, column),
    )
    sizes, terms = (row_extent(words, w, row), row_extent(words, w, column)), row_extent(words, w, inner)
    for first in range(0, terms, STRIP):
        begin, count = (u_at + first * steps[3], v_at + first * steps[4]), min(STRIP, terms - first)
        multiply_strip(t_at, begin, sizes, steps, count, view(np.uint64(t_at), 1, like))
    return np.int64(0)
