"""BLAS on one thread while blocks are computed, and as before afterwards."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from numbad import distributed
from numbad.distributed import blas_threads
from numbad.distributed.blas_threads import limit, loaded_libraries, one_blas_thread
from shared.block_sums import WEIGHTS, make_blocks, matrices, same_bits


def counts() -> list[int]:
    return [get() for get, _ in limit.known or []]


def test_a_library_is_found_and_limited() -> None:
    with one_blas_thread():
        pass
    assert limit.known, f"none of {loaded_libraries()} is known"
    before = counts()
    for _, put in limit.known:
        put(2)
    wide = counts()
    with one_blas_thread():
        assert set(counts()) == {1}
        with one_blas_thread():
            assert set(counts()) == {1}
        assert set(counts()) == {1}
        assert np.ones((300, 300)).dot(np.ones((300, 300)))[0, 0] == 300.0
    assert counts() == wide
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: limit.enter(), range(4)))
    assert set(counts()) == {1} and limit.depth == 4
    for _ in range(4):
        limit.leave()
    assert counts() == wide
    for (_, put), count in zip(limit.known, before, strict=True):
        put(count)


@pytest.mark.parametrize("threads", [1, 2])
def test_bits_do_not_depend_on_the_threads_of_blas(threads: int) -> None:
    blocks = make_blocks(2, (301, 499))
    expected = distributed.value_and_gradient(matrices, WEIGHTS, blocks)
    before = counts()
    try:
        for _, put in limit.known or []:
            put(threads)
        assert same_bits(distributed.value_and_gradient(matrices, WEIGHTS, blocks), expected)
    finally:
        for (_, put), count in zip(limit.known or [], before, strict=True):
            put(count)


def test_products_have_other_bits_on_two_threads() -> None:
    """Why there is a limit at all; where this no longer holds, it may go."""
    with one_blas_thread():
        pass
    random = np.random.default_rng(0)
    pairs = [(random.standard_normal((m, k)), random.standard_normal((k, m))) for m, k in ((300, 300), (401, 799))]
    found = []
    for threads in (1, 2):
        for _, put in limit.known or []:
            put(threads)
        found.append([one @ other for one, other in pairs])
    for one, other in zip(*found, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-12, atol=1e-12)


def test_libraries_without_the_functions_are_left_alone() -> None:
    assert blas_threads.controls(("/nowhere/libopenblas.so",)) == []
