"""Damaged files of tapes: mutations of their bytes, description and arrays, each loaded and run.

Run: python tests/tape_mutants.py --count 100000 [--seed 0]

A mutant is refused with a TapeError (or, where it needs more memory than there is, a MemoryError), or
runs. Before it runs, a checker that shares nothing with numbad's lists what each row touches. Mutants
run in a subprocess, so that a crash is seen, and named by the seed that makes it again.
"""

import argparse
import contextlib
import copy
import hashlib
import io
import json
import os
import random
import resource
import subprocess
import sys
import warnings
from collections import Counter

import numpy as np
import optree

import numbad
from numbad.errors import NumbadError
from numbad.tape.layout import ADD, CONTRACT, GATHER, GUARD, GUARD_VALUE, HOST, MAP, SCATTER

MOST_WORK = 2_000_000  # elements of all rows of a mutant that is run
MOST_LOWERED = 5_000  # of one that is run at many points at once
MOST_MEMORY = 6 << 30
AT_A_TIME = 2000  # mutants of one process
MATRIX = np.random.default_rng(0).normal(size=(30, 30))
FORTRAN = np.asfortranarray(np.random.default_rng(1).normal(size=(40, 30)))
LARGE = np.linspace(0.5, 1.5, 33_000)


# ---------------------------------------------------------------- tapes to begin with


def scalars(x, y):
    return np.exp(x) - x * y + np.cos(y) if x > 0.0 else y


def arrays(x, s):
    y = MATRIX @ x
    z = np.where(y > 0.0, np.sin(y), y * s)
    z[2:4] = x[0] * 3.0
    n = int(s) + 2
    return np.sum(z[:n]) / np.sum(x[::2] ** 2) + z[3] * s + np.sum(x[:3, None] * y[:4])


def linear(a, b):
    x = np.linalg.solve(a @ a.T + 9.0 * np.eye(4), b)
    return np.sum(np.cumprod(x)) + np.linalg.eigh(a)[0][0] + np.sort(b)[1] * b[np.argmax(b)] + np.interp(x[0], b, x)


def large(x):
    e = np.exp(x - np.max(x))
    return np.sum((e / np.sum(e)) ** 2) + np.sum(x * LARGE) + x[5] * np.sum(x[1:] * x[:-1])


def tree(p):
    return {"w": p["w"][::-1] * 2.0, "t": (p["w"] > 0.5, p["b"], 3.0, np.arange(3)), "v": FORTRAN @ p["w"]}


def scattered(x):
    y = numbad.zeros(6)
    for k in range(6):
        y[k] = x[k % 3] * k
    return np.sum(np.convolve(y, x)) + np.sum(y[[0, 0, 5]] * x)


def nested(x):
    return np.sum(numbad.grad(lambda u: np.sum(np.outer(u, u) * np.sin(u)) + np.sum(u[[0, 0, 1]] ** 2))(x) * x)


def beginnings():
    """Return tapes of all kinds of rows, with their points."""
    pairs = [
        (scalars, (1.5, 0.5)),
        (arrays, (np.cos(np.arange(30.0)), 1.5)),
        (arrays, (np.cos(np.arange(30.0, dtype=np.float32)), np.float32(1.5))),
        (linear, (np.eye(4) + 0.1 * np.arange(16.0).reshape(4, 4), np.array([1.0, 2.0, 3.0, 4.0]))),
        (large, (np.linspace(0.0, 1.0, 33_000),)),
        (tree, ({"w": np.linspace(0.0, 1.0, 30), "b": 2.0},)),
        (scattered, (np.array([1.0, 2.0, 3.0]),)),
        (nested, (np.array([1.0, 2.0, 3.0]),)),
        (lambda x: np.sum(x * 2.0) + np.sum(MATRIX), (np.empty(0),)),
    ]
    return [(numbad.record(f, *point), point) for f, point in pairs]


# ---------------------------------------------------------------- mutations

INTERESTING = [0, 1, 2, 3, 7, 8, 255, 256, 511, 512, 1023, 1024, 1030, 2**15, 2**16, 2**31 - 1, 2**31, 2**32 - 1]
INTERESTING += [
    2**32,
    2**40,
    2**46,
    2**46 + 1,
    2**61,
    2**62,
    2**63 - 1,
    10**15,
    -1,
    -2,
    -8,
    -(2**31),
    -(2**46),
    -(2**63),
]
ODD = [
    None,
    True,
    False,
    0.5,
    1e300,
    "",
    "C",
    "F",
    "float32",
    "float64",
    [],
    {},
    [0],
    [[0]],
    {"leaf": None},
    {"array": 0},
]
ODD += [{"array": 10**9}, {"tuple": []}, {"dict": [[0, {"leaf": None}]]}, 10**30, -(10**30), "\x1b[2J", [-1], [0, 0]]


def take_apart(data):
    """Return the description and the bytes of the arrays of a file."""
    length = int.from_bytes(data[24:32], "little")
    return json.loads(data[64 : 64 + length]), data[64 + length + -(64 + length) % 64 :]


def put_together(description, arrays, version=1):
    """Return a file with a right header and checksum, whatever its description says."""
    text = json.dumps(description).encode()
    body = text + bytes(-(64 + len(text)) % 64) + arrays
    head = b"\x89numbad\n" + version.to_bytes(4, "little") + bytes(4)
    head += (64 + len(body)).to_bytes(8, "little") + len(text).to_bytes(8, "little")
    return head + hashlib.sha256(head + body).digest() + body


def change_bytes(data, rng):
    """Flip, cut, repeat or overwrite bytes anywhere."""
    data = bytearray(data)
    for _ in range(rng.choice((1, 1, 1, 2, 8))):
        place = rng.randrange(len(data))
        kind = rng.randrange(6)
        if kind == 0:
            data[place] ^= 1 << rng.randrange(8)
        elif kind == 1:
            data[place] = rng.randrange(256)
        elif kind == 2:
            del data[max(place, 1) :]
        elif kind == 3:
            del data[place : min(place + rng.randrange(1, 64), len(data) - 1)]
        elif kind == 4:
            data[place:place] = rng.randbytes(rng.randrange(1, 64))
        else:
            data[place : place + 8] = (rng.choice(INTERESTING) % 2**64).to_bytes(8, "little")
    return bytes(data)


def seal(data):
    """Return bytes that begin like a file with a right length and checksum."""
    if len(data) < 64:
        return data
    head = data[:16] + len(data).to_bytes(8, "little") + data[24:32]
    return head + hashlib.sha256(head + data[64:]).digest() + data[64:]


def change_description(data, rng):
    """Change, delete, repeat or exchange a part of the description."""
    description, arrays = take_apart(data)
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        holders = [description]
        for holder in holders:
            parts = holder.values() if isinstance(holder, dict) else holder
            holders += [part for part in parts if isinstance(part, (dict, list)) and part]
        holder = rng.choice(holders)
        keys = list(holder) if isinstance(holder, dict) else list(range(len(holder)))
        key, other = rng.choice(keys), rng.choice(keys)
        kind = rng.randrange(8)
        if kind == 0:
            del holder[key]
        elif kind == 1:
            holder[key], holder[other] = holder[other], holder[key]
        elif kind == 2:
            holder[key] = copy.deepcopy(holder[other])
        elif kind == 3 and isinstance(holder, list):
            holder.insert(key, copy.deepcopy(holder[other]))
        elif kind == 4 and type(holder[key]) is int:
            holder[key] += rng.choice((-2, -1, 1, 2, 8))
        elif kind == 5:
            holder[key] = copy.deepcopy(rng.choice(ODD))
        else:
            holder[key] = rng.choice(INTERESTING)
        if not description:
            break
    return put_together(description, arrays)


def change_arrays(data, rng):
    """Change numbers in the rows, the operand words, the constants or another array."""
    description, arrays = take_apart(data)
    memory, start, found = bytearray(arrays), 0, []
    for entry in description["arrays"]:
        start += -start % 64
        values = np.ndarray(entry["shape"], entry["dtype"], memory, start, order=entry["order"])
        found.append(values)
        start += values.nbytes
    names = ["code", "code", "words", "words", "words", "numbers", "site_rows", "site_places"]
    chosen = [found[description[name]] for name in names if found[description[name]].size]
    chosen += [values for values in found if values.size]
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        values = rng.choice(chosen)
        place = tuple(rng.randrange(n) for n in values.shape)
        other = tuple(rng.randrange(n) for n in values.shape)
        kind = rng.randrange(5)
        with np.errstate(all="ignore"):
            if kind == 0:
                values[place] += values.dtype.type(1)
            elif kind == 1:
                values[place] -= values.dtype.type(1)
            elif kind == 2:
                values[place] = values[other]
            elif kind == 3 and values.dtype.kind == "f":
                values[place] = rng.choice((np.nan, np.inf, -np.inf, 1e300, -1.0, 0.5, 1e10))
            elif values.dtype.kind in "iu":
                number = rng.choice((*INTERESTING, rng.randrange(64), rng.randrange(4096)))
                values[place] = np.array(number % 2**64, np.uint64).astype(values.dtype)
    return put_together(description, bytes(memory))


MUTATIONS = (
    change_bytes,
    lambda data, rng: seal(change_bytes(data, rng)),
    change_description,
    change_arrays,
    change_arrays,
    lambda data, rng: change_arrays(change_arrays(data, rng), rng),
)


def mutant(files, seed):
    """Return the place of the file that a seed begins with, and the mutant."""
    rng = random.Random(seed)
    place = rng.randrange(len(files))
    return place, rng.choice(MUTATIONS)(files[place], rng)


# ---------------------------------------------------------------- an independent check


def touched(words, w, d):
    """Return the first and the last place that an operand touches: those of the corners of its index space."""
    ndim = words[w + 2]
    places = [words[d + 2]]
    for axis in range(ndim):
        last = (words[w + 4 + axis] - 1) * words[d + 3 + axis]
        places = [extreme(place + step for place in places for step in (0, last)) for extreme in (min, max)]
    return min(places), max(places)


def check_inside(tape):
    """Assert that each row reads and writes inside its memory; return the elements that all rows work on."""
    sizes = [tape.size] + [0 if space is None else space.size for space in tape.spaces[1:]]
    for slot in tape.inputs:
        if slot.space:
            sizes[slot.space] = int(np.prod(slot.shape, dtype=object))
        else:
            assert slot.address + int(np.prod(slot.shape, dtype=object)) <= tape.size
    words, work = tape.words.tolist(), sum(int(np.prod(slot.shape, dtype=object)) for slot in tape.outputs)
    work += tape.size
    rows = tape.code.tolist()
    for opcode, _, w, _ in rows:
        if MAP <= opcode < 2 * MAP or opcode in (ADD, CONTRACT):
            work += words[w + 1]
        elif opcode >= GATHER and opcode != HOST:
            work += words[w + 2] if opcode == SCATTER else words[w + 1]
    for opcode, out, a, b in rows:
        if opcode < MAP:
            assert max(a, b) < tape.size and 1 <= out < tape.size
        elif opcode in (GUARD, GUARD_VALUE):
            assert a < tape.size and (opcode == GUARD or out < tape.size)
        elif opcode == GATHER:
            count = words[a + 1]
            places = words[a + 2 : a + 2 + count]
            assert len(places) == count and all(0 <= place < tape.size for place in places)
            assert 0 < out <= tape.size - count
        elif opcode == SCATTER:
            count, size, space, source = words[a + 1 : a + 5]
            assert 0 < out <= tape.size - size
            assert not count or 0 <= source <= sizes[space] - count
            assert all(0 <= place < size for place in words[a + 5 : a + 5 + count])
        elif opcode == HOST:
            for k in range(words[a + 2] + words[a + 3]):
                space, address, count = words[a + 4 + 3 * k : a + 7 + 3 * k]
                assert 0 <= address <= sizes[space] - count and (space == 0 or k < words[a + 2])
        else:
            ndim, cleared = words[a + 2], words[a + 3]
            assert 0 <= out <= tape.size - cleared and cleared >= 0
            operands = (words[a] - 4 - ndim) // (3 + ndim)
            assert a + words[a] <= len(words)
            if words[a + 1]:
                for k in range(operands):
                    d = a + 4 + ndim + k * (3 + ndim)
                    first, last = touched(words, a, d)
                    assert 0 <= first and last < sizes[words[d + 1]], "outside of its memory"
    return work


# ---------------------------------------------------------------- running


def run_mutants(first, count, report):
    """Load and run mutants in this process; write the seed of each before it and what came of it after."""
    resource.setrlimit(resource.RLIMIT_AS, (MOST_MEMORY, MOST_MEMORY))
    warnings.simplefilter("ignore")
    tapes = beginnings()
    files = []
    for tape, _ in tapes:
        file = io.BytesIO()
        tape.save(file)
        files.append(file.getvalue())
        numbad.load(io.BytesIO(files[-1]))
    for tape, point in tapes:
        with contextlib.suppress(NumbadError):
            tape(*point)
            tape.gradient(*point)
    for seed in range(first, first + count):
        report.write(f"{seed} ")
        report.flush()
        place, data = mutant(files, seed)
        report.write(run_mutant(data, tapes[place][1]) + "\n")
        report.flush()


def run_mutant(data, point):
    """Return in a word what came of a mutant."""
    try:
        tape = numbad.load(io.BytesIO(data))
    except (numbad.TapeError, MemoryError) as error:
        return f"refused:{type(error).__name__}"
    work = check_inside(tape)
    if work > MOST_WORK:
        return "long"
    outcome = "ran"
    words = (
        tape.__str__,
        tape.summary,
        tape._repr_html_,
        tape.to_dot,
        lambda: [tape.explain(k) for k in range(len(tape))],
    )
    runs = [lambda: tape(*point), lambda: tape.gradient(*point), lambda: tape.jvp(point, point)]
    if work < MOST_LOWERED:
        points = optree.tree_map(lambda leaf: np.stack([leaf, leaf, leaf]), tuple(point))
        runs += [lambda: tape.map(*points), lambda: tape.gradient_map(*points)]
    for call in (*runs, *words):
        try:
            call()
        except (NumbadError, MemoryError, np.linalg.LinAlgError) as error:
            outcome = f"raised:{type(error).__name__}"
    return outcome


def count_outcomes(first, count):
    """Run mutants in subprocesses; return how many came to which end, with the seeds of crashes and errors."""
    outcomes, bad = Counter(), []
    while count > 0:
        command = [sys.executable, __file__, "--run", str(first), "--count", str(min(count, AT_A_TIME))]
        environment = os.environ | {"MALLOC_PERTURB_": "165", "OMP_NUM_THREADS": "1"}
        done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
        lines = done.stdout.splitlines()
        for line in lines:
            seed, _, outcome = line.partition(" ")
            outcomes[outcome or "crashed"] += 1
            if not outcome:
                bad.append(f"mutant {seed}: exit {done.returncode}\n{done.stderr[-1500:]}")
        if not lines:
            bad.append(f"exit {done.returncode} before the first mutant\n{done.stderr[-3000:]}")
            break
        count -= len(lines)
        first += len(lines)
        print(f"{first} mutants, {len(bad)} crashes or errors", file=sys.stderr, flush=True)
    return outcomes, bad


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--run", type=int, default=None, help="run in this process, from this seed on")
    options = parser.parse_args()
    if options.run is not None:
        run_mutants(options.run, options.count, sys.stdout)
    else:
        found, problems = count_outcomes(options.seed, options.count)
        print(*(f"{number:8d}  {outcome}" for outcome, number in sorted(found.items())), *problems, sep="\n")
