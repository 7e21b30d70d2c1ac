"""What a recording computes from integers and truth values alone: NumPy runs it again before each replay.

Labels, indices, masks and counts have no derivative, so what is computed from them needs no rows: `labels == k`,
`labels + 1` and `mask.astype(float)` are steps of a small program of NumPy's own functions. It runs before the rows do,
and its results are what the rows read: blocks of the arena, which are inputs of the tape, and indices.

A step whose result has another shape or dtype than it had, and a guard whose value is another, make another path.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from numbad.errors import Site, user_site
from numbad.recording.inputs import Leaf


class Place(NamedTuple):
    """A value of a prologue: a number in a list of them."""

    number: int


class Nest(NamedTuple):
    """A tuple, list, dict or slice that holds places."""

    kind: Any
    parts: tuple[Any, ...]


class Step(NamedTuple):
    """A call of a function, and what its results were like when it was recorded."""

    function: Callable[..., Any]
    arguments: tuple[Any, ...]
    keywords: dict[str, Any]
    kinds: list[tuple[tuple[int, ...], np.dtype]]
    several: bool


class Guard(NamedTuple):
    """A value on which the path depends."""

    number: int
    value: Any
    site: Site | None


class Prologue:
    """A program over integers and truth values.

    Attributes
    ----------
    recorder : Recorder or None
        The recording whose rows read what is computed here, once it has begun.
    now : list of ndarray and numbers of NumPy
        The inputs and the results of all steps, of the last run.
    steps : list of Step
    guards : list of Guard
    entries : list of (int, Leaf)
        Values that rows read as numbers of the arena: inputs of the tape.
    first : list
        What `now` was when it was recorded: a value that the function has kept somewhere stays that one.
    open, running : bool
        Whether the function is running that is recorded; whether its path is. Afterwards, values are what they are.
    copies : bool
        Whether a view of a recording array at a place that varies may be a copy, which is never assigned to.
    copied : bool
        Whether there has been one.
    asked : set
        The statements for which the function was to be recorded with hooks.
    missed : tuple or None
        The user's statement that the last run found to go another way.
    """

    def __init__(self, inputs: list[np.ndarray]) -> None:
        self.recorder: Any = None
        self.now: list[Any] = [values.copy() for values in inputs]
        self.count = len(inputs)
        self.steps: list[Step] = []
        self.guards: list[Guard] = []
        self.guarded: set[int] = set()
        self.entries: list[tuple[int, Any]] = []
        self.blocks: dict[tuple[int, np.dtype], Any] = {}
        self.tag: Any = None
        self.stand_in: Callable[[int], Any]
        self.first: list[Any] = []
        self.open, self.running = True, False
        self.copies, self.copied = True, False
        self.asked: set[Any] = set()
        self.missed: Site | None = None

    def begin(self, recorder: Any) -> None:
        """Begin with a recording: what one before has noted that was given up is forgotten."""
        self.recorder = recorder
        del self.now[self.count :]
        self.steps, self.guards, self.guarded = [], [], set()
        self.entries, self.blocks, self.tag = [], {}, None

    def value(self, number: int) -> Any:
        """Return a value as a program sees it."""
        return (self.now if self.open or self.running else self.first)[number]

    def close(self) -> None:
        """End the recording: from now on values are plain."""
        self.open = False
        self.first = self.now.copy()

    def takes_part(self, recorder: Any) -> bool:
        """Whether the rows of a recording may read what is computed here."""
        return self.open and recorder is self.recorder

    def tag_in(self, recorder: Any) -> Any:
        """Return the input that says of rows with indices that they vary."""
        if self.tag is None:
            leaf = Leaf(recorder, 0.0, recorder.dtype)
            self.entries.append((-1, leaf))
            self.tag = leaf.active
        return self.tag

    def append(
        self, function: Callable[..., Any], arguments: tuple[Any, ...], keywords: dict[str, Any]
    ) -> tuple[Any, int | None]:
        """Compute a step and keep it; return its result, and which value it is, or the first of its parts.

        Nothing is kept of results that are no numbers, nor arrays or sequences of them: then it is None.
        """
        found = function(*fill(arguments, self.now), **fill(keywords, self.now))
        several = isinstance(found, (tuple, list))
        parts = list(found) if several else [found]
        if not several and isinstance(found, (bool, int, float, str)) and not isinstance(found, np.generic):
            parts, function = [np.asarray(found)], functools.partial(as_array, function)
        if not all(isinstance(part, (np.ndarray, np.generic)) and part.dtype != object for part in parts):
            return found, None
        kinds = [(part.shape, part.dtype) for part in parts]
        self.steps.append(Step(function, arguments, keywords, kinds, several))
        self.now += parts
        return found, len(self.now) - len(parts)

    def guard(self, number: int) -> Any:
        """Return a value, on which the path depends from now on."""
        value = self.value(number)
        if self.open and number not in self.guarded:
            self.guarded.add(number)
            self.guards.append(Guard(number, value.copy(), user_site()))
        return value

    def run(self, inputs: list[np.ndarray]) -> bool:
        """Compute all steps for other inputs; return whether the path is the same."""
        now = self.now
        now[: self.count] = inputs
        if self.steps and not self.run_steps():
            return False
        for guard in self.guards:
            if not same(now[guard.number], guard.value):
                self.missed = guard.site
                return False
        return True

    def run_steps(self) -> bool:
        """Compute all steps; return whether their results have the shapes and dtypes that they had."""
        now, number = self.now, self.count
        with np.errstate(all="ignore"):
            for step in self.steps:
                found = step.function(*fill(step.arguments, now), **fill(step.keywords, now))
                for part, kind in zip(found if step.several else (found,), step.kinds, strict=True):
                    if part.shape != kind[0] or part.dtype != kind[1]:
                        return False
                    now[number] = part
                    number += 1
        return True

    def values(self) -> list[Any]:
        """Return the values of the blocks that rows read."""
        return [0.0 if number < 0 else np.asarray(self.now[number]) for number, _ in self.entries]


class Index:
    """An index of a recording array in which there are values of a prologue.

    Attributes
    ----------
    shape : tuple of int
        Of the elements that it names.
    """

    def __init__(self, prologue: Prologue, template: tuple[Any, ...], shape: tuple[int, ...]) -> None:
        self.prologue, self.template = prologue, template
        self.shape = np.broadcast_to(0.0, shape)[self.now()].shape

    def now(self) -> tuple[Any, ...]:
        """Return the index as it is in this run."""
        found: tuple[Any, ...] = fill(self.template, self.prologue.now)
        return found


def as_array(function: Callable[..., Any], *arguments: Any, **keywords: Any) -> np.ndarray:
    """Return a plain number or text that a function gives as an array."""
    return np.asarray(function(*arguments, **keywords))


def same(found: Any, value: Any) -> bool:
    """Whether a value is what it was, NaN included."""
    if value.dtype.kind in "fc":
        return bool(np.array_equal(found, value, equal_nan=True))
    return bool(np.array_equal(found, value))


def fill(template: Any, now: list[Any]) -> Any:
    """Return arguments with the values of this run in their places."""
    kind = type(template)
    if kind is Place:
        return now[template.number]
    if kind is tuple:
        return tuple([fill(part, now) for part in template])
    if kind is dict:
        return {name: fill(part, now) for name, part in template.items()} if template else template
    if kind is Nest:
        parts = [fill(part, now) for part in template.parts]
        return slice(*parts) if template.kind is slice else parts
    return template
