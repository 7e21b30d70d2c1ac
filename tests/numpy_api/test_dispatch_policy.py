"""The numerical policy, decisions that depend on values, dtypes, NaN and infinities, helpers, and refusals."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest
import scipy.optimize
import scipy.sparse.linalg
import scipy.special

import numbad
from numbad.errors import BranchError, RecordingError
from numbad.numpy_api import dispatch, functions
from numbad.recording.complaints import holds
from shared.oracle import check_against_numpy

HERE = Path(__file__).name

random = np.random.default_rng(2)
V = random.normal(size=6)
REDUCTIONS = (np.mean, np.max, np.median, np.prod, np.std, np.nanmax)
OUTSIDE = np.zeros(6)  # made where nothing is recorded
M = random.normal(size=(3, 4))
INF = np.inf
NAN = np.nan


def gradient(f, x):
    """Return the gradient at a list of numbers."""
    return numbad.gradient(f, np.array(x, float))


# ---------------------------------------------------------------- ties, zeros, constants


def test_clip_splits_at_a_bound():
    found = gradient(lambda x: np.clip(x, 0.0, 1.0).sum(), [0.0, 0.5, 1.0, 2.0])
    np.testing.assert_array_equal(found, [0.5, 1.0, 0.5, 0.0])


@pytest.mark.parametrize("function", [np.std, np.var, np.linalg.norm, np.max, np.prod, np.mean, np.nanmean, np.median])
def test_nan_propagates_as_in_numpy(function):
    for x in ([1.0, NAN, 2.0], [1.0, INF, 2.0], [-INF, INF]):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            expected = function(np.array(x))
            found = numbad.value_and_gradient(function, np.array(x))[0]
        np.testing.assert_array_equal(found, expected)


def test_where_ignores_what_is_not_selected():
    found = gradient(lambda x: np.where(x > 0, np.sqrt(x), 0.0).sum(), [0.0, -1.0, 4.0])
    np.testing.assert_array_equal(found, [0.0, 0.0, 0.25])
    np.testing.assert_array_equal(gradient(lambda x: np.sum(np.where(x > 0, np.log(x), x)), [0.0, 2.0]), [1.0, 0.5])


# ---------------------------------------------------------------- dtypes and empty arrays


@pytest.mark.parametrize(
    "function",
    [np.sum, np.mean, np.std, np.max, np.prod, lambda x: np.cumsum(x)[-1], lambda x: np.sort(x)[0], np.linalg.norm,
     np.median, lambda x: np.linalg.det(np.outer(x, x) + np.eye(6)), lambda x: np.quantile(x, 0.3).sum(),
     lambda x: np.sum(np.where(x > 0, x, 0)), lambda x: np.interp(x, [0.0, 1.0], [1.0, 2.0]).sum()],
)  # fmt: skip
def test_single_precision(function):
    x = V.astype(np.float32)
    value, found = numbad.value_and_gradient(function, x)
    assert found.dtype == np.float32
    np.testing.assert_allclose(value, function(x), rtol=1e-5)
    np.testing.assert_allclose(found, numbad.gradient(function, V), rtol=2e-4, atol=2e-5)


def test_empty_arrays():
    for function in (np.sum, np.prod, np.linalg.norm, lambda x: np.sum(np.sort(x)), lambda x: np.cumsum(x).sum(),
                     lambda x: np.max(x, initial=3.0), lambda x: np.sum(np.concatenate([x, x]))):  # fmt: skip
        assert numbad.gradient(function, np.zeros(0)).shape == (0,)
    with pytest.raises(ValueError, match="identity"):
        numbad.gradient(np.max, np.zeros(0))


# ---------------------------------------------------------------- decisions


DECIDING = {
    "argmax": lambda x: x[np.argmax(x)],
    "argsort": lambda x: np.sum(x[np.argsort(x)] * np.arange(6.0)),
    "mask": lambda x: np.sum(x[x > 0] ** 2),
    "searchsorted": lambda x: x[0] * np.searchsorted([-1.0, 0.0, 1.0], x[1]),
    "nonzero": lambda x: np.sum(x[np.nonzero(x > 0)]),
    "allclose": lambda x: x[0] if np.allclose(x, V) else 2.0 * x[0],
    "array_equal": lambda x: x[0] if np.array_equal(x, V) else 2.0 * x[0],
    "unique": lambda x: np.sum(np.unique(x) * np.arange(6.0)),
    "digitize": lambda x: np.sum(x * np.digitize(x, [-0.5, 0.5])),
    "isin": lambda x: np.sum(x[np.isin(x, V[:2])]) + x[-1],
    "lexsort": lambda x: np.sum(x[np.lexsort((x, x > 0))] * np.arange(6.0)),
    "delete": lambda x: np.sum(np.delete(x, np.argmin(x)) * np.arange(5.0)),
    "nanargmin": lambda x: x[np.nanargmin(x)],
    "extract": lambda x: np.sum(np.extract(x > 0.1, x)),
    "argpartition": lambda x: x[np.argpartition(x, 2)[2]],
    "matrix_rank": lambda x: x[0] * np.linalg.matrix_rank(np.diag(np.where(x > 0.5, x, 0.0))),
}


@pytest.mark.parametrize("name", DECIDING)
def test_replay_notices_another_decision(name):
    function = DECIDING[name]
    tape = numbad.record(function, V)
    np.testing.assert_allclose(tape(V), function(V), rtol=1e-14)
    other = np.ascontiguousarray(-V[::-1]) * 1.7
    with pytest.raises(BranchError):
        tape(other)


@pytest.mark.parametrize(
    "function",
    [np.max, lambda x: np.sum(np.sort(x) * np.arange(6.0)), np.median, lambda x: np.any(x > 0) * x[0],
     lambda x: np.sum(np.where(x > 0, x, 0.0)), lambda x: np.interp(x[0], [-9.0, 0.0, 9.0], x[1:4]),
     lambda x: np.sum(x) / np.count_nonzero(x > 0), lambda x: np.quantile(x, 0.3), np.prod],
)  # fmt: skip
def test_replay_without_a_decision(function):
    tape = numbad.record(function, V)
    other = np.ascontiguousarray(-V[::-1]) * 1.7
    np.testing.assert_allclose(tape(other), function(other), rtol=1e-14)
    np.testing.assert_allclose(tape.gradient(other), numbad.gradient(function, other), rtol=1e-14)


# ---------------------------------------------------------------- refusals


@pytest.mark.parametrize(
    ("function", "text"),
    [
        (lambda x: np.fft.rfft(x), "np.fft.rfft is not recorded(.|\n)*real matrix product"),
        (lambda x: np.fft.fft(x), "complex"),
        (lambda x: np.histogram(x), "np.histogram is not recorded(.|\n)*bincount"),
        (lambda x: np.roots(np.abs(x) + 5.0), "np.roots: some roots are complex"),
        (lambda x: np.spacing(x), "np.spacing"),
        (lambda x: np.nextafter(x, 1.0), "np.nextafter"),
        (lambda x: np.frexp(x), "frexp"),
        (lambda x: np.add(x, x, dtype=int), "dtype"),
        (lambda x: np.add(x, x, where=x > 0), "where="),
        (lambda x: np.take(x, x), "recording value"),
        (lambda x: np.roll(x, x[0]), "int"),
        (lambda x: np.repeat(x, x[0]), "int"),
        (lambda x: np.tile(x, x[0]), "int"),
        (lambda x: np.pad(x, 2, mode=np.mean), "mode"),
        (lambda x: np.save("nowhere", x), "saved"),
        (lambda x: np.sum(x, dtype=np.int64), "dtype"),
        (lambda x: np.ldexp(x, x), "exponent"),
        (lambda x: np.polyfit(x, x, 2, full=True), "full"),
        (lambda x: np.poly(np.outer(x, x)), "matrix"),
        (lambda x: np.choose(x, [x, x]), "recording value"),
        (lambda x: np.unique_all(x), "np.unique"),
        (lambda x: np.add(np.ones(6), x, out=OUTSIDE[:6]), "plain array"),
        (lambda x: np.sum(x, out=OUTSIDE[0:1].reshape(())), "plain array"),
        *((lambda x, f=f: f(np.outer(x, x), axis=0, out=OUTSIDE), "plain array") for f in REDUCTIONS),
    ],
)
def test_refusals_name_the_function_and_the_line(function, text):
    with pytest.raises(RecordingError, match=text) as caught:
        numbad.gradient(lambda x: np.sum(function(x)), V)
    assert HERE in str(caught.value)
    assert "  do  " in str(caught.value)


def test_every_numpy_function_is_recorded_or_explained():
    missing = []
    for prefix, module in (("", np), ("linalg.", np.linalg), ("fft.", np.fft)):
        for name in dir(module):
            if name.startswith("_") or name in ("in1d", "trapz", "row_stack"):
                continue
            function = getattr(module, name)
            if hasattr(function, "_implementation") and function not in dispatch.FUNCTIONS:
                if f"np.{prefix}{name}" not in dispatch.ADVICE:
                    missing.append(prefix + name)
    assert missing == ["datetime_as_string"]


def test_every_ufunc_is_recorded_or_explained():
    missing = []
    for name in dir(np):
        ufunc = getattr(np, name)
        if isinstance(ufunc, np.ufunc) and dispatch.find_op(ufunc) is None and ufunc.__name__ not in dispatch.UFUNCS:
            if f"np.{ufunc.__name__}" not in dispatch.ADVICE:
                missing.append(name)
    assert missing == ["isnat"]


# ---------------------------------------------------------------- helpers


EXPONENTS = [
    np.array([0.0, 0.0]),
    np.array([1000.0, 1000.0, -1000.0]),
    np.array([-1000.0, -1001.0]),
    np.array([0.0, -INF, 1.0]),
    np.array([-INF, -INF]),
    np.array([INF, 1.0]),
    np.array([3.0]),
]


@pytest.mark.parametrize("a", EXPONENTS, ids=str)
def test_logsumexp(a):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected, share = scipy.special.logsumexp(a), scipy.special.softmax(a)
    np.testing.assert_allclose(functions.logsumexp(a), expected, rtol=1e-15)
    value, found = numbad.value_and_gradient(functions.logsumexp, a)
    np.testing.assert_allclose(value, expected, rtol=1e-15)
    if np.isfinite(expected):
        np.testing.assert_allclose(found, share, rtol=1e-13)
    elif expected < 0:
        np.testing.assert_array_equal(found, 0.0)


def test_logsumexp_arguments():
    b = np.array([[1.0, -0.5, 0.0, 2.0]])
    for f in (
        lambda x: functions.logsumexp(x, axis=1),
        lambda x: functions.logsumexp(x, axis=(0, 1), keepdims=True),
        lambda x: functions.logsumexp(x, axis=0, b=np.array([[1.0], [2.0], [0.0]])),
        lambda x: functions.logsumexp(x, axis=1, b=b, return_sign=True),
        lambda x: functions.softmax(x, axis=1),
        functions.softmax,
        lambda x: functions.log_softmax(x, axis=0),
        lambda x: functions.log_softmax(x),
    ):
        check_against_numpy(f, M)
    check_against_numpy(lambda x, b: functions.logsumexp(x, axis=1, b=b), M, np.abs(M) + 0.1)
    np.testing.assert_allclose(functions.logsumexp(M, axis=1, b=b, return_sign=True)[0],
                               scipy.special.logsumexp(M, axis=1, b=b, return_sign=True)[0])  # fmt: skip
    assert functions.logsumexp(np.zeros(0)) == -INF


def test_tails_of_softmax():
    np.testing.assert_allclose(functions.log_softmax(np.array([1000.0, 1.0])), [0.0, -999.0])
    np.testing.assert_allclose(gradient(lambda x: functions.log_softmax(x)[1], [1000.0, 1.0]), [-1.0, 1.0])
    found = gradient(lambda x: functions.softmax(x)[0], [1000.0, -INF, 0.0])
    np.testing.assert_allclose(found, 0.0, atol=1e-15)


@pytest.mark.parametrize("name", ["logsumexp", "softmax", "log_softmax"])
def test_scipys_functions_work_or_name_ours(name):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        ours = numbad.gradient(lambda x: np.sum(np.sin(getattr(functions, name)(x))), V)
        try:
            found = numbad.gradient(lambda x: np.sum(np.sin(getattr(scipy.special, name)(x))), V)
        except RecordingError as error:
            assert f"numbad.{name}" in str(error)
        else:
            np.testing.assert_allclose(found, ours, rtol=1e-12)


def test_arrays_to_write_to():
    def f(x):
        y = functions.zeros((2, 3))
        y[0] = x[:3]
        y[1, 0] = x[4] * functions.ones(2)[0]
        z = functions.full(3, x[5])
        return y.sum() + z.prod() + functions.array([[x[0], 1.0], [2.0, x[1]]]).sum()

    check_against_numpy(
        lambda x: f(x) if not isinstance(x, np.ndarray) else x[:3].sum() + x[4] + x[5] ** 3 + x[0] + x[1] + 3.0, V
    )
    assert type(functions.zeros(3)) is np.ndarray
    assert functions.zeros(3, int).dtype == int
    assert functions.array([1.0, 2.0]).tolist() == [1.0, 2.0]
    np.testing.assert_array_equal(functions.full((2, 2), 1.5), 1.5)


@pytest.mark.parametrize(
    "p",
    [[1.0, -3.0, 2.0], [2.0, -6.0, 4.0, 0.0, 0.0], [0.0, 1.0, -6.0, 11.0, -6.0], [0.0, 3.0], [0.0], [5.0, 0.0]],
    ids=str,
)
def test_real_roots_of_polynomials(p):
    p = np.array(p)
    found = numbad.jit(np.roots)(p)
    np.testing.assert_allclose(found, np.roots(p), rtol=1e-12)
    places = np.flatnonzero(p)
    slopes = numbad.jacobian(np.roots, p) if found.size else np.zeros((0, p.size))
    for place in places:
        step = 1e-6 * np.eye(p.size)[place]
        wanted = (np.roots(p + step) - np.roots(p - step)) / 2e-6
        np.testing.assert_allclose(slopes[:, place], wanted, rtol=1e-6, atol=1e-8)
    matrix = np.array([[2.0, 1.0], [0.5, -1.0]])
    np.testing.assert_allclose(numbad.jit(np.poly)(matrix), np.poly(matrix), rtol=1e-12)


def test_integer_arrays_stay_plain_inside_a_recording():
    def f(x):
        counts = np.zeros_like(x, dtype=int)
        counts[2] += 3
        return np.sum(x * counts) + functions.zeros(2, int)[0]

    np.testing.assert_array_equal(numbad.gradient(f, V), [0, 0, 3, 0, 0, 0])


def test_arrays_to_write_to_have_no_negative_lengths() -> None:
    for make in (numbad.zeros, numbad.ones, numbad.empty, lambda shape: numbad.full(shape, 2.0)):
        with pytest.raises(ValueError, match="negative dimensions"):
            numbad.gradient(lambda x, make=make: x * make((2, -1)).sum(), 1.0)


def test_arrays_of_recording_values_have_the_dtype_that_is_asked_for() -> None:
    def f(x):
        assert numbad.array([x, 1.0], dtype=bool).dtype == bool
        assert numbad.asarray(x, np.int64).dtype == np.int64
        return numbad.array([x, x * x], np.float64).sum()

    assert numbad.gradient(f, 3.0) == 7.0


def test_operators_of_scipys_that_hold_recording_values_are_known() -> None:
    seen = []

    def f(x):
        operator = scipy.sparse.linalg.aslinearoperator(np.outer(x, x))
        seen.extend([holds(operator), holds(scipy.sparse.linalg.aslinearoperator(np.eye(2))), holds(x)])
        return x[0]

    numbad.gradient(f, np.ones(2))
    assert seen == [True, False, False]


def test_slopes_at_evenly_spaced_places_do_not_read_the_place_itself() -> None:
    samples = np.array([0.0, 2.0, np.nan, 5.0, 5.0, 7.0])
    for places in (np.arange(6.0), 0.5 * np.arange(6), np.array([0.0, 1.0, 2.0, 3.0, 4.0, 6.0])):
        found = numbad.vjp(lambda x, p=places: np.gradient(x, p), samples)[0]
        np.testing.assert_allclose(found, np.gradient(samples, places), rtol=1e-14)


@pytest.mark.filterwarnings("ignore:a recording array was converted")
@pytest.mark.parametrize(
    "function",
    [
        scipy.optimize.rosen,  # sums in the dtype of np.asarray(x), which is object while it is recorded
        lambda x: np.sum(x * x, axis=0, dtype=np.asarray(x).dtype),
        lambda x: np.mean(np.asarray(x) ** 2, dtype=np.asarray(x).dtype),
        lambda x: np.cumsum(x * x, dtype=object)[-1] * x[0],
        lambda x: np.prod(np.add(x, 1.0, dtype=object), dtype=object),
        lambda x: (x * x).sum(dtype=object),
        lambda x: np.sum(x.astype(object) ** 3 * np.exp(x)),
    ],
)
def test_objects_that_the_program_has_made_keep_their_dtype(function):
    check_against_numpy(function, V)
    assert np.array_equal(numbad.jit(numbad.gradient(function))(V), numbad.gradient(function, V))
