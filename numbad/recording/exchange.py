"""Exchanging the code of the user's functions while they are recorded: counted, so that threads may overlap.

A function object stays what it is, whoever holds it: a module, a closure, a class, a default argument. A thread that
records nothing may run exchanged code, whose hooks then give back what they are given.
"""

from __future__ import annotations

import gc
from collections.abc import Iterable
from types import CodeType, FunctionType
from typing import Any

from numbad.errors import attribute
from numbad.kernels.threads import renew_in_children
from numbad.recording.borrowing import Guard
from numbad.recording.rewriting import Rewritten

DEEPEST = 4  # closures in closures that are looked into


guard = Guard()
renew_in_children(guard)


class Held:
    """A function whose code is exchanged, for as many recordings as `users` says."""

    __slots__ = ("function", "given", "looked", "original", "users")

    def __init__(self, function: FunctionType) -> None:
        self.function, self.original = function, function.__code__
        self.given = function.__code__
        self.users = self.looked = 0


_held: dict[int, Held] = {}
_running: list[exchanged] = []  # recordings with exchanged code, of all threads


def own_code(function: Any) -> CodeType:
    """Return the code that the user gave a function, whatever it has now."""
    held = _held.get(id(function))
    return function.__code__ if held is None or function.__code__ is not held.given else held.original


class exchanged:
    """Give functions the code with all hooks if `looking`, else with those that are needed, while a block runs."""

    __slots__ = ("entered", "looking", "pairs")

    def __init__(self, pairs: list[tuple[FunctionType, Rewritten]], looking: bool) -> None:
        self.pairs, self.looking = pairs, looking
        self.entered: list[Held] = []

    def __enter__(self) -> None:
        try:
            with guard.lock:
                _running.append(self)
                for function, code in self.pairs:
                    self.enter(function, code)
        except BaseException:
            self.__exit__()
            raise

    def enter(self, function: FunctionType, code: Rewritten) -> None:
        """Exchange the code of one function, unless another recording looks at all that it makes."""
        held = _held.get(id(function))
        if held is None:
            held = _held[id(function)] = Held(function)
        held.users += 1
        held.looked += self.looking
        self.entered.append(held)
        if self.looking or not held.looked:
            held.given = function.__code__ = code.full if self.looking else code.lean()

    def __exit__(self, *_: object) -> None:
        with guard.lock:
            if self in _running:
                _running.remove(self)
            for held in self.entered:
                held.users -= 1
                held.looked -= self.looking
                if not held.users:
                    del _held[id(held.function)]
                    if held.function.__code__ is held.given:
                        held.function.__code__ = held.original


def join(function: FunctionType) -> None:
    """Give a function that has just been made the code that others have whose code is the same."""
    if not _running:
        return
    with guard.lock:
        for block in _running:
            for other, code in block.pairs:
                if code.original() is function.__code__ and other is not function:
                    block.enter(function, code)
                    break


def functions_with(codes: Iterable[CodeType]) -> list[FunctionType]:
    """Return the functions that have one of these codes."""
    codes = [code for code in codes if code.co_name != "<module>"]  # which runs once, and has no function
    wanted = {id(code) for code in codes}
    if not wanted:
        return []
    with guard.lock:  # functions that another thread has given hooks refer to other codes; none gives or takes them now
        others = [held.function for held in _held.values() if id(held.original) in wanted]
        found = {id(part): part for part in (*others, *gc.get_referrers(*codes)) if type(part) is FunctionType}
        return [part for part in found.values() if id(own_code(part)) in wanted]


def root_of(f: Any) -> FunctionType | None:
    """Return the function that is run where a callable is called; None where Python cannot tell."""
    for _ in range(100):
        if type(f) is FunctionType:
            if "__wrapped__" not in f.__dict__:
                return f
            f = f.__wrapped__  # type: ignore[attr-defined]
            continue
        inner = attribute(f, "__func__")
        inner = attribute(f, "func") if inner is None else inner
        inner = attribute(f, "__wrapped__") if inner is None else inner
        inner = attribute(type(f), "__call__") if inner is None else inner
        if inner is f or not callable(inner):
            return None
        f = inner
    return None


def closure_of(function: FunctionType, depth: int = DEEPEST) -> list[FunctionType]:
    """Return a function and those that it has in its closure."""
    found = [function]
    for cell in function.__closure__ or ():
        try:
            inner = cell.cell_contents
        except ValueError:
            continue
        if type(inner) is FunctionType and depth and inner is not function:
            found += closure_of(inner, depth - 1)
    return found
