"""The ops, in the order of their opcodes."""

from numbad.ops import arithmetic, exponential, selection, special, trigonometric
from numbad.ops.definition import REGISTRY, check_registry

check_registry()
__all__ = ["REGISTRY", "arithmetic", "exponential", "selection", "special", "trigonometric"]
