"""What tells blocks apart that one path cannot compute, in any process: structure, shapes, dtypes and plain values."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from xxhash import xxh3_64_hexdigest

from numbad.recording.inputs import as_leaf
from numbad.recording.trees import take_apart
from numbad.replay.signatures import leaves_key

PLAIN = (bool, int, float, str, bytes, type(None), np.ndarray, np.generic)
NUMBERS = "fiub"  # kinds of dtypes


class Call(NamedTuple):
    """A call of what is computed of a block.

    Attributes
    ----------
    values : list
        The leaves that vary from block to block.
    signature : str
        Calls of different signatures have different paths.
    outline : str
        How the block is nested, with a star for each leaf.
    recordable : bool
        Whether all leaves are numbers, arrays of numbers and plain values; what is computed of others is recorded anew.
    """

    values: list[Any]
    signature: str
    recordable: bool
    outline: str


def look_at_call(arguments: tuple[Any, ...]) -> Call:
    """Return what there is to know of a call: its first argument is the point, the others are the block."""
    values: list[Any] = []
    parts: list[Any] = []
    outlines = []
    recordable = True
    for argument in arguments:
        if isinstance(argument, PLAIN):
            leaves, shape = [argument], "*"
        else:
            leaves, tree = take_apart(argument)
            shape = str(tree).removeprefix("PyTreeSpec(").removesuffix(")")
        outlines.append(shape)
        for leaf in leaves:
            recordable = recordable and is_plain(leaf)
            parts.append(leaves_key(leaf, values, True)[1])
    signature = xxh3_64_hexdigest(repr((outlines, parts)).encode())
    return Call(values, signature, recordable, ", ".join(outlines[1:]))


def leaves_of_tree(tree: Any) -> list[Any]:
    """Return the leaves of a tree; None is one, too."""
    return [tree] if isinstance(tree, PLAIN) else take_apart(tree)[0]


def is_plain(leaf: Any) -> bool:
    """Whether a leaf is a number, an array of numbers, or a plain value that signatures tell apart."""
    leaf = as_leaf(leaf) if isinstance(leaf, PLAIN) else leaf
    if isinstance(leaf, (np.ndarray, np.generic)):
        return leaf.dtype.kind in NUMBERS
    return isinstance(leaf, PLAIN)
