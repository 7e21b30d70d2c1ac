"""Functions that Numba compiles: recorded by their Python source, replayed, and Numba's own value beside them."""

import numpy as np

import numbad

from .problems import fastest, need


def rosenbrock(x):
    """Rosenbrock's function, a loop over numbers."""
    total = 0.0
    for i in range(x.size - 1):
        total += 100.0 * (x[i + 1] - x[i] ** 2) ** 2 + (1.0 - x[i]) ** 2
    return total


def heat(u):
    """Twenty steps of an explicit scheme, in place."""
    u = u.copy()
    for _ in range(20):
        for i in range(1, u.size - 1):
            u[i] += 0.2 * (u[i - 1] - 2.0 * u[i] + u[i + 1])
    return (u * u).sum()


def attraction(x):
    """The energy of points in a plane, pairs with a branch."""
    energy = 0.0
    for i in range(x.size // 2):
        for j in range(i):
            d = (x[2 * i] - x[2 * j]) ** 2 + (x[2 * i + 1] - x[2 * j + 1]) ** 2
            if d < 0.5:
                energy += 1.0 / np.sqrt(d + 0.01)
    return energy


def tridiagonal(x):
    """Thomas' algorithm for a matrix with x + 2 on its diagonal."""
    n = x.size
    c, d = np.zeros(n), np.zeros(n)
    c[0], d[0] = 1.0 / (x[0] + 2.0), 1.0 / (x[0] + 2.0)
    for i in range(1, n):
        pivot = x[i] + 2.0 - 0.5 * c[i - 1]
        c[i] = 1.0 / pivot
        d[i] = (1.0 - 0.5 * d[i - 1]) / pivot
    for i in range(n - 2, -1, -1):
        d[i] -= c[i] * d[i + 1]
    return d.sum()


KERNELS = {f.__name__: f for f in (rosenbrock, heat, attraction, tridiagonal)}


class Kernels:
    """Each kernel with 100 variables."""

    params = list(KERNELS)
    param_names = ["kernel"]

    def setup(self, kernel):
        need("jit", "value_and_grad", "gradient")
        from numba import njit

        self.x = np.random.default_rng(7).random(100)
        self.f = njit(KERNELS[kernel])
        self.f(self.x)
        self.replayed = numbad.jit(numbad.value_and_grad(self.f))
        try:
            numbad.gradient(self.f, self.x)
        except Exception as error:
            raise NotImplementedError("this numbad records no functions that Numba compiles") from error
        for _ in range(100):
            self.replayed(self.x)

    def time_record_and_gradient(self, kernel):
        numbad.gradient(self.f, self.x)

    def time_replayed_64(self, kernel):
        for _ in range(64):
            self.replayed(self.x)

    def time_value_of_numba_64(self, kernel):
        for _ in range(64):
            self.f(self.x)

    def track_replayed_over_value(self, kernel):
        return fastest(lambda: self.replayed(self.x)) / fastest(lambda: self.f(self.x))

    track_replayed_over_value.unit = "ratio"


class Native:
    """Kernels with 10,000 variables, recorded by machine code."""

    params = ["rosenbrock", "heat", "tridiagonal"]
    param_names = ["kernel"]

    def setup(self, kernel):
        need("kernel", "gradient")
        self.x = np.random.default_rng(7).random(10_000)
        self.f = numbad.kernel(KERNELS[kernel])
        self.f(self.x)
        numbad.gradient(self.f, self.x)

    def time_record_and_gradient(self, kernel):
        numbad.gradient(self.f, self.x)

    def track_gradient_over_value(self, kernel):
        return fastest(lambda: numbad.gradient(self.f, self.x)) / fastest(lambda: self.f(self.x))

    track_gradient_over_value.unit = "ratio"


def logistic(rates):
    """A map of 10,000 steps for each of ten rates."""
    total = 0.0
    for rate in rates:
        x = 0.3
        for _ in range(10_000):
            x = rate * x * (1.0 - x)
        total += x
    return total


def orbit(parameters):
    """A thousand steps of Runge and Kutta for Lorenz' equations."""
    x, y, z, h = 1.0, 1.0, 1.0, 0.001
    s, r, b = parameters[0], parameters[1], parameters[2]
    for _ in range(1000):
        ax, ay, az = s * (y - x), x * (r - z) - y, x * y - b * z
        px, py, pz = x + 0.5 * h * ax, y + 0.5 * h * ay, z + 0.5 * h * az
        bx, by, bz = s * (py - px), px * (r - pz) - py, px * py - b * pz
        px, py, pz = x + 0.5 * h * bx, y + 0.5 * h * by, z + 0.5 * h * bz
        cx, cy, cz = s * (py - px), px * (r - pz) - py, px * py - b * pz
        px, py, pz = x + h * cx, y + h * cy, z + h * cz
        dx, dy, dz = s * (py - px), px * (r - pz) - py, px * py - b * pz
        x += h / 6.0 * (ax + 2.0 * bx + 2.0 * cx + dx)
        y += h / 6.0 * (ay + 2.0 * by + 2.0 * cy + dy)
        z += h / 6.0 * (az + 2.0 * bz + 2.0 * cz + dz)
    return x * y + z


LONG = {
    "rosenbrock": (rosenbrock, lambda: np.random.default_rng(7).random(1_000_000)),
    "tridiagonal": (tridiagonal, lambda: np.random.default_rng(7).random(100_000)),
    "logistic": (logistic, lambda: np.linspace(2.0, 3.2, 10)),
    "orbit": (orbit, lambda: np.array([10.0, 28.0, 8.0 / 3.0])),
}


class Adjoints:
    """Kernels with long loops, one row each."""

    params = list(LONG)
    param_names = ["kernel"]

    def setup(self, kernel):
        need("kernel", "value_and_gradient")
        function, point = LONG[kernel]
        try:
            self.f = numbad.kernel(adjoint=True)(function)
        except TypeError as error:
            raise NotImplementedError("this numbad has no adjoints of kernels") from error
        self.x = point()
        self.f(self.x)
        numbad.value_and_gradient(self.f, self.x)

    def time_value_and_gradient(self, kernel):
        numbad.value_and_gradient(self.f, self.x)

    def peakmem_value_and_gradient(self, kernel):
        numbad.value_and_gradient(self.f, self.x)

    def track_gradient_over_value(self, kernel):
        return fastest(lambda: numbad.value_and_gradient(self.f, self.x)) / fastest(lambda: self.f(self.x))

    track_gradient_over_value.unit = "ratio"
