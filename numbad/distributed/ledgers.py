"""What is known of a function: the paths that have been recorded of it, for all sums of it that follow one another."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

from numbad.distributed.contents import Package, name_package, pack
from numbad.distributed.pickling import explain
from numbad.distributed.workers import Book
from numbad.errors import message, name_of
from numbad.kernels.threads import renew_in_children
from numbad.replay.snapshot import Snapshot
from numbad.replay.telling import warn

MOST_PATHS = 64  # of one signature
MOST_SIGNATURES = 256
MOST_LEDGERS = 16  # functions of which something is known; the one that was used least recently goes
LARGE = 100 << 20  # bytes of a function that are worth a warning


class Ledger:
    """The paths of a function.

    Attributes
    ----------
    paths : dict
        By signature: the names of the paths.
    loose : set of str
        See `Book`.
    packages : dict
        The paths, by their names.
    recordings : int
        How many paths have been recorded, without those that another rank has.
    seconds : float
        What a block has taken on average in the last sum; 0 where that is not known.
    version : int
        How often something has become known: sums in other threads write into it, too.
    """

    def __init__(self, kind: str, loss: Callable[..., Any]) -> None:
        self.kind, self.loss = kind, loss
        self.paths: dict[str, tuple[str, ...]] = {}
        self.loose: set[str] = set()
        self.packages: dict[str, Package] = {}
        self.recordings = 0
        self.snapshot = Snapshot(loss)
        self.package: Package | None = None
        self.seconds = 0.0
        self.version = 0

    def add(self, signature: str, path: Package, recorded: bool = True) -> str:
        """Keep a path; return its name."""
        name = name_package("path", path)
        self.packages[name] = path
        self.recordings += recorded
        self.paths[signature] = (*self.paths.get(signature, ()), name)
        self.version += 1
        return name

    def loosen(self, signature: str) -> None:
        """Have other blocks of a signature recorded anew each time."""
        self.loose.add(signature)
        self.version += 1

    def is_full(self, signature: str) -> bool:
        """Whether no more paths of a signature are kept."""
        known = self.paths.get(signature)
        return len(self.paths) >= MOST_SIGNATURES if known is None else len(known) >= MOST_PATHS

    def book(self) -> Book:
        """Return what workers are told."""
        return Book(dict(self.paths), set(self.loose))

    def look_around(self) -> None:
        """Note anew what the function takes from outside: what it changed while it was recorded is no change."""
        self.snapshot = Snapshot(self.loss)

    def pack_loss(self) -> Package:
        """Return the function as it travels, which is packed once; warn where it is large."""
        if self.package is None:
            try:
                self.package = pack(self.loss)
            except Exception as error:
                raise explain(self.loss, f"the function {name_of(self.loss)}", error) from error
            if self.package.nbytes > LARGE:
                what = (
                    f"{name_of(self.loss)} takes {self.package.nbytes >> 20} MB from outside, which go to each worker"
                )
                do = "make them blocks, or have the function read them from a file"
                warn(message(what, do, where=False))
        return self.package


ledgers: OrderedDict[Any, Ledger] = OrderedDict()


class Guard:
    """Lets one thread at a time look for a ledger."""

    def __init__(self) -> None:
        self.lock = threading.RLock()


guard = Guard()
renew_in_children(guard)


def find_ledger(kind: str, loss: Callable[..., Any]) -> Ledger:
    """Return what is known of a function, nothing where something that it takes from outside has changed."""
    try:
        hash(loss)
    except TypeError:
        return Ledger(kind, loss)
    with guard.lock:
        found = ledgers.get((kind, loss))
        if found is None or found.snapshot.changed():
            found = ledgers[kind, loss] = Ledger(kind, loss)
        ledgers.move_to_end((kind, loss))
        while len(ledgers) > MOST_LEDGERS:
            ledgers.popitem(last=False)
        return found
