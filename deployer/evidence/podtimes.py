"""A pod's life as stretches of time, from the moments that Kubernetes writes down (in whole seconds)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from deployer.evidence.timeline import Row, Segment
from deployer.status import Object, PodPhase, pod_phase
from deployer.status.objects import condition, container_statuses, dig, epoch, is_terminating, name_of, rows


def pod_rows(pods: Iterable[Object], now: float) -> tuple[Row, ...]:
    """Each pod from its creation until now."""
    made = [_row(pod, now) for pod in pods]
    return tuple(sorted((row for row in made if row is not None), key=lambda row: (row.segments[0].begin, row.name)))


def image_ids(pods: Iterable[Object]) -> dict[str, str]:
    """The id that each image of a started container has on the node."""
    return {
        str(status["image"]): str(status["imageID"])
        for pod in pods
        for status in container_statuses(pod)
        if status.get("image") and status.get("imageID")
    }


def _row(pod: Object, now: float) -> Row | None:
    begun = epoch(dig(pod, "metadata", "creationTimestamp"))
    if begun is None:
        return None
    marks = sorted([(begun, "Pending", ""), *_marks(pod)], key=lambda mark: mark[0])
    ends = [at for at, _, _ in marks[1:]] + [max(now, begun)]
    segments = tuple(
        Segment(state, at, end, why) for (at, state, why), end in zip(marks, ends, strict=True) if end > at
    )
    return Row(name_of(pod), "pod", segments or (Segment("Pending", begun, now, ""),))


def _marks(pod: Object) -> Iterator[tuple[float, str, str]]:
    """The moments from which on the pod was in a state."""
    scheduled = condition(pod, "PodScheduled")
    if scheduled.get("status") == "True" and (at := epoch(scheduled.get("lastTransitionTime"))) is not None:
        yield at, PodPhase.CREATING.value, _waiting(pod)
    for status in rows(pod, "status", "containerStatuses"):
        yield from _container(status)
    ready = condition(pod, "Ready")
    at = epoch(ready.get("lastTransitionTime"))
    phase = pod_phase(pod)
    if at is not None and ready.get("status") == "True":
        yield at, PodPhase.READY.value, ""
    if phase is PodPhase.TERMINATING and (gone := epoch(dig(pod, "metadata", "deletionTimestamp"))) is not None:
        grace = dig(pod, "metadata", "deletionGracePeriodSeconds") or 0
        yield gone - float(grace), phase.value, ""


def _container(status: Object) -> Iterator[tuple[float, str, str]]:
    for state, last in ((dig(status, "lastState"), True), (dig(status, "state"), False)):
        running, ended = dig(state, "running"), dig(state, "terminated")
        if running and (at := epoch(running.get("startedAt"))) is not None:
            yield at, PodPhase.RUNNING.value, str(status.get("name"))
        if not ended:
            continue
        began, over = epoch(ended.get("startedAt")), epoch(ended.get("finishedAt"))
        if began is not None:
            yield began, PodPhase.RUNNING.value, str(status.get("name"))
        if over is not None:
            yield over, _ended(ended, last), f"{ended.get('reason') or 'ended'}, exit code {ended.get('exitCode')}"


def _ended(ended: Any, last: bool) -> str:
    if ended.get("exitCode") == 0 and not last:
        return PodPhase.SUCCEEDED.value
    return PodPhase.CRASH_LOOP.value if last else PodPhase.FAILED.value


def _waiting(pod: Object) -> str:
    if is_terminating(pod):
        return ""
    reasons = [dig(one, "state", "waiting", "reason") for one in rows(pod, "status", "containerStatuses")]
    return ", ".join(str(one) for one in reasons if one)
