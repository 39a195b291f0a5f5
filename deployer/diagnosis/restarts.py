"""Containers that end, or are being ended by a probe, after everything was Available."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace

from deployer.diagnosis.containers import being_killed, containers_of
from deployer.diagnosis.crashes import crash_finding, ended_with_sandbox, last_end, probe_answers
from deployer.diagnosis.finding import Finding, LogRequest, Scene, named
from deployer.diagnosis.needs import Container, events_of
from deployer.status import Snapshot, WorkloadRef, current_pods
from deployer.status.objects import dig, ended_at, epoch, event_time, name_of, number, probe_request, uid_of

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
    ended = ended_since(scene.refs, scene.snapshot, before)
    kills = (being_killed(scene, one) for one in lasting_containers(scene.refs, scene.snapshot) if one not in ended)
    return tuple(one for one in (*(crash_finding(scene, one) for one in ended), *kills) if one is not None)


def ended_lately(scene: Scene) -> tuple[Container, ...]:
    """The containers that ended since the scene's beginning, but not because their node stopped."""
    found = (one for one in lasting_containers(scene.refs, scene.snapshot) if number(one.status, "restartCount"))
    ended = (one for one in found if (ended_at(one.status) or 0.0) + 1 > scene.since)
    return tuple(one for one in ended if not ended_with_sandbox(scene, one, last_end(one) or {}))


def goes_on(scene: Scene, found: Finding) -> bool:
    """Whether the container of the finding ends again and again: the kubelet backs off, or its probe kills it anew."""
    pods = [pod for ref in scene.refs for pod in current_pods(ref, scene.snapshot) if name_of(pod) == found.pod]
    events = [event for pod in pods for event in scene.events_of(pod, "BackOff", "Killing")]
    backs_off = any(event.get("reason") == "BackOff" for event in events)
    return found.observations > 1 and (backs_off or sum(number(one, "count", default=1) for one in events) > 1)


def ended_since(refs: Iterable[WorkloadRef], snapshot: Snapshot, before: Restarts) -> tuple[Container, ...]:
    """The containers that ended since their restarts were counted."""
    return tuple(one for one in lasting_containers(refs, snapshot) if _restarts(one) > before.get(_key(one), 0))


def last_log(container: Container) -> LogRequest:
    """The log of the run of the container that has ended."""
    previous = not dig(container.status, "state", "terminated")
    return LogRequest(container.ref.namespace, name_of(container.pod), container.name, previous)


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
