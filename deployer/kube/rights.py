"""What this user may see of a cluster that is somebody else's: what is not allowed is left out, and said once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

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
_LOOKS_INSIDE = (
    ("", "resourcequotas", "whether the namespace's quota admits the pods"),
    ("", "limitranges", "whether requests and limits are within the namespace's bounds"),
)
"""Looked at in the namespaces of the application."""


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


def lacking(kube: KubePort, namespaces: Sequence[str] = ()) -> Problem | None:
    """What this user may not list in the cluster and in these namespaces, and what is therefore not looked at; None
    where all is allowed."""
    apart = [(resource, what) for one in namespaces for resource, what in _missing(kube, _LOOKS_INSIDE, one)]
    missing = [*_missing(kube, _LOOKS), *dict.fromkeys(apart)]
    if not missing:
        return None
    names = ", ".join(resource for resource, what in missing if (resource, what) not in apart)
    inside = ", ".join(resource for resource, _ in dict.fromkeys(apart))
    words = [f"in the whole cluster: {names}"] if names else []
    words += [f"in {', '.join(namespaces)}: {inside}"] if inside else []
    return Problem(
        "NOT_ALLOWED",
        f"not allowed to list {'; '.join(words)}",
        "not looked at: " + "; ".join(what for _, what in missing),
    )


def _missing(kube: KubePort, looks: Iterable[tuple[str, str, str]], namespace: str = "") -> Iterator[tuple[str, str]]:
    # https://kubernetes.io/docs/reference/access-authn-authz/authorization/#checking-api-access
    kind = {"apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview", "metadata": {"name": ""}}
    for group, resource, what in looks:
        where = {"namespace": namespace} if namespace else {}
        asked = {"resourceAttributes": {"verb": "list", "group": group, "resource": resource, **where}}
        if (kube.create({**kind, "spec": asked}).get("status") or {}).get("allowed") is False:
            yield resource, what
