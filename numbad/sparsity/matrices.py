"""Matrices of `scipy.sparse` from entries, of a structure that stays the same from call to call."""

from __future__ import annotations

from typing import Any

import numpy as np

from numbad.errors import message
from numbad.sparsity.patterns import Pattern, index_dtype

FORMATS = ("csr", "csc", "coo")


def check_format(name: str, format: Any) -> None:
    """Raise a ValueError unless a format is known."""
    if format not in FORMATS:
        raise ValueError(message(f"{name}: format is {format!r}", 'give "csr", "csc" or "coo"', where=False))


class Block:
    """One matrix: which of the entries it has, in its order, and a matrix of its structure.

    Parameters
    ----------
    pattern : Pattern
    rows, columns : tuple of int
        The first row and column, and those behind the last.
    format : str
    dtype : dtype
        Of the numbers.
    """

    def __init__(
        self, pattern: Pattern, rows: tuple[int, int], columns: tuple[int, int], format: str, dtype: Any
    ) -> None:
        one, other = (part.astype(np.int64) for part in pattern.structure())
        inside = (one >= rows[0]) & (one < rows[1]) & (other >= columns[0]) & (other < columns[1])
        chosen = np.flatnonzero(inside)
        if format == "csc":
            chosen = chosen[np.argsort(other[chosen], kind="stable")]
        one, other = one[chosen] - rows[0], other[chosen] - columns[0]
        self.chosen = None if np.array_equal(chosen, np.arange(pattern.entries)) else chosen
        self.dtype, self.shape = np.dtype(dtype), (rows[1] - rows[0], columns[1] - columns[0])
        self.kept = empty_matrix(format, self.shape, one, other, index_dtype(len(one), *self.shape))
        self.kind = type(self.kept)
        self.arrays = [(name, value) for name, value in vars(self.kept).items() if isinstance(value, np.ndarray)]
        self.arrays = [(name, value) for name, value in self.arrays if name != "data"]
        self.tuples = [(name, value) for name, value in vars(self.kept).items() if name == "coords"]
        self.rest = {name: value for name, value in vars(self.kept).items() if name not in ("data", "coords")}

    def make(self, data: np.ndarray) -> Any:
        """Return the matrix of some entries; its arrays are its own."""
        data = data if self.chosen is None else data[self.chosen]
        found = object.__new__(self.kind)
        own = found.__dict__
        own.update(self.rest)
        for name, value in self.arrays:
            own[name] = value.copy()
        for name, value in self.tuples:
            own[name] = tuple([part.copy() for part in value])
        own["data"] = data if data.dtype == self.dtype else data.astype(self.dtype)
        return found


def empty_matrix(format: str, shape: tuple[int, int], rows: np.ndarray, columns: np.ndarray, dtype: Any) -> Any:
    """Return a matrix with entries at some places, which are in the order of the format."""
    from scipy.sparse import coo_array, csc_array, csr_array

    data = np.zeros(len(rows))
    if format == "coo":
        found = coo_array((data, (rows.astype(dtype), columns.astype(dtype))), shape=shape)
        found.has_canonical_format = True
        return found
    inner, outer, kind = (columns, rows, csr_array) if format == "csr" else (rows, columns, csc_array)
    count = shape[0] if format == "csr" else shape[1]
    pointers = np.concatenate([[0], np.cumsum(np.bincount(outer, minlength=count))]).astype(dtype)
    found = kind((data, inner.astype(dtype), pointers), shape=shape)
    found.has_sorted_indices = found.has_canonical_format = True
    return found


def widened(data: np.ndarray, places: np.ndarray | None, count: int) -> np.ndarray:
    """Return entries among those of a wider pattern: zeros elsewhere; entries whose place is -1 are left out."""
    if places is None:
        return data
    found = np.zeros(count, data.dtype)
    kept = places >= 0
    found[places[kept]] = data[kept]
    return found


def places_in(pattern: Pattern, wider: Pattern) -> np.ndarray | None:
    """Return where each entry of a pattern is in another, -1 where it is not; None where they are the same."""
    if np.array_equal(pattern.indptr, wider.indptr) and np.array_equal(pattern.indices, wider.indices):
        return None
    width = np.int64(max(pattern.shape[1], 1))
    pairs = (pattern.structure(), wider.structure())
    own, others = (rows.astype(np.int64) * width + columns for rows, columns in pairs)
    found = np.searchsorted(others, own)
    inside = found < others.size
    inside[inside] = others[found[inside]] == own[inside]
    return np.where(inside, found, -1)


def united(one: Pattern, other: Pattern) -> Pattern:
    """Return the pattern with the entries of both."""
    width = np.int64(max(one.shape[1], 1))
    keys = [rows.astype(np.int64) * width + columns for rows, columns in map(Pattern.structure, (one, other))]
    return pattern_of(np.union1d(*keys), one.shape, one.symmetric and other.symmetric)


def pattern_of(keys: np.ndarray, shape: tuple[int, int], symmetric: bool = False) -> Pattern:
    """Return the pattern of entries whose keys, row times width plus column, are in order."""
    width = np.int64(max(shape[1], 1))
    dtype = index_dtype(keys.size, *shape)
    pointers = np.concatenate([[0], np.cumsum(np.bincount(keys // width, minlength=shape[0]))])
    return Pattern(shape, pointers.astype(dtype), (keys % width).astype(dtype), symmetric)


def pattern_from(given: Any, shape: tuple[int, int], name: str) -> Pattern:
    """Return a pattern that the user gives: a Pattern, or a matrix whose stored entries are meant.

    Raises
    ------
    ValueError
        When its shape is another.
    """
    if isinstance(given, Pattern):
        rows, columns, found = *given.structure(), given.shape
    else:
        from scipy.sparse import coo_array

        matrix = coo_array(given)
        rows, columns, found = matrix.row, matrix.col, matrix.shape
    if tuple(found) != tuple(shape):
        do = "give the pattern a row for each output element, and a column for each input element"
        raise ValueError(
            message(f"{name}: the pattern is of shape {tuple(found)}, the matrix of {shape}", do, where=False)
        )
    return pattern_of(np.unique(rows.astype(np.int64) * max(shape[1], 1) + columns), shape)
