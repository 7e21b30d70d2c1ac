"""`jit` of sparse derivatives: each path of the function has its own pattern, colours and entries, and keeps them."""

from __future__ import annotations

import dataclasses
from types import MethodType
from typing import TYPE_CHECKING, Any

import numpy as np

from numbad.errors import BranchError, InputError, message
from numbad.recording import strictness
from numbad.recording.inputs import FLOAT64, as_leaf
from numbad.recording.recorder import current
from numbad.recording.trees import take_apart
from numbad.replay.jit import Jitted
from numbad.replay.signatures import is_recorded, static_key
from numbad.replay.snapshot import Snapshot
from numbad.replay.telling import warn
from numbad.settings import config
from numbad.sparsity.derivatives import call
from numbad.sparsity.matrices import united
from numbad.sparsity.plans import SparsePath, SparsePlan

if TYPE_CHECKING:
    from numbad.sparsity.patterns import Pattern


@dataclasses.dataclass
class Recorded:
    """A path, and how often it has been run."""

    path: SparsePath
    hits: int = 0


class SparseList:
    """The paths of one signature, the one that ran last first.

    Attributes
    ----------
    used : int
        When one of them ran last, on the clock of the jitted function.
    inputs : tuple of int
        The positions of the arguments that vary.
    """

    def __init__(self, inputs: tuple[int, ...]) -> None:
        self.programs: list[Recorded] = []
        self.inputs = inputs
        self.used = 0

    @property
    def bytes(self) -> int:
        """What the paths take, about."""
        return sum(found.path.prepared.bytes() for found in self.programs)


class SparseJitted(Jitted[Any]):
    """A sparse derivative of a function that is recorded once for each signature and path; made by `jit`.

    Attributes
    ----------
    pattern : Pattern
        Of the matrices of the last call.
    path : SparsePath
        That the last call took: its `prepared` says how the entries are computed.
    """

    def __init__(self, plan: SparsePlan, static: tuple[int, ...] = ()) -> None:
        super().__init__(plan.f, static)
        self.sparse = plan
        self.__name__ = getattr(plan.f, "__name__", plan.name)
        self.path: SparsePath | None = None
        self.unlike = False  # whether the user was told that paths have other structures

    @property
    def pattern(self) -> Pattern:
        """The pattern of the last call's matrices; an AttributeError before the first call."""
        if self.path is None:
            raise AttributeError(f"the pattern of {self.title()} is known when it has been called")
        return self.path.shaped

    def __get__(self, instance: Any, owner: Any = None) -> Any:
        """Return the derivative of a method: its positions are counted without the instance."""
        if instance is None:
            return self
        given = self.sparse.argnums
        if 0 in (given if isinstance(given, tuple) else (given,)):
            do = f"say which argument: numbad.jit(numbad.{self.sparse.name}({self.title()}, argnums=1))"
            raise InputError(message(f"{self.title()} is a method, whose argument 0 is the instance", do))
        less = {k: k - 1 if k > 0 else k for k in (given if isinstance(given, tuple) else (given,))}
        numbers = tuple(less[k] for k in given) if isinstance(given, tuple) else less[given]
        kept = instance.__dict__.setdefault(f"_numbad_sparse_{id(self)}", None)
        if kept is None or kept.f.__self__ is not instance:
            plan = dataclasses.replace(self.sparse, f=MethodType(self.sparse.f, instance), argnums=numbers)
            kept = SparseJitted(plan, tuple(k - 1 for k in self.static if k))
            instance.__dict__[f"_numbad_sparse_{id(self)}"] = kept
        return kept

    def __reduce__(self) -> Any:
        return SparseJitted, (self.sparse, self.static)

    def summary(self) -> str:
        """Return what is known of the recorded paths, as text: patterns, how entries are computed, and what it took."""
        from numbad.replay.path_summaries import summarise_sparse

        with self.lock:
            return summarise_sparse([p for paths in self.programs.values() for p in paths.programs], self.title())

    def numbad_map(self, arguments: tuple[Any, ...], axes: list[int | None]) -> None:
        """Return nothing: a batch of sparse matrices is not one, and `vmap` says so by recording."""

    def answer(self, *arguments: Any, **keywords: Any) -> Any:
        """Return the derivative: run a path, or record one."""
        if current() is not None or config._debug_nans or strictness.asked():
            return call(self.sparse, arguments, keywords)
        with self.lock:
            self.drop_outdated()
            given: list[Any] = []
            key, inputs = self.sign(arguments, keywords, given)
            paths: Any = self.programs.get(key)
            if paths is None:
                self.make_room()
                paths = self.programs[key] = SparseList(inputs)  # type: ignore[assignment]
            self.clock += 1
            paths.used = self.clock
            for k, recorded in enumerate(paths.programs):
                found = attempt(recorded.path, given)
                if found is not None:
                    recorded.hits += 1
                    self.path = recorded.path
                    if k:
                        paths.programs.insert(0, paths.programs.pop(k))
                    return found
            if self.is_full(len(paths.programs), lambda: None, paths.bytes if paths.programs else 0):
                return call(self.sparse, arguments, keywords)
            return self.record_sparse(paths, arguments, keywords, given)

    if not TYPE_CHECKING:
        __call__ = answer

    def sign(self, arguments: Any, keywords: Any, given: list[Any]) -> tuple[Any, tuple[int, ...]]:
        """Return the signature of a call, and which arguments vary; append their leaves."""
        parts: list[Any] = []
        inputs: list[int] = []
        for k, argument in enumerate(arguments):
            kind = type(argument)
            if k in self.static:
                parts.append(static_key(argument))
            elif kind is float:
                given.append(argument)
                inputs.append(k)
                parts.append(float)
            elif kind is np.ndarray and argument.dtype == FLOAT64:
                given.append(argument)
                inputs.append(k)
                parts.append((argument.shape, argument.flags.c_contiguous))
            else:
                leaves, tree = take_apart(argument)
                leaves = [as_leaf(leaf) for leaf in leaves]
                if leaves and all(map(is_recorded, leaves)):
                    given += leaves
                    inputs.append(k)
                    kinds = [(np.shape(x), np.asarray(x).dtype.str, np.asarray(x).flags.c_contiguous) for x in leaves]
                    parts.append((tree, *kinds))
                else:
                    parts.append((tree, tuple(map(static_key, leaves))))
        if keywords:
            parts += [(name, static_key(keywords[name])) for name in sorted(keywords)]
        return tuple(parts), tuple(inputs)

    def record_sparse(self, paths: SparseList, arguments: Any, keywords: Any, given: list[Any]) -> Any:
        """Record the path of a call, and return its derivative."""
        inputs = tuple(sorted({*paths.inputs, *self.sparse.places(len(arguments))}))  # the latter may be refused
        path = SparsePath(self.sparse, arguments, inputs, keywords)
        self.snapshot = Snapshot(self.f)
        self.compare(paths, path)
        paths.programs.insert(0, Recorded(path, 1))
        self.make_lighter()
        self.path = path
        return path.compute(given)

    def compare(self, paths: SparseList, path: SparsePath) -> None:
        """Give all paths one structure where that is asked for; else say once that another path has another one."""
        if not paths.programs or self.sparse.pattern is not None:
            return
        other = paths.programs[0].path.shaped
        if np.array_equal(path.shaped.indptr, other.indptr) and np.array_equal(path.shaped.indices, other.indices):
            return
        union = self.sparse.structure == "union"
        if union:
            wider = united(other, path.shaped)
            changed = wider.entries != other.entries
            for each in [path, *(found.path for found in paths.programs)]:
                each.shape_as(wider)
        if (not union or changed) and not self.unlike:
            self.unlike = True
            became = f"{other.entries} entries before, {path.shaped.entries} now"
            do = 'ask for structure="union", which keeps what was met before, or give a pattern'
            if union:
                do = "give a pattern that holds the entries of all paths, if a solver wants one from the start"
            warn(
                message(
                    f"{self.title()} takes another path, on which its derivative has another structure ({became})",
                    do,
                    where=False,
                )
            )


def attempt(path: SparsePath, given: list[Any]) -> Any:
    """Return the derivative at a point, None where it takes another path."""
    try:
        return path.compute(given)
    except BranchError:
        return None
