"""
Bodies that attract one another
===============================

Where shall three bodies start, to return to where they were? The simulation is Numba's and knows nothing of numbad.

Run: python examples/numba_bodies.py [--small]     picture: examples/output/numba_bodies.png

Three equal masses start on a line. Moore (1993) found velocities with which they follow one another on a figure of
eight (Chenciner and Montgomery, 2000). From velocities that are a little off, least squares find them: the gradient
of the distance after one period is that of the leapfrog steps themselves, beside finite differences.
"""

import sys
import timeit
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from numba import njit
from scipy.optimize import minimize

import numbad

STEPS = 300 if "--small" in sys.argv else 2000
PERIOD = 6.32591398
PLACES = np.array([[0.97000436, -0.24308753], [-0.97000436, 0.24308753], [0.0, 0.0]])


@njit
def attract(place, pull):
    """The sum of the forces on each body."""
    pull[:] = 0.0
    for i in range(place.shape[0]):
        for j in range(i):
            away = place[i] - place[j]
            force = away * (away[0] ** 2 + away[1] ** 2) ** -1.5
            pull[i] -= force
            pull[j] += force


@njit
def advance(place, speed, pull, step):
    """One leapfrog step, in place."""
    speed += 0.5 * step * pull
    place += step * speed
    attract(place, pull)
    speed += 0.5 * step * pull


@njit
def begin(velocity):
    """Places, velocities and forces at first; the third body moves against the other two."""
    place, speed, pull = PLACES.copy(), np.empty((3, 2)), np.zeros((3, 2))
    speed[0], speed[1], speed[2] = velocity, velocity, -2.0 * velocity
    attract(place, pull)
    return place, speed, pull


@njit
def move(velocity, steps, step):
    """How far the bodies are from where they began."""
    place, speed, pull = begin(velocity)
    for _ in range(steps):
        advance(place, speed, pull, step)
    return np.sum((place - PLACES) ** 2)


distance = lambda velocity: move(velocity, STEPS, PERIOD / STEPS)
start = np.array([0.45, 0.42])
numbad.kernel(move)  # compiled for its derivative at once, not after seconds by Python
exact = numbad.value_and_grad(distance)
print(f"compiled for its derivative: {timeit.timeit(lambda: exact(start), number=1):.2f} s")
value, slope = exact(start)
differences = lambda: [(distance(start + unit) - distance(start - unit)) / 2e-6 for unit in 1e-6 * np.eye(2)]
print(f"value by numbad {value:.12f}, by Numba {distance(start):.12f}")
print(f"gradient and differences are off by {np.abs(slope - differences()).max():.1e}")
for what, run in (("value", distance), ("value and gradient", exact), ("differences", lambda x: differences())):
    print(f"{what:20}{1e6 * min(timeit.repeat(lambda run=run: run(start), number=1, repeat=5)):9.0f} us")

result = minimize(exact, start, jac=True, method="BFGS", options={"gtol": 1e-8})
print(f"{result.nit} iterations: distance {value:.1e} -> {result.fun:.1e}, velocity {result.x}")

figure, axes = plt.subplots(1, 2, figsize=(10, 3.2), layout="constrained", sharey=True)
for ax, velocity, title in zip(axes, (start, result.x), ("At first", "Found"), strict=True):
    place, speed, pull = begin(velocity)
    path = np.array([(advance(place, speed, pull, PERIOD / STEPS), place.copy())[1] for _ in range(STEPS)])
    ax.plot(path[:, :, 0], path[:, :, 1])
    ax.set(title=title, aspect="equal")
(output := Path(sys.argv[0]).parent / "output").mkdir(exist_ok=True)
figure.savefig(output / "numba_bodies.png", dpi=130)
print(f"\npicture: {output / 'numba_bodies.png'}")
