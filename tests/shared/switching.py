"""Threads that take turns so often that what one leaves half done another meets."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator


@contextlib.contextmanager
def frequent_switches() -> Iterator[None]:
    """Let threads take turns every ten microseconds while a block runs."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        yield
    finally:
        sys.setswitchinterval(before)
