"""Calls of NumPy's functions with each of their parameters: one table, on recording values and on plain arrays."""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np

random = np.random.default_rng(11)
F32, F64 = np.float32, np.float64
V = random.normal(size=6)
W = random.normal(size=6) + 0.1
P = random.random(5) + 0.5
M = random.normal(size=(3, 4))
N = random.normal(size=(4, 3))
S = random.normal(size=(3, 3))
T = random.normal(size=(2, 3, 4))
Z = np.array([0.0, 0.0, 1.5, 0.0, -2.0, 0.0])
ZZ = np.array([[0.0, 0.0, 0.0], [0.0, 2.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 0.0]])
NANS = np.array([[1.0, np.nan, 3.0, -0.5], [4.0, 5.0, 0.5, np.nan]])
SINGLE = random.random(6).astype(F32) + F32(0.5)
SINGLES = random.random((3, 4)).astype(F32)
FORTRAN = np.asfortranarray(M)
MASK = random.random((3, 4)) > 0.4
TRUE = np.array([True, False, True, True, False, True])
I3 = np.array([2, 0, 1])
R = np.array([1.2303, -2.4699, 0.7702, 3.2302])  # far from where rounding jumps


class Fixed:
    """An argument that is not recorded: a plain array, list or number."""

    def __init__(self, value: Any) -> None:
        self.value = value


class Number:
    """A number that is recorded."""

    def __init__(self, value: float) -> None:
        self.value = value


class Truths:
    """Whether the elements of a recorded array are positive."""

    def __init__(self, value: np.ndarray) -> None:
        self.value = value


class Out:
    """An array of zeros to be written to: a recording one where there is a recording."""

    def __init__(self, shape: Any, dtype: Any = float) -> None:
        self.shape, self.dtype = shape, dtype


class Call:
    """A call of a function: by its dotted name in NumPy, with the parameters that it sets."""

    def __init__(self, name: str, arguments: tuple[Any, ...], keywords: dict[str, Any]) -> None:
        self.name, self.arguments, self.keywords = name, arguments, keywords

    def __repr__(self) -> str:
        parts = [short(part) for part in self.arguments] + [f"{k}={short(v)}" for k, v in self.keywords.items()]
        return f"{self.name}({', '.join(parts)})"

    def function(self) -> Any:
        """Return the function."""
        found: Any = np
        for part in self.name.split("."):
            found = getattr(found, part)
        return found

    def parameters(self) -> set[str]:
        """Return the parameters that the call sets to something else than their default."""
        signature = inspect.signature(self.function())
        bound = signature.bind(*self.arguments, **self.keywords).arguments
        found = set()
        for name, value in bound.items():
            parameter = signature.parameters[name]
            if parameter.kind is parameter.VAR_KEYWORD:
                found |= {f"{name}.{key}" for key in value}
            if not (isinstance(parameter.default, (str, int, float, type(None))) and same(value, parameter.default)):
                found.add(name)
        return found


def same(one: Any, other: Any) -> bool:
    """Whether an argument is a parameter's default."""
    return type(one) is type(other) and bool(one == other)


def short(value: Any) -> str:
    """Return an argument as a few characters."""
    if isinstance(value, np.ndarray):
        return f"{value.dtype}{list(value.shape)}"
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(map(short, value))}]"
    if isinstance(value, dict):
        return f"{{{', '.join(f'{key!r}: {short(part)}' for key, part in value.items())}}}"
    if isinstance(value, (Fixed, Number)):
        return short(value.value)
    if isinstance(value, Truths):
        return f"truths{list(value.value.shape)}"
    if callable(value):
        return getattr(value, "__name__", "function")
    return str(value) if not isinstance(value, Out) else f"out{value.shape}"


class Namespace:
    """Makes calls: `p.linalg.norm(M, axis=1)` is the call of np.linalg.norm."""

    def __init__(self, name: str = "") -> None:
        self.name = name

    def __getattr__(self, name: str) -> Any:
        return Namespace(f"{self.name}.{name}" if self.name else name)

    def __call__(self, *arguments: Any, **keywords: Any) -> Call:
        return Call(self.name, arguments, keywords)


p = Namespace()


def reductions(name: str) -> list[Call]:
    """Return calls of a reduction with the parameters that all of them have."""
    function = getattr(p, name)
    return [
        function(M, axis=-1),
        function(T, axis=(0, -1)),
        function(M, 1),
        function(M, axis=0, out=Out(4)),
        function(T, axis=1, keepdims=True),
        function(T, keepdims=True),
    ]


CALLS: list[Call] = [
    # ---------------------------------------------------------------- sums, means, products
    *(call for name in ("sum", "nansum", "prod", "nanprod", "mean", "nanmean") for call in reductions(name)),
    *(call for name in ("var", "std", "nanvar", "nanstd") for call in reductions(name)),
    *(getattr(p, name)(SINGLES, axis=1, dtype=F64) for name in ("sum", "nansum", "prod", "nanprod", "mean", "nanmean",
        "var", "std", "nanvar", "nanstd")),
    *(getattr(p, name)(M, axis=1, dtype=F64) for name in ("sum", "nansum", "prod", "nanprod", "mean", "nanmean", "var",
        "std", "nanvar", "nanstd")),
    *(getattr(p, name)(M, axis=1, where=MASK) for name in ("sum", "nansum", "prod", "nanprod", "mean", "nanmean",
        "var", "std", "nanvar", "nanstd")),
    *(getattr(p, name)(M, axis=1, where=Truths(M)) for name in ("sum", "nansum", "prod", "nanprod", "mean", "nanmean",
        "var", "std", "nanvar", "nanstd")),
    *(getattr(p, name)(M, axis=1, where=MASK, initial=2.5) for name in ("sum", "nansum", "prod", "nanprod")),
    *(getattr(p, name)(M, axis=1, where=MASK[:, :1]) for name in ("sum", "nansum", "prod", "nanprod")),
    *(getattr(p, name)(M, initial=Number(0.7)) for name in ("sum", "nansum", "prod", "nanprod")),
    *(getattr(p, name)(M, axis=0, ddof=1) for name in ("var", "std", "nanvar", "nanstd")),
    *(getattr(p, name)(M, axis=0, ddof=0.5) for name in ("var", "std", "nanvar", "nanstd")),
    *(getattr(p, name)(M, axis=0, correction=1) for name in ("var", "std", "nanvar", "nanstd")),
    *(getattr(p, name)(M, axis=1, mean=np.mean(M, axis=1, keepdims=True)) for name in ("var", "std")),
    *(getattr(p, name)(M, axis=1, mean=np.ones((3, 1)) * 0.3) for name in ("nanvar", "nanstd")),
    p.nansum(NANS, axis=1), p.nanmean(NANS, axis=1), p.nanvar(NANS, axis=1), p.nanstd(NANS, axis=1, ddof=1),
    p.nanprod(NANS, axis=1), p.sum(M, axis=()), p.prod(M, axis=()), p.mean(M, axis=()), p.max(M, axis=()),
    p.nansum(M, axis=()), p.average(M, axis=1), p.average(M, axis=(0, 1)), p.average(M, weights=np.abs(M)),
    p.average(M, axis=1, weights=[1.0, 2.0, 3.0, 4.0], keepdims=True),
    p.average(M, axis=0, weights=Fixed(np.array([1, 2, 3])), returned=True),
    p.average(T, axis=(0, 2), weights=np.abs(T[:, 0])), p.average(T, axis=(2, 0), weights=np.abs(T[:, 0]).T),
    p.average(T, axis=(1, -3), weights=np.abs(T[:, :, 0]).T), p.nanvar(np.array([1.0, np.inf, np.nan])),
    p.average(SINGLES, axis=1, weights=Fixed(np.array([1.0, 2.0, 3.0, 4.0]))),
    # ---------------------------------------------------------------- extremes, truth
    *(call for name in ("max", "min", "amax", "amin", "nanmax", "nanmin", "ptp", "median", "nanmedian") for call in
        (getattr(p, name)(M, axis=-1), getattr(p, name)(T, axis=(0, 2)), getattr(p, name)(M, axis=0, out=Out(4)),
        getattr(p, name)(T, axis=1, keepdims=True))),
    *(getattr(p, name)(M, axis=1, initial=0.3, where=MASK) for name in ("max", "min", "amax", "amin")),
    *(getattr(p, name)(M, axis=1, initial=0.3, where=MASK) for name in ("nanmax", "nanmin")), p.nanmax(NANS, axis=1),
    p.nanmin(NANS, axis=1), p.nanmedian(NANS, axis=1), p.max(M, initial=Number(0.1)),
    p.median(M, overwrite_input=True), p.nanmedian(M, overwrite_input=True),
    *(getattr(p, name)(M, axis=1, initial=0.3, where=Truths(M)) for name in ("max", "min", "nanmax")),
    *(getattr(p, name)(Truths(M), axis=1) for name in ("any", "all", "max", "min", "sort", "mean", "flip", "diff",
        "argmax")),
    *(getattr(p, name)(Truths(M), Truths(-M)) for name in ("add", "multiply", "maximum", "minimum", "fmax",
        "logical_or", "bitwise_and", "bitwise_xor", "equal")),
    *(getattr(p, name)(Z, axis=0) for name in ("any", "all")),
    *(getattr(p, name)(ZZ, axis=1, keepdims=True) for name in ("any", "all", "count_nonzero")),
    *(getattr(p, name)(ZZ, axis=(0, 1)) for name in ("any", "all", "count_nonzero")),
    *(getattr(p, name)(ZZ, axis=1, where=np.array([True, False, True])) for name in ("any", "all")),
    *(getattr(p, name)(ZZ, axis=1, out=Out(4, bool)) for name in ("any", "all")),
    # ---------------------------------------------------------------- running
    *(call for name in ("cumsum", "cumprod", "nancumsum", "nancumprod") for call in (getattr(p, name)(M), getattr(p,
        name)(M, axis=0), getattr(p, name)(SINGLES, axis=1, dtype=F64), getattr(p, name)(M, axis=1, out=Out((3, 4))))),
    *(call for name in ("cumulative_sum", "cumulative_prod") for call in (getattr(p, name)(V), getattr(p, name)(M,
        axis=-1, include_initial=True), getattr(p, name)(M, axis=0, include_initial=True), getattr(p, name)(SINGLES,
        axis=1, dtype=F64, include_initial=True), getattr(p, name)(M, axis=1, out=Out((3, 4))), getattr(p, name)(M,
        axis=1, out=Out((3, 5)), include_initial=True))),
    # ---------------------------------------------------------------- quantiles
    *(getattr(p, name)(M, Fixed([0.2, 0.7]), axis=1, weights=Fixed(np.abs(M)), method="inverted_cdf") for name in
        ("quantile", "percentile", "nanquantile", "nanpercentile")),
    *(call for name, q in (("quantile", 0.3), ("percentile", 30.0), ("nanquantile", 0.3), ("nanpercentile", 30.0)) for
        call in ( getattr(p, name)(M, q), getattr(p, name)(M, Fixed([q, 2 * q]), axis=1), getattr(p, name)(M, q,
        axis=0, out=Out(4)), getattr(p, name)(T, Fixed([q, 2 * q]), axis=(0, -1), keepdims=True), getattr(p, name)(T,
        q, axis=1, overwrite_input=True), getattr(p, name)(M, Fixed([[q, 2 * q]]), axis=1), *(getattr(p, name)(M,
        Fixed([q, 2 * q, 0.0]), axis=1, method=method) for method in ( "inverted_cdf", "averaged_inverted_cdf",
        "closest_observation", "interpolated_inverted_cdf", "hazen", "weibull", "linear", "median_unbiased",
        "normal_unbiased", "lower", "higher", "midpoint", "nearest")), )),
    # ---------------------------------------------------------------- rounding, limits, cleaning
    p.round(R, decimals=2), p.around(R, 1), p.round(R, decimals=-1), p.round(R, out=Out(4)),
    p.around(R, decimals=1, out=Out(4)), p.fix(R), p.fix(R, out=Out(4)), p.clip(V, a_min=-0.5, a_max=0.4),
    p.clip(V, None, 0.5), p.clip(V, min=-0.5, max=W + 0.1), p.clip(M, -0.5, M[0] + 1.0),
    p.clip(V, -0.5, 0.5, out=Out(6)), p.clip(V, -0.5, 0.5, out=Out(6), where=TRUE),
    p.clip(V, -0.5, 0.5, out=Out(6), where=Truths(V)), p.clip(SINGLE, 0.6, 0.9, dtype=F64),
    p.clip(V, -0.5, 0.5, order="F"), p.clip(V, -0.5, 0.5, casting="safe"), p.clip(V, -0.5, 0.5, subok=False),
    p.nan_to_num(NANS), p.nan_to_num(NANS, nan=2.0, posinf=9.0, neginf=-9.0), p.nan_to_num(NANS, copy=False),
    p.nan_to_num(np.array([np.inf, -np.inf, np.nan]), posinf=9.0, neginf=-9.0), p.angle(V, deg=True), p.angle(V),
    p.real(V), p.imag(V), p.real_if_close(V, tol=5), p.isreal(V), p.iscomplex(V), p.isrealobj(V), p.iscomplexobj(V),
    p.isposinf(V, out=Out(6, bool)), p.isneginf(V, out=Out(6, bool)), p.isposinf(np.array([np.inf, 1.0])),
    p.isneginf(np.array([-np.inf, 1.0])), p.sinc(V), p.i0(V),
    # ---------------------------------------------------------------- shapes
    p.shape(M), p.ndim(M), p.size(M, axis=0), p.size(T, axis=(0, 2)), p.reshape(M, (4, 3)),
    p.reshape(M, (2, -1), order="F"), p.reshape(M, shape=(12,), copy=True), p.reshape(FORTRAN, (4, 3), order="A"),
    p.reshape(M, -1), p.ravel(M, order="F"), p.ravel(FORTRAN, order="A"), p.ravel(FORTRAN, order="K"),
    p.transpose(T, axes=(2, 0, 1)), p.transpose(T, [-1, 0, 1]), p.matrix_transpose(T), p.linalg.matrix_transpose(T),
    p.swapaxes(T, 0, -1), p.moveaxis(T, (0, 1), (-1, 0)), p.moveaxis(T, 0, 1), p.rollaxis(T, 2, start=1),
    p.rollaxis(T, -1), p.squeeze(T[:1], axis=0), p.squeeze(T[:1, :1], axis=(0, 1)), p.squeeze(T[:1, :1]),
    p.expand_dims(M, axis=(0, -1)), p.expand_dims(M, 1), p.broadcast_to(V, (2, 6)),
    p.broadcast_to(V, shape=(1, 6), subok=True), p.broadcast_arrays(V, M[:, :1]),
    p.broadcast_arrays(V, M[:, :1], subok=True), p.lib.stride_tricks.sliding_window_view(V, 3),
    p.lib.stride_tricks.sliding_window_view(M, (2, 2), axis=(0, 1)),
    p.lib.stride_tricks.sliding_window_view(M, window_shape=2, axis=1),
    p.lib.stride_tricks.sliding_window_view(V, 3, subok=True),
    p.lib.stride_tricks.sliding_window_view(V, 3, writeable=True), p.diagonal(T, axis1=0, axis2=2),
    p.atleast_1d(V, Number(2.0)), p.atleast_2d(V, Number(2.0)), p.atleast_3d(V, M, Number(2.0)),
    p.flip(T, axis=(0, 2)), p.flip(T), p.fliplr(M), p.flipud(M), p.rot90(M, k=3), p.rot90(T, 1, axes=(1, 2)),
    p.rot90(T, -1, axes=(2, 0)), p.roll(M, 2), p.roll(M, (1, 2), axis=(0, 1)), p.roll(M, shift=-1, axis=1),
    p.roll(M, 1, axis=(0, 1)), p.fft.fftshift(M), p.fft.fftshift(M, axes=1), p.fft.ifftshift(M, axes=(0,)),
    p.fft.ifftshift(V), p.diagonal(M, offset=1), p.diagonal(T, -1, axis1=2, axis2=1), p.linalg.diagonal(T, offset=-1),
    p.trace(T, offset=1, axis1=1, axis2=2), p.trace(M, out=Out(())), p.trace(T, out=Out(4)),
    p.trace(SINGLES, dtype=F64), p.linalg.trace(T, offset=1), p.linalg.trace(SINGLES, dtype=F64), p.array_split(V, 4),
    p.array_split(M, [1, 2], axis=1), p.split(M, 2, axis=1), p.split(V, indices_or_sections=[2, 3]), p.hsplit(M, 2),
    p.vsplit(M, 3), p.dsplit(T, 2), p.unstack(T, axis=-1), p.resize(V, (2, 4)), p.resize(V, new_shape=4),
    p.diag_indices_from(S), p.tril_indices_from(M, k=1), p.triu_indices_from(M, k=-1),
    # ---------------------------------------------------------------- joining
    p.concatenate([M, N.T], axis=1), p.concatenate([M, N], axis=None), p.concatenate([V, W], out=Out(12)),
    p.concatenate([SINGLE, SINGLE], dtype=F64), p.concatenate([V, W], casting="safe"),
    p.concatenate([V, Fixed(np.arange(3))], casting="safe"), p.stack([V, W], axis=1), p.stack([V, W], out=Out((2, 6))),
    p.stack([SINGLE, SINGLE], dtype=F64), p.stack([V, W], casting="no"), p.stack([Number(1.0), Number(2.0)]),
    p.stack([Number(1.0), 2.0], axis=-1), p.stack([M, M], -1), p.stack([Number(1.0), Number(2.0)], dtype=F64),
    p.vstack([V, W]), p.vstack([SINGLE, SINGLE], dtype=F64), p.vstack([V, W], casting="equiv"), p.hstack([V, W]),
    p.hstack([M, M]), p.hstack([SINGLE, SINGLE], dtype=F64), p.hstack([V, W], casting="unsafe"), p.dstack([V, W]),
    p.column_stack([V, np.ones((6, 2))]), p.append(V, W), p.append(M, M, axis=1), p.append(M, Number(1.0)),
    p.block([[M, np.ones((3, 1))], [np.ones((1, 4)), np.ones((1, 1))]]), p.tile(V, 2), p.tile(M, (2, 1, 3)),
    p.repeat(V, 2), p.repeat(M, [1, 0, 2], axis=0), p.repeat(M, repeats=3, axis=-1), p.meshgrid(V, W[:3]),
    p.meshgrid(V, W[:3], indexing="ij"), p.meshgrid(V, W[:3], sparse=True), p.meshgrid(V, W[:2], copy=False),
    p.meshgrid(V[:2], W[:3], P[:2], indexing="xy"), p.pad(V, 2),
    p.pad(M, ((1, 2), (0, 1)), mode="constant", constant_values=1.5),
    p.pad(V, (1, 2), constant_values=(Number(0.5), 2.0)),
    p.pad(M, ((1, 2), (3, 4)), constant_values=((1.0, 2.0), (3.0, 4.0))), p.pad(M, {0: 1}), p.pad(M, {-1: (1, 2)}),
    p.pad(V, 2, "edge"), p.pad(M, 2, mode="wrap"), p.pad(M, (1, 2), mode="reflect"), p.pad(V, 2, mode="symmetric"),
    p.pad(V, 9, mode="reflect"), p.pad(V, 14, mode="symmetric"), p.pad(V, 14, mode="wrap"),
    p.pad(V, 2, mode="reflect", reflect_type="odd"), p.pad(V, 2, mode="symmetric", reflect_type="odd"),
    p.pad(V, (2, 3), mode="linear_ramp", end_values=1.0), p.pad(V, (2, 3), mode="linear_ramp", end_values=(1.0, -1.0)),
    p.pad(M, (2, 3), mode="maximum"), p.pad(M, (2, 3), mode="minimum", stat_length=2),
    p.pad(M, 1, mode="mean", stat_length=((1, 2), (3, 2))), p.pad(M, 2, mode="median"), p.pad(V, 2, mode="mean"),
    p.insert(V, 2, 9.0), p.insert(M, [1, 2], W[:2, None] * np.ones((2, 4)), axis=0), p.insert(V, [0, 6], W[:2]),
    p.insert(M, 1, values=M[0], axis=0), p.insert(M, slice(0, 2), 3.0, axis=1), p.delete(V, 1),
    p.delete(M, [0, 2], axis=1), p.delete(V, slice(0, 2)), p.delete(V, obj=TRUE), p.delete(V, -1), p.trim_zeros(Z),
    p.trim_zeros(Z, trim="f"), p.trim_zeros(Z, "b"), p.trim_zeros(ZZ), p.trim_zeros(ZZ, axis=0),
    p.trim_zeros(ZZ, axis=-1, trim="f"), p.trim_zeros(ZZ, axis=(0, 1)), p.trim_zeros(np.zeros(3), trim="f"),
    p.trim_zeros(np.zeros(3), trim="b"), p.trim_zeros(np.zeros((2, 3)), trim="f", axis=1),
    p.pad(np.zeros((2, 0, 2)), ((3,), (0,), (1,)), mode="linear_ramp"), p.diag(V, k=1), p.diag(M, -1), p.diag(M),
    p.diagflat(M, k=-1), p.tril(M, k=1), p.tril(T), p.triu(M, k=-1), p.triu(V),
    # ---------------------------------------------------------------- making
    *(getattr(p, name)(M, dtype=int) for name in ("zeros_like", "ones_like")),
    *(getattr(p, name)(M, order="F") for name in ("zeros_like", "ones_like")),
    *(getattr(p, name)(M, subok=False) for name in ("zeros_like", "ones_like")),
    *(getattr(p, name)(M, shape=(2, 5)) for name in ("zeros_like", "ones_like")),
    *(getattr(p, name)(M, shape=5) for name in ("zeros_like", "ones_like")),
    *(getattr(p, name)(M, device="cpu") for name in ("zeros_like", "ones_like")),
    *(getattr(p, name)(SINGLE, dtype=F64) for name in ("zeros_like", "ones_like")),
    *(getattr(p, name)(M, dtype=bool) for name in ("zeros_like", "ones_like")), p.full_like(M, 2.5),
    p.full_like(M, M[0]), p.full_like(M, 2.5, dtype=int), p.full_like(M, 2.5, order="F"),
    p.full_like(M, 2.5, subok=False), p.full_like(M, 2.5, shape=(2, 2)), p.full_like(M, 2.5, device="cpu"),
    p.full_like(SINGLE, 2.5, dtype=F64), p.full_like(Fixed(M), Number(2.0)),
    p.full_like(M, fill_value=2.5, dtype=bool), p.full_like(M, 0.0, dtype=bool), p.copy(FORTRAN, order="C"),
    p.copy(M, order="F"), p.copy(M, subok=True), p.copy(M), p.linspace(Number(0.5), Number(2.0)),
    p.linspace(Number(0.5), 2.0, num=7), p.linspace(V, W, 5, endpoint=False), p.linspace(V, W, 5, axis=1),
    p.linspace(V, W, 5, axis=-1), p.linspace(V, 2.0, 3, retstep=True), p.linspace(M, V[:4], 3),
    p.linspace(SINGLE, 2.0, 3, dtype=F64), p.linspace(Number(0.5), 2.0, 3, device="cpu"),
    p.linspace(0.5, stop=V, num=1), p.linspace(V, W, 0), p.linspace(Number(1.0), 2.0, 1, endpoint=False, retstep=True),
    p.linspace(M, V[:4], 3, axis=1), p.linspace(Number(1.0), 2.0, 1, retstep=True),
    p.logspace(Number(0.5), Number(1.5)), p.logspace(V, W, num=4, endpoint=False), p.logspace(V, W, 4, base=2.0),
    p.logspace(V, W, 4, axis=1), p.logspace(V, W, 4, base=P[0:1]), p.logspace(0.5, 1.5, 4, base=Number(3.0)),
    p.logspace(0.5, 1.5, 4, base=P), p.logspace(SINGLE, 2.0, 3, dtype=F64), p.logspace(0.5, 1.5, 4, base=P, axis=-1),
    p.logspace(V[:5], 1.5, 4, base=P, axis=1), p.geomspace(Number(0.5), Number(8.0)),
    p.geomspace(P, stop=9.0, num=4, endpoint=False), p.geomspace(P, 9.0, 4, axis=1), p.geomspace(-P, -9.0, 4),
    p.geomspace(SINGLE, 2.0, 3, dtype=F64), p.geomspace(P, 9.0, 4), p.astype(SINGLE, F64),
    p.astype(V, float, copy=False), p.astype(V, float, device="cpu"), p.astype(V, int), p.astype(V, bool), p.vander(V),
    p.vander(V, N=3), p.vander(V, 4, increasing=True), p.vander(V, 0),
    # ---------------------------------------------------------------- what NumPy tells
    p.result_type(SINGLE, Fixed(F32)), p.can_cast(SINGLE, F32, casting="no"), p.can_cast(V, to=F32),
    p.min_scalar_type(V), p.common_type(SINGLE, V), p.shares_memory(M, V), p.may_share_memory(M, V),
    p.may_share_memory(M, V, max_work=1), p.shares_memory(M, V, max_work=5), p.array_repr(V, precision=2),
    p.array_repr(V, max_line_width=30), p.array_repr(V * 1e-9, suppress_small=True), p.array_str(V, precision=2),
    p.array_str(V, max_line_width=30), p.array_str(V * 1e-9, suppress_small=True), p.array2string(V, precision=2),
    p.array2string(V, max_line_width=30), p.array2string(V * 1e-9, suppress_small=True),
    p.array2string(V, separator=", "), p.array2string(V, prefix="xxxxxx"),
    p.array2string(V, suffix="xxxxxx", threshold=3, edgeitems=1), p.array2string(V, sign="+", floatmode="fixed"),
    p.array2string(V, formatter=Fixed({"float_kind": lambda v: "a"})), p.array2string(V, legacy="1.13"),
    # ---------------------------------------------------------------- order and positions
    *(getattr(p, name)(M, axis=1) for name in ("argmax", "argmin", "nanargmax", "nanargmin")),
    *(getattr(p, name)(M, axis=0, keepdims=True) for name in ("argmax", "argmin", "nanargmax", "nanargmin")),
    *(getattr(p, name)(M, axis=1, out=Fixed(np.zeros(3, int))) for name in ("argmax", "argmin", "nanargmax",
        "nanargmin")),
    p.argsort(M, axis=0), p.argsort(M, axis=None), p.argsort(V, kind="stable"), p.argsort(V, stable=True),
    p.argsort(V, stable=False), p.argpartition(M, 1, axis=0), p.argpartition(V, kth=2), p.lexsort((V, W)),
    p.lexsort((M, M[::-1] * 1.0), axis=0), p.searchsorted(P.cumsum(), Number(2.0), side="right"),
    p.searchsorted(P[I3], Fixed([0.7]), sorter=np.argsort(P[I3])), p.searchsorted(P.cumsum(), v=P),
    p.digitize(V, Fixed([-1.0, 0.0, 1.0]), right=True), p.digitize(V, bins=P.cumsum()), p.nonzero(ZZ),
    p.flatnonzero(Z), p.argwhere(ZZ), p.sort(M, axis=0), p.sort(M, axis=None), p.sort(V, kind="stable"),
    p.sort(V, stable=True), p.partition(M, 1, axis=None), p.partition(V, [1, 3]), p.partition(M, kth=1, axis=0),
    p.unique(Z), p.unique(Z, return_index=True, return_inverse=True, return_counts=True), p.unique(ZZ, axis=0),
    p.unique(ZZ, True, axis=1), p.unique(ZZ, return_inverse=True), p.unique(ZZ, return_inverse=True, axis=0),
    p.unique(NANS, equal_nan=False), p.unique(np.array([2.0, np.nan, np.nan])), p.unique(Z, sorted=False),
    p.unique_values(Z), p.union1d(Z, V), p.intersect1d(Z, Fixed([1.5, 7.0])),
    p.intersect1d(V, V[::-1][:3], assume_unique=True), p.intersect1d(V, V[::-1][:3], return_indices=True),
    p.intersect1d(V[::-1] * 1.0, V, assume_unique=True, return_indices=True), p.setdiff1d(Z, Fixed([1.5])),
    p.setdiff1d(V, V[:2], assume_unique=True), p.setxor1d(V, V[:2]), p.setxor1d(V, W, assume_unique=True),
    p.isin(V, V[:2]), p.isin(V, V[:2], assume_unique=True), p.isin(V, V[:2], invert=True),
    p.isin(V, V[:2], kind="sort"), p.array_equal(NANS, NANS, equal_nan=True), p.array_equal(NANS, NANS),
    p.array_equiv(V, V[:1]), p.array_equiv(V, V), p.allclose(V, V + 1e-4, rtol=1e-2), p.allclose(V, V + 1e-4),
    p.allclose(V, V + 1e-4, atol=1e-2), p.allclose(NANS, NANS, equal_nan=True), p.isclose(V, V + 1e-4, rtol=1e-2),
    p.isclose(V, V + 1e-4), p.isclose(V, V + 1e-4, atol=1e-2), p.isclose(NANS, NANS, equal_nan=True),
    p.isclose(Fixed(V), V + 1e-4, rtol=1e-3),
    # ---------------------------------------------------------------- products
    p.einsum("ij,jk->ik", M, N), p.einsum("ij,jk,kl", M, N, M, optimize=True), p.einsum("ij->j", M, out=Out(4)),
    p.einsum("i,i->", SINGLE, SINGLE, dtype=F64), p.einsum("ij,jk->ik", M, N, order="F"),
    p.einsum("ij,jk->ik", M, N, casting="unsafe"), p.einsum(M, [0, 1], N, [1, 2], [0, 2]),
    p.einsum_path("ij,jk,kl", M, N, M, optimize="optimal"), p.einsum_path("ij,jk->ik", M, N), p.dot(M, N),
    p.dot(M, N, out=Out((3, 3))), p.dot(T, b=N), p.dot(V, W), p.dot(Number(2.0), M), p.vdot(M, M), p.inner(T, M),
    p.inner(Number(2.0), M), p.outer(V, W, out=Out((6, 6))), p.outer(M, V), p.linalg.outer(V, W),
    p.linalg.matmul(M, N), p.tensordot(M, N, axes=1), p.tensordot(T, M, axes=((1, 2), (0, 1))), p.tensordot(M, M, 2),
    p.tensordot(M, V, axes=0), p.tensordot(T, M, axes=(1, 0)), p.linalg.tensordot(T, M, axes=((1,), (0,))),
    p.linalg.vecdot(M, M, axis=0), p.linalg.vecdot(M, V[:4]), p.kron(M, N), p.kron(V, M), p.kron(Number(2.0), V),
    p.cross(M[:, :3], S), p.cross(M[:, :2], S[:, :2]), p.cross(M.T[:3].T, S, axisa=1, axisb=0, axisc=0),
    p.cross(S, S.T, axis=0), p.linalg.cross(S, S[::-1] * 1.0, axis=0), p.linalg.cross(S, S[::-1] * 1.0),
    p.cross(S, S[0]), p.cross(M[:, :2], S),
    *(getattr(p, name)(V, P[:3], mode=mode) for name in ("convolve", "correlate") for mode in ("full", "same",
        "valid")),
    p.convolve(V, v=W), p.correlate(P[:3], V, mode="same"), p.convolve(P[:2], V, mode="same"), p.correlate(P[:3], V),
    p.correlate(P[:3], V, mode="full"), p.convolve(P[:3], V, mode="valid"),
    # ---------------------------------------------------------------- selection
    p.where(Truths(M), M, 0.5), p.extract(Truths(V), W), p.compress(Truths(V), M[:, [0, 1, 2, 3, 0, 1]] * 1.0, axis=1),
    p.choose(Truths(V), [V, W]), p.triu(Truths(M)), p.pad(Truths(V), 1),
    p.pad(Truths(V), 1, constant_values=Fixed(True)), p.where(MASK, M, -M), p.where(TRUE, V, 0.5), p.where(V, W, V),
    p.select([TRUE, ~TRUE], [V, W]), p.select([TRUE, V > 9], [V, W], default=2.5),
    p.piecewise(V, [V < 0, V >= 0], [lambda t: -t, lambda t: t * t]),
    p.piecewise(V, [V < 0], [lambda t, a, b=1.0: t * a + b, 7.0], 2.0, b=3.0),
    p.choose(Fixed(I3), [P[:3], V[:3], W[:3]]), p.choose(Fixed(np.array([0, 5, -1])), [P[:3], V[:3]], mode="wrap"),
    p.choose(Fixed(np.array([0, 5, 1])), choices=[P[:3], V[:3]], mode="clip"),
    p.choose(Fixed(I3), [P[:3], V[:3], W[:3]], out=Out(3)), p.take(V, [1, -1]), p.take(M, I3, axis=1),
    p.take(V, [7, -9], mode="wrap"), p.take(V, [7, -9], mode="clip"), p.take(V, indices=[1, 2], out=Out(2)),
    p.take(T, [[0, 1]], axis=1), p.take(M, 1, axis=0), p.take(V, 3),
    p.take_along_axis(M, Fixed(np.argsort(M, axis=0)), axis=0),
    p.take_along_axis(M, Fixed(np.array([[1, 0], [2, 1], [0, 0]]))),
    p.take_along_axis(M, indices=Fixed(np.array([3, 1])), axis=None), p.compress([True, False, True], M, axis=0),
    p.compress([False, True], V), p.compress([True, False, True], M, axis=1, out=Out((3, 2))), p.extract(MASK, M),
    p.histogram(Fixed([0.5, 1.5, 0.1, 2.0, 3.0, 0.0]), weights=V),
    p.histogram(Fixed([0.5, 1.5, 0.1, 2.0, 3.0, np.nan]), 4, (0.1, 2.0), True, V),
    p.histogram(Fixed([[0.5, 1.5], [0.1, 2.0], [3.0, 0.0]]), [0.0, 0.5, 2.0], weights=V.reshape(3, 2), density=False),
    p.bincount([0, 2, 2, 1, 0, 4], weights=V), p.bincount([0, 2, 2, 1, 0, 1], V, minlength=7),
    p.apply_along_axis(lambda t, a, b=1.0: t * a + b, 0, M, 2.0, b=3.0), p.apply_along_axis(np.sum, 1, T),
    p.apply_over_axes(np.sum, T, (0, 2)), p.apply_over_axes(np.max, T, axes=1), p.ix_(Fixed([0, 1]), Truths(V)),
    p.copyto(Out(6), V), p.copyto(Out((2, 6)), V, where=TRUE), p.copyto(Out(6), V, casting="safe"),
    p.copyto(dst=Out(6), src=V, where=Truths(W)), p.putmask(Out(6), TRUE, V[:4]),
    p.putmask(Out(6), Truths(V), values=W), p.place(Out(6), TRUE, V[:2]), p.place(Out(6), mask=Truths(V), vals=W[:2]),
    p.put(Out(6), [1, -1], V[:2]), p.put(Out((2, 3)), [7, -9], V[:2], mode="wrap"),
    p.put(Out((2, 3)), [7, -9], V[:2], mode="clip"), p.put(Out(6), ind=[0, 1, 2], v=V[:2]),
    p.put_along_axis(Out((3, 4)), Fixed(np.array([[1], [0], [3]])), M[:, :1], 1),
    p.put_along_axis(Out((3, 4)), indices=Fixed(np.array([1, 5])), values=V[:2], axis=None),
    p.fill_diagonal(Out((3, 3)), Number(2.0)), p.fill_diagonal(Out((7, 2)), V[:2], wrap=True),
    p.fill_diagonal(Out((4, 4)), val=V[:2]),
    # ---------------------------------------------------------------- calculus
    p.diff(V, n=2), p.diff(M, axis=0), p.diff(M, prepend=0.5, append=M[:, :1]), p.diff(V, append=Number(2.0)),
    p.diff(M, axis=0, prepend=M[:2] * 2.0), p.ediff1d(V, to_end=[1.0, 2.0], to_begin=W), p.ediff1d(M), p.gradient(V),
    p.gradient(M, axis=1), p.gradient(M, 0.5, P[:4].cumsum()), p.gradient(V, 2.0, edge_order=2),
    p.gradient(M, axis=(0, 1)), p.gradient(SINGLE, Fixed(0.5 * np.arange(6.0)), edge_order=2),
    p.gradient(V, P[0] * np.arange(6.0) ** 1.5, edge_order=2),
    p.trapezoid(M, x=P[:4].cumsum()), p.trapezoid(M, dx=0.5, axis=0), p.trapezoid(M, P[:3].cumsum(), axis=0),
    p.trapezoid(M, np.cumsum(np.abs(M), axis=1)), p.trapezoid(SINGLE, dx=0.5), p.unwrap(V * 4.0),
    p.unwrap(V * 4.0, discont=4.0), p.unwrap(M * 4.0, axis=0, period=3.0), p.unwrap(V * 9.0, discont=1.0),
    p.interp(V, Fixed([-1.0, 0.0, 1.0]), [2.0, 0.5, 3.0]),
    p.interp(V, Fixed([-0.5, 0.0, 0.5]), P[:3], left=-9.0, right=Number(9.0)),
    p.interp(V * 3, P[:3], W[:3], period=1.7), p.interp(M, Fixed([-0.5, 0.0, 0.5]), P[:3]),
    p.interp(Number(0.3), Fixed([-0.5, 0.0, 0.5]), P[:3]),
    p.interp(V * 3, P[:3], W[:3], left=9.0, right=8.0, period=1.7), p.interp(V * 3, P[:3], W[:3], period=-1.7),
    p.polyval(P, V), p.polyval(P, Number(2.0)), p.polyval(P, x=M), p.polyadd(P, V), p.polysub(P, V), p.polymul(P, V),
    p.polyder(P), p.polyder(P, m=2), p.polyder(P, 0), p.polyint(P), p.polyint(P, m=2, k=[1.0, 2.0]),
    p.roots(p=np.array([1.0, -3.0, 2.0])),
    p.polyint(P, m=2, k=Number(0.5)), p.polyint(P, 0), p.poly(P), p.polydiv(V, P[:3]), p.polydiv(P[:2], V),
    p.polydiv(np.array([1.0, 3.0, 3.0, 1.0]), Fixed([1.0, 2.0, 1.0])), p.polyfit(V, W, 2),
    p.polyfit(V, W, 1, w=np.abs(W)), p.polyfit(V, np.stack([W, P[0] * V], 1), 1), p.polyfit(V, W, deg=2, rcond=1e-9),
    p.cov(M), p.cov(V, y=W), p.cov(M, rowvar=False), p.cov(M, bias=True), p.cov(M, ddof=0), p.cov(M, ddof=2),
    p.cov(M, fweights=[1, 2, 1, 3]), p.cov(M, aweights=P[:4]), p.cov(M, fweights=[1, 2, 1, 3], aweights=P[:4]),
    p.cov(SINGLES, dtype=F64), p.cov(V), p.cov(M, M * 2.0 + 1.0, rowvar=False), p.cov(V[None]),
    p.cov(M, aweights=P[:4], ddof=0, bias=True), p.corrcoef(M), p.corrcoef(V, W), p.corrcoef(M, rowvar=False),
    p.corrcoef(SINGLES, dtype=F64),
]  # fmt: skip

EMPTY = [
    p.empty_like(M), p.empty_like(M, shape=(2, 5)), p.empty_like(M, order="F"), p.empty_like(M, subok=False),
    p.empty_like(M, device="cpu"), p.empty_like(SINGLE, dtype=F64), p.empty_like(M, dtype=int),
    p.empty_like(M, dtype=bool), p.pad(V, 2, mode="empty"),
]  # fmt: skip

REFUSED: list[tuple[Call, str]] = [
    *((getattr(p, name)(M, axis=1, dtype=kind), "dtype") for name in ( "sum", "nansum", "prod", "nanprod", "mean",
        "nanmean", "var", "std", "nanvar", "nanstd", "cumsum", "cumprod", "nancumsum", "nancumprod", "cumulative_sum",
        "cumulative_prod") for kind in (F32, complex, np.float16)),
    *((getattr(p, name)(M, axis=1, dtype=kind), "dtype") for name in ("sum", "prod", "cumsum", "mean") for kind in
        (int, bool)),
    (p.trace(M, dtype=F32), "dtype"), (p.linalg.trace(M, dtype=F32), "dtype"),
    (p.einsum_path("ij,jk->ik", M, N, einsum_call=True), "einsum_call"), (p.polyfit(V, W, 2, full=True), "full="),
    (p.polyfit(V, W, 2, cov=True), "cov="),
    (p.pad(V, 1, mode=np.mean), "mode"), (p.pad(V, 9, mode="reflect", reflect_type="odd"), "reflect_type"),
    (p.save("nowhere", V, allow_pickle=False), "save"), (p.savez("nowhere", V, allow_pickle=False), "savez"),
    (p.savez_compressed("nowhere", V, allow_pickle=False), "savez_compressed"),
    (p.savetxt("nowhere", V, fmt="%f", delimiter=",", newline="x", header="a", footer="b", comments="",
        encoding="utf-8"), "savetxt"),
    (p.zeros_like(M, dtype=F32), "dtype"), (p.full_like(M, 1.0, dtype=complex), "dtype"),
    (p.linspace(V, 1.0, dtype=F32), "dtype"), (p.linspace(V, 1.0, dtype=int), "dtype"),
    (p.logspace(V, 1.0, dtype=F32), "dtype"), (p.geomspace(P, 1.0, dtype=F32), "dtype"),
    (p.concatenate([V, V], dtype=F32, casting="unsafe"), "dtype"),
    (p.stack([V, V], dtype=int, casting="unsafe"), "dtype"), (p.vstack([V, V], dtype=F32, casting="unsafe"), "dtype"),
    (p.hstack([V, V], dtype=F32, casting="unsafe"), "dtype"),
    (p.einsum("ij->i", M, dtype=F32, casting="unsafe"), "dtype"), (p.cov(M, dtype=F32), "dtype"),
    (p.corrcoef(M, dtype=F32), "dtype"), (p.clip(V, 0.0, 1.0, dtype=F32, casting="unsafe"), "dtype"),
    (p.argpartition(V, 2, kind="quicksort"), "kind"), (p.partition(V, 2, kind="quicksort"), "kind"),
    (p.full_like(Fixed(np.arange(3)), Number(1.0)), "integers"), (p.argsort(V, order="x"), "order="),
    (p.sort(V, order="x"), "order="), (p.partition(V, 1, order="x"), "order="),
    (p.argpartition(V, 1, order="x"), "order="),
]  # fmt: skip
