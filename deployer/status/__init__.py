"""Status of Kubernetes objects as a pure function of plain dicts and a `now`; no client, no clock."""

from deployer.status.objects import pod_phase, pvc_phase, service_phase
from deployer.status.phases import (
    ClusterPhase,
    Object,
    Phase,
    PodPhase,
    PvcPhase,
    ServicePhase,
    Snapshot,
    WorkloadRef,
    WorkloadStatus,
)
from deployer.status.workloads import (
    NO_CONDITIONS,
    RUNS_ON,
    WORKLOAD_KINDS,
    current_pods,
    is_rollout_complete,
    old_pods,
    workload_status,
)

__all__ = [
    "NO_CONDITIONS",
    "RUNS_ON",
    "WORKLOAD_KINDS",
    "ClusterPhase",
    "Object",
    "Phase",
    "PodPhase",
    "PvcPhase",
    "ServicePhase",
    "Snapshot",
    "WorkloadRef",
    "WorkloadStatus",
    "current_pods",
    "is_rollout_complete",
    "old_pods",
    "pod_phase",
    "pvc_phase",
    "service_phase",
    "workload_status",
]
