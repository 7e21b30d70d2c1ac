"""Ranks of an MPI program: each computes its run of blocks, and all have the bits of one process."""

from __future__ import annotations

import pickle
import shutil
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import numbad
from numbad import distributed
from numbad.distributed import ledgers
from numbad.distributed.shipped_paths import record_path
from shared.block_sums import WEIGHTS, branching, failing, make_blocks, same_bits


class Ranks:
    """Threads of this process that exchange what ranks exchange."""

    def __init__(self, size: int) -> None:
        self.size, self.given = size, [b""] * size
        self.barrier = threading.Barrier(size)


class Communicator:
    """What is used of a communicator of mpi4py's."""

    def __init__(self, ranks: Ranks, rank: int) -> None:
        self.ranks, self.rank = ranks, rank

    def Get_rank(self) -> int:
        return self.rank

    def Get_size(self) -> int:
        return self.ranks.size

    def bcast(self, thing: Any, root: int = 0) -> Any:
        return self.allgather(thing)[root]

    def allgather(self, thing: Any) -> list[Any]:
        self.ranks.given[self.rank] = pickle.dumps(thing)
        self.ranks.barrier.wait(5)
        found = [pickle.loads(given) for given in self.ranks.given]
        self.ranks.barrier.wait(5)
        return found


def on_ranks(size: int, function: Any) -> list[Any]:
    """Return what a function of a communicator gives on each rank: a result, or an error."""
    ranks, found = Ranks(size), [None] * size

    def run(rank: int) -> None:
        try:
            found[rank] = function(Communicator(ranks, rank))
        except Exception as error:
            found[rank] = error

    threads = [threading.Thread(target=run, args=(rank,)) for rank in range(size)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return found


@pytest.mark.parametrize("size", [1, 2, 3, 4, 8])
@pytest.mark.parametrize("count", [1, 3, 8, 21])
def test_all_ranks_have_the_bits_of_one_process(size: int, count: int) -> None:
    blocks = make_blocks(count)
    expected = distributed.value_and_gradient(branching, WEIGHTS, blocks)
    for found in on_ranks(size, lambda comm: distributed.value_and_gradient(branching, WEIGHTS, blocks, executor=comm)):
        assert same_bits(found, expected)


def test_what_is_auxiliary_is_in_order_on_all_ranks() -> None:
    def loss(w: Any, block: Any) -> Any:
        return branching(w, block), block[0].shape[0]

    blocks = make_blocks(7)
    found = on_ranks(3, lambda comm: distributed.gradient(loss, WEIGHTS, blocks, has_aux=True, executor=comm))
    assert all(auxiliary == [len(x) for x, _ in blocks] for _, auxiliary in found)


def test_a_mean_is_that_of_all_blocks() -> None:
    blocks = make_blocks(6)
    expected = distributed.gradient(branching, WEIGHTS, blocks, reduce="mean")
    for found in on_ranks(
        2, lambda comm: distributed.gradient(branching, WEIGHTS, blocks, reduce="mean", executor=comm)
    ):
        assert np.array_equal(found, expected)


def test_an_error_of_one_rank_is_raised_on_all() -> None:
    blocks = [(1.0, float(k == 4)) for k in range(6)]
    for error in on_ranks(3, lambda comm: distributed.gradient(failing, WEIGHTS, blocks, executor=comm)):
        assert isinstance(error, ArithmeticError)
        assert "in block 4" in "".join(error.__notes__)


def test_ranks_with_other_blocks_are_told() -> None:
    def run(comm: Any) -> Any:
        return distributed.gradient(branching, WEIGHTS, make_blocks(2 + comm.Get_rank()), executor=comm)

    for error in on_ranks(2, run):
        assert isinstance(error, numbad.InputError) and "the ranks have 2, 3 blocks" in str(error)
    for error in on_ranks(2, lambda comm: distributed.gradient(branching, WEIGHTS, [], executor=comm)):
        assert isinstance(error, numbad.InputError) and "there are no blocks" in str(error)


def test_ranks_record_a_path_once_in_all(monkeypatch: pytest.MonkeyPatch) -> None:
    """Four shapes and two branches, which all ranks meet: each rank with what it knows itself, as processes have it."""
    made: list[str] = []
    local = threading.local()

    def own_ledger(kind: str, loss: Any) -> Any:
        if not hasattr(local, "ledger"):
            local.ledger = ledgers.Ledger(kind, loss)
        return local.ledger

    def counting(*given: Any) -> Any:
        made.append(threading.current_thread().name)
        return record_path(*given)

    monkeypatch.setattr("numbad.distributed.sums.find_ledger", own_ledger)
    monkeypatch.setattr("numbad.distributed.workers.record_path", counting)
    blocks = make_blocks(96)
    expected = distributed.value_and_gradient(branching, WEIGHTS, blocks)
    for size in (2, 3, 8):
        made.clear()
        for found in on_ranks(
            size, lambda comm: distributed.value_and_gradient(branching, WEIGHTS, blocks, executor=comm)
        ):
            assert same_bits(found, expected)
        assert len(made) == 8


def test_what_cannot_be_kept_is_recorded_by_each_rank() -> None:
    class Token:
        """No number, and nothing that signatures know."""

    def loss(w: Any, block: Any) -> Any:
        return np.sum(w * block[0])

    blocks = [(float(k), Token()) for k in range(7)]
    for found in on_ranks(3, lambda comm: distributed.value_and_gradient(loss, WEIGHTS, blocks, executor=comm)):
        assert same_bits(found, distributed.value_and_gradient(loss, WEIGHTS, blocks))


PROGRAM = """
import numpy as np, numbad
from mpi4py import MPI
from shared.block_sums import WEIGHTS, branching, make_blocks, same_bits
from numbad.distributed import derivatives, ledgers
blocks, v, world = make_blocks(200), np.cos(np.arange(6.0)), MPI.COMM_WORLD
found = numbad.distributed.value_and_gradient(branching, WEIGHTS, blocks, executor=world)
recordings = world.allreduce(ledgers.ledgers[derivatives.GRADIENT, branching].recordings)
assert recordings == 8, recordings
assert same_bits(found, numbad.distributed.value_and_gradient(branching, WEIGHTS, blocks))
found = numbad.distributed.hvp(branching, WEIGHTS, v, blocks, executor=world)
assert np.array_equal(found, numbad.distributed.hvp(branching, WEIGHTS, v, blocks))
print("equal on rank", world.Get_rank(), flush=True)
"""


@pytest.mark.subprocess
@pytest.mark.parametrize("size", [1, 2, 3, 8])
def test_a_program_of_mpi(size: int, tmp_path: Path) -> None:
    pytest.importorskip("mpi4py")
    launcher = shutil.which("mpiexec", path=f"{Path(sys.executable).parent}:{Path('/usr/bin')}")
    if launcher is None:
        pytest.skip("there is no mpiexec")
    path = tmp_path / "program.py"
    path.write_text(PROGRAM)
    tests = Path(__file__).parents[1]
    program = f"import sys; sys.path.insert(0, {str(tests)!r}); exec(open({str(path)!r}).read())"
    command = [launcher, "-n", str(size), sys.executable, "-c", program]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("equal on rank") == size
