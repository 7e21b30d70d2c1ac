"""Colours: which columns or rows of a pattern one seed may stand for, and where each entry is then read.

Columns without an entry in a common row are computed together (Curtis, Powell and Reid, 1974; Coleman and Moré, 1983).
With columns and rows at once, and for symmetric patterns, two colours form stars (Coleman and Moré, 1984): in the graph
of rows and columns for the former (Gebremedhin, Manne and Pothen, 2005, section 6; Montoison, Dalle and Gebremedhin,
2025), where colours that no entry is read from are left out. Where two colours of a symmetric pattern form trees, which
takes fewer, an entry is read at a leaf, taken out of what its other end is summed with, and so on (Coleman and Cai,
1986; Gebremedhin, Tarafdar, Manne and Pothen, 2007).
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from numbad.errors import InternalError, message
from numbad.sparsity.compiled import call
from numbad.sparsity.patterns import Pattern, check_pattern

ORDERS = ("natural", "largest_first", "smallest_last", "incidence_degree", "dynamic_largest_first")
KINDS = {"largest_first": 0, "incidence_degree": 1, "smallest_last": 2, "dynamic_largest_first": 3}
DENSE = 64  # neighbours: a vertex with at least so many, and DENSER times the mean, has a colour of its own
DENSER = 8
MOST_PAIRS = 1 << 31  # of columns in common rows, that are looked at for one colouring
MOST_STEPS = 1 << 27  # of one star colouring: neighbours of neighbours
MOST_KEYS = 1 << 16  # of saturated columns: colours of neighbours, and neighbours
COLOUR_BYTES = 80  # of an entry, while its colour is found
ENOUGH_PAIRS = 1 << 24  # beyond so many, one order is tried, not all


@dataclasses.dataclass(eq=False)
class Colouring:
    """The colours of a pattern, and from where its entries are read.

    Attributes
    ----------
    kind : str
        "columns", "rows", "both", "star" or "acyclic".
    columns : ndarray of int64, shape (columns,)
        The colour of each column, -1 where it needs none.
    rows : ndarray of int64, shape (rows,)
        The colour of each row, -1 where it needs none.
    by_column : ndarray of bool, shape (entries,)
        Whether an entry is read from its column's colour, at `places`; else from its row's.
    places : ndarray of int64, shape (entries,)
        Where an entry is read, in compressed columns of shape (rows, colours), or in compressed rows of shape
        (colours, columns).
    steps : ndarray of int64, shape (steps, 2)
        What is done before: the number at the one place in the compressed columns is less by that at the other.
    """

    kind: str
    columns: np.ndarray
    rows: np.ndarray
    by_column: np.ndarray
    places: np.ndarray
    steps: np.ndarray = dataclasses.field(default_factory=lambda: np.zeros((0, 2), np.int64))

    @property
    def column_colours(self) -> int:
        """Number of colours of columns: tangents."""
        return int(self.columns.max(initial=-1)) + 1

    @property
    def row_colours(self) -> int:
        """Number of colours of rows: cotangents."""
        return int(self.rows.max(initial=-1)) + 1

    @property
    def colours(self) -> int:
        """Number of colours in all."""
        return self.column_colours + self.row_colours


class Uncoloured(Exception):
    """A colouring of this kind would take too long: a row is too dense."""


@dataclasses.dataclass
class Graph:
    """Rows and columns of a pattern with their neighbours: the columns of each row, the rows of each column."""

    row_pointers: np.ndarray
    row_columns: np.ndarray
    column_pointers: np.ndarray
    column_rows: np.ndarray

    @property
    def transposed(self) -> Graph:
        """The graph with rows and columns exchanged."""
        return Graph(self.column_pointers, self.column_rows, self.row_pointers, self.row_columns)


def graph_of(pattern: Pattern) -> Graph:
    """Return rows and columns of a pattern with their neighbours."""
    rows, columns = (part.astype(np.int64) for part in pattern.structure())
    order = np.argsort(columns, kind="stable")
    counts = np.bincount(columns, minlength=pattern.shape[1])
    return Graph(pattern.indptr.astype(np.int64), columns, pointers_of(counts), rows[order])


def pointers_of(counts: np.ndarray) -> np.ndarray:
    """Return where runs of some lengths begin, and where the last ends."""
    return np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)


def pairs_of(graph: Graph) -> int:
    """Return how many pairs of columns in common rows there are."""
    counts = np.diff(graph.row_pointers).astype(np.float64)
    return int(np.sum(counts * counts))


# ---------------------------------------------------------------- columns, rows


def order_of(name: str, graph: Graph, distance: int = 2) -> np.ndarray:
    """Return the order in which columns get their colours; at distance 1, vertices of a graph given by its columns."""
    count = len(graph.column_pointers) - 1
    if name == "natural":
        return np.arange(count)
    back = graph.row_pointers if distance == 2 else np.zeros(0, np.int64)
    columns = graph.row_columns if distance == 2 else np.zeros(0, np.int64)
    degrees, order, marks, found, keys = (np.zeros(count + 1, np.int64) for _ in range(5))
    heads, after, before = (np.full(count + 1, -1, np.int64) for _ in range(3))
    arrays = (graph.column_pointers, graph.column_rows, back, columns, degrees[:count], order, marks, found, keys)
    call("order_at", KINDS[name], (*arrays, heads, after, before))
    return np.argsort(-degrees[:count], kind="stable") if name == "largest_first" else order[:count]


def colour_columns(graph: Graph, order: str = "natural") -> np.ndarray:
    """Return colours of columns, so that no two with an entry in a common row have the same.

    Raises
    ------
    Uncoloured
        When the rows are so dense that it would take long.
    """
    if pairs_of(graph) > MOST_PAIRS:
        raise Uncoloured
    return colour_in(order_of(order, graph), graph)


def colour_in(sequence: np.ndarray, graph: Graph) -> np.ndarray:
    """Return colours of columns that are taken one after the other, each the first that is free."""
    count = len(graph.column_pointers) - 1
    colours, forbidden = np.full(count, -1, np.int64), np.full(count + 1, -1, np.int64)
    arrays = (sequence, graph.column_pointers, graph.column_rows, graph.row_pointers, graph.row_columns)
    call("colour_columns_at", 0, (*arrays, colours, forbidden))
    return colours


def colour_saturated(graph: Graph) -> np.ndarray | None:
    """Return colours of columns, the most constrained ones first; None where they would be very many."""
    count = len(graph.column_pointers) - 1
    degrees, masks, marks, found, keys = (np.zeros(count + 1, np.int64) for _ in range(5))
    colours, after, before = (np.full(count + 1, -1, np.int64) for _ in range(3))
    heads = np.full(MOST_KEYS, -1, np.int64)
    arrays = (graph.column_pointers, graph.column_rows, graph.row_pointers, graph.row_columns, degrees[:count])
    done = call("colour_saturated_at", 0, (*arrays, colours, masks, marks, found, keys, heads, after, before))
    return colours[:count] if done else None


def best_columns(graph: Graph) -> np.ndarray:
    """Return the colours of columns of the order that needs the fewest; -1 for columns without an entry."""
    least = int(np.diff(graph.row_pointers).max(initial=0))
    if least == np.count_nonzero(np.diff(graph.column_pointers)):  # they are all in one row
        return without_empty(np.arange(len(graph.column_pointers) - 1), graph)
    best = colour_columns(graph)
    if pairs_of(graph) <= ENOUGH_PAIRS:
        for order in ORDERS[1:]:
            if best.max(initial=-1) + 1 <= least:
                break
            found = colour_columns(graph, order)
            best = found if found.max(initial=-1) < best.max(initial=-1) else best
        saturated = colour_saturated(graph) if best.max(initial=-1) + 1 > least else None
        if saturated is not None and saturated.max(initial=-1) < best.max(initial=-1):
            best = saturated
    return without_empty(best, graph)


def without_empty(colours: np.ndarray, graph: Graph) -> np.ndarray:
    """Return the colours with those that only columns without entries have left out."""
    used = np.diff(graph.column_pointers) > 0
    _, found = np.unique(colours[used], return_inverse=True)
    result = np.full(colours.size, -1, np.int64)
    result[used] = found
    return result


def by_columns(pattern: Pattern, graph: Graph) -> Colouring:
    """Return the colouring of a pattern's columns."""
    return as_columns(pattern, best_columns(graph))


def as_columns(pattern: Pattern, colours: np.ndarray) -> Colouring:
    """Return the colouring that some colours of a pattern's columns are."""
    rows, columns = pattern.structure()
    places = rows.astype(np.int64) * (colours.max(initial=-1) + 1) + colours[columns]
    return Colouring("columns", colours, np.full(pattern.shape[0], -1), np.ones(len(rows), np.bool_), places)


def by_rows(pattern: Pattern, graph: Graph) -> Colouring:
    """Return the colouring of a pattern's rows."""
    return as_rows(pattern, best_columns(graph.transposed))


def as_rows(pattern: Pattern, colours: np.ndarray) -> Colouring:
    """Return the colouring that some colours of a pattern's rows are."""
    rows, columns = pattern.structure()
    places = colours[rows] * pattern.shape[1] + columns
    return Colouring("rows", np.full(pattern.shape[1], -1), colours, np.zeros(len(rows), np.bool_), places)


# ---------------------------------------------------------------- stars


def colour_stars(
    count: int, one: np.ndarray, other: np.ndarray, order: str = "natural"
) -> tuple[np.ndarray, np.ndarray]:
    """Return star colours of the vertices of a graph, and for each edge which of its ends is the hub: 0, 1, or -1.

    A vertex with very many edges has a colour of its own, and is the hub of its edges: a path of four vertices with
    two colours has each colour twice, so it cannot go through such a vertex.

    Parameters
    ----------
    count : int
        Number of vertices.
    one, other : ndarray of int64, shape (edges,)
        The ends of each edge, different from one another, each edge once.

    Raises
    ------
    Uncoloured
        When there are so many edges that it would take long.
    """
    degrees, dense = dense_vertices(count, one, other)
    if steps_of(degrees[~dense]) > MOST_STEPS:
        raise Uncoloured
    hubs = np.where(dense[one], 0, np.where(dense[other], 1, -1))
    left = np.flatnonzero(hubs < 0)
    pointers, others, edges = neighbours_of(count, one[left], other[left])
    empty = np.zeros(0, np.int64)
    sequence = order_of(order, Graph(empty, empty, pointers, others), 1)
    colours, treated = (np.full(count, -1, np.int64) for _ in range(2))
    forbidden, first_v, first_w = (np.full(count + 1, -1, np.int64) for _ in range(3))
    stars, found = np.zeros(left.size + 1, np.int64), np.full(left.size + 1, -1, np.int64)
    arrays = (sequence[~dense[sequence]], pointers, others, edges, colours, forbidden, first_v, first_w, treated)
    call("colour_stars_at", 0, (*arrays, stars, found))
    hub = found[stars[: left.size]]
    hubs[left] = np.where(hub < 0, -1, np.where(hub == one[left], 0, 1))
    colours[dense] = colours.max(initial=-1) + 1 + np.arange(np.count_nonzero(dense))
    return colours, hubs


def dense_vertices(count: int, one: np.ndarray, other: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the degrees of the vertices, and which have so many edges that each gets a colour of its own."""
    degrees = np.bincount(one, minlength=count) + np.bincount(other, minlength=count)
    return degrees, degrees > max(DENSE, DENSER * degrees.mean() if count else 0)


def steps_of(degrees: np.ndarray) -> int:
    """Return how many neighbours of neighbours there are."""
    return int(np.sum(degrees.astype(np.float64) ** 2))


def colour_trees(count: int, one: np.ndarray, other: np.ndarray, order: str = "natural") -> np.ndarray:
    """Return colours of the vertices of a graph, any two of which form trees.

    The parameters are those of `colour_stars`, and so is what is done about vertices with very many edges: a cycle of
    two colours has each twice.

    Raises
    ------
    Uncoloured
        When there are so many edges that it would take long.
    """
    degrees, dense = dense_vertices(count, one, other)
    if steps_of(degrees[~dense]) > MOST_STEPS:
        raise Uncoloured
    left = np.flatnonzero(~dense[one] & ~dense[other])
    pointers, others, edges = neighbours_of(count, one[left], other[left])
    empty = np.zeros(0, np.int64)
    sequence = order_of(order, Graph(empty, empty, pointers, others), 1)
    colours, visit_v, visit_w = np.full(count, -1, np.int64), *(np.full(left.size + 1, -1, np.int64) for _ in range(2))
    forbidden, near_v, near_edge = (np.full(count + 1, -1, np.int64) for _ in range(3))
    arrays = (sequence[~dense[sequence]], pointers, others, edges, colours, forbidden, near_v, near_edge)
    call("colour_trees_at", 0, (*arrays, np.arange(left.size + 1), visit_v, visit_w))
    colours[dense] = colours.max(initial=-1) + 1 + np.arange(np.count_nonzero(dense))
    return colours


def neighbours_of(count: int, one: np.ndarray, other: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return for the vertices of a graph where their neighbours begin, the neighbours, and the edges to them."""
    heads, tails = np.concatenate([one, other]), np.concatenate([other, one])
    sorting = np.argsort(heads, kind="stable")
    pointers = pointers_of(np.bincount(heads, minlength=count))
    return pointers, tails[sorting], np.tile(np.arange(one.size), 2)[sorting]


def best_trees(count: int, one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Return colours of which any two form trees, of the order that needs the fewest."""
    found = colour_trees(count, one, other, "largest_first")
    degrees, dense = dense_vertices(count, one, other)
    if max(one.size, steps_of(degrees[~dense]) >> 4) <= ENOUGH_PAIRS >> 4:
        for order in ("natural", "smallest_last", "incidence_degree", "dynamic_largest_first"):
            next_one = colour_trees(count, one, other, order)
            found = next_one if next_one.max(initial=-1) < found.max(initial=-1) else found
    return found


def by_trees(pattern: Pattern) -> Colouring:
    """Return the colouring of a symmetric pattern whose entries are read from the leaves of trees on."""
    rows, columns = (part.astype(np.int64) for part in pattern.structure())
    above, width = np.flatnonzero(rows < columns), pattern.shape[1]
    colours = best_trees(width, rows[above], columns[above])
    met = np.zeros(width, np.bool_)
    met[rows] = True
    colours[~met] = -1
    _, colours[met] = np.unique(colours[met], return_inverse=True)
    wide = int(colours.max(initial=-1)) + 1
    degrees, sums, leaves = (np.zeros(width * wide, np.int64) for _ in range(3))
    order = np.zeros(2 * above.size, np.int64)
    found = call("peel_trees_at", wide, (rows[above], columns[above], colours, degrees, sums, leaves, order))
    if found != above.size:
        raise InternalError(message("two colours of a pattern do not form trees", "report it", where=False))
    leaf, other = order[0::2], order[1::2]
    sources, targets = leaf * wide + colours[other], other * wide + colours[leaf]
    keys = rows * width + columns
    places = rows * wide + colours[columns]  # on the diagonal
    for one, two in ((leaf, other), (other, leaf)):
        places[np.searchsorted(keys, one * width + two)] = sources
    later = np.isin(targets, sources)
    ones = np.ones(rows.size, np.bool_)
    steps = np.ascontiguousarray(np.stack([targets, sources], axis=1)[later])
    return Colouring("acyclic", colours, np.full(width, -1), ones, places, steps)


def best_stars(count: int, one: np.ndarray, other: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return star colours of the order that needs the fewest."""
    found = colour_stars(count, one, other, "largest_first")
    degrees, dense = dense_vertices(count, one, other)
    if max(one.size, steps_of(degrees[~dense]) >> 4) <= ENOUGH_PAIRS >> 4:
        for order in ("natural", "smallest_last", "incidence_degree", "dynamic_largest_first"):
            next_one = colour_stars(count, one, other, order)
            found = next_one if next_one[0].max(initial=-1) < found[0].max(initial=-1) else found
    return found


def by_stars(pattern: Pattern) -> Colouring:
    """Return the colouring of a symmetric pattern: an entry off the diagonal is read in its hub's column."""
    rows, columns = (part.astype(np.int64) for part in pattern.structure())
    above = np.flatnonzero(rows < columns)
    colours, hubs = best_stars(pattern.shape[0], rows[above], columns[above])
    met = np.zeros(pattern.shape[0], np.bool_)
    met[rows] = True
    colours[~met] = -1
    width = pattern.shape[1]
    keys = rows * width + columns
    hub_is_row = np.zeros(rows.size, np.bool_)
    hub_is_row[above] = hubs == 0
    below = np.flatnonzero(rows > columns)
    mirrored = np.searchsorted(keys, columns[below] * width + rows[below])
    hub_is_row[below] = ~hub_is_row[mirrored]
    spoke, hub = np.where(hub_is_row, columns, rows), np.where(hub_is_row, rows, columns)
    names = np.unique(np.concatenate([colours[hub], np.zeros(0, np.int64)]))
    renamed = np.full(pattern.shape[0] + 1, -1, np.int64)
    renamed[names] = np.arange(names.size)
    colours = np.where(colours < 0, -1, renamed[colours])
    places = spoke * names.size + colours[hub]
    return Colouring("star", colours, np.full(width, -1), np.ones(rows.size, np.bool_), places)


def by_both(pattern: Pattern) -> Colouring:
    """Return the colouring of columns and rows at once: an entry is read from the end that is its star's hub."""
    rows, columns = (part.astype(np.int64) for part in pattern.structure())
    height, width = pattern.shape
    colours, hubs = best_stars(width + height, columns, width + rows)
    of_columns, of_rows = colours[:width].copy(), colours[width:].copy()
    by_column = hubs == 0
    wanted = [np.zeros(colours.max(initial=-1) + 2, np.bool_) for _ in range(2)]
    wanted[0][of_columns[columns[by_column]]] = True
    wanted[1][of_rows[rows[hubs == 1]]] = True
    free = hubs < 0  # an edge alone: from whichever end is computed anyway
    by_column |= free & (wanted[0][of_columns[columns]] | ~wanted[1][of_rows[rows]])
    wanted[0][of_columns[columns[by_column]]] = True
    for part, mine in ((of_columns, wanted[0]), (of_rows, wanted[1])):
        names = np.cumsum(mine) - 1
        part[:] = np.where(mine[part], names[part], -1)
    from_columns = rows * (of_columns.max(initial=-1) + 1) + of_columns[columns]
    places = np.where(by_column, from_columns, of_rows[rows] * width + columns)
    return Colouring("both", of_columns, of_rows, by_column, places)


# ---------------------------------------------------------------- the choice

ROW_COST = 1.5  # of a cotangent, in tangents


def cost_of(colouring: Colouring) -> float:
    """Return what the sweeps of a colouring are predicted to cost, in tangents."""
    both = 1.0 if (colouring.column_colours and colouring.row_colours) or colouring.steps.size else 0.0
    return colouring.column_colours + ROW_COST * colouring.row_colours + both


def choose_colouring(pattern: Pattern, kind: str = "auto") -> Colouring:
    """Return the colouring of a kind, or of the kind that is predicted to cost least.

    Raises
    ------
    Uncoloured
        When the kind is given, and its colouring would take too long.
    MemoryError
        When the colours do not fit into the free memory; they are not made then.
    """
    check_pattern(COLOUR_BYTES * pattern.entries, f"the colours of a pattern with {pattern.entries:,} entries")
    graph = graph_of(pattern)
    makers: dict[str, Any] = {
        "columns": lambda: by_columns(pattern, graph),
        "rows": lambda: by_rows(pattern, graph),
        "both": lambda: by_both(pattern),
        "star": lambda: by_stars(pattern),
        "acyclic": lambda: by_trees(pattern),
    }
    if kind != "auto":
        return makers[kind]()
    best = None
    for name in ("star", "acyclic", "columns") if pattern.symmetric else ("columns", "rows", "both"):
        if best is not None and name == "both" and best.colours <= max(3, least_of_both(pattern)):
            break
        try:
            found = makers[name]()
        except Uncoloured:
            continue
        if best is None or cost_of(found) < cost_of(best):
            best = found
    return best or one_by_one(pattern, graph)


def least_of_both(pattern: Pattern) -> int:
    """Return a number of colours that no colouring of rows and columns at once is below.

    A colour of columns gives one entry of each row at most, one of rows one entry of each column.
    """
    return -(-pattern.entries // max(*pattern.shape, 1))


def one_by_one(pattern: Pattern, graph: Graph) -> Colouring:
    """Return the colouring in which each column, or each row, has a colour of its own."""
    columns, rows = (np.diff(pointers) > 0 for pointers in (graph.column_pointers, graph.row_pointers))
    of_rows = ROW_COST * np.count_nonzero(rows) < np.count_nonzero(columns)
    used = rows if of_rows else columns
    colours = np.where(used, np.cumsum(used) - 1, -1)
    return as_rows(pattern, colours) if of_rows else as_columns(pattern, colours)
