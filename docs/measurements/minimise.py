"""Times of scipy.optimize.minimize with differences, numbad and numbad.jit: python docs/measurements/minimise.py

Each minimisation is run five times after one that is not counted; the shortest counts. What `jit` records is in its
time: the jitted function is made anew for each run.
"""

import os
import platform
import time

import numpy as np
from scipy.optimize import minimize, rosen

import numbad


def decay(parameters):
    """Squared misfit of a Runge-Kutta solution of a damped oscillator: 200 steps, a Python loop over numbers."""
    stiffness, damping = parameters[0], parameters[1]
    x, v, misfit, h = 1.0, 0.0, 0.0, 0.05
    for k in range(200):
        a1 = -stiffness * x - damping * v
        xm, vm = x + 0.5 * h * v, v + 0.5 * h * a1
        x, v = x + h * vm, v + h * (-stiffness * xm - damping * vm)
        misfit = misfit + (x - OBSERVED[k]) ** 2
    return misfit


OBSERVED = [0.0] * 200
OBSERVED = (np.exp(-0.15 * np.arange(1, 201) * 0.05) * np.cos(1.7 * np.arange(1, 201) * 0.05)).tolist()


def rosenbrock(x):
    """Rosenbrock's function with whole arrays."""
    return np.sum(100.0 * (x[1:] - x[:-1] ** 2) ** 2 + (1.0 - x[:-1]) ** 2)


def shortest(run):
    """Return the shortest time of five runs after one, in milliseconds, and the last result."""
    times = []
    for _ in range(6):
        began = time.perf_counter()
        result = run()
        times.append(time.perf_counter() - began)
    return 1e3 * min(times[1:]), result


def compare(name, f, start):
    """Print a row of the table."""
    method = {"method": "L-BFGS-B", "options": {"maxfun": 10**6, "maxiter": 10**4}}
    ways = [
        lambda: minimize(f, start, **method),
        lambda: minimize(numbad.value_and_grad(f), start, jac=True, **method),
        lambda: minimize(numbad.jit(numbad.value_and_grad(f)), start, jac=True, **method),
    ]
    found = [shortest(way) for way in ways]
    cells = [f"{milliseconds:9.1f} ms {result.nfev:6} {result.fun:9.1e}" for milliseconds, result in found]
    print(f"{name:28}" + "  ".join(cells))


if __name__ == "__main__":
    assert rosenbrock(np.full(5, 2.0)) == rosen(np.full(5, 2.0))
    print(platform.processor() or platform.machine(), os.cpu_count(), "cores, Python", platform.python_version())
    print(f"{'':28}" + "  ".join(f"{way + ': time, calls, result':>29}" for way in ("differences", "numbad", "jit")))
    for n in (2, 10, 100):
        compare(f"Rosenbrock, {n} variables", rosenbrock, np.tile([-1.2, 1.0], n // 2))
    compare("oscillator, 2 parameters", decay, np.array([2.0, 0.2]))
