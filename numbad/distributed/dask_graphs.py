"""Sums over the chunks of Dask's arrays: the blocks and the tree of additions as tasks of one graph.

Dask decides where a chunk is computed, when it is let go or spilled, and computes again what was lost. A process of
its workers that misses a path asks the others for it, and one of them records it.
"""

from __future__ import annotations

import math
import os
import threading
import time
from collections.abc import Callable
from typing import Any, NamedTuple

from numbad.distributed.blocks import is_collection, opened
from numbad.distributed.boards import Access, Key, find_board
from numbad.distributed.contents import Package, name_package, shelf, store
from numbad.distributed.ledgers import Ledger
from numbad.distributed.shipped_paths import LoadedPath
from numbad.distributed.workers import IDENTITY, Book, Done, Failed, Missed, Order, Task, name_block, run_order
from numbad.errors import InputError, message
from numbad.kernels.threads import renew_in_children
from numbad.recording.trees import put_together, take_apart
from numbad.settings import config

FIRST_PAUSE, LONGEST_PAUSE = 0.005, 0.2  # seconds between two looks at whether another process has recorded a path


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
    """The paths that this process has of functions that came with tasks.

    Attributes
    ----------
    books : dict
        By what is computed and the name of the function.
    recordings : int
        How many paths this process has recorded.
    """

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.books: dict[tuple[str, str], Book] = {}
        self.recordings = 0


books = Books()
renew_in_children(books)


class Graph(NamedTuple):
    """What the tasks of a graph have in common.

    Attributes
    ----------
    kind : str
        What is computed.
    package : Package
        The function.
    home : tuple
        The folder and the number of the process that has made the graph.
    """

    kind: str
    package: Package
    home: tuple[str, int]


def compute_chunk(graph: Graph, point: Any, number: int, parts: tuple[Any, ...]) -> tuple[Any, Any]:
    """Return the terms of a chunk, and what is auxiliary."""
    kind, package, home = graph
    name = name_package("loss", package)
    loss = shelf.find(name, {name: package}, None, opened)
    book = books.books.setdefault((kind, name), Book({}, set()))

    task = Task(IDENTITY, kind, loss, book, point, config.debug_nans, 1)

    def run(grant: str) -> Any:
        return run_order(Order(task, number, parts, grant))

    reply = run("")
    if isinstance(reply, Missed):
        with books.lock:  # another thread may have recorded the path meanwhile
            reply = find_path(run, book, (kind, name), find_board(home))
    if isinstance(reply, Failed):
        name_block(reply.error, number, None, reply.where)
        raise reply.error
    return reply.terms, reply.auxiliary


def find_path(run: Callable[[str], Any], book: Book, what: tuple[str, str], board: Access) -> Any:
    """Return the reply to a chunk that misses a path: by one that another process has recorded, else by its own."""
    pause, reply = FIRST_PAUSE, run("")
    while isinstance(reply, Missed):
        signature = reply.signature
        key = (*what, signature)
        advice = board.consult(key, book.paths.get(signature, ()))
        if advice.what == "wait":
            time.sleep(pause)
            pause = min(2.0 * pause, LONGEST_PAUSE)
            continue
        if advice.what == "record":
            return record_path(run, book, key, board)
        if advice.what == "loose":
            book.loose.add(signature)
        for name, package in advice.packages.items():
            enter(book, signature, name, package)
        reply = run("")
    return reply


def record_path(run: Callable[[str], Any], book: Book, key: Key, board: Access) -> Any:
    """Return the reply to a chunk of which a path is recorded, and tell others of it."""
    reply, name = None, ""
    try:
        reply = run("record")
        if isinstance(reply, Done) and reply.path is not None:
            name = name_package("path", reply.path)
            enter(book, reply.signature, name, reply.path)
            books.recordings += 1
        elif isinstance(reply, Done) and reply.unrecordable:
            book.loose.add(reply.signature)
    finally:  # whatever happens, others do not wait for this process
        done = reply if isinstance(reply, Done) else None
        board.note(key, name, done and done.path, bool(done and done.unrecordable and not config.debug_nans))
    return reply


def enter(book: Book, signature: str, name: str, package: Package) -> None:
    """Enter a path into a book."""
    shelf.put(name, LoadedPath(package))
    book.paths[signature] = (*book.paths.get(signature, ()), name)


def compute_terms(graph: Graph, point: Any, number: int, parts: tuple[Any, ...]) -> Any:
    """Return the terms of a chunk."""
    return compute_chunk(graph, point, number, parts)[0]


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

    home = store.folder(), os.getpid()
    graph = dask.delayed(Graph(ledger.kind, ledger.pack_loss().plain(), home), traverse=False)
    point = dask.delayed(point, traverse=False)
    task = dask.delayed(compute_chunk if auxiliary else compute_terms, pure=False)
    found = [task(graph, point, number, list(parts)) for number, parts in enumerate(chunks)]
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
