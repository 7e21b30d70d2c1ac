"""Random NumPy programs in every mode of numbad: `python tests/modes.py --hours 1 --seed S`.

Each program of `random_programs` is run as `MODES` say, at several points, in double and single precision. Derivatives
are compared with those that `numbad.tapes.reference` finds on the tape of the same function at the same point, and
these with a complex step of NumPy itself. Second derivatives are compared with differences of the reference's
gradients.
"""

from __future__ import annotations

import argparse
import dataclasses
import io
import itertools
import pickle
import re
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

import numbad
import numbad.numpy
from numbad.tapes import reference
from random_programs import Complex, Program, make

# ---------------------------------------------------------------- what is expected


PLAIN = "is a plain array; it cannot hold recording values"


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


@mode(has_few_columns)
def sparse_jacobians(case: Case) -> Found:
    run = numbad.jit(numbad.sparse_jacobian(case.many))
    for p in case.points[:2]:
        shape = (-1, p.x.size)
        expected = p.columns().reshape(shape)
        yield numbad.sparse_jacobian(case.many)(p.x, p.y).toarray(), expected, case.exact
        yield numbad.sparse_jacobian(case.many, method="both")(p.x, p.y).toarray(), expected, case.exact
        yield run(p.x, p.y).toarray(), expected, case.exact


@mode(lambda case: case.short and case.dtype == np.float64)
def sparse_hessians(case: Case) -> Found:
    run = numbad.jit(numbad.sparse_hessian(case.one))
    for p in (case.points[0], case.points[1]):
        units = np.eye(p.x.size)
        expected = p.once("hessian", lambda p=p, units=units: np.stack([p.curvature(unit) for unit in units]))
        yield numbad.sparse_hessian(case.one)(p.x, p.y).toarray(), expected, SECOND
        yield numbad.sparse_hessian(case.one, method="star")(p.x, p.y).toarray(), expected, SECOND
        yield numbad.sparse_hessian(case.one, method="acyclic")(p.x, p.y).toarray(), expected, SECOND
        yield run(p.x, p.y).toarray(), expected, SECOND


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
        where = f"seed {self.program.seed}, {self.mode}, {self.dtype}, x of shape {self.program.shapes[0]}"
        return f"{where}: {self.what}\n    python tests/modes.py --seed {self.program.seed} --mode {self.mode}"


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
        if isinstance(error, numbad.RecordingError) and PLAIN in str(error):
            return count, ""  # x is held constant in this mode, and the program adds to an array that it has made of x
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
    """Yield programs that end earlier than a program, or lack one of its results or steps."""
    for k, step in enumerate(program.steps[:-1]):
        last = re.findall(r"^\s*(v\d+)\b", step, re.M)[-1]
        yield dataclasses.replace(program, steps=program.steps[: k + 1], results=(last,))
    if len(program.results) > 1:
        for k in range(len(program.results)):
            yield dataclasses.replace(program, results=program.results[:k] + program.results[k + 1 :])
    for k in reversed(range(len(program.steps))):
        yield dataclasses.replace(program, steps=program.steps[:k] + program.steps[k + 1 :])


def run_program(seed: int, chosen: tuple[str, ...]) -> tuple[int, int]:
    """Run a program and print what differs; return how many results were compared, and how many differ."""
    count, failures = check_program(make(seed), chosen)
    for failure in failures:
        print(failure, flush=True)
    if failures:
        print("    the smallest program that fails like the first:\n" + smaller(failures[0]).text(), flush=True)
    return count, len(failures)


def run_for(seconds: float, seed: int, chosen: tuple[str, ...]) -> tuple[int, int, int]:
    """Run programs for a time, each fifty in a process of their own; return how many, results, and differences.

    A process that dies is a difference: the seed that it was at is printed, and the next one goes on behind it.
    """
    stop, first, total, differences = time.monotonic() + seconds, seed, 0, 0
    options = [part for name in chosen for part in ("--mode", name)]
    with tempfile.TemporaryDirectory() as folder:
        note = Path(folder) / "note"
        while time.monotonic() < stop:
            command = [sys.executable, __file__, "--seed", str(seed), "--count", "50", "--note", str(note), *options]
            code = subprocess.run(command, check=False).returncode
            last, compared, different = map(int, note.read_text().split())
            if code not in (0, 1):
                print(f"seed {last}: the process ended with {code}", flush=True)
                different += 1
            total, differences, seed = total + compared, differences + different, last + 1
    return seed - first, total, differences


def main() -> int:
    """Run random programs for a time, or a number of them; print what differs."""
    parser = argparse.ArgumentParser(description="Random programs in all modes, against the reference.")
    parser.add_argument("--hours", type=float, default=0.0, help="how long")
    parser.add_argument("--count", type=int, default=1, help="how many programs, if no time is given")
    parser.add_argument("--seed", type=int, default=0, help="the first program's seed")
    parser.add_argument("--mode", action="append", default=[], choices=sorted(MODES), help="this mode only")
    parser.add_argument("--note", type=Path, help="write the last seed, and what was counted before, to this file")
    options = parser.parse_args()
    start, chosen, count, total, differences = time.monotonic(), tuple(options.mode), options.count, 0, 0
    if options.hours:
        count, total, differences = run_for(3600.0 * options.hours, options.seed, chosen)
    else:
        for seed in range(options.seed, options.seed + count):
            if options.note:
                options.note.write_text(f"{seed} {total} {differences}")
            compared, different = run_program(seed, chosen)
            total, differences = total + compared, differences + different
        if options.note:
            options.note.write_text(f"{seed} {total} {differences}")
            return int(differences > 0)
    seconds = time.monotonic() - start
    print(f"{count} programs, {total} combinations, {differences} differences, {seconds:.0f} s")
    return int(differences > 0)


if __name__ == "__main__":
    raise SystemExit(main())
