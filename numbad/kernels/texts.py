"""LLVM text of the compiled functions, shipped with the package: found, fitted to this machine, compiled by llvmlite.

Four fifths of what Numba takes to compile a function it spends before LLVM sees it. `make_texts` does that part once
for all machines; what is left here takes some tens of milliseconds a function.
"""

from __future__ import annotations

import functools
import os
import re
from pathlib import Path

import llvmlite.binding as llvm

from numbad.kernels.archives import Archive, open_archive
from numbad.kernels.libmvec import is_usable, processor
from numbad.kernels.sources import digest_of_sources, read
from numbad.limits import VARIANT

ARCHIVE = Path(__file__).parent / "generated" / "texts"
RECIPE = "2"  # of `compile_text`, another one for other machine code
OLDEST_LLVM = (16, 0, 0)  # older ones know no `ptr`
VARIANTS = re.compile(r' "vector-function-abi-variant"="([^"]*)"')
DECLARED = re.compile(r"^declare .*@(_ZGV\w+)\(.*\n", re.MULTILINE)
USED = re.compile(r"^@llvm\.compiler\.used = .*\n", re.MULTILINE)


@functools.cache
def are_current() -> bool:
    """Whether there are texts, of the sources as they are.

    `NUMBAD_TEXTS=0` leaves them out: then Numba compiles everything.
    """
    if VARIANT or os.environ.get("NUMBAD_TEXTS") == "0" or llvm.llvm_version_info < OLDEST_LLVM:
        return False
    made_of = digest_of_texts()
    return made_of is not None and digest_of_sources() in (made_of, "")


@functools.cache
def digest_of_texts() -> str | None:
    """Return the digest of the sources that the texts were made of, None if there are no texts."""
    begin = head_of("")[:-1].decode()
    try:
        with ARCHIVE.open("rb") as file:
            line = file.read(len(begin) + 64)
    except OSError:
        line = (read(str(ARCHIVE)) or b"")[: len(begin) + 64]
    found = re.match(re.escape(begin) + '([0-9a-f]+)"', line.decode(errors="replace"))
    return found[1] if found else None


def head_of(digest: str) -> bytes:
    """Return how the file of texts begins that were made of certain sources."""
    return f'{{"sources":"{digest}"'.encode()


@functools.cache
def archive() -> Archive:
    """Return the texts."""
    return open_archive(read(str(ARCHIVE)) if are_current() else None)


def symbol_of(name: str) -> str:
    """Return the symbol of a function in its text."""
    return f"numbad_{name}"


def find(title: str) -> str | None:
    """Return the text of a function, fitted to this machine; None if there is none."""
    text = archive().find(title)
    return None if text is None else fit(text)


def fit(text: str) -> str:
    """Leave the vector functions out that this machine has not."""
    text = VARIANTS.sub(lambda found: keep_usable(found[1]), text)
    text = DECLARED.sub(lambda found: found[0] if is_usable(found[1]) else "", text)
    declared = DECLARED.findall(text)
    used = ", ".join(f"ptr @{symbol}" for symbol in declared)
    line = f'@llvm.compiler.used = appending global [{len(declared)} x ptr] [{used}], section "llvm.metadata"\n'
    return USED.sub(line if declared else "", text)


def keep_usable(mappings: str) -> str:
    """Return the attribute that maps a function to vector functions, with those alone that this machine has."""
    kept = [mapping for mapping in mappings.split(",") if is_usable(mapping[mapping.index("(") + 1 : -1])]
    return f' "vector-function-abi-variant"="{",".join(kept)}"' if kept else ""


@functools.cache
def host_machine() -> llvm.TargetMachine:
    """Return what compiles for this processor."""
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    name, features = processor()
    x86 = llvm.get_process_triple().startswith(("x86", "i686", "amd64"))
    return llvm.Target.from_triple(llvm.get_process_triple()).create_target_machine(
        cpu=name,
        features=features,
        opt=3,
        reloc="static" if x86 else "default",
        codemodel="jitdefault",
        jit=True,
    )


def compile_text(text: str, level: int = 3) -> bytes:
    """Optimise a text for this machine and return its machine code; RuntimeError if this LLVM cannot read the text.

    At level 1 that takes half as long. What is done with rows, and not with numbers, is as fast then.
    """
    machine = host_machine()
    module = llvm.parse_assembly(text)
    module.triple, module.data_layout = llvm.get_process_triple(), str(machine.target_data)
    options = llvm.create_pipeline_tuning_options(speed_level=level)
    options.loop_vectorization = options.loop_unrolling = level > 1
    options.slp_vectorization = False
    builder = llvm.create_pass_builder(machine, options)
    passes = builder.getModulePassManager()
    passes.run(module, builder)
    return bytes(machine.emit_object(module))
