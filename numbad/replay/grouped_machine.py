"""A machine that is machine code of its groups of rows; between its calls NumPy multiplies, and Python's rows run."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from numbad.compilation.array_module import PLAN
from numbad.compilation.array_program import BLOCK, POOL, PRODUCT, TABLE, WORDS, ArrayProgram, Call, Item
from numbad.compilation.grouping import Stop
from numbad.compilation.nests import BAR, NUMBER, VALUE
from numbad.kernels.loading import switch
from numbad.kernels.machinecode import callable_at
from numbad.kernels.memory import address_of
from numbad.limits import MOST_AT_ONCE
from numbad.recording.inputs import FLOAT64
from numbad.replay.divided_machine import Product, find_vector
from numbad.replay.lookups import Lookup
from numbad.replay.outer_machine import OuterMachine
from numbad.replay.recorded_path import Path
from numbad.replay.whole_machine import nothing
from numbad.sweeps.matrix_rows import is_absent, multiply_add
from numbad.sweeps.operands import flat, host_operands, operand
from numbad.tape.layout import CONTRACT
from numbad.tape.rows import Rows


class GroupedMachine(OuterMachine):
    """The machine code of a path's groups, with memory of its own.

    Attributes
    ----------
    values, arena : ndarray
        The values, and the cotangents.
    spaces : dict of int to ndarray
        The cotangents of inputs outside of the arena.
    pools : list of ndarray
        Memory that values share, and that cotangents share.
    """

    def __init__(
        self, path: Path, rows: Rows, lookups: list[Lookup], program: ArrayProgram, code: Any, inner: Any
    ) -> None:
        self.kept, self.tape, self.rows, self.code = inner, path.tape, rows, code
        self.lookups, self.outputs = lookups, path.results
        self.gradient = path.wanted is not None
        self.output = int(path.results[0]) if self.gradient else 0
        tape = path.tape
        dtype = self.dtype = rows.dtype
        self.values = np.zeros(rows.size, dtype)
        self.values[tape.numbers[:, 0].astype(np.int64)] = tape.numbers[:, 1]
        for address, block in rows.loads:
            self.values[address : address + block.size] = block
        self.arena = np.zeros(rows.size if self.gradient else 1, dtype)
        self.words = np.array(rows.words, np.int64)
        for lookup in lookups:
            lookup.bind(self.words)
        self.memory: dict[int, np.ndarray] = {0: self.values}
        self.spaces: dict[int, np.ndarray] = {}
        for space, values in enumerate(rows.spaces):
            if space in rows.input_spaces:
                self.memory[space] = np.zeros(values.size, dtype)
                self.spaces[space] = np.zeros(values.size if self.gradient else 1, dtype)
            elif space:
                self.memory[space] = flat(np.asarray(values, dtype))
        self.targets = [self.target(slot) for slot in tape.inputs]
        self.reads = [
            self.reader(slot, given, wanted)
            for slot, given, wanted in zip(tape.inputs, tape.examples, path.wanted or [False] * len(tape.inputs))
        ]
        self.call = callable_at(code.address, FLOAT64, 3)
        self.staying = program.staying
        self.pools = [np.zeros(max(size, 1), dtype) for size in program.pools]
        self.block, self.tables = np.zeros(program.block), program.tables
        self.widths = np.full(TABLE + 1, dtype.itemsize)
        self.widths[[NUMBER, WORDS, TABLE]] = 1, 8, 8
        self.keep: list[np.ndarray] = []
        self.forward = self.resolve(program.forward, False)
        self.back = self.resolve(program.back, True)
        self.fell = False
        self.given: list[Any] = []

    @property
    def nbytes(self) -> int:
        """How many bytes of memory the code reads and writes."""
        parts = [*self.pools, *self.keep, self.words, self.block, self.tables]
        return sum(part.nbytes for part in parts) + self.staying * self.dtype.itemsize

    def target(self, slot: Any) -> np.ndarray:
        """Return where the values of an input go."""
        if slot.space:
            return self.memory[slot.space].reshape(slot.shape, order=slot.order)
        return self.values[slot.address : slot.address + slot.size].reshape(slot.shape)

    def reader(self, slot: Any, given: Any, wanted: bool) -> Any:
        """Return a function that gives the derivative with respect to an input."""
        if not wanted:
            return nothing
        if slot.shape and slot.dtype == self.dtype:
            return functools.partial(np.add, slot.place(self), 0.0)  # what is absent is shown as zero
        return functools.partial(slot.read, self, given)

    # ------------------------------------------------------------ making

    def resolve(self, items: list[Item], back: bool) -> list[Any]:
        """Return functions that run parts of a program, one after another: between them Ctrl-C is answered."""
        found: list[Any] = []
        calls: list[Call] = []
        rows = 0
        for item in [*items, None]:
            if isinstance(item, Call) and rows < MOST_AT_ONCE:
                calls.append(item)
                rows += item.rows * (item.stop - item.start)
                continue
            if calls:
                found.append(self.run_calls(calls))
                calls, rows = [], 0
            if isinstance(item, Call):
                calls.append(item)
                rows = item.rows * (item.stop - item.start)
            elif item is not None:
                found.append(self.run_stop(item, back))
        return found

    def run_calls(self, calls: list[Call]) -> Any:
        """Return what calls compiled functions."""
        arguments = np.array([argument for one in calls for argument in one.arguments], np.int64)
        plan = np.zeros((len(calls), PLAN), np.int64)
        counts = np.array([len(one.arguments) for one in calls])
        plan[:, 0] = [one.function for one in calls]
        plan[:, 2] = [one.start for one in calls]
        plan[:, 3] = [one.stop for one in calls]
        kinds, spaces, numbers = arguments.T
        bases = np.zeros((TABLE + 1, max(2, *self.memory) + 1), np.int64)
        for space, memory in self.memory.items():
            bases[VALUE, space] = address_of(memory)
        bases[BAR, 0] = address_of(self.arena)
        for space, memory in self.spaces.items():
            bases[BAR, space] = address_of(memory)
        bases[POOL, VALUE], bases[POOL, BAR] = (address_of(pool) for pool in self.pools)
        bases[WORDS, 0] = address_of(self.words)
        bases[BLOCK, 0], bases[TABLE, 0] = address_of(self.block), address_of(self.tables)
        if (kinds == PRODUCT).any():
            bases[PRODUCT, 0] = switch("product_at", self.dtype)
        resolved = bases[kinds, spaces] + numbers * self.widths[kinds]
        plan[:, 1] = address_of(resolved) + 8 * (np.cumsum(counts) - counts)
        self.keep += [resolved, plan]
        return functools.partial(self.call, 0.0, address_of(plan), 0, len(calls))

    def run_stop(self, stop: Stop, back: bool) -> Any:
        """Return what computes a row that is not compiled."""
        words, w = self.words, stop.w
        if stop.opcode == CONTRACT:
            found = find_vector(self.rows, words, w)
            if found is not None:
                product = Product(stop.row, found, self, self.memory[found.matrix[0]], stop.fresh[0])
                return functools.partial(pull_back, product, any(stop.fresh)) if back else product.forward
            values = [operand(self.memory.get, words, w, k) for k in range(3)]
            if not back:
                return functools.partial(multiply, [(*values, stop.fresh[0])])
            bars = [operand(self.bars, words, w, k) if not k or stop.active & k else None for k in range(3)]
            products = [(bars[k], bars[0], values[3 - k], stop.fresh[k]) for k in (1, 2) if stop.active & k]
            return functools.partial(multiply, products)
        call, read, made = host_operands(self.memory.get, words, w)
        kernel = self.rows.hosts[call]
        if not back:
            return functools.partial(call_forward, kernel, read, made)
        _, read_bars, made_bars = host_operands(self.bars, words, w)
        return functools.partial(call_back, kernel, read, made, read_bars, made_bars)

    def bars(self, space: int) -> np.ndarray | None:
        """Return the cotangents of a space, None for constants."""
        return self.arena if space == 0 else self.spaces.get(space)

    # ------------------------------------------------------------ running

    def enter(self, values: list[Any]) -> None:
        """Put new inputs in their places, and keep them for the inner machine."""
        self.given = values
        for target, value in zip(self.targets, values):
            target[...] = value
        for lookup in self.lookups:
            lookup.refresh()

    def run(self, start: int = 0, source: Any = None) -> int:
        """Run the code; return the row of a guard that does not hold, as the inner machine numbers it, or -1."""
        self.fell = False
        try:
            for part in self.forward:
                stopped = part()
                if stopped:
                    return int(self.inner.row_of(stopped - 1))
            if not self.gradient:
                return -1
            self.arena[self.output] = 1.0
            for part in self.back:
                if part():
                    return self.fall_back()  # a derivative is not finite
        except Exception:  # of a row of Python's: the inner machine raises it, and names the user's line
            return self.fall_back()
        return -1

    def read_gradient(self) -> tuple[Any, list[Any]]:
        """Return the value, and the derivative with respect to each input, after a run."""
        if self.fell:
            found: tuple[Any, list[Any]] = self.inner.read_gradient()
            return found
        value = self.values[self.output]
        return float(value) if self.dtype == FLOAT64 else value, [read() for read in self.reads]


def pull_back(product: Product, fresh: bool) -> None:
    """Take a product of a matrix and a vector back; a fresh cotangent is set."""
    if fresh:
        product.target[:] = -0.0
    product.backward({})


def multiply(products: list[Any]) -> None:
    """Add products to their targets."""
    for target, one, other, fresh in products:
        multiply_add(target, one, other, fresh)


def call_forward(kernel: Any, read: list[Any], made: list[Any]) -> None:
    """Compute a row by its Python kernel."""
    kernel.forward(read, made)


def call_back(kernel: Any, read: list[Any], made: list[Any], read_bars: list[Any], made_bars: list[Any]) -> None:
    """Take a row back by its Python rule, unless nothing depends on it."""
    if not all(is_absent(bar) for bar in made_bars):
        kernel.backward(read, made, read_bars, made_bars)
