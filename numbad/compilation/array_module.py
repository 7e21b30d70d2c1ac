"""The functions of groups as one LLVM module: each text once, and a driver that calls them in the order of a plan."""

from __future__ import annotations

import dataclasses
import functools
import itertools
import re
from collections.abc import Iterator

from numbad.compilation.module import FILL, link_numbers
from numbad.kernels.libmvec import versions

ENTRANCE = "numbad_arrays"
PLAN = 4  # numbers of an entry of a plan: which function, where its arguments are, start and stop
CALL = re.compile(r"(call double @(\w+)\((?:double [^,)]+(?:, )?)+\))")
EXTREMES = re.compile(r"@(llvm\.(?:maximum|minimum)\.f\d\d)\(")
POINTS = re.compile(r"!POINTS(\d+)!")  # loops over points, in texts of lanes
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
LOOK = """  br label %head
head:
  %turn = phi i64 [ %start, %entry ], [ %next, %head ]
  %wrong = phi i64 [ 0, %entry ], [ %more, %head ]
  %here = getelementptr {bits}, ptr %block, i64 %turn
  %found = load {bits}, ptr %here, align 4
  %masked = and {bits} %found, {infinite}
  %is_infinite = icmp eq {bits} %masked, {infinite}
  %flag = zext i1 %is_infinite to i64
  %more = or i64 %wrong, %flag
  %next = add nuw nsw i64 %turn, 1
  %left = icmp ult i64 %next, %stop
  br i1 %left, label %head, label %done
done:
  ret i64 %more"""
EXTREME = """  br label %head
head:
  %turn = phi i64 [ %start, %entry ], [ %next, %done ]
  %first = mul nsw i64 %turn, {length}
  %row = getelementptr {kind}, ptr %source, i64 %first
  %begin = load {kind}, ptr %row, align 4
  br label %search
search:
  %k = phi i64 [ 0, %head ], [ %after, %search ]
  %so_far = phi {kind} [ %begin, %head ], [ %best, %search ]
  %here = getelementptr {kind}, ptr %row, i64 %k
  %x = load {kind}, ptr %here, align 4
  %best = call {kind} @{function}({kind} %so_far, {kind} %x)
  %after = add nuw nsw i64 %k, 1
  %more = icmp ult i64 %after, {length}
  br i1 %more, label %search, label %done
done:
  %there = getelementptr {kind}, ptr %out, i64 %turn
  store {kind} %best, ptr %there, align 4
  %next = add nuw nsw i64 %turn, 1
  %left = icmp ult i64 %next, %stop
  br i1 %left, label %head, label %end
end:
  ret i64 0"""
SHARE = """  br label %head
head:
  %turn = phi i64 [ %start, %entry ], [ %next, %done ]
  %first = mul nsw i64 %turn, {length}
  %row = getelementptr {kind}, ptr %source, i64 %first
  %row_bar = getelementptr {kind}, ptr %source_bar, i64 %first
  %best_at = getelementptr {kind}, ptr %out, i64 %turn
  %best = load {kind}, ptr %best_at, align 4
  %nowhere = fcmp uno {kind} %best, %best
  %bar_at = getelementptr {kind}, ptr %out_bar, i64 %turn
  %bar = load {kind}, ptr %bar_at, align 4
  br label %search
search:
  %k = phi i64 [ 0, %head ], [ %k_after, %search ]
  %ties = phi i64 [ 0, %head ], [ %ties_after, %search ]
  %k_at = getelementptr {kind}, ptr %row, i64 %k
  %k_x = load {kind}, ptr %k_at, align 4
  %k_equal = fcmp oeq {kind} %k_x, %best
  %k_nan = fcmp uno {kind} %k_x, %k_x
  %k_both = and i1 %k_nan, %nowhere
  %k_hit = or i1 %k_equal, %k_both
  %k_one = zext i1 %k_hit to i64
  %ties_after = add i64 %ties, %k_one
  %k_after = add nuw nsw i64 %k, 1
  %k_more = icmp ult i64 %k_after, {length}
  br i1 %k_more, label %search, label %found
found:
  %parts = uitofp i64 %ties_after to {kind}
  %part = fdiv {kind} %bar, %parts
  br label %give
give:
  %i = phi i64 [ 0, %found ], [ %i_after, %give ]
  %at = getelementptr {kind}, ptr %row, i64 %i
  %x = load {kind}, ptr %at, align 4, !llvm.access.group !ACCESS
  %equal = fcmp oeq {kind} %x, %best
  %nan = fcmp uno {kind} %x, %x
  %both = and i1 %nan, %nowhere
  %hit = or i1 %equal, %both
  %share = select i1 %hit, {kind} %part, {kind} -0.0
  %given_at = getelementptr {kind}, ptr %row_bar, i64 %i
  %given = load {kind}, ptr %given_at, align 4, !llvm.access.group !ACCESS
  %sum = fadd {kind} %given, %share
  store {kind} %sum, ptr %given_at, align 4, !llvm.access.group !ACCESS
  %i_after = add nuw nsw i64 %i, 1
  %i_more = icmp ult i64 %i_after, {length}
  br i1 %i_more, label %give, label %done, !llvm.loop !LOOP
done:
  %next = add nuw nsw i64 %turn, 1
  %left = icmp ult i64 %next, %stop
  br i1 %left, label %head, label %end
end:
  ret i64 0"""
PRODUCT_ARGUMENTS = ("function_in", "words", "w", "out", "t", "one", "u", "other", "v")


def read_arguments(*names: str) -> str:
    """Return the lines that load arguments, as integers, under these names."""
    return "\n".join(
        f"  %{name}_at = getelementptr inbounds i64, ptr %arguments, i64 {k}\n"
        f"  %{name} = load i64, ptr %{name}_at, align 8"
        for k, name in enumerate(names)
    )


def pointers(*names: str) -> str:
    """Return the lines that make pointers of arguments."""
    return "\n".join(f"  %{name} = inttoptr i64 %{name}_in to ptr" for name in names)


@dataclasses.dataclass(frozen=True)
class Texts:
    """The texts of functions that are the same for all paths, in double or single precision.

    Attributes
    ----------
    single : bool
    """

    single: bool = False

    @property
    def kind(self) -> str:
        """LLVM's name of a number."""
        return "float" if self.single else "double"

    @property
    def bits(self) -> str:
        """LLVM's name of a whole number of its size."""
        return "i32" if self.single else "i64"

    @functools.cached_property
    def fill(self) -> str:
        """A block is set to a number, which is given by its bits."""
        lines = [
            f"  %here = getelementptr {self.kind}, ptr %block, i64 %turn",
            f"  %bits = trunc i64 %value to {self.bits}" if self.single else "  %bits = add i64 %value, 0",
            f"  store {self.bits} %bits, ptr %here, align 4",
        ]
        head = read_arguments("block_in", "value"), pointers("block")
        return "\n".join((*head, LOOP.format(lines="\n".join(lines))))

    @functools.cached_property
    def look(self) -> str:
        """1 is returned where a number of a block is not finite."""
        infinite = 0x7F800000 if self.single else 0x7FF0000000000000
        text = LOOK.format(bits=self.bits, infinite=infinite)
        return "\n".join((read_arguments("block_in"), pointers("block"), text))

    def move(self, source: str, target: str, adds: bool) -> str:
        """Numbers are copied, or added, between a block (here) and listed places (there)."""
        lines = [
            "  %index_at = getelementptr i64, ptr %list, i64 %turn",
            "  %index = load i64, ptr %index_at, align 8",
            f"  %there = getelementptr {self.kind}, ptr %base, i64 %index",
            f"  %here = getelementptr {self.kind}, ptr %block, i64 %turn",
            f"  %new = load {self.kind}, ptr %{source}, align 4",
        ]
        if adds:
            lines += [
                f"  %old = load {self.kind}, ptr %{target}, align 4",
                f"  %sum = fadd {self.kind} %old, %new",
            ]
        lines.append(f"  store {self.kind} %{'sum' if adds else 'new'}, ptr %{target}, align 4")
        head = read_arguments("list_in", "base_in", "block_in"), pointers("list", "base", "block")
        return "\n".join((*head, LOOP.format(lines="\n".join(lines))))

    @functools.cached_property
    def gather(self) -> str:
        """Listed places are read into a block."""
        return self.move("there", "here", False)

    @functools.cached_property
    def add_gathered(self) -> str:
        """What listed places hold is added to a block."""
        return self.move("there", "here", True)

    @functools.cached_property
    def scatter(self) -> str:
        """A block is added to listed places, which may repeat."""
        return self.move("here", "there", True)

    def extreme(self, greatest: bool, length: int, back: bool) -> str:
        """The largest or smallest of every so many numbers; going back, those that attain it share its cotangent."""
        names = ["source", "out", "out_bar", "source_bar"] if back else ["source", "out"]
        text = SHARE if back else EXTREME
        head = read_arguments(*(f"{name}_in" for name in names)), pointers(*names)
        function = f"llvm.{'maximum' if greatest else 'minimum'}.f{32 if self.single else 64}"
        return "\n".join((*head, text.format(length=length, kind=self.kind, function=function)))

    @functools.cached_property
    def product(self) -> str:
        """Two matrices are multiplied by the function of `kernels.products`."""
        given = ", ".join(f"i64 %{name}" for name in PRODUCT_ARGUMENTS[1:])
        call = f"  %done = call i64 %function({self.kind} 0.0, {given})\n  ret i64 0"
        return "\n".join((read_arguments(*PRODUCT_ARGUMENTS), pointers("function"), call))


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

    def add_kernel(self, text: str, called: frozenset[str]) -> int:
        """Return the number of a function that calls functions of numbers."""
        self.called |= called
        return self.add(text)

    def write(self) -> str:
        """Return the module."""
        parts = []
        marks = itertools.count(3 * len(self.numbers))
        for text, k in self.numbers.items():
            body, more = mark_loops(text.replace("!GROUP", str(k)), 3 * k + 2, marks)
            body = body.replace("!ACCESS", f"!{3 * k}").replace("!LOOP", f"!{3 * k + 1}")
            parts.append(HEAD.format(name=f"group{k}", lines=body))
            parts.append(f"!{3 * k} = distinct !{{}}\n!{3 * k + 1} = distinct !{{!{3 * k + 1}, !{3 * k + 2}}}\n")
            parts.append(f'!{3 * k + 2} = !{{!"llvm.loop.parallel_accesses", !{3 * k}}}\n{more}')
        if any("@fill(" in text for text in self.numbers):
            parts.append(FILL)
        names = ", ".join(f"ptr @group{k}" for k in range(len(self.numbers)))
        parts.append(DRIVER.format(count=len(self.numbers), names=names, entrance=ENTRANCE))
        numbers = attach_vectors(link_numbers(self.called))
        for name in sorted({name for text in self.numbers for name in EXTREMES.findall(text)}):
            if f" @{name}(" not in numbers:
                kind = "float" if name.endswith("f32") else "double"
                parts.append(f"declare {kind} @{name}({kind}, {kind})\n")
        return "".join(parts) + numbers


def mark_loops(text: str, parallel: int, marks: Iterator[int]) -> tuple[str, str]:
    """Return a text whose loops over points have marks of their own, and what these mean.

    No other iteration reads or writes where one does (`parallel` is the number of the mark that says so), and what is
    unrolled already as far as registers are wide is not unrolled again.
    """
    numbers = {name: next(marks) for name in dict.fromkeys(POINTS.findall(text))}
    lines = [f'!{k} = distinct !{{!{k}, !{parallel}, !{{!"llvm.loop.unroll.disable"}}}}\n' for k in numbers.values()]
    return POINTS.sub(lambda found: f"!{numbers[found[1]]}", text), "".join(lines)


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
