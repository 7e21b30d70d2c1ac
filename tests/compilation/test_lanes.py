"""Functions of lanes: blocks on both sides of their width, what goes in and out of them, and loops within."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import numbad
from numbad.compilation import lane_groups, lanes
from numbad.compilation.lanes import FEWEST_ABREAST, choose_width, cut_straight
from numbad.compilation.loops import Segment
from shared.grouped import agree

STEPS = 40  # of a few rows each: more than a loop nest has


@pytest.fixture(autouse=True)
def _lanes_wherever_they_can_be(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lane_groups, "WORTH_MOVING", 0)


def oscillator(x: Any, v: Any, k: Any) -> Any:
    """Return where a spring is after some steps."""
    for _ in range(STEPS):
        v = v - 0.1 * k * x
        x = x + 0.1 * v
    return x


def lanes_of(machine: Any) -> int:
    """Return how many numbers the machine's blocks of lanes have: 0 where it has none."""
    return int(machine.block.size)


@pytest.mark.parametrize("count", [2, 7, 8, 9, 63, 64, 65, 200])
def test_values_and_gradients_of_few_and_of_many_lanes(count: int) -> None:
    random = np.random.default_rng(count)
    points = [tuple(random.normal(size=(3, count))) for _ in range(3)]
    every = lambda f: numbad.value_and_grad(f, argnums=(0, 1, 2))
    assert lanes_of(agree(lambda x, v, k: np.sum(oscillator(x, v, k) ** 2), *points, transform=every))
    assert lanes_of(agree(oscillator, *points, transform=lambda f: f))


def test_numbers_that_all_lanes_share_get_the_sum_of_what_each_adds() -> None:
    def f(p: Any, x: Any) -> Any:
        return np.sum(np.cos(oscillator(x, p[0] * 0.5, p[1])))

    points = [(np.array([0.3, 1.2 + k]), np.linspace(-1.0, 1.0 + k, 150)) for k in range(2)]
    assert lanes_of(agree(f, *points))
    assert lanes_of(agree(f, *points, transform=lambda f: numbad.grad(f, argnums=(0, 1))))


def test_lanes_that_lie_apart_and_backwards() -> None:
    def f(x: Any) -> Any:
        return np.sum(oscillator(x[::-1, 0], x[:, 1], x[3, 2]) * x[:, 2]) + np.sum(x[:, 1])

    assert lanes_of(agree(f, *[(np.random.default_rng(k).normal(size=(70, 3)),) for k in range(3)]))


def test_lanes_of_a_matrix_and_of_its_parts() -> None:
    def f(x: Any) -> Any:
        y = x[1:, 2:-1]
        for _ in range(STEPS):
            y = np.sin(y) + 0.3 * x[1:, 2:-1] * y - y * y * 0.1
        return np.sum(y * y) + np.sum(oscillator(x, x * 0.5, 2.0))

    assert lanes_of(agree(f, *[(np.random.default_rng(k).uniform(-0.5, 0.5, (9, 17)),) for k in range(3)]))


def test_steps_that_reach_two_and_three_back() -> None:
    def f(x: Any) -> Any:
        a, b, c = x, x * 0.5, x * 0.1
        for _ in range(STEPS):
            a, b, c = 0.5 * a + np.tanh(b) - 0.2 * c, a, b
        return np.sum(a * b) + np.sum(c)

    assert lanes_of(agree(f, *[(np.linspace(-1.0, 1.0 + k, 77),) for k in range(3)]))


def shaken(x: Any, shocks: Any, noise: Any) -> Any:
    """Return the mean of what some steps make of x, of more than twenty rows each, two of which call libm."""
    y = x
    for k in range(STEPS):
        y = y * np.exp(0.01 * (k % 7) - 0.02 * y) + 0.1 * shocks[k]
        for _ in range(6):
            y = y - 0.01 * y * y * y + 0.001 * x
        y = y + 0.01 * np.sin(y) * noise[k % 3]
    return np.mean(np.maximum(y, 0.5) * y)


def test_numbers_that_change_with_the_steps() -> None:
    noise = np.random.default_rng(1).normal(size=(3, 90))
    points = [(np.random.default_rng(k).normal(size=90), np.full((STEPS, 90), 0.1 * k)) for k in range(3)]
    every = lambda f: numbad.value_and_grad(f, argnums=(0, 1))
    assert lanes_of(agree(lambda x, shocks: shaken(x, shocks, noise), *points, transform=every))


def test_groups_that_move_much_are_loop_nests(monkeypatch: pytest.MonkeyPatch) -> None:
    def f(x: Any, shocks: Any) -> Any:
        y = x
        for k in range(STEPS):
            y = y * np.exp(-0.02 * shocks[k]) + 0.1 * shocks[k]
        return np.sum(y * y)

    points = [(np.random.default_rng(k).normal(size=90), np.full((STEPS, 90), 0.1 * k)) for k in range(2)]
    assert lanes_of(agree(f, *points))
    monkeypatch.setattr(lane_groups, "WORTH_MOVING", 8)
    assert not lanes_of(agree(f, *points))


def test_results_of_steps_that_are_read_elsewhere() -> None:
    def f(x: Any) -> Any:
        y, kept, total = x, [], 0.0
        for _ in range(STEPS):
            y = 0.9 * y + 0.1 * y * y - 0.02 * x
            kept.append(y)
            total = total + np.sum(y)
        return np.sum(np.stack(kept[::5]) ** 2) + total * 0.1 + kept[7][3]

    assert lanes_of(agree(f, *[(np.random.default_rng(k).uniform(-1.0, 1.0, 66),) for k in range(3)]))


def test_steps_that_mix_the_lanes_are_no_lanes() -> None:
    def f(x: Any) -> Any:
        for _ in range(12):
            for _ in range(4):
                x = x - 0.1 * np.sin(x)
            x = x - 0.1 * (x - x[::-1]) + 0.01 * np.mean(x)
        return np.sum(x)

    assert not lanes_of(agree(f, *[(np.linspace(0.1, 1.0 + k, 50),) for k in range(2)]))


def test_many_straight_rows() -> None:
    random = np.random.default_rng(5)
    functions = [np.sin, np.cos, np.tanh, np.arctan, np.square, np.negative]
    chosen, scales = random.integers(0, len(functions), 400), random.uniform(0.2, 1.0, 400)

    def f(x: Any) -> Any:
        a, b = x, 0.5 * x
        for k, scale in zip(chosen, scales):
            a, b = b + scale * functions[k](a), a * scale
        return np.sum(np.tanh(a) * b)

    assert lanes_of(agree(f, *[(np.linspace(-1.0, 0.5 + k, 100),) for k in range(2)]))


def test_derivatives_of_derivatives() -> None:
    def f(x: Any) -> Any:
        return oscillator(x[0], x[1] * x[1], np.sin(x[0]))

    points = [(np.random.default_rng(k).normal(size=(80, 2)),) for k in range(2)]
    assert lanes_of(agree(f, *points, transform=lambda f: numbad.vmap(numbad.grad(f))))
    agree(f, *points, transform=lambda f: numbad.vmap(numbad.hessian(f)))


def test_single_precision_is_left_to_loop_nests() -> None:
    points = [tuple(np.random.default_rng(k).normal(size=(3, 40)).astype(np.float32)) for k in range(2)]
    assert not lanes_of(agree(lambda x, v, k: np.sum(oscillator(x, v, k)), *points))


def test_a_gradient_that_is_not_finite_is_that_of_the_interpreter() -> None:
    def f(x: Any) -> Any:
        return np.sum(np.where(x > 0.0, np.sqrt(np.abs(x)), 0.0) + oscillator(x, x, x))

    x = np.linspace(0.5, 1.0, 30)
    agree(f, (x,))
    agree(f, (np.where(x > 0.9, 0.0, x),), fell=True)


def test_what_is_too_much_code_is_cut_into_loop_nests(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lanes, "MOST_COMPILED", 2)
    points = [tuple(np.random.default_rng(k).normal(size=(3, 40))) for k in range(2)]
    assert not lanes_of(agree(lambda x, v, k: np.sum(oscillator(x, v, k) ** 2), *points))


def test_memory_of_a_block_is_written_before_it_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    x, v, k = np.random.default_rng(1).normal(size=(3, 21))
    machine = agree(lambda x, v, k: np.sum(oscillator(x, v, k) * x), (x, v, k))
    expected = machine.read_gradient()
    machine.block[:] = np.nan
    machine.enter([x, v, k])
    assert machine.run() == -1 and not machine.fell
    assert machine.read_gradient()[0] == expected[0]
    np.testing.assert_array_equal(machine.read_gradient()[1][0], expected[1][0])


def test_blocks_are_as_wide_as_the_cache_and_the_lanes_allow() -> None:
    most = choose_width(1, 1 << 20)
    assert choose_width(1, 5) == FEWEST_ABREAST
    assert choose_width(1 << 24, 1 << 20) == FEWEST_ABREAST
    assert FEWEST_ABREAST <= choose_width(1, most) <= most


def test_straight_rows_are_cut_and_loops_are_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lanes, "LONGEST_STRAIGHT", 10)
    assert cut_straight(Segment(3, 25)) == [Segment(3, 10), Segment(13, 10), Segment(23, 5)]
    assert cut_straight(Segment(0, 30, 4)) == [Segment(0, 30, 4)]
