"""Compiled functions: machine code from disk, or from the texts of the package, linked without importing Numba.

Importing Numba and readying its compiler takes longer than a first gradient should. The compiled functions (see
`switches`) are C functions of numbers and addresses, so their machine code is all that is needed. It is kept in the
user's cache under a digest of everything that it depends on, and linked by llvmlite.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import hashlib
import os
import platform
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import llvmlite
import llvmlite.binding as llvm
import numpy as np

from numbad.kernels import cache, texts
from numbad.kernels.libmvec import HAVE_LIBMVEC, processor
from numbad.kernels.sources import PACKAGE, digest_of_sources
from numbad.kernels.switches import looks_at_no_numbers
from numbad.limits import VARIANT
from numbad.settings import VERSION

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
_engines: list[Any] = []  # an engine owns the memory of its code


@functools.cache
def digest() -> str:
    """Return a digest of what the machine code depends on: sources, versions, processor and variant."""
    sources = digest_of_sources() or texts.digest_of_texts() or VERSION
    parts = [sources, llvmlite.__version__, str(llvm.llvm_version_info), llvm.get_process_triple()]
    parts += [texts.RECIPE, *processor(), str(HAVE_LIBMVEC), platform.libc_ver()[1], VARIANT]
    if not texts.are_current():
        from importlib.metadata import version

        parts += [version("numba"), sys.version]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:24]


def load(title: str) -> int | None:
    """Return the memory address of a function whose machine code is on disk, None if it is not."""
    content = cache.read(digest(), title)
    if content is None:
        return None
    symbol, _, code = content.partition(b"\0")
    try:
        return link(symbol.decode(), code)
    except OSError:
        return None


def place(title: str) -> Path:
    """Return the file that keeps the machine code of a function."""
    return cache.place(digest(), title)


def is_kept(title: str) -> bool:
    """Whether there is machine code of a function on disk."""
    return cache.is_kept(digest(), title)


def compile_elsewhere(module: str, function: str, arguments: list[list[str]]) -> Any:
    """Start a second process that calls a function of ours with each list of strings, and so compiles; or None.

    Best effort: what the second process does not leave on disk is compiled in this one.
    """
    import subprocess

    python = interpreter()
    if python is None or (os.cpu_count() or 1) < 2:
        return None
    program = (
        f"import sys; sys.path.insert(0, {str(PACKAGE.parent)!r})\nfrom {module} import {function} as compile_one\n"
    )
    program += "".join(f"compile_one(*{part!r})\n" for part in arguments)
    with contextlib.suppress(OSError):
        quiet = subprocess.DEVNULL
        return subprocess.Popen([python, "-c", program], stdin=quiet, stdout=quiet, stderr=quiet)
    return None


def interpreter() -> str | None:
    """Return the Python that runs this process; None in an application with Python in it: it would start again."""
    packed = getattr(sys, "frozen", False) or "__compiled__" in globals()  # Nuitka notes it in each module
    is_python = re.match(r"(python|pypy)[\w.-]*$", os.path.basename(sys.executable or ""), re.IGNORECASE)
    return sys.executable if is_python and not packed else None


def callable_at(address: int, dtype: np.dtype, integers: int, short: bool = False) -> Callable[..., int]:
    """Return a compiled function (number, *integers) -> int as a Python callable.

    A `short` one keeps Python's lock while it runs: other threads wait, and the call costs less.
    """
    make = ctypes.PYFUNCTYPE if short else ctypes.CFUNCTYPE
    number = ctypes.c_double if dtype.itemsize == 8 else ctypes.c_float
    return make(ctypes.c_int64, number, *[ctypes.c_int64] * integers)(address)


def link(symbol: str, code: bytes) -> int:
    """Link machine code into the process; return the address of a function in it."""
    engine, address = link_apart(symbol, code)
    _engines.append(engine)
    return address


def link_apart(symbol: str, code: bytes) -> tuple[Any, int]:
    """Link machine code for as long as the engine is kept that is returned; return the address of a function too."""
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
    return engine, address


def compile_shipped(name: str, title: str) -> int | None:
    """Compile a function from its text in the package, keep it on disk and return its address; None without a text."""
    text = texts.find(title)
    if text is None:
        return None
    return compile_text(texts.symbol_of(name), title, text, 1 if looks_at_no_numbers(name) else 3)


def compile_text(symbol: str, title: str, text: str, level: int = 1) -> int | None:
    """Compile a function of a text, keep it on disk and return its address; None where this LLVM cannot read it."""
    try:
        code = texts.compile_text(text, level)
    except RuntimeError:  # another LLVM wrote it
        return None
    cache.write(digest(), title, symbol.encode() + b"\0" + code)
    return link(symbol, code)


def compile_by_numba(title: str, function: Callable[..., Any], signature: Any) -> int:
    """Compile a function by Numba, keep it on disk and return its address."""
    import numba

    compiled: Any = numba.cfunc(signature, error_model="numpy")(function)
    library = compiled._library
    code = library.codegen._tm.emit_object(library._final_module)
    cache.write(digest(), title, compiled._wrapper_name.encode() + b"\0" + code)
    _engines.append(compiled)
    return int(compiled.address)
