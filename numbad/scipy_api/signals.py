"""scipy.signal and scipy.integrate: convolutions, linear filters, and sums over samples."""

from __future__ import annotations

from typing import Any

import numpy as np

from numbad.numpy_api.functions import asarray
from numbad.ops.convolution import convolved_box, filtered
from numbad.recording.active import Active
from numbad.recording.operands import recorder_of, to_array
from numbad.scipy_api.dispatch import records, refuse_options

MODULE = "scipy.signal"


def convolved(in1: Any, in2: Any, mode: str, fast: bool) -> Any:
    """Return the convolution of arrays of the same number of axes; `fast` says that SciPy may compute it by FFT."""
    recorder, given = recorder_of(in1, in2), [asarray(part) for part in (in1, in2)]
    one, other = (to_array(part, recorder) for part in given)
    if one.ndim == other.ndim == 0:
        return one * other
    if one.ndim != other.ndim:
        raise ValueError("in1 and in2 should have the same dimensionality")
    if mode == "valid" and one.ndim > 1:
        larger = [n >= m for n, m in zip(one.shape, other.shape, strict=True)]
        if not all(larger) and any(n > m for n, m in zip(one.shape, other.shape, strict=True)):
            raise ValueError("For 'valid' mode, one must be at least as large as the other in every dimension")
    if not one.size or not other.size:
        return np.zeros(0)
    full = [n + m - 1 for n, m in zip(one.shape, other.shape, strict=True)]
    if mode == "full":
        wanted = full
    elif mode == "same":
        wanted = list(one.shape)
    elif mode == "valid":
        wanted = [abs(n - m) + 1 for n, m in zip(one.shape, other.shape, strict=True)]
    else:
        raise ValueError("acceptable mode flags are 'valid', 'same', or 'full'")
    first = tuple((n - m) // 2 for n, m in zip(full, wanted, strict=True))
    # What is plain stays plain, so nothing is computed for its cotangent.
    one, other = (
        np.asarray(p, a.dtype) if type(p) is np.ndarray else a for p, a in zip(given, (one, other), strict=True)
    )
    return convolved_box(one, other, first=first, shape=tuple(wanted), fast=fast)


@records(MODULE, "convolve")
def convolve(in1: Any, in2: Any, mode: str = "full", method: str = "auto") -> Any:
    """Convolution; the method decides on rounding only."""
    if method not in ("auto", "direct", "fft"):
        raise ValueError("Acceptable method flags are 'auto', 'direct', or 'fft'.")
    return convolved(in1, in2, mode, method != "direct")


@records(MODULE, "fftconvolve")
def fftconvolve(in1: Any, in2: Any, mode: str = "full", axes: Any = None) -> Any:
    """Convolution over all axes."""
    refuse_options("scipy.signal.fftconvolve", axes=(axes, None))
    return convolved(in1, in2, mode, True)


@records(MODULE, "oaconvolve")
def oaconvolve(in1: Any, in2: Any, mode: str = "full", axes: Any = None) -> Any:
    """Convolution over all axes."""
    refuse_options("scipy.signal.oaconvolve", axes=(axes, None))
    return convolved(in1, in2, mode, True)


@records(MODULE, "correlate")
def correlate(in1: Any, in2: Any, mode: str = "full", method: str = "auto") -> Any:
    """Correlation: the convolution with the second array reversed."""
    return convolve(in1, np.flip(asarray(in2)), mode, method)


@records(MODULE, "convolve2d")
def convolve2d(in1: Any, in2: Any, mode: str = "full", boundary: str = "fill", fillvalue: float = 0) -> Any:
    """Convolution of two matrices with zeros around them."""
    refuse_options("scipy.signal.convolve2d", boundary=(boundary, "fill"))
    if isinstance(fillvalue, Active) or fillvalue != 0:
        refuse_options("scipy.signal.convolve2d", fillvalue=(fillvalue, 0))
    if np.ndim(in1) != 2 or np.ndim(in2) != 2:
        raise ValueError("convolve2d inputs must both be 2-D arrays")
    return convolved(in1, in2, mode, False)


@records(MODULE, "lfilter")
def lfilter(b: Any, a: Any, x: Any, axis: int = -1, zi: Any = None) -> Any:
    """A linear filter along an axis; with an initial state, written as its difference equation."""
    recorder = recorder_of(b, a, x, zi)
    b, a = (to_array(np.atleast_1d(asarray(part)), recorder) for part in (b, a))
    x = np.moveaxis(to_array(asarray(x), recorder), axis, 0)
    order = max(len(a), len(b))
    b, a = (np.pad(part, (0, order - len(part))) / a[0] for part in (b, a))
    if zi is None:
        return np.moveaxis(filtered(b, a, np.moveaxis(x, 0, -1)), -1, axis) if x.size else x
    state = [*np.moveaxis(asarray(zi), axis, 0), np.zeros(x.shape[1:])]
    found = []
    for value in x:
        y = b[0] * value + state[0]
        state = [state[k + 1] + b[k + 1] * value - a[k + 1] * y for k in range(order - 1)] + state[-1:]
        found.append(y)
    return np.moveaxis(np.stack(found), 0, axis), np.moveaxis(np.stack(state[:-1]), 0, axis)


@records("scipy.integrate", "trapezoid")
def trapezoid(y: Any, x: Any = None, dx: float = 1.0, axis: int = -1) -> Any:
    """The trapezoidal rule."""
    return np.trapezoid(asarray(y), x, dx, axis)
