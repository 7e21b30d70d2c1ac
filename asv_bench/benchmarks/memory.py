"""Peak memory of whole processes, libraries and compiled code included: what grows from size to size counts."""

import numpy as np

import numbad

from .problems import need, waves


class Floor:
    """The gradient of a few numbers."""

    def setup(self):
        need("gradient")

    def peakmem_small_gradient(self):
        numbad.gradient(waves, np.ones(9))


class Fused:
    """The sum of sin(x)**2 * exp(-x), whose intermediate arrays are virtual: the input and the gradient remain."""

    params = [100_000, 1_000_000, 10_000_000]
    param_names = ["n"]

    def setup(self, n):
        need("gradient")
        numbad.gradient(waves, np.ones(9))
        self.x = np.full(n, 0.5)

    def peakmem_gradient(self, n):
        numbad.gradient(waves, self.x)


class BlocksOfLanes:
    """The Jacobian of 300 steps over n numbers: with all n lanes at once it would take 7200 * n**2 bytes."""

    params = [250, 500, 1000]
    param_names = ["n"]

    def setup(self, n):
        need("jacfwd", "jacrev")
        self.x = np.linspace(-1.0, 1.0, n)

    @staticmethod
    def loop(x):
        for _ in range(300):
            x = np.cos(x) + 0.5 * x[::-1]
        return x

    def peakmem_jacfwd(self, n):
        numbad.jacfwd(self.loop)(self.x)

    def peakmem_jacrev(self, n):
        numbad.jacrev(self.loop)(self.x)


class Checkpoints:
    """The gradient through a long loop over matrices of 32 kB, as it stands and with a checkpoint every 50 steps."""

    params = [50, 200, 800]
    param_names = ["steps"]

    def setup(self, steps):
        need("checkpoint", "gradient")
        random = np.random.default_rng(11)
        self.weights = random.standard_normal((64, 64)) / 8.0
        self.x = random.standard_normal((64, 64))

    def fifty(self, x):
        for _ in range(50):
            x = np.tanh(self.weights @ x)
        return x

    def gradient(self, part, steps):
        def loss(x):
            for _ in range(steps // 50):
                x = part(x)
            return np.sum(x)

        return numbad.gradient(loss, self.x)

    def peakmem_all_kept(self, steps):
        self.gradient(self.fifty, steps)

    def peakmem_checkpoints(self, steps):
        self.gradient(numbad.checkpoint(self.fifty), steps)


class LongLoop:
    """The gradient of a Python loop over numbers, two rows a turn."""

    params = [10_000, 100_000, 1_000_000]
    param_names = ["rows"]

    def setup(self, rows):
        need("gradient")

    def peakmem_gradient(self, rows):
        def product(x):
            total = x
            for _ in range(rows // 2):
                total = total * 0.999 + x
            return total

        numbad.gradient(product, 0.5)
