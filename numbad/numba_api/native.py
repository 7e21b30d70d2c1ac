"""Recording by machine code: a function is compiled by Numba once more, for types whose operations append rows.

The same source, with other functions under the names of NumPy's and Python's own (`native_types.SAME`). What the types
lack makes Numba's compiler fail, and the function goes on being recorded by its Python source.
"""

from __future__ import annotations

from types import FunctionType, ModuleType
from typing import Any

import numpy as np
from numba import njit
from numba.core import errors, ir
from numba.core.compiler import CompilerBase, DefaultPassBuilder
from numba.core.compiler_machinery import FunctionPass, register_pass
from numba.core.dispatcher import Dispatcher
from numba.core.ir_utils import build_definitions
from numba.core.untyped_passes import InlineClosureLikes, IRProcessing

from numbad.errors import GENERATES, RecordingError, attribute, message
from numbad.kernels.threads import renew_in_children
from numbad.numba_api.dispatching import GivenUp, Kernel, NotNative, kernel_of
from numbad.numba_api.native_algebra import SAME
from numbad.numba_api.native_arrays import ELEMENT, Block
from numbad.numba_api.native_functions import METHODS
from numbad.numba_api.native_tape import Session, check_stack
from numbad.numba_api.native_types import Number
from numbad.numba_api.replacing import is_users_function
from numbad.recording import strictness
from numbad.recording.active import Active
from numbad.recording.arrays import Array, Storage
from numbad.recording.borrowing import Guard
from numbad.recording.exchange import own_code
from numbad.recording.recorder import Recorder
from numbad.recording.rewriting import plain_code
from numbad.recording.scalars import Scalar, make_scalar
from numbad.settings import config
from numbad.tape.layout import GUARD, GUARD_VALUE

PLAIN = (bool, int, float, str, bytes, type(None), np.bool_, np.integer, np.float64)
guard = Guard()
renew_in_children(guard)
REPLACED = "numbad "  # how the names of what has been replaced begin
LOOK = "$numbad_look"  # the variable for the function that looks at the stack
MET = "_numbad_met"  # the attribute of a function that lists the kernels that it calls


# ---------------------------------------------------------------- compiling


def replaced(value: Any, met: list[Kernel]) -> Any:
    """Return what stands in the place of a constant of the function; None for what stays."""
    if isinstance(value, Dispatcher):
        kernel = kernel_of(value)
        if not attribute(value, "_can_compile") or kernel.own:
            raise errors.TypingError("a function with signatures, or in object mode, is recorded by Python")
        met.append(kernel)
        return native_of(kernel)
    if attribute(value, "_numba_type_") is not None:
        raise errors.TypingError("a kernel with a rule is recorded by Python")
    if is_users_function(value):
        raise errors.TypingError("a function that Numba inlines is recorded by Python")
    try:
        return SAME.get(value)
    except TypeError:  # it has no hash
        return None


def resolved(function_ir: Any, value: Any) -> Any:
    """Return the object that an expression of names is; None if it cannot be told."""
    if isinstance(value, (ir.Global, ir.FreeVar)):
        return value.value
    if isinstance(value, ir.Expr) and value.op == "getattr":
        try:
            owner = resolved(function_ir, function_ir.get_definition(value.value))
        except KeyError:
            return None
        return getattr(owner, value.attr, None) if isinstance(owner, ModuleType) else None
    return None


def call_as_functions(function_ir: Any, block: Any) -> None:
    """Call functions in the places of methods whose results may be filled with recording numbers."""
    owners: dict[str, Any] = {}
    for step in block.body:
        value = step.value if isinstance(step, ir.Assign) else None
        if not isinstance(value, ir.Expr):
            continue
        if value.op == "getattr" and value.attr in METHODS:
            owner = function_ir.get_definition(value.value)
            if not isinstance(resolved(function_ir, owner), ModuleType):
                owners[step.target.name] = value.value
                step.value = ir.Global(REPLACED + step.target.name, METHODS[value.attr], step.loc)
        elif value.op == "call" and value.func.name in owners:
            value.args = (owners[value.func.name], *value.args)


def is_replaced(value: Any) -> bool:
    """Whether an expression stands in the place of another already."""
    return isinstance(value, ir.Global) and value.name.startswith(REPLACED)


@register_pass(mutates_CFG=False, analysis_only=False)
class ReplaceFunctions(FunctionPass):  # type: ignore[misc]
    """Put other functions in the places of those that do not record."""

    _name = "numbad_replace_functions"

    def __init__(self) -> None:
        FunctionPass.__init__(self)

    def run_pass(self, state: Any) -> bool:
        """Change the names of one function."""
        met = state.func_id.func.__dict__[MET]
        for block in state.func_ir.blocks.values():
            for step in block.body:
                if isinstance(step, ir.EnterWith):
                    raise errors.TypingError("a block in object mode is recorded by Python")
                if isinstance(step, ir.Assign) and not is_replaced(step.value):
                    found = resolved(state.func_ir, step.value)
                    other = None if found is None else replaced(found, met)
                    if other is not None:
                        step.value = ir.Global(REPLACED + step.target.name, other, step.loc)
            call_as_functions(state.func_ir, block)
        if met:
            look_at_stack(state.func_ir)
        state.func_ir._definitions = build_definitions(state.func_ir.blocks)
        return True


def look_at_stack(function_ir: Any) -> None:
    """Begin a function that calls others with a look at the stack: recursion without end would break the process."""
    first = function_ir.blocks[min(function_ir.blocks)]
    if any(isinstance(step, ir.Assign) and step.target.name == LOOK for step in first.body):
        return
    look, done = (ir.Var(first.scope, name, first.loc) for name in (LOOK, f"{LOOK}ed"))
    call = ir.Expr.call(look, (), (), first.loc)
    own = ir.Assign(ir.Global(REPLACED + LOOK, check_stack, first.loc), look, first.loc)
    first.body[:0] = [own, ir.Assign(call, done, first.loc)]


@register_pass(mutates_CFG=False, analysis_only=False)
class ReplaceInClosures(ReplaceFunctions):
    """The same in the functions inside of it, which are part of it by then."""

    _name = "numbad_replace_in_closures"


class NativeCompiler(CompilerBase):  # type: ignore[misc]
    """Numba's compiler with this pass."""

    def define_pipelines(self) -> list[Any]:
        """Return the passes."""
        passes = DefaultPassBuilder.define_nopython_pipeline(self.state)
        passes.add_pass_after(ReplaceFunctions, IRProcessing)
        passes.add_pass_after(ReplaceInClosures, InlineClosureLikes)
        passes.finalize()
        return [passes]


def native_of(kernel: Kernel) -> Any:
    """Return the dispatcher of the version of a function that records."""
    if kernel.native is None:
        own = kernel.function
        if own.__code__.co_flags & GENERATES:  # its rows would be appended when the call is over
            raise errors.TypingError("a generator is recorded by Python")
        code = plain_code(own_code(own))
        copy = FunctionType(code, own.__globals__, own.__name__, own.__defaults__, own.__closure__)
        copy.__dict__[MET] = []
        model = "python" if kernel.raising else "numpy"
        compiler: Any = njit
        kernel.native = compiler(copy, pipeline_class=NativeCompiler, boundscheck=True, error_model=model)
    return kernel.native


def reached(kernel: Kernel) -> dict[int, Kernel]:
    """Return a function and those that it calls, by their identities."""
    found: dict[int, Kernel] = {}
    waiting = [kernel]
    while waiting:
        part = waiting.pop()
        if id(part) not in found:
            found[id(part)] = part
            if part.native:
                waiting += part.native.py_func.__dict__[MET]
    return found


def renew(kernel: Kernel) -> None:
    """Look whether the constants of a function, and of those that it calls, are what they were; else compile anew."""
    parts = reached(kernel).values()
    before = [part.version for part in parts]
    for part in parts:
        part.twin()
        if part.raising is not kernel.raising or part.raises() is not part.raising:
            raise NotNative("two models of errors")
    if before != [part.version for part in parts]:
        for part in parts:
            part.native = None


# ---------------------------------------------------------------- the border


class Border:
    """What a call takes to machine code and brings back."""

    def __init__(self, recorder: Recorder) -> None:
        self.recorder = recorder
        self.pairs: list[tuple[Array, Block]] = []
        self.numbers: list[Number] = []
        self.met: list[Kernel] = []
        self.plain: list[tuple[np.ndarray, np.ndarray]] = []

    def given(self, value: Any) -> Any:
        """Return an argument for machine code."""
        if isinstance(value, Scalar):
            if value.boolean or value.recorder is not self.recorder:
                raise NotNative
            self.numbers.append(found := Number(0.0, value.address))
            return found
        if isinstance(value, Array):
            if value.boolean or value.recorder is not self.recorder or value.storage.frozen:
                raise NotNative
            elements = np.empty(value.shape, ELEMENT)
            elements["address"] = value.address_view()
            block = Block(elements)
            self.pairs.append((value, block))
            return block
        if isinstance(value, Active):
            raise NotNative
        if isinstance(value, Dispatcher):
            return replaced(value, self.met)
        if isinstance(value, tuple):
            if type(value) is not tuple:
                raise NotNative
            return tuple([self.given(part) for part in value])
        if isinstance(value, np.ndarray) and type(value) is np.ndarray and value.dtype.kind in "fiub":
            if value.flags.writeable:
                self.plain.append((value, value.copy()))
            return value
        if type(value) in PLAIN or isinstance(value, PLAIN):
            return value
        raise NotNative

    def fill(self) -> None:
        """Compute the values that the arguments have now."""
        values = self.recorder.run().values
        for number in self.numbers:
            number.value = float(values[number.address])
        for _, block in self.pairs:
            block.array["value"] = values[block.array["address"]]

    def separate(self) -> bool:
        """Whether no two arrays share memory: a change of one would be one of the other."""
        storages = [id(array.storage) for array, _ in self.pairs]
        return len(set(storages)) == len(storages)

    def write_back(self) -> None:
        """Give the arrays of the program the elements that the function has assigned to them."""
        for array, block in self.pairs:
            before = array.address_view()
            changed = block.array["address"] != before
            if changed.any():
                places = self.addresses_of(block)
                array.own_addresses()[changed] = places[changed]

    def addresses_of(self, block: Block) -> np.ndarray:
        """Return the addresses of an array, with those of numbers that do not vary."""
        found = np.array(block.array["address"], np.int64, order="C")
        for index in zip(*np.nonzero(found < 0), strict=True):
            found[index] = self.constant(float(block.array["value"][index]))
        return found

    def constant(self, value: float) -> int:
        """Return the address of a number that does not vary."""
        known = self.recorder.constants.get(value)
        return self.recorder.constant(value) if known is None or value == 0.0 else known

    def taken(self, value: Any) -> Any:
        """Return what machine code gives as the program has it."""
        if isinstance(value, Number):
            return make_scalar(self.recorder, value.address) if value.address >= 0 else value.value
        if isinstance(value, Block):
            for array, block in self.pairs:
                if np.shares_memory(block.array, value.array):
                    return self.view_of(array, block, value)
            addresses = self.addresses_of(value)
            storage = Storage(0, 0, addresses.size)
            storage.addresses = addresses.reshape(-1)
            return Array(self.recorder, storage, addresses.shape)
        if isinstance(value, (tuple, list)):
            return type(value)(self.taken(part) for part in value)
        return value

    def view_of(self, array: Array, block: Block, value: Block) -> Array:
        """Return the view of an argument that a result is."""
        first = value.array.__array_interface__["data"][0] - block.array.__array_interface__["data"][0]
        axes = block.array.shape
        corner = np.unravel_index(first // ELEMENT.itemsize, axes)
        steps = dict(zip(block.array.strides, array.steps(), strict=True))  # of the copy, and of the array
        strides = tuple([self.step(stride, steps) for stride in value.array.strides])
        offset = array.offset + sum(int(k) * step for k, step in zip(corner, array.steps(), strict=True))
        return array.view(value.array.shape, offset, strides)

    def step(self, stride: int, steps: dict[int, int]) -> int:
        """Return the stride of a view in its array, from that in a copy of it: of one axis, or a multiple."""
        for own, step in sorted(steps.items(), reverse=True):
            if own and stride % own == 0:
                return stride // own * step
        raise RecordingError(
            message("a view that the function returns cannot be recorded", "return a copy: return y.copy()")
        )


def record_natively(kernel: Kernel, arguments: tuple[Any, ...], site: Any) -> Any:
    """Record a call by machine code, or raise NotNative with everything as it was."""
    recorder = next((value.recorder for value in arguments if isinstance(value, Active)), None)
    if recorder is None or recorder.dtype != np.float64 or config.debug_nans or strictness.asked():
        raise NotNative
    renew(kernel)
    border = Border(recorder)
    try:
        native = native_of(kernel)
        given = [border.given(value) for value in arguments]
        if not border.separate():
            raise NotNative
        native.compile(tuple([native.typeof_pyval(value) for value in given]))
        for part in (*border.met, kernel):
            renew(part)
    except NotNative:
        raise
    except Exception as error:  # whatever Numba's compiler stumbles over in types that it does not know
        raise NotNative from error
    border.fill()
    with guard.lock:  # the tables are of one call at a time, and Python may go on with another thread before it runs
        result, session = run_session(native, given, Session(recorder.size, kernel.raising, kernel.rows))
    try:
        if session.given_up or not is_known(result):
            for array, before in border.plain:
                array[...] = before
            raise GivenUp("a slope at zero, or arrays that are too long, are recorded by Python")
        kernel.rows = session.rows
        append_session(recorder, session, site)
    finally:
        session.close()
    border.write_back()
    return border.taken(result)


def run_session(native: Any, given: list[Any], session: Session) -> tuple[Any, Session]:
    """Run machine code; return its result, and the rows that it has appended."""
    result = None
    try:
        result = native(*given)
    except BaseException as error:
        session.end()
        if not (session.given_up and isinstance(error, MemoryError)):
            session.close()
            session.raise_interrupt()
            raise
    else:
        session.end()
    return result, session


def is_known(result: Any) -> bool:
    """Whether a result is made of what can be taken over: numbers, arrays, tuples and lists of them."""
    if isinstance(result, (tuple, list)):
        return type(result) in (tuple, list) and all(is_known(part) for part in result)
    return isinstance(result, (Number, Block, np.ndarray, *PLAIN))


def append_session(recorder: Recorder, session: Session, site: Any) -> None:
    """Append the rows of a call to a recording."""
    recorder.loosen()
    first = len(recorder.code) // 4
    recorder.code.frombytes(session.code.view(np.uint8).data)
    recorder.numbers.frombytes(session.numbers.tobytes())
    recorder.size = session.size
    for value, address in zip(session.numbers[1::2].tolist(), session.numbers[::2].tolist(), strict=True):
        if value != 0.0:
            recorder.constants.setdefault(value, int(address))
    if not session.guards:
        return
    opcodes = session.code[::4]
    for row in np.flatnonzero((opcodes == GUARD) | (opcodes == GUARD_VALUE)).tolist():
        recorder.sites[first + row] = site
