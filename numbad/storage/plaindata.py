"""Structures of arguments, settings and constants as plain data: JSON, with arrays put aside."""

from __future__ import annotations

import math
from collections import OrderedDict
from typing import Any

import numpy as np

from numbad.recording.trees import take_apart
from numbad.storage.container import complain, printable, shorten

MOST_DEPTH = 200  # containers inside of containers
FLOATS = {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}


class Leaf:
    """Stands for a leaf in a structure."""


LEAF = Leaf()


class Encoder:
    """Writes values as plain data.

    Attributes
    ----------
    arrays : list of ndarray
        The arrays met so far; the data refer to them by their place.
    """

    def __init__(self) -> None:
        self.arrays: list[np.ndarray] = []

    def put(self, values: np.ndarray) -> int:
        """Put an array aside; return its place."""
        self.arrays.append(values)
        return len(self.arrays) - 1

    def encode(self, value: Any, what: str, depth: int = 0) -> Any:
        """Return a value as plain data; `what` names it in the error for a type that is not known."""
        if depth > MOST_DEPTH:
            complain(f"{what} is nested more than {MOST_DEPTH} deep", "nest it less deeply")
        if value is None or type(value) in (bool, int, str):
            return value
        if type(value) is float:
            return value if math.isfinite(value) else {"float": repr(value)}
        if value is LEAF:
            return {"leaf": None}
        if isinstance(value, np.generic) or type(value) is np.ndarray:
            kind = "scalar" if isinstance(value, np.generic) else "array"
            return {kind: self.put(compact(np.asarray(value)))}
        if type(value) is list:
            return [self.encode(part, what, depth + 1) for part in value]
        if type(value) is tuple:
            return {"tuple": [self.encode(part, what, depth + 1) for part in value]}
        if type(value) in (dict, OrderedDict):
            pairs = [[self.encode(part, what, depth + 1) for part in pair] for pair in value.items()]
            return {type(value).__name__: pairs}
        if is_named_tuple(type(value)):
            parts = [self.encode(part, what, depth + 1) for part in value]
            return {"named_tuple": type_name(type(value)), "fields": list(value._fields), "values": parts}
        complain(
            f"{what} holds a {type_name(type(value))}, which a file cannot hold",
            "use tuples, lists, dicts and named tuples of numbers and arrays",
        )

    def encode_structure(self, structure: Any, what: str) -> Any:
        """Return the structure of an argument or result (None, or a PyTreeSpec) as plain data."""
        if structure is None:
            return None
        skeletal = skeleton(structure, what)
        return {"none": None} if skeletal is None else self.encode(skeletal, what)


def compact(values: np.ndarray) -> np.ndarray:
    """Return an array as contiguous memory."""
    return values if values.flags.c_contiguous or values.flags.f_contiguous else np.ascontiguousarray(values)


def skeleton(structure: Any, what: str) -> Any:
    """Return the containers of a structure with a mark for each leaf, without running code of their types."""
    if structure.is_leaf():
        return LEAF
    kind = structure.type
    if kind is type(None):
        return None
    children = [skeleton(child, what) for child in structure.children()]
    if kind in (list, tuple):
        return kind(children)
    if kind in (dict, OrderedDict):
        return structure.one_level().unflatten(children)  # `entries` has the keys in another order
    if kind is not None and is_named_tuple(kind):
        return tuple.__new__(kind, children)
    complain(
        f"{what} is or holds a {type_name(kind)}, whose structure a file cannot hold",
        "record a function of tuples, lists, dicts and named tuples",
    )


def is_named_tuple(kind: type) -> bool:
    """Whether a type was made by collections.namedtuple or typing.NamedTuple."""
    fields = getattr(kind, "_fields", None)
    return issubclass(kind, tuple) and isinstance(fields, tuple) and all(isinstance(name, str) for name in fields)


def type_name(kind: Any) -> str:
    """Return the name by which a type is found again: module.name."""
    return f"{kind.__module__}.{kind.__qualname__}" if isinstance(kind, type) else str(kind)


class Decoder:
    """Reads values from plain data.

    Parameters
    ----------
    arrays : list of ndarray
        The arrays that the data refer to.
    types : sequence of type
        The named tuples that may be made again.
    """

    def __init__(self, arrays: list[np.ndarray], types: Any = ()) -> None:
        self.arrays = arrays
        self.types = {type_name(kind): kind for kind in ((types,) if isinstance(types, type) else types)}
        for kind in self.types.values():
            if not (isinstance(kind, type) and is_named_tuple(kind)):
                raise TypeError(f"types= takes named tuples, not {type_name(kind)}")

    def take(self, place: Any, what: str) -> np.ndarray:
        """Return the array at a place."""
        if type(place) is not int or not 0 <= place < len(self.arrays):
            complain(f"{what} is said to be array {shorten(place)} of {len(self.arrays)}")
        return self.arrays[place]

    def decode(self, data: Any, what: str, depth: int = 0) -> Any:
        """Return the value that plain data describe."""
        if depth > MOST_DEPTH:
            complain(f"{what} is nested more than {MOST_DEPTH} deep")
        if data is None or type(data) in (bool, int, float, str):
            return data
        if type(data) is list:
            return [self.decode(part, what, depth + 1) for part in data]
        key = next(iter(data), "")
        content = data.get(key)
        if key == "named_tuple":
            return self.decode_named_tuple(data, what, depth)
        if len(data) != 1:
            complain(f"{what} is not written as data of a tape")
        if key == "leaf":
            return LEAF
        if key == "float" and content in ("nan", "inf", "-inf"):
            return FLOATS[content]
        if key == "array":
            return self.take(content, what)
        if key == "scalar" and self.take(content, what).shape == ():
            return self.take(content, what)[()]
        if key == "tuple" and type(content) is list:
            return tuple(self.decode(part, what, depth + 1) for part in content)
        if key in ("dict", "OrderedDict") and type(content) is list:
            return self.decode_dict(key, content, what, depth)
        complain(f"{what} is not written as data of a tape")

    def decode_dict(self, kind: str, pairs: list[Any], what: str, depth: int) -> Any:
        """Return a dict."""
        found: Any = {} if kind == "dict" else OrderedDict()
        for pair in pairs:
            if type(pair) is not list or len(pair) != 2:
                complain(f"{what} has a dict that is not written in pairs")
            key, value = (self.decode(part, what, depth + 1) for part in pair)
            try:
                new = key not in found
                found[key] = value
            except TypeError:
                complain(f"{what} has a dict whose keys cannot be keys")
            if not new or key is LEAF:
                complain(f"{what} has a dict with a key twice")
        return found

    def decode_named_tuple(self, data: dict[str, Any], what: str, depth: int) -> Any:
        """Return a named tuple of one of the types that the caller has given."""
        name, fields, values = data.get("named_tuple"), data.get("fields"), data.get("values")
        if type(name) is not str or type(fields) is not list or type(values) is not list or len(fields) != len(values):
            complain(f"{what} has a named tuple that is not written as one")
        kind: Any = self.types.get(name)
        name = printable(name)
        if kind is None or list(kind._fields) != fields:
            known = "" if kind is None else f"; the fields of the one that is given are {', '.join(kind._fields)}"
            complain(
                f"{what} is or holds the named tuple {name} with the fields {', '.join(map(shorten, fields))}{known}",
                f"give its type: numbad.load(path, types=({name.rpartition('.')[2]},))",
            )
        return tuple.__new__(kind, [self.decode(part, what, depth + 1) for part in values])

    def decode_structure(self, data: Any, what: str) -> Any:
        """Return the structure of an argument or result: None for a leaf, else a PyTreeSpec."""
        if data is None:
            return None
        tree = None if data == {"none": None} else self.decode(data, what)
        leaves, structure = take_apart(tree)
        if structure.is_leaf() or any(leaf is not LEAF for leaf in leaves):
            complain(f"{what} is not the structure of an argument")
        return structure
