"""Functions that move elements: exactly NumPy's result, by addresses when small and by strided rows when large."""

from __future__ import annotations

import numpy as np
import pytest

import numbad
from numbad.recording import blocks
from shared.oracle import check_against_numpy
from shared.shape_cases import CASES, M, random


@pytest.mark.parametrize("name", CASES)
def test_small(name):
    function, *arrays = CASES[name]
    check_against_numpy(function, *arrays, value_rtol=0.0)


@pytest.mark.parametrize("name", CASES)
def test_by_rows(name, monkeypatch):
    monkeypatch.setattr(blocks, "RELABEL", -1)
    function, *arrays = CASES[name]
    check_against_numpy(function, *arrays, value_rtol=0.0)


@pytest.mark.parametrize(
    "function",
    [
        lambda x: np.concatenate([x, 2.0 * x[:10]]),
        lambda x: np.stack([x, x]),
        lambda x: np.roll(x, 3),
        lambda x: np.tile(x, 2),
        lambda x: np.repeat(x, 2),
        lambda x: np.pad(x, 3),
        lambda x: np.pad(x, 3, mode="edge"),
        lambda x: np.where(np.arange(x.size) % 2 == 0, x, 0.0),
        lambda x: np.tril(x.reshape(100, 90)),
        lambda x: x[::-1].reshape(90, 100).T[::2],
        lambda x: np.take(x, np.arange(0, 9000, 7)),
        lambda x: x[x > 0.5],
        lambda x: np.diff(x),
        lambda x: np.sort(x),
    ],
)
def test_large_inputs(function):
    """Inputs above 4096 elements stay where the caller has them."""
    x = random.normal(size=9000)
    w = random.normal(size=np.shape(function(x)))
    found = numbad.gradient(lambda x: np.sum(w * function(x)), x)
    places = random.integers(0, x.size, 12)
    for k in places:
        moved = x.copy()
        moved[k] += 1e-6
        wanted = (np.sum(w * function(moved)) - np.sum(w * function(x))) / 1e-6
        np.testing.assert_allclose(found[k], wanted, atol=1e-4 * max(1.0, abs(wanted)))


PADDINGS = ("edge", "reflect", "symmetric", "wrap", "mean", "median", "maximum", "minimum", "linear_ramp")
ERRORS = [
    (ValueError, "reshape", lambda x: np.reshape(x, (5, 5))),
    (ValueError, "shape", lambda x: np.concatenate([x, x[:, :2]])),
    (ValueError, "same shape", lambda x: np.stack([x, x[0]])),
    (ValueError, "zero-dimensional", lambda x: np.concatenate([x[0, 0], x[0, 0]])),
    (ValueError, "equal division", lambda x: np.split(x, 2)),
    (ValueError, "squeeze", lambda x: np.squeeze(x, 0)),
    (ValueError, "broadcast", lambda x: np.broadcast_to(x, (2, 2))),
    (np.exceptions.AxisError, "axis 5", lambda x: np.swapaxes(x, 5, 0)),
    (np.exceptions.AxisError, "axis 2", lambda x: np.sum(x, axis=2)),
    (np.exceptions.AxisError, "axis", lambda x: np.flip(x, 3)),
    (ValueError, "duplicate", lambda x: np.sum(x, axis=(0, 0))),
    (ValueError, "identity", lambda x: np.max(x[:0])),
    (ValueError, "axes don't match", lambda x: np.transpose(x, (0, 0))),
    (IndexError, "bounds", lambda x: np.take(x, 50)),
    (ValueError, "repeated axis", lambda x: np.moveaxis(x, (0, 0), (1, 0))),
    (ValueError, "duplicate axes", lambda x: np.tensordot(x, x, ([0, 0], [0, 0]))),
    (ValueError, "duplicate axes", lambda x: np.tensordot(x, x, ([1, -1], [1, 0]))),
    *[(ValueError, "empty axis", lambda x, m=m: np.pad(x[:, :0], 1, mode=m)) for m in PADDINGS],
    (ValueError, "mode", lambda x: np.convolve(x[0], x[1], "v")),
    (ValueError, "mode", lambda x: np.correlate(x[0], x[1], -1)),
    (TypeError, "integers", lambda x: np.insert(x, 1.0, 2.0, axis=0)),
]


@pytest.mark.parametrize(("kind", "text", "function"), ERRORS)
def test_errors_of_numpy(kind, text, function):
    with pytest.raises(kind):
        function(M)
    with pytest.raises(kind, match=text):
        numbad.gradient(lambda x: np.sum(function(x)), M)
