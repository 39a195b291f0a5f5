"""What this user may see of a cluster that is somebody else's: what is not allowed is left out, and said once."""

from __future__ import annotations

from collections.abc import Iterator

from deployer.core.errors import DeployError, Problem
from deployer.core.ports import KubePort, Object

# What is looked at beyond the namespaces of the application: API group, resource, and what nobody sees without it.
_LOOKS = (
    ("", "nodes", "whether the pods fit, and where NodePorts are reached (they are forwarded)"),
    ("", "namespaces", "whether other namespaces exist"),
    ("", "pods", "what others' pods take of the nodes"),
    ("", "services", "NodePorts that others have"),
    ("", "secrets", "releases that other applications in other namespaces have"),
    ("", "persistentvolumes", "volumes made by hand"),
    ("storage.k8s.io", "storageclasses", "whether a StorageClass exists"),
    ("networking.k8s.io", "ingressclasses", "whether an IngressClass exists"),
)


def is_forbidden(error: DeployError) -> bool:
    """Whether the API server refused a request for want of a right."""
    return error.problems[0].code == "API_FORBIDDEN"


def listed(kube: KubePort, kind: str, namespace: str = "", *, metadata_only: bool = False) -> list[Object] | None:
    """As `KubePort.list`; None where this user may not list them."""
    try:
        return kube.list(kind, namespace, metadata_only=metadata_only)
    except DeployError as error:
        if not is_forbidden(error):
            raise
        return None


def read(kube: KubePort, kind: str, namespace: str, name: str) -> Object | None:
    """As `KubePort.get`; None also where this user may not read it."""
    try:
        return kube.get(kind, namespace, name)
    except DeployError as error:
        if not is_forbidden(error):
            raise
        return None


def lacking(kube: KubePort) -> Problem | None:
    """What this user may not list in the cluster, and what is therefore not looked at; None where all is allowed."""
    missing = list(_missing(kube))
    if not missing:
        return None
    names = ", ".join(resource for resource, _ in missing)
    return Problem(
        "NOT_ALLOWED",
        f"not allowed to list in the whole cluster: {names}",
        "not looked at: " + "; ".join(what for _, what in missing),
    )


def _missing(kube: KubePort) -> Iterator[tuple[str, str]]:
    # https://kubernetes.io/docs/reference/access-authn-authz/authorization/#checking-api-access
    kind = {"apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview", "metadata": {"name": ""}}
    for group, resource, what in _LOOKS:
        asked = {"resourceAttributes": {"verb": "list", "group": group, "resource": resource}}
        if (kube.create({**kind, "spec": asked}).get("status") or {}).get("allowed") is False:
            yield resource, what
