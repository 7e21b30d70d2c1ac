"""`python -m numbad`: one function recorded, printed and differentiated, and what does the work on this machine.

`--cache` says what is kept of compiled code, `--clear` removes it, `--compile` compiles everything beforehand.
"""

from __future__ import annotations

import argparse
import math
import platform
import sys
import textwrap
import time
from typing import Any

import numpy as np

import numbad
from numbad.compilation.code import TAPE
from numbad.kernels import cache, loading, machinecode, switches
from numbad.kernels.machinecode import HAVE_LIBMVEC

POINT = (2.0, 4.0)


def f(x1: Any, x2: Any) -> Any:
    """The example: five operations of two numbers."""
    return np.exp(x1) - x1 * x2 + np.cos(x2)


def closed_form(x1: float, x2: float) -> tuple[float, float]:
    """The gradient of the example, worked out by hand."""
    return math.exp(x1) - x2, -x1 - math.sin(x2)


def central_difference(x1: float, x2: float) -> tuple[float, float]:
    """The gradient of the example, estimated from values at neighbouring points."""
    h = np.finfo(float).eps ** (1.0 / 3.0) * 2.0
    return (
        float(f(x1 + h, x2) - f(x1 - h, x2)) / (2.0 * h),
        float(f(x1, x2 + h) - f(x1, x2 - h)) / (2.0 * h),
    )


def print_tape() -> None:
    """Record the example and print its tape."""
    tape = numbad.record(f, *POINT)
    print("numbad records  exp(x1) - x1 * x2 + cos(x2)  at x1 = 2, x2 = 4 as a tape, one row an operation.")
    print("The value of a row is computed from top to bottom; its adjoint, the derivative of the result")
    print("with respect to it, from bottom to top. The adjoints of the inputs are the gradient.\n")
    tape.show(*POINT, adjoints=True)


def print_gradients() -> None:
    """Print the gradient beside the closed form and a finite difference."""
    found, exact, estimate = numbad.gradient(f, *POINT), closed_form(*POINT), central_difference(*POINT)
    print("\nThe gradient:\n")
    print(f"  {'':6}{'numbad.gradient':>22}{'closed form':>22}{'central difference':>22}")
    for name, one, other, third in zip(("d/dx1", "d/dx2"), found, exact, estimate, strict=True):
        print(f"  {name:6}{one:22.15f}{other:22.15f}{third:22.15f}")
    errors = [max(abs(a - b) for a, b in zip(part, exact, strict=True)) for part in (found, estimate)]
    print(f"  {'error':6}{errors[0]:22.1e}{'':22}{errors[1]:22.1e}")
    count = 2000
    start = time.perf_counter()
    for _ in range(count):
        numbad.gradient(f, *POINT)
    microseconds = (time.perf_counter() - start) / count * 1e6
    print(f"\n  one call of gradient, recording included: {microseconds:.1f} microseconds")


def print_compiled() -> None:
    """Print what was compiled, or loaded from disk, and how long that took."""
    print("\nCompiled code (compiled once on a machine, afterwards loaded from disk):\n")
    for name, seconds in loading.compile_seconds.items():
        how = "loaded" if name in loading.loaded else "compiled"
        print(f"  {name:28}{how:>10} in {seconds:7.3f} s")
    print(f"  cache: {cache.root()}")


def print_machine() -> None:
    """Print threads, vector instructions and libraries in use."""
    import llvmlite
    import numba

    print("\nThis machine:\n")
    rows = [
        ("processor", f"{platform.machine()}, {simd()}"),
        ("vector functions", vector_functions()),
        ("threads", f"{numba.get_num_threads()} of Numba, threading layer {threading_layer()}"),
        ("BLAS of NumPy", blas()),
        ("versions", f"Python {platform.python_version()}, NumPy {np.__version__}, Numba {numba.__version__}"),
        ("", f"llvmlite {llvmlite.__version__}, {platform.platform()}"),
    ]
    for name, text in rows:
        print(f"  {name:18}{text}")


def simd() -> str:
    """Return the vector instructions that LLVM compiles for."""
    import llvmlite.binding as llvm

    try:
        features = llvm.get_host_cpu_features()
    except RuntimeError:
        return "instructions unknown to LLVM"
    known = ["avx512f", "avx2", "avx", "sse4.2", "neon", "sve"]
    found = [name for name in known if features.get(name)]
    return f"{llvm.get_host_cpu_name()}: {', '.join(found) if found else 'no vector instructions known'}"


def vector_functions() -> str:
    """Return whether exp, sin and the like run on whole registers."""
    if HAVE_LIBMVEC:
        return "libmvec found: exp, sin, .. of arrays run on whole registers"
    return "libmvec not found: exp, sin, .. of arrays run one number at a time"


def threading_layer() -> str:
    """Return Numba's threading layer, which is known once threads have started."""
    import numba

    try:
        return str(numba.threading_layer())
    except ValueError:
        return "not started"


def blas() -> str:
    """Return the BLAS that NumPy was built with."""
    settings: Any = np.show_config(mode="dicts")
    found = settings.get("Build Dependencies", {}).get("blas", {})
    return f"{found.get('name', 'unknown')} {found.get('version', '')}".strip()


def print_cache() -> None:
    """Print where compiled code is kept, how large it is, and what is in it."""
    print(f"{cache.root()}")
    current = machinecode.digest()
    total = 0
    for folder in cache.folders():
        found = cache.contents(folder)
        total += sum(found.values())
        tapes = [name for name in found if name.startswith(TAPE)]
        whose = "these versions" if folder.name == current else "other versions, processors or sources"
        functions = [name for name in found if name not in tapes]
        count = f"{len(functions):4} functions, {len(tapes):3} tapes"
        print(f"  {folder.name}  {count}  {sum(found.values()) / 1e6:7.2f} MB  of {whose}")
        if folder.name == current:
            print(textwrap.fill(", ".join(functions), 100, initial_indent=" " * 4, subsequent_indent=" " * 4))
    print(f"  together {total / 1e6:.2f} MB")


def compile_everything() -> None:
    """Compile all that is not on disk yet, and print how far that is."""
    wanted = [
        (name, dtype) for name in [*loading.list_functions(), *switches.BY_NUMBA] for dtype in switches.dtypes_of(name)
    ]
    missing = [(name, dtype) for name, dtype in wanted if not machinecode.is_kept(f"{name}_{dtype}")]
    start = time.perf_counter()
    for k, (name, dtype) in enumerate(missing, 1):
        loading.switch(name, np.dtype(dtype))
        done = round(30 * k / len(missing))
        bar = f"[{'#' * done}{'.' * (30 - done)}] {k}/{len(missing)}"
        print(f"\r{bar} {name} {dtype:30.30}", end="", file=sys.stderr, flush=True)
    if missing:
        print(file=sys.stderr)
    kept = sum(machinecode.is_kept(f"{name}_{dtype}") for name, dtype in wanted)
    took = f"{len(missing)} functions compiled in {time.perf_counter() - start:.1f} s"
    print(f"{took}; {kept} of {len(wanted)} in {cache.root()}")


def main() -> None:
    """Do what the command line asks for: by default print everything."""
    parser = argparse.ArgumentParser(prog="python -m numbad", description="Show what numbad does on this machine.")
    parser.add_argument("--cache", action="store_true", help="say where compiled code is kept, and what")
    parser.add_argument("--clear", action="store_true", help="remove the compiled code that is kept")
    parser.add_argument("--compile", action="store_true", help="compile everything that is not kept yet")
    options = parser.parse_args()
    if options.clear:
        print(f"removed {cache.clear() / 1e6:.2f} MB from {cache.root()}")
    if options.compile:
        compile_everything()
    if options.cache:
        print_cache()
    if not (options.cache or options.clear or options.compile):
        print_tape()
        print_gradients()
        print_compiled()
        print_machine()


if __name__ == "__main__":
    main()
