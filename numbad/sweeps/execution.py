"""Running a tape: the primal, adjoint and tangent sweeps over rows, and what they leave to Python."""

from __future__ import annotations

import contextlib
import importlib
import mmap
import os
import sys
import threading
import time
from collections.abc import Iterator
from ctypes import addressof, c_char
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from numbad.errors import message
from numbad.kernels import loading
from numbad.limits import BLOCK, CHECKED, CHUNK, COMPARED_MEMORY, KEPT_LEAST, KEPT_MOST, MANY_ROWS
from numbad.settings import config

if TYPE_CHECKING:
    from numbad.recording.recorder import Recorder

NOTICE_AFTER = 1.0  # seconds
STAMPED = ("limits", "tape/layout", "sweeps/execution", "sweeps/large_rows", "sweeps/fusion")  # and all of kernels/

NOTHING: Any = np.empty(0)

if CHECKED:
    from numbad.kernels import checked_memory

empty: Any = checked_memory.fresh if CHECKED else np.empty  # an array of anything
handed_out: Any = checked_memory.handed_out if CHECKED else lambda function: function  # returns numbers to the user

_announced = threading.Event()
_thread = threading.local()


class Execution:
    """The values, partials and cotangents of one tape at one point.

    Attributes
    ----------
    values : ndarray of float, shape (size,)
        The arena.
    partials : ndarray of float, shape (rows, 2)
        Partial derivatives of the scalar rows.
    done : int
        Rows that have been computed.
    """

    __slots__ = (
        "bases",
        "done",
        "finite",
        "groups",
        "loaded",
        "numbers",
        "partials",
        "placed",
        "recorder",
        "spaces",
        "use_counts",
        "values",
    )

    def __init__(self, recorder: Recorder) -> None:
        self.recorder = recorder
        self.values = self.partials = NOTHING
        self.done = 0
        self.numbers = 0
        self.loaded = 0
        self.bases = np.zeros(1, np.uint64)
        self.spaces: list[Any] = [None]
        self.groups: dict[int, Any] = {}
        self.placed: Any = None  # arrays, sizes and addresses that `places` has found
        self.use_counts: Any = None
        self.finite: dict[tuple[int, int], bool] = {}  # what a sweep back knows of the factors of products

    # ------------------------------------------------------------ forward

    def forward(self, final: bool = False, wanted: tuple[Any, ...] = ()) -> None:
        """Compute all rows that have been recorded and not been computed yet (see `Recorder.run`)."""
        recorder = self.recorder
        rows = len(recorder.code) // 4
        self.prepare(rows)
        if rows == self.done:
            return
        code = np.frombuffer(recorder.code, np.uint32).reshape(rows, 4)
        if config._debug_nans:
            self.forward_watched(code, rows)
        else:
            self.forward_rows(code, rows, final, wanted)

    def forward_watched(self, code: np.ndarray, rows: int) -> None:
        """Compute rows and look for values that are not finite."""
        from numbad.sweeps.nonfinite import check_values, overwrites

        self.groups = {}  # rows that an earlier run has fused have no values to look at
        first = self.done
        for stop in range(first + 1, rows + 1) if overwrites(self) else (rows,):
            self.forward_rows(code, stop)
            check_values(self, first, stop)
            first = stop

    def forward_rows(self, code: np.ndarray, rows: int, final: bool = False, wanted: tuple[Any, ...] = ()) -> None:
        """Compute the rows up to one of them."""
        recorder = self.recorder
        if recorder.words:
            self.forward_mixed(code, rows, final, wanted)
        else:
            linearise = kernel("linearise_rows", recorder.dtype)
            pointer = switch("linearise", recorder.dtype)
            row = self.done
            while row < rows:
                stop = min(rows, row + CHUNK)
                row = linearise(pointer, code, self.values, self.partials, row, stop)
                if row < stop:
                    row = self.python_row(code, None, row)
        self.done = rows

    def forward_mixed(self, code: np.ndarray, rows: int, final: bool, wanted: tuple[Any, ...]) -> None:
        """Compute rows of all kinds."""
        recorder = self.recorder
        words = np.frombuffer(recorder.words, np.int64)
        self.locate_spaces()
        if final and recorder.large and not self.groups:
            from numbad.sweeps import fusion

            self.groups = fusion.plan(self, code, words, wanted)
        kernels = block_kernels(recorder.dtype, rows > MANY_ROWS)
        forward_at = sweep("forward_at", recorder.dtype)
        places = [address_of(memory) for memory in (kernels, code, words, self.bases, self.values)]
        places += [address_of(memory) for memory in (self.partials, self.blocks())]
        row = self.done
        while row < rows:
            stop = min(rows, row + CHUNK)
            row = forward_at(0.0, *places, row, stop)
            if row < stop:
                row = self.python_row(code, words, row)

    def virtual_blocks(self) -> list[tuple[int, int]]:
        """Return first address and length of the outputs that no sweep writes to memory, in order."""
        found = []
        for group in {id(group): group for group in self.groups.values()}.values():
            for (opcode, out, _), virtual in zip(group.rows, group.virtual, strict=True):
                if virtual and opcode >= 0:
                    found.append((out, group.count))
        return sorted(found)

    def release(self, *bars: Cotangents) -> None:
        """Give the memory back; the values must not be read afterwards."""
        for values in (self.values, self.partials, *(bar.arena for bar in bars)):
            give_back(values)
        self.values = self.partials = NOTHING
        self.placed = None

    def uses(self, code: np.ndarray, words: np.ndarray, space: int) -> int:
        """Return how many operands of a finished tape lie in a space."""
        if self.use_counts is None:
            from numbad.kernels.array import count_uses

            self.use_counts = count_uses(code, words, len(self.recorder.spaces)).tolist()
        return self.use_counts[space]

    def blocks(self) -> np.ndarray:
        """Return the scratch memory of the array kernels: this thread's, whatever thread has run the tape before."""
        dtype = self.recorder.dtype
        kept = _thread.__dict__
        scratch = kept.get(dtype.num)
        if scratch is None:
            scratch = kept[dtype.num] = empty((4, BLOCK), dtype)
        return scratch

    def prepare(self, rows: int) -> None:
        """Make room for all addresses and rows, and write the constants."""
        recorder = self.recorder
        size = recorder.size
        values = self.values
        if values.size < size:
            capacity = size if not values.size else max(size, 2 * values.size)
            check_memory(capacity * recorder.dtype.itemsize)
            grown = take_memory(capacity, recorder.dtype, bool(recorder.large))
            if self.done:
                grown[: values.size] = values
            else:
                self.numbers = self.loaded = 0
            grown[0] = 0.0
            self.values = values = grown
        if len(self.partials) < rows:
            capacity = rows if self.partials is NOTHING else max(rows, 2 * len(self.partials))
            check_memory(2 * capacity * recorder.dtype.itemsize)
            more = take_memory(2 * capacity, recorder.dtype, False).reshape(capacity, 2)
            if self.done:
                more[: self.done] = self.partials[: self.done]
            self.partials = more
        numbers = recorder.numbers
        if len(numbers) > self.numbers:
            pairs = np.frombuffer(numbers, np.float64)[self.numbers :]
            values[pairs[::2].astype(np.int64)] = pairs[1::2]
            self.numbers = len(numbers)
        loads = recorder.loads
        for address, block in loads[self.loaded :] if self.loaded else loads:
            values[address : address + block.size] = block
        self.loaded = len(loads)

    def locate_spaces(self) -> None:
        """Note where each space begins in memory; the kernels themselves note where the arena does."""
        recorder = self.recorder
        if len(recorder.spaces) == len(self.spaces) == len(self.bases):
            return
        for space in recorder.spaces[len(self.spaces) :]:
            self.spaces.append(space if space.dtype == recorder.dtype else space.astype(recorder.dtype, order="K"))
        self.bases = np.array([0] + [address_of(space) for space in self.spaces[1:]], np.uint64)

    def put_space(self, space: int, values: np.ndarray) -> None:
        """Read a large input from another array from now on."""
        self.locate_spaces()
        self.spaces[space] = values
        self.bases[space] = address_of(values)

    def python_row(self, code: np.ndarray, words: Any, row: int) -> int:
        """Compute a row, or a group of fused rows, that the compiled sweeps leave to Python; return the next row."""
        group = self.groups.get(row)
        if group is not None:
            from numbad.sweeps import fusion

            fusion.forward(self, group)
            return group.last
        from numbad.sweeps import python_rows

        return python_rows.forward(self, code, words, row)

    # ------------------------------------------------------------ backward

    def backward(self, seeds: list[tuple[int, Any]], scattered: Any = ()) -> Cotangents:
        """Propagate cotangents from the outputs; seeds are (address, value), `scattered` (addresses, values)."""
        bars = self.pull_back(seeds, scattered)
        if config._debug_nans:
            from numbad.sweeps.nonfinite import check_sweep

            check_sweep(self, bars, lambda first, _: self.pull_back(seeds, scattered, first), True)
        return bars

    def pull_back(self, seeds: list[tuple[int, Any]], scattered: Any, first: int = 0) -> Cotangents:
        """Take the rows from the last to `first` backwards."""
        rows = self.done
        check_memory(self.values.nbytes)
        bars = Cotangents(self)
        self.finite.clear()
        bars.seed(seeds, scattered)
        if not rows:
            return bars
        code = np.frombuffer(self.recorder.code, np.uint32).reshape(-1, 4)
        if self.recorder.words:
            self.backward_mixed(code, rows, bars, first)
            return bars
        self.backward_scalar("plain_adjoint", code, rows, bars, first)
        if not kernel("are_finite", self.recorder.dtype)(bars.arena):  # see `scalarkernels`
            bars.clear([])
            bars.seed(seeds, scattered)
            self.backward_scalar("adjoint", code, rows, bars, first)
        return bars

    def backward_scalar(self, name: str, code: np.ndarray, rows: int, bars: Cotangents, first: int) -> None:
        """Take scalar rows and guards backwards, by one of two sweeps."""
        adjoint = kernel(name, self.recorder.dtype)
        for row in range(rows, first, -CHUNK):
            adjoint(code, self.partials, bars.arena, max(first, row - CHUNK), row)

    def backward_mixed(self, code: np.ndarray, rows: int, bars: Cotangents, first: int = 0) -> None:
        """Take rows of all kinds backwards."""
        words = np.frombuffer(self.recorder.words, np.int64)
        self.locate_spaces()
        bars.locate()
        adjoint_at = sweep("adjoint_at", self.recorder.dtype)
        places = self.places(code, words, bars)
        row = rows
        while row > first:
            start = max(first, row - CHUNK)
            row = adjoint_at(0.0, *places, start, row)
            if row > start:
                row = self.python_row_back(code, words, row, bars)

    def places(self, code: np.ndarray, words: np.ndarray, bars: Cotangents) -> tuple[int, ...]:
        """Return where in memory a sweep of derivatives finds all it needs.

        Many sweeps of one execution follow one another: what did not change since the last one is not asked again.
        """
        values, partials, bases, placed = self.values, self.partials, self.bases, self.placed
        if (
            CHECKED
            or placed is None
            or placed[0] is not values
            or placed[1] is not partials
            or placed[2] is not bases
            or placed[3] != len(code)
            or placed[4] != len(words)
        ):
            memory = (block_kernels(self.recorder.dtype), code, words, bases, values, partials)
            placed = (values, partials, bases, len(code), len(words), *(address_of(part) for part in memory))
            self.placed = placed
        cotangents = (address_of(bars.bases), *placed[9:], address_of(bars.arena), address_of(self.blocks()))
        return (*placed[5:9], *cotangents)

    def python_row_back(self, code: np.ndarray, words: Any, row: int, bars: Cotangents) -> int:
        """Take back the row before `row`, or a group; return where to go on."""
        group = self.groups.get(-row)
        if group is not None:
            from numbad.sweeps import fusion

            fusion.backward(self, group, bars)
            return group.first
        from numbad.sweeps import python_rows

        return python_rows.backward(self, code, words, row - 1, bars)

    # ------------------------------------------------------------ tangents

    def pushforward(self, seeds: list[tuple[int, int, Any]]) -> Cotangents:
        """Propagate tangents from the inputs; seeds are (space, address, values)."""
        dots = self.push_forward(seeds, self.done)
        if config._debug_nans:
            from numbad.sweeps.nonfinite import check_sweep

            check_sweep(self, dots, lambda _, stop: self.push_forward(seeds, stop), False)
        return dots

    def push_forward(self, seeds: list[tuple[int, int, Any]], rows: int) -> Cotangents:
        """Take the tangents through the first rows."""
        recorder = self.recorder
        dots = Cotangents(self)
        if dots.spaces:
            for space in dots.spaces.keys() - {space for space, _, _ in seeds}:
                dots.spaces[space].fill(-0.0)
        for space, address, seed in seeds:
            seed = seed_of(np.asarray(seed, recorder.dtype)).reshape(-1)
            (dots.arena if space == 0 else dots.space(space))[address : address + seed.size] = seed
        if not rows:
            return dots
        code = np.frombuffer(recorder.code, np.uint32).reshape(-1, 4)
        words = np.frombuffer(recorder.words, np.int64) if recorder.words else np.zeros(1, np.int64)
        self.locate_spaces()
        dots.locate()
        tangent_at = sweep("tangent_at", recorder.dtype)
        places = self.places(code, words, dots)
        row = 0
        while row < rows:
            stop = min(rows, row + CHUNK)
            row = tangent_at(0.0, *places, row, stop)
            if row < stop:
                from numbad.sweeps import python_rows

                row = python_rows.tangent(self, code, words, row, dots)
        return dots


class Cotangents:
    """The cotangents (or tangents) of an execution: an arena of the same layout, and arrays for large inputs."""

    __slots__ = ("arena", "bases", "execution", "spaces")

    def __init__(self, execution: Execution) -> None:
        recorder = execution.recorder
        tape = getattr(recorder, "tape", None)
        if tape is not None:
            tape.keeps_values()
        self.execution = execution
        self.arena = take_memory(recorder.size, recorder.dtype, bool(recorder.large))
        self.clear(execution.virtual_blocks())
        self.spaces: dict[int, np.ndarray] = {}
        for space in recorder.input_spaces:  # only read as results, which are no -0.0, or written to first
            self.spaces[space] = np.zeros(recorder.spaces[space].size, recorder.dtype)
        self.bases = np.zeros(1, np.uint64)

    def clear(self, virtual: list[tuple[int, int]]) -> None:
        """Set the arena to absent, -0.0, but for blocks that have no memory of their own (see `fusion`)."""
        start = 0
        for first, count in virtual:
            self.arena[start:first] = -0.0
            start = first + count
        self.arena[start:] = -0.0

    def seed(self, seeds: list[tuple[int, Any]], scattered: Any) -> None:
        """Add seeds: (address, value), and `scattered` (addresses, values)."""
        for address, value in seeds:
            self.arena[address] += value
        for addresses, values in scattered:
            np.add.at(self.arena, addresses, seed_of(values))

    def space(self, space: int) -> np.ndarray:
        """Return the cotangents of a large input, flat in its memory order."""
        return self.spaces[space]

    def locate(self) -> None:
        """Note where each space begins in memory; constants have no cotangents."""
        bases = np.zeros(len(self.execution.recorder.spaces), np.uint64)
        for space, values in self.spaces.items():
            bases[space] = address_of(values)
        self.bases = bases


FEW = 1 << 12  # elements: up to here counting is the faster way to look for zeros
# The compiled half of np.count_nonzero: a quarter of the time.
count_nonzero = getattr(getattr(getattr(np, "_core", None), "multiarray", None), "count_nonzero", np.count_nonzero)


def contains_zero(values: np.ndarray) -> bool:
    """Whether an array of numbers has zeros."""
    return bool(not values.all() if values.size > FEW else count_nonzero(values) < values.size)


def seed_of(values: Any) -> Any:
    """Return a seed that the user gave: its zeros do not vary, so nothing flows from them."""
    values = np.asarray(values)
    if not contains_zero(values):
        return values
    return np.where(values == 0, -np.zeros((), values.dtype if values.dtype.kind == "f" else np.float64), values)


def address_of(values: Any) -> int:
    """Return where an array begins in memory."""
    try:
        return addressof(c_char.from_buffer(values))  # five times as fast as the other way
    except (TypeError, ValueError, BufferError):  # empty, read-only or not C-contiguous
        return values.__array_interface__["data"][0]


if CHECKED:
    address_of = checked_memory.watched(address_of)  # type: ignore[assignment]
    for _name in ("python_row", "python_row_back"):
        setattr(Execution, _name, checked_memory.naming_row(getattr(Execution, _name)))


def take_memory(count: int, dtype: np.dtype, sparse: bool) -> np.ndarray:
    """Return an array of anything; of zeros that cost nothing until they are written if `sparse` and very large.

    A fresh page of memory costs about as much as a thousand additions, so `give_back` keeps what was used,
    and very large arenas that are hardly touched (see `fusion`) come from the system, untouched.
    """
    size = count * dtype.itemsize
    if sparse and size > KEPT_MOST:
        return np.frombuffer(mmap.mmap(-1, size), dtype)
    if CHECKED:
        return checked_memory.fresh(count, dtype)
    kept = _thread.__dict__.get("kept")
    if kept and KEPT_LEAST < size <= KEPT_MOST:
        for k, buffer in enumerate(kept):
            if buffer.nbytes >= size:
                del kept[k]
                return buffer[:size].view(dtype)
    if KEPT_LEAST < size <= KEPT_MOST:
        return np.empty(size, np.uint8).view(dtype)
    return np.empty(count, dtype)


def give_back(values: np.ndarray) -> None:
    """Keep the memory of an array that nobody reads any more for the next sweeps of this thread."""
    if CHECKED:
        checked_memory.give_back(values)
        return
    while isinstance(values.base, np.ndarray):
        values = values.base
    if values.dtype != np.uint8 or not KEPT_LEAST < values.nbytes <= KEPT_MOST:
        return
    kept = _thread.__dict__.setdefault("kept", [])
    kept.append(values)
    kept.sort(key=len)
    if len(kept) > 3:
        del kept[0]


def check_memory(size: int) -> None:
    """Raise MemoryError when a request for memory would make the machine swap."""
    if size < COMPARED_MEMORY:
        return
    available = available_memory()
    if size > available:
        raise MemoryError(
            message(
                f"the sweep needs {size / 1e9:.1f} GB and {available / 1e9:.1f} GB are free",
                "differentiate a smaller part, use numbad.checkpoint, or float32 inputs",
                where=False,
            )
        )


def available_memory() -> float:
    """Return the bytes that can be used without swapping, infinity where it is not known."""
    try:
        with open("/proc/meminfo") as file:
            for line in file:
                if line.startswith("MemAvailable:"):
                    return 1024.0 * int(line.split()[1])
    except OSError:
        pass
    return float("inf")


MODULES = {
    "adjoint": "scalar",
    "plain_adjoint": "scalar",
    "are_finite": "scalar",
    "gradient_rows": "scalar",
    "linearise_rows": "scalar",
}
SWITCHES = {
    "primal": ("generated.scalar", 4),
    "linearise": ("generated.scalar", 5),
    "gradient_at": ("scalar", 9),
    "replay_at": ("scalar", 1),
    "run_pass": ("passes", 2),
    "block_primal": ("generated.blocks", 5),
    "block_partials": ("generated.blocks", 7),
    "emit_at": ("emission", 2),
    "forward_at": ("array", 9),
    "adjoint_at": ("array", 11),
    "tangent_at": ("array", 11),
    "both_at": ("array", 16),
    "points_primal": ("generated.points", 5),
    "points_adjoint": ("generated.points", 5),
}
_kernels: dict[Any, Any] = {}
_tables: dict[Any, np.ndarray] = {}
compile_seconds: dict[str, float] = {}


def kernel(name: str, dtype: np.dtype) -> Any:
    """Return a compiled sweep; the first call for a dtype compiles it, or loads it from the disk cache."""
    found = _kernels.get((name, dtype.num))
    if found is None:
        found = getattr(importlib.import_module(f"numbad.kernels.{MODULES[name]}"), name)
        with compile_notice(f"{name} {dtype}"):
            compile_kernel(found, name, dtype)
        _kernels[name, dtype.num] = found
    return found


def switch(name: str, dtype: np.dtype) -> np.uint64:
    """Return the memory address of a compiled switch over all ops; the first call loads or compiles it."""
    found = _kernels.get((name, dtype.num))
    if found is None:
        title = f"{name}_{dtype}"
        start = time.perf_counter()
        address = loading.load(title)
        compile_seconds[f"{name} {dtype}"] = time.perf_counter() - start
        if address is None:
            import numba

            module, integers = SWITCHES[name]
            signature = numba.int64(numba.from_dtype(dtype), *[numba.int64] * integers)
            function = getattr(importlib.import_module(f"numbad.kernels.{module}"), name)
            with compile_notice(f"{name} {dtype}"):
                address = loading.compile_to(title, function, signature)
        found = _kernels[name, dtype.num] = np.uint64(address)
    return found


HERE, ELSEWHERE = ("block_primal", "forward_at", "both_at"), ("block_partials", "adjoint_at")
_ready: set[Any] = set()


def ready_arrays(dtype: np.dtype) -> None:
    """Compile what a gradient of arrays needs, in two processes at once, unless it is on disk."""
    compile_in_two(HERE, ELSEWHERE, dtype)


def compile_in_two(here: tuple[str, ...], elsewhere: tuple[str, ...], dtype: np.dtype) -> None:
    """Compile switches, some in this process and some in another, unless they are on disk."""
    if (here, dtype.num) in _ready:
        return
    _ready.add((here, dtype.num))
    if any(loading.is_kept(f"{name}_{dtype}") for name in here + elsewhere):
        return
    child = loading.compile_elsewhere(__name__, "compile_switch", [[name, str(dtype)] for name in elsewhere])
    if child is None:
        return
    try:
        with compile_notice(f"with another process {dtype}"):
            for name in here:
                switch(name, dtype)
            child.wait()
    finally:
        child.kill()
        child.wait()


def compile_switch(name: str, dtype: str) -> None:
    """Compile a switch and keep it on disk."""
    switch(name, np.dtype(dtype))


def sweep(name: str, dtype: np.dtype, short: bool = False) -> Any:
    """Return a compiled sweep over rows of all kinds, called with memory addresses (see `machinecode.callable_at`)."""
    found = _kernels.get((name, dtype.num, short))
    if found is None:
        address = int(switch(name, dtype))
        found = loading.callable_at(address, dtype, SWITCHES[name][1], short)
        found = _kernels[name, dtype.num, short] = checked_memory.gate(name, found) if CHECKED else found
    return found


def block_kernels(dtype: np.dtype, scalar: bool = False) -> np.ndarray:
    """Return the table of switches that the array kernels call; `scalar` adds the one for many scalar rows."""
    table = _tables.get((dtype.num, scalar))
    if table is None:
        ready_arrays(dtype)
        first = switch("linearise", dtype) if scalar else 0
        table = np.array([first, switch("block_primal", dtype), switch("block_partials", dtype)], np.uint64)
        _tables[dtype.num, scalar] = table
    return table


def compile_kernel(function: Any, name: str, dtype: np.dtype) -> None:
    """Compile a sweep by running it over no rows."""
    code, values, partials = np.empty((0, 4), np.uint32), np.zeros(1, dtype), np.empty((0, 2), dtype)
    if name == "linearise_rows":
        function(switch("linearise", dtype), code, values, partials, 0, 0)
    elif name == "gradient_rows":
        if dtype == np.float64:
            switch("gradient_at", dtype)  # for the next process
        function(switch("linearise", dtype), code.reshape(-1), values[:0], 1, 0, 0)
    elif name == "are_finite":
        function(values)
    else:
        function(code, partials, values, 0, 0)


@contextlib.contextmanager
def compile_notice(name: str) -> Iterator[None]:
    """Say on stderr, once, that a first call takes long because it compiles; note the seconds it took."""
    start = time.perf_counter()
    timer = threading.Timer(NOTICE_AFTER, announce)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        compile_seconds[name] = time.perf_counter() - start


def refresh_stamps() -> None:
    """Make the compiled modules as new as the newest of them, before Numba looks: it does when it meets a function.

    Numba's disk cache looks at the time stamp of a function's own file only, but these modules
    inline functions of one another.
    """
    package = Path(__file__).parent.parent
    paths = [package / f"{name}.py" for name in STAMPED] + sorted((package / "kernels").rglob("*.py"))
    stamps = [path.stat().st_mtime_ns for path in paths]
    newest = max(stamps)
    for path, stamp in zip(paths, stamps, strict=True):
        if stamp < newest:
            with contextlib.suppress(OSError):
                os.utime(path, ns=(newest, newest))


def announce() -> None:
    """Print the notice, unless it has been printed."""
    if not _announced.is_set():
        _announced.set()
        print("numbad: compiling the sweeps, once on this machine; it takes some seconds", file=sys.stderr)


refresh_stamps()
