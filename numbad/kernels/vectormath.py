"""Elementary functions for compiled loops: libm, with the vector versions of glibc's libmvec attached.

A call of `exp(x)` here is a call of libm's `exp` that carries LLVM's attribute
`vector-function-abi-variant`; where LLVM vectorises the loop around it, it calls
`_ZGVeN8v_exp` and its kin on whole registers. Where libmvec is absent (macOS, musl, old glibc)
the attribute is left out and the loop stays scalar. The vector versions err by at most 4 ulp.
"""

from __future__ import annotations

import contextlib
from typing import Any

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic

from numbad.kernels.libmvec import versions
from numbad.limits import CHECKED

if CHECKED:
    from numbad.kernels import checked_code

UNARY = (
    "exp exp2 expm1 log log2 log10 log1p sin cos tan arcsin arccos arctan sinh cosh tanh arcsinh arccosh arctanh"
    " cbrt erf erfc lgamma gamma floor ceil trunc"
).split()
BINARY = ("power", "arctan2", "hypot", "fmod")
IN_LIBM = {"gamma": "tgamma", "power": "pow"}  # other names there; those of the inverse functions lack "rc"
FUNCTIONS = frozenset((*UNARY, *BINARY, "remainder", "floor_divide"))  # what the text of an op may call


def declare_used(module: ir.Module, functions: list[ir.Function]) -> None:
    """Keep declarations alive until the vectoriser has seen them."""
    pointer = ir.IntType(8).as_pointer()
    known = getattr(module, "numbad_used", [])
    known += [function for function in functions if function not in known]
    module.numbad_used = known
    kind = ir.ArrayType(pointer, len(known))
    if "llvm.compiler.used" in module.globals:
        variable = module.globals["llvm.compiler.used"]
        variable.value_type = kind
        variable.type = kind.as_pointer()
    else:
        variable = ir.GlobalVariable(module, kind, "llvm.compiler.used")
        variable.linkage = "appending"
        variable.section = "llvm.metadata"
    variable.initializer = ir.Constant(kind, [function.bitcast(pointer) for function in known])


def emit_call(builder: ir.IRBuilder, name: str, arguments: list[ir.Value]) -> ir.Value:
    """Emit a call of a libm function with its vector versions attached."""
    kind = arguments[0].type
    symbol = name + ("f" if isinstance(kind, ir.FloatType) else "")
    module = builder.module
    function = module.globals.get(symbol)
    if function is None:
        function = ir.Function(module, ir.FunctionType(kind, [kind] * len(arguments)), symbol)
    call = builder.call(function, arguments)
    attributes = ["nounwind", "willreturn", "readnone"]
    found = versions(symbol, 4 if isinstance(kind, ir.FloatType) else 8, len(arguments))
    if found:
        declared = []
        for _, vector_symbol, lanes in found:
            vector = ir.VectorType(kind, lanes)
            if vector_symbol not in module.globals:
                ir.Function(module, ir.FunctionType(vector, [vector] * len(arguments)), vector_symbol)
            declared.append(module.globals[vector_symbol])
        declare_used(module, declared)
        attributes.append('"vector-function-abi-variant"="' + ",".join(mapping for mapping, _, _ in found) + '"')
    # llvmlite's set of known attribute names lacks string attributes; it prints names as they are.
    call.attributes._known = frozenset([*call.attributes._known, *attributes])
    for attribute in attributes:
        call.attributes.add(attribute)
    return call


def make_function(name: str, arity: int) -> Any:
    """Make the Numba function that calls libm's function, under the name that NumPy has for it."""
    symbol = IN_LIBM.get(name, name.replace("arc", "a"))

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        kinds = signature.args
        target = signature.return_type
        cast = [context.cast(builder, value, kind, target) for value, kind in zip(arguments, kinds, strict=True)]
        return emit_call(builder, symbol, cast)

    if arity == 1:

        def unary(typing_context, x):  # type: ignore[no-untyped-def]
            target = x if isinstance(x, types.Float) else types.float64
            return target(x), codegen

        unary.__name__ = name
        return intrinsic(unary)

    def binary(typing_context, x, y):  # type: ignore[no-untyped-def]
        target = types.float32 if x == y == types.float32 else types.float64
        return target(x, y), codegen

    binary.__name__ = name
    return intrinsic(binary)


for _name in (*UNARY, *BINARY):
    globals()[_name] = make_function(_name, 2 if _name in BINARY else 1)


@intrinsic
def select(typing_context, condition, x, y):  # type: ignore[no-untyped-def]
    """Return x or y without a branch."""
    target = x if x == y else types.float64

    def codegen(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        flag = context.cast(builder, arguments[0], signature.args[0], types.boolean)
        one = context.cast(builder, arguments[1], signature.args[1], target)
        other = context.cast(builder, arguments[2], signature.args[2], target)
        return builder.select(flag, one, other)

    return target(condition, x, y), codegen


@intrinsic
def absent(typing_context, x):  # type: ignore[no-untyped-def]
    """Whether a number has the bits of -0.0, which stand for a cotangent, a tangent or a partial that is absent."""

    def codegen(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        width = 8 * context.get_abi_sizeof(arguments[0].type)
        kind = ir.IntType(width)
        bits = builder.bitcast(arguments[0], kind)
        return builder.icmp_unsigned("==", bits, ir.Constant(kind, 1 << (width - 1)))

    return types.boolean(x), codegen


@intrinsic
def number(typing_context, value, like):  # type: ignore[no-untyped-def]
    """Return a literal in the floating type of `like`."""

    def codegen(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        return context.cast(builder, arguments[0], signature.args[0], signature.return_type)

    return like(value, like), codegen


@intrinsic
def view(typing_context, address, size, like):  # type: ignore[no-untyped-def]
    """Return the 1-d contiguous array of `size` elements of the type of `like` at a memory address.

    A size of WHOLE stands for all that the memory has: only the checked build knows how much that is.
    """
    element = like.dtype if isinstance(like, types.Array) else like
    array_type = types.Array(element, 1, "C")

    def codegen(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        from numba.np.arrayobj import make_array, populate_array

        address, size, _ = arguments
        array = make_array(array_type)(context, builder)
        width = context.get_constant(types.intp, context.get_abi_sizeof(context.get_data_type(element)))
        count = context.cast(builder, size, signature.args[1], types.intp)
        if CHECKED:
            address, count = checked_code.emit_view(context, builder, address, count, width)
        data = builder.inttoptr(address, context.get_data_type(element).as_pointer())
        populate_array(array, data=data, shape=[count], strides=[width], itemsize=width, meminfo=None)
        return array._getvalue()

    return array_type(types.uint64, size, like), codegen


@njit(error_model="numpy")
def remainder(x, y):  # type: ignore[no-untyped-def]
    """Return Python's x % y."""
    z = fmod(x, y)  # type: ignore[name-defined]  # noqa: F821
    if z != 0.0:
        if (z < 0.0) != (y < 0.0):
            z += y
    else:
        z = np.copysign(z, y)
    return z


@njit(error_model="numpy")
def floor_divide(x, y):  # type: ignore[no-untyped-def]
    """Return Python's x // y, computed as NumPy does."""
    if y == 0.0:
        return x / y
    z = fmod(x, y)  # type: ignore[name-defined]  # noqa: F821
    quotient = (x - z) / y
    if z != 0.0 and (z < 0.0) != (y < 0.0):
        quotient -= 1.0
    if quotient == 0.0:
        return np.copysign(quotient, x / y)
    rounded = np.floor(quotient)
    if quotient - rounded > 0.5:
        rounded += 1.0
    return rounded


@intrinsic(prefer_literal=False)
def call_at(typing_context, pointer, like, arguments):  # type: ignore[no-untyped-def]
    """Call a compiled function by its memory address: (like, *integers) -> int64.

    The big switches are compiled once and called so, for Numba would otherwise link them into every caller
    and optimise them there again, which takes seconds.
    """

    def codegen(context, builder, signature, values):  # type: ignore[no-untyped-def]
        address, dummy, packed = values
        kinds = list(signature.args[2])
        integer = ir.IntType(64)
        cast = [
            context.cast(builder, builder.extract_value(packed, k), kind, types.int64) for k, kind in enumerate(kinds)
        ]
        function_type = ir.FunctionType(integer, [dummy.type] + [integer] * len(cast))
        function = builder.inttoptr(address, function_type.as_pointer())
        return builder.call(function, [dummy, *cast])

    return types.int64(pointer, like, arguments), codegen


@intrinsic
def pointer_of(typing_context, array):  # type: ignore[no-untyped-def]
    """Return the memory address of an array's first element."""

    def codegen(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        from numba.np.arrayobj import make_array

        array = make_array(signature.args[0])(context, builder, arguments[0])
        address = builder.ptrtoint(array.data, ir.IntType(64))
        if CHECKED:
            checked_code.emit_lend(builder, address, builder.mul(array.nitems, array.itemsize))
        return address

    return types.uint64(array), codegen


@intrinsic(prefer_literal=True)
def room(typing_context, count, like):  # type: ignore[no-untyped-def]
    """Return the memory address of room on the stack for a literal count of elements of the type of `like`."""
    element = like.dtype if isinstance(like, types.Array) else like
    size = count.literal_value

    def codegen(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        from numba.core import cgutils

        kind = context.get_data_type(element)
        place = builder.ptrtoint(cgutils.alloca_once(builder, kind, size=size), ir.IntType(64))
        if CHECKED:
            checked_code.emit_lend(builder, place, ir.Constant(ir.IntType(64), size * context.get_abi_sizeof(kind)))
        return place

    return types.uint64(count, like), codegen


@intrinsic
def held(typing_context, array, index):  # type: ignore[no-untyped-def]
    """Return what an element holds, which nobody may have written: the caller does not use it then."""

    def codegen(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        import operator

        with checked_code.unchecked() if CHECKED else contextlib.nullcontext():
            read = context.get_function(operator.getitem, signature)
            return read(builder, arguments)

    return array.dtype(array, index), codegen


@intrinsic
def rows_of(typing_context, flat, width):  # type: ignore[no-untyped-def]
    """Return a flat array as rows of a literal width."""
    array_type = types.Array(flat.dtype, 2, "C")

    def codegen(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        from numba.np.arrayobj import make_array, populate_array

        source = make_array(signature.args[0])(context, builder, arguments[0])
        count = builder.extract_value(source.shape, 0)
        columns = context.cast(builder, arguments[1], signature.args[1], types.intp)
        array = make_array(array_type)(context, builder)
        populate_array(
            array,
            data=source.data,
            shape=[builder.udiv(count, columns), columns],
            strides=[builder.mul(columns, source.itemsize), source.itemsize],
            itemsize=source.itemsize,
            meminfo=None,
        )
        return array._getvalue()

    return array_type(flat, width), codegen
