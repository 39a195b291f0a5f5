"""The restart stage: the pods of workloads are replaced as in an update, though nothing about them changed."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from deployer.core.errors import input_error, machine_error
from deployer.core.events import Item, ItemState
from deployer.core.ports import KubePort
from deployer.core.steps import Clock, Outcome, Steps
from deployer.status import WorkloadRef

STAGE = "restart"
ANNOTATION = "kubectl.kubernetes.io/restartedAt"

_KINDS = ("Deployment", "StatefulSet", "DaemonSet")


def restart_workloads(
    refs: Sequence[WorkloadRef], kube: KubePort, clock: Clock
) -> Steps[Outcome[tuple[WorkloadRef, ...]]]:
    """The pods of every workload are being replaced; input error for a Job, machine error for one that is gone."""
    job = next((ref for ref in refs if ref.kind not in _KINDS), None)
    if job is not None:
        raise input_error(
            "RESTART_JOB",
            f"`{job.name}` is a {job.kind}: no update replaces its pods, so it cannot be restarted",
            hints=("todo-deploy up",),
        )
    now = datetime.fromtimestamp(clock.now(), UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
    body = {"spec": {"template": {"metadata": {"annotations": {ANNOTATION: now}}}}}
    for ref in refs:
        if kube.patch(ref.kind, ref.namespace, ref.name, body) is None:
            raise machine_error("WORKLOAD_GONE", f"{ref} is gone from the cluster", hints=("todo-deploy up",))
        yield Item(STAGE, str(ref), ItemState.DONE, "its pods are being replaced")
    return Outcome(tuple(refs), True, ", ".join(ref.name for ref in refs))
