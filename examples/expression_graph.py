"""
The graph of a function
=======================

The graph of f(x, y) = x**2 + 4y + cos(x)**2: drawn, explained, and counted against its expression tree.

Run: python examples/expression_graph.py [--small]     pictures: examples/output/expression_graph.svg and .dot
"""

import sys
from pathlib import Path

import numpy as np

import numbad

STEPS = (1, 2, 4, 8) if "--small" in sys.argv else (1, 2, 4, 8, 16, 32, 64, 128)
X, Y = 2.0, 3.0


def f(x, y):
    return x**2 + 4 * y + np.cos(x) ** 2


def steps(x, times):
    """Each step uses the value before it three times."""
    for _ in range(times):
        x = x * x - 0.5 * np.sin(x)
    return x


def count_nodes(tape):
    """Return the nodes of the expression tree of a tape's result, and those of the graph, which shares them.

    A tree writes a subexpression out wherever it is used; the tape is the graph: a row for each operation,
    an address for each input and constant.
    """
    tree = {}  # the nodes below an address, itself included
    for opcode, out, a, b in tape.code.tolist():
        operands = (a, b)[: numbad.REGISTRY[opcode].arity]
        tree[out] = 1 + sum(tree.setdefault(operand, 1) for operand in operands)
    return tree[tape.outputs[0].address], len(tree)


output = Path(sys.argv[0]).parent / "output"
output.mkdir(exist_ok=True)
tape = numbad.record(f, X, Y)

print(f"f(x, y) = x**2 + 4 y + cos(x)**2 at x = {X}, y = {Y}, as a tape:\n")
tape.show(adjoints=True)
exact = (2 * X - 2 * np.cos(X) * np.sin(X), 4.0)
print(f"\ngradient by hand: {exact[0]:.15f} {exact[1]:.15f}")
print("         numbad: {:.15f} {:.15f}".format(*tape.gradient(X, Y)))

print("\nOne row in words:\n")
print(tape.explain(-1))

tape.draw(output / "expression_graph.svg", X, Y, adjoints=True)
text = tape.draw(output / "expression_graph.dot", X, Y, adjoints=True)
print(f"\ndrawn: {output / 'expression_graph.svg'}; the DOT text has {text.count('->')} arrows")

tree, graph = count_nodes(tape)
print(f"\nexpression tree: {tree} nodes; graph: {graph}, for x is used twice")
print("\nWhere results are used again, the tree trebles with each step; the graph gets four nodes.\n")
print("x = x*x - 0.5 sin(x), times   tree                  graph   derivative at 0.7")
for times in STEPS:
    tape = numbad.record(lambda x, times=times: steps(x, times), 0.7)
    tree, graph = count_nodes(tape)
    print(f"{times:28d}   {float(tree):<20.6g}  {graph:5d}   {tape.gradient(0.7):.12g}")
