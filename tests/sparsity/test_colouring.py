"""Colours: each entry can be read, the least number where it is known, no more than networkx in the same order."""

import numpy as np
import pytest
from scipy.sparse import block_diag, csr_array, diags_array, eye_array, kron, random_array
from scipy.sparse.csgraph import connected_components

from numbad.sparsity import colouring, patterns
from numbad.sparsity.colouring import (
    ORDERS,
    choose_colouring,
    colour_columns,
    colour_stars,
    colour_trees,
    graph_of,
    order_of,
)
from numbad.sparsity.patterns import Pattern


def pattern_from(matrix, symmetric=False):
    """Return the pattern of a matrix."""
    found = csr_array(matrix)
    found.sort_indices()
    return Pattern(found.shape, found.indptr, found.indices, symmetric)


def check(pattern, found, seed=0):
    """Compress a random matrix of the pattern, and read it back."""
    rows, columns = pattern.structure()
    matrix = pattern.to_scipy().toarray() * np.random.default_rng(seed).uniform(1.0, 2.0, pattern.shape)
    if pattern.symmetric:
        matrix = matrix + matrix.T
    tangents = np.equal.outer(found.columns, np.arange(found.column_colours)).astype(float)
    cotangents = np.equal.outer(np.arange(found.row_colours), found.rows).astype(float)
    sources = ((matrix @ tangents).reshape(-1), (cotangents @ matrix).reshape(-1))
    for place, source in found.steps:
        sources[0][place] -= sources[0][source]
    values = np.zeros(pattern.entries)
    for source, which in zip(sources, (found.by_column, ~found.by_column), strict=True):
        values[which] = source[found.places[which]]
    np.testing.assert_allclose(values, matrix[rows, columns], rtol=1e-11)


def arrowhead(count):
    """Return a diagonal with a dense first row and column."""
    matrix = np.eye(count)
    matrix[0] = matrix[:, 0] = 1.0
    return matrix


def grid(side):
    """Return the five-point stencil of a square."""
    line = diags_array([1.0, 1.0, 1.0], offsets=[-1, 0, 1], shape=(side, side))
    return kron(line, eye_array(side)) + kron(eye_array(side), line)


@pytest.mark.parametrize("seed", range(40))
def test_entries_are_read_back(seed):
    random = np.random.default_rng(seed)
    height, width = random.integers(1, 30, 2)
    matrix = random_array((height, width), density=random.uniform(0.0, 0.5), rng=random)
    for kind in ("columns", "rows", "both", "auto"):
        check(pattern_from(matrix), choose_colouring(pattern_from(matrix), kind), seed)
    square = random_array((width, width), density=random.uniform(0.0, 0.4), rng=random)
    symmetric = pattern_from(square + square.T, True)
    for kind in ("star", "acyclic", "auto", "both"):
        check(symmetric, choose_colouring(symmetric, kind), seed)


def test_a_wrong_colour_is_noticed():
    pattern = pattern_from(grid(5), True)
    found = choose_colouring(pattern)
    found.columns[3] = found.columns[4]
    with pytest.raises(AssertionError):
        check(pattern, found)


@pytest.mark.parametrize("width", [1, 2, 3])
def test_bands(width):
    offsets = range(-width, width + 1)
    matrix = diags_array([1.0] * len(offsets), offsets=offsets, shape=(50, 50))
    assert choose_colouring(pattern_from(matrix), "columns").colours == 2 * width + 1
    assert choose_colouring(pattern_from(matrix, True)).colours <= 2 * width + 1


@pytest.mark.parametrize("seed", range(20))
def test_two_colours_form_trees_or_stars(seed):
    random = np.random.default_rng(seed)
    count = int(random.integers(5, 40))
    dense = np.triu(random.random((count, count)) < random.uniform(0.05, 0.4), 1)
    one, other = np.nonzero(dense)
    for order in ORDERS:
        trees, (stars, _) = colour_trees(count, one, other, order), colour_stars(count, one, other, order)
        assert (trees[one] != trees[other]).all() and (stars[one] != stars[other]).all()
        for first in range(trees.max()):
            for second in range(first + 1, trees.max() + 1):
                inside = np.isin(trees[one], (first, second)) & np.isin(trees[other], (first, second))
                parts = connected_components(csr_array((inside[inside], (one[inside], other[inside])), (count, count)))
                assert np.count_nonzero(inside) == count - parts[0]  # a forest


def test_trees_need_fewer_colours_than_stars():
    for matrix, trees, stars in ((grid(12), 4, 5), (diags_array([1.0] * 3, offsets=[-1, 0, 1], shape=(50, 50)), 2, 3)):
        pattern = pattern_from(matrix, True)
        found = choose_colouring(pattern, "acyclic")
        assert (found.colours, choose_colouring(pattern, "star").colours) == (trees, stars)
        check(pattern, found)
    assert choose_colouring(pattern_from(np.kron(np.eye(5), np.ones((3, 3))), True)).kind == "star"


@pytest.mark.parametrize("side", [5, 10, 33])
def test_grids(side):
    assert choose_colouring(pattern_from(grid(side)), "columns").colours == 5
    found = choose_colouring(pattern_from(grid(side), True))
    assert found.colours <= 5
    check(pattern_from(grid(side), True), found)


def test_blocks():
    matrix = block_diag([np.ones((4, 3))] * 20)
    assert choose_colouring(pattern_from(matrix), "columns").colours == 3
    assert choose_colouring(pattern_from(matrix), "rows").colours == 4


@pytest.mark.parametrize("count", [300, 100_000])
def test_arrowheads(count):
    where = np.arange(count)
    ones, first = np.ones(count), np.zeros(count, int)
    places = np.concatenate([where, first, where]), np.concatenate([where, where, first])
    matrix = csr_array((np.concatenate([ones] * 3), places), shape=(count, count))
    both, star = choose_colouring(pattern_from(matrix)), choose_colouring(pattern_from(matrix, True))
    assert both.colours <= 3 and star.colours == 2
    if count < 1000:
        check(pattern_from(matrix), both)
        check(pattern_from(matrix, True), star)


def first_free(sequence, meets):
    """Colour the vertices of a graph in some order, as networkx does: each gets the first colour that is free."""
    colours = {}
    for v in sequence:
        taken = {colours[u] for u in np.flatnonzero(meets[v]).tolist() if u in colours and u != v}
        colours[v] = next(k for k in range(len(sequence)) if k not in taken)
    return colours


@pytest.mark.parametrize("order", ORDERS)
def test_the_colours_of_plain_greedy_colouring_in_the_same_order(order):
    for seed in range(6):
        random = np.random.default_rng(seed)
        pattern = pattern_from(random_array((60, 50), density=0.05, rng=random))
        dense = pattern.to_scipy().toarray().astype(int)
        sequence = order_of(order, graph_of(pattern)).tolist()
        assert sorted(sequence) == list(range(50))
        found = colour_columns(graph_of(pattern), order)
        assert found.tolist() == [colour for _, colour in sorted(first_free(sequence, dense.T @ dense).items())]


SIZES = [*range(5, 100), 300, 1000, 3000, 30_000, 100_000]


@pytest.mark.parametrize("part", range(4))
def test_no_more_colours_than_networkx_in_the_same_order(part):
    networkx = pytest.importorskip("networkx")
    for count in SIZES[part::4]:
        random = np.random.default_rng(count)
        entries = int(random.uniform(1.0, 3.0) * count)
        places = random.integers(0, count, (2, entries))
        pattern = pattern_from(csr_array((np.ones(entries), tuple(places)), (count, count)))
        graph = graph_of(pattern)
        whole = pattern.to_scipy().astype(np.int64)
        meets = networkx.from_scipy_sparse_array(whole.T @ whole)
        meets.remove_edges_from(list(networkx.selfloop_edges(meets)))
        for order in ORDERS if count < 100 else ORDERS[:3]:
            sequence = order_of(order, graph)
            theirs = networkx.greedy_color(meets, lambda graph, colours, sequence=sequence: sequence.tolist())
            ours = colour_columns(graph, order)
            assert ours.tolist() == [theirs[v] for v in range(count)]
        used = np.unique(pattern.indices)
        assert choose_colouring(pattern, "columns").colours <= len(set(ours[used].tolist()))


def test_orders_look_at_what_is_left():
    graph = graph_of(pattern_from(arrowhead(6)[:1]))  # all columns meet
    assert order_of("natural", graph).tolist() == list(range(6))
    star = graph_of(pattern_from(np.eye(4)[[0, 0, 0]] + np.eye(4)[1:]))  # column 0 meets each of the others
    assert order_of("largest_first", star)[0] == order_of("dynamic_largest_first", star)[0] == 0
    assert order_of("smallest_last", star)[0] in (0, 1, 2, 3)
    assert set(order_of("incidence_degree", star)[:2].tolist()) >= {0}


def test_dense_rows_are_not_coloured_by_columns(monkeypatch):
    monkeypatch.setattr(colouring, "MOST_PAIRS", 100)
    matrix = arrowhead(30)
    matrix[0, 5] = matrix[5, 0] = 0.0
    pattern = pattern_from(matrix)
    with pytest.raises(colouring.Uncoloured):
        choose_colouring(pattern, "columns")
    assert choose_colouring(pattern).kind == "both"


@pytest.mark.parametrize("steps", [0, 1 << 27])
@pytest.mark.parametrize("shape", [(20, 20), (4, 20), (20, 4)])
def test_dense_matrices_need_a_colour_for_each_column_or_row(shape, steps, monkeypatch):
    monkeypatch.setattr(colouring, "MOST_STEPS", steps)
    monkeypatch.setattr(colouring, "MOST_PAIRS", steps)
    matrix = np.ones(shape)
    found = choose_colouring(pattern_from(matrix))
    assert found.colours == min(shape)
    check(pattern_from(matrix), found)
    matrix[0, 0] = matrix[1, 1] = matrix[2, 2] = matrix[3, 3] = 0.0
    check(pattern_from(matrix), choose_colouring(pattern_from(matrix)))
    if shape[0] == shape[1]:
        check(pattern_from(matrix, True), choose_colouring(pattern_from(matrix, True)))


def test_colours_that_would_not_fit_are_said_before_they_are_made(monkeypatch):
    monkeypatch.setattr(patterns, "available_memory", lambda: 1e3)
    monkeypatch.setattr(patterns, "COMPARED_MEMORY", 0)
    with pytest.raises(MemoryError, match="the colours of a pattern with 25 entries need"):
        choose_colouring(pattern_from(np.ones((5, 5))))


def test_empty_patterns():
    for shape in ((0, 0), (0, 3), (3, 0), (2, 2)):
        pattern = pattern_from(np.zeros(shape))
        for kind in ("columns", "rows", "both", "auto"):
            assert choose_colouring(pattern, kind).colours == 0
    assert choose_colouring(pattern_from(np.zeros((2, 2)), True)).colours == 0
