"""Derivatives as rows, and recorded tapes copied into other recordings."""

import numpy as np

import numbad

from .problems import fastest, need


def waves(rows):
    """Return a function of one number with four rows a turn."""

    def function(x):
        total = x
        for _ in range(rows // 4):
            total = np.sin(total) * 0.999 + x * total
        return total

    return function


class Emission:
    """A recorded function, and its adjoint or tangent appended as rows of the same tape."""

    params = [1000, 30_000, 300_000]
    param_names = ["rows"]

    def setup(self, rows):
        need("record", "grad", "jvp")
        self.function = waves(rows)
        self.adjoint = numbad.grad(self.function)
        self.tangent = lambda x: numbad.jvp(self.function, (x,), (1.0,))[1]

    def time_record_adjoint(self, rows):
        numbad.record(self.adjoint, 0.3)

    def time_record_tangent(self, rows):
        numbad.record(self.tangent, 0.3)

    def beyond_recording(self, derivative, rows):
        """Return the nanoseconds for each row of the function that its derivative takes beyond its recording."""
        both, alone = (fastest(lambda f=f: numbad.record(f, 0.3)) for f in (derivative, self.function))
        return (both - alone) / rows * 1e9

    def track_adjoint_ns_a_row(self, rows):
        return self.beyond_recording(self.adjoint, rows)

    def track_tangent_ns_a_row(self, rows):
        return self.beyond_recording(self.tangent, rows)

    track_adjoint_ns_a_row.unit = track_tangent_ns_a_row.unit = "ns"


class Splice:
    """A jitted function called inside another recording."""

    params = [100, 1000, 10_000]
    param_names = ["rows"]

    def setup(self, rows):
        need("jit", "record")
        self.numbers = numbad.jit(waves(rows))
        weights = np.linspace(0.5, 1.5, 8)

        def turns(x):
            for _ in range(rows // 4):
                x = np.sin(x) * weights + x * 0.5
            return x

        self.arrays = numbad.jit(turns)
        for _ in range(2):
            self.time_record_scalar_rows(rows)
            self.time_record_array_rows(rows)

    def time_record_scalar_rows(self, rows):
        numbad.record(lambda x: self.numbers(x) * 1.0, 0.3)

    def time_record_array_rows(self, rows):
        numbad.record(lambda x: np.sum(self.arrays(x)), np.ones(8))
