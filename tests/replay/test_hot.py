"""When replays are compiled: after how many calls, in which thread, and what happens where that fails."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
import warnings
from typing import Any

import numpy as np
import pytest

import numbad
from numbad.limits import SMALL_LIMITS
from numbad.replay import hot


def loop(x: Any) -> Any:
    total = x[0]
    for k in range(60):
        total = np.sin(total) * x[k] + 0.5
    return total


X = np.linspace(0.1, 0.9, 60)


def program_of(jitted: Any) -> Any:
    """Return the program that has run last."""
    return next(reversed(jitted.programs.values())).programs[-1]


def call_until_compiled(jitted: Any, x: np.ndarray) -> bool:
    """Call until the path runs its own machine code; False after ten seconds."""
    end = time.monotonic() + 10.0
    while time.monotonic() < end:
        jitted(x)
        if program_of(jitted).compiled:
            return True
    return False


@pytest.fixture
def eager(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the second call begin to compile."""
    monkeypatch.setattr(hot, "WORTH_COMPILING", 1)


@pytest.mark.usefixtures("eager")
def test_a_hot_function_becomes_machine_code() -> None:
    jitted = numbad.jit(numbad.value_and_grad(loop))
    before = jitted(X)
    assert call_until_compiled(jitted, X)
    value, slopes = jitted(X)
    assert value == before[0]
    assert slopes.tobytes() == before[1].tobytes()
    assert jitted.paths == 1


def test_a_function_that_runs_a_few_times_does_not() -> None:
    jitted = numbad.jit(loop)
    for _ in range(20):
        jitted(X)
    assert program_of(jitted).promotion.thread is None


def test_longer_tapes_begin_after_fewer_calls() -> None:
    short, long = numbad.jit(lambda x: np.sin(x[0])), numbad.jit(lambda x: sum(np.sin(x[k]) for k in range(60)))
    short(X), long(X)
    assert program_of(long).promotion.next < program_of(short).promotion.next
    matrices = numbad.jit(lambda x: np.linalg.det(x[:4].reshape(2, 2)))
    matrices(X)
    assert program_of(matrices).promotion.next < program_of(long).promotion.next


@pytest.mark.usefixtures("eager")
def test_a_path_with_rows_of_pythons_is_compiled_at_once() -> None:
    f = lambda x: np.linalg.det(x[:4].reshape(2, 2)) + np.sum(np.linalg.inv(x[4:8].reshape(2, 2)))
    jitted = numbad.jit(numbad.grad(f))
    x = np.random.default_rng(2).random(60)
    jitted(x), jitted(x), jitted(x)
    assert program_of(jitted).compiled
    np.testing.assert_allclose(jitted(x), numbad.grad(f)(x), rtol=1e-12)


@pytest.mark.usefixtures("eager")
def test_the_setting_switches_it_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(numbad.config, "compile_tapes", False)
    jitted = numbad.jit(loop)
    for _ in range(5):
        jitted(X)
    assert program_of(jitted).promotion.thread is None
    monkeypatch.setattr(numbad.config, "compile_tapes", True)
    assert call_until_compiled(jitted, X)
    with pytest.raises(TypeError, match="True or False"):
        numbad.config.compile_tapes = 1  # type: ignore[assignment]


@pytest.mark.usefixtures("eager")
def test_a_compiler_that_fails_is_told_once_and_the_interpreter_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> Any:
        raise RuntimeError("no such luck")

    monkeypatch.setattr(hot, "compile_path", fail)
    jitted = numbad.jit(loop)
    expected = jitted(X)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        jitted(X), jitted(X)
        program_of(jitted).promotion.thread.join()
        for _ in range(3):
            assert jitted(X) == expected
    (told,) = [str(warning.message) for warning in caught]
    assert "RuntimeError: no such luck" in told
    assert "compile_tapes" in told
    assert caught[0].filename == __file__


@pytest.mark.usefixtures("eager")
def test_threads_that_share_a_function() -> None:
    jitted = numbad.jit(numbad.value_and_grad(loop))
    expected = [numbad.value_and_grad(loop)(X * k)[1].tobytes() for k in range(1, 5)]
    wrong: list[int] = []

    def work(k: int) -> None:
        for _ in range(300):
            if jitted(X * k)[1].tobytes() != expected[k - 1]:
                wrong.append(k)

    threads = [threading.Thread(target=work, args=(k,)) for k in range(1, 5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


FORK = """
import os, numpy as np, numbad
from numbad.replay import hot
hot.WORTH_COMPILING = 1
f = numbad.jit(numbad.value_and_grad(lambda x: sum(np.sin(x[k]) * x[0] for k in range(60))))
x = np.linspace(0.1, 0.9, 60)
expected = f(x)[1].tobytes()
f(x), f(x)                # begins to compile
child = os.fork()
for _ in range(200):
    assert f(x)[1].tobytes() == expected
if child:
    assert os.waitpid(child, 0)[1] == 0
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_a_fork_while_something_is_compiled() -> None:
    path = os.pathsep.join(part or os.getcwd() for part in sys.path)
    subprocess.run([sys.executable, "-c", FORK], check=True, env={**os.environ, "PYTHONPATH": path}, timeout=120)


END = """
import numpy as np, numbad
from numbad.replay import hot
hot.WORTH_COMPILING = 1
f = numbad.jit(numbad.grad(lambda x: sum(np.sin(x[k]) * np.cos(x[0] * x[k]) for k in range(200))))
x = np.ones(200)
f(x), f(x), f(x)
"""


def test_a_program_may_end_while_something_is_compiled() -> None:
    path = os.pathsep.join(part or os.getcwd() for part in sys.path)
    done = subprocess.run(
        [sys.executable, "-c", END], capture_output=True, env={**os.environ, "PYTHONPATH": path}, timeout=120
    )
    assert (done.returncode, done.stderr) == (0, b"")


def test_paths_over_larger_arrays_begin_after_fewer_calls() -> None:
    def calls(count: int) -> float:
        fast = numbad.jit(numbad.grad(lambda x: np.sum(np.sin(x) * x)))
        fast(np.ones(count))
        return program_of(fast).promotion.next

    few, more, most = (calls(count) for count in (100, 10_000, 1_000_000))
    assert few >= more >= most >= 2
    assert most < 10 and (SMALL_LIMITS or few > more > most)
