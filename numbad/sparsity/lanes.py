"""Compressed sweeps: the tangents or cotangents of all colours side by side, and the entries read from them."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np

from numbad.kernels.memory import check_memory
from numbad.sparsity.colouring import Colouring, choose_colouring
from numbad.sparsity.compiled import call
from numbad.sweeps.linearised import Linearised
from numbad.tapes.lowering import spread

if TYPE_CHECKING:
    from numbad.sparsity.patterns import Pattern
    from numbad.tapes.tape import Tape


class Lanes:
    """The entries of a pattern by sweeps of many seeds.

    Parameters
    ----------
    tape : Tape
    wanted, rows : list of int
        Which inputs are differentiated by, and the outputs whose elements are the rows.
    colouring : Colouring
        Of the pattern.
    pattern : Pattern
    """

    def __init__(self, tape: Tape, wanted: list[int], rows: list[int], colouring: Colouring, pattern: Pattern) -> None:
        self.tape, self.wanted, self.rows, self.colouring, self.pattern = tape, wanted, rows, colouring, pattern
        self.direct: Lanes | None = None  # that reads each entry by itself
        shapes = [tape.inputs[k].shape for k in wanted]
        self.slots = [k for k in rows if tape.outputs[k].constant is None and 0 not in tape.outputs[k].shape]
        elements = sum(tape.inputs[k].size for k in wanted) * colouring.column_colours
        check_memory(2 * tape.dtype.itemsize * (elements + colouring.rows.size * colouring.row_colours))
        self.tangents = split(seeds_of(colouring.columns, colouring.column_colours, tape.dtype), shapes)
        shapes = [tape.outputs[k].shape for k in rows]
        parts = split(seeds_of(colouring.rows, colouring.row_colours, tape.dtype), shapes)
        self.cotangents = [part for k, part in zip(rows, parts, strict=True) if k in self.slots]
        sizes = np.array([int(np.prod(shape, dtype=np.int64)) for shape in shapes])
        starts = np.cumsum(sizes) - sizes
        self.parts = [(int(start), int(size)) for start, size in zip(starts, sizes, strict=True)]
        self.live = [part for k, part in zip(rows, self.parts, strict=True) if k in self.slots]
        self.mixed = bool(colouring.by_column.any() and not colouring.by_column.all())

    def compute(self, points: tuple[Any, ...], given: list[Any]) -> tuple[np.ndarray, list[Any]]:
        """Return the entries at a point, and the values of all outputs.

        Raises
        ------
        BranchError
            When a guard does not hold there.
        """
        tape, colouring = self.tape, self.colouring
        workspace, leaves = tape.borrow(points, False)
        execution = workspace.execution
        values = [slot.read(execution) for slot in tape.outputs]
        data = np.zeros(colouring.places.size, tape.dtype)
        if data.size:
            inputs = [SimpleNamespace(**vars_of(tape.inputs[k]), value=leaves[k]) for k in self.wanted]
            outputs = [tape.outputs[k] for k in self.slots]
            linear = Linearised(execution, inputs, [spread(s.address, s.shape, s.strides) for s in outputs])
            if not self.fill(data, linear):
                self.read_directly().fill(data, linear)
        workspace.release(tape)
        return data, values

    def read_directly(self) -> Lanes:
        """Return the sweeps of stars: an infinity is taken out of no sum."""
        if self.direct is None:
            stars = choose_colouring(self.pattern, "star")
            self.direct = Lanes(self.tape, self.wanted, self.rows, stars, self.pattern)
        return self.direct

    def fill(self, data: np.ndarray, linear: Linearised) -> bool:
        """Sweep, and read the entries; return whether they can be, by substitution only where all is finite."""
        colouring, whole = self.colouring, slice(None)
        if colouring.column_colours:
            found = linear.push(self.tangents)
            wide = colouring.column_colours
            compressed = np.zeros((colouring.rows.size, wide), data.dtype)
            for (start, size), part in zip(self.live, found, strict=True):
                compressed[start : start + size] = part.reshape(size, wide)
            if colouring.steps.size:
                if not np.isfinite(compressed).all():
                    return False
                call("substitute_at", 0, (compressed.reshape(-1), colouring.steps.reshape(-1)), dtype=data.dtype)
            which = colouring.by_column if self.mixed else whole
            data[which] = compressed.reshape(-1)[colouring.places[which]]
        if colouring.row_colours:
            found = linear.pull(self.cotangents)
            compressed = np.concatenate([part.reshape(colouring.row_colours, -1) for part in found], axis=1)
            which = ~colouring.by_column if self.mixed else whole
            data[which] = compressed.reshape(-1)[colouring.places[which]]
        return True


def vars_of(slot: Any) -> dict[str, Any]:
    """Return where an input is, as sweeps ask for it."""
    return {"space": slot.space, "address": slot.address, "order": slot.order}


def seeds_of(colours: np.ndarray, count: int, dtype: np.dtype) -> np.ndarray:
    """Return the seeds: a lane for each colour, with a one for each element of that colour, the rest absent."""
    seeds = np.full((colours.size, count), -0.0, dtype)
    inside = np.flatnonzero(colours >= 0)
    seeds[inside, colours[inside]] = 1
    return seeds


def split(seeds: np.ndarray, shapes: list[tuple[int, ...]]) -> list[np.ndarray]:
    """Return the seeds of each array, in its shape and with the lanes last."""
    found, start = [], 0
    for shape in shapes:
        size = int(np.prod(shape, dtype=np.int64))
        found.append(seeds[start : start + size].reshape(*shape, seeds.shape[1]))
        start += size
    return found
