"""What the documents say is true: README's code gives its output, ARCHITECTURE's example is the real tape."""

from __future__ import annotations

import contextlib
import doctest
import importlib.util
import io
import linecache
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import numbad
from numbad.numpy_api.dispatch import find_function
from numbad.ops import REGISTRY
from numbad.recording.recorder import set_current
from numbad.scipy_api.__main__ import recorded
from numbad.tapes import reference

HERE = Path(__file__).parents[2]
README = (HERE / "README.md").read_text()
ARCHITECTURE = (HERE / "numbad" / "ARCHITECTURE.md").read_text()
CONTRIBUTING = (HERE / ".github" / "CONTRIBUTING.md").read_text()
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", README, re.M | re.S)

# ---------------------------------------------------------------- README


def run_blocks() -> list[tuple[str, str, str]]:
    """Run each of README's Python blocks by itself; return (code, output, what README prints)."""
    found = []
    for (language, text), (following, expected) in zip(BLOCKS, [*BLOCKS[1:], ("", "")], strict=True):
        if language != "python":
            continue
        file = f"README.py{len(found)}"
        linecache.cache[file] = (len(text), None, text.splitlines(keepends=True), file)
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(compile(text, file, "exec"), {"__name__": "__main__"})
        output = re.sub(r"README\.py\d+", "README.py", printed.getvalue())
        found.append((text, output, expected if following == "text" else ""))
    return found


def test_readme_prints_what_it_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # it saves a tape
    for code, printed, expected in run_blocks():
        assert printed == expected, f"{code}\n\nprints\n\n{printed}"


def test_readme_has_two_commands_for_all_set_up() -> None:
    commands = [text.strip() for language, text in BLOCKS if language == "sh"]
    assert commands == [
        "python -m pip install . && python -m numbad",
        'python -m pip install -e ".[test]" && python -m pytest -n auto',
    ]


@pytest.mark.parametrize("name", ["README.md", "numbad/ARCHITECTURE.md", ".github/CONTRIBUTING.md"])
def test_links_lead_somewhere(name: str) -> None:
    path = HERE / name
    for target in re.findall(r"\]\(([^)]+)\)", path.read_text()):
        if not target.startswith("http"):
            assert (path.parent / target.partition("#")[0]).exists(), target


# ---------------------------------------------------------------- ARCHITECTURE


def table(heading: str) -> list[list[str]]:
    """Return the cells of the first table after a heading line that begins so."""
    start = ARCHITECTURE.index(f"\n| {heading}")
    lines = ARCHITECTURE[start + 1 :].split("\n\n")[0].splitlines()[2:]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def five_rows(x1: Any, x2: Any) -> Any:
    return np.exp(x1) - x1 * x2 + np.cos(x2)


def test_the_worked_example_is_the_real_tape() -> None:
    tape = numbad.record(five_rows, 2.0, 4.0)
    execution, _ = tape.run((2.0, 4.0))
    rows = table("row | op")
    assert len(rows) == len(tape)
    for row, (number, op, out, a, b, value, p, q) in enumerate(rows):
        opcode, *addresses = tape.code[row].tolist()
        assert (int(number), op) == (row, REGISTRY[opcode].name)
        assert [int(out), int(a), int(b)] == addresses
        found = [execution.values[int(out)], *execution.partials[row]]
        assert [float(value), float(p), float(q)] == pytest.approx(found, abs=5e-8)


def test_the_worked_adjoint_is_the_real_gradient() -> None:
    tape = numbad.record(five_rows, 2.0, 4.0)
    execution, _ = tape.run((2.0, 4.0))
    bar = np.zeros(tape.size)
    bar[7] = 1.0
    for row, *cells in table("row | reads"):
        _, out, a, b = tape.code[int(row)].tolist()
        p, q = execution.partials[int(row)]
        bar[a] += p * bar[out]
        bar[b] += q * bar[out]
        said = [re.fullmatch(r"bar\[(\d)\] = (\S+)", cell) for cell in cells if cell]
        assert [int(cell[1]) for cell in said if cell] == [out, a, b][: len(said)]
        assert [float(cell[2]) for cell in said if cell] == pytest.approx(bar[[out, a, b][: len(said)]], abs=5e-8)
    assert tuple(bar[1:3]) == numbad.gradient(five_rows, 2.0, 4.0)


def test_the_worked_example_runs_through_the_reference() -> None:
    tape = numbad.record(five_rows, 2.0, 4.0)
    state = reference.evaluate(tape, (2.0, 4.0))
    for row, (_, _, out, a, b, value, *slopes) in enumerate(table("row | op")):
        op = REGISTRY[int(tape.code[row, 0])]
        parts = [(0, np.array([int(address)])) for address in (out, a, b)][: 1 + op.arity]
        found = [state.values[0][int(out)], *(float(np.squeeze(p)) for p in reference.partials(state, op, parts))]
        assert [float(value), *map(float, slopes[: op.arity])] == pytest.approx(found, abs=5e-8)
    bars = reference.start(state)
    bars[0][7] = 1.0
    for row, *cells in table("row | reads"):
        reference.row_back(state, bars, int(row))
        for address, number in re.findall(r"bar\[(\d)\] = (\S+)", " ".join(cells[1:])):
            assert float(number) == pytest.approx(bars[0][int(address)], abs=5e-8)


def test_the_worked_example_gives_what_it_says() -> None:
    parser, runner = doctest.DocTestParser(), doctest.DocTestRunner()
    example = parser.get_doctest(ARCHITECTURE, {}, "ARCHITECTURE", "numbad/ARCHITECTURE.md", 0)
    try:
        found = runner.run(example)
    finally:
        set_current(None)
    assert found.attempted >= 20
    assert found.failed == 0
    broken = parser.get_doctest(ARCHITECTURE.replace("3.3890560989306504", "3.4"), {}, "damaged", None, 0)
    assert doctest.DocTestRunner(verbose=False).run(broken, out=lambda text: None).failed >= 3


def test_every_module_has_its_place() -> None:
    table_of_modules = ARCHITECTURE[ARCHITECTURE.index("## Modules") :].split("\n## ")[0]
    words = {
        word
        for row in table_of_modules.split("\n")
        if row.startswith("|")
        for word in re.findall(r"`([\w/]+?)`", row.split("|")[2])
    }
    package = HERE / "numbad"
    files = [path.relative_to(package) for path in package.rglob("*.py") if not path.stem.startswith("__")]
    modules = {
        str(path.with_suffix("")) for path in files if path.parts[0] not in ("numpy_api", "scipy_api", "numba_api")
    }
    assert words == modules | {"numpy_api", "scipy_api", "numba_api"}


def test_the_list_of_recorded_functions_is_complete() -> None:
    text = ARCHITECTURE[ARCHITECTURE.index("## Recorded functions") :]
    listed: dict[str, set[str]] = {}
    for title, names in re.findall(r"^\* \*\*(.*?)\*\*: ((?:.|\n  )+)", text, re.M):
        listed.setdefault(title.split()[-1].removeprefix("numpy."), set()).update(map(str.strip, names.split(",")))
    known = set().union(*listed.values())
    found = set().union(*recorded().values())
    assert found <= known, "run python -m numbad.scipy_api --write"
    for module, names in listed.items():
        if module.startswith("np"):  # a name that this NumPy has must be recorded
            prefix = module.removeprefix("np").removeprefix(".")
            missing = {name for name in names if find_function(f"{prefix}.{name}".lstrip(".")) is not None} - found
            assert not missing


# ---------------------------------------------------------------- the import and the gate


@pytest.mark.subprocess
def test_the_import_is_light() -> None:
    program = (
        "import sys, numbad; "
        "print([name for name in ('scipy', 'matplotlib', 'sympy', 'pytest', 'optree') if name in sys.modules]); "
        "from numbad.kernels import loading; print(loading.compile_seconds); "
        "print([f for m in list(sys.modules.values()) if m and m.__name__.startswith('numbad')"
        " for f in vars(m).values() if getattr(f, 'signatures', None)])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split("\n") == ["[]", "{}", "[]", ""]


def test_the_gate_runs_what_the_readme_says() -> None:
    gate = (HERE / ".ci" / "run").read_text()
    assert os.access(HERE / ".ci" / "run", os.X_OK)
    found = re.search(r"grep '(.*)' README\.md", gate)
    assert found is not None
    assert len(re.findall(found[1], README, re.M)) == 2


def test_every_benchmark_imports() -> None:
    """asv would only say that it found fewer benchmarks."""
    folder = HERE / "asv_bench"
    sys.path.insert(0, str(folder))
    try:
        for path in sorted((folder / "benchmarks").glob("*.py")):
            specification = importlib.util.spec_from_file_location(f"benchmarks.{path.stem}", path)
            assert specification is not None and specification.loader is not None
            specification.loader.exec_module(importlib.util.module_from_spec(specification))
    finally:
        sys.path.remove(str(folder))
