"""One row in words: what it computes, of what, where it was written, and who reads it."""

import re
from pathlib import Path

import numpy as np
import pytest

import numbad
from shared.tapes import five

HERE = Path(__file__).name
MATRIX = np.random.default_rng(3).normal(size=(30, 30))


def test_a_row_is_explained_with_its_sources_partials_and_readers():
    tape = numbad.record(five, 2.0, 4.0)
    lines = tape.explain(2).splitlines()
    assert lines[0] == "row 2: v2 = v0 - v1"
    assert lines[1] == "  subtract: Difference."
    assert lines[2] == "  reads v0 of row 0, exp(x1) = 7.3890561"
    assert lines[3] == "  reads v1 of row 1, x1 * x2 = 8"
    assert lines[4] == "  value -0.6109439"
    assert lines[5] == "  dv2/d(v0) = 1: the adjoint of v0 gets that times the adjoint of v2"
    assert lines[6] == "  dv2/d(v1) = -1: the adjoint of v1 gets that times the adjoint of v2"
    assert lines[-1] == "  read by row 4"
    assert "read by the result" in tape.explain(-1)
    assert "= 1\n" in tape.explain(2, 0.0, 3.0)


def test_array_rows_hosts_and_guards_are_explained():
    def f(x):
        y = MATRIX @ x
        if y[0] > 1e9:
            return x[0]
        z = np.linalg.solve(MATRIX, np.sin(y))
        return np.sum(z[[0, 0, 1]]) + np.sort(x)[0]

    x = np.linspace(0.0, 1.0, 30)
    tape = numbad.record(f, x)
    words = "\n".join(tape.explain(k) for k in range(len(tape)))
    assert "contract: adds up products of two operands over 30 by 30 places, into 30 elements" in words
    assert "reads the constant MATRIX" in words
    assert "reads the input x of shape (30,)" in words
    assert "solve: Solution of a @ x = b. A Python kernel. Of operands of the shapes (30, 30), (30,)." in words
    assert "guard: stops a later run where the condition is not False" in words
    assert "sin: Sine. For each of 30 elements." in words
    assert re.search(rf"at .*{HERE}:\d+, in f:  y = MATRIX @ x", words)
    partial = np.cos(MATRIX @ x)
    assert f"= [{partial[0]:.4g}, {partial[1]:.4g}, .., {partial[-1]:.4g}] (30): the adjoint of v0" in words


def test_rows_that_are_not_there_are_refused():
    tape = numbad.record(five, 2.0, 4.0)
    for row in (5, -6):
        with pytest.raises(IndexError, match=f"row {row} of a tape of 5 rows"):
            tape.explain(row)
    with pytest.raises(TypeError):
        tape.explain("2")


def test_many_readers_are_abbreviated():
    def f(x):
        y = np.sin(x)
        return sum(y * (k + 2.0) for k in range(20))

    words = numbad.record(f, 1.0).explain(0)
    assert re.search(r"read by (row \d+, ){8}12 more rows$", words)
