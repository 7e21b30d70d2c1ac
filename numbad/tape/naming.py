"""Names for what a tape reads and writes: arguments by their names, constants by value, results by their row."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import numpy as np

from numbad.errors import attribute
from numbad.ops.definition import REGISTRY, Op
from numbad.tape.layout import (
    GUARD,
    GUARD_VALUE,
    MAP,
    NAMES,
    find_accumulations,
    operand_at,
    operand_kind,
    row_operands,
    row_shape,
    written_count,
)
from numbad.tape.rows import NamedTape

DEPTH = 3  # operations that are written out inside an expression before a name stands for the rest


def name_arguments(f: Callable[..., Any], examples: tuple[Any, ...]) -> list[str]:
    """Return a name for each leaf of the arguments: `x`, or `weights['W']` in a tree."""
    names: list[str] = []
    for parameter, example in zip(parameter_names(f, len(examples)), examples, strict=True):
        if isinstance(example, (float, int, np.ndarray, np.generic)):
            names.append(parameter)
            continue
        import optree

        accessors = optree.tree_accessors(example, namespace="numbad")
        names += [accessor.codify(parameter) for accessor in accessors]
    return names


def parameter_names(f: Callable[..., Any], count: int) -> list[str]:
    """Return the names of a function's first positional parameters."""
    try:
        parameters = list(inspect.signature(f).parameters.values())
    except Exception:  # of compiled functions, and objects that answer no questions
        parameters = []
    names = [p.name for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)][:count]
    variadic = [p.name for p in parameters if p.kind is p.VAR_POSITIONAL]
    rest = count - len(names)
    return names + [f"{variadic[0]}[{k}]" if variadic else f"x{len(names) + k}" for k in range(rest)]


def name_spaces(f: Callable[..., Any], tape: NamedTape, origins: dict[int, Any]) -> tuple[str, ...]:
    """Return a name for each space: the variable that holds the array it is made of, where the function has one."""
    names = [""]
    known: dict[int, str] = {}
    f = attribute(f, "py_func", f)  # of what Numba compiles
    code = attribute(f, "__code__")
    if code is not None:
        visible = {name: f.__globals__[name] for name in code.co_names if name in f.__globals__}
        for name, cell in zip(code.co_freevars, f.__closure__ or (), strict=True):
            try:
                visible[name] = cell.cell_contents
            except ValueError:
                continue
        known = {id(value): name for name, value in visible.items() if isinstance(value, np.ndarray)}
    inputs = {slot.space: slot.name for slot in tape.inputs if slot.space}
    for k, space in enumerate(tape.spaces[1:], start=1):
        shape = "x".join(map(str, np.shape(space)))
        names.append(inputs.get(k) or known.get(id(origins.get(k))) or f"array_{shape}")
    return tuple(names)


def find_op(opcode: int) -> Op | None:
    """Return the elementwise op of a row, over numbers or arrays; None for another row."""
    place = opcode - MAP if opcode >= MAP else opcode
    return REGISTRY[place] if 0 <= place < len(REGISTRY) else None


def op_name(opcode: int) -> str:
    """Return the name of an opcode, or an empty string."""
    op = find_op(opcode)
    return NAMES.get(opcode, "") if op is None else op.name


class Names:
    """Names of a tape's addresses and operands.

    Attributes
    ----------
    starts, kinds, indices : ndarray of int64
        The blocks of the arena in the order of their addresses: where each begins, whether it is an
        input (0), a constant number (1), a constant array (2) or a row's result (3), and which.
    """

    def __init__(self, tape: NamedTape) -> None:
        self.tape = tape
        code = tape.code
        given = [(slot.address, 0, k) for k, slot in enumerate(tape.inputs) if not slot.space and slot.size]
        given += [(int(address), 1, k) for k, address in enumerate(tape.numbers[:, 0].tolist())]
        given += [(address, 2, k) for k, (address, _) in enumerate(tape.loads)]
        rows = np.flatnonzero(
            (code[:, 0] != GUARD) & (code[:, 0] != GUARD_VALUE) & ~find_accumulations(code, tape.words)
        )
        fixed = np.array(given, np.int64).reshape(-1, 3)
        written = np.stack([code[rows, 1].astype(np.int64), np.full(len(rows), 3), rows], axis=1)
        blocks = np.concatenate([fixed, written])
        blocks = blocks[np.argsort(blocks[:, 0], kind="stable")]
        self.starts, self.kinds, self.indices = blocks.T

    def find(self, address: int) -> tuple[int, int, int]:
        """Return the kind and index of the block that holds an address, and the place in it."""
        position = int(np.searchsorted(self.starts, address, side="right")) - 1
        if position < 0:
            return 1, -1, 0
        return int(self.kinds[position]), int(self.indices[position]), address - int(self.starts[position])

    def writer(self, address: int) -> int:
        """Return the row that computes an address, or -1 for inputs and constants."""
        kind, index, _ = self.find(address)
        return index if kind == 3 else -1

    def result(self, row: int) -> str:
        """Return the name of a row's result."""
        return f"v{row}"

    def base(self, space: int, address: int) -> tuple[str, tuple[int, ...], int]:
        """Return the name and shape of the block at an address, and the place in it."""
        tape = self.tape
        if space:
            slots = [slot.shape for slot in tape.inputs if slot.space == space]
            shape = slots[0] if slots else np.shape(tape.spaces[space])
            return tape.space_names[space] if space < len(tape.space_names) else f"space{space}", shape, address
        if address == 0:
            return "0.0", (), 0
        kind, index, place = self.find(address)
        if kind == 0:
            return tape.inputs[index].name, tape.inputs[index].shape, place
        if kind == 1:
            return (repr(float(tape.numbers[index, 1])) if index >= 0 else "0.0"), (), 0
        if kind == 2:
            block = tape.loads[index][1]
            return write_values(block), (block.size,), place
        count = count_results(tape, index)
        return self.result(index), () if count == 1 else (count,), place

    def element(self, address: int, space: int = 0) -> str:
        """Return the name of one element, such as `x[3]`, `2.5` or `v12`."""
        name, shape, place = self.base(space, address)
        if not shape:
            return name
        if space == 0 and name.startswith("["):
            index = self.find(address)[1]
            return repr(float(self.tape.loads[index][1].reshape(-1)[place]))
        inside = np.unravel_index(place, shape) if place < int(np.prod(shape)) else (place,)
        return f"{name}[{', '.join(str(int(k)) for k in inside)}]"

    def operand(self, w: int, index: int) -> str:
        """Return the name of an operand of an array row: `x`, `x[2:5]`, `v3[0]`, or `x[...]` for other views."""
        words = self.tape.words
        space, address, strides = row_operands(words, w)[index]
        touched = [(n, s) for n, s in zip(row_shape(words, w), strides, strict=True) if s and n > 1]
        if operand_kind(words, operand_at(words, w, index)) == 2 or not touched:
            return self.element(address, space)
        name, shape, place = self.base(space, address)
        size, count = int(np.prod(shape)), int(np.prod([n for n, _ in touched]))
        if count == size and place == 0:
            return name
        step = touched[0][1]
        if len(touched) == 1 and len(shape) == 1 and step > 0:
            stop = place + (count - 1) * step + 1
            return f"{name}[{place}:{stop}]" if step == 1 else f"{name}[{place}:{stop}:{step}]"
        return f"{name}[...]"

    # ------------------------------------------------------------ expressions

    def expression(self, address: int, depth: int = DEPTH) -> str:
        """Write how a scalar came about, as Python would: `(x[0] - 1.0) * x[1]`."""
        row = self.writer(address)
        if row < 0 or depth == 0:
            return self.element(address)
        opcode = int(self.tape.code[row, 0])
        if opcode < MAP:
            op = REGISTRY[opcode]
            operands = [self.expression(int(self.tape.code[row, 2 + k]), depth - 1) for k in range(op.arity)]
        elif opcode < 2 * MAP:
            op = REGISTRY[opcode - MAP]
            place = address - int(self.tape.code[row, 1])
            operands = [self.part(int(self.tape.code[row, 2]), 1 + k, place) for k in range(op.arity)]
        else:
            return self.element(address)
        text = op.write(operands)
        if op.symbol and op.arity == 2 and depth < DEPTH:
            text = f"({text})"
        return text if len(text) <= 60 else self.element(address)

    def part(self, w: int, index: int, place: int) -> str:
        """Return the name of the element of an operand that goes with a place of the result."""
        space, address, strides = row_operands(self.tape.words, w)[index]
        inside = np.unravel_index(place, row_shape(self.tape.words, w))
        return self.element(address + sum(int(k) * s for k, s in zip(inside, strides, strict=True)), space)


def write_values(values: np.ndarray) -> str:
    """Write a small constant array."""
    flat = values.reshape(-1)
    if flat.size <= 4:
        return f"[{', '.join(f'{v:.6g}' for v in flat.tolist())}]"
    return f"[{flat[0]:.6g}, {flat[1]:.6g}, .., {flat[-1]:.6g}; {flat.size}]"


def count_results(tape: NamedTape, row: int) -> int:
    """Return the number of elements of the block that a row makes."""
    return written_count(int(tape.code[row, 0]), int(tape.code[row, 2]), tape.words)
