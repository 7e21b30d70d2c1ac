"""Pictures of tapes for the pages: drawn by numbad itself each time that the pages are built."""

from pathlib import Path

import numpy as np

import numbad


def formula(x1, x2):
    """The function of the first page."""
    return np.exp(x1) - x1 * x2 + np.cos(x2)


def square_root(a):
    """Newton's iteration, which looks at its values."""
    x = a
    while abs(x * x - a) > 1e-6:
        x = 0.5 * (x + a / x)
    return x


def draw(app):
    """Draw the tapes that the pages show."""
    folder = Path(app.srcdir) / "drawn"
    folder.mkdir(exist_ok=True)
    numbad.record(formula, 2.0, 4.0).draw(folder / "formula.svg", 2.0, 4.0, adjoints=True)
    numbad.record(square_root, 2.0).draw(folder / "square_root.svg")


def setup(app):
    """Register the drawing; Sphinx calls this."""
    app.connect("builder-inited", draw)
    return {"parallel_read_safe": True}
