"""jit: paths recorded once for each signature, and run from then on; imports all other wings.

Pickles of jitted functions name `numbad.replay.Jitted`.
"""

from typing import Any


def __getattr__(name: str) -> Any:
    """Import what replays functions when an older pickle asks for it here."""
    if name != "Jitted":
        raise AttributeError(f"module 'numbad.replay' has no attribute {name!r}")
    from numbad.replay.jit import Jitted

    return Jitted
