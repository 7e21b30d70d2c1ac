"""Golden bytes: what programs, tapes and errors come to, written before a change of structure and compared after it.

Run: `python tests/golden.py write FILE`, change the code, `python tests/golden.py compare FILE`. A file belongs to the
machine that wrote it: other processors and other builds of BLAS round differently.
"""

from __future__ import annotations

import argparse
import io
import itertools
import json
import re
import subprocess
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import optree
import pytest
from xxhash import xxh3_128_hexdigest

import modes
import numbad
from numbad.ops import REGISTRY
from random_programs import make
from shared.op_points import LAYOUTS, computed

TESTS = Path(__file__).parent
EXAMPLES = sorted((TESTS.parent / "examples").glob("*.py"))
ERRORS = (  # tests that raise on purpose
    "end_to_end/test_bad_input.py",
    "numpy_api/test_dispatch_policy.py",
    "numpy_api/test_reductions.py",
    "scipy_api/test_dispatch_options.py",
    "scipy_api/test_sparse_options.py",
)
ADDRESS = re.compile(r"0x[0-9a-f]+")
TIME = re.compile(r" *\b\d+(\.\d{1,4})?\b(?![.e])")
FILE = re.compile(r"\S*test_\w+?(\.py:\d+|line)")  # of a test, which may move
LINE = re.compile(r'line \d+|\.py:\d+|File ".*?"')

Entry = tuple[str, str]  # a name, and the text or the digest that belongs to it


def digest(tree: Any) -> str:
    """Return a digest of all numbers of a tree with their types and shapes."""
    parts = []
    for leaf in optree.tree_leaves(tree, none_is_leaf=True):
        values = np.asarray(leaf)
        data = repr(leaf).encode() if values.dtype.hasobject else values.tobytes()
        parts.append(f"{type(leaf).__name__} {values.dtype} {values.shape} {xxh3_128_hexdigest(data)}")
    return "; ".join(parts)


# ---------------------------------------------------------------- what is written


def programs(count: int) -> Iterator[Entry]:
    """Yield what random programs come to in each mode, in both precisions."""
    for seed, dtype in itertools.product(range(count), (np.float64, np.float32)):
        case = modes.Case(make(seed), dtype)
        for name, (run, fits) in modes.MODES.items():
            found = []
            try:
                if fits(case):
                    found = [digest(part) for part, _, _ in run(case)]
            except modes.Unsure:
                continue
            except Exception as error:
                found = [masked(f"{type(error).__name__}: {error}")]
            yield f"program {seed} {np.dtype(dtype).name} {name}", "\n".join(found)
        yield from tapes(f"program {seed} {np.dtype(dtype).name}", case)


def tapes(name: str, case: modes.Case) -> Iterator[Entry]:
    """Yield the files and the texts of the tapes of a program."""
    p = case.points[0]
    for which in ("one", "few"):
        try:
            tape = numbad.record(case.names[which], p.x, p.y)
        except numbad.NumbadError as error:
            yield f"{name} tape of {which}", masked(str(error))
            continue
        for kind, form in (("tape", tape), ("optimised tape", tape.optimise())):
            file = io.BytesIO()
            form.save(file)
            texts = (str(form), form.summary(), form.to_dot(), form._repr_html_())
            sums = [xxh3_128_hexdigest(data) for data in (*(text.encode() for text in texts), file.getvalue())]
            yield f"{name} {kind} of {which}", " ".join(sums)


def ops() -> Iterator[Entry]:
    """Yield values and partials of all ops at their points, in each layout."""
    for op, layout, dtype in itertools.product(REGISTRY, LAYOUTS, (np.float64, np.float32)):
        try:
            yield f"op {op.name} {layout} {np.dtype(dtype).name}", digest(computed(op.name, layout, dtype))
        except numbad.NumbadError as error:
            yield f"op {op.name} {layout} {np.dtype(dtype).name}", masked(str(error))


def errors() -> Iterator[Entry]:
    """Yield the texts of all errors of numbad's that the tests of bad input raise."""
    collector = Collector()
    made = numbad.NumbadError.__init__

    def watch(self: Any, *arguments: Any) -> None:
        collector.texts.append(masked(f"{type(self).__name__}: {' '.join(map(str, arguments))}"))
        made(self, *arguments)

    numbad.NumbadError.__init__ = watch  # type: ignore[method-assign]
    try:
        files = [str(TESTS / name) for name in ERRORS]
        pytest.main(["-q", "-p", "no:cacheprovider", "-p", "no:xdist", *files], plugins=[collector])
    finally:
        numbad.NumbadError.__init__ = made  # type: ignore[method-assign]
    for test, texts in collector.found.items():
        yield f"error {test}", "\n".join(sorted(texts))


class Collector:
    """A plugin of pytest's that sorts texts by the test that runs."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        self.found: dict[str, list[str]] = {}

    def pytest_runtest_logreport(self, report: Any) -> None:
        """Keep what came up since the last report."""
        if self.texts:
            self.found.setdefault(report.nodeid.partition("::")[2], []).extend(self.texts)
            self.texts = []


def examples() -> Iterator[Entry]:
    """Yield what the examples print, but for short decimals, which may be times."""
    for path in EXAMPLES:
        done = subprocess.run([sys.executable, str(path), "--small"], capture_output=True, text=True, check=True)
        yield f"example {path.stem}", TIME.sub("~", done.stdout)


def masked(text: str) -> str:
    """Return a text without addresses in memory, files of tests and numbers of lines, which are another matter."""
    return LINE.sub("line", FILE.sub("test", ADDRESS.sub("0x", text)))


# ---------------------------------------------------------------- writing and comparing


def collect(count: int) -> dict[str, str]:
    """Return all entries."""
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        return dict(itertools.chain(programs(count), ops(), errors(), examples()))


def differences(before: dict[str, str], after: dict[str, str]) -> list[str]:
    """Return what differs between two sets of entries, each in some lines."""
    found = [f"{name}: gone" for name in before.keys() - after.keys()]
    found += [f"{name}: new" for name in after.keys() - before.keys()]
    for name in before.keys() & after.keys():
        was = FILE.sub("test", before[name])
        if was != after[name]:
            pairs = itertools.zip_longest(was.splitlines(), after[name].splitlines())
            lines = [f"  - {a}\n  + {b}" for a, b in pairs if a != b]
            found.append("\n".join([f"{name}: {len(lines)} lines differ", *lines[:3]]))
    return sorted(found)


def main() -> int:
    """Write the entries to a file, or compare them with those of a file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument("what", choices=("write", "compare"))
    parser.add_argument("file", type=Path)
    parser.add_argument("--programs", type=int, default=30, help="how many random programs, when they are written")
    options = parser.parse_args()
    if options.what == "write":
        entries = collect(options.programs)
        options.file.write_text(json.dumps({"programs": options.programs, "entries": entries}, indent=0))
        print(f"{len(entries)} entries")
        return 0
    kept = json.loads(options.file.read_text())
    found = differences(kept["entries"], collect(kept["programs"]))
    print(*found, f"{len(kept['entries'])} entries, {len(found)} differ", sep="\n")
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main())
