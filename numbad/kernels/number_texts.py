"""LLVM text of the ops' functions of numbers, shipped with the package: what compiled tapes are made of."""

from __future__ import annotations

import functools
import json
import zlib
from pathlib import Path

from numbad.kernels.sources import PACKAGE, digest_of_sources, read
from numbad.kernels.texts import head_of

ARCHIVE = Path(__file__).parent / "generated" / "number_texts"


def digest() -> str:
    """Return a digest of what the functions are made of."""
    return digest_of_sources(PACKAGE / "kernels" / "generated" / "numbers.py")


@functools.cache
def archive() -> tuple[dict[str, list[int]], bytes]:
    """Return where the text of each function is, and the compressed texts; nothing where they are of other sources."""
    content = read(str(ARCHIVE)) or b""
    head, _, packed = content.partition(b"\n")
    sources = digest()
    if sources and not head.startswith(head_of(sources)):
        return {}, b""
    return (json.loads(head)["texts"], packed) if head else ({}, b"")


@functools.cache
def find(name: str) -> str | None:
    """Return the text of a function of numbers, such as value_exp or slope0_exp; None if there is none."""
    places, packed = archive()
    place = places.get(name)
    if place is None:
        return None
    start, size = place
    return zlib.decompress(packed[start : start + size]).decode()
