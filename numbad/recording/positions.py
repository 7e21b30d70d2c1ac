"""Positions that are not the same in all examples of a batch: np.argmax(x), np.argsort(x), np.searchsorted(grid, x).

While `vmap` records an example, such a function gives a `Position`: whole numbers of the tape. As an index of a
recording array they are looked up there, for each example its own, and nothing is guarded. Where plain integers are
wanted (`int(k)`, `range(k)`, `plain[k]`), it becomes what it is in this example, guarded, as it is without `vmap`; then
examples that differ are recorded for themselves.
"""

from __future__ import annotations

import math
import operator
import sys
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any, NoReturn

import numpy as np

from numbad.errors import message
from numbad.ops.definition import ABSENT
from numbad.ops.host import array_op
from numbad.recording import decisions
from numbad.recording.active import Active, Given, given_among, involves
from numbad.recording.arrays import Array, as_array
from numbad.recording.decisions import DECISIONS, decide
from numbad.recording.operands import as_active, to_active
from numbad.recording.recorder import Recorder
from numbad.recording.unfilled import follows_integers, unfilled

Shape = tuple[int, ...]
SORTING = ("argsort", "argpartition")
PLACING = ("searchsorted", "digitize")
KINDS = ("argmax", "argmin", *SORTING, *PLACING)


def places_shape(*shapes: Shape, decision: str, settings: dict[str, Any]) -> list[Shape]:
    """The shape of what a function of positions gives."""
    if decision in PLACING:
        return [shapes[1 if decision == "searchsorted" else 0]]
    shape, axis = shapes[0], settings.get("axis", -1)
    if decision in SORTING:
        return [(math.prod(shape),) if axis is None else shape]
    axes = range(len(shape)) if axis is None else [range(len(shape))[axis]]
    if settings.get("keepdims"):
        return [tuple(1 if k in axes else n for k, n in enumerate(shape))]
    return [tuple(n for k, n in enumerate(shape) if k not in axes)]


@array_op(shapes=places_shape)
def places(*operands: Any, decision: str, settings: dict[str, Any]) -> Any:
    """What a function of positions gives, as numbers."""
    return np.asarray(DECISIONS[decision](*operands, **settings), operands[0].dtype)


@places.for_stacks
def places_of_stack(*operands: Any, decision: str, settings: dict[str, Any]) -> Any:
    """The same of a stack: along another axis, or in one search where all look into the same numbers."""
    one, *others = operands
    if decision in PLACING:
        sorted_first = decision == "searchsorted"
        table, points = (one, others[0]) if sorted_first else (others[0], one)
        given = (table[0], points) if sorted_first else (points, table[0])
        if table.strides[0] == 0:
            return np.asarray(DECISIONS[decision](*given, **settings), one.dtype)
        rows = [DECISIONS[decision](*(part[k] for part in operands), **settings) for k in range(len(one))]
        return np.stack(rows).astype(one.dtype)
    axis = settings.get("axis", -1)
    if axis is None:
        wanted = places_shape(one.shape[1:], decision=decision, settings=settings)[0]
        flat = one.reshape(len(one), -1)
        found = DECISIONS[decision](flat, **{**settings, "axis": 1})
        return np.asarray(found, one.dtype).reshape(len(one), *wanted)
    moved = {**settings, "axis": axis + 1 if axis >= 0 else axis}
    return np.asarray(DECISIONS[decision](one, **moved), one.dtype)


@places.vjp
def places_vjp(bars: Any, results: Any, operands: Any, **settings: Any) -> tuple[None, ...]:
    """Positions have no derivative."""
    return (None,) * len(operands)


def flat_places(index: np.ndarray, count: int) -> np.ndarray:
    """Return places in a stack of tables, one behind the other, from the numbers of each table's rows."""
    whole = np.clip(np.nan_to_num(index), 0, count - 1).astype(np.intp)
    stack = whole.reshape(-1, whole.shape[-1])
    return stack + count * np.arange(len(stack))[:, None]


@array_op(shapes=lambda table, index: [(*index, table[-1])], stacks=True)
def pick_rows(table: Any, index: Any) -> Any:
    """The rows of a table that whole numbers name; numbers do not move."""
    place = flat_places(index, table.shape[-2])
    return table.reshape(-1, table.shape[-1])[place].reshape(*index.shape, table.shape[-1])


@pick_rows.moving_vjp
def pick_rows_vjp(bars: Any, results: Any, operands: Any) -> Any:
    return put_rows(bars[0], operands[1], count=np.shape(operands[0])[-2]), None


@array_op(shapes=lambda rows, index, count: [(*index[:-1], count, rows[-1])], stacks=True)
def put_rows(rows: Any, index: Any, count: int) -> Any:
    """A table to which rows have been added where whole numbers say; nothing elsewhere."""
    place, width = flat_places(index, count), rows.shape[-1]
    size = len(place) * count * width
    cells = (place.reshape(-1, 1) * width + np.arange(width)).reshape(-1)
    found = np.bincount(cells, rows.reshape(-1), size).astype(rows.dtype)
    found[np.bincount(cells, minlength=size) == 0] = ABSENT
    return found.reshape(*index.shape[:-1], count, width)


@put_rows.moving_vjp
def put_rows_vjp(bars: Any, results: Any, operands: Any, count: int) -> Any:
    return pick_rows(bars[0], operands[1]), None


class Position(Given):
    """Whole numbers of the tape that stand for plain ones.

    Attributes
    ----------
    numbers : Active
        They as numbers of the tape.
    low, high : int
        Between which they lie, whatever the example.
    """

    __slots__ = ("high", "low", "numbers")
    __array_priority__ = 999.0

    def __init__(self, numbers: Active, low: int, high: int) -> None:
        self.numbers, self.low, self.high = numbers, low, high

    @property  # type: ignore[misc]
    def __class__(self) -> Any:
        """The class of what it stands for."""
        return np.ndarray if self.shape else np.int64

    @property
    def shape(self) -> Shape:
        """The shape."""
        found: Shape = self.numbers.shape
        return found

    @property
    def dtype(self) -> np.dtype:  # type: ignore[override]
        """The dtype of what it stands for."""
        return np.dtype(np.intp)

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.shape)

    @property
    def size(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)

    def settle(self) -> Any:
        """Return the plain integers of this example, on which its path depends; an array cannot be written to."""
        found = decide("whole_numbers", self.numbers, keywords={"dtype": np.dtype(np.intp)})
        if not self.shape:
            return found[()]
        found.flags.writeable = False
        return found

    def enter(self, recorder: Recorder) -> Any:
        """Return them as numbers of a recording, which have the precision that integers of NumPy's ask for."""
        recorder.promote(self.dtype)
        return as_active(recorder, self.numbers)

    def apply(self, function: Callable[..., Any], *arguments: Any, **keywords: Any) -> Any:
        """Return what a function gives for plain integers; those of a plain array are looked up in each example."""
        if function is operator.getitem and type(arguments[0]) is np.ndarray and arguments[0].dtype.kind == "f":
            return self.look_up(as_array(as_active(self.numbers.recorder, arguments[0])), arguments[1])
        if function in (np.asarray, np.asanyarray, np.array) and arguments[0] is self and not keywords:
            if arguments[1:] in ((), (int,), (np.intp,)):
                return self
        return function(*settled(arguments), **settled(keywords))

    # ------------------------------------------------------------ NumPy's protocols

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **keywords: Any) -> Any:
        if method == "at" or keywords.get("out") is not None:
            refuse_writing()
        if involves((*inputs, *keywords.values())):
            recorder = self.numbers.recorder
            entered = [part.enter(recorder) if type(part) is Position else part for part in inputs]
            first = next(part for part in entered if isinstance(part, Active))
            return first.__array_ufunc__(ufunc, method, *entered, **keywords)
        if method == "__call__" and not keywords and len(inputs) == 2:
            found = combined(ufunc, *inputs)
            if found is not None:
                return found
            if ufunc in COMPARING and None not in map(bounds_of, inputs):
                return ufunc(*(part.numbers if type(part) is Position else part for part in inputs))
        function = ufunc if method == "__call__" else getattr(ufunc, method)
        return self.apply(function, *inputs, **keywords)

    def __array_function__(self, function: Any, kinds: Any, arguments: Any, keywords: Any) -> Any:
        first = next((part for part in (*arguments, *keywords.values()) if isinstance(part, Active)), None)
        if function in CHANGING or type(keywords.get("out")) is Position:
            refuse_writing()
        if first is not None:
            return first.__array_function__(function, kinds, arguments, keywords)
        if function is np.astype and np.dtype(arguments[1]).kind in "iu":
            return self
        if function in MOVING and not any(type(part) is Position for part in (*arguments[1:], *keywords.values())):
            return Position(function(self.numbers, *arguments[1:], **keywords), self.low, self.high)
        if function is np.take and not keywords.keys() - {"axis"} and keywords.get("axis", 0) == 0:
            table = np.asarray(arguments[0]) if keywords else np.ravel(arguments[0])
            if len(arguments) == 2 and type(arguments[1]) is Position and table.dtype.kind == "f":
                return self.apply(operator.getitem, table, arguments[1])
        if function is np.clip and len(arguments) == 3 and not keywords and None not in arguments[1:]:
            return np.minimum(np.maximum(*arguments[:2]), arguments[2])
        if getattr(function, "__name__", "") in KINDS:
            return function(*(p.numbers if type(p) is Position else p for p in arguments), **keywords)
        return self.apply(function, *arguments, **keywords)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        self.ask_for_hooks(sys._getframe(1), True)
        return np.array(self.settle(), dtype) if copy else np.asarray(self.settle(), dtype)

    def ask_for_hooks(self, frame: FrameType, array: bool) -> None:
        """Have the function recorded again where its code can be made to look up in plain arrays (see `knowns`)."""
        key = frame.f_code, frame.f_lasti, array
        if key not in ASKED and follows_integers(frame):
            if len(ASKED) >= MOST_ASKED:
                ASKED.clear()
            ASKED.add(key)  # once: where hooks do not help, they are not tried again
            raise unfilled(message("positions are read as plain integers", "write np.take(table, positions)"))

    def __getattr__(self, name: str) -> Any:
        if name == "T":
            return Position(as_array(self.numbers).T, self.low, self.high)
        if name in ("reshape", "ravel", "flatten", "swapaxes", "transpose"):
            return lambda *given: Position(getattr(as_array(self.numbers), name)(*given), self.low, self.high)
        if name in WRITING:
            refuse_writing()
        if name.startswith("__"):
            raise AttributeError(name)
        return getattr(self.settle(), name)

    # ------------------------------------------------------------ what Python asks

    def __getitem__(self, key: Any) -> Any:
        if involves(key if type(key) is tuple else (key,)) or given_among(key) is not None or type(key) is bool:
            return self.settle()[settled(key)]
        return Position(as_array(self.numbers)[key], self.low, self.high)

    def __len__(self) -> int:
        return len(self.settle()) if not self.shape else self.shape[0]

    def __iter__(self) -> Iterator[Any]:
        return iter([self[k] for k in range(len(self))])

    def __bool__(self) -> bool:
        return bool(self.settle())

    def __contains__(self, value: Any) -> bool:
        return value in self.settle()

    def __setitem__(self, key: Any, value: Any) -> None:
        refuse_writing()

    def __index__(self) -> int:
        if not self.shape:
            self.ask_for_hooks(sys._getframe(1), False)
        return operator.index(self.settle())

    def __hash__(self) -> int:
        return hash(self.settle())

    def __repr__(self) -> str:
        return repr(self.settle())

    def __str__(self) -> str:
        return str(self.settle())

    def __format__(self, specification: str) -> str:
        return format(self.settle(), specification)

    def __copy__(self) -> Position:
        return self

    def __deepcopy__(self, memory: Any) -> Position:
        return self

    # ------------------------------------------------------------ places that vary

    def look_up(self, array: Array, key: Any) -> Any:
        """Return the elements of a recording array that an index with positions names."""
        found = flat_index(key, array.shape)
        if found is None:
            return array[settled(key)]
        flat, shape, used = found
        rest = array.shape[used:]
        table = array.reshape((math.prod(array.shape[:used]), math.prod(rest)))
        rows = pick_rows(table, as_array(flat).reshape((math.prod(shape),))).reshape((*shape, *rest))
        result = rows if rows.shape else rows.item()
        return result != 0.0 if array.boolean else result

    def add_up(self, recorder: Recorder, addend: Any, key: Any, shape: Shape) -> Any:
        """Return zeros to which numbers have been added where an index with positions says."""
        found = flat_index(key, shape)
        values = as_active(recorder, addend)
        if found is None:
            plain = np.arange(math.prod(shape)).reshape(shape)[settled(key)]
            one = np.zeros((math.prod(shape), plain.size))
            one[plain.reshape(-1), np.arange(plain.size)] = 1.0
            return (one @ np.broadcast_to(values, plain.shape).reshape(-1)).reshape(shape)
        flat, named, used = found
        rest = shape[used:]
        rows = np.broadcast_to(values, (*named, *rest)).reshape((math.prod(named), math.prod(rest)))
        table = put_rows(rows, as_array(flat).reshape((math.prod(named),)), count=math.prod(shape[:used]))
        return table.reshape(shape) + 0.0


ASKED: set[tuple[Any, int, bool]] = set()
MOST_ASKED = 1000  # places in code
CHANGING = {np.copyto, np.put, np.place, np.putmask, np.fill_diagonal, np.put_along_axis}
WRITING = set("sort fill put partition resize setflags setfield itemset byteswap view data ctypes flat base".split())
MOVING = {np.reshape, np.ravel, np.transpose, np.flip, np.expand_dims, np.squeeze, np.swapaxes, np.moveaxis, np.copy}


def refuse_writing() -> NoReturn:
    """Refuse to write to positions: the function runs again then, with plain integers (see `vmap`)."""
    raise TypeError("positions that vary between examples are written to")


def flat_index(key: Any, shape: Shape) -> tuple[Any, Shape, int] | None:
    """Return the flat places that an index of whole numbers names, its shape, and how many axes it says something of.

    None for an index that says anything else, and one that may name what is not there.
    """
    parts = list(key) if type(key) is tuple else [key]
    while parts and (parts[-1] is Ellipsis or (type(parts[-1]) is slice and parts[-1] == slice(None))):
        parts.pop()
    if len(parts) > len(shape) or math.prod(shape) >= 1 << 24 or 0 in shape:
        return None
    flat: Any = 0
    for part, length in zip(parts, shape, strict=False):
        place = within(part, length)
        if place is None:
            return None
        flat = flat * length + place
    return flat, np.shape(flat), len(parts)


def within(part: Any, length: int) -> Any:
    """Return one part of an index as numbers from 0 on; None if it is not of whole numbers, or may lie outside."""
    if type(part) is Position:
        if not all_inside([part], length):
            return None
        numbers: Any = part.numbers
        return numbers if part.low >= 0 else np.where(numbers < 0.0, numbers + length, numbers)
    if type(part) is list and part and all(type(one) is Position and not one.shape for one in part):
        return np.stack([within(one, length) for one in part]) if all_inside(part, length) else None
    if isinstance(part, Active) or not isinstance(part, (int, np.integer, np.ndarray, list)) or isinstance(part, bool):
        return None
    whole = np.asarray(part)
    if whole.dtype.kind not in "iu" or not whole.size or whole.min() < -length or whole.max() >= length:
        return None
    return np.where(whole < 0, whole + length, whole).astype(float)


def all_inside(parts: list[Position], length: int) -> bool:
    """Whether positions name places of an axis, whatever the example."""
    return all(part.low >= -length and part.high < length for part in parts)


def combined(ufunc: Any, one: Any, other: Any) -> Any:
    """Return what positions and plain integers give by some operations, quotients as numbers; None for others."""
    bounds, more = bounds_of(one), bounds_of(other)
    if ufunc not in COMBINED or bounds is None or more is None:
        return None
    if ufunc is np.multiply and min(*bounds, *more) < 0:
        return None
    numbers: Any = ufunc(*(part.numbers if type(part) is Position else part for part in (one, other)))
    if ufunc is np.divide:
        numbers.recorder.promote(np.dtype(np.intp))
        return numbers
    low, high = (bounds[0] - more[1], bounds[1] - more[0]) if ufunc is np.subtract else map(ufunc, bounds, more)
    return Position(numbers, int(low), int(high))


def bounds_of(part: Any) -> tuple[int, int] | None:
    """Return between which bounds whole numbers lie; None for other numbers."""
    if type(part) is Position:
        return part.low, part.high
    if isinstance(part, bool) or not isinstance(part, (int, np.integer, np.ndarray)):
        return None
    whole = np.asarray(part)
    return (int(whole.min()), int(whole.max())) if whole.dtype.kind in "iu" and whole.size else None


COMBINED = {np.add, np.subtract, np.multiply, np.divide, np.minimum, np.maximum}
COMPARING = {np.less, np.less_equal, np.greater, np.greater_equal, np.equal, np.not_equal}


def settled(value: Any) -> Any:
    """Return arguments with plain integers in place of positions."""
    kind = type(value)
    if kind is Position:
        return value.settle()
    if kind is tuple or kind is list:
        return kind([settled(part) for part in value])
    if kind is dict:
        return {name: settled(part) for name, part in value.items()}
    if kind is slice:
        return slice(*(settled(part) for part in (value.start, value.stop, value.step)))
    return value


def record_position(recorder: Recorder, name: str, operands: Any, settings: dict[str, Any]) -> Position | None:
    """Record what a function of positions gives, where examples may differ; None where it is a guarded decision."""
    if not recorder.positions or name not in KINDS or settings.get("sorter") is not None:
        return None
    arrays = [as_array(to_active(part, recorder)) for part in operands]
    count = arrays[0 if name != "digitize" else 1].size
    if not arrays[0].size or not count or count >= 1 << 24 or any(part.boolean for part in arrays):
        return None
    numbers = places(*arrays, decision=name, settings=settings)
    recorder.positions += 1
    axis = settings.get("axis", -1)
    most = count if name in PLACING else (count if axis is None else arrays[0].shape[axis]) - 1
    return Position(numbers if numbers.shape else numbers.item(), 0, most)


decisions.placing.append(record_position)


# ---------------------------------------------------------------- operators

BINARY = "add sub mul truediv floordiv mod pow matmul and or xor lshift rshift".split()
COMPARISONS = "lt le gt ge eq ne".split()
UFUNCS = {"add": np.add, "sub": np.subtract, "mul": np.multiply, "truediv": np.divide}


def binary(name: str, reflected: bool) -> Callable[..., Any]:
    """Make an operator of two operands."""
    function = getattr(operator, f"__{name}__")

    def method(self: Position, other: Any) -> Any:
        if isinstance(other, Active):
            return NotImplemented
        pair = (other, self) if reflected else (self, other)
        found = combined(UFUNCS[name], *pair) if name in UFUNCS else None
        return self.apply(function, *pair) if found is None else found

    return method


def comparison(name: str) -> Callable[..., Any]:
    """Make a comparison: a truth value of the tape."""
    function = getattr(operator, f"__{name}__")

    def method(self: Position, other: Any) -> Any:
        if bounds_of(other) is None and not isinstance(other, Active):
            return self.apply(function, self, other)
        return function(self.numbers, other.numbers if type(other) is Position else other)

    return method


def in_place(name: str) -> Callable[..., Any]:
    """Make an augmented assignment, which writes to an array, and gives a name to another number."""
    function = getattr(operator, f"__{name}__")

    def method(self: Position, other: Any) -> Any:
        if self.shape:
            refuse_writing()
        return function(self, other)

    return method


for _name in BINARY:
    setattr(Position, f"__i{_name}__", in_place(_name))
    setattr(Position, f"__{_name}__", binary(_name, False))
    setattr(Position, f"__r{_name}__", binary(_name, True))
for _name in COMPARISONS:
    setattr(Position, f"__{_name}__", comparison(_name))
for _name, _convert in {"int": int, "float": float, "complex": complex, "abs": abs, "neg": operator.neg}.items():
    setattr(Position, f"__{_name}__", lambda self, convert=_convert: convert(self.settle()))
