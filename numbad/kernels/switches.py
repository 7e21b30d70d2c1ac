"""The compiled functions by name: what each takes, and the Python function that it is compiled from.

Each is a C function of a number, whose dtype says in which precision it works, and of int64 integers: counts, and
memory addresses of arrays or of tables of such integers. It returns an int64.
"""

from __future__ import annotations

from typing import Any

INTEGERS = {
    "primal": 4,
    "linearise": 5,
    "run_pass": 2,
    "active_at": 2,
    "needed_at": 2,
    "varying_at": 2,
    "emit_at": 2,
    "forward_at": 9,
    "adjoint_at": 11,
    "tangent_at": 11,
    "run_at": 1,
    "points_primal": 6,
    "points_adjoint": 6,
    "scalars_back_at": 6,
    "finite_at": 2,
    "uses_at": 2,
    "writes_at": 2,
    "reads_at": 2,
    "slopes_at": 2,
    "compress_at": 2,
    "pull_lanes_at": 2,
    "push_lanes_at": 2,
    "gather_lanes_at": 2,
    "scatter_lanes_at": 2,
    "clear_at": 2,
    "lane_blocks_at": 2,
    "map_forward_at": 2,
    "map_backward_at": 2,
    "totals_at": 2,
    "total_at": 3,
    "add_at": 2,
    "product_at": 8,
    "matrix_vector_at": 2,
    "vector_matrix_at": 2,
    "add_pieces_at": 3,
    "fused_reads_at": 2,
    "fused_forward_at": 2,
    "fused_backward_at": 2,
    "adjoint_program_at": 2,
    "points_at": 2,
    "recurrence_at": 5,
    "shares_at": 4,
}  # how many integers each takes
OF_OPS = {"block": 4, "partials": 6, "points": 4, "points_adjoint": 8}  # of the functions of single ops, by prefix
# These look at no numbers.
OF_ROWS = frozenset(
    ("run_pass", "active_at", "needed_at", "varying_at", "writes_at", "reads_at", "uses_at")
    + ("adjoint_program_at", "fused_reads_at")
)
BY_NUMBA = frozenset(("shares_at",))  # threads are Numba's, so they have no text


def count_integers(name: str) -> int:
    """Return how many integers a function takes."""
    found = INTEGERS.get(name)
    return OF_OPS[kind_and_op(name)[0]] if found is None else found


def kind_and_op(name: str) -> tuple[str, str]:
    """Return the kind of function and the op of the name of a function of one op, such as points_adjoint_sin."""
    kind = "points_adjoint" if name.startswith("points_adjoint_") else name.split("_", 1)[0]
    return kind, name.removeprefix(kind + "_")


def source_of(name: str) -> Any:
    """Return the Python function that a function is compiled from."""
    from numbad.kernels import (
        array,
        dependence,
        emission,
        fused,
        laneblocks,
        lanes,
        matrix,
        passes,
        pieces,
        point_rows,
        points,
        products,
        run,
        scalar,
        scans,
        shell,
        verification,
    )
    from numbad.kernels.generated import blocks
    from numbad.kernels.generated import points as point_ops
    from numbad.kernels.generated import scalar as ops

    of_ops = (ops, blocks, point_ops)
    sweeps = (array, run, scalar, pieces, fused, matrix, products, lanes, laneblocks, points, point_rows, scans, shell)
    modules = (*of_ops, *sweeps, emission, passes, dependence, verification)
    return next(vars(module)[name] for module in modules if name in vars(module))


def dtypes_of(name: str) -> tuple[str, ...]:
    """Return the dtypes of the numbers that a function is needed for."""
    if name in BY_NUMBA:
        return ("float64",)
    if name == "emit_at":
        return ("int64",)
    return ("float64",) if name in OF_ROWS else ("float64", "float32")


def looks_at_no_numbers(name: str) -> bool:
    """Whether a function works on rows alone."""
    return name in OF_ROWS or name == "emit_at"
