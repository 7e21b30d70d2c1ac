"""Twenty kernels as they are written for Numba, and what their gradients cost beside their values: one row each."""

import math

import numpy as np

import numbad

from .problems import fastest, need


def heat(u):
    """Fifty steps of an explicit scheme in two dimensions, from one array to the other."""
    u, v = u.copy(), u.copy()
    for _ in range(50):
        for i in range(1, u.shape[0] - 1):
            for j in range(1, u.shape[1] - 1):
                v[i, j] = u[i, j] + 0.1 * (u[i - 1, j] + u[i + 1, j] + u[i, j - 1] + u[i, j + 1] - 4.0 * u[i, j])
        u, v = v, u
    total = 0.0
    for i in range(u.shape[0]):
        for j in range(u.shape[1]):
            total += u[i, j] * u[i, j]
    return total


def burgers(u):
    """Steps of an upwind scheme, whose direction depends on the sign."""
    u, flux = u.copy(), np.zeros(u.size + 1)
    for _ in range(100):
        for i in range(1, u.size):
            flux[i] = 0.5 * u[i - 1] * u[i - 1] if u[i - 1] + u[i] > 0.0 else 0.5 * u[i] * u[i]
        for i in range(1, u.size - 1):
            u[i] -= 0.2 * (flux[i + 1] - flux[i])
    return np.sum(u * u)


def bodies(x):
    """The potential energy of bodies in space."""
    energy = 0.0
    for i in range(x.shape[0]):
        for j in range(i):
            dx, dy, dz = x[i, 0] - x[j, 0], x[i, 1] - x[j, 1], x[i, 2] - x[j, 2]
            energy -= 1.0 / math.sqrt(dx * dx + dy * dy + dz * dz + 1e-3)
    return energy


def orbits(x):
    """A hundred leapfrog steps of bodies that attract one another."""
    q, p = x[:, :2].copy(), x[:, 2:].copy()
    for _ in range(100):
        for i in range(q.shape[0]):
            for j in range(i):
                dx, dy = q[i, 0] - q[j, 0], q[i, 1] - q[j, 1]
                r2 = dx * dx + dy * dy + 0.1
                w = 0.001 / (r2 * math.sqrt(r2))
                p[i, 0] -= w * dx
                p[i, 1] -= w * dy
                p[j, 0] += w * dx
                p[j, 1] += w * dy
        for i in range(q.shape[0]):
            q[i, 0] += 0.01 * p[i, 0]
            q[i, 1] += 0.01 * p[i, 1]
    return np.sum(q * q) + np.sum(p * p)


def lorenz(parameters):
    """Steps of Runge and Kutta for Lorenz' equations, in numbers."""
    x, y, z, h = 1.0, 1.0, 1.0, 0.001
    s, r, b = parameters[0], parameters[1], parameters[2]
    for _ in range(20_000):
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


def pendulums(theta):
    """Coupled pendulums, in arrays."""
    theta, omega, force = theta.copy(), np.zeros(theta.size), np.zeros(theta.size)
    for _ in range(200):
        for i in range(theta.size):
            force[i] = -math.sin(theta[i])
        for i in range(theta.size - 1):
            pull = 0.3 * (theta[i + 1] - theta[i])
            force[i] += pull
            force[i + 1] -= pull
        for i in range(theta.size):
            omega[i] += 0.02 * force[i]
            theta[i] += 0.02 * omega[i]
    return np.sum(omega * omega) + np.sum(theta * theta)


def asian_option(market, normals):
    """The price of an option on the mean of a path, with normals that were drawn before."""
    spot, rate, volatility, strike = market[0], market[1], market[2], market[3]
    steps = normals.shape[1]
    dt = 1.0 / steps
    drift, spread = (rate - 0.5 * volatility * volatility) * dt, volatility * math.sqrt(dt)
    total = 0.0
    for path in range(normals.shape[0]):
        price, mean = spot, 0.0
        for step in range(steps):
            price *= math.exp(drift + spread * normals[path, step])
            mean += price
        mean /= steps
        if mean > strike:
            total += mean - strike
    return math.exp(-rate) * total / normals.shape[0]


def soft_alignment(x, y):
    """Dynamic programming: the cost of aligning two series, with a soft minimum."""
    n, m = x.size, y.size
    cost = np.full((n + 1, m + 1), 1e3)
    cost[0, 0] = 0.0
    for i in range(1, n + 1):
        for j in range(1, m + 1):
            a, b, c = cost[i - 1, j], cost[i, j - 1], cost[i - 1, j - 1]
            low = min(a, b, c)
            soft = low - math.log(math.exp(low - a) + math.exp(low - b) + math.exp(low - c))
            cost[i, j] = (x[i - 1] - y[j - 1]) ** 2 + soft
    return cost[n, m]


def kalman(parameters, observed):
    """The likelihood of a local level with noise."""
    q, r = math.exp(parameters[0]), math.exp(parameters[1])
    level, variance, total = parameters[2], 1.0, 0.0
    for t in range(observed.size):
        variance += q
        error, spread = observed[t] - level, variance + r
        gain = variance / spread
        total += math.log(spread) + error * error / spread
        level += gain * error
        variance *= 1.0 - gain
    return 0.5 * total


def garch(parameters, returns):
    """The likelihood of returns whose variance remembers."""
    omega, alpha, beta = parameters[0], parameters[1], parameters[2]
    variance, total = 1.0, 0.0
    for t in range(1, returns.size):
        variance = omega + alpha * returns[t - 1] ** 2 + beta * variance
        total += math.log(variance) + returns[t] ** 2 / variance
    return 0.5 * total


def recursive_filter(signal, weights):
    """A filter of the second order, and the energy of what comes out."""
    y = np.zeros(signal.size)
    for t in range(2, signal.size):
        y[t] = weights[0] * signal[t] + weights[1] * signal[t - 1] + weights[2] * y[t - 1] + weights[3] * y[t - 2]
    energy = 0.0
    for t in range(y.size):
        energy += y[t] * y[t]
    return energy


def cholesky(a):
    """The logarithm of a determinant by Cholesky's factor."""
    n = a.shape[0]
    factor = np.zeros((n, n))
    total = 0.0
    for i in range(n):
        for j in range(i + 1):
            s = a[i, j]
            for k in range(j):
                s -= factor[i, k] * factor[j, k]
            if i == j:
                factor[i, i] = math.sqrt(s)
                total += 2.0 * math.log(factor[i, i])
            else:
                factor[i, j] = s / factor[j, j]
    return total


def elimination(a):
    """Gauss' elimination in place, without pivots: the logarithm of the determinant."""
    a = a.copy()
    n = a.shape[0]
    total = 0.0
    for k in range(n):
        total += math.log(abs(a[k, k]))
        for i in range(k + 1, n):
            factor = a[i, k] / a[k, k]
            for j in range(k + 1, n):
                a[i, j] -= factor * a[k, j]
    return total


def thomas(x):
    """A tridiagonal system."""
    n = x.size
    c, d = np.zeros(n), np.zeros(n)
    c[0], d[0] = 1.0 / (x[0] + 2.0), 1.0 / (x[0] + 2.0)
    for i in range(1, n):
        pivot = x[i] + 2.0 - 0.5 * c[i - 1]
        c[i] = 1.0 / pivot
        d[i] = (1.0 - 0.5 * d[i - 1]) / pivot
    for i in range(n - 2, -1, -1):
        d[i] -= c[i] * d[i + 1]
    return np.sum(d)


def convolution(image, kernel):
    """An image with a small kernel, and a function of what comes out."""
    total = 0.0
    for i in range(image.shape[0] - kernel.shape[0] + 1):
        for j in range(image.shape[1] - kernel.shape[1] + 1):
            s = 0.0
            for k in range(kernel.shape[0]):
                for m in range(kernel.shape[1]):
                    s += image[i + k, j + m] * kernel[k, m]
            total += math.tanh(s)
    return total


def pairwise(x, y):
    """The sum of a Gaussian of all distances between two sets of points."""
    total = 0.0
    for i in range(x.shape[0]):
        for j in range(y.shape[0]):
            d = 0.0
            for k in range(x.shape[1]):
                d += (x[i, k] - y[j, k]) ** 2
            total += math.exp(-0.5 * d)
    return total


def logistic_regression(weights, inputs, targets):
    """The loss of a logistic regression."""
    loss = 0.0
    for i in range(inputs.shape[0]):
        z = weights[-1]
        for k in range(inputs.shape[1]):
            z += inputs[i, k] * weights[k]
        loss += math.log(1.0 + math.exp(-z)) if targets[i] > 0.5 else math.log(1.0 + math.exp(z))
    return loss


def horner(coefficients, x):
    """The squares of a polynomial's values."""
    total = 0.0
    for i in range(x.size):
        value = coefficients[-1]
        for k in range(coefficients.size - 2, -1, -1):
            value = value * x[i] + coefficients[k]
        total += value * value
    return total


def splines(knots, x):
    """The squared values of a cubic curve through knots at equal distances (Catmull and Rom)."""
    total = 0.0
    for i in range(x.size):
        place = x[i] * (knots.size - 3)
        k = min(int(place), knots.size - 4)
        t = place - k
        a, b, c, d = knots[k], knots[k + 1], knots[k + 2], knots[k + 3]
        value = b + 0.5 * t * (c - a + t * (2.0 * a - 5.0 * b + 4.0 * c - d + t * (3.0 * (b - c) + d - a)))
        total += value * value
    return total


def newton(x):
    """Roots of Kepler's equation, as many steps as it takes."""
    total = 0.0
    for i in range(x.size):
        anomaly = x[i]
        step = 1.0
        while abs(step) > 1e-12:
            step = (anomaly - 0.6 * math.sin(anomaly) - x[i]) / (1.0 - 0.6 * math.cos(anomaly))
            anomaly -= step
        total += math.sin(anomaly) ** 2
    return total


def positive(n, random):
    """Return a positive definite matrix."""
    a = random.standard_normal((n, n))
    return a @ a.T / n + 2.0 * np.eye(n)


COLLECTION = {
    heat: lambda random: (random.random((150, 150)),),
    burgers: lambda random: (random.standard_normal(5_000),),
    bodies: lambda random: (random.standard_normal((700, 3)),),
    orbits: lambda random: (random.standard_normal((40, 4)),),
    lorenz: lambda random: (np.array([10.0, 28.0, 8.0 / 3.0]),),
    pendulums: lambda random: (random.standard_normal(1_000),),
    asian_option: lambda random: (np.array([100.0, 0.03, 0.2, 95.0]), random.standard_normal((2_000, 100))),
    soft_alignment: lambda random: (random.standard_normal(200), random.standard_normal(200)),
    kalman: lambda random: (np.array([-1.0, -0.5, 0.1]), random.standard_normal(100_000)),
    garch: lambda random: (np.array([0.1, 0.1, 0.8]), random.standard_normal(200_000)),
    recursive_filter: lambda random: (random.standard_normal(300_000), np.array([0.3, 0.2, 0.7, -0.2])),
    cholesky: lambda random: (positive(150, random),),
    elimination: lambda random: (positive(150, random),),
    thomas: lambda random: (random.random(200_000),),
    convolution: lambda random: (random.standard_normal((200, 200)), random.standard_normal((5, 5))),
    pairwise: lambda random: (random.standard_normal((500, 4)), random.standard_normal((500, 4))),
    logistic_regression: lambda random: (
        0.3 * random.standard_normal(21),
        random.standard_normal((10_000, 20)),
        random.integers(0, 2, 10_000).astype(float),
    ),
    horner: lambda random: (random.standard_normal(20), random.uniform(-1.0, 1.0, 50_000)),
    splines: lambda random: (random.standard_normal(200), random.random(200_000)),
    newton: lambda random: (random.uniform(0.1, 3.0, 20_000),),
}
NAMES = {f.__name__: f for f in COLLECTION}


def compiled(name):
    """Return a kernel of the collection as one row, and where it is differentiated by its first argument."""
    f = NAMES[name]
    kernel = numbad.kernel(adjoint=True)(f)
    first, *others = COLLECTION[f](np.random.default_rng(5))
    return (lambda x: kernel(x, *others)), first


def setup_cache():
    """Return the seconds of each kernel's value and gradient, and their ratio to those of its value: compiled once."""
    need("kernel", "value_and_gradient")
    measured = {}
    for name in NAMES:
        f, x = compiled(name)
        f(x)
        both = fastest(lambda f=f, x=x: numbad.value_and_gradient(f, x))
        measured[name] = both, both / fastest(lambda f=f, x=x: f(x))
    return measured


setup_cache.timeout = 600


class Collection:
    """Each of the twenty: value and gradient by the first argument."""

    params = list(NAMES)
    param_names = ["kernel"]

    def track_value_and_gradient(self, measured, kernel):
        return measured[kernel][0]

    def track_gradient_over_value(self, measured, kernel):
        return measured[kernel][1]

    track_value_and_gradient.unit = "seconds"
    track_gradient_over_value.unit = "ratio"


class CollectionMean:
    """The geometric mean of the twenty ratios."""

    def track_gradient_over_value(self, measured):
        return math.exp(sum(math.log(ratio) for _, ratio in measured.values()) / len(measured))

    track_gradient_over_value.unit = "ratio"
