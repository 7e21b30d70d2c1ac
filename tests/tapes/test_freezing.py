"""Recording a function into a tape: what it may return, and what it keeps of constants."""

import numpy as np
import pytest

import numbad
from numbad.errors import OutputError


def test_results_may_be_nested_arrays_and_constants():
    tape = numbad.record(lambda x: {"twice": 2.0 * x, "first": x[0], "flag": x[0] > 1.0, "fixed": 7.0}, np.ones(3))
    found = tape(np.array([4.0, 5.0, 6.0]))
    np.testing.assert_array_equal(found["twice"], [8.0, 10.0, 12.0])
    assert found["first"] == 4.0
    assert found["flag"] == np.True_
    assert found["fixed"] == 7.0
    with pytest.raises(OutputError, match="one number"):
        tape.gradient(np.ones(3))


@pytest.mark.parametrize("n", [10, 40, 300])
def test_constants_are_those_of_the_recording(n):
    matrix = np.eye(n)
    tape = numbad.record(lambda x: np.sum(matrix @ x), np.ones(n))
    matrix[0, 0] = 3.0
    assert tape(np.ones(n)) == n
    assert "matrix" in str(tape) or n * n <= 512


def test_bad_results_are_refused():
    for result in (None, "text", 1j):
        with pytest.raises(OutputError, match="returned"):
            numbad.record(lambda x, result=result: result, 1.0)


def test_an_error_inside_comes_through_and_leaves_nothing_behind():
    def f(x):
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        numbad.record(f, 1.0)
    assert numbad.record(lambda x: x + 1.0, 1.0)(2.0) == 3.0


def test_a_truth_value_has_no_gradient() -> None:
    tape = numbad.record(lambda x: x > 1.0, 2.0)
    with pytest.raises(numbad.OutputError, match="returned a truth value"):
        tape.gradient(3.0)
