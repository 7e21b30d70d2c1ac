"""What is known of the paths of a jitted function, as text: rows, runs, and what machine code has cost and gained."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

from numbad.pictures.costs import write_seconds
from numbad.pictures.listing import report
from numbad.replay.compiled_machine import CompiledMachine

TIMES = 3  # runs, of which the shortest counts
MOST_TOLD = 5  # loops of a path
NEVER = float("inf")


def summarise(programs: list[Any], title: str) -> str:
    """Return a text about the recorded paths of a function; those that are compiled are run to be timed."""
    lines = [headline(programs, title)]
    for program in programs:
        rows = program.recorder.row_count()
        lines.append(f"  {rows} rows, {program.hits} runs, {program.bytes():,} bytes")
        lines += [f"    {line}" for line in describe_way(program)]
    return "\n".join(lines)


def headline(programs: list[Any], title: str) -> str:
    """Return a line that says how many paths there are."""
    return f"{title}: {len(programs)} recorded path{'s' if len(programs) != 1 else ''}"


def summarise_sparse(programs: list[Any], title: str) -> str:
    """Return a text about the recorded paths of a sparse derivative: pattern, way, preparation and memory."""
    told = [f"  {report(program.path.prepared)}; {program.hits} runs" for program in programs]
    return "\n".join([headline(programs, title), *told])


def describe_way(program: Any) -> Iterator[str]:
    """Yield lines that say how a path is run."""
    promotion, machine = program.promotion, program.machine
    if isinstance(machine, CompiledMachine):
        module = machine.code.module
        loops = sorted((part for part in module.segments if part.is_loop), key=lambda part: -part.period * part.count)
        yield f"machine code of {module.rows} rows, made in {write_seconds(promotion.seconds)}"
        for part in loops[:MOST_TOLD]:
            yield f"a loop of {part.count} iterations of {part.period} rows of numbers"
        if len(loops) > MOST_TOLD:
            yield f"and {len(loops) - MOST_TOLD} shorter loops"
        if machine.given:
            times = write_seconds(shortest(machine)), write_seconds(interpreted(machine))
            yield f"a run takes {times[0]}, and {times[1]} by the interpreter"
    elif program.compiled:
        yield f"machine code for groups of array rows, made in {write_seconds(promotion.seconds)}"
    elif promotion.failure is not None:
        yield f"interpreted: the compiler failed ({type(promotion.failure).__name__})"
    elif promotion.next == NEVER:
        yield "interpreted: its rows are none that are compiled, or too many"
    else:
        yield f"interpreted; compiled after {int(promotion.next)} runs"


def shortest(machine: Any) -> float:
    """Return how many seconds a machine takes for its last inputs."""
    found = []
    for _ in range(TIMES):
        begin = time.perf_counter()
        machine.run()
        found.append(time.perf_counter() - begin)
    return min(found)


def interpreted(machine: Any) -> float:
    """Return how many seconds the machine takes that a compiled one took the place of."""
    given_up = machine.kept is None
    inner = machine.inner
    inner.enter(machine.given)
    seconds = shortest(inner)
    if given_up:
        machine.kept = None
    return seconds
