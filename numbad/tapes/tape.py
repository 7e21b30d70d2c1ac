"""The tape: what one run of a function did, as flat arrays that can be read, printed, checked and run again."""

from __future__ import annotations

import copy
import dataclasses
from array import array
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, overload

import numpy as np

from numbad.errors import InputError, OutputError, Site, SourceLine, TapeError, message
from numbad.limits import SHORT
from numbad.recording.structures import count_leaves, describe_trees, flatten, unflatten
from numbad.settings import config
from numbad.sweeps.execution import Execution
from numbad.sweeps.whole import give_back, run_whole
from numbad.tape.layout import GUARD, GUARD_VALUE, find_large
from numbad.tapes.slots import Input, Output
from numbad.tapes.workspaces import Workspace, check_gradient_out, check_out, output_slots, rows_of, take_workspace

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable
    from os import PathLike
    from typing import BinaryIO

    from numbad.recording.hostcalls import HostCall
    from numbad.recording.structures import Structure
    from numbad.tape.rows import Rows
    from numbad.tapes.passes import PassRecord
    from numbad.types import Argnums, Arrays, Several, Space, T, Ts, U, Value


@dataclasses.dataclass(eq=False, repr=False)
class Tape:
    """The recording of one run of a function: flat arrays, which run again at other points.

    `numbad.record` makes tapes. A tape is called like the function; the branches that the function
    took are guarded, and a point where it would take another raises a BranchError. What the function
    took from elsewhere is part of the tape as it was then: the tape has copies of arrays.

    Attributes
    ----------
    code : ndarray of uint32, shape (rows, 4), read-only
        Rows (opcode, out, a, b).
    words : ndarray of int64, read-only
        Operands of array rows; numbad/tape/layout.py says how they are laid out.
    size : int
        Addresses of the arena.
    dtype : dtype
        float32 or float64: of the arena.
    numbers : ndarray of float64, shape (constants, 2), read-only
        Constant numbers: address, value.
    loads : list of (int, ndarray)
        Small constant arrays and their addresses.
    spaces : list
        Memory outside of the arena: large constant arrays; None for the arena and inputs.
    hosts : list
        The Python kernels of host rows.
    inputs : tuple of Input
        Where the inputs go, their names and shapes.
    outputs : tuple of Output
        Where the results are.
    sites : ndarray of int32, shape (rows,)
        The index in `places` of the user's statement that a row comes from, or -1.
    places : list of (code object, int) or SourceLine
        Statements of the user's program: the function's code and the place in it; as text in a loaded tape.
    name : str
        Name of the recorded function.
    passes : tuple of PassRecord
        What `optimise` did to it.
    forward_only : bool
        Whether results overwrite one another, so that there are no derivatives.

    Examples
    --------
    >>> import numbad
    >>> tape = numbad.record(lambda x, y: x * y + 1.0, 2.0, 5.0)
    >>> tape(3.0, 4.0)
    13.0
    >>> tape.gradient(3.0, 4.0)
    (4.0, 3.0)
    """

    code: np.ndarray
    words: np.ndarray
    size: int
    dtype: np.dtype
    numbers: np.ndarray
    loads: list[tuple[int, np.ndarray]]
    spaces: list[Space]
    hosts: list[HostCall]
    inputs: tuple[Input, ...]
    outputs: tuple[Output, ...]
    input_trees: tuple[Structure, ...]
    output_tree: Structure
    sites: np.ndarray
    places: Sequence[Site | SourceLine]
    name: str = "f"
    space_names: tuple[str, ...] = ()
    examples: tuple[Any, ...] = ()
    passes: tuple[PassRecord, ...] = ()
    forward_only: bool = False

    def __post_init__(self) -> None:
        """Copy the rows, so that nothing outside changes them after they have been verified."""
        code = np.array(self.code, np.uint32, order="C")
        if code.ndim != 2 or code.shape[1] != 4:
            raise TapeError(
                message(f"a tape's code has the shape (rows, 4), not {code.shape}", "record again", where=False)
            )
        words = np.array(self.words, np.int64).reshape(-1)
        numbers = np.array(self.numbers, np.float64).reshape(-1, 2)
        self._code, self._words = code, words
        self.code, self.words, self.numbers = code.view(), words.view(), numbers
        self.code.flags.writeable = self.words.flags.writeable = self.numbers.flags.writeable = False
        self._verified = self._trusted = False
        self._large: list[int] = []
        self._pairs: array[float] | None = None  # inputs and constants of a short tape of numbers, and its rows
        self._rows: Rows | None = None
        self.kept: dict[Hashable, Any] = {}  # what calls leave for the next: workspaces, derived tapes, programs

    # ------------------------------------------------------------ reading

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self._code)

    def __repr__(self) -> str:
        return f"<tape of {self.name}: {len(self)} rows, {self.size} addresses, {self.dtype}>"

    def __str__(self) -> str:
        from numbad.pictures.listing import list_tape

        return list_tape(self)

    def show(self, *points: Any, adjoints: bool = False, rows: int = 30) -> None:
        """Print the tape with the values of one point.

        Parameters
        ----------
        *points : float, ndarray or tree
            Where to run it; the point of the recording if none is given.
        adjoints : bool
            Print the derivative of the result with respect to each intermediate, too.
        rows : int
            Longer tapes are abbreviated to about as many rows.

        Raises
        ------
        BranchError
            When a given point takes another branch than the recorded one.
        InputError
            When a given point has another structure, shape or dtype than the recorded one.
        OutputError
            With `adjoints`, when the recorded function did not return one number.

        Notes
        -----
        One forward sweep; one adjoint sweep with `adjoints`.

        Examples
        --------
        >>> import numbad
        >>> numbad.record(lambda x, y: x * y + 1.0, 2.0, 5.0).show(3.0, 4.0)  # doctest: +ELLIPSIS
        tape of <lambda>: 2 rows, ...
        """
        from numbad.pictures.listing import list_tape

        print(list_tape(self, *points, adjoints=adjoints, rows=rows))

    def summary(self) -> str:
        """Return rows and elements of each op, sizes in bytes, and what each sweep is predicted to take, as text.

        Returns
        -------
        str
            A table of several lines.

        Raises
        ------
        TapeError
            When the tape does not pass verification.

        Notes
        -----
        Nothing is run: the times are predicted from the rows. What passes did to the tape is listed, too.

        Examples
        --------
        >>> import numbad
        >>> print(numbad.record(lambda x: x * x + 1.0, 3.0).summary().splitlines()[0])  # doctest: +ELLIPSIS
        tape of <lambda>: 2 rows, ...
        """
        from numbad.pictures.listing import summarise

        return summarise(self)

    def optimise(self, forward_only: bool = False) -> Tape:
        """Return a tape that computes the same with fewer rows and addresses (see `numbad.passes.optimise`).

        Parameters
        ----------
        forward_only : bool
            Also overwrite values that nothing needs again: a smaller arena, but no derivatives.

        Returns
        -------
        Tape
            A new tape; this one stays as it is.

        Raises
        ------
        TapeError
            When the tape does not pass verification, or is `forward_only`.

        Notes
        -----
        Some sweeps over the rows. An optimised tape pays where it is run many times.

        Examples
        --------
        >>> import numbad
        >>> tape = numbad.record(lambda x: x * x + x * x, 3.0)
        >>> shorter = tape.optimise()
        >>> len(tape), len(shorter), shorter.gradient(5.0)
        (3, 2, 20.0)
        """
        from numbad.tapes.passes import optimise

        return optimise(self, forward_only)

    def explain(self, row: int, *points: Any) -> str:
        """Return in words what a row computes, of what, for whom, and where the user wrote it.

        Parameters
        ----------
        row : int
            As `print` numbers them; negative ones count from the end.
        *points : float, ndarray or tree
            Where to run the tape for the values; the point of the recording if none is given.

        Returns
        -------
        str
            Several lines of text.

        Raises
        ------
        IndexError
            When the tape has no such row.
        BranchError
            When a given point takes another branch than the recorded one.
        InputError
            When a given point has another structure, shape or dtype than the recorded one.

        Notes
        -----
        One forward sweep.

        Examples
        --------
        >>> import numbad
        >>> print(numbad.record(lambda x: x * x + 1.0, 3.0).explain(0))
        row 0: v0 = x * x
          multiply: Product.
          reads the input x
          value 9
          dv0/d(x) = 3: the adjoint of x gets that times the adjoint of v0
          dv0/d(x) = 3: the adjoint of x gets that times the adjoint of v0
          its line was not noted: rows of numbers keep none
          read by row 1
        """
        from numbad.pictures.explaining import explain_row

        return explain_row(self, row, *points)

    # ------------------------------------------------------------ pictures

    def to_dot(self, *points: Any, adjoints: bool = False, rows: int = 200) -> str:
        """Return the computational graph in Graphviz's DOT language.

        Parameters
        ----------
        *points : float, ndarray or tree
            Where to run the tape for values to show; without a point there are none.
        adjoints : bool
            Show the derivative of the result with respect to each intermediate, too (at the point of
            the recording if no other is given).
        rows : int
            A longer tape raises a NumbadError.

        Returns
        -------
        str
            The DOT text: inputs, rows and results as nodes, with arrows to who reads them.

        Raises
        ------
        NumbadError
            When the tape is longer than `rows`.
        OutputError
            With `adjoints`, when the recorded function did not return one number.

        Examples
        --------
        >>> import numbad
        >>> print(numbad.record(lambda x: x * 2.0, 3.0).to_dot())
        digraph "<lambda>" {
          node [fontname="sans-serif", fontsize=11, style=filled]
          input0 [label="x", shape=box, fillcolor=lightblue]
          number0 [label="2.0", shape=plaintext, fillcolor=white]
          row0 [label="*\\nv0", shape=ellipse, fillcolor=lightgrey]
          output0 [label="returns", shape=box, fillcolor=darkolivegreen1]
          input0 -> row0
          number0 -> row0
          row0 -> output0
        }
        <BLANKLINE>
        """
        from numbad.pictures.drawing import write_dot

        return write_dot(self, *points, adjoints=adjoints, rows=rows)

    def draw(
        self,
        path: str | PathLike[str],
        *points: Any,
        adjoints: bool = False,
        rows: int = 200,
        pattern: str | None = None,
    ) -> str:
        """Draw the computational graph into a file: inputs, rows and results as nodes, with arrows to who reads them.

        Parameters
        ----------
        path : str or path-like
            Ends in .svg, .png or .pdf: drawn by Graphviz's `dot` where it is installed, else by
            Matplotlib. Ends in .dot or .gv: the text that Graphviz reads.
        *points : float, ndarray or tree
            Where to run the tape for values to show; without a point there are none.
        adjoints : bool
            Show the derivative of the result with respect to each intermediate, too.
        rows : int
            A longer tape raises a NumbadError.
        pattern : {"jacobian", "hessian"}, optional
            Draw where this matrix has entries instead (see `sparsity`), in the colours of the columns that one sweep
            may compute together; Matplotlib is needed, and the name may end in whatever it writes.

        Returns
        -------
        str
            The DOT text; of a pattern, its size and number of entries.

        Raises
        ------
        NumbadError
            When the tape is longer than `rows`, or neither Graphviz nor Matplotlib is installed.
        OutputError
            With `adjoints`, when the recorded function did not return one number.
        ValueError
            When the name of the file ends otherwise; when `pattern` is no such matrix, or is given with points or
            `adjoints`, which it has no use for.

        Examples
        --------
        >>> import pathlib, tempfile, numbad
        >>> path = pathlib.Path(tempfile.mkdtemp()) / "product.dot"
        >>> text = numbad.record(lambda x, y: x * y, 2.0, 3.0).draw(path)
        >>> path.read_text() == text
        True
        """
        if pattern is not None:
            from numbad.pictures.spying import draw_pattern

            return draw_pattern(self, path, pattern, bool(points or adjoints))
        from numbad.pictures.drawing import draw_tape

        return draw_tape(self, path, *points, adjoints=adjoints, rows=rows)

    def _repr_html_(self) -> str:
        from numbad.pictures.notebook import write_html

        return write_html(self)

    def _repr_svg_(self) -> str | None:
        from numbad.pictures.notebook import write_svg

        return write_svg(self)

    # ------------------------------------------------------------ files and copies

    def save(self, file: str | PathLike[str] | BinaryIO) -> None:
        """Write the tape to a file, which `numbad.load` reads.

        Parameters
        ----------
        file : str, path-like or binary file
            A file of that name is replaced when all has been written.

        Raises
        ------
        TapeError
            When the tape calls a Python function with a rule of its own (`custom_vjp`, `custom_jvp`,
            `checkpoint`), or its arguments have a structure that a file cannot hold: lists, tuples,
            dicts and named tuples are known. The message names it.
        OSError
            When the file cannot be written.
        TypeError
            When `file` is neither a name nor a file.

        Notes
        -----
        The format is a header, text and plain arrays (numbad/ARCHITECTURE.md, section Files); there is no
        code in it. Elementwise ops of the user's own are saved by name. The file holds the user's
        file names and the text of recorded lines, and the inputs at the recording.

        Examples
        --------
        >>> import pathlib, tempfile, numbad
        >>> path = pathlib.Path(tempfile.mkdtemp()) / "product.tape"
        >>> numbad.record(lambda x, y: x * y, 2.0, 3.0).save(path)
        >>> numbad.load(path)(5.0, 7.0)
        35.0
        """
        from numbad.storage.tape_files import save

        save(self, file)

    def __reduce__(self) -> tuple[Any, ...]:
        from numbad.storage.tape_files import tape_bytes

        return tape_bytes(self)

    def __copy__(self) -> Tape:
        return dataclasses.replace(self)

    def __deepcopy__(self, memo: dict[int, Any]) -> Tape:
        return dataclasses.replace(
            self,
            loads=copy.deepcopy(self.loads, memo),
            spaces=copy.deepcopy(self.spaces, memo),
            outputs=copy.deepcopy(self.outputs, memo),
            sites=self.sites.copy(),
            examples=copy.deepcopy(self.examples, memo),
        )

    # ------------------------------------------------------------ sites

    def site(self, row: int) -> Site | SourceLine | None:
        """Return the user's statement of a row, if it was noted.

        Parameters
        ----------
        row : int
            As `print` numbers them.

        Returns
        -------
        tuple of (code object, int), SourceLine or None
            The function's code and the place in it; file, line, function and source as text in a loaded tape. None for
            rows of numbers, whose statements are not noted.

        Raises
        ------
        IndexError
            When the tape has no such row.

        Examples
        --------
        >>> import types, numpy as np, numbad
        >>> code, place = numbad.record(np.sum, np.ones(3)).site(0)
        >>> isinstance(code, types.CodeType)
        True
        >>> numbad.record(lambda x: x * x, 3.0).site(0) is None
        True
        """
        while row > 0 and self.sites[row] < 0 and self._code[row, 0] in (GUARD, GUARD_VALUE):
            row -= 1  # the guards of one mask share the site of the first
        index = int(self.sites[row])
        return self.places[index] if 0 <= index < len(self.places) else None

    def program_code(self) -> np.ndarray:
        """Return the rows as the array that compiled functions read.

        Returns
        -------
        ndarray of uint32, shape (rows, 4)
            The memory of the tape itself, not a copy: do not write to it. `code` is a read-only view of it.

        Examples
        --------
        >>> import numbad
        >>> numbad.record(lambda x: x * x, 3.0).program_code().shape
        (1, 4)
        """
        return self._code

    def program_words(self) -> np.ndarray:
        """Return the operand words as the array that compiled functions read.

        Returns
        -------
        ndarray of int64, shape (words,)
            The memory of the tape itself, not a copy: do not write to it. `words` is a read-only view of it.

        Examples
        --------
        >>> import numbad
        >>> numbad.record(lambda x: x * x, 3.0).program_words().size
        0
        """
        return self._words

    # ------------------------------------------------------------ running

    def __call__(self, *points: Any, out: Any = None) -> Any:
        """Return the value of the recorded function at a point.

        Parameters
        ----------
        *points : float, ndarray or tree
            The arguments of the recorded function, with the recorded structure, shapes and dtypes.
        out : tree of ndarray, optional
            Arrays of the structure, shapes and dtypes of the result, which take it and are returned.

        Returns
        -------
        float, ndarray or tree
            As the recorded function returned it; `out` if it was given.

        Raises
        ------
        BranchError
            When a branch would be taken otherwise than when it was recorded.
        InputError
            When an argument has another structure, shape or dtype than the recorded one, or `out` than the result.
        RecordingError
            When an argument is a recording value: call the function there, not its tape.
        TapeError
            When the tape does not pass verification.

        Notes
        -----
        One forward sweep. The memory of a run is kept for the next one, one for each thread that calls the tape at the
        same time.

        Examples
        --------
        >>> import numpy as np, numbad
        >>> tape = numbad.record(lambda x: x**2, np.ones(2))
        >>> tape(np.array([1.0, 3.0]))
        array([1., 9.])
        """
        targets = None if out is None else check_out(out, self.output_tree, output_slots(self))
        numbers_only = all(slot.shape == () for slot in self.outputs)
        workspace, _ = self.borrow(points, numbers_only)
        found = [slot.read(workspace.execution) for slot in self.outputs]
        workspace.release(self)
        if targets is None:
            return unflatten(self.output_tree, found)
        for target, part in zip(targets, found, strict=True):
            target[...] = part
        return out

    @overload
    def gradient(self, *points: *tuple[T], out: Any = None) -> T: ...
    @overload
    def gradient(self, *points: *tuple[T, U], out: Any = None) -> tuple[T, U]: ...
    @overload
    def gradient(self, *points: *Several, out: Any = None) -> tuple[Any, ...]: ...
    def gradient(self, *points: Any, out: Any = None) -> Any:
        """Return the gradient at a point: like the point, or a tuple for several arguments.

        Parameters
        ----------
        *points : float, ndarray or tree
            The arguments of the recorded function, with the recorded structure, shapes and dtypes.
        out : tree of ndarray, optional
            Arrays with the structure, shapes and dtypes of the gradient, which take it and are returned.

        Returns
        -------
        float, ndarray or tree
            With the structure, shapes and dtypes of the point; a tuple with one for each of several arguments.

        Raises
        ------
        OutputError
            When the recorded function did not return one number.
        BranchError
            When a branch would be taken otherwise than when it was recorded.
        InputError
            When an argument has another structure, shape or dtype than the recorded one, or `out` than the gradient.
        RecordingError
            When an argument is a recording value: call the function there, not its tape.
        TapeError
            When the tape does not pass verification, or when it is `forward_only`: its values are overwritten.

        Notes
        -----
        One forward and one adjoint sweep; their memory is kept for the next call.

        References
        ----------
        .. [1] A. Griewank and A. Walther, *Evaluating Derivatives*, 2nd ed., SIAM, 2008, section 3.3 (reverse mode).

        Examples
        --------
        >>> import numpy as np, numbad
        >>> tape = numbad.record(lambda x: np.sum(x**2), np.zeros(3))
        >>> tape.gradient(np.array([1.0, 2.0, 3.0]))
        array([2., 4., 6.])
        """
        return self.value_and_gradient(*points, out=out)[1]

    @overload
    def value_and_gradient(self, *points: *tuple[T], out: Any = None) -> tuple[Value, T]: ...
    @overload
    def value_and_gradient(self, *points: *tuple[T, U], out: Any = None) -> tuple[Value, tuple[T, U]]: ...
    @overload
    def value_and_gradient(self, *points: *Several, out: Any = None) -> tuple[Value, tuple[Any, ...]]: ...
    def value_and_gradient(self, *points: Any, out: Any = None) -> tuple[Any, Any]:
        """Return the value and the gradient at a point.

        Parameters
        ----------
        *points : float, ndarray or tree
            The arguments of the recorded function, with the recorded structure, shapes and dtypes.
        out : tree of ndarray, optional
            Arrays with the structure, shapes and dtypes of the gradient, which take it and are returned.

        Returns
        -------
        tuple
            (value, gradient): a number, and what `gradient` returns.

        Raises
        ------
        OutputError
            When the recorded function did not return one number.
        BranchError
            When a branch would be taken otherwise than when it was recorded.
        InputError
            When an argument has another structure, shape or dtype than the recorded one, or `out` than the gradient.
        RecordingError
            When an argument is a recording value: call the function there, not its tape.
        TapeError
            When the tape does not pass verification, or when it is `forward_only`: its values are overwritten.

        Notes
        -----
        One forward and one adjoint sweep; their memory is kept for the next call.

        References
        ----------
        .. [1] A. Griewank and A. Walther, *Evaluating Derivatives*, 2nd ed., SIAM, 2008, section 3.3 (reverse mode).

        Examples
        --------
        >>> import numpy as np, numbad
        >>> tape = numbad.record(lambda x: np.sum(x**2), np.zeros(3))
        >>> tape.value_and_gradient(np.array([1.0, 2.0, 3.0]))
        (14.0, array([2., 4., 6.]))
        """
        output = self.scalar_output()
        numbers = self.gradient_of_numbers(points, output) if out is None else None
        if numbers is not None:
            return numbers
        targets = None if out is None else check_gradient_out(self, out)
        workspace, given = self.borrow(points, True)
        seeds = [(output.address, 1.0)] if output.constant is None else []
        bars = workspace.execution.backward(seeds)
        if targets is None:
            found = [slot.read(bars, value) for slot, value in zip(self.inputs, given, strict=True)]
        else:
            for slot, target in zip(self.inputs, targets, strict=True):
                np.add(slot.place(bars), 0.0, out=target, casting="same_kind")  # what is absent is shown as zero
        value = self.read_outputs(workspace.execution)
        workspace.release(self, bars)
        if targets is not None:
            return value, out
        gradients = self.rebuild_inputs(found)
        return value, gradients[0] if len(gradients) == 1 else gradients

    # ------------------------------------------------------------ derivatives

    def jvp(self, primals: Sequence[Any], tangents: Sequence[Any]) -> tuple[Any, Any]:
        """Return the value at a point and its derivative along tangents, as numbad.jvp does.

        Parameters
        ----------
        primals : tuple
            The arguments of the recorded function, with the recorded structure, shapes and dtypes.
        tangents : tuple
            For each argument a tangent of the same structure and shapes, of any real dtype.

        Returns
        -------
        tuple
            (value, tangent of the value), both with the structure, shapes and dtypes of the result.

        Raises
        ------
        OutputError
            When the recorded function returned truth values.
        BranchError
            When a branch would be taken otherwise than when it was recorded.
        InputError
            When an argument has another structure, shape or dtype than the recorded one, or a tangent than its
            argument.
        RecordingError
            When an argument is a recording value: call the function there, not its tape.
        TapeError
            When the tape does not pass verification, or when it is `forward_only`: its values are overwritten.

        Notes
        -----
        One forward and one tangent sweep.

        References
        ----------
        .. [1] A. Griewank and A. Walther, *Evaluating Derivatives*, 2nd ed., SIAM, 2008, section 3.1 (forward mode).

        Examples
        --------
        >>> import numbad
        >>> numbad.record(lambda x: x**2, 1.0).jvp((3.0,), (1.0,))
        (9.0, 6.0)
        """
        from numbad.tapes.directional import push_once

        return push_once(self, primals, tangents)

    def vjp(self, *primals: *Ts) -> tuple[Any, Callable[[Any], tuple[*Ts]]]:
        """Return the value at a point and its pullback, as numbad.vjp does.

        Parameters
        ----------
        *primals : float, ndarray or tree
            The arguments of the recorded function, with the recorded structure, shapes and dtypes.

        Returns
        -------
        tuple
            (value, pullback). `pullback(cotangent)` takes a cotangent of the structure and shapes of the value,
            returns a tuple with one cotangent for each argument, of its structure, shapes and dtypes, and may be
            called again and again.

        Raises
        ------
        OutputError
            When the recorded function returned truth values.
        BranchError
            When a branch would be taken otherwise than when it was recorded.
        InputError
            When an argument has another structure, shape or dtype than the recorded one; from the pullback, when the
            cotangent is not like the value.
        RecordingError
            When an argument is a recording value: call the function there, not its tape.
        TapeError
            When the tape does not pass verification, or when it is `forward_only`: its values are overwritten.

        Notes
        -----
        One forward sweep, and one adjoint sweep for each call of the pullback, which owns the memory of its point.

        References
        ----------
        .. [1] A. Griewank and A. Walther, *Evaluating Derivatives*, 2nd ed., SIAM, 2008, section 3.3 (reverse mode).

        Examples
        --------
        >>> import numpy as np, numbad
        >>> value, pullback = numbad.record(lambda x: x**2, np.ones(2)).vjp(np.array([1.0, 2.0]))
        >>> pullback(np.array([1.0, 10.0]))
        (array([ 2., 40.]),)
        """
        from numbad.tapes.directional import pull_back

        return pull_back(self, primals)

    def jacobian(self, *points: Any) -> Arrays:
        """Return the Jacobian at a point, as numbad.jacobian does, in the cheaper mode.

        Parameters
        ----------
        *points : float, ndarray or tree
            The arguments of the recorded function, with the recorded structure, shapes and dtypes.

        Returns
        -------
        float, ndarray or tree
            For an output of shape s and an input of shape t an ndarray of shape s + t, with the dtype of the input; a
            number where both are numbers; a tuple for several arguments.

        Raises
        ------
        OutputError
            When the recorded function returned truth values.
        BranchError
            When a branch would be taken otherwise than when it was recorded.
        InputError
            When an argument has another structure, shape or dtype than the recorded one.
        RecordingError
            When an argument is a recording value: call the function there, not its tape.
        TapeError
            When the tape does not pass verification, or when it is `forward_only`: its values are overwritten.

        Notes
        -----
        The rows of the Jacobian are made from the tape's own at the first call, and kept: a second point costs their
        sweep.

        References
        ----------
        .. [1] A. Griewank and A. Walther, *Evaluating Derivatives*, 2nd ed., SIAM, 2008, sections 3.1 (forward mode)
           and 3.3 (reverse mode).

        Examples
        --------
        >>> import numpy as np, numbad
        >>> numbad.record(lambda x: x**2, np.ones(2)).jacobian(np.array([1.0, 3.0]))
        array([[2., 0.],
               [0., 6.]])
        """
        from numbad.tapes.jacobians import jacobian_at

        return jacobian_at(self, points)

    def hessian(self, *points: Any) -> Arrays:
        """Return the second derivatives at a point, as numbad.hessian does: forward over reverse.

        Parameters
        ----------
        *points : float, ndarray or tree
            The arguments of the recorded function, with the recorded structure, shapes and dtypes.

        Returns
        -------
        float, ndarray or tree
            An ndarray of shape s + t + t for an output of shape s (() for a number) and an input of shape t, with the
            dtype of the input; a number where all are numbers; a tuple of tuples for several arguments.

        Raises
        ------
        OutputError
            When the recorded function returned truth values.
        BranchError
            When a branch would be taken otherwise than when it was recorded.
        InputError
            When an argument has another structure, shape or dtype than the recorded one.
        RecordingError
            When an argument is a recording value: call the function there, not its tape.
        TapeError
            When the tape does not pass verification, or when it is `forward_only`: its values are overwritten.

        Notes
        -----
        The rows of the Hessian are made from the tape's own at the first call, and kept: a second point costs their
        sweep.

        References
        ----------
        .. [1] A. Griewank and A. Walther, *Evaluating Derivatives*, 2nd ed., SIAM, 2008, sections 3.1 (forward mode)
           and 3.3 (reverse mode).

        Examples
        --------
        >>> import numpy as np, numbad
        >>> numbad.record(lambda x: x[0] ** 2 * x[1], np.ones(2)).hessian(np.array([1.0, 2.0]))
        array([[4., 2.],
               [2., 0.]])
        """
        from numbad.tapes.jacobians import hessian_at

        return hessian_at(self, points)

    # ------------------------------------------------------------ sparse derivatives

    def sparsity(self, second: bool = False) -> Any:
        """Return where the Jacobian may have entries on the tape's path, or the second derivatives.

        Parameters
        ----------
        second : bool
            Whether the pattern of the second derivatives is asked for; the tape returns one number then.

        Returns
        -------
        Pattern
            With a row for each element of the outputs (of the inputs for second derivatives), and a column for each
            element of the inputs: `structure()` gives rows and columns, `spy()` draws it.

        Raises
        ------
        OutputError
            When the recorded function returned truth values; for second derivatives when it did not return one number.
        MemoryError
            When the pattern does not fit into the free memory; it is not made then.
        TapeError
            When the tape does not pass verification, or when it is `forward_only`.

        Notes
        -----
        Sets of inputs are propagated over the rows as lists of intervals: some ten nanoseconds an element. Found at the
        first call, with how the entries are computed, and kept.

        References
        ----------
        .. [1] A. Griewank and A. Walther, *Evaluating Derivatives*, 2nd ed., SIAM, 2008, section 7.1.

        Examples
        --------
        >>> import numpy as np, numbad
        >>> numbad.record(lambda x: x[1:] * x[:-1], np.ones(3)).sparsity().to_scipy().toarray().astype(int)
        array([[1, 1, 0],
               [0, 1, 1]])
        """
        from numbad.sparsity.of_tapes import pattern_of_tape

        return pattern_of_tape(self, second)

    def sparse_jacobian(self, *points: Any, format: str = "csr") -> Any:
        """Return the Jacobian at a point as a sparse matrix, as numbad.sparse_jacobian does.

        Parameters
        ----------
        *points : float, ndarray or tree
            The arguments of the recorded function, with the recorded structure, shapes and dtypes.
        format : {"csr", "csc", "coo"}
            Of the matrix.

        Returns
        -------
        csr_array, csc_array or coo_array
            A row for each element of the outputs, a column for each element of all inputs, with the structure of
            `sparsity()`: the same at each call.

        Raises
        ------
        OutputError
            When the recorded function returned truth values.
        BranchError
            When a branch would be taken otherwise than when it was recorded.
        InputError
            When an argument has another structure, shape or dtype than the recorded one.
        MemoryError
            When the pattern does not fit into the free memory; it is not made then.
        TapeError
            When the tape does not pass verification, or when it is `forward_only`.
        ValueError
            When the format is not known.

        Notes
        -----
        Prepared at the first call: pattern, colours or instructions, which are kept with the tape.

        References
        ----------
        .. [1] A. Griewank and A. Walther, *Evaluating Derivatives*, 2nd ed., SIAM, 2008, chapter 7.

        Examples
        --------
        >>> import numpy as np, numbad
        >>> tape = numbad.record(lambda x: x[1:] * x[:-1], np.ones(3))
        >>> tape.sparse_jacobian(np.array([1.0, 2.0, 3.0])).toarray()
        array([[2., 1., 0.],
               [0., 3., 2.]])
        """
        from numbad.sparsity.of_tapes import matrix_at

        return matrix_at(self, False, points, format)

    def sparse_hessian(self, *points: Any, format: str = "csr") -> Any:
        """Return the second derivatives at a point as a sparse matrix, as numbad.sparse_hessian does.

        Parameters
        ----------
        *points : float, ndarray or tree
            The arguments of the recorded function, with the recorded structure, shapes and dtypes.
        format : {"csr", "csc", "coo"}
            Of the matrix.

        Returns
        -------
        csr_array, csc_array or coo_array
            A row and a column for each element of all inputs, with the structure of `sparsity(second=True)`.

        Raises
        ------
        OutputError
            When the recorded function did not return one number.
        BranchError
            When a branch would be taken otherwise than when it was recorded.
        InputError
            When an argument has another structure, shape or dtype than the recorded one.
        MemoryError
            When the pattern does not fit into the free memory; it is not made then.
        TapeError
            When the tape does not pass verification, or when it is `forward_only`.
        ValueError
            When the format is not known.

        Notes
        -----
        Prepared at the first call: the gradient as rows, pattern, colours or instructions, kept with the tape.

        References
        ----------
        .. [1] A. Griewank and A. Walther, *Evaluating Derivatives*, 2nd ed., SIAM, 2008, section 7.3.

        Examples
        --------
        >>> import numpy as np, numbad
        >>> tape = numbad.record(lambda x: np.sum(x[1:] * x[:-1] ** 2), np.ones(3))
        >>> tape.sparse_hessian(np.array([1.0, 2.0, 3.0])).toarray()
        array([[4., 2., 0.],
               [2., 6., 4.],
               [0., 4., 0.]])
        """
        from numbad.sparsity.of_tapes import matrix_at

        return matrix_at(self, True, points, format)

    # ------------------------------------------------------------ many points

    def map(self, *points: Any) -> Arrays:
        """Return the value at many points.

        Parameters
        ----------
        *points : ndarray, float or tree
            The arguments of the recorded function, each with a first axis of n points in front of its recorded shape
            s: an ndarray of shape (n,) + s in every leaf that varies. A leaf of the recorded shape is shared by all
            points.

        Returns
        -------
        ndarray or tree
            As the function returned it, with the axis of points in front: shape (n,) + s for a result of shape s.

        Raises
        ------
        BranchError
            When a point takes another branch than the recorded one: it names the first such point.
        InputError
            When a leaf has another shape or dtype, the axes of points differ in length, or no argument has one.

        Notes
        -----
        Points run in blocks of 32 or 64 SIMD lanes, blocks in parallel; each thread has the arena of one block,
        so memory beyond arguments and results does not grow with the number of points. Vector functions may err
        by some units in the last place where the scalar ones do not. Tapes with rows that only Python
        computes (`eigh`, ops of SciPy), and those too large for it, run point by point.

        Examples
        --------
        >>> import numpy as np, numbad
        >>> tape = numbad.record(lambda x, a: a * np.exp(x[0]) + x[1], np.ones(2), 3.0)
        >>> tape.map(np.array([[0.0, 1.0], [0.0, 2.0]]), 10.0)
        array([11., 12.])
        """
        from numbad.tapes.points import map_points

        return map_points(self, points)

    def gradient_map(self, *points: Any, argnums: Argnums | None = None) -> Arrays:
        """Return the gradient at many points: like the points, or a tuple for several arguments; see `map`.

        Parameters
        ----------
        *points : ndarray, float or tree
            The arguments of the recorded function, each with a first axis of n points in front of its recorded shape
            s: an ndarray of shape (n,) + s in every leaf that varies. A leaf of the recorded shape is shared by all
            points. It has a gradient for each point, too.
        argnums : int or tuple of int, optional
            The arguments to differentiate with respect to, all by default; the others cost nothing.

        Returns
        -------
        ndarray or tree
            Of shape (n,) + s and the recorded dtype for an argument of shape s; a tuple with one for each of several
            arguments, or for each entry of `argnums` if that is a tuple.

        Raises
        ------
        OutputError
            When the recorded function did not return one number.
        BranchError
            When a point takes another branch than the recorded one: it names the first such point.
        InputError
            When a leaf has another shape or dtype, the axes of points differ in length, or no argument has one.
        TapeError
            When the tape is `forward_only`.
        TypeError
            When `argnums` is not an int or a tuple of ints.
        ValueError
            When `argnums` names an argument that is not there, or one argument twice.

        Notes
        -----
        One forward and one adjoint sweep for each block of points, in memory that does not grow with their number.

        References
        ----------
        .. [1] A. Griewank and A. Walther, *Evaluating Derivatives*, 2nd ed., SIAM, 2008, section 3.3 (reverse mode).

        Examples
        --------
        >>> import numpy as np, numbad
        >>> tape = numbad.record(lambda x, y: x * y, 1.0, 1.0)
        >>> tape.gradient_map(np.array([2.0, 3.0]), 5.0)
        (array([5., 5.]), array([2., 3.]))
        >>> tape.gradient_map(np.array([2.0, 3.0]), 5.0, argnums=0)
        array([5., 5.])
        """
        return self.value_and_gradient_map(*points, argnums=argnums)[1]

    def value_and_gradient_map(self, *points: Any, argnums: Argnums | None = None) -> tuple[np.ndarray, Arrays]:
        """Return the values and the gradients at many points; see `map` and `gradient_map`.

        Parameters
        ----------
        *points : ndarray, float or tree
            The arguments of the recorded function, each with a first axis of n points in front of its recorded shape
            s: an ndarray of shape (n,) + s in every leaf that varies. A leaf of the recorded shape is shared by all
            points.
        argnums : int or tuple of int, optional
            The arguments to differentiate with respect to, all by default; the others cost nothing.

        Returns
        -------
        tuple
            (values, gradients): an ndarray of shape (n,), and what `gradient_map` returns.

        Raises
        ------
        OutputError
            When the recorded function did not return one number.
        BranchError
            When a point takes another branch than the recorded one: it names the first such point.
        InputError
            When a leaf has another shape or dtype, the axes of points differ in length, or no argument has one.
        TapeError
            When the tape is `forward_only`.
        TypeError
            When `argnums` is not an int or a tuple of ints.
        ValueError
            When `argnums` names an argument that is not there, or one argument twice.

        Notes
        -----
        One forward and one adjoint sweep for each block of points, in memory that does not grow with their number.

        References
        ----------
        .. [1] A. Griewank and A. Walther, *Evaluating Derivatives*, 2nd ed., SIAM, 2008, section 3.3 (reverse mode).

        Examples
        --------
        >>> import numpy as np, numbad
        >>> numbad.record(lambda x: x**3, 1.0).value_and_gradient_map(np.array([1.0, 2.0]))
        (array([1., 8.]), array([ 3., 12.]))
        """
        from numbad.tapes.points import map_gradients

        return map_gradients(self, points, argnums)

    def gradient_of_numbers(self, points: tuple[Any, ...], output: Output) -> tuple[float, Any] | None:
        """Return value and gradient of a short tape of numbers by one compiled call; None if it is not one.

        Parameters
        ----------
        points : tuple of float
            The arguments.
        output : Output
            The one number that the recorded function returned.

        Returns
        -------
        tuple or None
            (value, gradient): floats, and a tuple of floats for several arguments. None where the tape has arrays or
            is long, where a guard does not hold, or where `numbad.debug_nans` is on.

        Raises
        ------
        TapeError
            When the tape does not pass verification.

        Examples
        --------
        >>> import numbad
        >>> tape = numbad.record(lambda x: x * x, 1.0)
        >>> tape.gradient_of_numbers((3.0,), tape.scalar_output())
        (9.0, 6.0)
        """
        self.ensure_verified()
        if config._debug_nans or self._pairs is None or self._rows is None:
            return None
        if output.constant is not None or output.space:
            return None
        if len(points) != len(self.inputs):
            return None
        if not all(type(point) is float for point in points):
            return None
        numbers = self._pairs[:]
        for k, point in enumerate(points):
            numbers[2 * k + 1] = point
        work = run_whole(self._rows, numbers, output.address, len(points))
        if work is None:
            return None  # a guard does not hold, or a row needs Python
        value, found = work.memory.item(output.address), work.arena[1 : 1 + len(points)].tolist()
        give_back(work)
        return value, found[0] if len(points) == 1 else tuple(found)

    def ensure_verified(self) -> None:
        """Verify the tape, unless it has been verified.

        Raises
        ------
        TapeError
            When the tape does not pass verification.

        Examples
        --------
        >>> import numbad
        >>> numbad.record(lambda x: x * x, 1.0).ensure_verified()
        """
        if not self._verified:
            self.prepare()

    def prepare(self) -> None:
        """Verify the tape, before it runs for the first time, and note what every run needs.

        Raises
        ------
        TapeError
            When the tape does not pass verification.

        Examples
        --------
        >>> import numbad
        >>> numbad.record(lambda x: x * x, 1.0).prepare()
        """
        from numbad.tapes.checks import verify

        verify(self)
        self._large = find_large(self._code, self._words)
        numbers_only = self.dtype == np.float64 and all(slot.shape == () and not slot.space for slot in self.inputs)
        numbers_only = numbers_only and all(slot.dtype == np.float64 for slot in self.inputs)
        numbers_only = numbers_only and all(tree is None for tree in self.input_trees)
        in_order = [slot.address for slot in self.inputs] == list(range(1, 1 + len(self.inputs)))
        if numbers_only and in_order and self.inputs and not self._words.size and len(self) < SHORT:
            first = [number for slot in self.inputs for number in (slot.address, 0.0)]
            self._pairs = array("d", [*first, *self.numbers.reshape(-1).tolist()])
            self._rows = rows_of(self)
            self._rows.code = array("I", self._code.reshape(-1).tolist())
        self._verified = True

    def run(self, points: tuple[Any, ...], final: bool = False) -> tuple[Execution, list[np.ndarray]]:
        """Run the primal sweep at a point; return the execution, which is the caller's, and the leaves of the point.

        Parameters
        ----------
        points : tuple
            The arguments of the recorded function, with the recorded structure, shapes and dtypes.
        final : bool
            Fuse large elementwise rows; only the outputs, which are numbers, can be read then.

        Returns
        -------
        tuple of (Execution, list)
            The execution has the values of all addresses; the list has the leaves of the arguments.

        Raises
        ------
        BranchError
            When a branch would be taken otherwise than when it was recorded.
        InputError
            When an argument has another structure, shape or dtype than the recorded one.
        RecordingError
            When an argument is a recording value: call the function there, not its tape.
        TapeError
            When the tape does not pass verification.

        Notes
        -----
        One forward sweep.

        Examples
        --------
        >>> import numbad
        >>> execution, leaves = numbad.record(lambda x: x * x, 1.0).run((3.0,))
        >>> leaves, float(execution.values[2])
        ([3.0], 9.0)
        """
        workspace, given = self.borrow(points, final)
        return workspace.execution, given

    def borrow(self, points: tuple[Any, ...], final: bool) -> tuple[Workspace, list[np.ndarray]]:
        """Run the primal sweep in a borrowed workspace. The caller must call release().

        Parameters
        ----------
        points : tuple
            The arguments of the recorded function, with the recorded structure, shapes and dtypes.
        final : bool
            Fuse large elementwise rows; only the outputs, which are numbers, can be read then.

        Returns
        -------
        tuple of (Workspace, list)
            The workspace, whose `execution` has the values, and the leaves of the arguments.

        Raises
        ------
        BranchError
            When a branch would be taken otherwise than when it was recorded.
        InputError
            When an argument has another structure, shape or dtype than the recorded one.
        RecordingError
            When an argument is a recording value: call the function there, not its tape.
        TapeError
            When the tape does not pass verification.

        Notes
        -----
        One forward sweep, in memory that `release(tape)` gives back for the next one.

        Examples
        --------
        >>> import numbad
        >>> tape = numbad.record(lambda x: x * x, 1.0)
        >>> workspace, leaves = tape.borrow((3.0,), False)
        >>> tape.read_outputs(workspace.execution)
        9.0
        >>> workspace.release(tape)
        """
        given = self.flatten_inputs(points)
        self.ensure_verified()
        workspace = take_workspace(self, final)
        workspace.run(self, given)
        return workspace, given

    # ------------------------------------------------------------ trees

    def flatten_inputs(self, points: tuple[Any, ...]) -> list[np.ndarray]:
        """Return the leaves of the arguments, or raise an InputError if their structure is another.

        Parameters
        ----------
        points : tuple
            The arguments.

        Returns
        -------
        list
            The numbers and arrays in them, in order.

        Raises
        ------
        InputError
            When the arguments have another structure than the recorded ones.

        Examples
        --------
        >>> import numbad
        >>> numbad.record(lambda x, y: x[0] * x[1] + y, (1.0, 2.0), 3.0).flatten_inputs(((4.0, 5.0), 6.0))
        [4.0, 5.0, 6.0]
        """
        flat = [flatten(point) for point in points]
        found = tuple(tree for _, tree in flat)
        if found != self.input_trees:
            raise InputError(
                message(
                    f"the tape was recorded with arguments of the structure {describe_trees(self.input_trees)};"
                    f" it is called with {describe_trees(found)}",
                    "pass arguments of that structure, or record again with numbad.record",
                )
            )
        return [leaf for leaves, _ in flat for leaf in leaves]

    def rebuild_inputs(self, leaves: list[Any]) -> tuple[Any, ...]:
        """Give a list of leaves the structure of the arguments.

        Parameters
        ----------
        leaves : list
            One for each number or array among the arguments.

        Returns
        -------
        tuple
            One tree for each argument.

        Examples
        --------
        >>> import numbad
        >>> numbad.record(lambda x, y: x[0] * x[1] + y, (1.0, 2.0), 3.0).rebuild_inputs([4.0, 5.0, 6.0])
        ((4.0, 5.0), 6.0)
        """
        result, position = [], 0
        for tree in self.input_trees:
            count = count_leaves(tree)
            result.append(unflatten(tree, leaves[position : position + count]))
            position += count
        return tuple(result)

    def read_outputs(self, execution: Execution) -> Any:
        """Return the results in the structure in which the function returned them.

        Parameters
        ----------
        execution : Execution
            Of this tape, as `run` returns it.

        Returns
        -------
        float, ndarray or tree
            Copies of the values: floats, and arrays of the shapes that the function returned.

        Examples
        --------
        >>> import numbad
        >>> tape = numbad.record(lambda x: (x, x * x), 1.0)
        >>> execution, _ = tape.run((3.0,))
        >>> tape.read_outputs(execution)
        (3.0, 9.0)
        """
        return unflatten(self.output_tree, [slot.read(execution) for slot in self.outputs])

    def keeps_values(self) -> None:
        """Raise a TapeError if the tape overwrites the values that derivatives are made of.

        Raises
        ------
        TapeError
            When the tape is `forward_only`.

        Examples
        --------
        >>> import numbad
        >>> numbad.record(lambda x: x * x, 1.0).keeps_values()
        """
        if self.forward_only:
            raise TapeError(
                message(
                    f"the tape of {self.name} overwrites its values, so it has no derivatives",
                    "differentiate the tape that it was made of, or use optimise() without forward_only",
                    where=False,
                )
            )

    def scalar_output(self) -> Output:
        """Return the one number that the function returned, or raise an OutputError.

        Returns
        -------
        Output
            Where the number is.

        Raises
        ------
        OutputError
            When the recorded function did not return one number.
        TapeError
            When the tape is `forward_only`.

        Examples
        --------
        >>> import numbad
        >>> numbad.record(lambda x: x * x, 1.0).scalar_output().address
        2
        """
        self.keeps_values()
        slot = self.outputs[0] if self.output_tree is None else None
        if slot is not None and slot.boolean:
            raise OutputError(
                message(
                    f"the gradient is defined for functions that return one number; {self.name} returned a truth value",
                    "return one number; np.where selects by a truth value",
                    where=False,
                )
            )
        if slot is not None and slot.shape == () and not np.ndim(slot.constant):
            return slot
        shapes = ", ".join(str(slot.shape) for slot in self.outputs)
        raise OutputError(
            message(
                f"the gradient is defined for functions that return one number; {self.name} returned {shapes}",
                "sum the result before it is returned",
                where=False,
            )
        )


# ---------------------------------------------------------------- structure of arguments and results
