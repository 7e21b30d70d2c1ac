"""What Python and the compiled passes of emission agree on: kinds of partials, and the places in their state."""

from __future__ import annotations

NONE, ONE, MINUS, NUMBER, ADDRESS, EITHER = range(6)  # kinds of partials; EITHER is at an address, and may be absent
ACTIVITY, ADJOINT, TANGENT, RELOCATE = range(4)  # passes
END, FOREIGN, UNKNOWN_OP, UNKNOWN_POWER, FULL = range(5)  # why a pass stopped
SLOTS_MOST = 64

# ---- places in the state
(
    CODE,  # address of the rows that are read
    ROW,  # where the pass is
    STOP,  # where it ends
    BASE,  # the region's first address
    PLACES,  # address of the table of cotangents or tangents
    ACTIVE,  # address of the table of active addresses
    SIZE,  # the next free address of the arena
    OUT,  # address of the scratch memory for rows
    ROWS,  # rows written there
    CAPACITY,  # rows that it has room for
    TEXT,  # address of the templates
    INDEX,  # address of their index
    CONSTANTS,  # address of the table of the templates' constants in this arena, 0 for none yet
    UNIT,  # where the arena has the constant one
    MINUS_UNIT,  # which constant of the templates is minus one
    LANES,  # numbers at each place, 0 for one
    WORDS,  # address of the scratch memory for words
    WORD,  # words written there
    FIRST_WORD,  # words that the tape had before
    POWERS,  # address of pairs: address of an exponent, position of its template
    POWER_COUNT,
    SLOTS,  # address of scratch memory for the addresses of a template's rows
    SMOOTH,  # address of a flag for each opcode
    CERTAIN,  # address of a flag for each place: whether it holds a number, and is never absent; 0 for none
    REASON,
    OPCODE,  # of the row that the pass stopped at
    CHOICE,  # of its operands, which partials are wanted
    EXPONENT,  # address of its second operand
    FRESH,  # constants that have got an address
    LOW,  # when a tape is moved: addresses below are looked up in PLACES, others shifted
    SHIFT,
    SOURCE_WORDS,
    SPACES,  # pairs for each space: the space it becomes, and what is added to addresses
    HOSTS,  # added to the positions of host calls
    LENGTH,
) = range(35)
