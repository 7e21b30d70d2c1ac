"""Generate the compiled sweeps from the ops' blocks: `python -m numbad.kernels.generate` writes five files.

`generated/opcodes.py` names the opcodes. Each op's text is put into one arm of a switch, with the reads of its operands
before it. In the scalar machine (`generated/scalar.py`), and in functions of numbers for tapes that are compiled
themselves (`generated/numbers.py`), `where` becomes a conditional; in the block kernels
(`generated/blocks.py`) and in the sweeps of points (`generated/points.py`) it becomes a select and literals take the
dtype of the arrays, so that LLVM vectorises the loop.
"""

from __future__ import annotations

import ast
import builtins
import copy
import math
import re
from pathlib import Path
from typing import Any

from numbad.kernels.vectormath import FUNCTIONS
from numbad.ops import REGISTRY
from numbad.ops.definition import Op, absences, body, names_of
from numbad.ops.texts import unit_partials

HERE = Path(__file__).parent / "generated"
LIBRARY = {*FUNCTIONS, "absent", "held", "number", "rows_of", "select", "view"}  # of vectormath


class Translator(ast.NodeTransformer):
    """Turn the text of one op into text for a compiled arm."""

    def __init__(self, function: Any, prefix: str, kernel: bool) -> None:
        self.globals = function.__globals__
        self.function = function
        self.prefix = prefix
        self.kernel = kernel
        self.locals: set[str] = set()
        self.calls: set[Op] = set()

    def visit_Name(self, node: ast.Name) -> ast.expr:
        if node.id in ("x", "y", "z"):
            return node
        if isinstance(node.ctx, ast.Store) or node.id in self.locals:
            self.locals.add(node.id)
            return ast.Name(self.prefix + node.id, node.ctx)
        value = self.globals.get(node.id)
        if isinstance(value, (int, float)):
            return self.literal(float(value))
        if node.id == "abs":
            return node
        raise NameError(f"{self.function.__code__.co_filename}: {self.function.__name__} uses {node.id}")

    def visit_Constant(self, node: ast.Constant) -> ast.expr:
        return self.literal(float(node.value))  # type: ignore[arg-type]

    def literal(self, value: float) -> ast.expr:
        text = repr(value) if math.isfinite(value) else {math.inf: "INF", -math.inf: "-INF"}.get(value, "NAN")
        return ast.parse(f"number({text}, x)" if self.kernel else text, mode="eval").body

    def visit_UnaryOp(self, node: ast.UnaryOp) -> ast.expr:
        if isinstance(node.op, ast.USub) and isinstance(node.operand, ast.Constant):
            return self.literal(-float(node.operand.value))  # type: ignore[arg-type]
        return ast.UnaryOp(node.op, self.visit(node.operand))

    def visit_BinOp(self, node: ast.BinOp) -> ast.expr:
        left, right = self.visit(node.left), self.visit(node.right)
        if isinstance(node.op, ast.Pow):
            return call("power", left, right)
        return ast.BinOp(left, node.op, right)

    def visit_Attribute(self, node: ast.Attribute) -> ast.expr:
        assert isinstance(node.value, ast.Name)
        value = getattr(self.globals[node.value.id], node.attr)
        return self.literal(float(value))

    def visit_Call(self, node: ast.Call) -> ast.expr:
        arguments = [self.visit(argument) for argument in node.args]
        assert isinstance(node.func, (ast.Attribute, ast.Name))
        name = node.func.attr if isinstance(node.func, ast.Attribute) else node.func.id
        target = self.globals.get(name) if isinstance(node.func, ast.Name) else None
        if name == "as_is":
            return arguments[0]
        if name == "absent":
            return call("absent", *arguments)
        if name == "where":
            if self.kernel:
                return call("select", *arguments)
            return ast.IfExp(arguments[0], arguments[1], arguments[2])
        if isinstance(target, Op):
            self.calls.add(target)
            return call("op_" + name, *arguments)
        if isinstance(node.func, ast.Name) and hasattr(builtins, name):
            return call(name, *arguments)
        return call(name if name in FUNCTIONS else "math.sqrt" if name == "sqrt" else "np." + name, *arguments)


def call(name: str, *arguments: ast.expr) -> ast.Call:
    """Return the tree of a call."""
    return ast.Call(ast.parse(name, mode="eval").body, list(arguments), [])


def translate(function: Any, prefix: str, kernel: bool, targets: tuple[str, ...]) -> tuple[list[str], set[Op]]:
    """Return an op's text as lines that assign its results to `targets`, and the ops it calls."""
    assignments, value = body(function)
    translator = Translator(function, prefix, kernel)
    lines = []
    for statement in assignments:
        statement = copy.deepcopy(statement)
        assert isinstance(statement, ast.Assign)
        expression = translator.visit(statement.value)
        target = translator.visit(statement.targets[0])
        lines.append(f"{ast.unparse(target)} = {ast.unparse(ast.fix_missing_locations(expression))}")
    parts = value.elts if isinstance(value, ast.Tuple) else [value]
    for target, part in zip(targets, parts, strict=True):
        lines.append(f"{target} = {ast.unparse(ast.fix_missing_locations(translator.visit(part)))}")
    return lines, translator.calls


def translate_partials(op: Op, kernel: bool) -> tuple[list[str], set[Op]]:
    """Return the text of an op's partials as `translate` does; a computed zero becomes +0.0, for -0.0 is absent."""
    targets = ("p", "q")[: op.arity]
    lines, calls = translate(op.partials_function, f"{op.name}_", kernel, targets)
    value = body(op.partials_function)[1]
    parts = value.elts if isinstance(value, ast.Tuple) else [value]
    for target, part, may_be_absent in zip(targets, parts, absences(op), strict=True):
        if not may_be_absent and not is_number(part):
            like = "x" if kernel else "like"  # rounded to the dtype first, for that makes zeros too
            lines.append(f"{target} = number({target}, {like}) + number(0.0, {like})")
    return lines, calls


def indent(lines: list[str], depth: int) -> list[str]:
    """Indent lines by `depth` steps of four blanks."""
    return ["    " * depth + line for line in lines]


def reads(op: Op, wanted: set[str], scalar: bool) -> list[str]:
    """Return the lines that read the operands of an arm."""
    if scalar:
        places = {"x": "np.float64(values[code[i, A]])", "y": "np.float64(values[code[i, B]])"}
    else:
        places = {"x": "xs[i]", "y": "ys[i]", "z": "zs[i]"}
    return [f"{name} = {place}" for name, place in places.items() if name in wanted]


def scalar_arm(op: Op, partials: bool, calls: set[Op]) -> list[str]:
    """Return the arm of one op in the scalar machine."""
    lines, used = translate(op.primal, f"{op.name}_", False, ("z",))
    calls |= used
    lines = reads(op, {"x", "y"}, True) + lines + ["values[code[i, OUT]] = z"]
    if op.arity == 1:
        lines = [line for line in lines if not line.startswith("y = np.float64")]
    if partials:
        targets = ("p", "q")[: op.arity]
        more, used = translate_partials(op, False)
        calls |= used
        lines += more + [f"partials[i, {'PQ'[k]}] = {name}" for k, name in enumerate(targets)]
        if op.arity == 1:
            lines.append("partials[i, Q] = -0.0")
    return lines


def kernel_arm(op: Op, partials: bool, calls: set[Op]) -> list[str]:
    """Return the arm of one op in a block kernel: one loop."""
    if not partials:
        lines, used = translate(op.primal, f"{op.name}_", True, ("z",))
        calls |= used
        loop = reads(op, set(names_of(op.primal)), False) + lines + ["zs[i] = z"]
    else:
        targets = ("p", "q")[: op.arity]
        lines, used = translate_partials(op, True)
        calls |= used
        wanted = set(names_of(op.partials_function)) | {"x"}
        loop = reads(op, wanted, False) + lines + [f"{name}s[i] = {name}" for name in targets]
    return ["for i in range(n):", *indent(loop, 1)]


def switch(ops: list[Op], arm: Any) -> list[str]:
    """Return an if-chain over opcodes, which LLVM turns into a jump table."""
    lines = []
    for k, op in enumerate(ops):
        lines.append(f"{'if' if k == 0 else 'elif'} opcode == {constant(op)}:")
        lines += indent(arm(op), 1)
    return lines


def constant(op: Op) -> str:
    """Return the name of an op's opcode."""
    return op.name.upper()


def helper_functions(calls: set[Op], kernel: bool) -> list[str]:
    """Return the ops that other ops' texts call, as compiled functions."""
    done: set[Op] = set()
    blocks: list[list[str]] = []
    while calls - done:
        op = min(calls - done, key=lambda op: op.opcode)
        lines, used = translate(op.primal, "", kernel, ("z",))
        calls |= used
        done.add(op)
        head = ["@njit(error_model='numpy', inline='never')", f"def op_{op.name}({', '.join(names_of(op.primal))}):"]
        blocks.append([*head, *indent([*lines, "return z"], 1), "", ""])
    return [line for block in reversed(blocks) for line in block]


def headed(purpose: str, lines: list[str]) -> str:
    """Return the text of a generated file: its head, with imports of what the lines call, and the lines."""
    text = "\n".join(lines)
    library = [f"    {name}," for name in sorted(LIBRARY & set(re.findall(r"(?<![.\w])\w+(?=\()", text)))]
    head = [
        f'"""{purpose}',
        "",
        "Generated by `python -m numbad.kernels.generate` from numbad/ops; do not edit.",
        '"""',
        "# ruff: noqa",
        "# mypy: ignore-errors",
        "",
        "import math",
        "",
        "import numpy as np",
        "from numba import njit",
        "",
        "from numbad.kernels.generated.opcodes import *",
        "from numbad.kernels.vectormath import (",
        *library,
        ")",
        "from numbad.tape import layout",
        "",
        "INF = math.inf",
        "NAN = math.nan",
        "",
        "",
    ]
    return "\n".join(head) + text


def opcodes_text() -> str:
    """Return the text of `generated/opcodes.py`: a name for each opcode, in the order of registration."""
    names = "".join(f"    {constant(op)},\n" for op in REGISTRY)
    return f'''"""The opcodes of the ops.

Generated by `python -m numbad.kernels.generate` from numbad/ops; do not edit.
"""

OPS = {len(REGISTRY)}  # how many there are
(
{names}) = range(OPS)
'''


def compiled_ops() -> list[Op]:
    """Return the ops that the compiled sweeps hold."""
    return [op for op in REGISTRY if not op.host]


MACHINE = '''OUT, A, B = np.uint64(1), np.uint64(2), np.uint64(3)
P, Q = np.uint64(0), np.uint64(1)


def {name}(like, code_at, values_at, {partials_at}start, stop):
    """{doc}"""
    code = rows_of(view(np.uint64(code_at), 4 * stop, np.uint32(0)), 4)
    values = view(np.uint64(values_at), layout.WHOLE, like)
{partials_line}    for i in range(np.uint64(start), np.uint64(stop)):
        opcode = code[i, np.uint64(0)]
{arms}
        elif opcode == layout.GUARD:
            if (values[code[i, A]] != 0.0) != (code[i, OUT] != 0):
                return np.int64(i)
        elif opcode == layout.GUARD_VALUE:
            x = values[code[i, A]]
            y = values[code[i, OUT]]
            if not (x == y or (x != x and y != y)):
                return np.int64(i)
        else:
            return np.int64(i)
    return np.int64(stop)


'''


def machine_text() -> str:
    """Return the text of `kernels/generated/scalar.py`."""
    calls: set[Op] = set()
    ops = compiled_ops()
    functions = []
    for name, partials, doc in (
        ("primal", False, "Compute the values of scalar rows; return the first row that is not done."),
        ("linearise", True, "Compute values and partials of scalar rows; return the first row that is not done."),
    ):
        arms = switch(ops, lambda op, partials=partials: scalar_arm(op, partials, calls))
        functions.append(
            MACHINE.format(
                name=name,
                doc=doc,
                partials_at="partials_at, " if partials else "",
                partials_line="    partials = rows_of(view(np.uint64(partials_at), 2 * stop, like), 2)\n"
                if partials
                else "",
                arms="\n".join(indent(arms, 2)),
            )
        )
    text = "\n".join(functions).replace("\n\n\n\n", "\n\n\n").rstrip() + "\n"
    lines = [*helper_functions(calls, False), text]
    return headed("The scalar machine: one arm for each op.", lines)


UNITS = """# Partials that are 1 or -1 whatever the operands, 0 for others: the adjoint sweep does not compute them.
UNITS = np.zeros((OPS, 2), np.int8)"""
KERNEL = '''

def {name}(like, {arguments}):
    """{doc}"""
{lines}
    return np.int64(0)
'''


def function(name: str, arguments: list[str], doc: str, lines: list[str]) -> str:
    """Return the text of a function that is compiled for itself."""
    return KERNEL.format(name=name, arguments=", ".join(arguments), doc=doc, lines="\n".join(indent(lines, 1)))


def used(names: str, lines: list[str]) -> list[str]:
    """Return those of some names that lines of code use."""
    return [name for name in names.split() if any(re.search(rf"\b{name}\b", line) for line in lines)]


def block_function(op: Op, partials: bool, calls: set[Op]) -> str:
    """Return the function that computes an op, or its partials, of runs of elements."""
    runs = "ps qs xs ys zs" if partials else "zs xs ys"
    arm = kernel_arm(op, partials, calls) if not partials or op.smooth else STEP
    views = [f"{name} = view(np.uint64({name}_at), n, like)" for name in used(runs, arm)]
    what = f"Compute the partials of {op.name}" if partials else f"Compute {op.name}"
    arguments = [f"{name}_at" for name in runs.split()]
    return function(
        f"{'partials' if partials else 'block'}_{op.name}", [*arguments, "n"], f"{what} of n elements.", [*views, *arm]
    )


STEP = ["for i in range(n):", "    ps[i] = -0.0", "    qs[i] = -0.0"]  # the partials of an op without any


def kernels_text() -> str:
    """Return the text of `kernels/generated/blocks.py`."""
    calls: set[Op] = set()
    functions = [block_function(op, partials, calls) for op in compiled_ops() for partials in (False, True)]
    units = [f"UNITS[{constant(op)}] = {unit_partials(op)}" for op in REGISTRY if any(unit_partials(op))]
    lines = [*helper_functions(calls, True), "".join(functions).strip("\n"), "", "", UNITS, *units, ""]
    return headed("The block kernels: for each op a loop over its values, and one over its partials.", lines)


# ---------------------------------------------------------------- sweeps of points


def point_loop(lines: list[str]) -> list[str]:
    """Return a loop over the lanes of a row."""
    return ["for i in range(n):", *indent(lines, 1)]


def point_adjoint_arm(read: list[str], lines: list[str], partials: dict[str, str]) -> list[str]:
    """Return the arm of a row in the adjoint sweep of points: a loop for each operand.

    `partials` gives the product of p (and q) with a cotangent that is there, and says when there is none. Where a
    cotangent is met for the first time, what memory held is not read.
    """
    arm = []
    for k, (product, nothing) in enumerate(partials.items()):
        operand, letter = "xy"[k], "AB"[k]
        loop = [*read, *lines, "bar = zbars[i]"]
        addend = f"select({nothing}, number(-0.0, bar), {product} + number(0.0, bar))"
        loop.append(f"{operand}bars[i] = select(first, number(-0.0, bar), held({operand}bars, i)) + {addend}")
        arm += [
            f"if flags & WANTED_{letter}:",
            f"    first = flags & FIRST_{letter} != 0",
            *indent(point_loop(loop), 1),
        ]
    return arm


def is_number(part: ast.expr) -> bool:
    """Whether an expression is a literal other than zero."""
    part = part.operand if isinstance(part, ast.UnaryOp) else part
    return isinstance(part, ast.Constant) and part.value != 0


def primal_points(op: Op, calls: set[Op]) -> list[str]:
    """Return the loop over the lanes of an op."""
    lines, called = translate(op.primal, f"{op.name}_", True, ("z",))
    calls |= called
    return point_loop(reads(op, set(names_of(op.primal)), False) + lines + ["zs[i] = z"])


def adjoint_points(op: Op, calls: set[Op]) -> list[str]:
    """Return the loops that take an op back."""
    lines, called = translate_partials(op, True)
    calls |= called
    read = reads(op, set(names_of(op.partials_function)) | {"x"}, False)
    products = {
        f"{name} * bar": f"absent({name}) | absent(bar)" if may_be_absent else "absent(bar)"
        for name, may_be_absent in zip("pq", absences(op), strict=False)
    }
    return point_adjoint_arm(read, lines, products)


def adjoint_sums() -> dict[str, list[str]]:
    """Return the loops that take back the two rows of lowered programs that add, by the names of their opcodes."""
    x, xy = ["x = xs[i]"], ["x = xs[i]", "y = ys[i]"]
    zeros = "absent(bar) | (({} == number(0.0, bar)) & (flags & WANTED_{} == 0))"  # of constants: they do not vary
    product = {"y * bar": zeros.format("y", "B"), "x * bar": zeros.format("x", "A")}
    return {
        "add_row": point_adjoint_arm(x, [], {"bar": "absent(bar)"}),
        "contract_row": point_adjoint_arm(xy, [], product),
    }


def point_function(name: str, adjoint: bool, arm: list[str]) -> str:
    """Return the function that computes, or takes back, one row for many points."""
    runs = "zs xs ys zbars xbars ybars" if adjoint else "zs xs ys"
    views = [f"{run} = view(np.uint64({run}_at), n, like)" for run in used(runs, arm)]
    arguments = [*(["flags"] if adjoint else []), *(f"{run}_at" for run in runs.split()), "quarter"]
    doc = f"{'Take back' if adjoint else 'Compute'} {name} for 4 * quarter points."
    prefix = "points_adjoint" if adjoint else "points"
    return function(f"{prefix}_{name}", arguments, doc, ["n = 4 * quarter", *views, *arm])


POINTS_HEAD = "WANTED_A, WANTED_B, FIRST_A, FIRST_B = layout.FLAGS  # of a row in an adjoint program"


def points_text() -> str:
    """Return the text of `kernels/generated/points.py`."""
    calls: set[Op] = set()
    functions = []
    for op in compiled_ops():
        functions.append(point_function(op.name, False, primal_points(op, calls)))
        if op.smooth:
            functions.append(point_function(op.name, True, adjoint_points(op, calls)))
    functions += [point_function(name, True, arm) for name, arm in adjoint_sums().items()]
    lines = [*helper_functions(calls, True), POINTS_HEAD, "", "".join(functions)]
    return headed("The sweeps of points: for each op a loop over lanes, and one or two that take it back.", lines)


# ---------------------------------------------------------------- functions of numbers


def number_function(name: str, parameters: str, doc: str, lines: list[str], result: str) -> list[str]:
    """Return the text of a function of numbers."""
    body = indent([f'"""{doc}"""', *lines, f"return {result}"], 1)
    return [f"def {name}({parameters}):", *body, "", ""]


def number_functions(op: Op, calls: set[Op]) -> list[str]:
    """Return the functions of an op: its value, and the slope by each operand."""
    lines, called = translate(op.primal, f"{op.name}_", False, ("z",))
    found = number_function(f"value_{op.name}", "x, y", f"Return {op.name}.", lines, "z")
    if op.smooth:
        slopes, more = translate(op.partials_function, f"{op.name}_", False, ("p", "q")[: op.arity])
        called |= more
        for k in range(op.arity):
            doc = f"Return the slope of {op.name} by its {('first', 'second')[k]} operand."
            found += number_function(f"slope{k}_{op.name}", "x, y, z", doc, slopes, "pq"[k])
    calls |= called
    return found


def numbers_text() -> str:
    """Return the text of `kernels/generated/numbers.py`."""
    calls: set[Op] = set()
    functions = [line for op in compiled_ops() for line in number_functions(op, calls)]
    lines = [*helper_functions(calls, False), *functions]
    return headed("Functions of numbers: for each op its value, and its slopes.", lines).rstrip() + "\n"


GENERATED = {
    "opcodes.py": opcodes_text,
    "scalar.py": machine_text,
    "blocks.py": kernels_text,
    "points.py": points_text,
    "numbers.py": numbers_text,
}


def main() -> None:
    """Write the generated files where they are not fresh."""
    for name, text in GENERATED.items():
        path = HERE / name
        new = text()
        if not path.exists() or path.read_text() != new:
            path.write_text(new)
            print(f"wrote {path}")


if __name__ == "__main__":
    main()
