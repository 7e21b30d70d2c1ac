"""What machine code of rows over arrays costs and gains: functions, seconds to compile, replays by both machines."""

import time

import numpy as np

import numbad
from numbad.replay.hot import compile_groups
from numbad.replay.program import Program

from .problems import fastest, need

SIZES = [16, 64, 256]
WEIGHTS = np.random.default_rng(0).normal(size=(256, 32)) / 16.0


def diffusion(x):
    """Twenty explicit steps on a grid, in place."""
    u = x * 1.0
    for _ in range(20):
        u[1:-1, 1:-1] += 0.2 * (u[2:, 1:-1] + u[:-2, 1:-1] + u[1:-1, 2:] + u[1:-1, :-2] - 4.0 * u[1:-1, 1:-1])
    return np.sum(u * u)


def network(x):
    """A layer with a bias, and the logarithm of a softmax."""
    z = np.tanh(x @ WEIGHTS[: x.shape[1]] + WEIGHTS[0])
    return np.sum(z[:, 0]) - np.sum(np.log(np.sum(np.exp(z), axis=1)))


def distances(x):
    """All pairs of points."""
    d = x[:, None, :2] - x[None, :, :2]
    return np.sum(np.exp(-np.sum(d * d, axis=2)))


FUNCTIONS = {"diffusion": diffusion, "network": network, "distances": distances}


def recorded(name, n):
    """Return a function that has run once, its point, and its path."""
    x = np.random.default_rng(7).random((n, n))
    jitted = numbad.jit(numbad.value_and_grad(FUNCTIONS[name]))
    jitted(x)
    program = next(iter(jitted.programs.values())).programs[0]
    assert isinstance(program, Program)
    program.promotion.next = float("inf")
    return jitted, x, program


def compiled(program):
    """Let machine code of its groups run a path from now on."""
    machine = compile_groups(program.promotion.path, program.machine)
    program.take_machine(machine)
    return machine


class Compile:
    params = ([*FUNCTIONS], SIZES)
    param_names = ("function", "size")

    def setup(self, name, n):
        """Compile once."""
        need("jit")
        _, _, program = recorded(name, n)
        start = time.perf_counter()
        self.machine = compiled(program)
        self.seconds = time.perf_counter() - start

    def track_seconds(self, name, n):
        """Seconds from a path to its machine code, where it is not kept."""
        return self.seconds

    def track_functions(self, name, n):
        """Functions that are compiled: groups that do the same share one."""
        return len(self.machine.code.module.numbers)

    def track_shared_memory(self, name, n):
        """Numbers of the pools, for each input."""
        return sum(pool.size for pool in self.machine.pools) / n**2


Compile.track_seconds.unit = "s"
Compile.track_functions.unit = "functions"
Compile.track_shared_memory.unit = "numbers"


class Replay:
    params = ([*FUNCTIONS], SIZES)
    param_names = ("function", "size")

    def setup(self, name, n):
        """Record, and compile one of two."""
        need("jit")
        self.interpreted, self.x, _ = recorded(name, n)
        self.compiled, _, program = recorded(name, n)
        compiled(program)

    def track_interpreted(self, name, n):
        """Microseconds of value and gradient."""
        return fastest(lambda: self.interpreted(self.x)) * 1e6

    def track_compiled(self, name, n):
        """The same by machine code."""
        return fastest(lambda: self.compiled(self.x)) * 1e6


Replay.track_interpreted.unit = Replay.track_compiled.unit = "us"
