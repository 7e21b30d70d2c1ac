"""Integers and truth values among the arguments of `jit`, and what is computed from them: steps of a prologue.

A `Known` stands for an array or a number of NumPy's. Operators, functions and methods of NumPy make others of it. Where
it meets a recording value it becomes a block of the arena that each run fills anew; as an index of a recording array it
is looked up in each run. Where plain values are wanted (`int(k)`, `range(k)`, `plain[labels]`), they are what they are
now, and guarded. It does not change: `jit` records a function that writes to it once more, with the arrays themselves.
"""

from __future__ import annotations

import functools
import operator
import sys
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

import numpy as np

from numbad.errors import message
from numbad.ops.places import pick, put
from numbad.recording import strictness
from numbad.recording.active import Active, Given, given_among, involves
from numbad.recording.arrays import Array, RowStorage, Storage, make_block
from numbad.recording.conversion import is_printed
from numbad.recording.decisions import concrete_truth
from numbad.recording.inputs import Leaf
from numbad.recording.operands import as_active
from numbad.recording.prologue import Index, Nest, Place, Prologue
from numbad.recording.recorder import Recorder, refuse, refuse_lastingly
from numbad.recording.scalars import make_scalar
from numbad.recording.unfilled import follows_integers, unfilled

WRITING = set("sort fill put partition resize setflags setfield byteswap".split())
PLAIN_RESULTS = set("item tolist tobytes tofile dump dumps to_device view getfield".split())
VIEWS = {name: operator.attrgetter(name) for name in ("T", "mT", "real", "imag")}
STRUCTURE = {"itemsize", "nbytes", "strides", "device"}
BY_STRUCTURE = {np.shape, np.ndim, np.size, np.iscomplexobj, np.isrealobj, np.result_type, np.can_cast, np.common_type}
CHANGING = {np.copyto, np.put, np.place, np.putmask, np.fill_diagonal, np.put_along_axis}
CHANGING |= {np.save, np.savetxt, np.savez, np.savez_compressed}
SIMPLE = (bool, int, float, complex, str, type(None), type(Ellipsis), np.generic, np.dtype, type)
MOST_NUMBERS = 64  # of an array that a loop goes through one by one; of longer ones it takes plain numbers, guarded


class Known(Given):
    """A value that depends on integer and boolean inputs alone.

    Attributes
    ----------
    prologue : Prologue
    number : int
        Which of its values this is.
    """

    __slots__ = ("number", "prologue")
    __array_priority__ = 999.0

    def __init__(self, prologue: Prologue, number: int) -> None:
        self.prologue, self.number = prologue, number

    @property
    def value(self) -> Any:
        """The array or number of this run."""
        return self.prologue.value(self.number)

    @property  # type: ignore[misc]
    def __class__(self) -> Any:
        """The class of what it stands for: programs ask whether labels are an array."""
        return type(self.value)

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape: that of each run of this path."""
        found: tuple[int, ...] = self.value.shape
        return found

    @property
    def dtype(self) -> np.dtype:
        """The dtype."""
        return self.value.dtype

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.shape)

    @property
    def size(self) -> int:
        """Number of elements."""
        return int(self.value.size)

    def settle(self) -> Any:
        """Return the plain value, on which the path depends."""
        return self.prologue.guard(self.number)

    def enter(self, recorder: Recorder) -> Any:
        """Return the value as one of a recording: an input that has no derivative."""
        prologue, value = self.prologue, self.value
        if not prologue.takes_part(recorder) or value.dtype.kind not in "fiub":
            return as_active(recorder, self.settle())
        recorder.promote(value.dtype)
        key = self.number, recorder.dtype
        found = prologue.blocks.get(key)
        if found is None:
            leaf = Leaf(recorder, np.array(value, recorder.dtype), recorder.dtype)
            prologue.entries.append((self.number, leaf))
            found = prologue.blocks[key] = leaf.active
        boolean = value.dtype.kind == "b"
        if not value.shape:
            return make_scalar(recorder, found.address, boolean)
        if found.first is not None:
            return make_block(recorder, found.first, value.shape, boolean)
        return Array(recorder, found.storage, value.shape, found.offset, found.pitches, boolean)

    # ------------------------------------------------------------ steps

    def apply(self, function: Callable[..., Any], *arguments: Any, **keywords: Any) -> Any:
        """Return what a function gives for arguments without recording values, as a step of the prologue."""
        prologue = self.prologue
        if not prologue.open:
            return function(*settled(arguments), **settled(keywords))
        try:
            given = tuple([template(part, prologue) for part in arguments])
            options = {name: template(part, prologue) for name, part in keywords.items()}
        except Unsteady:
            return function(*settled(arguments), **settled(keywords))
        if strictness.asked():  # each run would have to ask as the program does at this place
            refuse("errors of what is computed from integers are asked for", "ask for those of recording values")
        found, number = prologue.append(function, given, options)
        if number is None:
            settled(arguments), settled(keywords)
            return found
        if isinstance(found, (np.ndarray, np.generic)):
            return Known(prologue, number)
        if isinstance(found, (tuple, list)):
            parts = [Known(prologue, number + k) for k in range(len(found))]
            return type(found)(*parts) if hasattr(found, "_fields") else type(found)(parts)
        prologue.guard(number)
        return found

    def call(self, name: str, *arguments: Any, **keywords: Any) -> Any:
        """Return what a method of NumPy's arrays gives."""
        if name in WRITING:
            refuse_writing()
        if involves((*arguments, *keywords.values())):
            return getattr(np, name)(self, *arguments, **keywords)
        if name in PLAIN_RESULTS or keywords.get("out") is not None:
            return getattr(read_only(self), name)(*settled(arguments), **settled(keywords))
        return self.apply(getattr(type(self.value), name), self, *arguments, **keywords)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or not hasattr(type(self.value), name):
            raise AttributeError(f"{type(self.value).__name__!r} object has no attribute {name!r}")
        if name in STRUCTURE:
            return getattr(self.value, name)
        if name in VIEWS:
            return self.apply(VIEWS[name], self)
        if callable(getattr(type(self.value), name)):
            return functools.partial(self.call, name)
        return getattr(read_only(self), name)

    # ------------------------------------------------------------ NumPy's protocols

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **keywords: Any) -> Any:
        out = keywords.get("out")
        recorder = recorder_among((inputs, out))
        if recorder is not None:
            if method == "__call__":
                inputs = tuple([part.enter(recorder) if type(part) is Known else part for part in inputs])
            first = next((part for part in inputs if isinstance(part, Active)), None)
            first = self.enter(recorder) if first is None else first
            return first.__array_ufunc__(ufunc, method, *inputs, **keywords)
        if method == "at" and type(inputs[0]) is Known:
            refuse_writing()
        function = ufunc if method == "__call__" else getattr(ufunc, method)
        if method == "at" or out is not None or not is_compiled(ufunc):
            if any(type(part) is Known for part in out or ()):
                refuse_writing()
            return function(*settled(inputs), **settled(keywords))
        return self.apply(function, *inputs, **keywords)

    def __array_function__(self, function: Any, kinds: Any, arguments: Any, keywords: Any) -> Any:
        first = active_among((arguments, keywords))
        if first is not None:
            return first.__array_function__(function, kinds, arguments, keywords)
        if function in BY_STRUCTURE:
            return function(*plain(arguments), **plain(keywords))
        out = keywords.get("out")
        if function in CHANGING or out is not None:
            if type(out) is Known or (function in CHANGING and arguments and type(arguments[0]) is Known):
                refuse_writing()
            return function(*settled(arguments), **settled(keywords))
        return self.apply(function, *arguments, **keywords)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        self.ask_for_hooks(sys._getframe(1), True)
        return np.array(self.settle(), dtype) if copy else np.asarray(read_only(self), dtype)

    def ask_for_hooks(self, frame: FrameType, array: bool) -> None:
        """Have the function recorded again where its code can be made to follow what is asked for in a frame.

        NumPy asks for a number first, whose errors it does not pass on, and then for an `array`.
        """
        prologue, key = self.prologue, (frame.f_code, frame.f_lasti, array)
        if not prologue.open or self.value.dtype.kind not in "iub" or key in prologue.asked:
            return
        if follows_integers(frame):
            prologue.asked.add(key)  # once: where hooks do not help, they are not tried again
            raise unfilled(
                message("integers that jit was given are read as plain ones", "write np.take(table, labels)")
            )

    # ------------------------------------------------------------ what Python asks

    def __bool__(self) -> bool:
        if self.size != 1:
            return bool(self.value)  # raises, or warns, as NumPy does
        return bool(self.apply(np.not_equal, self, 0).settle()) if self.prologue.open else bool(self.value)

    def __len__(self) -> int:
        return len(self.value)

    def __iter__(self) -> Iterator[Any]:
        if len(self) > MOST_NUMBERS:
            return iter(self.settle())
        return iter([self[k] for k in range(len(self))])

    def __contains__(self, value: Any) -> bool:
        return bool((self == value).any())

    def __getitem__(self, key: Any) -> Any:
        return self.apply(operator.getitem, self, decided(key))

    def __setitem__(self, key: Any, value: Any) -> None:
        refuse_writing()

    def __hash__(self) -> int:
        return hash(self.settle())

    def __repr__(self) -> str:
        return repr(self.value if is_printed() else self.settle())

    def __str__(self) -> str:
        return str(self.value if is_printed() else self.settle())

    def __format__(self, specification: str) -> str:
        return format(self.value if is_printed() else self.settle(), specification)

    def __copy__(self) -> Known:
        return self

    def __deepcopy__(self, memory: Any) -> Known:
        return self

    def __reduce__(self) -> Any:
        return self.settle().__reduce__()


def begin_prologue(inputs: list[np.ndarray]) -> Prologue:
    """Return a prologue that stands in for inputs by known values."""
    prologue = Prologue(inputs)
    prologue.stand_in = functools.partial(Known, prologue)
    return prologue


class Unsteady(Exception):
    """An argument of a step may be another in the next run, or hold what is."""


def refuse_writing() -> None:
    """Refuse to change what later runs compute anew."""
    refuse_lastingly("integers or truth values that jit was given are written to", "write to a copy of them")


# ---------------------------------------------------------------- operators

CONVERSIONS: dict[str, Callable[..., Any]] = {"int": int, "float": float, "complex": complex, "round": round}
BINARY = "add sub mul truediv floordiv mod pow matmul and or xor lshift rshift divmod".split()
COMPARISONS = "lt le gt ge eq ne".split()
UNARY = "neg pos abs invert".split()


def function_of(name: str) -> Callable[..., Any]:
    """Return the function of an operator."""
    found: Callable[..., Any] = divmod if name == "divmod" else getattr(operator, f"__{name}__")
    return found


def joins(other: Any) -> bool:
    """Whether an operand takes part in a step: others get their own operator's turn."""
    return isinstance(other, (*SIMPLE, np.ndarray, list, tuple, Given)) and not involves((other,))


def binary(function: Callable[..., Any], reflected: bool = False) -> Callable[..., Any]:
    """Make an operator of two operands."""

    def method(self: Known, other: Any) -> Any:
        if isinstance(other, Active) or not joins(other):
            return NotImplemented
        return self.apply(function, other, self) if reflected else self.apply(function, self, other)

    return method


def in_place(function: Callable[..., Any]) -> Callable[..., Any]:
    """Make an augmented assignment, which writes to an array, and gives a name to another number."""

    def method(self: Known, other: Any) -> Any:
        if isinstance(self.value, np.ndarray):
            refuse_writing()
        return function(self, other) if joins(other) else NotImplemented

    return method


def unary(function: Callable[..., Any]) -> Callable[..., Any]:
    """Make an operator of one operand."""
    return lambda self: self.apply(function, self)


def conversion(function: Callable[..., Any]) -> Callable[..., Any]:
    """Make a conversion to a plain number."""
    return lambda self, *digits: function(self.settle(), *digits)


def as_index(self: Known) -> int:
    """Return the plain number; in x[k] it may be followed."""
    if not self.shape:
        self.ask_for_hooks(sys._getframe(1), False)
    return operator.index(self.settle())


for _name in BINARY:
    _function = function_of(_name)
    setattr(Known, f"__{_name}__", binary(_function))
    setattr(Known, f"__r{_name}__", binary(_function, True))
    if _name != "divmod":
        setattr(Known, f"__i{_name}__", in_place(_function))
for _name in COMPARISONS:
    setattr(Known, f"__{_name}__", binary(function_of(_name)))
for _name in UNARY:
    setattr(Known, f"__{_name}__", unary(function_of(_name)))
for _name, _convert in CONVERSIONS.items():
    setattr(Known, f"__{_name}__", conversion(_convert))
Known.__index__ = as_index  # type: ignore[attr-defined]


# ---------------------------------------------------------------- arguments


def template(value: Any, prologue: Prologue) -> Any:
    """Return an argument of a step as later runs find it: a copy, with places for values of the prologue."""
    kind = type(value)
    if kind is Known:
        if value.prologue is not prologue:
            raise Unsteady
        return Place(value.number)
    if kind is np.ndarray and value.dtype != object:
        return value.copy()
    if kind is tuple:
        return tuple([template(part, prologue) for part in value])
    if kind is list:
        return Nest(list, tuple([template(part, prologue) for part in value]))
    if kind is slice:
        return Nest(slice, tuple([template(part, prologue) for part in (value.start, value.stop, value.step)]))
    if kind is range or isinstance(value, SIMPLE):
        return value
    raise Unsteady


def settled(value: Any) -> Any:
    """Return arguments with plain values, guarded, in place of known ones."""
    return replaced(value, Known.settle)


def plain(value: Any) -> Any:
    """Return arguments with plain values in place of known ones, where shapes and dtypes are all that is looked at."""
    return replaced(value, lambda known: known.value)


def replaced(value: Any, how: Callable[[Known], Any]) -> Any:
    """Return arguments with something else in place of known values."""
    kind = type(value)
    if kind is Known:
        return how(value)
    if kind is tuple or kind is list:
        return kind([replaced(part, how) for part in value])
    if kind is dict:
        return {name: replaced(part, how) for name, part in value.items()}
    if kind is slice:
        return slice(*(replaced(part, how) for part in (value.start, value.stop, value.step)))
    return value


def read_only(known: Known) -> Any:
    """Return the plain value, guarded; an array that cannot be written to while the function is recorded."""
    value = known.settle()
    if known.prologue.open and isinstance(value, np.ndarray):
        value = value.view()
        value.flags.writeable = False
    return value


def is_compiled(ufunc: Any) -> bool:
    """Whether a ufunc runs no Python of the user's."""
    return type(ufunc) is np.ufunc and not ufunc.__name__.endswith(" (vectorized)")


def active_among(value: Any) -> Any:
    """Return the first recording value among nested arguments; None if there is none."""
    if isinstance(value, Active):
        return value
    if type(value) is Known:
        return None
    parts: Any
    if isinstance(value, np.ndarray):
        parts = value.reshape(-1).tolist() if value.dtype == object else ()
    elif isinstance(value, dict):
        parts = value.values()
    else:
        parts = value if isinstance(value, (tuple, list)) else ()
    return next((found for part in parts if (found := active_among(part)) is not None), None)


def recorder_among(value: Any) -> Recorder | None:
    """Return the recorder of the recording values among nested arguments; None if there is none."""
    found = active_among(value)
    return None if found is None else found.recorder


# ---------------------------------------------------------------- indices


def decided(key: Any) -> Any:
    """Return an index with recording truth values replaced by what they are now, guarded; ends of slices, too."""
    if type(key) is tuple:
        return tuple([decided(part) for part in key])
    if isinstance(key, Active):
        if not key.boolean:
            refuse("a recording value is used as an index", "write x[int(i)]: it gives the number and guards it")
        return concrete_truth(key)
    return settled(key) if type(key) is slice else key


def look_up(known: Known, array: Array, key: Any) -> Any:
    """Return the elements of a recording array that an index with known values names, of which this is the first."""
    parts = list(decided(key)) if type(key) is tuple else [decided(key)]
    prologue = known.prologue
    parts = [found for part in parts for found in positions(part)]
    view = is_view(parts, array.ndim)
    if not prologue.takes_part(array.recorder) or (view and not may_copy(prologue, parts)):
        return array[settled(tuple(parts))]
    index = Index(prologue, template(full(parts, array.ndim), prologue), array.shape)
    result = pick(array, prologue.tag_in(array.recorder), key=index, shape=array.shape)
    result = result if result.shape else result.item()
    if view:
        prologue.copied = True
        freeze(array)
        freeze(result)
    return result != 0.0 if array.boolean else result


def may_copy(prologue: Prologue, parts: list[Any]) -> bool:
    """Whether a view at places that vary may be a copy: nobody can tell, unless one of both is assigned to."""
    return prologue.copies and any(type(part) is Known and part.dtype.kind != "b" for part in parts)


def freeze(array: Array) -> None:
    """Refuse assignments to an array from now on, which a view of it would show."""
    if type(array.storage) is Storage:
        array.storage.__class__ = RowStorage


def positions(part: Any) -> tuple[Any, ...]:
    """Return a part of an index, a mask as the positions that it names: how many there are makes the path."""
    if type(part) is list:
        known = given_among(part)
        part = np.asarray(part) if known is None else known.apply(np.array, part)
    if type(part) is Known and part.dtype.kind == "b" and part.shape:
        return tuple(part.nonzero())
    return (part,)


def is_view(parts: list[Any], axes: int) -> bool:
    """Whether an index is a basic one, of slices and numbers, which gives a view unless it names a single element."""
    arrays = [part for part in parts if isinstance(part, (np.ndarray, list)) and np.ndim(part)]
    if arrays:
        return False
    truths = any(isinstance(part, (bool, np.bool_)) for part in parts)
    return (
        truths or len(parts) != axes or any(part is None or part is Ellipsis or type(part) is slice for part in parts)
    )


def full(parts: list[Any], axes: int) -> tuple[Any, ...]:
    """Return an index that says something of each axis, so that lanes may lie behind them."""
    used = sum(part.ndim if is_mask(part) else part is not None and part is not Ellipsis for part in parts)
    if used > axes:
        raise IndexError(f"too many indices for array: array is {axes}-dimensional, but {used} were indexed")
    rest = [slice(None)] * (axes - used)
    place = next((k for k, part in enumerate(parts) if part is Ellipsis), len(parts))
    return (*parts[:place], *rest, *parts[place + 1 :])


def is_mask(part: Any) -> bool:
    """Whether a part of an index is a plain mask."""
    return isinstance(part, np.ndarray) and part.dtype.kind == "b" and type(part) is not Known


def add_up(known: Known, recorder: Recorder, addend: Any, key: Any, shape: tuple[int, ...]) -> Any:
    """Return zeros to which numbers have been added where an index with known values says; places may repeat."""
    prologue = known.prologue
    parts = [found for part in (key if type(key) is tuple else (key,)) for found in positions(decided(part))]
    index = Index(prologue, template(full(parts, len(shape)), prologue), shape)
    values = as_active(recorder, addend)
    values = np.broadcast_to(values, index.shape) if values.shape != index.shape else values
    return put(values, prologue.tag_in(recorder), key=index, shape=shape)


Known.look_up, Known.add_up = look_up, add_up
