"""The one driver of both sweeps: it enters constants, runs rows forward, seeds cotangents and takes the rows back."""
# mypy: disable-error-code="no-untyped-def"

from __future__ import annotations

import numpy as np

from numbad.kernels.array import inlined
from numbad.kernels.run_layout import (
    ADJOINT,
    BACK,
    BACK_ROWS,
    BAR,
    BARS,
    BASES,
    CODE,
    COUNT,
    FIRST_BAR,
    FORWARD,
    INPUTS,
    KERNELS,
    LENGTH,
    NUMBERS,
    OUTPUT,
    PARTIAL_ROWS,
    PARTIALS,
    SCRATCH,
    SIZE,
    START,
    STOP,
    VALUES,
    WORDS,
)
from numbad.kernels.scalar import adjoint, are_finite, plain_adjoint, plain_pull_back, pull_back
from numbad.kernels.vectormath import call_at, rows_of, view


def run_at(like, plan_at):
    """Run a plan; return the row where the forward sweep stopped: all is well if that is the last.

    Returns -1 where the adjoint sweep stopped, at a row that is left to Python. Compiled to a C function.

    Parameters
    ----------
    like : float
        A number of the arena's dtype.
    plan_at : int
        Memory address of the plan, int64 of shape (LENGTH,) (see `run_layout`).
    """
    plan = view(np.uint64(plan_at), LENGTH, np.int64(0))
    enter_numbers(plan, like)
    done = run_forward(plan, like)
    if done != plan[STOP] or plan[BAR] == 0:
        return done
    bar = view(np.uint64(plan[BAR]), plan[SIZE], like)
    if plan[WORDS] == 0:
        take_scalars_back(plan, bar, like)
        return done
    seed(plan, bar)
    tape = (plan[KERNELS], plan[CODE], plan[WORDS], plan[BASES], plan[BARS], plan[VALUES], plan[PARTIALS])
    left = call_at(np.uint64(plan[ADJOINT]), like, (*tape, plan[BAR], plan[SCRATCH], 0, plan[STOP]))
    return done if left == 0 else np.int64(-1)


@inlined
def enter_numbers(plan, like):
    """Write the constant zero and the numbers of the plan to the arena."""
    values = view(np.uint64(plan[VALUES]), plan[SIZE], like)
    pairs = view(np.uint64(plan[NUMBERS]), 2 * plan[COUNT], np.float64(0))
    values[0] = 0
    for k in range(plan[COUNT]):
        values[np.int64(pairs[2 * k])] = pairs[2 * k + 1]


@inlined
def run_forward(plan, like):
    """Compute the rows; return the first that was not done."""
    call, code, values, partials = np.uint64(plan[FORWARD]), plan[CODE], plan[VALUES], plan[PARTIALS]
    start, stop = plan[START], plan[STOP]
    if plan[WORDS] != 0:
        tape = (plan[KERNELS], code, plan[WORDS], plan[BASES], values, partials)
        return call_at(call, like, (*tape, plan[SCRATCH], start, stop))
    if partials != 0:
        return call_at(call, like, (code, values, partials, start, stop))
    return call_at(call, like, (code, values, start, stop))


@inlined
def seed(plan, bar):
    """Make all cotangents absent but that of the output; those of the inputs of scalar rows are no -0.0."""
    zero = bar.dtype.type(0)
    for k in range(np.uint64(plan[SIZE])):
        bar[k] = -zero
    for k in range(np.uint64(1), np.uint64(plan[INPUTS] + 1)):
        bar[k] = zero
    bar[np.uint64(plan[OUTPUT])] = 1


@inlined
def take_scalars_back(plan, bar, like):
    """Take scalar rows back: as if nothing were absent first, and with care if a gradient is not finite then."""
    begin_back(plan, bar, like)
    pull_scalars(plan, bar, like, True)
    if not are_finite(bar[1 : 1 + plan[INPUTS]]):
        begin_back(plan, bar, like)
        pull_scalars(plan, bar, like, False)


@inlined
def begin_back(plan, bar, like):
    """Set the cotangents to what they are before the sweep."""
    if plan[BACK] == 0:
        seed(plan, bar)
        return
    first = view(np.uint64(plan[FIRST_BAR]), plan[SIZE], like)
    for k in range(np.uint64(plan[SIZE])):
        bar[k] = first[k]


@inlined
def pull_scalars(plan, bar, like, plain):
    """Take scalar rows back, in the order of the tape or of a plan."""
    if plan[BACK] == 0:
        rows = plan[STOP]
        code = rows_of(view(np.uint64(plan[CODE]), 4 * rows, np.uint32(0)), 4)
        partials = rows_of(view(np.uint64(plan[PARTIALS]), 2 * rows, like), 2)
        if plain:
            plain_adjoint(code, partials, bar, 0, rows)
        else:
            adjoint(code, partials, bar, 0, rows)
    else:
        back = rows_of(view(np.uint64(plan[BACK]), 4 * plan[BACK_ROWS], np.uint32(0)), 4)
        partials = rows_of(view(np.uint64(plan[PARTIALS]), 2 * plan[PARTIAL_ROWS], like), 2)
        if plain:
            plain_pull_back(back, partials, bar)
        else:
            pull_back(back, partials, bar)
