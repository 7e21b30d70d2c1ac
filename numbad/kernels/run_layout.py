"""What Python and the driver of both sweeps agree on: the places in a plan, an array of int64 that says what is run.

Memory is given by its address, and 0 stands for memory that a run does without.
"""

from __future__ import annotations

(
    FORWARD,  # the switch, or sweep, that computes rows
    ADJOINT,  # the sweep that takes rows of all kinds back; scalar rows have their own in the driver
    KERNELS,  # table of switches that sweeps of all kinds of rows call
    SCRATCH,  # for blocks of operands
    CODE,
    WORDS,  # operand words; 0 where all rows are scalar rows and guards
    BASES,  # where each space begins
    BARS,  # where the cotangents of each space begin
    VALUES,  # the arena
    PARTIALS,  # 0 where a tape of scalar rows is run for its values alone
    BAR,  # the cotangents, 0 for the forward sweep alone
    NUMBERS,  # pairs of address and value that are entered first
    COUNT,  # how many they are
    START,  # the row that the forward sweep begins with
    STOP,  # and the one it ends before
    SIZE,  # addresses of the arena
    OUTPUT,  # the address whose cotangent is 1
    INPUTS,  # scalar rows alone: the inputs are at addresses 1 .. INPUTS
    BACK,  # rows of an adjoint sweep that was planned: (row of the partials, out, a, b); 0 for the rows of the tape
    BACK_ROWS,  # how many they are
    FIRST_BAR,  # what the cotangents are before a planned sweep
    PARTIAL_ROWS,  # how many rows have partials
    LENGTH,
) = range(23)

LINEARISE, PRIMAL, PARTIALS_OF_OPS, PRODUCT = range(4)  # in the table of kernels: functions, and tables of those of ops
