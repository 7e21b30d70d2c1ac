"""Checks of derivatives, for the tests of numbad and of its users: against difference quotients, and of the
forward against the reverse mode.

A check passes in silence or raises an AssertionError that says what was found, what was expected
and where. A value that is not finite never passes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

import numbad
from numbad.errors import message
from numbad.ops.definition import Interval, Op
from numbad.recording.arrays import make_block
from numbad.recording.elementwise import record
from numbad.recording.recorder import Recorder
from numbad.recording.trees import flatten

FIRST_STEP = 2.0**-5  # relative to the larger of 1 and the input
LEVELS = 40  # step sizes that are tried
DEPTH = 6  # columns of the extrapolation table
ALL = 12  # inputs or outputs: up to so many are checked one by one, more by random combinations
SAMPLES = 3  # random combinations
TOLERANCE = {np.dtype(np.float64): 1e-6, np.dtype(np.float32): 4e-4}
SLACK = 1e-2  # of the relative tolerance: the default absolute one, times the size of what is compared
ROUNDING = 2.0**-53  # of a difference of two numbers of size 1
UNRESOLVED = 1e-4  # relative error of a difference quotient that is too large to check anything

Tree = Any


class Layout:
    """How a tree of numbers and arrays is a vector."""

    def __init__(self, tree: Tree) -> None:
        leaves, self.rebuild = flatten(tree)
        self.shapes = [np.shape(leaf) for leaf in leaves]
        self.kinds = [type(leaf) for leaf in leaves]
        self.dtypes = [leaf.dtype if isinstance(leaf, (np.ndarray, np.generic)) else None for leaf in leaves]
        self.sizes = [math.prod(shape) for shape in self.shapes]
        self.size = sum(self.sizes)

    def tree(self, vector: np.ndarray, exact: bool) -> Tree:
        """Return a vector as a tree: in the dtypes that it had, or all in double precision."""
        leaves: list[Any] = []
        start = 0
        for shape, kind, dtype, size in zip(self.shapes, self.kinds, self.dtypes, self.sizes, strict=True):
            part = vector[start : start + size].reshape(shape)
            start += size
            if dtype is None:
                leaves.append(float(part))
                continue
            wanted = dtype if exact else np.dtype(np.float64)
            leaves.append(wanted.type(part) if issubclass(kind, np.generic) else part.astype(wanted))
        return self.rebuild(leaves)

    def rounded(self, vector: np.ndarray) -> np.ndarray:
        """Return a vector as its dtypes would hold it."""
        return as_vector(self.tree(vector, exact=True))

    @property
    def single(self) -> bool:
        """Whether a leaf is in single precision."""
        return np.dtype(np.float32) in self.dtypes


def as_vector(tree: Tree) -> np.ndarray:
    """Return all numbers of a tree, in double precision."""
    leaves, _ = flatten(tree)
    parts = []
    for leaf in leaves:
        if leaf is None or isinstance(leaf, str) or np.asarray(leaf).dtype.kind not in "fiub":
            fail(f"a {type(leaf).__name__} is neither a number nor an array", "return numbers and arrays of numbers")
        parts.append(np.asarray(leaf, np.float64).reshape(-1))
    return np.concatenate(parts) if parts else np.zeros(0)


def argument_tuple(args: Any) -> tuple[Any, ...]:
    """Return the arguments of a function, or raise a TypeError where one argument stands for all of them."""
    if not isinstance(args, (tuple, list)):
        raise TypeError(
            message(
                f"args is a {type(args).__name__}; it holds the arguments of the function, in order",
                "for one argument pass a tuple of one: check_grads(f, (x,))",
            )
        )
    return tuple(args)


def fail(what: str, do: str) -> None:
    """Raise an AssertionError of the three parts."""
    raise AssertionError(message(what, do))


# ---------------------------------------------------------------- difference quotients


def difference(
    function: Callable[[np.ndarray], np.ndarray], point: np.ndarray, direction: np.ndarray, step: float = FIRST_STEP
) -> tuple[np.ndarray, np.ndarray]:
    """Return the directional derivative by central differences, extrapolated to step zero, and its error.

    The step is halved again and again, and the quotients are extrapolated after Richardson; for each
    component the estimate is kept that differs least from its neighbours in the table (Ridders 1982,
    "Accurate computation of F'(x) and F'(x)F''(x)"). Steps at which the function is not finite are passed over.

    Parameters
    ----------
    function : callable
        A function from a vector to a vector.
    point, direction : ndarray
        Where, and in which direction.
    step : float
        The first and largest step.

    Returns
    -------
    estimate, error : ndarray
        The derivative and how far it may be off; infinite where no step gave a finite quotient.
    """
    estimate: Any = None
    error: Any = None
    size = 0.0
    table: list[np.ndarray] = []
    for _ in range(LEVELS):
        with np.errstate(all="ignore"):
            above, below = function(point + step * direction), function(point - step * direction)
            quotient = (above - below) / (2.0 * step)
        if estimate is None:
            estimate, error = np.zeros_like(quotient), np.full(quotient.shape, np.inf)
        if not np.isfinite(quotient).all() and not table:
            step /= 16.0
            if not np.isfinite(quotient).any():
                continue
        size = max(size, float(np.max(np.abs(above), initial=0.0, where=np.isfinite(above))))
        row = [quotient]
        with np.errstate(all="ignore"):
            for column, before in enumerate(table[: DEPTH - 1]):
                row.append(row[-1] + (row[-1] - before) / (4.0 ** (column + 1) - 1.0))
                doubt = np.maximum(np.abs(row[-1] - row[-2]), np.abs(row[-1] - before)) + ROUNDING * size / step
                better = (doubt < error) & (column > 0)
                estimate = np.where(better, row[-1], estimate)
                error = np.where(better, doubt, error)
        table = row
        step /= 2.0
        if np.all(error <= 1e-10 * np.maximum(np.abs(estimate), size)):
            break
    return estimate, error


def directions(size: int, scale: np.ndarray, seed: int) -> np.ndarray:
    """Return vectors to multiply a Jacobian with: all unit vectors if they are few, else random ones."""
    if size <= ALL:
        return np.diag(scale) if size else np.zeros((0, 0))
    return np.random.default_rng(seed).standard_normal((SAMPLES, size)) * scale


class Numeric:
    """What difference quotients say about a function at a point."""

    def __init__(self, f: Callable[..., Any], args: Sequence[Any], eps: float | None) -> None:
        self.args = argument_tuple(args)
        self.inputs = Layout(self.args)
        self.point = as_vector(self.args)
        if not np.isfinite(self.point).all():
            fail("the point at which a derivative is to be checked is not finite", "choose a finite point")
        self.value = f(*self.args)
        self.outputs = Layout(self.value)
        self.values = as_vector(self.value)
        if not np.isfinite(self.values).all():
            fail(
                f"the function is {self.values[~np.isfinite(self.values)][0]} at the point",
                "check the derivative where the function is finite",
            )
        self.tangents = directions(self.inputs.size, np.maximum(np.abs(self.point), 1.0), 1)
        if self.inputs.single:
            self.tangents = np.array([self.inputs.rounded(v) for v in self.tangents]).reshape(self.tangents.shape)
        self.cotangents = directions(self.outputs.size, np.ones(self.outputs.size), 2)

        def function(vector: np.ndarray) -> np.ndarray:
            return as_vector(f(*self.inputs.tree(vector, exact=False)))

        found = [difference(function, self.point, v, eps or FIRST_STEP) for v in self.tangents]
        shape = (len(self.tangents), self.outputs.size)
        self.slopes = np.array([estimate for estimate, _ in found]).reshape(shape)
        self.errors = np.array([error for _, error in found]).reshape(shape)
        self.size = max(np.max(np.abs(self.slopes), initial=0.0), np.max(np.abs(self.values), initial=0.0))
        if not np.isfinite(self.slopes).all() or (self.errors > UNRESOLVED * self.size).any():
            fail(
                "the difference quotients do not settle as the step shrinks: the function is not smooth, not finite, "
                "or not precise near the point",
                "choose a point away from kinks and borders, or pass another eps (the first step)",
            )

    def tolerances(self, atol: float | None, rtol: float | None) -> tuple[float, float]:
        """Return absolute and relative tolerance, by default those of the dtype."""
        single = self.inputs.single or self.outputs.single
        relative = TOLERANCE[np.dtype(np.float32 if single else np.float64)] if rtol is None else rtol
        return (SLACK * relative * self.size if atol is None else atol), relative


def at(names: tuple[str, str], place: tuple[int, ...]) -> str:
    """Say where in a comparison something is."""
    return ", ".join(f"{name} {k}" for name, k in zip(names, place, strict=True) if name)


def compare(
    found: np.ndarray, expected: np.ndarray, slack: Any, rtol: float, what: str, names: tuple[str, str]
) -> None:
    """Raise unless all entries are finite and close."""
    if found.shape != expected.shape:
        fail(f"{what} has the shape {found.shape}; {expected.shape} is expected", "mend the derivative")
    bad = ~np.isfinite(found)
    if bad.any():
        place = tuple(int(k[0]) for k in np.nonzero(bad))
        fail(
            f"{what} is {found[place]} at {at(names, place)}; the difference quotient is {expected[place]:.10g}",
            "mend the derivative, or check it where it is finite",
        )
    excess = np.abs(found - expected) - (slack + rtol * np.maximum(np.abs(found), np.abs(expected)))
    if (excess > 0.0).any():
        place = tuple(int(k) for k in np.unravel_index(int(np.argmax(excess)), excess.shape))
        fail(
            f"{what} is {found[place]:.10g} at {at(names, place)}; {expected[place]:.10g} is expected",
            "mend the derivative; if the function is ill-conditioned there, pass atol or rtol",
        )


# ---------------------------------------------------------------- checks


def check_value(numeric: Numeric, value: Tree, rtol: float, what: str) -> None:
    """Compare the value that a derivative came with to that of the function."""
    found = as_vector(value)
    slack = rtol * np.max(np.abs(numeric.values), initial=0.0)
    compare(found[None], numeric.values[None], slack, rtol, f"the value that {what} returns", ("", "output"))


def check_jvp(
    f: Callable[..., Any],
    f_jvp: Callable[..., Any],
    args: Sequence[Any],
    atol: float | None = None,
    rtol: float | None = None,
    eps: float | None = None,
) -> None:
    """Compare Jacobian-vector products with difference quotients.

    Parameters
    ----------
    f : callable
        A function of numbers, arrays and trees of them, that returns such a thing.
    f_jvp : callable
        `f_jvp(primals, tangents)` returns the value and its tangent, as
        `functools.partial(numbad.jvp, f)` does.
    args : tuple or list
        The arguments at which to check: floats, ndarrays of float64 or float32, or trees.
    atol, rtol : float, optional
        Absolute and relative tolerance. By default 1e-6 relative to the derivative, 4e-4 in single
        precision, and a hundredth of that relative to the largest number met.
    eps : float, optional
        The first step of the difference quotients; it is halved until they settle.

    Raises
    ------
    AssertionError
        When they differ or are not finite, when the function is not finite at the point, or when the difference
        quotients do not settle.
    TypeError
        When `args` is not a tuple or a list.

    Notes
    -----
    `f` runs on plain numbers, up to 80 times for each direction. Up to twelve inputs and outputs are checked one by
    one, more of them by three random combinations.

    References
    ----------
    .. [1] C. J. F. Ridders, "Accurate computation of F'(x) and F'(x)F''(x)", *Advances in Engineering Software* 4
       (1982), 75-76.

    Examples
    --------
    >>> import numpy as np
    >>> from numbad.testing import check_jvp
    >>> check_jvp(np.sin, lambda primals, tangents: (np.sin(primals[0]), np.cos(primals[0]) * tangents[0]), (0.5,))
    """
    numeric = Numeric(f, args, eps)
    compare_jvp(numeric, f_jvp, atol, rtol)


def compare_jvp(numeric: Numeric, f_jvp: Callable[..., Any], atol: float | None, rtol: float | None) -> np.ndarray:
    """Compare Jacobian-vector products with difference quotients; return them, a row for each direction."""
    atol, rtol = numeric.tolerances(atol, rtol)
    found = np.zeros(numeric.slopes.shape)
    for k, tangent in enumerate(numeric.tangents):
        value, product = f_jvp(numeric.args, numeric.inputs.tree(tangent, exact=True))
        check_value(numeric, value, rtol, "the JVP")
        vector = as_vector(product)
        if vector.shape != numeric.values.shape:
            fail(f"the JVP has {vector.size} elements; the value has {numeric.values.size}", "mend the derivative")
        found[k] = vector
    compare(found, numeric.slopes, atol + 2.0 * numeric.errors, rtol, "the JVP", ("direction", "output"))
    return found


def check_vjp(
    f: Callable[..., Any],
    f_vjp: Callable[..., Any],
    args: Sequence[Any],
    atol: float | None = None,
    rtol: float | None = None,
    eps: float | None = None,
) -> None:
    """Compare vector-Jacobian products with difference quotients.

    Parameters
    ----------
    f : callable
        A function of numbers, arrays and trees of them, that returns such a thing.
    f_vjp : callable
        `f_vjp(*args)` returns the value and its pullback, as `functools.partial(numbad.vjp, f)` does.
    args : tuple or list
        The arguments at which to check: floats, ndarrays of float64 or float32, or trees.
    atol, rtol : float, optional
        Absolute and relative tolerance. By default 1e-6 relative to the derivative, 4e-4 in single
        precision, and a hundredth of that relative to the largest number met.
    eps : float, optional
        The first step of the difference quotients; it is halved until they settle.

    Raises
    ------
    AssertionError
        When they differ or are not finite, when the function is not finite at the point, or when the difference
        quotients do not settle.
    TypeError
        When `args` is not a tuple or a list.

    Notes
    -----
    `f` runs on plain numbers, up to 80 times for each direction. Up to twelve inputs and outputs are checked one by
    one, more of them by three random combinations.

    References
    ----------
    .. [1] C. J. F. Ridders, "Accurate computation of F'(x) and F'(x)F''(x)", *Advances in Engineering Software* 4
       (1982), 75-76.

    Examples
    --------
    >>> import numpy as np
    >>> from numbad.testing import check_vjp
    >>> check_vjp(np.sin, lambda x: (np.sin(x), lambda bar: (np.cos(x) * bar,)), (0.5,))
    """
    numeric = Numeric(f, args, eps)
    compare_vjp(numeric, f_vjp, atol, rtol)


def compare_vjp(numeric: Numeric, f_vjp: Callable[..., Any], atol: float | None, rtol: float | None) -> np.ndarray:
    """Compare vector-Jacobian products with difference quotients; return them, a row for each cotangent."""
    atol, rtol = numeric.tolerances(atol, rtol)
    value, pullback = f_vjp(*numeric.args)
    check_value(numeric, value, rtol, "the VJP")
    found = np.zeros((len(numeric.cotangents), numeric.inputs.size))
    for k, cotangent in enumerate(numeric.cotangents):
        vector = as_vector(pullback(numeric.outputs.tree(cotangent, exact=True)))
        if vector.size != numeric.inputs.size:
            fail(f"the VJP has {vector.size} elements; the inputs have {numeric.inputs.size}", "mend the derivative")
        found[k] = vector
    bad = ~np.isfinite(found)
    if bad.any():
        place = tuple(int(k[0]) for k in np.nonzero(bad))
        fail(
            f"the VJP is {found[place]} at cotangent {place[0]}, input {place[1]}",
            "mend the derivative, or check it where it is finite",
        )
    weights = np.abs(numeric.cotangents)
    slack = atol * np.maximum(weights.sum(axis=1), 1.0)[:, None] + 2.0 * weights @ numeric.errors.T
    size = rtol * weights @ np.abs(numeric.slopes.T)
    products = found @ numeric.tangents.T
    expected = numeric.cotangents @ numeric.slopes.T
    compare(products, expected, slack + size, 0.0, "the VJP", ("cotangent", "direction"))
    return found


def check_dot_product(
    f: Callable[..., Any], args: Sequence[Any], rtol: float | None = None, samples: int = SAMPLES
) -> None:
    """Check that forward and reverse mode are transposes of each other: <J v, w> = <v, J' w>.

    Parameters
    ----------
    f : callable
        A function of numbers, arrays and trees of them, that returns such a thing.
    args : tuple or list
        The arguments at which to check: floats, ndarrays of float64 or float32, or trees.
    rtol : float, optional
        Relative tolerance: by default 1e-10, 1e-4 in single precision.
    samples : int
        Pairs of random v and w.

    Raises
    ------
    AssertionError
        When they differ, or are not finite.
    TypeError
        When `args` is not a tuple or a list.

    Notes
    -----
    One `numbad.vjp`, and for each pair one `numbad.jvp` and one call of the pullback.

    Examples
    --------
    >>> import numpy as np
    >>> from numbad.testing import check_dot_product
    >>> check_dot_product(lambda x: x[:2] * np.sin(x[1:]), (np.array([0.5, 1.0, 1.5]),))
    """
    args = argument_tuple(args)
    inputs = Layout(args)
    value, pullback = numbad.vjp(f, *args)
    outputs = Layout(value)
    single = inputs.single or outputs.single
    tolerance = (1e-4 if single else 1e-10) if rtol is None else rtol
    values, points = np.abs(as_vector(value)), np.abs(as_vector(args))
    rounding = 1e3 * np.finfo(np.float32 if single else np.float64).eps / (points.max(initial=0.0) or 1.0)
    generator = np.random.default_rng(3)
    for _ in range(samples):
        v = inputs.rounded(generator.standard_normal(inputs.size))
        w = outputs.rounded(generator.standard_normal(outputs.size))
        pushed = as_vector(numbad.jvp(f, args, inputs.tree(v, exact=True))[1])
        pulled = as_vector(pullback(outputs.tree(w, exact=True)))
        size = float(np.abs(pushed) @ np.abs(w) + np.abs(pulled) @ np.abs(v))
        one, other = float(pushed @ w), float(v @ pulled)
        noise = float(rounding * (values @ np.abs(w)) * np.abs(v).sum())  # of derivatives that cancel to zero
        if not abs(one - other) <= tolerance * size + noise or not math.isfinite(size):
            fail(f"<J v, w> is {one:.15g} and <v, J' w> is {other:.15g}", "mend the rule of one of the two modes")


def check_sparsity(
    f: Callable[..., Any], *points: Any, second: bool = False, samples: int = 3, rtol: float = 1e-10, seed: int = 0
) -> None:
    """Check the sparse derivatives of a function against dense ones, at a point and at random points near it.

    Parameters
    ----------
    f : callable
        A function that `numbad.sparse_jacobian` takes, or with `second` `numbad.sparse_hessian`.
    *points : float, ndarray of float64 or float32, or tree
        The arguments at which to check. All are differentiated.
    second : bool
        Whether the second derivatives are checked.
    samples : int
        At how many random points besides, each up to a tenth away.
    rtol : float
        How far entries may differ, relative to the largest one and at least to 1. In single precision at least 1e-4.
    seed : int
        Of the random points.

    Raises
    ------
    AssertionError
        When the pattern misses an entry of the dense derivative that is not zero, or an entry differs.

    Notes
    -----
    One dense derivative for each point: meant for some hundred inputs. A random point that takes another path
    is checked on that path.

    Examples
    --------
    >>> import numpy as np
    >>> from numbad.testing import check_sparsity
    >>> check_sparsity(lambda x: x[1:] * x[:-1], np.array([1.0, 2.0, 3.0]))
    >>> check_sparsity(lambda x: np.sum(x[1:] * x[:-1] ** 2), np.array([1.0, 2.0, 3.0]), second=True)
    """
    random = np.random.default_rng(seed)
    layout = Layout(points)
    start = np.concatenate([np.ravel(leaf).astype(np.float64) for leaf in flatten(points)[0]] or [np.zeros(0)])
    places = tuple(range(len(points)))
    for k in range(samples + 1):
        near = start if k == 0 else start + 0.1 * np.maximum(1.0, np.abs(start)) * random.uniform(-1, 1, start.shape)
        at = layout.tree(near, True)
        sparse: Any = (numbad.sparse_hessian if second else numbad.sparse_jacobian)(f, *at, argnums=places)
        dense: Any = (numbad.hessian if second else numbad.jacobian)(f, *at, argnums=places)
        sizes = [Layout(point).size for point in at]
        what = f"{'second ' if second else ''}derivative at point {k}"
        for whole, found in zip(dense, sparse, strict=True) if second else ((dense, sparse),):
            for block, matrix in zip(columns_of_blocks(whole, at, sizes), found, strict=True):
                compare_sparse(block, matrix, rtol, what)


def columns_of_blocks(dense: Any, at: Any, sizes: list[int]) -> list[np.ndarray]:
    """Return a dense Jacobian, which has its blocks in trees, as one matrix for each argument."""
    parts: list[list[np.ndarray]] = [[] for _ in at]
    outputs = flatten(dense)[0]
    counts = [len(flatten(point)[0]) for point in at]
    shapes = [[np.shape(leaf) for leaf in flatten(point)[0]] for point in at]
    while outputs:
        for k, count in enumerate(counts):
            blocks, outputs = outputs[:count], outputs[count:]
            sized = [
                np.reshape(block, (-1, math.prod(shape))) if math.prod(shape) else np.zeros((0, 0))
                for block, shape in zip(blocks, shapes[k], strict=True)
            ]
            if sized:
                parts[k].append(np.concatenate(sized, axis=1))
    return [np.concatenate(part) if part else np.zeros((0, size)) for part, size in zip(parts, sizes, strict=True)]


def compare_sparse(dense: np.ndarray, sparse: Any, rtol: float, where: str) -> None:
    """Raise an AssertionError where a sparse matrix is not a dense one."""
    if sparse.dtype == np.float32:
        rtol = max(rtol, 1e-4)
    stored = sparse.copy()
    stored.data = np.ones_like(stored.data)
    missed = np.argwhere((dense != 0.0) & (stored.toarray() == 0.0))
    if missed.size:
        row, column = missed[0].tolist()
        text = f"the pattern of the {where} misses {len(missed)} entries, the first in row {row} and column {column}"
        raise AssertionError(f"{text}, which is {dense[row, column]} in the dense one")
    scale = max(1.0, float(np.max(np.abs(dense), initial=0.0, where=np.isfinite(dense))))
    found = sparse.toarray()
    unlike = ~np.isclose(found, dense, rtol=rtol, atol=rtol * scale, equal_nan=True)
    if unlike.any():
        row, column = np.argwhere(unlike)[0].tolist()
        text = f"{int(unlike.sum())} entries of the {where} differ, the first in row {row} and column {column}"
        raise AssertionError(f"{text}: {found[row, column]} sparse, {dense[row, column]} dense")


def check_grads(
    f: Callable[..., Any],
    args: Sequence[Any],
    order: int = 1,
    modes: Sequence[str] = ("fwd", "rev"),
    atol: float | None = None,
    rtol: float | None = None,
    eps: float | None = None,
) -> None:
    """Check the derivatives of a function, to any order, against difference quotients.

    Parameters
    ----------
    f : callable
        A function of numbers, arrays and trees of them, that returns such a thing. It is also
        called on plain numbers in double precision.
    args : tuple or list
        The arguments at which to check: floats, ndarrays of float64 or float32, or trees. All are differentiated.
    order : int
        The highest order; derivatives of second order are checked as first derivatives of the
        first, in every composition of the modes.
    modes : sequence of {"fwd", "rev"}
        Which modes. With both, they are also checked against each other (`check_dot_product`).
    atol, rtol : float, optional
        Absolute and relative tolerance. By default 1e-6 relative to the derivative, 4e-4 in single
        precision, and a hundredth of that relative to the largest number met.
    eps : float, optional
        The first step of the difference quotients; it is halved until they settle.

    Raises
    ------
    AssertionError
        When a derivative differs from the quotient or is not finite, when the function is not finite at the point, or
        when the difference quotients do not settle.
    TypeError
        When `args` is not a tuple or a list.
    ValueError
        When `modes` holds something else than "fwd" and "rev" or nothing, or `order` is less than 1.

    Notes
    -----
    Up to twelve inputs and outputs are checked one by one, more of them by random combinations. The number of runs of
    `f` is multiplied by that of the modes for each order.

    References
    ----------
    .. [1] C. J. F. Ridders, "Accurate computation of F'(x) and F'(x)F''(x)", *Advances in Engineering Software* 4
       (1982), 75-76.

    Examples
    --------
    >>> import numpy as np
    >>> from numbad.testing import check_grads
    >>> check_grads(lambda x: np.sum(np.sin(x) ** 2), (np.array([0.5, 1.0]),), modes=["rev"])
    """
    args = argument_tuple(args)
    unknown = [mode for mode in modes if mode not in ("fwd", "rev")]
    if unknown or not modes or isinstance(modes, str):
        raise ValueError(message(f"modes are 'fwd' and 'rev', not {modes!r}", 'pass modes=("fwd", "rev")'))
    if order < 1:
        raise ValueError(message(f"the order is {order}", "pass 1 or more"))
    numeric = Numeric(f, args, eps)
    if "fwd" in modes:

        def f_jvp(primals: Any, tangents: Any) -> Any:
            return numbad.jvp(f, primals, tangents)

        compare_jvp(numeric, f_jvp, atol, rtol)
        if order > 1:
            check_grads(f_jvp, (args, args), order - 1, modes, atol, rtol, eps)
    if "rev" in modes:

        def f_vjp(*arguments: Any) -> Any:
            return numbad.vjp(f, *arguments)

        def pulled(*arguments: Any) -> Any:
            value, pullback = numbad.vjp(f, *arguments)
            return pullback(value)

        compare_vjp(numeric, f_vjp, atol, rtol)
        if order > 1:
            check_grads(pulled, args, order - 1, modes, atol, rtol, eps)
    if "fwd" in modes and "rev" in modes:
        check_dot_product(f, args)


# ---------------------------------------------------------------- ops


def sample_points(op: Op, count: int = 24) -> tuple[np.ndarray, ...]:
    """Return ordinary points of an op's domain, away from its ends and kinks: an array for each operand."""
    generator = np.random.default_rng(op.opcode)
    operands = tuple(sample_interval(generator, interval, count) for interval in op.domain)
    distance = operands[0] if op.arity == 1 else operands[0] - operands[1]
    keep = np.ones(count, bool)
    for kink in op.kinks:
        keep &= np.abs(distance - kink) > 0.05
    if op.arity == 2:
        keep &= np.abs(operands[1]) > 0.05
    return tuple(values[keep] for values in operands)


def sample_interval(generator: np.random.Generator, interval: Interval, count: int) -> np.ndarray:
    """Return points spread over an interval, those of an infinite one within a few units of zero or its end."""
    low, high = interval.low, interval.high
    if math.isinf(low) and math.isinf(high):
        low, high = -3.0, 3.0
    elif math.isinf(high):
        high = low + 4.0
    elif math.isinf(low):
        low = high - 4.0
    margin = 0.05 * (high - low)
    return generator.uniform(low + margin, high - margin, count)


def check_op(
    op: Op,
    points: tuple[np.ndarray, ...] | None = None,
    operands: Sequence[int] | None = None,
    rtol: float = 1e-7,
) -> None:
    """Check an elementwise op: its rule against difference quotients, and its compiled forms against its text.

    Four things are compared at each point: the value computed by NumPy or SciPy with those of the
    compiled scalar and array kernels; the partials that the text gives on numbers with difference
    quotients; the partials of both compiled kernels with those; and the second derivatives, from
    recording the text of the partials, with difference quotients of the partials.

    Parameters
    ----------
    op : Op
        The op.
    points : tuple of ndarray, optional
        Where, an array for each operand; by default two dozen points of its domain, away from kinks.
    operands : sequence of int, optional
        The operands whose partials are checked; by default all.
    rtol : float
        Relative tolerance.

    Raises
    ------
    AssertionError
        When two of them differ, or one is not finite.

    Examples
    --------
    >>> from numbad.ops.exponential import log1p
    >>> from numbad.testing import check_op
    >>> check_op(log1p)
    """
    given = sample_points(op) if points is None else points
    inputs = tuple(np.asarray(part, np.float64) for part in given)
    chosen = range(op.arity) if operands is None else operands
    z = np.asarray(op.evaluate(*inputs), np.float64)

    def rule(*arguments: Any) -> Any:
        second = arguments[1] if op.arity == 2 else None
        return op.symbolic_partials(arguments[0], second, op(*arguments))

    with np.errstate(all="ignore"):
        text = np.array([np.broadcast_to(np.asarray(part, np.float64), z.shape) for part in rule(*inputs)])
    for k in chosen:

        def moved(values: np.ndarray, k: int = k) -> np.ndarray:
            return np.asarray(op.evaluate(*inputs[:k], values, *inputs[k + 1 :]), np.float64)

        quotient, error = difference(moved, inputs[k], np.maximum(np.abs(inputs[k]), 1.0))
        scale = np.maximum(np.abs(inputs[k]), 1.0)
        slack = 2.0 * error / scale + 1e-9 * (1.0 + np.abs(z))
        compare(text[[k]], (quotient / scale)[None], slack, rtol, f"{op.name}: the partial {k}", ("", "point"))
    for kind, values, partials in (
        ("scalar kernel", *compiled(op, inputs, scalar=True)),
        ("array kernel", *compiled(op, inputs, scalar=False)),
    ):
        tight = 1e-13 * (1.0 + np.abs(z))
        compare(values[None], z[None], tight, 1e-13, f"{op.name}: the value of the {kind}", ("", "point"))
        for k in chosen:
            small = 1e-12 * (1.0 + np.abs(text[k]))
            compare(partials[[k]], text[[k]], small, 1e-12, f"{op.name}: partial {k} of the {kind}", ("", "point"))
    for k in chosen:
        for n in chosen:

            def slope(values: Any, k: int = k, n: int = n) -> Any:
                return rule(*inputs[:n], values, *inputs[n + 1 :])[k]

            def slope_on_numbers(values: np.ndarray, slope: Any = slope) -> np.ndarray:
                return np.broadcast_to(np.asarray(slope(values), np.float64), z.shape)

            found = numbad.gradient(lambda values, slope=slope: np.sum(slope(values) + 0.0 * values), inputs[n])
            scale = np.maximum(np.abs(inputs[n]), 1.0)
            quotient, error = difference(slope_on_numbers, inputs[n], scale)
            slack = 2.0 * error / scale + 1e-8 * (1.0 + np.abs(text[k]))
            what = f"{op.name}: the derivative of its partial {k} with respect to operand"
            compare(found[None], (quotient / scale)[None], slack, 10.0 * rtol, f"{what} {n}", ("", "point"))


def compiled(op: Op, inputs: tuple[np.ndarray, ...], scalar: bool) -> tuple[np.ndarray, np.ndarray]:
    """Return values and partials of an op, as the compiled kernels of numbers or of arrays give them."""
    recorder = Recorder(inputs[0].dtype)
    arrays = [make_block(recorder, recorder.load(part), part.shape) for part in inputs]
    if scalar:
        addresses = [record(op, *parts).address for parts in zip(*arrays, strict=True)]
    else:
        result = record(op, *arrays)
        addresses = result.address_view().reshape(-1).tolist()
    execution = recorder.run()
    values = np.array(execution.values[addresses], np.float64)
    bars = execution.backward([(address, 1.0) for address in addresses])
    partials = [bars.arena[part.address_view().reshape(-1)].astype(np.float64) for part in arrays]
    recorder.close()
    return values, np.array(partials)
