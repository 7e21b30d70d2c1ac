"""numbad: derivatives of plain NumPy code, recorded into a flat tape and swept by compiled code."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from numbad.limits import CHECKED

if CHECKED:
    from numbad.kernels import checked_code  # noqa: F401  before anything is compiled: one cache, code of one kind

from numbad.errors import (
    BranchError,
    InputError,
    LeakError,
    NonFiniteError,
    NumbadError,
    OutputError,
    RecordingError,
    TapeError,
)
from numbad.kernels.threads import set_num_threads
from numbad.ops import REGISTRY
from numbad.ops.definition import Interval, op
from numbad.recording import indexing, methods, operators, protocol  # noqa: F401  they complete scalars and arrays
from numbad.recording.functions import (
    array,
    asarray,
    empty,
    erf,
    erfc,
    full,
    log_softmax,
    logsumexp,
    ones,
    relu,
    sigmoid,
    softmax,
    softplus,
    where,
    zeros,
)
from numbad.replay.jit import jit
from numbad.settings import config, debug_nans
from numbad.tapes.checks import verify
from numbad.tapes.freezing import record
from numbad.tapes.tape import Tape
from numbad.transforms.batching import vmap
from numbad.transforms.custom import checkpoint, custom_jvp, custom_vjp, stop_gradient
from numbad.transforms.derivatives import gradient, value_and_gradient
from numbad.transforms.functional import (
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

__version__ = "0.1.0"
__all__ = [
    "REGISTRY",
    "BranchError",
    "InputError",
    "Interval",
    "LeakError",
    "NonFiniteError",
    "NumbadError",
    "OutputError",
    "RecordingError",
    "Tape",
    "TapeError",
    "array",
    "asarray",
    "checkpoint",
    "config",
    "custom_jvp",
    "custom_vjp",
    "debug_nans",
    "derivative",
    "empty",
    "erf",
    "erfc",
    "full",
    "grad",
    "gradient",
    "hessian",
    "hvp",
    "jacfwd",
    "jacobian",
    "jacrev",
    "jit",
    "jvp",
    "linearize",
    "load",
    "log_softmax",
    "logsumexp",
    "ones",
    "op",
    "record",
    "relu",
    "set_num_threads",
    "sigmoid",
    "softmax",
    "softplus",
    "stop_gradient",
    "value_and_grad",
    "value_and_gradient",
    "verify",
    "vjp",
    "vmap",
    "where",
    "zeros",
]


if TYPE_CHECKING:
    from numbad.storage.tape_files import load


def __getattr__(name: str) -> Any:
    """Import `numbad.testing`, `numbad.tapes.passes` and `numbad.load` when they are first used."""
    if name in ("passes", "testing"):
        return importlib.import_module(f"numbad.{name}")
    if name == "load":
        return importlib.import_module("numbad.storage.tape_files").load
    raise AttributeError(f"module 'numbad' has no attribute {name!r}")
