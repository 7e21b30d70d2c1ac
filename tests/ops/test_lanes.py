"""Array ops over many lanes: one row for a batch, which gives what a loop over its examples gives; and damages."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.linalg
import scipy.special

import numbad
from numbad.ops import lanes, linalg, reductions
from numbad.tape.layout import HOST
from numbad.tapes import reference

generator = np.random.default_rng(3)
SIDE = 3
SQUARES = generator.normal(size=(4, SIDE, SIDE))
POSITIVE = SQUARES @ np.swapaxes(SQUARES, 1, 2) + np.eye(SIDE)
VECTORS = generator.normal(size=(4, SIDE))
KNOTS = np.sort(generator.normal(size=(4, 5)), axis=1)
MANY_KNOTS = np.sort(generator.normal(size=(4, reductions.MOST_COUNTED + 3)), axis=1)
TALL = generator.normal(size=(4, 4, SIDE))
Case = tuple[Callable[..., Any], tuple[np.ndarray, ...], Any]


def triangular(lower: bool, trans: int, unit: bool) -> Callable[..., Any]:
    """Return scipy.linalg.solve_triangular with settings."""
    return lambda a, b: scipy.linalg.solve_triangular(a, b, lower=lower, trans=trans, unit_diagonal=unit)


def structured(kind: Any, transposed: bool = False) -> Callable[..., Any]:
    """Return scipy.linalg.solve for a structure."""
    return lambda a, b: scipy.linalg.solve(a, b, assume_a=kind, transposed=transposed)


CASES: dict[str, Case] = {
    "max": (lambda a: np.max(a, axis=0), (SQUARES,), 0),
    "min": (lambda a: np.min(a, axis=1), (SQUARES,), 0),
    "sort": (lambda a: np.sort(a, axis=0), (SQUARES,), 0),
    "partition": (lambda a: np.partition(a, 1, axis=1), (SQUARES,), 0),
    "median": (np.median, (SQUARES,), 0),
    "cumsum": (lambda a: np.cumsum(a, axis=1), (SQUARES,), 0),
    "cumprod": (lambda a: np.cumprod(a, axis=0), (SQUARES,), 0),
    "prod": (lambda a: np.prod(a, axis=1), (SQUARES,), 0),
    "maximum.accumulate": (lambda a: np.maximum.accumulate(a, axis=1), (SQUARES,), 0),
    "minimum.accumulate": (lambda a: np.minimum.accumulate(a, axis=1), (SQUARES,), 0),
    "softmax": (lambda a: scipy.special.softmax(a, axis=1), (SQUARES,), 0),
    "logsumexp": (lambda a: scipy.special.logsumexp(a, axis=0), (SQUARES,), 0),
    "interp": (np.interp, (VECTORS, KNOTS, KNOTS**2), 0),
    "interp at many knots": (np.interp, (VECTORS, MANY_KNOTS, np.cos(MANY_KNOTS)), 0),
    "interp of shared knots": (np.interp, (SQUARES, KNOTS[0], KNOTS), (0, None, 0)),
    "interp of shared values": (np.interp, (SQUARES, KNOTS[0], KNOTS[1]), (0, None, None)),
    "interp at shared points": (np.interp, (VECTORS[0], KNOTS, KNOTS), (None, 0, 0)),
    "interp of one knot": (np.interp, (VECTORS, KNOTS[:, :1], KNOTS[:, 1:2]), 0),
    "det": (np.linalg.det, (SQUARES,), 0),
    "slogdet": (lambda a: np.linalg.slogdet(a)[1], (SQUARES,), 0),
    "inv": (np.linalg.inv, (SQUARES,), 0),
    "solve": (np.linalg.solve, (SQUARES, VECTORS), 0),
    "solve a matrix": (np.linalg.solve, (SQUARES, SQUARES[::-1]), 0),
    "solve one system": (np.linalg.solve, (SQUARES[0], VECTORS), (None, 0)),
    "solve for one vector": (np.linalg.solve, (SQUARES, VECTORS[0]), (0, None)),
    "solve one system for matrices": (np.linalg.solve, (SQUARES[0], SQUARES), (None, 0)),
    "solve pairs": (np.linalg.solve, (np.stack([SQUARES, POSITIVE], 1), VECTORS), 0),
    "solve pairs for matrices": (np.linalg.solve, (SQUARES, np.stack([SQUARES, POSITIVE], 1)), 0),
    "cholesky": (np.linalg.cholesky, (POSITIVE,), 0),
    "eigh": (lambda a: np.linalg.eigh(a)[1] ** 2, (POSITIVE,), 0),
    "eigvalsh": (np.linalg.eigvalsh, (POSITIVE,), 0),
    "eig": (lambda a: np.linalg.eig(a)[0], (np.tril(SQUARES),), 0),
    "svd": (lambda a: np.linalg.svd(a)[0] ** 2, (SQUARES,), 0),
    "singular values": (lambda a: np.linalg.svd(a)[1], (SQUARES,), 0),
    "qr": (lambda a: np.linalg.qr(a)[1], (SQUARES,), 0),
    "pinv": (np.linalg.pinv, (TALL,), 0),
    "lstsq": (lambda a, b: np.linalg.lstsq(a, b, rcond=None)[0], (TALL, TALL[:, :, 0] ** 2), 0),
    "lstsq of matrices": (lambda a, b: np.linalg.lstsq(a, b, rcond=None)[0], (TALL, TALL[::-1] ** 2), 0),
    "expm": (scipy.linalg.expm, (SQUARES,), 0),
    "solve_sylvester": (lambda a, b: scipy.linalg.solve_sylvester(a, a.T, b), (POSITIVE, SQUARES), 0),
    "solve_banded": (lambda a, b: scipy.linalg.solve_banded((1, 1), a, b), (POSITIVE + 1.0, VECTORS), 0),
    "cho_solve": (lambda a, b: scipy.linalg.cho_solve(scipy.linalg.cho_factor(a), b), (POSITIVE, VECTORS), 0),
    "triangular": (triangular(True, 0, False), (POSITIVE, VECTORS), 0),
    "triangular upper": (triangular(False, 0, False), (POSITIVE, SQUARES), 0),
    "triangular transposed": (triangular(True, 1, True), (POSITIVE, VECTORS), 0),
    "triangular upper transposed": (triangular(False, 1, False), (POSITIVE, VECTORS), 0),
    "one triangular system": (triangular(True, 0, False), (POSITIVE[0], VECTORS), (None, 0)),
    "a symmetric system": (structured("sym"), (POSITIVE, VECTORS), 0),
    "a positive system": (structured("pos"), (POSITIVE, SQUARES), 0),
    "a tridiagonal system": (structured("tridiagonal"), (POSITIVE, VECTORS), 0),
    "a transposed system": (structured("gen", True), (SQUARES, VECTORS), 0),
    "inverse of a triangle": (lambda a: scipy.linalg.inv(a, assume_a="upper triangular"), (POSITIVE,), 0),
    "inverse of a positive matrix": (lambda a: scipy.linalg.inv(a, assume_a="pos"), (POSITIVE,), 0),
}


def axes_of(case: Case) -> tuple[Any, ...]:
    """Return the axis of each argument."""
    _, arrays, axes = case
    return axes if isinstance(axes, tuple) else (axes,) * len(arrays)


def loop(f: Callable[..., Any], case: Case) -> np.ndarray:
    """Return the results of a function for each example, one after the other."""
    _, arrays, _ = case
    axes = axes_of(case)
    lanes = next(len(part) for part, axis in zip(arrays, axes, strict=True) if axis is not None)
    each = [[part if axis is None else part[k] for part, axis in zip(arrays, axes, strict=True)] for k in range(lanes)]
    return np.stack([np.asarray(f(*given)) for given in each])


def close(found: Any, expected: Any, rtol: float = 1e-9) -> None:
    """Compare shapes and numbers."""
    assert np.shape(found) == np.shape(expected)
    np.testing.assert_allclose(found, expected, rtol=rtol, atol=1e-10)


def check_first_order(case: Case) -> None:
    """Compare values and derivatives of a batch with those of its examples: the batch of derivatives, and its own."""
    f, arrays, _ = case
    axes = axes_of(case)
    many = numbad.vmap(f, axes)
    close(many(*arrays), loop(f, case))
    for k, axis in enumerate(axes):
        slope = numbad.grad(lambda *given: np.sum(np.sin(f(*given))), k)
        expected = loop(slope, case)
        close(numbad.vmap(slope, axes)(*arrays), expected)
        total = numbad.grad(lambda *given: np.sum(np.sin(many(*given))), k)
        close(total(*arrays), expected.sum(axis=0) if axis is None else expected)
        fast = numbad.jit(total)
        for _ in range(2):
            close(fast(*arrays), total(*arrays), 1e-12)
    push = lambda *given: numbad.jvp(f, given, tuple(np.cos(part) for part in given))[1]
    close(numbad.vmap(push, axes)(*arrays), loop(push, case))


@pytest.mark.parametrize("name", CASES)
def test_a_batch_is_its_examples(name: str) -> None:
    check_first_order(CASES[name])


@pytest.mark.parametrize("name", CASES)
def test_jacobians_and_hessians(name: str) -> None:
    case = CASES[name]
    f, arrays, _ = case
    axes = axes_of(case)
    if name == "lstsq of matrices":  # more than one right-hand side: the seeds of both are lanes of one row
        f = lambda a, b: np.linalg.lstsq(a, b, rcond=None)[0][:, :2]
    for k in range(len(arrays)):
        for mode in (numbad.jacrev, numbad.jacfwd):
            close(numbad.vmap(mode(f, k), axes)(*arrays), loop(mode(f, k), (f, arrays, axes)))
        second = numbad.hessian(lambda *given: np.sum(np.sin(f(*given))), k)
        close(numbad.vmap(second, axes)(*arrays), loop(second, (f, arrays, axes)), 1e-7)


@pytest.mark.parametrize("name", ["sort", "interp", "solve", "solve one system", "det", "cumprod", "eigvalsh", "lstsq"])
def test_batches_of_batches(name: str) -> None:
    f, arrays, _ = CASES[name]
    axes = axes_of(CASES[name])
    pairs = [np.stack([part, 1.25 * part]) for part in arrays]
    many = numbad.vmap(f, axes)
    close(numbad.vmap(many)(*pairs), np.stack([many(*(part[k] for part in pairs)) for k in range(2)]))
    one = [pairs[0], *arrays[1:]]
    inner = (0, *[None] * (len(arrays) - 1))
    close(numbad.vmap(many, inner)(*one), np.stack([many(pairs[0][k], *arrays[1:]) for k in range(2)]))


@pytest.mark.parametrize("name", ["sort", "interp", "solve", "det", "cumprod", "max"])
def test_the_reference_interpreter_agrees(name: str) -> None:
    f, arrays, _ = CASES[name]
    many = numbad.vmap(f, axes_of(CASES[name]))
    tape = numbad.record(lambda *given: np.sum(np.sin(many(*given))), *arrays)
    close(reference.run(tape, *arrays), tape(*arrays), 1e-12)
    for one, other in zip(tape.gradient(*arrays), reference.gradient(tape, *arrays), strict=True):
        close(one, other, 1e-12)


@pytest.mark.parametrize("lanes", [1, 2, reductions.MANY_LANES - 1, reductions.MANY_LANES, 300])
def test_numbers_of_lanes(lanes: int) -> None:
    x = np.random.default_rng(lanes).normal(size=(lanes, 2, 5))
    x[0, 0, 1] = x[0, 0, 3]  # a tie
    for f in (
        lambda a: np.cumsum(a, axis=1),
        lambda a: np.cumprod(a, axis=1),
        lambda a: np.maximum.accumulate(a, axis=1),
        lambda a: np.minimum.accumulate(a, axis=0),
        lambda a: np.prod(a, axis=1),
        lambda a: np.max(a, axis=1),
        lambda a: np.sort(a, axis=1),
        lambda a: np.interp(a, np.sort(a[0]), a[1]),
    ):
        check_first_order((f, (x,), 0))


def count_rows(f: Callable[..., Any], *arrays: np.ndarray) -> int:
    """Return how many rows of Python kernels a tape of a batch has."""
    return int((numbad.record(numbad.vmap(f), *arrays).code[:, 0] == HOST).sum())


@pytest.mark.parametrize("name", ["max", "sort", "cumprod", "softmax", "interp", "inv", "det", "cholesky", "median"])
def test_rows_do_not_grow_with_examples(name: str) -> None:
    f, arrays, _ = CASES[name]
    slope = numbad.grad(lambda *given: np.sum(f(*given)))
    many = [np.concatenate([part] * 5) for part in arrays]
    assert count_rows(f, *many) == count_rows(f, *arrays) <= 3
    assert count_rows(slope, *many) == count_rows(slope, *arrays)


def test_nan_and_ties_stay_in_their_example() -> None:
    x = np.array([[1.0, 1.0, 0.5], [np.nan, 2.0, 1.0], [0.0, np.inf, -np.inf], [0.0, 0.0, 0.0]])
    for f in (np.max, np.sort, np.cumprod, np.prod, np.maximum.accumulate, lambda a: np.interp(a, KNOTS[0], KNOTS[1])):
        with np.errstate(all="ignore"):
            np.testing.assert_array_equal(numbad.vmap(f)(x), np.stack([f(row) for row in x]))
        slope = numbad.grad(lambda a, f=f: np.sum(f(a)))
        np.testing.assert_array_equal(numbad.vmap(slope)(x), np.stack([slope(row) for row in x]))
    for a in ([[np.nan, 1.0], [1.0, 2.0]], [[np.nan] * 3] * 3):
        pair = np.stack([np.eye(len(a)), np.array(a)])
        slope = numbad.grad(np.linalg.det)
        np.testing.assert_array_equal(numbad.vmap(slope)(pair), np.stack([slope(matrix) for matrix in pair]))


def test_interpolation_is_numpys_bit_by_bit() -> None:
    points = np.array([-np.inf, -2.0, -1.0, -0.5, 0.0, 0.25, 1.0, 3.0, np.inf, np.nan])
    knots = np.array([[-1.0, 0.0, 1.0], [-1.0, -1.0, 1.0], [-1.0, 0.0, np.inf], [0.0, 0.0, 0.0]])
    values = np.array([[1.0, 3.0, -2.0], [1.0, 2.0, 5.0], [0.1, 0.3, 0.7], [np.inf, np.inf, 1.0]])
    with np.errstate(all="ignore"):
        expected = np.stack([np.interp(points, xp, fp) for xp, fp in zip(knots, values, strict=True)])
        found = reductions.interpolations(np.broadcast_to(points, (4, 10)), knots, values)
    np.testing.assert_array_equal(found, expected)
    unsorted = knots[:, ::-1].copy()
    place = reductions.interval_of(np.broadcast_to(points, (4, 10)), unsorted)
    np.testing.assert_array_equal(place, np.stack([np.searchsorted(row, points, "right") - 1 for row in unsorted]))


def test_cofactors_of_small_matrices() -> None:
    for side in (1, 2, 3):
        a = generator.normal(size=(5, side, side))
        a[0] = 0.0
        if side > 1:
            a[1, 0] = a[1, 1]  # singular
        u, s, v = np.linalg.svd(a)
        expected = np.linalg.det(u @ v)[:, None, None] * (u @ linalg.mixed_minors(s, []) @ v)
        np.testing.assert_allclose(linalg.cofactors(a), expected, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("side", [1, 2, 3, 4])
def test_determinants_of_many_matrices(side: int) -> None:
    a = generator.normal(size=(7, 2, side, side))
    a[0] = 0.0
    a[1, 0] = np.diag([1e-300, 1e200, 1e200, 1.0][:side])
    a[1, 1] = np.diag([1e200, 1e-300, 1e200, 1.0][:side])[::-1]
    a[2, 0] = np.diag([1e-200, 1e-200, 1e300, 1e200][:side])
    a[3, 1, 0] = a[3, 1, -1]  # singular
    a[4, 0, 0, 0], a[5, 1, 0, 0] = np.nan, np.inf
    with np.errstate(all="ignore"):
        found, expected = linalg.determinants(a), np.linalg.det(a)
        np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-15)
        np.testing.assert_allclose(numbad.vmap(np.linalg.det)(a), expected, rtol=1e-12, atol=1e-15)
    assert linalg.determinants(a.astype(np.float32)).dtype == np.float32


def test_single_precision_stays() -> None:
    for f in (np.sort, np.cumprod, np.max, np.linalg.inv, lambda a: np.linalg.solve(a, a[0])):
        found = numbad.vmap(f)(SQUARES.astype(np.float32))
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, numbad.vmap(f)(SQUARES), rtol=2e-4, atol=1e-5)


def test_empty_batches() -> None:
    for f, shape in ((np.linalg.inv, (3, 3)), (np.sort, (3, 3)), (np.linalg.det, ()), (np.cumprod, (9,))):
        assert numbad.vmap(f)(np.zeros((0, 3, 3)) + np.eye(3)).shape == (0, *shape)
        assert numbad.vmap(numbad.vmap(f))(np.zeros((2, 0, 3, 3))).shape == (2, 0, *shape)


def test_an_example_that_fails_raises_or_takes_its_own_way() -> None:
    x = SQUARES.copy()
    x[2] = 1.0
    with pytest.raises(np.linalg.LinAlgError):
        numbad.vmap(np.linalg.inv)(x)

    def guarded(a: Any) -> Any:
        try:
            return np.linalg.inv(a)
        except np.linalg.LinAlgError:
            return 2.0 * a

    for run in (numbad.vmap(guarded), numbad.jit(numbad.vmap(guarded))):
        for batch in (x, SQUARES, x[::-1]):
            close(run(batch), np.stack([guarded(a) for a in batch]))
    slopes = numbad.vmap(numbad.grad(lambda a: np.sum(guarded(a))))(x)
    close(slopes[2], np.full((3, 3), 2.0))
    found = lanes.attempt_stack(linalg.inverse, np.linalg.inv, [x], {})
    np.testing.assert_array_equal(found[1], [1.0, 1.0, 0.0, 1.0])
    assert np.isnan(found[0][2]).all() and not np.isnan(found[0][[0, 1, 3]]).any()


@pytest.mark.parametrize("name", ["solve", "interp of shared knots", "max", "cholesky"])
def test_files(name: str, tmp_path: Path) -> None:
    f, arrays, _ = CASES[name]
    many = numbad.vmap(f, axes_of(CASES[name]))
    tape = numbad.record(lambda *given: np.sum(np.sin(many(*given))), *arrays)
    tape.save(tmp_path / "tape")
    loaded = numbad.load(tmp_path / "tape")
    for one, other in zip(loaded.value_and_gradient(*arrays), tape.value_and_gradient(*arrays), strict=True):
        np.testing.assert_equal(one, other)


def test_operands_that_disagree_are_refused() -> None:
    op = lanes.laned(linalg.solve)
    for shared in ((True, True), (False,), (0, 1), (False, False)):
        with pytest.raises(ValueError, match=r"lanes|does not say"):
            op(np.ones((3, 3, 4)), np.ones((3, 5)), shared=shared)


# ---------------------------------------------------------------- damages

DAMAGES: dict[str, tuple[Any, str, Any, str]] = {
    "shared cotangents not summed": (lanes.np, "sum", lambda part, axis: part[0] * len(part), "interp of shared knots"),
    "rules take lanes the wrong way round": (
        lanes,
        "to_front",
        lambda operands, shared, count: [
            np.broadcast_to(part, (count, *np.shape(part))) if same else np.moveaxis(part, -1, 0)[::-1]
            for part, same in zip(operands, shared, strict=True)
        ],
        "cumprod",
    ),
    "no columns for a shared system": (
        lanes,
        "call_with_columns",
        lambda op, values, count, settings: tuple(
            part.reshape((*np.shape(part)[:-1], 1)) * np.ones(count) if np.ndim(part) else part
            for part in op.every_result(values[0][..., 0], values[1][..., 0], **settings)
        ),
        "solve one system",
    ),
    "knots counted that lie beyond": (reductions, "MOST_COUNTED", -1, ""),
}


@pytest.mark.parametrize("name", [name for name, (*_, case) in DAMAGES.items() if case])
def test_damages_are_noticed(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    owner, what, wrong, case = DAMAGES[name]
    monkeypatch.setattr(owner, what, wrong)
    with pytest.raises((AssertionError, ValueError, IndexError, TypeError, numbad.NumbadError)):
        check_first_order(CASES[case])
