"""Tapes as pictures and in words: the graph, DOT text, files, explanations, notebooks, predicted costs."""

import dataclasses
import re
import sys
import xml.etree.ElementTree as ElementTree
from collections import Counter

import numpy as np
import pytest

import numbad
import tape_mutants
from numbad.errors import NumbadError
from numbad.pictures import drawing
from numbad.pictures.costs import count_work, predict_costs, write_seconds
from numbad.pictures.graph import build_graph

MATRIX = np.random.default_rng(3).normal(size=(30, 30))
NASTY = 'a"b\\N$x$<i>&\n\x1b'
FAKE_DOT = """#!{python}
import sys
text = sys.stdin.read()
sys.stdout.write("<svg>" + sys.argv[1] + text.count("->") * "|" + "</svg>")
"""


def five(x1, x2):
    return np.exp(x1) - x1 * x2 + np.cos(x2)


@pytest.fixture
def without_graphviz(monkeypatch):
    monkeypatch.setattr(drawing.shutil, "which", lambda _: None)


@pytest.fixture
def with_graphviz(monkeypatch, tmp_path):
    """A `dot` that says with what it was called."""
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "dot").write_text(FAKE_DOT.format(python=sys.executable))
    (folder / "dot").chmod(0o755)
    monkeypatch.setenv("PATH", str(folder))


# ---------------------------------------------------------------- the graph


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


# ---------------------------------------------------------------- text


def test_dot_text_shows_values_and_adjoints_on_request():
    tape = numbad.record(five, 2.0, 4.0)
    assert "=" not in "".join(re.findall(r'label="([^"]*)"', tape.to_dot()))
    text = tape.to_dot(2.0, 4.0)
    assert 'row0 [label="exp\\nv0\\n= 7.3890561"' in text
    assert "adjoint" not in text
    text = tape.to_dot(adjoints=True)
    assert 'input0 [label="x1\\n= 2\\nadjoint 3.3890561", shape=box, fillcolor=lightblue]' in text
    assert 'output0 [label="returns", shape=box, fillcolor=darkolivegreen1]' in text
    with pytest.raises(numbad.OutputError):
        numbad.record(lambda x: x * 2.0, np.ones(3)).to_dot(adjoints=True)


def test_labels_are_escaped():
    tape = numbad.record(lambda p: p[NASTY] * 2.0, {NASTY: 1.0})
    slot = dataclasses.replace(tape.inputs[0], name=NASTY)
    tape = dataclasses.replace(tape, inputs=(slot,), name=NASTY)
    text = tape.to_dot()
    assert 'input0 [label="a\\"b\\\\N$x$<i>&\\n?", shape' in text
    assert text.startswith('digraph "a\\"b\\\\N$x$<i>&\\n?" {')
    page = tape._repr_html_()
    assert "&lt;i&gt;&amp;" in page
    assert "<i>" not in page
    ElementTree.fromstring(f"<div>{page}</div>".replace("\x1b", ""))


def test_guards_constants_and_several_results_are_marked():
    def f(x):
        return (x * 2.0 if x > 1.0 else x), 7.0, {"twice": x * 2.0}

    text = numbad.record(f, 3.0).to_dot()
    assert 'label="guard: True", shape=diamond' in text
    assert 'label="returns 0"' in text
    assert 'label="returns 1 7.0"' in text
    assert 'label="returns 2"' in text


def test_long_tapes_are_refused_unless_they_are_asked_for():
    def f(x):
        for _ in range(300):
            x = x * 1.001
        return x

    tape = numbad.record(f, 1.0)
    with pytest.raises(NumbadError, match="has 300 rows; a picture shows at most 200") as caught:
        tape.to_dot()
    assert "rows=300" in str(caught.value)
    assert tape.to_dot(rows=300).count("->") == 601


# ---------------------------------------------------------------- files


def test_dot_files_hold_the_text(tmp_path):
    tape = numbad.record(five, 2.0, 4.0)
    text = tape.draw(tmp_path / "graph.dot", 2.0, 4.0)
    assert (tmp_path / "graph.dot").read_text() == text == tape.to_dot(2.0, 4.0)
    assert tape.draw(str(tmp_path / "graph.gv")) == (tmp_path / "graph.gv").read_text()


def test_graphviz_draws_where_it_is_installed(tmp_path, with_graphviz):
    tape = numbad.record(five, 2.0, 4.0)
    text = tape.draw(tmp_path / "graph.svg")
    assert (tmp_path / "graph.svg").read_text() == f"<svg>-Tsvg{'|' * text.count('->')}</svg>"
    tape.draw(tmp_path / "GRAPH.PDF")
    assert (tmp_path / "GRAPH.PDF").read_text().startswith("<svg>-Tpdf")
    assert tape._repr_svg_() == (tmp_path / "graph.svg").read_text()


def test_what_graphviz_complains_of_is_said(tmp_path, with_graphviz):
    script = tmp_path / "bin" / "dot"
    script.write_text(f"#!{sys.executable}\nimport sys\nsys.exit('no layout engine')\n")
    tape = numbad.record(five, 2.0, 4.0)
    with pytest.raises(NumbadError, match="Graphviz could not draw the graph: no layout engine"):
        tape.draw(tmp_path / "graph.svg")
    assert not (tmp_path / "graph.svg").exists()
    assert tape._repr_svg_() is None


@pytest.mark.parametrize("extension", ["svg", "png", "pdf"])
def test_matplotlib_draws_where_graphviz_is_not(extension, tmp_path, without_graphviz):
    pytest.importorskip("matplotlib")
    path = tmp_path / f"graph.{extension}"
    numbad.record(five, 2.0, 4.0).draw(path, 2.0, 4.0, adjoints=True)
    start = {"svg": b"<?xml", "png": b"\x89PNG", "pdf": b"%PDF"}[extension]
    assert path.read_bytes().startswith(start)
    assert path.stat().st_size > 3000
    if extension == "svg":
        ElementTree.parse(path)


def test_matplotlib_takes_labels_as_they_are(tmp_path, without_graphviz):
    pytest.importorskip("matplotlib")
    tape = numbad.record(lambda p: p["$\\frac"] * 2.0, {"$\\frac": 1.0})
    tape.draw(tmp_path / "graph.svg")
    assert ElementTree.parse(tmp_path / "graph.svg")


def test_without_either_the_error_says_what_to_install(tmp_path, without_graphviz, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    tape = numbad.record(five, 2.0, 4.0)
    with pytest.raises(NumbadError, match="neither Graphviz nor Matplotlib is installed") as caught:
        tape.draw(tmp_path / "graph.svg")
    assert "apt install graphviz" in str(caught.value)
    assert tape.draw(tmp_path / "graph.dot").startswith("digraph")
    with pytest.raises(ValueError, match=re.escape("ends in .svg, .png, .pdf, .dot, .gv")):
        tape.draw(tmp_path / "graph.jpeg")


@pytest.mark.parametrize("place", range(9))
def test_layers_put_each_node_below_what_it_reads(place):
    graph = build_graph(tape_mutants.beginnings()[place][0])
    layers, routes = drawing.arrange_layers(graph)
    places = drawing.place_nodes(layers)
    assert sorted(node for layer in layers for node in layer if node[0] != "bend") == sorted(graph.nodes)
    assert len(set(places.values())) == len(places)
    assert {(route[0], route[-1]) for route in routes} == set(graph.edges)
    for route in routes:
        depths = [places[node][1] for node in route]
        assert depths == [depths[0] - k for k in range(len(route))]


# ---------------------------------------------------------------- words


def test_a_row_is_explained_with_its_sources_partials_and_readers():
    tape = numbad.record(five, 2.0, 4.0)
    lines = tape.explain(2).splitlines()
    assert lines[0] == "row 2: v2 = v0 - v1"
    assert lines[1] == "  subtract: Difference."
    assert lines[2] == "  reads v0 of row 0, exp(x1) = 7.3890561"
    assert lines[3] == "  reads v1 of row 1, x1 * x2 = 8"
    assert lines[4] == "  value -0.6109439"
    assert lines[5] == "  dv2/d(v0) = 1: the adjoint of v0 gets that times the adjoint of v2"
    assert lines[6] == "  dv2/d(v1) = -1: the adjoint of v1 gets that times the adjoint of v2"
    assert lines[-1] == "  read by row 4"
    assert "read by the result" in tape.explain(-1)
    assert "= 1\n" in tape.explain(2, 0.0, 3.0)


def test_array_rows_hosts_and_guards_are_explained():
    def f(x):
        y = MATRIX @ x
        if y[0] > 1e9:
            return x[0]
        z = np.linalg.solve(MATRIX, np.sin(y))
        return np.sum(z[[0, 0, 1]]) + np.sort(x)[0]

    x = np.linspace(0.0, 1.0, 30)
    tape = numbad.record(f, x)
    words = "\n".join(tape.explain(k) for k in range(len(tape)))
    assert "contract: adds up products of two operands over 30 by 30 places, into 30 elements" in words
    assert "reads the constant MATRIX" in words
    assert "reads the input x of shape (30,)" in words
    assert "solve: Solution of a @ x = b. A Python kernel. Of operands of the shapes (30, 30), (30,)." in words
    assert "guard: stops a later run where the condition is not False" in words
    assert "sin: Sine. For each of 30 elements." in words
    assert re.search(r"at .*test_drawing\.py:\d+, in f:  y = MATRIX @ x", words)
    partial = np.cos(MATRIX @ x)
    assert f"= [{partial[0]:.4g}, {partial[1]:.4g}, .., {partial[-1]:.4g}] (30): the adjoint of v0" in words


def test_rows_that_are_not_there_are_refused():
    tape = numbad.record(five, 2.0, 4.0)
    for row in (5, -6):
        with pytest.raises(IndexError, match=f"row {row} of a tape of 5 rows"):
            tape.explain(row)
    with pytest.raises(TypeError):
        tape.explain("2")


def test_many_readers_are_abbreviated():
    def f(x):
        y = np.sin(x)
        return sum(y * (k + 2.0) for k in range(20))

    words = numbad.record(f, 1.0).explain(0)
    assert re.search(r"read by (row \d+, ){8}12 more rows$", words)


def test_notebooks_get_a_table_and_short_tapes_a_picture(monkeypatch):
    tape = numbad.record(five, 2.0, 4.0)
    page = tape._repr_html_()
    assert page.count("<tr>") == 6
    assert "7.3890561" in page
    ElementTree.fromstring(f"<div>{page}</div>")
    monkeypatch.setattr(drawing.shutil, "which", lambda _: None)
    assert tape._repr_svg_() is None


# ---------------------------------------------------------------- costs


@pytest.mark.usefixtures("usual_limits")
def test_work_is_counted_by_kind():
    def f(x):
        y = np.sin(MATRIX @ x)
        return np.sum(np.linalg.solve(MATRIX, y)) * x[0]

    tape = numbad.record(f, np.linspace(0.0, 1.0, 30))
    assert count_work(tape) == (1, 3, 30, 30, 900, 1)
    assert count_work(numbad.record(five, 2.0, 4.0)) == (5, 0, 0, 0, 0, 0)
    costs = predict_costs(tape)
    assert list(costs) == ["forward", "adjoint", "tangent"]
    assert costs["forward"] == pytest.approx(1e-9 * (3 + 3 * 150 + 30 * 0.5 + 30 * 0.6 + 900 * 0.1 + 10_000))


def test_costs_grow_with_the_tape():
    def chain(rows):
        def f(x):
            for _ in range(rows):
                x = x * 1.001
            return x

        return numbad.record(f, 1.0)

    assert predict_costs(chain(400))["adjoint"] == pytest.approx(4 * predict_costs(chain(100))["adjoint"])
    assert write_seconds(1.5e-8) == "15 ns"
    assert write_seconds(0.0123) == "12.3 ms"
    assert write_seconds(12.3) == "12.3 s"


def test_the_summary_names_kernels_and_predicts_times():
    tape = numbad.record(lambda x: np.sum(np.sort(x)) + x[0], np.arange(3.0))
    text = tape.summary()
    assert re.search(r"host sort_last +1 +3", text)
    assert re.search(r"predicted time of the sweeps: forward \S+ us, adjoint \S+ us, tangent \S+ us", text)
