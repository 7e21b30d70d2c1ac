"""Generated files are what their generator writes."""

from __future__ import annotations

from pathlib import Path

import pytest

from numbad.kernels import generate

HERE = Path(__file__).parents[2]

# ---------------------------------------------------------------- generated files and the import


@pytest.mark.parametrize("name", generate.GENERATED)
def test_generated_files_are_fresh(name: str) -> None:
    written = (HERE / "numbad" / "kernels" / "generated" / name).read_text()
    assert written == generate.GENERATED[name](), "run python -m numbad.kernels.generate"
