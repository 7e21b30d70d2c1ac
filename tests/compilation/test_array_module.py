"""The module of groups: each text once, vector versions of functions, and the driver."""

from __future__ import annotations

import itertools
import re
from typing import Any

import numpy as np
import pytest

import numbad
from numbad.compilation import array_module
from numbad.compilation.array_module import ENTRANCE, ArrayModule, Texts, attach_vectors
from numbad.compilation.code import compile_module
from numbad.kernels.libmvec import versions
from numbad.kernels.machinecode import callable_at
from numbad.kernels.memory import address_of
from numbad.recording.inputs import FLOAT64
from shared.grouped import agree, group


def run(module: ArrayModule, plan: list[list[int]], *arguments: np.ndarray) -> int:
    """Run calls of a module: function, number of the arguments, start, stop."""
    code = compile_module(module.write(), ENTRANCE, module, 1)
    table = np.array(plan, np.int64)
    table[:, 1] = [address_of(arguments[k]) for k in table[:, 1]]
    return callable_at(code.address, FLOAT64, 3)(0.0, address_of(table), 0, len(table))


def test_equal_texts_are_one_function() -> None:
    module = ArrayModule()
    assert [module.add(text) for text in ("a", "b", "a")] == [0, 1, 0]


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_lists_are_read_and_added_to(dtype: Any) -> None:
    module, texts = ArrayModule(), Texts(dtype is np.float32)
    numbers = [module.add(text) for text in (texts.gather, texts.add_gathered, texts.scatter, texts.fill)]
    base, block = np.arange(10.0, dtype=dtype), np.full(4, 100.0, dtype)
    places = np.array([7, 2, 7, 0])
    given = np.array([address_of(places), address_of(base), address_of(block)])
    assert run(module, [[numbers[0], 0, 1, 4]], given) == 0
    assert block.tolist() == [100.0, 2.0, 7.0, 0.0]
    run(module, [[numbers[1], 0, 0, 4], [numbers[2], 0, 0, 3]], given)
    assert block.tolist() == [107.0, 4.0, 14.0, 0.0]
    assert base[[7, 2]].tolist() == [7.0 + 107.0 + 14.0, 2.0 + 4.0]
    zero = np.array([address_of(block), dtype(-0.0).view(np.int32 if dtype is np.float32 else np.int64)], np.int64)
    run(module, [[numbers[3], 0, 1, 3]], zero)
    assert np.signbit(block).tolist() == [False, True, True, False]


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_numbers_that_are_not_finite_are_told(dtype: Any) -> None:
    module = ArrayModule()
    number = module.add(Texts(dtype is np.float32).look)
    block = np.array([1.0, np.finfo(dtype).max, -0.0, np.finfo(dtype).tiny / 2, 5.0], dtype)
    given = np.array([address_of(block)])
    assert run(module, [[number, 0, 0, 5]], given) == 0
    for wrong in (np.nan, np.inf, -np.inf):
        block[3] = wrong
        assert [run(module, [[number, 0, start, stop]], given) for start, stop in ((0, 5), (0, 3), (4, 5))] == [1, 0, 0]


def test_the_driver_ends_where_a_function_says_so() -> None:
    module = ArrayModule()
    stops = module.add("  ret i64 %start")
    fills = module.add(Texts().fill)
    block = np.ones(3)
    given = np.array([address_of(block), 0])
    plan = [[stops, 0, 0, 0], [fills, 0, 0, 1], [stops, 0, 41, 0], [fills, 0, 1, 3]]
    assert run(module, plan, given) == 41
    assert block.tolist() == [0.0, 1.0, 1.0]


def test_vector_versions_are_those_of_the_machine() -> None:
    text = "  %a = tail call double @exp(double %b) #2\n  %c = tail call double @pow(double %a, double %b) #2\n"
    found = attach_vectors(text)
    for name, arity in (("exp", 1), ("pow", 2)):
        usable = versions(name, 8, arity)
        assert len(re.findall(rf"declare .*_{name}\(", found)) == len(usable)
        assert all(mapping in found for mapping, _, _ in usable)
    assert attach_vectors("  %a = fadd double %b, %c\n") == "  %a = fadd double %b, %c\n"


# ---------------------------------------------------------------- extremes


def check_extremes(lengths: tuple[int, ...], kinds: tuple[Any, ...] = (np.float64, np.float32)) -> None:
    """The largest and smallest along an axis against the interpreter's: with ties, infinities, and NaN in the value."""
    random = np.random.default_rng(5)
    for length, count, kind in itertools.product(lengths, (1, 40), kinds):
        points = [random.standard_normal((count, length)).astype(kind) for _ in range(2)]
        points.append(np.round(points[1]))  # ties
        points[1][count // 2, length // 2] = np.inf
        spoiled = points[0].copy()
        spoiled[-1, -1] = np.nan
        for extreme, axis in itertools.product((np.max, np.min), (0, 1)):
            weights = np.linspace(1.0, 2.0, length if axis == 0 else count).astype(kind)

            def value(x: Any, extreme: Any = extreme, axis: int = axis, weights: Any = weights) -> Any:
                return weights * np.arctan(extreme(2 * x, axis=axis))

            machine = agree(lambda x, value=value: np.sum(value(x)), *([point] for point in points))
            assert len(machine.forward) == len(machine.back) == 1, "a row is Python's"
            agree(value, [points[0]], [spoiled], [points[2]], transform=lambda f: f)


def test_extremes_along_an_axis() -> None:
    check_extremes((1, 2, 7, 8, 17, 130))


def test_extremes_are_no_rows_of_pythons() -> None:
    x = np.linspace(-1.0, 1.0, 600).reshape(60, 10) ** 3
    machine = agree(lambda x: np.sum(np.exp(x - np.max(x, axis=1, keepdims=True))), [x], [np.sin(9 * x)])
    assert len(machine.forward) == len(machine.back) == 1


def test_ties_of_nan_share_the_derivative() -> None:
    x = np.array([[1.0, 2.0, 2.0], [np.nan, 3.0, np.nan]])
    for f in (lambda x: np.sum(np.max(x * 1.0, axis=1)), lambda x: np.sum(np.min(x * 1.0, axis=1)[1:])):
        interpreted, jitted = numbad.jit(numbad.grad(f)), numbad.jit(numbad.grad(f))
        want = interpreted(x)
        jitted(x)
        group(jitted)
        np.testing.assert_array_equal(jitted(x), want)


EXTREME_DAMAGES = [
    ("EXTREME", "i64 %k\n  %x = load", "i64 0\n  %x = load"),
    ("EXTREME", "{kind} %so_far, {kind} %x", "{kind} %x, {kind} %x"),
    ("SHARE", "fcmp oeq {kind} %x, %best", "fcmp oge {kind} %x, %best"),
    ("SHARE", "fcmp oeq {kind} %k_x, %best", "fcmp ole {kind} %k_x, %best"),
    ("SHARE", "fdiv {kind} %bar, %parts", "fadd {kind} %bar, 0.0"),
    ("SHARE", "fadd {kind} %given, %share", "fadd {kind} -0.0, %share"),
    ("SHARE", "i64 [ 0, %found ], [ %i_after", "i64 [ 1, %found ], [ %i_after"),
]


@pytest.mark.parametrize(("name", "old", "new"), EXTREME_DAMAGES)
def test_damaged_extremes_are_noticed(name: str, old: str, new: str, monkeypatch: Any) -> None:
    text = getattr(array_module, name)
    assert text.count(old) == 1
    monkeypatch.setattr(array_module, name, text.replace(old, new))
    with pytest.raises(AssertionError):
        check_extremes((3, 17), (np.float64,))
        agree(lambda x: np.sum(np.max(x, axis=1) * x[:, 0]), [np.linspace(0.0, 1.0, 12).reshape(4, 3)])
