"""Make the LLVM texts of all compiled functions: `python -m numbad.kernels.make_texts` writes `generated/texts`.

Numba translates each function without optimising it and without regard to a processor; what it takes of LLVM's passes
here moves variables into registers and puts small functions into their callers, so that the texts are short.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import llvmlite.binding as llvm

from numbad.kernels import libmvec, texts
from numbad.kernels.archives import pack
from numbad.kernels.loading import list_functions
from numbad.kernels.sources import digest_of_sources
from numbad.kernels.switches import INTEGERS, count_integers, dtypes_of, source_of

# Numba reads these when it is imported: no optimisation, and no processor in particular.
SETTINGS = {
    "NUMBA_OPT": "0",
    "NUMBA_LOOP_VECTORIZE": "0",
    "NUMBA_SLP_VECTORIZE": "0",
    "NUMBA_CPU_NAME": "generic",
    "NUMBA_CPU_FEATURES": "",
    "NUMBA_DISABLE_JIT": "0",
}
COUNTING = re.compile(r"^ *(?:tail )?call .*@\"?NRT_(?:incref|decref)\"?\(.*\n", re.MULTILINE)  # views are not counted
FIRST_NODE = 1000  # of metadata that are added; LLVM numbers its own from 0
APART = "{ noinline }"  # the C function's call of the one that it wraps
LIFETIMES = re.compile(r"^ *call void @llvm\.lifetime\..*\n|^declare void @llvm\.lifetime\..*\n", re.MULTILINE)
HEAD = re.compile(r"^(?:target |source_filename|; ModuleID).*\n", re.MULTILINE)
COMMENT = re.compile(r"[ \t]*;[^\n\"]*$", re.MULTILINE)
MANGLED = re.compile(
    r'!?"_Z[^"\n]*numbad[^"\n]*"|_ZN?\d\w*numbad[\w.$]*'
)  # Numba's names of functions, blocks and scopes
# Facts that LLVM found out, in words that older versions of it do not know: it finds them again.
NEWS = re.compile(
    r" (?:memory\((?!none\))[\w: ,]*\)|captures\([\w, ]*\)|initializes\(\([\d, ()-]*\)\)"
    r"|nocreateundeforpoison|dead_on_return|dead_on_unwind"
    r"|samesign|nneg|range\(i\d+ -?\d+, -?\d+\)|nofpclass\([\w ]*\))"
)
FLAGS = re.compile(r"\b(getelementptr inbounds|getelementptr|trunc)(?: nuw| nusw| nsw)+|\bor disjoint\b")


def translate(name: str, dtype: str) -> tuple[str, str]:
    """Return Numba's text of a function, and the symbol that it has there."""
    import numba
    import numpy as np

    number = numba.from_dtype(np.dtype(dtype))
    signature = numba.int64(number, *[numba.int64] * count_integers(name))
    compiled: Any = numba.cfunc(signature, error_model="numpy")(source_of(name))
    return str(compiled._library._final_module), compiled._wrapper_name


def shorten(text: str, symbol: str, name: str) -> str:
    """Return a text with its variables in registers and its small functions in their callers, for any machine."""
    text = COUNTING.sub("", text).replace(APART, "{ nounwind }").replace(symbol, texts.symbol_of(name))
    module = llvm.parse_assembly(text)
    for function in module.functions:
        if not function.is_declaration and function.name != texts.symbol_of(name):
            function.linkage = "internal"
    for variable in module.global_variables:
        if variable.linkage == llvm.Linkage.common:  # what Numba knows of the functions in Python
            variable.linkage = "internal"
    options = llvm.create_pipeline_tuning_options(speed_level=1)
    options.loop_vectorization = options.slp_vectorization = False
    options.loop_unrolling = options.loop_interleaving = False
    machine = llvm.Target.from_default_triple().create_target_machine(cpu="generic", features="", opt=1)
    builder = llvm.create_pass_builder(machine, options)
    builder.getModulePassManager().run(module, builder)
    return str(module)


def clean(text: str) -> str:
    """Leave out what names a machine, what older versions of LLVM cannot read, and long names."""
    text = LIFETIMES.sub("", COMMENT.sub("", HEAD.sub("", text)))
    text = FLAGS.sub(lambda found: found[1] or "or", NEWS.sub("", text))
    known: dict[str, str] = {}
    text = MANGLED.sub(lambda found: known.setdefault(found[0], name_anew(found[0], len(known))), text)
    return re.sub(r"\n{2,}", "\n", text).strip() + "\n"


def name_anew(found: str, number: int) -> str:
    """Return a short name for a long one; names of metadata are quoted."""
    return f'!"f{number}"' if found.startswith("!") else f"f{number}"


BRANCH = re.compile(r"label %([\w.$]+)")
ACCESS = re.compile(r"^ +(?:%[\w.]+ = load|store) .*")


def free_loops(text: str) -> str:
    """Say of the loops over elements in a function of one op that no element has to do with another.

    Else LLVM compares addresses before each loop, and takes numbers one by one where two runs lie close together: then
    libm's functions are called in place of the vector functions, and bits depend on where memory happens to be.
    """
    head, begin, rest = text.partition("define ") if text.startswith("define ") else text.partition("\ndefine ")
    bodies = re.split(r"(?m)^(?=define )", (begin + rest).lstrip("\n"))
    group = FIRST_NODE
    loops: list[int] = []
    for k, body in enumerate(bodies):
        if "@numbad_" in body.split("(")[0] and " alloca " not in body:
            bodies[k] = mark_accesses(body, group, loops)
    nodes = [f"!{group} = distinct !{{}}"]
    for loop in loops:
        nodes.append(f"!{loop} = distinct !{{!{loop}, !{loop + 1}}}")
        nodes.append(f'!{loop + 1} = !{{!"llvm.loop.parallel_accesses", !{group}}}')
    return head + ("\n" if head else "") + "".join(bodies).rstrip("\n") + "\n" + "\n".join(nodes) + "\n"


def mark_accesses(body: str, group: int, loops: list[int]) -> str:
    """Return a function whose loads and stores are of a group of accesses, and whose loops say that these are free."""
    lines, seen = [], set()
    for line in body.split("\n"):
        label = re.match(r"([\w.$]+):", line)
        if label:
            seen.add(label[1])
        elif ACCESS.match(line):
            line += f", !llvm.access.group !{group}"
        elif line.lstrip().startswith("br ") and seen & set(BRANCH.findall(line)):
            loops.append(group + 1 + 2 * len(loops))
            line += f", !llvm.loop !{loops[-1]}"
        lines.append(line)
    return "\n".join(lines)


def check(text: str, name: str) -> None:
    """Raise if a function would need more of a machine than LLVM and libm."""
    wrong = re.findall(r"^declare .*@(NRT_\w*[Aa]lloc\w*)", text, re.MULTILINE)
    if wrong:
        raise AssertionError(f"{name} allocates memory: it calls {', '.join(wrong)}")


def make(name: str, dtype: str) -> str:
    """Return the text of a function in one precision."""
    text = clean(shorten(*translate(name, dtype), name))
    if name not in INTEGERS:
        text = free_loops(text)
    check(text, name)
    llvm.parse_assembly(text).verify()
    return text


def make_all(dtypes: list[str]) -> dict[str, str]:
    """Return the texts of all functions of some dtypes."""
    return {
        f"{name}_{dtype}": make(name, dtype)
        for name in list_functions()
        for dtype in dtypes_of(name)
        if dtype in dtypes
    }


def settings_of_makers() -> dict[str, str]:
    """Return the environment of processes that make texts: Numba reads its settings when it is imported."""
    return {**os.environ, **SETTINGS, "PYTHONPATH": os.pathsep.join([str(Path(__file__).parents[2]), *sys.path])}


def run_apart(name: str) -> None:
    """Run a module that makes texts, in a process of its own."""
    subprocess.run([sys.executable, "-m", name, "now"], env=settings_of_makers(), check=True)


def main() -> None:
    """Write the texts, where they are not of the sources as they are: each precision in a process of its own."""
    if len(sys.argv) > 1:
        libmvec.name_for_all_machines()
        sys.stdout.write(json.dumps(make_all(sys.argv[1:])))
        return
    environment = settings_of_makers()
    command = [sys.executable, "-m", __spec__.name if __spec__ else __name__]
    running = [
        subprocess.Popen([*command, *dtypes], env=environment, stdout=subprocess.PIPE, text=True)
        for dtypes in (["float64"], ["float32", "int64"])
    ]
    found: dict[str, str] = {}
    for process in running:
        answer = process.communicate()[0]
        if process.returncode:
            raise SystemExit(process.returncode)
        found |= json.loads(answer)
    texts.ARCHIVE.write_bytes(pack(found, digest_of_sources()))
    print(f"wrote {texts.ARCHIVE}: {len(found)} texts, {texts.ARCHIVE.stat().st_size} bytes")


if __name__ == "__main__":
    main()
