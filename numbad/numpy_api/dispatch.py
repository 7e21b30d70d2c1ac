"""The tables behind `__array_ufunc__` and `__array_function__`: which NumPy function is recorded by which of ours."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

import numpy as np

from numbad.errors import RecordingError, message, user_frame
from numbad.numpy_api.protocol import OPS, finders
from numbad.ops.definition import BY_UFUNC, find_ufunc
from numbad.recording.active import Active
from numbad.recording.arrays import Array, as_array, memory_order
from numbad.recording.elementwise import record, record_operator
from numbad.recording.operands import as_active, holds_active, recorder_of, to_array
from numbad.recording.roots import WATCHED
from numbad.recording.scalars import Scalar
from numbad.recording.unfilled import refuse_unfilled

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
    if type(like) is not Array or like.pitches is result.pitches is None or result.shape != like.shape:
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
    if ufunc.__name__.endswith(" (vectorized)"):
        return apply_python(ufunc, method, inputs, keywords)
    if method != "__call__":
        found = UFUNC_METHODS.get(method)
        if found is None:
            return unsupported(f"{ufunc.__name__}.{method}", "it")
        return found(ufunc, *inputs, **keywords)
    out = keywords.pop("out", None)
    out = out[0] if isinstance(out, tuple) and len(out) == 1 else out
    mask = keywords.pop("where", True)
    order = keywords.pop("order", "K")
    keywords.pop("subok", None)  # a recording array is of no subclass
    typing = {name: keywords.pop(name) for name in ("dtype", "signature", "sig", "casting") if name in keywords}
    chosen = chosen_dtypes(ufunc, inputs, **typing) if typing else ()
    if typing:
        inputs = tuple(widened(part, kind) if isinstance(part, Active) else part
                       for part, kind in zip(inputs, chosen, strict=False))  # fmt: skip
    result = call_ufunc(ufunc, inputs, keywords)
    if result is NotImplemented:
        return result
    parts = result if isinstance(result, tuple) else (result,)
    if typing:
        parts = tuple(in_dtype(part, kind) for part, kind in zip(parts, chosen[ufunc.nin :], strict=True))
    parts = tuple(part.copy(order) if order != "K" and type(part) is Array else part for part in parts)
    targets = out if isinstance(out, tuple) else (out,) * len(parts)
    if mask is not True and any(target is None for target in targets):
        unsupported(ufunc.__name__, "where= without out= leaves elements undefined: it", "write np.where(mask, y, 0.0)")
    parts = tuple(
        part if target is None else write_out(target, part, mask) for target, part in zip(targets, parts, strict=True)
    )
    return parts if isinstance(result, tuple) else parts[0]


def chosen_dtypes(ufunc: Any, inputs: Any, dtype: Any = None, signature: Any = None, sig: Any = None,
                  casting: str = "same_kind") -> tuple[Any, ...]:  # fmt: skip
    """Return the dtypes of operands and results that NumPy chooses for `dtype=`, `signature=` and `casting=`."""
    signature = sig if signature is None else signature
    if dtype is not None:
        signature = (*[None] * ufunc.nin, *[np.dtype(dtype)] * ufunc.nout)
    given = [dtype_of(part) for part in inputs]
    asked = {} if signature is None else {"signature": signature}
    try:
        return ufunc.resolve_dtypes((*given, *[None] * ufunc.nout), casting=casting, **asked)
    except TypeError as error:
        option = "casting" if signature is None else "dtype" if dtype is not None else "signature"
        raise RecordingError(
            message(f"{called_name()}: its {option}= does not fit ({error})", "leave it away, or write x.astype(...)")
        ) from error


def dtype_of(value: Any) -> Any:
    """Return the dtype of an operand, or the type of a Python number, which adapts to the others."""
    if type(value) in (int, float, bool):
        return type(value) if type(value) is not bool else np.dtype(bool)
    if isinstance(value, (list, tuple)):
        return np.dtype(float) if holds_active(value) else np.asarray(value).dtype
    return value.dtype


def call_ufunc(ufunc: Any, inputs: tuple[Any, ...], keywords: dict[str, Any] | None = None) -> Any:
    """Return the result of a ufunc: the row of its op, or a composition of others.

    What is left of the keywords are the axes of products (`np.vecdot`, `np.matmul`).
    """
    inputs = tuple(np.asarray(part) if isinstance(part, (list, tuple)) and not holds_active(part) else part
                   for part in inputs)  # fmt: skip
    active = [part for part in inputs if isinstance(part, Active)]
    if not active:
        if not any(isinstance(part, (list, tuple)) for part in inputs):
            return ufunc(*inputs)
        recorder = recorder_of(*inputs)
        inputs = tuple(as_active(recorder, part) for part in inputs)
    if ufunc in WATCHED and not keywords:
        return WATCHED[ufunc](*inputs)
    op: Any = OPS.get(ufunc) or find_op(ufunc)
    if op is not None and not keywords:
        return record_operator(op, *inputs) if op.arity == 2 else record(op, *inputs)
    found: Any = UFUNCS.get(ufunc.__name__) or find_elsewhere(ufunc)
    if found is None and op is None:
        name = str(ufunc.__name__)
        name = f"np.{name}" if getattr(np, name, None) is ufunc else name
        raise RecordingError(message(f"the ufunc {name} is not recorded", ADVICE.get(name, ANY_ADVICE)))
    if keywords:
        return call_along(ufunc, found, inputs, **keywords)
    return found(*inputs)


def apply_python(ufunc: Any, method: str, inputs: tuple[Any, ...], keywords: dict[str, Any]) -> Any:
    """Run a ufunc of np.frompyfunc, a Python function of each element, over arrays of recording numbers."""
    if any(isinstance(part, Active) for part in np.atleast_1d(np.array(keywords.get("out"), object)).tolist()):
        unsupported(ufunc.__name__, "out=", "assign the result: y[...] = function(x)")
    recorder = recorder_of(*inputs)
    result = getattr(ufunc, method)(*(elements_of(part) for part in inputs), **keywords)
    if method == "at":
        return result
    return tuple(as_active(recorder, part) for part in result) if ufunc.nout > 1 else as_active(recorder, result)


def call_along(ufunc: Any, implementation: Any, inputs: tuple[Any, ...], axes: Any = None, axis: Any = None,
               keepdims: bool = False, **others: Any) -> Any:  # fmt: skip
    """Record a generalised ufunc over other axes than the last ones."""
    if others or ufunc.signature is None:
        name = next(iter(others), "axis" if axis is not None else "axes" if axes is not None else "keepdims")
        unsupported(ufunc.__name__, f"its argument {name}")
    cores = [part.strip("()").split(",") if part != "()" else [] for part in core_parts(ufunc.signature)]
    if axis is not None:
        axes = [(axis,) if core else () for core in cores]
    if axes is not None:
        axes = [tuple(part) if isinstance(part, (tuple, list)) else (part,) for part in axes]
        inputs = tuple(
            np.moveaxis(to_array(part, recorder_of(*inputs)), k, range(-len(k), 0))
            for part, k in zip(inputs, axes, strict=False)
        )
    result = implementation(*inputs)
    last = cores[-1]
    if keepdims:
        if last:
            raise TypeError(f"{ufunc.__name__} does not support keepdims: its results have axes of their own")
        back = axes[0] if axes is not None else (-1,) * len(cores[0])
        return np.expand_dims(result, back)
    if axes is not None and last:
        places = axes[len(inputs)] if len(axes) > len(inputs) else tuple(range(-len(last), 0))
        result = np.moveaxis(to_array(result), range(-len(places), 0), places)
    return result


def core_parts(signature: str) -> list[str]:
    """Return the operands' axes in the signature of a generalised ufunc, as in "(m,n),(n)->(m)"."""
    return signature.replace("->", ";").replace("),(", ");(").replace("?", "").split(";")


def elements_of(value: Any) -> Any:
    """Return a recording value as an array of objects, its recording numbers; other operands as they are."""
    if not isinstance(value, Active):
        return value
    found = np.empty(value.shape, object)
    if value.shape:
        found.reshape(-1)[:] = list(value.reshape(-1))
    else:
        found[()] = value.item()
    return found


def find_elsewhere(ufunc: Any) -> Implementation | None:
    """Return the recording version of a ufunc of another library."""
    return next((found for find in finders if (found := find(ufunc)) is not None), None)


def find_op(ufunc: Any) -> Any:
    """Return the op of a ufunc that has not been met before, and note it."""
    op = BY_UFUNC.get(ufunc.__name__)
    if op is not None and (op.ufunc.startswith("numpy.") or find_ufunc(op.ufunc) is ufunc):
        if ufunc not in WATCHED:
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
        refuse_unfilled(f"{called_name()}: out= (or the left side of +=, -= and the like)", target)
    if target.boolean and not getattr(result, "boolean", np.asarray(result).dtype == bool):
        raise TypeError(
            message(
                f"{called_name()}: out= is an array of truth values, which numbers cannot be cast to",
                "give it an array of numbers: np.zeros_like(x)",
            )
        )
    if mask is True:
        if np.shape(result) != target.shape:
            result = np.broadcast_to(result, target.shape)
        target[...] = result
        return target
    if np.shape(mask) != target.shape:
        mask = np.broadcast_to(mask, target.shape)
    target[...] = np.where(mask, result, target)
    return target


def writable(array: Any, name: str) -> Array:
    """Return the array that a function writes to, which has to be a recording one."""
    if not isinstance(array, Array):
        refuse_unfilled(f"the first argument of np.{name}", array)
    return array


def unsupported(name: str, what: str, do: str = ANY_ADVICE) -> Any:
    """Raise a RecordingError that names a NumPy function and what of it is not recorded."""
    raise RecordingError(message(f"np.{name}: {what} is not recorded", do))


def called_name() -> str:
    """Return the name of the NumPy function that the user called and that is being recorded."""
    frame: FrameType | None = sys._getframe(1)
    end = user_frame()
    name = "np"
    while frame is not None and frame is not end:
        if frame.f_code is apply_function.__code__:
            function = frame.f_locals["function"]
            name = f"{function.__module__}.{function.__name__}".replace("numpy", "np", 1)
        elif frame.f_code is apply_ufunc.__code__:
            ufunc, method = frame.f_locals["ufunc"], frame.f_locals["method"]
            name = f"np.{ufunc.__name__}" + ("" if method == "__call__" else f".{method}")
        frame = frame.f_back
    return name


# ---------------------------------------------------------------- operands


def finish(result: Any, dtype: Any = None, out: Any = None) -> Any:
    """Apply the dtype and out arguments of a NumPy function that is no ufunc."""
    if dtype is not None:
        result = in_dtype(result, np.dtype(dtype))
    if out is None:
        return result
    out = out[0] if isinstance(out, tuple) else out
    if np.shape(out) != np.shape(result):
        raise ValueError(
            message(
                f"{called_name()}: out= has shape {np.shape(out)}, the result {np.shape(result)}",
                "give an array of the shape of the result",
            )
        )
    return write_out(out, result)


def check_casting(given: Any, dtype: Any, casting: Any) -> None:
    """Raise a TypeError, as NumPy does, where an operand may not be cast to the dtype of a result."""
    if casting is None or casting == "unsafe":
        return
    kinds = [dtype_of(part) for part in given]
    wanted = np.result_type(*kinds) if dtype is None else np.dtype(dtype)
    for kind in kinds:
        if not isinstance(kind, type) and not np.can_cast(kind, wanted, casting):
            raise TypeError(
                message(
                    f"{called_name()}: cannot cast {kind} to {wanted} according to casting={casting!r}",
                    "give a wider dtype, or leave casting= away",
                )
            )


SPLITTER = 2.0**29 + 1.0  # Veltkamp's: leaves the 24 leading bits of a number in double precision


def widened(value: Any, dtype: Any) -> Any:
    """Return an operand that is to be computed with in `dtype`.

    Where that makes a recording in single precision one in double precision, what has been computed so far is
    rounded to single precision, as NumPy has it.
    """
    if dtype is None or np.dtype(dtype) != np.float64:
        return value
    recorder = value.recorder
    if recorder.dtype == np.float64:
        return value
    recorder.promote(np.dtype(np.float64))
    if value.boolean:
        return value
    large: Any = np.multiply(value, SPLITTER)
    rounded = np.where(np.isfinite(value), large - (large - value), value)
    return rounded if not isinstance(value, Array) else as_array(rounded)


def doubled(*values: Any) -> None:
    """Widen the recording of some operands to double precision, for a function that NumPy always computes in it."""
    recorder_of(*values).promote(np.dtype(np.float64))


def in_dtype(result: Any, wanted: np.dtype) -> Any:
    """Return a result in the dtype that was asked for; refuse one that a recording does not have.

    All of a recording is in one precision, so double precision widens it, and no part of it can be narrower.
    """
    if not isinstance(result, Active):
        return np.asarray(result, wanted)[()]
    if wanted.kind == "O" or (result.boolean and wanted.kind == "b"):
        return result  # objects: np.asarray has made some of recording values, whose dtype a program hands on
    recorder = result.recorder
    if wanted.kind == "f" and wanted.itemsize in (4, 8):
        if wanted.itemsize == 8:
            recorder.promote(wanted)
        if wanted == recorder.dtype:
            return np.multiply(result, 1.0) if result.boolean else result
    raise RecordingError(
        message(
            f"{called_name()}: dtype={wanted} is not recorded, for the recording is in {recorder.dtype}",
            "leave dtype away; all of a recording has one precision, float64 where any input or constant has it",
        )
    )


def plain_integers(values: Any, what: str) -> Any:
    """Return counts, shifts or indices as plain integers; refuse by name recording values that have a derivative."""
    if isinstance(values, Active):
        return values.whole_now(f"{what} is a recording value")
    if isinstance(values, (list, tuple)) and holds_active(values):
        raise RecordingError(message(f"{what} is a recording value", "write int(x): it gives the number and guards it"))
    return values
