"""What a replay costs: of one path, of paths that alternate, and what the passes over the tape cost and save."""

import itertools

import numpy as np

import numbad

from .problems import fastest, rosenbrock

SIZES = [10, 100, 1000]
POINTS = {n: np.random.default_rng(7).random(n) for n in SIZES}
TAPES = {n: numbad.record(rosenbrock, x) for n, x in POINTS.items()}
SHORTER = {n: tape.optimise(forward_only=True) for n, tape in TAPES.items()}
JITTED = {n: numbad.jit(numbad.grad(rosenbrock)) for n in SIZES}
CALLS = 64


def early(x):
    """The branch comes first: the paths share nothing."""
    if x[0] > 0.0:
        return rosenbrock(x)
    return sum((b + a * a) ** 3 for a, b in itertools.pairwise(x))


def late(x):
    """The branch comes last: the paths share all but one row."""
    total = rosenbrock(x)
    return total * 2.0 if total > 250.0 * len(x) else total * 3.0


def search(x):
    """A branch on each of three numbers: eight paths."""
    total = rosenbrock(x)
    for v in x[:3]:
        total = total * 1.5 if v > 0.5 else total + v
    return total


def arrays(x):
    """The branch comes half way, between rows over arrays."""
    y = np.sin(x) * x
    y = np.exp(y) * x if np.sum(y) > 0.1 * len(x) else np.cos(y) + x
    return np.sum(np.tanh(y) * y)


def points_of(name, n):
    """Return a point for each path that is asked for."""
    x = POINTS[n]
    if name == "search":
        return [np.concatenate([np.array(signs) * 0.8 + 0.1, x[3:]]) for signs in itertools.product((0, 1), repeat=3)]
    return {"early": [x, -x], "late": [0.1 * x, 3.0 * x], "arrays": [0.1 * x, 2.0 * x]}[name]


class Rosenbrock:
    """A loop over scalars, eight rows a turn."""

    params = [SIZES]
    param_names = ["n"]

    def time_jitted_gradient(self, n):
        JITTED[n](POINTS[n])

    def time_tape(self, n):
        TAPES[n](POINTS[n])

    def time_tape_that_overwrites(self, n):
        SHORTER[n](POINTS[n])

    def time_optimise(self, n):
        TAPES[n].optimise()

    def track_rows_that_sweeps_take(self, n):
        JITTED[n](POINTS[n])
        program = next(iter(JITTED[n].programs.values())).programs[0]
        return (len(program.machine.code) + len(program.machine.back)) / (2 * len(TAPES[n]))

    track_rows_that_sweeps_take.unit = "ratio"


class Paths:
    """Recorded paths in random order, against the mean of each path alone."""

    params = [["early", "late", "search", "arrays"], SIZES]
    param_names = ["branch", "n"]

    def track_switching_value(self, branch, n):
        return self.ratio(globals()[branch], points_of(branch, n))

    def track_switching_gradient(self, branch, n):
        return self.ratio(numbad.grad(globals()[branch]), points_of(branch, n))

    track_switching_value.unit = track_switching_gradient.unit = "ratio"

    def ratio(self, f, points):
        switching = numbad.jit(f)
        alone = [numbad.jit(f) for _ in points]
        for jitted, point in zip(alone, points, strict=True):
            jitted(point)
            switching(point)
        assert switching.paths == len(points)
        order = np.random.default_rng(3).integers(0, len(points), CALLS).tolist()

        def mixed():
            for k in order:
                switching(points[k])

        def separate():
            for k in order:
                alone[k](points[k])

        return fastest(mixed) / fastest(separate)
