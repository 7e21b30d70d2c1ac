"""What depends on what: the compiled passes against sets of places, on rows of all kinds; and damaged passes."""

from __future__ import annotations
import __future__

import functools
import inspect
import itertools
import re
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np
import pytest

import numbad
import numbad.numpy
from numbad.geometry import contiguous
from numbad.kernels import dependence as compiled
from numbad.ops.definition import REGISTRY
from numbad.sweeps import dependence
from numbad.tape import layout
from numbad.tape.layout import ADD, CONTRACT, GATHER, GUARD, GUARD_VALUE, HOST, MAP, PINNED, SCATTER
from random_programs import make

Place = tuple[int, int]  # space and address


class Row(NamedTuple):
    """A row taken apart: what each of its operands reads, what it writes and what it clears besides."""

    opcode: int
    reads: list[list[Place]]
    writes: list[Place]
    clears: set[Place]


class Tape(NamedTuple):
    """Rows as arrays, and each taken apart."""

    code: np.ndarray
    words: np.ndarray
    size: int
    spaces: int
    rows: list[Row]


# ---------------------------------------------------------------- rows by hand


def run(space: int, first: int, count: int) -> list[Place]:
    """Return places that follow one another."""
    return [(space, first + k) for k in range(count)]


def operands(words: list[int], w: int) -> list[list[Place]]:
    """Return all that each operand of a row touches: element after element of the index space."""
    axes = words[w + 2]
    corners = list(itertools.product(*map(range, words[w + 4 : w + 4 + axes])))
    return [
        [(words[d + 1], words[d + 2] + sum(map(int.__mul__, at, words[d + 3 : d + 3 + axes]))) for at in corners]
        for d in range(w + 4 + axes, w + words[w], 3 + axes)
    ]


def take_apart(row: list[int], words: list[int]) -> Row:
    """Return what a row reads and writes."""
    opcode, out, a, b = row
    if opcode < MAP:
        return Row(opcode, [[(0, a)], [(0, b)]], [(0, out)], set())
    if opcode in (GUARD, GUARD_VALUE):
        return Row(opcode, [[(0, a)], [(0, out)]][: 1 + (opcode == GUARD_VALUE)], [], set())
    if opcode == GATHER:
        places = words[a + 2 : a + 2 + words[a + 1]]
        return Row(opcode, [[(0, place) for place in places]], run(0, out, len(places)), set())
    if opcode == SCATTER:
        targets = [(0, out + place) for place in words[a + 5 : a + words[a]]]
        return Row(opcode, [run(words[a + 3], words[a + 4], words[a + 1])], targets, set(run(0, out, words[a + 2])))
    if opcode == HOST:
        places = [run(*words[d : d + 3]) for d in range(a + 4, a + words[a], 3)]
        return Row(opcode, places[: words[a + 2]], [p for part in places[words[a + 2] :] for p in part], set())
    target, *sources = operands(words, a)
    return Row(opcode, sources, target, set(run(0, out, words[a + 3])))


@functools.cache
def tape_of(seed: int, derivative: bool) -> Tape:
    """Return the rows of a random program, or of its gradient."""
    program = make(seed)
    names = program.run_text(numbad.numpy if program.module == "numbad.numpy" else np)
    f = names["few"] if not derivative else lambda x, y: numbad.grad(lambda x: names["one"](x, y) + 1.5 * x.sum())(x)
    with np.errstate(all="ignore"):
        tape = numbad.record(f, *program.point(0))
    tape.ensure_verified()
    return finish(tape.code.tolist(), tape.words.tolist(), tape.size, len(tape.spaces))


def finish(code: list[list[int]], words: list[int], size: int, spaces: int) -> Tape:
    """Return rows as a tape."""
    rows = [take_apart(row, words) for row in code]
    return Tape(np.array(code, np.uint32), np.array([*words, 0], np.int64), size, spaces, rows)


class Builder:
    """Random rows: each reads what lies below, and writes a block of its own or adds to an earlier one."""

    def __init__(self, seed: int) -> None:
        self.random = np.random.default_rng([seed, 3])
        self.size, self.code, self.words = 8, [], []
        self.blocks: list[tuple[int, int]] = []  # to which rows may add

    def below(self, count: int) -> int:
        """Return a number."""
        return int(self.random.integers(count))

    def operand(self, shape: tuple[int, ...], first: int = 0, stop: int = 0) -> layout.Placed:
        """Return an operand in a range of the arena, or outside of it: contiguous, one number, or of any strides."""
        space = 0 if stop else int(self.random.random() < 0.2)
        stop = stop or (12 if space else self.size)
        kind = self.below(3)
        steps = contiguous(shape) if kind == 1 else tuple(self.below(6) - 2 if kind == 0 else 0 for _ in shape)
        reach = [(n - 1) * step for n, step in zip(shape, steps, strict=True)]
        low, high = first - sum(r for r in reach if r < 0), stop - sum(r for r in reach if r > 0)
        if low >= high:
            return 2, space, first, (0,) * len(shape)
        return kind, space, low + self.below(high - low), steps

    def block(self, count: int) -> int:
        """Return where a new block begins, after a gap."""
        self.size += self.below(2) + count
        return self.size - count

    def row(self, opcode: int, out: int, words: Any, b: int) -> None:
        """Append a row over arrays."""
        self.code.append([opcode, out, len(self.words), b])
        self.words += list(words)

    def scalar(self) -> None:
        """Append a row of numbers."""
        op = REGISTRY[self.below(len(REGISTRY))]
        a, b = self.below(self.size), self.below(self.size) if op.arity == 2 else 0
        self.code.append([op.opcode, self.block(1), a, b])

    def guard(self) -> None:
        """Append a guard."""
        a = self.below(self.size)
        self.code.append([GUARD, 1, a, 0] if self.below(2) else [GUARD_VALUE, self.below(self.size), a, 0])

    def elementwise(self) -> None:
        """Append a row of an op over arrays."""
        shape = tuple(self.random.integers(1, 4, self.below(2) + 1).tolist())
        op, count = REGISTRY[self.below(len(REGISTRY))], int(np.prod(shape))
        sources = [self.operand(shape) for _ in range(op.arity)]
        out = self.block(count)
        target = (1, 0, out, contiguous(shape))
        self.row(MAP + op.opcode, out, layout.index_words(shape, count, [target, *sources]), op.arity)

    def sum(self) -> None:
        """Append a sum, of elements or of products; onto a block that others have cleared, if there is one."""
        shape = tuple(self.random.integers(0 if self.below(9) == 0 else 1, 4, self.below(3) + 1).tolist())
        count = self.below(2)
        sources = [self.operand(shape) for _ in range(count + 1)]
        if self.blocks and self.below(2):
            out, size = self.blocks[self.below(len(self.blocks))]
            cleared = 0
        else:
            cleared = size = 1 + self.below(9)
            out = self.block(size)
            self.blocks.append((out, size))
        words = layout.index_words(shape, cleared, [self.operand(shape, out, out + size), *sources])
        self.row((ADD, CONTRACT)[count], out, words, count + 2)

    def listed(self) -> None:
        """Append a row that reads, or adds to, a list of places."""
        count = self.below(5)
        if self.below(2):
            places = self.random.integers(0, self.size, count)
            self.row(GATHER, self.block(count), layout.gather_words(places), 1)
            return
        size, space = 1 + self.below(6), int(self.below(4) == 0)
        source, places = self.below(self.size - count), self.random.integers(0, size, count)
        out = self.block(size)
        self.blocks.append((out, size))
        self.row(SCATTER, out, layout.scatter_words(places, size, space, source), 1)

    def host(self) -> None:
        """Append a row of a Python kernel, of two results."""
        sources = [(int(self.below(4) == 0), self.below(self.size - 3), self.below(4)) for _ in range(self.below(3))]
        targets = [(0, self.block(count), count) for count in (1 + self.below(3), self.below(3))]
        self.row(HOST, targets[0][1], layout.host_words(0, sources, targets), len(sources))


@functools.cache
def random_rows(seed: int) -> Tape:
    """Return random rows of all kinds."""
    builder = Builder(seed)
    kinds = (builder.scalar, builder.elementwise, builder.sum, builder.sum, builder.listed, builder.host, builder.guard)
    for _ in range(5 + builder.below(30)):
        kinds[builder.below(len(kinds))]()
    return finish(builder.code, builder.words, builder.size, 2)


SEEDS = range(60)
PROGRAMS = [(seed, derivative) for seed in (3, 7, 17, 19, 33, 38) for derivative in (False, True)]
COMPILED = SimpleNamespace(
    mark_active=dependence.mark_active, mark_needed=dependence.mark_needed, mark_varying=dependence.mark_varying
)


def places_of(marks: np.ndarray, base: int = 0) -> set[Place]:
    """Return the places of the arena that are marked."""
    return {(0, base + k) for k in np.flatnonzero(marks).tolist()}


def some(random: np.random.Generator, count: int, share: float) -> np.ndarray:
    """Return flags of which a share is set."""
    return (random.random(count) < share).astype(np.uint8)


# ---------------------------------------------------------------- the three questions, asked of sets


def find_active(tape: Tape, active: set[Place], start: int) -> tuple[list[int], set[Place]]:
    """Return which operands of each row depend on marked places, and to what rows add that others have cleared."""
    flags, accumulated = [], set()
    for row in tape.rows[start:]:
        flag = 0
        if row.opcode in (GATHER, SCATTER):
            for source, target in zip(row.reads[0], row.writes, strict=True):
                if source in active:
                    flag = 1
                    active.add(target)
        elif row.opcode not in (GUARD, GUARD_VALUE):
            met = [k for k, places in enumerate(row.reads) if active.intersection(places)]
            flag = bool(met) if row.opcode == HOST else sum(1 << k for k in met)
            if row.opcode < 2 * MAP:
                op = REGISTRY[row.opcode % MAP]
                flag &= (1 << op.arity) - 1 if op.smooth else 0
            active.update(row.writes if flag else ())
        if flag and row.opcode in (ADD, CONTRACT) and not row.clears:
            accumulated.update(row.writes)
        flags.append(int(flag))
    return flags, accumulated


def find_needed(tape: Tape, needed: set[Place], flags: list[int], slopes: list[int], whole: bool) -> list[int]:
    """Return the flags of the rows that are needed, 0 for others; add what they need to the places."""
    found = list(flags)
    for k in range(len(flags) - 1, -1, -1):
        row = tape.rows[k]
        written = row.clears.union(row.writes) if whole else row.writes
        wanted = bool(flags[k] & PINNED or needed.intersection(written))
        if not flags[k] or not (wanted or (row.opcode < MAP and slopes[k])):
            found[k] = 0
        elif row.opcode in (GATHER, SCATTER) and not whole:
            needed.update([s for s, t in zip(row.reads[0], row.writes, strict=True) if t in needed])
        else:
            for bits, places in zip((5, 6, *[7] * len(row.reads)), row.reads, strict=False):
                if wanted or slopes[k] & bits:
                    needed.update(places)
    return found


def find_varying(tape: Tape, blocked: np.ndarray, varying: set[Place]) -> list[bool]:
    """Return the rows that vary; add what they write to the places."""
    found = [False] * len(tape.rows)
    while True:
        known = len(varying)
        for k, row in enumerate(tape.rows):
            written = row.clears.union(row.writes)
            read = any(varying.intersection(places) for places in row.reads)
            found[k] = bool(blocked[k] or read or varying.intersection(written))
            varying.update(written if found[k] else ())
        if len(varying) == known:
            return found


# ---------------------------------------------------------------- both sides


def compare_active(tape: Tape, kernels: Any, seed: int) -> None:
    """Compare what depends on some places, among all rows and among those of a region."""
    random = np.random.default_rng(seed)
    for start in (0, len(tape.rows) // 2):
        written = [place[1] for row in tape.rows[start:] for place in row.writes + sorted(row.clears)]
        base = min(written, default=0) if start else 0
        active, accumulated = some(random, tape.size - base, 0.1), np.zeros(tape.size, np.uint8)
        spaces = some(random, tape.spaces, 0.3)
        spaces[:1] = 0
        places = places_of(active, base)
        for space in np.flatnonzero(spaces):
            places |= {p for row in tape.rows for part in row.reads for p in part if p[0] == space}
        flags, added = find_active(tape, places, start)
        given = (accumulated[base:],)
        assert kernels.mark_active(tape.code[start:], tape.words, active, spaces, base, *given).tolist() == flags
        assert places_of(active, base) == {place for place in places if place[0] == 0}
        assert places_of(accumulated) == added


def compare_needed(tape: Tape, kernels: Any, seed: int) -> None:
    """Compare what some places need: of values, of values and partials, and of derivatives."""
    random = np.random.default_rng(seed)
    for whole, pinned, partials in ((True, 0.05, 0.0), (True, 0.0, 0.1), (False, 0.0, 0.0)):
        needed = some(random, tape.size, 0.1)
        flags = np.where(some(random, len(tape.rows), pinned), PINNED, some(random, len(tape.rows), 0.9))
        flags = flags.astype(np.uint8)
        slopes = some(random, len(tape.rows), partials) * random.integers(0, 8, len(tape.rows)).astype(np.uint8)
        places = places_of(needed)
        wanted = find_needed(tape, places, flags.tolist(), slopes.tolist(), whole)
        given = slopes if partials else np.zeros(0, np.uint8)
        kernels.mark_needed(tape.code, tape.words, needed, flags, given, whole)
        assert flags.tolist() == wanted
        assert places_of(needed) == {place for place in places if place[0] == 0}


def compare_varying(tape: Tape, kernels: Any, seed: int) -> None:
    """Compare what varies with some places and rows."""
    random = np.random.default_rng(seed)
    for share in (0.0, 0.03):
        written = {place[1] for row in tape.rows for place in [*row.writes, *row.clears]}
        varying, blocked = some(random, tape.size, 0.1), some(random, len(tape.rows), share)
        varying[list(written)] = 0
        spaces = some(random, tape.spaces, 0.3)
        spaces[:1] = 0
        places = places_of(varying)
        for space in np.flatnonzero(spaces):
            places |= {p for row in tape.rows for part in row.reads for p in part if p[0] == space}
        rows = find_varying(tape, blocked, places)
        assert kernels.mark_varying(tape.code, tape.words, blocked, varying, spaces).astype(bool).tolist() == rows
        assert places_of(varying) == {place for place in places if place[0] == 0}


COMPARE = {"mark_active": compare_active, "mark_needed": compare_needed, "mark_varying": compare_varying}


def test_the_tapes_have_rows_of_all_kinds() -> None:
    rows = [row for seed in SEEDS for row in random_rows(seed).rows]
    assert {row.opcode for row in rows} >= {ADD, CONTRACT, GATHER, SCATTER, HOST, GUARD, GUARD_VALUE}
    assert any(row.opcode < MAP for row in rows) and any(MAP <= row.opcode < 2 * MAP for row in rows)
    assert any(row.opcode in (ADD, CONTRACT) and not row.clears for row in rows)
    assert any(space for row in rows for places in row.reads for space, _ in places)


@pytest.mark.parametrize("name", COMPARE)
@pytest.mark.parametrize("seed", SEEDS)
def test_passes_agree_with_sets(name: str, seed: int) -> None:
    for k in range(5):
        COMPARE[name](random_rows(seed), COMPILED, k)


@pytest.mark.parametrize("name", COMPARE)
@pytest.mark.parametrize(("seed", "derivative"), PROGRAMS)
def test_passes_agree_with_sets_on_recorded_rows(name: str, seed: int, derivative: bool) -> None:
    for k in range(3):
        COMPARE[name](tape_of(seed, derivative), COMPILED, k)


def test_rows_that_are_not_there_depend_on_nothing() -> None:
    code, words, none = np.zeros((0, 4), np.uint32), np.zeros(1, np.int64), np.zeros(0, np.uint8)
    assert dependence.mark_active(code, words, np.ones(3, np.uint8)).size == 0
    assert dependence.mark_varying(code, words, none, np.ones(3, np.uint8)).size == 0
    dependence.mark_needed(code, words, np.ones(3, np.uint8), none)


def test_steps_pass_nothing_on() -> None:
    tape = numbad.record(lambda x: np.floor(x) + np.sin(x), np.ones(4))
    active = np.zeros(tape.size, np.uint8)
    active[1:5] = 1
    floor, _, total = dependence.mark_active(tape.code, tape.words, active).tolist()
    assert (floor, total) == (0, 2)


# ---------------------------------------------------------------- damaged passes


def plain(old: str, new: str) -> Any:
    """Return the passes as plain Python, with one piece of text replaced, to be called as the compiled ones are."""
    text = inspect.getsource(compiled)
    assert text.count(old) == 1, f"{text.count(old)} times {old!r}"
    text = re.sub(r"^@compiled\n", "", text.replace(old, new), flags=re.MULTILINE)
    names: dict[str, Any] = {"__name__": compiled.__name__, "__file__": compiled.__file__}
    exec(compile(text, "damaged", "exec", flags=__future__.annotations.compiler_flag), names)
    empty = np.zeros(0, np.uint8)

    def mark_active(code: Any, words: Any, active: Any, spaces: Any, base: int, accumulated: Any = empty) -> Any:
        flags = np.zeros(len(code), np.uint8)
        carries, _ = dependence.operands_that_carry()
        names["mark_active"](code, words, base, carries, active, spaces, flags, accumulated)
        return flags

    def mark_varying(code: Any, words: Any, blocked: Any, varying: Any, spaces: Any) -> Any:
        rows = np.zeros(len(code), np.uint8)
        names["mark_varying"](code, words, blocked, varying, spaces, rows)
        return rows

    def mark_needed(code: Any, words: Any, needed: Any, flags: Any, slopes: Any, whole: bool) -> None:
        names["mark_needed"](code, words, needed, flags, slopes, whole)

    return SimpleNamespace(mark_active=mark_active, mark_needed=mark_needed, mark_varying=mark_varying)


DAMAGES = {
    "steps carry": ("mark_active", "flag &= carries[opcode]", "flag &= 3"),
    "steps over arrays carry": ("mark_active", "flag &= carries[opcode - MAP]", "flag &= 3"),
    "a second operand is the first": ("mark_active", "1 if opcode == HOST else 1 << k", "1"),
    "a list is active as a whole": ("mark_active", "active[target - base] = 1", "active[out - base] = 1"),
    "memory outside is forgotten": ("mark_active", "return first <= last and is_marked(spaces, space)", "return False"),
    "all sums accumulate": (
        "mark_active",
        "accumulated.size and is_accumulation(opcode, a, words)",
        "accumulated.size",
    ),
    "gathers need nothing": ("mark_needed", "needed[source] = 1", "pass"),
    "gathers need all": ("mark_needed", "if needed[target]:", "if True:"),
    "partials need nothing": ("mark_needed", "if wanted or slope & 5:", "if wanted:"),
    "nothing is pinned": ("mark_needed", "(flags[i] & PINNED) != 0 or visit", "visit"),
    "what is cleared is nobody's": (
        "mark_needed",
        "words, needed, 0, whole, False)",
        "words, needed, 0, False, False)",
    ),
    "strides are dropped": ("mark_needed", "offset += (rest % length) * step", "offset += rest % length"),
    "blocks vary in part": ("mark_varying", "again = again or is_accumulation(opcode, a, words)", "pass"),
    "nothing is blocked": ("mark_varying", "blocked[i] != 0 or visit", "visit"),
    "what is cleared varies alone": (
        "mark_varying",
        "words, varying, 0, True, True)",
        "words, varying, 0, False, True)",
    ),
}


@pytest.mark.parametrize("name", DAMAGES)
def test_damage_is_noticed(name: str) -> None:
    task, old, new = DAMAGES[name]
    kernels = plain(old, new)
    with pytest.raises(AssertionError, match="assert"):
        for seed in SEEDS:
            COMPARE[task](random_rows(seed), kernels, seed)


def test_undamaged_passes_agree_as_plain_python() -> None:
    kernels = plain("again = True\n    while", "again = True\n    while")
    for compare in COMPARE.values():
        compare(random_rows(1), kernels, 0)
