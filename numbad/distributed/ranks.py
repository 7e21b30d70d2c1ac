"""Sums over the ranks of an MPI program: each computes a run of blocks, and all get the result.

The ranks exchange the partial sums that are nodes of the tree of additions, some of the logarithm of the number of
blocks for each rank, so the result has the bits that one process gives.
"""

from __future__ import annotations

from typing import Any

from numbad.distributed.additions import Additions
from numbad.distributed.contents import Package, name_package, shelf
from numbad.distributed.executors import HereLane
from numbad.distributed.ledgers import Ledger
from numbad.distributed.shipped_paths import LoadedPath
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
    run = Sum(ledger, point, blocks[start:stop], HereLane(), first=start, defers=True)
    compute_by_rounds(communicator, run, start < stop)
    parts = communicator.allgather((run.structure, run.additions.nodes, run.auxiliary))
    total, auxiliary, structure = Additions(), dict[int, Any](), parts[0][0]
    for shape, nodes, more in parts:
        structure = structure or shape
        auxiliary.update(more)
        for (level, place), term in nodes.items():
            total.take(place, term, level)
    return put_together(structure, total.total()), auxiliary, len(blocks)


def compute_by_rounds(communicator: Any, run: Sum, busy: bool) -> None:
    """Compute the blocks of this rank; a path that blocks of several ranks miss is recorded by the first of these.

    In each round a rank computes what it can. Then all tell what they have recorded and which paths they miss.
    """
    rank, told = communicator.Get_rank(), 0
    while True:
        error = None
        if busy:
            try:
                run.collect()
            except Exception as raised:
                error = raised
        found = communicator.allgather((error, list(run.parked), run.news[told:]))
        for theirs, *_ in found:
            if theirs is not None:
                raise error or theirs
        wanted = [signature for _, missed, _ in found for signature in missed]
        if not wanted:
            return
        adopted = {signature for k, (*_, news) in enumerate(found) for signature, _ in news if k != rank}
        for k, (*_, news) in enumerate(found):
            if k != rank:
                adopt(run.ledger, news)
        told = len(run.news)
        first = {signature: k for k, (_, missed, _) in reversed(list(enumerate(found))) for signature in missed}
        for signature in list(run.parked):
            if signature in adopted or first[signature] == rank:
                run.release(signature, signature not in adopted)


def adopt(ledger: Ledger, news: list[tuple[str, Package | None]]) -> None:
    """Keep what another rank has found out."""
    for signature, path in news:
        if path is None:
            ledger.loosen(signature)
        elif name_package("path", path) not in ledger.packages:
            name = ledger.add(signature, path, recorded=False)
            shelf.put(name, LoadedPath(path))
