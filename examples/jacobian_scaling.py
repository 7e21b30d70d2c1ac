"""
Forward and reverse mode
========================

Forward mode costs a sweep for each input, reverse mode one for each output: the time of a Jacobian against both.

All outputs here are multiples of one sum. numbad notices that, so reverse mode stays cheap where there are many
outputs; many inputs meet in the sum, so forward mode becomes dear where there are many of them.

Run: python examples/jacobian_scaling.py [--small]     picture: examples/output/jacobian_scaling.png
"""

import sys
import time
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

import numbad

SIZES = np.arange(1, 10) * (10 if "--small" in sys.argv else 1000)
MODES = {"forward": numbad.jacfwd, "reverse": numbad.jacrev, "chosen": numbad.jacobian}
COLOURS = {"forward": "tab:blue", "reverse": "tab:orange", "chosen": "tab:green"}


def make(outputs):
    """Return the function of the notebook: every output is the sum of all inputs."""

    def f(x):
        return np.sum(x) * np.ones(outputs)

    return f


def seconds(jacobian, x):
    """Return the shortest of three calls."""
    times = []
    for _ in range(3):
        start = time.perf_counter()
        found = jacobian(x)
        times.append(time.perf_counter() - start)
    assert found.shape[1] == x.size
    assert (found == 1.0).all()
    return min(times)


figure, panels = plt.subplots(1, 2, figsize=(10, 4.2), layout="constrained")
for panel, what in zip(panels, ("outputs", "inputs"), strict=True):
    results = {name: [] for name in MODES}
    for n in SIZES:
        f, x = (make(int(n)), np.ones(10)) if what == "outputs" else (make(10), np.ones(n))
        for name, mode in MODES.items():
            results[name].append(1e3 * seconds(mode(f), x))
    print(f"milliseconds of a Jacobian with 10 {'inputs' if what == 'outputs' else 'outputs'}")
    print(f"{what:>9}" + "".join(f"{name:>12}" for name in MODES))
    for k, n in enumerate(SIZES):
        print(f"{n:9}" + "".join(f"{results[name][k]:12.3f}" for name in MODES))
    print()
    for name, values in results.items():
        style = "s--" if name == "chosen" else "o-"
        panel.semilogy(SIZES, values, style, color=COLOURS[name], label=name, markersize=4)
    panel.set(title=f"Varying number of {what}", xlabel=f"number of {what}", ylabel="time (ms)")
    panel.grid(alpha=0.3, which="both")
    panel.legend()
figure.suptitle("jacfwd (forward), jacrev (reverse) and jacobian, which chooses, for 10 inputs or outputs")

output = Path(sys.argv[0]).parent / "output"
output.mkdir(exist_ok=True)
figure.savefig(output / "jacobian_scaling.png", dpi=130)
print(f"picture: {output / 'jacobian_scaling.png'}")
