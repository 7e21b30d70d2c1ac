"""The examples run headless at their small size, and print what they claim."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from numbad import limits

EXAMPLES = Path(__file__).parents[2] / "examples"


def run(name):
    environment = os.environ | {"MPLBACKEND": "Agg"}
    command = [sys.executable, str(EXAMPLES / f"{name}.py"), "--small"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def numbers(text):
    return [float(part) for part in re.findall(r"-?\d+\.?\d*(?:e[+-]?\d+)?", text)]


def test_every_example_is_short_and_tested():
    for path in EXAMPLES.glob("*.py"):
        program = path.read_text().split('"""', 2)[2].strip()
        assert len(program.splitlines()) < 80, path
        assert f'run("{path.stem}")' in Path(__file__).read_text(), path


@pytest.mark.subprocess
def test_first_gradient_agrees_in_all_four_ways():
    printed = run("first_gradient")
    names = ("hand", "forward", "reverse", "numbad")
    rows = [numbers(re.search(rf"^   {name} .*", printed, re.M)[0]) for name in names]
    for row in rows:
        assert row == pytest.approx([3.38905609893065, -1.243197504692072], rel=1e-14)
    assert "exp(x1)" in printed
    assert "dv4/dv1 = -1.0" in printed


@pytest.mark.subprocess
def test_two_layer_network_agrees_to_fourteen_digits():
    lines = [line for line in run("two_layer_network").splitlines() if re.match(r"\s+\d+ +[\d-]", line)]
    assert [int(line.split()[0]) for line in lines] == [50, 100, 300]
    assert all(float(line.split()[-1]) < 1e-14 for line in lines)


@pytest.mark.subprocess
def test_finite_differences_are_worse_than_numbad():
    pytest.importorskip("matplotlib")
    printed = run("finite_differences")
    best = [float(found) for found in re.findall(r"best relative error (\S+),", printed)]
    own = [float(found) for found in re.findall(r"numbad: \S+ relative error (\S+),", printed)]
    assert len(best) == 4
    assert len(own) == 2
    assert max(own) < 1e-14 < min(best)
    assert (EXAMPLES / "output" / "finite_differences.png").stat().st_size > 10_000


@pytest.mark.subprocess
def test_symbolic_swell_grows_while_the_tape_does_not():
    pytest.importorskip("matplotlib")
    pytest.importorskip("sympy")
    printed = run("symbolic_swell")
    table = [numbers(line) for line in printed.splitlines() if re.match(r"\s+\d+ +\d+ +\d+ +\d+ +\d", line)]
    assert [int(row[3]) for row in table[:4]] == [8, 17, 26, 35]
    assert table[3][1] > 20 * table[0][1]
    assert all(row[4] < 1e-13 for row in table)
    assert "SymPy cannot take Python's if: TypeError" in printed
    assert "at x = 1.9: derivative 10.83, SymPy 10.83" in printed
    assert "at x = 3.0: derivative 3, SymPy 3" in printed


@pytest.mark.subprocess
def test_brusselator_has_a_sparse_jacobian():
    pytest.importorskip("matplotlib")
    printed = run("brusselator")
    assert "72 unknowns, 432 entries: 6 in each row" in printed
    assert "difference to finite differences: True" in printed


@pytest.mark.subprocess
def test_minimal_surface_is_found_by_a_sparse_hessian():
    pytest.importorskip("matplotlib")
    printed = run("minimal_surface")
    assert "64 unknowns, 386 second derivatives" in printed
    assert "Ipopt's triangle is that of the matrix: True" in printed
    found = re.search(r"area (\S+), slope (\S+)", printed)
    assert float(found[1]) == pytest.approx(5.109449, rel=1e-6) and float(found[2]) < 1e-7


@pytest.mark.subprocess
def test_zero_function_has_a_zero_gradient_cheaply():
    printed = run("zero_function")
    assert "largest: 0.0" in printed
    assert re.search(r"gradient / value of numbad's sweep: \d+\.\d+", printed)


@pytest.mark.subprocess
def test_jax_tutorial_agrees_to_the_digits_of_single_precision():
    printed = run("jax_tutorial")
    assert printed.count("   jax    ") == printed.count("   numbad ") == 23
    count, largest = re.search(r"(\d+) results; largest difference from what JAX prints: (\S+)", printed).groups()
    assert int(count) == 23
    assert float(largest) < 2.5e-7
    assert len(re.findall(r"looped / batched: numbad \S+ / \S+ ms; jax there", printed)) == 2


@pytest.mark.subprocess
def test_jacobian_scaling_times_both_modes():
    pytest.importorskip("matplotlib")
    printed = run("jacobian_scaling")
    rows = [numbers(line) for line in printed.splitlines() if re.match(r"\s+\d+ +\d+\.", line)]
    assert [int(row[0]) for row in rows] == 2 * [80, 160, 320, 640, 1280]
    assert all(time > 0.0 for row in rows for time in row[1:])
    assert (EXAMPLES / "output" / "jacobian_scaling.png").stat().st_size > 10_000


@pytest.mark.subprocess
def test_speelpenning_agrees_with_products_by_hand():
    pytest.importorskip("sympy")
    printed = run("speelpenning")
    table = [numbers(line) for line in printed.splitlines() if re.match(r"\s+\d+ +\d+\.\d", line)]
    assert [int(row[0]) for row in table] == [10, 100]
    assert all(row[-1] < 1e-13 for row in table)
    assert "of 2, 0, 3 is [0. 6. 0.]" in printed
    assert "of 2, 0, 0, 3 it is [0. 0. 0. 0.]" in printed
    for name in ("SymPy, 170 operations", "numbad,  20 rows"):
        found = float(re.search(rf"{name} +(\S+)", printed)[1])
        assert found == pytest.approx(-1.0407654325830408e-04, rel=1e-13)


@pytest.mark.subprocess
def test_newton_and_hvp_all_methods_find_the_minimum():
    pytest.importorskip("matplotlib")
    printed = run("newton_and_hvp")
    assert float(re.search(r"differences of the gradient: (\S+)", printed)[1]) < 1e-8
    assert float(re.search(r"times a vector against hvp: (\S+)", printed)[1]) < 1e-12
    rows = [numbers(line.partition(")")[2]) for line in printed.splitlines() if re.match(r"(BFGS|Newton|trust)", line)]
    assert len(rows) == 4
    assert all(row[0] == pytest.approx(rows[0][0], rel=1e-9) for row in rows)
    assert all(row[1] < 1e-6 for row in rows)
    assert all(row[2] < rows[0][2] for row in rows[1:]), "second derivatives need fewer iterations"
    assert (EXAMPLES / "output" / "newton_and_hvp.png").stat().st_size > 10_000


@pytest.mark.subprocess
def test_numba_heat_finds_the_conductivity():
    pytest.importorskip("matplotlib")
    printed = run("numba_heat")
    mine, numba = re.search(r"value by numbad (\S+), by Numba (\S+)", printed).groups()
    assert mine == numba
    assert float(re.search(r"differences are off by (\S+)", printed)[1]) < 1e-8
    before, after = re.search(r"misfit (\S+) -> (\S+)", printed).groups()
    assert float(after) < 1e-2 * float(before)
    assert (EXAMPLES / "output" / "numba_heat.png").stat().st_size > 10_000


@pytest.mark.subprocess
def test_numba_bodies_return_to_where_they_were():
    pytest.importorskip("matplotlib")
    printed = run("numba_bodies")
    mine, numba = re.search(r"value by numbad (\S+), by Numba (\S+)", printed).groups()
    assert mine == numba
    assert float(re.search(r"differences are off by (\S+)", printed)[1]) < 1e-6
    before, after = re.search(r"distance (\S+) -> (\S+),", printed).groups()
    assert float(after) < 1e-8 * float(before)
    assert (EXAMPLES / "output" / "numba_bodies.png").stat().st_size > 10_000


@pytest.mark.subprocess
def test_numba_prices_have_the_derivatives_of_each_path():
    pytest.importorskip("matplotlib")
    printed = run("numba_prices")
    mine, numba = re.search(r"value by numbad (\S+), by Numba (\S+)", printed).groups()
    assert float(mine) == pytest.approx(float(numba), rel=1e-11)  # Numba adds the paths in pieces, one for each thread
    assert float(re.search(r"differences are off by (\S+),", printed)[1]) < 1e-6
    assert len(re.findall(r"derivative by the \w+ +\d", printed)) == 3
    assert (EXAMPLES / "output" / "numba_prices.png").stat().st_size > 10_000


@pytest.mark.subprocess
def test_expression_graph_shares_what_the_tree_repeats():
    pytest.importorskip("matplotlib")
    printed = run("expression_graph")
    assert "gradient by hand: 4.756802495307928 4.000000000000000" in printed
    assert "numbad: 4.756802495307928 4.000000000000000" in printed
    assert "expression tree: 10 nodes; graph: 9" in printed
    rows = [
        numbers(line) for line in printed.splitlines() if re.match(r"\s+\d+ +\S+ +\d+ +-?\d", line) and "=" not in line
    ]
    assert [[int(row[0]), int(row[2])] for row in rows] == [[n, 4 * n + 2] for n in (1, 2, 4, 8)]
    assert rows[3][1] > 3**8
    assert (EXAMPLES / "output" / "expression_graph.svg").read_text().startswith("<?xml")
    assert "digraph" in (EXAMPLES / "output" / "expression_graph.dot").read_text()


@pytest.mark.subprocess
def test_monte_carlo_greeks_lie_within_their_standard_errors():
    pytest.importorskip("matplotlib")
    printed = run("monte_carlo_greeks")
    assert f"4,000 paths of {222 + limits.SMALL_LIMITS} rows" in printed  # one more to read what is kept by reference
    for name in ("price", "delta", "vega", "rho"):
        mean, error, exact, off = numbers(re.search(rf"^{name} .*", printed, re.M)[0].replace("+", " "))
        assert 0.0 < error < 0.05 * exact
        assert abs(mean - exact) < 4.0 * error
        assert off == pytest.approx((mean - exact) / error, abs=0.02)
    assert (EXAMPLES / "output" / "monte_carlo_greeks.png").stat().st_size > 10_000


@pytest.mark.subprocess
def test_logistic_from_file_stays_within_its_memory():
    printed = run("logistic_from_file")
    total = re.search(r"L-BFGS: loss (\S+) a sample after (\d+) sums, error (\S+)", printed).groups()
    assert 0.4 < float(total[0]) < 0.5 and int(total[1]) < 30 and float(total[2]) < 0.06
    value, distance = re.search(r"steps by blocks: loss (\S+) a sample, (\S+) from L-BFGS", printed).groups()
    assert float(total[0]) <= float(value) < float(total[0]) + 0.005 and float(distance) < 0.2
    grown, allowed = re.search(r"(\d+) MB of memory, (\d+) MB allowed", printed).groups()
    assert int(grown) <= int(allowed) == 256


@pytest.mark.subprocess
def test_scenarios_are_calibrated_by_gauss_newton():
    printed = run("scenarios")
    misfits = [float(found) for found in re.findall(r"misfit (\S+),", printed)]
    assert len(misfits) == 6
    assert misfits[-1] < 1e-5 * misfits[0]
    first, second, slope = re.search(r"found (\S+) (\S+), true 0.8 0.3; gradient (\S+)", printed).groups()
    assert (float(first), float(second)) == pytest.approx((0.8, 0.3), abs=0.01)
    assert float(slope) < 1e-12


@pytest.mark.subprocess
def test_branches_keep_a_tape_for_each_path():
    pytest.importorskip("matplotlib")
    printed = run("branches")
    assert "guard v6 is True" in printed
    assert "BranchError: row 43 compared" in printed
    assert re.search(r"examples/branches.py:\d+, in root:  while abs\(x \* x - a\) > 1e-12 \* a:", printed)
    rows = re.findall(r"^(\w+) +(\d+) points, (\d+) paths, run \[(.*)\] times, largest error (\S+)", printed, re.M)
    assert [row[0] for row in rows] == ["tax", "root", "kepler"]
    for _, points, paths, hits, error in rows:
        counts = [int(count) for count in hits.split(",")]
        assert len(counts) == int(paths) > 1
        assert sum(counts) >= int(points)
        assert float(error) < 1e-11
    assert (EXAMPLES / "output" / "branches.png").stat().st_size > 10_000


@pytest.mark.subprocess
def test_agent_model_is_calibrated_by_its_gradient():
    pytest.importorskip("matplotlib")
    printed = run("agent_model")
    slopes = numbers(re.search(r"gradient (.*), by", printed)[1])
    assert slopes == pytest.approx(numbers(re.search(r"differences (.*)", printed)[1]), rel=1e-4)
    true, found = (numbers(re.search(rf"{word} (\[.*?\])", printed)[1]) for word in ("true", "found"))
    assert found == pytest.approx(true, abs=0.06)
    before, after = numbers(re.search(r"loss (\S+ -> \S+)", printed)[1].replace("->", ""))
    assert after < before / 20
    assert int(re.search(r"(\d+) paths", printed)[1]) > 3
    assert (EXAMPLES / "output" / "agent_model.png").stat().st_size > 10_000
