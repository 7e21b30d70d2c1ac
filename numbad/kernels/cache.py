"""The folder where machine code is kept: one for a user, shared by all that run the same versions.

Entries are files in a folder of their digest, which stands for all that the code depends on. A file appears at once or
not at all, and holds a checksum, so processes may fill the folder together, and what is damaged is not used.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import shutil
import tempfile
import time
from pathlib import Path

from numbad.limits import VARIANT

CHECKSUM = 32  # bytes
SUFFIX = ".o"
DIGEST = re.compile("[0-9a-f]{24}")
KEPT_DAYS = 60  # a digest's folder that nobody has used for so long is removed
_used: set[Path] = set()


def root() -> Path:
    """Return the folder of all digests: `NUMBAD_CACHE_DIR`, or `numbad` in the user's folder of caches (XDG)."""
    chosen = os.environ.get("NUMBAD_CACHE_DIR")
    if chosen:
        return Path(chosen)
    if VARIANT:  # `limits` has chosen a folder of its own
        return Path(os.environ["NUMBA_CACHE_DIR"])
    caches = os.environ.get("XDG_CACHE_HOME")
    return (Path(caches) if caches else Path.home() / ".cache") / "numbad"


def place(digest: str, name: str) -> Path:
    """Return the file of an entry."""
    return root() / digest / f"{name}{SUFFIX}"


def read(digest: str, name: str) -> bytes | None:
    """Return what is kept under a name, None if there is nothing, or if it is damaged."""
    path = place(digest, name)
    try:
        content = path.read_bytes()
    except OSError:
        return None
    checksum, code = content[:CHECKSUM], content[CHECKSUM:]
    if hashlib.sha256(code).digest() != checksum:
        return None
    note_use(path.parent)
    return code


def is_kept(digest: str, name: str) -> bool:
    """Whether something is kept under a name."""
    return place(digest, name).exists()


def write(digest: str, name: str, code: bytes) -> None:
    """Keep code under a name, if the folder can be written to."""
    folder = root() / digest
    with contextlib.suppress(OSError):
        is_new = not folder.exists()
        folder.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=folder, prefix=".")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(hashlib.sha256(code).digest() + code)
            os.chmod(temporary, 0o644)
            os.replace(temporary, place(digest, name))  # another process may read it at any time
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(temporary)
            raise
        if is_new:
            remove_old()


def note_use(folder: Path) -> None:
    """Note on disk, once a process, that a digest's folder is in use."""
    if folder not in _used:
        _used.add(folder)
        with contextlib.suppress(OSError):
            if time.time() - folder.stat().st_mtime > 86_400:
                os.utime(folder)


def remove_old() -> None:
    """Remove the folders of digests that nobody has used for long."""
    for folder in folders():
        with contextlib.suppress(OSError):
            if time.time() - folder.stat().st_mtime > KEPT_DAYS * 86_400:
                shutil.rmtree(folder, ignore_errors=True)


def folders() -> list[Path]:
    """Return the folders of digests: nothing else in the cache is ours to remove."""
    try:
        found = list(root().iterdir())
    except OSError:
        return []
    return sorted(folder for folder in found if DIGEST.fullmatch(folder.name) and folder.is_dir())


def contents(folder: Path) -> dict[str, int]:
    """Return the names that a digest's folder keeps, with their bytes."""
    found = {}
    for path in sorted(folder.glob(f"*{SUFFIX}")):
        with contextlib.suppress(OSError):
            found[path.stem] = path.stat().st_size
    return found


def clear() -> int:
    """Remove everything that is kept; return how many bytes that was."""
    freed = 0
    for folder in folders():
        freed += sum(contents(folder).values())
        shutil.rmtree(folder, ignore_errors=True)
    return freed
