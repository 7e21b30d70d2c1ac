"""A machine that runs one tape of numbers at many points: machine code that computes several of them side by side."""

from __future__ import annotations

from typing import Any

import numpy as np

from numbad.compilation.array_module import ENTRANCE, ArrayModule
from numbad.compilation.code import compile_module
from numbad.compilation.lanes import ENTRY, FIXED, LaneWriter
from numbad.compilation.scalar_program import make_program
from numbad.geometry import spread
from numbad.kernels.machinecode import callable_at
from numbad.kernels.memory import address_of, empty, give_back, take_memory
from numbad.limits import MOST_AT_ONCE
from numbad.recording.inputs import FLOAT64
from numbad.tape.layout import is_guard
from numbad.tapes.points import Batch, slots_of, split_results
from numbad.tapes.tape import Tape

WIDTH = 8  # bytes of a number


class PointMachine:
    """Machine code of a tape at many points; raises `Uncompilable` where there can be none.

    Parameters
    ----------
    tape : Tape
    wanted : tuple of int
        The arguments with respect to which gradients are computed; none for the value alone.
    count : int
        How many points there are, about.

    Attributes
    ----------
    firsts : list of int
        Where the inputs begin in a block.
    results : ndarray of int64
        Where the results are in it.
    guarded : bool
        Whether there are guards.
    """

    def __init__(self, tape: Tape, wanted: tuple[int, ...], count: int) -> None:
        self.tape, self.slots = tape, slots_of(tape, wanted)
        places = [slot.address + spread(slot.shape, slot.strides) for slot in tape.outputs if slot.constant is None]
        chosen = [any(slot is other for other in self.slots) for slot in tape.inputs] if wanted else None
        program = make_program(tape, places, chosen, True)
        self.firsts = [first for first, _ in program.inputs]
        self.guarded = bool(is_guard(program.opcodes).any())
        targets = sum(slot.size for slot in self.slots)
        outputs = np.concatenate([found.reshape(-1) for found in program.outputs])
        writer = LaneWriter(program, count, np.zeros(0, np.int64))
        self.kernel = writer.write(len(outputs), targets, guarded=self.guarded)
        computed = outputs >= program.first
        rows = np.where(computed, outputs - program.first, 0)
        self.results = np.where(computed, self.kernel.places[rows], outputs)
        module = ArrayModule()
        module.add_kernel(self.kernel.text, self.kernel.called)
        self.code = compile_module(module.write(), ENTRANCE, module, 3)
        self.call = callable_at(self.code.address, FLOAT64, 3)
        self.rows = len(program)
        self.arguments: dict[tuple[bool, ...], tuple[np.ndarray, np.ndarray]] = {}

    def run(self, batch: Batch) -> tuple[list[np.ndarray], list[np.ndarray], np.ndarray, np.ndarray]:
        """Return results and gradients at all points, which points take the path, and whose gradients are finite."""
        count = batch.count
        values = [np.ascontiguousarray(np.asarray(leaf, FLOAT64)) for leaf in batch.leaves]
        found = empty((count, len(self.results)), FLOAT64)
        slopes = [np.zeros((count, *slot.shape)) for slot in self.slots]
        missed = np.zeros(count, np.int64)
        self.run_blocks(self.arguments_for(batch.mapped), [*values, found, *slopes, missed], count)
        finite = np.ones(count, np.bool_)
        for part in slopes:
            finite &= np.isfinite(part.reshape(count, -1)).all(axis=1)
        return split_results(self.tape, found), slopes, missed == 0, finite

    def arguments_for(self, mapped: list[bool]) -> tuple[np.ndarray, np.ndarray]:
        """Return the arguments of the code, each address that of a first element of its array, and whose they are."""
        key = tuple(mapped)
        if key not in self.arguments:
            sizes = [slot.size for slot in self.tape.inputs]
            parts = [
                (size if given else 0, first + np.arange(size))
                for size, given, first in zip(sizes, mapped, self.firsts, strict=True)
            ]
            parts.append((len(self.results), self.results))
            parts += [(slot.size, self.first_of(slot) + np.arange(slot.size)) for slot in self.slots]
            parts.append((1, np.zeros(int(self.guarded), np.int64)))
            entries = [(WIDTH * k, step, place) for step, places in parts for k, place in enumerate(places.tolist())]
            owners = np.repeat(np.arange(len(parts)), [len(places) for _, places in parts])
            self.arguments[key] = np.array([0, 0, *(n for entry in entries for n in entry)], np.int64), owners
        return self.arguments[key]

    def first_of(self, slot: Any) -> int:
        """Return where an input begins in a block."""
        return next(first for first, other in zip(self.firsts, self.tape.inputs) if other is slot)

    def run_blocks(self, known: tuple[np.ndarray, np.ndarray], arrays: list[np.ndarray], count: int) -> None:
        """Run the code, with a look at Python's signals from time to time."""
        block = take_memory(self.kernel.memory, FLOAT64, False)
        arguments, owners = known[0].copy(), known[1]
        arguments[0], arguments[1] = address_of(block), address_of(self.kernel.tables)
        arguments[FIXED::ENTRY] += np.array([address_of(part) for part in arrays])[owners]
        stretch = max(1, MOST_AT_ONCE // (3 * self.rows))
        for start in range(0, count, stretch):
            plan = np.array([0, address_of(arguments), start, min(count, start + stretch)], np.int64)
            self.call(0.0, address_of(plan), 0, 1)
        give_back(block)
