"""A workload's status: deletion first, then the generation its controller has seen, then the kind's own rule.

The rules are those of `kubectl rollout status`, with the pods as well: a controller's counts may lag, and
https://kubernetes.io/docs/concepts/workloads/controllers/deployment/#deployment-status knows no lost replicas.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from deployer.status.objects import (
    annotations_of,
    condition,
    container_statuses,
    dig,
    epoch,
    event_time,
    find,
    has_condition,
    is_ready,
    is_terminating,
    labels_of,
    lags,
    name_of,
    number,
    pod_template,
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
    labels = dict(labels_of(template))
    labels.pop("pod-template-hash", None)
    spec = dig(template, "spec")
    return (labels, annotations_of(template), spec) if spec else None


def _split(ref: WorkloadRef, snapshot: Snapshot) -> tuple[list[Object], list[Object]]:
    """The workload's pods: of the present template, and of earlier ones."""
    workload = find(ref, snapshot)
    if workload is None:
        return [], []
    if ref.kind == "Deployment":
        new = new_replica_set(workload, snapshot)
        old = [rs for rs in snapshot.sets_by_owner.get(uid_of(workload), ()) if rs is not new]
        return _pods_of(new, snapshot), [pod for rs in old for pod in _pods_of(rs, snapshot)]
    if ref.kind == "Pod":
        return [workload], []
    if ref.kind == "CronJob":
        return _pods_of(last_job(workload, snapshot), snapshot), []
    pods = _pods_of(workload, snapshot)
    if ref.kind not in ("StatefulSet", "DaemonSet"):
        return pods, []
    if lags(workload):
        return [], pods
    marks = _template_marks(ref.kind, workload, snapshot)
    fresh = [
        pod for pod in pods if any(mark and dig(pod, "metadata", "labels", label) == mark for label, mark in marks)
    ]
    return fresh, [pod for pod in pods if pod not in fresh]


def _template_marks(kind: str, workload: Object, snapshot: Snapshot) -> tuple[tuple[str, Any], ...]:
    """The labels of which a pod of the present template has one, with their values."""
    if kind == "StatefulSet":
        return ((_HASH, dig(workload, "status", "updateRevision")),)
    # A DaemonSet's controller takes a pod that has either (daemon/util IsPodUpdated): after a rollback those that were
    # not replaced keep the generation that they were made with.
    owned = snapshot.revisions_by_owner.get(uid_of(workload), ())
    newest = max(owned, key=lambda one: number(one, "revision"), default=None)
    generation = dig(workload, "metadata", "annotations", "deprecated.daemonset.template.generation")
    return (_HASH, dig(newest, "metadata", "labels", _HASH)), ("pod-template-generation", generation)


def last_job(cron_job: Object | None, snapshot: Snapshot) -> Object | None:
    """The newest of the CronJob's Jobs."""
    jobs = snapshot.jobs_by_owner.get(uid_of(cron_job), ())
    return max(jobs, key=lambda job: str(dig(job, "metadata", "creationTimestamp")), default=None)


def failed_condition(job: Object | None) -> Object | None:
    """The condition that says that the Job failed, or is about to be counted as failed; None where it did not."""
    # FailureTarget comes first, while the Job's pods still end (Job API, 1.31).
    found = (condition(job, kind) for kind in ("Failed", "FailureTarget"))
    return next((one for one in found if one.get("status") == "True"), None)


def failure_event(ref: WorkloadRef, snapshot: Snapshot) -> Object | None:
    """The event that says that a Job which has removed itself had failed; None where it did not, or nobody says so."""
    about = [
        event
        for event in snapshot.events
        if dig(event, "involvedObject", "kind") == "Job"
        and (dig(event, "involvedObject", "namespace"), dig(event, "involvedObject", "name"))
        == (ref.namespace, ref.name)
        and event.get("reason") in ("Completed", *_FAILURES)
    ]
    newest = max(about, key=lambda event: event_time(event) or 0.0, default=None)
    return newest if newest is not None and newest.get("reason") in _FAILURES else None


def current_pods(ref: WorkloadRef, snapshot: Snapshot) -> tuple[Object, ...]:
    """The workload's pods that count: of the present template and not asked to go, by name."""
    return tuple(sorted((pod for pod in _split(ref, snapshot)[0] if not is_terminating(pod)), key=name_of))


def old_pods(ref: WorkloadRef, snapshot: Snapshot) -> tuple[Object, ...]:
    """The workload's pods of earlier templates, those on their way out included, by name."""
    return tuple(sorted(_split(ref, snapshot)[1], key=name_of))


# Reasons of the Job controller's events for a Job that it gives up (pkg/controller/job).
_FAILURES = (
    "BackoffLimitExceeded",
    "DeadlineExceeded",
    "FailedIndexes",
    "MaxFailedIndexesExceeded",
    "PodFailurePolicy",
)
_HASH = "controller-revision-hash"
NO_CONDITIONS = "NoConditions"
"""The reason of a custom resource that nobody says anything of, so that nothing of it is waited for."""

RUNS_ON = "Running"
"""The reason of a Job whose pods run, and none has failed."""

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
    job: Object | None = None
    """Of a CronJob: its newest Job."""

    @property
    def ready(self) -> int:
        return sum(is_ready(pod) for pod in self.current)

    @property
    def keeps_old(self) -> bool:
        """Whether pods of earlier templates stay until somebody deletes them, or below a partition."""
        strategy = dig(self.workload, "spec", "updateStrategy")
        return dig(strategy, "type") == "OnDelete" or number(strategy, "rollingUpdate", "partition") > 0

    @property
    def status(self) -> Object:
        status: Object = dig(self.workload, "status") or {}
        return status


def workload_status(ref: WorkloadRef, snapshot: Snapshot, now: float, *, was_available: bool = False) -> WorkloadStatus:
    """The workload's status at `now`; `was_available` says that this very spec was seen Available before."""
    workload = find(ref, snapshot)
    if workload is None:
        return WorkloadStatus(ref, *_absent(ref, snapshot))
    scaling, job = _scaling(ref, snapshot, now), last_job(workload, snapshot) if ref.kind == "CronJob" else None
    seen = _Seen(workload, current_pods(ref, snapshot), old_pods(ref, snapshot), was_available, scaling, job)
    desired, updated = _counts(ref.kind, seen)
    phase, reason, message = _judge(ref.kind, seen, desired)
    containers = rows(pod_template(workload), "spec", "containers")
    return WorkloadStatus(
        ref,
        phase,
        _ready(ref.kind, seen),
        desired,
        updated,
        sum(_restarts(pod) for pod in seen.current),
        reason,
        message,
        tuple(str(container.get("image") or "") for container in containers),
        str(dig(workload, "metadata", "creationTimestamp") or ""),
    )


def _absent(ref: WorkloadRef, snapshot: Snapshot) -> tuple[Phase, int, int, int, int, str, str]:
    if ref.passing:  # helm has made it: it is gone because it has ended
        failed = failure_event(ref, snapshot)
        if failed is not None:
            return Phase.FAILED, 0, 0, 0, 0, str(failed.get("reason")), str(failed.get("message") or "failed")
        return Phase.AVAILABLE, 0, 0, 0, 0, "Removed", "ended, and removed itself (ttlSecondsAfterFinished)"
    if "." in ref.kind:  # of a kind that the server does not list
        return Phase.AVAILABLE, 0, 0, 0, 0, NO_CONDITIONS, ""
    return Phase.PENDING, 0, 0, 0, 0, "NotFound", "not created yet"


def is_rollout_complete(kind: str, workload: Object) -> bool:
    """Whether the workload's controller counts its rollout as over; how its pods are is not asked."""
    status = dig(workload, "status") or {}
    if kind == "Job":
        return any(has_condition(workload, one) for one in ("Complete", "Failed"))
    if kind == "Pod":
        return has_condition(workload, "Ready") or status.get("phase") in ("Succeeded", "Failed")
    if kind not in _RULES:
        return _custom(workload)[0] is not Phase.PROGRESSING
    if kind == "DaemonSet":
        desired = number(status, "desiredNumberScheduled")
        counts = (number(status, "updatedNumberScheduled"), number(status, "numberAvailable"))
    else:
        desired = number(workload, "spec", "replicas", default=1)
        counts = (number(status, "updatedReplicas"), number(status, "availableReplicas"))
        if kind in _PLAIN_SETS:
            counts = (desired, counts[1])
    old = kind == "Deployment" and number(status, "replicas") > counts[0]
    old |= kind == "StatefulSet" and status.get("currentRevision") != status.get("updateRevision")
    return not lags(workload) and not old and min(counts) >= desired


def _ready(kind: str, seen: _Seen) -> int:
    if kind == "Job":
        return number(seen.status, "succeeded")
    if kind == "Pod" and seen.status.get("phase") == "Succeeded":
        return 1
    kept = sum(is_ready(pod) for pod in seen.old) if seen.keeps_old else 0
    return seen.ready + kept if kind != "CronJob" and kind in _RULES else 0


def _counts(kind: str, seen: _Seen) -> tuple[int, int]:
    """Desired and updated."""
    if kind == "Job":
        done = number(seen.status, "succeeded")
        # A work queue has no completions: it is done once one pod has succeeded and all have ended.
        wanted = number(
            seen.workload, "spec", "completions", default=number(seen.workload, "spec", "parallelism", default=1)
        )
        return wanted, done + number(seen.status, "active")
    if kind == "Pod":
        return 1, 1
    if kind == "CronJob" or kind not in _RULES:
        return 0, 0
    if kind == "DaemonSet":
        return number(seen.status, "desiredNumberScheduled"), number(seen.status, "updatedNumberScheduled")
    wanted = number(seen.workload, "spec", "replicas", default=1)
    if kind in _PLAIN_SETS:
        return wanted, len(seen.current)
    return wanted, 0 if lags(seen.workload) else number(seen.status, "updatedReplicas")


def _judge(kind: str, seen: _Seen, desired: int) -> Judged:
    if is_terminating(seen.workload):
        return Phase.TERMINATING, "Deleted", f"{len(seen.current) + len(seen.old)} pods left"
    if kind in _UNOBSERVED:
        return _UNOBSERVED[kind](seen, desired)
    if kind not in _RULES:
        return _custom(seen.workload)
    if lags(seen.workload):
        first = dig(seen.workload, "status", "observedGeneration") is None
        phase = Phase.PENDING if first else Phase.PROGRESSING
        return phase, "LatestGenerationNotObserved", "the new spec is not yet seen by its controller"
    return _RULES[kind](seen, desired)


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
    started = any(has_condition(pod, "PodScheduled") for pod in seen.current)
    failed = has_condition(seen.workload, "ReplicaFailure")
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
    if on_delete and updated < desired:
        return Phase.AVAILABLE, "OnDelete", counts + _ON_DELETE
    return Phase.AVAILABLE, "AllAvailable", counts + ("" if kept else _leaving(seen))


def _daemon_set(seen: _Seen, desired: int) -> Judged:
    updated = number(seen.status, "updatedNumberScheduled")
    on_delete = dig(seen.workload, "spec", "updateStrategy", "type") == "OnDelete"
    ready = sum(is_ready(pod) for pod in seen.current + seen.old)
    available = min(number(seen.status, "numberAvailable"), ready)
    counts = f"Available: {available}/{desired}"
    if desired == 0:
        return Phase.SCALED_TO_ZERO, "NoNode", "no node is to run it"
    if updated < desired and not on_delete:
        return _short(seen, "Rollout", f"Updated: {updated}/{desired}, {counts}")
    if available < desired or (seen.ready < desired and not on_delete):
        return _short(seen, "Complete", counts)
    if updated < desired:
        return Phase.AVAILABLE, "OnDelete", counts + _ON_DELETE
    return Phase.AVAILABLE, "AllAvailable", counts + _leaving(seen)


_ON_DELETE = ", updates wait until pods are deleted (OnDelete)"


def _job(seen: _Seen, desired: int) -> Judged:
    counts = f"Succeeded: {number(seen.status, 'succeeded')}/{desired}"
    if broken := failed_condition(seen.workload):
        return Phase.FAILED, str(broken.get("reason") or "Failed"), counts
    complete = condition(seen.workload, "Complete")
    if complete.get("status") == "True":
        return Phase.AVAILABLE, str(complete.get("reason") or "Complete"), counts
    if dig(seen.workload, "spec", "suspend") is True or dig(seen.workload, "spec", "parallelism") == 0:
        return Phase.PAUSED, "JobSuspended", counts + ", suspended"
    if dig(seen.status, "startTime") is None:
        return Phase.PENDING, "NoPodYet", counts
    failed = number(seen.status, "failed")
    word = "Retrying" if failed else RUNS_ON if number(seen.status, "ready") else "Starting"
    return Phase.PROGRESSING, word, counts + (f", Failed: {failed}" if failed else "")


def _cron_job(seen: _Seen, desired: int) -> Judged:
    del desired
    if dig(seen.workload, "spec", "suspend") is True:
        return Phase.PAUSED, "CronJobSuspended", "suspended"
    schedule = f"schedule {dig(seen.workload, 'spec', 'schedule')}"
    if seen.job is None:
        return Phase.AVAILABLE, "Scheduled", f"{schedule}, no Job yet"
    failed, name = failed_condition(seen.job), name_of(seen.job)
    if failed is not None:
        # What a rollout brought is the schedule: a Job of it may be older, and is nobody's to wait for.
        phase = Phase.DEGRADED if seen.was_available else Phase.AVAILABLE
        return phase, "LastJobFailed", f"{schedule}, its last Job {name} failed: {failed.get('reason')}"
    over = has_condition(seen.job, "Complete")
    return Phase.AVAILABLE, "Scheduled", f"{schedule}, its last Job {name} {'succeeded' if over else 'runs'}"


def _pod(seen: _Seen, desired: int) -> Judged:
    phase, (pod, counts) = dig(seen.workload, "status", "phase"), (seen.workload, f"Available: {seen.ready}/{desired}")
    if phase == "Failed":
        return Phase.FAILED, str(dig(pod, "status", "reason") or "Failed"), "failed"
    if phase == "Succeeded":
        return Phase.AVAILABLE, "Succeeded", "ended well"
    if seen.ready:
        return Phase.AVAILABLE, "Ready", counts
    scheduled = has_condition(pod, "PodScheduled")
    return (Phase.PROGRESSING if scheduled else Phase.PENDING), str(phase or "Pending"), counts


def _plain_set(seen: _Seen, desired: int) -> Judged:
    """A ReplicaSet or ReplicationController of its own, which replaces no pod because of a new template."""
    total, available = number(seen.status, "replicas"), min(number(seen.status, "availableReplicas"), seen.ready)
    counts = f"Available: {available}/{desired}"
    if desired == 0:
        return _to_zero(seen, total)
    return _short(seen, "Complete", counts) if available < desired else (Phase.AVAILABLE, "AllAvailable", counts)


def _custom(found: Object) -> Judged:
    """By the rules of kstatus: https://github.com/kubernetes-sigs/cli-utils/blob/master/pkg/kstatus/README.md."""
    if dig(found, "status", "observedGeneration") is not None and lags(found):
        return Phase.PROGRESSING, "LatestGenerationNotObserved", "the new spec is not yet seen by its controller"
    for kind, bad, phase in (
        ("Stalled", ("True",), Phase.STALLED),
        ("Reconciling", ("True",), Phase.PROGRESSING),
        ("Ready", ("False", "Unknown"), Phase.PROGRESSING),
    ):
        row = condition(found, kind)
        if row.get("status") in bad:
            why = str(row.get("message") or row.get("reason") or "")
            return phase, str(row.get("reason") or kind), f"{kind} is {row['status']}" + (f": {why}" if why else "")
    if not rows(found, "status", "conditions"):
        return Phase.AVAILABLE, NO_CONDITIONS, ""
    return Phase.AVAILABLE, "Current", "Ready" if condition(found, "Ready") else "as its conditions say"


Rule = Callable[[_Seen, int], Judged]
_PLAIN_SETS = ("ReplicaSet", "ReplicationController")
_UNOBSERVED: Mapping[str, Rule] = {"Job": _job, "CronJob": _cron_job, "Pod": _pod}
"""The rules of kinds whose status does not say which spec it is about."""
_RULES: Mapping[str, Rule] = {
    **_UNOBSERVED, "Deployment": _deployment, "StatefulSet": _stateful_set, "DaemonSet": _daemon_set,
    **dict.fromkeys(_PLAIN_SETS, _plain_set),
}  # fmt: skip
WORKLOAD_KINDS = tuple(_RULES)


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
