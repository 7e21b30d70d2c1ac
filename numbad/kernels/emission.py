"""Compiled passes over scalar rows: which depend on the inputs, their adjoint and tangent, tapes moved elsewhere.

One C function of an array of int64, the *state*: where things are in memory, how far the pass has come
and why it stopped. It writes new rows into scratch memory; `emission` appends them to the tape. It stops at
rows that are Python's, at ops whose template is not known yet, and when the scratch memory is full.
"""
# mypy: disable-error-code="no-untyped-def"

from __future__ import annotations

import numpy as np
from numba import njit

from numbad.kernels.emission_layout import (
    ACTIVE,
    ACTIVITY,
    ADDRESS,
    ADJOINT,
    BASE,
    CAPACITY,
    CERTAIN,
    CHOICE,
    CODE,
    CONSTANTS,
    EITHER,
    END,
    EXPONENT,
    FIRST_WORD,
    FOREIGN,
    FRESH,
    FULL,
    HOSTS,
    INDEX,
    LANES,
    LENGTH,
    LOW,
    MINUS,
    MINUS_UNIT,
    NONE,
    NUMBER,
    ONE,
    OPCODE,
    OUT,
    PLACES,
    POWER_COUNT,
    POWERS,
    REASON,
    ROW,
    ROWS,
    SHIFT,
    SIZE,
    SLOTS,
    SLOTS_MOST,
    SMOOTH,
    SOURCE_WORDS,
    SPACES,
    STOP,
    TANGENT,
    TEXT,
    UNIT,
    UNKNOWN_OP,
    UNKNOWN_POWER,
    WORD,
    WORDS,
)
from numbad.kernels.generated import opcodes
from numbad.kernels.layout import (
    array_row_size,
    gather_place,
    host_call,
    host_inputs,
    host_outputs,
    host_reference,
    listed_count,
    operand_at,
    operand_count,
    operand_reference,
    reference_address,
    reference_space,
    scatter_reference,
    set_gather_place,
    set_host_call,
    set_reference,
    write_vector_operand,
    write_vector_row,
)
from numbad.kernels.vectormath import view
from numbad.limits import POWERS_MOST
from numbad.tape.layout import ADD, CONTRACT, GATHER, GUARD, GUARD_VALUE, HOST, MAP, SCATTER, WHOLE

inlined = njit(nogil=True, error_model="numpy")


@inlined
def integers(address):
    """Return the int64 numbers at a memory address."""
    return view(np.uint64(address), WHOLE, np.int64(0))


@inlined
def rows_at(address):
    """Return the code at a memory address, flat."""
    return view(np.uint64(address), WHOLE, np.uint32(0))


@inlined
def flags_at(address):
    """Return the flags at a memory address."""
    return view(np.uint64(address), WHOLE, np.uint8(0))


@inlined
def write_row(state, opcode, out, a, b):
    """Write a row."""
    code = rows_at(state[OUT])
    k = np.uint64(4 * state[ROWS])
    state[ROWS] += 1
    code[k] = np.uint32(opcode)
    code[k + np.uint64(1)] = np.uint32(out)
    code[k + np.uint64(2)] = np.uint32(a)
    code[k + np.uint64(3)] = np.uint32(b)


@inlined
def scalar_row(state, opcode, a, b):
    """Write a scalar row; return the address of its result."""
    out = state[SIZE]
    state[SIZE] = out + 1
    write_row(state, opcode, out, a, b)
    return out


@inlined
def lane_row(state, opcode, operands, a, a_step, b, b_step):
    """Write an elementwise row over all lanes; an operand with step 0 is one number. Return where the result begins."""
    lanes = state[LANES]
    out = state[SIZE]
    state[SIZE] = out + lanes
    words = integers(state[WORDS])
    w = state[WORD]
    write_vector_row(words, w, lanes, 1 + operands)
    write_vector_operand(words, w, 0, 1, out, 1)
    write_vector_operand(words, w, 1, 2 - a_step, a, a_step)
    if operands == 2:
        write_vector_operand(words, w, 2, 2 - b_step, b, b_step)
    state[WORD] = w + array_row_size(1, 1 + operands)
    write_row(state, MAP + opcode, out, state[FIRST_WORD] + w, operands)
    return out


@inlined
def binary(state, opcode, a, a_step, b, b_step):
    """Write a row of two cotangents, or of a number (step 0) and a cotangent."""
    if state[LANES] == 0:
        return scalar_row(state, opcode, a, b)
    return lane_row(state, opcode, 2, a, a_step, b, b_step)


@inlined
def negated(state, bar, certain):
    """Write the row of a cotangent with its sign changed."""
    opcode = opcodes.NEGATIVE if certain else opcodes.OPPOSITE
    if state[LANES] == 0:
        return scalar_row(state, opcode, bar, 0)
    return lane_row(state, opcode, 1, bar, 1, 0, 0)


@inlined
def constant(state, k):
    """Return the address of a constant of the templates; it gets one where it has none."""
    places = integers(state[CONSTANTS])
    if places[k] == 0:
        places[k] = state[SIZE]
        state[SIZE] += 1
        state[FRESH] += 1
    return places[k]


@inlined
def find(state, slots, place):
    """Return the address of an operand of a template."""
    return slots[place] if place >= 0 else constant(state, -1 - place)


@inlined
def instantiate(state, position, a, b, out):
    """Write the rows of a template."""
    text = integers(state[TEXT])
    slots = integers(state[SLOTS])
    slots[0], slots[1], slots[2], slots[3] = 0, a, b, out
    row = position + 5
    for k in range(text[position]):
        one, other = find(state, slots, text[row + 1]), find(state, slots, text[row + 2])
        slots[4 + k] = scalar_row(state, text[row], one, other)
        row += 3


@inlined
def is_certain(state, offset, bar):
    """Whether a cotangent is a number, never absent: then its sign of zero means nothing, and plain products do."""
    if state[CERTAIN] == 0:
        return False
    return bar == state[UNIT] or flags_at(state[CERTAIN])[np.uint64(offset)] != 0


@inlined
def note_certain(state, offset, certain):
    """Note whether the cotangent at a place is certainly a number."""
    if state[CERTAIN] != 0:
        flags_at(state[CERTAIN])[np.uint64(offset)] = 1 if certain else 0


@inlined
def scaled(state, position, which, bar, certain):
    """Write a partial times a cotangent; return its address, 0 for absent, and whether it is certainly a number.

    `certain` says so of the cotangent. The sign of minus one is left out.
    """
    text = integers(state[TEXT])
    kind, place = text[position + 1 + 2 * which], text[position + 2 + 2 * which]
    if kind == NONE:
        return np.int64(0), False
    if kind == ONE or kind == MINUS:
        return bar, certain
    partial = find(state, integers(state[SLOTS]), place)
    if kind != NUMBER and partial == 0:
        return np.int64(0), False
    if state[LANES] == 0 and bar == state[UNIT] and (certain or kind != ADDRESS):
        return partial, certain and kind != EITHER
    if kind == EITHER:
        opcode = opcodes.WEIGH if certain else opcodes.GATE
        if certain:
            return scalar_row(state, opcode, bar, partial), False
        return binary(state, opcode, partial, 0, bar, 1), False
    return binary(state, opcodes.MULTIPLY if certain else opcodes.WEIGH, partial, 0, bar, 1), certain


@inlined
def total(state, old, addend, minus, certain):
    """Write old + addend, or old - addend; return its address. 0 is absent.

    `certain` says that the addend is a number, never absent.
    """
    if old != 0:
        if not minus:
            return binary(state, opcodes.ADD, old, 1, addend, 1)
        return binary(state, opcodes.SUBTRACT if certain else opcodes.DEDUCT, old, 1, addend, 1)
    if not minus:
        return addend
    if state[LANES] == 0 and addend == state[UNIT]:
        return constant(state, state[MINUS_UNIT])
    return negated(state, addend, certain)


@inlined
def find_template(state, opcode, choice, exponent):
    """Return the position of a template; 0 or -1, with the reason in the state, where Python is to help."""
    state[OPCODE], state[CHOICE], state[EXPONENT] = opcode, choice, exponent
    if opcode == opcodes.POWER_BY_CONSTANT and choice == 1:
        powers = integers(state[POWERS])
        known = False
        for k in range(state[POWER_COUNT]):
            if powers[2 * k] == exponent:
                known = True
                if powers[2 * k + 1] > 0:
                    return powers[2 * k + 1]
        if not known and state[POWER_COUNT] < POWERS_MOST:
            state[REASON] = UNKNOWN_POWER
            return np.int64(0)
    position = integers(state[INDEX])[4 * opcode + choice]
    if position == 0:
        state[REASON] = UNKNOWN_OP
    elif position < 0:
        state[REASON] = FOREIGN
    return position


@inlined
def has_room(state):
    """Whether the rows of one more template can be written."""
    if state[ROWS] + SLOTS_MOST + 4 <= state[CAPACITY]:
        return True
    state[REASON] = FULL
    return False


@inlined
def activity(state):
    """Mark the outputs of smooth rows that depend on an active address."""
    code, active, smooth = rows_at(state[CODE]), flags_at(state[ACTIVE]), flags_at(state[SMOOTH])
    base = np.uint64(state[BASE])
    for i in range(np.uint64(state[ROW]), np.uint64(state[STOP])):
        k = np.uint64(4) * i
        opcode = code[k]
        if opcode < np.uint32(MAP):
            if smooth[opcode] != 0:
                a, b = np.uint64(code[k + np.uint64(2)]), np.uint64(code[k + np.uint64(3)])
                if (a >= base and active[a - base] != 0) or (b >= base and active[b - base] != 0):
                    active[np.uint64(code[k + np.uint64(1)]) - base] = 1
        elif opcode != np.uint32(GUARD) and opcode != np.uint32(GUARD_VALUE):
            state[REASON] = FOREIGN
            state[ROW] = np.int64(i)
            return
    state[ROW] = state[STOP]


@inlined
def adjoint(state):
    """Write the adjoint of scalar rows, from the last to the first."""
    code, places, active = rows_at(state[CODE]), integers(state[PLACES]), flags_at(state[ACTIVE])
    base = state[BASE]
    while state[ROW] > state[STOP]:
        k = np.uint64(4 * (state[ROW] - 1))
        opcode = np.int64(code[k])
        if opcode >= MAP:
            if opcode != GUARD and opcode != GUARD_VALUE:
                state[REASON] = FOREIGN
                return
            state[ROW] -= 1
            continue
        out = np.int64(code[k + np.uint64(1)])
        bar = places[np.uint64(out - base)]
        if bar == 0 or active[np.uint64(out - base)] == 0:
            state[ROW] -= 1
            continue
        a, b = np.int64(code[k + np.uint64(2)]), np.int64(code[k + np.uint64(3)])
        choice = 1 if a >= base and active[np.uint64(a - base)] != 0 else 0
        if b >= base and active[np.uint64(b - base)] != 0:
            choice += 2
        if choice == 0:
            state[ROW] -= 1
            continue
        if not has_room(state):
            return
        position = find_template(state, opcode, choice, b)
        if position <= 0:
            return
        instantiate(state, position, a, b, out)
        text = integers(state[TEXT])
        certain = is_certain(state, out - base, bar)
        for which in range(2):
            if choice >> which & 1:
                address = np.uint64((a if which == 0 else b) - base)
                addend, number = scaled(state, position, which, bar, certain)
                if addend != 0:
                    old = places[address]
                    before = old != 0 and is_certain(state, address, old)
                    minus = text[position + 1 + 2 * which] == MINUS
                    places[address] = total(state, old, addend, minus, number)
                    note_certain(state, address, before or number)
        state[ROW] -= 1


@inlined
def tangent(state):
    """Write the tangent of scalar rows, from the first to the last."""
    code, places = rows_at(state[CODE]), integers(state[PLACES])
    base = state[BASE]
    while state[ROW] < state[STOP]:
        k = np.uint64(4 * state[ROW])
        opcode = np.int64(code[k])
        if opcode >= MAP:
            if opcode != GUARD and opcode != GUARD_VALUE:
                state[REASON] = FOREIGN
                return
            state[ROW] += 1
            continue
        a, b = np.int64(code[k + np.uint64(2)]), np.int64(code[k + np.uint64(3)])
        a_dot = places[np.uint64(a - base)] if a >= base else np.int64(0)
        b_dot = places[np.uint64(b - base)] if b >= base else np.int64(0)
        choice = (1 if a_dot != 0 else 0) + (2 if b_dot != 0 else 0)
        if choice == 0:
            state[ROW] += 1
            continue
        if not has_room(state):
            return
        position = find_template(state, opcode, choice, b)
        if position <= 0:
            return
        out = np.int64(code[k + np.uint64(1)])
        instantiate(state, position, a, b, out)
        text = integers(state[TEXT])
        dot, certain = np.int64(0), False
        for which in range(2):
            if choice >> which & 1:
                operand, operand_dot = (a, a_dot) if which == 0 else (b, b_dot)
                given = is_certain(state, operand - base, operand_dot)
                addend, number = scaled(state, position, which, operand_dot, given)
                if addend != 0:
                    minus = text[position + 1 + 2 * which] == MINUS
                    dot = total(state, dot, addend, minus, number)
                    certain = certain or number
        places[np.uint64(out - base)] = dot
        note_certain(state, out - base, certain)
        state[ROW] += 1


# ---------------------------------------------------------------- tapes moved elsewhere


@inlined
def moved(state, address):
    """Return where an address of the arena has been moved to."""
    if address < state[LOW]:
        return integers(state[PLACES])[address]
    return address + state[SHIFT]


@inlined
def move_reference(state, source, target, r):
    """Copy a space and an address in it, moved."""
    space, address = reference_space(source, r), reference_address(source, r)
    if space == 0:
        set_reference(target, r, 0, moved(state, address))
    else:
        spaces = integers(state[SPACES])
        set_reference(target, r, spaces[2 * space], address + spaces[2 * space + 1])


@inlined
def move_words(state, opcode, w):
    """Move the operand words of an array row, which have been copied."""
    source, target = integers(state[SOURCE_WORDS]), integers(state[WORDS])
    if opcode < 2 * MAP or opcode == ADD or opcode == CONTRACT:
        for k in range(operand_count(source, w)):
            move_reference(state, source, target, operand_reference(operand_at(source, w, k)))
    elif opcode == GATHER:
        for k in range(listed_count(source, w)):
            set_gather_place(target, w, k, moved(state, gather_place(source, w, k)))
    elif opcode == SCATTER:
        move_reference(state, source, target, scatter_reference(w))
    elif opcode == HOST:
        set_host_call(target, w, host_call(source, w) + state[HOSTS])
        for k in range(host_inputs(source, w) + host_outputs(source, w)):
            move_reference(state, source, target, host_reference(w, k))


@inlined
def relocate(state):
    """Copy the rows of a tape with their addresses moved."""
    code = rows_at(state[CODE])
    for i in range(state[ROW], state[STOP]):
        k = np.uint64(4 * i)
        opcode = np.int64(code[k])
        out, a = np.int64(code[k + np.uint64(1)]), np.int64(code[k + np.uint64(2)])
        b = np.int64(code[k + np.uint64(3)])
        if opcode < MAP:
            write_row(state, opcode, moved(state, out), moved(state, a), moved(state, b))
        elif opcode == GUARD:
            write_row(state, opcode, out, moved(state, a), b)
        elif opcode == GUARD_VALUE:
            write_row(state, opcode, moved(state, out), moved(state, a), b)
        else:
            move_words(state, opcode, a)
            write_row(state, opcode, moved(state, out), a + state[FIRST_WORD], b)
    state[ROW] = state[STOP]


def emit_at(like, which, state_at):
    """Run a pass. Compiled to a C function."""
    state = view(np.uint64(state_at), LENGTH, like)
    state[REASON] = END
    if which == ACTIVITY:
        activity(state)
    elif which == ADJOINT:
        adjoint(state)
    elif which == TANGENT:
        tangent(state)
    else:
        relocate(state)
    return state[REASON]
