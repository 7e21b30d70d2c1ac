"""Plain arrays that are filled with recording values: found, and recorded as what they become.

NumPy has no protocol for `y = np.zeros(n)` followed by `y[i] = x`: the array is plain, and its memory holds numbers.
The assignment raises an `UnfilledError`, and the function is recorded again with hooks in its code (`rewriting`). They
note each plain array that a statement of the user's makes and that nobody else holds yet, and to which of them a
recording value is assigned. Where that array is made, a recording array takes its place from then on: no other name of
it exists at that moment, so all that the program does with it, views and copies included, is done with the recording
one. An array that comes from elsewhere stays plain, and assigning to it remains an error.
"""

from __future__ import annotations

import contextlib
import functools
import operator
import sys
import weakref
from collections.abc import Callable, Iterable, Iterator
from sys import getrefcount
from types import BuiltinFunctionType, CodeType, FrameType, FunctionType
from typing import Any, NamedTuple

import numpy as np

from numbad.limits import SMALL
from numbad.recording.active import Active, given_among, involves
from numbad.recording.arrays import Array, SnapshotStorage, as_array, memory_order, outside
from numbad.recording.blocks import zeros
from numbad.recording.exchange import closure_of, exchanged, functions_with, own_code, root_of
from numbad.recording.matmul import matrix_product
from numbad.recording.operands import constant_array, pack
from numbad.recording.recorder import Recorder, current
from numbad.recording.rewriting import Hook, Hooks, Name, Rewritten, plain_code, rewritten
from numbad.recording.scalars import Scalar
from numbad.recording.unfilled import (
    WRITING,
    array_of_method,
    chain,
    is_users,
    refuse_unfilled,
    state,
    unfilled,
    unfilled_in,
)
from numbad.settings import config

MOST_RECORDINGS = 50  # of one call: each finds another array, or another function

SEQUENCES = (list, tuple)
METHODS = {
    "dot",
    "clip",
    "searchsorted",
    "choose",
    "take",
}  # of plain arrays: NumPy asks nobody who records

plans: dict[int, Plan] = {}  # by the code of the function that is recorded
replacements: dict[int, tuple[Any, Any]] = {}  # by identity, functions of NumPy and Python, and ours
preparations: list[Callable[[], dict[int, tuple[Any, Any]]]] = []  # modules above give these


# ---------------------------------------------------------------- hooks


class Made(Hook):
    """Behind a call or an operation: a plain array that nobody else holds may become a recording one."""

    __slots__ = ()

    def __or__(self, value: Any) -> Any:
        if type(value) is np.ndarray:
            recorder = current()
            if recorder is not None and getrefcount(value) == alone().value:
                return received(self, value, recorder)
        elif type(value) in SEQUENCES:
            recorder = current()
            if recorder is not None and getrefcount(value) == alone().value:
                return received_parts(self, value, recorder)
        elif type(value) is BuiltinFunctionType and current() is not None and id(value) in replacements:
            self.needed = True
            return replacements[id(value)][1]
        return value


class Loaded(Hook):
    """Behind what loads a function: ours take recording values, too.

    A class, such as float, is exchanged where it is called, for it may be a dtype elsewhere.
    """

    __slots__ = ()

    def __or__(self, value: Any) -> Any:
        if current() is None:
            return value
        if self.name in WRITING and state.looking is not None:
            state.looking.writing = array_of_method(value)
        if self.name in METHODS and (array := array_of_method(value)) is not None:
            self.needed = True
            return functools.partial(call_method, array, self.name)
        found = replacements.get(id(value))
        if found is not None and (self.called or not isinstance(value, type)):
            self.needed = True
            return found[1]
        return value


def call_method(array: np.ndarray, name: str, *arguments: Any, **keywords: Any) -> Any:
    """Call a method of a plain array; that of recording values is the function of NumPy with the same name."""
    if name == "dot" and len(arguments) == 1 and not keywords and type(arguments[0]) is Array:
        found = matrix_product(arguments[0].recorder, array, arguments[0])
        if found is not None:
            return found
    if involves(arguments) or involves(keywords.values()) or given_among(arguments) is not None:
        return getattr(np, name)(array, *arguments, **keywords)
    return getattr(array, name)(*arguments, **keywords)


class Stored(Hook):
    """In the place of an assignment: tells the array that a recording value is assigned to."""

    __slots__ = ()

    def __or__(self, parts: Any) -> None:
        value, array, *places = parts
        del parts
        target = array.base if type(array) is np.flatiter else array
        if isinstance(target, np.ndarray) and type(target) is not Array and current() is not None:
            if target.dtype.kind == "f" and involves((value,)):
                value = numbers_of(value, target)
        array[slice(*places) if len(places) == 2 else places[0]] = value


class Read(Hook):
    """In the place of x[key]: of a plain array, what integers name that may be others in the next run, varies, too."""

    __slots__ = ()

    def __or__(self, parts: Any) -> Any:
        array, key = parts
        del parts
        if type(array) is np.ndarray and current() is not None and (known := given_among(key)) is not None:
            self.needed = True
            return known.apply(operator.getitem, array, key)
        return array[key]


HOOKS = Hooks(Made, Loaded, Stored, Read)


def numbers_of(value: Any, target: np.ndarray) -> Any:
    """Return what is assigned to a plain array as numbers, if that will be a recording one; else raise.

    The recording will be made again, and goes on to find the other arrays that are filled.
    """
    looking, recorder = state.looking, current()
    if looking is None or recorder is None or not looking.want(target):
        refuse_unfilled("the array of this assignment", target)
    if recorder.unfilled is None:
        unfilled("a plain array is filled", target)
    return plain_numbers(value)


def plain_numbers(value: Any) -> Any:
    """Return recording values, or sequences and arrays that hold some, as the numbers that they are now."""
    if isinstance(value, Active):
        return value.value()
    if isinstance(value, (list, tuple)):
        return [plain_numbers(part) for part in value]
    if type(value) is np.ndarray and value.dtype.char == "O":
        return np.array(plain_numbers(value.tolist()), float)
    return value


class References(NamedTuple):
    """How many references there are, within a hook, to a value that nobody holds, its base, and a part of it."""

    value: int
    base: int
    part: int


class Measure(Hook):
    """Counts references to a view, which nobody holds, of an array that nobody else holds."""

    __slots__ = ("found",)

    def __or__(self, value: Any) -> Any:
        self.found = References(getrefcount(value), references_of_base(value), references_of_part([value[:0]], 0))
        return value


@functools.cache
def alone() -> References:
    """Return the numbers of references that this Python has where nobody else holds a value."""

    def sample() -> Any:
        return np.arange(4).reshape(2, 2)

    code = Rewritten(sample.__code__, Hooks(Measure, Loaded, Stored, Read))
    FunctionType(code.full, sample.__globals__)()
    last: Any = code.hooks[-1]
    found: References = last.found
    return found


def references_of_base(value: Any) -> int:
    """Return how many references there are to the array that another is a view of."""
    base = value.base
    return getrefcount(base)


def references_of_part(values: Any, k: int) -> int:
    """Return how many references there are to a part of a sequence."""
    part = values[k]
    return getrefcount(part)


def is_fresh(value: np.ndarray) -> bool:
    """Whether nobody but an array that nobody holds can see its memory."""
    if not value.flags.writeable or not value.dtype.isnative:
        return False
    base = value.base
    if base is None:
        return bool(value.flags.owndata)
    del base
    known = references_of_base(value) == alone().base
    root: Any = value.base
    return known and type(root) is np.ndarray and root.base is None and bool(root.flags.owndata)


def received(hook: Hook, value: np.ndarray, recorder: Recorder) -> Any:
    """Return what a statement has made, as a recording array where it is to be one."""
    if value.dtype.char == "O":
        return packed(hook, value, recorder)
    if value.dtype.char not in "fd" or not is_fresh(value):
        return value
    looking = state.looking
    needed = hook.needed or (looking is not None and looking.everything)  # read once: other threads may set it
    if needed and value.dtype.itemsize >= recorder.dtype.itemsize:
        return recording(value, recorder)
    if looking is not None:
        looking.note(value, hook, needed)
    return value


def received_parts(hook: Hook, values: Any, recorder: Recorder) -> Any:
    """Return a sequence that a statement has made, with recording arrays among its parts where they are to be."""
    changed: dict[int, Any] = {}
    for k in range(len(values)):
        if type(values[k]) is np.ndarray and references_of_part(values, k) == alone().part:
            found = received(hook, values[k], recorder)
            if found is not values[k]:
                changed[k] = found
    return type(values)(changed.get(k, part) for k, part in enumerate(values)) if changed else values


def recording(values: np.ndarray, recorder: Recorder) -> Array:
    """Return a plain array that nobody else holds as a recording one, to whose elements values can be assigned."""
    recorder.promote(values.dtype)
    order = None if values.flags.c_contiguous else memory_order(values.shape, (values,))
    if order is not None:
        return recording(values.transpose(order), recorder).transpose(np.argsort(order))
    if not values.any() and not np.signbit(values).any():
        return as_array(zeros(recorder, values.shape))
    if not values.ndim:
        return as_array(pack(recorder, values.astype(object)))
    values = np.ascontiguousarray(values, recorder.dtype)
    if values.size <= SMALL:
        return constant_array(recorder, values)
    return Array(recorder, *outside(recorder.refer(values), values))


def packed(hook: Hook, value: np.ndarray, recorder: Recorder) -> Any:
    """Return an array of objects that holds recording numbers as a recording array; as it is if it holds others."""
    parts = value.reshape(-1).tolist()
    if not any(isinstance(part, Scalar) for part in parts):
        return value
    if not all(isinstance(part, (Scalar, float, int, np.generic)) for part in parts):
        if (looking := state.looking) is not None:
            looking.mixed = True
        return value
    hook.needed = True
    found = as_array(pack(recorder, value))
    if not value.flags.writeable:  # NumPy's would be another name of the array that it was made of
        found.storage.__class__ = SnapshotStorage
    return found


# ---------------------------------------------------------------- looking for the arrays


class Looking:
    """What is known while a function is recorded again.

    Attributes
    ----------
    notes : dict
        Of the plain arrays that the user's statements have made, by their identities: the array, the hook, and whether
        the hook was needed already, in which case the array stays plain for another reason.
    everything : bool
        Whether all fresh arrays become recording ones: where it cannot be told which one is assigned to.
    progress : bool
        Whether another array has been found that is to be a recording one.
    mixed : bool
        Whether an array of objects holds recording values and others.
    writing : ndarray or None
        The array of which a method that writes has been looked up last.
    """

    def __init__(self) -> None:
        self.notes: dict[int, tuple[weakref.ref[np.ndarray], Hook, bool]] = {}
        self.pairs: list[tuple[FunctionType, Rewritten]] = []
        self.codes: set[CodeType] = set()  # equal ones are one: text that is executed is compiled anew each time
        self.seen: dict[int, CodeType | None] = {}
        self.writing: np.ndarray | None = None
        self.found: set[Hook] = set()  # of this run
        self.everything = self.progress = self.mixed = self.objects = False

    def note(self, value: np.ndarray, hook: Hook, needed: bool) -> None:
        """Remember where an array was made."""
        self.notes[id(value)] = weakref.ref(value), hook, needed
        if value.base is not None:
            self.notes[id(value.base)] = weakref.ref(value.base), hook, needed  # type: ignore[arg-type]

    def want(self, target: Any) -> bool:
        """Note that an array, or what it is a view of, is to be a recording one; return whether it will be."""
        while isinstance(target, np.ndarray):
            known = self.notes.get(id(target))
            if known is not None and known[0]() is target:
                _, hook, needed = known
                if not needed:  # another thread may have found meanwhile that it is
                    hook.needed = self.progress = True
                    self.found.add(hook)
                return hook in self.found
            target = target.base
        return False

    def add(self, codes: Iterable[CodeType], name: Name | None = None) -> bool:
        """Put hooks into more of the user's code; return whether there was any.

        An array that is given a `name` there is guessed to be wanted.
        """
        fresh = [code for code in codes if code not in self.codes]
        self.codes.update(fresh)
        found = []
        for function in functions_with(fresh):
            with contextlib.suppress(Exception):  # code of a kind that cannot be rewritten stays as it is
                found.append((function, rewritten(own_code(function), HOOKS)))
        self.pairs += found
        for part in (part for _, code in found for part in code.every()):
            for hook, given in part.makers:
                hook.needed = hook.needed or (name is not None and given == name)
        return bool(found)

    def goes_on(self, error: BaseException) -> bool:
        """Whether to record once more after an error; something else is tried then."""
        found = unfilled_in(error)
        if found is None:
            return False
        if self.progress:
            return True
        if self.add(code for code in self.seen.values() if code is not None):
            return True
        if found.number:
            return False
        if found.target is None and not self.everything:
            self.everything = True
            return True
        if found.objects and not self.objects:
            self.objects = True
            return True
        return False

    @contextlib.contextmanager
    def watching(self) -> Iterator[None]:
        """Note which of the user's functions run."""
        before, outer = sys.getprofile(), state.looking
        self.notes.clear()
        self.found.clear()
        self.progress = False
        state.looking = self
        sys.setprofile(self.watch)
        try:
            yield
        finally:
            sys.setprofile(before)
            state.looking = outer

    def watch(self, frame: FrameType, event: str, _: Any) -> None:
        """Note the code of a function of the user's that is called."""
        if event == "call" and id(frame.f_code) not in self.seen:
            self.seen[id(frame.f_code)] = plain_code(frame.f_code) if is_users(frame) else None


# ---------------------------------------------------------------- recording again


class Plan:
    """Which functions get hooks whenever a function is recorded."""

    def __init__(self, looking: Looking) -> None:
        self.functions: list[tuple[weakref.ref[FunctionType], Rewritten]] = []
        self.codes: dict[int, Rewritten] = {}
        for function, code in looking.pairs:
            code.forget()
            code.mixed = code.mixed or looking.mixed
            if code.mixed or any(hook.needed for part in code.every() for hook in part.hooks):
                self.functions.append((weakref.ref(function), code))
                self.codes[id(own_code(function))] = code

    def pairs(self, root: FunctionType) -> list[tuple[FunctionType, Rewritten]]:
        """Return the functions to be given hooks, and their codes."""
        found = []
        for kept, code in self.functions:
            function = kept()
            if function is not None and code.original() is own_code(function):
                found.append((function, code))
        known = [function for function, _ in found]
        for function in closure_of(root) if root.__closure__ else (root,):
            fresh = self.codes.get(id(own_code(function)))
            if fresh is not None and function not in known and fresh.original() is own_code(function):
                found.append((function, fresh))
        return found


def plan_of(f: Any) -> tuple[Plan, FunctionType] | None:
    """Return what is known of a function from earlier recordings."""
    root = root_of(f)
    plan = None if root is None else plans.get(id(own_code(root)))
    return None if plan is None or root is None else (plan, root)


def keep_plan(f: Any, looking: Looking) -> None:
    """Remember what a function needed, as long as its code lives."""
    root = root_of(f)
    if root is not None:
        code = own_code(root)
        if id(code) not in plans:
            weakref.finalize(code, plans.pop, id(code), None)
        plans[id(code)] = Plan(looking)


def record_planned(f: Any, once: Callable[..., Any], *arguments: Any) -> Any:
    """Record a function with the hooks that it is known to need; more than once where it turns out to need others."""
    known = plan_of(f) if plans else None
    try:
        if known is None:
            return once(*arguments)
        with exchanged(known[0].pairs(known[1]), looking=False):
            return once(*arguments)
    except Exception as error:
        if not repeats(error):
            raise
        codes = codes_of(error)
    return record_again(codes, f, once, *arguments)


def repeats(error: BaseException) -> bool:
    """Whether a function that raised an error is to be recorded again."""
    found = unfilled_in(error)
    state.lost = None
    return found is not None and config.record_again and current() is None


def record_again(codes: Codes, f: Any, once: Callable[..., Any], *arguments: Any) -> Any:
    """Record a function again and again until all arrays that it fills are recording ones.

    `codes` tells which of the user's functions ran when the first array was met.
    """
    for prepare in preparations:
        replacements.update(prepare())
    preparations.clear()
    looking = Looking()
    known = plan_of(f)
    if known is not None:
        codes.codes.extend(own_code(function) for function, _ in known[0].pairs(known[1]))
    looking.add(codes.codes, codes.name)
    for _ in range(MOST_RECORDINGS):
        try:
            with exchanged(looking.pairs, looking=True), looking.watching():
                result = once(*arguments)
        except Exception as error:
            if not looking.goes_on(error):
                raise
            continue
        keep_plan(f, looking)
        return result
    return once(*arguments)


class Codes(NamedTuple):
    """The user's functions that ran when a plain array was to be filled, and what the last one calls the array."""

    codes: list[CodeType]
    name: Name | None


def codes_of(error: BaseException) -> Codes:
    """Return the user's functions in the traceback of an error, and of those that it comes from."""
    found = []
    for part in chain(error):
        trace = part.__traceback__
        while trace is not None:
            code = trace.tb_frame.f_code
            if is_users(trace.tb_frame):
                found.append(plain_code(code))  # another thread may have given the function hooks
            trace = trace.tb_next
    known = unfilled_in(error)
    return Codes(found, None if known is None else known.name)
