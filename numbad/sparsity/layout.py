"""Where the numbers of a run of rows lie, which entries have and compiled code reads.

A run is rows of one op whose results follow one another: up to which of the single rows are computed before it, the
kernels of values and of partials (0 where none is needed), how many rows there are, the first places of results and
operands with the operands' strides, and where each partial begins (-1 where it is not needed).
"""

from __future__ import annotations

BEFORE, VALUES_OF, PARTIALS_OF, COUNT, OUT, A, A_STRIDE, B, B_STRIDE, P, Q, WIDTH = range(12)
