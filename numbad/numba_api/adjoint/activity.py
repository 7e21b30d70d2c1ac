"""What is known of the names of a flat kernel: their types, and which of them carry derivatives.

A number is *varied* if it depends on an argument that is differentiated, *useful* if a result depends on it, and
*active* if it is both (Griewank and Walther, 2008, *Evaluating Derivatives*, section 6.2). Both are told of names,
wherever they stand: what varies once varies everywhere.
"""

from __future__ import annotations

import ast
import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numba.core import errors, types
from numba.core.compiler import run_frontend
from numba.core.registry import cpu_target
from numba.core.typed_passes import type_inference_stage
from numba.np.numpy_support import from_dtype

from numbad.numba_api.adjoint.support import bound, same, span
from numbad.numba_api.adjoint.tree import (
    Flat,
    For,
    If,
    New,
    NotAdjoint,
    Set,
    Statement,
    Store,
    Swap,
    names_in,
    walk,
)


def text_of(flat: Flat) -> list[str]:
    """Return the lines of a function that computes what a flat kernel does."""
    lines = [f"def flat({', '.join(flat.parameters)}):"]
    lines += ["    " + line for line in body_text(flat.body)]
    return [*lines, f"    return ({''.join(part + ', ' for part in flat.results)})"]


def body_text(statements: list[Statement]) -> list[str]:
    """Return the lines of some statements."""
    lines = [line for statement in statements for line in statement_text(statement)]
    return lines or ["pass"]


def statement_text(statement: Statement) -> list[str]:
    """Return the lines of a statement."""
    deeper = lambda part: ["    " + line for line in body_text(part)]
    if isinstance(statement, Set):
        return [f"{statement.name} = {ast.unparse(statement.value)}"]
    if isinstance(statement, Store):
        return [f"{element(statement.array, map(ast.unparse, statement.index))} = {ast.unparse(statement.value)}"]
    if isinstance(statement, New):
        return [f"{statement.array} = {ast.unparse(statement.value)}"]
    if isinstance(statement, Swap):
        return [f"{statement.one}, {statement.other} = {statement.other}, {statement.one}"]
    if isinstance(statement, If):
        found = [f"if {statement.test}:", *deeper(statement.body)]
        return [*found, "else:", *deeper(statement.orelse)] if statement.orelse else found
    if isinstance(statement, For):
        head = f"for {statement.name} in range({statement.start}, {statement.stop}, {statement.step}):"
        return [head, *deeper(statement.body), *leaving(statement.leave)]
    before = [*deeper(statement.before), f"    if not {statement.test}:", "        break"]
    return ["while True:", *before, *deeper(statement.body), *leaving(statement.leave)]


def leaving(leave: str) -> list[str]:
    """Return the lines that end a loop."""
    return [f"    if {leave}:", "        break"] if leave else []


def element(array: str, index: Iterable[str]) -> str:
    """Return the text of an element of an array."""
    return f"{array}[{', '.join(index)}]"


@dataclass
class Facts:
    """What is known of a flat kernel's names.

    Attributes
    ----------
    kinds : dict
        Of each number: "f8", "f4", "i" with its bits, "b". Of each array: the kind of its elements.
    axes : dict
        Of each array: how many it has.
    active : set
        Names of numbers and arrays through which derivatives flow.
    changed : set
        Arguments that are arrays and are written to.
    frozen : set
        Names of numbers that are the same whenever they are assigned.
    """

    kinds: dict[str, str]
    axes: dict[str, int]
    active: set[str] = field(default_factory=set)
    changed: set[str] = field(default_factory=set)
    frozen: set[str] = field(default_factory=set)


def kind_of(given: Any) -> str:
    """Return the kind of a type of Numba's."""
    kind: Any = types.unliteral(given)
    if isinstance(kind, types.Boolean):
        return "b"
    if isinstance(given, types.Integer):
        return f"{'i' if kind.signed else 'u'}{kind.bitwidth}"
    if kind in (types.float64, types.float32):
        return "f8" if kind == types.float64 else "f4"
    return ""


def find_types(flat: Flat, arguments: tuple[Any, ...]) -> Facts:
    """Have Numba find the types of all names, for types of the arguments."""
    scope: dict[str, Any] = {"np": np, "math": math, "bound": bound, "same": same, "span": span, **flat.constants}
    exec(compile("\n".join(text_of(flat)), f"<{flat.name}, flat>", "exec"), scope)
    cpu_target.target_context.refresh()  # which imports what Numba knows of NumPy
    cpu_target.typing_context.refresh()
    try:
        found = type_inference_stage(
            cpu_target.typing_context, cpu_target.target_context, run_frontend(scope["flat"]), arguments, None
        )
    except errors.NumbaError as error:
        raise NotAdjoint(f"types that Numba does not find: {str(error).splitlines()[0]}") from None
    facts = Facts({}, {})
    for key, kind in found.typemap.items():
        if not key.isidentifier():
            continue
        if isinstance(kind, types.Array):
            facts.axes[key] = kind.ndim
            kind = kind.dtype
        text = kind_of(kind)
        if text:
            facts.kinds[key] = text
    for key, value in flat.constants.items():
        facts.kinds[key], facts.axes[key] = kind_of(from_dtype(value.dtype)), value.ndim
    check_types(flat, facts)
    return facts


def check_types(flat: Flat, facts: Facts) -> None:
    """Refuse a kernel with names whose types are not taken."""
    for statement in walk(flat.body):
        target = statement.name if isinstance(statement, Set) else getattr(statement, "array", "")
        if target and target not in facts.kinds:
            raise NotAdjoint(f"{target}, which is neither a real number nor an array of them")
    for target in flat.results:
        if not facts.kinds.get(target, "").startswith("f"):
            raise NotAdjoint("a result that is not of floating-point numbers")


def is_real(facts: Facts, name: str) -> bool:
    """Whether a number, or the elements of an array, are floating-point numbers."""
    return facts.kinds.get(name, "").startswith("f")


def flows(flat: Flat) -> list[tuple[str, set[str]]]:
    """Return what flows where: pairs of a name, and the names that it is computed from."""
    found: list[tuple[str, set[str]]] = []
    for statement in walk(flat.body):
        if isinstance(statement, Set):
            found.append((statement.name, sources(statement.value)))
        elif isinstance(statement, Store):
            found.append((statement.array, sources(statement.value)))
        elif isinstance(statement, New) and statement.source:
            found.append((statement.array, {statement.source.partition("[")[0]}))
        elif isinstance(statement, New) and is_computed(statement):
            found.append((statement.array, names_in(statement.value)))
        elif isinstance(statement, Swap):
            found += [(statement.one, {statement.other}), (statement.other, {statement.one})]
    return found


def sources(node: ast.expr) -> set[str]:
    """Return the names whose values an expression computes with: not those of indices, comparisons and shapes."""
    if isinstance(node, ast.Subscript):
        return sources(node.value)
    if isinstance(node, (ast.Compare, ast.Attribute)):
        return set()
    if isinstance(node, ast.Call):
        if isinstance(node.func, ast.Name) and node.func.id in ("bool", "int", "len"):
            return set()
        return set().union(*map(sources, node.args))
    if isinstance(node, ast.Name):
        return {node.id}
    return set().union(*(sources(part) for part in ast.iter_child_nodes(node) if isinstance(part, ast.expr)))


def find_activity(flat: Flat, facts: Facts, wanted: set[str]) -> None:
    """Note which names are active, which arguments are written to, and which numbers are frozen."""
    pairs = [
        (target, {name for name in names if is_real(facts, name)}) for target, names in flows(flat)
        if is_real(facts, target)
    ]  # fmt: skip
    outputs = set(flat.results)
    facts.changed = written(flat.body) & set(flat.parameters)
    varied = reach(wanted, pairs, forward=True)
    useful = reach(outputs | facts.changed, pairs, forward=False)
    facts.active = {name for name in varied & useful if is_real(facts, name)}
    facts.frozen = find_frozen(flat)
    for statement in walk(flat.body):
        if isinstance(statement, New) and not statement.source and is_computed(statement):
            if {name for name in names_in(statement.value) & facts.active if name not in facts.axes}:
                raise NotAdjoint("an array of equal steps that depend on what varies")


def is_computed(statement: New) -> bool:
    """Whether the elements of an array that is made depend on numbers, and are not assigned behind it."""
    return ast.unparse(statement.value).startswith(("np.arange(", "np.linspace("))


def reach(names: set[str], pairs: list[tuple[str, set[str]]], forward: bool) -> set[str]:
    """Return the names that some names reach, or are reached from."""
    found, before = set(names), -1
    while len(found) != before:
        before = len(found)
        for target, given in pairs:
            if forward and given & found:
                found.add(target)
            elif not forward and target in found:
                found |= given
    return found


def written(statements: list[Statement]) -> set[str]:
    """Return the arrays whose elements change in some statements."""
    found: set[str] = set()
    for statement in walk(statements):
        if isinstance(statement, (Store, New)):
            found.add(statement.array)
        elif isinstance(statement, Swap):
            found |= {statement.one, statement.other}
    return found


def find_frozen(flat: Flat) -> set[str]:
    """Return the numbers that are the same whenever they are assigned: of shapes and arguments that stay."""
    assigned: dict[str, list[ast.expr | None]] = {}
    for statement in walk(flat.body):
        if isinstance(statement, Set):
            assigned.setdefault(statement.name, []).append(statement.value)
        elif isinstance(statement, For):
            assigned.setdefault(statement.name, []).append(None)
    moving = {part for statement in walk(flat.body) if isinstance(statement, Swap)
              for part in (statement.one, statement.other)}  # fmt: skip
    fixed = (set(flat.parameters) | set(flat.constants)) - set(assigned) - moving | {"np", "bound", "same", "span"}
    before = -1
    while len(fixed) != before:
        before = len(fixed)
        for statement in walk(flat.body):
            if isinstance(statement, New) and statement.array not in moving and is_fixed(statement.value, fixed):
                fixed.add(statement.array)  # its shape is
        for key, values in assigned.items():
            if len(values) == 1 and values[0] is not None and is_fixed(values[0], fixed):
                fixed.add(key)
    return fixed


def is_fixed(node: ast.expr, fixed: set[str]) -> bool:
    """Whether an expression reads nothing but fixed names, and no elements of arrays."""
    loads = any(
        isinstance(part, ast.Subscript) and not (isinstance(part.value, ast.Attribute) and part.value.attr == "shape")
        for part in ast.walk(node)
    )
    return not loads and names_in(node) <= fixed
