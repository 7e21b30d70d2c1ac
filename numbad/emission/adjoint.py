"""The adjoint of a region of the tape, as more rows."""

from __future__ import annotations

from typing import Any

import numpy as np

from numbad.emission.linear import Linear, add_multiple, add_unit_product, copy_linear, product
from numbad.geometry import compact, contiguous
from numbad.kernels.emission_layout import ADJOINT
from numbad.ops.definition import REGISTRY, absences
from numbad.recording.active import Active
from numbad.recording.arrays import Array
from numbad.recording.hostcalls import repeated, with_seeds
from numbad.recording.scalars import make_scalar
from numbad.tape.layout import ADD, CONTRACT, GATHER, HOST, MAP, SCATTER, gather_places, scatter_places, scatter_source


def emit_adjoint(linear: Linear) -> None:
    """Append the adjoint of a region; its seeds have been added and its active addresses marked."""
    compiled = not linear.by_python()
    recorder = linear.recorder
    row, start = linear.stop, linear.start
    while row > start:
        if compiled and recorder.code[4 * row - 4] < MAP:
            row = linear.run(ADJOINT, row, start)
        if row > start:
            row -= 1
            adjoint_row(linear, linear.row(row), int(linear.flags[row - start]))


def adjoint_row(linear: Linear, row: list[int], flag: int) -> None:
    """Append the adjoint of a row; the flag says which of its operands depend on the inputs."""
    opcode, out, a, _ = row
    if not flag:
        return
    if opcode < MAP:
        scalar_adjoint(linear, row, flag, REGISTRY[opcode])
    elif opcode < 2 * MAP:
        map_adjoint(linear, row, flag, REGISTRY[opcode - MAP])
    elif opcode == ADD:
        target, source = linear.operands(row)
        copy_linear(linear, target, source)
    elif opcode == CONTRACT:
        contract_adjoint(linear, row, flag)
    elif opcode == GATHER:
        indices = gather_places(linear.words, a)
        bar = linear.read(out, (indices.size,), (1,))
        if bar is not None:
            linear.scatter(indices, bar)
    elif opcode == SCATTER:
        _, first, count = scatter_source(linear.words, a)
        picked = linear.places[out - linear.base + scatter_places(linear.words, a)]
        bar = linear.collect(picked)
        if bar is not None:
            linear.add(first, (count,), (1,), bar)
    elif opcode == HOST:
        host_adjoint(linear, row)


def scalar_adjoint(linear: Linear, row: list[int], flag: int, op: Any) -> None:
    """Append the adjoint of a scalar row, for which the partials function is run."""
    _, out, a, b = row
    if not linear.places[out - linear.base]:
        return
    bar = linear.cotangent_at(out)
    operands = [make_scalar(linear.recorder, address) for address in (a, b, out)]
    partials = zip((a, b), (1, 2), op.symbolic_partials(*operands), absences(op), strict=False)
    for address, bit, partial, may_be_absent in partials:
        if flag & bit:
            addend = linear.scaled(partial, bar, may_be_absent)
            if addend is not None:
                linear.add(address, (), (), addend)


def map_adjoint(linear: Linear, row: Any, flag: int, op: Any) -> None:
    """Append the adjoint of an elementwise array row."""
    target, *sources = linear.operands(row)
    if not compact(linear.table(*target[1:], linear.places)).any():
        return
    values = [linear.primal(*source) for source in sources]
    y = values[1] if op.arity == 2 else None
    partials = op.symbolic_partials(values[0], y, linear.primal(*target))
    for k, (source, partial, may_be_absent) in enumerate(zip(sources, partials, absences(op), strict=True)):
        if not flag >> k & 1:
            continue
        if linear.lanes:
            add_multiple(linear, target, partial, may_be_absent, source)
            continue
        addend = linear.scaled(partial, linear.read(*target[1:]), may_be_absent)
        if addend is not None:
            linear.add(*source[1:], addend)


def contract_adjoint(linear: Linear, row: Any, flag: int) -> None:
    """Append the adjoint of a product: the other operand times the cotangent."""
    target, *sources = linear.operands(row)
    bar = None
    units = linear.multiples.units_of(target) if linear.lanes else None
    for k, source in enumerate(sources):
        if not flag >> k & 1:
            continue
        factor = linear.primal(*sources[1 - k])
        if units is not None and add_unit_product(linear, units, factor, source):
            continue
        if bar is None:
            bar = linear.read(*target[1:])
            if bar is None:
                return
        product(linear, bar, factor, source)


def host_adjoint(linear: Linear, row: Any) -> None:
    """Append the adjoint of a host row: its rule, run on recording values."""
    call, operands, results = linear.host_operands(row)
    bars = [linear.read(r.storage.address, r.shape, contiguous(r.shape)) for r in results]
    if all(bar is None for bar in bars):
        return
    wanted = [linear.varies(operand) for operand in operands]
    call.refuse_unknown(wanted)
    lanes = (linear.lanes,) if linear.lanes else ()
    separate = bool(lanes) and not getattr(call.op, "linear", False)
    together = with_seeds(call, linear.lanes) if separate else None
    if together is not None:
        given = [np.zeros((*r.shape, *lanes)) if bar is None else bar for bar, r in zip(bars, results, strict=True)]
        at = repeated(results, linear.lanes), repeated(operands, linear.lanes)
        found: list[Any] = list(together.pull(given, *at, wanted))
    elif separate:
        each = [
            call.pull([bar_lane(bar, r, k) for bar, r in zip(bars, results, strict=True)], results, operands, wanted)
            for k in range(linear.lanes)
        ]
        found = [
            None if parts[0] is None else np.stack([np.broadcast_to(p, o.shape) for p in parts], axis=-1)
            for parts, o in zip(zip(*each, strict=True), operands, strict=True)
        ]
    else:
        given = [np.zeros((*r.shape, *lanes)) if bar is None else bar for bar, r in zip(bars, results, strict=True)]
        found = list(call.pull(given, results, operands, wanted))
    carries = call.carries()
    for addend, operand, needed in zip(found, operands, wanted, strict=True):
        if needed and isinstance(addend, Active):
            addend = addend if carries else np.add(addend, 0.0)  # a zero that was computed is no -0.0
            linear.add(operand.storage.address, operand.shape, contiguous(operand.shape), addend)


def bar_lane(bar: Any, result: Array, lane: int) -> Any:
    """Return one lane of a cotangent, zeros where there is none."""
    return np.zeros(result.shape) if bar is None else bar[..., lane]
