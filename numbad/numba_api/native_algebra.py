"""Sums, products and other functions of whole recording arrays in machine code: loops, in the order of Numba's own."""

from __future__ import annotations

import operator
from typing import Any

import numpy as np
from numba import njit, types
from numba.core import errors

from numbad.numba_api.native_arrays import (
    RecordingArray,
    as_number,
    axes_of,
    check_rows,
    is_absent,
    is_numbers,
    is_plain,
    loops,
    make_full,
    settled,
    take_numbers,
    written,
)
from numbad.numba_api.native_functions import SAME, define, root_of
from numbad.numba_api.native_tape import give_up
from numbad.numba_api.native_types import NUMBERS, TUPLE, NumberType, overload, overload_method

greatest, least = SAME[np.maximum], SAME[np.minimum]


# ---------------------------------------------------------------- all elements


def folded(kind: Any, step: str, empty: str, **scope: Any) -> Any:
    """Return a function that goes through all elements: `step` makes a total of the one before and an element v."""
    index = ", ".join(f"i{k}" for k in range(kind.ndim))
    head = [f"n{k} = x.shape[{k}]" for k in range(kind.ndim)]
    head += ["check_rows(x.size)", "if x.size == 0:", f"    {empty}"]
    first = ", ".join("0" for _ in range(kind.ndim))
    head += [f"total = x[{first}]", "begun = False"]
    body = [f"v = x[{index}]", "if begun:", f"    total = {step}", "begun = True"]
    return njit(written("fold", "x", [*head, *loops(kind.ndim, body), "return total"], check_rows=check_rows,
                        as_number=as_number, greatest=greatest, least=least, **scope))  # fmt: skip


def sum_of(kind: Any) -> Any:
    """Return a function that adds all elements."""
    return folded(kind, "total + v", "return as_number(0.0)")


def mean_of(kind: Any) -> Any:
    """Return a function that computes the mean."""
    add = sum_of(kind)
    return njit(lambda x: add(x) / x.size)


def variance_of(kind: Any) -> Any:
    """Return a function that computes the variance."""
    mean, add = mean_of(kind), sum_of(types_of_vector(kind))

    @njit
    def compute(x):
        center, flat = mean(x), x.ravel()
        found = take_numbers((np.intp(flat.size),))
        for k in range(flat.size):
            d = flat[k] - center
            found[k] = d * d
        return add(found) / x.size

    return compute


def types_of_vector(kind: Any) -> Any:
    """Return the type of an array with one axis."""
    return kind.copy(ndim=1, layout="C")


def deviation_of(kind: Any) -> Any:
    """Return a function that computes the standard deviation."""
    compute = variance_of(kind)
    return njit(lambda x: root_of(compute(x)))


def product_of(kind: Any) -> Any:
    """Return a function that multiplies all elements."""
    return folded(kind, "total * v", "return as_number(1.0)")


def extreme_of(name: str) -> Any:
    """Return what makes a function that finds the largest, or the smallest, element."""
    message = "raise ValueError('zero-size array has no extreme element')"
    return lambda kind: folded(kind, f"{name}(total, v)", message)


def place_of(sign: str) -> Any:
    """Return what makes a function that finds the place of the largest, or the smallest, element: guarded."""

    def make(kind: Any) -> Any:
        lines = ["flat = x.ravel()", "if flat.size == 0:", "    raise ValueError('attempt to search an empty array')"]
        lines += ["found, best = 0, flat[0]", "if best != best:", "    return 0", "for k in range(1, flat.size):"]
        lines += ["    v = flat[k]", "    if v != v:", "        return k", f"    if v {sign} best:"]
        return njit(written("search", "x", [*lines, "        found, best = k, v", "return found"]))

    return make


def truth_of(empty: bool) -> Any:
    """Return what makes a function that asks whether any, or all, elements are true."""
    lines = ["for v in settled(x).ravel():", f"    if v != {empty}:"]
    lines += [f"        return {not empty}", f"return {empty}"]
    return lambda kind: njit(written("ask", "x", lines, settled=settled))


def along(make: Any) -> Any:
    """Return what makes a function that works along one axis, of one for all elements."""

    def of_axis(kind: Any) -> Any:
        axes = int(kind.ndim)
        if axes == 1:
            whole = make(kind)

            @njit
            def only(x, axis):
                if axis != 0 and axis != -1:
                    raise ValueError("axis is out of bounds")
                return whole(x)

            return only
        part = make(kind.copy(ndim=1, layout="A"))
        lines = ["if axis < 0:", f"    axis += {axes}", f"if not 0 <= axis < {axes}:"]
        lines += ["    raise ValueError('axis is out of bounds')"]
        for k in range(axes - 1):
            lines.append(f"n{k} = x.shape[{k}] if axis > {k} else x.shape[{k + 1}]")
        lines.append(f"found = take_numbers(({''.join(f'n{k}, ' for k in range(axes - 1))}))")
        order = [f"p{k} = {k} if axis > {k} else {k + 1}" for k in range(axes - 1)]
        turned = "y = x.transpose((" + ", ".join([*(f"p{k}" for k in range(axes - 1)), "axis"]) + "))"
        index = ", ".join(f"i{k}" for k in range(axes - 1))
        body = loops(axes - 1, [f"found[{index}] = part(y[{index}])"])
        return njit(written("reduce", "x, axis", [*lines, *order, turned, *body, "return found"], part=part))

    return of_axis


def define_reduction(name: str, make: Any, axis: bool = False, truths: Any = None, *others: Any) -> None:
    """Give a function of all elements, or along an axis, to recording arrays, and the method of its name."""
    parameters = "x, axis=None" if axis else "x"

    def choose(x: Any, axis: Any = None) -> Any:
        if not isinstance(x, RecordingArray):
            return None
        maker = make if is_numbers(x) else truths
        if maker is None:
            raise errors.TypingError(f"{name} of comparisons is recorded by Python")
        if is_absent(axis):
            return written("run", parameters, ["return whole(x)"], whole=maker(x))
        return written("run", parameters, ["return part(x, axis)"], part=along(maker)(x))

    chooser = choose if axis else lambda x: choose(x)
    define(parameters, getattr(np, name), *others)(chooser)
    scope: dict[str, Any] = {"choose": choose}
    passed = "x, axis" if axis else "x"
    exec(f"def method({parameters}):\n    return choose({passed})", scope)
    overload_method(RecordingArray, name)(scope["method"])


def count_of(kind: Any) -> Any:
    """Return a function that counts what is true: guarded."""
    return njit(lambda x: settled(x).sum())


define_reduction("sum", sum_of, True, count_of)
define_reduction("prod", product_of)
define_reduction("mean", mean_of)
define_reduction("var", variance_of)
define_reduction("std", deviation_of)
define_reduction("max", extreme_of("greatest"), False, None, np.amax)
define_reduction("min", extreme_of("least"), False, None, np.amin)
define_reduction("argmax", place_of(">"))
define_reduction("argmin", place_of("<"))
define_reduction("all", None, False, truth_of(True))
define_reduction("any", None, False, truth_of(False))


def define_running(name: str, compute: Any) -> None:
    """Give a running sum or product to recording arrays."""

    @njit
    def run(x):
        flat = x.ravel()
        check_rows(flat.size)
        found = take_numbers((np.intp(flat.size),))
        for k in range(flat.size):
            found[k] = flat[k] if k == 0 else compute(found[k - 1], flat[k])
        return found

    choose = lambda x: (lambda x: run(x)) if is_numbers(x) else None
    define("x", getattr(np, name))(choose)
    overload_method(RecordingArray, name)(choose)


define_running("cumsum", operator.add)
define_running("cumprod", operator.mul)


# ---------------------------------------------------------------- products of matrices


def is_factor(kind: Any) -> bool:
    """Whether a type is that of a vector or a matrix."""
    return (is_numbers(kind) or is_plain(kind, types.Float)) and 1 <= kind.ndim <= 2


def is_matrix(kind: Any) -> bool:
    """Whether a type is that of a recording matrix."""
    return is_numbers(kind) and bool(kind.ndim == 2)


@njit
def check_inner(n, m):
    """Raise where a product of matrices does not fit."""
    if n != m:
        raise ValueError("incompatible array sizes for a product")


def product_lines(one: Any, other: Any) -> list[str]:
    """Return lines that compute the product of two vectors or matrices."""
    rows, columns = one.ndim == 2, other.ndim == 2
    lines = [f"m = x.shape[{one.ndim - 1}]", "check_inner(m, y.shape[0])", "n0 = n1 = 1"]
    if rows:
        lines.append("n0 = x.shape[0]")
    if columns:
        lines.append("n1 = y.shape[1]")
    lines.append("check_rows(2 * n0 * n1 * m)")
    left, right = ("x[i, k]" if rows else "x[k]"), ("y[k, j]" if columns else "y[k]")
    body = ["total = as_number(0.0)", "for k in range(m):"]
    body += [f"    term = {left} * {right}", "    total = total + term if k else as_number(term)"]
    if rows and columns:
        lines += ["found = take_numbers((n0, n1))", "for i in range(n0):", "    for j in range(n1):"]
        return [*lines, *(f"        {line}" for line in [*body, "found[i, j] = total"]), "return found"]
    if not rows and not columns:
        return [*lines, *body, "return total"]
    index, count = ("i", "n0") if rows else ("j", "n1")
    lines += [f"found = take_numbers(({count},))", f"for {index} in range({count}):"]
    return [*lines, *(f"    {line}" for line in [*body, f"found[{index}] = total"]), "return found"]


def multiply(x: Any, y: Any) -> Any:
    """Return a function that multiplies two vectors or matrices, one of them recording."""
    if not (is_factor(x) and is_factor(y) and (is_numbers(x) or is_numbers(y))):
        return None
    scope = {"check_inner": check_inner, "check_rows": check_rows, "as_number": as_number}
    return written("multiply", "x, y", product_lines(x, y), **scope)


def multiply_any(x: Any, y: Any) -> Any:
    """Return a function for np.dot, which takes numbers too."""
    if isinstance(x, NumberType) and (is_numbers(y) or is_plain(y)):
        return lambda x, y: x * y
    return multiply(x, y)


overload(operator.matmul)(multiply)
define("x, y", np.dot)(multiply_any)
define("x, y", np.vdot)(lambda x, y: multiply(x, y) if axes_of(x) == axes_of(y) == 1 else None)
overload_method(RecordingArray, "dot")(multiply_any)


@define("x, y", np.outer)
def outer(x: Any, y: Any) -> Any:
    """As np.outer."""
    if not ((is_numbers(x) or is_plain(x)) and (is_numbers(y) or is_plain(y)) and (is_numbers(x) or is_numbers(y))):
        return None

    def compute(x, y):
        one, other = x.ravel(), y.ravel()
        check_rows(one.size * other.size)
        found = take_numbers((np.intp(one.size), np.intp(other.size)))
        for i in range(one.size):
            for j in range(other.size):
                found[i, j] = one[i] * other[j]
        return found

    return compute


@define("x", np.trace)
def trace(x: Any) -> Any:
    """As np.trace."""
    if not is_numbers(x) or x.ndim != 2:
        return None

    def compute(x):
        total = as_number(0.0)
        for k in range(min(x.shape[0], x.shape[1])):
            total = total + x[k, k] if k else as_number(x[k, k])
        return total

    return compute


@define("x", np.diff)
def differences(x: Any) -> Any:
    """As np.diff."""
    return (lambda x: x[1:] - x[:-1]) if is_numbers(x) and x.ndim == 1 else None


@define("x", np.flip)
def flipped(x: Any) -> Any:
    """As np.flip."""
    if not isinstance(x, RecordingArray):
        return None
    return written("flip", "x", [f"return x[{', '.join(['::-1'] * x.ndim)}]"])


@define("parts", np.concatenate)
def joined(parts: Any) -> Any:
    """As np.concatenate, of vectors."""
    known = isinstance(parts, TUPLE) and all(isinstance(kind, types.Array) for kind in parts.types)
    if not known or not any(is_numbers(kind) for kind in parts.types):
        return None
    if not all(kind.ndim == 1 and (is_numbers(kind) or is_plain(kind, types.Float)) for kind in parts.types):
        return None
    lines = ["size = " + " + ".join(f"parts[{k}].size" for k in range(parts.count)), "at = 0"]
    lines += ["found = make_full((size,), 0.0)"]
    for k in range(parts.count):
        lines += [f"found[at : at + parts[{k}].size] = parts[{k}]", f"at += parts[{k}].size"]
    return written("join", "parts", [*lines, "return found"], make_full=make_full)


# ---------------------------------------------------------------- order


@njit
def order_of(x):
    """Return the places of a vector's elements in order, by merging (Knuth, 1998, section 5.2.4): guarded."""
    n, width = x.size, 1
    order, other = np.arange(n), np.empty(n, np.int64)
    while width < n:
        for start in range(0, n, 2 * width):
            middle, stop = min(start + width, n), min(start + 2 * width, n)
            i, j = start, middle
            for k in range(start, stop):
                if j >= stop or (i < middle and not comes_before(x[order[j]], x[order[i]])):
                    other[k] = order[i]
                    i += 1
                else:
                    other[k] = order[j]
                    j += 1
        order, other = other, order
        width *= 2
    return order


@njit
def comes_before(a, b):
    """Whether a number comes before another; what is no number comes last."""
    return bool(a < b) or (bool(b != b) and bool(a == a))


@define("x", np.argsort)
def places_in_order(x: Any) -> Any:
    """As np.argsort."""
    return (lambda x: order_of(x)) if is_numbers(x) and x.ndim == 1 else None


@define("x", np.sort)
def in_order(x: Any) -> Any:
    """As np.sort."""
    return (lambda x: x[order_of(x)]) if is_numbers(x) and x.ndim == 1 else None


@overload_method(RecordingArray, "argsort")
def _argsort(x: Any) -> Any:
    return (lambda x: order_of(x)) if is_numbers(x) and x.ndim == 1 else None


@overload_method(RecordingArray, "sort")
def _sort(x: Any) -> Any:
    if not (is_numbers(x) and x.ndim == 1):
        return None

    def sort(x):
        x[:] = x[order_of(x)]

    return sort


@define("x, v", np.searchsorted)
def search(x: Any, v: Any) -> Any:
    """As np.searchsorted from the left: guarded."""
    plain = is_plain(x) and isinstance(v, NumberType)
    if not (plain or (is_numbers(x) and isinstance(v, NUMBERS))):
        return None

    def find(x, v):
        low, high = 0, x.size
        while low < high:
            middle = (low + high) // 2
            if comes_before(x[middle], v):
                low = middle + 1
            else:
                high = middle
        return low

    return find


@define("x", np.median)
def median(x: Any) -> Any:
    """As np.median."""
    if not is_numbers(x):
        return None

    def compute(x):
        flat = x.ravel()
        order = order_of(flat)
        n = flat.size
        if n == 0 or flat[order[n - 1]] != flat[order[n - 1]]:
            return as_number(np.nan)
        high = flat[order[n // 2]]
        return high if n % 2 else (flat[order[n // 2 - 1]] + high) / 2.0

    return compute


def define_triangle(own: Any, kept: str) -> None:
    """Give a function that keeps one triangle of a matrix to recording ones."""

    @define("x, k=0", own)
    def _choose(x: Any, k: Any) -> Any:
        if not is_matrix(x):
            return None
        lines = ["found = make_full(x.shape, 0.0)", "for i in range(x.shape[0]):", "    for j in range(x.shape[1]):"]
        lines += [f"        if {kept}:", "            found[i, j] = x[i, j]", "return found"]
        return written("keep", "x, k=0", lines, make_full=make_full)


define_triangle(np.tril, "j - i <= k")
define_triangle(np.triu, "j - i >= k")


# ---------------------------------------------------------------- small systems


@njit
def eliminate(matrix, right):
    """Solve by elimination with pivots (Golub and Van Loan, 2013, section 3.4); return the determinant's sign."""
    n, sign = matrix.shape[0], 1.0
    for k in range(n):
        pivot = k
        for i in range(k + 1, n):
            if abs(matrix[i, k]) > abs(matrix[pivot, k]):
                pivot = i
        if pivot != k:
            sign = -sign
            for j in range(n):
                matrix[k, j], matrix[pivot, j] = matrix[pivot, j], matrix[k, j]
            for j in range(right.shape[1]):
                right[k, j], right[pivot, j] = right[pivot, j], right[k, j]
        if matrix[k, k] == 0.0:
            return 0.0
        for i in range(k + 1, n):
            factor = matrix[i, k] / matrix[k, k]
            for j in range(k + 1, n):
                matrix[i, j] = matrix[i, j] - factor * matrix[k, j]
            for j in range(right.shape[1]):
                right[i, j] = right[i, j] - factor * right[k, j]
    return sign


@njit
def solved(matrix, right):
    """Return the solution of a system with several right-hand sides."""
    n = matrix.shape[0]
    if matrix.shape[1] != n or right.shape[0] != n:
        raise ValueError("the system is not square, or its sides do not fit")
    check_rows(n * n * (n + right.shape[1]))
    a, b = make_full((n, n), 0.0), make_full((n, right.shape[1]), 0.0)
    a[:, :] = matrix
    b[:, :] = right
    if eliminate(a, b) == 0.0:
        raise np.linalg.LinAlgError("Matrix is singular to machine precision.")
    for j in range(b.shape[1]):
        for i in range(n - 1, -1, -1):
            for k in range(i + 1, n):
                b[i, j] = b[i, j] - a[i, k] * b[k, j]
            b[i, j] = b[i, j] / a[i, i]
    return b


@define("a, b", np.linalg.solve)
def solve(a: Any, b: Any) -> Any:
    """As np.linalg.solve."""
    if not (is_factor(a) and is_factor(b) and a.ndim == 2 and (is_numbers(a) or is_numbers(b))):
        return None
    if b.ndim == 2:
        return lambda a, b: solved(a, b)
    return lambda a, b: solved(a, b.copy().reshape((b.size, 1))).ravel()


@define("a", np.linalg.inv)
def inverse(a: Any) -> Any:
    """As np.linalg.inv."""
    return (lambda a: solved(a, np.eye(a.shape[0]))) if is_matrix(a) else None


@define("a", np.linalg.det)
def determinant(a: Any) -> Any:
    """As np.linalg.det: a singular matrix is left to Python."""
    if not is_matrix(a):
        return None

    def compute(a):
        work = a.copy()
        sign = eliminate(work, make_full((a.shape[0], 0), 0.0))
        if sign == 0.0:
            give_up()
        total = as_number(sign)
        for k in range(a.shape[0]):
            total = total * work[k, k]
        return total

    return compute


@define("x", np.linalg.norm)
def norm(x: Any) -> Any:
    """As np.linalg.norm of all elements."""
    if not is_numbers(x) or x.ndim > 2:
        return None

    def compute(x):
        total = as_number(0.0)
        for v in x.ravel():
            total = total + v * v
        return root_of(total)

    return compute
