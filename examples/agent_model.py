"""
An epidemic among agents
========================

An epidemic among agents with branches and a loop, calibrated to observed cases by its gradient.

Agents in one dimension meet their neighbours. An agent falls ill gradually, where its exposure passes a threshold,
and recovers once it has been ill for a while: both are plain `if` statements. Infectivity and recovery are found by
least squares.

    python examples/agent_model.py          writes output/agent_model.png
    python examples/agent_model.py --small  fewer agents
"""

import sys
import time
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from scipy.optimize import minimize

import numbad

SMALL = "--small" in sys.argv
AGENTS, DAYS = (12, 15) if SMALL else (16, 20)
OUTPUT = Path(sys.argv[0]).parent / "output"
contacts = np.random.default_rng(8).uniform(0.6, 1.4, (AGENTS, 2))  # with the left and the right neighbour


def simulate(parameters):
    """Return the total load of illness on each day."""
    infectivity, recovery = parameters[0], parameters[1]
    load = [parameters[0] * 0.0 + (1.0 if k == AGENTS // 2 else 0.0) for k in range(AGENTS)]
    days_ill = [0] * AGENTS
    curve = []
    for _ in range(DAYS):
        old = list(load)
        for k in range(AGENTS):
            left, right = old[k - 1] if k else 0.0, old[k + 1] if k + 1 < AGENTS else 0.0
            exposure = infectivity * (contacts[k, 0] * left + contacts[k, 1] * right)
            if exposure > 0.02 and days_ill[k] == 0:  # falls ill
                load[k] = old[k] + exposure * (1.0 - old[k])
            if old[k] > 0.05:
                days_ill[k] += 1
            if days_ill[k] > 3:  # recovers
                load[k] = load[k] * (1.0 - recovery)
        curve.append(sum(load))
    return curve


truth = np.array([0.35, 0.45])
noise = np.random.default_rng(9).normal(0.0, 0.02, DAYS)
observed = np.array(simulate(truth.tolist())) + noise


def loss(parameters):
    """Mean of the squared differences from the observed curve."""
    return sum((a - b) ** 2 for a, b in zip(simulate(parameters), observed.tolist(), strict=True)) / DAYS


fast = numbad.jit(numbad.value_and_grad(loss))
start = np.array([0.3, 0.35])
value, slope = fast(start)
difference = [(loss(start + h) - loss(start - h)) / 2e-6 for h in 1e-6 * np.eye(2)]
print(f"gradient {slope}, by differences {np.array(difference)}")
began = time.perf_counter()
starts = [start, np.array([0.45, 0.5]), np.array([0.35, 0.6])]  # thresholds make steps: the loss has several minima
runs = [minimize(fast, x, jac=True, method="L-BFGS-B", bounds=[(0.05, 0.9)] * 2) for x in starts]
found = min(runs, key=lambda run: run.fun)
seconds = time.perf_counter() - began
print(f"true {truth}, found {found.x.round(4)}, loss {value:.5f} -> {found.fun:.5f}")
print(f"{sum(r.nfev for r in runs)} evaluations in {1e3 * seconds:.0f} ms, in which {fast.paths} paths were recorded; "
      f"the common ones ran {fast.hits[:5]} times")  # fmt: skip

days = np.arange(1, DAYS + 1)
figure, panel = plt.subplots(figsize=(7, 4.2), layout="constrained")
panel.plot(days, observed, "ko", label="observed")
panel.plot(days, simulate(start.tolist()), "s--", markersize=3, label=f"first guess {start.tolist()}")
panel.plot(days, simulate(found.x.tolist()), "o-", markersize=3, label=f"calibrated {found.x.round(3).tolist()}")
panel.set(xlabel="day", ylabel="load of illness, all agents", xticks=days[::2] if SMALL else [1, *days[4::5]])
panel.set_title(f"An epidemic among {AGENTS} agents: infectivity and recovery from observed days")
panel.legend()
OUTPUT.mkdir(exist_ok=True)
figure.savefig(OUTPUT / "agent_model.png", dpi=120)
