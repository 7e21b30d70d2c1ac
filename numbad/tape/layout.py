"""The kinds of rows that are not elementwise ops of scalars, and how their operand words are laid out.

MAP + opcode    an elementwise op over arrays
ADD             out[...] += a[...] over an index space: sums, copies, broadcasts
CONTRACT        out[...] += a[...] * b[...] over an index space: products of matrices and tensors
GATHER, SCATTER read from, or add to, a list of places
HOST            a Python kernel
GUARD           the recorded truth of a value: replay stops where it differs
GUARD_VALUE     the recorded value itself

Words of MAP, ADD and CONTRACT, from the position that the row's `a` names:

    size, count, ndim, zeroed, shape[ndim], then for out, a (and b): kind, space, address, strides[ndim]

`kind` is 1 for an operand that is contiguous over the index space, 2 for a scalar, 0 for another.
"""

from __future__ import annotations

MAP = 256
WHOLE = 1 << 56  # the length of a view of memory whose end is not known: only the checked build looks it up
GUARD = 1024
GUARD_VALUE = 1025
ADD = 1026
CONTRACT = 1027
GATHER = 1028
SCATTER = 1029
HOST = 1030
CLEAR = 1031  # only in lowered programs (`lowering`): one element set to zero
FLAGS = (1, 2, 4, 8)  # of a row of an adjoint program: a wanted, b wanted, first to reach a, first to reach b

NAMES = {
    GUARD: "guard",
    GUARD_VALUE: "guard_value",
    ADD: "add_over",
    CONTRACT: "contract",
    GATHER: "gather",
    SCATTER: "scatter",
    HOST: "host",
}
ABSENT_KIND = 3  # of the output of an ADD row whose block is -0.0 where nothing is added: it holds cotangents
