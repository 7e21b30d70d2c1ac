"""The texts of the ops' functions of numbers are of the sources as they are, and there is one for each."""

from __future__ import annotations

import llvmlite.binding as llvm
import pytest

from numbad.kernels import make_number_texts, number_texts
from numbad.kernels.archives import open_archive
from numbad.kernels.generated import numbers
from numbad.ops import REGISTRY


def test_the_shipped_texts_are_current() -> None:
    """`python -m numbad.kernels.make_number_texts` makes them."""
    assert number_texts.archive().places, "the texts are of other sources"


def test_each_op_has_its_value_and_its_slopes() -> None:
    wanted = set()
    for op in REGISTRY:
        if not op.host:
            wanted |= {f"value_{op.name}", *(f"slope{k}_{op.name}" for k in range(op.arity) if op.smooth)}
    assert set(number_texts.archive().places) == wanted | {""}
    assert number_texts.find("value_nothing") is None


@pytest.mark.parametrize("name", ["value_exp", "slope0_tanh", "slope1_power"])
def test_a_text_is_one_function_without_vectors(name: str) -> None:
    text = number_texts.find(name)
    assert text is not None
    assert text.count("define ") == 1
    assert "_ZGV" not in text
    llvm.parse_assembly(text).verify()


def test_a_text_that_is_made_now_is_the_shipped_one() -> None:
    text = make_number_texts.make(numbers.value_add)
    assert "fadd double" in text
    assert "fadd double" in (number_texts.find("value_add") or "")


def test_other_sources_have_no_texts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(number_texts, "digest", lambda: "0" * 24)
    assert number_texts.archive.__wrapped__() == open_archive(None)
