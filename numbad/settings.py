"""Settings: one object, `numbad.config`, and context managers that change it for a while."""

from __future__ import annotations

import contextlib
import operator
from collections.abc import Iterator
from typing import Any

VERSION = "0.1.0"


class Config:
    """The settings of numbad; they hold for all threads.

    Attributes
    ----------
    compile_tapes : bool
        Whether tapes that `numbad.jit` replays often are compiled, in a thread of their own. True unless set.
    debug_nans : bool
        Whether sweeps stop at the first value, cotangent or tangent that is not finite (see `debug_nans`).
        False unless set.
    kept_memory : int
        The most bytes of large arrays that are kept from one sweep to the next, of all threads together, for fresh
        memory costs more than the sweeps. 268,435,456 (256 MB) unless set; 0 keeps none. What is kept is given back
        after ten seconds without a sweep. Each thread keeps up to three arrays of at most 4 MB beside these.
    notices : bool
        Whether numbad says on stderr that a call takes long because it compiles. True unless set.
    record_again : bool
        Whether a function that fills plain arrays with what it computes, as in `y = np.zeros(3); y[0] = x`, is
        recorded again with recording arrays in their place. True unless set. The function then runs twice or more
        often when it is recorded for the first time, and what it does besides computing is done as often. With False
        such an assignment is an error.

    Raises
    ------
    TypeError
        When a setting is set to something else than True or False, or `kept_memory` to something else than an int.
    ValueError
        When `kept_memory` is negative.
    AttributeError
        When an attribute is set that is no setting.

    Examples
    --------
    >>> import numbad
    >>> numbad.config
    Config(compile_tapes=True, debug_nans=False, kept_memory=268435456, notices=True, record_again=True)
    """

    __slots__ = ("_compile_tapes", "_debug_nans", "_kept_memory", "_notices", "_record_again")

    def __init__(self) -> None:
        self._compile_tapes = True
        self._debug_nans = False
        self._kept_memory = 1 << 28
        self._notices = True
        self._record_again = True

    @property
    def compile_tapes(self) -> bool:
        """Whether tapes that are replayed often are compiled."""
        return self._compile_tapes

    @compile_tapes.setter
    def compile_tapes(self, on: Any) -> None:
        self._compile_tapes = truth("compile_tapes", on)

    @property
    def debug_nans(self) -> bool:
        """Whether sweeps stop at the first number that is not finite."""
        return self._debug_nans

    @debug_nans.setter
    def debug_nans(self, on: Any) -> None:
        self._debug_nans = truth("debug_nans", on)

    @property
    def kept_memory(self) -> int:
        """The most bytes of large arrays that are kept from one sweep to the next."""
        return self._kept_memory

    @kept_memory.setter
    def kept_memory(self, size: Any) -> None:
        if isinstance(size, bool) or not hasattr(size, "__index__"):
            raise TypeError(f"config.kept_memory is an int, not {size!r}")
        if operator.index(size) < 0:
            raise ValueError(f"config.kept_memory is at least 0, not {size!r}")
        self._kept_memory = operator.index(size)

    @property
    def notices(self) -> bool:
        """Whether numbad says on stderr that a call takes long because it compiles."""
        return self._notices

    @notices.setter
    def notices(self, on: Any) -> None:
        self._notices = truth("notices", on)

    @property
    def record_again(self) -> bool:
        """Whether a function that fills plain arrays is recorded again with recording ones."""
        return self._record_again

    @record_again.setter
    def record_again(self, on: Any) -> None:
        self._record_again = truth("record_again", on)

    def __repr__(self) -> str:
        settings = (f"{name[1:]}={getattr(self, name)}" for name in self.__slots__)
        return f"Config({', '.join(settings)})"


def truth(name: str, on: Any) -> bool:
    """Return the value of a setting that is on or off."""
    if not isinstance(on, bool):
        raise TypeError(f"config.{name} is True or False, not {on!r}")
    return on


config = Config()


@contextlib.contextmanager
def debug_nans(on: bool = True) -> Iterator[None]:
    """Stop sweeps at the first number that is not finite, within a `with` block.

    Gradients, Jacobians, batches, tapes and jitted functions then raise a `NonFiniteError` that names the op, the
    user's line, the operands and their values: of the first value that is not finite, or, if all values are finite,
    the first cotangent in the order of the adjoint sweep. The message says so where the number was in the input
    already. Infinities count, and so do numbers that a later `np.where` would not choose.

    Parameters
    ----------
    on : bool
        False switches it off within the block.

    Returns
    -------
    context manager
        Sets `numbad.config.debug_nans` for all threads, and puts back the earlier setting at the end of the block.

    Raises
    ------
    TypeError
        When `on` is not True or False.
    NonFiniteError
        From what runs in the block, when it meets a number that is not finite.

    Notes
    -----
    Functions are recorded anew and line by line, so calls take a few times as long; off, it costs nothing that can be
    measured.

    Examples
    --------
    >>> import numpy as np, numbad
    >>> with numbad.debug_nans():  # doctest: +IGNORE_EXCEPTION_DETAIL
    ...     numbad.gradient(lambda x: np.sqrt(x - 2.0), 1.0)
    Traceback (most recent call last):
    NonFiniteError: row 1: sqrt(-1) is nan
    """
    before = config.debug_nans
    config.debug_nans = on
    try:
        yield
    finally:
        config.debug_nans = before
