"""The changes that CONTRIBUTING shows apply to the package as it is, and pass the tests that it names."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

HERE = Path(__file__).parent.parent.parent
CONTRIBUTING = (HERE / ".github" / "CONTRIBUTING.md").read_text()
CHANGES = re.findall(r"^```diff\n(.*?)^```$", CONTRIBUTING, re.M | re.S)
COPIED = ("numbad", "tests", "pyproject.toml")


class Addition(NamedTuple):
    """What CONTRIBUTING says of one of its changes, in their order."""

    command: tuple[str, ...]  # writes what is generated
    most: int  # files by hand
    tests: tuple[str, ...]
    chosen: str  # of these tests
    passed: int  # how many they are, at least
    rule: tuple[str, str]  # a text of the change, and one in its place that the tests have to fail by


ADDITIONS = {
    "elementwise op": Addition(
        ("numbad.kernels.generate",),
        2,
        ("tests/ops/test_definition.py",),
        "gudermannian and (rule_on_numbers or mutated_rule) or knows_every_op",  # the others compile more
        7,
        ("", ""),  # it would be compiled once more; tests of mutants are among those that are run
    ),
    "array op": Addition(
        ("numbad.scipy_api", "--write"),
        3,
        ("tests/scipy_api/test_dispatch.py", "tests/numpy_api/test_linear_algebra_options.py"),
        "matrix_sign or signm",
        6,
        ("(bar - turned @", "(bar + turned @"),
    ),
    "function of NumPy": Addition(
        ("numbad.scipy_api", "--write"),
        2,
        ("tests/numpy_api/test_dispatch_calls.py", "tests/numpy_api/test_dispatch_policy.py"),
        "unique_counts or every_parameter or every_numpy",
        3,
        ("return_counts=True, equal_nan", "return_inverse=True, equal_nan"),
    ),
}


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a module of Python's in a copy of the package."""
    kept = {name: text for name, text in os.environ.items() if not name.startswith(("NUMBAD_", "NUMBA_CACHE"))}
    command, environment = [sys.executable, "-m", *arguments], kept | {"PYTHONPATH": str(folder)}
    return subprocess.run(command, cwd=folder, env=environment, text=True, capture_output=True, check=False)


def run_tests(folder: Path, addition: Addition) -> subprocess.CompletedProcess[str]:
    """Run the tests of an addition in a copy."""
    return run(folder, "pytest", "-v", "-p", "no:cacheprovider", *addition.tests, "-k", addition.chosen)


@pytest.mark.parametrize("title", ADDITIONS)
@pytest.mark.subprocess
def test_a_change_of_contributing_works(title: str, tmp_path: Path) -> None:
    git = shutil.which("git")
    if git is None:
        pytest.skip("needs git apply")
    addition, change = ADDITIONS[title], CHANGES[list(ADDITIONS).index(title)]
    for name in COPIED:  # with compiled code, which is as it was where no kernel changes
        copy = shutil.copytree if (HERE / name).is_dir() else shutil.copy2
        copy(HERE / name, tmp_path / name)
    apply = [git, "apply", "--verbose", "-"]
    done = subprocess.run(apply, input=change, text=True, cwd=tmp_path, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    by_hand = re.findall(r"^\+\+\+ b/(.*)$", change, re.M)
    assert len(by_hand) <= addition.most
    written = run(tmp_path, *addition.command)
    assert written.returncode == 0, written.stderr
    done = run_tests(tmp_path, addition)
    passed = re.search(r"(\d+) passed", done.stdout)
    assert done.returncode == 0 and passed is not None, done.stdout + done.stderr
    assert int(passed[1]) >= addition.passed
    right, wrong = addition.rule
    if right:
        path = tmp_path / by_hand[0]
        assert path.read_text().count(right) == 1
        path.write_text(path.read_text().replace(right, wrong))
        assert run_tests(tmp_path, addition).returncode == 1


def test_each_change_has_its_test() -> None:
    assert len(CHANGES) == len(ADDITIONS)
