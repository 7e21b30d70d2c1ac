"""Adjoints of functions that Numba compiles, as source text: loops stay loops."""
