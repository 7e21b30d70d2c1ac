"""Compiled functions on disk: machine code that a new process loads without importing Numba.

Importing Numba and readying its compiler takes longer than a first gradient should. The big
switches over all ops (see `generate`) are C functions of numbers and addresses, so their machine code is
all that is needed: it is kept in a file of this module's own, whose name holds a digest of everything
it depends on, and linked by llvmlite.
"""

from __future__ import annotations

import contextlib
import ctypes
import hashlib
import os
import platform
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import llvmlite.binding as llvm
import numpy as np

from numbad.limits import VARIANT

PACKAGE = Path(__file__).parent.parent
IMPORT = re.compile(rb"from numbad\.([\w.]+) import ([\w, ]*)")
# Functions of Numba's that the error paths of its wrappers name; these functions never raise.
UNREACHED = (
    "NRT_Free",
    "NRT_MemInfo_call_dtor",
    "numba_do_raise",
    "numba_gil_ensure",
    "numba_gil_release",
    "numba_runtime_build_excinfo_struct",
    "numba_unpickle",
)
CHECKSUM = 32  # bytes
_engines: list[Any] = []  # an engine owns the memory of its code
_digest = ""


def load_vector_library() -> bool:
    """Load glibc's libmvec into the process, where the platform has one."""
    if platform.machine() != "x86_64" or platform.system() != "Linux":
        return False
    try:
        llvm.load_library_permanently("libmvec.so.1")
    except RuntimeError:
        return False
    return True


HAVE_LIBMVEC = load_vector_library()


def sources() -> dict[Path, bytes]:
    """Return the files that machine code is compiled from: what `loading` imports, what that imports, and so on."""
    found: dict[Path, bytes] = {}
    pending = [PACKAGE / "kernels" / "loading.py"]
    while pending:
        path = pending.pop()
        if path not in found:
            found[path] = path.read_bytes()
            for module, names in IMPORT.findall(found[path]):
                place = PACKAGE.joinpath(*module.decode().split("."))
                inside = [place / f"{name.split()[0]}.py" for name in names.decode().split(",") if name.strip()]
                pending += [file for file in (place.with_suffix(".py"), *inside) if file.exists()]
    return found


def digest() -> str:
    """Return a digest of what the machine code depends on: sources, versions, processor and variant."""
    global _digest
    if not _digest:
        found = hashlib.sha256()
        for _, text in sorted(sources().items()):
            found.update(text)
        parts = [version("numba"), version("llvmlite"), sys.version, llvm.get_host_cpu_name(), str(HAVE_LIBMVEC)]
        parts += [platform.libc_ver()[1], llvm.get_host_cpu_features().flatten(), VARIANT]
        found.update("\n".join(parts).encode())
        _digest = found.hexdigest()[:24]
    return _digest


def places(name: str) -> list[Path]:
    """Return where the code of a function may be kept, in the order of preference."""
    folders = [PACKAGE / "__pycache__", Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "numbad"]
    if os.environ.get("NUMBA_CACHE_DIR"):
        folders.insert(0, Path(os.environ["NUMBA_CACHE_DIR"]) / "numbad")
    return [folder / f"{name}-{digest()}.o" for folder in folders]


def load(name: str) -> int | None:
    """Return the memory address of a function whose machine code is on disk, None if it is not."""
    for path in places(name):
        with contextlib.suppress(OSError):
            symbol, _, rest = path.read_bytes().partition(b"\0")
            checksum, code = rest[:CHECKSUM], rest[CHECKSUM:]
            if hashlib.sha256(code).digest() == checksum:
                return link(symbol.decode(), code)
    return None


def is_kept(name: str) -> bool:
    """Whether there is machine code of a function on disk."""
    return any(path.exists() for path in places(name))


def compile_elsewhere(module: str, function: str, arguments: list[list[str]]) -> Any:
    """Start a second process that calls a function of ours with each list of strings, and so compiles; or None.

    Best effort: what the second process does not leave on disk is compiled in this one.
    """
    if not sys.executable or (os.cpu_count() or 1) < 2:
        return None
    program = (
        f"import sys; sys.path.insert(0, {str(PACKAGE.parent)!r})\nfrom {module} import {function} as compile_one\n"
    )
    program += "".join(f"compile_one(*{part!r})\n" for part in arguments)
    with contextlib.suppress(OSError):
        quiet = subprocess.DEVNULL
        return subprocess.Popen([sys.executable, "-c", program], stdin=quiet, stdout=quiet, stderr=quiet)
    return None


def callable_at(address: int, dtype: np.dtype, integers: int, short: bool = False) -> Callable[..., int]:
    """Return a compiled function (number, *integers) -> int as a Python callable.

    A `short` one keeps Python's lock while it runs: other threads wait, and the call costs less.
    """
    make = ctypes.PYFUNCTYPE if short else ctypes.CFUNCTYPE
    number = ctypes.c_double if dtype.itemsize == 8 else ctypes.c_float
    return make(ctypes.c_int64, number, *[ctypes.c_int64] * integers)(address)


def link(symbol: str, code: bytes) -> int:
    """Link machine code into the process; return the address of a function in it."""
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    library = ctypes.CDLL("msvcrt" if sys.platform == "win32" else None)
    abort = ctypes.cast(library.abort, ctypes.c_void_p).value
    for unreached in UNREACHED:
        if not llvm.address_of_symbol(unreached):  # Numba registers its own when it makes its compiler ready
            llvm.add_symbol(unreached, abort)
    machine = llvm.Target.from_default_triple().create_target_machine(jit=True)
    engine = llvm.create_mcjit_compiler(llvm.parse_assembly(""), machine)
    engine.add_object_file(llvm.ObjectFileRef.from_data(code))
    engine.finalize_object()
    address = engine.get_function_address(symbol)
    if not address:
        raise OSError(f"there is no {symbol} in the machine code")
    _engines.append(engine)
    return address


def save(name: str, symbol: str, code: bytes) -> None:
    """Write the machine code of a function to the first folder that can be written to."""
    for path in places(name):
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            handle, temporary = tempfile.mkstemp(dir=path.parent)
            with os.fdopen(handle, "wb") as file:
                file.write(symbol.encode() + b"\0" + hashlib.sha256(code).digest() + code)
            os.chmod(temporary, 0o644)
            os.replace(temporary, path)  # another process may read it at any time
        except OSError:
            continue
        for old in path.parent.glob(f"{name}-*.o"):
            if old != path:
                with contextlib.suppress(OSError):
                    old.unlink()
        return


def compile_to(name: str, function: Callable[..., Any], signature: Any) -> int:
    """Compile a function to machine code, keep it on disk, and return its address."""
    import numba

    compiled: Any = numba.cfunc(signature, error_model="numpy")(function)
    library = compiled._library
    library.enable_object_caching()
    code = machine_code(library)
    save(name, compiled._wrapper_name, code)
    _engines.append(compiled)
    return compiled.address


def machine_code(library: Any) -> bytes:
    """Return the machine code of a compiled Numba library."""
    machine = library.codegen._tm
    return machine.emit_object(library._final_module)
