"""`python -m numbad`: what a newcomer sees."""

import subprocess
import sys

import pytest


@pytest.fixture(scope="module")
def printed():
    done = subprocess.run([sys.executable, "-m", "numbad"], capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.subprocess
def test_the_tape_is_printed_row_by_row_with_values_and_adjoints(printed):
    lines = [line.split() for line in printed.splitlines()]
    assert ["0", "v0", "=", "exp(x1)", "7.3890561", "1"] in lines
    assert ["1", "v1", "=", "x1", "*", "x2", "8", "-1"] in lines
    assert ["4", "v4", "=", "v2", "+", "v3", "-1.2645875", "1"] in lines
    assert "input x1 = 2, adjoint 3.3890561" in printed


@pytest.mark.subprocess
def test_the_gradient_stands_beside_the_closed_form_and_a_difference(printed):
    for name in ("d/dx1", "d/dx2"):
        found, exact, estimate = map(float, next(line for line in printed.splitlines() if name in line).split()[1:])
        assert found == pytest.approx(exact, rel=1e-15)
        assert found == pytest.approx(estimate, rel=1e-8)


@pytest.mark.subprocess
def test_what_was_compiled_is_listed_with_its_time(printed):
    lines = [line for line in printed.splitlines() if " in " in line and line.rstrip().endswith(" s")]
    assert len(lines) >= 2
    assert all("loaded" in line or "compiled" in line for line in lines)


@pytest.mark.subprocess
def test_the_machine_is_described(printed):
    for word in ("processor", "libmvec", "threads", "threading layer", "BLAS of NumPy", "Numba"):
        assert word in printed
