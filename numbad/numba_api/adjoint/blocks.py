"""Statements without loops, taken apart into single operations on names that are assigned once, and taken back.

The way back of a block computes its operations once more, as far as they are needed, from what the block began with,
and then goes through them in reverse. So only numbers are kept that come into a block and are overwritten before the
way back: of scalars those of which the block or an earlier one makes use, of arrays the elements that it reads ("To be
recorded analysis": Hascoët, Naumann and Pascual, 2005).
"""

from __future__ import annotations

import ast
import functools
import math
import re
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from numbad.numba_api.adjoint.activity import Facts, element, written
from numbad.numba_api.adjoint.reading import op_of
from numbad.numba_api.adjoint.tree import If, NotAdjoint, Set, Statement, Store
from numbad.ops.definition import ABSENT, BY_NAME, REGISTRY, Op, absences, body
from numbad.ops.texts import unit_partials

Text = list[tuple[int, str]]
WORD = re.compile(r"[A-Za-z_]\w*")
SIGNS = {
    ast.Add: "+", ast.Sub: "-", ast.Mult: "*", ast.Div: "/", ast.FloorDiv: "//", ast.Mod: "%", ast.Pow: "**",
    ast.LShift: "<<", ast.RShift: ">>", ast.BitAnd: "&", ast.BitOr: "|", ast.BitXor: "^",
    ast.Lt: "<", ast.LtE: "<=", ast.Gt: ">", ast.GtE: ">=", ast.Eq: "==", ast.NotEq: "!=",
}  # fmt: skip


@dataclass
class Operand:
    """A name or a number, and whether a derivative flows through it."""

    text: str
    active: bool = False


@dataclass
class Line:
    """One operation.

    Attributes
    ----------
    form : str
        "op", "load", "store" or "if".
    target : str
        The name that gets the result.
    text : str
        What is computed.
    slot : int
        The place of its value among what is kept, if it is.
    proved : bool
        Whether a loop around it has looked at its indices.
    meetings : list
        Of a branch: (name, name in the first part, name in the second, whether it is active).
    """

    form: str
    target: str = ""
    text: str = ""
    op: Op | None = None
    operands: list[Operand] = field(default_factory=list)
    active: bool = False
    kind: str = ""
    array: str = ""
    index: list[str] = field(default_factory=list)
    slot: int = -1
    proved: bool = False
    body: list[Line] = field(default_factory=list)
    orelse: list[Line] = field(default_factory=list)
    meetings: list[tuple[str, str, str, bool]] = field(default_factory=list)


class Names:
    """The names of an adjoint.

    Attributes
    ----------
    careful : bool
        Whether what is absent is told from what is zero.
    """

    def __init__(self, taken: set[str], careful: bool) -> None:
        self.taken = set(taken)
        self.careful = careful
        self.bars: dict[str, str] = {}

    def fresh(self, wish: str) -> str:
        """Return a name that nothing has yet."""
        found, k = wish, 0
        while found in self.taken:
            k += 1
            found = f"{wish}{k}" if wish.endswith("_") else f"{wish}_{k}"
        self.taken.add(found)
        return found

    def bar(self, name: str) -> str:
        """Return the name of the cotangent of a number, or of the cotangents of an array."""
        if name not in self.bars:
            self.bars[name] = self.fresh(f"{name}_bar")
        return self.bars[name]


def words(text: str) -> set[str]:
    """Return the names in a text."""
    return set(WORD.findall(text))


@functools.cache
def op_with(sign: str, arity: int) -> Op | None:
    """Return the op that Python writes with a sign: the first, which is that of two variables."""
    return next((op for op in REGISTRY if op.symbol == sign and op.arity == arity), None)


class Block:
    """Statements without loops.

    Attributes
    ----------
    lines : list of Line
    final : dict
        The last name of each number that is assigned.
    needed : set
        Names of numbers from before the block that its way back reads.
    back : list
        The text of the way back, without the operations that are computed once more.
    kept : list
        Numbers from before the block that are kept, in the order of their slots.
    each : tuple of str
        The number of iterations of the loop around it, and which this is, where what is kept of all of them has its
        place before the loop begins; then numbers of one kind follow one another.
    """

    def __init__(
        self, statements: list[Statement], facts: Facts, names: Names, changing: set[str], outside: set[str]
    ) -> None:
        self.facts, self.names, self.changing = facts, names, changing
        self.env: dict[str, str] = {}
        self.computed: dict[str, Operand] = {}  # what has been computed already, by its text
        self.exposed: set[str] = set()  # names that are read before they are assigned
        self.lines = self.sequence(statements)
        self.final = {key: last for key, last in self.env.items() if key in outside or key in self.exposed}
        self.read = self.find_read()
        self.prune(self.lines, {last for key, last in self.final.items() if key in facts.active})
        self.kept: list[str] = []
        self.each: tuple[str, str] | None = None
        self.loads: list[Line] = []
        self.back = self.way_back()
        self.wanted = self.find_needed()
        defined = targets(self.lines)
        self.needed = {name for name in self.wanted - defined if name in facts.kinds and name not in facts.axes}

    # ------------------------------------------------------------ taking apart

    def sequence(self, statements: list[Statement]) -> list[Line]:
        """Take statements apart."""
        lines: list[Line] = []
        for statement in statements:
            if isinstance(statement, Set):
                self.assign(statement, lines)
            elif isinstance(statement, Store):
                index = [self.flatten(part, lines).text for part in statement.index]
                value = self.flatten(statement.value, lines)
                lines.append(Line("store", operands=[value], array=statement.array, index=index))
                self.forget({statement.array})
            elif isinstance(statement, If):
                self.branch(statement, lines)
            else:
                raise AssertionError("a block has no loops")
        return lines

    def assign(self, statement: Set, lines: list[Line]) -> None:
        """Take the assignment to a number apart."""
        value = self.flatten(statement.value, lines)
        key = statement.name
        active = key in self.facts.active
        last = lines[-1] if lines else None
        if last is not None and last.target == value.text and last.form in ("op", "load") and last.active is active:
            self.env[key] = value.text  # nobody else knows it
            return
        target = self.names.fresh(key + "_")
        lines.append(Line("op", target, value.text, BY_NAME["identity"], [value], active, self.facts.kinds[key]))
        self.env[key] = target

    def branch(self, statement: If, lines: list[Line]) -> None:
        """Take a branch apart."""
        test = self.known(statement.test)
        before = dict(self.env)
        computed = dict(self.computed)
        one = self.sequence(statement.body)
        first, self.env, self.computed = self.env, dict(before), dict(computed)
        other = self.sequence(statement.orelse)
        second, self.env, self.computed = self.env, dict(before), computed
        self.forget(written([statement]))
        line = Line("if", text=test, body=one, orelse=other)
        for key in sorted({*first, *second}):
            left, right = first.get(key, key), second.get(key, key)
            if left != right:
                self.exposed |= {key} & {left, right}
                target = self.names.fresh(key + "_")
                line.meetings.append((target, left, right, key in self.facts.active))
                self.env[key] = target
        lines.append(line)

    def forget(self, arrays: set[str]) -> None:
        """Forget what has been read of arrays that are written to."""
        for text in [text for text in self.computed if text.partition("[")[0] in arrays]:
            del self.computed[text]

    def known(self, key: str) -> str:
        """Return the name that a number has now."""
        if key not in self.env:
            self.exposed.add(key)
        return self.env.get(key, key)

    def add(self, lines: list[Line], text: str, op: Op | None, operands: list[Operand]) -> Operand:
        """Add an operation; return its result."""
        active = op is not None and op.smooth and any(part.active for part in operands)
        known = self.computed.get(text)
        if known is not None and known.active is active:
            return known
        target = self.names.fresh("v_")
        lines.append(Line("op", target, text, op if active else None, operands, active))
        self.computed[text] = Operand(target, active)
        return self.computed[text]

    def flatten(self, node: ast.expr, lines: list[Line]) -> Operand:
        """Take an expression apart."""
        if isinstance(node, ast.Name):
            return Operand(self.known(node.id), node.id in self.facts.active)
        if isinstance(node, ast.Constant):
            return Operand(repr(node.value))
        if isinstance(node, ast.Attribute) or is_length(node):
            return self.add(lines, ast.unparse(node), None, [])
        if isinstance(node, ast.Subscript):
            return self.load(node, lines)
        if isinstance(node, ast.BinOp):
            return self.binary(node, lines)
        if isinstance(node, ast.UnaryOp):
            return self.unary(node, lines)
        if isinstance(node, ast.Compare):
            parts = [self.flatten(part, lines) for part in (node.left, *node.comparators)]
            text = parts[0].text
            for sign, part in zip(node.ops, parts[1:], strict=True):
                text += f" {SIGNS[type(sign)]} {part.text}"
            return self.add(lines, text, None, [Operand(part.text) for part in parts])
        if isinstance(node, ast.Call):
            return self.called(node, lines)
        raise NotAdjoint(f"an expression of the kind {type(node).__name__}")

    def load(self, node: ast.Subscript, lines: list[Line]) -> Operand:
        """Take the reading of an element apart."""
        assert isinstance(node.value, ast.Name)
        array = node.value.id
        parts = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
        index = [self.flatten(part, lines).text for part in parts]
        active = array in self.facts.active
        text = element(array, index)
        if text in self.computed:
            return self.computed[text]
        target = self.names.fresh(array + "_")
        lines.append(Line("load", target, text, None, [], active, self.facts.kinds[array], array, index))
        self.computed[text] = Operand(target, active)
        return self.computed[text]

    def binary(self, node: ast.BinOp, lines: list[Line]) -> Operand:
        """Take an operation of two operands apart."""
        x, y = self.flatten(node.left, lines), self.flatten(node.right, lines)
        sign = SIGNS[type(node.op)]
        op = op_with(sign, 2)
        if sign == "**" and not y.active:
            op = BY_NAME["power_by_constant"]
        if self.names.careful and sign == "*" and not (x.active and y.active):
            op = BY_NAME["multiply_by_constant"]
            return self.add(lines, f"{x.text} * {y.text}", op, [x, y] if x.active else [y, x])
        if (x.active or y.active) and op is None:
            raise NotAdjoint(f"the operator {sign}")
        return self.add(lines, f"{guarded(x.text)} {sign} {guarded(y.text)}", op, [x, y])

    def unary(self, node: ast.UnaryOp, lines: list[Line]) -> Operand:
        """Take an operation of one operand apart."""
        x = self.flatten(node.operand, lines)
        if isinstance(node.op, ast.USub):
            if isinstance(node.operand, ast.Constant):
                return Operand(f"(-{x.text})")
            return self.add(lines, f"-{x.text}", BY_NAME["negative"], [x])
        if isinstance(node.op, ast.UAdd):
            return x
        return self.add(lines, f"{'not ' if isinstance(node.op, ast.Not) else '~'}{x.text}", None, [x])

    def called(self, node: ast.Call, lines: list[Line]) -> Operand:
        """Take a call of a function of numbers apart."""
        parts = [self.flatten(part, lines) for part in node.args]
        own = ast.unparse(node.func)
        text = f"{own}({', '.join(part.text for part in parts)})"
        if own in ("bool", "int", "np.int64", "np.int32") or not any(part.active for part in parts):
            return self.add(lines, text, None, parts)
        if own in ("float", "np.float64", "np.float32"):
            return self.add(lines, text, BY_NAME["identity"], parts)
        function = (
            abs if own == "abs" else getattr({"np": np, "math": math}[own.partition(".")[0]], own.partition(".")[2])
        )
        op = BY_NAME["absolute"] if function is abs else op_of(function)
        if op is None:
            raise NotAdjoint(f"the function {own}")
        return self.add(lines, text, op, parts)

    # ------------------------------------------------------------ the way back

    def way_back(self) -> Text:
        """Return the text that takes cotangents from what the block assigns to what it reads."""
        first: Text = []
        for key, target in sorted(self.final.items()):
            if key in self.facts.active:
                first += [(0, f"{self.names.bar(target)} += {self.names.bar(key)}")]
                first += [(0, f"{self.names.bar(key)} = ABSENT")]
        return self.back_through(self.lines, first)

    def back_through(self, lines: list[Line], first: Text) -> Text:
        """Return the text that takes cotangents back through some lines."""
        text: Text = []
        for line in lines:
            if line.active:
                text.append((0, f"{self.names.bar(line.target)} = ABSENT"))
            text += [(0, f"{self.names.bar(part[0])} = ABSENT") for part in self.met(line)]
        inner: Text = []
        for line in reversed(lines):
            inner += self.back_of(line)
        return shortened([*text, *first, *inner]) if inner or first else []

    def met(self, line: Line) -> list[tuple[str, str, str, bool]]:
        """Return the names that a branch gives a value to, and through which derivatives flow."""
        return [part for part in line.meetings if part[3] and part[0] in self.read]

    def back_of(self, line: Line) -> Text:
        """Return the text that takes the cotangent of one line back."""
        bar = self.names.bar
        if line.form == "if":
            one = [(0, f"{bar(left)} += {bar(target)}") for target, left, _, _ in self.met(line)]
            other = [(0, f"{bar(right)} += {bar(target)}") for target, _, right, _ in self.met(line)]
            return branch_text(line.text, self.back_through(line.body, one), self.back_through(line.orelse, other))
        if line.form == "store":
            if line.array not in self.facts.active:
                return []
            place = element(bar(line.array), line.index)
            found: Text = [(0, f"{bar(line.operands[0].text)} += {place}")] if line.operands[0].active else []
            return [*found, (0, f"{place} = ABSENT")]
        if not line.active:
            return []
        if line.form == "load":
            return [(0, f"{element(bar(line.array), line.index)} += {bar(line.target)}")]
        assert line.op is not None
        return self.back_of_op(line, line.op)

    def back_of_op(self, line: Line, op: Op) -> Text:
        """Return the text that takes the cotangent of an operation back, by the rule in the op's own block."""
        bar, text = self.names.bar, Text()
        operands = [part.text for part in line.operands]
        units = unit_partials(op)
        lines, partials = partials_of(op, operands, line.target, self.names)
        text += [(0, part) for part in lines]
        for operand, partial, unit, may in zip(line.operands, partials, units, absences(op), strict=False):
            if not operand.active:
                continue
            to, given = bar(operand.text), bar(line.target)
            if unit == 1:
                text.append((0, f"{to} += {given}"))
            elif unit == -1:
                text.append((0, f"{to} += opposite({given})" if self.names.careful else f"{to} -= {given}"))
            elif self.names.careful:
                text.append((0, f"{to} += {'gate' if may else 'weigh'}({partial}, {given})"))
            else:
                text.append((0, f"{to} += {guarded(partial)} * {given}"))
        return text

    # ------------------------------------------------------------ what is needed

    def prune(self, lines: list[Line], useful: set[str]) -> None:
        """Take operations for inactive on which nothing useful depends, such as those of conditions."""
        for line in reversed(lines):
            if line.form == "if":
                line.meetings = [(*part[:3], part[3] and part[0] in useful) for part in line.meetings]
                useful.update(*(part[1:3] for part in line.meetings if part[3]))
                self.prune(line.orelse, useful)
                self.prune(line.body, useful)
            elif line.form == "store":
                useful |= {part.text for part in line.operands if part.active and line.array in self.facts.active}
            elif line.active and line.target in useful:
                useful |= {part.text for part in line.operands if part.active}
            else:
                line.active = False

    def find_read(self) -> set[str]:
        """Return the names that the block itself reads, or leaves to others."""
        found = set(self.final.values())

        def look(lines: list[Line]) -> None:
            for line in reversed(lines):
                found.update(words(line.text), *map(words, line.index), *(words(part.text) for part in line.operands))
                for target, left, right, _ in line.meetings:
                    if target in found:
                        found.update((left, right))
                look(line.body)
                look(line.orelse)

        look(self.lines)
        return found

    def find_needed(self) -> set[str]:
        """Return the names that the way back reads; note which elements of arrays are kept for it."""
        needed: set[str] = set()
        for _, text in self.back:
            needed |= words(text)
        self.need(self.lines, needed)
        return needed

    def need(self, lines: list[Line], needed: set[str]) -> None:
        """Add the names that what is needed is computed from, from the last line to the first."""
        for line in reversed(lines):
            if line.form == "if":
                met = [part for part in line.meetings if part[0] in needed]
                for _, left, right, _ in met:
                    needed |= words(left) | words(right)
                self.need(line.body, needed)
                self.need(line.orelse, needed)
                if met or targets(line.body + line.orelse) & needed:
                    needed |= words(line.text)
            elif line.form == "load" and line.target in needed:
                if line.array in self.changing:
                    self.loads.append(line)
                else:
                    needed.update(*map(words, line.index))
            elif line.form == "op" and line.target in needed:
                needed |= words(line.text)

    def keep(self, names: list[str]) -> tuple[int, int]:
        """Say which numbers from before the block are kept; return how many real and whole numbers that makes."""
        self.kept = names
        counts = [0, 0]
        for name in names:
            counts[not self.facts.kinds[name].startswith("f")] += 1
        for line in reversed(self.loads):
            place = not line.kind.startswith("f")
            line.slot = counts[place]
            counts[place] += 1
        return counts[0], counts[1]

    # ------------------------------------------------------------ text

    def forward(self) -> Text:
        """Return the text that computes the block."""
        found = self.computing(self.lines, None)
        return found + [(0, f"{key} = {target}") for key, target in sorted(self.final.items())]

    def again(self) -> Text:
        """Return the text that computes once more what the way back needs."""
        return self.computing(self.lines, self.wanted)

    def computing(self, lines: list[Line], wanted: set[str] | None) -> Text:
        """Return the text of some lines: of all, or of those that are wanted."""
        text: Text = []
        for line in lines:
            if line.form == "if":
                text += self.computing_branch(line, wanted)
                continue
            if wanted is None and line.form != "op" and not line.proved:
                text += [(0, check) for check in checks(line.array, line.index, line.index)]
            if line.form == "store":
                if wanted is None:
                    text.append((0, f"{element(line.array, line.index)} = {line.operands[0].text}"))
            elif wanted is None:
                text.append((0, f"{line.target} = {line.text}"))
                if line.slot >= 0:
                    text.append((0, f"{self.slot(line)} = {line.target}"))
            elif line.target in wanted:
                value = restored(self.slot(line), line.kind) if line.slot >= 0 else line.text
                text.append((0, f"{line.target} = {value}"))
        return text

    def slot(self, line: Line) -> str:
        """Return the place where the value of a line is kept."""
        return self.place(line.kind, line.slot)

    def place(self, kind: str, number: int) -> str:
        """Return the place of a number of a kind that is kept."""
        stack = "reals[real" if kind.startswith("f") else "wholes[whole"
        if self.each is None:
            return f"{stack} + np.uint64({number})]"
        turns, turn = self.each
        first = {0: "", 1: f"{turns} + "}.get(number, f"np.uint64({number}) * {turns} + ")
        return f"{stack} + ({first}{turn})]"

    def prove(self, variable: str, first: str, last: str, changing: set[str], shapes: set[str]) -> list[str]:
        """Return texts that look at indices for all iterations of the loop around the block, and mark their lines.

        Such indices are linear in the loop's variable, so the ends of its range are those of theirs ("Optimization of
        range checking": Markstein, Cocke and Markstein, 1982).
        """
        known = {line.target: line for line in self.lines if line.form == "op"}
        found: dict[str, None] = {}
        for line in self.lines:
            if line.form not in ("load", "store") or line.array in shapes:
                continue
            ends = [[self.linear(part, variable, end, known, changing) for part in line.index] for end in (first, last)]
            if all(part is not None and not words(part) & shapes for some in ends for part in some):
                line.proved = True
                found.update(dict.fromkeys(checks(line.array, *ends)))
        return list(found)

    def linear(self, text: str, variable: str, end: str, known: dict[str, Line], changing: set[str]) -> str | None:
        """Return an index at an end of a loop's range; None where it is not linear, or something changes it."""
        if text == variable:
            return f"({end})"
        if WORD.fullmatch(text):
            if text in known:
                return self.linear(known[text].text, variable, end, known, changing)
            return text if text in self.facts.kinds and text not in changing else None
        tree = ast.parse(text, mode="eval").body
        if isinstance(tree, ast.Constant):
            return text
        if isinstance(tree, (ast.Attribute, ast.Subscript)):
            return text if isinstance(tree, ast.Attribute) or is_length(tree) else None
        if isinstance(tree, ast.UnaryOp) and isinstance(tree.op, ast.USub):
            inner = self.linear(ast.unparse(tree.operand), variable, end, known, changing)
            return None if inner is None else f"(-{inner})"
        if not isinstance(tree, ast.BinOp) or not isinstance(tree.op, (ast.Add, ast.Sub, ast.Mult)):
            return None
        parts = [self.linear(ast.unparse(part), variable, end, known, changing) for part in (tree.left, tree.right)]
        if None in parts:
            return None
        if isinstance(tree.op, ast.Mult) and all(f"({end})" in str(part) for part in parts):
            return None
        return f"({parts[0]} {SIGNS[type(tree.op)]} {parts[1]})"

    def computing_branch(self, line: Line, wanted: set[str] | None) -> Text:
        """Return the text of a branch."""
        met = [part for part in line.meetings if part[0] in (self.read if wanted is None else wanted)]
        one = self.computing(line.body, wanted) + [(0, f"{target} = {left}") for target, left, _, _ in met]
        other = self.computing(line.orelse, wanted) + [(0, f"{target} = {right}") for target, _, right, _ in met]
        return branch_text(line.text, one, other)


def checks(array: str, first: list[Any], last: list[Any]) -> list[str]:
    """Return texts that raise an IndexError where an index lies outside of an array."""
    return [
        f"inside({one}, {other}, {array}.shape[{k}])" for k, (one, other) in enumerate(zip(first, last, strict=True))
    ]


def restored(place: str, kind: str) -> str:
    """Return the text of a number of a kind that has been kept."""
    if kind in ("f8", "i64"):
        return place
    if kind == "b":
        return f"{place} != 0"
    return f"{dtype_of(kind)}({place})"


def dtype_of(kind: str) -> str:
    """Return the text of NumPy's name of a kind."""
    if kind == "b":
        return "np.bool_"
    if kind[0] == "f":
        return {"f8": "np.float64", "f4": "np.float32"}[kind]
    return f"np.{'int' if kind[0] == 'i' else 'uint'}{kind[1:]}"


def targets(lines: list[Line]) -> set[str]:
    """Return the names that some lines assign."""
    found: set[str] = set()
    for line in lines:
        found |= {line.target, *(part[0] for part in line.meetings)} | targets(line.body) | targets(line.orelse)
    return found - {""}


def branch_text(test: str, one: Text, other: Text) -> Text:
    """Return the text of a branch, without parts that do nothing."""
    deeper = lambda part: [(depth + 1, line) for depth, line in part]
    if not one and not other:
        return []
    if not one:
        return [(0, f"if not {test}:"), *deeper(other)]
    return [(0, f"if {test}:"), *deeper(one), *([(0, "else:"), *deeper(other)] if other else [])]


def shortened(text: Text) -> Text:
    """Return a text in which cotangents begin with what is added first, where that is certain."""
    found = list(text)
    for k, (depth, line) in enumerate(text):
        name, _, value = line.partition(" = ")
        if depth or value != "ABSENT" or not WORD.fullmatch(name):
            continue
        for j in range(k + 1, len(text)):
            if name in words(text[j][1]):
                at, (target, sign, rest) = text[j][0], text[j][1].partition(" += ")
                if not at and sign and target == name and name not in words(rest):
                    found[k], found[j] = (0, ""), (0, f"{name} = {rest}")
                break
    return [part for part in found if part[1]]


def is_length(node: ast.expr) -> bool:
    """Whether an expression is an element of a shape."""
    return isinstance(node, ast.Subscript) and isinstance(node.value, ast.Attribute)


def guarded(text: str) -> str:
    """Return a text that may stand between operators."""
    return text if WORD.fullmatch(text) or text.replace(".", "", 1).isdigit() else f"({text})"


# ---------------------------------------------------------------- the rules of ops


class Rule(ast.NodeTransformer):
    """Puts the text of an op into an adjoint: operands in the places of x, y and z, other ops by their own texts."""

    def __init__(self, function: Any, places: dict[str, ast.expr], names: Names, lines: list[str]) -> None:
        self.globals = function.__globals__
        self.places, self.names, self.lines = dict(places), names, lines

    def visit_Name(self, node: ast.Name) -> ast.expr:
        if node.id in self.places:
            return self.places[node.id]
        value = self.globals.get(node.id)
        if isinstance(value, float) and value == ABSENT and math.copysign(1.0, value) < 0.0:
            return ast.Name("ABSENT")
        if isinstance(value, (int, float)):
            return ast.parse(f"np.{value}" if not math.isfinite(value) else repr(value), mode="eval").body
        return node

    def visit_Call(self, node: ast.Call) -> ast.expr:
        arguments = [self.visit(part) for part in node.args]
        if isinstance(node.func, ast.Name):
            if node.func.id == "where":
                return ast.IfExp(*arguments)
            if node.func.id == "as_is":
                return arguments[0]
            inner = self.globals.get(node.func.id)
            if isinstance(inner, Op):
                return self.inner(inner, arguments)
        return ast.Call(node.func, arguments, [])

    def inner(self, op: Op, arguments: list[ast.expr]) -> ast.expr:
        """Return the value of another op."""
        names = []
        for part in arguments:
            if not isinstance(part, (ast.Name, ast.Constant)):
                target = self.names.fresh("p_")
                self.lines.append(f"{target} = {ast.unparse(part)}")
                part = ast.Name(target)
            names.append(part)
        found = put(op.primal, dict(zip("xy", names, strict=False)), self.names, self.lines)
        return found[0]


def put(function: Any, places: dict[str, ast.expr], names: Names, lines: list[str]) -> list[ast.expr]:
    """Return the results of an op's function with operands in their places; what it assigns before goes to lines."""
    assignments, value = body(function)
    rule = Rule(function, places, names, lines)
    for statement in assignments:
        assert isinstance(statement, ast.Assign) and isinstance(statement.targets[0], ast.Name)
        found = ast.unparse(rule.visit(copy_of(statement.value)))
        target = names.fresh("p_")
        lines.append(f"{target} = {found}")
        rule.places[statement.targets[0].id] = ast.Name(target)
    parts = value.elts if isinstance(value, ast.Tuple) else [value]
    return [rule.visit(copy_of(part)) for part in parts]


def copy_of(node: ast.expr) -> ast.expr:
    """Return a copy of a tree."""
    return ast.parse(ast.unparse(node), mode="eval").body


def partials_of(op: Op, operands: list[str], result: str, names: Names) -> tuple[list[str], list[str]]:
    """Return the partial derivatives of an op as texts, and lines that go before them."""
    if op.name == "power_by_constant" and is_number(operands[1]):
        shorter = op.cheaper_function(0, float(operands[1].strip("()"))) if op.cheaper_function else None
        if isinstance(shorter, tuple):
            op, operands = shorter[0], operands[:1]
    places = {key: ast.parse(text, mode="eval").body for key, text in zip("xy", operands, strict=False)}
    places["z"] = ast.Name(result)
    lines: list[str] = []
    found = put(op.partials_function, places, names, lines)
    return lines, [ast.unparse(part) for part in found] + ["ABSENT"] * (2 - len(found))


def is_number(text: str) -> bool:
    """Whether a text is that of a number."""
    try:
        float(text.strip("()"))
    except ValueError:
        return False
    return True
