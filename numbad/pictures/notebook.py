"""Tapes in notebooks: a table of rows as HTML, and for short tapes the graph as SVG where Graphviz is installed."""

from __future__ import annotations

import html
import shutil
from typing import TYPE_CHECKING

from numbad.errors import NumbadError
from numbad.pictures.drawing import run_graphviz, write_dot
from numbad.pictures.listing import list_inputs, list_outputs, run_for_listing, tabulate_rows
from numbad.tape.naming import Names

if TYPE_CHECKING:
    from numbad.tapes.tape import Tape

MOST_LISTED = 30
MOST_DRAWN = 40  # rows
CELL = ' style="text-align:left;font-family:monospace;white-space:pre"'


def write_html(tape: Tape) -> str:
    """Return the rows of a tape as an HTML table with their values at the point of the recording."""
    names = Names(tape)
    execution, _, note = run_for_listing(tape, (), False)
    head, *rows = tabulate_rows(tape, names, execution, None, MOST_LISTED)
    above = [repr(tape)[1:-1], *list_inputs(tape, execution, None)]
    below = [list_outputs(tape, names, execution)] + [note] * bool(note)
    return "\n".join(
        [
            f"<pre>{html.escape(chr(10).join(above))}</pre>",
            "<table>",
            f"<thead>{write_cells(head, 'th')}</thead>",
            "<tbody>",
            *(write_cells(row, "td") for row in rows),
            "</tbody>",
            "</table>",
            f"<pre>{html.escape(chr(10).join(below))}</pre>",
        ]
    )


def write_cells(cells: list[str], tag: str) -> str:
    """Return a row of a table."""
    return "<tr>" + "".join(f"<{tag}{CELL}>{html.escape(cell)}</{tag}>" for cell in cells) + "</tr>"


def write_svg(tape: Tape) -> str | None:
    """Return the graph of a short tape as SVG, or None where it is long or Graphviz is not installed."""
    if len(tape) > MOST_DRAWN or shutil.which("dot") is None:
        return None
    try:
        return run_graphviz(write_dot(tape), "svg").decode()
    except NumbadError:
        return None
