"""Short tapes with large products of a matrix and a vector: compiled calls, with the products between them."""

from __future__ import annotations
