"""Large elementwise rows: fused groups give what small rows give, whatever reads their outputs."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import numbad
from numbad.kernels.fused_layout import AGAIN, OPCODE
from numbad.limits import LARGE
from numbad.ops.definition import BY_NAME, REGISTRY, names_of
from numbad.ops.texts import named_partials
from numbad.sweeps import fusion
from numbad.tapes import reference

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
    "a bias": lambda x: np.sum(np.tanh(x.reshape(-1, 2) * x[:2] + x[2:4])),
    "a factor for each row": lambda x: np.sum((x.reshape(-1, 2) / x.reshape(-1, 2).sum(axis=1, keepdims=True)) ** 2),
    "a number that is broadcast": lambda x: np.sum(x.reshape(-1, 2)[:1, :1] * x.reshape(-1, 2) + x[5]),
    "rows and columns": lambda x: np.sum((lambda m: m * m[:1] + np.sin(m[:, :1]) - m[::-1, ::-1])(x.reshape(-1, 2))),
    "transposed": lambda x: np.sum((lambda m: m.T * np.exp(m).T)(x.reshape(-1, 2))),
    "a stencil": lambda x: np.sum((x[2:] - 2.0 * x[1:-1] + x[:-2]) ** 2 * np.sin(x[1:-1])),
    "a stencil in the plane": lambda x: stencil(x[: N // 8 * 8].reshape(8, -1)),
    "normalised": lambda x: (lambda m: np.sum(((m - m.mean(axis=0)) / np.sqrt(m.var(axis=0) + 1.0)) ** 3))(
        x.reshape(-1, 2)
    ),
    "distances": lambda x: np.sum(np.sqrt((x[:300, None] - x[None, :300]) ** 2 + 1.0)),
    "what is absent": lambda x: np.sum(
        np.where(x.reshape(-1, 2) > x[:2], np.sqrt(np.maximum(x.reshape(-1, 2) - x[:2], 0.0)), x[2]) * x.reshape(-1, 2)
    ),
    "an output that is broadcast": lambda x: (lambda y: np.sum(y[:40, None] * y[None, -900:] + y[0]))(np.sin(x) * x),
    "constants": lambda x: np.sum(x * WEIGHTS + WEIGHTS * 2.0) + np.sum(x / 3.0),
}
WEIGHTS = np.linspace(0.5, 2.0, 2 * (N // 2))


def stencil(u: Any) -> Any:
    """Return a sum of a stencil step, in place."""
    u = u * 1.0
    for _ in range(2):
        u[1:-1, 1:-1] += 0.2 * (u[2:, 1:-1] + u[:-2, 1:-1] + u[1:-1, 2:] + u[1:-1, :-2] - 4.0 * u[1:-1, 1:-1])
    return np.sum(u * u)


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
    tape = numbad.record(f, x)
    np.testing.assert_allclose(found, reference.gradient(tape, x), rtol=1e-11, atol=1e-12 * np.abs(expected).max())


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


FETCHING = ["a bias", "a factor for each row", "rows and columns", "a stencil", "a stencil in the plane"]


@pytest.mark.parametrize("name", FETCHING)
def test_fetched_operands_do_not_depend_on_threads(name: str) -> None:
    x = np.random.default_rng(3).uniform(0.5, 1.5, 4 * (N // 2))
    most = numbad.value_and_gradient(PROGRAMS[name], x[: 2 * (N // 2)])
    numbad.set_num_threads(1)
    try:
        one = numbad.value_and_gradient(PROGRAMS[name], x[: 2 * (N // 2)])
    finally:
        import numba

        numbad.set_num_threads(numba.config.NUMBA_NUM_THREADS)
    assert one[0] == most[0]
    np.testing.assert_array_equal(one[1], most[1])


def test_values_that_no_slope_reads_are_not_computed_again() -> None:
    x = np.random.default_rng(5).uniform(0.5, 1.5, N)
    rows = {}
    plan_back = fusion.Group.plan_back

    def noted(group: Any, table: Any, cotangents: Any) -> None:
        plan_back(group, table, cotangents)
        for row in table:
            rows[int(row[OPCODE])] = rows.get(int(row[OPCODE]), 0) + int(row[AGAIN])

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fusion.Group, "plan_back", noted)
        found = numbad.gradient(lambda x: np.sum(3.0 - (np.exp(x * 2.0) + x)), x)
    np.testing.assert_allclose(found, -2.0 * np.exp(2.0 * x) - 1.0, rtol=1e-13)
    again = {REGISTRY[opcode].name: count for opcode, count in rows.items() if opcode >= 0}
    assert again == {"multiply": 1, "exp": 1, "add": 0, "subtract": 0}


def test_partials_that_the_texts_name() -> None:
    found = {op.name: named_partials(op.opcode) for op in REGISTRY if any(named_partials(op.opcode))}
    assert found["multiply"] == ("y", "x")
    assert found["exp"] == ("z", "")
    assert found["subtract"] == ("1", "-1")
    assert found["negative"] == ("-1", "")
    for name, names in found.items():
        op = BY_NAME[name]
        x, y = 1.25, -0.75
        z = float(op.primal(*(x, y)[: op.arity]))
        given = {"x": x, "y": y, "z": z}
        slopes = op.partials_function(*(given[part] for part in names_of(op.partials_function)))
        slopes = slopes if isinstance(slopes, tuple) else (slopes, 0.0)
        for slope, text in zip(slopes, names, strict=True):
            assert not text or float(slope) == (given[text] if text in given else float(text)), name


def test_float32() -> None:
    x = np.random.default_rng(4).uniform(0.5, 1.5, N).astype(np.float32)
    found = numbad.gradient(PROGRAMS["one chain"], x)
    assert found.dtype == np.float32
    s, e = np.sin(x.astype(float)), np.exp(-x.astype(float))
    np.testing.assert_allclose(found, s * e * (2 * np.cos(x) - s), rtol=2e-5, atol=1e-6)
