"""Patterns drawn with Matplotlib."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from numbad.errors import NumbadError, message
from numbad.sparsity.colouring import Uncoloured, choose_colouring

if TYPE_CHECKING:
    from os import PathLike

    from numbad.sparsity.patterns import Pattern
    from numbad.tapes.tape import Tape

Axes: TypeAlias = Any  # of Matplotlib
MATRICES = ("jacobian", "hessian")
POINTS = 120_000.0  # the area of all rows of marks together, in square points


def spy(pattern: Pattern, axes: Axes | None, colours: Any, **options: Any) -> Axes:
    """Draw the entries of a pattern; see `Pattern.spy`."""
    try:
        import matplotlib.pyplot as plt
    except ImportError:
        raise NumbadError(
            message("patterns are drawn by Matplotlib, which is not installed", "pip install matplotlib", where=False)
        ) from None
    rows, columns = pattern.structure()
    if colours is not None and np.shape(colours) != (pattern.shape[1],):
        do = "pass the colours of the columns, as Colouring.columns has them"
        raise ValueError(
            message(f"there are {np.size(colours)} colours for {pattern.shape[1]} columns", do, where=False)
        )
    if axes is None:
        axes = plt.figure().add_subplot()
    longest = max(*pattern.shape, 1)
    options.setdefault("marker", "s")
    options.setdefault("s", max(0.1, POINTS / longest**2))
    if colours is None:
        options.setdefault("color", "black")
    else:
        options.setdefault("cmap", "turbo")
        options.setdefault("c", np.asarray(colours)[columns])
    axes.scatter(columns, rows, linewidths=0, **options)
    axes.set(xlim=(-0.5, pattern.shape[1] - 0.5), ylim=(pattern.shape[0] - 0.5, -0.5), aspect="equal")
    axes.set(xlabel="inputs", ylabel="outputs")
    axes.set_title(f"{pattern.shape[0]} x {pattern.shape[1]}, {pattern.entries} entries")
    return axes


def draw_pattern(tape: Tape, path: str | PathLike[str], which: str, more: bool) -> str:
    """Draw a pattern of a tape into a file, in the colours of its columns; see `Tape.draw`."""
    if which not in MATRICES or more:
        what = "points and adjoints are for graphs" if which in MATRICES else f"pattern is {which!r}"
        raise ValueError(
            message(f"Tape.draw: {what}", 'give pattern="jacobian" or pattern="hessian" alone', where=False)
        )
    pattern = tape.sparsity(second=which == "hessian")
    try:
        colours = choose_colouring(pattern, "columns").columns
    except Uncoloured:
        colours = None  # nearly each column has one of its own
    axes = spy(pattern, None, colours)
    import matplotlib.pyplot as plt  # spy has said so where it is not there

    axes.figure.savefig(path)
    plt.close(axes.figure)
    return repr(pattern)
