"""What machine code of a tape costs and gains: loops found, seconds to compile, and a replay by either machine."""

import time

import numpy as np

import numbad
from numbad.replay.program import Program

from .problems import fastest, need, rosenbrock

SIZES = [10, 100, 1000]


def recurrence(x):
    """A scalar loop that hands on one number."""
    total = x[0]
    for number in x[1:]:
        total = np.sin(total) * 0.9 + number * number
    return total


def filter_states(x):
    """A loop of small matrices, as a Kalman filter has."""
    state, spread = np.zeros(2), np.eye(2)
    step = np.array([[1.0, 0.1], [0.0, 1.0]])
    total = 0.0
    for number in x:
        state, spread = step @ state, step @ spread @ step.T + 0.1 * np.eye(2)
        gain = spread[:, 0] / (spread[0, 0] + 0.5)
        total = total + (number - state[0]) ** 2 / (spread[0, 0] + 0.5)
        state, spread = state + gain * (number - state[0]), spread - np.outer(gain, spread[0])
    return total + np.linalg.det(spread)


FUNCTIONS = {"rosenbrock": rosenbrock, "recurrence": recurrence, "filter": filter_states}


def recorded(name, n):
    """Return a function that has run once, its point, and its path."""
    x = np.random.default_rng(7).random(n)
    jitted = numbad.jit(numbad.value_and_grad(FUNCTIONS[name]))
    jitted(x)
    program = next(iter(jitted.programs.values())).programs[0]
    assert isinstance(program, Program)
    return jitted, x, program


class Compile:
    params = ([*FUNCTIONS], SIZES)
    param_names = ("function", "size")

    def setup(self, name, n):
        """Compile once."""
        need("jit")
        _, _, program = recorded(name, n)
        start = time.perf_counter()
        self.machine = program.promotion.make()
        self.seconds = time.perf_counter() - start

    def track_seconds(self, name, n):
        """Seconds from a path to its machine code, where it is not kept."""
        return self.seconds

    def track_rows_of_code(self, name, n):
        """Rows that are compiled: of loops those of one iteration."""
        return 0 if self.machine is None else self.machine.code.module.rows

    def track_bytes_a_row(self, name, n):
        """Bytes of values and cotangents for each row that runs."""
        machine = self.machine
        return 0.0 if machine is None else machine.nbytes / machine.count


Compile.track_seconds.unit = "s"
Compile.track_rows_of_code.unit = "rows"
Compile.track_bytes_a_row.unit = "bytes"


class Replay:
    params = ([*FUNCTIONS], SIZES)
    param_names = ("function", "size")

    def setup(self, name, n):
        """Record, and compile one of two."""
        need("jit")
        self.interpreted, self.x, program = recorded(name, n)
        program.promotion.next = float("inf")
        self.compiled, _, program = recorded(name, n)
        machine = program.promotion.make()
        program.promotion.next = float("inf")
        if machine is not None:
            program.take_machine(machine)

    def track_interpreted(self, name, n):
        """Microseconds of value and gradient."""
        return fastest(lambda: self.interpreted(self.x)) * 1e6

    def track_compiled(self, name, n):
        """The same by machine code."""
        return fastest(lambda: self.compiled(self.x)) * 1e6


Replay.track_interpreted.unit = Replay.track_compiled.unit = "us"


def orbit(x, steps):
    """A loop of ten rows."""
    place, speed = x[0], x[1]
    for _ in range(steps):
        force = np.sin(place) * x[2] + speed * x[3]
        speed = speed - 0.01 * force
        place = place + 0.01 * speed + 0.001 * force
    return place * speed


class LongLoop:
    params = [1000, 10_000, 100_000]
    param_names = ("iterations",)

    def setup(self, steps):
        """Record and compile."""
        need("jit")
        self.x = np.array([0.9, 0.1, 1.0, 0.2])
        self.jitted = numbad.jit(numbad.value_and_grad(lambda x: orbit(x, steps)))
        self.jitted(self.x)
        self.program = next(iter(self.jitted.programs.values())).programs[0]
        self.rows = self.program.recorder.row_count()
        while not self.program.compiled:
            self.jitted(self.x)
            time.sleep(0.001)

    def track_nanoseconds_a_row(self, steps):
        """Of value and gradient, replayed."""
        return fastest(lambda: self.jitted(self.x)) * 1e9 / self.rows

    def track_seconds(self, steps):
        """What compiling took, texts that are not kept included."""
        return self.program.promotion.seconds

    def track_bytes_a_row(self, steps):
        """Of the program, when it is compiled."""
        return self.program.bytes() / self.rows


LongLoop.track_nanoseconds_a_row.unit = "ns"
LongLoop.track_seconds.unit = "s"
LongLoop.track_bytes_a_row.unit = "bytes"
