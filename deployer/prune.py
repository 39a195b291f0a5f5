"""What no kept revision refers to any more: images in the cluster's daemon and copies of Secrets, ours only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from deployer.ports import LABEL_PREFIX, OWNER, ImageFacts, ImagePort, KubePort, ObjectRef
from deployer.record import Record
from deployer.stages.secrets import APPLICATION, SECRET_OF


@dataclass(frozen=True, slots=True)
class Waste:
    """Images and Secrets that nothing kept refers to; `size` in bytes, shared layers counted once per image."""

    images: tuple[ImageFacts, ...]
    secrets: tuple[ObjectRef, ...]

    @property
    def size(self) -> int:
        """The sum of the images' sizes."""
        return sum(image.size for image in self.images)


def find_waste(
    application: str, namespaces: Sequence[str], kept: Record, used: Sequence[str], kube: KubePort, images: ImagePort
) -> Waste:
    """What of the application no remembered revision and no running pod (`used` image references) refers to."""
    needed = {ref for entry in kept.history for ref in entry.images.values()} | set(used)
    ours = images.images(f"{LABEL_PREFIX}/application={application}")
    copies = {(one.namespace, one.copy) for entry in kept.history for one in entry.secrets}
    served = {(one.namespace, one.served) for entry in kept.history for one in entry.secrets}
    labels = f"{APPLICATION}={application},app.kubernetes.io/managed-by={OWNER}"
    secrets = [
        ObjectRef("Secret", namespace, one["metadata"]["name"])
        for namespace in sorted(set(namespaces))
        for one in kube.list("Secret", namespace, labels=labels, metadata_only=True)
        if SECRET_OF in (one["metadata"].get("labels") or {})
    ]
    return Waste(
        tuple(image for image in ours if image.ref not in needed),
        tuple(ref for ref in secrets if (ref.namespace, ref.name) not in copies | served),
    )


def remove_waste(waste: Waste, kube: KubePort, images: ImagePort) -> None:
    """All of it is gone; an image that a container still uses stays."""
    for image in waste.images:
        images.remove(image.ref)
    for ref in waste.secrets:
        kube.delete(ref.kind, ref.namespace, ref.name)


def used_images(namespaces: Sequence[str], kube: KubePort) -> tuple[str, ...]:
    """The image references that pods of these namespaces run."""
    found = {
        container["image"]
        for namespace in sorted(set(namespaces))
        for pod in kube.list("Pod", namespace)
        for field in ("initContainers", "containers")
        for container in (pod.get("spec") or {}).get(field) or ()
    }
    return tuple(sorted(found))
