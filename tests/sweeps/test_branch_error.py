"""What is said where a tape meets a branch that would be taken otherwise."""

import re
from pathlib import Path

import numpy as np
import pytest

import numbad
from numbad.errors import BranchError
from shared.tapes import payoff

HERE = Path(__file__).name


def test_a_changed_branch_raises_in_the_users_words():
    tape = numbad.record(payoff, np.ones(4), 0.5)
    assert tape(np.full(4, 3.0), 1.0) == 6.0
    with pytest.raises(BranchError) as caught:
        tape(np.array([1.0, 1.0, 1.0, -1.0]), 0.5)
    text = str(caught.value)
    assert text.startswith("row 1 compared x[3] > strike as True when recorded; it is False now\n  at ")
    assert "shared/tapes.py:" in text
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
    assert HERE in str(caught.value)


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
