"""The reference: a plain interpreter of tapes, which every other way of running one is compared with.

It reads the rows one after the other, in Python and NumPy, and does what ARCHITECTURE.md says of each kind. Nothing is
compiled, fused, blocked, run in parallel or kept for the next call; each element of an array row is read and written by
its address. So it is slow, and short enough to be believed.

There are three sweeps over the rows: `run` (values), `pushforward` (tangents, first row to last) and `pullback`
(cotangents, last row to first); each has one arm for each kind of row.

*Absent* is the number -0.0 of a tangent, a cotangent or a partial derivative: nothing has flowed there. Adding it
changes nothing, and its product with anything is absent. A zero that was computed is +0.0 and a number like others: its
product with infinity is NaN.
"""

from __future__ import annotations

import ast
import dataclasses
import functools
import inspect
from collections.abc import Iterator
from typing import Any

import numpy as np

from numbad.errors import BranchError, message
from numbad.ops import REGISTRY
from numbad.ops.definition import Op, body, names_of
from numbad.ops.host import as_tuple
from numbad.recording.hostcalls import HostCall, alone
from numbad.recording.structures import flatten, unflatten
from numbad.sweeps.python_rows import push_call
from numbad.tape.layout import (
    ADD,
    CONTRACT,
    GATHER,
    GUARD,
    GUARD_VALUE,
    HOST,
    MAP,
    SCATTER,
    gather_places,
    host_call,
    host_places,
    is_absent_sum,
    row_cleared,
    row_elements,
    row_operands,
    row_shape,
    scatter_block,
    scatter_places,
    scatter_source,
)
from numbad.tapes.slots import Input, Output
from numbad.tapes.tape import Tape

ABSENT = -0.0
AT_ONCE = 1 << 20  # places of an index space whose addresses are made at a time
MOST_RESULTS = 5000  # of a Python kernel whose tangent is found from its pullback, a result at a time

Places = tuple[int, Any]  # a space, and addresses in it


@dataclasses.dataclass(frozen=True)
class State:
    """A tape at one point. Memory is in double precision; the values of a float32 tape are rounded when they are read.

    Attributes
    ----------
    values : list of ndarray
        The numbers of each space, the arena first, flat and in memory order.
    varies : list of ndarray of bool
        Which of them depend on the inputs: the others are constants, whose zeros are plain.
    """

    tape: Tape
    values: list[np.ndarray]
    varies: list[np.ndarray]


# ---------------------------------------------------------------- the functions to call


def run(tape: Tape, *points: Any) -> Any:
    """Return the value of a tape at a point.

    Examples
    --------
    >>> import numbad
    >>> from numbad.tapes import reference
    >>> reference.run(numbad.record(lambda x, y: x * y + 1.0, 2.0, 5.0), 3.0, 4.0)
    13.0
    """
    state = evaluate(tape, points)
    return rebuild(tape, [read_value(state, slot) for slot in tape.outputs])


def gradient(tape: Tape, *points: Any) -> Any:
    """Return the gradient of a tape of one number: an array for one argument, a tuple for several.

    Examples
    --------
    >>> import numbad
    >>> from numbad.tapes import reference
    >>> reference.gradient(numbad.record(lambda x, y: x * y + 1.0, 2.0, 5.0), 3.0, 4.0)
    (4.0, 3.0)
    """
    tape.scalar_output()
    found = pullback(tape, points, 1.0)
    return found[0] if len(found) == 1 else found


def pullback(tape: Tape, points: tuple[Any, ...], cotangent: Any) -> tuple[Any, ...]:
    """Return the inputs' cotangents for the result's, a tuple with one entry for each argument."""
    state = evaluate(tape, points)
    bars = start(state)
    for slot, seed in zip(tape.outputs, leaves_of(cotangent), strict=True):
        if slot.constant is None:
            add(bars, (slot.space, addresses(slot)), seeds(seed, slot.shape))
    for row in range(len(tape) - 1, -1, -1):
        row_back(state, bars, row)
    return tape.rebuild_inputs([read_input(bars, slot) for slot in tape.inputs])


def pushforward(tape: Tape, points: tuple[Any, ...], tangents: tuple[Any, ...]) -> Any:
    """Return the result's tangent for the inputs', in the structure of the result."""
    state = evaluate(tape, points)
    dots = start(state)
    given = [leaf for tangent in tangents for leaf in leaves_of(tangent)]
    for slot, seed in zip(tape.inputs, given, strict=True):
        add(dots, input_places(slot), seeds(seed, slot.shape))
    for row in range(len(tape)):
        row_forward(state, dots, row)
    return rebuild(tape, [read_tangent(dots, slot, tape.dtype) for slot in tape.outputs])


# ---------------------------------------------------------------- values


def evaluate(tape: Tape, points: tuple[Any, ...]) -> State:
    """Compute the value of every row at a point."""
    tape.ensure_verified()
    values = [np.zeros(tape.size)]
    for memory in tape.spaces[1:]:
        values.append(np.empty(0) if memory is None else np.ravel(memory, "K").astype(np.float64))
    for address, number in tape.numbers:
        values[0][int(address)] = number
    for address, block in tape.loads:
        values[0][address : address + block.size] = block.reshape(-1)
    for slot, given in zip(tape.inputs, tape.flatten_inputs(points), strict=True):
        if slot.space:
            values[slot.space] = np.empty(slot.size)
        space, places = input_places(slot)
        values[space][places] = slot.accept(given)
    state = State(tape, values, [np.zeros(memory.size, bool) for memory in values])
    for slot in tape.inputs:
        space, places = input_places(slot)
        state.varies[space][places] = True
    for row in range(len(tape)):
        row_values(state, row)
    return state


def row_values(state: State, row: int) -> None:
    """Compute the values of one row, and note whether they depend on the inputs."""
    opcode, out, a, b = state.tape.code[row].tolist()
    words, arena, varies = state.tape.words, state.values[0], state.varies[0]
    if opcode < MAP:  # an op of numbers, in double precision
        op = REGISTRY[opcode]
        arena[out] = op.evaluate(*look(state, (0, np.array([a, b])))[: op.arity].astype(np.float64))
        varies[out] = varies[[a, b][: op.arity]].any() and op.name != "stop_gradient"
    elif opcode < 2 * MAP:  # the op over an index space
        op = REGISTRY[opcode - MAP]
        for z, *operands in walk(words, a, 1 + op.arity):
            write(arena, z, op.evaluate(*[look(state, part) for part in operands]))
            varies[z[1]] = depends(state, operands) & (op.name != "stop_gradient")
    elif opcode == ADD:  # out[...] += a[...]; what is absent (-0.0) stays so in sums and copies
        if row_cleared(words, a):
            arena[out : out + row_cleared(words, a)] = ABSENT if is_absent_sum(words, a) else 0.0
            for target, _ in walk(words, a, 2):
                write(arena, target, ABSENT)
        for target, source in walk(words, a, 2):
            add(state.values, target, look(state, source))
            varies[target[1]] |= depends(state, [source])
    elif opcode == CONTRACT:  # out[...] += a[...] * b[...]
        arena[out : out + row_cleared(words, a)] = 0.0
        for target, x, y in walk(words, a, 3):
            add(state.values, target, look(state, x) * look(state, y))
            varies[target[1]] |= depends(state, [x, y])
    elif opcode == GATHER:  # out[k] = arena[places[k]]
        places = gather_places(words, a)
        arena[out : out + places.size] = look(state, (0, places))
        varies[out : out + places.size] = varies[places]
    elif opcode == SCATTER:  # out = 0, then out[places[k]] += source[k]
        size, target, source = scattered(words, a, out)
        arena[out : out + size] = 0.0
        write(arena, target, ABSENT)
        add(state.values, target, look(state, source))
        np.logical_or.at(varies, target[1], depends(state, [source]))
    elif opcode == HOST:  # a Python kernel
        call, inputs, outputs = host_parts(state.tape, a)
        with np.errstate(all="ignore"), alone():
            found = call.op.primal(*host_operands(state, call, inputs), **call.settings)
        for part, result in zip(outputs, as_tuple(found), strict=True):
            write(arena, part, np.asarray(result).reshape(-1))
            varies[part[1]] = any(depends(state, [operand]).any() for operand in inputs)
    elif opcode == GUARD:  # a truth that the path depends on
        if (arena[a] != 0.0) != bool(out):
            raise_branch(row, f"the truth {bool(out)}", bool(arena[a]))
    elif opcode == GUARD_VALUE:  # a value that the path depends on
        found, recorded = look(state, (0, np.array([a, out])))
        if not (found == recorded or (np.isnan(found) and np.isnan(recorded))):
            raise_branch(row, f"the value {recorded}", found)


def raise_branch(row: int, recorded: str, found: Any) -> None:
    """Raise the error of a guard that does not hold."""
    raise BranchError(
        message(f"row {row} guards {recorded}; it is {found} here", "record the function at this point", where=False)
    )


# ---------------------------------------------------------------- cotangents


def row_back(state: State, bars: list[Any], row: int) -> None:
    """Add to the cotangents of a row's operands: each partial derivative times the cotangent of the result."""
    opcode, out, a, b = state.tape.code[row].tolist()
    words = state.tape.words
    if opcode < MAP:
        op = REGISTRY[opcode]
        scalars = [(0, np.array([address])) for address in (out, a, b)][: 1 + op.arity]
        map_back(state, bars, op, scalars)
    elif opcode < 2 * MAP:
        op = REGISTRY[opcode - MAP]
        for parts in walk(words, a, 1 + op.arity):
            map_back(state, bars, op, parts)
    elif opcode == ADD:
        for target, source in walk(words, a, 2):
            add(bars, source, read(bars, target))
    elif opcode == CONTRACT:
        for target, x, y in walk(words, a, 3):
            bar = read(bars, target)
            add(bars, x, times(factor(state, y), bar))
            add(bars, y, times(factor(state, x), bar))
    elif opcode == GATHER:
        places = gather_places(words, a)
        add(bars, (0, places), bars[0][out : out + places.size])
    elif opcode == SCATTER:
        _, target, source = scattered(words, a, out)
        add(bars, source, read(bars, target))
    elif opcode == HOST:
        call, inputs, outputs = host_parts(state.tape, a)
        given = [read(bars, part) for part in outputs]
        for part, addend in zip(inputs, host_pull(state, call, inputs, outputs, given), strict=True):
            add(bars, part, addend)


def map_back(state: State, bars: list[Any], op: Op, parts: list[Places]) -> None:
    """Take an op back: of numbers, or over a piece of an index space."""
    bar = read(bars, parts[0])
    for part, partial in zip(parts[1:], partials(state, op, parts), strict=True):
        add(bars, part, times(partial, bar))


# ---------------------------------------------------------------- tangents


def row_forward(state: State, dots: list[Any], row: int) -> None:
    """Compute the tangents of a row's results: the sum of each partial derivative times the tangent of its operand."""
    opcode, out, a, b = state.tape.code[row].tolist()
    words = state.tape.words
    if opcode < MAP:
        op = REGISTRY[opcode]
        scalars = [(0, np.array([address])) for address in (out, a, b)][: 1 + op.arity]
        map_forward(state, dots, op, scalars)
    elif opcode < 2 * MAP:
        op = REGISTRY[opcode - MAP]
        for parts in walk(words, a, 1 + op.arity):
            map_forward(state, dots, op, parts)
    elif opcode == ADD:
        dots[0][out : out + row_cleared(words, a)] = ABSENT
        for target, source in walk(words, a, 2):
            add(dots, target, read(dots, source))
    elif opcode == CONTRACT:
        dots[0][out : out + row_cleared(words, a)] = ABSENT
        for target, x, y in walk(words, a, 3):
            add(dots, target, times(factor(state, y), read(dots, x)))
            add(dots, target, times(factor(state, x), read(dots, y)))
    elif opcode == GATHER:
        places = gather_places(words, a)
        dots[0][out : out + places.size] = dots[0][places]
    elif opcode == SCATTER:
        size, target, source = scattered(words, a, out)
        dots[0][out : out + size] = ABSENT
        add(dots, target, read(dots, source))
    elif opcode == HOST:
        call, inputs, outputs = host_parts(state.tape, a)
        given = [read(dots, part) for part in inputs]
        for part, dot in zip(outputs, host_push(state, call, inputs, outputs, given), strict=True):
            write(dots[0], part, dot)


def map_forward(state: State, dots: list[Any], op: Op, parts: list[Places]) -> None:
    """Push tangents through an op: of numbers, or over a piece of an index space."""
    total = np.full(parts[0][1].size, ABSENT)
    for part, partial in zip(parts[1:], partials(state, op, parts), strict=True):
        total = total + times(partial, read(dots, part))
    write(dots[0], parts[0], total)


# ---------------------------------------------------------------- partial derivatives and absence


def absent(values: Any) -> Any:
    """Whether numbers are absent: -0.0, to the bit."""
    return (values == 0.0) & np.signbit(values)


def times(partial: Any, bar: Any) -> Any:
    """Multiply: absent where either factor is, a computed zero is +0.0."""
    with np.errstate(all="ignore"):
        return np.where(absent(partial) | absent(bar), ABSENT, partial * bar + 0.0)


def factor(state: State, part: Places) -> Any:
    """Return an operand as the partial of a product: a zero that no input reaches is absent."""
    values = look(state, part)
    return np.where((values == 0.0) & ~depends(state, [part]), ABSENT, values + 0.0)


def partials(state: State, op: Op, parts: list[Places]) -> list[Any]:
    """Return the partial derivatives of an op: the text of its block, run on the values at the addresses of its parts.

    The partials of a product are its factors, and those of a flat op are absent. In the text of others a zero that
    stands alone, or as a choice of `where`, says absent; each other expression is computed.
    """
    if not op.smooth:
        return [np.float64(ABSENT)] * op.arity
    if op.name in ("multiply", "scale"):
        return [factor(state, parts[2]), factor(state, parts[1])]
    given = dict(zip("zxy", (look(state, part) for part in parts), strict=False))
    with np.errstate(all="ignore"):
        return list(rule(op)(*[given[name] for name in names_of(op.partials_function)]))


@functools.cache
def rule(op: Op) -> Any:
    """Return an op's partials as a function that gives a tuple, in which what is computed is never -0.0."""
    function = op.partials_function
    try:
        assignments, value = body(function)
    except (OSError, SyntaxError, TypeError):  # a rule of the user's whose text is not at hand says nothing of absence
        return lambda *given: tuple(part + 0.0 for part in as_tuple(function(*given)))
    parts = value.elts if isinstance(value, ast.Tuple) else [value]
    result = ast.Return(ast.Tuple([settle(part) for part in parts], ast.Load()))
    text: Any = ast.parse(f"def partials({', '.join(names_of(function))}): pass")
    text.body[0].body = [*assignments, result]
    names = {**function.__globals__, **inspect.getclosurevars(function).nonlocals}
    exec(compile(ast.fix_missing_locations(text), f"<partials of {op.name}>", "exec"), names)
    return names["partials"]


def settle(part: ast.expr) -> ast.expr:
    """Rewrite the expression of a partial: ABSENT is absent, a cotangent stays as it is, a computed zero is +0.0."""
    if isinstance(part, ast.Name) and part.id == "ABSENT":
        return part
    if isinstance(part, ast.Call) and isinstance(part.func, ast.Name) and part.func.id == "as_is":
        return part
    if isinstance(part, ast.Call) and isinstance(part.func, ast.Name) and part.func.id == "where":
        condition, *choices = part.args
        return ast.Call(part.func, [condition, *(settle(choice) for choice in choices)], [])
    number = part.operand if isinstance(part, ast.UnaryOp) else part
    if isinstance(number, ast.Constant) and number.value == 0.0:
        return ast.Constant(ABSENT)
    return ast.BinOp(part, ast.Add(), ast.Constant(0.0))


# ---------------------------------------------------------------- addresses


def walk(words: np.ndarray, w: int, operands: int) -> Iterator[list[Places]]:
    """Yield the places of the operands of a MAP, ADD or CONTRACT row, a piece of its index space after the other."""
    elements, shape = int(row_elements(words, w)), row_shape(words, w)
    for first in range(0, elements, AT_ONCE):
        index = np.unravel_index(np.arange(first, min(first + AT_ONCE, elements)), shape)
        parts = []
        for space, address, strides in row_operands(words, w)[:operands]:
            steps = [stride * place for stride, place in zip(strides, index, strict=True)]
            parts.append((space, address + sum(steps)))
        yield parts


def scattered(words: np.ndarray, w: int, out: int) -> tuple[int, Places, Places]:
    """Return the size of a SCATTER row's block, where it adds, and what."""
    space, address, count = scatter_source(words, w)
    return int(scatter_block(words, w)), (0, out + scatter_places(words, w)), (space, address + np.arange(count))


def input_places(slot: Input) -> Places:
    """Return where an input goes, in its shape: addresses follow one another in its memory order."""
    return slot.space, slot.address + np.arange(slot.size).reshape(slot.shape, order=slot.order)  # type: ignore[call-overload]


def addresses(slot: Output) -> np.ndarray:
    """Return the addresses of an output, in its shape."""
    places = np.full(slot.shape, slot.address)
    for axis, stride in enumerate(slot.strides):
        shape = [1] * len(slot.shape)
        shape[axis] = -1
        places = places + stride * np.arange(slot.shape[axis]).reshape(shape)
    return places


def read(spaces: list[Any], part: Places) -> Any:
    """Return the numbers at some places; absent ones for a constant, which has neither tangents nor cotangents."""
    space, places = part
    return np.full(np.shape(places), ABSENT) if spaces[space] is None else spaces[space][places]


def look(state: State, part: Places) -> Any:
    """Return values at some places, in the tape's precision."""
    with np.errstate(all="ignore"):
        return state.values[part[0]][part[1]].astype(state.tape.dtype)


def write(arena: np.ndarray, part: Places, values: Any) -> None:
    """Put numbers at some places of the arena."""
    with np.errstate(all="ignore"):
        arena[part[1]] = values


def add(spaces: list[Any], part: Places, values: Any) -> None:
    """Add numbers at some places, as often as a place is named; a constant takes none."""
    space, places = part
    if spaces[space] is not None:
        with np.errstate(all="ignore"):
            np.add.at(spaces[space], places, values)


def depends(state: State, parts: list[Places]) -> Any:
    """Whether one of some operands depends on the inputs, at each place."""
    found: Any = False
    for space, places in parts:
        found = found | state.varies[space][places]
    return found


def start(state: State) -> list[Any]:
    """Return cotangents (or tangents) of each space before a sweep, all absent; None for large constants."""
    inputs = {slot.space for slot in state.tape.inputs} | {0}
    return [np.full(part.size, ABSENT) if k in inputs else None for k, part in enumerate(state.values)]


# ---------------------------------------------------------------- Python kernels


def host_parts(tape: Tape, w: int) -> tuple[HostCall, list[Places], list[Places]]:
    """Return a host row's kernel, and the places of its operands and results."""
    read, made = ([(space, first + np.arange(n)) for space, first, n in part] for part in host_places(tape.words, w))
    return tape.hosts[host_call(tape.words, w)], read, made


def host_operands(state: State, call: HostCall, inputs: list[Places]) -> list[Any]:
    """Return the operands of a Python kernel, in their shapes."""
    return call.shaped([look(state, part) for part in inputs], call.operand_shapes)


def host_pull(
    state: State, call: HostCall, inputs: list[Places], outputs: list[Places], bars: list[np.ndarray]
) -> list[np.ndarray]:
    """Return the cotangents of a kernel's operands for those of its results: absent if all of these are."""
    if all(absent(bar).all() for bar in bars):
        return [np.full(part[1].size, ABSENT) for part in inputs]
    results = call.shaped([look(state, part) for part in outputs], call.result_shapes)
    with np.errstate(all="ignore"), alone():
        found = call.pull(call.shaped(bars, call.result_shapes), results, host_operands(state, call, inputs))
    return [
        np.full(part[1].size, ABSENT) if bar is None else np.asarray(bar).reshape(-1)
        for part, bar in zip(inputs, found, strict=True)
    ]


def host_push(
    state: State, call: HostCall, inputs: list[Places], outputs: list[Places], dots: list[np.ndarray]
) -> list[np.ndarray]:
    """Return the tangents of a kernel's results: for each the cotangents of the operands times their tangents.

    A kernel with very many results is asked for its own tangent rule instead.
    """
    found = [np.full(part[1].size, ABSENT) for part in outputs]
    if all(absent(dot).all() for dot in dots):
        return found
    if sum(part.size for part in found) > MOST_RESULTS:
        operands, results = ([look(state, part) for part in parts] for parts in (inputs, outputs))
        push_call(call, operands, results, dots, found)
        return found
    for part in found:
        for k in range(part.size):
            units = [np.full(other.size, ABSENT, state.tape.dtype) for other in found]
            units[[other is part for other in found].index(True)][k] = 1.0
            for bar, dot in zip(host_pull(state, call, inputs, outputs, units), dots, strict=True):
                part[k] += np.sum(times(bar, dot))
    return found


# ---------------------------------------------------------------- arguments and results


def leaves_of(tree: Any) -> list[Any]:
    """Return the numbers and arrays of a tree."""
    return flatten(tree)[0]


def seeds(given: Any, shape: tuple[int, ...]) -> np.ndarray:
    """Return a tangent or cotangent that the user gives: its zeros are plain, so absent."""
    values = np.broadcast_to(np.asarray(given, np.float64), shape)
    return np.where(values == 0.0, ABSENT, values)


def rebuild(tape: Tape, leaves: list[Any]) -> Any:
    """Give the leaves of the result their structure."""
    return unflatten(tape.output_tree, leaves)


def shown(found: np.ndarray) -> Any:
    """Return a result as NumPy holds it: a float for a number in double precision, zeros without a sign."""
    found = found + 0.0
    return found if found.shape else float(found) if found.dtype == np.float64 else found[()]


def read_value(state: State, slot: Output) -> Any:
    """Return the value of an output."""
    if slot.constant is not None:
        return slot.constant
    found = look(state, (slot.space, addresses(slot)))
    found = found != 0.0 if slot.boolean else found
    return found if found.shape else float(found) if found.dtype == np.float64 else found[()]


def read_tangent(dots: list[Any], slot: Output, dtype: np.dtype) -> Any:
    """Return the tangent of an output."""
    if slot.constant is not None:
        return np.zeros(slot.shape, dtype)
    return shown(np.asarray(read(dots, (slot.space, addresses(slot))), dtype))


def read_input(bars: list[Any], slot: Input) -> Any:
    """Return the cotangent of an input, in its own dtype."""
    return shown(read(bars, input_places(slot)).astype(slot.dtype))
