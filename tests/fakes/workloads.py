"""Deployments with their ReplicaSets and pods, as the API server shows them at one moment of their life."""

from __future__ import annotations

from typing import Any

from deployer.core.ports import ObjectRef
from deployer.status import WorkloadRef
from tests.fakes.kube import FakeKube


def ref(name: str) -> WorkloadRef:
    """The Deployment's name, as the rollout stage has it."""
    return WorkloadRef("default", "Deployment", name)


def object_ref(name: str) -> ObjectRef:
    """The Deployment's name, as a release's manifest has it."""
    return ObjectRef("Deployment", "default", name)


def show(
    kube: FakeKube,
    name: str,
    *,
    ready: bool = True,
    restarts: int = 0,
    waiting: tuple[str, str] | None = None,
    crashed: int | None = None,
) -> None:
    """One replica: ready or not, waiting for a reason, or crashed with an exit code."""
    template: dict[str, Any] = {
        "metadata": {"labels": {"app": name}},
        "spec": {"containers": [{"name": name, "image": f"{name}:1"}]},
    }
    count = {"replicas": 1, "updatedReplicas": 1, "observedGeneration": 1}
    up = {"readyReplicas": 1, "availableReplicas": 1} if ready else {"unavailableReplicas": 1}
    progressing = {"type": "Progressing", "status": "True", "reason": "NewReplicaSetAvailable" if ready else "Updated"}
    kube.put({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": name, "namespace": "default", "generation": 1, "uid": f"deployment-{name}"},
        "spec": {"replicas": 1, "selector": {"matchLabels": {"app": name}}, "template": template},
        "status": {**count, **up, "conditions": [progressing]},
    })  # fmt: skip
    kube.put({
        "apiVersion": "apps/v1", "kind": "ReplicaSet",
        "metadata": {"name": f"{name}-rs", "namespace": "default", "uid": f"set-{name}",
                     "ownerReferences": [{"kind": "Deployment", "name": name, "uid": f"deployment-{name}"}]},
        "spec": {"replicas": 1, "template": template}, "status": count,
    })  # fmt: skip
    stamp = kube.clock.stamp(kube.clock.elapsed)
    state: dict[str, Any] = {"running": {"startedAt": stamp}}
    if waiting is not None:
        state = {"waiting": {"reason": waiting[0], "message": waiting[1]}}
    last: dict[str, Any] = {}
    if crashed is not None:
        last = {"terminated": {"exitCode": crashed, "reason": "Error", "startedAt": stamp, "finishedAt": stamp}}
    status = {
        "name": name, "image": f"{name}:1", "ready": ready, "restartCount": restarts, "state": state, "lastState": last
    }  # fmt: skip
    kube.put({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": f"{name}-pod", "namespace": "default", "uid": f"pod-{name}", "labels": {"app": name},
                     "ownerReferences": [{"kind": "ReplicaSet", "name": f"{name}-rs", "uid": f"set-{name}"}]},
        "spec": {**template["spec"], "nodeName": "node"},
        "status": {
            "phase": "Running" if waiting is None else "Pending", "startTime": stamp,
            "conditions": [{"type": "PodScheduled", "status": "True"},
                           {"type": "Ready", "status": str(ready)}],
            "containerStatuses": [status],
        },
    })  # fmt: skip
