"""Products of matrices: two layers, and a training step of a network."""

import numpy as np

import numbad

from .problems import fastest, layers_problem, need, network_problem


class TwoLayers:
    """sum(sigmoid(B @ sigmoid(A @ x))) with respect to x; the two short ones 20 times."""

    params = [[10, 100, 1000], ["float64", "float32"]]
    param_names = ["n", "dtype"]

    def setup(self, n, dtype):
        need("gradient")
        layers, self.x = layers_problem(n, dtype)
        self.total = lambda x: np.sum(layers(x))
        self.calls = 20 if n < 1000 else 1
        numbad.gradient(self.total, self.x)

    def time_gradient(self, n, dtype):
        for _ in range(self.calls):
            numbad.gradient(self.total, self.x)

    def track_gradient_over_primal(self, n, dtype):
        return fastest(lambda: numbad.gradient(self.total, self.x)) / fastest(lambda: self.total(self.x))

    track_gradient_over_primal.unit = "ratio"


class TrainingStep:
    """Value and gradient of the cross-entropy of a batch, with respect to a dict of weights in float32."""

    params = [32, 128, 512]
    param_names = ["width"]

    def setup(self, width):
        need("value_and_gradient")
        self.loss, self.weights = network_problem(width)
        numbad.value_and_gradient(self.loss, self.weights)

    def time_value_and_gradient(self, width):
        numbad.value_and_gradient(self.loss, self.weights)

    def track_gradient_over_primal(self, width):
        return fastest(lambda: numbad.value_and_gradient(self.loss, self.weights)) / fastest(
            lambda: self.loss(self.weights)
        )

    track_gradient_over_primal.unit = "ratio"
