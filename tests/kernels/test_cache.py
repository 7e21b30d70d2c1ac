"""The folder of machine code: shared, checked, cleared, and no harm where it cannot be used."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import tempfile
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


# ---------------------------------------------------------------- odd folders


def test_a_folder_is_named_as_in_a_shell_and_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("NUMBAD_CACHE_DIR", "~/kept")
    assert cache.root() == tmp_path / "home" / "kept"
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NUMBAD_CACHE_DIR", "beside me")
    cache.absolute.cache_clear()
    assert cache.root() == tmp_path / "beside me"
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert cache.root() == tmp_path / "beside me"
    cache.absolute.cache_clear()


@pytest.mark.parametrize("caches", ["", "relative/caches"])
def test_a_relative_folder_of_caches_is_ignored(caches: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "VARIANT", "")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("NUMBAD_CACHE_DIR", "")
    monkeypatch.setenv("XDG_CACHE_HOME", caches)
    assert cache.root() == tmp_path / ".cache" / "numbad"


@pytest.mark.skipif(not hasattr(os, "getuid"), reason="needs users as Unix has them")
def test_who_has_no_home_has_a_folder_of_his_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(cache, "VARIANT", "")
    monkeypatch.delenv("NUMBAD_CACHE_DIR")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(Path, "home", fail)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    folder = cache.root()
    assert folder == tmp_path / f"numbad-{os.getuid()}"
    assert folder.stat().st_mode & 0o777 == 0o700
    assert cache.write(DIGEST, "sin_float64", b"code") and cache.read(DIGEST, "sin_float64") == b"code"
    folder.chmod(0o777)  # others could have put code into it
    assert cache.read(DIGEST, "sin_float64") is None
    assert not cache.write(DIGEST, "sin_float64", b"code")


@pytest.mark.skipif(not hasattr(os, "getuid"), reason="needs users as Unix has them")
def test_a_link_that_somebody_has_laid_is_not_followed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    (tmp_path / "theirs").mkdir(mode=0o700)
    (tmp_path / f"numbad-{os.getuid()}").symlink_to(tmp_path / "theirs")
    assert not cache.folder_without_home().exists()


def test_a_folder_in_the_place_of_an_entry_makes_way() -> None:
    place = cache.place(DIGEST, "sin_float64")
    (place / "inside").mkdir(parents=True)
    assert cache.read(DIGEST, "sin_float64") is None
    assert not cache.is_kept(DIGEST, "sin_float64")
    assert cache.write(DIGEST, "sin_float64", b"code")
    assert cache.read(DIGEST, "sin_float64") == b"code"


def test_a_disk_that_renames_nothing_keeps_code(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "replace", fail)
    assert cache.write(DIGEST, "sin_float64", b"code")
    assert cache.read(DIGEST, "sin_float64") == b"code"
    assert [path.name for path in (folder / DIGEST).iterdir()] == ["sin_float64.o"]


@pytest.mark.subprocess
def test_a_file_that_is_too_large_leaves_nothing_behind(folder: Path) -> None:
    program = (
        "import resource, sys\n"
        "from numbad.kernels import cache\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))\n"
        f"print(cache.write('{DIGEST}', 'sin_float64', bytes(1000)), cache.why_not_kept())"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split(maxsplit=1) == ["False", "File too large\n"]
    assert list((folder / DIGEST).iterdir()) == []


def test_it_is_known_why_nothing_can_be_kept(folder: Path) -> None:
    assert cache.why_not_kept() is None
    folder.rmdir()
    folder.write_text("no folder")
    assert cache.why_not_kept() == os.strerror(errno.EEXIST)
    assert not cache.write(DIGEST, "sin_float64", b"code")


# ---------------------------------------------------------------- several processes

WAITER = f"""
import sys, time
from numbad.kernels import cache
cache.patience = lambda: float(sys.argv[1])
start = time.monotonic()
with cache.alone("{DIGEST}", sys.argv[2]):
    print(time.monotonic() - start, cache.read("{DIGEST}", sys.argv[2]))
"""
needs_locks = pytest.mark.skipif(cache.fcntl is None, reason="there are no locks of files here")


def waiter(patience: float, name: str) -> subprocess.Popen[str]:
    """Start a process that wants to make an entry."""
    return subprocess.Popen([sys.executable, "-c", WAITER, str(patience), name], stdout=subprocess.PIPE, text=True)


@needs_locks
@pytest.mark.subprocess
def test_one_process_makes_an_entry_and_others_wait_for_it() -> None:
    with cache.alone(DIGEST, "sin_float64"):
        second, other = waiter(60.0, "sin_float64"), waiter(60.0, "cos_float64")
        waited, found = other.communicate()[0].split()
        assert float(waited) < 30.0 and found == "None"
        assert second.poll() is None
        cache.write(DIGEST, "sin_float64", b"code")
        assert second.communicate()[0].split()[1] == "b'code'"


@needs_locks
@pytest.mark.subprocess
def test_nobody_waits_for_ever_nor_for_the_dead() -> None:
    holder = (
        "import sys, time\nfrom numbad.kernels import cache\n"
        f"with cache.alone('{DIGEST}', 'sin_float64'):\n    print('here', flush=True)\n    time.sleep(600)"
    )
    process = subprocess.Popen([sys.executable, "-c", holder], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None and process.stdout.readline() == "here\n"
    waited, found = waiter(0.2, "sin_float64").communicate()[0].split()
    assert 0.2 <= float(waited) < 30.0 and found == "None"
    process.kill()
    process.communicate()
    waited, found = waiter(60.0, "sin_float64").communicate()[0].split()
    assert float(waited) < 30.0 and found == "None"


@needs_locks
def test_a_disk_without_locks_is_no_harm(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(cache.fcntl, "lockf", fail)
    start = time.monotonic()
    with cache.alone(DIGEST, "sin_float64"):
        cache.write(DIGEST, "sin_float64", b"code")
    assert time.monotonic() - start < 5.0


def test_patience_grows_with_the_load(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 4)
    found = []
    for load in (0.5, 40.0):
        monkeypatch.setattr(os, "getloadavg", lambda load=load: (load, 0.0, 0.0), raising=False)
        found.append(cache.patience())
    assert found == [cache.PATIENCE, 10.0 * cache.PATIENCE]


def test_the_latest_entries_of_a_kind_are_kept(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("NUMBAD_CACHE_DIR", str(tmp_path))
    digest = "0" * 24
    cache.keep_latest(digest, "tape_", 2)
    for k, name in enumerate(["tape_old", "tape_new", "tape_newer", "block_sin"]):
        cache.write(digest, name, b"code")
        os.utime(cache.place(digest, name), (k, k))
    cache.keep_latest(digest, "tape_", 2)
    assert set(cache.contents(tmp_path / digest)) == {"tape_new", "tape_newer", "block_sin"}
