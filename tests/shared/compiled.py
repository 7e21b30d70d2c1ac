"""Functions that are replayed by machine code of their own, whether they are hot or not."""

from __future__ import annotations

from typing import Any

import numbad
from numbad.replay.compiled_machine import CompiledMachine


def promote(jitted: Any) -> CompiledMachine | None:
    """Compile the path that a jitted function has taken last; return its machine, None where it is not compiled."""
    program = next(reversed(jitted.programs.values())).programs[-1]
    machine = program.promotion.make()
    if machine is not None:
        program.take_machine(machine)
    return machine


def compare(f: Any, *points: tuple[Any, ...], argnums: Any = 0) -> CompiledMachine:
    """Check that machine code has the bits of the interpreter at some points, the first of which is recorded."""
    interpreted, jitted = (numbad.jit(numbad.value_and_grad(f, argnums=argnums)) for _ in range(2))
    jitted(*points[0])
    machine = promote(jitted)
    assert machine is not None
    for point in points:
        value, slopes = interpreted(*point)
        found, other = jitted(*point)
        assert bits(found) == bits(value)
        assert bits(other) == bits(slopes)
    assert len(jitted.programs) == 1
    return machine


def bits(values: Any) -> Any:
    """Return numbers as something that is equal if their bits are."""
    import numpy as np

    if isinstance(values, (tuple, list)):
        return [bits(value) for value in values]
    return np.asarray(values, float).tobytes()


def loops(machine: CompiledMachine) -> list[tuple[int, int]]:
    """Return the rows of an iteration, and the number of iterations, of each loop."""
    return [(part.period, part.count) for part in machine.code.module.segments if part.is_loop]
