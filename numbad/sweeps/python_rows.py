"""Rows that the compiled sweeps leave to Python: large arrays in parallel, matrix products by BLAS, Python kernels."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from numbad.errors import describe_site
from numbad.kernels.loading import BLOCKS, make_products_ready, make_ready
from numbad.ops.definition import REGISTRY, absent
from numbad.recording.hostcalls import HostCall, alone
from numbad.sweeps.dependence import mark_rows
from numbad.sweeps.gradients import differentiate_alone
from numbad.sweeps.operands import add_broadcast, bar_spaces, host_operands, operand, primal_spaces
from numbad.tape.layout import ADD, CONTRACT, GUARD, GUARD_VALUE, HOST, MAP, host_places, is_product, space_of
from numbad.tape.rows import Rows

if TYPE_CHECKING:
    from numbad.sweeps.execution import Cotangents, Execution


def forward(execution: Execution, code: np.ndarray, words: Any, row: int) -> int:
    """Compute a row; return the next, or the same if the sweep lacked a function that is there now."""
    opcode = int(code[row, 0])
    if opcode < 2 * MAP and make_ready(BLOCKS, execution.rows.dtype, (opcode % MAP,)):
        return row
    if lacks_product(execution, opcode, code, words, row):
        return row
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
    """Take a row back; return it, or the next if the sweep lacked a function that is there now."""
    opcode = int(code[row, 0])
    if opcode < MAP:
        raise AssertionError("scalar rows go back in the compiled sweep")
    if opcode < 2 * MAP and make_ready(BLOCKS, execution.rows.dtype, (opcode - MAP,)):
        return row + 1
    if lacks_product(execution, opcode, code, words, row):
        return row + 1
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
            host_backward(execution, words, int(code[row, 2]), bars, row == 0)
    return row


def tangent(execution: Execution, code: np.ndarray, words: Any, row: int, dots: Cotangents) -> int:
    """Push tangents through a row; return the next, or the same if the sweep lacked a function that is there now."""
    opcode = int(code[row, 0])
    if MAP <= opcode < 2 * MAP and make_ready(BLOCKS, execution.rows.dtype, (opcode - MAP,)):
        return row
    if lacks_product(execution, opcode, code, words, row):
        return row
    if MAP <= opcode < 2 * MAP:
        map_tangent(execution, words, int(code[row, 2]), opcode - MAP, dots)
    elif opcode == CONTRACT:
        matrix().contract_tangent(execution, code, words, row, dots)
    elif opcode == HOST:
        with naming_site(execution, row):
            host_tangent(execution, words, int(code[row, 2]), dots)
    return row + 1


def lacks_product(execution: Execution, opcode: int, code: np.ndarray, words: Any, row: int) -> bool:
    """Whether a sweep stopped at a product of matrices for the want of a function, which is there now."""
    if opcode != CONTRACT or not is_product(words, int(code[row, 2])):
        return False
    return make_products_ready(execution.rows.dtype)


@contextlib.contextmanager
def naming_site(execution: Execution, row: int) -> Iterator[None]:
    """Add the user's statement to an error that a Python kernel raises."""
    try:
        yield
    except Exception as error:
        site = execution.rows.sites.get(row)
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


def times(partial: Any, bar: np.ndarray) -> np.ndarray:
    """Multiply a partial by a cotangent: absent (-0.0) if either is."""
    with np.errstate(all="ignore"):
        return np.where(absent(partial) | absent(bar), -0.0, partial * bar + 0.0)


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


def host_forward(execution: Execution, words: Any, w: int) -> None:
    """Compute a row by its Python kernel."""
    index, inputs, outputs = host_operands(primal_spaces(execution), words, w)
    execution.rows.hosts[index].forward(inputs, outputs)


def host_backward(execution: Execution, words: Any, w: int, bars: Cotangents, last: bool) -> None:
    """Take back a row by its Python rule; `last` says that no other row is taken back behind it."""
    index, inputs, outputs = host_operands(primal_spaces(execution), words, w)
    _, input_bars, output_bars = host_operands(bar_spaces(bars), words, w)
    if not all(matrix().is_absent(bar) for bar in output_bars):
        call = execution.rows.hosts[index]
        # A tape does not say which: it gives NaN there, and the derivatives of its other inputs are right.
        given = execution.rows.varied
        if given is not None and isinstance(call, HostCall) and (unknown := call.unknown()):
            refuse_unknown(call, unknown, execution.rows, given, words, w)
            input_bars = [None if k in unknown else bar for k, bar in enumerate(input_bars)]
        call.backward(inputs, outputs, input_bars, output_bars, last)


def refuse_unknown(call: HostCall, unknown: list[int], rows: Rows, given: Any, words: Any, w: int) -> None:
    """Raise where an operand without a derivative depends on inputs; `unknown` are the call's operands of that kind."""
    active, spaces = np.zeros(rows.size, np.bool_), np.zeros(len(rows.spaces), np.bool_)
    for space, address, count in given:
        if space:
            spaces[space] = True
        else:
            active[address : address + count] = True
    mark_rows(rows, active, spaces)
    varies = [False] * len(call.operand_shapes)
    read, _ = host_places(words, w)
    for k in unknown:
        space, first, count = read[k]
        varies[k] = bool(spaces[space] if space else active[first : first + count].any())
    call.refuse_unknown(varies)


def host_tangent(execution: Execution, words: Any, w: int, dots: Cotangents) -> None:
    """Push tangents through a row by its Python rule."""
    index, inputs, outputs = host_operands(primal_spaces(execution), words, w)
    _, input_dots, output_dots = host_operands(bar_spaces(dots), words, w)
    if all(dot is None or matrix().is_absent(dot) for dot in input_dots):
        for dot in output_dots:
            dot[...] = -0.0
        return
    push_call(execution.rows.hosts[index], inputs, outputs, input_dots, output_dots)


def push_call(
    call: HostCall, inputs: list[Any], outputs: list[Any], input_dots: list[Any], output_dots: list[Any]
) -> None:
    """Compute the tangents of a call's results into flat views: by its own rule, or by transposing its pullback."""
    results = call.shaped(outputs, call.result_shapes)
    operands = call.shaped(inputs, call.operand_shapes)
    dots = call.shaped(input_dots, call.operand_shapes)
    call.refuse_unknown([dot is not None and dot.any() for dot in dots])
    with alone():
        if call.op.jvp_function is not None:
            with np.errstate(all="ignore"):
                found: Any = call.push(results, operands, dots)
            absent = -0.0 if call.carries() else 0.0
        else:
            found, absent = transpose(call, results, operands, dots, outputs), -0.0
    for view, dot, shape in zip(output_dots, found, call.result_shapes, strict=True):
        call.check(dot, shape, "tangent")
        view[...] = np.asarray(dot).reshape(-1) + absent


def transpose(
    call: HostCall, results: list[Any], operands: list[Any], dots: list[Any], outputs: list[Any]
) -> list[Any]:
    """Return the tangents of a call's results: the gradient of the pullback's product with the tangents."""

    def paired(*bars: Any) -> Any:
        total: Any = 0.0
        for dot, cotangent in zip(dots, call.pull(list(bars), results, operands), strict=True):
            if dot is not None and cotangent is not None:
                total = total + np.sum(dot * cotangent)
        return total

    bars = tuple(np.zeros(shape, view.dtype) for shape, view in zip(call.result_shapes, outputs, strict=True))
    return differentiate_alone(paired, bars, tuple(range(len(bars))), {}, call.op.name)[2]
