"""
Branches and paths
==================

Branches: a jitted function keeps one tape for each path that its arguments take, and guards tell them apart.

python examples/branches.py          shows tables, writes output/branches.png
python examples/branches.py --small  fewer points
"""

import sys
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

import numbad

SMALL = "--small" in sys.argv
POINTS = 60 if SMALL else 400
OUTPUT = Path(sys.argv[0]).parent / "output"


def tax(income):
    """Piecewise linear: a rate for each bracket."""
    if income < 10.0:
        return 0.0 * income
    if income < 40.0:
        return 0.2 * (income - 10.0)
    return 6.0 + 0.4 * (income - 40.0)


def root(a):
    """The square root by Newton's iteration, until it stands still."""
    x = 0.5 * (a + 1.0)
    while abs(x * x - a) > 1e-12 * a:
        x = 0.5 * (x + a / x)
    return x


def kepler(mean, eccentricity):
    """The eccentric anomaly: Kepler's equation E - e sin(E) = M, solved to a tolerance."""
    angle = mean
    for _ in range(50):
        step = (angle - eccentricity * np.sin(angle) - mean) / (1.0 - eccentricity * np.cos(angle))
        angle = angle - step
        if abs(step) < 1e-13:
            break
    return angle


def show_paths(name, slope, points, exact):
    errors = [abs(slope(*point) - exact(*point)) for point in points]
    print(
        f"{name:8} {len(points):4} points, {slope.paths} paths, run {slope.hits} times, largest error {max(errors):.1e}"
    )


print("a tape of one path says where it does not hold:")
tape = numbad.record(root, 2.0)
print(tape)
try:
    tape(50.0)
except numbad.BranchError as error:
    print(f"BranchError: {error}\n")

incomes = np.linspace(1.0, 80.0, POINTS).tolist()
tax_rate, root_slope, kepler_slope = (numbad.jit(numbad.grad(f)) for f in (tax, root, kepler))
show_paths("tax", tax_rate, [(x,) for x in incomes], lambda x: 0.0 if x < 10.0 else 0.2 if x < 40.0 else 0.4)
show_paths("root", root_slope, [(x,) for x in incomes], lambda x: 0.5 / np.sqrt(x))
anomalies = [(m, 0.7) for m in np.linspace(0.1, 3.0, POINTS).tolist()]
show_paths("kepler", kepler_slope, anomalies, lambda m, e: 1.0 / (1.0 - e * np.cos(kepler(m, e))))

figure, axes = plt.subplots(1, 2, figsize=(10, 4))
axes[0].plot(incomes, [tax(x) for x in incomes], label="tax")
axes[0].plot(incomes, [20.0 * tax_rate(x) for x in incomes], label="20 x its derivative")
axes[1].plot(*zip(*[(m, kepler_slope(m, 0.7)) for m, _ in anomalies], strict=True), label="dE/dM at e = 0.7")
for ax, title in zip(axes, ("income", "mean anomaly M"), strict=True):
    ax.set_xlabel(title)
    ax.legend()
OUTPUT.mkdir(exist_ok=True)
figure.savefig(OUTPUT / "branches.png", dpi=120)
