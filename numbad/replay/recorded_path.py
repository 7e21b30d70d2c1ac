"""A recorded path as machines take it: a tape, on which the passes have been, and where its results lie."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from numbad.geometry import table_of
from numbad.limits import FEW_ROWS, MOST_RESULTS, SHORT
from numbad.ops.definition import REGISTRY
from numbad.recording.active import Active
from numbad.recording.arrays import Array
from numbad.recording.inputs import FLOAT64, Leaf
from numbad.recording.recorder import Recorder
from numbad.settings import config
from numbad.tape.layout import CLEAR, HOST, find_large, host_places, is_guard
from numbad.tape.rows import Rows
from numbad.tapes.freezing import freeze_rows
from numbad.tapes.slots import Output
from numbad.tapes.tape import Tape
from numbad.tapes.workspaces import rows_of


@dataclasses.dataclass(frozen=True)
class Path:
    """What was recorded of one path.

    Attributes
    ----------
    tape : Tape
        Its `sites` hold for each row the number that it had in the recording.
    results : list of ndarray of int64
        For each result that is no constant the addresses of its elements; of a gradient that of the value.
    fixed : list of bool
        Which results are the same in each run.
    wanted : list of bool, or None
        For a gradient, with respect to which inputs it is wanted.
    value : bool
        Whether the results are wanted, and not a gradient alone.
    read : bool
        Whether the results have to be in memory after a run of all rows: of a gradient alone that is so
        unless they are sums at the end, which no adjoint sweep reads.
    recorder : Recorder
        The recording, which has ended.
    """

    tape: Tape
    results: list[np.ndarray]
    fixed: list[bool]
    wanted: list[bool] | None
    value: bool
    read: bool
    recorder: Recorder

    def rows(self) -> Rows:
        """Return the rows as sweeps read them."""
        tape = self.tape
        rows = rows_of(tape)
        rows.large = find_large(tape.program_code(), tape.words)
        rows.sites = Sites(self.recorder, tape.sites)  # type: ignore[assignment]
        rows.constants, rows.varied = self.recorder.constants, self.recorder.varied
        return rows


class Sites(Sequence[Any]):
    """The user's statements of rows, by their numbers in a recording, or in a tape that was made of it."""

    def __init__(self, recorder: Recorder, origins: np.ndarray | None = None) -> None:
        self.recorder, self.origins = recorder, origins

    def __len__(self) -> int:
        return self.recorder.row_count()

    def __getitem__(self, row: Any) -> Any:
        """Return the statement of a row of the recording; the guards of one mask share that of the first."""
        sites, code = self.recorder.sites, self.recorder.code
        while row > 0 and row not in sites and is_guard(code[4 * row]):
            row -= 1
        return sites.get(row)

    def get(self, row: int) -> Any:
        """Return the statement of a row of the tape."""
        return self[row if self.origins is None else int(self.origins[row])]

    def __iter__(self) -> Iterator[Any]:
        return (self[row] for row in range(len(self)))


def make_path(
    recorder: Recorder, leaves: list[Leaf], outputs: list[Active], wanted: list[bool] | None, value: bool
) -> Path:
    """Return a recording as a path; the passes of `tape.optimise` are applied where they are worth it.

    They are on long tapes of scalar rows, and where derivatives were emitted: the user's own rows depend on inputs, and
    are mostly read.
    """
    results = [o.address_view() if isinstance(o, Array) else np.array(o.address) for o in outputs]
    results = [np.array(places, np.int64) for places in results]
    read = value or not all(recorder.ends_in_sum(output.address) for output in outputs)
    tape = freeze_rows(recorder, leaves, [f"x{k}" for k in range(len(leaves))])
    tape.sites, tape.places = np.arange(len(tape), dtype=np.int32), Sites(recorder)
    tape._trusted = True  # it has just been recorded; the check would import Numba
    fixed = [False] * len(results)
    if is_worth_passes(recorder, tape) and not config._debug_nans:
        from numbad.tapes.passes import constant_addresses, optimise

        parts = find_parts(tape, results)
        if len(parts) <= MOST_RESULTS:
            tape.outputs = tuple(Output(0, start, (stop - start,), (1,)) for start, stop in parts)
            tape = optimise(tape, most=None)
            results = follow(results, parts, tape.outputs)
            known = constant_addresses(tape)
            fixed = [bool(known[places].all()) for places in results]
    return Path(tape, results, fixed, wanted, value, read, recorder)


def find_parts(tape: Tape, results: list[np.ndarray]) -> list[tuple[int, int]]:
    """Return first and last address (half-open) of parts of the results, each of one block, which passes move whole."""
    if not results:
        return []
    places = np.flatnonzero(table_of(np.concatenate([found.reshape(-1) for found in results]), tape.size))
    blocks = [(slot.address, slot.size) for slot in tape.inputs if not slot.space]
    blocks += [(address, block.size) for address, block in tape.loads]
    rows = tape.code[~is_guard(tape.code[:, 0])]
    for _, _, w, _ in rows[rows[:, 0] == HOST].tolist():
        blocks += [(first, count) for _, first, count in host_places(tape.words, w)[1]]
    numbers = tape.numbers[:, 0].astype(np.int64)
    ends = [edge for first, count in blocks for edge in (first, first + count)]
    edges = np.concatenate([rows[:, 1].astype(np.int64), numbers, numbers + 1, np.array(ends, np.int64)])
    cuts = np.flatnonzero((np.diff(places) > 1) | table_of(edges, tape.size + 1)[places[1:]]) + 1
    return [(int(part[0]), int(part[-1]) + 1) for part in np.split(places, cuts) if part.size]


def follow(results: list[np.ndarray], runs: list[tuple[int, int]], slots: Sequence[Output]) -> list[np.ndarray]:
    """Return where results are, the parts of which have been moved."""
    starts = np.array([start for start, _ in runs], np.int64)
    shifts = np.array([slot.address for slot in slots], np.int64) - starts
    return [places + shifts[np.searchsorted(starts, places, side="right") - 1] for places in results]


def is_worth_passes(recorder: Recorder, tape: Tape) -> bool:
    """Whether what the passes save in replays is more than they cost."""
    if is_scalar_tape(tape):
        return len(tape) >= FEW_ROWS
    return bool(len(tape.words)) and bool(recorder.bases)


def is_scalar_tape(tape: Tape) -> bool:
    """Whether a tape has scalar rows of compiled ops alone, in double precision, and is not too long."""
    codes = tape.code[:, 0]
    hosts = np.array([op.opcode for op in REGISTRY if op.host])
    return (
        tape.dtype == FLOAT64
        and not len(tape.words)
        and len(tape) <= SHORT
        and not table_of(hosts, CLEAR + 1)[codes].any()
        and not any(slot.space for slot in tape.inputs)
    )
