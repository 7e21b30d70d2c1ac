"""The recording values: `Scalar` and `Array` stand for addresses of the tape and meet NumPy as its arrays do."""

from __future__ import annotations

import math
import numbers
from collections.abc import Callable, Iterator
from importlib import import_module
from sys import _getframe, modules
from typing import Any

import numpy as np

from numbad.errors import INTERNAL, LeakError, MissingError, RecordingError, message, other_meaning
from numbad.geometry import broadcast, broadcast_strides, normal_axis, reshaped_strides, resolve_shape, spread
from numbad.ops.definition import BY_NAME, BY_UFUNC, Op
from numbad.plans import CONTIGUOUS, PLANS, Plan, keep, map_words, plan_contiguous
from numbad.recorder import MOST_ADDRESSES, SMALL, Recorder, contiguous, refuse
from numbad.rows import GUARD, MAP

Shape = tuple[int, ...]
BOOL = np.dtype(bool)
new = object.__new__
OPS: dict[Any, Op] = {}  # ufunc object -> op; filled as ufuncs are met


def above(name: str) -> Any:
    """Return a module that imports this one; it is imported when it is first needed."""
    return modules.get(name) or import_module(name)


class Storage:
    """The memory that an array and its views share.

    Element k is at `address + k * step` of `space`, or at `addresses[k]` of the arena once
    elements have been assigned. Values at an address never change; assignment changes addresses.
    `frozen` says why elements can no longer be assigned.
    """

    __slots__ = ("address", "addresses", "size", "space", "step")
    frozen = ""

    def __init__(self, space: int, address: int, size: int, step: int = 1) -> None:
        self.space = space
        self.address = address
        self.size = size
        self.step = step
        self.addresses: np.ndarray | None = None


class SnapshotStorage(Storage):
    """A storage of which there is an array of objects: NumPy's alias of the two cannot be kept."""

    __slots__ = ()
    frozen = "np.asarray made an array of objects of them"


class FlatStorage(Storage):
    """A copy of the elements of an array that is not contiguous, where NumPy's `x.flat` is an alias."""

    __slots__ = ()
    frozen = "they are x.flat of an array that is not contiguous"


class RuleStorage(Storage):
    """What a rule of the user's own is given: elements that others read, too."""

    __slots__ = ()
    frozen = "a rule was given it, and must not change it"


class Active:
    """What scalars and arrays have in common."""

    __slots__ = ()
    __array_priority__ = 1000.0
    recorder: Recorder
    boolean: bool
    shape: Shape

    # ------------------------------------------------------------ NumPy's protocols

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **keywords: Any) -> Any:
        if method == "__call__" and not keywords:
            op = OPS.get(ufunc)
            if op is not None:
                return record(op, *inputs)
            if ufunc is np.matmul:
                result = above("numbad.matmul").matrix_product(self.recorder, *inputs)
                if result is not None:
                    return result
        return above("numbad.numpy_api").apply_ufunc(ufunc, method, inputs, keywords)

    def __array_function__(self, function: Any, kinds: Any, arguments: Any, keywords: Any) -> Any:
        return above("numbad.numpy_api").apply_function(function, arguments, keywords)

    def record_op(self, op: Op, operands: tuple[Any, ...]) -> Any:
        """Record an op that was called by name."""
        return record(op, *operands)

    # ------------------------------------------------------------ attributes

    @property
    def dtype(self) -> np.dtype:
        """The dtype that the values will have."""
        return BOOL if self.boolean else self.recorder.dtype

    @property
    def itemsize(self) -> int:
        """Bytes of an element."""
        return self.dtype.itemsize

    @property
    def nbytes(self) -> int:
        """Bytes of all elements."""
        return self.size * self.dtype.itemsize

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.shape)

    @property
    def size(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)

    @property
    def real(self) -> Active:
        """The value itself."""
        return self

    @property
    def imag(self) -> Any:
        """Zeros."""
        return np.zeros(self.shape, self.dtype)

    def conj(self) -> Active:
        """Return the value itself: it is real."""
        return self

    conjugate = conj

    # ------------------------------------------------------------ values now

    def value(self) -> Any:
        """Return the value as NumPy would hold it, by sweeping what has been recorded."""
        raise AssertionError("a subclass defines it")

    def __repr__(self) -> str:
        if self.recorder.closed:
            return f"{type(self).__name__}(shape={self.shape}, its recording has ended)"
        return f"{type(self).__name__}({np.array2string(np.asarray(self.value()), separator=', ')})"

    def __str__(self) -> str:
        return repr(self) if self.recorder.closed else str(self.value())

    def __format__(self, specification: str) -> str:
        return format(self.value(), specification)

    def __complex__(self) -> complex:
        return refuse("a recording value cannot become a complex number", "use real arrays for both parts")

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_") or not hasattr(np.ndarray, name):
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        raise MissingError(
            message(
                f"{name} of an array is not recorded",
                f"use a function that returns a new array, as np.{name}(x) if there is one",
            )
        )

    def __hash__(self) -> int:
        return id(self)

    def __deepcopy__(self, memory: Any) -> Active:
        return self.copy("K")

    def __copy__(self) -> Active:
        return self.copy("K")

    def __reduce__(self) -> Any:
        return refuse("a recording value cannot be pickled", "return it from the function and pickle the result")

    def copy(self, order: str = "C") -> Any:
        """Return a copy that shares no memory."""
        raise AssertionError("a subclass defines it")


def binary(name: str) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """Make the operator methods of a scalar for an op of two operands, plain and reflected."""
    op = BY_NAME[name]
    opcode = op.opcode

    def method(self: Any, other: Any) -> Any:
        recorder = self.recorder
        kind = type(other)
        if kind is Scalar and other.recorder is recorder:
            b = other.address
        elif kind is float or kind is int:
            b = recorder.constants.get(other)
            if b is None:
                b = recorder.constant(other)
        else:
            return record_operator(op, self, other)
        out = recorder.size
        recorder.size = out + 1
        recorder.extend((opcode, out, self.address, b))
        result = new(Scalar)
        result.recorder = recorder
        result.address = out
        return result

    def reflected(self: Any, other: Any) -> Any:
        recorder = self.recorder
        kind = type(other)
        if kind is float or kind is int:
            a = recorder.constants.get(other)
            if a is None:
                a = recorder.constant(other)
        else:
            return record_operator(op, other, self)
        out = recorder.size
        recorder.size = out + 1
        recorder.extend((opcode, out, a, self.address))
        result = new(Scalar)
        result.recorder = recorder
        result.address = out
        return result

    method.__name__, reflected.__name__ = f"__{name}__", f"__r{name}__"
    return method, reflected


def array_binary(name: str) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """Make the operator methods of an array for an op of two operands, plain and reflected."""
    op = BY_NAME[name]
    opcode = MAP + op.opcode
    logical = name in ("add", "multiply")  # of truth values: or, and

    def method(self: Any, other: Any) -> Any:
        a = self.first
        recorder = self.recorder
        if a is None or (logical and self.boolean):
            return record_operator(op, self, other)
        shape = self.shape
        plans = CONTIGUOUS.get(shape) or plan_contiguous(shape)
        kind = type(other)
        if kind is Array and other.shape == shape and other.recorder is recorder:
            b = other.first
            plan = plans.arrays
        elif kind is float or kind is int:
            b = recorder.constants.get(other)
            if b is None:
                b = recorder.constant(other)
            plan = plans.scalar_right
        elif kind is Scalar and other.recorder is recorder:
            b = other.address
            plan = plans.scalar_right
        else:
            b = load_like(other, shape, recorder)
            plan = plans.arrays
        if b is None:
            return record_operator(op, self, other)
        return append_row(recorder, opcode, plan, a, b, False)

    def reflected(self: Any, other: Any) -> Any:
        b = self.first
        recorder = self.recorder
        if b is None or (logical and self.boolean):
            return record_operator(op, other, self)
        shape = self.shape
        plans = CONTIGUOUS.get(shape) or plan_contiguous(shape)
        kind = type(other)
        if kind is float or kind is int:
            a = recorder.constants.get(other)
            if a is None:
                a = recorder.constant(other)
            plan = plans.scalar_left
        elif kind is Scalar and other.recorder is recorder:
            a = other.address
            plan = plans.scalar_left
        else:
            a = load_like(other, shape, recorder)
            plan = plans.arrays
        if a is None:
            return record_operator(op, other, self)
        return append_row(recorder, opcode, plan, a, b, False)

    method.__name__, reflected.__name__ = f"__{name}__", f"__r{name}__"
    return method, reflected


def load_like(values: Any, shape: Shape, recorder: Recorder) -> int | None:
    """Copy a small plain array of the recording's shape and dtype into the arena; None for anything else."""
    if type(values) is not np.ndarray or values.shape != shape or values.dtype is not recorder.dtype:
        return None
    if 0 < values.size <= SMALL:
        address = recorder.allocate(values.size)
        recorder.loads.append((address, values.flatten()))
        return address
    return None


def append_row(recorder: Recorder, opcode: int, plan: Plan, a: int, b: int, boolean: bool) -> Any:
    """Append a row over operands in the arena; return its result.

    This is what most operations on arrays come to, so it calls nothing that it need not, and looks for
    the user's statement from two frames above.
    """
    out = recorder.size
    size = recorder.size = out + plan.count
    if size > MOST_ADDRESSES:
        recorder.allocate(0)  # raises
    words = recorder.words
    position = len(words)
    words.extend(plan.words)
    words[position + plan.out] = out
    words[position + plan.a] = a
    if plan.b:
        words[position + plan.b] = b
    row = len(recorder.code) >> 2
    if plan.large:
        recorder.large.append(row)
    recorder.extend((opcode, out, position, plan.operands))
    frame: Any = _getframe(2)
    while frame is not None and frame.f_globals.get("__package__") in INTERNAL:
        frame = frame.f_back
    if frame is not None:
        recorder.sites[row] = (frame.f_code, frame.f_lasti)
    if not plan.shape:
        return make_scalar(recorder, out, boolean)
    result = new(Array)
    result.recorder = recorder
    result.first = out
    result.shape = plan.shape
    result.boolean = boolean
    result.strides = result.shared = None
    result.offset = 0
    return result


def append_placed(recorder: Recorder, opcode: int, plan: Plan, one: Any, other: Any, boolean: bool = False) -> Any:
    """Append a row over operands that may be outside of the arena, given as (space, address)."""
    position = len(recorder.words)
    result = append_row(recorder, opcode, plan, one[1], other[1], boolean)
    if one[0]:
        recorder.words[position + plan.a - 1] = one[0]
    if other[0]:
        recorder.words[position + plan.b - 1] = other[0]
    return result


def comparison(name: str) -> Callable[..., Any]:
    """Make a comparison method."""
    op = BY_NAME[name]

    def method(self: Any, other: Any) -> Any:
        if other is None or isinstance(other, str):
            return NotImplemented
        return record_operator(op, self, other)

    method.__name__ = f"__{name}__"
    return method


def unary(name: str) -> Callable[..., Any]:
    """Make a method of an op of one operand."""
    op = BY_NAME[name]

    def method(self: Any) -> Any:
        return record(op, self)

    method.__name__ = name
    return method


def square_or_power(self: Any, exponent: Any, modulo: Any = None) -> Any:
    """Record x ** exponent; the square is an op of its own."""
    if modulo is not None:
        return NotImplemented
    if type(exponent) is int or type(exponent) is float:
        if exponent == 2:
            return record(BY_NAME["square"], self)
        if exponent == 1:
            return record(BY_NAME["identity"], self)
        return record(BY_NAME["power_by_constant"], self, exponent)
    if isinstance(exponent, Active):
        return record(BY_NAME["power"], self, exponent)
    if isinstance(exponent, np.ndarray) and exponent.dtype.kind == "f" and exponent.ndim:
        return record(BY_NAME["power_by_constant"], self, exponent)
    if isinstance(exponent, (np.generic, np.ndarray)) and not np.ndim(exponent) and exponent.dtype.kind in "fiub":
        return square_or_power(self, exponent.item())
    return record_operator(BY_NAME["power_by_constant"], self, exponent)


def power_from(self: Any, base: Any) -> Any:
    """Record base ** x."""
    return record_operator(BY_NAME["power"], base, self)


def logic(name: str) -> Callable[..., Any]:
    """Make the methods of &, | and ^, which are for truth values only."""
    op = BY_NAME[name]

    def method(self: Any, other: Any) -> Any:
        if not self.boolean or not (getattr(other, "boolean", False) or np.asarray(other).dtype == bool):
            raise RecordingError(
                message("&, | and ^ are not defined for floating-point values", "compare first: (x > 0) & (y > 0)")
            )
        return record_operator(op, self, other)

    return method


def invert(self: Any) -> Any:
    """Record ~ of truth values."""
    if not self.boolean:
        raise RecordingError(message("~ is not defined for floating-point values", "compare first: ~(x > 0)"))
    return record(BY_NAME["logical_not"], self)


def divmod_(self: Any, other: Any) -> Any:
    """Return quotient and remainder."""
    return self // other, self % other


def divmod_of(self: Any, other: Any) -> Any:
    """Return quotient and remainder of another value by this one."""
    return other // self, other % self


class Scalar(Active):
    """A recording number: an address."""

    __slots__ = ("address", "recorder")
    address: int
    boolean = False
    shape: Shape = ()  # type: ignore[assignment]

    __add__, __radd__ = binary("add")
    __sub__, __rsub__ = binary("subtract")
    __mul__, __rmul__ = binary("multiply")
    __truediv__, __rtruediv__ = binary("divide")
    __floordiv__, __rfloordiv__ = binary("floor_divide")
    __mod__, __rmod__ = binary("remainder")
    __divmod__, __rdivmod__ = divmod_, divmod_of
    __pow__, __rpow__ = square_or_power, power_from
    __neg__, __abs__ = unary("negative"), unary("absolute")
    __lt__, __le__ = comparison("less"), comparison("less_equal")
    __gt__, __ge__ = comparison("greater"), comparison("greater_equal")
    __eq__, __ne__ = comparison("equal"), comparison("not_equal")  # type: ignore[assignment]
    __and__ = __rand__ = logic("logical_and")
    __or__ = __ror__ = logic("logical_or")
    __xor__ = __rxor__ = logic("logical_xor")
    __invert__ = invert
    __hash__ = Active.__hash__

    def __pos__(self) -> Scalar:
        return self

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **keywords: Any) -> Any:
        if len(inputs) == 1 and method == "__call__" and not keywords:
            op = OPS.get(ufunc)
            if op is not None and not op.boolean:
                recorder = self.recorder
                out = recorder.size
                recorder.size = out + 1
                recorder.extend((op.opcode, out, self.address, 0))
                result = new(Scalar)
                result.recorder = recorder
                result.address = out
                return result
        return Active.__array_ufunc__(self, ufunc, method, *inputs, **keywords)

    def value(self) -> Any:
        """Return the value as a NumPy scalar."""
        return self.dtype.type(self.recorder.peek(self.address))

    def item(self, *_: Any) -> Scalar:
        """Return the scalar itself: it goes on recording."""
        return self

    def __bool__(self) -> bool:
        return self.recorder.guard(self.address)

    def __float__(self) -> float:
        return concrete_float(self)

    def __int__(self) -> int:
        return int(self.recorder.guard_value(record(BY_NAME["trunc"], self).address))

    __trunc__ = __int__

    def __floor__(self) -> int:
        return int(self.recorder.guard_value(record(BY_NAME["floor"], self).address))

    def __ceil__(self) -> int:
        return int(self.recorder.guard_value(record(BY_NAME["ceil"], self).address))

    def __round__(self, digits: int | None = None) -> Any:
        if digits is None:
            return int(self.recorder.guard_value(record(BY_NAME["rint"], self).address))
        return np.round(self, digits)

    def __index__(self) -> int:
        return refuse(
            "a recording value is used as an index or a count", "write int(x): it gives the number and guards it"
        )

    def __getitem__(self, key: Any) -> Any:
        if key == () or key is Ellipsis:
            return self
        if key is None or (isinstance(key, tuple) and all(part is None or part is Ellipsis for part in key)):
            ones = 1 if key is None else sum(part is None for part in key)
            return self.reshape((1,) * ones)
        raise IndexError(message("a recording scalar has no elements", "index with () only"))

    def __len__(self) -> int:
        raise TypeError("len() of unsized object")

    def __iter__(self) -> Any:
        raise TypeError("iteration over a 0-d array")

    def __array__(self, dtype: Any = None, copy: Any = None) -> np.ndarray:
        if is_whole(dtype) and not self.boolean:
            return np.asarray(self.astype(dtype))
        refuse_conversion(dtype)
        result = np.empty((), dtype=object)
        result[()] = self
        return result

    def copy(self, order: str = "C") -> Scalar:
        """Return the scalar: it never changes."""
        return self

    def reshape(self, *shape: Any, order: str = "C") -> Any:
        """Return an array of one element."""
        return as_array(self).reshape(*shape)

    @property
    def T(self) -> Scalar:
        """The scalar itself."""
        return self

    strides = None

    def spot(self) -> tuple[int, int]:
        """Return the space and address of the first element."""
        return 0, self.address

    def operand(self, shape: Shape) -> tuple[int, int, int, Shape]:
        """Describe the scalar as an operand of an array row."""
        return 2, 0, self.address, (0,) * len(shape)


class Truth(Scalar):
    """A recording truth value, kept as 0.0 or 1.0."""

    __slots__ = ()
    boolean = True
    __hash__ = Active.__hash__


class Array(Active):
    """A recording array: a strided view of a storage.

    Attributes
    ----------
    first : int or None
        The address of the first element, of a contiguous array in the arena that has no storage yet. Most
        arrays are the results of operations and never need one: it is made for their first view or assignment.
    shared : Storage or None
        The storage, once it has been made.
    offset, strides : int, tuple of int or None
        In the storage, in elements; strides are None when C-contiguous.
    """

    __slots__ = ("boolean", "first", "offset", "recorder", "shape", "shared", "strides")
    first: int | None
    shared: Storage | None
    offset: int
    strides: Shape | None
    __hash__ = None  # type: ignore[assignment]

    def __init__(
        self,
        recorder: Recorder,
        storage: Storage,
        shape: Shape,
        offset: int = 0,
        strides: Shape | None = None,
        boolean: bool = False,
    ) -> None:
        self.recorder = recorder
        self.shared = storage
        self.first = None
        self.shape = shape
        self.offset = offset
        self.strides = strides
        self.boolean = boolean

    @property
    def storage(self) -> Storage:
        """The memory that the array and its views share."""
        found = self.shared
        if found is None:
            assert self.first is not None
            found = self.shared = Storage(0, self.first, math.prod(self.shape))
            self.first = None
        return found

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **keywords: Any) -> Any:
        if len(inputs) == 1 and self.first is not None and method == "__call__" and not keywords:
            op = OPS.get(ufunc)
            if op is not None:
                plans = CONTIGUOUS.get(self.shape) or plan_contiguous(self.shape)
                return append_row(self.recorder, MAP + op.opcode, plans.unary, self.first, 0, op.boolean)
        return Active.__array_ufunc__(self, ufunc, method, *inputs, **keywords)

    __add__, __radd__ = array_binary("add")
    __sub__, __rsub__ = array_binary("subtract")
    __mul__, __rmul__ = array_binary("multiply")
    __truediv__, __rtruediv__ = array_binary("divide")
    __floordiv__, __rfloordiv__ = array_binary("floor_divide")
    __mod__, __rmod__ = array_binary("remainder")
    __divmod__, __rdivmod__ = divmod_, divmod_of
    __pow__, __rpow__ = square_or_power, power_from
    __neg__, __abs__ = unary("negative"), unary("absolute")
    __lt__, __le__ = comparison("less"), comparison("less_equal")
    __gt__, __ge__ = comparison("greater"), comparison("greater_equal")
    __eq__, __ne__ = comparison("equal"), comparison("not_equal")  # type: ignore[assignment]
    __and__ = __rand__ = logic("logical_and")
    __or__ = __ror__ = logic("logical_or")
    __xor__ = __rxor__ = logic("logical_xor")
    __invert__ = invert

    def __pos__(self) -> Array:
        return self.copy("K")

    def __matmul__(self, other: Any) -> Any:
        if not isinstance(other, (Active, np.ndarray)) and hasattr(type(other), "__rmatmul__"):
            return NotImplemented
        return self.__array_ufunc__(np.matmul, "__call__", self, other)

    def __rmatmul__(self, other: Any) -> Any:
        return np.matmul(other, self)

    def in_place(name: str) -> Callable[..., Any]:  # type: ignore[misc]
        """Make an augmented assignment: the operator's result is assigned to all elements."""
        operator = f"__{name}__"

        def method(self: Array, other: Any) -> Array:
            result = getattr(self, operator)(other)
            if result is NotImplemented:
                return result
            if result.shape != self.shape:
                raise ValueError(
                    f"non-broadcastable output operand with shape {self.shape} "
                    f"doesn't match the broadcast shape {result.shape}"
                )
            self[...] = result
            return self

        return method

    __iadd__, __isub__ = in_place("add"), in_place("sub")
    __imul__, __itruediv__ = in_place("mul"), in_place("truediv")
    __ifloordiv__, __imod__ = in_place("floordiv"), in_place("mod")
    __ipow__, __imatmul__ = in_place("pow"), in_place("matmul")
    __iand__, __ior__, __ixor__ = in_place("and"), in_place("or"), in_place("xor")
    del in_place

    # ------------------------------------------------------------ geometry

    def steps(self) -> Shape:
        """Return the strides in the storage, in elements."""
        return contiguous(self.shape) if self.strides is None else self.strides

    def is_whole(self) -> bool:
        """Whether the view is its storage, in order."""
        return self.offset == 0 and self.strides is None and self.size == self.storage.size

    def address_view(self) -> np.ndarray:
        """Return the addresses of the elements, as a view of those of the storage if it has any."""
        if self.first is not None:
            return np.arange(self.first, self.first + self.size).reshape(self.shape)
        storage = self.storage
        if storage.space:
            bring_home(self.recorder, storage)
        addresses = storage.addresses
        if addresses is None and self.strides is None and storage.step == 1:
            first = storage.address + self.offset
            return np.arange(first, first + self.size).reshape(self.shape)
        steps = self.steps()
        if addresses is None:
            return spread(self.shape, tuple(storage.step * s for s in steps)) + (
                storage.address + storage.step * self.offset
            )
        return np.ndarray(
            self.shape, np.int64, addresses, self.offset * 8, tuple(8 * s for s in steps)
        )  # a view: NumPy keeps the aliases

    def own_addresses(self) -> np.ndarray:
        """Return the view's addresses after giving its storage addresses that can be changed."""
        storage = self.storage
        if storage.addresses is None:
            if storage.space:
                bring_home(self.recorder, storage)
            storage.addresses = storage.address + storage.step * np.arange(storage.size, dtype=np.int64)
        return self.address_view()

    def place(self) -> tuple[int, int, Shape | None]:
        """Return (space, address, strides) of the elements; collects them first if they are scattered."""
        if self.first is not None:
            return 0, self.first, None
        storage = self.storage
        if storage.addresses is not None:
            return self.collect()
        if storage.step:
            return storage.space, storage.address + self.offset, self.strides
        return 0, storage.address, (0,) * len(self.shape)

    def spot(self) -> tuple[int, int] | None:
        """Return the space and address of the first element, if the others follow by the array's strides."""
        if self.first is not None:
            return 0, self.first
        storage = self.storage
        if storage.addresses is not None or storage.step != 1:
            return None
        return storage.space, storage.address + self.offset

    def collect(self) -> tuple[int, int, Shape | None]:
        """Gather scattered elements into a new block, which the storage takes over if it is whole."""
        addresses = self.address_view().reshape(-1)
        count = addresses.size
        first = int(addresses[0]) if count else 0
        if count and addresses[-1] - first == count - 1 and np.array_equal(addresses, np.arange(first, first + count)):
            block = first
        elif count and (addresses == first).all():
            return 0, first, (0,) * len(self.shape)
        else:
            block = self.recorder.gather_row(addresses)
        if self.is_whole():
            self.storage.address, self.storage.addresses, self.storage.step = block, None, 1
        return 0, block, None

    def operand(self, shape: Shape) -> tuple[int, int, int, Shape]:
        """Describe the array, broadcast to `shape`, as (kind, space, address, strides)."""
        space, address, strides = self.place()
        if strides is None:
            if self.shape == shape:
                return 1, space, address, contiguous(shape)
            strides = contiguous(self.shape)
        full = broadcast_strides(self.shape, strides, shape)
        if not any(full):
            return 2, space, address, full
        return (1 if full == contiguous(shape) else 0), space, address, full

    def view(self, shape: Any = None, offset: int = 0, strides: Shape | None = None) -> Array:
        """Return another view of the same storage; the array itself again where NumPy's view() is called."""
        if shape is None or not isinstance(shape, tuple):
            if shape is not None and shape is not np.ndarray and np.dtype(shape) != self.dtype:
                refuse("x.view(dtype) of another dtype is not recorded", "use x.astype(float)")
            return self.view(self.shape, self.offset, self.strides)
        if strides is not None and strides == contiguous(shape):
            strides = None
        return Array(self.recorder, self.storage, shape, offset, strides, self.boolean)

    def reshape(self, *shape: Any, order: str = "C", copy: Any = None) -> Array:
        """Return the elements in another shape; a view where NumPy gives one."""
        wanted = shape[0] if len(shape) == 1 and not isinstance(shape[0], (int, np.integer)) else shape
        if isinstance(wanted, (int, np.integer)):
            wanted = (wanted,)
        if order == "F" or (order == "A" and False):
            return self.transpose().reshape(tuple(reversed(resolve_shape(self.size, tuple(wanted))))).transpose()
        new_shape = resolve_shape(self.size, tuple(int(n) for n in wanted))
        if self.strides is None:
            return self.view(new_shape, self.offset, None)
        strides = reshaped_strides(self.shape, self.strides, new_shape)
        if strides is not None:
            return self.view(new_shape, self.offset, strides)
        return self.copy().reshape(new_shape)

    def transpose(self, *axes: Any) -> Array:
        """Return a view with the axes permuted."""
        order = axes[0] if len(axes) == 1 and not isinstance(axes[0], (int, np.integer)) else axes
        order = range(self.ndim)[::-1] if order is None or (not axes) else [normal_axis(a, self.ndim) for a in order]
        if sorted(order) != list(range(self.ndim)):
            raise ValueError("axes don't match array")
        steps = self.steps()
        return self.view(tuple(self.shape[a] for a in order), self.offset, tuple(steps[a] for a in order))

    @property
    def T(self) -> Array:
        """The view with all axes reversed."""
        return self.transpose()

    @property
    def mT(self) -> Array:
        """The view with the last two axes exchanged."""
        return self.swapaxes(-1, -2)

    def swapaxes(self, one: int, other: int) -> Array:
        """Return a view with two axes exchanged."""
        order = list(range(self.ndim))
        one, other = normal_axis(one, self.ndim), normal_axis(other, self.ndim)
        order[one], order[other] = order[other], order[one]
        return self.transpose(order)

    def broadcast_to(self, shape: Shape) -> Array:
        """Return a view with axes of length 1 repeated."""
        return self.view(shape, self.offset, broadcast_strides(self.shape, self.steps(), shape))

    def copy(self, order: str = "C") -> Array:
        """Return an array that shares no memory; no row is needed, for values at an address never change."""
        storage = self.storage
        if order != "C" and self.strides is not None:
            axes = [*range(self.ndim)][::-1] if order == "F" else memory_order(self.shape, (self,))
            if axes is not None:
                return self.transpose(axes).copy().transpose(np.argsort(axes))
        if storage.addresses is not None:
            fresh = Storage(0, 0, self.size)
            fresh.addresses = self.address_view().reshape(-1).copy()
        elif self.strides is None and storage.step:
            fresh = Storage(storage.space, storage.address + self.offset, self.size)
        elif storage.step == 0:
            fresh = Storage(0, storage.address, self.size, 0)
        else:
            space, address, strides = self.place()
            assert strides is not None
            block = self.recorder.add_row(self.shape, self.size, contiguous(self.shape), (space, address, strides))
            fresh = Storage(0, block, self.size)
        return Array(self.recorder, fresh, self.shape, 0, None, self.boolean)

    # ------------------------------------------------------------ elements

    def __len__(self) -> int:
        if not self.shape:
            raise TypeError("len() of unsized object")
        return self.shape[0]

    def __iter__(self) -> Iterator[Any]:
        if len(self.shape) == 1 and not self.boolean:
            if self.first is not None:
                return iter(scalars(self.recorder, list(range(self.first, self.first + self.shape[0]))))
            return iter(scalars(self.recorder, self.address_view().tolist()))
        return (self[k] for k in range(len(self)))

    def __contains__(self, value: Any) -> bool:
        return bool((self == value).any())

    def tolist(self) -> Any:
        """Return nested lists of recording scalars."""
        return [part.tolist() if isinstance(part, Array) else part for part in self]

    @property
    def flat(self) -> Any:
        """The elements in C order, as a view where there is one; where there is none they cannot be assigned."""
        result = self.reshape(-1)
        if result.storage is not self.storage:
            result.storage.__class__ = FlatStorage
        return result

    def scalar_at(self, position: int) -> Scalar:
        """Return the element at a position of the storage."""
        storage = self.storage
        if storage.space:
            bring_home(self.recorder, storage)
        result = new(Truth if self.boolean else Scalar)
        result.recorder = self.recorder
        if storage.addresses is None:
            result.address = storage.address + storage.step * position
        else:
            result.address = int(storage.addresses[position])
        return result

    def __getitem__(self, key: Any) -> Any:
        kind = type(key)
        if kind is int and len(self.shape) == 1:
            length = self.shape[0]
            if key < 0:
                key += length
            if not 0 <= key < length:
                raise IndexError(
                    f"index {key if key >= 0 else key - length} is out of bounds for axis 0 with size {length}"
                )
            if self.first is not None:
                return make_scalar(self.recorder, self.first + key, self.boolean)
            return self.scalar_at(self.offset + key * (1 if self.strides is None else self.strides[0]))
        basic = basic_view(self, key)
        if basic is not None:
            return basic
        return self.take_at(concrete_key(key))

    def take_at(self, key: Any) -> Any:
        """Return a new array of the elements that an advanced index names."""
        addresses = fancy_addresses(self, key)
        if not isinstance(addresses, np.ndarray):
            return make_scalar(self.recorder, int(addresses), self.boolean)
        storage = Storage(0, 0, addresses.size)
        storage.addresses = np.array(addresses, np.int64).reshape(-1)
        return Array(self.recorder, storage, addresses.shape, 0, None, self.boolean)

    def __setitem__(self, key: Any, value: Any) -> None:
        if self.recorder.closed:
            self.recorder.extend(())
        if self.storage.frozen:
            refuse(
                f"the elements of this array cannot be assigned: {self.storage.frozen}",
                "assign to a copy: y = x.copy()",
            )
        value = as_active(self.recorder, value)
        if value is NotImplemented:
            refuse("this cannot be assigned to an element of a recording array", "assign numbers or arrays")
        if (key is Ellipsis or (type(key) is slice and key == slice(None))) and self.is_whole():
            return self.overwrite(value)
        kind = type(key)
        if kind is int and type(value) is Scalar and len(self.shape) == 1:
            self.own_addresses()[key] = value.address
            return None
        self.own_addresses()[concrete_key(key)] = addresses_of(value)
        return None

    def overwrite(self, value: Any) -> None:
        """Assign to all elements."""
        storage = self.storage
        if isinstance(value, Array):
            value = broadcast_value(value, self.shape)
            space, address, strides = value.place()
            if strides is None:
                storage.space, storage.address, storage.step, storage.addresses = space, address, 1, None
                return
            if any(strides):
                copied = value.copy().storage
                storage.space, storage.address, storage.step = 0, copied.address, copied.step
                storage.addresses = copied.addresses
                return
            if space:
                value = value.scalar_at(value.offset)
                address = value.address
        else:
            address = value.address
        storage.space, storage.address, storage.step, storage.addresses = 0, address, 0, None

    def fill(self, value: Any) -> None:
        """Assign one value to all elements."""
        self[...] = value

    def item(self, *index: Any) -> Scalar:
        """Return one element; it goes on recording."""
        if not index:
            if self.size != 1:
                raise ValueError("can only convert an array of size 1 to a Python scalar")
            return self.reshape(-1)[0]
        return self.reshape(-1)[index[0]] if len(index) == 1 and isinstance(index[0], int) else self[tuple(index)]

    # ------------------------------------------------------------ values now

    def value(self) -> np.ndarray:
        """Return the values as a NumPy array."""
        execution = self.recorder.run()
        if self.storage.space and self.storage.addresses is None:
            base = self.recorder.spaces[self.storage.space]
            base = base.reshape(-1, order="C" if base.flags.c_contiguous else "F")  # memory order
            positions = spread(self.shape, self.steps()) + self.offset + self.storage.address
            return np.array(base[positions], self.dtype)
        return execution.values[self.address_view()].astype(self.dtype)

    def __bool__(self) -> bool:
        if self.size == 1:
            return bool(self.reshape(-1)[0])
        raise ValueError("The truth value of an array with more than one element is ambiguous. Use a.any() or a.all()")

    def __float__(self) -> float:
        return concrete_float(self.item())

    def __int__(self) -> int:
        return int(self.item())

    def __index__(self) -> int:
        if self.size != 1:
            raise TypeError("only integer scalar arrays can be converted to a scalar index")
        return self.item().__index__()

    def __array__(self, dtype: Any = None, copy: Any = None) -> np.ndarray:
        if is_whole(dtype) and not self.boolean:
            return self.astype(dtype)
        refuse_conversion(dtype)
        warn_object_array()
        result = np.empty(self.shape, dtype=object)
        flat = result.reshape(-1)
        flat[:] = scalars(self.recorder, self.address_view().reshape(-1).tolist())
        if not copy:  # NumPy would keep an alias: neither of the two may be written to
            result.flags.writeable = False
            self.storage.__class__ = SnapshotStorage
        return result


# ---------------------------------------------------------------- making


def make_scalar(recorder: Recorder, address: int, boolean: bool = False) -> Scalar:
    """Return the scalar at an address."""
    result = new(Truth if boolean else Scalar)
    result.recorder = recorder
    result.address = address
    return result


def scalars(recorder: Recorder, addresses: list[int]) -> list[Scalar]:
    """Return the scalars at some addresses."""
    result = []
    for address in addresses:
        scalar = new(Scalar)
        scalar.recorder = recorder
        scalar.address = address
        result.append(scalar)
    return result


def make_block(recorder: Recorder, address: int, shape: Shape, boolean: bool = False) -> Any:
    """Return the contiguous array (or the scalar) at an address of the arena."""
    if not shape:
        return make_scalar(recorder, address, boolean)
    result = new(Array)
    result.recorder = recorder
    result.first = address
    result.shape = shape
    result.boolean = boolean
    result.strides = result.shared = None
    result.offset = 0
    return result


def as_array(value: Any) -> Array:
    """Return a scalar as an array of no axes; an array as it is."""
    if isinstance(value, Array):
        return value
    return Array(value.recorder, Storage(0, value.address, 1), (), 0, None, value.boolean)


def constant_array(recorder: Recorder, values: np.ndarray) -> Array:
    """Return a plain array as a constant of the recording: small ones are copied, large ones kept by reference."""
    if values.dtype.kind not in "fiub":
        refuse(f"an array of dtype {values.dtype} cannot take part in a recording", "use real numbers")
    dtype = recorder.dtype
    if values.dtype is not dtype:
        recorder.promote(values.dtype)
        dtype = recorder.dtype
    boolean = values.dtype.kind == "b"
    count = values.size
    if count <= SMALL:
        address = recorder.allocate(count)
        recorder.loads.append((address, values.flatten() if values.dtype is dtype else values.astype(dtype).flatten()))
        return make_block(recorder, address, values.shape, boolean)
    if not (values.flags.c_contiguous or values.flags.f_contiguous) or not values.flags.aligned:
        values = np.array(values, recorder.dtype, order="C")
    elif values.dtype != recorder.dtype:
        values = values.astype(recorder.dtype)
    return Array(recorder, *outside(recorder.refer(values), values), boolean)


def outside(space: int, values: np.ndarray) -> tuple[Storage, Shape, int, Shape | None]:
    """Return the geometry of an array that stays where it is: C- or Fortran-contiguous memory."""
    strides = None if values.flags.c_contiguous else tuple(s // values.itemsize for s in values.strides)
    return Storage(space, 0, values.size), values.shape, 0, strides


def pack(recorder: Recorder, values: np.ndarray) -> Any:
    """Return an object array of recording scalars and numbers as a recording array."""
    flat = values.reshape(-1).tolist()
    addresses = np.empty(len(flat), np.int64)
    boolean = bool(flat)
    for k, part in enumerate(flat):
        if not isinstance(part, Active) and isinstance(part, np.ndarray) and part.size == 1:
            part = part.reshape(-1)[0]
        part = as_active(recorder, part)
        if isinstance(part, Array) and part.size == 1:
            part = part.item()
        if not isinstance(part, Scalar):
            refuse("an object array holds something that is not a number", "build arrays of numbers only")
        boolean = boolean and part.boolean
        addresses[k] = part.address
    storage = Storage(0, 0, len(flat))
    storage.addresses = addresses
    if not values.ndim:
        return make_scalar(recorder, int(addresses[0]), boolean)
    return Array(recorder, storage, values.shape, 0, None, boolean)


def as_active(recorder: Recorder, value: Any) -> Any:
    """Return any operand as a recording value of this recorder, or NotImplemented."""
    if isinstance(value, Active):
        if value.recorder is not recorder:
            foreign(value)
        return value
    kind = type(value)
    if kind is float or kind is int or kind is bool:
        address = recorder.constants.get(value)
        return make_scalar(recorder, recorder.constant(value) if address is None else address, kind is bool)
    if isinstance(value, np.ndarray):
        if kind is not np.ndarray:
            refuse_meaning(value)
        if value.dtype == object:
            return pack(recorder, value)
        if value.ndim:
            return constant_array(recorder, value)
        return as_active(recorder, value[()])
    if isinstance(value, np.generic):
        if value.dtype.kind == "f":
            return as_active(recorder, float(value))
        return as_active(recorder, value.item()) if value.dtype.kind in "iub" else complex_operand(value)
    if isinstance(value, (list, tuple)):
        return as_active(recorder, nested_array(value))
    if isinstance(value, complex):
        complex_operand(value)
    if isinstance(value, (str, bytes, dict, set)) or value is None:
        return NotImplemented
    if hasattr(value, "__array__"):
        return as_active(recorder, np.asarray(value))
    if hasattr(value, "__float__"):
        return as_active(recorder, float(value))
    return NotImplemented


def refuse_meaning(values: np.ndarray) -> None:
    """Refuse an array of a subclass whose operations mean something else than those of plain arrays."""
    found = other_meaning(values)
    if found:
        refuse(f"{found[0]} cannot take part in a recording", found[1])


def nested_array(values: Any) -> np.ndarray:
    """Return nested sequences of numbers and recording values as an array, of objects if need be."""
    if holds_active(values):
        from numbad import numpy_api

        return numpy_api.stack_nested(values)
    return np.asarray(values)


def holds_active(values: Any) -> bool:
    """Whether nested lists and tuples hold a recording value."""
    return any(
        isinstance(part, Active)
        or (isinstance(part, (list, tuple)) and holds_active(part))
        or (isinstance(part, np.ndarray) and part.dtype == object)
        for part in values
    )


def complex_operand(value: Any) -> Any:
    """Refuse a complex operand."""
    return refuse(
        f"{np.asarray(value).dtype} numbers cannot take part in a recording", "use real arrays for both parts"
    )


def foreign(value: Active) -> None:
    """Raise: the value belongs to another recording."""
    if value.recorder.closed:
        value.recorder.extend(())
    raise LeakError(
        message(
            "values of two recordings meet in one operation",
            "do not pass recording values from one thread or gradient to another",
        )
    )


# ---------------------------------------------------------------- recording


def record(op: Op, x: Any, y: Any = None) -> Any:
    """Append an elementwise op; return its result. At least one operand is recording."""
    recorder = x.recorder if isinstance(x, Active) else y.recorder
    if op.arity == 1:
        if type(x) is Array and x.first is not None:
            plans = CONTIGUOUS.get(x.shape) or plan_contiguous(x.shape)
            return append_row(recorder, MAP + op.opcode, plans.unary, x.first, 0, op.boolean)
        if isinstance(x, Scalar):
            return scalar_row(recorder, op, x.address, 0)
        shape = x.shape
        if not shape:
            return scalar_row(recorder, op, x.item().address, 0)
        order = memory_order(shape, (x,))
        if order is not None:
            return record(op, x.transpose(order)).transpose(np.argsort(order))
        return make_block(recorder, recorder.map_row(op.opcode, shape, (x.operand(shape),)), shape, op.boolean)
    given = (x, y)
    x, y = as_active(recorder, x), as_active(recorder, y)
    simple = plan_plain(x, y)
    if simple is not None:
        return append_row(recorder, MAP + op.opcode, *simple, op.boolean)
    if x is NotImplemented or y is NotImplemented:
        return NotImplemented
    if isinstance(x, Scalar) and isinstance(y, Scalar):
        return scalar_row(recorder, op, x.address, y.address)
    one, two = x.spot(), y.spot()
    if one is not None and two is not None and ordered(given[0]) and ordered(given[1]):
        key = (x.shape, x.strides, y.shape, y.strides)
        plan = PLANS.get(key, PLANS)
        if plan is PLANS:
            plan = plan_map(x, y, key)
        if plan is not None:
            return append_placed(recorder, MAP + op.opcode, plan, one, two, op.boolean)
    shape = x.shape if x.shape == y.shape else broadcast(x.shape, y.shape)
    if not shape:
        return scalar_row(recorder, op, x.item().address, y.item().address)
    order = memory_order(shape, given)
    if order is not None:
        x, y = (part.broadcast_to(shape).transpose(order) if part.shape else part for part in (x, y))
        return record(op, x, y).transpose(np.argsort(order))
    out = recorder.map_row(op.opcode, shape, (x.operand(shape), y.operand(shape)))
    return make_block(recorder, out, shape, op.boolean)


def plan_plain(x: Any, y: Any) -> tuple[Plan, int, int] | None:
    """Return plan and addresses for two contiguous arrays of one shape, or one and a number; None for others."""
    if type(x) is Array and x.first is not None:
        if type(y) is Array:
            if y.first is not None and y.shape == x.shape:
                return (CONTIGUOUS.get(x.shape) or plan_contiguous(x.shape)).arrays, x.first, y.first
        elif type(y) is Scalar:
            return (CONTIGUOUS.get(x.shape) or plan_contiguous(x.shape)).scalar_right, x.first, y.address
    elif type(x) is Scalar and type(y) is Array and y.first is not None:
        return (CONTIGUOUS.get(y.shape) or plan_contiguous(y.shape)).scalar_left, x.address, y.first
    return None


def ordered(value: Any) -> bool:
    """Whether an operand, as the program gave it, has NumPy's usual order of axes, or says itself which it has."""
    return type(value) is not np.ndarray or value.ndim < 2 or value.flags.c_contiguous


def plan_map(x: Any, y: Any, key: Any) -> Plan | None:
    """Return the plan of an elementwise row of two operands; None where NumPy would lay its result out otherwise."""
    shape = x.shape if x.shape == y.shape else broadcast(x.shape, y.shape)
    if not shape or memory_order(shape, (x, y)) is not None:
        return keep(key, None)
    operands = []
    for part in (x, y):
        steps = contiguous(part.shape) if part.strides is None else part.strides
        strides = broadcast_strides(part.shape, steps, shape)
        operands.append((1 if strides == contiguous(shape) else 0 if any(strides) else 2, 0, 0, strides))
    return keep(key, Plan(map_words(shape, 0, tuple(operands)), shape, True))


def memory_order(shape: Shape, operands: tuple[Any, ...]) -> list[int] | None:
    """Return the order of axes in which NumPy would lay out a result (order "K"); None if it is C.

    It decides whether a later reshape is a view, and so what an assignment to it changes. As in NumPy's
    iterator, an axis comes before another if its steps are larger; C order where operands disagree.
    """
    ndim = len(shape)
    if ndim < 2:
        return None
    strides = []
    for part in operands:
        if type(part) is Array and part.strides is not None and part.shape:
            strides.append(broadcast_strides(part.shape, part.strides, shape))
        elif type(part) is np.ndarray and part.ndim > 1 and not part.flags.c_contiguous:
            strides.append(broadcast_strides(part.shape, part.strides, shape))
        elif isinstance(part, (Array, np.ndarray)) and part.shape:
            strides.append(broadcast_strides(part.shape, contiguous(part.shape), shape))
    order = list(range(ndim))
    for axis in range(ndim - 2, -1, -1):  # insert into the sorted axes behind it
        place = axis
        for other in range(axis + 1, ndim):
            ahead = None
            for steps in strides:
                mine, its = abs(steps[axis]), abs(steps[order[other]])
                if mine and its and shape[axis] > 1 and shape[order[other]] > 1:
                    if its <= mine:
                        ahead = True
                    elif ahead is None:
                        ahead = False
            if ahead:
                break
            if ahead is not None:
                place = other
        order.insert(place, order.pop(axis))
    return None if order == list(range(ndim)) else order


def scalar_row(recorder: Recorder, op: Op, a: int, b: int) -> Scalar:
    """Append a scalar row."""
    out = recorder.size
    recorder.size = out + 1
    recorder.extend((op.opcode, out, a, b))
    return make_scalar(recorder, out, op.boolean)


def record_operator(op: Op, x: Any, y: Any) -> Any:
    """Append the row of an operator, with NumPy's rules for truth values."""
    active, other = (x, y) if isinstance(x, Active) else (y, x)
    if isinstance(other, np.ndarray) and other.dtype == object:
        other = pack(active.recorder, other)
        x, y = (active, other) if active is x else (other, active)
    if op.name in ("add", "multiply") and active.boolean and is_boolean(other):
        op = BY_NAME["logical_or" if op.name == "add" else "logical_and"]
    return record(op, x, y)


def is_boolean(value: Any) -> bool:
    """Whether an operand holds truth values."""
    return value.boolean if isinstance(value, Active) else getattr(value, "dtype", None) == BOOL or type(value) is bool


# ---------------------------------------------------------------- assignment


def broadcast_value(value: Array, shape: Shape) -> Array:
    """Broadcast a value that is assigned to a view of `shape`, as NumPy does."""
    if value.shape == shape:
        return value
    extra = len(value.shape) - len(shape)
    if extra > 0 and all(length == 1 for length in value.shape[:extra]):
        value = value.reshape(value.shape[extra:])
    try:
        return value.broadcast_to(shape)
    except ValueError:
        raise ValueError(
            message(
                f"could not broadcast input array from shape {value.shape} into shape {shape}",
                "assign a value of the shape of the elements that are named",
            )
        ) from None


# ---------------------------------------------------------------- indexing


def basic_view(array: Array, key: Any) -> Any:
    """Return the view that a basic index makes, or None when the index is an advanced one."""
    keys = key if type(key) is tuple else (key,)
    consumed = 0
    for part in keys:
        kind = type(part)
        if kind is int or kind is slice:
            consumed += 1
        elif isinstance(part, np.integer):
            consumed += 1
        elif part is not None and part is not Ellipsis:
            return None
    ndim = len(array.shape)
    if consumed > ndim:
        raise IndexError(f"too many indices for array: array is {ndim}-dimensional, but {consumed} were indexed")
    if keys.count(Ellipsis) > 1:
        raise IndexError("an index can only have a single ellipsis ('...')")
    steps = array.steps()
    shape: list[int] = []
    strides: list[int] = []
    offset = array.offset
    axis = 0
    for part in keys:
        if part is None:
            shape.append(1)
            strides.append(0)
        elif part is Ellipsis:
            rest = ndim - consumed
            shape += array.shape[axis : axis + rest]
            strides += steps[axis : axis + rest]
            axis += rest
        elif type(part) is slice:
            part = slice(*(None if end is None else int(end) for end in (part.start, part.stop, part.step)))
            start, stop, step = part.indices(array.shape[axis])
            length = len(range(start, stop, step))
            shape.append(length)
            strides.append(steps[axis] * step)
            offset += start * steps[axis] if length else 0
            axis += 1
        else:
            length = array.shape[axis]
            place = int(part)
            if not -length <= place < length:
                raise IndexError(f"index {place} is out of bounds for axis {axis} with size {length}")
            offset += (place % length) * steps[axis]
            axis += 1
    if axis < ndim:
        shape += array.shape[axis:]
        strides += steps[axis:]
    if not shape and Ellipsis not in keys:
        return array.scalar_at(offset)
    return array.view(tuple(shape), offset, tuple(strides))


def concrete_key(key: Any) -> Any:
    """Return an index with recording values replaced by what they are now, guarded."""
    if type(key) is tuple:
        return tuple(concrete_key(part) for part in key)
    if isinstance(key, Active):
        if not key.boolean:
            refuse("a recording value is used as an index", "write x[int(i)]: it gives the number and guards it")
        return concrete_truth(key)
    if isinstance(key, slice):
        return key
    if isinstance(key, (list, np.ndarray)):
        values = np.asarray(key, dtype=object) if isinstance(key, list) and holds_active(key) else np.asarray(key)
        if values.dtype == object and values.size:
            return np.vectorize(lambda part: bool(part) if getattr(part, "boolean", False) else part.__index__())(
                values
            )
        return key if values.size or values.dtype.kind in "iub" else np.asarray(key, np.intp)
    return key


MANY_TRUTHS = 64  # more of them are compared by one host row instead of a guard for each


def concrete_truth(mask: Any) -> Any:
    """Return truth values now, and guard each of them."""
    if isinstance(mask, Scalar):
        return bool(mask)
    recorder = mask.recorder
    if mask.size > MANY_TRUTHS:
        from numbad.numpy_api.decisions import decide

        return decide("truths", mask)
    values = recorder.run().values
    addresses = mask.address_view()
    truth = values[addresses] != 0.0
    recorder.note_site()
    for address, flag in zip(addresses.reshape(-1).tolist(), truth.reshape(-1).tolist(), strict=True):
        recorder.extend((GUARD, int(flag), address, 0))
    return truth


def fancy_addresses(array: Array, key: Any) -> Any:
    """Return the addresses that an advanced index names."""
    index = np.asarray(key) if isinstance(key, (list, np.ndarray)) else None
    storage = array.storage
    if index is not None and index.dtype.kind in "iu" and storage.addresses is None and not storage.space:
        length = array.shape[0]
        if index.size and (index.min() < -length or index.max() >= length):
            raise IndexError(f"index is out of bounds for axis 0 with size {length}")
        steps = array.steps()
        first = storage.address + storage.step * array.offset
        index = index.astype(np.int64)
        rows = np.where(index < 0, index + length, index) * (steps[0] * storage.step) + first
        if len(array.shape) == 1:
            return rows
        inner = spread(array.shape[1:], tuple(storage.step * s for s in steps[1:]))
        return rows.reshape(rows.shape + (1,) * inner.ndim) + inner
    return array.address_view()[key]


def addresses_of(value: Any) -> Any:
    """Return the address of a scalar, or the addresses of an array's elements."""
    return value.address_view() if isinstance(value, Array) else value.address


def bring_home(recorder: Recorder, storage: Storage) -> None:
    """Copy a storage that lives outside into the arena, so that its elements have addresses."""
    block = recorder.add_row((storage.size,), storage.size, (1,), (storage.space, storage.address, (storage.step,)))
    storage.space, storage.address, storage.step = 0, block, 1


# ---------------------------------------------------------------- conversions


def concrete_float(value: Scalar) -> float:
    """Return float(x) for indexing and printing; refuse where a compiled function asked for it."""
    from numbad.conversion import called_by_name

    if called_by_name("float"):
        return value.recorder.guard_value(value.address)
    refuse_in_library()
    return refuse(
        "a recording value cannot become a plain float here",
        "use np.sin instead of math.sin, and np.zeros_like(x), numbad.zeros(n) or a list for results,"
        " or import numbad.numpy as np",
    )


def is_whole(dtype: Any) -> bool:
    """Whether an array of integers is asked for: np.int64(x), np.asarray(x, int); as with x.astype(int), a decision."""
    return dtype is not None and np.dtype(dtype).kind in "iu"


def refuse_conversion(dtype: Any) -> None:
    """Refuse np.asarray(x, dtype=float) and the like."""
    if dtype is not None and np.dtype(dtype) != object:
        refuse_in_library()
        refuse(
            f"a recording value cannot be converted to a plain array of {np.dtype(dtype)}",
            "keep it as it is, build arrays with np.stack or numbad.array,"
            " import numbad.numpy as np, or give a function that converts it a rule (numbad.custom_vjp)",
        )


def refuse_in_library() -> None:
    """Refuse a conversion inside of a function of SciPy by the name of that function."""
    from numbad.conversion import library_function

    name = library_function()
    if name:
        refuse(
            f"{name} does not take recording values",
            "write it with functions that are recorded, or give it a rule with numbad.custom_vjp",
        )


_warned = False


def warn_object_array() -> None:
    """Say once that a recording array became an array of objects."""
    global _warned
    if not _warned:
        _warned = True
        import warnings

        warnings.warn(
            message(
                "a recording array was converted to an array of objects (np.asarray or np.array); this is slow",
                "use the array as it is, or np.stack, np.concatenate or numbad.array",
            ),
            stacklevel=4,
        )


def register_ufuncs() -> None:
    """Note which NumPy ufuncs are ops."""
    for name, op in BY_UFUNC.items():
        ufunc = getattr(np, name, None)
        if isinstance(ufunc, np.ufunc) and op.ufunc.startswith("numpy."):
            OPS[ufunc] = op


register_ufuncs()
numbers.Real.register(Scalar)  # np.isscalar and isinstance(x, numbers.Number) ask for it


def numpy_method(name: str) -> Callable[..., Any]:
    """Make the array method that is the NumPy function of the same name."""

    function = getattr(np, name)

    def method(self: Any, *arguments: Any, **keywords: Any) -> Any:
        return above("numbad.numpy_api").apply_function(function, (self, *arguments), keywords)

    method.__name__ = name
    method.__doc__ = f"Return np.{name} of the array."
    return method


METHODS = (
    "sum mean prod max min var std clip cumsum cumprod dot argmax argmin argsort squeeze ravel trace diagonal"
    " repeat take round any all nonzero searchsorted compress choose argpartition put"
).split()
for _name in METHODS:
    setattr(Active, _name, numpy_method(_name))
for _ufunc, _op in OPS.items():
    if _op.arity == 1 and not hasattr(Scalar, _ufunc.__name__):
        setattr(Scalar, _ufunc.__name__, unary(_op.name))  # NumPy's loops over objects call these


def binary_method(name: str) -> Callable[..., Any]:
    """Make the method that NumPy's loop over objects calls for a ufunc of two operands."""

    def method(self: Any, other: Any) -> Any:
        return record(BY_NAME[name], self, other)

    method.__name__ = name
    return method


for _name in ("fmod", "arctan2", "hypot"):
    setattr(Scalar, _name, binary_method(_name))


def _flatten(self: Any, order: Any = "C") -> Any:
    """Return a flat copy."""
    return self.copy().reshape(-1) if order == "C" else np.ravel(self, order=order).copy()


def _astype(
    self: Any, dtype: Any, order: str = "K", casting: str = "unsafe", subok: bool = True, copy: bool = True
) -> Any:
    """Return a copy of the array: its values are floating already; other dtypes have no derivative."""
    wanted = np.dtype(dtype)
    if wanted.kind == "b":
        return self if self.boolean else self != 0.0
    if wanted.kind in "iu":
        if self.boolean:
            return self
        from numbad.numpy_api.decisions import decide

        return decide("whole_numbers", self, keywords={"dtype": wanted})
    if wanted.kind != "f":
        return refuse(f"a recording value cannot become {wanted}", "use real floating-point numbers")
    same = wanted == self.recorder.dtype
    self.recorder.promote(wanted)
    if self.boolean:
        return self * 1.0
    return self if same and not copy else self.copy(order)


def _sort(self: Array, axis: int = -1, kind: Any = None, order: Any = None, *, stable: Any = None) -> None:
    """Sort in place."""
    self[...] = np.sort(self, axis, kind)


def _partition(self: Array, kth: Any, axis: int = -1, kind: str = "introselect", order: Any = None) -> None:
    """Partition in place."""
    self[...] = np.partition(self, kth, axis)


Array.sort = _sort  # type: ignore[attr-defined]
Array.partition = _partition  # type: ignore[attr-defined]
Active.flatten = _flatten  # type: ignore[attr-defined]
Active.astype = _astype  # type: ignore[attr-defined]
