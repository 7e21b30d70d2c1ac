"""Benchmarks of numbad, one file a concept: `asv run --python=same` in asv_bench/."""
