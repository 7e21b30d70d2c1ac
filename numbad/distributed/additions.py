"""A sum whose order of additions depends on the numbers of its terms alone, in whichever order they come.

Terms 2 k and 2 k + 1 are added, then the sums of two such pairs, and so on: a binary tree over the numbers. Where the
terms come to an end, what is left is added from the last to the first. So a sum of floating point numbers has the same
bits whoever computes the terms, and its error grows with the logarithm of their count.

N. J. Higham, *Accuracy and Stability of Numerical Algorithms*, 2nd ed., SIAM, 2002, section 4.2 (pairwise summation).
"""

from __future__ import annotations

from typing import Any

import numpy as np

Term = list[Any]  # numbers and arrays, the leaves of a tree


def plus(left: Term, right: Term) -> Term:
    """Return the sum of two terms; arrays of the left one are written to."""
    return [add(one, other) for one, other in zip(left, right, strict=True)]


def add(one: Any, other: Any) -> Any:
    """Return the sum of two leaves."""
    if type(one) is np.ndarray and one.shape == other.shape and one.dtype == other.dtype and one.flags.writeable:
        return np.add(one, other, out=one)
    return one + other


class Additions:
    """The terms that have come, added as far as their neighbours have come, too.

    Attributes
    ----------
    nodes : dict
        By level and place in the level: sums that wait for their neighbour.
    """

    def __init__(self) -> None:
        self.nodes: dict[tuple[int, int], Term] = {}

    def take(self, number: int, term: Term, level: int = 0) -> None:
        """Add the term of a number, or the sum of a place in a level, which comes once."""
        place = number
        while (neighbour := self.nodes.pop((level, place ^ 1), None)) is not None:
            term = plus(neighbour, term) if place & 1 else plus(term, neighbour)
            level, place = level + 1, place >> 1
        self.nodes[level, place] = term

    def total(self) -> Term:
        """Return the sum of all terms, numbered from 0 on without a gap."""
        left = [self.nodes[key] for key in sorted(self.nodes)]  # the last terms are on the lowest levels
        found = left[0]
        for node in left[1:]:
            found = plus(node, found)
        return found
