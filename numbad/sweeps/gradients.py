"""The gradient of a function by recording it and sweeping its rows, outside of other recordings."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from numbad.recording.inputs import FLOAT64, Leaf, note_inputs, record_call, record_numbers, regroup
from numbad.recording.outputs import concrete, plain, scalar_output, split_auxiliary
from numbad.recording.recorder import Recorder
from numbad.recording.scalars import Scalar
from numbad.sweeps.whole import give_back, run_whole

FLOATS = {float}


def differentiate_alone(
    f: Callable[..., Any],
    arguments: tuple[Any, ...],
    argnums: tuple[int, ...],
    keywords: dict[str, Any],
    name: str,
    has_aux: bool = False,
    wants_value: bool = True,
) -> tuple[Any, Any, list[Any]]:
    """Return the value, the auxiliary result and the gradient with respect to each of `argnums`."""
    if not has_aux and set(map(type, arguments)) == FLOATS and argnums == tuple(range(len(arguments))):
        recorder, leaves, result = record_numbers(f, arguments, keywords)
        rebuilds: list[Any] = [None] * len(leaves)
        if type(result) is Scalar and not recorder.words and recorder.execution is None and result.recorder is recorder:
            found = gradient_of_numbers(recorder, result.address, len(leaves))
            if found is not None:
                return found[0], None, found[1]
        leaves = [Leaf(None, value, FLOAT64, k + 1) for k, value in enumerate(leaves)]
        note_inputs(recorder, leaves)
    else:
        recorder, leaves, rebuilds, result = record_call(f, arguments, argnums, keywords)
    try:
        auxiliary = value = None
        if has_aux:
            result, auxiliary = split_auxiliary(result, name)
        output = result if type(result) is Scalar and result.recorder is recorder else None
        if output is None:
            output = scalar_output(recorder, result, name)
        if output is not None and not has_aux and recorder.execution is None:
            found = gradient_of_short(recorder, output.address, leaves)
            if found is not None:
                return found[0], None, regroup(found[1], rebuilds)
        read = output is not None and (wants_value or not recorder.ends_in_sum(output.address))
        execution = recorder.run(final=not has_aux, wanted=(output,) if read else ())
        if has_aux:
            auxiliary = concrete(auxiliary)
        if output is None:
            value, seeds = result, []
        else:
            seeds = [(output.address, 1.0)]
            if wants_value:
                value = plain(output)
        bars = execution.backward(seeds)
        slopes = [leaf.read(bars) for leaf in leaves]
        execution.release(bars)
    finally:
        recorder.close()
    return value, auxiliary, regroup(slopes, rebuilds)


def gradient_of_numbers(recorder: Recorder, output: int, inputs: int) -> tuple[float, list[float]] | None:
    """Return value and gradient of a short tape of scalar rows; None if a row is not for the scalar machine."""
    work = run_whole(recorder, recorder.numbers, output, inputs)
    if work is None:
        return None
    first = work.size + 1
    found = work.numbers[output], work.numbers[first : first + inputs].tolist()
    give_back(work)
    recorder.close()
    return found


def gradient_of_short(recorder: Recorder, output: int, leaves: list[Leaf]) -> tuple[Any, list[Any]] | None:
    """Return value and gradient of a short tape; None if the sweeps need Python for a row."""
    inputs = 0 if recorder.words or not leaves else leaves[-1].address + np.size(leaves[-1].value) - 1
    work = run_whole(recorder, recorder.numbers, output, inputs)
    if work is None:
        return None
    value = work.memory[output]
    slopes = [leaf.read(work) for leaf in leaves]
    give_back(work)
    return float(value) if recorder.dtype is FLOAT64 else value, slopes
