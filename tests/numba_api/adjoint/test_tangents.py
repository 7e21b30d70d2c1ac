"""Tangents of kernels and of their adjoints, compared with recordings row by row; every line is damaged."""

from __future__ import annotations

import math
import re

import numpy as np
import pytest
from numba import njit, types

import numbad
from numbad.numba_api.adjoint import rows, support
from numbad.numba_api.adjoint.activity import find_activity, find_types
from numbad.numba_api.adjoint.reading import read
from numbad.numba_api.adjoint.tangents import tangent_text
from numbad.numba_api.adjoint.tree import NotAdjoint
from numbad.numba_api.adjoint.writing import SUPPORT, Writer
from shared.random_kernels import Program

KIND = types.Array(types.float64, 1, "C")
POINT = np.array([0.7, -0.4, 1.1, 0.3])
ALONG = np.array([0.5, -1.0, 0.3, 2.0])


def text_of(f, careful: bool = False) -> str:
    """Return the text of the tangents of both ways of a kernel of a vector."""
    flat = read(f, [1])
    facts = find_types(flat, (KIND,))
    find_activity(flat, facts, {"x"})
    lines = Writer(flat, facts, careful).pair(["x"], flat.results)
    return "\n".join(tangent_text(lines, {"x"}, set(facts.axes), careful))


def run(text: str) -> tuple[float, np.ndarray]:
    """Run a text by Python; return the tangents of the value and of the gradient."""
    scope = {"np": np, "math": math}
    scope |= {name: getattr(getattr(support, name), "py_func", getattr(support, name)) for name in SUPPORT.split(", ")}
    scope["absent"] = lambda value: value == 0.0 and math.copysign(1.0, value) < 0.0
    for name in ("weigh", "gate", "opposite"):
        rule = scope[name]
        scope[name] = type(rule)(rule.__code__, {**rule.__globals__, "absent": scope["absent"]}, name)
    exec(compile(text, "<tangents>", "exec"), scope)
    reals, dotted, wholes = np.full(4000, np.nan), np.full(4000, np.nan), np.full(4000, -(10**6))
    with np.errstate(all="ignore"):
        _, state, slopes, moving, reals, dotted, wholes = scope["ahead"](
            POINT.copy(), reals, wholes, ALONG.copy(), dotted
        )
        _, found = scope["back"](*state, 1.0, reals, wholes, *moving, 0.0, dotted)
    return slopes[0], found[0]


@pytest.mark.parametrize("seed", range(100, 125))
def test_random_kernels(seed) -> None:
    program = Program(seed)
    f = program.function()
    try:
        texts = [text_of(f, careful) for careful in (False, True)]
    except NotAdjoint as error:
        assert "exchange" in error.what or "shape" in error.what or "another array" in error.what
        return
    slope = numbad.jvp(njit(f), (POINT,), (ALONG,))[1]
    second = numbad.hvp(njit(f), POINT, ALONG)
    for text in texts:
        found = run(text)
        np.testing.assert_allclose(found[0], slope, rtol=1e-9, atol=1e-11)
        np.testing.assert_allclose(found[1], second, rtol=1e-8, atol=1e-10, err_msg="\n".join(program.lines))


def kernel(x):
    """Keeps real numbers and elements, with functions of all kinds."""
    y = x.copy()
    a, b = 0.5 * x[1], x[0] ** 3
    for i in range(1, x.size):
        y[i] = y[i] * y[i - 1] + math.sin(a)
        a = a * y[i] / (1.5 + x[i] * x[i])
        b = math.exp(-a * b) if x[i] > 0.2 else b * a - y[i]
        while -0.1 < a < 0.1:
            a = math.tanh(3.0 * a + 0.1 * b)
    return a * y[0] * b - y[2] * y[3]


@pytest.fixture
def no_rows(monkeypatch):
    """Have a kernel that is recorded row by row fail."""

    def refuse(self, *operands):
        raise AssertionError(f"{self.name} is recorded row by row")

    monkeypatch.setattr(rows.Call, "rows", refuse)


def test_every_mode_of_the_first_and_second_order_has_no_rows(no_rows) -> None:
    one, other = numbad.kernel(njit(kernel), adjoint=True), njit(kernel)
    second = numbad.hessian(other)(POINT)
    close = lambda found, truth: np.testing.assert_allclose(found, truth, rtol=1e-12, atol=1e-13)
    close(numbad.hessian(one)(POINT), second)
    close(numbad.hvp(one, POINT, ALONG), second @ ALONG)
    close(numbad.gradient(lambda x: np.sum(numbad.grad(one)(x) * ALONG), POINT), second @ ALONG)
    close(numbad.jvp(one, (POINT,), (ALONG,))[1], numbad.gradient(other, POINT) @ ALONG)
    close(numbad.jacfwd(one)(POINT), numbad.gradient(other, POINT))
    replayed = numbad.jit(numbad.hessian(one))
    for factor in (1.0, 0.9, 1.1):
        close(replayed(factor * POINT), numbad.hessian(other)(factor * POINT))


def test_results_and_arguments_that_are_written_to(no_rows) -> None:
    def smooth(x, weight):
        total = 0.0
        for i in range(1, x.size):
            x[i] += weight * x[i - 1] * x[i]
            total += x[i] * weight
        return total, weight * weight

    def whole(f):
        def g(x):
            y = x * 2.0
            total, square = f(y, x[0])
            return total * y[2] + y[-1] * square

        return g

    one, other = whole(numbad.kernel(njit(smooth), adjoint=True)), whole(njit(smooth))
    np.testing.assert_allclose(numbad.hessian(one)(POINT), numbad.hessian(other)(POINT), rtol=1e-12, atol=1e-12)


def test_the_third_order_is_recorded_by_rows() -> None:
    def cubes(x):
        total = 0.0
        for i in range(x.size):
            total += x[i] ** 4
        return total

    one = numbad.kernel(njit(cubes), adjoint=True)
    third = numbad.gradient(lambda x: np.sum(numbad.hvp(one, x, np.ones(4))), POINT)
    np.testing.assert_allclose(third, 24.0 * POINT, rtol=1e-12)


def test_what_is_absent_stays_absent() -> None:
    def first(x):
        return x[0] * x[0]

    one = numbad.kernel(njit(first), adjoint=True)
    at = np.array([4.0, 0.0])
    assert numbad.hvp(lambda x: one(np.sqrt(x)), at, np.array([1.0, 0.0])).tolist() == [0.0, 0.0]
    assert numbad.jvp(lambda x: np.sqrt(one(x)), (np.zeros(2),), (np.array([0.0, 1.0]),))[1] == 0.0


def mutants(text: str):
    """Give the text with one thing wrong in each."""
    lines = text.splitlines()
    for k, line in enumerate(lines):
        if re.match(r"\s*\w+_dot_bar(\[.*\])? \+?= .*\*", line):
            head, _, tail = line.partition("= ")
            yield [*lines[:k], f"{head}= 1.001 * ({tail})", *lines[k + 1 :]]
        if re.match(r"\s*reals_dot_bar\[.*\] = ", line):
            yield [*lines[:k], line[: len(line) - len(line.lstrip())] + "pass", *lines[k + 1 :]]


def test_damage_is_seen() -> None:
    text = text_of(kernel)
    slope, second = run(text)
    np.testing.assert_allclose(second, numbad.hvp(njit(kernel), POINT, ALONG), rtol=1e-12)
    seen = 0
    for lines in mutants(text):
        damaged = run("\n".join(lines))
        changed = not (np.allclose(damaged[0], slope, 1e-9, 0.0) and np.allclose(damaged[1], second, 1e-9, 0.0))
        assert changed, lines
        seen += 1
    assert seen > 30
