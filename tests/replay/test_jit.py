"""jit: one tape for each signature and path; nothing stale, nothing misread, no wrong branch."""

from __future__ import annotations

import copy
import functools
import io
import os
import pickle
import subprocess
import sys
import threading
import types
import warnings
from array import array
from collections import ChainMap, OrderedDict, defaultdict, deque
from collections.abc import Callable
from contextvars import ContextVar
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
import scipy.interpolate
import scipy.sparse

import numbad
from numbad import InputError, NumbadError
from shared.jitting import Counted, branches, close, stairs, together

HERE = Path(__file__).name

generator = np.random.default_rng(21)
X = np.array([0.5, -1.25, 2.0])
M = generator.normal(size=(4, 3))

# ---------------------------------------------------------------- what the function takes from outside


FACTOR = 3.0
TABLE = {"factor": 2.0}


def test_closures_and_globals_that_are_bound_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    counted = Counted(lambda x: x * FACTOR)
    by_global = numbad.jit(lambda x: x * FACTOR)
    assert by_global(2.0) == 6.0
    monkeypatch.setitem(globals(), "FACTOR", 5.0)
    assert by_global(2.0) == 10.0
    assert counted(2.0) == 10.0
    factor = 2.0

    def f(x: Any) -> Any:
        return x * factor

    by_closure, slope = numbad.jit(f), numbad.jit(numbad.grad(f))
    assert (by_closure(3.0), slope(3.0)) == (6.0, 2.0)
    factor = 7.0
    assert (by_closure(3.0), slope(3.0)) == (21.0, 7.0)

    def inner(x: Any) -> Any:
        return f(x) + 1.0

    through = numbad.jit(numbad.value_and_grad(inner))
    assert through(1.0) == (8.0, 7.0)
    factor = -1.0
    assert through(1.0) == (0.0, -1.0)
    f = lambda x: x**3
    assert through(1.0) == (2.0, 3.0)


def test_containers_and_objects_that_are_written_to() -> None:
    weights, table = [1.0, 2.0], {"a": {"b": 1.0}}
    settings = SimpleNamespace(scale=1.0, deep=SimpleNamespace(values=[np.ones(3)]))

    def default(x: Any, extra: Any = [5.0]) -> Any:  # noqa: B006
        return x * extra[0]

    for call, write in [
        (lambda x: x * weights[0], lambda: weights.__setitem__(0, 7.0)),
        (lambda x: x * sum(weights), lambda: weights.append(3.0)),
        (lambda x: x * table["a"]["b"], lambda: table["a"].update(b=4.0)),
        (lambda x: x * len(table), lambda: table.update(c=1.0)),
        (lambda x: x * TABLE["factor"], lambda: TABLE.update(factor=TABLE["factor"] + 1.0)),
        (lambda x: x * settings.scale, lambda: setattr(settings, "scale", 9.0)),
        (lambda x: x * np.sum(settings.deep.values[0]), lambda: settings.deep.values[0].fill(2.0)),
        (default, lambda: default.__defaults__[0].__setitem__(0, 6.0)),
    ]:
        counted = numbad.jit(call)
        slope = numbad.jit(numbad.grad(call))
        for _ in range(3):
            before = call(2.0)
            assert counted(2.0) == counted(2.0) == before
            assert slope(2.0) == before / 2.0
            write()
        assert counted(2.0) == call(2.0)
        assert slope(2.0) == call(2.0) / 2.0


@pytest.mark.parametrize(
    "use",
    [
        lambda x, a: np.sum(x * a),
        lambda x, a: np.sum(x * a[::-1]),
        lambda x, a: np.sum(x * (a * 2.0)),
        lambda x, a: np.sum(x) * a[0],
        lambda x, a: np.sum(x) * a.sum(),
        lambda x, a: np.sum(x) if a[0] > 0.0 else -np.sum(x),
        lambda x, a: np.sum(x * a.astype(np.float32)),
    ],
)
@pytest.mark.parametrize(("size", "dtype"), [(3, float), (600, float), (600, np.float32), (600, int), (70_000, float)])
def test_arrays_that_are_written_to(use: Any, size: int, dtype: Any) -> None:
    array = np.ones(size, dtype)
    x = np.linspace(0.5, 1.0, size)
    f = lambda x: use(x, array)
    jitted, slopes = numbad.jit(f), numbad.jit(numbad.grad(f))
    for write in (lambda: None, lambda: array.__setitem__(0, -3), lambda: array.fill(2), lambda: array.__imul__(3)):
        write()
        assert jitted(x) == pytest.approx(float(f(x)), rel=1e-6)
        close(slopes(x), numbad.gradient(f, x), rtol=1e-6)


def test_nothing_is_recorded_again_without_a_change() -> None:
    array, table = np.ones(5000), {"scale": 2.0}
    counted = Counted(lambda x: np.sum(array * x) * table["scale"])

    def f(x: Any) -> Any:
        return counted(x)

    jitted = numbad.jit(f)
    for k in range(5):
        assert jitted(np.full(5000, float(k))) == pytest.approx(10_000.0 * k)
    assert counted.runs == 1, "counting itself must not look like a change"


def test_wrapped_callables_are_looked_into() -> None:
    """Callable objects, partial functions, and functions under several transforms."""

    weights = np.ones(3)

    def level_one(x: Any) -> Any:
        return np.sum(weights * x**2)

    def level_two(x: Any, factor: Any = 1.0) -> Any:
        return level_one(x) * factor

    def level_three(x: Any) -> Any:
        return level_two(x)

    jitted = {
        "object": numbad.jit(Counted(level_three)),
        "partial": numbad.jit(functools.partial(level_two, factor=1.0)),
        "hessian": numbad.jit(numbad.hessian(level_three)),
        "batch": numbad.jit(numbad.vmap(numbad.grad(level_three), in_axes=1)),
        "jit in jit": numbad.jit(numbad.jit(level_three)),
        "third": numbad.jit(numbad.grad(numbad.grad(lambda t: level_three(t * X)))),
        "checkpoint": numbad.jit(numbad.checkpoint(level_three)),
    }
    for scale in (1.0, 2.0, 3.0):
        weights[1] = scale
        close(jitted["object"](X), level_three(X))
        close(jitted["partial"](X), level_three(X))
        close(jitted["hessian"](X), np.diag(2.0 * weights))
        close(jitted["batch"](M.T), 2.0 * weights * M)
        close(jitted["jit in jit"](X), level_three(X))
        assert jitted["third"](0.5) == pytest.approx(2.0 * level_three(X))
        close(jitted["checkpoint"](X), level_three(X))


def test_methods() -> None:
    class Model:
        def __init__(self, w: Any) -> None:
            self.w = w

        @numbad.jit
        def loss(self, x: Any) -> Any:
            return np.sum(self.w * x**2)

        def energy(self, x: Any) -> Any:
            return np.sum(self.w * x**3)

    model, other = Model(np.ones(3)), Model(2.0)
    assert model.loss(X) == pytest.approx(np.sum(X**2))
    assert other.loss(X) == pytest.approx(2.0 * np.sum(X**2))
    model.w = 3.0
    other.w = np.array([1.0, 0.0, 0.0])
    assert model.loss(X) == pytest.approx(3.0 * np.sum(X**2))
    assert other.loss(X) == pytest.approx(X[0] ** 2)
    other.w[1] = 1.0
    assert other.loss(X) == pytest.approx(X[0] ** 2 + X[1] ** 2)
    slope = numbad.jit(numbad.grad(model.energy))
    close(slope(X), 9.0 * X**2)
    model.w = 1.0
    close(slope(X), 3.0 * X**2)
    assert isinstance(Model.loss, type(numbad.jit(np.sin)))


class Scaled:
    """A model whose numbers are in its class, its slots and the globals of its module."""

    factor = 2.0

    def __init__(self) -> None:
        self.offset = 1.0

    @numbad.jit
    def shifted(self, x: Any) -> Any:
        return self.factor * x + self.offset

    def __call__(self, x: Any) -> Any:
        return self.factor * x

    @property
    def half(self) -> float:
        return self.factor / 2.0

    @classmethod
    def doubled(cls, x: Any) -> Any:
        return 2.0 * cls.factor * x


class Slotted:
    __slots__ = ("a",)

    @numbad.jit
    def times(self, x: Any) -> Any:
        return self.a * x


def test_attributes_of_classes_that_are_written_to(monkeypatch: pytest.MonkeyPatch) -> None:
    model = Scaled()
    calls: list[Any] = [
        numbad.jit(model),
        numbad.jit(lambda x: model(x)),
        numbad.jit(lambda x: Scaled.factor * x),
        numbad.jit(lambda x: 2.0 * model.half * x),
        numbad.jit(lambda x: Scaled.doubled(x) / 2.0),
        lambda x: model.shifted(x) - 1.0,
    ]
    assert [f(3.0) for f in calls] == [6.0] * len(calls)
    monkeypatch.setattr(Scaled, "factor", 5.0)
    assert [f(3.0) for f in calls] == [15.0] * len(calls)


def test_modules_and_slots_that_are_written_to() -> None:
    module: Any = ModuleType("a_module_of_the_users")
    exec("rate = 2.0\ndef apply(x):\n    return rate * x", vars(module))
    slotted = Slotted()
    slotted.a = 2.0
    calls = [numbad.jit(lambda x: module.rate * x), numbad.jit(lambda x: module.apply(x))]
    calls += [numbad.jit(lambda x: slotted.a * x)]
    assert [f(3.0) for f in calls] == [6.0, 6.0, 6.0]
    module.rate = slotted.a = 4.0
    assert [f(3.0) for f in calls] == [12.0, 12.0, 12.0]
    assert [f.paths for f in calls] == [1, 1, 1]


def test_copies_of_an_instance_have_tapes_of_their_own() -> None:
    model = Scaled()
    assert model.shifted(1.0) == 3.0
    for other in (copy.copy(model), copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        other.offset = 100.0
        assert (other.shifted(1.0), model.shifted(1.0)) == (102.0, 3.0)
    assert pickle.loads(pickle.dumps(model.shifted))(2.0) == 5.0
    with pytest.raises(NumbadError, match="a Slotted has __slots__ and no __dict__"):
        Slotted().times(1.0)


@numbad.jit
def pickled_by_name(x: Any) -> Any:
    return x * x


def cube(x: Any) -> Any:
    return x**3


def test_jitted_functions_are_pickled_by_name() -> None:
    assert pickled_by_name(2.0) == 4.0
    assert pickle.loads(pickle.dumps(pickled_by_name)) is pickled_by_name
    assert copy.deepcopy(pickled_by_name) is pickled_by_name
    unnamed = numbad.jit(cube, static_argnums=())
    assert unnamed(2.0) == 8.0
    assert pickle.loads(pickle.dumps(unnamed))(3.0) == 27.0


def test_static_arguments_by_name_and_from_the_end() -> None:
    seen = []

    def power(x: Any, n: Any) -> Any:
        seen.append(type(n))
        return x**n

    for f in (numbad.jit(power, static_argnums=-1), numbad.jit(power, static_argnames="n")):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            assert [f(2.0, 3.0), f(2.0, 2.0), f(3.0, 3.0), f(2.0, n=3.0)] == [8.0, 4.0, 27.0, 8.0]
        assert f.paths == 3
    assert set(seen) == {float}
    for wrong in ({"static_argnums": 2}, {"static_argnums": -3}, {"static_argnames": "m"}):
        with pytest.raises(InputError, match="is no argument of power"):
            numbad.jit(power, **wrong)


# ---------------------------------------------------------------- composition


def test_jit_within_and_around_the_transforms() -> None:
    f = lambda x: np.sum(x**3) if x[0] > 0.0 else np.sum(x**2)
    inner = numbad.jit(f)
    for x in (X, -X, 2.0 * X):
        for outer in (numbad.grad, numbad.hessian, numbad.jacfwd, numbad.jacrev, numbad.value_and_grad):
            expected = outer(f)(x)
            for found in (outer(inner)(x), numbad.jit(outer(f))(x), numbad.jit(outer(inner))(x)):
                for one, two in zip(np.atleast_1d(*[found]) if not isinstance(found, tuple) else found,
                                    np.atleast_1d(*[expected]) if not isinstance(expected, tuple) else expected,
                                    strict=True):  # fmt: skip
                    close(one, two)
        close(numbad.jvp(inner, (x,), (X,))[1], numbad.jvp(f, (x,), (X,))[1])
        close(numbad.vjp(inner, x)[1](1.0)[0], numbad.grad(f)(x))
        assert numbad.jit(lambda x: inner(x) + 1.0)(x) == pytest.approx(f(x) + 1.0)
    close(numbad.vmap(inner)(M), np.array([f(x) for x in M]))
    close(numbad.jit(numbad.vmap(numbad.grad(inner)))(M), np.stack([numbad.grad(f)(x) for x in M]))
    close(numbad.grad(numbad.jit(numbad.grad(lambda x: x**3)))(2.0), 12.0)


# ---------------------------------------------------------------- tapes copied into other recordings


def scalar_rows(x: Any) -> Any:
    total = x * 3.0 + 1.5
    for k in range(20):
        total = np.sin(total) * x - 0.3 * k
    return total


def array_rows(x: Any) -> Any:
    y = np.tanh(M @ x)
    z = np.concatenate([y, x * 0.5, np.stack([1.0, x[0]])])
    z[1:3] += z[4:6]
    return {"sum": np.sum(z[::-1] * np.arange(z.size)), "part": z[::2], "same": x, "fixed": np.ones(2)}


def runs_inside(f: Any, *arguments: Any) -> tuple[Any, int, int]:
    """Return the gradient through a jitted function, how often Python ran it, and how often in a second gradient."""
    counted = Counted(f)
    jitted = numbad.jit(lambda *x: counted(*x))
    slope = numbad.grad(jitted)
    found = slope(*arguments)
    first = counted.runs
    close(slope(*arguments), found)
    return found, first, counted.runs - first


def test_python_runs_once_for_a_path() -> None:
    for f, x in ((scalar_rows, 0.3), (lambda x: array_rows(x)["sum"], X), (lambda x: np.sum(np.cos(x)), np.ones(9000))):
        found, first, second = runs_inside(f, x)
        close(found, numbad.gradient(f, x))
        assert (first, second) == (1, 0)


def test_all_results_of_a_spliced_tape() -> None:
    inner = numbad.jit(array_rows)

    def through(call: Any) -> Any:
        def f(x: Any) -> Any:
            found = call(x * 2.0)
            assert isinstance(found["fixed"], np.ndarray)
            same = found["same"]
            same[0] = 7.0  # the caller's own
            again = call(x)
            return np.sum(found["part"] ** 2) + found["sum"] * np.sum(same) + np.sum(again["same"] * found["fixed"][0])

        return f

    for _ in range(2):
        for transform in (numbad.value_and_grad, numbad.hessian, lambda f: numbad.jit(numbad.grad(f))):
            expected = transform(through(lambda x: array_rows(x.copy())))(X)
            found = transform(through(inner))(X)
            for one, two in zip(found, expected, strict=True):
                close(one, two)
    assert inner.paths == 1


def test_guards_are_copied_and_choose_the_path() -> None:
    counted = Counted(branches)
    inner = numbad.jit(lambda x: counted(x))
    outer = lambda x: inner(x * 2.0) * inner(x - 1.0)
    expected = lambda x: branches(x * 2.0) * branches(x - 1.0)
    points = [2.0, 0.4, -3.0, 1.5, 0.1, -0.2, 2.0]
    for x in points:
        close(numbad.grad(outer)(x), numbad.grad(expected)(x))
        close(numbad.jvp(outer, (x,), (1.0,))[1], numbad.grad(expected)(x))
        close(numbad.grad(numbad.grad(outer))(x), numbad.grad(numbad.grad(expected))(x))
    assert counted.runs == inner.paths == 3
    tape = numbad.record(outer, 2.0)
    assert tape(1.75) == expected(1.75)
    with pytest.raises(numbad.BranchError, match=r"branches:.*if x > 1.0"):
        tape(0.4)
    whole = numbad.jit(outer)
    for x in points:
        assert whole(x) == pytest.approx(expected(x), rel=1e-14)
    assert counted.runs == 3
    close(numbad.vmap(outer)(np.array(points)), np.array([expected(x) for x in points]))


def test_truth_that_became_a_number_is_guarded_inside() -> None:
    inner = numbad.jit(lambda x: x * int(x) + np.sum(np.sort(np.stack([x, 2.0 * x, 1.0 - x])) * np.arange(3.0)))
    plain = inner.f
    for x in (2.5, 0.3, 2.75, -1.2, 2.5):
        close(numbad.grad(lambda x: inner(x) ** 2)(x), numbad.grad(lambda x: plain(x) ** 2)(x))


def test_gradients_inside_recordings_are_spliced_too() -> None:
    counted = Counted(branches)
    slope = numbad.jit(numbad.grad(lambda x: counted(x) * x))
    both = numbad.jit(numbad.value_and_grad(lambda x: branches(x) * x))
    reference = numbad.grad(lambda x: branches(x) * x)
    for x in (2.0, 0.5, -1.0, 3.0, 0.7):
        close(numbad.grad(slope)(x), numbad.grad(reference)(x))
        close(numbad.grad(lambda x: both(x)[1] + both(x)[0])(x), numbad.grad(reference)(x) + reference(x))
    assert counted.runs == 3
    for x in (2.0, 0.5, -1.0, 3.0, 0.7):
        assert slope(x) == reference(x)
    assert counted.runs == 6


@pytest.mark.parametrize("size", [3, 600, 6000])
@pytest.mark.parametrize("order", ["C", "F"])
def test_arguments_of_every_kind_inside(size: int, order: Any) -> None:
    fixed = np.asarray(np.linspace(0.1, 1.0, 2 * size).reshape(2, size), order=order)
    captured = np.linspace(1.0, 2.0, size)

    def f(x: Any, matrix: Any, number: Any, tree: Any) -> Any:
        return np.sum((matrix @ x) * tree["a"][0]) * number + np.sum(x * captured) + np.sum(tree["b"][:, 0]) * tree["c"]

    inner = numbad.jit(f)
    point = np.linspace(-1.0, 1.0, size)

    def tree(x: Any) -> Any:
        return {"a": [x[0]], "b": fixed, "c": 3}

    def check(view: Any) -> None:
        vector = lambda g: lambda x: g(view(x), fixed, 2.0, tree(x)) * g(view(x), fixed * 1.0, x[0], tree(x))
        close(numbad.grad(vector(inner))(point), numbad.grad(vector(f))(point), rtol=1e-11)
        matrix = lambda g: lambda m: g(view(point), m, np.float64(2.0), tree(m[0]))
        close(numbad.grad(matrix(inner))(fixed), numbad.grad(matrix(f))(fixed), rtol=1e-11)

    for view in (lambda x: x, lambda x: x[::-1], lambda x: np.stack([x, x])[1], lambda x: np.full(size, x[1])):
        check(view)
    captured[0] = 50.0
    check(lambda x: x * 2.0)


def test_single_precision_inside() -> None:
    single, wide = X.astype(np.float32), np.linspace(0.0, 1.0, 3)
    outer = lambda g: numbad.grad(lambda x: g(x * 2.0) + g(x))
    for f in (lambda x: np.sum(np.sin(x) * x), lambda x: np.sum(x * wide), lambda x: x[0] * x[1]):
        inner = numbad.jit(f)
        for x in (single, X, single):
            assert outer(inner)(x).dtype == x.dtype
            np.testing.assert_allclose(outer(inner)(x), outer(f)(x), rtol=1e-6)


def test_functions_that_cannot_be_recorded_by_themselves_are_called() -> None:

    def outer(x: Any) -> Any:
        inside = numbad.jit(lambda y: x * y**2)  # the closure holds a recording value
        total = inside(x) + inside(2.0 * x)
        return total + rooted(x, 4.0) + static(x, 3) + keyword(x, k=x)

    rooted = numbad.jit(lambda x, k: x * abs(complex(k)) ** 0.5)
    static = numbad.jit(lambda x, n: x**n, static_argnums=1)
    keyword = numbad.jit(lambda x, k: x * k)
    for x in (2.0, 3.0):
        assert numbad.grad(outer)(x) == pytest.approx(15.0 * x**2 + 2.0 + 3.0 * x**2 + 2.0 * x)
    assert rooted.paths == keyword.paths == 0
    assert static.paths == 1


def test_a_closure_over_a_recording_value_that_changes() -> None:
    """One jitted function, whose global is another recording value at each call."""
    box: dict[str, Any] = {"factor": 2.0}
    jitted = numbad.jit(lambda y: y * box["factor"])

    def outer(x: Any) -> Any:
        box["factor"] = x
        try:
            return jitted(x)
        finally:
            box["factor"] = 2.0

    for x in (3.0, 4.0):
        assert numbad.grad(outer)(x) == 2.0 * x
        assert jitted(x) == 2.0 * x
        assert numbad.grad(jitted)(x) == 2.0


def test_errors_inside_are_the_users_own() -> None:
    def f(x: Any) -> Any:
        if x > 0.0:
            raise KeyError("half way")
        return x * 2.0

    jitted = numbad.jit(f)
    for _ in range(2):
        with pytest.raises(KeyError, match="half way"):
            numbad.grad(lambda x: jitted(x) * x)(1.0)
        assert numbad.recording.recorder.current() is None
        assert numbad.grad(lambda x: jitted(x) * x)(-1.0) == -4.0
    with pytest.raises(numbad.RecordingError, match=HERE):
        numbad.grad(numbad.jit(lambda x: np.zeros(3, dtype=complex)[0] * x))(1.0)


def test_rules_of_the_users_and_host_rows_inside() -> None:
    square = numbad.custom_vjp(lambda x: x @ x)
    square.defvjp(lambda x: (x @ x, x), lambda x, bar: (2.0 * x * bar,))

    def f(x: Any) -> Any:
        matrix = np.outer(x, x) + 4.0 * np.eye(3)
        inner = numbad.checkpoint(lambda x: np.sum(np.sin(x) ** 2))
        return np.linalg.slogdet(matrix)[1] + square(x) * inner(x) + np.sum(np.linalg.solve(matrix, x))

    jitted = numbad.jit(f)
    for x in (X, 2.0 * X):
        close(numbad.grad(lambda x: jitted(x) * jitted(x[::-1]))(x), numbad.grad(lambda x: f(x) * f(x[::-1]))(x))
        close(numbad.hessian(jitted)(x), numbad.hessian(f)(x), rtol=1e-10)
        close(numbad.vmap(jitted)(np.stack([x, -x])), np.array([f(x), f(-x)]))


def test_jit_in_jit_in_jit() -> None:
    counted = Counted(lambda x: np.sin(x) * x if x > 0.2 else x**2)
    one = numbad.jit(lambda x: counted(x))
    two = numbad.jit(lambda x: one(x) + one(0.5 * x))
    three = numbad.jit(lambda x: two(x) * two(x + 1.0))
    g = counted.f
    plain = lambda x: (g(x) + g(0.5 * x)) * (g(x + 1.0) + g(0.5 * x + 0.5))
    for x in (0.1, 0.3, 1.0, -3.0, 0.1):
        assert three(x) == pytest.approx(plain(x), rel=1e-14)
        close(numbad.grad(three)(x), numbad.grad(plain)(x))
        close(numbad.jit(numbad.grad(numbad.grad(three)))(x), numbad.grad(numbad.grad(plain))(x))
    assert counted.runs == one.paths == 2


def test_truth_values_and_functions_without_rows_inside() -> None:
    positive, same, fixed = numbad.jit(lambda x: x > 0.0), numbad.jit(lambda x: (x, x)), numbad.jit(lambda x: 3.0)

    def f(x: Any) -> Any:
        one, other = same(x)
        total = numbad.where(positive(x), one, 2.0 * other) * fixed(x)
        return np.sum(total) if positive(np.sum(x)) else np.sum(total * x)

    def plain(x: Any) -> Any:
        total = numbad.where(x > 0.0, x, 2.0 * x) * 3.0
        return np.sum(total) if np.sum(x) > 0.0 else np.sum(total * x)

    for x in (X, -X, 0.5, -0.5):
        close(numbad.grad(f)(x), numbad.grad(plain)(x))
        close(numbad.hessian(f)(x), numbad.hessian(plain)(x))


def test_a_wrong_copy_would_be_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    from numbad.emission.splicing import Splice

    begin = Splice.__init__

    def spoiled(self: Any, *arguments: Any) -> None:
        begin(self, *arguments)
        self.constants = [(address, 1.001 * value) for address, value in self.constants]
        self.numbers = self.numbers * [1.0, 1.001]

    for f, x in ((scalar_rows, 0.3), (lambda x: np.sum(np.sin(2.0 * x)), X)):
        right = numbad.grad(f)(x)
        close(numbad.grad(numbad.jit(f))(x), right)
        with monkeypatch.context() as patch:
            patch.setattr(Splice, "__init__", spoiled)
            with pytest.raises(AssertionError):
                close(numbad.grad(numbad.jit(f))(x), right)


def test_functions_that_call_one_another_in_two_threads() -> None:
    """Each thread holds one of the two and wants the other."""
    even = numbad.jit(lambda x: x if x < 1.0 else odd(x - 1.0) * 1.0)
    odd = numbad.jit(lambda x: -x if x < 1.0 else even(x - 1.0) * 1.0)
    wrong: list[Any] = []

    def work(f: Any, sign: float) -> None:
        for x in (6.5, 3.5, 8.5, 7.5, 0.5):
            expected = sign * (0.5 if int(x) % 2 == 0 else -0.5)
            if f(x) != expected or numbad.grad(f)(x) != 2.0 * expected:
                wrong.append(x)

    threads = [threading.Thread(target=work, args=call) for call in ((even, 1.0), (odd, -1.0)) * 2]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60.0)
    assert not any(thread.is_alive() for thread in threads)
    assert not wrong


def test_recursion() -> None:
    def halve(x: Any) -> Any:
        return x if x < 1.0 else jitted(x / 2.0) + 1.0

    jitted = numbad.jit(halve)
    assert [jitted(x) for x in (8.0, 3.0, 0.5, 8.5)] == [4.5, 2.75, 0.5, 4.53125]
    assert numbad.grad(jitted)(3.0) == 0.25


def test_an_exception_half_way_leaves_the_jitted_function_usable() -> None:
    def f(x: Any) -> Any:
        if x > 0.0:
            raise KeyError("half way")
        return x * 2.0

    jitted = numbad.jit(f)
    for _ in range(2):
        with pytest.raises(KeyError, match="half way"):
            jitted(1.0)
        assert jitted(-1.0) == -2.0
    assert jitted.paths == 1
    assert numbad.recording.recorder.current() is None
    assert numbad.grad(lambda x: x**2)(2.0) == 4.0


def test_parts_and_copies_of_a_large_argument_are_no_assignment(recwarn: pytest.WarningsRecorder) -> None:
    """What a derivative inside takes of the argument is copied, as the argument itself is when an element is read."""
    x = np.linspace(0.1, 1.0, 5000)
    for size in (8, 5000):
        f = numbad.jit(lambda x, size=size: numbad.grad(lambda part: np.sum(part**2))(x[:size]) * x[0])
        assert np.allclose(f(x), 2.0 * x[:size] * x[0])
    assert not recwarn.list


def test_assigning_to_an_argument_is_said_once_and_stays_inside() -> None:
    def f(x: Any) -> Any:
        x[0] = x[1] * 2.0
        return np.sum(x)

    for size in (3, 5000):
        x = np.arange(1.0, size + 1.0)
        jitted = numbad.jit(f)
        with pytest.warns(UserWarning, match="f assigns to an array that it was given"):
            assert jitted(x) == x.sum() + 3.0
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert jitted(x) == x.sum() + 3.0
            assert numbad.jit(lambda x: np.sum(x.copy()[::-1]))(x) == x.sum()
            assert numbad.jit(lambda x: sum(v * 1.0 for v in x))(x) == x.sum()
            assert numbad.jit(lambda x: x[[0, 1]][0] + x[2] + x.reshape(-1, 1)[1, 0])(x) == 6.0
        close(x, np.arange(1.0, size + 1.0))


def test_changing_a_list_or_a_dict_that_was_given_is_said() -> None:
    def grow(x: Any) -> Any:
        x.append(x[0] * 2.0)
        return sum(x)

    def drop(d: Any) -> Any:
        return d.pop("a") * d["b"]

    values, table = [1.0, 2.0], {"a": 3.0, "b": 4.0}
    with pytest.warns(UserWarning, match="grow changes a list or dict that it was given"):
        assert numbad.jit(grow)(values) == 5.0
    with pytest.warns(UserWarning, match="drop changes a list or dict that it was given"):
        assert numbad.jit(drop)(table) == 12.0
    assert (values, table) == ([1.0, 2.0], {"a": 3.0, "b": 4.0})


COUNT = 0


def count_up(x: Any) -> Any:
    global COUNT
    COUNT += 1
    return x * 2.0


def test_side_effects_are_said_once() -> None:
    log: list[float] = []
    table = np.zeros(3)

    def write(x: Any) -> Any:
        table[0] += 1.0
        return x * 2.0

    def keep(x: Any) -> Any:
        log.append(1.0)
        return x * 2.0 if x > 0.0 else x

    for f, words in ((keep, "a list"), (write, r"an array of shape \(3,\)"), (count_up, "the global COUNT")):
        jitted = numbad.jit(f)
        with pytest.warns(UserWarning, match=f"changes {words} while it runs"):
            assert jitted(1.0) == 2.0
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert jitted(2.0) == 4.0
            assert jitted(-1.0) == f(-1.0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert numbad.jit(branches)(2.0) == 4.0


# ---------------------------------------------------------------- the tree of paths


@pytest.mark.subprocess
@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")
def test_forked_processes_go_on() -> None:
    """The threads of the parent, and locks that they hold, do not exist in the child."""
    code = """
import os, sys, threading, warnings
import numpy as np
import numbad
warnings.simplefilter("ignore")
big = np.linspace(0.0, 1.0, 200_000)
f = numbad.jit(numbad.grad(lambda x: np.sum(np.sin(x) * x)))
g = numbad.jit(lambda x: x * 2.0 if x > 0 else x)
expected, small = f(big), g(1.0)
matrix = np.outer(big[:3000], np.ones(3000))
product = numbad.gradient(lambda v: np.sum((matrix @ v) ** 2), np.ones(3000))
stop, held = threading.Event(), threading.Event()
def hold():
    with g.lock, numbad.kernels.threads.lock:
        held.set()
        stop.wait()
thread = threading.Thread(target=hold)
thread.start()
held.wait()
pid = os.fork()
if not pid:
    same = np.array_equal(f(big), expected) and g(3.0) == 6.0 and g(-1.0) == -1.0
    again = numbad.gradient(lambda v: np.sum((matrix @ v) ** 2), np.ones(3000))
    os._exit(0 if same and np.allclose(again, product, rtol=1e-13) else 1)
stop.set()
thread.join()
for _ in range(600):
    done, status = os.waitpid(pid, os.WNOHANG)
    if done:
        break
    threading.Event().wait(0.1)
else:
    os.kill(pid, 9)
print(os.waitstatus_to_exitcode(status) if done else "hangs")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=300)
    assert done.stdout.strip() == "0", done.stdout + done.stderr


def test_threads_that_share_a_jitted_function() -> None:
    jitted, slopes = numbad.jit(branches), numbad.jit(numbad.grad(branches))
    wrong: list[Any] = []

    def work(seed: int) -> None:
        for x in np.random.default_rng(seed).normal(size=300).tolist():
            if jitted(x) != branches(x):
                wrong.append(x)
            expected = 2.0 * x if x > 1.0 else -1.0 if x < 0.0 else np.cos(x)
            if abs(slopes(x) - expected) > 1e-12:
                wrong.append(x)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    assert jitted.paths == slopes.paths == 3


def test_the_wrapper_looks_like_the_function() -> None:
    @numbad.jit
    def named(x: Any) -> Any:
        """Say something."""
        return x

    assert (named.__name__, named.__doc__) == ("named", "Say something.")
    assert numbad.jit(static_argnums=1)(lambda x, n: x**n)(2.0, 3.0) == 8.0


@pytest.mark.subprocess
@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("jit(lambda x: x**3)(2.0)", 8.0),
        ("jit(grad(lambda x: x**3))(2.0)", 12.0),
        ("vmap(np.exp)(np.ones(3))[0]", np.e),
    ],
)
def test_the_first_call_of_a_process(expression: str, expected: float) -> None:
    """Compiled code comes from the disk, and finds all that it is linked to, whichever call is first."""
    code = f"import numpy as np; from numbad import *; print({expression})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr
    assert float(done.stdout) == pytest.approx(expected)


def test_none_belongs_to_the_structure_of_the_arguments() -> None:
    jitted = numbad.jit(lambda x, y: {"value": 2.0 * x if y is None else x * y, "nothing": None})
    for y, factor in ((None, 2.0), (3.0, 3.0), (None, 2.0)):
        found = jitted(X, y)
        np.testing.assert_array_equal(found["value"], factor * X)
        assert found["nothing"] is None
    np.testing.assert_array_equal(numbad.grad(lambda x: np.sum(jitted(x, None)["value"]))(X), np.full(X.shape, 2.0))
    assert numbad.jit(lambda x: None)(X) is None
    static = numbad.jit(lambda x, options: x if options[0] is None else 2.0 * x, static_argnums=1)
    assert [static(1.0, [None, "a"]), static(1.0, [1, "a"])] == [1.0, 2.0]


# ---------------------------------------------------------------- what is taken from outside


class Holder:
    """An object of the user's with attributes."""

    scale = 1.0

    def __init__(self, value: Any) -> None:
        self.value = value


class WithSlot:
    """An object with slots."""

    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:
        self.value = value


def held_in(read: Callable[[Any], Any], container: Any, write: Callable[[Any], Any]) -> tuple[Any, Any]:
    """Return a function that reads a number from a container, and what changes the number to 3."""
    return lambda x: x * read(container), lambda: write(container)


def deep(number: list[float], levels: int) -> Callable[[Any], Any]:
    """Return a function that calls a function, and so on, the last of which reads a number."""
    if not levels:
        return lambda x: x * number[0]
    inner = deep(number, levels - 1)
    return lambda x: inner(x)


def nested_lists(levels: int) -> Any:
    """Return a list in a list in a list ... with a 2 in the innermost."""
    found: Any = [2.0]
    for _ in range(levels):
        found = [found]
    return found


def innermost(found: Any) -> Any:
    """Return the list without lists."""
    while isinstance(found[0], list):
        found = found[0]
    return found


def with_default() -> tuple[Any, Any]:
    """Return a function with a default, and what changes it."""

    def f(x: Any, factor: float = 2.0) -> Any:
        return x * factor

    return lambda x: f(x), lambda: setattr(f, "__defaults__", (3.0,))


def with_keyword_default(write: Callable[[Any], Any]) -> tuple[Any, Any]:
    """Return a function with a default by keyword, and what changes it."""

    def f(x: Any, *, factor: float = 2.0) -> Any:
        return x * factor

    return f, lambda: write(f)


def with_attribute() -> tuple[Any, Any]:
    """Return a function that reads an attribute of its own."""

    def f(x: Any) -> Any:
        return x * f.factor  # type: ignore[attr-defined]

    f.factor = 2.0  # type: ignore[attr-defined]
    return f, lambda: setattr(f, "factor", 3.0)


def with_code() -> tuple[Any, Any]:
    """Return a function whose helper is given other code."""

    def helper(x: Any) -> Any:
        return 2.0 * x

    return lambda x: helper(x), lambda: setattr(helper, "__code__", (lambda x: 3.0 * x).__code__)


def with_global(later: bool) -> tuple[Any, Any]:
    """Return a function of a module of its own that reads a global, defined at once or later."""
    table: dict[str, Any] = {} if later else {"FACTOR": 2.0}
    exec("def f(x):\n    try:\n        return x * FACTOR\n    except NameError:\n        return x * 2.0", table)
    return table["f"], lambda: table.update(FACTOR=3.0)


def with_builtin() -> tuple[Any, Any]:
    """Return a function that calls a builtin, which a global takes the name of later."""
    table: dict[str, Any] = {}
    exec("def f(x):\n    return 2.0 * abs(x)", table)
    return table["f"], lambda: table.update(abs=lambda x: 1.5 * x)


def with_module(name: str, later: bool) -> tuple[Any, Any]:
    """Return a function that reads an attribute of a module, which is there at once or later."""
    module: Any = types.ModuleType(name)
    sys.modules[name] = module
    if not later:
        module.factor = 2.0
    table: dict[str, Any] = {name: module}
    body = f"{name}.factor if hasattr({name}, 'factor') else 2.0"
    exec(f"def f(x):\n    return x * ({body})", table)
    return table["f"], lambda: setattr(module, "factor", 3.0)


def with_partial(write: Callable[[Any], Any], *arguments: Any, **keywords: Any) -> tuple[Any, Any]:
    """Return a partial function, and what changes its arguments."""

    def f(factor: Any, x: Any, more: Any = 1.0) -> Any:
        return x * np.sum(factor) * np.sum(more)

    made = functools.partial(f, *arguments, **keywords)
    return lambda x: made(x=x), lambda: write(made)


def with_iterator() -> tuple[Any, Any]:
    """Return a function that takes its number from an iterator: it has another at each call."""
    numbers = [2.0]

    def generate() -> Any:
        while True:
            yield numbers[0]

    source = generate()
    return lambda x: x * next(source), lambda: numbers.__setitem__(0, 3.0)


SPARSE = scipy.sparse.csr_array(np.diag([2.0, 1.0]))
OUTSIDE: dict[str, Callable[[], tuple[Any, Any]]] = {
    "long list": lambda: held_in(lambda c: c[700], [2.0] * 1000, lambda c: c.__setitem__(700, 3.0)),
    "very long list": lambda: held_in(lambda c: c[-1], [2.0] * 200_000, lambda c: c.__setitem__(-1, 3.0)),
    "long dict": lambda: held_in(lambda c: c[700], dict.fromkeys(range(1000), 2.0), lambda c: c.update({700: 3.0})),
    "array in a long list": lambda: held_in(
        lambda c: c[600][0], [np.ones(1) * 2.0 for _ in range(1000)], lambda c: c[600].fill(3.0)
    ),
    "keys": lambda: held_in(lambda c: next(iter(c)), {2.0: 0, 3.0: 0}, lambda c: c.__setitem__(2.0, c.pop(2.0))),
    "set": lambda: held_in(lambda c: 1.0 + len(c), {1}, lambda c: c.add(5)),
    "deque": lambda: held_in(lambda c: c[0], deque([2.0, 1.0]), lambda c: c.appendleft(3.0)),
    "OrderedDict": lambda: held_in(lambda c: c["a"], OrderedDict(a=2.0), lambda c: c.update(a=3.0)),
    "defaultdict": lambda: held_in(lambda c: c["a"], defaultdict(float, a=2.0), lambda c: c.update(a=3.0)),
    "ChainMap": lambda: held_in(lambda c: c["a"], ChainMap({}, {"a": 2.0}), lambda c: c.maps[1].update(a=3.0)),
    "array.array": lambda: held_in(lambda c: c[0], array("d", [2.0]), lambda c: c.__setitem__(0, 3.0)),
    "bytearray": lambda: held_in(lambda c: c[0], bytearray([2]), lambda c: c.__setitem__(0, 3)),
    "namespace": lambda: held_in(lambda c: c.a, types.SimpleNamespace(a=2.0), lambda c: setattr(c, "a", 3.0)),
    "attribute": lambda: held_in(lambda c: c.value, Holder(2.0), lambda c: setattr(c, "value", 3.0)),
    "new attribute": lambda: held_in(lambda c: 2.0 * c.scale, Holder(0.0), lambda c: setattr(c, "scale", 1.5)),
    "slot": lambda: held_in(lambda c: c.value, WithSlot(2.0), lambda c: setattr(c, "value", 3.0)),
    "many attributes": lambda: held_in(
        lambda c: c.a700,
        types.SimpleNamespace(**{f"a{k}": 2.0 for k in range(1000)}),
        lambda c: setattr(c, "a700", 3.0),
    ),
    "array of an attribute": lambda: held_in(lambda c: c.value[0], Holder(np.array([2.0])), lambda c: c.value.fill(3)),
    "sparse data": lambda: held_in(lambda c: (c @ np.ones(2))[0], SPARSE.copy(), lambda c: c.data.fill(3.0)),
    "polynomial": lambda: held_in(lambda c: c(0.0), np.poly1d([1.0, 2.0]), lambda c: c.coeffs.__setitem__(1, 3.0)),
    "interpolator": lambda: held_in(
        lambda c: c(0.5), scipy.interpolate.CubicSpline([0, 1, 2], [2, 2, 2]), lambda c: c.c.__setitem__(-1, 3.0)
    ),
    "objects": lambda: held_in(lambda c: c[0], np.array([2.0, None], object), lambda c: c.__setitem__(0, 3.0)),
    "twelve lists deep": lambda: held_in(
        lambda c: innermost(c)[0], nested_lists(12), lambda c: innermost(c).__setitem__(0, 3.0)
    ),
    "twelve calls deep": lambda: (lambda n: (deep(n, 12), lambda: n.__setitem__(0, 3.0)))([2.0]),
    "default": with_default,
    "default by keyword": lambda: with_keyword_default(lambda f: f.__kwdefaults__.update(factor=3.0)),
    "other default by keyword": lambda: with_keyword_default(lambda f: setattr(f, "__kwdefaults__", {"factor": 3.0})),
    "attribute of the function": with_attribute,
    "code": with_code,
    "global": lambda: with_global(False),
    "global defined later": lambda: with_global(True),
    "builtin shadowed later": with_builtin,
    "module": lambda: with_module("outside_one", False),
    "attribute of a module defined later": lambda: with_module("outside_two", True),
    "argument of a partial": lambda: with_partial(lambda p: p.args[0].fill(3.0), np.array([2.0])),
    "keyword of a partial": lambda: with_partial(lambda p: p.keywords.update(more=1.5), 2.0, more=1.0),
    "iterator": with_iterator,
    "context variable": lambda: held_in(lambda c: c.get(), ContextVar("factor", default=2.0), lambda c: c.set(3.0)),
    "middle-sized array": lambda: held_in(lambda c: c[777], np.full(60_000, 2.0), lambda c: c.__setitem__(777, 3.0)),
    "large array": lambda: held_in(lambda c: c[777], np.full(100_000, 2.0), lambda c: c.fill(3.0)),
}


@pytest.mark.parametrize("name", list(OUTSIDE))
@pytest.mark.filterwarnings("ignore:.*recorded anew")
def test_what_is_taken_from_outside_is_what_it_is_now(name: str) -> None:
    f, change = OUTSIDE[name]()
    plain, slope, batch = numbad.jit(f), numbad.jit(numbad.grad(f)), numbad.jit(numbad.vmap(f))
    for factor in (2.0, 2.0, 3.0, 3.0):
        if factor == 3.0 and change is not None:
            change()
            change = None
        assert f(5.0) == 5.0 * factor
        assert plain(5.0) == 5.0 * factor
        assert slope(5.0) == factor
        assert batch(np.ones(2)).tolist() == [factor, factor]


def test_what_cannot_be_compared_is_said_once() -> None:
    numbers = [2.0] * 200_000
    f = numbad.jit(lambda x: x * numbers[3])
    with pytest.warns(UserWarning, match="a list with 200000 members from outside") as caught:
        assert [f(1.0), f(2.0)] == [2.0, 4.0]
    assert len(caught) == 1


def test_a_mock_among_the_globals_ends() -> None:
    from unittest.mock import MagicMock

    log = MagicMock()

    def f(x: Any) -> Any:
        log.info("called")
        return x * x

    quick = numbad.jit(numbad.grad(f))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert [quick(1.0), quick(2.0)] == [2.0, 4.0]


def values_before_a_branch(x: Any) -> Any:
    """Decide by a whole number between a comparison and its branch."""
    positive = x[1] > 0.0
    k = int(x[0])
    if positive:
        return np.sum(x)
    return np.sum(x) * float(k)


@pytest.mark.parametrize("n", [5, 600, 5000])
@pytest.mark.parametrize("transform", [lambda f: f, numbad.grad, numbad.value_and_grad])
def test_paths_that_differ_by_a_recorded_value_share_no_rows_behind_it(transform: Any, n: int) -> None:
    jitted, plain = numbad.jit(transform(values_before_a_branch)), transform(values_before_a_branch)
    for first, sign in ((1.5, 1), (2.5, -1), (1.5, -1), (0.5, -1), (2.5, 1), (0.5, 1), (3.5, -1), (1.5, -1), (0.5, -1)):
        x = np.full(n, float(sign))
        x[0] = first
        close(together(jitted(x)), together(plain(x)))
    assert jitted.paths == 7


@pytest.mark.parametrize("n", [5, 5000])
def test_a_path_by_reference_is_recorded_once(n: int) -> None:
    points = np.abs(np.random.default_rng(5).normal(size=(12, 5))) + 0.1
    jitted = numbad.jit(lambda x: stairs(x[:5]) + np.sum(x[5:]))
    for k in np.random.default_rng(6).integers(0, 12, 100):
        x = np.concatenate([points[k], np.ones(n)])
        close(together(jitted(x)), together(stairs(points[k]) + n))
    assert jitted.paths <= 12


def test_scratch_memory_belongs_to_the_thread_that_sweeps() -> None:
    """A path that one thread has recorded, and others replay, kept the memory of the first, which worked on as well."""
    execution, _ = numbad.record(np.sin, np.ones(3)).run((np.ones(3),))
    found: list[Any] = [execution.blocks()]
    thread = threading.Thread(target=lambda: found.append(execution.blocks()))
    thread.start()
    thread.join()
    assert not np.shares_memory(*found)
    assert found[0] is execution.blocks()


@pytest.mark.parametrize(
    "text",
    [
        np.array_repr,
        np.array_str,
        lambda x: np.array2string(x, precision=1, separator=";"),
        lambda x: np.array2string(x, formatter={"float": lambda v: f"<{v:.0f}>"}),
    ],
)
def test_the_text_of_an_array_is_a_decision(text):
    x = np.array([1.0, 2.0])
    f = lambda x: x[0] * (2.0 if text(x) == known else 3.0)
    known = text(x)
    jitted = numbad.jit(numbad.grad(f))
    for _ in range(2):
        assert jitted(x).tolist() == [2.0, 0.0]
        assert jitted(np.array([1.0, 7.0])).tolist() == [3.0, 0.0]


def test_what_is_printed_into_a_buffer_is_a_decision():
    def f(x):
        buffer = io.StringIO()
        print(x, file=buffer, end="")
        print(x, file=sys.stderr)
        return x[0] * (2.0 if buffer.getvalue() == "[1. 2.]" else 3.0)

    jitted = numbad.jit(numbad.grad(f))
    for _ in range(2):
        assert jitted(np.array([1.0, 2.0])).tolist() == [2.0, 0.0]
        assert jitted(np.array([1.0, 7.0])).tolist() == [3.0, 0.0]


def test_gradient_functions_that_wait_for_points_are_run_by_their_sweeps() -> None:
    def f(x: Any, y: Any, scale: float = 1.0) -> Any:
        return np.sum(np.sin(x) * y) * scale + y * 2.0

    def numbers(found: Any) -> np.ndarray:
        return np.hstack([np.hstack(part) if isinstance(part, tuple) else part for part in found])

    x = np.linspace(0.0, 1.0, 4)
    for transform in (numbad.gradient, numbad.value_and_gradient):
        jitted = numbad.jit(transform(f))
        assert jitted.plan is not None
        for point in ((x, 2.0), (2.0 * x, 3.0)):
            close(numbers(jitted(*point)), numbers(transform(f, *point)))
        close(numbers(jitted(x, 2.0, scale=3.0)), numbers(transform(f, x, 2.0, scale=3.0)))
        found, wanted = (g(x, 2.0, argnums=(0,)) for g in (jitted, transform(f)))
        close(numbers(found), numbers(wanted))
        by_y = numbad.jit(transform(f, argnums=1))
        close(np.hstack([by_y(x, 2.0)]), np.hstack([transform(f, x, 2.0, argnums=1)]))
    alone = numbad.jit(numbad.gradient(lambda x: np.sum(x**2)))
    close(alone(x), 2.0 * x)
    assert numbad.jit(numbad.gradient(f, scale=2.0)).plan is None
    assert numbad.jit(numbad.gradient(f))(x.astype(np.float32), np.float32(2.0))[0].dtype == np.float32
    with pytest.raises(numbad.InputError, match="Python int"):
        numbad.jit(numbad.gradient(f))(x, 3)
