"""Sparse Jacobians and Hessians: how long they take to prepare, and to evaluate when they are prepared."""

from __future__ import annotations

import numpy as np

import numbad

from .problems import need

CALLS = 20  # in the body of a benchmark of microseconds


def brusselator(side):
    """Return the Brusselator on a periodic square, as array code."""

    def function(w):
        u, v = w.reshape(2, side, side)

        def spread(z):
            return np.roll(z, 1, 0) + np.roll(z, -1, 0) + np.roll(z, 1, 1) + np.roll(z, -1, 1) - 4.0 * z

        reaction = u * u * v
        return np.stack([1.0 + reaction - 4.4 * u + spread(u), 3.4 * u - reaction + spread(v)]).reshape(-1)

    return function


def neighbours(x):
    """Products of neighbours."""
    return x[:-2] + x[1:-1] * x[2:]


def chain(x):
    """Rosenbrock's function of many variables."""
    return np.sum(100.0 * (x[1:] - x[:-1] ** 2) ** 2 + (1.0 - x[:-1]) ** 2)


def arrowhead(x):
    """A function whose second derivatives are dense in one row and column."""
    return np.sum(x**4) + x[0] * np.sum(np.sin(x))


class Jacobians:
    """Of the Brusselator and of products of neighbours."""

    params = (["brusselator32", "brusselator100", "neighbours100", "neighbours1000000"],)
    param_names = ("problem",)

    def setup(self, problem):
        """Prepare the Jacobian."""
        need("sparse_jacobian")
        name, size = problem.rstrip("0123456789"), int(problem.lstrip("abcdefghijklmnopqrstuvwxyz"))
        self.f = neighbours if name == "neighbours" else brusselator(size)
        self.x = np.random.default_rng(0).uniform(0.5, 1.5, size if name == "neighbours" else 2 * size * size)
        self.run = numbad.jit(numbad.sparse_jacobian(self.f))
        self.run(self.x)

    def time_prepare(self, problem):
        """Find pattern and entries anew."""
        numbad.jit(numbad.sparse_jacobian(self.f))(self.x)

    def time_twenty(self, problem):
        """Evaluate twenty times."""
        for _ in range(CALLS):
            self.run(self.x)


class Hessians:
    """Of functions of 100,000 variables."""

    params = (["chain", "arrowhead"],)
    param_names = ("problem",)

    def setup(self, problem):
        """Prepare the Hessian."""
        need("sparse_hessian")
        self.f = {"chain": chain, "arrowhead": arrowhead}[problem]
        self.x = np.random.default_rng(0).uniform(0.5, 1.5, 100_000)
        self.run = numbad.jit(numbad.sparse_hessian(self.f))
        self.run(self.x)

    def time_prepare(self, problem):
        """Find pattern and entries anew."""
        numbad.jit(numbad.sparse_hessian(self.f))(self.x)

    def time_one(self, problem):
        """Evaluate once."""
        self.run(self.x)
