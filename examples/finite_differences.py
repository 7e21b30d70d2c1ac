"""
The error of finite differences
===============================

Finite differences: their error against the step size, with numbad's error as the floor.

Run: python examples/finite_differences.py [--small]     picture: examples/output/finite_differences.png
"""

import sys
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

import numbad

COUNT = 20 if "--small" in sys.argv else 400
STEPS = np.logspace(-16, 0, COUNT)
X = 1.5

FUNCTIONS = {
    "x**3 + 4 x**2 - 10": (lambda x: x**3 + 4 * x**2 - 10, lambda x: 3 * x**2 + 8 * x),
    "sin(1000 x)": (lambda x: np.sin(1000 * x), lambda x: 1000 * np.cos(1000 * x)),
}


def forward_difference(f, x, h):
    return (f(x + h) - f(x)) / h


def central_difference(f, x, h):
    return (f(x + h) - f(x - h)) / (2 * h)


figure, panels = plt.subplots(1, 2, figsize=(10, 4.2), sharey=True, layout="constrained")
for panel, (name, (f, derivative)) in zip(panels, FUNCTIONS.items(), strict=True):
    exact = derivative(X)
    found = numbad.gradient(f, X)
    floor = abs(found - exact) / abs(exact)
    print(f"f(x) = {name} at x = {X}: the derivative is {exact:.15g}")
    for label, difference, colour in (
        ("forward difference", forward_difference, "tab:orange"),
        ("central difference", central_difference, "tab:blue"),
    ):
        errors = np.array([abs(difference(f, X, h) - exact) / abs(exact) for h in STEPS])
        best = int(np.argmin(errors))
        panel.loglog(STEPS, np.maximum(errors, 1e-17), ".-", color=colour, label=label, markersize=3, linewidth=0.8)
        print(f"  {label}: best relative error {errors[best]:.1e}, with h = {STEPS[best]:.1e}")
    print(f"  numbad: {found:.15g}, relative error {floor:.1e}, no step to choose\n")
    panel.axhline(max(floor, 1e-17), color="tab:green", linewidth=2, label="numbad, no step")
    panel.text(
        1e-16,
        2e-17,
        f"numbad's error: {floor:.1g}" + (" (drawn at 1e-17)" if floor < 1e-17 else ""),
        color="tab:green",
        fontsize=9,
    )
    panel.set(title=f"f(x) = {name} at x = {X}", xlabel="step size h", ylim=(3e-18, 1e3))
    panel.grid(alpha=0.3)
panels[0].set_ylabel("relative error of the derivative")
panels[0].legend(loc="upper center", fontsize=9)
arrow = {"arrowstyle": "->"}
panels[1].annotate("h is longer than\na wave of f", (2 * np.pi / 1000, 1.0), (1e-9, 2.0), arrowprops=arrow, fontsize=9)
figure.suptitle("Too long a step: truncation.  Too short: rounding.  An exact derivative needs no step.", fontsize=11)

output = Path(sys.argv[0]).parent / "output"
output.mkdir(exist_ok=True)
figure.savefig(output / "finite_differences.png", dpi=130)
print(f"picture: {output / 'finite_differences.png'} (errors of exactly 0 are drawn at 1e-17)")
