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


FUNCTIONS = {
    "max": lambda x: np.max(x, axis=1),
    "sort": lambda x: np.sort(x, axis=1),
    "cumprod": lambda x: np.cumprod(x, axis=1),
    "softmax": lambda x: np.exp(x - x.max()) / np.sum(np.exp(x - x.max())),
    "interp": lambda x: np.interp(x, np.linspace(-2.0, 2.0, 8), np.sin(np.arange(8.0))),
    "median": lambda x: np.median(x),
    "solve": lambda x: np.linalg.solve(x, np.arange(3.0)),
    "det": lambda x: np.linalg.det(x),
    "cholesky": lambda x: np.linalg.cholesky(x @ x.T + np.eye(3)),
    "eigvalsh": lambda x: np.linalg.eigvalsh(x),
    "argmax": lambda x: x.reshape(-1)[np.argmax(x)],
    "argsort": lambda x: x.reshape(-1)[np.argsort(x, axis=None)],
    "take_along_axis": lambda x: np.take_along_axis(x, np.argsort(x, axis=1), axis=1),
}


class ArrayFunctions:
    """Functions that are no elementwise rows, of 3 x 3 numbers: all examples at once."""

    params = [list(FUNCTIONS), [400, 4000]]
    param_names = ["function", "examples"]

    def setup(self, function, examples):
        need("vmap", "grad", "jit")
        f = FUNCTIONS[function]
        self.inputs = np.random.default_rng(5).standard_normal((examples, 3, 3))
        slope = numbad.grad(lambda x: np.sum(np.sin(f(x))))
        self.values, self.slopes = numbad.vmap(f), numbad.vmap(slope)
        self.replayed, self.replayed_slopes = numbad.jit(self.values), numbad.jit(self.slopes)
        for run in (self.values, self.slopes, self.replayed, self.replayed_slopes):
            run(self.inputs)

    def time_values(self, function, examples):
        self.values(self.inputs)

    def time_gradients(self, function, examples):
        self.slopes(self.inputs)

    def time_values_replayed(self, function, examples):
        self.replayed(self.inputs)

    def time_gradients_replayed(self, function, examples):
        self.replayed_slopes(self.inputs)
