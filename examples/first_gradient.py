"""
The first gradient
==================

The first gradient: f(x1, x2) = exp(x1) - x1 * x2 + cos(x2), by hand, forward, in reverse, and by numbad.

Run: python examples/first_gradient.py [--small]
"""

import math
import sys
import time

import numpy as np

import numbad

X1, X2 = 2.0, 4.0
CALLS = 100 if "--small" in sys.argv else 20_000


def f(x1, x2):
    return np.exp(x1) - x1 * x2 + np.cos(x2)


def forward(x1, x2, dx1, dx2):
    """Forward: each line computes a value and its derivative along the direction (dx1, dx2)."""
    v0, d0 = math.exp(x1), math.exp(x1) * dx1
    v1, d1 = x1 * x2, x2 * dx1 + x1 * dx2
    v2, d2 = v0 - v1, d0 - d1
    v3, d3 = math.cos(x2), -math.sin(x2) * dx2
    v4, d4 = v2 + v3, d2 + d3
    return [(v0, d0), (v1, d1), (v2, d2), (v3, d3), (v4, d4)]


def reverse(x1, x2):
    """Reverse: from the last line to the first, the derivative of the result with respect to each line."""
    b4 = 1.0
    b2, b3 = b4, b4  # v4 = v2 + v3
    x2_bar = b3 * -math.sin(x2)  # v3 = cos(x2)
    b0, b1 = b2, -b2  # v2 = v0 - v1
    x1_bar, x2_bar = b1 * x2, x2_bar + b1 * x1  # v1 = x1 * x2: x2 was used twice, so its parts add up
    x1_bar = x1_bar + b0 * math.exp(x1)  # v0 = exp(x1)
    return [b0, b1, b2, b3, b4], (x1_bar, x2_bar)


def microseconds(function, *arguments):
    """Return the time of one call, after one that is not counted."""
    function(*arguments)
    start = time.perf_counter()
    for _ in range(CALLS):
        function(*arguments)
    return (time.perf_counter() - start) / CALLS * 1e6


print(f"f(x1, x2) = exp(x1) - x1 * x2 + cos(x2) at x1 = {X1}, x2 = {X2}\n")
by_hand = (math.exp(X1) - X2, -X1 - math.sin(X2))
print(f"1. By hand on paper: df/dx1 = exp(x1) - x2 = {by_hand[0]:.15f}")
print(f"                     df/dx2 = -x1 - sin(x2) = {by_hand[1]:.15f}\n")

print("2. numbad runs f once and writes down what it did. This is the tape:\n")
tape = numbad.record(f, X1, X2)
tape.show(adjoints=True)

print("\n3. Forward, line by line by hand: one pass for each input.\n")
along_x1, along_x2 = forward(X1, X2, 1.0, 0.0), forward(X1, X2, 0.0, 1.0)
for k, ((value, one), (_, other)) in enumerate(zip(along_x1, along_x2, strict=True)):
    print(f"   v{k} = {value:12.8f}   dv{k}/dx1 = {one:12.8f}   dv{k}/dx2 = {other:12.8f}")

print("\n4. In reverse, from v4 up: one pass gives all inputs; compare the tape's column of adjoints.\n")
bars, reversed_gradient = reverse(X1, X2)
for k in (4, 3, 2, 1, 0):
    print(f"   dv4/dv{k} = {bars[k]:4.1f}")
print("\n5. All agree:\n")
forward_gradient, found = (along_x1[-1][1], along_x2[-1][1]), numbad.gradient(f, X1, X2)
results = {"hand": by_hand, "forward": forward_gradient, "reverse": reversed_gradient, "numbad": found}
for name, gradient in results.items():
    print(f"   {name:8}{gradient[0]:20.15f}{gradient[1]:20.15f}")
print(f"\n   largest difference: {max(abs(a - b) for a, b in zip(found, by_hand, strict=True)):.1e}")

print(f"\n6. Time of one gradient (mean of {CALLS} calls):\n")
print(f"   reverse by hand, in Python       {microseconds(reverse, X1, X2):8.2f} microseconds")
print(f"   numbad.gradient, recorded anew   {microseconds(numbad.gradient, f, X1, X2):8.2f}")
print(f"   the tape run again               {microseconds(tape.gradient, X1, X2):8.2f}")
