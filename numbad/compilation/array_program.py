"""A path over arrays as calls of compiled functions: what each is given, forward and back, and the rows between."""

from __future__ import annotations

import dataclasses
import struct
from typing import Any

import numpy as np

from numbad.compilation import array_module
from numbad.compilation.array_module import ArrayModule
from numbad.compilation.grouping import Fill, Group, Grouping, Listing, Stop, keep_for_back
from numbad.compilation.module import Uncompilable
from numbad.compilation.nests import BAR, NUMBER, VALUE, Back, Kernel, Pull, targets_of, write_forward
from numbad.compilation.places import Place
from numbad.geometry import Shape
from numbad.limits import MOST_GROUPS, STRETCH
from numbad.tape.layout import (
    CONTRACT,
    gather_places,
    host_places,
    is_product,
    listed_head,
    operand_at,
    row_operands,
    row_shape,
    scatter_places,
)

WORDS, PRODUCT = 3, 4  # kinds of arguments beside those of nests: where a word is; the function of products
Argument = tuple[int, int, int]
ZERO, MINUS_ZERO = 0, struct.unpack("<q", struct.pack("<d", -0.0))[0]


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
    """

    function: int
    arguments: list[Argument]
    start: int = 0
    stop: int = 1


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
    """

    forward: list[Item]
    back: list[Item]
    module: ArrayModule


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
    """

    def __init__(self, grouping: Grouping, words: np.ndarray, sizes: list[int]) -> None:
        self.steps, self.words, self.sizes = grouping.steps, words, sizes
        self.varied = grouping.varied
        self.module = ArrayModule()
        self.items: list[Item] = []
        self.plan_forward(grouping.fills)

    # ------------------------------------------------------------ forward

    def plan_forward(self, fills: list[Fill]) -> None:
        """Note the calls of the forward sweep."""
        for fill in fills:
            self.fill(VALUE, fill.place.address, fill.count, MINUS_ZERO if fill.absent else ZERO)
        for step in self.steps:
            if isinstance(step, Group):
                self.call_group(write_forward(step), step.shape)
            elif isinstance(step, Listing):
                self.call_list(step)
            elif is_compiled_product(step, self.words):
                self.call_product(step.w, (VALUE, 0), (VALUE, 1), (VALUE, 2))
            else:
                self.items.append(step)
        self.forward, self.items = self.items, []

    def fill(self, kind: int, address: int, count: int, bits: int, space: int = 0) -> None:
        """Set a block to a number; as part of the call before, if that fills what lies before it."""
        last = self.items[-1] if self.items else None
        number = self.module.add(array_module.FILL)
        if isinstance(last, Call) and last.function == number:
            (at, where, first), (_, _, before) = last.arguments
            if (at, where, first + last.stop, before) == (kind, space, address, bits):
                last.stop += count
                return
        self.items.append(Call(number, [(kind, space, address), (NUMBER, 0, bits)], 0, count))

    def call_group(self, kernel: Kernel, shape: Shape) -> None:
        """Call the function of a group, in stretches where it adds everything to one number."""
        number = self.module.add_kernel(kernel)
        if len(self.module.numbers) > MOST_GROUPS:
            raise Uncompilable
        length = shape[0] if shape else 1
        inner = int(np.prod(shape[1:]))
        stretch = max(1, STRETCH // inner) if kernel.sums and shape else length
        for start in range(0, length, stretch):
            self.items.append(Call(number, kernel.arguments, start, min(length, start + stretch)))

    def call_list(self, step: Listing) -> None:
        """Read a list of places, or add to them."""
        text, base = (array_module.GATHERED, 0) if step.gathers else (array_module.SCATTERED, step.block.address)
        block = step.block if step.gathers else step.other
        arguments = [self.list_of(step), (VALUE, 0, base), (VALUE, block.space, block.address)]
        self.items.append(Call(self.module.add(text), arguments, 0, step.count))

    def list_of(self, step: Listing) -> Argument:
        """Return where the list of a row is."""
        return WORDS, 0, step.w + listed_head_of(step)

    def call_product(self, w: int, *places: tuple[int, int]) -> None:
        """Call the function of products of matrices: the target and two factors, by kind and number of operand."""
        words = self.words
        operands = row_operands(words, w)
        arguments: list[Argument] = [(PRODUCT, 0, 0), (WORDS, 0, 0), (NUMBER, 0, w)]
        for kind, k in places:
            space, address, _ = operands[k]
            arguments += [(NUMBER, 0, int(operand_at(words, w, k))), (kind, space, address)]
        self.items.append(Call(self.module.add(array_module.PRODUCT), arguments))

    # ------------------------------------------------------------ back

    def plan_back(self, output: int) -> None:
        """Note the calls of the adjoint sweep."""
        self.touched = [np.zeros(size, bool) for size in self.sizes]
        self.touched[0][output] = True
        for step in reversed(self.steps):
            if isinstance(step, Group):
                self.pull_group(step)
            elif isinstance(step, Listing):
                self.pull_list(step)
            else:
                self.pull_stop(step)
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
        self.make_run_ready(place.space, low, high + 1)

    def make_run_ready(self, space: int, low: int, stop: int) -> None:
        """Set the cotangents of a run of addresses that have not been set to absent."""
        part = self.touched[space][low:stop]
        edges = np.flatnonzero(np.diff(np.concatenate([[True], part, [True]]).astype(np.int8)))
        for first, last in zip(edges[::2].tolist(), edges[1::2].tolist()):
            self.fill(BAR, low + first, last - first, MINUS_ZERO, space)
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
        for targets in targets_of(group):
            targets = [place for place in targets if place in reached]
            if not targets:
                continue
            fresh = set()
            for place in targets:
                apart = all(place.strides) and place.names_each(group.shape)
                if apart and not self.region(place, group.shape).any():
                    fresh.add(place)
                    self.region(place, group.shape)[...] = True
                else:
                    self.make_ready(place, group.shape)
            self.call_group(Back(group, Pull(targets, fresh, bars)).write(), group.shape)

    def pull_list(self, step: Listing) -> None:
        """Take a row of listed addresses back."""
        count = (step.count,)
        if not step.active:
            return
        if step.gathers:
            if self.is_reached(step.block, count):
                varied = self.varied.get(step.row)
                places = np.asarray(gather_places(self.words, step.w)) if varied is None else varied
                self.make_run_ready(0, int(places.min()), int(places.max()) + 1)
                block = (BAR, 0, step.block.address)
                arguments = [self.list_of(step), (BAR, 0, 0), block]
                self.items.append(Call(self.module.add(array_module.SCATTERED), arguments, 0, step.count))
            return
        places = step.block.address + np.asarray(scatter_places(self.words, step.w))
        if not self.touched[0][places].any():
            return
        self.make_run_ready(0, int(places.min()), int(places.max()) + 1)
        self.make_ready(step.other, count)
        other = (BAR, step.other.space, step.other.address)
        arguments = [self.list_of(step), (BAR, 0, step.block.address), other]
        self.items.append(Call(self.module.add(array_module.GATHER_ADDED), arguments, 0, step.count))

    def pull_stop(self, step: Stop) -> None:
        """Take a product of matrices or a row of Python's back."""
        words, w = self.words, step.w
        if not step.active:
            return
        if step.opcode != CONTRACT:
            read, made = host_places(words, w)
            blocks = [(Place(0, first, (1,)), (count,)) for _, first, count in made]
            if not any([self.region(*block).any() for block in blocks]):
                return
            for block in blocks:
                self.make_ready(*block)
            for space, first, count in read:
                if self.sizes[space]:
                    self.make_ready(Place(space, first, (1,)), (count,))
            self.items.append(step)
            return
        shape = row_shape(words, w)
        places = [Place(*operand) for operand in row_operands(words, w)]
        if not self.is_reached(places[0], shape):
            return
        for k in (1, 2):
            if step.active & k:
                self.make_ready(places[k], shape)
        if not is_compiled_product(step, words):
            self.items.append(step)
            return
        for k in (1, 2):
            if step.active & k:
                self.call_product(w, (BAR, k), (BAR, 0), (VALUE, 3 - k))


def listed_head_of(step: Listing) -> int:
    """Return how many words lie before the list of a row."""
    from numbad.tape.layout import GATHER, SCATTER

    return int(listed_head(GATHER if step.gathers else SCATTER))


def is_compiled_product(step: Stop, words: Any) -> bool:
    """Whether a row is multiplied by a compiled function."""
    return step.opcode == CONTRACT and bool(is_product(words, step.w))


def reach_targets(group: Group, bars: set[int]) -> set[Place]:
    """Return the operands in memory that cotangents of some members come to."""
    found: set[Place] = set()
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
                    found.add(place)
    return found


def make_array_program(
    grouping: Grouping, words: np.ndarray, sizes: list[int], results: list[np.ndarray], gradient: bool
) -> ArrayProgram:
    """Return the program of a path; `sizes` are 0 for spaces of constants."""
    for places in results:
        grouping.note_reads(places.reshape(-1))
    if gradient:
        keep_for_back(grouping.steps)
    planner = Planner(grouping, words, sizes)
    if gradient:
        planner.plan_back(int(results[0]))
    return ArrayProgram(planner.forward, planner.back if gradient else [], planner.module)
