"""
A calibration with one block a scenario
=======================================

Cooling bodies in rooms of different temperatures: each experiment is a block, its simulation a plain loop in Python.
Two processes compute the misfit of all experiments and its gradient. The Gauss-Newton method solves with products of a
vector and the matrix :math:`J^T J` alone, which are products with the Hessian of a quadratic function: half the square
of the linearised residuals, summed over the blocks.

* J. Nocedal and S. J. Wright, *Numerical Optimization*, 2nd ed., Springer, 2006, section 10.3.

Run ``python examples/scenarios.py [--small]``.
"""

import multiprocessing
import sys
from concurrent.futures import ProcessPoolExecutor

import numpy as np
from scipy.sparse.linalg import LinearOperator, cg

import numbad

SMALL = "--small" in sys.argv
SCENARIOS, STEPS, EVERY = (6, 40, 10) if SMALL else (40, 400, 20)


def simulate(params, room, start):
    """Return temperatures of a body that cools by convection and radiation."""
    convection, radiation = params
    temperature, seen = start, []
    for step in range(STEPS):
        rate = convection * (room - temperature) + radiation * (room**4 - temperature**4)
        temperature = temperature + rate / STEPS
        if step % EVERY == EVERY - 1:
            seen.append(temperature)
    return np.array(seen)


def residuals(params, scenario):
    """The simulation less what was measured."""
    room, start, measured = scenario
    return simulate(params, room, start) - measured


def misfit(params, scenario):
    """Half the square of the residuals."""
    return 0.5 * np.sum(residuals(params, scenario) ** 2)


def linearised(both, scenario):
    """Half the square of the residuals' derivative along a step: its Hessian with respect to the step is J^T J."""
    _, change = numbad.jvp(lambda params: residuals(params, scenario), (both["at"],), (both["step"],))
    return 0.5 * np.sum(change**2)


def main():
    """Calibrate both coefficients."""
    random, true = np.random.default_rng(0), np.array([0.8, 0.3])
    blocks = []
    for _ in range(SCENARIOS):
        room, start = random.uniform(0.5, 1.0), random.uniform(1.2, 2.0)
        measured = simulate(true, room, start)
        blocks.append((room, start, measured + 1e-4 * random.standard_normal(measured.shape)))
    at, zero = np.array([0.3, 0.6]), np.zeros(2)
    with ProcessPoolExecutor(2, multiprocessing.get_context("spawn")) as pool:
        for k in range(6):
            value, slopes = numbad.distributed.value_and_gradient(misfit, at, blocks, executor=pool)
            print(f"step {k}: misfit {value:.3e}, coefficients {at[0]:.6f} {at[1]:.6f}")

            def product(v, at=at):
                both, direction = {"at": at, "step": zero}, {"at": zero, "step": v.reshape(-1)}
                return numbad.distributed.hvp(linearised, both, direction, blocks, executor=pool)["step"]

            step, _ = cg(LinearOperator((2, 2), product, dtype=np.float64), -slopes, rtol=1e-10)
            at = at + step
    alone = numbad.distributed.value_and_gradient(misfit, at, blocks)
    print(f"found {at[0]:.4f} {at[1]:.4f}, true 0.8 0.3; gradient {np.abs(alone[1]).max():.1e}")


if __name__ == "__main__":
    main()
