"""`python -m numbad.scipy_api`: print which functions are recorded; `--write` puts that into ARCHITECTURE.md."""

from __future__ import annotations

import sys
import textwrap
from pathlib import Path

from numbad.numpy_api import tables  # noqa: F401  they fill FUNCTIONS and UFUNCS
from numbad.numpy_api.dispatch import FUNCTIONS, UFUNCS
from numbad.ops.definition import REGISTRY
from numbad.scipy_api.elementwise import ELEMENTWISE
from numbad.scipy_api.tables import TABLE

DISTRIBUTIONS_OF_VECTORS = ("multivariate_normal.logpdf", "multivariate_normal.pdf", "multivariate_normal.entropy",
                            "dirichlet.logpdf", "dirichlet.pdf")  # fmt: skip


def recorded() -> dict[str, list[str]]:
    """Return the names of the functions that are recorded, grouped by where NumPy and SciPy keep them."""
    groups: dict[str, set[str]] = {"ufuncs of NumPy": set(UFUNCS), "ufuncs of scipy.special": set()}
    for op in REGISTRY:
        module, _, name = op.ufunc.rpartition(".")
        if name:
            groups["ufuncs of NumPy" if module == "numpy" else "ufuncs of scipy.special"].add(name)
    for function in FUNCTIONS:
        module = function.__module__.replace("numpy", "np", 1)
        groups.setdefault(f"functions of {module}", set()).add(function.__name__)
    groups["ufuncs of scipy.special"] |= {name for name in ELEMENTWISE if name not in ("lambertw", "zeta")}
    for module, names in TABLE.items():
        if "._" not in module:
            groups[f"functions of {module}"] = {name for name in names if not name.startswith("_")}
    groups["functions of scipy.stats"] |= set(DISTRIBUTIONS_OF_VECTORS)
    return {title: sorted(names) for title, names in groups.items() if names}


def listing() -> str:
    """Return the list as Markdown."""
    return "\n".join(
        textwrap.fill(
            f"* **{title}**: {', '.join(names)}",
            width=118,
            subsequent_indent="  ",
            break_on_hyphens=False,
            break_long_words=False,
        )
        for title, names in recorded().items()
    )


def main() -> None:
    """Print the list, or write it to the end of ARCHITECTURE.md."""
    if "--write" not in sys.argv:
        print(listing())
        return
    path = Path(__file__).parent.parent / "ARCHITECTURE.md"
    text = path.read_text()
    path.write_text(text[: text.index("* **ufuncs of NumPy**")] + listing() + "\n")


if __name__ == "__main__":
    main()
