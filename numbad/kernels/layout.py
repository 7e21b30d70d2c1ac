"""The reader of rows for compiled functions: those of `tape.layout`, which Numba compiles from the same text."""

from __future__ import annotations

from numba.extending import register_jitable

from numbad.tape.layout import *  # noqa: F403  the functions themselves, under their own names
from numbad.tape.layout import READERS

for _function in READERS:
    register_jitable(nogil=True, error_model="numpy")(_function)
