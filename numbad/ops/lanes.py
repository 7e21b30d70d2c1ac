"""Array ops over many lanes at once: one row for all examples of a batch, or for all seeds of a derivative.

Each operand that differs between lanes has them as its last axis, as everything with lanes has; the kernel and the
rule of the op see them as first axis of a stack, by views. An op says that both take stacks (`ArrayOp.stacks`); where
they do not, they are called lane by lane, which is one row still.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from numbad.ops.host import ArrayOp, Shape, as_tuple, recording_among

PREFIX = "lanes of "  # of the names of these ops


def to_last(part: Any) -> Any:
    """Return a view of an array with its first axis as the last; np.moveaxis takes microseconds to find out which."""
    return part.transpose((*range(1, len(part.shape)), 0))


def to_first(part: Any) -> Any:
    """Return a view of an array with its last axis as the first."""
    last = len(part.shape) - 1
    return part.transpose((last, *range(last)))


class Laned(ArrayOp):
    """An array op over many lanes.

    Its settings are those of the op and `shared`: for each operand, whether all lanes have the same, so that it has no
    axis of lanes. One at least differs. The flag of an op that may raise is one number for each lane.

    Attributes
    ----------
    op : ArrayOp
        The op of one lane.
    """

    def __init__(self, op: ArrayOp) -> None:
        super().__init__(self.compute, self.find_shapes)
        self.op, self.name = op, PREFIX + op.name
        self.raises, self.takes_wanted, self.carries_absence = op.raises, op.takes_wanted, op.carries_absence
        self.__doc__ = op.__doc__

    @property
    def vjp_function(self) -> Callable[..., Any] | None:  # type: ignore[override]
        """The pullback, if the op has one."""
        return None if self.op.vjp_function is None else self.pull

    @vjp_function.setter
    def vjp_function(self, _: Any) -> None:
        """It is the op's."""

    @property
    def jvp_function(self) -> Callable[..., Any] | None:  # type: ignore[override]
        """The rule of tangents, if the op has one."""
        return None if self.op.jvp_function is None else self.push

    @jvp_function.setter
    def jvp_function(self, _: Any) -> None:
        """It is the op's."""

    def find_shapes(self, *shapes: Shape, shared: Any, **settings: Any) -> list[Shape]:
        """Return the shapes of the results, lanes last."""
        lanes = count_lanes(shapes, shared)
        each = [shape if same else shape[:-1] for shape, same in zip(shapes, shared, strict=True)]
        return [(*shape, lanes) for shape in self.op.shapes_function(*each, **settings)]

    def compute(self, *operands: Any, shared: Any, **settings: Any) -> tuple[Any, ...]:
        """Compute all lanes."""
        lanes = count_lanes([np.shape(part) for part in operands], shared)
        stacks = to_front(operands, shared, lanes)
        shapes = [np.shape(part)[1:] for part in stacks]
        columns = self.has_vectors(shapes)
        stacks = self.aligned(stacks)
        kernel = self.op.stacked_kernel if self.op.stacks and lanes else self.lane_by_lane
        found = (
            attempt_stack(self.op, kernel, stacks, settings)
            if self.op.raises
            else as_tuple(kernel(*stacks, **settings))
        )
        if columns:
            found = (found[0][..., 0], *found[1:])
        return tuple(to_last(np.asarray(part)) for part in found)

    def lane_by_lane(self, *stacks: Any, **settings: Any) -> tuple[Any, ...]:
        """Compute each lane for itself; an op that may raise does so."""
        lanes = len(stacks[0])
        if not lanes:
            shapes = self.op.shapes_function(*(part.shape[1:] for part in stacks), **settings)
            return tuple(np.zeros((0, *shape)) for shape in shapes[: len(shapes) - self.op.raises])
        each = [as_tuple(self.op.kernel(*(part[lane] for part in stacks), **settings)) for lane in range(lanes)]
        return tuple(np.stack([np.asarray(part) for part in parts]) for parts in zip(*each, strict=True))

    def has_vectors(self, shapes: list[Shape]) -> bool:
        """Whether the second operand is a vector for each lane, which a stack takes as a matrix of one column."""
        return self.op.stacks and self.op.takes_columns and len(shapes[1]) == 1

    def aligned(self, stacks: list[Any]) -> list[Any]:
        """Return the operands of a system as stacks with equally many axes: the lanes are the first of each."""
        if not (self.op.stacks and self.op.takes_columns):
            return stacks
        a, b = stacks
        if np.ndim(b) == 2:
            b = b[..., None]
        more = np.ndim(a) - np.ndim(b)
        a, b = (
            part.reshape((np.shape(part)[0], *(1,) * extra, *np.shape(part)[1:])) if extra > 0 else part
            for part, extra in ((a, -more), (b, more))
        )
        return [a, b]

    def pull(self, bars: Any, results: Any, operands: Any, *, shared: Any, **settings: Any) -> tuple[Any, ...]:
        """Return the cotangents of the operands; those of shared ones are summed over the lanes."""
        lanes = count_lanes([np.shape(part) for part in operands], shared)
        stacks = to_front(operands, shared, lanes)
        bars = [to_first(part) for part in bars]
        results = [to_first(part) for part in results]
        shapes = [np.shape(part) for part in stacks]
        columns = self.has_vectors([shape[1:] for shape in shapes])
        stacks = self.aligned(stacks)
        if columns:
            bars[0], results[0] = bars[0][..., None], results[0][..., None]
        if self.op.stacks:
            found = list(as_tuple(rule_of(self.op)(bars, results, stacks, **settings)))
        else:
            found = self.pull_each(bars, results, stacks, lanes, settings)
        if self.op.takes_columns:
            found = [None if part is None else part.reshape(shape) for part, shape in zip(found, shapes, strict=True)]
        return tuple(
            None if part is None else np.sum(part, axis=0) if same else to_last(part)
            for part, same in zip(found, shared, strict=True)
        )

    def pull_each(self, bars: Any, results: Any, stacks: Any, lanes: int, settings: Any) -> list[Any]:
        """Return the cotangents of stacks of operands lane by lane."""
        each = [
            as_tuple(
                rule_of(self.op)(*([part[lane] for part in parts] for parts in (bars, results, stacks)), **settings)
            )
            for lane in range(lanes)
        ]
        return [
            None
            if any(part is None for part in parts)
            else np.stack([np.broadcast_to(part, np.shape(stack)[1:]) for part in parts])
            for parts, stack in zip(zip(*each, strict=True), stacks, strict=True)
        ]

    def push(self, operands: Any, dots: Any, *, shared: Any, **settings: Any) -> tuple[Any, ...]:
        """Return the tangents of the results, by the op's rule."""
        lanes = count_lanes([np.shape(part) for part in operands], shared)
        rule: Any = self.op.jvp_function
        stacks = to_front(operands, shared, lanes)
        moved = [
            None if dot is None else to_front([dot], [same], lanes)[0] for dot, same in zip(dots, shared, strict=True)
        ]
        if self.op.stacks and not self.has_vectors([np.shape(part)[1:] for part in stacks]):
            return tuple(to_last(part) for part in as_tuple(rule(stacks, moved, **settings)))
        each = [
            as_tuple(rule([s[lane] for s in stacks], [None if dot is None else dot[lane] for dot in moved], **settings))
            for lane in range(lanes)
        ]
        return tuple(np.stack(parts, axis=-1) for parts in zip(*each, strict=True))


def rule_of(op: ArrayOp) -> Callable[..., Any]:
    """Return the pullback of an op."""
    assert op.vjp_function is not None
    return op.vjp_function


def count_lanes(shapes: Any, shared: Any) -> int:
    """Return how many lanes there are, or raise a ValueError where operands disagree."""
    if len(shapes) != len(shared) or not all(type(same) is bool for same in shared):
        raise ValueError(f"{shared} does not say which of {len(shapes)} operands all lanes share")
    counts = {shape[-1] for shape, same in zip(shapes, shared, strict=True) if not same}
    if len(counts) != 1:
        raise ValueError(f"operands have {sorted(counts)} lanes")
    return int(counts.pop())


def to_front(operands: Any, shared: Any, lanes: int) -> list[Any]:
    """Return operands as stacks, by views; one that all lanes share is repeated."""
    return [
        np.broadcast_to(part, (lanes, *np.shape(part))) if same else to_first(part)
        for part, same in zip(operands, shared, strict=True)
    ]


def attempt_stack(op: ArrayOp, kernel: Any, stacks: list[Any], settings: Any) -> tuple[Any, ...]:
    """Compute a stack by a kernel that may raise: a last result says for each lane whether it went well.

    A stack that fails is halved until the lanes that fail are alone; their results are NaN.
    """
    lanes = len(stacks[0])
    try:
        return (*as_tuple(kernel(*stacks, **settings)), np.ones(lanes))
    except (ArithmeticError, ValueError):
        if lanes < 2:
            found = as_tuple(op.primal(*(part[0] for part in stacks), **settings)) if lanes else ()
            return tuple(np.asarray(part)[None] for part in found)
    half = lanes // 2
    low, high = (
        attempt_stack(op, kernel, [part[chosen] for part in stacks], settings)
        for chosen in (slice(half), slice(half, None))
    )
    return tuple(np.concatenate(parts) for parts in zip(low, high, strict=True))


def laned(op: ArrayOp) -> Laned:
    """Return the op over many lanes; there is one for each op."""
    found = op.__dict__.get("of_lanes")
    if found is None:
        found = op.__dict__["of_lanes"] = Laned(op)
    return found


def call_with_lanes(op: Any, values: list[Any], lanes: int, settings: dict[str, Any], plain: dict[int, Any]) -> Any:
    """Record an array op over lanes; return its results, lanes last, or None for an op that takes no lanes.

    Parameters
    ----------
    op : ArrayOp or another op of host rows
    values : list
        The operands, with the lanes as last axis: of length 1 where all agree.
    lanes : int
    settings : dict
        Of the op.
    plain : dict
        Operands that were plain, by their position.
    """
    if getattr(op, "takes_lanes", False):
        spread = [np.broadcast_to(value, (*np.shape(value)[:-1], lanes)) for value in values]
        for k, value in plain.items():
            spread[k] = np.asarray(value)[..., None]
        return as_tuple(op(*spread, **settings))
    if not isinstance(op, ArrayOp):
        return None
    if isinstance(op, Laned):
        return call_laned_again(op, values, lanes, settings)
    shared = tuple(np.shape(value)[-1] == 1 and lanes > 1 for value in values)
    if op.columns_kernel and shared == (True, False) and np.ndim(values[0]) == 3 and np.ndim(values[1]) <= 3:
        return call_with_columns(op, values, lanes, settings)
    given = [value[..., 0] if same else value for value, same in zip(values, shared, strict=True)]
    if recording_among(tuple(given)) is None:
        return None
    return as_tuple(laned(op).every_result(*given, shared=shared, **settings))


def call_laned_again(op: Laned, values: list[Any], lanes: int, settings: dict[str, Any]) -> tuple[Any, ...]:
    """Record an op that has lanes already over more of them: they become one axis."""
    own = settings["shared"]
    inner = count_lanes([np.shape(value)[:-1] for value in values], own)
    shared, given = [], []
    for value, same in zip(values, own, strict=True):
        alike = same and np.shape(value)[-1] == 1 and lanes > 1
        shared.append(alike)
        if alike:
            given.append(value[..., 0])
            continue
        wide = value[..., None, :] if same else value
        shape = np.shape(wide)[:-2]
        given.append(np.broadcast_to(wide, (*shape, inner, lanes)).reshape((*shape, inner * lanes)))
    found = as_tuple(op.every_result(*given, **{**settings, "shared": tuple(shared)}))
    return tuple(part.reshape((*part.shape[:-1], inner, lanes)) for part in found)


def call_with_columns(op: Any, values: list[Any], lanes: int, settings: dict[str, Any]) -> tuple[Any, ...]:
    """Record a system that all lanes share: their right-hand sides are columns of one."""
    a, b = values[0][..., 0], values[1]
    side, extra = np.shape(b)[0], np.shape(b)[1:]
    found = as_tuple(op.every_result(a, b.reshape((side, -1)), **settings))
    x = found[0].reshape((*np.shape(found[0])[:1], *extra))
    return (
        x,
        *(np.broadcast_to(np.reshape(part, (*np.shape(part), 1)), (*np.shape(part), lanes)) for part in found[1:]),
    )
