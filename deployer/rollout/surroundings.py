"""What workloads stand on and are reached by, looked at beside a rollout: often enough, and with few requests."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from deployer.core.ports import KubePort, Object, ObjectRef
from deployer.status import Snapshot, WorkloadRef, current_pods
from deployer.status.objects import dig, rows
from deployer.status.parts import is_ready

_FIELDS = {
    "Node": "nodes",
    "Service": "services",
    "Ingress": "ingresses",
    "IngressClass": "ingressclasses",
    "HorizontalPodAutoscaler": "hpas",
    "PersistentVolumeClaim": "pvcs",
}
_OF_NO_NAMESPACE = ("Node", "IngressClass")
_CLAIMS = "PersistentVolumeClaim"


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What was seen around the workloads, by kind, and how many looks it took."""

    objects: Mapping[str, tuple[Object, ...]] = field(default_factory=dict)
    looks: int = 0

    def beside(self, snapshot: Snapshot) -> Snapshot:
        """The snapshot with what was seen around it."""
        return replace(snapshot, **{_FIELDS[kind]: found for kind, found in self.objects.items()})


def surrounding_kinds(objects: Iterable[ObjectRef]) -> tuple[str, ...]:
    """The kinds that are worth looking at for releases of these objects."""
    has = {one.kind for one in objects}
    classes = ("IngressClass",) if "Ingress" in has else ()
    return ("Node", *sorted(has & {"Service", "Ingress", "HorizontalPodAutoscaler"}), *classes)


def read_surroundings(
    before: Surroundings, kinds: Sequence[str], snapshot: Snapshot, refs: Collection[WorkloadRef], kube: KubePort
) -> Surroundings:
    """All kinds at the first look, half of them at each later one; volume claims while a pod waits for them."""
    asked = [kind for at, kind in enumerate(kinds) if not before.looks or at % 2 == before.looks % 2]
    if _waits_for_claims(snapshot, refs):
        asked.append(_CLAIMS)
    namespaces = sorted({ref.namespace for ref in refs})
    found = {
        kind: tuple(
            one
            for namespace in ([""] if kind in _OF_NO_NAMESPACE else namespaces)
            for one in kube.list(kind, namespace)
        )
        for kind in asked
    }
    return Surroundings({**before.objects, **found}, before.looks + 1)


def _waits_for_claims(snapshot: Snapshot, refs: Collection[WorkloadRef]) -> bool:
    return any(
        dig(volume, "persistentVolumeClaim") is not None
        for ref in refs
        for pod in current_pods(ref, snapshot)
        if not is_ready(pod)
        for volume in rows(pod, "spec", "volumes")
    )
