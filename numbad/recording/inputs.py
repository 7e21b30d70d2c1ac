"""Inputs of a recording: checked, given addresses, and the run of the function on what stands for them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from numbad.errors import InputError, NumbadError, attribute, explain_lock, message, other_meaning, site_of
from numbad.kernels.memory import handed_out
from numbad.limits import COPIED, LARGE_INPUT
from numbad.recording.active import Active
from numbad.recording.arrays import Array, make_block, memory_order, outside
from numbad.recording.borrowing import Borrowed
from numbad.recording.complaints import clarify
from numbad.recording.filling import codes_of, plans, record_again, record_planned, repeats
from numbad.recording.operands import foreign
from numbad.recording.recorder import Recorder, set_current
from numbad.recording.scalars import make_scalar
from numbad.recording.trees import flatten
from numbad.recording.unfilled import entries

FLOAT64 = np.dtype(np.float64)


class Leaf:
    """One differentiable input: where it lives in the recording, and what its gradient looks like.

    Attributes
    ----------
    space, address : int
        Where its values are.
    value : float or ndarray
        What the caller gave.
    active : Active
        What the function gets.
    """

    __slots__ = ("active", "address", "order", "space", "value")

    def __init__(self, recorder: Recorder | None, value: Any, dtype: np.dtype, address: int = 0) -> None:
        self.value = value
        self.space = 0
        self.order: Any = "C"
        self.active: Any
        kind = type(value)
        if recorder is None:  # a number that has been recorded already
            self.address = address
            return
        if kind is float:
            self.address = address = recorder.size
            recorder.size = address + 1
            recorder.numbers.extend((address, value))
            self.active = make_scalar(recorder, address)
            return
        if isinstance(value, Active):
            foreign(value)
        values = np.asarray(value)
        if values.dtype is not dtype and values.dtype != dtype:
            values = values.astype(dtype)
        if not values.ndim:
            self.address = recorder.allocate(1)
            recorder.numbers.extend((self.address, float(values)))
            recorder.wide |= {self.address}
            self.active = make_scalar(recorder, self.address)
        elif values.size <= LARGE_INPUT:
            self.address = recorder.allocate(values.size)
            if values.size:
                recorder.loads.append((self.address, values.flatten()))
            self.active = make_block(recorder, self.address, values.shape)
            order = None if values.ndim == 1 or values.flags.c_contiguous else memory_order(values.shape, (values,))
            if order is not None:  # the program may ask for the order in memory: x.ravel("K"), a reshape of a copy
                self.active = self.active.transpose(order).copy().transpose(np.argsort(order))
        else:
            if not (values.flags.c_contiguous or values.flags.f_contiguous) or not values.flags.aligned:
                values = np.ascontiguousarray(values)
            self.address = 0
            self.order = "C" if values.flags.c_contiguous else "F"
            self.space = len(recorder.spaces)
            recorder.input_spaces.add(self.space)
            found = recorder.borrowed[self.space] = Borrowed(values)
            recorder.spaces.append(found.memory)
            self.active = Array(recorder, *outside(self.space, values))

    @handed_out
    def read(self, bars: Any) -> Any:
        """Return the cotangent of this input, with the shape and dtype that the caller gave."""
        value = self.value
        if type(value) is float:
            return float(bars.arena[self.address]) + 0.0  # what is absent is shown as zero
        values = value if type(value) is np.ndarray else np.asarray(value)
        dtype, shape = values.dtype, values.shape
        if self.space:
            found = bars.spaces[self.space].reshape(shape, order=self.order)
            return found.astype(dtype, copy=False)
        if not shape:
            scalar = dtype.type(bars.arena[self.address] + 0.0)
            return scalar if isinstance(value, np.generic) else np.asarray(scalar)
        found = bars.arena[self.address : self.address + values.size] + 0.0
        if found.dtype is not dtype:
            found = found.astype(dtype, copy=False)
        return found if len(shape) == 1 else found.reshape(shape)


def others_of(arguments: tuple[Any, ...], argnums: tuple[int, ...]) -> tuple[int, ...]:
    """Return the arguments among those that are to be differentiated which can be."""
    found = []
    for k in argnums:
        leaves = [as_leaf(leaf) for leaf in flatten(arguments[k])[0]]
        if all(isinstance(leaf, (float, Active)) or is_floating(leaf) for leaf in leaves):
            found.append(k)
    return tuple(found)


def is_floating(leaf: Any) -> bool:
    """Whether a leaf is a NumPy array or number of floats; other objects are asked nothing."""
    return isinstance(leaf, (np.ndarray, np.generic)) and leaf.dtype.kind == "f"


def check_leaf(value: Any, others: tuple[int, ...] = ()) -> None:
    """Raise an InputError unless the value is real and floating; `others` are arguments that are."""
    if type(value) is float:
        return
    if isinstance(value, (bool, int)) and not isinstance(value, np.generic):
        found = f"a Python {type(value).__name__} ({value})"
        do = f"write {value}.0" if type(value) is int else "differentiate with respect to floats"
    elif isinstance(value, complex):
        found, do = "a complex number", "differentiate with respect to the real and imaginary parts"
    elif isinstance(value, (np.ndarray, np.generic)):
        kind = np.asarray(value).dtype.kind
        if kind == "f" and value.dtype.itemsize in (4, 8):
            if type(value) is np.ndarray or not (other := other_meaning(value)):
                return
            raise InputError(message(f"the derivative with respect to {other[0]} is not defined", other[1]))
        found = f"an array of dtype {value.dtype}" if isinstance(value, np.ndarray) else f"a {value.dtype} number"
        do = "differentiate with respect to x.real and x.imag" if kind == "c" else "convert it: x.astype(float)"
    else:
        found, do = (
            f"{type(value).__name__}",
            "pass floats, arrays of floats, or nested tuples, lists and dicts of them",
        )
    is_array = isinstance(value, (np.ndarray, np.generic))
    if others and (isinstance(value, (int, str)) or (is_array and value.dtype.kind in "iubOSU")):
        do = f"leave it out: argnums={others[0] if len(others) == 1 else others}"
    raise InputError(message(f"the derivative with respect to {found} is not defined", do))


def check_meaning(value: Any) -> None:
    """Raise an InputError for floating numbers that a recording would read as others than they are."""
    if not isinstance(value, (np.ndarray, np.generic)) or value.dtype.kind != "f":
        return
    if value.dtype.itemsize not in (4, 8):
        what = f"{value.dtype} numbers cannot be recorded, which is done in double or single precision"
        raise InputError(message(what, "convert them: x.astype(float)"))
    if type(value) is not np.ndarray and (other := other_meaning(value)):
        raise InputError(message(f"{other[0]} cannot be recorded", other[1]))


def input_dtype(leaves: list[Any]) -> np.dtype:
    """Return the dtype of the arena: float32 if all arrays are, else float64."""
    if type(leaves[0]) is float if leaves else True:
        if len(leaves) < 2 or all(type(leaf) is float for leaf in leaves):
            return FLOAT64
    elif type(leaves[0]) is np.ndarray and leaves[0].dtype is FLOAT64:
        return FLOAT64
    found = {leaf.dtype for leaf in leaves if isinstance(leaf, (np.ndarray, np.generic))}
    return np.dtype(np.float32) if found == {np.dtype(np.float32)} else np.dtype(np.float64)


def as_leaf(value: Any) -> Any:
    """Return an input as a float, an array or a recording value."""
    if isinstance(value, Active):
        return value
    if isinstance(value, (float, int, np.ndarray, np.generic, complex, str)) or value is None:
        return (
            float(value)
            if type(value) is not float and isinstance(value, float) and not isinstance(value, np.generic)
            else value
        )
    if attribute(value, "__array__") is not None:
        return np.asarray(value)
    return value


def collect(arguments: tuple[Any, ...], argnums: tuple[int, ...]) -> tuple[list[Any], list[Any]]:
    """Return the differentiable leaves of some arguments, checked, and for each argument how to rebuild it.

    How is None for an argument that is a leaf, else the number of its leaves and a function of them.
    """
    values: list[Any] = []
    rebuilds: list[Any] = []
    for k in argnums:
        argument = arguments[k]
        kind = type(argument)
        if kind is float or (kind is np.ndarray and argument.dtype is FLOAT64):
            values.append(argument)
            rebuilds.append(None)
            continue
        tree, rebuild = flatten(argument)
        tree = [as_leaf(value) for value in tree]
        for value in tree:
            if not isinstance(value, Active):
                check_leaf(value, others_of(arguments, argnums) if len(argnums) > 1 else ())
        values += tree
        rebuilds.append((len(tree), rebuild))
    return values, rebuilds


def regroup(found: list[Any], rebuilds: list[Any]) -> list[Any]:
    """Return one tree for each argument from the flat list of its leaves."""
    if None in rebuilds and rebuilds.count(None) == len(rebuilds):
        return found
    result = []
    position = 0
    for how in rebuilds:
        if how is None:
            result.append(found[position])
            position += 1
        else:
            result.append(how[1](found[position : position + how[0]]))
            position += how[0]
    return result


def record_call(
    f: Callable[..., Any], arguments: tuple[Any, ...], argnums: tuple[int, ...], keywords: dict[str, Any]
) -> tuple[Recorder, list[Leaf], list[Any], Any]:
    """Run `f` on recording values.

    Returns the recorder (still open), the leaves, how to rebuild each argument, and what `f` returned.
    """
    if plans:
        return record_planned(f, record_call_once, f, arguments, argnums, keywords)
    try:
        return record_call_once(f, arguments, argnums, keywords)
    except Exception as error:
        if not repeats(error):
            raise
        codes = codes_of(error)
    return record_again(codes, f, record_call_once, f, arguments, argnums, keywords)


def record_call_once(
    f: Callable[..., Any], arguments: tuple[Any, ...], argnums: tuple[int, ...], keywords: dict[str, Any]
) -> tuple[Recorder, list[Leaf], list[Any], Any]:
    """Run `f` once on recording values."""
    values, rebuilds = collect(arguments, argnums)
    dtype = input_dtype(values)
    recorder, leaves = begin(values, dtype)
    given = list(arguments)
    for k, active in zip(argnums, regroup([leaf.active for leaf in leaves], rebuilds)):
        given[k] = active
    recorder.arguments = large_among(given, keywords)
    result = run_recorded(recorder, f, given, keywords)
    note_inputs(recorder, leaves)
    return recorder, leaves, rebuilds, result


def large_among(arguments: list[Any], keywords: dict[str, Any]) -> tuple[np.ndarray, ...]:
    """Return the large plain arrays that a function is given: parts of them are read where they lie."""
    given = (*arguments, *keywords.values())
    return tuple(part for part in given if type(part) is np.ndarray and part.size > COPIED and part.flags.c_contiguous)


def note_inputs(recorder: Recorder, leaves: list[Any]) -> None:
    """Tell a recorder with rows for Python where the inputs lie with respect to which it is differentiated."""
    if recorder.hosts:
        recorder.varied = places_of(leaves)


def places_of(leaves: list[Any]) -> list[tuple[int, int, int]]:
    """Return space, address and count of inputs."""
    return [(leaf.space, leaf.address, np.size(leaf.value)) for leaf in leaves]


def begin(values: list[Any], dtype: np.dtype) -> tuple[Recorder, list[Leaf]]:
    """Return a new recorder and the leaves of its inputs."""
    recorder = Recorder(dtype)
    try:
        return recorder, [Leaf(recorder, value, dtype) for value in values]
    except BaseException:
        recorder.close()
        raise


def run_recorded(recorder: Recorder, f: Callable[..., Any], arguments: Any, keywords: dict[str, Any]) -> Any:
    """Run a function while a recorder is this thread's own; end the recording if it raises."""
    set_current(recorder)
    try:
        result = f(*arguments, **keywords)
        if recorder.borrowed:
            recorder.check_borrowed()
        if recorder.unfilled is not None:
            raise recorder.unfilled
        return result
    except BaseException as error:
        try:
            explain_lists(error, arguments)
            explain(error, recorder)
        finally:
            recorder.close()
        raise
    finally:
        set_current(None)


def explain_lists(error: BaseException, arguments: Any) -> None:
    """Raise an InputError where a function that takes an array was given a list, or one tuple for several arguments."""
    if not isinstance(error, (TypeError, AttributeError)) or isinstance(error, NumbadError):
        return
    text, kinds = str(error), [type(argument) for argument in arguments]
    if list in kinds and "list" in text:
        what, do = "a point is a list, which the function gets as a list of numbers", "pass an array: np.array(point)"
    elif kinds == [tuple] and "required positional argument" in text:
        what, do = (
            "a point is one tuple, and the function takes several arguments",
            "give it as several: f, *point",
        )
    else:
        return
    raise InputError(message(f"{what} ({type(error).__name__}: {text})", do, site_of(error))) from error


def explain(error: BaseException, recorder: Recorder) -> None:
    """Raise numbad's own error where another stands before it, or does not say what to do."""
    explain_lock(error, any(found.lock is not None for found in recorder.borrowed.values()))
    clarify(error)


def record_leaves(
    f: Any, call: Callable[[list[Any]], Any], values: list[Any], dtype: np.dtype
) -> tuple[Recorder, list[Leaf], Any]:
    """Run `call`, which calls `f` for a list of leaves, on recording values.

    Returns the open recorder, the leaves and the result.
    """
    return record_planned(f, record_leaves_once, call, values, dtype)


def record_leaves_once(
    call: Callable[[list[Any]], Any], values: list[Any], dtype: np.dtype
) -> tuple[Recorder, list[Leaf], Any]:
    """Run a function of a list of leaves once on recording values."""
    recorder, leaves = begin(values, dtype)
    result = run_recorded(recorder, call, ([leaf.active for leaf in leaves],), {})
    return recorder, leaves, result


def record_numbers(
    f: Callable[..., Any], arguments: tuple[float, ...], keywords: dict[str, Any]
) -> tuple[Recorder, list[Any], Any]:
    """Run a function of floats, the commonest small case, on recording scalars at addresses 1, 2, ..."""
    if plans:
        return record_planned(f, record_numbers_once, f, arguments, keywords)
    try:
        return record_numbers_once(f, arguments, keywords)
    except Exception as error:
        if not repeats(error):
            raise
        codes = codes_of(error)
    return record_again(codes, f, record_numbers_once, f, arguments, keywords)


def record_numbers_once(
    f: Callable[..., Any], arguments: tuple[float, ...], keywords: dict[str, Any]
) -> tuple[Recorder, list[Any], Any]:
    """Run a function of floats once on recording scalars."""
    recorder = Recorder(FLOAT64)
    actives = []
    address = 1
    for value in arguments:
        recorder.numbers.extend((address, value))
        actives.append(make_scalar(recorder, address))
        address += 1
    recorder.size = address
    result = run_recorded(recorder, f, actives, keywords)
    return recorder, list(arguments), result


entries.update(part.__code__ for part in (record_call, record_numbers, record_planned))
