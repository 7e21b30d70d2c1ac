"""
A gradient that is zero
=======================

The zero function: x - x after a hundred products A @ x. Its gradient costs no more than its value.

The cotangent of x - x is zero. Reverse sweeps that do not look go through all products again;
numbad's sees the zeros and leaves the products out.

Run: python examples/zero_function.py [--small]
"""

import sys
import time

import numpy as np

import numbad

N, PRODUCTS = (200, 10) if "--small" in sys.argv else (4000, 100)

random = np.random.default_rng(100)
A = random.standard_normal((N, N), dtype=np.float32) / np.float32(np.sqrt(N))  # scaled, so that x stays finite
x = random.standard_normal(N, dtype=np.float32)


def zero(x):
    """Return zero in a slow way."""
    for _ in range(PRODUCTS):
        x = A @ x
    return np.sum(x - x)


def last(x):
    """The same products, but the result depends on them."""
    for _ in range(PRODUCTS):
        x = A @ x
    return np.sum(x)


def seconds(function, repeats=5):
    """Return the shortest time of some calls, and the result."""
    function()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        result = function()
        times.append(time.perf_counter() - start)
    return min(times), result


print(f"{PRODUCTS} products with a {N} x {N} matrix of float32, then sum(x - x)\n")
plain, value = seconds(lambda: zero(x))
print(f"value, plain NumPy                      {plain * 1e3:9.1f} ms    f(x) = {value}")
tape = numbad.record(zero, x)
own, _ = seconds(lambda: tape(x))
print(f"value, numbad's sweep                   {own * 1e3:9.1f} ms    {len(tape)} rows")
gradient_time, gradient = seconds(lambda: numbad.gradient(zero, x))
print(f"gradient, recorded anew                 {gradient_time * 1e3:9.1f} ms    largest: {np.abs(gradient).max()}")
full, _ = seconds(lambda: numbad.gradient(last, x))
print(f"gradient of sum(x), which needs it all  {full * 1e3:9.1f} ms\n")
assert not gradient.any()
print(f"gradient / value of numbad's sweep: {gradient_time / own:.2f}; a gradient that is not zero: {full / own:.2f}")
