"""Reading plain Kubernetes objects, in which any field may be missing or null, and the phases of the simple ones."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from deployer.status.phases import Object, PodPhase, PvcPhase, ServicePhase, Snapshot, WorkloadRef

_ENDED = {"Succeeded": PodPhase.SUCCEEDED, "Failed": PodPhase.FAILED}

FIELDS = {
    "Deployment": "deployments", "StatefulSet": "statefulsets", "DaemonSet": "daemonsets", "Job": "jobs",
    "ReplicaSet": "replicasets", "Pod": "pods",
}  # fmt: skip


def dig(obj: Object | None, *path: str) -> Any:
    """The value at a path of keys, or None where any step is missing or null."""
    value: Any = obj
    for key in path:
        # A plain dict is known at a glance; this is asked a thousand times for each look at a large application.
        value = value.get(key) if type(value) is dict or isinstance(value, Mapping) else None
    return value


def rows(obj: Object | None, *path: str) -> list[Object]:
    """The list of objects at a path, empty where it is missing or null."""
    return [row for row in dig(obj, *path) or () if type(row) is dict or isinstance(row, Mapping)]


def number(obj: Object | None, *path: str, default: int = 0) -> int:
    """The whole number at a path, or the default."""
    value = dig(obj, *path)
    return value if isinstance(value, int) else default


def probe_request(probe: Object | None) -> str:
    """What a probe asks, of whatever kind: `GET :8000/health`; empty where there is none."""
    if http := dig(probe, "httpGet"):
        scheme = "https://" if str(dig(http, "scheme") or "").upper() == "HTTPS" else ""
        return f"GET {scheme}:{dig(http, 'port')}{dig(http, 'path') or '/'}"
    if tcp := dig(probe, "tcpSocket"):
        return f"connect to :{dig(tcp, 'port')}"
    if grpc := dig(probe, "grpc"):
        return f"gRPC health check of :{dig(grpc, 'port')}{'/' + service if (service := dig(grpc, 'service')) else ''}"
    command = dig(probe, "exec", "command")
    return f"exec {shlex.join(map(str, command))}" if isinstance(command, list) and command else ""


def container_statuses(pod: Object | None) -> list[Object]:
    """The statuses of the pod's containers, of its init containers first."""
    return rows(pod, "status", "initContainerStatuses") + rows(pod, "status", "containerStatuses")


def ended_at(status: Object) -> float | None:
    """When a container with that status ended the last time, as far as it says."""
    ends = (dig(status, state, "terminated", "finishedAt") for state in ("state", "lastState"))
    return max((at for at in map(epoch, ends) if at is not None), default=None)


def name_of(obj: Object | None) -> str:
    """The object's name."""
    return str(dig(obj, "metadata", "name") or "")


def namespace_of(obj: Object | None) -> str:
    """The object's namespace; empty where it says none."""
    return str(dig(obj, "metadata", "namespace") or "")


def labels_of(obj: Object | None) -> Object:
    """The object's labels."""
    found: Object = dig(obj, "metadata", "labels") or {}
    return found


def annotations_of(obj: Object | None) -> Object:
    """The object's annotations."""
    found: Object = dig(obj, "metadata", "annotations") or {}
    return found


_DEFAULT_CLASS = tuple(
    f"{kind}.kubernetes.io/is-default-class" for kind in ("storageclass", "storageclass.beta", "ingressclass")
)


def is_default_class(obj: Object) -> bool:
    """Whether the StorageClass or IngressClass stands for those that name none."""
    return any(annotations_of(obj).get(one) == "true" for one in _DEFAULT_CLASS)


def uid_of(obj: Object | None) -> str:
    """The object's uid; one without an uid owns nothing."""
    return str(dig(obj, "metadata", "uid") or "")


def condition(obj: Object | None, kind: str) -> Object:
    """The status condition of that type, or an empty one."""
    return next((row for row in rows(obj, "status", "conditions") if row.get("type") == kind), {})


def has_condition(obj: Object | None, kind: str) -> bool:
    """Whether the status condition of that type is True."""
    return condition(obj, kind).get("status") == "True"


def epoch(text: Any) -> float | None:
    """A Kubernetes timestamp (`Time` or `MicroTime`) as seconds since 1970, or None."""
    try:
        moment = datetime.fromisoformat(text)
    except (TypeError, ValueError):
        return None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def event_time(event: Object) -> float | None:
    """When the event last happened (all of its time fields may be null)."""
    times = (
        dig(event, "series", "lastObservedTime"),
        event.get("lastTimestamp"),
        event.get("eventTime"),
        dig(event, "metadata", "creationTimestamp"),
    )
    return next((at for at in map(epoch, times) if at is not None), None)


def pod_template(workload: Object | None) -> Object:
    """The template of the workload's pods, a bare Pod being its own; empty where it has none."""
    spec = dig(workload, "spec")
    if dig(spec, "containers"):
        return workload or {}
    return dig(spec, "jobTemplate", "spec", "template") or dig(spec, "template") or {}


def pod_labels(workload: Object | None) -> Object:
    """The labels of the workload's pods."""
    return labels_of(pod_template(workload))


def find(ref: WorkloadRef, snapshot: Snapshot) -> Object | None:
    """The workload's object, or None if the API has none."""
    kind, _, group = ref.kind.partition(".")
    objects: tuple[Object, ...] = getattr(snapshot, FIELDS.get(ref.kind, "others"))
    if ref.kind not in FIELDS:
        prefix = f"{group}/" if group else ""
        objects = tuple(one for one in objects if one.get("kind") == kind
                        and str(one.get("apiVersion") or "").startswith(prefix))  # fmt: skip
    named = (obj for obj in objects if dig(obj, "metadata", "name") == ref.name)
    return next((obj for obj in named if dig(obj, "metadata", "namespace") in (ref.namespace, None)), None)


def is_terminating(obj: Object) -> bool:
    """Whether the object was asked to go."""
    return dig(obj, "metadata", "deletionTimestamp") is not None


def lags(workload: Object) -> bool:
    """Whether the controller has not yet seen the newest spec, so that its status is about an older one."""
    return number(workload, "status", "observedGeneration") < number(workload, "metadata", "generation")


def pod_phase(pod: Object) -> PodPhase:
    """The pod's phase; a crash loop of any container, init containers included, is the pod's."""
    # https://kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle/#pod-phase: Terminating and
    # CrashLoopBackOff are not phases of the API but are what a person is shown.
    if is_terminating(pod):
        return PodPhase.TERMINATING
    phase = dig(pod, "status", "phase")
    if phase in _ENDED:
        return _ENDED[phase]
    statuses = container_statuses(pod)
    if any(dig(status, "state", "waiting", "reason") == "CrashLoopBackOff" for status in statuses):
        return PodPhase.CRASH_LOOP
    if phase == "Running":
        return PodPhase.READY if is_ready(pod) else PodPhase.RUNNING
    if phase == "Pending":
        scheduled = has_condition(pod, "PodScheduled")
        return PodPhase.CREATING if scheduled else PodPhase.PENDING
    return PodPhase.UNKNOWN


def is_ready(pod: Object) -> bool:
    """Whether the pod runs, is wanted, and takes traffic."""
    running = dig(pod, "status", "phase") == "Running" and not is_terminating(pod)
    return running and has_condition(pod, "Ready")


def pvc_phase(pvc: Object) -> PvcPhase:
    """The claim's phase; one that is not yet seen by its controller is Pending."""
    if is_terminating(pvc):
        return PvcPhase.TERMINATING
    return {"Bound": PvcPhase.BOUND, "Lost": PvcPhase.LOST}.get(dig(pvc, "status", "phase"), PvcPhase.PENDING)


def service_phase(service: Object, endpointslices: Iterable[Object]) -> ServicePhase:
    """Available when at least one endpoint takes traffic, or when none is needed (an ExternalName)."""
    if dig(service, "spec", "type") == "ExternalName":
        return ServicePhase.AVAILABLE
    ready = any(
        dig(endpoint, "conditions", "ready") is not False  # null is to be read as true (EndpointConditions)
        for piece in endpointslices
        if dig(piece, "metadata", "labels", "kubernetes.io/service-name") == name_of(service)
        and dig(piece, "metadata", "namespace") == dig(service, "metadata", "namespace")
        for endpoint in rows(piece, "endpoints")
        if dig(endpoint, "addresses")
    )
    return ServicePhase.AVAILABLE if ready else ServicePhase.UNAVAILABLE
