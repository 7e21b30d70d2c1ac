"""Templates of partials: traced once, and what is run each time."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import numbad
from numbad import limits
from numbad.emission import templates
from numbad.kernels import emission_layout
from numbad.ops import REGISTRY
from numbad.ops.definition import BY_NAME
from shared.emission import VALUES, both, check_op, same

SMOOTH = [op for op in REGISTRY if op.smooth]

# ---------------------------------------------------------------- against the partials functions


@pytest.mark.parametrize("exponent", [-2.5, -1.0, 0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 7.0, np.nan])
@pytest.mark.parametrize("x", [1.7, -1.2, 0.0])
def test_powers(exponent: float, x: float) -> None:
    f = lambda x: numbad.ops.definition.BY_NAME["power_by_constant"](x, exponent)
    g = f
    for _ in range(4):
        g = numbad.grad(g)
        with np.errstate(all="ignore"):
            same(*both(g, x))


def test_more_powers_than_have_templates_of_their_own() -> None:
    f = lambda x: sum(x ** (k + 0.5) for k in range(2 * limits.POWERS_MOST))
    same(*both(numbad.grad(numbad.grad(f)), 0.9))


def test_powers_that_never_come_again() -> None:
    for k in range(2 * templates.MOST_POWERS):
        exponent = 0.5 + k / 7.0
        found = numbad.grad(numbad.grad(lambda x, n=exponent: x**n))(1.1)
        assert found == pytest.approx(exponent * (exponent - 1.0) * 1.1 ** (exponent - 2.0), rel=1e-13)
    assert len(templates.templates().powers) <= templates.MOST_POWERS


# ---------------------------------------------------------------- templates


def spoil(op: Any, choice: int, place: int, value: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Give an op a template in which one number is another."""
    found = templates.Templates()
    found.add(op.opcode, choice)
    text = found.text[:]
    assert text[found.index[4 * op.opcode + choice] + place] != value
    text[found.index[4 * op.opcode + choice] + place] = value
    found.text = text
    monkeypatch.setattr(templates, "_templates", found)


@pytest.mark.parametrize("op", [op for op in SMOOTH if op.name != "remainder"], ids=lambda op: op.name)
def test_a_wrong_kind_of_partial_would_be_seen(op: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    for which in range(op.arity):
        found = templates.Templates()
        found.add(op.opcode, 1 << which)
        kind = found.text[found.index[4 * op.opcode + (1 << which)] + 1 + 2 * which]
        wrong = emission_layout.MINUS if kind != emission_layout.MINUS else emission_layout.ONE
        spoil(op, 1 << which, 1 + 2 * which, wrong, monkeypatch)
        if op.name == "power_by_constant" and which == 0:
            found = templates.templates()
            found.powers = dict.fromkeys(VALUES, 0)
        with pytest.raises(AssertionError):
            check_op(op)


def rows_of(op: Any) -> int:
    """Return how many rows the template of an op's first partial has."""
    found = templates.Templates()
    found.add(op.opcode, 1)
    return found.text[found.index[4 * op.opcode + 1]]


@pytest.mark.parametrize("op", [op for op in SMOOTH if rows_of(op)], ids=lambda op: op.name)
def test_a_wrong_row_of_a_template_would_be_seen(op: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The last row that a partial depends on computes something else."""
    found = templates.Templates()
    found.add(op.opcode, 1)
    position = found.index[4 * op.opcode + 1]
    last = 5 + 3 * (rows_of(op) - 1)
    wrong = (
        "subtract"
        if found.text[position + last] not in (BY_NAME["subtract"].opcode, BY_NAME["add"].opcode)
        else "multiply"
    )
    spoil(op, 1, last, BY_NAME[wrong].opcode, monkeypatch)
    templates.templates().powers = dict.fromkeys(VALUES, 0)
    with pytest.raises(AssertionError):
        check_op(op)


def test_partials_that_are_replaced_are_traced_again(monkeypatch: pytest.MonkeyPatch) -> None:
    slope = numbad.grad(lambda x: numbad.grad(np.sin)(x) * x)
    before = slope(0.5)
    with monkeypatch.context() as patch:
        patch.setattr(BY_NAME["sin"], "partials_function", lambda x: 2.0 * np.cos(x))
        assert slope(0.5) == pytest.approx(2.0 * before)
    assert slope(0.5) == before


@pytest.fixture
def new_ops() -> Iterator[None]:
    """Forget the ops that a test declares."""
    before = len(REGISTRY)
    yield
    for op in REGISTRY[before:]:
        del BY_NAME[op.name]
    del REGISTRY[before:]
    templates._templates = templates.Templates()


@pytest.mark.usefixtures("new_ops")
def test_partials_that_branch_are_run_each_time() -> None:
    @numbad.op
    def bent(x):
        return np.abs(x) * x

    @bent.partials
    def bent_partials(x):
        return 2.0 * x if x > 0.0 else -2.0 * x

    f = lambda x: bent(x) + np.sin(x)
    for x in (0.5, -0.5, 1.5):
        assert numbad.grad(numbad.grad(f))(x) == pytest.approx(2.0 * np.sign(x) - np.sin(x))
    found = templates.templates()
    assert found.index[4 * bent.opcode + 1] == templates.BY_PYTHON
    np.testing.assert_allclose(
        numbad.hessian(lambda x: bent(x[0]) * x[1])(np.array([0.5, 2.0])), [[4.0, 1.0], [1.0, 0]]
    )


@pytest.mark.usefixtures("new_ops")
def test_ops_of_the_users_have_templates() -> None:
    @numbad.op
    def cubed(x):
        return x * x * x

    @cubed.partials
    def cubed_partials(x):
        return 3.0 * x * x

    assert numbad.grad(numbad.grad(cubed))(2.0) == 12.0
    assert numbad.jvp(numbad.grad(cubed), (2.0,), (0.5,))[1] == 6.0
    assert templates.templates().index[4 * cubed.opcode + 1] > 0


@pytest.mark.usefixtures("new_ops")
def test_partials_that_fail_name_the_failure() -> None:
    @numbad.op
    def broken(x):
        return x * 1.0

    @broken.partials
    def broken_partials(x):
        raise KeyError("no rule")

    with pytest.raises(KeyError, match="no rule"):
        numbad.grad(numbad.grad(broken))(1.0)
    assert numbad.recording.recorder.current() is None
    assert numbad.grad(numbad.grad(np.sin))(1.0) == pytest.approx(-np.sin(1.0))


@pytest.mark.usefixtures("new_ops")
def test_partials_that_differentiate_inside() -> None:
    """A partials function that uses the passes itself while its op is traced."""

    @numbad.op
    def sine(x):
        return np.sin(x)

    @sine.partials
    def sine_partials(x):
        return numbad.grad(np.sin)(x)

    f = lambda x: np.exp(sine(x) * x)
    same(numbad.grad(numbad.grad(f))(0.7), numbad.grad(numbad.grad(lambda x: np.exp(np.sin(x) * x)))(0.7))


def test_threads_that_meet_new_ops_at_the_same_time() -> None:
    names = [op.name for op in SMOOTH if op.arity == 1 and not op.host]
    wrong: list[Any] = []
    expected = {name: numbad.grad(numbad.grad(BY_NAME[name]))(0.3) for name in names}
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    for _ in range(5):
        templates._templates = templates.Templates()

        def work(seed: int) -> None:
            order = np.random.default_rng(seed).permutation(len(names)).tolist()
            for k in order:
                found = numbad.grad(numbad.grad(BY_NAME[names[k]]))(0.3)
                if not np.array_equal(found, expected[names[k]], equal_nan=True):
                    wrong.append(names[k])

        threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    sys.setswitchinterval(interval)
    assert not wrong
