"""Pickles of functions and paths: by cloudpickle where it is installed, and ops by the names that they have.

A function of a module that can be imported travels as its name, one of a notebook or of `__main__` as its code.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
import io
import pickle
from collections.abc import Iterator
from types import CodeType
from typing import Any

from numbad.errors import NumbadError, message, name_of
from numbad.ops.definition import BY_NAME, Op
from numbad.ops.host import ArrayOp
from numbad.storage.tape_files import SPECIAL, find_array_op


@functools.cache
def pickler() -> Any:
    """Return the class of our picklers: cloudpickle's, or Python's own without it."""
    try:
        from cloudpickle import Pickler as base
    except ImportError:
        try:
            from joblib.externals.cloudpickle import Pickler as base
        except ImportError:
            base = pickle.Pickler

    class OpsByName(base):  # type: ignore[misc, valid-type]
        """A pickler that names ops: a process has them in an order of its own."""

        def reducer_override(self, thing: Any) -> Any:
            """Return how an op is found again; leave other things to the pickler."""
            if isinstance(thing, Op) and BY_NAME.get(thing.name) is thing:
                return find_op, (thing.name,)
            if isinstance(thing, ArrayOp):
                for name in (thing.name, SPECIAL + thing.name):
                    if find_array_op(name) is thing:
                        return find_array_op, (name,)
            if isinstance(thing, CodeType) and CodeType in getattr(self, "dispatch_table", {}):
                make, arguments = self.dispatch_table[CodeType](thing)[:2]
                return name_code, (make, arguments, thing.co_filename)
            inherited = getattr(super(), "reducer_override", None)
            return NotImplemented if inherited is None else inherited(thing)

    return OpsByName


def find_op(name: str) -> Op:
    """Return the op of a name."""
    return BY_NAME[name]


def name_code(make: Any, arguments: tuple[Any, ...], file: str) -> CodeType:
    """Return code with the name of its file, which cloudpickle leaves out: errors say where they come from."""
    code: CodeType = make(*arguments)
    return code.replace(co_filename=file)


def parts_of(thing: Any) -> tuple[bytes, tuple[Any, ...]]:
    """Return the pickle of a thing, and the memory of its large arrays."""
    stream, buffers = io.BytesIO(), []

    def keep(buffer: pickle.PickleBuffer) -> bool:
        memory = buffer.raw()
        if memory.nbytes < 4096:
            return True  # into the pickle
        buffers.append(memory)
        return False

    pickler()(stream, protocol=5, buffer_callback=keep).dump(thing)
    return stream.getvalue(), tuple(buffers)


def load(head: bytes, buffers: tuple[Any, ...]) -> Any:
    """Return the thing of a pickle."""
    return pickle.loads(head, buffers=buffers)


# ---------------------------------------------------------------- what cannot be pickled


def explain(thing: Any, what: str, error: Exception) -> NumbadError:
    """Return an error that names the part of a thing that cannot be pickled."""
    named = culprit(thing)
    which = f"{what} cannot be sent to another process: {named or type(thing).__name__} cannot be pickled"
    do = "make it where it is used, inside of the function; or pass its contents as arrays, or by the name of a file"
    return NumbadError(message(f"{which} ({error})", do, where=False))


def can_pickle(thing: Any) -> bool:
    """Whether a thing can be pickled."""
    try:
        parts_of(thing)
    except Exception:
        return False
    return True


def culprit(thing: Any) -> str:
    """Return the name of the innermost part that cannot be pickled; empty where none is found."""
    for name, part in members(thing):
        if not can_pickle(part):
            inner = culprit(part)
            return f"{name}, a {type(part).__name__}" + (f" ({inner})" if inner else "")
    return ""


def members(thing: Any) -> Iterator[tuple[str, Any]]:
    """Yield the parts of a function, a container or an object that a pickle of it holds, with their names."""
    if isinstance(thing, functools.partial):
        yield from ((f"the argument {k}", part) for k, part in enumerate(thing.args))
        yield from ((f"the argument {name}", part) for name, part in thing.keywords.items())
        yield from members(thing.func)
    elif inspect.ismethod(thing):
        yield "its object", thing.__self__
    elif inspect.isfunction(thing):
        with contextlib.suppress(ValueError):
            found = inspect.getclosurevars(thing)
            yield from ((f"the variable {name} of {name_of(thing)}", part) for name, part in found.nonlocals.items())
            yield from ((f"the global {name} of {name_of(thing)}", part) for name, part in found.globals.items())
    elif isinstance(thing, dict):
        yield from ((f"the entry {key!r}", part) for key, part in thing.items())
    elif isinstance(thing, (list, tuple)):
        yield from ((f"the entry {k}", part) for k, part in enumerate(thing))
    elif hasattr(thing, "__dict__"):
        yield from ((f"the attribute {name}", part) for name, part in vars(thing).items())
