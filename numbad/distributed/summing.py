"""One sum over blocks: which block is sent when, which paths are recorded, and what becomes of the replies.

A path is recorded once: of each signature one block at a time may record, and others that miss a path wait for it. The
first block of a function of which nothing is known goes alone.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import Any

import numpy as np

from numbad.distributed.additions import Additions, Term
from numbad.distributed.blocks import Parcels, check_size, is_loader
from numbad.distributed.contents import Package, name_package, shelf, store
from numbad.distributed.executors import Lane, bringing
from numbad.distributed.ledgers import Ledger
from numbad.distributed.shipped_paths import LoadedPath
from numbad.distributed.workers import IDENTITY, Done, Failed, Lacks, Missed, Order, Task, name_block
from numbad.errors import InputError, NumbadError, OutputError, message, name_of
from numbad.recording.trees import put_together, take_apart
from numbad.settings import config


class Sum:
    """A sum that is under way.

    Attributes
    ----------
    forms : dict
        By number: the blocks that are under way, as they travel, and what the executor brings for them.
    again : deque
        Orders that are to be sent once more: number, and what is granted.
    granted : dict
        By number: the signature of which a block may record a path, "" where it is not known.
    parked : dict
        By signature: blocks that wait for a path that is being recorded.
    defers : bool
        Whether blocks that miss a path wait until they are told to record it, or try again (see `release`).
    news : list
        The paths that this sum has recorded, with their signatures; None for signatures of which paths are not kept.
    """

    def __init__(
        self,
        ledger: Ledger,
        point: Any,
        blocks: Any,
        lane: Lane,
        progress: Any = None,
        first: int = 0,
        defers: bool = False,
    ) -> None:
        self.ledger, self.point, self.lane, self.progress = ledger, point, lane, progress
        self.defers = defers
        self.news: list[tuple[str, Package | None]] = []
        self.blocks: Iterator[Any] = iter(blocks)
        self.expected = len(blocks) if hasattr(blocks, "__len__") else None
        self.iterator = self.blocks is blocks
        self.first = self.count = first  # numbers of blocks
        self.ended, self.flying = False, 0
        self.parcels = Parcels(lane.keep, lane.folder is None and lane.ships)
        self.forms: dict[int, tuple[Any, tuple[Any, ...]]] = {}
        self.again: deque[tuple[int, str]] = deque()
        self.granted: dict[int, str] = {}
        self.parked: dict[str, list[int]] = {}
        self.sent: dict[int, dict[str, Any]] = {}
        self.additions = Additions()
        self.auxiliary: dict[int, Any] = {}
        self.structure: Any = None
        self.shapes: list[Any] = []
        self.outline = ""
        self.watch = config.debug_nans
        self.version = -1
        self.recorded = self.unrecordable = False

    # ------------------------------------------------------------ the loop

    def run(self) -> Any:
        """Return the sum, as the tree that each block gives."""
        self.collect()
        return put_together(self.structure, self.additions.total())

    def collect(self) -> None:
        """Have all blocks computed, and add up their terms."""
        self.lane.seconds = self.ledger.seconds
        try:
            self.make_references()
            while True:
                self.fill()
                if not self.flying:
                    break
                order, reply = self.lane.next()
                self.flying -= 1
                self.take(order, reply)
        except BaseException:
            self.lane.cancel()
            raise
        finally:
            self.tidy()
        self.lane.cancel()  # nothing is under way, but a pool of the lane's own ends
        self.ledger.seconds = 0.0 if self.recorded else self.lane.seconds
        if self.recorded and not self.lane.ships:
            self.ledger.look_around()

    def fill(self) -> None:
        """Send orders as long as there is room."""
        while self.flying < self.room():
            if self.again:
                self.send(*self.again.popleft())
            elif self.ended or not self.take_block():
                return

    def room(self) -> int:
        """Return how many orders may be under way: one, as long as no path is known."""
        known = self.ledger.paths or self.ledger.loose or self.unrecordable or self.watch
        return self.lane.room if known else 1

    def take_block(self) -> bool:
        """Send the next block, if there is one."""
        number = self.count
        try:
            block = next(self.blocks)
        except StopIteration:
            self.end()
            return False
        except Exception as error:
            error.add_note(f"  when block {number} was asked for")
            raise
        self.count += 1
        brought: list[Any] = []
        try:
            self.forms[number] = self.prepare(block, number, brought), tuple(brought)
        except Exception as error:
            name_block(error, number, self.expected, None)
            raise
        first = not (self.ledger.paths or self.ledger.loose or self.unrecordable or self.defers)
        if first:
            self.granted[number] = ""
        self.send(number, "record" if first else "")
        return True

    def prepare(self, block: Any, number: int, brought: list[Any]) -> tuple[Any, ...]:
        """Return a block as it travels: the arguments behind the point."""
        parts = block.parts if isinstance(block, Several) else (block,)
        for part in parts:
            if not is_loader(part):
                check_size(part)
        if not self.lane.ships:
            return tuple(parts)
        bring = bringing(self.lane, brought)
        return tuple(self.parcels.send(part, f"block {number}", bring) for part in parts)

    def end(self) -> None:
        """Check that all blocks have come."""
        self.ended = True
        count = self.count - self.first
        if not count:
            do = "pass a list with one block at least"
            if self.iterator:
                do += "; an iterator gives its blocks once, so make it anew for each sum"
            raise InputError(message("there are no blocks", do, where=False))
        if self.expected is not None and self.expected != count:
            what = f"the blocks ended after {count} of {self.expected}"
            raise InputError(message(what, "have as many blocks as len(blocks) says", where=False))

    def send(self, number: int, grant: str) -> None:
        """Send an order."""
        if self.version != self.ledger.version:
            self.write_book()
        form, brought = self.forms[number]
        order = Order(self.task, number, form, grant)
        self.lane.submit(order, self.sent.get(number, {}), brought)
        self.flying += 1

    # ------------------------------------------------------------ contents

    def make_references(self) -> None:
        """Have the function, the point and the known paths ready for the workers."""
        ledger = self.ledger
        self.loss: Any = ledger.loss
        self.sent_point: Any = self.point
        if self.lane.ships:
            package = ledger.pack_loss()
            self.loss = self.parcels.name(name_package("loss", package), package)
            self.sent_point = self.parcels.wrap("point", self.point, "the parameters")
        self.write_book()

    def write_book(self) -> None:
        """Have ready what is known of paths, and the paths; orders from now on are of another task."""
        self.version = self.ledger.version
        for name, path in list(self.ledger.packages.items()):
            if self.lane.ships:
                self.parcels.name(name, path)
            else:
                self.parcels.contents[name] = path
        ledger, lane, book = self.ledger, self.lane, self.ledger.book()
        known: Any = self.parcels.wrap("book", book, "the paths") if lane.ships else book
        self.task = Task(
            IDENTITY, ledger.kind, self.loss, known, self.sent_point, self.watch, lane.threads, lane.folder
        )

    def tidy(self) -> None:
        """Remove the files that no later sum needs."""
        if self.lane.folder is not None:
            store.drop([name for name in self.parcels.contents if name.startswith(("point-", "book-"))])
            store.tidy(set(self.parcels.contents))

    # ------------------------------------------------------------ replies

    def take(self, order: Order, reply: Any) -> None:
        """Take what an order has come to."""
        if isinstance(reply, Done):
            self.take_terms(order, reply)
        elif isinstance(reply, Missed):
            self.take_miss(order.number, reply)
        elif isinstance(reply, Lacks):
            self.take_lack(order, reply.names)
        else:
            assert isinstance(reply, Failed)
            name_block(reply.error, order.number, self.expected, reply.where)
            raise reply.error

    def take_lack(self, order: Order, names: list[str]) -> None:
        """Send an order again, with the contents that its worker lacks."""
        number = order.number
        sent = self.sent.setdefault(number, {})
        for name in names:
            content = self.parcels.contents.get(name)
            if content is None or name in sent:
                what = f"a worker lacks {name}, which block {number} needs"
                raise NumbadError(message(what, "report it", where=False))
            sent[name] = content
        self.again.append((number, order.grant))

    def take_miss(self, number: int, reply: Missed) -> None:
        """Have the path of a block recorded, unless that is being done."""
        ledger, signature = self.ledger, reply.signature
        if len(ledger.paths.get(signature, ())) > reply.known or signature in ledger.loose:
            self.again.append((number, ""))
        elif ledger.is_full(signature):
            self.loosen(signature)
            self.again.append((number, ""))
        elif self.defers or signature in self.granted.values():
            self.parked.setdefault(signature, []).append(number)
        else:
            self.granted[number] = signature
            self.again.append((number, "record"))

    def take_terms(self, order: Order, reply: Done) -> None:
        """Add the terms of a block, and keep the path that it has recorded."""
        number = order.number
        leaves, structure = take_apart(reply.terms)
        self.compare(number, reply, leaves, structure)
        self.additions.take(number, leaves)
        if reply.auxiliary is not None:
            self.auxiliary[number] = reply.auxiliary
        del self.forms[number]
        self.sent.pop(number, None)
        if self.progress is not None:
            self.progress.update()
        if reply.unrecordable:
            self.unrecordable = True
        if number in self.granted:
            del self.granted[number]
            self.take_path(order, reply)

    def take_path(self, order: Order, reply: Done) -> None:
        """Keep the path that a block has recorded, and go on with those that wait for it."""
        signature = reply.signature
        if reply.path is not None:
            self.recorded = True
            self.news.append((signature, reply.path))
            name = self.ledger.add(signature, reply.path)
            if not self.lane.ships:
                shelf.put(name, LoadedPath(reply.path))
        elif reply.unrecordable and not self.watch:
            self.loosen(signature)
        self.again.extend((number, "") for number in self.parked.pop(signature, ()))

    def loosen(self, signature: str) -> None:
        """Have other blocks of a signature recorded anew each time."""
        self.ledger.loosen(signature)
        self.news.append((signature, None))

    def release(self, signature: str, records: bool) -> None:
        """Have blocks that wait for a path try again, or one of them record it."""
        numbers = self.parked.pop(signature)
        if records:
            self.granted[numbers[0]] = signature
            self.again.append((numbers[0], "record"))
            self.parked[signature] = numbers[1:]
        else:
            self.again.extend((number, "") for number in numbers)

    def compare(self, number: int, reply: Done, leaves: Term, structure: Any) -> None:
        """Raise where a block is nested otherwise than the others, or gives something else."""
        shapes = [() if type(leaf) is float else np.shape(leaf) for leaf in leaves]
        if self.structure is None:
            self.structure, self.shapes, self.outline = structure, shapes, reply.outline
            return
        if reply.outline != self.outline:
            what = f"block {number} is nested as {reply.outline}, others as {self.outline}"
            raise InputError(message(what, "nest all blocks alike", where=False))
        if structure != self.structure or shapes != self.shapes:
            name = name_of(self.ledger.loss)
            what = f"{name} of block {number} gives results of the shapes {shapes}, of others {self.shapes}"
            raise OutputError(message(what, "return the same shapes for each block", where=False))


class Several:
    """A block of several parts, each an argument of its own."""

    __slots__ = ("parts",)

    def __init__(self, parts: tuple[Any, ...]) -> None:
        self.parts = parts
