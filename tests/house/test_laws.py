"""The laws of the house: imports point downward, without cycles; what is imported in functions is listed, and why."""

import ast
import graphlib
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from numbad.ops import REGISTRY

ROOT = Path(__file__).parents[2]
FLOORS = (
    ("limits", "geometry", "errors", "settings", "types"),
    ("ops",),
    ("tape",),
    ("kernels",),
    ("recording",),
    ("numpy_api",),
    ("scipy_api",),
    ("numba_api",),
    ("sweeps",),
    ("emission",),
    ("transforms",),
    ("tapes",),
    ("sparsity",),
    ("compilation",),
    ("storage",),
    ("pictures",),
    ("replay",),
    ("distributed",),
    ("numpy", "passes", "testing", "__init__", "__main__"),
)

# Imports in functions. A first gradient needs none of the modules on the right, or needs them only once something has
# to be compiled; each is imported where it is first used, so that `import numbad` stays quick.
NUMBA = {
    "kernels.switches": {
        "kernels.array",
        "kernels.dependence",
        "kernels.emission",
        "kernels.fused",
        "kernels.generated.blocks",
        "kernels.generated.points",
        "kernels.generated.scalar",
        "kernels.laneblocks",
        "kernels.lanes",
        "kernels.matrix",
        "kernels.products",
        "kernels.passes",
        "kernels.pieces",
        "kernels.point_rows",
        "kernels.points",
        "kernels.run",
        "kernels.scalar",
        "kernels.scans",
        "kernels.shell",
        "kernels.verification",
    },
    "sparsity.compiled": {"sparsity.colours", "sparsity.propagation"},
    "kernels.make_number_texts": {"kernels.generated.numbers"},
    "sweeps.execution": {"sweeps.fusion", "sweeps.nonfinite"},
    "sweeps.linearised": {"sweeps.matrix_rows"},
    "sweeps.python_rows": {"sweeps.branch_error", "sweeps.large_rows", "sweeps.matrix_rows"},
}
TABLES = {  # of NumPy's and SciPy's functions: they import numpy.fft and SciPy
    "numpy_api.protocol": {"numpy_api.converting", "numpy_api.tables"},
    "scipy_api.noticing": {"numpy_api.teaching", "scipy_api.tables"},
    "storage.tape_files": {"numpy_api.tables", "scipy_api.tables"},
    "numba_api.dispatching": {"numba_api.adjoint.rows", "numba_api.native"},  # Numba compiles its types
    "numba_api.noticing": {"numba_api.dispatching", "numba_api.shadows", "numba_api.ufuncs"},
}
LATER = {  # parts of what a user holds, each the way to a whole wing
    "__init__": {
        "distributed.__init__",
        "numba_api.kernel",
        "passes",
        "replay.jit",
        "sparsity.derivatives",
        "storage.tape_files",
        "tapes.checks",
        "tapes.freezing",
        "tapes.tape",
        "testing",
        "transforms.batching",
        "transforms.custom",
    },
    "distributed.__init__": {"distributed.sums"},
    "recording.conversion": {"recording.cures"},  # for errors
    "replay.__init__": {"replay.jit"},  # for pickles that were written when it was a module
    "replay.batches": {"compilation.module", "replay.point_machine"},
    "replay.hot": {
        "compilation.array_code",
        "compilation.code",
        "compilation.module",
        "compilation.scalar_program",
        "compilation.taking_apart",
        "replay.compiled_machine",
        "replay.grouped_machine",
        "replay.lookups",
    },
    "replay.jit": {"replay.batches", "replay.path_summaries", "replay.sparse_paths"},
    "replay.machines": {"replay.divided_machine", "replay.scalar_machine"},
    "replay.program": {"emission.splicing", "recording.knowns"},
    "replay.recorded_path": {"tapes.passes"},
    "replay.sparse_paths": {"replay.path_summaries"},
    "storage.__init__": {"storage.tape_files"},  # pickles of tapes name `numbad.storage.read_tape`
    "tapes.freezing": {"tape.naming"},
    "tapes.tape": {"tapes.checks", "tapes.directional", "tapes.jacobians", "tapes.passes", "tapes.points"},
}
FACE = {  # a tape's methods for the eye and for files: the one place that reaches upward
    "tapes.tape": {
        "pictures.drawing",
        "pictures.explaining",
        "pictures.listing",
        "pictures.notebook",
        "pictures.spying",
        "sparsity.of_tapes",
        "storage.tape_files",
    },
    "sparsity.patterns": {"pictures.spying"},
}

LAYOUT = ("tape.layout",)  # modules that know where a word of a row lies


OPS_NAMED = {  # modules whose tables and tests name ops, besides NumPy's and SciPy's wings, which name their functions
    "__init__",  # the face
    "kernels.generate",  # names of functions that texts call
    "kernels.libmvec",  # names of vector functions
    "kernels.vectormath",  # the same in libm
    "recording.cures",  # names of functions of the module math
    "recording.roots",  # norms: a pattern of several ops
    "tapes.reference",  # knows nothing of what the sweeps know
}


class Arrow(NamedTuple):
    """An import of one module of numbad in another."""

    source: str
    target: str
    place: str  # "module", "function" or "typing"


def module_names(package: Path) -> dict[str, Path]:
    """Return the files of a package by the names of their modules, without the package's own name."""
    found = {}
    for path in sorted(package.rglob("*.py")):
        found[".".join(path.relative_to(package).with_suffix("").parts)] = path
    return found


def arrows(package: Path) -> Iterator[Arrow]:
    """Yield all imports inside of a package."""
    modules = module_names(package)
    for source, path in modules.items():
        for target, place in imports(ast.parse(path.read_text()), "module", package.name, modules):
            if target != source:
                yield Arrow(source, target, place)


def imports(node: ast.AST, place: str, package: str, modules: dict[str, Path]) -> Iterator[tuple[str, str]]:
    """Yield the modules of the package that a piece of text imports, and where."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import | ast.ImportFrom):
            yield from ((target, place) for target in targets(child, package, modules))
        elif isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
            yield from imports(child, "typing", package, modules)
        elif isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
            yield from imports(child, "function", package, modules)
        else:
            yield from imports(child, place, package, modules)


def targets(node: ast.Import | ast.ImportFrom, package: str, modules: dict[str, Path]) -> Iterator[str]:
    """Yield the modules that an import statement names."""
    if isinstance(node, ast.Import):
        names = [alias.name for alias in node.names]
    else:
        names = [f"{node.module}.{alias.name}" for alias in node.names]
    for name in names:
        first, _, rest = name.partition(".")
        if first != package:
            continue
        for known in (rest, f"{rest}.__init__", rest.rpartition(".")[0], f"{rest.rpartition('.')[0]}.__init__"):
            if known.removeprefix(".") in modules:
                yield known.removeprefix(".")
                break


def floor(module: str) -> int:
    """Return the floor of a module."""
    wing = module.split(".")[0]
    return next(k for k, wings in enumerate(FLOORS) if wing in wings)


def climbs(package: Path) -> list[Arrow]:
    """Return the imports that point upward, but for those of the face."""
    found = [arrow for arrow in arrows(package) if floor(arrow.target) > floor(arrow.source)]
    return [a for a in found if a.place != "function" or a.target not in FACE.get(a.source, ())]


def listed() -> set[tuple[str, str]]:
    """Return the imports in functions that are allowed."""
    tables = (NUMBA, TABLES, LATER, FACE)
    return {(source, target) for table in tables for source, parts in table.items() for target in parts}


def cycle(package: Path) -> list[str]:
    """Return the modules of a cycle, but for the imports in functions that are listed; empty where there is none."""
    graph: dict[str, set[str]] = {}
    for source, target, place in arrows(package):
        if place == "module" or (place == "function" and (source, target) not in listed()):
            graph.setdefault(source, set()).add(target)
    try:
        graphlib.TopologicalSorter(graph).prepare()
    except graphlib.CycleError as error:
        return list(error.args[1])
    return []


def finders(package: Path) -> list[str]:
    """Return where words are found by arithmetic outside of the layout, as module:line."""
    found = []
    for module, path in module_names(package).items():
        if module in LAYOUT:
            continue
        nodes = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Subscript)]
        found += [f"{module}:{node.lineno}" for node in nodes if is_words(node.value) and reckons(node.slice)]
    return found


def facts_elsewhere(package: Path) -> list[str]:
    """Return where ops stand in a table or a comparison outside of their blocks, as module:line."""
    known = {op.name for op in REGISTRY}
    found = []
    for module, path in module_names(package).items():
        if module in OPS_NAMED or module.split(".")[0] in ("ops", "numpy_api", "scipy_api", "numba_api"):
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            parts, most = ast.iter_child_nodes(node), 0 if isinstance(node, ast.Compare) else 1
            names = [part for part in parts if isinstance(part, ast.Constant) and part.value in known]
            if isinstance(node, ast.Dict | ast.Set | ast.Tuple | ast.List | ast.Compare) and len(names) > most:
                found.append(f"{module}:{node.lineno}")
    return found


def is_words(node: ast.expr) -> bool:
    """Whether an expression is the words of a tape: `words`, `x.words`, `x._words`, `x.program_words()`."""
    if isinstance(node, ast.Call):
        return is_words(node.func)
    name = node.id if isinstance(node, ast.Name) else node.attr if isinstance(node, ast.Attribute) else ""
    return name in ("words", "_words", "program_words")


def reckons(index: ast.expr) -> bool:
    """Whether an index or slice does arithmetic with numbers or constants, or is a number other than 0."""
    parts = list(ast.walk(index))
    numbers = [n for n in parts if isinstance(n, ast.Constant) and type(n.value) is int and n.value]
    constants = [n for n in parts if isinstance(n, ast.Name) and n.id.isupper()]
    return bool(numbers) or (bool(constants) and any(isinstance(n, ast.BinOp) for n in parts))


def write_package(folder: Path, **texts: str) -> Path:
    """Write a package with the floors of numbad; return its folder."""
    package = folder / "numbad"
    for name, text in texts.items():
        path = package / (name.replace("__", "/", 1) + ".py")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return package


# ---------------------------------------------------------------- numbad


def test_imports_point_downward() -> None:
    assert climbs(ROOT / "numbad") == []


def test_there_are_no_cycles() -> None:
    assert cycle(ROOT / "numbad") == []


def test_imports_in_functions_are_listed() -> None:
    found = {(arrow.source, arrow.target) for arrow in arrows(ROOT / "numbad") if arrow.place == "function"}
    assert found == listed()


@pytest.mark.subprocess
def test_imports_in_functions_spare_something() -> None:
    program = "import sys, numbad; print(*[name for name in sys.modules if name.startswith('numbad.')])"
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=environment, check=True)
    loaded = {name.removeprefix("numbad.") for name in done.stdout.split()}
    assert "recording.recorder" in loaded
    assert {(source, target) for source, target in listed() if target in loaded} == set()


def test_nothing_of_numbad_is_imported_by_string() -> None:
    texts = {name: path.read_text() for name, path in module_names(ROOT / "numbad").items()}
    found = [name for name, text in texts.items() if re.search(r"\bimport_module\(|\b__import__\(", text)]
    assert found == ["ops.definition"]  # SciPy's ufuncs, which ops name


def test_a_wing_says_what_lives_in_it_and_imports_nothing() -> None:
    for path in (ROOT / "numbad").rglob("__init__.py"):
        tree = ast.parse(path.read_text())
        assert ast.get_docstring(tree), path
        if path.parent.name != "numbad":
            own = [a for a in arrows(ROOT / "numbad") if a.source == f"{path.parent.name}.__init__"]
            assert [a for a in own if a.place == "module" and a.source != "ops.__init__"] == []


def test_the_top_folder_has_few_modules() -> None:
    assert len(list((ROOT / "numbad").glob("*.py"))) <= 10


def test_all_modules_have_a_floor() -> None:
    assert {floor(name) for name in module_names(ROOT / "numbad")} == set(range(len(FLOORS)))


def test_facts_of_an_op_stand_in_its_block() -> None:
    assert facts_elsewhere(ROOT / "numbad") == []


def test_the_layout_alone_knows_where_words_lie() -> None:
    assert finders(ROOT / "numbad") == []


# ---------------------------------------------------------------- the laws are shown to fail


@pytest.mark.parametrize(
    "text",
    [
        "from numbad.sweeps import execution",
        "from numbad.sweeps.execution import Execution",
        "import numbad.sweeps.execution",
        "def f():\n    from numbad.sweeps.execution import Execution",
        "if TYPE_CHECKING:\n    from numbad.sweeps.execution import Execution",
    ],
)
def test_a_climb_is_found(tmp_path: Path, text: str) -> None:
    package = write_package(tmp_path, ops__host=text, sweeps__execution="")
    assert [(arrow.source, arrow.target) for arrow in climbs(package)] == [("ops.host", "sweeps.execution")]


@pytest.mark.parametrize(
    "text", ['SIGNS = {"add": "+", "divide": "/"}', 'FLAT = ("floor", "ceil")', 'if op.name == "multiply":\n    pass']
)
def test_a_fact_of_an_op_elsewhere_is_found(tmp_path: Path, text: str) -> None:
    assert facts_elsewhere(write_package(tmp_path, tape__naming=text)) == ["tape.naming:1"]


def test_the_face_is_for_methods_of_tapes_alone(tmp_path: Path) -> None:
    inside = "def show():\n    from numbad.pictures import listing"
    package = write_package(tmp_path, tapes__tape=inside, tapes__other=inside, pictures__listing="")
    assert [arrow.source for arrow in climbs(package)] == ["tapes.other"]


def test_a_cycle_is_found(tmp_path: Path) -> None:
    one, other = "from numbad.ops import b", "def f():\n    from numbad.ops.a import g"
    assert set(cycle(write_package(tmp_path, ops__a=one, ops__b=other))) == {"ops.a", "ops.b"}
    assert cycle(write_package(tmp_path, ops__a=one, ops__b="")) == []


@pytest.mark.parametrize(
    "text",
    [
        "words[w + 1]",
        "tape.words[w + 4 + axis]",
        "self._words[d + 3 : d + 3 + axes]",
        "words[w + HEAD + axes]",
        "words[w : w + 21].tolist()",
        "words[w + {ADD: 3}.get(opcode, 1)]",
        "program_words()[w + words[w + 2]]",
        "words[2]",
        "words[w + 1] = 0",
    ],
)
def test_arithmetic_on_words_is_found(tmp_path: Path, text: str) -> None:
    package = write_package(tmp_path, tapes__a=f"def f():\n    {text}", tape__layout=text)
    assert set(finders(package)) == {"tapes.a:2"}


def test_plain_places_of_words_are_no_arithmetic(tmp_path: Path) -> None:
    text = "words[w], words[:0], words[position + plan.out], words[starts], other[w + 1], words[first:stop]"
    assert finders(write_package(tmp_path, tapes__a=text)) == []
