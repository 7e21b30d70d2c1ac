"""Drives the compiled passes of emission: gives them the tape and the templates, and appends the rows they write."""

from __future__ import annotations

import ctypes
import threading
from array import array
from typing import TYPE_CHECKING, Any

import numpy as np

from numbad.emission.templates import Templates, templates
from numbad.errors import user_site
from numbad.kernels import emission_layout as layout
from numbad.kernels.emission_layout import FOREIGN, UNKNOWN_OP, UNKNOWN_POWER
from numbad.kernels.loading import switch
from numbad.kernels.memory import address_of
from numbad.limits import CAPACITY, CHECKED, POWERS_MOST
from numbad.tape.layout import array_row_size

if CHECKED:
    from numbad.kernels import checked_memory

if TYPE_CHECKING:
    from numbad.emission.linear import Linear

ADDRESSES_CHECKED = 1 << 31  # smaller arenas cannot have overflowed within one filling

_thread = threading.local()
_pass: Any = None


class Scratch:
    """Memory of one thread that the passes write to."""

    def __init__(self) -> None:
        self.rows = array("I", bytes(16 * CAPACITY))
        self.words = array("q")
        self.slots = array("q", bytes(8 * layout.SLOTS_MOST))
        self.state = array("q", bytes(8 * layout.LENGTH))
        self.state[layout.OUT] = self.rows.buffer_info()[0]
        self.state[layout.CAPACITY] = CAPACITY
        self.state[layout.SLOTS] = self.slots.buffer_info()[0]

    def make_words(self) -> None:
        """Make the memory for the words of rows over lanes."""
        if not self.words:
            self.words = array("q", bytes(8 * array_row_size(1, 3) * CAPACITY))


def scratch() -> Scratch:
    """Return the scratch memory of this thread."""
    found = getattr(_thread, "scratch", None)
    if found is None:
        found = _thread.scratch = Scratch()
    return found


def compiled_pass() -> Any:
    """Return the compiled function; the first call loads or compiles it."""
    global _pass
    if _pass is None:
        address = int(switch("emit_at", np.dtype(np.int64)))
        found = ctypes.PYFUNCTYPE(ctypes.c_int64, *[ctypes.c_int64] * 3)(address)
        _pass = checked_memory.gate("emit_at", found) if CHECKED else found
    return _pass


class Emitter:
    """The passes over the rows of one region.

    Parameters
    ----------
    linear : Linear
        The table of the region's cotangents or tangents. Its arrays stay where they are; `certain` is not kept where
        Python writes rows of arrays.
    """

    def __init__(self, linear: Linear) -> None:
        self.recorder = linear.recorder
        self.memory = scratch()
        self.templates: Templates = templates()
        self.powers = array("q", bytes(16 * POWERS_MOST))
        flags, certain = linear.flags, linear.certain
        self.kept = linear.places, flags, certain
        flags_at = address_of(flags) if len(flags) else 0
        certain_at = 0 if certain is None else address_of(certain)
        places, powers = address_of(linear.places), self.powers.buffer_info()[0]
        self.first = array("q", (linear.base, places, linear.start, flags_at, certain_at, linear.lanes, powers))
        self.power_count = 0
        self.constants = array("q")
        self.held: Any = ()
        self.numbers: dict[int, Any] | None = None
        if linear.lanes:
            self.memory.make_words()
        self.enter_powers()

    def enter_powers(self) -> None:
        """Note the powers that have been met before, where the recording has their exponents as constants."""
        constants = self.recorder.constants
        for exponent in list(self.templates.powers):
            address = constants.get(exponent)
            if address is not None and self.power_count < POWERS_MOST:
                self.enter_power(address, exponent)

    def enter_power(self, address: int, exponent: float | None) -> None:
        """Note the template for an exponent at an address; None for a value that is not a constant."""
        position = 0 if exponent is None else self.templates.add_power(exponent)
        self.powers[2 * self.power_count], self.powers[2 * self.power_count + 1] = address, position
        self.power_count += 1

    def prepare(self, row: int, stop: int) -> array[int]:
        """Fill the state, which all regions of a thread share."""
        state = self.memory.state
        state[layout.ROW], state[layout.STOP] = row, stop
        state[layout.BASE : layout.POWERS + 1] = self.first
        if self.memory.words:
            state[layout.WORDS] = self.memory.words.buffer_info()[0]
        self.refresh()
        return state

    def refresh(self) -> None:
        """Tell the passes where the templates are, and the constants that they name."""
        state, found = self.memory.state, self.templates
        get = self.recorder.constants.get
        self.held = index, text = found.index, found.text  # another thread may replace them
        self.constants = array("q", [get(number, 0) for number in found.constants])
        if found.minus_zero is not None and found.minus_zero < len(self.constants):
            self.constants[found.minus_zero] = self.recorder.zeros
        state[layout.TEXT] = text.buffer_info()[0]
        state[layout.INDEX] = index.buffer_info()[0]
        state[layout.CONSTANTS] = self.constants.buffer_info()[0]
        state[layout.MINUS_UNIT] = found.minus_unit
        state[layout.POWER_COUNT] = self.power_count
        state[layout.UNIT] = get(1.0, -1)

    def run(self, which: int, row: int, stop: int) -> int:
        """Run a pass over the rows from `row` to `stop`; return where it ended, at `stop` or at a row of Python's."""
        state = self.prepare(row, stop)
        call = _pass or compiled_pass()
        address = state.buffer_info()[0]
        recorder = self.recorder
        while True:
            state[layout.CODE] = recorder.code.buffer_info()[0]
            state[layout.SIZE] = recorder.size
            state[layout.FIRST_WORD] = len(recorder.words)
            state[layout.ROWS] = state[layout.WORD] = state[layout.FRESH] = 0
            if CHECKED:
                memory = self.memory
                checked_memory.lend(recorder.code, state, memory.rows, memory.words, memory.slots, *self.held)
                checked_memory.lend(self.powers, self.constants)
            reason = call(0, which, address)
            if state[layout.ROWS] or state[layout.FRESH]:
                self.append()
            row = state[layout.ROW]
            if reason <= FOREIGN:
                return row
            if reason == UNKNOWN_OP:
                self.templates.add(state[layout.OPCODE], state[layout.CHOICE])
                self.prepare(row, stop)  # a partials function may itself have used the state
            elif reason == UNKNOWN_POWER:
                place = state[layout.EXPONENT]
                self.enter_power(place, self.exponent_at(place))
                self.prepare(row, stop)

    def append(self) -> None:
        """Append the rows, words and constants that a pass has made."""
        state, recorder = self.memory.state, self.recorder
        first = len(recorder.code) // 4
        recorder.extend(self.memory.rows[: 4 * state[layout.ROWS]])
        if state[layout.WORD]:
            recorder.words.extend(self.memory.words[: state[layout.WORD]])
            site = user_site()
            if site is not None:
                recorder.sites.update(dict.fromkeys(range(first, first + state[layout.ROWS]), site))
        recorder.size = state[layout.SIZE]
        if recorder.size > ADDRESSES_CHECKED:
            recorder.allocate(0)
        if state[layout.FRESH]:
            self.append_constants()

    def append_constants(self) -> None:
        """Enter the constants that have got an address into the recording."""
        recorder = self.recorder
        for number, address in zip(self.templates.constants, self.constants, strict=False):
            if number == 0.0:
                if address and not recorder.zeros:
                    recorder.zeros = address
                    recorder.numbers.extend((address, number))
            elif address and recorder.constants.get(number) != address:
                recorder.constants[number] = address
                recorder.numbers.extend((address, number))

    def exponent_at(self, address: int) -> float | None:
        """Return the value of a constant; None where an address holds none."""
        if self.numbers is None:  # the exponents of a region are older than the rows that are written for it
            self.numbers = {place: value for value, place in self.recorder.constants.items()}
        found = self.numbers.get(address)
        return None if found is None else float(found)
