"""LLVM text, written line by line: names that are used once, numbers, loads and stores of arrays of numbers."""

from __future__ import annotations

import struct

WIDTH = 8  # bytes of a number


def literal(value: float) -> str:
    """Return a number as LLVM reads it, bit for bit."""
    return f"0x{struct.unpack('<Q', struct.pack('<d', value))[0]:016X}"


class Text:
    """The lines of a function, and the name of the block that they are in.

    Attributes
    ----------
    lines : list of str
        What was written.
    block : str
        The label of the last block.
    called : set of str
        The functions of numbers that the lines call.
    moved : dict
        Of an array and a step: the place of the array's first element, moved by so many elements an iteration.
    points : int
        How many points lie side by side in memory.
    mark : str
        What is said of each load and store.
    """

    points = 1
    mark = ""

    def __init__(self, prefix: str = "t") -> None:
        self.lines: list[str] = []
        self.block = "entry"
        self.called: set[str] = set()
        self.moved: dict[tuple[str, int], str] = {}
        self.count = 0
        self.prefix = prefix

    def name(self) -> str:
        """Return a name that was not used before."""
        self.count += 1
        return f"%{self.prefix}{self.count}"

    def label(self) -> str:
        """Return a label that was not used before."""
        self.count += 1
        return f"{self.prefix}b{self.count}"

    def line(self, text: str) -> None:
        """Write a line."""
        self.lines.append("  " + text)

    def define(self, text: str) -> str:
        """Write a line that gives a name to a value; return the name."""
        name = self.name()
        self.lines.append(f"  {name} = {text}")
        return name

    def begin(self, label: str) -> None:
        """Begin a block."""
        self.lines.append(f"{label}:")
        self.block = label

    def begin_loop(self, label: str) -> None:
        """Begin the first block of a loop, or that after one: no address that moved before is right here."""
        self.moved = {}
        self.begin(label)

    def index(self, first: int, step: int, turn: str) -> str:
        """Return first + step * turn; `turn` is the name of an iteration's number, empty outside of loops."""
        if step == 0 or not turn:
            return str(first)
        moved = turn if step == 1 else self.define(f"mul nsw i64 {turn}, {step}")
        return moved if first == 0 else self.define(f"add nsw i64 {moved}, {first}")

    def place(self, base: str, first: int, step: int = 0, turn: str = "") -> str:
        """Return the place of element first + step * turn of an array.

        What moves with the iterations is the same for all that step alike, so LLVM has few addresses to think about.
        """
        if step and turn:
            if (base, step) not in self.moved:
                index = self.index(0, step, turn)
                self.moved[base, step] = self.define(f"getelementptr double, ptr {base}, i64 {index}")
            base = self.moved[base, step]
        return self.define(f"getelementptr double, ptr {base}, i64 {first}")

    def load(self, base: str, first: int, step: int = 0, turn: str = "") -> str:
        """Return element first + step * turn of an array."""
        return self.read(self.place(base, first, step, turn))

    def store(self, value: str, base: str, first: int, step: int = 0, turn: str = "") -> None:
        """Set element first + step * turn of an array."""
        self.write(value, self.place(base, first, step, turn))

    def read(self, place: str, kind: str = "double") -> str:
        """Return what is at a place."""
        return self.define(f"load {kind}, ptr {place}, align {WIDTH}{self.mark}")

    def write(self, value: str, place: str, kind: str = "double") -> None:
        """Put something at a place."""
        self.line(f"store {kind} {value}, ptr {place}, align {WIDTH}{self.mark}")

    def call(self, function: str, *numbers: str) -> str:
        """Return what a function of numbers returns."""
        self.called.add(function)
        return self.define(f"call double @numbad_{function}({', '.join(f'double {number}' for number in numbers)})")

    def holds(self, truth: bool | None, x: str, y: str = "") -> str:
        """Return whether x is as a guard has it: its truth, or where that is None, the value y; NaN is equal to NaN."""
        if truth is not None:
            return self.define(f"fcmp {'une' if truth else 'oeq'} double {x}, {literal(0.0)}")
        same = self.define(f"fcmp oeq double {x}, {y}")
        lost, other = self.define(f"fcmp uno double {x}, {x}"), self.define(f"fcmp uno double {y}, {y}")
        both = self.define(f"and i1 {lost}, {other}")
        return self.define(f"or i1 {same}, {both}")

    def add(self, one: str, other: str) -> str:
        """Return a sum."""
        return self.define(f"fadd double {one}, {other}")
