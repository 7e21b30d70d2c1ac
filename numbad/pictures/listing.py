"""A tape as text: its rows with names, values, adjoints and the user's lines, and a summary of its ops."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import numpy as np

from numbad.errors import NumbadError, describe_site
from numbad.ops.definition import REGISTRY, Op
from numbad.pictures.costs import predict_costs, write_seconds
from numbad.pictures.graph import host_name
from numbad.pictures.iterations import describe_loops, fold_rows
from numbad.tape.layout import (
    ADD,
    CONTRACT,
    GATHER,
    GUARD,
    GUARD_VALUE,
    HOST,
    MAP,
    SCATTER,
    host_places,
    listed_count,
    row_cleared,
    row_elements,
    scatter_source,
)
from numbad.tape.naming import Names, count_results, op_name

if TYPE_CHECKING:
    from numbad.tapes.tape import Tape


def list_tape(tape: Tape, *points: Any, adjoints: bool = False, rows: int = 30) -> str:
    """Return the rows of a tape as a table.

    Without points the values are those at the point of the recording. Of loops in a longer tape first and last
    iteration are listed.
    """
    names = Names(tape)
    execution, bars, note = run_for_listing(tape, points, adjoints)
    table = tabulate_rows(tape, names, execution, bars, rows)
    lines = [repr(tape)[1:-1], *list_inputs(tape, execution, bars), align(table), list_outputs(tape, names, execution)]
    return "\n".join(lines + [note] * bool(note))


def tabulate_rows(tape: Tape, names: Names, execution: Any, bars: Any, rows: int) -> list[list[str]]:
    """Return a title and the cells of about as many rows as are wanted, without columns that are empty."""
    table = [["row", "result", "", "operation", "value", "adjoint", "where"]]
    for row in fold_rows(tape, rows):
        if isinstance(row, str):
            table.append(["...", row, "", "", "", "", ""])
            continue
        table.append(describe_row(tape, names, row, execution, bars))
    kept = [k for k in range(7) if k == 2 or any(line[k] for line in table[1:])]
    return [[line[k] for k in kept] for line in table]


def run_for_listing(tape: Tape, points: tuple[Any, ...], adjoints: bool) -> tuple[Any, Any, str]:
    """Run a tape for the values to print; return the execution, the adjoints, and why there are none."""
    if not points and len(tape.examples) != len(tape.inputs):
        return None, None, "no values: the tape has no point of a recording"
    try:
        execution, _ = tape.run(points or tape.rebuild_inputs(list(tape.examples)))
    except NumbadError as error:
        if points:
            raise
        return None, None, f"no values: {str(error).splitlines()[0]}"
    if not adjoints:
        return execution, None, ""
    output = tape.scalar_output()
    return execution, execution.backward([(output.address, 1.0)] if output.constant is None else []), ""


def describe_row(tape: Tape, names: Names, row: int, execution: Any, bars: Any) -> list[str]:
    """Return the cells of one row."""
    opcode, out = int(tape.code[row, 0]), int(tape.code[row, 1])
    site = tape.site(row)
    where = describe_site(site).split(", in ")[0] if site else ""
    if opcode in (GUARD, GUARD_VALUE):
        return [str(row), "", "", describe_operation(tape, names, row), "", "", where]
    count = count_results(tape, row)
    value = "" if execution is None else write_block(execution.values[out : out + count])
    adjoint = "" if bars is None else write_block(bars.arena[out : out + count])
    return [str(row), names.result(row), "=", describe_operation(tape, names, row), value, adjoint, where]


def describe_operation(tape: Tape, names: Names, row: int) -> str:
    """Return what a row does, with the names of its operands."""
    opcode, out, a, b = (int(field) for field in tape.code[row])
    words = tape.words
    if opcode < MAP:
        operands = [names.element(address) for address in (a, b)[: REGISTRY[opcode].arity]]
        return write_operation(REGISTRY[opcode], operands)
    if opcode == GUARD:
        return f"guard {names.element(a)} is {bool(out)}"
    if opcode == GUARD_VALUE:
        return f"guard {names.element(a)} is {names.element(out)}"
    if opcode in (GATHER, SCATTER):
        space, address, _ = (0, 0, 0) if opcode == GATHER else scatter_source(words, a)
        source = "" if opcode == GATHER else names.element(address, space) + ", .. to "
        return f"{op_name(opcode)} {source}{listed_count(words, a)} places"
    if opcode == HOST:
        operands = [names.base(space, address)[0] for space, address, _ in host_places(words, a)[0]]
        return f"{host_name(tape, row)} {', '.join(operands)}"
    count = REGISTRY[opcode - MAP].arity if opcode < 2 * MAP else {ADD: 1, CONTRACT: 2}[opcode]
    operands = [names.operand(a, 1 + k) for k in range(count)]
    if opcode < 2 * MAP:
        return write_operation(REGISTRY[opcode - MAP], operands)
    title = {ADD: describe_sum(tape, a), CONTRACT: "sum of products"}[opcode]
    return f"{title} {', '.join(operands)}" + ("" if row_cleared(words, a) else f" added to {names.operand(a, 0)}")


def describe_sum(tape: Tape, w: int) -> str:
    """Return what an ADD row amounts to: a sum, or a copy."""
    return "sum" if row_cleared(tape.words, w) < row_elements(tape.words, w) else "copy"


def write_operation(op: Op, operands: list[str]) -> str:
    """Write an op with its operands."""
    return op.write(operands) if op.arity == 2 else f"{op.name}({operands[0]})"


def write_block(values: np.ndarray) -> str:
    """Write one number, or some of many."""
    if values.size == 1:
        return f"{float(values[0]):.8g}"
    shown = [f"{float(v):.4g}" for v in (values if values.size <= 3 else (values[0], values[1], values[-1]))]
    if values.size > 3:
        shown.insert(2, "..")
    return f"[{', '.join(shown)}]" + (f" ({values.size})" if values.size > 3 else "")


def list_inputs(tape: Tape, execution: Any, bars: Any) -> list[str]:
    """Return a line for each input."""
    lines = []
    for slot in tape.inputs:
        shape = f" {slot.dtype} {slot.shape}" if slot.shape else ""
        line = f"  input {slot.name}{shape}"
        if execution is not None:
            memory = execution.values if not slot.space else flat(execution.spaces[slot.space])
            line += f" = {write_block(memory[slot.address : slot.address + slot.size])}"
        if bars is not None:
            memory = bars.arena if not slot.space else bars.spaces[slot.space]
            line += f", adjoint {write_block(memory[slot.address : slot.address + slot.size])}"
        lines.append(line)
    return lines


def flat(values: np.ndarray) -> np.ndarray:
    """Return the elements in memory order."""
    return values.reshape(-1) if values.flags.c_contiguous else values.T.reshape(-1)


def list_outputs(tape: Tape, names: Names, execution: Any) -> str:
    """Return the line of the results."""
    texts = []
    for slot in tape.outputs:
        if slot.constant is not None:
            texts.append(f"constant {slot.constant}")
        else:
            base = names.base(slot.space, slot.address)[0]
            texts.append(base if slot.shape else names.element(slot.address, slot.space))
    return f"  returns {', '.join(texts)}"


def align(table: list[list[str]]) -> str:
    """Return cells as lines with aligned columns."""
    widths = [max(len(line[k]) for line in table) for k in range(len(table[0]))]
    lines = []
    for line in table:
        cells = [cell.ljust(width) for cell, width in zip(line, widths, strict=True)]
        cells[0] = line[0].rjust(widths[0])
        lines.append("  " + "  ".join(cells).rstrip())
    return "\n".join(lines)


def summarise(tape: Tape) -> str:
    """Return rows and elements of each op, the bytes of a tape's parts, and the predicted cost of sweeps, as text."""
    tape.ensure_verified()
    rows: Counter[str] = Counter()
    elements: Counter[str] = Counter()
    opcodes = tape.code[:, 0]
    for opcode, count in zip(*np.unique(opcodes, return_counts=True), strict=True):
        if opcode < MAP:
            rows[op_name(int(opcode))] += int(count)
            elements[op_name(int(opcode))] += int(count)
            continue
        for row in np.flatnonzero(opcodes == opcode).tolist():
            name = f"host {host_name(tape, row)}" if opcode == HOST else op_name(int(opcode))
            rows[name] += 1
            elements[name] += count_results(tape, row)
    table = [["op", "rows", "elements"]]
    table += [[name, f"{count}", f"{elements[name]}"] for name, count in rows.most_common()]
    kept = sum(values.nbytes for values in tape.spaces if values is not None)
    arena = tape.size * tape.dtype.itemsize
    partials = 2 * len(tape) * tape.dtype.itemsize
    sizes = f"  rows {tape.code.nbytes:,} bytes, operand words {tape.words.nbytes:,}, arrays by reference {kept:,}"
    running = f"  a gradient needs {arena:,} for values, {partials:,} for partials, {arena:,} for adjoints"
    costs = ", ".join(f"{sweep} {write_seconds(time)}" for sweep, time in predict_costs(tape).items())
    predicted = f"  predicted time of the sweeps: {costs}"
    passes = [f"  {record}" for record in tape.passes]
    more = [*describe_loops(tape), *describe_sparse(tape), *passes]
    return "\n".join([repr(tape)[1:-1], align(table), sizes, running, predicted, *more])


def report(prepared: Any) -> str:
    """Return the pattern of a sparse derivative, how its entries are computed, and what the preparation took."""
    (height, width), entries = prepared.pattern.shape, prepared.pattern.entries
    taken = f"prepared in {write_seconds(prepared.seconds)}, {prepared.bytes():,} bytes"
    return f"{height} x {width}, {entries} entries, {prepared.describe()}; {taken}"


def describe_sparse(tape: Tape) -> list[str]:
    """Return a line for each sparse derivative that has been prepared: pattern, how it is computed, what it took."""
    found = []
    for second, title in ((False, "Jacobian"), (True, "Hessian")):
        prepared = tape.kept.get(("sparse", second))
        if prepared is not None:
            found.append(f"  sparse {title}: {report(prepared)}")
    return found
