"""LLVM text of the ops' functions of numbers, shipped with the package: what compiled tapes are made of."""

from __future__ import annotations

import functools
from pathlib import Path

from numbad.kernels.archives import Archive, open_archive
from numbad.kernels.sources import PACKAGE, digest_of_sources, read
from numbad.kernels.texts import head_of

ARCHIVE = Path(__file__).parent / "generated" / "number_texts"


def digest() -> str:
    """Return a digest of what the functions are made of."""
    return digest_of_sources(PACKAGE / "kernels" / "generated" / "numbers.py")


@functools.cache
def archive() -> Archive:
    """Return the texts; none where they are of other sources."""
    content, sources = read(str(ARCHIVE)) or b"", digest()
    return open_archive(content if not sources or content.startswith(head_of(sources)) else None)


@functools.cache
def find(name: str) -> str | None:
    """Return the text of a function of numbers, such as value_exp or slope0_exp; None if there is none."""
    return archive().find(name)
