"""Pictures of tapes: DOT text, files, and what draws them."""

import dataclasses
import re
import sys
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest

import numbad
import tape_mutants
from numbad.errors import NumbadError
from numbad.pictures import drawing
from numbad.pictures.graph import build_graph
from shared.tapes import five

NASTY = 'a"b\\N$x$<i>&\n\x1b'
FAKE_DOT = """#!{python}
import sys
text = sys.stdin.read()
sys.stdout.write("<svg>" + sys.argv[1] + text.count("->") * "|" + "</svg>")
"""


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
