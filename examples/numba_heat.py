"""
An inverse heat problem in Numba
================================

The conductivity of a rod from temperatures at its end: Numba compiles the simulation, which knows nothing of numbad.

Run: python examples/numba_heat.py [--small]     picture: examples/output/numba_heat.png

A rod is heated at its left end. From the temperatures that are measured at its right end, the conductivity along it is
found by least squares, with the smoothness of Tikhonov and Arsenin (1977). The gradient of the misfit is that of the
explicit scheme itself, beside finite differences of Numba's machine code.
"""

import sys
import timeit
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from numba import njit
from scipy.optimize import minimize

import numbad

CELLS, STEPS = (12, 60) if "--small" in sys.argv else (30, 400)
RATIO = 0.2  # of the time step to the square of a cell


@njit
def simulate(conductivity, steps):
    """Temperatures at the right end of a rod that is heated at the left, at each step of an explicit scheme."""
    n = conductivity.size
    heat, measured = np.zeros(n), np.empty(steps)
    for t in range(steps):
        before = heat.copy()
        for i in range(1, n):
            away = conductivity[i + 1] * (before[i] - before[i + 1]) if i + 1 < n else 0.0
            heat[i] += RATIO * (conductivity[i] * (before[i - 1] - before[i]) - away)
        heat[0] = 1.0
        measured[t] = heat[n - 1]
    return measured


@njit
def misfit(logarithms, measured):
    """The mean square of what is off, and of the roughness."""
    found = simulate(np.exp(logarithms), measured.size)
    total = np.sum((found - measured) ** 2)
    for i in range(1, logarithms.size):
        total += 1e-6 * (logarithms[i] - logarithms[i - 1]) ** 2
    return total


def differences(logarithms, measured, step=1e-6):
    """Central differences of the compiled misfit."""
    f = lambda x: misfit(x, measured) / (2.0 * step)
    return np.array([f(logarithms + unit) - f(logarithms - unit) for unit in step * np.eye(logarithms.size)])


places = np.linspace(0.0, 1.0, CELLS)
truth = 1.0 + 0.6 * np.exp(-(((places - 0.5) / 0.15) ** 2))
measured = simulate(truth, STEPS)
start = np.zeros(CELLS)

exact = numbad.jit(numbad.value_and_grad(misfit, argnums=0))
print(f"recorded once, by the Python source: {timeit.timeit(lambda: exact(start, measured), number=1):.2f} s")
for _ in range(50):  # what is replayed often becomes machine code
    value, slope = exact(start, measured)
print(f"value by numbad {value:.12f}, by Numba {misfit(start, measured):.12f}")
print(f"gradient and differences are off by {np.abs(slope - differences(start, measured)).max():.1e}")
for what, run in (("value by Numba", misfit), ("value and gradient", exact), ("differences", differences)):
    print(f"{what:20}{1e6 * min(timeit.repeat(lambda run=run: run(start, measured), number=1, repeat=5)):9.0f} us")

result = minimize(lambda x: exact(x, measured), start, jac=True, method="L-BFGS-B", options={"maxiter": 300})
assert result.fun < 1e-2 * value
print(f"{result.nit} iterations: misfit {value:.2e} -> {result.fun:.2e}")

figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3.6), layout="constrained")
left.plot(places, truth, "k", label="true")
left.plot(places, np.exp(result.x), "o-", label="found")
left.set(xlabel="place", ylabel="conductivity", title="What the rod is made of")
right.plot(measured, "k", label="measured")
right.plot(simulate(np.ones(CELLS), STEPS), "--", label="at first")
right.plot(simulate(np.exp(result.x), STEPS), label="found")
right.set(xlabel="step", ylabel="temperature at the end", title="What is measured")
for axes in (left, right):
    axes.legend()
output = Path(sys.argv[0]).parent / "output"
output.mkdir(exist_ok=True)
figure.savefig(output / "numba_heat.png", dpi=130)
print(f"\npicture: {output / 'numba_heat.png'}")
