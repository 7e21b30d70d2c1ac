"""vmap of a pushforward or pullback at a fixed point: the examples are lanes of one sweep, and nothing is emitted."""

from __future__ import annotations

from typing import Any

import numpy as np

from numbad.geometry import is_run
from numbad.ops.host import as_tuple
from numbad.ops.lanes import to_first, to_last
from numbad.recording.active import Active
from numbad.tape.layout import HOST, host_call, host_places

CONSTANT, UNKNOWN = -1, -2


def map_examples(recorder: Any, region: Any, outputs: list[Any], batch: list[Any], lanes: int) -> list[Any] | None:
    """Return the results for all examples if the function is one linear map of its arguments, else None.

    Parameters
    ----------
    region : Region
        The recording of the first example.
    outputs : list of (leaf, ndarray of addresses or None)
        What it returned.
    batch : list
        The values of the region's inputs, with the axis of examples in front.
    """
    code = recorder.code
    if region.stop != region.start + 1 or code[4 * region.start] != HOST:
        return None
    if any(isinstance(values, Active) for values in batch):
        return None
    words, w = recorder.words, code[4 * region.start + 2]
    host = recorder.hosts[host_call(words, w)]
    if not getattr(host.op, "takes_lanes", False):
        return None
    read, results = host_places(words, w)
    given = {(0, first_of(addresses), addresses.size): k for k, addresses in enumerate(region.addresses)}
    order = [given.get(place, -1) for place in read]
    made = {place: k for k, place in enumerate(results)}
    wanted = [find_result(leaf, addresses, made) for leaf, addresses in outputs]
    if -1 in order or UNKNOWN in wanted:
        return None
    shapes = [(*shape, lanes) for shape in host.operand_shapes]
    operands = [to_last(np.asarray(batch[k])).reshape(shape) for k, shape in zip(order, shapes, strict=True)]
    with np.errstate(all="ignore"):
        found = as_tuple(host.op.primal(*operands))
    batched = []
    for k, (leaf, _) in zip(wanted, outputs, strict=True):
        if k == CONSTANT:
            batched.append(np.repeat(np.asarray(leaf)[None], lanes, axis=0))
        else:
            part = found[k] if wanted.count(k) == 1 else found[k].copy()
            batched.append(to_first(part.reshape(*leaf.shape, lanes)))
    return batched


def find_result(leaf: Any, addresses: np.ndarray | None, made: dict[Any, int]) -> int:
    """Return which result of a row an output is, or that it is a constant, or something else."""
    if not isinstance(leaf, Active):
        return CONSTANT
    if addresses is None or not is_run(addresses):
        return UNKNOWN
    return made.get((0, first_of(addresses), addresses.size), UNKNOWN)


def first_of(addresses: np.ndarray) -> int:
    """Return the first of some addresses, 0 if there is none."""
    return int(addresses.reshape(-1)[0]) if addresses.size else 0
