"""Derivatives inside a recording: a region of the tape with fresh inputs, and rows emitted for it.

Everything that is not the plain gradient at the top level goes this way: derivatives of
derivatives, Jacobians, batches. At the top level a recording is begun for the purpose, and the
results are swept and returned as NumPy's; inside a recording they are recording values.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any, NoReturn

import numpy as np

from numbad.emission.adjoint import emit_adjoint
from numbad.emission.linear import Linear
from numbad.errors import OutputError, message
from numbad.geometry import contiguous
from numbad.ops.arithmetic import identity
from numbad.recording.active import Active
from numbad.recording.arrays import Array, constant, make_block
from numbad.recording.inputs import collect, explain, input_dtype, regroup
from numbad.recording.operands import as_active
from numbad.recording.outputs import plain, scalar_output, split_auxiliary
from numbad.recording.recorder import Recorder, current, set_current
from numbad.recording.scalars import Scalar, make_scalar
from numbad.recording.trees import flatten


class Region:
    """A run of rows and its fresh inputs.

    Attributes
    ----------
    base : int
        The first address of the region; what lies before is constant in it.
    inputs : list of Active
        What the function gets.
    addresses : list of ndarray of int64
        Where the inputs are: kept apart, for the function may assign to its inputs.
    """

    def __init__(self, recorder: Recorder, values: list[Any]) -> None:
        self.recorder = recorder
        recorder.allocate(1)  # a gap: no run of addresses reaches from a constant into the region
        self.base = recorder.size
        recorder.bases.append(self.base)
        self.inputs = [fresh(recorder, value) for value in values]
        self.addresses = [addresses_of(value) for value in self.inputs]
        self.start = recorder.row_count()
        self.stop = self.start

    def close(self) -> None:
        """End the region: the function has returned."""
        self.stop = self.recorder.row_count()

    def linear(self, lanes: int = 0) -> Linear:
        """Return the empty table of cotangents or tangents of the region."""
        return Linear(self.recorder, self.base, self.start, self.stop, lanes)

    def pull(self, outputs: list[Any], seeds: list[Any], lanes: int = 0) -> list[Any]:
        """Return the inputs' cotangents, with lanes last, given those of the outputs' addresses."""
        linear = self.linear(lanes)
        linear.mark_active(self.addresses)
        for addresses, seed in zip(outputs, seeds, strict=True):
            linear.seed(addresses, seed)
        emit_adjoint(linear)
        return [linear.result(addresses) for addresses in self.addresses]


def addresses_of(value: Any) -> np.ndarray:
    """Return the addresses of a recording value, as an array of its own."""
    if isinstance(value, Array):
        return np.array(value.address_view())
    return np.array(value.address, np.int64)


def fresh(recorder: Recorder, value: Any) -> Any:
    """Return a copy of a value at addresses of its own."""
    if not isinstance(value, Active):
        if isinstance(value, (np.ndarray, np.generic)):
            recorder.promote(value.dtype)
        values = np.asarray(value, recorder.dtype)
        if not values.ndim:
            address = recorder.allocate(1)
            recorder.numbers.extend((address, float(values)))
            if type(value) is not float:
                recorder.wide |= {address}
            return make_scalar(recorder, address)
        return make_block(recorder, recorder.load(values), values.shape)
    value = as_active(recorder, value)
    if isinstance(value, Scalar):
        return identity(value)
    space, address, strides = value.place()
    strides = contiguous(value.shape) if strides is None else strides
    out = recorder.add_row(value.shape, value.size, contiguous(value.shape), (space, address, strides))
    return Array(recorder, make_block(recorder, out, (value.size,)).storage, value.shape)


@contextlib.contextmanager
def session(values: list[Any]) -> Iterator[tuple[Recorder, bool]]:
    """Give the running recording, or one begun for the purpose; and whether it is the latter."""
    recorder = current()
    if recorder is not None:
        yield recorder, False
        return
    recorder = Recorder(input_dtype(values))
    set_current(recorder)
    try:
        yield recorder, True
    except Exception as error:
        explain(error, recorder)
        raise
    finally:
        set_current(None)
        recorder.close()


def finish(tree: Any, dtype: Any = None) -> Any:
    """Return a tree of results as NumPy's: the recording that was begun for them ends."""
    leaves, rebuild = flatten(tree)
    return rebuild([plain(leaf) if isinstance(leaf, Active) else leaf for leaf in leaves])


def cast(value: Any, like: Any) -> Any:
    """Give a concrete result the dtype of the input that it is the derivative with respect to."""
    if type(like) is float or isinstance(like, Active) or isinstance(value, Active):
        return value
    dtype = np.asarray(like).dtype
    if isinstance(value, np.ndarray):
        return value.astype(dtype, copy=False)
    return dtype.type(value) if isinstance(like, np.generic) else np.asarray(value, dtype)


class Call:
    """A function run on the fresh inputs of a region.

    Attributes
    ----------
    region : Region
    values : list
        The leaves of the differentiable arguments as they were given.
    rebuilds : list
        How the leaves make up the arguments.
    result, auxiliary : tree
        What the function returned.
    """

    def __init__(
        self,
        recorder: Recorder,
        f: Callable[..., Any],
        arguments: tuple[Any, ...],
        argnums: tuple[int, ...],
        keywords: dict[str, Any],
        has_aux: bool = False,
        name: str = "",
    ) -> None:
        self.values, self.rebuilds = collect(arguments, argnums)
        self.region = Region(recorder, self.values)
        given = list(arguments)
        for k, active in zip(argnums, regroup(self.region.inputs, self.rebuilds), strict=True):
            given[k] = active
        self.result = f(*given, **keywords)
        self.auxiliary = None
        if has_aux:
            self.result, self.auxiliary = split_auxiliary(self.result, name)
        self.region.close()

    def outputs(self) -> tuple[list[Any], Any]:
        """Return the leaves of the result as recording values, and how they make it up."""
        return real_outputs(self.region.recorder, self.result, bool(self.values))


def real_outputs(recorder: Recorder, result: Any, has_inputs: bool) -> tuple[list[Any], Any]:
    """Return the leaves of a result as recording values, and how they make it up.

    None in a result has no leaves. A function of numbers whose whole result is None lacks a `return`.
    """
    if result is None and has_inputs:
        refuse_output(result)
    leaves, rebuild = flatten(result)
    return [real_output(recorder, leaf) for leaf in leaves], rebuild


def refuse_output(leaf: Any) -> NoReturn:
    """Raise an OutputError for a result that has no derivative."""
    raise OutputError(
        message(
            f"the function returned {'None' if leaf is None else 'a ' + type(leaf).__name__}, which has no derivative",
            "return numbers and arrays, or nested tuples, lists and dicts of them",
            where=False,
        )
    )


def output_value(recorder: Recorder, leaf: Any) -> Any:
    """Return an output as a recording value, or raise an OutputError."""
    found = NotImplemented
    if isinstance(leaf, Active) or not isinstance(leaf, (str, bytes, bool, complex)):
        found = as_active(recorder, leaf)
    if found is NotImplemented:
        refuse_output(leaf)
    return found


def real_output(recorder: Recorder, leaf: Any) -> Any:
    """Return an output that is differentiated as a recording value: truth values have no derivative."""
    if getattr(leaf, "boolean", False) or getattr(leaf, "dtype", None) == np.bool_:
        raise OutputError(
            message(
                "the function returned truth values, which have no derivative",
                "return numbers, choose them with np.where, or return truth values beside them with has_aux=True",
                where=False,
            )
        )
    return output_value(recorder, leaf)


def differentiate_inside(
    f: Callable[..., Any],
    arguments: tuple[Any, ...],
    argnums: tuple[int, ...],
    keywords: dict[str, Any],
    name: str,
    has_aux: bool = False,
) -> tuple[Any, Any, list[Any]]:
    """Return value, auxiliary result and gradients as recording values of the running recording."""
    recorder = current()
    assert recorder is not None
    call = Call(recorder, f, arguments, argnums, keywords, has_aux, name)
    output = scalar_output(recorder, call.result, name)
    if output is None:
        found = [zeros_like(recorder, value) for value in call.region.inputs]
    else:
        found = call.region.pull([addresses_of(output)], [1.0])
    return call.result if output is None else output, call.auxiliary, regroup(found, call.rebuilds)


def zeros_like(recorder: Recorder, value: Any) -> Any:
    """Return zeros of the shape of a recording value."""
    return constant(recorder, np.zeros(value.shape))


def pull_inside(recorder: Recorder, pull: Callable[..., Any], bars: list[Any], given: list[Any]) -> list[Any]:
    """Return the transpose of a linear function, `pull`, applied to `given` (None for zero), in a recording."""
    region = Region(recorder, bars)
    found = pull(*region.inputs)
    region.close()
    outputs, seeds = [], []
    for part, seed in zip(found, given, strict=True):
        if part is not None and seed is not None and isinstance(part, Active):
            outputs.append(addresses_of(part))
            seeds.append(seed)
    return region.pull(outputs, seeds)
