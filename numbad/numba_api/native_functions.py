"""What stands under the names of functions of Python's, of math and of NumPy in machine code that records.

Each is a function of its own, of which Numba compiles one version for recording numbers and arrays. It hands plain ones
to the function that it stands for.
"""

from __future__ import annotations

import inspect
import math
from typing import Any

import numpy as np
from numba import njit, types
from numba.core import errors

from numbad.kernels.generated import opcodes
from numbad.numba_api.native_arrays import (
    RecordingArray,
    as_number,
    chosen,
    elementwise,
    is_absent,
    is_double,
    is_numbers,
    is_plain,
    is_truths,
    make_full,
    settled,
    takes_elements,
    written,
)
from numbad.numba_api.native_tape import append_guard, append_result, constant, give_up
from numbad.numba_api.native_types import (
    NUMBERS,
    TUPLE,
    NumberType,
    TruthType,
    are_recorded,
    make_truth,
    overload,
    rows_of,
    unary_row,
)
from numbad.tape.layout import GUARD_VALUE

SAME: dict[Any, Any] = {}  # functions that the program names, and those that stand in their places


def stand_in(*own: Any) -> Any:
    """Register a function that takes the places of others in what is compiled."""

    def register(function: Any) -> Any:
        SAME.update(dict.fromkeys(own, function))
        return function

    return register


def handing_on(own: Any, parameters: str, kinds: dict[str, Any]) -> Any:
    """Return a function that calls another with the arguments that it has been given."""
    passed, skipped = [], False
    for name, kind in kinds.items():
        skipped = skipped or is_absent(kind)
        if not is_absent(kind):
            passed.append(f"{name}={name}" if skipped else name)
    return written("hand_on", parameters, [f"return own({', '.join(passed)})"], own=own)


def define(parameters: str, *names: Any, plain: Any = None) -> Any:
    """Return a decorator for what chooses a version of a function by the types of its arguments.

    Parameters
    ----------
    parameters : str
        Those of the function, with defaults.
    *names : callable
        The functions in whose places it stands.
    plain : callable, optional
        What computes where there is no version; the first of the names.
    """

    def register(choose: Any) -> Any:
        known: dict[str, Any] = {}
        exec(f"def place({parameters}):\n    raise NotImplementedError", known)
        place = known["place"]
        words = list(inspect.signature(place).parameters)

        def select(**kinds: Any) -> Any:
            version = choose(*(kinds[word] for word in words))
            if version is not None:
                return version
            own = plain(*(kinds[word] for word in words)) if plain else None
            return handing_on(own or names[0], parameters, kinds)

        scope: dict[str, Any] = {"select": select}
        passed = ", ".join(f"{word}={word}" for word in words)
        exec(f"def chosen({parameters}):\n    return select({passed})", scope)
        overload(place)(scope["chosen"])
        stand_in(*names)(place)
        return place

    return register


# ---------------------------------------------------------------- functions of numbers, and of each element


def define_function(opcode: int, plain: Any, *own: Any) -> None:
    """Give functions of one number to recording ones, and to the elements of arrays."""
    compute = njit(lambda a: plain(a))
    of_arrays = next((function for function in own if isinstance(function, np.ufunc)), None)

    def find(x: Any) -> Any:
        if isinstance(x, types.Array):
            return of_arrays
        return own[0] if isinstance(x, types.Complex) else plain

    def choose(x: Any) -> Any:
        if isinstance(x, NumberType):
            return lambda x: unary_row(opcode, compute(x._value), x._address)
        return elementwise("x", [x], place) if is_numbers(x) else None

    place = define("x", *own, plain=find)(choose)


for _name in "SIN COS TAN SINH COSH TANH EXP EXPM1 LOG LOG1P LOG2 LOG10 FLOOR CEIL TRUNC".split():
    _lower = _name.lower()
    _own = [getattr(np, _lower)]
    if _lower not in ("floor", "ceil", "trunc"):
        _own.append(getattr(math, _lower))
    define_function(getattr(opcodes, _name), getattr(np if len(_own) == 1 else math, _lower), *_own)
for _name in "SIN COS TAN SINH COSH TANH".split():
    _short, _long = f"a{_name.lower()}", f"arc{_name.lower()}"
    define_function(getattr(opcodes, _long.upper()), getattr(math, _short), getattr(math, _short), getattr(np, _long))
define_function(opcodes.ABSOLUTE, math.fabs, math.fabs, np.fabs)
define_function(opcodes.ABSOLUTE, abs, np.abs)
define_function(opcodes.NEGATIVE, np.negative, np.negative)
define_function(opcodes.RINT, np.rint, np.rint)
define_function(opcodes.SIGN, np.sign, np.sign)
define_function(opcodes.ERF, math.erf, math.erf)
define_function(opcodes.ERFC, math.erfc, math.erfc)
define_function(opcodes.EXP2, np.exp2, np.exp2)
define_function(opcodes.CBRT, np.cbrt, np.cbrt)
define_function(opcodes.RADIANS, math.radians, math.radians, np.radians)
define_function(opcodes.DEG2RAD, np.deg2rad, np.deg2rad)
define_function(opcodes.DEGREES, math.degrees, math.degrees, np.degrees)
define_function(opcodes.RAD2DEG, np.rad2deg, np.rad2deg)
define_function(opcodes.SQUARE, njit(lambda a: a * a), np.square)


@njit
def root_of(x):
    """Return a square root; give up at zero, where a norm has a slope, which is found by what it is made of."""
    if x._value == 0.0 and x._address >= 0:
        give_up()
    return unary_row(opcodes.SQRT, math.sqrt(x._value), x._address)


@define("x", math.sqrt, np.sqrt, plain=lambda x: np.sqrt if isinstance(x, (types.Array, types.Complex)) else math.sqrt)
def square_root(x: Any) -> Any:
    """As np.sqrt."""
    if isinstance(x, NumberType):
        return lambda x: root_of(x)
    return elementwise("x", [x], root_of_any) if is_numbers(x) else None


@njit
def root_of_any(x):
    """Return the root of an element."""
    return root_of(as_number(x))


def define_function_of_two(opcode: int, plain: Any, *own: Any) -> None:
    """Give functions of two numbers to recording ones, and to the elements of arrays."""
    record = rows_of(opcode, njit(lambda a, b: plain(a, b)))

    def choose(x: Any, y: Any) -> Any:
        if are_recorded(x, y):
            return record(x, y)
        return elementwise("x, y", [x, y], place) if takes_elements(x, y) else None

    find = lambda x, y: own[-1] if isinstance(x, types.Array) or isinstance(y, types.Array) else own[0]
    place = define("x, y", *own, plain=find)(choose)


define_function_of_two(opcodes.ARCTAN2, math.atan2, math.atan2, np.arctan2)
define_function_of_two(opcodes.HYPOT, math.hypot, math.hypot, np.hypot)
define_function_of_two(opcodes.MAXIMUM, np.maximum, np.maximum)
define_function_of_two(opcodes.MINIMUM, np.minimum, np.minimum)
define_function_of_two(opcodes.FMAX, np.fmax, np.fmax)
define_function_of_two(opcodes.FMIN, np.fmin, np.fmin)
define_function_of_two(opcodes.LOGADDEXP, np.logaddexp, np.logaddexp)
define_function_of_two(opcodes.COPYSIGN, math.copysign, math.copysign, np.copysign)
define_function_of_two(opcodes.FMOD, math.fmod, math.fmod, np.fmod)


def define_operation(own: Any, text: str) -> None:
    """Give a function of NumPy's that is an operator to recording operands."""

    def choose(x: Any, y: Any) -> Any:
        recorded = any(isinstance(kind, (NumberType, TruthType, RecordingArray)) for kind in (x, y))
        return written("operate", "x, y", [f"return {text}"]) if recorded else None

    define("x, y", own)(choose)


OPERATIONS: tuple[tuple[Any, str], ...] = (
    (np.add, "x + y"), (np.subtract, "x - y"), (np.multiply, "x * y"), (np.power, "x**y"),
    (np.greater, "x > y"), (np.less, "x < y"), (np.greater_equal, "x >= y"), (np.less_equal, "x <= y"),
    (np.equal, "x == y"), (np.not_equal, "x != y"), (np.logical_and, "x & y"), (np.logical_or, "x | y"),
)  # fmt: skip
for _ufunc, _text in OPERATIONS:
    define_operation(_ufunc, _text)


@define("x, y", math.pow)
def power_of(x: Any, y: Any) -> Any:
    """As math.pow."""
    return (lambda x, y: x**y) if are_recorded(x, y) else None


@define("x", np.logical_not)
def negation(x: Any) -> Any:
    """As np.logical_not."""
    return (lambda x: ~x) if isinstance(x, TruthType) or is_truths(x) else None


def define_question(opcode: int, plain: Any, *own: Any) -> None:
    """Give a question about a number to recording ones."""
    compute = njit(lambda a: plain(a))

    def choose(x: Any) -> Any:
        if isinstance(x, NumberType):

            def ask(x):
                truth = compute(x._value)
                return make_truth(truth, unary_row(opcode, 1.0 if truth else 0.0, x._address)._address)

            return ask
        return elementwise("x", [x], place, truths=True) if is_numbers(x) else None

    place = define("x", *own, plain=lambda x: own[-1])(choose)


define_question(opcodes.ISNAN, math.isnan, math.isnan, np.isnan)
define_question(opcodes.ISFINITE, math.isfinite, math.isfinite, np.isfinite)
define_question(opcodes.ISINF, math.isinf, math.isinf, np.isinf)


@njit
def larger(x, y):
    """Return the second number if it is larger."""
    return as_number(y) if y > x else as_number(x)


@njit
def smaller(x, y):
    """Return the second number if it is smaller."""
    return as_number(y) if y < x else as_number(x)


def define_extreme(own: Any, of_two: Any) -> None:
    """Give max or min of two or three numbers to recording ones: a comparison decides, and is guarded."""

    @define("x, y=None, z=None", own)
    def _choose(x: Any, y: Any, z: Any) -> Any:
        if is_absent(z):
            return (lambda x, y=None, z=None: of_two(x, y)) if are_recorded(x, y) else None
        return (lambda x, y=None, z=None: of_two(of_two(as_number(x), y), z)) if are_recorded(x, y, z) else None


define_extreme(max, larger)
define_extreme(min, smaller)


@define("x", float, np.float64, types.float64)
def to_float(x: Any) -> Any:
    """As float."""
    return (lambda x: as_number(x)) if isinstance(x, (NumberType, TruthType)) else None


to_float.is_float = True


@njit
def guarded_whole(opcode, value, address):
    """Return a number that has been rounded as an integer, and guard it."""
    if not abs(value) < 9.2e18:
        raise OverflowError("the number does not fit into 64 bits: Numba's result is not defined")
    if address >= 0:
        append_guard(GUARD_VALUE, constant(value), append_result(opcode, address, 0))
    return int(value)


@define("x", int, math.trunc)
def to_whole(x: Any) -> Any:
    """As int: the number that is left of a cut-off one is guarded."""
    if isinstance(x, NumberType):
        return lambda x: guarded_whole(opcodes.TRUNC, np.trunc(x._value), x._address)
    return None


def define_rounding(opcode: int, rounding: Any, own: Any) -> None:
    """Give a function that rounds to an integer to recording numbers."""

    @define("x", own)
    def _choose(x: Any) -> Any:
        if isinstance(x, NumberType):
            return lambda x: guarded_whole(opcode, rounding(x._value), x._address)
        return None


define_rounding(opcodes.FLOOR, np.floor, math.floor)
define_rounding(opcodes.CEIL, np.ceil, math.ceil)


# ---------------------------------------------------------------- choices


@define("condition, x=None, y=None", np.where)
def where(condition: Any, x: Any, y: Any) -> Any:
    """As np.where."""
    if is_absent(x) and is_absent(y):
        return (lambda condition, x=None, y=None: np.nonzero(settled(condition))) if is_truths(condition) else None
    kinds = [condition, x, y]
    if isinstance(condition, (TruthType, types.Boolean)) and are_recorded_or_plain(x, y):
        if any(isinstance(kind, (TruthType, NumberType)) for kind in kinds):
            return lambda condition, x=None, y=None: chosen(condition, x, y)
        return None
    if not takes_elements(*kinds) or not (is_truths(condition) or is_truth(condition)):
        return None
    run = elementwise("condition, x, y", kinds, chosen)
    return written("select", "condition, x=None, y=None", ["return run(condition, x, y)"], run=njit(run))


def is_truth(kind: Any) -> bool:
    """Whether a type is that of truth values."""
    return isinstance(kind, (TruthType, types.Boolean)) or is_plain(kind, types.Boolean)


def are_recorded_or_plain(*kinds: Any) -> bool:
    """Whether types are those of numbers."""
    return all(isinstance(kind, NUMBERS) for kind in kinds)


@define("x, low, high", np.clip)
def clip(x: Any, low: Any, high: Any) -> Any:
    """As np.clip."""
    most, least = SAME[np.minimum], SAME[np.maximum]
    bounds = (low, high)
    recorded = any(isinstance(kind, NumberType) or is_numbers(kind) for kind in (x, *bounds))
    if not recorded or is_absent(low) or is_absent(high):
        return None
    return lambda x, low, high: most(least(x, low), high)


# ---------------------------------------------------------------- arrays that are made


def define_maker(own: Any, value: float) -> None:
    """Give a function that makes an array of equal numbers: it may be filled with recording ones."""

    @define("shape, dtype=None", own)
    def _choose(shape: Any, dtype: Any) -> Any:
        return (lambda shape, dtype=None: make_full(shape, value)) if is_double(dtype) else None


def define_like(own: Any, value: float) -> None:
    """Give a function that makes an array of the shape of another."""

    @define("x, dtype=None", own)
    def _choose(x: Any, dtype: Any) -> Any:
        doubles = is_numbers(x) or is_plain(x, types.Float)
        if doubles and is_double(dtype):
            return lambda x, dtype=None: make_full(x.shape, value)
        if isinstance(x, (NumberType, TruthType, RecordingArray)):
            raise errors.TypingError("arrays of other numbers are recorded by Python")
        return None


define_maker(np.zeros, 0.0)
define_maker(np.empty, 0.0)
define_maker(np.ones, 1.0)
define_like(np.zeros_like, 0.0)
define_like(np.empty_like, 0.0)
define_like(np.ones_like, 1.0)


def copy_method(x):
    """As x.copy(): in whose place the method of any object is called by this name."""
    return x.copy()


@define("x", copy_method, np.copy, plain=lambda x: njit(copy_method))
def copied(x: Any) -> Any:
    """As np.copy: a copy of plain numbers may be filled with recording ones."""
    if not is_plain(x, types.Float) or not x.ndim:
        return None

    def copy(x):
        found = make_full(x.shape, 0.0)
        found[:] = x
        return found

    return copy


METHODS = {"copy": copied}  # methods that are called as functions


@define("shape, value, dtype=None", np.full)
def filled(shape: Any, value: Any, dtype: Any) -> Any:
    """As np.full."""
    wide = isinstance(value, (NumberType, types.Float)) or not is_absent(dtype)
    return (lambda shape, value, dtype=None: make_full(shape, value)) if wide and is_double(dtype) else None


@define("x, value, dtype=None", np.full_like)
def filled_like(x: Any, value: Any, dtype: Any) -> Any:
    """As np.full_like."""
    if (is_numbers(x) or is_plain(x, types.Float)) and is_double(dtype):
        return lambda x, value, dtype=None: make_full(x.shape, value)
    return None


@njit
def make_identity(n, m, k):
    """Return a matrix of ones on a diagonal, else zeros."""
    found = make_full((n, m), 0.0)
    for i in range(n):
        if 0 <= i + k < m:
            found[i, i + k] = 1.0
    return found


@define("N, M=None, k=0, dtype=None", np.eye)
def eye(N: Any, M: Any, k: Any, dtype: Any) -> Any:
    """As np.eye."""
    if not is_double(dtype):
        return None
    if is_absent(M):
        return lambda N, M=None, k=0, dtype=None: make_identity(N, N, k)
    return lambda N, M=None, k=0, dtype=None: make_identity(N, M, k)


@define("n, dtype=None", np.identity)
def identity(n: Any, dtype: Any) -> Any:
    """As np.identity."""
    return (lambda n, dtype=None: make_identity(n, n, 0)) if is_double(dtype) else None


def depth(kind: Any) -> int:
    """Return how deep lists or tuples of numbers are nested; -1 for what is none, or has parts of several kinds."""
    if isinstance(kind, NUMBERS):
        return 0
    if isinstance(kind, types.List):
        below = [depth(kind.dtype)]
    elif isinstance(kind, TUPLE) and kind.count:
        below = [depth(part) for part in kind.types]
    else:
        return -1
    return below[0] + 1 if below[0] >= 0 and len(set(below)) == 1 else -1


def leaves(kind: Any) -> list[Any]:
    """Return the types of the numbers in lists or tuples."""
    if isinstance(kind, types.List):
        return leaves(kind.dtype)
    return [leaf for part in kind.types for leaf in leaves(part)] if isinstance(kind, TUPLE) else [kind]


@define("values, dtype=None", np.array)
def array_of(values: Any, dtype: Any) -> Any:
    """As np.array: of numbers in lists or tuples."""
    if isinstance(values, RecordingArray):
        return (lambda values, dtype=None: values.copy()) if is_double(dtype) else None
    axes = depth(values)
    wide = axes > 0 and any(isinstance(leaf, (NumberType, types.Float)) for leaf in leaves(values))
    if not 1 <= axes <= 2 or not wide or not is_double(dtype):
        return None
    shape = "len(values), " if axes == 1 else "len(values), len(values[0]) if len(values) else 0"
    lines = [f"found = make_full(({shape}), 0.0)"]
    lines += part_lines(values) if axes == 1 else row_lines(values)
    return written("gather", "values, dtype=None", [*lines, "return found"], make_full=make_full)


def part_lines(kind: Any, name: str = "values", target: str = "found[{}]") -> list[str]:
    """Return lines that copy the parts of a list or a tuple."""
    if isinstance(kind, TUPLE) and not isinstance(kind, types.UniTuple):
        return [f"{target.format(k)} = {name}[{k}]" for k in range(kind.count)]
    return [f"for k in range(len({name})):", f"    {target.format('k')} = {name}[k]"]


def row_lines(kind: Any) -> list[str]:
    """Return lines that copy the rows of a list or a tuple of these."""
    check = "if len(row) != found.shape[1]:", "    raise ValueError('the rows have different lengths')"
    if isinstance(kind, TUPLE) and not isinstance(kind, types.UniTuple):
        lines = []
        for r, part in enumerate(kind.types):
            lines += [f"row{r} = values[{r}]", *(line.replace("row", f"row{r}") for line in check)]
            lines += part_lines(part, f"row{r}", f"found[{r}, {{}}]")
        return lines
    lines = ["row = values[r]", *check, *part_lines(kind.dtype, "row", "found[r, {}]")]
    return ["for r in range(len(values)):", *(f"    {line}" for line in lines)]


@define("x, dtype=None", np.asarray)
def as_array(x: Any, dtype: Any) -> Any:
    """As np.asarray."""
    return (lambda x, dtype=None: x) if is_numbers(x) and is_double(dtype) else None


@define("x", np.ascontiguousarray)
def contiguous(x: Any) -> Any:
    """As np.ascontiguousarray."""
    if not isinstance(x, RecordingArray):
        return None
    return (lambda x: x) if x.layout == "C" else (lambda x: x.copy())
