"""The attempts of a Job: which of its pods tells, how many there were, and when the next one begins.

https://kubernetes.io/docs/concepts/workloads/controllers/job/#pod-backoff-failure-policy
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from deployer.status import Object, WorkloadRef
from deployer.status.objects import container_statuses, dig, ended_at, number

_FIRST_SECONDS, _LONGEST_SECONDS = 10.0, 360.0
_BACK_OFF = re.compile(r"back-off (?:(\d+)m)?(\d+)s restarting")


def telling_pods(ref: WorkloadRef, pods: Sequence[Object]) -> tuple[Object, ...]:
    """Of the pods of a Job that have failed only the last, and every other pod."""
    if ref.kind not in ("Job", "CronJob"):
        return tuple(pods)
    over = [pod for pod in pods if dig(pod, "status", "phase") == "Failed"]
    last = max(over, key=_end, default=None)
    return tuple(pod for pod in pods if pod is last or pod not in over)


def attempts_of(job: Object | None, restarts: int) -> int:
    """How often the Job was tried and failed, pods side by side counted once; `restarts` are those within its pod."""
    side_by_side = max(1, number(job, "spec", "parallelism", default=1))
    return -(-number(job, "status", "failed") // side_by_side) + restarts


def next_attempt(job: Object, pods: Sequence[Object]) -> float | None:
    """When the Job is tried again, at the earliest; None while it is being tried, and where it cannot be known.

    Its controller waits 10 s after the first failure and twice as long after each further one; where the pod is
    started again it is the kubelet that waits.
    """
    if number(job, "spec", "parallelism", default=1) != 1 or number(job, "spec", "completions", default=1) != 1:
        return None
    for pod in pods:
        if dig(pod, "status", "phase") not in ("Failed", "Succeeded"):
            return _next_start(pod)
    failed, ends = number(job, "status", "failed"), [_end(pod) for pod in pods]
    if not failed or failed != len(pods) or dig(job, "spec", "podFailurePolicy"):
        return None
    return max(ends) + min(_FIRST_SECONDS * 2.0 ** (failed - 1), _LONGEST_SECONDS)


def _next_start(pod: Object) -> float | None:
    """When the kubelet starts the container again that it keeps back."""
    for status in container_statuses(pod):
        found = _BACK_OFF.search(str(dig(status, "state", "waiting", "message") or ""))
        if found is not None and (ended := ended_at(status)) is not None:
            return ended + 60 * int(found[1] or 0) + int(found[2])
    return None


def _end(pod: Object) -> float:
    return max((ended_at(one) or 0.0 for one in container_statuses(pod)), default=0.0)
