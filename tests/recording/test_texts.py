"""The text of a recording value: printing is no decision, comparing texts is."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import numbad

X = np.array([0.7, -1.3, 2.1, 0.4, -0.6, 1.9])

# ---------------------------------------------------------------- control flow


def test_printing_is_no_decision(capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")

    def f(x: Any) -> Any:
        print("x is", x, f"{x:.2f}", "%.1f" % x, float(x))  # noqa: UP031
        logging.getLogger("loss").info("loss %.1f %s", x, x)
        return x * x

    quick = numbad.jit(numbad.grad(f))
    assert [quick(float(k)) for k in range(1, 100)] == [2.0 * k for k in range(1, 100)]
    assert quick.paths == 1
    assert capsys.readouterr().out == "x is 1.0 1.00 1.0 1.0\n"
    assert "loss 1.0 1.0" in caplog.text


TABLE = {"1": 10.0, "2": 20.0, "3": 30.0}
TEXTS: dict[str, Callable[[Any], str]] = {
    "f-string": lambda x: f"{x:.0f}",
    "format": lambda x: format(x, ".0f"),
    "str.format": lambda x: "{:.0f}".format(x),  # noqa: UP032
    "str": lambda x: str(x)[0],
    "repr": lambda x: repr(x).partition("(")[2][0],
    "percent": lambda x: "%.0f" % x,  # noqa: UP031
    "array": lambda x: str(np.stack([x, x]))[1],
    "array repr": lambda x: repr(np.stack([x, x])).partition("[")[2][0],
}


@pytest.mark.parametrize("name", list(TEXTS))
def test_the_text_of_a_value_is_a_decision(name: str) -> None:
    """Replays go on with the text of the values that they have."""

    def f(x: Any) -> Any:
        return x * TABLE[TEXTS[name](x)]

    quick, both = numbad.jit(numbad.grad(f)), numbad.vmap(numbad.grad(f))
    points = [1.2, 3.1, 2.4, 1.3, 2.2, 3.3]
    expected = [TABLE[str(int(x))] for x in points]
    assert [quick(x) for x in points] == expected
    assert both(np.array(points)).tolist() == expected
    tape = numbad.record(f, 1.2)
    assert tape(1.2) == 12.0
    with pytest.raises(numbad.errors.BranchError):
        tape(2.4)


# ---------------------------------------------------------------- constants


def test_printing_shows_values_and_does_not_disturb() -> None:
    seen = []

    def f(x: Any) -> Any:
        y = x * 2.0
        seen.append((str(y[0]), f"{y[1]:.2f}", repr(y), f"{y[2]:+.1f}"))
        return np.sum(y * y)

    np.testing.assert_allclose(numbad.gradient(f, X), 8 * X)
    assert seen[0][0] == "1.4"
    assert seen[0][1] == "-2.60"
    assert "1.4" in seen[0][2]
    assert seen[0][3] == "+4.2"
