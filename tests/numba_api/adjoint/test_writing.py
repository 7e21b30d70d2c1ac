"""The text of adjoints, run by Python: random kernels against their recordings row by row, and damage to every line."""

from __future__ import annotations

import math
import re

import numpy as np
import pytest
from numba import njit, types

import numbad
from numbad.numba_api.adjoint import support
from numbad.numba_api.adjoint.activity import find_activity, find_types
from numbad.numba_api.adjoint.reading import read
from numbad.numba_api.adjoint.tree import NotAdjoint
from numbad.numba_api.adjoint.writing import SUPPORT, Writer
from shared.random_kernels import Program

SIZE = 4
KIND = types.Array(types.float64, 1, "C")
POINT = np.array([0.7, -0.4, 1.1, 0.3])


# ---------------------------------------------------------------- running texts


def text_of_adjoint(f, careful: bool = False) -> str:
    """Return the text of the adjoint of a kernel of an array."""
    flat = read(f, [1])
    facts = find_types(flat, (KIND,))
    find_activity(flat, facts, {"x"})
    return "\n".join(Writer(flat, facts, careful).pair(["x"], flat.results))


def scope_of(text: str) -> dict:
    """Return the functions of a text, as Python runs them."""
    scope = {"np": np, "math": math} | {
        name: getattr(getattr(support, name), "py_func", getattr(support, name)) for name in SUPPORT.split(", ")
    }
    scope["absent"] = lambda value: value == 0.0 and math.copysign(1.0, value) < 0.0
    for name in ("weigh", "gate", "opposite"):
        rule = scope[name]
        scope[name] = type(rule)(rule.__code__, {**rule.__globals__, "absent": scope["absent"]}, name)
    exec(compile(text, "<adjoint>", "exec"), scope)
    return scope


def run(text: str, x: np.ndarray) -> np.ndarray:
    """Run the text of an adjoint by Python; nothing is kept where nothing is written."""
    scope = scope_of(text)
    reals, wholes = np.full(4000, np.nan), np.full(4000, -(10**6))
    with np.errstate(all="ignore"):
        _, state, reals, wholes = scope["ahead"](x.copy(), reals, wholes)
        return scope["back"](*state, 1.0, reals, wholes)[0]


def expected(f, x: np.ndarray) -> np.ndarray:
    """Return the gradient by rows."""
    return numbad.gradient(njit(f), x)


@pytest.mark.parametrize("seed", range(60))
def test_random_kernels(seed) -> None:
    program = Program(seed)
    f = program.function()
    truth = expected(f, POINT)
    for careful in (False, True):
        try:
            text = text_of_adjoint(f, careful)
        except NotAdjoint as error:
            assert "exchange" in error.what or "shape" in error.what or "another array" in error.what
            return
        found = run(text, POINT)
        np.testing.assert_allclose(found, truth, rtol=1e-9, atol=1e-12, err_msg="\n".join(program.lines))


# ---------------------------------------------------------------- damage


def kernel(x):
    """Keeps real and whole numbers, elements and counts."""
    y = x.copy()
    a, k = 0.5, 0
    for i in range(1, x.size):
        k = (k * 3 + i) % x.size
        y[k] = y[k] * y[i] + math.sin(a)
        a = a * y[k - 1] / (1.5 + x[k] * x[k])
        for _ in range(4):
            a = math.tanh(a * x[i]) + 0.1
            if a > 0.4:
                break
        y[i] = a * a - y[0]
    return a * y[0] + y[2] * y[3]


def empty(line: str) -> str:
    """Return a line that does nothing in the place of another."""
    return line[: len(line) - len(line.lstrip())] + "pass"


def mutants(text: str):
    """Give the text with one thing wrong in each."""
    lines = text.splitlines()
    for k, line in enumerate(lines):
        if re.match(r"\s*(reals|wholes)\[.*\] = ", line):
            yield "not kept", [*lines[:k], empty(line), *lines[k + 1 :]]
        if re.match(r"\s*\w+_bar (=|\+=|-=) .*\*", line):
            head, _, tail = line.partition("= ")
            yield "scaled", [*lines[:k], f"{head}= 1.001 * ({tail})", *lines[k + 1 :]]
            yield "sign", [*lines[:k], f"{head}= -({tail})", *lines[k + 1 :]]
        if re.match(r"\s*\w+_bar\[.*\] \+= ", line):
            yield "lost", [*lines[:k], empty(line), *lines[k + 1 :]]
        if re.match(r"\s*\w+_bar\[.*\] = ABSENT", line):
            yield "stale", [*lines[:k], empty(line), *lines[k + 1 :]]


def test_damage_is_seen() -> None:
    text = text_of_adjoint(kernel)
    truth = expected(kernel, POINT)
    np.testing.assert_allclose(run(text, POINT), truth, rtol=1e-12)
    seen = 0
    for what, lines in mutants(text):
        try:
            found = run("\n".join(lines), POINT)
        except (IndexError, ValueError):
            found = np.full(SIZE, np.nan)
        assert not np.allclose(found, truth, rtol=1e-9, atol=0.0), what
        seen += 1
    assert seen > 30
