"""Limits: every number that decides which way a program takes, and for what reason.

The fast ways begin, or end, where a program is large enough. With `NUMBAD_SMALL_LIMITS=1` in the environment these
numbers are so small that programs of a few elements take the ways of large ones, so tests of small programs try them
all. Compiled code has the numbers built in: each variant keeps its machine code for itself (see `VARIANT`).

Bounds that make files and arguments safe, and lengths of texts, are no such limits: they stand
where they are used.
"""

from __future__ import annotations

import hashlib
import os
import sys
import tempfile
from pathlib import Path


def is_set(name: str) -> bool:
    """Whether a switch of the environment is on."""
    return os.environ.get(name, "") not in ("", "0")


SMALL_LIMITS = is_set("NUMBAD_SMALL_LIMITS")
CHECKED = is_set("NUMBAD_CHECKED")
VARIANT = "-small" * SMALL_LIMITS + "-checked" * CHECKED  # of the compiled code; empty for the usual one


def limit(usual: int, small: int) -> int:
    """Return a limit: the usual one, or the small one of the tests."""
    return small if SMALL_LIMITS else usual


def keep_apart() -> None:
    """Give the compiled code of a variant a folder of its own: Numba's cache knows nothing of these numbers."""
    sources = [Path(__file__), *[Path(__file__).with_name("checkedkernels.py")] * CHECKED]
    name = "numbad" + VARIANT + "-" + hashlib.sha256(b"".join(path.read_bytes() for path in sources)).hexdigest()[:12]
    root = os.environ.get("NUMBA_CACHE_DIR") or os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    folder = Path(root) if Path(root).name == name else Path(root) / name  # a parent process may have chosen it
    try:
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
    except OSError:
        folder = Path(tempfile.mkdtemp(prefix=name))
    os.environ["NUMBA_CACHE_DIR"] = str(folder)
    if "numba" in sys.modules:
        sys.modules["numba"].config.CACHE_DIR = str(folder)


if VARIANT:
    keep_apart()
