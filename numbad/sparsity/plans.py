"""What a sparse derivative of a function is asked for, and the paths of the function that it is prepared for."""

from __future__ import annotations

import dataclasses
import itertools
from typing import Any

import numpy as np

from numbad.emission.regions import real_outputs
from numbad.errors import InternalError, message, name_of
from numbad.numba_api.noticing import row_by_row
from numbad.recording.active import Active
from numbad.recording.inputs import as_leaf, record_call
from numbad.recording.outputs import scalar_output, split_auxiliary
from numbad.recording.trees import flatten
from numbad.sparsity.matrices import Block, pattern_from, places_in, widened
from numbad.sparsity.patterns import Pattern
from numbad.sparsity.prepared import Prepared
from numbad.tape.naming import name_arguments, name_spaces
from numbad.tapes.freezing import freeze, own_constants
from numbad.transforms.derivatives import is_single, positions


@dataclasses.dataclass(frozen=True)
class SparsePlan:
    """A sparse derivative of a function: what the transform was given.

    Attributes
    ----------
    second : bool
        Whether second derivatives are asked for.
    with_value : bool
        Whether the value is returned, too.
    structure : str
        "path", or "union": one structure for all paths that a jitted function has met.
    """

    f: Any
    name: str
    second: bool
    with_value: bool
    argnums: Any
    has_aux: bool
    format: str
    method: str
    pattern: Any
    check: bool
    structure: str
    keywords: dict[str, Any]

    def places(self, count: int) -> tuple[int, ...]:
        """Return the positions of the arguments that are differentiated by."""
        return positions(self.argnums, count, self.name)


class SparsePath:
    """One path of a function, recorded and prepared.

    Parameters
    ----------
    plan : SparsePlan
    arguments : tuple
        Of a call on this path.
    inputs : tuple of int
        The positions of arguments that vary; those that are differentiated by are among them.
    """

    def __init__(self, plan: SparsePlan, arguments: tuple[Any, ...], inputs: tuple[int, ...], keywords: Any) -> None:
        self.plan = plan
        with row_by_row():  # of a row of a kernel's each result depends on each argument
            recorder, leaves, _, result = record_call(plan.f, arguments, inputs, {**plan.keywords, **keywords})
        try:
            auxiliary: Any = None
            if plan.has_aux:
                result, auxiliary = split_auxiliary(result, plan.name)
            if plan.second:
                scalar_output(recorder, result, plan.name)
            outputs, self.rebuild = real_outputs(recorder, result, bool(leaves))
            self.auxiliary: list[Any] = []
            self.rebuild_auxiliary: Any = None
            if plan.has_aux:
                self.auxiliary, self.rebuild_auxiliary = flatten(auxiliary)
            computed = [leaf for leaf in self.auxiliary if isinstance(leaf, Active)]
            names = name_arguments(plan.f, arguments)
            starts = np.cumsum([0] + [len(flatten(argument)[0]) for argument in arguments]).tolist()
            names = [name for k in inputs for name in names[starts[k] : starts[k + 1]]]
            tape = freeze(recorder, leaves, [*outputs, *computed], None, names)
            tape.space_names = name_spaces(plan.f, tape, {k: part.values for k, part in recorder.borrowed.items()})
            own_constants(tape, recorder)
        finally:
            recorder.close()
        tape.name = name_of(plan.f, type(plan.f).__name__)
        self.tape, self.outputs = tape, len(outputs)
        self.point = [leaf.value for leaf in leaves]
        self.find_groups(arguments, inputs)
        self.prepare(len(computed))

    def find_groups(self, arguments: tuple[Any, ...], inputs: tuple[int, ...]) -> None:
        """Note which leaves each differentiated argument has, and which columns are its own."""
        counts = [len(flatten(arguments[k])[0]) for k in inputs]
        firsts = dict(zip(inputs, np.cumsum([0, *counts]).tolist(), strict=False))
        self.groups = []
        for k in self.plan.places(len(arguments)):
            first = firsts[k]
            self.groups.append(list(range(first, first + counts[inputs.index(k)])))

    def prepare(self, computed: int) -> None:
        """Find the pattern, and how its entries are computed."""
        plan, tape = self.plan, self.tape
        wanted = [k for group in self.groups for k in group]
        rows = list(range(self.outputs))
        reads = (rows if plan.with_value else []) + list(range(self.outputs, self.outputs + computed))
        self.prepared = Prepared(tape, wanted, rows, reads, self.point, plan.second, plan.method)
        self.pattern = self.prepared.pattern
        sizes = [sum(tape.inputs[k].size for k in group) for group in self.groups]
        ends = np.cumsum([0, *sizes]).tolist()
        self.bounds = list(itertools.pairwise(ends))
        self.dtypes = [
            np.result_type(*[tape.inputs[k].dtype for k in group] or [np.dtype(float)]) for group in self.groups
        ]
        wider = None
        if plan.pattern is not None:
            wider = pattern_from(plan.pattern, self.pattern.shape, plan.name)
            self.check_given(wider)
        self.shape_as(wider or self.pattern)

    def check_given(self, given: Pattern) -> None:
        """Raise a ValueError where a pattern of the user's misses entries."""
        places = places_in(self.pattern, given) if self.plan.check else None
        if places is None or (places >= 0).all():
            return
        rows, columns = self.pattern.structure()
        missed = np.flatnonzero(places < 0)
        row, column = int(rows[missed[0]]), int(columns[missed[0]])
        do = "add it, leave the pattern away, or leave such entries out on purpose with check=False"
        raise ValueError(
            message(
                f"{self.plan.name}: the pattern that was given misses {missed.size} entries of {self.tape.name}, "
                f"the first in row {row} and column {column}",
                do,
                where=False,
            )
        )

    def shape_as(self, wider: Pattern) -> None:
        """Return matrices with the structure of a pattern from now on."""
        self.shaped = wider
        self.places = places_in(self.pattern, wider)
        plan, whole = self.plan, (0, self.pattern.shape[0])
        if plan.second:
            pairs = [[(one, other) for other in self.bounds] for one in self.bounds]
            self.blocks = [
                [Block(wider, one, other, plan.format, dtype) for one, other in row]
                for row, dtype in zip(pairs, self.dtypes, strict=True)
            ]
        else:
            parts = zip(self.bounds, self.dtypes, strict=True)
            self.blocks = [[Block(wider, whole, bounds, plan.format, dtype) for bounds, dtype in parts]]
        self.only = self.blocks[0][0] if is_single(plan.argnums) else None
        alone = self.only if self.places is None else None
        if self.prepared.arrange(alone.chosen if alone else None) and alone:
            alone.chosen = None  # the data come in the block's order

    def compute(self, given: list[Any]) -> Any:
        """Return the derivative at the leaves of a point; None where it takes another path.

        Raises
        ------
        BranchError
            From the sweeps, where it takes another path.
        """
        found = self.prepared.compute(given)
        if found is None:
            return None
        data, values = found
        data = widened(data, self.places, self.shaped.entries)
        plan = self.plan
        if self.only is not None:
            matrices = self.only.make(data)
        elif plan.second:
            matrices = tuple([tuple([block.make(data) for block in row]) for row in self.blocks])
        else:
            matrices = tuple([block.make(data) for block in self.blocks[0]])
        if not (plan.with_value or plan.has_aux):
            return matrices
        count = self.outputs if plan.with_value else 0
        value = self.rebuild(values[:count]) if plan.with_value else None
        if not plan.has_aux:
            return value, matrices
        computed = iter(values[count:])
        leaves = [next(computed) if isinstance(leaf, Active) else leaf for leaf in self.auxiliary]
        auxiliary = self.rebuild_auxiliary(leaves)
        return ((value, auxiliary), matrices) if plan.with_value else (matrices, auxiliary)


def run_once(plan: SparsePlan, arguments: tuple[Any, ...], keywords: dict[str, Any]) -> Any:
    """Record a function, prepare its sparse derivative, and return it at the same point."""
    path = SparsePath(plan, arguments, plan.places(len(arguments)), keywords)
    found = path.compute(path.point)
    if found is None:  # its guards are recorded at this very point
        raise InternalError(message("the path of a function is not that of its recording", "report it", where=False))
    return found


def leaves_of(arguments: tuple[Any, ...], inputs: tuple[int, ...]) -> list[Any]:
    """Return the leaves of the arguments that vary."""
    return [as_leaf(leaf) for k in inputs for leaf in flatten(arguments[k])[0]]
