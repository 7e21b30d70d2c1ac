"""Convolutions and linear filters: values of NumPy and SciPy, derivatives of both operands and of second order, by sums
and by FFT; and damages to that."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import scipy.signal

import numbad
from numbad.ops import convolution
from numbad.ops.convolution import box_by_fft, boxed, convolved_box, costs_less_by_fft

generator = np.random.default_rng(5)
MODES = ("full", "same", "valid")
SHAPES = [
    ((9,), (4,)),
    ((4,), (9,)),
    ((2,), (11,)),
    ((5,), (5,)),
    ((6, 5), (3, 2)),
    ((3, 2), (6, 5)),
    ((5, 4), (5, 4)),
    ((4, 3, 5), (2, 3, 2)),
]
NAMES = ("convolve", "fftconvolve", "oaconvolve", "correlate")


@pytest.fixture(params=[convolution.TAP, 1.0], ids=["by sums", "by FFT"])
def ways(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a pass over an array cost what it costs, or so much that all that may go by FFT does."""
    monkeypatch.setattr(convolution, "TAP", request.param)


def slopes(f: Callable[[np.ndarray], Any], x: np.ndarray, step: float = 1e-5) -> np.ndarray:
    """Return the gradient of a function of an array by central differences."""
    found = np.zeros_like(x)
    for place in np.ndindex(x.shape):
        moved = np.zeros_like(x)
        moved[place] = step
        found[place] = (f(x + moved) - f(x - moved)) / (2.0 * step)
    return found


def check(f: Callable[..., Any], *arrays: np.ndarray) -> None:
    """Compare value, gradient by each operand, Hessians, and batches with NumPy and differences."""
    np.testing.assert_allclose(numbad.jit(f)(*arrays), f(*arrays), rtol=1e-10, atol=1e-12)
    for k, array in enumerate(arrays):

        def total(part: Any, k: int = k) -> Any:
            return np.sum(np.sin(f(*arrays[:k], part, *arrays[k + 1 :])))

        np.testing.assert_allclose(numbad.gradient(total, array), slopes(total, array), rtol=1e-7, atol=1e-8)
        slope = numbad.grad(total)
        along = np.cos(array)
        curved = np.tensordot(numbad.hessian(total, array), along, array.ndim)
        expected = (slope(array + 1e-5 * along) - slope(array - 1e-5 * along)) / 2e-5
        np.testing.assert_allclose(curved, expected, rtol=1e-6, atol=1e-7)
        pushed = numbad.jvp(total, (array,), (along,))[1]
        np.testing.assert_allclose(pushed, np.sum(slope(array) * along), rtol=1e-9, atol=1e-10)
        many = np.stack([array, 2.0 * array, 0.5 * array])
        for run in (total, slope, numbad.jacrev(lambda part, k=k: f(*arrays[:k], part, *arrays[k + 1 :]))):
            expected = np.stack([run(part) for part in many])
            np.testing.assert_allclose(numbad.vmap(run)(many), expected, rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("shapes", SHAPES)
def test_functions_of_scipy(ways: None, shapes: Any, mode: str) -> None:
    one, other = (generator.normal(size=shape) for shape in shapes)
    for name in NAMES if one.ndim < 3 else NAMES[:1]:
        f = getattr(scipy.signal, name)
        check(lambda a, v, f=f: f(a, v, mode), one, other)
    if one.ndim == 2:
        check(lambda a, v: scipy.signal.convolve2d(a, v, mode), one, other)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("sizes", [(9, 4), (4, 9), (9, 5), (5, 9), (8, 4), (5, 5), (1, 3)])
def test_sequences_of_numpy(sizes: tuple[int, int], mode: Any) -> None:
    one, other = (generator.normal(size=size) for size in sizes)
    check(lambda a, v: np.convolve(a, v, mode), one, other)
    check(lambda a, v: np.correlate(a, v, mode), one, other)


@pytest.mark.parametrize("first", [(-3, 0), (0, 0), (2, -9), (4, 3), (20, 20)])
def test_boxes_that_reach_over_the_edges(first: tuple[int, int]) -> None:
    a, v = generator.normal(size=(5, 6)), generator.normal(size=(3, 2))
    whole = np.pad(scipy.signal.convolve(a, v), 30)
    for shape in ((1, 1), (4, 9), (12, 3)):
        expected = whole[tuple(slice(30 + k, 30 + k + n) for k, n in zip(first, shape, strict=True))]
        for fast in (False, True):
            found = convolved_box(a, v, first=first, shape=shape, fast=fast)
            np.testing.assert_allclose(found, expected, atol=1e-12)
        np.testing.assert_allclose(box_by_fft(a, v, first, shape), expected, atol=1e-12)
        np.testing.assert_array_equal(boxed(np.pad(whole, 0), first, shape).shape, shape)


def test_large_ones_go_by_fft_where_scipy_would() -> None:
    assert costs_less_by_fft((8000,), (8000,), (15999,), 1)
    assert costs_less_by_fft((128, 128), (17, 17), (128, 128), 1)
    assert not costs_less_by_fft((128, 128), (5, 5), (128, 128), 1)
    assert not costs_less_by_fft((8000,), (3,), (8000,), 1)
    x = generator.normal(size=3000)
    x[7] = np.nan
    found = numbad.jit(lambda a: np.convolve(a, x[100:2000]))(x)  # the sum of NumPy: NaN where one is met
    np.testing.assert_array_equal(np.isnan(found), np.isnan(np.convolve(x, x[100:2000])))


def test_single_precision_stays() -> None:
    a, v = (generator.normal(size=n).astype(np.float32) for n in (2000, 1500))
    for f in (np.convolve, scipy.signal.fftconvolve):
        value, slope = numbad.value_and_gradient(lambda a, f=f: np.sum(f(a, v)), a)
        assert np.asarray(value).dtype == slope.dtype == np.float32
        np.testing.assert_allclose(slope, np.full(2000, v.sum()), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize(
    ("b", "a"), [([1.0, 0.5], [1.0, -0.3]), ([1.0], [2.0, 0.1, 0.2]), ([0.3, 0.2, 0.1], [1.0]), ([1.0, 2.0], [3.0])]
)
def test_linear_filters(b: list[float], a: list[float], axis: int) -> None:
    x = generator.normal(size=(3, 7))
    check(lambda b, a, x: scipy.signal.lfilter(b, a, x, axis=axis), np.array(b), np.array(a), x)
    check(lambda x: scipy.signal.lfilter(b, a, x), x[0, :2])


@pytest.mark.parametrize("axis", [0, 1, None])
def test_medians_of_what_is_there(axis: Any) -> None:
    x = generator.normal(size=(20, 7))
    x[generator.random(x.shape) < 0.3] = np.nan
    x[3], x[4, :6], x[5] = np.nan, np.nan, 1.0
    with np.errstate(all="ignore"):
        fast = numbad.jit(lambda a: np.nanmedian(a, axis=axis))
        for batch in (x, x[::-1].copy(), np.nan_to_num(x)):  # other places of NaN are no other path
            np.testing.assert_array_equal(fast(batch), np.nanmedian(batch, axis=axis))
        assert fast.paths == 1
        for method in ("linear", "hazen", "lower", "higher", "nearest", "midpoint", "inverted_cdf"):
            expected = np.nanquantile(x, [0.3, 0.5], axis=axis, method=method)
            found = numbad.jit(lambda a, m=method: np.nanquantile(a, [0.3, 0.5], axis=axis, method=m))(x)
            np.testing.assert_allclose(found, expected, rtol=1e-12)
            found = numbad.jit(lambda a, m=method: np.nanpercentile(a, 30.0, axis=axis, method=m))(x)
            np.testing.assert_allclose(found, expected[0], rtol=1e-12)
    rows = x[[0, 1, 2, 4]]
    slope = numbad.grad(lambda row: np.sum(np.sin(np.nanmedian(row) + np.nanquantile(row, 0.3))))
    for found, row in zip(numbad.vmap(slope)(rows), rows, strict=True):
        there = ~np.isnan(row)
        expected = slopes(lambda y: np.sum(np.sin(np.median(y) + np.quantile(y, 0.3))), row[there])
        np.testing.assert_allclose(found[there], expected, rtol=1e-7, atol=1e-8)
        assert not found[~there].any()


DAMAGES: dict[str, tuple[str, Any]] = {
    "a box one too far": ("boxed", lambda a, first, shape: boxed(a, tuple(k + 1 for k in first), shape)),
    "sums of windows without the last one": (
        "sums_by_element",
        lambda inner, turned, shape, stack: np.zeros((*stack, *shape), inner.dtype),
    ),
    "transforms of too few elements": (
        "box_by_fft",
        lambda a, v, first, shape: np.roll(box_by_fft(a, v, first, shape), 1),
    ),
}


@pytest.mark.parametrize("name", DAMAGES)
def test_damages_are_noticed(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    what, wrong = DAMAGES[name]
    monkeypatch.setattr(convolution, what, wrong)
    with pytest.raises(AssertionError):
        for tap in (convolution.TAP, 1.0):
            monkeypatch.setattr(convolution, "TAP", tap)
            for mode in MODES:
                one, other = generator.normal(size=(4, 5)), generator.normal(size=(4, 4))
                check(lambda a, v, m=mode: scipy.signal.fftconvolve(a, v, m), one, other)


@pytest.mark.parametrize("mode", ["full", "same", "valid"])
@pytest.mark.parametrize(("n", "m"), [(1, 4), (3, 5), (7, 3), (20, 19), (300, 40), (40, 300)])
def test_what_is_not_finite_reaches_no_further_than_its_neighbours(n: int, m: int, mode: str) -> None:
    random = np.random.default_rng(n * m)
    a, v = random.normal(size=n), random.normal(size=m)
    a[n // 2] = np.nan
    for first, second in ((a, v), (v, a)):
        for function in (np.convolve, np.correlate):
            wanted = function(first, second, mode)
            found, pullback = numbad.vjp(lambda a, v, f=function: f(a, v, mode), first, second)
            np.testing.assert_allclose(found, wanted, rtol=1e-12, atol=1e-12)
            batch = numbad.vmap(lambda a, v, f=function: f(a, v, mode))(*(np.stack([p, p]) for p in (first, second)))
            np.testing.assert_allclose(batch, np.stack([wanted, wanted]), rtol=1e-12, atol=1e-12)
            # the slope by an element is not finite just where it meets what is not
            for bars in (pullback(np.ones(wanted.shape)), numbad.vmap(pullback)(np.ones((2, wanted.size)))):
                for k, (part, other) in enumerate(((first, second), (second, first))):
                    ones = [part * 0.0, other] if k == 0 else [other, part * 0.0]
                    touched = []
                    for place in range(part.size):
                        ones[k] = np.eye(part.size)[place]
                        meets = function(*[np.isnan(p) * 1.0 if p is other else p for p in ones], mode)
                        touched.append(bool(np.any(meets)))
                    found = bars[k] if bars[k].ndim == 1 else bars[k][1]
                    np.testing.assert_array_equal(np.isnan(found), touched)


def test_plain_sequences_are_not_differentiated() -> None:
    for function in (np.convolve, np.correlate):
        for f in (lambda x, f=function: f(x, [1.0, 2.0]), lambda x, f=function: f(np.arange(3), x)):
            assert len(numbad.record(f, np.ones(5)).loads) == 1  # the other one alone
            check(f, np.array([0.3, -0.4, 0.9]))
