"""The checked build: what touches memory that it was not given, or that nobody has written, is named; the rest runs.

Each case runs in a process of its own with NUMBAD_CHECKED=1, for compiled code is made for one build. The damage is
done to tapes behind the back of their verification.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[2]
X = np.linspace(0.5, 2.0, 6)


def scalars(x, y):
    return np.exp(x) - x * y + np.cos(y)


def arrays(x):
    y = np.sin(x) * x[::-1]
    return np.sum(y[[0, 0, 3]] ** 2) + np.sum(x * x)


def damaged(f, point, change):
    """Return a tape that nobody verifies, with its code and words changed."""
    import numbad

    tape = numbad.record(f, *point)
    code, words = np.array(tape.code), np.array(tape.words)
    change(code, words)
    tape._code, tape._words, tape._verified = code, words, True
    return tape


def row_of(code, opcode):
    """Return the first row with an opcode; of 256, the first elementwise row."""
    return next(k for k, row in enumerate(code) if row[0] == opcode or (opcode == 256 and 256 <= row[0] < 512))


def set_code(opcode, column, value):
    def change(code, words):
        code[row_of(code, opcode), column] = value

    return change


def set_word(opcode, place, value):
    def change(code, words):
        words[int(code[row_of(code, opcode), 2]) + place] = value

    return change


def gather_far(code, words):
    words[int(code[row_of(code, 1028), 2]) + 2] = 1 << 30


def gather_below(code, words):
    words[int(code[row_of(code, 1028), 2]) + 2] = -1


def read_unwritten(code, words):
    """Let the first elementwise row read where the last one will write."""
    rows = [row for row in code if 256 <= row[0] < 512]
    w = int(rows[0][2])
    words[w + 4 + 1 + 4 + 2] = int(rows[-1][1])


UNARY_SIZE, ELEMENTS = 1, 5  # words: how many elements; kind of the output
DAMAGES = {  # name: function, point, damage, what the error must name
    "a result far away": (
        scalars,
        (2.0, 4.0),
        lambda code, words: code.__setitem__((2, 1), 10**6),
        "generated.scalar.",
        "row 2",
    ),
    "an operand far away": (
        scalars,
        (2.0, 4.0),
        lambda code, words: code.__setitem__((1, 2), 99),
        "generated.scalar.",
        "row 1",
    ),
    "words far away": (arrays, (X,), set_code(256, 2, 10**6), "layout.row_elements, called by forward_at", "row"),
    "too many elements": (arrays, (X,), set_word(256, 1, 10**4), "kernels.", "row"),
    "a gather from far away": (arrays, (X,), gather_far, "array.forward_rows", "row"),
    "a negative address": (arrays, (X,), gather_below, "array.forward_rows", "row"),
    "what nobody has written": (arrays, (X,), read_unwritten, "that nobody has written", "row"),
    "cleared too far": (arrays, (X,), set_word(1026, 3, 10**5), "array.", "row"),
}


def run_case(name):
    """Run a case in this process; return what came of it."""
    import numbad
    from numbad.errors import InternalError
    from numbad.kernels import checked_memory
    from numbad.kernels import memory as kernels_memory

    if name == "undamaged":
        f = lambda x: np.sum(np.sin(x) ** 2)
        points = np.stack([X, X + 1.0])
        return {
            "scalars": numbad.gradient(scalars, 2.0, 4.0),
            "arrays": numbad.gradient(f, X).tolist(),
            "jit": numbad.jit(numbad.grad(f))(X).tolist(),
            "jacobian": numbad.jacfwd(lambda x: np.cumsum(x * x))(X).tolist(),
            "points": numbad.record(f, X).gradient_map(points).tolist(),
            "hvp": numbad.jvp(numbad.grad(f), (X,), (np.ones(6),))[1].tolist(),
        }
    if name == "guard zone":
        memory = kernels_memory.take_memory(5000, np.dtype(np.float64), False)
        np.lib.stride_tricks.as_strided(memory, (5001,))[5000] = 1.0
        act = lambda: kernels_memory.give_back(memory)
    elif name == "handed out":
        memory = kernels_memory.take_memory(10, np.dtype(np.float32), False)
        act = lambda: checked_memory.check_written(memory[3:], "a result")
    else:
        f, point, change, _, _ = DAMAGES[name]
        tape = damaged(f, point, change)
        act = lambda: tape.gradient(*point)
    try:
        act()
    except InternalError as error:
        after = numbad.gradient(scalars, 2.0, 4.0)
        return {"error": str(error), "after": after}
    return {}


@pytest.fixture(scope="module")
def outcomes():
    """What came of all cases, in one process."""
    names = ["undamaged", "guard zone", "handed out", *DAMAGES]
    paths = os.pathsep.join([str(ROOT), str(ROOT / "tests"), str(Path(__file__).parent)])
    environment = os.environ | {"NUMBAD_CHECKED": "1", "NUMBAD_SMALL_LIMITS": "0", "PYTHONPATH": paths}
    program = (
        "import json, sys, test_checked_code\n"
        "print(json.dumps({name: test_checked_code.run_case(name) for name in json.loads(sys.argv[1])}))"
    )
    command = [sys.executable, "-c", program, json.dumps(names)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.subprocess
def test_undamaged_programs_run_in_the_checked_build(outcomes):
    found = outcomes["undamaged"]
    np.testing.assert_allclose(found["scalars"], [np.exp(2.0) - 4.0, -2.0 - np.sin(4.0)])
    for mode in ("arrays", "jit"):
        np.testing.assert_allclose(found[mode], np.sin(2.0 * X))
    np.testing.assert_allclose(found["jacobian"], np.tril(np.tile(2.0 * X, (6, 1))))
    np.testing.assert_allclose(found["points"], np.sin(2.0 * np.stack([X, X + 1.0])))
    np.testing.assert_allclose(found["hvp"], 2.0 * np.cos(2.0 * X))


@pytest.mark.subprocess
@pytest.mark.parametrize("name", DAMAGES)
def test_damage_is_reported_with_the_kernel_and_the_row(outcomes, name):
    *_, kernel, row = DAMAGES[name]
    assert kernel in outcomes[name]["error"]
    assert row in outcomes[name]["error"]
    assert "report it" in outcomes[name]["error"]


@pytest.mark.subprocess
@pytest.mark.parametrize("name", ["guard zone", "handed out", *DAMAGES])
def test_the_next_call_is_right(outcomes, name):
    np.testing.assert_allclose(outcomes[name]["after"], [np.exp(2.0) - 4.0, -2.0 - np.sin(4.0)])


@pytest.mark.subprocess
def test_guard_zones_and_results_are_looked_at(outcomes):
    assert "wrote beyond an array of 40000 bytes" in outcomes["guard zone"]["error"]
    assert "a number that nobody has written" in outcomes["handed out"]["error"]
