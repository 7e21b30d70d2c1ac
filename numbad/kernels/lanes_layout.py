"""What Python and the compiled sweeps of lanes agree on.

Their tables begin with the arrays of a linearised tape: code, words, kept, slots, slopes, values, partials, bases,
place, coefficient (see `lanes`). What a sweep needs besides comes behind them.
"""

from __future__ import annotations

ARRAYS = 10  # how many they are
NONE = -1  # the place of an address that does not depend on the inputs
