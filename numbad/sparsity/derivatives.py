"""Sparse derivatives of a function: Jacobian and Hessian as matrices of `scipy.sparse`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from numbad.errors import check_function, message, wraps
from numbad.recording.recorder import current, refuse
from numbad.sparsity.matrices import check_format
from numbad.sparsity.plans import SparsePlan, run_once
from numbad.sparsity.prepared import METHODS, SYMMETRIC
from numbad.transforms.derivatives import check_callable, check_names, numbers_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from numbad.types import Argnums

STRUCTURES = ("path", "union")
NAMES = {  # of (second, with_value)
    (False, False): "sparse_jacobian",
    (False, True): "value_and_sparse_jacobian",
    (True, False): "sparse_hessian",
    (True, True): "value_and_sparse_hessian",
}


def derive(f: Any, points: tuple[Any, ...], second: bool, with_value: bool, options: dict[str, Any], own: Any) -> Any:
    """Return a sparse derivative at a point, or the function that computes it; `own` are keywords of f."""
    name = NAMES[second, with_value]
    if points and not callable(f):
        check_callable(f, points, name)
    check_function(f, name)
    check_options(name, options)
    check_names(f, {key: value is not DEFAULTS[key] for key, value in options.items()}, name)
    argnums = options["argnums"]
    if argnums is None:
        options["argnums"] = tuple(range(len(points))) if len(points) > 1 else 0
    numbers_of(options["argnums"], name)
    if isinstance(options["argnums"], list):
        options["argnums"] = tuple(options["argnums"])
    plan = SparsePlan(f, name, second, with_value, keywords=own, **options)
    if points:
        return call(plan, points, {})

    @wraps(f, numbad_inner=f, numbad_sparse=plan)
    def derivative(*arguments: Any, **keywords: Any) -> Any:
        return call(plan, arguments, keywords)

    return derivative


def call(plan: SparsePlan, arguments: tuple[Any, ...], keywords: dict[str, Any]) -> Any:
    """Return the derivative at a point."""
    if current() is not None:
        refuse(
            f"{plan.name} is called while another function is recorded",
            f"numbad.jit(numbad.{plan.name}(f)) is replayed as it is; inside of another function take numbad.jacobian",
        )
    return run_once(plan, arguments, keywords)


DEFAULTS: dict[str, Any] = {
    "argnums": None,
    "has_aux": False,
    "format": "csr",
    "method": "auto",
    "pattern": None,
    "check": True,
    "structure": "path",
}


def check_options(name: str, options: dict[str, Any]) -> None:
    """Raise a ValueError for an option that is not known."""
    check_format(name, options["format"])
    for key, known in (("method", METHODS), ("structure", STRUCTURES)):
        if options[key] not in known:
            listed = ", ".join(f'"{word}"' for word in known)
            raise ValueError(message(f"{name}: {key} is {options[key]!r}", f"give one of {listed}", where=False))
    if options["method"] in SYMMETRIC and "jacobian" in name:
        what = f'{name}: method "{options["method"]}" is for symmetric matrices'
        raise ValueError(message(what, 'give "columns", "rows" or "both"', where=False))


def sparse_jacobian(
    f: Callable[..., Any],
    *points: Any,
    argnums: Argnums | None = None,
    has_aux: bool = False,
    format: str = "csr",
    method: str = "auto",
    pattern: Any = None,
    check: bool = True,
    structure: str = "path",
    **keywords: Any,
) -> Any:
    """Return the Jacobian of `f` at a point as a sparse matrix, or the function that computes it.

    Parameters
    ----------
    f : callable
        A function of floats, arrays of floats, or trees of them, that returns numbers, arrays or trees of them.
    *points : float, ndarray of float64 or float32, or tree
        The point: one for each positional argument of `f`. With none, a function is returned; `numbad.jit` of that
        keeps what is prepared.
    argnums : int or tuple of int, optional
        The positions of the arguments to differentiate with respect to. By default all points; the first argument alone
        for the returned function.
    has_aux : bool
        Whether `f` returns a pair (result, auxiliary); what is auxiliary is passed on, not differentiated.
    format : {"csr", "csc", "coo"}
        Of the matrix.
    method : {"auto", "entries", "columns", "rows", "both"}
        How the entries are computed: one by one, or by compressed sweeps of tangents (colours of columns), of
        cotangents (of rows), or of both. By default what is predicted to cost least.
    pattern : sparse matrix, ndarray or Pattern, optional
        A structure of your own: its stored entries are those of the result.
    check : bool
        Whether a pattern that misses entries is an error; if not, these entries are left out.
    structure : {"path", "union"}
        Under `numbad.jit`: whether each path has a structure of its own, or all paths met so far share one.
    **keywords
        Passed to `f` as they are; not differentiated.

    Returns
    -------
    csr_array, csc_array, coo_array, tuple or callable
        The matrix, with a row for each element of the outputs and a column for each element of the input, the leaves
        of trees one after the other, in C order, and the dtype of the input. A tuple with one matrix for each input
        where there are several points or `argnums` is a tuple. Its structure is that of the path: entries that happen
        to be zero are kept. With `has_aux` a pair (matrix, auxiliary). Without points, a function of the arguments of
        `f` that returns all this.

    Raises
    ------
    TypeError
        When `f` cannot be called, `argnums` is not an int or a tuple of ints, or `f` has an argument of the name of an
        option.
    ValueError
        When `argnums` names an argument that is not there, or one twice; when an option is not known, the entries
        cannot be computed by the method, or a pattern is of another shape or misses entries.
    InputError
        For integer arrays, complex numbers and other inputs that have no derivative.
    OutputError
        When `f` returns truth values, text or None, or with `has_aux` not a pair.
    MemoryError
        When the pattern does not fit into the free memory; it is not made then.
    RecordingError
        When `f` does something that cannot be recorded, or when it is called while another function is recorded.

    Notes
    -----
    One run of `f`. The pattern holds what depends on what on the path that was taken, found by propagating sets of
    inputs over the recorded rows [1]_: `np.where` and `maximum` give both sides, a constant factor of zero gives no
    entry. Rows that Python computes (a decomposition) depend on all of their operands. Where few entries meet in each
    row, they are accumulated one by one [2]_, and those that do not vary are computed once; else columns or rows
    without common entries share a sweep [3]_, columns and rows at once where both are dense somewhere [4]_.

    References
    ----------
    .. [1] A. Griewank and A. Walther, *Evaluating Derivatives*, 2nd ed., SIAM, 2008, section 7.1 (sparsity patterns).
    .. [2] Section 7.2 there (sparse rows), and A. Griewank and S. Reese, 1991 (elimination of vertices).
    .. [3] A. Curtis, M. Powell and J. Reid, 1974; T. Coleman and J. Moré, 1983.
    .. [4] A. Gebremedhin, F. Manne and A. Pothen, "What color is your Jacobian?", 2005; A. Montoison, G. Dalle and
       A. Gebremedhin, 2025.

    Examples
    --------
    >>> import numpy as np, numbad
    >>> jacobian = numbad.sparse_jacobian(lambda x: x[1:] * x[:-1], np.array([1.0, 2.0, 3.0]))
    >>> jacobian.toarray()
    array([[2., 1., 0.],
           [0., 3., 2.]])
    >>> jacobian.indices, jacobian.data
    (array([0, 1, 1, 2], dtype=int32), array([2., 1., 3., 2.]))
    """
    options = {"argnums": argnums, "has_aux": has_aux, "format": format, "method": method}
    options |= {"pattern": pattern, "check": check, "structure": structure}
    return derive(f, points, False, False, options, keywords)


def value_and_sparse_jacobian(
    f: Callable[..., Any],
    *points: Any,
    argnums: Argnums | None = None,
    has_aux: bool = False,
    format: str = "csr",
    method: str = "auto",
    pattern: Any = None,
    check: bool = True,
    structure: str = "path",
    **keywords: Any,
) -> Any:
    """Return the value of `f` and its Jacobian as a sparse matrix, or the function that computes both.

    Parameters
    ----------
    f : callable
        A function of floats, arrays of floats, or trees of them, that returns numbers, arrays or trees of them.
    *points : float, ndarray of float64 or float32, or tree
        The point: one for each positional argument of `f`. With none, a function is returned.
    argnums, has_aux, format, method, pattern, check, structure
        As those of `sparse_jacobian`.
    **keywords
        Passed to `f` as they are; not differentiated.

    Returns
    -------
    tuple or callable
        (value, matrix), with `has_aux` ((value, auxiliary), matrix): what `f` returns, and what `sparse_jacobian` does.

    Raises
    ------
    TypeError, ValueError, InputError, OutputError, MemoryError, RecordingError
        As `sparse_jacobian`.

    Notes
    -----
    One run of `f`; see `sparse_jacobian`.

    References
    ----------
    .. [1] A. Griewank and A. Walther, *Evaluating Derivatives*, 2nd ed., SIAM, 2008, chapter 7.

    Examples
    --------
    >>> import numpy as np, numbad
    >>> value, jacobian = numbad.value_and_sparse_jacobian(lambda x: x * x, np.array([1.0, 2.0]))
    >>> value, jacobian.data
    (array([1., 4.]), array([2., 4.]))
    """
    options = {"argnums": argnums, "has_aux": has_aux, "format": format, "method": method}
    options |= {"pattern": pattern, "check": check, "structure": structure}
    return derive(f, points, False, True, options, keywords)


def sparse_hessian(
    f: Callable[..., Any],
    *points: Any,
    argnums: Argnums | None = None,
    has_aux: bool = False,
    format: str = "csr",
    method: str = "auto",
    pattern: Any = None,
    check: bool = True,
    structure: str = "path",
    **keywords: Any,
) -> Any:
    """Return the second derivatives of `f` at a point as a sparse matrix, or the function that computes them.

    Parameters
    ----------
    f : callable
        A function of floats, arrays of floats, or trees of them, that returns one number.
    *points : float, ndarray of float64 or float32, or tree
        The point: one for each positional argument of `f`. With none, a function is returned; `numbad.jit` of that
        keeps what is prepared.
    argnums, has_aux, format, pattern, check, structure
        As those of `sparse_jacobian`.
    method : {"auto", "entries", "star", "acyclic", "columns", "rows", "both"}
        How the entries are computed: one by one, or by compressed sweeps over the gradient. "star" reads an entry from
        its row or its column, whichever is alone there; "acyclic" needs fewer colours, and takes entries that are known
        out of sums with others, which loses digits where they differ much in size.
    **keywords
        Passed to `f` as they are; not differentiated.

    Returns
    -------
    csr_array, csc_array, coo_array, tuple or callable
        The matrix of second derivatives by the elements of the input, the leaves of trees one after the other, both
        triangles. A tuple of tuples with the matrix by inputs i and j at [i][j] where there are several points or
        `argnums` is a tuple. With `has_aux` a pair (matrix, auxiliary).

    Raises
    ------
    TypeError, ValueError, InputError, MemoryError, RecordingError
        As `sparse_jacobian`.
    OutputError
        When `f` does not return one number, or with `has_aux` not a pair.

    Notes
    -----
    One run of `f`, whose gradient is made of it as rows; the pattern is that of the gradient's Jacobian, so it holds
    what interacts in an operation that is not linear, and no more [1]_. An entry is kept where the one opposite is
    there, too. Colours of symmetric matrices form stars, so that each entry is alone in its row or its column, or
    trees [2]_.

    References
    ----------
    .. [1] A. Griewank and A. Walther, *Evaluating Derivatives*, 2nd ed., SIAM, 2008, section 7.3; R. Gower and
       M. Mello, 2012 (edge pushing).
    .. [2] T. Coleman and J. Moré, 1984; A. Gebremedhin, A. Tarafdar, F. Manne and A. Pothen, 2007, algorithms 3.1
       and 4.1.

    Examples
    --------
    >>> import numpy as np, numbad
    >>> numbad.sparse_hessian(lambda x: np.sum(x[1:] * x[:-1] ** 2), np.array([1.0, 2.0, 3.0])).toarray()
    array([[4., 2., 0.],
           [2., 6., 4.],
           [0., 4., 0.]])
    """
    options = {"argnums": argnums, "has_aux": has_aux, "format": format, "method": method}
    options |= {"pattern": pattern, "check": check, "structure": structure}
    return derive(f, points, True, False, options, keywords)


def value_and_sparse_hessian(
    f: Callable[..., Any],
    *points: Any,
    argnums: Argnums | None = None,
    has_aux: bool = False,
    format: str = "csr",
    method: str = "auto",
    pattern: Any = None,
    check: bool = True,
    structure: str = "path",
    **keywords: Any,
) -> Any:
    """Return the value of `f` and its second derivatives as a sparse matrix, or the function that computes both.

    Parameters
    ----------
    f : callable
        A function of floats, arrays of floats, or trees of them, that returns one number.
    *points : float, ndarray of float64 or float32, or tree
        The point: one for each positional argument of `f`. With none, a function is returned.
    argnums, has_aux, format, method, pattern, check, structure
        As those of `sparse_hessian`.
    **keywords
        Passed to `f` as they are; not differentiated.

    Returns
    -------
    tuple or callable
        (value, matrix), with `has_aux` ((value, auxiliary), matrix): what `f` returns, and what `sparse_hessian` does.

    Raises
    ------
    TypeError, ValueError, InputError, OutputError, MemoryError, RecordingError
        As `sparse_hessian`.

    Notes
    -----
    One run of `f`; see `sparse_hessian`.

    References
    ----------
    .. [1] A. Griewank and A. Walther, *Evaluating Derivatives*, 2nd ed., SIAM, 2008, chapter 7.

    Examples
    --------
    >>> import numpy as np, numbad
    >>> value, hessian = numbad.value_and_sparse_hessian(lambda x: np.sum(x**3), np.array([1.0, 2.0]))
    >>> value, hessian.data
    (9.0, array([ 6., 12.]))
    """
    options = {"argnums": argnums, "has_aux": has_aux, "format": format, "method": method}
    options |= {"pattern": pattern, "check": check, "structure": structure}
    return derive(f, points, True, True, options, keywords)
