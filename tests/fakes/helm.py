"""Helm in memory: its revisions are Secrets of the fake API server in Helm's own storage format."""

from __future__ import annotations

import base64
import gzip
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, TypedDict, Unpack

from deployer.core.errors import DeployError, ExitCode, Problem
from deployer.core.ports import (
    UNINSTALL_SECONDS,
    WITHOUT_CLUSTER,
    Object,
    ObjectRef,
    Rendering,
    Revision,
    Upgraded,
    UpgradeRequest,
    ref_of,
)
from deployer.helm import storage
from tests.fakes.kube import FakeKube

Render = Callable[[UpgradeRequest], Sequence[Object]]


def config_map(request: UpgradeRequest) -> list[Object]:
    """One ConfigMap named like the release, with the values' texts."""
    data = {key: str(value) for key, value in request.values.items()}
    return [{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": request.release}, "data": data}]


class Stored(TypedDict, total=False):
    """What a stored revision may have besides its status."""

    description: str
    labels: Mapping[str, str]
    updated: float
    objects: Sequence[Object]
    apply_method: str


def release_secret(name: str, namespace: str, revision: int, status: str, **stored: Unpack[Stored]) -> Object:
    """The Secret that holds a revision, as helm's `secrets` driver writes it."""
    manifest = "".join(f"---\n{json.dumps(one)}\n" for one in stored.get("objects", ()))
    document: dict[str, Any] = {
        "name": name,
        "namespace": namespace,
        "version": revision,
        "info": {"status": status, "description": stored.get("description", "")},
        "chart": {"metadata": {"name": name, "version": "0.1.0"}},
        "config": {},
        "manifest": manifest,
        "apply_method": stored.get("apply_method", ""),
    }
    packed = base64.b64encode(base64.b64encode(gzip.compress(json.dumps(document).encode()))).decode()
    modified = str(int(stored.get("updated", 0.0)))
    known = {"owner": "helm", "name": name, "version": str(revision), "status": status, "modifiedAt": modified}
    metadata = {
        "name": storage.secret_name(name, revision),
        "namespace": namespace,
        "labels": {**stored.get("labels", {}), **known},
    }
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": metadata,
        "type": "helm.sh/release.v1",
        "data": {"release": packed},
    }


class FakeHelm:
    """`requests` are the upgrades asked for; an error of `failures` ends the next, stored as failed.

    An error of `rollback_failures` ends the next rollback, which Helm leaves pending: before it touched an object, or
    after that (a hook before or after it). `interrupt` is called in it, when all is applied; `forced` is whether it was
    to override what others had set. `server_side`: as Helm 4 it applies on the server.
    """

    def __init__(self, kube: FakeKube, render: Render = config_map) -> None:
        self.kube = kube
        self.requests: list[UpgradeRequest] = []
        self.failures: list[DeployError] = []
        self.rollback_failures: list[tuple[Literal["before", "after"], DeployError]] = []
        self.interrupt: Callable[[], object] = bool
        self.server_side = False
        self.forced = False
        self._render = render

    def template(self, request: UpgradeRequest, against: Rendering = WITHOUT_CLUSTER) -> Sequence[Object]:
        return list(self._render(request))

    def upgrade(self, request: UpgradeRequest) -> Upgraded:
        self.requests.append(request)
        history = self._history(request.release, request.namespace)
        if history and history[-1].status.startswith("pending-"):
            title = f"another operation on release `{request.release}` is in progress"
            raise DeployError(Problem("RELEASE_PENDING", title), ExitCode.REFUSED)
        self._build([*history[-1:], *[one for one in history if one.status == "deployed"]], "current")
        number = history[-1].revision + 1 if history else 1
        objects = [_placed(one, request.namespace) for one in self._render(request)]
        failure = self.failures.pop(0) if self.failures else None
        secret = release_secret(
            request.release,
            request.namespace,
            number,
            "deployed" if failure is None else "failed",
            description=request.description,
            labels=self._labels(history[-1:]) | dict(request.labels),
            updated=self.kube.clock.now(),
            objects=objects,
            apply_method="ssa" if self.server_side else "",
        )
        if failure is not None:
            self.kube.put(secret)
            raise failure
        self._supersede([one for one in history if one.status == "deployed"] or history[-1:])
        return self._deploy(secret, objects, history)

    def rollback(
        self, release: str, namespace: str, revision: int, timeout: float, *, force_conflicts: bool = False
    ) -> None:
        self.forced = force_conflicts
        history = self._history(release, namespace)
        target = [one for one in history if one.revision == revision]
        if not target:
            raise DeployError(Problem("HELM_FAILED", "release has no such revision"), ExitCode.MACHINE)
        self._build(history[-1:], "current")
        self._build(target, "new")
        objects = self._manifest(target[0])
        when, failure = self.rollback_failures.pop(0) if self.rollback_failures else ("", None)
        secret = release_secret(
            release,
            namespace,
            history[-1].revision + 1,
            "deployed" if failure is None else "pending-rollback",
            description=f"Rollback to {revision}",
            labels=self._labels(target),
            updated=self.kube.clock.now(),
            objects=objects,
        )
        if failure is None:
            self._supersede([one for one in history if one.status == "deployed"])
        if when == "before":
            self.kube.put(secret)
        else:
            self._deploy(secret, objects, history)
        self.interrupt()
        if failure is not None:
            raise failure

    def uninstall(self, release: str, namespace: str, timeout: float = UNINSTALL_SECONDS) -> bool:
        history = self._history(release, namespace)
        self._build(history[-1:], "")
        for revision in history:
            for ref in self._objects(revision):
                self.kube.drop(ref.kind, ref.namespace, ref.name)
            self.kube.drop("Secret", namespace, storage.secret_name(release, revision.revision))
        return bool(history)

    def _history(self, release: str, namespace: str) -> tuple[Revision, ...]:
        return storage.revisions(self.kube.list("Secret", namespace, labels=storage.SELECTOR), release)

    def _build(self, revisions: Sequence[Revision], which: str) -> None:
        """Helm builds all objects of a revision by kinds that the server has now."""
        for one in revisions:
            for body in self._manifest(one):
                if (body.get("apiVersion"), body["kind"]) in self.kube.lost_kinds:
                    title = f"unable to build kubernetes objects from {which} release manifest"
                    raise DeployError(Problem("HELM_FAILED", title), ExitCode.INPUT)

    def _deploy(self, secret: Object, objects: Sequence[Object], history: Sequence[Revision]) -> Upgraded:
        """The revision and its objects are there; objects that only the last one had are gone."""
        self.kube.put(secret)
        refs = tuple(ref_of(one) for one in objects)
        for one in objects:
            self.kube.put(one)
        for old in history[-1:]:
            for ref in set(self._objects(old)) - set(refs):
                self.kube.drop(ref.kind, ref.namespace, ref.name)
        (made,) = storage.revisions([secret], secret["metadata"]["labels"]["name"])
        return Upgraded(made, refs)

    def _labels(self, revisions: Sequence[Revision]) -> dict[str, str]:
        """The labels that Helm hands on: of the last revision in an upgrade, of the target in a rollback."""
        own = ("owner", "name", "version", "status", "modifiedAt", "createdAt")
        labels = self._stored(revisions[0])["metadata"]["labels"] if revisions else {}
        return {name: value for name, value in labels.items() if name not in own}

    def _supersede(self, revisions: Sequence[Revision]) -> None:
        """In an upgrade, where no revision was deployed, Helm takes the last one for it; in a rollback it does not."""
        for one in revisions:
            secret = self._stored(one)
            description = storage.decode(secret)["info"]["description"]
            self.kube.put(storage.with_status(secret, "superseded", description))

    def _stored(self, revision: Revision) -> Object:
        name = storage.secret_name(revision.release, revision.revision)
        secret = self.kube.get("Secret", revision.namespace, name)
        assert secret is not None
        return secret

    def _objects(self, revision: Revision) -> tuple[ObjectRef, ...]:
        return tuple(ref_of(one) for one in self._manifest(revision))

    def _manifest(self, revision: Revision) -> list[Object]:
        manifest: str = storage.decode(self._stored(revision))["manifest"]
        return [json.loads(part) for part in manifest.split("---\n") if part.strip()]


def _placed(one: Object, namespace: str) -> Object:
    return {**one, "metadata": {"namespace": namespace, **one["metadata"]}}
