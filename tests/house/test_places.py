"""Where tests stand: a module's tests are found by its name, and no test file imports another."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
PACKAGE = TESTS.parent / "numbad"
APART = ("end_to_end", "house", "shared")  # folders that belong to no wing
# What has no file of its own: the modules of a wing, the file that tests them, and why it is that one.
ELSEWHERE = {
    "end_to_end/test_bad_input.py": (". errors", "an error is what a user does wrong"),
    "end_to_end/test_ways.py": (
        ". geometry limits; kernels array calls fused fused_layout matrix memory pieces scalar; "
        "sweeps execution large_rows operands python_rows gradients",
        "programs on both sides of each limit take every kernel, against NumPy alone",
    ),
    "end_to_end/test_modes.py": (
        "emission adjoint tangent linear regions; recording active blocks division elementwise inputs matmul operators "
        "outputs row_plans scalars structures trees; transforms derivatives; kernels run run_layout",
        "what every program passes through, in every mode",
    ),
    "ops/test_definition.py": (
        "ops arithmetic exponential selection special texts trigonometric; kernels vectormath",
        "one test for each op of the registry, in every kernel",
    ),
    "ops/test_linalg.py": ("ops host", "the ops whose kernels are Python"),
    "numpy_api/test_dispatch_mutants.py": (
        "kernels scans; ops reductions",
        "each rule of an array op is damaged there",
    ),
    "numpy_api/test_dispatch.py": (
        "numpy_api axes calculus ordering products protocol selection statistics tables ufuncs "
        "teaching; recording teaching",
        "one table of functions, whichever module records them",
    ),
    "numpy_api/test_dispatch_policy.py": (
        "numpy_api functions making refused; recording complaints",
        "what the dispatch refuses, and in which words",
    ),
    "recording/test_knowns.py": ("ops places; recording prologue", "what is computed from integers, and read by them"),
    "recording/test_recorder.py": ("recording hostcalls", "control flow on recorded values"),
    "recording/test_filling.py": (
        "recording rewriting unfilled",
        "the parts of one way: recording again what fills plain arrays",
    ),
    "recording/test_strictness.py": ("recording errors_met", "errors that a program asks to be told of"),
    "end_to_end/test_zero_law.py": ("recording zero_factors", "where a constant factor is zero"),
    "scipy_api/test_dispatch.py": (
        "scipy_api distances elementwise linear_algebra noticing signals tables",
        "one table of functions, whichever module records them",
    ),
    "numba_api/test_dispatching.py": (
        "numba_api noticing sources twins",
        "a call of a compiled function is the way to all of them",
    ),
    "numba_api/test_native.py": (
        "numba_api native_functions native_tape native_types",
        "what is compiled, of which types, and the rows that it appends",
    ),
    "numba_api/test_native_arrays.py": (
        "numba_api native_algebra",
        "arrays, and what is computed of whole ones",
    ),
    "numba_api/adjoint/test_rows.py": (
        "numba_api/adjoint activity blocks keeping support tree",
        "the parts of one way, from the source of a kernel to its derivatives",
    ),
    "storage/test_tape_files.py": (
        "storage container plaindata",
        "a tape file is a container with plain data",
    ),
    "tape/test_layout.py": ("kernels layout; tape rows", "the same functions, compiled"),
    "pictures/test_listing.py": ("tape naming", "names are what listings print"),
    "tapes/test_passes.py": (". passes; kernels passes", "the face, and the loops, of passes"),
    "tapes/test_points.py": ("kernels point_rows points; tapes lowering; replay batches", "points run lowered rows"),
    "compilation/test_loops.py": (
        "compilation backward forward operands text",
        "both sweeps of a loop are right together, or not",
    ),
    "compilation/test_lanes.py": (
        "compilation lane_groups points",
        "what a function of lanes is made of, and what it is given",
    ),
    "compilation/test_module.py": ("compilation code scalar_program; tapes adjoint_plans", "what a module is made of"),
    "sparsity/test_patterns.py": (
        "ops reach; sparsity compiled elements layout propagation",
        "what is propagated is a pattern",
    ),
    "sparsity/test_colouring.py": ("sparsity colours", "the compiled half of colours"),
    "sparsity/test_derivatives.py": (
        "sparsity entries lanes matrices of_tapes plans prepared",
        "every method, option and way to a matrix, against dense derivatives",
    ),
    "kernels/test_number_texts.py": ("kernels make_number_texts", "what is made is what is read"),
    "tapes/test_checks.py": ("kernels verification", "the compiled half of the check"),
    "sweeps/test_dependence.py": ("kernels dependence tables", "the compiled half of dependence"),
    "sweeps/test_linearised.py": ("kernels laneblocks lanes lanes_layout", "the compiled half of lanes"),
    "sweeps/test_whole.py": ("replay whole_machine", "the same call, with memory that is kept"),
    "emission/test_emitter.py": ("kernels emission emission_layout", "the compiled half of the emitter"),
    "kernels/test_parallel.py": ("kernels shell threads", "the loop, and the threads that it uses"),
    "kernels/test_machinecode.py": ("kernels loading", "what is loaded is machine code on disk"),
    "kernels/test_texts.py": ("kernels make_texts", "what is made is what is read"),
    "kernels/test_checked_code.py": ("kernels checked_memory", "the two halves of the checked build"),
    "distributed/test_sums.py": (
        "distributed blocks derivatives ledgers signatures summing",
        "what every sum passes through",
    ),
    "distributed/test_executors.py": ("distributed", "what executors let run"),
    "replay/test_jit.py": (
        "replay machines number_memory output_copies program swept_machine telling",
        "jit is the way to all of them",
    ),
}


def names(entry: str) -> set[str]:
    """Return the modules of an entry: wings and their modules, as paths without a suffix."""
    found = set()
    for part in entry.split(";"):
        wing, *modules = part.split()
        found |= {str(Path(wing, module)) for module in modules}
    return found


def modules() -> set[str]:
    """Return the modules of the package that people write."""
    paths = [path.relative_to(PACKAGE).with_suffix("") for path in PACKAGE.rglob("*.py")]
    return {str(path) for path in paths if not path.name.startswith("__") and "generated" not in path.parts}


def files() -> list[Path]:
    """Return all files of tests, from the folder of tests."""
    return sorted(path.relative_to(TESTS) for path in TESTS.rglob("test_*.py"))


def test_a_modules_tests_are_found_by_its_name() -> None:
    own = {str(path.parent / path.stem.removeprefix("test_")) for path in files()}
    elsewhere = [name for entry, _ in ELSEWHERE.values() for name in names(entry)]
    assert len(elsewhere) == len(set(elsewhere)), "a module has two entries"
    assert not modules() - own - set(elsewhere), "these have no test file, and no entry in ELSEWHERE"
    assert not set(elsewhere) & own, "these have a test file of their name"
    assert not set(elsewhere) - modules(), "there are no such modules"
    assert all((TESTS / file).exists() for file in ELSEWHERE)


@pytest.mark.parametrize("file", [file for file in files() if file.parts[0] not in APART], ids=str)
def test_a_test_file_is_named_after_a_module(file: Path) -> None:
    """`test_NAME.py`, or `test_NAME_ASPECT.py` where one module has several."""
    known = {Path(name).name for name in modules() if Path(name).parent == file.parent} | {"main"}
    name = file.stem.removeprefix("test_")
    assert any(name == module or name.startswith(f"{module}_") for module in known)


@pytest.mark.parametrize("file", files(), ids=str)
def test_no_test_file_imports_another(file: Path) -> None:
    for node in ast.walk(ast.parse((TESTS / file).read_text())):
        parts = [alias.name for alias in node.names] if isinstance(node, ast.Import | ast.ImportFrom) else []
        parts += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        assert not [part for part in parts if part.rpartition(".")[2].startswith("test_")]


def test_there_is_one_conftest() -> None:
    assert [path.relative_to(TESTS) for path in TESTS.rglob("conftest.py")] == [Path("conftest.py")]
