"""BLAS on one thread while a block is computed: how OpenBLAS divides a product among threads changes its last bits.

Of seven products of matrices of 50 to 5000 rows, three have other bits on two threads than on one, and so have
factorizations by LAPACK. Blocks are computed side by side, so threads of BLAS would mostly wait for one another anyway.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from numbad.kernels.threads import renew_in_children

NAMES = (  # how libraries call the two functions that tell and set their number of threads
    ("scipy_openblas_get_num_threads64_", "scipy_openblas_set_num_threads64_"),
    ("scipy_openblas_get_num_threads", "scipy_openblas_set_num_threads"),
    ("openblas_get_num_threads64_", "openblas_set_num_threads64_"),
    ("openblas_get_num_threads", "openblas_set_num_threads"),
    ("MKL_Get_Max_Threads", "MKL_Set_Num_Threads"),
    ("bli_thread_get_num_threads", "bli_thread_set_num_threads"),
)


def loaded_libraries() -> list[str]:
    """Return the files of the BLAS libraries of this process."""
    maps = Path("/proc/self/maps")
    if maps.exists():
        files = {line.split(maxsplit=5)[5].strip() for line in maps.read_text().splitlines() if line.count("/")}
    else:  # those that NumPy and SciPy bring with them
        modules = [module for module in (np, sys.modules.get("scipy")) if module is not None]
        roots = [Path(module.__file__ or "").parent for module in modules]
        folders = [part for root in roots for part in (root.parent / f"{root.name}.libs", root / ".dylibs")]
        files = {str(path) for folder in folders if folder.exists() for path in folder.iterdir()}
    return sorted(file for file in files if any(name in Path(file).name for name in ("openblas", "mkl_rt", "blis")))


@functools.cache
def controls(files: tuple[str, ...]) -> list[tuple[Callable[[], int], Callable[[int], Any]]]:
    """Return for each library the functions that tell and set its number of threads."""
    found = []
    for file in files:
        with contextlib.suppress(OSError):
            library = ctypes.CDLL(file)
            for get, put in NAMES:
                if hasattr(library, get) and hasattr(library, put):
                    found.append((getattr(library, get), getattr(library, put)))
                    break
    return found


class Limit:
    """How many threads of this process compute blocks now, and what BLAS had before the first of them began."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.depth = 0
        self.known: list[Any] | None = None
        self.before: list[int] = []

    def enter(self) -> None:
        """Begin a block."""
        with self.lock:
            self.depth += 1
            if self.depth == 1:
                if self.known is None:
                    from scipy.linalg import get_blas_funcs  # noqa: F401  so that its library is there to be found

                    self.known = controls(tuple(loaded_libraries()))
                self.before = [get() for get, _ in self.known]
                for (_, put), count in zip(self.known, self.before, strict=True):
                    if count != 1:
                        put(1)

    def leave(self) -> None:
        """End a block; after the last one BLAS has its threads again."""
        with self.lock:
            self.depth -= 1
            if self.depth == 0:
                for (_, put), count in zip(self.known or [], self.before, strict=True):
                    if count != 1:
                        put(count)


limit = Limit()
renew_in_children(limit)


class one_blas_thread:  # no generator: some blocks take no longer than one
    """Lets BLAS compute on the calling thread alone."""

    def __enter__(self) -> None:
        limit.enter()

    def __exit__(self, *raised: object) -> None:
        limit.leave()
