"""Containers that end, or are being ended by a probe, after everything was Available."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace

from deployer.diagnosis.containers import being_killed, containers_of
from deployer.diagnosis.crashes import crash_finding, probe_answers
from deployer.diagnosis.finding import Finding, LogRequest, Scene, named
from deployer.diagnosis.needs import Container, events_of
from deployer.status import Snapshot, WorkloadRef, current_pods
from deployer.status.objects import dig, epoch, event_time, name_of, number, probe_request, uid_of

Restarts = Mapping[tuple[str, str], int]
"""How often a container was started again, by the uid of its pod and its name."""


def lasting_containers(refs: Iterable[WorkloadRef], snapshot: Snapshot) -> Iterator[Container]:
    """The containers that are to run on: of the workloads' present pods, sidecars among them, and none of a Job."""
    for ref in refs:
        for pod in current_pods(ref, snapshot) if ref.kind not in ("Job", "CronJob") else ():
            if dig(pod, "spec", "restartPolicy") in ("Always", None):
                yield from (one for one in containers_of(ref, pod) if one.sidecar or not one.init)


def restarts_of(refs: Iterable[WorkloadRef], snapshot: Snapshot) -> Restarts:
    """The restarts of the containers that are to run on."""
    return {_key(one): _restarts(one) for one in lasting_containers(refs, snapshot)}


def restarted(scene: Scene, before: Restarts) -> tuple[Finding, ...]:
    """Why containers ended since their restarts were counted, or are being killed by their probe."""
    found = []
    for one in lasting_containers(scene.refs, scene.snapshot):
        ended = _has_ended(one, before)
        finding = being_killed(scene, one) if not ended and dig(one.status, "state", "running") else None
        if ended:
            finding = crash_finding(scene, one)
        found += [finding] if finding is not None else []
    return tuple(found)


def logs_of_restarted(refs: Iterable[WorkloadRef], snapshot: Snapshot, before: Restarts) -> tuple[LogRequest, ...]:
    """The logs that say why containers ended since their restarts were counted."""
    return tuple(
        LogRequest(one.ref.namespace, name_of(one.pod), one.name, not dig(one.status, "state", "terminated"))
        for one in lasting_containers(refs, snapshot)
        if _has_ended(one, before)
    )


def failing_since(scene: Scene, container: Container) -> float | None:
    """When the liveness probe of this run of the container failed last; None where it has not."""
    started = epoch(dig(container.status, "state", "running", "startedAt")) or 0.0
    events = events_of(scene, container, "Unhealthy")
    said = (event_time(one) for one in events if str(one.get("message")).startswith("Liveness probe failed"))
    return max((at for at in said if at is not None and at >= started), default=None)


def liveness_finding(scene: Scene, container: Container) -> Finding:
    """That the container's liveness probe fails, before it was killed for it."""
    answers = probe_answers(scene, container, "liveness")
    detail = " | ".join(filter(None, (probe_request(dig(container.spec, "livenessProbe")), *answers[-1:])))
    made = named("LIVENESS_PROBE", container.words(), workload=container.ref)
    return replace(made, detail=detail, since=failing_since(scene, container))


def _key(container: Container) -> tuple[str, str]:
    return uid_of(container.pod), container.name


def _restarts(container: Container) -> int:
    # One that has just ended is counted by Kubernetes once it was started again.
    return number(container.status, "restartCount") + bool(dig(container.status, "state", "terminated"))


def _has_ended(container: Container, before: Restarts) -> bool:
    return _restarts(container) > before.get(_key(container), 0)
