"""Rules of the user's own: custom_jvp, custom_vjp, stop_gradient and checkpoint."""

from __future__ import annotations

import contextlib
import functools
import inspect
import threading
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Generic, ParamSpec, TypeVar

import numpy as np

from numbad.emission.regions import addresses_of
from numbad.errors import NumbadError, RecordingError, check_function, message, name_of, wraps
from numbad.numba_api.sources import is_numbas
from numbad.ops.arithmetic import stop_gradient as held
from numbad.recording.active import Active
from numbad.recording.arrays import Array, RuleStorage, as_array
from numbad.recording.hostcalls import HostCall, record_call
from numbad.recording.recorder import Recorder, current, set_current
from numbad.recording.trees import flatten, same_structure, spread_prefix
from numbad.sweeps.dependence import mark_rows
from numbad.transforms.functional import grad, jvp, vjp

if TYPE_CHECKING:
    from numbad.types import F, T

P = ParamSpec("P")
R = TypeVar("R")


class Rule:
    """One call of a function with a rule, as a host row sees it: arrays in, a list of arrays out.

    Attributes
    ----------
    name : str
    primal : callable
        From the recording operands' values to the leaves of the result.
    vjp_function : callable
        `(bars, results, operands)` to the operands' cotangents.
    jvp_function : callable or None
        `(operands, tangents)` to the results' tangents.
    """

    def __init__(self, name: str, primal: Any, vjp_function: Any, jvp_function: Any = None) -> None:
        self.name = name
        self.primal = primal
        self.vjp_function = vjp_function
        self.jvp_function = jvp_function

    def __call__(self, *operands: Any, **_: Any) -> Any:
        """Apply the rule again, to other operands."""
        recorder = current()
        if recorder is None or not any(isinstance(part, Active) for part in operands):
            return self.primal(*operands)
        shapes = [np.shape(part) for part in self.primal(*[plain_value(part) for part in operands])]
        return record_call(recorder, HostCall(self, {}, [np.shape(part) for part in operands], shapes), operands)


def plain_value(value: Any) -> Any:
    """Return a recording value as NumPy would hold it."""
    return np.asarray(value.value()) if isinstance(value, Active) else np.asarray(value)


class Arguments:
    """The arguments of a call: which leaves are recording, and how to put others in their place."""

    def __init__(self, arguments: tuple[Any, ...]) -> None:
        self.leaves, self.rebuild = flatten(arguments)
        self.places = [k for k, leaf in enumerate(self.leaves) if isinstance(leaf, Active)]
        self.operands = [self.leaves[k] for k in self.places]
        self.result_shapes: list[tuple[int, ...]] = []

    def with_operands(self, operands: Any) -> tuple[Any, ...]:
        """Return the arguments with other values in the places of the recording leaves."""
        leaves = list(self.leaves)
        for k, operand in zip(self.places, operands, strict=True):
            leaves[k] = operand
        return self.rebuild(leaves)

    def pick(self, cotangents: Any, operands: Any, name: str) -> list[Any]:
        """Return the operands' cotangents from a tuple with one tree for each argument."""
        arguments = self.rebuild(self.leaves)
        if not isinstance(cotangents, (tuple, list)) or len(cotangents) != len(arguments):
            raise NumbadError(
                message(
                    f"the rule of {name} returned {describe(cotangents)}; "
                    f"a tuple of {len(arguments)} cotangents, one for each argument, is wanted",
                    f"mend the backward function of {name}",
                    where=False,
                )
            )
        found: list[Any] = []
        for argument, cotangent in zip(arguments, cotangents, strict=True):
            leaves = spread_cotangent(cotangent, argument)
            if leaves is None:
                raise NumbadError(
                    message(
                        f"the rule of {name} returned a cotangent of another structure than its argument",
                        f"mend the backward function of {name}",
                        where=False,
                    )
                )
            found += leaves
        picked = [found[k] for k in self.places]
        for part, operand in zip(picked, operands, strict=True):
            if part is not None:
                check_part(part, np.shape(operand), name, "cotangent")
        return picked


def check_results(leaves: list[Any], shapes: list[tuple[int, ...]], name: str, what: str) -> None:
    """Raise a NumbadError unless a rule returned results of the shapes that the function itself returns."""
    found = [np.shape(leaf) for leaf in leaves]
    if found != shapes:
        raise NumbadError(
            message(
                f"the {what} of {name} returned results of shapes {found}; {name} itself returns {shapes}",
                f"mend the {what} of {name}: its result is that of {name}",
                where=False,
            )
        )


def spread_cotangent(cotangent: Any, argument: Any) -> list[Any] | None:
    """Return one cotangent for each leaf of an argument, None for zero; None if the two are nested differently.

    None in the cotangent stands for zeros of a whole subtree.
    """
    try:
        found = spread_prefix(cotangent, argument)
    except ValueError:
        return None
    given = len(flatten(cotangent)[0])
    return found if sum(part is not None for part in found) == given else None


def check_part(part: Any, shape: tuple[int, ...], name: str, what: str) -> None:
    """Raise a NumbadError unless a rule gave an array of real numbers of a certain shape."""
    if isinstance(part, Active):
        found = part.shape
    else:
        values = np.asarray(part)
        if values.dtype.kind not in "fiub":
            raise NumbadError(
                message(
                    f"the rule of {name} gave {describe(part)} as a {what}; numbers of shape {shape} are wanted",
                    f"mend the rule of {name}",
                    where=False,
                )
            )
        found = values.shape
    if found != shape:
        raise NumbadError(
            message(
                f"the rule of {name} gave a {what} of shape {found}; {shape} is wanted",
                f"mend the rule of {name}: np.sum over the axes that were broadcast, or np.broadcast_to",
                where=False,
            )
        )


def guarded(parts: Any) -> list[Any]:
    """Return arrays as views that cannot be written to: they are the tape's own memory, or its addresses."""
    found = []
    for part in parts:
        if isinstance(part, Array):
            part = frozen(part)
        if isinstance(part, np.ndarray):
            part = part.view()
            part.flags.writeable = False
        found.append(part)
    return found


def frozen(value: Array) -> Array:
    """Return a recording array as one whose elements cannot be assigned."""
    old = value.storage
    storage = RuleStorage(old.space, old.address, old.size, old.step)
    storage.addresses = old.addresses
    return Array(value.recorder, storage, value.shape, value.offset, value.pitches, value.boolean)


@contextlib.contextmanager
def naming(name: str) -> Iterator[None]:
    """Add the name of the rule to an error that the user's function raises."""
    try:
        yield
    except Exception as error:
        if not any(name in note for note in getattr(error, "__notes__", ())):
            error.add_note(
                f"numbad: raised by {name} or its rule (arrays that a rule is given are read-only; "
                "copy what is to be changed)"
            )
        raise


def describe(value: Any) -> str:
    """Say what a rule returned."""
    return f"a tuple of {len(value)}" if isinstance(value, tuple) else f"a {type(value).__name__}"


def outside(function: Callable[..., R], *arguments: Any) -> R:
    """Call a function on plain arrays as if nothing were being recorded."""
    recorder = current()
    set_current(None)
    try:
        return function(*arguments)
    finally:
        set_current(recorder)


def apply_rule(
    name: str, f: Callable[..., R], arguments: tuple[Any, ...], make: Callable[[Arguments], Rule], closes: bool = False
) -> R:
    """Call `f`, or record a host row for it where an argument is recording.

    A function that uses recording values which are not among its arguments is recorded by rows if it `closes` over
    them, else it is an error.
    """
    given = Arguments(arguments)
    if not given.operands:
        return f(*arguments)
    recorder: Recorder = given.operands[0].recorder
    rule = make(given)
    concrete = guarded([plain_value(part) for part in given.operands])
    with naming(name):
        result = outside(f, *given.with_operands(concrete))
    leaves, rebuild = flatten(result)
    for leaf in leaves:
        if isinstance(leaf, Active):
            if closes:
                return f(*arguments)
            raise RecordingError(
                message(
                    f"{name} uses a recording value that is not among its arguments",
                    "pass every value that varies as an argument of the function with the rule",
                )
            )
        if np.asarray(leaf).dtype.kind not in "fiub":
            raise RecordingError(message(f"{name} returned {describe(leaf)}", "return arrays of real numbers"))
    shapes = given.result_shapes = [np.shape(leaf) for leaf in leaves]
    call = HostCall(rule, {}, [part.shape for part in given.operands], shapes)
    found = record_call(recorder, call, tuple(as_array(part) for part in given.operands))
    return rebuild(list(found) if isinstance(found, tuple) else [found])


def taking_numbers(f: Callable[..., R]) -> Callable[..., R]:
    """Return a function of Numba's so that arrays without axes are given to it as the numbers that it takes."""
    if not is_numbas(f):
        return f

    @functools.wraps(f)
    def call(*arguments: Any) -> R:
        leaves, rebuild = flatten(arguments)
        return f(*rebuild([number_of(part) for part in leaves]))

    return call


def number_of(value: Any) -> Any:
    """Return an array without axes as a number."""
    if isinstance(value, Array) and not value.shape:
        return value.item()
    return value[()] if isinstance(value, np.ndarray) and not value.shape else value


def count_positional(f: Callable[..., Any]) -> int:
    """Return the number of positional parameters; 0 where Python cannot tell, as of some compiled functions."""
    try:
        parameters = inspect.signature(f).parameters.values()
    except Exception:  # of compiled functions, and objects that answer no questions
        return 0
    return sum(part.kind in (part.POSITIONAL_ONLY, part.POSITIONAL_OR_KEYWORD) for part in parameters)


class CustomFunction(Generic[P, R]):
    """What custom_vjp and custom_jvp have in common: a function and arguments that have no derivative."""

    def __init__(self, f: Callable[P, R], nondiff_argnums: int | tuple[int, ...] = ()) -> None:
        check_function(f, type(self).__name__)
        functools.update_wrapper(self, f)  # type: ignore[arg-type]
        self.given, self.f = f, taking_numbers(f)
        self.name = name_of(f, type(f).__name__)
        self.positional = count_positional(f)
        self.nondiff = (nondiff_argnums,) if isinstance(nondiff_argnums, int) else tuple(nondiff_argnums)

    @property
    def _numba_type_(self) -> Any:
        """The type that functions have that Numba compiles: so others may call a kernel that has a rule."""
        if not is_numbas(self.given):
            return None
        from numba.core.types import Dispatcher

        return Dispatcher(self.given)

    def split(self, arguments: tuple[Any, ...]) -> tuple[list[Any], list[Any]]:
        """Return the arguments without derivative, and the others."""
        count = len(arguments)
        if not all(-count <= k < count for k in self.nondiff):
            raise ValueError(
                message(
                    f"{self.name}: nondiff_argnums is {self.nondiff}, and it was called with {count} arguments",
                    "count positional arguments from 0",
                )
            )
        places = [k % count for k in self.nondiff]
        fixed = [arguments[k] for k in places]
        for k, part in zip(places, fixed, strict=True):
            if any(isinstance(leaf, Active) for leaf in flatten(part)[0]):
                raise RecordingError(
                    message(
                        f"{self.name}: argument {k} is in nondiff_argnums, and its derivative is wanted",
                        "take it out of nondiff_argnums, or pass a plain number",
                    )
                )
        return fixed, [part for k, part in enumerate(arguments) if k not in places]

    def merge(self, fixed: list[Any], others: Any) -> list[Any]:
        """Return all arguments in order."""
        merged = list(others)
        count = len(fixed) + len(merged)
        for k, value in sorted(zip([k % count for k in self.nondiff], fixed, strict=True), key=lambda pair: pair[0]):
            merged.insert(k, value)
        return merged

    def bind(self, arguments: tuple[Any, ...], keywords: dict[str, Any]) -> tuple[Any, ...]:
        """Return keyword arguments and defaults in their positions."""
        if not keywords and len(arguments) >= self.positional:
            return arguments
        bound = inspect.signature(self.f).bind(*arguments, **keywords)
        if bound.kwargs:
            raise TypeError(
                message(
                    f"{self.name}: {', '.join(bound.kwargs)} can only be given by keyword, and a rule sees positions",
                    f"make it a positional parameter of {self.name}",
                )
            )
        if not isinstance(self.f, np.ufunc):  # whose defaults, out=None and the like, say nothing to a rule
            bound.apply_defaults()
        return bound.args

    def __get__(self, instance: Any, owner: Any = None) -> Any:
        """Return the function as a method of an instance; its rule is given on the class."""
        function: Any = self
        return function if instance is None else functools.partial(function, instance)

    def missing(self, what: str) -> Any:
        """Raise: the rule has not been given."""
        raise NumbadError(message(f"{self.name} has no rule", f"call {self.name}.{what} first", where=False))


class custom_vjp(CustomFunction[P, R]):
    """A function whose derivative is a rule of the user's own, in reverse mode, as jax.custom_vjp.

    Parameters
    ----------
    f : callable
        A function of floats, arrays or trees of them that returns arrays of real numbers, or trees of them. It
        runs on plain arrays, so it may do what cannot be recorded.
    nondiff_argnums : int or tuple of int
        The positions of the arguments that are passed on and have no derivative.

    Raises
    ------
    NumbadError
        When a derivative is wanted and no rule was given, or the rule returns another number of cotangents, another
        structure or other shapes than it should.
    RecordingError
        When the derivative with respect to an argument of `nondiff_argnums` is wanted, when `f` uses a recording value
        that is not among its arguments, or when it returns something else than arrays of real numbers.
    TypeError
        When `f` cannot be called, or when it is called with an argument that can only be given by keyword.
    ValueError
        When `f` is called with fewer arguments than `nondiff_argnums` names.

    Notes
    -----
    `defvjp(forward, backward)` gives the rule. `f` and the rule are given read-only arrays. They run whenever a sweep
    reaches the call; higher derivatives run both functions of the rule on recording values, so those must be
    recordable.

    In forward mode the rule is transposed: `jvp`, `jacfwd` and `hessian` work, too.

    `f` and both functions of its rule may be kernels, which Numba compiles, and other kernels may call it: its machine
    code where they compute, its rule where they are differentiated.

    Examples
    --------
    >>> import numpy as np, numbad
    >>> @numbad.custom_vjp
    ... def clipped(x):
    ...     return x
    >>> clipped.defvjp(lambda x: (x, None), lambda saved, bar: (np.clip(bar, -1.0, 1.0),))
    >>> numbad.grad(lambda x: 5.0 * clipped(x))(3.0)
    1.0
    """

    forward: Callable[..., Any] | None = None
    backward: Callable[..., Any] | None = None

    def defvjp(self, forward: Callable[..., Any], backward: Callable[..., Any]) -> None:
        """Give the rule.

        Parameters
        ----------
        forward : callable
            `forward(*arguments)` returns a pair: the result, and whatever `backward` needs.
        backward : callable
            `backward(*nondifferentiable, saved, cotangent)` gets what `forward` saved and the cotangent of the result,
            with its structure and shapes. It returns a tuple with one cotangent for each differentiable argument, of
            the structure and shapes of that argument; None stands for zero.

        Examples
        --------
        >>> import numbad
        >>> double = numbad.custom_vjp(lambda x: 2.0 * x)
        >>> double.defvjp(lambda x: (2.0 * x, None), lambda saved, bar: (2.0 * bar,))
        >>> numbad.grad(double)(3.0)
        2.0
        """
        self.forward, self.backward = taking_numbers(forward), taking_numbers(backward)

    def __call__(self, *arguments: P.args, **keywords: P.kwargs) -> R:
        fixed, others = self.split(self.bind(arguments, keywords))

        def make(given: Arguments) -> Rule:
            if self.forward is None or self.backward is None:
                self.missing("defvjp(forward, backward)")
            return Rule(self.name, primal(self, fixed, given), lambda *parts: self.pull(fixed, given, *parts))

        return apply_rule(self.name, lambda *parts: self.f(*self.merge(fixed, parts)), tuple(others), make)

    def pull(self, fixed: list[Any], given: Arguments, bars: list[Any], results: list[Any], operands: list[Any]) -> Any:
        """Return the operands' cotangents by the user's rule."""
        assert self.forward is not None and self.backward is not None
        with naming(self.name):
            both = self.forward(*self.merge(fixed, given.with_operands(guarded(operands))))
        if not isinstance(both, (tuple, list)) or len(both) != 2:
            raise NumbadError(
                message(
                    f"the forward function of {self.name} returned {describe(both)}",
                    "return (result, what the backward function needs)",
                    where=False,
                )
            )
        result, saved = both
        leaves, rebuild = flatten(result)
        check_results(leaves, [np.shape(part) for part in results], self.name, "forward function")
        cotangent = rebuild(guarded(bars))
        with naming(self.name):
            found = self.backward(*fixed, saved, cotangent)
        return given.pick(found, operands, self.name)


class custom_jvp(CustomFunction[P, R]):
    """A function whose derivative is a rule of the user's own, in forward mode, as jax.custom_jvp.

    Parameters
    ----------
    f : callable
        A function of floats, arrays or trees of them that returns arrays of real numbers, or trees of them. It
        runs on plain arrays, so it may do what cannot be recorded.
    nondiff_argnums : int or tuple of int
        The positions of the arguments that are passed on and have no derivative.

    Raises
    ------
    NumbadError
        When a derivative is wanted and no rule was given, or the rule returns another number of results, another
        structure or other shapes than it should.
    RecordingError
        When the derivative with respect to an argument of `nondiff_argnums` is wanted, when `f` uses a recording value
        that is not among its arguments, or when it returns something else than arrays of real numbers.
    TypeError
        When `f` cannot be called, or when it is called with an argument that can only be given by keyword.
    ValueError
        When `f` is called with fewer arguments than `nondiff_argnums` names.

    Notes
    -----
    `defjvp(rule)` or `defjvps(*rules)` gives the rule. Reverse mode uses the transpose of the rule: the rule is
    recorded at each adjoint sweep, so the rule is to be linear in the tangents, and written in functions that numbad
    records.

    Examples
    --------
    >>> import numpy as np, numbad
    >>> @numbad.custom_jvp
    ... def double_slope(x):
    ...     return np.sin(x)
    >>> @double_slope.defjvp
    ... def rule(primals, tangents):
    ...     return double_slope(*primals), 2.0 * np.cos(primals[0]) * tangents[0]
    >>> numbad.grad(double_slope)(0.0)
    2.0
    """

    rule: Callable[..., Any] | None = None

    def defjvp(self, rule: F) -> F:
        """Give the rule (also as a decorator).

        Parameters
        ----------
        rule : callable
            `rule(*nondifferentiable, primals, tangents)` gets two tuples with an entry for each differentiable
            argument, the tangents with the structure and shapes of the primals. It returns a pair: the result, and its
            tangent with the structure and shapes of the result.

        Returns
        -------
        callable
            The rule, as it was given.

        Examples
        --------
        >>> import numbad
        >>> square = numbad.custom_jvp(lambda x: x * x)
        >>> rule = square.defjvp(lambda primals, tangents: (square(*primals), 2.0 * primals[0] * tangents[0]))
        >>> numbad.jvp(square, (3.0,), (1.0,))
        (9.0, 6.0)
        """
        self.rule = taking_numbers(rule)
        return rule

    def defjvps(self, *rules: Callable[..., Any] | None) -> None:
        """Give one rule for each argument.

        Parameters
        ----------
        *rules : callable or None
            One for each argument of a function without `nondiff_argnums`. `rule(tangent, result, *arguments)` returns
            the part of the result's tangent that comes from the tangent of its argument, with the shape of the result;
            None stands for zero.

        Examples
        --------
        >>> import numbad
        >>> product = numbad.custom_jvp(lambda x, y: x * y)
        >>> product.defjvps(lambda dot, result, x, y: dot * y, lambda dot, result, x, y: x * dot)
        >>> numbad.grad(product, (0, 1))(2.0, 3.0)
        (3.0, 2.0)
        """

        function: custom_jvp[..., Any] = self

        def rule(primals: Any, tangents: Any) -> Any:
            result = function(*primals)
            total: Any = np.zeros(np.shape(result))
            for each, tangent in zip(rules, tangents, strict=True):
                if each is not None:
                    total = total + each(tangent, result, *primals)
            return result, total

        self.rule = rule

    def __call__(self, *positional: P.args, **keywords: P.kwargs) -> R:
        arguments = self.bind(positional, keywords)
        if any(part.custom is self and part.reaches(arguments) for part in _thread.transpositions):
            return self.f(*arguments)
        fixed, others = self.split(arguments)

        def make(given: Arguments) -> Rule:
            if self.rule is None:
                self.missing("defjvp(rule)")
            return Rule(
                self.name,
                primal(self, fixed, given),
                lambda *parts: self.pull(fixed, given, *parts),
                lambda *parts: self.push(fixed, given, *parts),
            )

        return apply_rule(self.name, lambda *parts: self.f(*self.merge(fixed, parts)), tuple(others), make)

    def push(self, fixed: list[Any], given: Arguments, operands: list[Any], tangents: list[Any]) -> list[Any]:
        """Return the results' tangents by the user's rule."""
        assert self.rule is not None
        zeros = [np.zeros(np.shape(leaf)) for leaf in given.leaves]
        dots = list(zeros)
        for k, tangent in zip(given.places, tangents, strict=True):
            dots[k] = zeros[k] if tangent is None else tangent
        dots = guarded(dots)
        with naming(self.name):
            found = self.rule(*fixed, tuple(given.with_operands(guarded(operands))), tuple(given.rebuild(dots)))
        if not isinstance(found, (tuple, list)) or len(found) != 2:
            raise NumbadError(
                message(f"the rule of {self.name} returned {describe(found)}", "return (result, tangent)", where=False)
            )
        leaves, tangents = flatten(found[0])[0], flatten(found[1])[0]
        if not same_structure(*found):
            raise NumbadError(
                message(
                    f"the rule of {self.name} returned a tangent of another structure than its result "
                    f"({len(tangents)} numbers or arrays for {len(leaves)})",
                    "give the tangent the structure of the result",
                    where=False,
                )
            )
        check_results(leaves, given.result_shapes, self.name, "rule")
        for leaf, tangent in zip(leaves, tangents, strict=True):
            check_part(tangent, np.shape(leaf), self.name, "tangent")
        return tangents

    def pull(self, fixed: list[Any], given: Arguments, bars: list[Any], results: list[Any], operands: list[Any]) -> Any:
        """Return the operands' cotangents: the transpose of the user's rule.

        A rule may apply the function to tangents, if it is linear: there its rule would be transposed again, without
        end, so the function itself is recorded.
        """

        def paired(*dots: Any) -> Any:
            _thread.transpositions.append(Transposition(self, dots))
            try:
                tangents = self.push(fixed, given, operands, list(dots))
            finally:
                _thread.transpositions.pop()
            total: Any = 0.0
            for bar, dot in zip(bars, tangents, strict=True):
                total = total + np.sum(bar * dot)
            return total

        zeros = [np.zeros(np.shape(operand)) for operand in operands]
        return list(grad(paired, tuple(range(len(zeros))))(*zeros))


class Thread(threading.local):
    """The transpositions of rules that a thread is recording."""

    def __init__(self) -> None:
        self.transpositions: list[Transposition] = []


_thread = Thread()


class Transposition:
    """The recording of a rule for its transpose; tells which values depend on the tangents."""

    def __init__(self, custom: custom_jvp[..., Any], dots: tuple[Any, ...]) -> None:
        self.custom = custom
        self.recorder: Recorder = dots[0].recorder
        self.dots = dots
        self.base = self.recorder.bases[-1] if self.recorder.bases else 0  # 0: nothing else is recorded there
        self.start = self.recorder.row_count()

    def reaches(self, arguments: tuple[Any, ...]) -> bool:
        """Whether one of some arguments depends on the tangents."""
        found = [leaf for leaf in flatten(arguments)[0] if isinstance(leaf, Active) and leaf.recorder is self.recorder]
        if not found or not self.base:
            return bool(found)
        addresses = np.concatenate([addresses_of(leaf).reshape(-1) for leaf in found])
        active = np.zeros(self.recorder.size - self.base, np.bool_)
        for dot in self.dots:
            active[addresses_of(dot) - self.base] = True
        mark_rows(self.recorder, active, base=self.base, start=self.start)
        return bool(active[addresses[addresses >= self.base] - self.base].any())


def primal(custom: CustomFunction[..., Any], fixed: list[Any], given: Arguments) -> Callable[..., list[Any]]:
    """Return the function from the operands' values to the leaves of the result."""

    def values(*operands: Any) -> list[Any]:
        with naming(custom.name):
            return flatten(outside(custom.f, *custom.merge(fixed, given.with_operands(guarded(operands)))))[0]

    return values


def stop_gradient(x: T) -> T:
    """Return the value with no derivative: every transform holds it constant.

    Parameters
    ----------
    x : float, ndarray or tree
        Any value; what does not record is returned as it is.

    Returns
    -------
    float, ndarray or tree
        The same values in the structure, shapes and dtypes of `x`. Outside of a recording `x` itself, if it is not a
        tuple, list or dict: no copy.

    Notes
    -----
    While a function is recorded, one row for each number or array.

    Examples
    --------
    >>> import numbad
    >>> numbad.grad(lambda x: x * numbad.stop_gradient(x))(3.0)
    3.0
    """
    leaves, rebuild = flatten(x)
    return rebuild([held(leaf) if isinstance(leaf, Active) else leaf for leaf in leaves])


def checkpoint(f: Callable[P, R]) -> Callable[P, R]:
    """Return `f` so that the gradient keeps its arguments only, and computes its inside again.

    Parameters
    ----------
    f : callable
        A function of floats, arrays or trees of them that returns arrays of real numbers, or trees of them. What varies
        should be among its arguments: a function that takes recording values from its closure is recorded as if it were
        not checkpointed.

    Returns
    -------
    callable
        Takes the arguments of `f` and returns its result, with the same structure, shapes and dtypes.

    Raises
    ------
    TypeError
        When `f` cannot be called.
    RecordingError
        When the checkpointed function is recorded and `f` returns something else than arrays of real numbers.

    Notes
    -----
    The memory of a gradient falls from that of all intermediate values of `f` to that of its arguments and results. The
    price is time: for one gradient `f` runs three times, once when it is recorded, once in the forward sweep (both on
    plain arrays), and once in the adjoint sweep, which records it. So `f` should have no side effects.

    References
    ----------
    .. [1] A. Griewank and A. Walther, "Algorithm 799: revolve", *ACM Transactions on Mathematical Software* 26 (2000),
       19-45.
    .. [2] A. Griewank and A. Walther, *Evaluating Derivatives*, 2nd ed., SIAM, 2008, chapter 12.
    .. [3] T. Chen, B. Xu, C. Zhang and C. Guestrin, "Training deep nets with sublinear memory cost", arXiv:1604.06174,
       2016.

    Examples
    --------
    >>> import numpy as np, numbad
    >>> step = numbad.checkpoint(lambda x: np.sin(x) * x)
    >>> round(numbad.grad(lambda x: step(step(x)))(1.0), 6)
    1.805083
    """
    check_function(f, "checkpoint")
    name = name_of(f, "checkpoint")

    @wraps(f)
    def checkpointed(*positional: Any, **keywords: Any) -> Any:
        arguments = (*positional, keywords)

        def call(*parts: Any) -> Any:
            return f(*parts[:-1], **parts[-1])

        def make(given: Arguments) -> Rule:
            def values(*operands: Any) -> list[Any]:
                return flatten(outside(call, *given.with_operands(operands)))[0]

            def leaves(*operands: Any) -> tuple[Any, ...]:
                return tuple(flatten(call(*given.with_operands(operands)))[0])

            def pull(bars: list[Any], results: list[Any], operands: list[Any]) -> Any:
                return list(vjp(leaves, *[as_float(part) for part in operands])[1](tuple(bars)))

            def push(operands: list[Any], tangents: list[Any]) -> Any:
                dots = [np.zeros(np.shape(o)) if t is None else t for o, t in zip(operands, tangents, strict=True)]
                return list(jvp(leaves, tuple([as_float(part) for part in operands]), dots)[1])

            return Rule(name, values, pull, push)

        return apply_rule(name, call, arguments, make, closes=True)

    return checkpointed


def as_float(value: Any) -> Any:
    """Return an operand as something that can be differentiated."""
    return value if isinstance(value, Active) else np.asarray(value)
