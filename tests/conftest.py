"""What tests share: the usual limits, for those that ask which way was taken."""

from __future__ import annotations

import pytest

from numbad import limits


@pytest.fixture
def usual_limits() -> None:
    """Leave a test to the usual limits: one that asserts which way a program takes, which small limits change.

    Numbers are compared with small limits by all other tests.
    """
    if limits.SMALL_LIMITS:
        pytest.skip("asks which way is taken, and small limits are there to change that")
