"""What compiled code depends on is found by its imports."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from numbad.kernels import loading, sources, switches


def imported(path: Path) -> set[Path]:
    """Return the files of the package that a file imports, by Python's own parser."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("numbad."):
            place = sources.PACKAGE.joinpath(*str(node.module).split(".")[1:])
            candidates = [place.with_suffix(".py"), *(place / f"{alias.name}.py" for alias in node.names)]
            found |= {file for file in candidates if file.exists()}
    return found


def test_all_imports_are_followed() -> None:
    found = set(sources.sources())
    for path in found:
        assert imported(path) <= found, path


def test_the_modules_of_all_functions_are_among_them() -> None:
    found = set(sources.sources())
    for name in [*loading.list_functions(), *switches.BY_NUMBA]:
        assert Path(switches.source_of(name).__code__.co_filename) in found
    assert sources.PACKAGE / "limits.py" in found
    assert sources.PACKAGE / "tape" / "layout.py" in found


def test_the_loader_is_none_of_them() -> None:
    names = {path.name for path in sources.sources()}
    assert not names & {"loading.py", "machinecode.py", "cache.py", "texts.py", "make_texts.py"}


def test_a_changed_source_changes_the_digest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kernels = tmp_path / "kernels"
    kernels.mkdir()
    (kernels / "switches.py").write_text("from numbad.kernels import (\n    one,\n    two,\n)\n")
    for name in ("one", "two"):
        (kernels / f"{name}.py").write_text(f"# {name}\n")
    monkeypatch.setattr(sources, "PACKAGE", tmp_path)
    monkeypatch.setattr(sources.sources, "__defaults__", (kernels / "switches.py",))
    digests = set()
    for text in ("# two\n", "# three\n"):
        (kernels / "two.py").write_text(text)
        sources.digest_of_sources.cache_clear()
        digests.add(sources.digest_of_sources())
    sources.digest_of_sources.cache_clear()
    assert len(digests) == 2
