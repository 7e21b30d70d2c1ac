"""
A regression on a file larger than its memory
=============================================

A logistic regression whose samples lie in a file. Each block is a function that maps some rows of the file into
memory, so the program holds one block at a time; it checks that it takes no more memory than it allows itself. SciPy's
L-BFGS asks for value and gradient of the whole sum, and a loop over single blocks is the stochastic gradient descent of
textbooks.

* D. C. Liu and J. Nocedal, "On the limited memory BFGS method for large scale optimization", *Mathematical Programming*
  45 (1989), 503-528.

Run ``python examples/logistic_from_file.py [--small]``.
"""

import functools
import os
import resource
import sys
import tempfile

import numpy as np
from scipy.optimize import minimize

import numbad

SMALL = "--small" in sys.argv
SAMPLES, FEATURES, ROWS = (24_000, 8, 2_000) if SMALL else (2_000_000, 50, 50_000)
ALLOWED = 256e6  # bytes of memory beyond what the libraries take: the file has three times as many
ROW = 8 * (FEATURES + 1)  # bytes: the features, and the target


def write_samples(path, true):
    """Write samples block by block, with targets that follow the true weights."""
    random = np.random.default_rng(0)
    with open(path, "wb") as stream:
        for _ in range(SAMPLES // ROWS):
            x = random.standard_normal((ROWS, FEATURES))
            y = random.random(ROWS) < 1.0 / (1.0 + np.exp(-x @ true))
            np.column_stack([x, y]).tofile(stream)


def most_memory():
    """Return the most bytes that the process has had in memory."""
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def map_rows(path, start):
    """Map the rows of one block into memory."""
    return np.memmap(path, np.float64, "r", start * ROW, (ROWS, FEATURES + 1))


def loss(w, block):
    """The logistic loss of a block of samples."""
    z = block[:, :-1] @ w
    return np.sum(np.logaddexp(0.0, z) - block[:, -1] * z)


def descend(w, blocks, epochs, rate):
    """Return weights after steps along the gradients of single blocks, in random order."""
    random = np.random.default_rng(1)
    for _ in range(epochs):
        for k in random.permutation(len(blocks)):
            w = w - rate / ROWS * numbad.distributed.gradient(loss, w, [blocks[k]])
    return w


true = np.cos(np.arange(FEATURES))
path = os.path.join(tempfile.mkdtemp(), "samples.bin")
write_samples(path, true)
print(f"{SAMPLES} samples, {os.path.getsize(path) / 1e6:.1f} MB on disk, {ROWS * ROW / 1e6:.1f} MB a block")

before = most_memory()
blocks = [functools.partial(map_rows, path, start) for start in range(0, SAMPLES, ROWS)]
found = minimize(
    lambda w: numbad.distributed.value_and_gradient(loss, w, blocks), 0.0 * true, jac=True, method="L-BFGS-B"
)
print(
    f"L-BFGS: loss {found.fun / SAMPLES:.6f} a sample after {found.nfev} sums, error {np.abs(found.x - true).max():.3f}"
)

w = descend(0.0 * true, blocks, 3 if SMALL else 2, 1.0)
value, slopes = numbad.distributed.value_and_gradient(loss, w, blocks)
print(f"steps by blocks: loss {value / SAMPLES:.6f} a sample, {np.abs(w - found.x).max():.3f} from L-BFGS")
grown = most_memory() - before
print(f"{grown / 1e6:.0f} MB of memory, {ALLOWED / 1e6:.0f} MB allowed")
assert grown <= ALLOWED
os.remove(path)
