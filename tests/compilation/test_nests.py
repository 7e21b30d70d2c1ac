"""Loop nests of groups: every op in them, and each kind of place that they read, write and add to."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import numbad
from numbad.compilation.nests import BAR, Back, Pull, describe, targets_of, write_forward
from numbad.compilation.places import Place
from numbad.ops import REGISTRY
from numbad.ops.definition import Op, find_ufunc
from shared.grouped import agree, groups_of
from shared.op_points import points

OPS = [op for op in REGISTRY if not op.host and not op.boolean and op.ufunc]


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("op", OPS, ids=lambda op: op.name)
def test_each_op_over_arrays(op: Op, dtype: Any) -> None:
    """Value and slopes of an op over an array, at points where they are finite."""
    f, argnums, most = find_ufunc(op.ufunc), tuple(range(op.arity)), np.sqrt(np.finfo(dtype).max)
    columns = [np.array(column, dtype)[:40] for column in points(op.name, dtype is np.float32)]
    weights = np.linspace(0.5, 1.5, len(columns[0]), dtype=dtype)
    loss = lambda weights: lambda *x: np.sum(f(*x) * weights)
    with np.errstate(all="ignore"):
        slopes = np.reshape(numbad.gradient(loss(weights), *columns, argnums=argnums), (op.arity, -1))
        kept = np.isfinite(f(*columns)) & (np.abs(slopes) < most).all(axis=0) & (np.abs(f(*columns)) < most)
    columns, weights = [column[kept] for column in columns], weights[kept]
    assert kept.sum() > 8
    agree(loss(weights), tuple(columns), transform=lambda f: numbad.value_and_grad(f, argnums=argnums))


X = np.linspace(0.1, 1.0, 60)


def test_equal_groups_have_equal_functions_and_other_places() -> None:
    found = groups_of(lambda x: np.sum(np.sin(np.sin(x * 2.0)[::-1] * 2.0)[::-1]), X)
    one, other = found[0], found[1]
    assert describe(one)[0] != describe(other)[0]
    turned = groups_of(lambda x: np.sum(np.sin(x[::-1] * 2.0)[::-1] ** 2), X)[0]
    assert describe(other)[1] == describe(turned)[1]
    assert write_forward(other).text == write_forward(turned).text
    assert write_forward(one).text != write_forward(other).text


def test_places_that_share_addresses_get_cotangents_one_after_another() -> None:
    found = groups_of(lambda x: np.sum(x[1:] * x[:-1] * x[0]), X)[0]
    parts = targets_of(found)
    assert len(parts) == 2 and sum(map(len, parts)) == 3
    assert not any(a.meets(b, found.shape) for part in parts for a in part for b in part if a != b)
    assert len(targets_of(groups_of(lambda x: np.sum(x[:30] * x[30:]), X)[0])) == 1


def test_a_place_without_cotangents_is_set_and_others_are_added_to() -> None:
    found = groups_of(lambda x: np.sum(x * x), X)[0]
    (place,), bars = targets_of(found)[0], {1}
    fresh = Back(found, Pull([place], {place}, bars)).write()
    added = Back(found, Pull([place], set(), bars)).write()
    assert "fadd" in added.text and fresh.text.count("load") < added.text.count("load")
    assert [kind for kind, _ in fresh.arguments].count(BAR) == 2


def test_sums_stay_in_registers_within_the_axes_that_they_are_over() -> None:
    found = groups_of(lambda x: np.sum(np.sum(x.reshape(2, 30) ** 2, axis=1) ** 2), X)[0]
    text = write_forward(found).text
    assert text.count("reassoc") == 1 and text.count("phi double") == 1
    assert write_forward(found).sums is False
    assert write_forward(groups_of(lambda x: np.sum(x * x), X)[0]).sums is True


def test_only_iterations_that_are_apart_are_marked() -> None:
    text = write_forward(groups_of(lambda x: np.sin(x) * 2.0, X)[0]).text
    assert text.count("!llvm.access.group !ACCESS") == 2 and text.count("!LOOP") == 1
    assert Place(0, 0, (1, 0)).names_each((3, 4)) is False
