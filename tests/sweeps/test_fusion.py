"""Large elementwise rows: fused groups give what small rows give, whatever reads their outputs."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import numbad
from numbad.limits import LARGE
from numbad.sweeps import fusion

N = LARGE + 1234

PROGRAMS: dict[str, Callable[[Any], Any]] = {
    "one chain": lambda x: np.sum(np.sin(x) ** 2 * np.exp(-x)),
    "two sums": lambda x: np.sum(np.sin(x)) * np.sum(x * x),
    "output read later": lambda x: (lambda y: np.sum(y) * y[17] + y[::7].sum())(np.cos(x) * x),
    "overlapping slices": lambda x: np.sum(x[1:] * x[:-1]) + np.sum(np.sin(x[2:]) * x[:-2]),
    "the same twice": lambda x: np.sum((x * x) * (x * x)),
    "a scalar that varies": lambda x: np.sum(x * x[3]) + np.sum(np.exp(x) / x[5]),
    "a sum used in the next group": lambda x: np.sum((x - np.sum(x) / x.size) ** 2),
    "a sum used by the row after it": lambda x: np.sum((lambda e: (e / np.sum(e)) ** 2)(np.exp(x))),
    "in-place": lambda x: in_place(x),
    "broadcast": lambda x: np.sum(x.reshape(-1, 2)[:, :1] * x.reshape(-1, 2)),
    "where": lambda x: np.sum(np.where(x > 1.0, np.sqrt(x), x * x)),
    "constants": lambda x: np.sum(x * WEIGHTS + WEIGHTS * 2.0) + np.sum(x / 3.0),
}
WEIGHTS = np.linspace(0.5, 2.0, 2 * (N // 2))


def in_place(x: Any) -> Any:
    """Overwrite a large array and part of it."""
    y = x * 2.0
    y += np.sin(x)
    y[10:20] = 3.0 * x[:10]
    return np.sum(y * y)


@pytest.mark.parametrize("name", PROGRAMS)
def test_fused_groups_agree_with_single_rows(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    x = np.random.default_rng(1).uniform(0.5, 1.5, 2 * (N // 2))
    f = PROGRAMS[name]
    value, found = numbad.value_and_gradient(f, x)
    monkeypatch.setattr(fusion, "plan", lambda *_: {})
    expected_value, expected = numbad.value_and_gradient(f, x)
    np.testing.assert_allclose(value, f(x), rtol=1e-12)
    np.testing.assert_allclose(value, expected_value, rtol=1e-12)
    np.testing.assert_allclose(found, expected, rtol=1e-11, atol=1e-12 * np.abs(expected).max())


def test_the_gradient_alone_does_not_need_the_value() -> None:
    x = np.random.default_rng(2).uniform(0.5, 1.5, N)
    f = PROGRAMS["one chain"]
    np.testing.assert_array_equal(numbad.gradient(f, x), numbad.value_and_gradient(f, x)[1])


def test_results_do_not_depend_on_the_number_of_threads() -> None:
    x = np.random.default_rng(3).uniform(0.5, 1.5, 5 * N)
    f = PROGRAMS["a sum used in the next group"]
    most = numbad.value_and_gradient(f, x)
    numbad.set_num_threads(1)
    try:
        one = numbad.value_and_gradient(f, x)
    finally:
        import numba

        numbad.set_num_threads(numba.config.NUMBA_NUM_THREADS)
    assert one[0] == most[0]
    np.testing.assert_array_equal(one[1], most[1])


def test_float32() -> None:
    x = np.random.default_rng(4).uniform(0.5, 1.5, N).astype(np.float32)
    found = numbad.gradient(PROGRAMS["one chain"], x)
    assert found.dtype == np.float32
    s, e = np.sin(x.astype(float)), np.exp(-x.astype(float))
    np.testing.assert_allclose(found, s * e * (2 * np.cos(x) - s), rtol=2e-5, atol=1e-6)
