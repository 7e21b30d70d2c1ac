"""The layout of words: each reader against rows that are taken apart here by hand, place after place."""

from __future__ import annotations

import inspect
import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numba import njit, types
from numba.core.errors import NumbaError
from numba.core.registry import cpu_target

import numbad
from numbad.kernels import layout as compiled
from numbad.recording.recorder import map_words, structural_words
from numbad.tape import layout
from numbad.tape.layout import ADD, CONTRACT, GATHER, GUARD, GUARD_VALUE, HOST, MAP, SCATTER

TALL = np.linspace(-2.0, 2.0, 600).reshape(3, 200)  # kept by reference
POINT = np.array([0.7, -1.3, 2.1, 0.4])
Place = tuple[int, int]  # space and address


def elementwise(x: Any) -> Any:
    return np.sin(x) * 2.0 + x / 3.0


def broadcast(x: Any) -> Any:
    table = np.exp(x[:, None] - x[::-1])
    return np.sum(table[::2, 1:] * table.T[:2, :3])


def sums(x: Any) -> Any:
    table = np.outer(x, x)
    return np.sum(table, axis=0) + np.sum(table[:, ::-1] ** 2, axis=1)


def products(x: Any) -> Any:
    return np.sum((TALL.T @ x[:3]) ** 2) + x @ np.outer(x, x) @ x


def gathers(x: Any) -> Any:
    return np.sum(x[[3, 0, 0]] ** 2) + np.sum(np.concatenate([x, x[:2]])[[5, 1]])


def scatters(x: Any) -> Any:
    return numbad.grad(lambda y: np.sum(y[[3, 0, 0]] ** 3))(x)


def hosts(x: Any) -> Any:
    return np.sort(x) + np.linalg.solve(np.eye(4) * 2.0, x)


def nothing(x: Any) -> Any:
    return np.sum(x[:0] * 2.0) + np.sum(x)


def guards(x: Any) -> Any:
    kept = float(numbad.stop_gradient(x[1]))
    return x[0] * kept if x[0] > 0.0 else x[1]


PROGRAMS = (elementwise, broadcast, sums, products, gathers, scatters, hosts, nothing, guards)


def record(program: Callable[..., Any]) -> tuple[np.ndarray, np.ndarray]:
    """Return rows and words of a program's tape."""
    tape = numbad.record(program, POINT)
    tape.ensure_verified()
    return np.array(tape.code), np.array(tape.words)


def operands(words: list[int], w: int) -> list[list[Place]]:
    """Return all that each operand of a row touches: element after element of the index space."""
    axes = words[w + 2]
    shape = words[w + 4 : w + 4 + axes]
    found = []
    for d in range(w + 4 + axes, w + words[w], 3 + axes):
        steps = words[d + 3 : d + 3 + axes]
        corners = itertools.product(*map(range, shape))
        found.append([(words[d + 1], words[d + 2] + sum(map(int.__mul__, at, steps))) for at in corners])
    return found


def run(space: int, first: int, count: int) -> list[Place]:
    """Return places that follow one another."""
    return [(space, first + k) for k in range(count)]


def reads(row: list[int], words: list[int]) -> list[list[Place]]:
    """Return all places that a row reads, operand by operand."""
    opcode, out, a, b = row
    if opcode < MAP:
        return [[(0, a)], [(0, b)]]
    if opcode in (GUARD, GUARD_VALUE):
        return [[(0, a)], [(0, out)]][: 1 + (opcode == GUARD_VALUE)]
    if opcode == GATHER:
        return [[(0, place)] for place in words[a + 2 : a + 2 + words[a + 1]]]
    if opcode == SCATTER:
        return [run(words[a + 3], words[a + 4], words[a + 1])]
    if opcode == HOST:
        return [run(*words[d : d + 3]) for d in range(a + 4, a + 4 + 3 * words[a + 2], 3)]
    return operands(words, a)[1:]


def writes(row: list[int], words: list[int]) -> set[Place]:
    """Return all places that a row writes."""
    opcode, out, a, _ = row
    if opcode < MAP:
        return {(0, out)}
    if opcode in (GUARD, GUARD_VALUE):
        return set()
    if opcode == GATHER:
        return set(run(0, out, words[a + 1]))
    if opcode == SCATTER:
        return set(run(0, out, words[a + 2]))
    if opcode == HOST:
        places = range(a + 4 + 3 * words[a + 2], a + words[a], 3)
        return {place for d in places for place in run(*words[d : d + 3])}
    return set(operands(words, a)[0]) | set(run(0, out, words[a + 3] if opcode in (ADD, CONTRACT) else 0))


def span(places: Any) -> tuple[int, int]:
    """Return the first and last address of some places, which are of one space; a last before the first for none."""
    addresses = [address for _, address in places]
    return (min(addresses), max(addresses)) if addresses else (0, -1)


def rows_of(program: Callable[..., Any]) -> list[tuple[list[int], np.ndarray, list[int]]]:
    """Return the rows of a program, each with the tape's words as an array and as a list."""
    code, words = record(program)
    return [(row, words, words.tolist()) for row in code.tolist()]


def test_the_programs_have_rows_of_all_kinds() -> None:
    opcodes = {row[0] for program in PROGRAMS for row, _, _ in rows_of(program)}
    assert {GUARD, GUARD_VALUE, ADD, CONTRACT, GATHER, SCATTER, HOST} <= opcodes
    assert any(opcode < MAP for opcode in opcodes) and any(MAP <= opcode < 2 * MAP for opcode in opcodes)


@pytest.mark.parametrize("program", PROGRAMS)
def test_what_a_row_reads_lies_in_its_places(program: Callable[..., Any]) -> None:
    for row, words, plain in rows_of(program):
        opcode, out, a, b = row
        wanted = reads(row, plain)
        assert layout.read_count(opcode, a, b, words) == len(wanted)
        found = layout.places_read(opcode, out, a, b, words)
        for k, (places, (space, first, last)) in enumerate(zip(wanted, found, strict=True)):
            assert {of for of, _ in places} <= {space}
            assert (first, last) == span(places) if places else last < first
            assert layout.read_place(opcode, out, a, b, words, k) == (space, first, last)


@pytest.mark.parametrize("program", PROGRAMS)
def test_what_a_row_writes_lies_in_its_span(program: Callable[..., Any]) -> None:
    for row, words, plain in rows_of(program):
        opcode, out, a, _ = row
        places = writes(row, plain)
        first, last = layout.write_span(opcode, out, a, words)
        assert (first, last) == span(places) if places else last < first
        accumulates = opcode in (ADD, CONTRACT) and plain[a + 3] == 0
        assert layout.is_accumulation(opcode, a, words) == accumulates
        assert layout.written_count(opcode, a, words) == (0 if accumulates else len(places))


@pytest.mark.parametrize("program", PROGRAMS)
def test_operands_are_read_alike_by_all_readers(program: Callable[..., Any]) -> None:
    for (opcode, _, w, b), words, plain in rows_of(program):
        if not (MAP <= opcode < 2 * MAP or opcode in (ADD, CONTRACT)):
            continue
        shape, found = layout.row_shape(words, w), layout.row_operands(words, w)
        assert layout.row_elements(words, w) == np.prod(shape) and layout.row_axes(words, w) == len(shape)
        assert layout.operand_count(words, w) == len(found) == b + (opcode < 2 * MAP)
        for k, (space, first, steps) in enumerate(found):
            d = layout.operand_at(words, w, k)
            corners = [(space, first + int(np.dot(at, steps))) for at in np.ndindex(*shape)]
            assert corners == operands(plain, w)[k]
            assert layout.operand_place(words, w, k) == (space, first)
            assert (layout.operand_space(words, d), layout.operand_address(words, d)) == (space, first)
            assert (words[layout.space_at(words, w, k)], words[layout.address_at(words, w, k)]) == (space, first)
            assert layout.space_of(words, w, k) == space and layout.operand_strides(words, w, k) == steps
            assert steps == tuple(layout.operand_stride(words, d, axis) for axis in range(len(shape)))
            assert layout.operand_kind(words, d) == layout.operand_kinds(words, w)[k]


@pytest.mark.parametrize("program", [gathers, scatters, hosts])
def test_lists_are_read_alike_by_all_readers(program: Callable[..., Any]) -> None:
    for (opcode, _, w, _), words, plain in rows_of(program):
        count = range(plain[w + 1] if opcode in (GATHER, SCATTER) else 0)
        if opcode == GATHER:
            assert layout.gather_places(words, w).tolist() == [layout.gather_place(words, w, j) for j in count]
        elif opcode == SCATTER:
            assert layout.scatter_places(words, w).tolist() == [layout.scatter_place(words, w, j) for j in count]
            source = layout.scatter_space(words, w), layout.scatter_address(words, w), layout.listed_count(words, w)
            assert layout.scatter_source(words, w) == source
        elif opcode == HOST:
            read, made = layout.host_places(words, w)
            assert (len(read), len(made)) == (layout.host_inputs(words, w), layout.host_outputs(words, w))
            for k, place in enumerate([*read, *made]):
                one = layout.host_space(words, w, k), layout.host_address(words, w, k)
                assert place == (*one, layout.host_elements(words, w, k))


@njit
def ask(opcode: Any, out: Any, a: Any, b: Any, words: Any, spans: Any) -> Any:
    """Ask the compiled readers what a row reads and writes."""
    for k in range(compiled.read_count(opcode, a, b, words)):
        space, first, last = compiled.read_place(opcode, out, a, b, words, k)
        spans[k, 0], spans[k, 1], spans[k, 2] = space, first, last
    first, last = compiled.write_span(opcode, out, a, words)
    return first, last, compiled.is_accumulation(opcode, a, words)


@pytest.mark.parametrize("program", PROGRAMS)
def test_compiled_readers_agree(program: Callable[..., Any]) -> None:
    for row, words, _ in rows_of(program):
        opcode, out, a, b = row
        wanted = layout.places_read(opcode, out, a, b, words)
        spans = np.zeros((len(wanted), 3), np.int64)
        first, last, adds = ask(opcode, out, a, b, words, spans)
        assert spans.tolist() == [list(place) for place in wanted]
        assert (first, last) == layout.write_span(opcode, out, a, words)
        assert adds == layout.is_accumulation(opcode, a, words)


def test_all_readers_are_compiled() -> None:
    cpu_target.typing_context.refresh()
    functions = {name: value for name, value in vars(compiled).items() if name[0] != "_" and inspect.isfunction(value)}
    known = {name for name, value in functions.items() if vars(layout).get(name) is value and is_known(value)}
    assert {reader.__name__ for reader in layout.READERS} == known
    assert not is_known(layout.row_shape)


def is_known(function: Callable[..., Any]) -> bool:
    """Whether Numba may call a function of Python's."""
    try:
        return isinstance(cpu_target.typing_context.resolve_value_type(function), types.Callable)
    except (ValueError, NumbaError):
        return False


# ---------------------------------------------------------------- writers


def test_the_words_of_a_row_are_read_back() -> None:
    words = np.array(map_words((2, 3), 7, ((0, 4, 11, (1, 2)), (2, 0, 5, (0, 0)))))
    assert layout.row_size(words, 0) == words.size and layout.row_cleared(words, 0) == 6
    assert layout.row_shape(words, 0) == (2, 3) and layout.operand_kinds(words, 0) == [1, 0, 2]
    assert layout.row_operands(words, 0) == [(0, 7, (3, 1)), (4, 11, (1, 2)), (0, 5, (0, 0))]
    words = np.array(structural_words((2, 3), 2, ((0, 7, (1, 0)), (4, 11, (3, 1)))))
    assert layout.operand_kinds(words, 0) == [0, 1] and layout.row_cleared(words, 0) == 2
    assert not layout.is_absent_sum(words, 0)
    layout.mark_absent(words, 0)
    assert layout.is_absent_sum(words, 0) and layout.operand_place(words, 0, 0) == (0, 7)


def test_lists_and_calls_are_read_back() -> None:
    words = layout.gather_words(np.array([5, 3, 5]))
    assert layout.gather_places(words, 0).tolist() == [5, 3, 5] and layout.row_size(words, 0) == len(words)
    words = layout.scatter_words(np.array([1, 0]), 4, 2, 9)
    assert layout.scatter_places(words, 0).tolist() == [1, 0] and layout.scatter_block(words, 0) == 4
    assert layout.scatter_source(words, 0) == (2, 9, 2) and layout.row_size(words, 0) == len(words)
    words = np.array(layout.host_words(3, [(0, 5, 2), (1, 0, 600)], [(0, 9, 1)]))
    assert layout.host_call(words, 0) == 3 and layout.row_size(words, 0) == words.size
    assert layout.host_places(words, 0) == ([(0, 5, 2), (1, 0, 600)], [(0, 9, 1)])


@pytest.mark.parametrize("program", PROGRAMS)
def test_an_emptied_row_touches_nothing(program: Callable[..., Any]) -> None:
    for (opcode, out, a, b), words, _ in rows_of(program):
        if opcode >= MAP and opcode not in (GUARD, GUARD_VALUE, HOST):
            layout.empty_row(words, opcode, a)
            first, last = layout.write_span(opcode, out, a, words)
            assert last < first and layout.step_count(words, a) == 0
            assert all(last < first for _, first, last in layout.places_read(opcode, out, a, b, words))


def test_operands_move_to_copies_in_the_arena() -> None:
    code, words = record(products)
    (w,) = [w for opcode, _, w, _ in code.tolist() if opcode == CONTRACT and 1 in spaces(words, w)]
    before = layout.row_operands(words, w)
    layout.move_operands(words, CONTRACT, w, {1: 1000})
    moved = [(0, first + 1000 * (space == 1), steps) for space, first, steps in before]
    assert layout.row_operands(words, w) == moved
    words = np.array(layout.host_words(0, [(2, 5, 2), (0, 7, 1)], [(0, 9, 1)]))
    layout.move_operands(words, HOST, 0, {2: 30})
    assert layout.host_places(words, 0) == ([(0, 35, 2), (0, 7, 1)], [(0, 9, 1)])
    listed = layout.scatter_words(np.array([1, 0]), 4, 2, 9)
    layout.move_operands(listed, SCATTER, 0, {2: 30})
    assert layout.scatter_source(listed, 0) == (0, 39, 2)
    listed = layout.gather_words(np.array([2, 2]))
    layout.move_operands(listed, GATHER, 0, {2: 30})
    assert layout.gather_places(listed, 0).tolist() == [2, 2]


def spaces(words: np.ndarray, w: int) -> list[int]:
    """Return the spaces of a row's operands."""
    return [space for space, _, _ in layout.row_operands(words, w)]
