"""Sparse derivatives of a tape: prepared at the first call, and kept with it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from numbad.errors import BranchError, OutputError, TapeError, message
from numbad.sparsity.matrices import Block, check_format
from numbad.sparsity.patterns import Pattern
from numbad.sparsity.prepared import Prepared
from numbad.tapes.directional import check_outputs

if TYPE_CHECKING:
    from numbad.sparsity.colouring import Colouring
    from numbad.tapes.tape import Tape


def pattern_of_tape(tape: Tape, second: bool) -> Pattern:
    """Return the pattern of a tape's first or second derivatives; see `Tape.sparsity`."""
    saved = tape.kept.get(("saved", second))
    point = list(tape.examples)
    if saved is not None and (len(point) != len(tape.inputs) or any(value is None for value in point)):
        pattern: Pattern = saved[0]
        return pattern
    if len(point) != len(tape.inputs) or any(value is None for value in point):
        do = "call sparse_jacobian or sparse_hessian at a point of the path first"
        raise TapeError(message("the tape does not know the point at which it was recorded", do, where=False))
    return prepare(tape, second, point).pattern


def matrix_at(tape: Tape, second: bool, points: tuple[Any, ...], format: str) -> Any:
    """Return the matrix of a tape's first or second derivatives at a point; see `Tape.sparse_jacobian`."""
    check_format("Tape.sparse_hessian" if second else "Tape.sparse_jacobian", format)
    leaves = tape.flatten_inputs(points)
    given = [slot.accept(value) for slot, value in zip(tape.inputs, leaves, strict=True)]
    prepared = prepare(tape, second, given)
    try:
        found = prepared.compute(given)
    except BranchError:
        found = None
    if found is None:
        tape(*points)  # raises, unless it is the rule of a derivative that has branches
        prepared = tape.kept["sparse", second] = make(tape, second, given)
        found = prepared.compute(given)
        assert found is not None
    kept = tape.kept.get(("block", second, format))
    if kept is None or kept[0] is not prepared:
        height, width = prepared.pattern.shape
        dtype = tape.inputs[0].dtype if tape.inputs else tape.dtype
        kept = prepared, Block(prepared.pattern, (0, height), (0, width), format, dtype)
        tape.kept["block", second, format] = kept
    return kept[1].make(found[0])


def prepare(tape: Tape, second: bool, point: list[Any]) -> Prepared:
    """Return a tape's sparse derivative, prepared at a point of its path if that has not been done."""
    found = tape.kept.get(("sparse", second))
    if found is None:
        found = tape.kept["sparse", second] = make(tape, second, point)
    return found


def make(tape: Tape, second: bool, point: list[Any]) -> Prepared:
    """Prepare a tape's sparse derivative at a point of its path."""
    tape.keeps_values()
    check_outputs(tape)
    tape.ensure_verified()
    rows = list(range(len(tape.outputs)))
    if second and (len(rows) != 1 or tape.outputs[0].shape != ()):
        shapes = ", ".join(str(slot.shape) for slot in tape.outputs)
        raise OutputError(
            message(
                f"the second derivatives of functions of one number form a matrix; {tape.name} returned {shapes}",
                "sum the result before it is returned",
                where=False,
            )
        )
    saved = tape.kept.get(("saved", second))
    return Prepared(tape, list(range(len(tape.inputs))), rows, [], point, second, saved=saved)


def saved_patterns(tape: Tape) -> dict[bool, tuple[Pattern, Colouring | None]]:
    """Return the patterns, and colours, that are known of a tape's first (False) and second (True) derivatives."""
    found: dict[bool, tuple[Pattern, Colouring | None]] = {}
    for second in (False, True):
        prepared = tape.kept.get(("sparse", second))
        saved = (prepared.pattern, prepared.colouring) if prepared is not None else tape.kept.get(("saved", second))
        if saved is not None:
            found[second] = saved
    return found


def use_saved(tape: Tape, second: bool, pattern: Pattern, colouring: Colouring | None) -> None:
    """Let a tape use a pattern and colours of its file, when a sparse derivative is prepared."""
    tape.kept["saved", second] = (pattern, colouring)
