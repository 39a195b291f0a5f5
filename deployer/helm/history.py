"""What Helm has stored of a release, asked of the cluster without starting helm."""

from __future__ import annotations

from deployer.core.ports import KubePort, Object, Revision
from deployer.helm import storage as helmstorage


def revisions_of(release: str, namespace: str, kube: KubePort) -> tuple[Revision, ...]:
    """The release's revisions, oldest first; none where it is not installed."""
    labels = f"{helmstorage.SELECTOR},name={release}"
    return helmstorage.revisions(kube.list("Secret", namespace, labels=labels, metadata_only=True), release)


def stored_revision(release: str, namespace: str, number: int, kube: KubePort) -> Object | None:
    """The Secret that holds the revision with all that belongs to it; None where Helm has it no more."""
    return kube.get("Secret", namespace, helmstorage.secret_name(release, number))
