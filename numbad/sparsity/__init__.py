"""Sparse Jacobians and Hessians: patterns, colours, compressed sweeps and entries."""
