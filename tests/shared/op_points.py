"""Values and partials of every op at points of its domain, computed in each way that numbad has."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

import numpy as np

import numbad
from numbad.ops.definition import BY_NAME, Interval, Op
from shared.reference_values import REACH, REACH_OF_MOST

INF, NAN = math.inf, math.nan
LAYOUTS = ("scalar", "contiguous", "reversed", "strided", "transposed", "large")
LARGE = 40_960

# ---------------------------------------------------------------- points

ORDERS = (0.0, 1.0, 2.0, 3.0)  # of Bessel functions


def spread(interval: Interval, count: int, generator: np.random.Generator, reach: float, extent: float) -> np.ndarray:
    """Return points of an interval: near its ends, near zero, and as far out as `reach`."""
    low, high = interval.low, interval.high
    far = np.exp(generator.uniform(math.log(1e-6), math.log(reach), count))
    if reach == REACH_OF_MOST:
        far[::3] = 10.0 ** generator.uniform(-extent, extent, far[::3].size)
    if math.isinf(low) and math.isinf(high):
        return far * generator.choice([-1.0, 1.0], count)
    if math.isinf(high):
        return low + far
    if math.isinf(low):
        return high - far
    inside = generator.uniform(low, high, count)
    near = np.minimum(far / reach, 0.4) * (high - low)
    inside[: count // 3] = low + near[: count // 3]
    inside[count // 3 : 2 * count // 3] = high - near[count // 3 : 2 * count // 3]
    return inside


@functools.cache
def points(name: str, single: bool) -> tuple[np.ndarray, ...]:
    """Return ordinary points of an op's domain, representable in the dtype, away from kinks."""
    op = BY_NAME[name]
    generator = np.random.default_rng(7)
    count = 41
    reach = REACH.get(name, REACH_OF_MOST)
    operands = [spread(interval, count, generator, reach, 18.0 if single else 150.0) for interval in op.domain]
    if name in ("jv", "iv", "ive"):
        operands[0] = generator.choice(ORDERS, count)
    if name == "power_by_constant":
        operands[0] = np.concatenate([operands[0][:21], -operands[0][21:]])
        operands[1] = generator.choice([-2.0, -1.0, 0.0, 1.0, 2.0, 3.0, 5.0], count)
        operands[1][:5] = [0.5, -0.5, 1.5, 2.5, -1.7]
        operands[0][:5] = np.abs(operands[0][:5])
    if name in ("keep", "drop"):
        operands[0][::3] = 0.0
    operands = [part.astype(np.float32).astype(np.float64) if single else part for part in operands]
    keep = np.ones(count, bool)
    distance = operands[0] if op.arity == 1 else operands[0] - operands[1]
    for kink in op.kinks:
        keep &= distance != kink
    for part, interval in zip(operands, op.domain, strict=True):
        keep &= (part > interval.low) & (part < interval.high)
    if name in ("remainder", "fmod", "floor_divide"):
        keep &= np.abs(operands[0] / operands[1]) < 1e6
    found = tuple(part[keep] for part in operands)
    if op.boolean:
        found[0][::3] = {"isnan": NAN, "isinf": INF}.get(name, 0.0)
        found[-1][::2] = found[0][::2]
    return found


# ---------------------------------------------------------------- evaluation


def value_and_pullback_of_ones(f: Callable[..., Any], *points: Any) -> tuple[Any, list[Any]]:
    """Return f(*points), an array or a list of scalars, and the gradient of the sum of its elements."""
    seen: list[Any] = []

    def total(*arguments: Any) -> Any:
        result = f(*arguments)
        if isinstance(result, list):
            seen.append(np.array([part.value() for part in result]))
            return sum(part + 0.0 for part in result)
        seen.append(result.value())
        return np.sum(result + 0.0)

    found = numbad.gradient(total, *points)
    return seen[0], [found] if len(points) == 1 else list(found)


def layouts(op: Op, layout: str, operands: list[np.ndarray]) -> Any:
    """Return values and partials of an op at points, computed in one of the ways that numbad has."""
    count = operands[0].size
    if layout == "scalar":
        return value_and_pullback_of_ones(lambda *a: [op(*parts) for parts in zip(*a, strict=True)], *operands)
    if layout == "contiguous":
        return value_and_pullback_of_ones(lambda *a: op(*a), *operands)
    if layout == "large":
        tiled = [np.resize(part, LARGE) for part in operands]
        value, found = value_and_pullback_of_ones(lambda *a: op(*a), *tiled)
        ends = np.r_[0:count, LARGE - LARGE % count - count : LARGE - LARGE % count]
        assert all(np.array_equal(part[ends[:count]], part[ends[count:]], equal_nan=True) for part in (value, *found))
        return value[:count], [part[:count] for part in found]
    if layout == "reversed":
        value, found = value_and_pullback_of_ones(lambda *a: op(*(x[::-1] for x in a)), *operands)
        return value[::-1], found
    if layout == "strided":
        wide = [np.repeat(part, 3) for part in operands]
        value, found = value_and_pullback_of_ones(lambda *a: op(*(x[1::3] for x in a)), *wide)
        assert all(not part[0::3].any() and not part[2::3].any() for part in found)
        return value, [part[1::3] for part in found]
    assert layout == "transposed"
    square = [np.resize(part, 3 * count).reshape(3, count) for part in operands]
    value, found = value_and_pullback_of_ones(lambda *a: op(*(x.T for x in a)), *square)
    return value.T[0], [part[0] for part in found]


@functools.cache
def computed(name: str, layout: str, dtype: Any) -> tuple[np.ndarray, np.ndarray]:
    """Return values and partials of an op at its points."""
    op = BY_NAME[name]
    operands = [part.astype(dtype) for part in points(name, dtype is np.float32)]
    if layout == "symbolic":
        wide = [part.astype(np.float64) for part in operands]
        value, _ = computed(name, "scalar", np.float64)
        with np.errstate(all="ignore"):
            rule = op.symbolic_partials(wide[0], wide[-1], value)
        return value, np.array([np.broadcast_to(np.asarray(part, np.float64), value.shape) for part in rule])
    value, partials = layouts(op, layout, operands)
    assert value.dtype == dtype or op.boolean
    assert all(part.dtype == dtype for part in partials)
    return np.asarray(value, np.float64), np.array(partials, np.float64)
