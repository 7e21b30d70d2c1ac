"""What a function and its reverse derivative give, for the tests: one place that knows how to ask numbad."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from numbad.active import Array
from numbad.derivatives import record_call


def value_and_pullback_of_ones(f: Callable[..., Any], *points: Any) -> tuple[Any, list[Any]]:
    """Return f(*points), an array or a list of scalars, and the gradient of the sum of its elements."""
    recorder, leaves, _, _, result = record_call(f, points, tuple(range(len(points))), {})
    try:
        execution = recorder.run()
        if isinstance(result, Array):
            value = result.value()
            addresses = result.address_view().reshape(-1)
        else:
            addresses = np.array([part.address for part in result])
            value = execution.values[addresses].astype(recorder.dtype)
        bars = execution.backward([(int(address), 1.0) for address in addresses])
        found = [leaf.read(bars) for leaf in leaves]
    finally:
        recorder.close()
    return value, found
