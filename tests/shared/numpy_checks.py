"""Calls of NumPy's functions compared on recording values and on plain arrays: results, and the gradient."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

import numbad
from numbad.recording.active import Active
from shared.numpy_calls import Call, Fixed, Number, Out, Truths
from shared.oracle import differences, weight

# of which the number or choice of results changes when an element does, which finite differences do not see
JUMPING = {"polydiv", "unique", "unique_values", "union1d", "intersect1d", "setdiff1d", "setxor1d", "trim_zeros"}


def inputs_of(value: Any) -> list[Any]:
    """Return the numbers and arrays among nested arguments that are recorded."""
    if isinstance(value, (Number, Truths)):
        return [value.value]
    if isinstance(value, np.ndarray) and value.dtype.kind == "f":
        return [value]
    if isinstance(value, (list, tuple)):
        return [leaf for part in value for leaf in inputs_of(part)]
    if isinstance(value, dict):
        return [leaf for part in value.values() for leaf in inputs_of(part)]
    return []


def filled(value: Any, leaves: Any, outs: list[Any], recording: bool) -> Any:
    """Return nested arguments with their recorded parts taken from an iterator, and arrays to write to made."""
    if isinstance(value, Fixed):
        return value.value.copy() if isinstance(value.value, np.ndarray) else value.value
    if isinstance(value, Out):
        made = numbad.zeros(value.shape) if recording else np.zeros(value.shape, value.dtype)
        outs.append(made if value.dtype is float or not recording else made != 0.0)
        return outs[-1]
    if isinstance(value, Truths):
        return next(leaves) > 0.0
    if isinstance(value, Number) or (isinstance(value, np.ndarray) and value.dtype.kind == "f"):
        found = next(leaves)
        return found if isinstance(found, Active) else np.array(found)[()]
    if isinstance(value, (list, tuple)):
        return type(value)(filled(part, leaves, outs, recording) for part in value)
    if isinstance(value, dict):
        return {key: filled(part, leaves, outs, recording) for key, part in value.items()}
    return value


def program(call: Call) -> Any:
    """Return a function of the recorded inputs that makes the call."""

    def run(*inputs: Any) -> Any:
        outs: list[Any] = []
        recording = any(isinstance(part, Active) for part in inputs)
        leaves = iter(inputs)
        arguments = filled(call.arguments, leaves, outs, recording)
        keywords = filled(call.keywords, leaves, outs, recording)
        result = call.function()(*arguments, **keywords)
        if outs:
            assert result is outs[0] or result is None, "the result is not the array given as out="
            return outs[0]
        return result

    return run


def leaves_of(result: Any) -> list[Any]:
    """Return the parts of a result: those of named tuples are NumPy's own kind."""
    if isinstance(result, (tuple, list)):
        return [leaf for part in result for leaf in leaves_of(part)]
    return [result]


def compare(found: Any, wanted: Any, exact: bool) -> None:
    """Compare a part of a result with NumPy's: shape, dtype where derivatives flow, values."""
    if isinstance(wanted, (str, np.dtype, type)) or wanted is None:
        assert found == wanted
        return
    assert np.shape(found) == np.shape(wanted), f"shape {np.shape(found)}; NumPy gives {np.shape(wanted)}"
    if np.asarray(wanted).dtype.kind in "fb":
        assert np.asarray(found).dtype == np.asarray(wanted).dtype
    tolerance = 1e-12 if exact else 2e-6
    np.testing.assert_allclose(found, wanted, rtol=tolerance, atol=1e-13 if exact else 1e-6)


def check(call: Call) -> None:
    """Compare a call on recording values with the same call on plain ones: results, and the gradient."""
    inputs = inputs_of(call.arguments) + inputs_of(call.keywords)
    run = program(call)
    single = any(np.asarray(part).dtype == np.float32 for part in inputs)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = leaves_of(run(*inputs))
        captured: list[Any] = []
        smooth: list[int] = []

        def weighted(*recorded: Any) -> Any:
            found = leaves_of(run(*recorded))
            captured[:] = [np.asarray(part.value()) if isinstance(part, Active) else part for part in found]
            smooth[:] = [k for k, part in enumerate(found) if isinstance(part, Active) and not part.boolean]
            total: Any = 0.0 * recorded[0] if not np.ndim(recorded[0]) else 0.0 * np.sum(recorded[0])
            for k in smooth:
                total = total + np.sum(found[k] * weight(np.shape(expected[k]), k))
            return total

        gradients = numbad.value_and_gradient(weighted, *inputs)[1]
        assert len(captured) == len(expected), f"{len(captured)} results; NumPy gives {len(expected)}"
        for found, wanted in zip(captured, expected, strict=True):
            compare(found, wanted, not single)
        if call.name not in JUMPING:
            compare_gradient(run, inputs, expected, smooth, gradients, single)


def compare_gradient(run: Any, inputs: Any, expected: Any, smooth: Any, gradients: Any, single: bool) -> None:
    """Compare a gradient with finite differences of NumPy in double precision."""

    def plain(*points: Any) -> float:
        found = leaves_of(run(*points))
        return float(sum(np.nansum(found[k] * weight(np.shape(expected[k]), k)) for k in smooth))

    doubles = tuple(part if isinstance(part, float) else np.asarray(part, float) for part in inputs)
    reference = differences(plain, doubles)
    gradients = gradients if len(inputs) > 1 else (gradients,)
    for found, wanted, given in zip(gradients, reference, inputs, strict=True):
        assert np.shape(found) == np.shape(given)
        if isinstance(given, np.ndarray):
            assert found.dtype == given.dtype
        known = np.isfinite(given) & np.isfinite(found)
        tolerance = 2e-4 if single else 2e-6
        np.testing.assert_allclose(np.asarray(found)[known], wanted[known], rtol=tolerance, atol=tolerance)


def single(value: Any) -> Any:
    """Return nested arguments with their arrays in single precision."""
    if isinstance(value, np.ndarray) and value.dtype == np.float64:
        return np.asarray(value, np.float32)
    if isinstance(value, (list, tuple)):
        return type(value)(single(part) for part in value)
    return Truths(single(value.value)) if isinstance(value, Truths) else value
