"""A call of a kernel as one row of the tape, whose derivative is its compiled adjoint.

Where the adjoint itself is recorded it is one row, too, whose derivatives are tangents of both ways. Derivatives of the
third order, and what cannot be told so, are those of the kernel that is recorded row by row.
"""

from __future__ import annotations

import contextlib
import math
import time
from dataclasses import dataclass
from typing import Any

import numpy as np
from numba import typeof, types
from numba.core.dispatcher import Dispatcher

from numbad.errors import NumbadError, message
from numbad.geometry import contiguous
from numbad.kernels.memory import give_back, take_memory
from numbad.numba_api.adjoint.activity import Facts, find_activity, find_types
from numbad.numba_api.adjoint.keeping import load, whole_text
from numbad.numba_api.adjoint.reading import Constant, read
from numbad.numba_api.adjoint.tree import Flat, For, NotAdjoint, While, walk
from numbad.numba_api.noticing import TRANSFORMS
from numbad.numba_api.twins import Constants
from numbad.ops.host import as_tuple
from numbad.recording.active import Active
from numbad.recording.arrays import Array, as_array, make_block
from numbad.recording.hostcalls import HostCall, alone, filled, record_call
from numbad.recording.recorder import current
from numbad.recording.scalars import Scalar

REMEMBERED = 1 << 16  # numbers: to compare so many takes some ten microseconds
COMPARED = 5e8  # numbers that are copied and compared in a second, and some more
MOST_WAITING = 1 << 27  # bytes of what is kept that wait for the way back
FIRST = 1024  # numbers that are kept before memory grows


@dataclass
class Adjoint:
    """What has been compiled for one choice of types of a kernel's arguments.

    Attributes
    ----------
    given : list of int
        The positions of the arguments that are numbers or arrays.
    wanted : list of int
        Those that are differentiated.
    outputs : list of str
        The results, and then the arguments that are written to.
    changed : list of int
        The positions of those.
    module : Any
        `ahead` and `back`, and the same `carefully`.
    loops : bool
        Whether the kernel has loops.
    outside : list of Constants
        What the kernel, and what it calls, take from outside.
    sizes : tuple of int
        How many real and whole numbers were kept last.
    """

    flat: Flat
    facts: Facts
    given: list[int]
    wanted: list[int]
    outputs: list[str]
    changed: list[int]
    module: Any
    loops: bool
    outside: list[Constants]
    sizes: tuple[int, int] = (FIRST, FIRST)
    calls: int = 0
    raising: bool = False
    made: Any = None

    def tangents(self) -> Any:
        """Return the module of the tangents of both ways; raise NotAdjoint where they cannot be written."""
        if self.made is None:
            names = dict(zip(self.given, self.flat.parameters, strict=True))
            wanted = [names[k] for k in self.wanted]
            try:
                self.made = load(whole_text(self.flat, self.facts, wanted, self.outputs, self.raising, True))
            except NotAdjoint as error:
                self.made = error
        if isinstance(self.made, NotAdjoint):
            raise self.made
        return self.made

    def has_tangents(self) -> bool:
        """Whether the tangents of both ways can be written."""
        with contextlib.suppress(NotAdjoint):
            return self.tangents() is not None
        return False

    def push(self, given: list[Any], dots: list[Any], carefully: bool, bars: list[Any] | None) -> Pushed:
        """Return the outputs with their tangents, and where cotangents are given those of the arguments, too.

        `bars` are cotangents of the outputs, and then their own tangents. Raises IndexError as `run_ahead` does.
        """
        module = self.tangents()
        ahead, back = (module.ahead_carefully, module.back_carefully) if carefully else (module.ahead, module.back)
        found, memory = self.with_memory(lambda real, whole: ahead(*given, real(), whole(), *dots, real()))
        outputs, state, slopes, moving, reals, dotted, wholes = found
        pulled: tuple[Any, Any] = (), ()
        if bars is not None:
            half = len(bars) // 2
            pulled = back(*state, *bars[:half], reals, wholes, *moving, *bars[half:], dotted)
        for part in memory:
            give_back(part)
        return Pushed(list(outputs), list(slopes), list(pulled[0]), list(pulled[1]))

    def run_ahead(self, given: list[Any], carefully: bool = False) -> Ahead:
        """Run the way forward, with memory that is kept between calls.

        Raises IndexError for an index out of its range.
        """
        function = self.module.ahead_carefully if carefully else self.module.ahead
        (outputs, state, reals, wholes), _ = self.with_memory(lambda real, whole: function(*given, real(), whole()))
        return Ahead(self, carefully, list(outputs), (*state,), (reals, wholes))

    def with_memory(self, run: Any) -> tuple[Any, list[np.ndarray]]:
        """Run a way forward with memory for what it keeps, four times as much where that is not enough."""
        while True:
            memory: list[np.ndarray] = []

            def take(number: int, kind: Any, memory: list[np.ndarray] = memory) -> np.ndarray:
                memory.append(take_memory(number, np.dtype(kind), False))
                return memory[-1]

            real, whole = self.sizes
            try:
                found = run(lambda n=real: take(n, np.float64), lambda n=whole: take(n, np.int64))
            except (MemoryError, OverflowError) as error:
                if isinstance(error, MemoryError) and error.args:  # the system's own
                    raise
                self.sizes = (4 * real, whole) if isinstance(error, MemoryError) else (real, 4 * whole)
                for part in memory:
                    give_back(part)
                continue
            return found, memory

    def is_due(self) -> bool:
        """Whether Numba's own machine code computes the value of this call, and the way forward is compared with it.

        It is so in calls 1, 2, 4, 8, ... The flat kernel is the same program, compiled by the same compiler.
        """
        self.calls += 1
        return self.calls & (self.calls - 1) == 0


@dataclass
class Pushed:
    """Outputs and cotangents of the arguments, and the tangents of both."""

    outputs: list[Any]
    slopes: list[Any]
    bars: list[Any]
    bar_slopes: list[Any]


@dataclass
class Ahead:
    """What the way forward has left: outputs, and what the way back begins with."""

    adjoint: Adjoint
    carefully: bool
    outputs: list[Any]
    state: tuple[Any, ...]
    memory: tuple[np.ndarray, np.ndarray]

    def run_back(self, cotangents: list[Any]) -> tuple[Any, ...]:
        """Return the cotangents of the arguments."""
        module = self.adjoint.module
        function = module.back_carefully if self.carefully else module.back
        found = function(*self.state, *cotangents, *self.memory)
        self.give_back()
        return found  # type: ignore[no-any-return]

    def give_back(self) -> None:
        """Give the memory of what is kept back."""
        for part in self.memory:
            give_back(part)
        self.memory = self.memory[:0]  # type: ignore[assignment]


def adjoint_of(kernel: Any, arguments: tuple[Any, ...], kinds: tuple[Any, ...]) -> Adjoint:
    """Return the adjoint of a kernel for arguments: types of Numba's, constants, and True with those that vary."""
    known = kernel.adjoints.get(kinds)
    if isinstance(known, Adjoint) and any(part.changed() for part in known.outside):
        known = None  # Numba has compiled it anew, or its value is another and the rows tell of it
    if known is None:
        try:
            known = make_adjoint(kernel, arguments, kinds)
        except NotAdjoint as error:
            known = error
        kernel.adjoints[kinds] = known
    if isinstance(known, NotAdjoint):
        raise known
    return known  # type: ignore[no-any-return]


def make_adjoint(kernel: Any, arguments: tuple[Any, ...], kinds: tuple[Any, ...]) -> Adjoint:
    """Write an adjoint and load it."""
    given = [k for k, (kind, _) in enumerate(kinds) if isinstance(kind, types.Type)]
    wanted = [k for k, (_, varies) in enumerate(kinds) if varies]
    found: list[Any] = []
    for (kind, _), value in zip(kinds, arguments, strict=True):
        if isinstance(kind, types.Array):
            found.append(kind.ndim)
        else:
            found.append("number" if isinstance(kind, types.Type) else Constant(value))
    flat = read(kernel.function, found)
    facts = find_types(flat, tuple(kinds[k][0] for k in given))
    names = dict(zip(given, flat.parameters, strict=True))
    find_activity(flat, facts, {names[k] for k in wanted})
    changed = [k for k in given if names[k] in facts.changed]
    if not set(changed) <= set(wanted):
        raise NotAdjoint("an argument that is written to and is not differentiated")
    outputs = list(dict.fromkeys([*flat.results, *(names[k] for k in changed)]))
    if not outputs:
        raise NotAdjoint("a function without results")
    text = whole_text(flat, facts, [names[k] for k in wanted], outputs, kernel.raising)
    outside = [Constants(function) for function in flat.functions]
    loops = any(isinstance(part, (For, While)) for part in walk(flat.body))
    return Adjoint(flat, facts, given, wanted, outputs, changed, load(text), loops, outside, raising=kernel.raising)


class Call:
    """One call of a kernel, as a host row's op.

    Attributes
    ----------
    arguments : list
        As they were given, with None for those that are operands.
    known : list
        Operands, outputs and perhaps the way forward of the last call, if its way back has not been asked for. Who
        takes them off the list has them alone, whatever other threads do.
    """

    carries_absence = takes_last = takes_wanted = True
    raises = takes_lanes = linear = stacks = False
    slopes = ()

    def __init__(self, kernel: Any, adjoint: Adjoint, arguments: list[Any], kinds: list[Any]) -> None:
        self.kernel, self.adjoint, self.arguments, self.kinds = kernel, adjoint, arguments, kinds
        self.name = kernel.function.__name__
        self.vjp_function, self.jvp_function = self.pull, self.push
        self.known: list[tuple[list[Any], list[Any], Ahead | None]] = []
        self.seconds = 0.0  # that the kernel took last

    def with_operands(self, operands: Any) -> list[Any]:
        """Return all arguments with operands in their places, as numbers and arrays that the kernel takes."""
        found = list(self.arguments)
        for k, part in zip(self.adjoint.wanted, operands, strict=True):
            kind = self.kinds[k]
            if isinstance(part, Active):
                found[k] = part.item() if isinstance(part, Array) and not isinstance(kind, types.Array) else part
            elif isinstance(kind, types.Array):
                found[k] = np.ascontiguousarray(part)
            else:
                found[k] = np.float32(part) if kind == types.float32 else float(part)
        return found

    def remember(self, operands: list[Any], found: list[Any], ahead: Ahead | None) -> None:
        """Keep the outputs, and the way forward, for the sweep that follows."""
        size = sum(map(np.size, (*operands, *found)))
        if size > REMEMBERED and size > COMPARED * self.seconds:
            return
        if ahead is not None and sum(part.nbytes for part in ahead.memory) > MOST_WAITING:
            ahead.give_back()
            ahead = None
        self.known.append(([np.array(part) for part in operands], found, ahead))

    def primal(self, *operands: Any, **_: Any) -> list[Any]:
        """Return the outputs: of the way forward, where a way back is expected, or Numba's own."""
        known = self.known[-1:]
        if known and same_operands(operands, known[0][0]):
            return known[0][1]
        with contextlib.suppress(IndexError):
            self.known.pop()  # nobody has asked for its way back
        start = time.perf_counter()
        found, ahead = self.compute(operands, not known)
        self.seconds = time.perf_counter() - start
        self.remember(list(operands), found, ahead)
        return found

    def compute(self, operands: Any, expected: bool) -> tuple[list[Any], Ahead | None]:
        """Compute the outputs; return the way forward too where it is `expected` and has computed them."""
        arguments = self.with_operands(operands)
        if expected and not self.is_loose() and not self.adjoint.is_due():
            with contextlib.suppress(IndexError):
                ahead = self.adjoint.run_ahead([arguments[k] for k in self.adjoint.given])
                return ahead.outputs, ahead
        for k in self.adjoint.changed:
            arguments[k] = arguments[k].copy()
        return self.outputs_of(self.kernel.dispatcher(*arguments), arguments), None

    def outputs_of(self, found: Any, arguments: list[Any]) -> list[Any]:
        """Return results and arguments that are written to, each once."""
        flat = self.adjoint.flat
        results = list(found) if flat.several else [found] if flat.results else []
        by_name = dict(zip(flat.results, results, strict=True))
        names = dict(zip(self.adjoint.given, flat.parameters, strict=True))
        by_name |= {names[k]: arguments[k] for k in self.adjoint.changed}
        return [by_name[name] for name in self.adjoint.outputs]

    def pull(
        self, bars: list[Any], results: list[Any], operands: list[Any], last: bool = False, **_: Any
    ) -> tuple[Any, ...]:
        """Return the cotangents of the operands."""
        if any(isinstance(part, Active) for part in (*bars, *operands)):
            return self.record_pull(bars, operands)
        given = self.given_of(operands)
        cotangents = list(map(plain_number, bars))
        try:
            found = self.run_back(given, cotangents, results, operands)
            if found is not None and not all(is_certain(part, last) for part in found):
                found = self.adjoint.run_ahead(given, True).run_back(cotangents)
        except IndexError:  # the rows tell whether it is the user's
            found = None
        if found is None:
            return tuple(TRANSFORMS["vjp"](self.rows, *map(as_float, operands))[1](tuple(bars)))
        return found

    def run_back(
        self, given: list[Any], cotangents: list[Any], results: list[Any], operands: list[Any]
    ) -> tuple[Any, ...] | None:
        """Return the cotangents of the operands; None where the way forward has not computed the results."""
        ahead = None
        with contextlib.suppress(IndexError):
            before, _, ahead = self.known.pop()
            ahead = ahead if same_operands(operands, before) else None
        if ahead is None:
            ahead = self.adjoint.run_ahead(given)
            if not self.agrees(ahead.outputs, results):
                ahead.give_back()
                return None
        return ahead.run_back(cotangents)

    def is_loose(self) -> bool:
        """Whether Numba's own machine code sums in another order than the way forward."""
        return bool(self.kernel.loose or self.adjoint.flat.loose)

    def agrees(self, found: Any, results: list[Any]) -> bool:
        """Whether the way forward computes what Numba's own machine code has."""
        pairs = list(zip(found, results, strict=True))
        if self.is_loose():
            return all(np.shape(a) == np.shape(b) and np.allclose(a, b, 1e-6, 0.0, equal_nan=True) for a, b in pairs)
        return all(np.array_equal(one, other, equal_nan=True) for one, other in pairs)

    def given_of(self, operands: Any) -> list[Any]:
        """Return the numbers and arrays that the compiled functions take."""
        arguments = self.with_operands(operands)
        return [arguments[k] for k in self.adjoint.given]

    def record_pull(self, bars: list[Any], operands: list[Any]) -> tuple[Any, ...]:
        """Record the cotangents of the operands: as one row, where its tangents can be written."""
        recorder = current()
        if recorder is None or not self.adjoint.has_tangents():
            return tuple(TRANSFORMS["vjp"](self.rows, *map(as_float, operands))[1](tuple(bars)))
        shapes = [np.shape(part) for part in (*operands, *bars)]
        call = HostCall(Pullback(self, len(operands)), {}, shapes, shapes[: len(operands)])
        return as_tuple(record_call(recorder, call, (*operands, *bars)))

    def push(self, operands: list[Any], dots: list[Any], results: list[Any], **_: Any) -> Any:
        """Return the tangents of the outputs."""
        tangents = filled_up(operands, dots)
        if not any(isinstance(part, Active) for part in (*operands, *tangents)):
            found = self.push_compiled(operands, tangents, None)
            if found is not None:
                return found.slopes
        elif self.adjoint.has_tangents() and (recorder := current()) is not None:
            return record_push(recorder, self, operands, tangents, results)
        return list(TRANSFORMS["jvp"](self.rows, tuple(map(as_float, operands)), tangents)[1])

    def push_compiled(self, operands: Any, dots: list[Any], bars: list[Any] | None) -> Pushed | None:
        """Return tangents by the compiled ways; None where the rows have to tell.

        Before that, Numba's own machine code and the way forward have been compared as for any other call.
        """
        given, slopes = self.given_of(operands), list(map(plain_number, dots))
        cotangents = None if bars is None else list(map(plain_number, bars))
        results = self.primal(*operands)
        try:
            for carefully in (False, True):
                found = self.adjoint.push(given, slopes, carefully, cotangents)
                if not self.agrees(found.outputs, results):
                    return None
                if all(is_certain(part, False) for part in (*found.slopes, *found.bars, *found.bar_slopes)):
                    break
        except (IndexError, NotAdjoint):
            return None
        return found

    def rows(self, *operands: Any) -> tuple[Any, ...]:
        """Record the kernel row by row; return the outputs."""
        arguments = self.with_operands(operands)
        for k in self.adjoint.changed:
            arguments[k] = arguments[k].copy()
        if not any(isinstance(part, Active) for part in operands):
            return tuple(self.outputs_of(self.kernel.dispatcher(*arguments), arguments))
        return tuple(self.outputs_of(self.kernel.run_rows(tuple(arguments)), arguments))

    def __call__(self, *operands: Any, **_: Any) -> Any:
        """Apply the row again, to other operands."""
        recorder = current()
        if recorder is None or not any(isinstance(part, Active) for part in operands):
            return self.primal(*operands)
        shapes = [np.shape(part) for part in self.primal(*[plain_value(part) for part in operands])]
        return record_call(recorder, HostCall(self, {}, [np.shape(part) for part in operands], shapes), operands)


class Pullback:
    """The cotangents of a kernel's operands, as a host row's op of operands and cotangents of the outputs.

    Its tangents are those of the way back, and its cotangents too: along w, the second derivatives are symmetric.
    """

    carries_absence = takes_wanted = True
    raises = takes_lanes = takes_last = linear = stacks = False
    slopes = ()

    def __init__(self, call: Call, count: int) -> None:
        self.call, self.count = call, count
        self.name = f"the derivative of {call.name}"
        self.vjp_function, self.jvp_function = self.pull, self.push

    def primal(self, *parts: Any, **_: Any) -> tuple[Any, ...]:
        """Return the cotangents."""
        operands, bars = list(parts[: self.count]), list(parts[self.count :])
        with alone():
            return self.call.pull(bars, self.call.primal(*operands), operands)

    def pull(self, bars: list[Any], results: list[Any], parts: list[Any], **_: Any) -> tuple[Any, ...]:
        """Return the cotangents of operands and of cotangents."""
        if not any(isinstance(part, Active) for part in (*bars, *parts)):
            given = list(parts[self.count :])
            found = self.call.push_compiled(parts[: self.count], bars, given + [0.0 * part - 0.0 for part in given])
            if found is not None:
                return (*found.bar_slopes, *found.slopes)
        return tuple(TRANSFORMS["vjp"](self.rows, *map(as_float, parts))[1](tuple(bars)))

    def push(self, parts: list[Any], dots: list[Any], results: list[Any], **_: Any) -> Any:
        """Return the tangents of the cotangents."""
        tangents = filled_up(parts, dots)
        if not any(isinstance(part, Active) for part in (*parts, *tangents)):
            bars = [*parts[self.count :], *tangents[self.count :]]
            found = self.call.push_compiled(parts[: self.count], tangents[: self.count], bars)
            if found is not None:
                return found.bar_slopes
        elif (recorder := current()) is not None:
            return record_push(recorder, self, parts, tangents, results)
        return list(TRANSFORMS["jvp"](self.rows, tuple(map(as_float, parts)), tangents)[1])

    def rows(self, *parts: Any) -> tuple[Any, ...]:
        """Record the derivative of the kernel that is recorded row by row."""
        return tuple(TRANSFORMS["vjp"](self.call.rows, *map(as_float, parts[: self.count]))[1](parts[self.count :]))

    def __call__(self, *parts: Any, **_: Any) -> Any:
        """Apply the row again, to other operands."""
        recorder = current()
        if recorder is None or not any(isinstance(part, Active) for part in parts):
            return self.primal(*parts)
        shapes = [np.shape(part) for part in parts]
        return record_call(recorder, HostCall(self, {}, shapes, shapes[: self.count]), parts)


class Tangents:
    """The tangents of a row, `of` a kernel or of its pullback, as a host row's op of operands and their tangents."""

    carries_absence = takes_wanted = True
    raises = takes_lanes = takes_last = linear = stacks = False
    slopes = ()

    def __init__(self, of: Call | Pullback, count: int) -> None:
        self.of, self.count = of, count
        self.name = f"the tangent of {of.name}"
        self.vjp_function, self.jvp_function = self.pull, self.push

    def primal(self, *parts: Any, **_: Any) -> tuple[Any, ...]:
        """Return the tangents."""
        with alone():
            return tuple(self.of.push(list(parts[: self.count]), list(parts[self.count :]), results=[]))

    def pull(self, bars: list[Any], results: list[Any], parts: list[Any], **_: Any) -> tuple[Any, ...]:
        """Return the cotangents of operands and of their tangents."""
        if isinstance(self.of, Call) and not any(isinstance(part, Active) for part in (*bars, *parts)):
            given = [*bars, *(0.0 * part - 0.0 for part in bars)]
            found = self.of.push_compiled(parts[: self.count], list(parts[self.count :]), given)
            if found is not None:
                return (*found.bar_slopes, *found.bars)
        return tuple(TRANSFORMS["vjp"](self.rows, *map(as_float, parts))[1](tuple(bars)))

    def push(self, parts: list[Any], dots: list[Any], **_: Any) -> list[Any]:
        """Return the tangents of the tangents: those of the recording."""
        return list(TRANSFORMS["jvp"](self.rows, tuple(map(as_float, parts)), filled_up(parts, dots))[1])

    def rows(self, *parts: Any) -> tuple[Any, ...]:
        """Record the tangents of what is recorded row by row."""
        operands, dots = tuple(map(as_float, parts[: self.count])), parts[self.count :]
        return tuple(TRANSFORMS["jvp"](self.of.rows, operands, dots)[1])

    def __call__(self, *parts: Any, **_: Any) -> Any:
        """Apply the row again, to other operands."""
        recorder = current()
        if recorder is None or not any(isinstance(part, Active) for part in parts):
            return self.primal(*parts)
        shapes = [np.shape(part) for part in self.primal(*map(plain_value, parts))]
        return record_call(recorder, HostCall(self, {}, [np.shape(part) for part in parts], shapes), parts)


def record_push(recorder: Any, of: Call | Pullback, parts: list[Any], dots: list[Any], results: list[Any]) -> Any:
    """Record the tangents of a row as one row."""
    operands = (*parts, *dots)
    call = HostCall(
        Tangents(of, len(parts)), {}, [np.shape(part) for part in operands], [np.shape(part) for part in results]
    )
    return as_tuple(record_call(recorder, call, operands))


def filled_up(operands: Any, dots: list[Any]) -> list[Any]:
    """Return tangents, with zeros in the place of those that are absent."""
    return [np.zeros(np.shape(o)) if t is None else t for o, t in zip(operands, dots, strict=True)]


def plain_number(value: Any) -> Any:
    """Return an array whose elements follow one another, or a number, as compiled functions take it."""
    return np.ascontiguousarray(value) if np.ndim(value) else float(value)


def same_operands(some: Any, others: Any) -> bool:
    """Whether operands are the same, to the last bit."""
    return all(same_bits(one, other) for one, other in zip(some, others, strict=True))


def same_bits(one: Any, other: Any) -> bool:
    """Whether two arrays or numbers are the same, signs of zero included."""
    return np.array_equal(bits(one), bits(other))


def bits(value: Any) -> np.ndarray:
    """Return the bytes of a number or an array, by words."""
    found = np.ascontiguousarray(value).reshape(-1)
    return found.view(f"u{found.itemsize}")


def as_float(value: Any) -> Any:
    """Return an operand as something that can be differentiated."""
    return value if isinstance(value, Active) else np.asarray(value)


def plain_value(value: Any) -> Any:
    """Return a recording value as NumPy would hold it."""
    return np.asarray(value.value()) if isinstance(value, Active) else np.asarray(value)


def is_certain(part: Any, last: bool) -> bool:
    """Whether cotangents tell nothing of what is absent: all are finite, and none is zero where that is asked."""
    return bool((last or np.count_nonzero(part) == np.size(part)) and np.isfinite(np.sum(part)))


# ---------------------------------------------------------------- recording a call


def kinds_of(arguments: tuple[Any, ...], recorder: Any) -> tuple[Any, ...]:
    """Return for each argument its type, or the object that is a constant, and whether it is differentiated."""
    number = types.float32 if recorder.dtype == np.float32 else types.float64
    found: list[tuple[Any, bool]] = []
    for value in arguments:
        if isinstance(value, Active):
            if value.boolean or value.recorder is not recorder:
                raise NotAdjoint("a truth value, or a value of another recording")
            if isinstance(value, Scalar):
                found.append((number, True))
            elif isinstance(value, Array):
                found.append((types.Array(number, len(value.shape), "C"), True))
            else:
                raise NotAdjoint("a recording value of another kind")
        elif isinstance(value, (bool, int, float, np.generic)) or type(value) is np.ndarray:
            kind = typeof(value)
            if not isinstance(getattr(kind, "dtype", kind), (types.Number, types.Boolean)) or "complex" in str(kind):
                raise NotAdjoint("an argument of this type")
            found.append((kind, False))
        elif isinstance(value, (Dispatcher, str, type(None))):
            found.append((ConstantKind(value), False))
        else:
            raise NotAdjoint(f"an argument of the type {type(value).__name__}")
    return tuple(found)


class ConstantKind:
    """An argument that is no number or array: what it is tells adjoints apart."""

    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:
        self.value = value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ConstantKind) and (self.value is other.value or self.value == other.value)

    def __hash__(self) -> int:
        return hash(self.value)


def record_as_row(kernel: Any, arguments: tuple[Any, ...]) -> Any:
    """Record a call as one row, or raise NotAdjoint with everything as it was."""
    recorder = next((value.recorder for value in arguments if isinstance(value, Active)), None)
    if recorder is None:
        raise NotAdjoint("no recording value")
    kernel.twin()  # refuses constants that have changed
    kinds = kinds_of(arguments, recorder)
    adjoint = adjoint_of(kernel, arguments, kinds)
    if not kernel.adjoint and not adjoint.loops:
        raise NotAdjoint("a function without loops")
    operands = [arguments[k] for k in adjoint.wanted]
    check_storages(adjoint, arguments)
    places = [place_of(recorder, part) for part in operands]
    kept = [None if isinstance(part, Active) else plain_copy(part) for part in arguments]
    call = Call(kernel, adjoint, kept, [kind for kind, _ in kinds])
    operands_now = values_at(recorder, places, [part.shape for part in operands])
    found = call.primal(*operands_now)
    shapes = [np.shape(part) for part in found]
    host = HostCall(call, {}, [part.shape for part in operands], shapes)
    addresses = recorder.host_row(host, places, [math.prod(shape) for shape in shapes])
    made = [make_block(recorder, address, shape) for address, shape in zip(addresses, shapes, strict=True)]
    outputs = dict(zip(adjoint.outputs, made, strict=True))
    return taken(adjoint, arguments, outputs)


def place_of(recorder: Any, part: Any) -> tuple[int, int, int]:
    """Return space, address and number of the elements of an operand, which follow one another."""
    value = as_array(part)
    space, address, strides = value.place()
    if strides is not None and value.shape and strides != contiguous(value.shape):
        space, address, _ = (value.copy() if any(strides) else filled(recorder, value)).place()
    return space, address, value.size


def values_at(recorder: Any, places: list[tuple[int, int, int]], shapes: list[Any]) -> list[np.ndarray]:
    """Return the values that operands have now, as views."""
    execution = recorder.run()
    found = []
    for (space, address, count), shape in zip(places, shapes, strict=True):
        memory = execution.values if space == 0 else recorder.spaces[space]
        flat = memory.reshape(-1) if memory.flags.c_contiguous else memory.T.reshape(-1)
        found.append(flat[address : address + count].reshape(shape))
    return found


def check_storages(adjoint: Adjoint, arguments: tuple[Any, ...]) -> None:
    """Refuse arrays that share memory where one is written to."""
    if not adjoint.changed:
        return
    arrays = [value for value in arguments if isinstance(value, Array)]
    storages = [id(value.storage) for value in arrays]
    if len(set(storages)) < len(storages):
        raise NotAdjoint("arguments that share memory")
    if any(arguments[k].storage.frozen for k in adjoint.changed):
        raise NotAdjoint("an array that cannot be written to")


def plain_copy(value: Any) -> Any:
    """Return an argument that stays what it is."""
    return value.copy() if isinstance(value, np.ndarray) and value.flags.writeable else value


def taken(adjoint: Adjoint, arguments: tuple[Any, ...], outputs: dict[str, Any]) -> Any:
    """Give the program the results, and its arrays the elements that were assigned."""
    names = dict(zip(adjoint.given, adjoint.flat.parameters, strict=True))
    for k in adjoint.changed:
        array, made = arguments[k], as_array(outputs[names[k]])
        array.own_addresses()[...] = made.address_view()
        outputs[names[k]] = array
    results = [outputs[name] for name in adjoint.flat.results]
    if adjoint.flat.several:
        return tuple(results)
    return results[0] if results else None


def refuse(kernel: Any, error: NotAdjoint) -> NumbadError:
    """Return the error where an adjoint was demanded and cannot be made."""
    code = kernel.function.__code__
    return NumbadError(
        message(
            f"the adjoint of {kernel.function.__name__} cannot be made: {error.what}"
            f" ({code.co_filename}:{error.line or code.co_firstlineno})",
            "leave adjoint=True away: the function is recorded row by row then",
        )
    )
