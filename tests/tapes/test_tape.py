"""Tapes: recording, running again, guards, printing, and the verification of damaged ones."""

import threading

import numpy as np
import pytest

import numbad
from numbad.errors import InputError, RecordingError
from shared.tapes import MATRIX, POINT, five, mixed


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


def test_float32_stays_float32():
    tape = numbad.record(lambda x: np.sum(x * 1.5), np.ones(4, np.float32))
    value, gradient = tape.value_and_gradient(np.full(4, 2.0, np.float32))
    assert value.dtype == gradient.dtype == np.float32
    assert value == np.float32(12.0)


def test_a_constant_function_has_a_zero_gradient():
    tape = numbad.record(lambda x: 3.0, np.ones(2))
    assert tape(np.ones(2)) == 3.0
    np.testing.assert_array_equal(tape.gradient(np.ones(2)), [0.0, 0.0])


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


def test_recording_values_are_not_inputs_of_a_tape():
    tape = numbad.record(lambda x: x * x, 2.0)
    with pytest.raises(RecordingError, match="call the function"):
        numbad.gradient(lambda x: tape(x), 3.0)
