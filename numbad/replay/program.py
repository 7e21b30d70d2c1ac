"""One recorded path of a jitted function: the machine that runs it, and the results as the caller wants them."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import numpy as np

from numbad.kernels.memory import handed_out
from numbad.recording.active import Active, Given
from numbad.recording.arrays import Array
from numbad.recording.inputs import FLOAT64, as_leaf, check_leaf, input_dtype, note_inputs, record_leaves
from numbad.recording.outputs import is_narrow, is_slope, narrowed, scalar_output
from numbad.recording.recorder import Recorder, current
from numbad.recording.scalars import Scalar
from numbad.recording.trees import first, flatten, flatten_arguments
from numbad.replay.hot import Promotion
from numbad.replay.machines import choose_machine
from numbad.replay.output_copies import ArrayResult
from numbad.replay.paths import common_rows
from numbad.replay.recorded_path import make_path
from numbad.replay.signatures import is_followed, is_recorded
from numbad.tape.layout import ADD, GUARD, GUARD_VALUE, HOST, operand_place, row_elements

if TYPE_CHECKING:
    from numbad.emission.splicing import Splice
    from numbad.recording.prologue import Prologue
    from numbad.replay.jit import Jitted


def is_assigned(leaf: Any) -> bool:
    """Whether the function assigned to an array that it was given."""
    if not isinstance(leaf.active, Array):
        return False
    storage = leaf.active.storage
    places = copies_of(leaf.active.recorder, leaf)
    places += [] if leaf.space else [leaf.address]
    if storage.addresses is None:
        return (storage.space, storage.address) not in ((leaf.space, leaf.address), *((0, place) for place in places))
    return not any(np.array_equal(storage.addresses.reshape(-1), place + np.arange(storage.size)) for place in places)


def copies_of(recorder: Any, leaf: Any) -> list[int]:
    """Return the addresses of the copies of an input: of a large one that is read by elements, or one in columns."""
    code, words = np.frombuffer(recorder.code, np.uint32).reshape(-1, 4), recorder.words
    found = []
    for _, out, w, _ in code[code[:, 0] == ADD].tolist():
        whole = row_elements(words, w) == np.size(leaf.value)
        if whole and operand_place(words, w, 1) == (leaf.space, leaf.address):
            found.append(out)
    return found


class Program:
    """One recorded path, ready to run on other values of the same signature."""

    def __init__(self, owner: Jitted[Any], arguments: Any, keywords: Any, known: bool = False) -> None:
        plan = owner.plan
        self.hits = 0
        self.f = owner.f if plan is None else plan.f
        self.gradient: Any = plan
        self.narrow = is_narrow(owner.numbad_like, arguments)
        leaves, rebuild = flatten_arguments(tuple(arguments))
        leaves = [as_leaf(leaf) for leaf in leaves]
        static: set[int] = set()
        for k in owner.static:
            if k >= len(arguments):  # given by keyword
                continue
            before = len(flatten_arguments(tuple(arguments[:k]))[0])
            static.update(range(before, before + len(flatten(arguments[k])[0])))
        places = [k for k, leaf in enumerate(leaves) if k not in static and is_recorded(leaf)]
        values = [leaves[k] for k in places]
        followed = [k for k, leaf in enumerate(leaves) if known and k not in static and is_followed(leaf)]
        self.follow(owner, leaves, places, followed)

        changed = [False]

        def call(actives: list[Any]) -> Any:
            given = list(leaves)
            for k, active in zip(places, actives, strict=True):
                given[k] = active
            if self.prologue is not None:
                self.prologue.begin(current())
                for number, k in enumerate(followed):
                    given[k] = self.prologue.stand_in(number)
            passed = rebuild(given)
            result = self.f(*passed, **keywords)
            now = flatten_arguments(passed)[0]
            changed[0] = len(now) != len(given) or any(one is not other for one, other in zip(now, given))
            return result

        self.recorder, self.leaves, result = record_leaves(self.f, call, values, input_dtype(values or [0.0]))
        try:
            if changed[0] or any(is_assigned(leaf) for leaf in self.leaves):
                owner.warn_assigned("changes a list or dict" if changed[0] else "assigns to an array")
            self.prepare(result, arguments, places)
        finally:
            self.recorder.close()
            if self.prologue is not None:
                self.prologue.close()

    def follow(self, owner: Jitted[Any], leaves: list[Any], places: list[int], followed: list[int]) -> None:
        """Note which of the values of a call rows are recorded of, and which the prologue begins with."""
        self.prologue = None
        if followed:
            from numbad.recording.knowns import begin_prologue

            self.prologue = owner.prologue = begin_prologue([leaves[k] for k in followed])
            self.prologue.copies, self.prologue.asked = owner.copies, owner.asked
            order = sorted(places + followed)
            self.recorded = [order.index(k) for k in places]
            self.followed = [order.index(k) for k in followed]

    def prepare(self, result: Any, arguments: Any, places: list[int]) -> None:
        """Note the outputs, and for a gradient which leaves it is wanted for."""
        recorder = self.recorder
        if self.prologue is not None:
            result = self.settle_results(result)
            self.leaves = [*self.leaves, *(leaf for _, leaf in self.prologue.entries)]
        if self.gradient is not None:
            output = scalar_output(recorder, result, self.gradient.name)
            self.constant = result
            outputs: list[Any] = [] if output is None else [output]
            self.arrange(arguments, places)
            note_inputs(recorder, [self.leaves[k] for chosen, _ in self.parts for k in chosen])
        else:
            flat, self.rebuild = flatten(result)
            self.flat = flat
            outputs = [leaf for leaf in flat if isinstance(leaf, Active)]
            for leaf in outputs:
                if isinstance(leaf, Array):
                    leaf.address_view()
        self.outputs = outputs
        recorder.execution = None
        path = make_path(recorder, self.leaves, outputs, self.wanted_leaves(), self.wants_results())
        self.fixed = path.fixed
        self.take_machine(choose_machine(path))
        self.promotion = Promotion(path, self.machine)
        asks = {GUARD, GUARD_VALUE, HOST}.intersection(recorder.code[::4])
        self.constant_results = self.gradient is None and all(path.fixed) and not asks

    def take_machine(self, machine: Any) -> None:
        """Let a machine run the path from now on."""
        self.machine = machine
        self.places = [find_result(*given) for given in zip(self.outputs, machine.outputs, self.fixed, strict=True)]
        self.computed = False
        self.compiled = hasattr(type(machine), "inner") or "inner" in vars(machine)  # which may have to be made

    def promote(self) -> None:
        """Compile the path, or run its machine code if it is there, when it has run often enough."""
        machine = self.promotion.look(self.hits)
        if machine is not None:
            self.take_machine(machine)

    def settle_results(self, result: Any) -> Any:
        """Return what the function returned, with what the prologue computes of it in its place."""
        if self.gradient is not None:
            return result.enter(self.recorder) if isinstance(result, Given) else result
        leaves, rebuild = flatten(result)
        return rebuild([Answer(leaf.prologue, leaf.number) if isinstance(leaf, Given) else leaf for leaf in leaves])

    def wanted_leaves(self) -> list[bool] | None:
        """Return for a gradient with respect to which leaves it is wanted."""
        if self.gradient is None:
            return None
        chosen = {k for part, _ in self.parts for k in part}
        return [k in chosen for k in range(len(self.leaves))]

    def wants_results(self) -> bool:
        """Whether the results are wanted, and not a gradient alone."""
        return self.gradient is None or self.gradient.with_value

    def arrange(self, arguments: Any, places: list[int]) -> None:
        """Find which leaves each differentiated argument has, and check that they can be differentiated."""
        counts = [len(flatten(argument)[0]) for argument in arguments]
        starts = np.concatenate([[0], np.cumsum(counts)]).tolist()
        order = {place: k for k, place in enumerate(places)}
        self.parts = []
        for argnum in self.gradient.places(len(arguments)):
            chosen = list(range(starts[argnum], starts[argnum + 1]))
            leaves, rebuild = flatten(arguments[argnum])
            for leaf in leaves:
                check_leaf(as_leaf(leaf))
            self.parts.append(([order[k] for k in chosen], rebuild))
        numbers = [part[0] for part, rebuild in self.parts if rebuild is first]
        self.in_order = numbers == list(range(len(self.leaves))) and len(numbers) == len(self.parts)

    # ------------------------------------------------------------ running

    def attempt(self, values: Any, start: int = 0, source: Program | None = None) -> int:
        """Run the tape on new values; return the row of a guard that does not hold, or -1.

        The rows before `start` are those of the program `source`, which has computed them.
        """
        row = -1
        if self.hits >= self.promotion.next:
            self.promote()
        if self.prologue is not None:
            return self.attempt_known(values)
        if not (self.constant_results and self.computed):
            self.machine.enter(values)
            if source is not None and source.compiled:
                start, source = 0, None  # nothing that another machine could go on from
            row = self.machine.run(start, None if source is None else source.machine)
        if row < 0:
            self.hits += 1
            self.computed = True
        return row

    def attempt_known(self, values: Any) -> int:
        """Run the prologue, then the tape; return -1 if this is the path.

        Where the one or the other raises, as for an index that is out of bounds, the function does.
        """
        prologue = self.prologue
        assert prologue is not None
        prologue.running = True
        try:
            if not prologue.run([values[k] for k in self.followed]):
                return 0
            self.machine.enter([*(values[k] for k in self.recorded), *prologue.values()])
            row = int(self.machine.run())
        except Exception:
            return 0
        finally:
            prologue.running = False
        if row < 0:
            self.hits += 1
        else:
            prologue.missed = self.machine.site(row)
        return row

    @functools.cached_property
    def rows(self) -> Splice:
        """The tape as rows that can be copied into a recording."""
        from numbad.emission.splicing import Splice

        return Splice(self.recorder, self.leaves)

    def fits(self, recorder: Recorder) -> bool:
        """Whether the rows compute in the recording's precision, or in a higher one, which it then takes over."""
        return self.recorder.dtype == recorder.dtype or self.recorder.dtype == FLOAT64

    def splice(self, recorder: Recorder, values: list[Any]) -> Any:
        """Copy the rows into a recording; return the results there."""
        moved = self.rows.copy_into(recorder, values)
        self.hits += 1
        if self.rows.guarded:
            recorder.run()  # the guards hold now: later sweeps need not look at them again
        found: list[Any] = []
        for leaf in self.flat:
            if isinstance(leaf, Active):
                found.append(moved.value(leaf))
            else:
                found.append(leaf.copy() if isinstance(leaf, np.ndarray) else leaf)
        return self.rebuild(found)

    def bytes(self) -> int:
        """Return about how many bytes the program takes: the recording, the tape, and the memory of its runs."""
        recorder, tape = self.recorder, self.machine.tape
        own = int(getattr(self.machine, "nbytes", 0))
        if self.promotion.packed is not None:
            return 4 * len(recorder.code) + self.promotion.packed.nbytes + own
        rows = 4 * len(recorder.code) + 2 * tape.code.nbytes + 8 * len(recorder.words) + 2 * tape.words.nbytes
        blocks = sum(block.nbytes for _, block in (*recorder.loads, *tape.loads))
        spaces = sum(space.nbytes for space in tape.spaces if space is not None)
        return own + int(rows + blocks + spaces + 2 * (tape.size + len(tape)) * tape.dtype.itemsize)

    def fork(self, other: Program) -> tuple[int, bool]:
        """Return how many first rows two programs share, and whether a guard tells them apart there."""
        one, two = self.machine, other.machine
        found = one.fork(two)
        if found is None:
            found = two.fork(one)
        return common_rows(self, other) if found is None else found

    def result(self) -> Any:
        """Return what the last run has computed."""
        if self.gradient is None:
            return self.read_outputs()
        if self.prologue is None:
            return self.read_gradient()
        self.prologue.running = True
        try:
            return self.read_gradient()
        finally:
            self.prologue.running = False

    def pick(self, found: list[Any]) -> list[Any]:
        """Return the gradient with respect to each differentiated argument."""
        return [
            found[chosen[0]] if rebuild is first else rebuild([found[k] for k in chosen])
            for chosen, rebuild in self.parts
        ]

    @handed_out
    def read_outputs(self) -> Any:
        """Return the results as NumPy's."""
        values = self.machine.values
        dtype = self.recorder.dtype
        found = []
        k = 0
        for leaf in self.flat:
            if not isinstance(leaf, Active):
                found.append(leaf.copy() if isinstance(leaf, (np.ndarray, Answer)) else leaf)
                continue
            place = self.places[k]
            k += 1
            if isinstance(leaf, Scalar):
                number = leaf.dtype.type(values[place] + 0.0 if is_slope(leaf) else values[place])
                found.append(float(number) if dtype == FLOAT64 and not leaf.boolean else number)
            else:
                found.append(place.read(values))
        return narrowed(self.rebuild(found)) if self.narrow else self.rebuild(found)

    @handed_out
    def read_gradient(self) -> Any:
        """Return value and gradient as the plan wants them."""
        value, slopes = self.machine.read_gradient()
        if not self.outputs:
            value = self.constant
        return self.gradient.pack(value, slopes if self.in_order else self.pick(slopes))


class Answer:
    """A result that the prologue computes."""

    def __init__(self, prologue: Prologue, number: int) -> None:
        self.prologue, self.number = prologue, number

    def copy(self) -> Any:
        """Return the value of the last run."""
        return self.prologue.now[self.number].copy()


def find_result(output: Any, places: np.ndarray, fixed: bool) -> Any:
    """Return where a result lies: an address, or an `ArrayResult`."""
    if isinstance(output, Array):
        return ArrayResult(places, output.dtype, fixed, is_slope(output))
    return int(places)
