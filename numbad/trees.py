"""Nested inputs and outputs: flattened with optree, which is imported when something is nested."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from numbad.active import Active
from numbad.operands import pack

LEAVES = (float, int, np.ndarray, Active)


def flatten(tree: Any) -> tuple[list[Any], Callable[[list[Any]], Any]]:
    """Return the leaves of a tree and a function that rebuilds it from as many leaves."""
    if isinstance(tree, LEAVES):
        return [packed(tree)], first
    import optree

    leaves, specification = optree.tree_flatten(tree, none_is_leaf=True, namespace="numbad")
    return [packed(leaf) for leaf in leaves], lambda new: optree.tree_unflatten(specification, new)


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
    import optree

    structure = functools.partial(optree.tree_structure, none_is_leaf=True, namespace="numbad")
    return structure(one) == structure(other)
