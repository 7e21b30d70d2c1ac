"""Jacobians in forward and in reverse mode against the number of inputs and of outputs."""

import numpy as np

import numbad

from .problems import fastest, layers_problem

FEW = 10


class Tall:
    """Ten inputs and n outputs: forward mode needs ten lanes, reverse mode n."""

    params = [30, 100, 300]
    param_names = ["n"]
    shape = staticmethod(lambda n: (n, FEW))

    def setup(self, n):
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

    def track_reverse_over_forward(self, n):
        return fastest(lambda: numbad.jacrev(self.function)(self.x)) / fastest(
            lambda: numbad.jacfwd(self.function)(self.x)
        )

    track_reverse_over_forward.unit = "ratio"


class Wide(Tall):
    """n inputs and ten outputs: the other way round."""

    shape = staticmethod(lambda n: (FEW, n))


class OneOutput:
    """The Jacobian of a number: reverse mode with a single seed, which should cost what the gradient does."""

    params = [10, 100, 1000]
    param_names = ["n"]

    def setup(self, n):
        layers, self.x = layers_problem(n)
        self.total = lambda x: np.sum(layers(x))

    def track_jacrev_over_gradient(self, n):
        return fastest(lambda: numbad.jacrev(self.total)(self.x)) / fastest(lambda: numbad.gradient(self.total, self.x))

    track_jacrev_over_gradient.unit = "ratio"
