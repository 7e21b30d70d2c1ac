"""Every method and attribute of NumPy's arrays and numbers means what it means in NumPy, or is refused by name."""

from __future__ import annotations

import inspect
import operator
from typing import Any

import numpy as np
import pytest

import numbad
from numbad.errors import MissingError, RecordingError
from shared.numpy_calls import (
    F32,
    F64,
    FORTRAN,
    MASK,
    NANS,
    TRUE,
    ZZ,
    Call,
    Fixed,
    M,
    N,
    Number,
    Out,
    P,
    R,
    T,
    Truths,
    V,
    W,
    p,
)
from shared.numpy_calls import SINGLE as X32
from shared.numpy_checks import check

IN_PLACE = {"fill", "sort", "partition", "put"}


class Method(Call):
    """A call of a method of the first argument; of one that works in place, on a copy that is then the result."""

    def function(self) -> Any:
        name = self.name

        def call(x: Any, *arguments: Any, **keywords: Any) -> Any:
            if name not in IN_PLACE:
                return getattr(x, name)(*arguments, **keywords)
            y = x.copy()
            assert getattr(y, name)(*arguments, **keywords) is None
            return y

        return call

    def parameters(self) -> set[str]:
        return set(self.keywords)


class Methods:
    """Makes calls of methods: `x.sum(M, axis=1)` is M.sum(axis=1)."""

    def __getattr__(self, name: str) -> Any:
        return lambda *arguments, **keywords: Method(name, arguments, keywords)


x = Methods()

METHODS: list[Call] = [
    x.all(ZZ), x.all(ZZ, axis=1), x.all(ZZ, 0, keepdims=True), x.all(ZZ, axis=1, out=Out(4, bool)),
    x.all(M, 0, where=MASK), x.any(ZZ), x.any(ZZ, axis=1), x.any(ZZ, 0, keepdims=True),
    x.any(ZZ, axis=1, out=Out(4, bool)), x.any(M, 0, where=MASK),
    *(getattr(x, name)(M, **options) for name in ("argmax", "argmin") for options in ({}, {"axis": 1}, {"axis": 0,
        "keepdims": True}, {"axis": 1, "out": Fixed(np.zeros(3, int))})),
    x.argpartition(M, 1), x.argpartition(M, kth=1, axis=0), x.argsort(M), x.argsort(M, axis=0),
    x.argsort(V, kind="stable"), x.argsort(V, stable=True), x.astype(X32, F64), x.astype(V, int), x.astype(V, bool),
    x.astype(M, dtype=F64, order="F", casting="no", subok=False, copy=False), x.astype(Truths(V), float),
    x.choose(Truths(V), [V, W]), x.choose(Truths(V), [V, W], mode="clip", out=Out(6)), x.clip(V, -0.5, 0.5),
    x.clip(V, min=-0.5), x.clip(V, max=W), x.clip(V, -0.5, 0.5, out=Out(6)), x.clip(V, -0.5, None),
    x.compress(M, [True, False, True], axis=0), x.compress(V, TRUE), x.compress(M, [False, True]),
    x.compress(M, condition=Truths(M[0]), axis=1), x.compress(M, [True, False, True], axis=1, out=Out((3, 2))),
    x.conj(V), x.conjugate(V), x.copy(FORTRAN, order="K"), x.copy(M, "F"), x.diagonal(T, 1, 0, 2),
    x.diagonal(T, offset=-1, axis1=1, axis2=2), x.dot(M, N), x.dot(M, N, out=Out((3, 3))),
    *(getattr(x, name)(M, **options) for name in ("cumprod", "cumsum") for options in ({}, {"axis": 0}, {"axis": 1,
        "out": Out((3, 4))}, {"dtype": F64})),
    x.fill(M, 2.0), x.fill(M, Number(2.0)), x.flatten(FORTRAN, "F"), x.flatten(FORTRAN, order="K"), x.flatten(FORTRAN),
    x.flatten(M.T[::-1] * 1.0, "A"), x.item(M, 5), x.item(M, 1, 2), x.item(M, (1, 2)), x.item(M[:1, :1] * 1.0),
    x.item(M, -1), x.item(V, (-2,)), x.item(T, 1, 0, 3), x.item(M, np.int64(7)), x.item(Number(2.0)),
    x.item(Number(2.0), ()),
    *(getattr(x, name)(M, **options) for name in ("max", "min") for options in ({}, {"axis": 1}, {"axis": 0, "out":
        Out(4)}, {"axis": 0, "keepdims": True, "initial": 0.3, "where": MASK})),
    *(getattr(x, name)(M, **options) for name in ("mean", "sum", "prod", "std", "var") for options in ({}, {"axis": 1,
        "dtype": F64}, {"axis": 0, "out": Out(4)}, {"axis": 0, "keepdims": True, "where": MASK})),
    *(getattr(x, name)(X32, dtype=F64) for name in ("mean", "sum", "prod", "std", "var")),
    *(getattr(x, name)(M, axis=1, initial=2.0) for name in ("sum", "prod")),
    *(getattr(x, name)(M, 0, ddof=1) for name in ("std", "var")),
    *(getattr(x, name)(M, axis=1, **options) for name in ("std", "var") for options in ({"mean": np.ones((3, 1)) *
        0.2},)),
    x.nonzero(ZZ), x.partition(V, 1), x.partition(M, kth=1, axis=0), x.put(V, [1, -1], W[:2]),
    x.put(V, [7, -9], W[:2], mode="wrap"), x.put(M, indices=Fixed([2, 3]), values=W[:2]), x.ravel(FORTRAN, "K"),
    x.ravel(M.T, order="F"), x.repeat(M, 2), x.repeat(M, repeats=[1, 0, 2], axis=0), x.reshape(M, 4, 3),
    x.reshape(M, (4, -1)), x.reshape(M, (4, 3), order="F"), x.reshape(M, 12, copy=True), x.reshape(M, -1), x.round(R),
    x.round(R, 1), x.round(R, decimals=2, out=Out(4)), x.searchsorted(P.cumsum(), Number(1.0)),
    x.searchsorted(P.cumsum(), v=Fixed([1.0, 2.0]), side="right"),
    x.searchsorted(P[::-1] * 1.0, 0.7, sorter=np.argsort(P[::-1])), x.sort(M), x.sort(M, axis=0),
    x.sort(V, kind="stable"), x.sort(V, stable=True), x.squeeze(T[:1]), x.squeeze(T[:1], axis=0), x.swapaxes(T, 0, 2),
    x.swapaxes(T, -1, 0), x.argsort(V, order=None), x.sort(V, order=None),
    x.partition(V, 1, kind="introselect", order=None), x.argpartition(V, 1, kind="introselect", order=None),
    x.take(M, [0, 5, -1]), x.take(M, indices=[0, 1], axis=1), x.take(V, [7, -9], mode="wrap"),
    x.take(V, [1, 2], out=Out(2)), x.tolist(M), x.tolist(V), x.tolist(T), x.trace(T), x.trace(T, 1, 1, 2),
    x.trace(M, offset=-1), x.trace(T, axis1=0, axis2=2, dtype=F64), x.trace(T, out=Out(4)), x.transpose(T),
    x.transpose(T, 2, 0, 1), x.transpose(T, (2, 0, 1)), x.transpose(T, None), x.transpose(T, [-1, 0, 1]), x.view(M),
    x.view(M, np.ndarray), x.view(M, dtype=F64), x.to_device(M, "cpu", stream=None),
    x.compress(NANS, [True, False], axis=0),
]  # fmt: skip

ATTRIBUTES = ["T", "mT", "real", "imag", "shape", "ndim", "size", "dtype", "itemsize", "nbytes", "strides", "device"]
REFUSED = [
    "base", "byteswap", "ctypes", "data", "dump", "dumps", "getfield", "resize", "setfield",
    "tobytes", "tofile",
]  # fmt: skip
OF_NUMBERS = ["as_integer_ratio", "fromhex", "hex"]  # refused, of NumPy's numbers

BINARY = ["add", "sub", "mul", "truediv", "floordiv", "mod", "pow", "divmod", "lt", "le", "gt", "ge", "eq", "ne"]
REFLECTED = ["radd", "rsub", "rmul", "rtruediv", "rfloordiv", "rmod", "rpow", "rdivmod"]
IN_PLACE_OPERATORS = ["iadd", "isub", "imul", "itruediv", "ifloordiv", "imod", "ipow"]
UNARY = ["neg", "pos", "abs"]
TRUTH = ["and", "or", "xor", "rand", "ror", "rxor"]
PROTOCOL = {  # what other tests go over: conversions, elements, products, what NumPy and Python ask for
    *"__matmul__ __rmatmul__ __imatmul__ __iand__ __ior__ __ixor__ __invert__ __bool__ __int__ __float__".split(),
    *"__complex__ __index__ __len__ __iter__ __contains__ __getitem__ __setitem__ __array__ __copy__".split(),
    *"__array_ufunc__ __array_function__ __array_priority__ __deepcopy__ __format__ __repr__ __str__".split(),
    *"__reduce__ __hash__ __round__ __floor__ __ceil__ __trunc__".split(),
}  # fmt: skip
LACKING = {  # that recording values do not have: Python and libraries take another way, or raise a TypeError
    *"__lshift__ __rlshift__ __ilshift__ __rshift__ __rrshift__ __irshift__ __delitem__ __dlpack__".split(),
    *"__dlpack_device__ __array_finalize__ __array_interface__ __array_namespace__ __array_struct__".split(),
    *"__array_wrap__ __class_getitem__ __setstate__ __getformat__ __getnewargs__ __buffer__ __set_format__".split(),
}  # fmt: skip


@pytest.mark.parametrize("call", METHODS, ids=repr)
def test_method(call: Call) -> None:
    check(call)


def test_every_method_and_attribute_is_tested() -> None:
    tested = {call.name for call in METHODS} | set(ATTRIBUTES) | set(REFUSED) | {"flat", "flags", "setflags"}
    tested |= {f"__{name}__" for name in (*BINARY, *REFLECTED, *IN_PLACE_OPERATORS, *UNARY, *TRUTH)}
    tested |= PROTOCOL | LACKING
    left = [name for name in dir(np.ndarray) if name not in tested and name not in dir(object)]
    assert not left
    numbers = [name for name in dir(np.float64) if name not in dir(np.ndarray) and name not in tested]
    assert sorted(set(numbers) - set(dir(object))) == [*OF_NUMBERS, "is_integer"]


def test_every_parameter_of_a_method_is_set() -> None:
    given: dict[str, set[str]] = {}
    for call in METHODS:
        given.setdefault(call.name, set()).update(call.keywords)
        count = len(call.arguments) - 1
        names = names_of(call.name)[:count] if call.name != "transpose" else []
        given[call.name].update(names)
    missing = {name: sorted(set(names_of(name)) - found) for name, found in given.items()}
    assert not {name: left for name, left in missing.items() if left}


def names_of(method: str) -> list[str]:
    """Return the names of a method's parameters, as far as NumPy tells them."""
    try:
        parameters = inspect.signature(getattr(np.ndarray, method)).parameters.values()
    except ValueError:
        return []
    return [part.name for part in parameters if part.kind not in (part.VAR_KEYWORD, part.VAR_POSITIONAL)][1:]


@pytest.mark.parametrize("name", ATTRIBUTES)
@pytest.mark.parametrize(
    "array", [M, T, X32, M.T[::-1], FORTRAN, Number(2.0)], ids=["M", "T", "single", "view", "F", "0"]
)
def test_attribute(name: str, array: Any) -> None:
    if name == "mT" and np.ndim(getattr(array, "value", array)) < 2:
        return
    seen = []
    view = array if isinstance(array, Number) else np.ascontiguousarray(array)
    given = view.value if isinstance(view, Number) else view

    def of(value: Any) -> Any:
        value = value if np.shape(value) != (4, 3) else value.T[::-1] if array is not FORTRAN else value
        return getattr(value, name)

    numbad.gradient(lambda x: seen.append(now(of(x))) or np.sum(x), given)
    wanted = of(np.float64(given) if isinstance(given, float) else given)
    np.testing.assert_array_equal(seen[0], wanted)
    assert type(seen[0]) is type(wanted) or isinstance(wanted, np.generic | np.ndarray | np.dtype)


def now(value: Any) -> Any:
    """Return a value that is recorded as it is now."""
    return value.value() if hasattr(value, "recorder") else value


def test_strides_count_bytes() -> None:
    def f(x: Any) -> Any:
        assert x.strides == (32, 8) and x.T.strides == (8, 32) and x[::2, ::-1].strides == (64, -8)
        assert x[0, 0].strides == () and np.broadcast_to(x[0], (3, 4)).strides == (0, 8)
        return np.sum(x)

    numbad.gradient(f, M)
    numbad.gradient(lambda x: [None, np.sum(x)][x.strides == (4,)], X32)


def test_flat() -> None:
    def f(x: Any) -> Any:
        y = x.copy()
        y.flat[3] = 2.0
        y.flat[:2] = x.flat[-2:]
        z = x.copy()
        z.flat = [1.0, 2.0]
        return np.sum(np.array([value * value for value in y.flat]) * z.flat[0]) + z.sum() + len(x.flat)

    check(Function(f, M))


class Function(Call):
    """A call of a function of our own."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        super().__init__("function", arguments, {})
        self.own = function

    def function(self) -> Any:
        return self.own


@pytest.mark.parametrize("name", REFUSED)
@pytest.mark.parametrize("given", [V, 1.5], ids=["array", "number"])
def test_attribute_is_refused_by_name(name: str, given: Any) -> None:
    with pytest.raises(MissingError, match=rf"{name}\b(.|\n)*test_methods(.|\n)*  do  "):
        numbad.gradient(lambda x: getattr(x, name), given)


@pytest.mark.parametrize("name", OF_NUMBERS)
def test_method_of_numbers_is_refused_by_name(name: str) -> None:
    with pytest.raises(MissingError, match=rf"{name}\b(.|\n)*  do  "):
        numbad.gradient(lambda x: getattr(x, name)(), 1.5)


@pytest.mark.parametrize("name", [*BINARY, *REFLECTED])
def test_binary_operator(name: str) -> None:
    for one, other in ((np.abs(M) + 0.5, np.abs(N.T) + 0.4), (np.abs(M) + 0.5, 1.7), (1.3, np.abs(V) + 0.5)):
        check(Function(lambda x, y: getattr(x, f"__{name}__")(y), as_given(one), as_given(other)))


def as_given(value: Any) -> Any:
    """Return a number as one that is recorded."""
    return Number(value) if isinstance(value, float) else value


@pytest.mark.parametrize("name", IN_PLACE_OPERATORS)
def test_operator_in_place(name: str) -> None:
    def f(x: Any, y: Any) -> Any:
        z = x.copy()
        view = z[1:]
        z = getattr(operator, name)(z, y)
        return z, view

    check(Function(f, np.abs(M) + 0.5, np.abs(N.T) + 0.4))


@pytest.mark.parametrize("name", UNARY)
def test_unary_operator(name: str) -> None:
    check(Function(lambda x: getattr(x, f"__{name}__")(), M))


@pytest.mark.parametrize("name", TRUTH)
def test_operator_of_truths(name: str) -> None:
    check(Function(lambda x, y: getattr(x, f"__{name}__")(y), Truths(V), Truths(W)))


def test_methods_of_numbers() -> None:
    def f(x: Any) -> Any:
        y = x + 1.0
        assert y.item(0) is y and y.ndim == 0 and y.size == 1
        with pytest.raises(IndexError):
            y.item(1)
        assert (2.0 * y).is_integer() and not y.is_integer()
        return y.sum() + y.mean() + y.max() + y.cumsum()[0] + y.ravel()[0] + y.transpose() + y.tolist() + y.flatten()[0]

    value, slope = numbad.value_and_gradient(f, 1.5)
    assert (value, slope) == (20.0, 8.0)


def test_item_and_reshape_refuse_what_numpy_refuses() -> None:
    def f(x: Any) -> Any:
        for wrong in ((12,), (3, 0), ((1, 2, 3),), (1, 2, 3)):
            with pytest.raises((IndexError, ValueError)):
                x.item(*wrong)
        with pytest.raises(ValueError):
            x.item()
        return np.sum(x)

    numbad.gradient(f, M)
    f(M)


# ---------------------------------------------------------------- ufuncs: keywords and methods

UFUNC_CALLS: list[Call] = [
    p.add(V, W, out=Out(6)), p.add(V, W, out=Out((2, 6))), p.add(V, W, out=Out(6), where=TRUE),
    p.multiply(V, W, out=Out(6), where=Truths(V)), p.sin(V, out=Out(6)), p.sin(Number(1.0), out=Out(3)),
    p.add(V, W, dtype=F64), p.add(X32, X32, dtype=F64), p.sin(X32, dtype=F64),
    p.add(X32, 1.0, signature=(F64, F64, F64)), p.add(V, W, casting="safe"), p.add(V, W, order="F"),
    p.add(M, FORTRAN, order="C"), p.add(V, W, subok=False), p.less(V, W, out=Out(6, bool)), p.less(V, W, dtype=bool),
    p.logical_and(Truths(V), Truths(W)), p.logical_not(Truths(V)), p.divmod(V, 0.7), p.multiply(Truths(V), W),
    p.add(Truths(V), 1.0), p.matmul(T, M.T, axes=[(-2, -1), (-2, -1), (-1, -2)]), p.matmul(M, N, out=Out((3, 3))),
    p.vecdot(M, M, axis=0), p.vecdot(M, M, keepdims=True), p.vecdot(M, M, axes=[(0,), (0,), ()]), p.matvec(T, V[:4]),
    p.vecmat(V[:3], M), p.matmul(T, M.T), p.heaviside(V, 0.5), p.float_power(P, 2), p.ldexp(V, 3), p.positive(V),
    p.fmax(V, W), p.hypot(V, W), p.remainder(V, 0.7), p.logaddexp(V, W), p.copysign(V, W), p.sign(V), p.add.reduce(M),
    p.add.reduce(T, axis=(0, 2), keepdims=True), p.add.reduce(M, None, initial=2.0), p.add.reduce(M, 1, where=MASK),
    p.add.reduce(X32, dtype=F64), p.add.reduce(M, out=Out(4)), p.add.reduce(M, axis=1, initial=None),
    p.multiply.reduce(M, axis=(0, 1)), p.multiply.reduce(M, initial=2.0, where=MASK),
    p.maximum.reduce(M, axis=(0, 1), keepdims=True), p.maximum.reduce(M, initial=0.3, where=MASK),
    p.maximum.reduce(X32, dtype=F64), p.fmin.reduce(NANS, axis=1), p.logaddexp.reduce(M, axis=(0, 1)),
    p.logaddexp.reduce(M, initial=0.5), p.logaddexp.reduce(M, where=MASK), p.logaddexp2.reduce(M, 1, keepdims=True),
    p.hypot.reduce(M, axis=(0, 1)), p.hypot.reduce(M, where=MASK), p.hypot.reduce(M, initial=2.0, keepdims=True),
    p.subtract.reduce(M), p.subtract.reduce(M, axis=1, initial=1.0),
    p.subtract.reduce(M, axis=1, initial=1.0, where=MASK), p.divide.reduce(P),
    p.subtract.reduce(M, axis=1, keepdims=True), p.subtract.reduce(V, axis=None), p.logical_or.reduce(ZZ, axis=1),
    p.logical_and.reduce(ZZ, axis=(0, 1), keepdims=True), p.logical_xor.reduce(Truths(M), axis=1),
    p.bitwise_and.reduce(Truths(M), axis=0), p.bitwise_or.reduce(Truths(M)), p.minimum.reduce(Truths(M)),
    p.add.accumulate(M, axis=1), p.multiply.accumulate(M), p.maximum.accumulate(M, axis=-1),
    p.subtract.accumulate(M, axis=1), p.add.accumulate(X32, dtype=F64), p.add.accumulate(M, out=Out((3, 4))),
    p.logaddexp.accumulate(V), p.maximum.accumulate(Truths(M), axis=1), p.add.accumulate(V[:0]),
    p.add.reduceat(M, [0, 2, 1], axis=1), p.multiply.reduceat(V, [0, 3]), p.maximum.reduceat(M, [0, 2]),
    p.add.reduceat(X32, [0, 2], dtype=F64), p.add.reduceat(V, [0, 4, 2], out=Out(3)), p.add.outer(V, W),
    p.multiply.outer(M, V), p.subtract.outer(Number(2.0), V), p.add.outer(V, W, out=Out((6, 6))),
    p.power.outer(P, Fixed([1, 2, 3])), p.multiply.outer([Number(1.0), Number(2.0)], V),
    p.add.outer(X32, X32, dtype=F64),
]  # fmt: skip


def test_powers_are_reduced_from_the_left() -> None:
    """Beside powers of numbers: NumPy 2.4's own `power.reduce` errs with the vector functions of some processors."""
    x = np.array([1.3, 0.7, 1.1])
    value, slope = numbad.value_and_gradient(np.power.reduce, x)
    a, b, c = x.tolist()
    assert value == pytest.approx((a**b) ** c, rel=1e-14)
    want = (b * c * a ** (b * c - 1.0), c * np.log(a) * a ** (b * c), b * np.log(a) * a ** (b * c))
    np.testing.assert_allclose(slope, want, rtol=1e-13)


@pytest.mark.parametrize("call", UFUNC_CALLS, ids=repr)
def test_ufunc(call: Call) -> None:
    check(call)


def test_several_results_into_several_arrays() -> None:
    def f(x: Any) -> Any:
        one, two = np.zeros_like(x), np.zeros_like(x)
        found = np.modf(x, out=(one, two))
        assert found[0] is one and found[1] is two
        rest = np.divmod(x, 0.7, out=(None, one))
        assert rest[1] is one
        return one, two, rest[0]

    check(Function(f, V))


AT = {
    "add": lambda x, y: np.add.at(x, [0, 2, 0, -1], y[:4]),
    "subtract": lambda x, y: np.subtract.at(x, [0, 2, 0, -1], y[:4]),
    "multiply": lambda x, y: np.multiply.at(x, [0, 2, 0, -1], y[:4]),
    "divide": lambda x, y: np.divide.at(x, [1, 1, 1], y[:3]),
    "maximum": lambda x, y: np.maximum.at(x, [0, 0, 3], y[:3]),
    "negative": lambda x, y: np.negative.at(x, [0, 0, 3]),
    "exp": lambda x, y: np.exp.at(x, [1, 1]),
    "mask": lambda x, y: np.add.at(x, y > 0.0, 2.0),
    "slice": lambda x, y: np.add.at(x, slice(1, 3), y[:2]),
    "number": lambda x, y: np.multiply.at(x, [2, 2], 3.0),
}


@pytest.mark.parametrize("name", AT)
def test_ufunc_at(name: str) -> None:
    def f(x: Any, y: Any) -> Any:
        z, w = x.copy(), np.stack([x, y]).T
        AT[name](z, y)
        AT[name](w[:, 0], y)
        return z, w

    check(Function(f, V, W))


PLAIN = np.zeros(6)


def test_ufunc_keywords_are_refused_by_name() -> None:
    for f, word in (
        (lambda x: np.add(x, x, where=x > 0), "where="),
        (lambda x: np.add(x, x, dtype=F32), "dtype"),
        (lambda x: np.add(x, x, dtype=complex), "dtype"),
        (lambda x: np.sin(x, dtype=bool), "dtype"),
        (lambda x: np.add(x, x, out=PLAIN), "out="),
        (lambda x: np.add.reduce(x, dtype=F32), "dtype"),
        (lambda x: np.add.accumulate(x, dtype=int), "dtype"),
        (lambda x: np.add(x, x, signature="ff->f", casting="unsafe"), "dtype"),
    ):
        with pytest.raises(RecordingError, match=rf"np\.\w+(\.\w+)?: (.|\n)*{word}(.|\n)*  do  "):
            numbad.gradient(lambda x, f=f: np.sum(f(x)), V)
    for f in (
        lambda x: np.subtract.reduce(x, axis=(0, 1)),
        lambda x: np.maximum.reduce(x, where=MASK),
        lambda x: np.add(x, x, out=x > 0.0),
        lambda x: np.sum(x, axis=0, out=np.zeros_like(x)),
        lambda x: np.add.reduceat(x, [0, 3]),
    ):
        with pytest.raises((TypeError, ValueError, IndexError)):
            f(M.copy())
        with pytest.raises((TypeError, ValueError, IndexError)):
            numbad.gradient(lambda x, f=f: np.sum(f(x)), M)
