"""What the sweeps of a tape are predicted to take, from the kinds of its rows."""

import re

import numpy as np
import pytest

import numbad
from numbad.pictures.costs import count_work, predict_costs, write_seconds
from shared.tapes import five

MATRIX = np.random.default_rng(3).normal(size=(30, 30))


@pytest.mark.usefixtures("usual_limits")
def test_work_is_counted_by_kind():
    def f(x):
        y = np.sin(MATRIX @ x)
        return np.sum(np.linalg.solve(MATRIX, y)) * x[0]

    tape = numbad.record(f, np.linspace(0.0, 1.0, 30))
    assert count_work(tape) == (1, 3, 30, 30, 900, 1)
    assert count_work(numbad.record(five, 2.0, 4.0)) == (5, 0, 0, 0, 0, 0)
    costs = predict_costs(tape)
    assert list(costs) == ["forward", "adjoint", "tangent"]
    assert costs["forward"] == pytest.approx(1e-9 * (3 + 3 * 150 + 30 * 0.5 + 30 * 0.6 + 900 * 0.1 + 10_000))


def test_costs_grow_with_the_tape():
    def chain(rows):
        def f(x):
            for _ in range(rows):
                x = x * 1.001
            return x

        return numbad.record(f, 1.0)

    assert predict_costs(chain(400))["adjoint"] == pytest.approx(4 * predict_costs(chain(100))["adjoint"])
    assert write_seconds(1.5e-8) == "15 ns"
    assert write_seconds(0.0123) == "12.3 ms"
    assert write_seconds(12.3) == "12.3 s"


def test_the_summary_names_kernels_and_predicts_times():
    tape = numbad.record(lambda x: np.sum(np.sort(x)) + x[0], np.arange(3.0))
    text = tape.summary()
    assert re.search(r"host sort_last +1 +3", text)
    assert re.search(r"predicted time of the sweeps: forward \S+ us, adjoint \S+ us, tangent \S+ us", text)
