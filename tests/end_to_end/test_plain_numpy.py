"""Programs as people write them, with `import numpy as np` and arrays that are filled step by step.

Values are NumPy's, gradients those of central differences; forward and reverse mode and jit agree.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import numbad

random = np.random.default_rng(20)
PROGRAMS: dict[str, tuple[Callable[..., Any], np.ndarray]] = {}


def program(*point: float) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Add a program of one array to the table, with the point at which it is differentiated."""

    def add(f: Callable[..., Any]) -> Callable[..., Any]:
        PROGRAMS[f.__name__] = f, np.array(point)
        return f

    return add


@program(0.9, 0.35, 1.2)
def finite_volumes(p):
    """Burgers' equation with Rusanov's flux, periodic."""
    n, dx, dt = 16, 1.0 / 16, 0.01
    centres = (np.arange(n) + 0.5) * dx
    u = p[0] + p[1] * np.sin(2 * np.pi * centres)
    flux = np.zeros(n + 1)
    for _ in range(8):
        for i in range(n + 1):
            left, right = u[i - 1], u[i % n]
            speed = np.maximum(np.abs(left), np.abs(right))
            flux[i] = p[2] * 0.25 * (left**2 + right**2) - 0.5 * speed * (right - left)
        u[:] = u - dt / dx * (flux[1:] - flux[:-1])
    return np.sum(u**2) * dx


@program(1.1, 0.4, 0.1)
def lotka_volterra_by_runge_kutta(p):
    steps, h = 30, 0.1
    y = np.zeros((steps + 1, 2))
    y[0] = [1.0, 0.5]

    def rate(state):
        out = np.empty(2)
        out[0] = p[0] * state[0] - p[1] * state[0] * state[1]
        out[1] = p[2] * state[0] * state[1] - 0.4 * state[1]
        return out

    for k in range(steps):
        one = rate(y[k])
        two = rate(y[k] + 0.5 * h * one)
        three = rate(y[k] + 0.5 * h * two)
        four = rate(y[k] + h * three)
        y[k + 1] = y[k] + h / 6.0 * (one + 2 * two + 2 * three + four)
    return y[:, 0].mean() + y[-1, 1]


@program(2.0, 1.5, 3.0, 1.0)
def stiffness_matrix(young):
    nodes = len(young) + 1
    stiffness = np.zeros((nodes, nodes))
    load = np.ones(nodes)
    local = np.array([[1.0, -1.0], [-1.0, 1.0]])
    for e in range(len(young)):
        place = np.array([e, e + 1])
        stiffness[np.ix_(place, place)] += young[e] * local
    load[0] = 0.0
    stiffness[0, :] = 0.0
    stiffness[0, 0] = 1.0
    return np.linalg.solve(stiffness, load) @ load


@program(4.0, 5.0, 6.0, 3.5)
def thomas_algorithm(diagonal):
    n = len(diagonal)
    lower, upper, right = np.full(n, -1.0), np.full(n, -0.5), np.arange(1.0, n + 1)
    c, d, x = np.zeros(n), np.zeros(n), np.zeros(n)
    c[0], d[0] = upper[0] / diagonal[0], right[0] / diagonal[0]
    for i in range(1, n):
        pivot = diagonal[i] - lower[i] * c[i - 1]
        c[i] = upper[i] / pivot
        d[i] = (right[i] - lower[i] * d[i - 1]) / pivot
    x[-1] = d[-1]
    for i in range(n - 2, -1, -1):
        x[i] = d[i] - c[i] * x[i + 1]
    return x @ x


@program(0.5, -0.3, 0.8)
def cholesky_by_hand(v):
    n = 3
    a = np.outer(v, v) + 3.0 * np.eye(n)
    factor = np.zeros_like(a)
    for i in range(n):
        for j in range(i + 1):
            rest = a[i, j] - np.dot(factor[i, :j], factor[j, :j])
            factor[i, j] = np.sqrt(rest) if i == j else rest / factor[j, j]
    return 2.0 * np.sum(np.log(np.diag(factor))) + factor[2, 0]


@program(3.0, 1.0, 0.5, 2.0)
def gaussian_elimination(v):
    a = np.array([[4.0, 1.0, v[0]], [1.0, 5.0, v[1]], [v[2], 2.0, 6.0]])
    b = np.array([1.0, v[3], 2.0])
    n = len(b)
    for k in range(n):
        for i in range(k + 1, n):
            factor = a[i, k] / a[k, k]
            a[i, k:] -= factor * a[k, k:]
            b[i] -= factor * b[k]
    x = np.zeros(n)
    for i in reversed(range(n)):
        x[i] = (b[i] - a[i, i + 1 :] @ x[i + 1 :]) / a[i, i]
    return x.sum()


@program(0.3, 0.7, 0.2, 0.9)
def soft_edit_distance(costs):
    """Dynamic programming: the cheapest alignment of two words."""
    one, two = "kitten", "sitting"
    table = np.zeros((len(one) + 1, len(two) + 1))
    table[1:, 0] = costs[0] * np.arange(1, len(one) + 1)
    table[0, 1:] = costs[1] * np.arange(1, len(two) + 1)
    for i in range(1, len(one) + 1):
        for j in range(1, len(two) + 1):
            change = costs[2] if one[i - 1] != two[j - 1] else 0.01 * costs[3]
            table[i, j] = min(table[i - 1, j] + costs[0], table[i, j - 1] + costs[1], table[i - 1, j - 1] + change)
    return table[-1, -1]


@program(0.2, -0.4, 0.3, 0.1, 0.6, -0.2)
def hidden_markov_forward(v):
    def normalised(rows):
        rows = np.exp(rows)
        return rows / rows.sum(axis=1, keepdims=True)

    change, emit = normalised(v[:4].reshape(2, 2)), normalised(np.array([[v[4], 0.0, 1.0], [0.5, v[5], 0.0]]))
    seen = [0, 2, 1, 1, 0, 2]
    alpha = np.empty((len(seen), 2))
    alpha[0] = 0.5 * emit[:, seen[0]]
    for t in range(1, len(seen)):
        for j in range(2):
            alpha[t, j] = (alpha[t - 1] @ change[:, j]) * emit[j, seen[t]]
    return np.log(alpha[-1].sum())


WEIGHTS = random.normal(size=22) * 0.5


@program(*WEIGHTS)
def network_by_hand(w):
    first, bias, second = w[:12].reshape(4, 3), w[12:16], w[16:20]
    inputs = np.linspace(-1.0, 1.0, 15).reshape(5, 3)
    wanted = np.sin(inputs.sum(axis=1))
    loss = 0.0
    hidden = np.zeros(4)
    for k, row in enumerate(inputs):
        for j in range(4):
            hidden[j] = np.tanh(first[j] @ row + bias[j])
        loss += (second @ hidden + w[20] - wanted[k]) ** 2
    return loss / len(inputs) + 0.01 * w[21] ** 2


@program(0.1, 0.2, 0.4, 0.5)
def image_filter(kernel):
    image = np.outer(np.sin(np.arange(6.0)), np.cos(np.arange(7.0)))
    weights = np.zeros((3, 3))
    weights[0, 1] = weights[2, 1] = kernel[0]
    weights[1, 0], weights[1, 2] = kernel[1], kernel[2]
    weights[1, 1] = kernel[3]
    padded = np.pad(image, 1, mode="edge")
    result = np.zeros(image.shape)
    for i in range(image.shape[0]):
        for j in range(image.shape[1]):
            result[i, j] = np.sum(padded[i : i + 3, j : j + 3] * weights)
    return np.sum(np.clip(result, -0.3, 0.3) ** 2)


@program(100.0, 0.2, 0.05)
def lattice_of_an_option(p):
    spot, volatility, rate = p
    steps, strike, years = 12, 95.0, 1.0
    dt = years / steps
    up = np.exp(volatility * np.sqrt(dt))
    chance = (np.exp(rate * dt) - 1.0 / up) / (up - 1.0 / up)
    values = np.zeros(steps + 1)
    for j in range(steps + 1):
        values[j] = max(strike - spot * up ** (2 * j - steps), 0.0)
    for i in range(steps - 1, -1, -1):
        for j in range(i + 1):
            hold = np.exp(-rate * dt) * (chance * values[j + 1] + (1.0 - chance) * values[j])
            values[j] = np.maximum(hold, strike - spot * up ** (2 * j - i))
    return values[0]


@program(0.3, -0.7, 1.1)
def rotations(angles):
    total = np.eye(3)
    for axis, angle in enumerate(angles):
        c, s = np.cos(angle), np.sin(angle)
        turn = np.eye(3)
        i, j = [(1, 2), (2, 0), (0, 1)][axis]
        turn[i, i] = turn[j, j] = c
        turn[i, j], turn[j, i] = -s, s
        total = turn @ total
    return (total @ np.array([1.0, 2.0, 3.0]))[0] + np.trace(total)


@program(1.0, 0.5, 2.0)
def bodies(masses):
    n = len(masses)
    place = np.array([[0.0, 0.0], [1.0, 0.2], [-0.5, 1.5]])
    speed = np.zeros((n, 2))
    for _ in range(10):
        force = np.zeros((n, 2))
        for i in range(n):
            for j in range(i):
                apart = place[j] - place[i]
                pull = masses[i] * masses[j] * apart / (apart @ apart + 0.1) ** 1.5
                force[i] += pull
                force[j] -= pull
        speed += 0.02 * force / masses[:, np.newaxis]
        place += 0.02 * speed
    return 0.5 * np.sum(masses * (speed**2).sum(axis=1)) + np.linalg.norm(place[0] - place[1])


@program(0.4, 1.3, -0.2)
def sums_in_real_and_reciprocal_space(charges):
    """Ewald-like: pairs with a screened potential, and a few waves."""
    places = np.array([[0.1, 0.2], [0.7, 0.4], [0.3, 0.9]])
    pairs = np.zeros((3, 3))
    for i in range(3):
        for j in range(i + 1, 3):
            pairs[i, j] = charges[i] * charges[j] * np.exp(-2.0 * np.linalg.norm(places[i] - places[j]))
    waves = np.zeros(4)
    for k in range(1, 5):
        phase = 2.0 * np.pi * k * places[:, 0]
        waves[k - 1] = ((charges @ np.cos(phase)) ** 2 + (charges @ np.sin(phase)) ** 2) / k**2
    return pairs.sum() + waves.sum()


@program(0.5, 1.5, -1.0, 2.0, 0.3)
def spline_by_de_boor(control):
    degree, knots = 2, np.array([0.0, 0.0, 0.0, 1.0, 2.0, 3.0, 3.0, 3.0])
    total = 0.0
    for x in np.linspace(0.1, 2.9, 7):
        k = np.searchsorted(knots, x, side="right") - 1
        d = np.empty(degree + 1)
        for j in range(degree + 1):
            d[j] = control[j + k - degree]
        for r in range(1, degree + 1):
            for j in range(degree, r - 1, -1):
                share = (x - knots[j + k - degree]) / (knots[j + 1 + k - r] - knots[j + k - degree])
                d[j] = (1.0 - share) * d[j - 1] + share * d[j]
        total += d[degree] ** 2
    return total


@program(0.3, 0.6, 0.2)
def markov_chain(p):
    chain = np.zeros((4, 4))
    for i in range(3):
        chain[i, i + 1] = p[i]
        chain[i, i] = 1.0 - p[i]
    chain[3, 0] = 1.0
    share = np.zeros(4)
    share[0] = 1.0
    seen = np.zeros(4)
    for _ in range(20):
        share = share @ chain
        seen += share
    return seen[2] / seen.sum() + share @ np.arange(4)


@program(2.0, 0.8, 0.1)
def controller(gains):
    steps, dt = 60, 0.05
    place, error, speed = np.zeros(steps), np.zeros(steps), 0.0
    total = 0.0
    for t in range(1, steps):
        error[t] = 1.0 - place[t - 1]
        total += error[t] * dt
        force = gains[0] * error[t] + gains[1] * total + gains[2] * (error[t] - error[t - 1]) / dt
        speed += dt * (np.clip(force, -2.0, 2.0) - 0.5 * speed)
        place[t] = place[t - 1] + dt * speed
    return np.sum(error**2) * dt


@program(0.25, 0.5, 0.2, -0.1)
def filter_of_a_signal(taps):
    signal = np.sin(0.3 * np.arange(25)) + 0.1 * np.cos(2.0 * np.arange(25))
    out = np.zeros(len(signal))
    for n in range(len(signal)):
        for k in range(min(len(taps), n + 1)):
            out[n] += taps[k] * signal[n - k]
    smooth = np.empty_like(out)
    smooth[0] = out[0]
    for n in range(1, len(out)):
        smooth[n] = 0.9 * smooth[n - 1] + 0.1 * out[n]
    return np.std(out) + np.abs(smooth).max()


@program(0.02, -0.01, 0.03, 0.015)
def growth(rates):
    wealth = np.ones(len(rates) + 1)
    for k, rate in enumerate(rates):
        wealth[k + 1] = wealth[k] * (1.0 + rate)
    drawdown = np.zeros_like(wealth)
    drawdown[:] = wealth / np.maximum.accumulate(wealth) - 1.0
    return wealth[-1] + drawdown.min() + np.prod(1.0 + rates[::2]) + np.cumprod(wealth)[2]


@program(0.9, 9.81, 0.4)
def balls_with_walls(p):
    bounce, gravity, push = p
    height, speed = np.linspace(0.5, 1.5, 5), np.zeros(5)
    speed += push
    track = np.zeros((40, 5))
    for t in range(40):
        speed -= 0.02 * gravity
        height = height + 0.02 * speed
        below = height < 0.0
        height[below] *= -1.0
        speed[below] *= -bounce
        track[t] = height
    return track.mean() + track[-1] @ np.arange(5)


@program(0.3, 1.2, 2.4)
def soft_histogram(centres):
    data = np.linspace(0.0, 3.0, 17) ** 1.1
    counts, means = np.zeros(3), np.zeros(3)
    for value in data:
        near = np.exp(-4.0 * (value - centres) ** 2)
        near /= near.sum()
        counts += near
        means += near * value
    means /= counts
    return np.sum((means - centres) ** 2) + np.sum(counts * np.log(counts / counts.sum()))


@program(0.5, 0.1, 1.4)
def spectrum_by_sums(p):
    """A discrete Fourier transform by hand, filtered and turned back."""
    n = 12
    signal = p[0] * np.sin(2.0 * np.pi * np.arange(n) / n) + p[1] * np.arange(n)
    even, odd = np.zeros(n), np.zeros(n)
    for k in range(n):
        phase = 2.0 * np.pi * k * np.arange(n) / n
        even[k], odd[k] = np.sum(signal * np.cos(phase)), -np.sum(signal * np.sin(phase))
    weight = np.exp(-p[2] * np.minimum(np.arange(n), n - np.arange(n)))
    even *= weight
    odd *= weight
    back = np.zeros(n)
    for t in range(n):
        phase = 2.0 * np.pi * t * np.arange(n) / n
        back[t] = np.sum(even * np.cos(phase) - odd * np.sin(phase)) / n
    return back @ back


@pytest.mark.parametrize("name", PROGRAMS)
def test_program(name: str) -> None:
    f, x = PROGRAMS[name]
    given = x.copy()
    steps = 1e-6 * np.maximum(1.0, np.abs(x)) * np.eye(len(x))
    wanted = np.array([(f(x + step) - f(x - step)) / (2.0 * step.sum()) for step in steps])
    tolerance = {"rtol": 2e-6, "atol": 2e-8 * max(1.0, np.max(np.abs(wanted)))}
    value, found = numbad.value_and_gradient(f, x)
    assert value == pytest.approx(f(x), rel=1e-12) and type(value) is float
    np.testing.assert_allclose(found, wanted, **tolerance)
    np.testing.assert_allclose(numbad.jacfwd(f)(x), found, rtol=1e-9, atol=1e-11)
    fast = numbad.jit(numbad.grad(f))
    for point in (x, 1.001 * x, x):
        np.testing.assert_allclose(fast(point), numbad.gradient(f, point), rtol=1e-9, atol=1e-11)
    assert x.tolist() == given.tolist()
