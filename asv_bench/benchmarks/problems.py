"""The functions that the benchmarks differentiate, their inputs, and how long something takes."""

from __future__ import annotations

import time
from itertools import pairwise

import numpy as np

import numbad

SECONDS = 0.05  # of measuring for one figure of a `track_` benchmark


def need(*names):
    """Have asv skip a benchmark whose `setup` calls this, if numbad lacks one of the names, as older commits do."""
    for name in names:
        found = numbad
        for part in name.split("."):
            if not hasattr(found, part):
                raise NotImplementedError(f"numbad.{name} is missing")
            found = getattr(found, part)


def fastest(function, seconds=SECONDS):
    """Return the seconds of the fastest of several runs, after one that warms up."""
    function()
    best = float("inf")
    stop = time.perf_counter() + seconds
    while time.perf_counter() < stop:
        start = time.perf_counter()
        function()
        best = min(best, time.perf_counter() - start)
    return best


def formula(x1, x2):
    """Five operations of two numbers."""
    return np.exp(x1) - x1 * x2 + np.cos(x2)


def formulas(terms):
    """Return a function that adds up the formula at several places: five operations and one a term."""

    def function(x1, x2):
        total = formula(x1, x2)
        for k in range(1, terms):
            total = total + formula(x1 + 0.01 * k, x2)
        return total

    return function


def rosenbrock(x):
    """Rosenbrock's function as a loop over scalars: eight rows a turn."""
    total = 0.0
    for a, b in pairwise(x):
        total = total + 100.0 * (b - a * a) ** 2 + (1.0 - a) ** 2
    return total


def logistic_problem(samples, features, seed=4):
    """Return the loss of a logistic regression as a function of weights and bias, and a point."""
    random = np.random.default_rng(seed)
    inputs = random.standard_normal((samples, features))
    targets = random.integers(0, 2, samples).astype(float)

    def loss(weights, bias):
        p = 0.5 * (np.tanh(0.5 * (inputs @ weights + bias)) + 1.0)
        return -np.sum(np.log(p * targets + (1.0 - p) * (1.0 - targets)))

    return loss, (random.standard_normal(features) / features**0.5, 0.3)


def waves(x):
    """An elementwise function and a sum."""
    return np.sum(np.sin(x) ** 2 * np.exp(-x))


def sigmoid(x):
    """1 / (1 + exp(-x)), from functions of NumPy."""
    return 0.5 * (np.tanh(0.5 * x) + 1.0)


def layers_problem(n, dtype=np.float64, seed=1):
    """Return two layers as a function of their input, and a point."""
    random = np.random.default_rng(seed)
    first, second = (random.standard_normal((n, n)).astype(dtype) / n**0.5 for _ in range(2))
    return lambda x: sigmoid(second @ sigmoid(first @ x)), random.standard_normal(n).astype(dtype)


def network_problem(width, batch=32, classes=10, seed=2):
    """Return the cross-entropy of a network of three layers as a function of its weights, and the weights."""
    random = np.random.default_rng(seed)
    sizes = [width, width, width, classes]
    images = random.standard_normal((batch, width)).astype(np.float32)
    labels = np.eye(classes, dtype=np.float32)[random.integers(0, classes, batch)]

    def loss(weights):
        found = images
        for k in range(3):
            found = found @ weights[f"W{k}"] + weights[f"b{k}"]
            found = np.maximum(found, 0.0) if k < 2 else found
        shifted = found - np.max(found, axis=1, keepdims=True)
        return -np.sum(labels * (shifted - np.log(np.sum(np.exp(shifted), axis=1, keepdims=True)))) / batch

    weights = {}
    for k, (rows, columns) in enumerate(pairwise(sizes)):
        weights[f"W{k}"] = (random.standard_normal((rows, columns)) / rows**0.5).astype(np.float32)
        weights[f"b{k}"] = np.zeros(columns, np.float32)
    return loss, weights
