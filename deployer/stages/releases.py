"""The releases stage: every release is at the revision that its chart and values lead to."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, Literal

from deployer.core.errors import DeployError, machine_error, refused
from deployer.core.events import Item, ItemState
from deployer.core.ports import (
    INPUTS_LABEL,
    KINDS,
    LABEL_PREFIX,
    MADE_LABEL,
    MANAGED_BY,
    OWNER,
    RELEASE_NAME,
    RELEASE_NAMESPACE,
    VERDICT_LABEL,
    HelmPort,
    KubePort,
    Object,
    ObjectRef,
    Revision,
    UpgradeRequest,
)
from deployer.core.process import identity
from deployer.core.steps import Clock, Outcome, Steps
from deployer.helm import storage
from deployer.helm.dry_run import owned_by
from deployer.helm.gone_kinds import forget
from deployer.helm.recovery import heal, is_unfinished, owner_label
from deployer.helm.storage import Applied, in_words, latest_of, revisions_of, stored_revision, value_changes
from deployer.kube.outage import is_outage, retried
from deployer.plan import ReleasePlan
from deployer.sources.charts import read_chart
from deployer.state.record import ReleaseRecord
from deployer.status.objects import labels_of, name_of

STAGE = "releases"
# The API server may go away and come back while helm is at work.
_ATTEMPTS = 3
INPUTS_CHANGED = "chart, values, images or secrets changed"
CHART_LABEL = f"{LABEL_PREFIX}/chart"
_GONE_SECONDS = 60.0
# As many as Helm itself keeps unless another limit is set.
_KEPT = 10


@dataclass(frozen=True, slots=True)
class Existing:
    """An object in the cluster; `orphan`: what it owns stays when it is deleted."""

    ref: ObjectRef
    orphan: bool = False


@dataclass(frozen=True, slots=True)
class Preparation:
    """What is done for a release before Helm upgrades it: objects that go, and objects that become the release's."""

    replaced: tuple[Existing, ...] = ()
    adopted: tuple[Existing, ...] = ()
    force_conflicts: bool = False
    """Whether Helm takes over the fields that others have set."""
    buildable: bool = False
    """Whether it is known that Helm can build what it has stored of the release: the cluster serves all its kinds."""
    accepted: bool = False
    """Whether the API server takes every object of the release as it is."""


NOTHING = Preparation()


@dataclass(frozen=True, slots=True)
class Decision:
    """What to do with a release, and why."""

    action: Literal["keep", "upgrade", "heal"]
    reason: str


def decide(
    wanted: ReleasePlan, latest: Revision | None, known: ReleaseRecord | None, lost: Sequence[ObjectRef]
) -> Decision:
    """Inputs decide, never a render: a chart may render differently each time."""
    if latest is None:
        return Decision("upgrade", "first install")
    if is_unfinished(latest.status):
        return Decision("heal", f"revision {latest.revision} was left {latest.status}")
    if latest.status != "deployed":
        return Decision("upgrade", f"revision {latest.revision} is {latest.status}")
    if latest.inputs != wanted.inputs:
        return Decision("upgrade", INPUTS_CHANGED)
    if known is None or known.revision != latest.revision:
        return Decision("upgrade", "its objects are not known")
    if lost:
        first = f"{lost[0].kind.lower()}/{lost[0].name}"
        return Decision("upgrade", f"{first} is gone" + (f" and {len(lost) - 1} more" if len(lost) > 1 else ""))
    return Decision("keep", "unchanged")


def observe(wanted: ReleasePlan, known: ReleaseRecord | None, kube: KubePort) -> tuple[Revision | None, Decision]:
    """The release's latest revision and what to do about it, in the words of what changed."""
    latest = latest_of(wanted.name, wanted.namespace, kube)
    decision = decide(wanted, latest, known, lost_objects(known, kube) if known is not None else ())
    if latest is not None and decision.action == "upgrade" and latest.inputs != wanted.inputs:
        changed = _what_changed(wanted, latest, kube)
        why = changed if decision.reason == INPUTS_CHANGED else f"{changed}; {decision.reason}"
        decision = replace(decision, reason=why)
    return latest, decision


def _what_changed(wanted: ReleasePlan, latest: Revision, kube: KubePort) -> str:
    """Read from Helm's own record of the revision, which no run without a change asks for."""
    secret = stored_revision(latest.release, latest.namespace, latest.revision, kube)
    if secret is None:
        return INPUTS_CHANGED
    label = labels_of(secret).get(CHART_LABEL)
    try:
        stored = storage.decode(secret)
    except storage.Damaged:
        return INPUTS_CHANGED
    chart = "" if label == wanted.chart.name[-40:] else _chart_change(stored, wanted)
    return in_words(value_changes(stored.get("config") or {}, wanted.values), chart)


def _chart_change(stored: Mapping[str, Any], wanted: ReleasePlan) -> str:
    """The chart's version then and now, where that is another; else that its files have changed."""
    about = (stored.get("chart") or {}).get("metadata") or {}
    with suppress(DeployError):
        now = read_chart(wanted.chart)
        if (about.get("name"), about.get("version")) != (now.name, now.version):
            then = f"{about.get('name')} " if about.get("name") != now.name else ""
            return f"chart {now.name}: {then}{about.get('version')} → {now.version}"
    return "chart files"


def ensure_release(
    wanted: ReleasePlan, known: ReleaseRecord | None, kube: KubePort, helm: HelmPort, clock: Clock, run: str
) -> Steps[Outcome[Applied]]:
    """The release is deployed with the plan's chart and values; nothing is done when it already is."""
    for attempt in range(1, _ATTEMPTS + 1):
        latest, decision = yield from retried(lambda: observe(wanted, known, kube), STAGE, clock)
        if decision.action == "keep":
            assert latest is not None and known is not None
            yield Item(STAGE, wanted.name, ItemState.UNCHANGED, f"revision {latest.revision}")
            verified = latest.verdict == "verified"
            kept = Applied(wanted.name, wanted.namespace, latest.revision, False, decision.reason, wanted.inputs,
                           known.objects, verified)  # fmt: skip
            return Outcome(kept, False, "unchanged")
        if decision.action == "heal":
            assert latest is not None
            yield from heal(latest, STAGE, kube, clock)
            yield Item(STAGE, wanted.name, ItemState.RUNNING, f"{decision.reason}; healed")
        yield Item(STAGE, wanted.name, ItemState.RUNNING, decision.reason)
        if not wanted.buildable:
            yield from retried(lambda: forget(wanted.name, wanted.namespace, kube), STAGE, clock)
        try:
            done = helm.upgrade(_request(wanted, latest.revision + 1 if latest is not None else 1, run))
        except DeployError as error:
            # What helm had begun by then is seen, and healed, like that of any run that was cut short.
            if not is_outage(error) or attempt == _ATTEMPTS:
                raise
            yield Item(STAGE, wanted.name, ItemState.RUNNING, "helm lost the API server; once more")
            continue
        break
    revision = done.revision.revision
    yield Item(STAGE, wanted.name, ItemState.DONE, f"revision {revision}")
    applied = Applied(
        wanted.name, wanted.namespace, revision, True, decision.reason, wanted.inputs, done.objects, False
    )
    return Outcome(applied, True, f"revision {revision}")


def prepare(release: str, namespace: str, wanted: Preparation, kube: KubePort, clock: Clock) -> Steps[None]:
    """What cannot be changed in place is gone, so that Helm makes it anew, and what is adopted is marked for Helm.

    Only what is the release's is deleted. Machine error where an object stays.
    """
    for one in wanted.replaced:
        live = kube.get(one.ref.kind, one.ref.namespace, one.ref.name)
        if live is None or not owned_by(live, release, namespace):
            continue
        yield Item(STAGE, release, ItemState.RUNNING, f"replacing {one.ref.kind.lower()}/{one.ref.name}")
        kube.delete(one.ref.kind, one.ref.namespace, one.ref.name, orphan=one.orphan)
        _await_gone(one, live["metadata"].get("uid"), kube, clock)
    notes = {RELEASE_NAME: release, RELEASE_NAMESPACE: namespace}
    for one in wanted.adopted:
        live = kube.get(one.ref.kind, one.ref.namespace, one.ref.name)
        labels = {MANAGED_BY: "Helm"}
        if labels_of(live).get(MANAGED_BY) == OWNER:
            labels[MADE_LABEL] = OWNER  # Helm's own label takes the place of ours
        kube.patch(
            one.ref.kind, one.ref.namespace, one.ref.name, {"metadata": {"labels": labels, "annotations": notes}}
        )


def _await_gone(one: Existing, uid: str | None, kube: KubePort, clock: Clock) -> None:
    deadline = clock.monotonic() + _GONE_SECONDS
    while (live := kube.get(one.ref.kind, one.ref.namespace, one.ref.name)) and live["metadata"].get("uid") == uid:
        if clock.monotonic() > deadline:
            name = f"{one.ref.kind.lower()}/{one.ref.name}"
            held = ", ".join(live["metadata"].get("finalizers") or ()) or "no finalizer"
            hints = (f"kubectl -n {one.ref.namespace} get {one.ref.kind.lower()} {one.ref.name} -o yaml",)
            raise machine_error("OBJECT_STAYS", f"{name} was deleted and is still there", detail=f"it has {held}",
                                hints=hints)  # fmt: skip
        clock.sleep(0.2)


def _request(wanted: ReleasePlan, revision: int, run: str) -> UpgradeRequest:
    return UpgradeRequest(
        release=wanted.name,
        namespace=wanted.namespace,
        chart=wanted.chart,
        values=wanted.values,
        # Helm hands labels on from one revision to the next: each has to be given anew.
        labels={
            INPUTS_LABEL: wanted.inputs,
            CHART_LABEL: wanted.chart.name[-40:],
            VERDICT_LABEL: "unfinished",
            storage.OWNER_LABEL: owner_label(revision),
        },
        description=f"todo-deploy: {identity(run)}",
        timeout=wanted.timeout,
        server_side=wanted.server_side,
        force_conflicts=wanted.force_conflicts,
        accepted=wanted.accepted,
    )


def lost_objects(known: ReleaseRecord, kube: KubePort) -> tuple[ObjectRef, ...]:
    """The release's objects that are no longer in the cluster.

    What removes itself is not among them, nor what is of a kind that the cluster does not list.
    """
    served = {kind for kind in {ref.kind for ref in known.objects} if kind in KINDS or kube.serves(kind)}
    lasting = [ref for ref in known.objects if ref.kind in served and not ref.passing]
    places = sorted({(ref.kind, ref.namespace) for ref in lasting})
    there = {
        (kind, namespace, name_of(one))
        for kind, namespace in places
        for one in kube.list(kind, namespace, metadata_only=True)
        if not one["metadata"].get("deletionTimestamp")
    }
    return tuple(ref for ref in lasting if (ref.kind, ref.namespace, ref.name) not in there)


def mark(applied: Applied, verdict: Literal["verified", "failed"], why: str, kube: KubePort) -> None:
    """The revision carries the verdict of its rollout; with a failed one Helm's own history says so too."""
    if verdict == "failed":
        secret = stored_revision(applied.name, applied.namespace, applied.revision, kube)
        if secret is not None:
            with suppress(storage.Damaged):
                kube.replace(storage.with_status(secret, "failed", why))
    storage.label(applied.name, applied.namespace, applied.revision, {VERDICT_LABEL: verdict}, kube)


def made_here(release: str, namespace: str, kube: KubePort) -> Object | None:
    """The newest revision of the release with all that it holds, where this process made it; None otherwise."""
    latest = latest_of(release, namespace, kube)
    if latest is None:
        return None
    secret = stored_revision(release, namespace, latest.revision, kube)
    return secret if labels_of(secret).get(storage.OWNER_LABEL) == owner_label(latest.revision) else None


def trim(release: str, namespace: str, needed: Collection[int], kube: KubePort) -> None:
    """Helm remembers the newest revisions and those that a rollback may need, and no others."""
    for one in revisions_of(release, namespace, kube)[:-_KEPT]:
        if one.revision not in needed and one.status != "deployed":
            kube.delete("Secret", namespace, storage.secret_name(release, one.revision))


def ordered(releases: Sequence[ReleasePlan]) -> tuple[tuple[ReleasePlan, ...], ...]:
    """The releases in waves: each wave needs only what stands in earlier ones; refused where they need each other."""
    waves: list[tuple[ReleasePlan, ...]] = []
    left: Mapping[str, ReleasePlan] = {release.name: release for release in releases}
    while left:
        wave = tuple(one for one in left.values() if not any(need in left for need in one.needs))
        if not wave:
            raise refused(
                "RELEASE_CYCLE",
                "these releases need each other: " + ", ".join(sorted(left)),
                hints=("remove one of releases.*.needs in the spec",),
            )
        waves.append(wave)
        left = {name: one for name, one in left.items() if one not in wave}
    return tuple(waves)
