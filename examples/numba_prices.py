"""
Prices of an option in parallel
===============================

Greeks of a Monte Carlo price that Numba computes with `prange`: the program knows nothing of numbad.

Run: python examples/numba_prices.py [--small]     picture: examples/output/numba_prices.png

An Asian option pays what the mean of a price exceeds a strike by (Kemna and Vorst, 1990). The derivatives are those
of each path, with the same random numbers (Glasserman, 2003, *Monte Carlo Methods in Financial Engineering*, section
7.2), beside finite differences of Numba's machine code.
"""

import sys
import timeit
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from numba import njit, prange

import numbad

PATHS, STEPS = (200, 12) if "--small" in sys.argv else (5000, 50)
NAMES = "price", "volatility", "rate"


@njit(parallel=True)
def value(price, volatility, rate, strike, normals):
    """The discounted mean of what is paid on all paths."""
    paths, steps = normals.shape
    step = 1.0 / steps
    drift = (rate - 0.5 * volatility**2) * step
    total = 0.0
    for i in prange(paths):
        now, mean = price, 0.0
        for k in range(steps):
            now = now * np.exp(drift + volatility * np.sqrt(step) * normals[i, k])
            mean += now / steps
        if mean > strike:
            total += mean - strike
    return np.exp(-rate) * total / paths


normals = np.random.default_rng(5).standard_normal((PATHS, STEPS))
point = np.array([100.0, 0.3, 0.04])
option = lambda x: value(x[0], x[1], x[2], 100.0, normals)


def differences(x):
    """Central differences of the compiled value."""
    units = np.diag(1e-6 * x)
    return np.array([(option(x + unit) - option(x - unit)) / (2.0 * unit.sum()) for unit in units])


gradient = numbad.value_and_grad(option)
print(f"recorded at first: {timeit.timeit(lambda: gradient(point), number=1):.2f} s")
found, greeks = gradient(point)
print(f"value by numbad {found:.12f}, by Numba {option(point):.12f}")
print(f"gradient and differences are off by {np.abs(greeks / differences(point) - 1.0).max():.1e}, relatively")
for name, greek in zip(NAMES, greeks, strict=True):
    print(f"derivative by the {name:12}{greek:12.6f}")
for what, run in (("value", option), ("value and gradient", gradient), ("differences", differences)):
    print(f"{what:20}{1e3 * min(timeit.repeat(lambda run=run: run(point), number=1, repeat=5)):9.2f} ms")

prices = np.linspace(70.0, 130.0, 13)
curves = np.array([gradient(np.array([price, *point[1:]]))[1] for price in prices])
figure, axes = plt.subplots(1, 3, figsize=(11, 3.0), layout="constrained")
for ax, name, curve in zip(axes, NAMES, curves.T, strict=True):
    ax.plot(prices, curve)
    ax.set(xlabel="price", title=f"derivative by the {name}")
output = Path(sys.argv[0]).parent / "output"
output.mkdir(exist_ok=True)
figure.savefig(output / "numba_prices.png", dpi=130)
print(f"\npicture: {output / 'numba_prices.png'}")
