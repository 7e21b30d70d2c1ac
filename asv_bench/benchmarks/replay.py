"""What a replay costs: of one path, of paths that alternate, and what the passes over the tape cost and save."""

import itertools

import numpy as np

import numbad

from .problems import fastest, need, rosenbrock

SIZES = [10, 100, 1000]
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


FUNCTIONS = {"early": early, "late": late, "search": search, "arrays": arrays}


def point(n):
    """Return n numbers between zero and one."""
    return np.random.default_rng(7).random(n)


def points_of(name, n):
    """Return a point for each path that is asked for."""
    x = point(n)
    if name == "search":
        return [np.concatenate([np.array(signs) * 0.8 + 0.1, x[3:]]) for signs in itertools.product((0, 1), repeat=3)]
    return {"early": [x, -x], "late": [0.1 * x, 3.0 * x], "arrays": [0.1 * x, 2.0 * x]}[name]


class Tapes:
    """The recorded gradient of a loop over scalars, eight rows a turn; 64 calls."""

    params = [SIZES]
    param_names = ["n"]

    def setup(self, n):
        need("record", "Tape.optimise")
        self.x = point(n)
        self.tape = numbad.record(rosenbrock, self.x)
        self.shorter = self.tape.optimise(forward_only=True)
        self.tape(self.x), self.shorter(self.x)

    def time_64_calls(self, n):
        for _ in range(CALLS):
            self.tape(self.x)

    def time_64_calls_that_overwrite(self, n):
        for _ in range(CALLS):
            self.shorter(self.x)

    def time_optimise(self, n):
        self.tape.optimise()

    def track_rows_after_optimise(self, n):
        return len(self.tape.optimise()) / len(self.tape)

    track_rows_after_optimise.unit = "ratio"


class Jitted:
    """The jitted gradient of the same loop; 64 calls."""

    params = [SIZES]
    param_names = ["n"]

    def setup(self, n):
        need("jit", "grad")
        self.x = point(n)
        self.jitted = numbad.jit(numbad.grad(rosenbrock))
        for _ in range(5):
            self.jitted(self.x)

    def time_64_gradients(self, n):
        for _ in range(CALLS):
            self.jitted(self.x)


class Paths:
    """64 gradients on recorded paths in random order, and by functions that know one path each."""

    params = [list(FUNCTIONS), SIZES]
    param_names = ["branch", "n"]
    transform = staticmethod(lambda f: numbad.grad(f))

    def setup(self, branch, n):
        need("jit", "grad")
        f = self.transform(FUNCTIONS[branch])
        self.points = points_of(branch, n)
        self.switching = numbad.jit(f)
        self.alone = [numbad.jit(f) for _ in self.points]
        for jitted, x in zip(self.alone, self.points, strict=True):
            jitted(x)
            self.switching(x)
        assert self.switching.paths == len(self.points)
        self.order = np.random.default_rng(3).integers(0, len(self.points), CALLS).tolist()
        self.mixed()
        self.separate()

    def mixed(self):
        for k in self.order:
            self.switching(self.points[k])

    def separate(self):
        for k in self.order:
            self.alone[k](self.points[k])

    def time_switching(self, branch, n):
        self.mixed()

    def track_switching_over_alone(self, branch, n):
        return fastest(self.mixed) / fastest(self.separate)

    track_switching_over_alone.unit = "ratio"


class PathsOfValues(Paths):
    """The same of the functions themselves."""

    params = [list(FUNCTIONS), [100]]
    transform = staticmethod(lambda f: f)
