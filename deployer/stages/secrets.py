"""The secrets stage: the namespaces exist and every Secret of the plan holds the values of the env files."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

from deployer.cluster.ownership import foreign_secret
from deployer.core.errors import DeployError, ExitCode, refused
from deployer.core.events import Item, ItemState
from deployer.core.ports import APPLICATION_LABEL, LABEL_PREFIX, MANAGED_BY, OWNER, SECRET_LABEL, KubePort, Object
from deployer.core.steps import Clock, Outcome, Steps, stage
from deployer.core.text import one_line
from deployer.kube.rights import is_forbidden, read
from deployer.plan import Plan, SecretPlan
from deployer.status.objects import annotations_of, is_terminating, labels_of, name_of, rows

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
    plan: Plan, kube: KubePort, *, adopt: bool, copies_only: bool = False
) -> Steps[Outcome[tuple[KeptSecret, ...]]]:
    """Namespaces and Secrets are there; a Secret of somebody else is refused unless `adopt`.

    `copies_only`: documented names keep what they hold. Pods that restart before the release does read those.
    """
    yield from ensure_namespaces(plan.namespaces, kube)
    kept = []
    for secret in plan.secrets:
        changed = False
        for body in secret_objects(plan.application, secret):
            if copies_only and name_of(body) == secret.stable:
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
    for name in namespaces:
        try:
            found = kube.get("Namespace", "", name)
        except DeployError as error:
            if is_forbidden(error):
                continue  # who may work in a namespace need not see it; one that is not there refuses the first object
            raise
        if found is None:
            _make_namespace(name, kube)
            yield Item(STAGE, f"namespace {name}", ItemState.DONE, "created")
        elif is_terminating(found):
            held, ways = _held_in(name, kube)
            raise refused(
                "NAMESPACE_TERMINATING",
                f"namespace `{name}` is being deleted{why_it_stays(found)}",
                detail=held,
                hints=(*ways, f"kubectl wait --for=delete namespace/{name} && todo-deploy up"),
            )


def await_leaving(namespaces: Sequence[str], kube: KubePort, clock: Clock) -> Steps[None]:
    """No namespace is on its way out any more, as after a `down`; one that stays is refused later.

    It is a stage of its own where there is something to wait for.
    """
    if any(_leaving(namespace, kube) for namespace in namespaces):
        yield from stage("namespaces", _gone(namespaces, kube, clock), clock)


def _gone(namespaces: Sequence[str], kube: KubePort, clock: Clock) -> Steps[Outcome[None]]:
    deadline = clock.monotonic() + _LEAVING_SECONDS
    for namespace in namespaces:
        shown = ""
        while (found := _leaving(namespace, kube)) is not None and clock.monotonic() < deadline:
            words = f"waiting until it is deleted{why_it_stays(found)}"
            if words != shown:
                yield Item("namespaces", namespace, ItemState.RUNNING, words)
            shown = words
            clock.sleep(0.5)
    return Outcome(None, False, "waited for those that were being deleted")


def _leaving(namespace: str, kube: KubePort) -> Object | None:
    found = read(kube, "Namespace", "", namespace)
    return found if found is not None and is_terminating(found) else None


def why_it_stays(namespace: Object) -> str:
    """What the namespace controller says that it still waits for, after a colon; nothing where it has not said so."""
    # https://kubernetes.io/docs/reference/kubernetes-api/cluster-resources/namespace-v1/#NamespaceStatus
    said = [one_line(row.get("message")) for row in rows(namespace, "status", "conditions")
            if row.get("status") == "True" and str(row.get("type")).startswith("Namespace")]  # fmt: skip
    return f": {'; '.join(said)}" if said else ""


def finalizers(one: Object) -> list[str]:
    """What keeps an object that was deleted: finalizers that others must remove, without Kubernetes' own."""
    names = one["metadata"].get("finalizers") or () if is_terminating(one) else ()
    return [name for name in names if "/" in name and not name.startswith("kubernetes.io/")]


def _held_in(namespace: str, kube: KubePort) -> tuple[str, tuple[str, ...]]:
    """The objects that keep a namespace from going, each with its finalizers, and what removes them."""
    held = []
    with suppress(DeployError):
        held = [(one["kind"].lower(), name_of(one), names)
                for one in kube.contents(namespace) if (names := finalizers(one))]  # fmt: skip
    return (
        "\n".join(f"{kind}/{name} has finalizer {', '.join(names)}" for kind, name, names in held),
        tuple(without_finalizers(f"{kind} {name}", namespace) for kind, name, _ in held[:3]),
    )


def without_finalizers(known_by: str, namespace: str) -> str:
    """The way to let an object go that nobody lets go."""
    patch = """--type=merge -p '{"metadata":{"finalizers":null}}'"""
    return f"kubectl patch {known_by} -n {namespace} {patch}  (where what should remove it is gone)"


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

    if secret.of_registry and secret.stable is not None:
        return (body(secret.stable, immutable=False),)  # credentials that were replaced are not kept
    copy = body(secret.copy, immutable=True)
    return (copy,) if secret.stable is None else (copy, body(secret.stable, immutable=False))


def copy_of(served: Object, name: str) -> Object | None:
    """The immutable copy of that name, made from the documented one; None where that holds other values by now."""
    metadata = served["metadata"]
    checksum, labels = str(annotations_of(served).get(CHECKSUM, "")), labels_of(served)
    if not checksum or name != f"{labels.get(SECRET_LABEL)}-{checksum[:8]}":
        return None
    kept = {"name": name, "namespace": metadata["namespace"], "labels": labels, "annotations": {CHECKSUM: checksum}}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": kept, "type": served.get("type"),
            "data": served.get("data") or {}, "immutable": True}  # fmt: skip


def _make_namespace(name: str, kube: KubePort) -> None:
    try:
        kube.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": {MANAGED_BY: OWNER}}})
    except DeployError as error:
        if not is_forbidden(error):
            raise
        title = f"there is no namespace `{name}`, and you may not make it"
        hints = (f"ask for it (`kubectl create namespace {name}`), or name another: --set namespace=NAME",)
        raise refused("NAMESPACE_MISSING", title, hints=hints) from None


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
