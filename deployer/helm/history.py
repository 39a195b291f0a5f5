"""What Helm has stored of a release, asked of the cluster without starting helm."""

from __future__ import annotations

from contextlib import suppress

from deployer.core.ports import KubePort, Object, ObjectRef, Revision
from deployer.helm import storage as helmstorage
from deployer.helm.manifests import objects_of


def revisions_of(release: str, namespace: str, kube: KubePort) -> tuple[Revision, ...]:
    """The release's revisions, oldest first; none where it is not installed."""
    labels = f"{helmstorage.SELECTOR},name={release}"
    return helmstorage.revisions(kube.list("Secret", namespace, labels=labels, metadata_only=True), release)


def stored_revision(release: str, namespace: str, number: int, kube: KubePort) -> Object | None:
    """The Secret that holds the revision with all that belongs to it; None where Helm has it no more."""
    return kube.get("Secret", namespace, helmstorage.secret_name(release, number))


def made_by_hooks(release: str, namespace: str, kube: KubePort) -> tuple[ObjectRef, ...]:
    """What the hooks of the release's stored revisions make."""
    stored = kube.list("Secret", namespace, labels=f"{helmstorage.SELECTOR},name={release}")
    found: dict[ObjectRef, None] = {}
    for one in stored:
        with suppress(helmstorage.Damaged):  # what cannot be read must not keep anybody from removing the rest
            for hook in helmstorage.decode(one).get("hooks") or ():
                found |= dict.fromkeys(objects_of(str(hook.get("manifest") or ""), namespace))
    return tuple(found)
