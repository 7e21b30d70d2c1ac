"""Patterns of tapes: they hold each nonzero, and no more than algebra asks for; every kind of row."""

import numpy as np
import pytest
import scipy.special
from scipy.sparse import csr_array

import numbad
from numbad.sparsity import elements, patterns
from numbad.sparsity.matrices import pattern_of
from numbad.testing import check_sparsity

X = np.linspace(0.5, 2.0, 9)
BAND = np.triu(np.tril(np.ones((9, 9)), 2), -1)


def lower(x):
    """Return running sums, one by one."""
    found = [x[0]]
    for k in range(1, 9):
        found.append(found[-1] * 0.5 + x[k])
    return numbad.array(found)


KNOWN = {  # a function of nine numbers, and how many entries its Jacobian has
    "elementwise": (lambda x: np.exp(x) * x, 9),
    "broadcast": (lambda x: x[:3, None] * x[None, :4], 3 * 4 * 2 - 3),
    "slices": (lambda x: x[:-2] + x[1:-1] * x[2:], 21),
    "steps": (lambda x: x[::-2] * 2.0, 5),
    "gather": (lambda x: x[[0, 0, 3]] * x[[1, 2, 4]], 6),
    "sum": (lambda x: np.sum(x * x), 9),
    "sums of rows": (lambda x: np.sum(x.reshape(3, 3) ** 2, axis=1), 9),
    "sums of columns": (lambda x: np.sum(x.reshape(3, 3) ** 2, axis=0), 9),
    "product with a band": (lambda x: BAND @ x, int(BAND.sum())),
    "products of matrices": (lambda x: x.reshape(3, 3) @ x.reshape(3, 3), 9 * 5),
    "concatenation": (lambda x: np.concatenate([x[:2], x[5:] * x[0], np.ones(2)]), 2 + 8),
    "windows": (lambda x: np.lib.stride_tricks.sliding_window_view(x, 3).sum(axis=1), 21),
    "convolution": (lambda x: np.convolve(x, np.ones(3), "valid"), 21),
    "maxima of rows": (lambda x: np.max(x.reshape(3, 3), axis=1), 9),
    "products of rows": (lambda x: np.prod(x.reshape(3, 3), axis=1), 9),
    "running sums of all": (lambda x: np.cumsum(x), 45),
    "running products of rows": (lambda x: np.cumprod(x.reshape(3, 3), axis=1), 18),
    "running maxima": (lambda x: np.maximum.accumulate(x), 45),
    "sorted rows": (lambda x: np.sort(x.reshape(3, 3), axis=1), 27),
    "interpolation": (lambda x: np.interp(x, np.arange(4.0), np.arange(4.0) ** 2), 9),
    "a sparse matrix": (lambda x: csr_array(np.eye(9, k=1) + np.eye(9)) @ x, 17),
    "a sparse matrix times a matrix": (lambda x: csr_array(np.eye(3)[[0, 0, 1]]) @ x.reshape(3, 3), 9),
    "a stack of inverses": (lambda x: np.linalg.inv(x[:2, None, None] * np.eye(3) + 0.1), 18),
    "a stack of systems": (lambda x: np.linalg.solve(np.eye(3) * x[:3, None, None] + 0.1, np.ones((3, 3, 1))), 9),
    "a convolution in the middle": (lambda x: np.convolve(x, np.ones(3), "same"), 25),
    "a convolution with itself": (lambda x: np.convolve(x[:3], x[3:6], "full"), 2 * 9),
    "roll": (lambda x: np.roll(x, 1) - x, 18),
    "differences": (lambda x: np.diff(x**2), 16),
    "running sums": (lower, 45),
    "scatter": (lambda x: np.bincount([0, 1, 1, 0, 2, 2, 2, 1, 0], x), 9),
    "both sides": (lambda x: np.where(x > 1.0, x, x[::-1]), 17),
    "maximum": (lambda x: np.maximum(x, np.roll(x, 1)), 18),
    "a constant choice": (lambda x: np.where(np.arange(9) > 4, x, np.roll(x, 1)), 9),
    "zero as a factor": (lambda x: x * np.array([0.0, 1, 0, 2, 0, 3, 0, 4, 0]), 4),
    "times the number zero": (lambda x: x * 0.0 + x[0], 9),
    "a value that is zero": (lambda x: (x - X) * np.roll(x, 1), 18),
    "steps pass nothing": (lambda x: np.floor(x) * np.roll(x, 1), 9),
    "stopped": (lambda x: numbad.stop_gradient(x) * np.roll(x, 1), 9),
    "the inputs": (lambda x: x, 9),
    "constants": (lambda x: np.ones(3), 0),
    "outputs twice": (lambda x: (x[0], x[0], x[1:3]), 4),
    "an op of SciPy's": (lambda x: scipy.special.jv(1.0, x[:4]), 4),
}


@pytest.mark.parametrize("name", KNOWN)
def test_known_counts(name):
    f, count = KNOWN[name]
    pattern = numbad.record(f, X).sparsity()
    dense = numbad.jacobian(f, X + 0.01)
    parts = [np.reshape(part, (-1, 9)) for part in (dense if isinstance(dense, tuple) else (dense,))]
    assert pattern.contains(np.concatenate(parts))
    assert pattern.entries == count


def test_a_python_kernel_depends_on_all_that_it_reads():
    pattern = numbad.record(lambda x: np.linalg.inv(np.diag(x[:3])) @ x[6:], X).sparsity()
    assert pattern.to_scipy().toarray()[:, :3].all() and not pattern.to_scipy().toarray()[:, 3:6].any()


@pytest.mark.parametrize("count", [9, 3000])
def test_results_that_depend_on_many_elements_cost_no_product_of_their_numbers(count):
    x = np.linspace(0.0, 1.0, count) ** 2
    two = np.ones((count, 2))
    for f, entries in (
        (lambda x: np.sort(two @ x[:2]), 2 * count),
        (lambda x: np.interp(np.full(count, 0.3), np.arange(count) * x[0], np.arange(1.0, count + 1.0)), count),
        (lambda x: np.sort(x[:9].reshape(3, 3), axis=1), 27),
    ):
        assert numbad.record(f, x).sparsity().entries == entries


def test_large_products_are_not_taken_apart(monkeypatch):
    full = np.random.default_rng(0).normal(size=(4, 3, 3))

    def f(x):
        y = x.reshape(3, 3)
        return full @ y, np.einsum("aij,jk->ik", full, y), y @ y, np.einsum("i,j,i->", x, x, x), full @ x[:3], x @ x

    usual = numbad.record(f, X).sparsity()
    monkeypatch.setattr(elements, "MOST_TERMS", 5)
    pattern = numbad.record(f, X).sparsity()
    np.testing.assert_array_equal(pattern.indices, usual.indices)
    np.testing.assert_array_equal(pattern.indptr, usual.indptr)
    check_sparsity(f, X)
    check_sparsity(lambda x: np.sum((full[0] @ x.reshape(3, 3)) ** 2) + x @ x, X, second=True)


def test_rows_that_are_alike_are_taken_apart_together(monkeypatch):
    def f(x):
        y = x[:4]
        for k in range(5):
            y = np.tanh(y * 0.9) + BAND[:4, :4] @ (x[k : k + 4] * y[::-1]) + np.sum(y[k % 3 :] ** 2)
        return y

    usual = numbad.record(f, X).sparsity()
    assert usual.entries == 31  # x[8] is not read, and x[7] not by the first result
    check_sparsity(f, X)

    def no_keys(table):  # as if all keys were the same by chance
        _, which = np.unique(table, axis=0, return_inverse=True)
        return [np.flatnonzero(which == k) for k in range(which.max() + 1)]

    table = np.array([[1, 2], [1, 3], [1, 2], [0, 2]])
    assert sorted(part.tolist() for part in elements.groups_of(table)) == [[0, 2], [1], [3]]
    monkeypatch.setattr(elements, "groups_of", no_keys)
    np.testing.assert_array_equal(numbad.record(f, X).sparsity().indices, usual.indices)


@pytest.mark.parametrize("count", [0, 1, 2, 3, 4, 63, 64, 65, 200])
def test_few_rows_are_compared_as_many_are(count):
    table = np.random.default_rng(count).integers(0, 4, (count, 2))
    groups = elements.groups_of(table)
    assert sorted(np.concatenate([np.zeros(0, int), *groups]).tolist()) == list(range(count))
    for group in groups:
        assert (table[group] == table[group[0]]).all()
        assert (np.diff(group) > 0).all()
    assert len({tuple(row) for row in table.tolist()}) == len(groups)


@pytest.mark.parametrize(("count", "length"), [(1, 9), (3, 9), (4, 3), (12, 1), (12, 9)])
def test_rows_of_loops_are_put_where_they_belong(count, length):
    at = np.linspace(0.5, 2.0, 12)

    def f(x):
        y, found = x[:length] * 1.0, []
        for k in range(count):
            y = np.sin(y) * x[k : k + 1] + np.sum(y * y)
            found.append(y)
        return np.concatenate(found)

    check_sparsity(f, at)
    matrix = numbad.sparse_jacobian(f, at)
    np.testing.assert_array_equal(matrix.toarray() != 0, numbad.jacobian(f, at) != 0)


SECOND = {
    "sum of squares": (lambda x: np.sum(x**2), 9),
    "linear": (lambda x: np.sum(3.0 * x), 0),
    "chain": (lambda x: np.sum(x[1:] * x[:-1]), 16),
    "rosenbrock": (lambda x: np.sum((x[1:] - x[:-1] ** 2) ** 2), 25),
    "square of a sum": (lambda x: np.sum(x) ** 2, 81),
    "partially separable": (lambda x: np.exp(x[0] + x[1]) + x[2] * x[3] + x[4], 4 + 2),
    "a quotient": (lambda x: x[0] / x[1], 3),
    "arrowhead": (lambda x: np.sum(x**4) + x[0] * np.sum(x), 9 + 16),
    "a constant": (lambda x: 1.5, 0),
}


@pytest.mark.parametrize("name", SECOND)
def test_known_counts_of_second_derivatives(name):
    f, count = SECOND[name]
    pattern = numbad.record(f, X).sparsity(second=True)
    assert pattern.contains(numbad.hessian(f, X))
    assert pattern.entries == count and pattern.symmetric


ALL = [(name, False, *KNOWN[name]) for name in KNOWN] + [(name, True, *SECOND[name]) for name in SECOND]


def test_there_are_fifty_problems():
    assert len(ALL) >= 50


@pytest.mark.parametrize(("second", "f", "count"), [part[1:] for part in ALL], ids=[part[0] for part in ALL])
def test_no_entry_is_zero_at_all_points(second, f, count):
    """The over-estimate is 1.0: each entry is met as a nonzero somewhere on the path, and there are no others."""
    met = 0.0
    for seed in range(60):
        x = np.random.default_rng(seed).uniform(0.3, 2.2, 9)
        found = numbad.hessian(f, x) if second else numbad.jacobian(f, x)
        parts = [np.reshape(part, (-1, 9)) for part in (found if isinstance(found, tuple) else (found,))]
        met = met + (np.concatenate(parts) != 0.0)
        if np.count_nonzero(met) == count:
            break
    assert np.count_nonzero(met) == count


def test_the_pattern_does_not_depend_on_values():
    def f(x):
        return x[1:] * x[:-1]

    one, other = numbad.record(f, X).sparsity(), numbad.record(f, np.full(9, np.nan)).sparsity()
    np.testing.assert_array_equal(one.indices, other.indices)
    assert numbad.record(f, np.zeros(9)).sparsity().entries == 16


def test_long_loops_of_numbers_cost_what_their_rows_cost():
    def skips(x):
        total = x[0]
        for k in range(2, x.size, 2):
            total = total + x[k] ** 2  # sets that never become one interval
        return total

    assert numbad.record(skips, np.ones(20_001)).sparsity().entries == 10_001


def test_more_memory_is_taken_when_sets_need_it():
    def f(x):
        return np.concatenate([x[::2] + x[1::2].sum(), (np.eye(400)[::3] @ x) ** 2])

    x = np.linspace(1.0, 2.0, 400)
    pattern = numbad.record(f, x).sparsity()
    assert pattern.contains(numbad.jacobian(f, x)) and pattern.entries == 200 * 201 + 134


def test_what_would_not_fit_is_said_before_it_is_tried(monkeypatch):
    monkeypatch.setattr(patterns, "available_memory", lambda: 1e6)
    monkeypatch.setattr(patterns, "COMPARED_MEMORY", 0)
    with pytest.raises(MemoryError, match="a pattern of 1,000 x 1,000 with 1,000,000 entries need"):
        numbad.record(lambda x: np.full(1000, 2.0) * np.sum(x), np.ones(1000)).sparsity()


def test_structure_missing_and_wide_indices():
    pattern = numbad.record(lambda x: x[1:] * x[:-1], np.ones(3)).sparsity()
    rows, columns = pattern.structure()
    assert rows.tolist() == [0, 0, 1, 1] and columns.tolist() == [0, 1, 1, 2] and rows.dtype == np.int32
    assert [part.tolist() for part in pattern.missing(np.ones((2, 3)))] == [[0, 1], [2, 0]]
    assert patterns.index_dtype(2**31 - 1) is np.int32 and patterns.index_dtype(5, 2**31) is np.int64
    assert pattern_of(np.array([4, 2**33 + 1]), (5, 2**33)).indices.dtype == np.int64
    assert repr(pattern) == "<pattern of 2 x 3 with 4 entries>"


def test_a_dropped_entry_is_noticed(monkeypatch):
    def f(x):
        return x[1:] * x[:-1]

    whole = patterns.Analysis.pattern

    def without_one(self):
        found = whole(self)
        return patterns.Pattern(found.shape, np.minimum(found.indptr, found.entries - 1), found.indices[:-1])

    monkeypatch.setattr(patterns.Analysis, "pattern", without_one)
    assert not numbad.record(f, X).sparsity().contains(numbad.jacobian(f, X))
    with pytest.raises(AssertionError, match="misses"):
        numbad.testing.check_sparsity(f, X)
