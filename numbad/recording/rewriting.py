"""Code objects with hooks: what a user's function makes, loads and assigns passes through numbad while it is recorded.

A hook is an object whose operator `|` is called by three instructions behind (or before) one of the user's own. All
others stay as they are, with their lines and columns, so tracebacks and the sites of rows say what they say otherwise.
"""

from __future__ import annotations

import sys
import weakref
from types import CodeType
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from bytecode import Instr

MAKES = {"CALL", "CALL_KW", "CALL_FUNCTION_EX", "BINARY_OP", "BINARY_SUBSCR", "BINARY_SLICE"}
MAKES |= {"UNARY_NEGATIVE", "UNARY_POSITIVE", "CALL_INTRINSIC_1"}
LOADS = {"LOAD_GLOBAL", "LOAD_NAME", "LOAD_ATTR", "LOAD_METHOD", "LOAD_DEREF"}
ATTRIBUTES = ("LOAD_ATTR", "LOAD_METHOD")
ASSIGNS = {"STORE_SUBSCR": 3, "STORE_SLICE": 4}  # how many values they take from the stack
NULL_LAST = sys.version_info >= (3, 13)  # a call's mark lies above the function, not below it


class Hook:
    """What a place of a function calls.

    Attributes
    ----------
    needed : bool
        Whether later recordings need it, too.
    name : str
        What its instruction loads.
    called : bool
        Whether what it loads is called by what follows, and has no other use.
    """

    __slots__ = ("called", "name", "needed")

    def __init__(self) -> None:
        self.needed = self.called = False
        self.name = ""

    def __or__(self, value: Any) -> Any:
        raise AssertionError("a subclass defines it")


class Hooks(NamedTuple):
    """The classes of hooks: behind what makes a value or loads one, in the place of an assignment, and of x[key]."""

    made: type[Hook]
    loaded: type[Hook]
    stored: type[Hook]
    read: type[Hook]


class Name(NamedTuple):
    """What a program calls an array that it assigns to: a variable, or an attribute of something."""

    kind: str  # "variable" or "attribute"
    text: str


class Rewritten:
    """A code object with all hooks (`full`), and one with those that later recordings need (`lean`).

    Attributes
    ----------
    hooks : list of Hook
        In the order of their instructions.
    inner : list of Rewritten
        The functions that are defined inside.
    mixed : bool
        Whether it made an array of objects that stays one: then `lean` is `full`.
    makers : list of (Hook, Name or None)
        What makes a value, and the name that the value is given.
    """

    def __init__(self, code: CodeType, hooks: Hooks) -> None:
        from bytecode import Bytecode, Instr

        listing = Bytecode.from_code(code)
        steps = [step for step in listing if isinstance(step, Instr)]
        self.makers: list[tuple[Hook, Name | None]] = []
        self.hooks: list[Hook] = []
        self.inner: list[Rewritten] = []
        self.mixed = False
        self.classes = hooks
        changed: list[Any] = []
        places = {id(step): k for k, step in enumerate(steps)}
        for step in listing:
            changed += self.hooked(steps, places[id(step)]) if isinstance(step, Instr) else [step]
        listing[:] = changed
        self.original = weakref.ref(code)
        self.full = self.note(listing.to_code(), FULL)
        self.lean_code: CodeType | None = None

    def hooked(self, steps: list[Instr], k: int) -> list[Any]:
        """Return an instruction with its hook."""
        from bytecode import Instr

        step = steps[k]
        if step.name == "LOAD_CONST" and isinstance(step.arg, CodeType):
            inner = Rewritten(step.arg, self.classes)
            self.inner.append(inner)
            return [Instr(step.name, inner.full, location=step.location)]
        if step.name in ASSIGNS:
            return self.assignment(step, ASSIGNS[step.name])
        if loads(steps, k):
            hook = self.classes.loaded()
            hook.name, hook.called = name_in(step) or "", is_called(steps, k)
            self.hooks.append(hook)
            return loading(step, hook)
        if makes(step):
            reads = [self.classes.read()] if is_subscript(step) else []
            hook = self.classes.made()
            self.hooks += [*reads, hook]
            self.makers.append((hook, stored_name(steps[k + 1 : k + 3])))
            made = reading(step, reads[0]) if reads else [step]
            return [*made, *calling(hook, step.location)]
        return [step]

    def assignment(self, step: Instr, count: int) -> list[Any]:
        """Return what hands value, array and key of an assignment to a hook."""
        from bytecode import Instr

        hook = self.classes.stored()
        self.hooks.append(hook)
        at = step.location
        return [Instr("BUILD_TUPLE", count, location=at), *calling(hook, at), Instr("POP_TOP", location=at)]

    def note(self, code: CodeType, *kinds: set[int]) -> CodeType:
        """Note that a code object is a variant of this one's."""
        original = self.original()
        kernels = (KERNELS,) if id(original) in KERNELS else ()
        place = id(code)
        _originals[place] = self.original
        weakref.finalize(code, _originals.pop, place, None).atexit = False
        return noted(code, *kinds, *kernels)

    def every(self) -> list[Rewritten]:
        """Return this one and all that are inside."""
        return [self, *(part for inner in self.inner for part in inner.every())]

    def lean(self) -> CodeType:
        """Return the code with the hooks that had been needed when `forget` was called last."""
        if self.mixed:
            return self.full
        if self.lean_code is None:
            self.lean_code = self.thinned()
        return self.lean_code

    def forget(self) -> None:
        """Make the lean code anew when it is asked for: other hooks may be needed."""
        for part in self.every():
            part.lean_code = None

    def thinned(self) -> CodeType:
        """Return the code without the hooks that have not been needed."""
        from bytecode import Bytecode, Instr

        code = self.original()
        if code is None:
            return self.full
        listing = Bytecode.from_code(code)
        hooks, inner = iter(self.hooks), iter(self.inner)
        steps = [step for step in listing if isinstance(step, Instr)]
        places = {id(step): k for k, step in enumerate(steps)}
        changed: list[Any] = []
        for step in listing:
            if not isinstance(step, Instr):
                changed.append(step)
            elif step.name == "LOAD_CONST" and isinstance(step.arg, CodeType):
                changed.append(Instr(step.name, next(inner).lean(), location=step.location))
            elif step.name in ASSIGNS:
                next(hooks)
                changed.append(step)
            elif loads(steps, places[id(step)]):
                hook = next(hooks)
                changed += loading(step, hook) if hook.needed else [step]
            elif makes(step):
                read = next(hooks) if is_subscript(step) else None
                hook = next(hooks)
                changed += reading(step, read) if read is not None and read.needed else [step]
                changed += calling(hook, step.location) if hook.needed else ()
            else:
                changed.append(step)
        listing[:] = changed
        return self.note(listing.to_code())


FULL: set[int] = set()  # the identities of codes with all hooks
KERNELS: set[int] = set()  # of codes that stand for what another compiler has made of them, and of their variants
_originals: dict[int, weakref.ref[CodeType]] = {}  # of variants, by their identities
_known: dict[int, tuple[weakref.ref[CodeType], Rewritten]] = {}


def rewritten(code: CodeType, hooks: Hooks) -> Rewritten:
    """Return the versions of a code object with hooks; they live as long as it does."""
    known = _known.get(id(code))
    if known is not None and known[0]() is code:
        return known[1]
    found = Rewritten(code, hooks)
    place = id(code)
    _known[place] = weakref.ref(code, lambda _: _known.pop(place, None)), found
    return found


def plain_code(code: CodeType) -> CodeType:
    """Return the code that the user wrote, of a variant that has hooks."""
    known = _originals.get(id(code))
    original = None if known is None else known()
    return code if original is None else original


def noted(code: CodeType, *kinds: set[int]) -> CodeType:
    """Return a code object; its identity is in some sets as long as it lives."""
    for kind in kinds:
        kind.add(id(code))
        weakref.finalize(code, kind.discard, id(code)).atexit = False
    return code


def loads(steps: list[Instr], k: int) -> bool:
    """Whether an instruction loads what may be a function: under a global name, an attribute, or to call it."""
    return steps[k].name in LOADS or ("LOAD_FAST" in steps[k].name and is_called(steps, k))


def makes(step: Instr) -> bool:
    """Whether an instruction makes a value."""
    return step.name in MAKES and not is_in_place(step)


def is_in_place(step: Instr) -> bool:
    """Whether an instruction is +=, -= and the like, which gives an array that is there already."""
    return step.name == "BINARY_OP" and getattr(step.arg, "name", "").startswith("INPLACE")


def is_subscript(step: Instr) -> bool:
    """Whether an instruction is x[key]."""
    return step.name == "BINARY_SUBSCR" or (step.name == "BINARY_OP" and getattr(step.arg, "name", "") == "SUBSCR")


def reading(step: Instr, hook: Hook) -> list[Instr]:
    """Return what hands an array and its index to a hook, in the place of x[key]."""
    from bytecode import Instr

    return [Instr("BUILD_TUPLE", 2, location=step.location), *calling(hook, step.location)]


def calling(hook: Any, at: Any) -> list[Instr]:
    """Return instructions that put `hook | value` in the place of the value on top of the stack."""
    from bytecode import BinaryOp, Instr

    return [
        Instr("LOAD_CONST", hook, location=at),
        Instr("SWAP", 2, location=at),
        Instr("BINARY_OP", BinaryOp.OR, location=at),
    ]


def loading(step: Instr, hook: Hook) -> list[Instr]:
    """Return an instruction that loads a value, perhaps to be called, with a hook for the value."""
    from bytecode import Instr

    argument: Any = step.arg
    at = step.location
    method = step.name == "LOAD_METHOD"
    if not marks_call(step) or (not NULL_LAST and step.name == "LOAD_GLOBAL"):
        return [step, *calling(hook, at)]
    plain = Instr("LOAD_ATTR", argument) if method else Instr(step.name, (False, *argument[1:]))
    plain.location = at
    mark = Instr("PUSH_NULL", location=at)  # that a function is called, and not a method with its object before it
    if NULL_LAST:
        return [plain, *calling(hook, at), mark]
    return [mark, Instr("SWAP", 2, location=at), plain, *calling(hook, at)]


def is_called(steps: list[Instr], k: int) -> bool:
    """Whether what an instruction loads is called by what follows, with a mark beside it on the stack, or by map."""
    after = steps[k + 1].name if k + 1 < len(steps) else ""
    if after in ATTRIBUTES:
        return False
    if after == "PUSH_NULL" or marks_call(steps[k]) or (k > 0 and name_in(steps[k - 1]) == "map"):
        return True
    while k and steps[k].name == "LOAD_ATTR":  # of a module: the mark was made below it
        k -= 1
    return not NULL_LAST and (marks_call(steps[k]) or (k > 0 and steps[k - 1].name == "PUSH_NULL"))


def marks_call(step: Instr) -> bool:
    """Whether an instruction puts the mark of a call on the stack, too."""
    argument: Any = step.arg
    return step.name == "LOAD_METHOD" or (step.name in LOADS and isinstance(argument, tuple) and bool(argument[0]))


def name_in(step: Instr) -> str | None:
    """Return the name that an instruction reads or writes."""
    argument = step.arg[-1] if isinstance(step.arg, tuple) else step.arg
    return argument if isinstance(argument, str) else getattr(argument, "name", None)


def stored_name(following: list[Instr]) -> Name | None:
    """Return the name that a value is given by the next instructions: y = ..., or self.y = ..."""
    if not following:
        return None
    first = following[0]
    if first.name.startswith("STORE_") and first.name not in ASSIGNS and first.name != "STORE_ATTR":
        name = name_in(first) if not isinstance(first.arg, tuple) else first.arg[0]  # two variables in one instruction
        return Name("variable", name) if isinstance(name, str) else None
    if len(following) > 1 and following[1].name == "STORE_ATTR":
        name = name_in(following[1])
        return Name("attribute", name) if name else None
    return None


class Step(NamedTuple):
    """An instruction: what it does, the names that it reads, and where its text begins and ends."""

    operation: str
    names: tuple[str, ...]
    start: tuple[int, int] | None
    end: tuple[int, int] | None


def step_of(operation: str, argument: Any, at: Any) -> Step:
    """Return an instruction, its argument and its place in the text in the form that is common to Python's listings."""
    parts = argument if isinstance(argument, tuple) else (argument,)
    names = tuple(name for part in parts if isinstance(name := getattr(part, "name", part), str))
    if at is None or None in (at.lineno, at.col_offset, at.end_lineno, at.end_col_offset):
        return Step(operation, names, None, None)
    return Step(operation, names, (at.lineno, at.col_offset), (at.end_lineno, at.end_col_offset))


def path_of(steps: list[Step], k: int) -> list[Name]:
    """Return the names by which an instruction comes to what it calls or assigns to: self and y in `self.y[0] = x`.

    The text of both begins where that of the first name does. Two variables may be loaded by one instruction.
    """
    start, end = steps[k].start, steps[k].end
    first = k
    while start and end and first and (place := steps[first - 1].start) and start <= place < end:
        first -= 1
    path = []
    for step in steps[first:k]:
        if step.start == start and step.operation.startswith("LOAD_") and step.operation != "LOAD_CONST" and step.names:
            path.append(Name("attribute" if step.operation in ATTRIBUTES else "variable", step.names[-1]))
    if first and (not path or path[0].kind == "attribute") and len(steps[first - 1].names) == 2:
        path.insert(0, Name("variable", steps[first - 1].names[-1]))
    return path
