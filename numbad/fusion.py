"""Fusion of large elementwise rows."""

from typing import Any


def plan(execution: Any, code: Any, words: Any, wanted: Any) -> dict[int, Any]:
    return {}
