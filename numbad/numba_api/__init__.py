"""Functions that Numba compiles: their Python source is recorded, and computes what Numba's machine code does."""
