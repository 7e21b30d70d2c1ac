"""What a jitted function says of its paths: how they are run, what that has cost, and what it gains."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import numbad
from numbad.replay import hot


def loop(x: Any) -> Any:
    y = x[0]
    for k in range(60):
        y = np.sin(y * x[1] + 0.1 * k)
    return y


@pytest.fixture
def hot_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hot, "WORTH_COMPILING", 1)


def run(jitted: Any, x: Any) -> Any:
    """Call a function until what can be compiled of it is; return its last path."""
    for _ in range(4):
        jitted(x)
        program = next(iter(jitted.programs.values())).programs[0]
        if program.promotion.thread is not None:
            program.promotion.thread.join()
    return program


def test_a_path_that_has_run_seldom_is_interpreted() -> None:
    jitted = numbad.jit(loop)
    assert jitted.summary() == "loop: 0 recorded paths"
    jitted(np.array([0.5, 0.9]))
    text = jitted.summary()
    assert "loop: 1 recorded path\n" in text
    assert "180 rows, 1 runs" in text
    assert "interpreted; compiled after" in text


@pytest.mark.usefixtures("hot_at_once")
@pytest.mark.parametrize("packed", [False, True])
def test_loops_and_times_of_machine_code(packed: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if packed:
        monkeypatch.setattr(hot, "LONG", 0)
    jitted = numbad.jit(numbad.grad(loop))
    x = np.array([0.5, 0.9])
    before = jitted(x)
    program = run(jitted, x)
    text = jitted.summary()
    assert "machine code of" in text
    assert "iterations of" in text
    assert "by the interpreter" in text
    assert program.promotion.seconds > 0.0
    assert (program.machine.kept is None) == packed, "it is as it was"
    np.testing.assert_array_equal(jitted(x), before)


@pytest.mark.usefixtures("hot_at_once")
def test_what_is_not_compiled_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    jitted = numbad.jit(loop)
    run(jitted, np.array([0.5, 0.9], np.float32))
    assert "interpreted: its rows are none that are compiled" in jitted.summary()

    def fail(*given: Any) -> Any:
        raise ValueError("no")

    monkeypatch.setattr(hot, "compile_path", fail)
    jitted = numbad.jit(loop)
    with pytest.warns(UserWarning, match="could not be compiled"):
        run(jitted, np.array([0.5, 0.9]))
    assert "the compiler failed (ValueError)" in jitted.summary()


@pytest.mark.usefixtures("hot_at_once")
def test_groups_of_array_rows_are_machine_code_too() -> None:
    jitted = numbad.jit(numbad.grad(lambda x: np.sum(np.sin(x) ** 2 * np.exp(-x))))
    program = run(jitted, np.linspace(0.1, 1.0, 5000))
    assert program.compiled == ("machine code for groups of array rows" in jitted.summary())
