"""An independent oracle: NumPy itself for values, Richardson's finite differences of NumPy for gradients."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import numbad
from numbad.recording.active import Active


def check_against_numpy(
    f: Callable[..., Any],
    *arrays: Any,
    rtol: float = 2e-7,
    atol: float = 2e-8,
    value_rtol: float = 1e-12,
    step: float = 1e-3,
    kinds: bool = True,
) -> None:
    """Compare value, shape, dtype and gradient of `f` on recording arrays with NumPy's on plain ones.

    The gradient is that of a weighted sum of all results with fixed random weights; finite differences
    of `f` on plain arrays are its reference. Nothing that is not finite passes.
    """
    arrays = tuple(a if isinstance(a, float) else np.asarray(a) for a in arrays)
    expected = leaves_of(f(*arrays))
    weights = [weight(np.shape(part), seed) for seed, part in enumerate(expected)]
    captured: list[Any] = []

    def weighted(*recorded: Any) -> Any:
        found = leaves_of(f(*recorded))
        captured[:] = [part.value() if isinstance(part, Active) else np.asarray(part) for part in found]
        assert len(found) == len(expected), f"{len(found)} results; NumPy gives {len(expected)}"
        total: Any = 0.0
        for part, w in zip(found, weights, strict=True):
            total = total + np.sum(part * w)
        return total

    value, gradients = numbad.value_and_gradient(weighted, *arrays)
    for found, wanted in zip(captured, expected, strict=True):
        assert np.shape(found) == np.shape(wanted), f"shape {np.shape(found)}; NumPy gives {np.shape(wanted)}"
        if kinds and np.asarray(wanted).dtype.kind in "fb":
            assert np.asarray(found).dtype == np.asarray(wanted).dtype
        np.testing.assert_allclose(found, wanted, rtol=value_rtol, atol=1e-13)
    gradients = gradients if len(arrays) > 1 else (gradients,)
    reference = differences(lambda *points: plain_total(f, weights, points), arrays, step)
    assert np.isfinite(value)
    for found, wanted, array in zip(gradients, reference, arrays, strict=True):
        assert np.shape(found) == np.shape(array)
        assert np.isfinite(wanted).all(), "the finite differences are not finite: choose another point"
        size = np.max(np.abs(wanted), initial=1.0)
        np.testing.assert_allclose(found, wanted, rtol=rtol, atol=atol * size)


def leaves_of(result: Any) -> list[Any]:
    """Return the arrays of a result that may be a tuple or list."""
    if isinstance(result, (tuple, list)):
        return [leaf for part in result for leaf in leaves_of(part)]
    return [result]


def weight(shape: tuple[int, ...], seed: int) -> Any:
    """Return fixed random weights between 0.5 and 1.5."""
    return np.random.default_rng(1000 + seed).random(shape) + 0.5


def plain_total(f: Callable[..., Any], weights: list[Any], points: tuple[Any, ...]) -> float:
    """Return the weighted sum of all results of `f` on plain arrays."""
    return float(sum(np.sum(part * w) for part, w in zip(leaves_of(f(*points)), weights, strict=True)))


def differences(f: Callable[..., float], points: tuple[Any, ...], step: float = 1e-3) -> list[np.ndarray]:
    """Return the gradient by central differences with two steps of Richardson's extrapolation."""
    found = []
    for k, point in enumerate(points):
        base = np.array(point, float)
        gradient = np.zeros(base.shape)
        for index in np.ndindex(base.shape):

            def along(shift: float, index: Any = index, base: np.ndarray = base, k: int = k) -> float:
                moved = base.copy(order="K")
                moved[index] += shift
                given = moved if isinstance(points[k], np.ndarray) else float(moved)
                return f(*points[:k], given, *points[k + 1 :])

            h = step * max(1.0, abs(float(base[index])))
            rough = [(along(h / 2**j) - along(-h / 2**j)) / (2 * h / 2**j) for j in range(3)]
            fine = [(4 * rough[j + 1] - rough[j]) / 3 for j in range(2)]
            gradient[index] = (16 * fine[1] - fine[0]) / 15
        found.append(gradient)
    return found


def check_rule_is_differentiable(op: Any, operands: list[Any], settings: dict[str, Any], rtol: float = 1e-6) -> None:
    """Check that the pullback of an array op, recorded, has the derivative that its plain version has."""

    def pulled(*given: Any) -> Any:
        results = op(*given, **settings)
        results = list(results) if isinstance(results, tuple) else [results]
        bars = [weight(np.shape(part), 50 + k) for k, part in enumerate(results)]
        found = op.vjp_function(bars, results, list(given), **settings)
        return [part for part in (found if isinstance(found, tuple) else (found,)) if part is not None]

    check_against_numpy(pulled, *operands, rtol=rtol, atol=rtol, value_rtol=1e-9, kinds=False)


def check_higher(f: Callable[..., Any], *arrays: Any) -> None:
    """Compare the tangent of `f` with its gradient, and its second derivative with differences of the gradient."""
    arrays = tuple(a if isinstance(a, float) else np.asarray(a) for a in arrays)
    weights = [weight(np.shape(part), seed) for seed, part in enumerate(leaves_of(f(*arrays)))]
    random = np.random.default_rng(5)
    directions = tuple(
        float(random.normal()) if isinstance(a, float) else np.asarray(random.normal(size=a.shape)) for a in arrays
    )

    def curved(*points: Any) -> Any:
        total: Any = 0.0
        for part, w in zip(leaves_of(f(*points)), weights, strict=True):
            total = total + np.sum(np.sin(part) * w)
        return total

    def slope(*points: Any) -> Any:
        found = numbad.gradient(curved, *points)
        found = found if len(points) > 1 else (found,)
        return sum((np.sum(part * v) for part, v in zip(found, directions, strict=True)), 0.0)

    def moved(shift: float) -> float:
        points = [a + shift * v if isinstance(a, float) else np.asarray(a + shift * v)
                  for a, v in zip(arrays, directions, strict=True)]  # fmt: skip
        return float(slope(*points))

    expected = float(slope(*arrays))
    assert np.isfinite(expected)
    np.testing.assert_allclose(numbad.jvp(curved, arrays, directions)[1], expected, rtol=1e-9, atol=1e-9)
    step = 1e-4
    second = (8 * (moved(step) - moved(-step)) - (moved(2 * step) - moved(-2 * step))) / (12 * step)
    found = numbad.gradient(slope, *arrays)
    found = found if len(arrays) > 1 else (found,)
    curvature = sum(float(np.sum(part * v)) for part, v in zip(found, directions, strict=True))
    assert np.isfinite(second)
    np.testing.assert_allclose(curvature, second, rtol=2e-6, atol=1e-6)
