"""Settings: checked when they are set, and restored."""

from __future__ import annotations

import pytest

import numbad


def test_the_setting_is_checked_and_restored() -> None:
    assert repr(numbad.config) == "Config(compile_tapes=True, debug_nans=False, notices=True, record_again=True)"
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
