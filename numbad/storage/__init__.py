"""Tapes on files: plain arrays and plain data that execute nothing; imports tapes.

Pickles of tapes name `numbad.storage.read_tape`.
"""

from typing import Any


def __getattr__(name: str) -> Any:
    """Import what reads and writes tapes when that is first asked for: a start does not need it."""
    if name not in ("load", "read_tape", "save"):
        raise AttributeError(f"module 'numbad.storage' has no attribute {name!r}")
    from numbad.storage import tape_files

    return getattr(tape_files, name)
