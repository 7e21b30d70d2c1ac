"""Settings: checked when they are set, and restored."""

from __future__ import annotations

import pytest

import numbad


def test_the_setting_is_checked_and_restored() -> None:
    settings = "compile_tapes=True, debug_nans=False, kept_memory=268435456, notices=True, record_again=True"
    assert repr(numbad.config) == f"Config({settings})"
    with pytest.raises(RuntimeError), numbad.debug_nans():
        assert numbad.config.debug_nans
        with numbad.debug_nans(False):
            assert not numbad.config.debug_nans
        raise RuntimeError
    assert not numbad.config.debug_nans
    with pytest.raises(TypeError, match="True or False, not 1"):
        numbad.config.debug_nans = 1  # type: ignore[assignment]
    with pytest.raises(AttributeError):
        numbad.config.debug_nan = True  # type: ignore[attr-defined]


def test_the_bound_of_kept_memory_is_checked() -> None:
    for wrong in (True, 1.5, "1", None):
        with pytest.raises(TypeError, match="is an int, not"):
            numbad.config.kept_memory = wrong  # type: ignore[assignment]
    with pytest.raises(ValueError, match="at least 0, not -1"):
        numbad.config.kept_memory = -1
    before = numbad.config.kept_memory
    try:
        numbad.config.kept_memory = 0
        assert numbad.config.kept_memory == 0
    finally:
        numbad.config.kept_memory = before
