"""A tape as text: rows, operands, values, adjoints, and the user's lines."""

import numpy as np
import pytest

import numbad
from shared.tapes import MATRIX, five, payoff


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
    assert "shared/tapes.py:" in text
    assert "x[0:29:2]" in text


def test_long_tapes_are_abbreviated():
    def f(x):
        for _ in range(500):
            x = x * 1.001
        return x

    lines = str(numbad.record(f, 1.0)).splitlines()
    assert len(lines) < 40
    assert any("498 more iterations of this row" in line for line in lines)
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
