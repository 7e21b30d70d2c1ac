"""A machine for scalar rows: the rows that each sweep needs, in an order of their own, and memory kept between calls.

* A gradient's forward sweep leaves out rows whose value and partials no other row needs: a sum at the end, say.
* Partials that depend on constants alone (of x - 1.0, of 100.0 * x) are computed once, and so are the cotangents
  that depend on nothing else: the adjoint sweep begins with them, and leaves out the rows that they come from.
* What the first guard needs comes first, then what the second needs, ...: a call that takes another path finds out
  early, and the tape of that path goes on where this one stopped, for up to there both have the same rows.
* Without guards, rows that do not need one another, and have the same op, follow one another forwards: the processor
  guesses the next op right, and computes several at once.

The sums are added in the order of the tape, so values and gradients are, bit for bit, those of its own sweeps.
The rows left out are the dead code, and the constants the constant propagation, of Griewank and Walther
(2008), *Evaluating Derivatives*, sections 3.2 and 6.2: activity analysis.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from numbad.kernels import run_layout as layout
from numbad.kernels.loading import sweep
from numbad.kernels.memory import address_of
from numbad.limits import CHECKED, FEW_ROWS, LEVELLED, LOCKED_ROWS, WORTH_COPYING
from numbad.ops.definition import absent
from numbad.recording.inputs import FLOAT64
from numbad.replay.number_memory import NumberMemory
from numbad.sweeps.whole import new_plan
from numbad.tape.layout import GUARD, GUARD_VALUE, MAP
from numbad.tapes.adjoint_plans import make_plan
from numbad.tapes.passes import place_given, run
from numbad.tapes.tape import Tape

if CHECKED:
    from numbad.kernels import checked_memory


class ScalarMachine(NumberMemory):
    """A tape of scalar rows with the memory of its sweeps.

    Parameters
    ----------
    tape : Tape
        Of scalar rows, in double precision (`is_scalar_tape`).
    results : list of ndarray of int64
        The addresses of its results, of one where a gradient is wanted.
    wanted : list of bool, optional
        For which inputs the gradient is wanted; without it only values are computed.
    value : bool
        Whether the value is wanted beside the gradient.

    Attributes
    ----------
    code : ndarray of uint32, shape (rows, 4)
        Rows of the forward sweep.
    back : ndarray of uint32, shape (rows, 4)
        Rows of the adjoint sweep, in the order in which it takes them: (row of the partials, out, a, b).
    values, partials, bar, first_bar : ndarray
        The arena; the partials; the cotangents, and what they are to begin with.
    first : int
        Address of the first forward row's result; row k writes first + k.
    """

    def __init__(
        self, tape: Tape, results: list[np.ndarray], wanted: list[bool] | None = None, value: bool = True
    ) -> None:
        long = len(tape) >= FEW_ROWS
        self.tape, self.results = tape, results
        self.gradient = wanted is not None
        guards = tape.code[:, 0] >= MAP
        if not self.gradient or not long:
            back, bar, partials = self.all_back(tape) if self.gradient else (np.zeros(len(tape), bool), None, None)
            forward = np.ones(len(tape), bool)
        else:
            plan = make_plan(tape, int(results[0]), wanted or [], value)
            forward, back, bar, partials = plan.forward, plan.back, plan.bar, plan.partials
        rows = order_rows(tape, forward, guards) if long else np.flatnonzero(forward)
        self.arrange(tape, rows, back, bar, partials)
        self.guards = guards[rows]

    def all_back(self, tape: Tape) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return that every row goes back, and that cotangents begin with the seed."""
        bar = np.full(tape.size, -0.0)
        bar[int(self.results[0])] = 1.0
        return tape.code[:, 0] < MAP, bar, np.zeros((len(tape), 2))

    def arrange(self, tape: Tape, rows: np.ndarray, back: np.ndarray, bar: Any, partials: Any) -> None:
        """Give results the addresses of their turn, and take the memory."""
        backward = np.flatnonzero(back)[::-1]
        written = rows[tape.code[rows, 0] < MAP]
        extra = np.setdiff1d(backward, rows)
        rename, first = place_given(tape)
        self.first = first
        position = self.position = np.full(len(tape), 0, np.int64)
        position[rows] = np.arange(len(rows))
        position[extra] = len(rows) + np.arange(len(extra))
        results = np.concatenate([written, extra])
        rename[tape.code[results, 1]] = first + position[results]
        size = first + len(rows) + len(extra)
        self.values = np.zeros(size)
        numbers = tape.numbers
        self.values[rename[numbers[:, 0].astype(np.int64)]] = numbers[:, 1]
        for address, block in tape.loads:
            self.values[rename[address] : rename[address] + block.size] = block
        self.code = renamed(tape.code[rows], rename)
        self.places = [int(rename[slot.address]) if slot.size else 0 for slot in tape.inputs]
        self.outputs = [rename[places].astype(np.int64) for places in self.results]
        self.output = int(self.outputs[0]) if self.gradient else 0
        self.rows = rows
        self.partials: Any = None
        self.back: Any = None
        self.bar: Any = None
        self.first_bar: Any = None
        plan = self.plan = new_plan(FLOAT64, False, self.gradient, None)
        if self.gradient:
            self.partials = np.zeros((max(len(rows) + len(extra), 1), 2))
            self.partials[len(rows) :] = partials[extra] if len(extra) else 0.0
            self.back = renamed(tape.code[backward], rename)
            self.back[:, 0] = position[backward]
            used = ~absent(bar)
            self.first_bar = np.full(size, -0.0)
            self.first_bar[rename[used]] = bar[used]
            self.first_bar[0] = -0.0
            for place, slot in zip(self.places, tape.inputs, strict=True):
                self.first_bar[place : place + slot.size] += 0.0  # a gradient is no -0.0
            self.bar = np.zeros(size)
            plan[layout.PARTIALS], plan[layout.PARTIAL_ROWS] = address_of(self.partials), len(self.partials)
            plan[layout.BACK], plan[layout.BACK_ROWS] = address_of(self.back), len(self.back)
            plan[layout.BAR], plan[layout.FIRST_BAR] = address_of(self.bar), address_of(self.first_bar)
            plan[layout.INPUTS] = sum(slot.size for slot in tape.inputs)
        plan[layout.CODE], plan[layout.STOP] = address_of(self.code), len(rows)
        plan[layout.VALUES], plan[layout.SIZE] = address_of(self.values), size
        self.plan_at = plan.buffer_info()[0]
        if CHECKED:
            checked_memory.ranges.watch(self.values, self.values, plan, anew=True)
        self.make_views()
        self.started = 0
        self.driver = sweep("run_at", FLOAT64, len(rows) <= LOCKED_ROWS)
        self.stop = len(rows)

    # ------------------------------------------------------------ running

    def run(self, start: int = 0, source: Any = None) -> int:
        """Run the sweeps; return the row of a guard that does not hold, or -1.

        Where the rows before `start` are worth it, what the machine `source` has computed of them is copied.
        """
        if start:
            start = start if start >= WORTH_COPYING else 0
            if start:
                self.take_over(source, start)
        if start != self.started:
            self.plan[layout.START] = self.started = start
        done = self.driver(0.0, self.plan_at)
        return -1 if done == self.stop else done

    def row_of(self, row: int) -> int:
        """Return which row of a run a row of the tape is."""
        return int(self.position[row])

    def site(self, row: int) -> Any:
        """Return the user's statement of a row at which a run stopped."""
        return self.tape.site(int(self.rows[row]))

    def take_over(self, other: ScalarMachine, row: int) -> None:
        """Copy what another tape with the same first rows has computed up to a row."""
        self.values[self.first : self.first + row] = other.values[other.first : other.first + row]
        if self.gradient:
            self.partials[:row] = other.partials[:row]

    def fork(self, other: Any) -> tuple[int, bool] | None:
        """Return how many forward rows two tapes of one signature share, and whether a guard tells them apart there."""
        if not isinstance(other, ScalarMachine):
            return 0, False
        one, two = self.signature(), other.signature()
        count = min(len(one), len(two))
        same = (one[:count] == two[:count]).all(axis=1)
        shared = count if same.all() else int(np.argmin(same))
        if shared == count:
            return shared, False
        guarded = one[shared, 0] in (GUARD, GUARD_VALUE) and (one[shared, :3] == two[shared, :3]).all()
        return shared, bool(guarded)

    def signature(self) -> np.ndarray:
        """Return the rows in terms that do not depend on where the constants are: results count from the first."""
        code, bits = self.code.astype(np.int64), self.values.view(np.int64)
        inputs = 1 + sum(slot.size for slot in self.tape.inputs)
        guard, guard_value = code[:, 0] == GUARD, code[:, 0] == GUARD_VALUE
        other = np.where(guard_value, code[:, 1], code[:, 3])
        found = [code[:, 0]]
        for address in (code[:, 2], other):
            result, constant = address >= self.first, (address >= inputs) & (address < self.first)
            found.append(np.where(result, 1, np.where(constant, 2, 0)))
            found.append(np.where(result, address - self.first, np.where(constant, bits[address], address)))
        found[4] = np.where(guard, code[:, 1], found[4])
        return np.stack(found, axis=1)


def renamed(code: np.ndarray, rename: np.ndarray) -> np.ndarray:
    """Return scalar rows and guards with other addresses."""
    code = np.array(code, order="C")
    truths = code[code[:, 0] == GUARD, 1]
    guards = code[:, 0] == GUARD
    code[:, 1:] = rename[code[:, 1:]]
    code[guards, 1] = truths
    return code


# ---------------------------------------------------------------- in which order rows run


def order_rows(tape: Tape, forward: np.ndarray, guards: np.ndarray) -> np.ndarray:
    """Return the rows of the forward sweep in an order that is better than that of the tape."""
    if guards.any():
        order = order_by_guards(tape, int(guards.sum()))
    elif len(tape) <= LEVELLED:
        order = order_by_levels(tape)
    else:
        return np.flatnonzero(forward)
    chosen: np.ndarray = order[forward[order]]
    return chosen


def order_by_guards(tape: Tape, guards: int) -> np.ndarray:
    """Return the rows so: what the first guard needs, the guard, what the next one needs, ..."""
    rows = len(tape)
    writer = np.full(tape.size, -1, np.int64)
    scalar = np.flatnonzero(tape.code[:, 0] < MAP)
    writer[tape.code[scalar, 1]] = scalar
    group, stack = np.full(rows, guards, np.int64), np.zeros(2 * rows + 2, np.int64)
    run("mark_guards", tape.code, tape.words, writer, group, stack)
    return np.argsort(group, kind="stable")


def order_by_levels(tape: Tape) -> np.ndarray:
    """Return the rows by the length of the longest chain before them, and those of one length by their ops."""
    level, turn = np.zeros(tape.size, np.int64), np.zeros(len(tape), np.int64)
    run("mark_levels", tape.code, tape.words, level, turn)
    return np.lexsort((tape.code[:, 0], turn))
