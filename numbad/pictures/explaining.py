"""One row of a tape in words: what it computes, of what, where it was written, and who reads it."""

from __future__ import annotations

import operator
from typing import TYPE_CHECKING, Any

import numpy as np

from numbad.errors import describe_site
from numbad.geometry import reach
from numbad.ops import REGISTRY
from numbad.pictures.graph import Key, added_to, block_sources, host_name, row_sources, title
from numbad.pictures.listing import describe_operation, run_for_listing, write_block
from numbad.sweeps.python_rows import map_partials
from numbad.tape.layout import (
    ADD,
    CONTRACT,
    GATHER,
    GUARD,
    GUARD_VALUE,
    HOST,
    MAP,
    SCATTER,
    find_accumulations,
    host_call,
    row_cleared,
    row_elements,
    row_shape,
)
from numbad.tape.naming import Names, count_results, op_name

if TYPE_CHECKING:
    from numbad.tapes.tape import Tape

MOST_READERS = 8
MEANINGS = {
    ADD: "adds up the operand over {words}, into {count}",
    CONTRACT: "adds up products of two operands over {words}, into {count}: a product of matrices or tensors",
    GATHER: "collects {count} from a list of places",
    SCATTER: "adds elements onto places of {count} zeros; places may repeat",
    GUARD: "stops a later run where the condition is not {truth}, as it was when the tape was recorded",
    GUARD_VALUE: "stops a later run where the value is not what it was when the tape was recorded",
}


def explain_row(tape: Tape, row: int, *points: Any) -> str:
    """Return in words what a row computes; see `Tape.explain`."""
    tape.ensure_verified()
    place = operator.index(row)
    if not -len(tape) <= place < len(tape):
        raise IndexError(f"row {place} of a tape of {len(tape)} rows")
    place %= len(tape)
    names = Names(tape)
    execution, _, note = run_for_listing(tape, points, False)
    lines = [headline(tape, names, place), f"  {meaning(tape, place)}"]
    lines += describe_sources(tape, names, place, execution)
    if execution is not None and count_results(tape, place):
        lines.append(f"  value {block_text(execution, place, tape)}")
        lines += describe_partials(tape, names, place, execution)
    site = tape.site(place)
    lines.append(f"  at {describe_site(site)}" if site else "  its line was not noted: rows of numbers keep none")
    lines.append(f"  {describe_readers(tape, names, place)}")
    return "\n".join(lines + [f"  {note}"] * bool(note))


def headline(tape: Tape, names: Names, row: int) -> str:
    """Return the row as the listing writes it."""
    operation = describe_operation(tape, names, row)
    return f"row {row}: {operation if not count_results(tape, row) else f'{names.result(row)} = {operation}'}"


def meaning(tape: Tape, row: int) -> str:
    """Return what the row's opcode does: the first line of the op's docstring, and over how many elements."""
    opcode, out, w, _ = (int(field) for field in tape.code[row])
    count = elements_text(count_results(tape, row))
    if opcode < MAP:
        return f"{op_name(opcode)}: {first_line(REGISTRY[opcode])}"
    if opcode < 2 * MAP:
        return f"{op_name(opcode)}: {first_line(REGISTRY[opcode - MAP])} For each of {count}."
    if opcode == HOST:
        host = tape.hosts[host_call(tape.words, w)]
        shapes = [str(shape) for shape in getattr(host, "operand_shapes", ())]
        of = f" Of operands of the shapes {', '.join(shapes)}." if shapes else ""
        return f"{host_name(tape, row)}: {first_line(getattr(host, 'op', None))} A Python kernel.{of}"
    space = ""
    if opcode in (ADD, CONTRACT):
        space = " by ".join(str(n) for n in row_shape(tape.words, w)) + " places"
    text = MEANINGS[opcode].format(words=space, count=count, truth=bool(out))
    if opcode == ADD and row_cleared(tape.words, w) == row_elements(tape.words, w):
        text = f"copies {count}"
    return f"{op_name(opcode)}: {text}."


def first_line(op: Any) -> str:
    """Return the first line of an op's docstring."""
    return ((getattr(op, "__doc__", "") or "").strip().splitlines() or [""])[0]


def elements_text(count: int) -> str:
    """Write a number of elements."""
    return "one number" if count == 1 else f"{count} elements"


def block_text(execution: Any, row: int, tape: Tape) -> str:
    """Write the value of a row."""
    out = int(tape.code[row, 1])
    return write_block(execution.values[out : out + count_results(tape, row)])


def describe_sources(tape: Tape, names: Names, row: int, execution: Any) -> list[str]:
    """Return a line for each thing that the row reads, and where that comes from."""
    lines = []
    for node in dict.fromkeys(row_sources(tape, names, row)):
        kind, index = node
        if kind == "row":
            value = "" if execution is None else f" = {block_text(execution, index, tape)}"
            lines.append(
                f"  reads {names.result(index)} of row {index}, {describe_operation(tape, names, index)}{value}"
            )
        elif kind == "input":
            slot = tape.inputs[index]
            lines.append(f"  reads the input {slot.name}" + (f" of shape {slot.shape}" if slot.shape else ""))
        else:
            lines.append(f"  reads the constant {title(tape, names, node)}")
    return lines or ["  reads nothing"]


def describe_partials(tape: Tape, names: Names, row: int, execution: Any) -> list[str]:
    """Return a line for each partial derivative of an elementwise row: what it is, and what the adjoint sweep does."""
    opcode, _, w, _ = (int(field) for field in tape.code[row])
    if opcode >= 2 * MAP:
        return []
    if opcode < MAP:
        op, partials = REGISTRY[opcode], [np.array([part]) for part in execution.partials[row]]
        operands = [names.element(int(tape.code[row, 2 + k])) for k in range(op.arity)]
    else:
        op, partials = REGISTRY[opcode - MAP], list(map_partials(execution, tape.words, w, opcode - MAP))
        operands = [names.operand(w, 1 + k) for k in range(op.arity)]
    result = names.result(row)
    lines = []
    for operand, partial in zip(operands, partials, strict=False):
        text = write_block(np.broadcast_to(partial, np.shape(partial) or (1,)).reshape(-1))
        lines.append(
            f"  d{result}/d({operand}) = {text}: the adjoint of {operand} gets that times the adjoint of {result}"
        )
    return lines


def describe_readers(tape: Tape, names: Names, row: int) -> str:
    """Return who reads the row's result."""
    count = count_results(tape, row)
    if not count:
        return "has no result"
    rows = [f"row {index}" for index in find_readers(tape, names, row)]
    if len(rows) > MOST_READERS:
        rows = [*rows[:MOST_READERS], f"{len(rows) - MOST_READERS} more rows"]
    results = []
    for k, slot in enumerate(tape.outputs):
        reached = reach(slot.address, slot.shape, slot.strides)
        if slot.constant is None and ("row", row) in block_sources(tape, names, slot.space, *reached):
            results.append("the result" if len(tape.outputs) == 1 else f"result {k}")
    return f"read by {', '.join(rows + results)}" if rows or results else "read by nothing"


def find_readers(tape: Tape, names: Names, row: int) -> list[int]:
    """Return the rows that read a row's result, or add to it."""
    opcodes, first, second = tape.code[:, 0], tape.code[:, 2], tape.code[:, 3]
    low = int(tape.code[row, 1])
    high = low + count_results(tape, row)
    node: Key = ("row", row)
    found = (opcodes < MAP) & (((first >= low) & (first < high)) | ((second >= low) & (second < high)))
    for index in np.flatnonzero(opcodes >= MAP).tolist():
        found[index] = node in row_sources(tape, names, index)
    sums = np.flatnonzero(find_accumulations(tape.code, tape.words))
    found[[index for index in sums.tolist() if added_to(tape, names, index) == row]] = True
    return np.flatnonzero(found).tolist()
