"""Times of the page on performance: python docs/measurements/ways.py

Each call is timed in loops of some milliseconds, seven times after a warm-up; the shortest time of a call counts.
"""

import math
import os
import platform
import timeit

import numpy as np

import numbad


def best(call):
    """Return the shortest time of one call, in microseconds."""
    call()
    timer = timeit.Timer(call)
    count = max(1, math.ceil(0.01 / (timer.timeit(1) + 1e-9)))
    return 1e6 * min(timer.repeat(7, count)) / count


def loop(x):
    """A recurrence, number by number."""
    y = x[0]
    for k in range(1, len(x)):
        y = 0.9 * y + x[k] * x[k]
    return y


def whole(x):
    """As many operations on whole arrays."""
    return np.sum(np.exp(-x) * np.sin(x) ** 2)


def formula(x1, x2):
    """The formula of the first page."""
    return np.exp(x1) - x1 * x2 + np.cos(x2)


def show(name, **calls):
    """Print a row: the time of each way."""
    print(f"{name:34}" + "".join(f"{way:>22} {best(call):10.1f}" for way, call in calls.items()))


if __name__ == "__main__":
    print(platform.processor() or platform.machine(), os.cpu_count(), "cores, Python", platform.python_version())
    print("microseconds")
    x, xs = np.linspace(0.1, 1.0, 1000), np.linspace(0.1, 1.0, 1000)
    fast = numbad.jit(numbad.grad(formula, (0, 1)))
    show("formula of two numbers", value=lambda: formula(2.0, 4.0), recorded=lambda: numbad.gradient(formula, 2.0, 4.0),
         jit=lambda: fast(2.0, 4.0))  # fmt: skip
    for name, f in (("loop over 1000 numbers", loop), ("array of 1000", whole)):
        fast = numbad.jit(numbad.grad(f))
        show(name, value=lambda f=f: f(x), recorded=lambda f=f: numbad.gradient(f, x), jit=lambda fast=fast: fast(x))
    tape = numbad.record(formula, 2.0, 4.0)
    show("1000 gradients of the formula", one_by_one=lambda: [numbad.gradient(formula, float(a), 4.0) for a in xs],
         jit=lambda: [tape.gradient(float(a), 4.0) for a in xs],
         gradient_map=lambda: tape.gradient_map(xs, 4.0))  # fmt: skip
    small = x[:100]
    hessian, product = numbad.jit(numbad.hessian(loop)), numbad.jit(lambda x, v: numbad.hvp(loop, x, v))
    show("100 variables, second order", hessian=lambda: hessian(small), hvp=lambda: product(small, small))
