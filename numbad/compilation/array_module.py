"""The functions of groups as one LLVM module: each text once, and a driver that calls them in the order of a plan."""

from __future__ import annotations

import re

from numbad.compilation.module import link_numbers
from numbad.compilation.nests import Kernel
from numbad.kernels.libmvec import versions

ENTRANCE = "numbad_arrays"
PLAN = 4  # numbers of an entry of a plan: which function, where its arguments are, start and stop
CALL = re.compile(r"(call double @(\w+)\((?:double [^,)]+(?:, )?)+\))")
HEAD = "define internal i64 @{name}(ptr noalias %arguments, i64 %start, i64 %stop) {{\nentry:\n{lines}\n}}\n"
DRIVER = """@functions = internal constant [{count} x ptr] [{names}]
define i64 @{entrance}(double %like, i64 %plan_at, i64 %begin, i64 %end) {{
entry:
  %plan = inttoptr i64 %plan_at to ptr
  br label %head
head:
  %turn = phi i64 [ %begin, %entry ], [ %next, %done ]
  %left = icmp ult i64 %turn, %end
  br i1 %left, label %run, label %all
run:
  %place = mul i64 %turn, 4
  %entry_at = getelementptr i64, ptr %plan, i64 %place
  %number = load i64, ptr %entry_at, align 8
  %arguments_at = getelementptr i64, ptr %entry_at, i64 1
  %arguments = load ptr, ptr %arguments_at, align 8
  %start_at = getelementptr i64, ptr %entry_at, i64 2
  %start = load i64, ptr %start_at, align 8
  %stop_at = getelementptr i64, ptr %entry_at, i64 3
  %stop = load i64, ptr %stop_at, align 8
  %function_at = getelementptr ptr, ptr @functions, i64 %number
  %function = load ptr, ptr %function_at, align 8
  %found = call i64 %function(ptr %arguments, i64 %start, i64 %stop)
  %stops = icmp ne i64 %found, 0
  br i1 %stops, label %stopped, label %done
done:
  %next = add nuw nsw i64 %turn, 1
  br label %head
stopped:
  ret i64 %found
all:
  ret i64 0
}}
"""
LOOP = """  br label %head
head:
  %turn = phi i64 [ %start, %entry ], [ %next, %head ]
{lines}
  %next = add nuw nsw i64 %turn, 1
  %more = icmp ult i64 %next, %stop
  br i1 %more, label %head, label %done
done:
  ret i64 0"""


def read_arguments(*names: str) -> str:
    """Return the lines that load arguments, as integers, under these names."""
    return "\n".join(
        f"  %{name}_at = getelementptr inbounds i64, ptr %arguments, i64 {k}\n"
        f"  %{name} = load i64, ptr %{name}_at, align 8"
        for k, name in enumerate(names)
    )


def element(name: str, base: str, index: str) -> str:
    """Return the line that says where an element of an array is."""
    return f"  %{name} = getelementptr double, ptr %{base}, i64 %{index}"


def listed(*lines: str) -> str:
    """Return the text of a loop over a list of places; what it does with %here and %there, the list's element."""
    pointers = "\n".join(f"  %{name} = inttoptr i64 %{name}_in to ptr" for name in ("list", "base", "block"))
    head = [
        "  %index_at = getelementptr i64, ptr %list, i64 %turn",
        "  %index = load i64, ptr %index_at, align 8",
        element("there", "base", "index"),
        element("here", "block", "turn"),
    ]
    return "\n".join(
        (read_arguments("list_in", "base_in", "block_in"), pointers, LOOP.format(lines="\n".join([*head, *lines])))
    )


def moved(source: str, target: str, adds: bool) -> str:
    """Return the text of a loop that copies numbers by a list of places, or adds them."""
    lines = [f"  %new = load double, ptr %{source}, align 8"]
    if adds:
        lines += [f"  %old = load double, ptr %{target}, align 8", "  %sum = fadd double %old, %new"]
    return listed(*lines, f"  store double %{'sum' if adds else 'new'}, ptr %{target}, align 8")


FILL = "\n".join(
    (
        read_arguments("block_in", "value"),
        "  %block = inttoptr i64 %block_in to ptr",
        LOOP.format(lines=element("here", "block", "turn") + "\n  store i64 %value, ptr %here, align 8"),
    )
)
FINITE = "\n".join(
    (
        read_arguments("block_in"),
        "  %block = inttoptr i64 %block_in to ptr",
        """  br label %head
head:
  %turn = phi i64 [ %start, %entry ], [ %next, %head ]
  %wrong = phi i64 [ 0, %entry ], [ %more, %head ]
  %here = getelementptr i64, ptr %block, i64 %turn
  %bits = load i64, ptr %here, align 8
  %masked = and i64 %bits, 9218868437227405312
  %infinite = icmp eq i64 %masked, 9218868437227405312
  %flag = zext i1 %infinite to i64
  %more = or i64 %wrong, %flag
  %next = add nuw nsw i64 %turn, 1
  %left = icmp ult i64 %next, %stop
  br i1 %left, label %head, label %done
done:
  ret i64 %more""",
    )
)
GATHERED, GATHER_ADDED, SCATTERED = (
    moved("there", "here", False),
    moved("there", "here", True),
    moved("here", "there", True),
)
PRODUCT_ARGUMENTS = ("function_in", "words", "w", "out", "t", "one", "u", "other", "v")
PRODUCT = "\n".join(
    (
        read_arguments(*PRODUCT_ARGUMENTS),
        "  %function = inttoptr i64 %function_in to ptr",
        "  %done = call i64 %function(double 0.0, "
        + ", ".join(f"i64 %{name}" for name in PRODUCT_ARGUMENTS[1:])
        + ")\n  ret i64 0",
    )
)


class ArrayModule:
    """Collects the functions of groups.

    Attributes
    ----------
    numbers : dict
        The number of each text.
    called : set of str
        The functions of numbers that they call.
    """

    def __init__(self) -> None:
        self.numbers: dict[str, int] = {}
        self.called: set[str] = set()

    def add(self, text: str) -> int:
        """Return the number of a function that has this text."""
        return self.numbers.setdefault(text, len(self.numbers))

    def add_kernel(self, kernel: Kernel) -> int:
        """Return the number of the function of a group."""
        self.called |= kernel.called
        return self.add(kernel.text)

    def write(self) -> str:
        """Return the module."""
        parts = []
        for text, k in self.numbers.items():
            body = text.replace("!ACCESS", f"!{3 * k}").replace("!LOOP", f"!{3 * k + 1}")
            parts.append(HEAD.format(name=f"group{k}", lines=body))
            parts.append(f"!{3 * k} = distinct !{{}}\n!{3 * k + 1} = distinct !{{!{3 * k + 1}, !{3 * k + 2}}}\n")
            parts.append(f'!{3 * k + 2} = !{{!"llvm.loop.parallel_accesses", !{3 * k}}}\n')
        names = ", ".join(f"ptr @group{k}" for k in range(len(self.numbers)))
        parts.append(DRIVER.format(count=len(self.numbers), names=names, entrance=ENTRANCE))
        return "".join(parts) + attach_vectors(link_numbers(self.called))


def attach_vectors(text: str) -> str:
    """Let LLVM call the vector versions of functions of libm, and put functions of numbers where they are called."""
    declared: dict[str, str] = {}

    def attach(found: re.Match[str]) -> str:
        name = found[2]
        usable = versions(name, 8, found[1].count("double ") - 1)
        for _, symbol, lanes in usable:
            kinds = ", ".join([f"<{lanes} x double>"] * (found[1].count("double ") - 1))
            declared[symbol] = f"declare <{lanes} x double> @{symbol}({kinds})"
        mappings = ",".join(mapping for mapping, _, _ in usable)
        return f'{found[1]} "vector-function-abi-variant"="{mappings}"' if mappings else found[1]

    text = CALL.sub(attach, text)
    text = re.sub(
        r"(define internal double @\w+\([^)]*\)) local_unnamed_addr", r"\1 local_unnamed_addr alwaysinline", text
    )
    if not declared:
        return text
    used = ", ".join(f"ptr @{symbol}" for symbol in declared)
    kept = f'@llvm.compiler.used = appending global [{len(declared)} x ptr] [{used}], section "llvm.metadata"\n'
    return text + "\n".join(declared.values()) + "\n" + kept
