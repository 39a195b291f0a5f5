"""The phases of what a workload is made of: its pods, its volume claims, its Services."""

from __future__ import annotations

from collections.abc import Iterable

from deployer.status.objects import condition, container_statuses, dig, is_terminating, name_of, rows
from deployer.status.phases import Object, PodPhase, PvcPhase, ServicePhase

_ENDED = {"Succeeded": PodPhase.SUCCEEDED, "Failed": PodPhase.FAILED}


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
        scheduled = condition(pod, "PodScheduled").get("status") == "True"
        return PodPhase.CREATING if scheduled else PodPhase.PENDING
    return PodPhase.UNKNOWN


def is_ready(pod: Object) -> bool:
    """Whether the pod runs, is wanted, and takes traffic."""
    running = dig(pod, "status", "phase") == "Running" and not is_terminating(pod)
    return running and condition(pod, "Ready").get("status") == "True"


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
