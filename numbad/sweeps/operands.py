"""The operands of array rows as NumPy sees them: views of the arena and of the spaces, of values or of cotangents."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from numbad.geometry import overlaps
from numbad.tape.layout import host_call, host_places, operand_place, operand_strides, row_shape

if TYPE_CHECKING:
    from numbad.sweeps.execution import Cotangents, Execution


def operand(spaces: Any, words: Any, w: int, index: int) -> np.ndarray:
    """Return an operand of a MAP, ADD or CONTRACT row as a NumPy view over the row's index space."""
    space, first = operand_place(words, w, index)
    shape, memory = row_shape(words, w), spaces(space)
    strides = tuple(memory.itemsize * s for s in operand_strides(words, w, index))
    if any(s < 0 for s in strides) or not memory.size:
        return np.lib.stride_tricks.as_strided(memory[first:], shape, strides)
    return np.ndarray(shape, memory.dtype, memory, first * memory.itemsize, strides)


def primal_spaces(execution: Execution) -> Any:
    """Return a function that gives the memory of a space, flat."""
    return lambda space: flat(execution.values if space == 0 else execution.spaces[space])


def bar_spaces(bars: Cotangents) -> Any:
    """Return a function that gives the cotangents of a space, flat; None for constants."""
    return lambda space: bars.arena if space == 0 else bars.spaces.get(space)


def flat(values: np.ndarray) -> np.ndarray:
    """Return the elements in memory order, as a view."""
    return values.reshape(-1) if values.flags.c_contiguous else values.T.reshape(-1)


def add_broadcast(target: np.ndarray, addend: np.ndarray) -> None:
    """Add to a view, of which several elements may be one: axes of stride 0, windows that overlap.

    NumPy's `target += addend` keeps one of the addends of such an element. Every addition to memory that a view names
    goes through here.
    """
    axes = tuple(k for k, (s, n) in enumerate(zip(target.strides, target.shape, strict=True)) if s == 0 and n > 1)
    if axes:
        addend = np.add.reduce(addend, axis=axes, keepdims=True, initial=-0.0)  # absent where all are
        target = target[tuple(slice(0, 1) if k in axes else slice(None) for k in range(target.ndim))]
    if overlaps(target.shape, target.strides):
        axis = min((n, k) for k, n in enumerate(target.shape) if n > 1)[1]
        for part, more in zip(np.moveaxis(target, axis, 0), np.moveaxis(addend, axis, 0), strict=True):
            add_broadcast(part, more)
    else:
        target += addend


def host_operands(spaces: Any, words: Any, w: int) -> tuple[Any, list[Any], list[Any]]:
    """Return the position of the host, and its operands and results as flat views (None for constants' bars)."""
    read, made = host_places(words, w)
    return int(host_call(words, w)), views(spaces, read), views(spaces, made)


def views(spaces: Any, places: list[tuple[int, int, int]]) -> list[Any]:
    """Return (space, address, elements) as flat views, None where a space has no memory."""
    found = ((spaces(space), address, count) for space, address, count in places)
    return [None if memory is None else memory[address : address + count] for memory, address, count in found]
