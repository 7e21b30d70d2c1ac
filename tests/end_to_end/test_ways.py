"""Programs on both sides of the limits where one way takes over from another, against numbers from NumPy alone."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import numbad
from numbad.geometry import overlaps
from numbad.limits import BLAS_WORTH, LARGE, LARGE_INPUT, PIECE, RELABEL
from numbad.sweeps import fusion
from numbad.sweeps.matrix_rows import multiply_add
from numbad.sweeps.operands import add_broadcast
from shared.ways import (
    ENDS,
    KERNEL,
    NUMBERS,
    OF_WINDOWS,
    RESULTS,
    WIDE,
    check_a_view_covers_memory_only_if_it_names_each_element,
    check_jacobians_of_arrays_that_were_joined,
    check_neighbours_at_the_ends_of_pieces,
    check_numbers_beside_constant_arrays,
    close,
    from_windows,
    sample,
    windows,
)

# ---------------------------------------------------------------- views that overlap

LENGTHS = {
    "few": 9,
    "of the arena": min(LARGE_INPUT, LARGE // WIDE) - 1,
    "of an input": LARGE_INPUT + 9,
    "just small": (LARGE - 1) // WIDE + WIDE - 1,
    "large": LARGE // WIDE + WIDE - 1,
}


@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize("name", OF_WINDOWS)
def test_windows_have_the_derivatives_of_all_their_elements(name: str, length: str) -> None:
    f, slopes = OF_WINDOWS[name]
    n = max(LENGTHS[length], 2 * WIDE)
    x = sample(n)
    want = from_windows(slopes(windows(x, WIDE)), n)
    whole = lambda x: f(windows(x, WIDE))
    close(numbad.gradient(whole, x), want)
    replayed = numbad.jit(numbad.grad(whole))
    close(replayed(x + 0.25), from_windows(slopes(windows(x + 0.25, WIDE)), n))
    close(replayed(x), want)
    close(numbad.record(whole, x).gradient(x), want)
    pulled = numbad.jacrev(lambda x: np.stack([whole(x), 2.0 * whole(x)]))(x)
    close(pulled, np.stack([want, 2.0 * want]))


@pytest.mark.parametrize("name", ["a product", "copies", "by SciPy"])
@pytest.mark.parametrize("n", [2 * WIDE, LARGE_INPUT + 3])
def test_windows_with_many_seeds(name: str, n: int) -> None:
    f, slopes = OF_WINDOWS[name]
    x = sample(n)
    directions = np.random.default_rng(1).standard_normal((12, n))
    want = directions @ from_windows(slopes(windows(x, WIDE)), n)
    push = lambda v: numbad.jvp(lambda x: f(windows(x, WIDE)), (x,), (v,))[1]
    close(numbad.vmap(push)(directions), want)
    close(np.array([push(v) for v in directions]), want)
    _, pullback = numbad.vjp(lambda x: windows(x, WIDE) @ KERNEL, x)
    seeds = np.random.default_rng(2).standard_normal((12, n - WIDE + 1))
    close(numbad.vmap(pullback)(seeds)[0], np.stack([from_windows(np.outer(s, KERNEL), n) for s in seeds]))


def test_images_with_windows_in_two_directions() -> None:
    side = max(6, int(np.sqrt(LARGE / 9)) + 4)
    image = sample(side * side).reshape(side, side)
    kernel = np.arange(9.0).reshape(3, 3) - 2.0
    filtered = lambda image: np.sum(np.einsum("ijkl,kl->ij", windows(image, (3, 3)), kernel) ** 2)
    want = np.zeros((side, side))
    through = np.einsum("ijkl,kl->ij", windows(image, (3, 3)), kernel)
    for k in range(3):
        for m in range(3):
            want[k : k + side - 2, m : m + side - 2] += 2.0 * through * kernel[k, m]
    close(numbad.gradient(filtered, image), want)
    close(numbad.jit(numbad.grad(filtered))(image), want)


VIEWS = [
    ((5, 3), (1, 1)),
    ((3, 5), (1, 1)),
    ((4, 3, 2), (2, 1, 1)),
    ((4, 3), (2, 0)),
    ((3, 4), (-1, 1)),
    ((2, 2, 2), (1, 1, 1)),
    ((4, 1, 3), (3, 7, 1)),
    ((3, 4), (1, 2)),
]


@pytest.mark.parametrize(("shape", "steps"), VIEWS)
def test_each_addend_of_an_element_arrives(shape: tuple[int, ...], steps: tuple[int, ...]) -> None:
    offsets = sum(np.expand_dims(np.arange(n) * s, tuple(k for k in range(len(shape)) if k != axis))
                  for axis, (n, s) in enumerate(zip(shape, steps, strict=True)))  # fmt: skip
    memory = np.linspace(-1.0, 1.0, 40)
    view = np.lib.stride_tricks.as_strided(memory[10:], shape, [8 * s for s in steps])
    addend = np.random.default_rng(3).standard_normal(shape)
    want = memory.copy()
    np.add.at(want, 10 + offsets, addend)
    add_broadcast(view, addend)
    close(memory, want, 1e-14)
    assert overlaps(shape, list(steps)) or len(np.unique(offsets)) == offsets.size
    product = memory.copy()
    multiply_add(np.lib.stride_tricks.as_strided(product[10:], shape, [8 * s for s in steps]), addend, 2.0 * addend)
    want = memory.copy()
    np.add.at(want, 10 + offsets, 2.0 * addend**2)
    close(product, want, 1e-14)


def test_a_view_covers_memory_only_if_it_names_each_element() -> None:
    check_a_view_covers_memory_only_if_it_names_each_element()


# ---------------------------------------------------------------- blocks that several rows fill


@pytest.mark.parametrize("length", [3, RELABEL // 2 - 1, RELABEL // 2, RELABEL // 2 + 1, RELABEL + 1])
def test_jacobians_of_arrays_that_were_joined(length: int) -> None:
    check_jacobians_of_arrays_that_were_joined(length)


def test_a_product_that_adds_to_a_block_of_copies() -> None:
    n = RELABEL + 5
    a = sample(n)

    def f(p: Any) -> Any:
        y = np.zeros_like(np.concatenate([p[0] * a, p[1] * a]))
        y[:n] = p[0] * a
        y[n:] = p[1] * p[0] * a
        return y * y

    p = np.array([0.5, 2.0])
    want = np.zeros((2 * n, 2))
    want[:n, 0] = 2.0 * p[0] * a**2
    want[n:, 0], want[n:, 1] = 2.0 * p[0] * (p[1] * a) ** 2, 2.0 * p[1] * (p[0] * a) ** 2
    close(numbad.jacfwd(f)(p), want)
    close(numbad.jacrev(lambda p: f(p)[[0, n, 2 * n - 1]])(p), want[[0, n, 2 * n - 1]])


def test_sums_of_products_with_rows_of_the_identity() -> None:
    side = int(np.sqrt(BLAS_WORTH)) + 2
    matrix = sample(side * (side + 1)).reshape(side, side + 1)
    f = lambda x: np.stack([np.einsum("i,ij->", x, matrix), 2.0 * np.sum(x)])
    want = np.stack([matrix.sum(axis=1), np.full(side, 2.0)])
    close(numbad.jacfwd(f)(np.ones(side)), want)
    close(numbad.jacfwd(lambda x: np.einsum("i,ij->j", x, matrix))(np.ones(side)), matrix.T)


@pytest.mark.parametrize("again", range(2))
@pytest.mark.parametrize("inputs", [3, 20])
def test_jacobians_of_sets_of_constraints(again: int, inputs: int) -> None:
    constraint_sets(2000, inputs)


def constraint_sets(outputs: int, inputs: int) -> None:
    """Compare the Jacobians of three sets of constraints with their closed forms.

    They are: nonlinear equations of neighbours, with a block of bounds joined to them; products of a dense matrix; sums
    over windows of a chain, with rows that are assigned.
    """
    x = sample(inputs, 1)
    times = np.linspace(0.0, 1.0, outputs)
    matrix = np.random.default_rng(2).standard_normal((outputs, inputs))

    def neighbours(x: Any) -> Any:
        steps = x[1:] * x[:-1] - np.sin(x[1:])
        return np.concatenate([np.outer(times, x).sum(axis=1), steps, x - 1.0, x[0] * times])

    steps = np.zeros((inputs - 1, inputs))
    k = np.arange(inputs - 1)
    steps[k, k], steps[k, k + 1] = x[1:], x[:-1] - np.cos(x[1:])
    first = np.zeros((outputs, inputs))
    first[:, 0] = times
    want = np.concatenate([np.repeat(times[:, None], inputs, axis=1), steps, np.eye(inputs), first])
    close(numbad.jacfwd(neighbours)(x), want)

    dense = lambda x: np.tanh(matrix @ x) * times
    want = (times * (1.0 - np.tanh(matrix @ x) ** 2))[:, None] * matrix
    close(numbad.jacfwd(dense)(x), want)
    close(numbad.jacobian(dense, x), want)

    def assigned(x: Any) -> Any:
        y = np.zeros_like(np.concatenate([x[0] * times, x[1] * times]))
        y[:outputs] = x[0] * times
        y[outputs:] = np.sum(x**2) * times
        y[5:10] = x[1]
        return y

    want = np.zeros((2 * outputs, inputs))
    want[:outputs, 0] = times
    want[outputs:] = 2.0 * np.outer(times, x)
    want[5:10] = np.eye(inputs)[1]
    close(numbad.jacfwd(assigned)(x), want)
    rows = [0, 5, outputs - 1, outputs, 2 * outputs - 1]
    close(numbad.jacrev(lambda x: assigned(x)[rows])(x), want[rows])


# ---------------------------------------------------------------- results of fused groups


@pytest.mark.parametrize("n", [LARGE - 1, LARGE, LARGE + 17, 3 * PIECE + 5])
@pytest.mark.parametrize("name", RESULTS)
def test_results_are_in_memory_wherever_they_lie(name: str, n: int) -> None:
    f = RESULTS[name]
    fast = numbad.jit(f)
    tape = numbad.record(f, sample(n))
    for seed in range(3):
        x = sample(n, seed)
        close(fast(x), f(x), 1e-12)
        close(tape(x), f(x), 1e-12)


@pytest.mark.parametrize("n", [LARGE - 1, LARGE, PIECE + LARGE])
@pytest.mark.parametrize("name", ENDS)
def test_gradients_of_functions_that_end_inside_a_group(name: str, n: int) -> None:
    f, slope = ENDS[name]
    x = sample(n)
    close(numbad.gradient(f, x), slope(x))
    close(numbad.value_and_gradient(f, x), (f(x), slope(x)))
    close(numbad.jit(numbad.grad(f))(x), slope(x))
    close(numbad.record(f, x).gradient(x), slope(x))
    close(numbad.vjp(f, x)[1](2.0)[0], 2.0 * slope(x))


@pytest.mark.parametrize("n", [LARGE - 1, LARGE, LARGE + 9])
@pytest.mark.parametrize("parameters", [1, 4])
def test_examples_whose_gradients_are_many(n: int, parameters: int) -> None:
    powers = np.arange(1, parameters + 1)
    f = lambda p, z: sum(np.sin(p[k]) * z ** (k + 1) for k in range(parameters))
    p, z = sample(parameters, 5), sample(n, 6)
    want = np.cos(p) * z[:, None] ** powers
    mapped = numbad.vmap(numbad.grad(f), (None, 0))
    close(mapped(p, z), want)
    fast = numbad.jit(mapped)
    close(fast(p, z + 0.5), np.cos(p) * (z[:, None] + 0.5) ** powers)
    close(fast(p, z), want)


def test_what_joins_a_group() -> None:
    def reads(kind: int, address: int, count: int = 100) -> list[fusion.Operand]:
        return [fusion.Operand(kind, 0, address, address, address + (1 if kind == 2 else count) - 1)]

    group = fusion.Group(0, 100)
    assert group.accepts(reads(1, 10) + reads(1, 11))
    group.add(0, 500, reads(1, 10) + reads(1, 110))
    assert not group.shared
    group.add(0, 600, reads(1, 10) + reads(1, 11))
    assert group.shared  # one thread adds up the cotangents of what both read
    assert group.accepts(reads(1, 500))
    assert not group.accepts(reads(1, 501))  # a part of what the group has not written yet
    assert not group.accepts(reads(0, 401))
    assert group.accepts(reads(0, 400))
    assert not group.accepts(reads(2, 599))
    group.add(fusion.SUM, 700, reads(1, 10))
    assert not group.accepts(reads(1, 650))  # the sum is not known before the group has run
    assert not group.accepts(reads(2, 700))
    assert group.accepts(reads(2, 701))


def test_neighbours_at_the_ends_of_pieces() -> None:
    check_neighbours_at_the_ends_of_pieces()


# ---------------------------------------------------------------- numbers beside constant arrays


@pytest.mark.parametrize("name", NUMBERS)
def test_numbers_beside_constant_arrays(name: str) -> None:
    check_numbers_beside_constant_arrays(name)


# ---------------------------------------------------------------- tapes of numbers: a plain sweep, and a careful one


SWEEPS_OF_NUMBERS = {
    "a number": lambda f, x: numbad.gradient(f, x),
    "an element": lambda f, x: numbad.gradient(lambda x: f(x[0]), np.array([x]))[0],
    "a tape": lambda f, x: numbad.record(f, x).gradient(x),
    "a replay": lambda f, x: numbad.jit(numbad.grad(f))(x),
    "single precision": lambda f, x: numbad.gradient(lambda x: f(x[0]), np.array([x], np.float32))[0],
}


@pytest.mark.parametrize("way", SWEEPS_OF_NUMBERS)
@pytest.mark.parametrize("count", [1, 12, 300, 3000])
def test_tapes_of_numbers_keep_apart_what_is_absent_and_what_is_zero(way, count):
    gradient = SWEEPS_OF_NUMBERS[way]

    def total(term):
        def f(x):
            found = 0.0
            for k in range(count):
                found = found + term(x, k + 1.0)
            return found

        return f

    branch = total(lambda x, k: numbad.where(x > 0.0, np.sqrt(x), 3.0 * x) * k)
    close(gradient(branch, 0.0), 1.5 * count * (count + 1))  # an infinite slope of the branch that is not taken
    assert np.isnan(gradient(total(lambda x, k: np.arccos(x) * np.arccos(x) * k), 1.0))  # zero times infinity
    assert gradient(total(lambda x, k: np.sqrt(x) * k), 0.0) == np.inf
    flat = gradient(total(lambda x, k: np.sign(x) * k), -0.0)
    assert flat == 0.0 and not np.signbit(flat)
