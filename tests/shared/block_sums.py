"""Functions of parameters and a block, in a module that other processes can import, and blocks for them."""

from __future__ import annotations

import os
import time
from typing import Any

import numpy as np

WEIGHTS = np.linspace(-1.0, 1.0, 6)


def logistic(w: Any, block: Any) -> Any:
    """A logistic loss."""
    x, y = block
    z = x @ w
    return np.sum(np.logaddexp(0.0, z) - y * z)


def branching(w: Any, block: Any) -> Any:
    """A loss that takes one of two branches."""
    x, y = block
    z = x @ w
    if y[0] > 0.5:
        return np.sum(z**2)
    return np.sum(np.logaddexp(0.0, z) - y * z)


def matrices(w: Any, block: Any) -> Any:
    """Large products of matrices, whose bits BLAS changes with the number of its threads."""
    x, _ = block
    z = x * w[0]
    return np.sum((z @ z.T) ** 2) * 1e-6


def stepping(w: Any, block: Any) -> Any:
    """A loop of a thousand rows, whose tape is large."""
    x, _ = block
    total = x[0, 0]
    for _ in range(150):
        total = total + 0.01 * (w[0] * np.sin(total) - w[1] * np.tanh(total))
    return total


def labelled(w: Any, block: Any) -> Any:
    """A loss that reads the parameters at integers of the block."""
    x, labels = block
    return np.sum((w[labels] - x) ** 2)


def failing(w: Any, block: Any) -> Any:
    """A loss that raises for one block."""
    if block[1] > 0.5:
        raise ArithmeticError("this block is bad")
    return np.sum(w) * block[0]


def waiting(w: Any, block: Any) -> Any:
    """A loss of a block that takes its time: a function that reads it does."""
    return np.sum(w**2) * block


class Slow:
    """Loads a number after some seconds, and notes the process that does so in a file."""

    def __init__(self, number: float, seconds: float, folder: str = "") -> None:
        self.number, self.seconds, self.folder = number, seconds, folder

    def __call__(self) -> float:
        if self.folder:
            with open(os.path.join(self.folder, f"{self.number}-{os.getpid()}"), "w") as stream:
                stream.write("begun")
        time.sleep(self.seconds)
        return self.number


class Deadly:
    """Loads a number, and ends the process the first time."""

    def __init__(self, number: float, note: str) -> None:
        self.number, self.note = number, note

    def __call__(self) -> float:
        if not os.path.exists(self.note):
            with open(self.note, "w") as stream:
                stream.write(str(os.getpid()))
            os._exit(3)
        return self.number


def make_blocks(count: int, sizes: tuple[int, ...] = (40, 25, 70, 31), features: int = 6) -> list[Any]:
    """Return blocks of some shapes, half of which take each branch."""
    random = np.random.default_rng(7)
    blocks = []
    for k in range(count):
        rows = sizes[k % len(sizes)]
        y = (random.random(rows) < 0.5) * 1.0
        y[0] = float(k // len(sizes) % 2)
        blocks.append((random.standard_normal((rows, features)), y))
    return blocks


def same_bits(one: Any, other: Any) -> bool:
    """Whether two values and gradients are the same in all bits."""
    return np.array_equal(np.float64(one[0]), np.float64(other[0])) and np.array_equal(one[1], other[1])
