"""Tapes: recording, running again, guards, printing, and the verification of damaged ones."""

import dataclasses
import re
import sys
import threading
import time

import numpy as np
import pytest

import numbad
from numbad.errors import BranchError, InputError, OutputError, RecordingError, TapeError
from numbad.geometry import contiguous
from numbad.ops.definition import BY_NAME
from numbad.recording.arrays import make_block
from numbad.recording.scalars import make_scalar
from numbad.tape.layout import ADD, CONTRACT, GATHER, GUARD, GUARD_VALUE, HOST, MAP, SCATTER
from numbad.tapes.slots import Input, Output
from numbad.tapes.tape import Tape

MATRIX = np.random.default_rng(3).normal(size=(30, 30))
VECTOR = np.linspace(0.5, 2.0, 30)


def five(x1, x2):
    return np.exp(x1) - x1 * x2 + np.cos(x2)


def mixed(x, s):
    """Rows of most kinds: guards, array rows, sums, a product with a matrix kept by reference."""
    y = MATRIX @ x
    if y[0] > 1e9:
        return s
    z = np.where(y > 0.0, np.sin(y), y * s)
    z[2:4] = x[0] * 3.0
    n = int(s) + 2
    return np.sum(z[:n] * VECTOR[:n]) / np.sum(x[::2] ** 2) + z[3] * s + np.sum(x[:3, None] * y[:4])


POINT = (np.cos(np.arange(30.0)), 1.5)


@pytest.fixture(scope="module")
def tape():
    return numbad.record(mixed, *POINT)


# ---------------------------------------------------------------- running again


def test_a_tape_runs_at_other_points():
    tape = numbad.record(five, 2.0, 4.0)
    value, gradient = tape.value_and_gradient(0.3, -1.2)
    assert value == pytest.approx(five(0.3, -1.2), rel=1e-15)
    assert gradient == pytest.approx((np.exp(0.3) + 1.2, -0.3 + np.sin(1.2)), rel=1e-15)
    assert type(value) is float
    assert all(type(part) is float for part in gradient)
    assert len(tape) == 5


def test_a_tape_of_arrays_agrees_with_a_fresh_gradient(tape):
    for seed in range(3):
        x = np.random.default_rng(seed).normal(size=30)
        y = MATRIX @ x
        if y[0] > 1e9:
            continue
        value, gradient = tape.value_and_gradient(x, 1.25)
        expected_value, expected = numbad.value_and_gradient(mixed, x, 1.25)
        assert value == pytest.approx(expected_value, rel=1e-14)
        np.testing.assert_allclose(gradient[0], expected[0], rtol=1e-12)
        assert gradient[1] == pytest.approx(expected[1], rel=1e-12)


def test_trees_keep_their_structure():
    def loss(parameters, scale):
        return np.sum(parameters["w"] ** 2) * scale[0] + parameters["b"]

    point = {"w": np.arange(3.0), "b": 1.0}
    tape = numbad.record(loss, point, (2.0,))
    assert tape(point, (3.0,)) == 16.0
    gradient = tape.gradient(point, (3.0,))
    assert set(gradient[0]) == {"w", "b"}
    np.testing.assert_array_equal(gradient[0]["w"], [0.0, 6.0, 12.0])
    assert gradient[0]["b"] == 1.0
    assert gradient[1] == (5.0,)
    assert [slot.name for slot in tape.inputs] == ["parameters['b']", "parameters['w']", "scale[0]"]


def test_a_tree_of_one_number_is_not_a_number():
    tape = numbad.record(lambda p: p["a"] * 2.0, {"a": 1.0})
    assert tape.gradient({"a": 5.0}) == {"a": 2.0}
    with pytest.raises(InputError, match="structure"):
        tape.gradient(5.0)


def test_results_may_be_nested_arrays_and_constants():
    tape = numbad.record(lambda x: {"twice": 2.0 * x, "first": x[0], "flag": x[0] > 1.0, "fixed": 7.0}, np.ones(3))
    found = tape(np.array([4.0, 5.0, 6.0]))
    np.testing.assert_array_equal(found["twice"], [8.0, 10.0, 12.0])
    assert found["first"] == 4.0
    assert found["flag"] == np.True_
    assert found["fixed"] == 7.0
    with pytest.raises(OutputError, match="one number"):
        tape.gradient(np.ones(3))


def test_views_and_scattered_results_come_back_whole():
    x = np.arange(12.0).reshape(3, 4)

    def f(x):
        y = x * 1.0
        y[0, ::2] = x[1, 0]
        return x.T, y, x[::-1, 1:3], y[1]

    for found, expected in zip(numbad.record(f, x)(x + 1.0), f(x + 1.0), strict=True):
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("shape", [(5, 4), (80, 70)])
def test_large_and_fortran_inputs_run_in_any_memory_order(order, shape):
    weights = np.arange(float(np.prod(shape))).reshape(shape)
    tape = numbad.record(lambda x: np.sum(weights * x), np.ones(shape, order=order))
    for given in (np.full(shape, 2.0), np.full(shape, 2.0, order="F"), np.full((2 * shape[0], shape[1]), 2.0)[::2]):
        value, gradient = tape.value_and_gradient(given)
        assert value == 2.0 * weights.sum()
        np.testing.assert_array_equal(gradient, weights)


def test_float32_stays_float32():
    tape = numbad.record(lambda x: np.sum(x * 1.5), np.ones(4, np.float32))
    value, gradient = tape.value_and_gradient(np.full(4, 2.0, np.float32))
    assert value.dtype == gradient.dtype == np.float32
    assert value == np.float32(12.0)


def test_a_constant_function_has_a_zero_gradient():
    tape = numbad.record(lambda x: 3.0, np.ones(2))
    assert tape(np.ones(2)) == 3.0
    np.testing.assert_array_equal(tape.gradient(np.ones(2)), [0.0, 0.0])


def test_empty_inputs():
    tape = numbad.record(lambda x: np.sum(x * 2.0), np.empty(0))
    assert tape(np.empty(0)) == 0.0
    assert tape.gradient(np.empty(0)).shape == (0,)
    assert "tape of" in str(tape)


@pytest.mark.parametrize("n", [10, 40, 300])
def test_constants_are_those_of_the_recording(n):
    matrix = np.eye(n)
    tape = numbad.record(lambda x: np.sum(matrix @ x), np.ones(n))
    matrix[0, 0] = 3.0
    assert tape(np.ones(n)) == n
    assert "matrix" in str(tape) or n * n <= 512


def test_threads_may_run_one_tape_at_once(tape):
    expected = tape.gradient(*POINT)[0]
    wrong = []

    def work():
        for _ in range(20):
            if not np.array_equal(tape.gradient(*POINT)[0], expected):
                wrong.append(1)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


# ---------------------------------------------------------------- derivatives at new points


def nested(p, s):
    """Results of all kinds: a scattered array, a view of an input, a number, a constant."""
    y = p["w"] * s
    y[0] = np.sin(p["b"])
    return {"y": y, "view": p["w"][::-1], "sum": np.sum(y**2), "seven": 7.0}


NESTED = ({"w": np.arange(3.0), "b": 0.5}, 2.0)


def elsewhere():
    return {"w": np.array([0.3, -1.0, 2.5]), "b": 1.25}, -0.75


def assert_same_tree(found, expected):
    import optree

    assert optree.tree_structure(found) == optree.tree_structure(expected)
    for one, other in zip(optree.tree_leaves(found), optree.tree_leaves(expected), strict=True):
        assert type(one) is type(other)
        np.testing.assert_allclose(one, other, rtol=1e-10, atol=1e-12)


def test_products_with_the_jacobian_at_new_points():
    tape = numbad.record(nested, *NESTED)
    point, tangents = elsewhere(), ({"w": np.array([1.0, 2.0, 3.0]), "b": -1.0}, 0.5)
    assert_same_tree(tape.jvp(point, tangents), numbad.jvp(nested, point, tangents))
    value, pullback = tape.vjp(*point)
    expected, expected_pullback = numbad.vjp(nested, *point)
    assert_same_tree(value, expected)
    for factor in (1.0, -2.0):
        cotangent = {"y": factor * np.arange(3.0), "view": np.ones(3), "sum": 0.3, "seven": 1.0}
        assert_same_tree(pullback(cotangent), expected_pullback(cotangent))


def test_jacobians_and_hessians_at_new_points(tape):
    x = np.random.default_rng(8).normal(size=30)
    assert_same_tree(tape.jacobian(x, 1.25), numbad.jacobian(mixed, x, 1.25))
    assert_same_tree(tape.hessian(x, 1.25), numbad.hessian(mixed, x, 1.25))
    trees = numbad.record(nested, *NESTED)
    assert_same_tree(trees.jacobian(*elsewhere()), numbad.jacobian(nested, *elsewhere()))
    assert_same_tree(trees.hessian(*elsewhere()), numbad.hessian(nested, *elsewhere()))
    single = numbad.record(lambda x: x**3, 1.0)
    assert (single.jacobian(2.0), single.hessian(2.0)) == (12.0, 12.0)


@pytest.mark.parametrize("order", ["C", "F"])
def test_derivatives_of_large_inputs_in_any_memory_order(order):
    weights = np.random.default_rng(0).normal(size=(80, 70))
    x = np.asarray(np.random.default_rng(1).normal(size=(80, 70)), order=order)

    def f(x, a):
        return np.sum(np.sin(x) * weights) * a + x[1, 2] * x[0, 3], x.T[1:3]

    tape = numbad.record(f, x, 2.0)
    other = np.ascontiguousarray(x[::-1])
    assert_same_tree(tape.jvp((other, 3.0), (x, 1.0)), numbad.jvp(f, (other, 3.0), (x, 1.0)))
    value, pullback = tape.vjp(other, 3.0)
    expected, expected_pullback = numbad.vjp(f, other, 3.0)
    assert_same_tree(value, expected)
    assert_same_tree(pullback(value), expected_pullback(value))
    scalar = numbad.record(lambda x, a: f(x, a)[0], x, 2.0)
    assert_same_tree(scalar.jacobian(other, 3.0), numbad.jacobian(lambda x, a: f(x, a)[0], other, 3.0))


def test_derivatives_do_not_run_the_program_again():
    calls = []

    def f(x):
        calls.append(1)
        return np.sum(np.exp(x))

    tape = numbad.record(f, np.zeros(2))
    x = np.array([1.0, 2.0])
    for _ in range(2):
        tape(x), tape.gradient(x), tape.jvp((x,), (x,)), tape.vjp(x)[1](1.0), tape.jacobian(x)
        np.testing.assert_allclose(tape.hessian(x), np.diag(np.exp(x)), rtol=1e-14)
        tape.map(x[None])
    assert len(calls) == 1


def test_float32_derivatives_stay_float32():
    tape = numbad.record(lambda x: np.sum(x**3), np.ones(2, np.float32))
    x = np.array([1.0, 2.0], np.float32)
    assert tape.jacobian(x).dtype == tape.hessian(x).dtype == tape.vjp(x)[1](1.0)[0].dtype == np.float32
    np.testing.assert_allclose(tape.hessian(x), [[6.0, 0.0], [0.0, 12.0]])


def test_host_rows_have_jacobians():
    def f(x):
        return np.linalg.eigvalsh(x @ x.T)

    x = np.random.default_rng(2).normal(size=(3, 3))
    tape = numbad.record(f, np.eye(3) + 0.1 * x)
    assert_same_tree(tape.jacobian(x), numbad.jacobian(f, x))
    assert_same_tree(tape.jvp((x,), (x,)), numbad.jvp(f, (x,), (x,)))


def test_another_path_is_an_error_in_every_derivative():
    tape = numbad.record(lambda x: x**2 if x > 0.0 else x, 1.0)
    tape.jacobian(2.0), tape.hessian(2.0)
    ways = [
        tape,
        tape.gradient,
        tape.value_and_gradient,
        lambda x: tape.jvp((x,), (1.0,)),
        tape.vjp,
        tape.jacobian,
        tape.hessian,
        lambda x: tape(x, out=np.empty(())),
        lambda x: tape.gradient(x, out=np.empty(())),
    ]
    for way in ways:
        with pytest.raises(BranchError, match=r"x > 0\.0") as caught:
            way(-1.0)
        assert "test_tape.py" in str(caught.value)
        way(3.0)  # and nothing is left behind


@pytest.mark.usefixtures("usual_limits")
def test_a_pullback_belongs_to_its_point():
    matrix = np.random.default_rng(0).normal(size=(30, 30))
    tape = numbad.record(lambda x: matrix @ np.sin(x), np.ones(30))
    x = np.linspace(0.0, 1.0, 30)
    _, pullback = tape.vjp(x)
    expected = pullback(np.ones(30))[0]
    tape(np.zeros(30))
    x[:] = 5.0
    matrix *= 2.0
    np.testing.assert_array_equal(pullback(np.ones(30))[0], expected)


def test_derivatives_of_wrong_arguments():
    tape = numbad.record(lambda x: x * 2.0, np.ones(3))
    x = np.ones(3)
    with pytest.raises(InputError, match="tangent"):
        tape.jvp((x,), (np.ones(2),))
    with pytest.raises(InputError, match=r"tuple of 1 tangents, .* given 2"):
        tape.jvp((x,), (x, x))
    with pytest.raises(InputError, match="structure"):
        tape.jvp((x, x), (x, x))
    with pytest.raises(InputError, match=r"shape \(2,\)"):
        tape.vjp(x)[1](np.ones(2))
    with pytest.raises(InputError, match="structure"):
        tape.vjp(x)[1]([x])
    for way in (tape.jacobian, tape.hessian, tape.vjp):
        with pytest.raises(InputError, match=r"shape \(4,\)"):
            way(np.ones(4))
    flags = numbad.record(lambda x: x > 1.0, np.ones(3))
    for way in (flags.jacobian, flags.hessian, flags.vjp, lambda x: flags.jvp((x,), (x,))):
        with pytest.raises(OutputError, match="truth values"):
            way(x)


# ---------------------------------------------------------------- memory of the caller's, and kept memory


def test_results_go_to_arrays_that_exist():
    tape = numbad.record(nested, *NESTED)
    out = {"y": np.empty(3), "view": np.empty(6)[::2], "sum": np.empty(()), "seven": np.empty(())}
    assert tape(*elsewhere(), out=out) is out
    expected = tape(*elsewhere())
    for name, part in out.items():
        np.testing.assert_array_equal(part, expected[name])
    scalar = numbad.record(lambda p, s: np.sum(p["w"] ** 2) * s * p["b"], *NESTED)
    gradient = {"w": np.empty(3), "b": np.empty(())}, np.empty(())
    value, found = scalar.value_and_gradient(*elsewhere(), out=gradient)
    assert found is gradient
    expected_value, expected = scalar.value_and_gradient(*elsewhere())
    assert value == expected_value
    np.testing.assert_array_equal(gradient[0]["w"], expected[0]["w"])
    assert (gradient[0]["b"], gradient[1]) == (expected[0]["b"], expected[1])
    x = np.ones(3)
    square = numbad.record(lambda x: np.sum(x**2), x)
    assert square.gradient(x, out=x) is x  # the point may be overwritten
    assert x.tolist() == [2.0, 2.0, 2.0]


@pytest.mark.parametrize(
    ("out", "words"),
    [
        (np.empty(2), r"shape \(2,\)"),
        (np.empty(3, np.float32), "float32"),
        (np.empty(3, int), "int64"),
        ([0.0, 0.0, 0.0], "structure"),
        (1.0, "float"),
        ((np.empty(3),), "structure"),
        (np.broadcast_to(0.0, (3,)), "read-only"),
    ],
)
def test_arrays_that_cannot_take_a_result(out, words):
    tape = numbad.record(lambda x: x * 2.0, np.ones(3))
    with pytest.raises(InputError, match=words) as caught:
        tape(np.ones(3), out=out)
    assert "test_tape.py" in str(caught.value)
    scalar = numbad.record(lambda x: np.sum(x * 2.0), np.ones(3))
    with pytest.raises(InputError, match=words):
        scalar.gradient(np.ones(3), out=out)
    two = numbad.record(lambda x, y: np.sum(x) * y, np.ones(3), 1.0)
    with pytest.raises(InputError, match="tuple"):
        two.gradient(np.ones(3), 1.0, out=np.empty(3))


@pytest.mark.usefixtures("usual_limits")
def test_memory_is_kept_between_calls():
    tape = numbad.record(mixed, *POINT)
    tape.value_and_gradient(*POINT)
    pool = tape.kept["workspaces", True]
    assert len(pool) == 1
    values = pool[0].execution.values
    for _ in range(3):
        tape.value_and_gradient(*POINT)
    assert len(pool) == 1
    assert pool[0].execution.values is values
    assert pool[0].rows.tape is None  # no cycle of references


def test_a_kept_workspace_lets_go_of_large_inputs():
    x = np.ones(5000)
    tape = numbad.record(lambda x: np.sum(x * 2.0), x)
    counts = sys.getrefcount(x)
    tape.gradient(x)
    assert sys.getrefcount(x) == counts


def test_threads_that_call_one_tape_get_their_own_results(tape):
    points = [np.random.default_rng(seed).normal(size=30) for seed in range(4)]
    ways = [
        lambda x: tape.value_and_gradient(x, 1.25),
        lambda x: tape(x, 1.25),
        lambda x: tape.vjp(x, 1.25)[1](1.0),
        lambda x: tape.jacobian(x, 1.25),
    ]
    expected = [[way(x) for way in ways] for x in points]
    failures = []

    def work(k):
        for _ in range(50):
            for way, wanted in zip(ways, expected[k], strict=True):
                try:
                    assert_same_tree(way(points[k]), wanted)
                except Exception as error:
                    failures.append(error)

    threads = [threading.Thread(target=work, args=(k,)) for k in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures


# ---------------------------------------------------------------- wrong inputs


@pytest.mark.parametrize(
    ("points", "words"),
    [
        ((np.ones(4),), "float64 of shape \\(4,\\) now"),
        ((np.ones(3, np.float32),), "float32 of shape \\(3,\\) now"),
        ((np.ones((3, 1)),), "shape \\(3, 1\\)"),
        ((np.arange(3),), "int64"),
        ((2,), "write 2.0"),
        (([1.0, 2.0, 3.0],), "structure"),
        ((), "structure"),
        ((np.ones(3), 1.0), "structure"),
    ],
)
def test_other_inputs_are_refused(points, words):
    tape = numbad.record(lambda x: np.sum(x), np.ones(3))
    with pytest.raises(InputError, match=words):
        tape(*points)


def test_bad_results_are_refused():
    for result in (None, "text", 1j):
        with pytest.raises(OutputError, match="returned"):
            numbad.record(lambda x, result=result: result, 1.0)


def test_recording_values_are_not_inputs_of_a_tape():
    tape = numbad.record(lambda x: x * x, 2.0)
    with pytest.raises(RecordingError, match="call the function"):
        numbad.gradient(lambda x: tape(x), 3.0)


def test_an_error_inside_comes_through_and_leaves_nothing_behind():
    def f(x):
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        numbad.record(f, 1.0)
    assert numbad.record(lambda x: x + 1.0, 1.0)(2.0) == 3.0


# ---------------------------------------------------------------- guards


def payoff(x, strike):
    if x[3] > strike:
        return x[0] * 2.0
    return x[0]


def test_a_changed_branch_raises_in_the_users_words():
    tape = numbad.record(payoff, np.ones(4), 0.5)
    assert tape(np.full(4, 3.0), 1.0) == 6.0
    with pytest.raises(BranchError) as caught:
        tape(np.array([1.0, 1.0, 1.0, -1.0]), 0.5)
    text = str(caught.value)
    assert text.startswith("row 1 compared x[3] > strike as True when recorded; it is False now\n  at ")
    assert "test_tape.py:" in text
    assert "in payoff:  if x[3] > strike:" in text
    assert "do  use np.where(x[3] > strike, a, b)" in text


def test_a_changed_integer_raises():
    tape = numbad.record(lambda x, n: x[int(n)] * 1.0, np.arange(4.0), 2.3)
    assert tape(np.arange(4.0), 2.9) == 2.0
    with pytest.raises(BranchError, match="read trunc\\(n\\) as 2 when recorded; it is 3 now"):
        tape(np.arange(4.0), 3.1)


@pytest.mark.usefixtures("usual_limits")
def test_a_changed_mask_names_the_element():
    tape = numbad.record(lambda x: np.sum(x[x > 1.0]), np.array([0.0, 2.0, 3.0]))
    assert tape(np.array([0.5, 4.0, 5.0])) == 9.0
    with pytest.raises(BranchError, match=re.escape("compared x[2] > 1.0 as True when recorded")) as caught:
        tape(np.array([0.0, 2.0, 0.0]))
    assert "test_tape.py" in str(caught.value)


def test_expressions_of_branches_are_written_out():
    def f(x):
        return x[0] if 2.0 * x[0] - x[1] ** 2 < 0.0 else x[1]

    tape = numbad.record(f, np.array([1.0, 2.0]))
    with pytest.raises(BranchError, match=re.escape("(2.0 * x[0]) - x[1]**2) < 0.0")):
        tape(np.array([2.0, 1.0]))


def test_loops_on_recorded_values_are_guarded():
    def f(x):
        count = 0
        while x < 100.0:
            x = x * 2.0
            count += 1
        return x * count

    tape = numbad.record(f, 10.0)
    assert tape(11.0) == f(11.0)
    with pytest.raises(BranchError, match=re.escape("< 100.0")):
        tape(30.0)


def test_a_branch_that_differs_between_single_and_double_precision_is_named():
    def f(x):
        y = x[0] if x[0] * 3.0 > 0.3 else x[1]  # equal in float32, greater in float64
        return np.sum(y * np.ones(3))  # a float64 array makes the whole recording float64

    with pytest.raises(BranchError, match="taken in float32 would be taken otherwise in float64") as caught:
        numbad.gradient(f, np.array([0.1, 2.0], np.float32))
    assert "x[0] * 3.0 > 0.3" in str(caught.value)


# ---------------------------------------------------------------- printing


def test_printing_names_rows_operands_and_values():
    text = str(numbad.record(five, 2.0, 4.0))
    for part in ("exp(x1)", "x1 * x2", "v0 - v1", "cos(x2)", "v2 + v3", "7.3890561", "-1.2645875", "returns v4"):
        assert part in text


def test_show_prints_adjoints_at_another_point(capsys):
    numbad.record(five, 2.0, 4.0).show(0.0, 0.0, adjoints=True)
    text = capsys.readouterr().out
    assert "input x1 = 0, adjoint 1" in text
    assert text.splitlines()[3].split() == ["row", "result", "operation", "value", "adjoint"]


@pytest.mark.usefixtures("usual_limits")
def test_array_rows_are_listed_with_their_lines_and_operands(tape):
    text = tape.__str__()
    assert "sum of products MATRIX, x" in text
    assert "guard" in text
    assert "test_tape.py:" in text
    assert "x[0:29:2]" in text


def test_long_tapes_are_abbreviated():
    def f(x):
        for _ in range(500):
            x = x * 1.001
        return x

    lines = str(numbad.record(f, 1.0)).splitlines()
    assert len(lines) < 40
    assert any("470 rows" in line for line in lines)
    assert "v498 * 1.001" in lines[-2]


def test_summary_counts_rows_and_bytes(tape):
    text = numbad.record(five, 2.0, 4.0).summary()
    assert "rows 80 bytes" in text
    assert [line.split()[1] for line in text.splitlines()[2:7]] == ["1"] * 5
    assert f"{MATRIX.nbytes:,}" in tape.summary()


def test_a_tape_prints_without_values_where_its_example_no_longer_runs():
    x = np.linspace(1.0, 2.0, 5000)
    tape = numbad.record(payoff, x, 0.5)
    x[:] = -1.0
    assert "no values: row" in str(tape)


# ---------------------------------------------------------------- verification


def rows(*rows_):
    return np.array(rows_, np.uint32).reshape(-1, 4)


ADD_OP, SIN, MULTIPLY = (BY_NAME[name].opcode for name in ("add", "sin", "multiply"))


def built(code, words=(), size=10, spaces=(None,), hosts=(), outputs=None):
    """Build a tape by hand: input x at addresses 1 to 3, the constant 2.0 at 4."""
    return Tape(
        code=code,
        words=np.array(words, np.int64),
        size=size,
        dtype=np.dtype(np.float64),
        numbers=np.array([[4.0, 2.0]]),
        loads=[],
        spaces=list(spaces),
        hosts=list(hosts),
        inputs=(Input("x", 0, 1, (3,), np.dtype(np.float64)),),
        outputs=outputs or (Output(0, 5, (), ()),),
        input_trees=(None,),
        output_tree=None,
        sites=np.full(len(code), -1, np.int32),
        places=[],
    )


def map_words(out=5, address=1, count=3, **changes):
    """Words of sin over an array."""
    words = {"size": 5 + 2 * 4, "count": count, "ndim": 1, "zeroed": count, "shape": count}
    words |= {"out_kind": 1, "out_space": 0, "out": out, "out_stride": 1}
    words |= {"kind": 1, "space": 0, "address": address, "stride": 1}
    return list((words | changes).values())


def sum_words(cleared=1, out=5, address=1, space=0, stride=1, count=3):
    """Words of a sum of an array."""
    kind = 1 if stride == 1 else 0
    return [13, count, 1, cleared, count, 2, 0, out, 0, kind, space, address, stride]


def test_hand_written_tapes_run():
    tape = built(rows((MULTIPLY, 5, 1, 2), (ADD_OP, 6, 5, 4)), outputs=(Output(0, 6, (), ()),))
    assert tape.value_and_gradient(np.array([3.0, 5.0, 0.0]))[0] == 17.0
    tape = built(rows((MAP + SIN, 5, 0, 1)), map_words(), outputs=(Output(0, 5, (3,), (1,)),))
    np.testing.assert_allclose(tape(np.ones(3)), np.sin(np.ones(3)), rtol=1e-15)
    tape = built(rows((ADD, 5, 0, 2), (ADD, 5, 13, 2)), sum_words() + sum_words(cleared=0))
    assert tape.value_and_gradient(np.ones(3))[0] == 6.0
    np.testing.assert_array_equal(tape.gradient(np.ones(3)), [2.0, 2.0, 2.0])


def test_an_operand_of_few_elements_reads_those_and_not_what_lies_between():
    written = ((SIN, 5, 1, 0), (SIN, 7, 2, 0))
    few = built(
        rows(*written, (ADD, 8, 0, 2)), sum_words(out=8, address=5, stride=2, count=2), outputs=(Output(0, 8, (), ()),)
    )
    assert few(np.array([1.0, 2.0, 0.0])) == pytest.approx(np.sin(1.0) + np.sin(2.0))
    with pytest.raises(TapeError, match="6 is read before it is written"):
        numbad.verify(built(rows(*written, (ADD, 8, 0, 2)), sum_words(out=8, address=5, count=2)))
    clear = [13, 1, 1, 9, 1, 1, 0, 5, 1, 2, 0, 1, 0]
    add = [13, 2, 1, 0, 2, 0, 0, 5, 8, 2, 0, 1, 0]  # to addresses 5 and 13 of the nine that were cleared
    code = rows((ADD, 5, 0, 2), (ADD, 5, 13, 2))
    tape = built(code, clear + add, size=14, outputs=(Output(0, 5, (9,), (1,)),))
    np.testing.assert_array_equal(tape(np.array([2.0, 0.0, 0.0])), [4.0, 0, 0, 0, 0, 0, 0, 0, 2.0])
    add[8] = 9
    with pytest.raises(TapeError, match="14"):
        numbad.verify(built(code, clear + add, size=15, outputs=(Output(0, 5, (9,), (1,)),)))


WRONG = {
    "unknown opcode": (built, (rows((200, 5, 1, 0)),), "opcode 200 is not known"),
    "out outside": (built, (rows((SIN, 10, 1, 0)),), "address 10 lies outside"),
    "operand outside": (built, (rows((SIN, 5, 4_000_000_000, 0)),), "address 4000000000 lies outside"),
    "read before written": (built, (rows((SIN, 5, 6, 0), (SIN, 6, 1, 0)),), "row 0 .*6 is read before"),
    "never written": (built, (rows((SIN, 5, 9, 0)),), "9 is read before"),
    "written twice": (built, (rows((SIN, 5, 1, 0), (SIN, 5, 1, 0)),), "row 1 .*5 is written twice"),
    "overwrites an input": (built, (rows((SIN, 2, 1, 0)),), "2 is written twice"),
    "overwrites a constant": (built, (rows((SIN, 4, 1, 0)),), "4 is written twice"),
    "overwrites zero": (built, (rows((SIN, 0, 1, 0)),), "row 0 \\(sin\\): the address 0"),
    "two operands for one": (built, (rows((SIN, 5, 1, 2)),), "second one, 2"),
    "guard of nothing": (built, (rows((SIN, 5, 1, 0), (GUARD, 1, 9, 0)),), "9 is read before"),
    "guard of neither": (built, (rows((GUARD, 7, 1, 0)),), "truth value 7"),
    "guard value outside": (built, (rows((GUARD_VALUE, 77, 1, 0)),), "address 77"),
    "words outside": (built, (rows((MAP + SIN, 5, 9, 1)), map_words()), "9, which lies outside of the words|not fit"),
    "no words": (built, (rows((MAP + SIN, 5, 0, 1)),), "outside of the words"),
    "operand count": (built, (rows((MAP + SIN, 5, 0, 2)), map_words()), "has 2 operands"),
    "word count": (built, (rows((MAP + SIN, 5, 0, 1)), map_words(size=12)), "said to be 12"),
    "axes": (built, (rows((MAP + SIN, 5, 0, 1)), map_words(ndim=1 << 40)), "axes"),
    "negative length": (built, (rows((MAP + SIN, 5, 0, 1)), map_words(shape=-3)), "length -3"),
    "element count": (built, (rows((MAP + SIN, 5, 0, 1)), map_words(shape=2)), "said to have 3 elements"),
    "kind": (built, (rows((MAP + SIN, 5, 0, 1)), map_words(stride=0)), "kind 1"),
    "unknown kind": (built, (rows((MAP + SIN, 5, 0, 1)), map_words(kind=7)), "kind 7"),
    "space": (built, (rows((MAP + SIN, 5, 0, 1)), map_words(space=3)), "space 3"),
    "negative space": (built, (rows((MAP + SIN, 5, 0, 1)), map_words(space=-1)), "space -1"),
    "beyond the arena": (built, (rows((MAP + SIN, 5, 0, 1)), map_words(address=8)), "reaches element 10"),
    "before the arena": (built, (rows((MAP + SIN, 5, 0, 1)), map_words(kind=0, stride=-1)), "reaches element -1"),
    "giant stride": (built, (rows((MAP + SIN, 5, 0, 1)), map_words(kind=0, stride=1 << 62)), "outside of its space"),
    "result elsewhere": (built, (rows((MAP + SIN, 6, 0, 1)), map_words()), "row's address, but at 5"),
    "reads its result": (built, (rows((MAP + SIN, 5, 0, 1)), map_words(address=4)), "5 is read before"),
    "cleared too much": (built, (rows((ADD, 5, 0, 2)), sum_words(cleared=99)), "99"),
    "result outside of what is cleared": (built, (rows((ADD, 6, 0, 2)), sum_words(out=5)), "clears 1"),
    "sum beyond its space": (built, (rows((ADD, 5, 0, 2)), sum_words(space=1), 10, (None, np.ones(2))), "element 3"),
    "adds to an input": (built, (rows((ADD, 1, 0, 2)), sum_words(cleared=0, out=1)), "not an accumulator"),
    "adds to a scalar row": (
        built,
        (rows((SIN, 5, 1, 0), (ADD, 5, 0, 2)), sum_words(cleared=0)),
        "row 1 .*5, which is not an accumulator",
    ),
    "reads an open accumulator": (
        built,
        (rows((ADD, 5, 0, 2), (SIN, 6, 5, 0), (ADD, 5, 13, 2)), sum_words() + sum_words(cleared=0)),
        "row 1 .*5 is read before",
    ),
    "gathers from outside": (built, (rows((GATHER, 5, 0, 1)), [4, 2, 1, 99]), "99"),
    "gathers too many": (built, (rows((GATHER, 5, 0, 1)), [1 << 40, 1 << 40, 1]), "does not fit"),
    "scatters outside": (built, (rows((SCATTER, 5, 0, 1)), [7, 2, 3, 0, 1, 0, 3]), "place 3"),
    "scatters from nowhere": (built, (rows((SCATTER, 5, 0, 1)), [7, 2, 3, 5, 1, 0, 2]), "space 5"),
    "host": (built, (rows((HOST, 5, 0, 0)), [10, 0, 1, 1, 0, 1, 3, 0, 5, 3]), "host 0"),
    "output outside": (built, (rows((SIN, 5, 1, 0)), (), 10, (None,), (), (Output(0, 99, (), ()),)), "output"),
    "output not written": (built, (rows((SIN, 5, 1, 0)), (), 10, (None,), (), (Output(0, 7, (), ()),)), "never"),
    "size": (built, (rows((SIN, 5, 1, 0)), (), 0), "0 addresses"),
    "small": (built, (rows((SIN, 2, 1, 0)), (), 3), "outside of the arena"),
    "object space": (built, (rows((SIN, 5, 1, 0)), (), 10, (None, np.array([None]))), "not an array of real"),
    "strided space": (built, (rows((SIN, 5, 1, 0)), (), 10, (None, np.ones(9)[::2])), "not contiguous"),
    "code shape": (built, (np.zeros((2, 3), np.uint32),), "shape \\(rows, 4\\)"),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_tapes_are_refused_before_anything_runs(name):
    build, arguments, words = WRONG[name]
    with pytest.raises(TapeError, match=words):
        build(*arguments)(np.ones(3))


@pytest.mark.parametrize(
    ("numbers", "words"),
    [([[99.0, 1.0]], "outside of the arena"), ([[2.0, 1.0]], "share an address"), ([[4.0, 1.0], [4.0, 2.0]], "share")],
)
def test_constants_have_places_of_their_own(numbers, words):
    tape = dataclasses.replace(built(rows((SIN, 5, 1, 0))), numbers=np.array(numbers))
    with pytest.raises(TapeError, match=words):
        tape(np.ones(3))


def test_rows_cannot_be_changed_after_verification(tape):
    with pytest.raises(ValueError, match="read-only"):
        tape.code[0, 0] = 7
    code = tape.code.copy()
    copied = dataclasses.replace(tape, code=code)
    code[:] = 0
    assert copied(*POINT) == tape(*POINT)


def every_kind():
    """Return a tape with rows of every kind, some of them built by hand on top of a recording."""
    from numbad.ops import host

    @host.array_op
    def verified_double(x):
        return 2.0 * x

    @verified_double.vjp
    def verified_double_vjp(bars, results, operands):
        return (2.0 * bars[0],)

    def f(x, s):
        y = verified_double(MATRIX @ x)
        recorder = x.recorder
        out = recorder.scatter_row(np.array([4, 0, 4]), 6, 0, y.place()[1])
        block = make_block(recorder, out, (6,))
        total = recorder.add_row((6,), 1, (0,), (0, out, contiguous((6,))))
        recorder.structural_row(ADD, (30,), 0, total, ((0, total, (0,)), (0, y.place()[1], (1,))))
        z = block * 1.0
        z[1] = s
        scattered = make_scalar(recorder, total)
        return mixed(x, s) + scattered * np.sum(z * z)

    return numbad.record(f, *POINT), f


def test_every_kind_of_row_verifies_and_runs():
    tape, _ = every_kind()
    opcodes = set(tape.code[:, 0].tolist())
    assert {ADD, CONTRACT, GATHER, SCATTER, HOST, GUARD, GUARD_VALUE} <= opcodes
    assert any(MAP <= opcode < 2 * MAP for opcode in opcodes)
    numbad.verify(tape)
    step, (x, s) = 1e-6, POINT
    slope = (tape(x, s + step) - tape(x, s - step)) / (2.0 * step)
    assert tape.gradient(x, s)[1] == pytest.approx(slope, rel=1e-6)
    assert "host" in tape.summary()
    assert "verified_double" in str(tape)


@pytest.mark.parametrize("part", ["code", "words"])
@pytest.mark.parametrize("seed", [1, 2])
def test_damaged_tapes_are_refused_or_stay_within_bounds(part, seed):
    """Change bytes of a tape at random: it is refused, or runs without touching foreign memory."""
    tape, _ = every_kind()
    random = np.random.default_rng(seed)
    refused = 0
    trials = 1500
    for _ in range(trials):
        changed = getattr(tape, part).copy()
        flat = changed.reshape(-1).view(np.uint8)
        for _ in range(int(random.integers(1, 4))):
            flat[random.integers(flat.size)] = random.integers(256)
        if random.random() < 0.3:  # plausible numbers instead of bytes
            whole = changed.reshape(-1)
            whole[random.integers(whole.size)] = random.integers(0, tape.size)
        damaged = dataclasses.replace(tape, **{part: changed})
        try:
            with np.errstate(all="ignore"):
                damaged.gradient(*POINT)
        except TapeError:
            refused += 1
        except BranchError:
            pass
    assert refused > trials // 2


def test_verification_is_fast():
    code = np.empty((1_000_000, 4), np.uint32)
    code[:, 0], code[:, 2], code[:, 3] = ADD_OP, np.arange(4, 1_000_004), 4
    code[:, 1] = np.arange(5, 1_000_005)
    tape = built(code, size=1_000_005)
    numbad.verify(tape)
    start = time.perf_counter()
    numbad.verify(tape)
    assert time.perf_counter() - start < 0.5


def test_a_truth_value_has_no_gradient() -> None:
    tape = numbad.record(lambda x: x > 1.0, 2.0)
    with pytest.raises(numbad.OutputError, match="returned a truth value"):
        tape.gradient(3.0)
