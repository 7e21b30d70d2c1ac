"""Passes over a tape that will be replayed: constants folded, equal rows once, dead rows out, addresses used again.

A pass takes a tape and returns another that computes the same; what it did is noted in `Tape.passes`
and printed by `tape.summary()`. The loops over rows are compiled (`kernels.passes`).
"""

from __future__ import annotations

import dataclasses
import itertools
from typing import TYPE_CHECKING, Any

import numpy as np

from numbad.errors import TapeError, message
from numbad.kernels.loading import call
from numbad.limits import FOLDED
from numbad.ops.texts import commutative_ops
from numbad.sweeps.dependence import mark_needed, mark_varying, wanted_rows
from numbad.sweeps.execution import Execution
from numbad.tape.layout import (
    ADD,
    CONTRACT,
    HOST,
    MAP,
    SCATTER,
    find_large,
    host_places,
    is_guard,
    row_cleared,
    row_size,
    scatter_block,
    step_count,
    written_count,
)
from numbad.tapes.workspaces import rows_of

if TYPE_CHECKING:
    from numbad.tapes.tape import Tape

TASKS = (
    "find_owners",
    "merge_equal",
    "renumber",
    "last_uses",
    "assign_places",
    "plan_adjoint",
    "mark_guards",
    "mark_levels",
)


@dataclasses.dataclass(frozen=True)
class PassRecord:
    """What a pass did to a tape.

    Attributes
    ----------
    name : str
        Of the pass.
    rows, addresses : (int, int)
        Before and after it.

    Examples
    --------
    >>> import numbad
    >>> record = numbad.passes.merge_equal_rows(numbad.record(lambda x: x * x + x * x, 1.0)).passes[-1]
    >>> record.name, record.rows
    ('equal rows once', (3, 2))
    """

    name: str
    rows: tuple[int, int]
    addresses: tuple[int, int]

    def __str__(self) -> str:
        return f"{self.name}: {write_change('rows', *self.rows)}, {write_change('addresses', *self.addresses)}"


def write_change(what: str, before: int, after: int) -> str:
    """Write two numbers, or one if they are the same."""
    return f"{before} {what}" if before == after else f"{before} -> {after} {what}"


def optimise(tape: Tape, forward_only: bool = False, most: int | None = FOLDED) -> Tape:
    """Return a tape with constants folded, equal rows once, dead rows out and no gaps between its addresses.

    Parameters
    ----------
    tape : Tape
        As recorded; it stays as it is.
    forward_only : bool
        Also overwrite values that nothing needs again: a smaller arena, but no derivatives.
    most : int, optional
        The most elements of a result that is computed beforehand, and kept with the tape; None for all.

    Returns
    -------
    Tape
        It computes the same values, bit for bit; where equal rows over arrays were merged or arrays moved, elementary
        functions of them may differ by their rounding, 4 units in the last place. Cotangents of rows that were
        merged are added in another order; without equal rows gradients are the same bits, too.

    Raises
    ------
    TapeError
        When the tape does not pass verification, or is `forward_only`.

    Notes
    -----
    Each pass takes about as long as one sweep over the rows, and a few bytes for each address. The passes are those
    of [1]_, on rows without jumps. `numbad.jit` runs them too, on long tapes of numbers, and with `most=None` where a
    function takes derivatives of arrays.

    References
    ----------
    .. [1] A. V. Aho, M. S. Lam, R. Sethi and J. D. Ullman, *Compilers*, 2nd ed., Addison-Wesley, 2006, sections 8.5 and
       9.4.

    Examples
    --------
    >>> import numpy as np, numbad
    >>> tape = numbad.record(lambda x: np.sin(x * 2.0) + np.sin(x * 2.0) + 0.0 * np.log(2.0 * x), 0.5)
    >>> shorter = numbad.passes.optimise(tape)
    >>> len(tape), len(shorter), tape(0.7) == shorter(0.7)
    (9, 6, True)
    >>> print(shorter.passes[1])
    equal rows once: 9 -> 6 rows, 12 addresses
    """
    tape = drop_dead_rows(merge_equal_rows(fold_constants(tape, most)))
    return reuse_addresses(tape) if forward_only else tape


# ---------------------------------------------------------------- the passes


def fold_constants(tape: Tape, most: int | None = FOLDED) -> Tape:
    """Return the tape without the rows whose operands are all constants; their values become constants.

    Parameters
    ----------
    tape : Tape
        As recorded; it stays as it is.
    most : int, optional
        The most elements of a result that is computed; None for all.

    Returns
    -------
    Tape
        A new tape of the same function.

    Raises
    ------
    TapeError
        When the tape does not pass verification, or is `forward_only`.

    Notes
    -----
    The values are computed by the sweeps themselves. Python kernels are left, and a block to which several rows add is
    computed by all of them or none.

    References
    ----------
    .. [1] A. V. Aho, M. S. Lam, R. Sethi and J. D. Ullman, *Compilers*, 2nd ed., Addison-Wesley, 2006, sections 8.5 and
       9.4.

    Examples
    --------
    >>> import numbad
    >>> tape = numbad.record(lambda x: x + 2.0 * numbad.full((), 3.0)[()], 1.0)
    >>> len(tape), len(numbad.passes.fold_constants(tape))
    (2, 1)
    """
    check(tape)
    varying, spaces = np.zeros(tape.size, np.uint8), np.zeros(len(tape.spaces), np.uint8)
    for slot in tape.inputs:
        if slot.space:
            spaces[slot.space] = 1
        else:
            varying[slot.address : slot.address + slot.size] = 1
    varies = mark_varying(tape.code, tape.words, unfolded_rows(tape, most), varying, spaces) != 0
    rows = np.flatnonzero(~varies & ~is_guard(tape.code[:, 0]))
    numbers, loads = fold_values(tape, rows) if len(rows) else (tape.numbers, tape.loads)
    return finish(tape, "constants folded", varies, tape.code, tape.words, numbers=numbers, loads=loads)


def merge_equal_rows(tape: Tape) -> Tape:
    """Return the tape with rows that do the same with the same operands kept once (common subexpressions).

    Parameters
    ----------
    tape : Tape
        As recorded; it stays as it is.

    Returns
    -------
    Tape
        A new tape of the same function. The cotangents of what was merged are added up in another order.

    Raises
    ------
    TapeError
        When the tape does not pass verification, or is `forward_only`.

    Notes
    -----
    Python kernels and blocks that several rows add to are left. Operands of commutative ops are compared in
    either order.

    References
    ----------
    .. [1] A. V. Aho, M. S. Lam, R. Sethi and J. D. Ullman, *Compilers*, 2nd ed., Addison-Wesley, 2006, sections 8.5 and
       9.4.

    Examples
    --------
    >>> import numbad
    >>> tape = numbad.record(lambda x, y: x * y + y * x, 2.0, 3.0)
    >>> len(tape), len(numbad.passes.merge_equal_rows(tape))
    (3, 2)
    """
    check(tape)
    code, words = np.array(tape.code), np.array(tape.words)
    pinned = find_owners(tape)[1]
    rename = np.arange(tape.size, dtype=np.uint32)
    keep = np.ones(len(code), np.uint8)
    table = np.zeros(1 << (2 * len(code) + 1).bit_length(), np.uint32)
    run("merge_equal", code, words, commutative_ops(), rename, pinned, keep, table)
    outputs = tuple(
        slot if slot.space or slot.constant is not None or 0 in slot.shape else move_output(slot, rename)
        for slot in tape.outputs
    )
    return finish(tape, "equal rows once", keep != 0, code, words, outputs=outputs)


def drop_dead_rows(tape: Tape) -> Tape:
    """Return the tape without the rows that reach neither an output nor a guard.

    Parameters
    ----------
    tape : Tape
        As recorded; it stays as it is.

    Returns
    -------
    Tape
        A new tape of the same function.

    Raises
    ------
    TapeError
        When the tape does not pass verification, or is `forward_only`.

    Notes
    -----
    A tape of scalar rows has no gaps between its addresses afterwards. Arrays stay where they are: LLVM takes the
    vector versions of elementary functions where operands lie far enough apart, so moving them changes last bits.

    References
    ----------
    .. [1] A. V. Aho, M. S. Lam, R. Sethi and J. D. Ullman, *Compilers*, 2nd ed., Addison-Wesley, 2006, sections 8.5 and
       9.4.

    Examples
    --------
    >>> import numbad
    >>> tape = numbad.record(lambda x: (x * x, x + 1.0)[1], 2.0)
    >>> len(tape), len(numbad.passes.drop_dead_rows(tape))
    (2, 1)
    """
    check(tape)
    live = np.zeros(tape.size, np.uint8)
    for low, high in output_extents(tape):
        live[low : high + 1] = 1
    keep = wanted_rows(tape.code)
    mark_needed(tape.code, tape.words, live, keep)
    numbers = tape.numbers[live[tape.numbers[:, 0].astype(np.int64)] != 0]
    loads = [(address, block) for address, block in tape.loads if live[address : address + block.size].any()]
    shorter = finish(tape, "dead rows out", keep != 0, tape.code, tape.words, numbers=numbers, loads=loads)
    return shorter if len(tape.words) else close_gaps(shorter, live)


def reuse_addresses(tape: Tape) -> Tape:
    """Return a tape for values alone, whose results overwrite those that nothing needs again.

    Parameters
    ----------
    tape : Tape
        As recorded; it stays as it is.

    Returns
    -------
    Tape
        A new tape of the same function, which is `forward_only`: its derivatives are refused.

    Raises
    ------
    TapeError
        When the tape does not pass verification, or is `forward_only`.

    Notes
    -----
    Tapes with rows over 32,768 elements and more are only marked so, for their intermediate arrays have no memory in
    any case (see `fusion`).

    References
    ----------
    .. [1] A. V. Aho, M. S. Lam, R. Sethi and J. D. Ullman, *Compilers*, 2nd ed., Addison-Wesley, 2006, sections 8.5 and
       9.4.

    Examples
    --------
    >>> import numbad
    >>> tape = numbad.record(lambda x: ((x * 2.0) * 3.0) * 4.0, 2.0)
    >>> shorter = numbad.passes.reuse_addresses(tape)
    >>> shorter(1.0), tape.size > shorter.size
    (24.0, True)
    """
    check(tape)
    owner, _ = find_owners(tape)
    rows, hosts = len(tape), tape.code[:, 0] == HOST
    last = np.full(max(rows, 1), -1, np.int64)
    crossing = run("last_uses", tape.code, tape.words, owner, last)
    for low, high in output_extents(tape):
        crossing = crossing or len(np.unique(owner[low : high + 1])) > 1
        last[owner[low : high + 1][owner[low : high + 1] > 0].astype(np.int64) - 1] = rows
    if crossing or tape._large or not rows or not all(is_block(tape, row) for row in np.flatnonzero(hosts).tolist()):
        return finish(tape, "addresses used again", np.ones(rows, bool), tape.code, tape.words, forward_only=True)
    return place_again(tape, owner, last)


def is_block(tape: Tape, row: int) -> bool:
    """Whether the results of a Python kernel follow one another."""
    _, made = host_places(tape.words, int(tape.code[row, 2]))
    return all(first + count == following for (_, first, count), (_, following, _) in itertools.pairwise(made))


def place_again(tape: Tape, owner: np.ndarray, last: np.ndarray) -> Tape:
    """Give the blocks of a tape places that are used again."""
    rows = len(tape)
    rename, first = place_given(tape)
    lengths = np.bincount(owner[owner > 0].astype(np.int64) - 1, minlength=rows)
    kinds = np.where(lengths > 0, np.unique(lengths, return_inverse=True)[1].reshape(-1), -1).astype(np.int64)
    links = np.full(5 * rows, -1, np.int64)
    code, words = np.array(tape.code), np.array(tape.words)
    size = run("assign_places", code, words, last, kinds, rename, links, np.array([first], np.int64))
    return move(tape, "addresses used again", code, words, rename, size, forward_only=True)


def close_gaps(tape: Tape, live: np.ndarray) -> Tape:
    """Return a tape whose addresses follow one another: those that are not live and not given are left out."""
    keep = live != 0
    given, first = place_given(tape)
    keep[given > 0] = keep[0] = False
    rename = np.where(keep, first + np.cumsum(keep) - 1, given).astype(np.uint32)
    return move(tape, "", np.array(tape.code), np.array(tape.words), rename, first + int(keep.sum()))


# ---------------------------------------------------------------- parts of passes


def run(task: str, code: np.ndarray, words: np.ndarray, *arrays: np.ndarray) -> int:
    """Run a compiled pass over arrays; the first call of a process loads it, the first on a machine compiles it."""
    code, words = np.ascontiguousarray(code), np.ascontiguousarray(words)
    return call("run_pass", TASKS.index(task), (code.reshape(-1), words, *arrays))


def check(tape: Tape) -> None:
    """Verify a tape, once: a pass trusts its rows. Refuse one whose values are overwritten."""
    if tape.forward_only:
        raise TapeError(
            message("the tape overwrites its values, so passes cannot follow them", "apply them before", where=False)
        )
    if not tape._verified and not tape._trusted:
        tape.prepare()


def unfolded_rows(tape: Tape, most: int | None) -> np.ndarray:
    """Return a flag for each row: whether it stays where its operands are constants, as does all that reads it."""
    opcodes, words = tape.code[:, 0], tape.words
    stays = opcodes == HOST
    arrays = np.flatnonzero((opcodes >= MAP) & ~is_guard(opcodes) & ~stays)
    if len(arrays):
        w = tape.code[arrays, 2].astype(np.int64)
        made = np.array(step_count(words, w))
        stays[arrays] = made == 0
        if most is not None:
            sums = (opcodes[arrays] == ADD) | (opcodes[arrays] == CONTRACT)
            scatters = opcodes[arrays] == SCATTER
            made[sums], made[scatters] = row_cleared(words, w[sums]), scatter_block(words, w[scatters])
            stays[arrays] |= made > most
    return stays.astype(np.uint8)


def constant_addresses(tape: Tape) -> np.ndarray:
    """Return a flag for each address: whether it holds a constant."""
    known = np.zeros(tape.size, np.uint8)
    known[0] = 1
    known[tape.numbers[:, 0].astype(np.int64)] = 1
    for address, block in tape.loads:
        known[address : address + block.size] = 1
    return known


def fold_values(tape: Tape, rows: np.ndarray) -> tuple[np.ndarray, list[Any]]:
    """Compute rows of constants; return the numbers and loads of the tape with their results."""
    values = constants_run(tape, rows)
    numbers, loads = [tape.numbers], list(tape.loads)
    scalar = rows[tape.code[rows, 0] < MAP]
    addresses = tape.code[scalar, 1].astype(np.int64)
    numbers.append(np.stack([addresses.astype(float), values[addresses].astype(float)], axis=1))
    for row in rows[tape.code[rows, 0] >= MAP].tolist():
        opcode, out, w, _ = tape.code[row].tolist()
        count = written_count(opcode, w, tape.words)
        if count:  # another row has made the block that this one adds to
            loads.append((out, values[out : out + count].copy()))
    return np.concatenate(numbers), loads


def constants_run(tape: Tape, rows: np.ndarray) -> np.ndarray:
    """Return the arena after some rows have run on the constants alone; the inputs hold anything."""
    part = dataclasses.replace(tape, code=tape.code[rows], sites=tape.sites[rows], inputs=(), input_trees=())
    found = rows_of(part)
    found.large = find_large(part.program_code(), part.words)
    found.spaces = [None, *(np.zeros(0, tape.dtype) if space is None else space for space in found.spaces[1:])]
    execution = Execution(found)
    execution.forward()
    return execution.values


def find_owners(tape: Tape) -> tuple[np.ndarray, np.ndarray]:
    """Return for each address one more than the row that writes it (0 for none), and which rows must stay."""
    owner = np.zeros(tape.size, np.uint32)
    pinned = np.zeros(max(len(tape), 1), np.uint8)
    extents = np.array(output_extents(tape), np.int64).reshape(-1)
    run("find_owners", tape.code, tape.words, owner, pinned, extents)
    return owner, pinned


def output_extents(tape: Tape) -> list[tuple[int, int]]:
    """Return the first and last address of each result that lies in the arena."""
    found = []
    for slot in tape.outputs:
        if slot.constant is not None or slot.space or 0 in slot.shape:
            continue
        reach = [(n - 1) * s for n, s in zip(slot.shape, slot.strides, strict=True)]
        low = slot.address + sum(r for r in reach if r < 0)
        found.append((low, slot.address + sum(r for r in reach if r > 0)))
    return found


def move_output(slot: Any, rename: np.ndarray) -> Any:
    """Return an output at the address that stands for its own; a block keeps its shape, so one shift moves it."""
    return dataclasses.replace(slot, address=int(rename[slot.address]))


def place_given(tape: Tape) -> tuple[np.ndarray, int]:
    """Return new addresses for inputs and constants, one after another, 0 elsewhere; and the next free one."""
    rename = np.zeros(tape.size, np.uint32)
    size = 1
    blocks = [(slot.address, slot.size) for slot in tape.inputs if not slot.space]
    for address, count in blocks:
        rename[address : address + count] = np.arange(size, size + count)
        size += count
    addresses = tape.numbers[:, 0].astype(np.int64)
    rename[addresses] = np.arange(size, size + len(addresses))
    size += len(addresses)
    for address, block in tape.loads:
        rename[address : address + block.size] = np.arange(size, size + block.size)
        size += block.size
    return rename, size


def move(
    tape: Tape, name: str, code: np.ndarray, words: np.ndarray, rename: np.ndarray, size: int, **changes: Any
) -> Tape:
    """Return a tape with other addresses; without a name the last record is amended."""
    run("renumber", code, words, rename)
    numbers = tape.numbers.copy()
    numbers[:, 0] = rename[numbers[:, 0].astype(np.int64)]
    inputs = tuple(
        slot if slot.space or not slot.size else dataclasses.replace(slot, address=int(rename[slot.address]))
        for slot in tape.inputs
    )
    outputs = tuple(
        slot if slot.space or slot.constant is not None or 0 in slot.shape else move_output(slot, rename)
        for slot in tape.outputs
    )
    loads = [(int(rename[address]), block) for address, block in tape.loads if block.size]
    keep = np.ones(len(tape), bool)
    changes |= {"numbers": numbers, "inputs": inputs, "outputs": outputs, "loads": loads, "size": size}
    return finish(tape, name, keep, code, words, **changes)


def finish(tape: Tape, name: str, keep: np.ndarray, code: np.ndarray, words: np.ndarray, **changes: Any) -> Tape:
    """Return the tape with the kept rows, their words alone, and a record of the pass."""
    code, words = pack_words(code[keep], words)
    shorter = dataclasses.replace(tape, code=code, words=words, sites=tape.sites[keep], **changes)
    if name:
        record = PassRecord(name, (len(tape), len(shorter)), (tape.size, shorter.size))
        shorter.passes = (*tape.passes, record)
    else:
        *before, record = tape.passes
        shorter.passes = (*before, dataclasses.replace(record, addresses=(record.addresses[0], shorter.size)))
    shorter._trusted = tape._trusted
    if shorter.forward_only:
        shorter._verified, shorter._large = True, list(tape._large)  # its addresses are written more than once
    return shorter


def pack_words(code: np.ndarray, words: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return rows and words without the words that no row uses."""
    code = np.array(code)
    rows = np.flatnonzero((code[:, 0] >= MAP) & ~is_guard(code[:, 0]))
    if not len(rows):
        return code, words[:0]
    starts = code[rows, 2].astype(np.int64)
    counts = row_size(words, starts)
    ends = np.cumsum(counts)
    code[rows, 2] = ends - counts
    kept = np.arange(ends[-1]) + np.repeat(starts - (ends - counts), counts)
    return code, words[kept]
