"""Second derivatives: dense Hessians and Hessian-vector products."""

import numpy as np

import numbad

from .problems import fastest, logistic_problem, rosenbrock


class Dense:
    """The Hessian of a logistic loss of 200 samples."""

    params = [5, 20, 80]
    param_names = ["features"]

    def setup(self, features):
        loss, (self.weights, _) = logistic_problem(200, features)
        self.loss = lambda weights: loss(weights, 0.3)
        self.replayed = numbad.jit(numbad.hessian(self.loss))
        self.replayed(self.weights)

    def time_hessian(self, features):
        numbad.hessian(self.loss, self.weights)

    def time_replayed(self, features):
        self.replayed(self.weights)

    def track_replayed_over_product(self, features):
        """Against the one product of matrices that it needs."""
        inputs = np.ones((200, features))
        return fastest(lambda: self.replayed(self.weights)) / fastest(lambda: inputs.T @ inputs)

    track_replayed_over_product.unit = "ratio"

    def track_hessian_over_gradient(self, features):
        return fastest(lambda: numbad.hessian(self.loss, self.weights)) / fastest(
            lambda: numbad.gradient(self.loss, self.weights)
        )

    track_hessian_over_gradient.unit = "ratio"


class Product:
    """The Hessian of Rosenbrock's function, a loop over scalars, times a vector."""

    params = [10, 100, 1000]
    param_names = ["n"]

    def setup(self, n):
        random = np.random.default_rng(9)
        self.x, self.v = random.random(n), random.standard_normal(n)

    def time_hvp(self, n):
        numbad.hvp(rosenbrock, self.x, self.v)

    def track_hvp_over_gradient(self, n):
        return fastest(lambda: numbad.hvp(rosenbrock, self.x, self.v)) / fastest(
            lambda: numbad.gradient(rosenbrock, self.x)
        )

    track_hvp_over_gradient.unit = "ratio"


class Nested:
    """The derivative of a cubic by nesting grad."""

    params = [1, 2, 3, 4]
    param_names = ["order"]

    def setup(self, order):
        self.function = lambda x: x**3 + 2.0 * x**2 - 3.0 * x + 1.0
        for _ in range(order):
            self.function = numbad.grad(self.function)

    def time_derivative(self, order):
        self.function(1.0)
