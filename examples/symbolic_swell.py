"""
Expression swell
================

Expression swell: a symbolic derivative grows with the program's nesting, a tape with its length.

Run: python examples/symbolic_swell.py [--small]     picture: examples/output/symbolic_swell.png
"""

import sys
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import sympy

import numbad

DEEPEST, MOST_FACTORS = (4, 6) if "--small" in sys.argv else (8, 20)


def iterate(x, depth):
    for _ in range(depth):
        x = 3 * x**2 - x + 1
    return x


def speelpenning(x, count):
    y = 1.0
    for k in range(count):
        y = y * (x - k / count)
    return y


def branch(x):
    return x**3 if x < 2 else 3 * x


def compare(name, f, sizes):
    """Print and return the size of SymPy's derivative and of numbad's tape."""
    symbol = sympy.Symbol("x")
    print(f"{name}\n{'size':>6}{'operations in SymPy derivative':>34}{'rows of numbad':>18}{'relative difference':>22}")
    operations, rows = [], []
    for n in sizes:
        derivative = sympy.diff(f(symbol, n), symbol)
        operations.append(int(sympy.count_ops(derivative)))
        rows.append(len(numbad.record(lambda x, n=n: f(x, n), 0.3)))
        expected, found = sympy.lambdify(symbol, derivative)(0.3), numbad.gradient(lambda x, n=n: f(x, n), 0.3)
        print(f"{n:6}{operations[-1]:34}{rows[-1]:18}{abs(found / expected - 1.0):22.1e}")
    print()
    return operations, rows


figure, panels = plt.subplots(1, 3, figsize=(13, 4), layout="constrained")
for panel, name, f, sizes, label in (
    (panels[0], "Iterated polynomial 3 x**2 - x + 1", iterate, range(1, DEEPEST + 1), "times applied"),
    (panels[1], "Speelpenning's product", speelpenning, range(2, MOST_FACTORS + 1, 2), "factors"),
):
    operations, rows = compare(name, f, sizes)
    panel.semilogy(sizes, operations, "o-", color="tab:red", label="operations in SymPy's derivative")
    panel.semilogy(sizes, rows, "s-", color="tab:green", label="rows of numbad's tape")
    panel.set(title=name, xlabel=label, xticks=list(sizes)[:: max(1, len(sizes) // 5)])
    panel.legend(fontsize=9)

print("A branch:  x**3 if x < 2 else 3 * x")
try:
    branch(sympy.Symbol("x"))
except TypeError as error:
    print(f"  SymPy cannot take it: TypeError: {error}")
for x in (1.0, 1.9, 2.0, 3.0):
    print(f"  numbad at x = {x}: derivative {numbad.gradient(branch, x):.6g}")
points = np.linspace(0.0, 4.0, 401)
values, slopes = zip(*[numbad.value_and_gradient(branch, float(x)) for x in points], strict=True)
jump = np.where(points == 2.0, np.nan, 0.0)  # leaves a gap in the curves
panels[2].plot(points, values + jump, color="tab:blue", label="f")
panels[2].plot(points, slopes + jump, color="tab:green", label="numbad's derivative")
panels[2].set(title="x**3 if x < 2 else 3 x", xlabel="x")
panels[2].legend(fontsize=9)

output = Path(sys.argv[0]).parent / "output"
output.mkdir(exist_ok=True)
figure.savefig(output / "symbolic_swell.png", dpi=130)
print(f"picture: {output / 'symbolic_swell.png'}")
