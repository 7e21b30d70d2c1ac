"""How an elementwise op is declared: a primal function, a partials function, and what is known of them."""

from __future__ import annotations

import ast
import functools
import inspect
import math
import textwrap
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from numbad.errors import message

inf = math.inf
ABSENT = -0.0  # a partial through which nothing flows: every sweep keeps these bits, and adding them changes nothing


@dataclass(frozen=True)
class Interval:
    """An interval of the real line; `closed` says whether finite ends belong to it.

    Parameters
    ----------
    low, high : float
        The ends; -inf and inf by default.
    closed : bool
        Whether finite ends belong to the interval.

    Examples
    --------
    >>> import numbad
    >>> numbad.Interval(0.0, closed=False)
    Interval(low=0.0, high=inf, closed=False)
    """

    low: float = -inf
    high: float = inf
    closed: bool = True


REALS = Interval()


class DefinitionError(TypeError):
    """An op's block is not well formed; the message begins with file:line."""


@dataclass(eq=False)
class Op:
    """An elementwise op of one or two operands, defined by two functions of numbers.

    Attributes
    ----------
    primal : callable
        The value as a function of `x` (and `y`).
    partials_function : callable
        The partial derivatives as a function of any of `x`, `y` and the output `z`: one
        expression, or a pair for a binary op. It runs on numbers (compiled into the sweeps) and
        on recording values (to emit derivative rows), so one text serves every order.
    domain : tuple of Interval
        Where the op is defined, an interval for each operand.
    kinks : tuple of float
        Points (of a unary op), or differences x - y (of a binary one), where it is not
        differentiable.
    ufunc : str
        Name of the NumPy or SciPy ufunc that this op is, if there is one.
    host : bool
        True when the primal is a SciPy function: sweeps stop at the row and call it.
    opcode : int
        Its number in the tape, given by the order of registration.
    symbol : str
        How Python writes it: the sign between two operands, or a text with `x` for the one.
    python : bool
        Whether Python itself computes it, by an operator or `abs`, where operands are its numbers.
    unit : float or None
        The number that changes nothing, not one bit, whichever operand it is.
    of_truths : str
        Name of the op that it comes to between truth values.
    squares : bool
        Whether its value is a square, or a sum of squares, whatever the operands are.
    cheaper_function : callable or None
        See `cheaper`.
    """

    name: str
    primal: Callable[..., Any]
    arity: int
    domain: tuple[Interval, ...]
    kinks: tuple[float, ...]
    reference: str
    ufunc: str
    host: bool
    smooth: bool
    note: str
    opcode: int
    boolean: bool = False
    symbol: str = ""
    python: bool = False
    unit: float | None = None
    of_truths: str = ""
    squares: bool = False
    partials_function: Callable[..., Any] = field(default=None)  # type: ignore[assignment]
    cheaper_function: Callable[..., Any] | None = None

    def partials(self, function: Callable[..., Any]) -> Op:
        """Register the partials function (used as a decorator)."""
        parameters = names_of(function)
        allowed = ("x", "y")[: self.arity] + ("z",)
        unknown = [name for name in parameters if name not in allowed]
        if unknown:
            complain(function, f"partials take {', '.join(allowed)}, not {', '.join(unknown)}")
        if self.partials_function is not None:
            complain(function, f"{self.name} has partials already")
        self.partials_function = function
        return self

    def cheaper(self, function: Callable[..., Any]) -> Op:
        """Register what the op comes to for some operands (used as a decorator).

        The function is given floats where operands are known, and slots, which are integers, where they are not. It
        returns the number or the slot that the value is, a pair of another op and its operands, or None.
        """
        self.cheaper_function = function
        return self

    def write(self, operands: Sequence[str]) -> str:
        """Write the op with its operands, as Python would."""
        if not self.symbol:
            return f"{self.name}({', '.join(operands)})"
        return f" {self.symbol} ".join(operands) if self.arity == 2 else self.symbol.replace("x", operands[0])

    @property
    def compares(self) -> bool:
        """Whether it compares two numbers: of the ops with a truth value, those that Python writes with <, > or =."""
        return self.boolean and not {"<", ">", "="}.isdisjoint(self.symbol)

    def symbolic_partials(self, x: Any, y: Any, z: Any) -> tuple[Any, ...]:
        """Return the partials as a tuple, for operands that are numbers or recording values."""
        values = {"x": x, "y": y, "z": z}
        result = self.partials_function(*[values[name] for name in names_of(self.partials_function)])
        return result if self.arity == 2 else (result,)

    def number_partials(self, x: Any, y: Any, z: Any) -> tuple[Any, ...]:
        """Return the partials as numbers or arrays: zeros that were computed are +0.0, those that are absent -0.0."""
        found = self.symbolic_partials(x, y, z)
        return tuple(part if flag else part + 0.0 for part, flag in zip(found, absences(self), strict=True))

    def evaluate(self, *operands: Any) -> Any:
        """Return the value for numbers or arrays, computed by NumPy or SciPy."""
        function = find_ufunc(self.ufunc) if self.ufunc else self.primal
        with np.errstate(all="ignore"):
            return function(*operands)

    def __call__(self, *operands: Any) -> Any:
        """Record the op if an operand is recording, else evaluate it."""
        for operand in operands:
            record = getattr(operand, "record_op", None)
            if record is not None:
                return record(self, operands)
        return self.evaluate(*operands)

    def __repr__(self) -> str:
        return f"<op {self.name}>"


@functools.cache
def names_of(function: Callable[..., Any]) -> tuple[str, ...]:
    """Return the names of a function's parameters."""
    return tuple(inspect.signature(function).parameters)


REGISTRY: list[Op] = []
BY_NAME: dict[str, Op] = {}
BY_UFUNC: dict[str, Op] = {}
MOST_OPS = 256
BUILDING = True  # False once the library's own ops are registered: later ones are not in the compiled sweeps


def op(
    function: Callable[..., Any] | None = None,
    *,
    domain: Interval | tuple[Interval, ...] = REALS,
    kinks: tuple[float, ...] = (),
    reference: str = "",
    ufunc: str | None = None,
    host: bool = False,
    smooth: bool = True,
    boolean: bool = False,
    note: str = "",
    symbol: str = "",
    python: bool = False,
    unit: float | None = None,
    of_truths: str = "",
    squares: bool = False,
) -> Any:
    """Declare an elementwise op from its primal function.

    Parameters
    ----------
    function : callable, optional
        The primal: a function of `x`, or of `x` and `y`, of straight-line code. Without it, a decorator is returned.
    domain : Interval or tuple of Interval
        Where the op is defined, one for each operand.
    kinks : tuple of float
        Where the op is not differentiable: points of an op of `x`, differences x - y of an op of `x` and `y`.
    reference : str
        Where the formula stands, for instance "DLMF 4.2".
    ufunc : str, optional
        The ufunc that the op implements, as `numpy.sin` or `scipy.special.erf`. By default the NumPy
        ufunc of the same name; an empty string if there is none.
    host : bool
        The primal is the ufunc of SciPy: Python calls it, and it is not compiled. So it is for all ops that are
        declared outside of numbad.
    smooth : bool
        False for a piecewise constant op, whose partials are zero.
    boolean : bool
        The result is a truth value, kept as 0.0 or 1.0.
    note : str
        Said in the documentation: why an accuracy target is not met, and the like.
    symbol : str
        How Python writes the op, where it can: the sign between two operands, as "+", or a text with x, as "-x".
    python : bool
        Python itself computes the op where the operands are its own numbers. So it is for all with a symbol whose
        result is no truth value.
    unit : float, optional
        The number that, as either operand, leaves the other as it is, the sign of zero included: 1.0 of a product.
    of_truths : str
        Name of the op that this one comes to between truth values, as "logical_or" for a sum.
    squares : bool
        The result is a square, or a sum of squares, so that its root is a norm.

    Returns
    -------
    Op
        Callable on floats, ndarrays and recording values; `.partials` registers its derivative.

    Raises
    ------
    DefinitionError
        (A TypeError.) When the parameters are not x, or x and y; when there is an op of that name already, or 256 ops
        are there.

    Examples
    --------
    >>> import numbad
    >>> @numbad.op
    ... def doubled_cube(x):
    ...     return 2.0 * x * x * x
    >>> @doubled_cube.partials
    ... def doubled_cube_partials(x):
    ...     return 6.0 * x * x
    >>> numbad.grad(doubled_cube)(2.0)
    24.0
    """
    given = dict(locals())
    if function is None:
        return functools.partial(op, **{name: value for name, value in given.items() if name != "function"})
    parameters = tuple(inspect.signature(function).parameters)
    if parameters not in (("x",), ("x", "y")):
        complain(function, f"the operands of an op are x, or x and y, not {', '.join(parameters)}")
    name = function.__name__
    if name in BY_NAME:
        complain(function, f"there is an op {name} already")
    if ufunc is None:
        ufunc = f"numpy.{name}" if isinstance(getattr(np, name, None), np.ufunc) else ""
    if len(REGISTRY) == MOST_OPS:
        complain(function, f"there are {MOST_OPS} ops already")
    domains = domain if isinstance(domain, tuple) else (domain,) * len(parameters)
    new = Op(
        name,
        function,
        len(parameters),
        domains,
        kinks,
        reference,
        ufunc,
        host or not BUILDING,
        smooth,
        note,
        len(REGISTRY),
        boolean,
        symbol,
        python or (bool(symbol) and not boolean),
        unit,
        of_truths,
        squares,
    )
    new.__doc__ = function.__doc__
    if not smooth:
        new.partials_function = zero_partial if new.arity == 1 else zero_partials
    REGISTRY.append(new)
    BY_NAME[name] = new
    if ufunc:
        BY_UFUNC[ufunc.rpartition(".")[2]] = new
    return new


def zero_partial() -> float:
    """The partial of a piecewise constant op of one operand."""
    return ABSENT


def zero_partials() -> tuple[float, float]:
    """The partials of a piecewise constant op of two operands."""
    return ABSENT, ABSENT


def where(condition: Any, x: Any, y: Any) -> Any:
    """Select `x` where the condition holds, else `y`: for numbers, arrays and recording values.

    The bodies of ops say `where` instead of `if`, so that they run on recording values too.
    """
    return np.where(condition, x, y)


def is_number(operand: float, value: float) -> bool:
    """Whether what `Op.cheaper` is given is a number, the sign of zero included."""
    return isinstance(operand, float) and operand.hex() == value.hex()


def absent(x: Any) -> Any:
    """Whether a cotangent, tangent or partial is absent: -0.0. A zero that was computed is +0.0, and is a number."""
    return (x == 0.0) & np.signbit(x)


def as_is(x: Any) -> Any:
    """Mark an operand that is a partial with its absence: a cotangent. Other computed partials are numbers."""
    return x


def find_ufunc(path: str) -> Callable[..., Any]:
    """Import the ufunc of a dotted name."""
    module, _, name = path.rpartition(".")
    return getattr(np if module == "numpy" else __import__(module, fromlist=[name]), name)


def complain(function: Callable[..., Any], what: str) -> None:
    """Raise a DefinitionError that names the function's place."""
    code = function.__code__
    raise DefinitionError(f"{code.co_filename}:{code.co_firstlineno}: {function.__name__}: {what}")


def body(function: Callable[..., Any]) -> tuple[list[ast.stmt], ast.expr]:
    """Return the assignments and the returned expression of a straight-line function."""
    tree = ast.parse(textwrap.dedent(source_of(function))).body[0]
    assert isinstance(tree, ast.FunctionDef)
    statements = tree.body
    if isinstance(statements[0], ast.Expr) and isinstance(statements[0].value, ast.Constant):
        statements = statements[1:]
    *assignments, last = statements
    if not all(isinstance(line, ast.Assign) for line in assignments) or not isinstance(last, ast.Return):
        complain(function, "the body of an op is assignments and one return; choose with where()")
    assert isinstance(last, ast.Return) and last.value is not None
    return assignments, last.value


def source_of(function: Callable[..., Any]) -> str:
    """Return the text of a function; OSError if there is none, and ImportError where it is one of numbad's own."""
    try:
        return inspect.getsource(function)
    except OSError:
        if function.__module__.partition(".")[0] == "numbad":
            cure = 'pack them, too: with PyInstaller by module_collection_mode={"numbad": "pyz+py"}'
            raise ImportError(message("numbad is packed without its source files", cure, where=False)) from None
        raise


@functools.cache
def absences(op: Op) -> tuple[bool, ...]:
    """Say of each partial whether it may be absent: its text names ABSENT or `as_is`, by way of assignments too.

    An op without text, of the user's own, has partials that are numbers.
    """
    try:
        assignments, value = body(op.partials_function)
    except (OSError, TypeError, SyntaxError, DefinitionError, AssertionError):
        return (False,) * op.arity
    found: set[str] = {"ABSENT", "as_is"}
    for line in assignments:
        if isinstance(line, ast.Assign) and names_used(line.value) & found:
            found |= names_used(line.targets[0])
    parts = value.elts if isinstance(value, ast.Tuple) else [value]
    return tuple(bool(names_used(part) & found) for part in parts)


def names_used(tree: ast.AST) -> set[str]:
    """Return the names in a tree."""
    return {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}


def check_registry() -> None:
    """Raise a DefinitionError for an op without partials."""
    global BUILDING
    for entry in REGISTRY:
        if entry.partials_function is None:
            complain(entry.primal, "an op needs partials, or smooth=False")
    BUILDING = False
