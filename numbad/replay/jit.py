"""jit: record a function once for each signature and path, and run its tape from then on."""

from __future__ import annotations

import functools
import inspect
import sys
import threading
import warnings
from collections.abc import Callable
from types import MethodType
from typing import TYPE_CHECKING, Any, Generic, TypeVar, overload

import numpy as np

from numbad.errors import (
    InputError,
    NumbadError,
    attribute,
    check_function,
    describe_site,
    message,
    name_of,
    noted_on,
    wraps,
)
from numbad.kernels.memory import give_back, handed_out
from numbad.kernels.threads import renew_in_children
from numbad.limits import WORTH_COPYING
from numbad.recording import strictness
from numbad.recording.active import Active
from numbad.recording.arrays import Array
from numbad.recording.hostcalls import alone
from numbad.recording.inputs import FLOAT64, as_leaf, check_leaf, check_meaning, input_dtype, note_inputs, record_leaves
from numbad.recording.outputs import concrete, is_narrow, is_slope, narrowed, plain, scalar_output
from numbad.recording.recorder import Recorder, current
from numbad.recording.scalars import Scalar
from numbad.recording.trees import first, flatten, take_apart
from numbad.replay.hoisting import Ranges, Spared, compute, find_spared, without_rows, written
from numbad.replay.output_copies import ArrayResult, runs_of
from numbad.replay.paths import Paths, common_rows, last_address
from numbad.replay.snapshot import JITTED, Snapshot
from numbad.settings import config
from numbad.sweeps.execution import Execution
from numbad.tape.layout import ADD, GUARD, GUARD_VALUE, HOST, row_elements, space_of
from numbad.tape.rows import Rows
from numbad.tapes.freezing import freeze

if TYPE_CHECKING:
    from numbad.emission.splicing import Splice
    from numbad.types import Argnums

F = TypeVar("F", bound=Callable[..., Any])
DOUBLE_OR_SINGLE = {np.dtype(np.float64).num, np.dtype(np.float32).num}
MOST_PATHS = 64  # tapes kept for one signature
PATIENCE = 0.5  # seconds: a thread that waits longer for another calls the function; the other may wait for it
MOST_SIGNATURES = 256  # kept for one function


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
        A function of floats, ndarrays of float64 or float32, or trees of them; other leaves (ints, text, ...) are
        static. Without it, `jit(static_argnums=1)` is a decorator.
    static_argnums : int or tuple of int
        Positional arguments that are passed as they are; a tape is recorded for each value. Negative ones count
        from the end.
    static_argnames : str or tuple of str
        The same by name, however they are passed; what is passed by keyword is static in any case.

    Returns
    -------
    Jitted
        Call it as `f`: it returns the structure, shapes and dtypes that `f` does, in new memory. `paths` counts the
        tapes, `hits` lists how often each has run, `cache_clear()` drops them. Without `f`, a decorator.

    Raises
    ------
    TypeError
        When `f` cannot be called.
    InputError
        When the function has no argument of a position or name that is to be static; at a call, for float16 and
        other floating dtypes than float64 and float32.
    NumbadError
        At a call, when one signature has more than 64 paths.
    RecordingError
        At a call, when `f` does something that cannot be recorded, as `math.sin(x)`.

    Warns
    -----
    UserWarning
        When the function changes an argument or something that it takes from outside, and when it has been
        called with more than 256 signatures: the one used least recently is dropped then.

    Notes
    -----
    The first call of a signature runs `f` once and records it; later calls sweep the tape forward and do not run `f`.
    Each path keeps its tape and the memory of one run.

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
    return Jitted(f, static_positions(f, static_argnums, static_argnames))


def static_positions(f: Any, argnums: Any, argnames: Any) -> tuple[int, ...]:
    """Return the positions of the static arguments of a function, given by number or by name."""
    numbers = (argnums,) if isinstance(argnums, int) else tuple(argnums)
    names = (argnames,) if isinstance(argnames, str) else tuple(argnames)
    if not numbers and not names:
        return ()
    try:
        parameters = inspect.signature(f).parameters.values()
    except Exception:  # of some compiled functions, and objects that answer no questions
        return numbers
    kinds = {parameter.kind for parameter in parameters}
    positional = [p.name for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    count = len(positional)
    open_ended = inspect.Parameter.VAR_POSITIONAL in kinds
    by_keyword = {p.name for p in parameters if p.kind is p.KEYWORD_ONLY}
    for number in numbers:
        if not -count <= number < count and not (open_ended and number >= 0):
            refuse_static(f, f"static_argnums={number}", f"{count} positional arguments")
    for name in names:
        if name not in positional and name not in by_keyword and inspect.Parameter.VAR_KEYWORD not in kinds:
            refuse_static(
                f, f"static_argnames={name!r}", f"the arguments {', '.join((*positional, *sorted(by_keyword)))}"
            )
    found = {number if number >= 0 else number + count for number in numbers}
    return tuple(sorted(found | {positional.index(name) for name in names if name in positional}))


def refuse_static(f: Any, what: str, there_are: str) -> None:
    """Raise an InputError for a static argument that a function does not have."""
    name = name_of(f)
    raise InputError(message(f"{what} is no argument of {name}, which has {there_are}", "name one of those"))


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
        self.clock = 0
        self.warned = self.told = self.anew = False
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
        self.refused = set()
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
        with self.lock:
            self.drop_outdated()
            kinds = tuple(map(type, arguments))
            paths = self.programs.get(kinds) if not (keywords or strictness.strict) else None
            if paths is not None:
                values: Any = arguments
                self.clock += 1
                paths.used = self.clock
            else:
                values, paths = self.look_up(arguments, keywords, kinds)
            program = paths.run(values)
            if program is None:
                program = self.record(arguments, keywords, paths)
                program.attempt(values)
            return program.result()

    if TYPE_CHECKING:  # a method could not have the signature of another function

        @property
        def __call__(self) -> F: ...

    else:
        __call__ = answer

    def look_up(self, arguments: Any, keywords: Any, kinds: Any) -> tuple[list[Any], Paths]:
        """Return the differentiable leaves of a call, and the tapes for its signature."""
        if not keywords and not self.static and kinds.count(float) == len(kinds):
            values, key = list(arguments), kinds
        else:
            values, key = self.signature(arguments, keywords)
        asked = strictness.asked()  # a path that was recorded without does not look for errors
        return values, self.paths_of((key, asked) if asked else key)

    def paths_of(self, key: Any) -> Paths:
        """Return the recorded paths of a signature."""
        found = self.programs.get(key)
        if found is None:
            self.make_room()
            found = self.programs[key] = Paths()
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
        paths = self.paths_of(key)
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
        """Drop the signature that was used least recently, if there are too many; say so once."""
        if len(self.programs) < MOST_SIGNATURES:
            return
        if not self.warned:
            self.warned = True
            warnings.warn(
                message(
                    f"{self.title()} has been called with {MOST_SIGNATURES} different signatures: shapes, dtypes, "
                    "or values of static arguments; from now on the tapes of the one used least recently are dropped",
                    "pass numbers that vary as floats, pad arrays to a few lengths, or call it without numbad.jit",
                ),
                stacklevel=4,
            )
        del self.programs[min(self.programs, key=lambda key: self.programs[key].used)]

    def warn_assigned(self, what: str) -> None:
        """Warn once of a function that changes what it was given."""
        if what in self.said:
            return
        self.said.add(what)
        warnings.warn(
            message(
                f"{self.title()} {what} that it was given; under numbad.jit the caller's stays as it is",
                "work on a copy (x = x.copy()), and return it if the caller needs it",
                where=False,
            ),
            stacklevel=5,
        )

    def title(self) -> str:
        """Return the name of the function."""
        return name_of(self.f)

    def signature(self, arguments: Any, keywords: Any) -> tuple[list[Any], Any]:
        """Return the recorded leaves of a call, and what makes it one that a tape can run."""
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
                parts.append(leaves_key(argument, values))
        for name in sorted(keywords):
            parts.append((name, static_key(keywords[name])))
        return values, tuple(parts)

    def record(self, arguments: Any, keywords: Any, paths: Paths) -> Program:
        """Record the path of this call and keep it."""
        self.check_paths(len(paths.programs), paths.missed_site)
        before = Snapshot(self.f)
        self.busy = True
        try:
            program = Program(self, arguments, keywords)
        finally:
            self.busy = False
        change = before.describe_change()
        if change and not self.told:
            self.told = True
            warnings.warn(
                message(
                    f"{self.title()} changes {change} while it runs; under numbad.jit that happens when a path is "
                    "recorded, not at each call",
                    "return what changes, or call it without numbad.jit",
                    where=False,
                ),
                stacklevel=3,
            )
        self.look_around()
        paths.add(program)
        return program

    def look_around(self) -> None:
        """Note what the function takes from outside; after a recording, whose own side effects are not a change."""
        self.snapshot = Snapshot(self.f)
        if self.snapshot.unbounded and not self.anew:
            self.anew = True
            warnings.warn(
                message(
                    f"{self.title()} takes {self.snapshot.unbounded} from outside, which cannot be compared: each call "
                    "is recorded anew",
                    "pass it as an argument, or as an array; or call the function without numbad.jit",
                    where=False,
                ),
                stacklevel=4,
            )

    def tapes_of(self, key: Any) -> list[Any]:
        """Return the tapes for many points that are kept for a signature, none of them out of date."""
        self.drop_outdated()
        return self.point_tapes.setdefault(key, [])

    def drop_outdated(self) -> None:
        """Drop all tapes if something that the function takes from outside has changed."""
        if self.snapshot is not None and self.snapshot.changed():
            self.forget()

    def check_paths(self, count: int, site: Callable[[], Any]) -> None:
        """Raise a NumbadError if there are too many paths to record another; `site` finds the branch."""
        if count >= MOST_PATHS:
            raise NumbadError(
                message(
                    f"{self.title()} has taken {MOST_PATHS} different paths for "
                    "arguments of one shape; a branch on each element makes one for each combination\n"
                    f"  at {describe_site(site())}",
                    "choose with np.where instead of if, or call it without numbad.jit",
                    where=False,
                )
            ) from None


def leaves_key(argument: Any, values: list[Any]) -> Any:
    """Append the recorded leaves of an argument to `values`; return its part of the signature."""
    if isinstance(argument, (float, int, np.ndarray, np.generic)):
        leaves, tree = [argument], None
    else:
        leaves, tree = take_apart(argument)
    parts = []
    for leaf in leaves:
        leaf = as_leaf(leaf)
        if isinstance(leaf, Active):
            values.append(leaf)
            number = isinstance(leaf, Scalar)
            kind = -1 if number and leaf.dtype == FLOAT64 else leaf.dtype.num
            parts.append((leaf.shape, kind, not number, True))
        elif is_recorded(leaf):
            check_meaning(leaf)
            values.append(leaf)
            kind = leaf.dtype.num if isinstance(leaf, (np.ndarray, np.generic)) else -1
            contiguous = leaf.flags.c_contiguous if isinstance(leaf, np.ndarray) else True
            parts.append((np.shape(leaf), kind, type(leaf) is np.ndarray, contiguous))
        else:
            parts.append(static_key(leaf))
    return tree, tuple(parts)


def is_recorded(leaf: Any) -> bool:
    """Whether a leaf varies from call to call: floats and arrays of floats do."""
    if isinstance(leaf, (np.ndarray, np.generic)):
        return leaf.dtype.kind == "f"
    return isinstance(leaf, float)


def static_key(value: Any) -> Any:
    """Return something hashable that tells static values apart."""
    if isinstance(value, float):
        return type(value), float(value).hex()
    if isinstance(value, np.ndarray):
        return value.shape, value.dtype.str, value.tobytes()
    if isinstance(value, (list, tuple, dict)):
        leaves, tree = take_apart(value)
        return tree, tuple([static_key(leaf) for leaf in leaves])
    try:
        hash(value)
    except TypeError:
        return type(value), repr(value)
    return type(value), value


def is_assigned(leaf: Any) -> bool:
    """Whether the function assigned to an array that it was given."""
    if not isinstance(leaf.active, Array):
        return False
    storage = leaf.active.storage
    places = copies_of(leaf.active.recorder, leaf) if leaf.space else [leaf.address]
    if storage.addresses is None:
        return (storage.space, storage.address) not in ((leaf.space, leaf.address), *((0, place) for place in places))
    return not any(np.array_equal(storage.addresses.reshape(-1), place + np.arange(storage.size)) for place in places)


def copies_of(recorder: Any, leaf: Any) -> list[int]:
    """Return the addresses of the copies that were made of a large input, as when it is first read by elements."""
    code, words = np.frombuffer(recorder.code, np.uint32).reshape(-1, 4), recorder.words
    found = []
    for _, out, w, _ in code[code[:, 0] == ADD].tolist():
        if row_elements(words, w) == np.size(leaf.value) and space_of(words, w, 1) == leaf.space:
            found.append(out)
    return found


class Program:
    """One recorded path, ready to run on other values of the same signature."""

    def __init__(self, owner: Jitted, arguments: Any, keywords: Any) -> None:
        plan = owner.plan
        self.hits = 0
        self.ends: dict[int, int] = {}  # one after the last address that the first rows write to
        self.f = owner.f if plan is None else plan.f
        self.gradient: Any = plan
        self.narrow = is_narrow(owner.numbad_like, arguments)
        leaves, rebuild = flatten(tuple(arguments))
        leaves = [as_leaf(leaf) for leaf in leaves]
        static: set[int] = set()
        for k in owner.static:
            if k >= len(arguments):  # given by keyword
                continue
            before = len(flatten(tuple(arguments[:k]))[0])
            static.update(range(before, before + len(flatten(arguments[k])[0])))
        places = [k for k, leaf in enumerate(leaves) if k not in static and is_recorded(leaf)]
        values = [leaves[k] for k in places]

        changed = [False]

        def call(actives: list[Any]) -> Any:
            given = list(leaves)
            for k, active in zip(places, actives, strict=True):
                given[k] = active
            passed = rebuild(given)
            result = self.f(*passed, **keywords)
            now = flatten(passed)[0]
            changed[0] = len(now) != len(given) or any(one is not other for one, other in zip(now, given))
            return result

        self.recorder, self.leaves, result = record_leaves(call, values, input_dtype(values or [0.0]))
        try:
            if changed[0] or any(is_assigned(leaf) for leaf in self.leaves):
                owner.warn_assigned("changes a list or dict" if changed[0] else "assigns to an array")
            self.prepare(result, arguments, places)
        finally:
            self.recorder.close()

    def name_row(self, row: int) -> Any:
        """Return the user's statement of a row at which a run stopped."""
        if self.prepared is None:
            return self.recorder.sites.get(row)
        return self.prepared.tape.site(int(self.prepared.rows[row]))

    def prepare(self, result: Any, arguments: Any, places: list[int]) -> None:
        """Note the outputs, and for a gradient which leaves it is wanted for."""
        recorder = self.recorder
        self.wanted = self.leaves
        if self.gradient is not None:
            self.output = scalar_output(recorder, result, self.gradient.name)
            self.constant = result
            outputs: list[Any] = [] if self.output is None else [self.output]
            self.arrange(arguments, places)
            note_inputs(recorder, [self.leaves[k] for chosen, _ in self.parts for k in chosen])
        else:
            flat, self.rebuild = flatten(result)
            self.flat = flat
            outputs = [leaf for leaf in flat if isinstance(leaf, Active)]
            for leaf in outputs:
                if isinstance(leaf, Array):
                    leaf.address_view()
        self.outputs = outputs
        recorder.execution = None
        self.prepared = self.make_ready(outputs)
        self.short: Any = None
        self.constant_results = False  # no result depends on the arguments
        self.computed = False  # in the memory of this program: splicing does not
        if self.prepared is not None:
            self.places = [self.find_result(o, place) for o, place in zip(outputs, self.prepared.outputs, strict=True)]
        else:
            self.find_places(outputs)
        self.readers = [reader_of(leaf) for leaf in self.leaves]
        self.numbers = self.find_numbers()

    def find_places(self, outputs: list[Any]) -> None:
        """Note where the results of a tape with array rows lie, and which of its rows replays need not run."""
        recorder = self.recorder
        ends = [o.address_view() if isinstance(o, Array) else np.array(o.address) for o in outputs]
        ranges = [run for places in ends for run in runs_of(places)]
        spared = find_spared(recorder, self.leaves, ranges if self.gradient is None else None)
        if self.gradient is None and not {GUARD, GUARD_VALUE, HOST}.intersection(recorder.code[::4]):
            self.constant_results = all(spared.constants.contain(*part) for part in ranges)
        self.places = [self.find_result(o, place, spared.constants) for o, place in zip(outputs, ends, strict=True)]
        self.execution = PathExecution(recorder, spared)
        self.short = self.make_short(spared)

    def reads_results(self) -> bool:
        """Whether the results have to be in memory after a run."""
        if self.gradient is None or self.gradient.with_value:
            return True
        return not all(self.recorder.ends_in_sum(output.address) for output in self.outputs)

    def find_result(self, output: Any, place: Any, fixed: Ranges | None = None) -> Any:
        """Return where a result lies: an address, or an `ArrayResult`."""
        if isinstance(output, Array):
            return ArrayResult(np.array(place), output.dtype, fixed, is_slope(output))
        return int(place)

    def find_numbers(self) -> list[int]:
        """Return the address of each differentiated argument, if all of them are floats of a prepared tape."""
        if self.prepared is None or self.gradient is None:
            return []
        if not all(len(part) == 1 and rebuild is first for part, rebuild in self.parts):
            return []
        if not all(type(self.leaves[part[0]].value) is float for part, _ in self.parts):
            return []
        return [self.prepared.places[part[0]] for part, _ in self.parts]

    def make_ready(self, outputs: list[Any]) -> Any:
        """Return the tape made ready for quick replays, if it is one of scalar rows in double precision."""
        recorder = self.recorder
        if (
            config._debug_nans
            or recorder.words
            or recorder.dtype != FLOAT64
            or (self.gradient is not None and not outputs)
        ):
            return None
        from numbad.replay.scalar_replays import Prepared, can_prepare

        tape = freeze(recorder, self.leaves, outputs if self.gradient is None else outputs[0])
        if not can_prepare(tape):
            return None
        tape._trusted = True  # it has just been recorded; the check would import Numba
        if self.gradient is None:
            return Prepared(tape)
        chosen = {k for part, _ in self.parts for k in part}
        return Prepared(tape, [k in chosen for k in range(len(self.leaves))], self.gradient.with_value)

    def make_short(self, spared: Spared) -> Any:
        """Return the tape ready to be run in one call of machine code, if it is a short one."""
        from numbad.replay.machines import make_replay

        if self.gradient is None:
            return make_replay(self.recorder, self.leaves, None, spared)
        return None if self.output is None else make_replay(self.recorder, self.leaves, self.output.address, spared)

    def arrange(self, arguments: Any, places: list[int]) -> None:
        """Find which leaves each differentiated argument has, and check that they can be differentiated."""
        counts = [len(flatten(argument)[0]) for argument in arguments]
        starts = np.concatenate([[0], np.cumsum(counts)]).tolist()
        order = {place: k for k, place in enumerate(places)}
        self.parts = []
        for argnum in self.gradient.places(len(arguments)):
            chosen = list(range(starts[argnum], starts[argnum + 1]))
            leaves, rebuild = flatten(arguments[argnum])
            for leaf in leaves:
                check_leaf(as_leaf(leaf))
            self.parts.append(([order[k] for k in chosen], rebuild))

    # ------------------------------------------------------------ running

    def attempt(self, values: Any, start: int = 0, source: Any = None) -> int:
        """Run the tape on new values; return the row of a guard that does not hold, or -1.

        The rows before `start` are those of the program `source`, which has computed them.
        """
        ready = self.prepared
        if self.constant_results and self.computed:
            row = -1
        elif self.short is not None:
            row = self.run_short(values)
        elif ready is None:
            row = self.sweep(values, start if source is None or self.goes_on_from(source, start) else 0, source)
        else:
            ready.enter(values)
            if start >= WORTH_COPYING:
                ready.take_over(source.prepared, start)
                row = ready.run(start)
            else:
                row = ready.run()
        if row < 0:
            self.hits += 1
            self.computed = True
        return row

    def goes_on_from(self, source: Program, start: int) -> bool:
        """Whether another program, which shares the rows before `start`, has computed what this one needs of them."""
        if source.short is not None:
            return False
        return not any(row < start for row in source.execution.never - self.execution.never)

    def run_short(self, values: Any) -> int:
        """Run a short tape; return as `attempt` does."""
        row = self.short.run(values)
        if row < 0 or self.recorder.code[4 * row] in (GUARD, GUARD_VALUE):
            return row
        self.short = None  # it has a row for Python
        return self.sweep(values, 0, None)

    def sweep(self, values: Any, start: int, source: Any) -> int:
        """Run a tape with rows over arrays; return as `attempt` does."""
        execution, recorder = self.execution, self.recorder
        execution.prepare(recorder.row_count())
        for leaf, value in zip(self.leaves, values, strict=True):
            self.enter(leaf, value)
        execution.done = start
        if start:
            stop = self.ends.get(start) or self.ends.setdefault(start, last_address(recorder, start) + 1)
            execution.values[1:stop] = source.execution.values[1:stop]
            execution.partials[:start] = source.execution.partials[:start]
        try:
            execution.forward(True, tuple(self.outputs) if self.reads_results() else ())
        except Missed as missed:
            return missed.row
        return -1

    @functools.cached_property
    def rows(self) -> Splice:
        """The tape as rows that can be copied into a recording."""
        from numbad.emission.splicing import Splice

        return Splice(self.recorder, self.leaves)

    def fits(self, recorder: Recorder) -> bool:
        """Whether the rows compute in the recording's precision, or in a higher one, which it then takes over."""
        return self.recorder.dtype == recorder.dtype or self.recorder.dtype == FLOAT64

    def splice(self, recorder: Recorder, values: list[Any]) -> Any:
        """Copy the rows into a recording; return the results there."""
        moved = self.rows.copy_into(recorder, values)
        self.hits += 1
        if self.rows.guarded:
            recorder.run()  # the guards hold now: later sweeps need not look at them again
        found: list[Any] = []
        for leaf in self.flat:
            if isinstance(leaf, Active):
                found.append(moved.value(leaf))
            else:
                found.append(leaf.copy() if isinstance(leaf, np.ndarray) else leaf)
        return self.rebuild(found)

    def fork(self, other: Program) -> tuple[int, bool]:
        """Return how many first rows two programs share, and whether a guard tells them apart there."""
        if self.prepared is not None and other.prepared is not None:
            return self.prepared.fork(other.prepared)
        if self.prepared is not None or other.prepared is not None or self.recorder.large or other.recorder.large:
            return 0, False
        return common_rows(self, other)

    def result(self) -> Any:
        """Return what the last run has computed."""
        if self.gradient is None:
            return self.read_outputs()
        return self.read_gradient()

    def enter(self, leaf: Any, value: Any) -> None:
        """Put a new value in the place of an input."""
        execution = self.execution
        if type(value) is float:
            execution.values[leaf.address] = value
            return
        values = np.asarray(value, self.recorder.dtype)
        if leaf.space:
            if not (values.flags.c_contiguous if leaf.order == "C" else values.flags.f_contiguous):
                values = np.array(values, order=leaf.order)
            execution.put_space(leaf.space, values)
        else:
            execution.values[leaf.address : leaf.address + values.size] = values.reshape(-1)

    def pick(self, found: list[Any]) -> list[Any]:
        """Return the gradient with respect to each differentiated argument."""
        return [
            found[chosen[0]] if rebuild is first else rebuild([found[k] for k in chosen])
            for chosen, rebuild in self.parts
        ]

    @handed_out
    def read_outputs(self) -> Any:
        """Return the results as NumPy's."""
        values = self.results()
        dtype = self.recorder.dtype
        found = []
        k = 0
        for leaf in self.flat:
            if not isinstance(leaf, Active):
                found.append(leaf.copy() if isinstance(leaf, np.ndarray) else leaf)
                continue
            place = self.places[k]
            k += 1
            if isinstance(leaf, Scalar):
                number = leaf.dtype.type(values[place] + 0.0 if is_slope(leaf) else values[place])
                found.append(float(number) if dtype == FLOAT64 and not leaf.boolean else number)
            else:
                found.append(place.read(values))
        return narrowed(self.rebuild(found)) if self.narrow else self.rebuild(found)

    def results(self) -> np.ndarray:
        """Return the arena that the last run has filled."""
        if self.prepared is not None:
            return self.prepared.values
        return self.execution.values if self.short is None else self.short.memory

    @handed_out
    def read_gradient(self) -> Any:
        """Return value and gradient as the plan wants them; sweep back first, unless that is done."""
        if self.prepared is not None:
            ready = self.prepared
            if self.numbers:
                slopes = [ready.cotangents[place] for place in self.numbers]
                return self.gradient.pack(ready.memory[ready.outputs[0]], slopes)
            slopes = [reader(bar) for reader, bar in zip(self.readers, ready.bar_slots)]
            return self.gradient.pack(ready.memory[ready.outputs[0]], self.pick(slopes))
        execution = self.execution
        if self.short is not None:
            assert self.output is not None
            value = self.short.memory[self.output.address]
            slopes = [leaf.read(self.short) for leaf in self.leaves]
            return self.gradient.pack(float(value) if self.recorder.dtype == FLOAT64 else value, self.pick(slopes))
        if self.output is None:
            value, seeds = self.constant, []
        else:
            seeds = [(self.output.address, 1.0)]
            value = execution.values[self.output.address]
            value = float(value) if self.recorder.dtype == FLOAT64 else value
        bars = execution.backward(seeds)
        found = [leaf.read(bars) for leaf in self.leaves]
        give_back(bars.arena)
        return self.gradient.pack(value, self.pick(found))


class Missed(Exception):
    """A run of a recorded path came to a guard that does not hold."""

    def __init__(self, row: int) -> None:
        super().__init__(row)
        self.row = row


class PathExecution(Execution):
    """An execution of one of several paths: a guard that does not hold is no error.

    Attributes
    ----------
    once : tuple of Rows and list of int, or None
        The tape with all rows, and those that are computed before the first sweep.
    never : frozenset of int
        The rows that are not computed.
    unwritten : list of (int, int)
        Where their results would be: zero, for scalar rows that nobody reads run on them.
    """

    __slots__ = ("never", "once", "unwritten")

    def __init__(self, tape: Rows, spared: Spared) -> None:
        self.once: Any = (tape, spared.once) if spared.once else None
        self.never = frozenset(spared.never)
        self.unwritten = [written(tape.code[4 * row : 4 * row + 4], tape.words) for row in spared.never]
        super().__init__(without_rows(tape, spared.once + spared.never) if len(spared) else tape)

    def prepare(self, rows: int) -> None:
        """Make room for all addresses and rows, and write what is constant."""
        before = self.values
        super().prepare(rows)
        if self.values is not before:
            for start, stop in self.unwritten:
                self.values[start:stop] = 0.0
        if self.once is not None:
            once, self.once = self.once, None
            compute(self, *once)

    def python_row(self, code: np.ndarray, words: Any, row: int) -> int:
        """Compute a row that the compiled sweeps leave to Python; return the next."""
        if code[row, 0] == GUARD or code[row, 0] == GUARD_VALUE:
            raise Missed(row)
        return super().python_row(code, words, row)


def reader_of(leaf: Any) -> Any:
    """Return the function that makes the cotangent of an input out of its part of a prepared tape's arena."""
    value = leaf.value
    if isinstance(value, np.ndarray):
        dtype = value.dtype
        return np.ndarray.copy if dtype == FLOAT64 else lambda bar: bar.astype(dtype)
    return float if type(value) is float else type(value)
