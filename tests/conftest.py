"""What tests share: settings of Hypothesis, what is collected, and the usual limits for tests that ask for them."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

import numbad
from numbad import limits
from numbad.kernels import parallel

# Helpers and programs to be run by hand. They are imported by their own names, not collected under others.
collect_ignore_glob = [
    "shared/*",
    "modes.py",
    "random_programs.py",
    "golden.py",
    "tape_mutants.py",
    "constraint_sets.py",
]

pytest.register_assert_rewrite("shared")  # a comparison that fails there shows what it compared

parallel.loop.load()  # programs of tests end before threads are worth their import

# Most of the time of a first example is compilation, and programs are long: neither is a failure.
settings.register_profile("numbad", deadline=None, suppress_health_check=list(HealthCheck), max_examples=60)
settings.load_profile("numbad")


@pytest.fixture
def usual_limits() -> None:
    """Leave a test to the usual limits: one that asserts which way a program takes, which small limits change.

    Numbers are compared with small limits by all other tests.
    """
    if limits.SMALL_LIMITS:
        pytest.skip("asks which way is taken, and small limits are there to change that")


@pytest.fixture(autouse=limits.VARIANT != "")
def compiled_before() -> None:
    """Wait for tapes that are compiled in the background before a test begins.

    Where there are no texts, Numba compiles them. It catches warnings, which Python 3.13 and older do for all threads
    at once: a test that waits for a warning at the time would not see it.
    """
    for thread in threading.enumerate():
        if thread.name == "numbad compiles a tape":
            thread.join()


@pytest.fixture
def recorded_once() -> Iterator[None]:
    """Leave a test without what a second recording of a function mends."""
    numbad.config.record_again = False
    yield
    numbad.config.record_again = True


@pytest.fixture(scope="module")
def tape() -> Any:
    """A tape with rows of most kinds."""
    from shared.tapes import POINT, mixed

    return numbad.record(mixed, *POINT)
