"""Objects of classes that Numba compiles (`jitclass`): their methods run as twins.

An object of Numba's holds plain numbers. One that is made of recording values is a shadow instead: an object of
Python's with the same attributes and methods.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from types import FunctionType
from typing import Any, NoReturn

from numbad.errors import RecordingError, message
from numbad.numba_api.arithmetic import whole
from numbad.numba_api.dispatching import Shadow, kernel_of, methods, takes_part
from numbad.recording.active import Active

HOLDING = "__numba_self_"  # the first argument of what Numba makes for each method and attribute


class Instance(Shadow):
    """What the methods of a class see as self.

    Attributes
    ----------
    _kind : Any
        Numba's type of the class.
    _box : Any
        The object of Numba's that it is a view of; None if it is a shadow.
    _values : dict
        The attributes of a shadow.
    """

    __slots__ = ("_box", "_kind", "_values")

    def __init__(self, kind: Any, box: Any = None) -> None:
        object.__setattr__(self, "_kind", kind)
        object.__setattr__(self, "_box", box)
        object.__setattr__(self, "_values", {})

    def __getattr__(self, name: str) -> Any:
        kind = self._kind
        if name in kind.struct:
            if self._box is not None:
                return getattr(self._box, name)
            if name not in self._values:
                raise AttributeError(f"{kind.class_name!r} object: {name!r} has not been set")
            return self._values[name]
        found = kind.jit_methods.get(name)
        if found is not None:
            return functools.partial(call, found, self)
        if name in kind.jit_props:
            return call(kind.jit_props[name]["get"], self)
        if name in kind.jit_static_methods:
            return kind.jit_static_methods[name]
        raise AttributeError(f"{kind.class_name!r} object has no attribute {name!r}")

    def __setattr__(self, name: str, value: Any) -> None:
        kind = self._kind
        if name in kind.jit_props and "set" in kind.jit_props[name]:
            call(kind.jit_props[name]["set"], self, value)
        elif name not in kind.struct:
            raise AttributeError(f"{kind.class_name!r} object has no attribute {name!r}")
        elif self._box is None:
            self._values[name] = as_declared(name, value, kind.struct[name])
        elif takes_part(value):
            refuse_box(name)
        else:
            setattr(self._box, name, value)


def as_declared(name: str, value: Any, kind: Any) -> Any:
    """Return what an attribute holds of a value: integers are cut off, as Numba has it."""
    from numba.core import types

    if isinstance(kind, types.Integer):
        return whole(value)
    if isinstance(kind, types.Float):
        if kind.bitwidth < 64 and isinstance(value, Active) and value.dtype.itemsize > 4:
            refuse_box(name)
        return value if isinstance(value, Active) else float(value)
    return value


def refuse_box(name: str) -> NoReturn:
    """Refuse to put a recording value into an object whose memory is Numba's."""
    raise RecordingError(
        message(
            f"the attribute {name} of an object of a class that Numba compiles cannot hold a recording value:"
            " its memory holds plain numbers",
            "make the object of recording values in the function that is recorded",
        )
    )


def call(dispatcher: Any, *arguments: Any, **keywords: Any) -> Any:
    """Run the twin of a method."""
    return kernel_of(dispatcher).run(arguments, keywords)


@functools.cache
def class_of(kind: Any) -> type[Instance]:
    """Return the class of shadows: operators are looked up in it."""
    named = {name for name in kind.jit_methods if name.startswith("__") and name != "__init__"}
    operators = {name: functools.partialmethod(call_named, name) for name in named}
    return type(kind.class_name, (Instance,), {"__slots__": (), **operators})


def call_named(self: Instance, name: str, *arguments: Any) -> Any:
    """Run a method that Python calls for an operator."""
    return call(self._kind.jit_methods[name], self, *arguments)


def construct(cls: Any, *arguments: Any, **keywords: Any) -> Instance:
    """Return a shadow of an object that is made of recording values."""
    kind = cls.class_type
    made = class_of(kind)(kind)
    bound = cls._ctor_sig.bind(made, *arguments, **keywords)
    bound.apply_defaults()
    call(kind.jit_methods["__init__"], *bound.args, **bound.kwargs)
    return made


def method_of(function: FunctionType, arguments: tuple[Any, ...]) -> Callable[..., Any] | None:
    """Return the method for which Numba has made a function that takes an object of a class of its own."""
    code = function.__code__
    if code.co_varnames[:1] != (HOLDING,) or code.co_filename != "<string>":
        return None
    if function.__name__ == "mutator":
        refuse_box(code.co_names[0])
    box = arguments[0]
    if isinstance(box, Shadow):
        return None
    kind = type(box)._numba_type_.class_type
    return functools.partial(call, kind.jit_methods[code.co_names[0]], class_of(kind)(kind, box))


def teach_classes() -> None:
    """Teach the constructors of classes that Numba compiles."""
    from numba.experimental.jitclass import base

    classes: Any = base.JitClassType
    own = classes.__call__

    def make(cls: Any, *arguments: Any, **keywords: Any) -> Any:
        if any(takes_part(value) for value in (*arguments, *keywords.values())):
            return construct(cls, *arguments, **keywords)
        return own(cls, *arguments, **keywords)

    classes.__call__ = make
    methods.append(method_of)
