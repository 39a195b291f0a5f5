"""What the API server would answer to a `helm upgrade`: every rendered object is sent as Helm will send it, dry.

Helm 3 creates what its last manifest does not have and patches the rest by a three-way merge; Helm 4 does so too with
releases that Helm 3 made, and applies all others on the server (pkg/kube/client.go, createPatch and
patchResourceServerSide), where a field that somebody else has set is a conflict. What only the server can know (fields
that do not change, quotas, admission, conflicts) is in its answer.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, Literal

from deployer.core.errors import Problem
from deployer.core.objects import identified
from deployer.core.ports import (
    APPLY_PATCH,
    MANAGED_BY,
    MERGE_PATCH,
    RELEASE_NAME,
    RELEASE_NAMESPACE,
    STRATEGIC_PATCH,
    DryRun,
    HelmPort,
    Kind,
    KubePort,
    Object,
    ObjectRef,
    ref_of,
)
from deployer.core.reading import Malformed
from deployer.core.yaml import parse_manifest
from deployer.helm import storage
from deployer.status.objects import annotations_of, labels_of

_AT_ONCE = 8
_BORROWED = "default"
"""The namespace in which objects are judged whose own does not exist yet."""
_MERGE_KEYS = {
    "containers": "name", "initContainers": "name", "ephemeralContainers": "name", "volumes": "name", "env": "name",
    "imagePullSecrets": "name", "resourceClaims": "name", "volumeMounts": "mountPath", "volumeDevices": "devicePath",
    "hostAliases": "ip", "topologySpreadConstraints": "topologyKey",
}  # fmt: skip
"""Lists that a strategic merge patch merges by a key of their items (patchMergeKey in k8s.io/api); it replaces others.

That of `ports` is another in containers than in Services; `webhooks` and `secrets` are lists at the top of an object.
"""
_BUILT_IN = frozenset({
    "", "admissionregistration.k8s.io", "apiextensions.k8s.io", "apps", "autoscaling", "batch", "certificates.k8s.io",
    "coordination.k8s.io", "discovery.k8s.io", "events.k8s.io", "flowcontrol.apiserver.k8s.io", "networking.k8s.io",
    "node.k8s.io", "policy", "rbac.authorization.k8s.io", "resource.k8s.io", "scheduling.k8s.io", "storage.k8s.io",
})  # fmt: skip
"""The groups of the kinds that Helm knows by type; others get a merge patch."""

_MALFORMED = "failed to create typed patch object"
_MALFORMED_FIELD = re.compile(r"(?:: |^\s+)\.(\S.*?): (.+)$", re.MULTILINE)
"""What a server-side apply does not take is an error of its own (500), whose fields are in its text alone."""

_MANAGER = re.compile(r'conflict with "([^"]*)"(?: with subresource "(\w+)")?')
_NAMELESS = DryRun(422, "", (("metadata.name", "is empty: a server-side apply needs a name, not a `generateName`"),))

_DATA = frozenset({"PersistentVolumeClaim", "PersistentVolume", "Namespace", "CustomResourceDefinition"})

Standing = Literal["accepted", "exists", "conflict", "fixed", "invalid", "denied", "unknown"]


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the API server says to a rendered object.

    `exists`: it is there and not the release's; `conflict`: fields of it are somebody else's, and would be taken over
    by force; `fixed`: it is valid and the one that is there cannot become it;
    `invalid`: it would never be taken; `denied`: not taken now, which what comes before it may change; `unknown`: not
    to be asked. `live` is the object that is there, where that was looked at.
    """

    ref: ObjectRef
    kind: Kind
    standing: Standing
    answer: DryRun
    wanted: Object
    before: Object | None = None
    live: Object | None = None

    @property
    def label(self) -> str:
        """`job/seed`."""
        return f"{self.ref.kind.lower()}/{self.ref.name}"

    @property
    def conflicts(self) -> tuple[tuple[str, str], ...]:
        """The fields that others have set, each with its manager in the server's words."""
        found = [(field.removeprefix("."), _MANAGER.match(said)) for field, said in self.answer.causes]
        return tuple((field, " ".join(filter(None, said.groups()))) for field, said in found if said is not None)

    @property
    def taken_over(self) -> Problem:
        """The warning for where Helm is to override what others have set."""
        fields = ", ".join(f"`{field}`, which was set by {manager}" for field, manager in self.conflicts)
        hints = ("nothing; an autoscaler sets it again",)
        return Problem("FIELD_TAKEN_OVER", f"{self.label}: Helm overrides {fields}", "", self.label, hints)

    @property
    def is_done(self) -> bool:
        """Whether it is a Job that is complete or has failed for good."""
        conditions = ((self.live or {}).get("status") or {}).get("conditions") or ()
        over = any(one.get("type") in ("Complete", "Failed") and one.get("status") == "True" for one in conditions)
        return self.ref.kind == "Job" and over

    @property
    def holds_data(self) -> bool:
        """Whether what is kept in it would go with it."""
        policy = ((self.live or {}).get("spec") or {}).get("persistentVolumeClaimRetentionPolicy") or {}
        return self.ref.kind in _DATA or (self.ref.kind == "StatefulSet" and policy.get("whenDeleted") == "Delete")

    @property
    def keeps_pods(self) -> bool:
        """Whether it is a StatefulSet whose pods will belong to the one that takes its place."""
        live, wanted = ((one or {}).get("spec") or {} for one in (self.live, self.wanted))
        return self.ref.kind == "StatefulSet" and live.get("selector") == wanted.get("selector")


@dataclass(frozen=True, slots=True)
class Release:
    """A release and the objects of the manifest that Helm compares the new one with.

    `server_side`: Helm applies the new ones on the server, and compares nothing.
    `whole`: no other stored revision is ever built by Helm.
    """

    name: str
    namespace: str
    before: Mapping[tuple[str, ObjectRef], Object]
    server_side: bool = False
    whole: bool = False


def is_hook(body: Object) -> bool:
    """Whether Helm makes the object anew each time and counts it as nobody's."""
    return "helm.sh/hook" in annotations_of(body)


def _is_test(body: Object) -> bool:
    """Whether it is for `helm test` alone."""
    return "test" in str(annotations_of(body).get("helm.sh/hook", ""))


def current_release(
    name: str,
    namespace: str,
    kube: KubePort,
    helm: HelmPort,
    *,
    asked: bool | None = None,
    target: Object | None = None,
) -> Release:
    """The release as this Helm's upgrade, or its rollback to the stored revision `target`, will see it.

    That is by its deployed revision, else by its last one, as a rollback does. Unless `asked` for one of them, Helm 4
    applies on the server what it installs, what was last applied so, and back to what was (pkg/action, `auto`).
    """
    made = storage.revisions_of(name, namespace, kube)
    deployed = [one for one in made if one.status == "deployed" and target is None]
    seen = deployed[-1] if deployed else made[-1] if made else None
    secret = storage.stored_revision(name, namespace, seen.revision, kube) if seen is not None else None
    server_side = helm.server_side and asked is not False
    if server_side and asked is None and made and (target is not None or made[-1].status != "uninstalled"):
        last = secret if seen == made[-1] else storage.stored_revision(name, namespace, made[-1].revision, kube)
        with suppress(storage.Damaged):
            server_side = storage.applied_on_server(target or last)
    before = {_key(one, namespace): one for one in stored_objects(secret)}
    return Release(name, namespace, before, server_side, whole=not made or (seen == made[-1] and bool(before)))


def stored_objects(secret: Object | None) -> tuple[Object, ...]:
    """The objects of a stored revision, hooks left out; none where that cannot be read."""
    with suppress(Malformed, storage.Damaged):
        return tuple(identified(one) for one in parse_manifest(storage.manifest_of(secret))) if secret else ()
    return ()


def ask(release: Release, objects: Sequence[Object], kube: KubePort) -> tuple[Verdict, ...]:
    """The API server's verdict on each rendered object that has a name and a kind that it serves, some at a time."""
    kinds = kube.kinds()
    known = [_Asked(release, kinds[place], one, kube) for one in objects if (place := _type(one)) in kinds]
    named = [one for one in known if ref_of(one.body).name]
    others = [one for one in known if release.server_side and not ref_of(one.body).name and not _is_test(one.body)]
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        return (*pool.map(_Asked.verdict, named), *map(_Asked.nameless, others))


def is_of_release(live: Object, release: str, namespace: str) -> bool:
    """Whether Helm has marked the object as one of the release's."""
    notes = annotations_of(live)
    return (notes.get(RELEASE_NAME), notes.get(RELEASE_NAMESPACE)) == (release, namespace)


def owned_by(live: Object, release: str, namespace: str) -> bool:
    """Whether Helm takes the object for the release's (pkg/action/validate.go, checkOwnership)."""
    return is_of_release(live, release, namespace) and labels_of(live).get(MANAGED_BY) == "Helm"


@dataclass(frozen=True, slots=True)
class _Asked:
    """One object that is asked about."""

    release: Release
    kind: Kind
    body: Object
    kube: KubePort

    def nameless(self) -> Verdict:
        """The verdict on what has a `generateName` alone: Helm 4 does not come so far as to send it."""
        known_by = str(self.body["metadata"].get("generateName") or "")
        ref = replace(self._ref, name=f"{known_by}…")
        return Verdict(ref, self.kind, "invalid", _NAMELESS, self.body)

    def verdict(self) -> Verdict:
        old = self.release.before.get(_key(self.body, self.release.namespace))
        if is_hook(self.body) or old is None:
            return self._new()
        answer = self._patch(old)
        if answer.status == 404:
            return self._new()
        return self._changed(answer, old)

    def _new(self) -> Verdict:
        """The verdict on what Helm's last manifest does not have, or what was deleted since."""
        answer = self._create()
        if answer.status != 409:
            return self._made(_standing_of_new(answer), answer)
        if is_hook(self.body):
            return self._made("accepted", answer)
        live = self._live()
        if live is None:
            return self._made("unknown", answer)
        if not owned_by(live, self.release.name, self.release.namespace):
            return self._made("exists", self._apply() if self.release.server_side else answer, live=live)
        return self._changed(self._patch({}), self.body)

    def _changed(self, answer: DryRun, old: Object) -> Verdict:
        if answer.accepted:
            return self._made("accepted", answer, old)
        if answer.is_conflict:
            forced = self._apply(force=True)
            if forced.accepted:
                return self._made("conflict", answer, old, self._live())
            answer = forced
        fresh = self._create() if answer.status == 422 else answer
        standing, answer = _standing_of_change(answer, fresh)
        return self._made(standing, answer, old, self._live() if standing == "fixed" else None)

    def _live(self) -> Object | None:
        return self.kube.get(self._ref.kind, self._ref.namespace, self._ref.name)

    def _create(self) -> DryRun:
        body = self._placed(self.body)
        answer = self.kube.dry_run(self.kind, body)
        if answer.status == 404 and self.kind.namespaced and "namespaces " in answer.message:
            body = {**body, "metadata": {**body["metadata"], "namespace": _BORROWED}}
            answer = self.kube.dry_run(self.kind, body)
            if answer.status in (403, 409):  # that namespace's own objects and rules
                return DryRun(201)
        # An apply is stricter than a POST: with fields that the kind does not have, and with keys that are there twice.
        return self._apply(body) if answer.accepted and self.release.server_side else answer

    def _apply(self, body: Object | None = None, *, force: bool = False) -> DryRun:
        placed = self._placed(self.body) if body is None else body
        answer = self.kube.dry_run(self.kind, placed, APPLY_PATCH, force=force)
        if answer.status == 500 and answer.message.startswith(_MALFORMED):
            found = _MALFORMED_FIELD.findall(answer.message)
            return DryRun(400, answer.message, tuple((field, said.split(", got ")[0]) for field, said in found))
        if not answer.is_conflict:
            return answer
        # Helm takes over what it set itself by patches (upgradeClientSideFieldManager).
        others = tuple(one for one in answer.causes if not one[1].startswith('conflict with "helm"'))
        return replace(answer, causes=others) if others else self._apply(body, force=True)

    def _patch(self, old: Object) -> DryRun:
        if self.release.server_side:
            return self._apply()
        group = self.body["apiVersion"].rpartition("/")[0]
        if group in _BUILT_IN:
            return self.kube.dry_run(self.kind, self._placed(three_way(old, self.body)), STRATEGIC_PATCH)
        change = _difference(old, self.body) if old else {}
        if not change:
            return DryRun(200)
        names = {"name": self._ref.name, **(change.get("metadata") or {})}
        return self.kube.dry_run(self.kind, self._placed({**change, "metadata": names}), MERGE_PATCH)

    def _placed(self, body: Object) -> Object:
        if not self.kind.namespaced:
            return body
        return {**body, "metadata": {**body["metadata"], "namespace": self._ref.namespace}}

    @property
    def _ref(self) -> ObjectRef:
        return ref_of(self.body, self.release.namespace if self.kind.namespaced else "")

    def _made(
        self, standing: Standing, answer: DryRun, old: Object | None = None, live: Object | None = None
    ) -> Verdict:
        copied = [one for one in ("uid", "resourceVersion") if self.body["metadata"].get(one)]
        if standing == "unknown" and answer.status == 409 and copied:  # an object as `kubectl get -o yaml` prints it
            standing = "invalid"
            answer = replace(answer, causes=((f"metadata.{copied[0]}", f"metadata.{copied[0]}: {answer.message}"),))
        return Verdict(self._ref, self.kind, standing, answer, self.body, old, live)


def _standing_of_new(answer: DryRun) -> Standing:
    if answer.accepted:
        return "accepted"
    taken = any("already allocated" in message for _, message in answer.causes)
    if answer.status in (400, 422) and not _is_undecided(answer):
        # A port or an address that is taken may be free when it is this object's turn.
        return "denied" if taken else "invalid"
    return "denied" if answer.status == 403 and not _is_undecided(answer) else "unknown"


def _standing_of_change(answer: DryRun, fresh: DryRun) -> tuple[Standing, DryRun]:
    """What the server will not change is what it would take in a new object (`fresh` is its answer to that)."""
    if _is_undecided(answer) or answer.status not in (400, 403, 422):
        return "unknown", answer
    if answer.status == 400:
        return "invalid", answer
    if answer.status == 403:
        return ("denied" if "admission webhook" in answer.message else "fixed"), answer
    always = {field for field, _ in fresh.causes} if fresh.status == 422 else set()
    causes = tuple(one for one in answer.causes if one[0] not in always)
    if answer.causes and not causes:
        return "invalid", answer
    return "fixed", DryRun(answer.status, answer.message, causes)


def _is_undecided(answer: DryRun) -> bool:
    """Whether the answer is about this user's rights, or about dry runs, and not about the object."""
    return ": User " in answer.message or "does not support dry run" in answer.message


def three_way(old: Object, new: Object) -> Object:
    """The strategic merge patch that makes of what is there what is new, without what only the old manifest has."""
    patch: Object = _over(old, new, ())
    return {**patch, "apiVersion": new["apiVersion"], "kind": new["kind"]}


def _over(old: Any, new: Any, path: tuple[str, ...]) -> Any:
    if isinstance(new, dict):
        was = old if isinstance(old, dict) else {}
        made = {name: _over(was.get(name), value, (*path, name)) for name, value in new.items()}
        made |= dict.fromkeys(name for name in was if name not in new)
        # Of these only what is named is kept (patchStrategy retainKeys): another type has other fields.
        if path == ("spec", "strategy") or path[-1:] == ("volumes",):
            made["$retainKeys"] = sorted(new)
        return made
    key = _merge_key(path, new) if isinstance(new, list) else ""
    if not key:
        return new
    was = {one[key]: one for one in old if _has(one, key)} if isinstance(old, list) else {}
    made_list = [_over(was.get(one[key]), one, path) for one in new]
    return made_list + [{key: name, "$patch": "delete"} for name in was if name not in {one[key] for one in new}]


def _merge_key(path: tuple[str, ...], items: list[Any]) -> str:
    last = path[-1] if path else ""
    key = _MERGE_KEYS.get(last, "name" if path in (("webhooks",), ("secrets",)) else "")
    if last == "ports":
        key = "port" if path == ("spec", "ports") else "containerPort"
    return key if all(_has(one, key) for one in items) else ""


def _has(item: Any, key: str) -> bool:
    return isinstance(item, dict) and isinstance(item.get(key), str | int)


def _difference(old: Object, new: Object) -> Object:
    """The merge patch from one to the other (RFC 7396)."""
    made: Object = dict.fromkeys(name for name in old if name not in new)
    for name, value in new.items():
        if isinstance(value, dict) and isinstance(was := old.get(name), dict):
            if change := _difference(was, value):
                made[name] = change
        elif value != old.get(name):
            made[name] = value
    return made


def _type(body: Object) -> tuple[str, str]:
    return str(body.get("apiVersion")), str(body.get("kind"))


def _key(body: Object, namespace: str) -> tuple[str, ObjectRef]:
    return str(body.get("apiVersion")), ref_of(body, namespace)
