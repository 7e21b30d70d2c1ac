"""`python -m numbad.numpy_api`: print which functions are recorded, as the list in ARCHITECTURE.md has it."""

from __future__ import annotations

import textwrap

from numbad.numpy_api.dispatch import FUNCTIONS, UFUNCS
from numbad.ops.definition import REGISTRY


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


if __name__ == "__main__":
    print(listing())
