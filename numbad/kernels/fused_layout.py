"""What Python and the compiled sweeps of a fused group agree on: the table of its rows.

An operand is a slot of scratch (memory 0) or contiguous memory; slots after those of the rows hold scalars.
"""

from __future__ import annotations

SUM = -1  # the opcode of a full sum
OPCODE, OUT, OUT_BAR, X, X_SLOT, X_BAR, Y, Y_SLOT, Y_BAR, UNARY = range(10)
COLUMNS = 10
