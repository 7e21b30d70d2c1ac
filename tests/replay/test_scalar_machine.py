"""Which rows the machine for scalar rows runs for what `jit` is asked."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import numbad
from numbad.limits import FEW_ROWS
from numbad.replay.scalar_machine import ScalarMachine


def squares(x: Any) -> Any:
    total = 0.0
    for k in range(x.size):
        total = total + np.sin(x[k]) ** 2
    return total


@pytest.fixture
def machines(monkeypatch: pytest.MonkeyPatch) -> list[ScalarMachine]:
    """The machines that are made meanwhile."""
    made: list[ScalarMachine] = []
    arrange = ScalarMachine.arrange

    def arrange_and_note(self: ScalarMachine, *arguments: Any) -> None:
        made.append(self)
        arrange(self, *arguments)

    monkeypatch.setattr(ScalarMachine, "arrange", arrange_and_note)
    return made


def rows_of(transform: Callable[..., Any], machines: list[ScalarMachine], x: np.ndarray) -> int:
    machines.clear()
    numbad.jit(transform(squares))(x)
    return len(machines[0].code)


def test_a_gradient_alone_does_not_add_up_the_value(machines: list[ScalarMachine]) -> None:
    x = np.linspace(0.1, 1.0, FEW_ROWS)
    assert rows_of(numbad.value_and_grad, machines, x) - rows_of(numbad.grad, machines, x) >= FEW_ROWS - 1
    np.testing.assert_array_equal(numbad.jit(numbad.grad(squares))(x), numbad.gradient(squares, x))
