"""What machines of machine code leave to the machine before them, numbers and arrays alike."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import numbad
from numbad.replay.outer_machine import OuterMachine
from shared.compiled import promote
from shared.grouped import group


def root(x: Any) -> Any:
    """A value whose gradient is not finite at zero."""
    return np.sum(np.sqrt(np.abs(x) * x)) + x[0] * x[1]


@pytest.mark.parametrize(("compile_it", "count"), [(promote, 3), (group, 3), (group, 300)])
def test_what_is_not_finite_is_told_by_the_machine_before(compile_it: Any, count: int) -> None:
    fast, x = numbad.jit(numbad.value_and_grad(root)), np.linspace(0.5, 1.0, count)
    fast(x)
    machine = compile_it(fast)
    assert isinstance(machine, OuterMachine)
    for point, fell in ((x, False), (np.zeros(count), True), (2.0 * x, False)):
        value, slope = fast(point)
        want, other = numbad.value_and_grad(root)(point)
        assert machine.fell == fell and value == pytest.approx(want, rel=1e-14)
        np.testing.assert_allclose(slope, other, rtol=1e-13)


def test_a_machine_that_was_given_up_is_made_again() -> None:
    fast, x = numbad.jit(numbad.value_and_grad(root)), np.linspace(0.5, 1.0, 300)
    fast(x)
    machine = group(fast)
    before, made = machine.inner, []
    machine.kept, machine.make_inner = None, lambda: made.append(1) or before
    fast(x)
    assert not made
    np.testing.assert_array_equal(fast(np.zeros(300))[1], numbad.gradient(root, np.zeros(300)))
    fast(np.zeros(300))
    assert made == [1]


def test_bytes_are_of_what_the_code_speaks_of() -> None:
    def long(x: Any) -> Any:
        for _ in range(40):
            x = np.tanh(x[::-1] * 0.5)
        return np.sum(x)

    def bytes_of(count: int) -> int:
        fast = numbad.jit(numbad.value_and_grad(long))
        fast(np.ones(count))
        return group(fast).nbytes

    more = bytes_of(3000) - bytes_of(1000)
    assert 8 * 2000 * 40 < more < 8 * 2000 * 60
