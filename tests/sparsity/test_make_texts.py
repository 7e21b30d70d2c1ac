"""The shipped texts of the sparse functions: of the sources as they are, one for each, compiled without Numba."""

from __future__ import annotations

import re

import pytest

from numbad.kernels import texts
from numbad.kernels.archives import open_archive
from numbad.limits import VARIANT
from numbad.sparsity import compiled
from numbad.sparsity.compiled import FLOAT64, FUNCTIONS, TEXTS, digest_of_texts, source_of


def test_the_texts_are_of_the_sources_as_they_are() -> None:
    assert TEXTS.read_bytes().startswith(texts.head_of(digest_of_texts())), "run python -m numbad.sparsity.make_texts"


def test_every_function_has_a_text_that_names_no_machine() -> None:
    found = open_archive(TEXTS.read_bytes())
    assert set(found.places) == {"", *FUNCTIONS}
    for name in FUNCTIONS:
        assert source_of(name, FLOAT64)[0].__name__ == name
        text = found.find(name)
        assert text is not None and f"@{texts.symbol_of(name)}(" in text
        assert not re.search(r"^target |target-cpu|target-features|/root|/home|/work|NRT_MemInfo_alloc", text, re.M)


@pytest.mark.skipif(bool(VARIANT), reason="variants have no texts")
def test_texts_are_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> int:
        raise AssertionError("Numba compiles")

    monkeypatch.setattr(compiled.machinecode, "load", lambda title: None)
    monkeypatch.setattr(compiled.machinecode, "compile_by_numba", refuse)
    for name in ("order_at", "mark_rows_at"):
        assert compiled.load_or_compile(name, FLOAT64)


def test_texts_of_other_sources_are_not_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiled, "digest_of_texts", lambda: "0" * 24)
    assert compiled.archive.__wrapped__().find("order_at") is None


def test_machine_code_by_numba_does_not_stay_in_place_of_a_text(monkeypatch: pytest.MonkeyPatch) -> None:
    titles = []
    monkeypatch.setattr(compiled.machinecode, "load", lambda title: titles.append(title) or 1)
    compiled.load_or_compile("order_at", FLOAT64)
    monkeypatch.setattr(compiled, "archive", lambda: compiled.open_archive(None))
    compiled.load_or_compile("order_at", FLOAT64)
    assert len(set(titles)) == (1 if VARIANT else 2)
