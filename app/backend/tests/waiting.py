"""Waiting for a state instead of sleeping for a guess."""

from __future__ import annotations

import time
from collections.abc import Callable


def eventually(condition: Callable[[], bool], within: float = 15.0) -> None:
    """Returns as soon as `condition` holds; fails when it does not within the given seconds."""
    deadline = time.monotonic() + within
    while not condition():
        assert time.monotonic() < deadline, "the condition did not come true in time"
        time.sleep(0.02)
