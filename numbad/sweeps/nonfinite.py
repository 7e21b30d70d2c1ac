"""Finding where a number that is not finite comes from: the row, its operands, and the user's line.

Values are all there after a forward sweep, so the rows are searched. Cotangents and tangents only ever grow worse,
for nothing makes a NaN or an infinity finite again by adding to it; so the first row is found by bisection over
sweeps that stop half way.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from numbad.errors import NonFiniteError, message
from numbad.ops.definition import REGISTRY
from numbad.tape.layout import ADD, CONTRACT, GUARD, GUARD_VALUE, HOST, MAP, host_call, places_read, write_span
from numbad.tape.naming import Names, op_name

if TYPE_CHECKING:
    from numbad.sweeps.execution import Cotangents, Execution

SHOWN = 3  # elements of an operand that are printed
CHOOSE = "keep the operands inside of the op's domain: choose them with np.where before the op, not its result after it"
ORIGINAL = "run the tape that this one was made of: it keeps the operands, which are overwritten here"
CLEAN = "look where that number comes from; np.isnan and np.where replace what is missing"


def check_values(execution: Execution, first: int, stop: int) -> None:
    """Raise a NonFiniteError if one of some rows has a value that is not finite.

    The first row is named that made such a value of finite operands, or, if there is none, the first that has one.
    """
    code, words = arrays(execution)
    found = -1
    for row in range(first, stop):
        if row_is_finite(execution, code, words, row):
            continue
        if overwrites(execution):
            low, high = results(code, words, row)
            what = f"row {row}: {row_name(execution, code, words, row)} is {write(execution.values[low : high + 1])}"
            complain(execution, row, what, ORIGINAL)
        bad = [k for k, values in enumerate(operands(execution, code, words, row)) if not np.isfinite(values).all()]
        if not bad:
            complain(execution, row, describe(execution, code, words, row))
        found = row if found < 0 else found
    if found >= 0:
        complain(execution, found, describe(execution, code, words, found, given=True), CLEAN)


def overwrites(execution: Execution) -> bool:
    """Whether results overwrite one another, so that a row's operands may be gone after it."""
    tape = execution.rows.tape
    return tape is not None and tape.forward_only


def row_is_finite(execution: Execution, code: np.ndarray, words: np.ndarray, row: int) -> bool:
    """Whether all results of a row are finite."""
    opcode = int(code[row, 0])
    if opcode < MAP:
        return bool(np.isfinite(execution.values[code[row, 1]]))
    if opcode in (GUARD, GUARD_VALUE):
        return True
    low, high = results(code, words, row)
    if opcode == HOST and raised(execution, words, int(code[row, 2]), high):
        return True  # the program went on without its results
    return bool(np.isfinite(execution.values[low : high + 1]).all())


def raised(execution: Execution, words: np.ndarray, w: int, flag: int) -> bool:
    """Whether a host row is an op that may raise, and did."""
    op = getattr(execution.rows.hosts[host_call(words, w)], "op", None)
    return bool(getattr(op, "raises", False)) and execution.values[flag] == 0.0


def check_sweep(execution: Execution, bars: Cotangents, again: Callable[[int, int], Cotangents], back: bool) -> None:
    """Raise a NonFiniteError if cotangents (or tangents) are not finite, with the row that made the first one.

    `again(start, stop)` sweeps anew over some rows: for cotangents from the end to `start`, for tangents up to `stop`.
    """
    if is_finite(bars):
        return
    rows = execution.done
    code, words = arrays(execution)
    what = "cotangent" if back else "tangent"
    if not is_finite(again(rows, rows) if back else again(0, 0)):
        raise NonFiniteError(message(f"the given {what} is not finite", "look where it comes from", where=False))
    low, high = 0, rows  # number of rows after which all is finite, and after which it is not
    while high - low > 1:
        middle = (low + high) // 2
        swept = again(rows - middle, rows) if back else again(0, middle)
        low, high = (middle, high) if is_finite(swept) else (low, middle)
    row = rows - high if back else high - 1
    made = f"{describe(execution, code, words, row)}; there its partial derivatives make a {what} that is not finite"
    if back:
        first, last = results(code, words, row)
        made += f" of {write(again(row + 1, rows).arena[first : last + 1])}"
    complain(execution, row, made)


def is_finite(bars: Cotangents) -> bool:
    """Whether all cotangents are finite."""
    return bool(np.isfinite(bars.arena).all()) and all(bool(np.isfinite(part).all()) for part in bars.spaces.values())


def arrays(execution: Execution) -> tuple[np.ndarray, np.ndarray]:
    """Return rows and words as arrays."""
    recorder = execution.rows
    words = np.frombuffer(recorder.words, np.int64) if len(recorder.words) else np.zeros(1, np.int64)
    return np.frombuffer(recorder.code, np.uint32).reshape(-1, 4), words


def results(code: np.ndarray, words: np.ndarray, row: int) -> tuple[int, int]:
    """Return the first and last address that a row writes."""
    opcode, out, w = (int(field) for field in code[row, :3])
    first, last = write_span(opcode, out, w, words)
    return int(first), int(last)


def operand_spans(code: np.ndarray, words: np.ndarray, row: int) -> list[tuple[int, int, int]]:
    """Return space, first and last element of each operand of a row."""
    opcode, out, a, b = (int(field) for field in code[row])
    found = places_read(opcode, out, a, b, words)
    return found[: REGISTRY[opcode].arity] if opcode < MAP else found


def operands(execution: Execution, code: np.ndarray, words: np.ndarray, row: int) -> list[np.ndarray]:
    """Return the values that a row reads, an array for each operand."""
    found = []
    for space, low, high in operand_spans(code, words, row):
        memory = execution.values if not space else execution.spaces[space]
        memory = memory.reshape(-1) if memory.flags.c_contiguous else memory.T.reshape(-1)
        found.append(memory[low : high + 1])
    return found


# ---------------------------------------------------------------- words


def describe(execution: Execution, code: np.ndarray, words: np.ndarray, row: int, given: bool = False) -> str:
    """Return what a row computed from what; `given` says that the operand was not finite to begin with."""
    opcode = int(code[row, 0])
    name = row_name(execution, code, words, row)
    values = operands(execution, code, words, row)
    low, high = results(code, words, row)
    result = execution.values[low : high + 1]
    element = first_bad(result)
    if opcode < 2 * MAP and result.size > 1 and element >= 0:
        values = [part[element : element + 1] if part.size == result.size else part for part in values]
        text = f"{name}({', '.join(write(part) for part in values)}) is {result[element]:g} in element {element}"
    else:
        text = f"{name}({', '.join(write(part) for part in values)}) is {write(result)}"
    text = f"row {row}: {text}"
    named = name_operands(execution, code, row)
    text += f", where the operands are {named}" if named else ""
    if not given:
        return text
    places = operand_spans(code, words, row)
    bad = next(k for k, part in enumerate(operands(execution, code, words, row)) if first_bad(part) >= 0)
    space, low, _ = places[bad]
    address = low + first_bad(operands(execution, code, words, row)[bad])
    return f"{write_source(execution, space, address)}; {text}"


def row_name(execution: Execution, code: np.ndarray, words: np.ndarray, row: int) -> str:
    """Return the name of what a row does."""
    opcode = int(code[row, 0])
    if opcode == HOST:
        host = execution.rows.hosts[host_call(words, int(code[row, 2]))]
        return getattr(getattr(host, "op", host), "name", "a Python kernel")
    return {ADD: "sum", CONTRACT: "sum of products"}.get(opcode, op_name(opcode))


def write_source(execution: Execution, space: int, address: int) -> str:
    """Say which input or constant was not finite to begin with."""
    rows = execution.rows
    tape = rows.tape
    memory = execution.values if not space else execution.spaces[space]
    memory = memory.reshape(-1) if memory.flags.c_contiguous else memory.T.reshape(-1)
    value = f"{memory[address]:g}"
    if tape is not None:
        return f"{Names(tape).element(address, space)} was {value} in the input already"
    if address in rows.constants.values() and not space:
        return f"a constant of the function is {value}"
    is_input = space in rows.input_spaces if space else True
    return f"{value} was in the {'input' if is_input else 'data of the function'} already"


def name_operands(execution: Execution, code: np.ndarray, row: int) -> str:
    """Return the names of a scalar row's operands, where a tape knows them."""
    tape = execution.rows.tape
    if tape is None or int(code[row, 0]) >= MAP:
        return ""
    names = Names(tape)
    arity = REGISTRY[int(code[row, 0])].arity
    return " and ".join(names.expression(int(address)) for address in code[row, 2 : 2 + arity])


def first_bad(values: np.ndarray) -> int:
    """Return the place of the first number that is not finite, or -1."""
    bad = np.flatnonzero(~np.isfinite(values))
    return int(bad[0]) if len(bad) else -1


def write(values: np.ndarray) -> str:
    """Write one number, or the first few of several."""
    shown = ", ".join(f"{value:g}" for value in values[:SHOWN])
    if values.size == 1:
        return shown
    return f"[{shown}{', ..' if values.size > SHOWN else ''}]"


def complain(execution: Execution, row: int, what: str, do: str = CHOOSE) -> None:
    """Raise a NonFiniteError with the user's statement of a row."""
    site = execution.rows.site(row)
    if site is None and execution.rows.tape is not None:
        do += "; record the tape within numbad.debug_nans() to have the line named"
    raise NonFiniteError(message(what, do, site, where=site is not None))
