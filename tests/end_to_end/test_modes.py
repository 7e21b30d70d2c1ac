"""Random programs in every mode of numbad, and that what goes wrong there is noticed; `modes.py` runs for longer."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import modes
from numbad.tapes import reference
from random_programs import Complex, make


@pytest.mark.parametrize("seed", range(13))
def test_all_modes_agree_with_the_reference(seed: int) -> None:
    count, failures = modes.check_program(make(seed), dtypes=(np.float64,))
    assert not failures, "\n".join(map(str, failures)) + "\n" + make(seed).text()
    assert count > 50


def test_a_path_may_lose_all_rows_of_its_kernels() -> None:
    program = make(9060)
    modes_of_it = ("jacfwd_of_many", "jacrev_of_few", "jit_of_grad")
    count, failures = modes.check_program(program, modes_of_it, (np.float32, np.float64))
    assert count and not failures, "\n".join(map(str, failures))


def test_programs_have_lengths_and_steps_of_all_kinds() -> None:
    programs = [make(seed) for seed in range(100)]
    text = "\n".join(step for program in programs for step in program.steps)
    words = "sliding_window_view concatenate einsum np.add.at [::-1] np.where special. np.linalg np.cumsum mask("
    for word in [*words.split(), "for k", "if ", "while ", "np.zeros_like"]:
        assert word in text, word
    assert len({program.shapes[0] for program in programs}) > 12
    assert {program.module for program in programs} == {"numpy", "numbad.numpy"}
    assert make(7) == make(7)


def test_a_complex_step_differentiates_what_is_not_analytic() -> None:
    np_ = Complex()
    x = np.array([0.3, -1.2, 0.8]) + 1e-20j * np.array([1.0, 10.0, 100.0])
    slopes = lambda found: (np.imag(found) / 1e-20).tolist()
    assert slopes(np_.abs(x)) == pytest.approx([1.0, -10.0, 100.0])
    assert slopes(np_.maximum(x, 0.5)) == pytest.approx([0.0, 0.0, 100.0])
    assert slopes(np_.sort(x)) == pytest.approx([10.0, 1.0, 100.0])
    assert slopes(np_.max(x)) == pytest.approx(100.0)
    assert slopes(np_.linalg.norm(x)) == pytest.approx((0.3 - 12.0 + 80.0) / np.sqrt(0.09 + 1.44 + 0.64))


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (np.array([1.0, np.nan]), np.array([1.0, 2.0])),
        (np.array([1.0, 2.0, 0.0]), np.array([1.0, 2.0])),
        (np.array([1.0, 0.0]), np.array([1.0, 1e-6])),
        ((1.0, 2.0), (1.0,)),
    ],
)
def test_results_that_differ_are_not_close(found: Any, expected: Any) -> None:
    assert not modes.close(found, expected, modes.EXACT)
    assert modes.close(expected, expected, modes.EXACT)


@pytest.mark.parametrize("damage", ["partials", "addresses", "tangents"])
def test_a_damaged_reference_is_noticed(damage: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The two sides know nothing of each other, so damage to either is a difference."""
    times, add, push = reference.times, reference.add, reference.map_forward
    if damage == "partials":
        monkeypatch.setattr(reference, "times", lambda p, b: 1.0001 * times(p, b))
    elif damage == "addresses":
        last = lambda values: np.where(np.arange(np.size(values)) == np.size(values) - 1, -0.0, np.ravel(values))
        cut = lambda spaces, part, values: add(spaces, part, last(values) if np.size(values) > 40 else values)
        monkeypatch.setattr(reference, "add", cut)
    else:
        only = lambda state, dots, op, parts: push(state, dots, op, parts) if op.arity == 1 else None
        monkeypatch.setattr(reference, "map_forward", only)
    failures = [modes.check_program(make(seed), ("jvp", "jit_of_grad"), (np.float64,))[1] for seed in range(4)]
    assert any(failures)


def test_a_failure_is_made_small(monkeypatch: pytest.MonkeyPatch) -> None:
    times = reference.times
    monkeypatch.setattr(reference, "times", lambda p, b: 1.0001 * times(p, b))
    _, failures = modes.check_program(make(5), ("jit_of_grad",), (np.float64,))
    small = modes.smaller(failures[0], 20.0)
    assert len(small.steps) < len(make(5).steps)
    assert "python tests/modes.py --seed 5 --mode jit_of_grad" in str(failures[0])
