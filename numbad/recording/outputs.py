"""What a recorded function returned: one number where that is wanted, and values as NumPy would hold them."""

from __future__ import annotations

from typing import Any

import numpy as np

from numbad.errors import OutputError, attribute, message
from numbad.recording.active import Active
from numbad.recording.arrays import Array
from numbad.recording.recorder import Recorder
from numbad.recording.scalars import Scalar
from numbad.recording.trees import Tree, flatten


def is_narrow(argnums: Any, arguments: tuple[Any, ...]) -> bool:
    """Whether derivatives with respect to some arguments are in single precision: all that they consist of is.

    A wider constant widens the recording that computes them.
    """
    if argnums is None:
        return False
    chosen = argnums if isinstance(argnums, tuple) else (argnums,)
    leaves = [leaf for k in chosen if -len(arguments) <= k < len(arguments) for leaf in flatten(arguments[k])[0]]
    return bool(leaves) and all(getattr(leaf, "dtype", None) == np.float32 for leaf in leaves)


def narrowed(found: Tree) -> Tree:
    """Return a tree of results in single precision."""
    leaves, rebuild = flatten(found)
    wide = (float, np.float64)
    return rebuild(
        [
            np.float32(leaf)
            if isinstance(leaf, wide)
            else leaf.astype(np.float32)
            if isinstance(leaf, np.ndarray) and leaf.dtype == np.float64
            else leaf
            for leaf in leaves
        ]
    )


def scalar_output(recorder: Recorder, result: Any, name: str) -> Scalar | None:
    """Return the recording scalar that a function returned; None for a plain number (a constant)."""
    if isinstance(result, np.ndarray) and result.dtype == object and result.size == 1:
        result = result.reshape(-1)[0]
    if not isinstance(result, (Active, np.ndarray, np.generic)) and attribute(result, "shape") == ():
        result = result.item()  # of another library, as xarray's arrays of no axes
    if isinstance(result, Scalar):
        if result.recorder is not recorder:
            result.recorder.extend(())
        if result.boolean:
            refuse_output(name, "a truth value", "return one number; np.where selects by a truth value")
        return result
    if isinstance(result, Array):
        if result.ndim:
            refuse_output(name, f"an array of shape {result.shape}", "sum the result, or use numbad.jacobian")
        return result.item()
    if result is None:
        refuse_output(name, "None", "return the number")
    kind = result.dtype.kind if isinstance(result, (np.ndarray, np.generic)) else ""
    number = isinstance(result, (int, float, np.generic, np.ndarray)) and not isinstance(result, (bool, complex))
    if not number or kind not in "fiu":
        found = f"a {type(result).__name__}" + (f" of {result.dtype}" if kind else "")
        refuse_output(name, found, "return one number; has_aux=True passes other results on")
    if np.ndim(result):
        do = "sum the result, or use numbad.jacobian"
        refuse_output(name, f"a constant array of shape {np.shape(result)}", do)
    return None


def refuse_output(name: str, returned: str, do: str) -> None:
    """Raise: a derivative that is defined for one number got something else."""
    what = f"{name} is defined for functions that return one number; this one returned {returned}"
    raise OutputError(message(what, do, where=False))


def concrete(tree: Any) -> Any:
    """Replace recording values of a tree by what they are now."""
    leaves, rebuild = flatten(tree)
    return rebuild([plain(leaf) if isinstance(leaf, Active) else leaf for leaf in leaves])


def is_slope(value: Active) -> bool:
    """Whether a value is a derivative as emission made it, whose absent elements are -0.0: its caller sees +0.0."""
    if value.boolean or not value.recorder.slopes:
        return False
    if isinstance(value, Scalar):
        return value.address in value.recorder.slopes
    storage = value.storage  # type: ignore[attr-defined]
    first = storage.addresses[:1] if storage.addresses is not None else (storage.address,)
    return not value.recorder.slopes.isdisjoint(first)


def plain(value: Active) -> Any:
    """Return a recording value as NumPy would hold it; a float for a scalar in double precision."""
    found = value.value()
    if is_slope(value):
        found = found + found.dtype.type(0)
    return float(found) if isinstance(found, np.float64) else found


def split_auxiliary(result: Any, name: str) -> tuple[Any, Any]:
    """Split what a function with has_aux=True returned."""
    if not isinstance(result, tuple) or len(result) != 2:
        raise OutputError(
            message(f"{name} with has_aux=True needs a function that returns a pair", "return value, auxiliary")
        )
    return result
