"""NumPy's protocols: what np.sin(x) and np.sum(x) of recording values are recorded as."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from numbad.ops.definition import BY_UFUNC, Op
from numbad.recording import filling
from numbad.recording.active import Active, new
from numbad.recording.arrays import Array
from numbad.recording.elementwise import record, record_operator
from numbad.recording.matmul import matrix_product
from numbad.recording.recorder import refuse
from numbad.recording.roots import WATCHED
from numbad.recording.row_plans import CONTIGUOUS, append_row, plan_contiguous
from numbad.recording.scalars import Scalar
from numbad.tape.layout import MAP

OPS: dict[Any, Op] = {}  # ufunc object -> op; not roots and squares; those of other packages are added when met
for _name, _op in BY_UFUNC.items():
    if _op.ufunc.startswith("numpy.") and isinstance(_ufunc := getattr(np, _name, None), np.ufunc):
        OPS[_ufunc] = _op
for _ufunc in WATCHED:
    del OPS[_ufunc]


_tables: Any = None
finders: list[Callable[[Any], Any]] = []  # modules above look for ufuncs of other libraries: their recording version


def tables() -> Any:
    """Return the module of all tables; it is imported when a function is first met that is no plain ufunc."""
    global _tables
    if _tables is None:
        from numbad.numpy_api import tables as found

        _tables = found
    return _tables


def replacements() -> dict[int, tuple[Any, Any]]:
    """Return functions that are exchanged, and ours: needed once a function is recorded again."""
    from numbad.numpy_api import converting

    return converting.replacements()


filling.preparations.append(replacements)


def array_ufunc(self: Any, ufunc: Any, method: str, *inputs: Any, **keywords: Any) -> Any:
    """Record a ufunc of any operands, of which one is recording."""
    if method == "__call__" and not keywords:
        op = OPS.get(ufunc)
        if op is not None:
            return record_operator(op, *inputs) if len(inputs) == 2 else record(op, *inputs)
        if ufunc in WATCHED:
            return WATCHED[ufunc](*inputs)
        if ufunc is np.matmul:
            result = matrix_product(self.recorder, *inputs)
            if result is not None:
                return result
    return tables().apply_ufunc(ufunc, method, inputs, keywords)


def scalar_ufunc(self: Scalar, ufunc: Any, method: str, *inputs: Any, **keywords: Any) -> Any:
    """Record a ufunc of a scalar without a detour, any other by `array_ufunc`."""
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
    return array_ufunc(self, ufunc, method, *inputs, **keywords)


def contiguous_ufunc(self: Array, ufunc: Any, method: str, *inputs: Any, **keywords: Any) -> Any:
    """Record a ufunc of one contiguous array without a detour, any other by `array_ufunc`."""
    if len(inputs) == 1 and self.first is not None and method == "__call__" and not keywords:
        op = OPS.get(ufunc)
        if op is not None:
            plans = CONTIGUOUS.get(self.shape) or plan_contiguous(self.shape)
            return append_row(self.recorder, MAP + op.opcode, plans.unary, self.first, 0, op.boolean)
    return array_ufunc(self, ufunc, method, *inputs, **keywords)


def array_function(self: Active, function: Any, kinds: Any, arguments: Any, keywords: Any) -> Any:
    """Record a function of NumPy that is no ufunc."""
    return tables().apply_function(function, arguments, keywords)


def record_op(self: Active, op: Op, operands: tuple[Any, ...]) -> Any:
    """Record an op that was called by name."""
    if op.partials_function is None:
        refuse(f"the op {op.name} has no partials", f"declare them with @{op.name}.partials, or @op(smooth=False)")
    return record(op, *operands)


Active.__array_ufunc__, Scalar.__array_ufunc__, Array.__array_ufunc__ = array_ufunc, scalar_ufunc, contiguous_ufunc
Active.__array_function__, Active.record_op = array_function, record_op
