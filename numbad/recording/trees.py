"""Nested inputs and outputs: flattened with optree, which is imported when something is nested.

None is a tree without leaves, as in JAX.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from numbad.recording.active import Active
from numbad.recording.operands import pack

if TYPE_CHECKING:
    from optree import PyTreeSpec

Tree = TypeVar("Tree")
LEAVES = (Active, float, int, np.ndarray)


def flatten(tree: Tree) -> tuple[list[Any], Callable[[list[Any]], Tree]]:
    """Return the leaves of a tree and a function that rebuilds it from as many leaves."""
    if isinstance(tree, LEAVES):
        return [packed(tree)], first
    leaves, structure = take_apart(tree)
    return [packed(leaf) for leaf in leaves], functools.partial(put_together, structure)


def flatten_arguments(arguments: tuple[Any, ...]) -> tuple[list[Any], Callable[[list[Any]], tuple[Any, ...]]]:
    """Return the leaves of all arguments, and a function that rebuilds these from as many leaves."""
    if all(isinstance(argument, LEAVES) for argument in arguments):
        return [packed(argument) for argument in arguments], tuple
    return flatten(arguments)


def take_apart(tree: Any) -> tuple[list[Any], PyTreeSpec]:
    """Return the leaves of a tree and its structure, as optree's PyTreeSpec; None is a tree without leaves."""
    import optree

    return optree.tree_flatten(tree, namespace="numbad")


def put_together(structure: PyTreeSpec, leaves: list[Any]) -> Any:
    """Give leaves a structure."""
    import optree

    return optree.tree_unflatten(structure, leaves)


def spread_prefix(prefix: Any, tree: Any) -> list[Any]:
    """Return one entry of `prefix` for each leaf of a tree; None in the prefix may stand for any subtree.

    Raises
    ------
    ValueError
        If `prefix` is not nested as the tree begins.
    """
    import optree

    entries = optree.broadcast_prefix(prefix, tree, none_is_leaf=True, namespace="numbad")
    places = optree.tree_leaves(tree, none_is_leaf=True, namespace="numbad")
    return [entry for entry, place in zip(entries, places, strict=True) if place is not None]


def packed(leaf: Any) -> Any:
    """Return a leaf, where an array of objects that holds recording values becomes a recording array."""
    if type(leaf) is np.ndarray and leaf.dtype == object:
        recorder = next((part.recorder for part in leaf.reshape(-1).tolist() if isinstance(part, Active)), None)
        if recorder is not None and not recorder.closed:
            return pack(recorder, leaf)
    return leaf


def first(leaves: list[Any]) -> Any:
    """Rebuild a tree that is a leaf."""
    return leaves[0]


def same_structure(one: Any, other: Any) -> bool:
    """Whether two trees are nested alike: the same tuples, lists and dicts around their leaves."""
    if isinstance(one, LEAVES) and isinstance(other, LEAVES):
        return True
    return take_apart(one)[1] == take_apart(other)[1]
