"""Functions that Numba compiles: their Python source is recorded, and computes what Numba's machine code does."""

from numbad.errors import INTERNAL

INTERNAL.add(__name__)  # not in its list: kernels are made of that module, and would be made anew
