"""Machine code from texts and from disk: without Numba, whatever the cache is like, and refused when damaged."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import numbad
from numbad.kernels import cache, loading, machinecode, texts
from numbad.limits import VARIANT
from numbad.sweeps import whole

SCRIPT = """
import sys
import numbad, numpy as np
print(numbad.gradient(lambda a, b: np.exp(a) - a * b + np.cos(b), 2.0, 4.0))
print(numbad.gradient(lambda v: np.sum(np.sin(v) ** 2), np.array([0.5, 1.0])))
print("numba" in sys.modules)
"""
ANSWER = ["(3.3890560989306504, -1.2431975046920718)", "[0.84147098 0.90929743]"]
of_texts = pytest.mark.skipif(bool(VARIANT), reason="a variant's code has no texts: Numba compiles it")


def start(folder: Path, **environment: str) -> subprocess.Popen[str]:
    """Start first gradients in a new process whose cache is in a folder."""
    given = {**os.environ, "NUMBAD_CACHE_DIR": str(folder), **environment}
    return subprocess.Popen(
        [sys.executable, "-c", SCRIPT], env=given, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def run(folder: Path, **environment: str) -> list[str]:
    """Take first gradients in a new process whose cache is in a folder."""
    process = start(folder, **environment)
    printed, complaints = process.communicate()
    assert process.returncode == 0, complaints
    return printed.splitlines()


@of_texts
@pytest.mark.subprocess
def test_first_gradients_import_no_numba_on_a_new_machine_or_later(tmp_path: Path) -> None:
    assert run(tmp_path / "new") == [*ANSWER, "False"]
    (folder,) = (tmp_path / "new").iterdir()
    made = {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}
    assert {"linearise_float64.o", "block_sin_float64.o", "run_at_float64.o"} <= set(made)
    assert run(tmp_path / "new") == [*ANSWER, "False"]
    assert {path.name: path.stat().st_mtime_ns for path in folder.iterdir()} == made


@of_texts
@pytest.mark.subprocess
def test_cache_folders_that_cannot_be_used_are_no_harm(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert run(tmp_path / "file") == [*ANSWER, "False"]
    assert run(Path("/proc/nowhere")) == [*ANSWER, "False"]


@of_texts
@pytest.mark.subprocess
def test_processes_fill_an_empty_cache_together(tmp_path: Path) -> None:
    running = [start(tmp_path) for _ in range(8)]
    for process in running:
        printed, complaints = process.communicate()
        assert printed.splitlines() == [*ANSWER, "False"], complaints
    (folder,) = tmp_path.iterdir()
    assert all(path.suffix == ".o" or path.name == cache.LOCK for path in folder.iterdir()), "temporary files are left"


@of_texts
@pytest.mark.subprocess
def test_damaged_machine_code_is_compiled_anew(tmp_path: Path) -> None:
    run(tmp_path)
    (folder,) = tmp_path.iterdir()
    for k, path in enumerate(sorted(folder.glob(f"*{cache.SUFFIX}"))):
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 1
        path.write_bytes([b"", bytes(data), bytes(data[:40])][k % 3])
    assert run(tmp_path) == [*ANSWER, "False"]


@pytest.mark.subprocess
def test_numba_compiles_the_same_where_there_are_no_texts(tmp_path: Path) -> None:
    assert run(tmp_path, NUMBAD_TEXTS="0") == [*ANSWER, "True"]


def test_code_without_the_symbol_is_not_linked(monkeypatch: pytest.MonkeyPatch) -> None:
    numbad.gradient(lambda x: x * x, 2.0)
    content = cache.read(machinecode.digest(), "linearise_float64")
    assert content is not None
    assert machinecode.load("linearise_float64")
    monkeypatch.setattr(cache, "read", lambda *_: b"nothing" + content[content.index(b"\0") :])
    assert machinecode.load("linearise_float64") is None


@of_texts
def test_a_text_that_this_llvm_cannot_read_is_left_to_numba(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(texts, "find", lambda title: "define i64 @numbad_run_at(no type %x) { }")
    assert machinecode.compile_shipped("run_at", "run_at_float64") is None


def test_a_gradient_in_one_call_agrees_with_that_of_an_execution(monkeypatch: pytest.MonkeyPatch) -> None:
    def f(a: float, b: float) -> float:
        return np.exp(a) * np.sin(b) + a**3 / b

    small = numbad.gradient(f, 0.7, 1.9)
    monkeypatch.setattr(whole, "SHORT", 0)
    assert numbad.gradient(f, 0.7, 1.9) == small


# ---------------------------------------------------------------- what is said

Clock = Callable[[float], None]


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Return what lets a compilation of so many seconds pass; nothing has been said yet."""
    now = [100.0]
    due: list[tuple[float, Callable[..., None], tuple[str, ...]]] = []

    class Timer:
        daemon = False

        def __init__(self, seconds: float, function: Callable[..., None], arguments: tuple[str, ...]) -> None:
            self.entry = (now[0] + seconds, function, arguments)

        def start(self) -> None:
            due.append(self.entry)

        def cancel(self) -> None:
            due.clear()

    def compile_for(seconds: float) -> None:
        with loading.compile_notice(f"function {len(loading.compile_seconds)}"):
            end = now[0] + seconds
            if due and due[0][0] <= end:
                now[0], function, arguments = due[0]
                function(*arguments)
            now[0] = end

    monkeypatch.setattr(loading, "notices", loading.Notices())
    monkeypatch.setattr(loading, "compile_seconds", {})
    monkeypatch.setattr(loading.threading, "Timer", Timer)
    monkeypatch.setattr(loading.time, "perf_counter", lambda: now[0])
    return compile_for


def said(capsys: pytest.CaptureFixture[str]) -> list[str]:
    """Return the lines on stderr since the last look."""
    return capsys.readouterr().err.splitlines()


def test_waiting_that_adds_up_to_a_second_is_said_once(
    clock: Clock, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NUMBAD_CACHE_DIR", str(tmp_path))
    clock(0.6)
    clock(0.3)
    assert said(capsys) == []
    clock(0.2)
    assert said(capsys) == [f"numbad: compiling function 2; it is kept for later programs in {tmp_path}"]
    for _ in range(16):
        clock(0.5)
    assert said(capsys) == []
    for _ in range(6):
        clock(0.5)
    assert len(said(capsys)) == 1


def test_one_long_compilation_is_said_after_a_second(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    clock(8.0)
    assert len(said(capsys)) == 1
    clock(1.0)
    assert said(capsys) == []
    clock(4.0)
    (line,) = said(capsys)
    assert line == "numbad: compiling function 2 (function 3)"


def test_where_nothing_can_be_kept_that_is_said(
    clock: Clock, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("NUMBAD_CACHE_DIR", str(tmp_path / "file"))
    clock(2.0)
    (line,) = said(capsys)
    assert "nothing can be kept" in line and "NUMBAD_CACHE_DIR names another folder" in line


def test_nothing_is_said_where_it_is_not_wanted_or_cannot_be(
    clock: Clock, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(numbad.config, "notices", False)
    clock(2.0)
    assert said(capsys) == []
    monkeypatch.setattr(numbad.config, "notices", True)
    monkeypatch.setattr(sys, "stderr", None)
    clock(20.0)
    closed = io.StringIO()
    closed.close()
    monkeypatch.setattr(sys, "stderr", closed)
    clock(20.0)
