"""A workload's status: deletion first, then the generation its controller has seen, then the kind's own rule.

The rules are those of `kubectl rollout status`, with the pods as well: a controller's counts may lag, and
https://kubernetes.io/docs/concepts/workloads/controllers/deployment/#deployment-status knows no lost replicas.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from deployer.status.objects import (
    condition,
    container_statuses,
    dig,
    epoch,
    find,
    is_ready,
    is_terminating,
    lags,
    name_of,
    number,
    rows,
    uid_of,
)
from deployer.status.phases import Object, Phase, Snapshot, WorkloadRef, WorkloadStatus

REVISION = "deployment.kubernetes.io/revision"


def new_replica_set(deployment: Object, snapshot: Snapshot) -> Object | None:
    """The ReplicaSet of the Deployment's present template, or None while there is none."""
    # The controller's own rule is "same template but for the hash label", the oldest of equals
    # (deployment/util FindNewReplicaSet); the revision annotation says the same only once it has caught up.
    sets = snapshot.sets_by_owner.get(uid_of(deployment), ())
    wanted = _bare_template(deployment)
    if wanted and any(dig(rs, "spec", "template", "spec") for rs in sets):
        same = [rs for rs in sets if _bare_template(rs) == wanted]
        return min(same, key=lambda rs: str(dig(rs, "metadata", "creationTimestamp")), default=None)
    revision = dig(deployment, "metadata", "annotations", REVISION)
    known = () if lags(deployment) or revision is None else sets
    return next((rs for rs in known if dig(rs, "metadata", "annotations", REVISION) == revision), None)


def _pods_of(owner: Object | None, snapshot: Snapshot) -> list[Object]:
    return list(snapshot.pods_by_owner.get(uid_of(owner), ()))


def _bare_template(owner: Object) -> tuple[Any, ...] | None:
    template = dig(owner, "spec", "template") or {}
    labels = dict(dig(template, "metadata", "labels") or {})
    labels.pop("pod-template-hash", None)
    spec = dig(template, "spec")
    return (labels, dig(template, "metadata", "annotations") or {}, spec) if spec else None


def _split(ref: WorkloadRef, snapshot: Snapshot) -> tuple[list[Object], list[Object]]:
    """The workload's pods: of the present template, and of earlier ones."""
    workload = find(ref, snapshot)
    if workload is None:
        return [], []
    if ref.kind == "Deployment":
        new = new_replica_set(workload, snapshot)
        old = [rs for rs in snapshot.sets_by_owner.get(uid_of(workload), ()) if rs is not new]
        return _pods_of(new, snapshot), [pod for rs in old for pod in _pods_of(rs, snapshot)]
    pods = _pods_of(workload, snapshot)
    if ref.kind == "Job":
        return pods, []
    if ref.kind == "StatefulSet":
        label, mark = "controller-revision-hash", dig(workload, "status", "updateRevision")
    else:  # the only mark of a DaemonSet's template that the DaemonSet itself carries
        label = "pod-template-generation"
        mark = dig(workload, "metadata", "annotations", "deprecated.daemonset.template.generation")
    if lags(workload):
        return [], pods
    fresh = [pod for pod in pods if mark and dig(pod, "metadata", "labels", label) == mark]
    return fresh, [pod for pod in pods if pod not in fresh]


def current_pods(ref: WorkloadRef, snapshot: Snapshot) -> tuple[Object, ...]:
    """The workload's pods that count: of the present template and not asked to go, by name."""
    return tuple(sorted((pod for pod in _split(ref, snapshot)[0] if not is_terminating(pod)), key=name_of))


def old_pods(ref: WorkloadRef, snapshot: Snapshot) -> tuple[Object, ...]:
    """The workload's pods of earlier templates, those on their way out included, by name."""
    return tuple(sorted(_split(ref, snapshot)[1], key=name_of))


SCALING_SECONDS = 60.0
"""So long after an autoscaler changed the count, missing replicas are new ones and not lost ones."""

Judged = tuple[Phase, str, str]


@dataclass(frozen=True, slots=True)
class _Seen:
    """What a kind's rule judges."""

    workload: Object
    current: tuple[Object, ...]
    old: tuple[Object, ...]
    was_available: bool
    scaling: bool

    @property
    def ready(self) -> int:
        return sum(is_ready(pod) for pod in self.current)

    @property
    def status(self) -> Object:
        status: Object = dig(self.workload, "status") or {}
        return status


def workload_status(ref: WorkloadRef, snapshot: Snapshot, now: float, *, was_available: bool = False) -> WorkloadStatus:
    """The workload's status at `now`; `was_available` says that this very spec was seen Available before."""
    workload = find(ref, snapshot)
    if workload is None:
        return WorkloadStatus(ref, Phase.PENDING, 0, 0, 0, 0, "NotFound", "not created yet")
    scaling = _scaling(ref, snapshot, now)
    seen = _Seen(workload, current_pods(ref, snapshot), old_pods(ref, snapshot), was_available, scaling)
    desired, updated = _counts(ref.kind, seen)
    phase, reason, message = _judge(ref.kind, seen, desired)
    ready = number(seen.status, "succeeded") if ref.kind == "Job" else seen.ready
    containers = rows(workload, "spec", "template", "spec", "containers")
    return WorkloadStatus(
        ref,
        phase,
        ready,
        desired,
        updated,
        sum(_restarts(pod) for pod in seen.current),
        reason,
        message,
        tuple(str(container.get("image") or "") for container in containers),
        str(dig(workload, "metadata", "creationTimestamp") or ""),
    )


def is_rollout_complete(kind: str, workload: Object) -> bool:
    """Whether the workload's controller counts its rollout as over; how its pods are is not asked."""
    status = dig(workload, "status") or {}
    if kind == "Job":
        return any(condition(workload, one).get("status") == "True" for one in ("Complete", "Failed"))
    if kind == "DaemonSet":
        desired = number(status, "desiredNumberScheduled")
        counts = (number(status, "updatedNumberScheduled"), number(status, "numberAvailable"))
    else:
        desired = number(workload, "spec", "replicas", default=1)
        counts = (number(status, "updatedReplicas"), number(status, "availableReplicas"))
    old = kind == "Deployment" and number(status, "replicas") > counts[0]
    old |= kind == "StatefulSet" and status.get("currentRevision") != status.get("updateRevision")
    return not lags(workload) and not old and min(counts) >= desired


def _counts(kind: str, seen: _Seen) -> tuple[int, int]:
    """Desired and updated."""
    if kind == "Job":
        done = number(seen.status, "succeeded")
        return number(seen.workload, "spec", "completions", default=1), done + number(seen.status, "active")
    if kind == "DaemonSet":
        return number(seen.status, "desiredNumberScheduled"), number(seen.status, "updatedNumberScheduled")
    updated = 0 if lags(seen.workload) else number(seen.status, "updatedReplicas")
    return number(seen.workload, "spec", "replicas", default=1), updated


def _judge(kind: str, seen: _Seen, desired: int) -> Judged:
    if is_terminating(seen.workload):
        return Phase.TERMINATING, "Deleted", f"{len(seen.current) + len(seen.old)} pods left"
    if kind == "Job":
        return _job(seen, desired)
    if lags(seen.workload):
        first = dig(seen.workload, "status", "observedGeneration") is None
        phase = Phase.PENDING if first else Phase.PROGRESSING
        return phase, "LatestGenerationNotObserved", "the new spec is not yet seen by its controller"
    if kind == "Deployment":
        return _deployment(seen, desired)
    return _stateful_set(seen, desired) if kind == "StatefulSet" else _daemon_set(seen, desired)


def _deployment(seen: _Seen, desired: int) -> Judged:
    status, progressing = seen.status, condition(seen.workload, "Progressing")
    total, updated = number(status, "replicas"), number(status, "updatedReplicas")
    available = min(number(status, "availableReplicas"), updated, seen.ready)
    counts = f"Available: {available}/{desired}"
    if dig(seen.workload, "spec", "paused") is True:
        return Phase.PAUSED, "DeploymentPaused", counts
    if desired == 0:
        return _to_zero(seen, total)
    if progressing.get("reason") == "ProgressDeadlineExceeded":
        return Phase.STALLED, "ProgressDeadlineExceeded", counts
    if updated < desired:
        return _short(seen, progressing.get("reason"), f"Updated: {updated}/{desired}")
    if total > updated:
        return Phase.PROGRESSING, "OldReplicas", f"{counts}, {_replicas(total - updated, 'old')} still running"
    if available < desired:
        return _short(seen, progressing.get("reason"), counts)
    return Phase.AVAILABLE, "AllAvailable", counts + _leaving(seen)


def _short(seen: _Seen, reason: object, message: str) -> Judged:
    """Fewer replicas than wanted: lost after a finished rollout, being scaled, or not yet there."""
    # `NewReplicaSetAvailable` stays once the rollout of a template is complete (deployment/progress.go).
    if seen.was_available and not seen.scaling and reason in ("NewReplicaSetAvailable", "Complete"):
        return Phase.DEGRADED, "ReplicasLost", message
    if seen.scaling:
        return Phase.PROGRESSING, "Scaling", message
    started = any(condition(pod, "PodScheduled").get("status") == "True" for pod in seen.current)
    failed = condition(seen.workload, "ReplicaFailure").get("status") == "True"
    word = "FailedCreate" if failed else "Rollout" if started or seen.old else "NoPodYet"
    return Phase.PROGRESSING if started or seen.old else Phase.PENDING, word, message


def _stateful_set(seen: _Seen, desired: int) -> Judged:
    # https://kubernetes.io/docs/concepts/workloads/controllers/statefulset/#partitions: ordinals below the
    # partition keep the old revision; with OnDelete every pod does until somebody deletes it.
    status, strategy = seen.status, dig(seen.workload, "spec", "updateStrategy")
    on_delete = dig(strategy, "type") == "OnDelete"
    kept = desired if on_delete else min(desired, number(strategy, "rollingUpdate", "partition"))
    updated = number(status, "updatedReplicas")
    ready = min(number(status, "readyReplicas"), seen.ready + sum(is_ready(pod) for pod in seen.old))
    available = min(ready, number(status, "availableReplicas", default=ready))
    same = status.get("currentRevision") == status.get("updateRevision") or kept > 0
    reason = "Complete" if status.get("currentRevision") == status.get("updateRevision") else "Rollout"
    counts = f"Available: {available}/{desired}"
    if desired == 0:
        return _to_zero(seen, number(status, "replicas"))
    if updated < desired - kept or (not same and updated < desired):
        return _short(seen, reason, f"Updated: {updated}/{desired - kept}, {counts}")
    if available < desired or (kept == 0 and seen.ready < desired):
        return _short(seen, reason, counts)
    if not same:
        return Phase.PROGRESSING, "Rollout", f"{counts}, the revision is not yet taken over"
    waiting = ", updates wait until pods are deleted (OnDelete)" if on_delete and updated < desired else ""
    return Phase.AVAILABLE, "AllAvailable", counts + waiting + ("" if kept else _leaving(seen))


def _daemon_set(seen: _Seen, desired: int) -> Judged:
    updated = number(seen.status, "updatedNumberScheduled")
    available = min(number(seen.status, "numberAvailable"), sum(is_ready(p) for p in seen.current + seen.old))
    counts = f"Available: {available}/{desired}"
    if desired == 0:
        return Phase.SCALED_TO_ZERO, "NoNode", "no node is to run it"
    if updated < desired:
        return _short(seen, "Rollout", f"Updated: {updated}/{desired}, {counts}")
    if available < desired or seen.ready < desired:
        return _short(seen, "Complete", counts)
    return Phase.AVAILABLE, "AllAvailable", counts + _leaving(seen)


def _job(seen: _Seen, desired: int) -> Judged:
    # FailureTarget and SuccessCriteriaMet come first, while the Job's pods still end (Job API, 1.31).
    counts = f"Succeeded: {number(seen.status, 'succeeded')}/{desired}"
    for kind, phase in (("Failed", Phase.FAILED), ("FailureTarget", Phase.FAILED), ("Complete", Phase.AVAILABLE)):
        found = condition(seen.workload, kind)
        if found.get("status") == "True":
            return phase, str(found.get("reason") or kind), counts
    if dig(seen.workload, "spec", "suspend") is True:
        return Phase.PAUSED, "JobSuspended", counts
    if dig(seen.status, "startTime") is None:
        return Phase.PENDING, "NoPodYet", counts
    failed = number(seen.status, "failed")
    return Phase.PROGRESSING, "Running", counts + (f", Failed: {failed}" if failed else "")


def _to_zero(seen: _Seen, total: int) -> Judged:
    if total:
        return Phase.PROGRESSING, "ScalingDown", f"{_replicas(total, '')} still running"
    return Phase.SCALED_TO_ZERO, "ScaledToZero", "scaled to 0" + _leaving(seen)


def _leaving(seen: _Seen) -> str:
    leaving = sum(is_terminating(pod) for pod in seen.old)
    return f", {_replicas(leaving, 'old')} terminating" if leaving else ""


def _replicas(count: int, which: str) -> str:
    return " ".join(filter(None, (str(count), which, "replica" if count == 1 else "replicas")))


def _restarts(pod: Object) -> int:
    statuses = container_statuses(pod)
    return sum(number(status, "restartCount") for status in statuses)


def _scaling(ref: WorkloadRef, snapshot: Snapshot, now: float) -> bool:
    """Whether an autoscaler has just changed the workload's count."""
    for hpa in snapshot.hpas:
        target = dig(hpa, "spec", "scaleTargetRef")
        here = dig(hpa, "metadata", "namespace") in (ref.namespace, None)
        if not here or dig(target, "kind") != ref.kind or dig(target, "name") != ref.name:
            continue
        last = epoch(dig(hpa, "status", "lastScaleTime"))
        if last is not None and now - last < SCALING_SECONDS:
            return True
    return False
