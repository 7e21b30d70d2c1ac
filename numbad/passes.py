"""Passes over tapes: each makes a simpler tape of the same function; `tape.optimise` runs them one after another."""

from numbad.tapes.passes import (
    PassRecord,
    drop_dead_rows,
    fold_constants,
    merge_equal_rows,
    optimise,
    reuse_addresses,
)

__all__ = ["PassRecord", "drop_dead_rows", "fold_constants", "merge_equal_rows", "optimise", "reuse_addresses"]
