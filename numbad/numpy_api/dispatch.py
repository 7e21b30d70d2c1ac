"""The tables behind `__array_ufunc__` and `__array_function__`: which NumPy function is recorded by which of ours."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from numbad.active import Active
from numbad.arrays import Array, as_array, memory_order
from numbad.elementwise import record
from numbad.errors import RecordingError, message
from numbad.operands import as_active, holds_active
from numbad.ops.definition import BY_UFUNC, find_ufunc
from numbad.protocol import OPS
from numbad.roots import WATCHED
from numbad.recorder import Recorder, current
from numbad.scalars import Scalar

Implementation = Callable[..., Any]
FUNCTIONS: dict[Any, Implementation] = {}
UFUNCS: dict[str, Implementation] = {}
UFUNC_METHODS: dict[str, Implementation] = {}
ADVICE: dict[str, str] = {}  # name of an unrecorded function -> what to write instead
ANY_ADVICE = "write it with functions that are recorded, or give it a rule with numbad.custom_vjp"


def implements(*names: str) -> Callable[[Implementation], Implementation]:
    """Register the recording version of NumPy functions, named as `sum` or `linalg.norm`."""

    def register(function: Implementation) -> Implementation:
        for name in names:
            numpy_function = find_function(name)
            if numpy_function is not None:
                FUNCTIONS[numpy_function] = function
        return function

    return register


def find_function(name: str) -> Any:
    """Return the NumPy function of a dotted name, or None where this NumPy has none."""
    found: Any = np
    for part in name.split("."):
        if part in ("in1d", "row_stack", "trapz"):  # asking NumPy for these warns
            return None
        found = getattr(found, part, None)
    return found


def implements_ufunc(*names: str) -> Callable[[Implementation], Implementation]:
    """Register the recording version of ufuncs that are no op of their own."""

    def register(function: Implementation) -> Implementation:
        UFUNCS.update(dict.fromkeys(names, function))
        return function

    return register


def implements_method(name: str) -> Callable[[Implementation], Implementation]:
    """Register what `ufunc.reduce` and its kin record."""

    def register(function: Implementation) -> Implementation:
        UFUNC_METHODS[name] = function
        return function

    return register


# ---------------------------------------------------------------- dispatch


def apply_function(function: Any, arguments: tuple[Any, ...], keywords: dict[str, Any]) -> Any:
    """Run the recording version of a NumPy function."""
    found = FUNCTIONS.get(function)
    if found is None:
        module = getattr(function, "__module__", None) or "numpy"
        name = f"{module}.{getattr(function, '__name__', function)}".replace("numpy.", "np.", 1)
        raise RecordingError(message(f"{name} is not recorded", ADVICE.get(name, ANY_ADVICE)))
    result = found(*arguments, **keywords)
    if function in LAYOUT_KEPT and arguments and type(result) is Array:
        return lay_out(result, arguments, keywords)
    return result


LAYOUT_KEPT = {
    *(np.cumsum, np.cumprod, np.sort),
    *(np.zeros_like, np.ones_like, np.full_like, np.empty_like),
}


def lay_out(result: Array, arguments: tuple[Any, ...], keywords: dict[str, Any]) -> Array:
    """Give a new array the order of axes in memory that NumPy takes over from the first argument (order "K").

    It decides whether a later reshape is a view, and so what an assignment to it changes.
    """
    like = arguments[0]
    if type(like) is not Array or like.strides is result.strides is None or result.shape != like.shape:
        return result
    if keywords.get("order", "K") != "K" or any(type(part) is str for part in arguments):
        return result
    if result is keywords.get("out") or any(result is part for part in arguments):
        return result
    order = memory_order(like.shape, (like,))
    if order == memory_order(result.shape, (result,)):
        return result
    return result.copy() if order is None else result.transpose(order).copy().transpose(np.argsort(order))


def apply_ufunc(ufunc: Any, method: str, inputs: tuple[Any, ...], keywords: dict[str, Any]) -> Any:
    """Run the recording version of a ufunc or of one of its methods."""
    if method != "__call__":
        found = UFUNC_METHODS.get(method)
        if found is None:
            return unsupported(f"{ufunc.__name__}.{method}", "it")
        return found(ufunc, *inputs, **keywords)
    out = keywords.pop("out", None)
    mask = keywords.pop("where", True)
    for name in ("casting", "order", "subok"):
        keywords.pop(name, None)
    dtype = keywords.pop("dtype", None)
    if keywords:
        unsupported(ufunc.__name__, f"its argument {next(iter(keywords))}")
    result = call_ufunc(ufunc, inputs)
    if result is NotImplemented:
        return result
    if dtype is not None and np.dtype(dtype).kind not in "fb":
        unsupported(ufunc.__name__, f"dtype {np.dtype(dtype)}")
    if out is None or (isinstance(out, tuple) and all(target is None for target in out)):
        if mask is not True:
            unsupported(ufunc.__name__, "where= without out= leaves elements undefined: it")
        return result
    if isinstance(result, tuple):
        return tuple(part if o is None else write_out(o, part, mask) for o, part in zip(out, result, strict=True))
    return write_out(out[0] if isinstance(out, tuple) else out, result, mask)


def call_ufunc(ufunc: Any, inputs: tuple[Any, ...]) -> Any:
    """Return the result of a ufunc: the row of its op, or a composition of others."""
    inputs = tuple(np.asarray(part) if isinstance(part, (list, tuple)) and not holds_active(part) else part
                   for part in inputs)  # fmt: skip
    active = [part for part in inputs if isinstance(part, Active)]
    if not active:
        if not any(isinstance(part, (list, tuple)) for part in inputs):
            return ufunc(*inputs)
        recorder = recorder_of(*inputs)
        inputs = tuple(as_active(recorder, part) for part in inputs)
    if ufunc in WATCHED:
        return WATCHED[ufunc](*inputs)
    op: Any = OPS.get(ufunc) or find_op(ufunc)
    if op is not None:
        return record(op, *inputs)
    if ufunc.__name__.endswith(" (vectorized)"):  # of np.frompyfunc: a Python function of each element
        return as_active(recorder_of(*inputs), ufunc(*(elements_of(part) for part in inputs)))
    found = UFUNCS.get(ufunc.__name__) or find_special(ufunc)
    if found is None:
        name = str(ufunc.__name__)
        name = f"np.{name}" if getattr(np, name, None) is ufunc else name
        raise RecordingError(message(f"the ufunc {name} is not recorded", ADVICE.get(name, ANY_ADVICE)))
    return found(*inputs)


def elements_of(value: Any) -> Any:
    """Return a recording array as an array of recording scalars; other operands as they are."""
    if not isinstance(value, Array):
        return value
    found = np.empty(value.shape, object)
    found.reshape(-1)[:] = list(value.reshape(-1))
    return found


def find_special(ufunc: Any) -> Implementation | None:
    """Return the recording version of a ufunc of scipy.special that is no op of the sweeps."""
    import numbad.scipy_api
    from numbad.scipy_api.elementwise import ELEMENTWISE

    assert numbad.scipy_api
    name = ufunc.__name__
    if name not in ELEMENTWISE or find_ufunc(f"scipy.special.{name}") is not ufunc:
        return None
    return ELEMENTWISE[name]


def find_op(ufunc: Any) -> Any:
    """Return the op of a ufunc that has not been met before, and note it."""
    op = BY_UFUNC.get(ufunc.__name__)
    if op is not None and (op.ufunc.startswith("numpy.") or find_ufunc(op.ufunc) is ufunc):
        OPS[ufunc] = op
        return op
    return None


def write_out(target: Any, result: Any, mask: Any = True) -> Any:
    """Assign a result to the array given as out=, and return that."""
    if isinstance(target, Scalar):
        raise RecordingError(
            message(
                "out= is a recording number, which does not change: an array of no axes is recorded as a number",
                "write y = np.sin(y), or give the array an axis",
            )
        )
    if not isinstance(target, Array):
        refuse_plain_target("out= (or the left side of +=, -= and the like)")
    if mask is True:
        if np.shape(result) != target.shape:
            result = np.broadcast_to(result, target.shape)
        target[...] = result
        return target
    if np.shape(mask) != target.shape:
        mask = np.broadcast_to(mask, target.shape)
    target[...] = np.where(mask, result, target)
    return target


def refuse_plain_target(what: str) -> None:
    """Refuse to write recording values into a plain array."""
    raise RecordingError(
        message(
            f"{what} is a plain array; it cannot hold recording values",
            "write y = y + x instead of y += x, or make the array with np.zeros_like(x) or numbad.zeros(shape),"
            " or import numbad.numpy as np",
        )
    )


def writable(array: Any, name: str) -> Array:
    """Return the array that a function writes to, which has to be a recording one."""
    if not isinstance(array, Array):
        refuse_plain_target(f"the first argument of np.{name}")
    return array


def unsupported(name: str, what: str, do: str = ANY_ADVICE) -> Any:
    """Raise a RecordingError that names a NumPy function and what of it is not recorded."""
    raise RecordingError(message(f"np.{name}: {what} is not recorded", do))


# ---------------------------------------------------------------- operands


def recorder_of(*values: Any) -> Recorder:
    """Return the recorder of the first recording value among nested arguments."""
    for value in values:
        if isinstance(value, Active):
            return value.recorder
        if isinstance(value, (list, tuple)):
            if holds_active(value):
                return recorder_of(*value)
        elif isinstance(value, np.ndarray) and value.dtype == object and value.size:
            found = [part for part in value.reshape(-1).tolist() if isinstance(part, Active)]
            if found:
                return found[0].recorder
    recorder = current()
    if recorder is None:
        raise RecordingError(message("no operand is recording", "call the NumPy function itself"))
    return recorder


def to_active(value: Any, recorder: Recorder | None = None) -> Any:
    """Return any operand as a recording value."""
    if isinstance(value, Active) and (recorder is None or value.recorder is recorder):
        return value
    active = as_active(recorder or recorder_of(value), value)
    if active is NotImplemented:
        do = "write S @ x for a product, or S.toarray()" if hasattr(value, "toarray") else "use numbers"
        raise RecordingError(message(f"a {type(value).__name__} cannot take part in a recording", do))
    return active


def to_array(value: Any, recorder: Recorder | None = None) -> Any:
    """Return any operand as a recording array; scalars as one of no axes."""
    return as_array(to_active(value, recorder))


def to_arrays(*values: Any) -> list[Any]:
    """Return several operands, of which one is recording, as recording arrays."""
    recorder = recorder_of(*values)
    return [to_array(value, recorder) for value in values]


def demote(value: Any) -> Any:
    """Return an array of no axes as a scalar."""
    return value.item() if isinstance(value, Array) and not value.shape else value


def finish(result: Any, dtype: Any = None, out: Any = None) -> Any:
    """Apply the dtype and out arguments of a NumPy function."""
    if dtype is not None and np.dtype(dtype).kind not in "fb":
        unsupported("function", f"dtype {np.dtype(dtype)}", "leave dtype away")
    return result if out is None else write_out(out[0] if isinstance(out, tuple) else out, result)


def plain_integers(values: Any, what: str) -> Any:
    """Return counts, shifts or indices as plain integers; refuse recording values by name."""
    if isinstance(values, Active) or (isinstance(values, (list, tuple)) and holds_active(values)):
        raise RecordingError(message(f"{what} is a recording value", "write int(x): it gives the number and guards it"))
    return values
