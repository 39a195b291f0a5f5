"""Whose a Helm release is: one that another application or a person made is not taken over unasked."""

from __future__ import annotations

from collections.abc import Sequence

from deployer.core.errors import refused
from deployer.core.ports import KubePort
from deployer.helm.history import revisions_of
from deployer.plan import ReleasePlan
from deployer.state import record
from deployer.state.record import Record


def refuse_foreign_releases(
    application: str, releases: Sequence[ReleasePlan], kept: Record, kube: KubePort, *, adopt: bool
) -> None:
    """Each release is free, or ours; refused otherwise. What our own record knows is not asked for again.

    A release with our labels that no record knows is what is left of a record that was lost: it is ours.
    """
    for one in releases:
        if one.name in kept.releases:
            continue
        made = revisions_of(one.name, one.namespace, kube)
        if not made or made[-1].status == "uninstalled":
            continue
        owner = owner_of(one, kube)
        if owner not in ("", application):
            raise refused(
                "RELEASE_TAKEN",
                f"release `{one.name}` in namespace `{one.namespace}` belongs to application `{owner}`",
                hints=("another name for the release, or another namespace",),
            )
        if not made[-1].inputs and not owner and not adopt:
            raise refused(
                "RELEASE_FOREIGN",
                f"release `{one.name}` in namespace `{one.namespace}` was not made by todo-deploy",
                detail=f"it is at revision {made[-1].revision}, {made[-1].status}",
                hints=("todo-deploy up --adopt", f"helm uninstall {one.name} --namespace {one.namespace}"),
            )


def owner_of(release: ReleasePlan, kube: KubePort) -> str:
    """The application whose record knows the release; empty where none does."""
    for application, one in record.of_all_applications(kube)[0].items():
        known = one.releases.get(release.name)
        if known is not None and known.namespace == release.namespace:
            return application
    return ""
