"""Executors: the same bits from all of them, and what becomes of workers that die and blocks that raise."""

from __future__ import annotations

import contextlib
import functools
import multiprocessing
import os
import pickle
import signal
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Iterator
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import dask
import joblib
import numpy as np
import pytest

import distributed as dask_distributed
import numbad
from numbad import distributed
from numbad.distributed import executors, ledgers, workers
from numbad.distributed.blocks import Named
from numbad.distributed.contents import shelf, store
from numbad.distributed.derivatives import GRADIENT
from numbad.distributed.executors import DaskLane, GroupLane, PoolLane
from shared import block_sums
from shared.block_sums import WEIGHTS, Deadly, Slow, branching, logistic, make_blocks, matrices, same_bits, waiting

pytestmark = pytest.mark.subprocess
METHODS = ["fork", "spawn"]


@pytest.fixture(autouse=True)
def nothing_known() -> None:
    """Begin with nothing recorded."""
    ledgers.ledgers.clear()
    shelf.things.clear()


@pytest.fixture(scope="module")
def client() -> Iterator[Any]:
    """A Dask cluster of two processes."""
    options = {"n_workers": 2, "threads_per_worker": 1, "host": "127.0.0.1", "dashboard_address": None}
    with dask.config.set({"distributed.comm.timeouts.connect": "30s"}):
        with dask_distributed.LocalCluster(**options) as cluster, dask_distributed.Client(cluster) as found:
            yield found


@pytest.fixture(scope="module")
def pools() -> Iterator[dict[str, Any]]:
    """Pools that begin when they are asked for something."""
    with contextlib.ExitStack() as stack:
        found: dict[str, Any] = {"threads": stack.enter_context(ThreadPoolExecutor(3))}
        for name in METHODS:
            found[name] = stack.enter_context(ProcessPoolExecutor(2, multiprocessing.get_context(name)))
        found["joblib"] = stack.enter_context(joblib.Parallel(2))
        yield found


@pytest.fixture(params=["threads", *METHODS, "joblib", "dask", "far"])
def executor(request: pytest.FixtureRequest, pools: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> Any:
    """Each executor in turn; `far` is a cluster whose workers do not see our files."""
    if request.param == "far":
        monkeypatch.setattr(executors, "is_here", lambda address: False)
    return pools[request.param] if request.param in pools else request.getfixturevalue("client")


def recordings(loss: Any, kind: str = GRADIENT) -> int:
    return ledgers.ledgers[kind, loss].recordings


# ---------------------------------------------------------------- the same bits


@pytest.mark.parametrize("loss", [branching, matrices, block_sums.stepping])
def test_bits_of_value_and_gradient(executor: Any, loss: Any) -> None:
    blocks = make_blocks(37, (200, 150)) if loss is matrices else make_blocks(37)
    expected = distributed.value_and_gradient(loss, WEIGHTS, blocks)
    for _ in range(2):
        assert same_bits(distributed.value_and_gradient(loss, WEIGHTS, blocks, executor=executor), expected)


def test_bits_of_products_and_what_is_auxiliary(executor: Any) -> None:
    blocks, v = make_blocks(9), np.cos(np.arange(6.0))

    def loss(w: Any, block: Any) -> Any:  # of no module: it travels as its code
        return logistic(w, block), np.mean(block[0] @ w)

    expected = distributed.hvp(branching, WEIGHTS, v, blocks)
    assert np.array_equal(distributed.hvp(branching, WEIGHTS, v, blocks, executor=executor), expected)
    expected = distributed.value_and_gradient(loss, WEIGHTS, blocks, has_aux=True)
    (value, auxiliary), slopes = distributed.value_and_gradient(loss, WEIGHTS, blocks, has_aux=True, executor=executor)
    assert same_bits((value, slopes), (expected[0][0], expected[1]))
    assert auxiliary == expected[0][1]


@contextlib.contextmanager
def make_executor(kind: str, workers: int) -> Iterator[Any]:
    """An executor of so many workers."""
    with contextlib.ExitStack() as stack:
        if kind == "threads":
            yield stack.enter_context(ThreadPoolExecutor(workers))
        elif kind == "joblib":
            yield stack.enter_context(joblib.Parallel(workers))
        elif kind == "dask":
            options = {"n_workers": workers, "threads_per_worker": 1, "host": "127.0.0.1", "dashboard_address": None}
            stack.enter_context(dask.config.set({"distributed.comm.timeouts.connect": "60s"}))
            cluster = stack.enter_context(dask_distributed.LocalCluster(**options))
            yield stack.enter_context(dask_distributed.Client(cluster, set_as_default=False))
        else:
            yield stack.enter_context(ProcessPoolExecutor(workers, multiprocessing.get_context(kind)))


@pytest.mark.parametrize(
    ("kind", "workers"),
    [(kind, workers) for kind in ("threads", "fork", "joblib") for workers in (1, 3, 8)]
    + [("spawn", 8), ("dask", 1), ("dask", 8)],  # two of each have the other tests
)
def test_bits_of_any_number_of_workers(kind: str, workers: int) -> None:
    """Value, gradient and product; in this order and the other, in which blocks have other neighbours."""
    v = np.cos(np.arange(6.0))
    with make_executor(kind, workers) as executor:
        for blocks in (make_blocks(45), make_blocks(45)[::-1]):
            expected = distributed.value_and_gradient(branching, WEIGHTS, blocks)
            product = distributed.hvp(branching, WEIGHTS, v, blocks)
            ledgers.ledgers.clear()
            found = distributed.value_and_gradient(branching, WEIGHTS, blocks, executor=executor)
            assert same_bits(found, expected)
            assert np.array_equal(distributed.hvp(branching, WEIGHTS, v, blocks, executor=executor), product)


def test_eight_recordings_however_many_workers(executor: Any) -> None:
    distributed.value_and_gradient(branching, WEIGHTS, make_blocks(200), executor=executor)
    assert recordings(branching) == 8
    distributed.value_and_gradient(branching, WEIGHTS + 1.0, make_blocks(200)[::-1], executor=executor)
    assert recordings(branching) == 8


def test_blocks_of_all_kinds(executor: Any, tmp_path: Path) -> None:
    blocks = make_blocks(6)
    expected = distributed.value_and_gradient(logistic, WEIGHTS, blocks)
    file = tmp_path / "x.npy"
    np.save(file, np.concatenate([x for x, _ in blocks]))
    rows, edges = np.load(file, mmap_mode="r"), np.cumsum([0, *(len(x) for x, _ in blocks)])
    kinds = [
        [functools.partial(tuple, block) for block in blocks],
        [(rows[i:j], y) for i, j, (_, y) in zip(edges, edges[1:], blocks, strict=False)],
        [(np.asfortranarray(x), y[::-1].copy()[::-1]) for x, y in blocks],
    ]
    for given in kinds[:2]:
        assert same_bits(distributed.value_and_gradient(logistic, WEIGHTS, given, executor=executor), expected)
    lain = distributed.value_and_gradient(logistic, WEIGHTS, kinds[2])
    assert same_bits(distributed.value_and_gradient(logistic, WEIGHTS, kinds[2], executor=executor), lain)


def test_blocks_that_dask_computes(executor: Any) -> None:
    blocks = make_blocks(4)
    expected = distributed.value_and_gradient(logistic, WEIGHTS, blocks)
    delayed = [dask.delayed(block) for block in blocks]
    assert same_bits(distributed.value_and_gradient(logistic, WEIGHTS, delayed, executor=executor), expected)
    leaves = [tuple(dask.delayed(part) for part in block) for block in blocks]
    assert same_bits(distributed.value_and_gradient(logistic, WEIGHTS, leaves, executor=executor), expected)
    if isinstance(executor, dask_distributed.Client):
        futures = executor.scatter(blocks, hash=False)
        assert same_bits(distributed.value_and_gradient(logistic, WEIGHTS, futures, executor=executor), expected)
        assert same_bits(distributed.value_and_gradient(logistic, WEIGHTS, futures), expected)


def test_one_thread_of_blas_makes_the_bits(client: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Products of matrices have other bits on two threads of BLAS, where there are two."""
    blocks = make_blocks(3, (301, 499))
    found = distributed.value_and_gradient(matrices, WEIGHTS, blocks)
    assert same_bits(distributed.value_and_gradient(matrices, WEIGHTS, blocks, executor=client), found)


# ---------------------------------------------------------------- what travels


def test_orders_are_short_once_all_is_there(client: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """At most 8 (2 p + 64) bytes a block, with what comes back."""
    sizes: list[int] = []

    class Weighed(PoolLane):
        def begin(self, group: Any) -> None:
            sizes.append(len(pickle.dumps(group)))
            super().begin(group)

        def receive(self, group: Any, reply: Any) -> None:
            sizes.append(len(pickle.dumps(reply)))
            super().receive(group, reply)

    monkeypatch.setattr(executors, "PoolLane", Weighed)
    blocks = make_blocks(40)
    with ProcessPoolExecutor(2, multiprocessing.get_context("spawn")) as pool:
        distributed.value_and_gradient(branching, WEIGHTS, blocks, executor=pool)
        sizes.clear()
        distributed.value_and_gradient(branching, WEIGHTS, blocks, executor=pool)
    assert sum(sizes) <= len(blocks) * 8 * (2 * WEIGHTS.size + 64)


def received(kind: str) -> int:
    return shelf.received.get(kind, 0)


def test_a_path_is_opened_once_by_each_process(client: Any) -> None:
    blocks = make_blocks(40)
    before = client.run(received, "path")
    for _ in range(3):
        distributed.value_and_gradient(branching, WEIGHTS, blocks, executor=client)
    after = client.run(received, "path")
    assert all(after[worker] - before[worker] <= 8 for worker in after)


def test_a_function_over_large_arrays_warns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledgers, "LARGE", 1 << 16)
    table = np.ones((100, 200))

    def loss(w: Any, k: Any) -> Any:
        return np.sum(table) * w * k

    with ProcessPoolExecutor(2, multiprocessing.get_context("spawn")) as pool:
        with pytest.warns(UserWarning, match="loss takes 0 MB from outside"):
            found = distributed.value_and_gradient(loss, 2.0, [1.0, 2.0], executor=pool)
    assert found == (120_000.0, 60_000.0)


def test_short_orders_go_in_groups() -> None:
    lane = GroupLane(2, 4, 1)
    given: Any = [(k, {}, ()) for k in range(20)]
    assert [len(group) for group in lane.groups(given)] == [1] * 20
    lane.seconds = executors.WORTH_A_MESSAGE / 4
    assert [len(group) for group in lane.groups(given)] == [4] * 5
    lane.seconds = 1.0
    assert [len(group) for group in lane.groups(given)] == [1] * 20 and lane.room == 8


def test_files_go_when_they_are_not_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("numbad.distributed.contents.MOST_WRITTEN", 1)
    with ProcessPoolExecutor(1, multiprocessing.get_context("fork")) as pool:
        for k in range(3):
            blocks = [np.full(1000, float(k)), np.full(1000, 7.0)]
            distributed.gradient(waiting, np.ones(1000), [1.0], executor=pool)
            distributed.gradient(lambda w, x: np.sum(w * x), np.ones(1000), blocks, executor=pool)
    names = [name for name in os.listdir(store.folder()) if name.startswith(("array", "point", "book"))]
    assert len(names) == 2


# ---------------------------------------------------------------- workers that die


@pytest.mark.parametrize("method", METHODS)
def test_a_pool_that_breaks_goes_on(method: str, tmp_path: Path) -> None:
    blocks = [functools.partial(float, k) for k in range(12)]
    expected = distributed.value_and_gradient(waiting, WEIGHTS, blocks)
    blocks[5] = Deadly(5.0, str(tmp_path / "died"))
    with ProcessPoolExecutor(2, multiprocessing.get_context(method)) as pool:
        with pytest.warns(UserWarning, match="a worker of the pool has died"):
            found = distributed.value_and_gradient(waiting, WEIGHTS, blocks, executor=pool)
    assert same_bits(found, expected)
    assert (tmp_path / "died").exists()


def test_joblib_goes_on(tmp_path: Path) -> None:
    blocks: list[Any] = [float(k) for k in range(6)]
    expected = distributed.value_and_gradient(waiting, WEIGHTS, blocks)
    blocks[3] = Deadly(3.0, str(tmp_path / "died"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert same_bits(
            distributed.value_and_gradient(waiting, WEIGHTS, blocks, executor=joblib.Parallel(2)), expected
        )
    assert (tmp_path / "died").exists()


class Muddled:
    """Carries out jobs as joblib does, but returns replies of another call, and loses one of its own the first time."""

    def __init__(self) -> None:
        self.calls, self.before = 0, [("of another call", 0, (1.0, ["no reply"]))]

    def _effective_n_jobs(self) -> int:
        return 2

    def __call__(self, jobs: Any) -> Any:
        self.calls += 1
        found = [function(*given) for function, given, _ in jobs]
        kept = found[:-1] if self.calls == 2 else found
        foreign, self.before = self.before, found
        return foreign + kept[::-1]


def test_replies_of_another_call_of_joblib_are_not_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    """After a worker has died joblib may return what a call before has left, more replies than there were jobs."""
    blocks, muddled = make_blocks(24), Muddled()
    expected = distributed.value_and_gradient(branching, WEIGHTS, blocks)
    monkeypatch.setattr("numbad.distributed.sums.find_lane", executors.JoblibLane)
    ledgers.ledgers.clear()
    for _ in range(2):
        assert same_bits(distributed.value_and_gradient(branching, WEIGHTS, blocks, executor=muddled), expected)
    assert muddled.calls > 4


def test_what_joblib_loses_again_and_again_is_given_up() -> None:
    class Losing(Muddled):
        def __call__(self, jobs: Any) -> Any:
            return super().__call__(jobs)[:-1] and []

    lane = executors.JoblibLane(Losing())
    task = workers.Task(workers.IDENTITY, GRADIENT, waiting, workers.Book({}, set()), 1.0)
    order = workers.Order(task, 7, (1.0,), "")
    lane.submit(order, {}, ())
    with pytest.raises(numbad.NumbadError, match="workers died 4 times, computing block 7"):
        lane.next()


def always_deadly() -> float:
    """Ends the process each time."""
    os._exit(3)


def test_a_block_that_kills_again_and_again_is_given_up() -> None:
    blocks = [always_deadly]
    with ProcessPoolExecutor(1, multiprocessing.get_context("fork")) as pool:
        with (
            pytest.warns(UserWarning),
            pytest.raises(numbad.NumbadError, match="workers died 4 times, computing block 0"),
        ):
            distributed.value_and_gradient(waiting, WEIGHTS, blocks, executor=pool)


@pytest.mark.parametrize(("moment", "here"), [(0.0, True), (0.15, True), (0.4, True), (0.0, False), (0.2, False)])
def test_a_worker_of_dask_that_is_killed(
    client: Any, moment: float, here: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(executors, "is_here", lambda address: here)
    blocks: list[Any] = [functools.partial(slow_number, k) for k in range(16)]
    expected = distributed.value_and_gradient(waiting, WEIGHTS, [float(k) for k in range(16)])
    victim = next(iter(client.run(os.getpid).values()))
    killer = threading.Timer(moment, os.kill, (victim, signal.SIGKILL))
    killer.start()
    try:
        found = distributed.value_and_gradient(waiting, WEIGHTS, blocks, executor=client)
    finally:
        killer.join()
        client.wait_for_workers(2, timeout=60)
    assert same_bits(found, expected)


def slow_number(k: int) -> float:
    """Load a number in some hundredths of a second."""
    time.sleep(0.05)
    return float(k)


# ---------------------------------------------------------------- errors


def test_a_block_that_raises_is_named_and_the_others_are_cancelled(executor: Any, tmp_path: Path) -> None:
    in_rounds = isinstance(executor, joblib.Parallel)  # a round is carried out as a whole
    more = 6 if in_rounds else 300
    blocks: list[Any] = [(float(k), 0.0) for k in range(3)]
    blocks += [(1.0, 1.0)] + [SlowPair(float(k), str(tmp_path)) for k in range(more)]
    with pytest.raises(ArithmeticError, match="this block is bad") as caught:
        distributed.value_and_gradient(block_sums.failing, WEIGHTS, blocks, executor=executor)
    notes = "".join(caught.value.__notes__)
    assert f"in block 3 of {4 + more}, at" in notes and 'raise ArithmeticError("this block is bad")' in notes
    if not in_rounds:
        time.sleep(0.2)
        begun = len(list(tmp_path.iterdir()))
        assert begun < more
        time.sleep(0.2)
        assert len(list(tmp_path.iterdir())) == begun


class SlowPair(Slow):
    """Loads a block of `failing` after a while."""

    def __init__(self, number: float, folder: str) -> None:
        super().__init__(number, 0.05, folder)

    def __call__(self) -> Any:
        return super().__call__(), 0.0


def test_nan_is_found_in_its_block(executor: Any) -> None:
    blocks = [np.full(300, 2.0), np.full(300, -1.0)]

    def loss(w: Any, x: Any) -> Any:
        return np.sum(np.log(w * x))

    with numbad.debug_nans(), pytest.raises(numbad.NonFiniteError, match="log") as caught:
        distributed.value_and_gradient(loss, 1.0, blocks, executor=executor)
    assert "in block 1 of 2" in "".join(caught.value.__notes__)


def test_what_happens_on_the_client_leaves_nothing_running(executor: Any, tmp_path: Path) -> None:
    def blocks() -> Any:
        yield 1.0
        yield from (Slow(float(k), 0.02, str(tmp_path)) for k in range(5))
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        distributed.value_and_gradient(waiting, WEIGHTS, blocks(), executor=executor)
    time.sleep(0.3)
    begun = len(list(tmp_path.iterdir()))
    time.sleep(0.2)
    assert len(list(tmp_path.iterdir())) == begun
    if isinstance(executor, dask_distributed.Client):
        assert not any(executor.processing().values())


def test_executors_that_are_shut_down() -> None:
    pools: list[Executor] = [ThreadPoolExecutor(1), ProcessPoolExecutor(1)]
    for pool in pools:
        pool.shutdown()
        with pytest.raises(numbad.NumbadError, match="the executor has been shut down"):
            distributed.value_and_gradient(waiting, WEIGHTS, [1.0], executor=pool)


def test_a_client_that_is_closed(client: Any) -> None:
    other = dask_distributed.Client(client.scheduler.address, set_as_default=False)
    other.close()
    with pytest.raises(numbad.NumbadError, match="the executor has been shut down"):
        distributed.value_and_gradient(waiting, WEIGHTS, [1.0], executor=other)


def test_a_client_that_closes_meanwhile(client: Any) -> None:
    other = dask_distributed.Client(client.scheduler.address, set_as_default=False)
    closer = threading.Timer(0.3, other.close)
    closer.start()
    try:
        with pytest.raises(numbad.NumbadError, match="the executor has been shut down"):
            distributed.value_and_gradient(waiting, WEIGHTS, [Slow(1.0, 0.2)] * 40, executor=other)
    finally:
        closer.join()


def test_what_cannot_be_pickled_is_named() -> None:
    lock = threading.Lock()

    def loss(w: Any, x: Any) -> Any:
        with lock:
            return np.sum(w * x)

    with ProcessPoolExecutor(1, multiprocessing.get_context("fork")) as pool:
        with pytest.raises(numbad.NumbadError, match="the variable lock of loss, a lock") as caught:
            distributed.value_and_gradient(loss, WEIGHTS, [1.0], executor=pool)
        assert "the function loss cannot be sent" in str(caught.value) and "inside of the function" in str(caught.value)
        with pytest.raises(numbad.NumbadError, match="block 1 cannot be sent to another process: the attribute held"):
            distributed.value_and_gradient(waiting, WEIGHTS, [1.0, Holder(lock)], executor=pool)


class Holder:
    """An object with a lock."""

    def __init__(self, held: Any) -> None:
        self.held = held


def test_a_worker_of_another_version_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    task = workers.Task(("0.0", (3, 1)), GRADIENT, waiting, workers.Book({}, set()), 1.0)
    order = workers.Order(task, 0, (1.0,), "")
    reply = workers.run_order(order)
    assert isinstance(reply, workers.Failed)
    assert "a worker has numbad" in str(reply.error) and "the client numbad 0.0 and Python 3.1" in str(reply.error)
    monkeypatch.setattr("numbad.distributed.summing.IDENTITY", ("0.0", (3, 1)))
    with ThreadPoolExecutor(1) as pool, pytest.raises(numbad.NumbadError, match="install the same versions"):
        distributed.value_and_gradient(waiting, WEIGHTS, [1.0], executor=pool)


def test_what_a_worker_lacks_is_told() -> None:
    task = workers.Task(workers.IDENTITY, GRADIENT, Named("loss-1"), workers.Book({}, set()), Named("point-2"))
    order = workers.Order(task, 0, (1.0,), "")
    assert workers.run_order(order) == workers.Lacks(["point-2"])


# ---------------------------------------------------------------- programs


MAIN = """
import numpy as np, numbad, multiprocessing
from concurrent.futures import ProcessPoolExecutor

class Scale:
    def __init__(self, factor):
        self.factor = factor

def loss(w, x):
    return np.sum((w - x) ** 2) * scale.factor

scale = Scale(3.0)

if __name__ == "__main__":
    blocks = [np.arange(5.0) + k for k in range(7)]
    expected = numbad.distributed.value_and_gradient(loss, 1.0, blocks)
    for method in ("fork", "spawn"):
        with ProcessPoolExecutor(2, multiprocessing.get_context(method)) as pool:
            assert numbad.distributed.value_and_gradient(loss, 1.0, blocks, executor=pool) == expected
    print(expected)
"""


def test_functions_of_main(tmp_path: Path) -> None:
    path = tmp_path / "program.py"
    path.write_text(MAIN)
    done = subprocess.run([sys.executable, str(path)], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "(2310.0, -840.0)\n"


def nested(w: Any, count: Any) -> Any:
    """A sum within a block of another."""
    return np.sum(w * count)


def inner_sum(k: float) -> float:
    """Load a number that a sum in a pool of its own has computed."""
    with ThreadPoolExecutor(2) as pool:
        return float(distributed.value_and_gradient(nested, np.ones(3), [k, k], executor=pool)[0])


def test_pools_within_pools() -> None:
    with ProcessPoolExecutor(2, multiprocessing.get_context("fork")) as pool:
        blocks = [functools.partial(inner_sum, float(k)) for k in range(5)]
        value, _ = distributed.value_and_gradient(nested, np.ones(3), blocks, executor=pool)
    assert value == 6.0 * 3.0 * 10.0


def test_sums_in_many_threads_at_once() -> None:
    blocks = make_blocks(10)
    expected = distributed.value_and_gradient(branching, WEIGHTS, blocks)
    ledgers.ledgers.clear()
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _: distributed.value_and_gradient(branching, WEIGHTS, blocks), range(12)))
    assert all(same_bits(one, expected) for one in found)


def test_lanes_know_their_executors(client: Any) -> None:
    with ThreadPoolExecutor(1) as pool:
        assert not executors.find_lane(pool).ships
    assert isinstance(executors.find_lane(client), DaskLane)
    assert not executors.is_communicator(client)
    assert executors.is_here("tcp://127.0.0.1:80") and executors.is_here("inproc://10.0.0.1/1/2")
    assert not executors.is_here("tcp://10.1.2.3:8786")
