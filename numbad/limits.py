"""Limits: every number that decides which way a program takes, and for what reason.

The fast ways begin, or end, where a program is large enough. With `NUMBAD_SMALL_LIMITS=1` in the environment these
numbers are so small that programs of a few elements take the ways of large ones, so tests of small programs try them
all. Compiled code has the numbers built in: each variant keeps its machine code for itself (see `VARIANT`).

Bounds that make files and arguments safe, and lengths of texts, are no such limits: they stand
where they are used.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path


def is_set(name: str) -> bool:
    """Whether a switch of the environment is on."""
    return os.environ.get(name, "") not in ("", "0")


SMALL_LIMITS = is_set("NUMBAD_SMALL_LIMITS")
CHECKED = is_set("NUMBAD_CHECKED")
VARIANT = "-small" * SMALL_LIMITS + "-checked" * CHECKED  # of the compiled code; empty for the usual one


def limit(usual: int, small: int) -> int:
    """Return a limit: the usual one, or the small one of the tests."""
    return small if SMALL_LIMITS else usual


def keep_apart() -> None:
    """Give the compiled code of a variant a folder of its own: Numba's cache knows nothing of these numbers."""
    import tempfile

    name = "numbad" + VARIANT
    root = os.environ.get("NUMBA_CACHE_DIR") or os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    folder = Path(root) if Path(root).name == name else Path(root) / name  # a parent process may have chosen it
    try:
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
    except OSError:
        folder = Path(tempfile.mkdtemp(prefix=name))
    os.environ["NUMBA_CACHE_DIR"] = str(folder)
    if "numba" in sys.modules:
        sys.modules["numba"].config.CACHE_DIR = str(folder)


if VARIANT:
    keep_apart()


# ---------------------------------------------------------------- array rows

# Elements of an operand that are worked on at a time: they stay in the first cache.
BLOCK = limit(1024, 4)
# Elements: larger array rows leave the serial sweeps and run in parallel.
LARGE = limit(1 << 15, 8)
# Elements of one unit of parallel work, a multiple of BLOCK; sums do not depend on the number of threads.
PIECE = limit(16 * BLOCK, 2 * BLOCK)
# Elements that are added one after the other; longer sums are added in pairs of such runs.
RUN = limit(128, 2)
# Multiplications of a product of two matrices that the sweeps multiply block by block: fewer are done sooner without
# blocks, and more by BLAS, whose call takes longer than small products do; and the shortest of its three axes.
PRODUCT_LEAST, PRODUCT_MOST, PRODUCT_AXIS = limit(128, 8), limit(1 << 18, 64), limit(4, 2)
# Units of parallel work of a matrix-vector product: fixed, so that sums do not depend on the number of threads.
PIECES = limit(16, 3)
# Rows of a matrix: so many are looked at whether they are a triangle, which is solved without a factorization; a larger
# Cholesky factor is differentiated in blocks; and the rows of a block.
LEAST_TRIANGLE, FEW_ROWS_OF_MATRIX, TRIANGLE = limit(24, 3), limit(128, 3), limit(64, 2)
# Elements: rows that are worth a fight for the second processor while BLAS's threads still spin.
MANY_ELEMENTS = limit(1 << 19, 16)
# Seconds that more threads would have spared a process before it imports Numba for them, which takes 0.35.
WORTH_THREADS = 0.0 if SMALL_LIMITS else 0.1

# ---------------------------------------------------------------- fusion

# Elements: smaller blocks spend their time on calls, 1.3 to 1.8 times as much of it at 256.
FUSED_BLOCK = limit(1024, 4)
# Elements of one unit of parallel work, a multiple of FUSED_BLOCK.
FUSED_PIECE = limit(16 * FUSED_BLOCK, 2 * FUSED_BLOCK)
# Rows of a group: their slots of scratch stay in the second cache.
FUSED_ROWS = limit(48, 5)
# Constants of a tape: among more it is not looked up which operands of groups are constants.
MANY_CONSTANTS = limit(1 << 12, 3)

# ---------------------------------------------------------------- recording

# Elements: larger constants have a space of their own, and are no part of the arena.
SMALL = limit(512, 4)
# Elements: of larger constants and inputs no copy is made, which could cost more than the derivative.
COPIED = limit(1 << 18, 16)
# Elements: larger constant factors are first looked at in one row for zeros, for going through all takes as long as
# a product.
FIRST_ROW = limit(1 << 12, 8)
# Elements: whether larger arrays have been written to is told by a fingerprint, not by a copy.
HASHED = limit(1 << 11, 8)
# Elements: of larger arrays only some are looked at, for reading all could take as long as the program does. What is
# noticed must not depend on small limits.
SAMPLED = limit(1 << 22, 1 << 22)
# Elements: larger inputs of a gradient are swept where they are.
LARGE_INPUT = limit(1 << 12, 6)
# Elements: up to here a table of addresses is cheaper than a row that copies.
RELABEL = limit(4096, 6)
# Elements: an assignment to fewer lists addresses, to more it copies a block.
FEWEST_ASSIGNED = limit(64, 4)
# Parts of an array: an assignment to a smaller one is not worth a copy of the rest.
ASSIGNED_SHARE = limit(4, 4)
# Tangents of a region of scalar rows: up to so many are emitted one by one, by compiled code.
FEW_SEEDS = limit(8, 2)
# Rows for each row over arrays: a region with more counts as one of scalar rows.
SCALAR_SHARE = limit(64, 2)
# Operands of a reduction that has no array op: each costs a row, and more are refused.
LONGEST_FOLD = 4096
# Elements of a mask: more of them are compared by one host row instead of a guard for each.
MANY_TRUTHS = limit(64, 2)
# Shapes in each table of plans; a program of more works them out again.
MOST_PLANS = limit(8192, 3)

# ---------------------------------------------------------------- sweeps

# Scalar rows between two looks at Python's signals: some tenths of a second for the slowest op.
CHUNK = limit(1 << 21, 3)
# Rows: a tape with arrays that has more is worth the compilation of the scalar machine, and is not a short one.
MANY_ROWS = limit(2000, 8)
# Bytes of an array whose memory is kept for the next sweeps: less is as fast without. More is not kept by one tape for
# itself, and comes from the system untouched where it is for a part only.
KEPT_LEAST, KEPT_MOST = limit(1 << 14, 32), limit(1 << 26, 1 << 10)
# Bytes of an array that is kept for the sweeps of one thread alone; larger ones are kept for all threads.
KEPT_BY_THREAD = limit(1 << 22, 1 << 8)
# Bytes: smaller requests for memory are not compared with what the machine has.
COMPARED_MEMORY = limit(1 << 28, 1 << 16)
# Workspaces of a tape and a kind of run: threads beyond these take memory of their own.
MOST_WORKSPACES = limit(4, 1)

# ---------------------------------------------------------------- tapes of numbers, and short ones

# Rows: longer tapes are swept in chunks, so that Ctrl-C is answered.
SHORT = limit(1 << 18, 6)
# Numbers that the arena, the cotangents and the partials of a short tape may take together.
SHORT_MEMORY = limit(1 << 17, 96)
# Rows: on a shorter tape the passes would cost more than they save in a thousand calls.
FEW_ROWS = limit(48, 3)
# Rows: a longer forward sweep lets other threads of Python run.
LOCKED_ROWS = limit(2000, 4)
# Rows of a replay that are put in the order of their levels: what they read and write stays in the second cache.
LEVELLED = limit(1 << 15, 60)
# Elements: the most of an array row that is computed beforehand.
FOLDED = limit(512, 4)

# ---------------------------------------------------------------- replays

# Blocks of which the results of a path are parts: each is followed by itself when passes move them.
MOST_RESULTS = limit(512, 4)
# Scalar rows of two paths in common: fewer are computed faster than their values are copied.
WORTH_COPYING = limit(256, 2)
# Bytes: a pullback copies arrays that its function takes from outside up to this size.
MOST_COPIED = limit(1 << 20, 64)

# Rows times calls: so many take the interpreter some ten milliseconds, and begin the compilation of a tape.
WORTH_COMPILING = limit(1 << 20, 1)

# ---------------------------------------------------------------- compiled tapes

# Iterations: fewer are no loop.
FEWEST_ITERATIONS = limit(4, 3)
# Rows that a loop has to spare: LLVM thinks about a loop for longer than about so many rows.
FEWEST_SPARED = limit(64, 3)
# Rows that are compiled, of loops those of one iteration: more take LLVM more than a second.
MOST_COMPILED = limit(4000, 400)
# Rows that LLVM optimises as well as it can.
OPTIMISED = limit(500, 20)
# Elements of all array rows that are taken apart, and numbers of all constants.
MOST_APART = limit(1 << 18, 3000)
# Elements a row, on average: block kernels are quicker for more.
FEW_A_ROW = limit(32, 32)

# Rectangles that a list of addresses may have, however short it is; more are read one by one.
FEW_RECTANGLES = limit(16, 2)
# Rows of a group: LLVM thinks about a loop for longer than about so many rows.
GROUPED_ROWS = limit(100, 5)
# Axes of a group's index space.
MOST_AXES = limit(5, 3)
# Elements of the innermost axis: a group that calls a function of a library has no shorter one, unless its rows do.
SHORT_AXIS = limit(24, 3)
# Groups of which a row looks for one to join, from the last on.
NEAR_GROUPS = limit(8, 2)
# Elements of the outermost axis that a call of a group's code takes: the sums of each call are added to those of the
# others, so long sums err less.
STRETCH = limit(1 << 11, 4)
# Multiplications of a product that NumPy does, which calls BLAS: fewer are loops.
PRODUCT_WORTH = limit(1 << 12, 64)
# Rows of one element between two looks at Python's signals: some tenths of a second.
MOST_AT_ONCE = limit(1 << 28, 64)
# Functions of groups that a path may have: each takes LLVM some milliseconds.
MOST_GROUPS = limit(120, 120)

# Points that machine code computes side by side, and the bytes of their values and cotangents that a cache holds.
MOST_ABREAST = limit(64, 8)
CACHED_POINTS = limit(1 << 20, 1 << 14)
# Straight rows that are one loop over points.
LONGEST_STRAIGHT = limit(200, 5)

# ---------------------------------------------------------------- emission

# Blocks of cotangents that are kept in mind: they are looked through one by one.
MOST_BLOCKS = limit(64, 2)
# Exponents that have templates of their own: each region looks for them.
MOST_POWERS = limit(64, 3)
# Exponents of one region that have templates of their own.
POWERS_MOST = limit(16, 2)
# Rows of scratch memory of a pass: they stay in the second cache, and Ctrl-C is answered between two fillings. A row
# of the tape may need more than 64 of them.
CAPACITY = limit(8192, 80)
# Constants of a spliced tape of scalar rows that are looked up one by one, so that equal ones are shared.
FEW_CONSTANTS = limit(64, 1)

# ---------------------------------------------------------------- many seeds at one point

# Bytes of tangents or cotangents at a time; more lanes go in blocks.
MOST_MEMORY = limit(1 << 26, 512)
# Lanes in a block, whatever memory that takes.
FEWEST = limit(8, 2)
# Bytes of lanes that a thread works on at a time, if they hold at least WORTH_READING lanes.
CACHED = limit(1 << 23, 256)
# Fewest lanes of such a block. Reading a row of the tape takes as long as some ten lanes of it.
WORTH_READING = limit(64, 2)
# Multiplications of a product, lanes included, that are worth leaving the compiled sweep.
BLAS_WORTH = limit(1 << 13, 12)
# Numbers of tangents or cotangents that are worth a second thread.
PARALLEL_WORTH = limit(1 << 17, 12)

# ---------------------------------------------------------------- one tape at many points

# Points of a block, multiples of four: the first where its values and cotangents fit into POINTS_CACHED bytes.
POINTS, FEWER_POINTS = limit(64, 8), limit(32, 4)
POINTS_CACHED = limit(1 << 23, 1 << 11)
# Bytes of a thread's arena: a tape that needs more runs point by point.
MOST_BYTES = limit(1 << 27, 1 << 14)
# Rows times points: less is not worth a second thread.
SERIAL = limit(1 << 20, 32)
# Rows times points between two looks at Python's signals.
AT_ONCE = limit(1 << 31, 64)
# Rows of a lowered program: 64 MB of code.
LOWERED_ROWS = limit(1 << 22, 400)
