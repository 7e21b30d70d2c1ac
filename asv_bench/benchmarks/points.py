"""One tape at many points: nanoseconds a row and point, and the ratio to one point after the other."""

import numpy as np

import numbad

from .problems import fastest, need


def arithmetic(x, y, turns):
    """Nine operations a turn: sums and products."""
    t = x
    for _ in range(turns):
        t = t * y + x
        t = (t - 0.5 * x) * y
        t = t * t
        t = 0.9 * t + y * x
    return t


def elementary(x, y, turns):
    """Nine operations a turn, among them a sine, an exponential and a division."""
    t = x
    for _ in range(turns):
        t = np.sin(t) * y + x
        t = np.exp(-t) * y
        t = t / x
        t = t + y * x
    return t


class Points:
    """Value and gradient of a scalar tape; 500 rows and 100,000 points are the size to watch."""

    params = [["arithmetic", "elementary"], ["54 x 1000", "504 x 100000", "5040 x 1000"]]
    param_names = ["function", "rows x points"]

    def setup(self, function, size):
        need("record", "Tape.map", "Tape.value_and_gradient_map")
        rows, points = map(int, size.split(" x "))
        f = {"arithmetic": arithmetic, "elementary": elementary}[function]
        self.tape = numbad.record(lambda x, y: f(x, y, rows // 9), 1.1, 0.3)
        assert len(self.tape) == rows
        random = np.random.default_rng(6)
        self.x = 1.0 + 0.1 * random.random(points)
        self.y = 0.3 + 0.1 * random.random(points)
        self.points, self.each = points, 1e9 / (rows * points)

    def time_value_and_gradient_map(self, function, size):
        self.tape.value_and_gradient_map(self.x, self.y)

    def time_map(self, function, size):
        self.tape.map(self.x, self.y)

    def track_value_and_gradient_map(self, function, size):
        return self.each * fastest(lambda: self.tape.value_and_gradient_map(self.x, self.y))

    track_value_and_gradient_map.unit = "ns per row and point"

    def track_map(self, function, size):
        return self.each * fastest(lambda: self.tape.map(self.x, self.y))

    track_map.unit = "ns per row and point"

    def track_alone_over_map(self, function, size):
        """How many times as long one point takes by itself."""
        alone = fastest(lambda: self.tape.value_and_gradient(1.1, 0.3))
        return alone * self.points / fastest(lambda: self.tape.value_and_gradient_map(self.x, self.y))

    track_alone_over_map.unit = "ratio"


class Branches:
    """vmap of a jitted gradient whose examples take two paths, against one path for all."""

    params = [100, 10_000, 1_000_000]
    param_names = ["points"]

    def setup(self, points):
        need("vmap", "jit", "grad")

        def f(x):
            return elementary(x, 0.3, 10) if x > 1.0 else arithmetic(x, 0.3, 10)

        self.function = numbad.vmap(numbad.jit(numbad.grad(f)))
        self.one = np.linspace(1.01, 1.1, points)
        self.two = np.where(np.arange(points) % 2, self.one, self.one - 0.5)
        self.function(self.two)

    def time_two_paths(self, points):
        self.function(self.two)

    def track_two_paths_over_one(self, points):
        return fastest(lambda: self.function(self.two)) / fastest(lambda: self.function(self.one))

    track_two_paths_over_one.unit = "ratio"
