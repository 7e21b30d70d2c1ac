"""Boards: whoever computes chunks of Dask's arrays, all processes together record a path once."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import dask
import dask.array as da
import numpy as np
import pytest

import distributed as dask_distributed
from numbad import distributed
from numbad.distributed import boards, dask_graphs
from numbad.distributed.boards import Board, FileBoard, OwnBoard, SchedulerBoard, find_board
from numbad.distributed.contents import Package, store
from numbad.distributed.dask_graphs import books, find_path
from numbad.distributed.workers import Book, Done, Missed
from shared.block_sums import WEIGHTS, branching, make_blocks, same_bits

KEY = ("value", "loss-1", "signature")
ONE, OTHER = Package(b"one", ()), Package(b"other", (b"memory",))


def everybody(who: str) -> bool:
    return True


def nobody(who: str) -> bool:
    return False


# ---------------------------------------------------------------- what a board says


def test_one_records_and_the_others_wait() -> None:
    board = Board()
    assert board.consult(KEY, (), "a", everybody).what == "record"
    assert board.consult(KEY, (), "b", everybody).what == "wait"
    assert board.consult((*KEY[:2], "another"), (), "b", everybody).what == "record"
    board.note(KEY, "path-1", ONE, False)
    assert board.consult(KEY, (), "b", everybody) == ("paths", {"path-1": ONE})
    assert board.consult(KEY, ("path-1",), "b", everybody).what == "record"
    board.note(KEY, "path-2", OTHER, False)
    assert board.consult(KEY, ("path-1",), "a", everybody) == ("paths", {"path-2": OTHER})


def test_who_has_died_records_no_more() -> None:
    board = Board()
    board.consult(KEY, (), "a", everybody)
    assert board.consult(KEY, (), "b", nobody).what == "record"
    assert board.consult(KEY, (), "c", everybody).what == "wait"
    board.note(KEY, "", None, False)  # it has raised
    assert board.consult(KEY, (), "c", everybody).what == "record"


def test_what_is_loose_or_has_many_paths_is_recorded_without_telling(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(boards, "MOST_PATHS", 2)
    board = Board()
    board.consult(KEY, (), "a", everybody)
    board.note(KEY, "", None, True)
    assert board.consult(KEY, (), "b", everybody).what == "loose"
    other = (*KEY[:2], "another")
    for name in ("path-1", "path-2"):
        board.consult(other, (), "a", everybody)
        board.note(other, name, ONE, False)
    assert board.consult(other, ("path-1", "path-2"), "b", everybody).what == "loose"
    assert OwnBoard().consult(other, ("path-1", "path-2")).what == "loose"


def test_what_is_large_is_recorded_by_each(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(boards, "MOST_OF_ONE", 4)
    board = Board()
    board.note(KEY, "path-1", OTHER, False)
    for who in "ab":
        assert board.consult(KEY, (), who, everybody) == ("record", {})


def test_the_oldest_go_from_a_full_board(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(boards, "MOST_PINNED", 2 * ONE.nbytes)
    board = Board()
    keys = [(*KEY[:2], str(k)) for k in range(4)]
    board.consult(keys[0], (), "a", everybody)  # somebody is at it
    for key in keys[1:]:
        board.note(key, f"path-{key[2]}", ONE, False)
    assert list(board.entries) == [keys[0], *keys[2:]]


def test_a_board_in_a_file(tmp_path: Path) -> None:
    one, other = FileBoard(str(tmp_path)), FileBoard(str(tmp_path))
    assert one.consult(KEY, ()).what == "record"
    one.note(KEY, "path-1", ONE, False)
    assert other.consult(KEY, ()).packages == {"path-1": ONE}
    assert boards.is_running("1") and not boards.is_running(str(2**22 - 3))


def test_which_board() -> None:
    assert isinstance(find_board((store.folder(), 0)), FileBoard)
    assert isinstance(find_board(("/there/is/none", 0)), OwnBoard)


def test_who_waits_tries_what_the_other_has_recorded() -> None:
    """The replies of a worker, and what the board says, in turns."""
    said = iter([boards.Advice("wait", {}), boards.Advice("wait", {}), boards.Advice("paths", {"path-1": ONE})])

    class Told(OwnBoard):
        def consult(self, key: Any, known: Any) -> Any:
            return next(said)

    book, done = Book({}, set()), Done((1.0,), None, "s", "*")
    found = find_path(lambda grant: done if book.paths else Missed("s", 0), book, KEY[:2], Told())
    assert found is done and book.paths == {"s": ("path-1",)}


def test_a_chunk_that_raises_does_not_keep_others_waiting() -> None:
    board = Board()

    class Noting(OwnBoard):
        def consult(self, key: Any, known: Any) -> Any:
            return board.consult(key, known, "a", everybody)

        def note(self, *given: Any) -> None:
            board.note(*given)

    def run(grant: str) -> Any:
        if grant:
            raise KeyboardInterrupt
        return Missed("s", 0)

    with pytest.raises(KeyboardInterrupt):
        find_path(run, Book({}, set()), KEY[:2], Noting())
    assert board.consult((*KEY[:2], "s"), (), "b", everybody).what == "record"


# ---------------------------------------------------------------- processes


def loss(w: Any, x: Any, y: Any) -> Any:
    return branching(w, (x, y))


def chunks_of_four_shapes_and_two_branches() -> tuple[Any, Any, Any]:
    blocks = make_blocks(200)
    sizes = tuple(len(x) for x, _ in blocks)
    x, y = (np.concatenate([block[k] for block in blocks]) for k in range(2))
    expected = distributed.value_and_gradient(branching, WEIGHTS, blocks)
    return da.from_array(x, chunks=(sizes, 6)), da.from_array(y, chunks=(sizes,)), expected


def count_recordings() -> int:
    return books.recordings


@pytest.mark.subprocess
@pytest.mark.parametrize("threads", [1, 2])
def test_eight_recordings_on_a_cluster(threads: int) -> None:
    x, y, expected = chunks_of_four_shapes_and_two_branches()
    options = {"n_workers": 3, "threads_per_worker": threads, "host": "127.0.0.1", "dashboard_address": None}
    with dask.config.set({"distributed.comm.timeouts.connect": "30s"}):
        with dask_distributed.LocalCluster(**options) as cluster, dask_distributed.Client(cluster) as client:
            for _ in range(2):
                assert same_bits(distributed.value_and_gradient(loss, WEIGHTS, x, y, executor=client), expected)
            later = distributed.value_and_gradient(loss, WEIGHTS, x, y, compute=False)
            assert same_bits(client.compute(later).result(), expected)
            assert sum(client.run(count_recordings).values()) == 8


@pytest.mark.subprocess
def test_eight_recordings_by_processes_of_dask() -> None:
    x, y, expected = chunks_of_four_shapes_and_two_branches()
    path = Path(store.folder(), "board")
    path.unlink(missing_ok=True)
    with dask.config.set(scheduler="processes", num_workers=2):
        assert same_bits(distributed.value_and_gradient(loss, WEIGHTS, x, y), expected)
    board = pickle.loads(path.read_bytes())
    assert [len(entry.packages) for entry in board.entries.values()] == [2] * 4


def test_a_scheduler_that_knows_of_no_boards() -> None:
    class Worker:
        id = "worker"

        def _get_client(self) -> Any:
            raise OSError("no connection")

    board = SchedulerBoard(Worker())
    assert board.consult(KEY, ()).what == "record"
    board.note(KEY, "path-1", ONE, False)


def test_processes_forget_nothing_that_they_have_recorded() -> None:
    before = books.recordings
    x, y, expected = chunks_of_four_shapes_and_two_branches()
    dask_graphs.books.books.clear()
    with dask.config.set(scheduler="threads"):
        for _ in range(2):
            assert same_bits(distributed.value_and_gradient(loss, WEIGHTS, x, y), expected)
    assert books.recordings - before == 8
