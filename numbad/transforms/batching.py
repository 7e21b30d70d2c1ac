"""vmap: a function of one example recorded once, and its rows emitted again for a whole batch."""

from __future__ import annotations

import math
from array import array
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from numbad.emission.linear import Linear
from numbad.emission.regions import Region, addresses_of, finish, output_value, session
from numbad.errors import InputError, NumbadError, check_function, message, noted_on, wraps
from numbad.geometry import compact, contiguous, is_run
from numbad.ops.definition import REGISTRY
from numbad.ops.host import as_tuple
from numbad.ops.lanes import call_with_lanes, to_first, to_last
from numbad.recording import positions, strictness
from numbad.recording.active import Active
from numbad.recording.arrays import Array, constant, filled, make_block
from numbad.recording.decisions import concrete_truth
from numbad.recording.filling import record_planned
from numbad.recording.inputs import as_leaf, check_meaning
from numbad.recording.outputs import is_narrow, is_slope, narrowed
from numbad.recording.recorder import Recorder, current, structural_words
from numbad.recording.scalars import make_scalar
from numbad.recording.structures import unflatten
from numbad.recording.trees import flatten, same_structure, spread_prefix
from numbad.recording.unfilled import UnfilledError
from numbad.settings import config
from numbad.tape.layout import (
    ADD,
    CONTRACT,
    GATHER,
    GUARD,
    GUARD_VALUE,
    HOST,
    MAP,
    SCATTER,
    gather_places,
    host_places,
    is_absent_sum,
    is_guard,
    row_cleared,
    row_elements,
    scatter_block,
    scatter_places,
    scatter_source,
)
from numbad.transforms.linearbatch import map_examples

if TYPE_CHECKING:
    from numbad.types import Arrays


assert positions  # importing it lets examples have positions of their own


def vmap(
    f: Callable[..., Any], in_axes: Any = 0, out_axes: Any = 0, *, axis_size: int | None = None
) -> Callable[..., Arrays]:
    """Return `f` vectorised over an axis of its arguments, as jax.vmap does.

    `f` is recorded for the first example; its rows are then run for all examples at once, so a
    matrix-vector product becomes one product of matrices. Where examples take different branches,
    each group that agrees is recorded for itself.

    Parameters
    ----------
    f : callable
        A function of one example: floats, arrays or trees of them, that returns such a thing.
    in_axes : int, None, or a tuple (or tree) of them
        The axis of each positional argument that counts the examples; None for an argument that all share.
    out_axes : int, None, or a tree of them
        Where the axis of examples goes in each result; None for a result that all examples share.
    axis_size : int, optional
        The number of examples; needed only where no argument is mapped.

    Returns
    -------
    callable
        Takes the arguments with the extra axis, of length n in all that are mapped; keyword arguments are mapped along
        their first axis. Returns the results of `f` with an axis of length n in the place that `out_axes` says: an
        ndarray of shape (n,) + s for a result of shape s.

    Raises
    ------
    TypeError
        When `f` cannot be called.
    InputError
        When mapped axes differ in length, an argument or result does not have its axis, no argument is mapped and
        `axis_size` is not given, `in_axes` or `out_axes` do not fit, results of examples differ in shape, or a result
        with `out_axes` None depends on the example.
    OutputError
        When `f` returns text or complex numbers.

    Notes
    -----
    One run of `f` for each group of examples that take the same branches, and one forward sweep with n lanes; memory is
    n times that of one example.

    A jitted function of numbers (`vmap(jit(f))`, `vmap(jit(grad(f)))`) runs as `Tape.map` does: its tapes are swept
    over the examples that take their path, in blocks of lanes and in parallel, and a path that is met for the first
    time is recorded. Integers and truth values are plain numbers for the function, which is recorded for each of their
    values; an empty batch is recorded with zeros, or ones, to learn the shapes of the results.

    What np.argmax, np.argsort, np.searchsorted and their kin give are positions of each example: they name elements of
    arrays, and are compared and added, for all examples at once. Where one has to be a plain integer (`int(k)`,
    `range(k)`, a result), examples that differ in it are recorded for themselves.

    Examples
    --------
    >>> import numpy as np, numbad
    >>> numbad.vmap(numbad.grad(lambda x: x**3))(np.array([1.0, 2.0]))
    array([ 3., 12.])
    """
    check_function(f, "vmap")
    like, whole = noted_on(f, "numbad_like"), getattr(type(f), "numbad_map", None)

    @wraps(f, numbad_like=like)
    def mapped(*arguments: Any, **keywords: Any) -> Any:
        leaves, _ = flatten(tuple(arguments))
        axes = spread_axes(in_axes, arguments, len(leaves), "in_axes")
        more, _ = flatten(keywords)
        leaves, rebuild = flatten((tuple(arguments), keywords))
        leaves = [as_leaf(leaf) for leaf in leaves]
        for leaf in leaves:
            check_meaning(leaf)
        axes += [0] * len(more)
        size = batch_size(leaves, axes, axis_size)
        if any(axis is not None for axis in axes) and not keywords and current() is None and whole is not None:
            swept = run_swept(whole, f, arguments, axes, out_axes)
            if swept is not None:
                return narrowed(swept[0]) if is_narrow(like, arguments) else swept[0]

        def call(given: list[Any]) -> Any:
            positional, named = rebuild(given)
            return f(*positional, **named)

        floats = [leaf for leaf in leaves if not isinstance(leaf, Active) and np.asarray(leaf).dtype.kind == "f"]

        def run() -> Any:
            with session(floats or [0.0]) as (recorder, mine):
                batch = [front(leaf, axis) for leaf, axis in zip(leaves, axes, strict=True)]
                if size:
                    results, restore = run_batch(call, recorder, batch, axes, np.arange(size))
                else:
                    results, restore = run_empty(call, recorder, batch, axes)
                if mine and recorder.unfilled is not None:
                    raise recorder.unfilled
                placed = spread_axes(out_axes, restore(results), len(results), "out_axes")
                results = [back(result, axis) for result, axis in zip(results, placed, strict=True)]
                found = restore(results)
                if not mine:
                    return found
                return narrowed(finish(found)) if is_narrow(like, arguments) else finish(found)

        return run() if current() is not None else record_planned(f, run)

    return mapped


def run_swept(
    whole: Callable[..., Any], f: Any, arguments: tuple[Any, ...], axes: list[Any], out_axes: Any
) -> tuple[Any] | None:
    """Return the results of an object whose class maps whole batches (`numbad_map`), None if it does not map this."""
    found = whole(f, arguments, axes)
    if found is None:
        return None
    results, tree = found
    placed = spread_axes(out_axes, unflatten(tree, results), len(results), "out_axes")
    if None in placed:
        return None
    return (unflatten(tree, [back(result, axis) for result, axis in zip(results, placed, strict=True)]),)


def spread_axes(axes: Any, tree: Any, count: int, name: str) -> list[int | None]:
    """Return one axis for each leaf of a tree; `axes` is one for all, or a prefix of the tree."""
    if axes is None or (isinstance(axes, (int, np.integer)) and not isinstance(axes, bool)):
        return [None if axes is None else int(axes)] * count
    if isinstance(tree, tuple) and isinstance(axes, list):
        axes = tuple(axes)
    try:
        found = spread_prefix(axes, tree)
    except ValueError as error:
        raise InputError(
            message(
                f"vmap: {name}={axes!r} does not fit the {'arguments' if name == 'in_axes' else 'results'}",
                "give one axis for all, or a tuple with one (or a tree of them) for each",
                where=False,
            )
        ) from error
    for axis in found:
        if axis is not None and (isinstance(axis, bool) or not isinstance(axis, (int, np.integer))):
            raise InputError(message(f"vmap: {name} names {axis!r} as an axis", "give ints or None", where=False))
    return found


def batch_size(leaves: list[Any], axes: list[int | None], given: int | None) -> int:
    """Return the number of examples, that of the mapped axes or the one that is given."""
    sizes = set() if given is None else {given}
    for leaf, axis in zip(leaves, axes, strict=True):
        if axis is not None:
            shape = np.shape(leaf)
            if not -len(shape) <= axis < len(shape):
                raise InputError(
                    message(f"vmap: an argument of shape {shape} has no axis {axis}", "mend in_axes", where=False)
                )
            sizes.add(shape[axis])
    if len(sizes) != 1:
        what = f"axes of lengths {sorted(sizes)} are to be mapped together" if sizes else "no argument is mapped"
        raise InputError(message(f"vmap: {what}", "map axes of one length; mend in_axes", where=False))
    return sizes.pop()


def front(leaf: Any, axis: int | None) -> Any:
    """Return an argument with its axis of examples in front."""
    return leaf if axis is None or axis == 0 else np.moveaxis(leaf, axis, 0)


def back(result: Any, axis: int | None) -> Any:
    """Move the axis of examples of a result from the front to `axis`; axis=None: the result has no axis of examples."""
    if axis is None:
        return shared(result)
    if not -len(result.shape) <= axis < len(result.shape):
        raise InputError(
            message(f"vmap: a result of shape {result.shape} has no axis {axis}", "mend out_axes", where=False)
        )
    return result if axis == 0 else np.moveaxis(result, 0, axis)


def shared(result: Any) -> Any:
    """Return a result without its axis of examples, or raise an InputError if it depends on the example."""
    places = result.address_view() if isinstance(result, Active) else result
    if len(places) and (places == places[0]).all():
        return result[0]
    raise InputError(
        message(
            "vmap: out_axes is None for a result that depends on the example",
            "give out_axes an axis for this result",
            where=False,
        )
    )


def run_batch(call: Any, recorder: Recorder, batch: list[Any], axes: list[Any], which: np.ndarray) -> Any:
    """Record the function for the first example, emit its rows for all; return the results' leaves and their tree."""
    groups = fixed_groups(batch, axes)
    if len(groups) > 1:
        return run_groups(call, recorder, batch, axes, groups)
    mapped = [k for k, axis in enumerate(axes) if axis is not None and is_real(batch[k])]
    first = [part if axis is None else part[0] for part, axis in zip(batch, axes, strict=True)]
    region, outputs, restore = record_one_of(call, recorder, first, mapped, len(which))
    swept = map_examples(recorder, region, outputs, [batch[k] for k in mapped], len(which))
    if swept is not None:
        recorder.code[4 * region.start : 4 * region.stop] = array("I", (GUARD, 0, 0, 0))  # nothing reads the row
        return swept, restore
    lanes = Lanes(recorder, region.base, region.start, region.stop, len(which))
    for addresses, k in zip(region.addresses, mapped, strict=True):
        lanes.enter(addresses, batch[k])
    split = emit_lanes(lanes)
    if split is None:
        return [batched(lanes, *output) for output in outputs], restore
    return run_groups(call, recorder, batch, axes, [np.flatnonzero(split), np.flatnonzero(~split)])


def batched(lanes: Lanes, leaf: Any, addresses: np.ndarray | None) -> Any:
    """Return a result for all examples: integers and truth values that were not recorded stay what they are."""
    if addresses is None:
        return np.repeat(np.asarray(leaf)[None], lanes.lanes, axis=0)
    result = lanes.output(addresses)
    result.boolean = getattr(leaf, "boolean", False)
    if isinstance(leaf, Active) and is_slope(leaf):
        lanes.recorder.slopes.update(result.storage.addresses[:1].tolist())
    return result


def is_whole(leaf: Any) -> bool:
    """Whether a result is a plain integer or truth value, or an array of them."""
    return not isinstance(leaf, Active) and np.asarray(leaf).dtype.kind in "iub"


def record_example(call: Any, recorder: Recorder, first: list[Any], mapped: list[int]) -> tuple[Region, list[Any], Any]:
    """Record the function for one example; return the region, the results with their addresses, and their tree.

    Plain integers and truth values are not recorded: they have None for addresses.
    """
    region = Region(recorder, [first[k] for k in mapped])
    given = list(first)
    for k, value in zip(mapped, region.inputs, strict=True):
        given[k] = value
    leaves, restore = flatten(call(given))
    leaves = [leaf.settle() if type(leaf) is positions.Position else leaf for leaf in leaves]
    region.close()
    outputs = [(leaf, None if is_whole(leaf) else addresses_of(output_value(recorder, leaf))) for leaf in leaves]
    return region, outputs, restore


def record_one_of(
    call: Any, recorder: Recorder, first: list[Any], mapped: list[int], count: int
) -> tuple[Region, list[Any], Any]:
    """Record the function for one of some examples, which may each have positions of their own (np.argmax(x)).

    Where the program does with them what they cannot, the function runs once more, with plain integers.
    """
    before, told = recorder.positions, strictness.asked() or config._debug_nans
    recorder.positions = 0 if told or count < 2 else max(before, 1)
    started = recorder.positions
    try:
        return record_example(call, recorder, first, mapped)
    except UnfilledError:
        raise
    except Exception:
        if recorder.positions == started or recorder.unfilled is not None:
            raise
        recorder.positions = 0
        return record_example(call, recorder, first, mapped)
    finally:
        recorder.positions = before


def run_empty(call: Any, recorder: Recorder, batch: list[Any], axes: list[Any]) -> Any:
    """Return empty results: the function is recorded for an example of zeros to learn their shapes, else of ones."""
    first = []
    for part, axis in zip(batch, axes, strict=True):
        first.append(part if axis is None else np.zeros(np.shape(part)[1:], getattr(part, "dtype", None)))
    mapped = [k for k, axis in enumerate(axes) if axis is not None and is_real(batch[k])]
    try:
        _, outputs, restore = record_example(call, recorder, first, mapped)
    except (ArithmeticError, ValueError):  # such as the inverse of a matrix of zeros
        first = [harmless(part) if k in mapped else part for k, part in enumerate(first)]
        _, outputs, restore = record_example(call, recorder, first, mapped)
    results: list[Any] = []
    for leaf, addresses in outputs:
        if addresses is None or getattr(leaf, "boolean", False):
            results.append(np.zeros((0, *np.shape(leaf)), bool if isinstance(leaf, Active) else np.asarray(leaf).dtype))
        else:
            results.append(constant(recorder, np.zeros((0, *addresses.shape))))
    return results, restore


def harmless(part: Any) -> Any:
    """Return a positive definite matrix, a stack of them, or ones."""
    shape = np.shape(part)
    square = len(shape) > 1 and shape[-1] == shape[-2]
    return np.broadcast_to(np.eye(shape[-1]) if square else 1.0, shape).astype(getattr(part, "dtype", float))


def fixed_groups(batch: list[Any], axes: list[Any]) -> list[np.ndarray]:
    """Return the examples that have the same integers and truth values: these are not recorded."""
    fixed = [np.asarray(part) for part, axis in zip(batch, axes, strict=True) if axis is not None and not is_real(part)]
    if not fixed:
        return []
    rows: dict[Any, list[int]] = {}
    for k in range(len(fixed[0])):
        rows.setdefault(tuple([part[k].tobytes() for part in fixed]), []).append(k)
    return [np.array(group) for group in rows.values()]


def run_groups(call: Any, recorder: Recorder, batch: list[Any], axes: list[Any], groups: list[np.ndarray]) -> Any:
    """Run groups of examples one after the other, and put the results in order."""
    parts: list[list[Any]] = []
    trees: list[Any] = []
    restore: Any = None
    for chosen in groups:
        smaller = [part[chosen] if axis is not None else part for part, axis in zip(batch, axes, strict=True)]
        found, restore = run_batch(call, recorder, smaller, axes, chosen)
        parts.append(found)
        trees.append(restore(found))
    if not all(same_structure(tree, trees[0]) for tree in trees):
        raise InputError(
            message(
                "vmap: the function returns results of different structures for different examples",
                "return the same tuples, lists and dicts from every branch",
                where=False,
            )
        )
    if any([part.shape[1:] for part in found] != [part.shape[1:] for part in parts[0]] for found in parts):
        raise InputError(
            message(
                "vmap: the function returns results of different shapes for different examples",
                "return arrays of one shape from every branch",
                where=False,
            )
        )
    order = np.argsort(np.concatenate(groups), kind="stable")
    return [joined(pieces, order) for pieces in zip(*parts, strict=True)], restore


def joined(pieces: tuple[Any, ...], order: np.ndarray) -> Any:
    """Return the results of groups of examples as one array, in the order of the examples."""
    result = np.concatenate(pieces, axis=0)[order]
    if isinstance(result, Array) and all(np.asarray(p).dtype == bool if is_whole(p) else p.boolean for p in pieces):
        result.boolean = True
    return result


def is_real(value: Any) -> bool:
    """Whether an argument is floating, so that it is recorded."""
    return isinstance(value, Active) or np.asarray(value).dtype.kind == "f"


class Lanes(Linear):
    """The values of a region for many examples: `places` says where the lanes of an address begin, 0 if all agree."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.pending: dict[int, list[Any]] = {}

    def enter(self, addresses: np.ndarray, values: Any) -> None:
        """Note the lanes of an input; `values` has the axis of examples in front."""
        if not addresses.size:
            return
        values = values if isinstance(values, Active) else np.asarray(values)
        moved = to_last(values)
        if not isinstance(moved, Active):
            address = self.recorder.load(np.ascontiguousarray(moved))
            moved = make_block(self.recorder, address, moved.shape)
        moved = filled(moved)
        flat = addresses.reshape(-1)
        self.places[flat - self.base] = moved.address_view()[..., 0].reshape(-1)
        if addresses.ndim and is_run(flat):
            self.note_block(int(flat[0]), flat.size, moved)

    def laned(self, space: int, address: int, shape: Any, strides: Any) -> bool:
        """Whether an operand differs between examples."""
        if space == 0 and address in self.blocks and 0 not in shape:
            return True
        return self.covers(space, address) and bool(compact(self.table(address, shape, strides, self.places)).any())

    def value(self, space: int, address: int, shape: Any, strides: Any) -> Any:
        """Return an operand with its lanes as last axis, of length 1 where all examples agree."""
        block = self.find_block(address, shape, strides) if space == 0 else None
        if block is not None:
            return block
        if not self.laned(space, address, shape, strides):
            shared = self.primal(space, address, shape, strides)
            return shared.reshape((*shape, 1))
        places = self.table(address, shape, strides, self.places)
        if compact(places).all():
            return self.collect(places)
        lanes = np.arange(self.lanes, dtype=np.int64)
        own = self.table(address, shape, strides, np.arange(self.places.size, dtype=np.int64) + self.base)
        spread = np.where(places[..., None] == 0, own[..., None], places[..., None] + lanes)
        return make_block(self.recorder, self.recorder.gather_row(spread.reshape(-1)), spread.shape)

    def scalar(self, address: int) -> Any:
        """Return a scalar operand: an array of lanes, or the scalar that all examples share."""
        place = self.places[address - self.base] if address >= self.base else 0
        return self.at(int(place)) if place else make_scalar(self.recorder, address)

    def output(self, addresses: np.ndarray) -> Any:
        """Return a result with the axis of examples in front."""
        inside = (addresses >= self.base) & (addresses - self.base < self.places.size)
        places = np.zeros(addresses.shape, np.int64)
        places[inside] = self.places[(addresses - self.base)[inside]]
        lanes = np.arange(self.lanes, dtype=np.int64)
        spread = np.where(places[..., None] == 0, addresses[..., None], places[..., None] + lanes)
        storage = make_block(self.recorder, 0, (spread.size,)).storage
        storage.addresses = np.ascontiguousarray(to_first(spread)).reshape(-1)
        return Array(self.recorder, storage, (self.lanes, *addresses.shape))

    def store(self, target: Any, value: Any) -> None:
        """Note where the lanes of a row's output are."""
        _, address, shape, strides = target
        value = filled(np.broadcast_to(value, (*shape, self.lanes)))
        self.table(address, shape, strides, self.places)[...] = value.address_view()[..., 0]
        if shape and strides == contiguous(shape):
            self.note_block(address, math.prod(shape), value)
        else:
            self.blocks.clear()


def emit_lanes(lanes: Lanes) -> np.ndarray | None:
    """Append the rows of a region for all examples; return a mask of examples where a branch divides them.

    The Python kernels of the first example, and the guards on what follows from them, do nothing afterwards. Until
    then they stay: a guard that is met asks for a sweep.
    """
    replaced: list[int] = []
    split = append_lanes(lanes, replaced)
    for k in replaced:
        silence(lanes.recorder, lanes.start + k)
    return split


def append_lanes(lanes: Lanes, replaced: list[int]) -> np.ndarray | None:
    """Append the rows of a region for all examples, and note those of the first example that nothing reads any more."""
    base, places, words = lanes.base, lanes.places, lanes.words
    for k, row in enumerate(lanes.code.tolist()):
        opcode, out, a, b = row
        if opcode < MAP:
            op = REGISTRY[opcode]
            operands = (a, b)[: op.arity]
            if any(address >= base and places[address - base] for address in operands):
                result = op(*(lanes.scalar(address) for address in operands))
                places[out - base] = filled(result).storage.address
        elif opcode < 2 * MAP:
            target, *sources = lanes.operands(row)
            if any(lanes.laned(*source) for source in sources):
                lanes.store(target, REGISTRY[opcode - MAP](*(lanes.value(*source) for source in sources)))
        elif opcode in (ADD, CONTRACT):
            reduce_lanes(lanes, row, opcode)
        elif opcode == GATHER:
            indices = gather_places(words, a)
            inside = indices >= base
            found = np.where(inside, places[np.where(inside, indices - base, 0)], 0)
            if found.any():
                shared = [index for index, place in zip(indices.tolist(), found.tolist(), strict=True) if not place]
                table = {index: repeat(lanes, index) for index in set(shared)}
                places[out - base : out - base + indices.size] = [
                    place or table[index] for index, place in zip(indices.tolist(), found.tolist(), strict=True)
                ]
        elif opcode == SCATTER:
            scatter_lanes(lanes, row)
        elif opcode == HOST:
            if host_lanes(lanes, row):
                replaced.append(k)  # and the guards on its results, below
        elif opcode in (GUARD, GUARD_VALUE):
            split = check_guard(lanes, row)
            if a >= base and places[a - base]:
                replaced.append(k)
            if split is not None:
                kinds = lanes.code[k + 1 :, 0]
                replaced += (k + 1 + np.flatnonzero((kinds == HOST) | is_guard(kinds))).tolist()
                return split
    return None


def silence(recorder: Recorder, row: int) -> None:
    """Make a row of the first example cost nothing: its readers read the results with lanes instead.

    A guard asks nothing then, and zeros take the place of what a Python kernel computes, for rows that nothing needs
    read them still. Where NaNs are looked for, the kernel stays: zeros might make one.
    """
    opcode, out, w, _ = recorder.code[4 * row : 4 * row + 4]
    if opcode != HOST:
        recorder.code[4 * row : 4 * row + 4] = array("I", (GUARD, 0, 0, 0))
        recorder.sites.pop(row, None)
        return
    count = sum(size for _, _, size in host_places(recorder.words, w)[1])
    if config._debug_nans or not count:
        return
    position = len(recorder.words)
    recorder.words.extend(structural_words((count,), count, ((0, out, (1,)), (0, 0, (0,)))))
    recorder.code[4 * row : 4 * row + 4] = array("I", (ADD, out, position, 2))


def repeat(lanes: Lanes, address: int) -> int:
    """Return the place of lanes that all hold the value at an address."""
    value = np.broadcast_to(make_scalar(lanes.recorder, address).reshape(1), (lanes.lanes,))
    same: Array = filled(value)
    return same.storage.address


def reduce_lanes(lanes: Lanes, row: Any, opcode: int, wanted: bool = False) -> None:
    """Append an ADD or CONTRACT row with one more axis, of lanes.

    Rows that accumulate into one block get lanes all together: the earlier ones wait in `pending`
    until one of them differs between examples.
    """
    target, *sources = lanes.operands(row)
    w, block = int(row[2]), int(row[1])
    cleared = int(row_cleared(lanes.words, w))
    if not cleared and not row_elements(lanes.words, w):
        return
    if cleared or not lanes.places[block - lanes.base]:
        if not wanted and not any(lanes.laned(*source) for source in sources):
            lanes.pending.setdefault(block, []).append((row, opcode))
            return
        for earlier in lanes.pending.pop(block, []):
            reduce_lanes(lanes, earlier[0], earlier[1], wanted=True)
    _, address, shape, strides = target
    full = (*shape, lanes.lanes)
    operands = []
    for source in sources:
        _, space, where, steps = lanes.value(*source).operand(full)
        operands.append((space, where, steps))
    recorder = lanes.recorder
    start = block - lanes.base
    if cleared:
        places = recorder.allocate(cleared * lanes.lanes)
        lanes.places[start : start + cleared] = places + lanes.lanes * np.arange(cleared)
        lanes.note_block(block, cleared, make_block(recorder, places, (cleared, lanes.lanes)))
    out, first = int(lanes.places[start]), int(lanes.places[address - lanes.base])
    steps = (*(s * lanes.lanes for s in strides), 1)
    absent = is_absent_sum(lanes.words, w)
    recorder.structural_row(opcode, full, cleared * lanes.lanes, out, ((0, first, steps), *operands), absent)


def scatter_lanes(lanes: Lanes, row: Any) -> None:
    """Append a SCATTER row for all examples."""
    a = int(row[2])
    space, source, count = scatter_source(lanes.words, a)
    size = int(scatter_block(lanes.words, a))
    entry = (space, source, (count,), (1,))
    if not lanes.laned(*entry):
        return
    values = filled(np.broadcast_to(lanes.value(*entry), (count, lanes.lanes)))
    width = lanes.lanes
    indices = scatter_places(lanes.words, a)
    targets = (indices[:, None] * width + np.arange(width)).reshape(-1)
    out = lanes.recorder.scatter_row(targets, size * width, 0, values.storage.address)
    start = int(row[1]) - lanes.base
    lanes.places[start : start + size] = out + width * np.arange(size)


def host_lanes(lanes: Lanes, row: Any) -> bool:
    """Append a host row for each example, or one for all where the op takes lanes: then it returns True."""
    call, operands, results = lanes.host_operands(row)
    entries = [(o.storage.space, o.storage.address, o.shape, contiguous(o.shape)) for o in operands]
    if not any(lanes.laned(*entry) for entry in entries):
        return False
    values = [lanes.value(*entry) for entry in entries]
    together = call_with_lanes(call.op, values, lanes.lanes, call.settings, getattr(call, "plain", {}))
    if together is not None:
        for result, part in zip(results, together, strict=True):
            lanes.store((0, result.storage.address, result.shape, contiguous(result.shape)), part)
        return True
    record = getattr(call.op, "every_result", call.op)
    found = []
    for lane in range(lanes.lanes):
        given = [value[..., lane if value.shape[-1] > 1 else 0] for value in values]
        found.append(as_tuple(record(*call.with_plain(given), **call.settings)))
    for result, parts in zip(results, zip(*found, strict=True), strict=True):
        target = (0, result.storage.address, result.shape, contiguous(result.shape))
        lanes.store(target, np.stack(parts, axis=-1))
    return False


def check_guard(lanes: Lanes, row: tuple[int, ...]) -> np.ndarray | None:
    """Return the examples that go the recorded way, where not all do; else guard all of them."""
    opcode, expected, address, _ = row
    place = lanes.places[address - lanes.base] if address >= lanes.base else 0
    if not place:
        return None
    current = lanes.at(int(place))
    values: np.ndarray = current.value()
    agree: np.ndarray
    if opcode == GUARD:
        agree = (values != 0.0) == bool(expected)
    else:
        wanted = lanes.recorder.peek(expected)
        agree = (values == wanted) | (np.isnan(values) & np.isnan(wanted))
    if agree.all():
        if opcode == GUARD:
            concrete_truth(current != 0.0)
        else:
            concrete_truth(current == wanted if wanted == wanted else current != current)
        return None
    if not agree.any():
        raise NumbadError(message("vmap: no example follows the path of the first", "report this", where=False))
    return agree
