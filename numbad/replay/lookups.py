"""Elements of the arena at indices that vary, `x[labels]`: rows of a machine that read places, which each run says.

In a recording they are rows of a Python kernel, whose index is an object (see `numbad.ops.places`). A machine has
memory of its own, so it may write there, as the operands of a `GATHER` row, where the elements lie in this run.
"""

from __future__ import annotations

from array import array
from typing import Any

import numpy as np

from numbad.ops.places import pick
from numbad.tape.layout import GATHER, HOST, gather_places, gather_words, host_call, host_places
from numbad.tape.rows import Rows


class Lookup:
    """The elements that one index names.

    Attributes
    ----------
    key : Index
        Whose `now()` is the index in this run.
    table : ndarray of int64
        The addresses of the elements of what is indexed.
    w : int
        Where the words of its row begin.
    places : ndarray of int64
        In the machine's words: the addresses of the elements that are named.
    """

    __slots__ = ("key", "places", "table", "w")

    def __init__(self, key: Any, table: np.ndarray, w: int) -> None:
        self.key, self.table, self.w = key, table, w
        self.places: np.ndarray

    def bind(self, words: np.ndarray) -> None:
        """Write to the words of a machine from now on."""
        self.places = gather_places(words, self.w)

    def refresh(self) -> None:
        """Look up the elements as the index is now; NumPy raises where it is out of bounds."""
        self.places[:] = self.table[self.key.now()].reshape(-1)


def gather_lookups(rows: Rows) -> tuple[Rows, list[Lookup]]:
    """Return rows that gather elements of the arena in place of those whose kernels look them up, and the lookups."""
    code = np.frombuffer(rows.code, np.uint32).reshape(-1, 4)
    words: Any = rows.words
    found: list[Lookup] = []
    hosts = np.flatnonzero(code[:, 0] == HOST).tolist()
    if not hosts:
        return rows, found
    changed, longer = code.copy(), array("q", words.tobytes())
    for row in hosts:
        w = int(code[row, 2])
        call = rows.hosts[host_call(words, w)]
        if getattr(call, "op", None) is not pick:
            continue
        ((space, first, count), *_), ((_, out, made), *_) = host_places(words, w)
        if space:
            continue
        table = np.arange(first, first + count).reshape(call.operand_shapes[0])
        found.append(Lookup(call.settings["key"], table, len(longer)))
        changed[row] = GATHER, out, len(longer), 1
        longer.extend(gather_words(np.zeros(made, np.int64)))
    if not found:
        return rows, found
    return rows.with_rows(array("I", changed.tobytes()), longer, rows.large), found
