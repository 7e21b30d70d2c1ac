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
    recordable : bool
        Whether all leaves are numbers, arrays of numbers and plain values; what is computed of others is recorded anew.
    """

    values: list[Any]
    signature: str
    recordable: bool


def look_at_call(arguments: tuple[Any, ...]) -> Call:
    """Return what there is to know of a call: its first argument is the point, the others are the block."""
    values: list[Any] = []
    parts = []
    for argument in arguments:
        tree, leaves = leaves_key(argument, values, True)
        parts.append((str(tree), leaves))
    return Call(values, xxh3_64_hexdigest(repr(parts).encode()), all(map(is_plain, leaves_among(arguments))))


def leaves_among(arguments: tuple[Any, ...]) -> list[Any]:
    """Return the leaves of arguments."""
    return [leaf for argument in arguments for leaf in leaves_of_tree(argument)]


def leaves_of_tree(tree: Any) -> list[Any]:
    """Return the leaves of a tree; None is one, too."""
    return [tree] if isinstance(tree, PLAIN) else take_apart(tree)[0]


def is_plain(leaf: Any) -> bool:
    """Whether a leaf is a number, an array of numbers, or a plain value that signatures tell apart."""
    leaf = as_leaf(leaf) if isinstance(leaf, PLAIN) else leaf
    if isinstance(leaf, (np.ndarray, np.generic)):
        return leaf.dtype.kind in NUMBERS
    return isinstance(leaf, PLAIN)


def outline(tree: Any) -> str:
    """Write how a tree is nested, with a star for each leaf."""
    if isinstance(tree, PLAIN):
        return "*"
    return str(take_apart(tree)[1]).removeprefix("PyTreeSpec(").removesuffix(")")
