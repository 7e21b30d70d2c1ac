"""Every compiled function has a source of as many arguments as its table says."""

from __future__ import annotations

import inspect

import pytest

from numbad.kernels import loading, switches
from numbad.ops import REGISTRY


@pytest.mark.parametrize("name", [*loading.list_functions(), *switches.BY_NUMBA])
def test_a_function_takes_what_the_table_says(name: str) -> None:
    taken = list(inspect.signature(switches.source_of(name)).parameters)
    assert taken[0] == "like"
    assert len(taken) == 1 + switches.count_integers(name)


def test_every_op_has_its_functions() -> None:
    names = set(loading.list_functions())
    for op in REGISTRY:
        assert (f"block_{op.name}" in names) == (not op.host)
        assert (f"points_adjoint_{op.name}" in names) == (not op.host and op.smooth)


def test_names_are_told_apart() -> None:
    assert switches.kind_and_op("points_adjoint_sin") == ("points_adjoint", "sin")
    assert switches.kind_and_op("points_log_sum") == ("points", "log_sum")
    assert switches.kind_and_op("partials_power") == ("partials", "power")
