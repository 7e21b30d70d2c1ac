"""The folder where machine code is kept: one for a user, shared by all that run the same versions.

Entries are files in a folder of their digest, which stands for all that the code depends on. A file appears at once or
not at all, and holds a checksum, so processes may fill the folder together, and what is damaged is not used.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import hashlib
import os
import re
import stat
import time
import zlib
from collections.abc import Iterator
from pathlib import Path

from numbad.limits import VARIANT

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

CHECKSUM = 32  # bytes
SUFFIX = ".o"
DIGEST = re.compile("[0-9a-f]{24}")
KEPT_DAYS = 60  # a digest's folder that nobody has used for so long is removed
LOCK = ".lock"  # the file of a digest's folder by which processes wait for one another
PATIENCE = 10.0  # seconds that a process waits for another on an idle machine; it may have been stopped
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_used: set[Path] = set()


def root() -> Path:
    """Return the folder of all digests: `NUMBAD_CACHE_DIR`, or `numbad` in the user's folder of caches (XDG)."""
    chosen = os.environ.get("NUMBAD_CACHE_DIR")
    if chosen:
        return absolute(chosen)
    if VARIANT:  # `limits` has chosen a folder of its own
        return Path(os.environ["NUMBA_CACHE_DIR"])
    caches = os.environ.get("XDG_CACHE_HOME", "")
    if os.path.isabs(caches):  # the standard has it that others are ignored
        return Path(caches, "numbad")
    try:
        return Path.home() / ".cache" / "numbad"
    except RuntimeError:  # a user without a home, as in some containers
        return folder_without_home()


@functools.cache
def absolute(folder: str) -> Path:
    """Return a folder that the user has named; it stays the same when the program goes to another working directory."""
    folder = os.path.expanduser(folder)
    with contextlib.suppress(OSError):  # the working directory may be gone
        folder = os.path.abspath(folder)
    return Path(folder)


def folder_without_home() -> Path:
    """Return a folder for temporary files that nobody else can write to: what lies in it is run."""
    import tempfile

    folder, nowhere = Path(tempfile.gettempdir(), f"numbad-{os.getuid()}"), Path(os.devnull, "numbad")
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        found = folder.lstat()
    except OSError:
        return nowhere
    is_ours = stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid() and not found.st_mode & 0o022
    return folder if is_ours else nowhere


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
    """Whether something is kept under a name that can be read."""
    return read(digest, name) is not None


def write(digest: str, name: str, code: bytes) -> bool:
    """Keep code under a name, and return whether it is kept: not where the folder cannot be written to."""
    try:
        make_folder(digest)
        put(place(digest, name), hashlib.sha256(code).digest() + code)
    except OSError:
        return False
    return True


def make_folder(digest: str) -> Path:
    """Make the folder of a digest, and return it; where it is new, see to the old ones."""
    folder = root() / digest
    if not folder.exists():
        folder.mkdir(parents=True, exist_ok=True)
        remove_old()
    return folder


def put(path: Path, content: bytes) -> None:
    """Make a file that appears at once: another process may read it at any time."""
    import tempfile

    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=".")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        os.chmod(temporary, 0o644)
        if path.is_dir():
            import shutil

            shutil.rmtree(path)
        os.replace(temporary, path)
    except OSError as error:
        if error.errno in FULL or not Path(temporary).exists():
            raise
        put_in_place(path, content)
    finally:
        with contextlib.suppress(OSError):
            os.unlink(temporary)


def put_in_place(path: Path, content: bytes) -> None:
    """Write a file where none can be renamed; who reads a part of it finds a wrong checksum."""
    try:
        path.write_bytes(content)
    except OSError:
        with contextlib.suppress(OSError):
            path.unlink()
        raise


def why_not_kept() -> str | None:
    """Return why nothing can be kept in the folder, None if something can."""
    import tempfile

    folder = root()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(bytes(1 << 16))
    except OSError as error:
        return error.strerror or type(error).__name__
    return None


def patience() -> float:
    """Return for how many seconds to wait: the longer, the more programs there are for a processor."""
    try:
        load = os.getloadavg()[0]
    except (AttributeError, OSError):
        load = 0.0
    return PATIENCE * max(1.0, load / (os.cpu_count() or 1))


@contextlib.contextmanager
def alone(digest: str, name: str) -> Iterator[None]:
    """Keep other processes from making the same entry meanwhile; wait while one of them is making it.

    Nobody waits long, nor where the file system has no locks: an entry that was made twice is no harm.
    """
    try:
        lock = os.open(make_folder(digest) / LOCK, os.O_RDWR | os.O_CREAT, 0o644)
    except OSError:
        lock = -1
    try:
        if lock >= 0 and fcntl is not None:
            take_turn(lock, place(digest, name), zlib.crc32(name.encode()))
        yield
    finally:
        if lock >= 0:
            os.close(lock)  # gives the lock back


def take_turn(lock: int, path: Path, byte: int) -> None:
    """Wait until a byte of the file of locks is ours, until there is an entry, or for as long as we have patience."""
    start, pause = time.monotonic(), 0.002
    while True:
        try:
            fcntl.lockf(lock, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, byte)
            return
        except OSError as error:
            others = error.errno in (errno.EACCES, errno.EAGAIN)
        if not others or path.exists() or time.monotonic() - start > patience():
            return
        time.sleep(pause)
        pause = min(1.5 * pause, 0.1)


def note_use(folder: Path) -> None:
    """Note on disk, once a process, that a digest's folder is in use."""
    if folder not in _used:
        _used.add(folder)
        with contextlib.suppress(OSError):
            if time.time() - folder.stat().st_mtime > 86_400:
                os.utime(folder)


def remove_old() -> None:
    """Remove the folders of digests that nobody has used for long."""
    import shutil

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


def keep_latest(digest: str, prefix: str, most: int) -> None:
    """Remove entries whose names begin so, the oldest first, until so many are left."""
    with contextlib.suppress(OSError):
        found = list((root() / digest).glob(f"{prefix}*{SUFFIX}"))
        if len(found) > most:
            for path in sorted(found, key=lambda path: path.stat().st_mtime)[: len(found) - most]:
                path.unlink(missing_ok=True)


def clear() -> int:
    """Remove everything that is kept; return how many bytes that was."""
    import shutil

    freed = 0
    for folder in folders():
        freed += sum(contents(folder).values())
        shutil.rmtree(folder, ignore_errors=True)
    return freed
