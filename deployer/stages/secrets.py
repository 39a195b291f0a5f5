"""The secrets stage: the namespaces exist and every Secret of the plan holds the values of the env files."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass

from deployer.cluster.ownership import foreign_secret
from deployer.core.errors import DeployError, ExitCode, refused
from deployer.core.events import Item, ItemState
from deployer.core.ports import APPLICATION_LABEL, LABEL_PREFIX, MANAGED_BY, OWNER, SECRET_LABEL, KubePort, Object
from deployer.core.steps import Clock, Outcome, Steps
from deployer.plan import SecretPlan

STAGE = "secrets"

CHECKSUM = f"{LABEL_PREFIX}/checksum"
# Pods have half a minute to end, and a namespace goes with its last one.
_LEAVING_SECONDS = 90.0


@dataclass(frozen=True, slots=True)
class KeptSecret:
    """A Secret in the cluster: the name pods refer to and the immutable copy that holds its content."""

    name: str
    namespace: str
    served: str
    copy: str
    changed: bool


def ensure_secrets(
    application: str,
    namespaces: Sequence[str],
    secrets: Sequence[SecretPlan],
    kube: KubePort,
    *,
    adopt: bool,
    copies_only: bool = False,
) -> Steps[Outcome[tuple[KeptSecret, ...]]]:
    """Namespaces and Secrets are there; a Secret of somebody else is refused unless `adopt`.

    `copies_only`: documented names keep what they hold. Pods that restart before the release does read those.
    """
    yield from ensure_namespaces(namespaces, kube)
    kept = []
    for secret in secrets:
        changed = False
        for body in secret_objects(application, secret):
            if copies_only and body["metadata"]["name"] == secret.stable:
                _refuse_foreign(kube.get("Secret", secret.namespace, secret.served), body, adopt=adopt)
            else:
                changed = _ensure_secret(body, kube, adopt=adopt) or changed
        state = ItemState.DONE if changed else ItemState.UNCHANGED
        yield Item(STAGE, secret.name, state, f"{secret.served} ({len(secret.data)} keys)")
        kept.append(KeptSecret(secret.name, secret.namespace, secret.served, secret.copy, changed))
    updated = sum(secret.changed for secret in kept)
    text = f"{updated} updated, {len(kept) - updated} unchanged" if updated else f"{len(kept)} unchanged"
    return Outcome(tuple(kept), bool(updated), text)


def ensure_namespaces(namespaces: Sequence[str], kube: KubePort) -> Steps[None]:
    """Every namespace is there; refused while one is being deleted."""
    for namespace in namespaces:
        yield from _ensure_namespace(namespace, kube)


def await_leaving(namespaces: Sequence[str], kube: KubePort, clock: Clock) -> Steps[None]:
    """No namespace is on its way out any more, as after a `down`; one that stays is refused later."""
    deadline = clock.monotonic() + _LEAVING_SECONDS
    for namespace in namespaces:
        shown = False
        while _is_leaving(namespace, kube) and clock.monotonic() < deadline:
            if not shown:
                yield Item(STAGE, f"namespace {namespace}", ItemState.RUNNING, "it is being deleted; waiting")
            shown = True
            clock.sleep(0.5)


def _is_leaving(namespace: str, kube: KubePort) -> bool:
    found = kube.get("Namespace", "", namespace)
    return found is not None and bool(found["metadata"].get("deletionTimestamp"))


def secret_objects(application: str, secret: SecretPlan) -> tuple[Object, ...]:
    """The immutable copy and, for a documented name, the object of that name."""
    labels = {
        **secret.labels,
        "app.kubernetes.io/part-of": application,
        MANAGED_BY: OWNER,
        APPLICATION_LABEL: application,
        SECRET_LABEL: secret.name,
    }
    data = {key: base64.b64encode(value.encode()).decode() for key, value in secret.data.items()}

    def body(name: str, *, immutable: bool) -> Object:
        metadata = {
            "name": name,
            "namespace": secret.namespace,
            "labels": labels,
            "annotations": {CHECKSUM: secret.checksum},
        }
        shape = {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "type": secret.type, "data": data}
        return {**shape, "immutable": True} if immutable else shape

    copy = body(secret.copy, immutable=True)
    return (copy,) if secret.stable is None else (copy, body(secret.stable, immutable=False))


def copy_of(served: Object, name: str) -> Object | None:
    """The immutable copy of that name, made from the documented one; None where that holds other values by now."""
    metadata = served["metadata"]
    checksum = str((metadata.get("annotations") or {}).get(CHECKSUM, ""))
    labels = metadata.get("labels") or {}
    if not checksum or name != f"{labels.get(SECRET_LABEL)}-{checksum[:8]}":
        return None
    kept = {"name": name, "namespace": metadata["namespace"], "labels": labels, "annotations": {CHECKSUM: checksum}}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": kept, "type": served.get("type"),
            "data": served.get("data") or {}, "immutable": True}  # fmt: skip


def _ensure_namespace(name: str, kube: KubePort) -> Steps[None]:
    found = kube.get("Namespace", "", name)
    if found is None:
        labels = {MANAGED_BY: OWNER}
        kube.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}})
        yield Item(STAGE, f"namespace {name}", ItemState.DONE, "created")
    elif found["metadata"].get("deletionTimestamp"):
        raise refused(
            "NAMESPACE_TERMINATING",
            f"namespace `{name}` is being deleted",
            hints=(f"kubectl wait --for=delete namespace/{name} && todo-deploy up",),
        )


def _ensure_secret(body: Object, kube: KubePort, *, adopt: bool) -> bool:
    """Whether the object had to be written."""
    metadata = body["metadata"]
    name, namespace = metadata["name"], metadata["namespace"]
    found = kube.get("Secret", namespace, name)
    ours = _refuse_foreign(found, body, adopt=adopt)
    if found is not None:
        if ours and (found.get("data") or {}) == body["data"] and found.get("type") == body["type"]:
            return False
        if body["type"] != found.get("type") or found.get("immutable"):
            # Neither a Secret's type nor an immutable one can be changed in place.
            kube.delete("Secret", namespace, name)
            found = None
    if found is None:
        kube.create(body)
    else:
        kube.replace({**body, "metadata": {**metadata, "resourceVersion": found["metadata"]["resourceVersion"]}})
    return True


def _refuse_foreign(found: Object | None, body: Object, *, adopt: bool) -> bool:
    """Whether the Secret is ours; refused where it is somebody else's and may not be taken over."""
    application = body["metadata"]["labels"][APPLICATION_LABEL]
    problem = foreign_secret(found, application, adopt=adopt)
    if problem is not None:
        raise DeployError(problem, ExitCode.REFUSED)
    return found is not None and foreign_secret(found, application) is None
