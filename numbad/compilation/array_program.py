"""A path over arrays as calls of compiled functions: what each is given, forward and back, and the rows between."""

from __future__ import annotations

import bisect
import dataclasses
import math
from typing import Any

import numpy as np

from numbad.compilation.array_module import ArrayModule, Texts
from numbad.compilation.forward import Tables
from numbad.compilation.grouping import (
    Extreme,
    Fill,
    Group,
    Grouping,
    Listing,
    Member,
    Step,
    Stop,
    keep_for_back,
    target_is_block,
)
from numbad.compilation.lane_groups import Reading, write_lanes
from numbad.compilation.module import Uncompilable
from numbad.compilation.nests import BAR, NUMBER, VALUE, Back, Kernel, Pull, describe, targets_of, write_forward
from numbad.compilation.places import Place
from numbad.compilation.reused_memory import Units, make_units, note_uses, share_memory
from numbad.geometry import Shape
from numbad.limits import MOST_AT_ONCE, MOST_GROUPS, STRETCH
from numbad.tape.layout import (
    ADD,
    CONTRACT,
    GATHER,
    SCATTER,
    gather_places,
    host_places,
    is_product,
    listed_head,
    operand_at,
    row_operands,
    row_shape,
    scatter_places,
)

# Kinds of arguments beside those of nests: a word, a function, memory that is shared, that of a block, a table.
WORDS, PRODUCT, POOL, BLOCK, TABLE = range(3, 8)
Argument = tuple[int, int, int]
ZERO = 0  # the bits of 0.0


@dataclasses.dataclass
class Call:
    """A call of a compiled function.

    Attributes
    ----------
    function : int
        Its number in the module.
    arguments : list
    start, stop : int
        The part of the outermost axis.
    anchor : int
        An address that is read through an argument which is the beginning of the arena; -1 without such a one.
    rows : int
        What the function does for each element of the outermost axis, in rows of one element.
    """

    function: int
    arguments: list[Argument]
    start: int = 0
    stop: int = 1
    anchor: int = -1
    rows: int = 1


Item = Call | Stop


@dataclasses.dataclass
class ArrayProgram:
    """What runs a path.

    Attributes
    ----------
    forward, back : list of Call or Stop
        In their order.
    module : ArrayModule
        The functions.
    pools : list of int
        How many numbers the pools of values and of cotangents have.
    staying : int
        How many numbers have memory of their own.
    block : int
        How many numbers a block of lanes has.
    tables : ndarray of float64
        What functions of lanes read.
    """

    forward: list[Item]
    back: list[Item]
    module: ArrayModule
    pools: list[int]
    staying: int
    block: int
    tables: np.ndarray


class Planner:
    """Makes the program of a path.

    Parameters
    ----------
    grouping : Grouping
        Its rows in groups.
    words : ndarray
        The words of its rows.
    sizes : list of int
        The elements of the arena and of each space.
    single : bool
        Whether numbers are of single precision.
    readings : dict of int to Reading
        The long groups as programs at each lane, by the identity of the group.
    """

    def __init__(
        self,
        grouping: Grouping,
        words: np.ndarray,
        sizes: list[int],
        single: bool = False,
        readings: dict[int, Reading] | None = None,
    ) -> None:
        self.texts, self.single = Texts(single), single
        self.readings = {} if readings is None else readings
        self.block, self.tables = 0, Tables()
        self.minus_zero = 1 << 31 if single else -(1 << 63)
        self.steps, self.words, self.sizes = grouping.steps, words, sizes
        self.varied, self.writers = grouping.varied, grouping.writers
        self.module = ArrayModule()
        self.known: dict[Any, tuple[int, list[tuple[int, int]], bool]] = {}  # the functions of groups, by what they do
        self.items: list[Item] = []
        self.intervals: tuple[list[tuple[int, int]], list[tuple[int, int]]] = ([], [])  # of values, and of cotangents
        self.back: list[Item] = []
        self.staying = 0  # numbers that share no memory
        self.kept: tuple[list[tuple[int, int]], list[tuple[int, int]]] = ([], [])  # those that stay where they are
        self.plan_forward(grouping.fills)

    # ------------------------------------------------------------ forward

    def plan_forward(self, fills: list[Fill]) -> None:
        """Note the calls of the forward sweep: blocks are set to zero when the first row adds to them."""
        starts = sorted((fill.place.address, k) for k, fill in enumerate(fills))
        firsts = [first for first, _ in starts]
        waiting = dict(enumerate(fills))
        before: list[list[int]] = []
        for step in self.steps:
            found = {starts[bisect.bisect_right(firsts, out) - 1][1] for out in self.added_to(step)}
            before.append([k for k in sorted(found) if k in waiting])
            for k in before[-1]:
                del waiting[k]
        for fill in waiting.values():
            self.fill_block(fill)
        for step, chosen in zip(self.steps, before):
            for k in chosen:
                self.fill_block(fills[k])
            self.call_step(step)
        self.forward, self.items = self.items, []

    def call_step(self, step: Step) -> None:
        """Compute a step."""
        if isinstance(step, Group):
            self.call_group(step)
        elif isinstance(step, Listing):
            self.call_list(step)
        elif isinstance(step, Extreme):
            self.call_extreme(step, [(VALUE, step.source), (VALUE, step.out)])
        elif is_compiled_product(step, self.words):
            self.call_product(step.w, (VALUE, 0), (VALUE, 1), (VALUE, 2))
        else:
            self.keep_places(step, VALUE)
            self.items.append(step)

    def added_to(self, step: Step) -> list[int]:
        """Return addresses in the blocks to which a step adds."""
        if isinstance(step, Group):
            return [member.out.reach(step.shape)[0] for member in step.members if member.adds]
        if isinstance(step, Listing):
            return [] if step.gathers else [step.block.address]
        if isinstance(step, Extreme) or step.opcode != CONTRACT or step.fresh[0]:
            return []
        return [Place(*row_operands(self.words, step.w)[0]).reach(row_shape(self.words, step.w))[0]]

    def fill_block(self, fill: Fill) -> None:
        """Set a block to zero."""
        self.fill(VALUE, fill.place.address, fill.count, self.minus_zero if fill.absent else ZERO)

    def note(self, kind: int, place: Place, shape: Shape) -> tuple[int, int]:
        """Note which addresses are spoken of; return them, half-open."""
        low, high = place.reach(shape)
        if place.space == 0:
            self.intervals[kind].append((low, high + 1))
        return low, high + 1

    def keep_places(self, step: Stop, kind: int) -> None:
        """Let what a row outside of compiled functions reads and writes stay where it is."""
        for place, shape in stop_places(step, self.words):
            run = self.note(kind, place, shape)
            if place.space == 0:
                self.kept[kind].append(run)

    def fill(self, kind: int, address: int, count: int, bits: int, space: int = 0) -> None:
        """Set a block to a number; as part of the call before, if that fills what lies before it."""
        self.note(kind, Place(space, address, (1,)), (count,))
        last = self.items[-1] if self.items else None
        number = self.module.add(self.texts.fill)
        if isinstance(last, Call) and last.function == number:
            (at, where, first), (_, _, before) = last.arguments
            if (at, where, first + last.stop, before) == (kind, space, address, bits):
                last.stop += count
                self.note(kind, Place(space, first, (1,)), (last.stop,))
                return
        self.items.append(Call(number, [(kind, space, address), (NUMBER, 0, bits)], 0, count))

    def call_lanes(self, group: Group, pull: Pull | None = None) -> None:
        """Call the function of a long group, forward or back."""
        found = write_lanes(self.readings[id(group)], pull)
        kernel, count = found.kernel, math.prod(group.shape)
        number = self.add_text(kernel.text, kernel.called)
        arguments: list[Argument] = [(BLOCK, 0, 0), (TABLE, 0, self.tables.add(kernel.tables))]
        self.block = max(self.block, kernel.memory)
        for kind, entries in ((VALUE, found.values), (BAR, found.bars)):
            for place, at in entries:
                self.note(kind, place, group.shape)
                arguments += [
                    (kind, place.space, place.address),
                    (NUMBER, 0, place.step(group.shape) or 0),
                    (NUMBER, 0, at),
                ]
        rows = len(group.members) * (1 if pull is None else 3)
        stretch = max(1, MOST_AT_ONCE // rows)
        for start in range(0, count, stretch):
            self.items.append(Call(number, list(arguments), start, min(count, start + stretch), rows=rows))

    def call_group(self, group: Group, pull: Pull | None = None) -> None:
        """Call the function of a group, forward or back, in stretches where it adds everything to one number."""
        if id(group) in self.readings:
            self.call_lanes(group, pull)
            return
        places, key = describe(group)
        if pull is not None:
            numbers = {place: k for k, place in enumerate(places)}
            targets = [(numbers[place], place in pull.fresh) for place in pull.targets]
            key += tuple(targets), tuple(sorted(pull.bars)), tuple(numbers[place] for place in pull.spare)
            for other in pull.spare.values():
                numbers[other] = len(places)
                places.append(other)
        if key not in self.known:
            self.known[key] = self.add_function(
                write_forward(group, self.single) if pull is None else Back(group, pull, self.single).write(), places
            )
        number, parts, sums = self.known[key]
        for kind, k in parts:
            if kind != NUMBER:
                self.note(kind, places[k], group.shape)
        arguments = [
            (NUMBER, 0, group.members[k].row) if kind == NUMBER else (kind, places[k].space, places[k].address)
            for kind, k in parts
        ]
        shape = group.shape
        length = shape[0] if shape else 1
        inner = math.prod(shape[1:])
        stretch = max(1, STRETCH // inner) if sums and shape else max(1, MOST_AT_ONCE // (inner * len(parts)))
        for start in range(0, length, stretch):
            stop = min(length, start + stretch)
            self.items.append(Call(number, list(arguments), start, stop, rows=inner * len(parts)))

    def add_function(self, kernel: Kernel, places: list[Place]) -> tuple[int, list[tuple[int, int]], bool]:
        """Return the number of a function, what it is given by kind and number of the place, and whether it sums."""
        numbers = {place: k for k, place in enumerate(places)}
        parts = [(kind, what if isinstance(what, int) else numbers[what]) for kind, what in kernel.arguments]
        return self.add_text(kernel.text, kernel.called), parts, kernel.sums

    def add_text(self, text: str, called: frozenset[str]) -> int:
        """Return the number of a function."""
        number = self.module.add_kernel(text, called)
        if len(self.module.numbers) > MOST_GROUPS:
            raise Uncompilable
        return number

    def call_list(self, step: Listing) -> None:
        """Read a list of places, or add to them."""
        text, base = (self.texts.gather, 0) if step.gathers else (self.texts.scatter, step.block.address)
        block = step.block if step.gathers else step.other
        arguments = [self.list_of(step), (VALUE, 0, base), (VALUE, block.space, block.address)]
        self.note(VALUE, block, (step.count,))
        self.items.append(Call(self.module.add(text), arguments, 0, step.count, self.note_list(VALUE, step)))

    def note_list(self, kind: int, step: Listing) -> int:
        """Note that all is spoken of between the listed addresses; return the first."""
        places = self.listed(step)
        low, high = int(places.min()), int(places.max())
        self.note(kind, Place(0, low, (1,)), (high + 1 - low,))
        return low

    def listed(self, step: Listing) -> np.ndarray:
        """Return the addresses that a row lists; all that it may, if they are new at each run."""
        if not step.gathers:
            found: np.ndarray = step.block.address + np.asarray(scatter_places(self.words, step.w))
            return found
        varied = self.varied.get(step.row)
        return np.asarray(gather_places(self.words, step.w)) if varied is None else varied

    def list_of(self, step: Listing) -> Argument:
        """Return where the list of a row is."""
        return WORDS, 0, step.w + int(listed_head(GATHER if step.gathers else SCATTER))

    def call_extreme(self, step: Extreme, places: list[tuple[int, Place]]) -> None:
        """Find extremes, or take their cotangents back, which are then among the places."""
        back = len(places) > 2
        number = self.add_text(self.texts.extreme(step.greatest, step.length, back), frozenset())
        for kind, place in places:
            self.note(kind, place, (step.count * (step.length if place is step.source else 1),))
        arguments: list[Argument] = [(kind, place.space, place.address) for kind, place in places]
        stretch = max(1, MOST_AT_ONCE // step.length)
        for start in range(0, step.count, stretch):
            stop = min(step.count, start + stretch)
            self.items.append(Call(number, list(arguments), start, stop, rows=step.length))

    def call_product(self, w: int, *places: tuple[int, int]) -> None:
        """Call the function of products of matrices: the target and two factors, by kind and number of operand."""
        words = self.words
        operands = row_operands(words, w)
        for kind, k in places:
            self.note(kind, Place(*operands[k]), row_shape(words, w))
        arguments: list[Argument] = [(PRODUCT, 0, 0), (WORDS, 0, 0), (NUMBER, 0, w)]
        for kind, k in places:
            space, address, _ = operands[k]
            arguments += [(NUMBER, 0, int(operand_at(words, w, k))), (kind, space, address)]
        self.items.append(Call(self.module.add(self.texts.product), arguments))

    # ------------------------------------------------------------ back

    def plan_back(self, output: int, wanted: list[tuple[int, int, int]]) -> None:
        """Note the calls of the adjoint sweep; `wanted` are the space and addresses of what it is for."""
        self.touched = [np.zeros(size, bool) for size in self.sizes]
        self.touched[0][output] = True
        self.kept[BAR].append((output, output + 1))
        for step in reversed(self.steps):
            if isinstance(step, Group):
                self.pull_group(step)
            elif isinstance(step, Listing):
                self.pull_list(step)
            elif isinstance(step, Extreme):
                self.pull_extreme(step)
            else:
                self.pull_stop(step)
        for space, start, stop in wanted:
            if self.touched[space][start:stop].any():  # 1 is returned where a derivative is not finite
                self.items.append(Call(self.module.add(self.texts.look), [(BAR, space, start)], 0, stop - start))
        self.back, self.items = self.items, []

    def region(self, place: Place, shape: Shape) -> np.ndarray:
        """Return of each address of a place whether its cotangent has been set."""
        table = self.touched[place.space]
        if any(step < 0 for step in place.strides):
            return np.lib.stride_tricks.as_strided(table[place.address :], shape, place.strides)
        return np.ndarray(shape, bool, table, place.address, place.strides)

    def is_reached(self, place: Place, shape: Shape) -> bool:
        """Whether a result has cotangents in memory: then all of it has, when this is told."""
        if not self.region(place, shape).any():
            return False
        self.make_ready(place, shape)
        return True

    def make_ready(self, place: Place, shape: Shape) -> None:
        """Set the cotangents of a place that have not been set to absent."""
        if self.region(place, shape).all():
            return
        low, high = place.reach(shape)
        if place.space == 0:  # whole blocks, for what is left between the elements of a place would be filled in bits
            low, high = min(low, self.writers.around(low)[0]), max(high, self.writers.around(high)[1])
        self.make_run_ready(place.space, low, high + 1)

    def make_run_ready(self, space: int, low: int, stop: int) -> None:
        """Set the cotangents of a run of addresses that have not been set to absent."""
        part = self.touched[space][low:stop]
        edges = np.flatnonzero(np.diff(np.concatenate([[True], part, [True]]).astype(np.int8)))
        for first, last in zip(edges[::2].tolist(), edges[1::2].tolist()):
            self.fill(BAR, low + first, last - first, self.minus_zero, space)
        part[:] = True

    def pull_group(self, group: Group) -> None:
        """Take a group back."""
        bars = {
            k
            for k, member in enumerate(group.members)
            if member.stored and not member.is_guard and self.is_reached(member.out, group.shape)
        }
        if not bars:
            return
        reached = reach_targets(group, bars)
        if id(group) in self.readings:
            for place in reached:
                self.make_ready(place, group.shape)
            self.call_lanes(group, Pull(list(reached), set(), bars))
            return
        parts = [[place for place in targets if place in reached] for targets in targets_of(group)]
        parts = [targets for targets in parts if targets]
        if len(parts) > 1 and group.is_expensive:
            self.pull_at_once(group, parts, bars)
            return
        for targets in parts:
            self.call_group(group, Pull(targets, self.take_fresh(targets, group.shape), bars))

    def take_fresh(self, targets: list[Place], shape: Shape) -> set[Place]:
        """Return which targets have no cotangents so far, for all of a block; let the others have some."""
        found = set()
        for place in targets:
            if place.is_block(shape) and not self.region(place, shape).any():
                found.add(place)
                self.region(place, shape)[...] = True
            else:
                self.make_ready(place, shape)
        return found

    def pull_at_once(self, group: Group, parts: list[list[Place]], bars: set[int]) -> None:
        """Take a group back whose slopes take long: once, also where targets share addresses.

        What all targets but those of the first part get is put apart, and added by a function that copies.
        """
        spare = {place: self.spare_place(place, group.shape) for targets in parts[1:] for place in targets}
        fresh = self.take_fresh(parts[0], group.shape)
        for place, other in spare.items():
            if self.take_fresh([other], group.shape):
                fresh.add(place)
        self.call_group(group, Pull([place for targets in parts for place in targets], fresh, bars, spare))
        for place, other in spare.items():
            axes = [axis for axis, step in enumerate(place.strides) if step]
            shape = tuple(group.shape[axis] for axis in axes)
            source, target = (
                Place(one.space, one.address, tuple(one.strides[axis] for axis in axes)) for one in (other, place)
            )
            copy = Group(shape, [])
            copy.append(Member(group.members[0].row, ADD, source, [target], 1))
            self.call_group(copy, Pull([target], self.take_fresh([target], shape), {0}))

    def spare_place(self, place: Place, shape: Shape) -> Place:
        """Return a place of its own with as many elements as another, behind all addresses."""
        strides, size = [], 1
        for length, step in zip(reversed(shape), reversed(place.strides)):
            strides.append(size if step else 0)
            size *= length if step else 1
        address = len(self.touched[0])
        self.touched[0] = np.concatenate([self.touched[0], np.zeros(size, bool)])
        return Place(0, address, tuple(reversed(strides)))

    def pull_list(self, step: Listing) -> None:
        """Take a row of listed addresses back."""
        count = (step.count,)
        if not step.active:
            return
        places, low = self.listed(step), 0
        if step.gathers:
            if not self.is_reached(step.block, count):
                return
            other, base, text = step.block, 0, self.texts.scatter
        else:
            if not self.touched[0][places].any():
                return
            other, base, text = step.other, step.block.address, self.texts.add_gathered
            self.make_ready(other, count)
        self.make_run_ready(0, int(places.min()), int(places.max()) + 1)
        low = self.note_list(BAR, step)
        self.note(BAR, other, count)
        arguments = [self.list_of(step), (BAR, 0, base), (BAR, other.space, other.address)]
        self.items.append(Call(self.module.add(text), arguments, 0, step.count, low))

    def pull_extreme(self, step: Extreme) -> None:
        """Take extremes back."""
        if not step.active or not self.is_reached(step.out, (step.count,)):
            return
        self.make_ready(step.out, (step.count,))
        self.make_ready(step.source, (step.count * step.length,))
        self.call_extreme(step, [(VALUE, step.source), (VALUE, step.out), (BAR, step.out), (BAR, step.source)])

    def pull_stop(self, step: Stop) -> None:
        """Take a product of matrices or a row of Python's back."""
        words, w = self.words, step.w
        if not step.active:
            return
        if step.opcode != CONTRACT:
            read, made = host_places(words, w)
            blocks = [(Place(0, first, (1,)), (count,)) for _, first, count in made]
            if not any(self.region(*block).any() for block in blocks):
                return
            for block in blocks:
                self.make_ready(*block)
            for space, first, count in read:
                if self.sizes[space]:
                    self.make_ready(Place(space, first, (1,)), (count,))
            self.keep_places(step, BAR)
            self.items.append(step)
            return
        shape = row_shape(words, w)
        places = [Place(*operand) for operand in row_operands(words, w)]
        if not self.is_reached(places[0], shape):
            return
        fresh = [False, False, False]
        for k in (1, 2):
            if step.active & k:
                region = self.region(places[k], shape)
                fresh[k] = not (is_compiled_product(step, words) or region.any()) and target_is_block(shape, places[k])
                if fresh[k]:
                    region[...] = True
                self.make_ready(places[k], shape)
        if not is_compiled_product(step, words):
            self.keep_places(step, BAR)
            self.items.append(dataclasses.replace(step, fresh=(False, fresh[1], fresh[2])))
            return
        for k in (1, 2):
            if step.active & k:
                self.call_product(w, (BAR, k), (BAR, 0), (VALUE, 3 - k))

    # ------------------------------------------------------------ memory

    def share(self, given: list[tuple[int, int]], results: list[np.ndarray]) -> list[int]:
        """Let values and cotangents that are not needed for long share memory; return the sizes of the pools.

        `given` are the addresses of the inputs, half-open.
        """
        self.kept[BAR].extend(given)
        return [self.share_kind(VALUE, results), self.share_kind(BAR, [])]

    def share_kind(self, kind: int, results: list[np.ndarray]) -> int:
        """Let the values share memory, or the cotangents."""
        units = make_units(self.intervals[kind] + self.kept[kind])
        uses = [
            (call.anchor if call.anchor >= 0 and k == 1 else number, i, call, k)
            for i, call in enumerate([*self.forward, *self.back])
            if isinstance(call, Call)
            for k, (sort, space, number) in enumerate(call.arguments)
            if sort == kind and space == 0
        ]
        if not uses:
            return 0
        addresses = np.array([use[0] for use in uses])
        note_uses(units, addresses, np.array([use[1] for use in uses]))
        self.mark_staying(kind, units, results)
        self.staying += int(np.sum((units.stops - units.lows)[units.stays]))
        places, size = share_memory(units)
        for unit, (_, _, call, k) in zip(units.find(addresses).tolist(), uses):
            if unit >= 0 and places[unit] >= 0:
                number = call.arguments[k][2] - int(units.lows[unit]) + int(places[unit])
                call.arguments[k] = POOL, kind, number
        return size

    def mark_staying(self, kind: int, units: Units, results: list[np.ndarray]) -> None:
        """Mark what keeps its own memory."""
        stays = [np.array([low for low, _ in self.kept[kind]], np.int64), *(found.reshape(-1) for found in results)]
        if kind == VALUE:
            units.stays |= ~self.writers.cover(units.lows, units.stops)  # inputs and constants
        found = units.find(np.concatenate(stays))
        units.stays[found[found >= 0]] = True


def stop_places(step: Stop, words: Any) -> list[tuple[Place, Shape]]:
    """Return what a row outside of compiled functions reads and writes."""
    if step.opcode == CONTRACT:
        shape = row_shape(words, step.w)
        return [(Place(*operand), shape) for operand in row_operands(words, step.w)]
    read, made = host_places(words, step.w)
    return [(Place(space, first, (1,)), (count,)) for space, first, count in read + made]


def is_compiled_product(step: Stop, words: Any) -> bool:
    """Whether a row is multiplied by a compiled function."""
    return step.opcode == CONTRACT and bool(is_product(words, step.w))


def reach_targets(group: Group, bars: set[int]) -> dict[Place, None]:
    """Return the operands in memory that cotangents of some members come to."""
    found: dict[Place, None] = {}
    have = set(bars)
    for k in range(len(group.members) - 1, -1, -1):
        member = group.members[k]
        if k not in have:
            continue
        for j, (source, place) in enumerate(zip(member.sources, member.operands)):
            if member.active & (j + 1):
                if source >= 0:
                    have.add(source)
                else:
                    found[place] = None
    return found


def make_array_program(
    grouping: Grouping,
    words: np.ndarray,
    sizes: list[int],
    given: list[tuple[int, int]],
    results: list[np.ndarray],
    wanted: list[tuple[int, int, int]] | None,
    single: bool = False,
    constants: tuple[np.ndarray, np.ndarray] | None = None,
) -> ArrayProgram:
    """Return the program of a path.

    `sizes` are 0 for spaces of constants, `given` the addresses of inputs in the arena, and `wanted` the space and
    addresses of those with respect to which a gradient is wanted, if one is; `single` says that numbers are of single
    precision, and `constants` which addresses hold constants, and what these are.
    """
    for places in results:
        grouping.note_reads(places.reshape(-1))
    if wanted is not None:
        keep_for_back(grouping.steps)
    planner = Planner(grouping, words, sizes, single, read_long(grouping, constants))
    if wanted is not None:
        planner.plan_back(int(results[0]), wanted)
    pools = planner.share(given, results)
    parts = planner.forward, planner.back, planner.module, pools, planner.staying
    return ArrayProgram(*parts, planner.block, planner.tables.values)


def read_long(grouping: Grouping, constants: tuple[np.ndarray, np.ndarray] | None) -> dict[int, Reading]:
    """Return the long groups as programs at each lane; cut those into groups that have too much code."""
    found: dict[int, Reading] = {}
    steps: list[Step] = []
    for step in grouping.steps:
        if not isinstance(step, Group) or not step.is_long:
            steps.append(step)
            continue
        assert constants is not None
        reading = Reading(step, *constants)
        if reading.suits():
            found[id(step)] = reading
            steps.append(step)
        else:
            steps.extend(step.cut())
    grouping.steps = steps
    return found
