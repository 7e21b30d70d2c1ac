"""What the gallery of examples needs: their arguments, their order, and the pictures that tapes draw of themselves."""

import os
import shutil
from pathlib import Path

from sphinx_gallery.scrapers import figure_rst

ORDER = (
    "first_gradient finite_differences branches expression_graph symbolic_swell speelpenning jacobian_scaling "
    "newton_and_hvp logistic_from_file scenarios "
    "agent_model monte_carlo_greeks two_layer_network zero_function brusselator minimal_surface numba_heat "
    "numba_bodies numba_prices "
    "jax_tutorial ode_fit gaussian_process kalman_filter option_prices hamiltonian_monte_carlo"
).split()
FULL_SIZE = "NUMBAD_DOCS_FULL" in os.environ


def arguments(gallery_conf, script_vars):
    """Return the arguments with which an example is run: at its small size unless NUMBAD_DOCS_FULL is set."""
    return [] if FULL_SIZE else ["--small"]


def scrape_drawings(block, block_vars, gallery_conf):
    """Return the pictures that `Tape.draw` wrote while a block of an example ran."""
    folder = Path(block_vars["src_file"]).parent / "output"
    drawn = sorted(folder.glob(f"{Path(block_vars['src_file']).stem}*.svg"))
    places = []
    for path, place in zip(drawn, block_vars["image_path_iterator"], strict=False):
        places.append(str(Path(place).with_suffix(".svg")))
        shutil.move(path, places[-1])
    return figure_rst(places, gallery_conf["src_dir"])


class Order:
    """Sort examples from the first to the most special; one that is not listed fails the build."""

    def __init__(self, src_dir):
        self.src_dir = src_dir

    def __call__(self, filename):
        return ORDER.index(Path(filename).stem)
