"""Many texts in one file, to be read one by one: each is compressed with what all of them share as a dictionary."""

from __future__ import annotations

import dataclasses
import json
import zlib

SHARED = 1 << 15  # bytes of the dictionary: as many as zlib looks back
EXCERPTS = 16  # texts of which it has the beginnings


def pack(found: dict[str, str], sources: str) -> bytes:
    """Return texts as one file: a line with the digest of their sources and where each is, then the parts."""
    texts = {title: text.encode() for title, text in sorted(found.items())}
    chosen = list(texts.values())[:: -(-len(texts) // EXCERPTS)]
    shared = b"".join(text[: SHARED // len(chosen)] for text in chosen)
    parts = {"": zlib.compress(shared, 9)}
    for title, text in texts.items():
        compressor = zlib.compressobj(9, zdict=shared)
        parts[title] = compressor.compress(text) + compressor.flush()
    places, start = {}, 0
    for title, part in parts.items():
        places[title] = [start, len(part)]
        start += len(part)
    head = json.dumps({"sources": sources, "texts": places}, separators=(",", ":"))
    return head.encode() + b"\n" + b"".join(parts.values())


@dataclasses.dataclass(frozen=True)
class Archive:
    """A file of texts that has been read.

    Attributes
    ----------
    places : dict
        Where each text begins, and its length; that of the dictionary has no title.
    packed : bytes
        The compressed texts.
    shared : bytes
        The dictionary.
    """

    places: dict[str, list[int]]
    packed: bytes
    shared: bytes

    def find(self, title: str) -> str | None:
        """Return a text, None if there is none."""
        place = self.places.get(title)
        if place is None or not title:
            return None
        start, size = place
        return zlib.decompressobj(zdict=self.shared).decompress(self.packed[start : start + size]).decode()


def open_archive(content: bytes | None) -> Archive:
    """Return the texts of a file; none of an empty one."""
    if not content:
        return Archive({}, b"", b"")
    head, _, packed = content.partition(b"\n")
    places = json.loads(head)["texts"]
    start, size = places[""]
    return Archive(places, packed, zlib.decompress(packed[start : start + size]))
