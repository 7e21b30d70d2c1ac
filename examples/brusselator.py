"""
A stiff reaction with a sparse Jacobian
=======================================

Brusselator: the Jacobian that Radau asks for is sparse, and numbad finds its structure from the array code.

python examples/brusselator.py          a square of 32 x 32 cells, writes output/brusselator.png
python examples/brusselator.py --small  6 x 6 cells
"""

import sys
import time
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from scipy.integrate import solve_ivp

import numbad

SMALL = "--small" in sys.argv
SIDE = 6 if SMALL else 32
OUTPUT = Path(sys.argv[0]).parent / "output"
ALPHA = 0.02 * SIDE**2


def spread(z):
    """Diffusion to the four neighbours, on a periodic square."""
    return ALPHA * (np.roll(z, 1, 0) + np.roll(z, -1, 0) + np.roll(z, 1, 1) + np.roll(z, -1, 1) - 4.0 * z)


def reaction(t, w):
    """Two substances: what is made of each, and how it spreads."""
    u, v = w.reshape(2, SIDE, SIDE)
    product = u * u * v
    return np.stack([1.0 + product - 4.4 * u + spread(u), 3.4 * u - product + spread(v)]).reshape(-1)


def start():
    """Humps in one direction for each substance."""
    place = (np.arange(SIDE) + 0.5) / SIDE
    hump = 22.0 * (place * (1.0 - place)) ** 1.5
    return np.stack([np.tile(hump, (SIDE, 1)), np.tile(1.2 * hump[:, None], (1, SIDE))]).reshape(-1)


def main():
    jacobian = numbad.jit(numbad.sparse_jacobian(reaction, argnums=1))
    w = start()
    matrix = jacobian(0.0, w)
    print(f"{matrix.shape[0]} unknowns, {matrix.nnz} entries: {matrix.nnz / matrix.shape[0]:.0f} in each row")
    begin = time.perf_counter()
    found = solve_ivp(reaction, (0.0, 1.0), w, method="Radau", jac=jacobian, rtol=1e-6, atol=1e-8)
    print(f"{found.message} {len(found.t)} steps", file=sys.stderr)
    print(f"{time.perf_counter() - begin:.2f} s", file=sys.stderr)
    assert found.success

    plain = solve_ivp(reaction, (0.0, 1.0), w, method="Radau", rtol=1e-6, atol=1e-8) if SMALL else None
    if plain is not None:
        print(f"difference to finite differences: {np.max(np.abs(plain.y[:, -1] - found.y[:, -1])) < 1e-4}")

    OUTPUT.mkdir(exist_ok=True)
    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 4))
    left.imshow(found.y[: SIDE * SIDE, -1].reshape(SIDE, SIDE))
    left.set_title("u at t = 1")
    jacobian.pattern.spy(right)
    figure.savefig(OUTPUT / "brusselator.png", dpi=100)
    print(f"pattern: {jacobian.pattern}")


if __name__ == "__main__":
    main()
