"""The documentation in docs/: each public name stands in the reference, and each name that pages use exists."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numbad
import numbad.numpy
import numbad.types

DOCS = Path(__file__).parents[2] / "docs"
PAGES = {path.relative_to(DOCS): path.read_text() for path in [*DOCS.glob("*.rst"), *DOCS.glob("api/*.rst")]}
RULES = [numbad.custom_vjp, numbad.custom_jvp]
INSIDE = {"forward", "backward", "pull", "push", "rule"}  # what the classes of rules use themselves


def public_names() -> set[str]:
    """Return the names that a user may use, as they are written after `import numbad`."""
    found = {f"numbad.{name}" for name in dir(numbad)}
    found |= {f"numbad.passes.{name}" for name in numbad.passes.__all__}
    found |= {f"numbad.distributed.{name}" for name in numbad.distributed.__all__}
    checks = [name for name in vars(numbad.testing) if name.startswith("check_") and name != "check_value"]
    found |= {f"numbad.testing.{name}" for name in checks}
    found |= {f"numbad.numpy.{name}" for name in numbad.numpy.OWN}
    for kind in [numbad.Tape, *RULES]:
        methods = {name for name, part in vars(kind).items() if not name.startswith("_") and callable(part)}
        found |= {f"numbad.{kind.__name__}.{name}" for name in methods - INSIDE}
    return found


def names_in(text: str) -> set[str]:
    """Return the names of a page of the reference: the lines of its summaries, and what is set as code."""
    module, found = "numbad", set()
    for line in text.splitlines():
        if line.startswith(".. currentmodule:: "):
            module = line.split()[-1]
        elif re.fullmatch(r"   [\w.]+", line):
            found.add(f"{module}.{line.strip()}")
        found |= {name if name.startswith("numbad.") else f"{module}.{name}" for name in re.findall(r"``(.*?)``", line)}
        found |= {line} if line.startswith("numbad.") else set()  # the title of a submodule
    return found


def reference() -> set[str]:
    """Return all names of the reference."""
    return set().union(*(names_in(text) for path, text in PAGES.items() if path.parts[0] == "api"))


def look_up(name: str) -> Any:
    """Return what a dotted name stands for, or raise an AttributeError."""
    found: Any = numbad
    for part in name.split(".")[1:]:
        found = getattr(found, part)
    return found


def test_every_public_name_stands_in_the_reference() -> None:
    assert public_names() - reference() == set()


def test_a_name_that_is_missing_is_found() -> None:
    text = PAGES[Path("api/derivatives.rst")]
    assert "numbad.hvp" in names_in(text)
    assert "numbad.hvp" not in names_in(text.replace("   hvp\n", ""))


def test_every_name_that_pages_use_exists() -> None:
    found = {name for text in PAGES.values() for name in re.findall(r"\bnumbad\.\w+(?:\.\w+)*", text)}
    assert len(found) > 30
    for name in sorted(found):
        look_up(name)


def test_the_changelog_has_this_version() -> None:
    assert re.search(rf"^{re.escape(numbad.__version__)}\b", PAGES[Path("changelog.rst")], re.M)
