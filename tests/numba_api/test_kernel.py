"""`numbad.kernel`: Numba's njit, and the version that records."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from numba import njit
from numba.core.dispatcher import Dispatcher

import numbad
from numbad.numba_api import dispatching


@numbad.kernel
def square(x):
    return x * x


def natively(f, *arguments, monkeypatch):
    """Return a gradient, and check that Python has not run the function."""
    with monkeypatch.context() as patch:
        patch.setattr(dispatching.State, "depth", property(lambda _: pytest.fail("recorded by Python")), raising=False)
        return numbad.gradient(f, *arguments)


def test_plain_numbers_go_to_what_numba_makes() -> None:
    assert isinstance(square, Dispatcher)
    assert square(3.0) == 9.0
    assert square.__name__ == "square"


def test_options_are_numbas() -> None:
    f = numbad.kernel(error_model="numpy", fastmath=True)(lambda x: 1.0 / x)
    assert f(0.0) == float("inf")
    assert f.targetoptions["fastmath"]
    assert numbad.gradient(f, 2.0) == -0.25


def test_a_function_of_numbas_is_declared() -> None:
    plain = njit(lambda x: x * x * x)
    assert numbad.kernel(plain) is plain
    assert numbad.gradient(plain, 2.0) == 12.0
    assert dispatching.kernel_of(plain).native


def test_what_is_said_of_recordings(capsys: pytest.CaptureFixture[str]) -> None:
    f = numbad.kernel(lambda x: x * x)
    assert f.inspect() == []
    assert numbad.gradient(f, 3.0) == 6.0
    (found,) = f.inspect()
    assert (found.way, found.types, found.why) == ("native", "recording number", "")
    assert 0.0 < found.seconds < 600.0
    lacking = numbad.kernel(lambda x: np.linalg.eigvalsh(x)[0])
    numbad.gradient(lacking, np.eye(2) + np.ones((2, 2)))
    (found,) = lacking.inspect()
    assert found.way == "python"
    assert "eigvalsh" in found.why
    assert found.why in capsys.readouterr().err

    @numbad.kernel(adjoint=True)
    def single(x):
        return x * x * x

    assert numbad.gradient(single, 2.0) == 12.0
    assert [(found.way, found.types, found.why) for found in single.inspect()] == [("adjoint", "float64", "")]
    assert pickle.loads(pickle.dumps(square))(2.0) == 4.0


def test_what_is_no_function() -> None:
    with pytest.raises(TypeError, match="was given a int"):
        numbad.kernel(3)
    with pytest.raises(TypeError, match="fastmath="):
        numbad.kernel(square, fastmath=True)
