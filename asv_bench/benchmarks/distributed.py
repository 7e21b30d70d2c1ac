"""Sums over blocks: what a block costs beside its computation, what shipping paths costs, and two workers against one.

A sum has 16 blocks: 1000, 10,000 and 100,000 rows of 20 features take some 0.05, 0.5 and 5 ms each.
"""

from __future__ import annotations

import multiprocessing
import os
from concurrent.futures import ProcessPoolExecutor

import numpy as np

import numbad

from .problems import need

BLOCKS, FEATURES = 16, 20
SIZES = [1_000, 10_000, 100_000]


def logistic(w, block):
    """A logistic loss."""
    x, y = block
    z = x @ w
    return np.sum(np.logaddexp(0.0, z) - y * z)


class Sums:
    """Value and gradient of a sum, by this process and by pools of one and two processes that know the paths."""

    params = [SIZES, ["none", "one", "two"]]
    param_names = ["rows", "executor"]

    def setup(self, rows, executor):
        """Make the blocks and the pool, and have all paths recorded and sent."""
        need("distributed")
        os.environ["NUMBA_NUM_THREADS"] = "1"  # of each worker, so that two have twice the threads of one
        random = np.random.default_rng(0)
        self.blocks = [
            (random.standard_normal((rows, FEATURES)), (random.random(rows) < 0.5) * 1.0) for _ in range(BLOCKS)
        ]
        self.weights = np.linspace(-0.1, 0.1, FEATURES)
        self.pool = None
        if executor != "none":
            context = multiprocessing.get_context("fork")
            self.pool = ProcessPoolExecutor({"one": 1, "two": 2}[executor], context)
        for _ in range(3):
            self.time_value_and_gradient(rows, executor)

    def teardown(self, rows, executor):
        """End the pool."""
        if self.pool is not None:
            self.pool.shutdown()

    def time_value_and_gradient(self, rows, executor):
        """One sum."""
        numbad.distributed.value_and_gradient(logistic, self.weights, self.blocks, executor=self.pool)


class Dispatch:
    """64 blocks that take some microseconds."""

    params = ["none", "processes"]
    param_names = ["executor"]

    def setup(self, executor):
        """Make the pool, and have the path recorded and sent."""
        need("distributed")
        self.blocks = [float(k) for k in range(64)]
        self.pool = ProcessPoolExecutor(2, multiprocessing.get_context("fork")) if executor == "processes" else None
        for _ in range(3):
            self.time_dispatch(executor)

    def teardown(self, executor):
        """End the pool."""
        if self.pool is not None:
            self.pool.shutdown()

    def time_dispatch(self, executor):
        """One sum."""
        numbad.distributed.gradient(scaled, np.ones(20), self.blocks, executor=self.pool)


def scaled(w, block):
    """Some microseconds of work."""
    return np.sum(w * block)


class Shipping:
    """A sum of a function of which nothing is known: its paths are recorded, and sent to two processes."""

    params = SIZES
    param_names = ["rows"]

    def setup(self, rows):
        """Make the blocks and the pool."""
        need("distributed")
        random = np.random.default_rng(0)
        self.blocks = [(random.standard_normal((rows, FEATURES)), np.ones(rows)) for _ in range(BLOCKS)]
        self.pool = ProcessPoolExecutor(2, multiprocessing.get_context("fork"))
        self.time_first_sum(rows)

    def teardown(self, rows):
        """End the pool."""
        self.pool.shutdown()

    def time_first_sum(self, rows):
        """Record, ship, compute."""

        def loss(w, block):
            return logistic(w, block)

        numbad.distributed.value_and_gradient(loss, np.zeros(FEATURES), self.blocks, executor=self.pool)
