"""Memory that is kept between sweeps: within its bound, given back when idle, never read by two."""

import threading
import time
from collections.abc import Iterator

import numpy as np
import pytest

import numbad
from numbad.kernels import parallel, pool
from numbad.limits import KEPT_BY_THREAD

SIZE = 1 << 16


@pytest.fixture
def fresh(monkeypatch: pytest.MonkeyPatch) -> Iterator[pool.Pool]:
    """Give the test a pool of its own, and put the bound back."""
    found = pool.Pool()
    monkeypatch.setattr(pool, "pool", found)
    before = numbad.config.kept_memory
    yield found
    numbad.config.kept_memory = before
    if found.timer is not None:
        found.timer.cancel()


def test_what_is_kept_is_taken_again_if_it_is_not_much_too_large(fresh: pool.Pool) -> None:
    large, small = np.empty(4 * SIZE, np.uint8), np.empty(SIZE, np.uint8)
    fresh.keep(large, large.nbytes)
    fresh.keep(small, small.nbytes)
    assert fresh.held() == 5 * SIZE
    assert fresh.take(5 * SIZE) is None
    assert fresh.take(SIZE // 4 - 1) is None
    assert fresh.take(SIZE) is small
    assert fresh.take(SIZE) is large
    assert fresh.take(SIZE) is None


def test_the_oldest_goes_beyond_the_bound(fresh: pool.Pool) -> None:
    numbad.config.kept_memory = 3 * SIZE
    kept = [np.empty(SIZE, np.uint8) for _ in range(4)]
    for buffer in kept:
        fresh.keep(buffer, buffer.nbytes)
    assert [buffer is other for (buffer, _), other in zip(fresh.buffers, kept[1:], strict=True)] == [True] * 3
    fresh.keep(np.empty(4 * SIZE, np.uint8), 4 * SIZE)  # more than all that may be kept
    assert fresh.held() == 3 * SIZE
    numbad.config.kept_memory = 0
    fresh.keep(kept[0], SIZE)
    assert fresh.held() == 0


def test_memory_counts_as_far_as_it_has_been_touched(fresh: pool.Pool) -> None:
    numbad.config.kept_memory = 2 * SIZE
    memory = pool.untouched(16 * SIZE)
    assert not memory.any()
    fresh.keep(memory, SIZE)
    assert fresh.held() == SIZE
    assert fresh.take(16 * SIZE) is memory
    fresh.keep(memory, SIZE)  # other parts, perhaps
    assert fresh.held() == 2 * SIZE
    assert fresh.take(16 * SIZE) is memory
    fresh.keep(memory, SIZE)
    assert fresh.held() == 0
    numbad.config.kept_memory = 32 * SIZE
    for touched in (15 * SIZE, 2 * SIZE, SIZE, SIZE):
        fresh.keep(memory, touched)
        assert fresh.take(16 * SIZE) is memory
    fresh.keep(memory, SIZE)
    assert fresh.held() == 16 * SIZE  # all of it, whatever is said of the last time


def test_idle_memory_is_given_back(fresh: pool.Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool, "IDLE", 0.2)
    fresh.keep(np.empty(SIZE, np.uint8), SIZE)
    time.sleep(0.1)
    fresh.keep(np.empty(SIZE, np.uint8), SIZE)
    assert fresh.held() == 2 * SIZE
    deadline = time.monotonic() + 10.0
    while fresh.held() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert fresh.held() == 0
    assert fresh.timer is None


def test_gradients_use_the_same_memory_again(fresh: pool.Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parallel, "count_threads", lambda: 1)  # each thread has scratch of its own
    n = KEPT_BY_THREAD // 8 + 1
    x = np.linspace(0.5, 1.5, n)

    def f(x: np.ndarray) -> np.ndarray:
        return np.sum(np.cumsum(np.sin(x)) * np.cumsum(x * x))

    for _ in range(3):  # what the first calls put back may be of other lengths than the next ones ask for
        first = numbad.gradient(f, x)
    held = fresh.held()
    again = numbad.gradient(f, x)
    assert fresh.held() == held
    np.testing.assert_array_equal(first, again)
    numbad.config.kept_memory = 0
    np.testing.assert_array_equal(first, numbad.gradient(f, x))
    assert fresh.held() == 0


def test_threads_never_share_memory(fresh: pool.Pool) -> None:
    n = 4 * KEPT_BY_THREAD // 8
    wrong = []

    def work(seed: int) -> None:
        x = np.random.default_rng(seed).uniform(0.5, 1.5, n)
        for _ in range(4):
            found = numbad.gradient(lambda x: np.sum(np.cumsum(x) * x), x)
            if not np.allclose(found, np.cumsum(x) + np.cumsum(x[::-1])[::-1], rtol=1e-9):
                wrong.append(seed)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
