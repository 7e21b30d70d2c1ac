"""Jacobians in forward and in reverse mode against the number of inputs and of outputs."""

import numba
import numpy as np

import numbad

from .problems import fastest, layers_problem, need

FEW = 10


class Tall:
    """Ten inputs and n outputs: forward mode needs ten lanes, reverse mode n."""

    params = [30, 100, 300]
    param_names = ["n"]
    shape = staticmethod(lambda n: (n, FEW))

    def setup(self, n):
        need("jacfwd", "jacrev", "jacobian")
        random = np.random.default_rng(8)
        matrix = random.standard_normal(self.shape(n)) / n**0.5
        self.function = lambda x: np.tanh(matrix @ x)
        self.x = random.standard_normal(matrix.shape[1])

    def time_forward(self, n):
        numbad.jacfwd(self.function)(self.x)

    def time_reverse(self, n):
        numbad.jacrev(self.function)(self.x)

    def time_chosen(self, n):
        numbad.jacobian(self.function, self.x)


class Wide(Tall):
    """n inputs and ten outputs: the other way round."""

    shape = staticmethod(lambda n: (FEW, n))


class OneOutput:
    """The Jacobian of a number: reverse mode with a single seed, which should cost what the gradient does."""

    params = [10, 100, 1000]
    param_names = ["n"]

    def setup(self, n):
        need("jacrev", "gradient")
        layers, self.x = layers_problem(n)
        self.total = lambda x: np.sum(layers(x))

    def time_jacrev(self, n):
        numbad.jacrev(self.total)(self.x)

    def track_jacrev_over_gradient(self, n):
        return fastest(lambda: numbad.jacrev(self.total)(self.x)) / fastest(lambda: numbad.gradient(self.total, self.x))

    track_jacrev_over_gradient.unit = "ratio"


class Lanes:
    """200 lanes through a loop over arrays whose elements meet: both modes, and what a second thread gives."""

    params = [5, 50, 150]
    param_names = ["steps"]

    def setup(self, steps):
        need("jacfwd", "jacrev", "linearize", "vmap", "set_num_threads")

        def loop(x):
            for _ in range(steps):
                x = np.cos(x) + 0.5 * x[::-1]
            return x

        self.function, self.x = loop, np.linspace(-1.0, 1.0, 200)
        self.pushforward = numbad.linearize(loop, self.x)[1]
        self.seeds = np.eye(200)
        self.threads = numba.get_num_threads()
        self.all_lanes()

    def teardown(self, steps):
        if hasattr(self, "threads"):
            numbad.set_num_threads(self.threads)

    def all_lanes(self):
        return numbad.vmap(self.pushforward)(self.seeds)

    def time_jacfwd(self, steps):
        numbad.jacfwd(self.function)(self.x)

    def time_jacrev(self, steps):
        numbad.jacrev(self.function)(self.x)

    def time_all_threads(self, steps):
        self.all_lanes()

    def track_one_thread_over_all(self, steps):
        together = fastest(self.all_lanes)
        numbad.set_num_threads(1)
        return fastest(self.all_lanes) / together

    track_one_thread_over_all.unit = "ratio"


class Replayed:
    """Jacobians under jit, of a linear function, which is constant, and of another; against a copy of the result."""

    params = [[100, 1000, 9000], ["linear", "tanh"]]
    param_names = ["n", "function"]

    def setup(self, n, function):
        need("jit", "jacfwd")
        ones = np.ones(n)
        outer = {"linear": lambda x: x.sum() * ones, "tanh": lambda x: np.tanh(x.sum() * ones)}[function]
        self.jacobian = numbad.jit(numbad.jacfwd(outer))
        self.x = np.linspace(0.0, 0.1, FEW)
        self.jacobian(self.x)
        self.result = self.jacobian(self.x)

    def time_20_replays(self, n, function):
        for _ in range(20):
            self.jacobian(self.x)

    def track_replay_over_copy(self, n, function):
        return fastest(lambda: self.jacobian(self.x)) / fastest(self.result.copy)

    track_replay_over_copy.unit = "ratio"
