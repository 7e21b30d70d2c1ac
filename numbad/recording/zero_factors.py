"""What a product does not read: where a constant factor is zero throughout, the other one does not matter.

There the other factor is absent from the product, as it is from `0.0 * x`: in `mask @ np.sqrt(x)` an infinite slope
meets no number. The factor is multiplied by a mask of its own first, which leaves its values as they are.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from numbad.kernels.memory import contains_zero
from numbad.limits import FIRST_ROW, SAMPLED
from numbad.recording.active import Active
from numbad.recording.elementwise import BY_CONSTANT, record
from numbad.recording.operands import constant_values


def may_have_zeros(values: np.ndarray) -> bool:
    """Whether a constant factor is worth a look: a large one may take longer to go through than the product."""
    return values.size > FIRST_ROW or contains_zero(values)


def find_read(values: np.ndarray, axes: tuple[int, ...]) -> np.ndarray | None:
    """Return where a constant factor is not zero throughout some axes; None if that is everywhere.

    A very large one, of which a replay may miss that it has changed, is not looked at: zeros give NaN there.
    """
    if not values.size or values.size > SAMPLED:
        return None
    if values.size > FIRST_ROW:  # most arrays have a first row without a zero
        first = values[tuple(0 if axis in axes else slice(None) for axis in range(values.ndim))]
        if not contains_zero(np.asarray(first)):
            return None
    elif not contains_zero(values):
        return None
    read = values.any(axis=axes)
    return None if read.all() else np.asarray(read)


def leave_out(other: Any, mask: np.ndarray) -> Any:
    """Return a factor that is absent from products where the mask is zero."""
    return record(BY_CONSTANT, other, mask.astype(other.recorder.dtype))


def leave_out_unread(one: Any, other: Any, shared: list[tuple[int, int]]) -> tuple[Any, Any]:
    """Return the factors of a product, one of them without what the other, if it is constant, does not read.

    Parameters
    ----------
    one, other
        Recording or plain arrays.
    shared : list of (int, int)
        The axes of the two that are walked together; the others are the factor's own.
    """
    for first in (True, False):
        constant, varying = (one, other) if first else (other, one)
        if not isinstance(varying, Active):
            continue
        values = constant_values(constant)
        if values is None or constant_values(varying) is not None:
            continue
        pairs = sorted(pair if first else pair[::-1] for pair in shared)
        if any(values.shape[mine] != varying.shape[its] for mine, its in pairs):
            continue  # one of the two is repeated along an axis
        mask = find_read(values, tuple(set(range(values.ndim)) - {mine for mine, _ in pairs}))
        if mask is None:
            continue
        order = sorted(range(len(pairs)), key=lambda k: pairs[k][1])
        spread = [1] * varying.ndim
        for _, its in pairs:
            spread[its] = varying.shape[its]
        varying = leave_out(varying, mask.transpose(order).reshape(spread))
        one, other = (one, varying) if first else (varying, other)
    return one, other
