"""Triangular systems, solved by the routine of the BLAS that NumPy itself calls."""

from __future__ import annotations

import ctypes
import functools
import sys
from collections.abc import Callable
from typing import Any

import numpy as np

from numbad.limits import TRIANGLE

# How builds of NumPy's BLAS name a routine of Fortran: NumPy's wheels, OpenBLAS and MKL, Apple's Accelerate.
NAMES = ("scipy_{}_64_", "{}_64_", "scipy_{}_", "{}$NEWLAPACK$ILP64", "{}$NEWLAPACK", "{}_")
ROUTINES = {np.dtype(np.float64): ("dtrsm", ctypes.c_double), np.dtype(np.float32): ("strsm", ctypes.c_float)}


def substitute(a: Any, b: Any, *, lower: bool, trans: bool = False, unit: bool = False, right: bool = False) -> Any:
    """Return the solution of a triangular system of which one triangle is read.

    SciPy's function calls a BLAS of its own, whose threads and those of NumPy's fight for the processors.

    Parameters
    ----------
    a : ndarray of float64 or float32, shape (n, n)
        The matrix. Its other triangle is not read; with `unit` neither is its diagonal.
    b : ndarray, shape (n,), (n, m), or (m, n) with `right`
        The right-hand sides.
    lower, trans, unit, right : bool
        Which triangle is read; whether the matrix is transposed; whether its diagonal is ones; whether the system is
        `x @ a = b`.

    Returns
    -------
    ndarray
        The solution, of the shape of `b`.

    Raises
    ------
    numpy.linalg.LinAlgError
        A number on the diagonal is zero.
    """
    dtype = np.result_type(a, b, np.float32)
    if not unit and not a.diagonal().all():
        raise np.linalg.LinAlgError("Singular matrix")
    routine = triangular_routine(dtype)
    if routine is not None and a.size and b.size:
        return routine(a, b, lower, trans, unit, right)
    whole = np.tril(a) if lower else np.triu(a)
    if unit:
        np.fill_diagonal(whole, 1.0)
    if trans != right:
        whole, lower = whole.T, not lower
    found = in_blocks(whole, np.array(b.T if right else b, dtype), lower)
    return found.T if right else found


def in_blocks(a: Any, x: Any, lower: bool) -> Any:
    """Overwrite right-hand sides with the solution: block after block, in the order that the triangle allows.

    Golub and Van Loan, *Matrix Computations*, 4th ed., Johns Hopkins, 2013, section 3.1.4.
    """
    starts = range(0, len(a), TRIANGLE)
    for start in starts if lower else starts[::-1]:
        rows = slice(start, start + TRIANGLE)
        x[rows] = np.linalg.solve(a[rows, rows], x[rows])
        rest = slice(start + TRIANGLE, None) if lower else slice(0, start)
        if len(x[rest]):
            x[rest] -= a[rest, rows] @ x[rows]
    return x


@functools.cache
def triangular_routine(dtype: np.dtype[Any]) -> Callable[..., Any] | None:
    """Return a function that calls NumPy's `trsm` for a dtype; None where there is none that does as it should."""
    # Addresses of integers of 64 bits are read as ones of 32 where the library has those.
    if dtype not in ROUTINES or sys.byteorder != "little":
        return None
    name, number = ROUTINES[dtype]
    try:
        library = ctypes.CDLL(np.linalg._umath_linalg.__file__)  # type: ignore[attr-defined]
    except (AttributeError, OSError):
        return None
    found = [getattr(library, form.format(name), None) for form in NAMES]
    address = next((symbol for symbol in found if symbol is not None), None)
    if address is None:
        return None
    routine = functools.partial(call_routine, address, number, dtype)
    return routine if does_as_it_should(routine, dtype) else None


def does_as_it_should(routine: Callable[..., Any], dtype: np.dtype[Any]) -> bool:
    """Return whether a routine solves systems of three rows in each of its ways."""
    a = np.array([[2.0, 5.0, 7.0], [1.0, 4.0, 3.0], [3.0, 2.0, 8.0]], dtype)
    x = np.array([[1.0, 2.0], [3.0, 1.0], [2.0, 4.0]], dtype)
    for way in range(16):
        lower, trans, unit, right = (bool(way >> k & 1) for k in range(4))
        triangle = np.tril(a) if lower else np.triu(a)
        if unit:
            np.fill_diagonal(triangle, 1.0)
        whole = triangle.T if trans else triangle
        b, want = (x.T @ whole, x.T) if right else (whole @ x, x)
        if not np.allclose(routine(a, b, lower, trans, unit, right), want, rtol=1e-4):
            return False
    return True


def call_routine(
    address: Any, number: Any, dtype: np.dtype[Any], a: Any, b: Any, lower: bool, trans: bool, unit: bool, right: bool
) -> Any:
    """Return what `trsm` gives.

    BLAS reads matrices by columns, so each of ours is to it the transposed one: the systems are those of the
    transposes, on the other side and with the other triangle.
    """
    if a.flags.f_contiguous and not a.flags.c_contiguous:
        a, lower, trans = a.T, not lower, not trans
    a = np.ascontiguousarray(a, dtype)
    x = np.array(b, dtype, order="C")
    side = len(a)
    columns = x.size // side
    rows, width = (side, columns) if right else (columns, side)
    address(
        b"L" if right else b"R",
        b"U" if lower else b"L",
        b"T" if trans else b"N",
        b"U" if unit else b"N",
        ctypes.byref(ctypes.c_int64(rows)),
        ctypes.byref(ctypes.c_int64(width)),
        ctypes.byref(number(1.0)),
        ctypes.c_void_p(a.ctypes.data),
        ctypes.byref(ctypes.c_int64(side)),
        ctypes.c_void_p(x.ctypes.data),
        ctypes.byref(ctypes.c_int64(rows)),
    )
    return x
