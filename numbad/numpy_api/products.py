"""Products of matrices and tensors: einsum, and all that it can say, through rows that contract two operands."""

from __future__ import annotations

import functools
import math
from typing import Any

import numpy as np

from numbad.errors import message
from numbad.geometry import broadcast, contiguous
from numbad.numpy_api.dispatch import check_casting, finish, implements, implements_ufunc, unsupported, widened
from numbad.ops.convolution import convolved_box
from numbad.recording.arrays import Array, make_block
from numbad.recording.blocks import operand_of
from numbad.recording.matmul import matrix_product, walked_together
from numbad.recording.operands import (
    demote,
    holds_active,
    read_arrays,
    read_numbers,
    recorder_of,
    to_active,
    to_array,
)
from numbad.recording.zero_factors import leave_out_unread

LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"


def axis_lengths(operands: list[Array], labels: list[str]) -> dict[str, int]:
    """Return the length of each labelled axis; length 1 broadcasts."""
    sizes: dict[str, int] = {}
    for array, names in zip(operands, labels, strict=True):
        if len(names) != array.ndim:
            raise ValueError(
                message(
                    f"the subscripts {names!r} name {len(names)} axes, but the operand has shape {array.shape}",
                    "give each axis one label, or use an ellipsis",
                )
            )
        for name, n in zip(names, array.shape, strict=True):
            known = sizes.setdefault(name, n)
            if known == n:
                continue
            if known != 1 and n != 1:
                raise ValueError(
                    message(
                        f"axes of lengths {known} and {n} do not fit: shapes "
                        + " and ".join(str(a.shape) for a in operands),
                        "compare the shapes of the operands; .T or reshape may be missing",
                    )
                )
            sizes[name] = known if n == 1 else n
    return sizes


def labelled_strides(array: Array, names: str, labels: str) -> tuple[int, int, tuple[int, ...]]:
    """Describe an operand over an index space of labelled axes; a label met twice walks a diagonal."""
    space, address, strides = operand_of(array)
    step = dict.fromkeys(labels, 0)
    for name, n, stride in zip(names, array.shape, strides, strict=True):
        step[name] += stride if n > 1 else 0
    return space, address, tuple(step[name] for name in labels)


def product_over(labels: str, one_labels: str, other_labels: str, out_labels: str, one: Array, other: Array) -> Any:
    """Contract two arrays over labelled axes, as np.einsum does: one row."""
    if one.boolean and other.boolean:  # NumPy asks whether there is a pair of which both are true
        numbers: Any = np.multiply(one, 1.0)
        return product_over(labels, one_labels, other_labels, out_labels, numbers, other) != 0.0
    sizes = axis_lengths([one, other], [one_labels, other_labels])
    if len(set(one_labels)) == one.ndim and len(set(other_labels)) == other.ndim:
        shared = [(k, other_labels.index(name)) for k, name in enumerate(one_labels) if name in other_labels]
        one, other = leave_out_unread(one, other, shared)
    shape = tuple(sizes[name] for name in labels)
    out_shape = tuple(sizes[name] for name in out_labels)
    operands = (labelled_strides(one, one_labels, labels), labelled_strides(other, other_labels, labels))
    steps = dict(zip(out_labels, contiguous(out_shape), strict=True))
    strides = tuple(steps.get(name, 0) for name in labels)
    out = one.recorder.contract_row(shape, math.prod(out_shape), strides, *operands)
    return make_block(one.recorder, out, out_shape)


def sum_over(names: str, out_labels: str, array: Array) -> Any:
    """Sum a labelled array over the labels that are not kept: one row, or a view when none is dropped."""
    sizes = axis_lengths([array], [names])
    labels = out_labels + "".join(dict.fromkeys(name for name in names if name not in out_labels))
    shape = tuple(sizes[name] for name in labels)
    out_shape = tuple(sizes[name] for name in out_labels)
    if len(labels) == len(out_labels) and array.shape:
        steps = dict.fromkeys(labels, 0)
        for name, n, stride in zip(names, array.shape, array.steps(), strict=True):
            steps[name] += stride if n > 1 else 0
        return array.view(out_shape, array.offset, tuple(steps[name] for name in labels))
    kept = dict(zip(out_labels, contiguous(out_shape), strict=True))
    strides = tuple(kept.get(name, 0) for name in labels)
    operand = labelled_strides(array, names, labels)
    return make_block(array.recorder, array.recorder.add_row(shape, math.prod(out_shape), strides, operand), out_shape)


# ---------------------------------------------------------------- einsum


@implements("einsum")
def einsum(*operands: Any, out: Any = None, optimize: Any = False, dtype: Any = None, order: str = "K",
           casting: str = "safe") -> Any:  # fmt: skip
    """Einstein's summation, with every form of subscripts that NumPy knows; several operands go in pairs."""
    subscripts, arrays = read_operands(operands)
    check_casting(arrays, dtype, casting)
    arrays = [widened(part, dtype) for part in arrays]
    labels, out_labels = read_subscripts(subscripts, tuple(a.ndim for a in arrays))
    sizes = axis_lengths(arrays, labels)
    work = list(zip(arrays, labels, strict=True))
    for pair in contraction_order(labels, out_labels, sizes, optimize):
        chosen = [work[k] for k in pair]
        work = [part for k, part in enumerate(work) if k not in pair]
        left = set(out_labels).union(*(names for _, names in work))
        work.append(contract_pair(chosen, left, out_labels if not work else None))
    array, names = work[0]
    result = array if names == out_labels and len(arrays) > 1 else sum_over(names, out_labels, array)
    result = demote(result)
    if order in ("C", "F") and type(result) is Array:
        result = result.copy(order)
    return finish(result, dtype, out)


def read_operands(operands: tuple[Any, ...]) -> tuple[str, list[Array]]:
    """Return subscripts as text and the arrays, from either way of calling np.einsum."""
    if isinstance(operands[0], str):
        return operands[0].replace(" ", ""), read_arrays(*operands[1:])
    arrays, lists = list(operands[: len(operands) // 2 * 2 : 2]), list(operands[1::2])
    result = operands[-1] if len(operands) % 2 else None
    order = sorted({k for part in [*lists, *([result] if result else [])] for k in part if k is not Ellipsis})
    names = {k: LETTERS[position] for position, k in enumerate(order)}

    def text(part: Any) -> str:
        return "".join("..." if k is Ellipsis else names[k] for k in part)

    inputs = ",".join(text(part) for part in lists)
    return inputs + ("" if result is None else "->" + text(result)), read_arrays(*arrays)


@functools.lru_cache(maxsize=256)
def read_subscripts(subscripts: str, ndims: tuple[int, ...]) -> tuple[list[str], str]:
    """Return the labels of each operand and of the result, with ellipses written out."""
    inputs, arrow, output = subscripts.partition("->")
    parts = inputs.split(",")
    if len(parts) != len(ndims):
        raise ValueError(f"einsum: {len(parts)} groups of subscripts for {len(ndims)} operands")
    free = [letter for letter in LETTERS if letter not in subscripts]
    widths = [ndim - len(part.replace("...", "")) for part, ndim in zip(parts, ndims, strict=True)]
    dotted = [width for width, part in zip(widths, parts, strict=True) if "..." in part]
    width = max(dotted, default=0)
    if min(dotted, default=0) < 0:
        raise ValueError("einsum: an operand has fewer axes than its subscripts")
    dots = "".join(free[:width])
    labels = [part.replace("...", dots[width - w :] if w else "") for part, w in zip(parts, widths, strict=True)]
    if not arrow:
        named = [letter for letter in sorted(set(inputs) - set(".,")) if inputs.count(letter) == 1]
        output = dots + "".join(named)
    else:
        output = output.replace("...", dots)
    unknown = set(output) - set("".join(labels))
    if unknown or len(set(output)) != len(output):
        raise ValueError(f"einsum: the output subscripts {output!r} are repeated or not among the inputs")
    return labels, output


def contraction_order(
    labels: list[str], out_labels: str, sizes: dict[str, int], optimize: Any
) -> list[tuple[int, ...]]:
    """Return which operands are contracted with one another, one pair after the other."""
    if len(labels) < 2:
        return []
    if len(labels) == 2:
        return [(0, 1)]
    shapes = [np.broadcast_to(0.0, [sizes[name] for name in names]) for names in labels]
    chosen = isinstance(optimize, str) or (isinstance(optimize, (list, tuple)) and not isinstance(optimize[0], int))
    how = optimize if chosen else "greedy"
    path = np.einsum_path(",".join(labels) + "->" + out_labels, *shapes, optimize=how)[0][1:]
    order: list[tuple[int, ...]] = []
    count = len(labels)
    for step in path:
        order += in_pairs(list(step), count)
        count -= len(step) - 1
    return order


def in_pairs(step: list[int], count: int) -> list[tuple[int, ...]]:
    """Split a step that contracts several operands into pairs; results are put at the end of the list."""
    if len(step) <= 2:
        return [tuple(sorted(step))]
    pairs: list[tuple[int, ...]] = []
    left = sorted(step)
    while len(left) > 1:
        one, other = left[:2]
        pairs.append((one, other))
        left = [k - (k > one) - (k > other) for k in left[2:]]
        count -= 1
        left.append(count - 1)
    return pairs


def contract_pair(chosen: list[tuple[Array, str]], left: set[str], out_labels: str | None) -> tuple[Any, str]:
    """Contract two labelled arrays; labels that are not needed any more are summed over."""
    if len(chosen) == 1:
        array, names = chosen[0]
        kept = "".join(dict.fromkeys(name for name in names if name in left)) if out_labels is None else out_labels
        return to_array(sum_over(names, kept, array)), kept
    (one, one_names), (other, other_names) = chosen
    one, one_names = drop_lone(one, one_names, left | set(other_names))
    other, other_names = drop_lone(other, other_names, left | set(one_names))
    every = "".join(dict.fromkeys(one_names + other_names))
    kept = "".join(name for name in every if name in left) if out_labels is None else out_labels
    labels = kept + "".join(name for name in every if name not in kept)
    return to_array(product_over(labels, one_names, other_names, kept, one, other), one.recorder), kept


def drop_lone(array: Array, names: str, needed: set[str]) -> tuple[Array, str]:
    """Sum over the labels that nothing else needs."""
    if all(name in needed for name in names):
        return array, names
    kept = "".join(dict.fromkeys(name for name in names if name in needed))
    return to_array(sum_over(names, kept, array)), kept


@implements("einsum_path")
def einsum_path(*operands: Any, optimize: Any = "greedy", einsum_call: bool = False) -> Any:
    """The order in which np.einsum would contract: it depends on shapes only."""
    if einsum_call:
        unsupported("einsum_path", "einsum_call=, which is for NumPy itself", "leave it away")
    plain = [np.broadcast_to(0.0, part.shape) if isinstance(part, Array) else part for part in operands]
    return np.einsum_path(*plain, optimize=optimize)


# ---------------------------------------------------------------- matrix products


@implements_ufunc("matmul")
@implements("linalg.matmul")
def matmul(a: Any, b: Any, /) -> Any:
    """Matrix product, with vectors and stacks of matrices as NumPy has them."""
    recorder = recorder_of(a, b)
    found = matrix_product(recorder, a, b)
    if found is not None:
        return found
    a, b = to_array(a, recorder), to_array(b, recorder)
    if not a.shape or not b.shape:
        raise ValueError("matmul: Input operand does not have enough dimensions (use * for a scalar)")
    stack = broadcast(a.shape[:-2], b.shape[:-2])
    names = LETTERS[: len(stack)]
    one = names[len(stack) - max(a.ndim - 2, 0) :] + ("YX" if a.ndim > 1 else "X")
    other = names[len(stack) - max(b.ndim - 2, 0) :] + ("XZ" if b.ndim > 1 else "X")
    rows = b.shape[-2 if b.ndim > 1 else -1]
    if a.shape[-1] != rows:
        raise ValueError(
            message(
                f"matmul: shapes {a.shape} and {b.shape} do not fit: {a.shape[-1]} columns meet {rows} rows",
                "compare the shapes of the operands; .T or reshape may be missing",
            )
        )
    out = names + ("Y" if a.ndim > 1 else "") + ("Z" if b.ndim > 1 else "")
    labels = names + "YXZ" if a.ndim > 1 and b.ndim > 1 and a.shape[-1] < b.shape[-1] else out + "X"
    return product_over(labels, one, other, out, a, b)


DIRECT = {Array, np.ndarray}  # one of each: their products of vectors and matrices are one row


@implements("dot")
def dot(a: Any, b: Any, out: Any = None) -> Any:
    """Dot product, as np.dot has it."""
    recorder = recorder_of(a, b)
    if out is None and {type(a), type(b)} == DIRECT:
        found = matrix_product(recorder, a, b)
        if found is not None:
            return found
    read_numbers(recorder, (a, b))
    a, b = to_active(a, recorder), to_active(b, recorder)
    if not a.shape or not b.shape:
        return finish(a * b, None, out)
    if a.ndim <= 2 and b.ndim <= 2:
        return finish(matmul(*leave_out_unread(a, b, walked_together(a, b))), None, out)
    return finish(np.tensordot(a, b, axes=(-1, 0 if b.ndim == 1 else -2)), None, out)


@implements("vdot")
def vdot(a: Any, b: Any, /) -> Any:
    """Dot product of the flattened operands."""
    a, b = read_arrays(a, b)
    return dot(a.reshape(-1), b.reshape(-1))


@implements("inner")
def inner(a: Any, b: Any, /) -> Any:
    """Sum of products over the last axes."""
    if {type(a), type(b)} == DIRECT and a.ndim == b.ndim == 1:
        return dot(a, b)
    a, b = read_arrays(a, b)
    if not a.shape or not b.shape:
        return demote(a) * demote(b)
    return np.tensordot(a, b, axes=(-1, -1))


@implements("outer", "linalg.outer")
def outer(a: Any, b: Any, out: Any = None) -> Any:
    """Products of every element of one with every element of the other."""
    a, b = read_arrays(a, b)
    return finish(a.reshape(-1, 1) * b.reshape(1, -1), None, out)


@implements("tensordot", "linalg.tensordot")
def tensordot(a: Any, b: Any, axes: Any = 2) -> Any:
    """Sum of products over chosen axes."""
    a, b = read_arrays(a, b)
    if np.ndim(axes) == 0:
        one, other = list(range(a.ndim - int(axes), a.ndim)), list(range(int(axes)))
    else:
        one, other = (list(np.atleast_1d(part)) for part in axes)
    one, other = [int(k) % a.ndim for k in one], [int(k) % b.ndim for k in other]
    if len(set(one)) != len(one) or len(set(other)) != len(other):
        raise ValueError("duplicate axes are not allowed in tensordot")
    if len(one) != len(other) or any(a.shape[i] != b.shape[j] for i, j in zip(one, other, strict=True)):
        raise ValueError(
            message(
                f"tensordot: axes {one} of shape {a.shape} do not fit axes {other} of shape {b.shape}",
                "compare the lengths of the axes that are summed over",
            )
        )
    a_labels, b_labels = list(LETTERS[: a.ndim]), list(LETTERS[a.ndim : a.ndim + b.ndim])
    for i, j in zip(one, other, strict=True):
        b_labels[j] = a_labels[i]
    out = [name for k, name in enumerate(a_labels) if k not in one]
    out += [name for k, name in enumerate(b_labels) if k not in other]
    summed = [a_labels[i] for i in one]
    return product_over("".join(out + summed), "".join(a_labels), "".join(b_labels), "".join(out), a, b)


@implements_ufunc("vecdot")
@implements("linalg.vecdot")
def vecdot(x1: Any, x2: Any, /, *, axis: int = -1) -> Any:
    """Dot products along an axis."""
    a, b = read_arrays(x1, x2)
    if axis != -1:
        a, b = np.moveaxis(a, axis, -1), np.moveaxis(b, axis, -1)
    if a.shape[-1] != b.shape[-1]:
        raise ValueError(f"vecdot: shapes {a.shape} and {b.shape} do not fit")
    return einsum("...i,...i->...", a, b)


@implements_ufunc("matvec")
def matvec(x1: Any, x2: Any) -> Any:
    """Products of matrices and vectors."""
    return einsum("...ij,...j->...i", x1, x2)


@implements_ufunc("vecmat")
def vecmat(x1: Any, x2: Any) -> Any:
    """Products of vectors and matrices."""
    return einsum("...i,...ij->...j", x1, x2)


@implements("kron")
def kron(a: Any, b: Any) -> Any:
    """Kronecker product."""
    a, b = read_arrays(a, b)
    ndim = max(a.ndim, b.ndim)
    if not ndim:
        return a.item() * b.item()
    one, other = (1,) * (ndim - a.ndim) + a.shape, (1,) * (ndim - b.ndim) + b.shape
    left = a.reshape(tuple(k for n in one for k in (n, 1)))
    right = b.reshape(tuple(k for n in other for k in (1, n)))
    return (left * right).reshape(tuple(m * n for m, n in zip(one, other, strict=True)))


@implements("cross")
def cross(a: Any, b: Any, axisa: int = -1, axisb: int = -1, axisc: int = -1, axis: Any = None) -> Any:
    """Cross product of vectors of two or three components."""
    if axis is not None:
        axisa = axisb = axisc = axis
    a, b = read_arrays(a, b)
    a, b = np.moveaxis(a, axisa, -1), np.moveaxis(b, axisb, -1)
    if a.shape[-1] not in (2, 3) or b.shape[-1] not in (2, 3):
        raise ValueError("incompatible dimensions for cross product (dimension must be 2 or 3)")
    (a0, a1, a2), (b0, b1, b2) = components(a), components(b)
    third = a0 * b1 - a1 * b0
    if a2 is None and b2 is None:
        return third
    first = (0.0 if b2 is None else a1 * b2) - (0.0 if a2 is None else a2 * b1)
    second = (0.0 if a2 is None else a2 * b0) - (0.0 if b2 is None else a0 * b2)
    return np.stack(np.broadcast_arrays(first, second, third), axis=axisc)


def components(a: Any) -> tuple[Any, Any, Any]:
    """Return the components of vectors; None for a third that is not there."""
    return a[..., 0], a[..., 1], a[..., 2] if a.shape[-1] == 3 else None


@implements("linalg.cross")
def linalg_cross(x1: Any, x2: Any, /, *, axis: int = -1) -> Any:
    """Cross product of vectors of three components."""
    if np.shape(x1)[axis] != 3 or np.shape(x2)[axis] != 3:
        raise ValueError("Both input arrays must be (arrays of) 3-dimensional vectors")
    return cross(x1, x2, axis=axis)


# ---------------------------------------------------------------- convolution


@implements("convolve")
def convolve(a: Any, v: Any, mode: Any = "full") -> Any:
    """Discrete convolution of two sequences."""
    a, v = sequences(a, v)
    return convolve_sequences(a, v, mode, False)


@implements("correlate")
def correlate(a: Any, v: Any, mode: Any = "valid") -> Any:
    """Cross-correlation of two sequences; NumPy exchanges them where the second one is longer, and turns the result."""
    a, v = sequences(a, v)
    return convolve_sequences(a, v[::-1], mode, v.size > a.size)


def sequences(a: Any, v: Any) -> list[Any]:
    """Return the operands of a convolution; what is plain stays plain, so nothing is computed for its cotangent."""
    recorder = recorder_of(a, v)
    read_numbers(recorder, (a, v))
    found = [plain_sequence(recorder, part) for part in (a, v)]
    if max(part.ndim for part in found) > 1:
        raise ValueError("object too deep for desired array")
    if not found[0].size or not found[1].size:
        raise ValueError("a cannot be empty" if not found[0].size else "v cannot be empty")
    return [part.astype(recorder.dtype) if type(part) is np.ndarray else part for part in map(np.atleast_1d, found)]


def plain_sequence(recorder: Any, part: Any) -> Any:
    """Return an operand as an array: a plain one of real numbers as it is, all others as recording ones."""
    if isinstance(part, (list, tuple)) and not holds_active(part):
        part = np.asarray(part)
    if type(part) is np.ndarray and part.dtype.kind in "fiub":
        recorder.promote(part.dtype)
        return part
    return to_array(part, recorder)


MODES = ("valid", "same", "full")


def convolve_sequences(a: Any, v: Any, mode: Any, late: bool) -> Any:
    """Record the convolution of two sequences: the part that a mode asks for, of two in the middle the `late` one."""
    np.convolve(np.ones(1), np.ones(1), mode)  # an error of NumPy's for a mode that it does not know
    name = mode if isinstance(mode, str) else MODES[mode]
    longer, less = max(a.size, v.size), min(a.size, v.size) - 1
    places = {"full": (0, longer + less), "same": ((less + late) // 2, longer), "valid": (less, longer - less)}
    first, length = places[name]
    return convolved_box(a, v, first=(first,), shape=(length,), fast=False)
