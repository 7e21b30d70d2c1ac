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


def layer(x, w, b):
    """A layer of a network without its product: a factor and a bias for each column."""
    return np.sum(np.tanh(x * w + b))


def normalised(x):
    """Rows divided by their sums."""
    e = np.exp(x)
    return np.sum((e / e.sum(axis=1, keepdims=True)) ** 2)


class Broadcasts:
    """The gradient where rows and columns of a matrix have factors of their own."""

    params = [[30, 300, 1000], ["layer", "normalised"]]
    param_names = ["n", "what"]

    def setup(self, n, what):
        need("gradient")
        rng = np.random.default_rng(5)
        x, w, b = rng.random((n, n)), rng.random(n), rng.random(n)
        self.run = lambda: numbad.gradient(layer, x, w, b) if what == "layer" else numbad.gradient(normalised, x)
        self.run()

    def time_gradient(self, n, what):
        self.run()


def diffused(u):
    """Ten steps of a stencil, in place."""
    u = u * 1.0
    for _ in range(10):
        u[1:-1, 1:-1] += 0.2 * (u[2:, 1:-1] + u[:-2, 1:-1] + u[1:-1, 2:] + u[1:-1, :-2] - 4.0 * u[1:-1, 1:-1])
    return np.sum(u**2)


class Stencils:
    """The gradient of explicit steps in the plane, in place."""

    params = [30, 100, 300]
    param_names = ["n"]

    def setup(self, n):
        need("gradient")
        self.u = np.random.default_rng(6).random((n, n))
        numbad.gradient(diffused, self.u)

    def time_gradient(self, n):
        numbad.gradient(diffused, self.u)

    def track_gradient_over_primal(self, n):
        return fastest(lambda: numbad.gradient(diffused, self.u)) / fastest(lambda: diffused(self.u))

    track_gradient_over_primal.unit = "ratio"
