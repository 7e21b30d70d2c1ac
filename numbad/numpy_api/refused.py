"""Functions that are not recorded, and what to write instead."""

from __future__ import annotations

from numbad.numpy_api.dispatch import ADVICE

COMPLEX = "complex numbers are not recorded: write the transform as a real matrix product, A_cos @ x and A_sin @ x"
COUNTS = "a histogram has no derivative: use a smooth kernel, or np.bincount(index, weights) for sums of weights"
INTEGERS = "it is for integers: keep integers apart from what is differentiated"

ADVICE.update(dict.fromkeys([f"np.fft.{name}" for name in (
    "fft ifft fft2 ifft2 fftn ifftn rfft irfft rfft2 irfft2 rfftn irfftn hfft ihfft").split()], COMPLEX))  # fmt: skip
ADVICE.update(dict.fromkeys(["np.histogram2d", "np.histogramdd", "np.histogram_bin_edges"], COUNTS))
ADVICE.update(dict.fromkeys([f"np.{name}" for name in (
    "packbits unpackbits ravel_multi_index unravel_index is_busday busday_count busday_offset").split()],
    INTEGERS))  # fmt: skip
ADVICE["np.sort_complex"] = "use np.sort: recording values are real"
ADVICE["np.bitwise_count"] = INTEGERS
