"""
Forward and reverse mode
========================

Forward mode costs a sweep for each input, reverse mode one for each output: the time of a Jacobian against both.

The function is a layer of 100 units, as in a network: B @ tanh(A @ x). Where inputs are many, reverse mode is the
cheaper one, where outputs are many, forward mode; `numbad.jacobian` chooses.

Run: python examples/jacobian_scaling.py [--small]     picture: examples/output/jacobian_scaling.png
"""

import sys
import time
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

import numbad

SMALL = "--small" in sys.argv
SIZES = 80 * 2 ** np.arange(5 if SMALL else 7)
MODES = {"forward": numbad.jacfwd, "reverse": numbad.jacrev, "chosen": numbad.jacobian}
STYLES = {"forward": "o-", "reverse": "o-", "chosen": "kx"}
UNITS, FEW = 100, 10
random = np.random.default_rng(1)


def make(inputs, outputs):
    """Return the function, and a point."""
    A, B = random.normal(size=(UNITS, inputs)) / np.sqrt(inputs), random.normal(size=(outputs, UNITS))
    return lambda x: B @ np.tanh(A @ x), random.normal(size=inputs)


def milliseconds(jacobian, x):
    """Return the shortest of seven calls after one that is not counted, and the Jacobian."""
    found, times = jacobian(x), []
    for _ in range(7):
        start = time.perf_counter()
        jacobian(x)
        times.append(time.perf_counter() - start)
    return 1e3 * min(times), found


figure, panels = plt.subplots(1, 2, figsize=(10, 4.2), sharey=True, layout="constrained")
for panel, what in zip(panels, ("inputs", "outputs"), strict=True):
    print(f"milliseconds of a Jacobian with {FEW} {'outputs' if what == 'inputs' else 'inputs'}")
    print(f"{what:>9}" + "".join(f"{name:>12}" for name in MODES))
    results = {name: [] for name in MODES}
    for n in SIZES.tolist():
        f, x = make(n, FEW) if what == "inputs" else make(FEW, n)
        times, found = zip(*[milliseconds(mode(f), x) for mode in MODES.values()], strict=True)
        assert all(np.allclose(one, found[0], rtol=1e-10, atol=1e-12) for one in found)
        for name, value in zip(MODES, times, strict=True):
            results[name].append(value)
        print(f"{n:9}" + "".join(f"{value:12.3f}" for value in times))
    print()
    for name, values in results.items():
        panel.loglog(SIZES, values, STYLES[name], label=name, markersize=5)
    other = "outputs" if what == "inputs" else "inputs"
    panel.set(title=f"{FEW} {other}, more and more {what}", xlabel=f"number of {what}")
    panel.grid(alpha=0.3, which="both")
panels[0].set_ylabel("time of a Jacobian (ms)")
panels[0].legend()
figure.suptitle("Jacobians: forward mode pays for inputs, reverse mode for outputs; numbad.jacobian chooses")

output = Path(sys.argv[0]).parent / "output"
output.mkdir(exist_ok=True)
figure.savefig(output / "jacobian_scaling.png", dpi=130)
print(f"picture: {output / 'jacobian_scaling.png'}")
