"""Python loops over scalars: long tapes of scalar rows."""

import tracemalloc

import numpy as np

import numbad

from .problems import fastest, need, rosenbrock


class Rosenbrock:
    """Rosenbrock's function of n variables, about eight rows for each; short ones until it was 1000 variables."""

    params = [10, 1000, 10_000]
    param_names = ["n"]

    def setup(self, n):
        need("record", "gradient", "Tape.value_and_gradient")
        self.x = np.random.default_rng(7).random(n)
        self.plain = self.x.tolist()
        self.tape = numbad.record(rosenbrock, self.x)
        self.tape.value_and_gradient(self.x)
        self.calls = max(1, 1000 // n)

    def time_record_and_gradient(self, n):
        for _ in range(self.calls):
            numbad.gradient(rosenbrock, self.x)

    def time_record(self, n):
        for _ in range(self.calls):
            numbad.record(rosenbrock, self.x)

    def time_sweeps(self, n):
        for _ in range(self.calls):
            self.tape.value_and_gradient(self.x)

    def time_primal_in_python(self, n):
        for _ in range(self.calls):
            rosenbrock(self.plain)

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
    """What Python and NumPy have handed out at most while a tape is recorded and differentiated, a row."""

    params = [10_000, 100_000, 1_000_000]
    param_names = ["rows"]
    timeout = 120

    def setup(self, rows):
        need("gradient")
        numbad.gradient(rosenbrock, np.ones(300))

    def track_bytes_a_row(self, rows):
        def product(x):
            total = x
            for _ in range(rows // 2):
                total = total * 0.999 + x
            return total

        tracemalloc.start()
        numbad.gradient(product, 0.5)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return peak / rows

    track_bytes_a_row.unit = "bytes"
