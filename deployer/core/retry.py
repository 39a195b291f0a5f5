"""Retry of a single call that failed in transit, counted in attempts (waiting for states is the stages' work).

`http_errors` are those of urllib3, which the clients of Kubernetes and Docker let out.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from urllib3 import exceptions as http_errors

__all__ = ["http_errors", "retried"]

T = TypeVar("T")


def retried(
    call: Callable[[], T], transient: tuple[type[BaseException], ...], attempts: int = 4, seconds: float = 60
) -> T:
    """The call's value, after at most `attempts` tries with growing pauses; its last error is raised unchanged.

    No try begins when so many seconds are over: one that nobody refuses takes its whole time-out.
    """
    from tenacity import Retrying, retry_if_exception_type, stop_after_attempt, stop_after_delay, wait_exponential

    policy = Retrying(
        retry=retry_if_exception_type(transient),
        stop=stop_after_attempt(attempts) | stop_after_delay(seconds),
        wait=wait_exponential(multiplier=0.1, max=2),
        reraise=True,
    )
    return policy(call)
