"""jit: record a function once for each signature and path, and run its tape from then on."""

from __future__ import annotations

import functools
import re
import sys
import threading
from collections.abc import Callable
from types import MethodType
from typing import TYPE_CHECKING, Any, Generic, TypeVar, overload

import numpy as np

from numbad.errors import (
    NumbadError,
    attribute,
    check_function,
    describe_site,
    message,
    name_of,
    noted_on,
    read_line,
    wraps,
)
from numbad.kernels.threads import renew_in_children
from numbad.recording import strictness
from numbad.recording.active import Active
from numbad.recording.arrays import Array
from numbad.recording.hostcalls import alone
from numbad.recording.inputs import FLOAT64
from numbad.recording.outputs import concrete, plain
from numbad.recording.recorder import Recorder, current
from numbad.recording.scalars import Scalar
from numbad.recording.trees import flatten
from numbad.replay.paths import KnownPaths, Paths
from numbad.replay.program import Program
from numbad.replay.signatures import (
    Form,
    fits,
    fits_flat,
    form_of,
    is_followed,
    leaves_key,
    static_key,
    static_positions,
)
from numbad.replay.snapshot import JITTED, Snapshot
from numbad.replay.telling import warn
from numbad.settings import config

if TYPE_CHECKING:
    from numbad.recording.prologue import Prologue
    from numbad.types import Argnums

F = TypeVar("F", bound=Callable[..., Any])
DOUBLE_OR_SINGLE = {np.dtype(np.float64).num, np.dtype(np.float32).num}
MOST_PATHS = 64  # tapes kept for one signature
PATIENCE = 0.5  # seconds: a thread that waits longer for another calls the function; the other may wait for it
MOST_SIGNATURES = 256  # kept for one function
MOST_BYTES = 1 << 28  # of the tapes of one function, with the memory of their runs


@overload
def jit(f: F, *, static_argnums: Argnums = (), static_argnames: str | tuple[str, ...] = ()) -> Jitted[F]: ...
@overload
def jit(
    f: None = None, *, static_argnums: Argnums = (), static_argnames: str | tuple[str, ...] = ()
) -> Callable[[F], Jitted[F]]: ...
def jit(f: Any = None, *, static_argnums: Any = (), static_argnames: Any = ()) -> Any:
    """Return `f` so that it is recorded once for each signature and path, and its tape replayed.

    Parameters
    ----------
    f : callable, optional
        A function of floats, ndarrays of float64 or float32, of integers or truth values, or trees of them; other
        leaves (Python's ints, text, ...) are static. Without it, `jit(static_argnums=1)` is a decorator.
    static_argnums : int or tuple of int
        Positional arguments that are passed as they are; a tape is recorded for each value. Negative ones count
        from the end.
    static_argnames : str or tuple of str
        The same by name, however they are passed; what is passed by keyword is static in any case.

    Returns
    -------
    Jitted
        Call it as `f`: it returns the structure, shapes and dtypes that `f` does, in new memory. `paths` counts the
        tapes, `hits` lists how often each has run, `summary()` says how, `cache_clear()` drops them. Without `f`, a
        decorator.

    Raises
    ------
    TypeError
        When `f` cannot be called.
    InputError
        When the function has no argument of a position or name that is to be static; at a call, for float16 and
        other floating dtypes than float64 and float32.
    RecordingError
        At a call, when `f` does something that cannot be recorded, as `math.sin(x)`.

    Warns
    -----
    UserWarning
        When the function changes an argument or something that it takes from outside; when it has been called with
        more than 256 signatures, or their tapes take more than 256 MB: the one used least recently is dropped then; and
        when one signature has 64 paths, or paths of so many bytes: calls that take another run the function then, and
        are not replayed.

    Notes
    -----
    The first call of a signature runs `f` once and records it; later calls sweep the tape forward and do not run `f`.
    Each path keeps its tape and the memory of one run.

    Arrays of integers and truth values, labels and indices and masks, may be others at each call. What is computed from
    them alone, NumPy computes anew, `plain_table[k]` and `np.asarray(k)` included (the first call runs the function
    twice then); where the function makes plain values of them (`int(k[0])`, `range(k[0])`), or their contents decide a
    shape (`x[mask]`), other values make another path. A function that writes to them is recorded for each of their
    values.

    A signature is the structure of the arguments with the shapes and dtypes of their leaves. Where a comparison
    comes out otherwise than when it was recorded, that path is recorded too, and both are kept. What the function
    takes from closures, globals and the object that it is a method of is compared at each call, with the members of
    lists and dicts, the attributes of objects, classes and the user's modules, and the elements of arrays; a change
    records anew, and so does each call that takes iterators, or more than 131,072 members, from outside. Of arrays of
    more than four million elements some 4,000 are compared, so write to them as a whole, or pass them as arguments.
    What changes in another way (static objects, files, random numbers, the settings of NumPy and of Python's own
    library, what installed packages keep) is frozen. Side effects happen when a path is recorded, and what the function
    changes of its arguments stays inside of it. Results share memory with nothing.

    Paths share their first rows up to the guard that tells them apart, and a call that leaves one of them there goes on
    with another: it costs about as much as one path, whichever it takes. Tapes of scalar rows are optimised
    (`numbad.passes`), so derivatives may differ from those of the function alone in the last bits. Threads may call it
    at once and take turns; a forked process has the tapes of its parent. Inside another recording, or within another
    transform, the rows of the path that the values take now are copied, with its guards. There the function itself
    is called where it cannot be recorded by itself: it uses recording values from a closure, or calls itself.

    Examples
    --------
    >>> import numbad
    >>> slope = numbad.jit(numbad.grad(lambda x: x**3 if x > 0 else -x))
    >>> slope(2.0), slope(-1.0), slope(3.0), slope.paths
    (12.0, -1.0, 27.0, 2)
    """
    if f is None:
        return functools.partial(jit, static_argnums=static_argnums, static_argnames=static_argnames)
    check_function(f, "jit")
    static, sparse = static_positions(f, static_argnums, static_argnames), noted_on(f, "numbad_sparse")
    if sparse is not None:
        from numbad.replay.sparse_paths import SparseJitted

        return SparseJitted(sparse, static)
    return Jitted(f, static)


CURES = (  # what a line says, and what does not branch
    (r"(?<![\w.])max\(", "write np.maximum(a, b) instead of max(a, b)"),
    (r"(?<![\w.])min\(", "write np.minimum(a, b) instead of min(a, b)"),
    (r"(?<![\w.])sorted\(", "write np.sort(x) instead of sorted(x)"),
    (r"^while\b", "repeat a fixed number of times, and select with np.where what goes on"),
    (r"\brange\(", "keep the number of repetitions the same, and select with np.where what goes on"),
    (r"(argsort|argmax|argmin|unique|nonzero)\(", "leave decisions about order and places out of the function"),
)


def cure_of(site: Any) -> str:
    """Return what to write instead of a statement that branches."""
    text = "" if site is None else read_line(site).source
    cure = next((cure for pattern, cure in CURES if re.search(pattern, text)), "choose with np.where instead of if")
    return f"{cure}; or call the function without numbad.jit"


class Jitted(Generic[F]):
    """A function that is recorded once and replayed; made by `jit`.

    Attributes
    ----------
    paths : int
        Number of tapes that are kept.
    hits : list of int
        How often each tape has been run, in the order in which they are tried.
    """

    name: str | None = None  # under which a class has it as a method

    def __init__(self, f: F, static: tuple[int, ...] = ()) -> None:
        wraps(f)(self)
        self.__module__ = attribute(f, "__module__", __name__)
        self.f = self.numbad_inner = f
        self.static = static
        self.plan = None if self.static else noted_on(f, "numbad_plan")
        self.numbad_like = noted_on(f, "numbad_like")  # the arguments whose dtypes the results have
        self.programs: dict[Any, Paths] = {}
        self.point_tapes: dict[Any, list[Any]] = {}  # of jitted functions under vmap
        self.snapshot: Snapshot | None = None
        self.last: tuple[Form, Paths] | None = None  # the form of the last arguments, and the paths for it
        self.clock = 0
        self.warned = self.told = self.anew = self.overflowed = False
        self.prologue: Prologue | None = None  # of the last recording
        self.copies = True  # see `Prologue`
        self.asked: set[Any] = set()  # see there
        self.unfollowed: set[Any] = set()  # signatures of whose integers more is done than can be followed
        self.said: set[str] = set()  # what it does to its arguments, as far as the user was warned of it
        self.lock = threading.RLock()
        self.busy = False  # a path is being recorded
        self.refused: set[Any] = set()  # signatures that cannot be recorded by themselves
        renew_in_children(self)

    @functools.cached_property
    def spliced(self) -> Jitted[F]:
        """What is copied into other recordings: a gradient as its rows, where a call runs two sweeps."""
        return self if self.plan is None else type(self)(self.f, self.static).without_plan()

    def without_plan(self) -> Jitted[F]:
        """Forget that the function is a gradient, so that its rows are recorded."""
        self.plan = None
        return self

    @property
    def paths(self) -> int:
        """Number of tapes that are kept."""
        return sum(len(found.programs) for found in self.programs.values()) + sum(map(len, self.point_tapes.values()))

    @property
    def hits(self) -> list[int]:
        """How often each tape has been run, in the order in which they are tried."""
        counts = [program.hits for found in self.programs.values() for program in found.programs]
        return counts + [tape.hits for found in self.point_tapes.values() for tape in found]

    def summary(self) -> str:
        """Return what is known of the recorded paths, as text: rows, runs, bytes, and how they are run.

        Returns
        -------
        str
            A few lines for each path: whether it is interpreted, or machine code; then which loops were found, what
            compiling has cost, and what a run takes by either.

        Notes
        -----
        Paths of machine code are run a few times to be timed, with the arguments of their last call.

        Examples
        --------
        >>> import numbad
        >>> f = numbad.jit(lambda x: x * x)
        >>> f(3.0)
        9.0
        >>> print(f.summary())  # doctest: +ELLIPSIS
        <lambda>: 1 recorded path
          1 rows, 1 runs, ... bytes
            interpreted; compiled after ... runs
        """
        from numbad.replay.path_summaries import summarise

        with self.lock:
            return summarise([p for paths in self.programs.values() for p in paths.programs], self.title())

    def cache_clear(self) -> None:
        """Drop all tapes.

        Examples
        --------
        >>> import numbad
        >>> f = numbad.jit(lambda x: x * x)
        >>> f(3.0), f.paths
        (9.0, 1)
        >>> f.cache_clear()
        >>> f.paths
        0
        """
        with self.lock:
            self.forget()
            self.__dict__.pop("spliced", None)

    def forget(self) -> None:
        """Drop what was recorded."""
        self.programs, self.point_tapes = {}, {}
        self.refused, self.unfollowed = set(), set()
        self.last = None
        self.snapshot = None

    def __get__(self, instance: Any, owner: Any = None) -> Any:
        """Return the jitted method of an instance; each instance has tapes of its own."""
        if instance is None:
            return self
        name = f"{JITTED}{id(self)}"
        kept = getattr(instance, "__dict__", None)
        if kept is None:
            raise NumbadError(
                message(
                    f"a {type(instance).__name__} has __slots__ and no __dict__, where numbad.jit keeps the tapes of "
                    f"{self.title()} for each instance",
                    'add "__dict__" to its __slots__',
                )
            )
        bound = kept.get(name)
        # a copy of an instance has the attributes of the original
        if bound is None or bound.f.__self__ is not instance or bound.f.__func__ is not self.f:
            static = tuple(k - 1 for k in self.static if k)
            bound = kept[name] = Jitted(MethodType(self.f, instance), static)
            bound.name = self.name
        return bound

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    def __copy__(self) -> Jitted[F]:
        return self

    def __deepcopy__(self, memo: Any) -> Jitted[F]:
        return self

    def __reduce__(self) -> Any:
        """Pickle a function by its name, as Python does, and a method as that of its instance; tapes stay behind."""
        if self.name is not None and isinstance(self.f, MethodType):
            return getattr, (self.f.__self__, self.name)
        place: Any = sys.modules.get(self.__module__)
        name = attribute(self.f, "__qualname__", "")
        for part in name.split("."):
            place = getattr(place, part, None)
        return name if place is self else (Jitted, (self.f, self.static))

    def numbad_map(self, arguments: tuple[Any, ...], axes: list[int | None]) -> tuple[list[Any], Any] | None:
        """Return a batch's results and their structure, as `vmap` asks; None where the batch is to be recorded."""
        from numbad.replay.batches import map_jitted

        return map_jitted(self, arguments, axes)

    def answer(self, *arguments: Any, **keywords: Any) -> Any:
        """Return what the function would: run a tape, or record one."""
        recorder = current()
        if recorder is not None:
            return self.spliced.call_inside(recorder, arguments, keywords)
        if config._debug_nans:
            return self.run_checked(arguments, keywords)
        if keywords and self.plan is not None and not self.plan.is_of(keywords):
            return self.spliced.answer(*arguments, **keywords)
        with self.lock:
            snapshot = self.snapshot
            if snapshot is not None and snapshot.changed():
                self.forget()
            values: Any = arguments
            last = self.last
            if last is None or keywords or strictness.strict or not fits_flat(arguments, last[0]):
                values, paths = self.find_paths(arguments, keywords)
            else:
                paths = last[1]
                paths.used = self.clock = self.clock + 1
            program = paths.run(values)
            if program is None:
                return self.record_path(arguments, keywords, paths, values)
            return program.result()

    if TYPE_CHECKING:  # a method could not have the signature of another function

        @property
        def __call__(self) -> F: ...

    else:
        __call__ = answer

    def find_paths(self, arguments: tuple[Any, ...], keywords: Any) -> tuple[Any, Paths]:
        """Return what `look_up` does, by the shortest way."""
        kinds = tuple(map(type, arguments))
        paths = self.programs.get(kinds) if not (keywords or strictness.strict) else None
        if paths is not None:
            paths.used = self.clock = self.clock + 1
            return arguments, paths
        found = None if keywords else self.look_up_last(arguments)
        return self.look_up(arguments, keywords, kinds) if found is None else found

    def look_up_last(self, arguments: tuple[Any, ...]) -> tuple[list[Any], Paths] | None:
        """Return what `look_up` does, if the arguments are of the form of those of the last call."""
        if self.last is None or strictness.strict:
            return None
        form, paths = self.last
        values: list[Any] = []
        if not fits(arguments, form, values):
            return None
        self.clock += 1
        paths.used = self.clock
        return values, paths

    def look_up(self, arguments: Any, keywords: Any, kinds: Any) -> tuple[list[Any], Paths]:
        """Return the differentiable leaves of a call, and the tapes for its signature."""
        if not keywords and not self.static and kinds.count(float) == len(kinds):
            values, key = list(arguments), kinds
        else:
            values, key = self.signature(arguments, keywords, not strictness.asked())
            if key in self.unfollowed:
                values, key = self.signature(arguments, keywords)
        asked = strictness.asked()  # a path that was recorded without does not look for errors
        paths = self.paths_of((key, asked) if asked else key, values)
        if not (keywords or self.static or asked or self.unfollowed):
            form = form_of(arguments)
            self.last = None if form is None else (form, paths)
        return values, paths

    def paths_of(self, key: Any, values: list[Any]) -> Paths:
        """Return the recorded paths of a signature."""
        found = self.programs.get(key)
        if found is None:
            self.make_room()
            found = self.programs[key] = KnownPaths() if any(map(is_followed, values)) else Paths()
            found.key = key
        self.clock += 1
        found.used = self.clock
        return found

    # ------------------------------------------------------------ inside a recording

    def call_inside(self, recorder: Recorder, arguments: Any, keywords: Any) -> Any:
        """Copy the rows of the path that the arguments take into the running recording; return its results there."""
        told = config._debug_nans or strictness.asked()  # rows that are copied are not looked at one by one
        if not self.busy and not told and self.lock.acquire(timeout=PATIENCE):
            try:
                found = self.match(recorder, arguments, keywords)
                if found is not None:
                    program, values = found
                    return program.splice(recorder, values)
            finally:
                self.lock.release()
        return self.f(*arguments, **keywords)

    def match(self, recorder: Recorder, arguments: Any, keywords: Any) -> tuple[Program, list[Any]] | None:
        """Return the program of a call inside a recording and its leaves; None where the function has to be called."""
        if self.snapshot is None or self.snapshot.changed():
            self.forget()
            self.look_around()
        assert self.snapshot is not None
        if self.snapshot.recording:
            return None
        values, key = self.signature_inside(recorder, arguments, keywords)
        if key is None or key in self.refused or not any(isinstance(value, Active) for value in values):
            return None
        paths = self.paths_of(key, [])
        program = paths.programs[0] if paths.programs else None
        if program is not None and program.rows.guarded:
            program = paths.run([plain(value) if isinstance(value, Active) else value for value in values])
        if program is None and len(paths.programs) < MOST_PATHS:
            program = self.record_inside(arguments, keywords, paths, key)
        return (program, values) if program is not None and program.fits(recorder) else None

    def signature_inside(self, recorder: Recorder, arguments: Any, keywords: Any) -> tuple[list[Any], Any]:
        """Return the leaves of a call with recording values and its signature, None if one of them would be static."""
        if not keywords and not self.static and recorder.dtype == FLOAT64:
            if all(type(argument) is Scalar or type(argument) is float for argument in arguments):
                return list(arguments), (float,) * len(arguments)
        static = [arguments[k] for k in self.static if k < len(arguments)]
        if any(isinstance(leaf, Active) for leaf in flatten((static, keywords))[0]):
            return [], None
        leaves, rebuild = flatten(tuple(arguments))  # arrays of objects become recording arrays
        if any(isinstance(leaf, Active) and leaf.boolean for leaf in leaves):
            return [], None
        return self.signature(rebuild(leaves), keywords)

    def record_inside(self, arguments: Any, keywords: Any, paths: Paths, key: Any) -> Program | None:
        """Record the path of a call inside a recording by itself; return None where that is not possible."""
        self.busy = True
        try:
            with alone():
                program = Program(self, concrete(tuple(arguments)), keywords)
        except NumbadError:
            self.refused.add(key)
            return None
        except Exception:  # of the user's: the function is called, and raises it where it belongs
            return None
        finally:
            self.busy = False
        self.look_around()
        assert self.snapshot is not None
        if self.snapshot.recording:
            self.refused.add(key)
            return None
        paths.add(program)
        return program

    # ------------------------------------------------------------ recording

    def run_checked(self, arguments: Any, keywords: Any) -> Any:
        """Record the call anew, with the line of each row, and run it by sweeps that look for NaNs."""
        program = Program(self, arguments, keywords)
        program.attempt(self.signature(arguments, keywords)[0])
        return program.result()

    def make_room(self) -> None:
        """Drop the signature that was used least recently, if there are too many."""
        if len(self.programs) >= MOST_SIGNATURES:
            self.drop_oldest(f"{MOST_SIGNATURES} different signatures")

    def make_lighter(self) -> None:
        """Drop signatures, but for the one that is used now, until the tapes take no more memory than they may."""
        while len(self.programs) > 1 and sum(paths.bytes for paths in self.programs.values()) > MOST_BYTES:
            count = len(self.programs)
            self.drop_oldest(f"{count} different signatures, whose tapes take more than {MOST_BYTES >> 20} MB")

    def drop_oldest(self, what: str) -> None:
        """Drop the signature that was used least recently; say so once."""
        if not self.warned:
            self.warned = True
            warn(
                message(
                    f"{self.title()} has been called with {what}: shapes, dtypes, "
                    "or values of static arguments; from now on the tapes of the one used least recently are dropped",
                    "pass numbers that vary as floats, pad arrays to a few lengths, or call it without numbad.jit",
                ),
            )
        del self.programs[min(self.programs, key=lambda key: self.programs[key].used)]
        self.last = None

    def warn_assigned(self, what: str) -> None:
        """Warn once of a function that changes what it was given."""
        if what in self.said:
            return
        self.said.add(what)
        warn(
            message(
                f"{self.title()} {what} that it was given; under numbad.jit the caller's stays as it is",
                "work on a copy (x = x.copy()), and return it if the caller needs it",
                where=False,
            ),
        )

    def title(self) -> str:
        """Return the name of the function."""
        return name_of(self.f)

    def signature(self, arguments: Any, keywords: Any, known: bool = False) -> tuple[list[Any], Any]:
        """Return the leaves of a call that vary, and what makes it one that a tape can run (see `leaves_key`)."""
        parts: list[Any] = []
        values: list[Any] = []
        for k, argument in enumerate(arguments):
            if k in self.static:
                parts.append(static_key(argument))
            elif type(argument) is np.ndarray and argument.dtype.num in DOUBLE_OR_SINGLE:
                values.append(argument)
                parts.append((argument.shape, argument.dtype.num, argument.flags.c_contiguous))
            elif type(argument) is Array:
                values.append(argument)
                parts.append((argument.shape, argument.dtype.num, True))
            else:
                parts.append(leaves_key(argument, values, known))
        for name in sorted(keywords):
            parts.append((name, static_key(keywords[name])))
        return values, tuple(parts)

    def record_path(self, arguments: Any, keywords: Any, paths: Paths, values: Any) -> Any:
        """Return what the function does on a path that has not been recorded: record it."""
        if self.is_full(len(paths.programs), paths.missed_site, paths.bytes):
            return self.f(*arguments, **keywords)
        if isinstance(paths, KnownPaths):
            program = self.try_known(arguments, keywords, paths)
            if program is None:
                return self.record_unfollowed(arguments, keywords, paths.key)
        else:
            program = self.record(arguments, keywords, paths)
        program.attempt(values)
        return program.result()

    def try_known(self, arguments: Any, keywords: Any, paths: Paths) -> Program | None:
        """Record a path on which integers vary; None where more is done with them than is followed.

        What the function raises may be its own: it runs once more with the integers as they are, and raises it again.
        """
        try:
            return self.record(arguments, keywords, paths)
        except Exception:
            if not (self.copies and self.prologue is not None and self.prologue.copied):
                return None
        self.copies = False  # a row at a place that varies was assigned to: rows are views from now on, and guarded
        return self.try_known(arguments, keywords, paths)

    def record_unfollowed(self, arguments: Any, keywords: Any, known: Any) -> Any:
        """Return what the function does with integers as they are; these are static from now on."""
        values, key = self.signature(arguments, keywords)
        paths = self.paths_of(key, [])
        program = paths.run(values)
        if program is None:
            if self.is_full(len(paths.programs), paths.missed_site, paths.bytes):
                return self.f(*arguments, **keywords)
            program = self.record(arguments, keywords, paths)
        self.unfollowed.add(known)
        program.attempt(values)
        return program.result()

    def record(self, arguments: Any, keywords: Any, paths: Paths) -> Program:
        """Record the path of this call and keep it."""
        before = Snapshot(self.f)
        self.busy = True
        try:
            program = Program(self, arguments, keywords, isinstance(paths, KnownPaths))
        finally:
            self.busy = False
        change = before.describe_change()
        if change and not self.told:
            self.told = True
            warn(
                message(
                    f"{self.title()} changes {change} while it runs; under numbad.jit that happens when a path is "
                    "recorded, not at each call",
                    "return what changes, or call it without numbad.jit",
                    where=False,
                ),
            )
        self.look_around()
        paths.add(program)
        self.make_lighter()
        return program

    def look_around(self) -> None:
        """Note what the function takes from outside; after a recording, whose own side effects are not a change."""
        self.snapshot = Snapshot(self.f)
        if self.snapshot.unbounded and not self.anew:
            self.anew = True
            warn(
                message(
                    f"{self.title()} takes {self.snapshot.unbounded} from outside, which cannot be compared: each call "
                    "is recorded anew",
                    "pass it as an argument, or as an array; or call the function without numbad.jit",
                    where=False,
                ),
            )

    def tapes_of(self, key: Any) -> list[Any]:
        """Return the tapes for many points that are kept for a signature, none of them out of date."""
        self.drop_outdated()
        return self.point_tapes.setdefault(key, [])

    def drop_outdated(self) -> None:
        """Drop all tapes if something that the function takes from outside has changed."""
        if self.snapshot is not None and self.snapshot.changed():
            self.forget()

    def is_full(self, count: int, site: Callable[[], Any], kept: int = 0) -> bool:
        """Whether there are too many paths to record another; the first time, warn.

        `site` finds the branch, and `kept` bytes are what they take.
        """
        if count < MOST_PATHS and kept <= MOST_BYTES:
            return False
        if not self.overflowed:
            self.overflowed = True
            branch = site()
            warn(
                message(
                    f"{self.title()} has taken {count} different paths for arguments of one shape; from now on "
                    f"calls that take another are not replayed, but run the function\n  at {describe_site(branch)}",
                    cure_of(branch),
                    where=False,
                ),
            )
        return True
