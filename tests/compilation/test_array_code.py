"""Which paths over arrays may be compiled."""

from __future__ import annotations

import numpy as np
import scipy.special

import numbad
from numbad.compilation.array_code import find_flags, may_be_grouped
from numbad.tapes.workspaces import rows_of

X = np.linspace(0.1, 1.0, 60)


def test_rows_over_arrays_that_need_no_scipy_may_be() -> None:
    assert may_be_grouped(numbad.record(lambda x: np.sum(np.sin(x)), X))
    assert may_be_grouped(numbad.record(lambda x: np.sum(np.linalg.eigvalsh(x.reshape(6, 10) @ x.reshape(10, 6))), X))
    assert not may_be_grouped(numbad.record(lambda x: np.sum(scipy.special.jv(1.0, x)), X))
    assert not may_be_grouped(numbad.record(lambda x: x * 2.0, 1.0))


def test_flags_are_of_what_is_differentiated_by() -> None:
    tape = numbad.record(lambda x, y: np.sum(x * y), X, 2.0 * X)
    rows = rows_of(tape)
    assert find_flags(tape, rows, [True, False])[0] == 1
    assert find_flags(tape, rows, [False, True])[0] == 2
    assert find_flags(tape, rows, [True, True])[0] == 3
    assert not find_flags(tape, rows, None).any()
