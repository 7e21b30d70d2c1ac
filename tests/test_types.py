"""Types of public results: what a type checker says of calls is what they return, and wrong lines are found."""

from __future__ import annotations

import os
import re
import runpy
import subprocess
import sys
import types
import typing
from pathlib import Path
from typing import Any, get_args, get_origin

import numpy as np
import pytest

ROOT = Path(__file__).parent.parent
CALLS = Path(__file__).parent / "shared" / "typed_calls.py"
WRONG = """
import numpy as np
import numbad
from typing import assert_type

numbad.gradiant(np.sum, np.ones(2))
numbad.gradient(np.sum, 1.0).shape
numbad.gradient(np.sum, np.ones(2)).nothing
one, other, third = numbad.gradient(lambda x, y: x * y, 1.0, 2.0)
assert_type(numbad.grad(np.sum)(np.ones(2)), float)
numbad.grad(3)
numbad.jit(lambda: 1.0, static_argnums="x")
numbad.record(np.sum, np.ones(2)).gradient(np.ones(2)).nothing


@numbad.jit
def area(width: float, height: float) -> float:
    return width * height


area("wide", 2.0)
numbad.vjp(area, 1.0, "high")
numbad.checkpoint(area)(1.0)
"""


def mypy(*arguments: Path | str, cache: Path) -> str:
    """Return what mypy prints, with nothing but its strict defaults; its exit code is not 2, of a crash."""
    options = ("--config-file=", "--strict", "--follow-imports=silent", "--no-error-summary", f"--cache-dir={cache}")
    command = (sys.executable, "-m", "mypy", *options, *map(str, arguments))
    done = subprocess.run(command, capture_output=True, text=True, cwd=cache, env=os.environ | {"MYPYPATH": str(ROOT)})
    assert done.returncode in (0, 1), done.stdout + done.stderr
    return done.stdout


def agrees(value: Any, kind: Any) -> bool:
    """Whether a value is of a type, as a type checker speaks of types; a float is no float64 here."""
    origin, parts = get_origin(kind), get_args(kind)
    if origin in (typing.Union, types.UnionType):  # `float | Any` says what is returned as a rule
        return any(agrees(value, part) for part in parts if part is not Any)
    if kind is Any:
        return True
    if origin is np.ndarray:
        shape, dtype = get_args(parts[0]), get_args(parts[1])[0]
        return type(value) is np.ndarray and value.ndim == len(shape) and value.dtype == dtype
    if origin is tuple and parts[-1] is not Ellipsis:
        return type(value) is tuple and len(value) == len(parts) and all(map(agrees, value, parts))
    if origin is dict:
        return type(value) is dict and all(agrees(k, parts[0]) and agrees(v, parts[1]) for k, v in value.items())
    return type(value) is (origin or kind)


@pytest.fixture
def compared(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, Any]]:
    """Let `assert_type` note values and their types; return the list."""
    found: list[tuple[Any, Any]] = []
    monkeypatch.setattr(typing, "assert_type", lambda value, kind: found.append((value, kind)))
    return found


@pytest.mark.subprocess
def test_a_type_checker_knows_the_results_of_public_functions(tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.py"
    wrong.write_text(WRONG)
    found = mypy(CALLS, wrong, cache=tmp_path)
    assert [line for line in found.splitlines() if CALLS.name in line] == []
    reported = {int(number) for number in re.findall(r"wrong\.py:(\d+): error", found)}
    lines = WRONG.splitlines()
    expected = {k for k, line in enumerate(lines, 1) if re.match(r"(numbad|one|assert_type|area)\W", line)}
    assert reported == expected, found


def test_public_functions_return_what_a_type_checker_says(compared: list[tuple[Any, Any]]) -> None:
    runpy.run_path(str(CALLS))
    assert len(compared) == CALLS.read_text().count("\nassert_type(")
    assert [(value, kind) for value, kind in compared if not agrees(value, kind)] == []


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (np.float64(1.0), float),
        (1, float),
        (np.ones(2), float),
        (np.ones((2, 2)), np.ndarray[tuple[int], np.dtype[np.float64]]),
        (np.ones(2, np.float32), np.ndarray[tuple[int], np.dtype[np.float64]]),
        ((1.0,), tuple[float, float]),
        ((1.0, 1), tuple[float, float]),
        ([1.0, 1.0], tuple[float, float]),
        ({"a": 1}, dict[str, float]),
        (None, float | np.ndarray),
    ],
)
def test_values_of_other_types_are_told_apart(value: Any, kind: Any) -> None:
    assert not agrees(value, kind)
