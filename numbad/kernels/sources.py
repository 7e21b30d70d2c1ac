"""The source files that compiled code depends on, found by their imports."""

from __future__ import annotations

import functools
import hashlib
import re
from pathlib import Path

PACKAGE = Path(__file__).parent.parent
IMPORT = re.compile(rb"from numbad((?:\.\w+)+) import (\([^)]*\)|[^\n]*)")


SWITCHES = PACKAGE / "kernels" / "switches.py"  # it names all compiled functions


def sources(first: Path = SWITCHES) -> dict[Path, bytes]:
    """Return a file, what it imports of the package, what that imports, and so on."""
    found: dict[Path, bytes] = {}
    pending = [first]
    while pending:
        path = pending.pop()
        if path not in found:
            found[path] = path.read_bytes()
            for module, names in IMPORT.findall(found[path]):
                place = PACKAGE.joinpath(*module.decode().split(".")[1:])
                inside = [place / f"{name}.py" for name in re.findall(r"\w+", names.decode())]
                pending += [file for file in (place.with_suffix(".py"), *inside) if file.exists()]
    return found


@functools.cache
def digest_of_sources(first: Path = SWITCHES) -> str:
    """Return a digest of the text of these files."""
    found = hashlib.sha256()
    for path, text in sorted(sources(first).items()):
        found.update(path.relative_to(PACKAGE).as_posix().encode() + b"\0" + text.replace(b"\r\n", b"\n"))
    return found.hexdigest()[:24]
