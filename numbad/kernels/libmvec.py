"""The vector functions of glibc's libmvec: how they are called, and which of them this machine has."""

from __future__ import annotations

import functools
import os
import platform

import llvmlite.binding as llvm

REGISTERS = {
    "b": (16, ""),
    "d": (32, "avx2"),
    "e": (64, "avx512f"),
}  # bytes of a register; what it takes, if anything
NOT_VECTOR = ("lgamma", "tgamma", "fmod", "floor", "ceil", "trunc")


def load() -> bool:
    """Load libmvec into the process, where the platform has one."""
    if platform.machine() != "x86_64" or platform.system() != "Linux":
        return False
    try:
        llvm.load_library_permanently("libmvec.so.1")
    except RuntimeError:
        return False
    return True


HAVE_LIBMVEC = load()
_portable = False  # whether code is made for all machines


def name_for_all_machines() -> None:
    """List the versions for all kinds of registers from now on; the text of a function is fitted to a machine later."""
    global _portable
    if not HAVE_LIBMVEC:
        raise OSError("texts that name the functions of libmvec are made where it is: on Linux, x86-64, glibc")
    _portable = True
    is_usable.cache_clear()


@functools.cache
def processor() -> tuple[str, str]:
    """Return what is compiled for, by LLVM's name and features: this processor, or what Numba's variables name."""
    name = os.environ.get("NUMBA_CPU_NAME") or llvm.get_host_cpu_name()
    features = os.environ.get("NUMBA_CPU_FEATURES", "" if name == "generic" else None)
    if features is None:
        try:
            features = llvm.get_host_cpu_features().flatten()
        except RuntimeError:  # LLVM knows no features of such processors
            features = ""
    return name, features


@functools.cache
def is_usable(symbol: str) -> bool:
    """Whether this machine can call a vector function, such as _ZGVdN4v_exp."""
    if not HAVE_LIBMVEC or not llvm.address_of_symbol(symbol):
        return False
    feature = REGISTERS[symbol[len("_ZGV")]][1]
    return _portable or not feature or f"+{feature}" in processor()[1].split(",")


def versions(name: str, width: int, arity: int) -> list[tuple[str, str, int]]:
    """List the vector versions of a libm function of numbers of `width` bytes: LLVM's mapping, symbol, lanes."""
    if name.removesuffix("f") in NOT_VECTOR:
        return []
    found = []
    for letter, (size, _) in REGISTERS.items():
        lanes = size // width
        symbol = f"_ZGV{letter}N{lanes}{'v' * arity}_{name}"
        if is_usable(symbol):
            found.append((f"_ZGV_LLVM_N{lanes}{'v' * arity}_{name}({symbol})", symbol, lanes))
    return found
