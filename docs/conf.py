"""Sphinx's settings: `python -m sphinx -W docs build/docs` builds the pages and runs all examples and recipes."""

import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE / "extensions"), str(HERE.parent)]  # the checkout is documented, whatever is installed

import numbad  # noqa: E402

project = "numbad"
author = "the authors of numbad"
copyright = "the authors of numbad"
version = release = numbad.__version__

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "numpydoc",
    "sphinx_gallery.gen_gallery",
    "drawn_tapes",
]
exclude_patterns = ["recipes"]  # their pages are made by the gallery
nitpicky = False
default_role = "code"

html_theme = "pydata_sphinx_theme"
html_title = f"numbad {release}"
html_theme_options = {
    "navigation_with_keys": False,
    "show_toc_level": 2,
    "footer_start": ["copyright"],
    "footer_end": [],
}
html_sidebars = {"index": [], "changelog": []}
html_show_sourcelink = False
html_static_path = ["static"]
html_css_files = ["tables.css"]

autosummary_generate = True
autodoc_typehints = "none"  # numpydoc's sections say the types
numpydoc_show_class_members = False
templates_path = ["templates"]

sphinx_gallery_conf = {
    "examples_dirs": [str(HERE.parent / "examples"), str(HERE / "recipes")],
    "gallery_dirs": ["examples", "recipe_pages"],
    "filename_pattern": r"\.py$",
    "reset_argv": "gallery_parts.arguments",
    "image_scrapers": ("matplotlib", "gallery_parts.scrape_drawings"),
    "within_subsection_order": "gallery_parts.Order",
    "abort_on_example_error": True,
    "download_all_examples": False,
    "min_reported_time": 1_000_000,  # how long a page took to make is of no use to its reader
    "write_computation_times": False,
    "show_signature": False,
}
