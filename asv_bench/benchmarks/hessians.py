"""Second derivatives: dense Hessians and Hessian-vector products."""

import numpy as np

import numbad

from .problems import fastest, logistic_problem, need, rosenbrock

CALLS = 20  # of what takes microseconds, in each of the times


class Dense:
    """The Hessian of a logistic loss of 200 samples."""

    params = [5, 20, 80]
    param_names = ["features"]

    def setup(self, features):
        need("hessian", "gradient")
        loss, (self.weights, _) = logistic_problem(200, features)
        self.loss = lambda weights: loss(weights, 0.3)

    def time_hessian(self, features):
        numbad.hessian(self.loss, self.weights)

    def track_hessian_over_gradient(self, features):
        return fastest(lambda: numbad.hessian(self.loss, self.weights)) / fastest(
            lambda: numbad.gradient(self.loss, self.weights)
        )

    track_hessian_over_gradient.unit = "ratio"


class Replayed:
    """The same under jit, 20 calls, against the product of matrices that each needs."""

    params = [5, 20, 80]
    param_names = ["features"]

    def setup(self, features):
        need("hessian", "jit")
        loss, (self.weights, _) = logistic_problem(200, features)
        self.replayed = numbad.jit(numbad.hessian(lambda weights: loss(weights, 0.3)))
        self.inputs = np.ones((200, features))
        self.replay()
        self.replay()

    def replay(self):
        return self.replayed(self.weights)

    def product(self):
        return self.inputs.T @ self.inputs

    def time_20_replays(self, features):
        for _ in range(CALLS):
            self.replay()

    def track_replayed_over_product(self, features):
        return fastest(self.replay) / fastest(self.product)

    track_replayed_over_product.unit = "ratio"


class Product:
    """The Hessian of Rosenbrock's function, a loop over scalars, times a vector."""

    params = [10, 100, 1000]
    param_names = ["n"]

    def setup(self, n):
        need("hvp", "gradient")
        random = np.random.default_rng(9)
        self.x, self.v = random.random(n), random.standard_normal(n)
        numbad.hvp(rosenbrock, self.x, self.v)

    def time_hvp(self, n):
        numbad.hvp(rosenbrock, self.x, self.v)

    def track_hvp_over_gradient(self, n):
        return fastest(lambda: numbad.hvp(rosenbrock, self.x, self.v)) / fastest(
            lambda: numbad.gradient(rosenbrock, self.x)
        )

    track_hvp_over_gradient.unit = "ratio"


class Nested:
    """The derivative of a cubic by nesting grad, 20 times."""

    params = [1, 2, 3, 4]
    param_names = ["order"]

    def setup(self, order):
        need("grad")
        self.function = lambda x: x**3 + 2.0 * x**2 - 3.0 * x + 1.0
        for _ in range(order):
            self.function = numbad.grad(self.function)
        self.function(1.0)

    def time_20_derivatives(self, order):
        for _ in range(CALLS):
            self.function(1.0)
