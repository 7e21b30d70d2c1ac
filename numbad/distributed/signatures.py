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
MOST_KNOWN = 4096  # signatures that are kept


class Part(NamedTuple):
    """An argument of a call.

    Attributes
    ----------
    values : list
        The leaves that vary from block to block.
    key : tuple
        How it is nested, and what there is to know of each leaf.
    outline : str
        How it is nested, with a star for each leaf.
    recordable : bool
        Whether all leaves are numbers, arrays of numbers and plain values.
    """

    values: list[Any]
    key: tuple[Any, ...]
    outline: str
    recordable: bool


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


def look_at_part(argument: Any) -> Part:
    """Return what there is to know of an argument."""
    if type(argument) is float:
        return Part([argument], NUMBER, "*", True)
    if isinstance(argument, PLAIN):
        leaves, outline = [argument], "*"
    else:
        leaves, tree = take_apart(argument)
        outline = str(tree).removeprefix("PyTreeSpec(").removesuffix(")")
    values: list[Any] = []
    parts = [leaves_key(leaf, values, True)[1] for leaf in leaves]
    return Part(values, (outline, *parts), outline, all(map(is_plain, leaves)))


NUMBER = ("*", leaves_key(0.0, [], True)[1])  # the key of a float
signatures: dict[tuple[Any, ...], str] = {}  # by the keys of arguments


def put_parts(parts: list[Part]) -> Call:
    """Return what there is to know of a call of arguments: the first is the point, the others are the block."""
    keys = tuple([part.key for part in parts])
    signature = signatures.get(keys)
    if signature is None:
        if len(signatures) > MOST_KNOWN:
            signatures.clear()
        signature = signatures[keys] = xxh3_64_hexdigest(repr(keys).encode())
    values = [value for part in parts for value in part.values]
    recordable = all(part.recordable for part in parts)
    return Call(values, signature, recordable, ", ".join([part.outline for part in parts[1:]]))


def look_at_call(arguments: tuple[Any, ...]) -> Call:
    """Return what there is to know of a call of arguments: the first is the point, the others are the block."""
    return put_parts([look_at_part(argument) for argument in arguments])


def leaves_of_tree(tree: Any) -> list[Any]:
    """Return the leaves of a tree; None is one, too."""
    return [tree] if isinstance(tree, PLAIN) else take_apart(tree)[0]


def is_plain(leaf: Any) -> bool:
    """Whether a leaf is a number, an array of numbers, or a plain value that signatures tell apart."""
    leaf = as_leaf(leaf) if isinstance(leaf, PLAIN) else leaf
    if isinstance(leaf, (np.ndarray, np.generic)):
        return leaf.dtype.kind in NUMBERS
    return isinstance(leaf, PLAIN)
