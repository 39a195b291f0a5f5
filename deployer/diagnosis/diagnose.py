"""From a snapshot and log tails to findings, root causes first."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal

from deployer.config.spec import FailFast
from deployer.core.text import cut_lines
from deployer.diagnosis.attempts import telling_pods
from deployer.diagnosis.causes import CAUSES, Policy
from deployer.diagnosis.containers import container_findings
from deployer.diagnosis.controllers import controller_findings
from deployer.diagnosis.finding import Finding, Known, Logs, Scene, named
from deployer.diagnosis.logs import LINES, LONGEST_LINE
from deployer.diagnosis.scheduling import (
    mount_finding,
    rejected_findings,
    sandbox_finding,
    scheduling_finding,
    surrounding_findings,
)
from deployer.status import Object, Snapshot, WorkloadRef, current_pods
from deployer.status.objects import dig, event_time, find, has_condition
from deployer.status.workloads import last_job

GAP_SECONDS = 10.0
"""A cause unseen for so long starts anew; shorter gaps are a restart between two crashes, or one lost answer."""

Key = tuple[str, WorkloadRef | None]


@dataclass(frozen=True, slots=True)
class Memory:
    """What is remembered of one cause of one workload, whichever pod shows it."""

    first_seen: float
    last_seen: float
    baseline: int
    count: int
    last: Finding
    alike: int = 1


@dataclass(frozen=True, slots=True)
class Observed:
    """Since when and how often each cause was seen in this run."""

    seen: Mapping[Key, Memory] = field(default_factory=dict)

    def observe(self, findings: tuple[Finding, ...], now: float) -> Observed:
        """The memory after this round; ignored findings leave no trace, so that their time does not count."""
        worst: dict[Key, Finding] = {}
        for found in findings:
            known = worst.get((found.code, found.workload))
            if not found.ignored and (known is None or known.observations < found.observations):
                worst[found.code, found.workload] = found
        kept = {key: one for key, one in self.seen.items() if _holds(key, one, now)}
        return Observed(kept | {key: _again(kept.get(key), found, now) for key, found in worst.items()})


def _holds(key: Key, memory: Memory, now: float) -> bool:
    # Counts of restarts come from Kubernetes and stay true however long the container ran in between.
    return now - memory.last_seen <= GAP_SECONDS or CAUSES[key[0]].balanced.count is not None


def _again(memory: Memory | None, found: Finding, now: float) -> Memory:
    if memory is None:
        baseline = max(0, found.observations - 1) if found.predates else 0
        return Memory(now, now, baseline, found.observations - baseline, found)
    first = memory.first_seen if now - memory.last_seen <= GAP_SECONDS else now
    count = max(memory.count, found.observations - memory.baseline)
    alike = memory.alike
    # Another crash of the same pod is known by another time of its end.
    if (found.pod, found.since) != (memory.last.pod, memory.last.since):
        same = bool(found.signature) and found.signature == memory.last.signature and found.pod == memory.last.pod
        alike = alike + 1 if same else 1
    return Memory(first, now, memory.baseline, count, found, alike)


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether to wait on or to fail the run, and the finding that says why."""

    state: Literal["wait", "failed"]
    finding: Finding | None = None


def judge(
    findings: tuple[Finding, ...],
    memory: Observed,
    now: float,
    profile: FailFast = FailFast.BALANCED,
    *,
    deadline_passed: bool = False,
    overrides: Mapping[WorkloadRef, FailFast] | None = None,
) -> Verdict:
    """Failed once a finding is certain under its workload's profile, or the deadline has passed.

    `findings` are ranked and `memory` has observed them.
    """
    own = overrides or {}
    for found in findings:
        if found.ignored:
            continue
        mine = own.get(found.workload, profile) if found.workload else profile
        seen = memory.seen.get((found.code, found.workload))
        if seen is not None and _is_certain(CAUSES[found.code].policy(mine), seen, now):
            return Verdict("failed", _root(found, findings))
    if deadline_passed:
        # What was ignored so far is not ignored any more.
        return Verdict("failed", _root(findings[0], findings) if findings else named("DEADLINE", {}))
    return Verdict("wait", findings[0] if findings else None)


def _is_certain(policy: Policy, seen: Memory, now: float) -> bool:
    return (
        policy.now
        or (policy.seconds is not None and now - seen.first_seen >= policy.seconds)
        or (policy.count is not None and seen.count >= policy.count)
        or (policy.alike is not None and seen.alike >= policy.alike)
    )


def _root(found: Finding, findings: tuple[Finding, ...]) -> Finding:
    """A symptom gives way to the first cause found for its workload."""
    if not CAUSES[found.code].symptom:
        return found
    return next((one for one in findings if one.workload in (found.workload, None)), found)


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
    scene = scene_of(snapshot, refs, logs, now, since, known=known)
    ours = scene.refs
    found = [one for ref in ours if ref not in scene.known.settled for one in _of_workload(scene, ref)]
    return tuple(sorted((*found, *surrounding_findings(scene)), key=_rank))


def scene_of(
    snapshot: Snapshot,
    refs: Iterable[WorkloadRef],
    logs: Logs,
    now: float,
    since: float,
    *,
    known: Known | None = None,
) -> Scene:
    """What one diagnosis looks at: events from before `since` left out, and logs cut."""
    events = _grouped(snapshot.events, since)
    short = {key: "\n".join(cut_lines(text, LONGEST_LINE)[-LINES:]) for key, text in logs.items()}
    return Scene(snapshot, tuple(sorted(refs)), short, now, since, known or Known(), events)


def _of_workload(scene: Scene, ref: WorkloadRef) -> Iterator[Finding]:
    pods = current_pods(ref, scene.snapshot)
    workload = find(ref, scene.snapshot)
    job = last_job(workload, scene.snapshot) if ref.kind == "CronJob" else workload if ref.kind == "Job" else None
    if has_condition(job, "Complete"):
        return  # its failed attempts are history
    for pod in telling_pods(ref, pods):
        for ladder in (scheduling_finding, mount_finding, sandbox_finding):
            if made := ladder(scene, ref, pod):
                yield made
        yield from container_findings(scene, ref, pod)
    yield from rejected_findings(scene, ref, pods)
    yield from controller_findings(scene, ref)


def _rank(found: Finding) -> tuple[object, ...]:
    ref = found.workload
    kind = (_KINDS.index(ref.kind) if ref.kind in _KINDS else len(_KINDS)) if ref else -1
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
