"""Functions that Numba compiles, called with recording values: their twins run.

Numba's dispatcher looks in compiled code for a version that takes the types of its arguments, and asks Python where it
finds none: `typeof_pyval` for the type of a value that it does not know, and `_compile_for_args` for a new version.
Both methods are taught to look for recording values. A call with plain arguments of types that have been met passes
through neither, so it takes as long as it did.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable
from types import FunctionType
from typing import Any, NamedTuple, NoReturn

import numpy as np

from numbad.errors import ReadOnlyError, RecordingError, message, site_of
from numbad.numba_api.noticing import choice, row_by_row
from numbad.numba_api.twins import Constants, refuse_changed, twin_of
from numbad.recording import strictness
from numbad.recording.active import Active, Given, given_among, involves
from numbad.recording.exchange import own_code
from numbad.recording.rewriting import KERNELS, plain_code
from numbad.settings import config

KERNEL = "_numbad_kernel"  # the attribute of a dispatcher that keeps what is known of it
CLOSED = "_numbad_closed"  # the attribute that says that it compiles nothing more, its signatures being given
NATIVE_AFTER = 2.0  # seconds of recordings by Python after which machine code that records is compiled
NATIVE_CALL = 0.005  # seconds that a call takes at least for which that is worth it
LONG = 10_000  # iterations that a call may have for which an adjoint is compiled, where it is worth compiling at all
VERY_LONG = 1_000_000  # the same, where nothing is known yet: recording them by Python takes seconds
MOST_GIVEN_UP = 4  # calls in which machine code may give up before it is left alone
NOTICE_AFTER = 1.0  # seconds that a recording by Python takes before it is told


class Shadow:
    """An object of a class that Numba compiles, made while something is recorded: it may hold recording values."""

    __slots__ = ()


methods: list[Callable[[FunctionType, tuple[Any, ...]], Callable[..., Any] | None]] = []  # of objects of Numba's own


class Way(NamedTuple):
    """How calls of a kernel are recorded.

    Attributes
    ----------
    way : str
        "native": machine code appends rows; "adjoint": one row; "python": the source runs.
    types : str
        Of the arguments, as Numba has them; empty where they do not matter.
    why : str
        What machine code, or an adjoint, lacks; empty if nothing is.
    seconds : float
        What has been spent so: on compiling, or on recordings by Python.
    """

    way: str
    types: str
    why: str
    seconds: float


class NotNative(Exception):
    """The function has to be recorded by its Python source."""


class GivenUp(NotNative):
    """The same, for this call."""


class State(threading.local):
    """Of a thread: how many twins run, one within the other, and whether a division by zero raises in the innermost."""

    depth = 0
    raising = True


state = State()


def takes_part(value: Any) -> bool:
    """Whether an argument is a recording value, holds one, or stands for a value that may be another."""
    return isinstance(value, (Active, Given, Shadow)) or (
        isinstance(value, (list, tuple, np.ndarray)) and (involves((value,)) or given_among((value,)) is not None)
    )


class Kernel:
    """What is known of a function that Numba compiles.

    Attributes
    ----------
    function : FunctionType
        The user's own.
    twins : dict
        What runs in its place, by how operators are computed.
    constants : Constants or None
        What it takes from outside, once it has run.
    raising : bool
        Whether a division by zero raises.
    inherits : bool
        Whether the options say nothing of that: Numba compiles the function as the first caller has it.
    own : bool
        Whether operators are Python's own: in object mode.
    told : bool
        Whether it has been said that its recording takes long.
    native : Any
        The version that records by machine code, once there is one; False where Numba's types lack something.
    declared : bool
        Whether `numbad.kernel` has asked for it.
    adjoint : bool or None
        Whether its calls are single rows, with an adjoint of its own; None where their size decides.
    adjoints : dict
        What has been made for choices of types, or why it could not be.
    loose : bool
        Whether its sums may be in any order.
    version : int
        How often its constants have changed.
    rows : int
        How many rows its last recording by machine code has written.
    given_up : int
        How often machine code has given up half-way.
    calls, seconds : int, float
        How often its twin has run, and for how long.
    why : str
        Why machine code does not record it; empty if it does, or nobody has tried.
    """

    def __init__(self, dispatcher: Any, function: FunctionType, options: dict[str, Any], raising: bool = True) -> None:
        self.dispatcher, self.function = dispatcher, function
        self.twins: dict[Any, FunctionType] = {}
        self.constants: Constants | None = None
        self.raising = options.get("error_model", "python" if raising else "numpy") == "python"
        self.inherits = raising and "error_model" not in options
        self.own = bool(options.get("forceobj"))
        self.told = self.stale = False
        self.native: Any = None
        self.declared = False
        self.adjoint: bool | None = None
        self.adjoints: dict[Any, Any] = {}
        self.loose = bool(options.get("fastmath") or options.get("parallel"))
        self.version = self.calls = self.rows = self.given_up = 0
        self.seconds, self.why = 0.0, ""

    def inspect(self) -> list[Way]:
        """Return how calls have been recorded; see `numbad.kernel`."""
        found = []
        for kinds, made in self.adjoints.items():
            why = str(made) if isinstance(made, Exception) else ""
            found.append(Way("adjoint", ", ".join(str(kind) for kind, _ in kinds), why, 0.0))
        for kinds, result in self.native.overloads.items() if self.native else ():
            seconds = float(result.metadata.get("timers", {}).get("compiler_lock", 0.0))
            found.append(Way("native", ", ".join(map(str, kinds)), "", seconds))
        if self.calls or self.why:
            found.append(Way("python", "", self.why, self.seconds))
        return found

    def twin(self) -> FunctionType:
        """Return the twin; refuse one whose constants are not those that Numba has compiled."""
        constants = self.constants
        if constants is None:
            if not self.own and (name := changed_since(self.dispatcher, self.function)):
                refuse_changed(self.function, name)
            self.constants = Constants(self.function)
        elif (name := constants.changed()) and not self.own:
            if not self.stale and getattr(self.dispatcher, "overloads", None):
                refuse_changed(self.function, name)
            self.constants, self.stale = Constants(self.function), False
            self.version += 1
        return twin_of(self.function, self.raises(), self.own, self.twins)

    def raises(self) -> bool:
        """Whether a division by zero raises in a call that begins now."""
        if not self.inherits:
            return self.raising
        for result in getattr(self.dispatcher, "overloads", {}).values():
            model = result.target_context.error_model  # None in what has been read from disk
            return self.raising if model is None else bool(model.raise_on_fp_zero_division)
        return state.raising if state.depth else self.raising

    def run(self, arguments: tuple[Any, ...], keywords: dict[str, Any]) -> Any:
        """Run the twin for arguments as Numba gives them."""
        function = self.twin()
        given = tuple([settled(value) for value in arguments])
        options = {name: settled(value) for name, value in keywords.items()} if keywords else keywords
        if self.adjoint is not False and not options and choice.by_rows < 2 and self.is_long(given):
            from numbad.numba_api.adjoint.rows import NotAdjoint, record_as_row, refuse

            try:
                return record_as_row(self, given)
            except NotAdjoint as error:
                if self.adjoint:
                    raise refuse(self, error) from None
        if self.native is not False and not options and self.is_worth_compiling():
            try:
                return self.run_natively(given)
            except NotNative as error:
                self.note_refusal(error)
        start = time.perf_counter()
        outer, state.raising = state.raising, self.raises()
        state.depth += 1
        try:
            with np.errstate(all="ignore"):  # Numba tells nobody of errors of numbers
                return function(*given, **options)
        except ValueError as error:
            explain_constant(error)
            raise
        finally:
            state.depth -= 1
            state.raising = outer
            self.calls, self.seconds = self.calls + 1, self.seconds + time.perf_counter() - start
            if not (self.told or state.depth) and time.perf_counter() - start > NOTICE_AFTER:
                self.tell(time.perf_counter() - start)

    def run_rows(self, arguments: tuple[Any, ...]) -> Any:
        """Record a call row by row, whatever its size."""
        with row_by_row(2):
            return self.run(arguments, {})

    def is_long(self, arguments: tuple[Any, ...]) -> bool:
        """Whether a call may run loops that are longer than a tape should be: from the sizes of its arguments."""
        if self.adjoint or choice.by_rows or config.debug_nans or strictness.asked():
            return bool(self.adjoint)
        turns = 1
        for value in arguments:
            if isinstance(value, int) and not isinstance(value, bool):
                turns *= max(1, abs(value))
        turns *= max((int(np.size(value)) for value in arguments if isinstance(value, (Active, np.ndarray))), default=1)
        return turns >= (LONG if self.is_worth_compiling() else VERY_LONG)

    def is_worth_compiling(self) -> bool:
        """Whether its recordings have taken longer than a compiler takes, and each more than what a call costs."""
        if not state.depth and (self.declared or self.native):
            return True
        waited = self.declared or self.native or self.seconds > NATIVE_AFTER
        return bool(waited) and self.seconds > self.calls * NATIVE_CALL

    def note_refusal(self, error: NotNative) -> None:
        """Remember that machine code cannot record the function, and say why if it was asked for."""
        self.given_up += isinstance(error, GivenUp)
        self.why = reason_of(error)
        if isinstance(error, GivenUp) and self.given_up < MOST_GIVEN_UP:
            return
        self.native = False
        if self.declared and config.notices and sys.stderr is not None:
            what = f"numbad: {self.function.__name__} is recorded by its Python source, not by machine code"
            print(f"{what}: {self.why}", file=sys.stderr)

    def run_natively(self, arguments: tuple[Any, ...]) -> Any:
        """Record the call by machine code."""
        from numbad.numba_api.native import record_natively

        return record_natively(self, arguments, (self.function.__code__, 0))

    def tell(self, seconds: float) -> None:
        """Say once that the function takes long to record."""
        self.told = True
        if config.notices and sys.stderr is not None:
            what = f"numbad: recording {self.function.__name__}, which Numba compiles, by its Python source took"
            print(f"{what} {seconds:.1f} s; numbad.jit keeps a recording for later calls", file=sys.stderr)


def reason_of(error: BaseException) -> str:
    """Return what Numba's compiler lacks, in one line."""
    lines = [line.strip(" -") for line in str(error.__cause__ or error).splitlines() if line.strip()]
    lines = [line for line in lines if not line.startswith("Failed in nopython mode pipeline")]
    told = [line for line in lines if line.startswith(("No implementation", "Unknown attribute", "Cannot unify"))]
    calls = [line.strip("> ") for line in lines if line.startswith(">>>")]
    return " ".join([*(told or lines)[:1], *calls[:1]]) or "its arguments are of other types"


def explain_constant(error: ValueError) -> None:
    """Raise numbad's own error where a function writes to an array that is a constant for Numba."""
    site = site_of(error)
    if "read-only" in str(error) and site is not None and id(site[0]) in KERNELS:
        what = "a function that Numba compiles writes to an array from outside of it, which Numba takes for a constant"
        raise ReadOnlyError(message(what, "make the array an argument", site)) from error


def settled(value: Any) -> Any:
    """Return an argument as Numba would be given it: integers that may be others are plain, and guarded."""
    if isinstance(value, Given):
        return value.settle()  # type: ignore[attr-defined]
    return value


def kernel_of(dispatcher: Any) -> Kernel:
    """Return what is known of a dispatcher."""
    found = dispatcher.__dict__.get(KERNEL)
    if found is None:
        if dispatcher.locals:
            refuse_option(dispatcher, f"locals={dispatcher.locals}")
        found = dispatcher.__dict__[KERNEL] = Kernel(dispatcher, dispatcher.py_func, dispatcher.targetoptions)
    return found  # type: ignore[no-any-return]


def refuse_option(dispatcher: Any, option: str) -> NoReturn:
    """Refuse an option of Numba's decorators that changes numbers."""
    raise RecordingError(
        message(
            f"the Numba function {dispatcher.__name__} is compiled with {option}, which is not recorded",
            "leave the option away, or give the function a rule with numbad.custom_vjp",
        )
    )


class Runner:
    """What Numba's dispatcher calls in the place of a compiled version."""

    __slots__ = ("dispatcher",)

    def __init__(self, dispatcher: Any) -> None:
        self.dispatcher = dispatcher

    def __call__(self, *arguments: Any, **keywords: Any) -> Any:
        dispatcher = self.dispatcher
        if not any(isinstance(value, (Active, Shadow)) or involves((value,)) for value in arguments):
            return dispatcher(*map(settled, arguments), **keywords)  # integers alone: Numba's own code runs
        given = unfolded(dispatcher, arguments)
        for find in methods:
            method = find(dispatcher.py_func, given)
            if method is not None:
                return method(*given[1:])
        if (dispatcher.py_func.__module__ or "").partition(".")[0] == "numba":
            refuse_containers()
        kernel = kernel_of(dispatcher)
        if not dispatcher._can_compile:
            check_signatures(dispatcher, arguments)
        return kernel.run(given, keywords)


def unfolded(dispatcher: Any, arguments: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return arguments as the function takes them: without what stands for defaults, and with *args taken apart."""
    from numba.core.dispatcher import OmittedArg

    code = dispatcher.py_func.__code__
    given = tuple([value.value if isinstance(value, OmittedArg) else value for value in arguments])
    if code.co_flags & 4 and len(given) == code.co_argcount + 1:  # CO_VARARGS
        return (*given[:-1], *given[-1])
    return given


def refuse_containers() -> NoReturn:
    """Refuse to put recording values into containers whose memory is Numba's."""
    raise RecordingError(
        message(
            "a container or an object of Numba's cannot hold recording values: its memory holds plain numbers",
            "use a list or a dict of Python's, an array, or make it inside of the function that Numba compiles",
        )
    )


# ---------------------------------------------------------------- signatures


def check_signatures(dispatcher: Any, arguments: tuple[Any, ...]) -> None:
    """Refuse a call for which Numba would convert recording values to what holds less of them."""
    from numba.core import types

    found = [result for result in dispatcher.overloads.values() if len(result.signature.args) == len(arguments)]
    for result in found:
        pairs = list(zip(arguments, result.signature.args, strict=True))
        exact = keeps(result.signature.return_type, arguments, types)
        if exact and all(fits(value, kind, types) for value, kind in pairs):
            return
    given = ", ".join(map(str, dispatcher.signatures))
    raise RecordingError(
        message(
            f"none of the signatures of the Numba function {dispatcher.__name__}, {given},"
            " takes these recording values as they are",
            "add a signature of float64, or leave the signatures away",
        )
    )


def fits(value: Any, kind: Any, types: Any) -> bool:
    """Whether an argument passes a signature's type unchanged."""
    if not isinstance(value, Active):
        return True
    if isinstance(kind, types.Array):
        return kind.ndim == value.ndim and value.ndim > 0 and fits_number(value, kind.dtype, types)
    return not value.shape and fits_number(value, kind, types)


def fits_number(value: Any, kind: Any, types: Any) -> bool:
    """Whether numbers of a recording are numbers of a type."""
    return value.boolean or (isinstance(kind, types.Float) and kind.bitwidth >= 8 * value.dtype.itemsize)


def keeps(kind: Any, arguments: tuple[Any, ...], types: Any) -> bool:
    """Whether a result's type keeps numbers of a recording, or has none."""
    bits = max((8 * value.dtype.itemsize for value in arguments if isinstance(value, Active)), default=64)
    for part in kind.types if isinstance(kind, types.BaseTuple) else (kind,):
        number = part.dtype if isinstance(part, types.Array) else part
        if isinstance(number, (types.Integer, types.Boolean)) or (
            isinstance(number, types.Float) and number.bitwidth < bits
        ):
            return False
    return True


# ---------------------------------------------------------------- what Numba has compiled


def changed_since(dispatcher: Any, function: FunctionType) -> str:
    """Return the name of a constant that is another than in the versions that Numba has compiled; "" if none is."""
    from numba.core import ir

    current = dict(Constants(function).current())
    for result in getattr(dispatcher, "overloads", {}).values():
        for block in getattr(result.type_annotation, "blocks", {}).values():
            for step in block.body:
                if isinstance(step, ir.Assign) and isinstance(step.value, (ir.Global, ir.FreeVar)):
                    name, value = step.value.name, step.value.value
                    if isinstance(value, (bool, int, float, complex)) and name in current:
                        if type(current[name]) is not type(value) or not current[name] == value:
                            return str(name)
    return ""


# ---------------------------------------------------------------- the hooks


def teach_dispatcher() -> None:
    """Teach Numba's dispatchers to look for recording values, and its compiler to read the user's own code."""
    from numba.core import bytecode, dispatcher, types

    base: Any = dispatcher._DispatcherBase
    own_typeof, own_compile, own_recompile = base.typeof_pyval, base._compile_for_args, dispatcher.Dispatcher.recompile
    unknown = types.Opaque("numbad recording value")

    def typeof_pyval(self: Any, value: Any) -> Any:
        if not takes_part(value):
            return own_typeof(self, value)
        if not self._can_compile:  # then Numba would not ask for a version
            self._can_compile = True
            self.__dict__[CLOSED] = True
        return unknown

    def compile_for_args(self: Any, *arguments: Any, **keywords: Any) -> Any:
        if CLOSED in self.__dict__:
            del self.__dict__[CLOSED]
            self._can_compile = False
        if any(takes_part(value) for value in arguments):
            return Runner(self)
        return own_compile(self, *arguments, **keywords)

    def recompile(self: Any) -> None:
        own_recompile(self)
        if KERNEL in self.__dict__:
            self.__dict__[KERNEL].stale = True

    base.typeof_pyval, base._compile_for_args = typeof_pyval, compile_for_args
    dispatching: Any = dispatcher.Dispatcher
    dispatching.recompile = recompile
    reading: Any = bytecode
    own_code_object = reading.get_code_object

    def get_code_object(function: Any) -> Any:
        return plain_code(own_code(function)) if type(function) is FunctionType else own_code_object(function)

    reading.get_code_object = get_code_object
