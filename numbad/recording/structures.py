"""The structure of a tape's arguments and results, as optree's specification; None for a leaf."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from numbad.recording.active import Active
from numbad.recording.trees import put_together, take_apart

if TYPE_CHECKING:
    from optree import PyTreeSpec

Structure: TypeAlias = "PyTreeSpec | None"


def flatten(tree: Any) -> tuple[list[Any], Structure]:
    """Return the leaves of a tree and its structure, None for a tree that is a leaf."""
    if isinstance(tree, (float, int, np.ndarray, np.generic, Active)):
        return [tree], None
    leaves, structure = take_apart(tree)
    return leaves, None if structure.is_leaf() else structure


def unflatten(structure: Structure, leaves: list[Any]) -> Any:
    """Give leaves a structure."""
    if structure is None:
        return leaves[0]
    return put_together(structure, leaves)


def count_leaves(structure: Structure) -> int:
    """Return the number of leaves of a structure."""
    return 1 if structure is None else structure.num_leaves


def describe_trees(structures: tuple[Structure, ...]) -> str:
    """Write the structures of arguments."""
    texts = ["*" if tree is None else str(tree).removeprefix("PyTreeSpec(").removesuffix(")") for tree in structures]
    return f"({', '.join(texts)})"
