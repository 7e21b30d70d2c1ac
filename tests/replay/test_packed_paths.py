"""Long paths are packed when they are compiled, and come out as they went in where their rows are needed again."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import numbad
from numbad.replay import hot
from numbad.replay.compiled_machine import CompiledMachine
from numbad.replay.packed_paths import pack, unpack


@pytest.mark.parametrize("period", [1, 3, 7, 50])
@pytest.mark.parametrize("rows", [1, 6, 7, 8, 50])
@pytest.mark.parametrize("dtype", [np.uint32, np.int32, np.int64])
def test_arrays_come_out_as_they_went_in(rows: int, period: int, dtype: Any) -> None:
    random = np.random.default_rng(rows)
    for values in (random.integers(0, 1 << 31, (rows, 4)), np.arange(4 * rows).reshape(-1, 4), np.arange(rows)):
        values = values.astype(dtype)
        found = unpack(pack(values, period))
        assert found.dtype == values.dtype
        np.testing.assert_array_equal(found, values)


def test_rows_of_a_loop_take_next_to_nothing() -> None:
    rows = np.arange(100_000).reshape(-1, 4).astype(np.uint32) % 5000 * 7
    assert len(pack(rows[:1000], 4).content) < 200


def loop(x: Any) -> Any:
    y = x[0]
    for k in range(60):
        y = np.sqrt(y * x[1] + 0.1) if k % 20 or y > x[2] else y * x[1]
    return y


@pytest.fixture
def packed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let all paths be packed when they are compiled, which they are at once."""
    monkeypatch.setattr(hot, "LONG", 0)
    monkeypatch.setattr(hot, "WORTH_COMPILING", 1)


def run_until_compiled(jitted: Any, x: np.ndarray) -> Any:
    """Call a function until its path is compiled; return its machine."""
    for _ in range(3):
        jitted(x)
        program = next(iter(jitted.programs.values())).programs[0]
        if program.promotion.thread is not None:
            program.promotion.thread.join()
    jitted(x)
    assert isinstance(program.machine, CompiledMachine)
    return program


@pytest.mark.usefixtures("packed")
def test_what_machine_code_cannot_do_is_done_by_a_machine_that_is_made_again() -> None:
    jitted, plain = numbad.jit(numbad.value_and_grad(loop)), numbad.value_and_grad(loop)
    x = np.array([0.5, 0.9, 0.1])
    program = run_until_compiled(jitted, x)
    machine = program.machine
    assert machine.kept is None
    assert program.promotion.path is None
    assert not len(machine.tape.code)
    strange = np.array([np.inf, 0.9, 0.1])
    with np.errstate(all="ignore"):
        for found, expected in zip(jitted(strange), plain(strange), strict=True):
            np.testing.assert_array_equal(found, expected)
    assert machine.fell
    assert machine.kept is not None
    np.testing.assert_array_equal(jitted(x)[1], plain(x)[1])
    assert not machine.fell


@pytest.mark.usefixtures("packed")
def test_a_guard_that_does_not_hold_leads_to_another_path() -> None:
    jitted, plain = numbad.jit(numbad.value_and_grad(loop)), numbad.value_and_grad(loop)
    run_until_compiled(jitted, np.array([0.5, 0.9, 0.1]))
    for x in ([0.5, 0.9, 0.6], [0.5, 0.9, 0.1], [0.2, 0.9, 0.6]):
        for found, expected in zip(jitted(np.array(x)), plain(np.array(x)), strict=True):
            np.testing.assert_array_equal(found, expected)
    assert jitted.paths == 2


@pytest.mark.usefixtures("packed")
def test_a_packed_path_is_copied_into_other_recordings() -> None:
    jitted = numbad.jit(loop)
    x = np.array([0.5, 0.9, 0.1])
    run_until_compiled(jitted, x)
    np.testing.assert_allclose(numbad.gradient(lambda x: jitted(x) ** 2, x), 2.0 * loop(x) * numbad.gradient(loop, x))


@pytest.mark.usefixtures("packed")
def test_what_a_path_takes_is_counted() -> None:
    jitted = numbad.jit(numbad.value_and_grad(loop))
    x = np.array([0.5, 0.9, 0.1])
    jitted(x)
    paths = next(iter(jitted.programs.values()))
    before = paths.bytes
    program = run_until_compiled(jitted, x)
    assert program.machine.nbytes > 8 * 60, "a result of each iteration"
    assert paths.bytes == program.bytes()
    assert program.machine.nbytes + 4 * len(program.recorder.code) < paths.bytes < before
