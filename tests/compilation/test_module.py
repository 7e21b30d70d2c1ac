"""Machine code of whole tapes: every op in it, guards, results of all kinds, and how much of a tape it may be."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import numbad
from numbad.compilation import module as modules
from numbad.compilation.backward import Backward
from numbad.compilation.forward import Tables
from numbad.compilation.loops import Segment
from numbad.compilation.module import MOST_RUNS, Uncompilable, make_module, make_ready
from numbad.compilation.operands import Body
from numbad.compilation.scalar_program import make_program
from numbad.compilation.text import Text
from numbad.kernels import number_texts
from numbad.ops import REGISTRY
from numbad.replay.compiled_machine import place_results
from shared.compiled import bits, compare, promote
from shared.op_points import points

OPS = [op for op in REGISTRY if not op.host and not op.boolean]


@pytest.mark.parametrize("op", OPS, ids=lambda op: op.name)
def test_each_op_has_the_bits_of_the_interpreter(op: Any) -> None:
    """Value and slopes, in straight rows, at ordinary points."""
    columns = points(op.name, False)
    assert number_texts.find(f"value_{op.name}")
    tape = tape_of(op)
    program = make_program(tape, [np.array(tape.outputs[0].address)], [True] * op.arity, True)
    run = runner(program)
    for point in list(zip(*columns, strict=True))[::5]:
        numbers = [float(number) for number in point]
        value, slopes = run(numbers)
        expected = tape.value_and_gradient(*numbers)
        assert bits(value) == bits(expected[0])
        assert bits(slopes) == bits(expected[1] if op.arity == 2 else [expected[1]]) or not np.isfinite(slopes).all()


def tape_of(op: Any) -> Any:
    """Return a tape of one row."""
    from numbad.tapes.tape import Tape

    source = numbad.record((lambda x, y: x * y) if op.arity == 2 else (lambda x: -x), *[0.5] * op.arity)
    code = source.code.copy()
    code[0, 0] = op.opcode
    fields = {name: getattr(source, name) for name in source.__dataclass_fields__ if name != "code"}
    return Tape(code=code, **fields)


def runner(program: Any) -> Any:
    """Return what runs the machine code of a program."""
    from numbad.compilation.code import compile_program
    from numbad.kernels.machinecode import callable_at
    from numbad.kernels.memory import address_of

    code = compile_program(program)
    values, bars = np.zeros((2, program.first + code.module.size))
    values[: program.first] = program.values
    begin = 8 * program.first
    places = [address_of(values), address_of(values) + begin, address_of(code.module.tables)]
    places += [address_of(bars), address_of(bars) + begin]
    plan = np.array(places, np.int64)
    call = callable_at(code.address, np.dtype(float), 1)

    def run(numbers: list[float]) -> Any:
        values[1 : 1 + len(numbers)] = numbers
        call(0.0, address_of(plan))
        assert code is not None
        return float(values[place_results(program, code, program.outputs[0])]), bars[1 : 1 + len(numbers)].tolist()

    return run


def test_a_guard_that_does_not_hold_is_another_path() -> None:
    def f(x: Any) -> Any:
        total = x[0]
        for k in range(50):
            total = total * 0.9 + (x[1] if x[k] > 0.0 else -x[2])
        return total

    x = np.ones(50)
    jitted = numbad.jit(numbad.value_and_grad(f))
    jitted(x)
    machine = promote(jitted)
    assert machine is not None
    for place in (0, 1, 7, 30, 49):
        other = x.copy()
        other[place] = -1.0
        for _ in range(2):
            assert bits(jitted(other)) == bits(numbad.value_and_grad(f)(other))
    assert jitted.paths == 6
    assert bits(jitted(x)) == bits(numbad.value_and_grad(f)(x))


def test_a_path_that_leaves_machine_code_goes_on_in_another() -> None:
    """Two compiled paths, one that is not, and calls that go from each to each."""

    def f(x: Any, y: Any) -> Any:
        total = x
        for _ in range(40):
            total = np.sin(total) + y
        if y > 1.0:
            return total * y
        if x > 1.0:
            return total + y
        return total - x * y

    jitted = numbad.jit(numbad.value_and_grad(f, argnums=(0, 1)))
    points_ = [(0.5, 2.0), (2.0, 0.5), (0.5, 0.5)]
    for k, point in enumerate(points_):
        jitted(*point)
        if k < 2:
            assert promote(jitted) is not None
    for _ in range(3):
        for point in points_:
            moved = (point[0] + 0.01, point[1] + 0.01)
            assert bits(jitted(*moved)) == bits(numbad.value_and_grad(f, argnums=(0, 1))(*moved))
    assert jitted.paths == 3


def test_a_gradient_that_is_not_finite_is_that_of_the_interpreter() -> None:
    """`where` around a root: what is absent must not become NaN."""

    def f(x: Any) -> Any:
        total = 0.0
        for k in range(30):
            total = total + np.where(x[k] > 0.0, np.sqrt(np.abs(x[k])), 0.0)
        return total

    x = np.linspace(0.1, 1.0, 30)
    jitted = numbad.jit(numbad.value_and_grad(f))
    jitted(x)
    machine = promote(jitted)
    assert machine is not None
    x[4] = 0.0
    value, slopes = jitted(x)
    assert machine.fell
    expected = numbad.value_and_grad(f)(x)
    assert value == expected[0]
    np.testing.assert_array_equal(slopes, expected[1])
    x[4] = 0.5
    assert np.isfinite(jitted(x)[1]).all()
    assert not machine.fell


def test_results_of_all_kinds() -> None:
    """Inputs, constants, results, arrays of them, one twice: what a function returns."""

    def f(x: Any) -> Any:
        total = x[0]
        for k in range(40):
            total = total * 0.5 + x[k]
        return total, x, 3.0, np.stack([total, x[1], total]), {"twice": (total, total)}

    x = np.linspace(0.0, 1.0, 40)
    jitted = numbad.jit(f)
    jitted(x)
    assert promote(jitted) is not None
    other = x + 1.0
    expected, found = f(other), jitted(other)
    assert found[0] == expected[0]
    assert found[1].tolist() == other.tolist()
    assert found[2] == 3.0
    assert found[3].tolist() == expected[3].tolist()
    assert found[4] == expected[4]
    found[1][0] = 77.0
    assert jitted(other)[1][0] == other[0], "results are copies"


@pytest.mark.parametrize(
    "f",
    [
        lambda x: x[0] + 2.0,
        lambda x: x[0] * x[0],
        lambda x: np.exp(x[0]) * 0.0 + x[1],
        lambda x: x[0] + x[0] + x[0],
    ],
)
def test_the_smallest_programs(f: Any) -> None:
    compare(f, (np.array([0.5, 2.0]),), (np.array([-1.5, 0.0]),))


def test_a_tape_that_is_too_long_stays_with_the_interpreter() -> None:
    tape = numbad.record(lambda x: sum(np.sin(x[k]) * np.cos(x[k] * k) for k in range(40)), np.ones(40))
    program = make_program(tape, [np.array(tape.outputs[0].address)], [True], True)
    make_module(program, 10_000)
    with pytest.raises(Uncompilable):
        make_module(program, 3)


def test_without_texts_there_is_no_code(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(modules.number_texts, "find", lambda name: None)
    jitted = numbad.jit(numbad.grad(lambda x: np.sin(x) * x))
    jitted(0.5)
    assert promote(jitted) is None
    assert jitted(0.5) == pytest.approx(np.cos(0.5) * 0.5 + np.sin(0.5))


@pytest.mark.parametrize("gaps", [1, MOST_RUNS, MOST_RUNS + 1])
def test_cotangents_in_memory_are_set_in_few_runs(gaps: int) -> None:
    tape = numbad.record(lambda x: sum(np.sin(x[k]) for k in range(200)), np.ones(200))
    program = make_program(tape, [np.array(tape.outputs[0].address)], [True], True)
    places, text = np.arange(len(program)), Text()
    backward = Backward(program, text, Tables(), np.ones(len(program), bool), places)
    backward.added[3 : 3 + 2 * gaps : 2] = True
    make_ready(program, [Body(program, Segment(0, len(program)))], backward)
    lines = [line for line in text.lines if "store" in line or "@fill" in line or "memcpy" in line]
    assert len(lines) == 1 + (gaps if gaps <= MOST_RUNS else 1), "the inputs', and those of rows"
    program.bar[1:3] = 0.5, 0.25
    text.lines = []
    make_ready(program, [], backward)
    assert "memcpy" in text.lines[-1], "inputs that begin with different numbers"


@pytest.mark.parametrize("transform", [numbad.grad, numbad.value_and_grad, numbad.jacfwd, numbad.hessian])
@pytest.mark.parametrize(
    "f",
    [
        lambda x: np.where(x > 0.3, x * 2.0, x * 3.0),
        lambda x: np.where(x > 0.3, np.sin(x), np.exp(x)) * 2.0 + np.maximum(x, 0.1),
        lambda x: np.sum(np.array([x, x * x, 1.0])) * 3.0,
        lambda x: x * x + np.cos(x),
    ],
)
def test_values_that_no_slope_needs_are_left_out(f: Any, transform: Any) -> None:
    jitted = numbad.jit(transform(f))
    jitted(0.5)
    assert promote(jitted) is not None or transform is numbad.hessian
    for x in (0.5, 0.1, -2.0):
        np.testing.assert_allclose(jitted(x), transform(f)(x), rtol=1e-14)


def test_machine_code_is_kept_and_used_again(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    from numbad.compilation import code
    from numbad.kernels import cache, machinecode

    monkeypatch.setenv("NUMBAD_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(code, "MOST_KEPT", 2)
    made = []
    monkeypatch.setattr(
        code.texts, "compile_text", lambda *given, f=code.texts.compile_text: made.append(1) or f(*given)
    )
    for k in (3, 3, 4, 5):
        tape = numbad.record(lambda x, k=k: sum(np.sin(x * j) for j in range(1, k)), 0.5)
        code.compile_program(make_program(tape, [np.array(tape.outputs[0].address)], [True], True))
    assert len(made) == 3
    assert len(list((tmp_path / machinecode.digest()).glob(f"{code.TAPE}*{cache.SUFFIX}"))) == 2
