"""The recorder: appends rows, addresses and constants to a flat tape while the user's function runs."""

from __future__ import annotations

import math
import threading
from array import array
from collections.abc import Callable, Iterable, Sequence
from collections.abc import Set as AbstractSet
from functools import partial
from sys import _getframe
from types import FrameType
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn, Protocol, TypeAlias

import numpy as np

from numbad.errors import INTERNAL, LeakError, RecordingError, message
from numbad.geometry import collapse, contiguous
from numbad.limits import LARGE
from numbad.recording.borrowing import Borrowed
from numbad.settings import config
from numbad.tape.layout import (
    ADD,
    CONTRACT,
    GATHER,
    GUARD,
    GUARD_VALUE,
    HOST,
    MAP,
    SCATTER,
    Placed,
    Span,
    Strided,
    gather_words,
    host_words,
    index_words,
    mark_absent,
    scatter_words,
)
from numbad.tape.rows import Rows

if TYPE_CHECKING:
    from numpy.typing import DTypeLike

    from numbad.types import Space

Shape: TypeAlias = tuple[int, ...]
Root: TypeAlias = tuple[str, Shape, tuple[Any, ...]]
Appender: TypeAlias = Callable[[Iterable[int]], None]
MOST_ADDRESSES = 2**32 - 1

_thread = threading.local()
beginnings: list[Callable[[Recorder], None]] = []  # what modules above do when a recording begins


class Swept(Protocol):
    """What a recorder knows of the execution of its rows: their values, once they have been swept."""

    values: np.ndarray
    spaces: list[Space]

    def forward(self, final: bool = False, wanted: tuple[Any, ...] = ()) -> None:
        """Sweep the rows that have not been computed."""

    def backward(self, seeds: list[tuple[int, Any]], scattered: Any = ()) -> Any:
        """Return the cotangents of all addresses."""

    def release(self, *bars: Any) -> None:
        """Give the memory back."""


class Recorder(Rows):
    """The tape of one thread's recording while it grows: rows, and what is known of them only while they are recorded.

    Attributes
    ----------
    masks : dict of int to ndarray
        Constant blocks of the arena with zeros among them, flat, by their addresses.
    roots : dict
        Of each square root that begins at an address: the op that gives its square, its shape, and the op's operands.
    bases : list of int
        Where the regions of nested derivatives begin, in order.
    borrowed : dict of int to Borrowed
        By their spaces, large arrays of the user's.
    run : callable
        `run(final=False, wanted=())`: sweep the rows that have not been computed. The module of sweeps gives it.
    """

    run: ClassVar[Callable[..., Swept]]
    code: array[int]
    words: array[int]
    numbers: array[float]  # pairs: address, value
    __slots__ = (
        "arguments",
        "bases",
        "execution",
        "extend",
        "floats",
        "identities",
        "masks",
        "positions",
        "roots",
        "slopes",
        "unfilled",
        "wide",
        "zeros",
    )

    def __init__(self, dtype: DTypeLike = np.float64) -> None:
        self.code = array("I")
        self.bases: list[int] = []
        self.extend: Appender = self.appender()
        self.words = array("q")
        self.size = 1
        self.constants = {}
        self.wide: AbstractSet[int] = frozenset()  # addresses of inputs that are numbers of NumPy's, not of Python's
        self.floats: AbstractSet[int] = frozenset()  # addresses of numbers that float(x) or a function of math made
        self.zeros = 0  # address of -0.0 once it is needed
        self.numbers = array("d")  # pairs: address, value
        self.loads = []
        self.spaces = [None]
        self.input_spaces = set()
        self.identities: dict[int, int] = {}
        self.hosts = []
        self.large = []
        self.varied = self.tape = None
        self.sites = {}
        self.positions = 0  # from 1 on, positions vary between examples (see `positions`); one more for each of them
        self.slopes: set[int] = set()  # where derivatives begin that a program may return: its caller sees no -0.0
        self.borrowed: dict[int, Borrowed] = {}
        self.arguments: tuple[
            np.ndarray, ...
        ] = ()  # large arrays that the function was given, and is not differentiated by
        self.masks: dict[int, np.ndarray] = {}
        self.roots: dict[int, Root] = {}
        self.dtype = np.dtype(dtype)
        self.unfilled: RecordingError | None = None  # raised for a plain array; the program may have caught it
        self.execution: Any = None  # the execution of the rows, once they are swept: `run` makes it
        for begin in beginnings:
            begin(self)

    def appender(self) -> Appender:
        """Return the function that appends a row."""
        return self.noting if config._debug_nans else self.code.extend

    # ------------------------------------------------------------ life

    def close(self) -> None:
        """End the recording: from now on its values refuse to be used."""
        self.extend = raise_leak
        self.execution = None  # a cycle of references would keep the arena until the next collection
        if self.borrowed:
            for found in self.borrowed.values():
                if found.lock is not None:
                    found.lock.release()
            self.borrowed, self.identities = {}, {}

    @property
    def closed(self) -> bool:
        """Whether the recording has ended."""
        return self.extend is raise_leak

    # ------------------------------------------------------------ constants and inputs

    def constant(self, value: float) -> int:
        """Return the address of a number that is not in `constants` yet."""
        number = float(value)
        if number == 0.0:
            if math.copysign(1.0, number) > 0.0:
                return 0
            if not self.zeros:
                self.zeros = self.size
                self.size += 1
                self.numbers.extend((self.zeros, number))
            return self.zeros
        address = self.size
        self.size = address + 1
        self.constants[value] = address
        self.numbers.extend((address, number))
        return address

    def load(self, values: np.ndarray) -> int:
        """Copy an array into the arena; return its address."""
        address = self.allocate(values.size)
        if values.size:
            self.loads.append((address, np.array(values, self.dtype, copy=True).reshape(-1)))
        return address

    def allocate(self, count: int) -> int:
        """Reserve `count` addresses; return the first."""
        address = self.size
        size = self.size = address + count
        if size > MOST_ADDRESSES:
            raise MemoryError(
                message(f"the tape would need more than {MOST_ADDRESSES:,} addresses", "differentiate a smaller part")
            )
        return address

    def refer(self, values: np.ndarray) -> int:
        """Return the space of an array that does not change any more."""
        space = self.identities.get(id(values))
        if space is None or self.spaces[space] is not values:
            space = self.identities[id(values)] = len(self.spaces)
            self.spaces.append(values)
        return space

    def borrow(self, values: np.ndarray) -> int:
        """Return a space with what an array of the user's holds now (see `borrowing`)."""
        space = self.identities.get(id(values))
        if space is not None and space in self.borrowed:
            known = self.borrowed[space]
            if known.values is values and not known.changed():
                return space
        space = self.identities[id(values)] = len(self.spaces)
        found = self.borrowed[space] = Borrowed(values)
        self.spaces.append(found.memory)
        return space

    def part_of_argument(self, values: np.ndarray) -> tuple[int, int] | None:
        """Return space and place in it of a contiguous part of a large argument, which needs no copy of its own."""
        start = values.__array_interface__["data"][0]
        for whole in self.arguments:
            distance = start - whole.__array_interface__["data"][0]
            if 0 <= distance <= whole.nbytes - values.nbytes and whole.dtype == values.dtype == self.dtype:
                if distance % whole.itemsize:
                    return None
                known = self.identities.get(id(whole))
                space = self.borrow(whole) if known is None or known not in self.borrowed else known
                return (space, distance // whole.itemsize) if self.borrowed[space].memory is whole else None
        return None

    def check_borrowed(self) -> None:
        """Raise a RecordingError if the program wrote to an array that the sweeps read where it lies."""
        for found in self.borrowed.values():
            found.check()

    def promote(self, dtype: np.dtype) -> None:
        """Widen the arena if an operand of this dtype asks for it."""
        if self.dtype == np.float32 and np.result_type(np.float32, dtype) != np.float32:
            self.dtype = np.dtype(np.float64)
            self.execution = None

    # ------------------------------------------------------------ rows

    def note_site(self) -> None:
        """Remember the user's statement for the row that comes next."""
        frame: FrameType | None = _getframe(2)
        while frame is not None and frame.f_globals.get("__package__") in INTERNAL:
            frame = frame.f_back
        if frame is not None:  # a thread may have nothing but numbad to run
            self.sites[len(self.code) // 4] = (frame.f_code, frame.f_lasti)

    def noting(self, row: Iterable[int]) -> None:
        """Append a row of scalars and its site, which takes too long unless an error is looked for."""
        self.note_site()
        self.code.extend(row)

    def append(self, opcode: int, out: int, a: int, b: int) -> None:
        """Append a row and its site."""
        self.note_site()
        self.extend((opcode, out, a, b))

    def map_row(self, opcode: int, shape: Shape, operands: Sequence[Placed]) -> int:
        """Append an elementwise array row.

        Each operand is (kind, space, address, strides); kind 1 is contiguous, 2 a scalar, 0 neither.
        """
        count = math.prod(shape)
        if count >= LARGE:
            self.large.append(len(self.code) // 4)
        out = self.allocate(count)
        position = len(self.words)
        self.words.extend(map_words(shape, out, operands))
        self.append(MAP + opcode, out, position, len(operands))
        return out

    def structural_row(
        self,
        opcode: int,
        shape: Shape,
        zeroed: int,
        out: int,
        operands: Sequence[Strided],
        absent: bool = False,
    ) -> None:
        """Append an ADD or CONTRACT row over an index space.

        `operands` are (space, address, strides), the output first; `zeroed` elements at `out`
        are set to zero before the row adds to them, to -0.0 if they hold cotangents and are `absent` without it.
        """
        position = len(self.words)
        words = structural_words(shape, zeroed, operands)
        if absent:
            mark_absent(words, 0)
        self.words.extend(words)
        self.append(opcode, out, position, len(operands))

    def add_row(self, shape: Shape, count: int, strides: Shape, operand: Strided) -> int:
        """Append out[strides] += operand over an index space, into a new block of `count`; return its address."""
        out = self.allocate(count)
        self.structural_row(ADD, shape, count, out, ((0, out, strides), operand))
        return out

    def contract_row(self, shape: Shape, count: int, strides: Shape, one: Strided, other: Strided) -> int:
        """Append out[strides] += one * other over an index space, into a new block; return its address."""
        out = self.allocate(count)
        self.structural_row(CONTRACT, shape, count, out, ((0, out, strides), one, other))
        return out

    def gather_row(self, addresses: np.ndarray) -> int:
        """Append a row that collects arena addresses into a new block; return its address."""
        out = self.allocate(addresses.size)
        position = len(self.words)
        self.words.extend(gather_words(addresses))
        self.append(GATHER, out, position, 1)
        return out

    def scatter_row(self, addresses: np.ndarray, size: int, space: int, source: int) -> int:
        """Append a row that adds a contiguous block onto places of a new zeroed block; return its address."""
        out = self.allocate(size)
        position = len(self.words)
        self.words.extend(scatter_words(addresses, size, space, source))
        self.append(SCATTER, out, position, 1)
        return out

    def host_row(self, host: Any, inputs: Sequence[Span], outputs: list[int]) -> list[int]:
        """Append a row computed by Python; inputs are (space, address, count); return the outputs' addresses."""
        addresses = [self.allocate(count) for count in outputs]
        position = len(self.words)
        results = [(0, address, count) for address, count in zip(addresses, outputs, strict=True)]
        self.words.extend(host_words(len(self.hosts), inputs, results))
        self.hosts.append(host)
        self.append(HOST, addresses[0] if addresses else 0, position, 0)
        return addresses

    # ------------------------------------------------------------ values on the way

    def ends_in_sum(self, output: int) -> bool:
        """Whether the last row is a sum into this address: then no sweep backwards reads the result.

        What lies inside of an array has to be in memory, for it is there that its cotangent arrives.
        """
        return len(self.code) > 3 and self.code[-4] == ADD and self.code[-3] == output

    def loosen(self) -> None:
        """Make sure that rows can be appended, although something may still hold a view of the buffers.

        A frame of a sweep lives on in the traceback of an exception, which Numba's compiler leaves behind
        in reference cycles and the user may keep; a buffer that is viewed cannot grow.
        """
        try:
            self.code.extend((0, 0, 0, 0))
            del self.code[-4:]
        except BufferError:
            self.code = array(self.code.typecode, self.code)
            if not self.closed and not isinstance(self.extend, partial):  # who watches asks for the appender each time
                self.extend = self.appender()
        try:
            self.words.append(0)
            self.words.pop()
        except BufferError:
            self.words = array(self.words.typecode, self.words)
        try:
            self.numbers.append(0.0)
            self.numbers.pop()
        except BufferError:
            self.numbers = array(self.numbers.typecode, self.numbers)

    def peek(self, address: int) -> float:
        """Return the value at an address now."""
        return float(self.run().values[address])

    def guard(self, address: int) -> bool:
        """Return the truth of a value now, and record that the path depends on it."""
        truth = self.peek(address) != 0.0
        self.append(GUARD, int(truth), address, 0)
        return truth

    def guard_value(self, address: int) -> float:
        """Return a value now, and record that the path depends on it."""
        value = self.peek(address)
        known = self.constants.get(value)
        self.append(GUARD_VALUE, self.constant(value) if known is None or value == 0.0 else known, address, 0)
        return value


def map_words(shape: Shape, out: int, operands: Sequence[Placed]) -> list[int]:
    """Return the words of an elementwise row; operands are (kind, space, address, strides)."""
    count = math.prod(shape)
    if all(operand[0] for operand in operands):
        flat = [(kind, space, address, (2 - kind,)) for kind, space, address, _ in operands]
        return index_words((count,), count, ((1, 0, out, (1,)), *flat))
    given = ((1, 0, out, contiguous(shape)), *operands)
    shape, strides = collapse(shape, [operand[3] for operand in given])
    return index_words(shape, count, [(*operand[:3], steps) for operand, steps in zip(given, strides, strict=True)])


def structural_words(shape: Shape, cleared: int, operands: Sequence[Strided]) -> list[int]:
    """Return the words of an ADD or CONTRACT row; operands are (space, address, strides), the output first."""
    shape, strides = collapse(shape, [operand[2] for operand in operands])
    flat = contiguous(shape)
    kinds = [1 if steps == flat else 0 if any(steps) else 2 for steps in strides]
    placed = [(kind, s, at, steps) for kind, (s, at, _), steps in zip(kinds, operands, strides, strict=True)]
    return index_words(shape, cleared, placed)


def raise_leak(*_: object) -> NoReturn:
    """Refuse a row: the recording has ended."""
    raise LeakError(
        message(
            "a recording value is used after the function that recorded it has returned",
            "return what you need from the function; do not keep its values in globals or on objects",
        )
    )


def current() -> Recorder | None:
    """Return the recorder of this thread, if it is recording."""
    return getattr(_thread, "recorder", None)


def set_current(recorder: Recorder | None) -> None:
    """Make a recorder the thread's own."""
    _thread.recorder = recorder


def refuse(what: str, do: str) -> NoReturn:
    """Raise a RecordingError at the user's statement."""
    raise RecordingError(message(what, do))


def refuse_lastingly(what: str, do: str) -> NoReturn:
    """Raise a RecordingError, which is raised again at the end if the program catches it: NumPy would raise none."""
    error = RecordingError(message(what, do))
    recorder = current()
    if recorder is not None and recorder.unfilled is None:
        recorder.unfilled = error
    raise error
