"""Batches: vmap against a Python loop."""

import numpy as np

import numbad

from .problems import fastest, need, sigmoid


class Products:
    """128 Jacobian products of a logistic model's predictions, by one batch and by a loop."""

    params = [["4x3", "100x20", "1000x200"], ["jvp", "vjp"]]
    param_names = ["shape", "mode"]

    def setup(self, shape, mode):
        need("vmap", "jvp", "vjp")
        samples, features = map(int, shape.split("x"))
        random = np.random.default_rng(5)
        inputs = random.standard_normal((samples, features))
        weights = random.standard_normal(features) / features**0.5
        self.seeds = random.standard_normal((128, features if mode == "jvp" else samples))

        def predict(weights):
            return sigmoid(inputs @ weights)

        def product(seed):
            if mode == "jvp":
                return numbad.jvp(predict, (weights,), (seed,))[1]
            return pullback(seed)[0]

        pullback = numbad.vjp(predict, weights)[1]
        self.product = product

    def batch(self):
        return numbad.vmap(self.product)(self.seeds)

    def loop(self):
        return np.stack([self.product(seed) for seed in self.seeds])

    def time_vmap(self, shape, mode):
        self.batch()

    def time_loop(self, shape, mode):
        self.loop()

    def track_loop_over_vmap(self, shape, mode):
        return fastest(self.loop) / fastest(self.batch)

    track_loop_over_vmap.unit = "ratio"


class PerExample:
    """The gradient of each example's loss."""

    params = [10, 100, 1000]
    param_names = ["examples"]

    def setup(self, examples):
        need("vmap", "grad")
        random = np.random.default_rng(5)
        self.inputs = random.standard_normal((examples, 20))
        self.weights = random.standard_normal(20)
        gradient = numbad.grad(lambda weights, x: np.log1p(np.exp(-np.sum(weights * x))))
        self.function = numbad.vmap(gradient, in_axes=(None, 0))
        self.function(self.weights, self.inputs)

    def time_vmap_of_grad(self, examples):
        self.function(self.weights, self.inputs)
