"""`jit` of sparse derivatives: a pattern for each path, one for all, and what is said of a change."""

import copy
import pickle
import threading
import warnings

import numpy as np
import pytest
from scipy.integrate import solve_ivp
from scipy.optimize import minimize

import numbad
from numbad.errors import InputError, RecordingError

X = np.linspace(0.5, 2.0, 9)


def branches(x):
    return x * x if x[0] > 0 else x[::-1] * x[0]


def module_function(x):
    return x[1:] * x[:-1]


jacobian_of_module_function = numbad.jit(numbad.sparse_jacobian(module_function))


def test_each_path_has_its_structure_and_a_change_is_said_once():
    run = numbad.jit(numbad.sparse_jacobian(branches))
    with warnings.catch_warnings(record=True) as met:
        warnings.simplefilter("always")
        for sign in (1.0, -1.0, 1.0, -1.0):
            np.testing.assert_array_equal(run(sign * X).toarray(), numbad.jacobian(branches, sign * X))
            assert run.pattern.entries == run(sign * X).nnz == (9 if sign > 0 else 17)
    assert len(met) == 1 and "another structure (9 entries before, 17 now)" in str(met[0].message)
    assert (run.paths, run.hits) == (2, [4, 4])
    run.cache_clear()
    assert run.paths == 0


def test_the_summary_says_of_each_path_what_was_prepared():
    run = numbad.jit(numbad.sparse_jacobian(branches, structure="union"))
    with pytest.warns(UserWarning, match="another structure"):
        run(X), run(-X), run(-X)
    title, *paths = run.summary().splitlines()
    assert title == "branches: 2 recorded paths"
    assert paths[0].startswith("  9 x 9, 17 entries, one by one: ") and paths[0].endswith(" bytes; 2 runs")
    assert paths[1].startswith("  9 x 9, 9 entries, one by one: ") and "prepared in" in paths[1]


def test_one_structure_for_all_paths():
    run = numbad.jit(numbad.sparse_jacobian(branches, structure="union"))
    with pytest.warns(UserWarning, match="another structure"):
        counts = [run(sign * X).nnz for sign in (1.0, -1.0, 1.0, -1.0)]
    assert counts == [9, 25, 25, 25] or counts == [9, 24, 24, 24]
    for sign in (1.0, -1.0):
        np.testing.assert_array_equal(run(sign * X).toarray(), numbad.jacobian(branches, sign * X))
    fixed = numbad.jit(numbad.sparse_jacobian(branches, pattern=np.ones((9, 9))))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert [fixed(sign * X).nnz for sign in (1.0, -1.0)] == [81, 81]


def test_a_path_with_entries_that_a_fixed_pattern_misses_is_an_error():
    run = numbad.jit(numbad.sparse_jacobian(branches, pattern=np.eye(9)))
    np.testing.assert_array_equal(run(X).toarray(), numbad.jacobian(branches, X))
    with pytest.raises(ValueError, match="the pattern that was given misses"):
        run(-X)
    np.testing.assert_array_equal(run(2.0 * X).toarray(), numbad.jacobian(branches, 2.0 * X))
    less = numbad.jit(numbad.sparse_jacobian(branches, pattern=np.eye(9), check=False))
    np.testing.assert_array_equal(less(-X).toarray(), numbad.jacobian(branches, -X) * np.eye(9))


@pytest.mark.filterwarnings("ignore:.*takes another path")
def test_one_structure_by_columns_is_that_of_all_paths():
    def f(x):
        return x * x[0] if x[0] > 0 else np.roll(x, 1) * 2.0 + x * x

    run = numbad.jit(numbad.sparse_jacobian(f, structure="union", format="csc"))
    x = np.linspace(0.5, 1.5, 5)
    for at in (x, -x, x, 2.0 * x, -x):
        matrix = run(at)
        np.testing.assert_allclose(matrix.toarray(), numbad.jacobian(f, at), rtol=1e-12, atol=1e-12)
        assert np.array_equal(matrix.indices, matrix.tocoo().tocsc().indices)
    assert run(x).nnz == run(-x).nnz == 5 + 5 + 3


@pytest.mark.parametrize("method", ["entries", "columns", "rows", "both"])
def test_points_signatures_and_arguments_that_vary(method):
    def f(t, x, k):
        return t * x[k:] ** 2

    run = numbad.jit(numbad.sparse_jacobian(f, argnums=1, method=method))
    for t in (1.0, 2.5):
        for x in (X, X[:5], X.astype(np.float32)):
            for k in (0, 2):
                found = run(t, x, k)
                assert found.dtype == x.dtype
                np.testing.assert_allclose(found.toarray(), numbad.jacobian(f, t, x, k, argnums=1), rtol=1e-6)
    assert run.paths == 6  # t varies, k and the shapes do not


def test_values_come_along():
    run = numbad.jit(numbad.value_and_sparse_hessian(lambda x: (np.sum(x**3), x[0] + 1.0), has_aux=True))
    for x in (X, X + 1.0):
        (value, auxiliary), matrix = run(x)
        assert value == pytest.approx(np.sum(x**3)) and auxiliary == x[0] + 1.0
        np.testing.assert_allclose(matrix.toarray(), np.diag(6.0 * x), rtol=1e-14)


def test_what_the_function_takes_from_outside():
    scale = [2.0]
    run = numbad.jit(numbad.sparse_jacobian(lambda x: x * scale[0]))
    assert run(X).data[0] == 2.0
    scale[0] = 3.0
    assert run(X).data[0] == 3.0
    weights = np.ones(9)
    run = numbad.jit(numbad.sparse_jacobian(lambda x: x * weights))
    run(X)
    weights[:] = 0.0
    assert run(X).nnz == 0


def test_methods_copies_and_pickles():
    class Model:
        def __init__(self, scale):
            self.scale = scale

        def value(self, x):
            return self.scale * x * x

        jacobian = numbad.jit(numbad.sparse_jacobian(value, argnums=1))

        from_the_end = numbad.jit(numbad.sparse_jacobian(value, argnums=(-1,)))
        by_itself = numbad.jit(numbad.sparse_jacobian(value))

    assert [Model(s).jacobian(X).data[0] for s in (1.0, 2.0)] == [1.0, 2.0]
    assert Model(3.0).from_the_end(X)[0].data[0] == 3.0
    with pytest.raises(InputError, match="whose argument 0 is the instance"):
        Model(1.0).by_itself(X)
    run = jacobian_of_module_function
    assert copy.deepcopy(run) is run
    again = pickle.loads(pickle.dumps(run))
    np.testing.assert_array_equal(again(X).toarray(), run(X).toarray())


def test_it_is_not_differentiated_further():
    run = numbad.jit(numbad.sparse_jacobian(module_function))
    with pytest.raises(RecordingError, match="called while another function is recorded"):
        numbad.gradient(lambda x: np.sum(run(x).data), X)
    with pytest.raises(AttributeError, match="when it has been called"):
        run.pattern  # noqa: B018


def test_threads_take_turns():
    run = numbad.jit(numbad.sparse_jacobian(lambda x: np.exp(x[1:]) * x[:-1]))
    wrong = []

    def work(seed):
        x = np.random.default_rng(seed).normal(size=50)
        expected = numbad.jacobian(lambda x: np.exp(x[1:]) * x[:-1], x)
        wrong.extend(seed for _ in range(30) if not np.allclose(run(x).toarray(), expected, rtol=1e-12))

    threads = [threading.Thread(target=work, args=(k,)) for k in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong and run.paths == 1


def test_a_stiff_solver_and_an_optimiser():
    def heat(t, u):
        return 40.0 * (np.roll(u, 1) - 2.0 * u + np.roll(u, -1)) + u * (1.0 - u**2)

    start = np.sin(np.linspace(0.0, 2.0 * np.pi, 40, endpoint=False))
    plain = solve_ivp(heat, (0.0, 1.0), start, method="Radau", rtol=1e-8)
    jacobian = numbad.jit(numbad.sparse_jacobian(heat, argnums=1))
    sparse = solve_ivp(heat, (0.0, 1.0), start, method="Radau", rtol=1e-8, jac=jacobian)
    np.testing.assert_allclose(sparse.y[:, -1], plain.y[:, -1], atol=1e-6)

    def chain(x):
        return np.sum(100.0 * (x[1:] - x[:-1] ** 2) ** 2 + (1.0 - x[:-1]) ** 2)

    found = minimize(
        chain,
        np.full(20, 0.5),
        method="trust-constr",
        jac=numbad.jit(numbad.grad(chain)),
        hess=numbad.jit(numbad.sparse_hessian(chain)),
        options={"maxiter": 500, "gtol": 1e-9},
    )
    np.testing.assert_allclose(found.x, 1.0, atol=1e-5)


def test_many_paths_are_not_kept_without_end():
    def f(x):
        return x * float(int(x[0]))

    run = numbad.jit(numbad.sparse_jacobian(f))
    with pytest.warns(UserWarning, match="different paths"):
        for k in range(66):
            assert run(np.array([k + 0.5, 1.0])).toarray()[1, 1] == k
    assert run.paths == 64
