"""Sums over blocks of data and their derivatives, computed by other threads, processes and machines.

>>> import numpy as np, numbad
>>> blocks = [np.array([1.0, 2.0]), np.array([3.0])]
>>> numbad.distributed.value_and_gradient(lambda w, x: np.sum((w - x) ** 2), 1.0, blocks)
(5.0, -6.0)
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from numbad.distributed.sums import gradient, hvp, jacobian_product, value_and_gradient

__all__ = ["gradient", "hvp", "jacobian_product", "value_and_gradient"]

if not TYPE_CHECKING:

    def __getattr__(name: str) -> object:
        """Import the functions when the first of them is used."""
        if name not in __all__:
            raise AttributeError(f"module 'numbad.distributed' has no attribute {name!r}")
        from numbad.distributed import sums

        globals().update({known: getattr(sums, known) for known in __all__})
        return globals()[name]


def __dir__() -> list[str]:
    """Return the public names."""
    return list(__all__)
