"""The rollout stage: every workload is Available and stays so, or the reason why not is named.

One level-triggered LIST per kind and tick; what is seen decides, never the edge of an event. Helm is not asked to
wait (ruling 2): its readiness needs `replicas - maxUnavailable` pods, which can be none.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from deployer import diagnosis
from deployer.causes import CAUSES, FailFast
from deployer.diagnosis import Finding, Patience
from deployer.errors import DeployError, ExitCode, Problem
from deployer.events import Event, Item, ItemState, Warned, WorkloadChanged
from deployer.ports import KubePort, Object, ObjectRef
from deployer.status import Phase, Snapshot, WorkloadRef, WorkloadStatus, workload_status
from deployer.steps import Clock, Outcome, Steps

STAGE = "rollout"
WORKLOAD_KINDS = ("Deployment", "StatefulSet", "DaemonSet", "Job")

_TICK_SECONDS = 0.7
_MOMENT_SECONDS = 0.6
_NOTED_ROUNDS = 2
_DONE = (Phase.AVAILABLE, Phase.SCALED_TO_ZERO, Phase.PAUSED)


Cause = tuple[str, WorkloadRef | None]
"""What is wrong with which workload; None for the cluster."""


@dataclass(frozen=True, slots=True)
class Judging:
    """How a rollout is judged: seconds until the deadline, seconds to hold, and how soon a bad sign is fatal."""

    timeout: float
    hold: float
    profile: FailFast


def workloads_of(objects: Iterable[ObjectRef]) -> tuple[WorkloadRef, ...]:
    """The workloads among a release's objects, in a fixed order."""
    return tuple(sorted(WorkloadRef(one.namespace, one.kind, one.name) for one in objects
                        if one.kind in WORKLOAD_KINDS))  # fmt: skip


def await_rollout(
    refs: Sequence[WorkloadRef], kube: KubePort, clock: Clock, judging: Judging, *, since: float, changed: bool
) -> Steps[Outcome[tuple[WorkloadStatus, ...]]]:
    """All workloads are Available, and after a change stayed so for the hold; the first certain cause is raised."""
    begun = clock.monotonic()
    told: dict[WorkloadRef, WorkloadStatus] = {}
    named: set[Cause] = set()
    noted: dict[Cause, int] = {}
    patience = Patience()
    available_at: float | None = None
    restarts = 0
    while True:
        snapshot = take_snapshot(refs, kube)
        statuses = tuple(workload_status(ref, snapshot, clock.now()) for ref in refs)
        yield from _changes(statuses, told)
        if all(status.phase in _DONE for status in statuses):
            if available_at is not None and _restarts(statuses) > restarts:
                available_at = None  # a container that was ready once and then crashed is no success
            if available_at is None:
                available_at = clock.monotonic()
                restarts = _restarts(statuses)
                if changed and judging.hold:
                    yield Item(STAGE, "stability", ItemState.RUNNING, f"Available; holding {judging.hold:g} s")
            if not changed or clock.monotonic() - available_at >= judging.hold:
                if changed and judging.hold:
                    yield Item(STAGE, "stability", ItemState.DONE, f"stable for {judging.hold:g} s")
                return Outcome(statuses, changed, _words(statuses))
        else:
            available_at = None
            late = clock.monotonic() - begun > judging.timeout
            findings = _findings(snapshot, statuses, kube, clock.now(), since)
            patience = patience.observe(findings, clock.now())
            yield from _notes(findings, noted)
            for finding in _lasting(findings, patience, judging.profile, clock.now()):
                if (finding.code, finding.workload) not in named:
                    named.add((finding.code, finding.workload))
                    yield Warned(diagnosis.problem(finding))
            verdict = diagnosis.judge(findings, patience, clock.now(), judging.profile, deadline_passed=late)
            if verdict.state == "failed" or late:
                raise _failure(verdict.finding, statuses, judging)
        clock.sleep(_TICK_SECONDS)


def take_snapshot(refs: Sequence[WorkloadRef], kube: KubePort, *, events: bool = True) -> Snapshot:
    """The workloads' namespaces as they are now: one LIST per kind that matters."""
    namespaces = sorted({ref.namespace for ref in refs})
    kinds = {ref.kind for ref in refs}

    def every(kind: str) -> tuple[Object, ...]:
        return tuple(one for namespace in namespaces for one in kube.list(kind, namespace))

    return Snapshot(
        deployments=every("Deployment") if "Deployment" in kinds else (),
        replicasets=every("ReplicaSet") if "Deployment" in kinds else (),
        statefulsets=every("StatefulSet") if "StatefulSet" in kinds else (),
        daemonsets=every("DaemonSet") if "DaemonSet" in kinds else (),
        jobs=every("Job") if "Job" in kinds else (),
        pods=every("Pod"),
        events=every("Event") if events else (),
    )


def _findings(
    snapshot: Snapshot, statuses: Sequence[WorkloadStatus], kube: KubePort, now: float, since: float
) -> tuple[Finding, ...]:
    refs = tuple(status.ref for status in statuses if status.phase not in _DONE)
    return diagnosis.diagnose(snapshot, refs, take_logs(snapshot, refs, kube), now=now, since=since)


def take_logs(snapshot: Snapshot, refs: Sequence[WorkloadRef], kube: KubePort) -> dict[tuple[str, str, bool], str]:
    """The ends of the container logs that diagnosis of the snapshot needs, by pod, container and whether previous."""
    return {
        (wanted.pod, wanted.container, wanted.previous): "\n".join(
            kube.logs(wanted.namespace, wanted.pod, wanted.container, previous=wanted.previous)
        )
        for wanted in diagnosis.logs_wanted(snapshot, refs)
    }


def _notes(findings: Sequence[Finding], noted: dict[Cause, int]) -> Iterable[Event]:
    """What may still be an ordinary moment is said without alarm once it was seen in two rounds."""
    for finding in findings:
        key = (finding.code, finding.workload)
        if finding.excused:
            noted[key] = noted.get(key, 0) + 1
            if noted[key] == _NOTED_ROUNDS:
                text = f"{finding.title} ({finding.excused})"
                yield Item(STAGE, str(finding.workload or "cluster"), ItemState.RUNNING, text)


def _lasting(findings: Sequence[Finding], patience: Patience, profile: FailFast, now: float) -> Iterable[Finding]:
    """Those worth naming: certain ones at once, others once they have outlived an ordinary moment of a rollout."""
    for finding in findings:
        seen = patience.seen.get((finding.code, finding.workload))
        if seen is not None and not finding.excused:
            certain = CAUSES[finding.code].policy(profile).now
            if certain or now - seen.first_seen >= _MOMENT_SECONDS:
                yield finding


def _changes(statuses: Sequence[WorkloadStatus], told: dict[WorkloadRef, WorkloadStatus]) -> Iterable[Event]:
    for status in statuses:
        if told.get(status.ref) != status:
            told[status.ref] = status
            yield WorkloadChanged(status)


def _restarts(statuses: Sequence[WorkloadStatus]) -> int:
    return sum(status.restarts for status in statuses)


def _words(statuses: Sequence[WorkloadStatus]) -> str:
    ready, desired = sum(one.ready for one in statuses), sum(one.desired for one in statuses)
    return f"{len(statuses)} workloads Available, {ready}/{desired} pods ready"


def _failure(finding: Finding | None, statuses: Sequence[WorkloadStatus], judging: Judging) -> DeployError:
    if finding is not None:
        return DeployError(diagnosis.problem(finding), ExitCode.NOTHING_SERVES)
    late = [
        f"{status.ref}: {status.phase.value} ({status.message})" for status in statuses if status.phase not in _DONE
    ]
    problem = Problem(
        "ROLLOUT_TIMEOUT",
        f"not Available within {judging.timeout:g} s",
        detail="\n".join(late),
        hints=("todo-deploy logs", "todo-deploy status"),
    )
    return DeployError(problem, ExitCode.NOTHING_SERVES)
