"""Python loops over scalars: long tapes of scalar rows."""

import tracemalloc

import numpy as np

import numbad

from .problems import fastest, rosenbrock


class Rosenbrock:
    """Rosenbrock's function of n variables, about eight rows for each."""

    params = [10, 100, 1000, 10_000]
    param_names = ["n"]

    def setup(self, n):
        self.x = np.random.default_rng(7).random(n)
        self.plain = self.x.tolist()
        self.tape = numbad.record(rosenbrock, self.x)
        self.tape.value_and_gradient(self.x)

    def time_record_and_gradient(self, n):
        numbad.gradient(rosenbrock, self.x)

    def time_primal_in_python(self, n):
        rosenbrock(self.plain)

    def time_sweeps(self, n):
        self.tape.value_and_gradient(self.x)

    def track_gradient_over_primal(self, n):
        return fastest(lambda: numbad.gradient(rosenbrock, self.x)) / fastest(lambda: rosenbrock(self.plain))

    track_gradient_over_primal.unit = "ratio"

    def track_sweeps_ns_a_row(self, n):
        """Linearise and adjoint of a recorded tape, the call included."""
        return fastest(lambda: self.tape.value_and_gradient(self.x)) / len(self.tape) * 1e9

    track_sweeps_ns_a_row.unit = "ns"

    def track_record_ns_a_row(self, n):
        """Recording alone."""
        return fastest(lambda: numbad.record(rosenbrock, self.x)) / len(self.tape) * 1e9

    track_record_ns_a_row.unit = "ns"


class Memory:
    """The most memory that recording and differentiating a tape takes, for each of its rows."""

    params = [10_000, 100_000, 1_000_000]
    param_names = ["rows"]
    timeout = 120

    def track_bytes_a_row(self, rows):
        def product(x):
            total = x
            for _ in range(rows // 2):
                total = total * 0.999 + x
            return total

        numbad.gradient(rosenbrock, np.ones(300))
        tracemalloc.start()
        numbad.gradient(product, 0.5)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return peak / rows

    track_bytes_a_row.unit = "bytes"
