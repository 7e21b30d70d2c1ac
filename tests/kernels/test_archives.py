"""Texts in one file: each is read by itself, and all are smaller together."""

from __future__ import annotations

import zlib

from numbad.kernels.archives import EXCERPTS, SHARED, open_archive, pack


def texts(count: int) -> dict[str, str]:
    return {
        f"text {k}": "".join(f"  %t{j} = fadd double %x{j * k % 7}, %y\n" for j in range(80 + k)) for k in range(count)
    }


def test_texts_are_read_one_by_one() -> None:
    for count in (1, EXCERPTS - 1, EXCERPTS, EXCERPTS + 1, 5 * EXCERPTS):
        found = texts(count) | {"empty": "", "long": "abc" * SHARED}
        archive = open_archive(pack(found, "digest"))
        assert {title: archive.find(title) for title in found} == found
        assert archive.find("none") is None and archive.find("") is None
        assert len(archive.shared) <= SHARED


def test_what_they_share_is_kept_once() -> None:
    found = texts(50)
    assert len(pack(found, "")) < 0.6 * sum(len(zlib.compress(text.encode(), 9)) for text in found.values())


def test_an_empty_file_has_no_texts() -> None:
    assert open_archive(b"").find("text 1") is None and open_archive(None).places == {}


def test_equal_texts_make_equal_files() -> None:
    found = texts(20)
    assert pack(found, "a") == pack(dict(reversed(found.items())), "a") != pack(found, "b")
