"""
Speelpenning's product
======================

Speelpenning's product x1 x2 ... xn: its gradient has n products of n - 1 factors, and costs a few of the value.

Three ways to the gradient: each product by itself (n * (n - 2) multiplications), prefix and suffix products by hand
(3 n - 6), and numbad on the plain loop. Then the example of the notebook, a product of (x - root), beside SymPy.
Run: python examples/speelpenning.py [--small]
"""

import sys
import time

import numpy as np
import sympy

import numbad

SIZES = (10, 100) if "--small" in sys.argv else (10, 100, 1000)
ROOTS = np.linspace(0, 1, 10)


def product(x):
    y = 1.0
    for k in range(len(x)):
        y = y * x[k]
    return y


def one_by_one(x):
    return np.array([product(np.delete(x, k)) for k in range(len(x))])


def prefix_and_suffix(x):
    before, after = np.ones(len(x)), np.ones(len(x))
    for k in range(1, len(x)):
        before[k] = before[k - 1] * x[k - 1]
        after[-k - 1] = after[-k] * x[-k]
    return before * after


def shifted(x):
    y = 1
    for root in ROOTS:
        y = y * (x - root)
    return y


def milliseconds(call, times=5):
    """Return the shortest of some calls."""
    taken = []
    for _ in range(times):
        start = time.perf_counter()
        call()
        taken.append(time.perf_counter() - start)
    return 1e3 * min(taken)


print("milliseconds\n     n      value   one by one  prefix, suffix  numbad recorded  numbad replayed   difference")
for n in SIZES:
    x = 1.0 + 0.5 * np.sin(np.arange(n))
    gradient, replayed = numbad.grad(product), numbad.jit(numbad.grad(product))
    expected = prefix_and_suffix(x)
    error = max(np.max(abs(found / expected - 1.0)) for found in (gradient(x), replayed(x), one_by_one(x)))
    calls = (product, one_by_one, prefix_and_suffix, gradient, replayed)
    times = [milliseconds(lambda call=call, x=x: call(x), 5 if n < 1000 else 2) for call in calls]
    print(f"{n:6}{times[0]:11.4f}{times[1]:13.4f}{times[2]:16.4f}{times[3]:17.4f}{times[4]:17.4f}{error:13.1e}")

print("\nzeros do no harm: the gradient of the product of 2, 0, 3 is", numbad.grad(product)(np.array([2.0, 0.0, 3.0])))
print("                          of 2, 0, 0, 3 it is", numbad.grad(product)(np.array([2.0, 0.0, 0.0, 3.0])))
print("np.prod has a rule of its own:", numbad.grad(np.prod)(np.array([2.0, 0.0, 3.0])))

symbol = sympy.Symbol("x")
plain = sympy.diff(shifted(symbol), symbol)
expanded = sympy.diff(sympy.expand(shifted(symbol)), symbol)
print("\nthe derivative of the product of (x - root), 10 roots from 0 to 1, at x = 0.88889")
print(f"  SymPy, {int(sympy.count_ops(plain)):3} operations   {float(plain.evalf(30, subs={symbol: 0.88889})):.16e}")
print(f"  SymPy, expanded first    {float(expanded.subs(symbol, 0.88889)):.16e}")
print(f"  numbad, {len(numbad.record(shifted, 0.88889)):3} rows         {numbad.grad(shifted)(0.88889):.16e}")
