"""Recording a function: run it once on recording values, and freeze what it did into a tape."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NoReturn

import numpy as np

from numbad.errors import OutputError, Site, message, name_of
from numbad.geometry import contiguous, table_of
from numbad.numba_api.noticing import row_by_row
from numbad.recording.active import Active
from numbad.recording.arrays import Array
from numbad.recording.inputs import record_call
from numbad.recording.operands import pack
from numbad.recording.recorder import Recorder, current, refuse
from numbad.recording.scalars import Scalar
from numbad.recording.structures import Structure, flatten
from numbad.tapes.slots import Input, Output
from numbad.tapes.tape import Tape


def record(f: Callable[..., Any], *examples: Any, **keywords: Any) -> Tape:
    """Record a function at example inputs and return its tape.

    Parameters
    ----------
    f : callable
        A function of floats, arrays of floats, or nested tuples, lists and dicts of them, that returns numbers, arrays
        or trees of them.
    *examples : float, ndarray of float64 or float32, or tree
        One for each positional argument. Their shapes and dtypes become those of the tape, and the
        branches that `f` takes there its only ones.
    **keywords
        Passed to `f` as they are; they are fixed in the tape.

    Returns
    -------
    Tape
        Callable at other points; `print` shows its rows. Of dtype float32 if all arrays are, else float64.

    Raises
    ------
    InputError
        For integers, complex numbers and other inputs that have no derivative.
    OutputError
        When `f` returns something that is not made of numbers and arrays.
    RecordingError
        When `f` does something that cannot be recorded, or `record` is called while another function is recorded.

    Notes
    -----
    One run of `f`; the rows are not swept unless `f` asks for a value (`if x > 0`). Arrays that `f` takes from
    elsewhere are copied into the tape: later writes to them change nothing.

    Examples
    --------
    >>> import numpy as np, numbad
    >>> tape = numbad.record(lambda x: np.exp(x[0]) * x[1], np.array([0.0, 2.0]))
    >>> len(tape)
    2
    >>> tape(np.array([0.0, 7.0]))
    7.0
    """
    from numbad.tape.naming import name_arguments, name_spaces

    if current() is not None:
        refuse("numbad.record is called while another function is recorded", "record before, and call the function")
    with row_by_row():  # a row of a kernel's could not be written to a file
        recorder, leaves, *_, result = record_call(f, examples, tuple(range(len(examples))), keywords)
    try:
        trees = tuple(flatten(example)[1] for example in examples)
        names = name_arguments(f, examples)
        tape = freeze(recorder, leaves, result, trees=trees, names=names)
        tape.space_names = name_spaces(f, tape, {k: found.values for k, found in recorder.borrowed.items()})
        own_constants(tape, recorder)
    finally:
        recorder.close()
    tape.name = name_of(f, type(f).__name__)
    return tape


def own_constants(tape: Tape, recorder: Recorder) -> None:
    """Copy the arrays of the user's that a tape reads where they lie: it will be run when they have changed."""
    for space, found in recorder.borrowed.items():
        if found.memory is found.values and tape.spaces[space] is not None:
            tape.spaces[space] = found.values.copy(order="K")


def freeze(
    recorder: Recorder,
    leaves: list[Any],
    result: Any,
    trees: tuple[Any, ...] | None = None,
    names: list[str] | None = None,
) -> Tape:
    """Return what a recorder has recorded as a tape.

    Parameters
    ----------
    recorder : Recorder
        Still open, for scattered results may have to be collected by a row.
    leaves : list of Leaf
        The differentiable inputs, in order.
    result : tree
        What the function returned: recording values, numbers and arrays.
    trees : tuple, optional
        The structure of each argument, from `flatten`. By default each leaf is an argument.
    names : list of str, optional
        Of the leaves; by default x0, x1, ...
    """
    if result is None:
        refuse_result("None")
    flat, output_tree = flatten(result)
    outputs = tuple(place_output(recorder, value) for value in flat)
    names = names or [f"x{k}" for k in range(len(leaves))]
    return freeze_rows(recorder, leaves, names, outputs, output_tree, trees)


def freeze_rows(
    recorder: Recorder,
    leaves: list[Any],
    names: list[str],
    outputs: tuple[Output, ...] = (),
    output_tree: Structure = None,
    trees: tuple[Any, ...] | None = None,
) -> Tape:
    """Return what a recorder has recorded as a tape with results that have their places."""
    inputs = tuple(place_input(leaf, name) for leaf, name in zip(leaves, names, strict=True))
    taken = [slot.address for slot in inputs if not slot.space and slot.size]
    numbers = np.array(recorder.numbers, np.float64).reshape(-1, 2)
    spaces: list[Any] = [
        None if space is None or k in recorder.input_spaces else np.asarray(space, recorder.dtype)
        for k, space in enumerate(recorder.spaces)
    ]
    sites, places = index_sites(recorder)
    return Tape(
        code=np.frombuffer(recorder.code, np.uint32).reshape(-1, 4),
        words=np.frombuffer(recorder.words, np.int64) if recorder.words else np.empty(0, np.int64),
        size=recorder.size,
        dtype=recorder.dtype,
        numbers=numbers[~table_of(taken, recorder.size)[numbers[:, 0].astype(np.int64)]],
        loads=[(address, block) for address, block in recorder.loads if address not in taken],
        spaces=spaces,
        hosts=list(recorder.hosts),
        inputs=inputs,
        outputs=outputs,
        input_trees=(None,) * len(leaves) if trees is None else trees,
        output_tree=output_tree,
        sites=sites,
        places=places,
        examples=tuple(leaf.value for leaf in leaves),
    )


def place_input(leaf: Any, name: str) -> Input:
    """Describe an input of a recording."""
    values = np.asarray(leaf.value)
    return Input(name, leaf.space, leaf.address, values.shape, values.dtype, leaf.order)


def place_output(recorder: Recorder, value: Any) -> Output:
    """Describe a result: where it is, or which constant it is."""
    if isinstance(value, Active):
        if value.recorder is not recorder:
            value.recorder.extend(())  # raises: it belongs to a recording that has ended
        if isinstance(value, Array) and not value.shape:
            value = value.item()
        if isinstance(value, Scalar):
            return Output(0, value.address, (), (), value.boolean)
        assert isinstance(value, Array)
        space, address, strides = value.place()
        strides = contiguous(value.shape) if strides is None else strides
        return Output(space, address, value.shape, strides, value.boolean)
    if isinstance(value, np.ndarray) and value.dtype == object:
        return place_output(recorder, pack(recorder, value))
    if np.asarray(value).dtype.kind not in "fiub":
        refuse_result(f"a {type(value).__name__}")
    return Output(0, 0, np.shape(value), contiguous(np.shape(value)), constant=value)


def refuse_result(what: str) -> NoReturn:
    """Raise an OutputError for a result that a tape cannot give."""
    raise OutputError(message(f"the recorded function returned {what}", "return numbers and arrays", where=False))


def index_sites(recorder: Recorder) -> tuple[np.ndarray, list[Site]]:
    """Return the sites of a recorder as an index for each row and the list of places."""
    sites = np.full(recorder.row_count(), -1, np.int32)
    places: dict[Site, int] = {}
    for row, place in recorder.sites.items():
        if row < len(sites):
            sites[row] = places.setdefault(place, len(places))
    return sites, list(places)
