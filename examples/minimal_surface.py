"""
A minimal surface of 10,000 unknowns
====================================

A soap film in a bent frame: SciPy's trust-constr, and Ipopt where cyipopt is installed, are given a sparse Hessian of
which numbad finds the structure.

python examples/minimal_surface.py          100 x 100 unknown heights, writes output/minimal_surface.png
python examples/minimal_surface.py --small  8 x 8
"""

import importlib.util
import sys
import time
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from scipy.optimize import minimize
from scipy.sparse import csr_array, tril

import numbad

SMALL = "--small" in sys.argv
SIDE = 8 if SMALL else 100
OUTPUT = Path(sys.argv[0]).parent / "output"
PLACE = np.linspace(-1.0, 1.0, SIDE + 2)
FRAME = 0.5 * (PLACE[:, None] ** 2 - PLACE[None, :] ** 2)  # only its rim is used
STEP = PLACE[1] - PLACE[0]


def area(x):
    """The area over two triangles of each cell, whose corners are the heights x and the frame."""
    z = numbad.array(FRAME)
    z[1:-1, 1:-1] = x.reshape(SIDE, SIDE)
    down, right = (np.diff(z, axis=0) / STEP) ** 2, (np.diff(z, axis=1) / STEP) ** 2
    return 0.5 * STEP**2 * np.sum(np.sqrt(1.0 + down[:, :-1] + right[:-1]) + np.sqrt(1.0 + down[:, 1:] + right[1:]))


gradient = numbad.jit(numbad.grad(area))
hessian = numbad.jit(numbad.sparse_hessian(area))


class Film:
    """The problem as Ipopt asks for it: of the Hessian the lower triangle, always of one structure."""

    def __init__(self, x):
        hessian(x)
        self.rows, self.columns = hessian.pattern.structure()
        self.lower = self.rows >= self.columns
        self.objective, self.gradient = numbad.jit(area), gradient

    def hessianstructure(self):
        return self.rows[self.lower], self.columns[self.lower]

    def hessian(self, x, multipliers, factor):
        return factor * hessian(x).data[self.lower]


def main():
    x = np.zeros(SIDE * SIDE)
    matrix = hessian(x)
    print(f"{x.size} unknowns, {matrix.nnz} second derivatives: {hessian.pattern}")
    film = Film(x)
    triangle = csr_array((film.hessian(x, [], 1.0), film.hessianstructure()), matrix.shape)
    print(f"Ipopt's triangle is that of the matrix: {(tril(matrix) != triangle).nnz == 0}")

    begin = time.perf_counter()
    found = minimize(numbad.jit(area), x, method="trust-constr", jac=gradient, hess=hessian, options={"gtol": 1e-8})
    print(f"{found.message} {found.nit} steps, {time.perf_counter() - begin:.2f} s", file=sys.stderr)
    print(f"area {found.fun:.6f}, slope {np.max(np.abs(gradient(found.x))):.1e}")
    if importlib.util.find_spec("cyipopt"):
        import cyipopt

        problem = cyipopt.Problem(n=x.size, m=0, problem_obj=film, lb=np.full(x.size, -9.0), ub=np.full(x.size, 9.0))
        problem.add_option("print_level", 0)
        print(f"Ipopt: difference {np.max(np.abs(problem.solve(x)[0] - found.x)):.1e}")

    OUTPUT.mkdir(exist_ok=True)
    figure = plt.figure(figsize=(9, 4))
    figure.add_subplot(1, 2, 1, title="heights").imshow(found.x.reshape(SIDE, SIDE))
    hessian.pattern.spy(figure.add_subplot(1, 2, 2))
    figure.savefig(OUTPUT / "minimal_surface.png", dpi=100)


if __name__ == "__main__":
    main()
