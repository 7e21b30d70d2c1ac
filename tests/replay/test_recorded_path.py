"""Passes on recorded paths: constant rows are computed once, dead ones never, and results are followed."""

import numpy as np
import pytest

import numbad
from numbad.replay.recorded_path import find_parts, follow
from numbad.tapes.passes import fold_constants
from numbad.tapes.slots import Input, Output
from numbad.tapes.tape import Tape


def program_of(function, *arguments):
    """Return the only program of a jitted function after two calls."""
    function(*arguments)
    function(*arguments)
    (paths,) = function.programs.values()
    (program,) = paths.programs
    return program


X = np.linspace(0.1, 1.0, 200)
ONES = np.ones(300)


def test_jacobian_of_a_linear_function_is_computed_once():
    jacobian = numbad.jit(numbad.jacrev(lambda x: x.sum() * ONES[:7]))
    program = program_of(jacobian, X)
    assert program.constant_results
    first = jacobian(X)
    first[...] = 5.0  # the caller's own
    assert np.array_equal(jacobian(2.0 * X), np.ones((7, 200)))


def test_constant_results_of_a_function_that_was_first_spliced():
    jacobian = numbad.jit(numbad.jacrev(lambda x: x.sum() * ONES[:7]))
    numbad.grad(lambda x: (jacobian(x) * x).sum())(X)
    assert np.array_equal(jacobian(X), np.ones((7, 200)))


def test_dead_rows_are_left_out_and_varying_ones_are_not():
    jacobian = numbad.jit(numbad.jacfwd(lambda x: x**2 * ONES[:200]))
    program = program_of(jacobian, X)
    assert not program.constant_results
    dead = program.machine.tape.passes[-1]
    assert dead.name == "dead rows out"
    assert dead.rows[1] < dead.rows[0], "the value of the function is not wanted"
    for x in (X, 3.0 * X, -X):
        assert np.allclose(jacobian(x), np.diag(2.0 * x), rtol=1e-15)


def test_constant_and_varying_results_together():
    both = numbad.jit(lambda x: (numbad.jacrev(lambda y: 2.0 * y[:100])(x), x * 3.0))
    for x in (X, X + 1.0):
        jacobian, product = both(x)
        assert np.array_equal(jacobian, 2.0 * np.eye(100, 200))
        assert np.array_equal(product, 3.0 * x)


def test_constant_array_rows_may_read_constant_scalar_rows():
    """The slope of a mean is a constant that a scalar row computes."""
    x = np.linspace(0.1, 1.0, 300)
    for f in (lambda x: np.mean(x) * np.sin(x), lambda x: np.concatenate([x, np.stack([np.mean(x), np.max(x)])])):
        jacobian = numbad.jit(numbad.jacfwd(f))
        for point in (x, 2.0 * x, x):
            assert np.allclose(jacobian(point), numbad.jacfwd(f)(point), rtol=1e-13)


def test_an_input_that_is_returned_is_not_constant():
    same = numbad.jit(lambda x: (x, numbad.jacfwd(lambda y: 2.0 * y)(x)))
    for x in (X, X + 1.0):
        assert np.array_equal(same(x)[0], x)
        assert np.array_equal(same(x)[1], 2.0 * np.eye(200))


def test_a_path_goes_on_from_another_that_left_out_what_it_reads():
    def f(x):
        slope, value = numbad.grad(lambda y: np.sum(np.sin(y)))(x), np.sin(x)
        if x[0] > 0:
            return slope * 2.0
        return value * 3.0 if x[1] > 0 else slope * value

    jitted = numbad.jit(f)
    for size in (100, 20_000):  # a short tape, and one that is not
        for signs in [(1, 1), (-1, 1), (-1, -1), (1, 1), (-1, -1), (-1, 1), (1, -1)]:
            x = np.linspace(0.1, 1.0, size)
            x[:2] = signs
            assert np.allclose(jitted(x), f(x), rtol=1e-14)


def test_a_branch_is_still_looked_at():
    def f(x):
        scale = 2.0 if x[0] > 0 else 5.0
        return numbad.jacrev(lambda y: scale * y[:80])(x)

    f = numbad.jit(f)
    for sign in (1.0, -1.0, 1.0, -1.0):
        assert np.array_equal(f(sign * X), (2.0 if sign > 0 else 5.0) * np.eye(80, 200))
    assert f.paths == 2


def test_a_block_is_computed_by_all_its_rows_or_none():
    """A row with an input that adds to constants makes the rows before it run again."""
    from numbad.recording.recorder import Recorder
    from numbad.tape.layout import ADD

    recorder = Recorder()
    source = recorder.load(np.arange(100.0))
    given = recorder.allocate(100)
    out = recorder.add_row((100,), 100, (1,), (0, source, (1,)))
    recorder.structural_row(ADD, (100,), 0, out, ((0, out, (1,)), (0, given, (1,))))
    other = recorder.add_row((100,), 100, (1,), (0, source, (1,)))
    recorder.structural_row(ADD, (100,), 0, other, ((0, other, (1,)), (0, source, (1,))))
    tape = Tape(
        code=np.frombuffer(recorder.code, np.uint32).reshape(-1, 4),
        words=np.frombuffer(recorder.words, np.int64),
        size=recorder.size,
        dtype=recorder.dtype,
        numbers=np.empty((0, 2)),
        loads=list(recorder.loads),
        spaces=[None],
        hosts=[],
        inputs=(Input("x", 0, given, (100,), recorder.dtype),),
        outputs=(Output(0, out, (100,), (1,)), Output(0, other, (100,), (1,))),
        input_trees=(None,),
        output_tree=None,
        sites=np.full(4, -1, np.int32),
        places=[],
    )
    recorder.close()
    folded = fold_constants(tape, None)
    assert folded.code.tolist() == tape.code[:2].tolist()
    assert [address for address, _ in folded.loads] == [source, other]
    assert np.array_equal(folded.loads[1][1], 2.0 * np.arange(100.0))


def test_results_of_inputs_constants_and_rows_side_by_side():
    """Their addresses follow one another when they are recorded; passes move them apart."""

    def f(x):
        slope = numbad.gradient(lambda y: np.sum(y * 3.0), x)
        value = numbad.gradient(lambda y: y[0] * y[1] + y[2] ** 3, x)
        return np.stack([x[0], x[1], slope[0], x[2], x[1] * 2.0, slope[2], value[1], value[2]]), x, slope, value

    jitted = numbad.jit(f)
    for x in (np.array([0.5, 1.5, 2.5]), np.array([-1.0, 4.0, 0.25])):
        for found, expected in zip(jitted(x), f(x), strict=True):
            assert np.array_equal(found, expected)


@pytest.mark.parametrize("rows", [3, 47, 48, 49, 200])
@pytest.mark.parametrize("count", [1, 511, 512, 513])
def test_many_results_of_numbers(rows, count):
    def f(x):
        total = x[0]
        for _ in range(rows):
            total = np.sin(total) + x[1]
        return np.stack([total * k for k in range(count)] + [x[1], total, x[0]])

    jitted = numbad.jit(f)
    for x in (np.array([0.5, 1.5]), np.array([-1.0, 0.25])):
        total = x[0]
        for _ in range(rows):
            total = np.sin(total) + x[1]
        assert np.allclose(jitted(x), [*(total * np.arange(count)), x[1], total, x[0]], rtol=1e-14)


def test_parts_of_results_are_followed_each_by_itself():
    tape = numbad.record(lambda x: np.stack([x[0] * 2.0, x[1] * 3.0]), np.ones(2))
    parts = find_parts(tape, [np.array([1, 2, 3]), np.array(4)])
    assert parts == [(1, 3), (3, 4), (4, 5)]
    moved = follow([np.array([1, 2, 3]), np.array(4)], parts, [Output(0, a, (1,), (1,)) for a in (10, 20, 5)])
    assert [found.tolist() for found in moved] == [[10, 11, 20], 5]
    assert find_parts(tape, []) == []


def test_longer_tapes_and_large_arrays_agree_with_the_function_itself():
    matrix = np.random.default_rng(1).standard_normal((300, 200))

    def f(x):
        return numbad.jacfwd(lambda y: np.concatenate([matrix @ y, np.sin(y), np.zeros(5) * y[0]]))(x)

    jitted = numbad.jit(f)
    for x in (X, 2.0 * X, X - 7.0):
        assert np.allclose(jitted(x), f(x), rtol=1e-14)
    large = numbad.jit(numbad.grad(lambda x: np.sum(np.sin(x) * 2.0)))
    for x in (np.linspace(0, 1, 70_000), np.linspace(2, 3, 70_000)):
        assert np.allclose(large(x), 2.0 * np.cos(x), rtol=1e-14)


def test_kernels_of_python_run_at_each_replay():
    calls = []

    @numbad.custom_jvp
    def watched(y):
        return y * 2.0

    @watched.defjvp
    def rule(primals, tangents):
        calls.append(primals)
        return primals[0] * 2.0, tangents[0] * 2.0

    f = numbad.jit(numbad.jacfwd(lambda x: watched(x) + 0.0 * x))
    for x in (X[:70], X[1:71]):
        assert np.allclose(f(x), 2.0 * np.eye(70))
