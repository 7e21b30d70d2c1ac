"""Fusion: large elementwise rows that follow one another run block by block, and keep what only they need in cache.

A *group* is a run of large MAP rows of one length, with the full sums over them. It goes forward and backward in
blocks of some hundred elements. An output that nothing outside of the group reads is *virtual*: it has no memory but a
block of scratch, and the adjoint sweep computes it again (the trade of Griewank and Walther, 2008, chapter 12, at the
scale of the cache). So sum(sin(x)**2 * exp(-x)) reads x and writes the gradient, and nothing else.

Operands that are neither contiguous nor scalars, such as a bias, a factor for each row, a part of a matrix, are
*fetched*: copied into a block of scratch, forward, and added back to their places from one, backward.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from numbad.kernels.calls import call, run_shares, total
from numbad.kernels.fused_layout import (
    AGAIN,
    COLUMNS,
    COMPUTED,
    FETCH,
    MINUS,
    NONE,
    OF_X,
    OF_Y,
    OF_Z,
    OPCODE,
    OUT,
    OUT_BAR,
    PLUS,
    SUM,
    UNARY,
    X_BAR,
    X_FACTOR,
    Y_FACTOR,
    Y_SLOT,
    X,
    Y,
)
from numbad.kernels.loading import BLOCKS, block_kernels, make_ready
from numbad.kernels.memory import address_of, give_back, take_memory
from numbad.kernels.parallel import count_shares
from numbad.limits import FUSED_BLOCK, FUSED_PIECE, FUSED_ROWS, MANY_CONSTANTS
from numbad.ops.definition import REGISTRY
from numbad.ops.texts import named_partials
from numbad.tape.layout import (
    ADD,
    MAP,
    operand_at,
    operand_kinds,
    operand_span,
    row_axes,
    row_cleared,
    row_elements,
    row_operands,
    row_shape,
)

if TYPE_CHECKING:
    from numbad.sweeps.execution import Cotangents, Execution

FACTORS = {"": COMPUTED, "1": PLUS, "-1": MINUS, "x": OF_X, "y": OF_Y, "z": OF_Z}  # by what the op's text says


class Operand(NamedTuple):
    """What a row reads: kind, space and first address, the lowest and highest one, strides, and where its words are."""

    kind: int
    space: int
    address: int
    low: int
    high: int
    steps: tuple[int, ...] = ()
    w: int = 0
    d: int = 0


class Group:
    """A group of rows: its table in terms of spaces and addresses, resolved to memory when it runs.

    Attributes
    ----------
    first, last : int
        Its rows are first .. last - 1 of the tape.
    count : int
        Elements of each row.
    rows : list of tuple
        (opcode, out, operands) where an operand is ("slot", k), ("memory", space, address) or
        ("scalar", k), the k-th of `scalars`. The operand of a FETCH row is ("words", space, address, w, d).
    virtual : list of bool
        Whether a row's output has no memory.
    scalars : dict of (int, int) to int
        Space and address of each scalar operand, and its number.
    shared : bool
        Whether operands share addresses, so that one thread has to add up their cotangents.
    lowest : int
        The first address of all outputs.
    constants : set of (int, int)
        Space and address of numbers that the program gave: they have no cotangents.
    """

    def __init__(self, first: int, count: int) -> None:
        self.first = first
        self.last = first
        self.count = count
        self.rows: list[tuple[int, int, list[Any]]] = []
        self.virtual: list[bool] = []
        self.scalars: dict[tuple[int, int], int] = {}
        self.outputs: dict[int, int] = {}
        self.lowest = 1 << 62
        self.sums: set[int] = set()
        self.memory: set[tuple[int, int]] = set()
        self.fetched: dict[tuple[Any, ...], int] = {}
        self.constants: set[tuple[int, int]] = set()
        self.shared = False
        self.needed = True

    def accepts(self, operands: list[Operand]) -> bool:
        """Whether a row with these operands can join."""
        if len(self.rows) + sum(operand.kind == 0 for operand in operands) >= FUSED_ROWS:
            return False
        for kind, space, address, low, high, *_ in operands:
            if space:
                continue
            if self.sums and any(low <= a <= high for a in self.sums):
                return False  # a sum is known when the whole group has run, not before
            if high < self.lowest or (kind == 1 and address in self.outputs):
                continue
            if any(start <= high and low < start + self.count for start in self.outputs):
                return False
        return True

    def add(self, opcode: int, out: int, operands: list[Operand], shape: tuple[int, ...] = ()) -> None:
        """Append a row over an index space of some shape."""
        places: list[Any] = []
        for operand in operands:
            kind, space, address = operand[:3]
            if kind == 2:
                places.append(("scalar", self.scalars.setdefault((space, address), len(self.scalars))))
            elif kind == 0:
                places.append(("slot", self.fetch(operand, shape)))
            elif space == 0 and address in self.outputs:
                places.append(("slot", self.outputs[address]))
            else:
                near = (abs(a - address) for s, a in self.memory if s == space)
                self.shared = self.shared or any(0 < distance < self.count for distance in near)
                self.memory.add((space, address))
                places.append(("memory", space, address))
        if opcode == SUM:
            self.sums.add(out)
        else:
            self.outputs[out] = len(self.rows)
            self.lowest = min(self.lowest, out)
        self.rows.append((opcode, out, places))
        self.virtual.append(True)
        self.last += 1

    def fetch(self, operand: Operand, shape: tuple[int, ...]) -> int:
        """Return the slot of an operand that is neither contiguous nor a scalar; fetch it once."""
        _, space, address, _, _, steps, w, d = operand
        key = (space, address, *steps, *shape)
        slot = self.fetched.get(key)
        if slot is None:
            slot = self.fetched[key] = len(self.rows)
            self.rows.append((FETCH, 0, [("words", space, address, w, d)]))
            self.virtual.append(True)
        return slot

    # ------------------------------------------------------------ tables

    def table(self, execution: Execution, bars: Cotangents | None = None) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return the table, and the memory of the scalars and of their cotangents (0 for none)."""
        item = execution.values.itemsize
        slots = len(self.rows)

        def memory(cotangents: bool, space: int, address: int) -> int:
            if not cotangents:
                base = address_of(execution.values) if space == 0 else address_of(execution.spaces[space])
            elif bars is None or (space, address) in self.constants:
                return 0
            elif space == 0:
                base = address_of(bars.arena)
            elif space in bars.spaces:
                base = address_of(bars.spaces[space])
            else:
                return 0
            return base + address * item

        table = np.zeros((slots, COLUMNS), np.int64)
        for k, (opcode, out, places) in enumerate(self.rows):
            table[k, OPCODE] = opcode
            table[k, UNARY] = len(places) == 1
            if not self.virtual[k]:
                table[k, OUT], table[k, OUT_BAR] = memory(False, 0, out), memory(True, 0, out)
            if opcode == FETCH:
                _, space, address, table[k, Y], table[k, Y_SLOT] = places[0]
                table[k, X], table[k, X_BAR] = memory(False, space, address), memory(True, space, address)
                continue
            for place, column in zip(places, (X, Y), strict=False):
                if place[0] == "memory":
                    table[k, column], table[k, column + 2] = memory(False, *place[1:]), memory(True, *place[1:])
                else:
                    table[k, column + 1] = place[1] + (slots if place[0] == "scalar" else 0)
        values = np.array([memory(False, *scalar) for scalar in self.scalars] or [0], np.uint64)
        cotangents = np.array([memory(True, *scalar) for scalar in self.scalars] or [0], np.uint64)
        if bars is not None:
            self.plan_back(table, cotangents)
        return table, values, cotangents

    def plan_back(self, table: np.ndarray, cotangents: np.ndarray) -> None:
        """Note by what each operand's cotangent follows, where it is asked for, and which values that takes."""
        wanted = [False] * (len(self.rows) + len(cotangents))
        wanted[len(self.rows) :] = (cotangents != 0).tolist()
        for k, (opcode, _, places) in enumerate(self.rows):
            if opcode == FETCH:
                wanted[k] = bool(table[k, X_BAR])
                table[k, X_FACTOR] = PLUS if wanted[k] else NONE
                continue
            names = ("1",) if opcode == SUM else named_partials(opcode)
            for place, name, column, factor in zip(places, names, (X, Y), (X_FACTOR, Y_FACTOR), strict=False):
                asked = table[k, column + 2] if place[0] == "memory" else wanted[table[k, column + 1]]
                table[k, factor] = FACTORS[name] if asked else NONE
            wanted[k] = bool(table[k, X_FACTOR] or table[k, Y_FACTOR])
        self.mark_read(table)

    def mark_read(self, table: np.ndarray) -> None:
        """Mark the rows whose values the adjoint sweep reads: they are computed again."""
        again = [False] * len(self.rows)
        for k in range(len(self.rows) - 1, -1, -1):
            opcode, _, places = self.rows[k]
            if opcode in (SUM, FETCH):
                continue
            factors = (int(table[k, X_FACTOR]), int(table[k, Y_FACTOR]))
            every = COMPUTED in factors
            again[k] = again[k] or every or OF_Z in factors
            computed = again[k] and self.virtual[k]
            for place, factor in zip(places, (OF_X, OF_Y), strict=False):
                if place[0] == "slot" and (computed or every or factor in factors):
                    again[place[1]] = True
        table[:, AGAIN] = again


# ---------------------------------------------------------------- planning


def plan(execution: Execution, code: np.ndarray, words: np.ndarray, wanted: tuple[Any, ...]) -> dict[int, Group]:
    """Return the groups of a finished tape, by their first and by their last row."""
    groups = find_groups(execution)
    mark_virtual(groups, code, words, wanted)
    mark_constants(groups, execution)
    found = {}
    for group in groups:
        found[group.first] = group
        found[-group.last] = group
    return found


def find_groups(execution: Execution) -> list[Group]:
    """Gather the large elementwise rows that follow one another, and the full sums between them."""
    code: Any = execution.rows.code
    words: Any = execution.rows.words  # whose items are Python's numbers, a third of the time
    groups: list[Group] = []
    group: Group | None = None
    for row in execution.rows.large:
        opcode, out, w, _ = code[4 * row : 4 * row + 4]
        if row < execution.done or REGISTRY[opcode - MAP].host:
            continue
        if group is not None:
            join_sums(group, code, words, row)
        count, operands = row_elements(words, w), memory_operands(words, w)
        if group is None or group.last != row or group.count != count or not group.accepts(operands):
            group = Group(row, count)
            groups.append(group)
        group.add(opcode - MAP, out, operands, row_shape(words, w))
    for group in groups:
        join_sums(group, code, words, len(code) // 4)
    return groups


def join_sums(group: Group, code: Any, words: Any, stop: int) -> None:
    """Add the full sums that follow a group to it."""
    while group.last < stop and code[4 * group.last] == ADD:
        _, out, w, _ = code[4 * group.last : 4 * group.last + 4]
        if row_axes(words, w) != 1 or row_elements(words, w) != group.count or row_cleared(words, w) != 1:
            return
        operands = memory_operands(words, w)
        if operand_kinds(words, w)[0] != 2 or operands[0].kind != 1 or not group.accepts(operands):
            return
        group.add(SUM, out, operands)


def memory_operands(words: Any, w: int) -> list[Operand]:
    """Return what a row over an index space reads."""
    kinds, places = operand_kinds(words, w), row_operands(words, w)
    found = []
    for k in range(1, len(kinds)):
        space, address, steps = places[k]
        if kinds[k]:
            span = (address, address + (0 if kinds[k] == 2 else row_elements(words, w) - 1), steps, 0, 0)
        else:
            _, low, high = operand_span(words, w, k)
            span = (low, high, steps, w, operand_at(words, w, k))
        found.append(Operand(kinds[k], space, address, *span))
    return found


def mark_virtual(groups: list[Group], code: np.ndarray, words: np.ndarray, wanted: tuple[Any, ...]) -> None:
    """Decide which outputs need memory: those that rows of no or of another group read, and those wanted."""
    blocks = sorted((out, group.count, g, k) for g, group in enumerate(groups) for out, k in group.outputs.items())
    if not blocks:
        return
    starts = np.array([block[0] for block in blocks], np.int64)
    stops = starts + np.array([block[1] for block in blocks], np.int64)
    owner = np.array([block[2] for block in blocks], np.int64)
    row_owner = np.full(len(code), -1, np.int64)
    for g, group in enumerate(groups):
        row_owner[group.first : group.last] = g
    read = np.zeros(len(blocks), np.uint8)
    call("fused_reads_at", 0, (code, words, starts, stops, owner, row_owner, read))
    for value in wanted:
        addresses = value.address_view() if hasattr(value, "address_view") else value.address
        addresses = np.asarray(addresses, np.int64).reshape(-1)
        found = np.searchsorted(starts, addresses, side="right") - 1
        found, addresses = found[found >= 0], addresses[found >= 0]
        read[found[addresses < stops[found]]] = 1
    for flag, (_, _, g, k) in zip(read.tolist(), blocks, strict=True):
        if flag:
            groups[g].virtual[k] = False
    for group in groups:
        group.needed = not all(group.virtual) or sums_are_read(group, code, words, wanted)


def mark_constants(groups: list[Group], execution: Execution) -> None:
    """Note which scalars are numbers that the program gave: nobody asks for their cotangents."""
    constants = execution.rows.constants
    if groups and len(constants) < MANY_CONSTANTS:
        known = {(0, address) for address in constants.values()}
        for group in groups:
            group.constants = known


def sums_are_read(group: Group, code: np.ndarray, words: np.ndarray, wanted: tuple[Any, ...]) -> bool:
    """Whether the value of a group's sum is used: by a later row, or by the caller."""
    sums = [out for opcode, out, _ in group.rows if opcode == SUM]
    return bool(sums) and (
        len(code) > group.last or any(getattr(value, "address", None) in sums for value in wanted) or not wanted == ()
    )


# ---------------------------------------------------------------- running


def forward(execution: Execution, group: Group) -> None:
    """Compute what is needed of a group."""
    if not group.needed:
        return
    table, scalars, cotangents = group.table(execution)
    sums = run(execution, group, (table, scalars, cotangents), len(group.rows), False)
    for k, (opcode, out, _) in enumerate(group.rows):
        if opcode == SUM:
            execution.values[out] = total(sums[k])


def backward(execution: Execution, group: Group, bars: Cotangents) -> None:
    """Take back a group."""
    table, scalars, cotangents = group.table(execution, bars)
    for k, (opcode, out, _) in enumerate(group.rows):
        if opcode == SUM:
            table[k, OUT_BAR] = address_of(bars.arena) + out * execution.values.itemsize
    sums = run(execution, group, (table, scalars, cotangents), len(scalars), True)
    for (space, address), parts, asked in zip(group.scalars, sums, cotangents, strict=False):
        if asked:
            (bars.arena if space == 0 else bars.spaces[space])[address] += total(parts)


def run(
    execution: Execution, group: Group, tables: tuple[np.ndarray, np.ndarray, np.ndarray], rows: int, back: bool
) -> np.ndarray:
    """Run a group, each share with scratch of its own; return its sums, or the scalars' cotangents, by pieces."""
    dtype = execution.values.dtype
    table, scalars, _ = tables
    blocks = len(table) + len(scalars)
    size = (2 * blocks + 2 if back else blocks) * FUSED_BLOCK
    sums = np.full((rows, -(-group.count // FUSED_PIECE)), -0.0, dtype)
    alone = back and (group.shared or bool(table[table[:, OPCODE] == FETCH, X_BAR].any()))
    shares = 1 if alone else count_shares(group.count)
    scratch = take_memory(shares * size, dtype, False)
    make_ready(BLOCKS, dtype, {opcode for opcode in table[:, OPCODE].tolist() if opcode >= 0})
    words = np.frombuffer(execution.rows.words, np.int64)
    arrays = (block_kernels(dtype), words, *tables, sums, scratch)
    run_shares("fused_backward_at" if back else "fused_forward_at", dtype, shares, arrays, group.count)
    give_back(scratch)
    return sums
