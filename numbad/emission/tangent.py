"""The tangent of a region of the tape, as more rows."""

from __future__ import annotations

from typing import Any

import numpy as np

from numbad.emission.linear import Linear, add_multiple, add_unit_product, copy_linear, product
from numbad.emission.regions import Region, pull_inside
from numbad.geometry import compact, contiguous
from numbad.kernels.emission_layout import TANGENT
from numbad.ops.definition import REGISTRY, absences
from numbad.recording.active import Active
from numbad.recording.arrays import constant
from numbad.recording.hostcalls import repeated, with_seeds
from numbad.recording.scalars import make_scalar
from numbad.tape.layout import ADD, CONTRACT, GATHER, HOST, MAP, SCATTER, gather_places, scatter_places, scatter_source


def emit_tangent(linear: Linear) -> None:
    """Append the tangent of a region; the tangents of its inputs have been entered."""
    compiled = not linear.by_python()
    recorder = linear.recorder
    row, stop = linear.start, linear.stop
    while row < stop:
        if compiled and recorder.code[4 * row] < MAP:
            row = linear.run(TANGENT, row, stop)
        if row < stop:
            tangent_row(linear, linear.row(row))
            row += 1


def tangent_row(linear: Linear, row: list[int]) -> None:
    """Append the tangent of a row."""
    base, places = linear.base, linear.places
    opcode, out, a, _ = row
    if opcode < MAP:
        scalar_tangent(linear, row, REGISTRY[opcode])
    elif opcode < 2 * MAP:
        map_tangent(linear, row, REGISTRY[opcode - MAP])
    elif opcode == ADD:
        target, source = linear.operands(row)
        if linear.covers(*source[:2]):
            copy_linear(linear, source, target)
    elif opcode == CONTRACT:
        target, *sources = linear.operands(row)
        for k, source in enumerate(sources):
            if not linear.covers(*source[:2]):
                continue
            factor = linear.primal(*sources[1 - k])
            units = linear.multiples.units_of(source) if linear.lanes else None
            if units is not None and add_unit_product(linear, units, factor, target):
                continue
            dot = linear.read(*source[1:])
            if dot is not None:
                product(linear, dot, factor, target)
    elif opcode == GATHER:
        indices = gather_places(linear.words, a)
        inside = indices >= base
        places[out - base : out - base + indices.size] = np.where(
            inside, places[np.where(inside, indices - base, 0)], 0
        )
    elif opcode == SCATTER:
        space, first, count = scatter_source(linear.words, a)
        dot = linear.read(first, (count,), (1,)) if linear.covers(space, first) else None
        if dot is not None:
            linear.scatter(out + scatter_places(linear.words, a), dot)
    elif opcode == HOST:
        host_tangent(linear, row)


def scalar_tangent(linear: Linear, row: list[int], op: Any) -> None:
    """Append the tangent of a scalar row, for which the partials function is run."""
    base, places = linear.base, linear.places
    _, out, a, b = row
    if not op.smooth or not any(address >= base and places[address - base] for address in (a, b)):
        return
    operands = [make_scalar(linear.recorder, address) for address in (a, b, out)]
    total = None
    partials = zip((a, b), op.symbolic_partials(*operands), absences(op), strict=False)
    for address, partial, may_be_absent in partials:
        if address >= base and places[address - base]:
            total = plus(total, linear.scaled(partial, linear.cotangent_at(address), may_be_absent))
    if total is not None:
        linear.write(places[out - base :][:1].reshape(()), linear.own(total))


def plus(total: Any, addend: Any) -> Any:
    """Add where None is zero."""
    return addend if total is None else total if addend is None else total + addend


def map_tangent(linear: Linear, row: Any, op: Any) -> None:
    """Append the tangent of an elementwise array row."""
    if not op.smooth:
        return
    target, *sources = linear.operands(row)
    varies = [linear.covers(*s[:2]) and bool(compact(linear.table(*s[1:], linear.places)).any()) for s in sources]
    if not any(varies):
        return
    values = [linear.primal(*source) for source in sources]
    y = values[1] if op.arity == 2 else None
    total = None
    partials = op.symbolic_partials(values[0], y, linear.primal(*target))
    for source, varying, partial, may_be_absent in zip(sources, varies, partials, absences(op), strict=True):
        if varying and linear.lanes:
            add_multiple(linear, source, partial, may_be_absent, target)
        elif varying:
            total = plus(total, linear.scaled(partial, linear.read(*source[1:]), may_be_absent))
    if total is not None:
        linear.add(*target[1:], total)


def host_tangent(linear: Linear, row: Any) -> None:
    """Append the tangent of a host row: the transpose of its rule."""
    call, operands, results = linear.host_operands(row)
    dots = [
        linear.read(o.storage.address, o.shape, contiguous(o.shape))
        if linear.covers(o.storage.space, o.storage.address)
        else None
        for o in operands
    ]
    if all(dot is None for dot in dots):
        return
    call.refuse_unknown([dot is not None for dot in dots])
    zeros = [np.zeros(r.shape) for r in results]

    def pull(*bars: Any) -> Any:
        return call.pull(list(bars), values, operands)

    separate = bool(linear.lanes) and not getattr(call.op, "linear", False)
    together = with_seeds(call, linear.lanes) if separate else None
    if together is not None:
        call, separate = together, False
        zeros = [np.zeros((*r.shape, linear.lanes)) for r in results]
        operands, values = repeated(operands, linear.lanes), repeated(results, linear.lanes)
    else:
        values = results
    lanes = range(linear.lanes) if separate else [None]
    found: list[Any] = []
    for lane in lanes:
        given = [None if dot is None else dot if lane is None else dot[..., lane] for dot in dots]
        if call.op.jvp_function is not None:
            found.append(call.push(values, operands, given))
        else:
            found.append(pull_inside(linear.recorder, pull, zeros, given))
    for k, result in enumerate(results):
        value = np.stack([part[k] for part in found], axis=-1) if separate else found[0][k]
        if not isinstance(value, Active):
            if not np.any(value):
                continue
            value = constant(linear.recorder, value)
        linear.add(result.storage.address, result.shape, contiguous(result.shape), value)


def push_region(region: Region, outputs: list[Any], tangents: list[Any], lanes: int = 0) -> list[Any]:
    """Return the tangents of the outputs' addresses, with lanes last, given those of the region's inputs."""
    linear = region.linear(lanes)
    for addresses, tangent in zip(region.addresses, tangents, strict=True):
        if tangent is not None:
            linear.seed(addresses, tangent)
    emit_tangent(linear)
    return [linear.result(addresses) for addresses in outputs]
