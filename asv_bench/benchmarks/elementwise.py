"""Elementary functions of vectors, and the sum of the result."""

import numpy as np

import numbad

from .problems import fastest, need, waves

ELEMENTS = 100_000  # short vectors are worked on again and again until it was so many


class Waves:
    """The sum of sin(x)**2 * exp(-x): each time is that of 100,000 elements or of one longer vector."""

    params = [[1000, 30_000, 1_000_000], ["float64", "float32"]]
    param_names = ["n", "dtype"]

    def setup(self, n, dtype):
        need("gradient")
        self.x = np.random.default_rng(3).random(n).astype(dtype)
        self.calls = max(1, ELEMENTS // n)
        numbad.gradient(waves, self.x)

    def time_gradient(self, n, dtype):
        for _ in range(self.calls):
            numbad.gradient(waves, self.x)

    def time_primal(self, n, dtype):
        for _ in range(self.calls):
            waves(self.x)

    def track_gradient_over_primal(self, n, dtype):
        return fastest(lambda: numbad.gradient(waves, self.x)) / fastest(lambda: waves(self.x))

    track_gradient_over_primal.unit = "ratio"


def branches(x):
    """A selection by np.where, and a clip."""
    return np.sum(np.where(x > 0.0, np.sqrt(np.abs(x)), np.clip(x, -1.0, 1.0)))


class Branches:
    """The gradient of a selection: each time is that of 100,000 elements or of one longer vector."""

    params = [1000, 30_000, 1_000_000]
    param_names = ["n"]

    def setup(self, n):
        need("gradient")
        self.x = np.random.default_rng(3).standard_normal(n)
        self.calls = max(1, ELEMENTS // n)
        numbad.gradient(branches, self.x)

    def time_gradient(self, n):
        for _ in range(self.calls):
            numbad.gradient(branches, self.x)
