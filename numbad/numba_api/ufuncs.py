"""Universal functions, stencils and callbacks that Numba compiles: their twins run for each element.

`vectorize`, `guvectorize`, `stencil` and `cfunc` are called by Numba's rules of broadcasting, and run here in a loop of
Python's. Divisions by zero are NumPy's in the first two, as Numba has them there.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from numbad.numba_api.dispatching import Kernel, refuse_option, takes_part
from numbad.numpy_api.functions import array as as_recorded
from numbad.numpy_api.protocol import finders
from numbad.recording.active import Active
from numbad.recording.arrays import as_array
from numbad.recording.blocks import zeros
from numbad.recording.operands import recorder_of
from numbad.recording.unfilled import refuse_unfilled

KEPT = "_numbad_kernel"


def kept(owner: Any, function: Any, options: dict[str, Any], raising: bool) -> Kernel:
    """Return what is known of a compiled function that is no dispatcher."""
    found = owner.__dict__.get(KEPT)
    if found is None:
        found = owner.__dict__[KEPT] = Kernel(owner, function, options, raising)
    return found  # type: ignore[no-any-return]


def element(value: Any, index: tuple[int, ...]) -> Any:
    """Return what a function of elements is given of an operand at a place of the result."""
    shape = np.shape(value)
    if not shape:
        return value if isinstance(value, Active) else np.asarray(value)[()]
    own = index[len(index) - len(shape) :]
    return value[tuple(0 if length == 1 else k for k, length in zip(own, shape, strict=True))]


# ---------------------------------------------------------------- vectorize


def find_vectorized(ufunc: Any) -> Callable[..., Any] | None:
    """Return the recording version of a ufunc that Numba has made of a function of numbers."""
    from numba.np.ufunc.dufunc import DUFunc

    return functools.partial(vectorized, ufunc) if isinstance(ufunc, DUFunc) else None


def vectorized(ufunc: Any, *inputs: Any) -> Any:
    """Run a function for each element of the operands."""
    kernel = kept(ufunc, ufunc._dispatcher.py_func, ufunc._dispatcher.targetoptions, False)
    shape = np.broadcast_shapes(*(np.shape(value) for value in inputs))
    if not shape:
        return kernel.run(inputs, {})
    parts = [kernel.run(tuple(element(value, index) for value in inputs), {}) for index in np.ndindex(shape)]
    return as_recorded(parts).reshape(shape) if parts else np.zeros(shape)


# ---------------------------------------------------------------- guvectorize


def generalized(ufunc: Any, *arguments: Any, **keywords: Any) -> Any:
    """Run a function for each core of the operands; it writes to those of the results."""
    from numba.np.ufunc.sigparse import parse_signature

    builder = ufunc.gufunc_builder
    inputs, outputs = parse_signature(builder.signature)
    out = keywords.pop("out", None)
    if keywords:
        refuse_option(ufunc, f"{next(iter(keywords))}= of a call")
    given = [*arguments, *(out if isinstance(out, tuple) else () if out is None else (out,))]
    operands = [value if isinstance(value, Active) else np.asarray(value) for value in given[: len(inputs)]]
    targets = given[len(inputs) :] or [None] * len(outputs)
    shape, lengths = loop_of(ufunc, operands, inputs)
    recorder = recorder_of(*given)
    made = [
        as_array(zeros(recorder, (*shape, *(core_shape(ufunc, core, lengths, target) or (1,)))))
        for core, target in zip(outputs, targets, strict=True)
    ]
    copy_targets(made, targets, outputs)
    kernel = kept(ufunc, builder.py_func, builder.targetoptions, False)
    for index in np.ndindex(shape):
        parts = [core_of(value, index, len(core)) for value, core in zip(operands, inputs, strict=True)]
        kernel.run((*parts, *(target[index] if shape else target for target in made)), {})
    found = [result if core else result[..., 0] for result, core in zip(made, outputs, strict=True)]
    for k, target in enumerate(targets):
        if target is not None:
            found[k] = assigned(target, found[k])
    return found[0] if len(found) == 1 else tuple(found)


def loop_of(ufunc: Any, operands: list[Any], inputs: Any) -> tuple[tuple[int, ...], dict[str, int]]:
    """Return the shape of the loop over cores, and the lengths of the core axes by their names."""
    lengths: dict[str, int] = {}
    loops = []
    for value, core in zip(operands, inputs, strict=True):
        shape = np.shape(value)
        if len(shape) < len(core):
            raise ValueError(f"{ufunc.__name__}: an operand has {len(shape)} axes, of which {len(core)} are its core")
        loops.append(shape[: len(shape) - len(core)])
        for name, length in zip(core, shape[len(shape) - len(core) :], strict=True):
            if lengths.setdefault(name, length) != length:
                raise ValueError(f"{ufunc.__name__}: the core axis {name} has lengths {lengths[name]} and {length}")
    return np.broadcast_shapes(*loops), lengths


def core_shape(ufunc: Any, core: Any, lengths: dict[str, int], target: Any) -> tuple[int, ...]:
    """Return the lengths of the core axes of a result."""
    if target is not None and len(core):
        found: tuple[int, ...] = np.shape(target)[-len(core) :]
        return found
    missing = [name for name in core if name not in lengths]
    if missing:
        raise ValueError(f"{ufunc.__name__}: no operand tells the length of the core axis {missing[0]}; give out=")
    return tuple(lengths[name] for name in core)


def core_of(value: Any, index: tuple[int, ...], axes: int) -> Any:
    """Return the core of an operand at a place of the loop."""
    loop = np.shape(value)[: np.ndim(value) - axes]
    own = index[len(index) - len(loop) :]
    place = tuple(0 if length == 1 else k for k, length in zip(own, loop, strict=True))
    found = value[place] if place else value
    return found if axes or isinstance(found, Active) else np.asarray(found)[()]


def copy_targets(made: list[Any], targets: list[Any], outputs: Any) -> None:
    """Give results the numbers that the arrays have to which they are written: a function may read them first."""
    for result, target, core in zip(made, targets, outputs, strict=True):
        if target is not None:
            result[...] = target if core else target[..., None]


def assigned(target: Any, result: Any) -> Any:
    """Write a result to the array that a call was given for it."""
    if not isinstance(target, Active):
        refuse_unfilled("the array to which the function writes", target)
    target[...] = result
    return target


# ---------------------------------------------------------------- stencils


class Relative:
    """An array as the kernel of a stencil sees it: element 0 is that of the place where it is computed."""

    __slots__ = ("array", "index")

    def __init__(self, array: Any, index: tuple[int, ...]) -> None:
        self.array, self.index = array, index

    def __getitem__(self, key: Any) -> Any:
        steps = key if isinstance(key, tuple) else (key,)
        place = tuple(moved(step, k) for step, k in zip(steps, self.index, strict=True))
        return self.array[place]

    def __getattr__(self, name: str) -> Any:
        return getattr(self.array, name)


def moved(step: Any, k: int) -> Any:
    """Return an index that is counted from a place on."""
    if isinstance(step, slice):
        return slice(step.start + k, step.stop + k)
    if step + k < 0:
        raise IndexError(f"a stencil reads {step} from place {k}, before the array begins")
    return step + k


def stencilled(own: Callable[..., Any], stencil: Any, *arguments: Any, **keywords: Any) -> Any:
    """Run the kernel of a stencil at each place."""
    function = stencil.kernel_ir.func_id.func
    if stencil.neighborhood is None:  # Numba finds it when it compiles
        with contextlib.suppress(ZeroDivisionError):
            own(stencil, *(np.ones(np.shape(value)) if takes_part(value) else value for value in arguments))
    recorder, first = recorder_of(*arguments, *keywords.values()), arguments[0]
    target = keywords.get("out")
    result = as_array(zeros(recorder, np.shape(first)))
    if target is not None:
        result[...] = target
    cval = stencil.options.get("cval", 0.0 if target is None else None)
    if cval is not None:
        result[...] = cval
    plain_names = set(stencil.options.get("standard_indexing", ()))
    names = function.__code__.co_varnames
    kernel = kept(stencil, function, {}, True)
    ends = [(-min(0, low), n - max(0, high)) for n, (low, high) in zip(first.shape, stencil.neighborhood, strict=True)]
    for steps in np.ndindex(*(max(0, stop - start) for start, stop in ends)):
        index = tuple(start + k for (start, _), k in zip(ends, steps, strict=True))
        given = [
            Relative(value, index) if np.ndim(value) and name not in plain_names else value
            for name, value in zip(names, arguments, strict=False)
        ]
        result[index] = kernel.run(tuple(given), {})
    return result if target is None else assigned(target, result)


# ---------------------------------------------------------------- teaching


def teach_others() -> None:
    """Teach what Numba makes of functions besides dispatchers."""
    from numba.core.ccallback import CFunc
    from numba.np.ufunc.gufunc import GUFunc
    from numba.stencils.stencil import StencilFunc

    finders.append(find_vectorized)
    teach_call(GUFunc, lambda own, gufunc, *arguments, **keywords: generalized(gufunc, *arguments, **keywords))
    teach_call(StencilFunc, stencilled)
    teach_call(CFunc, lambda own, found, *arguments: kept(found, found._pyfunc, {}, True).run(arguments, {}))


def teach_call(kind: Any, recorded: Callable[..., Any]) -> None:
    """Let the objects of a class of Numba's be called with recording values."""
    own = kind.__call__

    def call(self: Any, *arguments: Any, **keywords: Any) -> Any:
        if any(takes_part(value) for value in (*arguments, *keywords.values())):
            return recorded(own, self, *arguments, **keywords)
        return own(self, *arguments, **keywords)

    kind.__call__ = call
