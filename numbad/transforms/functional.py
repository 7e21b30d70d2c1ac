"""JAX's names: grad, value_and_grad, jvp, vjp, linearize, jacfwd, jacrev, hessian; and jacobian, hvp, derivative."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Literal, overload

import numpy as np

from numbad.emission.linear import Identity
from numbad.emission.regions import Call, addresses_of, cast, real_outputs, session
from numbad.emission.tangent import push_region
from numbad.errors import InputError, LeakError, NumbadError, check_function, message, wraps
from numbad.kernels.memory import available_memory
from numbad.limits import COMPARED_MEMORY, FEW_ROWS, FEW_SEEDS, MOST_COPIED, SCALAR_SHARE
from numbad.numba_api.noticing import TRANSFORMS
from numbad.ops.definition import BY_NAME
from numbad.recording.active import Active
from numbad.recording.borrowing import written
from numbad.recording.hostcalls import alone
from numbad.recording.inputs import as_leaf, check_meaning, collect, record_call, regroup
from numbad.recording.operands import to_array
from numbad.recording.outputs import concrete, is_narrow, narrowed, plain, split_auxiliary
from numbad.recording.recorder import Recorder, current
from numbad.recording.trees import flatten, same_structure
from numbad.settings import config
from numbad.sweeps.execution import run, seed_of
from numbad.sweeps.linearised import Linearised, LinearMap
from numbad.tape.layout import MAP, is_guard
from numbad.transforms.derivatives import GradientPlan, differentiate, is_single, numbers_of, positions

if TYPE_CHECKING:
    from numbad.types import Argnums, Arrays, Grad, R, S, T, Ts, Value, ValueAndGrad


def gradient_notes(f: Any, argnums: Any, name: str, with_value: bool, has_aux: bool) -> dict[str, Any]:
    """Return what is noted on a gradient function: what `jit` needs to know of it."""
    if has_aux:
        return {"numbad_inner": f}
    plan = GradientPlan(f, argnums, name, with_value)
    return {"numbad_inner": f, "numbad_like": None if with_value else argnums, "numbad_plan": plan}


@overload
def grad(f: Callable[..., Any], argnums: Literal[0] = 0, has_aux: Literal[False] = False) -> Grad: ...
@overload
def grad(f: Callable[..., Any], argnums: Argnums = 0, has_aux: bool = False) -> Callable[..., Any]: ...
def grad(f: Callable[..., Any], argnums: Argnums = 0, has_aux: bool = False) -> Callable[..., Any]:
    """Return the function that computes the gradient of `f`, as jax.grad does.

    Parameters
    ----------
    f : callable
        A function of floats, arrays of floats, or nested tuples, lists and dicts of them (trees), that returns one
        number, or a pair of it and anything else if `has_aux`.
    argnums : int or tuple of int
        The positions of the arguments to differentiate with respect to, counted from 0; negative ones count from the
        end. Keyword arguments are passed on and not differentiated.
    has_aux : bool
        Whether `f` returns a pair (value, auxiliary); what is auxiliary is passed on, not differentiated.

    Returns
    -------
    callable
        Takes the arguments of `f`. Returns the gradient: a float for a float, an ndarray of float64 or float32 of the
        same shape and dtype for an array, a tree of the same structure for a tree. A tuple with one of them for each
        entry if `argnums` is a tuple. With `has_aux` a pair (gradient, auxiliary).

    Raises
    ------
    TypeError
        When `f` cannot be called, or `argnums` is not an int or a tuple of ints.
    ValueError
        When the gradient function is called: `argnums` names an argument that is not there, or one argument twice.
    InputError
        When the gradient function is called with ints, complex numbers or text in an argument that is differentiated.
    OutputError
        When `f` does not return one number, or with `has_aux` not a pair.
    RecordingError
        When `f` does something that cannot be recorded, as `math.sin(x)`.

    Notes
    -----
    Each call runs `f` once to record it, then sweeps the recorded rows forward (values and partial derivatives) and
    backward (cotangents): the cost does not grow with the number of inputs. Memory holds one value and one
    cotangent for each intermediate number, and two partial derivatives for each row of numbers.

    References
    ----------
    .. [1] A. Griewank and A. Walther, *Evaluating Derivatives*, 2nd ed., SIAM, 2008, section 3.3 (reverse mode).

    Examples
    --------
    >>> import numpy as np, numbad
    >>> round(numbad.grad(np.tanh)(2.0), 6)
    0.070651
    >>> round(numbad.grad(numbad.grad(np.tanh))(2.0), 6)
    -0.136219
    >>> numbad.grad(lambda x, y: np.sum(x * y), argnums=(0, 1))(np.array([1.0, 2.0]), 3.0)
    (array([3., 3.]), 3.0)
    """

    check_function(f, "grad")
    numbers_of(argnums, "grad")
    places_among = functools.lru_cache(16)(lambda count: positions(argnums, count, "grad"))

    @wraps(f, **gradient_notes(f, argnums, "grad", False, has_aux))
    def gradient_function(*arguments: Any, **keywords: Any) -> Any:
        places = places_among(len(arguments))
        _, auxiliary, found = differentiate(f, arguments, places, keywords, "grad", has_aux, wants_value=False)
        result = found[0] if is_single(argnums) else tuple(found)
        return (result, auxiliary) if has_aux else result

    return gradient_function


@overload
def value_and_grad(f: Callable[..., Any], argnums: Literal[0] = 0, has_aux: Literal[False] = False) -> ValueAndGrad: ...
@overload
def value_and_grad(f: Callable[..., Any], argnums: Argnums = 0, has_aux: bool = False) -> Callable[..., Any]: ...
def value_and_grad(f: Callable[..., Any], argnums: Argnums = 0, has_aux: bool = False) -> Callable[..., Any]:
    """Return the function that computes value and gradient of `f`, as jax.value_and_grad does.

    Parameters
    ----------
    f : callable
        A function of floats, arrays of floats, or nested tuples, lists and dicts of them (trees), that returns one
        number, or a pair of it and anything else if `has_aux`.
    argnums : int or tuple of int
        The positions of the arguments to differentiate with respect to, counted from 0; negative ones count from the
        end. Keyword arguments are passed on and not differentiated.
    has_aux : bool
        Whether `f` returns a pair (value, auxiliary); what is auxiliary is passed on, not differentiated.

    Returns
    -------
    callable
        Takes the arguments of `f`. Returns (value, gradient), with `has_aux` ((value, auxiliary), gradient). The value
        is a float, or a float32 number where all arrays are float32; the gradient is that of `grad`: the structure,
        shape and dtype of the argument, a tuple of them if `argnums` is a tuple.

    Raises
    ------
    TypeError
        When `f` cannot be called, or `argnums` is not an int or a tuple of ints.
    ValueError
        When the gradient function is called: `argnums` names an argument that is not there, or one argument twice.
    InputError
        When the gradient function is called with ints, complex numbers or text in an argument that is differentiated.
    OutputError
        When `f` does not return one number, or with `has_aux` not a pair.
    RecordingError
        When `f` does something that cannot be recorded, as `math.sin(x)`.

    Notes
    -----
    Each call runs `f` once to record it, then sweeps the recorded rows forward (values and partial derivatives) and
    backward (cotangents): the cost does not grow with the number of inputs. Memory holds one value and one
    cotangent for each intermediate number, and two partial derivatives for each row of numbers.

    References
    ----------
    .. [1] A. Griewank and A. Walther, *Evaluating Derivatives*, 2nd ed., SIAM, 2008, section 3.3 (reverse mode).

    Examples
    --------
    >>> import numbad
    >>> numbad.value_and_grad(lambda x: x**3)(2.0)
    (8.0, 12.0)
    >>> numbad.value_and_grad(lambda x: (x**3, x + 1.0), has_aux=True)(2.0)
    ((8.0, 3.0), 12.0)
    """

    check_function(f, "value_and_grad")
    numbers_of(argnums, "value_and_grad")
    places_among = functools.lru_cache(16)(lambda count: positions(argnums, count, "value_and_grad"))

    @wraps(f, **gradient_notes(f, argnums, "value_and_grad", True, has_aux))
    def both(*arguments: Any, **keywords: Any) -> Any:
        places = places_among(len(arguments))
        value, auxiliary, found = differentiate(f, arguments, places, keywords, "value_and_grad", has_aux)
        result = found[0] if is_single(argnums) else tuple(found)
        return ((value, auxiliary), result) if has_aux else (value, result)

    return both


@overload
def derivative(f: Callable[[T], R], x: None = None, order: int = 1) -> Callable[[T], R]: ...
@overload
def derivative(f: Callable[[T], R], x: T, order: int = 1) -> R: ...
def derivative(f: Callable[[Any], Any], x: Any = None, order: int = 1) -> Any:
    """Return the derivative of a function of one number, of any order, or the function that computes it.

    An array is taken for many numbers at once, which `f` treats one by one, as NumPy's elementwise
    functions do.

    Parameters
    ----------
    f : callable
        A function of one number that returns a number, an array or a tree of them. Or an elementwise function of an
        array: result k depends on input k alone.
    x : float or ndarray of float64 or float32, optional
        The point. Without a point the derivative is returned as a function of it.
    order : int
        How often to differentiate: 0 (the function itself) or more.

    Returns
    -------
    float, ndarray, tree or callable
        The derivative of the given order at `x`, with the structure, shapes and dtypes of the result of `f`. Without
        `x` a function of one argument that returns it.

    Raises
    ------
    ValueError
        When `order` is not an int of 0 or more.
    InputError
        When `x` is an int, a complex number or anything else that has no derivative, and `order` is not 0.
    OutputError
        When `f` returns truth values, text or None.

    Notes
    -----
    Order k is k Jacobian-vector products inside each other (forward mode). `f` runs once; the number of recorded rows
    grows with each order. Where an element of the result depends on several elements of `x`, what is returned is the
    sum of their derivatives: `derivative(np.sum, np.ones(3))` is 3. Use `jacobian` there.

    References
    ----------
    .. [1] A. Griewank and A. Walther, *Evaluating Derivatives*, 2nd ed., SIAM, 2008, section 3.1 (forward mode).

    Examples
    --------
    >>> import numpy as np, numbad
    >>> numbad.derivative(lambda x: x**3, 2.0, order=2)
    12.0
    >>> numbad.derivative(lambda x: x**2)(np.array([1.0, 3.0]))
    array([2., 6.])
    """
    if not isinstance(order, (int, np.integer)) or order < 0:
        raise ValueError(message(f"derivative: the order is {order!r}", "pass an int of 0 or more", where=False))
    nested = f
    for _ in range(order):
        nested = tangent_of(nested)
    return nested if x is None else nested(x)


def tangent_of(f: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Return the derivative of a function of one number, which may return an array."""

    def slope(x: Any) -> Any:
        return jvp(f, (x,), (np.ones(np.shape(x)) if np.ndim(x) else 1.0,))[1]

    return slope


# ---------------------------------------------------------------- tangents and cotangents


def match(primals: Any, tangents: Any, name: str, what: str) -> tuple[list[Any], list[Any]]:
    """Return the leaves of tangents, checked against those of the primals."""
    values, rebuilds = collect(tuple(primals), tuple(range(len(primals))))
    if not isinstance(tangents, (tuple, list)) or len(tangents) != len(primals):
        given = len(tangents) if isinstance(tangents, (tuple, list)) else f"a {type(tangents).__name__}"
        raise InputError(
            message(
                f"{name} takes a tuple of {len(primals)} {what}s, one for each input; it was given {given}",
                f"pass a tuple with a {what} for each input: (x,) for one",
                where=False,
            )
        )
    found: list[Any] = []
    for tangent in tangents:
        found += [as_leaf(leaf) for leaf in flatten(tangent)[0]]
    for leaf in found:
        check_meaning(leaf)
    if not all(same_structure(tangent, primal) for tangent, primal in zip(tangents, primals, strict=True)):
        raise InputError(
            message(
                f"{name}: the {what}s have another structure than the inputs",
                f"give the {what}s the structure of the inputs: the same tuples, lists and dicts",
                where=False,
            )
        )
    for value, tangent in zip(values, found, strict=True):
        if np.shape(tangent) != np.shape(value):
            raise InputError(
                message(
                    f"{name}: a {what} has shape {np.shape(tangent)} where the input has {np.shape(value)}",
                    f"give each {what} the shape of its input",
                    where=False,
                )
            )
        check_real(tangent, name, what)
    return found, rebuilds


def check_real(value: Any, name: str, what: str) -> None:
    """Raise an InputError for a tangent or cotangent that is not real."""
    kind = "f" if isinstance(value, Active) else getattr(np.asarray(value).dtype, "kind", "O")
    if kind not in "fiub":
        raise InputError(
            message(f"{name}: a {what} of dtype {np.asarray(value).dtype}", "use real numbers", where=False)
        )


@overload
def jvp(
    f: Callable[[*Ts], R], primals: tuple[*Ts], tangents: Sequence[Any], has_aux: Literal[False] = False
) -> tuple[R, R]: ...
@overload
def jvp(
    f: Callable[[*Ts], tuple[R, S]], primals: tuple[*Ts], tangents: Sequence[Any], has_aux: Literal[True]
) -> tuple[R, R, S]: ...
def jvp(f: Callable[..., Any], primals: Sequence[Any], tangents: Sequence[Any], has_aux: bool = False) -> Any:
    """Return the value of `f` and its derivative along tangents: the Jacobian-vector product.

    Parameters
    ----------
    f : callable
        A function of floats, arrays of floats, or trees of them, that returns numbers, arrays or trees of them.
    primals : tuple or list
        The arguments of `f`: float, ndarray of float64 or float32 of any shape, or tree.
    tangents : tuple or list
        The direction: for each argument a tangent of the same structure and shapes. Tangents may be of any real dtype.
    has_aux : bool
        Whether `f` returns a pair (result, auxiliary); what is auxiliary is passed on, not differentiated.

    Returns
    -------
    tuple
        (value, tangent of the value), or (value, tangent, auxiliary) with `has_aux`. The tangent is the Jacobian times
        the tangents, with the structure, shapes and dtypes of the value.

    Raises
    ------
    InputError
        When a primal is an int, a complex number or anything else that has no derivative; when the tangents differ from
        the primals in number, structure or shape, or are not real.
    OutputError
        When `f` returns truth values, text or None, or with `has_aux` not a pair.

    Notes
    -----
    One run of `f` to record it, one forward sweep (values and partial derivatives) and one tangent sweep, for
    any number of inputs and outputs.

    References
    ----------
    .. [1] A. Griewank and A. Walther, *Evaluating Derivatives*, 2nd ed., SIAM, 2008, section 3.1 (forward mode).

    Examples
    --------
    >>> import numpy as np, numbad
    >>> numbad.jvp(lambda x: x**2, (3.0,), (1.0,))
    (9.0, 6.0)
    >>> numbad.jvp(lambda x, y: x * y, (np.array([1.0, 2.0]), 3.0), (np.array([1.0, 0.0]), 0.0))
    (array([3., 6.]), array([3., 0.]))
    """
    primals = tuple(primals)
    seeds, _ = match(primals, tangents, "jvp", "tangent")
    places = tuple(range(len(primals)))
    if current() is not None:
        evaluation = evaluate_apart(f, primals, places, has_aux)
        if evaluation is not None:
            dot = evaluation.rebuild(list(LinearMap(evaluation, False, True)(*seeds)))
            return (evaluation.value, dot, evaluation.auxiliary) if has_aux else (evaluation.value, dot)
        with session([]) as (recorder, _):
            call = Call(recorder, f, primals, places, {}, has_aux, "jvp")
            outputs, rebuild = call.outputs()
            dots = push_region(call.region, [addresses_of(o) for o in outputs], list(map(sow, seeds)))
            both = rebuild(outputs), rebuild(dots)
            return (*both, call.auxiliary) if has_aux else both
    evaluation = Evaluation(f, primals, places, {}, has_aux, watch=False)
    found = evaluation.value, evaluation.push(seeds)
    return (*found, evaluation.auxiliary) if has_aux else found


def sow(seed: Any) -> Any:
    """Return a tangent or cotangent that a program gives: its zeros are absent."""
    return BY_NAME["sow"](seed) if isinstance(seed, Active) else seed_of(seed)


def evaluate_apart(f: Any, primals: tuple[Any, ...], places: tuple[int, ...], has_aux: bool) -> Evaluation | None:
    """Evaluate a function at plain arrays while something else is being recorded; None if it takes part in that.

    Its derivative at a point that does not vary is a linear map, of which the recording needs one row.
    """
    if any(isinstance(leaf, Active) for leaf in flatten(primals)[0]):
        return None
    try:
        with alone():
            return Evaluation(f, kept(primals), places, {}, has_aux)
    except LeakError:  # the function uses values of the recording
        return None


class Evaluation:
    """A function recorded and swept at a point, ready for any number of tangents and cotangents.

    Attributes
    ----------
    value, auxiliary : tree
        The results, as NumPy's.
    """

    def __init__(
        self,
        f: Any,
        arguments: tuple[Any, ...],
        argnums: tuple[int, ...],
        keywords: dict[str, Any],
        has_aux: bool,
        watch: bool = True,
    ) -> None:
        self.recorder, self.leaves, self.rebuilds, result = record_call(f, arguments, argnums, keywords)
        self.auxiliary = None
        try:
            if has_aux:
                result, self.auxiliary = split_auxiliary(result, "jvp or vjp")
            self.outputs, self.rebuild = real_outputs(self.recorder, result, bool(self.leaves))
            self.execution = run(self.recorder)
            self.values = [plain(output) for output in self.outputs]
            self.addresses = [addresses_of(output) for output in self.outputs]
            self.execution.forward()
            self.auxiliary = concrete(self.auxiliary)
            self.watched: list[Any] = []
            if watch:
                self.keep_constants()
        finally:
            self.recorder.close()
        self.value = self.rebuild(self.values)
        self.linearised: Linearised | None = None

    def linear(self) -> Linearised:
        """Return the tape at this point as a linear map, for many seeds at once."""
        if self.linearised is None:
            if config._debug_nans:  # one sweep that looks at what it does, before many that do not
                self.execution.backward([], [(places.reshape(-1), 1.0) for places in self.addresses])
            self.linearised = Linearised(self.execution, self.leaves, self.addresses)
        return self.linearised

    def keep_constants(self) -> None:
        """Copy the arrays that the function took from outside by reference: the caller may write to them.

        Large ones are read where they are, and compared by their fingerprints at each use.
        """
        recorder, execution = self.recorder, self.execution
        for space, found in recorder.borrowed.items():
            values = found.values
            if space in recorder.input_spaces or found.memory is not values or space >= len(execution.spaces):
                continue
            if execution.spaces[space] is not values:  # it was converted
                continue
            if values.nbytes <= MOST_COPIED:
                execution.put_space(space, values.copy(order="K"))
            else:
                self.watched.append((values, found.before))

    def check_constants(self) -> None:
        """Raise a NumbadError if a large array was written to since the function ran."""
        for values, copy in self.watched:
            if written(values, copy):
                raise NumbadError(
                    message(
                        f"an array of shape {values.shape} that the function uses was written to after "
                        "numbad.vjp or numbad.linearize",
                        "call numbad.vjp again, or write to a copy of the array",
                    )
                )

    def push(self, tangents: list[Any]) -> Any:
        """Return the outputs' tangents for the inputs'."""
        self.check_constants()
        seeds = []
        for leaf, tangent in zip(self.leaves, tangents, strict=True):
            values = np.asarray(tangent, self.recorder.dtype)
            seeds.append((leaf.space, leaf.address, values.ravel(order=leaf.order)))
        dots = self.execution.pushforward(seeds)
        found = [dots.arena[addresses] + 0.0 for addresses in self.addresses]  # what is absent is shown as zero
        return self.rebuild([like(part, value) for part, value in zip(found, self.values, strict=True)])

    def pull(self, cotangents: list[Any]) -> tuple[Any, ...]:
        """Return the inputs' cotangents for the outputs'."""
        self.check_constants()
        bars = self.execution.backward([], list(zip(self.addresses, cotangents, strict=True)))
        found = [leaf.read(bars) for leaf in self.leaves]
        return tuple(regroup(found, self.rebuilds))


def like(part: Any, value: Any) -> Any:
    """Return a result as a float where the value is one."""
    return float(part) if type(value) is float else np.asarray(part) if isinstance(value, np.ndarray) else part


def kept(primals: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return inputs that do not change when the caller writes to the arrays that were given."""
    leaves, rebuild = flatten(tuple(primals))
    return rebuild([leaf.copy() if isinstance(leaf, np.ndarray) else leaf for leaf in leaves])


class Pullback:
    """The function from the outputs' cotangents to the inputs', at one point; see `vjp`."""

    def __init__(self, f: Any, primals: tuple[Any, ...], has_aux: bool) -> None:
        self.f, self.primals, self.has_aux = f, kept(primals), has_aux
        self.call: Call | None = None
        self.evaluation: Evaluation | None = None
        recorder = current()
        if recorder is None:
            self.evaluation = Evaluation(f, self.primals, tuple(range(len(primals))), {}, has_aux)
            self.result = self.value = self.evaluation.value
            self.auxiliary = self.evaluation.auxiliary
        else:
            call = self.begin(recorder)
            self.result, self.value, self.auxiliary = call.result, self.rebuild(self.outputs), call.auxiliary

    def begin(self, recorder: Recorder) -> Call:
        """Record the function in the running recording."""
        call = Call(recorder, self.f, self.primals, tuple(range(len(self.primals))), {}, self.has_aux, "vjp")
        self.outputs, self.rebuild = call.outputs()
        self.addresses = [addresses_of(output) for output in self.outputs]
        self.call = call
        return call

    def __call__(self, cotangent: Any) -> tuple[Any, ...]:
        """Return the inputs' cotangents, a tuple with one entry for each input."""
        if not same_structure(cotangent, self.result):
            raise InputError(
                message(
                    "the pullback got a cotangent of another structure than the function's result",
                    "give the cotangent the structure of the result: the same tuples, lists and dicts",
                    where=False,
                )
            )
        leaves = [as_leaf(leaf) for leaf in flatten(cotangent)[0]]
        for leaf in leaves:
            check_meaning(leaf)
        recorder = current()
        if recorder is None:
            if self.evaluation is None:
                self.evaluation = Evaluation(
                    self.f, concrete(self.primals), tuple(range(len(self.primals))), {}, self.has_aux
                )
            self.check(leaves, [np.shape(value) for value in self.evaluation.values])
            return self.evaluation.pull(leaves)
        if self.evaluation is not None:
            self.check(leaves, [np.shape(value) for value in self.evaluation.values])
            found = LinearMap(self.evaluation, True, True)(*leaves)
            return tuple(regroup(list(found), self.evaluation.rebuilds))
        call = self.call
        if call is None or call.region.recorder is not recorder:
            call = self.begin(recorder)
        self.check(leaves, [output.shape for output in self.outputs])
        return tuple(regroup(call.region.pull(self.addresses, list(map(sow, leaves))), call.rebuilds))

    def check(self, leaves: list[Any], shapes: list[Any]) -> None:
        """Raise an InputError for cotangents of another shape than the outputs."""
        for leaf, shape in zip(leaves, shapes, strict=True):
            if np.shape(leaf) != tuple(shape):
                raise InputError(
                    message(
                        f"the pullback got a cotangent of shape {np.shape(leaf)} where the output has {tuple(shape)}",
                        "give each cotangent the shape of its output",
                        where=False,
                    )
                )
            check_real(leaf, "the pullback", "cotangent")


@overload
def vjp(
    f: Callable[[*Ts], R], *primals: *Ts, has_aux: Literal[False] = False
) -> tuple[R, Callable[[Any], tuple[*Ts]]]: ...
@overload
def vjp(
    f: Callable[[*Ts], tuple[R, S]], *primals: *Ts, has_aux: Literal[True]
) -> tuple[R, Callable[[Any], tuple[*Ts]], S]: ...
def vjp(f: Callable[[*Ts], Any], *primals: *Ts, has_aux: bool = False) -> tuple[Any, ...]:
    """Return the value of `f` and its pullback: the function of vector-Jacobian products.

    Parameters
    ----------
    f : callable
        A function of floats, arrays of floats, or trees of them, that returns numbers, arrays or trees of them.
    *primals : float, ndarray of float64 or float32, or tree
        The point: one for each argument of `f`.
    has_aux : bool
        Whether `f` returns a pair (result, auxiliary); what is auxiliary is passed on, not differentiated.

    Returns
    -------
    tuple
        (value, pullback), or (value, pullback, auxiliary) with `has_aux`. `pullback(cotangent)` takes a cotangent of
        the structure and shapes of the value, of any real dtype, and can be called again and again. The pullback
        returns a tuple with one cotangent for each argument, of its structure, shapes and dtypes: the transpose of the
        Jacobian times the cotangent.

    Raises
    ------
    InputError
        When a primal is an int, a complex number or anything else that has no derivative; from the pullback, when the
        cotangent has another structure or shape than the value, or is not real.
    OutputError
        When `f` returns truth values, text or None, or with `has_aux` not a pair.
    NumbadError
        From the pullback, when a large array that `f` takes from elsewhere was written to (see Notes).

    Notes
    -----
    One run of `f` to record it and one forward sweep; then one adjoint sweep for each call of the pullback. The
    pullback keeps the memory of its point: a value for each intermediate number, and two partial derivatives for
    each row of numbers.

    Later writes to the arrays of the point change nothing. Arrays that `f` takes from elsewhere (closures, globals)
    are copied up to 262,144 elements. A larger one is read where it lies, and compared with its fingerprint at each
    call; of more than four million elements some 4,000 are compared.

    References
    ----------
    .. [1] A. Griewank and A. Walther, *Evaluating Derivatives*, 2nd ed., SIAM, 2008, section 3.3 (reverse mode).

    Examples
    --------
    >>> import numpy as np, numbad
    >>> value, pullback = numbad.vjp(lambda x: x**2, np.array([1.0, 2.0]))
    >>> pullback(np.array([1.0, 10.0]))
    (array([ 2., 40.]),)
    """
    pullback = Pullback(f, primals, has_aux)
    return (pullback.value, pullback, pullback.auxiliary) if has_aux else (pullback.value, pullback)


@overload
def linearize(
    f: Callable[[*Ts], R], *primals: *Ts, has_aux: Literal[False] = False
) -> tuple[R, Callable[[*Ts], R]]: ...
@overload
def linearize(
    f: Callable[[*Ts], tuple[R, S]], *primals: *Ts, has_aux: Literal[True]
) -> tuple[R, Callable[[*Ts], R], S]: ...
def linearize(f: Callable[[*Ts], Any], *primals: *Ts, has_aux: bool = False) -> tuple[Any, ...]:
    """Return the value of `f` at a point and the function that pushes tangents forward there.

    Parameters
    ----------
    f : callable
        A function of floats, arrays of floats, or trees of them, that returns numbers, arrays or trees of them.
    *primals : float, ndarray of float64 or float32, or tree
        The point: one for each argument of `f`.
    has_aux : bool
        Whether `f` returns a pair (result, auxiliary); what is auxiliary is passed on, not differentiated.

    Returns
    -------
    tuple
        (value, pushforward), or (value, pushforward, auxiliary) with `has_aux`. `pushforward(*tangents)` takes one
        tangent for each argument, of its structure and shapes and of any real dtype, and can be called again and
        again. The pushforward returns the Jacobian times the tangents: the structure, shapes and dtypes of the value.

    Raises
    ------
    InputError
        When a primal is an int, a complex number or anything else that has no derivative; from the pushforward, when
        the tangents differ from the primals in number, structure or shape, or are not real.
    OutputError
        When `f` returns truth values, text or None, or with `has_aux` not a pair.
    NumbadError
        From the pushforward, when a large array that `f` takes from elsewhere was written to (see Notes).

    Notes
    -----
    One run of `f` to record it and one forward sweep; then one tangent sweep for each call of the pushforward, where
    `jvp` would run `f` again. Inside another recording `f` runs again at each call.

    Later writes to the arrays of the point change nothing. Arrays that `f` takes from elsewhere (closures, globals)
    are copied up to 262,144 elements. A larger one is read where it lies, and compared with its fingerprint at each
    call; of more than four million elements some 4,000 are compared.

    References
    ----------
    .. [1] A. Griewank and A. Walther, *Evaluating Derivatives*, 2nd ed., SIAM, 2008, section 3.1 (forward mode).

    Examples
    --------
    >>> import numpy as np, numbad
    >>> value, pushforward = numbad.linearize(lambda x: x**2, np.array([1.0, 3.0]))
    >>> value
    array([1., 9.])
    >>> pushforward(np.array([1.0, 0.0]))
    array([2., 0.])
    """
    primals = kept(primals)
    if current() is not None:
        found = split_auxiliary(f(*primals), "linearize") if has_aux else (f(*primals), None)

        def push_inside(*tangents: Any) -> Any:
            return jvp(f, primals, tangents, True)[1] if has_aux else jvp(f, primals, tangents)[1]

        return (found[0], push_inside, found[1]) if has_aux else (found[0], push_inside)
    evaluation = Evaluation(f, primals, tuple(range(len(primals))), {}, has_aux)

    def pushforward(*tangents: Any) -> Any:
        seeds, _ = match(primals, tangents, "linearize", "tangent")
        if any(isinstance(seed, Active) for seed in seeds):
            return evaluation.rebuild(list(LinearMap(evaluation, False, True)(*seeds)))
        return evaluation.push(seeds)

    both = evaluation.value, pushforward
    return (*both, evaluation.auxiliary) if has_aux else both


# ---------------------------------------------------------------- Jacobians


def nest_blocks(rebuild: Any, blocks: list[list[Any]], rebuilds: list[Any], argnums: Any) -> Any:
    """Return a tree of blocks: for each output leaf, the inputs' structure with a block in each leaf."""
    found = []
    for row in blocks:
        parts = regroup(row, rebuilds)
        found.append(parts[0] if is_single(argnums) else tuple(parts))
    return rebuild(found)


def size_of(value: Any) -> int:
    """Return the number of elements."""
    return math.prod(np.shape(value))


def jacobian_by(mode: str, f: Any, arguments: Any, keywords: Any, argnums: Any, has_aux: bool) -> Any:
    """Return the Jacobian of `f` at a point by lanes of tangents or of cotangents."""
    places = positions(argnums, len(arguments), mode)
    recorder = current()
    if recorder is None:
        return jacobian_at(mode, f, arguments, places, keywords, argnums, has_aux)
    call = Call(recorder, f, arguments, places, keywords, has_aux, mode)
    outputs, rebuild = call.outputs()
    addresses = [addresses_of(output) for output in outputs]
    blocks = (columns if is_forward(mode, call.region.inputs, outputs) else rows)(call, outputs, addresses)
    result = nest_blocks(rebuild, blocks, call.rebuilds, argnums)
    return (result, call.auxiliary) if has_aux else result


def is_forward(mode: str, inputs: list[Any], outputs: list[Any]) -> bool:
    """Whether a Jacobian is to be computed by tangents."""
    if mode == "jacobian":
        return sum(map(size_of, inputs)) <= sum(map(size_of, outputs))
    return mode == "jacfwd"


def jacobian_at(mode: str, f: Any, arguments: Any, places: Any, keywords: Any, argnums: Any, has_aux: bool) -> Any:
    """Return the Jacobian of `f` at a point while nothing is being recorded: by lanes over its linearised tape."""
    evaluation = Evaluation(f, arguments, places, keywords, has_aux, watch=False)
    inputs, outputs = [leaf.value for leaf in evaluation.leaves], evaluation.values
    result = nest_blocks(
        evaluation.rebuild, jacobian_blocks(evaluation, is_forward(mode, inputs, outputs)), evaluation.rebuilds, argnums
    )
    return (result, evaluation.auxiliary) if has_aux else result


def jacobian_blocks(evaluation: Evaluation, forward: bool) -> list[list[Any]]:
    """Return the blocks of a Jacobian: for each output a list with one for each input."""
    inputs, outputs = [leaf.value for leaf in evaluation.leaves], evaluation.values
    counts = [size_of(value) for value in (inputs if forward else outputs)]
    total, rest = sum(counts), sum(size_of(value) for value in (outputs if forward else inputs))
    check_size(rest, total, total, evaluation.recorder)
    if not total or not rest:
        return [[cast(np.zeros(np.shape(o) + np.shape(i)), i) for i in inputs] for o in outputs]
    linear = evaluation.linear()
    found = linear.push() if forward else linear.pull()
    starts = [sum(counts[:k]) for k in range(len(counts))]
    blocks = []
    for k, output in enumerate(outputs):
        row = []
        for j, value in enumerate(inputs):
            if forward:
                part = found[k][..., starts[j] : starts[j] + counts[j]]
            else:
                part = found[j][starts[k] : starts[k] + counts[k]]
            row.append(cast(as_number(part.reshape(np.shape(output) + np.shape(value))), value))
        blocks.append(row)
    return blocks


def as_number(values: np.ndarray) -> Any:
    """Return an array of no axes as a number."""
    return values if values.ndim else float(values) if values.dtype == np.float64 else values[()]


def check_size(outputs: int, inputs: int, lanes: int, recorder: Any) -> None:
    """Raise MemoryError for a Jacobian that does not fit into memory, before it is tried."""
    size = (outputs + inputs) * lanes * recorder.dtype.itemsize
    if size < COMPARED_MEMORY:
        return
    available = available_memory()
    if size > available:
        raise MemoryError(
            message(
                f"the {outputs:,} x {inputs:,} derivatives and their seeds need {size / 1e9:.1f} GB or more, "
                f"and {available / 1e9:.1f} GB are free",
                "use numbad.hvp, numbad.jvp or numbad.vjp for products with single vectors, "
                "or differentiate a part of the inputs",
                where=False,
            )
        )


def block_of(part: Any, shape: tuple[int, ...]) -> Any:
    """Return the block of a Jacobian for an output and an input: a number where both are numbers."""
    return part.reshape(shape) if shape else part.reshape(-1)[0]


def is_for_each(region: Any, lanes: int) -> bool:
    """Whether derivatives are emitted seed by seed: a few, of a long region that is nearly all scalar rows.

    Compiled code writes those rows; with lanes each becomes a row over arrays, which Python writes.
    """
    if not 1 < lanes <= FEW_SEEDS:
        return False
    opcodes = np.array(region.recorder.code[4 * region.start : 4 * region.stop : 4], np.int64)
    arrays = np.count_nonzero((opcodes >= MAP) & ~is_guard(opcodes))
    return len(opcodes) >= FEW_ROWS and SCALAR_SHARE * int(arrays) <= len(opcodes)


def push_each(region: Any, addresses: list[Any], sizes: list[int]) -> list[Any]:
    """Return the tangents of outputs for each input element, one after the other, with lanes last."""
    found = []
    for lane in range(sum(sizes)):
        unit = np.zeros(sum(sizes))
        unit[lane] = 1.0
        parts = np.split(unit, np.cumsum(sizes)[:-1])
        shaped = [part.reshape(value.shape) for part, value in zip(parts, region.inputs, strict=True)]
        found.append(push_region(region, addresses, shaped))
    each = zip(*found, strict=True)
    return [np.stack([to_array(part, region.recorder) for part in parts], axis=-1) for parts in each]


def columns(call: Call, outputs: list[Any], addresses: list[Any]) -> list[list[Any]]:
    """Return the blocks of a Jacobian by one tangent for each input element."""
    inputs = call.region.inputs
    sizes = [size_of(value) for value in inputs]
    lanes = sum(sizes)
    if not lanes:
        return [[np.zeros(o.shape + i.shape) for i in inputs] for o in outputs]
    check_size(sum(map(size_of, outputs)), lanes, lanes, call.region.recorder)
    seeds, start = [], 0
    for size in sizes:
        seeds.append(Identity(start))
        start += size
    if is_for_each(call.region, lanes):
        dots = push_each(call.region, addresses, sizes)
    else:
        dots = push_region(call.region, addresses, seeds, lanes)
    blocks = []
    for output, dot in zip(outputs, dots, strict=True):
        row, start = [], 0
        for value, size in zip(inputs, sizes, strict=True):
            row.append(block_of(dot[..., start : start + size], output.shape + value.shape))
            start += size
        blocks.append(row)
    return blocks


def rows(call: Call, outputs: list[Any], addresses: list[Any]) -> list[list[Any]]:
    """Return the blocks of a Jacobian by one cotangent for each output element."""
    inputs = call.region.inputs
    sizes = [size_of(output) for output in outputs]
    lanes = sum(sizes)
    if not lanes:
        return [[np.zeros(o.shape + i.shape) for i in inputs] for o in outputs]
    check_size(lanes, sum(map(size_of, inputs)), lanes, call.region.recorder)
    seeds, start = [], 0
    for size in sizes:
        seeds.append(Identity(start))
        start += size
    if lanes == 1:  # a gradient, of which compiled code writes the scalar rows
        units = [np.ones(output.shape) if output.shape else 1.0 for output in outputs]
        bars = [to_array(bar, call.region.recorder)[..., None] for bar in call.region.pull(addresses, units)]
    else:
        bars = call.region.pull(addresses, seeds, lanes)
    blocks, start = [], 0
    for output, size in zip(outputs, sizes, strict=True):
        row = []
        for value, bar in zip(inputs, bars, strict=True):
            part = bar[..., start : start + size]
            row.append(block_of(np.moveaxis(part, -1, 0), output.shape + value.shape))
        blocks.append(row)
        start += size
    return blocks


def jacobian_function(mode: str, f: Any, argnums: Any, has_aux: bool, keywords: Any = None) -> Callable[..., Any]:
    """Return the function that computes the Jacobian of `f` by a mode; `keywords` are passed to `f` in any case."""

    @wraps(f, numbad_like=None if has_aux else argnums)
    def blocks(*arguments: Any, **more: Any) -> Any:
        return jacobian_by(mode, f, arguments, {**(keywords or {}), **more}, argnums, has_aux)

    return blocks


def jacfwd(f: Callable[..., Any], argnums: Argnums = 0, has_aux: bool = False) -> Callable[..., Arrays]:
    """Return the function that computes the Jacobian of `f` in forward mode, as jax.jacfwd does.

    Parameters
    ----------
    f : callable
        A function of floats, arrays of floats, or trees of them, that returns numbers, arrays or trees of them.
    argnums : int or tuple of int
        The positions of the arguments to differentiate with respect to, counted from 0; negative ones count from the
        end. Keyword arguments are passed on and not differentiated.
    has_aux : bool
        Whether `f` returns a pair (result, auxiliary); what is auxiliary is passed on, not differentiated.

    Returns
    -------
    callable
        Takes the arguments of `f`. Returns the Jacobian: for an output of shape s and an input of shape t an ndarray of
        shape s + t, with the dtype of the input; a number where both are numbers. An output tree gives a tree of
        Jacobians, and an input tree a tree in place of each of them. A tuple with one Jacobian for each entry if
        `argnums` is a tuple. With `has_aux` a pair (Jacobian, auxiliary).

    Raises
    ------
    TypeError
        When `f` cannot be called, or `argnums` is not an int or a tuple of ints.
    ValueError
        When the Jacobian function is called: `argnums` names an argument that is not there, or one argument twice.
    InputError
        When the Jacobian function is called with ints, complex numbers or text in an argument that is differentiated.
    OutputError
        When `f` returns truth values, text or None, or with `has_aux` not a pair.
    MemoryError
        When the Jacobian and its seeds do not fit into the free memory; nothing is allocated then.

    Notes
    -----
    Each call runs `f` once, and sweeps the recorded rows once for all n input elements: n tangents side by side. The
    cost grows with n, so forward mode is the cheaper one where there are fewer inputs than outputs. Memory:
    the result, and up to 64 MB of tangents at a time. Before the sweep the result and n x n seeds are compared with
    the free memory.

    References
    ----------
    .. [1] A. Griewank and A. Walther, *Evaluating Derivatives*, 2nd ed., SIAM, 2008, section 3.1 (forward mode).

    Examples
    --------
    >>> import numpy as np, numbad
    >>> numbad.jacfwd(lambda x: x**2)(np.array([1.0, 2.0]))
    array([[2., 0.],
           [0., 4.]])
    """
    check_function(f, "jacfwd")
    numbers_of(argnums, "jacfwd")
    return jacobian_function("jacfwd", f, argnums, has_aux)


def jacrev(f: Callable[..., Any], argnums: Argnums = 0, has_aux: bool = False) -> Callable[..., Arrays]:
    """Return the function that computes the Jacobian of `f` in reverse mode, as jax.jacrev does.

    Parameters
    ----------
    f : callable
        A function of floats, arrays of floats, or trees of them, that returns numbers, arrays or trees of them.
    argnums : int or tuple of int
        The positions of the arguments to differentiate with respect to, counted from 0; negative ones count from the
        end. Keyword arguments are passed on and not differentiated.
    has_aux : bool
        Whether `f` returns a pair (result, auxiliary); what is auxiliary is passed on, not differentiated.

    Returns
    -------
    callable
        Takes the arguments of `f`. Returns the Jacobian: for an output of shape s and an input of shape t an ndarray of
        shape s + t, with the dtype of the input; a number where both are numbers. An output tree gives a tree of
        Jacobians, and an input tree a tree in place of each of them. A tuple with one Jacobian for each entry if
        `argnums` is a tuple. With `has_aux` a pair (Jacobian, auxiliary).

    Raises
    ------
    TypeError
        When `f` cannot be called, or `argnums` is not an int or a tuple of ints.
    ValueError
        When the Jacobian function is called: `argnums` names an argument that is not there, or one argument twice.
    InputError
        When the Jacobian function is called with ints, complex numbers or text in an argument that is differentiated.
    OutputError
        When `f` returns truth values, text or None, or with `has_aux` not a pair.
    MemoryError
        When the Jacobian and its seeds do not fit into the free memory; nothing is allocated then.

    Notes
    -----
    Each call runs `f` once, and sweeps the recorded rows backward once for all m output elements: m cotangents side by
    side. The cost grows with m, so reverse mode is the cheaper one where there are fewer outputs than inputs. Memory:
    the result, and up to 64 MB of cotangents at a time. Before the sweep the result and m x m seeds are compared with
    the free memory.

    References
    ----------
    .. [1] A. Griewank and A. Walther, *Evaluating Derivatives*, 2nd ed., SIAM, 2008, section 3.3 (reverse mode).

    Examples
    --------
    >>> import numpy as np, numbad
    >>> numbad.jacrev(lambda x: np.array([[1.0, 2.0, 3.0]]) @ x)(np.ones(3))
    array([[1., 2., 3.]])
    """
    check_function(f, "jacrev")
    numbers_of(argnums, "jacrev")
    return jacobian_function("jacrev", f, argnums, has_aux)


def split_points(points: tuple[Any, ...], argnums: Any) -> tuple[tuple[Any, ...], Any]:
    """Tell points from JAX's second positional argument: ints, and tuples of ints, are argnums."""
    if len(points) == 1:
        only = points[0]
        whole = (int, np.integer)
        if isinstance(only, whole) or (isinstance(only, tuple) and only and all(isinstance(k, whole) for k in only)):
            return (), only
    return points, argnums


@overload
def jacobian(
    f: Callable[..., Any], *, argnums: Argnums | None = None, has_aux: bool = False, **keywords: Any
) -> Callable[..., Arrays]: ...
@overload
def jacobian(f: Callable[..., Any], *points: *tuple[float], **keywords: Any) -> Value: ...
@overload
def jacobian(f: Callable[..., Any], *points: Any, **keywords: Any) -> Arrays: ...
def jacobian(
    f: Callable[..., Any], *points: Any, argnums: Argnums | None = None, has_aux: bool = False, **keywords: Any
) -> Any:
    """Return the Jacobian of `f` at a point, or the function that computes it, in the cheaper mode.

    Forward mode is taken when the inputs have no more elements than the outputs, else reverse mode.

    Parameters
    ----------
    f : callable
        A function of floats, arrays of floats, or trees of them, that returns numbers, arrays or trees of them.
    *points : float, ndarray of float64 or float32, or tree
        The point: one for each positional argument of `f`. With none, a function is returned. A single int, or a
        tuple of ints, is taken for `argnums`, as jax.jacfwd has it second.
    argnums : int or tuple of int, optional
        The positions of the arguments to differentiate with respect to. By default all points; the first argument alone
        for the returned function.
    has_aux : bool
        Whether `f` returns a pair (result, auxiliary); what is auxiliary is passed on, not differentiated.
    **keywords
        Passed to `f` as they are; not differentiated.

    Returns
    -------
    float, ndarray, tree or callable
        The Jacobian: for an output of shape s and an input of shape t an ndarray of shape s + t, with the dtype of the
        input; a number where both are numbers. An output tree gives a tree of Jacobians, and an input tree a tree in
        place of each of them. A tuple with one Jacobian for each input where there are several points or `argnums` is a
        tuple. With `has_aux` a pair (Jacobian, auxiliary). Without points, a function of the arguments of `f` that
        returns all this.

    Raises
    ------
    TypeError
        When `argnums` is not an int or a tuple of ints.
    ValueError
        When `argnums` names an argument that is not there, or one argument twice.
    InputError
        For integer arrays, complex numbers and other inputs that have no derivative.
    OutputError
        When `f` returns truth values, text or None, or with `has_aux` not a pair.
    MemoryError
        When the Jacobian and its seeds do not fit into the free memory; nothing is allocated then.

    Notes
    -----
    One run of `f`, and one sweep for all min(n, m) seeds side by side, for n input and m output elements.
    See `jacfwd` and `jacrev`.

    References
    ----------
    .. [1] A. Griewank and A. Walther, *Evaluating Derivatives*, 2nd ed., SIAM, 2008, sections 3.1 (forward mode) and
       3.3 (reverse mode).

    Examples
    --------
    >>> import numpy as np, numbad
    >>> numbad.jacobian(lambda x: np.array([[1.0, 2.0], [3.0, 4.0]]) @ x, np.array([1.0, 1.0]))
    array([[1., 2.],
           [3., 4.]])
    >>> numbad.jacobian(lambda x, y: x * y, np.array([1.0, 2.0]), 3.0, argnums=1)
    array([1., 2.])
    """
    points, argnums = split_points(points, argnums)
    if not points:
        return jacobian_function("jacobian", f, 0 if argnums is None else argnums, has_aux, keywords)
    if argnums is None:
        argnums = 0 if len(points) == 1 else tuple(range(len(points)))
    return jacobian_by("jacobian", f, points, keywords, argnums, has_aux)


@overload
def hessian(
    f: Callable[..., Any], *, argnums: Argnums | None = None, has_aux: bool = False, **keywords: Any
) -> Callable[..., Arrays]: ...
@overload
def hessian(f: Callable[..., Any], *points: *tuple[float], **keywords: Any) -> Value: ...
@overload
def hessian(f: Callable[..., Any], *points: Any, **keywords: Any) -> Arrays: ...
def hessian(
    f: Callable[..., Any], *points: Any, argnums: Argnums | None = None, has_aux: bool = False, **keywords: Any
) -> Any:
    """Return the second derivatives of `f` at a point, or the function that computes them: forward over reverse.

    Parameters
    ----------
    f : callable
        A function of floats, arrays of floats, or trees of them. It returns one number as a rule; arrays and trees
        of them have a Hessian for each element.
    *points : float, ndarray of float64 or float32, or tree
        The point: one for each positional argument of `f`. With none, a function is returned. A single int, or a
        tuple of ints, is taken for `argnums`, as jax.hessian has it second.
    argnums : int or tuple of int, optional
        The positions of the arguments to differentiate with respect to. By default all points; the first argument alone
        for the returned function.
    has_aux : bool
        Whether `f` returns a pair (result, auxiliary); what is auxiliary is passed on, not differentiated.
    **keywords
        Passed to `f` as they are, and not differentiated; the returned function takes more of them.

    Returns
    -------
    float, ndarray, tree or callable
        The Hessian: an ndarray of shape s + t + t for an output of shape s (() for a number) and an input of shape t,
        with the dtype of the input; a number where all are numbers. For several inputs a tuple of tuples with the
        second derivatives by inputs i and j at [i][j], for trees a tree of trees, as jax.hessian nests them. With
        `has_aux` a pair (Hessian, auxiliary). Without points, a function of the arguments of `f` that returns all this.

    Raises
    ------
    TypeError
        When `f` cannot be called, or `argnums` is not an int or a tuple of ints.
    ValueError
        When `argnums` names an argument that is not there, or one argument twice.
    InputError
        For integer arrays, complex numbers and other inputs that have no derivative.
    OutputError
        When `f` returns truth values, text or None, or with `has_aux` not a pair.
    MemoryError
        When the Hessian and its seeds do not fit into the free memory; nothing is allocated then.

    Notes
    -----
    One run of `f`, which records its gradient too, and one sweep over both for all n input elements: n tangents side by
    side. Memory grows as n x n; `hvp` gives the product with one vector in memory that does not.

    References
    ----------
    .. [1] A. Griewank and A. Walther, *Evaluating Derivatives*, 2nd ed., SIAM, 2008, sections 3.1 (forward mode) and
       3.3 (reverse mode).

    Examples
    --------
    >>> import numpy as np, numbad
    >>> numbad.hessian(lambda x: x[0] ** 2 * x[1], np.array([1.0, 2.0]))
    array([[4., 2.],
           [2., 0.]])
    >>> numbad.hessian(lambda x, y: x * y**2, 1.0, 2.0)
    ((0.0, 4.0), (4.0, 2.0))
    """
    points, argnums = split_points(points, argnums)
    chosen = argnums
    if chosen is None:
        chosen = tuple(range(len(points))) if len(points) > 1 else 0
    second = jacobian_function("jacfwd", jacrev(f, chosen, has_aux), chosen, has_aux, keywords)
    return second(*points) if points else second


def hvp(f: Callable[..., Any], x: T, v: Any) -> T:
    """Return the product of the Hessian of `f` at `x` with `v`, without forming the Hessian.

    Parameters
    ----------
    f : callable
        A function of one float, array of floats, or tree of them, that returns one number.
    x : float, ndarray of float64 or float32, or tree
        The point.
    v : float, ndarray or tree
        The vector, with the structure and shapes of `x` and any real dtype.

    Returns
    -------
    float, ndarray or tree
        The Hessian times `v`, with the structure, shapes and dtypes of `x`.

    Raises
    ------
    TypeError
        When `f` cannot be called.
    InputError
        When `x` is an int, a complex number or anything else that has no derivative, or `v` has another structure or
        shape than `x`, or is not real.
    OutputError
        When `f` does not return one number.

    Notes
    -----
    One run of `f`, which records its gradient too, then one forward and one tangent sweep over both (forward over
    reverse mode): the cost does not grow with the number of inputs, and neither n x n memory nor n gradients are
    needed.

    References
    ----------
    .. [1] B. A. Pearlmutter, "Fast exact multiplication by the Hessian", *Neural Computation* 6 (1994), 147-160.

    Examples
    --------
    >>> import numpy as np, numbad
    >>> numbad.hvp(lambda x: np.sum(x**3), np.array([1.0, 2.0]), np.array([1.0, 0.0]))
    array([6., 0.])
    """
    found: T = jvp(grad(f), (x,), (v,))[1]
    return narrowed(found) if current() is None and is_narrow(0, (x,)) else found


TRANSFORMS.update(vjp=vjp, jvp=jvp)
