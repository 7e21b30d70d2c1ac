"""Machine code from texts and from disk: without Numba, whatever the cache is like, and refused when damaged."""

from __future__ import annotations

import io
import json
import os
import platform
import py_compile
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import numbad
from numbad.kernels import cache, loading, machinecode, texts
from numbad.limits import VARIANT
from numbad.sweeps import whole

try:
    CPU = Path("/proc/cpuinfo").read_text()
except OSError:
    CPU = ""
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


# ---------------------------------------------------------------- packages of other kinds, interruptions

HERE = Path(numbad.__file__).parents[1]
USE = """
import sys
sys.path.insert(0, sys.argv[1])
import numbad, numpy as np
print(numbad.gradient(lambda a, b: np.exp(a) - a * b + np.cos(b), 2.0, 4.0))
print(numbad.gradient(lambda v: np.sum(np.sin(v) ** 2), np.array([0.5, 1.0])))
print("numba" in sys.modules, numbad.__file__.startswith(sys.argv[1]))
try:
    print(numbad.hessian(lambda x: np.where(x > 0.0, np.sqrt(x), 0.0), 0.0))
except ImportError as error:
    print(error)
"""


def use(package: Path, folder: Path) -> list[str]:
    """Take derivatives in a new process by the package of a folder or archive."""
    given = {**os.environ, "NUMBAD_CACHE_DIR": str(folder), "PYTHONPATH": "", "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(
        [sys.executable, "-c", USE, str(package)], env=given, cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


@of_texts
@pytest.mark.subprocess
def test_a_package_in_an_archive_is_as_any_other(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "numbad.zip", "w") as archive:
        for path in sorted((HERE / "numbad").rglob("*")):
            if path.suffix == ".py" or path.name == "texts":
                archive.write(path, path.relative_to(HERE))
    assert use(tmp_path / "numbad.zip", tmp_path) == [*ANSWER, "False True", "0.0"]


@of_texts
@pytest.mark.subprocess
def test_a_package_without_sources_takes_gradients_and_refuses_what_needs_texts_of_ops(tmp_path: Path) -> None:
    for path in (HERE / "numbad").rglob("*"):
        place = tmp_path / path.relative_to(HERE)
        if path.suffix == ".py":
            place.parent.mkdir(parents=True, exist_ok=True)
            py_compile.compile(str(path), str(place.with_suffix(".pyc")), str(place), doraise=True)
        elif path.name == "texts":
            place.write_bytes(path.read_bytes())
    found = use(tmp_path, tmp_path)
    assert found[:3] == [*ANSWER, "False True"]
    assert found[3].startswith("numbad is packed without its source files")


@of_texts
@pytest.mark.parametrize("where", ["compile_text", "find"])
def test_the_call_after_an_interruption_works(where: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usual, seen = getattr(texts, where), []

    def interrupted(*arguments: Any, **named: Any) -> Any:
        seen.append(arguments)
        if len(seen) == 2:
            raise KeyboardInterrupt
        return usual(*arguments, **named)

    monkeypatch.setenv("NUMBAD_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(loading, "_kernels", {})
    monkeypatch.setattr(loading, "_tables", {})
    monkeypatch.setattr(whole, "_kept", whole.Kept())  # plans name the tables
    monkeypatch.setattr(texts, where, interrupted)
    f = lambda v: np.sum(np.sin(v) ** 2)
    x = np.array([0.5, 1.0])
    with pytest.raises(KeyboardInterrupt):
        numbad.gradient(f, x)
    np.testing.assert_allclose(numbad.gradient(f, x), np.sin(2.0 * x), rtol=1e-15)


@of_texts
@pytest.mark.subprocess
@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")
def test_a_process_that_is_forked_while_another_thread_compiles_works(tmp_path: Path) -> None:
    program = (
        "import os, threading, warnings, numpy as np, numbad\n"
        "from numbad.kernels import texts\n"
        "warnings.simplefilter('ignore')\n"
        "usual, begun = texts.compile_text, threading.Event()\n"
        "def slow(*a, **k):\n"
        "    begun.set()\n"
        "    return usual(*a, **k)\n"
        "texts.compile_text = slow\n"
        "f = lambda v: np.sum(np.sin(v) ** 2)\n"
        "work = lambda: numbad.gradient(f, np.array([0.5, 1.0]))\n"
        "thread = threading.Thread(target=work)\n"
        "thread.start()\n"
        "begun.wait()\n"
        "pid = os.fork()\n"
        "if not pid:\n"
        "    print(work(), flush=True)\n"
        "    os._exit(0)\n"
        "os.waitpid(pid, 0)\n"
        "thread.join()\n"
        "print(work())"
    )
    given = {**os.environ, "NUMBAD_CACHE_DIR": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", program], env=given, capture_output=True, text=True, check=False)
    assert done.stdout.splitlines() == [ANSWER[1]] * 2, done.stderr


@of_texts
@pytest.mark.subprocess
def test_threads_and_spawned_processes_take_first_gradients_together(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(
        "import multiprocessing, threading, numpy as np, numbad\n"
        "def work(_):\n"
        "    return numbad.gradient(lambda v: np.sum(np.sin(v) ** 2), np.array([0.5, 1.0])).tolist()\n"
        "if __name__ == '__main__':\n"
        "    found = []\n"
        "    threads = [threading.Thread(target=lambda: found.append(work(0))) for _ in range(8)]\n"
        "    [thread.start() for thread in threads], [thread.join() for thread in threads]\n"
        "    with multiprocessing.get_context('spawn').Pool(2) as pool:\n"
        "        found += pool.map(work, range(4))\n"
        "    print(len(found), *{str(part) for part in found})\n"
    )
    given = {**os.environ, "NUMBAD_CACHE_DIR": str(tmp_path / "cache"), "PYTHONPATH": str(HERE)}
    done = subprocess.run([sys.executable, str(program)], env=given, capture_output=True, text=True, check=False)
    assert done.stdout.startswith("12 [0.841470984807896") and done.stdout.count("[") == 1, done.stderr


# ---------------------------------------------------------------- other processors

ELSEWHERE = """
import json, sys, numpy as np, numbad
from numbad.kernels import machinecode
found = {}
for dtype in (np.float64, np.float32):
    x = np.linspace(0.1, 0.9, 203, dtype=dtype)
    w = np.cos(np.arange(1421, dtype=dtype)).reshape(7, 203)
    f = lambda v: np.sum(np.sin(v) ** 2 * np.exp(-v) + np.log(v) * np.arctan2(v, 1 - v) + np.tanh(v) ** 1.5)
    tape = numbad.record(lambda a, b: np.sin(a) * np.exp(b) + np.power(a, b), x[3], x[5])
    results = [numbad.gradient(f, x), numbad.gradient(lambda w: np.sum(np.tanh(w @ x)), w), numbad.hessian(f, x[:9])]
    results.append(np.stack(tape.gradient_map(x, x[::-1].copy())))
    found[np.dtype(dtype).name] = [result.ravel().tolist() for result in results]
print(json.dumps([machinecode.digest(), found]))
"""


@of_texts
@pytest.mark.subprocess
@pytest.mark.skipif(platform.machine() != "x86_64", reason="the processors are of this kind")
@pytest.mark.parametrize(
    ("name", "features", "flag"),
    [("x86-64", "", ""), ("x86-64-v2", "+sse4.2", "sse4_2"), ("haswell", "+avx2,+fma", "avx2")],
)
def test_other_processors_compute_the_same_but_for_last_bits(
    name: str, features: str, flag: str, tmp_path: Path
) -> None:
    if flag and flag not in CPU.split():
        pytest.skip("this processor cannot run what that one can")
    answers = []
    for chosen in ({}, {"NUMBA_CPU_NAME": name, "NUMBA_CPU_FEATURES": features}):
        given = {**os.environ, "NUMBAD_CACHE_DIR": str(tmp_path), **chosen}
        done = subprocess.run([sys.executable, "-c", ELSEWHERE], env=given, capture_output=True, text=True, check=True)
        answers.append(json.loads(done.stdout))
    (digest, here), (other, there) = answers
    assert digest != other  # neither is given the other's machine code
    for dtype, results in here.items():
        for one, two in zip(results, there[dtype], strict=True):
            scale = np.spacing(np.abs(np.array(one, dtype)).max())
            np.testing.assert_allclose(two, one, rtol=0.0, atol=8.0 * float(scale))


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
