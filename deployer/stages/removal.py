"""The removal stage: releases and what was made for them are gone; volumes only when asked."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from functools import partial

from deployer.cluster.ownership import foreign_objects, listed
from deployer.core.errors import DeployError, Problem, machine_error
from deployer.core.events import Item, ItemState, Warned
from deployer.core.ports import (
    KINDS,
    MADE_LABEL,
    MANAGED_BY,
    OWNER,
    UNINSTALL_SECONDS,
    ClusterPort,
    HelmPort,
    KubePort,
    Object,
    ObjectRef,
    made_for,
)
from deployer.core.steps import Clock, Outcome, Steps, merge
from deployer.core.text import first_few
from deployer.helm.gone_kinds import described, forget
from deployer.helm.storage import Damaged, keeping, latest_of, stored_revision
from deployer.kube.rights import listed as listed_if_allowed
from deployer.kube.rights import read
from deployer.stages.secrets import finalizers, why_it_stays, without_finalizers
from deployer.state.record import ReleaseRecord
from deployer.status.objects import annotations_of, dig, has_condition, is_terminating, labels_of, name_of, rows

STAGE = "removal"
_GONE_SECONDS = 120.0
_POD_SECONDS = 0.3
# A provisioner that feels responsible deletes a volume within a second or two.
_VOLUME_SECONDS = 5.0
_COLLECTED_SECONDS = 10.0
_SHOWN_SECONDS = 5.0
_LOST = "is not Ready"
_HOSTPATH = "k8s.io/minikube-hostpath"
_HOSTPATH_ROOT = "/tmp/hostpath-provisioner/"  # noqa: S108  # a folder of the node, not of this machine


def volume_claims(objects: Iterable[ObjectRef], kube: KubePort) -> tuple[ObjectRef, ...]:
    """The volume claims of the releases' objects: their own, and those a StatefulSet made for its replicas.

    A StatefulSet's claims are named `<template>-<set>-<ordinal>` (Kubernetes: StatefulSet, volume claim templates).
    """
    claims = []
    for ref in objects:
        if ref.kind == "PersistentVolumeClaim":
            claims.append(ref)
        if ref.kind != "StatefulSet":
            continue
        workload = kube.get("StatefulSet", ref.namespace, ref.name) or {}
        templates = rows(workload, "spec", "volumeClaimTemplates")
        prefixes = [f"{name_of(template)}-{ref.name}-" for template in templates]
        for claim in kube.list("PersistentVolumeClaim", ref.namespace, metadata_only=True):
            name = name_of(claim)
            if any(name.startswith(prefix) and name[len(prefix) :].isdigit() for prefix in prefixes):
                claims.append(ObjectRef("PersistentVolumeClaim", ref.namespace, name))
    return tuple(dict.fromkeys(claims))


def remove_hooks(made: Sequence[ObjectRef], kube: KubePort) -> Steps[int]:
    """What hooks made is gone where it is still a hook's; the number of those that were there.

    Helm counts it as nobody's and leaves it behind (helm.sh/docs/topics/charts_hooks).
    Volume claims are data, and so are namespaces (`remove_namespaces`); what a chart says is to be kept is kept.
    """
    removed = 0
    for ref in made:
        if ref.kind not in KINDS or ref.kind in ("PersistentVolumeClaim", "Namespace"):
            continue
        found = kube.get(ref.kind, ref.namespace, ref.name)
        notes = annotations_of(found)
        if "helm.sh/hook" in notes and notes.get("helm.sh/resource-policy") != "keep":
            removed += kube.delete(ref.kind, ref.namespace, ref.name)
    if removed:
        yield Item(STAGE, "hooks", ItemState.DONE, f"{removed} removed")
    return removed


def keep_namespaces(releases: Sequence[tuple[str, ReleaseRecord]], names: Collection[str], kube: KubePort) -> None:
    """No release takes one of these namespaces along, with the record and the volumes in it: that is for the end."""
    for name, known in releases:
        latest = latest_of(name, known.namespace, kube)
        secret = stored_revision(name, known.namespace, latest.revision, kube) if latest is not None else None
        with suppress(Damaged):
            if secret is not None and (kept := keeping(secret, names)) is not None:
                kube.replace(kept)


def remove_releases(
    releases: Sequence[tuple[str, ReleaseRecord]],
    needs: Mapping[str, Sequence[str]],
    helm: HelmPort,
    kube: KubePort,
    timeout: float = UNINSTALL_SECONDS,
) -> Steps[Outcome[int]]:
    """No release is left: those that need others went before these, the rest side by side; how many there were.

    `timeout`: seconds that Helm waits for each hook and for each release.
    """
    removed, left = 0, dict(releases)
    while left:
        needed = {need for name in left for need in needs.get(name, ())}
        wave = [name for name in left if name not in needed] or list(left)
        uninstall = {name: partial(helm.uninstall, name, left[name].namespace, timeout) for name in reversed(wave)}
        gone = yield from merge({name: partial(_uninstalled, name, left[name], one, kube)
                                 for name, one in uninstall.items()})  # fmt: skip
        removed += sum(gone.values())
        left = {name: one for name, one in left.items() if name not in wave}
    return Outcome(removed, bool(removed), f"{removed} releases")


def seconds_to_end(namespaces: Iterable[str], kube: KubePort) -> float:
    """Seconds that the removal of all releases may take: longer than any grace period of a pod, more for many pods.

    The controllers of Kubernetes ask the API server 20 times a second (`--kube-api-qps`), and a pod takes them several
    requests.
    """
    pods = [pod for one in sorted(set(namespaces)) for pod in listed_if_allowed(kube, "Pod", one) or ()]
    grace = max((dig(pod, "spec", "terminationGracePeriodSeconds") or 0 for pod in pods), default=0)
    return UNINSTALL_SECONDS + grace + _POD_SECONDS * len(pods)


def _uninstalled(name: str, known: ReleaseRecord, uninstall: Callable[[], bool], kube: KubePort) -> Steps[bool]:
    """Helm has removed the release; whether there was one. What it waits for meanwhile is shown."""
    yield Item(STAGE, name, ItemState.RUNNING, "uninstalling")
    over = threading.Event()
    for problem in described(name, forget(name, known.namespace, kube)):
        yield Warned(problem)

    def work() -> Steps[bool]:
        yield from ()
        try:
            return uninstall()
        except DeployError as error:
            raise _left(name, known, kube) or error from None
        finally:
            over.set()

    def watch() -> Steps[bool]:
        while not over.wait(_SHOWN_SECONDS):  # in real time: helm's end must not wait for it
            left: list[str] = []
            with suppress(DeployError):
                left = _leaving(known, kube)
            if left:
                yield Item(STAGE, name, ItemState.RUNNING, f"uninstalling: waiting for {first_few(left)}")
        return True

    was_there = (yield from merge({"helm": work, "watch": watch}))["helm"]
    yield Item(STAGE, name, ItemState.DONE if was_there else ItemState.UNCHANGED, "gone")
    return was_there


def _left(name: str, known: ReleaseRecord, kube: KubePort) -> DeployError | None:
    """Why helm gave up, where it waited for something; None where it did not."""
    left = _leaving(known, kube)
    if not left:
        return None
    again = "`todo-deploy up` starts a stopped node of Minikube" if any(_LOST in one for one in left) else ""
    held = [one.partition(" (finalizer ")[0] for one in left if " (finalizer " in one]
    where = f"kubectl -n {known.namespace} get pods -o wide" if len(held) < len(left) else ""
    ways = (again, where, *(without_finalizers(one, known.namespace) for one in held[:3]), "todo-deploy down")
    title = f"release `{name}` is not uninstalled yet: it waits for {first_few(left)}"
    return machine_error("RELEASE_LEAVING", title, hints=filter(None, ways))


def _leaving(known: ReleaseRecord, kube: KubePort) -> list[str]:
    """What of the release is going away but still there, with what it waits for; its pods first."""
    namespaces = {known.namespace, *(ref.namespace for ref in known.objects)}
    pods = [one for place in sorted(namespaces) for one in kube.list("Pod", place)]
    lost = {name_of(node) for node in listed_if_allowed(kube, "Node") or ()
            if not has_condition(node, "Ready")}  # fmt: skip
    ends = [f"pod/{name_of(one)} to end ({_until(one, lost)})" for one in pods if is_terminating(one)]
    places = sorted({(ref.kind, ref.namespace) for ref in known.objects if ref.kind in KINDS})
    names = {(ref.kind, ref.namespace, ref.name) for ref in known.objects}
    for kind, place in places:
        for one in kube.list(kind, place, metadata_only=True):
            if (kind, place, name_of(one)) in names and (held := finalizers(one)):
                ends.append(f"{kind.lower()}/{one['metadata']['name']} (finalizer {', '.join(held)})")
    return ends


def _until(pod: Object, lost: Collection[str]) -> str:
    """Only its node's kubelet can say that a pod has ended."""
    node = str(dig(pod, "spec", "nodeName"))
    return f"node {node} {_LOST}" if node in lost else f"up to {pod['metadata'].get('deletionGracePeriodSeconds', 0)} s"


def remove_secrets(application: str, namespaces: Iterable[str], kube: KubePort) -> Steps[int]:
    """No Secret that was made for the application is left; the number of those that were there."""
    removed = 0
    for namespace in sorted(set(namespaces)):
        for secret in kube.list("Secret", namespace, labels=made_for(application), metadata_only=True):
            removed += kube.delete("Secret", namespace, name_of(secret))
    yield Item(STAGE, "secrets", ItemState.DONE if removed else ItemState.UNCHANGED, f"{removed} removed")
    return removed


def volumes_of(claims: Iterable[ObjectRef], kube: KubePort) -> tuple[str, ...]:
    """The names of the volumes that the claims are bound to."""
    found = (kube.get(claim.kind, claim.namespace, claim.name) or {} for claim in claims)
    return tuple(name for claim in found if (name := (claim.get("spec") or {}).get("volumeName")))


def remove_claims(claims: Sequence[ObjectRef], kube: KubePort, clock: Clock) -> Steps[int]:
    """The volume claims, and with them their data, are gone; the number of those that were there."""
    removed = sum(kube.delete(claim.kind, claim.namespace, claim.name) for claim in claims)
    yield Item(STAGE, "volumes", ItemState.RUNNING, f"{removed} being removed")
    begun = reported = clock.monotonic()
    while left := [claim for claim in claims if kube.get(claim.kind, claim.namespace, claim.name) is not None]:
        if clock.monotonic() > begun + _GONE_SECONDS:
            raise machine_error(
                "VOLUME_IN_USE",
                f"volume claim `{left[0].name}` is still in use",
                detail=_users(left[0], kube),
                hints=(f"kubectl -n {left[0].namespace} describe pvc {left[0].name}",),
            )
        if clock.monotonic() >= reported + _SHOWN_SECONDS:
            reported = clock.monotonic()
            yield Item(STAGE, "volumes", ItemState.RUNNING, f"waiting for {left[0].name}{_users(left[0], kube)}")
        clock.sleep(0.3)
    yield Item(STAGE, "volumes", ItemState.DONE if removed else ItemState.UNCHANGED, f"{removed} removed")
    return removed


def _users(claim: ObjectRef, kube: KubePort) -> str:
    """What still uses the claim."""
    pods = (pod for pod in kube.list("Pod", claim.namespace) for volume in rows(pod, "spec", "volumes")
            if dig(volume, "persistentVolumeClaim", "claimName") == claim.name)  # fmt: skip
    names = [f"pod/{pod['metadata']['name']}" for pod in pods]
    return f", which {first_few(names)} uses" if names else ""


def remove_left_volumes(names: Sequence[str], kube: KubePort, cluster: ClusterPort, clock: Clock) -> Steps[None]:
    """The volumes of claims that are gone are gone too, with their data.

    Minikube's provisioner deletes only what it made since its own last start, and gives the next claim of a name the
    folder of the one before (storage-provisioner: Delete compares an identity; Provision joins namespace and name).
    """
    left = _still_there(names, kube, clock)
    for volume in left:
        spec, name = volume.get("spec") or {}, name_of(volume)
        path = str((spec.get("hostPath") or {}).get("path", ""))
        made_by = annotations_of(volume).get("pv.kubernetes.io/provisioned-by")
        is_over = (volume.get("status") or {}).get("phase") in ("Released", "Failed")
        if made_by != _HOSTPATH or not is_over or spec.get("persistentVolumeReclaimPolicy") != "Delete":
            yield Item(STAGE, name, ItemState.UNCHANGED, "its volume is left to its provisioner")
            continue
        if path.startswith(_HOSTPATH_ROOT) and ".." not in path:
            cluster.remove_folder(path)
        kube.delete("PersistentVolume", "", name)
        _still_there([name], kube, clock)
        yield Item(STAGE, name, ItemState.DONE, "removed with its data: Minikube's provisioner had left it")


def _still_there(volumes: Sequence[str], kube: KubePort, clock: Clock) -> list[Object]:
    """Those of the volumes that have not gone within some seconds."""
    deadline = clock.monotonic() + _VOLUME_SECONDS
    while True:
        left = [one for name in volumes if (one := kube.get("PersistentVolume", "", name)) is not None]
        if not left or clock.monotonic() > deadline:
            return left
        clock.sleep(0.3)


def remove_namespaces(names: Iterable[str], kube: KubePort, clock: Clock) -> Steps[int]:
    """The namespaces that we, or a hook, made and that hold nothing of anybody's are going away; their number.

    Of the others it is said what keeps them.
    """
    removed = 0
    for name in sorted(set(names)):
        namespace = read(kube, "Namespace", "", name)
        labels, notes = labels_of(namespace), annotations_of(namespace)
        by_hook = "helm.sh/hook" in notes and notes.get("helm.sh/resource-policy") != "keep"
        if OWNER not in (labels.get(MANAGED_BY), labels.get(MADE_LABEL)) and not by_hook:
            continue
        if namespace is not None and is_terminating(namespace):
            yield Item(STAGE, f"namespace {name}", ItemState.UNCHANGED, f"is being deleted{why_it_stays(namespace)}")
            continue
        if kept_by := _kept_by(name, kube, clock):
            yield Warned(Problem("NAMESPACE_KEPT", f"namespace `{name}` is kept: {kept_by}"))
            continue
        removed += kube.delete("Namespace", "", name)
        yield Item(STAGE, f"namespace {name}", ItemState.DONE, "removed")
    return removed


def _kept_by(namespace: str, kube: KubePort, clock: Clock) -> str:
    """What is in the namespace that is not ours, or why that cannot be seen; nothing where it may be deleted.

    What belonged to objects that were just removed is waited for: Kubernetes' garbage collector removes it.
    """
    deadline = clock.monotonic() + _COLLECTED_SECONDS
    while True:
        try:
            objects = kube.contents(namespace)
        except DeployError as error:
            return f"what is in it cannot be seen: {error.problems[0].title}"
        left = foreign_objects(objects)
        if not left:
            return ""
        if foreign_objects(one for one in objects if not one["metadata"].get("ownerReferences")):
            return f"it holds {listed(left)}"
        if clock.monotonic() > deadline:
            return f"it still holds {listed(left)}"
        clock.sleep(0.5)
