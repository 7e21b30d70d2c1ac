"""Concrete answers: what depends on values now (order, positions, truth), guarded so that replay notices a change."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

import numpy as np

from numbad.limits import MANY_TRUTHS
from numbad.ops.host import array_op
from numbad.recording.active import Active
from numbad.recording.arrays import Array, as_array
from numbad.recording.hostcalls import record_host
from numbad.recording.operands import holds_active, recorder_of, to_active
from numbad.recording.recorder import Recorder, refuse
from numbad.recording.scalars import Scalar
from numbad.tape.layout import GUARD

DECISIONS: dict[str, Callable[..., Any]] = {}
OF_STACKS: dict[str, Callable[..., Any]] = {}  # the same for stacks of operands: an answer for each lane
placing: list[Callable[..., Any]] = []  # records positions that examples do not share (see `positions`)
dependence: list[Callable[[Recorder, np.ndarray], bool]] = []  # whether a derivative reaches some addresses


def decision(function: Callable[..., Any]) -> Callable[..., Any]:
    """Register a function from arrays to plain integers or truth values, by its name."""
    DECISIONS[function.__name__] = function
    return function


def of_stacks(name: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Register what gives a decision's answers for a stack of operands (used as a decorator)."""

    def register(function: Callable[..., Any]) -> Callable[..., Any]:
        OF_STACKS[name] = function
        return function

    return register


def decide(name: str, *operands: Any, **settings: Any) -> Any:
    """Return a decision about recording values as they are now, and guard it.

    The answer is computed now. One host row recomputes and compares it whenever the tape runs again,
    and one guard row stops the sweep when it differs: two rows, however many numbers the answer has. Settings that are
    recording values, such as a tolerance that was computed, are further operands of that row.
    """
    settings, varying = apart(settings)
    recorder = recorder_of(*operands, *varying.values())
    if recorder.positions and not varying:
        for record_position in placing:
            found = record_position(recorder, name, operands, settings)
            if found is not None:
                return found
    arrays = [as_array(to_active(part, recorder)) for part in (*operands, *varying.values())]
    names = tuple(varying)
    answer = answer_of(name, [current_value(a) for a in arrays], settings, names)
    kept_settings = {"decision": name, "answer": kept(answer), "settings": settings, "varying": names}
    flag = record_host(recorder, agrees, tuple(arrays), kept_settings)
    recorder.append(GUARD, 1, flag.address, 0)
    return answer


def apart(settings: dict[str, Any]) -> tuple[dict[str, Any], dict[tuple[str, ...], Any]]:
    """Return the settings that are plain, and those that are recording values by the names under which they stand."""
    plain: dict[str, Any] = {}
    varying: dict[tuple[str, ...], Any] = {}
    for name, value in settings.items():
        if isinstance(value, dict):
            plain[name], inner = apart(value)
            varying |= {(name, *names): part for names, part in inner.items()}
        elif isinstance(value, Active) or (isinstance(value, list | tuple) and holds_active(value)):
            varying[(name,)] = value
        else:
            plain[name] = value
    return plain, varying


def answer_of(name: str, values: Any, settings: dict[str, Any], varying: tuple[tuple[str, ...], ...]) -> Any:
    """Return a decision about values, the last of which are settings that vary."""
    operands = len(values) - len(varying)
    for names, value in zip(varying, values[operands:], strict=True):
        settings = put(settings, names, value[()])
    return DECISIONS[name](*values[:operands], **settings)


def put(settings: dict[str, Any], names: tuple[str, ...], value: Any) -> dict[str, Any]:
    """Return settings with one more, under a name or under a name in a dict of them."""
    first, *others = names
    return {**settings, first: put(settings[first], tuple(others), value) if others else value}


def kept(answer: Any) -> Any:
    """Return an answer as later runs compare theirs with it: the program may write to its own."""
    if isinstance(answer, tuple):
        return tuple(kept(part) for part in answer)
    return answer.copy() if isinstance(answer, np.ndarray) else answer


@decision
def whole_numbers(values: np.ndarray, *, keywords: dict[str, Any]) -> np.ndarray:
    """The values as integers, cut off as NumPy does."""
    with np.errstate(invalid="ignore"):
        return values.astype(keywords["dtype"])


@decision
def truths(values: np.ndarray) -> np.ndarray:
    """Truth values, as they are."""
    return values != 0


of_stacks("truths")(truths)
of_stacks("whole_numbers")(whole_numbers)


@decision
def text(values: np.ndarray, *, keywords: dict[str, Any]) -> str:
    """The text of a number or an array: str(x), repr(x) or format(x, specification)."""
    value = values.astype(bool)[()] if keywords["boolean"] else values[()]
    if keywords["kind"] == "repr":
        return np.array2string(np.asarray(value), separator=", ")
    return str(value) if keywords["kind"] == "str" else format(value, keywords["specification"])


@decision
def array_text(values: np.ndarray, *, function: str, arguments: tuple[Any, ...], keywords: dict[str, Any]) -> str:
    """The text of an array by one of NumPy's functions: np.array_repr, np.array_str or np.array2string."""
    return getattr(np, function)(values, *arguments, **keywords)


def current_value(array: Array) -> np.ndarray:
    """Return the values now as an array of floats (truth values as booleans)."""
    return np.asarray(array.value())


def agrees_shape(*_: Any, **__: Any) -> list[tuple[int, ...]]:
    """The shape of a single truth value."""
    return [()]


@array_op(shapes=agrees_shape)
def agrees(*operands: Any, decision: str, answer: Any, settings: dict[str, Any], varying: Any = ()) -> float:
    """Whether a decision comes out as it did when it was recorded: 1.0 or 0.0."""
    try:
        found = answer_of(decision, operands, settings, varying)
    except (ValueError, IndexError, ArithmeticError):
        return 0.0
    return float(same_answer(found, answer))


@agrees.for_stacks
def agrees_of_stack(
    *operands: Any, decision: str, answer: Any, settings: dict[str, Any], varying: Any = ()
) -> np.ndarray:
    """The same of a stack: for each lane."""
    rule, lanes = OF_STACKS.get(decision), len(operands[0])
    if rule is not None and not varying:
        with contextlib.suppress(ValueError, IndexError, ArithmeticError, TypeError):
            found = np.asarray(rule(*operands, **settings))
            if found.shape == (lanes, *np.shape(answer)):
                return np.all((found == answer).reshape(lanes, -1), axis=1).astype(float)
    own = {"decision": decision, "answer": answer, "settings": settings, "varying": varying}
    each = [agrees.kernel(*(part[k] for part in operands), **own) for k in range(lanes)]
    return np.array(each)


@agrees.vjp
def agrees_vjp(bars: Any, results: Any, operands: Any, **settings: Any) -> tuple[None, ...]:
    """A truth value has no derivative."""
    return (None,) * len(operands)


def same_answer(found: Any, answer: Any) -> bool:
    """Whether two decisions are equal: numbers, arrays or tuples of them."""
    if isinstance(answer, tuple):
        return len(found) == len(answer) and all(same_answer(f, a) for f, a in zip(found, answer, strict=True))
    return np.array_equal(found, answer)


def truth_of(value: Any) -> Any:
    """Return truth values now, guarded: a bool, or an array of them. Plain values pass through."""
    if not isinstance(value, Active):
        return np.asarray(value, bool)
    return concrete_truth(value if value.boolean else value != 0.0)


def concrete_truth(mask: Any) -> Any:
    """Return truth values now, and guard each of them."""
    if isinstance(mask, Scalar):
        return bool(mask)
    recorder = mask.recorder
    if mask.size > MANY_TRUTHS:
        return decide("truths", mask)
    values = recorder.run().values
    addresses = mask.address_view()
    truth = values[addresses] != 0.0
    recorder.note_site()
    for address, flag in zip(addresses.reshape(-1).tolist(), truth.reshape(-1).tolist(), strict=True):
        recorder.extend((GUARD, int(flag), address, 0))
    return truth


def whole_now(value: Any, what: str = "a recording value is used as an index or a count") -> Any:
    """Return counts and indices as plain integers, guarded: what no derivative passes, as sums of truth values."""
    do = "write int(x): it gives the number and guards it"
    array = as_array(value)
    addresses = None if array.storage.space else array.address_view()
    if value.boolean or addresses is None or any(depends(value.recorder, addresses) for depends in dependence):
        refuse(what, do)
    now = value.value()
    if not np.all(now == np.rint(now)):
        refuse(what, do)
    if isinstance(value, Scalar):
        return int(value.recorder.guard_value(value.address))
    return decide("whole_numbers", value, keywords={"dtype": np.dtype(np.intp)})


Active.whole_now = whole_now
Active.truth_now = concrete_truth  # a truth value has no derivative that its conversion could lose
