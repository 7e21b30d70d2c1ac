"""Results written to arrays that exist, and memory that a tape keeps between calls."""

import sys
import threading
from pathlib import Path

import numpy as np
import pytest

import numbad
from numbad.errors import InputError
from shared.tapes import POINT, assert_same_tree, elsewhere, mixed, nested

HERE = Path(__file__).name

NESTED = ({"w": np.arange(3.0), "b": 0.5}, 2.0)


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
    assert HERE in str(caught.value)
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
