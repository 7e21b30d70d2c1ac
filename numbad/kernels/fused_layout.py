"""What Python and the compiled sweeps of a fused group agree on: the table of its rows.

An operand is a slot of scratch (memory 0) or contiguous memory; slots after those of the rows hold scalars. What an
operand adds to its cotangent is `X_FACTOR` or `Y_FACTOR` times that of the row.
"""

from __future__ import annotations

SUM = -1  # the opcode of a full sum
FETCH = (
    -2
)  # of an operand that is neither contiguous nor a scalar: `Y` says where its row's words begin, `Y_SLOT` its own
OPCODE, OUT, OUT_BAR, X, X_SLOT, X_BAR, Y, Y_SLOT, Y_BAR, UNARY, X_FACTOR, Y_FACTOR, AGAIN = range(13)
COLUMNS = 13

# Factors: none, for nobody asks for the cotangent; 1, -1; the value of an operand or of the result; a computed partial.
NONE, PLUS, MINUS, OF_X, OF_Y, OF_Z, COMPUTED = range(7)
