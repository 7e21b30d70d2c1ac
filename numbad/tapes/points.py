"""One tape at many points: blocks of SIMD lanes, shared out among threads, in a bounded amount of memory."""

from __future__ import annotations

import dataclasses
from itertools import accumulate
from typing import TYPE_CHECKING, Any

import numpy as np

from numbad.errors import BranchError, InputError, NonFiniteError, message
from numbad.kernels.calls import call, run_shares
from numbad.kernels.loading import make_rows_ready, op_table, switch
from numbad.kernels.memory import address_of, check_memory, empty, give_back, take_memory
from numbad.kernels.parallel import count_shares
from numbad.limits import AT_ONCE, FEWER_POINTS, MOST_BYTES, POINTS, POINTS_CACHED, SERIAL
from numbad.ops.definition import BY_NAME
from numbad.recording.inputs import as_leaf, check_leaf
from numbad.recording.structures import count_leaves, flatten, unflatten
from numbad.settings import config
from numbad.sweeps.dependence import NONE, mark_active
from numbad.tape.layout import ADD, CLEAR, CONTRACT, GUARD
from numbad.tapes.lowering import (
    Lowered,
    Unlowered,
    arena_bytes,
    constants_of,
    input_address,
    lower,
    output_addresses,
    place_spaces,
)
from numbad.transforms.derivatives import positions

if TYPE_CHECKING:
    from numbad.tapes.slots import Input
    from numbad.tapes.tape import Tape


@dataclasses.dataclass
class PointProgram:
    """What the sweeps of points need of a tape; kept with it.

    Attributes
    ----------
    lowered : Lowered
    outputs : ndarray of int64
        The addresses of all results, one after the other.
    adjoints : dict
        For the arguments that gradients were wanted for: the rows of the adjoint sweep of the scalar result, and for
        each address whether the sweep reaches it.
    """

    lowered: Lowered
    outputs: np.ndarray
    adjoints: dict[tuple[int, ...], tuple[np.ndarray, np.ndarray]]


@dataclasses.dataclass
class Batch:
    """The arguments of a call at many points.

    Attributes
    ----------
    leaves : list of float or ndarray
    mapped : list of bool
        Whether a leaf has an axis of points in front; one without is shared by all.
    count : int
        Number of points.
    """

    leaves: list[Any]
    mapped: list[bool]
    count: int

    def point(self, trees: tuple[Any, ...], index: int) -> tuple[Any, ...]:
        """Return the arguments of one point, structured as `trees` say."""
        chosen = []
        for leaf, mapped in zip(self.leaves, self.mapped, strict=True):
            part = leaf[index] if mapped else leaf
            chosen.append(float(part) if isinstance(part, np.float64) else part)
        result, start = [], 0
        for tree in trees:
            stop = start + count_leaves(tree)
            result.append(unflatten(tree, chosen[start:stop]))
            start = stop
        return tuple(result)

    def choose(self, which: np.ndarray) -> Batch:
        """Return the same arguments at some of the points."""
        chosen = [leaf[which] if mapped else leaf for leaf, mapped in zip(self.leaves, self.mapped, strict=True)]
        return Batch(chosen, self.mapped, len(which))


def read_batch(tape: Tape, points: tuple[Any, ...]) -> Batch:
    """Return the arguments of a call, checked."""
    leaves = [as_leaf(leaf) for leaf in tape.flatten_inputs(points)]
    mapped = [is_mapped(slot, leaf) for slot, leaf in zip(tape.inputs, leaves, strict=True)]
    counts = {len(leaf) for leaf, given in zip(leaves, mapped, strict=True) if given}
    if len(counts) != 1:
        what = f"axes of {sorted(counts)} points" if counts else "no argument with an axis of points"
        raise InputError(
            message(
                f"{tape.name} is mapped over {what}",
                "give at least one argument a first axis of points, of one length in all that have it",
            )
        )
    return Batch(leaves, mapped, counts.pop())


def is_mapped(slot: Input, leaf: Any) -> bool:
    """Whether an argument has an axis of points before the recorded shape; raise an InputError if it does not fit."""
    shape = np.shape(leaf)
    if len(shape) == len(slot.shape) + 1 and shape[1:] == slot.shape:
        check_leaf(leaf)
        if leaf.dtype == slot.dtype:
            return True
    elif shape == slot.shape:
        slot.accept(leaf)
        return False
    raise InputError(
        message(
            f"{slot.name} was recorded as {slot.dtype} of shape {slot.shape}; at many points it is"
            f" {getattr(leaf, 'dtype', type(leaf).__name__)} of shape {shape}",
            f"pass {slot.dtype} of shape (points, {', '.join(map(str, slot.shape))}), or of the recorded shape"
            " for a value that all points share",
        )
    )


# ---------------------------------------------------------------- what a tape offers


def map_points(tape: Tape, points: tuple[Any, ...]) -> Any:
    """Return the value of a tape at many points; see `Tape.map`."""
    results, _ = run_points(tape, read_batch(tape, points), ())
    return unite(tape, results)


def map_gradients(tape: Tape, points: tuple[Any, ...], argnums: Any) -> tuple[Any, Any]:
    """Return value and gradient of a tape at many points; see `Tape.value_and_gradient_map`."""
    tape.scalar_output()
    count = len(tape.input_trees)
    wanted = tuple(range(count)) if argnums is None else positions(argnums, count, "gradient_map")
    results, slopes = run_points(tape, read_batch(tape, points), wanted)
    gradients = regroup_slopes(tape, slopes, wanted)
    alone = len(gradients) == 1 and (argnums is None or not isinstance(argnums, (tuple, list)))
    return unite(tape, results), gradients[0] if alone else tuple(gradients)


def unite(tape: Tape, results: list[np.ndarray]) -> Any:
    """Give the leaves of a result their structure."""
    return unflatten(tape.output_tree, results)


def regroup_slopes(tape: Tape, slopes: list[np.ndarray], wanted: tuple[int, ...]) -> list[Any]:
    """Give the leaves of the gradients with respect to some arguments their structures."""
    found, start = [], 0
    for k in wanted:
        stop = start + count_leaves(tape.input_trees[k])
        found.append(unflatten(tape.input_trees[k], slopes[start:stop]))
        start = stop
    return found


def slots_of(tape: Tape, wanted: tuple[int, ...]) -> list[Input]:
    """Return the inputs that some arguments consist of."""
    starts = list(accumulate([count_leaves(tree) for tree in tape.input_trees], initial=0))
    return [slot for k in wanted for slot in tape.inputs[starts[k] : starts[k + 1]]]


def run_points(tape: Tape, batch: Batch, wanted: tuple[int, ...]) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Return the leaves of the results and of the gradients at all points; raise a BranchError for another path."""
    results, slopes, agree = sweep_points(tape, batch, wanted)
    for index in np.flatnonzero(~agree).tolist():
        # the vector functions round otherwise than the scalar ones, so this may be the path after all
        run_alone(tape, batch, index, results, slopes, wanted)
    return results, slopes


def run_alone(
    tape: Tape, batch: Batch, index: int, results: list[np.ndarray], slopes: list[np.ndarray], wanted: tuple[int, ...]
) -> None:
    """Run one point by itself, and enter its results and gradients."""
    point = batch.point(tape.input_trees, index)
    try:
        if wanted:
            value, gradient = tape.value_and_gradient(*point)
            gradients = (gradient,) if len(point) == 1 else gradient
            found = [leaf for k in wanted for leaf in flatten(gradients[k])[0]]
            for target, part in zip(slopes, found, strict=True):
                target[index] = part
        else:
            value = tape(*point)
    except BranchError as error:
        raise BranchError(f"point {index} of {batch.count} takes another path\n{error}") from None
    except NonFiniteError as error:
        raise NonFiniteError(f"point {index} of {batch.count}: {error}") from None
    for target, part in zip(results, flatten(value)[0], strict=True):
        target[index] = part


def sweep_points(
    tape: Tape, batch: Batch, wanted: tuple[int, ...]
) -> tuple[list[np.ndarray], list[np.ndarray], np.ndarray]:
    """Return the results and gradients at all points, and a mask of the points that take the recorded path.

    What is returned for other points means nothing. `wanted` names the arguments that gradients are wanted for.
    """
    found = None if config._debug_nans else point_program(tape)  # lanes are not looked at one by one
    slopes = [empty((batch.count, *slot.shape), slot.dtype) for slot in slots_of(tape, wanted)]
    if found is None:
        return sweep_singly(tape, batch, slopes, wanted)
    results = empty((batch.count, len(found.outputs)), tape.dtype)
    agree = np.ones(batch.count, np.uint8)
    run_program(tape, found, batch, results, slopes, agree, wanted)
    return split_results(tape, results), slopes, agree.view(np.bool_)


def sweep_singly(tape: Tape, batch: Batch, slopes: list[np.ndarray], wanted: tuple[int, ...]) -> Any:
    """Run a tape that cannot be lowered point by point."""
    results = []
    for slot in tape.outputs:
        dtype = np.bool_ if slot.boolean else tape.dtype if slot.constant is None else np.asarray(slot.constant).dtype
        results.append(empty((batch.count, *slot.shape), dtype))
    agree = np.ones(batch.count, np.bool_)
    for index in range(batch.count):
        try:
            run_alone(tape, batch, index, results, slopes, wanted)
        except BranchError:
            agree[index] = False
    return results, slopes, agree


# ---------------------------------------------------------------- programs


def point_program(tape: Tape) -> PointProgram | None:
    """Return what the sweeps of points need of a tape, None for one that runs point by point."""
    if "points" in tape.kept:
        return tape.kept["points"]
    tape.ensure_verified()
    found = None
    try:
        if place_spaces(tape)[1] * FEWER_POINTS * tape.dtype.itemsize * 2 <= MOST_BYTES:
            lowered = lower(tape)
            addresses = [output_addresses(slot, lowered) for slot in tape.outputs if slot.constant is None]
            found = PointProgram(lowered, np.concatenate([*addresses, np.empty(0, np.int64)]), {})
    except Unlowered:
        pass
    return tape.kept.setdefault("points", found)


def plan_adjoint(tape: Tape, found: PointProgram, wanted: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Return the rows of the adjoint sweep for some arguments, and which addresses it reaches."""
    active, touched = np.zeros((2, found.lowered.size), np.bool_)
    for slot in slots_of(tape, wanted):
        first = input_address(slot, found.lowered)
        active[first : first + slot.size] = True
    if len(found.outputs):
        touched[found.outputs[0]] = True
    code = found.lowered.code
    flags = mark_active(scalar_rows(code), NONE, active)
    program = np.empty_like(code)
    rows = call("adjoint_program_at", 0, (code, flags, touched, program))
    return program[:rows].copy(), touched


def scalar_rows(code: np.ndarray) -> np.ndarray:
    """Return lowered rows as rows of ops whose results depend on the same addresses."""
    found = code.copy()
    for kind, opcode in ((ADD, BY_NAME["identity"].opcode), (CONTRACT, BY_NAME["multiply"].opcode), (CLEAR, GUARD)):
        found[code[:, 0] == kind, 0] = opcode
    return found


def run_program(
    tape: Tape,
    found: PointProgram,
    batch: Batch,
    results: np.ndarray,
    slopes: list[np.ndarray],
    agree: np.ndarray,
    wanted: tuple[int, ...],
) -> None:
    """Sweep all points: write their results, their gradients, and whether they take the recorded path."""
    if not batch.count:
        return
    lowered, dtype = found.lowered, tape.dtype
    program, touched = lowered.code[:0], np.zeros(1, np.bool_)
    if wanted:
        if wanted not in found.adjoints:
            found.adjoints[wanted] = plan_adjoint(tape, found, wanted)
        program, touched = found.adjoints[wanted]
    leaves, memory = leaf_table(tape, lowered, batch)
    targets = [part if part.dtype == dtype else empty(part.shape, dtype) for part in slopes]
    rows = max(1, len(lowered.code) + len(program))
    lanes = choose_lanes(lowered, dtype, batch.count)
    arrays = (
        find_switches(dtype, lowered.code, bool(wanted)),
        lowered.code,
        program,
        *constants_of(tape, lowered),
        leaves,
        found.outputs,
        slope_table(slots_of(tape, wanted), targets, lowered),
        touched,
        results,
        agree,
    )
    seeded = int(found.outputs[0]) if wanted and len(found.outputs) else 0
    sweep_blocks(arrays, (lowered.size, seeded), dtype, batch.count, rows, lanes, 2 if wanted else 1)
    del memory
    for slot, part, target in zip(slots_of(tape, wanted), slopes, targets, strict=True):
        put_in_order(slot, part, target)


def find_switches(dtype: np.dtype, code: np.ndarray, back: bool) -> np.ndarray:
    """Return where the compiled sweeps of rows are, forward and back, and the functions of ops that they call."""
    kinds = ("points", "points_adjoint") if back else ("points",)
    make_rows_ready(kinds, dtype, code[:, 0])
    names = ("points_primal", "points_adjoint") if back else ("points_primal",)
    found = [int(switch(name, dtype)) for name in names] + [0] * (2 - len(names))
    return np.array([*found, *(address_of(op_table(kind, dtype)) for kind in ("points", "points_adjoint"))], np.uint64)


def sweep_blocks(
    arrays: tuple[np.ndarray, ...],
    fixed: tuple[int, int],
    dtype: np.dtype,
    count: int,
    rows: int,
    lanes: int,
    directions: int,
) -> None:
    """Sweep all blocks of points: in this thread if there is little to do, else in shares.

    `arrays` are those of the compiled sweep, `fixed` the addresses of an arena and the one that is seeded.
    """
    shares = 1 if count * rows < SERIAL or count <= lanes else count_shares()
    size = shares * directions * fixed[0] * lanes
    check_memory(size * dtype.itemsize)
    arenas = take_memory(size, dtype, False)
    at_once = lanes * max(AT_ONCE // (rows * lanes), shares)
    for start in range(0, count, at_once):
        stop = min(count, start + at_once)
        run_shares("points_at", dtype, shares, (*arrays, arenas), *fixed, start, stop, lanes)
    give_back(arenas)


def slope_table(slots: list[Input], targets: list[np.ndarray], lowered: Lowered) -> np.ndarray:
    """Return the table of the gradients for the compiled sweep."""
    rows = [
        (address_of(part), slot.size, slot.size, input_address(slot, lowered))
        for slot, part in zip(slots, targets, strict=True)
    ]
    return np.array(rows, np.int64).reshape(-1, 4)


def put_in_order(slot: Input, part: np.ndarray, found: np.ndarray) -> None:
    """Write the gradients of an input, which the sweep left in its memory order, to where they are wanted."""
    if slot.order == "F" and len(slot.shape) > 1:
        axes = range(len(slot.shape), 0, -1)
        part[...] = found.copy().reshape(len(found), *slot.shape[::-1]).transpose(0, *axes)
    elif found is not part:
        part[...] = found


def leaf_table(tape: Tape, lowered: Lowered, batch: Batch) -> tuple[np.ndarray, list[np.ndarray]]:
    """Return the table of the inputs for the compiled sweep, and the arrays whose memory it names."""
    rows, memory = [], []
    for slot, leaf, mapped in zip(tape.inputs, batch.leaves, batch.mapped, strict=True):
        values = np.asarray(leaf, tape.dtype)
        if slot.order == "F":
            values = values.transpose(0, *range(values.ndim - 1, 0, -1)) if mapped else values.T
        values = np.ascontiguousarray(values)
        memory.append(values)
        rows.append((address_of(values), slot.size if mapped else 0, slot.size, input_address(slot, lowered)))
    return np.array(rows, np.int64).reshape(-1, 4), memory


def choose_lanes(lowered: Lowered, dtype: np.dtype, count: int) -> int:
    """Return how many points a block has."""
    many = count > FEWER_POINTS and arena_bytes(lowered, POINTS, dtype.itemsize) <= POINTS_CACHED
    return POINTS if many else FEWER_POINTS


def split_results(tape: Tape, results: np.ndarray) -> list[np.ndarray]:
    """Return the leaves of the results from the array of all of them."""
    count = len(results)
    leaves, start = [], 0
    for slot in tape.outputs:
        if slot.constant is not None:
            leaves.append(np.repeat(np.asarray(slot.constant)[None], count, axis=0))
            continue
        size = int(np.prod(slot.shape, dtype=np.int64))
        found = results[:, start : start + size].reshape(count, *slot.shape)
        leaves.append(found != 0.0 if slot.boolean else found if size == results.shape[1] else found.copy())
        start += size
    return leaves
