"""Contents by their digests: kept, sent along, or found in files, and told where they are lacking."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from numbad.distributed import contents
from numbad.distributed.blocks import opened
from numbad.distributed.contents import Lacking, Shelf, Store, name_array, name_package, pack, read_content


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Store:
    monkeypatch.setattr("tempfile.mkdtemp", lambda prefix: str(tmp_path))
    return Store()


def test_names_of_arrays_follow_contents_shape_dtype_and_order() -> None:
    values = np.arange(6.0)
    others = [
        values.reshape(2, 3),
        values.reshape(3, 2),
        values.astype(np.float32),
        values.astype(np.int64),
        values + 1.0,
    ]
    names = {name_array(one) for one in [values, *others, np.asfortranarray(values.reshape(2, 3))]}
    assert len(names) == 7
    assert name_array(values) == name_array(values.copy())
    assert name_array(-np.zeros(3)) != name_array(np.zeros(3))


def test_contents_come_from_the_shelf_then_what_is_sent_then_a_file(store: Store) -> None:
    shelf, package = Shelf(), pack({"a": 1})
    name = name_package("loss", package)
    with pytest.raises(Lacking) as caught:
        shelf.find(name, {}, store.folder(), opened)
    assert caught.value.names == [name]
    store.write(name, package)
    assert shelf.find(name, {}, store.folder(), opened) == {"a": 1}
    assert shelf.find(name, {}, None, opened) == {"a": 1} and shelf.received == {"loss": 1}
    assert Shelf().find(name, {name: package.plain()}, None, opened) == {"a": 1}


@pytest.mark.parametrize("order", ["C", "F"])
def test_arrays_are_mapped_from_their_files(store: Store, order: Any) -> None:
    values = np.asarray(np.random.default_rng(0).standard_normal((3, 5)), order=order)
    name = name_array(values)
    store.write(name, values)
    found = read_content(Path(store.folder(), name))
    assert type(found) is np.ndarray and np.array_equal(found, values)
    assert found.flags.c_contiguous == values.flags.c_contiguous and not found.flags.writeable
    assert read_content(Path(store.folder(), "array-none")) is None


def test_a_shelf_holds_so_many_of_a_kind(monkeypatch: pytest.MonkeyPatch) -> None:
    shelf = Shelf()
    for k in range(10):
        shelf.put(f"point-{k}", k)
        shelf.put(f"other-{k}", k)
    assert list(shelf.things["point"]) == [f"point-{k}" for k in range(10 - contents.MOST_SHELVED["point"], 10)]
    assert len(shelf.things["other"]) == 10
    shelf.drop(["other-3", "other-30", "nothing-1"])
    assert "other-3" not in shelf.things["other"]


def test_old_files_go_where_there_are_too_many_bytes(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    arrays = [np.full(1000, float(k)) for k in range(4)]
    names = [name_array(values) for values in arrays]
    for name, values in zip(names, arrays, strict=True):
        store.write(name, values)
    monkeypatch.setattr(contents, "MOST_WRITTEN", 2 * 8200)
    store.tidy({names[0]})
    assert sorted(os.listdir(store.folder())) == sorted([names[0], names[3]])
    store.write(names[1], arrays[1])
    store.drop([names[0], "array-none"])
    assert sorted(os.listdir(store.folder())) == sorted([names[1], names[3]])
