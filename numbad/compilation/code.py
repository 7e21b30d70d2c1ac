"""Machine code of a tape: from the user's cache, or compiled, and linked for as long as it is kept."""

from __future__ import annotations

import dataclasses
import hashlib
from typing import Any

from numbad.compilation.module import ENTRANCE, Uncompilable, make_module
from numbad.compilation.scalar_program import ScalarProgram
from numbad.kernels import cache, machinecode, texts
from numbad.limits import MOST_COMPILED, OPTIMISED

TAPE = "tape_"  # the names of machine code of tapes begin so
MOST_KEPT = 256  # in the user's cache; some 50 kB each


@dataclasses.dataclass
class Code:
    """Machine code of a tape.

    Attributes
    ----------
    address : int
        Memory address of the function.
    module : Module
        What it was made of.
    engine : object
        Owns the memory of the code.
    """

    address: int
    module: Any
    engine: Any


def compile_program(program: ScalarProgram) -> Code:
    """Return the machine code of a program; raise `Uncompilable` where there can be none."""
    module = make_module(program, MOST_COMPILED)
    return compile_module(module.text, ENTRANCE, module, 3 if module.rows <= OPTIMISED else 1)


def compile_module(text: str, entrance: str, module: Any, level: int) -> Code:
    """Return the machine code of a module's text, from the user's cache if it is there."""
    title = f"{TAPE}{hashlib.sha256(text.encode()).hexdigest()[:24]}"
    kept = cache.read(machinecode.digest(), title)
    if kept is None:
        try:
            kept = texts.compile_text(text, level)
        except RuntimeError as error:  # an LLVM that cannot read the text
            raise Uncompilable from error
        cache.write(machinecode.digest(), title, kept)
        cache.keep_latest(machinecode.digest(), TAPE, MOST_KEPT)
    engine, address = machinecode.link_apart(entrance, kept)
    return Code(address, module, engine)
