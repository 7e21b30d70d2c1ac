"""The gradient of a function by recording it and sweeping its rows, outside of other recordings."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from numbad.kernels.loading import kernel, switch
from numbad.limits import MOST_AT_ONCE, MOST_WORDS
from numbad.recording.inputs import FLOAT64, Leaf, note_inputs, record_call, record_numbers, regroup
from numbad.recording.outputs import concrete, plain, scalar_output, split_auxiliary
from numbad.recording.recorder import Recorder, pairs_of
from numbad.recording.scalars import Scalar
from numbad.settings import config
from numbad.sweeps import startup
from numbad.sweeps.whole import give_back, sweep_both

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
        if (
            type(result) is Scalar
            and not recorder.words
            and recorder.execution is None
            and result.recorder is recorder
            and len(recorder.code) < MOST_AT_ONCE
        ):
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
        if output is not None and not has_aux and recorder.execution is None and recorder.words:
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
    if config._debug_nans:
        return None
    constants = pairs_of(recorder.numbers, recorder.loads)
    if len(recorder.code) <= MOST_WORDS:
        found = startup.gradient(recorder.code, constants, recorder.size, output, inputs)
        if found is not None:
            recorder.close()
            return found
    gradient_rows = kernel("gradient_rows", FLOAT64)
    code, numbers = np.frombuffer(recorder.code, np.uint32), np.frombuffer(constants)
    pointer = switch("linearise", FLOAT64)
    done, value, found = gradient_rows(pointer, code, numbers, recorder.size, output, inputs)
    if 4 * done < len(code):
        return None
    recorder.close()
    return value, found.tolist()


def gradient_of_short(recorder: Recorder, output: int, leaves: list[Leaf]) -> tuple[Any, list[Any]] | None:
    """Return value and gradient of a short tape with arrays; None if the sweeps need Python for a row."""
    work = sweep_both(recorder, output)
    if work is None:
        return None
    value = work.memory[output]
    slopes = [leaf.read(work) for leaf in leaves]
    give_back(work)
    return float(value) if recorder.dtype is FLOAT64 else value, slopes
