"""Derivatives as rows of the same tape; imports sweeps and what they import."""
