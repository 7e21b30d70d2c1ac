"""Tapes on files: what a tape consists of, written as plain arrays and read again without running anything."""

from __future__ import annotations

import contextlib
import inspect
import os
import threading
from pathlib import Path
from typing import Any

import numpy as np

from numbad.errors import SourceLine, TapeError, message, read_line
from numbad.ops import REGISTRY
from numbad.ops.definition import BY_NAME
from numbad.ops.host import ARRAY_OPS, ArrayOp, Shape
from numbad.ops.lanes import PREFIX, laned
from numbad.recording.decisions import DECISIONS
from numbad.recording.hostcalls import HostCall
from numbad.recording.structures import count_leaves
from numbad.settings import VERSION
from numbad.storage import container
from numbad.storage.container import complain, is_shape, printable, shorten
from numbad.storage.plaindata import Decoder, Encoder, compact
from numbad.storage.sparse_patterns import describe_patterns, read_patterns
from numbad.tape.layout import HOST, MAP, NAMES, host_call
from numbad.tapes.slots import Input, Output
from numbad.tapes.tape import Tape

DTYPE_NAMES = {4: "float32", 8: "float64"}
SPECIAL = "scipy.special."  # before the names of its functions among the array ops
MOST_OPCODE = 1 << 16
UNKNOWN = 2**32 - 1
MOST_TEXT = 500  # characters of a line of source


# ---------------------------------------------------------------- saving


def save(tape: Tape, file: Any) -> None:
    """Write a tape to a file; see `Tape.save`."""
    if hasattr(file, "write"):
        for part in write_tape(tape):
            file.write(part)
        return
    path = Path(os.path.realpath(os.fspath(file)))
    parts = write_tape(tape)
    if path.exists() and not path.is_file():
        with open(path, "wb") as stream:  # a device or a pipe; a directory raises here
            stream.writelines(parts)
        return
    part_path = path.with_name(f"{path.name}.{os.getpid()}.{threading.get_ident()}.part")
    try:
        with open(part_path, "wb") as stream:
            stream.writelines(parts)
        os.replace(part_path, path)  # whoever reads the path finds the old file or the new one, never half of it
    finally:
        with contextlib.suppress(FileNotFoundError):
            part_path.unlink()


def write_tape(tape: Tape) -> list[Any]:
    """Return the parts of a tape's file, in order."""
    if tape.forward_only:
        raise TapeError(
            message(
                "a tape that writes its addresses more than once (forward_only) cannot be saved",
                "save the tape that it was made of, and optimise what is loaded",
                where=False,
            )
        )
    tape.ensure_verified()
    encoder = Encoder()
    description = {
        "numbad": VERSION,
        "name": str(tape.name),
        "dtype": DTYPE_NAMES[tape.dtype.itemsize],
        "size": int(tape.size),
        **describe_opcodes(tape),
        "code": encoder.put(tape.program_code()),
        "words": encoder.put(tape.program_words()),
        "numbers": encoder.put(tape.numbers),
        "loads": describe_loads(tape, encoder),
        "spaces": [None if space is None else encoder.put(compact(space)) for space in tape.spaces],
        "space_names": [str(name) for name in tape.space_names],
        "hosts": [describe_host(tape, index, encoder) for index in range(len(tape.hosts))],
        "inputs": describe_inputs(tape, encoder),
        "outputs": [describe_output(slot, encoder) for slot in tape.outputs],
        "input_trees": [encoder.encode_structure(tree, "an argument") for tree in tape.input_trees],
        "output_tree": encoder.encode_structure(tape.output_tree, "the result"),
        **describe_sites(tape, encoder),
        **describe_patterns(tape, encoder),
    }
    return container.pack(description, encoder.arrays)


def describe_opcodes(tape: Tape) -> dict[str, Any]:
    """Return the names of the opcodes that a tape uses: opcodes are places in a registry, which may change."""
    opcodes = np.flatnonzero(np.bincount(tape.code[:, 0])).tolist() if len(tape) else []
    ops = sorted({opcode % MAP for opcode in opcodes if opcode < 2 * MAP})
    return {
        "ops": [[REGISTRY[k].name, k, REGISTRY[k].arity] for k in ops],
        "map": MAP,
        "rows": [[NAMES[opcode], opcode] for opcode in opcodes if opcode >= 2 * MAP],
    }


def describe_loads(tape: Tape, encoder: Encoder) -> list[int]:
    """Return the small constant arrays as three arrays: addresses, lengths, and all values on end."""
    blocks = [np.asarray(block, tape.dtype).reshape(-1) for _, block in tape.loads]
    addresses = np.array([address for address, _ in tape.loads], np.int64)
    lengths = np.array([block.size for block in blocks], np.int64)
    values = np.concatenate([np.empty(0, tape.dtype), *blocks])
    return [encoder.put(part) for part in (addresses, lengths, values)]


def describe_host(tape: Tape, index: int, encoder: Encoder) -> dict[str, Any]:
    """Return an array op's use by the name of the op, or raise a TapeError for a kernel that has no name."""
    host = tape.hosts[index]
    op = getattr(host, "op", None)
    name = getattr(op, "name", type(host).__name__)
    known = next((text for text in (name, SPECIAL + name) if find_array_op(text) is op), None)
    if not isinstance(host, HostCall) or known is None:
        raise TapeError(
            message(
                f"the tape of {tape.name} calls {name}, a Python function that has no registered name;"
                " a file cannot hold it",
                "save a tape without it, and record the rest of the function where the tape is loaded",
                host_site(tape, index),
                where=host_site(tape, index) is not None,
            )
        )
    return {
        "op": known,
        "settings": encoder.encode(dict(host.settings), f"the call of {name}"),
        "operands": [list(shape) for shape in host.operand_shapes],
        "results": [list(shape) for shape in host.result_shapes],
    }


def find_array_op(name: str) -> ArrayOp | None:
    """Return the array op of a name, importing the library's modules that declare them."""
    if name.startswith(PREFIX):
        op = find_array_op(name.removeprefix(PREFIX))
        return None if op is None else laned(op)
    if name in ARRAY_OPS:
        return ARRAY_OPS[name]
    from numbad.numpy_api import tables as numpy_tables
    from numbad.scipy_api import tables as scipy_tables

    assert numpy_tables  # importing the tables declares the ops
    elementwise = scipy_tables.ELEMENTWISE
    return elementwise.get(name.removeprefix(SPECIAL)) if name.startswith(SPECIAL) else ARRAY_OPS.get(name)


def host_site(tape: Tape, index: int) -> Any:
    """Return the user's statement that a host comes from."""
    rows = np.flatnonzero(tape.code[:, 0] == HOST)
    found = rows[host_call(tape.words, tape.code[rows, 2].astype(np.int64)) == index]
    return tape.site(int(found[0])) if len(found) else None


def describe_inputs(tape: Tape, encoder: Encoder) -> list[dict[str, Any]]:
    """Return the inputs, each with its value at the recording."""
    examples = tape.examples or (None,) * len(tape.inputs)
    return [
        {
            "name": slot.name,
            "space": slot.space,
            "address": slot.address,
            "shape": list(slot.shape),
            "dtype": DTYPE_NAMES[slot.dtype.itemsize],
            "order": slot.order,
            "example": encoder.encode(example, f"the example of {slot.name}"),
        }
        for slot, example in zip(tape.inputs, examples, strict=True)
    ]


def describe_output(slot: Output, encoder: Encoder) -> dict[str, Any]:
    """Return a result's place, or its value if it is a constant."""
    return {
        "space": slot.space,
        "address": slot.address,
        "shape": list(slot.shape),
        "strides": list(slot.strides),
        "boolean": bool(slot.boolean),
        "constant": encoder.encode(slot.constant, "a constant result"),
    }


def describe_sites(tape: Tape, encoder: Encoder) -> dict[str, Any]:
    """Return the rows that have a site, which, and the sites as text."""
    rows = np.flatnonzero(tape.sites >= 0)
    places = [[text[:MOST_TEXT] if isinstance(text, str) else text for text in read_line(site)] for site in tape.places]
    return {
        "site_rows": encoder.put(rows.astype(np.uint32)),
        "site_places": encoder.put(np.asarray(tape.sites, np.int32)[rows]),
        "places": places,
    }


# ---------------------------------------------------------------- loading


def load(file: Any, *, types: Any = ()) -> Tape:
    """Read a tape from a file that `Tape.save` has written, and verify it.

    Parameters
    ----------
    file : str, path-like or binary file
        The name of the file, or a file that is open for reading.
    types : sequence of type, optional
        The named tuples among the arguments and results of the recorded function, which are made again
        only if they are given here.

    Returns
    -------
    Tape
        The tape, verified: it computes what the saved one does.

    Raises
    ------
    TapeError
        When the file is not a tape, of a newer version of the format, cut off or changed; when it uses
        an op that is not registered here, or a named tuple that is not among `types`; when the tape in
        it does not pass `numbad.verify`. The message says which.
    MemoryError
        When the tape needs more memory to run than is free.
    OSError
        When the file cannot be read (`FileNotFoundError` when there is none).
    TypeError
        When `file` is neither a name nor a file.

    Notes
    -----
    A file holds arrays and text. Nothing in it is executed or imported, and a file of any bytes at all
    gives an error or a tape that stays within its own memory. It is still a program: it may take
    long to run, and compute anything.

    A million rows take some hundredths of a second. The format is described in numbad/ARCHITECTURE.md.

    Examples
    --------
    >>> import io, numbad
    >>> file = io.BytesIO()
    >>> numbad.record(lambda x, y: x * y, 2.0, 3.0).save(file)
    >>> tape = numbad.load(io.BytesIO(file.getvalue()))
    >>> tape.gradient(5.0, 7.0)
    (7.0, 5.0)
    """
    if hasattr(file, "read"):
        return read_tape(file.read(), types)
    with open(os.fspath(file), "rb") as stream:
        container.check_magic(stream.peek(len(container.MAGIC)))
        return read_tape(stream.read(), types)


def read_tape(data: Any, types: Any = ()) -> Tape:
    """Return the verified tape that bytes describe."""
    values = np.frombuffer(data, np.uint8)
    if values.__array_interface__["data"][0] % 16:
        values = values.copy()  # the arrays in it are aligned where it is
    decoder = Decoder([], types)
    try:
        description, decoder.arrays = container.unpack(values)
        tape = build_tape(description, decoder)
    except RecursionError:
        complain("the description in the file is nested too deeply")
    tape.ensure_verified()
    read_patterns(tape, description, decoder)
    return tape


def build_tape(description: dict[str, Any], decoder: Decoder) -> Tape:
    """Return the tape of a description, not verified yet."""
    code = translate(array(description, decoder, "code", np.uint32, 2), description)
    return Tape(
        code=code,
        words=array(description, decoder, "words", np.int64, 1),
        size=integer(description.get("size"), "the size of the arena"),
        dtype=dtype_of(description.get("dtype")),
        numbers=pairs(array(description, decoder, "numbers", np.float64, 2)),
        loads=read_loads(description, decoder),
        spaces=read_spaces(description, decoder),
        hosts=[read_host(entry, decoder) for entry in entries(description, "hosts", dict)],
        inputs=tuple(read_input(entry) for entry in entries(description, "inputs", dict)),
        outputs=tuple(read_output(entry, decoder) for entry in entries(description, "outputs", dict)),
        **read_trees(description, decoder),
        sites=read_sites(description, decoder, len(code)),
        places=[read_place(entry) for entry in entries(description, "places", list)],  # type: ignore[misc]
        name=text(description.get("name"), "the name of the function"),
        space_names=tuple(text(name, "the name of an array") for name in entries(description, "space_names", str)),
        examples=read_examples(description, decoder),
    )


# ---------------------------------------------------------------- fields


def entries(description: dict[str, Any], name: str, kind: type) -> list[Any]:
    """Return a list in the description whose parts are all of one type."""
    found = description.get(name)
    if type(found) is not list or not all(type(part) is kind for part in found):
        complain(f"the file has no list of {name}")
    return found


def integer(value: Any, what: str, low: int = 0, high: int = 1 << 46) -> int:
    """Return a value that is an integer from low to high."""
    if type(value) is not int or not low <= value <= high:
        complain(f"{what} is said to be {shorten(value)}")
    return value


def text(value: Any, what: str) -> str:
    """Return a value that is text, without characters that would move the cursor of a terminal."""
    if type(value) is not str:
        complain(f"{what} is said to be {shorten(value)}")
    return printable(value)


def shape_of(value: Any, what: str) -> Shape:
    """Return a value that is a shape."""
    if not is_shape(value):
        complain(f"the shape of {what} is said to be {shorten(value)}")
    return tuple(value)


def dtype_of(value: Any) -> np.dtype:
    """Return the dtype of an arena or input."""
    if value not in ("float32", "float64"):
        complain(f"a dtype is said to be {shorten(value)}; float32 and float64 are known")
    return np.dtype(value)


def array(description: dict[str, Any], decoder: Decoder, name: str, dtype: Any, ndim: int) -> np.ndarray:
    """Return an array of the file that has to be of a certain dtype and number of axes."""
    return checked(decoder.take(description.get(name), name), name, dtype, ndim)


def checked(values: np.ndarray, name: str, dtype: Any, ndim: int) -> np.ndarray:
    """Return an array if it is of a certain dtype and number of axes."""
    if values.dtype != dtype or values.ndim != ndim:
        complain(
            f"{name} is an array of {values.dtype} with {values.ndim} axes; {np.dtype(dtype)} and {ndim} are wanted"
        )
    return values


def pairs(values: np.ndarray) -> np.ndarray:
    """Return an array of two columns."""
    if values.shape[1] != 2:
        complain(f"the constants have {values.shape[1]} columns; two are wanted")
    return values


# ---------------------------------------------------------------- opcodes


def translate(code: np.ndarray, description: dict[str, Any]) -> np.ndarray:
    """Return the rows with the opcodes that their names have here."""
    if code.shape[1] != 4:
        complain(f"the rows have {code.shape[1]} columns; four are wanted")
    table = opcode_table(description)
    opcodes = code[:, 0]
    if len(code) and int(opcodes.max()) >= table.size:
        complain(f"the file uses the opcode {int(opcodes.max())} and does not say what it is")
    found = table[opcodes]
    if (found == UNKNOWN).any():
        complain(f"the file uses the opcode {int(opcodes[np.argmax(found == UNKNOWN)])} and does not say what it is")
    if np.array_equal(found, opcodes):
        return code
    code = code.copy()
    code[:, 0] = found
    return code


def opcode_table(description: dict[str, Any]) -> np.ndarray:
    """Return the opcode here of each opcode of the file, or UNKNOWN."""
    table = np.full(MOST_OPCODE, UNKNOWN, np.uint32)
    first = integer(description.get("map"), "the opcode of MAP", 1, MOST_OPCODE // 2)
    for entry in entries(description, "ops", list):
        name, opcode, arity = entry if len(entry) == 3 else (None, None, None)
        opcode = integer(opcode, f"the opcode of {shorten(name)}", 0, first - 1)
        op = BY_NAME.get(text(name, "the name of an op"))
        if op is None:
            complain(
                f"the tape uses the op {name}, which is not registered here",
                "import the module that declares it with numbad.op, or update numbad",
            )
        if op.arity != arity:
            complain(
                f"the op {name} has {shorten(arity)} operands in the file and {op.arity} here", "rename one of them"
            )
        table[opcode], table[first + opcode] = op.opcode, MAP + op.opcode
    opcodes = {name: opcode for opcode, name in NAMES.items()}
    for entry in entries(description, "rows", list):
        name, opcode = entry if len(entry) == 2 else (None, None)
        opcode = integer(opcode, f"the opcode of {shorten(name)}", 2 * first, MOST_OPCODE - 1)
        name = text(name, "the name of a row")
        if name not in opcodes:
            complain(f"the tape has rows of the kind {name}, which is not known here", "update numbad")
        table[opcode] = opcodes[name]
    return table


# ---------------------------------------------------------------- parts


def read_loads(description: dict[str, Any], decoder: Decoder) -> list[tuple[int, np.ndarray]]:
    """Return the small constant arrays and their addresses."""
    places = description.get("loads")
    if type(places) is not list or len(places) != 3:
        complain("the file has no constant arrays")
    addresses, lengths, values = (decoder.take(place, "a constant") for place in places)
    checked(addresses, "the addresses of constants", np.int64, 1)
    checked(lengths, "the lengths of constants", np.int64, 1)
    checked(values, "the constants", dtype_of(description.get("dtype")), 1)
    if lengths.size != addresses.size or (lengths < 0).any() or (lengths > values.size).any():
        complain("the lengths of the constant arrays cannot be")
    ends = np.cumsum(lengths)
    if (ends[-1] if ends.size else 0) != values.size or (ends < 0).any() or (ends > values.size).any():
        complain("the lengths of the constant arrays do not add up")
    starts = ends - lengths
    return [(a, values[i:j]) for a, i, j in zip(addresses.tolist(), starts.tolist(), ends.tolist(), strict=True)]


def read_spaces(description: dict[str, Any], decoder: Decoder) -> list[Any]:
    """Return the large constant arrays; None for the arena and the inputs."""
    places = description.get("spaces")
    if type(places) is not list:
        complain("the file has no list of spaces")
    return [None if place is None else decoder.take(place, "a large constant") for place in places]


class LoadedCall(HostCall):
    """An array op's use in a tape from a file, whose settings may be anything."""

    __slots__ = ()

    def forward(self, inputs: list[Any], outputs: list[Any]) -> None:
        """Compute the results; what the op does not accept is the file's fault."""
        try:
            super().forward(inputs, outputs)
        except (TypeError, KeyError, AttributeError, IndexError) as error:
            complain(f"{self.op.name} does not take the settings that the file gives it: {error}")


def read_host(entry: dict[str, Any], decoder: Decoder) -> HostCall:
    """Return an array op's use, if the op is known and has results of these shapes."""
    name = text(entry.get("op"), "the name of an array op")
    op = find_array_op(name)
    if op is None:
        complain(
            f"the tape calls the array op {name}, which is not registered here",
            "import the module that declares it, or update numbad",
        )
    settings = decoder.decode(entry.get("settings"), f"the call of {name}")
    operands = [shape_of(shape, f"an operand of {name}") for shape in entries(entry, "operands", list)]
    results = [shape_of(shape, f"a result of {name}") for shape in entries(entry, "results", list)]
    if type(settings) is not dict or not all(type(key) is str for key in settings):
        complain(f"the call of {name} has no settings")
    try:
        inspect.signature(op.primal).bind(*operands, **settings)
        shapes = op.shapes_function(*operands, **settings)
        fits = [tuple(int(n) for n in shape) for shape in shapes] == results
    except Exception as error:
        complain(f"{name} does not take operands of the shapes {operands} with the settings of the file: {error}")
    if not fits:
        complain(f"{name} of operands of the shapes {operands} has no results of the shapes {results}")
    if name.removeprefix(PREFIX) == "agrees":
        decision = settings["decision"]
        if type(decision) is not str or decision not in DECISIONS or type(settings["settings"]) is not dict:
            complain(f"the tape guards a decision {shorten(decision)}, which is not known here")
    return LoadedCall(op, settings, operands, results)


def read_input(entry: dict[str, Any]) -> Input:
    """Return an input."""
    name = text(entry.get("name"), "the name of an input")
    if entry.get("order") not in ("C", "F"):
        complain(f"the order of {name} is said to be {shorten(entry.get('order'))}")
    return Input(
        name,
        integer(entry.get("space"), f"the space of {name}"),
        integer(entry.get("address"), f"the address of {name}"),
        shape_of(entry.get("shape"), name),
        dtype_of(entry.get("dtype")),
        entry["order"],
    )


def read_examples(description: dict[str, Any], decoder: Decoder) -> tuple[Any, ...]:
    """Return the values of the inputs at the recording; nothing if the file has none."""
    found = [decoder.decode(entry.get("example"), "an example") for entry in entries(description, "inputs", dict)]
    return () if any(example is None for example in found) else tuple(found)


def read_output(entry: dict[str, Any], decoder: Decoder) -> Output:
    """Return a result."""
    strides = entry.get("strides")
    shape = shape_of(entry.get("shape"), "a result")
    if type(strides) is not list or len(strides) != len(shape):
        complain(f"the strides of a result are said to be {shorten(strides)}")
    for step in strides:
        integer(step, "the stride of a result", -(1 << 46))
    constant = decoder.decode(entry.get("constant"), "a constant result")
    if constant is not None and type(constant) not in (bool, int, float) and not hasattr(constant, "dtype"):
        complain("a constant result is not a number or array")
    if type(entry.get("boolean")) is not bool:
        complain("a result is not said to be a truth value or none")
    return Output(
        integer(entry.get("space"), "the space of a result"),
        integer(entry.get("address"), "the address of a result"),
        shape,
        tuple(strides),
        entry["boolean"],
        constant,
    )


def read_trees(description: dict[str, Any], decoder: Decoder) -> dict[str, Any]:
    """Return the structures of arguments and result, if they have as many leaves as there are inputs and outputs."""
    trees = description.get("input_trees")
    if type(trees) is not list:
        complain("the file has no structures of arguments")
    arguments = tuple(decoder.decode_structure(tree, "an argument") for tree in trees)
    result = decoder.decode_structure(description.get("output_tree"), "the result")
    counts = sum(count_leaves(tree) for tree in arguments), count_leaves(result)
    if counts != (len(description["inputs"]), len(description["outputs"])):
        complain(
            f"the structures of arguments and result have {counts[0]} and {counts[1]} leaves, which is not what it has"
        )
    return {"input_trees": arguments, "output_tree": result}


def read_sites(description: dict[str, Any], decoder: Decoder, count: int) -> np.ndarray:
    """Return the site of each row, -1 for none."""
    rows = array(description, decoder, "site_rows", np.uint32, 1)
    places = array(description, decoder, "site_places", np.int32, 1)
    if rows.size != places.size or (rows >= count).any():
        complain("the file has sites of rows that it has not")
    sites = np.full(count, -1, np.int32)
    sites[rows] = places
    return sites


def read_place(entry: list[Any]) -> SourceLine:
    """Return a user's statement."""
    if len(entry) != 4:
        complain("a user's statement is not written as one")
    file, line, function, source = entry
    return SourceLine(
        text(file, "a file's name"),
        integer(line, "a line"),
        text(function, "a function's name"),
        text(source, "a line of source"),
    )


# ---------------------------------------------------------------- processes and copies


def tape_bytes(tape: Tape) -> tuple[Any, tuple[bytes, tuple[Any, ...]]]:
    """Return how `pickle` makes a tape again: from the bytes of its file, and the named tuples in its structures."""
    return read_tape, (b"".join(bytes(part) for part in write_tape(tape)), named_tuples(tape))


def named_tuples(tape: Tape) -> tuple[Any, ...]:
    """Return the named tuples in the structures of arguments and result."""
    found: dict[Any, None] = {}
    waiting = [tree for tree in (*tape.input_trees, tape.output_tree) if tree is not None]
    while waiting:
        tree = waiting.pop()
        if isinstance(tree.type, type) and issubclass(tree.type, tuple) and tree.type is not tuple:
            found[tree.type] = None
        waiting += tree.children()
    return tuple(found)
