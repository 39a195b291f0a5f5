"""The rollout stage: every workload is Available and stays so, or the reason why not is named.

One level-triggered LIST per kind and tick; what is seen decides, never the edge of an event. Helm is not asked to
wait: its readiness needs `replicas - maxUnavailable` pods, which can be none.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from deployer.config.spec import FailFast, seconds
from deployer.config.spec import Rollout as Rules
from deployer.core.events import WorkloadChanged
from deployer.core.ports import KubePort, Object, ObjectRef
from deployer.core.steps import Clock, Outcome, Steps
from deployer.helm.storage import Applied
from deployer.kube.outage import retried
from deployer.rollout.observe import Lookup, no_lookup
from deployer.state.record import ReleaseRecord
from deployer.status import (
    NO_CONDITIONS,
    RUNS_ON,
    WORKLOAD_KINDS,
    Phase,
    Snapshot,
    WorkloadRef,
    WorkloadStatus,
    current_pods,
    workload_status,
)
from deployer.status.objects import FIELDS, container_statuses, dig, ended_at, epoch, number

STAGE = "rollout"
DONE = (Phase.AVAILABLE, Phase.SCALED_TO_ZERO, Phase.PAUSED)
"""What a workload can come to without more being waited for."""


def works_on(status: WorkloadStatus) -> bool:
    """Whether it is a Job that is at work and of which no pod has failed: helm waits for none."""
    return status.ref.kind == "Job" and status.reason == RUNS_ON


def is_done(status: WorkloadStatus, limits: Limits, now: float) -> bool:
    """Whether nothing more is waited for; for a Job that works on, no longer than a rollout may take."""
    begun = epoch(status.created)
    goes_on = works_on(status) and begun is not None and now - begun > limits.timeout_of(status.ref)
    return status.phase in DONE or goes_on


# What every healthy start gives, by the thousand; diagnosis reads none of it.
_TELLING_EVENTS = ",".join(
    f"reason!={reason}"
    for reason in ("Scheduled", "Pulling", "Pulled", "Created", "Started", "SuccessfulCreate", "ScalingReplicaSet")
)


RECENT_SECONDS = 600.0
"""What is older says nothing of how things stand now; the kubelet forgets a crash after as long, too."""

_GRANTS = ("RoleBinding", "ClusterRoleBinding")

Cause = tuple[str, WorkloadRef | None]
"""What is wrong with which workload; None for the cluster."""


@dataclass(frozen=True, slots=True)
class ServiceLimits:
    """What a service has of its own in being judged; None as the others."""

    timeout: float | None = None
    profile: FailFast | None = None


@dataclass(frozen=True, slots=True)
class Limits:
    """How a rollout is judged: seconds until the deadline, seconds to hold, and how soon a bad sign is fatal.

    `services` are workloads, by name, that are judged otherwise.
    """

    timeout: float
    hold: float
    profile: FailFast
    services: Mapping[str, ServiceLimits] = field(default_factory=dict)
    early_probes: bool = True
    """Whether readiness is asked for as soon as its probe allows, and not only once in a period."""

    def timeout_of(self, ref: WorkloadRef) -> float:
        """Seconds until the workload's deadline."""
        own = self.services.get(ref.name)
        return own.timeout if own is not None and own.timeout is not None else self.timeout

    def profile_of(self, ref: WorkloadRef | None) -> FailFast:
        """How soon a bad sign of the workload is fatal."""
        own = self.services.get(ref.name) if ref is not None else None
        return own.profile if own is not None and own.profile is not None else self.profile


def limits_from(
    rules: Rules,
    timeout: float,
    *,
    own_timeout: float | None = None,
    hold: float | None = None,
    profile: FailFast | None = None,
) -> Limits:
    """As the spec's rules say, `timeout` being the default; what the command line asks (the rest) goes before all."""
    services = {
        name: ServiceLimits(
            seconds(one.timeout) if one.timeout is not None and own_timeout is None else None,
            FailFast(one.fail_fast) if one.fail_fast is not None and profile is None else None,
        )
        for name, one in rules.services.items()
    }
    return Limits(
        own_timeout or timeout,
        hold if hold is not None else seconds(rules.hold),
        profile or FailFast(rules.fail_fast),
        services,
        rules.early_probes,
    )


def workloads_of(objects: Iterable[ObjectRef]) -> tuple[WorkloadRef, ...]:
    """The workloads and custom resources among a release's objects, in a fixed order."""
    return tuple(sorted(WorkloadRef(one.namespace, one.kind, one.name, one.passing) for one in objects
                        if one.kind in WORKLOAD_KINDS or "." in one.kind))  # fmt: skip


def workloads_in(releases: Iterable[Applied | ReleaseRecord]) -> tuple[WorkloadRef, ...]:
    """Those of all the releases, one release after the other."""
    return tuple(ref for one in releases for ref in workloads_of(one.objects))


def worth_showing(statuses: Iterable[WorkloadStatus]) -> tuple[WorkloadStatus, ...]:
    """All but the custom resources of which nobody says anything."""
    return tuple(one for one in statuses if one.reason != NO_CONDITIONS)


@dataclass(frozen=True, slots=True)
class Rollout:
    """What is watched and how it is judged; `since` is when it began, in seconds since the epoch.

    `changed`: whether it has yet to be verified; `kinds` are those of the surroundings (`surrounding_kinds`).
    """

    refs: tuple[WorkloadRef, ...]
    kube: KubePort
    clock: Clock
    limits: Limits
    since: float
    changed: bool = True
    look: Lookup = no_lookup
    needed: frozenset[tuple[str, str]] = frozenset()
    """What URLs of the spec lead to (`Known.needed`)."""
    kinds: tuple[str, ...] = ()
    releases: tuple[Applied, ...] = ()
    """Those that the workloads belong to."""
    restarts: dict[tuple[str, str], int] = field(default_factory=dict)
    """The restarts of each container when all was Available for the first time; one more is a failure."""
    reported: set[Cause] = field(default_factory=set)
    """What was reported already; watching the rollout again adds to it and does not repeat it."""

    @property
    def has_makers(self) -> bool:
        """Whether a controller may make what pods need (`Known.makers`)."""
        return any(ref.kind in _GRANTS or "." in ref.kind for one in self.releases for ref in one.objects)

    @property
    def without_hold(self) -> Rollout:
        """The same, over as soon as everything is Available."""
        return replace(self, limits=replace(self.limits, hold=0.0))


def await_rollout(rollout: Rollout) -> Steps[Outcome[tuple[WorkloadStatus, ...]]]:
    """All workloads are Available, and after a change stayed so for the hold; the first certain cause is raised."""
    refs, kube, clock = rollout.refs, rollout.kube, rollout.clock
    if not rollout.changed:
        snapshot = yield from retried(lambda: take_snapshot(refs, kube), STAGE, clock)
        statuses = tuple(workload_status(ref, snapshot, clock.now()) for ref in refs)
        done = all(is_done(status, rollout.limits, clock.now()) for status in statuses)
        if done and not has_restarted(refs, snapshot, clock.now()):
            shown = worth_showing(statuses)
            for status in shown:
                yield WorkloadChanged(status)
            return Outcome(shown, False, in_words(shown))
    from deployer.rollout.watch import watch  # what is as it should be does not pay for diagnosis

    return (yield from watch(rollout))


def has_restarted(refs: Iterable[WorkloadRef], snapshot: Snapshot, now: float) -> bool:
    """Whether a container was started again lately, so that it is worth asking why."""
    statuses = (one for ref in refs for pod in current_pods(ref, snapshot) for one in container_statuses(pod))
    return any(number(one, "restartCount") and (ended_at(one) or 0.0) > now - RECENT_SECONDS for one in statuses)


Objects = tuple[Mapping[str, Any], ...]


def take_snapshot(
    refs: Sequence[WorkloadRef], kube: KubePort, *, events: bool = True, before: Snapshot | None = None
) -> Snapshot:
    """The workloads' namespaces as they are now: one LIST per kind that matters.

    ReplicaSets are those of the snapshot before while no Deployment has changed since: what changes them changes it.
    So are the ControllerRevisions of DaemonSets.
    """
    namespaces = sorted({ref.namespace for ref in refs})
    kinds = {ref.kind for ref in refs}

    def list_all(kind: str, fields: str = "") -> tuple[Object, ...]:
        return tuple(one for namespace in namespaces for one in kube.list(kind, namespace, fields=fields))

    def unless_same(kind: str, owners: Objects, owners_before: Objects, known: Objects) -> Objects:
        if before is not None and _versions(owners_before) == _versions(owners):
            return known
        return list_all(kind) if owners else ()

    then = before or Snapshot()
    deployments = list_all("Deployment") if "Deployment" in kinds else ()
    daemonsets = list_all("DaemonSet") if "DaemonSet" in kinds else ()
    return Snapshot(
        deployments=deployments,
        replicasets=list_all("ReplicaSet")
        if "ReplicaSet" in kinds
        else unless_same("ReplicaSet", deployments, then.deployments, then.replicasets),
        statefulsets=list_all("StatefulSet") if "StatefulSet" in kinds else (),
        daemonsets=daemonsets,
        revisions=unless_same("ControllerRevision", daemonsets, then.daemonsets, then.revisions),
        jobs=list_all("Job") if kinds & {"Job", "CronJob"} else (),
        pods=list_all("Pod"),
        events=list_all("Event", _TELLING_EVENTS) if events else (),
        others=tuple(one for kind in sorted(kinds - FIELDS.keys()) for one in list_all(kind)),
    )


def _versions(objects: Iterable[Mapping[str, Any]]) -> dict[object, object]:
    return {dig(one, "metadata", "uid"): dig(one, "metadata", "resourceVersion") for one in objects}


def in_words(statuses: Sequence[WorkloadStatus]) -> str:
    """What a rollout came to."""
    ready, desired = sum(one.ready for one in statuses), sum(one.desired for one in statuses)
    count = f"{len(statuses)} workload{'' if len(statuses) == 1 else 's'}"
    return f"{count} available, {ready}/{desired} pods ready"
