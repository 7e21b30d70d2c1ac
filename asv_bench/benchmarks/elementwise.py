"""Elementary functions of vectors, and the sum of the result."""

import numpy as np

import numbad

from .problems import fastest, waves


class Waves:
    """The sum of sin(x)**2 * exp(-x)."""

    params = [[1000, 10_000, 100_000, 1_000_000], ["float64", "float32"]]
    param_names = ["n", "dtype"]

    def setup(self, n, dtype):
        self.x = np.random.default_rng(3).random(n).astype(dtype)
        numbad.gradient(waves, self.x)

    def time_gradient(self, n, dtype):
        numbad.gradient(waves, self.x)

    def time_primal(self, n, dtype):
        waves(self.x)

    def track_gradient_over_primal(self, n, dtype):
        return fastest(lambda: numbad.gradient(waves, self.x)) / fastest(lambda: waves(self.x))

    track_gradient_over_primal.unit = "ratio"


class Branches:
    """A selection by np.where, and a clip."""

    params = [1000, 30_000, 1_000_000]
    param_names = ["n"]

    def setup(self, n):
        self.x = np.random.default_rng(3).standard_normal(n)

    def time_gradient(self, n):
        numbad.gradient(lambda x: np.sum(np.where(x > 0.0, np.sqrt(np.abs(x)), np.clip(x, -1.0, 1.0))), self.x)
