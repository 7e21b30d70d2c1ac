"""What runs where the blocks are computed: an order comes in, a reply goes out.

A worker tries the paths that are known for the block. Where none holds it says so, or records another if it was told
to: one at a time for each signature, so all workers together record a path once.
"""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import linecache
import pickle
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from numbad.distributed.blas_threads import one_blas_thread
from numbad.distributed.blocks import Named, check_size, open_block, opened
from numbad.distributed.contents import Lacking, Package, shelf
from numbad.distributed.derivatives import derivative_of, split
from numbad.distributed.shipped_paths import MISSED, LoadedPath, Unrecordable, record_path
from numbad.distributed.signatures import Call, look_at_part, put_parts
from numbad.errors import INTERNAL, NumbadError, SourceLine, describe_site, message, read_line, site_of
from numbad.kernels.threads import count_threads, most_threads, renew_in_children, set_num_threads
from numbad.settings import VERSION, config

INTERNAL.add("numbad.distributed")  # not in the list there: kernels are made of that module too, and would be made anew

IDENTITY = (VERSION, sys.version_info[:2])  # what a worker and its client must have in common


@dataclasses.dataclass(frozen=True, slots=True)
class Task:
    """What the orders of a sum have in common.

    Attributes
    ----------
    identity : tuple
        See `IDENTITY`.
    kind : str
        What is computed (see `derivatives`).
    loss, book, point : Named, Package, or the thing itself
        The function; the names of the known paths, by signature; where to differentiate.
    watch : bool
        Whether to look for numbers that are not finite.
    threads : int
        How many threads to compute with, 0 for as many as there are.
    folder : str or None
        Where contents are, if this is the same machine.
    """

    identity: tuple[Any, ...]
    kind: str
    loss: Any
    book: Any
    point: Any
    watch: bool = False
    threads: int = 0
    folder: str | None = None

    def __reduce__(self) -> Any:
        return Task, tuple(getattr(self, name) for name in self.__slots__)


class Order:
    """What is to be computed of a block.

    Attributes
    ----------
    task : Task
    number : int
        Of the block.
    block : tuple
        The parts of the block, as they travel.
    grant : str
        "" to say which paths are missing, "record" to record and send one, "alone" to record without sending it.
    """

    __slots__ = ("block", "grant", "number", "task")

    def __init__(self, task: Task, number: int, block: tuple[Any, ...], grant: str) -> None:
        self.task, self.number, self.block, self.grant = task, number, block, grant

    def __reduce__(self) -> Any:
        return Order, (self.task, self.number, self.block, self.grant)


Given = tuple[Order, dict[str, Any], tuple[Any, ...]]  # an order, contents that are sent along, and what is brought


class Book(NamedTuple):
    """What is known of paths.

    Attributes
    ----------
    paths : dict
        By signature: the names of those that have been recorded.
    loose : set of str
        Signatures of which there are other blocks, which are recorded anew each time: there are too many paths, or
        they do not travel.
    """

    paths: dict[str, tuple[str, ...]]
    loose: set[str]


class Done(NamedTuple):
    """The terms of a block; a path, if one was recorded; whether the block cannot be recorded as one."""

    terms: Any
    auxiliary: Any
    signature: str
    outline: str
    path: Package | None = None
    unrecordable: bool = False


class Lacks(NamedTuple):
    """The names of contents that have to be sent along."""

    names: list[str]


class Missed(NamedTuple):
    """None of the known paths is that of the block."""

    signature: str
    known: int


class Failed(NamedTuple):
    """What the block has raised, and the user's line."""

    error: Any
    where: SourceLine | None


def run_orders(given: list[Given]) -> list[Any]:
    """Carry out orders of one task; return a `Done`, `Lacks`, `Missed` or `Failed` for each."""
    bench = Bench(given[0][0].task)
    task = bench.task
    try:
        check_identity(task.identity)
    except NumbadError as error:
        return [failure(error) for _ in given]
    with one_blas_thread():
        if not (task.threads or task.watch):
            return [attempt(bench, *part) for part in given]
        with using_threads(task.threads), watching(task.watch):
            return [attempt(bench, *part) for part in given]


def attempt(bench: Bench, order: Order, sent: dict[str, Any], brought: tuple[Any, ...]) -> Any:
    """Carry out an order, whatever happens."""
    try:
        return compute(bench, order, sent, brought)
    except Lacking as lacking:
        return Lacks(lacking.names)
    except Exception as error:
        return failure(error)


def run_order(order: Order, sent: dict[str, Any] | None = None, brought: tuple[Any, ...] = ()) -> Any:
    """Carry out an order; return a `Done`, `Lacks`, `Missed` or `Failed`."""
    return run_orders([(order, sent or {}, brought)])[0]


def run_group(given: list[Given]) -> tuple[float, list[Any]]:
    """Carry out several orders, each with its contents; return how many seconds they took, and the replies."""
    begin = time.perf_counter()
    replies: list[Any] = []
    for _, orders in itertools.groupby(given, lambda part: id(part[0].task)):
        replies += run_orders(list(orders))
    return time.perf_counter() - begin, replies


def run_named(name: str, place: int, given: list[Given]) -> tuple[str, int, tuple[float, list[Any]]]:
    """Carry out several orders; return the name and the place that they have come with, and what `run_group` gives."""
    return name, place, run_group(given)


def name_block(error: Any, number: int, count: int | None, where: SourceLine | None) -> None:
    """Add to an error which block has raised it, and the user's line, whose text may be known here alone."""
    note = f"  in block {number}" + ("" if count is None else f" of {count}")
    if where is not None:
        source = where.source or linecache.getline(where.file, where.line).strip()
        note += f", at {describe_site(where._replace(source=source))}"
    error.add_note(note)


def check_identity(identity: tuple[Any, ...]) -> None:
    """Raise a NumbadError where the client is of another version."""
    if identity != IDENTITY:
        (theirs, python), (ours, own) = identity, IDENTITY
        what = (
            f"a worker has numbad {ours} and Python {'.'.join(map(str, own))}, "
            f"the client numbad {theirs} and Python {'.'.join(map(str, python))}"
        )
        raise NumbadError(message(what, "install the same versions where the blocks are computed", where=False))


def failure(error: Exception) -> Failed:
    """Return an error as it travels, with the user's line."""
    site = site_of(error)
    where = None if site is None else read_line(site)
    try:
        if type(pickle.loads(pickle.dumps(error))) is type(error):
            return Failed(error, where)
    except Exception:
        pass
    return Failed(NumbadError(f"{type(error).__name__}: {error}"), where)


@contextlib.contextmanager
def using_threads(count: int) -> Iterator[None]:
    """Compute with so many threads, 0 for as many as before."""
    before = count_threads() if count else 0
    count = min(count, most_threads()) if count else 0
    if count == before:
        yield
        return
    set_num_threads(count)
    try:
        yield
    finally:
        set_num_threads(min(before, most_threads()))


class Watch:
    """How many threads of this process look for numbers that are not finite, and what the setting was before."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.depth, self.before = 0, False


watch = Watch()
renew_in_children(watch)


@contextlib.contextmanager
def watching(on: bool) -> Iterator[None]:
    """Look for numbers that are not finite, or leave the setting as it is: the last thread to end puts it back."""
    if not on:
        yield
        return
    with watch.lock:
        if not watch.depth:
            watch.before = config._debug_nans
        watch.depth += 1
        config._debug_nans = True
    try:
        yield
    finally:
        with watch.lock:
            watch.depth -= 1
            if not watch.depth:
                config._debug_nans = watch.before


class Bench:
    """What is opened once for orders that follow one another.

    Attributes
    ----------
    book : Book
        The paths that are known.
    point : any
        Where to differentiate, None as long as nothing has been opened.
    """

    __slots__ = ("book", "part", "point", "task")

    def __init__(self, task: Task) -> None:
        self.task = task
        self.point: Any = None

    def find(self, thing: Any, sent: dict[str, Any]) -> Any:
        """Return a thing that an order has, by its name or packed."""
        if isinstance(thing, Named):
            return shelf.find(thing.name, sent, self.task.folder, opened)
        return thing.open() if isinstance(thing, Package) else thing

    def open(self, sent: dict[str, Any]) -> None:
        """Open what all orders need."""
        if self.point is None:
            self.book: Book = self.find(self.task.book, sent)
            point = self.find(self.task.point, sent)
            self.part = look_at_part(point)
            self.point = point


def compute(bench: Bench, order: Order, sent: dict[str, Any], brought: tuple[Any, ...]) -> Any:
    """Compute a block by a path, or as its order says."""
    bench.open(sent)
    task, book = bench.task, bench.book

    def find(thing: Any) -> Any:
        return bench.find(thing, sent)

    block = [open_block(part, find, brought) for part in order.block]
    for part in block:
        check_size(part)
    call = put_parts([bench.part, *map(look_at_part, block)])
    if task.watch or not call.recordable:
        return anew(task.kind, find(task.loss), (bench.point, *block), call)
    names = book.paths.get(call.signature, ())
    for path in find_paths(names, task, sent):
        found = path.run(call.values)
        if found is not MISSED:
            return Done(*split(task.kind, found), call.signature, call.outline)
    if not order.grant and call.signature not in book.loose:
        return Missed(call.signature, len(names))
    return record(order, find(task.loss), (bench.point, *block), call)


def find_paths(names: tuple[str, ...], task: Task, sent: dict[str, Any]) -> list[LoadedPath]:
    """Return paths by their names; what is lacking of them is told at once."""
    found, lacking = [], []
    for name in names:
        try:
            found.append(shelf.find(name, sent, task.folder, LoadedPath))
        except Lacking:
            lacking.append(name)
    if lacking:
        raise Lacking(lacking)
    return found


def record(order: Order, loss: Callable[..., Any], arguments: tuple[Any, ...], call: Call) -> Done:
    """Record the path of a block, and compute the block by it."""
    kind = order.task.kind
    try:
        package = record_path(kind, loss, arguments)
    except (NumbadError, Unrecordable):  # the function itself raises it again, or can do without
        return anew(kind, loss, arguments, call)
    found = LoadedPath(package).run(call.values)
    if found is MISSED:
        return anew(kind, loss, arguments, call)
    return Done(*split(kind, found), call.signature, call.outline, package if order.grant == "record" else None)


def anew(kind: str, loss: Callable[..., Any], arguments: tuple[Any, ...], call: Call) -> Done:
    """Compute a block by running the function."""
    found = derivative_of(kind, loss)(*arguments)
    return Done(*split(kind, found), call.signature, call.outline, None, True)
