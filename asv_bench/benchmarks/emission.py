"""Derivatives as rows, and recorded tapes copied into other recordings."""

import numpy as np

import numbad
from numbad.emission.regions import Call, addresses_of
from numbad.emission.tangent import push_region
from numbad.recording.recorder import Recorder

from .problems import fastest


def waves(rows):
    """Return a function of one number with four rows a turn."""

    def function(x):
        total = x
        for _ in range(rows // 4):
            total = np.sin(total) * 0.999 + x * total
        return total

    return function


class Emission:
    """The adjoint and the tangent of a recorded function, appended to its own tape, by the row of the function."""

    params = [1000, 30_000, 1_000_000]
    param_names = ["rows"]
    timeout = 120

    def setup(self, rows):
        self.call = Call(Recorder(), waves(rows), (0.3,), (0,), {})
        self.outputs = [addresses_of(self.call.result)]

    def track_adjoint_ns_a_row(self, rows):
        return fastest(lambda: self.call.region.pull(self.outputs, [1.0])) / rows * 1e9

    track_adjoint_ns_a_row.unit = "ns"

    def track_tangent_ns_a_row(self, rows):
        return fastest(lambda: push_region(self.call.region, self.outputs, [1.0])) / rows * 1e9

    track_tangent_ns_a_row.unit = "ns"


class Splice:
    """A jitted function called inside another recording."""

    params = [100, 1000, 10_000]
    param_names = ["rows"]

    def setup(self, rows):
        self.function = numbad.jit(waves(rows))
        weights = np.linspace(0.5, 1.5, 8)

        def turns(x):
            for _ in range(rows // 4):
                x = np.sin(x) * weights + x * 0.5
            return x

        self.arrays = numbad.jit(turns)

    def inside(self, function, x):
        """Return the seconds of a call inside a recording."""
        seconds = []

        def outer(x):
            seconds.append(fastest(lambda: function(x)))
            return np.sum(x) * 1.0

        numbad.gradient(outer, x)
        return seconds[0]

    def track_scalar_rows_us(self, rows):
        return self.inside(self.function, 0.3) * 1e6

    track_scalar_rows_us.unit = "µs"

    def track_array_rows_us(self, rows):
        return self.inside(self.arrays, np.ones(8)) * 1e6

    track_array_rows_us.unit = "µs"
