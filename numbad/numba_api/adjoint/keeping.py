"""Adjoints as files: their text lies where machine code is kept, and Numba keeps there what it compiles of it."""

from __future__ import annotations

import hashlib
import importlib.util
import sys
import types
from pathlib import Path
from typing import Any

import numba
import numpy as np

from numbad.kernels import cache
from numbad.numba_api.adjoint.activity import Facts
from numbad.numba_api.adjoint.tangents import tangent_text
from numbad.numba_api.adjoint.tree import Flat, NotAdjoint
from numbad.numba_api.adjoint.writing import SUPPORT, Writer

FOLDER = "adjoints"
MOST_CONSTANTS = 1000  # elements of an array from outside of a function that are written into a text
SOURCES = ("activity", "blocks", "keeping", "reading", "support", "tangents", "tree", "writing")
HEAD = '''"""The adjoint of {name}, written by numbad.numba_api.adjoint; it may be removed at any time."""

import math

import numpy as np
from numba import njit
from numpy import inf, nan

from numbad.numba_api.adjoint.support import {support}

'''


def whole_text(
    flat: Flat, facts: Facts, wanted: list[str], outputs: list[str], raising: bool, tangents: bool = False
) -> str:
    """Return the text of a module: both adjoints, whose ways forward look at indices, or the tangents of both."""
    lines = [HEAD.format(name=flat.name, support=SUPPORT)]
    for key, value in flat.constants.items():
        lines.append(f"{key} = {constant_text(value)}")
    model = "python" if raising and not tangents else "numpy"
    options = {"ahead": f"error_model={model!r}", "back": 'error_model="numpy"'}
    for careful in (False, True):
        text = Writer(flat, facts, careful).pair(wanted, outputs)
        if tangents:
            text = tangent_text(text, set(wanted), set(facts.axes), careful)
        for line in text:
            if line.startswith("def "):
                which = line[4:].partition("(")[0]
                lines += ["", "", f"@njit(cache=True, {options[which]}, nogil=True)"]
                line = line.replace(which, f"{which}_carefully", 1) if careful else line
            lines.append(line)
    return "\n".join(lines) + "\n"


def constant_text(value: Any) -> str:
    """Return the text of an array from outside of a function."""
    if not isinstance(value, np.ndarray) or value.size > MOST_CONSTANTS or value.dtype.kind not in "fiub":
        raise NotAdjoint("a large array from outside of the function")
    return f"np.array({value.tolist()!r}, np.{value.dtype.name}).reshape({value.shape!r})"


def made_by() -> str:
    """Return what tells the versions apart that write texts."""
    here = Path(__file__).parent
    parts = [numba.__version__, np.__version__, sys.version]
    for name in SOURCES:
        try:
            parts.append((here / f"{name}.py").read_text())
        except OSError:
            parts.append(name)
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


_modules: dict[str, Any] = {}


def load(text: str) -> Any:
    """Return the module of a text: from its file, which is written where it is not there."""
    digest = hashlib.sha256((made_by() + text).encode()).hexdigest()[:24]
    found = _modules.get(digest)
    if found is None:
        found = _modules[digest] = load_file(digest, text)
    return found


def load_file(digest: str, text: str) -> Any:
    """Return a module from a file, or from its text alone where no file can be written."""
    path = cache.root() / FOLDER / f"numbad_adjoint_{digest}.py"
    name = path.stem
    try:
        if not path.exists() or path.read_text() != text:
            path.parent.mkdir(parents=True, exist_ok=True)
            cache.put(path, text.encode())
        spec = importlib.util.spec_from_file_location(name, path)
        assert spec is not None and spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module  # Numba's cache looks for it by its name
        spec.loader.exec_module(module)
    except OSError:
        module = types.ModuleType(name)
        exec(compile(text.replace("cache=True, ", ""), f"<{name}>", "exec"), module.__dict__)
    return module
