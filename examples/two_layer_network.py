"""
Two layers, both orders
=======================

Two layers: the gradient of sum(sigmoid(B @ sigmoid(A @ x))) in both orders by hand, and by numbad.

The Jacobian is the product  ones @ D2 @ B @ D1 @ A,  with D1 and D2 diagonal. Multiplied from the
right (forward) it takes products of matrices; from the left (reverse), of a vector and matrices.

Run: python examples/two_layer_network.py [--small]
"""

import sys
import time

import numpy as np

import numbad
from numbad import sigmoid

SMALL = "--small" in sys.argv
SIZES = [50, 100] if SMALL else [250, 500, 1000, 2000]
LARGE = 300 if SMALL else 8000


def make_problem(n):
    """Return the two matrices and the point; rows scaled so that the sigmoids do not saturate."""
    random = np.random.default_rng(100)
    return random.standard_normal((n, n)) / np.sqrt(n), random.standard_normal((n, n)) / np.sqrt(n), np.ones(n)


def slope(s):
    """Return the derivative of the sigmoid where its value is s."""
    return s * (1.0 - s)


def forward_order(A, B, x):
    """From the right: D1 @ A, then B times that, then D2, then the sum over rows."""
    s1 = sigmoid(A @ x)
    s2 = sigmoid(B @ s1)
    product = B @ (slope(s1)[:, None] * A)
    return (slope(s2)[:, None] * product).sum(axis=0)


def reverse_order(A, B, x):
    """From the left: ones @ D2 is a vector, and stays one."""
    s1 = sigmoid(A @ x)
    s2 = sigmoid(B @ s1)
    return ((slope(s2) @ B) * slope(s1)) @ A


def seconds(function, *arguments, repeats=5):
    """Return the shortest time of some calls, and the result."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        result = function(*arguments)
        times.append(time.perf_counter() - start)
    return min(times), result


print("f(x) = sum(sigmoid(B @ sigmoid(A @ x))), n numbers in, one out. Times in milliseconds.\n")
print(f"{'n':>6}{'forward by hand':>18}{'reverse by hand':>18}{'numbad':>10}{'largest relative error':>25}")
for n in [*SIZES, LARGE]:
    A, B, x = make_problem(n)

    def f(x, A=A, B=B):
        return np.sum(sigmoid(B @ sigmoid(A @ x)))

    found_in, found = seconds(numbad.gradient, f, x)
    reverse_in, reverse = seconds(reverse_order, A, B, x)
    others, forward_text = [reverse], "-"
    if n in SIZES:
        forward_in, forward = seconds(forward_order, A, B, x, repeats=2)
        others, forward_text = [reverse, forward], f"{forward_in * 1e3:.2f}"
    error = max(np.abs(found - other).max() / np.abs(other).max() for other in others)
    assert error < 1e-14, error
    print(f"{n:6}{forward_text:>18}{reverse_in * 1e3:18.2f}{found_in * 1e3:10.2f}{error:25.1e}")
print(
    f"\nForward takes a product of two n x n matrices: 2 n**3 operations, eight times as many at twice the n; it is"
    f"\nmeasured up to n = {SIZES[-1]} only. Reverse takes four products of a matrix and a vector: 8 n**2 operations."
    f"\nBy that count forward would take {(LARGE / SIZES[-1]) ** 3 * forward_in:.1f} s at n = {LARGE}."
)
