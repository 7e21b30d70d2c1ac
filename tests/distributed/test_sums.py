"""Sums over blocks in this process: values, derivatives, recordings, and what they are not to be given."""

from __future__ import annotations

import gc
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import optree
import pytest

import numbad
from numbad import distributed
from numbad.distributed import ledgers, shipped_paths, workers
from numbad.distributed.contents import shelf
from numbad.distributed.derivatives import AUXILIARY, CURVATURE, GRADIENT, PRODUCT
from shared import block_sums
from shared.block_sums import WEIGHTS, branching, labelled, logistic, make_blocks, same_bits


@pytest.fixture(autouse=True)
def nothing_known() -> Iterator[None]:
    """Begin with nothing recorded."""
    ledgers.ledgers.clear()
    shelf.things.clear()
    yield
    ledgers.ledgers.clear()


def recordings(loss: Any, kind: str = GRADIENT) -> int:
    return ledgers.ledgers[kind, loss].recordings


def whole(loss: Any, blocks: list[Any]) -> Any:
    return lambda w: sum(loss(w, block) for block in blocks)


def close(one: Any, other: Any) -> None:
    found, expected = optree.tree_leaves(one), optree.tree_leaves(other)
    assert len(found) == len(expected)
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-11, atol=1e-11)


# ---------------------------------------------------------------- values and derivatives


@pytest.mark.parametrize("loss", [logistic, branching, block_sums.matrices])
@pytest.mark.parametrize("count", [1, 2, 5, 8])
def test_value_and_gradient_are_those_of_the_sum(loss: Any, count: int) -> None:
    blocks = make_blocks(count)
    close(
        distributed.value_and_gradient(loss, WEIGHTS, blocks), numbad.value_and_gradient(whole(loss, blocks), WEIGHTS)
    )
    close(distributed.gradient(loss, WEIGHTS, blocks), numbad.gradient(whole(loss, blocks), WEIGHTS))


def test_a_second_sum_has_the_same_bits() -> None:
    blocks = make_blocks(9)
    assert same_bits(*(distributed.value_and_gradient(branching, WEIGHTS, blocks) for _ in range(2)))


def test_bits_do_not_depend_on_how_often_a_path_has_run() -> None:
    block = (np.linspace(0.1, 2.0, 60).reshape(20, 3), np.ones(20))
    first = distributed.value_and_gradient(logistic, WEIGHTS[:3], [block])
    for _ in range(3):
        distributed.value_and_gradient(logistic, WEIGHTS[:3], [block] * 3000)  # `jit` would compile the path
    assert same_bits(distributed.value_and_gradient(logistic, WEIGHTS[:3], [block]), first)


def test_products_with_hessian_and_jacobian() -> None:
    blocks, v = make_blocks(7), np.cos(np.arange(6.0))
    close(distributed.hvp(branching, WEIGHTS, v, blocks), numbad.hvp(whole(branching, blocks), WEIGHTS, v))
    found = distributed.jacobian_product(branching, WEIGHTS, v, blocks)
    close(found, numbad.gradient(whole(branching, blocks), WEIGHTS) @ v)
    assert recordings(branching, CURVATURE) == recordings(branching, PRODUCT) == 7


def test_a_jacobian_product_of_trees() -> None:
    def loss(params: Any, x: Any) -> Any:
        return {"square": x * params["a"] ** 2, "sum": params["b"] * np.sum(x)}

    blocks, params = [np.array([1.0, 2.0]), np.array([3.0, 4.0])], {"a": 3.0, "b": 1.0}
    found = distributed.jacobian_product(loss, params, {"a": 1.0, "b": 2}, blocks)
    close(found, {"square": np.array([24.0, 36.0]), "sum": 20.0})


def test_what_is_auxiliary_comes_in_the_order_of_the_blocks() -> None:
    def loss(w: Any, block: Any) -> Any:
        return logistic(w, block), {"size": block[0].shape[0], "mean": np.mean(block[0] @ w)}

    blocks = make_blocks(6)
    (value, auxiliary), slopes = distributed.value_and_gradient(loss, WEIGHTS, blocks, has_aux=True)
    close((value, slopes), distributed.value_and_gradient(logistic, WEIGHTS, blocks))
    assert [part["size"] for part in auxiliary] == [len(x) for x, _ in blocks]
    close([part["mean"] for part in auxiliary], [np.mean(x @ WEIGHTS) for x, _ in blocks])
    slopes, again = distributed.gradient(loss, WEIGHTS, blocks, has_aux=True)
    close([part["mean"] for part in again], [part["mean"] for part in auxiliary])
    assert recordings(loss, AUXILIARY) == 4


def test_a_mean_is_the_sum_divided_by_the_number_of_blocks() -> None:
    blocks = make_blocks(5)
    value, slopes = distributed.value_and_gradient(logistic, WEIGHTS, blocks, reduce="mean")
    total, summed = distributed.value_and_gradient(logistic, WEIGHTS, blocks)
    assert value == total / 5 and np.array_equal(slopes, summed / 5)
    assert np.array_equal(
        distributed.hvp(logistic, WEIGHTS, WEIGHTS, blocks, reduce="mean"),
        distributed.hvp(logistic, WEIGHTS, WEIGHTS, blocks) / 5,
    )


def test_params_and_blocks_are_trees_of_any_kind() -> None:
    def loss(params: Any, block: Any) -> Any:
        scale = 2.0 if block["kind"] == "twice" else 1.0
        return scale * np.sum(params["a"] * block["x"]) * params["b"][0] + block["k"] * params["b"][1] ** 2

    params = {"a": np.array([1.0, 2.0]), "b": (3.0, np.float32(2.0))}
    blocks = [{"x": np.array([1.0, k]), "kind": ("once", "twice")[k % 2], "k": k, "none": None} for k in range(4)]
    found = distributed.value_and_gradient(loss, params, blocks)
    close(found, numbad.value_and_gradient(whole(loss, blocks), params))
    assert type(found[1]["b"][1]) is np.float32 and type(found[1]["b"][0]) is float


def test_single_precision_stays_single() -> None:
    blocks = [(x.astype(np.float32), y.astype(np.float32)) for x, y in make_blocks(3)]
    value, slopes = distributed.value_and_gradient(logistic, WEIGHTS.astype(np.float32), blocks, reduce="mean")
    assert type(value) is np.float32 and slopes.dtype == np.float32
    assert distributed.hvp(logistic, WEIGHTS.astype(np.float32), WEIGHTS, blocks).dtype == np.float32


def test_labels_vary_from_block_to_block_on_one_path() -> None:
    random = np.random.default_rng(3)
    blocks = [(random.standard_normal(30), random.integers(0, 6, 30)) for _ in range(20)]
    close(
        distributed.value_and_gradient(labelled, WEIGHTS, blocks),
        numbad.value_and_gradient(whole(labelled, blocks), WEIGHTS),
    )
    assert recordings(labelled) == 1
    assert distributed.hvp(labelled, WEIGHTS, WEIGHTS, blocks) == pytest.approx(
        numbad.hvp(whole(labelled, blocks), WEIGHTS, WEIGHTS)
    )


@pytest.mark.parametrize("order", ["C", "F", "steps", "backwards"])
def test_blocks_lie_in_memory_as_they_like(order: str) -> None:
    x, y = make_blocks(1)[0]
    lain = {"C": x, "F": np.asfortranarray(x), "steps": np.repeat(x, 2, axis=0)[::2], "backwards": x[::-1][::-1]}[order]
    close(
        distributed.value_and_gradient(logistic, WEIGHTS, [(lain, y)]),
        numbad.value_and_gradient(whole(logistic, [(x, y)]), WEIGHTS),
    )


def test_large_blocks_are_read_where_they_lie_and_have_no_cotangents() -> None:
    x = np.random.default_rng(0).standard_normal((30_000, 6))
    block = x, np.ones(30_000)
    expected = numbad.value_and_gradient(whole(logistic, [block]), WEIGHTS)
    close(distributed.value_and_gradient(logistic, WEIGHTS, [block] * 2, reduce="mean"), expected)
    (path,) = shelf.things["path"].values()
    (runner,) = path.idle
    execution = runner.machine.execution
    assert execution.rows.input_spaces == set()
    assert not any(np.shares_memory(values, part) for values in execution.spaces[1:] for part in block)


def test_blocks_are_functions_that_load_one(tmp_path: Path) -> None:
    blocks = make_blocks(4)
    expected = distributed.value_and_gradient(logistic, WEIGHTS, blocks)
    assert same_bits(distributed.value_and_gradient(logistic, WEIGHTS, [lambda b=b: b for b in blocks]), expected)
    assert same_bits(distributed.value_and_gradient(logistic, WEIGHTS, (b for b in blocks)), expected)
    file = tmp_path / "x.npy"
    np.save(file, np.concatenate([x for x, _ in blocks]))
    x, edges = np.load(file, mmap_mode="r"), np.cumsum([0, *(len(x) for x, _ in blocks)])
    mapped = [(x[i:j], y) for i, j, (_, y) in zip(edges, edges[1:], blocks, strict=False)]
    assert same_bits(distributed.value_and_gradient(logistic, WEIGHTS, mapped), expected)


def test_other_objects_among_the_leaves_are_recorded_anew() -> None:
    class Scenario:
        def __init__(self, rate: float) -> None:
            self.rate = rate

    def loss(w: Any, scenario: Any) -> Any:
        return np.sum(w**2) * scenario.rate

    blocks = [Scenario(0.5), Scenario(2.0)]
    value, slopes = distributed.value_and_gradient(loss, WEIGHTS, blocks)
    close((value, slopes), (2.5 * np.sum(WEIGHTS**2), 5.0 * WEIGHTS))
    assert recordings(loss) == 0


def test_a_rule_of_the_users_own_is_computed_where_it_is() -> None:
    @numbad.custom_vjp
    def cube(x: Any) -> Any:
        return x**3

    cube.defvjp(lambda x: (x**3, x), lambda x, bar: (bar * 30.0 * x**2,))
    blocks = [np.array([1.0]), np.array([2.0])]
    for _ in range(2):
        value, slope = distributed.value_and_gradient(lambda w, x: np.sum(cube(w * x)), 1.0, blocks)
        assert (value, slope) == (9.0, 30.0 * 9.0)


def test_solvers_are_found_by_name() -> None:
    def loss(w: Any, a: Any) -> Any:
        return np.linalg.slogdet(np.outer(w, w) + a)[1] + np.sum(np.linalg.solve(a, w))

    random = np.random.default_rng(1)
    blocks = [5.0 * np.eye(6) + 0.1 * random.standard_normal((6, 6)) for _ in range(3)]
    close(
        distributed.value_and_gradient(loss, WEIGHTS, blocks), numbad.value_and_gradient(whole(loss, blocks), WEIGHTS)
    )
    assert recordings(loss) == 1


# ---------------------------------------------------------------- recordings


def test_eight_recordings_for_four_shapes_and_two_branches() -> None:
    blocks = make_blocks(200)
    distributed.value_and_gradient(branching, WEIGHTS, blocks)
    assert recordings(branching) == 8
    distributed.value_and_gradient(branching, 2.0 * WEIGHTS, blocks[::-1])
    assert recordings(branching) == 8


def test_a_change_from_outside_is_noticed() -> None:
    factor = np.array([1.0])

    def loss(w: Any, x: Any) -> Any:
        return factor[0] * np.sum(w * x)

    blocks = [np.ones(6)] * 2
    assert distributed.value_and_gradient(loss, WEIGHTS + 1.0, blocks)[0] == pytest.approx(12.0)
    factor[0] = 2.0
    assert distributed.value_and_gradient(loss, WEIGHTS + 1.0, blocks)[0] == pytest.approx(24.0)


def test_a_block_that_changes_is_noticed() -> None:
    block = np.ones(6)
    assert distributed.gradient(lambda w, x: np.sum(w * x), WEIGHTS, [block])[0] == 1.0
    block[0] = 5.0
    assert distributed.gradient(lambda w, x: np.sum(w * x), WEIGHTS, [block])[0] == 5.0


def test_paths_beyond_the_most_are_recorded_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    def loss(w: Any, x: Any) -> Any:
        for k in range(9):
            if x[0] < k:
                return np.sum(w * x) * k
        return np.sum(w)

    blocks = [np.full(6, k % 9 - 0.5) for k in range(30)]
    expected = distributed.value_and_gradient(loss, WEIGHTS, blocks)
    assert recordings(loss) == 9
    close(expected, numbad.value_and_gradient(whole(loss, blocks), WEIGHTS))
    ledgers.ledgers.clear()
    monkeypatch.setattr(ledgers, "MOST_PATHS", 3)
    for _ in range(2):
        assert same_bits(distributed.value_and_gradient(loss, WEIGHTS, blocks), expected)
    assert recordings(loss) == 3


def test_signatures_beyond_the_most_are_recorded_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledgers, "MOST_SIGNATURES", 2)
    blocks = [(np.ones(6), float(k), k) for k in range(5)]
    for _ in range(2):
        value, _ = distributed.value_and_gradient(lambda w, b: np.sum(w * b[0]) * b[1] + b[2], WEIGHTS, blocks)
        assert value == pytest.approx(10.0)


def test_functions_of_which_nothing_is_kept_work_too() -> None:
    class Loss:
        __hash__ = None  # type: ignore[assignment]

        def __eq__(self, other: object) -> bool:
            return False

        def __call__(self, w: Any, x: Any) -> Any:
            return np.sum(w * x)

    assert distributed.gradient(Loss(), WEIGHTS, [np.ones(6)] * 2).tolist() == [2.0] * 6
    for k in range(2 * ledgers.MOST_LEDGERS):
        distributed.gradient(lambda w, x, k=k: np.sum(w * x) * k, WEIGHTS, [np.ones(6)])
    assert len(ledgers.ledgers) == ledgers.MOST_LEDGERS


def test_a_path_that_is_lost_from_the_shelf_is_sent_again() -> None:
    blocks = make_blocks(3)
    expected = distributed.value_and_gradient(logistic, WEIGHTS, blocks)
    shelf.things.clear()
    gc.collect()
    assert same_bits(distributed.value_and_gradient(logistic, WEIGHTS, blocks), expected)


# ---------------------------------------------------------------- paths that travel are damaged on purpose


def other_result(description: dict[str, Any]) -> None:
    """Read the value elsewhere."""
    description["results"] = [places - 1 for places in description["results"]]


def other_inputs(description: dict[str, Any]) -> None:
    """Differentiate with respect to another input."""
    description["chosen"] = [len(description["tape"]["inputs"]) - 2]


@pytest.mark.parametrize("damage", [other_result, other_inputs])
def test_a_damaged_path_is_seen(damage: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    blocks = make_blocks(4)
    expected = numbad.value_and_gradient(whole(branching, blocks), WEIGHTS)
    before = shipped_paths.describe_program

    def damaged(program: Any) -> dict[str, Any]:
        found = before(program)
        damage(found)
        return found

    monkeypatch.setattr(shipped_paths, "describe_program", damaged)
    with pytest.raises((AssertionError, ValueError, KeyError, TypeError)):
        close(distributed.value_and_gradient(branching, WEIGHTS, blocks), expected)


def test_a_path_without_its_guards_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    blocks = [(x[:25], y[:25]) for x, y in make_blocks(8, (25,))]
    expected = numbad.value_and_gradient(whole(branching, blocks), WEIGHTS)
    close(distributed.value_and_gradient(branching, WEIGHTS, blocks), expected)
    ledgers.ledgers.clear()
    shelf.things.clear()
    monkeypatch.setattr(workers.LoadedPath, "run", lambda self, values: held(self, values))
    before = shipped_paths.Runner.run

    def held(path: Any, values: Any) -> Any:
        runner = shipped_paths.Runner(path.package.open())
        runner.machine.run = lambda *given, run=runner.machine.run: min(run(*given), -1)
        return before(runner, values)

    with pytest.raises(AssertionError):
        close(distributed.value_and_gradient(branching, WEIGHTS, blocks), expected)


# ---------------------------------------------------------------- errors


def fails(error: type[Exception], text: str, *arguments: Any, **options: Any) -> str:
    with pytest.raises(error) as caught:
        distributed.value_and_gradient(*arguments, **options)
    assert text in str(caught.value)
    return str(caught.value) + "".join(getattr(caught.value, "__notes__", []))


def test_no_blocks() -> None:
    assert "pass a list" in fails(numbad.InputError, "there are no blocks", logistic, WEIGHTS, [])
    used = iter(make_blocks(2))
    distributed.gradient(logistic, WEIGHTS, used)
    assert "make it anew" in fails(numbad.InputError, "there are no blocks", logistic, WEIGHTS, used)


def test_blocks_without_elements() -> None:
    blocks = [*make_blocks(2), (np.ones((0, 6)), np.ones(0))]
    said = fails(numbad.InputError, "shape (0, 6)", logistic, WEIGHTS, blocks)
    assert "leave such blocks out" in said and "in block 2 of 3" in said
    said = fails(
        numbad.InputError, "shape (0, 6)", logistic, WEIGHTS, [*make_blocks(1), lambda: (np.ones((0, 6)), 1.0)]
    )
    assert "in block 1 of 2" in said


class Short:
    """Says that it has five blocks, and has three."""

    def __len__(self) -> int:
        return 5

    def __iter__(self) -> Any:
        return iter(make_blocks(3))


def test_blocks_that_end_early() -> None:
    fails(numbad.InputError, "the blocks ended after 3 of 5", logistic, WEIGHTS, Short())


def test_an_iterator_that_raises() -> None:
    def blocks() -> Any:
        yield from make_blocks(2)
        raise OSError("the disk is gone")

    assert "when block 2 was asked for" in fails(OSError, "the disk is gone", logistic, WEIGHTS, blocks())


def test_blocks_that_are_nested_in_different_ways() -> None:
    def loss(w: Any, block: Any) -> Any:
        return np.sum(w * (block["x"] if isinstance(block, dict) else block[0]))

    said = fails(numbad.InputError, "block 1 is nested as {'x': *}", loss, WEIGHTS, [(np.ones(6),), {"x": np.ones(6)}])
    assert "others as (*,)" in said


def test_what_is_no_list_of_blocks() -> None:
    assert "np.array_split" in fails(numbad.InputError, "the blocks are a ndarray", logistic, WEIGHTS, np.ones((3, 6)))
    fails(numbad.InputError, "the blocks are a dict", logistic, WEIGHTS, {})
    fails(numbad.InputError, "the blocks are a int", logistic, WEIGHTS, 3)
    said = fails(numbad.InputError, "it was given 2 things", logistic, WEIGHTS, [np.ones(6)], [np.ones(6)])
    assert "pass tuples as blocks" in said


def test_a_loss_that_is_no_number() -> None:
    said = fails(numbad.OutputError, "returned an array of shape (6,)", lambda w, x: w * x, WEIGHTS, [np.ones(6)])
    assert "in block 0 of 1" in said


def test_results_of_other_shapes() -> None:
    with pytest.raises(numbad.OutputError, match="of block 1 gives results of the shapes"):
        distributed.jacobian_product(lambda w, x: w * x, 1.0, 1.0, [np.ones(2), np.ones(3)])


def test_params_without_a_derivative() -> None:
    fails(numbad.InputError, "a Python int (3)", logistic, 3, make_blocks(1))
    fails(numbad.InputError, "params has no numbers", logistic, {}, make_blocks(1))


def test_vectors_that_are_not_like_params() -> None:
    for vector in (1.0, np.ones(5), (WEIGHTS,), 1j * WEIGHTS):
        with pytest.raises(numbad.InputError, match="vector"):
            distributed.hvp(logistic, WEIGHTS, vector, make_blocks(1))


def test_options_that_are_not_known() -> None:
    assert "sum" in fails(ValueError, "reduce is 'max'", logistic, WEIGHTS, make_blocks(1), reduce="max")
    fails(numbad.InputError, "executor is a str", logistic, WEIGHTS, make_blocks(1), executor="threads")
    fails(numbad.InputError, "compute=False is for arrays of Dask", logistic, WEIGHTS, make_blocks(1), compute=False)
    fails(TypeError, "value_and_gradient", 3, WEIGHTS, make_blocks(1))


def test_a_call_inside_of_a_recording() -> None:
    with pytest.raises(numbad.RecordingError, match="while a function is recorded"):
        numbad.gradient(lambda w: distributed.gradient(logistic, w, make_blocks(1)), WEIGHTS)


def test_an_error_names_the_block_and_the_line() -> None:
    blocks = [(float(k), float(k == 3)) for k in range(6)]
    said = fails(ArithmeticError, "this block is bad", block_sums.failing, WEIGHTS, blocks)
    assert "in block 3 of 6, at" in said and 'raise ArithmeticError("this block is bad")' in said


def test_nan_is_found_in_its_block() -> None:
    blocks = [np.array([1.0, 2.0]), np.array([3.0, -1.0]), np.array([2.0, 5.0])]

    def loss(w: Any, x: Any) -> Any:
        return w * np.sum(np.log(x))

    assert np.isnan(distributed.value_and_gradient(loss, 1.0, blocks)[0])
    with numbad.debug_nans(), np.errstate(all="ignore"):
        said = fails(numbad.NonFiniteError, "log", loss, 1.0, blocks)
    assert "in block 1 of 3" in said and "np.log(x)" in said
    assert not numbad.config.debug_nans


def test_progress_is_shown_by_tqdm(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tqdm.auto", None)
    fails(numbad.InputError, "tqdm, which is not installed", logistic, WEIGHTS, make_blocks(1), progress=True)
    monkeypatch.undo()
    pytest.importorskip("tqdm")
    distributed.value_and_gradient(logistic, WEIGHTS, make_blocks(3), progress=True)
    assert "3/3" in capsys.readouterr().err


@pytest.mark.subprocess
def test_numbad_does_not_import_it() -> None:
    program = (
        "import sys, numbad; assert not [n for n in sys.modules if n.startswith('numbad.distributed')]\n"
        "numbad.distributed.gradient(lambda w, x: w * x, 1.0, [2.0, 3.0])\n"
        "assert not {'dask', 'distributed', 'joblib'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
