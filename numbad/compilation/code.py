"""Machine code of a tape: from the user's cache, or compiled, and linked for as long as it is kept."""

from __future__ import annotations

import dataclasses
import hashlib
from typing import Any

from numbad.compilation.module import ENTRANCE, Module, Uncompilable, make_module
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
    module: Module
    engine: Any


def compile_program(program: ScalarProgram) -> Code:
    """Return the machine code of a program; raise `Uncompilable` where there can be none."""
    module = make_module(program, MOST_COMPILED)
    title = f"{TAPE}{hashlib.sha256(module.text.encode()).hexdigest()[:24]}"
    kept = cache.read(machinecode.digest(), title)
    if kept is None:
        try:
            kept = texts.compile_text(module.text, 3 if module.rows <= OPTIMISED else 1)
        except RuntimeError as error:  # an LLVM that cannot read the text
            raise Uncompilable from error
        cache.write(machinecode.digest(), title, kept)
        cache.keep_latest(machinecode.digest(), TAPE, MOST_KEPT)
    engine, address = machinecode.link_apart(ENTRANCE, kept)
    return Code(address, module, engine)
