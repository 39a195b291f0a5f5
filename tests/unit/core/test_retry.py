"""Calls that failed in transit are tried again, a number of times and not for ever."""

from __future__ import annotations

import time

import pytest

from deployer.core.retry import retried


class Call:
    """Fails some times before it answers."""

    def __init__(self, failures: int, *, takes: float = 0.0) -> None:
        self.failures, self.takes = failures, takes
        self.made = 0

    def __call__(self) -> str:
        self.made += 1
        time.sleep(self.takes)
        if self.made <= self.failures:
            raise ConnectionError(f"failure {self.made}")
        return "answered"


def test_the_last_try_may_be_the_one_that_is_answered() -> None:
    call = Call(2)
    assert retried(call, (ConnectionError,), attempts=3) == "answered"
    assert call.made == 3


def test_after_the_last_try_its_own_error_is_raised() -> None:
    call = Call(9)
    with pytest.raises(ConnectionError, match="failure 2"):
        retried(call, (ConnectionError,), attempts=2)


def test_another_error_is_not_tried_again() -> None:
    call = Call(9)
    with pytest.raises(ConnectionError, match="failure 1"):
        retried(call, (TimeoutError,), attempts=5)


def test_slow_failures_end_by_the_clock() -> None:
    call = Call(99, takes=0.1)
    with pytest.raises(ConnectionError):
        retried(call, (ConnectionError,), attempts=50, seconds=0.3)
    assert 1 < call.made < 6
