"""Tapes on files: saving and loading, verification included, and what a row takes on disk."""

import functools
import io

import numpy as np

import numbad

from .problems import fastest, need


@functools.cache
def chain(rows):
    """Return the file of a tape of so many scalar rows, half of them sines: made once a process, at its first use."""

    def f(x):
        for _ in range(rows // 2):
            x = np.sin(x) * 1.0001
        return x

    return saved(numbad.record(f, 0.5))


class Scalar:
    """A chain of scalar rows."""

    params = [10_000, 100_000, 1_000_000]
    param_names = ["rows"]

    def setup(self, rows):
        need("record", "load", "Tape.save")
        self.file = chain(rows)
        self.tape = numbad.load(io.BytesIO(self.file))
        self.tape.gradient(0.5)

    def time_save(self, rows):
        saved(self.tape)

    def time_load(self, rows):
        numbad.load(io.BytesIO(self.file))

    def time_gradient(self, rows):
        self.tape.gradient(0.5)

    def track_bytes_of_a_row(self, rows):
        return len(self.file) / len(self.tape)

    def track_load_over_gradient(self, rows):
        return fastest(lambda: numbad.load(io.BytesIO(self.file))) / fastest(lambda: self.tape.gradient(0.5))

    track_bytes_of_a_row.unit = "bytes"
    track_load_over_gradient.unit = "ratio"


class Arrays:
    """Rows over arrays of three elements: operand words and the user's lines."""

    params = [[100, 1000, 10_000]]
    param_names = ["rows"]

    def setup(self, rows):
        need("record", "load", "Tape.save")

        def f(x):
            for _ in range(rows // 2):
                x = np.sin(x) * 1.0001
            return np.sum(x)

        self.tape = numbad.record(f, np.array([0.1, 0.2, 0.3]))
        self.file = saved(self.tape)

    def time_save(self, rows):
        saved(self.tape)

    def time_load(self, rows):
        numbad.load(io.BytesIO(self.file))

    def track_bytes_of_a_row(self, rows):
        return len(self.file) / len(self.tape)

    track_bytes_of_a_row.unit = "bytes"


def saved(tape):
    """Return the bytes of a tape's file."""
    file = io.BytesIO()
    tape.save(file)
    return file.getvalue()
