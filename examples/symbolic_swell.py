"""
Expression swell
================

A symbolic derivative grows with the program's nesting, a tape with its length. What SymPy's `cse` finds again
afterwards, a tape never writes out. Rows and operations are those of the derivative, the function's own included.

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
    """Print and return the size of SymPy's derivative, as it is and with shared parts, and of numbad's."""
    symbol = sympy.Symbol("x")
    print(f"{name}\n{'size':>6}{'operations in SymPy':>22}{'after cse':>12}{'rows of numbad':>18}{'difference':>14}")
    operations, shared, rows = [], [], []
    for n in sizes:
        derivative = sympy.diff(f(symbol, n), symbol)
        operations.append(int(sympy.count_ops(derivative)))
        parts, rest = sympy.cse(derivative)
        shared.append(int(sympy.count_ops([part for _, part in parts] + rest)))
        rows.append(len(numbad.record(numbad.grad(lambda x, n=n: f(x, n)), 0.3)))
        expected, found = sympy.lambdify(symbol, derivative)(0.3), numbad.gradient(lambda x, n=n: f(x, n), 0.3)
        print(f"{n:6}{operations[-1]:22}{shared[-1]:12}{rows[-1]:18}{abs(found / expected - 1.0):14.1e}")
    print()
    return operations, shared, rows


figure, panels = plt.subplots(1, 3, figsize=(13, 4), layout="constrained")
for panel, name, f, sizes, label in (
    (panels[0], "Iterated polynomial 3 x**2 - x + 1", iterate, range(1, DEEPEST + 1), "times applied"),
    (panels[1], "Speelpenning's product", speelpenning, range(2, MOST_FACTORS + 1, 2), "factors"),
):
    operations, shared, rows = compare(name, f, sizes)
    panel.semilogy(sizes, operations, "o-", color="tab:red", label="operations in SymPy's derivative")
    panel.semilogy(sizes, shared, "^--", color="tab:orange", label="after sympy.cse")
    panel.semilogy(sizes, rows, "s-", color="tab:green", label="rows of numbad's derivative")
    panel.set(title=name, xlabel=label, ylabel="size of the derivative", xticks=list(sizes)[:: max(1, len(sizes) // 5)])
    panel.legend(fontsize=9)

print("A branch:  x**3 if x < 2 else 3 * x")
try:
    branch(sympy.Symbol("x"))
except TypeError as error:
    print(f"  SymPy cannot take Python's if: TypeError: {error}")
symbol = sympy.Symbol("x")
piecewise = sympy.diff(sympy.Piecewise((symbol**3, symbol < 2), (3 * symbol, True)), symbol)
print(f"  written anew as a Piecewise, SymPy takes it: {piecewise}")
for x in (1.0, 1.9, 2.0, 3.0):
    print(f"  at x = {x}: derivative {numbad.gradient(branch, x):.6g}, SymPy {float(piecewise.subs(symbol, x)):.6g}")
points = np.linspace(0.0, 4.0, 400)  # none at 2, where the curves jump
values, slopes = zip(*[numbad.value_and_gradient(branch, x) for x in points.tolist()], strict=True)
for curve, colour, label in ((values, "tab:blue", "f"), (slopes, "tab:green", "numbad's derivative")):
    panels[2].plot(points, curve, ".", color=colour, markersize=2, label=label)
panels[2].set(title="A branch: x**3 if x < 2 else 3 x", xlabel="x", ylabel="value and derivative")
panels[2].legend(fontsize=9)

output = Path(sys.argv[0]).parent / "output"
output.mkdir(exist_ok=True)
figure.savefig(output / "symbolic_swell.png", dpi=130)
print(f"picture: {output / 'symbolic_swell.png'}")
