"""The reader of rows for compiled functions: those of `tape.layout`, which Numba compiles from the same text."""

from __future__ import annotations

from numba.extending import register_jitable

from numbad.tape.layout import (
    READERS,
    gather_place,
    host_address,
    host_call,
    host_elements,
    host_inputs,
    host_outputs,
    host_space,
    is_accumulation,
    listed_count,
    operand_address,
    operand_at,
    operand_count,
    operand_kind,
    operand_space,
    operand_span,
    operand_stride,
    read_count,
    read_place,
    row_axes,
    row_cleared,
    row_elements,
    row_extent,
    row_size,
    scatter_address,
    scatter_block,
    scatter_place,
    scatter_space,
    write_span,
)

__all__ = [
    "gather_place",
    "host_address",
    "host_call",
    "host_elements",
    "host_inputs",
    "host_outputs",
    "host_space",
    "is_accumulation",
    "listed_count",
    "operand_address",
    "operand_at",
    "operand_count",
    "operand_kind",
    "operand_space",
    "operand_span",
    "operand_stride",
    "read_count",
    "read_place",
    "row_axes",
    "row_cleared",
    "row_elements",
    "row_extent",
    "row_size",
    "scatter_address",
    "scatter_block",
    "scatter_place",
    "scatter_space",
    "write_span",
]

for _function in READERS:
    register_jitable(nogil=True, error_model="numpy")(_function)
