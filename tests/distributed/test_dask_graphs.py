"""Arrays of Dask and xarray: the bits of the same blocks in a list, computed or later."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import dask
import dask.array as da
import numpy as np
import pytest

import numbad
from numbad import distributed
from numbad.distributed import dask_graphs, ledgers
from numbad.distributed.contents import shelf
from numbad.distributed.shipped_paths import record_path
from shared.block_sums import WEIGHTS, branching, logistic, make_blocks, same_bits

CHUNKS = (40, 25, 40, 31, 25, 40, 7)


@pytest.fixture(autouse=True)
def nothing_known() -> None:
    """Begin with nothing recorded."""
    ledgers.ledgers.clear()
    shelf.things.clear()
    dask_graphs.books.books.clear()


def loss(w: Any, x: Any, y: Any) -> Any:
    return branching(w, (x, y))


def arrays() -> tuple[Any, Any, list[Any]]:
    blocks = make_blocks(len(CHUNKS), CHUNKS)
    x, y = (np.concatenate([block[k] for block in blocks]) for k in range(2))
    return da.from_array(x, chunks=(CHUNKS, 6)), da.from_array(y, chunks=(CHUNKS,)), blocks


@pytest.mark.parametrize("scheduler", ["synchronous", "threads"])
def test_the_bits_are_those_of_a_list(scheduler: str) -> None:
    x, y, blocks = arrays()
    expected = distributed.value_and_gradient(branching, WEIGHTS, blocks)
    v = np.cos(np.arange(6.0))
    with dask.config.set(scheduler=scheduler):
        for _ in range(2):
            assert same_bits(distributed.value_and_gradient(loss, WEIGHTS, x, y), expected)
        later = distributed.value_and_gradient(loss, WEIGHTS, x, y, compute=False)
        assert hasattr(later, "__dask_graph__")
        assert same_bits(later.compute(), expected)
        assert np.array_equal(distributed.gradient(loss, WEIGHTS, x, y), expected[1])
        assert np.array_equal(distributed.hvp(loss, WEIGHTS, v, x, y), distributed.hvp(branching, WEIGHTS, v, blocks))
        assert distributed.jacobian_product(loss, WEIGHTS, v, x, y) == distributed.jacobian_product(
            branching, WEIGHTS, v, blocks
        )
        mean = distributed.value_and_gradient(loss, WEIGHTS, x, y, reduce="mean")
        assert same_bits(mean, (expected[0] / 7, expected[1] / 7))


@pytest.mark.parametrize("count", range(1, 10))
def test_the_tree_is_the_same_for_any_number_of_chunks(count: int) -> None:
    values = np.random.default_rng(count).standard_normal(3 * count)
    chunked = da.from_array(values, chunks=3)

    def product(w: Any, x: Any) -> Any:
        return np.sum(w * x)

    with dask.config.set(scheduler="synchronous"):
        found = distributed.value_and_gradient(product, 0.1, chunked)
    assert found == distributed.value_and_gradient(product, 0.1, list(values.reshape(count, 3)))


def test_what_is_auxiliary() -> None:
    x, y, blocks = arrays()
    with dask.config.set(scheduler="synchronous"):
        (value, auxiliary), slopes = distributed.value_and_gradient(
            lambda w, x, y: (loss(w, x, y), np.mean(x @ w)), WEIGHTS, x, y, has_aux=True
        )
    assert same_bits((value, slopes), distributed.value_and_gradient(branching, WEIGHTS, blocks))
    assert auxiliary == pytest.approx([np.mean(x @ WEIGHTS) for x, _ in blocks])


def test_a_process_records_a_path_once(monkeypatch: pytest.MonkeyPatch) -> None:
    count = []
    monkeypatch.setattr(
        "numbad.distributed.workers.record_path", lambda *given: (count.append(1), record_path(*given))[1]
    )
    x, y, _ = arrays()
    with dask.config.set(scheduler="threads"):
        for _ in range(2):
            distributed.value_and_gradient(loss, WEIGHTS, x, y)
    assert len(count) == 4  # of four shapes


def test_other_executors_take_the_chunks_as_blocks() -> None:
    x, y, blocks = arrays()
    expected = distributed.value_and_gradient(branching, WEIGHTS, blocks)
    with ThreadPoolExecutor(2) as pool:
        assert same_bits(distributed.value_and_gradient(loss, WEIGHTS, x, y, executor=pool), expected)


def test_arrays_of_xarray() -> None:
    xarray = pytest.importorskip("xarray")
    x, y, blocks = arrays()
    named = xarray.DataArray(x, dims=("sample", "feature")), xarray.DataArray(y, dims="sample")
    expected = distributed.value_and_gradient(branching, WEIGHTS, blocks)
    with dask.config.set(scheduler="synchronous"):
        assert same_bits(distributed.value_and_gradient(loss, WEIGHTS, *named), expected)


def test_an_error_names_the_block_and_the_line() -> None:
    x = da.from_array(np.array([1.0, 2.0, -3.0, 4.0]), chunks=1)

    def root(w: Any, x: Any) -> Any:
        if x[0] < 0.0:
            raise ArithmeticError("a negative number")
        return np.sum(w * np.sqrt(x))

    with dask.config.set(scheduler="synchronous"), pytest.raises(ArithmeticError) as caught:
        distributed.value_and_gradient(root, 1.0, x)
    notes = "".join(caught.value.__notes__)
    assert "in block 2, at" in notes and 'raise ArithmeticError("a negative number")' in notes


@pytest.mark.parametrize(
    ("given", "text"),
    [
        (lambda x, y: (x.rechunk((40, 3)), y), "chunk it along the first axis alone"),
        (lambda x, y: (x, y.rechunk(50)), "chunk them alike"),
        (lambda x, y: (x, np.ones(208)), "argument 2 of the data is a ndarray"),
    ],
)
def test_chunks_that_do_not_fit(given: Any, text: str) -> None:
    x, y, _ = arrays()
    with pytest.raises(numbad.InputError, match=text):
        distributed.value_and_gradient(loss, WEIGHTS, *given(x, y))


def test_chunks_of_unknown_sizes() -> None:
    x, y, blocks = arrays()
    chosen = y > 0.5
    with dask.config.set(scheduler="synchronous"):
        value, _ = distributed.value_and_gradient(lambda w, x, y: logistic(w, (x, y)), WEIGHTS, x[chosen], y[chosen])
    kept = [(x[y > 0.5], y[y > 0.5]) for x, y in blocks]
    assert value == distributed.value_and_gradient(logistic, WEIGHTS, kept)[0]


def test_empty_chunks_are_refused() -> None:
    x, y, _ = arrays()
    nothing = y < 0.0
    with dask.config.set(scheduler="synchronous"), pytest.raises(numbad.InputError, match="a block has no elements"):
        distributed.value_and_gradient(lambda w, x, y: logistic(w, (x, y)), WEIGHTS, x[nothing], y[nothing])


def test_params_are_not_computed_behind_ones_back() -> None:
    x, y, _ = arrays()
    with pytest.raises(numbad.InputError, match=r"params\['w'\] is a dask Array") as caught:
        distributed.value_and_gradient(loss, {"w": x[0]}, x, y)
    assert "params['w'].compute()" in str(caught.value)
