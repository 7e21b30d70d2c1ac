"""Patterns and colours of sparse derivatives in the files of tapes: arrays that are looked at before they are believed.

A file may have them where they were found before it was written. A pattern has to be that of the tape: whoever computes
entries finds it again, which is quick, and compares. Colours, which may take longer, have to give each entry.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from numbad.sparsity.colouring import Colouring
from numbad.sparsity.compiled import call
from numbad.sparsity.of_tapes import saved_patterns, use_saved
from numbad.sparsity.patterns import Pattern
from numbad.storage.container import complain
from numbad.storage.plaindata import Decoder, Encoder
from numbad.tapes.tape import Tape

KINDS = ("columns", "rows", "both", "star", "acyclic")
ROOM = 64  # numbers that are swept for each entry, at most
CLOSE = 1e-9  # how well a matrix has to be read back


def describe_patterns(tape: Tape, encoder: Encoder) -> dict[str, Any]:
    """Return what a file says of the sparse derivatives of a tape: nothing where none was prepared."""
    found = []
    for second, (pattern, colouring) in saved_patterns(tape).items():
        entry: dict[str, Any] = {"second": second, "shape": list(pattern.shape), "symmetric": pattern.symmetric}
        entry |= {"indptr": encoder.put(pattern.indptr), "indices": encoder.put(pattern.indices)}
        if colouring is not None and is_narrow(colouring, pattern):
            entry["kind"] = colouring.kind
            entry |= {name: encoder.put(getattr(colouring, name)) for name in ("columns", "rows", "places", "steps")}
            entry["by_column"] = encoder.put(colouring.by_column.astype(np.int64))
        found.append(entry)
    return {"sparse": found} if found else {}


def read_patterns(tape: Tape, description: dict[str, Any], decoder: Decoder) -> None:
    """Give a tape the patterns and colours of its file."""
    found = description.get("sparse", [])
    if type(found) is not list or not all(type(entry) is dict for entry in found) or len(found) > 2:
        complain("the file has no list of patterns")
    for entry in found:
        second = entry.get("second")
        if type(second) is not bool or type(entry.get("symmetric")) is not bool:
            complain("a pattern in the file does not say of which derivative it is")
        width = sum(slot.size for slot in tape.inputs)
        height = width if second else sum(int(np.prod(slot.shape, dtype=np.int64)) for slot in tape.outputs)
        if entry.get("shape") != [height, width]:
            complain(f"a pattern in the file is not of {height} x {width}, as the tape is")
        pattern = read_pattern(entry, decoder, (height, width))
        use_saved(tape, second, pattern, read_colouring(entry, decoder, pattern) if "kind" in entry else None)


def read_pattern(entry: dict[str, Any], decoder: Decoder, shape: tuple[int, int]) -> Pattern:
    """Return a pattern of a file whose rows have entries in order, inside of the matrix."""
    indptr, indices = (decoder.take(entry.get(name), name) for name in ("indptr", "indices"))
    if any(part.dtype not in (np.int32, np.int64) or part.ndim != 1 for part in (indptr, indices)):
        complain("the entries of a pattern in the file are not integers")
    steps = np.diff(indptr).astype(np.int64)
    if len(steps) != shape[0] or indptr[0] != 0 or indptr[-1] != len(indices) or (steps < 0).any():
        complain("the rows of a pattern in the file do not follow one another")
    rows = np.repeat(np.arange(shape[0]), steps)
    keys = rows * np.int64(max(shape[1], 1)) + indices
    if ((indices < 0) | (indices >= shape[1])).any() or (np.diff(keys) <= 0).any():
        complain("the entries of a pattern in the file are not in order")
    return Pattern(shape, indptr, indices, entry["symmetric"])


def read_colouring(entry: dict[str, Any], decoder: Decoder, pattern: Pattern) -> Colouring:
    """Return colours of a file from which each entry of a pattern can be read."""
    parts = {name: decoder.take(entry.get(name), name) for name in ("columns", "rows", "places", "steps", "by_column")}
    if entry["kind"] not in KINDS or any(part.dtype != np.int64 for part in parts.values()):
        complain("the colours of a pattern in the file are not known")
    (height, width), count = pattern.shape, pattern.entries
    shapes = {"columns": (width,), "rows": (height,), "places": (count,), "by_column": (count,)}
    if any(parts[name].shape != shape for name, shape in shapes.items()) or parts["steps"].shape[1:] != (2,):
        complain("the colours of a pattern in the file are not as many as its rows, columns and entries")
    parts["by_column"] = parts["by_column"] != 0
    found = Colouring(kind=entry["kind"], **parts)
    if not gives_entries(found, pattern):
        complain("the colours of a pattern in the file do not give its entries")
    return found


def is_narrow(colouring: Colouring, pattern: Pattern) -> bool:
    """Whether what is swept is not much more than the entries: other colours are not kept, and no memory is tried."""
    height, width = pattern.shape
    swept = height * colouring.column_colours + width * colouring.row_colours
    return swept <= ROOM * (pattern.entries + height + width)


def gives_entries(colouring: Colouring, pattern: Pattern) -> bool:
    """Whether the entries of a matrix of a pattern are read back from what its colours make of it."""
    from scipy.sparse import csr_array

    many = [colouring.columns, colouring.rows]
    if any(part.min(initial=0) < -1 or part.max(initial=-1) >= max(part.size, 1) for part in many):
        return False
    if not is_narrow(colouring, pattern):
        return False
    data = np.random.default_rng(0).uniform(1.0, 2.0, pattern.entries)
    matrix: Any = csr_array((data, pattern.indices, pattern.indptr), shape=pattern.shape)
    if pattern.symmetric:
        matrix = (matrix + matrix.T).tocsr()
        matrix.sort_indices()
        if matrix.nnz != pattern.entries:
            return False
    compressed = matrix @ seeds(colouring.columns, colouring.column_colours)
    across = seeds(colouring.rows, colouring.row_colours).T @ matrix
    flats = compressed.toarray().reshape(-1), across.toarray().reshape(-1)
    if colouring.steps.min(initial=0) < 0 or colouring.steps.max(initial=-1) >= flats[0].size:
        return False
    if colouring.steps.size:
        call("substitute_at", 0, (flats[0], np.ascontiguousarray(colouring.steps).reshape(-1)))
    values = np.zeros(pattern.entries)
    for flat, which in zip(flats, (colouring.by_column, ~colouring.by_column), strict=True):
        places = colouring.places[which]
        if places.min(initial=0) < 0 or places.max(initial=-1) >= flat.size:
            return False
        values[which] = flat[places]
    return bool(np.allclose(values, matrix.data, rtol=CLOSE, atol=0.0))


def seeds(colours: np.ndarray, count: int) -> Any:
    """Return a matrix with a one for each row or column in the column of its colour."""
    from scipy.sparse import csr_array

    inside = np.flatnonzero(colours >= 0)
    return csr_array((np.ones(inside.size), (inside, colours[inside])), shape=(colours.size, count))
