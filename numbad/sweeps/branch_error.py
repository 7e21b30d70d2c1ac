"""What is said when a tape meets a branch that would be taken otherwise than when it was recorded."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from numbad.errors import BranchError, message
from numbad.tape.layout import GUARD, HOST, host_call
from numbad.tape.naming import Names, find_op
from numbad.tape.rows import NamedTape

if TYPE_CHECKING:
    from numbad.sweeps.execution import Execution


def raise_branch(execution: Execution, row: int) -> None:
    """Raise the BranchError of a guard row that does not hold."""
    tape = execution.rows.tape
    if tape is None:
        raise BranchError(
            message(
                f"row {row}: a branch that was taken in float32 would be taken otherwise in float64",
                "pass float64 inputs: x.astype(float)",
                execution.rows.sites.get(row),
            )
        )
    names = Names(tape)
    opcode, out, a, _ = (int(field) for field in tape.code[row])
    if opcode == GUARD:
        what, do = describe_truth(tape, names, row, a, bool(out))
    else:
        now, then = float(execution.values[a]), float(execution.values[out])
        what = f"row {row} read {names.expression(a)} as {then:g} when recorded; it is {now:g} now"
        do = "record the function again at this point with numbad.record"
    site = tape.site(row)
    error = BranchError(message(what, do, site, where=site is not None))
    error.site = site
    raise error


def host_op(tape: NamedTape, row: int) -> Any:
    """Return the op of a row that a Python kernel computes."""
    host = tape.hosts[host_call(tape.words, int(tape.code[row, 2]))]
    return getattr(host, "op", None)


def describe_truth(tape: NamedTape, names: Names, row: int, address: int, truth: bool) -> tuple[str, str]:
    """Return what a guard of a truth value says, and what to do."""
    writer = names.writer(address)
    opcode: Any = int(tape.code[writer, 0]) if writer >= 0 else -1
    if opcode == HOST and (op := host_op(tape, writer)) is not None and getattr(op, "raises", False):
        now, then = ("raises an error", "did not") if truth else ("raises no error", "raised one")
        what = f"row {row}: {op.name} {now} here and {then} when recorded"
        return what, "use numbad.jit, which records what the program does then, or record the function again"
    text = names.expression(address)
    writes = find_op(opcode)
    compares = writes is not None and writes.compares
    verb = "compared" if compares else "took"
    what = f"row {row} {verb} {text} as {truth} when recorded; it is {not truth} now"
    condition = text if compares else "condition"
    return what, f"use np.where({condition}, a, b), or record the function again at this point with numbad.record"
