"""The derivatives of a function at a point: gradient and value, by recording and sweeping."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal, overload

import numpy as np

from numbad.emission.regions import differentiate_inside
from numbad.errors import check_function, message, name_of, wraps
from numbad.recording.recorder import current
from numbad.sweeps.gradients import differentiate_alone

if TYPE_CHECKING:
    from numbad.types import Argnums, Gradient, Several, T, U, Value, ValueAndGradient


class GradientPlan:
    """What `jit` needs to know of a gradient function, to run its two sweeps instead of emitted rows.

    Attributes
    ----------
    argnums : int, tuple of int or None
        None for all positional arguments.
    options : bool
        Whether a call may name `argnums` and `has_aux` itself: then the plan is not that of the call.
    """

    def __init__(self, f: Any, argnums: Any, name: str, with_value: bool, options: bool = False) -> None:
        self.f, self.argnums, self.name, self.with_value, self.options = f, argnums, name, with_value, options

    def places(self, count: int) -> tuple[int, ...]:
        """Return the positions of the differentiated arguments."""
        return tuple(range(count)) if self.argnums is None else positions(self.argnums, count, self.name)

    def pack(self, value: Any, found: list[Any]) -> Any:
        """Return value and gradients as the gradient function would."""
        single = len(found) == 1 if self.argnums is None else is_single(self.argnums)
        result = found[0] if single else tuple(found)
        return (value, result) if self.with_value else result

    def is_of(self, keywords: dict[str, Any]) -> bool:
        """Whether this is the plan of a call with some keyword arguments."""
        return not (self.options and keywords.keys() & {"argnums", "has_aux"})


def later(transform: Any, f: Any, options: dict[str, Any], keywords: dict[str, Any]) -> Callable[..., Any]:
    """Return the function of the points that a transform takes, for a call that comes later."""
    notes = {"numbad_inner": f}
    if not (keywords or options["has_aux"]):
        with_value = transform is value_and_gradient
        notes["numbad_plan"] = GradientPlan(f, options["argnums"], transform.__name__, with_value, True)

    @wraps(f, **notes)
    def derivative(*points: Any, **more: Any) -> Any:
        return transform(f, *points, **(options | keywords | more))

    return derivative


def numbers_of(argnums: Any, name: str) -> tuple[int, ...]:
    """Return argnums as a tuple, or raise a TypeError: a point was given where argnums belong, perhaps."""
    given = tuple(argnums) if isinstance(argnums, (tuple, list)) else (argnums,)
    for number in given:
        if not isinstance(number, (int, np.integer)) or isinstance(number, bool):
            do = f"give an int or a tuple of ints; the derivative at a point x is numbad.{name}(f)(x)"
            raise TypeError(message(f"{name}: argnums is {argnums!r}", do, where=False))
    return given


def positions(argnums: Any, count: int, name: str) -> tuple[int, ...]:
    """Return argnums as a tuple of positions, checked against the number of arguments."""
    found = []
    for number in numbers_of(argnums, name):
        if not -count <= number < count:
            do = "count positional arguments from 0; keyword arguments are not differentiated"
            if not count:
                do = f"pass what is differentiated by position: numbad.{name}(f)(x), not (x=x)"
            raise ValueError(
                message(
                    f"{name}: argnums names argument {number}, and the function was called with {count}",
                    do,
                    where=False,
                )
            )
        found.append(int(number) % count)
    if len(set(found)) != len(found):
        raise ValueError(
            message(f"{name}: argnums {argnums!r} names an argument twice", "name each argument once", where=False)
        )
    return tuple(found)


def is_single(argnums: Any) -> bool:
    """Whether argnums names one argument, so that its derivative is not in a tuple."""
    return isinstance(argnums, (int, np.integer))


def check_callable(f: Any, points: tuple[Any, ...], name: str) -> None:
    """Raise a TypeError unless a function was given, before its points."""
    if callable(f):
        return
    given = f"a {type(f).__name__}" if np.ndim(f) else f"{f!r}, a {type(f).__name__}"
    if any(callable(point) for point in points):
        what, do = f"{name} takes the function first; it was given {given} there", f"write numbad.{name}(f, x)"
    else:
        what = f"{name} takes a function and points; in the place of the function it was given {given}"
        do = f"pass the function itself, and do not call it: numbad.{name}(f, x) and not numbad.{name}(f(x), x)"
    raise TypeError(message(what, do))


def check_names(f: Any, given: dict[str, Any], name: str) -> None:
    """Raise a TypeError where an argument of ours is one of the function, too."""
    try:
        parameters = inspect.signature(f).parameters
    except Exception:  # of compiled functions, and objects that answer no questions
        return
    for option, value in given.items():
        if value and option in parameters and parameters[option].kind is not inspect.Parameter.POSITIONAL_ONLY:
            raise TypeError(
                message(
                    f"{name} takes {option} itself, and {name_of(f)} has an argument of that name",
                    f"fix it before: numbad.{name}(functools.partial(f, {option}=...), x)",
                )
            )


def own(argnums: Any, has_aux: bool) -> dict[str, Any]:
    """Return our own arguments, for a call that comes later."""
    return {"argnums": argnums, "has_aux": has_aux}


def differentiate_some(
    f: Any, points: tuple[Any, ...], argnums: Any, keywords: dict[str, Any], has_aux: bool, with_value: bool
) -> Any:
    """Return the gradient with respect to some points, with the value or what is auxiliary."""
    name = "value_and_gradient" if with_value else "gradient"
    check_names(f, {"argnums": argnums is not None, "has_aux": has_aux}, name)
    if argnums is None:
        argnums = 0 if len(points) == 1 else tuple(range(len(points)))
    value, auxiliary, found = differentiate(
        f, points, positions(argnums, len(points), name), keywords, name, has_aux, with_value
    )
    result = found[0] if is_single(argnums) else tuple(found)
    if with_value:
        return ((value, auxiliary) if has_aux else value), result
    return (result, auxiliary) if has_aux else result


def differentiate(
    f: Callable[..., Any],
    arguments: tuple[Any, ...],
    argnums: tuple[int, ...],
    keywords: dict[str, Any],
    name: str,
    has_aux: bool = False,
    wants_value: bool = True,
) -> tuple[Any, Any, list[Any]]:
    """Return the value, the auxiliary result and the gradient with respect to each of `argnums`."""
    if current() is not None:
        return differentiate_inside(f, arguments, argnums, keywords, name, has_aux)
    return differentiate_alone(f, arguments, argnums, keywords, name, has_aux, wants_value)


@overload
def gradient(f: Callable[..., Any], **keywords: Any) -> Gradient: ...
@overload
def gradient(f: Callable[..., Any], *points: Any, argnums: Argnums, has_aux: bool = False, **keywords: Any) -> Any: ...
@overload
def gradient(f: Callable[..., Any], *points: Any, has_aux: Literal[True], **keywords: Any) -> Any: ...
@overload
def gradient(f: Callable[..., Any], *points: *tuple[T], **keywords: Any) -> T: ...
@overload
def gradient(f: Callable[..., Any], *points: *tuple[T, U], **keywords: Any) -> tuple[T, U]: ...
@overload
def gradient(f: Callable[..., Any], *points: *Several, **keywords: Any) -> tuple[Any, ...]: ...
def gradient(f: Callable[..., Any], *points: Any, argnums: Any = None, has_aux: bool = False, **keywords: Any) -> Any:
    """Return the gradient of `f` at a point, or the function that computes it.

    Parameters
    ----------
    f : callable
        A function of floats, arrays of floats, or nested tuples, lists and dicts of them (trees), that
        returns one number.
    *points : float, ndarray of float64 or float32, or tree
        Where to differentiate, one for each positional argument of `f`; anything where `argnums` leaves it out. With
        none, a function is returned.
    argnums : int or tuple of int, optional
        The positions of the points to differentiate with respect to, counted from 0; negative ones count from the end.
        By default all.
    has_aux : bool
        Whether `f` returns a pair (value, auxiliary); what is auxiliary is passed on, not differentiated.
    **keywords
        Passed to `f` as they are; not differentiated.

    Returns
    -------
    float, ndarray, tree or callable
        The gradient, with the structure, shapes and dtypes of the point: a float for a float, an ndarray of the same
        shape and dtype for an array. A tuple with one for each of several points, or where `argnums` is a tuple. With
        `has_aux` a pair (gradient, auxiliary). Without points, a function of them that returns the gradient.

    Raises
    ------
    TypeError
        When `f` cannot be called, `argnums` is not an int or a tuple of ints, or `f` has an argument of that name, too.
    ValueError
        When `argnums` names a point that is not there, or one twice.
    InputError
        For integers, complex numbers and other inputs that have no derivative.
    OutputError
        When `f` does not return one number, or with `has_aux` not a pair.
    RecordingError
        When `f` does something that cannot be recorded, as `math.sin(x)`.

    Notes
    -----
    One run of `f` to record it, then a forward sweep (values and partial derivatives) and an adjoint sweep
    (cotangents) over the recorded rows: the cost does not grow with the number of inputs. Memory holds one value and
    one cotangent for each intermediate number, and two partial derivatives for each row of numbers.

    References
    ----------
    .. [1] A. Griewank and A. Walther, *Evaluating Derivatives*, 2nd ed., SIAM, 2008, section 3.3 (reverse mode).

    Examples
    --------
    >>> import numpy as np, numbad
    >>> numbad.gradient(lambda x: np.sum(x**2), np.array([1.0, 2.0, 3.0]))
    array([2., 4., 6.])
    >>> numbad.gradient(lambda x, y: x * y, 2.0, 5.0)
    (5.0, 2.0)
    >>> numbad.gradient(lambda x, k: x[k] ** 2, np.array([1.0, 2.0]), 1, argnums=0)
    array([0., 4.])
    """
    if not points:
        check_function(f, "gradient")
        return later(gradient, f, own(argnums, has_aux), keywords)
    if not callable(f):
        check_callable(f, points, "gradient")
    if argnums is not None or has_aux:
        return differentiate_some(f, points, argnums, keywords, has_aux, False)
    _, _, found = differentiate(f, points, tuple(range(len(points))), keywords, "gradient", wants_value=False)
    return found[0] if len(points) == 1 else tuple(found)


@overload
def value_and_gradient(f: Callable[..., Any], **keywords: Any) -> ValueAndGradient: ...
@overload
def value_and_gradient(
    f: Callable[..., Any], *points: Any, argnums: Argnums, has_aux: bool = False, **keywords: Any
) -> Any: ...
@overload
def value_and_gradient(f: Callable[..., Any], *points: Any, has_aux: Literal[True], **keywords: Any) -> Any: ...
@overload
def value_and_gradient(f: Callable[..., Any], *points: *tuple[T], **keywords: Any) -> tuple[Value, T]: ...
@overload
def value_and_gradient(f: Callable[..., Any], *points: *tuple[T, U], **keywords: Any) -> tuple[Value, tuple[T, U]]: ...
@overload
def value_and_gradient(f: Callable[..., Any], *points: *Several, **keywords: Any) -> tuple[Value, tuple[Any, ...]]: ...
def value_and_gradient(
    f: Callable[..., Any], *points: Any, argnums: Any = None, has_aux: bool = False, **keywords: Any
) -> Any:
    """Return the value of `f` and its gradient at a point, or the function that computes both.

    Parameters
    ----------
    f : callable
        A function of floats, arrays of floats, or nested tuples, lists and dicts of them (trees), that
        returns one number.
    *points : float, ndarray of float64 or float32, or tree
        Where to differentiate, one for each positional argument of `f`; anything where `argnums` leaves it out. With
        none, a function is returned.
    argnums : int or tuple of int, optional
        The positions of the points to differentiate with respect to, counted from 0; negative ones count from the end.
        By default all.
    has_aux : bool
        Whether `f` returns a pair (value, auxiliary); what is auxiliary is passed on, not differentiated.
    **keywords
        Passed to `f` as they are; not differentiated.

    Returns
    -------
    tuple or callable
        (value, gradient). The value is a float, or a float32 number where all arrays are float32. The gradient has the
        structure, shapes and dtypes of the point; it is a tuple with one for each of several points, or where `argnums`
        is a tuple. With `has_aux` ((value, auxiliary), gradient). Without points, a function of them that returns the
        pair.

    Raises
    ------
    TypeError
        When `f` cannot be called, `argnums` is not an int or a tuple of ints, or `f` has an argument of that name, too.
    ValueError
        When `argnums` names a point that is not there, or one twice.
    InputError
        For integers, complex numbers and other inputs that have no derivative.
    OutputError
        When `f` does not return one number, or with `has_aux` not a pair.
    RecordingError
        When `f` does something that cannot be recorded, as `math.sin(x)`.

    Notes
    -----
    One run of `f` to record it, then a forward sweep (values and partial derivatives) and an adjoint sweep
    (cotangents) over the recorded rows: the cost does not grow with the number of inputs. Memory holds one value and
    one cotangent for each intermediate number, and two partial derivatives for each row of numbers.

    References
    ----------
    .. [1] A. Griewank and A. Walther, *Evaluating Derivatives*, 2nd ed., SIAM, 2008, section 3.3 (reverse mode).

    Examples
    --------
    >>> import numpy as np, numbad
    >>> numbad.value_and_gradient(lambda x: x**3, 2.0)
    (8.0, 12.0)
    >>> numbad.value_and_gradient(lambda x: np.sum(x**2), np.array([1.0, 2.0]))
    (5.0, array([2., 4.]))
    """
    if not points:
        check_function(f, "value_and_gradient")
        return later(value_and_gradient, f, own(argnums, has_aux), keywords)
    if not callable(f):
        check_callable(f, points, "value_and_gradient")
    if argnums is not None or has_aux:
        return differentiate_some(f, points, argnums, keywords, has_aux, True)
    value, _, found = differentiate(f, points, tuple(range(len(points))), keywords, "value_and_gradient")
    return value, found[0] if len(points) == 1 else tuple(found)
