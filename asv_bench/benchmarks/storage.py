"""Tapes on files: saving and loading, verification included, and what a row takes on disk."""

import io

import numpy as np

import numbad

from .problems import fastest

ROWS = [10_000, 100_000, 1_000_000]


def chain(rows):
    """Return a tape of so many scalar rows, half of them sines."""

    def f(x):
        for _ in range(rows // 2):
            x = np.sin(x) * 1.0001
        return x

    return numbad.record(f, 0.5)


class Scalar:
    """A chain of scalar rows."""

    params = [ROWS]
    param_names = ["rows"]
    number = 1

    def setup_cache(self):
        return {rows: saved(chain(rows)) for rows in ROWS}

    def setup(self, files, rows):
        self.file = files[rows]
        self.tape = numbad.load(io.BytesIO(self.file))

    def time_save(self, files, rows):
        saved(self.tape)

    def time_load(self, files, rows):
        numbad.load(io.BytesIO(self.file))

    def track_bytes_of_a_row(self, files, rows):
        return len(self.file) / len(self.tape)

    def track_load_over_gradient(self, files, rows):
        return fastest(lambda: numbad.load(io.BytesIO(self.file))) / fastest(lambda: self.tape.gradient(0.5))

    track_bytes_of_a_row.unit = "bytes"
    track_load_over_gradient.unit = "ratio"


class Arrays:
    """Rows over arrays of three elements: operand words and the user's lines."""

    params = [[100, 1000, 10_000]]
    param_names = ["rows"]
    number = 1

    def setup(self, rows):
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
