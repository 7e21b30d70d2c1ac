"""What a block costs beside its computation, what travels, what two workers give, and what follows for many workers.

    python docs/measurements/blocks.py           # all but the file, a minute
    python docs/measurements/blocks.py --file 20_000_000   # samples of a logistic regression from a file: 8 GB on disk

Executors are measured by turns in one run, medians are printed.
"""

import argparse
import functools
import itertools
import math
import multiprocessing
import os
import pickle
import resource
import statistics
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor

import joblib
import numpy as np

import numbad
from numbad.distributed import executors

FEATURES, ROWS = 50, 250_000


def short(w, block):
    """A loss that takes some microseconds."""
    return np.sum(w * block)


def by_executor(w, block):
    """What an executor is given without numbad: the same results."""
    return float(np.sum(w * block)), np.full(w.shape, block)


def long(w, block):
    """A loss of some tens of milliseconds."""
    x = block[:, None] * w[:4]
    for _ in range(4):
        x = np.tanh(x) + np.exp(-x * x)
    return np.sum(x)


def logistic(w, block):
    """The loss of a logistic regression; the last column holds the targets."""
    z = block[:, :-1] @ w
    return np.sum(np.logaddexp(0.0, z) - block[:, -1] * z)


def seconds(function):
    """Return how long a call takes."""
    begin = time.perf_counter()
    function()
    return time.perf_counter() - begin


def by_turns(functions, times):
    """Return the median of each of some functions, called by turns."""
    for function in functions:
        function()
    found = [[seconds(function) for function in functions] for _ in range(times)]
    return [statistics.median(column) for column in zip(*found, strict=True)]


def measure_dispatch(count=400):
    """Print what a block costs beside its computation, next to what the executor alone takes."""
    w, blocks = np.ones(FEATURES), [float(k) for k in range(count)]

    def ours(executor):
        return lambda: numbad.distributed.value_and_gradient(short, w, blocks, executor=executor)

    def by_pool(pool):
        return lambda: [future.result() for future in [pool.submit(by_executor, w, block) for block in blocks]]

    def by_joblib(parallel):
        return lambda: parallel(joblib.delayed(by_executor)(w, block) for block in blocks)

    with (
        ThreadPoolExecutor(2) as threads,
        ProcessPoolExecutor(2, multiprocessing.get_context("fork")) as pool,
        joblib.Parallel(2) as parallel,
    ):
        alone = [by_pool(threads), by_pool(pool), by_joblib(parallel)]
        found = by_turns([ours(None), ours(threads), ours(pool), ours(parallel), *alone], 9)
        here, *found = (1e6 * one / count for one in found)
        print(f"this process: {here:.0f} us a block")
        for name, one, own in zip(("two threads", "two processes", "joblib"), found[:3], found[3:], strict=True):
            print(f"{name}: {one:.0f} us a block, the executor alone {own:.0f}")
    from distributed import Client, LocalCluster

    with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster, Client(cluster) as client:
        alone = lambda: client.gather(client.map(by_executor, [w] * count, blocks, pure=False))
        dask, own = by_turns([ours(client), alone], 7)
        print(f"Dask: {1e6 * dask / count:.0f} us a block, Dask alone {1e6 * own / count:.0f}")
    return dask / count


class Weighed(executors.PoolLane):
    """A pool whose messages are weighed."""

    sizes = []

    def groups(self, given):
        """Send each order by itself."""
        return [[part] for part in given]

    def begin(self, group):
        """Weigh an order."""
        self.sizes.append(len(pickle.dumps(group)))
        super().begin(group)

    def receive(self, group, reply):
        """Weigh a reply."""
        self.sizes.append(len(pickle.dumps(reply)))
        super().receive(group, reply)


def measure_bytes():
    """Print how many bytes go out and come back for a block after the first sum."""
    usual, executors.PoolLane = executors.PoolLane, Weighed
    blocks = [np.random.default_rng(k).standard_normal((1000, FEATURES + 1)) for k in range(20)]
    with ProcessPoolExecutor(2, multiprocessing.get_context("fork")) as pool:
        for _ in range(2):
            Weighed.sizes.clear()
            numbad.distributed.value_and_gradient(logistic, np.zeros(FEATURES), blocks, executor=pool)
    executors.PoolLane = usual
    most = 8 * (2 * FEATURES + 64)
    print(f"{sum(Weighed.sizes) / len(blocks):.0f} bytes a block for {FEATURES} parameters; 8 (2 p + 64) are {most}")


def measure_workers():
    """Print how much faster two processes are than one."""
    blocks = [np.linspace(-1.0, 1.0, 200_000) + k for k in range(24)]
    w = np.array([0.5, 1.0, 1.5, 2.0])
    context = multiprocessing.get_context("fork")
    with ProcessPoolExecutor(1, context) as one, ProcessPoolExecutor(2, context) as two:
        run = lambda pool: lambda: numbad.distributed.value_and_gradient(long, w, blocks, executor=pool)
        numbad.distributed.value_and_gradient(long, w, blocks)
        here = lambda: numbad.distributed.value_and_gradient(long, w, blocks)
        alone, single, double = by_turns([here, run(one), run(two)], 7)
    print(f"a block takes {1e3 * alone / len(blocks):.0f} ms; two processes {single / double:.2f} times as fast as one")
    return alone / len(blocks)


def predict(block, dispatch):
    """Print what follows for 6400 blocks: a prediction, not a measurement."""
    count, addition = 6400, 2e-9 * FEATURES
    print(f"{count} blocks of {1e3 * block:.0f} ms, {1e6 * dispatch:.0f} us to send each; predicted")
    for workers in (1, 8, 64, 1024):
        computed = math.ceil(count / workers) * block
        total = max(computed, count * dispatch) + dispatch + count * addition
        print(f"{workers:6d} workers  {total:8.2f} s  efficiency {count * block / workers / total:.2f}")


# ---------------------------------------------------------------- a file larger than memory


def write_file(path, samples):
    """Write samples, features and targets."""
    random = np.random.default_rng(0)
    with open(path, "wb") as stream:
        for start in range(0, samples, ROWS):
            block = random.standard_normal((min(ROWS, samples - start), FEATURES + 1))
            block[:, -1] = block[:, 0] + 0.5 * block[:, -1] > 0.0
            block.tofile(stream)


def map_rows(path, start, stop):
    """Map some samples of the file into memory."""
    row = 8 * (FEATURES + 1)
    return np.memmap(path, np.float64, "r", start * row, (stop - start, FEATURES + 1))


def by_hand(w, blocks):
    """The sum and its gradient in NumPy, block by block."""
    value, slopes = 0.0, np.zeros(FEATURES)
    for load in blocks:
        block = load()
        x, y = block[:, :-1], block[:, -1]
        z = x @ w
        value += np.sum(np.logaddexp(0.0, z) - y * z)
        slopes += (1.0 / (1.0 + np.exp(-z)) - y) @ x
    return value, slopes


def measure_file(samples):
    """Print the speed of a sum over a file beside NumPy's by hand, and the most memory that it took."""
    folder = tempfile.mkdtemp()
    path = os.path.join(folder, "samples.bin")
    try:
        write_file(path, samples)
        edges = [*range(0, samples, ROWS), samples]
        blocks = [functools.partial(map_rows, path, *edge) for edge in itertools.pairwise(edges)]
        w = np.linspace(-0.1, 0.1, FEATURES)
        print(f"{os.path.getsize(path) / 1e9:.1f} GB, {len(blocks)} blocks")
        times = [[], []]
        for _ in range(3):
            begin = time.perf_counter()
            value, slopes = numbad.distributed.value_and_gradient(logistic, w, blocks)
            times[0].append(time.perf_counter() - begin)
            most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
            begin = time.perf_counter()
            expected, other = by_hand(w, blocks)
            times[1].append(time.perf_counter() - begin)
            assert abs(value - expected) < 1e-9 * abs(expected) and np.allclose(slopes, other, rtol=1e-9)
        ours, numpy = map(statistics.median, times)
        print(
            f"numbad {ours:.2f} s, NumPy by hand {numpy:.2f} s: {numpy / ours:.2f} of its speed; {most:.2f} GB resident"
        )
    finally:
        if os.path.exists(path):
            os.remove(path)
        os.rmdir(folder)


def main():
    """Measure what is asked for."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--file", type=int, default=0, metavar="SAMPLES")
    samples = parser.parse_args().file
    if samples:
        measure_file(samples)
        return
    os.environ["NUMBA_NUM_THREADS"] = "1"  # one worker has one thread, as each of two has
    measure_bytes()
    dispatch = measure_dispatch()
    block = measure_workers()
    predict(block, dispatch)


if __name__ == "__main__":
    main()
