"""Tapes on files: what comes back, what is refused, and damaged files, none of which may leave its memory."""

import collections
import copy
import dataclasses
import io
import json
import multiprocessing
import os
import pickle
import re
import subprocess
import sys
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import pytest

import numbad
import tape_mutants
from numbad.errors import BranchError, TapeError
from numbad.ops.definition import BY_NAME
from numbad.storage import container
from numbad.storage.tape_files import MOST_OPCODE

HERE = Path(__file__).name

Point = collections.namedtuple("Point", "a b")
BEGINNINGS = tape_mutants.beginnings()


def stored(tape):
    """Return the bytes of a tape's file."""
    file = io.BytesIO()
    tape.save(file)
    return file.getvalue()


def loaded(data, **keywords):
    return numbad.load(io.BytesIO(data), **keywords)


def changed(data, change):
    """Return a file whose description a function has changed, with a right checksum."""
    description, arrays = tape_mutants.take_apart(data)
    change(description)
    return tape_mutants.put_together(description, arrays)


def same(one, other):
    """Assert that two results are equal to the last bit, and of the same types."""
    import optree

    flat, other_flat = optree.tree_flatten(one), optree.tree_flatten(other)
    assert flat[1] == other_flat[1]
    for a, b in zip(flat[0], other_flat[0], strict=True):
        assert type(a) is type(b)
        assert np.asarray(a).dtype == np.asarray(b).dtype
        np.testing.assert_array_equal(a, b)


# ---------------------------------------------------------------- there and back


@pytest.mark.parametrize("place", range(len(BEGINNINGS)))
def test_a_loaded_tape_is_the_tape(place, tmp_path):
    tape, point = BEGINNINGS[place]
    tape.save(tmp_path / "a.tape")
    again = numbad.load(tmp_path / "a.tape")
    same(again(*point), tape(*point))
    if tape.output_tree is None:
        same(again.value_and_gradient(*point), tape.value_and_gradient(*point))
    assert str(again) == str(tape)
    assert again.summary() == tape.summary()
    assert stored(again) == stored(tape)
    assert os.listdir(tmp_path) == ["a.tape"]


def test_paths_may_be_text_paths_or_open_files(tmp_path):
    tape = numbad.record(lambda x: x * x, 3.0)
    tape.save(str(tmp_path / "text"))
    tape.save(tmp_path / "path")
    with open(tmp_path / "open", "wb") as file:
        tape.save(file)
    with open(tmp_path / "open", "rb") as file:
        assert numbad.load(file)(5.0) == 25.0
    assert numbad.load(str(tmp_path / "path"))(5.0) == 25.0
    with pytest.raises(FileNotFoundError):
        numbad.load(tmp_path / "nothing")
    with pytest.raises(IsADirectoryError):
        tape.save(tmp_path)


def test_a_failed_save_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "a.tape"
    numbad.record(lambda x: x * x, 3.0).save(path)
    monkeypatch.setattr(os, "replace", lambda *_: (_ for _ in ()).throw(OSError("full")))
    with pytest.raises(OSError, match="full"):
        numbad.record(lambda x: x + 1.0, 3.0).save(path)
    assert numbad.load(path)(5.0) == 25.0
    assert os.listdir(tmp_path) == ["a.tape"]


def test_the_users_line_is_text_in_a_loaded_tape(tmp_path):
    source = tmp_path / "model.py"
    source.write_text("def model(x):\n    if x > 1.0:  # the branch\n        return 2.0 * x\n    return x\n")
    names = {}
    exec(compile(source.read_text(), source, "exec"), names)
    data = stored(numbad.record(names["model"], 2.0))
    source.unlink()
    with pytest.raises(BranchError) as caught:
        loaded(data)(0.5)
    text = str(caught.value)
    assert "compared x > 1.0 as True when recorded; it is False now" in text
    assert "model.py:2, in model:  if x > 1.0:  # the branch" in text


def test_special_numbers_and_types_come_back():
    def f(x):
        return {
            "nan": float("nan"),
            2: (x * -0.0, np.inf),
            "bool": True,
            "f32": np.float32(1.5),
            "empty": np.empty((0, 3)),
        }

    tape = numbad.record(f, 1.0)
    again = loaded(stored(tape))
    same(again(2.0), tape(2.0))
    assert list(again(2.0)) == list(tape(2.0))
    assert np.signbit(again(2.0)[2][0])


def test_nested_containers_come_back_in_order():
    point = {"z": [1.0, (2.0, np.ones(3))], "a": collections.OrderedDict(q=3.0, b=4.0)}

    def f(p):
        return collections.OrderedDict(u=p["z"][0] * p["a"]["b"], t=[p["z"][1][1] * 2.0])

    tape = numbad.record(f, point)
    again = loaded(stored(tape))
    assert repr(again(point)) == repr(tape(point))
    assert again.input_trees == tape.input_trees


def test_named_tuples_come_back_if_their_type_is_given():
    tape = numbad.record(lambda p: Point(p.a * p.b, p.a), Point(2.0, 3.0))
    data = stored(tape)
    for types in ((Point,), Point, iter([Point])):
        assert loaded(data, types=types)(Point(5.0, 7.0)) == Point(35.0, 5.0)
    with pytest.raises(TapeError, match=r"named tuple [\w.]*test_tape_files\.Point with the fields 'a', 'b'") as caught:
        loaded(data)
    assert "numbad.load(path, types=(Point,))" in str(caught.value)
    other = collections.namedtuple("Point", "a c", module=Point.__module__)
    with pytest.raises(TapeError, match="the fields of the one that is given are a, c"):
        loaded(data, types=(other,))
    with pytest.raises(TypeError, match="types= takes named tuples"):
        loaded(data, types=(dict,))


def test_other_structures_are_refused_when_saving():
    point = collections.deque([1.0, 2.0])
    with pytest.raises(TapeError, match=re.escape("an argument is or holds a collections.deque")):
        stored(numbad.record(lambda p: p[0] * p[1], point))


def test_python_functions_with_rules_are_refused_when_saving():
    @numbad.custom_vjp
    def clipped(x):
        return x

    clipped.defvjp(lambda x: (x, None), lambda saved, bar: (np.clip(bar, -1.0, 1.0),))
    tape = numbad.record(lambda x: 5.0 * clipped(x), 3.0)
    with pytest.raises(TapeError, match="calls clipped, a Python function that has no registered name;") as caught:
        stored(tape)
    assert HERE in str(caught.value)
    assert copy.deepcopy(tape)(2.0) == 10.0


@pytest.mark.subprocess
def test_array_ops_of_scipy_come_back_and_sparse_matrices_are_refused(tmp_path):
    sparse, special = pytest.importorskip("scipy.sparse"), pytest.importorskip("scipy.special")
    x = np.array([0.5, 1.5, 2.5])
    tape = numbad.record(lambda x: np.sum(special.expi(x) + special.spence(x)), x)
    tape.save(tmp_path / "a.tape")
    same(numbad.load(tmp_path / "a.tape").value_and_gradient(x), tape.value_and_gradient(x))
    code = "import sys, numpy, numbad; print(numbad.load(sys.argv[1])(numpy.array([0.5, 1.5, 2.5])))"
    command = [sys.executable, "-c", code, str(tmp_path / "a.tape")]
    assert float(subprocess.run(command, capture_output=True, text=True, check=True).stdout) == tape(x)
    matrix = sparse.eye_array(3)
    with pytest.raises(TapeError, match="the call of sparse_product holds a scipy"):
        stored(numbad.record(lambda x: np.sum(matrix @ x), x))


# ---------------------------------------------------------------- names


def test_opcodes_are_found_by_name_in_another_order():
    tape = numbad.record(lambda x: np.sum(np.sin(x) * np.sin(x[0])), np.array([0.3, 0.7]))

    def exchange(description):
        opcodes = {name: opcode for name, opcode, _ in description["ops"]}
        assert set(opcodes) == {"sin", "multiply"}
        for entry in description["ops"]:
            entry[1] = opcodes["sin" if entry[0] == "multiply" else "multiply"]
        description["rows"] = [[name, opcode + 40] for name, opcode in description["rows"]]

    data = stored(tape)
    description, arrays = tape_mutants.take_apart(changed(data, exchange))
    code = np.frombuffer(arrays, np.uint32, 4 * len(tape)).reshape(-1, 4).copy()
    sin, multiply = BY_NAME["sin"].opcode, BY_NAME["multiply"].opcode
    for row in code:
        base = 256 if row[0] >= 256 and row[0] < 512 else 0
        row[0] = {sin: multiply + base, multiply: sin + base}.get(row[0] - base, row[0] + 40)
    moved = tape_mutants.put_together(description, code.tobytes() + arrays[code.nbytes :])
    np.testing.assert_array_equal(loaded(moved).code, tape.code)
    assert loaded(moved)(np.array([1.0, 2.0])) == tape(np.array([1.0, 2.0]))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda d: d["ops"][0].__setitem__(0, "gudermannian"), "the op gudermannian, which is not registered here"),
        (lambda d: d["ops"][0].__setitem__(2, 1), "has 1 operands in the file and 2 here"),
        (lambda d: d["ops"].clear(), "uses the opcode .* and does not say what it is"),
        (lambda d: d["rows"].append(["solder", 2000]), "rows of the kind solder"),
        (lambda d: d["hosts"][0].__setitem__("op", "solver"), "the array op solver, which is not registered here"),
        (lambda d: d["hosts"][0].__setitem__("settings", {"dict": [["check", 1]]}), "solve does not take operands"),
        (lambda d: d["hosts"][0]["results"].append([3]), "has no results of the shapes"),
    ],
)
def test_unknown_names_are_named(change, words):
    tape = numbad.record(lambda a, b: np.sum(np.linalg.solve(a, b)) * b[0], np.eye(3), np.ones(3))
    with pytest.raises(TapeError, match=words):
        loaded(changed(stored(tape), change))


@pytest.mark.subprocess
def test_an_op_of_the_users_own_is_found_by_its_name(tmp_path):
    """In one process that registers it, and then in one that does not."""
    script = """
import sys, numpy as np, numbad
if sys.argv[2] == "with":
    @numbad.op
    def softsign(x):
        \"\"\"x / (1 + |x|).\"\"\"
        return x / (1.0 + abs(x))
    @softsign.partials
    def softsign_partials(x):
        return 1.0 / (1.0 + abs(x)) ** 2
if sys.argv[1] == "save":
    numbad.record(lambda x: softsign(x) * 2.0, 1.0).save(sys.argv[3])
else:
    print(numbad.load(sys.argv[3]).value_and_gradient(3.0))
"""

    def run(*arguments):
        command = [sys.executable, "-c", script, *arguments, str(tmp_path / "a.tape")]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    assert run("save", "with").returncode == 0
    assert run("load", "with").stdout.strip() == "(1.5, 0.125)"
    assert "the tape uses the op softsign, which is not registered here" in run("load", "without").stderr


# ---------------------------------------------------------------- processes and copies


@pytest.mark.subprocess
def test_tapes_pickle_for_process_pools():
    tape = BEGINNINGS[3][0]
    point = BEGINNINGS[3][1]
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        found = pool.submit(tape.value_and_gradient, *point).result(timeout=100)
    same(found, tape.value_and_gradient(*point))


def test_copies():
    tape, point = BEGINNINGS[1]
    kept = [space for space in tape.spaces if space is not None]
    assert kept, "the matrix, as it was when the tape was recorded"
    assert all(any(space is part for space in copy.copy(tape).spaces) for part in kept)
    assert not any(space is part for space in copy.deepcopy(tape).spaces for part in kept)
    for again in (copy.copy(tape), copy.deepcopy(tape), pickle.loads(pickle.dumps(tape))):
        same(again.value_and_gradient(*point), tape.value_and_gradient(*point))
        assert str(again) == str(tape)
    named = numbad.record(lambda p: p.a * p.b, Point(2.0, 3.0))
    assert pickle.loads(pickle.dumps(named))(Point(5.0, 7.0)) == 35.0


# ---------------------------------------------------------------- damaged files


@pytest.fixture(scope="module")
def small():
    return stored(numbad.record(lambda x, y: np.exp(x) * y + np.sum(np.sin(np.ones(3) * x)), 1.0, 2.0))


def test_every_truncation_and_every_changed_byte_is_refused(small):
    for stop in range(len(small)):
        with pytest.raises(TapeError):
            loaded(small[:stop])
    for place in range(len(small)):
        damaged = bytearray(small)
        damaged[place] ^= 1 << place % 8
        with pytest.raises(TapeError):
            loaded(bytes(damaged))
    with pytest.raises(TapeError, match="something was added"):
        loaded(small + b"\0")


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "not a tape: it is empty"),
        (b"PK\x03\x04 and so on, an archive", "not a tape: it begins with"),
        (b"\x89numbad\n\x01", "ends after 9 bytes"),
        (tape_mutants.put_together({}, b"", version=7), "version 7 of the format; this numbad reads versions up to 1"),
        (tape_mutants.put_together({}, b"", version=0), "damaged: version 0"),
        (tape_mutants.put_together([], b""), "not a JSON object"),
        (tape_mutants.put_together({"arrays": []}, b""), "no array|said to be array None"),
        (
            tape_mutants.put_together({"arrays": [{"dtype": "<f8", "shape": [10**15], "order": "C"}]}, b""),
            "is not the shape",
        ),
        (
            tape_mutants.put_together({"arrays": [{"dtype": "<f8", "shape": [10**10], "order": "C"}]}, b""),
            "80000000000 bytes",
        ),
        (
            tape_mutants.put_together({"arrays": [{"dtype": "O", "shape": [1], "order": "C"}]}, bytes(64)),
            "does not describe",
        ),
    ],
)
def test_what_is_not_a_tape_is_refused(data, words):
    with pytest.raises(TapeError, match=words) as caught:
        loaded(data)
    assert "\n  do  " in str(caught.value)


def test_json_that_is_deep_long_or_wrong_is_refused(small):
    description, arrays = tape_mutants.take_apart(small)
    text = json.dumps(description)
    for wrong in ("[" * 100_000, '{"a":' * 50_000, "9" * 100_000, '{"arrays": NaN}', "\ud800", text + "x", text[:-1]):
        encoded = wrong.encode("utf-8", "surrogatepass")
        body = encoded + bytes(-(64 + len(encoded)) % 64) + arrays
        head = container.HEADER.pack(container.MAGIC, 1, 0, 64 + len(body), len(encoded))
        with pytest.raises(TapeError, match="JSON"):
            loaded(head + container.checksum(head, [body]) + body)
    deep = {"leaf": None}
    for _ in range(400):
        deep = {"tuple": [deep]}
    with pytest.raises(TapeError, match="nested"):
        loaded(changed(small, lambda d: d.__setitem__("output_tree", deep)))


def number_tape(**changes):
    """A file of x * x for a number x, with the entries of its input, output or whole description changed."""
    data = stored(numbad.record(lambda x: x * x, 3.0))

    def change(description):
        for name, value in changes.items():
            part, _, key = name.partition("__")
            holder = {"input": description["inputs"][0], "output": description["outputs"][0]}.get(part, description)
            holder[key if holder is not description else name] = value

    return changed(data, change)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"output__space": 1, "output__address": 4000}, "space 1"),
        ({"output__address": 4000}, "outside of the tape's memory"),
        ({"output__shape": [3], "output__strides": [1]}, "outside of the tape's memory"),
        ({"output__shape": [3], "output__strides": []}, "strides of a result"),
        ({"output__shape": [-1], "output__strides": [1]}, "shape of a result"),
        ({"output__shape": [0, 2**46, 2**46], "output__strides": [1, 1, 1]}, "shape of a result"),
        ({"input__space": 1, "spaces": [None, None]}, "x.*which cannot be|read before it is written"),
        ({"input__space": 1, "input__address": 0, "spaces": [None, None]}, "read before it is written"),
        ({"input__address": 10**12}, "outside of the arena"),
        ({"input__shape": [2**40]}, "outside of the arena"),
        ({"input__dtype": "float16"}, "float16"),
        ({"size": 10**15}, "size of the arena is said to be 10"),
        ({"size": 1}, "outside of the arena"),
        ({"spaces": []}, "space 0"),
        ({"input_trees": []}, "leaves"),
        ({"name": 5}, "name of the function"),
    ],
)
def test_hand_made_descriptions_are_refused(changes, words):
    with pytest.raises(TapeError, match=words):
        loaded(number_tape(**changes))


def test_an_output_larger_than_the_memory_is_refused():
    with pytest.raises((MemoryError, TapeError)):
        loaded(number_tape(output__shape=[2**45], output__strides=[0]))


def test_numbers_in_single_precision_do_not_take_the_shorter_way():
    tape = loaded(number_tape())
    assert tape._pairs is not None
    single = dataclasses.replace(tape, dtype=np.dtype(np.float32))
    assert single.value_and_gradient(3.0) == (9.0, 6.0)
    assert single._pairs is None


def test_operands_in_empty_memory_are_refused():
    empty = np.empty(0)
    tape = numbad.record(lambda x: np.sum(x * np.ones(600)), np.ones(600))
    spaces = [None if space is None else space for space in tape.spaces]
    place = next(k for k, space in enumerate(spaces) if space is not None)
    spaces[place] = empty
    with pytest.raises(TapeError, match="outside of its space"):
        numbad.verify(dataclasses.replace(tape, spaces=spaces))


def test_a_recurrence_of_two_shapes_is_refused():
    tape = numbad.record(lambda x: np.sum(numbad.grad(lambda u: np.sum(np.cumprod(u)))(x)), np.array([1.0, 2.0, 3.0]))
    assert any(host.op.name == "linear_recurrence" for host in tape.hosts)

    def shrink(description):
        for host in description["hosts"]:
            if host["op"] == "linear_recurrence":
                host["operands"][1] = [1]

    with pytest.raises(TapeError, match=r"linear_recurrence: shapes \(3,\) and \(1,\) do not fit"):
        loaded(changed(stored(tape), shrink))


def test_text_of_a_file_does_not_reach_the_terminal_as_it_is():
    data = changed(
        stored(numbad.record(lambda x: x * x, 3.0)), lambda d: d["inputs"][0].__setitem__("name", "\x1b[2Jx\n")
    )
    assert loaded(data).inputs[0].name == "?[2Jx?"
    with pytest.raises(TapeError, match="size of the arena") as caught:
        loaded(changed(data, lambda d: d.__setitem__("size", "\x1b[2J")))
    assert "\x1b" not in str(caught.value)


def test_nothing_of_a_file_is_executed(monkeypatch):
    """Reading calls neither pickle, eval, exec nor import of a name in the file."""
    data = stored(BEGINNINGS[3][0])
    loaded(data)
    import builtins

    for name in ("eval", "exec", "compile"):
        monkeypatch.setattr(builtins, name, lambda *_: pytest.fail("executed"))
    monkeypatch.setattr(pickle, "loads", lambda *_: pytest.fail("unpickled"))
    loaded(data)
    with pytest.raises(TapeError, match=r"os\.system"):
        loaded(changed(data, lambda d: d["hosts"][0].__setitem__("op", "os.system")))


def test_two_thousand_mutants_are_refused_or_stay_in_their_memory():
    outcomes, bad = tape_mutants.count_outcomes(0, 2000)
    assert not bad, "\n".join(bad)
    assert sum(outcomes.values()) == 2000
    assert outcomes["ran"] > 200
    assert outcomes["refused:TapeError"] > 1000
    allowed = ("ran", "long", "refused:TapeError", "refused:MemoryError", "raised:")
    assert all(outcome.startswith(allowed) for outcome in outcomes)


def test_the_mutants_find_a_verification_that_lets_things_through(monkeypatch):
    """Without the check of rows, the independent checker sees a row outside of its memory."""
    from numbad.tapes import checks

    monkeypatch.setattr(checks, "first_wrong", lambda *_: (-1, 0, 0))
    monkeypatch.setattr(checks, "check_hosts", lambda *_: None)
    monkeypatch.setattr(checks, "check_outputs", lambda *_: None)
    files = [stored(tape) for tape, _ in BEGINNINGS]
    caught = 0
    for seed in range(150):
        try:
            tape = loaded(tape_mutants.mutant(files, seed)[1])
        except (TapeError, MemoryError, IndexError):
            continue
        try:
            tape_mutants.check_inside(tape)
        except (AssertionError, IndexError, ValueError, TypeError):
            caught += 1
    assert caught > 5


def test_opcodes_of_a_file_are_bounded():
    for opcode in (MOST_OPCODE, -1, True, 1.0, None):
        with pytest.raises(TapeError, match="opcode"):
            loaded(
                changed(stored(numbad.record(lambda x: x * x, 3.0)), lambda d, o=opcode: d["ops"][0].__setitem__(1, o))
            )


def test_files_are_the_same_on_every_platform():
    """The bytes of a small tape, once and for all: a change of them is a new version of the format."""
    data = stored(numbad.record(lambda x, y: x * y, 2.0, 3.0))
    assert data[:8] == b"\x89numbad\n"
    assert int.from_bytes(data[8:12], "little") == container.VERSION == 1
    assert int.from_bytes(data[16:24], "little") == len(data)
    length = int.from_bytes(data[24:32], "little")
    description = json.loads(data[64 : 64 + length])
    first = 64 + length + -(64 + length) % 64
    assert description["arrays"][description["code"]] == {"dtype": "<u4", "shape": [1, 4], "order": "C"}
    assert np.frombuffer(data, "<u4", 4, first).tolist() == [BY_NAME["multiply"].opcode, 3, 1, 2]


def test_a_tape_without_derivatives_is_not_saved(tmp_path) -> None:
    tape = numbad.record(lambda x: np.sin(x * 2.0) + 1.0, 3.0).optimise(forward_only=True)
    with pytest.raises(TapeError, match="forward_only"):
        tape.save(tmp_path / "forward.tape")


def test_a_number_is_no_file() -> None:
    with pytest.raises(TypeError, match="not int"):  # it would be taken for an open file's descriptor
        numbad.load(3)  # type: ignore[arg-type]


def test_none_in_structures(tmp_path):
    f = lambda d, e: (np.sum(d["a"] ** 2) * d["c"][1], None, {"e": e})
    point = {"a": np.array([1.0, 2.0]), "b": None, "c": (None, 3.0)}
    tape = numbad.record(f, point, None)
    assert tape(point, None) == (15.0, None, {"e": None})
    tape.save(tmp_path / "none.tape")
    for copied in (numbad.load(tmp_path / "none.tape"), pickle.loads(pickle.dumps(tape))):
        assert copied(point, None) == (15.0, None, {"e": None})
        slopes = copied.vjp(point, None)[1]((1.0, None, {"e": None}))
        np.testing.assert_array_equal(slopes[0]["a"], [6.0, 12.0])
        assert slopes[1] is None
        with pytest.raises(TypeError, match=r"structure \({'a': \*, 'b': None, 'c': \(None, \*\)}, None\)"):
            copied(point, 1.0)
    with pytest.raises(TypeError, match="returned None"):
        numbad.record(lambda x: None, 1.0)
