"""Rows that replays leave out: constant ones are computed once, dead ones never, and no result changes."""

import numpy as np
import pytest

import numbad
from numbad.replay.hoisting import Ranges, find_spared
from numbad.replay.output_copies import runs_of
from numbad.tape.layout import ADD, MAP


def program_of(function, *arguments):
    """Return the only program of a jitted function after two calls."""
    function(*arguments)
    function(*arguments)
    (paths,) = function.programs.values()
    (program,) = paths.programs
    return program


def spared_of(program):
    ends = [run for output in program.outputs for run in runs_of(output.address_view())]
    return find_spared(program.recorder, program.leaves, ends)


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
    spared = spared_of(program)
    assert spared.never, "the value of the function is not wanted"
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

    recorder = Recorder()
    recorder.bases.append(1)
    source = recorder.load(np.arange(100.0))

    class Leaf:
        value, space = np.zeros(100), 0
        address = recorder.allocate(100)

    out = recorder.add_row((100,), 100, (1,), (0, source, (1,)))
    recorder.structural_row(ADD, (100,), 0, out, ((0, out, (1,)), (0, Leaf.address, (1,))))
    other = recorder.add_row((100,), 100, (1,), (0, source, (1,)))
    unread = recorder.map_row(0, (100,), ((1, 0, other, (1,)),))
    spared = find_spared(recorder, [Leaf], [(out, out + 100), (other, other + 100)])
    assert recorder.code[4 * 3] == MAP and unread == recorder.code[4 * 3 + 1]
    assert (spared.once, spared.never) == ([2], [3])


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


@pytest.mark.parametrize(("start", "stop", "meets", "inside"), [
    (0, 5, False, False), (5, 11, True, False), (10, 20, True, True), (12, 13, True, True), (19, 21, True, False),
    (20, 30, False, False), (15, 15, False, False),
])  # fmt: skip
def test_ranges(start, stop, meets, inside):
    ranges = Ranges()
    assert ranges.add(10, 20)
    assert not ranges.add(12, 15)
    assert ranges.add(40, 50)
    assert ranges.meet(start, stop) is meets
    assert ranges.contain(start, stop) is inside
