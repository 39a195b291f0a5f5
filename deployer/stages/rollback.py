"""The rollback stage: Secrets, releases and images are those of an earlier revision of the application."""

from __future__ import annotations

from collections.abc import Sequence

from deployer.core.errors import Problem, refused
from deployer.core.events import Item, ItemState
from deployer.core.ports import INPUTS_LABEL, VERDICT_LABEL, HelmPort, KubePort, Object, Revision
from deployer.core.steps import Clock, Outcome, Steps
from deployer.helm import storage
from deployer.helm.recovery import heal, owner_label
from deployer.helm.storage import Applied, objects_of, revisions_of, stored_revision
from deployer.state.history import Entry, KeptSecretRef
from deployer.state.record import Record

STAGE = "rollback"


def lacking_releases(entry: Entry, kept: Record, kube: KubePort) -> list[Problem]:
    """The revisions of Helm's that the revision needs and that are gone, or are others by now."""
    problems = []
    for name, revision in entry.releases.items():
        namespace = kept.releases[name].namespace if name in kept.releases else ""
        stored = stored_revision(name, namespace, revision, kube) if namespace else None
        wanted = entry.inputs.get(name)
        hints = (f"git checkout {entry.commit[:7]}, then `todo-deploy up`",) if entry.commit else ()
        if stored is None:
            title = f"release `{name}` has no revision {revision} any more"
            problems.append(Problem("ROLLBACK_RELEASE", title, hints=hints))
        elif wanted and (stored["metadata"].get("labels") or {}).get(INPUTS_LABEL) != wanted:
            title = f"release `{name}` was uninstalled since: its revision {revision} is another one by now"
            problems.append(Problem("ROLLBACK_RELEASE", title, hints=hints))
    return problems


def apply_revision(
    entry: Entry, kept: Record, kube: KubePort, helm: HelmPort, timeout: float, clock: Clock
) -> Steps[Outcome[tuple[Applied, ...]]]:
    """Documented Secret names hold the revision's content and every release of it is applied again.

    Plain `helm rollback` cannot bring a Secret of a documented name back: its immutable copy does.
    """
    for one in entry.secrets:
        if one.served != one.copy:
            changed = serve_copy(one, kube)
            yield Item(STAGE, one.served, ItemState.DONE if changed else ItemState.UNCHANGED, f"as in {one.copy}")
    applied: list[Applied] = []
    for name, revision in entry.releases.items():
        namespace = kept.releases[name].namespace
        yield Item(STAGE, name, ItemState.RUNNING, f"back to revision {revision}")
        stored = stored_revision(name, namespace, revision, kube)
        if stored is None:
            raise refused(
                "ROLLBACK_RELEASE",
                f"release `{name}` has no revision {revision} any more",
                hints=("todo-deploy history",),
            )
        inputs = (stored["metadata"].get("labels") or {}).get(INPUTS_LABEL, "")
        objects = tuple(objects_of(storage.manifest_of(stored), namespace))
        yield from _make_ready(name, namespace, revision, kube, clock)
        helm.rollback(name, namespace, revision, timeout)
        now = _latest(name, namespace, kube).revision
        # Helm hands the old revision's labels on, its verdict among them; this one has yet to earn its own.
        unjudged = {"metadata": {"labels": {VERDICT_LABEL: "unfinished"}}}
        kube.patch("Secret", namespace, storage.secret_name(name, now), unjudged)
        yield Item(STAGE, name, ItemState.DONE, f"revision {now}, as revision {revision} was")
        reason = f"rollback to revision {revision}"
        applied.append(Applied(name, namespace, now, True, reason, inputs, objects, False))
    text = ", ".join(f"{one.name} revision {one.revision}" for one in applied)
    return Outcome(tuple(applied), True, text)


def _make_ready(release: str, namespace: str, revision: int, kube: KubePort, clock: Clock) -> Steps[None]:
    """No revision is pending, and the one that Helm makes next will say that it is ours.

    A rollback takes no labels: the new revision gets those of the target, and the owner's is put there before.
    """
    latest = _latest(release, namespace, kube)
    if latest.status.startswith("pending-"):
        yield from heal(latest, STAGE, kube, clock)
        yield Item(STAGE, release, ItemState.RUNNING, f"revision {latest.revision} was left {latest.status}; healed")
    owner = {"metadata": {"labels": {storage.OWNER_LABEL: owner_label(latest.revision + 1)}}}
    kube.patch("Secret", namespace, storage.secret_name(release, revision), owner)


def _latest(release: str, namespace: str, kube: KubePort) -> Revision:
    return revisions_of(release, namespace, kube)[-1]


def serve_copy(ref: KeptSecretRef, kube: KubePort) -> bool:
    """The documented name holds what the immutable copy holds; whether it had to be written. Refused without a copy."""
    copy = kube.get("Secret", ref.namespace, ref.copy)
    if copy is None:
        raise refused("ROLLBACK_SECRET", f"Secret `{ref.copy}` is gone", hints=("todo-deploy history",))
    found = kube.get("Secret", ref.namespace, ref.served)
    if found is not None and (found.get("data") or {}) == (copy.get("data") or {}):
        return False
    metadata = {"name": ref.served, "namespace": ref.namespace, "labels": copy["metadata"].get("labels") or {},
                "annotations": copy["metadata"].get("annotations") or {}}  # fmt: skip
    body: Object = {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "type": copy.get("type"),
                    "data": copy.get("data") or {}}  # fmt: skip
    if found is None:
        kube.create(body)
    else:
        version = found["metadata"]["resourceVersion"]
        kube.replace({**body, "metadata": {**metadata, "resourceVersion": version}})
    return True


def names(entries: Sequence[Entry]) -> str:
    """The revisions' numbers with their verdicts, for a message."""
    return ", ".join(f"{entry.number} ({entry.verdict_text})" for entry in entries) or "none"
