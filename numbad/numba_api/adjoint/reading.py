"""The source of a kernel as a flat list of statements: calls put in place, jumps turned into branches.

What is not taken raises NotAdjoint with the line, and the function is recorded row by row.
"""

from __future__ import annotations

import ast
import builtins
import inspect
import math
import textwrap
from dataclasses import dataclass, field, replace
from types import FunctionType, ModuleType
from typing import Any

import numba
import numpy as np
from numba.core.dispatcher import Dispatcher

from numbad.errors import attribute
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
    While,
    parts_of,
    walk,
)
from numbad.numpy_api.mathematics import numpy_function
from numbad.ops.definition import BY_UFUNC, Op

DEEPEST = 30  # calls within calls
MOST_STATEMENTS = 4000
MISSING: Any = object()
RANGES = (range, numba.prange)
CASTS = {float: "float", int: "int", bool: "bool", np.float64: "np.float64", np.float32: "np.float32",
         np.int64: "np.int64", np.int32: "np.int32", np.intp: "np.int64"}  # fmt: skip
MAKERS = {np.zeros: "zeros", np.empty: "empty", np.ones: "ones"}
LIKES = {np.zeros_like: "zeros", np.empty_like: "empty", np.ones_like: "ones"}
DECIDING = {"isnan", "isinf", "isfinite"}
DTYPES = {np.float64: "np.float64", float: "np.float64", np.float32: "np.float32", np.int64: "np.int64",
          int: "np.int64", np.int32: "np.int32", np.bool_: "np.bool_", bool: "np.bool_"}  # fmt: skip


@dataclass
class Open:
    """An axis of a part of an array: where it starts in the whole one, and its length; None where it is all of it.

    `step` is what an index of the part counts in the whole array.
    """

    start: ast.expr | None = None
    length: ast.expr | None = None
    step: int = 1

    def at(self, index: ast.expr) -> ast.expr:
        """Return the index into the whole array for one into the part."""
        if self.step != 1:
            index = ast.BinOp(ast.Constant(self.step), ast.Mult(), index)
        return index if self.start is None else ast.BinOp(self.start, ast.Add(), index)


@dataclass
class View:
    """An array of the flat kernel, or a part of it: for each axis of the whole an index, or what is left of it.

    A list of the user's is an array, too, of which nothing is taken but elements and its length.
    """

    base: str
    axes: int
    places: list[ast.expr | Open] = field(default_factory=list)
    is_list: bool = False

    def all_places(self) -> list[ast.expr | Open]:
        """Return what there is of each axis of the whole array."""
        return self.places or [Open() for _ in range(self.axes)]

    def opened(self) -> list[tuple[int, Open]]:
        """Return the axes that are left, and their positions in the whole array."""
        return [(k, part) for k, part in enumerate(self.all_places()) if isinstance(part, Open)]


@dataclass
class Constant:
    """An argument that is a function, or another object that Numba takes for a constant."""

    value: Any


Symbol = str | View | Constant | list[Any]


@dataclass
class Loop:
    """The names of the truths that say whether an iteration goes on, and whether the loop ends."""

    go: str
    leave: str
    guarded: bool = False
    left: bool = False


@dataclass
class Call:
    """One function that is being read."""

    function: FunctionType
    outer: dict[str, Any]  # its closure
    done: str
    locals: set[str]
    symbols: dict[str, Symbol] = field(default_factory=dict)
    results: list[Symbol] | None = None
    several: bool = False
    loops: list[Loop] = field(default_factory=list)
    ends: bool = False  # whether a loop inside of it may return
    walked: list[View] = field(default_factory=list)  # arrays that are looped over


def name(text: str) -> ast.expr:
    """Return the tree of a name or of another short text."""
    return ast.parse(text, mode="eval").body


def truth(value: bool) -> ast.expr:
    """Return the tree of a truth value."""
    return ast.Constant(value)


def op_of(function: Any) -> Op | None:
    """Return the op that a function of math or NumPy is; None for others."""
    text = attribute(function, "__name__")
    if not isinstance(text, str):
        return None
    if isinstance(function, np.ufunc):
        found = BY_UFUNC.get(text)
        return found if found is not None and getattr(np, text, None) is function else None
    if getattr(math, text, None) is not function:
        return None
    if text in ("log", "floor", "ceil", "trunc", "hypot", "radians", "degrees"):
        return BY_UFUNC.get({"radians": "deg2rad", "degrees": "rad2deg"}.get(text, text))
    try:
        return BY_UFUNC.get(numpy_function(text).__name__)
    except (AttributeError, KeyError):
        return None


class Reader:
    """Reads one kernel.

    Attributes
    ----------
    out : list
        Where statements go that are read.
    taken : set
        Names that are in use.
    """

    def __init__(self) -> None:
        self.out: list[Statement] = []
        self.taken: set[str] = {"np", "math", "numba", "bound", "same", "span", *dir(builtins)}
        self.calls: list[Call] = []
        self.constants: dict[str, Any] = {}
        self.parameters: set[str] = set()
        self.functions: list[FunctionType] = []
        self.names_of: dict[str, int] = {}  # how many names arrays have been given
        self.renewed: set[str] = set()  # arrays whose elements are assigned in the place of another array
        self.count = 0
        self.line = 0
        self.loose = False  # whether sums are in another order than Numba's

    # ------------------------------------------------------------ names

    def fresh(self, wish: str) -> str:
        """Return a name that nothing has yet."""
        found, k = wish, 1
        while found in self.taken:
            k += 1
            found = f"{wish}_{k}"
        self.taken.add(found)
        return found

    def refuse(self, what: str) -> NotAdjoint:
        """Return the exception for something in the line that is being read."""
        return NotAdjoint(what, self.line)

    @property
    def call(self) -> Call:
        """The function that is being read."""
        return self.calls[-1]

    def emit(self, statement: Statement) -> None:
        """Add a statement."""
        self.count += 1
        if self.count > MOST_STATEMENTS:
            raise self.refuse("more statements than an adjoint is made of")
        self.out.append(statement)

    def held(self, value: ast.expr, wish: str = "t") -> ast.expr:
        """Return a name or a constant that has the value of an expression."""
        if isinstance(value, (ast.Name, ast.Constant)):
            return value
        found = self.fresh(wish)
        self.emit(Set(found, value))
        return name(found)

    def resolve(self, node: ast.expr) -> Any:
        """Return the object that a name or a chain of attributes is, outside of the function; MISSING if it is none."""
        call = self.call
        if isinstance(node, ast.Name):
            if node.id in call.symbols or node.id in call.locals:
                symbol = call.symbols.get(node.id)
                return symbol.value if isinstance(symbol, Constant) else MISSING
            for scope in (call.outer, call.function.__globals__, vars(builtins)):
                if node.id in scope:
                    return scope[node.id]
            return MISSING
        if isinstance(node, ast.Attribute):
            owner = self.resolve(node.value)
            return getattr(owner, node.attr, MISSING) if isinstance(owner, ModuleType) else MISSING
        return MISSING

    # ------------------------------------------------------------ numbers

    def values(self, nodes: list[ast.expr]) -> list[ast.expr]:
        """Read expressions from left to right."""
        found: list[ast.expr] = []
        for node in nodes:
            outer, self.out = self.out, []
            try:
                value = self.value(node)
            finally:
                inner, self.out = self.out, outer
            if inner:
                found = [self.held(part) for part in found]
                self.out += inner
            found.append(value)
        return found

    def value(self, node: ast.expr) -> ast.expr:
        """Read the expression of a number."""
        self.line = getattr(node, "lineno", self.line)
        reader = getattr(self, "value_" + type(node).__name__, None)
        if reader is None:
            raise self.refuse(f"an expression of the kind {type(node).__name__}")
        found: ast.expr = reader(node)
        return found

    def value_Constant(self, node: ast.Constant) -> ast.expr:
        if not isinstance(node.value, (bool, int, float)):
            raise self.refuse(f"the constant {node.value!r}")
        return ast.Constant(node.value)

    def constant(self, value: Any) -> ast.expr:
        """Return a number from outside of the function."""
        if isinstance(value, np.generic):
            if isinstance(value, np.float32):
                return name(f"np.float32({value.item()!r})")
            value = value.item()
        if isinstance(value, float) and not math.isfinite(value):
            return name({math.inf: "np.inf", -math.inf: "(-np.inf)"}.get(value, "np.nan"))
        if isinstance(value, (bool, int, float)):
            return name(repr(value))
        raise self.refuse(f"a {type(value).__name__} from outside of the function")

    def value_Name(self, node: ast.Name) -> ast.expr:
        symbol = self.call.symbols.get(node.id)
        if isinstance(symbol, str):
            return name(symbol)
        if symbol is None and node.id not in self.call.locals:
            found = self.resolve(node)
            if found is not MISSING:
                return self.constant(found)
        if isinstance(symbol, Constant):
            return self.constant(symbol.value)
        raise self.refuse(f"{node.id} as a whole")

    def value_Attribute(self, node: ast.Attribute) -> ast.expr:
        found = self.resolve(node)
        if found is not MISSING:
            return self.constant(found)
        view = self.array(node.value)
        if view is None or node.attr not in ("size", "ndim"):
            raise self.refuse(f"the attribute {node.attr}")
        if node.attr == "ndim":
            return ast.Constant(view.axes)
        if not view.places:
            return name(f"{view.base}.size")
        return self.product([self.length(view, k) for k in range(view.axes)])

    def product(self, factors: list[ast.expr]) -> ast.expr:
        """Return the product of some numbers."""
        found = factors[0]
        for factor in factors[1:]:
            found = ast.BinOp(found, ast.Mult(), factor)
        return found

    def length(self, view: View, axis: int) -> ast.expr:
        """Return the length of an axis of an array."""
        if not -view.axes <= axis < view.axes:
            raise self.refuse("an axis that the array has not")
        position, part = view.opened()[axis % view.axes]
        return name(f"{view.base}.shape[{position}]") if part.length is None else part.length

    def value_Subscript(self, node: ast.Subscript) -> ast.expr:
        if isinstance(node.value, ast.Attribute) and node.value.attr == "shape":
            view, index = self.array(node.value.value), self.value(node.slice)
            if view is not None and (k := literal_index(index)) is not None:
                return self.length(view, k)
            raise self.refuse("the length of an axis that is chosen")
        if isinstance(node.value, ast.Name) and isinstance(self.call.symbols.get(node.value.id), list):
            parts: Any = self.call.symbols[node.value.id]
            k = literal_index(self.value(node.slice))
            if k is not None and isinstance(parts[k], str):
                return name(parts[k])
            raise self.refuse("an element of a tuple that is chosen")
        view = self.array(node.value)
        if view is None:
            raise self.refuse("an index into what is no array")
        return self.load(view, self.index(view, node.slice))

    def index(self, view: View, node: ast.expr) -> list[ast.expr]:
        """Read indices, one for each axis."""
        parts = node.elts if isinstance(node, ast.Tuple) else [node]
        if len(parts) != view.axes or any(isinstance(part, (ast.Slice, ast.Starred)) for part in parts):
            raise self.refuse("a slice")
        found = self.values(list(parts))
        for k, (_, part) in enumerate(view.opened()):
            if part.length is None:
                continue
            at = literal_index(found[k])
            if at is None:
                raise self.refuse("an index into a slice that may be negative")
            if at < 0:
                found[k] = ast.BinOp(part.length, ast.Add(), found[k])
        return found

    def everywhere(self, view: View, index: list[ast.expr]) -> list[ast.expr]:
        """Return the indices into the whole array for indices into a part of it, which are not negative."""
        waiting, found = list(index), []
        for part in view.all_places():
            if isinstance(part, Open):
                found.append(part.at(waiting.pop(0)))
            else:
                found.append(part)
        return found

    def load(self, view: View, index: list[ast.expr]) -> ast.expr:
        """Return an element of an array."""
        parts = self.everywhere(view, index)
        where = parts[0] if len(parts) == 1 else ast.Tuple(parts, ast.Load())
        return ast.Subscript(name(view.base), where, ast.Load())

    def value_UnaryOp(self, node: ast.UnaryOp) -> ast.expr:
        return ast.UnaryOp(node.op, self.value(node.operand))

    def value_BinOp(self, node: ast.BinOp) -> ast.expr:
        if isinstance(node.op, ast.MatMult):
            return self.inner_product(node.left, node.right)
        left, right = self.values([node.left, node.right])
        return ast.BinOp(left, node.op, right)

    def value_Compare(self, node: ast.Compare) -> ast.expr:
        if any(isinstance(part, (ast.In, ast.NotIn)) for part in node.ops):
            raise self.refuse("in")
        if any(isinstance(part, (ast.Is, ast.IsNot)) for part in node.ops):
            raise self.refuse("is")
        left, *others = self.values([node.left, *node.comparators])
        return ast.Compare(left, node.ops, others)

    def value_BoolOp(self, node: ast.BoolOp) -> ast.expr:
        found = self.fresh("c")
        first, *others = node.values
        self.emit(Set(found, self.as_truth(self.value(first))))
        for part in others:
            body = self.inside(lambda part=part: self.emit(Set(found, self.as_truth(self.value(part)))))  # type: ignore[misc]
            both = isinstance(node.op, ast.And)
            told = self.copied_truth(found)
            self.emit(If(told, body if both else [], [] if both else body))
        return name(found)

    def copied_truth(self, key: str) -> str:
        """Return another name for a truth value, which a branch may change: its own test stays."""
        found = self.fresh("c")
        self.emit(Set(found, name(key)))
        return found

    def as_truth(self, value: ast.expr) -> ast.expr:
        """Return whether a number is true."""
        if isinstance(value, (ast.Compare, ast.Constant)) or (
            isinstance(value, ast.UnaryOp) and isinstance(value.op, ast.Not)
        ):
            return value
        return ast.Call(name("bool"), [value], [])

    def value_IfExp(self, node: ast.IfExp) -> ast.expr:
        return self.choose(self.value(node.test), lambda: self.value(node.body), lambda: self.value(node.orelse))

    def choose(self, test: ast.expr, one: Any, other: Any) -> ast.expr:
        """Return a name that has one of two values."""
        found, told = self.fresh("t"), self.fresh("c")
        self.emit(Set(told, self.as_truth(test)))
        body = self.inside(lambda: self.emit(Set(found, one())))
        orelse = self.inside(lambda: self.emit(Set(found, other())))
        self.emit(If(told, body, orelse))
        return name(found)

    def inside(self, read: Any) -> list[Statement]:
        """Return the statements that are read in a place of their own."""
        outer, self.out = self.out, []
        try:
            read()
        finally:
            found, self.out = self.out, outer
        return found

    # ------------------------------------------------------------ calls

    def value_Call(self, node: ast.Call) -> ast.expr:
        if isinstance(node.func, ast.Attribute) and self.resolve(node.func) is MISSING:
            return self.method(node)
        found = self.resolve(node.func)
        if isinstance(found, Dispatcher):
            results, several = self.inline(found, node)
            if several or len(results) != 1 or not isinstance(results[0], str):
                raise self.refuse("a result that is no number")
            return name(results[0])
        if node.keywords or any(isinstance(part, ast.Starred) for part in node.args):
            raise self.refuse("keywords of a function of numbers")
        if found is len:
            view = self.array(node.args[0])
            if view is None:
                raise self.refuse("len of what is no array")
            return self.length(view, 0)
        if found in REDUCTIONS and len(node.args) == 1:
            return self.reduced(REDUCTIONS[found], node.args[0])
        if found is np.where and len(node.args) == 3:
            test, one, other = node.args
            return self.choose(self.value(test), lambda: self.value(one), lambda: self.value(other))
        if (operands := product_operands(node, self)) is not None and all(map(self.is_array, operands)):
            return self.inner_product(*operands)
        return self.known(found, self.values(node.args))

    def known(self, found: Any, values: list[ast.expr]) -> ast.expr:
        """Return the call of a function of numbers."""
        if found in (min, max) and len(values) > 1:
            chosen = self.held(values[0])
            for value in values[1:]:
                chosen = self.extreme(found, chosen, self.held(value))
            return chosen
        if found is abs or found in CASTS_KEYS:
            return ast.Call(name("abs" if found is abs else CASTS[found]), values, [])
        text = attribute(found, "__name__")
        if (found is pow and len(values) == 2) or found is math.pow:
            return ast.BinOp(values[0], ast.Pow(), values[1])
        op = op_of(found)
        if op is not None and not op.host and op.arity == len(values):
            return ast.Call(name(("np." if isinstance(found, np.ufunc) else "math.") + str(text)), values, [])
        raise self.refuse(f"a call of {text or 'what is no function'}")

    def extreme(self, function: Any, one: ast.expr, other: ast.expr) -> ast.expr:
        """Return the smaller or larger of two numbers, as Python decides it."""
        sign = ast.Gt() if function is max else ast.Lt()
        return self.choose(ast.Compare(other, [sign], [one]), lambda: other, lambda: one)

    def method(self, node: ast.Call) -> ast.expr:
        """Read the call of a method that gives a number."""
        assert isinstance(node.func, ast.Attribute)
        if node.func.attr in REDUCTIONS.values() and not node.args and not node.keywords:
            return self.reduced(node.func.attr, node.func.value)
        if node.func.attr == "dot" and len(node.args) == 1 and not node.keywords:
            return self.inner_product(node.func.value, node.args[0])
        raise self.refuse(f"the method {node.func.attr}")

    def reduced(self, which: str, node: ast.expr) -> ast.expr:
        """Return what a reduction of Numba's computes of all elements of an array, in their order."""
        if which == "sum":
            return self.total(node)
        if not self.is_array(node):
            raise self.refuse(f"{which} of what is no array")
        view = self.array(node)
        assert view is not None
        size = self.product([self.length(view, k) for k in range(view.axes)])
        if which == "prod":
            found = self.fresh("total")
            self.emit(Set(found, ast.Constant(1.0)))
            self.each(
                view, lambda index: self.emit(Set(found, ast.BinOp(name(found), ast.Mult(), self.load(view, index))))
            )
            return name(found)
        if which in ("max", "min", "amax", "amin"):
            return self.extreme_of(view, ast.Gt() if which.endswith("max") else ast.Lt())
        mean = self.held(ast.BinOp(self.total_of(view), ast.Div(), size))
        if which == "mean":
            return mean
        square = lambda index: ast.BinOp(ast.BinOp(self.load(view, index), ast.Sub(), mean), ast.Pow(), ast.Constant(2))
        found = self.fresh("total")
        self.emit(Set(found, ast.Constant(0.0)))
        self.each(view, lambda index: self.emit(Set(found, ast.BinOp(name(found), ast.Add(), square(index)))))
        spread = ast.BinOp(name(found), ast.Div(), size)
        return spread if which == "var" else ast.BinOp(spread, ast.Pow(), ast.Constant(0.5))

    def extreme_of(self, view: View, sign: ast.cmpop) -> ast.expr:
        """Return the largest or smallest element of an array: the first of several."""
        found = self.fresh("extreme")
        self.emit(Set(found, self.load(view, [ast.Constant(0)] * view.axes)))

        def look(index: list[ast.expr]) -> None:
            value, told = self.held(self.load(view, index)), self.fresh("c")
            self.emit(Set(told, ast.Compare(value, [sign], [name(found)])))
            self.emit(If(told, [Set(found, value)]))

        self.each(view, look)
        return name(found)

    def total_of(self, view: View) -> ast.expr:
        """Return the sum of all elements of an array."""
        found = self.fresh("total")
        self.emit(Set(found, ast.Constant(0.0)))
        self.each(view, lambda index: self.emit(Set(found, ast.BinOp(name(found), ast.Add(), self.load(view, index)))))
        return name(found)

    def total(self, node: ast.expr) -> ast.expr:
        """Return the sum of all elements of an array, in their order."""
        if not self.is_array(node):
            raise self.refuse("the sum of what is no array")
        element, views = self.element_of(node)
        view = self.check_lengths(views)
        found = self.fresh("total")
        self.emit(Set(found, ast.Constant(0.0)))
        self.each(view, lambda index: self.emit(Set(found, ast.BinOp(name(found), ast.Add(), element(index)))))
        return name(found)

    def each(self, view: View, read: Any) -> None:
        """Read loops over all elements of an array; `read` is given the indices."""

        def nest(index: list[ast.expr]) -> None:
            axis = len(index)
            if axis == view.axes:
                read(index)
                return
            stop, k = self.held(self.length(view, axis), "n"), self.fresh("k")
            self.emit(For(k, "0", ast.unparse(stop), "1", self.inside(lambda: nest([*index, name(k)]))))

        nest([])

    def inline(self, dispatcher: Any, node: ast.Call) -> tuple[list[Symbol], bool]:
        """Put a function of Numba's in the place of its call; return what it returns."""
        options = dispatcher.targetoptions
        if not attribute(dispatcher, "_can_compile") or dispatcher.locals or options.get("forceobj"):
            raise self.refuse("a function with signatures")
        if any(call.function is dispatcher.py_func for call in self.calls) or len(self.calls) > DEEPEST:
            raise self.refuse("a function that calls itself")
        if any(isinstance(part, ast.Starred) for part in node.args) or any(k.arg is None for k in node.keywords):
            raise self.refuse("a call with a star")
        symbols = [self.symbol(part, "a") for part in node.args]
        words = {str(part.arg): self.symbol(part.value, "a") for part in node.keywords}
        try:
            bound = inspect.signature(dispatcher.py_func).bind(*symbols, **words)
        except TypeError as error:
            raise self.refuse(str(error)) from None
        bound.apply_defaults()
        given: dict[str, Any] = dict(bound.arguments)
        for key, value in given.items():
            if key not in bound.signature.bind_partial(*symbols, **words).arguments:
                given[key] = Constant(value)
        line = self.line
        results, several = self.function(dispatcher.py_func, given)
        self.line = line
        return results, several

    def symbol(self, node: ast.expr, wish: str) -> Symbol:
        """Read an argument: a number gets a name of its own."""
        view = self.array(node)
        if view is not None:
            return view
        if isinstance(node, ast.Tuple):
            return [self.symbol(part, wish) for part in node.elts]
        if isinstance(node, ast.Name) and isinstance(known := self.call.symbols.get(node.id), list):
            return known
        found = self.resolve(node)
        if found is not MISSING and not isinstance(found, (int, float, np.generic)):
            return Constant(found)
        target = self.fresh(wish)
        self.emit(Set(target, self.value(node)))
        return target

    # ------------------------------------------------------------ arrays

    def array(self, node: ast.expr) -> View | None:
        """Read an expression as an array; None if it is a number."""
        self.line = getattr(node, "lineno", self.line)
        if isinstance(node, ast.Name):
            symbol = self.call.symbols.get(node.id)
            if symbol is None and isinstance(found := self.resolve(node), np.ndarray):
                return self.outside(node.id, found)
            return symbol if isinstance(symbol, View) else None
        if isinstance(node, ast.Subscript):
            return self.part(node)
        if isinstance(node, ast.Call) and (found := self.made(node)) is not None:
            return found
        if isinstance(node, ast.List):
            return replace(self.listed(node), is_list=True)
        if (repeated := self.repeated_list(node)) is not None:
            return repeated
        if (operands := product_operands(node, self)) is not None and self.is_product(node):
            return self.matrix_product(*operands)
        return self.computed(node) if self.is_elementwise(node) else None

    def repeated_list(self, node: ast.expr) -> View | None:
        """Read `[x] * n`; None for others."""
        if not isinstance(node, ast.BinOp) or not isinstance(node.op, ast.Mult) or not isinstance(node.left, ast.List):
            return None
        if len(node.left.elts) != 1:
            raise self.refuse("a list that is repeated")
        return replace(self.full([self.held(self.value(node.right))], node.left.elts[0], ""), is_list=True)

    def listed(self, node: ast.expr) -> View:
        """Read a list of numbers, or of lists of them, as an array of its elements."""
        rows = node.elts if isinstance(node, (ast.List, ast.Tuple)) else []
        deep = [part.elts if isinstance(part, (ast.List, ast.Tuple)) else None for part in rows]
        if not rows or (any(deep) and len({None if part is None else len(part) for part in deep}) != 1):
            raise self.refuse("a list that is empty, or not of numbers alone")
        if any(map(self.is_array, (one for k, part in enumerate(deep) for one in (part or [rows[k]])))):
            raise self.refuse("a list of arrays")
        numbers = [[self.held(self.value(one)) for one in (part or [rows[k]])] for k, part in enumerate(deep)]
        texts = [", ".join(map(ast.unparse, part)) for part in numbers]
        axes = 2 if any(deep) else 1
        text = ", ".join(f"[{part}]" for part in texts) if axes == 2 else ", ".join(texts)
        made = self.new(name(f"np.array([{text}])"), axes)
        for i, part in enumerate(numbers):
            for j, value in enumerate(part):
                if not isinstance(value, ast.Constant):  # what varies does so by assignments
                    index: list[ast.expr] = [ast.Constant(i), ast.Constant(j)]
                    self.emit(Store(made.base, index[:axes], value))
        return made

    def full(self, lengths: list[ast.expr], value: ast.expr, kind: str) -> View:
        """Return an array of one number."""
        number = self.held(self.value(value))
        shape = ", ".join(map(ast.unparse, lengths))
        made = self.new(name(f"np.full(({shape},), {ast.unparse(number)}{kind})"), len(lengths))
        if not isinstance(number, ast.Constant):
            self.each(made, lambda index: self.emit(Store(made.base, list(index), number)))
        return made

    def filled(self, node: ast.Call, like: bool) -> View:
        """Read np.full or np.full_like."""
        given = dict(zip(("shape", "fill_value", "dtype"), node.args, strict=False))
        given |= {str(part.arg): part.value for part in node.keywords}
        if not {"shape", "fill_value"} <= set(given) <= {"shape", "fill_value", "dtype"}:
            raise self.refuse("an array of this kind")
        kind = ""
        if "dtype" in given:
            known = DTYPES.get(self.resolve(given["dtype"]))
            if known is None:
                raise self.refuse("an array of this dtype")
            kind = f", {known}"
        if not like:
            return self.full(self.shape(given["shape"]), given["fill_value"], kind)
        view = self.array(given["shape"])
        if view is None:
            raise self.refuse("an array like what is none")
        lengths = [self.length(view, k) for k in range(view.axes)]
        return self.full(lengths, given["fill_value"], kind or f", {view.base}.dtype")

    # ------------------------------------------------------------ products

    def is_product(self, node: ast.expr) -> bool:
        """Whether an expression is a product of arrays that gives an array."""
        operands = product_operands(node, self)
        return operands is not None and all(map(self.is_array, operands)) and max(map(self.axes_of, operands)) > 1

    def axes_of(self, node: ast.expr) -> int:
        """Return how many axes an array has, told without reading it."""
        if isinstance(node, ast.Name):
            symbol = self.call.symbols.get(node.id)
            return symbol.axes if isinstance(symbol, View) else int(np.ndim(self.resolve(node)))
        if isinstance(node, ast.Subscript):
            parts = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
            return self.axes_of(node.value) - sum(not isinstance(part, ast.Slice) for part in parts)
        if (operands := product_operands(node, self)) is not None:
            return sum(map(self.axes_of, operands)) - 2
        if isinstance(node, ast.BinOp):
            parts = [node.left, node.right]
        elif isinstance(node, ast.UnaryOp):
            parts = [node.operand]
        elif isinstance(node, ast.Compare):
            parts = [node.left, *node.comparators]
        elif isinstance(node, ast.Call):
            method = isinstance(node.func, ast.Attribute) and self.resolve(node.func) is MISSING
            parts = [node.func.value] if method else node.args  # type: ignore[attr-defined]
        else:
            return 0
        return max((self.axes_of(part) for part in parts if self.is_array(part)), default=0)

    def factors(self, one: ast.expr, other: ast.expr) -> tuple[View, View]:
        """Return the two factors of a product of arrays."""
        found = [self.array(one), self.array(other)]
        if any(view is None or view.is_list or view.axes > 2 for view in found):
            raise self.refuse("a product of this kind")
        self.loose = True  # BLAS sums in an order of its own
        return found[0], found[1]  # type: ignore[return-value]

    def inner_product(self, one: ast.expr, other: ast.expr) -> ast.expr:
        """Return the product of two vectors."""
        left, right = self.factors(one, other)
        self.check_lengths([left, right])
        found = self.fresh("total")
        self.emit(Set(found, ast.Constant(0.0)))
        self.each(left, lambda index: self.emit(add_product(found, self.load(left, index), self.load(right, index))))
        return name(found)

    def matrix_product(self, one: ast.expr, other: ast.expr) -> View:
        """Return the product of a matrix and a vector, or of two matrices."""
        left, right = self.factors(one, other)
        lengths = [self.length(left, 0)] if left.axes > 1 else []
        lengths += [self.length(right, 1)] if right.axes > 1 else []
        inner, known = self.length(left, left.axes - 1), self.length(right, 0)
        if ast.unparse(inner) != ast.unparse(known):
            self.emit(Set(self.fresh("n"), name(f"same({ast.unparse(inner)}, {ast.unparse(known)})")))
        made = self.new(name(f"np.zeros(({', '.join(map(ast.unparse, lengths))},), {left.base}.dtype)"), len(lengths))
        turns = [self.held(part, "n") for part in ([lengths[0]] if left.axes > 1 else [])]
        turns += [self.held(part, "n") for part in (inner, *lengths[left.axes - 1 :])]
        at: list[ast.expr] = [name(self.fresh("k")) for _ in turns]
        first, last = at[: left.axes], at[left.axes - 1 :]
        place = [*first[:-1], *last[1:]]
        product = ast.BinOp(self.load(left, first), ast.Mult(), self.load(right, last))
        value = ast.BinOp(self.load(made, place), ast.Add(), product)
        body: list[Statement] = [Store(made.base, place, value)]
        for counter, turn in reversed(list(zip(at, turns, strict=True))):
            body = [For(ast.unparse(counter), "0", ast.unparse(turn), "1", body)]
        for statement in body:
            self.emit(statement)
        return made

    def is_elementwise(self, node: ast.expr) -> bool:
        """Whether an expression is computed element by element of arrays."""
        if isinstance(node, ast.BinOp):
            return not isinstance(node.op, ast.MatMult) and any(map(self.is_array, (node.left, node.right)))
        if isinstance(node, ast.UnaryOp):
            return self.is_array(node.operand)
        if isinstance(node, ast.Compare):
            return len(node.ops) == 1 and any(map(self.is_array, (node.left, *node.comparators)))
        if isinstance(node, ast.Call) and not node.keywords:
            function = self.resolve(node.func)
            known = function is abs or function is np.where or op_of(function) is not None
            return known and any(map(self.is_array, node.args))
        return False

    def is_array(self, node: ast.expr) -> bool:
        """Whether an expression is an array, told without reading it."""
        if isinstance(node, ast.Name):
            symbol = self.call.symbols.get(node.id)
            return isinstance(symbol, View) or (symbol is None and isinstance(self.resolve(node), np.ndarray))
        if isinstance(node, ast.Subscript):
            if isinstance(node.value, ast.Attribute) or not self.is_array(node.value):
                return False
            parts = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
            symbol = self.call.symbols.get(node.value.id) if isinstance(node.value, ast.Name) else None
            axes = symbol.axes if isinstance(symbol, View) else len(parts)
            return len(parts) < axes or any(isinstance(part, ast.Slice) for part in parts)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "copy":
            return self.resolve(node.func) is MISSING and self.is_array(node.func.value)
        if isinstance(node, ast.Call) and self.resolve(node.func) in ARRAYS:
            return self.resolve(node.func) is not np.sum or self.axis_of(node) is not None
        return self.is_elementwise(node) or self.is_product(node)

    def computed(self, node: ast.expr) -> View:
        """Read an array that is computed element by element: a loop over its elements."""
        return self.stored(*self.element_of(node), "np.bool_" if isinstance(node, ast.Compare) else "np.float64")

    def stored(self, element: Any, views: list[View], kind: str = "np.float64") -> View:
        """Return an array of the elements that a function from indices gives."""
        whole = self.check_lengths(views)
        shape = ", ".join(ast.unparse(self.length(whole, k)) for k in range(whole.axes))
        made = self.new(name(f"np.empty(({shape},), {kind})"), whole.axes)
        self.each(made, lambda index: self.emit(Store(made.base, list(index), element(index))))
        return made

    def check_lengths(self, views: list[View]) -> View:
        """Return the array with most axes; where others have other lengths, the flat kernel raises an IndexError."""
        if any(view.is_list for view in views):
            raise self.refuse("a list in the place of an array")
        whole = max(views, key=lambda view: view.axes)
        for view in views:
            for k in range(view.axes):
                one, other = self.length(whole, whole.axes - view.axes + k), self.length(view, k)
                if ast.unparse(one) != ast.unparse(other):
                    self.emit(Set(self.fresh("n"), name(f"same({ast.unparse(one)}, {ast.unparse(other)})")))
        return whole

    def element_of(self, node: ast.expr) -> tuple[Any, list[View]]:
        """Return a function from indices to an element of an expression, and the arrays in it."""
        if not self.is_array(node):
            value = self.held(self.value(node))
            return (lambda index: value), []
        if not self.is_elementwise(node):
            view = self.array(node)
            assert view is not None
            return (lambda index: self.load(view, index[len(index) - view.axes :])), [view]
        if isinstance(node, ast.BinOp):
            parts, operator = [node.left, node.right], node.op
            build: Any = lambda found: ast.BinOp(found[0], operator, found[1])
        elif isinstance(node, ast.UnaryOp):
            parts, sign = [node.operand], node.op
            build = lambda found: ast.UnaryOp(sign, found[0])
        elif isinstance(node, ast.Compare):
            parts, (compared,) = [node.left, *node.comparators], node.ops
            build = lambda found: ast.Compare(found[0], [compared], found[1:])
        elif self.resolve(node.func) is np.where:  # type: ignore[attr-defined]
            parts = node.args  # type: ignore[attr-defined]
            if len(parts) != 3:
                raise self.refuse("the places where something holds")
            build = lambda found: self.choose(found[0], lambda: found[1], lambda: found[2])
        else:
            assert isinstance(node, ast.Call)
            parts, function = node.args, self.resolve(node.func)
            build = lambda found: self.known(function, found)
        elements, views = zip(*map(self.element_of, parts), strict=True)
        return (lambda index: build([element(index) for element in elements])), [
            part for some in views for part in some
        ]

    def fill(self, target: View, node: ast.expr, operator: ast.operator | None) -> None:
        """Read the assignment to a part of an array; without an operator, what is assigned is computed before."""
        if operator is None and self.is_array(node):
            view = self.array(node)
            if view is not None and view.base == target.base:
                view = self.copied(view)
            assert view is not None
            source = view
            element: Any = lambda index: self.load(source, index[len(index) - source.axes :])
            views = [source]
        else:
            element, views = self.element_of(node)
            if self.is_elementwise(node) and any(view.base == target.base for view in views):
                made = self.stored(element, views)  # computed before anything is assigned
                element, views = (lambda index: self.load(made, index[len(index) - made.axes :])), [made]
        if self.check_lengths([target, *views]) is not target:
            raise self.refuse("an assignment to an array with less axes")

        def store(index: list[ast.expr]) -> None:
            value = element(index)
            if operator is not None:
                value = ast.BinOp(self.load(target, index), operator, value)
            self.emit(Store(target.base, self.everywhere(target, index), value))

        self.each(target, store)

    def outside(self, wish: str, value: np.ndarray) -> View:
        """Return an array from outside of the function: a constant."""
        for key, known in self.constants.items():
            if known is value:
                return View(key, value.ndim)
        found = self.fresh(wish)
        self.constants[found] = value
        return View(found, value.ndim)

    def part(self, node: ast.Subscript) -> View | None:
        """Read the part of an array at some first indices; None if it is an element."""
        if isinstance(node.value, ast.Attribute) and node.value.attr == "shape":
            return None
        view = self.array(node.value)
        parts = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
        sliced = any(isinstance(part, ast.Slice) for part in parts)
        if view is None or (len(parts) >= view.axes and not sliced):
            return None
        if view.is_list:
            raise self.refuse("a part of a list")
        if len(parts) > view.axes or any(isinstance(part, ast.Starred) for part in parts):
            raise self.refuse("an index of another kind")
        places = view.all_places()
        for k, (part, (position, before)) in enumerate(zip(parts, view.opened(), strict=False)):
            if isinstance(part, ast.Slice):
                places[position] = self.slice(part, before, self.length(view, k))
            else:
                (index,) = self.index(View(view.base, 1, [before]), part)
                index = self.own(index)
                places[position] = before.at(index)
        return View(view.base, sum(isinstance(part, Open) for part in places), places)

    def slice(self, node: ast.Slice, before: Open, length: ast.expr) -> Open:
        """Read a slice of an axis."""
        step = 1 if node.step is None else literal_index(node.step)
        if step is None or step == 0 or (step < 0 and (node.lower is not None or node.upper is not None)):
            raise self.refuse("a slice with a step that is chosen, or backwards from somewhere")
        if step < 0:
            whole = ast.unparse(self.own(length))
            count = self.own(name(f"({whole} - ({step + 1})) // {-step}"))
            return Open(self.own(before.at(name(f"{whole} - 1"))), count, step * before.step)
        if step > 1:
            part = self.slice(ast.Slice(node.lower, node.upper, None), before, length)
            count = self.own(name(f"({ast.unparse(part.length or length)} + {step - 1}) // {step}"))
            return Open(part.start, count, step * part.step)
        if node.lower is None and node.upper is None:
            return before
        size = ast.unparse(length)
        bounds = [
            None if part is None else ast.unparse(self.held(self.value(part))) for part in (node.lower, node.upper)
        ]
        start, stop = (None if text is None else f"bound({text}, {size})" for text in bounds)
        first = None if start is None else self.own(name(start))
        begin = "0" if first is None else ast.unparse(first)
        found = self.own(name(f"span({begin}, {stop or size})"))
        if before.start is not None or before.step != 1:
            first = before.start if first is None else self.own(before.at(first))
        return Open(first or ast.Constant(0), found, before.step)

    def own(self, value: ast.expr) -> ast.expr:
        """Return a number under a name that stays, whatever happens to the variables."""
        if isinstance(value, ast.Constant):
            return value
        found = self.fresh("at")
        self.emit(Set(found, value))
        return name(found)

    def made(self, node: ast.Call) -> View | None:
        """Read a call that makes an array, or a function's that returns one; None for others."""
        found = self.resolve(node.func)
        if isinstance(node.func, ast.Attribute) and found is MISSING:
            if node.func.attr != "copy" or node.args:
                return None
            return self.copied(self.array(node.func.value))
        if found in COPIES:
            return self.copied(self.array(node.args[0]))
        if found in LIKES_KEYS and len(node.args) == 1 and not node.keywords:
            view = self.array(node.args[0])
            if view is None:
                return None
            shape = ", ".join(ast.unparse(self.length(view, k)) for k in range(view.axes))
            return self.new(name(f"np.{LIKES[found]}(({shape},), {view.base}.dtype)"), view.axes)
        if found in MAKERS_KEYS:
            return self.empty(MAKERS[found], node)
        if found in (np.full, np.full_like):
            return self.filled(node, found is np.full_like)
        if found in (np.array, np.asarray) and len(node.args) == 1 and not node.keywords:
            if isinstance(node.args[0], (ast.List, ast.Tuple)):
                return self.listed(node.args[0])
            view = self.array(node.args[0])
            return view if found is np.asarray else self.copied(view)
        if found in (np.arange, np.linspace) and not node.keywords:
            given = ", ".join(ast.unparse(self.held(part)) for part in self.values(node.args))
            return self.new(name(f"np.{found.__name__}({given})"), 1)
        if found is np.sum and (axis := self.axis_of(node)) is not None:
            return self.sum_along(node.args[0], axis)
        return None

    def axis_of(self, node: ast.Call) -> int | None:
        """Return the axis along which a reduction goes; None where it goes along all."""
        given = [*node.args[1:], *(part.value for part in node.keywords if part.arg == "axis")]
        if not given:
            return None
        axis = literal_index(given[0])
        if axis is None or len(given) > 1 or len(node.keywords) + len(node.args) > 2:
            raise self.refuse("an axis that is chosen")
        return axis

    def sum_along(self, node: ast.expr, axis: int) -> View:
        """Return the sums of an array along an axis."""
        element, views = self.element_of(node)
        if not views:
            raise self.refuse("the sum of what is no array")
        whole = self.check_lengths(views)
        axis %= whole.axes
        if whole.axes == 1:
            raise self.refuse("the sum of a vector along an axis")
        shape = ", ".join(ast.unparse(self.length(whole, k)) for k in range(whole.axes) if k != axis)
        made = self.new(name(f"np.zeros(({shape},), {whole.base}.dtype)"), whole.axes - 1)

        def add(index: list[ast.expr]) -> None:
            place = [*index[:axis], *index[axis + 1 :]]
            self.emit(Store(made.base, place, ast.BinOp(self.load(made, place), ast.Add(), element(index))))

        self.each(whole, add)
        return made

    def copied(self, view: View | None) -> View | None:
        """Return a copy of an array."""
        if view is None:
            return None
        if any(isinstance(part, Open) and part.step != 1 for part in view.places):
            return self.stored(lambda index: self.load(view, index), [view])
        where = f"[{', '.join(map(place_text, view.places))}]" if view.places else ""
        found = self.fresh(view.base)
        self.emit(New(found, name(f"{view.base}{where}.copy()"), view.axes, view.base + where))
        return View(found, view.axes)

    def empty(self, maker: str, node: ast.Call) -> View:
        """Read np.zeros, np.empty or np.ones."""
        given = {"shape": node.args[0]} if node.args else {}
        given |= {"dtype": node.args[1]} if len(node.args) > 1 else {}
        given |= {str(part.arg): part.value for part in node.keywords}
        kind = DTYPES.get(self.resolve(given["dtype"])) if "dtype" in given else "np.float64"
        if kind is None and isinstance(given["dtype"], ast.Attribute) and given["dtype"].attr == "dtype":
            view = self.array(given["dtype"].value)
            kind = None if view is None else f"{view.base}.dtype"
        if kind is None or set(given) - {"shape", "dtype"}:
            raise self.refuse("an array of this dtype")
        lengths = self.shape(given["shape"])
        text = ", ".join(map(ast.unparse, lengths))
        return self.new(name(f"np.{maker}(({text},), {kind})"), len(lengths))

    def shape(self, node: ast.expr) -> list[ast.expr]:
        """Read a shape."""
        if isinstance(node, ast.Attribute) and node.attr == "shape" and (view := self.array(node.value)) is not None:
            return [self.length(view, k) for k in range(view.axes)]
        return [self.held(part) for part in self.values(node.elts if isinstance(node, ast.Tuple) else [node])]

    def new(self, value: ast.expr, axes: int) -> View:
        """Return an array that is made."""
        found = self.fresh("array")
        self.emit(New(found, value, axes))
        return View(found, axes)

    # ------------------------------------------------------------ statements

    def statements(self, nodes: list[ast.stmt]) -> None:
        """Read a list of statements."""
        for k, node in enumerate(nodes):
            self.line = node.lineno
            rest = nodes[k + 1 :]
            if isinstance(node, ast.If):
                if self.branch(node, rest):
                    return
            elif isinstance(node, (ast.For, ast.While)):
                self.loop(node)
                if holds(node, (ast.Return,)):
                    self.after_return(rest)
                    return
            else:
                reader = getattr(self, "read_" + type(node).__name__, None)
                if reader is None:
                    raise self.refuse(f"a statement of the kind {type(node).__name__}")
                reader(node)
                if isinstance(node, JUMPS):
                    return

    def branch(self, node: ast.If, rest: list[ast.stmt]) -> bool:
        """Read a branch; return whether what follows has been read, too."""
        test = self.value(node.test)
        told = self.fresh("c")
        self.emit(Set(told, self.as_truth(test)))
        ends, other = terminates(node.body), terminates(node.orelse)
        before = dict(self.call.symbols)
        body = self.inside(lambda: self.statements(node.body + (rest if other and not ends else [])))
        after, self.call.symbols = self.call.symbols, dict(before)
        orelse = self.inside(lambda: self.statements(node.orelse + (rest if ends else [])))
        self.meet(before, after, ends, other)
        self.emit(If(told, body, orelse))
        if ends or other:
            return True
        if not holds(node, JUMPS):
            return False
        self.guarded(rest)
        return True

    def meet(self, before: dict[str, Symbol], after: dict[str, Symbol], ends: bool, other: bool) -> None:
        """Join what names are after two branches."""
        symbols = self.call.symbols
        for key, symbol in after.items():
            if key not in symbols:
                symbols[key] = symbol
            elif symbols[key] != symbol and not ends and not other:
                raise self.refuse(f"{key}, another array in either branch")

    def guarded(self, rest: list[ast.stmt]) -> None:
        """Read what follows a jump that may have been taken."""
        call = self.call
        if not rest:
            return
        if call.loops:
            call.loops[-1].guarded = True
            told = self.copied_truth(call.loops[-1].go)
        else:
            told = self.fresh("c")
            self.emit(Set(told, name(f"not {call.done}")))
            call.ends = True
        self.emit(If(told, self.inside(lambda: self.statements(rest))))

    def after_return(self, rest: list[ast.stmt]) -> None:
        """Read what follows a loop in which the function may return."""
        call = self.call
        call.ends = True
        if call.loops:
            loop = call.loops[-1]
            told = self.fresh("c")
            self.emit(Set(told, name(call.done)))
            loop.left = True
            self.emit(If(told, [Set(loop.go, truth(False)), Set(loop.leave, truth(True))]))
        self.guarded(rest)

    def loop(self, node: ast.For | ast.While) -> None:
        """Read a loop."""
        if node.orelse:
            raise self.refuse("the else of a loop")
        call = self.call
        loop = Loop(self.fresh("go"), self.fresh("leave"))
        before = dict(call.symbols)
        call.loops.append(loop)
        made = self.loop_for(node) if isinstance(node, ast.For) else self.loop_while(node)
        call.loops.pop()
        for key, symbol in before.items():
            if call.symbols.get(key) != symbol:
                raise self.refuse(f"{key}, another array in each iteration")
        if loop.guarded:
            made.body.insert(0, Set(loop.go, truth(True)))
        else:
            remove_sets(made.body, loop.go)
        if loop.left:
            made.leave = loop.leave
            self.emit(Set(loop.leave, truth(False)))
        self.emit(made)

    def loop_for(self, node: ast.For) -> For:
        """Read a loop over a range, or over the elements of an array."""
        if isinstance(node.iter, ast.Call) and self.resolve(node.iter.func) in RANGES and not node.iter.keywords:
            if not isinstance(node.target, ast.Name):
                raise self.refuse("a loop over several names")
            given = [ast.unparse(self.held(self.own_bound(v), "n")) for v in self.values(node.iter.args)]
            start, stop, step = (("0", *given, "1") if len(given) == 1 else (*given, "1"))[:3]
            target = self.variable(node.target.id)
            if assigns(node.body, node.target.id):
                counter = self.fresh("k")
                first: list[Statement] = [Set(target, name(counter))]
            else:
                counter, first = target, []
            body = first + self.inside(lambda: self.statements(node.body))
            return For(counter, start, stop, step, body)
        counted: ast.expr | None = None
        if isinstance(node.iter, ast.Call) and self.resolve(node.iter.func) is enumerate and len(node.iter.args) == 1:
            if not isinstance(node.target, ast.Tuple) or len(node.target.elts) != 2 or node.iter.keywords:
                raise self.refuse("a loop over what is counted otherwise")
            counted, of = node.target.elts
            node = ast.For(of, node.iter.args[0], node.body, [], lineno=node.lineno)
        view = self.array(node.iter)
        if view is None or not isinstance(node.target, ast.Name) or not isinstance(counted, (ast.Name, type(None))):
            raise self.refuse("a loop over what is no range")
        end, k = self.held(self.length(view, 0), "n"), self.fresh("k")
        target_name = node.target.id

        def read() -> None:
            if counted is not None:
                self.emit(Set(self.variable(counted.id), name(k)))
            if view.axes > 1:
                self.call.symbols[target_name] = self.at_first(view, name(k))
            else:
                self.emit(Set(self.variable(target_name), self.load(view, [name(k)])))
            self.call.walked.append(view)
            self.statements(node.body)
            self.call.walked.pop()

        return For(k, "0", ast.unparse(end), "1", self.inside(read))

    def own_bound(self, value: ast.expr) -> ast.expr:
        """Return a bound of a loop under a name that the loop does not change."""
        return self.own(value) if isinstance(value, ast.Name) else value

    def at_first(self, view: View, index: ast.expr) -> View:
        """Return the part of an array at an index of its first axis."""
        places = view.all_places()
        position, part = view.opened()[0]
        places[position] = part.at(index)
        return View(view.base, view.axes - 1, places)

    def loop_while(self, node: ast.While) -> While:
        """Read a loop by a condition."""
        test = self.fresh("c")
        before = self.inside(lambda: self.emit(Set(test, self.as_truth(self.value(node.test)))))
        return While(test, before, self.inside(lambda: self.statements(node.body)))

    def variable(self, key: str) -> str:
        """Return the name of a number of the user's."""
        symbol = self.call.symbols.get(key)
        if not isinstance(symbol, str):
            symbol = self.call.symbols[key] = self.fresh(key)
        return symbol

    def read_Pass(self, node: ast.Pass) -> None:
        """Nothing."""

    def read_Assert(self, node: ast.Assert) -> None:
        """It has held when the value was computed."""

    def read_Raise(self, node: ast.Raise) -> None:
        """It was not reached when the value was computed."""

    def read_Continue(self, node: ast.Continue) -> None:
        self.emit(Set(self.call.loops[-1].go, truth(False)))

    def read_Break(self, node: ast.Break) -> None:
        loop = self.call.loops[-1]
        loop.left = True
        self.emit(Set(loop.go, truth(False)))
        self.emit(Set(loop.leave, truth(True)))

    def read_Return(self, node: ast.Return) -> None:
        call = self.call
        parts = node.value.elts if isinstance(node.value, ast.Tuple) else [] if node.value is None else [node.value]
        if isinstance(node.value, ast.Call) and isinstance(found := self.resolve(node.value.func), Dispatcher):
            given, several = self.inline(found, node.value)
        else:
            given, several = [self.result(part) for part in parts], isinstance(node.value, ast.Tuple)
        if call.results is None:
            call.results = [self.fresh("result") if isinstance(part, (str, ast.expr)) else part for part in given]
            call.several = several
        if len(call.results) != len(given) or call.several is not several:
            raise self.refuse("results of several kinds")
        for target, part in zip(call.results, given, strict=True):
            if isinstance(part, View) or isinstance(target, View):
                if part != target:
                    raise self.refuse("one of several arrays that is returned")
                continue
            assert isinstance(target, str)
            self.emit(Set(target, part if isinstance(part, ast.expr) else name(str(part))))
        self.emit(Set(call.done, truth(True)))
        for loop in call.loops:
            loop.left = True
        if call.loops:
            self.emit(Set(call.loops[-1].go, truth(False)))
            self.emit(Set(call.loops[-1].leave, truth(True)))

    def result(self, node: ast.expr) -> Any:
        """Read a result: an array, or the expression of a number."""
        view = self.array(node)
        return self.held(self.value(node)) if view is None else view

    def read_Expr(self, node: ast.Expr) -> None:
        if isinstance(node.value, ast.Constant):
            return
        if isinstance(node.value, ast.Call) and isinstance(found := self.resolve(node.value.func), Dispatcher):
            self.inline(found, node.value)
            return
        raise self.refuse("a statement that gives nothing a name")

    def read_AnnAssign(self, node: ast.AnnAssign) -> None:
        if node.value is not None:
            self.assign(node.target, node.value)

    def read_Assign(self, node: ast.Assign) -> None:
        if len(node.targets) == 1:
            self.assign(node.targets[0], node.value)
            return
        found = self.symbol(node.value, "t")
        for target in node.targets:
            self.give(target, found)

    def assign(self, target: ast.expr, node: ast.expr) -> None:
        """Read an assignment."""
        if isinstance(target, (ast.Tuple, ast.List)):
            self.unpack(target, node)
            return
        if isinstance(target, ast.Name):
            if (view := self.array(node)) is not None:
                self.give(target, view)
                return
            if isinstance(node, ast.Tuple):
                self.call.symbols[target.id] = [self.symbol(part, "t") for part in node.elts]
                return
            if isinstance(node, ast.Call) and isinstance(found := self.resolve(node.func), Dispatcher):
                results, several = self.inline(found, node)
                self.give(target, list(results) if several or not results else results[0])
                return
            value = self.value(node)
            self.emit(Set(self.variable(target.id), value))
            return
        if isinstance(target, ast.Subscript):
            view = self.array(target.value)
            if view is None:
                raise self.refuse("an index into what is no array")
            if (part := self.part(target)) is not None:
                self.fill(part, node, None)
                return
            value = self.held(self.value(node))
            self.emit(Store(view.base, self.everywhere(view, self.index(view, target.slice)), value))
            return
        raise self.refuse("an assignment to an attribute")

    def give(self, target: ast.expr, symbol: Symbol) -> None:
        """Give a name, or an element, something that has been read."""
        if isinstance(symbol, str):
            if isinstance(target, ast.Name):
                self.emit(Set(self.variable(target.id), name(symbol)))
                return
            if isinstance(target, ast.Subscript) and (view := self.array(target.value)) is not None:
                self.emit(Store(view.base, self.everywhere(view, self.index(view, target.slice)), name(symbol)))
                return
            raise self.refuse("an assignment to an attribute")
        if not isinstance(target, ast.Name):
            raise self.refuse("an array in the place of a number")
        known = self.call.symbols.get(target.id)
        if isinstance(known, str) and self.call.loops:
            raise self.refuse(f"{target.id}, a number and then an array")
        if isinstance(symbol, View) and isinstance(known, View) and self.is_renewed(known, symbol):
            self.renewed.add(known.base)
            self.check_lengths([known, symbol])
            self.each(known, lambda index: self.emit(Store(known.base, list(index), self.load(symbol, index))))
            return
        if isinstance(symbol, View):
            self.names_of[symbol.base] = self.names_of.get(symbol.base, 0) + 1
        self.call.symbols[target.id] = symbol

    def is_renewed(self, known: View, symbol: View) -> bool:
        """Whether a name gets a new array in a loop: the elements are assigned to the one that it has."""
        return bool(
            self.call.loops
            and not known.places
            and not symbol.places
            and known.axes == symbol.axes
            and known.base not in self.parameters | set(self.constants)
            and not self.names_of.get(symbol.base)
            and symbol.base != known.base
        )

    def unpack(self, target: ast.Tuple | ast.List, node: ast.expr) -> None:
        """Read an assignment to several names."""
        count = len(target.elts)
        if isinstance(node, ast.Attribute) and node.attr == "shape" and (view := self.array(node.value)) is not None:
            if view.axes != count:
                raise self.refuse("a shape that is taken apart")
            for k, part in enumerate(target.elts):
                self.give(part, self.named(self.length(view, k)))
            return
        if isinstance(node, ast.Call) and isinstance(found := self.resolve(node.func), Dispatcher):
            results, _ = self.inline(found, node)
        elif isinstance(node, ast.Tuple):
            if self.swap(target, node):
                return
            results = [self.symbol(part, "t") for part in node.elts]
        elif isinstance(node, ast.Name) and isinstance(known := self.call.symbols.get(node.id), list):
            results = known
        else:
            raise self.refuse("what is taken apart")
        if len(results) != count:
            raise self.refuse("what is taken apart")
        for part, result in zip(target.elts, results, strict=True):
            self.give(part, result)

    def named(self, value: ast.expr) -> str:
        """Return a name for a number."""
        found = self.fresh("t")
        self.emit(Set(found, value))
        return found

    def swap(self, target: ast.Tuple | ast.List, node: ast.Tuple) -> bool:
        """Read `a, b = b, a` of two arrays; return whether it is that."""
        names = [part.id for part in (*target.elts, *node.elts) if isinstance(part, ast.Name)]
        if len(names) != 4 or names[:2] != names[:1:-1]:
            return False
        one, other = (self.call.symbols.get(key) for key in names[:2])
        if not isinstance(one, View) or not isinstance(other, View):
            return False
        if one.places or other.places or one.axes != other.axes or one.base == other.base:
            raise self.refuse("parts of arrays that exchange their names")
        self.check_swap({one.base, other.base}, names[:2])
        self.emit(Swap(one.base, other.base))
        return True

    def check_swap(self, bases: set[str], names: list[str]) -> None:
        """Refuse an exchange that is seen under other names: by a part of an array, a loop over it, a caller."""
        held = [view for call in self.calls for view in call.walked]
        held += [
            symbol
            for call in self.calls
            for key, symbol in call.symbols.items()
            if isinstance(symbol, View) and (call is not self.call or key not in names)
        ]
        if any(view.base in bases for view in held) or bases & (self.parameters | set(self.constants)):
            raise self.refuse("arrays that exchange their names, and have others too")

    def read_AugAssign(self, node: ast.AugAssign) -> None:
        target = node.target
        if isinstance(target, ast.Name):
            symbol = self.call.symbols.get(target.id)
            if isinstance(symbol, View):
                self.fill(symbol, node.value, node.op)
                return
            value = self.value_BinOp(ast.BinOp(ast.Name(target.id, ast.Load()), node.op, node.value))
            self.emit(Set(self.variable(target.id), value))
            return
        if not isinstance(target, ast.Subscript) or (view := self.array(target.value)) is None:
            raise self.refuse("an assignment to an attribute")
        if (part := self.part(target)) is not None:
            self.fill(part, node.value, node.op)
            return
        index = [self.held(one, "at") for one in self.index(view, target.slice)]
        before = self.load(view, index)
        outer, self.out = self.out, []
        try:
            value = self.value(node.value)
        finally:
            inner, self.out = self.out, outer
        if inner:
            before = self.held(before)
            self.out += inner
        if isinstance(node.op, ast.MatMult):
            raise self.refuse("a product of arrays")
        self.emit(Store(view.base, self.everywhere(view, index), ast.BinOp(before, node.op, value)))

    # ------------------------------------------------------------ functions

    def function(self, function: FunctionType, given: dict[str, Symbol]) -> tuple[list[Symbol], bool]:
        """Read a function whose arguments are known; return what it returns, and whether that is a tuple."""
        tree = tree_of(function)
        if function not in self.functions:
            self.functions.append(function)
        outer = dict(zip(function.__code__.co_freevars, function.__closure__ or (), strict=False))
        cells = {}
        for key, cell in outer.items():
            try:
                cells[key] = cell.cell_contents
            except ValueError:
                raise self.refuse(f"{key}, which has no value") from None
        code = function.__code__
        call = Call(function, cells, self.fresh("done"), set(code.co_varnames) | set(code.co_cellvars), given)
        self.calls.append(call)
        place = len(self.out)
        self.statements(tree.body)
        self.calls.pop()
        found = self.out[place:]
        if call.ends:
            found.insert(0, Set(call.done, truth(False)))
        else:
            remove_sets(found, call.done)
        self.out[place:] = found
        return call.results or [], call.several


COPIES = (np.copy,)
CASTS_KEYS, MAKERS_KEYS, LIKES_KEYS = tuple(CASTS), tuple(MAKERS), tuple(LIKES)
JUMPS = (ast.Return, ast.Break, ast.Continue, ast.Raise)


REDUCTIONS = {np.sum: "sum", np.mean: "mean", np.prod: "prod", np.max: "max", np.min: "min", np.amax: "max",
              np.amin: "min", np.var: "var", np.std: "std"}  # fmt: skip
ARRAYS = (np.sum, np.copy, np.full, np.full_like, np.array, np.asarray, np.arange, np.linspace, *MAKERS, *LIKES)


def add_product(total: str, one: ast.expr, other: ast.expr) -> Set:
    """Return the statement that adds a product to a number."""
    return Set(total, ast.BinOp(name(total), ast.Add(), ast.BinOp(one, ast.Mult(), other)))


def product_operands(node: ast.expr, reader: Reader | None = None) -> tuple[ast.expr, ast.expr] | None:
    """Return the two factors of a product of arrays; None for other expressions."""
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.MatMult):
        return node.left, node.right
    if not isinstance(node, ast.Call) or node.keywords:
        return None
    if len(node.args) == 2 and (reader is None or reader.resolve(node.func) is np.dot):
        return node.args[0], node.args[1]
    method = isinstance(node.func, ast.Attribute) and node.func.attr == "dot" and len(node.args) == 1
    if method and (reader is None or reader.resolve(node.func) is MISSING):
        return node.func.value, node.args[0]  # type: ignore[attr-defined]
    return None


def literal_index(node: ast.expr) -> int | None:
    """Return an index that the text says; None for others."""
    if isinstance(node, ast.Constant) and isinstance(node.value, int):
        return node.value
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        inner = literal_index(node.operand)
        return None if inner is None else -inner
    return None


def place_text(place: ast.expr | Open) -> str:
    """Return the text of an index, or of a slice."""
    if not isinstance(place, Open):
        return ast.unparse(place)
    if place.length is None or place.start is None:
        return ":"
    start = ast.unparse(place.start)
    return f"{start} : {start} + {ast.unparse(place.length)}"


def terminates(nodes: list[ast.stmt]) -> bool:
    """Whether what follows a list of statements is never reached."""
    if not nodes:
        return False
    last = nodes[-1]
    return isinstance(last, JUMPS) or (isinstance(last, ast.If) and terminates(last.body) and terminates(last.orelse))


def holds(node: ast.stmt, kinds: Any) -> bool:
    """Whether a statement has jumps inside that leave it."""
    inner = [part for key in ("body", "orelse") for part in getattr(node, key, [])]
    if isinstance(node, (ast.For, ast.While)):
        kinds = tuple(kind for kind in kinds if kind is ast.Return)
    return isinstance(node, kinds) or any(holds(part, kinds) for part in inner)


def assigns(nodes: list[ast.stmt], key: str) -> bool:
    """Whether a name is assigned in some statements."""
    found = [part for node in nodes for part in ast.walk(node)]
    return any(isinstance(part, ast.Name) and part.id == key and isinstance(part.ctx, ast.Store) for part in found)


def remove_sets(statements: list[Statement], key: str) -> None:
    """Remove the assignments to a name that nobody reads."""
    for statement in walk(statements):
        for part in parts_of(statement):
            part[:] = [one for one in part if not (isinstance(one, Set) and one.name == key)]
    statements[:] = [one for one in statements if not (isinstance(one, Set) and one.name == key)]


def tree_of(function: FunctionType) -> ast.FunctionDef:
    """Return the tree of a function's source."""
    try:
        text = textwrap.dedent(inspect.getsource(function))
        tree = ast.parse(text)
    except (OSError, TypeError, SyntaxError):
        raise NotAdjoint("a function without source") from None
    found = tree.body[0]
    code = function.__code__
    if not isinstance(found, ast.FunctionDef) or found.name != code.co_name or found.args.vararg or found.args.kwarg:
        raise NotAdjoint("a function that is not written with def, or takes any number of arguments")
    own = [part.arg for part in (*found.args.posonlyargs, *found.args.args, *found.args.kwonlyargs)]
    if own != list(code.co_varnames[: len(own)]):
        raise NotAdjoint("a function whose source has changed")
    ast.increment_lineno(tree, code.co_firstlineno - 1)
    return found


def read(function: FunctionType, kinds: list[Any]) -> Flat:
    """Read a function; `kinds` has for each argument the axes of an array, "number", or a Constant."""
    reader = Reader()
    tree = tree_of(function)
    keys = [part.arg for part in (*tree.args.posonlyargs, *tree.args.args, *tree.args.kwonlyargs)]
    given: dict[str, Symbol] = {}
    parameters: list[str] = []
    for key, kind in zip(keys, kinds, strict=True):
        if isinstance(kind, Constant):
            given[key] = kind
            continue
        own = reader.fresh(key)
        parameters.append(own)
        reader.parameters.add(own)
        given[key] = View(own, kind) if isinstance(kind, int) else own
    results, several = reader.function(function, given)
    if any(reader.names_of.get(base, 0) > 1 for base in reader.renewed):
        raise reader.refuse("another array in each iteration, which has other names too")
    found: list[str] = []
    for part in results:
        if isinstance(part, View) and not part.places:
            found.append(part.base)
        elif isinstance(part, str):
            found.append(part)
        else:
            raise reader.refuse("what is returned")
    return Flat(
        function.__name__, parameters, reader.out, found, several, reader.constants, reader.functions, reader.loose
    )
