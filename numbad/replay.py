"""jit: record a function once for each signature and path, and run its tape from then on."""

from __future__ import annotations

import functools
import threading
import warnings
from collections.abc import Callable
from types import MethodType
from typing import TYPE_CHECKING, Any

import numpy as np

from numbad.active import Active, Array, Scalar
from numbad.derivatives import FLOAT64, as_leaf, check_leaf, concrete, input_dtype, plain, record_leaves, scalar_output
from numbad.errors import BranchError, NumbadError, message
from numbad.ops.host import alone
from numbad.recorder import Recorder, current
from numbad.snapshot import JITTED, Snapshot
from numbad.sweeps import give_back, kernel, switch
from numbad.trees import flatten

if TYPE_CHECKING:
    from numbad.splicing import Splice

MOST_PATHS = 64  # tapes kept for one signature
PATIENCE = 0.5  # seconds: a thread that waits longer for another calls the function; the other may wait for it


def jit(f: Callable[..., Any] | None = None, *, static_argnums: Any = (), static_argnames: Any = ()) -> Any:
    """Return `f` so that it is recorded once for each signature and path, and its tape replayed.

    Parameters
    ----------
    f : callable
        Of floats, arrays of floats, or trees of them; other leaves (ints, text, ...) are static.
    static_argnums : int or tuple of int
        Positional arguments that are passed as they are; a tape is recorded for each value.
    static_argnames : str or tuple of str
        The same for keyword arguments; all keyword arguments are static.

    Returns
    -------
    Jitted
        Call it as `f`. `paths` counts the tapes, `cache_clear()` drops them.

    Raises
    ------
    NumbadError
        When one signature has more than 64 paths.

    Notes
    -----
    A signature is the structure of the arguments with the shapes and dtypes of their leaves. Where a comparison
    comes out otherwise than when it was recorded, that path is recorded too, and both are kept. What the function
    takes from closures, globals and the object that it is a method of is compared at each call, with the members of
    lists and dicts, the attributes of objects and the elements of arrays; a change records anew. Of arrays of more
    than 65,536 elements 256 are compared, so write to such an array as a whole, or pass it as an argument. What changes
    in another way (static objects, files, random numbers) is frozen. Side effects happen when a path is recorded, and
    what the function assigns to its array arguments stays inside of it. Inside another recording, or within another
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
    return Jitted(f, static_argnums)


class Jitted:
    """A function that is recorded once and replayed; made by `jit`."""

    def __init__(self, f: Callable[..., Any], static_argnums: Any = ()) -> None:
        functools.update_wrapper(self, f, assigned=("__doc__", "__name__", "__module__"), updated=())
        self.f = self.numbad_inner = f
        self.static = (static_argnums,) if isinstance(static_argnums, int) else tuple(static_argnums)
        self.plan = None if self.static else getattr(f, "numbad_plan", None)
        self.programs: dict[Any, list[Any]] = {}
        self.snapshot: Snapshot | None = None
        self.lock = threading.RLock()
        self.busy = False  # a path is being recorded
        self.refused: set[Any] = set()  # signatures that cannot be recorded by themselves

    @functools.cached_property
    def spliced(self) -> Jitted:
        """What is copied into other recordings: a gradient as its rows, where a call runs two sweeps."""
        return self if self.plan is None else type(self)(self.f, self.static).without_plan()

    def without_plan(self) -> Jitted:
        """Forget that the function is a gradient, so that its rows are recorded."""
        self.plan = None
        return self

    @property
    def paths(self) -> int:
        """Number of tapes that are kept."""
        return sum(len(found) for found in self.programs.values())

    @property
    def hits(self) -> list[int]:
        """How often each tape has been run, in the order in which they are tried."""
        return [program.hits for found in self.programs.values() for program in found]

    def cache_clear(self) -> None:
        """Drop all tapes."""
        with self.lock:
            self.forget()
            self.__dict__.pop("spliced", None)

    def forget(self) -> None:
        """Drop what was recorded."""
        self.programs = {}
        self.refused = set()
        self.snapshot = None

    def __get__(self, instance: Any, owner: Any = None) -> Any:
        """Return the jitted method of an instance; each instance has tapes of its own."""
        if instance is None:
            return self
        name = f"{JITTED}{id(self)}"
        bound = vars(instance).get(name)
        if bound is None:
            static = tuple(k - 1 for k in self.static)
            bound = vars(instance)[name] = Jitted(MethodType(self.f, instance), static)
        return bound

    def __call__(self, *arguments: Any, **keywords: Any) -> Any:
        recorder = current()
        if recorder is not None:
            return self.spliced.call_inside(recorder, arguments, keywords)
        with self.lock:
            self.drop_outdated()
            kinds = tuple([type(argument) for argument in arguments])
            found = self.programs.get(kinds) if not keywords else None
            if found is not None:
                values = list(arguments)
            else:
                values, found = self.look_up(arguments, keywords, kinds)
            branch = None
            for k, program in enumerate(found):
                try:
                    result = program.run(values)
                except BranchError as error:
                    branch = error
                    continue
                if k and program.hits > found[k - 1].hits:
                    found[k - 1], found[k] = program, found[k - 1]
                return result
            return self.record(arguments, keywords, values, found, branch)

    def call_inside(self, recorder: Recorder, arguments: Any, keywords: Any) -> Any:
        """Copy the rows of the path that the arguments take into the running recording; return its results there."""
        if not self.busy and self.lock.acquire(timeout=PATIENCE):
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
            self.snapshot = Snapshot(self.f)
        if self.snapshot.recording:
            return None
        values, key = self.signature_inside(recorder, arguments, keywords)
        if key is None or key in self.refused or not any(isinstance(value, Active) for value in values):
            return None
        found = self.programs.setdefault(key, [])
        program = next((program for program in found if program.suits(recorder, values)), None)
        if program is None and len(found) < MOST_PATHS:
            program = self.record_inside(recorder, arguments, keywords, found, key)
        return None if program is None else (program, values)

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

    def record_inside(
        self, recorder: Recorder, arguments: Any, keywords: Any, found: list[Program], key: Any
    ) -> Program | None:
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
        if self.snapshot.recording or not program.fits(recorder):
            self.refused.add(key)
            return None
        found.insert(0, program)
        return program

    def look_up(self, arguments: Any, keywords: Any, kinds: Any) -> tuple[list[Any], list[Program]]:
        """Return the differentiable leaves of a call, and the tapes for its signature."""
        if not keywords and not self.static and all(kind is float for kind in kinds):
            return list(arguments), self.programs.setdefault(kinds, [])
        leaves, key = self.signature(arguments, keywords)
        return leaves, self.programs.setdefault(key, [])

    def signature(self, arguments: Any, keywords: Any) -> tuple[list[Any], Any]:
        """Return the recorded leaves of a call, and what makes it one that a tape can run."""
        parts: list[Any] = []
        values: list[Any] = []
        for k, argument in enumerate(arguments):
            if k in self.static:
                parts.append(static_key(argument))
            elif type(argument) is np.ndarray and argument.dtype.kind == "f":
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

    def record(self, arguments: Any, keywords: Any, values: list[Any], found: list[Program], branch: Any) -> Any:
        """Record the path of this call, keep it and run it."""
        self.check_paths(found, branch)
        self.busy = True
        try:
            program = Program(self, arguments, keywords)
        finally:
            self.busy = False
        self.look_around()
        found.insert(0, program)
        return program.run(values)

    def look_around(self) -> None:
        """Note what the function takes from outside; after a recording, whose own side effects are not a change."""
        self.snapshot = Snapshot(self.f)

    def check_paths(self, found: list[Any], branch: BranchError | None) -> None:
        """Raise a NumbadError if there are too many paths to record another."""
        if len(found) >= MOST_PATHS:
            raise NumbadError(
                message(
                    f"{getattr(self.f, '__name__', 'the function')} has taken {MOST_PATHS} different paths for "
                    "arguments of one shape; a branch on each element makes one for each combination\n"
                    f"{place_of(branch)}",
                    "choose with np.where instead of if, or call it without numbad.jit",
                    where=False,
                )
            ) from None

    def tapes_of(self, key: Any) -> list[Any]:
        """Return the tapes that are kept for a signature, none of them out of date."""
        self.drop_outdated()
        return self.programs.setdefault(key, [])

    def drop_outdated(self) -> None:
        """Drop all tapes if something that the function takes from outside has changed."""
        if self.snapshot is not None and self.snapshot.changed():
            self.forget()


def leaves_key(argument: Any, values: list[Any]) -> Any:
    """Append the recorded leaves of an argument to `values`; return its part of the signature."""
    import optree

    if isinstance(argument, (float, int, np.ndarray, np.generic)):
        leaves, tree = [argument], None
    else:
        leaves, tree = optree.tree_flatten(argument, none_is_leaf=True, namespace="numbad")
    parts = []
    for leaf in leaves:
        leaf = as_leaf(leaf)
        if isinstance(leaf, Active):
            values.append(leaf)
            number = isinstance(leaf, Scalar)
            kind = -1 if number and leaf.dtype == FLOAT64 else leaf.dtype.num
            parts.append((leaf.shape, kind, not number, True))
        elif is_recorded(leaf):
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
        import optree

        nested: Any = value
        leaves, tree = optree.tree_flatten(nested, none_is_leaf=True, namespace="numbad")
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
    if storage.addresses is None:
        return (storage.space, storage.address) != (leaf.space, leaf.address)
    return bool(leaf.space) or not np.array_equal(storage.addresses, leaf.address + np.arange(storage.size))


def place_of(branch: BranchError | None) -> str:
    """Return the line of an error message that says where the branch is."""
    lines = str(branch).splitlines()
    return next((line for line in lines if line.startswith("  at ")), "  at an unknown place")


class Program:
    """One recorded path, ready to run on other values of the same signature."""

    def __init__(self, owner: Jitted, arguments: Any, keywords: Any) -> None:
        plan = owner.plan
        self.hits = 0
        self.f = owner.f if plan is None else plan.f
        self.gradient: Any = plan
        leaves, rebuild = flatten(tuple(arguments))
        leaves = [as_leaf(leaf) for leaf in leaves]
        static: set[int] = set()
        for k in owner.static:
            before = len(flatten(tuple(arguments[:k]))[0])
            static.update(range(before, before + len(flatten(arguments[k])[0])))
        places = [k for k, leaf in enumerate(leaves) if k not in static and is_recorded(leaf)]
        values = [leaves[k] for k in places]

        def call(actives: list[Any]) -> Any:
            given = list(leaves)
            for k, active in zip(places, actives, strict=True):
                given[k] = active
            return self.f(*rebuild(given), **keywords)

        self.recorder, self.leaves, result = record_leaves(call, values, input_dtype(values or [0.0]))
        if any(is_assigned(leaf) for leaf in self.leaves):
            warnings.warn(
                message(
                    f"{getattr(owner.f, '__name__', 'the function')} assigns to an array that it was given; under "
                    "numbad.jit the caller's array stays as it is",
                    "work on a copy (x = x.copy()), and return it if the caller needs it",
                    where=False,
                ),
                stacklevel=4,
            )
        try:
            self.prepare(result, arguments, places)
        finally:
            self.recorder.close()

    def prepare(self, result: Any, arguments: Any, places: list[int]) -> None:
        """Note the outputs, and for a gradient which leaves it is wanted for."""
        recorder = self.recorder
        self.wanted = self.leaves
        if self.gradient is not None:
            self.output = scalar_output(recorder, result, self.gradient.name)
            self.constant = result
            outputs: list[Any] = [] if self.output is None else [self.output]
            self.arrange(arguments, places)
        else:
            flat, self.rebuild = flatten(result)
            self.flat = flat
            outputs = [leaf for leaf in flat if isinstance(leaf, Active)]
            for leaf in outputs:
                if isinstance(leaf, Array):
                    leaf.address_view()
        from numbad.sweeps import Execution

        self.outputs = outputs
        self.places = [np.array(o.address_view()) if isinstance(o, Array) else o.address for o in outputs]
        recorder.execution = None
        self.execution = Execution(recorder)
        self.code = np.frombuffer(recorder.code, np.uint32)
        self.scalar = (
            self.gradient is not None
            and outputs
            and not recorder.words
            and recorder.dtype == FLOAT64
            and all(type(leaf.value) is float for leaf in self.leaves)
        )
        self.numbers = np.array(recorder.numbers)

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

    def run(self, values: list[Any]) -> Any:
        """Run the tape on new values; raise a BranchError if they take another path."""
        if self.scalar:
            return self.run_numbers(values)
        execution, recorder = self.execution, self.recorder
        execution.prepare(recorder.rows())
        for leaf, value in zip(self.leaves, values, strict=True):
            self.enter(leaf, value)
        execution.done = 0
        execution.forward(True, tuple(self.outputs) if self.gradient is None or self.gradient.with_value else ())
        self.hits += 1
        if self.gradient is None:
            return self.read_outputs()
        return self.read_gradient()

    # ------------------------------------------------------------ inside a recording

    @functools.cached_property
    def rows(self) -> Splice:
        """The tape as rows that can be copied."""
        from numbad.splicing import Splice

        return Splice(self.recorder, self.leaves)

    def fits(self, recorder: Recorder) -> bool:
        """Whether the rows compute in the recording's precision, or in a higher one, which it then takes over."""
        return self.recorder.dtype == recorder.dtype or self.recorder.dtype == FLOAT64

    def suits(self, recorder: Recorder, values: list[Any]) -> bool:
        """Whether recording values take this path now."""
        if not self.fits(recorder):
            return False
        if not self.rows.guarded:
            return True
        execution = self.execution
        execution.prepare(self.recorder.rows())
        for leaf, value in zip(self.leaves, values, strict=True):
            self.enter(leaf, plain(value) if isinstance(value, Active) else value)
        execution.done = 0
        try:
            execution.forward()
        except BranchError:
            return False
        return True

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

    def run_numbers(self, values: list[Any]) -> Any:
        """Run a tape of scalar rows in one compiled call."""
        numbers = self.numbers
        for k, value in enumerate(values):
            numbers[2 * k + 1] = value
        pointer = switch("linearise", FLOAT64)
        gradient_rows = kernel("gradient_rows", FLOAT64)
        output = self.outputs[0].address
        done, value, found = gradient_rows(pointer, self.code, numbers, self.recorder.size, output, len(values))
        if 4 * done < len(self.code):
            self.scalar = False
            try:
                return self.run(values)
            finally:
                self.scalar = done < 0 or self.is_guard(done)
        self.hits += 1
        return self.gradient.pack(value, self.pick(found.tolist()))

    def is_guard(self, row: int) -> bool:
        """Whether a row is a guard: the scalar machine goes on being right for the recorded path."""
        from numbad.rows import GUARD, GUARD_VALUE

        return int(self.code[4 * row]) in (GUARD, GUARD_VALUE)

    def pick(self, found: list[Any]) -> list[Any]:
        """Return the gradient with respect to each differentiated argument."""
        return [rebuild([found[k] for k in chosen]) for chosen, rebuild in self.parts]

    def read_outputs(self) -> Any:
        """Return the results as NumPy's."""
        values = self.execution.values
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
                number = leaf.dtype.type(values[place])
                found.append(float(number) if dtype == FLOAT64 and not leaf.boolean else number)
            else:
                found.append(values[place].astype(leaf.dtype))
        return self.rebuild(found)

    def read_gradient(self) -> Any:
        """Sweep back and return value and gradient as the plan wants them."""
        execution = self.execution
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
