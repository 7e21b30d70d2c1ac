"""Random kernels of a vector: loops, branches, jumps, arrays, whole arrays, and calls of other kernels."""

from __future__ import annotations

import itertools
import linecache
import math
import random

import numpy as np
from numba import njit

SIZE = 4
MATRIX_PLACES = {  # indices of vectors, and those of matrices in their places
    "k": "k, i",
    "0": "0, 1",
    "-1": "k, -1",
    "(k + 1) % 4": "(k + 1) % 4, 0",
    "i": "i, i",
    "i - 1": "i - 1, k",
}
WHOLE = [  # statements of whole arrays
    "u[1:] += v[:-1] * 0.3",
    "v[:] = np.sin(u) * a",
    "u[:2] = v[k:k + 2].sum() * 0.2",
    "m[i] = 0.5 * u + m[k]",
    "u *= np.cos(v)",
    "u[1:] += 0.3 * u[:-1]",
    "u = np.sin(u + 0.5 * v)",
    "v = 0.5 * v - 0.2 * m[k] * u",
    "b = math.tanh(np.sum(u * v))",
]
_counter = itertools.count()


@njit
def bent(a, b):
    """A function that other kernels call: with a branch, and a result that is returned early."""
    if a > b:
        return np.sin(a) * b
    c = a * 0.5
    for _ in range(2):
        c = c * b + 0.1
        if c > 1.0:
            break
    return c - b


@njit
def changing(y, k, a):
    """A function that changes an array."""
    y[k] = y[k] * a + 0.2
    y[k - 1] += a * y[k]
    return y[k] * 0.5


class Program:
    """Writes a random kernel of x."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.lines: list[str] = []
        self.loops = 0
        self.names = 0

    def number(self, depth: int = 0) -> str:
        """Return an expression of a number that stays small."""
        pick = self.random.choice
        if depth > 2 or self.random.random() < 0.3:
            return pick(["a", "b", "c", "0.7", "-1.3", self.element(), self.element(), "k * 0.1"])
        one, other = self.number(depth + 1), self.number(depth + 1)
        return pick(
            [
                f"({one} + {other})",
                f"({one} - {other})",
                f"math.sin({one} * {other})",
                f"math.tanh({one}) * {other}",
                f"{one} / (2.0 + math.cos({other}))",
                f"({one}) * 0.5",
                f"math.exp(-abs({one}))",
                f"np.sqrt(1.5 + math.sin({one}))",
                f"math.sin({one}) ** 2",
                f"min({one}, {other})",
                f"max({one}, 0.3 * {other})",
                f"np.arctan2({one}, 2.5)",
                f"math.tanh(bent({one}, {other}))",
                f"({one} if {self.test(depth + 1)} else {other})",
                f"-({one})",
            ]
        )

    def element(self) -> str:
        """Return an element of an array."""
        array, place = self.random.choice("xuvm"), self.random.choice([*MATRIX_PLACES])
        return f"{array}[{MATRIX_PLACES[place] if array == 'm' else place}]"

    def test(self, depth: int = 0) -> str:
        """Return a condition."""
        pick = self.random.choice
        found = f"{self.number(depth + 1)} {pick(['<', '>', '<='])} {pick(['0.1', 'b', '-0.2'])}"
        if self.random.random() < 0.2:
            found = f"({found} {self.random.choice(['and', 'or'])} k != 2)"
        return found

    def statements(self, depth: int, count: int) -> None:
        """Write some statements."""
        for _ in range(count):
            self.statement(depth)

    def write(self, depth: int, text: str) -> None:
        """Write a line."""
        self.lines.append("    " * depth + text)

    def statement(self, depth: int) -> None:
        """Write a statement."""
        which = self.random.random()
        target = self.random.choice(["a", "b", "c"])
        if which < 0.2:
            self.write(depth, f"{target} = math.tanh({self.number()})")
        elif which < 0.3:
            self.write(depth, f"{target} = 0.5 * {target}")
            self.write(depth, f"{target} += 0.5 * math.sin({self.number()})")
        elif which < 0.45:
            array = self.random.choice("uv")
            place = self.random.choice(["k", "i", "0", "(k + 2) % 4"])
            self.write(depth, f"{array}[{place}] = math.sin({self.number()})")
        elif which < 0.5:
            self.write(
                depth, f"m[{self.random.choice(['i, k', '0, i'])}] *= {self.random.choice(['0.9', 'math.cos(a)'])}"
            )
        elif which < 0.54:
            self.write(depth, f"c = math.tanh(changing({self.random.choice('uv')}, i, {self.number()}))")
        elif which < 0.56:
            self.write(depth, "u, v = v, u")
        elif which < 0.58:
            self.write(depth, self.random.choice(WHOLE))
        elif which < 0.6:
            self.write(depth, f"a, {self.random.choice('bc')} = math.tanh({self.number()}), a")
        elif which < 0.72:
            self.write(depth, f"if {self.test()}:")
            self.statements(depth + 1, self.random.randint(1, 2))
            if self.random.random() < 0.5:
                self.write(depth, "else:")
                self.statements(depth + 1, self.random.randint(1, 2))
        elif which < 0.8 and self.loops:
            self.write(depth, f"if {self.test()}:")
            if self.random.random() < 0.5:
                self.statement(depth + 1)
            self.write(depth + 1, self.random.choice(["break", "continue", "continue", "return a * c + x[0]"]))
        elif which < 0.97 and self.loops < 3:
            self.loop(depth)
        else:
            self.write(depth, "v[k] += a * u[k - 1]")

    def loop(self, depth: int) -> None:
        """Write a loop."""
        self.loops += 1
        self.names += 1
        own = self.names
        name = self.random.choice(["k", "i"])
        kind = self.random.random()
        if kind < 0.7:
            bound = self.random.choice(["4", "1, 4", "3, -1, -1", "k", "n", "i, 4"])
            self.write(depth, f"for {name} in range({bound}):")
            self.statements(depth + 1, self.random.randint(1, 4))
        elif kind < 0.85:
            self.write(depth, f"t{own} = 0")
            self.write(depth, f"while t{own} < 3 and a < 0.9:")
            self.write(depth + 1, f"t{own} += 1")
            self.statements(depth + 1, self.random.randint(1, 3))
        else:
            self.write(depth, f"for w{own} in u.copy():")
            self.statements(depth + 1, self.random.randint(1, 2))
            self.write(depth + 1, f"a = math.tanh(a * w{own} + b)")
        self.loops -= 1

    def function(self):
        """Return the kernel."""
        head = ["def kernel(x):", "    n = x.size", "    a, b, c = x[0], x[1] * x[2], 0.4", "    k = 1", "    i = 2"]
        head += ["    u, v = x.copy(), np.zeros(n)", "    m = np.ones((n, n))"]
        self.statements(1, 6)
        tail = ["    s = 0.0", "    for j in range(n):", "        s += u[j] * 0.3 + v[j] * m[j, j]"]
        return function_of("\n".join(head + self.lines + [*tail, "    return s + a * b + c"]) + "\n")


def function_of(text: str):
    """Return the function of a text, whose source is found."""
    name = f"<kernel {next(_counter)}>"
    linecache.cache[name] = (len(text), None, text.splitlines(keepends=True), name)
    scope = {"np": np, "math": math, "bent": bent, "changing": changing}
    exec(compile(text, name, "exec"), scope)
    return scope["kernel"]
