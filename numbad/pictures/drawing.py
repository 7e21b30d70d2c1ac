"""Pictures of tapes: the computational graph as DOT text, drawn by Graphviz, or by Matplotlib where that is missing."""

from __future__ import annotations

import itertools
import os
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

from numbad.errors import NumbadError, message
from numbad.pictures.graph import Graph, Key, build_graph, title
from numbad.pictures.listing import run_for_listing, write_block
from numbad.tape.layout import GUARD, GUARD_VALUE
from numbad.tape.naming import Names, count_results, find_op

if TYPE_CHECKING:
    from numbad.tapes.tape import Tape

MOST_ROWS = 200  # that are drawn unless more are asked for
SECONDS = 60  # that Graphviz may take
MOST_INCHES = 200.0  # of a picture by Matplotlib, a side
ORDERINGS = 8  # passes over the layers of such a picture, downwards and upwards in turn
BEND = 0.4  # the room that an edge takes in a layer that it crosses, where a node takes 1
TEXT_FORMATS = (".dot", ".gv")
IMAGE_FORMATS = (".svg", ".png", ".pdf")
STYLES = {
    "input": ("box", "lightblue"),
    "constant": ("plaintext", "white"),
    "row": ("ellipse", "lightgrey"),
    "guard": ("diamond", "lightyellow"),
    "output": ("box", "darkolivegreen1"),
}
MATPLOTLIB_COLOURS = {"darkolivegreen1": "#caff70"}


# ---------------------------------------------------------------- text


def write_dot(tape: Tape, *points: Any, adjoints: bool = False, rows: int = MOST_ROWS) -> str:
    """Return the computational graph in Graphviz's DOT language; see `Tape.to_dot`."""
    check_length(tape, rows)
    graph, labels = label_graph(tape, points, adjoints)
    lines = [f"digraph {quote(tape.name)} {{", '  node [fontname="sans-serif", fontsize=11, style=filled]']
    for node in graph.nodes:
        shape, colour = STYLES[kind_of(tape, node)]
        lines.append(f"  {identifier(node)} [label={quote(labels[node])}, shape={shape}, fillcolor={colour}]")
    lines += [f"  {identifier(read)} -> {identifier(reader)}" for read, reader in graph.edges]
    return "\n".join([*lines, "}", ""])


def check_length(tape: Tape, rows: int) -> None:
    """Raise when a tape is longer than what is to be drawn."""
    tape.ensure_verified()
    if len(tape) > rows:
        raise NumbadError(
            message(
                f"the tape of {tape.name} has {len(tape)} rows; a picture shows at most {rows}",
                f"record a smaller case, print the tape, or pass rows={len(tape)} to draw it all the same",
                where=False,
            )
        )


def identifier(node: Key) -> str:
    """Return the name of a node in DOT text."""
    return f"{node[0]}{node[1]}".replace("-", "_")


def quote(text: str) -> str:
    """Write text as a DOT string that stands for itself: no escape of Graphviz's is left in it."""
    text = "".join(c if c.isprintable() or c == "\n" else "?" for c in text)
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'


def kind_of(tape: Tape, node: Key) -> str:
    """Return the style of a node."""
    kind, index = node
    if kind == "row":
        return "guard" if int(tape.code[index, 0]) in (GUARD, GUARD_VALUE) else "row"
    return kind if kind in STYLES else "constant"


def label_graph(tape: Tape, points: tuple[Any, ...], adjoints: bool) -> tuple[Graph, dict[Key, str]]:
    """Return the graph of a tape and the label of each node; values are shown where a point is given."""
    names = Names(tape)
    execution, bars = None, None
    if points or adjoints:
        execution, bars, problem = run_for_listing(tape, points, adjoints)
        if problem:
            raise NumbadError(message(problem, "give a point at which the tape runs", where=False))
    graph = build_graph(tape)
    return graph, {node: "\n".join(label_lines(tape, names, node, execution, bars)) for node in graph.nodes}


def label_lines(tape: Tape, names: Names, node: Key, execution: Any, bars: Any) -> list[str]:
    """Return the lines of a node's label: what it is, its name, its number of elements, value and adjoint."""
    kind, index = node
    text = title(tape, names, node)
    if kind == "input":
        slot = tape.inputs[index]
        lines = [f"{text} {slot.shape}" if slot.shape else text]
        return lines + values_at(slot.space, slot.address, slot.size, execution, bars)
    if kind == "output" and tape.outputs[index].constant is not None:
        return [f"{text} {tape.outputs[index].constant}"]
    if kind != "row":
        return [text]
    if kind_of(tape, node) == "guard":
        expected = bool(tape.code[index, 1]) if tape.code[index, 0] == GUARD else "as recorded"
        return [f"guard: {expected}"]
    count = count_results(tape, index)
    name = names.result(index)
    op = find_op(int(tape.code[index, 0]))
    sign = op.symbol if op is not None and op.arity == 2 else ""
    lines = [sign or text, name if count == 1 else f"{name} ({count},)"]
    return lines + values_at(0, int(tape.code[index, 1]), count, execution, bars)


def values_at(space: int, address: int, count: int, execution: Any, bars: Any) -> list[str]:
    """Return lines with the value and the adjoint of a block, as far as they are known."""
    lines = []
    if execution is not None:
        memory = execution.spaces[space].reshape(-1) if space else execution.values
        lines.append(f"= {write_block(memory[address : address + count])}")
    if bars is not None:
        memory = bars.spaces[space] if space else bars.arena
        lines.append(f"adjoint {write_block(memory[address : address + count])}")
    return lines


# ---------------------------------------------------------------- files


def draw_tape(tape: Tape, path: Any, *points: Any, adjoints: bool = False, rows: int = MOST_ROWS) -> str:
    """Draw the computational graph into a file and return its DOT text; see `Tape.draw`."""
    text = write_dot(tape, *points, adjoints=adjoints, rows=rows)
    path = Path(os.fspath(path))
    extension = path.suffix.lower()
    if extension in TEXT_FORMATS:
        path.write_text(text, encoding="utf-8")
    elif extension not in IMAGE_FORMATS:
        known = ", ".join((*IMAGE_FORMATS, *TEXT_FORMATS))
        raise ValueError(
            message(f"a picture cannot be drawn as {path.name}", f"give a name that ends in {known}", where=False)
        )
    elif shutil.which("dot"):
        path.write_bytes(run_graphviz(text, extension[1:]))
    else:
        draw_with_matplotlib(tape, path, *label_graph(tape, points, adjoints))
    return text


def run_graphviz(text: str, extension: str) -> bytes:
    """Return the picture that Graphviz's `dot` makes of DOT text."""
    try:
        done = subprocess.run(
            ["dot", f"-T{extension}"], input=text.encode(), capture_output=True, check=False, timeout=SECONDS
        )
    except subprocess.TimeoutExpired as error:
        raise NumbadError(
            message(f"Graphviz has not drawn the graph within {SECONDS} s", "draw a shorter tape", where=False)
        ) from error
    if done.returncode:
        what = done.stderr.decode(errors="replace").strip()[:500]
        raise NumbadError(message(f"Graphviz could not draw the graph: {what}", "write a .dot file", where=False))
    return done.stdout


# ---------------------------------------------------------------- without Graphviz


def draw_with_matplotlib(tape: Tape, path: Path, graph: Graph, labels: dict[Key, str]) -> None:
    """Draw labelled nodes in layers, with arrows between them, by Matplotlib."""
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise NumbadError(
            message(
                "neither Graphviz nor Matplotlib is installed, one of which draws the picture",
                "install one (apt install graphviz; python -m pip install matplotlib), or draw a .dot file",
                where=False,
            )
        ) from error
    layers, routes = arrange_layers(graph)
    places = place_nodes(layers)
    width = 1.0 + 2.0 * max((abs(x) for x, _ in places.values()), default=0.0)
    figure = Figure(figsize=(min(1.6 * width + 0.6, MOST_INCHES), min(1.1 * len(layers) + 0.4, MOST_INCHES)))
    canvas = FigureCanvasAgg(figure)
    panel = figure.add_axes((0.0, 0.0, 1.0, 1.0))
    panel.set(xlim=(-width / 2, width / 2), ylim=(0.6 - len(layers), 0.6))
    panel.set_axis_off()
    boxes = {node: write_label(panel, places[node], labels[node], kind_of(tape, node)) for node in graph.nodes}
    canvas.draw()  # the boxes have their sizes now, and arrows end where the boxes begin
    for route in routes:
        points = [places[node] for node in route]
        panel.plot(*zip(*points[:-1], strict=True), color="0.4", linewidth=0.8, zorder=1)
        arrow = {"arrowstyle": "-|>", "color": "0.4", "linewidth": 0.8, "shrinkA": 0, "shrinkB": 1}
        patches = {"patchB": boxes[route[-1]], "patchA": boxes.get(route[-2])}
        panel.annotate("", points[-1], points[-2], arrowprops=arrow | patches)
    figure.savefig(path, dpi=100)


def write_label(panel: Any, place: tuple[float, float], label: str, kind: str) -> Any:
    """Write the label of a node into a box of its kind's colour; return the box."""
    shape, colour = STYLES[kind]
    style = "round" if shape in ("ellipse", "diamond") else "square"
    box = {"boxstyle": style, "facecolor": MATPLOTLIB_COLOURS.get(colour, colour), "edgecolor": "0.4"}
    written = panel.text(*place, label, ha="center", va="center", fontsize=8, bbox=box, parse_math=False)
    return written.get_bbox_patch()


def arrange_layers(graph: Graph) -> tuple[list[list[Key]], list[list[Key]]]:
    """Return the nodes in layers, each below all that it reads, and the route of each edge through them.

    Layers by longest paths, with a bend of each edge in every layer that it crosses, and the order
    within a layer by the mean place of neighbours above and below in turn (Sugiyama, Tagawa and Toda,
    IEEE Trans. Syst. Man Cybern. 11, 1981, sections III and IV).
    """
    edges = list(dict.fromkeys(graph.edges))
    depth = dict.fromkeys(graph.nodes, 0)
    readers: dict[Key, list[Key]] = {}
    for read, reader in edges:
        readers.setdefault(read, []).append(reader)
    for node in graph.nodes:
        for reader in readers.get(node, ()):
            depth[reader] = max(depth[reader], depth[node] + 1)
    for node in graph.nodes:
        if node[0] not in ("input", "row", "output"):  # constants stand near to who reads them
            depth[node] = min(depth[reader] for reader in readers[node]) - 1
    layers: list[list[Key]] = [[] for _ in range(max(depth.values(), default=0) + 1)]
    for node in graph.nodes:
        layers[depth[node]].append(node)
    routes, bends = [], 0
    for read, reader in edges:
        route = [read]
        for layer in range(depth[read] + 1, depth[reader]):
            route.append(("bend", bends))
            layers[layer].append(route[-1])
            bends += 1
        routes.append([*route, reader])
    order_layers(layers, routes)
    return layers, routes


def order_layers(layers: list[list[Key]], routes: list[list[Key]]) -> None:
    """Order the nodes of each layer by the mean places of their neighbours in the layer above, or below."""
    above: dict[Key, list[Key]] = {}
    below: dict[Key, list[Key]] = {}
    for route in routes:
        for one, other in itertools.pairwise(route):
            above.setdefault(other, []).append(one)
            below.setdefault(one, []).append(other)
    for turn in range(ORDERINGS):
        place = {node: x for node, (x, _) in place_nodes(layers).items()}
        neighbours, sequence = (above, layers) if turn % 2 == 0 else (below, layers[::-1])
        for layer in sequence:
            middle = {}
            for node in layer:
                near = neighbours.get(node, ())
                middle[node] = sum(place[other] for other in near) / len(near) if near else place[node]
            layer.sort(key=middle.__getitem__)
            place |= {node: x for node, (x, _) in place_nodes([layer]).items()}


def place_nodes(layers: list[list[Key]]) -> dict[Key, tuple[float, float]]:
    """Return where the nodes stand: one unit apart, less for bends, each layer around the middle."""
    places = {}
    for depth, layer in enumerate(layers):
        widths = [BEND if node[0] == "bend" else 1.0 for node in layer]
        x = -sum(widths) / 2
        for node, width in zip(layer, widths, strict=True):
            places[node] = (x + width / 2, float(-depth))
            x += width
    return places
