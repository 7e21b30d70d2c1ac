"""Patterns and colours in the files of tapes: found again, used, and refused where they are damaged."""

import io

import numpy as np
import pytest

import numbad
from numbad.errors import TapeError
from numbad.sparsity import prepared
from numbad.storage import container, sparse_patterns, tape_files

X = np.linspace(0.5, 2.0, 9)
W = np.random.default_rng(0).normal(size=(12, 9))


def dense_rows(x):
    return np.linalg.inv(np.diag(x) + 0.1)[0] * x


def curved(x):
    return np.sum(np.sin(np.linalg.inv(np.diag(x[:3]))[0] * x[:3])) + np.sum(x[1:] * x[:-1] ** 2)


def saved(tape):
    """Return the bytes of a tape."""
    file = io.BytesIO()
    tape.save(file)
    return file.getvalue()


def load(data):
    """Return the tape of some bytes."""
    return numbad.load(io.BytesIO(data))


def prepare(f, second):
    """Return a tape with a sparse derivative prepared."""
    tape = numbad.record(f, X)
    (tape.sparse_hessian if second else tape.sparse_jacobian)(X)
    return tape


@pytest.mark.parametrize(("f", "second"), [(dense_rows, False), (curved, True), (lambda x: x[1:] * x[:-1], False)])
def test_they_are_found_again_and_used(f, second, monkeypatch):
    tape = prepare(f, second)
    again = load(saved(tape))
    pattern, colouring = again.kept["saved", second]
    own = tape.kept["sparse", second]
    np.testing.assert_array_equal(pattern.indices, own.pattern.indices)
    assert (colouring is None) == (own.colouring is None)

    def refuse(*arguments):
        raise AssertionError("colours were looked for")

    monkeypatch.setattr(prepared, "choose_colouring", refuse)
    found, expected = ((t.sparse_hessian if second else t.sparse_jacobian)(X + 0.1) for t in (again, tape))
    np.testing.assert_array_equal(found.toarray(), expected.toarray())
    np.testing.assert_array_equal(again.sparsity(second).indices, own.pattern.indices)
    assert saved(load(saved(again))) == saved(again)


def test_a_file_without_them_is_as_it_was():
    data = saved(numbad.record(dense_rows, X))
    assert "sparse" not in container.unpack(np.frombuffer(data, np.uint8))[0]


def damaged(tape, change):
    """Return the bytes of a tape with one entry of its patterns changed, and a checksum that fits."""
    kept = sparse_patterns.describe_patterns

    def describe(tape, encoder):
        found = kept(tape, encoder)
        change(found["sparse"][0], encoder)
        return found

    tape_files.describe_patterns = describe
    try:
        return saved(tape)
    finally:
        tape_files.describe_patterns = kept


def put(name, function):
    """Return a change of an array of a pattern."""

    def change(entry, encoder):
        tape = change.tape
        pattern, colouring = tape.kept["sparse", False].pattern, tape.kept["sparse", False].colouring
        values = getattr(pattern if name in ("indptr", "indices") else colouring, name)
        values = values.astype(np.int64) if name == "by_column" else values
        entry[name] = encoder.put(function(values.copy()))

    return change


def first(value):
    """Return a function that changes the first element."""

    def change(values):
        values[:1] = value
        return values

    return change


DAMAGES = {
    "another shape": lambda entry, encoder: entry.update(shape=[1, 2]),
    "no truth value": lambda entry, encoder: entry.update(second=1),
    "no list": lambda entry, encoder: entry.update(indptr=None),
    "an unknown kind": lambda entry, encoder: entry.update(kind="best"),
    "not symmetric": lambda entry, encoder: entry.update(symmetric=True),
    "floats": put("indices", lambda values: values.astype(float)),
    "a column too large": put("indices", lambda values: np.where(values == 8, 9, values)),
    "columns out of order": put("indices", lambda values: values[::-1]),
    "a row that begins late": put("indptr", first(1)),
    "too few rows": put("indptr", lambda values: values[:-1]),
    "a colour that is taken": put("columns", lambda values: values * 0),
    "a colour too large": put("columns", first(10**9)),
    "a colour too small": put("columns", first(-7)),
    "few colours": put("columns", lambda values: values[:-1]),
    "a place too large": put("places", first(10**9)),
    "a place too small": put("places", first(-1)),
    "another place": put("places", lambda values: values[::-1]),
    "the other side": put("by_column", lambda values: 1 - values),
    "a step to nowhere": put("steps", lambda values: np.array([[0, 10**6]])),
    "steps": put("steps", lambda values: np.array([[0, 1]])),
}


@pytest.mark.parametrize("name", DAMAGES)
def test_damaged_files_are_refused(name):
    tape = prepare(dense_rows, False)
    change = DAMAGES[name]
    change.tape = tape
    with pytest.raises(TapeError):
        again = load(damaged(tape, change))
        again.sparse_jacobian(X)


def test_colours_that_sweep_much_more_than_the_entries_are_not_kept(monkeypatch):
    tape = prepare(dense_rows, False)
    data = saved(tape)
    monkeypatch.setattr(sparse_patterns, "ROOM", 0)
    with pytest.raises(TapeError, match="do not give its entries"):
        load(data)
    again = load(saved(tape))
    assert again.kept["saved", False][1] is None
    np.testing.assert_array_equal(again.sparse_jacobian(X).toarray(), tape.sparse_jacobian(X).toarray())


def test_a_pattern_without_an_entry_is_refused_when_it_is_used():
    tape = prepare(lambda x: x[1:] * x[:-1], False)
    whole = tape.kept["sparse", False].pattern
    less = type(whole)(whole.shape, np.minimum(whole.indptr, whole.entries - 1), whole.indices[:-1])
    tape.kept["sparse", False].pattern = less
    again = load(saved(tape))
    with pytest.raises(TapeError, match="is not that of its rows"):
        again.sparse_jacobian(X)
