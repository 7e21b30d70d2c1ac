"""The machine itself: pure NumPy and pure Python. Where these move, the other figures mean nothing."""

import numpy as np


class Machine:
    """Three kinds of work that numbad has no part in."""

    params = [1000, 30_000, 1_000_000]
    param_names = ["n"]

    def setup(self, n):
        self.x = np.random.default_rng(0).random(n)
        side = int(n**0.5)
        self.matrix = self.x[: side * side].reshape(side, side)

    def time_numpy_exp(self, n):
        np.exp(self.x)

    def time_numpy_matrix_product(self, n):
        self.matrix @ self.matrix

    def time_python_loop(self, n):
        total = 0.0
        for k in range(n):
            total += k * 0.5
