"""The computational graph of a tape: which row reads what, as nodes and edges."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np

from numbad.geometry import reach
from numbad.ops import REGISTRY
from numbad.tape.layout import (
    ADD,
    CONTRACT,
    GATHER,
    GUARD,
    GUARD_VALUE,
    HOST,
    MAP,
    find_accumulations,
    gather_places,
    host_call,
    operand_place,
    places_read,
)
from numbad.tape.naming import Names, op_name

if TYPE_CHECKING:
    from numbad.tapes.tape import Tape

Key = tuple[str, int]  # ("input", k), ("number", k), ("array", k), ("space", k), ("row", k) or ("output", k)
ZERO: Key = ("number", -1)


@dataclasses.dataclass(frozen=True)
class Graph:
    """Nodes in an order in which each comes after those that it reads.

    Attributes
    ----------
    nodes : tuple of (str, int)
        What it is (input, number, array, space, row or output) and which. A row is numbered as in the tape;
        a number, array or space as in the tape's `numbers`, `loads` and `spaces`; number -1 is the zero.
    edges : tuple of (node, node)
        From what is read to what reads it. A pair may come twice: x * x reads x twice.
    """

    nodes: tuple[Key, ...]
    edges: tuple[tuple[Key, Key], ...]


def build_graph(tape: Tape) -> Graph:
    """Return the graph of a verified tape; constants that nothing reads are left out.

    A row that adds to the result of an earlier row reads that result, and whoever reads the result
    later reads the row that added to it last.
    """
    names = Names(tape)
    adds = find_accumulations(tape.code, tape.words)
    last: dict[Key, Key] = {}
    edges: list[tuple[Key, Key]] = []
    for row in range(len(tape)):
        node: Key = ("row", row)
        edges += [(last.get(source, source), node) for source in row_sources(tape, names, row)]
        if adds[row]:
            base = ("row", added_to(tape, names, row))
            edges.append((last.get(base, base), node))
            last[base] = node
    for k, slot in enumerate(tape.outputs):
        if slot.constant is None:
            found = block_sources(tape, names, slot.space, *reach(slot.address, slot.shape, slot.strides))
            edges += [(last.get(source, source), ("output", k)) for source in found]
    given = dict.fromkeys(source for source, _ in edges if source[0] not in ("row", "input"))
    nodes = [("input", k) for k in range(len(tape.inputs))] + list(given)
    nodes += [("row", row) for row in range(len(tape))] + [("output", k) for k in range(len(tape.outputs))]
    return Graph(tuple(nodes), tuple(edges))


def added_to(tape: Tape, names: Names, row: int) -> int:
    """Return the row that made the block to which another adds."""
    return names.writer(operand_place(tape.words, int(tape.code[row, 2]), 0)[1])


def row_sources(tape: Tape, names: Names, row: int) -> list[Key]:
    """Return what a row reads, in the order of its operands."""
    opcode, out, a, b = (int(field) for field in tape.code[row])
    if opcode == GATHER:
        return list(dict.fromkeys(source(names, place) for place in np.unique(gather_places(tape.words, a))))
    places = places_read(opcode, out, a, b, tape.words)
    if opcode < MAP:
        return [source(names, address) for _, address, _ in places[: REGISTRY[opcode].arity]]
    if opcode in (GUARD, GUARD_VALUE):
        return [source(names, address) for _, address, _ in places]
    return [key for place in places for key in block_sources(tape, names, *place)]


def source(names: Names, address: int) -> Key:
    """Return the node that an address of the arena belongs to."""
    kind, index, _ = names.find(int(address))
    return ZERO if address == 0 else (("input", "number", "array", "row")[kind], index)


def block_sources(tape: Tape, names: Names, space: int, first: int, last: int) -> list[Key]:
    """Return the nodes that some addresses of a space belong to."""
    if last < first:
        return []
    if space:
        slots = [k for k, slot in enumerate(tape.inputs) if slot.space == space]
        return [("input", slots[0]) if slots else ("space", space)]
    low = max(int(np.searchsorted(names.starts, first, side="right")) - 1, 0)
    high = int(np.searchsorted(names.starts, last, side="right"))
    blocks = [ZERO] if first == 0 else []
    return blocks + [source(names, int(start)) for start in names.starts[low:high] if start or not blocks]


def title(tape: Tape, names: Names, node: Key) -> str:
    """Return the words that stand for a node: an input's name, a constant's value, a row's op."""
    kind, index = node
    if kind == "input":
        return tape.inputs[index].name
    if kind == "number":
        return "0.0" if index < 0 else repr(float(tape.numbers[index, 1]))
    if kind == "array":
        return names.base(0, tape.loads[index][0])[0]
    if kind == "space":
        return names.base(index, 0)[0]
    if kind == "output":
        return "returns" if len(tape.outputs) == 1 else f"returns {index}"
    opcode = int(tape.code[index, 0])
    if opcode == HOST:
        return host_name(tape, index)
    return {ADD: "sum", CONTRACT: "sum of products", GUARD_VALUE: "guard"}.get(opcode, op_name(opcode))


def host_name(tape: Tape, row: int) -> str:
    """Return the name of the Python kernel of a host row."""
    host = tape.hosts[host_call(tape.words, int(tape.code[row, 2]))]
    return str(getattr(getattr(host, "op", host), "name", "host"))
