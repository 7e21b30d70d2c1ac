"""numbad: derivatives of plain NumPy code, recorded into a flat tape and swept by compiled code."""

from numbad.batching import vmap
from numbad.checks import verify
from numbad.derivatives import gradient, value_and_gradient
from numbad.ops import REGISTRY
from numbad.recording import record
from numbad.tape import Tape
from numbad.transforms import (
    derivative,
    grad,
    hessian,
    hvp,
    jacfwd,
    jacobian,
    jacrev,
    jvp,
    linearize,
    value_and_grad,
    vjp,
)

__all__ = [
    "Tape",
    "derivative",
    "grad",
    "gradient",
    "hessian",
    "hvp",
    "jacfwd",
    "jacobian",
    "jacrev",
    "jvp",
    "linearize",
    "record",
    "value_and_grad",
    "value_and_gradient",
    "verify",
    "vjp",
    "vmap",
]
