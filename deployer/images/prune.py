"""What no kept revision refers to any more: images in the cluster's daemon and copies of Secrets, ours only."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from deployer.core.errors import Problem
from deployer.core.image_ref import parse_ref
from deployer.core.ports import (
    APPLICATION_LABEL,
    SECRET_LABEL,
    ImageFacts,
    ImagePort,
    KubePort,
    Object,
    ObjectRef,
    made_for,
)
from deployer.state.record import Record, of_all_applications
from deployer.status.objects import dig, labels_of, name_of


@dataclass(frozen=True, slots=True)
class Waste:
    """Images and Secrets that nothing kept refers to; `size` in bytes, shared layers counted once per image."""

    images: tuple[ImageFacts, ...]
    secrets: tuple[ObjectRef, ...]
    unread: tuple[Problem, ...] = ()
    """The records of other applications that cannot be read, so that nothing is known of what they need."""

    @property
    def size(self) -> int:
        """The sum of the images' sizes."""
        return sum(image.size for image in self.images)


def find_waste(
    application: str, namespaces: Sequence[str], kept: Record, used: Sequence[str], kube: KubePort, images: ImagePort
) -> Waste:
    """What of the application no remembered revision and no running pod refers to; `used` are the pods' images.

    Applications of one cluster may use the same image: the revisions of the others count, too.
    """
    records, unread = of_all_applications(kube, namespaces)
    entries = [entry for one in (kept, *records.values()) for entry in one.history]
    needed = {parse_ref(ref).familiar for entry in entries for ref in entry.images.values()}
    needed |= {parse_ref(ref).familiar for ref in used}
    kept_ids = {image.id for ref in needed if (image := images.image(ref)) is not None}
    ours = images.images(f"{APPLICATION_LABEL}={application}")
    copies = {(one.namespace, one.copy) for entry in kept.history for one in entry.secrets}
    served = {(one.namespace, one.served) for entry in kept.history for one in entry.secrets}
    in_pods = _used_secrets(namespaces, kube)
    secrets = [
        ObjectRef("Secret", namespace, name_of(one))
        for namespace in sorted(set(namespaces))
        for one in kube.list("Secret", namespace, labels=made_for(application), metadata_only=True)
        if SECRET_LABEL in labels_of(one)
    ]
    return Waste(
        tuple(image for image in ours if parse_ref(image.ref).familiar not in needed and image.id not in kept_ids),
        tuple(ref for ref in secrets if (ref.namespace, ref.name) not in copies | served | in_pods),
        unread,
    )


def remove_waste(waste: Waste, kube: KubePort, *daemons: ImagePort) -> None:
    """All of it is gone, its images from each of the daemons; an image that a container still uses stays."""
    for daemon in daemons:
        for image in waste.images:
            daemon.remove(image.ref)
    for ref in waste.secrets:
        kube.delete(ref.kind, ref.namespace, ref.name)


def used_images(namespaces: Sequence[str], kube: KubePort) -> tuple[str, ...]:
    """The image references that pods of these namespaces run."""
    found = {
        image
        for namespace in sorted(set(namespaces))
        for pod in kube.list("Pod", namespace)
        for field in ("initContainers", "containers")
        for container in (pod.get("spec") or {}).get(field) or ()
        if (image := container.get("image"))
    }
    return tuple(sorted(found))


def _used_secrets(namespaces: Sequence[str], kube: KubePort) -> set[tuple[str, str]]:
    """Namespace and name of the Secrets that pods of these namespaces refer to."""
    return {
        (namespace, name)
        for namespace in set(namespaces)
        for pod in kube.list("Pod", namespace)
        for name in _secret_names(pod.get("spec") or {})
    }


def _secret_names(spec: Object) -> Iterator[str]:
    for field in ("initContainers", "containers"):
        for container in spec.get(field) or ():
            yield from (dig(one, "secretRef", "name") for one in container.get("envFrom") or ())
            yield from (dig(one, "valueFrom", "secretKeyRef", "name") for one in container.get("env") or ())
    for volume in spec.get("volumes") or ():
        yield dig(volume, "secret", "secretName")
        yield from (dig(one, "secret", "name") for one in dig(volume, "projected", "sources") or ())
    yield from (one.get("name") for one in spec.get("imagePullSecrets") or ())
