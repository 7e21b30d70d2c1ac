"""Rows that the compiled sweeps leave to Python: large arrays in parallel, matrix products by BLAS, Python kernels."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from numbad.errors import describe_site
from numbad.geometry import overlaps
from numbad.ops.definition import REGISTRY, absent
from numbad.ops.host import HostCall
from numbad.tape.layout import ADD, CONTRACT, GUARD, GUARD_VALUE, HOST, MAP

if TYPE_CHECKING:
    from numbad.sweeps.execution import Cotangents, Execution


def forward(execution: Execution, code: np.ndarray, words: Any, row: int) -> int:
    """Compute a row; return the next."""
    opcode = int(code[row, 0])
    if opcode < MAP:
        scalar_forward(execution, code, row, opcode)
    elif opcode < 2 * MAP:
        if REGISTRY[opcode - MAP].host:
            map_forward(execution, words, int(code[row, 2]), opcode - MAP)
        else:
            large().map_forward(execution, words, int(code[row, 2]), opcode - MAP)
    elif opcode == ADD:
        large().add_forward(execution, code, words, row)
    elif opcode == CONTRACT:
        matrix().contract_forward(execution, code, words, row)
    elif opcode in (GUARD, GUARD_VALUE):
        from numbad.sweeps.branch_error import raise_branch

        raise_branch(execution, row)
    else:
        with naming_site(execution, row):
            host_forward(execution, words, int(code[row, 2]))
    return row + 1


def backward(execution: Execution, code: np.ndarray, words: Any, row: int, bars: Cotangents) -> int:
    """Take a row back; return it."""
    opcode = int(code[row, 0])
    if opcode < MAP:
        raise AssertionError("scalar rows go back in the compiled sweep")
    if opcode < 2 * MAP:
        if REGISTRY[opcode - MAP].host:
            map_backward(execution, words, int(code[row, 2]), opcode - MAP, bars)
        else:
            large().map_backward(execution, words, int(code[row, 2]), opcode - MAP, bars)
    elif opcode == ADD:
        large().add_backward(execution, code, words, row, bars)
    elif opcode == CONTRACT:
        matrix().contract_backward(execution, code, words, row, bars)
    elif opcode == HOST:
        with naming_site(execution, row):
            host_backward(execution, words, int(code[row, 2]), bars)
    return row


def tangent(execution: Execution, code: np.ndarray, words: Any, row: int, dots: Cotangents) -> int:
    """Push tangents through a row; return the next."""
    opcode = int(code[row, 0])
    if MAP <= opcode < 2 * MAP:
        map_tangent(execution, words, int(code[row, 2]), opcode - MAP, dots)
    elif opcode == CONTRACT:
        matrix().contract_tangent(execution, code, words, row, dots)
    elif opcode == HOST:
        with naming_site(execution, row):
            host_tangent(execution, words, int(code[row, 2]), dots)
    return row + 1


@contextlib.contextmanager
def naming_site(execution: Execution, row: int) -> Iterator[None]:
    """Add the user's statement to an error that a Python kernel raises."""
    try:
        yield
    except Exception as error:
        sites = getattr(execution.recorder, "sites", None)  # a tape that is run again keeps them elsewhere
        site = sites.get(row) if isinstance(sites, dict) else None
        if site is not None:
            error.add_note(f"  recorded at {describe_site(site)}")
        raise


def large() -> Any:
    """Import the parallel kernels."""
    from numbad.sweeps import large_rows

    return large_rows


def matrix() -> Any:
    """Import the matrix path."""
    from numbad.sweeps import matrix_rows as matrix

    return matrix


# ---------------------------------------------------------------- operands as NumPy arrays


def operand(spaces: Any, words: Any, w: int, index: int) -> np.ndarray:
    """Return an operand of a MAP, ADD or CONTRACT row as a NumPy view over the row's index space."""
    ndim = int(words[w + 2])
    d = w + 4 + ndim + index * (3 + ndim)
    shape = tuple(words[w + 4 : w + 4 + ndim].tolist())
    memory = spaces(int(words[d + 1]))
    strides = tuple(memory.itemsize * s for s in words[d + 3 : d + 3 + ndim].tolist())
    first = int(words[d + 2])
    if any(s < 0 for s in strides) or not memory.size:
        return np.lib.stride_tricks.as_strided(memory[first:], shape, strides)
    return np.ndarray(shape, memory.dtype, memory, first * memory.itemsize, strides)


def primal_spaces(execution: Execution) -> Any:
    """Return a function that gives the memory of a space, flat."""
    return lambda space: flat(execution.values if space == 0 else execution.spaces[space])


def bar_spaces(bars: Cotangents) -> Any:
    """Return a function that gives the cotangents of a space, flat; None for constants."""
    return lambda space: bars.arena if space == 0 else bars.spaces.get(space)


def flat(values: np.ndarray) -> np.ndarray:
    """Return the elements in memory order, as a view."""
    return values.reshape(-1) if values.flags.c_contiguous else values.T.reshape(-1)


def space_of(words: Any, w: int, index: int) -> int:
    """Return the space of an operand."""
    ndim = int(words[w + 2])
    return int(words[w + 4 + ndim + index * (3 + ndim) + 1])


def times(partial: Any, bar: np.ndarray) -> np.ndarray:
    """Multiply a partial by a cotangent: absent (-0.0) if either is."""
    with np.errstate(all="ignore"):
        return np.where(absent(partial) | absent(bar), -0.0, partial * bar + 0.0)


def add_broadcast(target: np.ndarray, addend: np.ndarray) -> None:
    """Add to a view, of which several elements may be one: axes of stride 0, windows that overlap.

    NumPy's `target += addend` keeps one of the addends of such an element. Every addition to memory that a view names
    goes through here.
    """
    axes = tuple(k for k, (s, n) in enumerate(zip(target.strides, target.shape, strict=True)) if s == 0 and n > 1)
    if axes:
        addend = np.add.reduce(addend, axis=axes, keepdims=True, initial=-0.0)  # absent where all are
        target = target[tuple(slice(0, 1) if k in axes else slice(None) for k in range(target.ndim))]
    if overlaps(target.shape, target.strides):
        axis = min((n, k) for k, n in enumerate(target.shape) if n > 1)[1]
        for part, more in zip(np.moveaxis(target, axis, 0), np.moveaxis(addend, axis, 0), strict=True):
            add_broadcast(part, more)
    else:
        target += addend


# ---------------------------------------------------------------- elementwise ops by SciPy


def scalar_forward(execution: Execution, code: np.ndarray, row: int, opcode: int) -> None:
    """Compute a scalar row and its partials."""
    op = REGISTRY[opcode]
    values = execution.values
    x, y = np.float64(values[code[row, 2]]), np.float64(values[code[row, 3]])
    z = np.float64(op.evaluate(*(x, y)[: op.arity]))
    values[code[row, 1]] = z
    execution.partials[row] = -0.0
    with np.errstate(all="ignore"):
        for k, partial in enumerate(op.number_partials(x, y, z)):
            execution.partials[row, k] = partial


def map_forward(execution: Execution, words: Any, w: int, opcode: int) -> None:
    """Compute an array row of a host op."""
    op = REGISTRY[opcode]
    get = primal_spaces(execution)
    operand(get, words, w, 0)[...] = op.evaluate(*(operand(get, words, w, 1 + k) for k in range(op.arity)))


def map_partials(execution: Execution, words: Any, w: int, opcode: int) -> tuple[Any, ...]:
    """Return the partials of an array row."""
    op = REGISTRY[opcode]
    get = primal_spaces(execution)
    x = operand(get, words, w, 1)
    y = operand(get, words, w, 2) if op.arity == 2 else None
    with np.errstate(all="ignore"):
        return op.number_partials(x, y, operand(get, words, w, 0))


def map_backward(execution: Execution, words: Any, w: int, opcode: int, bars: Cotangents) -> None:
    """Take back an array row of a host op."""
    get = bar_spaces(bars)
    bar = operand(get, words, w, 0)
    if matrix().is_absent(bar):
        return
    for k, partial in enumerate(map_partials(execution, words, w, opcode)):
        if get(space_of(words, w, 1 + k)) is not None:
            add_broadcast(operand(get, words, w, 1 + k), times(partial, bar))


def map_tangent(execution: Execution, words: Any, w: int, opcode: int, dots: Cotangents) -> None:
    """Push tangents through an array row of a host op."""
    get = bar_spaces(dots)
    out = operand(get, words, w, 0)
    out[...] = -0.0
    for k, partial in enumerate(map_partials(execution, words, w, opcode)):
        if get(space_of(words, w, 1 + k)) is not None:
            out += times(partial, operand(get, words, w, 1 + k))


# ---------------------------------------------------------------- Python kernels


def host_operands(spaces: Any, words: Any, w: int) -> tuple[Any, list[Any], list[Any]]:
    """Return the position of the host, and its operands and results as flat views (None for constants' bars)."""
    inputs, outputs = int(words[w + 2]), int(words[w + 3])
    parts = []
    for k in range(inputs + outputs):
        space, address, count = words[w + 4 + 3 * k : w + 7 + 3 * k].tolist()
        memory = spaces(space)
        parts.append(None if memory is None else memory[address : address + count])
    return int(words[w + 1]), parts[:inputs], parts[inputs:]


def host_forward(execution: Execution, words: Any, w: int) -> None:
    """Compute a row by its Python kernel."""
    index, inputs, outputs = host_operands(primal_spaces(execution), words, w)
    execution.recorder.hosts[index].forward(inputs, outputs)


def host_backward(execution: Execution, words: Any, w: int, bars: Cotangents) -> None:
    """Take back a row by its Python rule."""
    index, inputs, outputs = host_operands(primal_spaces(execution), words, w)
    _, input_bars, output_bars = host_operands(bar_spaces(bars), words, w)
    if not all(matrix().is_absent(bar) for bar in output_bars):
        call = execution.recorder.hosts[index]
        # A tape does not say which: it gives NaN there, and the derivatives of its other inputs are right.
        given = getattr(execution.recorder, "varied", None)
        if given is not None and isinstance(call, HostCall) and (unknown := call.unknown()):
            refuse_unknown(call, unknown, execution.recorder, given, words, w)
            input_bars = [None if k in unknown else bar for k, bar in enumerate(input_bars)]
        call.backward(inputs, outputs, input_bars, output_bars)


def refuse_unknown(call: HostCall, unknown: list[int], recorder: Any, given: Any, words: Any, w: int) -> None:
    """Raise where an operand without a derivative depends on inputs; `unknown` are the call's operands of that kind."""
    from numbad.emission.linear import Linear

    linear = Linear(recorder, 1, 0, recorder.rows())
    inside = [np.arange(address, address + count) for space, address, count in given if not space]
    linear.mark_active(inside)
    varies = [False] * len(call.operand_shapes)
    for k in unknown:
        space, first, count = words[w + 4 + 3 * k : w + 7 + 3 * k].tolist()
        by_reference = len(inside) < len(given)  # then it is not followed how they spread
        varies[k] = by_reference or bool(space == 0 and linear.active[first - 1 : first - 1 + count].any())
    call.refuse_unknown(varies)


def host_tangent(execution: Execution, words: Any, w: int, dots: Cotangents) -> None:
    """Push tangents through a row by its Python rule."""
    index, inputs, outputs = host_operands(primal_spaces(execution), words, w)
    _, input_dots, output_dots = host_operands(bar_spaces(dots), words, w)
    if all(dot is None or matrix().is_absent(dot) for dot in input_dots):
        for dot in output_dots:
            dot[...] = -0.0
        return
    execution.recorder.hosts[index].tangent(inputs, outputs, input_dots, output_dots)
