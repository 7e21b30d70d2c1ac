"""The statements of a kernel as its adjoint is made of them: few kinds, without jumps, calls or names used twice."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass, field
from types import FunctionType

import numpy as np


class NotAdjoint(Exception):
    """The function has something that is not taken: what it is, and in which line."""

    def __init__(self, what: str, line: int = 0) -> None:
        super().__init__(what)
        self.what, self.line = what, line


@dataclass
class Set:
    """A number that gets a name."""

    name: str
    value: ast.expr


@dataclass
class Store:
    """An element of an array that is assigned."""

    array: str
    index: list[ast.expr]
    value: ast.expr


@dataclass
class New:
    """An array that is made: by np.zeros and the like, or as a copy of another."""

    array: str
    value: ast.expr
    axes: int
    source: str = ""  # the array whose elements it copies


@dataclass
class Swap:
    """Two arrays that exchange their names."""

    one: str
    other: str


@dataclass
class If:
    """A branch by the truth of a name."""

    test: str
    body: list[Statement] = field(default_factory=list)
    orelse: list[Statement] = field(default_factory=list)


@dataclass
class For:
    """A loop over a range; `leave` is the name of the truth that ends it."""

    name: str
    start: str
    stop: str
    step: str
    body: list[Statement] = field(default_factory=list)
    leave: str = ""


@dataclass
class While:
    """A loop that computes first whether it goes on."""

    test: str
    before: list[Statement] = field(default_factory=list)
    body: list[Statement] = field(default_factory=list)
    leave: str = ""


Statement = Set | Store | New | Swap | If | For | While


@dataclass
class Flat:
    """A kernel with all that it calls, as one list of statements.

    Attributes
    ----------
    name : str
        Of the user's function.
    parameters : list of str
        The arguments' names.
    results : list of str
        Names of the numbers or arrays that it returns.
    several : bool
        Whether it returns a tuple.
    constants : dict
        Arrays from outside of the function, by the names they have here.
    functions : list
        The function, and those that it calls.
    loose : bool
        Whether sums are in another order than Numba's, which leaves products to BLAS.
    """

    name: str
    parameters: list[str]
    body: list[Statement]
    results: list[str]
    several: bool
    constants: dict[str, np.ndarray] = field(default_factory=dict)
    functions: list[FunctionType] = field(default_factory=list)
    loose: bool = False


def parts_of(statement: Statement) -> list[list[Statement]]:
    """Return the lists of statements inside of one."""
    if isinstance(statement, If):
        return [statement.body, statement.orelse]
    if isinstance(statement, For):
        return [statement.body]
    return [statement.before, statement.body] if isinstance(statement, While) else []


def walk(statements: list[Statement]) -> Iterator[Statement]:
    """Give all statements, those inside of others too."""
    for statement in statements:
        yield statement
        for part in parts_of(statement):
            yield from walk(part)


def names_in(node: ast.AST) -> set[str]:
    """Return the names that an expression reads."""
    return {part.id for part in ast.walk(node) if isinstance(part, ast.Name)}


def has_loops(statement: Statement) -> bool:
    """Whether there is a loop, or an array that is made, in a statement."""
    return any(isinstance(part, (For, While, New, Swap)) for part in walk([statement]))
