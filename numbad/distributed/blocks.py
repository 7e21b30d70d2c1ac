"""What a block may be, and how it travels: by the name of a file that it is mapped from, else once, by its digest.

Arrays are the same in all processes: their elements lie by rows or by columns without gaps, as they do in a pickle, so
a block has sums of the same bits wherever it is computed.
"""

from __future__ import annotations

import mmap
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from numbad.distributed.contents import Package, name_array, name_package, pack
from numbad.distributed.pickling import explain
from numbad.distributed.signatures import is_plain, leaves_of_tree
from numbad.errors import InputError, message
from numbad.recording.trees import put_together, take_apart

INLINE = 128  # bytes of an array or a function that travels with each order: what it is called by takes some 40
REMAPPED = 1 << 20  # bytes of a part of a file that is mapped anew for a block: its pages leave memory with the block
INLINE_FAR = 1 << 14  # the same of what is not an array, where a worker would have to ask for it


class Mapped:
    """An array that is a part of a file."""

    __slots__ = ("dtype", "file", "offset", "order", "shape")

    def __init__(self, file: str, offset: int, shape: tuple[int, ...], dtype: str, order: str) -> None:
        self.file, self.offset, self.shape, self.dtype, self.order = file, offset, shape, dtype, order

    def __reduce__(self) -> Any:
        return Mapped, (self.file, self.offset, self.shape, self.dtype, self.order)

    def open(self) -> np.ndarray:
        """Map the part of the file into memory."""
        order: Any = self.order
        return np.asarray(np.memmap(self.file, self.dtype, "r", self.offset, self.shape, order))


class Named:
    """A content that travels once, by its name."""

    __slots__ = ("name",)

    def __init__(self, name: str) -> None:
        self.name = name

    def __reduce__(self) -> Any:
        return Named, (self.name,)


class Sent:
    """A value that the executor brings beside the order, by its place there."""

    __slots__ = ("place",)

    def __init__(self, place: int) -> None:
        self.place = place

    def __reduce__(self) -> Any:
        return Sent, (self.place,)


class Loader:
    """A function without arguments that loads the block, as a pickle or its name."""

    __slots__ = ("form",)

    def __init__(self, form: Any) -> None:
        self.form = form

    def __reduce__(self) -> Any:
        return Loader, (self.form,)


class Boxed:
    """An object among the leaves of a block, as a pickle or its name."""

    __slots__ = ("form",)

    def __init__(self, form: Any) -> None:
        self.form = form

    def __reduce__(self) -> Any:
        return Boxed, (self.form,)


def is_loader(block: Any) -> bool:
    """Whether a block is a function that loads it."""
    return callable(block) and not isinstance(block, np.ndarray) and not is_collection(block)


def is_collection(leaf: Any) -> bool:
    """Whether a leaf is computed by Dask: its graph is asked for, not Dask."""
    return getattr(leaf, "__dask_graph__", None) is not None and leaf.__dask_graph__() is not None


def is_future(leaf: Any) -> bool:
    """Whether a leaf is a result that a Dask cluster has, or will have."""
    return type(leaf).__name__ == "Future" and type(leaf).__module__.startswith("distributed.")


def settle(leaf: Any) -> Any:
    """Return a leaf as it is computed with: arrays as they are in any process."""
    if is_collection(leaf):
        leaf = leaf.compute(scheduler="synchronous")
    elif is_future(leaf):
        leaf = leaf.result()
    if type(leaf) not in (np.ndarray, np.memmap):
        return leaf
    values = np.asarray(leaf)
    if type(leaf) is np.memmap and leaf.nbytes >= REMAPPED and values.flags.forc:
        part = mapped(values)
        values = values if part is None else part.open()
    gaps = not (values.flags.c_contiguous or values.flags.f_contiguous)
    return np.ascontiguousarray(values) if gaps or not values.flags.aligned else values


def map_leaves(function: Callable[[Any], Any], tree: Any) -> Any:
    """Return a tree with a function of each leaf in its place."""
    if isinstance(tree, (np.ndarray, float, int)):
        return function(tree)
    leaves, structure = take_apart(tree)
    return put_together(structure, [function(leaf) for leaf in leaves])


def check_size(block: Any) -> None:
    """Raise an InputError for a block without elements."""
    for leaf in leaves_of_tree(block):
        if isinstance(leaf, np.ndarray) and not leaf.size:
            what = f"a block has no elements: an array of shape {leaf.shape}"
            raise InputError(message(what, "leave such blocks out", where=False))


# ---------------------------------------------------------------- sending


class Parcels:
    """What a sum sends to other processes: the contents, by their names.

    Attributes
    ----------
    contents : dict
        By name: a package or an array.
    keep : function
        Is called with name and content of each one that is to travel.
    far : bool
        Whether workers see no files of ours: the executor brings arrays then, from where they were last time.
    """

    def __init__(self, keep: Callable[[str, Any], None], far: bool) -> None:
        self.contents: dict[str, Any] = {}
        self.keep, self.far = keep, far
        self.inline = INLINE_FAR if far else INLINE

    def name(self, name: str, content: Any) -> Named:
        """Note a content; return what is sent in its place."""
        if name not in self.contents:
            self.contents[name] = content
            self.keep(name, content)
        return Named(name)

    def wrap(self, kind: str, thing: Any, what: str) -> Any:
        """Return a thing as a package or, where that is large, by its name."""
        try:
            package = pack(thing)
        except Exception as error:
            raise explain(thing, what, error) from error
        if package.nbytes <= self.inline:
            return package.plain()
        return self.name(name_package(kind, package), package)

    def send(self, block: Any, what: str, bring: Callable[..., Any] | None) -> Any:
        """Return a block as it travels; `bring` has the executor bring a leaf that Dask computes, or a named array."""
        if is_loader(block):
            return Loader(self.wrap("loader", block, what))

        def send_leaf(leaf: Any) -> Any:
            if is_collection(leaf) or is_future(leaf):
                return settle(leaf) if bring is None else bring(leaf)
            leaf = settle(leaf)
            if type(leaf) is np.ndarray and leaf.nbytes > INLINE and not leaf.dtype.hasobject:
                if self.far and bring is not None:
                    return bring(leaf, name_array(leaf))
                return (None if self.far else mapped(leaf)) or self.name(name_array(leaf), leaf)
            return leaf if is_plain(leaf) else Boxed(self.wrap("object", leaf, what))

        return map_leaves(send_leaf, block)


def mapped(values: np.ndarray) -> Mapped | None:
    """Return which part of a file an array is, if it is mapped from one."""
    root: Any = values
    while root is not None and not (isinstance(root, np.memmap) and isinstance(root.base, mmap.mmap)):
        root = getattr(root, "base", None)
    if root is None or root.filename is None or root.mode == "c":  # a change of a private copy is not in the file
        return None
    start = values.__array_interface__["data"][0] - root.__array_interface__["data"][0] + root.offset
    order = "C" if values.flags.c_contiguous else "F"
    return Mapped(str(root.filename), start, values.shape, values.dtype.str, order)


# ---------------------------------------------------------------- opening


def open_block(form: Any, find: Callable[[Any], Any], brought: tuple[Any, ...]) -> Any:
    """Return the block that has travelled; `find` opens packages and finds contents by their names."""
    if isinstance(form, Loader):
        return open_block(find(form.form), find, brought)
    if is_loader(form):
        form = form()

    def open_leaf(leaf: Any) -> Any:
        if isinstance(leaf, Mapped):
            return leaf.open()
        if isinstance(leaf, (Named, Boxed)):
            return find(leaf.form if isinstance(leaf, Boxed) else leaf)
        return settle(opened(brought[leaf.place]) if isinstance(leaf, Sent) else leaf)

    return map_leaves(open_leaf, form)


class Brought(NamedTuple):
    """An array that the executor brings, by its name."""

    name: str
    values: np.ndarray


def opened(content: Any) -> Any:
    """Return a content as it is kept on a shelf."""
    return content.open() if isinstance(content, Package) else content
