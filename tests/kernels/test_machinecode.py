"""Machine code on disk: loaded without Numba, refused when damaged."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import numbad
from numbad.kernels import machinecode
from numbad.sweeps import whole

SCRIPT = """
import sys
import numbad, numpy as np
print(numbad.gradient(lambda a, b: np.exp(a) - a * b + np.cos(b), 2.0, 4.0))
print("numba" in sys.modules)
"""


def run(folder: Path) -> list[str]:
    """Take a first gradient in a new process whose caches are in a folder."""
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(folder)}
    done = subprocess.run([sys.executable, "-c", SCRIPT], env=environment, capture_output=True, text=True, check=True)
    return done.stdout.splitlines()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a cache folder that holds the machine code of small gradients."""
    numbad.gradient(lambda x: x * x, 2.0)
    target = tmp_path / "numbad"
    target.mkdir()
    for name in ("linearise_float64", "run_at_float64"):
        source = next(path for path in machinecode.places(name) if path.exists())
        shutil.copy(source, target / source.name)
    return tmp_path


@pytest.mark.subprocess
def test_a_first_gradient_does_not_import_numba(folder: Path) -> None:
    gradient, imported = run(folder)
    assert gradient == "(3.3890560989306504, -1.2431975046920718)"
    assert imported == "False"


@pytest.mark.parametrize("damage", ["truncated", "altered", "empty", "other symbol"])
def test_damaged_machine_code_is_not_linked(folder: Path, damage: str, monkeypatch: pytest.MonkeyPatch) -> None:
    path = next((folder / "numbad").glob("linearise_float64-*.o"))
    data = bytearray(path.read_bytes())
    if damage == "truncated":
        data = data[: len(data) // 2]
    elif damage == "altered":
        data[len(data) // 2] ^= 1
    elif damage == "empty":
        data = bytearray()
    else:
        data = bytearray(b"nothing\0") + data[data.index(0) + 1 :]
    path.write_bytes(bytes(data))
    monkeypatch.setattr(machinecode, "places", lambda name: [path])
    assert machinecode.load("linearise_float64") is None


def test_a_gradient_in_one_call_agrees_with_that_of_an_execution(monkeypatch: pytest.MonkeyPatch) -> None:
    def f(a: float, b: float) -> float:
        return np.exp(a) * np.sin(b) + a**3 / b

    small = numbad.gradient(f, 0.7, 1.9)
    monkeypatch.setattr(whole, "SHORT", 0)
    assert numbad.gradient(f, 0.7, 1.9) == small
