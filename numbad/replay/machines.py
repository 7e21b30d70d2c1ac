"""Which machine runs a recorded path: the one place that decides it, by the limits of `numbad.limits`."""

from __future__ import annotations

from numbad.recording.inputs import FLOAT64
from numbad.replay.divided_machine import DividedMachine, find_products
from numbad.replay.hoisting import find_spared
from numbad.replay.output_copies import runs_of
from numbad.replay.protocol import Machine, Path
from numbad.replay.scalar_machine import ScalarMachine, fits, freeze_path
from numbad.replay.swept_machine import SweptMachine
from numbad.replay.whole_machine import WholeMachine, left_to_python
from numbad.settings import config
from numbad.sweeps.whole import is_short


def choose_machine(path: Path) -> Machine:
    """Return a machine that runs a path: the first of these that takes it.

    * scalar rows in double precision, ordered anew: `scalar_machine`
    * a short tape, in one compiled call: `whole_machine`
    * the same with large products by constant matrices, which BLAS computes between such calls: `divided_machine`
    * any tape, by the sweeps of an execution: `swept_machine`
    """
    recorder = path.recorder
    watched = config._debug_nans  # rows are looked at one by one
    if not watched and not recorder.words and recorder.dtype == FLOAT64 and (path.wanted is None or path.outputs):
        tape = freeze_path(path)
        if fits(tape):
            return ScalarMachine(tape, path.wanted, path.value)
    ranges = [run for addresses in path.output_addresses() for run in runs_of(addresses)]
    spared = find_spared(recorder, path.leaves, ranges if path.wanted is None else None)
    constant = path.wanted is not None and not path.outputs
    if not (watched or constant) and is_short(recorder) and not any(leaf.space for leaf in path.leaves):
        left = set(left_to_python(recorder)).difference(spared.never)
        if not left:
            return WholeMachine(path, spared)
        products = find_products(recorder, left)
        if products is not None and not left.intersection(spared.once):
            return DividedMachine(path, spared, products)
    return SweptMachine(path, spared)
