"""Which pods count: those of the workload's present template, not asked to go.

Leftovers of an earlier bad revision would otherwise be taken for failures of this one.
"""

from __future__ import annotations

from typing import Any

from deployer.status.objects import dig, find, is_terminating, lags, name_of, uid_of
from deployer.status.phases import Object, Snapshot, WorkloadRef

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
