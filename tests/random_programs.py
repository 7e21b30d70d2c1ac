"""Random NumPy programs, from a seed: what `modes` runs in every mode of numbad.

A program is text: a function of an array `x` and a small array `y` that builds on what it has computed so far, a step
after the other. Its steps are what NumPy users write: elementwise functions, selections, reductions, products, views
and assignments through them, lists of indices, windows, joins, loops, Python kernels, branches, constants of any size.
The length of its arrays lies on one side or the other of a limit at which numbad takes another way.

A complex step differentiates a program without numbad: NumPy runs it at x + 1e-20i v, with `Complex` in place of the
functions that are not analytic.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from scipy import special

from numbad.limits import SMALL_LIMITS

LARGEST = 8.0  # results beyond are scaled down, so that errors do not grow without end
# Lengths, on both sides of limits, and how often each is taken.
SIZES = {2: 3, 3: 3, 7: 3, 63: 2, 64: 2, 65: 2, 129: 2, 511: 2, 512: 2, 513: 2, 1023: 1, 1025: 2, 2047: 1, 2049: 2}
SIZES |= {4095: 2, 4096: 2, 4097: 2, 8195: 2, 16385: 1, 32767: 2, 32768: 2, 32769: 2, 65537: 0.4, 131073: 0.4}
if SMALL_LIMITS:
    SIZES = dict.fromkeys([2, 3, 4, 5, 6, 7, 8, 9, 11, 12, 13, 15, 16, 17, 24, 31, 33, 47, 63, 65], 1.0)

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


class ComplexSpecial:
    """scipy.special for a complex step; its Bessel functions of negative numbers are only right to 1e-17 or so."""

    def __getattr__(self, name: str) -> Any:
        return getattr(special, name)

    @staticmethod
    def jv(order: int, a: Any) -> Any:
        return special.jv(order, np.real(a)) + 1j * np.imag(a) * special.jvp(order, np.real(a))

    @staticmethod
    def iv(order: int, a: Any) -> Any:
        return special.iv(order, np.real(a)) + 1j * np.imag(a) * special.ivp(order, np.real(a))


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

    def text(self) -> str:
        """Return the program's text: `parts` gives a list, `many` an array, `few` some numbers, and `one` a number."""
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
        if isinstance(module, Complex):
            names["special"] = ComplexSpecial()
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

# Templates. `{a}` is an earlier result, of a shape that the table asks for; `{n}` its length, `{k}` that of its last
# axis, `{h}` half of its length. `{c}` is another of its shape, or a number; `{s}` one of its shape; `{l}` one of one
# axis; `{r}` a number. `{t}` is a threshold, `{m}` a small count, `{size}` the program's length. `{C[n,k]}` is a new
# constant array, `{I[5,n]}` a new list of five indices below n, `{M[n]}` a new mask. `{v}` is the result of several
# statements, in which `;` stands for a new line, `>` for an indentation.

ELEMENTWISE = """
np.sin({a})
np.cos({a}) - 0.5
np.tanh({a})
np.exp(0.3 * {a})
np.log(1.5 + {a} * {a})
np.sqrt(0.5 + {a} ** 2)
np.arctan({a})
-{a}
{a} ** 2 * 0.5
{a} ** 3 * 0.1
{a} * 1.0
1.0 / (1.2 + {a} * {a})
np.abs({a}) - 0.4
np.square({a}) - 0.3
np.sinh(0.3 * {a})
{a} - 0.25
np.log1p({a} * {a})
np.expm1(0.2 * {a})
0.3 * {a} + np.sign({a})
2.0 ** (0.3 * {a})
{a} * {c}
{a} + {c}
{a} - 0.7 * {c}
{a} / (1.1 + {c} * {c})
np.maximum({a}, {c})
np.minimum({a}, 0.8 * {c})
np.hypot({a}, 0.3 + {c})
np.arctan2({a}, 2.0 + {c} * {c})
np.where({a} > {c}, {a} * {c}, {c} - {a})
(0.6 + {a} * {a}) ** (0.5 * np.tanh({c}))
np.where({a} > {t}, np.sin({a}), {c})
np.clip({a}, {t}, {t} + 0.7)
np.maximum({a}, {t})
np.where(({a} < {t}) & ({c} > 0.0), {a} * {c}, 0.3)
np.abs({a} - {t})
np.where({a} > {t}, np.sqrt(np.where({a} > {t}, {a} - {t} + 0.1, 1.0)), 0.0)
"""
CONSTANTS = """
{a} * {C[...]}
{a} * {C[k]}
{a} * {C[()]}
{C[...]} - {a}
{a} / (1.5 + {C[k]})
np.where({C[...]} > 0.2, {a}, -0.5 * {a})
np.maximum({a}, {C[...]})
{a} * {M[...]}
np.where({M[...]}, {a}, {a} * {c})
{a} * {C[...]} + {a}
"""
REDUCTIONS = """
np.sum({a}, axis=0)
np.sum({a}, axis=-1)
np.mean({a}, axis={axis})
np.max({a}, axis={axis})
np.min({a}, axis={axis})
np.std({a} + np.cos({C[...]}), axis={axis})
np.var({a}, axis={axis})
{a} - np.sum({a}, axis={axis}, keepdims=True) * 0.1
{a} - np.max({a}, axis=-1, keepdims=True)
{a} / (1.0 + np.mean({a} * {a}, axis={axis}, keepdims=True))
np.linalg.norm({a})
np.prod(1.0 + 0.1 * {a}.reshape(-1)[:9])
"""
LAYOUTS = """
{a}.reshape({rows}, -1)
{a}.reshape(-1, {rows})
{a}.reshape({rows}, -1).T
{a}.T
{a}.reshape(-1)
{a}.ravel()[::-1]
{a}[..., None] * {C[2]}
np.broadcast_to({a}, (2, *{a}.shape)) * 1.0
np.swapaxes({a}.reshape({rows}, 1, -1), 0, 2)
np.roll({a}, 2)
"""
VECTOR_PRODUCTS = """
{a} @ {s}
np.dot({a}, {C[n]})
{a} @ {C[n,m]}
{C[m,n]} @ {a}
np.outer({a}, y)
np.einsum('i,ij,i->j', {a}, {C[n,m]}, {a})
np.inner({C[m,n]}, {a})
np.vdot({a}, {C[n]})
"""
MATRIX_PRODUCTS = """
{a} @ {C[k]}
{a} @ {C[k,m]}
{C[m,n]} @ {a}
np.einsum('ij,ij->i', {a}, {s})
np.einsum('ij->j', {a})
np.einsum('ij,j->i', {a}, {a}[0])
np.einsum('ij,kj->ik', {a}, {C[m,k]})
np.matmul({a}.T, {C[n,m]})
np.sum({a}[:, None, :] * {C[m,1]}, axis=0)
"""
SMALL_PRODUCTS = """
{a} @ {a}.T
{a}.T @ {a}
np.einsum('ij,ik->jk', {a}, {a})
np.tensordot({a}, {C[n,k]}, axes=([0], [0]))
"""
CUTS = """
{a}[1:]
{a}[:-1] - {a}[1:]
{a}[::2]
{a}[::-1]
{a}[::-3] * 1.0
{a}[{h}]
{a}[-1]
{a}[1:-1] * 0.5
{a}[..., ::-1]
{a}[..., 0]
{a}[{h}:, ...][::-1]
{a} + {a}[::-1]
np.flip({a})
np.diff({a}, axis=0)
"""
LISTS = """
{a}[{I[4,n]}]
{a}[{I[7,n]}]
{a}[{I[size,n]}]
{a}[..., {I[5,k]}]
{a}[{M[n]}]
np.take({a}, {I[6,n]}, axis=0)
{a}[[0, -1, 0, 1]]
{a}[{I[6,n]}.reshape(2, 3)]
"""
COPIES = """
{v} = {a}.copy()
{v} = {a} * 1.0
{v} = np.zeros_like({a}); {v}[...] = {a}
"""
ASSIGNMENTS = """
w = {v}[1:-1]; w *= 0.5; w[0] = {a}[-1]
{v}[::2] = {a}[::-1][: len({v}[::2])]
{v}[[0, 2, 1, -1]] = np.sin({a}[[1, 1, 0, 2]])
{v}[[0, 2, 1, -1]] += {a}[0] * 0.25
{v}[{M[n]}] = 0.25
np.add.at({v}, {I[5,n]}, {a}[:5][0])
w = {v}.T[..., ::-1]; w[..., 1:] += 0.3
{v} += {c}; {v}[{h}] = 0.5 * {v}[0]
{v}[1:] += {v}[:-1]
{v}[{h}:] = {v}[: {n} - {h}] * 2.0; {v}[0] -= 1.0
w = {v}.reshape(-1); w[1:4] = w[:3] * {a}.reshape(-1)[-1]
"""
FILLED = """
{v} = np.zeros_like(np.stack([{a}, {a}, {a}]))
{v} = np.zeros_like(np.concatenate([{a}, {a}, {a}])).reshape(3, -1)
"""
FILLED_HERE = """
{v} = np.zeros((3, {n}))
{v} = np.zeros({n} * 3).reshape(3, -1)
"""
FILLINGS = """
{v}[0] = np.sin({a}); {v}[1] = {a} * 0.5; {v}[2] += 0.5
{v}[0] = np.sin({a}); {v}[-1] = {a} * 0.5; {v}[:, 1] += {a}[0]
{v}[0] = {s}; {v}[1, ::2] = {a}[::2]; {v}[1:, 1] += 0.5
{v}[:2] = {a}; {v}[2] = {a}[::-1] * {s}
"""
WINDOWS = """
{w}.sum(axis=1)
{w} @ {C[width]}
np.max({w}, axis=1)
np.sum({w}.copy() ** 2, axis=0)
{w} * {C[width]}
np.einsum('ij,j->i', {w}, {C[width]})
np.mean(np.tanh({w}), axis=-1)
{w}.T @ {w}
special.erf({w}).sum(axis=1)
np.sort({w}, axis=1)[:, 0]
"""
JOINS = """
np.concatenate([{a}, {l}])
np.concatenate([{a}, {l}, {a}[::-1]])
np.stack([{a}, {s}])
np.concatenate([np.stack([{r}, {a}[0], {r}]), {l}])
np.hstack([{l}, {a}])
np.stack([{a}, {s}], axis=1)
np.vstack([{a}, {s}, {a}])
np.tile({a}, 2)
np.append({a}, {r})
np.column_stack([{a}, {s}])
np.repeat({a}, 2)
np.concatenate([{a}, {C[3]}, {l}])
np.pad({a}, (1, 2))
"""
LOOPS = """
{v} = {a}; for k in range({m} + 1):; >{v} = 0.6 * {v} + np.sin({v} + 0.1 * k)
{v} = {a}.copy(); for k in range(min(9, {n} - 1)):; >{v}[k + 1] = 0.5 * {v}[k] + {v}[k + 1] * 0.25
{v} = {r}; for k in range({turns}):; >{v} = 0.9 * {v} + 0.1 * np.sin({v} * x[k % len(x)] + 0.01 * k)
{v} = {a}[0] * 0.0; for k in range(min({n}, 30)):; >{v} = {v} + {a}[k] * np.cos({v} + {a}[-k])
w = [{r}, y[0]]; for k in range(60):; >w.append(0.5 * w[-1] + 0.3 * w[-2] * {r}); {v} = np.stack(w)
{v} = {a}; w = {a} * 0.0; for k in range({m}):; >w = 0.9 * w - 0.1 * {v}; >{v} = {v} + w
"""
KERNELS = """
np.cumsum({a}) / {n}
np.sort({a})
np.linalg.solve({square}, y[:2])
np.linalg.inv({square})
np.linalg.det({square})
np.linalg.slogdet({square})[1]
np.linalg.matrix_power({square}, 3)
special.erf({a})
special.loggamma(1.5 + {a} ** 2)
special.psi(1.5 + {a} ** 2)
special.dawsn({a})
special.jv(0, {a})
special.kv(1.5, 1.5 + {a} ** 2)
special.iv(1, {a})
np.cumprod(1.0 + 0.1 * np.sin({a}[:20]))
np.convolve({a}[:400], {l}[:3])
np.cumsum({a}.reshape(-1, 1) * y, axis=0)[:, 1] / {n}
np.sort({a}.reshape({rows}, -1), axis=0)
{a}[np.argsort({a})][::2]
np.trapezoid({a}) / {n}
"""
BRANCHES = """
if np.sum({a}) > {t}:; >{v} = {a} * 1.25; else:; >{v} = np.sin({a})
{v} = {a}[whole(np.abs(y[0]) * 3.0) % {n}]
{v} = np.sum({a}) * 0.01; while np.abs({v}) < 1.0:; >{v} = {v} * 1.9 + 0.07 * np.sign({v})
w = np.argmax({a}.reshape(-1)); {v} = {a}.reshape(-1)[w] * {a}
{v} = {a}; for k in range(2):; >if y[k] > x[0]:; >>{v} = {v} * y[k]; >else:; >>{v} = {v} + x[0]
"""
SPREADS = """
x[{I[size,n]}] * {C[size]}
{C[size,n]} @ x
np.outer(x, {C[size]}).reshape(-1)[::{n}]
x[0] * {C[size]} + x[1]
np.repeat(x, {size})[:{size}] + {C[size]}
np.concatenate([x[0] * {C[half]}, x[-1] * {C[size]}])[:{size}]
np.sum(x * y[0]) * {C[size]}
np.tile(x, {size})[:{size}] * {C[size]}
np.sin(x[:, None] * {C[size]})[1]
"""

Fits = Callable[[tuple[int, ...]], bool]
ANY: Fits = lambda shape: True
ARRAY: Fits = lambda shape: len(shape) > 0
LONG: Fits = lambda shape: len(shape) > 0 and shape[0] > 3
LINE: Fits = lambda shape: len(shape) == 1 and shape[0] > 1
LONG_LINE: Fits = lambda shape: len(shape) == 1 and shape[0] > 5
MATRIX: Fits = lambda shape: len(shape) == 2
SMALL_MATRIX: Fits = lambda shape: len(shape) == 2 and max(shape) ** 2 * min(shape) < 300_000 and shape[0] < 300
TABLES: list[tuple[float, Fits, tuple[str, ...]]] = [
    (8.0, ANY, (ELEMENTWISE,)),
    (2.5, ARRAY, (CONSTANTS,)),
    (2.0, ARRAY, (REDUCTIONS,)),
    (1.5, ARRAY, (LAYOUTS,)),
    (1.2, LINE, (VECTOR_PRODUCTS,)),
    (1.2, MATRIX, (MATRIX_PRODUCTS,)),
    (0.7, SMALL_MATRIX, (SMALL_PRODUCTS,)),
    (1.5, LONG, (CUTS,)),
    (1.5, LONG, (LISTS,)),
    (1.7, LONG, (COPIES, ASSIGNMENTS)),
    (0.7, LINE, (FILLED, FILLINGS)),
    (0.5, LINE, (FILLED_HERE, FILLINGS)),
    (1.3, LONG_LINE, (WINDOWS,)),
    (1.7, LINE, (JOINS,)),
    (1.0, LONG, (LOOPS,)),
    (1.2, LONG_LINE, (KERNELS,)),
    (0.6, ARRAY, (BRANCHES,)),
]


class Unfit(Exception):
    """A step that does not fit what the program has computed so far."""


class Constants:
    """Makes a constant for each use of a template: `{C[n,k]}` asks for the shape (n, k), `...` is that of `{a}`."""

    def __init__(self, words: Words, text: str) -> None:
        self.words, self.text = words, text

    def __getitem__(self, lengths: str | int) -> str:
        builder = self.words.builder
        shape = builder.shape(self.words["a"]) if lengths == "..." else self.measure(str(lengths).strip("()"))
        name = f"C{builder.count}_{len(self.words.made)}"
        given = {"seed": builder.random.integers(9999), "shape": shape}
        self.words.made.append(f"{name} = {self.text.format(**given)}")
        return name

    def measure(self, lengths: str) -> tuple[int, ...]:
        """Return a shape: numbers, and words for numbers."""
        return tuple(int(part) if part.isdigit() else self.words[part] for part in lengths.split(",") if part)


class Words(Mapping[str, Any]):
    """What the words of a template stand for, found when they are met."""

    def __init__(self, builder: Builder, a: str) -> None:
        self.builder, self.made = builder, list[str]()
        shape = builder.shape(a)
        size = int(np.prod(shape))
        self.known: dict[str, Any] = {"a": a, "size": builder.size, "half": builder.size // 2, "v": f"v{builder.count}"}
        self.known |= {"C": Constants(self, "constant({seed}, {shape})"), "M": Constants(self, "mask({seed}, {shape})")}
        self.known |= {"I": Constants(self, "places({seed}, *{shape})")}
        if shape:
            self.known |= {"n": shape[0], "k": shape[-1], "h": shape[0] // 2}
            self.known["rows"] = next(r for r in (builder.some(2, 3, 4, 5), 3, 2, 7, 1) if size % r == 0)
            self.known["axis"] = builder.some(*range(-len(shape), len(shape)))
        self.known["square"] = f"({a}[:4].reshape(2, 2) * 0.2 + numpy.diag([2.0, 3.0]).astype(DTYPE))"

    def __getitem__(self, word: str) -> Any:
        if word not in self.known:
            self.known[word] = self.find(word)
        return self.known[word]

    def find(self, word: str) -> Any:
        """Return what a word stands for in this step."""
        builder, shape = self.builder, self.builder.shape(self.known["a"])
        if word == "c":
            beside = (shape, (), *([shape[1:], (1, shape[1])] if len(shape) == 2 else []))
            return builder.pick(lambda other: other in beside)
        if word == "t":
            return f"({builder.random.uniform(-0.5, 0.5):.2f})"
        if word == "w":
            return f"sliding_window_view({self['a']}, {self['width']}){builder.some('', '', '[::2]', '[::-1]')}"
        numbers = {"turns": (20, 200, 450), "m": (1, 2, 3, 5), "width": (2, 3, 4)}
        if word in numbers:
            return builder.some(*numbers[word])
        fits = {"s": lambda other: other == shape, "r": lambda other: other == (), "l": LINE}
        return builder.pick(fits[word])

    def __iter__(self) -> Any:
        return iter(self.known)

    def __len__(self) -> int:
        return len(self.known)


class Builder:
    """A program that grows, and its values at one point, which decide what may come next."""

    def __init__(self, seed: int, size: int, wide: bool) -> None:
        self.seed, self.size = seed, size
        self.random = np.random.default_rng([seed, size, wide])
        self.module = "numbad.numpy" if self.random.random() < 0.3 else "numpy"
        shape = (size,) if wide else (self.some(2, 3, 4, 5),)
        self.shapes = (shape, (self.some(2, 3),))
        empty = Program(seed, (), (), self.shapes, self.module)
        self.names = empty.run_text(np)
        self.names["x"], self.names["y"] = empty.point(0)
        self.pool = ["x", "y"]
        self.steps: list[str] = []
        self.count = 0

    def some(self, *choices: Any) -> Any:
        """Return one of some choices."""
        return choices[self.random.integers(len(choices))]

    def shape(self, name: str) -> tuple[int, ...]:
        """Return the shape of a name."""
        return np.shape(self.names[name])

    def pick(self, fits: Fits) -> str:
        """Return the name of an earlier result, recent and long ones more often."""
        found = [name for name in self.pool if fits(self.shape(name))]
        if not found:
            raise Unfit
        long = np.array([2 * np.size(self.names[name]) >= self.size for name in found])
        weights = np.arange(1.0, 1.0 + len(found)) * (1.0 + 2.0 * long)
        return found[self.random.choice(len(found), p=weights / weights.sum())]

    def write(self, fits: Fits, tables: tuple[str, ...]) -> str:
        """Return the text of a new step: a line of each table, filled in."""
        words = Words(self, self.pick(fits))
        lines = "; ".join(self.some(*table.strip().split("\n")) for table in tables).format_map(words)
        if words["v"] not in lines:
            lines = f"{words['v']} = {lines}"
        lines = lines.replace("; ", "\n").replace("\n>>", "\n        ").replace("\n>", "\n    ").replace(":;", ":")
        return "\n".join([*words.made, lines])

    def add(self, fits: Fits, tables: tuple[str, ...]) -> None:
        """Append a step of some tables, unless it does not fit."""
        if FILLED_HERE in tables and self.module != "numbad.numpy":
            return
        trial = dict(self.names)
        try:
            text = self.write(fits, tables)
            with np.errstate(all="ignore"):
                exec(text, trial)
        except Unfit:
            return
        new = f"v{self.count}"
        found = np.asarray(trial[new])
        if not np.isfinite(found).all() or not 0 < found.size <= max(6 * self.size, 500):
            return
        largest = float(np.max(np.abs(found)))
        if largest > LARGEST:
            text += f"\n{new} = {new} * {LARGEST / largest / 2:.2g}"
            exec(text.split("\n")[-1], trial)
        self.names = trial
        self.steps.append(text)
        self.pool.append(new)
        self.count += 1

    def program(self) -> Program:
        """Return the program so far: it returns its last results, and some others."""
        made = self.pool[2:]
        names = made[-3:] + [name for name in made[:-3] if self.random.random() < 0.3]
        return Program(self.seed, tuple(self.steps), tuple(names), self.shapes, self.module)


def make(seed: int) -> Program:
    """Return the program of a seed."""
    random = np.random.default_rng([seed, 5])
    weights = np.array(list(SIZES.values()), float)
    size = int(random.choice(list(SIZES), p=weights / weights.sum()))
    wide = bool(random.random() < 0.4)
    builder = Builder(seed, size, wide)
    if not wide:
        builder.add(lambda shape: shape == builder.shapes[0], (SPREADS,))
    chances = np.array([weight for weight, _, _ in TABLES])
    count = int(random.integers(3, 12))
    for _ in range(10 * count):
        if len(builder.steps) < count:
            _, fits, tables = TABLES[random.choice(len(TABLES), p=chances / chances.sum())]
            builder.add(fits, tables)
    return builder.program()
