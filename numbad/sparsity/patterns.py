"""Patterns: which outputs of a tape depend on which inputs on the path that was taken, whatever the values."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import numpy as np

from numbad.errors import message
from numbad.kernels.loading import switch
from numbad.kernels.memory import available_memory
from numbad.limits import COMPARED_MEMORY
from numbad.ops.arithmetic import multiply
from numbad.ops.definition import REGISTRY
from numbad.ops.texts import dependencies
from numbad.sparsity.compiled import call
from numbad.sparsity.elements import input_places, output_places, take_elements, values_of
from numbad.sweeps.dependence import operands_that_carry
from numbad.tape.layout import CLEAR, CONTRACT, GUARD, GUARD_VALUE, MAP

if TYPE_CHECKING:
    from numbad.tapes.tape import Tape

MOST_COLUMNS = (1 << 31) - 2  # of an interval's ends
P_CONSTANT, Q_CONSTANT, P_NONE, Q_NONE = 1, 2, 4, 8  # flags of rows, as in `sparsity.propagation`
PATTERN_BYTES = 32  # of an entry, while a pattern is written
MOST_SMALL = np.iinfo(np.int32).max


@dataclasses.dataclass(eq=False, repr=False)
class Pattern:
    """Where a matrix of derivatives may have entries: the same wherever a tape runs.

    Attributes
    ----------
    shape : tuple of int
        Output elements, input elements.
    indptr : ndarray of int32 or int64, shape (rows + 1,)
        Where the entries of each row begin, as in a CSR matrix.
    indices : ndarray of int32 or int64, shape (entries,)
        The columns of the entries, in order in each row.
    symmetric : bool
        Whether it is of a matrix of second derivatives, whose values are symmetric too.

    Examples
    --------
    >>> import numpy as np, numbad
    >>> pattern = numbad.record(lambda x: x[1:] * x[:-1], np.ones(3)).sparsity()
    >>> pattern
    <pattern of 2 x 3 with 4 entries>
    >>> pattern.structure()
    (array([0, 0, 1, 1], dtype=int32), array([0, 1, 1, 2], dtype=int32))
    """

    shape: tuple[int, int]
    indptr: np.ndarray
    indices: np.ndarray
    symmetric: bool = False

    def __repr__(self) -> str:
        return f"<pattern of {self.shape[0]} x {self.shape[1]} with {self.entries} entries>"

    @property
    def entries(self) -> int:
        """Number of entries."""
        return len(self.indices)

    def structure(self) -> tuple[np.ndarray, np.ndarray]:
        """Return row and column of each entry, in the order of the values, as Ipopt asks for them.

        Returns
        -------
        tuple of ndarray
            Rows and columns, of int32 (int64 where a matrix is too large for that), shape (entries,).

        Examples
        --------
        >>> import numpy as np, numbad
        >>> numbad.record(lambda x: x * x, np.ones(2)).sparsity().structure()
        (array([0, 1], dtype=int32), array([0, 1], dtype=int32))
        """
        rows = np.repeat(np.arange(self.shape[0], dtype=self.indices.dtype), np.diff(self.indptr))
        return rows, self.indices.copy()

    def to_scipy(self) -> Any:
        """Return the pattern as a `scipy.sparse.csr_array` of truth values.

        Returns
        -------
        csr_array of bool

        Examples
        --------
        >>> import numpy as np, numbad
        >>> numbad.record(lambda x: x * x, np.ones(2)).sparsity().to_scipy().toarray()
        array([[ True, False],
               [False,  True]])
        """
        from scipy.sparse import csr_array

        ones = np.ones(self.entries, np.bool_)
        return csr_array((ones, self.indices.copy(), self.indptr.copy()), shape=self.shape)

    def contains(self, other: Any) -> bool:
        """Whether each nonzero of a matrix is an entry.

        Parameters
        ----------
        other : ndarray or sparse matrix, of the pattern's shape

        Returns
        -------
        bool

        Examples
        --------
        >>> import numpy as np, numbad
        >>> pattern = numbad.record(lambda x: x * x, np.ones(2)).sparsity()
        >>> pattern.contains(np.eye(2)), pattern.contains(np.ones((2, 2)))
        (True, False)
        """
        return self.missing(other)[0].size == 0

    def missing(self, other: Any) -> tuple[np.ndarray, np.ndarray]:
        """Return rows and columns of the nonzeros of a matrix that are no entries.

        Parameters
        ----------
        other : ndarray or sparse matrix, of the pattern's shape

        Returns
        -------
        tuple of ndarray
            Rows and columns.

        Examples
        --------
        >>> import numpy as np, numbad
        >>> numbad.record(lambda x: x * x, np.ones(2)).sparsity().missing(np.ones((2, 2)))
        (array([0, 1]), array([1, 0]))
        """
        from scipy.sparse import coo_array

        found = coo_array(other)
        kept = found.data != 0
        rows, columns = found.row[kept].astype(np.int64), found.col[kept].astype(np.int64)
        own, width = self.structure(), np.int64(max(self.shape[1], 1))
        inside = np.isin(rows * width + columns, own[0].astype(np.int64) * width + own[1])
        return rows[~inside], columns[~inside]

    def spy(self, axes: Any = None, colours: Any = None, **options: Any) -> Any:
        """Draw the entries with Matplotlib.

        Parameters
        ----------
        axes : matplotlib Axes, optional
            Where to draw; a new figure by default.
        colours : ndarray of int, optional
            Colours of the columns, as those of `Colouring.columns`; entries are drawn in them.
        **options
            Passed to `axes.scatter`.

        Returns
        -------
        matplotlib Axes

        Raises
        ------
        NumbadError
            When Matplotlib is not installed.
        ValueError
            When there is not one colour for each column.

        Examples
        --------
        >>> import importlib.util, numpy as np, numbad
        >>> pattern = numbad.record(lambda x: x * x, np.ones(2)).sparsity()
        >>> pattern.spy().get_xlabel() if importlib.util.find_spec("matplotlib") else "inputs"
        'inputs'
        """
        from numbad.pictures.spying import spy

        return spy(self, axes, colours, **options)


def index_dtype(*numbers: int) -> Any:
    """Return the dtype of indices up to some numbers: int32 where they fit."""
    return np.int32 if max(numbers, default=0) <= MOST_SMALL else np.int64


class Analysis:
    """A tape as element rows, with the values of one point: what is found of them holds at all points of the path.

    Parameters
    ----------
    tape : Tape
    wanted : list of int
        The inputs that are differentiated by, as places in `tape.inputs`; their elements are the columns.
    rows : list of int
        The outputs whose elements are the rows, as places in `tape.outputs`.
    point : tuple
        The arguments at a point of the path.

    Attributes
    ----------
    elements : Elements
    columns, outputs : ndarray of int64
        The addresses of the inputs' elements and of the outputs'.
    values : ndarray
        Of all addresses, at the point.
    partials : ndarray, shape (rows, 2)
        Of the scalar rows, at the point.
    flags : ndarray of uint8, shape (rows,)
        Which partials are constant, and which of these are absent.
    varies : ndarray of uint8, shape (size,)
        Whether a value depends on an input, one that is differentiated by or not.
    """

    def __init__(self, tape: Tape, wanted: list[int], rows: list[int], point: tuple[Any, ...]) -> None:
        self.tape = tape
        self.elements = take_elements(tape)
        places = [input_places(slot, self.elements) for slot in tape.inputs]
        self.columns = join([places[k] for k in wanted])
        self.outputs = join([output_places(tape.outputs[k], self.elements) for k in rows])
        if self.columns.size > MOST_COLUMNS:
            raise MemoryError(f"there are {self.columns.size:,} inputs; a pattern has {MOST_COLUMNS:,} columns at most")
        execution, _ = tape.run(point)
        self.values = values_of(tape, self.elements, execution)
        execution.release()
        size, count = self.elements.size, len(self.elements.code)
        self.varies, self.uses = np.zeros(size, np.uint8), np.zeros(size, np.uint8)
        self.varies[join(places)] = 1
        self.uses[self.outputs] = 2
        self.carries = operands_that_carry()[0]
        self.binary = np.array([op.arity == 2 for op in REGISTRY], np.uint8)
        self.flags = np.zeros(count, np.uint8)
        self.mark()

    def mark(self) -> None:
        """Compute the partials, and note which are constant, and absent."""
        elements, code = self.elements, self.elements.code
        self.partials = np.full((len(code), 2), np.nan, self.values.dtype)
        arrays = (code.reshape(-1), self.values, self.partials.reshape(-1))
        linearise = int(switch("linearise", self.values.dtype))
        call("fill_partials_at", 0, arrays, linearise, dtype=self.values.dtype)
        if elements.python:
            hosts = np.array([op.host for op in REGISTRY], np.bool_)
            scalar = code[:, 0] < MAP
            self.partials[scalar] = np.where(hosts[code[scalar, 0]][:, None], np.nan, self.partials[scalar])
        call("mark_rows_at", 0, (code.reshape(-1), self.varies, self.uses, self.flags, self.binary, dependencies()))
        rows = np.flatnonzero(code[:, 0] < MAP)
        products = code[rows, 0] == multiply.opcode
        for column, constant, none in ((0, P_CONSTANT, P_NONE), (1, Q_CONSTANT, Q_NONE)):
            partial = self.partials[rows, column]
            zero = (partial == 0) & (np.signbit(partial) | products)
            self.flags[rows[zero & (self.flags[rows] & constant != 0)]] |= none
        rows = np.flatnonzero(code[:, 0] == CONTRACT)
        for other, constant, none in ((3, P_CONSTANT, P_NONE), (2, Q_CONSTANT, Q_NONE)):
            zero = (self.values[code[rows, other]] == 0) & (self.flags[rows] & constant != 0)
            self.flags[rows[zero]] |= none

    def is_linear(self) -> bool:
        """Whether no partial varies and no guard has to hold: the derivative is the same at all points."""
        code, opcodes = self.elements.code, self.elements.code[:, 0]
        if self.elements.python or ((opcodes == GUARD) | (opcodes == GUARD_VALUE)).any():
            return False
        rows = np.flatnonzero(opcodes != CLEAR)
        scalar = opcodes[rows] < MAP
        two = opcodes[rows] == CONTRACT
        two[scalar] = self.binary[opcodes[rows[scalar]]] != 0
        moves = self.varies[code[rows, 2]] & (self.flags[rows] & P_CONSTANT == 0)
        moves |= two & (self.varies[code[rows, 3] * two] != 0) & (self.flags[rows] & Q_CONSTANT == 0)
        return not moves.any()

    def pattern(self, symmetric: bool = False) -> Pattern:
        """Return the pattern.

        Raises
        ------
        MemoryError
            When it does not fit into the free memory; it is not made then.
        """
        size, code = self.elements.size, self.elements.code
        starts, counts, second = np.zeros(size, np.int64), np.zeros(size, np.int64), np.full(size, -1, np.int64)
        count = self.columns.size
        starts[self.columns], counts[self.columns] = np.arange(count), 1
        pool = np.zeros(2 * count + len(code) + 64, np.int64)
        pool[:count] = np.arange(count, dtype=np.int64) * ((1 << 32) + 1)
        keys, stack, state = np.zeros(count + 1024, np.int64), np.zeros(size + 2, np.int64), np.array([count, 0, 0, 0])
        marks = np.zeros(pool.size, np.int64)
        while True:
            arrays = (code.reshape(-1), self.flags, self.carries, self.uses, starts, counts, second, pool, keys)
            if call("propagate_at", 0, (*arrays, stack, state, marks)) == len(code):
                break
            check_pattern(8 * (5 * pool.size + 2 * keys.size), "the sets of columns")
            if state[2]:
                keys = np.zeros(2 * keys.size, np.int64)
            else:
                pool = np.concatenate([pool, np.zeros(pool.size, np.int64)])
                marks = np.zeros(pool.size, np.int64)
        return write_pattern(self.outputs, starts, counts, pool, count, symmetric)


def write_pattern(
    outputs: np.ndarray, starts: np.ndarray, counts: np.ndarray, pool: np.ndarray, width: int, symmetric: bool
) -> Pattern:
    """Return the pattern of some addresses whose sets are known."""
    pointers = np.zeros(outputs.size + 1, np.int64)
    arrays = (outputs, starts, counts, pool, pointers)
    total = call("write_pattern_at", 0, (*arrays, np.zeros(0, np.int64)))
    check_pattern(PATTERN_BYTES * total, f"a pattern of {outputs.size:,} x {width:,} with {total:,} entries")
    columns = np.zeros(total, np.int64)
    if total:
        call("write_pattern_at", 0, (*arrays, columns))
    dtype = index_dtype(total, outputs.size, width)
    return Pattern((outputs.size, width), pointers.astype(dtype), columns.astype(dtype), symmetric)


def check_pattern(size: int, what: str) -> None:
    """Raise MemoryError for what would not fit into the free memory."""
    available = available_memory() if size > COMPARED_MEMORY else np.inf
    if size > available:
        raise MemoryError(
            message(
                f"{what} need {size / 1e9:.1f} GB, and {available / 1e9:.1f} GB are free",
                "the derivative is (nearly) dense: use numbad.jvp, numbad.vjp or numbad.hvp for products with it",
                where=False,
            )
        )


def join(parts: list[np.ndarray]) -> np.ndarray:
    """Return addresses on end."""
    return np.concatenate([np.zeros(0, np.int64), *parts]).astype(np.int64)


def both_ways(pattern: Pattern) -> Pattern:
    """Return the entries (i, j) of a pattern of second derivatives for which (j, i) is one, too.

    The second derivatives are symmetric, and both (i, j) and (j, i) may be nonzero only where both are entries.
    """
    from scipy.sparse import csr_array

    ones = np.ones(pattern.entries, np.int8)
    matrix = csr_array((ones, pattern.indices, pattern.indptr), shape=pattern.shape)
    found = matrix.multiply(matrix.T).tocsr()
    found.sort_indices()
    dtype = pattern.indices.dtype
    return Pattern(pattern.shape, found.indptr.astype(dtype), found.indices.astype(dtype), True)
