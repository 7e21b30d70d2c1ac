"""What tests share: the usual limits, for those that ask which way was taken."""

from __future__ import annotations

import runpy
import sys

import pytest

from numbad import limits

COMPILED = {"BLOCK", "LARGE", "PIECE", "RUN", "PIECES", "FUSED_BLOCK", "FUSED_PIECE", "CLEARED_PIECES", "POWERS_MOST",
            "FOLDED", "CAPACITY"}  # fmt: skip


@pytest.fixture
def usual_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Set the limits that are not built into machine code to their usual values, whatever the environment says.

    For tests that assert which way a program takes: the results are compared with small limits elsewhere.
    """
    if not limits.SMALL_LIMITS:
        return
    monkeypatch.delenv("NUMBAD_SMALL_LIMITS")
    monkeypatch.delenv("NUMBAD_CHECKED", raising=False)
    usual = {name: value for name, value in runpy.run_path(limits.__file__).items() if name.isupper()}
    for module in [part for name, part in sys.modules.items() if name.split(".")[0] == "numbad"]:
        for name in set(usual).intersection(vars(module)) - COMPILED:
            if vars(module)[name] == getattr(limits, name):
                monkeypatch.setattr(module, name, usual[name])
