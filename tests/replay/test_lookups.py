"""Elements at indices that vary, looked up by rows of a machine's own: the same as by the kernel of the recording."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import numbad
from numbad import limits
from numbad.replay import machines
from numbad.replay.whole_machine import WholeMachine

random = np.random.default_rng(4)
x, M = random.standard_normal(9), random.standard_normal((6, 5))

PROGRAMS: dict[str, tuple[Any, Any]] = {
    "elements": (x, lambda x, k: np.sum(np.sin(x[k]) * np.arange(4.0))),
    "rows": (M, lambda M, k: np.sum(np.sin(M[k % 6]))),
    "columns": (M, lambda M, k: np.sum(np.exp(M[:, k % 5]) * M[0, 0])),
    "pairs": (M, lambda M, k: np.sum(M[k % 6, k % 5] ** 3)),
    "one after the other": (x, lambda x, k: np.sum(np.sin(x[k])[k % 4] ** 2)),
    "of a view": (M, lambda M, k: np.sum(np.sin(M.T[k % 5, ::2]))),
    "of a product": (M, lambda M, k: np.sum((M @ M.T)[k % 6] ** 2)),
    "one row": (M, lambda M, k: np.sum(M[k[0] % 6] * M[k[1] % 6])),
    "loop over rows": (M, lambda M, k: sum(np.sum(np.cos(M[i % 6])) for i in k)),
}


def indices() -> np.ndarray:
    return random.integers(-9, 9, 4)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("name", PROGRAMS)
def test_replays(name: str, dtype: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    given, f = PROGRAMS[name]
    given = given.astype(dtype)
    jitted = numbad.jit(numbad.value_and_grad(f))
    jitted(given, indices())
    (paths,) = jitted.programs.values()
    machine = paths.programs[0].machine
    assert limits.SMALL_LIMITS or (isinstance(machine, WholeMachine) and machine.lookups)
    with monkeypatch.context() as patch:
        patch.setattr(machines, "gather_lookups", lambda rows: (rows, []))
        by_kernel = numbad.jit(numbad.value_and_grad(f))
        by_kernel(given, indices())
    close = {"rtol": 1e-5, "atol": 1e-5} if dtype == np.float32 else {"rtol": 1e-13, "atol": 1e-13}
    for _ in range(5):
        k = indices()
        alone = numbad.value_and_grad(f)(given, k)
        for found, other, wanted in zip(jitted(given, k), by_kernel(given, k), alone, strict=True):
            np.testing.assert_allclose(found, wanted, **close)
            np.testing.assert_allclose(other, wanted, **close)
            assert np.asarray(found).dtype == np.asarray(wanted).dtype
    assert jitted.paths == by_kernel.paths == 1


def test_an_index_that_is_not_refreshed_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    jitted = numbad.jit(lambda x, k: x[k])
    jitted(x, np.array([1, 2]))
    (paths,) = jitted.programs.values()
    machine = paths.programs[0].machine
    np.testing.assert_array_equal(jitted(x, np.array([3, 4])), x[3:5])
    if isinstance(machine, WholeMachine):
        machine.lookups = []
        assert not np.array_equal(jitted(x, np.array([5, 6])), x[5:7])


def test_out_of_bounds_is_numpys_error() -> None:
    jitted = numbad.jit(numbad.grad(lambda x, k: np.sum(x[k])))
    jitted(x, np.array([1, 2]))
    for bad in (9, -10):
        with pytest.raises(IndexError, match=f"index {bad} is out of bounds for axis 0 with size 9"):
            jitted(x, np.array([bad, 2]))
    np.testing.assert_array_equal(jitted(x, np.array([8, 8])), 2.0 * np.eye(9)[8])


def test_a_row_that_is_written_to_is_a_view() -> None:
    def through_the_row(M: Any, k: Any) -> Any:
        N = M * 1.0
        row = N[k[0]]
        row += 1.0
        return np.sum(N**2)

    def under_the_row(M: Any, k: Any) -> Any:
        N = M * 1.0
        row = N[k[0]]
        N[k[1]] = 5.0
        return np.sum(row * N[0])

    def caught(M: Any, k: Any) -> Any:
        N = M * 1.0
        row = N[k[0]]
        try:
            N[2] = 5.0
        except Exception:
            return np.sum(M)
        return np.sum(row * N)

    for f in (through_the_row, under_the_row, caught):
        jitted = numbad.jit(numbad.grad(f))
        for k in ([1, 2], [2, 2], [5, 0], [2, 1], [2, 2]):
            np.testing.assert_allclose(jitted(M, np.array(k)), numbad.grad(f)(M, np.array(k)), rtol=1e-13)


def test_an_input_that_is_not_differentiated_has_no_cotangents() -> None:
    f = lambda w, z, k: np.sum(np.sin(z @ w)[k] * z[k])
    w, z = random.standard_normal((5, 5)), random.standard_normal((6, 5))
    for argnums, which in ((0, (0,)), (1, (1,)), ((0, 1), (0, 1))):
        jitted = numbad.jit(numbad.grad(f, argnums=argnums))
        for _ in range(3):
            k = random.integers(0, 6, 3)
            found = jitted(w, z, k)
            wanted = numbad.gradient(f, w, z, k, argnums=(0, 1))
            for slope, place in zip(found if len(which) > 1 else (found,), which, strict=True):
                np.testing.assert_allclose(slope, wanted[place], rtol=1e-12, atol=1e-13)
