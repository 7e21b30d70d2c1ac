"""The source files that compiled code depends on, found by their imports."""

from __future__ import annotations

import functools
import hashlib
import os
import re
from pathlib import Path
from typing import Any

PACKAGE = Path(__file__).parent.parent
IMPORT = re.compile(rb"from numbad((?:\.\w+)+) import (\([^)]*\)|[^\n]*)")


def sources(first: Path = PACKAGE / "kernels" / "switches.py") -> dict[Path, bytes]:
    """Return a file, what it imports of the package, what that imports, and so on."""
    texts: dict[str, bytes | None] = {}  # None where there is no such file
    pending: list[tuple[str, list[str]]] = [(str(first), [])]
    while pending:
        path, inside = pending.pop()
        if path not in texts:
            texts[path] = read(path)
            for module, names in IMPORT.findall(texts[path] or b""):
                place = f"{PACKAGE}{module.decode().replace('.', os.sep)}"
                modules = [f"{place}{os.sep}{name}.py" for name in re.findall(r"\w+", names.decode())]
                pending.append((f"{place}.py", modules))
        if texts[path] is None:  # a folder, of which modules are imported
            pending += [(file, []) for file in inside]
    return {Path(path): text for path, text in texts.items() if text is not None}


def read(path: str) -> bytes | None:
    """Return what is in a file of the package, which may be in an archive; None if there is none."""
    assert __spec__ is not None
    loader: Any = __spec__.loader
    try:
        return loader.get_data(path)
    except OSError:
        return None


@functools.cache
def digest_of_sources(*first: Path) -> str:
    """Return a digest of the text of these files; an empty one where the package has no sources."""
    files = sources(*first)
    if not files:
        return ""
    found = hashlib.sha256()
    for path, text in sorted(files.items()):
        found.update(path.relative_to(PACKAGE).as_posix().encode() + b"\0" + text.replace(b"\r\n", b"\n"))
    return found.hexdigest()[:24]
