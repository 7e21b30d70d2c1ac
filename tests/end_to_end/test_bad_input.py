"""Bad input: each is an error that says what, where and what to do, or has the right answer."""

from __future__ import annotations

import _thread
import collections
import dataclasses
import functools
import operator
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import numbad
from numbad import gradient, value_and_gradient
from numbad.errors import InputError, LeakError, NumbadError, OutputError, RecordingError

HERE = Path(__file__).name

X = np.array([1.0, -2.0, 3.0])


def says(error: Any, what: str, do: str, source: str = "") -> None:
    """Check the three parts of a message: what happened, the user's file and statement, what to do."""
    lines = str(error.value).split("\n")
    assert what in lines[0], lines[0]
    assert lines[-1].startswith("  do  ")
    assert do in lines[-1], lines[-1]
    if source:
        assert lines[1].startswith("  at "), lines
        assert f"{HERE}:" in lines[1], lines[1]
        assert source in lines[1], lines[1]


def name_case(value: Any) -> str:
    """Name a case after its value, without addresses: all processes of a parallel run collect the same names."""
    if isinstance(value, str):
        return ""
    return type(value).__name__ if " at 0x" in repr(value) else repr(value)[:40]


def still_works() -> None:
    """Check that the recorder was left clean."""
    assert gradient(lambda x: x**3, 2.0) == 12.0
    np.testing.assert_array_equal(gradient(lambda x: np.sum(x * x), X), 2 * X)


@pytest.fixture(autouse=True)
def clean_afterwards() -> Any:
    """After every test here, the next call works."""
    yield
    still_works()


# ---------------------------------------------------------------- inputs


@pytest.mark.parametrize(
    ("value", "what", "do"),
    [
        (3, "Python int (3)", "write 3.0"),
        (True, "Python bool (True)", "floats"),
        (np.arange(3), "an array of dtype int64", "x.astype(float)"),
        (np.int32(3), "int32", "astype(float)"),
        (np.array([True]), "an array of dtype bool", "astype(float)"),
        (1j, "complex", "real and imaginary"),
        (np.array([1j]), "an array of dtype complex128", "x.real and x.imag"),
        (np.complex64(1j), "complex64", "x.real"),
        (np.ones(2, np.float16), "an array of dtype float16", "x.astype(float)"),
        (
            np.ones(2, np.longdouble),
            "longdouble" if np.dtype(np.longdouble).name == "longdouble" else "float",
            "astype",
        ),
        ("text", "str", "floats, arrays of floats"),
        (b"bytes", "bytes", "floats, arrays of floats"),
        ({1.0}, "set", "floats, arrays of floats"),
        (np.array(["a"]), "an array of dtype <U1", "astype(float)"),
        (np.array([None]), "an array of dtype object", "astype(float)"),
        (np.datetime64("2020-01-01"), "datetime64", "astype(float)"),
        ([1.0, 2], "Python int (2)", "write 2.0"),
        ({"a": 1.0, "b": "text"}, "str", "floats"),
        (object(), "object", "floats"),
    ],
    ids=name_case,
)
def test_inputs_without_a_derivative(value: Any, what: str, do: str) -> None:
    with pytest.raises(InputError) as caught:
        gradient(lambda x: 1.0, value)
    says(caught, what, do, "gradient(lambda x: 1.0, value)")
    assert isinstance(caught.value, TypeError)


def test_the_second_argument_is_checked_too() -> None:
    with pytest.raises(InputError, match="Python int"):
        gradient(lambda x, y: x * y, 1.0, 2)
    assert gradient(lambda x, y: x * y, 1.0, y=2) == 2, "keyword arguments are not differentiated"


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (2.0, 12.0),
        (np.float64(2), np.float64(12)),
        (np.float32(2), np.float32(12)),
        (np.array(2.0), np.array(12.0)),
        (np.array([2.0]), np.array([12.0])),
        (np.array([[2.0]], np.float32), np.array([[12.0]], np.float32)),
        ([2.0], [12.0]),
        ((2.0,), (12.0,)),
        ({"a": 2.0}, {"a": 12.0}),
    ],
    ids=repr,
)
def test_every_kind_of_number_gives_its_own_kind_back(value: Any, expected: Any) -> None:
    def f(x: Any) -> Any:
        x = x["a"] if isinstance(x, dict) else x[0] if isinstance(x, (list, tuple)) else x
        return np.sum(x**3)

    found = gradient(f, value)
    assert type(found) is type(expected)
    assert found == expected
    if isinstance(expected, (np.ndarray, np.generic)):
        assert found.dtype == expected.dtype
        assert found.shape == expected.shape


def test_subclasses_of_float_and_of_arrays() -> None:
    class Money(float):
        pass

    assert gradient(lambda x: x * x, Money(3.0)) == 6.0
    matrix = np.ma.masked_array([1.0, 2.0])
    np.testing.assert_array_equal(np.asarray(gradient(lambda x: np.sum(x * x), matrix)), [2.0, 4.0])


@pytest.mark.parametrize(
    "array", [np.ones((2, 2)).view(np.matrix), np.ma.array([[1.0, 2.0], [3.0, 4.0]], mask=[[0, 1], [0, 0]])]
)
def test_arrays_whose_operators_mean_something_else(array: Any) -> None:
    with pytest.raises(InputError, match=r"np\.matrix|masked elements"):
        gradient(lambda x: np.sum(x * x), array)
    for f in (lambda x: x * array, lambda x: x + array, lambda x: np.dot(array, x), lambda x: x @ array):
        with pytest.raises(RecordingError, match=r"np\.matrix|masked elements"):
            gradient(lambda x, f=f: np.sum(f(x)), np.ones((2, 2)))


def test_a_masked_number_is_refused() -> None:
    with pytest.raises(RecordingError, match="masked elements"):
        gradient(lambda x: x * np.ma.masked, 2.0)


def test_a_thread_that_runs_nothing_of_the_users() -> None:
    for function, expected in (
        (np.sum, [1.0, 1.0]),
        (np.linalg.norm, [0.6, 0.8]),
        (operator.itemgetter(0), [1.0, 0.0]),
    ):
        found: list[Any] = []
        calls = map(functools.partial(gradient, function), [np.array([3.0, 4.0])])
        _thread.start_new_thread(found.extend, (calls,))  # no frame of Python's is below numbad's
        for _ in range(1000):
            if found:
                break
            time.sleep(0.01)
        np.testing.assert_allclose(found[0], expected)


def test_an_argument_in_place_of_the_arguments_of_a_check() -> None:
    with pytest.raises(TypeError, match=r"args is a ndarray(.|\n)*\(x,\)"):
        numbad.testing.check_grads(np.sum, X)


def test_objects_with_an_array_interface() -> None:
    class Series:
        def __array__(self, dtype: Any = None, copy: Any = None) -> np.ndarray:
            return np.array([1.0, 2.0])

    np.testing.assert_array_equal(gradient(lambda x: np.sum(x * x), Series()), [2.0, 4.0])
    np.testing.assert_array_equal(gradient(lambda x: np.sum(x * Series()), np.ones(2)), [1.0, 2.0])


def test_memory_mapped_inputs(tmp_path: Path) -> None:
    for n in (10, 50_000):
        path = tmp_path / f"{n}.bin"
        np.linspace(0.0, 1.0, n).tofile(path)
        for mode in ("r", "r+", "c"):
            mapped = np.memmap(path, np.float64, mode)
            found = gradient(lambda x: np.sum(x * x), mapped)
            np.testing.assert_allclose(np.asarray(found), 2.0 * np.linspace(0.0, 1.0, n), rtol=1e-15)
            weights = gradient(lambda x, mapped=mapped: np.sum(x * mapped), np.ones(n))
            np.testing.assert_array_equal(weights, np.linspace(0.0, 1.0, n))
        np.testing.assert_array_equal(np.fromfile(path), np.linspace(0.0, 1.0, n))


def test_structures_of_every_kind_keep_their_type() -> None:
    Point = collections.namedtuple("Point", "x y")
    found = gradient(lambda p: p.x * p.y, Point(2.0, 5.0))
    assert found == Point(5.0, 2.0)
    assert type(found) is Point
    tree = {"w": [np.ones(2), (3.0, {"deep": np.float32(2)})], "b": collections.OrderedDict(z=1.0)}
    found = gradient(lambda t: np.sum(t["w"][0]) * t["w"][1][0] + t["w"][1][1]["deep"] ** 2 + 0.0 * t["b"]["z"], tree)
    assert list(found) == ["w", "b"] or sorted(found) == ["b", "w"]
    np.testing.assert_array_equal(found["w"][0], [3.0, 3.0])
    assert found["w"][1][0] == 2.0
    assert found["w"][1][1]["deep"] == 4.0
    assert type(found["b"]) is collections.OrderedDict
    assert gradient(lambda t: 1.0, []) == []
    assert gradient(lambda t: 1.0, {}) == {}


def test_dataclasses_that_optree_knows() -> None:
    import optree

    @optree.dataclasses.dataclass(namespace="numbad")
    class Model:
        slope: float
        shift: float = dataclasses.field(default=0.0)

    found = gradient(lambda m: m.slope * 3.0 + m.shift**2, Model(2.0, 4.0))
    assert isinstance(found, Model)
    assert (found.slope, found.shift) == (3.0, 8.0)


def test_no_function_and_too_many_arguments() -> None:
    with pytest.raises(TypeError):
        gradient(3.0, 1.0)
    with pytest.raises(TypeError, match="positional argument"):
        gradient(lambda x: x, 1.0, 2.0)


# ---------------------------------------------------------------- outputs


def test_vector_valued_functions() -> None:
    with pytest.raises(OutputError) as caught:
        gradient(lambda x: x * 2.0, X)
    says(caught, "returned an array of shape (3,)", "numbad.jacobian")
    with pytest.raises(OutputError) as caught:
        gradient(lambda x: np.ones(2), X)
    says(caught, "constant array of shape (2,)", "numbad.jacobian")


def test_one_element_in_an_array_is_not_a_number() -> None:
    with pytest.raises(OutputError, match=r"shape \(1,\)"):
        gradient(lambda x: x[:1], X)


@pytest.mark.parametrize(
    ("result", "what", "do"),
    [
        (None, "returned None", "return the number"),
        ("text", "returned a str", "return one number"),
        ((1.0, 2.0), "returned a tuple", "has_aux=True"),
        ([1.0], "returned a list", "return one number"),
        ({"a": 1.0}, "returned a dict", "return one number"),
        (1j, "returned a complex", "return one number"),
        (np.complex128(1j), "complex", "return"),
        (True, "returned a bool", "return one number"),
        (lambda: 1.0, "returned a function", "return one number"),
        (np.array("text"), "", "return"),
    ],
    ids=name_case,
)
def test_results_that_are_no_number(result: Any, what: str, do: str) -> None:
    with pytest.raises(OutputError) as caught:
        gradient(lambda x: result, X)
    says(caught, what, do)


def test_recording_structures_are_no_number_either() -> None:
    for f in (lambda x: (x[0], x[1]), lambda x: [x[0]], lambda x: {"a": x[0]}, lambda x: x[0] > 0.0):
        with pytest.raises(OutputError, match="one number"):
            gradient(f, X)


@pytest.mark.parametrize("result", [3.0, 3, np.float64(3), np.array(3.0), np.float32(3)], ids=repr)
def test_constants_have_a_gradient_of_zeros(result: Any) -> None:
    value, found = value_and_gradient(lambda x: result, X)
    assert value == 3.0
    np.testing.assert_array_equal(found, np.zeros(3))


# ---------------------------------------------------------------- errors inside f


class OwnError(Exception):
    """The user's own."""


def test_the_users_exception_comes_through_and_the_recorder_is_left_clean() -> None:
    weights = np.ones(5000)

    def f(x: Any) -> Any:
        _ = np.sum(weights * np.sum(x))
        raise OwnError("mine", x.shape)

    with pytest.raises(OwnError) as caught:
        gradient(f, X)
    assert caught.value.args == ("mine", (3,))
    assert any(entry.name == "f" for entry in caught.traceback)
    assert weights.flags.writeable
    still_works()


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit, GeneratorExit, MemoryError, StopIteration])
def test_exceptions_of_every_kind(kind: Any) -> None:
    def f(x: Any) -> Any:
        raise kind

    with pytest.raises(kind):
        gradient(f, X)
    still_works()


def test_an_exception_that_f_handles_itself() -> None:
    def f(x: Any) -> Any:
        try:
            return np.sum(np.fft.irfftn(x) if False else x.anything)
        except AttributeError:
            return np.sum(x * x)

    np.testing.assert_array_equal(gradient(f, X), 2 * X)


def test_division_by_zero_is_numpys_not_pythons() -> None:
    assert value_and_gradient(lambda x: 1.0 / (x - 2.0), 2.0)[0] == np.inf


def test_functions_that_are_not_recorded_name_themselves_and_the_line() -> None:
    with pytest.raises(RecordingError) as caught:
        gradient(lambda x: np.sum(np.packbits(x)), X)
    says(caught, "packbits", "", "np.packbits(x)")
    with pytest.raises(RecordingError) as caught:
        gradient(lambda x: np.spacing(x[0]), X)
    says(caught, "spacing", "", "np.spacing(x[0])")
    with pytest.raises(RecordingError) as caught:
        gradient(lambda x: np.gcd.outer(x, x)[0, 0], X)
    says(caught, "gcd", "", "np.gcd.outer")


def test_shape_errors_name_the_shapes_and_the_line() -> None:
    for f in (
        lambda x: np.sum(x + np.ones(4)),
        lambda x: np.sum(np.ones((2, 2)) @ x),
        lambda x: np.sum(x[:, None] @ x),
    ):
        with pytest.raises(ValueError, match=r"\(3,|\(2, 2\)|\(3, 1\)") as caught:
            gradient(f, X)
        assert HERE in str(caught.value)


# ---------------------------------------------------------------- leaks


def test_values_that_leak_out_of_f() -> None:
    kept: list[Any] = []

    def f(x: Any) -> Any:
        kept.extend([x, x[0], x * 2.0, x[1:], x > 0.0])
        return np.sum(x * x)

    gradient(f, X)
    array, scalar, product, view, truth = kept
    uses = [
        lambda: scalar * 2.0,
        lambda: 2.0 + scalar,
        lambda: np.sin(scalar),
        lambda: np.sin(array),
        lambda: array + array,
        lambda: product @ product,
        lambda: np.sum(view),
        lambda: array.sum(),
        lambda: bool(scalar),
        lambda: float(scalar),
        lambda: int(scalar),
        lambda: array.value(),
        lambda: array.__setitem__(0, 1.0),
        lambda: array.__setitem__(0, scalar),
        lambda: np.where(truth, 1.0, 0.0),
        lambda: truth.any(),
        lambda: np.sum(np.concatenate([array, np.ones(2)])),
        lambda: f"{scalar:.3f}",
        lambda: sorted(array),
    ]
    for k, use in enumerate(uses):
        with pytest.raises(LeakError) as caught:
            use()
        assert "do  " in str(caught.value), k
    assert "its recording has ended" in repr(array)
    assert "its recording has ended" in str(scalar)
    assert array.shape == (3,)


def test_a_leaked_value_in_the_next_recording() -> None:
    kept: list[Any] = []
    gradient(lambda x: kept.append(x) or np.sum(x), X)
    for use in (
        lambda x: x @ kept[0],
        lambda x: kept[0][0] * x[0],
        lambda x: kept[0][0],
        lambda x: np.sum(kept[0] * x),
    ):
        with pytest.raises(LeakError) as caught:
            gradient(use, X)
        assert "do  " in str(caught.value)


def test_a_leaked_value_as_an_input() -> None:
    kept: list[Any] = []
    gradient(lambda x: kept.append(x) or np.sum(x), X)
    with pytest.raises(LeakError):
        gradient(np.sum, kept[0])


def test_globals_that_grow_over_calls_are_found() -> None:
    state = {"total": 0.0}

    def f(x: Any) -> Any:
        state["total"] = state["total"] + x
        return state["total"] * x

    assert gradient(f, 2.0) == 4.0
    with pytest.raises(LeakError):
        gradient(f, 2.0)


def test_values_of_two_threads_do_not_meet() -> None:
    box: list[Any] = []
    ready, done = threading.Event(), threading.Event()

    def other() -> None:
        def f(x: Any) -> Any:
            box.append(x)
            ready.set()
            done.wait(30)
            return np.sum(x)

        gradient(f, X)

    thread = threading.Thread(target=other)
    thread.start()
    try:
        assert ready.wait(30)
        with pytest.raises(LeakError, match="two recordings"):
            gradient(lambda x: np.sum(x * box[0]), X)
    finally:
        done.set()
        thread.join()


# ---------------------------------------------------------------- threads


@pytest.mark.parametrize("n", [5, 200_000])
def test_threads_record_and_sweep_at_once(n: int) -> None:
    failures: list[Any] = []
    barrier = threading.Barrier(4)

    def work(k: int) -> None:
        try:
            weights = np.linspace(0.0, 1.0, n) + k
            x = np.linspace(1.0, 2.0, n)
            barrier.wait(30)
            for repeat in range(5):
                scale = float(k + repeat)
                found = gradient(lambda x, s=scale: np.sum(np.sin(x) * weights) + s * x[0] ** 2, x)
                expected = np.cos(x) * weights
                expected[0] += 2.0 * scale * x[0]
                np.testing.assert_allclose(found, expected, rtol=1e-12)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(k,)) for k in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert not failures, failures[0]
    assert not any(thread.is_alive() for thread in threads)


def test_one_thread_may_raise_while_another_records() -> None:
    inside, leave = threading.Event(), threading.Event()
    results: list[Any] = []

    def slow(x: Any) -> Any:
        y = x * 2.0
        inside.set()
        leave.wait(30)
        return np.sum(y * y)

    thread = threading.Thread(target=lambda: results.append(gradient(slow, X)))
    thread.start()
    assert inside.wait(30)
    with pytest.raises(OwnError):
        gradient(lambda x: (_ for _ in ()).throw(OwnError()), X)
    still_works()
    leave.set()
    thread.join(30)
    np.testing.assert_array_equal(results[0], 8 * X)


# ---------------------------------------------------------------- nesting


def test_gradient_inside_f() -> None:
    assert gradient(lambda x: gradient(lambda y: y**3, x), 2.0) == 12.0
    assert gradient(lambda x: gradient(lambda y: x * y**2, x) * 1.0, 3.0) == pytest.approx(12.0)
    assert gradient(lambda x: gradient(lambda y: y**2, 5.0) * x, 3.0) == 10.0


def test_no_perturbation_confusion() -> None:
    assert gradient(lambda x: x * gradient(lambda y: x + y, 1.0), 1.0) == 1.0
    assert gradient(lambda x: x * gradient(lambda y: x * y, 2.0), 3.0) == 6.0


def test_an_error_in_the_inner_gradient_leaves_the_outer_clean() -> None:
    def f(x: Any) -> Any:
        with pytest.raises(OwnError):
            gradient(lambda y: (_ for _ in ()).throw(OwnError()), x)
        with pytest.raises(OutputError):
            gradient(lambda y: "text", x)
        return x * x

    assert gradient(f, 3.0) == 6.0


# ---------------------------------------------------------------- memory


def test_a_tape_that_does_not_fit_is_a_memory_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(numbad.kernels.memory, "available_memory", lambda: 1e6)
    monkeypatch.setattr(numbad.kernels.memory, "COMPARED_MEMORY", 1 << 16)

    def long(x: Any) -> Any:
        for _ in range(300_000):
            x = x * 1.0000001
        return x

    for f, x in ((long, 2.0), (lambda x: np.sum(np.cumsum(np.sin(x))), np.ones(500_000))):
        with pytest.raises(MemoryError) as caught:
            gradient(f, x)
        says(caught, "GB", "checkpoint")
    monkeypatch.undo()
    assert gradient(lambda x: long(x), 2.0) > 1.0


def test_the_available_memory_is_known_here() -> None:
    available = numbad.kernels.memory.available_memory()
    assert 1e6 < available <= float("inf")
    if Path("/proc/meminfo").exists():
        assert available < 1e15


# ---------------------------------------------------------------- Ctrl-C

LONG_SWEEP = textwrap.dedent("""
    import numpy as np
    import numbad

    numbad.gradient(lambda x: x * x, 2.0)
    numbad.gradient(lambda x: np.sum(x * x), np.ones(3))

    def f(x):
        n = 2_000_000
        recorder = x.recorder
        first = np.sin(x) + 1.5
        # sixteen million rows of the costliest op, written at once: each block of rows writes the same addresses
        code = np.empty((n, 4), np.uint32)
        code[:, 0] = {opcode}
        code[:, 1] = recorder.size + np.arange(n)
        code[:, 2] = first.address
        code[:, 3] = first.address
        recorder.size += n
        for _ in range(8):
            recorder.code.frombytes(code.tobytes())
        return first

    print("ready", flush=True)
    try:
        while True:
            numbad.gradient(f, 1.5)
    except KeyboardInterrupt:
        print("interrupted", flush=True)
        assert numbad.gradient(lambda x: x * x, 2.0) == 4.0
        print("clean", flush=True)
""")


@pytest.mark.subprocess
def test_ctrl_c_during_a_long_sweep_is_answered_within_a_second() -> None:
    """A sweep over 16 million rows takes seconds, and is repeated; it is interrupted in the middle."""
    opcode = numbad.ops.definition.BY_NAME["digamma"].opcode
    script = LONG_SWEEP.format(opcode=opcode)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(Path(numbad.__file__).parents[1]), *sys.path])}
    process = subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    )
    assert process.stdout is not None
    try:
        assert process.stdout.readline().strip() == "ready"
        time.sleep(2.5)
        assert process.poll() is None
        sent = time.monotonic()
        process.send_signal(signal.SIGINT)
        line = process.stdout.readline().strip()
        waited = time.monotonic() - sent
        rest = process.stdout.read()  # communicate() would lose what has been read ahead with the line
        process.wait(timeout=60)
    finally:
        process.kill()
        process.wait()
    assert process.stderr is not None
    errors = process.stderr.read()
    assert line == "interrupted", errors
    assert waited < 1.0, f"answered after {waited:.2f} s"
    assert rest.strip() == "clean", errors


# ---------------------------------------------------------------- messages


def test_every_error_is_numbads_and_a_builtin_kind() -> None:
    for kind, builtin in ((RecordingError, TypeError), (InputError, TypeError), (OutputError, TypeError)):
        assert issubclass(kind, NumbadError)
        assert issubclass(kind, builtin)
    assert issubclass(LeakError, RuntimeError)
    assert issubclass(numbad.errors.BranchError, RuntimeError)
    assert issubclass(numbad.errors.TapeError, ValueError)


def test_the_place_is_that_of_the_user_even_from_a_called_function() -> None:
    def helper(values: Any) -> Any:
        return np.packbits(values)

    with pytest.raises(RecordingError) as caught:
        gradient(lambda x: np.sum(helper(x)), X)
    says(caught, "packbits", "", "in helper:  return np.packbits(values)")


def test_an_array_of_no_axes_takes_no_result() -> None:
    with pytest.raises(RecordingError) as caught:
        gradient(lambda x: np.sin(x, out=x), np.array(0.5))
    says(caught, "out= is a recording number", "y = np.sin(y)")
    assert gradient(lambda x: np.sin(x[None], out=x[None])[0], np.array(0.5)) == pytest.approx(np.cos(0.5))


def test_integers_are_asked_for_by_name() -> None:
    """np.int64(x) and np.asarray(x, int) decide as x.astype(int) does; numbers of other kinds are refused."""
    x = np.array([1.0, 2.0, 0.0])
    for whole in (
        np.int64,
        lambda v: np.asarray(v, int),
        lambda v: np.array(v, dtype=np.int32),
        lambda v: v.astype(int),
    ):
        np.testing.assert_array_equal(gradient(lambda v, w=whole: np.sum(v[w(v)] * v[w(v[0])]), x), [2.0, 5.0, 2.0])
    assert gradient(lambda v: np.sum(np.asarray(v, float)), x).tolist() == [1.0, 1.0, 1.0]
    with pytest.raises(RecordingError, match="dtype=float32"):
        gradient(lambda v: np.float32(v[0]), x)
    tape = numbad.record(lambda v: v[np.int64(v[0])], x)
    assert tape(np.array([1.5, 7.0, 0.0])) == 7.0
    with pytest.raises(numbad.BranchError):
        tape(np.array([2.0, 7.0, 0.0]))


# ---------------------------------------------------------------- after a failure, in every way


WAYS_IN: dict[str, Callable[[Any], Callable[[np.ndarray], Any]]] = {
    "gradient": lambda f: numbad.grad(f),
    "jit": lambda f: numbad.jit(f),
    "jit(grad)": lambda f: numbad.jit(numbad.grad(f)),
    "jacfwd": lambda f: lambda x: numbad.jacfwd(lambda s: f(s * x))(1.0) * np.ones(1),
    "jacrev": lambda f: numbad.jacrev(f),
    "jvp": lambda f: lambda x: numbad.jvp(f, (x,), (x,))[1],
    "vjp": lambda f: lambda x: numbad.vjp(f, x)[1](1.0)[0],
    "linearize": lambda f: lambda x: numbad.linearize(f, x)[1](x),
    "hvp": lambda f: lambda x: numbad.hvp(f, x, np.ones_like(x)),
    "vmap": lambda f: lambda x: numbad.vmap(f)(x[None])[0],
    "vmap(grad)": lambda f: lambda x: numbad.vmap(numbad.grad(f))(x[None])[0],
    "jit(vmap(grad))": lambda f: numbad.jit(lambda x: numbad.vmap(numbad.grad(f))(x[None])[0]),
    "grad(jit)": lambda f: numbad.grad(numbad.jit(f)),
    "record": lambda f: lambda x: numbad.record(f, x).gradient(x),
    "checkpoint": lambda f: numbad.grad(numbad.checkpoint(f)),
}


class Failing:
    """A function that fails half-way for a while: each time in the next of some ways."""

    def __init__(self, weights: np.ndarray) -> None:
        self.weights = weights
        self.failures: list[Callable[[Any], Any]] = []

    def __call__(self, x: Any) -> Any:
        y = self.weights * x
        total = np.sum(y * y)
        if self.failures:
            self.failures[0](y)
        return total


def stop(error: type[BaseException]) -> Callable[[Any], Any]:
    """Return a function that raises."""

    def fail(y: Any) -> Any:
        raise error("stopped")

    return fail


FAILURES: list[Callable[[Any], Any]] = [
    stop(ValueError),
    stop(KeyboardInterrupt),
    stop(MemoryError),
    lambda y: y[0].__float__(),
    lambda y: np.linalg.solve(np.ones((2, 2, 2, 3)), y),
    lambda y: y @ np.ones(4),
    lambda y: bool(y),
    lambda y: y[10**9],
    lambda y: [y[0], int(y[0]), stop(OSError)(y)],
    lambda y: numbad.grad(lambda z: stop(ValueError)(z * y[0]))(1.0),
    lambda y: numbad.vmap(lambda z: stop(ValueError)(z * y[0]))(np.ones(2)),
    lambda y: numbad.jit(lambda z: stop(ValueError)(z * y[0]))(1.0),
    lambda y: numbad.record(lambda z: z, 1.0),
]


@pytest.mark.parametrize("n", [3, 5000, 70_000])
@pytest.mark.parametrize("way", list(WAYS_IN))
def test_after_a_failure_the_next_call_is_right_and_no_array_is_locked(way: str, n: int) -> None:
    weights, x = np.linspace(1.0, 2.0, n), np.linspace(0.5, 1.5, n)
    f = Failing(weights)
    expected = WAYS_IN[way](Failing(weights))(x)
    for failure in FAILURES:
        derivative = WAYS_IN[way](f)
        f.failures = [failure]
        with pytest.raises(BaseException) as caught:
            derivative(x)
        assert not isinstance(caught.value, (SystemError, AttributeError, AssertionError))
        assert numbad.recording.recorder.current() is None
        assert weights.flags.writeable
        assert x.flags.writeable
        f.failures = []
        np.testing.assert_array_equal(derivative(x), expected)
        np.testing.assert_array_equal(WAYS_IN[way](f)(x), expected)


def test_warnings_that_are_errors_leave_no_array_locked() -> None:
    weights = np.ones(70_000)

    def f(x: Any) -> Any:
        x[0] = 2.0
        return np.sum(weights * x)

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(UserWarning, match="assigns to an array"):
            numbad.jit(f)(np.ones(70_000))
    assert weights.flags.writeable


class Tripled(np.ndarray):
    """Arrays whose product is another one."""

    def __mul__(self, other: Any) -> Any:
        return np.asarray(self) * 3.0


LONG = np.longdouble(1) + np.longdouble(2) ** -60
MISREAD: dict[str, tuple[Any, str]] = {
    "masked": (np.ma.masked_array([1.0, 2.0, 3.0], [0, 1, 0]), "masked"),
    "np.matrix": (np.matrix([[1.0, 2.0], [3.0, 4.0]]), "np.matrix"),
    "long doubles": (np.full(3, LONG), "longdouble|float128"),
    "a long double": (LONG, "longdouble|float128"),
    "half precision": (np.full(3, 0.1, np.float16), "float16"),
    "a half": (np.float16(0.1), "float16"),
    "a class with operations of its own": (np.ones(3).view(Tripled), "Tripled"),
}


@pytest.mark.parametrize("kind", MISREAD)
def test_numbers_that_would_be_read_as_others_are_refused_in_every_mode(kind: str) -> None:
    x, name = MISREAD[kind]

    def f(x: Any) -> Any:
        return np.sum(x * x)

    plain = np.ones(np.shape(x)) if np.shape(x) else 1.0
    calls: dict[str, Callable[[], Any]] = {
        "grad": lambda: numbad.grad(f)(x),
        "jit": lambda: numbad.jit(f)(x),
        "jit in a tree": lambda: numbad.jit(lambda p: f(p[0]))([x]),
        "jit(grad)": lambda: numbad.jit(numbad.grad(f))(x),
        "record": lambda: numbad.record(f, x),
        "jvp": lambda: numbad.jvp(f, (plain,), (x,)),
        "hvp": lambda: numbad.hvp(f, plain, x),
        "vjp": lambda: numbad.vjp(lambda x: x * 2.0, plain)[1](x),
    }
    if np.ndim(x):
        calls |= {
            "vmap": lambda: numbad.vmap(f)(x),
            "jit(vmap)": lambda: numbad.jit(numbad.vmap(f))(x),
            "vmap(jit)": lambda: numbad.vmap(numbad.jit(f))(x),
            "vmap(grad)": lambda: numbad.vmap(numbad.grad(f))(x),
        }
    for mode, call in calls.items():
        with pytest.raises(InputError, match=name):
            print(mode, call())
