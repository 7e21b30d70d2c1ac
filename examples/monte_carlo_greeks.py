"""
Path-wise Greeks by Monte Carlo
===============================

Path-wise Greeks of an Asian option: one path recorded, 100,000 replayed, with the closed form beside them.

Run: python examples/monte_carlo_greeks.py [--small]     picture: examples/output/monte_carlo_greeks.png

The option pays the geometric average of a stock's price above the strike (Kemna and Vorst, 1990). Path-wise
derivatives (Glasserman, 2003, section 7.2): the mean of the payoff's gradients is the gradient of the price.
"""

import sys
import time
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from scipy.special import ndtr

import numbad

PATHS = 4000 if "--small" in sys.argv else 100_000
DATES, YEARS, STRIKE = 52, 1.0, 100.0
MARKET, NAMES = (104.0, 0.25, 0.03), ("delta", "vega", "rho")  # spot, volatility, rate, and the derivatives by them


def payoff(spot, volatility, rate, normals):
    """The discounted payoff of one path of geometric Brownian motion, step by step."""
    step = YEARS / DATES
    drift, spread = (rate - 0.5 * volatility**2) * step, volatility * np.sqrt(step)
    price, total = np.log(spot), 0.0
    for normal in normals:
        price = price + drift + spread * normal
        total = total + price
    return np.exp(-rate * YEARS) * np.maximum(np.exp(total / DATES) - STRIKE, 0.0)


def closed_form(spot, volatility, rate):
    """The price: the logarithm of the geometric average is normal."""
    mean = np.log(spot) + (rate - 0.5 * volatility**2) * YEARS * (DATES + 1) / (2 * DATES)
    deviation = volatility * np.sqrt(YEARS * (DATES + 1) * (2 * DATES + 1) / (6 * DATES**2))
    lower = (mean - np.log(STRIKE)) / deviation
    forward = np.exp(mean + 0.5 * deviation**2)
    return np.exp(-rate * YEARS) * (forward * ndtr(lower + deviation) - STRIKE * ndtr(lower))


normals = np.random.default_rng(3).normal(size=(PATHS, DATES))
tape = numbad.record(payoff, *MARKET, normals[0])
tape.value_and_gradient_map(*MARKET, normals, argnums=(0, 1, 2))  # compiles, or loads
start = time.perf_counter()
values, gradients = tape.value_and_gradient_map(*MARKET, normals, argnums=(0, 1, 2))
seconds = time.perf_counter() - start
start = time.perf_counter()
alone = [tape.value_and_gradient(*MARKET, path) for path in normals[:200]]
one_by_one = (time.perf_counter() - start) / len(alone) * PATHS
assert np.allclose([gradient[:3] for _, gradient in alone], np.transpose(gradients)[: len(alone)])

print(f"{PATHS:,} paths of {len(tape)} rows, value and {len(gradients)} Greeks each")
print(f"in blocks of lanes {seconds:.3f} s ({1e9 * seconds / PATHS / len(tape):.2f} ns a row and path); "
      f"one by one it would be {one_by_one:.1f} s\n")  # fmt: skip
samples = dict(zip(("price", *NAMES), (values, *gradients), strict=True))
exact = dict(zip(samples, (closed_form(*MARKET), *numbad.gradient(closed_form, *MARKET)), strict=True))
print(f"{'':8}{'Monte Carlo':>13}{'std. error':>12}{'closed form':>13}{'off by':>9}")
for name, sample in samples.items():
    mean, error = sample.mean(), sample.std() / np.sqrt(PATHS)
    print(f"{name:8}{mean:13.5f}{error:12.5f}{exact[name]:13.5f}{(mean - exact[name]) / error:+6.2f} s.e.")

figure, panels = plt.subplots(1, 3, figsize=(11, 3.6), layout="constrained")
counts = np.unique(np.geomspace(100, PATHS, 60).astype(int))
for panel, name in zip(panels, NAMES, strict=True):
    sample = samples[name]
    means = np.array([sample[:count].mean() for count in counts])
    errors = np.array([sample[:count].std() / np.sqrt(count) for count in counts])
    panel.fill_between(counts, means - 2 * errors, means + 2 * errors, alpha=0.25, label="two standard errors")
    panel.semilogx(counts, means, label="path-wise")
    panel.axhline(exact[name], color="black", linewidth=0.8, label="closed form")
    panel.set(xlabel="paths", title=name, ylabel=f"estimate of {name}")
panels[0].legend()
figure.suptitle("Greeks of an Asian option: the mean over paths of exact derivatives settles at the closed form")
output = Path(sys.argv[0]).parent / "output"
output.mkdir(exist_ok=True)
figure.savefig(output / "monte_carlo_greeks.png", dpi=130)
print(f"\npicture: {output / 'monte_carlo_greeks.png'}")
