"""numbad: derivatives of plain NumPy code, recorded into a flat tape and swept by compiled code."""

from __future__ import annotations

from typing import TYPE_CHECKING

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
from numbad.numba_api import noticing as numba_noticing  # noqa: F401  what Numba compiles
from numbad.numpy_api import methods, protocol  # noqa: F401  these, and those below that nothing here names, complete
from numbad.numpy_api.functions import (
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
from numbad.ops import REGISTRY
from numbad.ops.definition import Interval, op
from numbad.recording import errors_met, hostcalls, indexing, operators, texts  # noqa: F401  recording values
from numbad.scipy_api import noticing  # noqa: F401  and what is done when a recording begins
from numbad.settings import VERSION, config, debug_nans
from numbad.sweeps import execution  # noqa: F401  and let recorders run
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

if TYPE_CHECKING:
    from numbad import distributed as distributed
    from numbad import passes as passes
    from numbad import testing as testing
    from numbad.numba_api.kernel import kernel
    from numbad.replay.jit import jit
    from numbad.sparsity.derivatives import (
        sparse_hessian,
        sparse_jacobian,
        value_and_sparse_hessian,
        value_and_sparse_jacobian,
    )
    from numbad.storage.tape_files import load
    from numbad.tapes.checks import verify
    from numbad.tapes.freezing import record
    from numbad.tapes.tape import Tape
    from numbad.transforms.batching import vmap
    from numbad.transforms.custom import checkpoint, custom_jvp, custom_vjp, stop_gradient

__version__ = VERSION
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
    "kernel",
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
    "sparse_hessian",
    "sparse_jacobian",
    "stop_gradient",
    "value_and_grad",
    "value_and_gradient",
    "value_and_sparse_hessian",
    "value_and_sparse_jacobian",
    "verify",
    "vjp",
    "vmap",
    "where",
    "zeros",
]


if not TYPE_CHECKING:  # where types are checked, a name that numbad does not have is an error

    def __getattr__(name: str) -> object:
        """Import what a first gradient does not need when it is first used."""
        if name == "jit":
            from numbad.replay.jit import jit as found
        elif name == "vmap":
            from numbad.transforms.batching import vmap as found
        elif name in ("checkpoint", "custom_jvp", "custom_vjp", "stop_gradient"):
            from numbad.transforms import custom

            found = getattr(custom, name)
        elif name.endswith(("sparse_jacobian", "sparse_hessian")) and name in __all__:
            from numbad.sparsity import derivatives

            found = getattr(derivatives, name)
        elif name == "kernel":
            from numbad.numba_api.kernel import kernel as found
        elif name == "record":
            from numbad.tapes.freezing import record as found
        elif name == "Tape":
            from numbad.tapes.tape import Tape as found
        elif name == "verify":
            from numbad.tapes.checks import verify as found
        elif name == "load":
            from numbad.storage.tape_files import load as found
        elif name == "distributed":
            import numbad.distributed as found
        elif name == "passes":
            import numbad.passes as found
        elif name == "testing":
            import numbad.testing as found
        else:
            raise AttributeError(f"module 'numbad' has no attribute {name!r}")
        globals()[name] = found
        return found


def __dir__() -> list[str]:
    """Return the public names."""
    return [*__all__, "__version__", "distributed", "passes", "testing"]
