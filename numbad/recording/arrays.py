"""The recording array: a strided view of addresses of the tape, whose views are other views of the same addresses."""

from __future__ import annotations

import math
import operator
from collections.abc import Iterator
from typing import Any

import numpy as np

from numbad.geometry import broadcast_strides, contiguous, normal_axis, reach, reshaped_strides, resolve_shape, spread
from numbad.limits import FEWEST_ASSIGNED
from numbad.recording.active import Active, Shape, new
from numbad.recording.conversion import (
    concrete_float,
    is_key,
    is_whole,
    refuse_conversion,
    refuse_objects,
    warn_object_array,
)
from numbad.recording.flags import Flags, set_flags
from numbad.recording.recorder import Recorder, refuse
from numbad.recording.scalars import Scalar, Truth, make_scalar, make_scalars


class Storage:
    """The memory that an array and its views share.

    Element k is at `address + k * step` of `space`, or at `addresses[k]` of the arena once
    elements have been assigned. Values at an address never change; assignment changes addresses.
    `frozen` says why elements can no longer be assigned.
    """

    __slots__ = ("address", "addresses", "alias", "size", "space", "step")
    frozen = ""
    alias: Any  # of FlatStorage

    def __init__(self, space: int, address: int, size: int, step: int = 1) -> None:
        self.space = space
        self.address = address
        self.size = size
        self.step = step
        self.addresses: np.ndarray | None = None

    @staticmethod
    def read_only() -> type[Storage]:
        """Return the class of a storage whose flags say that it is read-only."""
        return ReadOnlyStorage


class ReadOnlyStorage(Storage):
    """A storage to which the program has forbidden itself to write: its views are read-only, too."""

    __slots__ = ()
    frozen = "its flags say that it is read-only"


class SnapshotStorage(Storage):
    """A storage of which there is an array of objects: NumPy's alias of the two cannot be kept."""

    __slots__ = ()
    frozen = "np.asarray made an array of objects of them"


class FlatStorage(Storage):
    """A copy of the elements of an array that is not contiguous, where NumPy's `x.flat` is an alias.

    What is assigned to the whole of it is assigned to the array as well.
    """

    __slots__ = ()


class RowStorage(Storage):
    """A part of an array at a place that varies, W[k], or the array: the part is a copy where NumPy's is a view."""

    __slots__ = ()
    frozen = "a part at a place that varies from run to run has been taken of it"


class RuleStorage(Storage):
    """What a rule of the user's own is given: elements that others read, too."""

    __slots__ = ()
    frozen = "a rule was given it, and must not change it"


class Array(Active):
    """A recording array: a strided view of a storage.

    Attributes
    ----------
    first : int or None
        The address of the first element, of a contiguous array in the arena that has no storage yet. Most
        arrays are the results of operations and never need one: it is made for their first view or assignment.
    shared : Storage or None
        The storage, once it has been made.
    offset, pitches : int, tuple of int or None
        Where the first element is, and the strides, in elements of the storage; None when C-contiguous.
    """

    __slots__ = ("boolean", "first", "offset", "pitches", "recorder", "shape", "shared")
    first: int | None
    shared: Storage | None
    offset: int
    pitches: Shape | None
    __getitem__: Any
    __setitem__: Any
    sort: Any
    partition: Any
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
        self.pitches = strides
        self.boolean = boolean

    def stands_for(self) -> type:
        """Return the class of NumPy's arrays."""
        return np.ndarray

    @property
    def storage(self) -> Storage:
        """The memory that the array and its views share."""
        found = self.shared
        if found is None:
            assert self.first is not None
            found = self.shared = Storage(0, self.first, math.prod(self.shape))
            self.first = None
        return found

    # ------------------------------------------------------------ geometry

    @property
    def strides(self) -> Shape:
        """The strides in bytes."""
        return tuple(step * self.itemsize for step in self.steps())

    def steps(self) -> Shape:
        """Return the strides in the storage, in elements."""
        return contiguous(self.shape) if self.pitches is None else self.pitches

    def is_whole(self) -> bool:
        """Whether the view is its storage, in order."""
        return self.offset == 0 and self.pitches is None and self.size == self.storage.size

    def address_view(self) -> np.ndarray:
        """Return the addresses of the elements, as a view of those of the storage if it has any."""
        if self.first is not None:
            return np.arange(self.first, self.first + self.size).reshape(self.shape)
        storage = self.storage
        if storage.space:
            bring_home(self.recorder, storage)
        addresses = storage.addresses
        if addresses is None and self.pitches is None and storage.step == 1:
            first = storage.address + self.offset
            return np.arange(first, first + self.size).reshape(self.shape)
        steps = self.steps()
        if addresses is None:
            return spread(self.shape, tuple(storage.step * s for s in steps)) + (
                storage.address + storage.step * self.offset
            )
        if not self.size:  # such a view may begin behind the end of its storage
            return np.empty(self.shape, np.int64)
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
            return storage.space, storage.address + self.offset, self.pitches
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
        """Gather scattered elements into a new block, which the storage takes over if it is whole.

        Where half of the storage or more is read, all of it is gathered: other parts are mostly read next.
        """
        storage = self.storage
        if FEWEST_ASSIGNED <= storage.size <= 2 * self.size and not self.is_whole():
            Array(self.recorder, storage, (storage.size,)).collect()
            if storage.addresses is None:
                return self.place()
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

    def view(
        self, shape: Any = None, offset: int = 0, strides: Shape | None = None, *, dtype: Any = None, type: Any = None
    ) -> Array:
        """Return another view of the same storage; the array itself again where NumPy's view() is called."""
        shape = shape if dtype is None else dtype
        if type is not None and type is not np.ndarray:
            refuse("x.view(type) of another type is not recorded", "leave the type away")
        if shape is None or not isinstance(shape, tuple):
            if shape is not None and shape is not np.ndarray and np.dtype(shape) != self.dtype:
                refuse("x.view(dtype) of another dtype is not recorded", "use x.astype(float)")
            return self.view(self.shape, self.offset, self.pitches)
        if strides is not None and strides == contiguous(shape):
            strides = None
        return Array(self.recorder, self.storage, shape, offset, strides, self.boolean)

    def reshape(self, *shape: Any, order: str = "C", copy: Any = None) -> Array:
        """Return the elements in another shape; a view where NumPy gives one."""
        wanted = shape[0] if len(shape) == 1 and not isinstance(shape[0], (int, np.integer)) else shape
        if isinstance(wanted, (int, np.integer)):
            wanted = (wanted,)
        if copy:
            return self.copy("K").reshape(wanted, order=order)
        if plain_order(self, order) == "F":
            return self.transpose().reshape(tuple(reversed(resolve_shape(self.size, tuple(wanted))))).transpose()
        new_shape = resolve_shape(self.size, tuple(int(n) for n in wanted))
        if self.pitches is None:
            return self.view(new_shape, self.offset, None)
        strides = reshaped_strides(self.shape, self.pitches, new_shape)
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
        axes = axes_of_copy(self, order)
        if axes is not None:
            return self.transpose(axes).copy().transpose(np.argsort(axes))
        if storage.addresses is not None:
            fresh = Storage(0, 0, self.size)
            fresh.addresses = self.address_view().reshape(-1).copy()
        elif self.pitches is None and storage.step:
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
            return self.numbers()
        return (self[k] for k in range(len(self)))

    def numbers(self) -> Iterator[Any]:
        """Give the numbers of a vector one by one; what the program assigns on the way is seen, as in NumPy."""
        addresses = self.address_view()
        if self.first is None and self.storage.addresses is not None:
            for k in range(self.shape[0]):
                yield make_scalar(self.recorder, addresses.item(k))  # a view of what is assigned to
            return
        for k, scalar in enumerate(make_scalars(self.recorder, addresses.tolist())):
            shared = self.shared
            yield scalar if shared is None or shared.addresses is None else self[k]

    def __contains__(self, value: Any) -> bool:
        return bool((self == value).any())

    def tolist(self) -> Any:
        """Return nested lists of recording scalars."""
        return [part.tolist() if isinstance(part, Array) else part for part in self]

    @property
    def flat(self) -> Any:
        """The elements in C order: a view, or a copy that hands on what is assigned to it."""
        result = self.reshape(-1)
        if result.storage is self.storage:
            return result
        copied = result.storage
        storage = FlatStorage(copied.space, copied.address, copied.size, copied.step)
        storage.addresses, storage.alias = copied.addresses, self
        return Array(self.recorder, storage, result.shape, result.offset, result.pitches, self.boolean)

    @flat.setter
    def flat(self, value: Any) -> None:
        whole: Any = self
        np.put(whole, np.arange(self.size), value)

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

    def fill(self, value: Any) -> None:
        """Assign one value to all elements."""
        self[...] = value

    def item(self, *index: Any) -> Scalar:
        """Return one element, by its place in C order or by its place along each axis; it goes on recording."""
        if not index:
            if self.size != 1:
                raise ValueError("can only convert an array of size 1 to a Python scalar")
            index = (0,)
        if len(index) == 1 and not isinstance(index[0], tuple):
            place = operator.index(index[0])
            if not -self.size <= place < self.size:
                raise IndexError(f"index {place} is out of bounds for size {self.size}")
            found = np.unravel_index(place % self.size, self.shape)
        else:
            found = index[0] if isinstance(index[0], tuple) else index
            if len(found) != len(self.shape):
                raise ValueError("incorrect number of indices for array")
        return self[tuple(operator.index(part) for part in found)]

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

    @property
    def flags(self) -> Flags:
        """The flags that NumPy's array would have."""
        return Flags(self)

    setflags = set_flags

    def __bool__(self) -> bool:
        if self.size == 1:
            return bool(self.reshape(-1)[0])
        raise ValueError("The truth value of an array with more than one element is ambiguous. Use a.any() or a.all()")

    def __float__(self) -> float:
        return concrete_float(self.item()) if self.size == 1 else float(np.zeros(self.shape))

    def __int__(self) -> int:
        return int(self.item()) if self.size == 1 else int(np.zeros(self.shape))

    def __index__(self) -> int:
        if self.size != 1:
            raise TypeError("only integer scalar arrays can be converted to a scalar index")
        return self.item().__index__()

    def __array__(self, dtype: Any = None, copy: Any = None) -> np.ndarray:
        if self.boolean and (dtype is None or np.dtype(dtype).kind != "O"):
            return np.asarray(self.truth_now(), dtype)
        if is_whole(dtype):
            return self.astype(dtype)
        refuse_conversion(dtype)
        if dtype is None and is_key():
            return np.asarray(self.whole_now())
        refuse_objects(dtype)
        warn_object_array()
        result = np.empty(self.shape, dtype=object)
        flat = result.reshape(-1)
        flat[:] = make_scalars(self.recorder, self.address_view().reshape(-1).tolist())
        if not copy:  # NumPy would keep an alias: neither of the two may be written to
            result.flags.writeable = False
            self.storage.__class__ = SnapshotStorage
        return result


def strided(recorder: Recorder, space: int, address: int, shape: Shape, strides: Shape) -> Array:
    """Return a strided view of a space as a recording array."""
    first, last = reach(address, shape, strides)
    storage = Storage(space, first, last - first + 1)
    return Array(recorder, storage, shape, address - first, None if strides == contiguous(shape) else strides)


def make_block(recorder: Recorder, address: int, shape: Shape, boolean: bool = False) -> Any:
    """Return the contiguous array (or the scalar) at an address of the arena."""
    if not shape:
        return make_scalar(recorder, address, boolean)
    result = new(Array)
    result.recorder = recorder
    result.first = address
    result.shape = shape
    result.boolean = boolean
    result.pitches = result.shared = None
    result.offset = 0
    return result


def constant(recorder: Recorder, values: np.ndarray) -> Any:
    """Return numbers as constants of the arena."""
    if values.ndim:
        return make_block(recorder, recorder.load(values), values.shape)
    return make_scalar(recorder, number_at(recorder, float(values)))


def number_at(recorder: Recorder, number: float) -> int:
    """Return the address of a number in the arena."""
    address = recorder.constants.get(number)
    return recorder.constant(number) if address is None else address


def filled(value: Any) -> Any:
    """Return a recording array as a contiguous block of the arena."""
    space, address, strides = value.place()
    if strides is None and space == 0:
        return make_block(value.recorder, address, value.shape) if value.shape else value
    strides = contiguous(value.shape) if strides is None else strides
    out = value.recorder.add_row(value.shape, value.size, contiguous(value.shape), (space, address, strides))
    return make_block(value.recorder, out, value.shape)


def as_array(value: Any) -> Array:
    """Return a scalar as an array of no axes; an array as it is."""
    if isinstance(value, Array):
        return value
    return Array(value.recorder, Storage(0, value.address, 1), (), 0, None, value.boolean)


def outside(space: int, values: np.ndarray) -> tuple[Storage, Shape, int, Shape | None]:
    """Return the geometry of an array that stays where it is: C- or Fortran-contiguous memory."""
    strides = None if values.flags.c_contiguous else tuple(s // values.itemsize for s in values.strides)
    return Storage(space, 0, values.size), values.shape, 0, strides


def bring_home(recorder: Recorder, storage: Storage) -> None:
    """Copy a storage that lives outside into the arena, so that its elements have addresses."""
    block = recorder.add_row((storage.size,), storage.size, (1,), (storage.space, storage.address, (storage.step,)))
    storage.space, storage.address, storage.step = 0, block, 1


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
        if type(part) is Array and part.pitches is not None and part.shape:
            strides.append(broadcast_strides(part.shape, part.pitches, shape))
        elif type(part) is np.ndarray and part.ndim > 1 and not part.flags.c_contiguous:
            strides.append(broadcast_strides(part.shape, part.strides, shape))
        elif isinstance(part, (Array, np.ndarray)) and part.shape:
            strides.append(broadcast_strides(part.shape, contiguous(part.shape), shape))
    order = list(range(ndim))
    for axis in range(ndim - 2, -1, -1):  # insert into the sorted axes behind it
        place = axis
        for other in range(axis + 1, ndim):
            ahead = comes_first(axis, order[other], shape, strides)
            if ahead:
                break
            if ahead is not None:
                place = other
        order.insert(place, order.pop(axis))
    return None if order == list(range(ndim)) else order


def comes_first(axis: int, other: int, shape: Shape, strides: list[Shape]) -> bool | None:
    """Whether some operand steps as far or farther along an axis than along another; None if no operand tells."""
    if shape[axis] <= 1 or shape[other] <= 1:
        return None
    told = None
    for steps in strides:
        mine, its = abs(steps[axis]), abs(steps[other])
        if mine and its:
            if its <= mine:
                return True
            told = False
    return told


def in_order(array: Array) -> bool:
    """Whether the elements follow one another in memory: only then ravel is a view, where reshape often is one."""
    return array.pitches is None or all(
        step == expected
        for length, step, expected in zip(array.shape, array.pitches, contiguous(array.shape), strict=True)
        if length != 1
    )


def plain_order(array: Array, order: str) -> str:
    """Return an order of elements with "A" resolved: F where only Fortran's order is that of memory, else C."""
    if order != "A":
        return order
    return "F" if not in_order(array) and in_order(array.transpose()) else "C"


def axes_of_copy(array: Array, order: str) -> list[int] | None:
    """Return the order of axes in memory that a copy gets; None if it is C."""
    if array.ndim < 2 or order == "C":
        return None
    if order == "K":
        return None if array.pitches is None else memory_order(array.shape, (array,))
    return [*range(array.ndim)][::-1] if plain_order(array, order) == "F" else None


def reshape_scalar(self: Scalar, *shape: Any, order: str = "C", copy: Any = None) -> Any:
    """Return an array of one element."""
    return as_array(self).reshape(*shape, order=order)


Scalar.reshape = reshape_scalar
