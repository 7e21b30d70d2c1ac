"""A file of plain arrays: a header, a description in JSON, and arrays, with a checksum over all of it.

ARCHITECTURE.md, section Files, says which byte is which.
"""

from __future__ import annotations

import hashlib
import json
import math
import struct
from typing import Any, NoReturn

import numpy as np

from numbad.errors import TapeError, message

MAGIC = b"\x89numbad\n"
VERSION = 1
HEADER = struct.Struct("<8sIIQQ")  # magic, version, zero, bytes of the file, bytes of the description
START = 64  # bytes: the header, with a checksum of 32 bytes at its end
ALIGNMENT = 64
DTYPES = ("<f8", "<f4", "<f2", "<i8", "<i4", "<i2", "|i1", "<u8", "<u4", "<u2", "|u1", "|b1")
MOST_AXES = 64
MOST_ELEMENTS = 1 << 46  # axes of no length not counted


def complain(what: str, do: str = "save the tape again, or record the function again") -> NoReturn:
    """Raise a TapeError about a file."""
    raise TapeError(message(what, do, where=False))


def shorten(value: Any) -> str:
    """Write what a file says in some place where it should say something else."""
    return printable(repr(value))[:100]


def printable(text: str) -> str:
    """Return text without characters that would move the cursor of a terminal."""
    return text if text.isprintable() else "".join(c if c.isprintable() else "?" for c in text)


# ---------------------------------------------------------------- writing


def pack(description: dict[str, Any], arrays: list[np.ndarray]) -> list[Any]:
    """Return the parts of a file, in order, as objects with a buffer.

    Parameters
    ----------
    description : dict
        Of what JSON can hold; it refers to arrays by their place in the list.
    arrays : list of ndarray
        Of real numbers or truth values, contiguous in C or Fortran order.

    Returns
    -------
    list of bytes and memoryview
        Large arrays are not copied.
    """
    table: list[Any] = []
    parts: list[Any] = []
    for values in arrays:
        entry, memory = describe_array(values)
        table.append(entry)
        parts += [memory, bytes(-memory.nbytes % ALIGNMENT)]
    text = json.dumps({**description, "arrays": table}, allow_nan=False, ensure_ascii=False, separators=(",", ":"))
    encoded = text.encode("utf-8", "backslashreplace")
    parts = [encoded, bytes(-(START + len(encoded)) % ALIGNMENT), *parts]
    total = START + sum(memoryview(part).nbytes for part in parts)
    head = HEADER.pack(MAGIC, VERSION, 0, total, len(encoded))
    return [head, checksum(head, parts), *parts]


def describe_array(values: np.ndarray) -> tuple[dict[str, Any], memoryview]:
    """Return the entry of an array in the table, and its bytes."""
    dtype = values.dtype.newbyteorder("<") if values.dtype.itemsize > 1 else values.dtype
    if dtype.str not in DTYPES:
        complain(f"a file cannot hold an array of dtype {values.dtype}", "convert it, for instance by x.astype(float)")
    order = "F" if values.flags.f_contiguous and not values.flags.c_contiguous else "C"
    values = np.asarray(values.T if order == "F" else values, dtype, order="C")
    shape = values.shape[::-1] if order == "F" else values.shape
    return {"dtype": dtype.str, "shape": shape, "order": order}, memoryview(values.reshape(-1).view(np.uint8))


def checksum(head: bytes, parts: list[Any]) -> bytes:
    """Return the SHA-256 of a header without its checksum and of what follows it."""
    digest = hashlib.sha256(head)
    for part in parts:
        digest.update(part)
    return digest.digest()


# ---------------------------------------------------------------- reading


def unpack(data: np.ndarray) -> tuple[dict[str, Any], list[np.ndarray]]:
    """Return the description and the arrays of a file; the arrays are views of its bytes.

    Parameters
    ----------
    data : ndarray of uint8
        The whole file.

    Raises
    ------
    TapeError
        Where it is not such a file, of a newer version, cut off or changed. Nothing is allocated
        in proportion to what the file claims.
    """
    length = check_header(data)
    encoded = data[START : START + length].tobytes()
    try:
        description = json.loads(encoded.decode("utf-8"), parse_constant=refuse_constant)
    except (ValueError, RecursionError) as error:
        complain(f"the description in the file is not JSON: {error}")
    if not isinstance(description, dict):
        complain("the description in the file is not a JSON object")
    return description, read_arrays(data, START + length, description.pop("arrays", None))


def refuse_constant(name: str) -> NoReturn:
    """Raise for NaN and Infinity, which are not JSON."""
    raise ValueError(name)


def check_magic(begin: bytes) -> None:
    """Check the first bytes of a file."""
    if begin[: len(MAGIC)] != MAGIC:
        what = f"it begins with {begin[: len(MAGIC)]!r}" if begin else "it is empty"
        complain(f"this is not a tape: {what}", "give the file that Tape.save has written")


def check_header(data: np.ndarray) -> int:
    """Check magic, version, length and checksum; return the number of bytes of the description."""
    check_magic(data[: len(MAGIC)].tobytes())
    if data.size < START:
        complain(f"the file ends after {data.size} bytes, inside its header")
    _, version, zero, total, length = HEADER.unpack(data[: HEADER.size].tobytes())
    if version > VERSION:
        complain(
            f"the file is of version {version} of the format; this numbad reads versions up to {VERSION}",
            "update numbad: python -m pip install --upgrade numbad",
        )
    if version < 1 or zero:
        complain(f"the header of the file is damaged: version {version}, {zero} where zero stands")
    if total != data.size:
        complain(f"the file has {data.size} bytes; its header says {total}: it was cut off, or something was added")
    if length > data.size - START:
        complain(f"the description is said to have {length} bytes, more than the file")
    if checksum(data[: HEADER.size].tobytes(), [data[START:]]) != data[HEADER.size : START].tobytes():
        complain("the checksum of the file is wrong: its bytes have changed since it was saved")
    return length


def read_arrays(data: np.ndarray, start: int, table: Any) -> list[np.ndarray]:
    """Return the arrays of a file as views; they follow one another and end where the file ends."""
    if not isinstance(table, list):
        complain("the file has no table of arrays")
    arrays = []
    for entry in table:
        start += -start % ALIGNMENT
        dtype, shape, order, size = check_entry(entry)
        if size > data.size - start:
            complain(f"an array of {size} bytes is said to begin at byte {start} of a file of {data.size}")
        memory = data[start : start + size]
        if dtype == "|b1":
            values = memory != 0
        else:
            values = memory.view(dtype).astype(np.dtype(dtype).newbyteorder("="), copy=False)
        arrays.append(values.reshape(shape, order=order))
        start += size
    if start + -start % ALIGNMENT != data.size:
        complain(f"the arrays end at byte {start} of a file of {data.size}")
    return arrays


def check_entry(entry: Any) -> tuple[str, list[int], Any, int]:
    """Return dtype, shape, order and bytes of an array in the table."""
    if not isinstance(entry, dict) or entry.get("dtype") not in DTYPES or entry.get("order") not in ("C", "F"):
        complain(f"{shorten(entry)} does not describe an array")
    shape: Any = entry.get("shape")
    if not is_shape(shape):
        complain(f"{shorten(shape)} is not the shape of an array")
    return entry["dtype"], shape, entry["order"], np.dtype(entry["dtype"]).itemsize * math.prod(shape)


def is_shape(value: Any) -> bool:
    """Whether a value read from JSON is the shape of an array."""
    if not isinstance(value, list) or len(value) > MOST_AXES:
        return False
    if not all(type(length) is int and 0 <= length <= MOST_ELEMENTS for length in value):
        return False
    return math.prod(length for length in value if length) <= MOST_ELEMENTS
