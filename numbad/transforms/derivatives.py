"""The derivatives of a function at a point: gradient and value, by recording and sweeping."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from numbad.errors import InputError, OutputError, attribute, clarify, explain_lock, message, other_meaning
from numbad.limits import LARGE_INPUT, MOST_AT_ONCE, MOST_WORDS
from numbad.recording.active import Active, above
from numbad.recording.arrays import Array, make_block, memory_order, outside
from numbad.recording.borrowing import Borrowed
from numbad.recording.operands import foreign
from numbad.recording.recorder import Recorder, current, pairs_of, set_current
from numbad.recording.scalars import Scalar, make_scalar
from numbad.recording.trees import flatten
from numbad.settings import config
from numbad.sweeps import startup
from numbad.sweeps.execution import handed_out, kernel, switch

FLOAT64 = np.dtype(np.float64)
FLOATS = {float}


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


def check_leaf(value: Any) -> None:
    """Raise an InputError unless the value is real and floating."""
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
        do = {
            "f": "convert it: x.astype(float)",
            "c": "differentiate with respect to x.real and x.imag",
        }.get(kind, "convert it: x.astype(float)")
    else:
        found, do = (
            f"{type(value).__name__}",
            "pass floats, arrays of floats, or nested tuples, lists and dicts of them",
        )
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


def is_narrow(argnums: Any, arguments: tuple[Any, ...]) -> bool:
    """Whether derivatives with respect to some arguments are in single precision: all that they consist of is.

    A wider constant widens the recording that computes them.
    """
    if argnums is None:
        return False
    chosen = argnums if isinstance(argnums, tuple) else (argnums,)
    leaves = [leaf for k in chosen if -len(arguments) <= k < len(arguments) for leaf in flatten(arguments[k])[0]]
    return bool(leaves) and all(getattr(leaf, "dtype", None) == np.float32 for leaf in leaves)


def narrowed(found: Any) -> Any:
    """Return a tree of results in single precision."""
    leaves, rebuild = flatten(found)
    wide = (float, np.float64)
    return rebuild(
        [
            np.float32(leaf)
            if isinstance(leaf, wide)
            else leaf.astype(np.float32)
            if isinstance(leaf, np.ndarray) and leaf.dtype == np.float64
            else leaf
            for leaf in leaves
        ]
    )


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
    if isinstance(value, (float, int, np.ndarray, np.generic, Active, complex, str)) or value is None:
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
                check_leaf(value)
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
    """Run `f` once on recording values.

    Returns the recorder (still open), the leaves, how to rebuild each argument, and what `f` returned.
    """
    values, rebuilds = collect(arguments, argnums)
    dtype = input_dtype(values)
    recorder, leaves = begin(values, dtype)
    given = list(arguments)
    for k, active in zip(argnums, regroup([leaf.active for leaf in leaves], rebuilds)):
        given[k] = active
    result = run_recorded(recorder, f, given, keywords)
    note_inputs(recorder, leaves)
    return recorder, leaves, rebuilds, result


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
        return result
    except BaseException as error:
        try:
            explain(error, recorder)
        finally:
            recorder.close()
        raise
    finally:
        set_current(None)


def explain(error: BaseException, recorder: Recorder) -> None:
    """Raise numbad's own error where another stands before it, or does not say what to do."""
    explain_lock(error, any(found.lock is not None for found in recorder.borrowed.values()))
    clarify(error)


def record_leaves(
    call: Callable[[list[Any]], Any], values: list[Any], dtype: np.dtype
) -> tuple[Recorder, list[Leaf], Any]:
    """Run a function of a list of leaves on recording values; return the open recorder, the leaves and the result."""
    recorder, leaves = begin(values, dtype)
    result = run_recorded(recorder, call, ([leaf.active for leaf in leaves],), {})
    return recorder, leaves, result


def record_numbers(
    f: Callable[..., Any], arguments: tuple[float, ...], keywords: dict[str, Any]
) -> tuple[Recorder, list[Any], Any]:
    """Run a function of floats, the commonest small case, on recording scalars at addresses 1, 2, ..."""
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


def scalar_output(recorder: Recorder, result: Any, name: str) -> Scalar | None:
    """Return the recording scalar that a function returned; None for a plain number (a constant)."""
    if isinstance(result, np.ndarray) and result.dtype == object and result.size == 1:
        result = result.reshape(-1)[0]
    if isinstance(result, Scalar):
        if result.recorder is not recorder:
            result.recorder.extend(())
        if result.boolean:
            refuse_output(name, "a truth value", "return one number; np.where selects by a truth value")
        return result
    if isinstance(result, Array):
        if result.ndim:
            refuse_output(name, f"an array of shape {result.shape}", "sum the result, or use numbad.jacobian")
        return result.item()
    if result is None:
        refuse_output(name, "None", "return the number")
    kind = result.dtype.kind if isinstance(result, (np.ndarray, np.generic)) else ""
    number = isinstance(result, (int, float, np.generic, np.ndarray)) and not isinstance(result, (bool, complex))
    if not number or kind not in "fiu":
        found = f"a {type(result).__name__}" + (f" of {result.dtype}" if kind else "")
        refuse_output(name, found, "return one number; has_aux=True passes other results on")
    if np.ndim(result):
        do = "sum the result, or use numbad.jacobian"
        refuse_output(name, f"a constant array of shape {np.shape(result)}", do)
    return None


def refuse_output(name: str, returned: str, do: str) -> None:
    """Raise: a derivative that is defined for one number got something else."""
    what = f"{name} is defined for functions that return one number; this one returned {returned}"
    raise OutputError(message(what, do, where=False))


def concrete(tree: Any) -> Any:
    """Replace recording values of a tree by what they are now."""
    leaves, rebuild = flatten(tree)
    return rebuild([plain(leaf) if isinstance(leaf, Active) else leaf for leaf in leaves])


def is_slope(value: Active) -> bool:
    """Whether a value is a derivative as emission made it, whose absent elements are -0.0: its caller sees +0.0."""
    if value.boolean or not value.recorder.slopes:
        return False
    if isinstance(value, Scalar):
        return value.address in value.recorder.slopes
    storage = value.storage  # type: ignore[attr-defined]
    first = storage.addresses[:1] if storage.addresses is not None else (storage.address,)
    return not value.recorder.slopes.isdisjoint(first)


def plain(value: Active) -> Any:
    """Return a recording value as NumPy would hold it; a float for a scalar in double precision."""
    found = value.value()
    if is_slope(value):
        found = found + found.dtype.type(0)
    return float(found) if isinstance(found, np.float64) else found


def differentiate(
    f: Callable[..., Any],
    arguments: tuple[Any, ...],
    argnums: tuple[int, ...],
    keywords: dict[str, Any],
    name: str,
    has_aux: bool = False,
    wants_value: bool = True,
) -> tuple[Any, Any, list[Any]]:
    """Return the value, the auxiliary result and the gradient with respect to each of `argnums`."""
    if current() is not None:
        from numbad.emission.regions import differentiate_inside

        return differentiate_inside(f, arguments, argnums, keywords, name, has_aux)
    if not has_aux and set(map(type, arguments)) == FLOATS and argnums == tuple(range(len(arguments))):
        recorder, leaves, result = record_numbers(f, arguments, keywords)
        rebuilds: list[Any] = [None] * len(leaves)
        if (
            type(result) is Scalar
            and not recorder.words
            and recorder.execution is None
            and result.recorder is recorder
            and len(recorder.code) < MOST_AT_ONCE
        ):
            found = gradient_of_numbers(recorder, result.address, len(leaves))
            if found is not None:
                return found[0], None, found[1]
        leaves = [Leaf(None, value, FLOAT64, k + 1) for k, value in enumerate(leaves)]
        note_inputs(recorder, leaves)
    else:
        recorder, leaves, rebuilds, result = record_call(f, arguments, argnums, keywords)
    try:
        auxiliary = value = None
        if has_aux:
            result, auxiliary = split_auxiliary(result, name)
        output = result if type(result) is Scalar and result.recorder is recorder else None
        if output is None:
            output = scalar_output(recorder, result, name)
        if output is not None and not has_aux and recorder.execution is None and recorder.words:
            found = gradient_of_short(recorder, output.address, leaves)
            if found is not None:
                return found[0], None, regroup(found[1], rebuilds)
        read = output is not None and (wants_value or not recorder.ends_in_sum(output.address))
        execution = recorder.run(final=not has_aux, wanted=(output,) if read else ())
        if has_aux:
            auxiliary = concrete(auxiliary)
        if output is None:
            value, seeds = result, []
        else:
            seeds = [(output.address, 1.0)]
            if wants_value:
                value = plain(output)
        bars = execution.backward(seeds)
        slopes = [leaf.read(bars) for leaf in leaves]
        execution.release(bars)
    finally:
        recorder.close()
    return value, auxiliary, regroup(slopes, rebuilds)


def gradient_of_numbers(recorder: Recorder, output: int, inputs: int) -> tuple[float, list[float]] | None:
    """Return value and gradient of a short tape of scalar rows; None if a row is not for the scalar machine."""
    if config._debug_nans:
        return None
    constants = pairs_of(recorder.numbers, recorder.loads)
    if len(recorder.code) <= MOST_WORDS:
        found = startup.gradient(recorder.code, constants, recorder.size, output, inputs)
        if found is not None:
            recorder.close()
            return found
    gradient_rows = kernel("gradient_rows", FLOAT64)
    code, numbers = np.frombuffer(recorder.code, np.uint32), np.frombuffer(constants)
    pointer = switch("linearise", FLOAT64)
    done, value, found = gradient_rows(pointer, code, numbers, recorder.size, output, inputs)
    if 4 * done < len(code):
        return None
    recorder.close()
    return value, found.tolist()


def gradient_of_short(recorder: Recorder, output: int, leaves: list[Leaf]) -> tuple[Any, list[Any]] | None:
    """Return value and gradient of a short tape with arrays; None if the sweeps need Python for a row."""
    short = above("numbad.sweeps.whole")
    work = short.sweep_both(recorder, output)
    if work is None:
        return None
    value = work.memory[output]
    slopes = [leaf.read(work) for leaf in leaves]
    short.give_back(work)
    return float(value) if recorder.dtype is FLOAT64 else value, slopes


def split_auxiliary(result: Any, name: str) -> tuple[Any, Any]:
    """Split what a function with has_aux=True returned."""
    if not isinstance(result, tuple) or len(result) != 2:
        raise OutputError(
            message(f"{name} with has_aux=True needs a function that returns a pair", "return value, auxiliary")
        )
    return result


def gradient(f: Callable[..., Any], *points: Any, **keywords: Any) -> Any:
    """Return the gradient of `f` at a point, or the function that computes it.

    Parameters
    ----------
    f : callable
        A function of floats, arrays of floats, or nested tuples, lists and dicts of them, that
        returns one number.
    *points : float, ndarray or tree
        Where to differentiate, one for each positional argument of `f`. With none, the gradient
        is returned as a function.
    **keywords
        Passed to `f` as they are; not differentiated.

    Returns
    -------
    float, ndarray or tree
        With the structure, shapes and dtypes of the point; a tuple of them for several points.

    Raises
    ------
    InputError
        For integers, complex numbers and other inputs that have no derivative.
    OutputError
        When `f` does not return one number.

    Notes
    -----
    One run of `f` to record it, and two sweeps over its tape: about three times the cost of `f` in
    compiled code (Griewank and Walther, 2008, section 3.3), whatever the number of inputs.

    Examples
    --------
    >>> import numpy as np, numbad
    >>> numbad.gradient(lambda x: np.sum(x**2), np.array([1.0, 2.0, 3.0]))
    array([2., 4., 6.])
    >>> numbad.gradient(lambda x, y: x * y, 2.0, 5.0)
    (5.0, 2.0)
    """
    if not points:
        return lambda *points, **more: gradient(f, *points, **(keywords | more))
    _, _, found = differentiate(f, points, tuple(range(len(points))), keywords, "gradient", wants_value=False)
    return found[0] if len(points) == 1 else tuple(found)


def value_and_gradient(f: Callable[..., Any], *points: Any, **keywords: Any) -> Any:
    """Return the value of `f` and its gradient at a point, or the function that computes both.

    The arguments are those of `gradient`.

    Returns
    -------
    tuple
        The value, and what `gradient` returns.

    Examples
    --------
    >>> import numbad
    >>> numbad.value_and_gradient(lambda x: x**3, 2.0)
    (8.0, 12.0)
    """
    if not points:
        return lambda *points, **more: value_and_gradient(f, *points, **(keywords | more))
    value, _, found = differentiate(f, points, tuple(range(len(points))), keywords, "value_and_gradient")
    return value, found[0] if len(points) == 1 else tuple(found)
