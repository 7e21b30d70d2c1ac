"""What the sweeps of a tape are predicted to take: a linear model of its rows."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from numbad.tape.layout import ADD, CONTRACT, GATHER, HOST, MAP, SCATTER, step_count

if TYPE_CHECKING:
    from numbad.tapes.tape import Tape

SWEEPS = ("forward", "adjoint", "tangent")
# Nanoseconds on one core of 2.5 GHz, best of many runs: chains of 200,000 scalar multiplications and sines, of
# array rows of 3 and of 1000 elements, a matrix times a vector of 1000, a gather of 100,000, small solves.
SCALAR = (3.0, 4.0, 5.0)  # a row of numbers
ROW = (150.0, 200.0, 250.0)  # an array row, however small
MAPPED = (0.5, 1.0, 1.0)  # an element of an elementwise row
MOVED = (0.6, 0.6, 0.5)  # an element that is added, gathered or scattered
PRODUCT = (0.1, 0.1, 0.1)  # a product in a sum of products
CALL = (10_000.0, 20_000.0, 200_000.0)  # a call of a Python kernel, what it computes not included


def predict_costs(tape: Tape) -> dict[str, float]:
    """Return the predicted seconds of each sweep of a tape.

    The forward sweep computes values and partials, the adjoint sweep a gradient, the tangent sweep a
    directional derivative. The model counts rows, elements and products and knows neither which op it is nor
    what a Python kernel does, nor threads: a prediction is good to a factor of two or three.

    Parameters
    ----------
    tape : Tape
        A verified tape.

    Returns
    -------
    dict of str to float
        Seconds for "forward", "adjoint" and "tangent".
    """
    counts = count_work(tape)
    rates = zip(SCALAR, ROW, MAPPED, MOVED, PRODUCT, CALL, strict=True)
    seconds = [1e-9 * sum(count * rate for count, rate in zip(counts, sweep, strict=True)) for sweep in rates]
    return dict(zip(SWEEPS, seconds, strict=True))


def count_work(tape: Tape) -> tuple[int, int, int, int, int, int]:
    """Return the numbers of scalar rows, array rows, mapped elements, moved elements, products and calls."""
    opcodes = tape.code[:, 0]
    array_rows = np.flatnonzero((opcodes >= MAP) & ((opcodes < 2 * MAP) | (opcodes >= ADD)))
    kinds = opcodes[array_rows]
    positions = tape.code[array_rows, 2].astype(np.int64)
    elements = np.where(kinds == HOST, 0, step_count(tape.words, positions) if len(positions) else 0)
    total = {
        "mapped": elements[kinds < 2 * MAP],
        "moved": elements[(kinds == ADD) | (kinds == GATHER) | (kinds == SCATTER)],
        "products": elements[kinds == CONTRACT],
    }
    mapped, moved, products = (int(part.astype(float).sum()) for part in total.values())
    calls = int((kinds == HOST).sum())
    return int((opcodes < MAP).sum()), len(array_rows) - calls, mapped, moved, products, calls


def write_seconds(seconds: float) -> str:
    """Write a time with a unit that suits it."""
    for unit, size in (("ns", 1e-9), ("us", 1e-6), ("ms", 1e-3)):
        if seconds < 1000 * size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds:.3g} s"
