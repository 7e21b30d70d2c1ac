"""What travels once: functions, paths, parameters and arrays, called by a digest of what they contain.

Who sends work keeps contents in a `Store`; who does it keeps them on a `Shelf`, one for each process. Processes of the
same machine find them in files of a folder that both see. Who lacks a content says so, and has it sent along.
"""

from __future__ import annotations

import atexit
import base64
import contextlib
import os
import pickle
import shutil
import tempfile
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from xxhash import xxh3_128

from numbad.distributed.pickling import load, parts_of
from numbad.kernels.threads import renew_in_children

MOST_SHELVED = {"point": 4, "book": 8, "loss": 64, "path": 512}  # contents of a kind; the oldest go
MOST_OTHERS = 4096  # arrays, which are mapped from files mostly, and functions that load blocks
MOST_WRITTEN = 1 << 33  # bytes of files that are kept for later calls


class Package(NamedTuple):
    """A pickle, with the memory of its large arrays apart."""

    head: bytes
    buffers: tuple[Any, ...]

    @property
    def nbytes(self) -> int:
        """How many bytes it has."""
        return len(self.head) + sum(memoryview(part).nbytes for part in self.buffers)

    def __reduce__(self) -> Any:
        return Package, tuple(self.plain())

    def plain(self) -> Package:
        """Return it with bytes in place of memory that others may write to, as it travels."""
        return Package(self.head, tuple(bytes(part) for part in self.buffers))

    def open(self) -> Any:
        """Return what was packed; its arrays lie in the memory of the package."""
        return load(self.head, self.buffers)


def pack(thing: Any) -> Package:
    """Pickle a thing; raise what pickling raises."""
    return Package(*parts_of(thing))


def name_package(kind: str, package: Package) -> str:
    """Return the name of a package, which its contents decide."""
    digest = xxh3_128(package.head)
    for part in package.buffers:
        digest.update(memoryview(part).cast("B") if memoryview(part).nbytes else b"")
    return f"{kind}-{written(digest)}"


def written(digest: Any) -> str:
    """Return 128 bits as 22 characters that may stand in the name of a file."""
    return base64.urlsafe_b64encode(digest.digest()).decode().rstrip("=")


def name_array(values: np.ndarray) -> str:
    """Return the name of an array that lies in memory without gaps, which its contents decide."""
    order = "C" if values.flags.c_contiguous else "F"
    digest = xxh3_128(f"{values.shape}{values.dtype.str}{order}".encode())
    flat: Any = values.reshape(-1, order=order)  # type: ignore[call-overload]
    digest.update(flat.view(np.uint8) if flat.size else b"")
    return f"array-{written(digest)}"


def kind_of(name: str) -> str:
    """Return what a content is."""
    return name.partition("-")[0]


class Lacking(Exception):
    """A process lacks contents of some names."""

    def __init__(self, names: list[str]) -> None:
        super().__init__(names)
        self.names = names


class Shelf:
    """The contents that this process has, by their names, opened.

    Attributes
    ----------
    things : dict
        By kind and name; the one that was used least recently is the first of its kind.
    received : dict
        How often a content of each kind was opened here: what travels once is opened once.
    """

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.things: dict[str, OrderedDict[str, Any]] = {}
        self.received: dict[str, int] = {}

    def put(self, name: str, thing: Any) -> None:
        """Keep a content."""
        with self.lock:
            kept = self.things.setdefault(kind_of(name), OrderedDict())
            kept[name] = thing
            kept.move_to_end(name)
            while len(kept) > MOST_SHELVED.get(kind_of(name), MOST_OTHERS):
                kept.popitem(last=False)

    def drop(self, names: Iterable[str]) -> None:
        """Let contents go."""
        with self.lock:
            for name in names:
                if kind_of(name) in self.things:
                    self.things[kind_of(name)].pop(name, None)

    def find(self, name: str, sent: dict[str, Any], folder: str | None, opened: Callable[[Any], Any]) -> Any:
        """Return a content: the one that is here, one that was sent along, or that of a file; open it if it is new."""
        with self.lock:
            kept = self.things.setdefault(kind_of(name), OrderedDict())
            if name in kept:
                kept.move_to_end(name)
                return kept[name]
            raw = sent.get(name)
            if raw is None:
                raw = None if folder is None else read_content(Path(folder, name))
            if raw is None:
                raise Lacking([name])
            self.received[kind_of(name)] = self.received.get(kind_of(name), 0) + 1
            thing = opened(raw)
            self.put(name, thing)
            return thing


shelf = Shelf()
renew_in_children(shelf)


def read_content(path: Path) -> Any:
    """Return the package or the array of a file; None where there is no such file."""
    with contextlib.suppress(FileNotFoundError):
        if path.name.startswith("array-"):
            return np.asarray(np.load(path, mmap_mode="r", allow_pickle=False))
        with open(path, "rb") as stream:
            return Package(*pickle.load(stream))
    return None


class Store:
    """The folder in which contents are written for other processes of this machine.

    Attributes
    ----------
    sizes : OrderedDict
        The bytes of each file, the one that was used least recently first.
    """

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.root: str | None = None
        self.owner = 0
        self.sizes: OrderedDict[str, int] = OrderedDict()

    def folder(self) -> str:
        """Return the folder, which goes when the process ends."""
        with self.lock:
            if self.root is None or self.owner != os.getpid():  # a forked process has a folder of its own
                self.root, self.owner, self.sizes = tempfile.mkdtemp(prefix="numbad-"), os.getpid(), OrderedDict()
                atexit.register(remove, self.root, self.owner)
            return self.root

    def write(self, name: str, content: Any) -> None:
        """Write a content, if its file is not there yet."""
        path = Path(self.folder(), name)
        with self.lock:
            if name in self.sizes:
                self.sizes.move_to_end(name)
                return
            part = path.with_name(f"{name}.{threading.get_ident()}.part")
            with open(part, "wb") as stream:
                if isinstance(content, np.ndarray):
                    np.save(stream, content, allow_pickle=False)
                else:
                    pickle.dump(tuple(content.plain()), stream, protocol=5)
            os.replace(part, path)
            self.sizes[name] = path.stat().st_size

    def drop(self, names: Iterable[str]) -> None:
        """Remove the files of contents."""
        with self.lock:
            for name in names:
                if self.sizes.pop(name, None) is not None:
                    Path(self.folder(), name).unlink(missing_ok=True)

    def tidy(self, needed: set[str]) -> None:
        """Remove the oldest files where all together take more than they may, but for those that are needed."""
        with self.lock:
            for name in list(self.sizes):
                if sum(self.sizes.values()) <= MOST_WRITTEN:
                    return
                if name not in needed:
                    self.drop([name])


def remove(folder: str, owner: int) -> None:
    """Remove a folder when the process ends that has made it."""
    if os.getpid() == owner:
        shutil.rmtree(folder, ignore_errors=True)


store = Store()
renew_in_children(store)
