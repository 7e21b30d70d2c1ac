"""Orders of one task: what is opened once for them, and settings that the last thread to end puts back."""

from __future__ import annotations

import pickle
import threading
from typing import Any

import numpy as np

import numbad
from numbad import distributed
from numbad.distributed import workers
from numbad.distributed.blocks import Named
from numbad.distributed.contents import name_package, pack, shelf
from numbad.distributed.derivatives import GRADIENT
from numbad.distributed.signatures import look_at_part
from numbad.distributed.workers import IDENTITY, Book, Lacks, Missed, Order, Task, run_group, run_orders, watching
from shared.block_sums import WEIGHTS, branching, make_blocks, same_bits, waiting


def test_a_group_of_two_tasks(monkeypatch: Any) -> None:
    """The point is looked at once for each run of orders of one task."""
    seen: list[Any] = []
    monkeypatch.setattr(workers, "look_at_part", lambda part: (seen.append(part), look_at_part(part))[1])
    one, other = (Task(IDENTITY, GRADIENT, waiting, Book({}, set()), point) for point in (2.0, 3.0))
    given = [(Order(task, k, (10.0 * k,), "alone"), {}, ()) for k, task in enumerate((one, one, other, one))]
    seconds, replies = run_group(given)
    assert [reply.terms for reply in replies] == [(0.0, 0.0), (40.0, 40.0), (180.0, 120.0), (120.0, 120.0)]
    assert seconds > 0.0
    assert [part for part in seen if part in (2.0, 3.0)] == [2.0, 3.0, 2.0]


def test_what_one_order_brings_the_next_ones_have() -> None:
    point = pack(np.arange(40.0))
    name = name_package("point", point)
    shelf.drop([name])
    task = Task(IDENTITY, GRADIENT, waiting, Book({}, set()), Named(name))
    orders = [Order(task, k, (2.0,), "") for k in range(3)]
    replies = run_orders([(orders[0], {}, ()), (orders[1], {name: point}, ()), (orders[2], {}, ())])
    assert replies[0] == Lacks([name])
    assert all(isinstance(reply, Missed) for reply in replies[1:])


def test_orders_travel() -> None:
    task = Task(IDENTITY, GRADIENT, None, None, 1.0, True, 3, "folder")
    one, other = pickle.loads(pickle.dumps([Order(task, 1, (2.0,), "record"), Order(task, 2, (3.0,), "")]))
    assert one.task is other.task and one.task == task
    assert (one.number, one.block, one.grant, other.number) == (1, (2.0,), "record", 2)


def test_the_last_thread_puts_the_setting_back() -> None:
    """The first thread to begin is the first to end, as tasks of one worker do."""
    begun, ended = threading.Event(), threading.Event()

    def first() -> None:
        with watching(True):
            begun.set()
            ended.wait(10)

    def second() -> None:
        begun.wait(10)
        with watching(True):
            ended.set()
            thread.join()
            assert numbad.config.debug_nans
        found.append(numbad.config.debug_nans)

    found: list[bool] = []
    thread, last = threading.Thread(target=first), threading.Thread(target=second)
    for one in (thread, last):
        one.start()
    last.join()
    assert found == [False] and not numbad.config.debug_nans


def test_watching_changes_no_number() -> None:
    blocks = make_blocks(8)
    expected = distributed.value_and_gradient(branching, WEIGHTS, blocks)
    with numbad.debug_nans():
        assert same_bits(distributed.value_and_gradient(branching, WEIGHTS, blocks), expected)
    assert not numbad.config.debug_nans
