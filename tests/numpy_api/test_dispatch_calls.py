"""Every parameter of every recorded function of NumPy is honoured, or refused by name."""

from __future__ import annotations

import inspect
import warnings
from typing import Any

import numpy as np
import pytest

import numbad
from numbad.errors import RecordingError
from numbad.numpy_api.tables import FUNCTIONS
from shared.numpy_calls import CALLS, EMPTY, REFUSED, Call, Out
from shared.numpy_checks import check, inputs_of, leaves_of, program, single
from shared.oracle import differences, weight

ELSEWHERE = "numbad.numpy_api.linear_algebra"  # whose parameters have a table of their own


@pytest.mark.parametrize("call", CALLS, ids=repr)
def test_parameter_is_honoured(call: Call) -> None:
    check(call)


@pytest.mark.parametrize(("call", "word"), REFUSED, ids=repr)
def test_parameter_is_refused_by_name(call: Call, word: str) -> None:
    inputs = inputs_of(call.arguments) + inputs_of(call.keywords)
    with pytest.raises((RecordingError, ValueError)) as caught:
        numbad.jit(program(call))(*inputs)
    text = str(caught.value)
    assert word in text and call.name.split(".")[-1] in text
    assert "\n  do  " in text


def test_results_of_single_precision_have_the_dtypes_of_numpy() -> None:
    differing = []
    for call in CALLS:
        given = Call(call.name, single(call.arguments), {name: single(part) for name, part in call.keywords.items()})
        inputs = inputs_of(given.arguments) + inputs_of(given.keywords)
        outs = any(isinstance(part, Out) for part in (*call.arguments, *call.keywords.values()))
        if (
            outs
            or call.name in ("polydiv", "setdiff1d")
            or any(np.asarray(part).dtype != np.float32 for part in inputs)
        ):
            continue
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            expected = leaves_of(program(given)(*inputs))
            found: list[Any] = []
            numbad.gradient(lambda *r, g=given, f=found: f.extend(leaves_of(program(g)(*r))) or np.sum(r[0]), *inputs)
        for part, wanted in zip(found, expected, strict=True):
            floating = isinstance(wanted, (np.ndarray, np.generic)) and wanted.dtype.kind == "f"
            if floating and part.dtype != wanted.dtype:
                differing.append(f"{given}: {part.dtype}, NumPy gives {wanted.dtype}")
    assert not differing, "\n".join(differing)


@pytest.mark.parametrize("call", EMPTY, ids=repr)
def test_arrays_to_be_filled(call: Call) -> None:
    inputs = inputs_of(call.arguments)
    wanted = program(call)(*inputs)
    seen = []
    numbad.gradient(lambda x: seen.append(program(call)(x)) or np.sum(x), *inputs)
    assert (seen[0].shape, seen[0].dtype) == (wanted.shape, wanted.dtype)


def test_every_parameter_has_a_call() -> None:
    covered: dict[Any, set[str]] = {}
    for call in [*CALLS, *EMPTY, *(call for call, _ in REFUSED)]:
        covered.setdefault(call.function(), set()).update(call.parameters())
    missing = []
    for function, implementation in FUNCTIONS.items():
        if implementation.__module__ == ELSEWHERE:
            continue
        names = set(inspect.signature(function).parameters) - {"kwargs", "kwds"}
        left = sorted(names - covered.get(function, set()))
        if left:
            missing.append(f"{function.__module__}.{function.__name__}: {', '.join(left)}")
    assert not missing, "\n".join(missing)


# ---------------------------------------------------------------- lists of recording numbers


LISTS = {
    "mean": lambda x, y: np.mean([x, y]),
    "mean of a tuple": lambda x, y: np.mean((x, y, 1.0)),
    "mean of nested lists": lambda x, y: np.mean([[x, y], [1.0, 2.0]], axis=0),
    "mean of arrays": lambda x, y: np.mean([np.ones(2) * x, np.arange(2.0) * y], axis=0),
    "std": lambda x, y: np.std([x, y, 1.0], ddof=1),
    "var": lambda x, y: np.var([[x, y], [y, 0.5]], axis=1),
    "median": lambda x, y: np.median([x, y, 3.0]),
    "nanmean": lambda x, y: np.nanmean([x, y]),
    "max": lambda x, y: np.max([x, y]) + np.amin([[x], [y]]),
    "ptp": lambda x, y: np.ptp([x, y]),
    "sum": lambda x, y: np.sum([[x, y], [y, 1.0]], axis=0),
    "prod": lambda x, y: np.prod([x, y]),
    "average": lambda x, y: np.average([x, y], weights=[y, 2.0]),
    "percentile": lambda x, y: np.percentile([x, y, 3.0], 30.0),
    "quantile": lambda x, y: np.quantile([x, y, 3.0], [0.3, 0.6]),
    "norm": lambda x, y: np.linalg.norm([x, y]),
    "norms of rows": lambda x, y: np.linalg.norm([[x, y], [1.0, x]], axis=1),
    "dot": lambda x, y: np.dot([x, y], [1.0, 2.0]),
    "inner": lambda x, y: np.inner([x, y], [y, 2.0]),
    "outer": lambda x, y: np.outer([x, y], [x, 1.0]),
    "cross": lambda x, y: np.cross([x, y, 1.0], [1.0, 2.0, 3.0]),
    "einsum": lambda x, y: np.einsum("i,i", [x, y], [x, y]),
    "solve": lambda x, y: np.linalg.solve([[x, 1.0], [0.5, y]], [1.0, y]),
    "det": lambda x, y: np.linalg.det([[x, 1.0], [0.5, y]]),
    "inv": lambda x, y: np.linalg.inv(np.array([[x, 1.0], [0.5, y]])),
    "eigvalsh": lambda x, y: np.linalg.eigvalsh([[x, 1.0], [1.0, y]]),
    "singular values": lambda x, y: np.linalg.svd([[x, 1.0], [1.0, y]], compute_uv=False),
    "interp": lambda x, y: np.interp([0.5, 2.0], [0.0, 1.0, 3.0], [x, y, 1.0]),
    "interp at": lambda x, y: np.interp([x, y], [0.0, 1.0, 3.0], [1.0, 2.0, 5.0]),
    "gradient": lambda x, y: np.gradient([x, y, 2.0]),
    "trapezoid": lambda x, y: np.trapezoid([x, y, 1.0], dx=0.5),
    "cov": lambda x, y: np.cov([x, y, 3.0]),
    "clip": lambda x, y: np.clip([x, y], 0.0, 1.5),
    "where": lambda x, y: np.sum(np.where([True, False], [x, y], 0.5)),
    "sort": lambda x, y: np.sort([y, x]),
    "cumsum": lambda x, y: np.cumsum([x, y]),
    "reshape": lambda x, y: np.reshape([x, y], (2, 1)) * np.ones(3),
    "full_like": lambda x, y: np.full_like(np.ones(3), x) * y,
    "array.mean": lambda x, y: np.array([x, y]).mean() + np.array([x, y]).std() + np.array([[x], [y]]).var(axis=0)[0],
    "polyval": lambda x, y: np.polyval([x, y], 2.0),
    "kron": lambda x, y: np.kron([x, y], [1.0, 2.0]),
    "isclose": lambda x, y: np.where(np.isclose([x, y], [y, y]), [x, 1.0], [2.0, y]) * 1.0,
    "ufunc of a list": lambda x, y: np.add([x, y], 1.0) * np.exp([x, y]),
}


@pytest.mark.parametrize("name", LISTS)
def test_lists_of_recording_numbers(name):
    function = LISTS[name]
    inputs = (1.2, 2.3)
    expected = function(*inputs)
    weights = weight(np.shape(expected), 3)

    def weighted(x, y):
        return np.sum(np.asarray(function(x, y) * weights) if isinstance(x, float) else function(x, y) * weights)

    value, gradient = numbad.value_and_gradient(weighted, *inputs)
    np.testing.assert_allclose(value, np.sum(expected * weights), rtol=1e-13)
    np.testing.assert_allclose(gradient, differences(weighted, inputs), rtol=1e-7, atol=1e-8)
    jitted = numbad.jit(numbad.grad(weighted, argnums=(0, 1)))
    np.testing.assert_allclose(jitted(1.3, 2.2), numbad.gradient(weighted, 1.3, 2.2), rtol=1e-13, atol=1e-15)


def test_numpy_is_itself_outside_of_recordings():
    numbad.gradient(lambda x: x * x, 1.0)
    assert np.mean([1.0, 2.0]) == 1.5 and type(np.mean([1, 2])) is np.float64
    assert np.array([1.0, 3.0]).mean() == 2.0
    assert list(inspect.signature(np.mean).parameters)[:3] == ["a", "axis", "dtype"]
    assert np.median(np.array([3, 1, 2], object)) == 2


def test_a_wider_dtype_rounds_what_came_before() -> None:
    x = np.full(40, 0.1, np.float32)

    def f(x: Any) -> Any:
        return np.prod(x + np.float32(1.0), dtype=np.float64)

    exact = np.float64(np.float32(0.1) + np.float32(1.0)) ** 40
    value, gradient = numbad.value_and_gradient(f, x)
    assert type(value) is float and gradient.dtype == np.float32
    np.testing.assert_allclose(value, exact, rtol=1e-14)
    np.testing.assert_allclose(numbad.jit(f)(x), exact, rtol=1e-14)
    np.testing.assert_allclose(gradient, exact / 1.1, rtol=1e-6)


def test_truth_values_are_counted_in_whole_numbers():
    x = np.array([[0.5, 2.0, 3.0], [1.5, 0.25, 4.0]])
    f = lambda x: (
        np.sum(x * x) * np.sum(x > 1.0, dtype=int) + x[0, 1] * np.cumsum(x > 1.0, axis=1, dtype=np.int64)[1, 2]
    )
    want = 8.0 * x + 2.0 * np.eye(1, 6, 1).reshape(2, 3)
    np.testing.assert_array_equal(numbad.gradient(f, x), want)
    np.testing.assert_array_equal(numbad.jit(numbad.grad(f))(x), want)
    with pytest.raises(numbad.RecordingError, match="dtype=int64"):
        numbad.gradient(lambda x: np.sum(x, dtype=int) * x[0, 0], x)


SINGLE = np.array([1.0, 2.5, 3.0], np.float32)


def in_place(x, y):
    """Write plain numbers of double precision into an array: it keeps its own."""
    z = x * 1
    z += y
    z *= np.float64(1.5)
    z[1:] = y[1:]
    z[0] -= 0.5
    np.add(z, 1, out=z)
    return z


NUMBERS = {
    **{f.__name__: lambda x, f=f: [f(x, 3.5), f(2.5, x), f(x, 3)] for f in (np.dot, np.inner, np.outer, np.kron)},
    "vdot": lambda x: np.vdot(x[0], 2.5),
    "tensordot": lambda x: np.tensordot(x, 2.5, 0),
    "einsum": lambda x: np.einsum("i,->i", x, 2.5),
    "convolve": lambda x: [np.convolve(x, 2.5), np.convolve([1.0, 2.0], x)],
    "append": lambda x: [np.append(x, 1.0), np.append(x, [1.0, 2.0]), np.append(x, 3), np.append(1.0, x)],
    "stack": lambda x: [np.hstack([x, 1.0]), np.stack([x[0], 1.0]), np.vstack([x[:1], 1.0]), np.block([x, 1.0])],
    "r_": lambda x: [np.r_[x, 1.0], np.r_[x, 2]],
    "insert": lambda x: [np.insert(x, 1, 2.5), np.insert(x, [0, 2], np.array([2.5, 1.5])), np.insert(x, 1, [2.5])],
    "qr": lambda x: list(np.linalg.qr(np.outer(x, x[:1]), mode="complete")[1:]),
    "in place": lambda x: in_place(x, np.array([0.1, 0.2, 0.3])),
    "array": lambda x: [np.array([x[0], 1.0]), np.array([[x[0], 1.0], [x[1], x[2]]])],
    "array of a dtype": lambda x: np.array([[x[0], 1.0], [2, x[2]]], np.float32),
    "poly": lambda x: np.poly(x),
    "where": lambda x: [np.where(x > 1, x, 1.0), np.clip(x, 0.0, 2.0), np.maximum(x, 1), np.full(3, x[0])],
}


@pytest.mark.parametrize("name", NUMBERS)
def test_numbers_beside_single_precision(name):
    for place, wanted in enumerate(leaves_of(NUMBERS[name](SINGLE))):
        choose = lambda x: leaves_of(NUMBERS[name](x))[place]  # noqa: B023 - run at once
        pushed = numbad.jvp(choose, (SINGLE,), (SINGLE,))[0]
        for found in (numbad.jit(choose)(SINGLE), numbad.vjp(choose, SINGLE)[0], pushed):
            assert np.asarray(found).dtype == wanted.dtype
            np.testing.assert_allclose(found, wanted, rtol=3e-7)
