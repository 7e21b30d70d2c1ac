"""numbad: derivatives of plain NumPy code, recorded into a flat tape and swept by compiled code."""

from numbad.checks import verify
from numbad.derivatives import gradient, value_and_gradient
from numbad.ops import REGISTRY
from numbad.recording import record
from numbad.tape import Tape

__all__ = ["Tape", "gradient", "record", "value_and_gradient", "verify"]
