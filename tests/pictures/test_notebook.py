"""Tapes in notebooks: a table, and a picture of short ones."""

import xml.etree.ElementTree as ElementTree

import numbad
from numbad.pictures import drawing
from shared.tapes import five


def test_notebooks_get_a_table_and_short_tapes_a_picture(monkeypatch):
    tape = numbad.record(five, 2.0, 4.0)
    page = tape._repr_html_()
    assert page.count("<tr>") == 6
    assert "7.3890561" in page
    ElementTree.fromstring(f"<div>{page}</div>")
    monkeypatch.setattr(drawing.shutil, "which", lambda _: None)
    assert tape._repr_svg_() is None
