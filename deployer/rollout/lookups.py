"""What diagnosis wants to know beyond the snapshot, looked up only once a finding asks for it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from deployer.core.errors import DeployError
from deployer.core.ports import KubePort
from deployer.status import Snapshot, WorkloadRef, current_pods
from deployer.status.objects import dig, name_of, rows

if TYPE_CHECKING:
    from deployer.diagnosis import Finding, Known, Measured

Refs = Callable[[], Sequence[str]]
"""The images of a daemon."""

Lookup = Callable[["Known", Snapshot, Sequence[WorkloadRef], Sequence["Finding"], float], "Known"]
"""What is known after another look, at that moment: the same object where nothing was looked up."""

_IMAGES = {"IMAGE_NEVER_PULL", "IMAGE_NOT_FOUND", "IMAGE_DENIED", "IMAGE_NETWORK", "IMAGE_PULL"}
_NAMES = {"CONFIG_SECRET_MISSING", "CONFIG_MAP_MISSING", "CONFIG_KEY_MISSING", "VOLUME_MOUNT"}
MEASURE_SECONDS = 4.0
"""So far apart the kubelets are asked for the memory in use: they measure it themselves only every ten seconds."""


def no_lookup(
    known: Known, snapshot: Snapshot, refs: Sequence[WorkloadRef], findings: Sequence[Finding], now: float
) -> Known:
    """Nothing is looked up."""
    return known


def lookup_of(kube: KubePort, node_images: Refs, host_images: Refs) -> Lookup:
    """Looks into both daemons, at the names of the namespace's objects, and at the memory of pods that start."""

    def look(
        known: Known, snapshot: Snapshot, refs: Sequence[WorkloadRef], findings: Sequence[Finding], now: float
    ) -> Known:
        codes = {one.code for one in findings}
        if codes & _IMAGES and not known.images_seen:
            node, host = _had(node_images), _had(host_images)
            seen = node is not None and host is not None
            known = replace(known, node_images=node or (), host_images=host or (), images_seen=seen)
        if codes & _NAMES and not known.secrets and not known.config_maps:
            namespaces = sorted({ref.namespace for ref in refs})
            known = replace(known, secrets=_keys("Secret", namespaces, kube),
                            config_maps=_keys("ConfigMap", namespaces, kube))  # fmt: skip
        killed = {(one.pod, one.container) for one in findings if one.code == "OOM_KILLED"} - known.killed
        if killed:
            known = replace(known, killed=known.killed | killed)
        if known.measured_at is None:
            return replace(known, measured_at=now)  # what is up within seconds is not measured at all
        if now - known.measured_at >= MEASURE_SECONDS:
            return replace(known, memory=_measured(known.memory, snapshot, refs, kube, now), measured_at=now)
        return known

    return look


def _had(refs: Refs) -> tuple[str, ...] | None:
    try:
        return tuple(refs())
    except DeployError:
        return None


def _keys(kind: str, namespaces: Sequence[str], kube: KubePort) -> dict[str, tuple[str, ...]]:
    """The names of the objects with those of their keys; the values are let go of at once."""
    return {
        name_of(one): tuple(sorted(one.get("data") or {}))
        for namespace in namespaces
        for one in kube.list(kind, namespace)
    }


def _measured(
    before: Mapping[tuple[str, str], Measured],
    snapshot: Snapshot,
    refs: Sequence[WorkloadRef],
    kube: KubePort,
    now: float,
) -> dict[tuple[str, str], Measured]:
    """The most memory seen in use by each limited container of the workloads' pods."""
    from deployer.diagnosis import Measured

    pods = [pod for ref in refs for pod in current_pods(ref, snapshot) if _is_limited(pod)]
    places = {(str(dig(pod, "metadata", "namespace")), name_of(pod)) for pod in pods}
    most = dict(before)
    for node in sorted({str(name) for pod in pods if (name := dig(pod, "spec", "nodeName"))}):
        for (namespace, pod_name, container), used in kube.memory_in_use(node).items():
            known = most.get((pod_name, container))
            if (namespace, pod_name) in places and used and (known is None or used >= known.most):
                most[pod_name, container] = Measured(used, now)
    return most


def _is_limited(pod: Mapping[str, object]) -> bool:
    containers = rows(pod, "spec", "containers") + rows(pod, "spec", "initContainers")
    return any(dig(one, "resources", "limits", "memory") for one in containers)
