"""Who carries out orders: this process, pools of threads and processes, joblib, a Dask cluster.

Each executor that users have becomes a *lane*: orders go in, replies come out in whichever order they are ready.
"""

from __future__ import annotations

import concurrent.futures
import queue
import socket
import sys
import time
import uuid
import weakref
from collections import OrderedDict, deque
from concurrent.futures import BrokenExecutor, CancelledError, Executor, ProcessPoolExecutor, ThreadPoolExecutor
from typing import Any, Protocol

import numpy as np

from numbad.distributed.blocks import Brought, Sent, is_future
from numbad.distributed.contents import Package, pack, store
from numbad.distributed.workers import Given, Order, run_group, run_named, run_order
from numbad.errors import InputError, NumbadError, message
from numbad.kernels.threads import most_threads
from numbad.replay.telling import warn

MOST_LOST = 3  # times that workers may die before the sum is given up
AHEAD = 4  # orders for each worker that wait in a pool
AHEAD_FAR = 8  # the same of a cluster, whose scheduler takes some time for an answer
AHEAD_ROUND = 1024  # the same of joblib, which takes them in rounds

WORTH_A_MESSAGE = 0.002  # seconds of orders that go together: a message takes a tenth of that at most
MOST_GROUPED = 64  # orders that go together
MOST_SCATTERED = 4096  # contents that a cluster is to keep for later sums

scattered: weakref.WeakKeyDictionary[Any, OrderedDict[str, Any]] = weakref.WeakKeyDictionary()  # by client, by name


class Lane(Protocol):
    """What carries out orders.

    Attributes
    ----------
    ships : bool
        Whether orders are pickled.
    threads : int
        With how many threads each is carried out, 0 for as many as there are.
    folder : str or None
        Where contents are written for the workers.
    seconds : float
        What an order has taken on average; 0 as long as that is not known.
    """

    ships: bool
    threads: int
    folder: str | None
    seconds: float

    @property
    def room(self) -> int:
        """How many orders may be under way."""

    def keep(self, name: str, content: Any) -> None:
        """Have a content ready for the workers."""

    def submit(self, order: Order, sent: dict[str, Any], brought: tuple[Any, ...]) -> None:
        """Begin an order."""

    def next(self) -> tuple[Order, Any]:
        """Wait for a reply; return the order and the reply."""

    def cancel(self) -> None:
        """Leave nothing running, whatever has happened."""


class HereLane:
    """This process, one block at a time."""

    ships, room, threads = False, 1, 0

    def __init__(self) -> None:
        self.folder: str | None = None
        self.seconds = 0.0
        self.waiting: deque[Given] = deque()

    def keep(self, name: str, content: Any) -> None:
        """Do nothing: all contents are here."""

    def submit(self, order: Order, sent: dict[str, Any], brought: tuple[Any, ...]) -> None:
        """Begin an order."""
        self.waiting.append((order, sent, brought))

    def next(self) -> tuple[Order, Any]:
        """Carry out an order."""
        order, sent, brought = self.waiting.popleft()
        return order, run_order(order, sent, brought)

    def cancel(self) -> None:
        """Forget what has not begun."""
        self.waiting.clear()


class GroupLane:
    """What lanes to other processes share: orders wait until a reply is asked for, and short ones go in groups.

    Attributes
    ----------
    workers : int
    """

    def __init__(self, workers: int, ahead: int, threads: int) -> None:
        self.workers, self.ahead, self.threads = max(1, workers), ahead, threads
        self.seconds = 0.0
        self.waiting: list[Given] = []
        self.ready: deque[tuple[Order, Any]] = deque()

    @property
    def room(self) -> int:
        """How many orders may be under way."""
        return self.ahead * self.workers * self.size()

    def size(self) -> int:
        """Return how many orders are worth a message."""
        return max(1, min(MOST_GROUPED, int(WORTH_A_MESSAGE / self.seconds))) if self.seconds else 1

    def submit(self, order: Order, sent: dict[str, Any], brought: tuple[Any, ...]) -> None:
        """Have an order go with the next ones."""
        self.waiting.append((order, sent, brought))

    def groups(self, given: list[Given]) -> list[list[Given]]:
        """Return orders in groups, at least two for each worker."""
        size = max(1, min(self.size(), len(given) // (2 * self.workers)))
        return [given[k : k + size] for k in range(0, len(given), size)]

    def receive(self, group: list[Given], reply: tuple[float, list[Any]]) -> None:
        """Take the replies of a group."""
        seconds, replies = reply
        self.seconds += (seconds / len(group) - self.seconds) * (0.2 if self.seconds else 1.0)
        self.ready.extend((given[0], found) for given, found in zip(group, replies, strict=True))


class PoolLane(GroupLane):
    """A pool of `concurrent.futures`, or one like it."""

    def __init__(self, pool: Executor) -> None:
        workers = int(getattr(pool, "_max_workers", 0) or 1)
        super().__init__(workers, AHEAD, max(1, most_threads() // workers))
        self.pool: Any = pool
        self.ships = not isinstance(pool, ThreadPoolExecutor)
        self.folder = store.folder() if self.ships else None
        self.done: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self.under_way: dict[Any, list[Given]] = {}
        self.own: Executor | None = None
        self.lost = 0

    def keep(self, name: str, content: Any) -> None:
        """Write a content to a file, for processes of this machine."""
        if self.ships:
            store.write(name, content)

    def flush(self) -> None:
        """Send the orders that wait."""
        while self.waiting:
            given, self.waiting = self.waiting, []
            for group in self.groups(given):
                self.begin(group)

    def begin(self, group: list[Given]) -> None:
        """Begin a group."""
        try:
            future = self.pool.submit(run_group, group)
        except BrokenExecutor:
            self.renew([group])
            return
        except RuntimeError as error:
            raise shut_down(error) from error
        self.under_way[future] = group
        future.add_done_callback(self.done.put)

    def next(self) -> tuple[Order, Any]:
        """Wait for a reply."""
        while not self.ready:
            self.flush()
            future = self.done.get()
            group = self.under_way.pop(future, None)
            if group is None:
                continue  # of a pool that has broken
            try:
                self.receive(group, future.result())
            except BrokenExecutor:
                self.renew([group])
            except CancelledError as error:
                raise shut_down(error) from error
        return self.ready.popleft()

    def renew(self, groups: list[list[Given]]) -> None:
        """Go on with a pool of our own where a worker has died, with which the whole pool ends."""
        groups += self.under_way.values()
        self.under_way.clear()
        self.waiting += [given for group in groups for given in group]
        self.lost += 1
        if not isinstance(self.pool, ProcessPoolExecutor) or self.lost > MOST_LOST:
            raise died(sorted(order.number for order, *_ in self.waiting), self.lost)
        if self.own is None:
            what = "a worker of the pool has died, and the pool with it; a pool of the same size goes on"
            warn(message(what, "make a new pool for what comes after", where=False))
        else:
            self.own.shutdown(wait=False, cancel_futures=True)
        self.own = self.pool = ProcessPoolExecutor(self.workers, getattr(self.pool, "_mp_context", None))

    def cancel(self) -> None:
        """Cancel what has not begun, and wait for the rest."""
        for future in self.under_way:
            future.cancel()
        if self.under_way:
            concurrent.futures.wait(self.under_way)
        self.under_way.clear()
        self.waiting, self.ready = [], deque()
        if self.own is not None:
            self.own.shutdown(wait=True, cancel_futures=True)


def shut_down(error: BaseException) -> NumbadError:
    """Return the error of an executor that takes no more work."""
    what = f"the executor has been shut down ({type(error).__name__}: {error})"
    return NumbadError(message(what, "keep it open until the sum is there", where=False))


def died(numbers: list[int], times: int) -> NumbadError:
    """Return the error of workers that die again and again."""
    which = f"block {numbers[0]}" if len(numbers) == 1 else f"one of the blocks {', '.join(map(str, numbers))}"
    what = f"workers died {times} times, computing {which}"
    return NumbadError(
        message(what, "compute that block in this process: does it take more memory than there is?", where=False)
    )


class JoblibLane(GroupLane):
    """`joblib.Parallel`: what waits is carried out together, round by round."""

    ships = True

    def __init__(self, parallel: Any) -> None:
        workers = max(1, int(parallel._effective_n_jobs()))
        super().__init__(workers, AHEAD_ROUND, max(1, most_threads() // workers))
        self.parallel = parallel
        self.folder: str | None = store.folder()
        self.lost = 0

    def keep(self, name: str, content: Any) -> None:
        """Write a content to a file."""
        store.write(name, content)

    def next(self) -> tuple[Order, Any]:
        """Return a reply of the last round, or begin another."""
        while not self.ready:
            groups = self.groups(self.waiting)
            found = self.carry_out(groups)
            for place, reply in found.items():
                self.receive(groups[place], reply)
            self.waiting = [given for place, group in enumerate(groups) if place not in found for given in group]
            if self.waiting:
                self.lost += 1
                if self.lost > MOST_LOST:
                    raise died([order.number for order, *_ in self.waiting], self.lost)
        return self.ready.popleft()

    def carry_out(self, groups: list[list[Given]]) -> dict[int, Any]:
        """Return the replies of groups by their places; those that a worker has taken along are missing.

        Of a call that a dead worker has broken off joblib may leave jobs for the next one, which then returns their
        replies, too: so each says of which call it is, and which group.
        """
        name = uuid.uuid4().hex
        jobs: Any = ((run_named, (name, place, group), {}) for place, group in enumerate(groups))
        try:
            replies = list(self.parallel(jobs))
        except BrokenExecutor:
            return {}
        return {place: reply for theirs, place, reply in replies if theirs == name}

    def cancel(self) -> None:
        """Forget what has not begun: nothing runs between two rounds."""
        self.waiting, self.ready = [], deque()


class DaskLane(GroupLane):
    """A `dask.distributed.Client`: its scheduler runs the orders of dead workers again."""

    ships = True

    def __init__(self, client: Any) -> None:
        if client.status != "running":
            raise shut_down(RuntimeError(f"the client is {client.status}"))
        workers = client.scheduler_info(n_workers=-1)["workers"]
        threads = sum(worker["nthreads"] for worker in workers.values())
        super().__init__(threads, AHEAD_FAR, 1)  # Dask runs as many tasks in a worker as it has threads
        self.client = client
        self.folder = store.folder() if all(map(is_here, workers)) else None
        self.under_way: dict[str, tuple[Any, list[Given]]] = {}
        self.completed: Any = None
        self.contents: OrderedDict[str, Any] = scattered.setdefault(client, OrderedDict())
        self.lost: dict[int, int] = {}

    def keep(self, name: str, content: Any) -> None:
        """Write a content to a file, if the workers are on this machine."""
        if self.folder is not None:
            store.write(name, content)

    def flush(self) -> None:
        """Send the orders that wait: a message for many costs the scheduler little more than for one."""
        from distributed import as_completed

        given, self.waiting = self.waiting, []
        groups = self.groups([part for part in given if not part[1] and not part[2]])
        keys = [self.make_key(group) for group in groups]
        futures = list(self.client.map(run_group, groups, key=keys, pure=False)) if groups else []
        for part in given:
            if part[1] or part[2]:
                order, sent, brought = part
                contents = {name: self.scatter(name, content) for name, content in sent.items()}
                here = [self.scatter(*thing) if isinstance(thing, Brought) else thing for thing in brought]
                key = self.make_key([part])
                given_back = int(bool(sent))  # before what has not begun
                whole = [(order, contents, here)]
                futures.append(self.client.submit(run_group, whole, key=key, priority=given_back, pure=False))
                groups.append([part])
        for future, group in zip(futures, groups, strict=True):
            self.under_way[future.key] = future, group
        if self.completed is None:
            self.completed = as_completed(loop=self.client.loop, raise_errors=False)  # it need not be the default
        self.completed.update(futures)

    def make_key(self, group: list[Given]) -> str:
        """Return a key for a group: Dask begins those first that come first in the alphabet."""
        return f"numbad-{group[0][0].number:09d}-{uuid.uuid4().hex}"

    def scatter(self, name: str, content: Any) -> Any:
        """Send a content to a worker, from which others take it."""
        found = self.contents.get(name)
        if found is None or found.status != "finished":
            if isinstance(content, np.ndarray) and not content.flags.c_contiguous:
                content = pack(content)  # Dask lays its elements by rows
            content = content.plain() if isinstance(content, Package) else content
            found = self.contents[name] = self.try_scatter(content)
            self.contents.move_to_end(name)
            while len(self.contents) > MOST_SCATTERED:
                self.contents.popitem(last=False)
        return found

    def try_scatter(self, content: Any) -> Any:
        """Send a content to a worker, to another where that one has just died."""
        for times in range(MOST_LOST + 1):
            try:
                return self.client.scatter([content], hash=False)[0]
            except Exception as error:
                if times == MOST_LOST or not (is_lost(error) or isinstance(error, OSError)):
                    raise
                time.sleep(0.1)  # until the scheduler knows

    def next(self) -> tuple[Order, Any]:
        """Wait for replies; take all that are there."""
        while not self.ready:
            try:
                if self.waiting:
                    self.flush()
                self.take(list(self.completed.next_batch(block=True)))
            except Exception as error:
                if self.client.status == "running" or isinstance(error, NumbadError):
                    raise
                raise shut_down(error) from error  # it has been closed meanwhile
        return self.ready.popleft()

    def take(self, futures: list[Any]) -> None:
        """Note what has been computed, and begin anew what was lost."""
        good = [future for future in futures if future.status == "finished"]
        for future, reply in zip(good, self.client.gather(good), strict=True):
            self.receive(self.under_way.pop(future.key)[1], reply)
        for future in futures:
            if future.key in self.under_way:
                self.take_loss(future, self.under_way.pop(future.key)[1])

    def take_loss(self, future: Any, group: list[Given]) -> None:
        """Begin a group anew that was lost, unless that happens again and again."""
        if self.client.status != "running":
            raise shut_down(RuntimeError(f"the client is {self.client.status}"))
        error = future.exception() if future.status == "error" else None
        numbers = [order.number for order, *_ in group]
        if type(error).__name__ == "KilledWorker":
            raise died(numbers, MOST_LOST + 1)
        if error is not None and not is_lost(error):
            raise error
        for number in numbers:
            self.lost[number] = self.lost.get(number, 0) + 1
            if self.lost[number] > MOST_LOST:
                raise died(numbers, self.lost[number])
        self.contents.clear()  # they may have gone with the worker
        self.waiting += group

    def cancel(self) -> None:
        """Cancel all that is under way."""
        futures = [future for future, _ in self.under_way.values()]
        self.under_way, self.waiting, self.ready = {}, [], deque()
        if futures and self.client.status == "running":
            self.client.cancel(futures, force=True)


def is_lost(error: Any) -> bool:
    """Whether a task of Dask's failed because something was lost with a worker."""
    return isinstance(error, CancelledError) or type(error).__name__ in ("FutureCancelledError", "CommClosedError")


def is_here(address: str) -> bool:
    """Whether a worker runs on this machine."""
    protocol, _, rest = address.partition("://")
    host = rest.rpartition(":")[0].strip("[]")
    return protocol == "inproc" or host in ("127.0.0.1", "::1", "localhost", socket.gethostname())


def find_lane(executor: Any) -> Lane:
    """Return the lane of an executor; raise an InputError for what is none."""
    if executor is None:
        return HereLane()
    if isinstance(executor, Executor):
        return PoolLane(executor)
    module = type(executor).__module__.partition(".")[0]
    if module == "joblib" and type(executor).__name__ == "Parallel":
        return JoblibLane(executor)
    distributed: Any = sys.modules.get("distributed")
    if distributed is not None and isinstance(executor, distributed.Client):
        return DaskLane(executor)
    what = f"executor is a {type(executor).__name__}, which numbad.distributed does not know"
    do = "pass None, a pool of concurrent.futures, a joblib.Parallel, a dask.distributed.Client or a communicator"
    raise InputError(message(what, do, where=False))


def is_communicator(executor: Any) -> bool:
    """Whether an executor is a communicator of mpi4py's."""
    return all(hasattr(executor, name) for name in ("Get_rank", "Get_size", "allgather", "bcast"))


def bringing(lane: Lane, brought: list[Any]) -> Any:
    """Return a function that has a lane bring what Dask computes; None where it does not."""
    if not isinstance(lane, DaskLane):
        return None

    def bring(leaf: Any, name: str = "") -> Sent:
        if name:
            brought.append(Brought(name, leaf))
        else:
            brought.append(leaf if is_future(leaf) else lane.client.compute(leaf))
        return Sent(len(brought) - 1)

    return bring
