"""The sum over blocks of a function of parameters and a block, and its derivatives with respect to the parameters."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from numbad.distributed.blocks import is_collection, is_future
from numbad.distributed.dask_graphs import chunks_of, is_chunked, sum_chunks
from numbad.distributed.derivatives import AUXILIARY, CURVATURE, GRADIENT, PRODUCT
from numbad.distributed.executors import Lane, find_lane, is_communicator
from numbad.distributed.ledgers import Ledger, find_ledger
from numbad.distributed.ranks import sum_over_ranks
from numbad.distributed.summing import Several, Sum
from numbad.errors import InputError, check_function, message
from numbad.recording.inputs import as_leaf, check_leaf
from numbad.recording.recorder import current, refuse
from numbad.recording.trees import flatten, put_together, same_structure, take_apart

REDUCTIONS = ("sum", "mean")


def value_and_gradient(
    loss: Callable[..., Any],
    params: Any,
    *blocks: Any,
    executor: Any = None,
    reduce: str = "sum",
    has_aux: bool = False,
    compute: bool = True,
    progress: bool = False,
) -> Any:
    """Return the sum over blocks of `loss(params, block)`, and its gradient with respect to `params`.

    Parameters
    ----------
    loss : callable
        A function of the parameters and a block that returns one number.
    params : float, ndarray of float64 or float32, or tree
        Where to differentiate.
    *blocks : iterable, or arrays of Dask or xarray
        A list of blocks, or another iterable that is gone through once. A block is an array, a tree of arrays, numbers
        and plain values, or a function without arguments that loads one; what Dask computes may stand for a block, or
        for a leaf of one. Or one or several arrays of Dask, or of xarray's that are backed by Dask, chunked alike along
        the first axis alone: `loss(params, x, y)` is called with the chunks then.
    executor : object, optional
        Who computes the blocks: None for this process, one block at a time; a pool of threads or processes of
        `concurrent.futures`; a `joblib.Parallel`; a `dask.distributed.Client`; a communicator of mpi4py, on all of
        whose ranks this is called. Arrays of Dask are computed by what Dask is set to use where it is None.
    reduce : {"sum", "mean"}
        The mean is the sum divided by the number of blocks.
    has_aux : bool
        Whether `loss` returns a pair (value, auxiliary); what is auxiliary is passed on: numbers, arrays and trees of
        them.
    compute : bool
        False, for arrays of Dask: return a `dask.delayed` value, whose `compute()` gives the result.
    progress : bool
        Whether to show a bar of `tqdm`, which has to be installed.

    Returns
    -------
    tuple
        (value, gradient). The gradient has the structure, shapes and dtypes of `params`. With `has_aux`
        ((value, auxiliary), gradient), with a list of what is auxiliary, in the order of the blocks.

    Raises
    ------
    TypeError
        When `loss` cannot be called.
    ValueError
        When `reduce` is neither of the two.
    InputError
        When there are no blocks, one has no elements, or they are nested in different ways; when `params` is an array
        of Dask, or has no derivative; when `executor` is none that is known.
    OutputError
        When `loss` does not return one number.
    NumbadError
        When the executor has been shut down, workers die again and again, or something cannot be pickled.
    Exception
        What `loss` raises of a block, with a note that names the block and the user's line. Blocks that have not begun
        are cancelled.

    Warns
    -----
    UserWarning
        When `loss` takes more than 100 MB from outside, or when a pool of processes has lost a worker.

    Notes
    -----
    `loss` is recorded once for each signature and path, whoever computes it, as `numbad.jit` records it, with the same
    rules for what it takes from outside; what is known of it is kept as long as it is the same object. A path goes once
    to each process; afterwards the parameters go out and a gradient comes back for each block. Arrays of this process
    are fingerprinted at each call, written to a file once and mapped by the processes of this machine (a cluster of
    several machines keeps them); arrays that are mapped from a file travel as its name.

    The terms are added by a fixed tree over the numbers of the blocks, and BLAS computes a block on one thread. So the
    bits of the result depend neither on the executor and the number of workers nor on the order in which they are
    done, on processors that have the same instructions.

    The cost of a block beside its computation is some tenths of a millisecond, so it should take 10 ms at least.

    References
    ----------
    .. [1] N. J. Higham, *Accuracy and Stability of Numerical Algorithms*, 2nd ed., SIAM, 2002, section 4.2 (pairwise
       summation).

    Examples
    --------
    >>> import numpy as np, numbad
    >>> blocks = [np.array([1.0, 2.0]), np.array([3.0])]
    >>> numbad.distributed.value_and_gradient(lambda w, x: np.sum((w - x) ** 2), 1.0, blocks)
    (5.0, -6.0)
    >>> from concurrent.futures import ThreadPoolExecutor
    >>> with ThreadPoolExecutor(2) as pool:
    ...     numbad.distributed.value_and_gradient(lambda w, x: np.sum((w - x) ** 2), 1.0, blocks, executor=pool)
    (5.0, -6.0)
    """
    kind = AUXILIARY if has_aux else GRADIENT
    return evaluate("value_and_gradient", kind, loss, params, blocks, executor, reduce, compute, progress)


def gradient(
    loss: Callable[..., Any],
    params: Any,
    *blocks: Any,
    executor: Any = None,
    reduce: str = "sum",
    has_aux: bool = False,
    compute: bool = True,
    progress: bool = False,
) -> Any:
    """Return the gradient of the sum over blocks of `loss(params, block)` with respect to `params`.

    Parameters
    ----------
    loss : callable
        A function of the parameters and a block that returns one number.
    params : float, ndarray of float64 or float32, or tree
        Where to differentiate.
    *blocks : iterable, or arrays of Dask or xarray
        As `value_and_gradient` takes them.
    executor : object, optional
        Who computes the blocks (see there).
    reduce : {"sum", "mean"}
        The mean is the sum divided by the number of blocks.
    has_aux : bool
        Whether `loss` returns a pair (value, auxiliary).
    compute : bool
        False, for arrays of Dask: return a `dask.delayed` value.
    progress : bool
        Whether to show a bar of `tqdm`.

    Returns
    -------
    float, ndarray or tree
        With the structure, shapes and dtypes of `params`; with `has_aux` (gradient, auxiliary).

    Raises
    ------
    TypeError, ValueError, InputError, OutputError, NumbadError
        As `value_and_gradient` raises them.

    Examples
    --------
    >>> import numpy as np, numbad
    >>> numbad.distributed.gradient(lambda w, x: np.sum((w - x) ** 2), 1.0, [np.array([1.0, 2.0]), np.array([3.0])])
    -6.0
    """
    kind = AUXILIARY if has_aux else GRADIENT
    return evaluate("gradient", kind, loss, params, blocks, executor, reduce, compute, progress)


def hvp(
    loss: Callable[..., Any],
    params: Any,
    v: Any,
    *blocks: Any,
    executor: Any = None,
    reduce: str = "sum",
    compute: bool = True,
    progress: bool = False,
) -> Any:
    """Return the product of the Hessian of the sum over blocks of `loss(params, block)` with a vector.

    Parameters
    ----------
    loss : callable
        A function of the parameters and a block that returns one number.
    params : float, ndarray of float64 or float32, or tree
        The point.
    v : float, ndarray or tree
        The vector, with the structure and shapes of `params`.
    *blocks : iterable, or arrays of Dask or xarray
        As `value_and_gradient` takes them.
    executor : object, optional
        Who computes the blocks (see there).
    reduce : {"sum", "mean"}
        The mean is the sum divided by the number of blocks.
    compute : bool
        False, for arrays of Dask: return a `dask.delayed` value.
    progress : bool
        Whether to show a bar of `tqdm`.

    Returns
    -------
    float, ndarray or tree
        The Hessian times `v`, with the structure, shapes and dtypes of `params`.

    Raises
    ------
    TypeError, ValueError, InputError, OutputError, NumbadError
        As `value_and_gradient` raises them; an InputError, too, when `v` is not like `params`.

    Notes
    -----
    The gradient is recorded with the function, and both are swept forward with the tangent `v`: see `numbad.hvp`.

    References
    ----------
    .. [1] B. A. Pearlmutter, "Fast exact multiplication by the Hessian", *Neural Computation* 6 (1994), 147-160.

    Examples
    --------
    >>> import numpy as np, numbad
    >>> numbad.distributed.hvp(lambda w, x: np.sum(x * w**3), 2.0, 1.0, [np.array([1.0, 2.0]), np.array([3.0])])
    72.0
    """
    point = params, like(v, params)
    return evaluate("hvp", CURVATURE, loss, point, blocks, executor, reduce, compute, progress)


def jacobian_product(
    loss: Callable[..., Any],
    params: Any,
    v: Any,
    *blocks: Any,
    executor: Any = None,
    reduce: str = "sum",
    compute: bool = True,
    progress: bool = False,
) -> Any:
    """Return the product of the Jacobian of the sum over blocks of `loss(params, block)` with a vector.

    Parameters
    ----------
    loss : callable
        A function of the parameters and a block that returns numbers, arrays or trees of them, of the same shapes for
        each block.
    params : float, ndarray of float64 or float32, or tree
        The point.
    v : float, ndarray or tree
        The vector, with the structure and shapes of `params`.
    *blocks : iterable, or arrays of Dask or xarray
        As `value_and_gradient` takes them.
    executor : object, optional
        Who computes the blocks (see there).
    reduce : {"sum", "mean"}
        The mean is the sum divided by the number of blocks.
    compute : bool
        False, for arrays of Dask: return a `dask.delayed` value.
    progress : bool
        Whether to show a bar of `tqdm`.

    Returns
    -------
    float, ndarray or tree
        The derivative of the sum along `v`, like what `loss` returns.

    Raises
    ------
    TypeError, ValueError, InputError, OutputError, NumbadError
        As `value_and_gradient` raises them; an InputError, too, when `v` is not like `params`, and an OutputError when
        the blocks give other shapes.

    Examples
    --------
    >>> import numpy as np, numbad
    >>> blocks = [np.array([1.0, 2.0]), np.array([3.0, 4.0])]
    >>> numbad.distributed.jacobian_product(lambda w, x: x * w**2, 3.0, 1.0, blocks)
    array([24., 36.])
    """
    point = params, like(v, params)
    return evaluate("jacobian_product", PRODUCT, loss, point, blocks, executor, reduce, compute, progress)


# ---------------------------------------------------------------- what they share


def evaluate(
    name: str,
    kind: str,
    loss: Any,
    point: Any,
    blocks: tuple[Any, ...],
    executor: Any,
    reduce: str,
    compute: bool,
    progress: bool,
) -> Any:
    """Return what a function of this module returns."""
    check_function(loss, name)
    if reduce not in REDUCTIONS:
        raise ValueError(message(f"{name}: reduce is {reduce!r}", 'it is "sum" or "mean"', where=False))
    if current() is not None:
        refuse(f"numbad.distributed.{name} is called while a function is recorded", "call it outside of the function")
    check_params(point)
    ledger, finishing = find_ledger(kind, loss), functools.partial(finish, name, kind, reduce)
    if any(map(is_chunked, blocks)):
        return sum_collections(ledger, point, chunks_of(blocks), executor, compute, finishing, progress)
    if not compute:
        raise InputError(message("compute=False is for arrays of Dask", "leave it out", where=False))
    given = check_blocks(name, blocks)
    if is_communicator(executor):
        total, auxiliary, count = sum_over_ranks(executor, ledger, point, given)
        return finishing(total, [auxiliary[k] for k in sorted(auxiliary)], count)
    return sum_blocks(ledger, point, given, find_lane(executor), finishing, progress)


def sum_blocks(ledger: Ledger, point: Any, blocks: Any, lane: Lane, finishing: Any, progress: bool) -> Any:
    """Return the result for a list of blocks."""
    total = len(blocks) if hasattr(blocks, "__len__") else None
    bar = make_bar(total) if progress else None
    try:
        run = Sum(ledger, point, blocks, lane, bar)
        found = run.run()
    finally:
        if bar is not None:
            bar.close()
    return finishing(found, [run.auxiliary[k] for k in sorted(run.auxiliary)], run.count)


def sum_collections(
    ledger: Ledger, point: Any, chunks: list[Any], executor: Any, compute: bool, finishing: Any, progress: bool
) -> Any:
    """Return the result for chunks of Dask's arrays, or a delayed value."""
    graph = executor is None or type(executor).__name__ == "Client"
    if not graph and compute:
        return sum_blocks(ledger, point, [Several(parts) for parts in chunks], find_lane(executor), finishing, progress)
    later = sum_chunks(ledger, point, chunks, ledger.kind == AUXILIARY, finishing)
    if not compute:
        return later
    return later.compute() if executor is None else executor.compute(later).result()


def finish(name: str, kind: str, reduce: str, total: Any, auxiliary: list[Any], count: int) -> Any:
    """Return the result that a function of this module gives."""
    if reduce == "mean":
        leaves, structure = take_apart(total)
        total = put_together(structure, [leaf / count for leaf in leaves])
    if kind in (CURVATURE, PRODUCT):
        return total
    value, slopes = total
    if name == "gradient":
        return (slopes, auxiliary) if kind == AUXILIARY else slopes
    return ((value, auxiliary) if kind == AUXILIARY else value), slopes


def make_bar(total: int | None) -> Any:
    """Return a bar of tqdm's."""
    try:
        from tqdm.auto import tqdm
    except ImportError as error:
        what = "progress=True shows a bar of tqdm, which is not installed"
        raise InputError(message(what, "install it, or leave progress out", where=False)) from error
    return tqdm(total=total, unit="block")


# ---------------------------------------------------------------- what they are given


def check_params(point: Any) -> None:
    """Raise an InputError for parameters that have no derivative."""
    import optree

    paths, leaves, _ = optree.tree_flatten_with_path(point, namespace="numbad")
    for path, leaf in zip(paths, leaves, strict=True):
        if is_collection(leaf) or is_future(leaf):
            where = "".join(f"[{part!r}]" for part in path)
            what = f"params{where} is a {type(leaf).__module__.partition('.')[0]} {type(leaf).__name__}"
            raise InputError(message(what, f"compute it: params{where}.compute()", where=False))
        check_leaf(as_leaf(leaf))
    if not leaves:
        raise InputError(
            message("params has no numbers", "pass floats, arrays of floats, or trees of them", where=False)
        )


def like(v: Any, params: Any) -> Any:
    """Return a vector with the dtypes of the parameters, whose structure and shapes it has to have."""
    if not same_structure(v, params):
        raise InputError(
            message("the vector is nested otherwise than params", "give it the same structure", where=False)
        )
    (given, rebuild), (wanted, _) = flatten(v), flatten(params)
    for one, other in zip(given, wanted, strict=True):
        if np.shape(one) != np.shape(other) or np.asarray(one).dtype.kind not in "fiub":
            what = (
                f"a part of the vector is {np.asarray(one).dtype} of shape {np.shape(one)}, in params {np.shape(other)}"
            )
            raise InputError(message(what, "give it the shapes of params, and real numbers", where=False))
    return rebuild([cast(one, other) for one, other in zip(given, wanted, strict=True)])


def cast(one: Any, other: Any) -> Any:
    """Return a number or array as one of the dtype of another."""
    if isinstance(other, np.ndarray):
        return np.asarray(one, other.dtype)
    return type(other)(one)


def check_blocks(name: str, blocks: tuple[Any, ...]) -> Any:
    """Return the iterable of blocks; raise an InputError where it is none, or there are several."""
    if len(blocks) != 1:
        what = f"{name} takes one list of blocks, or several arrays of Dask; it was given {len(blocks)} things"
        do = "pass tuples as blocks, [(x1, y1), (x2, y2)], and executor= and other options by name"
        raise InputError(message(what, do, where=False))
    (given,) = blocks
    if isinstance(given, (np.ndarray, dict, str, bytes)) or not hasattr(given, "__iter__"):
        what = f"the blocks are a {type(given).__name__}"
        do = "pass a list of blocks, for an array np.array_split(x, 8)"
        raise InputError(message(what, do, where=False))
    return given
