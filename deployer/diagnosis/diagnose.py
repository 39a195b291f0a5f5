"""From a snapshot and log tails to findings, root causes first."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from deployer.core.text import cut_lines
from deployer.diagnosis.causes import CAUSES
from deployer.diagnosis.containers import container_findings
from deployer.diagnosis.controllers import controller_findings
from deployer.diagnosis.finding import Finding, Known, Logs, Scene, event_time
from deployer.diagnosis.logs import LINES, LONGEST_LINE
from deployer.diagnosis.scheduling import mount_finding, rejected_findings, sandbox_finding, scheduling_finding
from deployer.diagnosis.surroundings import surrounding_findings
from deployer.status import Object, Snapshot, WorkloadRef, current_pods
from deployer.status.objects import condition, dig, find

_KINDS = ("StatefulSet", "Job", "DaemonSet", "Deployment")
"""Among equals the likelier root cause first: others depend on what has state."""


def diagnose(
    snapshot: Snapshot,
    refs: Iterable[WorkloadRef],
    logs: Logs,
    now: float,
    since: float,
    *,
    known: Known | None = None,
) -> tuple[Finding, ...]:
    """Everything wrong with the workloads at `now`, always in the same order: alarms, then what is ignored; root
    causes before symptoms.

    Only pods of the present template count, and no event from before `since`. Logs are given without secrets. Nothing
    is said of workloads that are known to be settled.
    """
    ours = tuple(sorted(refs))
    events = _grouped(snapshot.events, since)
    short = {key: "\n".join(cut_lines(text, LONGEST_LINE)[-LINES:]) for key, text in logs.items()}
    scene = Scene(snapshot, ours, short, now, since, known or Known(), events)
    found = [one for ref in ours if ref not in scene.known.settled for one in _of_workload(scene, ref)]
    return tuple(sorted((*found, *surrounding_findings(scene)), key=_rank))


def _of_workload(scene: Scene, ref: WorkloadRef) -> Iterator[Finding]:
    pods = current_pods(ref, scene.snapshot)
    if ref.kind == "Job" and condition(find(ref, scene.snapshot), "Complete").get("status") == "True":
        return  # its failed attempts are history
    for pod in pods:
        for ladder in (scheduling_finding, mount_finding, sandbox_finding):
            if made := ladder(scene, ref, pod):
                yield made
        yield from container_findings(scene, ref, pod)
    yield from rejected_findings(scene, ref, pods)
    yield from controller_findings(scene, ref)


def _rank(found: Finding) -> tuple[object, ...]:
    ref = found.workload
    kind = _KINDS.index(ref.kind) if ref else -1
    return (
        bool(found.ignored),
        CAUSES[found.code].rank,
        kind,
        str(ref or ""),
        found.pod,
        found.container,
        found.code,
        found.title,
    )


def _grouped(events: Iterable[Object], since: float) -> Mapping[str, tuple[Object, ...]]:
    """The run's events by the object they are about, oldest first."""
    grouped: dict[str, list[tuple[float, Object]]] = {}
    for event in events:
        at = event_time(event)
        # Event times are cut to whole seconds: one from the second in which the run began may be its own.
        if at is not None and at + 1 > since:
            uid = dig(event, "involvedObject", "uid") or dig(event, "regarding", "uid")
            grouped.setdefault(str(uid), []).append((at, event))
    return {uid: tuple(event for _, event in sorted(found, key=lambda one: one[0])) for uid, found in grouped.items()}
