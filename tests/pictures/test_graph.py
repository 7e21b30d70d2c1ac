"""The computational graph of a tape: nodes, edges, and what reads what."""

import re
from collections import Counter

import numpy as np
import pytest

import numbad
import tape_mutants
from numbad.pictures.graph import build_graph
from shared.tapes import five

MATRIX = np.random.default_rng(3).normal(size=(30, 30))


def test_the_graph_of_five_rows():
    graph = build_graph(numbad.record(five, 2.0, 4.0))
    rows = [("row", k) for k in range(5)]
    assert graph.nodes == (("input", 0), ("input", 1), *rows, ("output", 0))
    inputs = [(("input", i), rows[k]) for i, k in ((0, 0), (0, 1), (1, 1), (1, 3))]
    assert Counter(graph.edges) == Counter(
        [*inputs, *((rows[i], rows[k]) for i, k in ((0, 2), (1, 2), (2, 4), (3, 4))), (rows[4], ("output", 0))]
    )


def test_what_is_read_twice_has_two_edges_and_constants_are_nodes():
    edges = build_graph(numbad.record(lambda x: x * x + 2.0, 3.0)).edges
    assert edges.count((("input", 0), ("row", 0))) == 2
    assert (("number", 0), ("row", 1)) in edges


@pytest.mark.usefixtures("usual_limits")
def test_arrays_views_and_large_constants_are_traced_to_their_blocks():
    def f(x, y):
        z = MATRIX @ x
        return np.sum(z[3:5] * y) + np.concatenate([x[:2], y])[3]

    tape = numbad.record(f, np.arange(30.0), np.array([1.0, 2.0]))
    graph = build_graph(tape)
    product = next(k for k in range(len(tape)) if "sum of products" in tape.explain(k).splitlines()[0])
    sources = {read for read, reader in graph.edges if reader == ("row", product)}
    assert sources == {("input", 0), ("space", 1)}
    readers = {reader for read, reader in graph.edges if read == ("row", product)}
    assert len(readers) == 1


def test_rows_that_add_to_a_block_come_one_after_the_other():
    tape, _ = tape_mutants.beginnings()[7]
    graph = build_graph(tape)
    place = {node: k for k, node in enumerate(graph.nodes)}
    assert all(place[read] < place[reader] for read, reader in graph.edges)
    reached, waiting = set(), [node for node in graph.nodes if node[0] == "output"]
    while waiting:
        node = waiting.pop()
        reached.add(node)
        waiting += [read for read, reader in graph.edges if reader == node and read not in reached]
    assert ("input", 0) in reached


@pytest.mark.parametrize("place", range(9))
def test_every_row_of_every_kind_of_tape_has_its_node_and_sources(place):
    tape, point = tape_mutants.beginnings()[place]
    graph = build_graph(tape)
    assert sum(kind == "row" for kind, _ in graph.nodes) == len(tape)
    assert len(set(graph.nodes)) == len(graph.nodes)
    assert {node for edge in graph.edges for node in edge} <= set(graph.nodes)
    text = tape.to_dot(rows=1000)
    assert text.count(" -> ") == len(graph.edges)
    assert text.count("label=") == len(graph.nodes)
    for row in range(len(tape)):
        words = tape.explain(row, *point)
        readers = {int(k) for k in re.findall(r"row (\d+)", words.splitlines()[-1])}
        direct = {k for (_, i), (kind, k) in graph.edges if i == row and _ == "row" and kind == "row"}
        more = "more rows" in words
        assert more or direct <= readers, (row, direct, readers, words)
