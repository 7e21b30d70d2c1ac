"""Work in shares: the same bits whoever does it, Numba only where it is worth its import, one compilation for all."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import numbad
from numbad import limits
from numbad.kernels import calls, machinecode, parallel, threads
from numbad.sweeps import linearised
from numbad.tapes import points

TITLE = "shares_at_float64"
RNG = np.random.default_rng(3)
N = max(3 * limits.LARGE // 2 * 2, 600) + 6
MATRIX = RNG.normal(size=(300, 210))


def fused(x: Any) -> Any:
    return np.sum(np.sin(x) ** 2 * np.exp(-x) * x[3]) + x[N // 2]


def apart(x: Any) -> Any:
    """Large rows that do not fuse: a lane of other operands, a sum over windows, a broadcast."""
    y = np.exp(x[::2]) * x[1::2]
    return np.sum(y[:-1] * y[1:]) + np.sum(np.broadcast_to(x[:3], (N // 3, 3)) * 2.0)


def products(x: Any) -> Any:
    matrix = MATRIX.astype(x.dtype)
    return np.sum((matrix @ np.tanh(matrix.T @ x[:300])) ** 2) + np.sum((matrix[:, ::2] @ x[:105]) ** 2)


def loop(x: Any) -> Any:
    for _ in range(6):
        x = np.cos(x) + 0.5 * x[::-1]
    return x


GRADIENTS = {"fused": fused, "apart": apart, "products": products}


def everything(dtype: Any) -> list[np.ndarray]:
    """Return derivatives by every way that shares work out."""
    x = np.linspace(0.1, 1.0, N).astype(dtype)
    found = [numbad.gradient(f, x) for f in GRADIENTS.values()]
    small = x[:60]
    found += [numbad.jacfwd(loop)(small), numbad.jacrev(loop)(small), numbad.hessian(lambda v: np.sum(loop(v)), small)]
    found.append(numbad.jacfwd(lambda v: loop(v) @ np.ones((60, 2), dtype))(small))
    tape = numbad.record(lambda a, b: np.exp(a) * np.sin(b) if a > 0.2 else a * b, dtype(0.5), dtype(1.0))
    return [*found, *tape.gradient_map(x[N // 2 :], x[: N - N // 2])]


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_results_are_the_same_bits_whoever_works(dtype: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    for module, name, value in ((linearised, "PARALLEL_WORTH", 12), (points, "SERIAL", 32)):
        monkeypatch.setattr(module, name, value)
    shares: list[int] = []
    monkeypatch.setattr(parallel.Loop, "note", lambda *_: None)  # also where other programs hold the processors
    monkeypatch.setattr(parallel.loop, "until", 0.0)
    run = parallel.run_side_by_side
    monkeypatch.setattr(parallel, "count_threads", lambda: 1)
    alone = everything(dtype)
    monkeypatch.setattr("numbad.kernels.calls.run_side_by_side", lambda *a: (shares.append(a[2]), run(*a))[1])
    for count in (2, 3):
        monkeypatch.setattr(parallel, "count_threads", lambda count=count: count)
        for one, other in zip(alone, everything(dtype), strict=True):
            assert one.dtype == other.dtype == dtype
            np.testing.assert_array_equal(one, other)
    assert {2, 3} <= set(shares)
    assert len(shares) > 20


# ---------------------------------------------------------------- the loop, from nothing to its use


def with_path() -> dict[str, str]:
    """Return an environment in which a new process finds this numbad."""
    paths = [str(Path(numbad.__file__).parents[1]), os.environ.get("PYTHONPATH", "")]
    return os.environ | {"PYTHONPATH": os.pathsep.join(paths)}


def wait_for(condition: Callable[[], bool]) -> bool:
    """Wait until something holds, for some minutes."""
    end = time.monotonic() + 240.0
    while not condition() and time.monotonic() < end:
        time.sleep(0.05)
    return condition()


def worth() -> parallel.Loop:
    """Return a loop as it is in a process that has done much work alone."""
    found = parallel.Loop()
    found.spared = limits.WORTH_THREADS + 1.0
    return found


def kept(folder: Path, suffix: str) -> list[Path]:
    """Return the files of the loop in a folder."""
    return list(folder.rglob(f"{TITLE}.{suffix}"))


@pytest.mark.subprocess
@pytest.mark.skipif((os.cpu_count() or 1) < 2, reason="nothing is compiled elsewhere")
def test_another_process_compiles_the_loop_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NUMBAD_CACHE_DIR", str(tmp_path))

    def start(module: str, function: str, arguments: list[list[str]]) -> Any:
        program = f"from {module} import {function} as compile_one\ncompile_one(*{arguments[0]!r})"
        return subprocess.Popen([sys.executable, "-c", program], env=with_path())

    monkeypatch.setattr(machinecode, "compile_elsewhere", start)
    first, second = worth(), worth()
    assert not first.is_here()
    assert first.child is not None
    assert not second.is_here()
    assert second.child is None  # one compiles, and the other knows of it
    assert len(kept(tmp_path, "claim")) == 1
    assert wait_for(first.is_here)
    assert wait_for(second.is_here)
    assert wait_for(lambda: first.child.poll() is not None)
    assert kept(tmp_path, "o")
    assert not kept(tmp_path, "claim")


def test_little_work_takes_no_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machinecode, "compile_elsewhere", lambda *_: pytest.fail("something compiles"))
    monkeypatch.setenv("NUMBAD_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(parallel, "WORTH_THREADS", 0.1)
    found = parallel.Loop()
    assert not found.is_here()
    found.next_look, found.spared = 0.0, 0.09
    assert not found.is_here()
    assert not kept(tmp_path, "claim")


def test_an_old_claim_is_taken_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NUMBAD_CACHE_DIR", str(tmp_path))
    claim = parallel.claim_of(TITLE)
    assert isinstance(claim, Path)
    assert parallel.claim_of(TITLE) is None
    past = time.time() - 2.0 * parallel.OLD
    os.utime(claim, (past, past))
    assert parallel.claim_of(TITLE) == claim


def test_what_cannot_be_kept_is_compiled_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("NUMBAD_CACHE_DIR", str(tmp_path / "file"))
    monkeypatch.setattr(machinecode, "compile_elsewhere", lambda *_: pytest.fail("for nothing"))
    assert parallel.claim_of(TITLE) is False
    assert worth().is_here()


@pytest.mark.subprocess
@pytest.mark.parametrize("child", ["fails", "none"])
def test_a_compilation_that_fails_is_done_here(child: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NUMBAD_CACHE_DIR", str(tmp_path))
    start = lambda *_: subprocess.Popen([sys.executable, "-c", "1 / 0"], stderr=subprocess.DEVNULL)
    monkeypatch.setattr(machinecode, "compile_elsewhere", start if child == "fails" else lambda *_: None)
    found = worth()
    assert wait_for(found.is_here)
    assert not kept(tmp_path, "claim")


def test_a_damaged_loop_is_compiled_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NUMBAD_CACHE_DIR", str(tmp_path))
    machinecode.place(TITLE).parent.mkdir()
    machinecode.place(TITLE).write_bytes(b"shares_at\0 nothing")
    monkeypatch.delitem(parallel.sweep.__globals__["_kernels"], ("shares_at", parallel.DOUBLE.num), raising=False)
    monkeypatch.delitem(
        parallel.sweep.__globals__["_kernels"], ("shares_at", parallel.DOUBLE.num, False), raising=False
    )
    monkeypatch.setattr(machinecode, "compile_elsewhere", lambda *_: None)
    found = worth()
    assert found.is_here()
    assert machinecode.load(TITLE) is not None


def test_an_application_without_numba_works_in_one_share(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        raise ImportError("No module named 'numba'")

    monkeypatch.setenv("NUMBAD_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(machinecode, "compile_elsewhere", lambda *_: None)
    monkeypatch.setattr(parallel, "start", fail)
    found = worth()
    assert not found.is_here()
    assert found.next_look == float("inf")


@pytest.mark.parametrize(
    ("executable", "frozen"), [("/opt/app/viewer", False), ("/usr/bin/python3", True), ("", False), (None, False)]
)
def test_an_application_with_python_in_it_is_not_started_again(
    executable: str | None, frozen: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", executable)
    monkeypatch.setattr(sys, "frozen", frozen, raising=False)
    monkeypatch.setattr(subprocess, "Popen", lambda *_, **__: pytest.fail("a process is started"))
    assert machinecode.compile_elsewhere("numbad.kernels.parallel", "compile_loop", [["claim"]]) is None


@pytest.mark.parametrize("executable", ["/usr/bin/python3.11", "C:/Python/python.exe", "/opt/pypy3", "/x/python3.13t"])
def test_a_python_is_started_again(executable: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", executable)
    assert machinecode.interpreter() == executable


# ---------------------------------------------------------------- what work alone tells


def test_work_alone_notes_what_threads_would_have_spared(monkeypatch: pytest.MonkeyPatch) -> None:
    found = parallel.Loop()
    monkeypatch.setattr(parallel, "loop", found)
    work = lambda *_: time.sleep(0.02) or 0
    monkeypatch.setattr(parallel, "count_threads", lambda: 1)
    parallel.run_alone(work, 0)
    assert found.spared == 0.0
    monkeypatch.setattr(parallel, "count_threads", lambda: 4)
    parallel.run_alone(work, 0)
    assert 0.015 <= found.spared < 1.0


def test_few_elements_are_left_to_one_thread_while_blas_spins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parallel, "count_threads", lambda: 2)
    monkeypatch.setattr(parallel.loop, "until", 0.0)
    parallel.note_blas()
    assert parallel.count_shares(limits.MANY_ELEMENTS - 1) == 1
    assert parallel.count_shares() == 2
    monkeypatch.setattr(parallel, "_blas_ran", -1.0)
    assert parallel.count_shares(1) == 2


def test_work_is_done_alone_for_a_while_after_a_thread_came_late(monkeypatch: pytest.MonkeyPatch) -> None:
    found = parallel.Loop()
    found.call = lambda *_: 0
    monkeypatch.setattr(parallel, "loop", found)
    monkeypatch.setattr(parallel, "count_threads", lambda: 2)
    monkeypatch.setattr(parallel, "_blas_ran", -1.0)
    for wall, own in [(0.002, 0.0019), (0.0021, 0.0011), (0.00009, 0.00001)]:  # balanced, uneven, too short to tell
        found.note(wall, own)
        assert parallel.count_shares() == 2
    rests = []
    for _ in range(8):
        found.note(0.024, 0.0003)
        assert parallel.count_shares() == 1
        assert 0.0 < found.until - time.perf_counter() <= found.rest
        rests.append(found.rest)
        found.until = 0.0
        assert parallel.count_shares() == 2
    assert rests[:2] == [parallel.LEAST_REST, 2.0 * parallel.LEAST_REST]
    assert rests[-1] == parallel.MOST_REST
    for _ in range(8):
        found.note(0.002, 0.0019)
    assert found.rest == 0.0


def test_the_loop_notes_how_long_the_other_threads_took(monkeypatch: pytest.MonkeyPatch) -> None:
    found = parallel.Loop()
    found.call = lambda *_: time.sleep(0.03) or 0  # waits, and computes nothing
    monkeypatch.setattr(parallel, "loop", found)
    monkeypatch.setattr(parallel, "switch", lambda *_: 0)
    parallel.run_side_by_side("totals_at", np.dtype(np.float64), 2, 0)
    assert found.until > time.perf_counter() - 1.0
    assert found.rest == parallel.LEAST_REST


# ---------------------------------------------------------------- threads


def run(program: str, **environment: str) -> list[str]:
    """Run a program in a new process; return the words that it prints."""
    given = with_path() | environment
    done = subprocess.run([sys.executable, "-c", program], env=given, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


@pytest.mark.subprocess
@pytest.mark.usefixtures("usual_limits")
def test_one_large_gradient_imports_no_numba() -> None:
    numbad.gradient(lambda v: np.sum(np.sin(v) ** 2), np.ones(N))  # now all is on disk
    program = (
        "import sys, numpy as np, numbad\n"
        f"numbad.gradient(lambda v: np.sum(np.sin(v) ** 2), np.ones({N}))\n"
        "print('numba' in sys.modules)"
    )
    assert run(program) == ["False"]


@pytest.mark.subprocess
def test_a_number_of_threads_that_is_set_before_numba_is_there_holds() -> None:
    program = (
        "import sys, threading, numbad\n"
        "from numbad.kernels import parallel, threads\n"
        "most = threads.count_threads()\n"
        "numbad.set_num_threads(2)\n"
        "before = threads.count_threads(), 'numba' in sys.modules\n"
        "parallel.loop.load()\n"
        "import numba\n"
        "other = []\n"
        "thread = threading.Thread(target=lambda: other.append(threads.count_threads()))\n"
        "thread.start(), thread.join()\n"
        "print(most, *before, threads.count_threads(), numba.get_num_threads(), *other)"
    )
    assert run(program, NUMBA_NUM_THREADS="3") == ["3", "2", "False", "2", "2", "3"]


@pytest.mark.parametrize("count", [0, -1, 10**6])
def test_a_number_of_threads_that_cannot_be_is_refused(count: int) -> None:
    with pytest.raises(ValueError, match=rf"number of threads is {count}[\s\S]*pass 1 to"):
        numbad.set_num_threads(count)


@pytest.mark.parametrize("count", [1.0, "2", None])
def test_a_number_of_threads_is_an_int(count: Any) -> None:
    with pytest.raises(TypeError, match=r"number of threads[\s\S]*pass an int"):
        numbad.set_num_threads(count)


@pytest.mark.subprocess
@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")
@pytest.mark.parametrize("starts", ["parallel.loop.load()", "import numba; numba.get_num_threads()", "pass"])
def test_a_forked_process_works_alone_where_its_parent_had_threads(starts: str) -> None:
    program = (
        "import os, warnings, numpy as np, numbad\n"
        "from numbad.kernels import parallel, threads\n"
        "warnings.simplefilter('ignore')\n"
        f"{starts}\n"
        f"x = np.linspace(0.0, 1.0, {N})\n"
        "f = lambda v: np.sum(np.sin(v) ** 2)\n"
        "here = numbad.gradient(f, x)\n"
        "pid = os.fork()\n"
        "if not pid:\n"
        "    same = np.array_equal(numbad.gradient(f, x), here)\n"
        "    print(same, threads.count_threads(), flush=True)\n"
        "    os._exit(0)\n"
        "os.waitpid(pid, 0)"
    )
    assert run(program, NUMBA_NUM_THREADS="2") == ["True", "2" if starts == "pass" else "1"]


def test_threads_are_counted_as_numba_counts_them(monkeypatch: pytest.MonkeyPatch) -> None:
    import numba

    monkeypatch.delenv("NUMBA_NUM_THREADS", raising=False)
    assert threads.most_threads() == numba.config.NUMBA_NUM_THREADS
    monkeypatch.setattr(threads, "loaded_numba", lambda: None)
    assert threads.most_threads() == numba.config.NUMBA_DEFAULT_NUM_THREADS
    monkeypatch.setenv("NUMBA_NUM_THREADS", "5")
    assert threads.most_threads() == 5
    monkeypatch.setenv("NUMBA_NUM_THREADS", "many")
    assert threads.most_threads() == numba.config.NUMBA_DEFAULT_NUM_THREADS


def test_memory_that_is_not_in_one_piece_never_gets_to_compiled_code() -> None:
    with pytest.raises(numbad.errors.InternalError, match="other elements"):
        calls.entries_of(np.ones((4, 4))[:, ::2])
