"""Loops over arrays, and jitted functions at many points, by machine code: nanoseconds a row and lane, compiling."""

import time

import numpy as np

import numbad
from numbad.replay.hot import compile_groups

from .problems import fastest, need

STEPS = 100
LANES = [100, 1000, 20000]


def spring(x, v, k):
    """A spring with friction: six rows a step."""
    for _ in range(STEPS):
        v = v - 0.01 * (k * x + 0.1 * v)
        x = x + 0.01 * v
    return x


class Arrays:
    """Value and gradient of the sum over all lanes."""

    params = LANES
    param_names = ("lanes",)

    def setup(self, n):
        need("jit")
        self.points = np.random.default_rng(1).random((3, n))
        self.jitted = numbad.jit(numbad.value_and_grad(lambda x, v, k: np.sum(spring(x, v, k) ** 2), argnums=(0, 1, 2)))
        self.jitted(*self.points)
        program = next(iter(self.jitted.programs.values())).programs[0]
        program.promotion.next = float("inf")
        start = time.perf_counter()
        machine = compile_groups(program.promotion.path, program.machine)
        self.seconds = time.perf_counter() - start
        program.take_machine(machine)
        assert machine.block.size

    def time_value_and_gradient(self, n):
        self.jitted(*self.points)

    def track_value_and_gradient(self, n):
        """Nanoseconds for each row and lane."""
        return 1e9 * fastest(lambda: self.jitted(*self.points)) / (6 * STEPS * n)

    def track_seconds(self, n):
        """Seconds from a path to its machine code, where it is not kept."""
        return self.seconds


Arrays.track_value_and_gradient.unit = "ns per row and lane"
Arrays.track_seconds.unit = "s"


class Points:
    """vmap of a jitted gradient, by machine code and by the sweeps of points."""

    params = LANES
    param_names = ("points",)

    def setup(self, n):
        need("jit", "vmap")
        self.points = np.random.default_rng(1).random((n, 3))
        self.swept, self.jitted = (numbad.jit(numbad.value_and_grad(lambda p: spring(p[0], p[1], p[2]))) for _ in "ab")
        for jitted in (self.swept, self.jitted):
            numbad.vmap(jitted)(self.points)
            (path,) = next(iter(jitted.point_tapes.values()))
            path.promotion.next = float("inf")
        path.promotion.count = n
        path.machine = path.promotion.make()
        assert path.machine is not None

    def time_value_and_gradient(self, n):
        numbad.vmap(self.jitted)(self.points)

    def track_beside_sweeps(self, n):
        """Times what the sweeps of points take."""
        return fastest(lambda: numbad.vmap(self.jitted)(self.points)) / fastest(
            lambda: numbad.vmap(self.swept)(self.points)
        )


Points.track_beside_sweeps.unit = "x"
