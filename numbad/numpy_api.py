"""Which NumPy function is which op: the tables behind `__array_ufunc__` and `__array_function__`."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from numbad.active import (
    OPS,
    Active,
    Array,
    Scalar,
    as_active,
    as_array,
    broadcast,
    broadcast_strides,
    holds_active,
    make_block,
    normal_axis,
    record,
)
from numbad.errors import RecordingError, message
from numbad.ops.definition import BY_NAME, BY_UFUNC, find_ufunc
from numbad.recorder import Recorder, contiguous

FUNCTIONS: dict[Any, Callable[..., Any]] = {}
UFUNCS: dict[str, Callable[..., Any]] = {}


def implements(*functions: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Register the recording version of NumPy functions."""

    def register(function: Callable[..., Any]) -> Callable[..., Any]:
        for numpy_function in functions:
            FUNCTIONS[numpy_function] = function
        return function

    return register


def implements_ufunc(*names: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Register the recording version of ufuncs that are no op of their own."""

    def register(function: Callable[..., Any]) -> Callable[..., Any]:
        for name in names:
            UFUNCS[name] = function
        return function

    return register


# ---------------------------------------------------------------- dispatch


def apply_function(function: Any, arguments: tuple[Any, ...], keywords: dict[str, Any]) -> Any:
    """Run the recording version of a NumPy function."""
    found = FUNCTIONS.get(function)
    if found is None:
        name = getattr(function, "__name__", str(function))
        module = getattr(function, "__module__", "numpy")
        raise RecordingError(
            message(
                f"{module}.{name} is not recorded",
                "write it with functions that are (numbad/ARCHITECTURE.md lists them), or give it a rule with "
                "numbad.custom_vjp",
            )
        )
    return found(*arguments, **keywords)


def apply_ufunc(ufunc: Any, method: str, inputs: tuple[Any, ...], keywords: dict[str, Any]) -> Any:
    """Run the recording version of a ufunc or of one of its methods."""
    if method != "__call__":
        return apply_method(ufunc, method, inputs, keywords)
    out = keywords.pop("out", None)
    mask = keywords.pop("where", True)
    for name in ("casting", "order", "subok", "signature"):
        keywords.pop(name, None)
    dtype = keywords.pop("dtype", None)
    if keywords:
        unsupported(ufunc.__name__, f"its argument {next(iter(keywords))}")
    name = ufunc.__name__
    op = OPS.get(ufunc) or find_op(ufunc)
    if op is not None:
        result = record(op, *inputs)
        if result is NotImplemented:
            return result
    elif name in UFUNCS:
        result = UFUNCS[name](*inputs)
    else:
        return unsupported(name, "it")
    if dtype is not None and np.dtype(dtype).kind != "f":
        unsupported(name, f"dtype {np.dtype(dtype)}")
    if out is None:
        if mask is not True:
            unsupported(name, "where= without out=")
        return result
    return write_out(out[0] if isinstance(out, tuple) else out, result, mask)


def find_op(ufunc: Any) -> Any:
    """Return the op of a ufunc that has not been met before, and note it."""
    op = BY_UFUNC.get(ufunc.__name__)
    if op is not None and (op.ufunc.startswith("numpy.") or find_ufunc(op.ufunc) is ufunc):
        OPS[ufunc] = op
        return op
    return None


def write_out(target: Any, result: Any, mask: Any = True) -> Any:
    """Assign a result to the array given as out=."""
    if not isinstance(target, Array):
        raise RecordingError(
            message(
                "out= is a plain array; it cannot hold recording values",
                "leave out= away, or make the array with np.zeros_like(x) or numbad.zeros(n)",
            )
        )
    if mask is True:
        target[...] = result
    else:
        target[mask] = as_array(result).broadcast_to(target.shape)[mask]
    return target


def unsupported(name: str, what: str) -> Any:
    """Raise a RecordingError that names a NumPy function and what of it is not recorded."""
    raise RecordingError(
        message(f"numpy.{name}: {what} is not recorded", "write it with functions that are, or with numbad.custom_vjp")
    )


def recorder_of(*values: Any) -> Recorder:
    """Return the recorder of the first recording value among nested arguments."""
    for value in values:
        if isinstance(value, Active):
            return value.recorder
        if isinstance(value, (list, tuple)):
            if holds_active(value):
                return recorder_of(*value)
        elif isinstance(value, np.ndarray) and value.dtype == object and value.size:
            return recorder_of(*value.reshape(-1).tolist())
    raise RecordingError(message("no operand is recording", "call the NumPy function itself"))


def to_array(value: Any, recorder: Recorder | None = None) -> Array:
    """Return any operand as a recording array."""
    active = as_active(recorder or recorder_of(value), value)
    if active is NotImplemented:
        raise RecordingError(message(f"a {type(value).__name__} cannot take part in a recording", "use numbers"))
    return as_array(active)


def demote(value: Any) -> Any:
    """Return an array of no axes as a scalar."""
    return value.item() if isinstance(value, Array) and not value.shape else value


# ---------------------------------------------------------------- sums


def normal_axes(axis: Any, ndim: int) -> tuple[int, ...]:
    """Return the axes of a reduction, counted from the front, in order."""
    if axis is None:
        return tuple(range(ndim))
    axes = axis if isinstance(axis, (tuple, list)) else (axis,)
    found = sorted(normal_axis(a, ndim) for a in axes)
    if len(set(found)) != len(found):
        raise ValueError("duplicate value in 'axis'")
    return tuple(found)


def reduced_shape(shape: tuple[int, ...], axes: tuple[int, ...], keepdims: bool) -> tuple[int, ...]:
    """Return the shape after a reduction."""
    if keepdims:
        return tuple(1 if k in axes else n for k, n in enumerate(shape))
    return tuple(n for k, n in enumerate(shape) if k not in axes)


def finish(result: Any, dtype: Any = None, out: Any = None) -> Any:
    """Apply the dtype and out arguments of a NumPy function."""
    if dtype is not None and np.dtype(dtype).kind not in "fb":
        unsupported("", f"dtype {np.dtype(dtype)}")
    return result if out is None else write_out(out[0] if isinstance(out, tuple) else out, result)


@implements(np.sum)
def sum_(a: Any, axis: Any = None, dtype: Any = None, out: Any = None, keepdims: Any = False, initial: Any = 0,
         where: Any = True) -> Any:  # fmt: skip
    """Sum over axes: a row that adds over the index space of the operand."""
    if where is not True:
        a = np.where(where, a, 0.0)
    a = to_array(a)
    axes = normal_axes(axis, a.ndim)
    kept = [k for k in range(a.ndim) if k not in axes]
    shape = tuple(a.shape[k] for k in kept)
    strides = [0] * a.ndim
    for k, stride in zip(kept, contiguous(shape), strict=True):
        strides[k] = stride
    space, address, steps = a.place()
    steps = contiguous(a.shape) if steps is None else steps
    out_address = a.recorder.add_row(a.shape, math.prod(shape), tuple(strides), (space, address, steps))
    result = make_block(a.recorder, out_address, reduced_shape(a.shape, axes, bool(keepdims)))
    if initial is not np._NoValue and not (type(initial) is int and initial == 0):
        result = result + initial
    return finish(result, dtype, out)


@implements(np.mean)
def mean(a: Any, axis: Any = None, dtype: Any = None, out: Any = None, keepdims: Any = False, *,
         where: Any = True) -> Any:  # fmt: skip
    """Arithmetic mean: a sum divided by the count."""
    a = to_array(a)
    if where is not True:
        count: Any = np.sum(np.broadcast_to(where, a.shape), axis=axis, keepdims=bool(keepdims))
        return finish(np.sum(a, axis=axis, keepdims=keepdims, where=where) / count, dtype, out)
    axes = normal_axes(axis, a.ndim)
    count = math.prod(a.shape[k] for k in axes)
    return finish(np.sum(a, axis=axis, keepdims=keepdims) / float(count), dtype, out)


# ---------------------------------------------------------------- products


def product_over(labels: str, one_labels: str, other_labels: str, out_labels: str, one: Array, other: Array) -> Any:
    """Contract two arrays over labelled axes, as np.einsum does: one row."""
    sizes: dict[str, int] = {}
    for array, names in ((one, one_labels), (other, other_labels)):
        for name, n in zip(names, array.shape, strict=True):
            known = sizes.setdefault(name, n)
            if known != n and 1 in (known, n):
                sizes[name] = max(known, n)
            elif known != n:
                raise ValueError(
                    message(
                        f"axes of lengths {known} and {n} do not fit: shapes {one.shape} and {other.shape}",
                        "compare the shapes of the operands; .T or reshape may be missing",
                    )
                )
    shape = tuple(sizes[name] for name in labels)
    out_shape = tuple(sizes[name] for name in out_labels)
    operands = []
    for array, names in ((one, one_labels), (other, other_labels)):
        space, address, strides = array.place()
        strides = contiguous(array.shape) if strides is None else strides
        step = dict.fromkeys(labels, 0)
        for name, n, stride in zip(names, array.shape, strides, strict=True):
            step[name] += stride if n > 1 else 0
        operands.append((space, address, tuple(step[name] for name in labels)))
    steps = dict(zip(out_labels, contiguous(out_shape), strict=True))
    strides = tuple(steps.get(name, 0) for name in labels)
    out = one.recorder.contract_row(shape, math.prod(out_shape), strides, *operands)
    return make_block(one.recorder, out, out_shape)


@implements_ufunc("matmul")
@implements(np.matmul)
def matmul(a: Any, b: Any) -> Any:
    """Matrix product, with vectors and stacks of matrices as NumPy has them."""
    recorder = recorder_of(a, b)
    a, b = to_array(a, recorder), to_array(b, recorder)
    if not a.shape or not b.shape:
        raise ValueError("matmul: Input operand does not have enough dimensions")
    batch = "abcdefgh"
    stack = broadcast(a.shape[:-2], b.shape[:-2])
    names = batch[: len(stack)]
    one = names[len(stack) - max(a.ndim - 2, 0) :] + ("mk" if a.ndim > 1 else "k")
    other = names[len(stack) - max(b.ndim - 2, 0) :] + ("kn" if b.ndim > 1 else "k")
    if a.shape[-1] != b.shape[-2 if b.ndim > 1 else -1]:
        raise ValueError(
            message(
                f"matmul: shapes {a.shape} and {b.shape} do not fit: "
                f"{a.shape[-1]} columns meet {b.shape[-2 if b.ndim > 1 else -1]} rows",
                "compare the shapes of the operands; .T or reshape may be missing",
            )
        )
    out = names + ("m" if a.ndim > 1 else "") + ("n" if b.ndim > 1 else "")
    labels = names + ("m" if a.ndim > 1 else "") + ("n" if b.ndim > 1 else "") + "k"
    if a.ndim > 1 and b.ndim > 1 and a.shape[-1] < b.shape[-1]:
        labels = names + "mkn"
    return product_over(labels, one, other, out, a, b)


@implements(np.dot)
def dot(a: Any, b: Any, out: Any = None) -> Any:
    """Dot product, as np.dot has it."""
    recorder = recorder_of(a, b)
    a, b = as_active(recorder, a), as_active(recorder, b)
    if not a.shape or not b.shape:
        return finish(a * b, None, out)
    if b.ndim <= 2:
        if a.ndim <= 2:
            return finish(matmul(a, b), None, out)
        return finish(np.tensordot(a, b, axes=(-1, 0)), None, out)
    return finish(np.tensordot(a, b, axes=(-1, -2)), None, out)


# ---------------------------------------------------------------- selection


@implements(np.where)
def where_(condition: Any, x: Any = None, y: Any = None) -> Any:
    """Select by a condition: keep one, drop the other, add."""
    if x is None or y is None:
        from numbad.active import concrete_truth

        return np.nonzero(concrete_truth(condition if condition.boolean else condition != 0.0))
    recorder = recorder_of(condition, x, y)
    condition, x, y = (as_active(recorder, part) for part in (condition, x, y))
    boolean = x.boolean and y.boolean
    result = record(BY_NAME["add"], record(BY_NAME["keep"], condition, x), record(BY_NAME["drop"], condition, y))
    if boolean:
        result = result != 0.0
    return result


def stack_nested(values: Any) -> Any:
    """Return nested sequences that hold recording values as a recording array."""
    parts = [stack_nested(part) if isinstance(part, (list, tuple)) else part for part in values]
    recorder = recorder_of(*[part for part in parts if isinstance(part, Active)] or parts)
    active = [as_active(recorder, part) for part in parts]
    addresses = [part.address_view() if isinstance(part, Array) else np.int64(part.address) for part in active]
    from numbad.active import Storage

    table = np.array(addresses, np.int64)
    storage = Storage(0, 0, table.size)
    storage.addresses = table.reshape(-1)
    return Array(recorder, storage, table.shape, 0, None, all(part.boolean for part in active))


def apply_method(ufunc: Any, method: str, inputs: tuple[Any, ...], keywords: dict[str, Any]) -> Any:
    """Run the recording version of a ufunc's reduce, accumulate, outer or at."""
    key = (ufunc.__name__, method)
    if method == "reduce" and ufunc.__name__ == "add":
        return np.sum(*inputs, **keywords)
    return unsupported(f"{key[0]}.{key[1]}", "it")


