"""What replays of a gradient need of scalar rows: which rows forward, which back, and what never changes."""

from __future__ import annotations

import dataclasses

import numpy as np

from numbad.kernels.loading import sweep
from numbad.kernels.memory import address_of
from numbad.ops.texts import dependencies
from numbad.recording.inputs import FLOAT64
from numbad.sweeps.dependence import mark_active, mark_needed, wanted_rows
from numbad.tape.layout import MAP
from numbad.tapes.passes import constant_addresses, run
from numbad.tapes.tape import Tape


@dataclasses.dataclass
class AdjointPlan:
    """Which rows the sweeps of a gradient have to take.

    Attributes
    ----------
    forward, back : ndarray of bool, shape (rows,)
        Which rows go forward, and which back.
    bar : ndarray of float64, shape (addresses,)
        What the cotangents are before the adjoint sweep; -0.0 where they are absent.
    partials : ndarray of float64, shape (rows, 2)
        The partials, right where they never change.
    unfixed : ndarray of uint8, shape (rows,)
        On which of x, y, z (bits 1, 2, 4) the partials of a row depend that vary.
    active : ndarray of uint8, shape (addresses,)
        Which addresses depend on an input that the gradient is wanted for.
    """

    forward: np.ndarray
    back: np.ndarray
    bar: np.ndarray
    partials: np.ndarray
    unfixed: np.ndarray
    active: np.ndarray


def make_plan(tape: Tape, output: int, wanted: list[bool], value: bool) -> AdjointPlan:
    """Return the plan of the gradient of the number at an address; `value` says whether it is wanted itself."""
    rows, size = len(tape), tape.size
    active, state, needed = (np.zeros(size, np.uint8) for _ in range(3))
    back, unfixed = np.zeros((2, rows), np.uint8)
    for slot, chosen in zip(tape.inputs, wanted, strict=True):
        active[slot.address : slot.address + slot.size] = chosen
    mark_active(tape.code, tape.words, active)
    partials, bar = constant_partials(tape), np.full(size, -0.0)
    bar[output] = state[output] = 1
    needed[output] = value
    known, table = constant_addresses(tape), dependencies()
    run("plan_adjoint", tape.code, tape.words, table, known, active, partials.reshape(-1), bar, state, back, unfixed)
    forward = wanted_rows(tape.code)
    mark_needed(tape.code, tape.words, needed, forward, unfixed)
    return AdjointPlan(forward != 0, back != 0, bar, partials, unfixed, active)


def constant_partials(tape: Tape) -> np.ndarray:
    """Return partials of all rows, right where they depend on constants alone: the inputs are 0."""
    values, partials = np.zeros(tape.size), np.zeros((len(tape), 2))
    values[tape.numbers[:, 0].astype(np.int64)] = tape.numbers[:, 1]
    for address, block in tape.loads:
        values[address : address + block.size] = block
    rows = np.flatnonzero(tape.code[:, 0] < MAP)
    found = np.zeros((max(len(rows), 1), 2))
    code = np.ascontiguousarray(tape.code[rows])
    sweep("linearise", FLOAT64)(0.0, address_of(code), address_of(values), address_of(found), 0, len(rows))
    partials[rows] = found[: len(rows)]
    return partials
