"""Patterns drawn."""

import builtins

import numpy as np
import pytest

import numbad
from numbad.errors import NumbadError
from numbad.sparsity.colouring import choose_colouring

matplotlib = pytest.importorskip("matplotlib")
matplotlib.use("agg")


def pattern():
    """Return a pattern of 2 x 3."""
    return numbad.record(lambda x: x[1:] * x[:-1], np.ones(3)).sparsity()


def test_each_entry_is_a_mark():
    axes = pattern().spy()
    marks = axes.collections[0]
    assert marks.get_offsets().tolist() == [[0, 0], [1, 0], [1, 1], [2, 1]]
    assert axes.get_title() == "2 x 3, 4 entries"
    again = pattern().spy(axes, s=3.0)
    assert again is axes and axes.collections[1].get_sizes().tolist() == [3.0]


def test_colours_are_shown():
    found = pattern()
    colours = choose_colouring(found, "columns").columns
    marks = found.spy(colours=colours).collections[0]
    assert marks.get_array().tolist() == colours[found.indices].tolist()
    with pytest.raises(ValueError, match="2 colours for 3 columns"):
        found.spy(colours=[0, 1])


def test_tapes_draw_patterns_in_colours(tmp_path):
    tape = numbad.record(lambda x: np.sum(x[1:] * x[:-1] ** 2), np.ones(5))
    assert tape.draw(tmp_path / "one.png", pattern="jacobian") == "<pattern of 1 x 5 with 5 entries>"
    assert tape.draw(tmp_path / "two.svg", pattern="hessian") == "<pattern of 5 x 5 with 12 entries>"
    assert (tmp_path / "one.png").read_bytes()[1:4] == b"PNG" and "<svg" in (tmp_path / "two.svg").read_text()
    for options in ({"pattern": "third"}, {"pattern": "hessian", "adjoints": True}):
        with pytest.raises(ValueError, match='give pattern="jacobian"'):
            tape.draw(tmp_path / "three.png", **options)


def test_without_matplotlib(monkeypatch):
    usual = builtins.__import__

    def without(name, *rest):
        if name.startswith("matplotlib"):
            raise ImportError(name)
        return usual(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(NumbadError, match="Matplotlib, which is not installed"):
        pattern().spy()
