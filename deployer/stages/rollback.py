"""The rollback stage: Secrets, releases and images are those of an earlier revision of the application."""

from __future__ import annotations

from collections.abc import Sequence

from deployer.core.errors import Problem, refused
from deployer.core.events import Item, ItemState, Warned
from deployer.core.ports import INPUTS_LABEL, VERDICT_LABEL, HelmPort, KubePort, Object, ObjectRef, Revision
from deployer.core.steps import Clock, Outcome, Steps
from deployer.helm import dry_run, storage
from deployer.helm.gone_kinds import Gone, described, forget, gone_kinds
from deployer.helm.recovery import heal, is_unfinished, owner_label
from deployer.helm.storage import Applied, revisions_of, stored_revision
from deployer.stages import releases
from deployer.stages.releases import Existing, Preparation
from deployer.state.history import Entry, KeptSecretRef
from deployer.state.record import Record, ReleaseRecord
from deployer.status.objects import (
    annotations_of,
    container_statuses,
    dig,
    is_ready,
    is_terminating,
    labels_of,
    lags,
    name_of,
    number,
    rows,
    uid_of,
)

STAGE = "rollback"


def lacking_releases(entry: Entry, kept: Record, kube: KubePort) -> list[Problem]:
    """The revisions of Helm's that the revision needs and that are gone, or are others by now."""
    problems = []
    for name, revision in entry.releases.items():
        namespace = kept.releases[name].namespace if name in kept.releases else ""
        stored = stored_revision(name, namespace, revision, kube) if namespace else None
        wanted = entry.inputs.get(name)
        hints = (f"git checkout {entry.commit[:7]}, then `todo-deploy up`",) if entry.commit else ("todo-deploy up",)
        if stored is None:
            title = f"release `{name}` has no revision {revision} any more"
            problems.append(Problem("ROLLBACK_RELEASE", title, hints=hints))
        elif wanted and labels_of(stored).get(INPUTS_LABEL) != wanted:
            title = f"release `{name}` was uninstalled since: its revision {revision} is another one by now"
            problems.append(Problem("ROLLBACK_RELEASE", title, hints=hints))
        else:
            gone = gone_kinds(dry_run.stored_objects(stored), namespace, kube)
            problems += [_not_served(name, revision, one) for one in gone[:1]]
    return problems


def _not_served(release: str, revision: int, gone: Gone) -> Problem:
    """Helm cannot make the revision's object again."""
    label = f"{gone.kind.lower()}/{gone.ref.name}"
    title = f"revision {revision} of release `{release}` has {label}, whose kind the cluster serves no more"
    wanted = f"`{gone.kind}` in `{gone.api}`"
    detail = f"it was {wanted}" + (f"; now it is in `{gone.now}`" if gone.now else "")
    hints = ("todo-deploy rollback --to REV, for a revision without it",)
    more = () if gone.now else (f"install what defines {wanted}, then: todo-deploy rollback",)
    return Problem("ROLLBACK_KIND", title, detail, label, (*more, *hints))


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
        stored = stored_revision(name, namespace, revision, kube)
        if stored is None:
            raise refused(
                "ROLLBACK_RELEASE",
                f"release `{name}` has no revision {revision} any more",
                hints=("todo-deploy history",),
            )
        inputs = labels_of(stored).get(INPUTS_LABEL, "")
        objects = storage.stored_objects(stored, namespace)
        latest = _latest(name, namespace, kube)
        if latest.status == "deployed" and inputs and latest.inputs == inputs:
            known = ReleaseRecord(namespace, latest.revision, inputs, _objects_of(latest, kube))
            if not releases.lost_objects(known, kube):
                yield Item(STAGE, name, ItemState.UNCHANGED, f"revision {latest.revision}")
                verified = latest.verdict == "verified" and latest.revision == kept.releases[name].revision
                applied.append(
                    Applied(name, namespace, latest.revision, False, "unchanged", inputs, known.objects, verified)
                )
                continue
        yield Item(STAGE, name, ItemState.RUNNING, f"back to revision {revision}")
        yield from _make_ready(name, namespace, revision, kube, clock)
        for problem in described(name, forget(name, namespace, kube)):
            yield Warned(problem)
        prepared = yield from _in_the_way(name, namespace, stored, kube, helm)
        yield from releases.prepare(name, namespace, prepared, kube, clock)
        try:
            helm.rollback(name, namespace, revision, timeout, force_conflicts=prepared.force_conflicts)
        finally:
            storage.label(name, namespace, revision, {VERDICT_LABEL: entry.verdict}, kube)
        now = _latest(name, namespace, kube).revision
        yield Item(STAGE, name, ItemState.DONE, f"revision {now}, as revision {revision} was")
        reason = f"rollback to revision {revision}"
        applied.append(Applied(name, namespace, now, True, reason, inputs, objects, False))
    new = [one for one in applied if one.changed]
    text = ", ".join(f"{one.name} revision {one.revision}" for one in new) or f"{len(applied)} unchanged"
    return Outcome(tuple(applied), bool(new), text)


def _objects_of(revision: Revision, kube: KubePort) -> tuple[ObjectRef, ...]:
    stored = stored_revision(revision.release, revision.namespace, revision.revision, kube)
    return storage.stored_objects(stored, revision.namespace) if stored is not None else ()


def _make_ready(release: str, namespace: str, revision: int, kube: KubePort, clock: Clock) -> Steps[None]:
    """No revision is pending, and the one that Helm makes next will say that it is ours and has no verdict yet.

    A rollback takes no labels: the new revision gets those of the target, which is labelled so for that time.
    """
    latest = _latest(release, namespace, kube)
    if is_unfinished(latest.status):
        yield from heal(latest, STAGE, kube, clock)
        yield Item(STAGE, release, ItemState.RUNNING, f"revision {latest.revision} was left {latest.status}; healed")
    labels = {storage.OWNER_LABEL: owner_label(latest.revision + 1), VERDICT_LABEL: "unfinished"}
    storage.label(release, namespace, revision, labels, kube)


_OBSERVED_SECONDS = 10.0


def free_blocked(applied: Sequence[Applied], kube: KubePort, clock: Clock) -> Steps[None]:
    """No pod of an earlier template that is not ready keeps a StatefulSet of ours from its present one.

    Its controller waits for such a pod before it replaces any (kubernetes/kubernetes#67250), so it is deleted.
    """
    for one in applied:
        for ref in one.objects:
            found = (yield from _observed(ref, kube, clock)) if ref.kind == "StatefulSet" and one.changed else None
            if found is None or not dry_run.is_of_release(found, one.name, one.namespace):
                continue
            for pod in blocking_pods(found, kube.list("Pod", ref.namespace)):
                if kube.delete("Pod", ref.namespace, name_of(pod)):
                    title = (
                        f"deleted pod/{name_of(pod)}: it was not ready, and statefulset/{ref.name} would wait for it"
                    )
                    yield Warned(Problem("POD_FREED", title, "kubernetes/kubernetes#67250"))


def _observed(ref: ObjectRef, kube: KubePort, clock: Clock) -> Steps[Object | None]:
    """The workload once its controller has seen its present template, or as it is after some seconds."""
    yield from ()
    end = clock.monotonic() + _OBSERVED_SECONDS
    while (found := kube.get(ref.kind, ref.namespace, ref.name)) is not None and lags(found):
        if clock.monotonic() > end:
            break
        clock.sleep(0.2)
    return found


def blocking_pods(found: Object, pods: Sequence[Object]) -> list[Object]:
    """The StatefulSet's pods of an earlier template that are not ready or crashed: its controller waits for them."""
    spec, strategy = found.get("spec") or {}, dig(found, "spec", "updateStrategy")
    present = dig(found, "status", "updateRevision")
    if spec.get("podManagementPolicy") == "Parallel" or dig(strategy, "type") == "OnDelete" or not present:
        return []
    first = number(strategy, "rollingUpdate", "partition")
    return [
        pod for pod in pods
        if any(owner.get("uid") == uid_of(found) for owner in rows(pod, "metadata", "ownerReferences"))
        and dig(pod, "metadata", "labels", "controller-revision-hash") != present
        and _ordinal(pod) >= first
        and not is_terminating(pod)
        and (not is_ready(pod) or any(number(one, "restartCount") for one in container_statuses(pod)))
    ]  # fmt: skip


def _ordinal(pod: Object) -> int:
    text = name_of(pod).rpartition("-")[2]
    return int(text) if text.isdecimal() else 0


def _in_the_way(release: str, namespace: str, stored: Object, kube: KubePort, helm: HelmPort) -> Steps[Preparation]:
    """What Kubernetes does not let become what it was: it has been replaced on the way here, and is on the way back.

    Fields that others have set since, such as the replicas of an autoscaler, become what they were, with a warning.
    """
    current = dry_run.current_release(release, namespace, kube, helm, target=stored)
    verdicts = dry_run.ask(current, dry_run.stored_objects(stored), kube)
    for one in verdicts:
        if one.standing == "conflict":
            yield Warned(one.taken_over)
    fixed = [one for one in verdicts if one.standing == "fixed" and not one.holds_data]
    return Preparation(tuple(Existing(one.ref, one.keeps_pods) for one in fixed), (), current.server_side)


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
    metadata = {"name": ref.served, "namespace": ref.namespace, "labels": labels_of(copy),
                "annotations": annotations_of(copy)}  # fmt: skip
    body: Object = {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "type": copy.get("type"),
                    "data": copy.get("data") or {}}  # fmt: skip
    if found is None:
        kube.create(body)
    else:
        version = found["metadata"]["resourceVersion"]
        kube.replace({**body, "metadata": {**metadata, "resourceVersion": version}})
    return True
