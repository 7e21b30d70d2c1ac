"""The text of an adjoint, differentiated forward: tangents of a kernel's results, and of its cotangents.

Each assignment is preceded by that of its tangent, in the same loops and branches (Griewank and Walther, 2008,
*Evaluating Derivatives*, section 6.1; forward over reverse: section 5.2). What is kept has tangents of its own, so
both ways are differentiated alike. The tangent of the cotangents along w is the cotangent of a pullback for w, too:
both are the product of w and the second derivatives, which are symmetric.
"""

from __future__ import annotations

import ast
import math
from collections.abc import Iterable
from typing import Any

import numpy as np

from numbad.numba_api.adjoint.activity import sources
from numbad.numba_api.adjoint.blocks import SIGNS, Names, op_with, partials_of
from numbad.numba_api.adjoint.reading import op_of
from numbad.numba_api.adjoint.tree import NotAdjoint
from numbad.ops.definition import BY_NAME, Op, absences
from numbad.ops.texts import unit_partials

STACK = "reals"
NONE = ("inside", "trips", "bound", "same", "span", "bool", "int", "len", "range", "absent")
CASTS = ("float", "np.float64", "np.float32")


def tangent_text(lines: list[str], varied: set[str], arrays: set[str], careful: bool) -> list[str]:
    """Return the lines of the tangents of a way forward and a way back; `varied` are arguments of the first."""
    ahead, back = ast.parse("\n".join(lines)).body
    assert isinstance(ahead, ast.FunctionDef) and isinstance(back, ast.FunctionDef)
    taken = {part.id for part in ast.walk(ast.Module([ahead, back], [])) if isinstance(part, ast.Name)}
    taken |= {part.arg for function in (ahead, back) for part in function.args.args}
    names = Names(taken, careful)
    first = Tangent(ahead, varied | {STACK}, arrays, names)
    state = [part.id for part in first.returned[1]]
    given = [part.arg for part in back.args.args]
    moving = {given[k] for k, name in enumerate(state) if name in first.varied}
    second = Tangent(back, moving | {STACK} | set(given[len(state) : -2]), arrays, names)
    return [*first.text(), *second.text()]


class Tangent:
    """Differentiates one function.

    Attributes
    ----------
    begun : set
        The arguments that have tangents.
    varied : set
        All names that have.
    returned : list
        What the function returns, by the tuples of its return statement.
    """

    def __init__(self, function: ast.FunctionDef, varied: set[str], arrays: set[str], names: Names) -> None:
        self.function, self.arrays, self.names = function, arrays, names
        last = function.body[-1]
        assert isinstance(last, ast.Return) and isinstance(last.value, ast.Tuple)
        parts = last.value.elts
        self.is_ahead = isinstance(parts[0], ast.Tuple)
        self.returned: list[list[Any]] = [part.elts for part in parts[:2]] if self.is_ahead else [parts]  # type: ignore[attr-defined]
        self.begun, self.varied = varied, self.find_varied(varied)
        self.lines: list[tuple[int, str]] = []
        self.depth = 1

    def find_varied(self, varied: set[str]) -> set[str]:
        """Return the names that depend on others."""
        pairs: list[tuple[str, set[str]]] = []
        for node in ast.walk(self.function):
            if isinstance(node, (ast.Assign, ast.AugAssign)):
                for target in node.targets if isinstance(node, ast.Assign) else [node.target]:
                    pairs += flows(target, node.value)
            elif isinstance(node, ast.Call) and ast.unparse(node.func) == "add_to":
                pairs.append((base_of(node.args[0]), sources(node.args[1])))
        found, before = set(varied), -1
        while before != len(found):
            before = len(found)
            found |= {target for target, given in pairs if given & found}
        return found

    def dot(self, name: str) -> str:
        """Return the name of a tangent."""
        return self.names.bar(f"{name}_dot")

    def write(self, text: str) -> None:
        """Write a line."""
        self.lines.append((self.depth, text))

    def text(self) -> list[str]:
        """Return the lines of the function."""
        given = [part.arg for part in self.function.args.args]
        dots = [self.dot(name) for name in given if name in self.begun]
        for name in given:
            if name in self.varied - self.begun:
                self.write(f"{self.dot(name)} = {f'bars_like({name})' if name in self.arrays else 'ABSENT'}")
        self.body(self.function.body[:-1])
        found = [f"({listed(map(ast.unparse, part))})" for part in self.returned]
        found += [f"({listed(self.slopes(part))})" for part in self.returned[:1]]
        if self.is_ahead:
            found.append(f"({listed(self.dot(part.id) for part in self.returned[1] if part.id in self.varied)})")
            found += [STACK, self.dot(STACK), "wholes"]
        self.write(f"return {', '.join(found)}")
        head = f"def {self.function.name}({', '.join([*given, *dots])}):"
        return [head, *("    " * depth + line for depth, line in self.lines)]

    def slopes(self, nodes: list[Any]) -> list[str]:
        """Return the tangents of what is returned."""
        found = []
        for node in nodes:
            if isinstance(node, ast.Name) and node.id in self.varied:
                found.append(self.dot(node.id))
            else:  # a result that does not vary, or a cotangent that is absent everywhere
                text = ast.unparse(node)
                found.append(
                    text if isinstance(node, ast.Call) else f"bars_like({text})" if text in self.arrays else "ABSENT"
                )
        return found

    # ------------------------------------------------------------ statements

    def body(self, nodes: list[ast.stmt]) -> None:
        """Write some statements."""
        for node in nodes:
            if isinstance(node, ast.Assign):
                self.assign(node)
            elif isinstance(node, ast.AugAssign):
                self.add(node)
            elif isinstance(node, ast.Expr):
                self.called(node)
            elif isinstance(node, (ast.For, ast.While, ast.If)):
                self.write(ast.unparse(node).splitlines()[0])
                self.deeper(node.body)
                if node.orelse:
                    self.write("else:")
                    self.deeper(node.orelse)
            else:
                self.write(ast.unparse(node))

    def deeper(self, nodes: list[ast.stmt]) -> None:
        """Write what is inside of a statement."""
        self.depth += 1
        self.body(nodes)
        self.depth -= 1

    def assign(self, node: ast.Assign) -> None:
        """Write an assignment, and that of the tangent before it."""
        target, value = node.targets[0], node.value
        if isinstance(target, ast.Tuple):
            assert isinstance(value, ast.Tuple)
            if base_of(target.elts[0]) in self.varied:
                pairs = [", ".join(self.dot(base_of(part)) for part in some) for some in (target.elts, value.elts)]
                self.write(f"{pairs[0]} = {pairs[1]}")
            self.write(ast.unparse(node))
            return
        name = base_of(target)
        if len(node.targets) > 1 or name not in self.varied:
            self.write(ast.unparse(node))
            return
        if isinstance(target, ast.Name) and is_made(value):
            self.write(ast.unparse(node))
            self.write(f"{self.dot(name)} = bars_like({name})")
            return
        if isinstance(target, ast.Name) and (whole := self.whole(value)):
            self.write(f"{self.dot(name)} = {whole}")
            self.write(ast.unparse(node))
            return
        text, slope = self.differentiate(value)
        place = self.dot(name) + ast.unparse(target)[len(name) :]
        self.write(f"{place} = {slope or 'ABSENT'}")
        self.write(f"{ast.unparse(target)} = {text}")

    def whole(self, value: ast.expr) -> str:
        """Return the tangent of an array that is copied; "" for others."""
        if not isinstance(value, ast.Call):
            return ""
        if isinstance(value.func, ast.Attribute) and value.func.attr == "copy":
            source = base_of(value.func.value)
            if source not in self.varied:
                return f"bars_like({ast.unparse(value.func.value)})"
            return self.dot(source) + ast.unparse(value)[len(source) :]
        return ""

    def add(self, node: ast.AugAssign) -> None:
        """Write what is added to a number or an element."""
        name = base_of(node.target)
        if name in self.varied:
            text, slope = self.differentiate(node.value)
            if slope:
                place = self.dot(name) + ast.unparse(node.target)[len(name) :]
                self.write(f"{place} {SIGNS[type(node.op)]}= {slope}")
            self.write(f"{ast.unparse(node.target)} {SIGNS[type(node.op)]}= {text}")
        else:
            self.write(ast.unparse(node))

    def called(self, node: ast.Expr) -> None:
        """Write a call that gives nothing."""
        call = node.value
        assert isinstance(call, ast.Call)
        if ast.unparse(call.func) in ("add_to", "clear") and base_of(call.args[0]) in self.varied:
            parts = []
            for part in call.args:
                name = base_of(part)
                parts.append(self.dot(name) + ast.unparse(part)[len(name) :] if name in self.varied else "")
            if all(parts):
                self.write(f"{ast.unparse(call.func)}({', '.join(parts)})")
        self.write(ast.unparse(node))

    # ------------------------------------------------------------ expressions

    def differentiate(self, node: ast.expr) -> tuple[str, str]:
        """Return the text of a number and that of its tangent, which is "" where there is none."""
        if not sources(node) & self.varied:
            return ast.unparse(node), ""
        if isinstance(node, ast.Name):
            return node.id, self.dot(node.id)
        if isinstance(node, ast.Subscript):
            name, text = base_of(node), ast.unparse(node)
            return text, self.dot(name) + text[len(name) :]
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, (ast.USub, ast.UAdd)):
            return self.apply(ast.UnaryOp(node.op, node.operand), BY_NAME["negative"], [node.operand])
        if isinstance(node, ast.IfExp):
            one, other = self.differentiate(node.body), self.differentiate(node.orelse)
            test = ast.unparse(node.test)
            values, slopes = ((a or "ABSENT", b or "ABSENT") for a, b in zip(one, other, strict=True))
            return f"({values[0]} if {test} else {values[1]})", f"({slopes[0]} if {test} else {slopes[1]})"
        if isinstance(node, ast.BinOp):
            return self.binary(node)
        if isinstance(node, ast.Call):
            return self.function_of(node)
        return ast.unparse(node), ""

    def binary(self, node: ast.BinOp) -> tuple[str, str]:
        """Differentiate an operation of two numbers."""
        moves = [bool(sources(part) & self.varied) for part in (node.left, node.right)]
        op = op_with(SIGNS[type(node.op)], 2)
        if isinstance(node.op, ast.Pow) and not moves[1]:
            op = BY_NAME["power_by_constant"]
        return self.apply(node, op, [node.left, node.right])

    def function_of(self, node: ast.Call) -> tuple[str, str]:
        """Differentiate a call of a function."""
        own = ast.unparse(node.func)
        if own in NONE:
            return ast.unparse(node), ""
        if own in CASTS:
            text, slope = self.differentiate(node.args[0])
            return f"{own}({text})", slope
        if own in ("weigh", "gate"):
            return self.apply(node, BY_NAME["multiply"], node.args)
        if own == "opposite":
            return self.apply(node, BY_NAME["negative"], node.args)
        module, _, key = own.rpartition(".")
        op = BY_NAME["absolute"] if own == "abs" else op_of(getattr({"np": np, "math": math}.get(module), key, None))
        return self.apply(node, op, node.args)

    def apply(self, node: ast.expr, op: Op | None, operands: list[ast.expr]) -> tuple[str, str]:
        """Differentiate an op by the rule in its own block; operands and result get names."""
        if op is None:
            raise NotAdjoint(f"the tangent of {ast.unparse(node)}")
        pairs = [self.differentiate(part) for part in operands]
        texts = [self.named(text) for text, _ in pairs]
        if isinstance(node, ast.BinOp):
            value = f"{texts[0]} {SIGNS[type(node.op)]} {texts[1]}"
        elif isinstance(node, ast.UnaryOp):
            if isinstance(node.op, ast.UAdd):
                return texts[0], pairs[0][1]
            value = f"-{texts[0]}"
        else:
            assert isinstance(node, ast.Call)
            value = f"{ast.unparse(node.func)}({', '.join(texts)})"
        if not op.smooth:
            return f"({value})", ""
        result = self.named(value)
        lines, partials = partials_of(op, texts, result, self.names)
        for line in lines:
            self.write(line)
        found = [
            self.weighed(partial, unit, slope)
            for (_, slope), partial, unit, _ in zip(pairs, partials, unit_partials(op), absences(op), strict=False)
            if slope
        ]
        return result, " + ".join(found)

    def weighed(self, partial: str, unit: Any, slope: str) -> str:
        """Return the product of a partial derivative and a tangent."""
        if unit == 1:
            return f"({slope})"
        if self.names.careful:
            return f"opposite({slope})" if unit == -1 else f"gate({partial}, {slope})"
        return f"(-({slope}))" if unit == -1 else f"({partial}) * ({slope})"

    def named(self, text: str) -> str:
        """Return a name or a number of the value of an expression."""
        if text.isidentifier() or text.strip("(-)").replace(".", "", 1).isdigit():
            return text
        found = self.names.fresh("q_")
        self.write(f"{found} = {text}")
        return found


def listed(names: Iterable[str]) -> str:
    """Return the text of what a tuple holds."""
    return "".join(name + ", " for name in names)


def base_of(node: ast.expr) -> str:
    """Return the name of a number, or of the array that an expression is a part of; "" for others."""
    while isinstance(node, ast.Subscript):
        node = node.value
    return node.id if isinstance(node, ast.Name) else ""


def is_made(value: ast.expr) -> bool:
    """Whether an expression makes an array."""
    if not isinstance(value, ast.Call):
        return False
    text = ast.unparse(value.func)
    return text in (
        "bars_like",
        *(f"np.{name}" for name in ("zeros", "empty", "ones", "full", "array", "arange", "linspace")),
    )


def flows(target: ast.expr, value: ast.expr) -> list[tuple[str, set[str]]]:
    """Return what flows where in an assignment."""
    if isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple):
        return [(base_of(one), sources(other)) for one, other in zip(target.elts, value.elts, strict=True)]
    if isinstance(value, ast.Call):
        text = ast.unparse(value.func)
        if text == "bars_like" or text in NONE or (is_made(value)):
            return []
        if isinstance(value.func, ast.Attribute) and value.func.attr == "copy":
            return [(base_of(target), {base_of(value.func.value)})]
    return [(base_of(target), sources(value))]
