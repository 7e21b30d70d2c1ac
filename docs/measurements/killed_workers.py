"""A worker is killed at random moments of a sum: is the result right to the last bit?

    python docs/measurements/killed_workers.py --times 20          # some minutes
    python docs/measurements/killed_workers.py --only dask spawn   # some executors alone

A new pool or cluster of two processes for each kill. A kill counts only where the sum was under way.
"""

import argparse
import contextlib
import functools
import multiprocessing
import os
import random
import signal
import threading
import time
import warnings
from concurrent.futures import ProcessPoolExecutor

import numpy as np

import numbad

BLOCKS, ROWS, FEATURES = 60, 200, 6
WEIGHTS = np.linspace(-1.0, 1.0, FEATURES)


def make_block(number):
    """Return the samples of a block; every second one takes the other branch."""
    random_numbers = np.random.default_rng(number)
    y = (random_numbers.random(ROWS) < 0.5) * 1.0
    y[0] = number % 2
    return random_numbers.standard_normal((ROWS, FEATURES)), y


def load_block(number):
    """Return the samples of a block after some time."""
    time.sleep(0.02)
    return make_block(number)


def loss(w, block):
    """A loss with two branches."""
    x, y = block
    z = x @ w
    if y[0] > 0.5:
        return np.sum(z**2)
    return np.sum(np.logaddexp(0.0, z) - y * z)


def loss_of_chunks(w, x, y):
    """The same for arrays of Dask."""
    return loss(w, (x, y))


def sum_blocks(executor):
    """Return the sum and its gradient."""
    blocks = [functools.partial(load_block, k) for k in range(BLOCKS)]
    return numbad.distributed.value_and_gradient(loss, WEIGHTS, blocks, executor=executor)


def slow_chunk(x):
    """Return a chunk after some time."""
    time.sleep(0.02)
    return x


def sum_chunks(client):
    """Return the same of arrays of Dask."""
    import dask.array as da

    given = [make_block(k) for k in range(BLOCKS)]
    x = da.from_array(np.concatenate([x for x, _ in given]), chunks=(ROWS, FEATURES)).map_blocks(slow_chunk)
    y = da.from_array(np.concatenate([y for _, y in given]), chunks=ROWS)
    return numbad.distributed.value_and_gradient(loss_of_chunks, WEIGHTS, x, y, executor=client)


@contextlib.contextmanager
def make_pool(method):
    """A pool of two processes, and what tells these."""
    with ProcessPoolExecutor(2, multiprocessing.get_context(method)) as pool:
        list(pool.map(abs, range(8)))
        yield pool, lambda: list(pool._processes)


@contextlib.contextmanager
def make_cluster():
    """A cluster of two processes, and what tells these."""
    from distributed import Client, LocalCluster

    options = {"n_workers": 2, "threads_per_worker": 1, "host": "127.0.0.1", "dashboard_address": None}
    with LocalCluster(**options) as cluster, Client(cluster) as client:
        yield client, lambda: list(client.run(os.getpid).values())


@contextlib.contextmanager
def make_joblib():
    """joblib with two processes, and what tells these."""
    import joblib

    with joblib.Parallel(2) as parallel:
        parallel(joblib.delayed(time.sleep)(0.1) for _ in range(4))
        workers = parallel._backend._workers
        yield parallel, lambda: list(workers._processes)


EXECUTORS = {
    "fork": (functools.partial(make_pool, "fork"), sum_blocks),
    "spawn": (functools.partial(make_pool, "spawn"), sum_blocks),
    "joblib": (make_joblib, sum_blocks),
    "dask": (make_cluster, sum_blocks),
    "dask arrays": (make_cluster, sum_chunks),
}


def kill_once(make, add_up, moment, expected):
    """Return whether a worker was killed while the sum was under way, and whether the bits are right."""
    with make() as (executor, workers):
        under_way, killed = threading.Event(), []

        def kill():
            if under_way.is_set():
                os.kill(victim, signal.SIGKILL)
                killed.append(victim)

        victim = random.choice(workers())
        timer = threading.Timer(moment, kill)
        under_way.set()
        timer.start()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a pool says that it has broken
            value, slopes = add_up(executor)
        under_way.clear()
        timer.join()
    return bool(killed), value == expected[0] and np.array_equal(slopes, expected[1])


def measure(name, times):
    """Print how often the bits were right."""
    make, add_up = EXECUTORS[name]
    expected = numbad.distributed.value_and_gradient(loss, WEIGHTS, [make_block(k) for k in range(BLOCKS)])
    with make() as (executor, _):
        begin = time.perf_counter()
        add_up(executor)
        whole = time.perf_counter() - begin
    good = bad = spared = 0
    while good + bad < times:
        killed, right = kill_once(make, add_up, random.uniform(0.0, 0.9 * whole), expected)
        good, bad, spared = good + (killed and right), bad + (not right), spared + (right and not killed)
    print(f"{name}: {good} of {times} right to the last bit ({spared} more ended before the kill)", flush=True)


def main():
    """Measure what is asked for."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--times", type=int, default=20)
    parser.add_argument("--only", nargs="+", choices=EXECUTORS, default=list(EXECUTORS))
    given = parser.parse_args()
    for name in given.only:
        measure(name, given.times)


if __name__ == "__main__":
    main()
