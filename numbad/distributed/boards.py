"""Which process records a path, where each task of a graph finds out for itself that it misses one.

A *board* says what has been recorded and by whom it is being recorded. On a Dask cluster its scheduler keeps it; for
processes of this machine, as Dask's multiprocessing scheduler has them, it is a file that one of them opens at a time.
Where there is none, each process records for itself.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import sys
import weakref
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from numbad.distributed.contents import Package
from numbad.distributed.ledgers import MOST_PATHS

Key = tuple[str, str, str]  # what is computed, the name of the function, the signature of the call
MOST_PINNED = 256 << 20  # bytes of paths on a board; those that were asked for least recently go
MOST_OF_ONE = 64 << 20  # bytes of a path that is pinned: larger ones each process records for itself


class Advice(NamedTuple):
    """What a process does that misses a path.

    Attributes
    ----------
    what : str
        "paths" to try those that others have recorded, "record" to record one, "wait" for who does, "loose" to record
        it without telling.
    packages : dict
        By name: the paths that it does not have.
    """

    what: str
    packages: dict[str, Package]


class Entry:
    """The paths of a signature, and who records another now, "" for nobody."""

    def __init__(self) -> None:
        self.packages: dict[str, Package] = {}
        self.loose = self.large = False
        self.recorder = ""

    @property
    def nbytes(self) -> int:
        """How many bytes the paths have."""
        return sum(package.nbytes for package in self.packages.values())


class Board:
    """What has been recorded, and by whom it is being recorded."""

    def __init__(self) -> None:
        self.entries: OrderedDict[Key, Entry] = OrderedDict()

    def consult(self, key: Key, known: tuple[str, ...], who: str, alive: Callable[[str], bool]) -> Advice:
        """Return what a process does that knows some paths and misses one; who may record is noted."""
        entry = self.entries.setdefault(key, Entry())
        self.entries.move_to_end(key)
        more = {name: package for name, package in entry.packages.items() if name not in known}
        if more:
            return Advice("paths", more)
        if entry.large:
            return Advice("record", {})
        if entry.loose or len(entry.packages) >= MOST_PATHS:
            return Advice("loose", {})
        if entry.recorder and entry.recorder != who and alive(entry.recorder):
            return Advice("wait", {})
        entry.recorder = who
        return Advice("record", {})

    def note(self, key: Key, name: str, package: Package | None, loose: bool) -> None:
        """Pin what has been recorded; None if nothing has."""
        entry = self.entries.setdefault(key, Entry())
        entry.recorder, entry.loose = "", entry.loose or loose
        if package is not None:
            entry.large = package.nbytes > MOST_OF_ONE
            if not entry.large:
                entry.packages[name] = package
        whole = sum(entry.nbytes for entry in self.entries.values())
        for other in [other for other, entry in self.entries.items() if not entry.recorder and other != key]:
            if whole <= MOST_PINNED:
                return
            whole -= self.entries.pop(other).nbytes


class Access(Protocol):
    """How a process gets at the board."""

    def consult(self, key: Key, known: tuple[str, ...]) -> Advice:
        """Return what to do about a path that is missed."""

    def note(self, key: Key, name: str, package: Package | None, loose: bool) -> None:
        """Tell what has been recorded."""


class OwnBoard:
    """No board at all: other threads of this process wait for a lock."""

    def consult(self, key: Key, known: tuple[str, ...]) -> Advice:
        """Return that the path is to be recorded."""
        return Advice("loose" if len(known) >= MOST_PATHS else "record", {})

    def note(self, key: Key, name: str, package: Package | None, loose: bool) -> None:
        """Do nothing."""


# ---------------------------------------------------------------- on the scheduler of a cluster

pinned: weakref.WeakKeyDictionary[Any, Board] = weakref.WeakKeyDictionary()  # by scheduler


def consult_on_scheduler(key: Key, known: tuple[str, ...], who: str, dask_scheduler: Any = None) -> Advice:
    """Consult the board of a scheduler; runs in its process."""
    board = pinned.setdefault(dask_scheduler, Board())
    living = {state.server_id for state in dask_scheduler.workers.values()}
    return board.consult(key, known, who, lambda other: other in living)


def note_on_scheduler(key: Key, name: str, package: Package | None, loose: bool, dask_scheduler: Any = None) -> None:
    """Pin something to the board of a scheduler; runs in its process."""
    pinned.setdefault(dask_scheduler, Board()).note(key, name, package, loose)


class SchedulerBoard:
    """The board of the cluster whose worker this process is."""

    def __init__(self, worker: Any) -> None:
        self.worker = worker

    def consult(self, key: Key, known: tuple[str, ...]) -> Advice:
        """Ask the scheduler; record where it does not know of boards, as one without numbad."""
        try:
            client = self.worker._get_client()
            found: Advice = client.run_on_scheduler(consult_on_scheduler, key, known, self.worker.id)
        except Exception:
            return OwnBoard().consult(key, known)
        return found

    def note(self, key: Key, name: str, package: Package | None, loose: bool) -> None:
        """Tell the scheduler; what it does not take in others record for themselves."""
        with contextlib.suppress(Exception):
            self.worker._get_client().run_on_scheduler(note_on_scheduler, key, name, package, loose)


# ---------------------------------------------------------------- in a file of this machine


class FileBoard:
    """A board in a file of a folder that all processes see."""

    def __init__(self, folder: str) -> None:
        self.path = Path(folder, "board")

    def change(self, function: Callable[[Board], Any]) -> Any:
        """Do something with the board while no other process does."""
        import fcntl

        with open(self.path, "a+b") as stream:
            fcntl.flock(stream, fcntl.LOCK_EX)
            stream.seek(0)
            held = stream.read()
            board = pickle.loads(held) if held else Board()
            found = function(board)
            stream.truncate(0)
            pickle.dump(board, stream, protocol=5)
        return found

    def consult(self, key: Key, known: tuple[str, ...]) -> Advice:
        """Look at the file."""
        found: Advice = self.change(lambda board: board.consult(key, known, str(os.getpid()), is_running))
        return found

    def note(self, key: Key, name: str, package: Package | None, loose: bool) -> None:
        """Write into the file."""
        self.change(lambda board: board.note(key, name, package, loose))


def is_running(number: str) -> bool:
    """Whether there is a process of a number."""
    try:
        os.kill(int(number), 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


# ---------------------------------------------------------------- which one


def find_board(home: tuple[str, int]) -> Access:
    """Return the board that this process goes by; `home` is the folder and the number of the process of the graph."""
    distributed: Any = sys.modules.get("distributed")
    if distributed is not None:
        with contextlib.suppress(ValueError):  # this is no worker
            return SchedulerBoard(distributed.get_worker())
    folder, owner = home
    if os.getpid() != owner and os.name == "posix" and os.path.isdir(folder):
        return FileBoard(folder)
    return OwnBoard()
