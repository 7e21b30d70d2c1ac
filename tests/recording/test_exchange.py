"""Functions whose code is exchanged while other threads look for them."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from numbad.recording import exchange


def test_no_other_thread_gives_functions_hooks_while_they_are_looked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    def target() -> None: ...

    entered: list[bool] = []

    def exchange_it() -> None:
        with exchange.guard.lock:
            entered.append(True)

    other, find = threading.Thread(target=exchange_it), exchange.gc.get_referrers

    def look(*codes: Any) -> list[Any]:
        other.start()
        other.join(0.1)
        assert not entered
        return find(*codes)

    monkeypatch.setattr(exchange.gc, "get_referrers", look)
    assert target in exchange.functions_with([target.__code__])
    other.join()
    assert entered
