"""One tape at many points: against the tape point by point, on every kind of row, and on other paths."""

import threading
import tracemalloc
from pathlib import Path

import numpy as np
import optree
import pytest

import numbad
from numbad.errors import BranchError, InputError, OutputError
from numbad.kernels.machinecode import HAVE_LIBMVEC
from numbad.ops.definition import BY_NAME, REGISTRY
from numbad.tape.layout import ADD, CONTRACT, GATHER, GUARD, GUARD_VALUE, SCATTER
from numbad.tapes import points
from numbad.tapes.lowering import lower

HERE = Path(__file__).name

RANDOM = np.random.default_rng(5)
MATRIX = RANDOM.normal(size=(30, 30))
SPECIAL = np.array([0.0, -0.0, 1.0, -1.0, np.nan, np.inf, -np.inf, 1e-300, 1e300, 2.0, 0.5, -2.5])
ILL_CONDITIONED = {"hurwitz_zeta", "logaddexp", "logaddexp2", "digamma", "entr", "gamma"}  # near zeros of theirs


def polynomial(x, y):
    total = x
    for k in range(40):
        total = np.sin(total) * y + x / (k + 1.0)
    return total


def mixed(x, s):
    """Rows of most kinds: guards, elementwise rows, sums, a product with a matrix, gathers and scatters."""
    y = MATRIX @ x
    if y[0] > 1e9:
        return s
    z = np.where(y > 0.0, np.sin(y), y * s)
    z[2:4] = x[0] * 3.0
    picked = x[np.array([3, 1, 1, 7])] * s
    return np.sum(z[:5] * y[5:10]) / np.sum(x[::2] ** 2) + z[3] * s + np.sum(x[:3, None] * y[:4]) + picked.sum()


def pieces(x, a):
    """Six paths."""
    if x > 1.0:
        return x * a
    if x < -1.0:
        return np.sin(x) + a
    t = x
    while t < 3.0 * a:
        t = t * 1.5 + 0.1 + a
    return t * a


def assert_trees_close(found, expected, rtol=1e-12):
    assert optree.tree_structure(found) == optree.tree_structure(expected)
    for one, other in zip(optree.tree_leaves(found), optree.tree_leaves(expected), strict=True):
        largest = np.max(np.abs(other), initial=0.0)  # sums cancel
        np.testing.assert_allclose(one, other, rtol=rtol, atol=rtol * largest)


def assert_agrees(tape, arguments, shared=()):
    """Compare the map and the map of gradients with the tape run at each point."""
    values, gradients = tape.value_and_gradient_map(*arguments)
    np.testing.assert_array_equal(tape.map(*arguments), values)
    assert_trees_close(tape.gradient_map(*arguments), gradients, rtol=0.0)
    for k in range(len(values)):
        given = [a if j in shared else a[k] if a[k].ndim else a.dtype.type(a[k]) for j, a in enumerate(arguments)]
        value, gradient = tape.value_and_gradient(*given)
        np.testing.assert_allclose(values[k], value, rtol=1e-12)
        assert_trees_close(optree.tree_map(lambda part, k=k: part[k], gradients), gradient)


# ---------------------------------------------------------------- every row


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("op", REGISTRY, ids=lambda op: op.name)
def test_every_op_agrees_with_the_scalar_machine(op, dtype):
    special = SPECIAL if dtype is np.float64 else np.clip(SPECIAL, -1e30, 1e30)
    special[np.isinf(SPECIAL)] = SPECIAL[np.isinf(SPECIAL)]
    if op.arity == 1:
        arguments = [np.concatenate([special, RANDOM.uniform(-2.0, 2.0, 24)]).astype(dtype)]
    else:
        first, second = np.meshgrid(special, special)
        more = RANDOM.uniform(0.1, 2.0, (2, 24))
        arguments = [np.concatenate([part.ravel(), extra]).astype(dtype) for part, extra in zip((first, second), more)]
    if op.name == "hurwitz_zeta":  # elsewhere its float32 kernel overflows on the way
        arguments = [RANDOM.uniform(1.1, 12.0, 40).astype(dtype), RANDOM.uniform(0.1, 2.0, 40).astype(dtype)]
    tape = numbad.record(lambda *operands: op(*operands) * dtype(3.0), *[dtype(0.3)] * op.arity)
    with np.errstate(all="ignore"):
        values, gradients = tape.value_and_gradient_map(*arguments)
        gradients = gradients if op.arity == 2 else (gradients,)
        assert values.dtype == gradients[0].dtype == dtype
        expected = [tape.value_and_gradient(*[part[k] for part in arguments]) for k in range(len(values))]
    tolerance = (1e-4 if dtype is np.float32 else 1e-13) if op.name not in ILL_CONDITIONED else 0.02
    np.testing.assert_allclose(values, [value for value, _ in expected], rtol=tolerance)
    for j, found in enumerate(gradients):
        wanted = [gradient[j] if op.arity == 2 else gradient for _, gradient in expected]
        np.testing.assert_allclose(found, wanted, rtol=tolerance)


def test_rows_of_all_kinds_agree():
    tape = numbad.record(mixed, np.cos(np.arange(30.0)), 1.5)
    assert {ADD, CONTRACT, GATHER, GUARD} <= set(tape.code[:, 0].tolist())
    assert_agrees(tape, (RANDOM.normal(size=(70, 30)), np.linspace(1.0, 1.9, 70)))


def test_rows_of_derivatives_agree():
    """Emitted rows scatter, scale, and step through memory in all ways."""

    def slope(x, s):
        return np.sum(numbad.grad(mixed)(x, s) * np.arange(30.0))

    tape = numbad.record(slope, np.cos(np.arange(30.0)), 1.5)
    assert SCATTER in tape.code[:, 0]
    assert_agrees(tape, (RANDOM.normal(size=(40, 30)), np.linspace(1.0, 1.9, 40)))


@pytest.mark.parametrize("order", ["C", "F"])
def test_large_inputs_in_any_memory_order(order):
    weights = RANDOM.normal(size=(80, 70))
    x = np.asarray(RANDOM.normal(size=(80, 70)), order=order)
    tape = numbad.record(lambda x, a: np.sum(np.sin(x) * weights * a) + x[1, 2] * x[0, 3], x, 1.0)
    many = RANDOM.normal(size=(3, 80, 70))
    assert_agrees(tape, (many, np.array([1.0, 2.0, -1.0])))
    assert_agrees(tape, (np.asfortranarray(many), np.array([1.0, 2.0, -1.0])))
    assert_agrees(tape, (many.transpose(0, 2, 1).copy().transpose(0, 2, 1)[::-1], np.array([1.0, 2.0, -1.0])))


def test_rows_that_python_computes_run_point_by_point():
    def f(x):
        return np.linalg.eigvalsh(x @ x.T)[0] + x[0, 0]

    tape = numbad.record(f, RANDOM.normal(size=(3, 3)))
    assert points.point_program(tape) is None
    assert_agrees(tape, (RANDOM.normal(size=(4, 3, 3)),))


def test_a_tape_too_large_for_lanes_runs_point_by_point(monkeypatch):
    monkeypatch.setattr(points, "MOST_BYTES", 1000)
    tape = numbad.record(mixed, np.cos(np.arange(30.0)), 1.5)
    assert points.point_program(tape) is None
    assert_agrees(tape, (RANDOM.normal(size=(5, 30)), np.linspace(1.0, 1.9, 5)))


def test_large_constants_are_what_they_were_when_the_tape_was_recorded():
    matrix = np.eye(40)
    tape = numbad.record(lambda x: np.sum(matrix @ x), np.ones(40))
    assert tape.map(np.ones((2, 40))).tolist() == [40.0, 40.0]
    matrix *= 2.0
    assert tape.map(np.ones((2, 40))).tolist() == [40.0, 40.0]


def test_lowered_rows_are_scalar_rows():
    tape = numbad.record(lambda x: np.sum(x * 2.0), np.ones(3))
    opcodes = [row[0] for row in lower(tape).code.tolist()]
    multiply = BY_NAME["multiply"].opcode
    assert opcodes.count(multiply) == 3
    assert len(opcodes) == 3 + 1 + 3  # products; the sum cleared and added to


# ---------------------------------------------------------------- policies


def test_zero_times_anything_is_zero():
    tape = numbad.record(lambda x: np.where(x > 0.0, np.sqrt(x), 0.0), 1.0)
    assert tape.gradient_map(np.array([0.0, 4.0, -1.0])).tolist() == [0.0, 0.25, 0.0]


def test_ties_are_split():
    tape = numbad.record(lambda x, y: np.maximum(x, y) + np.abs(x), 1.0, 2.0)
    first, second = tape.gradient_map(np.array([0.0, 1.0, 3.0]), np.array([0.0, 1.0, 2.0]))
    assert first.tolist() == [0.5, 1.5, 2.0]
    assert second.tolist() == [0.5, 0.5, 0.0]


def test_an_operand_used_twice_and_an_output_used_again():
    tape = numbad.record(lambda x: (x * x) * (x * x) + x, 1.0)
    assert tape.gradient_map(np.array([1.0, 2.0])).tolist() == [5.0, 33.0]
    tape = numbad.record(lambda x: [x * 3.0, np.exp(x * 3.0)][0], 1.0)  # a dead row reads the result
    assert tape.gradient_map(np.array([1.0, 2.0])).tolist() == [3.0, 3.0]


def test_an_input_without_influence_and_a_constant_have_zero_gradients():
    tape = numbad.record(lambda x, y: x * 2.0, 1.0, np.ones(2))
    assert tape.gradient_map(np.ones(3), np.ones(2))[1].tolist() == [[0.0, 0.0]] * 3
    assert numbad.record(lambda x: 7.0, 1.0).value_and_gradient_map(np.ones(2))[1].tolist() == [0.0, 0.0]
    assert numbad.record(lambda x: x, 1.0).value_and_gradient_map(np.array([4.0]))[1].tolist() == [1.0]


# ---------------------------------------------------------------- arguments and results


def test_trees_shared_leaves_and_several_results():
    def f(p, scale):
        return {"sum": p["a"].sum() * scale, "all": (p["a"] * scale, p["b"] > 1.0), "seven": 7.0}

    tape = numbad.record(f, {"a": np.ones(3), "b": 2.0}, 2.0)
    a, b = RANDOM.normal(size=(5, 3)), np.array([0.0, 1.0, 2.0, 3.0, np.nan])
    found = tape.map({"a": a, "b": b}, 2.0)
    np.testing.assert_allclose(found["sum"], 2.0 * a.sum(axis=1), rtol=1e-14)
    np.testing.assert_array_equal(found["all"][0], 2.0 * a)
    assert found["all"][1].tolist() == [False, False, True, True, False]
    assert found["seven"].tolist() == [7.0] * 5
    assert all(leaf.flags.writeable for leaf in optree.tree_leaves(found))
    with pytest.raises(OutputError, match="one number"):
        tape.gradient_map({"a": a, "b": b}, 2.0)


def test_shared_leaves_have_a_gradient_for_each_point():
    tape = numbad.record(lambda x, w: np.sum(w * x), np.ones(2), np.ones(2))
    first, second = tape.gradient_map(np.array([[1.0, 2.0], [3.0, 4.0]]), np.array([5.0, 6.0]))
    assert first.tolist() == [[5.0, 6.0], [5.0, 6.0]]
    assert second.tolist() == [[1.0, 2.0], [3.0, 4.0]]


def test_gradients_of_some_arguments():
    tape = numbad.record(mixed, np.cos(np.arange(30.0)), 1.5)
    arguments = RANDOM.normal(size=(40, 30)), np.linspace(1.0, 1.9, 40)
    first, second = tape.gradient_map(*arguments)
    assert_trees_close(tape.gradient_map(*arguments, argnums=1), second)
    assert_trees_close(tape.gradient_map(*arguments, argnums=(1, 0)), (second, first))
    assert_trees_close(tape.gradient_map(*arguments, argnums=(0,)), (first,))
    with pytest.raises(ValueError, match="argument 2"):
        tape.gradient_map(*arguments, argnums=2)


@pytest.mark.parametrize("count", [0, 1, 31, 32, 33, 64, 65, 1000])
def test_any_number_of_points(count):
    x = np.linspace(-2.0, 2.0, count)
    tape = numbad.record(polynomial, 0.3, 0.7)
    values, (slopes, _) = tape.value_and_gradient_map(x, 0.7)
    assert values.shape == slopes.shape == (count,)
    for k in range(0, count, 37):
        value, gradient = tape.value_and_gradient(float(x[k]), 0.7)
        assert values[k] == pytest.approx(value, rel=1e-12)
        assert slopes[k] == pytest.approx(gradient[0], rel=1e-11)


def test_mixed_precision_arguments():
    tape = numbad.record(lambda x, y: np.sum(x) * y[0], np.ones(2, np.float32), np.ones(1))
    gradients = tape.gradient_map(np.ones((3, 2), np.float32), np.full((3, 1), 2.0))
    assert [part.dtype for part in gradients] == [np.float32, np.float64]
    assert gradients[0].tolist() == [[2.0, 2.0]] * 3


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((1.0, np.ones(2)), "no argument"),
        ((np.ones(3), np.ones((2, 2))), r"\[2, 3\]"),
        ((np.ones((2, 2)), np.ones(2)), r"shape \(points, \)"),
        ((np.ones(2, np.float32), np.ones(2)), "float32"),
        ((np.ones(2, int), np.ones(2)), "int64"),
        ((np.ones(2) * 1j, np.ones(2)), "complex"),
        (([1.0, 2.0], np.ones(2)), "structure"),
        ((np.ones(2),), "structure"),
        ((None, np.ones(2)), "None"),
    ],
)
def test_arguments_that_do_not_fit(arguments, words):
    tape = numbad.record(lambda x, y: x * y[0], 1.0, np.ones(2))
    with pytest.raises(InputError, match=words) as caught:
        tape.map(*arguments)
    assert HERE in str(caught.value)


# ---------------------------------------------------------------- paths


def test_the_first_point_on_another_path_is_named():
    tape = numbad.record(pieces, 2.0, 1.5)
    x = np.full(1000, 2.0)
    x[[700, 941]] = -2.0
    for run in (tape.map, tape.gradient_map, tape.value_and_gradient_map):
        with pytest.raises(BranchError, match="point 700 of 1000") as caught:
            run(x, 1.5)
        assert "x > 1.0" in str(caught.value)
        assert HERE in str(caught.value)
    with pytest.raises(BranchError, match="point 3 of 4"):
        numbad.record(lambda x: x[int(x[0])], np.ones(3)).map(np.array([[1.0, 2, 3]] * 3 + [[2.0, 2, 3]]))


def test_guards_hold_for_nan():
    tape = numbad.record(lambda x: x * 2.0 if x > 0.0 else x, 1.0)
    with pytest.raises(BranchError, match="point 1 of 2"):
        tape.map(np.array([1.0, np.nan]))


@pytest.mark.usefixtures("usual_limits")
def test_rounding_at_a_branch_is_settled_by_the_scalar_machine():
    """Points whose vector sine differs in the last place are on the recorded path all the same."""
    x = np.linspace(0.1, 3.0, 2000)
    sine = numbad.record(lambda x: np.sin(np.exp(x)), 1.0)
    scalar = np.array([sine(v) for v in x.tolist()])
    assert (sine.map(x) != scalar).any() or not HAVE_LIBMVEC
    tape = numbad.record(lambda x, y: x if np.sin(np.exp(x)) == y else -x, float(x[0]), float(scalar[0]))
    values, (slopes, _) = tape.value_and_gradient_map(x, scalar)
    np.testing.assert_array_equal(values, x)
    np.testing.assert_array_equal(slopes, 1.0)


# ---------------------------------------------------------------- vmap of jit


def test_vmap_of_jit_records_each_path_once():
    x = np.linspace(-3.0, 3.0, 601)
    f = numbad.jit(pieces)
    expected = [pieces(float(v), 1.5) for v in x]
    for _ in range(2):
        np.testing.assert_allclose(numbad.vmap(f, in_axes=(0, None))(x, 1.5), expected, rtol=1e-13)
    assert f.paths == 5
    assert f.hits == [2] * 5
    f.cache_clear()
    assert f.paths == 0


@pytest.mark.parametrize("transform", [numbad.grad, numbad.value_and_grad])
@pytest.mark.parametrize("argnums", [0, 1, (1, 0)])
def test_vmap_of_a_jitted_gradient(transform, argnums):
    x = np.linspace(-3.0, 3.0, 101)
    found = numbad.vmap(numbad.jit(transform(pieces, argnums)), in_axes=(0, None))(x, 1.5)
    expected = [transform(pieces, argnums)(float(v), 1.5) for v in x]
    assert_trees_close(found, optree.tree_map(lambda *parts: np.stack(parts), *expected))


def test_vmap_of_jit_agrees_with_vmap_on_trees_and_axes():
    def f(p, w):
        return (p["u"] * p["v"] + w[0], [p["u"] - 1.0]), w[1] * p["v"]

    p = {"u": RANDOM.normal(size=(3, 5)), "v": RANDOM.normal(size=5)}
    axes = {"in_axes": ({"u": 0, "v": None}, 1), "out_axes": 0}

    def g(p, w):
        return f({"u": p["u"][0], "v": p["v"][1]}, w)

    w = RANDOM.normal(size=(2, 3))
    assert_trees_close(numbad.vmap(numbad.jit(g), **axes)(p, w), numbad.vmap(g, **axes)(p, w))
    x = RANDOM.normal(size=(4, 3))
    for out_axes in (0, None):
        function = numbad.vmap(numbad.jit(lambda x, y: y * 2.0), in_axes=(0, None), out_axes=out_axes)
        assert np.shape(function(x[:, 0], 3.0)) == ((4,) if out_axes == 0 else ())


def test_vmap_of_jit_inside_other_transforms_and_on_arrays():
    sine = numbad.jit(lambda x: np.sin(x) * x)
    x = np.array([1.0, 2.0])
    np.testing.assert_allclose(numbad.grad(lambda z: np.sum(numbad.vmap(sine)(z)))(x), np.cos(x) * x + np.sin(x))
    np.testing.assert_allclose(numbad.vmap(numbad.vmap(sine))(x.reshape(1, 2)), [np.sin(x) * x])
    np.testing.assert_allclose(numbad.vmap(numbad.jit(lambda x: MATRIX @ x))(np.eye(30)), MATRIX.T)
    assert numbad.vmap(sine)(np.empty(0)).shape == (0,)
    with pytest.raises(InputError, match="lengths"):
        numbad.vmap(numbad.jit(pieces))(np.ones(2), np.ones(3))


def test_vmap_of_jit_sees_what_changed_outside():
    factor = [2.0]
    f = numbad.jit(lambda x: x * factor[0])
    assert numbad.vmap(f)(np.ones(2)).tolist() == [2.0, 2.0]
    factor[0] = 5.0
    assert numbad.vmap(f)(np.ones(2)).tolist() == [5.0, 5.0]


def test_vmap_of_jit_limits_its_paths_and_wants_one_structure():
    def many(x):
        for k in range(200):
            if x < k:
                return x * k
        return x

    points = np.arange(300.0)
    with pytest.warns(UserWarning, match="64 different paths") as caught:
        found = numbad.vmap(numbad.jit(many))(points)
    assert "if x < k" in str(caught[0].message)
    assert found.tolist() == [many(x) for x in points]
    with pytest.raises(InputError, match="structures"):
        numbad.vmap(numbad.jit(lambda x: x if x > 0.0 else [x]))(np.array([1.0, -1.0]))


# ---------------------------------------------------------------- threads and memory


def test_results_do_not_depend_on_the_number_of_threads():
    tape = numbad.record(polynomial, 0.3, 0.7)
    x = RANDOM.normal(size=5000)
    try:
        numbad.set_num_threads(1)
        one = tape.value_and_gradient_map(x, 0.7)
    finally:
        numbad.set_num_threads(2)
    two = tape.value_and_gradient_map(x, 0.7)
    assert_trees_close(two, one, rtol=0.0)


def test_threads_may_call_one_tape_at_once():
    tape = numbad.record(polynomial, 0.3, 0.7)
    x = RANDOM.normal(size=(4, 3000))
    expected = [tape.value_and_gradient_map(part, 0.7) for part in x]
    failures = []

    def work(k):
        for _ in range(10):
            found = tape.value_and_gradient_map(x[k], 0.7)
            if not all(
                np.array_equal(a, b) for a, b in zip(optree.tree_leaves(found), optree.tree_leaves(expected[k]))
            ):
                failures.append(k)

    threads = [threading.Thread(target=work, args=(k,)) for k in range(4)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    assert not failures


def test_memory_does_not_grow_with_the_points():
    tape = numbad.record(polynomial, 0.3, 0.7)
    x = RANDOM.normal(size=400_000)
    tape.map(x[:100], 0.7)
    tracemalloc.start()
    tape.map(x, 0.7)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 3 * x.nbytes  # an arena for each point would be a hundred times as much


def test_guards_of_both_kinds_are_lowered():
    tape = numbad.record(lambda x: x[int(x[0])] if x[1] > 0.0 else x[1], np.ones(3))
    assert {GUARD, GUARD_VALUE} <= set(lower(tape).code[:, 0].tolist())
