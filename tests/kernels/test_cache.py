"""The folder of machine code: shared, checked, cleared, and no harm where it cannot be used."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from numbad.kernels import cache

DIGEST, OTHER = "0123456789abcdef01234567", "f" * 24


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a cache folder that does not exist yet."""
    folder = tmp_path / "cache"
    monkeypatch.setenv("NUMBAD_CACHE_DIR", str(folder))
    return folder


def test_what_is_written_is_read() -> None:
    assert cache.read(DIGEST, "sin_float64") is None
    assert not cache.is_kept(DIGEST, "sin_float64")
    cache.write(DIGEST, "sin_float64", b"code")
    assert cache.read(DIGEST, "sin_float64") == b"code"
    assert cache.is_kept(DIGEST, "sin_float64")
    assert cache.read(OTHER, "sin_float64") is None


@pytest.mark.parametrize("damage", ["truncated", "altered", "empty", "longer"])
def test_damaged_entries_are_not_read(damage: str) -> None:
    cache.write(DIGEST, "sin_float64", b"some machine code")
    path = cache.place(DIGEST, "sin_float64")
    data = bytearray(path.read_bytes())
    if damage == "truncated":
        data = data[:-1]
    elif damage == "altered":
        data[-3] ^= 1
    elif damage == "empty":
        data = bytearray()
    else:
        data += b"x"
    path.write_bytes(data)
    assert cache.read(DIGEST, "sin_float64") is None
    cache.write(DIGEST, "sin_float64", b"some machine code")
    assert cache.read(DIGEST, "sin_float64") == b"some machine code"


def test_a_folder_that_is_a_file_is_no_harm(folder: Path) -> None:
    folder.write_text("no folder")
    cache.write(DIGEST, "sin_float64", b"code")
    assert cache.read(DIGEST, "sin_float64") is None
    assert cache.folders() == []
    assert cache.clear() == 0
    assert folder.read_text() == "no folder"


def test_a_full_disk_leaves_nothing_behind(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", fail)
    cache.write(DIGEST, "sin_float64", b"code")
    assert cache.read(DIGEST, "sin_float64") is None
    assert list((folder / DIGEST).iterdir()) == []


def test_clearing_removes_what_is_ours_alone(folder: Path) -> None:
    cache.write(DIGEST, "sin_float64", b"code")
    cache.write(OTHER, "sin_float64", b"code")
    (folder / "mine").mkdir()
    (folder / "mine" / "thesis.o").write_text("dear")
    assert [part.name for part in cache.folders()] == [DIGEST, OTHER]
    assert cache.clear() == sum((cache.CHECKSUM + 4, cache.CHECKSUM + 4))
    assert [part.name for part in folder.iterdir()] == ["mine"]


def test_folders_that_nobody_uses_go(folder: Path) -> None:
    cache.write(OTHER, "sin_float64", b"code")
    long_ago = time.time() - (cache.KEPT_DAYS + 1) * 86_400
    os.utime(folder / OTHER, (long_ago, long_ago))
    cache.write(DIGEST, "sin_float64", b"code")
    assert [part.name for part in cache.folders()] == [DIGEST]


def test_use_is_noted_once_a_day(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache.write(DIGEST, "sin_float64", b"code")
    long_ago = time.time() - 3 * 86_400
    os.utime(folder / DIGEST, (long_ago, long_ago))
    monkeypatch.setattr(cache, "_used", set())
    cache.read(DIGEST, "sin_float64")
    assert (folder / DIGEST).stat().st_mtime > time.time() - 3600


def test_the_contents_are_listed() -> None:
    cache.write(DIGEST, "sin_float64", b"code")
    cache.write(DIGEST, "exp_float64", b"longer code")
    found = cache.contents(cache.folders()[0])
    assert found == {"exp_float64": cache.CHECKSUM + 11, "sin_float64": cache.CHECKSUM + 4}


def test_the_folder_is_that_of_the_user(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NUMBAD_CACHE_DIR")
    monkeypatch.setattr(cache, "VARIANT", "")
    monkeypatch.setenv("XDG_CACHE_HOME", "/somewhere")
    assert cache.root() == Path("/somewhere/numbad")
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache.root() == Path.home() / ".cache" / "numbad"
