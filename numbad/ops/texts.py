"""What is read off the ops' texts: whose operands may be exchanged, what their partials depend on, and which are 1."""

from __future__ import annotations

import ast
import functools

import numpy as np

from numbad.ops.definition import REGISTRY, Op, body, names_of


@functools.cache
def commutative_ops() -> np.ndarray:
    """Return a flag for each op: whether its operands may be exchanged, for its text says so."""
    return np.array([is_commutative(op) for op in REGISTRY], np.uint8)


def is_commutative(op: Op) -> bool:
    """Whether an op's text stays the same when its operands are exchanged, as that of x + y does."""
    if op.arity != 2 or op.host:
        return False
    assignments, value = body(op.primal)
    return not assignments and normal_form(value, {}) == normal_form(value, {"x": "y", "y": "x"})


def normal_form(node: ast.AST, names: dict[str, str]) -> str:
    """Write an expression with other names, and the operands of +, *, &, | and == in a fixed order."""
    if isinstance(node, ast.Name):
        return names.get(node.id, node.id)
    parts = [normal_form(part, names) for part in ast.iter_child_nodes(node)]
    operator = getattr(node, "op", None) or (node.ops[0] if isinstance(node, ast.Compare) else None)
    if isinstance(operator, (ast.Add, ast.Mult, ast.BitAnd, ast.BitOr, ast.Eq, ast.NotEq)):
        parts = sorted(parts)
    title = repr(node.value) if isinstance(node, ast.Constant) else getattr(node, "attr", "")
    return f"{type(node).__name__}{title}({', '.join(parts)})"


@functools.cache
def dependencies() -> np.ndarray:
    """Return for each op on which of x, y, z (bits 1, 2, 4) its partials depend: p's in three bits, q's in the next."""
    return np.array([depends(op) for op in REGISTRY], np.uint8)


def depends(op: Op) -> int:
    """Return the dependencies of one op's partials, from their text."""
    if op.host:
        return 63
    bits = {"x": 1, "y": 2, "z": 4}
    assignments, value = body(op.partials_function)
    locals_: dict[str, int] = {}

    def mask(node: ast.expr) -> int:
        found = 0
        for part in ast.walk(node):
            if isinstance(part, ast.Name):
                found |= bits.get(part.id, locals_.get(part.id, 0))
        return found

    for statement in assignments:
        assert isinstance(statement, ast.Assign)
        for target in statement.targets:
            assert isinstance(target, ast.Name)
            locals_[target.id] = mask(statement.value)
    parts = value.elts if isinstance(value, ast.Tuple) else [value]
    return sum(mask(part) << (3 * k) for k, part in enumerate(parts))


def unit_partials(op: Op) -> tuple[int, int]:
    """Return the partials of an op that are 1 or -1 whatever the operands, 0 for others."""
    function = op.partials_function
    if op.host or not op.smooth or names_of(function):
        return 0, 0
    found = function()
    found = found if isinstance(found, tuple) else (found, 0.0)
    x, y = (int(p) if p in (1.0, -1.0) else 0 for p in found)
    return x, y


@functools.cache
def named_partials(opcode: int) -> tuple[str, str]:
    """Return the partials of an op that are "1", "-1", or the value of "x", "y" or "z"; "" for one that is computed."""
    op = REGISTRY[opcode]
    if op.host or not op.smooth:
        return "", ""
    assignments, value = body(op.partials_function)
    parts = value.elts if isinstance(value, ast.Tuple) else [value]
    names = [part.id if isinstance(part, ast.Name) and not assignments else "" for part in parts]
    found = [str(unit) if unit else name for unit, name in zip(unit_partials(op), [*names, ""], strict=False)]
    x, y = (name if name in ("1", "-1", "x", "y", "z") else "" for name in found)
    return x, y


def scaled_partials(op: Op) -> list[tuple[int, float]]:
    """Return for both partials whether they are x, y or z (1, 2, 3) or neither (0), and what that is multiplied by."""
    if op.host or not op.smooth:
        return [(0, 1.0)] * 2
    assignments, value = body(op.partials_function)
    named = [part for line in assignments for part in ast.walk(line) if isinstance(part, ast.Name)]
    if any(part.id in "xyz" and isinstance(part.ctx, ast.Store) for part in named):
        return [(0, 1.0)] * 2
    parts = value.elts if isinstance(value, ast.Tuple) else [value]
    return ([scaled_part(part) for part in parts] + [(0, 1.0)])[:2]


def scaled_part(node: ast.expr) -> tuple[int, float]:
    """Return what `scaled_partials` does of one text."""
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "as_is":
        return scaled_part(node.args[0])
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mult) and isinstance(node.left, ast.Constant):
        name, factor = scaled_part(node.right)
        return name, factor * float(node.left.value)  # type: ignore[arg-type]
    found = {"x": 1, "y": 2, "z": 3}.get(node.id, 0) if isinstance(node, ast.Name) else 0
    return found, 1.0
