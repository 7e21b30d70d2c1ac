"""`python -m numbad`: what a newcomer sees."""

import subprocess
import sys
from pathlib import Path

import pytest

import numbad.__main__
from numbad.kernels import loading, machinecode, switches


@pytest.fixture(scope="module")
def printed():
    done = subprocess.run([sys.executable, "-m", "numbad"], capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.subprocess
def test_the_tape_is_printed_row_by_row_with_values_and_adjoints(printed):
    lines = [line.split() for line in printed.splitlines()]
    assert ["0", "v0", "=", "exp(x1)", "7.3890561", "1"] in lines
    assert ["1", "v1", "=", "x1", "*", "x2", "8", "-1"] in lines
    assert ["4", "v4", "=", "v2", "+", "v3", "-1.2645875", "1"] in lines
    assert "input x1 = 2, adjoint 3.3890561" in printed


@pytest.mark.subprocess
def test_the_gradient_stands_beside_the_closed_form_and_a_difference(printed):
    for name in ("d/dx1", "d/dx2"):
        found, exact, estimate = map(float, next(line for line in printed.splitlines() if name in line).split()[1:])
        assert found == pytest.approx(exact, rel=1e-15)
        assert found == pytest.approx(estimate, rel=1e-8)


@pytest.mark.subprocess
def test_what_was_compiled_is_listed_with_its_time(printed):
    lines = [line for line in printed.splitlines() if " in " in line and line.rstrip().endswith(" s")]
    assert len(lines) >= 2
    assert all("loaded" in line or "compiled" in line for line in lines)


@pytest.mark.subprocess
def test_the_machine_is_described(printed):
    for word in ("processor", "libmvec", "threads", "threading layer", "BLAS of NumPy", "Numba"):
        assert word in printed


@pytest.fixture
def cache_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return an empty cache folder."""
    monkeypatch.setenv("NUMBAD_CACHE_DIR", str(tmp_path))
    return tmp_path


def run_main(monkeypatch: pytest.MonkeyPatch, *options: str) -> None:
    monkeypatch.setattr(sys, "argv", ["numbad", *options])
    numbad.__main__.main()


def test_the_cache_is_filled_shown_and_cleared(
    cache_folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(loading, "list_functions", lambda: ["block_sin", "block_cos"])
    monkeypatch.setattr(switches, "BY_NUMBA", frozenset())
    monkeypatch.setattr(loading, "_kernels", {})
    run_main(monkeypatch, "--compile")
    assert "4 functions compiled" in capsys.readouterr().out
    run_main(monkeypatch, "--compile", "--cache")
    shown = capsys.readouterr().out
    assert "0 functions compiled" in shown and "4 of 4" in shown
    assert str(cache_folder) in shown and machinecode.digest() in shown
    assert "block_cos_float32, block_cos_float64, block_sin_float32" in shown
    assert "4 functions,   0 tapes" in shown
    run_main(monkeypatch, "--clear")
    assert "removed 0.0" in capsys.readouterr().out
    assert list(cache_folder.iterdir()) == []


def test_options_that_there_are_not_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SystemExit):
        run_main(monkeypatch, "--clean")
