"""numbad: derivatives of plain NumPy code, recorded into a flat tape and swept by compiled code."""

from numbad.derivatives import gradient, value_and_gradient
from numbad.ops import REGISTRY

__all__ = ["gradient", "value_and_gradient"]
