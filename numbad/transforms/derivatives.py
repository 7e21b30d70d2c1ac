"""The derivatives of a function at a point: gradient and value, by recording and sweeping."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, overload

from numbad.emission.regions import differentiate_inside
from numbad.recording.recorder import current
from numbad.sweeps.gradients import differentiate_alone

if TYPE_CHECKING:
    from numbad.types import Gradient, Several, T, U, Value, ValueAndGradient


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
def gradient(f: Callable[..., Any], *points: *tuple[T], **keywords: Any) -> T: ...
@overload
def gradient(f: Callable[..., Any], *points: *tuple[T, U], **keywords: Any) -> tuple[T, U]: ...
@overload
def gradient(f: Callable[..., Any], *points: *Several, **keywords: Any) -> tuple[Any, ...]: ...
def gradient(f: Callable[..., Any], *points: Any, **keywords: Any) -> Any:
    """Return the gradient of `f` at a point, or the function that computes it.

    Parameters
    ----------
    f : callable
        A function of floats, arrays of floats, or nested tuples, lists and dicts of them (trees), that
        returns one number.
    *points : float, ndarray of float64 or float32, or tree
        Where to differentiate, one for each positional argument of `f`. With none, a function is returned.
    **keywords
        Passed to `f` as they are; not differentiated.

    Returns
    -------
    float, ndarray, tree or callable
        The gradient, with the structure, shapes and dtypes of the point: a float for a float, an ndarray of the same
        shape and dtype for an array. A tuple with one for each of several points. Without points, a function of them
        that returns the gradient.

    Raises
    ------
    InputError
        For integers, complex numbers and other inputs that have no derivative.
    OutputError
        When `f` does not return one number.
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
    """
    if not points:
        return lambda *points, **more: gradient(f, *points, **(keywords | more))
    _, _, found = differentiate(f, points, tuple(range(len(points))), keywords, "gradient", wants_value=False)
    return found[0] if len(points) == 1 else tuple(found)


@overload
def value_and_gradient(f: Callable[..., Any], **keywords: Any) -> ValueAndGradient: ...
@overload
def value_and_gradient(f: Callable[..., Any], *points: *tuple[T], **keywords: Any) -> tuple[Value, T]: ...
@overload
def value_and_gradient(f: Callable[..., Any], *points: *tuple[T, U], **keywords: Any) -> tuple[Value, tuple[T, U]]: ...
@overload
def value_and_gradient(f: Callable[..., Any], *points: *Several, **keywords: Any) -> tuple[Value, tuple[Any, ...]]: ...
def value_and_gradient(f: Callable[..., Any], *points: Any, **keywords: Any) -> Any:
    """Return the value of `f` and its gradient at a point, or the function that computes both.

    Parameters
    ----------
    f : callable
        A function of floats, arrays of floats, or nested tuples, lists and dicts of them (trees), that
        returns one number.
    *points : float, ndarray of float64 or float32, or tree
        Where to differentiate, one for each positional argument of `f`. With none, a function is returned.
    **keywords
        Passed to `f` as they are; not differentiated.

    Returns
    -------
    tuple or callable
        (value, gradient). The value is a float, or a float32 number where all arrays are float32. The gradient has the
        structure, shapes and dtypes of the point; it is a tuple with one for each of several points. Without points, a
        function of them that returns the pair.

    Raises
    ------
    InputError
        For integers, complex numbers and other inputs that have no derivative.
    OutputError
        When `f` does not return one number.
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
        return lambda *points, **more: value_and_gradient(f, *points, **(keywords | more))
    value, _, found = differentiate(f, points, tuple(range(len(points))), keywords, "value_and_gradient")
    return value, found[0] if len(points) == 1 else tuple(found)
