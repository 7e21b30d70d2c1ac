"""Sparse Jacobians and Hessians against dense ones, by each method; their options, structures, and wrong input."""

import threading

import numpy as np
import pytest
import scipy.special

import numbad
from numbad.errors import BranchError, InputError, OutputError, RecordingError
from numbad.ops import REGISTRY
from numbad.ops.texts import scaled_partials
from numbad.sparsity import colouring, entries, lanes, patterns, prepared
from numbad.sparsity.layout import A_STRIDE, B_STRIDE, COUNT, OUT, A, B, P
from numbad.sparsity.patterns import Pattern
from numbad.testing import check_sparsity

X = np.linspace(0.5, 2.0, 9)
METHODS = ("auto", "entries", "columns", "rows", "both")
W = np.random.default_rng(0).normal(size=(6, 9))


def loop(x):
    """Return a program of numbers: a double loop over neighbours."""
    found = np.zeros(9)
    for i in range(3):
        for j in range(3):
            u = x[3 * i + j]
            found[3 * i + j] = u * u * x[3 * ((i + 1) % 3) + j] - 4.4 * u + 0.1 * x[3 * i + (j + 1) % 3]
    return found


FUNCTIONS = {
    "slices": lambda x: x[:-2] + x[1:-1] * x[2:],
    "a loop": loop,
    "an arrowhead": lambda x: np.concatenate([[np.sum(x**2)], x[0] * x[1:] ** 2]),
    "a network": lambda x: np.tanh(W @ np.tanh(x)),
    "sums": lambda x: np.sum(np.sin(x).reshape(3, 3) * x[:3], axis=0),
    "both sides": lambda x: np.maximum(x, 1.0) * np.where(x > 1.0, x[::-1], 0.0),
    "views": lambda x: (x.reshape(3, 3).T[::-1] * 2.0, x[0], x),
    "scatter": lambda x: np.bincount([0, 1, 1, 0, 2, 2, 2, 1, 0], x) ** 2,
    "constants": lambda x: (np.ones(2), x[1] * 3.0, 4.0),
    "no derivative": lambda x: (np.where(x > 1.0, np.sqrt(x - 1.0), 0.0), x[0] / x[1]),
    "python": lambda x: np.linalg.inv(np.diag(x) + 0.1)[0] * x,
    "scipy": lambda x: scipy.special.jv(1.0, x) * x[::-1],
}


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", FUNCTIONS)
def test_jacobians(name, method):
    f = FUNCTIONS[name]
    for x in (X, X.astype(np.float32)):
        try:
            found = numbad.sparse_jacobian(f, x, method=method)
        except ValueError as error:
            assert method == "entries" and "cannot be computed one by one" in str(error)
            assert name in ("a network", "python", "scipy")
            continue
        dense = numbad.jacobian(f, x)
        parts = [np.reshape(part, (-1, 9)) for part in (dense if isinstance(dense, tuple) else (dense,))]
        close = {"rtol": 1e-12, "atol": 1e-12} if x.dtype == np.float64 else {"rtol": 2e-5, "atol": 2e-5}
        np.testing.assert_allclose(found.toarray(), np.concatenate(parts), **close)
        assert found.dtype == x.dtype and found.has_canonical_format


SCALARS = {
    "rosenbrock": lambda x: np.sum((x[1:] - x[:-1] ** 2) ** 2 + (1.0 - x[:-1]) ** 2),
    "square of a sum": lambda x: np.sum(x) ** 2,
    "arrowhead": lambda x: np.sum(x**4) + x[0] * np.sum(np.sin(x)),
    "logistic": lambda x: np.sum(np.log1p(np.exp(W @ x))),
    "determinant": lambda x: np.linalg.slogdet(np.diag(x) + 0.1)[1] + np.prod(x),
    "a branch": lambda x: x[0] ** 2 * x[1] if x[0] > 0 else x[2],
    "linear": lambda x: np.sum(x * 3.0),
    "a constant": lambda x: 1.5,
    "an input": lambda x: x[2],
}


@pytest.mark.parametrize("method", ("auto", "entries", "star", "acyclic", "columns", "rows", "both"))
@pytest.mark.parametrize("name", SCALARS)
def test_hessians(name, method):
    try:
        found = numbad.sparse_hessian(SCALARS[name], X, method=method)
    except ValueError as error:
        assert method == "entries" and "cannot be computed one by one" in str(error)
        return
    np.testing.assert_allclose(found.toarray(), numbad.hessian(SCALARS[name], X), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("method", ("entries", "columns", "both"))
def test_large_inputs_in_any_memory_order(method):
    x = np.asfortranarray(np.linspace(1.0, 2.0, 1200).reshape(40, 30))

    def f(x):
        return x.T[::-1] * 2.0 + x[0, 0], x, x[::2, 1]

    found = numbad.sparse_jacobian(f, x, method=method)
    dense = numbad.jacobian(f, x)
    np.testing.assert_allclose(found.toarray(), np.concatenate([part.reshape(-1, 1200) for part in dense]), rtol=1e-14)
    tape = numbad.record(lambda x: np.sum(x[1:] * x[:-1] ** 2), x)
    other = np.ascontiguousarray(x[::-1]) + 0.1
    dense = numbad.hessian(lambda x: np.sum(x[1:] * x[:-1] ** 2), other).reshape(1200, 1200)
    np.testing.assert_allclose(tape.sparse_hessian(other).toarray(), dense, rtol=1e-12, atol=1e-12)


def test_absent_is_not_zero_times_infinity():
    def f(x):
        return np.where(x > 0.0, np.sqrt(np.abs(x)), 0.0) * x[::-1], x / 0.0

    at = np.array([0.0, 1.0, np.inf])
    with np.errstate(all="ignore"):
        for method in METHODS:
            dense = np.concatenate([np.reshape(part, (-1, 3)) for part in numbad.jacobian(f, at)])
            np.testing.assert_array_equal(numbad.sparse_jacobian(f, at, method=method).toarray(), dense)


def test_arguments_trees_values_and_auxiliary_results():
    def f(p, scale, k):
        return {"a": p["u"] * scale, "b": p["v"][k] * p["u"]}, (np.sum(p["u"]), "text")

    p = {"u": np.array([1.0, 2.0]), "v": np.array([3.0, 4.0, 5.0])}
    matrix, auxiliary = numbad.sparse_jacobian(f, p, 2.0, 1, argnums=0, has_aux=True)
    assert matrix.toarray().tolist() == [[2, 0, 0, 0, 0], [0, 2, 0, 0, 0], [4, 0, 0, 1, 0], [0, 4, 0, 2, 0]]
    assert auxiliary == (3.0, "text")
    (value, auxiliary), pair = numbad.value_and_sparse_jacobian(f, p, 2.0, 1, argnums=(0, 1), has_aux=True)
    assert value["a"].tolist() == [2.0, 4.0] and pair[1].toarray().tolist() == [[1], [2], [0], [0]]
    value, blocks = numbad.value_and_sparse_hessian(lambda x, y: np.sum(x * x) * y, np.array([1.0, 2.0]), 3.0)
    assert value == 15.0 and [[block.toarray().tolist() for block in row] for row in blocks] == [
        [[[6, 0], [0, 6]], [[2], [4]]],
        [[[2, 4]], [[0]]],
    ]
    listed = numbad.sparse_jacobian(lambda x, y: x * y, np.ones(2), 3.0, argnums=[1])
    assert isinstance(listed, tuple) and listed[0].toarray().tolist() == [[1.0], [1.0]]
    later = numbad.sparse_jacobian(lambda x, scale=1.0: scale * x * x, scale=2.0)
    assert later(np.array([1.0, 2.0])).data.tolist() == [4.0, 8.0]
    assert later(np.array([1.0, 2.0]), scale=3.0).data.tolist() == [6.0, 12.0]


def test_formats_and_a_structure_that_stays():
    tape = numbad.record(lambda x: x[1:] * x[:-1], X)
    for form in ("csr", "csc", "coo"):
        one, other = tape.sparse_jacobian(X, format=form), tape.sparse_jacobian(0.0 * X, format=form)
        assert one.format == form and one.nnz == other.nnz == 16 and not other.data.any()
        np.testing.assert_array_equal(one.toarray(), numbad.jacobian(lambda x: x[1:] * x[:-1], X))
        parts = one.coords if form == "coo" else (one.indices, one.indptr)
        for part, same in zip(parts, other.coords if form == "coo" else (other.indices, other.indptr), strict=True):
            np.testing.assert_array_equal(part, same)
            assert not np.shares_memory(part, same)
    one.data[:] = 0.0
    one.eliminate_zeros()
    np.testing.assert_array_equal(tape.sparse_jacobian(X).toarray(), tape.jacobian(X))
    rows, columns = tape.sparsity().structure()
    np.testing.assert_array_equal(tape.sparse_jacobian(X).data, tape.jacobian(X)[rows, columns])


def test_a_pattern_of_the_users():
    def f(x):
        return x[1:] * x[:-1]

    wide = numbad.sparse_jacobian(f, X, pattern=np.ones((8, 9)))
    assert wide.nnz == 72
    np.testing.assert_array_equal(wide.toarray(), numbad.jacobian(f, X))
    band = np.eye(8, 9)
    with pytest.raises(ValueError, match="misses 8 entries of f, the first in row 0 and column 1"):
        numbad.sparse_jacobian(f, X, pattern=band)
    part = numbad.sparse_jacobian(f, X, pattern=band, check=False)
    np.testing.assert_array_equal(part.toarray(), numbad.jacobian(f, X) * band)
    with pytest.raises(ValueError, match=r"of shape \(2, 2\), the matrix of \(8, 9\)"):
        numbad.sparse_jacobian(f, X, pattern=np.eye(2))
    again = numbad.sparse_jacobian(f, X, pattern=numbad.record(f, X).sparsity())
    assert again.nnz == 16


def test_sizes_of_zero_and_no_derivative():
    assert numbad.sparse_jacobian(lambda x: x * 2.0, np.zeros(0)).shape == (0, 0)
    assert numbad.sparse_jacobian(lambda x: x[:0] * 2.0, X).shape == (0, 9)
    assert numbad.sparse_jacobian(lambda x: np.ones(3), np.zeros(0)).shape == (3, 0)
    assert numbad.sparse_hessian(lambda x: np.sum(x * x), np.zeros(0)).shape == (0, 0)
    assert numbad.sparse_jacobian(lambda x: np.ones(3) * 2.0, X).nnz == 0
    assert numbad.sparse_jacobian(lambda x: 2.0 * x, 3.0).toarray().tolist() == [[2.0]]


def test_integer_results_and_constants_have_rows_without_entries():
    for f in (lambda x: np.array([1, 2]), lambda x: np.argsort(x), lambda x: (3, np.floor(x).astype(int)), lambda x: 7):
        for found in (numbad.sparse_jacobian(f, X), numbad.jit(numbad.sparse_jacobian(f))(X)):
            assert found.nnz == 0 and found.shape[1] == 9 and found.dtype == np.float64
    mixed = numbad.sparse_jacobian(lambda x: (np.arange(2), x[:2] * 2.0, x[1], x[1]), X)
    assert mixed.toarray()[:, :3].tolist() == [[0, 0, 0], [0, 0, 0], [2, 0, 0], [0, 2, 0], [0, 1, 0], [0, 1, 0]]
    assert numbad.sparse_hessian(lambda x: 3, X).nnz == 0


@pytest.mark.parametrize("method", METHODS)
def test_a_nan_at_the_point_stays_where_it_is(method):
    at = np.array([np.nan, *X[1:]])
    found = numbad.sparse_jacobian(FUNCTIONS["slices"], at, method=method)
    assert found.nnz == 21
    np.testing.assert_array_equal(found.toarray(), numbad.jacobian(FUNCTIONS["slices"], at))


def test_wrong_input():
    with pytest.raises(OutputError, match="truth value"):
        numbad.sparse_jacobian(lambda x: x > 1.0, X)
    with pytest.raises(OutputError, match="return one number"):
        numbad.sparse_hessian(lambda x: x * x, X)
    with pytest.raises(InputError):
        numbad.sparse_jacobian(lambda x: x * x, np.arange(3))
    with pytest.raises(ValueError, match="format is 'bsr'"):
        numbad.sparse_jacobian(lambda x: x, X, format="bsr")
    with pytest.raises(ValueError, match="method is 'best'"):
        numbad.sparse_jacobian(lambda x: x, X, method="best")
    with pytest.raises(ValueError, match="structure is 'all'"):
        numbad.sparse_jacobian(lambda x: x, structure="all")
    with pytest.raises(ValueError, match="for symmetric matrices"):
        numbad.sparse_jacobian(lambda x: x, X, method="star")
    with pytest.raises(ValueError, match="for symmetric matrices"):
        numbad.sparse_jacobian(lambda x: x, X, method="acyclic")
    with pytest.raises(TypeError, match="sparse_jacobian takes format itself"):
        numbad.sparse_jacobian(lambda x, format: x, X, format="csc")
    with pytest.raises(TypeError, match="takes the function first"):
        numbad.sparse_jacobian(X, lambda x: x)
    with pytest.raises(RecordingError, match="called while another function is recorded"):
        numbad.gradient(lambda x: np.sum(numbad.sparse_jacobian(lambda z: z * z, x).data), X)
    with pytest.raises(OutputError, match="form a matrix"):
        numbad.record(lambda x: x, X).sparse_hessian(X)
    with pytest.raises(ValueError, match="nearly a colour of its own"):
        colours = prepared.choose_colouring
        try:
            prepared.choose_colouring = refuse
            numbad.sparse_jacobian(lambda x: np.linalg.inv(np.diag(x)), X, method="rows")
        finally:
            prepared.choose_colouring = colours


def refuse(pattern, kind="auto"):
    """Raise what dense patterns raise."""
    raise prepared.Uncoloured


def test_tapes_stop_at_guards_and_are_right_on_either_method():
    def f(x):
        return x * x if x[0] > 0 else x[::-1]

    def g(x):
        return np.linalg.inv(np.diag(x)) if x[0] > 0 else x[::-1]

    for function in (f, g):
        tape = numbad.record(function, X)
        found, dense = tape.sparse_jacobian(X + 1.0), np.reshape(tape.jacobian(X + 1.0), (-1, 9))
        np.testing.assert_allclose(found.toarray(), dense)
        with pytest.raises(BranchError):
            tape.sparse_jacobian(-X)


def test_a_rule_of_the_users_need_not_be_symmetric():
    @numbad.custom_vjp
    def twice(x, y):
        return x * y

    twice.defvjp(lambda x, y: (x * y, (x, y)), lambda kept, bar: (bar * kept[1] * 2.0, bar * 0.0))

    def f(x):
        return twice(x[0], x[1])

    for method in ("auto", "columns"):
        np.testing.assert_array_equal(
            numbad.sparse_hessian(f, X[:2], method=method).toarray(), numbad.hessian(f, X[:2])
        )
    for method in ("star", "acyclic"):
        with pytest.raises(ValueError, match="need not be symmetric"):
            numbad.sparse_hessian(f, X[:2], method=method)


def chained(x):
    """Return a function whose second derivatives are a band of five, in an order that hides it, and a dense row."""
    y = x[np.argsort(np.sin(np.arange(x.size)), kind="stable")]
    return np.sum(np.exp(0.1 * y[2:] * y[:-2]) * y[1:-1]) + x[0] * np.sum(x**2)


@pytest.mark.parametrize("count", [5, 9, 60, 300])
def test_trees_by_substitution(count):
    x = np.random.default_rng(count).uniform(0.5, 1.5, count)
    dense = numbad.hessian(chained, x)
    for method in ("acyclic", "star"):
        found = numbad.sparse_hessian(chained, x, method=method)
        np.testing.assert_allclose(found.toarray(), dense, rtol=1e-12, atol=1e-12)
    close = {"rtol": 1e-4, "atol": 1e-4}
    found = numbad.sparse_hessian(chained, x.astype(np.float32), method="acyclic")
    np.testing.assert_allclose(found.toarray(), dense, **close)


def test_substitution_spreads_no_infinity():
    def f(x):
        return np.sum(x[1:] * x[:-1] * x[1:]) + np.sum(np.sqrt(x[:3]) * x[3])

    at = np.array([0.0, *X[1:]])
    with np.errstate(all="ignore"):
        dense = numbad.hessian(f, at)
        assert np.isinf(dense).sum() == 3
        found = numbad.sparse_hessian(f, at, method="acyclic").toarray()
    np.testing.assert_allclose(found, dense, rtol=1e-12, atol=1e-12)


def test_a_damaged_substitution_is_noticed(monkeypatch):
    whole = colouring.by_trees

    def damaged(pattern):
        found = whole(pattern)
        assert len(found.steps)
        found.steps[0, 1] = found.steps[0, 0]
        return found

    monkeypatch.setattr(colouring, "by_trees", damaged)
    x = np.random.default_rng(0).uniform(0.5, 1.5, 20)
    with pytest.raises(AssertionError):
        np.testing.assert_allclose(
            numbad.sparse_hessian(chained, x, method="acyclic").toarray(), numbad.hessian(chained, x), rtol=1e-9
        )


def test_threads_share_a_tape():
    tape = numbad.record(lambda x: np.exp(x[1:]) * x[:-1], np.ones(400))
    points = [np.random.default_rng(k).normal(size=400) for k in range(8)]
    expected = [numbad.jacobian(lambda x: np.exp(x[1:]) * x[:-1], x) for x in points]
    wrong = []

    def run(k):
        for _ in range(50):
            if not np.allclose(tape.sparse_jacobian(points[k]).toarray(), expected[k], rtol=1e-12):
                wrong.append(k)

    threads = [threading.Thread(target=run, args=(k,)) for k in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_a_damaged_instruction_is_noticed(monkeypatch):
    whole = entries.Entries.bind

    def damaged(self):
        if self.steps.size:
            self.steps[2] = 0
        whole(self)

    monkeypatch.setattr(entries.Entries, "bind", damaged)
    with pytest.raises(AssertionError, match="differ"):
        check_sparsity(lambda x: np.exp(np.sin(x[1:]) * x[:-1]), X)


@pytest.mark.parametrize("count", [3, 4, 5, 31, 32, 33, 1023, 1025, 2050])
def test_rows_side_by_side(count):
    random = np.random.default_rng(count)
    x, weights = random.uniform(0.5, 1.5, count), random.uniform(0.5, 1.5, count)

    def f(x):
        once = np.sin(x[::-1] * weights) * np.exp(x[0] * x)
        return np.arctan2(once[1:], once[:-1]) ** 2.5, np.sqrt(np.cumsum(once)[:3]), np.where(x > 1.0, once, x)

    def g(x):
        return np.sum(np.exp(x[1:] * x[:-1]) + np.sin(x[1:] - x[:-1] ** 2)) + np.sum(x[::2] ** 3 * x[0])

    for at in (x, x.astype(np.float32)):
        dense = np.concatenate([np.reshape(part, (-1, count)) for part in numbad.jacobian(f, at)])
        close = 1e-12 if at.dtype == np.float64 else 2e-4
        np.testing.assert_allclose(numbad.sparse_jacobian(f, at).toarray(), dense, rtol=close, atol=close)
    found = numbad.sparse_hessian(g, x, method="entries").toarray()
    np.testing.assert_allclose(found, numbad.hessian(g, x), rtol=1e-12, atol=1e-12)


def test_what_takes_entries_over_has_them_in_common():
    at = np.linspace(0.5, 2.0, 40)

    def f(x):
        once = np.sin(x) * x[::-1]
        rolled = np.roll(once, 1)  # the entries of `once`, elsewhere
        doubled = rolled[:, None] * np.ones(2)
        return once + np.roll(rolled, 2), rolled * once - rolled, np.sum(doubled * once[:, None], axis=1), -rolled

    check_sparsity(f, at)
    check_sparsity(lambda x: sum(np.sum(part**2) for part in f(x)), at, second=True)
    tape = numbad.record(lambda x: np.roll(np.roll(x * x[::-1], 3), 4), at)
    tape.sparsity()
    plain = numbad.record(lambda x: x * x[::-1], at)
    plain.sparsity()
    steps = [each.kept["sparse", False].entries.steps.size for each in (tape, plain)]
    assert steps[0] == steps[1]


@pytest.mark.parametrize("method", ["auto", "columns", "rows", "both"])
def test_matrices_too_large_for_small_indices_have_large_ones(method, monkeypatch):
    monkeypatch.setattr(patterns, "MOST_SMALL", 8)  # as if 2 ** 31 entries were met
    for form in ("csr", "csc", "coo"):
        run = numbad.jit(numbad.sparse_jacobian(FUNCTIONS["slices"], format=form, method=method))
        for at in (X, 2.0 * X):
            found = run(at)
            parts = found.coords if form == "coo" else (found.indices, found.indptr)
            assert {part.dtype for part in parts} == {np.dtype(np.int64)}
            np.testing.assert_allclose(found.toarray(), numbad.jacobian(FUNCTIONS["slices"], at), rtol=1e-12)
        assert {part.dtype for part in run.pattern.structure()} == {np.dtype(np.int64)}
    small = numbad.sparse_jacobian(lambda x: x[:3] * 2.0, X[:5], method=method)
    assert small.indices.dtype == small.indptr.dtype == np.int32


def test_results_that_are_inputs_constants_or_the_same_twice():
    for f in (lambda x: x, lambda x: (x, x), lambda x: (x[3:1:-1], 3.0, x), lambda x: (np.ones(2), x[0], x[0])):
        for transform in (numbad.sparse_jacobian, numbad.value_and_sparse_jacobian):
            for run in (transform(f), numbad.jit(transform(f))):
                found = run(X)
                found = found if transform is numbad.sparse_jacobian else found[1]
                dense = numbad.jacobian(f, X)
                dense = np.concatenate([np.reshape(part, (-1, 9)) for part in dense]) if type(dense) is tuple else dense
                np.testing.assert_array_equal(found.toarray(), dense)
                assert found.nnz == np.count_nonzero(dense)


ARRANGED = {  # entries that all vary, that vary in part, that never do, and sweeps
    "all": lambda x: x[1:] * x[:-1] * x[-1],
    "some": lambda x: np.concatenate([x[:-1] * x[1:] + x[::-1][1:], 2.0 * x[::-1], np.ones(2)]),
    "none": lambda x: 3.0 * x[::-1] - np.roll(x, 2),
    "none at all": lambda x: np.ones(3),
    "python": lambda x: np.linalg.svd(x.reshape(3, 3), compute_uv=False),
    "a root": lambda x: np.concatenate([np.sqrt(x) * x[::-1], 5.0 * x]),
}


@pytest.mark.parametrize("name", ARRANGED)
def test_entries_come_in_the_order_of_the_format(name):
    f = ARRANGED[name]
    runs = [numbad.jit(numbad.sparse_jacobian(f, format=kind)) for kind in ("csr", "csc")]
    zero = X * (np.arange(9) != 4)  # where a root has no finite slope
    with np.errstate(all="ignore"):
        for at in (X, 2.0 * X, zero, X):
            one, other = (run(at) for run in runs)
            assert other.format == "csc" and other.has_canonical_format
            np.testing.assert_array_equal(one.tocsc().indices, other.indices)
            np.testing.assert_allclose(other.data, one.tocsc().data, rtol=1e-15, atol=1e-15)
            np.testing.assert_allclose(other.toarray(), numbad.jacobian(f, at), rtol=1e-12, atol=1e-12)


def test_orders_of_entries_follow_one_another():
    tape = numbad.record(ARRANGED["some"], X)
    usual = tape.sparse_jacobian(X).data
    prepared = tape.kept["sparse", False]
    random = np.random.default_rng(2)
    for order in (random.permutation(usual.size), random.permutation(usual.size), None, None):
        assert prepared.arrange(order)
        np.testing.assert_array_equal(prepared.compute([X])[0], usual if order is None else usual[order])


def test_a_damaged_order_is_noticed(monkeypatch):
    whole = entries.Entries.arrange
    monkeypatch.setattr(entries.Entries, "arrange", lambda self, order: whole(self, np.roll(order, 1)))
    for name in ("all", "some", "none"):
        found = numbad.sparse_jacobian(ARRANGED[name], X, format="csc").toarray()
        assert np.abs(found - numbad.jacobian(ARRANGED[name], X)).max() > 0.1


def forgetting(x, weight, steps=60):
    """Return what a long loop is left with."""
    total = x[0] * 1.0
    for k in range(steps):
        total = total * weight + x[k % 3] * 2.0
    return total


LINEAR = {  # whether the derivative is the same everywhere
    "a loop": (lambda x: forgetting(x, 0.9), True),
    "a product": (lambda x: np.array([[1.0, 2.0, 0.0]]) @ x + forgetting(x, 0.5), True),
    "a weight that varies": (lambda x: forgetting(x, x[1]), False),
    "a sine": (lambda x: forgetting(x, 0.9) + np.sin(x[2]), False),
    "a product of two": (lambda x: forgetting(x, 0.9) + x @ x, False),
    "a larger one": (lambda x: forgetting(x, 0.9) + np.maximum(x[0], x[1]), False),
    "a branch": (lambda x: forgetting(x, 0.9) if x[0] > 0 else x[1] * 3.0, False),
    "python": (lambda x: forgetting(x, 0.9) + np.linalg.det(np.diag(x)), False),
}


@pytest.mark.parametrize("name", LINEAR)
def test_long_linear_programs_are_swept_once(name, monkeypatch):
    monkeypatch.setattr(prepared, "VERY_LONG", 20)
    monkeypatch.setattr(prepared.Prepared, "predict_entries", lambda self: np.inf)
    f, linear = LINEAR[name]
    at = np.array([0.5, 2.0, 1.5])
    for form in ("csr", "csc"):
        run = numbad.jit(numbad.sparse_jacobian(f, format=form))
        for point in (at, at[::-1].copy(), 3.0 * at, at):
            found = run(point)
            dense = np.reshape(numbad.jacobian(f, point), (-1, 3))
            np.testing.assert_allclose(found.toarray(), dense, rtol=1e-12)
            found.data[:] = 7.0  # the matrix is the caller's own
        assert run.path.prepared.once == linear
        assert run.path.prepared.describe().startswith("once, by ") == linear
    with_value = numbad.jit(numbad.value_and_sparse_jacobian(f))
    for point in (at, 2.0 * at):
        np.testing.assert_allclose(with_value(point)[0], f(point))


def test_which_rows_are_computed_side_by_side(monkeypatch):
    monkeypatch.setattr(entries, "FEWEST_IN_RUN", 4)
    opcodes = {op.name: op.opcode for op in REGISTRY}
    sin, add = opcodes["sin"], opcodes["add"]
    rows = [[sin, 100 + k, 10 + 2 * k, 0] for k in range(6)]  # a run, whose operand steps by two
    rows += [[sin, 106 + k, 40 + k, 0] for k in range(3)]  # too few
    rows += [[add, 109 + k, 108 + k, 5] for k in range(6)]  # each reads the result before
    rows += [[add, 115 + k, 5, 90 - k] for k in range(4)]
    rows += [[add, 130 - k, 5, 90] for k in range(6)]  # results go down
    rows += [[add, 140 + k, 139, 90] for k in range(4)] + [[add, 144, 7, 90]]
    firsts, counts = entries.find_runs(np.array(rows, np.uint32))
    assert list(zip(firsts.tolist(), counts.tolist(), strict=True)) == [(0, 6), (15, 4), (25, 4)]
    assert entries.find_runs(np.zeros((0, 4), np.uint32))[0].size == 0


@pytest.mark.parametrize("word", [OUT, A, A_STRIDE, B, B_STRIDE, COUNT, P])
def test_a_damaged_run_is_noticed(word, monkeypatch):
    monkeypatch.setattr(entries, "FEWEST_IN_RUN", 4)
    whole = entries.Entries.bind
    met = []

    def damaged(self):
        for run in self.runs:
            if run[word] >= 0 and (word not in (B, B_STRIDE) or run[B]):
                run[word] += -1 if word in (COUNT, P) else 1
                met.append(run)
        whole(self)

    monkeypatch.setattr(entries.Entries, "bind", damaged)
    with pytest.raises(AssertionError, match="differ"):
        check_sparsity(lambda x: np.arctan2(np.exp(x[1:] * x[0]), x[:-1]) * x[1:] ** 1.5, X)
    assert met


def test_damaged_constants_are_noticed(monkeypatch):
    whole = entries.Entries.bind
    for damage in ("pairs", "template"):

        def damaged(self, damage=damage):
            getattr(self, damage).reshape(-1)[:1] += 0.5
            whole(self)

        with monkeypatch.context() as patch:
            patch.setattr(entries.Entries, "bind", damaged)
            with pytest.raises(AssertionError, match="differ"):
                check_sparsity(lambda x: np.concatenate([3.0 * x[:2], x[1:] * x[:-1]]), X)


def test_partials_that_are_named_in_texts():
    found = 0
    for op in REGISTRY:
        if op.host or not op.smooth:
            continue
        at = np.array([0.3, 0.7])[: op.arity]
        tape = numbad.record(lambda *points, op=op: op(*points), *at.tolist())
        execution, _ = tape.run(tuple(at.tolist()))
        names = [None, *at.tolist(), *[None] * (2 - op.arity), float(execution.values[tape.outputs[0].address])]
        for k, (name, scale) in enumerate(scaled_partials(op)[: op.arity]):
            if name and len(tape) == 1:
                found += 1
                assert execution.partials[0, k] == pytest.approx(scale * names[name], rel=1e-14), op.name
    assert found > 6


def test_where_an_entry_is_not_finite_the_sweeps_compute_all():
    tape = numbad.record(lambda x: np.sqrt(x) * np.where(x > 1.0, x, 0.0), X)
    at = np.array([0.0, *X[1:]])
    np.testing.assert_array_equal(tape.sparse_jacobian(at).toarray(), tape.jacobian(at))
    assert tape.kept["sparse", False].lanes is not None
    np.testing.assert_array_equal(tape.sparse_jacobian(X).toarray(), tape.jacobian(X))


def test_guards_sums_and_constants_keep_their_places():
    def f(x):
        total = np.sum(x[:4] * x[4:8])
        if total > 1.0 and int(x[8]) == 2:
            return np.exp(total * x), 3.0 * x[:2] - x[1:3]
        return x

    tape = numbad.record(f, X)
    for at in (X, X + 0.01):
        dense = np.concatenate([np.reshape(part, (-1, 9)) for part in tape.jacobian(at)])
        np.testing.assert_allclose(tape.sparse_jacobian(at).toarray(), dense, rtol=1e-12)
    for at in (0.1 * X, np.concatenate([X[:8], [3.5]])):
        with pytest.raises(BranchError):
            tape.sparse_jacobian(at)


@pytest.mark.parametrize("count", [3, 63, 64, 65, 200])
def test_many_scales_and_offsets(count):
    weights = np.linspace(1.0, 2.0, count)
    x = np.linspace(0.5, 1.5, count)
    check_sparsity(lambda x: weights * x * np.roll(x, 1) + weights**2 * x, x)
    check_sparsity(lambda x: np.sum(weights * x**2 * np.roll(x, 1)), x, second=True)


def test_a_damaged_seed_is_noticed(monkeypatch):
    whole = lanes.seeds_of

    def damaged(colours, count, dtype):
        found = whole(colours, count, dtype)
        found[-1:] = 2.0
        return found

    monkeypatch.setattr(lanes, "seeds_of", damaged)
    with pytest.raises(AssertionError, match="differ"):
        check_sparsity(lambda x: np.linalg.inv(np.diag(x) + 0.1), X)


def test_check_sparsity_looks_at_trees_and_second_derivatives():
    check_sparsity(lambda p, y: (p["a"] * y, p["b"][::-1]), {"a": X[:2], "b": X[2:5]}, 2.0)
    check_sparsity(lambda p, y: np.sum(p["a"] ** 2) * y, {"a": X[:2], "b": X[2:5]}, 2.0, second=True)
    check_sparsity(lambda x: x * x, X.astype(np.float32))


def test_the_cheaper_way_is_taken():
    assert numbad.record(FUNCTIONS["slices"], X).kept == {}
    for name, kind in (("slices", "entries"), ("a loop", "entries"), ("python", "columns")):
        tape = numbad.record(FUNCTIONS[name], X)
        assert isinstance(tape.sparsity(), Pattern)
        assert tape.kept["sparse", False].method == kind
    dense = np.random.default_rng(1).normal(size=(300, 300))
    tape = numbad.record(lambda x: np.tanh(dense @ np.tanh(dense @ x)), np.ones(300))
    tape.sparsity()
    assert tape.kept["sparse", False].method == "columns"


def test_the_summary_says_what_was_prepared():
    tape = numbad.record(lambda x: np.sum(x[1:] * x[:-1] ** 2), X)
    assert "sparse" not in tape.summary()
    tape.sparse_hessian(X), tape.sparsity()
    lines = [line for line in tape.summary().splitlines() if "sparse" in line]
    assert lines[0].startswith("  sparse Jacobian: 1 x 9, 9 entries, one by one: ") and "prepared in" in lines[0]
    assert lines[1].startswith("  sparse Hessian: 9 x 9, 24 entries, one by one: ") and lines[1].endswith(" bytes")
    dense = numbad.record(lambda x: np.linalg.inv(np.diag(x)), X[:3])
    dense.sparse_jacobian(X[:3])
    assert "9 x 3, 27 entries, by 3 colours of columns" in dense.summary()
