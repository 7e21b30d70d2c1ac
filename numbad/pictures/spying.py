"""Patterns drawn with Matplotlib."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from numbad.errors import NumbadError, message

if TYPE_CHECKING:
    from numbad.sparsity.patterns import Pattern

Axes: TypeAlias = Any  # of Matplotlib
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
