"""Sums over the chunks of Dask's arrays: the blocks and the tree of additions as tasks of one graph.

Dask decides where a chunk is computed, when it is let go or spilled, and computes again what was lost. A process of
its workers records each path once for itself.
"""

from __future__ import annotations

import math
import threading
from typing import Any

from numbad.distributed.blocks import is_collection, opened
from numbad.distributed.contents import Package, name_package, shelf
from numbad.distributed.ledgers import Ledger
from numbad.distributed.shipped_paths import LoadedPath
from numbad.distributed.workers import IDENTITY, Book, Done, Failed, Missed, Order, name_block, run_order
from numbad.errors import InputError, message
from numbad.kernels.threads import renew_in_children
from numbad.recording.trees import put_together, take_apart
from numbad.settings import config


def is_chunked(data: Any) -> bool:
    """Whether something is an array of Dask's, or of xarray's that is backed by one."""
    if type(data).__module__.partition(".")[0] == "xarray":
        return getattr(data, "chunks", None) is not None
    return is_collection(data) and hasattr(data, "chunks") and hasattr(data, "to_delayed")


def chunks_of(data: tuple[Any, ...]) -> list[tuple[Any, ...]]:
    """Return the chunks of several arrays that are chunked alike along the first axis, as delayed values."""
    arrays = [part.data if type(part).__module__.partition(".")[0] == "xarray" else part for part in data]
    for k, array in enumerate(arrays):
        if not is_chunked(array):
            what = f"argument {k + 1} of the data is a {type(data[k]).__name__}, and others are Dask's arrays"
            raise InputError(message(what, "make it one: dask.array.from_array(a, chunks=...)", where=False))
        if not array.ndim or any(len(sizes) > 1 for sizes in array.chunks[1:]):
            what = f"an array of Dask's has the chunks {array.chunks}"
            do = "chunk it along the first axis alone: x.rechunk({1: -1})"
            raise InputError(message(what, do, where=False))
        if not alike(array.chunks[0], arrays[0].chunks[0]):
            what = f"arrays are chunked as {arrays[0].chunks[0]} and as {array.chunks[0]} along the first axis"
            raise InputError(message(what, "chunk them alike: y.rechunk({0: x.chunks[0]})", where=False))
    columns = [array.to_delayed().reshape(-1).tolist() for array in arrays]
    return list(zip(*columns, strict=True))


def alike(one: tuple[Any, ...], other: tuple[Any, ...]) -> bool:
    """Whether chunks have the same sizes, as far as these are known."""
    return len(one) == len(other) and all(math.isnan(a) or math.isnan(b) or a == b for a, b in zip(one, other))


# ---------------------------------------------------------------- tasks


class Books:
    """The paths that this process has recorded of functions that came with tasks."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.books: dict[tuple[str, str], Book] = {}


books = Books()
renew_in_children(books)


def compute_chunk(kind: str, package: Package, point: Any, number: int, parts: tuple[Any, ...]) -> tuple[Any, Any]:
    """Return the terms of a chunk, and what is auxiliary."""
    name = name_package("loss", package)
    loss = shelf.find(name, {name: package}, None, opened)
    book = books.books.setdefault((kind, name), Book({}, set()))

    def run(grant: str) -> Any:
        return run_order(Order(IDENTITY, kind, number, loss, book, point, parts, grant, config.debug_nans, 1, None))

    reply = run("")
    if isinstance(reply, Missed):
        with books.lock:  # another thread may have recorded the path meanwhile
            reply = run("record")
            if isinstance(reply, Done) and reply.path is not None:
                path = name_package("path", reply.path)
                shelf.put(path, LoadedPath(reply.path))
                book.paths[reply.signature] = (*book.paths.get(reply.signature, ()), path)
            elif isinstance(reply, Done) and reply.unrecordable:
                book.loose.add(reply.signature)
    if isinstance(reply, Failed):
        name_block(reply.error, number, None, reply.where)
        raise reply.error
    return reply.terms, reply.auxiliary


def compute_terms(kind: str, package: Package, point: Any, number: int, parts: tuple[Any, ...]) -> Any:
    """Return the terms of a chunk."""
    return compute_chunk(kind, package, point, number, parts)[0]


def first_of(pair: tuple[Any, Any]) -> Any:
    """Return the terms."""
    return pair[0]


def plus(left: Any, right: Any) -> Any:
    """Return the sum of two trees, neither of which changes: Dask may compute it again."""
    (one, structure), (other, same) = take_apart(left), take_apart(right)
    if structure != same:
        raise InputError(
            message("blocks give results that are nested otherwise", "return the same of each", where=False)
        )
    return put_together(structure, [a + b for a, b in zip(one, other, strict=True)])


def finish(total: Any, pairs: list[Any], count: int, finishing: Any) -> Any:
    """Return what the caller is given."""
    return finishing(total, [auxiliary for _, auxiliary in pairs], count)


def sum_chunks(ledger: Ledger, point: Any, chunks: list[tuple[Any, ...]], auxiliary: bool, finishing: Any) -> Any:
    """Return the sum over chunks as a value that Dask computes later; `finishing` makes the result of it."""
    import dask

    package = dask.delayed(ledger.pack_loss().plain(), traverse=False)
    point = dask.delayed(point, traverse=False)
    task = dask.delayed(compute_chunk if auxiliary else compute_terms, pure=False)
    found = [task(ledger.kind, package, point, number, list(parts)) for number, parts in enumerate(chunks)]
    nodes = [dask.delayed(first_of)(pair) for pair in found] if auxiliary else list(found)
    left: list[Any] = []  # nodes without a neighbour, from the lowest level on (see `additions`)
    while nodes:
        if len(nodes) % 2:
            left.append(nodes.pop())
        nodes = [dask.delayed(plus)(nodes[k], nodes[k + 1]) for k in range(0, len(nodes), 2)]
    total = left[0]
    for node in left[1:]:
        total = dask.delayed(plus)(node, total)
    return dask.delayed(finish)(total, found if auxiliary else [], len(chunks), finishing)
