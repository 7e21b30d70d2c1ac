"""Sums over the ranks of an MPI program: each computes a run of blocks, and all get the result.

The ranks exchange the partial sums that are nodes of the tree of additions, some of the logarithm of the number of
blocks for each rank, so the result has the bits that one process gives.
"""

from __future__ import annotations

from typing import Any

from numbad.distributed.additions import Additions
from numbad.distributed.executors import HereLane
from numbad.distributed.ledgers import Ledger
from numbad.distributed.summing import Sum
from numbad.errors import InputError, message
from numbad.recording.trees import put_together


def sum_over_ranks(communicator: Any, ledger: Ledger, point: Any, blocks: Any) -> tuple[Any, dict[int, Any], int]:
    """Return the sum, what is auxiliary by the numbers of blocks, and how many there are, on each rank.

    An error on one rank is raised on all of them, for the others wait for it.
    """
    rank, size = communicator.Get_rank(), communicator.Get_size()
    blocks = list(blocks)
    counts = communicator.allgather(len(blocks))
    if len(set(counts)) > 1:
        what = f"the ranks have {', '.join(map(str, counts))} blocks"
        raise InputError(message(what, "give all ranks the same list; functions load what a rank needs", where=False))
    if not blocks:
        raise InputError(message("there are no blocks", "pass a list with one block at least", where=False))
    start, stop = (len(blocks) * k // size for k in (rank, rank + 1))
    run = Sum(ledger, point, blocks[start:stop], HereLane(), first=start)
    error = None
    if start < stop:
        try:
            run.collect()
        except Exception as raised:
            error = raised
    errors = communicator.allgather(error)
    for theirs in errors:
        if theirs is not None:
            raise error or theirs
    parts = communicator.allgather((run.structure, run.additions.nodes, run.auxiliary))
    total, auxiliary, structure = Additions(), dict[int, Any](), parts[0][0]
    for shape, nodes, more in parts:
        structure = structure or shape
        auxiliary.update(more)
        for (level, place), term in nodes.items():
            total.take(place, term, level)
    return put_together(structure, total.total()), auxiliary, len(blocks)
