"""After a call that failed half-way the next one is right, and no array of the caller's is left changed.

A function raises itself, or a rule does in either direction, or a guard does not hold, or a value is not finite: in
every mode, at sizes on both sides of the limits.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import numbad


class Broken(Exception):
    """What the programs here raise."""


class Program:
    """A program that fails where it is told to."""

    def __init__(self, n: int) -> None:
        self.fails = ""
        self.factor = np.linspace(0.5, 1.5, n)
        self.x = np.linspace(0.1, 0.9, n)
        self.rule = numbad.custom_vjp(self.cube)
        self.rule.defvjp(self.forward, self.backward)

    def cube(self, y: Any) -> Any:
        self.fail("the rule's function")
        return y**3

    def forward(self, y: Any) -> Any:
        self.fail("the rule's function")
        return y**3, y

    def backward(self, y: Any, bar: Any) -> Any:
        self.fail("the rule")
        return (bar * 3.0 * y * y,)

    def fail(self, where: str) -> None:
        if self.fails == where:
            raise Broken(where)

    def __call__(self, x: Any) -> Any:
        y = np.sin(x) * self.factor
        self.fail("the function")
        z = self.rule(y)
        self.fail("the function, late")
        return np.sum(z[::-1] * 2.0) + np.sum(self.factor * x[0])

    def slope(self, x: np.ndarray) -> np.ndarray:
        y = np.sin(x) * self.factor
        found = 6.0 * y * y * np.cos(x) * self.factor
        found[0] += np.sum(self.factor)
        return found


PLACES = ["the function", "the function, late", "the rule's function", "the rule"]
MODES: dict[str, Callable[[Any, np.ndarray], np.ndarray]] = {
    "gradient": lambda f, x: numbad.gradient(f, x),
    "jit": lambda f, x: numbad.jit(numbad.grad(f))(x),
    "vjp": lambda f, x: numbad.vjp(f, x)[1](1.0)[0],
    "tape": lambda f, x: numbad.record(f, x).gradient(x),
    "points": lambda f, x: numbad.record(f, x).gradient_map(np.stack([x, x]))[1],
    "vmap": lambda f, x: numbad.vmap(numbad.grad(f))(np.stack([x, x]))[1],
    "jit of vmap": lambda f, x: numbad.jit(numbad.vmap(numbad.grad(f)))(np.stack([x, x]))[1],
    "nested": lambda f, x: numbad.gradient(lambda x: np.sum(numbad.grad(f)(x)) * 0.0 + f(x), x),
}
SMALL_MODES = {
    "jacrev": lambda f, x: numbad.jacrev(lambda x: f(x) * np.ones(3))(x)[1],
    "jacfwd": lambda f, x: numbad.jacfwd(f)(x),
    "jit of jacfwd": lambda f, x: numbad.jit(numbad.jacfwd(f))(x),
}


@pytest.mark.parametrize("mode", MODES | SMALL_MODES)
@pytest.mark.parametrize("n", [3, 700, 40_000])
def test_the_next_call_is_right(mode: str, n: int) -> None:
    if n > 1000 and mode in SMALL_MODES:
        n = 1300  # of one lane for each input
    program, run = Program(n), (MODES | SMALL_MODES)[mode]
    x, want = program.x.copy(), program.slope(program.x)
    for place in PLACES:
        program.fails = place
        for _ in range(3):
            with pytest.raises(Broken, match=place):
                run(program, x)
            assert x.flags.writeable and program.factor.flags.writeable
            np.testing.assert_array_equal(x, program.x)
        program.fails = ""
        np.testing.assert_allclose(run(program, x), want, rtol=1e-12)


@pytest.mark.parametrize("n", [3, 700, 40_000])
def test_a_replay_that_fails_leaves_the_next_one_right(n: int) -> None:
    program = Program(n)
    fast = numbad.jit(numbad.grad(program))
    for point in (program.x, program.x + 0.1):
        np.testing.assert_allclose(fast(point), program.slope(point), rtol=1e-12)
        for place in ("the rule's function", "the rule"):
            program.fails = place
            for _ in range(2):
                with pytest.raises(Broken):
                    fast(point + 1.0)
            program.fails = ""
            np.testing.assert_allclose(fast(point), program.slope(point), rtol=1e-12)


@pytest.mark.parametrize("n", [3, 700, 40_000])
def test_a_guard_that_does_not_hold_leaves_the_tape_right(n: int) -> None:
    x = np.linspace(0.1, 0.9, n)
    f = lambda x: np.sum(np.sin(x)) if np.sum(np.exp(x)) > 0.9 * n else np.sum(x * x)
    tape = numbad.record(f, x)
    for _ in range(3):
        with pytest.raises(numbad.BranchError):
            tape.gradient(x - 9.0)
        with pytest.raises(numbad.BranchError):
            tape.gradient_map(np.stack([x, x - 9.0]))
        np.testing.assert_allclose(tape.gradient(x), np.cos(x), rtol=1e-13)
        np.testing.assert_allclose(tape.gradient_map(np.stack([x, x]))[1], np.cos(x), rtol=1e-13)


@pytest.mark.parametrize("n", [3, 700, 40_000])
def test_a_value_that_is_not_finite_leaves_the_next_call_right(n: int) -> None:
    x = np.linspace(0.1, 0.9, n)
    f = lambda x: np.sum(np.log(x) * x)
    for run in MODES.values():
        with numbad.debug_nans(), np.errstate(all="ignore"), pytest.raises(numbad.NonFiniteError):
            run(f, x - 0.5)
        np.testing.assert_allclose(run(f, x), np.log(x) + 1.0, rtol=1e-12)


def test_failures_in_one_thread_do_not_meet_the_others() -> None:
    program, healthy = Program(700), Program(700)
    want, found = healthy.slope(healthy.x), []

    def fail() -> None:
        program.fails = "the rule"
        for _ in range(30):
            with pytest.raises(Broken):
                numbad.gradient(program, program.x)

    def run() -> None:
        for _ in range(30):
            found.append(numbad.gradient(healthy, healthy.x))

    threads = [threading.Thread(target=task) for task in (fail, run, fail, run)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 60
    for one in found:
        np.testing.assert_allclose(one, want, rtol=1e-12)
