"""Programs as people write them in papers, courses and test collections, eager and under jit, against differences.

They are written without regard to numbad. Those that build arrays of what they compute take `np` from numbad.numpy.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
from pathlib import Path

import numpy as np
import pytest
import scipy.linalg
import scipy.special
from scipy.stats import norm

import numbad
import numbad.numpy as nnp
from numbad.errors import RecordingError
from shared.oracle import check_against_numpy

HERE = Path(__file__).name

X = np.array([0.7, 1.3, 0.4])
RNG = np.random.default_rng(7)
POINTS = RNG.standard_normal((8, 2))
M = RNG.standard_normal((3, 3))


# ---------------------------------------------------------------- test functions of optimisation


def rastrigin(x):
    return 10.0 * len(x) + sum(xi**2 - 10.0 * np.cos(2.0 * np.pi * xi) for xi in x)


def ackley(x):
    x = np.asarray(x)
    n = len(x)
    mean_square, mean_cosine = sum(x**2) / n, sum(np.cos(2.0 * np.pi * x)) / n
    return -20.0 * np.exp(-0.2 * np.sqrt(mean_square)) - np.exp(mean_cosine) + 20.0 + np.e


def levy(x):
    w = 1 + (x - 1) / 4
    inner = (w[:-1] - 1) ** 2 * (1 + 10 * np.sin(np.pi * w[:-1] + 1) ** 2)
    return np.sin(np.pi * w[0]) ** 2 + np.sum(inner) + (w[-1] - 1) ** 2 * (1 + np.sin(2 * np.pi * w[-1]) ** 2)


def griewank(x):
    i = np.arange(1, np.size(x) + 1)
    return np.sum(x**2 / 4000.0) - np.prod(np.cos(x / np.sqrt(i))) + 1.0


def powell(x):
    x1, x2, x3 = x
    return (x1 + 10 * x2) ** 2 + 5 * (x3 - x1) ** 2 + (x2 - 2 * x3) ** 4 + 10 * (x1 - x3) ** 4


def helical_valley(x):
    theta = np.arctan2(x[1], x[0]) / (2 * np.pi)
    r = np.array([10 * (x[2] - 10 * theta), 10 * (np.hypot(x[0], x[1]) - 1), x[2]])
    return r @ r


def penalised(x):
    def u(z, a, k, m):
        return np.piecewise(z, [z > a, z < -a], [lambda t: k * (t - a) ** m, lambda t: k * (-t - a) ** m, 0.0])

    return np.sum(u(3.0 * x, 1.0, 100.0, 4)) + 10.0 * np.sin(np.pi * x[0]) ** 2


def shekel(x):
    a, c = np.array([[4.0, 4.0, 4.0], [1.0, 1.0, 1.0], [8.0, 8.0, 8.0]]), np.array([0.1, 0.2, 0.2])
    return -sum(1.0 / (np.inner(x - a[i], x - a[i]) + c[i]) for i in range(3))


def michalewicz(x):
    j = np.arange(1.0, len(x) + 1)
    return -np.sum(np.sin(x) * np.sin(j * x**2 / np.pi) ** 20)


def deceptive_sum(x):
    g = nnp.zeros(3)
    for i in range(3):
        if x[i] <= 0.5:
            g[i] = 1.0 - x[i] / 0.5
        elif x[i] <= 1.0:
            g[i] = 2.0 * (x[i] - 0.5)
        else:
            g[i] = np.exp(1.0 - x[i])
    return -(np.mean(g) ** 2)


def padded_sum(x):
    xx = nnp.zeros(len(x) + 2)
    xx[1:-1] = x
    xx[0], xx[-1] = x[-1], x[0]
    a = xx[:-2] * np.sin(x) + np.sin(xx[2:])
    return np.sum(x**2) + np.sum(20.0 * np.sin(a) ** 2)


# ---------------------------------------------------------------- differential equations


def lotka_volterra(p):
    def rhs(y):
        return np.array([p[0] * y[0] - p[1] * y[0] * y[1], -p[2] * y[1] + y[0] * y[1]])

    y, h = np.array([1.0, 0.5]), 0.1
    for _ in range(10):
        k1 = rhs(y)
        k2 = rhs(y + h / 2 * k1)
        k3 = rhs(y + h / 2 * k2)
        k4 = rhs(y + h * k3)
        y = y + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
    return y


def kepler_by_verlet(p):
    q, v, path = np.array([1.0, 0.0]), np.array([0.0, 1.0]) * p[0], []
    for _ in range(10):
        v = v - 0.05 * p[1] * q / np.sqrt(q @ q) ** 3
        q = q + 0.1 * v
        path.append(q)
    return np.array(path)


def heat(x):
    u = nnp.zeros((6, 8))
    u[0, 2:5] = x
    for k in range(5):
        u[k + 1] = u[k]
        u[k + 1, 1:-1] += 0.2 * (u[k, 2:] - 2.0 * u[k, 1:-1] + u[k, :-2])
    return u[-1] ** 2


def adaptive_euler(x):
    t, y, h = 0.0, x.copy(), 0.1
    while t < 0.5:
        full = y - h * y**2
        half = y - h / 2 * y**2
        half = half - h / 2 * half**2
        if np.max(np.abs(full - half)) < 1e-2:
            t, y = t + h, 2 * half - full
        else:
            h = h / 2
    return y


def bars(x):
    stiffness = nnp.zeros((4, 4))
    for e in range(3):
        place = np.array([e, e + 1])
        stiffness[np.ix_(place, place)] += x[e] * np.array([[1.0, -1.0], [-1.0, 1.0]])
    return np.linalg.solve(stiffness[1:, 1:], np.ones(3))


# ---------------------------------------------------------------- linear algebra by hand


def cholesky_by_hand(x):
    a = np.outer(x, x) + 3.0 * np.eye(3)
    factor = nnp.zeros((3, 3))
    for i in range(3):
        for j in range(i + 1):
            s = a[i, j] - sum(factor[i, k] * factor[j, k] for k in range(j))
            factor[i, j] = np.sqrt(s) if i == j else s / factor[j, j]
    return factor


def gauss_with_pivots(x):
    a, b = np.outer(x, x) + M, x.copy()
    for k in range(3):
        p = k + np.argmax(np.abs(a[k:, k]))
        a[[k, p]], b[[k, p]] = a[[p, k]], b[[p, k]]
        for i in range(k + 1, 3):
            factor = a[i, k] / a[k, k]
            a[i, k:] -= factor * a[k, k:]
            b[i] -= factor * b[k]
    y = np.zeros_like(b)
    for i in reversed(range(3)):
        y[i] = (b[i] - a[i, i + 1 :] @ y[i + 1 :]) / a[i, i]
    return y


def power_iteration(x):
    a, v = np.outer(x, x) + np.diag([3.0, 2.0, 1.0]), np.ones(3)
    for _ in range(30):
        v = a @ v
        v /= np.linalg.norm(v)
    return v @ a @ v


def thomas(x):
    n = 5
    c, d = nnp.zeros(n), nnp.zeros(n)
    c[0], d[0] = x[1] / 4.0, x[0] / 4.0
    for i in range(1, n):
        m = 4.0 - x[2] * c[i - 1]
        c[i], d[i] = x[1] / m, (i + x[0] - x[2] * d[i - 1]) / m
    for i in range(n - 2, -1, -1):
        d[i] -= c[i] * d[i + 1]
    return d


# ---------------------------------------------------------------- statistics and learning


def gaussian_process(p):
    t = np.linspace(0.0, 1.0, 6)
    kernel = p[0] ** 2 * np.exp(-0.5 * (t[:, None] - t) ** 2 / p[1] ** 2) + p[2] ** 2 * np.eye(6)
    factor = scipy.linalg.cho_factor(kernel, lower=True)
    y = np.sin(3.0 * t)
    return 0.5 * y @ scipy.linalg.cho_solve(factor, y) + np.sum(np.log(np.diag(factor[0])))


def kalman(p):
    m, c, total = np.zeros(2), np.eye(2), 0.0
    step, look = np.array([[1.0, p[0]], [0.0, 1.0]]), np.array([[1.0, 0.0]])
    for z in (0.1, 0.4, 0.5):
        m, c = step @ m, step @ c @ step.T + p[1] * np.eye(2)
        s = look @ c @ look.T + p[2]
        gain, v = c @ look.T @ np.linalg.inv(s), z - look @ m
        total = total - 0.5 * (np.log(np.linalg.det(s)) + v @ np.linalg.inv(s) @ v)
        m, c = m + gain @ v, c - gain @ look @ c
    return total


def hidden_markov(x):
    change = scipy.special.log_softmax(np.outer(x, x), axis=1)
    forward = np.full(3, -np.log(3.0))
    for seen in (0, 1, 2, 1):
        forward = scipy.special.logsumexp(forward[:, None] + change, axis=0) + change[:, seen]
    return scipy.special.logsumexp(forward)


def mixture(x):
    means, logits = np.outer(x, [1.0, -1.0]), x - scipy.special.logsumexp(x)
    square = np.sum((POINTS[:, None] - means) ** 2, axis=-1)
    return np.sum(scipy.special.logsumexp(logits - 0.5 * square, axis=1))


def k_means(x):
    return np.sum(np.min(np.sum((POINTS[:, None] - np.outer(x, [1.0, -1.0])) ** 2, axis=-1), axis=1))


def stochastic_neighbours(x):
    y = np.outer(x, [1.0, 2.0]) + M[:, :2]
    q = 1.0 / (1.0 + np.sum((y[:, None] - y) ** 2, axis=-1))
    np.fill_diagonal(q, 0.0)
    q = q / q.sum()
    return -np.sum(np.log(q[~np.eye(3, dtype=bool)])) / 6.0


def black_scholes(p):
    spot, strike, years, rate, sigma = 100.0 * p[0], 90.0, p[1], 0.05, p[2]
    d1 = (np.log(spot / strike) + (rate + sigma**2 / 2) * years) / (sigma * np.sqrt(years))
    return spot * norm.cdf(d1) - strike * np.exp(-rate * years) * norm.cdf(d1 - sigma * np.sqrt(years))


def recurrent_cell(x):
    hidden, cell, weight = np.zeros(2), np.zeros(2), np.concatenate([x, x[::-1], x[:2]])
    for value in POINTS[:4]:
        gates = np.concatenate((value, hidden, value, hidden)) * weight + 0.1
        forget, entry, leave = (scipy.special.expit(gates[k : k + 2]) for k in (0, 2, 4))
        cell = cell * forget + entry * np.tanh(gates[6:])
        hidden = leave * np.tanh(cell)
    return hidden - np.log(np.sum(np.exp(hidden)))


def projected_points(x):
    theta = np.sqrt(np.sum(x**2))
    if theta > 1e-8:
        axis, space = x / theta, np.array([0.3, -0.2, 4.0])
        turned = (
            space * np.cos(theta)
            + np.cross(axis, space) * np.sin(theta)
            + axis * (axis @ space) * (1.0 - np.cos(theta))
        )
    error = nnp.empty(2)
    error[:] = turned[:2] / turned[2]
    return error * (1.0 + 0.1 * np.sum(error**2)) - np.array([0.1, 0.2])


def finger(angles):
    def turn(t):
        r = nnp.eye(4)
        r[1, 1] = r[2, 2] = np.cos(t)
        r[2, 1] = np.sin(t)
        r[1, 2] = -r[2, 1]
        r[1, 3] = 1.0
        return r

    return functools.reduce(np.matmul, [turn(t) for t in angles]) @ np.array([0.0, 1.0, 0.0, 1.0])


@dataclasses.dataclass
class Spring:
    """Parameters in a class of the program's own."""

    stiffness: float
    rest: float

    def energy(self, a, b):
        return 0.5 * self.stiffness * (np.linalg.norm(a - b) - self.rest) ** 2


def springs(x):
    nodes = [np.array([x[0], 0.1]), np.array([1.0, x[1]]), np.array([2.0, x[2]])]
    spring = Spring(stiffness=x[0], rest=0.5)
    return sum(spring.energy(a, b) for a, b in itertools.pairwise(nodes))


def newton_root(x):
    def solve(y, steps):
        return y if not steps else solve(0.5 * (y + x[1] / y), steps - 1)

    return solve(x[0], 6) * sorted(x)[1] * max(x)


PROGRAMS = [
    rastrigin, ackley, levy, griewank, powell, helical_valley, penalised, shekel, michalewicz, deceptive_sum,
    padded_sum,
    lotka_volterra, kepler_by_verlet, heat, adaptive_euler, bars, cholesky_by_hand, gauss_with_pivots, power_iteration,
    thomas, gaussian_process, kalman, hidden_markov, mixture, k_means, stochastic_neighbours, black_scholes,
    recurrent_cell, projected_points, finger, springs, newton_root,
]  # fmt: skip


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda program: program.__name__)
@pytest.mark.filterwarnings("ignore:a recording array was converted")
def test_program(program):
    def packed(x):
        found = program(x)
        return numbad.asarray(found) if getattr(found, "dtype", None) is np.dtype(object) else found

    check_against_numpy(packed, X, rtol=1e-6, kinds=False, value_rtol=1e-11)
    check_against_numpy(numbad.jit(packed), X, rtol=1e-6, kinds=False, value_rtol=1e-11)
    np.testing.assert_allclose(numbad.jit(program)(X), program(X), rtol=1e-11)


@pytest.mark.filterwarnings("ignore:a recording array was converted")
def test_an_array_of_objects_is_a_result():
    def turn(t):
        return np.array([[np.cos(t), -np.sin(t)], [np.sin(t), np.cos(t)]])

    c, s = np.cos(0.3), np.sin(0.3)
    np.testing.assert_allclose(numbad.jacobian(turn, 0.3), [[-s, -c], [c, -s]], rtol=1e-15)
    value, slope = numbad.jvp(turn, (0.3,), (2.0,))
    np.testing.assert_allclose(value, turn(0.3))
    np.testing.assert_allclose(slope, [[-2 * s, -2 * c], [2 * c, -2 * s]], rtol=1e-15)
    value, pull = numbad.vjp(lambda t: {"turn": turn(t), "more": [np.array([t, 1.0])]}, 0.3)
    assert pull({"turn": np.eye(2), "more": [np.array([5.0, 7.0])]})[0] == pytest.approx(-2 * s + 5.0)
    np.testing.assert_array_equal(numbad.jit(turn)(0.3), turn(0.3))


def test_numbers_are_numbers():
    def f(x):
        assert np.isscalar(x[0])
        return x[0] ** 2

    assert numbad.gradient(f, X).tolist() == [1.4, 0.0, 0.0]


def test_integers_of_recording_values_are_guarded():
    def f(x):
        places = (x * 2.0).astype(int)
        assert places.dtype == int
        return np.sum(x[places] * places)

    assert numbad.gradient(f, X).tolist() == [0.0, 1.0, 2.0]
    jitted = numbad.jit(f)
    for point in (X, X * 0.5, X):
        assert jitted(point) == f(point)
        np.testing.assert_array_equal(numbad.gradient(jitted, point), numbad.gradient(f, point))


def sine_of_objects(x):
    mixed = np.empty(2, object)
    mixed[0], mixed[1] = x[0], 1.0
    return np.sin(mixed).sum()


@pytest.mark.parametrize(
    ("f", "what"),
    [
        (sine_of_objects, "mixes recording values with plain numbers"),
        (lambda x: np.logaddexp([x[0], x[1]], 1.0).sum(), "mixes recording values"),
    ],
)
@pytest.mark.filterwarnings("ignore:a recording array was converted")
def test_refusals_name_the_line_and_the_way_out(f, what):
    with pytest.raises(RecordingError) as caught:
        numbad.gradient(f, X)
    lines = str(caught.value).split("\n")
    assert what in lines[0] and HERE in lines[1]
    assert lines[2].startswith("  do  ") and "import numbad.numpy as np" in lines[2]
