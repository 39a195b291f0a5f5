"""Whose a cluster is, and whose the things in it are: every command that changes or removes something asks here first.

What is another user's or another application's, or cannot be attributed, is refused before anything is changed.
`--yes` answers questions and does not lift a refusal.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from deployer.cluster.addons.images import ADDON_LABEL
from deployer.config.spec import Cluster, Spec
from deployer.core.errors import DeployError, ExitCode, Problem, refused
from deployer.core.ports import (
    APPLICATION_LABEL,
    LABEL_PREFIX,
    MANAGED_BY,
    OWNER,
    RELEASE_NAME,
    RELEASE_NAMESPACE,
    ClusterFacts,
    KubePort,
    Object,
    ObjectRef,
    ref_of,
)
from deployer.core.text import first_few
from deployer.helm import storage
from deployer.kube.kubeconfig import account_of
from deployer.kube.kubeconfig import read as read_kubeconfig
from deployer.kube.kubeconfig import refuse_foreign as refuse_foreign_context
from deployer.plan import Plan
from deployer.state import record
from deployer.state.record import Record, ReleaseRecord
from deployer.status.objects import annotations_of, labels_of, name_of

_SYSTEM_NAMESPACES = frozenset({"kube-system", "kube-public", "kube-node-lease"})
_ADDON_NAMESPACES = frozenset({"ingress-nginx", "metallb-system", "kubernetes-dashboard", "local-path-storage"})
# What Kubernetes itself puts into a namespace: (kind, name), every Event, and what `default` has of the API server.
_IN_EVERY_NAMESPACE = frozenset({("ServiceAccount", "default"), ("ConfigMap", "kube-root-ca.crt")})
_IN_DEFAULT = frozenset({("Service", "kubernetes"), ("Endpoints", "kubernetes"), ("EndpointSlice", "kubernetes")})
_SHOWN = 5
# The contexts of kind, k3d, Docker Desktop, Rancher Desktop, Colima, OrbStack and MicroK8s.
_LOCAL = re.compile(r"(kind|k3d|colima)(-|$)|(docker|rancher)-desktop$|orbstack$|microk8s$")
_LOOPBACK = frozenset({"127.0.0.1", "::1", "0.0.0.0", "localhost", "kubernetes.docker.internal"})  # noqa: S104 - as k3d writes it


@dataclass(frozen=True, slots=True)
class Touched:
    """What a command may change: Helm releases and Secrets, each by namespace and name."""

    application: str
    releases: frozenset[tuple[str, str]]
    secrets: frozenset[tuple[str, str]]


def touched_by_plan(plan: Plan) -> Touched:
    """What an `up` of this plan writes."""
    names = {(one.namespace, name) for one in plan.secrets for name in (one.stable, one.copy) if name is not None}
    return Touched(plan.application, frozenset((one.namespace, one.name) for one in plan.releases), frozenset(names))


def touched_by_record(application: str, kept: Record) -> Touched:
    """What a command changes that works on the application as it was deployed."""
    releases = {(one.namespace, name) for name, one in kept.releases.items()}
    named = [one for entry in kept.history for one in entry.secrets]
    secrets = {(one.namespace, name) for one in named for name in (one.served, one.copy)}
    return Touched(application, frozenset(releases), frozenset(secrets))


def touched_by_removal(spec: Spec, kept: Record) -> Touched:
    """What a `down` removes: what was deployed, and what the spec names, where a record was lost."""
    known = touched_by_record(spec.application, kept)
    releases = {
        (one.namespace or spec.namespace, name) for name, one in spec.releases.items() if name not in kept.releases
    }
    secrets = {(one.namespace or spec.namespace, name) for name, one in spec.secrets.items() if one.naming == "stable"}
    return Touched(spec.application, known.releases | releases, known.secrets | secrets)


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """A cluster that is not this machine's own: what a person confirms before the first change to it from here."""

    context: str
    server: str
    user: str
    namespace: str

    @property
    def question(self) -> str:
        """What is asked."""
        return (
            f"Deploy to the cluster of context `{self.context}` ({self.server}) as `{self.user}`, "
            f"into namespace `{self.namespace}`?"
        )


def elsewhere(spec: Spec, kubeconfig: Path) -> Elsewhere | None:
    """The cluster of the spec's context; None where it is one of this machine, or the kubeconfig has no such context.

    That of a tool for local clusters, at an address of this machine, is: a tunnel leads from there to anywhere.
    """
    context = spec.cluster.context
    if spec.cluster.provider == "minikube" or context is None:
        return None
    server, user = account_of(read_kubeconfig(kubeconfig), context)
    host = urlsplit(server).hostname or ""
    if not server or (_LOCAL.match(context) and host in _LOOPBACK):
        return None
    return Elsewhere(context, server, user, spec.namespace)


def refuse_foreign_cluster(wanted: Cluster, facts: ClusterFacts, kubeconfig: Path) -> None:
    """Returns when the kubeconfig's context leads to the cluster that the spec names and, as a Minikube profile, is
    Minikube's own; refused otherwise.

    That a profile's node is another user's is found by whoever looks at the node: `ClusterPort.facts` refuses it.
    """
    if wanted.provider != "minikube":
        return  # the user has named it
    refuse_foreign_context(kubeconfig, wanted.name)
    if facts.moved_from:
        raise refused(
            "CLUSTER_MOVED",
            f"the context `{wanted.name}` points to {facts.moved_from}, which is not this cluster's address any more",
            detail="another cluster may have that address by now",
            hints=("todo-deploy up, which writes the new address", f"minikube update-context --profile {wanted.name}"),
        )


def refuse_foreign(touched: Touched, kube: KubePort, *, adopt: bool = False) -> tuple[Problem, ...]:
    """Every release and Secret that a command touches is free or ours; refused with all that is not.

    `adopt`: those that no application of ours has made are taken over. Returns the records of other applications that
    cannot be read, as warnings. A release is ours if one of its revisions has our label, which Helm hands on, and no
    other application knows it. One request for each namespace, and one.
    """
    namespaces = sorted({namespace for namespace, _ in touched.releases | touched.secrets})
    found = {name: kube.list("Secret", name, metadata_only=True) for name in namespaces}
    problems: list[Problem] = []
    records, unread = record.of_all_applications(kube, namespaces) if touched.releases else ({}, ())
    others = _releases_of_others(touched.application, records)
    for namespace, name in sorted(touched.releases):
        made = storage.revisions(found[namespace], name)
        if not made or made[-1].status == "uninstalled":
            continue
        if (namespace, name) in others:
            problems.append(_taken(name, namespace, others[namespace, name]))
        elif not any(one.inputs for one in made) and not adopt:
            problems.append(_not_ours(name, namespace, f"it is at revision {made[-1].revision}, {made[-1].status}"))
    for namespace, name in sorted(touched.secrets):
        body = next((one for one in found[namespace] if name_of(one) == name), None)
        problem = foreign_secret(body, touched.application, adopt=adopt)
        problems += [problem] if problem is not None else []
    if problems:
        raise DeployError(problems, ExitCode.REFUSED)
    return unread


def foreign_secret(found: Object | None, application: str, *, adopt: bool = False) -> Problem | None:
    """Why the Secret is not to be written by the application; None where it is free, ours, or may be adopted."""
    if found is None:
        return None
    metadata = found["metadata"]
    labels, name, namespace = labels_of(found), metadata["name"], metadata["namespace"]
    owner = labels.get(APPLICATION_LABEL)
    if owner == application or (owner is None and adopt):
        return None
    if owner is not None:
        title = f"Secret `{name}` in namespace `{namespace}` belongs to application `{owner}`"
        return Problem("SECRET_TAKEN", title, hints=("another name for the Secret, or another namespace",))
    return Problem(
        "SECRET_FOREIGN",
        f"Secret `{name}` in namespace `{namespace}` was not made by todo-deploy",
        detail=f"it is managed by {labels[MANAGED_BY]}" if labels.get(MANAGED_BY) else "",
        hints=("todo-deploy up --adopt", f"kubectl --namespace {namespace} delete secret {name}"),
    )


@dataclass(frozen=True, slots=True)
class Owner:
    """Whose an object is, in words, and what its owner can do; `release` is Helm's, by namespace and name."""

    words: str
    way: str = ""
    release: tuple[str, str] | None = None
    is_nobody: bool = False
    """Whether neither a release nor an application has it, so that it may be taken over."""


def whose(live: Object, application: str, kube: KubePort) -> Owner:
    """Whose the object is, by its labels, its annotations and who wrote it first."""
    labels, notes = labels_of(live), annotations_of(live)
    if owner := labels.get(APPLICATION_LABEL):
        mine = "todo-deploy makes it from `secrets` of the spec" if owner == application else ""
        return Owner(mine or f"belongs to application `{owner}`")
    release, namespace = notes.get(RELEASE_NAME), notes.get(RELEASE_NAMESPACE)
    if release and namespace:
        made = storage.revisions_of(release, namespace, kube)
        if made and made[-1].status != "uninstalled":
            way = f"helm uninstall {release} --namespace {namespace}, if nobody needs it, or take it out of that chart"
            return Owner(f"belongs to release `{release}` in namespace `{namespace}`", way, (namespace, release))
        return Owner(f"belonged to release `{release}` in namespace `{namespace}`, which is gone", is_nobody=True)
    controllers = [one for one in live["metadata"].get("ownerReferences") or () if one.get("controller")]
    if controllers:
        return Owner(f"belongs to {controllers[0]['kind'].lower()}/{controllers[0]['name']}")
    writers = [str(one.get("manager")) for one in live["metadata"].get("managedFields") or ()]
    by = labels.get(MANAGED_BY) or (writers[0] if writers else "")
    return Owner(f"was made by {by or 'somebody else'}, not by Helm", is_nobody=True)


def _releases_of_others(application: str, records: Mapping[str, Record]) -> dict[tuple[str, str], str]:
    """Namespace and name of each release that another application's record knows, and that application."""
    return {
        (known.namespace, name): other
        for other, kept in records.items()
        if other != application
        for name, known in kept.releases.items()
    }


def _taken(name: str, namespace: str, owner: str) -> Problem:
    title = f"release `{name}` in namespace `{namespace}` belongs to application `{owner}`"
    return Problem("RELEASE_TAKEN", title, hints=("another name for the release, or another namespace",))


def _not_ours(name: str, namespace: str, detail: str) -> Problem:
    title = f"release `{name}` in namespace `{namespace}` was not made by todo-deploy"
    hints = ("todo-deploy up --adopt", f"helm uninstall {name} --namespace {namespace}")
    return Problem("RELEASE_FOREIGN", title, detail, hints=hints)


def refuse_shared(
    wanted: Cluster, application: str, kept: Record, kube: KubePort, hooks: Iterable[ObjectRef] = ()
) -> None:
    """Returns when nothing in the cluster is anybody else's, so that all of it may be deleted; refused otherwise.

    `hooks` are the objects that hooks of the application's releases have made: Helm marks them as nobody's.
    """
    objects = kube.contents()
    added = {name_of(one) for one in kube.list("Namespace", labels=ADDON_LABEL, metadata_only=True)}
    spared = _SYSTEM_NAMESPACES | _ADDON_NAMESPACES | added
    inside = [one for one in objects if one["metadata"].get("namespace") not in spared]
    by_hooks = set(hooks)
    others = [ref for ref in foreign_objects(inside, application, kept) if ref not in by_hooks]
    if others:
        raise refused(
            "CLUSTER_SHARED",
            f"the cluster `{wanted.name}` contains objects that application `{application}` did not make",
            detail=listed(others),
            hints=(
                "remove it, or take its application down",
                f"minikube delete --profile {wanted.name}, if all of it is yours and can go",
            ),
        )


def foreign_objects(
    objects: Iterable[Object], application: str = "", kept: Record | None = None
) -> tuple[ObjectRef, ...]:
    """Those of a namespace's or a cluster's objects that neither Kubernetes nor the application has put there.

    An object with an owner is its owner's; one whose owner is not among the objects is taken for somebody's.
    """
    every = list(objects)
    uids = {one["metadata"].get("uid") for one in every}
    services = {(one["metadata"].get("namespace"), name_of(one)) for one in every if one["kind"] == "Service"}
    ours = kept.releases if kept is not None else {}
    claims = set(kept.claims) if kept is not None else set()
    known = claims | {ref for one in ours.values() for ref in one.objects}
    return tuple(
        sorted(
            {
                ref_of(one)
                for one in every
                if not _by_kubernetes(one, services)
                and not any(owner.get("uid") in uids for owner in one["metadata"].get("ownerReferences") or ())
                and not (ref_of(one) in known or _is_ours(one, application, ours) or _is_claim_of(one, known))
            }
        )
    )


def listed(refs: Sequence[ObjectRef]) -> str:
    """The first of the objects and how many more there are."""
    return first_few([f"{ref.kind} {ref.namespace}/{ref.name}" for ref in refs], _SHOWN)


def _by_kubernetes(one: Object, services: set[tuple[str, str]]) -> bool:
    """Whether a controller of Kubernetes has made the object, or the API server shows it without storing it."""
    metadata, kind = one["metadata"], one["kind"]
    notes, labels = annotations_of(one), labels_of(one)
    name, namespace = metadata["name"], metadata.get("namespace", "")
    return (
        bool(metadata.get("deletionTimestamp"))
        or kind == "Event"
        or (kind, name) in _IN_EVERY_NAMESPACE
        or (namespace == "default" and (kind, name) in _IN_DEFAULT)
        or (kind in ("Endpoints", "EndpointSlice") and (namespace, name) in services)
        or "endpoints.kubernetes.io/managed-by" in labels
        or "endpoints.kubernetes.io/last-change-trigger-time" in notes
        or (kind == "Secret" and "kubernetes.io/service-account.name" in notes and name.startswith("default-token-"))
    )


def _is_ours(one: Object, application: str, releases: Mapping[str, ReleaseRecord]) -> bool:
    metadata = one["metadata"]
    labels, notes = labels_of(one), annotations_of(one)
    if labels.get(MANAGED_BY) == OWNER and application:
        marks = (APPLICATION_LABEL, f"{LABEL_PREFIX}/record", f"{LABEL_PREFIX}/lease")
        return any(labels.get(mark) == application for mark in marks)
    release, namespace = str(notes.get(RELEASE_NAME)), notes.get(RELEASE_NAMESPACE)
    if labels.get("owner") == "helm":  # Helm's own storage
        release, namespace = str(labels.get("name")), metadata.get("namespace")
    return release in releases and releases[release].namespace == namespace


def _is_claim_of(one: Object, known: set[ObjectRef]) -> bool:
    """Whether the object is a volume claim that a StatefulSet of ours made: `<template>-<set>-<ordinal>`."""
    metadata = one["metadata"]
    if one["kind"] != "PersistentVolumeClaim":
        return False
    stem, _, ordinal = metadata["name"].rpartition("-")
    namespace = metadata.get("namespace", "")
    sets = [ref.name for ref in known if ref.kind == "StatefulSet" and ref.namespace == namespace]
    return ordinal.isdigit() and any(stem.endswith(f"-{name}") for name in sets)
