"""Signatures of calls: which arguments are static, and what tells calls apart that one tape cannot run."""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np

from numbad.errors import InputError, message, name_of
from numbad.recording.active import Active
from numbad.recording.inputs import FLOAT64, as_leaf, check_meaning
from numbad.recording.scalars import Scalar
from numbad.recording.trees import take_apart

FOLLOWED = "followed"  # in signatures, of arrays of integers and truth values


def static_positions(f: Any, argnums: Any, argnames: Any) -> tuple[int, ...]:
    """Return the positions of the static arguments of a function, given by number or by name."""
    numbers = (argnums,) if isinstance(argnums, int) else tuple(argnums)
    names = (argnames,) if isinstance(argnames, str) else tuple(argnames)
    if not numbers and not names:
        return ()
    try:
        parameters = inspect.signature(f).parameters.values()
    except Exception:  # of some compiled functions, and objects that answer no questions
        return numbers
    kinds = {parameter.kind for parameter in parameters}
    positional = [p.name for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    count = len(positional)
    open_ended = inspect.Parameter.VAR_POSITIONAL in kinds
    by_keyword = {p.name for p in parameters if p.kind is p.KEYWORD_ONLY}
    for number in numbers:
        if not -count <= number < count and not (open_ended and number >= 0):
            refuse_static(f, f"static_argnums={number}", f"{count} positional arguments")
    for name in names:
        if name not in positional and name not in by_keyword and inspect.Parameter.VAR_KEYWORD not in kinds:
            refuse_static(
                f, f"static_argnames={name!r}", f"the arguments {', '.join((*positional, *sorted(by_keyword)))}"
            )
    found = {number if number >= 0 else number + count for number in numbers}
    return tuple(sorted(found | {positional.index(name) for name in names if name in positional}))


def refuse_static(f: Any, what: str, there_are: str) -> None:
    """Raise an InputError for a static argument that a function does not have."""
    name = name_of(f)
    raise InputError(message(f"{what} is no argument of {name}, which has {there_are}", "name one of those"))


def leaves_key(argument: Any, values: list[Any], known: bool = False) -> Any:
    """Append the leaves of an argument that vary to `values`; return its part of the signature.

    Arrays of integers and truth values vary where they are `known` (see `numbad.recording.knowns`), else are static.
    """
    if isinstance(argument, (float, int, np.ndarray, np.generic)):
        leaves, tree = [argument], None
    else:
        leaves, tree = take_apart(argument)
    parts: list[Any] = []
    for leaf in leaves:
        leaf = as_leaf(leaf)
        if isinstance(leaf, Active):
            values.append(leaf)
            number = isinstance(leaf, Scalar)
            kind = -1 if number and leaf.dtype == FLOAT64 else leaf.dtype.num
            parts.append((leaf.shape, kind, not number, True))
        elif is_recorded(leaf):
            check_meaning(leaf)
            values.append(leaf)
            kind = leaf.dtype.num if isinstance(leaf, (np.ndarray, np.generic)) else -1
            contiguous = leaf.flags.c_contiguous if isinstance(leaf, np.ndarray) else True
            parts.append((np.shape(leaf), kind, type(leaf) is np.ndarray, contiguous))
        elif known and is_followed(leaf):
            values.append(leaf)
            parts.append((FOLLOWED, leaf.shape, leaf.dtype.str))
        else:
            parts.append(static_key(leaf))
    return tree, tuple(parts)


# ---------------------------------------------------------------- calls like the last one

Form = tuple[Any, ...]  # the type of an argument, and what tells arrays, or the parts of a container, apart


def form_of(value: Any) -> Form | None:
    """Return the form of an argument, so that all that fits it has the same signature; None where `fits` cannot tell.

    These are floats, arrays, and lists, tuples and dicts of them, whose keys are text.
    """
    kind = type(value)
    if kind is float:
        return (float,)
    if kind is np.ndarray:
        known = is_followed(value) or value.dtype in (np.float64, np.float32)
        return (kind, value.shape, value.dtype, value.flags.c_contiguous) if known else None
    if kind is dict:
        if not all(type(name) is str for name in value):
            return None
        names = sorted(value)  # in the order of optree
        parts = [form_of(value[name]) for name in names]
        return None if None in parts else (kind, tuple(zip(names, parts, strict=True)))
    if kind is list or kind is tuple:
        parts = [form_of(part) for part in value]
        return None if None in parts else (kind, tuple(parts))
    return None


def fits(value: Any, form: Any, values: list[Any]) -> bool:
    """Whether an argument has a form; append its leaves."""
    kind = form[0]
    if type(value) is not kind:
        return False
    if kind is np.ndarray:
        if value.shape != form[1] or value.dtype is not form[2] or value.flags.c_contiguous is not form[3]:
            return False
        values.append(value)
    elif kind is float:
        values.append(value)
    elif len(value) != len(form[1]):
        return False
    elif kind is dict:
        for name, part in form[1]:
            if not fits(value.get(name), part, values):
                return False
    else:
        for inner, part in zip(value, form[1]):
            if not fits(inner, part, values):
                return False
    return True


def fits_flat(values: tuple[Any, ...], form: Any) -> bool:
    """Whether arguments have a form in which there are floats and arrays alone: these are their leaves then."""
    parts = form[1]
    if len(values) != len(parts):
        return False
    for value, part in zip(values, parts):
        kind = part[0]
        if type(value) is not kind:
            return False
        if kind is np.ndarray:
            if value.shape != part[1] or value.dtype is not part[2] or value.flags.c_contiguous is not part[3]:
                return False
        elif kind is not float:
            return False
    return True


def is_recorded(leaf: Any) -> bool:
    """Whether a leaf varies from call to call: floats and arrays of floats do."""
    if isinstance(leaf, (np.ndarray, np.generic)):
        return leaf.dtype.kind == "f"
    return isinstance(leaf, float)


def is_followed(leaf: Any) -> bool:
    """Whether a leaf is an array of integers or truth values: what is computed from it is computed anew in each run."""
    return type(leaf) is np.ndarray and leaf.dtype.kind in "iub"


def static_key(value: Any) -> Any:
    """Return something hashable that tells static values apart."""
    if isinstance(value, float):
        return type(value), float(value).hex()
    if isinstance(value, np.ndarray):
        return value.shape, value.dtype.str, value.tobytes()
    if isinstance(value, (list, tuple, dict)):
        leaves, tree = take_apart(value)
        return tree, tuple([static_key(leaf) for leaf in leaves])
    try:
        hash(value)
    except TypeError:
        return type(value), repr(value)
    return type(value), value
