"""Random NumPy programs, run in every mode and compared with the reference: `python tests/modes.py --hours 1 --seed S`.

A program is text: a function of an array `x` and a small array `y` that builds on what it has computed so far, a step
after the other. Its steps are what NumPy users write: elementwise functions, selections, reductions, products, views and
assignments through them, lists of indices, windows, joins, loops, Python kernels, branches, constants of any size.

The programs of a seed have a length that lies on one side or the other of a limit at which numbad takes another way.
Each is run as `MODES` say; derivatives are compared with those that `numbad.reference` finds on the tape of the same
function at the same point. The reference is compared with a complex step: NumPy itself runs the program at
x + 1e-30i v, with `Complex` in place of the functions that are not analytic. Neither knows of the other.
"""

from __future__ import annotations

import argparse
import dataclasses
import io
import itertools
import pickle
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import scipy.special
from numpy.lib.stride_tricks import sliding_window_view

import numbad
import numbad.numpy
from numbad import reference

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent))

LARGEST = 8.0  # results beyond are scaled down, so that errors do not grow without end
SIZES = [2, 3, 7, 63, 64, 65, 129, 511, 512, 513, 1023, 1025, 2047, 2049, 4095, 4096, 4097, 8195, 16385,
         32767, 32768, 32769, 65537, 131073]  # fmt: skip
WEIGHTS = [3] * 4 + [2] * 14 + [1.5] * 4 + [0.4, 0.4]

# ---------------------------------------------------------------- NumPy on complex numbers


class Complex:
    """NumPy for a complex step: functions that look at sizes look at real parts, and none takes a conjugate."""

    def __getattr__(self, name: str) -> Any:
        return getattr(np, name)

    linalg: Any

    @staticmethod
    def abs(a: Any) -> Any:
        return np.where(np.real(a) < 0.0, -np.asarray(a), a)[()]

    @staticmethod
    def sign(a: Any) -> Any:
        return np.sign(np.real(a))

    @staticmethod
    def maximum(a: Any, b: Any) -> Any:
        return np.where(np.real(a) >= np.real(b), a, b)[()]

    @staticmethod
    def minimum(a: Any, b: Any) -> Any:
        return np.where(np.real(a) <= np.real(b), a, b)[()]

    def clip(self, a: Any, low: Any, high: Any) -> Any:
        return self.minimum(self.maximum(a, low), high)

    def hypot(self, a: Any, b: Any) -> Any:
        return np.sqrt(a * a + b * b)

    def arctan2(self, a: Any, b: Any) -> Any:
        return np.arctan(a / b) + np.where(np.real(b) < 0.0, np.pi * np.sign(np.real(a)), 0.0)

    @staticmethod
    def pick(a: Any, axis: Any, keepdims: bool, choose: Any) -> Any:
        a = np.asarray(a)
        flat, axis = (a.reshape(-1), 0) if axis is None else (a, axis)
        found = np.take_along_axis(flat, np.expand_dims(choose(flat.real, axis=axis), axis), axis)
        return found if keepdims else np.squeeze(found, axis)[()]

    def max(self, a: Any, axis: Any = None, keepdims: bool = False) -> Any:
        return self.pick(a, axis, keepdims, np.argmax)

    def min(self, a: Any, axis: Any = None, keepdims: bool = False) -> Any:
        return self.pick(a, axis, keepdims, np.argmin)

    @staticmethod
    def argmax(a: Any, axis: Any = None) -> Any:
        return np.argmax(np.real(a), axis)

    @staticmethod
    def argsort(a: Any, axis: int = -1) -> Any:
        return np.argsort(np.real(a), axis)

    def sort(self, a: Any, axis: int = -1) -> Any:
        return np.take_along_axis(a, self.argsort(a, axis), axis)

    @staticmethod
    def var(a: Any, axis: Any = None) -> Any:
        return np.mean((a - np.mean(a, axis=axis, keepdims=True)) ** 2, axis=axis)

    def std(self, a: Any, axis: Any = None) -> Any:
        return np.sqrt(self.var(a, axis))

    @staticmethod
    def zeros_like(a: Any) -> Any:
        return np.zeros(np.shape(a), complex)

    empty_like = zeros_like

    @staticmethod
    def zeros(shape: Any) -> Any:
        return np.zeros(shape, complex)

    @staticmethod
    def vdot(a: Any, b: Any) -> Any:
        return np.dot(np.ravel(a), np.ravel(b))


class ComplexLinalg:
    """np.linalg for a complex step."""

    def __getattr__(self, name: str) -> Any:
        return getattr(np.linalg, name)

    @staticmethod
    def slogdet(a: Any) -> Any:
        return 1.0, np.log(np.linalg.det(a))

    @staticmethod
    def norm(a: Any) -> Any:
        return np.sqrt(np.sum(a * a))


Complex.linalg = ComplexLinalg()

# ---------------------------------------------------------------- programs


@dataclasses.dataclass(frozen=True)
class Program:
    """A program as text, and where it is run.

    Attributes
    ----------
    steps : tuple of str
        Each one or more lines that make a name of what earlier steps have made.
    results : tuple of str
        The names that it returns.
    shapes : tuple of shapes
        Of `x` and `y`.
    module : str
        "numpy", or "numbad.numpy" where the program makes arrays of its own.
    """

    seed: int
    steps: tuple[str, ...]
    results: tuple[str, ...]
    shapes: tuple[tuple[int, ...], tuple[int, ...]]
    module: str
    flat: bool

    def text(self) -> str:
        """Return the program's text: `parts` returns a list, `many` an array, `few` some numbers, and `one` a number."""
        lines = [f"import {self.module} as np", *HEADER]
        constants = [line for step in self.steps for line in step.split("\n") if line.startswith("C")]
        body = [line for step in self.steps for line in step.split("\n") if not line.startswith("C")]
        lines += [*constants, "", "", "def parts(x, y):"]
        lines += [f"    {line}" for line in [*body, f"return [{', '.join(self.results)}]"]]
        return "\n".join([*lines, *FOOTER, ""])

    def run_text(self, module: Any, dtype: Any = np.float64) -> dict[str, Any]:
        """Execute the text with a module for NumPy, and constants of a dtype; return its functions."""
        names: dict[str, Any] = {"DTYPE": dtype, "__name__": "program"}
        text = self.text().replace(f"import {self.module} as np\n", "")
        names["np"] = module
        exec(compile(text, f"<program {self.seed}>", "exec"), names)
        return names

    def point(self, k: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the k-th point where the program is run."""
        generator = np.random.default_rng([self.seed, 77, k // 10])
        near = np.random.default_rng([self.seed, 78, k])
        return tuple(  # type: ignore[return-value]
            generator.uniform(0.3, 1.2, shape) * generator.choice([-1.0, 1.0], shape)
            + 0.05 * near.uniform(-1, 1, shape)
            for shape in self.shapes
        )


HEADER = """
import numpy
from numpy.lib.stride_tricks import sliding_window_view
from scipy import special

DTYPE = globals().get("DTYPE", "float64")


def constant(seed, shape):
    return numpy.random.default_rng(seed).uniform(-1.0, 1.0, shape).astype(DTYPE)


def places(seed, count, below):
    return numpy.random.default_rng(seed).integers(0, below, count)


def mask(seed, shape):
    return numpy.random.default_rng(seed).random(shape) < 0.4


def weigh(part, k):
    weights = numpy.cos(numpy.arange(1.0, 1.0 + numpy.size(part)) * (0.7 + 0.1 * k)).reshape(numpy.shape(part))
    return np.sum(part * weights.astype(DTYPE) if weights.shape else part * 0.7)


def whole(number):
    return int(number.real) if isinstance(number, complex) else int(number)
""".split("\n")
FOOTER = """

def many(x, y):
    return np.concatenate([np.reshape(part, (-1,)) for part in parts(x, y)])


def few(x, y):
    return np.stack([weigh(part, k) for k, part in enumerate(parts(x, y)[:3])])


def one(x, y):
    total = 0.0
    for k, part in enumerate(parts(x, y)):
        total = total + weigh(part, k) * (1.0 + 0.1 * k)
    return total""".split("\n")


# ---------------------------------------------------------------- steps

UNARY = ["np.sin({a})", "np.cos({a}) - 0.5", "np.tanh({a})", "np.exp(0.3 * {a})", "np.log(1.5 + {a} * {a})",
         "np.sqrt(0.5 + {a} ** 2)", "np.arctan({a})", "-{a}", "{a} ** 2 * 0.5", "{a} ** 3 * 0.1", "{a} * 1.0",
         "1.0 / (1.2 + {a} * {a})", "np.abs({a}) - 0.4", "np.square({a}) - 0.3", "np.sinh(0.3 * {a})", "{a} - 0.25",
         "np.log1p({a} * {a})", "np.expm1(0.2 * {a})", "0.3 * {a} + np.sign({a})", "2.0 ** (0.3 * {a})"]  # fmt: skip
BINARY = ["{a} * {c}", "{a} + {c}", "{a} - 0.7 * {c}", "{a} / (1.1 + {c} * {c})", "np.maximum({a}, {c})",
          "np.minimum({a}, 0.8 * {c})", "np.hypot({a}, 0.3 + {c})", "np.arctan2({a}, 2.0 + {c} * {c})",
          "np.where({a} > {c}, {a} * {c}, {c} - {a})", "(0.6 + {a} * {a}) ** (0.5 * np.tanh({c}))"]  # fmt: skip
SPECIAL = ["special.erf({a})", "special.loggamma(1.5 + {a} ** 2)", "special.psi(1.5 + {a} ** 2)", "special.dawsn({a})",
           "special.jv(0, {a})", "special.kv(1.5, 1.5 + {a} ** 2)", "special.iv(1, {a})"]  # fmt: skip


class Unfit(Exception):
    """A step that does not fit what the program has computed so far."""


class Builder:
    """A program that grows, and its values at one point, which decide what may come next."""

    def __init__(self, seed: int, size: int, wide: bool) -> None:
        self.seed, self.size = seed, size
        self.random = np.random.default_rng([seed, size, wide])
        self.module = "numbad.numpy" if self.random.random() < 0.3 else "numpy"
        shape = (size,) if wide else (int(self.random.integers(2, 6)),)
        self.shapes = (shape, (int(self.random.integers(2, 4)),))
        empty = Program(seed, (), (), self.shapes, self.module, False)
        self.names = empty.run_text(np)
        self.names["x"], self.names["y"] = empty.point(0)
        self.pool = ["x", "y"]
        self.steps: list[str] = []
        self.made: list[str] = []  # constants of the step that is being written
        self.count = 0

    # ------------------------------------------------------------ what steps ask for

    def some(self, *choices: Any) -> Any:
        """Return one of some choices."""
        return choices[self.random.integers(len(choices))]

    def number(self, low: int, high: int) -> int:
        """Return an integer of low .. high."""
        return int(self.random.integers(low, high + 1))

    def shape(self, name: str) -> tuple[int, ...]:
        """Return the shape of a name."""
        return np.shape(self.names[name])

    def pick(self, fits: Callable[[tuple[int, ...]], bool] = lambda shape: True) -> str:
        """Return the name of an earlier result, recent and long ones more often."""
        found = [name for name in self.pool if fits(self.shape(name))]
        if not found:
            raise Unfit
        weights = np.array([(1.0 + k) * (3.0 if np.size(self.names[n]) * 2 >= self.size else 1.0)
                            for k, n in enumerate(found)])  # fmt: skip
        return found[self.random.choice(len(found), p=weights / weights.sum())]

    def line(self, shape: tuple[int, ...] | None = None) -> str:
        """Return the name of an earlier result of one axis."""
        return self.pick(lambda found: len(found) == 1 and found[0] > 1 and shape in (None, found))

    def constant(self, text: str) -> str:
        """Return the name of a new constant."""
        name = f"C{self.count}_{len(self.made)}"
        self.made.append(f"{name} = {text.format(seed=self.number(0, 9999))}")
        return name

    def array(self, *shape: int) -> str:
        """Return the name of a new constant array."""
        return self.constant(f"constant({{seed}}, {shape})")

    def places(self, count: int, below: int) -> str:
        """Return the name of a new list of indices, with repetitions."""
        return self.constant(f"places({{seed}}, {count}, {below})")

    # ------------------------------------------------------------ growing

    def add(self, step: Callable[[Builder], str]) -> bool:
        """Append a step; return whether it fits."""
        self.made = []
        new = f"v{self.count}"
        try:
            text = "\n".join([*self.made_by(step, new)])
            trial = dict(self.names)
            with np.errstate(all="ignore"):
                exec(text, trial)
        except Unfit:
            return False
        found = np.asarray(trial[new])
        if not np.isfinite(found).all() or found.size == 0 or found.size > max(6 * self.size, 500):
            return False
        largest = float(np.max(np.abs(found)))
        if largest > LARGEST:
            text += f"\n{new} = {new} * {LARGEST / largest / 2:.2g}"
            exec(text.split("\n")[-1], trial)
        self.names = trial
        self.steps.append(text)
        self.pool.append(new)
        self.count += 1
        return True

    def made_by(self, step: Callable[[Builder], str], new: str) -> list[str]:
        """Return the lines of a step: constants before what uses them."""
        text = step(self)
        lines = text.replace("{v}", new) if "{v}" in text else f"{new} = {text}"
        used = [line for line in self.made if line.split(" = ")[0] in lines]
        return [*used, lines]

    def program(self) -> Program:
        """Return the program so far: it returns its last results, and some others."""
        names = self.pool[2:][-3:] + [name for name in self.pool[2:-3] if self.random.random() < 0.3]
        return Program(self.seed, tuple(self.steps), tuple(names), self.shapes, self.module, False)


def spread(b: Builder) -> str:
    """Make a long array of a short input."""
    n, size = b.shape("x")[0], b.size
    return [
        lambda: f"x[{b.places(size, n)}] * {b.array(size)}",
        lambda: f"{b.array(size, n)} @ x",
        lambda: f"np.outer(x, {b.array(-(-size // n))}).reshape(-1)[:{size}]",
        lambda: f"x[0] * {b.array(size)} + x[1]",
        lambda: f"np.repeat(x, {-(-size // n)})[:{size}] + {b.array(size)}",
        lambda: f"np.concatenate([x[0] * {b.array(size // 2)}, x[-1] * {b.array(size - size // 2)}])",
        lambda: f"np.sum(x * y[0]) * {b.array(size)}",
        lambda: f"np.tile(x, {-(-size // n)})[:{size}] * {b.array(size)}",
        lambda: f"np.sin(x[:, None] * {b.array(size)})[{b.number(0, n - 1)}]",
    ][b.number(0, 8)]()


def unary(b: Builder) -> str:
    return b.some(*UNARY).replace("{a}", b.pick())


def binary(b: Builder) -> str:
    a = b.pick()
    shape = b.shape(a)
    c = b.pick(lambda other: other == shape or not other or (len(shape) == 2 and other in (shape[1:], (1, shape[1]))))
    return b.some(*BINARY).replace("{a}", a).replace("{c}", c)


def with_constant(b: Builder) -> str:
    a = b.pick(len)
    shape = b.shape(a)
    c = b.some(b.array(*shape), b.array(*shape[-1:]), b.array(shape[0], *(1 for _ in shape[1:])), b.array(),
               b.constant(f"mask({{seed}}, {shape})"))  # fmt: skip
    kind = b.some("{a} * {c}", "{c} - {a}", "{a} / (1.5 + {c})", "np.where({c} > 0.2, {a}, -0.5 * {a})",
                  "np.maximum({a}, {c})", "{a} * {c} + {a}")  # fmt: skip
    return kind.replace("{a}", a).replace("{c}", c)


def select(b: Builder) -> str:
    a = b.pick()
    c = b.pick(lambda other: other in (b.shape(a), ()))
    bound = round(float(b.random.uniform(-0.5, 0.5)), 2)
    kind = b.some("np.where({a} > {t}, np.sin({a}), {c})", "np.clip({a}, {t}, {u})", "np.maximum({a}, {t})",
                  "np.where(({a} < {t}) & ({c} > 0.0), {a} * {c}, 0.3)", "np.abs({a} - {t})",
                  "np.where({a} > {t}, np.sqrt(np.where({a} > {t}, {a} - {t} + 0.1, 1.0)), 0.0)")  # fmt: skip
    return (kind.replace("{a}", a).replace("{c}", c).replace("{t}", f"({bound})")
            .replace("{u}", f"({round(bound + 0.7, 2)})"))  # fmt: skip


def reduce(b: Builder) -> str:
    a = b.pick(len)
    name = b.some("sum", "sum", "mean", "max", "min", "var", "std")
    axis = b.some(*range(-len(b.shape(a)), len(b.shape(a))))
    if name in ("std", "var") and b.shape(a)[axis] < 3:
        raise Unfit
    text = f"np.{name}({a}, axis={axis})"
    if name in ("sum", "max", "mean") and b.random.random() < 0.3:
        return f"{a} - np.{name}({a}, axis={axis}, keepdims=True) * 0.1"
    return text


def lay_out(b: Builder) -> str:
    a = b.pick(len)
    size = int(np.prod(b.shape(a)))
    rows = next(k for k in (b.some(2, 3, 4, 5), 3, 2, 7, 1) if size % k == 0)
    return b.some(f"{a}.reshape({rows}, -1)", f"{a}.reshape(-1, {rows})", f"{a}.reshape({rows}, -1).T", f"{a}.T",
                  f"{a}.reshape(-1)", f"{a}.ravel()[::-1]", f"{a}[..., None] * {b.array(2)}",
                  f"np.broadcast_to({a}, (2, *{a}.shape)) * 1.0", f"np.swapaxes({a}.reshape({rows}, 1, -1), 0, 2)",
                  f"np.roll({a}, 2)")  # fmt: skip


def product(b: Builder) -> str:
    a = b.pick(lambda shape: 1 <= len(shape) <= 2)
    *_, k = shape = b.shape(a)
    m = b.some(1, 2, 3, 5)
    if len(shape) == 1:
        return b.some(f"{a} @ {a}", f"np.dot({a}, {b.array(k)})", f"{a} @ {b.array(k, m)}", f"{b.array(m, k)} @ {a}",
                      f"np.outer({a}, y)", f"np.einsum('i,ij,i->j', {a}, {b.array(k, m)}, {a})",
                      f"np.inner({b.array(m, k)}, {a})", f"np.vdot({a}, {b.array(k)})")  # fmt: skip
    n = shape[0]
    small = [f"{a} @ {a}.T"] if n * n * k < 300_000 else []
    small += [f"{a}.T @ {a}", f"np.einsum('ij,ik->jk', {a}, {a})"] if n * k * k < 300_000 else []
    return b.some(*small, f"{a} @ {b.array(k)}", f"{a} @ {b.array(k, m)}", f"{b.array(m, n)} @ {a}",
                  f"np.einsum('ij,ij->i', {a}, {a})", f"np.einsum('ij->j', {a})", f"np.einsum('ij,j->i', {a}, {a}[0])",
                  f"np.tensordot({a}, {b.array(n, k)}, axes=([0], [0])) if {k} < 40 else {a} * 0.5",
                  f"np.einsum('ij,kj->ik', {a}, {b.array(m, k)})", f"np.matmul({a}.T, {b.array(n, m)})",
                  f"np.sum({a}[:, None, :] * {b.array(m, 1)}, axis=0)")  # fmt: skip


def cut(b: Builder) -> str:
    a = b.pick(lambda shape: len(shape) >= 1 and shape[0] > 2)
    n = b.shape(a)[0]
    return b.some(f"{a}[1:]", f"{a}[:-1] - {a}[1:]", f"{a}[::2]", f"{a}[::-1]", f"{a}[::-3] * 1.0", f"{a}[{n // 2}]",
                  f"{a}[-1]", f"{a}[1:{n - 1}] * 0.5", f"{a}[..., ::-1]", f"{a}[..., 0]", f"{a}[{n // 3}:, ...][::-1]",
                  f"{a} + {a}[::-1]", f"np.flip({a})")  # fmt: skip


def fancy(b: Builder) -> str:
    a = b.pick(lambda shape: len(shape) >= 1 and shape[0] > 1)
    n = b.shape(a)[0]
    last = b.shape(a)[-1]
    count = b.some(4, 7, b.size)
    return b.some(f"{a}[{b.places(count, n)}]", f"{a}[..., {b.places(5, last)}]", f"{a}[{b.constant(f'mask({{seed}}, {n})')}]",
                  f"np.take({a}, {b.places(6, n)}, axis=0)", f"{a}[[0, -1, 0, 1]]",
                  f"{a}[{b.places(6, n)}.reshape(2, 3)]")  # fmt: skip


def assign(b: Builder) -> str:
    a = b.pick(lambda shape: len(shape) >= 1 and shape[0] > 3)
    n = b.shape(a)[0]
    same = b.pick(lambda shape: shape in (b.shape(a), ()))
    head = b.some(f"{{v}} = {a}.copy()", f"{{v}} = {a} * 1.0", f"{{v}} = np.zeros_like({a})\n{{v}}[...] = {a}")
    index = f"[0, 2, 1, {n - 1}]"
    body = b.some(
        f"w = {{v}}[1:-1]\nw *= 0.5\nw[0] = {a}[-1]",
        f"{{v}}[::2] = {a}[::-1][: len({{v}}[::2])]",
        f"{{v}}[{index}] = np.sin({a}[[1, 1, 0, 2]])",
        f"{{v}}[{index}] += {a}[0] * 0.25",
        f"{{v}}[{b.constant(f'mask({{seed}}, {n})')}] = 0.25",
        f"np.add.at({{v}}, {b.places(5, n)}, {a}[:5][0])",
        f"w = {{v}}.T[..., ::-1]\nw[..., 1:] += 0.3",
        f"{{v}} += {same}\n{{v}}[{n // 2}] = 0.5 * {{v}}[0]",
        f"{{v}}[1:] += {{v}}[:-1]",
        f"{{v}}[{n // 2}:] = {{v}}[: {n - n // 2}] * 2.0\n{{v}}[0] -= 1.0",
        f"w = {{v}}.reshape(-1)\nw[1:4] = w[:3] * {a}.reshape(-1)[-1]",
    )
    return f"{head}\n{body}"


def fill(b: Builder) -> str:
    a = b.line()
    (n,) = b.shape(a)
    if b.module == "numbad.numpy" and b.random.random() < 0.6:
        head = b.some(f"{{v}} = np.zeros((3, {n}))", f"{{v}} = np.zeros({n} * 3).reshape(3, -1)")
    else:
        head = f"{{v}} = np.zeros_like(np.stack([{a}, {a}, {a}]))"
    return (f"{head}\n{{v}}[0] = np.sin({a})\n{{v}}[{b.some(1, -1)}] = {a} * 0.5\n"
            f"{{v}}[{b.some('2', ':, 1', '1, ::2')}] += {b.some('0.5', a + '[0]')}")  # fmt: skip


def windows(b: Builder) -> str:
    a = b.line()
    w = b.some(2, 3, 4)
    if b.shape(a)[0] < w + 2:
        raise Unfit
    view = f"sliding_window_view({a}, {w})"
    tail = b.some("", "", "[::2]", "[::-1]")
    return b.some(f"{view}{tail}.sum(axis=1)", f"{view}{tail} @ {b.array(w)}", f"np.max({view}{tail}, axis=1)",
                  f"np.sum({view}{tail}.copy() ** 2, axis=0)", f"{view}{tail} * {b.array(w)}",
                  f"np.einsum('ij,j->i', {view}{tail}, {b.array(w)})", f"np.mean(np.tanh({view}{tail}), axis=-1)",
                  f"{view}{tail}.T @ {view}{tail}", f"special.erf({view}{tail}).sum(axis=1)",
                  f"np.sort({view}{tail}, axis=1)[:, 0]")  # fmt: skip


def join(b: Builder) -> str:
    a, c = b.line(), b.line()
    number = b.pick(lambda shape: shape == ())
    same = b.line(b.shape(a))
    return b.some(f"np.concatenate([{a}, {c}])", f"np.concatenate([{a}, {c}, {a}[::-1]])", f"np.stack([{a}, {same}])",
                  f"np.concatenate([np.stack([{number}, {a}[0], {number}]), {c}])", f"np.hstack([{c}, {a}])",
                  f"np.stack([{a}, {same}], axis=1)", f"np.vstack([{a}, {same}, {a}])", f"np.tile({a}, 2)",
                  f"np.append({a}, {number})", f"np.column_stack([{a}, {same}])", f"np.repeat({a}, 2)",
                  f"np.concatenate([{a}, {b.array(3)}, {c}])", f"np.pad({a}, (1, 2))")  # fmt: skip


def loop(b: Builder) -> str:
    a = b.pick(len)
    n = b.shape(a)[0]
    number = b.pick(lambda shape: shape == ())
    turns, many = b.number(2, 5), b.some(20, 200, 450)
    return b.some(
        f"{{v}} = {a}\nfor k in range({turns}):\n    {{v}} = 0.6 * {{v}} + np.sin({{v}} + 0.1 * k)",
        f"{{v}} = {a}.copy()\nfor k in range({min(turns * 3, n - 1)}):\n    {{v}}[k + 1] = 0.5 * {{v}}[k] + {{v}}[k + 1] * 0.25",
        f"{{v}} = {number}\nfor k in range({many}):\n    {{v}} = 0.9 * {{v}} + 0.1 * np.sin({{v}} * x[k % {b.shape('x')[0]}] + 0.01 * k)",
        f"{{v}} = {a}[0] * 0.0\nfor k in range({min(n, 30)}):\n    {{v}} = {{v}} + {a}[k] * np.cos({{v}} + {a}[-k])",
        f"w = [{a}[0], {a}[-1]]\nfor k in range({min(many, 60)}):\n    w.append(0.5 * w[-1] + 0.3 * w[-2] * {number})\n{{v}} = np.stack(w)",
        f"{{v}} = {a}\nw = {a} * 0.0\nfor k in range({turns}):\n    w = 0.9 * w - 0.1 * {{v}}\n    {{v}} = {{v}} + w",
    )  # fmt: skip


def kernel(b: Builder) -> str:
    a = b.line()
    (n,) = b.shape(a)
    c = b.line()
    if n < 4:
        return f"np.cumsum({a})"
    square = f"({a}[:4].reshape(2, 2) * 0.2 + {b.constant('numpy.diag([2, 3]).astype(DTYPE)')})"
    return b.some(f"np.cumsum({a}) * {10 / n:.2g}", f"np.sort({a})", f"np.linalg.solve({square}, y[:2])",
                  f"np.linalg.inv({square})", f"np.linalg.det({square})", f"np.linalg.slogdet({square})[1]",
                  *(text.replace("{a}", a) for text in SPECIAL), f"np.cumprod(1.0 + 0.1 * np.sin({a}[:20]))",
                  f"np.diff({a})", f"np.convolve({a}, {c}[:3])", f"np.cumsum({a}.reshape(-1, 1) * y, axis=0)[:, 1] / {n}",
                  f"np.linalg.norm({a})", f"np.sort({a}.reshape({2 if n % 2 == 0 else 1}, -1), axis=0)",
                  f"np.prod(1.0 + 0.1 * {a}[:9])", f"{a}[np.argsort({a})][::2]", f"np.interp({a}, [-1.0, 0.1, 1.0], [0.3, -0.2, 0.5])"
                  if False else f"np.trapezoid({a})", f"np.linalg.matrix_power({square}, 3)")  # fmt: skip


def branch(b: Builder) -> str:
    a = b.pick(len)
    n = b.shape(a)[0]
    bound = round(float(b.random.uniform(-0.3, 0.3)), 2)
    return b.some(
        f"if np.sum({a}) > {bound}:\n    {{v}} = {a} * 1.25\nelse:\n    {{v}} = np.sin({a})",
        f"{{v}} = {a}[whole(np.abs(y[0]) * 3.0) % {n}]",
        f"{{v}} = np.sum({a}) * 0.01\nwhile np.abs({{v}}) < 1.0:\n    {{v}} = {{v}} * 1.9 + 0.07 * np.sign({{v}})",
        f"w = np.argmax({a}.reshape(-1))\n{{v}} = {a}.reshape(-1)[w] * {a}",
        f"{{v}} = {a}\nfor k in range(2):\n    if y[k] > x[0]:\n        {{v}} = {{v}} * y[k]\n    else:\n        {{v}} = {{v}} + x[0]",
    )


STEPS: list[tuple[Callable[[Builder], str], float]] = [
    (unary, 3.0), (binary, 3.0), (with_constant, 2.5), (select, 2.0), (reduce, 2.0), (lay_out, 1.5), (product, 2.0),
    (cut, 1.5), (fancy, 1.5), (assign, 1.7), (fill, 1.0), (windows, 1.3), (join, 1.7), (loop, 1.0), (kernel, 1.2),
    (branch, 0.6),
]  # fmt: skip
CHANCES = np.array([weight for _, weight in STEPS]) / sum(weight for _, weight in STEPS)


def make(seed: int) -> Program:
    """Return the program of a seed."""
    random = np.random.default_rng([seed, 5])
    size = int(random.choice(SIZES, p=np.array(WEIGHTS) / sum(WEIGHTS)))
    wide = bool(random.random() < 0.4)
    builder = Builder(seed, size, wide)
    if not wide:
        builder.add(spread)
    count = int(random.integers(3, 12))
    for _ in range(10 * count):
        if len(builder.steps) < count:
            builder.add(STEPS[random.choice(len(STEPS), p=CHANCES)][0])
    return builder.program()


# ---------------------------------------------------------------- what is expected


class Unsure(Exception):
    """A point that says nothing: a branch, a maximum or an order changes right there."""


class Point:
    """What the reference finds at one point of a program, computed when it is first asked for."""

    def __init__(self, names: dict[str, Any], x: np.ndarray, y: np.ndarray) -> None:
        self.names, self.x, self.y = names, x, y
        self.kept: dict[Any, Any] = {}

    def once(self, key: Any, compute: Callable[[], Any]) -> Any:
        """Return something that is computed once."""
        if key not in self.kept:
            self.kept[key] = compute()
        return self.kept[key]

    def tape(self, name: str) -> Any:
        """Return the tape of a function of the program."""
        return self.once(("tape", name), lambda: numbad.record(self.names[name], self.x, self.y))

    def value(self, name: str) -> Any:
        """Return the value of a function."""
        return self.once(("value", name), lambda: reference.run(self.tape(name), self.x, self.y))

    def gradient(self) -> tuple[Any, Any]:
        """Return the gradient of `one`."""
        return self.once("gradient", lambda: reference.gradient(self.tape("one"), self.x, self.y))

    def direction(self, k: int = 0) -> tuple[np.ndarray, np.ndarray]:
        """Return a tangent of the arguments."""
        random = np.random.default_rng(k)
        return tuple(random.uniform(-1.0, 1.0, np.shape(a)).astype(a.dtype) for a in (self.x, self.y))  # type: ignore[return-value]

    def tangent(self, name: str, k: int = 0) -> Any:
        """Return the tangent of a function's result along a direction."""
        return self.once(
            ("tangent", name, k),
            lambda: reference.pushforward(self.tape(name), (self.x, self.y), self.direction(k)),
        )

    def rows(self) -> list[tuple[Any, Any]]:
        """Return the Jacobian of `few`, a row of it for each result."""
        units = np.eye(len(self.value("few")))
        return self.once(
            "rows", lambda: [reference.pullback(self.tape("few"), (self.x, self.y), unit) for unit in units]
        )

    def jacobian(self, argument: int) -> np.ndarray:
        """Return the Jacobian of `few` with respect to an argument."""
        return np.stack([row[argument] for row in self.rows()])

    def columns(self) -> np.ndarray:
        """Return the Jacobian of `many` with respect to `x`, found column by column."""
        nothing = np.zeros_like(self.y)
        units = np.eye(self.x.size, dtype=self.x.dtype).reshape(-1, *self.x.shape)
        push = lambda unit: reference.pushforward(self.tape("many"), (self.x, self.y), (unit, nothing))
        return self.once("columns", lambda: np.stack([push(unit) for unit in units], axis=-1))

    def curvature(self, tangent: np.ndarray) -> np.ndarray:
        """Return the Hessian of `one` in `x` times a tangent: a difference of the reference's gradients.

        Two steps have to agree, or the point lies at a kink and the program says nothing there.
        """
        found = []
        try:
            for step in (1e-5, 2.3e-5):
                ahead, back = (
                    reference.gradient(self.tape("one"), self.x + sign * step * tangent, self.y)[0] for sign in (1, -1)
                )
                found.append((ahead - back) / (2.0 * step))
        except numbad.BranchError:
            raise Unsure from None
        if not close(found[0], found[1], 3e-6):
            raise Unsure
        return found[0]


def complex_step(program: Program, x: np.ndarray, y: np.ndarray, along: Any, name: str) -> Any:
    """Return the value of a function of a program and its derivative along a direction, by NumPy on complex numbers."""
    names = program.run_text(Complex())
    step = 1e-20
    with np.errstate(all="ignore"):
        found = names[name](*(a + 1j * step * v for a, v in zip((x, y), along, strict=True)))
    return np.real(found), np.imag(found) / step


def leaves(tree: Any) -> list[np.ndarray]:
    """Return the arrays of a result."""
    if isinstance(tree, (tuple, list)):
        return [leaf for part in tree for leaf in leaves(part)]
    return [np.asarray(tree)]


def close(found: Any, expected: Any, rtol: float) -> bool:
    """Whether results agree, measured by the largest number of each array."""
    one, other = leaves(found), leaves(expected)
    if len(one) != len(other):
        return False
    for a, b in zip(one, other, strict=True):
        if a.shape != b.shape or not np.isfinite(a).all():
            return False
        scale = max(1.0, float(np.max(np.abs(b), initial=0.0)))
        if a.size and float(np.max(np.abs(a.astype(float) - b))) > rtol * scale:
            return False
    return True


# ---------------------------------------------------------------- modes

Found = Iterator[tuple[Any, Any, float]]
EXACT, SECOND, SINGLE = 1e-9, 3e-5, 2e-3


class Case:
    """A program at its points, in one precision: what the modes are given."""

    def __init__(self, program: Program, dtype: Any = np.float64) -> None:
        self.program, self.dtype = program, np.dtype(dtype)
        self.names = program.run_text(numbad.numpy if program.module == "numbad.numpy" else np, self.dtype)
        self.one, self.few, self.many = (self.names[name] for name in ("one", "few", "many"))
        given = [program.point(k) for k in (0, 1, 10)]
        self.points = [Point(self.names, *(a.astype(self.dtype) for a in pair)) for pair in given]
        self.exact = EXACT if self.dtype == np.float64 else SINGLE

    @property
    def short(self) -> bool:
        """Whether there are few inputs."""
        return self.program.shapes[0][0] <= 8

    @property
    def batch(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the arguments of all points, stacked."""
        return np.stack([p.x for p in self.points]), np.stack([p.y for p in self.points])

    def stacked(self, parts: list[Any]) -> tuple[Any, ...]:
        """Return tuples of arrays as a tuple of stacks of them."""
        return tuple(np.stack(column) for column in zip(*parts, strict=True))

    def at(self, k: int, other: int) -> Point:
        """Return the point of one point's `x` and another's `y`."""
        return self.points[0].once(
            ("at", k, other), lambda: Point(self.names, self.points[k].x, self.points[other].y)
        ) if k != other else self.points[k]  # fmt: skip


MODES: dict[str, tuple[Callable[[Case], Found], Callable[[Case], bool]]] = {}


def mode(fits: Callable[[Case], bool] = lambda case: True) -> Callable[[Any], Any]:
    """Declare a mode: a function that yields what it found, what is expected, and how close that has to be."""

    def declare(function: Any) -> Any:
        MODES[function.__name__] = (function, fits)
        return function

    return declare


@mode()
def value_and_gradient(case: Case) -> Found:
    for p in case.points:
        yield numbad.value_and_gradient(case.one, p.x, p.y), (p.value("one"), *p.gradient()), case.exact
        yield numbad.grad(case.one)(p.x, p.y), p.gradient()[0], case.exact


@mode()
def jit_of_grad(case: Case) -> Found:
    run = numbad.jit(numbad.grad(case.one, (0, 1)))
    for k in (0, 1, 2, 0, 1, 2, 0):
        p = case.points[k]
        yield run(p.x, p.y), p.gradient(), case.exact


@mode()
def jit_of_values(case: Case) -> Found:
    run = numbad.jit(case.many)
    for k in (0, 1, 2, 0):
        p = case.points[k]
        yield run(p.x, p.y), case.names["many"](p.x, p.y), case.exact


@mode()
def grad_of_jit(case: Case) -> Found:
    run = numbad.grad(numbad.jit(case.one), (0, 1))
    for k in (0, 1, 2, 0):
        p = case.points[k]
        yield run(p.x, p.y), p.gradient(), case.exact


@mode()
def grad_of_checkpoint(case: Case) -> Found:
    p = case.points[0]
    yield numbad.grad(numbad.checkpoint(case.one), (0, 1))(p.x, p.y), p.gradient(), case.exact


@mode()
def vmap_of_values(case: Case) -> Found:
    xs, ys = case.batch
    expected = np.stack([np.asarray(p.value("many")) for p in case.points])
    yield numbad.vmap(case.many)(xs, ys), expected, case.exact
    run = numbad.jit(numbad.vmap(case.many))
    for _ in range(2):
        yield run(xs, ys), expected, case.exact


@mode()
def vmap_of_grad(case: Case) -> Found:
    xs, ys = case.batch
    both = numbad.grad(case.one, (0, 1))
    yield numbad.vmap(both)(xs, ys), case.stacked([p.gradient() for p in case.points]), case.exact
    expected = case.stacked([case.at(k, 1).gradient() for k in range(3)])
    yield numbad.vmap(both, (0, None))(xs, ys[1]), expected, case.exact
    expected = case.stacked([case.at(1, k).gradient() for k in range(3)])
    yield numbad.vmap(both, (None, 0))(xs[1], ys), expected, case.exact


@mode()
def jit_of_vmap_of_grad(case: Case) -> Found:
    xs, ys = case.batch
    both = numbad.grad(case.one, (0, 1))
    for axes, pick in (((0, 0), lambda k: (k, k)), ((0, None), lambda k: (k, 1)), ((None, 0), lambda k: (1, k))):
        run = numbad.jit(numbad.vmap(both, axes))
        for order in ((0, 1, 2), (2, 0, 1), (0, 1, 2)):
            given = [a[list(order)] if axis == 0 else a[1] for a, axis in zip((xs, ys), axes, strict=True)]
            yield run(*given), case.stacked([case.at(*pick(k)).gradient() for k in order]), case.exact


def has_few_columns(case: Case) -> bool:
    """Whether the Jacobian of `many` is small enough to be compared."""
    return case.short and case.points[0].value("many").size * case.program.shapes[0][0] < 2_000_000


@mode(has_few_columns)
def jacfwd_of_many(case: Case) -> Found:
    run = numbad.jit(numbad.jacfwd(case.many))
    for p in case.points[:2]:
        yield numbad.jacfwd(case.many)(p.x, p.y), p.columns(), case.exact
        yield run(p.x, p.y), p.columns(), case.exact
    yield run(case.points[0].x, case.points[0].y), case.points[0].columns(), case.exact


@mode(lambda case: has_few_columns(case) and case.points[0].value("many").size < 600)
def jacrev_of_many(case: Case) -> Found:
    run = numbad.jit(numbad.jacrev(case.many))
    for p in case.points[:2]:
        yield numbad.jacrev(case.many)(p.x, p.y), p.columns(), case.exact
        yield run(p.x, p.y), p.columns(), case.exact


@mode()
def jacrev_of_few(case: Case) -> Found:
    run = numbad.jit(numbad.jacrev(case.few, (0, 1)))
    for p in case.points:
        expected = p.jacobian(0), p.jacobian(1)
        yield numbad.jacrev(case.few, (0, 1))(p.x, p.y), expected, case.exact
        yield run(p.x, p.y), expected, case.exact
    p = case.points[0]
    yield numbad.jacobian(case.few, p.x, p.y, argnums=1), p.jacobian(1), case.exact


@mode(lambda case: case.program.shapes[0][0] < 600)
def jacfwd_of_few(case: Case) -> Found:
    run = numbad.jit(numbad.jacfwd(case.few, (0, 1)))
    for p in case.points:
        expected = p.jacobian(0), p.jacobian(1)
        yield numbad.jacfwd(case.few, (0, 1))(p.x, p.y), expected, case.exact
        yield run(p.x, p.y), expected, case.exact


@mode(lambda case: case.program.shapes[0][0] < 600)
def vmap_of_jacobians(case: Case) -> Found:
    xs, ys = case.batch
    expected = np.stack([p.jacobian(0) for p in case.points])
    yield numbad.vmap(numbad.jacrev(case.few))(xs, ys), expected, case.exact
    yield numbad.jit(numbad.vmap(numbad.jacfwd(case.few)))(xs, ys), expected, case.exact


@mode()
def jvp(case: Case) -> Found:
    run = numbad.jit(lambda x, y, u, v: numbad.jvp(case.many, (x, y), (u, v)))
    for k, p in enumerate(case.points):
        expected = p.value("many"), p.tangent("many", k)
        yield numbad.jvp(case.many, (p.x, p.y), p.direction(k)), expected, case.exact
        yield run(p.x, p.y, *p.direction(k)), expected, case.exact


@mode()
def pushforward_of_many_tangents(case: Case) -> Found:
    p = case.points[0]
    us, vs = (np.stack(parts) for parts in zip(*(p.direction(k) for k in range(3)), strict=True))
    expected = np.stack([p.tangent("few", k) for k in range(3)])
    yield numbad.vmap(lambda u, v: numbad.jvp(case.few, (p.x, p.y), (u, v))[1])(us, vs), expected, case.exact
    value, push = numbad.linearize(case.few, p.x, p.y)
    yield (value, push(us[1], vs[1])), (p.value("few"), expected[1]), case.exact
    yield numbad.vmap(push)(us, vs), expected, case.exact


@mode()
def vjp_twice(case: Case) -> Found:
    p = case.points[0]
    rows = p.rows()
    units = np.eye(len(rows), dtype=case.dtype)
    value, pull = numbad.vjp(case.few, p.x, p.y)
    yield value, p.value("few"), case.exact
    for k in (*range(len(rows)), 0):
        yield pull(units[k]), rows[k], case.exact
    mixed = units.sum(axis=0) - 3.0 * units[0]
    expected = tuple(sum(w * row[k] for w, row in zip(mixed, rows, strict=True)) for k in range(2))
    yield pull(mixed), expected, case.exact
    yield numbad.vmap(pull)(units), case.stacked(rows), case.exact
    run = numbad.jit(lambda x, y, u: numbad.vjp(case.few, x, y)[1](u))
    for k in (0, 1, 0):
        q = case.points[k]
        yield run(q.x, q.y, units[-1]), q.rows()[-1], case.exact


@mode(lambda case: case.short and case.dtype == np.float64)
def hessians(case: Case) -> Found:
    run = numbad.jit(numbad.hessian(case.one))
    for p in (case.points[0], case.points[1]):
        units = np.eye(p.x.size)
        expected = p.once("hessian", lambda p=p, units=units: np.stack([p.curvature(unit) for unit in units]))
        yield numbad.hessian(case.one)(p.x, p.y), expected, SECOND
        yield run(p.x, p.y), expected, SECOND
        yield numbad.jacrev(numbad.grad(case.one))(p.x, p.y), expected, SECOND
    xs, ys = case.batch
    expected = np.stack([p.kept["hessian"] for p in case.points[:2]])
    yield numbad.vmap(numbad.hessian(case.one))(xs[:2], ys[:2]), expected, SECOND


@mode(lambda case: case.dtype == np.float64)
def hessian_times_vector(case: Case) -> Found:
    run = numbad.jit(lambda x, y, v: numbad.hvp(lambda x: case.one(x, y), x, v))
    for p in (case.points[0], case.points[1]):
        v = p.direction(7)[0]
        expected = p.once("curvature", lambda p=p, v=v: p.curvature(v))
        yield numbad.hvp(lambda x, p=p: case.one(x, p.y), p.x, v), expected, SECOND
        yield run(p.x, p.y, v), expected, SECOND
    slope = lambda x: np.sum(numbad.grad(case.one)(x, p.y) * v)
    yield numbad.grad(slope)(p.x), expected, SECOND
    xs, ys = case.batch
    expected = np.stack([p.kept["curvature"] for p in case.points[:2]])
    batched = numbad.vmap(lambda x, y: numbad.hvp(lambda x: case.one(x, y), x, v))
    yield batched(xs[:2], ys[:2]), expected, SECOND


def on_tape(case: Case, tape: Any, name: str, p: Point, run: Callable[[], Any]) -> tuple[bool, Any]:
    """Run a tape at another point than that of its recording; both ways have to agree on whether it can be."""
    try:
        reference.run(case.points[0].tape(name), p.x, p.y)
    except numbad.BranchError:
        try:
            run()
        except numbad.BranchError:
            return False, None
        raise AssertionError("the reference met another branch, the tape did not") from None
    return True, run()


@mode()
def recorded_tapes(case: Case) -> Found:
    p = case.points[0]
    tape = numbad.record(case.one, p.x, p.y)
    stream = io.BytesIO()
    tape.save(stream)
    stream.seek(0)
    tapes = [tape, numbad.load(stream), pickle.loads(pickle.dumps(tape)), tape.optimise(), tape]
    for kind, p in itertools.product(tapes, case.points):
        fine, found = on_tape(case, kind, "one", p, lambda kind=kind, p=p: kind.value_and_gradient(p.x, p.y))
        if fine:
            yield found, (p.value("one"), p.gradient()), case.exact


@mode()
def products_of_tapes(case: Case) -> Found:
    first = case.points[0]
    tape = numbad.record(case.few, first.x, first.y)
    for p in case.points:
        fine, found = on_tape(case, tape, "few", p, lambda p=p: tape.jvp((p.x, p.y), p.direction()))
        if not fine:
            continue
        yield found, (p.value("few"), p.tangent("few")), case.exact
        value, pull = tape.vjp(p.x, p.y)
        unit = np.eye(len(value), dtype=case.dtype)[-1]
        yield (value, pull(unit), pull(unit)), (p.value("few"), p.rows()[-1], p.rows()[-1]), case.exact
        if case.program.shapes[0][0] < 600:
            yield tape.jacobian(p.x, p.y), (p.jacobian(0), p.jacobian(1)), case.exact


@mode()
def gradient_map(case: Case) -> Found:
    first = case.points[0]
    tape = numbad.record(case.one, first.x, first.y)
    xs, ys = case.batch
    try:
        for p in case.points:
            reference.run(first.tape("one"), p.x, p.y)
    except numbad.BranchError:
        return
    yield tape.gradient_map(xs, ys), case.stacked([p.gradient() for p in case.points]), case.exact
    expected = case.stacked([case.at(k, 0).gradient() for k in range(3)])
    yield tape.gradient_map(xs, ys[0]), expected, case.exact


def is_tiny(case: Case) -> bool:
    """Whether a program may run on very many examples, in both precisions."""
    tape = case.points[0].tape("one")
    return tape.size < 400 and len(tape) < 200 and not tape.hosts


@mode(is_tiny)
def many_examples(case: Case) -> Found:
    random = np.random.default_rng(case.program.seed)
    count = int(random.choice([63, 65, 513, 4097, 32767, 32769]))
    first = case.points[0]
    chosen = sorted({0, 1, count // 2, count - 1, *random.integers(0, count, 6).tolist()})
    xs, ys = ((a + random.uniform(-0.05, 0.05, (count, *a.shape))).astype(case.dtype) for a in (first.x, first.y))
    both = numbad.grad(case.one, (0, 1))
    expected = [Point(case.names, xs[k], ys[k]).gradient() for k in chosen]
    for run in (numbad.vmap(both), numbad.jit(numbad.vmap(both)), numbad.vmap(numbad.jit(both))):
        found = run(xs, ys)
        yield tuple(part[chosen] for part in found), case.stacked(expected), case.exact
    shared = [Point(case.names, first.x, ys[k]).gradient() for k in chosen]
    for run in (numbad.vmap(both, (None, 0)), numbad.jit(numbad.vmap(both, (None, 0)))):
        found = run(first.x, ys)
        yield tuple(part[chosen] for part in found), case.stacked(shared), case.exact


@mode()
def four_threads(case: Case) -> Found:
    run = numbad.jit(numbad.grad(case.one, (0, 1)))
    tape = numbad.record(case.one, case.points[0].x, case.points[0].y)
    found: list[Any] = [None] * 4

    def work(k: int) -> None:
        p = case.points[k % 3]
        same = case.points[0]
        try:
            found[k] = [
                run(p.x, p.y),
                tape.gradient(same.x, same.y),
                numbad.gradient(case.one, p.x, p.y),
                run(p.x, p.y),
            ]
        except Exception as error:  # the thread that asked raises it
            found[k] = error

    threads = [threading.Thread(target=work, args=(k,)) for k in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for k in range(4):
        if isinstance(found[k], Exception):
            raise found[k]
        p = case.points[k % 3]
        yield found[k], [p.gradient(), case.points[0].gradient(), p.gradient(), p.gradient()], case.exact


@mode(lambda case: case.dtype == np.float64)
def reference_beside_numpy(case: Case) -> Found:
    """The reference against the complex step, which is NumPy's."""
    for p in case.points:
        for k in range(2):
            along = p.direction(k)
            value, slope = complex_step(case.program, p.x, p.y, along, "one")
            yield p.value("one"), value, EXACT
            yield sum(float(np.sum(g * v)) for g, v in zip(p.gradient(), along, strict=True)), slope, EXACT
            yield p.tangent("many", k), complex_step(case.program, p.x, p.y, along, "many")[1], EXACT


# ---------------------------------------------------------------- running, and making a failure small


@dataclasses.dataclass
class Failure:
    """A program and a mode that went wrong, and how."""

    program: Program
    mode: str
    dtype: str
    what: str

    def __str__(self) -> str:
        return (f"seed {self.program.seed}, {self.mode}, {self.dtype}, x of shape {self.program.shapes[0]}: {self.what}\n"
                f"    python tests/modes.py --seed {self.program.seed} --count 1 --mode {self.mode}")  # fmt: skip


def check(case: Case, name: str) -> tuple[int, str]:
    """Run one mode; return how many results were compared, and what went wrong, or nothing."""
    run, fits = MODES[name]
    count = 0
    try:
        if not fits(case):
            return 0, ""
        for found, expected, rtol in run(case):
            count += 1
            if not close(found, expected, rtol):
                return count, describe(count, found, expected)
    except Unsure:
        pass
    except Exception as error:
        lines = traceback.format_exception(error)
        return count, f"raised {type(error).__name__}: {error}\n{''.join(lines[-3:-1])}"
    return count, ""


def describe(count: int, found: Any, expected: Any) -> str:
    """Say how results differ."""
    texts = []
    for a, b in zip(leaves(found), leaves(expected), strict=False):
        if a.shape != b.shape:
            texts.append(f"shape {a.shape}, expected {b.shape}")
            continue
        distance = np.abs(np.nan_to_num(a.astype(float), nan=1e300) - b)
        if a.size and float(distance.max()) > 0.0:
            worst = np.unravel_index(int(distance.argmax()), a.shape)
            many = int((distance > 1e-9 * max(1.0, float(np.abs(b).max()))).sum())
            texts.append(f"{a[worst]!r} at {tuple(map(int, worst))}, expected {b[worst]!r}; {many} of {a.size} differ")
    return f"result {count}: " + ("; ".join(texts) or "another structure")


def single(case: Case) -> bool:
    """Whether a program says something in single precision: its numbers are those of double precision, roughly."""
    double = Case(case.program)
    for p, q in zip(case.points, double.points, strict=True):
        if not close(p.gradient(), q.gradient(), 3e-3) or not close(p.value("many"), q.value("many"), 3e-3):
            return False
    return all(part.dtype == np.float32 for p in case.points for part in leaves(p.gradient()))


def check_program(program: Program, chosen: tuple[str, ...] = (), dtypes: Any = (np.float64, np.float32)) -> Any:
    """Run a program in the chosen modes (all by default); return how many results were compared, and the failures."""
    count, failures = 0, []
    for dtype in dtypes:
        case = Case(program, dtype)
        try:
            if not all(np.isfinite(leaf).all() for p in case.points for leaf in leaves(p.gradient())):
                continue
            if dtype == np.float32 and not single(case):
                continue
        except Exception as error:
            failures.append(
                Failure(program, "reference", np.dtype(dtype).name, f"raised {type(error).__name__}: {error}")
            )
            continue
        for name in chosen or MODES:
            compared, what = check(case, name)
            count += compared
            if what:
                failures.append(Failure(program, name, np.dtype(dtype).name, what))
    return count, failures


def smaller(failure: Failure, seconds: float = 60.0) -> Program:
    """Return a program with fewer steps that fails in the same mode."""
    program, stop = failure.program, time.monotonic() + seconds
    changed = True
    while changed:
        changed = False
        for trial in simpler(program):
            if time.monotonic() > stop:
                return program
            try:
                trial.run_text(np)["one"](*trial.point(0))
                _, failures = check_program(trial, (failure.mode,), (np.dtype(failure.dtype),))
            except Exception:
                continue
            if failures and failures[0].what.split(":")[0][:6] == failure.what.split(":")[0][:6]:
                program, changed = trial, True
                break
    return program


def simpler(program: Program) -> Iterator[Program]:
    """Yield programs that lack one result or one step of a program."""
    if len(program.results) > 1:
        for k in range(len(program.results)):
            yield dataclasses.replace(program, results=program.results[:k] + program.results[k + 1 :])
    for k in reversed(range(len(program.steps))):
        yield dataclasses.replace(program, steps=program.steps[:k] + program.steps[k + 1 :])


def main() -> int:
    """Run random programs for a time, or a number of them; print what differs."""
    parser = argparse.ArgumentParser(description="Random programs in all modes, against the reference.")
    parser.add_argument("--hours", type=float, default=0.0, help="how long")
    parser.add_argument("--count", type=int, default=0, help="how many programs, if no time is given")
    parser.add_argument("--seed", type=int, default=0, help="the first program's seed")
    parser.add_argument("--mode", action="append", default=[], choices=sorted(MODES), help="this mode only")
    parser.add_argument("--show", action="store_true", help="print each program's text")
    options = parser.parse_args()
    start, seed, total, differences = time.monotonic(), options.seed, 0, 0
    while time.monotonic() - start < 3600.0 * options.hours or seed - options.seed < options.count:
        program = make(seed)
        seed += 1
        if options.show:
            print(program.text())
        count, failures = check_program(program, tuple(options.mode))
        total += count
        differences += len(failures)
        for failure in failures:
            print(failure, flush=True)
        if failures:
            print("    smallest program for the first of them:\n" + smaller(failures[0]).text(), flush=True)
    seconds = time.monotonic() - start
    print(f"{seed - options.seed} programs, {total} combinations, {differences} differences, {seconds:.0f} s")
    return int(differences > 0)


if __name__ == "__main__":
    raise SystemExit(main())
