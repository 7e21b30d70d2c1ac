"""`numbad.kernel`: Numba's njit for functions whose derivatives are wanted, too."""

from __future__ import annotations

from collections.abc import Callable
from types import FunctionType
from typing import Any

from numbad.errors import message
from numbad.numba_api.dispatching import kernel_of
from numbad.numba_api.noticing import notice_numba


def kernel(f: Any = None, *, adjoint: bool | None = None, **options: Any) -> Any:
    """Compile a function by Numba: for plain numbers, and once more to record where derivatives are taken.

    With plain arguments it is what `numba.njit` makes, and as fast. Where it meets recording values, machine code
    computes and appends the rows of the tape on the way, a hundred times as fast as Python does. Functions
    of `numba.njit` alone are recorded by Python until that has taken two seconds.

    Parameters
    ----------
    f : callable
        The function, or what `numba.njit` has made of it.
    adjoint : bool, optional
        Whether a call is one row of the tape, whose derivative is an adjoint that is compiled of the source, with loops
        as loops. By default it is where arguments say that loops may have 10,000 iterations and more, and row by row
        elsewhere, and wherever the source has something that adjoints are not made of.
    **options
        Those of `numba.njit`: `fastmath`, `parallel`, `error_model`, `cache`, ...

    Returns
    -------
    callable
        Numba's dispatcher; a decorator if no function is given. Its method `inspect()` tells how its calls have been
        recorded: a list of named tuples `(way, types, why, seconds)`, one for each choice of types. The way is
        "native", "adjoint" or "python"; `why` says what the source has that the other ways do not take.

    Raises
    ------
    NumbadError
        At a call, when `adjoint=True` and the source has something that adjoints are not made of.
    TypeError
        When `f` is no function, or has been compiled with options of its own and others are given.

    Notes
    -----
    Recorded by machine code are numbers, arrays of double precision with indices and slices, loops, branches, functions
    of `math` and NumPy of numbers, sums, differences and products of short vectors, tuples, recursion and other
    functions of Numba's. A function that needs more is recorded by its Python source. Compiling takes some seconds
    for each choice of types of arguments, in each process.

    The types are those of Numba's extension interface (Lam, Pitrou and Seibert, 2015, *Numba: a LLVM-based Python JIT
    compiler*).

    An adjoint takes two to five times as long as the function, and keeps what is overwritten and needed: of a loop over
    numbers 8 bytes for each number and iteration. Tangents and second derivatives are compiled in the same way; those
    of the third order are recorded row by row. In calls 1, 2, 4, 8, ... the value that the adjoint's way forward has
    computed is compared with that of the compiled function. Sources: Griewank and Walther, 2008, *Evaluating
    Derivatives*, chapters 4 to 6; Hascoët, Naumann and Pascual, 2005, "To be recorded" analysis in reverse-mode
    automatic differentiation.

    Examples
    --------
    >>> import numbad
    >>> @numbad.kernel
    ... def product(x, n):
    ...     y = 1.0
    ...     for _ in range(n):
    ...         y = y * x
    ...     return y
    >>> product(2.0, 3)
    8.0
    >>> numbad.gradient(product, 2.0, 3, argnums=0)
    12.0
    >>> [(found.way, found.types) for found in product.inspect()]
    [('native', 'recording number, int64')]
    """
    from numba import njit
    from numba.core.dispatcher import Dispatcher

    if f is None:
        decorate: Callable[[Any], Any] = lambda function: kernel(function, adjoint=adjoint, **options)
        return decorate
    if not isinstance(f, (FunctionType, Dispatcher)):
        raise TypeError(
            message(f"numbad.kernel takes a function; it was given a {type(f).__name__}", "write @numbad.kernel")
        )
    if options and isinstance(f, Dispatcher):
        raise TypeError(
            message(
                f"numbad.kernel was given {next(iter(options))}= for a function that is compiled", "give it to njit"
            )
        )
    notice_numba(None)
    found = f if isinstance(f, Dispatcher) else njit(f, **options)
    known = kernel_of(found)
    known.declared, known.adjoint = True, adjoint
    found.__dict__["inspect"] = known.inspect
    return found
