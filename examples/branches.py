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


def draw(panel, f, points, exact, xlabel):
    """Draw a derivative, each path in its colour; print how often each was taken, and the largest error."""
    slope = numbad.jit(numbad.grad(f))
    xs, found = np.array(points)[:, 0], np.array([slope(*point) for point in points])
    codes = [numbad.record(f, *point).code.tobytes() for point in points]  # equal where the rows and guards are
    paths = {code: k for k, code in enumerate(dict.fromkeys(codes), 1)}
    assert len(paths) == slope.paths
    taken = np.array([paths[code] for code in codes])
    error = max(abs(found - [exact(*point) for point in points]))
    name = f.__name__
    print(f"{name:8} {len(points):4} points, {slope.paths} paths, run {slope.hits} times, largest error {error:.1e}")
    for k in paths.values():
        panel.plot(xs[taken == k], found[taken == k], ".", label=f"path {k}, taken {sum(taken == k)} x")
    panel.set(title=f"{name}: {slope.paths} paths", xlabel=xlabel, ylabel="derivative")
    panel.legend(fontsize=8)


print("a tape of one path says where it does not hold:")
tape = numbad.record(root, 2.0)
print(tape)
try:
    tape(50.0)
except numbad.BranchError as error:
    print(f"BranchError: {error}\n")

figure, panels = plt.subplots(1, 3, figsize=(13, 4), layout="constrained")
incomes = [(income,) for income in np.linspace(1.0, 80.0, POINTS).tolist()]
anomalies = [(mean, 0.7) for mean in np.linspace(0.1, 3.0, POINTS).tolist()]
draw(panels[0], tax, incomes, lambda x: 0.0 if x < 10.0 else 0.2 if x < 40.0 else 0.4, "income")
draw(panels[1], root, incomes, lambda x: 0.5 / np.sqrt(x), "a")
exact = lambda m, e: 1.0 / (1.0 - e * np.cos(kepler(m, e)))
draw(panels[2], kepler, anomalies, exact, "mean anomaly, eccentricity 0.7")
figure.suptitle("Derivatives of functions with branches: each colour is one tape, recorded once and replayed")
OUTPUT.mkdir(exist_ok=True)
figure.savefig(OUTPUT / "branches.png", dpi=120)
